/*
 * Refunds in the database (R2.17): a step of one is a version of its payment, or nothing; what the
 * schema refuses to everyone.
 */
#include "store_test.h"

#include "backends/domain/refund.h"

#define SEC USEC_PER_SEC

struct refund_work {
    struct work work;
    struct refund before, after;
};

static const struct payment_policy refunding = {.send_window = 5 * SEC,
                                                .query_first = 120 * SEC,
                                                .query_interval = 30 * SEC,
                                                .query_max = 1800 * SEC,
                                                .soon = 2 * SEC,
                                                .resend_interval = 3 * SEC,
                                                .settle = 30 * SEC,
                                                .refund = true,
                                                .refund_resend = true};

/* Decides on the refund and fills the job, as payd's flow does. */
static struct work *refund_work(const struct payment *p, const struct refund *r,
                                struct payment_event e, pay_time_t now)
{
    struct refund_work *x = arena_new(&memory, struct refund_work);
    struct work *w = &x->work;

    *w = *new_work(p, e, now); /* the job's ids and texts */
    x->before = *r;
    w->event.asked = p->version;
    refund_decide(&w->before, &x->before, &w->event, now, &refunding, &w->step, &x->after);
    if (!x->after.id) {
        x->after.id = new_id(p->slot);
        x->after.created_at = now;
    }
    w->job.before = &w->before;
    w->job.step = &w->step;
    w->job.event = &w->event;
    w->job.refund_before = &x->before;
    w->job.refund = &x->after;
    w->job.arg = w;
    return w;
}

static const struct refund *after_of(const struct work *w)
{
    return &((const struct refund_work *)w)->after;
}

static struct work *wish(const struct payment *p, const char *no, int64_t amount)
{
    static const char digest[32] = "0123456789abcdef0123456789abcde";
    struct refund r = {.out_refund_no = slice_of(no),
                       .digest = slice_n(digest, sizeof(digest)),
                       .amount = amount,
                       .reason = SLICE("broken"),
                       .notify_url = SLICE("https://m.example/r"),
                       .trace_id = SLICE("t")};

    return refund_work(p, &r, (struct payment_event){.kind = PAYMENT_EVENT_REFUND}, T0 + 20 * SEC);
}

static struct payment paid_order(void)
{
    struct work *w = new_create(new_order(3, new_no()));

    assert_int_equal(commit(w), STORE_DONE);
    w = new_work(&w->step.after, answer(CALL_PREPARE, 1, CLASS_ACCEPTED), T0 + SEC);
    assert_int_equal(commit(w), STORE_DONE);
    w = new_work(&w->step.after, paid(SLICE("B1")), T0 + 10 * SEC);
    assert_int_equal(commit(w), STORE_DONE);
    assert_int_equal(w->step.after.state, PAYMENT_SUCCEEDED);
    return w->step.after;
}

/* ---- reading ---- */

static struct {
    enum store_result result;
    struct payment payment;
    struct refund refund;
} got;

static void on_refund(void *arg, enum store_result r, const struct payment *p,
                      const struct refund *refund)
{
    (void)arg;
    memset(&got, 0, sizeof(got));
    got.result = r;
    if (p)
        got.payment = *p;
    if (refund)
        got.refund = *refund;
    loop_stop(loop);
}

static void read_id(int64_t id)
{
    store_refund_by_id(store, id, &memory, on_refund, NULL);
    run_loop(20);
}

static void read_no(const struct payment *p, const char *out_refund_no)
{
    store_refund_by_no(store, p->slot, p->mchid, p->out_trade_no, slice_of(out_refund_no), &memory,
                       on_refund, NULL);
    run_loop(20);
}

static void assert_refund(const struct refund *want)
{
    const struct refund *r = &got.refund;

    assert_int_equal(got.result, STORE_DONE);
    assert_int_equal(r->id, want->id);
    assert_int_equal(r->state, want->state);
    assert_slice(r->out_refund_no, want->out_refund_no);
    assert_slice(r->digest, want->digest);
    assert_int_equal(r->amount, want->amount);
    assert_slice(r->reason, want->reason);
    assert_slice(r->notify_url, want->notify_url);
    assert_slice(r->trace_id, want->trace_id);
    assert_int_equal(r->send_n, want->send_n);
    assert_int_equal(r->send_last, want->send_last);
    assert_int_equal(r->send_past, want->send_past);
    assert_int_equal(r->send_before, want->send_before);
    assert_int_equal(r->not_sent, want->not_sent);
    assert_slice(r->channel_refund_no, want->channel_refund_no);
    assert_slice(r->fail_code, want->fail_code);
    assert_int_equal(r->created_at, want->created_at);
    assert_int_equal(r->final_at, want->final_at);
    assert_int_equal(r->succeeded_at, want->succeeded_at);
    assert_int_equal(r->due_at, want->due_at);
    assert_int_equal(r->due_kind, want->due_kind);
    assert_int_equal(r->due_tries, want->due_tries);
}

