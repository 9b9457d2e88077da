/*
 * refunds - money that goes back, in the same books. A refund is booked at once and counts against
 * the payment; whether it arrives is known after due_at:
 *
 *   PROCESSING -> DONE | CLOSED | ABNORMAL   what `outcome` says, found out when one looks
 *
 * CLOSED gives the amount back to what may be refunded. UNDO is UnionPay's return of the whole
 * payment on the same day.
 */
#ifndef PAYBANK_REFUNDS_H
#define PAYBANK_REFUNDS_H

#include "books.h"

#define REFUNDS_MAX 50

#define REFUND_STATE_TABLE(X)                                                                      \
    X(PROCESSING)                                                                                  \
    X(DONE)                                                                                        \
    X(CLOSED)                                                                                      \
    X(ABNORMAL)
enum refund_state {
#define X(name) REFUND_##name,
    REFUND_STATE_TABLE(X)
#undef X
        REFUND_STATE_COUNT
};
const char *refund_state_name(enum refund_state s);

struct refund {
    struct refund *bucket_next;
    struct refund *order_next;
    struct order *order;
    struct notification *notification;
    const char *notify_url; /* interned, "" when there is none */
    int64_t amount;
    pay_time_t created_at;
    pay_time_t due_at;
    uint32_t seq; /* from 1, apart from the orders' */
    uint32_t notify_tries;
    uint8_t state;
    uint8_t outcome;
    uint8_t no_len;
    bool undo;
    bool notified;
    char stamp[STAMP_MAX];
    char text[];
};

static inline struct slice refund_no(const struct refund *r)
{
    return slice_n(r->text, r->no_len);
}

struct refund_terms {
    struct order *order;
    struct slice out_refund_no;
    struct slice stamp;
    struct slice notify_url;
    int64_t amount;
    int64_t delay_us; /* until due_at */
    int64_t gap_us;   /* after the order's refund before; 0: none */
    enum refund_state outcome;
    bool undo;
};

/* The order was paid, the amount fits, the number is fresh or the same as before (AGAIN). *out is
 * set when DONE or AGAIN. */
enum books_result books_refund(struct books *b, const struct refund_terms *t, pay_time_t now,
                               struct refund **out);
enum refund_state refund_settle(struct refund *r, pay_time_t now);
/* What refunds of the order took so far. */
int64_t order_refunded(struct order *o, pay_time_t now);

struct refund *refunds_find(struct books *b, const struct merchant *m, struct slice out_refund_no,
                            struct slice stamp);
/* Is there a refund of that number whose stamp begins so? */
bool refunds_stamped(struct books *b, const struct merchant *m, struct slice out_refund_no,
                     struct slice begin);
uint32_t refunds_count(const struct books *b);
struct refund *refunds_at(struct books *b, uint32_t seq); /* NULL out of 1..count */
void refund_id(const struct refund *r, char out[TRANSACTION_ID_MAX]);
struct refund *refunds_by_id(struct books *b, const struct merchant *m, struct slice id);
int refunds_tried(struct books *b, struct refund *r, int status, bool taken, pay_time_t now);

#endif
