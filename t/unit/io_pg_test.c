/*
 * backends/io/pg against a PostgreSQL named by PAY_PG (a conninfo); without it only what needs no
 * server is tested. The flow tests start a server of their own.
 */
#include "io_test.h"

#include "backends/io/log.h"
#include "backends/io/pg.h"
#include <signal.h>
#include <string.h>

static const struct pg_statement statements[] = {
    {"echo", "SELECT $1::int2, $2::int4, $3::int8, $4::bool, $5::text, $6::bytea, $7::timestamptz,"
             " $8::text, $9::text"},
    {"unnest",
     "SELECT a, b, c, d FROM unnest($1::int8[], $2::text[], $3::timestamptz[], $4::bool[])"
     " AS t(a, b, c, d)"},
    {"empty", "SELECT coalesce(array_length($1::int4[], 1), 0)"},
    {"insert", "INSERT INTO io_t (id, n) VALUES ($1::int8, $2::int4)"},
    {"count", "SELECT count(*) FROM io_t"},
    {"clear", "DELETE FROM io_t"},
    {"divide", "SELECT 1 / $1::int4"},
    {"conflict", "SELECT io_fail($1::text)"},
    {"sleep", "SELECT pg_sleep($1::int4 / 1000.0)"},
    {"pid", "SELECT pg_backend_pid()"},
    {"kill", "SELECT pg_terminate_backend($1::int4)"},
};

/* Two tests at once would make them at the same time: a lock of the session's transaction. */
static const char *const setup_sql[] = {
    "SET client_min_messages = warning",
    "SELECT pg_advisory_xact_lock(4711)",
    "CREATE TABLE IF NOT EXISTS io_t (id int8 PRIMARY KEY, n int4 UNIQUE DEFERRABLE INITIALLY "
    "DEFERRED)",
    "CREATE OR REPLACE FUNCTION io_fail(code text) RETURNS int LANGUAGE plpgsql AS"
    " $$ BEGIN RAISE EXCEPTION 'as asked' USING ERRCODE = code; END $$",
    NULL,
};

static struct pg_pool *pool;

static struct pg_pool *new_pool(unsigned connections, int64_t timeout_ms, unsigned queue_max)
{
    struct pg_conf conf = {
        .conninfo = getenv("PAY_PG") ? getenv("PAY_PG") : "host=/nowhere dbname=none",
        .connections = connections,
        .setup = setup_sql,
        .statements = statements,
        .nstatements = sizeof(statements) / sizeof(statements[0]),
        .queue_max = queue_max,
        .reconnect_us = 20 * USEC_PER_MSEC,
        .statement_timeout_ms = timeout_ms,
    };

    return pg_pool_new(loop, &conf);
}

/* ---- one unit at a time, its answer kept ---- */

struct got {
    int calls;
    enum pg_outcome outcome;
    char sqlstate[6];
    int64_t value; /* first column of the last result's first row */
    size_t nresults;
    bool stop;
};

static void on_answer(void *arg, const struct pg_answer *a)
{
    struct got *g = arg;

    g->calls++;
    g->outcome = a->outcome;
    memcpy(g->sqlstate, a->sqlstate, sizeof(g->sqlstate));
    g->nresults = a->nresults;
    if (a->nresults) {
        const PGresult *r = a->results[a->nresults - 1];

        if (PQntuples(r) == 1 && PQgetlength(r, 0, 0) >= 2 && PQftype(r, 0) != 2278)
            g->value = pg_get_int(r, 0, 0);
    }
    if (g->stop)
        loop_stop(loop);
}

static struct pg_params *int4_param(int32_t v)
{
    struct pg_params *p = pg_params_new();

    pg_add_int4(p, v);
    return p;
}

static void start(struct got *g, const char *name, struct pg_params *params)
{
    struct pg_unit_statement s = {name, params};

    *g = (struct got){.stop = true};
    pg_run(pool, &s, 1, on_answer, g);
}

static enum pg_outcome run_one(const char *name, struct pg_params *params, struct got *g)
{
    start(g, name, params);
    assert_int_equal(g->calls, 0);
    run_loop(20);
    assert_int_equal(g->calls, 1);
    return g->outcome;
}

static struct pg_params *row_params(int64_t id, int32_t n)
{
    struct pg_params *p = pg_params_new();

    pg_add_int8(p, id);
    pg_add_int4(p, n);
    return p;
}

/* ---- tests ---- */

