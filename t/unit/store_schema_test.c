/*
 * The database defends itself (R2.2): every pair of states, as the application role and as the
 * owner of everything; history, money facts and what was agreed do not change; merchants' slots
 * stay.
 */
#include "store_test.h"

#include "backends/store/moves_sql.h"
#include <glob.h>

static PGconn *app;

static int open_connections(void **state)
{
    (void)state;
    arena_init(&memory, 16u << 20);
    owner = PQconnectdb(getenv("PAY_PG_OWNER"));
    app = PQconnectdb(getenv("PAY_PG"));
    id_gen_init(&ids, 200);
    return PQstatus(owner) == CONNECTION_OK && PQstatus(app) == CONNECTION_OK ? 0 : -1;
}

static int close_connections(void **state)
{
    (void)state;
    PQfinish(app);
    PQfinish(owner);
    arena_release(&memory);
    return 0;
}

/* "" when it worked and touched a row, "none" when it touched none, else the SQLSTATE. */
static const char *try_sql(PGconn *c, const char *sql)
{
    static char state[8];
    PGresult *r = PQexec(c, sql);

    if (PQresultStatus(r) == PGRES_COMMAND_OK)
        snprintf(state, sizeof(state), "%s", strcmp(PQcmdTuples(r), "0") == 0 ? "none" : "");
    else
        snprintf(state, sizeof(state), "%s", PQresultErrorField(r, PG_DIAG_SQLSTATE));
    PQclear(r);
    return state;
}

#define tryf(c, ...)    try_sql((c), arena_cstr(&memory, arena_printf(&memory, __VA_ARGS__)))
#define REFUSED_CHECK   "23514"
#define REFUSED_GRANT   "42501"
#define REFUSED_TRIGGER "PAY01"

static const char *insert(PGconn *c, int64_t id, int version, int prev_state, int state)
{
    return tryf(c,
                "INSERT INTO pay.payment (id, amount, created_at, time_expire, version,"
                " attempts, prepare_n, not_sent, slot, state, prev_state, method, command_seq,"
                " prepare_last, prepare_past, busy_kind, mchid, app_id, out_trade_no, digest,"
                " currency, scene, product, store_id, description, attach, notify_url, trace_id,"
                " channel, account, route, channel_trade_no, code_url, fail_code) VALUES (%lld,"
                " 888, now(), now(), %d, 1, 1, 0, 77, %d, %d, 1, 1, 2, 0, 0, 'M1', 'A1', '%lld',"
                " '', 'CNY', '', '', '', '', '', '', '', 'bank', 'main', '', '', '', '')",
                (long long)id, version, state, prev_state, (long long)id);
}

static const char *move(PGconn *c, int64_t id, int to)
{
    return tryf(c,
                "UPDATE pay.payment SET version = version + 1, prev_state = state, state = %d"
                " WHERE slot = 77 AND id = %lld",
                to, (long long)id);
}

/* A new order, led to that state by legal moves. */
static int64_t order_in(int state)
{
    int64_t id = new_id(77);

    assert_string_equal(insert(app, id, 1, 0, 1), "");
    if (state > 1)
        assert_string_equal(move(app, id, state), "");
    return id;
}

static void test_every_pair(void **state)
{
    /* written by hand: rows from, columns to, of processing pending succeeded failed closed */
    static const bool allowed[5][5] = {
        {0, 1, 1, 1, 1}, {0, 0, 1, 1, 1}, {0, 0, 0, 0, 0}, {0, 0, 0, 0, 0}, {0, 0, 0, 0, 0}};

    (void)state;
    for (int actor = 0; actor < 2; actor++) {
        PGconn *c = actor ? owner : app;

        for (int from = 1; from <= 5; from++) {
            for (int to = -1; to <= 7; to++) {
                bool ok = to >= 1 && to <= 5 && allowed[from - 1][to - 1];
                const char *got = move(c, order_in(from), to);
                bool refused = strcmp(got, REFUSED_CHECK) == 0 || strcmp(got, REFUSED_TRIGGER) == 0;

                if (ok ? *got : !refused)
                    fail_msg("%d -> %d: %s", from, to, got);
            }
        }
    }
}

