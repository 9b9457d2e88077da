/*
 * timers - the timer role: due orders of this process's slots, one flow each. What the timer sends
 * is the domain's word; moving the due time in the same commit as the attempt is what keeps two
 * processes from polling one order twice.
 */
#ifndef PAYD_TIMERS_H
#define PAYD_TIMERS_H

struct timers;
struct worker;

struct timers *timers_new(struct worker *w);
void timers_start(struct timers *t);
void timers_stop(struct timers *t);
void timers_free(struct timers *t);

#endif
