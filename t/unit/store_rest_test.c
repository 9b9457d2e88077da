/*
 * What the store reads and writes beside orders: due timers, callbacks (R4.1), keys and their
 * change feed (R1.2), accounts, process numbers, the clock.
 */
#include "store_test.h"

/* ---- answers, kept ---- */

static struct got {
    enum store_result result;
    size_t n;
    int64_t ids[64];
    const struct store_callback *callbacks;
    struct store_key key;
    struct slice serials[64];
    pay_time_t newest;
    const struct store_account *accounts;
    uint32_t process;
    pay_time_t clock;
    int64_t mono_us;
} got;

static void on_due(void *arg, enum store_result r, const struct store_due *due, size_t n)
{
    (void)arg;
    got = (struct got){.result = r, .n = n};
    for (size_t i = 0; i < n && i < 64; i++)
        got.ids[i] = due[i].payment_id;
    loop_stop(loop);
}

static void on_claimed(void *arg, enum store_result r, const struct store_callback *c, size_t n)
{
    (void)arg;
    got = (struct got){.result = r, .n = n, .callbacks = c};
    loop_stop(loop);
}

static void on_tried(void *arg, enum store_result r)
{
    int *left = arg;

    assert_int_equal(r, STORE_DONE);
    if (--*left == 0)
        loop_stop(loop);
}

static void on_key(void *arg, enum store_result r, const struct store_key *k)
{
    (void)arg;
    got = (struct got){.result = r};
    if (k)
        got.key = *k;
    loop_stop(loop);
}

static void on_changes(void *arg, enum store_result r, const struct slice *serials, size_t n,
                       pay_time_t newest)
{
    (void)arg;
    got = (struct got){.result = r, .n = n, .newest = newest};
    for (size_t i = 0; i < n && i < 64; i++)
        got.serials[i] = serials[i];
    loop_stop(loop);
}

static void on_accounts(void *arg, enum store_result r, const struct store_account *a, size_t n)
{
    (void)arg;
    got = (struct got){.result = r, .n = n, .accounts = a};
    loop_stop(loop);
}

static void on_lease(void *arg, enum store_result r, uint32_t process)
{
    (void)arg;
    got = (struct got){.result = r, .process = process};
    loop_stop(loop);
}

static void on_clock(void *arg, enum store_result r, pay_time_t now, int64_t mono_us)
{
    (void)arg;
    got = (struct got){.result = r, .clock = now, .mono_us = mono_us};
    loop_stop(loop);
}

/* ---- timers ---- */

static struct work *created_in(uint32_t slot)
{
    struct work *w = new_create(new_order(slot, new_no()));

    assert_int_equal(commit(w), STORE_DONE);
    return w;
}

static void ask_due_beside(uint32_t from, uint32_t to, pay_time_t now, unsigned max,
                           const int64_t *working, size_t nworking)
{
    store_due(store,
              &(struct store_due_wish){.slot_from = from,
                                       .slot_to = to,
                                       .parts = UINT64_MAX,
                                       .now = now,
                                       .max = max,
                                       .room = 2 * max,
                                       .working = working,
                                       .nworking = nworking},
              on_due, NULL);
    run_loop(20);
    assert_int_equal(got.result, STORE_DONE);
}

static void ask_due(uint32_t from, uint32_t to, pay_time_t now, unsigned max)
{
    ask_due_beside(from, to, now, max, NULL, 0);
}

