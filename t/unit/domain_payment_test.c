/*
 * The life of a payment in scenarios (R2.3-R2.6, R4.2, R4.3): what events mean, when.
 */
#include "domain_test.h"

static void test_create_sends_with_its_commit(void **state)
{
    struct payment p = created();

    (void)state;
    assert_int_equal(step.verdict, STEP_COMMIT);
    assert_int_equal(p.state, PAYMENT_PROCESSING);
    assert_int_equal(p.version, 1);
    assert_int_equal(step.attempt.n, 1);
    assert_int_equal(step.attempt.kind, CALL_PREPARE);
    assert_int_equal(step.attempt.send_before, T0 + policy.send_window);
    assert_true(p.maybe_sent); /* committed, so perhaps sent */
    assert_int_equal(p.due_kind, CALL_QUERY);
    assert_in_range(p.due_at, T0 + policy.query_first, T0 + policy.query_first * 11 / 10);
    assert_true(step.timer_changed);
    assert_false(step.callback);
}

static void test_accepted_leaves_the_timer(void **state)
{
    struct payment c = created(), p = pending();

    (void)state;
    assert_int_equal(p.state, PAYMENT_PENDING);
    assert_int_equal(p.prev_state, PAYMENT_PROCESSING);
    assert_true(slice_is(p.code_url, "code"));
    assert_int_equal(p.due_at, c.due_at);
    assert_false(step.timer_changed);
    assert_int_equal(step.outcome.n, 1);
    assert_int_equal(step.outcome.answered_at, T0 + SEC);
    assert_int_equal(p.busy_kind, CALL_NONE);
}

static void test_unknown_is_not_failure(void **state)
{
    struct payment c = created();
    struct payment_event e = answer(CALL_PREPARE, 1, CLASS_FAILED);

    (void)state;
    /* without the egress's `answered` no class counts, without its `no` nothing is unsent */
    for (unsigned s = SENT_UNKNOWN; s <= SENT_MAYBE; s++) {
        struct payment p;

        if (s == SENT_NO)
            continue;
        for (unsigned cls = 0; cls < ANSWER_CLASS_COUNT; cls++) {
            e.sent = (enum sent)s;
            e.cls = (enum answer_class)cls;
            p = after(&c, e, T0 + 6 * SEC, &policy);
            assert_input(PREPARE_UNKNOWN);
            assert_int_equal(p.state, PAYMENT_PROCESSING);
            assert_true(p.maybe_sent);
            assert_false(step.timer_changed);
        }
    }
    after(&c, answer(CALL_PREPARE, 1, CLASS_NOT_SENT), T0 + SEC, &policy);
    assert_input(PREPARE_UNKNOWN);
    after(&c, answer(CALL_PREPARE, 1, CLASS_NOT_FOUND), T0 + SEC, &policy);
    assert_input(PREPARE_UNKNOWN);
}

static void test_definitive_refusal_fails(void **state)
{
    struct payment c = created();
    struct payment p = after(&c, answer(CALL_PREPARE, 1, CLASS_REFUSED), T0 + SEC, &policy);

    (void)state;
    assert_int_equal(p.state, PAYMENT_FAILED);
    assert_true(slice_is(p.fail_code, "CODE"));
    assert_true(step.callback);
    assert_int_equal(p.due_at, 0);
    assert_int_equal(p.final_at, T0 + SEC);
}

static void test_not_sent_is_tried_again_and_given_up(void **state)
{
    struct payment p = created();
    pay_time_t now = T0, waited = 0;
    uint32_t n = 1;

    (void)state;
    for (; n < policy.not_sent_limit; n++) {
        pay_time_t due;

        p = after(&p, not_sent(CALL_PREPARE, n), now + SEC, &policy);
        assert_input(PREPARE_NOT_SENT);
        assert_false(p.maybe_sent);
        assert_int_equal(p.due_kind, CALL_PREPARE);
        due = p.due_at - now - SEC;
        assert_in_range(due, policy.resend_interval * 9 / 10 << (n - 1),
                        policy.resend_interval * 11 / 10 << (n - 1));
        assert_true(due > waited);
        waited = due;
        now = p.due_at;
        p = after(&p, timer, now, &no_resend); /* never passed on: not a repetition */
        assert_input(TIMER_PREPARE);
        assert_int_equal(step.attempt.n, n + 1);
        assert_true(p.maybe_sent);
    }
    p = after(&p, not_sent(CALL_PREPARE, n), now + SEC, &policy);
    assert_input(PREPARE_GIVEN_UP);
    assert_int_equal(p.state, PAYMENT_FAILED);
}

