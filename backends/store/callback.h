/*
 * callback - results of callback tries, written many at a time.
 */
#ifndef STORE_CALLBACK_H
#define STORE_CALLBACK_H

#include "store.h"

struct tries;

struct tries *tries_new(struct loop *l, struct pg_pool *writers, unsigned batch_max);
void tries_stop(struct tries *t);
void tries_free(struct tries *t);
void tries_add(struct tries *t, struct store_callback_try *item);
void tries_run(struct tries *t);
void tries_tick(struct tries *t);

#endif