static void test_due(void **state)
{
    struct work *a, *b, *c;

    (void)state;
    sql_do("DELETE FROM pay.payment_timer");
    a = created_in(10);
    b = created_in(20);
    c = created_in(30);
    ask_due(0, 1023, T0 + 100 * USEC_PER_SEC, 10);
    assert_int_equal(got.n, 0);
    ask_due(0, 1023, T0 + 200 * USEC_PER_SEC, 10);
    assert_int_equal(got.n, 3);
    ask_due(0, 1023, T0 + 200 * USEC_PER_SEC, 2);
    assert_int_equal(got.n, 2);
    ask_due(20, 29, T0 + 200 * USEC_PER_SEC, 10);
    assert_int_equal(got.n, 1);
    assert_int_equal(got.ids[0], b->before.id);
    /* those in work and due again take nobody's place */
    ask_due_beside(0, 1023, T0 + 200 * USEC_PER_SEC, 1, (int64_t[]){a->before.id, c->before.id}, 2);
    assert_int_equal(got.n, 1);
    assert_int_equal(got.ids[0], b->before.id);
    /* a step that sends moves it, a final one ends it */
    a = new_work(&a->step.after, (struct payment_event){.kind = PAYMENT_EVENT_TIMER},
                 T0 + 200 * USEC_PER_SEC);
    c = new_work(&c->step.after, paid(SLICE("B")), T0 + 1);
    assert_int_equal(commit(a), STORE_DONE);
    assert_int_equal(commit(c), STORE_DONE);
    ask_due(0, 1023, T0 + 200 * USEC_PER_SEC, 10);
    assert_int_equal(got.n, 1);
    ask_due(0, 1023, T0 + 2000 * USEC_PER_SEC, 10);
    assert_int_equal(got.n, 2);
    assert_int_equal(got.ids[0], b->before.id); /* oldest first */
}

/* ---- callbacks ---- */

static void paid_order_of(struct slice mchid, uint32_t slot)
{
    struct payment p = new_order(slot, new_no());
    struct work *w;

    p.mchid = mchid;
    w = new_create(p);
    assert_int_equal(commit(w), STORE_DONE);
    assert_int_equal(commit(new_work(&w->step.after, paid(SLICE("B")), T0 + 1)), STORE_DONE);
}

static void claim_wish(struct store_callback_wish wish)
{
    store_callbacks_claim(store, &wish, &memory, on_claimed, NULL);
    run_loop(20);
    assert_int_equal(got.result, STORE_DONE);
}

static void claim_beside(const struct slice *busy, size_t nbusy, pay_time_t now, unsigned max,
                         unsigned per_merchant)
{
    claim_wish((struct store_callback_wish){.slot_to = 1023,
                                            .now = now,
                                            .lease_until = now + 30 * USEC_PER_SEC,
                                            .max = max,
                                            .per_merchant = per_merchant,
                                            .suspects_max = max,
                                            .busy = busy,
                                            .nbusy = nbusy});
}

static void claim(pay_time_t now, unsigned max, unsigned per_merchant)
{
    claim_beside(NULL, 0, now, max, per_merchant);
}

static void tried(const struct store_callback *c, size_t n, enum callback_state s, pay_time_t at)
{
    struct store_callback_try *t = arena_array(&memory, struct store_callback_try, n);
    int left = (int)n;

    for (size_t i = 0; i < n; i++) {
        t[i] = (struct store_callback_try){.callback = &c[i],
                                           .state = s,
                                           .at = at,
                                           .next_at =
                                               s == CALLBACK_WAITING ? at + 15 * USEC_PER_SEC : 0,
                                           .http_status = s == CALLBACK_DONE ? 200 : 500,
                                           .took_us = 1234,
                                           .done = on_tried,
                                           .arg = &left};
        store_callback_tried(store, &t[i]);
    }
    run_loop(20);
}