static void test_versions_and_origins(void **state)
{
    int64_t pending = order_in(2), paid = order_in(3);
    static const char *const bad[] = {
        "version = version + 2",
        "version = version",
        "version = version - 1",
        "attempts = 9",
        "version = version + 1, state = 3",                 /* prev_state would lie */
        "version = version + 1, state = 3, prev_state = 1", /* so would this */
        "version = version + 1, prev_state = 0",
        "version = version + 1, prev_state = 2",
        "version = version + 1, state = 1, prev_state = 0", /* back to the beginning */
    };

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        const char *got = tryf(app, "UPDATE pay.payment SET %s WHERE slot = 77 AND id = %lld",
                               bad[i], (long long)pending);

        if (strcmp(got, REFUSED_TRIGGER) != 0 && strcmp(got, REFUSED_CHECK) != 0)
            fail_msg("%s: %s", bad[i], got);
    }
    assert_string_equal(tryf(app,
                             "UPDATE pay.payment SET version = version + 1, attempts = 2"
                             " WHERE slot = 77 AND id = %lld",
                             (long long)pending),
                        "");
    assert_string_equal(tryf(app,
                             "UPDATE pay.payment SET version = version + 1,"
                             " channel_trade_no = 'another' WHERE slot = 77 AND id = %lld",
                             (long long)paid),
                        REFUSED_TRIGGER);
}

/* Another channel takes an order only as its next command, and only while nothing is known. */
static void test_channel_moves_with_the_command(void **state)
{
    static const struct {
        int from;
        const char *set;
        bool ok;
    } cases[] = {{1, "channel = 'b2', command_seq = 2", true},
                 {1, "channel = 'b2'", false},
                 {1, "account = 'a2'", false},
                 {1, "command_seq = 3", false},
                 {2, "channel = 'b2', command_seq = 2", false},
                 {3, "channel = 'b2', command_seq = 2", false},
                 {5, "reversal = 2", false},
                 {3, "fail_code = 'x'", false},
                 {3, "succeeded_at = now()", false},
                 {4, "final_at = now()", false},
                 {5, "extra_paid = 5", true},
                 {3, "extra_paid = -1", false}};

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const char *got = tryf(app,
                               "UPDATE pay.payment SET version = version + 1, %s"
                               " WHERE slot = 77 AND id = %lld",
                               cases[i].set, (long long)order_in(cases[i].from));

        if (cases[i].ok ? *got
                        : strcmp(got, REFUSED_TRIGGER) != 0 && strcmp(got, REFUSED_CHECK) != 0)
            fail_msg("%d: %s: %s", cases[i].from, cases[i].set, got);
    }
}

static void test_reversal_is_final_once(void **state)
{
    long long id = order_in(1);

    (void)state;
    for (int s = 2; s >= 1; s--)
        assert_string_equal(tryf(app,
                                 "INSERT INTO pay.reversal (slot, payment_id, amount, created_at,"
                                 " tries, state, reason, code) VALUES (77, %lld, 0, now(), 1, %d,"
                                 " 'paying', '')",
                                 id, s),
                            s == 2 ? "PAY03" : "");
    assert_string_equal(tryf(app, "UPDATE pay.reversal SET state = 2 WHERE payment_id = %lld", id),
                        "");
    assert_string_equal(
        tryf(owner, "UPDATE pay.reversal SET state = 3 WHERE payment_id = %lld", id), "PAY03");
    assert_string_equal(tryf(app, "DELETE FROM pay.reversal WHERE payment_id = %lld", id),
                        REFUSED_GRANT);
}

static void test_births(void **state)
{
    (void)state;
    for (int prev = 0; prev <= 5; prev++)
        for (int s = 0; s <= 6; s++)
            for (int version = 0; version <= 2; version++)
                if (prev != 0 || s != 1 || version != 1)
                    assert_string_not_equal(insert(app, new_id(77), version, prev, s), "");
}

