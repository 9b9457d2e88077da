/*
 * The group commit against a real PostgreSQL: what is written, who wins, what a duplicate, a
 * poisoned job and a conflict do to their neighbours (R2.1, R2.2, R2.5, R2.6, R4.3).
 */
#include "store_test.h"

/* ---- one order through its life ---- */

static void test_image_is_what_was_decided(void **state)
{
    struct payment p = new_order(7, new_no());
    struct work *w;

    (void)state;
    p.scene = SLICE("app");
    p.store_id = SLICE("S\xe5\xba\x97");
    p.attach = SLICE("{\"a\":'\\\\\"}");
    p.route = SLICE("rule 1");
    w = new_create(p);
    assert_int_equal(commit(w), STORE_DONE);
    assert_image(&load(p.id)->payment, &w->step.after);
    assert_image(&load_no(7, p.out_trade_no)->payment, &w->step.after);
    assert_int_equal(load(new_id(7))->result, STORE_NONE);
    assert_int_equal(load_no(7, SLICE("nobody"))->result, STORE_NONE);
    assert_int_equal(load_no(8, p.out_trade_no)->result, STORE_NONE);
}

static void test_life_of_an_order(void **state)
{
    struct payment p = new_order(9, new_no());
    struct payment_event accepted = answer(CALL_PREPARE, 1, CLASS_ACCEPTED);
    struct work *w = new_create(p);

    (void)state;
    accepted.code_url = SLICE("bank://pay?o=1");
    assert_int_equal(commit(w), STORE_DONE);
    w = new_work(&w->step.after, accepted, T0 + USEC_PER_SEC);
    assert_int_equal(w->step.timer_changed, false);
    assert_int_equal(commit(w), STORE_DONE);
    assert_image(&load(p.id)->payment, &w->step.after);
    w = new_work(&w->step.after, (struct payment_event){.kind = PAYMENT_EVENT_TIMER},
                 T0 + 150 * USEC_PER_SEC);
    assert_int_equal(w->step.attempt.kind, CALL_QUERY);
    assert_int_equal(commit(w), STORE_DONE);
    assert_image(&load(p.id)->payment, &w->step.after);
    w = new_work(&w->step.after, paid(SLICE("B1")), T0 + 151 * USEC_PER_SEC);
    assert_int_equal(w->step.after.state, PAYMENT_SUCCEEDED);
    assert_int_equal(commit(w), STORE_DONE);
    assert_image(&load(p.id)->payment, &w->step.after);

    assert_int_equal(sql_intf("SELECT count(*) FROM (SELECT version, row_number() OVER"
                              " (ORDER BY version) AS nth FROM pay.payment_history"
                              " WHERE payment_id = %lld AND slot = 9) h WHERE version = nth",
                              (long long)p.id),
                     4);
    assert_int_equal(sql_intf("SELECT count(*) FROM pay.attempt WHERE payment_id = %lld"
                              " AND adapter_version = 4000000000 AND channel = 'bank'"
                              " AND (n, kind, sent IS NOT NULL) IN ((1, 1, true), (2, 2, false))",
                              (long long)p.id),
                     2);
    assert_int_equal(
        sql_intf("SELECT count(*) FROM pay.payment_timer WHERE payment_id = %lld", (long long)p.id),
        0);
    assert_int_equal(sql_intf("SELECT count(*) FROM pay.callback WHERE payment_id = %lld"
                              " AND state = 1 AND url = 'https://m.example/cb' AND mchid = 'M1'",
                              (long long)p.id),
                     1);
}

static void test_late_facts_are_recorded(void **state)
{
    struct payment p = new_order(9, new_no());
    struct work *w = new_create(p), *again, *query;
    struct payment final;

    (void)state;
    assert_int_equal(commit(w), STORE_DONE);
    w = new_work(&w->step.after, answer(CALL_PREPARE, 1, CLASS_FAILED), T0 + 1);
    assert_int_equal(commit(w), STORE_DONE);
    final = w->step.after;
    assert_int_equal(final.state, PAYMENT_FAILED);
    w = new_work(&final, paid(SLICE("B2")), T0 + 2);
    assert_int_equal(w->step.verdict, STEP_RECORD);
    again = new_work(&final, paid(SLICE("B2")), T0 + 3);
    query = new_work(&final, paid(SLICE("B3")), T0 + 4);
    assert_int_equal(commit(w), STORE_DONE);
    assert_int_equal(commit(again), STORE_DONE);
    assert_int_equal(commit(query), STORE_DONE);
    assert_image(&load(p.id)->payment, &final);
    assert_int_equal(sql_intf("SELECT count(*) FROM pay.payment_case WHERE payment_id = %lld"
                              " AND kind = 'late_success' AND amount = 888 AND currency = 'CNY'",
                              (long long)p.id),
                     2); /* of two trade numbers, each once */
    assert_int_equal(sql_intf("SELECT count(*) FROM pay.payment_history WHERE payment_id = %lld",
                              (long long)p.id),
                     2);
}

