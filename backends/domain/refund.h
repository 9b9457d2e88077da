/*
 * refund - the life of a refund: an event on the payment it belongs to. Pure, as payment.h.
 *
 * A refund is part of its payment's aggregate: each of its steps raises the payment's version by
 * one and has one history row there, so that steps of 64 refunds at once happen one after another
 * and their sum never exceeds what was paid (R2.17). The money is reserved in the payment's row
 * when the refund is accepted from the merchant, counted as refunded when the channel says so, and
 * given back on a definite failure. "Accepted" by the channel is not "refunded": it is queried
 * until it is final. A refund is never given up: what was not sent is sent again under the same
 * number, "not found" never fails it (R2.4).
 */
#ifndef DOMAIN_REFUND_H
#define DOMAIN_REFUND_H

#include "payment.h"

/* Row of `refund` with its timer. Slices belong to the loader's arena. */
struct refund {
    int64_t id;
    enum refund_state state; /* NONE: a wish, not stored yet */
    struct slice out_refund_no;
    struct slice digest; /* SHA-256 of the request's content */
    int64_t amount;      /* 1 .. the payment's, same currency */
    struct slice reason;
    struct slice notify_url; /* merchant's; may be empty */
    struct slice trace_id;
    /* of the command that is given back, where it is not the payment's own: then nobody asked for
     * it, and it counts in extra_paid alone; 0 = the payment's */
    uint32_t command_seq;
    struct slice channel, account;
    uint32_t send_n;          /* the latest attempt of CALL_REFUND */
    enum send_mark send_last; /* what is known of it */
    enum send_mark send_past; /* the worst of all earlier ones */
    pay_time_t send_before;   /* of the latest one */
    uint32_t not_sent;        /* attempts never passed on */
    struct slice channel_refund_no;
    struct slice fail_code;
    pay_time_t created_at;
    pay_time_t final_at;     /* our clock */
    pay_time_t succeeded_at; /* the channel's */
    /* timer: due_at 0 = none */
    pay_time_t due_at;
    enum call_kind due_kind; /* CALL_REFUND or CALL_REFUND_QUERY */
    uint32_t due_tries;
};

/* What an event means for a refund: the columns of its state machine. */
#define REFUND_INPUT_TABLE(X)                                                                      \
    X(REFUND_CREATE)                                                                               \
    X(REFUND_NOT_PAID)        /* the payment is not succeeded */                                   \
    X(REFUND_DIFFERS)         /* the merchant believes another amount was paid */                  \
    X(REFUND_EXCEEDS)         /* with those reserved before it would be more than was paid */      \
    X(REFUND_TOO_LATE)        /* outside the channel's window */                                   \
    X(REFUND_UNSUPPORTED)     /* the channel has no refunds */                                     \
    X(REFUND_ACCEPTED)        /* the channel works on it */                                        \
    X(REFUND_DONE)            /* the channel's first answer is final already */                    \
    X(REFUND_REFUSED)         /* failed or refused: nothing was given back, definitely */          \
    X(REFUND_REFUSED_DOUBTED) /* ... but another attempt has no definitive answer */               \
    X(REFUND_REFUSED_LONG)    /* ... and so it has been for many tries */                          \
    X(REFUND_TOO_FREQUENT)                                                                         \
    X(REFUND_DUPLICATE)                                                                            \
    X(REFUND_NOT_SENT)                                                                             \
    X(REFUND_NOT_SENT_LONG) /* ... and so it has been for many tries */                            \
    X(REFUND_UNKNOWN)                                                                              \
    X(REFUND_QUERY_DONE)                                                                           \
    X(REFUND_QUERY_MISMATCH) /* done, with another amount */                                       \
    X(REFUND_QUERY_WAITING)                                                                        \
    X(REFUND_QUERY_FAILED)                                                                         \
    X(REFUND_QUERY_NOT_FOUND)       /* settled: the same number may be sent again */               \
    X(REFUND_QUERY_NOT_FOUND_EARLY) /* proves nothing */                                           \
    X(REFUND_QUERY_NOT_FOUND_KEEP)  /* settled, but nothing may be sent again */                   \
    X(REFUND_QUERY_UNKNOWN)                                                                        \
    X(REFUND_NOTIFY_DONE)                                                                          \
    X(REFUND_NOTIFY_MISMATCH)                                                                      \
    X(REFUND_NOTIFY_OTHER) /* failed or anything else: a query decides */                          \
    X(REFUND_TIMER_EARLY)                                                                          \
    X(REFUND_TIMER_SEND)                                                                           \
    X(REFUND_TIMER_QUERY)
enum refund_input {
#define X(name) INPUT_##name,
    REFUND_INPUT_TABLE(X)
#undef X
        REFUND_INPUT_COUNT
};
const char *refund_input_name(enum refund_input i);

/* Actions are payment.h's: SEND_PREPARE and LATER_PREPARE mean the refund call here. */
struct refund_rule {
    enum refund_state to;
    unsigned actions;
};
extern const struct refund_rule refund_rules[REFUND_STATE_COUNT][REFUND_INPUT_COUNT];

/* Sends that were never passed on before a person is asked. */
#define REFUND_NOT_SENT_LONG 8
/* Turns of the timer, a doubted refusal at the end, before a person is asked. */
#define REFUND_REFUSED_LONG 8

enum refund_input refund_classify(const struct payment *p, const struct refund *r,
                                  const struct payment_event *e, pay_time_t now,
                                  const struct payment_policy *policy);

/* out->after: the payment's image (version, attempts, sums), *after: the refund's; timer_changed
 * and callback are the refund's. Total over all inputs; slices point into the arguments or static
 * text. */
void refund_decide(const struct payment *p, const struct refund *r, const struct payment_event *e,
                   pay_time_t now, const struct payment_policy *policy, struct payment_step *out,
                   struct refund *after);

#endif
