/*
 * bank_json - the invented bank of docs/bank_json.md from its own side: what its files share. This
 * is the path of the benchmarks: one HMAC in, one out, one parse, one line of journal.
 */
#ifndef PAYBANK_BANK_JSON_H
#define PAYBANK_BANK_JSON_H

#include "backends/paybank/exchange.h"
#include "backends/paybank/wire/check.h"

#define BANK_NO_ALSO  "_-"
#define BANK_SEAL_MAX 160

/* ---- bank_json_sign.c ---- */

/* "t=..,n=..,s=.." of an answer or a notification. spoil: one that does not fit. 0 or -1. */
int bank_seal_make(const struct merchant *m, struct slice body, pay_time_t now, bool spoil,
                   char out[BANK_SEAL_MAX]);
/* The header Bank-Signature of a request against the merchant's key; false: refused. */
bool bank_seal_check(struct exchange *ex);
void bank_sign_answer(struct exchange *ex, enum sign_how how);
int bank_notice(struct bank *bank, const struct event *ev, enum fault_kind fault, enum sign_how how,
                struct arena *a, struct notice *out);
bool bank_taken(int status, struct slice body);

/* ---- bank_json.c ---- */

/* Both return false. */
bool bank_refuse(struct exchange *ex, int status, const char *code, const char *message);
bool bank_refuse_books(struct exchange *ex, enum books_result r);
/* Merchant, signature, type and fields of a POST's body. */
bool bank_read_body(struct exchange *ex, const struct check_field *fields, const struct json **doc);
/* {"code":"OK", ...; the caller ends the object. */
void bank_begin_ok(struct exchange *ex, struct json_writer *w);

/* ---- the APIs, each sends the answer. item: order or refund number, or day, of the path ---- */

typedef void bank_api_fn(struct exchange *ex, struct slice item);
bank_api_fn bank_native, bank_barcode, bank_query, bank_close, bank_reverse;
bank_api_fn bank_refund, bank_refund_query, bank_bill;

#endif
