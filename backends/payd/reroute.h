/*
 * reroute - which channel takes an order: the first of the edge's candidates that this process can
 * use, and the next ones should it refuse (R3.6).
 *
 * A payer's wallet does not change on the way: the next channel must end in the same wallets as the
 * first (`wallet` of both blocks). jsapi and app orders stay where they are: their payer is known
 * to one app id.
 */
#ifndef PAYD_REROUTE_H
#define PAYD_REROUTE_H

#include "flow.h"

/* Sets the new order's channel and account; the other candidates stay in f->candidates. 0 or -1. */
int reroute_first(struct flow *f, struct slice candidates);
/* Names the next channel in the answer of one that refused, if there is one and time. */
void reroute_offer(struct flow *f, struct payment_event *e);

#endif
