/*
 * payment_reroute - from a channel that refused an order to the next one, and the money that nobody
 * waits for: over a channel that had refused (R3.6, double-pay guard), or for an order that has
 * ended without it (R2.9). Private to payment.c.
 *
 * Only the class `refused` moves an order on: the channel definitely did not accept it. Each
 * channel has a command of its own, so a request number of its own. Should one of them have lied,
 * what comes over it is given back by itself, whatever became of the order meanwhile.
 */
#ifndef DOMAIN_PAYMENT_REROUTE_H
#define DOMAIN_PAYMENT_REROUTE_H

#include "payment.h"

/* The order's only open call was refused, nothing was wanted or heard meanwhile, and there is a
 * channel that may be next. */
bool payment_may_reroute(const struct payment *p, const struct payment_event *e,
                         const struct payment_policy *policy);
/* The image goes on under a new command. */
void payment_reroute(struct payment *a, const struct payment_event *e);

static inline bool payment_event_of_past(const struct payment *p, const struct payment_event *e)
{
    return e->seq && e->seq < p->command_seq;
}
/* (payment.c) Are the amount and currency told those of the order? */
bool payment_amount_ours(const struct payment *p, const struct payment_event *e);

enum payment_input payment_classify_past(const struct payment *p, const struct payment_event *e);
/* Success of an order that has failed or was closed, by policy->late_refund (R2.9). */
enum payment_input payment_classify_late(const struct payment *p, const struct payment_event *e);
/* Once for each command: the money is written down, and a refund asked for. */
void payment_give_back(struct payment *a, const struct payment_event *e,
                       struct payment_extra *extra);

#endif