static void test_callbacks(void **state)
{
    struct got first;

    (void)state;
    sql_do("TRUNCATE pay.callback, pay.callback_attempt");
    for (int i = 0; i < 20; i++)
        paid_order_of(SLICE("DEAD"), 5);
    for (int i = 0; i < 3; i++)
        paid_order_of(SLICE("M2"), 6);
    claim(T0, 100, 4);
    assert_int_equal(got.n, 0); /* not before its time */
    claim(T0 + 2, 100, 4);
    assert_int_equal(got.n, 7); /* four of the dead one, all of the other */
    first = got;
    for (size_t i = 0; i < first.n; i++) {
        assert_int_equal(first.callbacks[i].tries, 1);
        assert_slice(first.callbacks[i].url, SLICE("https://m.example/cb"));
        assert_slice(first.callbacks[i].body, SLICE("{\"state\":\"final\"}"));
        assert_slice(first.callbacks[i].app_id, SLICE("A1"));
    }
    claim(T0 + 2, 100, 4);
    assert_int_equal(got.n, 4); /* leased ones are taken by nobody else */
    assert_slice(got.callbacks[0].mchid, SLICE("DEAD"));
    claim(T0 + 2, 3, 4);
    assert_int_equal(got.n, 3);
    tried(first.callbacks, first.n, CALLBACK_WAITING, T0 + 3);
    claim(T0 + 14 * USEC_PER_SEC, 100, 100);
    assert_int_equal(got.n, 20 - 4 - 4 - 3);
    claim(T0 + 16 * USEC_PER_SEC, 100, 100);
    assert_int_equal(got.n, 7);
    assert_int_equal(got.callbacks[0].tries, 2);
    tried(got.callbacks, got.n, CALLBACK_DONE, T0 + 17 * USEC_PER_SEC);
    /* the answer to the first try comes late and changes nothing */
    tried(first.callbacks, first.n, CALLBACK_GIVEN_UP, T0 + 18 * USEC_PER_SEC);
    assert_int_equal(sql_int("SELECT count(*) FROM pay.callback WHERE state = 2 AND tries = 2"
                             " AND done_at IS NOT NULL AND last_status = 200"),
                     7);
    assert_int_equal(sql_int("SELECT count(*) FROM pay.callback_attempt"), 14);
    /* leases end: what was claimed and never heard of again comes back */
    claim(T0 + 100 * USEC_PER_SEC, 100, 100);
    assert_int_equal(got.n, 16);
}

/* A success counts whoever's try it was: the lease may have ended while the merchant answered. */
static void test_late_success_of_a_callback(void **state)
{
    struct got first;

    (void)state;
    sql_do("TRUNCATE pay.callback, pay.callback_attempt");
    paid_order_of(SLICE("M2"), 6);
    claim(T0 + 2, 10, 4);
    first = got;
    claim(T0 + 60 * USEC_PER_SEC, 10, 4);
    assert_int_equal(got.n, 1);
    tried(first.callbacks, 1, CALLBACK_DONE, T0 + 61 * USEC_PER_SEC);
    tried(got.callbacks, 1, CALLBACK_WAITING, T0 + 62 * USEC_PER_SEC);
    assert_int_equal(sql_int("SELECT state FROM pay.callback"), CALLBACK_DONE);
    claim(T0 + 1000 * USEC_PER_SEC, 10, 4);
    assert_int_equal(got.n, 0);
}

/* Calls under way count: a merchant that never answers keeps to its share. */
static void test_share_of_a_merchant(void **state)
{
    const struct slice busy[] = {SLICE("DEAD"), SLICE("DEAD"), SLICE("DEAD"), SLICE("OTHER")};

    (void)state;
    sql_do("TRUNCATE pay.callback, pay.callback_attempt");
    for (int i = 0; i < 10; i++)
        paid_order_of(SLICE("DEAD"), 5 + (uint32_t)i % 2);
    claim_beside(busy, 3, T0 + 2, 100, 3);
    assert_int_equal(got.n, 0);
    claim_beside(busy, 4, T0 + 2, 100, 5);
    assert_int_equal(got.n, 2);
}

/* ---- reference data ---- */

static void get_key(const char *serial)
{
    store_key_get(store, slice_of(serial), &memory, on_key, NULL);
    run_loop(20);
}

static void ask_changes(pay_time_t since)
{
    store_keys_changed(store, since, &memory, on_changes, NULL);
    run_loop(20);
    assert_int_equal(got.result, STORE_DONE);
}

