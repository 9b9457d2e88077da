/*
 * DESIGN. A process polls the parts of its slots that it has on lease (backends/store/timer.c); a
 * part with calls under way is not given back. Room is shared between channels by what is left: a
 * channel may have as many orders in work as places are free, so one that hangs ends with half of
 * them, and each further one with half of the rest. Nobody waits for a channel that is not his.
 */
#include "timers.h"

#include "backends/io/failpoint.h"
#include "backends/io/log.h"
#include "case_refunds.h"
#include "core/ids.h"
#include "flow.h"
#include "flows.h"

#include <stdlib.h>

#define LEASE_US (5 * USEC_PER_SEC)
#define RENEW_US (1 * USEC_PER_SEC)
#define LOOK_US  (10 * USEC_PER_SEC)

/* A channel that had something due; kept for the process's life. */
struct due_channel {
    struct due_channel *next;
    unsigned active;
    size_t n;
    char name[];
};

struct due_work {
    struct due_work *next, **link; /* of timers.working */
    struct timers *t;
    struct due_channel *channel;
    int64_t payment_id;
};

struct timers {
    struct worker *w;
    struct loop_timer *poll;
    struct loop_timer *look;
    struct case_refunds *cases;
    struct due_channel *channels;
    struct due_work *working; /* `active` of them */
    struct arena ask;         /* of the question under way */
    int64_t active;
    unsigned in_part[STORE_TIMER_PARTS];
    uint64_t parts;
    int64_t asked_us, held_until_us, renew_at_us; /* loop time */
    int64_t started;
    pay_time_t oldest; /* 0: nothing is due */
    bool asking, claiming, looking, stopped;
};

/* ---- what is in work ---- */

static struct due_channel *channel_of(struct timers *t, struct slice name)
{
    struct due_channel *c = t->channels;

    while (c && !slice_eq(slice_n(c->name, c->n), name))
        c = c->next;
    if (c || !(c = calloc(1, sizeof(*c) + name.n + 1)))
        return c;
    if (name.n)
        memcpy(c->name, name.p, name.n);
    c->n = name.n;
    c->next = t->channels;
    t->channels = c;
    return c;
}

static void release_parts(struct timers *t);

static uint32_t part_of(int64_t payment_id)
{
    return id_slot(payment_id) % STORE_TIMER_PARTS;
}

static void link_work(struct timers *t, struct due_work *d)
{
    d->link = &t->working;
    if ((d->next = t->working))
        d->next->link = &d->next;
    t->working = d;
}

static void unlink_work(struct due_work *d)
{
    if (d->next)
        d->next->link = d->link;
    *d->link = d->next;
}

static void on_flow(void *arg, struct flow *f)
{
    struct due_work *d = arg;
    struct timers *t = d->t;

    if (f->end == FLOW_NONE)
        log_event(LOG_ALERT, "timer_without_order", LOG_I("order", f->payment.id));
    t->active--;
    t->in_part[part_of(d->payment_id)]--;
    d->channel->active--;
    unlink_work(d);
    free(d);
    if (t->stopped && t->active == 0)
        release_parts(t);
}

static void start_flow(struct timers *t, const struct store_due *due)
{
    const struct payment_event e = {.kind = PAYMENT_EVENT_TIMER, .amount = -1};
    struct due_channel *c = channel_of(t, due->channel);
    struct due_work *d;
    struct flow *f;

    if (!c || flows_by_id(t->w->flows, due->payment_id)) /* still busy with it here */
        return;
    d = calloc(1, sizeof(*d));
    f = d ? flow_new(t->w, on_flow, d) : NULL;
    if (!f) {
        free(d);
        return;
    }
    *d = (struct due_work){.t = t, .channel = c, .payment_id = due->payment_id};
    link_work(t, d);
    t->active++;
    t->started++;
    t->in_part[part_of(d->payment_id)]++;
    c->active++;
    if (due->refund_id)
        flow_start_refund(f, due->refund_id, &e);
    else
        flow_start(f, due->payment_id, &e);
}

/* ---- what is due ---- */

static void on_due(void *arg, enum store_result r, const struct store_due *due, size_t n)
{
    struct timers *t = arg;
    const struct timer_options *o = &t->w->options->timers;

    t->asking = false;
    arena_clear(&t->ask);
    if (t->stopped)
        return;
    if (r == STORE_DONE && n)
        failpoint(FAILPOINT_TIMER_CLAIMED);
    for (size_t i = 0; r == STORE_DONE && i < n && t->active < o->active; i++)
        start_flow(t, &due[i]);
}

static size_t busy_channels(struct timers *t, struct store_due_busy **busy)
{
    size_t n = 0;

    for (const struct due_channel *c = t->channels; c; c = c->next)
        n += c->active > 0;
    *busy = arena_array(&t->ask, struct store_due_busy, n);
    n = 0;
    for (const struct due_channel *c = t->channels; *busy && c; c = c->next)
        if (c->active)
            (*busy)[n++] = (struct store_due_busy){slice_n(c->name, c->n), c->active};
    return n;
}

static const int64_t *working_payments(struct timers *t)
{
    int64_t *ids = arena_array(&t->ask, int64_t, (size_t)t->active);
    size_t n = 0;

    for (const struct due_work *d = t->working; ids && d; d = d->next)
        ids[n++] = d->payment_id;
    return ids;
}

