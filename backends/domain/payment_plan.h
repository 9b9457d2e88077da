/*
 * payment_plan - when an unfinished payment is looked at next, and for what. Private to payment.c.
 */
#ifndef DOMAIN_PAYMENT_PLAN_H
#define DOMAIN_PAYMENT_PLAN_H

#include "payment.h"

static inline bool payment_expired(const struct payment *p, pay_time_t now)
{
    return now >= p->time_expire;
}

/* The close that waits for the expiry is planned with no tries, a wanted one has at least one. */
static inline bool payment_close_wanted(const struct payment *p)
{
    return p->due_kind == CALL_CLOSE && p->due_tries > 0;
}

/* The timer of the image a, after these actions. */
void payment_plan(struct payment *a, unsigned actions, pay_time_t now,
                  const struct payment_policy *policy);

#endif
