/*
 * DESIGN. The pool is a queue of units and up to 16 connections (pg_conn.c). A unit goes to an idle
 * connection at once; with all busy it waits, and waits on while connections break and come back,
 * until its time is up. Units that end without an answer of the server are told so at the end of
 * the turn, never from inside pg_run.
 */
#include "pg_impl.h"

#include <stdlib.h>

/* ---- ends of units ---- */

void pool_unit_free_params(struct pg_unit *u)
{
    for (size_t i = 0; i < u->n; i++) {
        pg_params_free(u->statements[i].params);
        u->statements[i].params = NULL;
    }
}

static void unit_free(struct pg_unit *u)
{
    pool_unit_free_params(u);
    for (size_t i = 0; i < u->n; i++)
        PQclear(u->results[i]);
    PQclear(u->error);
    free(u);
}

static void set_error(struct pg_answer *a, const PGresult *error)
{
    const char *state = PQresultErrorField(error, PG_DIAG_SQLSTATE);

    a->message = PQresultErrorField(error, PG_DIAG_MESSAGE_PRIMARY);
    if (!a->message)
        a->message = PQresultErrorMessage(error);
    if (state)
        memcpy(a->sqlstate, state, strnlen(state, sizeof(a->sqlstate) - 1));
}

static void tell(struct pg_unit *u)
{
    struct pg_answer a = {.outcome = u->outcome, .message = u->reason};

    if (u->outcome == PG_DONE) {
        a.results = u->results;
        a.nresults = u->n;
    } else if (u->error) {
        set_error(&a, u->error);
    }
    u->cb(u->arg, &a);
    unit_free(u);
}

static void on_failed(void *arg)
{
    struct pg_pool *p = arg;
    struct pg_unit *u = p->failed, *next;

    p->failed = NULL;
    p->failed_end = &p->failed;
    p->failed_deferred = false;
    for (; u; u = next) {
        next = u->next;
        tell(u);
    }
}

void pool_unit_fail(struct pg_pool *p, struct pg_unit *u, enum pg_outcome outcome,
                    const char *reason)
{
    u->outcome = outcome;
    u->reason = reason;
    u->next = NULL;
    *p->failed_end = u;
    p->failed_end = &u->next;
    if (!p->failed_deferred)
        loop_defer(p->loop, on_failed, p);
    p->failed_deferred = true;
}

/* ---- queue ---- */

static void set_expiry(struct pg_pool *p)
{
    if (p->queue)
        loop_timer_set(p->expiry, p->queue->expires_us - loop_now_us(p->loop));
    else
        loop_timer_clear(p->expiry);
}

static struct pg_unit *queue_take(struct pg_pool *p)
{
    struct pg_unit *u = p->queue;

    p->queue = u->next;
    if (!p->queue)
        p->queue_end = &p->queue;
    p->nqueue--;
    u->next = NULL;
    return u;
}

static void queue_add(struct pg_pool *p, struct pg_unit *u)
{
    u->next = NULL;
    *p->queue_end = u;
    p->queue_end = &u->next;
    if (p->nqueue++ == 0)
        set_expiry(p);
}

/* It was first in the queue before and is so again, with the time it has left. */
void pool_unit_requeue(struct pg_pool *p, struct pg_unit *u)
{
    u->next = p->queue;
    p->queue = u;
    if (!u->next)
        p->queue_end = &u->next;
    p->nqueue++;
    set_expiry(p);
}

/* Units wait equally long, so the first one is always the first to expire. */
static void on_expiry(void *arg)
{
    struct pg_pool *p = arg;

    while (p->queue && p->queue->expires_us <= loop_now_us(p->loop))
        pool_unit_fail(p, queue_take(p), PG_NOT_SENT, "no connection in time");
    set_expiry(p);
}

static struct pg_conn *idle_conn(struct pg_pool *p)
{
    for (unsigned i = 0; i < p->conf.connections; i++)
        if (p->conns[i].state == PG_CONN_IDLE)
            return &p->conns[i];
    return NULL;
}

/* Ends: a connection that fails here is down and not idle any more. */
static void dispatch(struct pg_pool *p)
{
    struct pg_conn *c;

    while (p->queue && (c = idle_conn(p)))
        pg_conn_run(c, queue_take(p));
    if (!p->queue)
        set_expiry(p);
}

static void on_free(void *arg)
{
    struct pg_pool *p = arg;

    p->on_free_deferred = false;
    if (!p->freeing && p->on_free_cb && pg_pool_free_connections(p))
        p->on_free_cb(p->on_free_arg);
}