/* One attempt unknown, later ones not sent: never given up, never failed. */
static void test_one_unknown_attempt_forbids_giving_up(void **state)
{
    struct payment p = created();
    pay_time_t now = T0 + 10 * SEC;

    (void)state;
    p = after(&p, answer(CALL_PREPARE, 1, CLASS_UNKNOWN), now, &policy);
    p = after(&p, operator_query, now + 60 * SEC, &policy);
    assert_int_equal(step.attempt.kind, CALL_QUERY);
    p = after(&p, answer(CALL_QUERY, 2, CLASS_NOT_FOUND), now + 61 * SEC, &policy);
    assert_input(QUERY_NOT_FOUND);
    assert_int_equal(step.attempt.n, 3);
    now += 61 * SEC;
    for (uint32_t n = 3; n < 12; n++) {
        p = after(&p, not_sent(CALL_PREPARE, n), now + SEC, &policy);
        assert_input(PREPARE_NOT_SENT);
        assert_true(p.maybe_sent);
        now = p.due_at;
        p = after(&p, timer, now, &policy);
        assert_input(TIMER_PREPARE);
        assert_int_equal(step.attempt.n, n + 1);
    }
    /* nor does another attempt's failure say what became of the first */
    p = after(&p, answer(CALL_PREPARE, 12, CLASS_FAILED), now + SEC, &policy);
    assert_input(PREPARE_FAILED_DOUBTED);
    assert_int_equal(p.state, PAYMENT_PROCESSING);
    assert_int_equal(p.due_kind, CALL_QUERY);
}

static void test_too_frequent_then_failed_is_definitive(void **state)
{
    struct payment p = created();

    (void)state;
    p = after(&p, answer(CALL_PREPARE, 1, CLASS_TOO_FREQUENT), T0 + SEC, &policy);
    assert_int_equal(p.due_kind, CALL_PREPARE);
    assert_true(p.maybe_sent);
    p = after(&p, timer, p.due_at, &policy);
    assert_int_equal(step.attempt.n, 2);
    p = after(&p, answer(CALL_PREPARE, 2, CLASS_FAILED), T0 + 9 * SEC, &policy);
    assert_int_equal(p.state, PAYMENT_FAILED);

    /* R2.18: an API that is not declared repeatable is not repeated once it was reached */
    p = created();
    p = after(&p, answer(CALL_PREPARE, 1, CLASS_TOO_FREQUENT), T0 + SEC, &no_resend);
    assert_input(PREPARE_UNKNOWN);
    p.due_kind = CALL_PREPARE;
    after(&p, timer, p.due_at, &no_resend);
    assert_input(TIMER_QUERY);
}

static void test_stale_answers_of_older_attempts(void **state)
{
    struct payment p = created();

    (void)state;
    p = after(&p, operator_query, T0 + 100 * SEC, &policy);
    p = after(&p, answer(CALL_QUERY, 2, CLASS_NOT_FOUND), T0 + 101 * SEC, &policy);
    assert_int_equal(step.attempt.n, 3); /* the prepare, again */
    after(&p, not_sent(CALL_PREPARE, 1), T0 + 102 * SEC, &policy);
    assert_input(PREPARE_UNKNOWN);
    after(&p, answer(CALL_PREPARE, 1, CLASS_FAILED), T0 + 102 * SEC, &policy);
    assert_input(PREPARE_FAILED_DOUBTED);
    after(&p, answer(CALL_PREPARE, 1, CLASS_TOO_FREQUENT), T0 + 102 * SEC, &policy);
    assert_input(PREPARE_UNKNOWN);
    after(&p, answer(CALL_QUERY, 2, CLASS_USER_PAYING), T0 + 102 * SEC, &policy);
    assert_input(QUERY_WAITING_STALE);
    assert_int_equal(step.attempt.n, 0);
    after(&p, answer(CALL_QUERY, 2, CLASS_NOT_FOUND), T0 + 102 * SEC, &policy);
    assert_input(QUERY_NOT_FOUND_EARLY);
    assert_int_equal(step.attempt.n, 0);
    after(&p, answer(CALL_PREPARE, 1, CLASS_ACCEPTED), T0 + 102 * SEC, &policy);
    assert_int_equal(step.after.state, PAYMENT_PENDING);
}