static void on_echo(void *arg, const struct pg_answer *a)
{
    const PGresult *r;

    (void)arg;
    assert_int_equal(a->outcome, PG_DONE);
    assert_int_equal(a->nresults, 1);
    r = a->results[0];
    assert_int_equal(pg_get_int(r, 0, 0), -2);
    assert_int_equal(pg_get_int(r, 0, 1), INT32_MIN);
    assert_int_equal(pg_get_int(r, 0, 2), INT64_MAX);
    assert_true(pg_get_bool(r, 0, 3));
    assert_true(slice_is(pg_get_text(r, 0, 4), "Zahlung \xe4\xb8\xad"));
    assert_true(slice_eq(pg_get_text(r, 0, 5), slice_n("\0\1\xff", 3)));
    assert_int_equal(pg_get_time(r, 0, 6), 1790000000123456);
    assert_true(pg_is_null(r, 0, 7));
    assert_null(pg_get_text(r, 0, 7).p);
    assert_false(pg_is_null(r, 0, 8));
    assert_int_equal(pg_get_text(r, 0, 8).n, 0);
    loop_stop(loop);
}

static void test_types(void **state)
{
    struct pg_params *p = pg_params_new();
    struct pg_unit_statement s = {"echo", p};

    (void)state;
    pool = new_pool(1, 5000, 0);
    pg_add_int2(p, -2);
    pg_add_int4(p, INT32_MIN);
    pg_add_int8(p, INT64_MAX);
    pg_add_bool(p, true);
    pg_add_text(p, SLICE("Zahlung \xe4\xb8\xad"));
    pg_add_bytea(p, slice_n("\0\1\xff", 3));
    pg_add_time(p, 1790000000123456);
    pg_add_text(p, SLICE_NULL);
    pg_add_text(p, SLICE(""));
    pg_run(pool, &s, 1, on_echo, NULL);
    run_loop(10);
    pg_pool_free(pool);
}

static void on_unnest(void *arg, const struct pg_answer *a)
{
    const PGresult *r;

    (void)arg;
    assert_int_equal(a->outcome, PG_DONE);
    r = a->results[0];
    assert_int_equal(PQntuples(r), 3);
    for (int i = 0; i < 3; i++)
        assert_int_equal(pg_get_int(r, i, 0), 100 + i);
    assert_true(slice_is(pg_get_text(r, 0, 1), "a"));
    assert_true(pg_is_null(r, 1, 1));
    assert_true(slice_is(pg_get_text(r, 2, 1), ""));
    assert_int_equal(pg_get_time(r, 0, 2), 1);
    assert_int_equal(pg_get_time(r, 1, 2), 0);
    assert_false(pg_get_bool(r, 0, 3));
    assert_true(pg_get_bool(r, 1, 3));
    loop_stop(loop);
}

static void test_arrays(void **state)
{
    struct pg_params *p = pg_params_new();
    struct pg_unit_statement s = {"unnest", p};
    struct got g;

    (void)state;
    pool = new_pool(1, 5000, 0);
    pg_array_begin(p, PG_INT8, 3);
    for (int i = 0; i < 3; i++)
        pg_add_int8(p, 100 + i);
    pg_array_end(p);
    pg_array_begin(p, PG_TEXT, 3);
    pg_add_text(p, SLICE("a"));
    pg_add_text(p, SLICE_NULL);
    pg_add_text(p, SLICE(""));
    pg_array_end(p);
    pg_array_begin(p, PG_TIMESTAMPTZ, 3);
    pg_add_time(p, 1);
    pg_add_time(p, 0);
    pg_add_time(p, 1790000000123456);
    pg_array_end(p);
    pg_array_begin(p, PG_BOOL, 3);
    for (int i = 0; i < 3; i++)
        pg_add_bool(p, i);
    pg_array_end(p);
    pg_run(pool, &s, 1, on_unnest, NULL);
    run_loop(10);
    p = pg_params_new();
    pg_array_begin(p, PG_INT4, 0);
    pg_array_end(p);
    assert_int_equal(run_one("empty", p, &g), PG_DONE);
    assert_int_equal(g.value, 0);
    pg_pool_free(pool);
}

