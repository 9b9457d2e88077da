#include "store_impl.h"

#include "backends/io/log.h"
#include "statements.h"

#include <stdio.h>
#include <stdlib.h>

#define TICK_US (200 * USEC_PER_MSEC)

static const struct pg_statement writer_statements[] = {
    {"create", sql_create}, {"create_missing", sql_create_missing},
    {"step", sql_step},     {"answer", sql_answer},
    {"record", sql_record}, {"known", sql_known},
    {"tried", sql_tried},   {"refund", sql_refund}};

static const struct pg_statement reader_statements[] = {{"by_id", sql_by_id},
                                                        {"by_no", sql_by_no},
                                                        {"due", sql_due},
                                                        {"timer_parts", sql_timer_parts},
                                                        {"overdue", sql_overdue},
                                                        {"claim", sql_claim},
                                                        {"key", sql_key},
                                                        {"signing_key", sql_signing_key},
                                                        {"changes", sql_changes},
                                                        {"lease", sql_lease},
                                                        {"clock", sql_clock},
                                                        {"accounts", sql_accounts},
                                                        {"refresh_claim", sql_refresh_claim},
                                                        {"refresh_done", sql_refresh_done},
                                                        {"bill_claim", sql_bill_claim},
                                                        {"bill_failed", sql_bill_failed},
                                                        {"refund_by_id", sql_refund_by_id},
                                                        {"refund_by_no", sql_refund_by_no},
                                                        {"backlog", sql_backlog},
                                                        {"case_say", sql_case_say},
                                                        {"case_refunds", sql_case_refunds},
                                                        {"case_refunded", sql_case_refunded},
                                                        {"relay_claim", sql_relay_claim},
                                                        {"relay_read", sql_relay_read},
                                                        {"relay_save", sql_relay_save},
                                                        {"relay_rewind", sql_relay_rewind}};

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

void *store_alloc(size_t n)
{
    void *p = calloc(1, n);

    if (!p)
        abort(); /* somebody waits for an answer that would never come */
    return p;
}

struct pg_params *store_params(void)
{
    struct pg_params *p = pg_params_new();

    if (!p)
        abort();
    return p;
}

void store_ask(struct store *s, const char *statement, struct pg_params *p, pg_cb *cb, void *arg)
{
    struct pg_unit_statement unit = {statement, p};

    pg_run(s->readers, &unit, 1, cb, arg);
}

enum store_result store_result_of(const struct pg_answer *answer, const char *what)
{
    if (answer->outcome == PG_DONE)
        return STORE_DONE;
    log_event(LOG_ERROR, "store_ask_failed", LOG_S("what", slice_of(what)),
              LOG_S("sqlstate", slice_of(answer->sqlstate)),
              LOG_S("message", slice_of(answer->message)));
    return STORE_BUSY;
}

/* Who waits longest is served first; tries of callbacks can wait. */
static void on_writer_free(void *arg)
{
    struct store *s = arg;

    commits_run(s->commits);
    tries_run(s->tries);
}

static void on_reader_free(void *arg)
{
    struct store *s = arg;

    reads_run(s->reads);
}

static void on_tick(void *arg)
{
    struct store *s = arg;

    commits_tick(s->commits);
    tries_tick(s->tries);
    reads_tick(s->reads);
    loop_timer_set(s->tick, TICK_US);
}

static struct pg_pool *new_pool(struct loop *l, const struct store_conf *conf, unsigned connections,
                                const struct pg_statement *statements, size_t n)
{
    struct pg_conf pg = {.conninfo = conf->conninfo,
                         .connections = connections ? connections : 2,
                         .setup = sql_settings,
                         .statements = statements,
                         .nstatements = n,
                         .queue_max = conf->queue_max,
                         .statement_timeout_ms = 10000};

    return pg_pool_new(l, &pg);
}

struct store *store_new(struct loop *l, const struct store_conf *conf, char *err, size_t n)
{
    unsigned batch_max = conf->batch_max ? conf->batch_max : 128;
    unsigned queue_max = conf->queue_max ? conf->queue_max : 20000;
    struct store *s = calloc(1, sizeof(*s));

    if (!s || !conf->conninfo || conf->writers > 16 || conf->readers > 16) {
        snprintf(err, n, "store: no conninfo, or more than 16 connections of a kind");
        free(s);
        return NULL;
    }
    s->loop = l;
    s->writers = new_pool(l, conf, conf->writers, writer_statements, COUNT(writer_statements));
    s->readers = new_pool(l, conf, conf->readers, reader_statements, COUNT(reader_statements));
    s->tick = loop_timer_new(l, on_tick, s);
    if (s->writers && s->readers && s->tick) {
        s->commits = commits_new(l, s->writers, batch_max, queue_max);
        s->tries = tries_new(l, s->writers, batch_max);
        s->reads = reads_new(l, s->readers, batch_max, queue_max);
    }
    if (!s->commits || !s->tries || !s->reads) {
        snprintf(err, n, "store: no memory");
        store_free(s);
        return NULL;
    }
    pg_pool_on_free(s->writers, on_writer_free, s);
    pg_pool_on_free(s->readers, on_reader_free, s);
    loop_timer_set(s->tick, TICK_US);
    return s;
}

void store_free(struct store *s)
{
    if (!s)
        return;
    if (s->commits)
        commits_stop(s->commits);
    if (s->tries)
        tries_stop(s->tries);
    if (s->reads)
        reads_stop(s->reads);
    loop_timer_free(s->tick);
    pg_pool_free(s->writers);
    pg_pool_free(s->readers);
    commits_free(s->commits);
    tries_free(s->tries);
    reads_free(s->reads);
    free(s);
}

bool store_ready(const struct store *s)
{
    return pg_pool_ready(s->writers) && pg_pool_ready(s->readers);
}

void store_commit(struct store *s, struct store_job *job)
{
    commits_add(s->commits, job);
}

void store_payment_by_id(struct store *s, int64_t id, struct arena *a, store_payment_cb *cb,
                         void *arg)
{
    reads_by_id(s->reads, id, a, cb, arg);
}

void store_payment_by_no(struct store *s, uint32_t slot, struct slice mchid,
                         struct slice out_trade_no, struct arena *a, store_payment_cb *cb,
                         void *arg)
{
    reads_by_no(s->reads, slot, mchid, out_trade_no, a, cb, arg);
}

void store_callback_tried(struct store *s, struct store_callback_try *t)
{
    tries_add(s->tries, t);
}
