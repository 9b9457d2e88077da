/*
 * wechat - WeChat Pay v3 from the platform's side: what its files share beside wechat_body.h.
 */
#ifndef PAYBANK_WECHAT_H
#define PAYBANK_WECHAT_H

#include "backends/paybank/wire/check.h"
#include "wechat_body.h"

#define WECHAT_NO_ALSO "_-|*"

/* All return false, so that checks read `return wechat_refuse(...)`. */
bool wechat_refuse(struct exchange *ex, int status, const char *code, const char *message);
bool wechat_refuse_param(struct exchange *ex, const char *location, const char *field,
                         const char *issue);
bool wechat_refuse_books(struct exchange *ex, enum books_result r);

/* The body as JSON with these fields; mchid, when it stands there, is that of Authorization. */
bool wechat_parse_body(struct exchange *ex, const struct check_field *fields,
                       const struct json **doc);
/* The one parameter mchid, the same as in Authorization. */
bool wechat_check_mchid(struct exchange *ex, struct slice query);
/* field: as detail shows it. */
bool wechat_check_url(struct exchange *ex, struct slice s);

/* ---- the APIs, each sends the answer. item: the last segment of the path, unescaped ---- */

typedef void wechat_api(struct exchange *ex, struct slice item, struct slice query);
wechat_api wechat_native, wechat_jsapi, wechat_app, wechat_h5, wechat_codepay;
wechat_api wechat_query, wechat_query_id, wechat_close, wechat_reverse;
wechat_api wechat_certificates;
wechat_api wechat_refund, wechat_refund_query, wechat_tradebill, wechat_billfile;

#endif