static void test_not_found(void **state)
{
    struct payment c = created(), p;

    (void)state;
    c = after(&c, operator_query, T0 + 6 * SEC, &policy);
    p = after(&c, answer(CALL_QUERY, 2, CLASS_NOT_FOUND), T0 + 35 * SEC - 1, &policy);
    assert_input(QUERY_NOT_FOUND_EARLY);
    p = after(&c, answer(CALL_QUERY, 2, CLASS_NOT_FOUND), T0 + 35 * SEC, &policy);
    assert_input(QUERY_NOT_FOUND);
    assert_int_equal(step.attempt.kind, CALL_PREPARE);
    assert_int_equal(step.attempt.command_seq, c.command_seq); /* the same request number */
    after(&c, answer(CALL_QUERY, 2, CLASS_NOT_FOUND), T0 + 36 * SEC, &no_resend);
    assert_input(QUERY_NOT_FOUND_KEEP);
    assert_int_equal(step.attempt.n, 0);
    p = after(&c, answer(CALL_QUERY, 2, CLASS_NOT_FOUND), c.time_expire, &policy);
    assert_input(QUERY_NOT_FOUND_CLOSING);
    assert_int_equal(p.due_kind, CALL_CLOSE);
    assert_int_equal(step.attempt.n, 0);
    /* the merchant wants it closed: nothing is prepared again */
    p = after(&c, merchant_close, T0 + 40 * SEC, &policy);
    p = after(&p, answer(CALL_QUERY, 2, CLASS_NOT_FOUND), T0 + 41 * SEC, &policy);
    assert_input(QUERY_NOT_FOUND_CLOSING);
    /* a pending order that the channel has lost is a person's case, not a failure */
    p = pending();
    p = after(&p, operator_query, T0 + 40 * SEC, &policy);
    p = after(&p, answer(CALL_QUERY, 2, CLASS_NOT_FOUND), T0 + 41 * SEC, &policy);
    assert_int_equal(p.state, PAYMENT_PENDING);
    assert_true(step.open_case);
    assert_true(slice_is(step.case_kind, "not_found"));
}

static void test_lost_code_is_asked_again(void **state)
{
    struct payment c = created(), p;
    struct payment_event e = answer(CALL_PREPARE, 3, CLASS_ACCEPTED);

    (void)state;
    c = after(&c, answer(CALL_PREPARE, 1, CLASS_UNKNOWN), T0 + 10 * SEC, &policy);
    c = after(&c, operator_query, T0 + 11 * SEC, &policy);
    p = after(&c, answer(CALL_QUERY, 2, CLASS_ACCEPTED), T0 + 12 * SEC, &policy);
    assert_input(QUERY_WAITING_EARLY);
    assert_int_equal(step.attempt.n, 0);
    p = after(&c, answer(CALL_QUERY, 2, CLASS_ACCEPTED), T0 + 40 * SEC, &policy);
    assert_input(QUERY_WAITING_LOST_CODE);
    assert_int_equal(step.attempt.n, 3);
    assert_int_equal(step.attempt.kind, CALL_PREPARE);
    e.code_url = SLICE("again");
    p = after(&p, e, T0 + 41 * SEC, &policy);
    assert_int_equal(p.state, PAYMENT_PENDING);
    assert_true(slice_is(p.code_url, "again"));
    /* where it may not be asked again the order still waits for its payer */
    p = after(&c, answer(CALL_QUERY, 2, CLASS_ACCEPTED), T0 + 40 * SEC, &no_resend);
    assert_int_equal(p.state, PAYMENT_PENDING);
    assert_int_equal(step.attempt.n, 0);
}

