/*
 * loop - the one event loop of a process: libevent plus what our objects need from it.
 *
 * Objects that callbacks may destroy are freed at the end of the loop turn (loop_defer), so code
 * higher on the stack may still touch them. Nothing here is thread-safe: one loop, one thread.
 */
#ifndef IO_LOOP_H
#define IO_LOOP_H

#include "core/clock.h"
#include <event2/event.h>

struct loop;
struct loop_timer;
typedef void loop_cb(void *arg);

/* Also ignores SIGPIPE and raises the limit of open files to what the system grants. */
struct loop *loop_new(void);
/* Deferred work is still run; free what it belongs to before. */
void loop_free(struct loop *l);
/* Runs until loop_stop. 0, or -1 when the backend failed. */
int loop_run(struct loop *l);
void loop_stop(struct loop *l);
struct event_base *loop_base(struct loop *l);

/* CLOCK_MONOTONIC microseconds, read once a loop turn. */
int64_t loop_now_us(const struct loop *l);

/* One-shot timers; set again to move. The owner frees. */
struct loop_timer *loop_timer_new(struct loop *l, loop_cb *cb, void *arg);
void loop_timer_set(struct loop_timer *t, int64_t delay_us);
void loop_timer_clear(struct loop_timer *t);
void loop_timer_free(struct loop_timer *t);

/* cb(arg) at the end of this turn, in order of calls (group commit's "what is ready now"). */
void loop_defer(struct loop *l, loop_cb *cb, void *arg);
/* SIGTERM/SIGINT and the like, delivered inside the loop. */
int loop_signal(struct loop *l, int signo, loop_cb *cb, void *arg);

#endif
