/*
 * The life of a charge (R2.8) in scenarios: sent once, asked every few seconds, reversed when it
 * stays open, and the races of payment and reversal.
 */
#include "domain_test.h"

#include "backends/domain/refund.h"

static const struct payment_event create = {.kind = PAYMENT_EVENT_CREATE};

static struct payment paying(void)
{
    struct payment p = charged();

    return after(&p, answer(CALL_CHARGE, 1, CLASS_USER_PAYING), T0 + SEC, &policy);
}

/* The timer fires, the query is answered so; *now moves to the timer. */
static struct payment poll(struct payment p, struct payment_event e, pay_time_t *now)
{
    *now = p.due_at;
    p = after(&p, timer, *now, &policy);
    assert_input(TIMER_QUERY);
    assert_int_equal(step.attempt.kind, CALL_QUERY);
    e.call = CALL_QUERY;
    e.attempt_n = p.attempts;
    return after(&p, e, *now, &policy);
}

/* Up to the first reversal, which is on its way then. */
static struct payment reversing(pay_time_t *now)
{
    struct payment p = paying();

    do {
        p = poll(p, answer(CALL_QUERY, 0, CLASS_USER_PAYING), now);
    } while (step.attempt.kind != CALL_REVERSE);
    return p;
}

static void test_answers_of_a_charge(void **state)
{
    static const struct {
        enum answer_class cls;
        enum payment_state state;
    } cases[] = {{CLASS_ACCEPTED, PAYMENT_PENDING},
                 {CLASS_USER_PAYING, PAYMENT_PENDING},
                 {CLASS_FAILED, PAYMENT_FAILED},
                 {CLASS_REFUSED, PAYMENT_FAILED},
                 {CLASS_TOO_FREQUENT, PAYMENT_FAILED},
                 {CLASS_CLOSED, PAYMENT_CLOSED},
                 {CLASS_UNKNOWN, PAYMENT_PROCESSING},
                 {CLASS_DUPLICATE, PAYMENT_PROCESSING},
                 {CLASS_NOT_FOUND, PAYMENT_PROCESSING},
                 {CLASS_NOT_SENT, PAYMENT_PROCESSING},
                 {CLASS_SUCCESS, PAYMENT_PROCESSING /* without an amount */}};
    struct payment c = charged(), p;

    (void)state;
    assert_int_equal(step.attempt.kind, CALL_CHARGE);
    assert_int_equal(c.due_kind, CALL_QUERY);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        p = after(&c, answer(CALL_CHARGE, 1, cases[i].cls), T0 + SEC, &policy);
        if (p.state != cases[i].state)
            fail_msg("%s: %s", answer_class_name(cases[i].cls), payment_state_name(p.state));
        assert_int_equal(step.attempt.n, 0); /* whatever it says, it is never sent again */
    }
    p = after(&c, success(PAYMENT_EVENT_ANSWER, 1, 888), T0 + SEC, &policy);
    assert_int_equal(p.state, PAYMENT_SUCCEEDED);
    p = after(&c, not_sent(CALL_CHARGE, 1), T0 + SEC, &policy);
    assert_int_equal(p.state, PAYMENT_FAILED);
    assert_true(slice_is(p.fail_code, "NOT_SENT"));
}

static void test_success_of_the_charge_itself(void **state)
{
    struct payment c = charged(), p;
    struct payment_event e = success(PAYMENT_EVENT_ANSWER, 1, 888);

    (void)state;
    e.call = CALL_CHARGE;
    p = after(&c, e, T0 + SEC, &policy);
    assert_input(CHARGE_PAID);
    assert_int_equal(p.state, PAYMENT_SUCCEEDED);
    assert_int_equal(p.succeeded_at, T0 + 9 * SEC);
    assert_true(step.callback);
    e.amount = 887;
    p = after(&c, e, T0 + SEC, &policy);
    assert_input(CHARGE_MISMATCH);
    assert_true(step.open_case);
    assert_int_equal(p.state, PAYMENT_PROCESSING);
}

static void test_polled_then_reversed(void **state)
{
    struct payment p = paying();
    pay_time_t now = T0, last = T0 + SEC;
    int queries = 0;

    (void)state;
    for (;; queries++) {
        p = poll(p, answer(CALL_QUERY, 0, CLASS_USER_PAYING), &now);
        assert_in_range(now - last, 1, policy.paying_interval);
        last = now;
        if (step.attempt.kind == CALL_REVERSE)
            break;
        assert_int_equal(p.reversal, REVERSAL_NONE);
    }
    assert_int_equal(queries, 5);
    assert_int_equal(now, T0 + policy.paying_limit);
    assert_input(POLL_REVERSE);
    assert_true(slice_is(step.reversal_why, "paying"));
    assert_int_equal(p.reversal, REVERSAL_PROCESSING);
    p = after(&p, answer(CALL_REVERSE, p.attempts, CLASS_SUCCESS), now + SEC, &policy);
    assert_input(REVERSE_DONE);
    assert_int_equal(p.state, PAYMENT_CLOSED);
    assert_int_equal(p.reversal, REVERSAL_SUCCEEDED);
    assert_true(slice_is(p.fail_code, "REVERSED"));
    assert_true(step.callback);
}

