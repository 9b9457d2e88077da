/*
 * unionpay - UnionPay ACP from its own side: a form in, k=v pairs (not encoded) out, both signed
 * with SHA-256 and RSA over the hex of it. What its files share.
 *
 * A transaction is named by orderId and txnTime together; undo and refund are transactions of their
 * own. A synchronous respCode 00 says that something was accepted; what became of it, a query or a
 * notification says.
 */
#ifndef PAYBANK_UNIONPAY_H
#define PAYBANK_UNIONPAY_H

#include "backends/paybank/exchange.h"
#include "backends/paybank/wire/form.h"

/* One request; ex->answer points here. */
struct up {
    struct exchange *ex;
    struct form in;
    struct form out;
};

struct slice up_get(const struct up *u, const char *name); /* SLICE_NULL when absent or empty */

/* ---- unionpay_body.c ---- */

/* 0, or -1 when signature or certId do not fit the merchant's certificate. */
int up_verify(const struct form *in, const struct merchant *m);
/* Puts the request's own fields and the code; returns false unless the code is 00. */
bool up_answer(struct up *u, const char *code, const char *message);
/* What is known about a payment that came in, or about a refund. */
void up_put_settled(struct form *f, const char *query_id, uint32_t seq, int64_t amount,
                    pay_time_t at);
const char *up_order_code(const struct order *o);
const char *up_refund_code(const struct refund *r);
void up_fault_answer(struct exchange *ex, enum fault_kind kind);
void up_code_answer(struct exchange *ex, const char *code, int status);
void up_finish(struct exchange *ex, enum sign_how how);
int up_notice(struct bank *bank, const struct event *ev, enum fault_kind fault, enum sign_how how,
              struct arena *a, struct notice *out);
bool up_taken(int status, struct slice body);

/* ---- the APIs, each sends the answer ---- */

typedef void up_api(struct up *u);
up_api up_barcode, up_qr, up_front, up_app, up_reversal, up_query;
up_api up_undo, up_refund, up_file;

/* By orderId and txnTime; where it names the transaction that was asked for. */
struct order *up_find_order(struct up *u);
/* false: refused, txnTime is not now or the transaction exists. */
bool up_check_fresh(struct up *u);

#endif
