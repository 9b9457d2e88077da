/*
 * How the statements run: every plan made for empty tables goes through keys, so that it is a good
 * one for full tables; updates of orders and attempts stay in their page (HOT).
 */
#include "store_test.h"

#include "backends/store/statements.h"

/* ---- plans ---- */

static const struct {
    const char *name, *sql;
} statements[] = {{"create", sql_create},
                  {"create_missing", sql_create_missing},
                  {"step", sql_step},
                  {"answer", sql_answer},
                  {"record", sql_record},
                  {"known", sql_known},
                  {"by_id", sql_by_id},
                  {"by_no", sql_by_no},
                  {"tried", sql_tried},
                  {"claim", sql_claim},
                  {"key", sql_key},
                  {"changes", sql_changes},
                  {"signing_key", sql_signing_key},
                  {"due", sql_due},
                  {"refund", sql_refund},
                  {"refund_by_id", sql_refund_by_id},
                  {"refund_by_no", sql_refund_by_no},
                  {"backlog", sql_backlog},
                  {"bill_claim", sql_bill_claim},
                  {"bill_failed", sql_bill_failed},
                  {"case_say", sql_case_say},
                  {"relay_claim", sql_relay_claim},
                  {"relay_read", sql_relay_read},
                  {"relay_save", sql_relay_save},
                  {"relay_rewind", sql_relay_rewind}};

static int params_of(const char *sql)
{
    int max = 0;

    for (const char *p = strchr(sql, '$'); p; p = strchr(p + 1, '$')) {
        int n = 0;

        for (const char *d = p + 1; *d >= '0' && *d <= '9'; d++)
            n = n * 10 + (*d - '0');
        max = n > max ? n : max;
    }
    return max;
}

static PGresult *explain(const char *name, const char *sql)
{
    struct buf b;
    PGresult *r;

    buf_init(&b, 64u << 10);
    buf_addf(&b, "PREPARE \"%s\" AS %s", name, sql);
    buf_add_char(&b, '\0');
    sql_do(b.p);
    buf_clear(&b);
    buf_addf(&b, "EXPLAIN (COSTS off) EXECUTE \"%s\"", name);
    for (int i = 0, n = params_of(sql); i < n; i++)
        buf_add_str(&b, i ? ", NULL" : "(NULL");
    buf_add_str(&b, params_of(sql) ? ")" : "");
    buf_add_char(&b, '\0');
    r = PQexec(owner, b.p);
    if (PQresultStatus(r) != PGRES_TUPLES_OK)
        fail_msg("%s: %s", b.p, PQerrorMessage(owner));
    buf_release(&b);
    return r;
}

/* What an index is searched by, so that one row at most is found. */
static const struct {
    const char *index, *condition;
} keys[] = {{"payment_pkey", "(id = "},
            {"payment_number", "(out_trade_no >= "},
            {"payment_answer_pkey", "(attempt_n = "},
            {"payment_history_pkey", "(payment_id = "},
            {"payment_timer_pkey", "(payment_id = "},
            {"refund_pkey", "(id = "},
            {"refund_number", "(out_refund_no >= "},
            {"refund_timer_pkey", "(refund_id = "},
            {"reversal_pkey", "(payment_id = "},
            {"refund_timer_due", "(channel "},
            {"callback_pkey", "(payment_id = "},
            {"callback_waiting", "slot"},
            {"callback_given_up", "(created_at > "},
            {"payment_history_xid", "(xid "},
            {"channel_account_pkey", "(channel = "},
            {"channel_bill_pkey", "(channel = "},
            {"channel_bill_fetch_pkey", "(channel = "},
            {"payment_timer_due", "(channel "},
            {"app_key_pkey", "(serial = "},
            {"app_key_app", "(app_id = "},
            {"app_pkey", "(app_id = "},
            {"app_mchid", "(mchid = "},
            {"merchant_pkey", "(mchid = "},
            {"app_key_changed", "(changed_at >= "},
            {"app_changed", "(changed_at >= "},
            {"merchant_changed", "(changed_at >= "}};

