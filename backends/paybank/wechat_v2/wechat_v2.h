/*
 * wechat_v2 - WeChat Pay APIv2 from the platform's side: flat XML in, flat XML out, always HTTP
 * 200.
 *
 * Refusals of two levels: v2_refuse ends a request that was not understood (return_code FAIL, no
 * signature), v2_fail one that was (result_code FAIL with err_code, signed).
 */
#ifndef PAYBANK_WECHAT_V2_H
#define PAYBANK_WECHAT_V2_H

#include "backends/paybank/exchange.h"
#include "backends/paybank/wire/form.h"

enum v2_sign { V2_MD5, V2_HMAC };

/* One request: the elements as they came. ex->answer points here, so that finish finds it. */
struct v2 {
    struct exchange *ex;
    struct form in;
    struct form out;
    enum v2_sign sign_type;
    bool understood; /* the answer is signed */
};

/* A text of the request; SLICE_NULL when absent or empty, which are the same here. */
struct slice v2_get(const struct v2 *v, const char *name);

/* ---- wechat_v2_sign.c ---- */

/* Hex, upper case, NUL-terminated, over everything but `sign`. 0 or -1. */
int v2_signature(const struct form *f, const struct merchant *m, enum v2_sign type, char out[65]);
/* Adds base64(AES-256-ECB(plain)) under the MD5 of the API key. 0 or -1. */
int v2_req_info(const struct merchant *m, struct slice plain, struct buf *out);

/* ---- wechat_v2_body.c ---- */

/* All return false, so that checks read `return v2_fail(...)`. */
bool v2_refuse(struct v2 *v, const char *return_msg);
bool v2_fail(struct v2 *v, const char *err_code, const char *err_code_des);
bool v2_fail_books(struct v2 *v, enum books_result r);
/* The head of a success: return_code ... result_code. */
void v2_begin_ok(struct v2 *v);
/* What is known about a payment: openid, trade_type, total_fee, transaction_id, time_end ... */
void v2_put_payment(struct form *f, const struct order *o, int64_t amount);
const char *v2_trade_type(const struct order *o);
void v2_fault_answer(struct exchange *ex, enum fault_kind kind);
void v2_code_answer(struct exchange *ex, const char *code, int status);
void v2_finish(struct exchange *ex, enum sign_how how);
int v2_notice(struct bank *bank, const struct event *ev, enum fault_kind fault, enum sign_how how,
              struct arena *a, struct notice *out);
bool v2_taken(int status, struct slice body);
const char *v2_refund_status(const struct refund *r);

/* ---- the APIs: each sends the answer ---- */

void v2_unifiedorder(struct v2 *v);
void v2_micropay(struct v2 *v);
void v2_orderquery(struct v2 *v);
void v2_closeorder(struct v2 *v);
void v2_reverse(struct v2 *v);
void v2_refund(struct v2 *v);
void v2_refundquery(struct v2 *v);
void v2_downloadbill(struct v2 *v);

/* By transaction_id, which wins, or out_trade_no. NULL when there is none. */
struct order *v2_find_order(struct v2 *v);

#endif
