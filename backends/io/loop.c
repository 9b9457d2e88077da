/*
 * DESIGN. libevent waits and dispatches; this file adds three things it lacks: the clock read once
 * a turn, work put off to the end of the turn, and a place where the log is written out. So the
 * loop is spelled out here, one EVLOOP_ONCE a turn, instead of leaving it to event_base_dispatch.
 *
 * What is deferred while deferred work runs belongs to the next turn, which then does not wait.
 */
#include "loop.h"

#include "log.h"
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>

struct deferred {
    loop_cb *cb;
    void *arg;
};

struct deferred_list {
    struct deferred *p;
    size_t n;
    size_t alloc;
};

struct loop_signal {
    struct event *ev;
    loop_cb *cb;
    void *arg;
    struct loop_signal *next;
};

struct loop {
    struct event_base *base;
    struct deferred_list ready;   /* collected in this turn */
    struct deferred_list running; /* being run now */
    struct loop_signal *signals;
    int64_t now_us; /* 0 = not yet read in this turn */
    bool in_run;
    bool stop;
};

struct loop_timer {
    struct event *ev;
    loop_cb *cb;
    void *arg;
};

/* Each order holds two descriptors or more; the usual soft limit of 1,024 is none for a server. */
static void raise_file_limit(void)
{
    struct rlimit lim;

    if (getrlimit(RLIMIT_NOFILE, &lim) == 0 && lim.rlim_cur < lim.rlim_max) {
        lim.rlim_cur = lim.rlim_max;
        setrlimit(RLIMIT_NOFILE, &lim);
    }
}

static struct event_base *new_base(void)
{
    struct event_config *cfg = event_config_new();
    struct event_base *base = NULL;

    if (cfg) {
        event_config_set_flag(cfg, EVENT_BASE_FLAG_NOLOCK);
        base = event_base_new_with_config(cfg);
        event_config_free(cfg);
    }
    return base;
}

struct loop *loop_new(void)
{
    struct loop *l = calloc(1, sizeof(*l));

    if (!l)
        return NULL;
    l->base = new_base();
    if (!l->base) {
        free(l);
        return NULL;
    }
    signal(SIGPIPE, SIG_IGN);
    raise_file_limit();
    return l;
}

static void run_deferred(struct loop *l)
{
    struct deferred_list list = l->ready;

    l->ready = l->running;
    l->ready.n = 0;
    l->running = list;
    for (size_t i = 0; i < list.n; i++)
        list.p[i].cb(list.p[i].arg);
    l->running.n = 0;
}

void loop_free(struct loop *l)
{
    struct loop_signal *s;

    if (!l)
        return;
    while (l->ready.n)
        run_deferred(l);
    while ((s = l->signals)) {
        l->signals = s->next;
        event_free(s->ev);
        free(s);
    }
    event_base_free(l->base);
    free(l->ready.p);
    free(l->running.p);
    free(l);
    log_flush();
}

int loop_run(struct loop *l)
{
    int rc = 0;

    l->in_run = true;
    while (!l->stop && rc >= 0) {
        int flags = EVLOOP_ONCE | EVLOOP_NO_EXIT_ON_EMPTY;

        l->now_us = 0;
        rc = event_base_loop(l->base, l->ready.n ? EVLOOP_NONBLOCK : flags);
        run_deferred(l);
        log_flush();
    }
    l->in_run = false;
    l->stop = false;
    return rc < 0 ? -1 : 0;
}

/* Only a flag: the turn is finished first, so what it deferred still happens. Outside of callbacks
 * it stops the next loop_run after one turn at most. */
void loop_stop(struct loop *l)
{
    l->stop = true;
}

struct event_base *loop_base(struct loop *l)
{
    return l->base;
}

int64_t loop_now_us(const struct loop *l)
{
    struct loop *w = (struct loop *)l; /* a cache; loops are never const objects */

    if (!l->in_run)
        return clock_read_mono_us();
    if (w->now_us == 0)
        w->now_us = clock_read_mono_us();
    return w->now_us;
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
    struct loop_timer *t = arg;

    (void)fd;
    (void)what;
    t->cb(t->arg);
}

struct loop_timer *loop_timer_new(struct loop *l, loop_cb *cb, void *arg)
{
    struct loop_timer *t = calloc(1, sizeof(*t));

    if (!t)
        return NULL;
    t->cb = cb;
    t->arg = arg;
    t->ev = evtimer_new(l->base, on_timer, t);
    if (!t->ev) {
        free(t);
        return NULL;
    }
    return t;
}

void loop_timer_set(struct loop_timer *t, int64_t delay_us)
{
    struct timeval tv;

    if (delay_us < 0)
        delay_us = 0;
    tv.tv_sec = delay_us / USEC_PER_SEC;
    tv.tv_usec = delay_us % USEC_PER_SEC;
    evtimer_add(t->ev, &tv);
}

void loop_timer_clear(struct loop_timer *t)
{
    evtimer_del(t->ev);
}

void loop_timer_free(struct loop_timer *t)
{
    if (!t)
        return;
    event_free(t->ev);
    free(t);
}

void loop_defer(struct loop *l, loop_cb *cb, void *arg)
{
    struct deferred_list *d = &l->ready;

    if (d->n == d->alloc) {
        size_t alloc = d->alloc ? d->alloc * 2 : 64;
        struct deferred *p = realloc(d->p, alloc * sizeof(*p));

        /* Losing deferred work could lose an answer or free nothing ever: better to stop here. */
        if (!p)
            abort();
        d->p = p;
        d->alloc = alloc;
    }
    d->p[d->n++] = (struct deferred){cb, arg};
}

static void on_signal(evutil_socket_t fd, short what, void *arg)
{
    struct loop_signal *s = arg;

    (void)fd;
    (void)what;
    s->cb(s->arg);
}

int loop_signal(struct loop *l, int signo, loop_cb *cb, void *arg)
{
    struct loop_signal *s = calloc(1, sizeof(*s));

    if (!s)
        return -1;
    s->cb = cb;
    s->arg = arg;
    s->ev = evsignal_new(l->base, signo, on_signal, s);
    if (!s->ev || event_add(s->ev, NULL) != 0) {
        if (s->ev)
            event_free(s->ev);
        free(s);
        return -1;
    }
    s->next = l->signals;
    l->signals = s;
    return 0;
}