static void test_amounts(void **state)
{
    struct payment p = pending();
    struct payment_event e = success(PAYMENT_EVENT_NOTIFY, 0, 888);

    (void)state;
    after(&p, e, T0 + 9 * SEC, &policy);
    assert_input(NOTIFY_PAID);
    assert_int_equal(step.after.state, PAYMENT_SUCCEEDED);
    assert_int_equal(step.after.succeeded_at, T0 + 9 * SEC);
    assert_true(slice_is(step.after.channel_trade_no, "B1"));
    assert_true(step.callback);
    e.currency = SLICE_NULL; /* a channel with one currency */
    after(&p, e, T0 + 9 * SEC, &policy);
    assert_input(NOTIFY_PAID);
    e.currency = SLICE("USD");
    after(&p, e, T0 + 9 * SEC, &policy);
    assert_input(NOTIFY_MISMATCH);
    for (int64_t wrong = -1; wrong < 900; wrong += 890) {
        e = success(PAYMENT_EVENT_ANSWER, 1, wrong);
        after(&p, e, T0 + 9 * SEC, &policy);
        assert_input(QUERY_MISMATCH);
        assert_int_equal(step.after.state, PAYMENT_PENDING);
        assert_false(slice_is(step.after.channel_trade_no, "B1"));
        assert_true(slice_is(step.case_kind, "amount_mismatch"));
    }
    p.currency = SLICE("USD");
    e = success(PAYMENT_EVENT_NOTIFY, 0, 888);
    e.currency = SLICE_NULL;
    after(&p, e, T0 + 9 * SEC, &policy);
    assert_input(NOTIFY_MISMATCH);
}

static void test_first_result_wins(void **state)
{
    struct payment p = pending();
    struct payment_event e = success(PAYMENT_EVENT_NOTIFY, 0, 888);
    struct payment paid = after(&p, e, T0 + 9 * SEC, &policy), closed;

    (void)state;
    after(&paid, e, T0 + 10 * SEC, &policy);
    assert_int_equal(step.verdict, STEP_NOTHING); /* repeated, equal */
    after(&paid, success(PAYMENT_EVENT_ANSWER, 2, 888), T0 + 10 * SEC, &policy);
    assert_int_equal(step.verdict, STEP_RECORD); /* the attempt's outcome only */
    assert_false(step.open_case);
    after(&paid, answer(CALL_QUERY, 2, CLASS_CLOSED), T0 + 10 * SEC, &policy);
    assert_int_equal(step.verdict, STEP_RECORD);
    assert_true(slice_is(step.case_kind, "contradiction"));
    e.channel_trade_no = SLICE("B2");
    after(&paid, e, T0 + 10 * SEC, &policy);
    assert_input(SECOND_PAID);
    assert_true(slice_is(step.case_kind, "second_success"));
    closed = after(&p, answer(CALL_QUERY, 1, CLASS_CLOSED), T0 + 9 * SEC, &policy);
    assert_int_equal(closed.state, PAYMENT_CLOSED);
    after(&closed, e, T0 + 99 * SEC, &policy);
    assert_int_equal(step.verdict, STEP_RECORD);
    assert_true(slice_is(step.case_kind, "late_success"));
    assert_false(step.callback);
}

