#include "timers.h"

#include "backends/io/failpoint.h"
#include "backends/io/log.h"
#include "flow.h"

#include <stdlib.h>

struct timers {
    struct worker *w;
    struct loop_timer *poll;
    int64_t active;
    bool asking;
    bool stopped;
};

static void on_flow(void *arg, struct flow *f)
{
    struct timers *t = arg;

    t->active--;
    if (f->end == FLOW_NONE)
        log_event(LOG_ALERT, "timer_without_order", LOG_I("order", f->payment.id));
}

static void start_flow(struct timers *t, const struct store_due *due)
{
    const struct payment_event e = {.kind = PAYMENT_EVENT_TIMER, .amount = -1};
    struct flow *f;

    if (flows_by_id(t->w->flows, due->payment_id)) /* still busy with it here */
        return;
    f = flow_new(t->w, on_flow, t);
    if (!f)
        return;
    t->active++;
    if (due->refund_id)
        flow_start_refund(f, due->refund_id, &e);
    else
        flow_start(f, due->payment_id, &e);
}

static void on_due(void *arg, enum store_result r, const struct store_due *due, size_t n)
{
    struct timers *t = arg;
    const struct timer_options *o = &t->w->options->timers;

    t->asking = false;
    if (t->stopped)
        return;
    if (r == STORE_DONE && n)
        failpoint(FAILPOINT_TIMER_CLAIMED);
    for (size_t i = 0; r == STORE_DONE && i < n && t->active < o->active; i++)
        start_flow(t, &due[i]);
}

static void on_poll(void *arg)
{
    struct timers *t = arg;
    const struct timer_options *o = &t->w->options->timers;
    const struct process_options *p = t->w->process;

    loop_timer_set(t->poll, o->poll_us);
    if (t->asking || t->active >= o->active || !worker_clock_steady(t->w))
        return;
    t->asking = true;
    store_due(t->w->store, p->slot_from, p->slot_to, worker_now(t->w), (unsigned)o->batch, on_due,
              t);
}

struct timers *timers_new(struct worker *w)
{
    struct timers *t = calloc(1, sizeof(*t));

    if (!t)
        return NULL;
    t->w = w;
    t->poll = loop_timer_new(w->loop, on_poll, t);
    if (!t->poll) {
        free(t);
        return NULL;
    }
    return t;
}

void timers_start(struct timers *t)
{
    loop_timer_set(t->poll, 0);
}

void timers_stop(struct timers *t)
{
    t->stopped = true;
    loop_timer_clear(t->poll);
}

void timers_free(struct timers *t)
{
    if (!t)
        return;
    loop_timer_free(t->poll);
    free(t);
}
