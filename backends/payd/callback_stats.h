/*
 * callback_stats - figures of the callback role: tries by their end, and, asked of the database
 * every now and then, how many callbacks wait and how many were given up.
 */
#ifndef PAYD_CALLBACK_STATS_H
#define PAYD_CALLBACK_STATS_H

#include "backends/store/store.h"
#include "core/buf.h"

struct callback_stats;
struct worker;

struct callback_stats *callback_stats_new(struct worker *w);
void callback_stats_start(struct callback_stats *s);
void callback_stats_stop(struct callback_stats *s);
/* One try that ended; answered: with whatever status. */
void callback_stats_try(struct callback_stats *s, enum callback_state state, bool answered);
void callback_stats_metrics(const struct callback_stats *s, long active, long suspects,
                            struct buf *b);
/* After worker_end. */
void callback_stats_free(struct callback_stats *s);

#endif