/* An answer to an order that is final moves nothing; it is kept, and the first one counts. */
static void test_answer_that_moves_nothing(void **state)
{
    struct work *w = new_create(new_order(9, new_no()));
    struct payment final;

    (void)state;
    assert_int_equal(commit(w), STORE_DONE);
    w = new_work(&w->step.after, paid(SLICE("B4")), T0 + 1);
    assert_int_equal(commit(w), STORE_DONE);
    final = w->step.after;
    for (int i = 0; i < 2; i++) {
        w = new_work(&final, answer(CALL_PREPARE, 1, i ? CLASS_UNKNOWN : CLASS_ACCEPTED),
                     T0 + 2 + i);
        assert_int_equal(w->step.verdict, STEP_RECORD);
        assert_int_equal(commit(w), STORE_DONE);
    }
    assert_image(&load(final.id)->payment, &final);
    assert_int_equal(sql_intf("SELECT class FROM pay.attempt WHERE payment_id = %lld AND n = 1"
                              " AND answered_at IS NOT NULL AND kind = 1",
                              (long long) final.id),
                     CLASS_ACCEPTED);
}

/* Several attempts without an answer: each keeps its own, told once. */
static void test_answers_find_their_attempt(void **state)
{
    struct work *w = new_create(new_order(9, new_no()));
    static const enum call_kind calls[] = {CALL_QUERY, CALL_PREPARE, CALL_CLOSE};
    long long id = w->before.id;

    (void)state;
    assert_int_equal(commit(w), STORE_DONE);
    for (int i = 0; i < 2; i++) {
        w = new_work(
            &w->step.after,
            (struct payment_event){.kind = i ? PAYMENT_EVENT_CLOSE : PAYMENT_EVENT_OPERATOR_QUERY},
            T0 + i);
        assert_int_equal(commit(w), STORE_DONE);
    }
    for (int i = 0; i < 3; i++) {
        uint32_t n = (uint32_t[]){2, 1, 3}[i];

        w = new_work(&w->step.after, answer(calls[i], n, CLASS_UNKNOWN), T0 + 5 + i);
        assert_int_equal(w->step.verdict, STEP_COMMIT);
        assert_int_equal(commit(w), STORE_DONE);
        assert_int_equal(sql_intf("SELECT count(*) FROM pay.attempt WHERE payment_id = %lld"
                                  " AND answered_at IS NULL",
                                  id),
                         2 - i);
        assert_int_equal(sql_intf("SELECT n FROM pay.attempt WHERE payment_id = %lld"
                                  " ORDER BY answered_at DESC NULLS LAST LIMIT 1",
                                  id),
                         n);
    }
}

static void test_without_url_the_callback_is_skipped(void **state)
{
    struct payment p = new_order(9, new_no());
    struct work *w;

    (void)state;
    p.notify_url = SLICE_NULL;
    w = new_create(p);
    assert_int_equal(commit(w), STORE_DONE);
    w = new_work(&w->step.after, answer(CALL_PREPARE, 1, CLASS_FAILED), T0 + 1);
    assert_int_equal(commit(w), STORE_DONE);
    assert_int_equal(
        sql_intf("SELECT state FROM pay.callback WHERE payment_id = %lld", (long long)p.id),
        CALLBACK_SKIPPED);
}

/* ---- many ---- */

static void test_duplicates_in_one_batch_and_across(void **state)
{
    struct slice no = new_no();
    struct work *works[64];
    int64_t winner = 0;
    int done = 0;

    (void)state;
    for (int i = 0; i < 64; i++)
        works[i] = new_create(new_order(11, no));
    commit_all(works, 64);
    for (int i = 0; i < 64; i++) {
        done += works[i]->result == STORE_DONE;
        if (works[i]->result == STORE_DONE)
            winner = works[i]->before.id;
        else
            assert_int_equal(works[i]->result, STORE_EXISTS);
    }
    assert_int_equal(done, 1);
    assert_int_equal(load_no(11, no)->payment.id, winner);
    assert_int_equal(commit(new_create(new_order(11, no))), STORE_EXISTS);
    assert_int_equal(sql_intf("SELECT count(*) FROM pay.payment_history h JOIN pay.payment p"
                              " ON p.id = h.payment_id WHERE p.out_trade_no = '%.*s'",
                              SLICE_FMT(no)),
                     1);
}

/* Tries of an INSERT that were made since the last call, also those that were rolled back. */
static int64_t tries(void)
{
    static int64_t before;
    int64_t now = sql_intf("SELECT nextval('public.tries')"), n = now - before - 1;

    before = now;
    return n;
}

