/*
 * child - another program, run beside the loop and waited for: what may take its time and memory
 * does not do so in a process that serves. It has no input, its output is dropped, and the last
 * line of what it says on standard error is handed over. It ends with us, however we end.
 */
#ifndef IO_CHILD_H
#define IO_CHILD_H

#include "core/slice.h"
#include "loop.h"

struct child;

/* status: what it exited with; -1 when a signal ended it, or its time was up. `said` lives during
 * the call. The child is freed afterwards. */
typedef void child_cb(void *arg, int status, struct slice said);

/* argv ends with NULL, argv[0] is the program's path. NULL: out of memory or processes; a program
 * that cannot be run exits with 127. */
struct child *child_run(struct loop *l, const char *const *argv, int64_t timeout_us, child_cb *cb,
                        void *arg);
/* Kills it and waits; the callback does not come. */
void child_end(struct child *c);

#endif
