/*
 * alipay - Alipay's open gateway from its own side: a form in, one JSON node in a frame out, both
 * signed with RSA2. What its files share.
 */
#ifndef PAYBANK_ALIPAY_H
#define PAYBANK_ALIPAY_H

#include "backends/paybank/exchange.h"
#include "backends/paybank/wire/form.h"
#include "core/money.h"

struct alipay_route;

/* One request; ex->answer points here. ex->body holds the node until finish puts the frame. */
struct alipay {
    struct exchange *ex;
    struct form in; /* query and body together */
    const struct alipay_route *route;
    const struct json *biz; /* biz_content */
};

/* Text of biz_content; SLICE_NULL when absent or empty. Numbers are taken for their text. */
struct slice alipay_get(const struct alipay *al, const char *name);

/* ---- alipay_body.c ---- */

/* Both return false. */
bool alipay_refuse(struct alipay *al, const char *code, const char *msg, const char *sub_code,
                   const char *sub_msg);
bool alipay_fail(struct alipay *al, const char *sub_code, const char *sub_msg); /* 40004 */
/* {"code":..,"msg":..; the caller ends the object. */
void alipay_begin(struct alipay *al, struct json_writer *w, const char *code, const char *msg);
void alipay_member_yuan(struct json_writer *w, const char *key, int64_t fen);
void alipay_member_time(struct json_writer *w, const char *key, pay_time_t t);
/* 0, or -1 when the signature does not fit or a member is missing. */
int alipay_verify(const struct form *in, const struct merchant *m);
void alipay_fault_answer(struct exchange *ex, enum fault_kind kind);
void alipay_code_answer(struct exchange *ex, const char *code, int status);
void alipay_finish(struct exchange *ex, enum sign_how how);
int alipay_notice(struct bank *bank, const struct event *ev, enum fault_kind fault,
                  enum sign_how how, struct arena *a, struct notice *out);
bool alipay_taken(int status, struct slice body);
/* NULL while there is no trade: a QR code that nobody scanned. */
const char *alipay_trade_status(struct order *o, pay_time_t now);

/* ---- the APIs, each sends the answer ---- */

typedef void alipay_api(struct alipay *al);
alipay_api alipay_precreate, alipay_pay, alipay_create, alipay_app, alipay_wap;
alipay_api alipay_query, alipay_close, alipay_cancel;
alipay_api alipay_refund, alipay_refund_query, alipay_bill;
/* The file behind the address that alipay_bill gave. */
void alipay_bill_file(struct exchange *ex, struct slice query);

/* By trade_no, which wins, or out_trade_no. false: refused, neither is there. */
bool alipay_find_order(struct alipay *al, struct order **o);

#endif