/* The charge was never answered, nor found: no reversal counts while it may still arrive. */
static void test_unknown_charge_is_reversed_until_it_cannot_arrive(void **state)
{
    struct payment p = charged();
    pay_time_t now;

    (void)state;
    p = after(&p, answer(CALL_CHARGE, 1, CLASS_UNKNOWN), T0 + 2 * SEC, &policy);
    while (step.attempt.kind != CALL_REVERSE)
        p = poll(p, answer(CALL_QUERY, 0, CLASS_NOT_FOUND), &now);
    assert_true(slice_is(step.reversal_why, "unknown"));
    p = after(&p, answer(CALL_REVERSE, p.attempts, CLASS_SUCCESS), now, &policy);
    assert_input(REVERSE_DONE_EARLY);
    p = poll(p, answer(CALL_QUERY, 0, CLASS_NOT_FOUND), &now);
    assert_int_equal(step.attempt.kind, CALL_REVERSE);
    assert_true(now >= p.prepare_before + policy.settle);
    p = after(&p, answer(CALL_REVERSE, p.attempts, CLASS_SUCCESS), now, &policy);
    assert_input(REVERSE_DONE);
}

static void test_never_reversed_before_the_channel_takes_it(void **state)
{
    struct payment c = paying(), p;
    pay_time_t earliest = c.prepare_before + policy.reverse_earliest, now;

    (void)state;
    /* a query says that it failed: reversed all the same, but not now */
    p = poll(c, answer(CALL_QUERY, 0, CLASS_FAILED), &now);
    assert_input(POLL_REVERSE_SOON);
    assert_int_equal(step.attempt.n, 0);
    assert_int_equal(p.due_kind, CALL_REVERSE);
    p = poll(p, answer(CALL_QUERY, 0, CLASS_FAILED), &now);
    assert_int_equal(now, earliest);
    assert_int_equal(step.attempt.kind, CALL_REVERSE);
    assert_true(slice_is(step.reversal_why, "failed"));
    /* the merchant closes it */
    p = after(&c, merchant_close, T0 + 3 * SEC, &policy);
    assert_input(MERCHANT_REVERSE_SOON);
    assert_int_equal(step.attempt.n, 0);
    p = after(&p, merchant_close, T0 + 4 * SEC, &policy);
    assert_int_equal(step.verdict, STEP_NOTHING);
    assert_int_equal(p.due_at, earliest);
    p = poll(p, answer(CALL_QUERY, 0, CLASS_USER_PAYING), &now);
    assert_int_equal(step.attempt.kind, CALL_REVERSE);
    assert_true(slice_is(step.reversal_why, "closed"));
    p = after(&c, merchant_close, earliest, &policy);
    assert_input(MERCHANT_REVERSE);
    assert_int_equal(step.attempt.kind, CALL_QUERY);
    p = after(&p, answer(CALL_QUERY, p.attempts, CLASS_USER_PAYING), earliest, &policy);
    assert_int_equal(step.attempt.kind, CALL_REVERSE);
}

static void test_expiry_reverses(void **state)
{
    struct payment p = order();
    pay_time_t now;

    (void)state;
    p.method = METHOD_BARCODE;
    p.time_expire = T0 + 22 * SEC;
    p = after(&p, create, T0, &policy);
    p = after(&p, answer(CALL_CHARGE, 1, CLASS_USER_PAYING), T0 + SEC, &policy);
    while (step.attempt.kind != CALL_REVERSE)
        p = poll(p, answer(CALL_QUERY, 0, CLASS_USER_PAYING), &now);
    assert_int_equal(now, T0 + 22 * SEC);
    assert_true(slice_is(step.reversal_why, "expired"));
}

