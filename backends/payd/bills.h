/*
 * bills - role timer: fetches the bill of each day of each channel account that is on, once the
 * channel should have it, and asks again until it is stored. One process of many asks for a bill;
 * the work is done by `payctl bill fetch` in a process of its own, since bills are large.
 */
#ifndef PAYD_BILLS_H
#define PAYD_BILLS_H

#include "worker.h"

struct bills;

/* NULL also when payctl is not beside payd: *err says so. */
struct bills *bills_new(struct worker *w, struct conf_error *err);
void bills_start(struct bills *b);
void bills_stop(struct bills *b);
/* After the store, which tells it that nothing comes any more. */
void bills_free(struct bills *b);
/* Adds its metrics to a page (status.h); arg is the bills. */
void bills_metrics(const void *arg, struct buf *to);

#endif
