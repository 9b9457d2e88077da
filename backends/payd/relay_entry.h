/*
 * relay_entry - an event of an order as the entry of a stream: names and values (docs/events.md).
 */
#ifndef PAYD_RELAY_ENTRY_H
#define PAYD_RELAY_ENTRY_H

#include "backends/store/relay.h"

#define ENTRY_ARGS_MAX 48 /* names and values, and their count before them */

/* Count, then names and values; empty values are left out. Texts are in the arena or e's. The
 * number of arguments; 0 when the arena is full. */
size_t relay_entry(struct arena *a, const struct relay_event *e, struct slice *args);

#endif