static void test_close_by_the_merchant(void **state)
{
    struct payment p = pending(), q;

    (void)state;
    p = after(&p, merchant_close, T0 + 5 * SEC, &policy);
    assert_int_equal(step.attempt.kind, CALL_CLOSE);
    assert_int_equal(p.due_kind, CALL_CLOSE);
    after(&p, merchant_close, T0 + 6 * SEC, &policy);
    assert_input(MERCHANT_CLOSE_BUSY);
    assert_int_equal(step.verdict, STEP_NOTHING);
    after(&p, merchant_close, T0 + 11 * SEC, &policy);
    assert_input(MERCHANT_CLOSE); /* the first one can no longer be sent */
    q = after(&p, answer(CALL_CLOSE, 2, CLASS_UNKNOWN), T0 + 7 * SEC, &policy);
    assert_int_equal(q.due_kind, CALL_CLOSE);
    assert_int_equal(q.state, PAYMENT_PENDING);
    /* a close stays wanted through whatever else is answered */
    q = after(&q, operator_query, T0 + 8 * SEC, &policy);
    q = after(&q, answer(CALL_QUERY, 3, CLASS_ACCEPTED), T0 + 8 * SEC, &policy);
    assert_int_equal(q.due_kind, CALL_CLOSE);
    q = after(&p, answer(CALL_CLOSE, 2, CLASS_DUPLICATE), T0 + 7 * SEC, &policy);
    assert_input(CLOSE_PAID);
    assert_int_equal(q.due_kind, CALL_QUERY);
    assert_in_range(q.due_at, T0 + 7 * SEC + policy.soon, T0 + 7 * SEC + 2 * policy.soon);
    q = after(&p, answer(CALL_CLOSE, 2, CLASS_SUCCESS), T0 + 7 * SEC, &policy);
    assert_int_equal(q.state, PAYMENT_CLOSED);
    after(&q, merchant_close, T0 + 8 * SEC, &policy);
    assert_int_equal(step.verdict, STEP_NOTHING);
    q = after(&p, success(PAYMENT_EVENT_NOTIFY, 0, 888), T0 + 7 * SEC, &policy);
    after(&q, merchant_close, T0 + 8 * SEC, &policy);
    assert_int_equal(step.verdict, STEP_REFUSE);
    assert_int_equal(step.problem, PROBLEM_STATE_CONFLICT);
}

/* A channel that closes what it has not seen must not end an order whose prepare is under way. */
static void test_close_before_the_prepare_settled(void **state)
{
    struct payment c = created(), p;

    (void)state;
    p = after(&c, merchant_close, T0 + SEC, &policy);
    assert_int_equal(step.attempt.kind, CALL_CLOSE);
    p = after(&p, answer(CALL_CLOSE, 2, CLASS_SUCCESS), T0 + 2 * SEC, &policy);
    assert_input(CLOSE_DONE_EARLY);
    assert_int_equal(p.state, PAYMENT_PROCESSING);
    assert_int_equal(p.due_kind, CALL_CLOSE);
    p = after(&p, timer, p.due_at, &policy);
    assert_int_equal(step.attempt.kind, CALL_CLOSE);
    p = after(&p, answer(CALL_CLOSE, 3, CLASS_SUCCESS), T0 + 40 * SEC, &policy);
    assert_int_equal(p.state, PAYMENT_CLOSED);
    /* nothing was ever passed on: closed at once */
    p = after(&c, not_sent(CALL_PREPARE, 1), T0 + SEC, &policy);
    p = after(&p, merchant_close, T0 + 2 * SEC, &policy);
    assert_input(MERCHANT_CLOSE_UNSENT);
    assert_int_equal(p.state, PAYMENT_CLOSED);
    /* the same learnt while the close was under way: the timer closes, nothing is prepared */
    p = after(&c, merchant_close, T0 + SEC, &policy);
    p = after(&p, not_sent(CALL_PREPARE, 1), T0 + 2 * SEC, &policy);
    assert_int_equal(p.due_kind, CALL_CLOSE);
    p = after(&p, timer, p.due_at, &policy);
    assert_input(TIMER_EXPIRED_UNSENT);
    assert_int_equal(p.state, PAYMENT_CLOSED);
}

/* The close was asked before the prepare can have arrived and is answered long after: what counts
 * is when it was asked, and what has come since. */
