/*
 * commit - the group commit: batches and what becomes of them. store.h has the promises.
 */
#ifndef STORE_COMMIT_H
#define STORE_COMMIT_H

#include "store.h"

struct commits;

struct commits *commits_new(struct loop *l, struct pg_pool *writers, unsigned batch_max,
                            unsigned queue_max);
/* Before the pool is freed: starts nothing more. */
void commits_stop(struct commits *c);
/* After the pool is freed: tells every job STORE_BUSY or, in doubt, STORE_UNKNOWN. */
void commits_free(struct commits *c);
void commits_add(struct commits *c, struct store_job *job);
/* A connection is free. */
void commits_run(struct commits *c);
/* Now and then: jobs that waited too long. */
void commits_tick(struct commits *c);

#endif
