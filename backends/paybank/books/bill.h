/*
 * bill - what happened at one merchant on one day (China's calendar), in the order of time; each
 * protocol writes it down in its own way.
 */
#ifndef PAYBANK_BILL_H
#define PAYBANK_BILL_H

#include "refunds.h"

enum bill_kind { BILL_PAYMENT, BILL_REFUND, BILL_REVERSAL };

struct bill_event {
    enum bill_kind kind;
    struct order *order;
    struct refund *refund; /* of BILL_REFUND */
    pay_time_t at;
};

enum bill_day { BILL_READY, BILL_NOT_YET, BILL_BAD_DAY };

/* "20260901": a day that is over since 9 o'clock and not older than `months` months of 31 days. */
enum bill_day bill_day_state(struct slice day, int months, pay_time_t now);
/* Events as an array of struct bill_event in *out. Refunds are settled as of now. */
void bill_collect(struct books *b, const struct merchant *m, struct slice day, pay_time_t now,
                  struct buf *out);

static inline const struct bill_event *bill_events(const struct buf *b, size_t *n)
{
    *n = b->n / sizeof(struct bill_event);
    return (const struct bill_event *)(const void *)b->p;
}

/* 0.60 % in fen, rounded half up. */
int64_t bill_fee(int64_t amount);

#endif
