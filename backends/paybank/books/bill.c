#include "bill.h"

#include <stdlib.h>

#define DAY_US        (86400 * USEC_PER_SEC)
#define READY_US      (9 * 3600 * USEC_PER_SEC)
#define FEE_PERMYRIAD 60

/* The first moment of the day in China. */
static int day_begins(struct slice day, pay_time_t *out)
{
    char text[15];

    if (day.n != 8)
        return -1;
    memcpy(text, day.p, 8);
    memcpy(text + 8, "000000", 7);
    return time_parse_wall(slice_of(text), false, out);
}

enum bill_day bill_day_state(struct slice day, int months, pay_time_t now)
{
    pay_time_t begin;

    if (day_begins(day, &begin) < 0 || now - begin > months * 31 * DAY_US)
        return BILL_BAD_DAY;
    return now >= begin + DAY_US + READY_US ? BILL_READY : BILL_NOT_YET;
}

int64_t bill_fee(int64_t amount)
{
    return (amount / 10000) * FEE_PERMYRIAD + ((amount % 10000) * FEE_PERMYRIAD + 5000) / 10000;
}

static bool on_day(struct slice day, pay_time_t t)
{
    char text[9];

    if (!t)
        return false;
    time_format_day(text, t);
    return slice_is(day, text);
}

static void add(struct buf *out, enum bill_kind kind, struct order *o, struct refund *r,
                pay_time_t at)
{
    struct bill_event ev = {kind, o, r, at};

    buf_add(out, &ev, sizeof(ev));
}

static int by_time(const void *a, const void *b)
{
    const struct bill_event *x = a, *y = b;

    if (x->at != y->at)
        return x->at < y->at ? -1 : 1;
    return (int)x->kind - (int)y->kind;
}

void bill_collect(struct books *b, const struct merchant *m, struct slice day, pay_time_t now,
                  struct buf *out)
{
    for (uint32_t seq = 1; seq <= books_count(b); seq++) {
        struct order *o = books_at(b, seq);

        if (o->merchant != m)
            continue;
        if (on_day(day, o->paid_at))
            add(out, BILL_PAYMENT, o, NULL, o->paid_at);
        if (o->state == ORDER_REVOKED && o->paid_at && on_day(day, o->ended_at))
            add(out, BILL_REVERSAL, o, NULL, o->ended_at);
    }
    for (uint32_t seq = 1; seq <= refunds_count(b); seq++) {
        struct refund *r = refunds_at(b, seq);

        refund_settle(r, now);
        if (r->order->merchant == m && on_day(day, r->created_at))
            add(out, BILL_REFUND, r->order, r, r->created_at);
    }
    if (buf_ok(out) && out->n)
        qsort(out->p, out->n / sizeof(struct bill_event), sizeof(struct bill_event), by_time);
}