static void test_close_answered_late(void **state)
{
    struct payment c = created(), p, q;
    struct payment_event late = answer(CALL_CLOSE, 2, CLASS_SUCCESS);

    (void)state;
    p = after(&c, merchant_close, T0 + SEC, &policy);
    late.asked = step.attempt.version;
    late.asked_at = step.attempt.committed_at;
    q = after(&p, late, T0 + 100 * SEC, &policy);
    assert_input(CLOSE_DONE_EARLY);
    assert_int_equal(q.state, PAYMENT_PROCESSING);
    /* the prepare has arrived behind it: the payer can pay */
    q = after(&p, answer(CALL_PREPARE, 1, CLASS_ACCEPTED), T0 + 4 * SEC, &policy);
    assert_int_equal(q.state, PAYMENT_PENDING);
    q = after(&q, late, T0 + 100 * SEC, &policy);
    assert_input(CLOSE_DONE_EARLY);
    assert_int_equal(q.state, PAYMENT_PENDING);
    assert_int_equal(q.due_kind, CALL_CLOSE);
    /* "not found" of then is no news, and no case when it was paid meanwhile */
    late.cls = CLASS_NOT_FOUND;
    q = after(&p, success(PAYMENT_EVENT_NOTIFY, 0, 888), T0 + 50 * SEC, &policy);
    after(&q, late, T0 + 100 * SEC, &policy);
    assert_input(CLOSE_UNKNOWN);
    assert_false(step.open_case);
    late.asked_at = c.prepare_before + policy.settle;
    after(&q, late, T0 + 100 * SEC, &policy);
    assert_input(CLOSE_NOT_FOUND);
    assert_true(step.open_case);
}

/* The same of a query. */
static void test_not_found_answered_late(void **state)
{
    struct payment c = created(), p;
    struct payment_event late = answer(CALL_QUERY, 2, CLASS_NOT_FOUND);

    (void)state;
    p = after(&c, operator_query, T0 + SEC, &policy);
    late.asked_at = step.attempt.committed_at;
    after(&p, late, T0 + 100 * SEC, &policy);
    assert_input(QUERY_NOT_FOUND_EARLY);
    late.asked_at = c.prepare_before + policy.settle;
    after(&p, late, T0 + 100 * SEC, &policy);
    assert_input(QUERY_NOT_FOUND);
}

static void test_expiry(void **state)
{
    struct payment p = pending();
    pay_time_t last = p.time_expire + PAYMENT_EXPIRE_MARGIN;
    int queries = 0;

    (void)state;
    while (p.due_kind == CALL_QUERY) {
        assert_true(p.due_at <= p.time_expire);
        p = after(&p, timer, p.due_at, &policy);
        assert_int_equal(step.attempt.kind, CALL_QUERY);
        queries++;
        p = after(&p, answer(CALL_QUERY, p.attempts, CLASS_USER_PAYING), step.attempt.committed_at,
                  &policy);
        assert_false(step.timer_changed);
    }
    assert_in_range(queries, 4, 12);
    assert_int_equal(p.due_at, last);
    after(&p, timer, last - 1, &policy);
    assert_int_equal(step.verdict, STEP_NOTHING);
    p = after(&p, timer, last, &policy);
    assert_int_equal(step.attempt.kind, CALL_CLOSE);
    assert_int_equal(p.due_kind, CALL_CLOSE);
    after(&p, timer, last, &policy); /* a second process with the same news */
    assert_int_equal(step.verdict, STEP_NOTHING);
    p = after(&p, answer(CALL_CLOSE, p.attempts, CLASS_CLOSED), last + SEC, &policy);
    assert_int_equal(p.state, PAYMENT_CLOSED);
}

/* R2.4: unknown there to the end: tried for ever, sometimes asked about, put to a person. */
static void test_close_of_what_is_not_there(void **state)
{
    struct payment p = created();
    int closes = 0, queries = 0, cases = 0;
    pay_time_t now = p.time_expire, waited = 0;

    (void)state;
    p.due_at = now;
    p.due_kind = CALL_CLOSE;
    for (int i = 0; i < 40; i++) {
        bool ask;

        p = after(&p, timer, now, &policy);
        ask = step.attempt.kind == CALL_QUERY;
        queries += ask;
        closes += !ask;
        waited = p.due_at - now;
        p = after(&p, answer(ask ? CALL_QUERY : CALL_CLOSE, p.attempts, CLASS_NOT_FOUND), now + SEC,
                  &policy);
        assert_int_equal(p.state, PAYMENT_PROCESSING);
        cases += step.open_case;
        now = p.due_at;
    }
    assert_int_equal(closes, 30);
    assert_int_equal(queries, 10);
    assert_in_range(cases, 20, 25);
    assert_in_range(waited, policy.query_max * 9 / 10, policy.query_max * 11 / 10);
}

