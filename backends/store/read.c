/*
 * DESIGN. Two queues, by id and by number; whenever a connection is free up to batch_max askers of
 * one queue go together. A read that broke is asked again until WAIT_US have passed.
 */
#include "read.h"

#include "backends/io/log.h"
#include "core/ids.h"
#include "row.h"
#include "statements.h"

#include <stdlib.h>

#define WAIT_US     (3 * USEC_PER_SEC)
#define BATCH_LIMIT 512

const char sql_by_id[] =
    "SELECT j.k," PAYMENT_COLUMNS
    " FROM unnest($1::int2[], $2::int8[]) WITH ORDINALITY AS j(slot, id, k)"
    " JOIN pay.payment p ON p.slot = ANY (ARRAY[j.slot]) AND p.id = j.id" PAYMENT_TIMER;

/* The first number at or behind the one asked for: only the number's own index has that order, so
 * no plan can take another one. */
const char sql_by_no[] =
    "SELECT j.k," PAYMENT_COLUMNS " FROM unnest($1::int2[], $2::text[], $3::text[]) WITH ORDINALITY"
    " AS j(slot, mchid, out_trade_no, k), LATERAL (SELECT * FROM pay.payment n"
    " WHERE n.slot = j.slot AND n.mchid = j.mchid COLLATE \"C\" AND n.id > 0"
    " AND n.out_trade_no >= j.out_trade_no COLLATE \"C\" ORDER BY n.out_trade_no LIMIT 1) "
    "p" PAYMENT_TIMER " WHERE p.out_trade_no = j.out_trade_no COLLATE \"C\"";

enum queue_kind { BY_ID, BY_NO, QUEUES };

struct read {
    struct read *next;
    int64_t id; /* BY_ID */
    uint32_t slot;
    struct slice mchid, out_trade_no; /* BY_NO; copied behind */
    struct arena *arena;
    store_payment_cb *cb;
    void *arg;
    int64_t queued_us;
};

struct read_queue {
    struct read *first, **end;
};

struct reads {
    struct loop *loop;
    struct pg_pool *pool;
    unsigned batch_max, queue_max;
    struct read_queue queues[QUEUES];
    struct read_queue refused;
    unsigned waiting;
    unsigned turn; /* which queue goes first */
    bool run_deferred, refuse_deferred, stopping;
};

struct read_batch {
    struct reads *r;
    enum queue_kind kind;
    size_t n;
    struct read *reads[];
};

/* ---- queues ---- */

static void push(struct read_queue *q, struct read *d)
{
    d->next = NULL;
    *q->end = d;
    q->end = &d->next;
}

static struct read *pop(struct read_queue *q)
{
    struct read *d = q->first;

    if (!d)
        return NULL;
    q->first = d->next;
    if (!q->first)
        q->end = &q->first;
    return d;
}

static void tell(struct read *d, enum store_result r, const struct payment *p)
{
    d->cb(d->arg, r, p);
    free(d);
}

static void ask_again(struct read_batch *b)
{
    struct reads *r = b->r;

    for (size_t i = 0; i < b->n; i++) {
        push(&r->queues[b->kind], b->reads[i]);
        r->waiting++;
    }
}

static void on_rows(struct read_batch *b, const PGresult *res)
{
    for (int i = 0; i < PQntuples(res); i++) {
        size_t k = (size_t)pg_get_int(res, i, 0) - 1;
        struct read *d = k < b->n ? b->reads[k] : NULL;
        struct payment *p;

        if (!d)
            continue;
        b->reads[k] = NULL;
        p = row_payment(&(struct row){.r = res, .row = i, .col = 1, .arena = d->arena});
        tell(d, p ? STORE_DONE : STORE_BUSY, p);
    }
    for (size_t i = 0; i < b->n; i++)
        if (b->reads[i])
            tell(b->reads[i], STORE_NONE, NULL);
}

static void on_read(void *arg, const struct pg_answer *answer)
{
    struct read_batch *b = arg;
    struct reads *r = b->r;

    if (answer->outcome == PG_DONE) {
        on_rows(b, answer->results[0]);
    } else if (answer->outcome == PG_ERROR) {
        log_event(LOG_ERROR, "store_read_failed", LOG_I("reads", b->n),
                  LOG_S("sqlstate", slice_of(answer->sqlstate)),
                  LOG_S("message", slice_of(answer->message)));
        for (size_t i = 0; i < b->n; i++)
            tell(b->reads[i], STORE_BUSY, NULL);
    } else {
        ask_again(b);
    }
    free(b);
    reads_run(r);
}

static void send_reads(struct read_batch *b)
{
    struct pg_params *p = pg_params_new();
    struct pg_unit_statement s = {b->kind == BY_ID ? "by_id" : "by_no", p};

    if (!p)
        abort();
    pg_array_begin(p, PG_INT2, (uint32_t)b->n);
    for (size_t i = 0; i < b->n; i++)
        pg_add_int2(p, (int16_t)b->reads[i]->slot);
    pg_array_end(p);
    if (b->kind == BY_ID) {
        pg_array_begin(p, PG_INT8, (uint32_t)b->n);
        for (size_t i = 0; i < b->n; i++)
            pg_add_int8(p, b->reads[i]->id);
        pg_array_end(p);
    } else {
        pg_array_begin(p, PG_TEXT, (uint32_t)b->n);
        for (size_t i = 0; i < b->n; i++)
            pg_add_text(p, b->reads[i]->mchid);
        pg_array_end(p);
        pg_array_begin(p, PG_TEXT, (uint32_t)b->n);
        for (size_t i = 0; i < b->n; i++)
            pg_add_text(p, b->reads[i]->out_trade_no);
        pg_array_end(p);
    }
    pg_run(b->r->pool, &s, 1, on_read, b);
}