static void check_scan(const char *name, const char *scan, const char *condition)
{
    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
        char using[64];

        snprintf(using, sizeof(using), " using %s on ", keys[i].index);
        if (!strstr(scan, using))
            continue;
        if (!strstr(condition, "Index Cond:") || !strstr(condition, keys[i].condition))
            fail_msg("%s: %s without %s: %s", name, scan, keys[i].condition, condition);
        return;
    }
    fail_msg("%s: %s", name, scan);
}

static void check_plan(const char *name, PGresult *plan)
{
    for (int i = 0; i < PQntuples(plan); i++) {
        const char *line = PQgetvalue(plan, i, 0);

        if (strstr(line, " on relay")) /* at most 64 rows, and 25 marks of each */
            continue;
        if (strstr(line, "Seq Scan") || strstr(line, "Bitmap") || strstr(line, "Hash Join") ||
            strstr(line, "Merge Join"))
            fail_msg("%s: %s", name, line);
        if (strstr(line, "Index Scan") || strstr(line, "Index Only Scan"))
            check_scan(name, line, i + 1 < PQntuples(plan) ? PQgetvalue(plan, i + 1, 0) : "");
    }
}

static void test_plans(void **state)
{
    (void)state;
    for (int i = 0; sql_settings[i]; i++)
        sql_do(sql_settings[i]);
    for (int round = 0; round < 2; round++) {
        for (size_t i = 0; i < sizeof(statements) / sizeof(statements[0]); i++) {
            PGresult *plan = explain(statements[i].name, statements[i].sql);

            check_plan(statements[i].name, plan);
            PQclear(plan);
        }
        sql_do("DEALLOCATE ALL");
        sql_do("ANALYZE"); /* of empty tables: the worst that can be known of them */
    }
}

/* ---- HOT ---- */

static int64_t stat(const char *column, const char *table)
{
    return sql_intf("SELECT %s FROM pg_stat_user_tables WHERE schemaname = 'pay'"
                    " AND relname = '%s'",
                    column, table);
}

static void on_pause(void *arg)
{
    (void)arg;
    loop_stop(loop);
}

/* PostgreSQL's sessions tell their statistics at most once a second, after a transaction. */
static void flush_statistics(void)
{
    struct loop_timer *t = loop_timer_new(loop, on_pause, NULL);

    loop_timer_set(t, 1100 * USEC_PER_MSEC);
    run_loop(5);
    loop_timer_free(t);
    assert_int_equal(commit(new_create(new_order(1, new_no()))), STORE_DONE);
}

static void test_updates_are_hot(void **state)
{
    enum { N = 1000 };
    struct work *works[N];
    int64_t updates, hot;

    (void)state;
    store_free(store);
    open_store(1, 128, 20000);
    for (int i = 0; i < N; i++)
        works[i] = new_create(new_order((uint32_t)(i % 64), new_no()));
    commit_all(works, N);
    flush_statistics();
    updates = stat("n_tup_upd", "payment");
    hot = stat("n_tup_hot_upd", "payment");
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < N; i++) {
            struct payment *p = &works[i]->step.after;

            works[i] = round ? new_work(p, paid(SLICE("4200001234202609011234567890")), T0 + 2)
                             : new_work(p, answer(CALL_PREPARE, 1, CLASS_ACCEPTED), T0 + 1);
        }
        commit_all(works, N);
    }
    flush_statistics();
    assert_int_equal(stat("n_tup_upd", "payment") - updates, 2 * N);
    /* a page that is just full moves a row now and then */
    assert_in_range(stat("n_tup_hot_upd", "payment") - hot, 2 * N * 95 / 100, 2 * N);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_plans, setup_store, teardown_store),
        cmocka_unit_test_setup_teardown(test_updates_are_hot, setup_store, teardown_store),
    };

    (void)argc;
    need_server(argv);
    log_open("/dev/null", "store_test", LOG_DEBUG);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
