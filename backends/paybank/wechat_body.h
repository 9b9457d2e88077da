/*
 * wechat_body - what WeChat Pay v3 writes: transactions, errors, notifications.
 */
#ifndef PAYBANK_WECHAT_BODY_H
#define PAYBANK_WECHAT_BODY_H

#include "exchange.h"

/* The transaction object; the order was settled before. */
void wechat_transaction(struct json_writer *w, const struct order *o, int64_t amount);

struct wechat_detail {
    const char *location; /* "body", "query", "authorization"; NULL = no detail */
    const char *field;    /* "/amount/total", NULL = none */
    const char *issue;
};
/* Sets status and body {code, message, detail}. */
void wechat_error(struct exchange *ex, int status, const char *code, const char *message,
                  const struct wechat_detail *detail);
void wechat_sign_answer(struct exchange *ex, bool spoil);
void wechat_fault_answer(struct exchange *ex, enum fault_kind kind);
int wechat_notice(struct bank *bank, const struct order *o, enum fault_kind fault, pay_time_t now,
                  struct arena *a, struct notice *out);
bool wechat_taken(int status, struct slice body);

#endif
