/*
 * read - orders by id and by number, many at a time.
 */
#ifndef STORE_READ_H
#define STORE_READ_H

#include "store.h"

struct reads;

struct reads *reads_new(struct loop *l, struct pg_pool *readers, unsigned batch_max,
                        unsigned queue_max);
/* Before the pool is freed: starts nothing more. */
void reads_stop(struct reads *r);
/* After the pool is freed: tells every asker STORE_BUSY. */
void reads_free(struct reads *r);
void reads_by_id(struct reads *r, int64_t id, struct arena *a, store_payment_cb *cb, void *arg);
void reads_by_no(struct reads *r, uint32_t slot, struct slice mchid, struct slice out_trade_no,
                 struct arena *a, store_payment_cb *cb, void *arg);
void reads_run(struct reads *r);
void reads_tick(struct reads *r);

#endif
