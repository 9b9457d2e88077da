/*
 * outcomes - tells the egress what workers read in the channels' answers: how many of each class,
 * per channel and kind of call. The breaker of a channel and its statistics need it, since only a
 * worker understands what a 200 says.
 *
 * Counted in memory and sent in batches of `outcomes` (200 ms), one batch under way at a time. A
 * batch that is lost is lost: no order waits for one, none is sent again.
 */
#ifndef PAYD_OUTCOMES_H
#define PAYD_OUTCOMES_H

#include "worker.h"

struct outcomes;

/* Where the egress takes them: POST, JSON (docs/interfaces.md). */
#define OUTCOMES_TARGET "/-/outcomes"

/* NULL: out of memory. */
struct outcomes *outcomes_new(struct worker *w);
/* Sends nothing more. Before the egress client is freed. */
void outcomes_stop(struct outcomes *o);
/* After that. */
void outcomes_free(struct outcomes *o);
/* An answer that took so long was read. Never fails: what there is no room for is not counted. */
void outcomes_add(struct outcomes *o, struct slice channel, enum call_kind kind,
                  enum answer_class cls, int64_t took_us);

#endif
