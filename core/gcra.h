/*
 * gcra - a rate with a burst (generic cell rate algorithm): one number of state, the theoretical
 * arrival time of the next call. Pure; times are nanoseconds of a clock that only goes forward.
 * A state of 0 is new. A clock that was set back, or a rate that was raised, makes no caller wait
 * longer than a full burst and `ahead` take.
 */
#ifndef CORE_GCRA_H
#define CORE_GCRA_H

#include <stdbool.h>
#include <stdint.h>

struct gcra_rate {
    int64_t interval_ns; /* between calls; 0 = no limit */
    int64_t burst;       /* calls that may come at once beside the one that is due, >= 0 */
    int64_t ahead_ns;    /* so long before its turn a call may be promised it; 0: never */
};

/* count calls per period; rounded so that the rate is never exceeded. */
struct gcra_rate gcra_rate_of(int64_t count, int64_t period_ns, int64_t burst);

/* True: the call may go and is counted. False: over the rate. */
bool gcra_take(int64_t *state, const struct gcra_rate *rate, int64_t now_ns);
/* Counts a call that will go at at_ns: when it may (gcra_wait) or later, but not after ahead_ns. Of
 * several rates each is told when it goes, so that none sees calls that waited for another one
 * bunch. */
void gcra_promise(int64_t *state, const struct gcra_rate *rate, int64_t now_ns, int64_t at_ns);
/* Nanoseconds until the next call may go; 0 = now. gcra_ask, which whoever waits or refuses must
 * use, also keeps that a state was too far ahead: else it would be so again at the next question.
 */
int64_t gcra_ask(int64_t *state, const struct gcra_rate *rate, int64_t now_ns);
int64_t gcra_wait(int64_t state, const struct gcra_rate *rate, int64_t now_ns);

#endif