static void test_keys(void **state)
{
    (void)state;
    sql_do("INSERT INTO pay.merchant (mchid, base_slot, span, rate, rate_window, burst)"
           " VALUES ('KM', 100, 4, 50, 60, 70);"
           " INSERT INTO pay.app (app_id, mchid, rate, allow, allow_alert) VALUES ('KA', 'KM', 60,"
           "  '{10.0.0.0/8,192.0.2.1,2001:db8::/32}', true);"
           " INSERT INTO pay.app_key (serial, app_id, alg, material_sealed, valid_to) VALUES"
           " ('K1', 'KA', 'rsa-sha256', '\\x0100ff', now() + interval '1 day'),"
           " ('K2', 'KA', 'hmac-sha256', '\\x02', now() + interval '1 day'),"
           " ('K3', 'KA', 'hmac-sha256', '\\x03', now() + interval '0.1 s')");
    get_key("K1");
    assert_int_equal(got.result, STORE_DONE);
    assert_slice(got.key.material_sealed, SLICE("\x01\0\xff"));
    assert_slice(got.key.mchid, SLICE("KM"));
    assert_slice(got.key.alg, SLICE("rsa-sha256"));
    assert_true(got.key.on);
    assert_int_equal(got.key.base_slot, 100);
    assert_int_equal(got.key.span, 4);
    assert_int_equal(got.key.merchant_limit.rate, 50);
    assert_int_equal(got.key.merchant_limit.window, 60);
    assert_int_equal(got.key.merchant_limit.burst, 70);
    assert_int_equal(got.key.app_limit.rate, 60);
    assert_int_equal(got.key.app_limit.window, 1);
    assert_int_equal(got.key.app_limit.burst, 0);
    assert_slice(got.key.allow, SLICE("10.0.0.0/8 192.0.2.1/32 2001:db8::/32"));
    assert_true(got.key.allow_alert);
    assert_true(got.key.valid_to - got.key.valid_from > 86000 * USEC_PER_SEC);
    get_key("nobody's");
    assert_int_equal(got.result, STORE_NONE);
    store_app_signing_key(store, SLICE("KA"), &memory, on_key, NULL);
    run_loop(20);
    assert_int_equal(got.result, STORE_DONE);
    assert_slice(got.key.alg, SLICE("hmac-sha256"));
    store_app_signing_key(store, SLICE("K0"), &memory, on_key, NULL);
    run_loop(20);
    assert_int_equal(got.result, STORE_NONE);
}

static void test_change_feed(void **state)
{
    static const struct {
        const char *sql;
        size_t serials;
    } changes[] = {{"UPDATE pay.app_key SET enabled = false WHERE serial = 'K1'", 1},
                   {"UPDATE pay.app SET enabled = false WHERE app_id = 'KA'", 3},
                   {"UPDATE pay.merchant SET enabled = false WHERE mchid = 'KM'", 3}};
    pay_time_t newest;

    (void)state;
    ask_changes(1);
    newest = got.newest;
    for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
        ask_changes(newest + 1);
        assert_int_equal(got.n, 0);
        sql_do(changes[i].sql);
        ask_changes(newest + 1);
        assert_int_equal(got.n, changes[i].serials);
        assert_true(got.newest > newest);
        newest = got.newest;
    }
    get_key("K2");
    assert_false(got.key.on);
}

/* A change that was begun first and committed last is not stamped before one that was seen. */
static void test_changes_are_stamped_in_order_of_commit(void **state)
{
    PGconn *slow = PQconnectdb(getenv("PAY_PG_OWNER")), *fast = PQconnectdb(getenv("PAY_PG_OWNER"));
    pay_time_t newest;

    (void)state;
    PQclear(PQexec(slow, "BEGIN"));
    PQclear(PQexec(slow, "UPDATE pay.app_key SET enabled = true WHERE serial = 'K1'"));
    assert_int_equal(PQsendQuery(fast, "UPDATE pay.app_key SET enabled = true"
                                       " WHERE serial = 'K2'"),
                     1);
    while (!sql_int("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"))
        ;
    ask_changes(1);
    newest = got.newest;
    PQclear(PQexec(slow, "COMMIT"));
    PQclear(PQgetResult(fast));
    ask_changes(newest + 1);
    assert_int_equal(got.n, 2);
    PQfinish(slow);
    PQfinish(fast);
}

