/*
 * store_test - what the tests of backends/store share: a server (PAY_PG, or one that t/lib/pg.sh
 * starts for this program), a store in a loop, orders made by domain's own decide, and a blocking
 * connection of the superuser to look from outside.
 */
#ifndef STORE_TEST_H
#define STORE_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "backends/io/log.h"
#include "backends/store/store.h"
#include "core/ids.h"
#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define T0 (1795000000LL * USEC_PER_SEC)

static struct loop *loop;
static struct store *store;
static struct id_gen ids;
static PGconn *owner;
static struct arena memory; /* of one test */

static const struct payment_policy policy = {.send_window = 5 * USEC_PER_SEC,
                                             .query_first = 120 * USEC_PER_SEC,
                                             .query_interval = 30 * USEC_PER_SEC,
                                             .query_max = 1800 * USEC_PER_SEC,
                                             .soon = 2 * USEC_PER_SEC,
                                             .resend_interval = 3 * USEC_PER_SEC,
                                             .settle = 30 * USEC_PER_SEC,
                                             .not_sent_limit = 3,
                                             .prepare_resend = true};

/* ---- server and store ---- */

/* Without a server of its own the program starts itself again below t/lib/pg.sh. */
static inline void need_server(char **argv)
{
    char self[4096] = {0};

    if (getenv("PAY_PG") && getenv("PAY_PG_OWNER"))
        return;
    if (readlink("/proc/self/exe", self, sizeof(self) - 1) <= 0)
        abort();
    execl("t/lib/pg.sh", "t/lib/pg.sh", self, argv[1], (char *)NULL);
    perror("t/lib/pg.sh");
    exit(1);
}

static inline void on_too_long(void *arg)
{
    (void)arg;
    fprintf(stderr, "# the loop was not stopped in time\n");
    abort();
}

static inline void run_loop(int seconds)
{
    struct loop_timer *t = loop_timer_new(loop, on_too_long, NULL);

    loop_timer_set(t, seconds * USEC_PER_SEC);
    assert_int_equal(loop_run(loop), 0);
    loop_timer_free(t);
}

static inline void on_poll_ready(void *arg)
{
    struct loop_timer **t = arg;

    if (store_ready(store))
        loop_stop(loop);
    else
        loop_timer_set(*t, 1000);
}

static inline void wait_ready(void)
{
    struct loop_timer *t = loop_timer_new(loop, on_poll_ready, &t);

    loop_timer_set(t, 0);
    run_loop(20);
    loop_timer_free(t);
}

static inline void open_store(unsigned writers, unsigned batch_max, unsigned queue_max)
{
    struct store_conf conf = {.conninfo = getenv("PAY_PG"),
                              .writers = writers,
                              .readers = 1,
                              .batch_max = batch_max,
                              .queue_max = queue_max};
    char err[256];

    store = store_new(loop, &conf, err, sizeof(err));
    assert_non_null(store);
    wait_ready();
}

static inline int setup_store(void **state)
{
    static uint32_t process = 1;

    (void)state;
    arena_init(&memory, 256u << 20);
    loop = loop_new();
    if (!owner)
        owner = PQconnectdb(getenv("PAY_PG_OWNER"));
    assert_int_equal(PQstatus(owner), CONNECTION_OK);
    id_gen_init(&ids, process++);
    open_store(2, 128, 20000);
    return 0;
}

static inline int teardown_store(void **state)
{
    (void)state;
    store_free(store);
    store = NULL;
    loop_free(loop);
    arena_release(&memory);
    return 0;
}

/* ---- from outside ---- */

static inline int64_t sql_int(const char *sql)
{
    PGresult *r = PQexec(owner, sql);
    int64_t v = -1;

    if (PQresultStatus(r) != PGRES_TUPLES_OK)
        fail_msg("%s: %s", sql, PQerrorMessage(owner));
    if (PQntuples(r) && !PQgetisnull(r, 0, 0))
        assert_int_equal(slice_int64(slice_of(PQgetvalue(r, 0, 0)), &v), 0);
    PQclear(r);
    return v;
}

