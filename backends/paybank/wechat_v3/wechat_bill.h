/*
 * wechat_bill - the trade bill of both WeChats: CSV in UTF-8 with a byte order mark, CRLF, a
 * back-tick in front of every cell, a title line, rows, and two lines of sums.
 */
#ifndef PAYBANK_WECHAT_BILL_H
#define PAYBANK_WECHAT_BILL_H

#include "backends/paybank/bank.h"

enum wechat_bill_type { BILL_ALL, BILL_SUCCESS, BILL_REFUNDS, BILL_RECHARGE_REFUND };
int wechat_bill_type_parse(struct slice s, enum wechat_bill_type *out); /* 0 or -1 */

enum wechat_bill_result {
    WECHAT_BILL_MADE,
    WECHAT_BILL_EMPTY,
    WECHAT_BILL_BAD_DAY,
    WECHAT_BILL_BROKEN
};
/* day "20260901": three months back, ready from 9 o'clock of the next day. */
enum wechat_bill_result wechat_bill(struct bank *bank, const struct merchant *m, struct slice day,
                                    enum wechat_bill_type type, bool gzip, struct buf *out);

#endif
