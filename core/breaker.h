/*
 * breaker - the health of one channel: four levels judged from the results of its calls, and a
 * circuit breaker on top of them. Pure: times come in as milliseconds of a clock that only goes
 * forward; a clock that was set back does not stop it. No allocation, no pointers inside: a struct
 * breaker may live in shared memory, and one of zero bytes is closed and new.
 *
 *   closed ──trips──▶ open ──wait──▶ probing ──`probes` good results──▶ recovering ──steps──▶
 * closed ▲  twice the wait  │ a bad one        │ trips         1 5 25 100 %
 *                       └──────────────────┴──────────────────┘
 *
 * breaker_call and breaker_outcomes tell when it should open; the caller then opens it, or keeps it
 * (the last channel when many fail at once). Only new payments are held back: breaker_offer is for
 * the choice of a channel, breaker_admit for the call itself. Rescue calls always go, and their
 * results count as probes.
 */
#ifndef CORE_BREAKER_H
#define CORE_BREAKER_H

#include <stdbool.h>
#include <stdint.h>

#define BREAKER_APIS    8u  /* kinds of calls whose SLA is kept apart */
#define BREAKER_BUCKETS 10u /* the window is forgotten in so many pieces */

enum breaker_state { BREAKER_CLOSED, BREAKER_OPEN, BREAKER_PROBING, BREAKER_RECOVERING };
#define BREAKER_STATES 4

/* The highest level that a channel keeps (R8.1). Each level includes those below it. */
enum breaker_level {
    BREAKER_OUT,       /* no connection */
    BREAKER_REACHABLE, /* connections, but no service */
    BREAKER_AVAILABLE, /* answers, but late */
    BREAKER_IN_TIME,   /* in time, but an API's SLA is missed */
    BREAKER_SLA
};
#define BREAKER_LEVELS 5

/* Why it opened, or should. */
enum breaker_reason {
    BREAKER_FINE,
    BREAKER_UNREACHABLE, /* no connection: so many in a row, or their share */
    BREAKER_FAILURES,    /* failed calls in a row */
    BREAKER_ERRORS,      /* share of failed calls */
    BREAKER_BAD_ANSWERS, /* answers in a row that workers could not use */
    BREAKER_SLOW,        /* share of slow calls */
    BREAKER_PROBE        /* a probe failed */
};
#define BREAKER_REASONS 7

/* What a level takes; 0 switches a limit off. A lost SLA is shown and opens nothing. */
struct breaker_limit {
    uint32_t in_a_row; /* calls that miss the level, one after another */
    uint32_t percent;  /* of the window's calls, if there are at least `calls` */
};

struct breaker_policy {
    bool enabled;
    struct breaker_limit limits[BREAKER_LEVELS]; /* [BREAKER_OUT] is not used */
    uint32_t calls;                              /* fewest calls that make a share */
    uint32_t probes;                             /* good results wanted, and payments risked */
    int64_t slow_ms;                             /* longer is not in time */
    int64_t sla_ms[BREAKER_APIS];                /* 0: the API has none */
    int64_t window_ms;
    int64_t wait_ms; /* before probing; doubles with each failed probe, up to 8 times */
    int64_t step_ms; /* of the come-back */
};

/* All calls are judged together, and new payments once more by themselves: a hundred good queries
 * do not hide that no payment passes. */
enum breaker_view { BREAKER_ALL, BREAKER_PAY };
#define BREAKER_VIEWS 2

struct breaker_counts {
    struct {
        uint32_t calls;
        uint32_t missed[BREAKER_LEVELS]; /* calls that did not reach the level; SLA's is below */
    } views[BREAKER_VIEWS];
    struct {
        uint32_t calls, missed;
    } apis[BREAKER_APIS];
};

struct breaker_run {
    uint32_t missed[BREAKER_LEVELS]; /* calls in a row that missed the level */
    uint32_t bad_answers;            /* in a row */
};

struct breaker {
    uint8_t state;
    uint8_t level;  /* while open or probing: the one that was left when it opened */
    uint8_t reason; /* of the last opening; BREAKER_FINE once closed again */
    uint8_t step;   /* of the come-back */
    uint8_t bucket;
    bool kept;     /* should have opened */
    bool pay_only; /* opened for payments alone: only they can close it */
    struct breaker_run runs[BREAKER_VIEWS];
    uint32_t good;             /* results while probing */
    uint32_t offers, places;   /* left for payments while probing */
    uint32_t opened;           /* times, since it was closed */
    int64_t now_ms;            /* latest time it was told */
    int64_t row_ms;            /* last failed call */
    int64_t bucket_ms;         /* begin of the current bucket */
    int64_t until_ms;          /* when the state ends by itself */
    int64_t since_ms;          /* results of older calls say nothing about it */
    int64_t changed_ms;        /* the state */
    struct breaker_counts sum; /* of the buckets */
    struct breaker_counts buckets[BREAKER_BUCKETS];
};

struct breaker_call {
    uint32_t api;
    bool pay;       /* a new payment */
    bool connected; /* the request left on a connection */
    bool served;    /* the channel answered, and not that it is out of order */
    int64_t took_ms;
};

const char *breaker_state_name(enum breaker_state s);
const char *breaker_level_name(enum breaker_level l);
const char *breaker_reason_name(enum breaker_reason r);

/* A call ended. The reason to open it, or BREAKER_FINE. */
enum breaker_reason breaker_call(struct breaker *b, const struct breaker_policy *p, int64_t now_ms,
                                 const struct breaker_call *call);
/* Answers of served calls that workers have read: usable ones and others. ALL includes PAY. */
struct breaker_answers {
    uint32_t good[BREAKER_VIEWS], bad[BREAKER_VIEWS];
};
/* As breaker_call. */
enum breaker_reason breaker_outcomes(struct breaker *b, const struct breaker_policy *p,
                                     int64_t now_ms, const struct breaker_answers *answers);
/* What to do with a reason: one of the two. */
void breaker_open(struct breaker *b, const struct breaker_policy *p, int64_t now_ms,
                  enum breaker_reason reason);
void breaker_keep(struct breaker *b, enum breaker_reason reason);

/* Changes that time alone makes: open ▸ probing, the steps of the come-back. At most one a call. */
void breaker_tick(struct breaker *b, const struct breaker_policy *p, int64_t now_ms);
/* Closed and new, by an operator's word. */
void breaker_reset(struct breaker *b);

/* Percent of new payments that may choose the channel: 100 closed, 0 open and probing. */
uint32_t breaker_share(const struct breaker *b);
/* Probing: may this payment choose the channel? Takes one of the few offers. */
bool breaker_offer(struct breaker *b);
/* May a call of a new payment pass? Takes one of the few places while probing. */
bool breaker_admit(struct breaker *b);

/* The level now. */
enum breaker_level breaker_level(const struct breaker *b, const struct breaker_policy *p);
/* Calls in a row that missed a level. All calls or payments, whatever is more. */
uint32_t breaker_in_a_row(const struct breaker *b, enum breaker_level level);
/* Of the window's calls the share that missed a level, 0..100; of all calls or of payments,
 * whatever is more. Of SLA: the worst API's. */
uint32_t breaker_missed_percent(const struct breaker *b, const struct breaker_policy *p,
                                enum breaker_level level);

#endif
