/*
 * When something is to be done next: intervals, their spread, and the edges of the order's life.
 */
#include "domain_test.h"

#include "backends/domain/due.h"
#include "backends/domain/payment_plan.h"
#include "backends/domain/refund.h"

static void test_intervals_grow(void **state)
{
    static const struct {
        int64_t base;
        uint32_t tries;
        int64_t max, want;
    } cases[] = {{3, 0, 0, 3},
                 {3, 1, 0, 6},
                 {3, 5, 0, 96},
                 {3, 5, 96, 96},
                 {3, 5, 95, 95},
                 {3, 0, 2, 2},
                 {3, 70, 100, 100},
                 {0, 0, 0, SEC},
                 {0, 2, 0, 4 * SEC},
                 {-5, 0, 0, SEC},
                 {1, 62, 0, 1LL << 62},
                 {1, 63, 0, 1LL << 62}, /* no further: it would overflow */
                 {1, UINT32_MAX, 0, 1LL << 62}};

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        assert_int_equal(due_grown(cases[i].base, cases[i].tries, cases[i].max), cases[i].want);
}

/* 0 .. d/10, all of it, another for each id and try. */
static void test_spread(void **state)
{
    int64_t least = INT64_MAX, most = -1, same = 0;

    (void)state;
    for (int64_t id = 1; id <= 20000; id++) {
        int64_t d = due_spread(id, 3, 1000);

        assert_in_range(d, 0, 100);
        assert_int_equal(d, due_spread(id, 3, 1000));
        same += d == due_spread(id, 4, 1000);
        least = d < least ? d : least;
        most = d > most ? d : most;
    }
    assert_true(least == 0 && most == 100);
    assert_in_range(same, 0, 600); /* one in a hundred by chance */
    assert_int_equal(due_spread(7, 0, 9), 0);
}

/* ---- the expiry ---- */

static struct payment image(int64_t left, enum call_kind kind, uint32_t tries)
{
    struct payment p = pending();

    p.time_expire = T0 + left;
    p.due_at = 0;
    p.due_kind = kind;
    p.due_tries = tries;
    return p;
}

/* What would come at the expiry or behind it is the close that it brings, just behind it. */
static void test_nothing_is_planned_beyond_the_expiry(void **state)
{
    const int64_t first = policy.query_first;

    (void)state;
    for (int64_t left = SEC; left < 3 * first; left += SEC) {
        struct payment a = image(left, CALL_NONE, 0);
        int64_t at = first + due_spread(a.id, 0, first);
        bool beyond = at >= left;

        payment_plan(&a, ACTION_SEND_PREPARE | ACTION_LATER_QUERY, T0, &policy);
        assert_int_equal(a.due_kind, beyond ? CALL_CLOSE : CALL_QUERY);
        assert_int_equal(a.due_at - T0, beyond ? left + PAYMENT_EXPIRE_MARGIN : at);
        assert_false(payment_close_wanted(&a));
    }
    for (int64_t off = -1; off <= 1; off++) { /* the very moment */
        struct payment a = image(0, CALL_NONE, 0);
        int64_t at = first + due_spread(a.id, 0, first);

        a.time_expire = T0 + at + off;
        payment_plan(&a, ACTION_SEND_PREPARE | ACTION_LATER_QUERY, T0, &policy);
        assert_int_equal(a.due_kind, off <= 0 ? CALL_CLOSE : CALL_QUERY);
        assert_int_equal(payment_expired(&a, T0 + at), off <= 0);
    }
}

/* ... which nobody wanted, however often was asked until then. */
static void test_nobody_wants_the_close_of_the_expiry(void **state)
{
    (void)state;
    for (uint32_t tries = 0; tries < 9; tries++) {
        struct payment a = image(20 * SEC, CALL_QUERY, tries);

        payment_plan(&a, ACTION_SEND_QUERY | ACTION_LATER_QUERY, T0, &policy);
        assert_int_equal(a.due_kind, CALL_CLOSE);
        assert_int_equal(a.due_at, a.time_expire + PAYMENT_EXPIRE_MARGIN);
        assert_false(payment_close_wanted(&a));
    }
}

/* A close that is wanted comes at its own time, or with the expiry where that is sooner. */
static void test_wanted_closes(void **state)
{
    (void)state;
    for (uint32_t tries = 1; tries < 6; tries++)
        for (int64_t left = 10 * SEC; left < 4000 * SEC; left += 30 * SEC) {
            struct payment a = image(left, CALL_CLOSE, tries);
            int64_t d = due_grown(policy.query_interval, tries, policy.query_max);

            payment_plan(&a, ACTION_LATER_QUERY, T0, &policy); /* stays wanted */
            assert_int_equal(a.due_kind, CALL_CLOSE);
            assert_int_equal(a.due_tries, tries + 1);
            if (a.due_at - T0 == left + PAYMENT_EXPIRE_MARGIN)
                assert_true(d + d / 10 >= left);
            else
                assert_in_range(a.due_at - T0, d - d / 10, d + d / 10);
            assert_true(a.due_at <= a.time_expire + PAYMENT_EXPIRE_MARGIN);
        }
}

