/*
 * present - an order as its channel's calls need it, and what the payer's page or app is given to
 * pay it: made afresh whenever a merchant looks at an order that can be paid, since it carries a
 * time and a signature.
 */
#ifndef PAYD_PRESENT_H
#define PAYD_PRESENT_H

#include "backends/domain/payment.h"
#include "payer.h"
#include "worker.h"

/* The order under the request number of its command `seq`. Slices live in a or in *p. */
void present_order(struct arena *a, const struct payment *p, uint32_t seq, struct channel_order *o);

/* Members are empty where the order needs none, cannot be paid any more, or its account is away. */
void present_payment(const struct worker *w, struct arena *a, const struct payment *p,
                     struct channel_present *out);

#endif