static void test_a_number_that_is_there_makes_careful(void **state)
{
    struct slice no = new_no();

    (void)state;
    sql_do("CREATE SEQUENCE public.tries;"
           "CREATE FUNCTION public.count_try() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER"
           " AS $$ BEGIN PERFORM nextval('public.tries'); RETURN NEW; END $$;"
           "CREATE TRIGGER count_try BEFORE INSERT ON pay.payment"
           " FOR EACH ROW EXECUTE FUNCTION public.count_try()");
    assert_int_equal(commit(new_create(new_order(11, no))), STORE_DONE);
    tries();
    assert_int_equal(commit(new_create(new_order(11, no))), STORE_EXISTS);
    assert_int_equal(tries(), 2); /* as if it was new, carefully */
    assert_int_equal(commit(new_create(new_order(11, no))), STORE_EXISTS);
    assert_int_equal(tries(), 1);
    for (int i = 0; i < 64; i++)
        assert_int_equal(commit(new_create(new_order(11, new_no()))), STORE_DONE);
    assert_int_equal(tries(), 64);
    assert_int_equal(commit(new_create(new_order(11, no))), STORE_EXISTS);
    assert_int_equal(tries(), 2);
    sql_do("DROP TRIGGER count_try ON pay.payment; DROP FUNCTION public.count_try();"
           "DROP SEQUENCE public.tries");
}

static void test_conflicts_lose(void **state)
{
    enum { ORDERS = 50, JOBS = 1000 };
    struct work *creates[ORDERS], *jobs[JOBS];
    int done[ORDERS] = {0};

    (void)state;
    for (int i = 0; i < ORDERS; i++)
        creates[i] = new_create(new_order((uint32_t)(i % 13), new_no()));
    commit_all(creates, ORDERS);
    for (int i = 0; i < JOBS; i++)
        jobs[i] = new_work(&creates[i % ORDERS]->step.after, paid(SLICE("B")), T0 + i);
    commit_all(jobs, JOBS);
    for (int i = 0; i < JOBS; i++) {
        done[i % ORDERS] += jobs[i]->result == STORE_DONE;
        assert_true(jobs[i]->result == STORE_DONE || jobs[i]->result == STORE_CONFLICT);
    }
    for (int i = 0; i < ORDERS; i++) {
        assert_int_equal(done[i], 1);
        assert_int_equal(jobs[i]->result, STORE_DONE); /* the first in its mailbox */
        assert_int_equal(load(creates[i]->before.id)->payment.version, 2);
    }
    assert_int_equal(sql_int("SELECT count(*) FROM (SELECT FROM pay.callback GROUP BY slot,"
                             " payment_id HAVING count(*) > 1) x"),
                     0);
}

/* A text that PostgreSQL refuses fails its own job only. */
static void test_poison_stands_alone(void **state)
{
    enum { JOBS = 100, BAD = 37 };
    struct work *works[JOBS];

    (void)state;
    for (int i = 0; i < JOBS; i++) {
        struct payment p = new_order(3, new_no());

        if (i == BAD)
            p.description = SLICE("not \xff UTF-8");
        works[i] = new_create(p);
    }
    commit_all(works, JOBS);
    for (int i = 0; i < JOBS; i++)
        assert_int_equal(works[i]->result, i == BAD ? STORE_BUSY : STORE_DONE);
    assert_int_equal(load(works[BAD]->before.id)->result, STORE_NONE);
    for (int i = 0; i < JOBS; i++) {
        struct payment_event e = answer(CALL_PREPARE, 1, CLASS_ACCEPTED);

        if (i == BAD + 1)
            e.code_url = SLICE("nul \0 inside");
        if (i != BAD)
            works[i] = new_work(&works[i]->step.after, e, T0 + 1);
    }
    works[BAD] = works[JOBS - 1];
    commit_all(works, JOBS - 1);
    for (int i = 0; i < JOBS - 1; i++)
        assert_int_equal(works[i]->result, i == BAD + 1 ? STORE_BUSY : STORE_DONE);
}