/* ---- tests ---- */

static void test_life(void **state)
{
    struct payment p = paid_order();
    struct work *w = wish(&p, "R00001", 300);
    struct payment_event e;
    struct refund r;

    (void)state;
    assert_int_equal(commit(w), STORE_DONE);
    r = *after_of(w);
    read_id(r.id);
    assert_refund(&r);
    assert_image(&got.payment, &w->step.after);
    assert_int_equal(got.payment.refund_reserved, 300);
    read_no(&p, "R00001");
    assert_refund(&r);
    read_no(&p, "R00000");
    assert_int_equal(got.result, STORE_DONE);
    assert_int_equal(got.refund.id, 0);
    assert_int_equal(got.payment.id, p.id);
    e = answer(CALL_REFUND, r.send_n, CLASS_SUCCESS);
    e.channel_trade_no = SLICE("CR1");
    p = w->step.after;
    w = refund_work(&p, &r, e, T0 + 21 * SEC);
    assert_int_equal(commit(w), STORE_DONE);
    read_id(r.id);
    assert_refund(after_of(w));
    assert_int_equal(got.refund.state, REFUND_SUCCEEDED);
    assert_int_equal(got.payment.refunded, 300);
    /* with it: history, attempt, callback of its own, no timer */
    assert_int_equal(sql_intf("SELECT count(*) FROM pay.payment_history WHERE payment_id = %lld"
                              " AND refund_id = %lld",
                              (long long)p.id, (long long)r.id),
                     2);
    assert_int_equal(sql_intf("SELECT count(*) FROM pay.attempt WHERE payment_id = %lld"
                              " AND refund_id = %lld AND kind = %d AND class = %d",
                              (long long)p.id, (long long)r.id, CALL_REFUND, CLASS_SUCCESS),
                     1);
    assert_int_equal(sql_intf("SELECT count(*) FROM pay.callback WHERE subject_id = %lld"
                              " AND url = 'https://m.example/r'",
                              (long long)r.id),
                     1);
    assert_int_equal(
        sql_intf("SELECT count(*) FROM pay.refund_timer WHERE refund_id = %lld", (long long)r.id),
        0);
}

/* 64 wishes decided on one image: one is stored, the rest hear that the payment moved on. */
static void test_one_version_at_a_time(void **state)
{
    struct payment p = paid_order();
    struct work *works[64];
    int done = 0;

    (void)state;
    for (int i = 0; i < 64; i++)
        works[i] = wish(&p, arena_printf(&memory, "R%05d", i).p, 500);
    commit_all(works, 64);
    for (int i = 0; i < 64; i++) {
        done += works[i]->result == STORE_DONE;
        assert_true(works[i]->result == STORE_DONE || works[i]->result == STORE_CONFLICT);
    }
    assert_int_equal(done, 1);
    assert_int_equal(
        sql_intf("SELECT sum(amount) FROM pay.refund WHERE payment_id = %lld", (long long)p.id),
        500);
}

static void test_failure_gives_back(void **state)
{
    struct payment p = paid_order();
    struct work *w = wish(&p, "R00001", 888);

    (void)state;
    assert_int_equal(commit(w), STORE_DONE);
    w = refund_work(&w->step.after, after_of(w),
                    answer(CALL_REFUND, after_of(w)->send_n, CLASS_FAILED), T0 + 21 * SEC);
    assert_int_equal(commit(w), STORE_DONE);
    read_no(&p, "R00001");
    assert_refund(after_of(w));
    assert_int_equal(got.payment.refund_reserved, 0);
    w = wish(&got.payment, "R00002", 888);
    assert_int_equal(commit(w), STORE_DONE);
}

static struct store_due dues[16];
static size_t ndues;

static void on_due(void *arg, enum store_result r, const struct store_due *due, size_t n)
{
    (void)arg;
    assert_int_equal(r, STORE_DONE);
    assert_true(n <= 16);
    memcpy(dues, due, n * sizeof(*due));
    ndues = n;
    loop_stop(loop);
}