/* Paid while reversing: a fact, not the end; the money goes back as a whole. */
static void test_paid_while_reversing(void **state)
{
    pay_time_t now;
    struct payment r = reversing(&now), p, q;
    struct payment_event late = success(PAYMENT_EVENT_ANSWER, 1, 888);

    (void)state;
    late.call = CALL_CHARGE;
    for (int how = 0; how < 3; how++) {
        if (how == 0) /* a notification */
            p = after(&r, success(PAYMENT_EVENT_NOTIFY, 0, 888), now + SEC, &policy);
        else if (how == 1) /* the late answer of the charge itself */
            p = after(&r, late, now + SEC, &policy);
        else { /* the next query; the reversal was not done */
            p = after(&r, answer(CALL_REVERSE, r.attempts, CLASS_USER_PAYING), now, &policy);
            assert_input(REVERSE_AGAIN);
            p = poll(p, success(PAYMENT_EVENT_ANSWER, 0, 888), &now);
            assert_input(POLL_REVERSE_PAID);
            assert_int_equal(step.attempt.kind, CALL_REVERSE);
        }
        assert_int_not_equal(p.state, PAYMENT_SUCCEEDED);
        assert_false(step.callback);
        assert_int_equal(p.succeeded_at, T0 + 9 * SEC);
        assert_true(slice_is(p.channel_trade_no, "B1"));
        q = after(&p, answer(CALL_REVERSE, p.attempts, CLASS_SUCCESS), now + 2 * SEC, &policy);
        assert_input(REVERSE_DONE_PAID);
        assert_int_equal(q.state, PAYMENT_SUCCEEDED);
        assert_string_equal(payment_shown_state(&q), "reversed");
        assert_int_equal(q.succeeded_at, T0 + 9 * SEC);
        /* ... or a query says first that it was reversed */
        q = poll(p, answer(CALL_QUERY, 0, CLASS_CLOSED), &now);
        assert_input(REVERSE_DONE_PAID);
        assert_int_equal(q.reversal, REVERSAL_SUCCEEDED);
        /* told again: nothing */
        after(&q, success(PAYMENT_EVENT_NOTIFY, 0, 888), now + 9 * SEC, &policy);
        assert_int_equal(step.verdict, STEP_NOTHING);
    }
}

static void test_paid_heard_after_the_reversal(void **state)
{
    pay_time_t now;
    struct payment p = reversing(&now);

    (void)state;
    p = after(&p, answer(CALL_REVERSE, p.attempts, CLASS_SUCCESS), now, &policy);
    assert_int_equal(p.state, PAYMENT_CLOSED);
    after(&p, success(PAYMENT_EVENT_NOTIFY, 0, 888), now + SEC, &policy);
    assert_input(PAID_REVERSED);
    assert_true(step.open_case);
    assert_true(slice_is(step.case_kind, "paid_then_reversed"));
    /* the answer to a reversal that somebody else sent meanwhile */
    after(&p, answer(CALL_REVERSE, p.attempts, CLASS_USER_PAYING), now + SEC, &policy);
    assert_false(step.open_case);
}

static void test_repeated_with_backoff_then_a_case(void **state)
{
    pay_time_t now, last;
    struct payment p = reversing(&now);
    int64_t waited = 0;
    int cases = 0;

    (void)state;
    for (unsigned i = 1; i <= 2 * policy.reverse_limit; i++) {
        assert_int_equal(p.reverse_tries, i);
        p = after(&p, answer(CALL_REVERSE, p.attempts, i % 2 ? CLASS_ACCEPTED : CLASS_UNKNOWN), now,
                  &policy);
        cases += step.open_case;
        assert_int_equal(step.open_case, i % policy.reverse_limit == 0);
        last = now;
        p = poll(p, answer(CALL_QUERY, 0, i % 3 ? CLASS_USER_PAYING : CLASS_UNKNOWN), &now);
        assert_int_equal(step.attempt.kind, CALL_REVERSE);
        assert_true(now - last >= waited * 9 / 10);
        waited = now - last;
    }
    assert_int_equal(cases, 2);
    assert_true(waited > 60 * SEC);
    /* and it is never too late to learn it */
    p = after(&p, answer(CALL_REVERSE, p.attempts, CLASS_SUCCESS), now, &policy);
    assert_int_equal(p.state, PAYMENT_CLOSED);
}

static void test_refused_or_too_late(void **state)
{
    struct payment_policy shut = policy;
    pay_time_t now;
    struct payment p = reversing(&now), c = paying();

    (void)state;
    p = after(&p, answer(CALL_REVERSE, p.attempts, CLASS_FAILED), now, &policy);
    assert_input(REVERSE_REFUSED);
    assert_int_equal(p.reversal, REVERSAL_FAILED);
    assert_true(slice_is(step.case_kind, "not_reversed"));
    p = poll(p, answer(CALL_QUERY, 0, CLASS_USER_PAYING), &now);
    assert_input(QUERY_WAITING);
    assert_int_equal(step.attempt.n, 0);
    p = poll(p, success(PAYMENT_EVENT_ANSWER, 0, 888), &now);
    assert_int_equal(p.state, PAYMENT_SUCCEEDED);
    assert_string_equal(payment_shown_state(&p), "succeeded");

    shut.reverse_open = false;
    now = T0 + 40 * SEC;
    p = after(&c, timer, now, &shut);
    p = after(&p, answer(CALL_QUERY, p.attempts, CLASS_USER_PAYING), now, &shut);
    assert_input(POLL_REVERSE_LATE);
    assert_int_equal(p.reversal, REVERSAL_FAILED);
    assert_true(step.open_case);
}