/* All kinds in one batch; several batches; the result of each is right. */
static void test_mixed_batches(void **state)
{
    enum { N = 600 };
    struct work *works[N];

    (void)state;
    for (int i = 0; i < N; i++)
        works[i] = new_create(new_order((uint32_t)(i * 37 % 1024), new_no()));
    commit_all(works, N);
    for (int i = 0; i < N; i++) {
        struct payment *p = &works[i]->step.after;

        assert_int_equal(works[i]->result, STORE_DONE);
        if (i % 5 == 0)
            works[i] = new_work(p, answer(CALL_PREPARE, 1, CLASS_ACCEPTED), T0 + 1);
        else if (i % 5 == 1)
            works[i] = new_work(p, answer(CALL_PREPARE, 1, CLASS_CLOSED), T0 + 1);
        else if (i % 5 == 2)
            works[i] = new_work(p, (struct payment_event){.kind = PAYMENT_EVENT_CLOSE}, T0 + 1);
        else if (i % 5 == 3)
            works[i] = new_work(p, answer(CALL_PREPARE, 1, CLASS_TOO_FREQUENT), T0 + 1);
        else
            works[i] = new_create(new_order(5, p->out_trade_no));
    }
    commit_all(works, N);
    for (int i = 0; i < N; i++) {
        enum store_result want =
            i % 5 == 4 && works[i]->before.slot == 5 &&
                    load_no(5, works[i]->before.out_trade_no)->payment.id != works[i]->before.id
                ? STORE_EXISTS
                : STORE_DONE;

        assert_int_equal(works[i]->result, want);
        if (want == STORE_DONE)
            assert_image(&load(works[i]->before.id)->payment, &works[i]->step.after);
    }
}

/* Gives works[0] to one store and works[1], from its end, to another; one of each pair wins. */
static void race(struct store *mine, struct store *other, struct work **a, struct work **b, int n)
{
    int left = 2 * n;

    for (int i = 0; i < n; i++) {
        a[i]->left = b[n - 1 - i]->left = &left;
        store_commit(mine, &a[i]->job);
        store_commit(other, &b[n - 1 - i]->job);
    }
    run_loop(30);
    for (int i = 0; i < n; i++)
        assert_int_equal((a[i]->result == STORE_DONE) + (b[i]->result == STORE_DONE), 1);
}

/* Two processes with the same orders, in opposite order (R4.3): one wins each, nobody stalls. */
static void test_two_processes(void **state)
{
    enum { N = 300 };
    struct store *mine = store, *other;
    struct work *a[N], *b[N];
    int64_t began;

    (void)state;
    open_store(2, 32, 20000);
    other = store;
    store = mine;
    for (int i = 0; i < N; i++) {
        struct slice no = new_no();

        a[i] = new_create(new_order((uint32_t)i % 7, no));
        b[i] = new_create(new_order((uint32_t)i % 7, no));
    }
    began = clock_read_mono_us();
    race(mine, other, a, b, N);
    for (int i = 0; i < N; i++) {
        struct payment *p = &(a[i]->result == STORE_DONE ? a : b)[i]->step.after;

        a[i] = new_work(p, answer(CALL_PREPARE, 1, CLASS_ACCEPTED), T0 + 1);
        b[i] = i % 2 ? new_work(p, paid(SLICE("B")), T0 + 1)
                     : new_work(p, answer(CALL_PREPARE, 1, CLASS_UNKNOWN), T0 + 1);
    }
    race(mine, other, a, b, N);
    assert_true(clock_read_mono_us() - began < 20 * USEC_PER_SEC);
    store_free(other);
}

static void test_full_queue_refuses(void **state)
{
    struct work *works[20];
    int busy = 0;

    (void)state;
    store_free(store);
    open_store(1, 4, 8);
    for (int i = 0; i < 20; i++)
        works[i] = new_create(new_order(3, new_no()));
    commit_all(works, 20);
    for (int i = 0; i < 20; i++)
        busy += works[i]->result == STORE_BUSY;
    assert_int_equal(busy, 12);
}

static void test_free_with_jobs_waiting(void **state)
{
    struct work *w = new_create(new_order(3, new_no()));
    int left = 1000;

    (void)state;
    w->left = &left;
    store_commit(store, &w->job);
    store_free(store);
    assert_int_equal(w->done, 1);
    assert_int_equal(w->result, STORE_BUSY);
    open_store(1, 4, 8);
}

int main(int argc, char **argv)
{
#define STORE_TEST(f) cmocka_unit_test_setup_teardown(f, setup_store, teardown_store)
    const struct CMUnitTest tests[] = {
        STORE_TEST(test_image_is_what_was_decided),
        STORE_TEST(test_life_of_an_order),
        STORE_TEST(test_late_facts_are_recorded),
        STORE_TEST(test_answer_that_moves_nothing),
        STORE_TEST(test_answers_find_their_attempt),
        STORE_TEST(test_without_url_the_callback_is_skipped),
        STORE_TEST(test_duplicates_in_one_batch_and_across),
        STORE_TEST(test_a_number_that_is_there_makes_careful),
        STORE_TEST(test_conflicts_lose),
        STORE_TEST(test_poison_stands_alone),
        STORE_TEST(test_mixed_batches),
        STORE_TEST(test_two_processes),
        STORE_TEST(test_full_queue_refuses),
        STORE_TEST(test_free_with_jobs_waiting),
    };

    (void)argc;
    need_server(argv);
    log_open("/dev/null", "store_test", LOG_DEBUG);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