static struct read_batch *next_batch(struct reads *r)
{
    enum queue_kind kind = (enum queue_kind)(r->turn++ % QUEUES);
    struct read_batch *b;
    struct read *d;

    if (!r->queues[kind].first)
        kind = (enum queue_kind)(1 - kind);
    if (!r->queues[kind].first)
        return NULL;
    b = calloc(1, sizeof(*b) + r->batch_max * sizeof(struct read *));
    if (!b)
        abort();
    b->r = r;
    b->kind = kind;
    while (b->n < r->batch_max && (d = pop(&r->queues[kind]))) {
        b->reads[b->n++] = d;
        r->waiting--;
    }
    return b;
}

void reads_run(struct reads *r)
{
    struct read_batch *b;

    while (!r->stopping && pg_pool_free_connections(r->pool) > 0 && (b = next_batch(r)))
        send_reads(b);
}

static void on_run(void *arg)
{
    struct reads *r = arg;

    r->run_deferred = false;
    reads_run(r);
}

static void on_refused(void *arg)
{
    struct reads *r = arg;
    struct read *d;

    r->refuse_deferred = false;
    while ((d = pop(&r->refused)))
        tell(d, STORE_BUSY, NULL);
}

static void add(struct reads *r, enum queue_kind kind, struct read *d)
{
    d->queued_us = loop_now_us(r->loop);
    if (r->stopping || r->waiting >= r->queue_max) {
        push(&r->refused, d);
        if (!r->refuse_deferred)
            loop_defer(r->loop, on_refused, r);
        r->refuse_deferred = true;
        return;
    }
    push(&r->queues[kind], d);
    r->waiting++;
    if (!r->run_deferred)
        loop_defer(r->loop, on_run, r);
    r->run_deferred = true;
}

static struct read *read_new(struct arena *a, store_payment_cb *cb, void *arg, size_t extra)
{
    struct read *d = calloc(1, sizeof(*d) + extra);

    if (!d)
        abort();
    d->arena = a;
    d->cb = cb;
    d->arg = arg;
    return d;
}

void reads_by_id(struct reads *r, int64_t id, struct arena *a, store_payment_cb *cb, void *arg)
{
    struct read *d = read_new(a, cb, arg, 0);

    d->id = id;
    d->slot = id_slot(id);
    add(r, BY_ID, d);
}

void reads_by_no(struct reads *r, uint32_t slot, struct slice mchid, struct slice out_trade_no,
                 struct arena *a, store_payment_cb *cb, void *arg)
{
    struct read *d = read_new(a, cb, arg, mchid.n + out_trade_no.n + 1);
    char *text = (char *)(d + 1);

    memcpy(text, mchid.n ? mchid.p : "", mchid.n);
    d->mchid = slice_n(text, mchid.n);
    text += mchid.n;
    memcpy(text, out_trade_no.n ? out_trade_no.p : "", out_trade_no.n);
    d->out_trade_no = slice_n(text, out_trade_no.n);
    d->slot = slot;
    add(r, BY_NO, d);
}

void reads_tick(struct reads *r)
{
    for (unsigned kind = 0; kind < QUEUES; kind++) {
        struct read_queue *q = &r->queues[kind];

        while (q->first && loop_now_us(r->loop) - q->first->queued_us > WAIT_US) {
            r->waiting--;
            tell(pop(q), STORE_BUSY, NULL);
        }
    }
    reads_run(r);
}

/* ---- life ---- */

struct reads *reads_new(struct loop *l, struct pg_pool *readers, unsigned batch_max,
                        unsigned queue_max)
{
    struct reads *r = calloc(1, sizeof(*r));

    if (!r)
        return NULL;
    r->loop = l;
    r->pool = readers;
    r->batch_max = batch_max < BATCH_LIMIT ? batch_max : BATCH_LIMIT;
    r->queue_max = queue_max;
    for (unsigned kind = 0; kind < QUEUES; kind++)
        r->queues[kind].end = &r->queues[kind].first;
    r->refused.end = &r->refused.first;
    return r;
}

static void on_free(void *arg)
{
    struct reads *r = arg;

    if (r->run_deferred || r->refuse_deferred)
        loop_defer(r->loop, on_free, r);
    else
        free(r);
}

void reads_stop(struct reads *r)
{
    r->stopping = true;
}

void reads_free(struct reads *r)
{
    struct read *d;

    if (!r)
        return;
    r->stopping = true;
    for (unsigned kind = 0; kind < QUEUES; kind++)
        while ((d = pop(&r->queues[kind])))
            tell(d, STORE_BUSY, NULL);
    loop_defer(r->loop, on_free, r);
}