static void test_accounts(void **state)
{
    (void)state;
    sql_do("INSERT INTO pay.channel_account (channel, account, mchid, config, secrets_sealed,"
           " enabled) VALUES ('bank', 'main', NULL, '{\"mch_id\": \"M10001\"}', '\\x0102', true),"
           " ('wechat', 'own', 'KM', '{}', '\\x', false)");
    store_accounts_get(store, &memory, on_accounts, NULL);
    run_loop(20);
    assert_int_equal(got.result, STORE_DONE);
    assert_int_equal(got.n, 2);
    assert_slice(got.accounts[0].config, SLICE("{\"mch_id\": \"M10001\"}"));
    assert_slice(got.accounts[0].secrets_sealed, SLICE("\x01\x02"));
    assert_int_equal(got.accounts[0].mchid.n, 0);
    assert_true(got.accounts[0].on);
    assert_slice(got.accounts[1].mchid, SLICE("KM"));
    assert_false(got.accounts[1].on);
}

/* ---- the process ---- */

static uint32_t lease(const char *holder, int64_t lease_us, bool shadow)
{
    store_lease(store, slice_of(holder), lease_us, shadow, on_lease, NULL);
    run_loop(20);
    assert_int_equal(got.result, STORE_DONE);
    return got.process;
}

static void test_leases(void **state)
{
    uint32_t a = lease("a", 30 * USEC_PER_SEC, false), b = lease("b", 30 * USEC_PER_SEC, false);
    bool seen[256] = {false};

    (void)state;
    assert_int_not_equal(a, b);
    assert_int_equal(lease("a", 30 * USEC_PER_SEC, false), a); /* renewed */
    assert_in_range(lease("s", 30 * USEC_PER_SEC, true), ID_SHADOW_MIN, ID_PROCESS_MAX);
    /* an ended lease rests before another holder gets its number */
    seen[lease("short", 1, false)] = true;
    for (int i = 0; i < ID_SHADOW_MIN - 3; i++) {
        uint32_t n =
            lease(arena_cstr(&memory, arena_printf(&memory, "h%d", i)), 30 * USEC_PER_SEC, false);

        assert_false(seen[n]);
        assert_in_range(n, 0, ID_SHADOW_MIN - 1);
        seen[n] = true;
    }
    store_lease(store, SLICE("one more"), USEC_PER_SEC, false, on_lease, NULL);
    run_loop(20);
    assert_int_equal(got.result, STORE_NONE);
    sql_do("UPDATE pay.process_lease SET until = until - interval '62 s' WHERE holder = 'short'");
    lease("one more", USEC_PER_SEC, false);
}

static void test_clock(void **state)
{
    (void)state;
    store_clock(store, on_clock, NULL);
    run_loop(20);
    assert_int_equal(got.result, STORE_DONE);
    assert_true(llabs(got.clock - clock_read_wall()) < 2 * USEC_PER_SEC);
    assert_true(llabs(got.mono_us - clock_read_mono_us()) < 2 * USEC_PER_SEC);
}

int main(int argc, char **argv)
{
#define STORE_TEST(f) cmocka_unit_test_setup_teardown(f, setup_store, teardown_store)
    const struct CMUnitTest tests[] = {
        STORE_TEST(test_due),
        STORE_TEST(test_callbacks),
        STORE_TEST(test_late_success_of_a_callback),
        STORE_TEST(test_share_of_a_merchant),
        STORE_TEST(test_keys),
        STORE_TEST(test_change_feed),
        STORE_TEST(test_changes_are_stamped_in_order_of_commit),
        STORE_TEST(test_accounts),
        STORE_TEST(test_leases),
        STORE_TEST(test_clock),
    };

    (void)argc;
    need_server(argv);
    log_open("/dev/null", "store_test", LOG_DEBUG);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
