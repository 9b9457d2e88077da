/*
 * status - a process' own figures on its `status` socket: GET /metrics in Prometheus' text format.
 */
#ifndef PAYD_STATUS_H
#define PAYD_STATUS_H

#include "core/buf.h"

struct status;
struct worker;

/* Adds its figures; arg as given to status_add. */
typedef void status_source(const void *arg, struct buf *b);

/* NULL with a reason in err (size n). */
struct status *status_new(struct worker *w, const char *unix_path, char *err, size_t n);
/* At most STATUS_SOURCES; arg outlives it. */
#define STATUS_SOURCES 4
void status_add(struct status *s, status_source *source, const void *arg);
void status_free(struct status *s);

#endif