static void test_facts_do_not_change(void **state)
{
    long long id = order_in(2);
    static const char *const by_app[] = {
        "UPDATE pay.payment SET amount = 1",
        "UPDATE pay.payment SET out_trade_no = 'x'",
        "DELETE FROM pay.payment",
        "UPDATE pay.payment_history SET code = 'x'",
        "DELETE FROM pay.payment_history",
        "UPDATE pay.payment_attempt SET attempt_id = 1",
        "DELETE FROM pay.payment_attempt",
        "UPDATE pay.payment_answer SET sent = 1",
        "DELETE FROM pay.payment_answer",
        "UPDATE pay.callback SET body = 'x'",
        "DELETE FROM pay.callback",
        "UPDATE pay.callback_attempt SET http_status = 200",
        "DELETE FROM pay.callback_attempt",
        "UPDATE pay.payment_case SET amount = 1",
        "DELETE FROM pay.payment_case",
        "ALTER TABLE pay.payment DISABLE TRIGGER ALL",
        "TRUNCATE pay.payment",
        "DELETE FROM pay.schema_version",
    };

    (void)state;
    for (size_t i = 0; i < sizeof(by_app) / sizeof(by_app[0]); i++) {
        const char *got = try_sql(app, by_app[i]);

        if (strcmp(got, REFUSED_GRANT) != 0)
            fail_msg("%s: %s", by_app[i], got);
    }
    /* not even the owner of everything */
    assert_string_equal(tryf(owner,
                             "UPDATE pay.payment SET amount = 1, version = version + 1"
                             " WHERE id = %lld",
                             id),
                        REFUSED_TRIGGER);
    assert_string_equal(tryf(owner,
                             "UPDATE pay.payment SET mchid = 'M2', version = version + 1"
                             " WHERE id = %lld",
                             id),
                        REFUSED_TRIGGER);
}

static void test_one_callback_each(void **state)
{
    long long id = order_in(3);

    (void)state;
    for (int i = 0; i < 2; i++)
        assert_string_equal(tryf(app,
                                 "INSERT INTO pay.callback (id, payment_id, subject_id, created_at,"
                                 " next_at, slot, state, mchid, app_id, url, body) VALUES (%lld,"
                                 " %lld, %lld, now(), now(), 77, 2, 'M', 'A', '', '')",
                                 id + i, id, id),
                            i ? "23505" : "");
}

static void test_slots_of_a_merchant_stay(void **state)
{
    (void)state;
    assert_string_equal(tryf(app, "INSERT INTO pay.merchant (mchid, base_slot, span)"
                                  " VALUES ('M1', 1020, 64)"),
                        ""); /* wraps to slot 59 */
    assert_string_equal(tryf(app, "UPDATE pay.merchant SET base_slot = 40 WHERE mchid = 'M1'"), "");
    order_in(1); /* slot 77 is among 40..103 */
    assert_string_equal(tryf(app, "UPDATE pay.merchant SET base_slot = 41 WHERE mchid = 'M1'"),
                        "PAY02");
    assert_string_equal(tryf(app, "UPDATE pay.merchant SET span = 32 WHERE mchid = 'M1'"), "PAY02");
    assert_string_equal(tryf(app, "UPDATE pay.merchant SET enabled = false"), "");
}

