/*
 * metrics - what a process of the roles order and timer counts beside the log, as Prometheus' text
 * on its status page (docs/metrics.md). Labels come from the configuration and the database, never
 * from a request.
 */
#ifndef PAYD_METRICS_H
#define PAYD_METRICS_H

#include "core/buf.h"
#include "worker.h"

struct metrics;

/* What became of a channel's notification. */
#define NOTICE_END_TABLE(X)                                                                        \
    X(TAKEN, "taken")                 /* genuine, committed, acknowledged */                       \
    X(OTHER, "other")                 /* genuine, of a kind without a result; acknowledged */      \
    X(REFUSED, "refused")             /* signature, identity or form */                            \
    X(MISMATCH, "mismatch")           /* genuine, but not what the order says */                   \
    X(UNKNOWN_ORDER, "unknown_order") /* genuine, of no order of ours */                           \
    X(LIMITED, "limited")             /* genuine, but too many of the account were in vain */      \
    X(BUSY, "busy")                   /* could not be committed; it comes again */
enum notice_end {
#define X(name, text) NOTICE_##name,
    NOTICE_END_TABLE(X)
#undef X
        NOTICE_END_COUNT
};

struct metrics *metrics_new(struct worker *w);
void metrics_free(struct metrics *m);
void metrics_notice(struct metrics *m, const struct channel *c, enum notice_end end);
/* A notification for no channel or account of ours. */
void metrics_stray(struct metrics *m);
/* Adds them to a page (status.h); arg is the metrics. */
void metrics_page(const void *arg, struct buf *b);

#endif
