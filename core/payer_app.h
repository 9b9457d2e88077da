/*
 * payer_app - which wallet a payer uses: from the payment code he shows, or from what his browser
 * says of itself. Strict: what is not certain is PAYER_APP_OTHER.
 */
#ifndef CORE_PAYER_APP_H
#define CORE_PAYER_APP_H

#include "slice.h"

enum payer_app { PAYER_APP_OTHER, PAYER_APP_WECHAT, PAYER_APP_ALIPAY, PAYER_APP_UNIONPAY };
#define PAYER_APP_COUNT 4

/* A payment code, digits only. WeChat: 18 digits, 10 to 15 first; Alipay: 16 to 24 digits, 25 to 30
 * first; UnionPay: 19 digits, 62 first. (Protocol sheets of the channels: barcode payments.) */
enum payer_app payer_app_of_barcode(struct slice code);
/* A User-Agent header: a product `MicroMessenger/VERSION`, `AlipayClient/VERSION` or
 * `UnionPay/VERSION`, in any case of letters. Two different ones are PAYER_APP_OTHER. */
enum payer_app payer_app_of_agent(struct slice user_agent);

/* "other", "wechat", "alipay", "unionpay"; and back, -1 when unknown. */
const char *payer_app_name(enum payer_app app);
int payer_app_parse(struct slice s);

#endif