/* The close that waits for the expiry grows from the first interval when its time has come. */
static void test_closes_behind_the_expiry(void **state)
{
    struct payment a = image(60 * SEC, CALL_CLOSE, 0);
    pay_time_t now = a.time_expire + PAYMENT_EXPIRE_MARGIN;

    (void)state;
    for (uint32_t tries = 0; tries < 8; tries++) {
        int64_t d = due_grown(policy.query_interval, tries, policy.query_max);

        assert_int_equal(a.due_tries, tries);
        a.due_at = now;
        payment_plan(&a, ACTION_SEND_CLOSE | ACTION_LATER_CLOSE, now, &policy);
        assert_int_equal(a.due_kind, CALL_CLOSE);
        assert_in_range(a.due_at - now, d - d / 10, d + d / 10);
        payment_plan(&a, ACTION_LATER_QUERY, now, &policy); /* and everything else is one */
        assert_int_equal(a.due_kind, CALL_CLOSE);
        assert_int_equal(a.due_tries, tries + 1);
    }
    /* a first wish before it begins anew, whatever was tried until then */
    a = image(600 * SEC, CALL_QUERY, 5);
    payment_plan(&a, ACTION_SEND_CLOSE | ACTION_LATER_CLOSE, T0, &policy);
    assert_int_equal(a.due_tries, 1);
    assert_true(payment_close_wanted(&a));
    assert_in_range(a.due_at - T0, policy.query_interval * 9 / 10, policy.query_interval * 11 / 10);
}

/* A send moves the timer; an answer leaves one alone that does the same already. */
static void test_answers_leave_the_timer(void **state)
{
    static const struct {
        enum call_kind planned;
        unsigned actions;
        bool kept;
        enum call_kind becomes;
    } cases[] = {{CALL_QUERY, ACTION_LATER_QUERY, true, CALL_QUERY},
                 {CALL_QUERY, ACTION_SEND_QUERY | ACTION_LATER_QUERY, false, CALL_QUERY},
                 {CALL_QUERY, ACTION_LATER_PREPARE, false, CALL_PREPARE},
                 {CALL_PREPARE, ACTION_LATER_PREPARE, true, CALL_PREPARE},
                 {CALL_PREPARE, ACTION_LATER_QUERY, false, CALL_QUERY},
                 {CALL_CLOSE, ACTION_LATER_QUERY, true, CALL_QUERY},
                 {CALL_CLOSE, ACTION_LATER_CLOSE, true, CALL_CLOSE},
                 {CALL_CLOSE, ACTION_LATER_PREPARE, false, CALL_PREPARE},
                 {CALL_CLOSE, ACTION_SEND_CLOSE | ACTION_LATER_CLOSE, false, CALL_CLOSE}};

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        for (int64_t due = -1; due <= 1; due++) { /* what is past is planned anew */
            struct payment a = image(7200 * SEC, cases[i].planned, 0);
            bool kept = cases[i].kept && due == 1;

            a.due_at = T0 + due;
            payment_plan(&a, cases[i].actions, T0, &policy);
            assert_int_equal(a.due_at == T0 + due, kept);
            assert_int_equal(a.due_kind, kept ? cases[i].planned : cases[i].becomes);
        }
}

/* What was said is asked about soon: before whatever else was planned, not behind the expiry. */
static void test_soon(void **state)
{
    struct payment a = image(7200 * SEC, CALL_QUERY, 0);

    (void)state;
    a.due_at = T0 + policy.soon; /* as soon as that already */
    payment_plan(&a, ACTION_SOON_QUERY, T0, &policy);
    assert_int_equal(a.due_at, T0 + policy.soon);
    a.due_at = T0 + 1;
    payment_plan(&a, ACTION_SOON_QUERY, T0, &policy);
    assert_int_equal(a.due_at, T0 + 1);
    for (int i = 0; i < 3; i++) { /* later, past, or something else */
        a = image(7200 * SEC, i == 2 ? CALL_PREPARE : CALL_QUERY, 0);
        a.due_at = i == 0 ? T0 + 900 * SEC : i == 1 ? T0 : T0 + 1;
        payment_plan(&a, ACTION_SOON_QUERY, T0, &policy);
        assert_int_equal(a.due_kind, CALL_QUERY);
        assert_int_equal(a.due_at, T0 + policy.soon);
    }
    for (int64_t off = -SEC; off <= SEC; off += SEC) { /* at the expiry, and just beside it */
        a = image(policy.soon + off, CALL_NONE, 0);
        payment_plan(&a, ACTION_SOON_QUERY, T0, &policy);
        assert_int_equal(a.due_at, T0 + policy.soon);
    }
    a = image(60 * SEC, CALL_QUERY, 8); /* grown beyond the expiry */
    payment_plan(&a, ACTION_SOON_QUERY, T0, &policy);
    assert_int_equal(a.due_at, a.time_expire + PAYMENT_EXPIRE_MARGIN);
    payment_plan(&a, ACTION_SOON_QUERY, a.time_expire, &policy); /* is nothing to wait for then */
    assert_true(a.due_at > a.time_expire);
    a = image(60 * SEC, CALL_QUERY, 8);
    payment_plan(&a, ACTION_SOON_QUERY, a.time_expire, &policy);
    assert_int_equal(a.due_at, a.time_expire + due_grown(policy.soon, 8, policy.query_max));
}

