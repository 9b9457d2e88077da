/*
 * flows - what this process has in flight: every flow from flow_new to its end, findable by the
 * order's id, creations by their number as well. Nothing is owned here.
 */
#ifndef PAYD_FLOWS_H
#define PAYD_FLOWS_H

#include "core/slice.h"

struct flow;
struct flows;

struct flows *flows_new(void); /* NULL: no memory */
void flows_free(struct flows *fs);
size_t flows_active(const struct flows *fs);
struct flow *flows_by_id(const struct flows *fs, int64_t payment_id);
/* The creation in flight of that number. */
struct flow *flows_creating(const struct flows *fs, struct slice mchid, struct slice out_trade_no);

/* For flow.c: counted from flows_enter to flows_leave, found from flows_add_... on. */
void flows_enter(struct flow *f);
void flows_add_id(struct flow *f);
void flows_add_number(struct flow *f);
void flows_leave(struct flow *f);

#endif
