/*
 * wechat_body - what WeChat Pay v3 writes: transactions, errors, notifications.
 */
#ifndef PAYBANK_WECHAT_BODY_H
#define PAYBANK_WECHAT_BODY_H

#include "backends/paybank/exchange.h"

/* The transaction object; the order was settled before. state: the order's, unless a fault lies. */
void wechat_transaction(struct json_writer *w, struct order *o, enum order_state state,
                        int64_t amount, pay_time_t now);
/* The refund object; in a notification fewer members, and refund_status. Settled before. */
void wechat_refund_object(struct json_writer *w, const struct refund *r, int64_t amount,
                          bool in_notice);

struct wechat_detail {
    const char *location; /* "body", "query", "authorization"; NULL = no detail */
    const char *field;    /* "/amount/total", NULL = none */
    const char *issue;
};
/* Sets status and body {code, message, detail}. */
void wechat_error(struct exchange *ex, int status, const char *code, const char *message,
                  const struct wechat_detail *detail);
void wechat_sign_answer(struct exchange *ex, enum sign_how how);
void wechat_fault_answer(struct exchange *ex, enum fault_kind kind);
void wechat_code_answer(struct exchange *ex, const char *code, int status);
int wechat_notice(struct bank *bank, const struct event *ev, enum fault_kind fault,
                  enum sign_how how, struct arena *a, struct notice *out);
bool wechat_taken(int status, struct slice body);

#endif