/* R2.4: what was prepared again is asked about after query_first, or at the growing pace. */
static void test_after_a_prepare(void **state)
{
    (void)state;
    for (uint32_t tries = 0; tries < 8; tries++) {
        struct payment a = image(7200 * SEC, CALL_PREPARE, tries);
        int64_t grown = due_grown(policy.query_interval, tries, policy.query_max);
        int64_t d = tries && grown > policy.query_first ? grown : policy.query_first;

        payment_plan(&a, ACTION_SEND_PREPARE | ACTION_LATER_QUERY, T0, &policy);
        assert_int_equal(a.due_kind, CALL_QUERY);
        assert_in_range(a.due_at - T0, d, d + d / 10);
        assert_int_equal(a.due_tries, tries);
    }
    for (int i = 0; i < 2; i++) { /* other intervals for other work */
        struct payment a = image(7200 * SEC, CALL_NONE, 0);
        int64_t d = i ? policy.resend_interval : policy.query_interval;

        payment_plan(&a, i ? ACTION_LATER_PREPARE : ACTION_LATER_QUERY, T0, &policy);
        assert_in_range(a.due_at - T0, d - d / 10, d + d / 10);
        assert_int_equal(a.due_tries, 1);
    }
}

/* ---- refunds ---- */

static void test_refunds(void **state)
{
    static const struct {
        enum call_kind call;
        enum answer_class cls;
        int64_t base; /* 0: no timer any more */
    } cases[] = {
        {CALL_REFUND, CLASS_ACCEPTED, 30 * SEC},      {CALL_REFUND, CLASS_DUPLICATE, 2 * SEC},
        {CALL_REFUND, CLASS_TOO_FREQUENT, 3 * SEC},   {CALL_REFUND, CLASS_FAILED, 0},
        {CALL_REFUND_QUERY, CLASS_UNKNOWN, 30 * SEC}, {CALL_REFUND_QUERY, CLASS_SUCCESS, 0}};
    struct payment p = pending();
    const struct payment_event fires = {.kind = PAYMENT_EVENT_TIMER};

    (void)state;
    p.state = PAYMENT_SUCCEEDED;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        for (uint32_t tries = 0; tries < 10; tries++) {
            struct refund r = {.id = 7,
                               .state = REFUND_PROCESSING,
                               .amount = 100,
                               .send_n = 2,
                               .send_last = MARK_OPEN,
                               .due_at = T0 + 5,
                               .due_kind = CALL_REFUND_QUERY,
                               .due_tries = tries},
                          next, later;
            struct payment_event e = answer(cases[i].call, 2, cases[i].cls);
            int64_t d = due_grown(cases[i].base, tries, policy.query_max);

            refund_decide(&p, &r, &e, T0, &policy, &step, &next);
            assert_true(step.timer_changed);
            if (!cases[i].base) {
                assert_int_equal(next.due_at, 0);
                assert_int_equal(next.due_kind, CALL_NONE);
                assert_int_equal(next.due_tries, 0);
                refund_decide(&step.after, &next, &fires, T0 + 9000 * SEC, &policy, &step, &later);
                assert_string_equal(step.input_name, "REFUND_TIMER_EARLY");
                continue;
            }
            assert_in_range(next.due_at - T0, d, d + d / 10);
            assert_int_equal(next.due_tries, tries + 1);
            assert_int_equal(next.due_kind,
                             cases[i].cls == CLASS_TOO_FREQUENT ? CALL_REFUND : CALL_REFUND_QUERY);
            refund_decide(&step.after, &next, &fires, next.due_at - 1, &policy, &step, &later);
            assert_string_equal(step.input_name, "REFUND_TIMER_EARLY");
            refund_decide(&step.after, &next, &fires, next.due_at, &policy, &step, &later);
            if (next.due_kind == CALL_REFUND) { /* R2.4: nothing is known of what goes out now */
                assert_string_equal(step.input_name, "REFUND_TIMER_SEND");
                d = due_grown(policy.query_interval, tries + 1, policy.query_max);
                d = d < policy.query_first ? policy.query_first : d;
            } else {
                assert_string_equal(step.input_name, "REFUND_TIMER_QUERY");
                d = due_grown(policy.query_interval, tries + 1, policy.query_max);
            }
            assert_in_range(later.due_at - next.due_at, d, d + d / 10);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_intervals_grow),
        cmocka_unit_test(test_spread),
        cmocka_unit_test(test_nothing_is_planned_beyond_the_expiry),
        cmocka_unit_test(test_nobody_wants_the_close_of_the_expiry),
        cmocka_unit_test(test_wanted_closes),
        cmocka_unit_test(test_closes_behind_the_expiry),
        cmocka_unit_test(test_answers_leave_the_timer),
        cmocka_unit_test(test_soon),
        cmocka_unit_test(test_after_a_prepare),
        cmocka_unit_test(test_refunds),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