/* What waits in the queue goes first; only a connection that stays idle is announced. */
void pool_conn_idle(struct pg_pool *p)
{
    if (p->queue)
        dispatch(p);
    if (!idle_conn(p) || !p->on_free_cb || p->on_free_deferred)
        return;
    p->on_free_deferred = true;
    loop_defer(p->loop, on_free, p);
}

/* The server gets its next unit before the caller hears of this one. */
void pool_unit_done(struct pg_pool *p, struct pg_unit *u)
{
    pool_conn_idle(p);
    tell(u);
}

/* ---- for callers ---- */

static struct pg_unit *unit_new(const struct pg_unit_statement *statements, size_t n, pg_cb *cb,
                                void *arg)
{
    struct pg_unit *u =
        calloc(1, sizeof(*u) + n * (sizeof(struct pg_unit_statement) + sizeof(PGresult *)));

    if (!u)
        abort(); /* a unit that never ends would leave its order hanging without a trace */
    u->cb = cb;
    u->arg = arg;
    u->n = n;
    memcpy(u->statements, statements, n * sizeof(*statements));
    u->results = (PGresult **)&u->statements[n];
    return u;
}

static const char *cannot_run(const struct pg_pool *p, const struct pg_unit *u)
{
    if (p->freeing)
        return "stopping";
    for (size_t i = 0; i < u->n; i++)
        if (u->statements[i].params && !pg_params_ok(u->statements[i].params))
            return "parameters too large";
    return p->nqueue >= p->conf.queue_max && !idle_conn((struct pg_pool *)p) ? "queue full" : NULL;
}

void pg_run(struct pg_pool *p, const struct pg_unit_statement *statements, size_t n, pg_cb *cb,
            void *arg)
{
    struct pg_unit *u = unit_new(statements, n, cb, arg);
    const char *reason = cannot_run(p, u);

    if (reason) {
        pool_unit_fail(p, u, PG_NOT_SENT, reason);
        return;
    }
    u->expires_us =
        loop_now_us(p->loop) + p->conf.statement_timeout_ms * USEC_PER_MSEC + PG_QUEUE_SLACK_US;
    queue_add(p, u);
    dispatch(p);
}

bool pg_pool_ready(const struct pg_pool *p)
{
    for (unsigned i = 0; i < p->conf.connections; i++)
        if (p->conns[i].state >= PG_CONN_IDLE)
            return true;
    return false;
}

unsigned pg_pool_free_connections(const struct pg_pool *p)
{
    unsigned n = 0;

    for (unsigned i = 0; i < p->conf.connections; i++)
        n += p->conns[i].state == PG_CONN_IDLE;
    return n;
}

void pg_pool_on_free(struct pg_pool *p, loop_cb *cb, void *arg)
{
    p->on_free_cb = cb;
    p->on_free_arg = arg;
}

struct pg_pool *pg_pool_new(struct loop *l, const struct pg_conf *conf)
{
    struct pg_pool *p = calloc(1, sizeof(*p));

    if (!p || conf->connections < 1 || conf->connections > PG_MAX_CONNECTIONS)
        goto failed;
    p->loop = l;
    p->conf = *conf;
    if (p->conf.queue_max == 0)
        p->conf.queue_max = 4096;
    if (p->conf.reconnect_us <= 0)
        p->conf.reconnect_us = 100 * USEC_PER_MSEC;
    if (p->conf.statement_timeout_ms <= 0)
        p->conf.statement_timeout_ms = 10000;
    p->queue_end = &p->queue;
    p->failed_end = &p->failed;
    p->expiry = loop_timer_new(l, on_expiry, p);
    if (!p->expiry)
        goto failed;
    for (unsigned i = 0; i < p->conf.connections; i++) {
        pg_conn_init(&p->conns[i], p, i);
        pg_conn_open(&p->conns[i]);
    }
    return p;
failed:
    free(p);
    return NULL;
}

/* The last deferred act on p; a callback may have queued one more unit meanwhile. */
static void on_pool_free(void *arg)
{
    struct pg_pool *p = arg;

    if (p->failed_deferred || p->on_free_deferred) {
        loop_defer(p->loop, on_pool_free, p);
        return;
    }
    free(p);
}

void pg_pool_free(struct pg_pool *p)
{
    if (!p || p->freeing)
        return;
    p->freeing = true;
    for (unsigned i = 0; i < p->conf.connections; i++)
        pg_conn_shut(&p->conns[i]);
    while (p->queue)
        pool_unit_fail(p, queue_take(p), PG_NOT_SENT, "stopping");
    loop_timer_free(p->expiry);
    on_failed(p); /* at once: who is told may not outlive this call */
    loop_defer(p->loop, on_pool_free, p);
}