static void ask_due(struct timers *t)
{
    const struct timer_options *o = &t->w->options->timers;
    const struct process_options *p = t->w->process;
    struct store_due_busy *busy;
    size_t nbusy = busy_channels(t, &busy);
    struct store_due_wish wish = {.slot_from = p->slot_from,
                                  .slot_to = p->slot_to,
                                  .parts = t->parts,
                                  .now = worker_now(t->w),
                                  .max = (unsigned)o->batch,
                                  .room = (unsigned)(o->active - t->active),
                                  .busy = busy,
                                  .nbusy = nbusy,
                                  .working = working_payments(t),
                                  .nworking = (size_t)t->active};

    if (t->ask.failed) {
        arena_clear(&t->ask);
        return;
    }
    t->asking = true;
    store_due(t->w->store, &wish, on_due, t);
}

/* ---- the lease ---- */

static void on_parts(void *arg, enum store_result r, uint64_t parts)
{
    struct timers *t = arg;

    t->claiming = false;
    if (r != STORE_DONE || t->stopped)
        return;
    t->parts = parts;
    t->held_until_us = t->asked_us + LEASE_US;
}

static void claim_parts(struct timers *t, int64_t lease_us)
{
    const struct process_options *p = t->w->process;
    uint64_t busy = 0;

    for (uint32_t i = 0; i < STORE_TIMER_PARTS; i++)
        busy |= (uint64_t)(t->in_part[i] > 0) << i;
    t->claiming = true;
    t->asked_us = loop_now_us(t->w->loop);
    t->renew_at_us = t->asked_us + RENEW_US;
    store_timer_parts(t->w->store, p->slot_from, p->slot_to, slice_of(t->w->holder), lease_us, busy,
                      on_parts, t);
}

/* Who follows need not wait for the lease's end. */
static void release_parts(struct timers *t)
{
    if (t->parts && !t->w->ending)
        claim_parts(t, 0);
    t->parts = 0;
}

static void on_poll(void *arg)
{
    struct timers *t = arg;
    const struct timer_options *o = &t->w->options->timers;
    int64_t now = loop_now_us(t->w->loop);

    loop_timer_set(t->poll, o->poll_us);
    if (!t->claiming && now >= t->renew_at_us)
        claim_parts(t, LEASE_US);
    if (!t->asking && t->active < o->active && t->parts && now < t->held_until_us &&
        worker_clock_steady(t->w))
        ask_due(t);
}

/* ---- figures ---- */

static void on_overdue(void *arg, enum store_result r, pay_time_t oldest)
{
    struct timers *t = arg;

    t->looking = false;
    if (r == STORE_DONE)
        t->oldest = oldest;
}

static void on_look(void *arg)
{
    struct timers *t = arg;

    loop_timer_set(t->look, LOOK_US);
    if (t->looking)
        return;
    t->looking = true;
    store_timer_overdue(t->w->store, on_overdue, t);
}

void timers_metrics(const void *arg, struct buf *b)
{
    const struct timers *t = arg;
    pay_time_t now = worker_now(t->w);

    buf_addf(b,
             "# HELP pay_timer_started_total due orders and refunds taken up by this process\n"
             "# TYPE pay_timer_started_total counter\npay_timer_started_total %lld\n"
             "# HELP pay_timer_parts parts of 64 of its slots that this process polls\n"
             "# TYPE pay_timer_parts gauge\npay_timer_parts %d\n"
             "# HELP pay_timer_overdue_seconds how late the oldest due order or refund is\n"
             "# TYPE pay_timer_overdue_seconds gauge\npay_timer_overdue_seconds %lld\n"
             "# HELP pay_timer_active orders that a timer started, by channel\n"
             "# TYPE pay_timer_active gauge\n",
             (long long)t->started, __builtin_popcountll(t->parts),
             (long long)(t->oldest && t->oldest < now ? (now - t->oldest) / USEC_PER_SEC : 0));
    for (const struct due_channel *c = t->channels; c; c = c->next)
        buf_addf(b, "pay_timer_active{channel=\"%s\"} %u\n", c->name, c->active);
}

/* ---- life ---- */

struct timers *timers_new(struct worker *w)
{
    struct timers *t = calloc(1, sizeof(*t));

    if (!t)
        return NULL;
    t->w = w;
    arena_init(&t->ask, 1u << 20);
    t->poll = loop_timer_new(w->loop, on_poll, t);
    t->look = loop_timer_new(w->loop, on_look, t);
    t->cases = case_refunds_new(w);
    if (!t->poll || !t->look || !t->cases) {
        timers_free(t);
        return NULL;
    }
    return t;
}

void timers_start(struct timers *t)
{
    loop_timer_set(t->poll, 0);
    case_refunds_start(t->cases);
    if (t->w->process->status)
        loop_timer_set(t->look, 0);
}

void timers_stop(struct timers *t)
{
    t->stopped = true;
    case_refunds_stop(t->cases);
    loop_timer_clear(t->poll);
    loop_timer_clear(t->look);
    if (t->active == 0)
        release_parts(t);
}

size_t timers_leaving(const struct timers *t)
{
    return t->stopped && t->claiming;
}

void timers_free(struct timers *t)
{
    struct due_channel *c;

    if (!t)
        return;
    while ((c = t->channels)) {
        t->channels = c->next;
        free(c);
    }
    case_refunds_free(t->cases);
    loop_timer_free(t->poll);
    loop_timer_free(t->look);
    arena_release(&t->ask);
    free(t);
}