#define sql_intf(...) sql_int(arena_cstr(&memory, arena_printf(&memory, __VA_ARGS__)))

static inline void sql_do(const char *sql)
{
    PGresult *r = PQexec(owner, sql);

    if (PQresultStatus(r) != PGRES_COMMAND_OK && PQresultStatus(r) != PGRES_TUPLES_OK)
        fail_msg("%s: %s", sql, PQerrorMessage(owner));
    PQclear(r);
}

/* ---- jobs: one order, one event, and what came of it ---- */

struct work {
    struct payment before;
    struct payment_event event;
    struct payment_step step;
    struct store_job job;
    int done; /* times */
    enum store_result result;
    struct loop *stop; /* when set: stops the loop */
    int *left;         /* when set: counts down, stops at 0 */
};

static inline void on_work(void *arg, enum store_result r)
{
    struct work *w = arg;

    w->done++;
    w->result = r;
    if (w->left && --*w->left == 0)
        loop_stop(loop);
    if (!w->left)
        loop_stop(loop);
}

static inline int64_t new_id(uint32_t slot)
{
    int64_t id;

    assert_int_equal(id_next(&ids, slot, clock_read_wall(), &id), 0);
    return id;
}

static inline struct payment new_order(uint32_t slot, struct slice out_trade_no)
{
    static const char digest[32] = "0123456789abcdef0123456789abcde";

    return (struct payment){.id = new_id(slot),
                            .slot = slot,
                            .mchid = SLICE("M1"),
                            .app_id = SLICE("A1"),
                            .out_trade_no = out_trade_no,
                            .digest = slice_n(digest, sizeof(digest)),
                            .method = METHOD_NATIVE,
                            .amount = 888,
                            .currency = SLICE("CNY"),
                            .description = SLICE("a thing"),
                            .notify_url = SLICE("https://m.example/cb"),
                            .trace_id = SLICE("t"),
                            .channel = SLICE("bank"),
                            .account = SLICE("main"),
                            .created_at = T0,
                            .time_expire = T0 + 7200 * USEC_PER_SEC};
}

static inline struct slice new_no(void)
{
    static unsigned n;

    return arena_printf(&memory, "N%u-%d", n++, (int)getpid());
}

/* Decides and fills the job; not yet given to the store. */
static inline struct work *new_work(const struct payment *before, struct payment_event event,
                                    pay_time_t now)
{
    struct work *w = arena_new(&memory, struct work);

    w->before = *before;
    w->event = event;
    w->event.id = new_id(before->slot);
    if (!w->event.amount)
        w->event.amount = -1;
    payment_decide(&w->before, &w->event, now, &policy, &w->step);
    w->job = (struct store_job){.before = &w->before,
                                .step = &w->step,
                                .event = &w->event,
                                .now = now,
                                .attempt_id = new_id(before->slot),
                                .adapter_version = 4000000000u,
                                .callback_id = new_id(before->slot),
                                .callback_body = SLICE("{\"state\":\"final\"}"),
                                .callback_at = now,
                                .case_id = new_id(before->slot),
                                .done = on_work,
                                .arg = w};
    return w;
}

static inline struct work *new_create(struct payment p)
{
    return new_work(&p, (struct payment_event){.kind = PAYMENT_EVENT_CREATE}, p.created_at);
}

static inline struct payment_event answer(enum call_kind call, uint32_t n, enum answer_class cls)
{
    return (struct payment_event){.kind = PAYMENT_EVENT_ANSWER,
                                  .call = call,
                                  .attempt_n = n,
                                  .sent = SENT_ANSWERED,
                                  .http_status = 200,
                                  .cls = cls,
                                  .code = SLICE("CODE"),
                                  .amount = -1};
}

static inline struct payment_event paid(struct slice trade_no)
{
    return (struct payment_event){.kind = PAYMENT_EVENT_NOTIFY,
                                  .cls = CLASS_SUCCESS,
                                  .code = SLICE("SUCCESS"),
                                  .amount = 888,
                                  .currency = SLICE("CNY"),
                                  .channel_trade_no = trade_no,
                                  .paid_at = T0 + 7 * USEC_PER_SEC};
}