/* What was sent may have been done: the end of the window does not end it, only the channel's word.
 */
static void test_begun_reversal_outlives_its_window(void **state)
{
    struct payment_policy shut = policy;
    pay_time_t now = T0;
    struct payment p = reversing(&now), q;

    (void)state;
    shut.reverse_open = false;
    p = after(&p, answer(CALL_REVERSE, p.attempts, CLASS_UNKNOWN), now, &shut);
    now = p.due_at;
    p = after(&p, timer, now, &shut);
    q = after(&p, answer(CALL_QUERY, p.attempts, CLASS_UNKNOWN), now, &shut);
    assert_input(POLL_REVERSE);
    assert_int_equal(step.attempt.kind, CALL_REVERSE);
    assert_int_equal(q.reversal, REVERSAL_PROCESSING);
    q = after(&p, success(PAYMENT_EVENT_ANSWER, p.attempts, 888), now, &shut);
    assert_input(POLL_REVERSE_PAID);
    /* told of the payment late, when the money may have gone back already */
    q = after(&q, success(PAYMENT_EVENT_NOTIFY, 0, 888), now, &shut);
    assert_int_equal(q.state, PAYMENT_PENDING);
    q = after(&q, answer(CALL_REVERSE, q.attempts, CLASS_FAILED), now, &shut);
    assert_input(REVERSE_REFUSED);
    assert_int_equal(q.reversal, REVERSAL_FAILED);
}

/* A process died at each point: what is left is the row and its timer. */
static void test_restart_in_each_state(void **state)
{
    struct payment lives[4];
    pay_time_t now = T0;

    (void)state;
    lives[0] = charged(); /* before it was sent, or before its answer */
    lives[1] = paying();
    lives[2] = after(&lives[1], timer, lives[1].due_at, &policy); /* a query is out */
    lives[3] = reversing(&now);                                   /* a reversal is out */
    for (int i = 0; i < 4; i++) {
        struct payment p = lives[i];
        int reversals = 0;

        for (int turns = 0; turns < 40 && !payment_state_final(p.state); turns++) {
            now = p.due_at;
            p = after(&p, timer, now, &policy);
            assert_int_equal(step.attempt.kind, CALL_QUERY); /* never the charge again */
            p = after(&p, answer(CALL_QUERY, p.attempts, CLASS_UNKNOWN), now, &policy);
            if (step.attempt.kind != CALL_REVERSE)
                continue;
            if (++reversals == 3) /* the first two are lost */
                p = after(&p, answer(CALL_REVERSE, p.attempts, CLASS_SUCCESS), now, &policy);
        }
        assert_int_equal(p.state, PAYMENT_CLOSED);
        assert_int_equal(p.reversal, REVERSAL_SUCCEEDED);
    }
}

static void test_no_refund_of_what_went_back(void **state)
{
    pay_time_t now;
    struct payment p = reversing(&now);

    (void)state;
    p = after(&p, success(PAYMENT_EVENT_NOTIFY, 0, 888), now, &policy);
    p = after(&p, answer(CALL_REVERSE, p.attempts, CLASS_SUCCESS), now, &policy);
    assert_int_equal(p.state, PAYMENT_SUCCEEDED);
    struct refund wish = {.amount = 1}, image;
    struct payment_event e = {.kind = PAYMENT_EVENT_REFUND, .amount = -1};

    refund_decide(&p, &wish, &e, now, &policy, &step, &image);
    assert_int_equal(step.verdict, STEP_REFUSE);
    assert_int_equal(step.problem, PROBLEM_PAYMENT_NOT_PAID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_answers_of_a_charge),
        cmocka_unit_test(test_success_of_the_charge_itself),
        cmocka_unit_test(test_polled_then_reversed),
        cmocka_unit_test(test_unknown_charge_is_reversed_until_it_cannot_arrive),
        cmocka_unit_test(test_never_reversed_before_the_channel_takes_it),
        cmocka_unit_test(test_expiry_reverses),
        cmocka_unit_test(test_paid_while_reversing),
        cmocka_unit_test(test_paid_heard_after_the_reversal),
        cmocka_unit_test(test_repeated_with_backoff_then_a_case),
        cmocka_unit_test(test_refused_or_too_late),
        cmocka_unit_test(test_begun_reversal_outlives_its_window),
        cmocka_unit_test(test_restart_in_each_state),
        cmocka_unit_test(test_no_refund_of_what_went_back),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
