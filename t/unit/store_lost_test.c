/*
 * When the answer to COMMIT is lost (R2.6): the backend is terminated while its transaction is
 * committed but not yet answered (it waits for a standby that does not exist), or not yet committed
 * (it sleeps in a deferred trigger). Needs a server of its own.
 */
#include "store_test.h"

/* ---- waiting until a backend is where we want it ---- */

struct moment {
    const char *sql; /* > 0: there */
    struct loop_timer *timer;
};

static void on_look(void *arg)
{
    struct moment *m = arg;

    if (sql_int(m->sql) > 0)
        loop_stop(loop);
    else
        loop_timer_set(m->timer, 2000);
}

static void run_until(const char *sql)
{
    struct moment m = {.sql = sql};

    m.timer = loop_timer_new(loop, on_look, &m);
    loop_timer_set(m.timer, 0);
    run_loop(20);
    loop_timer_free(m.timer);
}

#define WAITING    "SELECT count(*) FROM pg_stat_activity WHERE usename = 'ngx_pay_app'"
#define IN_SYNCREP WAITING " AND wait_event = 'SyncRep'"
#define IN_TRIGGER WAITING " AND wait_event = 'PgSleep'"

static void standby(const char *sql)
{
    sql_do(sql);
    sql_do("SELECT pg_reload_conf()");
}

/* From now on every commit waits. The server takes the setting in its own time: a probe that hangs
 * shows that it has. */
static PGconn *wait_for_standby(void)
{
    standby("ALTER SYSTEM SET synchronous_standby_names = 'nobody'");
    for (int i = 0; i < 1000; i++) {
        PGconn *probe = PQconnectdb(getenv("PAY_PG_OWNER"));

        assert_int_equal(PQsendQuery(probe, "UPDATE pay.reference_clock SET at = at"), 1);
        while (PQconsumeInput(probe) && PQisBusy(probe))
            if (sql_intf("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
                         " AND pid = %d",
                         PQbackendPID(probe)))
                return probe;
        PQfinish(probe);
    }
    fail_msg("commits do not wait");
    return NULL;
}

static void sleep_before_commit(bool on)
{
    sql_do(on ? "CREATE FUNCTION pay.slow() RETURNS trigger LANGUAGE plpgsql AS"
                " $$ BEGIN PERFORM pg_sleep(60); RETURN NULL; END $$;"
                " CREATE CONSTRAINT TRIGGER slow AFTER INSERT ON pay.payment_history"
                " DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION pay.slow()"
              : "DROP TRIGGER slow ON pay.payment_history; DROP FUNCTION pay.slow()");
}

static void terminate(const char *where)
{
    sql_do(arena_cstr(&memory, arena_printf(&memory,
                                            "SELECT pg_terminate_backend(pid, 5000) FROM"
                                            " pg_stat_activity WHERE wait_event = '%s'",
                                            where)));
}

/* What the store has been given is committed, but it does not hear so. */
static void commit_unheard(void)
{
    PGconn *probe = wait_for_standby();

    run_until(IN_SYNCREP);
    terminate("SyncRep");
    standby("ALTER SYSTEM RESET synchronous_standby_names");
    PQfinish(probe);
    run_loop(20);
}

static enum store_result commit_one_unheard(struct work *w)
{
    store_commit(store, &w->job); /* sent by the loop, later */
    commit_unheard();
    assert_int_equal(w->done, 1);
    assert_true(w->job.doubt);
    return w->result;
}

static void commit_and_cut(struct work *w)
{
    sleep_before_commit(true);
    store_commit(store, &w->job);
    run_until(IN_TRIGGER);
    terminate("PgSleep");
    sleep_before_commit(false);
}

static int64_t rows(const char *table, const struct work *w)
{
    return sql_intf("SELECT count(*) FROM pay.%s WHERE payment_id = %lld", table,
                    (long long)w->before.id);
}

/* ---- the cases ---- */

static void test_committed_create(void **state)
{
    struct work *w = new_create(new_order(3, new_no()));

    (void)state;
    assert_int_equal(commit_one_unheard(w), STORE_DONE); /* not EXISTS: it is our own */
    assert_image(&load(w->before.id)->payment, &w->step.after);
    assert_int_equal(rows("attempt", w), 1);
}

static void test_committed_step(void **state)
{
    struct work *w = new_create(new_order(3, new_no()));

    (void)state;
    assert_int_equal(commit(w), STORE_DONE);
    w = new_work(&w->step.after, paid(SLICE("B1")), T0 + 1);
    assert_int_equal(commit_one_unheard(w), STORE_DONE);
    assert_image(&load(w->before.id)->payment, &w->step.after);
    assert_int_equal(rows("callback", w), 1);
    assert_int_equal(rows("payment_history", w), 2);
}

