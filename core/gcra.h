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
/* The same for a call that can wait so long, at most ahead_ns: nanoseconds until it may go, and it
 * is counted; -1: over the rate for longer than that. */
int64_t gcra_take_turn(int64_t *state, const struct gcra_rate *rate, int64_t now_ns,
                       int64_t patience_ns);
/* A call that was counted last did not go after all. */
void gcra_give_back(int64_t *state, const struct gcra_rate *rate);
/* Nanoseconds until the next call may go; 0 = now. */
int64_t gcra_wait(int64_t state, const struct gcra_rate *rate, int64_t now_ns);

#endif
