/*
 * relay - the relay role: what orders did, from the history into Redis Streams (docs/events.md), at
 * least once, of one order in its order, without gaps.
 *
 * One process at a time fills a stream (a lease in the database). A batch is appended by one
 * script, only if the stream still ends with the entry that was appended last: a stream that ends
 * earlier was emptied or restored, and is filled again from a mark before that; one that ends later
 * has the batch already, or that of a process that lost its lease, and gets it again.
 */
#ifndef PAYD_RELAY_H
#define PAYD_RELAY_H

#include "core/buf.h"

struct relay;
struct worker;

struct relay *relay_new(struct worker *w);
void relay_start(struct relay *r);
void relay_stop(struct relay *r);
/* After this Redis tells nothing more; what is asked of the store still ends. Before worker_end. */
void relay_end(struct relay *r);
/* Streams that are at work. */
size_t relay_active(const struct relay *r);
/* A status_source. */
void relay_metrics(const void *relay, struct buf *b);
/* After worker_end. */
void relay_free(struct relay *r);

#endif
