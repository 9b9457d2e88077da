/*
 * canary - is a canary pool worse than the pool it is compared with? Pure: sums of the same time
 * come in, a verdict goes out. What chance explains is not counted against it.
 */
#ifndef CORE_CANARY_H
#define CORE_CANARY_H

#include <stdint.h>

/* Of one pool, since one moment. Requests that still wait count with the time they have waited. */
struct canary_sums {
    uint64_t requests;
    uint64_t failures;
    uint64_t ms; /* all times together */
};

struct canary_limits {
    uint32_t requests; /* of the canary, before there is a verdict */
    uint32_t
        failures;    /* per cent of the canary's requests that may fail beyond the other's share */
    uint32_t slower; /* per cent of the other's mean time that its own may be; 0: any */
};

enum canary_verdict {
    CANARY_EARLY, /* too few requests yet */
    CANARY_WELL,
    CANARY_FAILS,
    CANARY_SLOW
};

/* A mean time that is longer by less than this, in ms, is not slow whatever its ratio. */
#define CANARY_MS 10u

/* Sums below 2^32. Times are compared only when the other pool had as many requests as a verdict
 * takes; without requests of the other its share of failures is 0. */
enum canary_verdict canary_judge(const struct canary_sums *own, const struct canary_sums *other,
                                 const struct canary_limits *limits);

/* In hundredths of a per cent; 0 without requests. */
uint32_t canary_share(const struct canary_sums *sums);
/* Milliseconds; 0 without requests. */
uint64_t canary_mean(const struct canary_sums *sums);

#endif