static void test_short_lived_order(void **state)
{
    struct payment p = order();
    pay_time_t first;

    (void)state;
    p.time_expire = T0 + 60 * SEC; /* before the first query would be due */
    p = after(&p, (struct payment_event){.kind = PAYMENT_EVENT_CREATE}, T0, &policy);
    assert_int_equal(p.due_kind, CALL_CLOSE);
    assert_int_equal(p.due_at, T0 + 62 * SEC);
    first = p.due_at;
    p = after(&p, answer(CALL_PREPARE, 1, CLASS_UNKNOWN), T0 + 10 * SEC, &policy);
    assert_int_equal(p.due_at, first); /* that close is the expiry's, nobody wanted it yet */
    p = after(&p, operator_query, T0 + 45 * SEC, &policy);
    p = after(&p, answer(CALL_QUERY, 2, CLASS_NOT_FOUND), T0 + 46 * SEC, &policy);
    assert_input(QUERY_NOT_FOUND);
    p = after(&p, not_sent(CALL_PREPARE, 3), T0 + 47 * SEC, &policy);
    assert_int_equal(p.due_kind, CALL_PREPARE);
    p = after(&p, timer, T0 + 60 * SEC, &policy);
    assert_input(TIMER_CLOSE);
}

static void test_expired_unsent(void **state)
{
    struct payment p = created();

    (void)state;
    p = after(&p, not_sent(CALL_PREPARE, 1), T0 + SEC, &policy);
    p.time_expire = T0 + 3 * SEC;
    p = after(&p, timer, T0 + 30 * SEC, &policy);
    assert_input(TIMER_EXPIRED_UNSENT);
    assert_int_equal(p.state, PAYMENT_CLOSED);
    assert_true(slice_is(p.fail_code, "NOT_SENT"));
    assert_true(step.callback);
    assert_int_equal(step.attempt.n, 0);
}

/* R4.3: 64 at once; whoever comes second sees the first one's commit. */
static void test_many_askers_one_call(void **state)
{
    struct payment p = pending();
    int calls = 0;

    (void)state;
    for (int i = 0; i < 64; i++) {
        p = after(&p, operator_query, T0 + 20 * SEC + i, &policy);
        calls += step.attempt.n != 0;
    }
    assert_int_equal(calls, 1);
    p = after(&p, answer(CALL_QUERY, p.attempts, CLASS_USER_PAYING), T0 + 21 * SEC, &policy);
    p = after(&p, operator_query, T0 + 21 * SEC, &policy);
    assert_int_equal(step.attempt.kind, CALL_QUERY);
    for (int i = 0; i < 64; i++) {
        p = after(&p, timer, p.due_at - 1, &policy);
        assert_int_equal(step.verdict, STEP_NOTHING);
    }
}

static void test_duplicate_and_resends_in_pending(void **state)
{
    struct payment c = created(), p;

    (void)state;
    p = after(&c, answer(CALL_PREPARE, 1, CLASS_DUPLICATE), T0 + SEC, &policy);
    assert_int_equal(p.state, PAYMENT_PROCESSING);
    assert_int_equal(p.due_kind, CALL_QUERY);
    assert_int_equal(p.due_at, T0 + SEC + policy.soon);
    p = after(&p, timer, p.due_at, &policy);
    p = after(&p, answer(CALL_QUERY, 2, CLASS_ACCEPTED), T0 + 4 * SEC, &no_resend);
    assert_int_equal(p.state, PAYMENT_PENDING);
    after(&p, answer(CALL_PREPARE, 1, CLASS_FAILED), T0 + 5 * SEC, &policy);
    assert_int_equal(step.after.state, PAYMENT_PENDING);
    after(&p, not_sent(CALL_PREPARE, 1), T0 + 5 * SEC, &policy);
    assert_int_equal(step.after.state, PAYMENT_PENDING);
}

static void test_orders_that_do_not_exist(void **state)
{
    struct payment p = order();

    (void)state;
    after(&p, merchant_close, T0, &policy);
    assert_int_equal(step.verdict, STEP_REFUSE);
    assert_int_equal(step.problem, PROBLEM_ORDER_NOT_FOUND);
    after(&p, success(PAYMENT_EVENT_NOTIFY, 0, 888), T0, &policy);
    assert_int_equal(step.verdict, STEP_NOTHING);
    after(&p, timer, T0, &policy);
    assert_int_equal(step.verdict, STEP_NOTHING);
}

