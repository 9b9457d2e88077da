/*
 * DESIGN. As in commit.c, but simpler: tries of different callbacks do not depend on each other and
 * writing one twice changes nothing, so whatever broke just runs again; what cannot be written is
 * halved out. A try that is never written costs one more call to the merchant, nothing else.
 */
#include "callback.h"

#include "backends/io/log.h"
#include "statements.h"
#include "store_impl.h"

#include <stdlib.h>

#define WAIT_US (10 * USEC_PER_SEC)

/* A success counts whoever's try it was. */
const char sql_tried[] =
    "WITH j AS MATERIALIZED (SELECT * FROM unnest($1::int2[], $2::int8[], $3::int8[], $4::int4[],"
    "  $5::int2[], $6::timestamptz[], $7::timestamptz[], $8::int4[], $9::text[], $10::int8[])"
    " AS j(slot, payment_id, id, tries, state, at, next_at, http_status, error, took_us)),"
    " u AS (UPDATE pay.callback c SET state = j.state, next_at = coalesce(j.next_at, c.next_at),"
    "  last_status = j.http_status, done_at = CASE WHEN j.state <> 1 THEN j.at END"
    " FROM j WHERE c.slot = ANY (ARRAY[j.slot]) AND c.payment_id = j.payment_id AND c.id = j.id"
    "  AND c.state NOT IN (2, 3, 4) AND (c.tries = j.tries OR j.state = 2))"
    " INSERT INTO pay.callback_attempt (slot, payment_id, callback_id, n, at, http_status, state,"
    "  error, took_us)"
    " SELECT slot, payment_id, id, tries, at, http_status, state, error, took_us FROM j"
    " ON CONFLICT (slot, payment_id, callback_id, n) DO NOTHING";

struct item {
    struct item *next;
    struct store_callback_try *t;
    int64_t queued_us;
};

struct try_batch {
    struct try_batch *next;
    struct tries *tries;
    size_t n;
    struct item *items[];
};

struct tries {
    struct loop *loop;
    struct pg_pool *pool;
    unsigned batch_max;
    struct item *first, **end;
    struct try_batch *again;
    bool run_deferred, stopping;
};

static void item_end(struct item *i, enum store_result r)
{
    struct store_callback_try *t = i->t;

    free(i);
    if (t->done)
        t->done(t->arg, r);
}

static void try_batch_end(struct try_batch *b, enum store_result r)
{
    for (size_t i = 0; i < b->n; i++)
        item_end(b->items[i], r);
    free(b);
}

static int compare_items(const void *x, const void *y)
{
    const struct store_callback *a = (*(struct item *const *)x)->t->callback;
    const struct store_callback *b = (*(struct item *const *)y)->t->callback;
    int d = (a->slot > b->slot) - (a->slot < b->slot);

    if (!d)
        d = (a->payment_id > b->payment_id) - (a->payment_id < b->payment_id);
    return d ? d : (a->id > b->id) - (a->id < b->id);
}

static struct try_batch *try_batch_new(struct tries *t, struct item *const *items, size_t n)
{
    struct try_batch *b = store_alloc(sizeof(*b) + n * sizeof(struct item *));

    b->tries = t;
    b->n = n;
    if (n)
        memcpy(b->items, items, n * sizeof(struct item *));
    return b;
}

static void try_again(struct try_batch *b)
{
    b->next = b->tries->again;
    b->tries->again = b;
}

static void halve(struct try_batch *b)
{
    size_t half = b->n / 2;

    try_again(try_batch_new(b->tries, b->items, half));
    try_again(try_batch_new(b->tries, b->items + half, b->n - half));
    free(b);
}

static void on_tried(void *arg, const struct pg_answer *answer)
{
    struct try_batch *b = arg;
    struct tries *t = b->tries;

    if (answer->outcome == PG_DONE) {
        try_batch_end(b, STORE_DONE);
    } else if (answer->outcome != PG_ERROR) {
        try_again(b);
    } else {
        log_event(b->n > 1 ? LOG_WARN : LOG_ALERT, "store_tries_failed", LOG_I("tries", b->n),
                  LOG_S("sqlstate", slice_of(answer->sqlstate)),
                  LOG_S("message", slice_of(answer->message)));
        if (b->n > 1)
            halve(b);
        else
            try_batch_end(b, STORE_BUSY);
    }
    tries_run(t);
}