/* An error undoes the whole unit, and the connection serves the next one. */
static void test_error_rolls_back(void **state)
{
    struct pg_unit_statement unit[] = {
        {"insert", row_params(1, 1)},
        {"divide", int4_param(0)},
        {"insert", row_params(2, 2)},
    };
    struct got g = {.stop = true};

    (void)state;
    pool = new_pool(1, 5000, 0);
    assert_int_equal(run_one("clear", NULL, &g), PG_DONE);
    g = (struct got){.stop = true};
    pg_run(pool, unit, 3, on_answer, &g);
    run_loop(10);
    assert_int_equal(g.outcome, PG_ERROR);
    assert_string_equal(g.sqlstate, "22012");
    assert_int_equal(g.nresults, 0);
    assert_int_equal(run_one("count", NULL, &g), PG_DONE);
    assert_int_equal(g.value, 0);
    pg_pool_free(pool);
}

/* A deferred constraint fails in the commit itself, after every statement has succeeded. */
static void test_error_at_commit(void **state)
{
    struct pg_unit_statement unit[] = {{"insert", row_params(1, 7)}, {"insert", row_params(2, 7)}};
    struct got g = {.stop = true};

    (void)state;
    pool = new_pool(1, 5000, 0);
    assert_int_equal(run_one("clear", NULL, &g), PG_DONE);
    g = (struct got){.stop = true};
    pg_run(pool, unit, 2, on_answer, &g);
    run_loop(10);
    assert_int_equal(g.outcome, PG_ERROR);
    assert_string_equal(g.sqlstate, "23505");
    for (int i = 0; i < 3; i++) {
        assert_int_equal(run_one("count", NULL, &g), PG_DONE);
        assert_int_equal(g.value, 0);
    }
    pg_pool_free(pool);
}

static struct pg_params *text_param(const char *s)
{
    struct pg_params *p = pg_params_new();

    pg_add_text(p, slice_of(s));
    return p;
}

static void test_retry_classes(void **state)
{
    struct got g;

    (void)state;
    pool = new_pool(1, 300, 0);
    assert_int_equal(run_one("conflict", text_param("40001"), &g), PG_RETRY);
    assert_string_equal(g.sqlstate, "40001");
    assert_int_equal(run_one("conflict", text_param("40P01"), &g), PG_RETRY);
    assert_int_equal(run_one("conflict", text_param("23514"), &g), PG_ERROR);
    assert_int_equal(run_one("sleep", int4_param(5000), &g), PG_ERROR);
    assert_string_equal(g.sqlstate, "57014"); /* statement_timeout of the session */
    assert_int_equal(run_one("nosuch", NULL, &g), PG_ERROR);
    assert_string_equal(g.sqlstate, "26000");
    pg_pool_free(pool);
}

/* The unit under way is lost, the one that waits runs on the next connection. */
static void test_connection_killed(void **state)
{
    struct pg_pool *first;
    struct got pid, slow, queued, killer;

    (void)state;
    first = pool = new_pool(1, 5000, 0);
    assert_int_equal(run_one("pid", NULL, &pid), PG_DONE);
    start(&slow, "sleep", int4_param(4000));
    slow.stop = false;
    start(&queued, "pid", NULL);
    assert_int_equal(pg_pool_free_connections(pool), 0);
    pool = new_pool(1, 5000, 0);
    start(&killer, "kill", int4_param((int32_t)pid.value));
    killer.stop = false;
    run_loop(10);
    assert_int_equal(slow.outcome, PG_LOST);
    assert_int_equal(slow.calls, 1);
    assert_int_equal(queued.outcome, PG_DONE);
    assert_true(queued.value != pid.value);
    pg_pool_free(pool);
    pg_pool_free(first);
}

static struct pg_pool *idle_pool;
static struct got idle_got;

/* The server has closed the idle connection, and this loop has not come to see it. */
static void on_killed(void *arg, const struct pg_answer *a)
{
    struct pg_unit_statement s = {"pid", NULL};

    assert_int_equal(a->outcome, PG_DONE);
    usleep(100000);
    idle_got = (struct got){.stop = true};
    pg_run(idle_pool, &s, 1, on_answer, arg);
}

static void test_killed_while_idle(void **state)
{
    struct pg_unit_statement s = {"kill", NULL};
    struct got pid;

    (void)state;
    idle_pool = pool = new_pool(1, 5000, 0);
    assert_int_equal(run_one("pid", NULL, &pid), PG_DONE);
    s.params = int4_param((int32_t)pid.value);
    pool = new_pool(1, 5000, 0);
    pg_run(pool, &s, 1, on_killed, &idle_got);
    run_loop(10);
    assert_int_equal(idle_got.outcome, PG_DONE);
    assert_true(idle_got.value != pid.value);
    pg_pool_free(pool);
    pg_pool_free(idle_pool);
}