/* Asked before the channel took the order, told after: no contradiction, no case. */
static void test_not_found_asked_before_news(void **state)
{
    struct payment c = created(), asked, p;
    struct payment_event late = answer(CALL_QUERY, 2, CLASS_NOT_FOUND);
    pay_time_t now = c.due_at;

    (void)state;
    asked = after(&c, timer, now, &policy);
    late.asked = step.attempt.version;
    assert_int_equal(late.asked, asked.version);
    p = after(&asked, answer(CALL_PREPARE, 1, CLASS_ACCEPTED), now + SEC, &policy);
    after(&p, late, now + 2 * SEC, &policy);
    assert_input(QUERY_NOT_FOUND_EARLY);
    assert_false(step.open_case);
    p = after(&asked, success(PAYMENT_EVENT_NOTIFY, 0, 888), now + SEC, &policy);
    after(&p, late, now + 2 * SEC, &policy);
    assert_false(step.open_case);
    /* without news in between it stands */
    after(&asked, late, now + 2 * SEC, &policy);
    assert_input(QUERY_NOT_FOUND);
}

/* What the payer takes to the channel himself: there is nothing there before he comes. */
static void test_local_prepare(void **state)
{
    struct payment_policy local = policy;
    struct payment p = created();
    pay_time_t now;

    (void)state;
    local.prepare_local = true;
    p = after(&p, answer(CALL_PREPARE, 1, CLASS_ACCEPTED), T0, &local);
    assert_int_equal(p.state, PAYMENT_PENDING);
    p = after(&p, timer, p.due_at, &local);
    p = after(&p, answer(CALL_QUERY, p.attempts, CLASS_NOT_FOUND), T0 + 200 * SEC, &local);
    assert_input(QUERY_WAITING);
    assert_false(step.open_case);
    p = after(&p, merchant_close, T0 + 300 * SEC, &local);
    p = after(&p, answer(CALL_CLOSE, p.attempts, CLASS_NOT_FOUND), T0 + 301 * SEC, &local);
    assert_input(CLOSE_NOT_FOUND); /* he may still come */
    now = p.time_expire + local.settle;
    while (p.due_at < now)
        p = after(&p, timer, p.due_at, &local);
    p = after(&p, timer, p.due_at, &local);
    p = after(&p, answer(CALL_CLOSE, p.attempts, CLASS_NOT_FOUND), p.due_at, &local);
    assert_input(CLOSE_DONE);
    assert_int_equal(p.state, PAYMENT_CLOSED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_create_sends_with_its_commit),
        cmocka_unit_test(test_accepted_leaves_the_timer),
        cmocka_unit_test(test_unknown_is_not_failure),
        cmocka_unit_test(test_definitive_refusal_fails),
        cmocka_unit_test(test_not_sent_is_tried_again_and_given_up),
        cmocka_unit_test(test_one_unknown_attempt_forbids_giving_up),
        cmocka_unit_test(test_too_frequent_then_failed_is_definitive),
        cmocka_unit_test(test_stale_answers_of_older_attempts),
        cmocka_unit_test(test_not_found),
        cmocka_unit_test(test_not_found_asked_before_news),
        cmocka_unit_test(test_lost_code_is_asked_again),
        cmocka_unit_test(test_amounts),
        cmocka_unit_test(test_first_result_wins),
        cmocka_unit_test(test_close_by_the_merchant),
        cmocka_unit_test(test_close_before_the_prepare_settled),
        cmocka_unit_test(test_close_answered_late),
        cmocka_unit_test(test_not_found_answered_late),
        cmocka_unit_test(test_expiry),
        cmocka_unit_test(test_close_of_what_is_not_there),
        cmocka_unit_test(test_short_lived_order),
        cmocka_unit_test(test_expired_unsent),
        cmocka_unit_test(test_many_askers_one_call),
        cmocka_unit_test(test_duplicate_and_resends_in_pending),
        cmocka_unit_test(test_orders_that_do_not_exist),
        cmocka_unit_test(test_local_prepare),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