#define ARRAY(type, add, value)                                                                    \
    do {                                                                                           \
        pg_array_begin(p, (type), (uint32_t)b->n);                                                 \
        for (size_t i = 0; i < b->n; i++) {                                                        \
            const struct store_callback_try *t = b->items[i]->t;                                   \
            const struct store_callback *c = t->callback;                                          \
                                                                                                   \
            (void)c;                                                                               \
            add(p, value);                                                                         \
        }                                                                                          \
        pg_array_end(p);                                                                           \
    } while (0)

static void send_tries(struct try_batch *b)
{
    struct pg_params *p = store_params();
    struct pg_unit_statement s = {"tried", p};

    qsort(b->items, b->n, sizeof(struct item *), compare_items);
    ARRAY(PG_INT2, pg_add_int2, (int16_t)c->slot);
    ARRAY(PG_INT8, pg_add_int8, c->payment_id);
    ARRAY(PG_INT8, pg_add_int8, c->id);
    ARRAY(PG_INT4, pg_add_int4, (int32_t)c->tries);
    ARRAY(PG_INT2, pg_add_int2, (int16_t)t->state);
    ARRAY(PG_TIMESTAMPTZ, pg_add_time, t->at);
    ARRAY(PG_TIMESTAMPTZ, pg_add_time, t->next_at);
    ARRAY(PG_INT4, pg_add_int4, t->http_status);
    ARRAY(PG_TEXT, pg_add_text, t->error.p ? t->error : SLICE(""));
    ARRAY(PG_INT8, pg_add_int8, t->took_us);
    pg_run(b->tries->pool, &s, 1, on_tried, b);
}

static struct try_batch *next_tries(struct tries *t)
{
    struct try_batch *b = t->again;

    if (b) {
        t->again = b->next;
        return b;
    }
    if (!t->first)
        return NULL;
    b = try_batch_new(t, NULL, 0);
    b = realloc(b, sizeof(*b) + t->batch_max * sizeof(struct item *));
    if (!b)
        abort();
    while (t->first && b->n < t->batch_max) {
        b->items[b->n++] = t->first;
        t->first = t->first->next;
    }
    if (!t->first)
        t->end = &t->first;
    return b;
}

void tries_run(struct tries *t)
{
    struct try_batch *b;

    while (!t->stopping && pg_pool_free_connections(t->pool) > 0 && (b = next_tries(t)))
        send_tries(b);
}

static void on_run(void *arg)
{
    struct tries *t = arg;

    t->run_deferred = false;
    tries_run(t);
}

void tries_add(struct tries *t, struct store_callback_try *item)
{
    struct item *i = store_alloc(sizeof(*i));

    i->t = item;
    i->queued_us = loop_now_us(t->loop);
    *t->end = i;
    t->end = &i->next;
    if (!t->run_deferred)
        loop_defer(t->loop, on_run, t);
    t->run_deferred = true;
}

void tries_tick(struct tries *t)
{
    int64_t before = loop_now_us(t->loop) - WAIT_US;
    struct try_batch *b = t->again, *next;
    struct item *i;

    t->again = NULL;
    for (; b; b = next) {
        next = b->next;
        if (b->items[0]->queued_us < before)
            try_batch_end(b, STORE_BUSY);
        else
            try_again(b);
    }
    while ((i = t->first) && i->queued_us < before) {
        t->first = i->next;
        if (!t->first)
            t->end = &t->first;
        item_end(i, STORE_BUSY);
    }
    tries_run(t);
}

/* ---- life ---- */

struct tries *tries_new(struct loop *l, struct pg_pool *writers, unsigned batch_max)
{
    struct tries *t = calloc(1, sizeof(*t));

    if (!t)
        return NULL;
    *t = (struct tries){.loop = l, .pool = writers, .batch_max = batch_max};
    t->end = &t->first;
    return t;
}

void tries_stop(struct tries *t)
{
    t->stopping = true;
}

static void on_free(void *arg)
{
    struct tries *t = arg;

    if (t->run_deferred)
        loop_defer(t->loop, on_free, t);
    else
        free(t);
}

void tries_free(struct tries *t)
{
    struct try_batch *b;
    struct item *i;

    if (!t)
        return;
    t->stopping = true;
    while ((b = t->again)) {
        t->again = b->next;
        try_batch_end(b, STORE_BUSY);
    }
    while ((i = t->first)) {
        t->first = i->next;
        item_end(i, STORE_BUSY);
    }
    t->end = &t->first;
    loop_defer(t->loop, on_free, t);
}
