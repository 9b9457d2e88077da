/*
 * timers - the timer role: due orders and refunds of the slots that this process has on lease, one
 * flow each. What the timer sends is the domain's word; moving the due time in the same commit as
 * the attempt is what keeps two processes from polling one order twice, the lease saves the trial.
 */
#ifndef PAYD_TIMERS_H
#define PAYD_TIMERS_H

#include "core/buf.h"

struct timers;
struct worker;

struct timers *timers_new(struct worker *w);
void timers_start(struct timers *t);
/* Takes up nothing more, and gives the lease back when nothing is under way. */
void timers_stop(struct timers *t);
/* 1 while the lease is being given back. */
size_t timers_leaving(const struct timers *t);
void timers_metrics(const void *timers, struct buf *b);
void timers_free(struct timers *t);

#endif
