/*
 * admin_bill - storing a channel's bill of a day: the file, its rows and their sums, in one
 * transaction.
 */
#ifndef STORE_ADMIN_BILL_H
#define STORE_ADMIN_BILL_H

#include "admin.h"
#include "core/clock.h"

struct admin_bill {
    struct slice channel, account, day; /* 2026-09-01 */
    struct slice file;                  /* as it came */
};
/* A row in our words. */
struct admin_bill_row {
    int kind; /* as it is stored: 1 payment, 2 refund, 3 reversal, 4 other */
    uint32_t line;
    struct slice request_no, channel_trade_no, refund_no, channel_refund_no, state;
    int64_t amount, fee;
    pay_time_t at; /* 0: none */
};
struct admin_bill_sum {
    int64_t rows, paid, returned;
};
struct admin_bill_writer;

/* 1: *w takes the rows, admin_bill_end follows in any case. 0: the same file is stored already. -1
 * with the reason. */
int admin_bill_begin(struct admin *a, const struct admin_bill *bill, struct admin_bill_writer **w,
                     char *err);
/* 0, or -1 when the database ended it. */
int admin_bill_row(struct admin_bill_writer *w, const struct admin_bill_row *row);
/* sum: commit; NULL: nothing is stored. 0, or -1 with the reason. Frees w. */
int admin_bill_end(struct admin_bill_writer *w, const struct admin_bill_sum *sum, char *err);

#endif