static void ask_due(pay_time_t now, unsigned max)
{
    store_due(store,
              &(struct store_due_wish){
                  .slot_to = 1023, .parts = UINT64_MAX, .now = now, .max = max, .room = 2 * max},
              on_due, NULL);
    run_loop(20);
}

static void test_due(void **state)
{
    struct payment p = paid_order();
    struct work *w = wish(&p, "R00001", 300), *other;
    const struct refund *r = after_of(w);

    (void)state;
    sql_do("DELETE FROM pay.payment_timer");
    sql_do("DELETE FROM pay.refund_timer");
    assert_int_equal(commit(w), STORE_DONE);
    other = new_create(new_order(4, new_no()));
    assert_int_equal(commit(other), STORE_DONE);
    ask_due(T0 + 7200 * SEC, 10);
    assert_int_equal(ndues, 2);
    for (size_t i = 0; i < 2; i++)
        if (dues[i].payment_id == p.id)
            assert_int_equal(dues[i].refund_id, r->id);
        else
            assert_int_equal(dues[i].refund_id, 0);
    ask_due(r->due_at - 1, 10);
    for (size_t i = 0; i < ndues; i++)
        assert_int_equal(dues[i].refund_id, 0);
    ask_due(T0 + 7200 * SEC, 1);
    assert_int_equal(ndues, 1);
}

/* What no actor can do, whatever its statement. */
static void test_guards(void **state)
{
    struct payment p = paid_order(), waiting;
    struct work *w = wish(&p, "R00001", 300);
    static const char *const bad[] = {
        "UPDATE pay.payment SET version = version + 1, refund_reserved = 889",
        "UPDATE pay.payment SET version = version + 1, refunded = 301",
        "UPDATE pay.payment SET version = version + 1, refunded = -1",
        "UPDATE pay.payment SET refund_reserved = 0",
        "UPDATE pay.payment SET version = version + 1, final_at = now()",
        "UPDATE pay.payment SET version = version + 1, channel_trade_no = 'x'",
        "UPDATE pay.payment SET version = version + 1, state = 4, prev_state = 3",
    };
    char *text;

    (void)state;
    assert_int_equal(commit(w), STORE_DONE);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        PGresult *r;

        text = (char *)(uintptr_t)arena_printf(&memory, "%s WHERE slot = 3 AND id = %lld%c", bad[i],
                                               (long long)p.id, 0)
                   .p;
        r = PQexec(owner, text);
        if (PQresultStatus(r) == PGRES_COMMAND_OK)
            fail_msg("%s", bad[i]);
        PQclear(r);
    }
    /* nothing was paid: nothing can be reserved */
    w = new_create(new_order(3, new_no()));
    assert_int_equal(commit(w), STORE_DONE);
    waiting = w->step.after;
    text = (char *)(uintptr_t)arena_printf(&memory,
                                           "UPDATE pay.payment SET version = version + 1,"
                                           " refund_reserved = 1 WHERE slot = 3 AND id = %lld%c",
                                           (long long)waiting.id, 0)
               .p;
    PGresult *r = PQexec(owner, text);
    assert_int_not_equal(PQresultStatus(r), PGRES_COMMAND_OK);
    PQclear(r);
}

static void test_a_final_refund_stays(void **state)
{
    static const char *const bad[] = {"state = 1", "state = 3", "amount = 1", "fail_code = 'x'"};
    struct payment p = paid_order();
    struct work *w = wish(&p, "R00001", 300);

    (void)state;
    assert_int_equal(commit(w), STORE_DONE);
    w = refund_work(&w->step.after, after_of(w),
                    answer(CALL_REFUND, after_of(w)->send_n, CLASS_SUCCESS), T0 + 21 * SEC);
    assert_int_equal(commit(w), STORE_DONE);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        PGresult *r =
            PQexec(owner, arena_printf(&memory, "UPDATE pay.refund SET %s%c", bad[i], 0).p);

        assert_string_equal(PQresultErrorField(r, PG_DIAG_SQLSTATE), "PAY03");
        PQclear(r);
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_life, setup_store, teardown_store),
        cmocka_unit_test_setup_teardown(test_one_version_at_a_time, setup_store, teardown_store),
        cmocka_unit_test_setup_teardown(test_failure_gives_back, setup_store, teardown_store),
        cmocka_unit_test_setup_teardown(test_due, setup_store, teardown_store),
        cmocka_unit_test_setup_teardown(test_guards, setup_store, teardown_store),
        cmocka_unit_test_setup_teardown(test_a_final_refund_stays, setup_store, teardown_store),
    };

    (void)argc;
    need_server(argv);
    log_open("/dev/null", "store_test", LOG_DEBUG);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
