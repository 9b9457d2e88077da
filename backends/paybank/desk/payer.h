/*
 * payer - the person with the telephone: scans a code, shows a barcode, types a password, pays or
 * gives up.
 */
#ifndef PAYBANK_PAYER_H
#define PAYBANK_PAYER_H

#include "backends/paybank/bank.h"

#define CODE_URL_MAX  80
#define PREPAY_ID_MAX 40

/* What the QR code of an order holds: "weixin://wxpay/bizpayurl?pr=...", "bank://pay?o=...". */
void payer_code_url(const struct order *o, char out[CODE_URL_MAX]);
/* "wx" day "PB" code, for the wallets of WeChat. */
void payer_prepay_id(const struct order *o, char out[PREPAY_ID_MAX]);
/* The order behind a code_url or prepay_id; NULL when it names none. */
struct order *payer_scan(struct bank *bank, struct slice code);

enum payer_act { PAYER_PAYS, PAYER_REFUSES, PAYER_LOOKS };
/*
 * PAYS books the payment (also: the password was right) and starts its notification. REFUSES: the
 * payer's bank says no for good, or the password was wrong too often; an order that waits for a QR
 * code's payer fails by it only at bank_json (BOOKS_BROKEN elsewhere). LOOKS: the code was scanned.
 */
enum books_result payer_acts(struct bank *bank, struct order *o, enum payer_act act);

/* A new barcode order: paid at once (DONE), or the payer is asked for the password (IS_PAYING). */
enum books_result payer_charge(struct bank *bank, struct order *o, const struct fault_draw *fault,
                               pay_time_t now);
/* A barcode works once. 0, or -1 when it was shown before. */
int payer_barcode_use(struct bank *bank, enum bank_channel channel, struct slice code);
uint64_t payer_barcode_hash(struct slice code);
/* Digits only, length within min..max, the first two within low..high. */
bool payer_barcode_valid(struct slice code, size_t min, size_t max, int low, int high);

/* At the end of the process. */
void payer_forget_all(struct bank *bank);

#endif
