/*
 * failpoint - the steps between which a crash must lose nothing: the database, the channel and the
 * merchant, each before, on the way and after. The environment's PAYD_FAILPOINT=NAME[:N] makes a
 * process end at the N-th pass (1) of that step, as kill -9 would (t/fault/points.t). Without it a
 * step costs one comparison.
 */
#ifndef IO_FAILPOINT_H
#define IO_FAILPOINT_H

#include <stdbool.h>

#define FAILPOINT_TABLE(X)                                                                         \
    X(COMMIT_SEND)       /* decided, nothing written */                                            \
    X(COMMIT_SENT)       /* on its way to the database */                                          \
    X(COMMIT_ANSWERED)   /* committed, nobody knows */                                             \
    X(CHANNEL_SEND)      /* the attempt is committed, nothing left */                              \
    X(CHANNEL_SENT)      /* on its way to the channel */                                           \
    X(CHANNEL_ANSWERED)  /* the channel has done it, nothing is written */                         \
    X(NOTIFY_TAKEN)      /* a genuine notification, nothing is written */                          \
    X(NOTIFY_COMMITTED)  /* written, not acknowledged */                                           \
    X(TIMER_CLAIMED)     /* due work is in hand */                                                 \
    X(CALLBACK_CLAIMED)  /* its try is counted, nothing left */                                    \
    X(CALLBACK_SENT)     /* on its way to the merchant */                                          \
    X(CALLBACK_ANSWERED) /* the merchant has it, nothing is written */                             \
    X(CALLBACK_STORED)   /* written */

enum failpoint {
#define X(name) FAILPOINT_##name,
    FAILPOINT_TABLE(X)
#undef X
        FAILPOINT_COUNT
};

/* Reads the environment. 0, or -1 when it names no step. */
int failpoint_arm(void);

extern enum failpoint failpoint_armed; /* FAILPOINT_COUNT: none */
void failpoint_pass(void);

static inline void failpoint(enum failpoint at)
{
    if (__builtin_expect(at == failpoint_armed, false))
        failpoint_pass();
}

#endif