/* What workers of the version before wrote, and what both wrote of one attempt. */
static void test_attempts_of_two_versions(void **state)
{
    static const char *const written[] = {
        /* 1 theirs; 2 theirs, answered by ours; 3 ours, answered by theirs; 4 ours, answered twice
         */
        "INSERT INTO pay.payment_attempt (payment_id, attempt_id, adapter_version, committed_at,"
        " send_before, n, slot, kind, command_seq, channel, account, answered_at, sent, class,"
        " http_status, code, message) VALUES (7700001, 11, 1, 'epoch', now(), 1, 77, 1, 1, 'bank', "
        "'main',"
        " now(), 3, 2, 200, 'OLD', 'x'), (7700001, 12, 1, 'epoch', now(), 2, 77, 2, 1, 'bank', "
        "'main',"
        " NULL, NULL, NULL, NULL, NULL, NULL)",
        "INSERT INTO pay.payment_history (payment_id, event_id, at, version, attempt_n, slot,"
        " from_state, to_state, event, input, code, attempt_id, adapter_version, send_before, "
        "opens_n,"
        " kind, command_seq, channel, account, http_status, sent, class, message) VALUES"
        " (7700001, 1, 'epoch', 2, 2, 77, 1, 2, 1, '', 'NEW', 13, 1, now(), 3, 6, 1, 'bank', "
        "'main', "
        "200, 3, 2, 'y'),"
        " (7700001, 2, 'epoch', 3, 3, 77, 2, 2, 1, '', 'BARE', 14, 1, now(), 4, 1, 1, 'bank', "
        "'main', "
        "NULL, NULL, NULL, NULL),"
        " (7700001, 3, now(), 4, 4, 77, 2, 2, 1, '', 'LATE', NULL, NULL, NULL, NULL, NULL, NULL, "
        "NULL, NULL, 200, 3, 2, '')",
        "INSERT INTO pay.payment_answer (payment_id, event_id, at, attempt_n, http_status, slot, "
        "sent,"
        " class, code, message) VALUES (7700001, 4, 'epoch', 4, 500, 77, 3, 5, 'FIRST', '')",
    };
    static const char *const told[] = {"1 11 1 3 2 200 OLD x", "2 12 2 3 2 200 NEW y",
                                       "3 13 6 - - - BARE -", "4 14 1 3 5 500 FIRST "};

    (void)state;
    for (size_t i = 0; i < sizeof(written) / sizeof(written[0]); i++)
        assert_string_equal(try_sql(app, written[i]), "");
    for (size_t n = 1; n <= sizeof(told) / sizeof(told[0]); n++) {
        PGresult *r = PQexec(
            app,
            arena_cstr(
                &memory,
                arena_printf(&memory,
                             "SELECT format('%%s %%s %%s %%s %%s %%s %%s %%s', n, attempt_id, kind,"
                             " coalesce(sent::text, '-'), coalesce(class::text, '-'),"
                             " coalesce(http_status::text, '-'), code, coalesce(message, '-'))"
                             " FROM pay.attempt WHERE payment_id = 7700001 AND n = %zu",
                             n)));

        assert_int_equal(PQntuples(r), 1);
        assert_string_equal(PQgetvalue(r, 0, 0), told[n - 1]);
        PQclear(r);
    }
}

/* The newest migration of the moves is what the table says now. */
static void test_migration_is_generated(void **state)
{
    struct buf want, got;
    glob_t files;
    FILE *f;
    char chunk[4096];
    size_t n;

    (void)state;
    buf_init(&want, 64u << 10);
    buf_init(&got, 64u << 10);
    moves_sql(&want);
    assert_int_equal(glob("sql/*_payment_moves.sql", 0, NULL, &files), 0);
    f = fopen(files.gl_pathv[files.gl_pathc - 1], "rb");
    assert_non_null(f);
    while ((n = fread(chunk, 1, sizeof(chunk), f)) > 0)
        buf_add(&got, chunk, n);
    fclose(f);
    globfree(&files);
    if (!slice_eq(buf_slice(&got), buf_slice(&want)))
        fail_msg("run `make sql`");
    buf_release(&want);
    buf_release(&got);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_pair),
        cmocka_unit_test(test_versions_and_origins),
        cmocka_unit_test(test_channel_moves_with_the_command),
        cmocka_unit_test(test_reversal_is_final_once),
        cmocka_unit_test(test_births),
        cmocka_unit_test(test_facts_do_not_change),
        cmocka_unit_test(test_one_callback_each),
        cmocka_unit_test(test_slots_of_a_merchant_stay),
        cmocka_unit_test(test_attempts_of_two_versions),
        cmocka_unit_test(test_migration_is_generated),
    };

    (void)argc;
    need_server(argv);
    return cmocka_run_group_tests(tests, open_connections, close_connections);
}