/* A server that answers nothing at all: given up two seconds after the statement's own time-out. */
static void test_silent_server(void **state)
{
    struct got pid, g;
    int64_t began;

    (void)state;
    pool = new_pool(1, 200, 0);
    assert_int_equal(run_one("pid", NULL, &pid), PG_DONE);
    if (kill((pid_t)pid.value, SIGSTOP) != 0) {
        pg_pool_free(pool); /* the server is on another machine or not ours */
        return;
    }
    began = clock_read_mono_us();
    assert_int_equal(run_one("count", NULL, &g), PG_LOST);
    assert_in_range(clock_read_mono_us() - began, 2100000, 3500000);
    kill((pid_t)pid.value, SIGCONT);
    assert_int_equal(run_one("count", NULL, &g), PG_DONE);
    pg_pool_free(pool);
}

static void test_queue(void **state)
{
    struct got slow, waits, over;

    (void)state;
    pool = new_pool(1, 5000, 1);
    run_one("pid", NULL, &slow);
    start(&slow, "sleep", int4_param(200));
    start(&waits, "pid", NULL);
    start(&over, "pid", NULL);
    slow.stop = over.stop = false;
    assert_int_equal(over.calls, 0);
    run_loop(10);
    assert_int_equal(over.outcome, PG_NOT_SENT);
    assert_int_equal(slow.outcome, PG_DONE);
    assert_int_equal(waits.outcome, PG_DONE);
    pg_pool_free(pool);
}

/* Every callback comes, also for what the pool still has when it ends. */
static void test_free_tells_all(void **state)
{
    struct got running, waits;

    (void)state;
    pool = new_pool(1, 5000, 0);
    run_one("pid", NULL, &running);
    start(&running, "sleep", int4_param(1000));
    start(&waits, "pid", NULL);
    pg_pool_free(pool);
    assert_int_equal(running.calls, 1);
    assert_int_equal(running.outcome, PG_LOST);
    assert_int_equal(waits.calls, 1);
    assert_int_equal(waits.outcome, PG_NOT_SENT);
}

static void test_no_server(void **state)
{
    const char *saved = getenv("PAY_PG");
    char *copy = saved ? strdup(saved) : NULL;
    struct got g;
    int64_t began = clock_read_mono_us();

    (void)state;
    unsetenv("PAY_PG");
    pool = new_pool(2, 100, 0);
    assert_false(pg_pool_ready(pool));
    assert_int_equal(run_one("count", NULL, &g), PG_NOT_SENT);
    assert_in_range(clock_read_mono_us() - began, 5000000, 6500000);
    pg_pool_free(pool);
    if (copy)
        setenv("PAY_PG", copy, 1);
    free(copy);
}

static int announced;

static void on_free_connection(void *arg)
{
    struct got *g = arg;

    announced++;
    if (g->calls >= 200)
        loop_stop(loop);
    else if (pg_pool_free_connections(pool)) {
        struct pg_unit_statement s = {"insert", row_params(1000 + announced, 1000 + announced)};

        pg_run(pool, &s, 1, on_answer, g);
    }
}

static void test_on_free(void **state)
{
    struct got g = {0}, first;

    (void)state;
    pool = new_pool(2, 5000, 0);
    run_one("clear", NULL, &g);
    g = (struct got){0};
    pg_pool_on_free(pool, on_free_connection, &g);
    start(&first, "clear", NULL);
    first.stop = false;
    run_loop(20);
    assert_int_equal(g.outcome, PG_DONE);
    assert_true(announced >= 100);
    pg_pool_free(pool);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup_loop, teardown_loop)
    const struct CMUnitTest without_server[] = {T(test_no_server)};
    const struct CMUnitTest with_server[] = {
        T(test_types),
        T(test_arrays),
        T(test_error_rolls_back),
        T(test_error_at_commit),
        T(test_retry_classes),
        T(test_connection_killed),
        T(test_killed_while_idle),
        T(test_silent_server),
        T(test_queue),
        T(test_free_tells_all),
        T(test_no_server),
        T(test_on_free),
    };

    log_open("/dev/null", "test", LOG_ERROR);
    cmocka_set_message_output(CM_OUTPUT_TAP);
    if (!getenv("PAY_PG"))
        return cmocka_run_group_tests(without_server, NULL, NULL);
    return cmocka_run_group_tests(with_server, NULL, NULL);
}