static inline enum store_result commit(struct work *w)
{
    w->left = NULL;
    store_commit(store, &w->job);
    assert_int_equal(w->done, 0); /* never from inside the call */
    run_loop(30);
    assert_int_equal(w->done, 1);
    return w->result;
}

static inline void commit_all(struct work **works, int n)
{
    int left = n;

    for (int i = 0; i < n; i++) {
        works[i]->left = &left;
        store_commit(store, &works[i]->job);
    }
    run_loop(60);
    for (int i = 0; i < n; i++)
        assert_int_equal(works[i]->done, 1);
}

/* ---- reading ---- */

struct loaded {
    enum store_result result;
    struct payment payment;
};

static inline void on_loaded(void *arg, enum store_result r, const struct payment *p)
{
    struct loaded *l = arg;

    l->result = r;
    if (p)
        l->payment = *p;
    loop_stop(loop);
}

static inline const struct loaded *load(int64_t id)
{
    struct loaded *l = arena_new(&memory, struct loaded);

    store_payment_by_id(store, id, &memory, on_loaded, l);
    run_loop(20);
    return l;
}

static inline const struct loaded *load_no(uint32_t slot, struct slice no)
{
    struct loaded *l = arena_new(&memory, struct loaded);

    store_payment_by_no(store, slot, SLICE("M1"), no, &memory, on_loaded, l);
    run_loop(20);
    return l;
}

static inline void assert_slice(struct slice got, struct slice want)
{
    assert_int_equal(got.n, want.n);
    assert_memory_equal(got.n ? got.p : "", want.n ? want.p : "", want.n);
}

/* Two images are the same order in the same state. */
static inline void assert_image(const struct payment *got, const struct payment *want)
{
    assert_int_equal(got->id, want->id);
    assert_int_equal(got->slot, want->slot);
    assert_int_equal(got->version, want->version);
    assert_int_equal(got->state, want->state);
    assert_int_equal(got->prev_state, want->prev_state);
    assert_slice(got->mchid, want->mchid);
    assert_slice(got->app_id, want->app_id);
    assert_slice(got->out_trade_no, want->out_trade_no);
    assert_slice(got->digest, want->digest);
    assert_int_equal(got->method, want->method);
    assert_slice(got->scene, want->scene);
    assert_slice(got->product, want->product);
    assert_slice(got->store_id, want->store_id);
    assert_int_equal(got->amount, want->amount);
    assert_slice(got->currency, want->currency);
    assert_slice(got->description, want->description);
    assert_slice(got->attach, want->attach);
    assert_slice(got->notify_url, want->notify_url);
    assert_slice(got->trace_id, want->trace_id);
    assert_slice(got->channel, want->channel);
    assert_slice(got->account, want->account);
    assert_slice(got->route, want->route);
    assert_int_equal(got->command_seq, want->command_seq);
    assert_int_equal(got->attempts, want->attempts);
    assert_int_equal(got->maybe_sent, want->maybe_sent);
    assert_int_equal(got->prepare_before, want->prepare_before);
    assert_int_equal(got->prepare_n, want->prepare_n);
    assert_int_equal(got->prepare_last, want->prepare_last);
    assert_int_equal(got->prepare_past, want->prepare_past);
    assert_int_equal(got->not_sent, want->not_sent);
    assert_int_equal(got->busy_kind, want->busy_kind);
    assert_int_equal(got->busy_before, want->busy_before);
    assert_slice(got->channel_trade_no, want->channel_trade_no);
    assert_slice(got->code_url, want->code_url);
    assert_slice(got->fail_code, want->fail_code);
    assert_int_equal(got->created_at, want->created_at);
    assert_int_equal(got->time_expire, want->time_expire);
    assert_int_equal(got->final_at, want->final_at);
    assert_int_equal(got->succeeded_at, want->succeeded_at);
    assert_int_equal(got->due_at, want->due_at);
    assert_int_equal(got->due_kind, want->due_kind);
    assert_int_equal(got->due_tries, want->due_tries);
}

#endif