static void test_committed_record(void **state)
{
    struct work *w = new_create(new_order(3, new_no()));
    struct payment final;

    (void)state;
    assert_int_equal(commit(w), STORE_DONE);
    w = new_work(&w->step.after, answer(CALL_PREPARE, 1, CLASS_FAILED), T0 + 1);
    assert_int_equal(commit(w), STORE_DONE);
    final = w->step.after;
    w = new_work(&final, paid(SLICE("B1")), T0 + 1);
    assert_int_equal(commit_one_unheard(w), STORE_DONE);
    assert_int_equal(rows("payment_case", w), 1);
}

static void test_not_committed(void **state)
{
    struct work *w = new_create(new_order(3, new_no()));

    (void)state;
    commit_and_cut(w);
    run_loop(20);
    assert_int_equal(w->result, STORE_DONE);
    assert_true(w->job.doubt);
    assert_image(&load(w->before.id)->payment, &w->step.after);
    w = new_work(&w->step.after, answer(CALL_PREPARE, 1, CLASS_ACCEPTED), T0 + 1);
    commit_and_cut(w);
    run_loop(20);
    assert_int_equal(w->result, STORE_DONE);
    assert_image(&load(w->before.id)->payment, &w->step.after);
    assert_int_equal(rows("payment_history", w), 2);
}

/* Not committed, and another process moved the order meanwhile. */
static void test_overtaken(void **state)
{
    struct work *w = new_create(new_order(3, new_no())), *late;

    (void)state;
    assert_int_equal(commit(w), STORE_DONE);
    late = new_work(&w->step.after, paid(SLICE("B1")), T0 + 1);
    commit_and_cut(late);
    sql_do(arena_cstr(&memory, arena_printf(&memory,
                                            "UPDATE pay.payment SET version = 2, prev_state = 1,"
                                            " state = 5 WHERE id = %lld;"
                                            " INSERT INTO pay.payment_history VALUES"
                                            " (%lld, 1, now(), 2, 0, 3, 1, 5, 1, 'X', '')",
                                            (long long)w->before.id, (long long)w->before.id)));
    run_loop(20);
    assert_int_equal(late->result, STORE_CONFLICT);
    assert_int_equal(rows("callback", late), 0);
    assert_int_equal(load(w->before.id)->payment.state, PAYMENT_CLOSED);
}

/* A whole batch in doubt, half of it duplicates of what was there before. */
static void test_batch_in_doubt(void **state)
{
    struct work *works[40];
    struct slice taken = new_no();
    int left = 40;

    (void)state;
    assert_int_equal(commit(new_create(new_order(3, taken))), STORE_DONE);
    for (int i = 0; i < 40; i++) {
        works[i] = new_create(new_order(3, i % 4 ? new_no() : taken));
        works[i]->left = &left;
    }
    for (int i = 0; i < 40; i++)
        store_commit(store, &works[i]->job);
    commit_unheard();
    for (int i = 0; i < 40; i++) {
        assert_int_equal(works[i]->done, 1);
        assert_int_equal(works[i]->result, i % 4 ? STORE_DONE : STORE_EXISTS);
    }
}

/* Everything goes away for a moment: what waits comes through. */
static void test_all_connections_die(void **state)
{
    struct work *works[200];
    int left = 200;

    (void)state;
    for (int i = 0; i < 200; i++) {
        works[i] = new_create(new_order((uint32_t)i, new_no()));
        works[i]->left = &left;
        store_commit(store, &works[i]->job);
    }
    sql_do("SELECT pg_terminate_backend(pid, 1000) FROM pg_stat_activity"
           " WHERE usename = 'ngx_pay_app'");
    run_loop(30);
    for (int i = 0; i < 200; i++) {
        assert_int_equal(works[i]->result, STORE_DONE);
        assert_int_equal(load(works[i]->before.id)->result, STORE_DONE);
    }
}

int main(int argc, char **argv)
{
#define STORE_TEST(f) cmocka_unit_test_setup_teardown(f, setup_store, teardown_store)
    const struct CMUnitTest tests[] = {
        STORE_TEST(test_committed_create),    STORE_TEST(test_committed_step),
        STORE_TEST(test_committed_record),    STORE_TEST(test_not_committed),
        STORE_TEST(test_overtaken),           STORE_TEST(test_batch_in_doubt),
        STORE_TEST(test_all_connections_die),
    };

    (void)argc;
    if (!getenv("PAY_PG_DIR")) { /* this one reconfigures its server */
        unsetenv("PAY_PG");
        unsetenv("PAY_PG_OWNER");
    }
    need_server(argv);
    log_open("/dev/null", "store_test", LOG_DEBUG);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
