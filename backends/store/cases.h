/*
 * cases - a person's word on a case: two persons of one mind close it (sql/0014).
 */
#ifndef STORE_CASES_H
#define STORE_CASES_H

#include "store.h"

struct store_case_word {
    int64_t case_id;
    int64_t id;            /* of the decision, should this be its first word */
    struct slice decision; /* refund, refunded, accepted, dismissed; reject */
    struct slice reason;   /* 1..500 characters */
    int64_t uid;           /* who speaks, as the kernel says */
    struct slice name;
    pay_time_t at;
};
/* outcome: proposed, confirmed, rejected, none, closed, same_person, differs, nothing,
 * impossible. decision,
 * by: what stands, and whose it is. */
typedef void store_case_cb(void *arg, enum store_result r, struct slice outcome,
                           struct slice decision, struct slice by);
void store_case_say(struct store *s, const struct store_case_word *word, store_case_cb *cb,
                    void *arg);

/* Refunds that two persons decided and nobody has begun, the oldest first. Slices live in the
 * callback. */
struct store_case_refund {
    int64_t case_id, payment_id, amount;
    struct slice currency, channel_trade_no, reason;
};
typedef void store_case_refunds_cb(void *arg, enum store_result r,
                                   const struct store_case_refund *c, size_t n);
void store_case_refunds(struct store *s, uint32_t slot_from, uint32_t slot_to,
                        store_case_refunds_cb *cb, void *arg);
/* What became of it, once; the first word counts. */
typedef void store_case_refunded_cb(void *arg, enum store_result r);
void store_case_refunded(struct store *s, int64_t case_id, struct slice outcome, pay_time_t at,
                         store_case_refunded_cb *cb, void *arg);

#endif
