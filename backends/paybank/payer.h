/*
 * payer - the person with the telephone: scans a code, pays or gives up.
 */
#ifndef PAYBANK_PAYER_H
#define PAYBANK_PAYER_H

#include "bank.h"

#define CODE_URL_MAX 64

/* "weixin://wxpay/bizpayurl?pr=..." or "bank://pay?o=...", NUL-terminated. */
void payer_code_url(const struct order *o, char out[CODE_URL_MAX]);
/* NULL when the code names no order. */
struct order *payer_scan(struct bank *bank, struct slice code_url);
/* Books the payment and starts its notification. refuse: the payer's bank says no for good, which
 * only bank_json knows as a state (BOOKS_BROKEN elsewhere). */
enum books_result payer_pay(struct bank *bank, struct order *o, bool refuse);

#endif
