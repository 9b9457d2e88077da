/*
 * The edges of a charge's reversal (R2.8, R2.15): what each word of the channel means while it is
 * wanted, under way, done or given up, at the moments where that changes, and when it is asked
 * again.
 */
#include "domain_test.h"

#include "backends/domain/due.h"
#include "backends/domain/payment_plan.h"

static struct payment image;

static pay_time_t earliest(void)
{
    return image.prepare_before + policy.reverse_earliest;
}

static void open_charge(enum payment_state state, enum reversal_state reversal)
{
    image = charged();
    image.state = state;
    image.reversal = reversal;
    image.attempts = 5;
    image.busy_kind = CALL_NONE;
    image.due_at = T0;
    image.due_kind = CALL_QUERY;
}

static void tell(enum call_kind call, enum answer_class cls, pay_time_t now)
{
    after(&image, answer(call, 5, cls), now, &policy);
}

/* A query says that it failed: reversed all the same, as soon as the channel takes it. */
static void test_failed_there(void **state)
{
    struct payment_policy shut = policy;

    (void)state;
    shut.reverse_open = false;
    for (int64_t off = -1; off <= 1; off++) {
        open_charge(PAYMENT_PROCESSING, REVERSAL_NONE);
        tell(CALL_QUERY, CLASS_FAILED, earliest() + off);
        assert_int_equal(step.input, off < 0 ? INPUT_POLL_REVERSE_SOON : INPUT_POLL_REVERSE);
        assert_int_equal(step.attempt.kind, off < 0 ? CALL_NONE : CALL_REVERSE);
        after(&image, answer(CALL_QUERY, 5, CLASS_FAILED), earliest() + off, &shut);
        assert_int_equal(step.input, off < 0 ? INPUT_QUERY_FAILED : INPUT_POLL_REVERSE_LATE);
        open_charge(PAYMENT_PROCESSING, REVERSAL_FAILED); /* not possible, or given up: it counts */
        tell(CALL_QUERY, CLASS_FAILED, earliest() + off);
        assert_input(QUERY_FAILED);
    }
}

/* What was asked before somebody asked again, or reversed, decides nothing. */
static void test_words_that_are_old(void **state)
{
    struct payment_event e = answer(CALL_QUERY, 4, CLASS_USER_PAYING);

    (void)state;
    for (unsigned r = REVERSAL_NONE; r < REVERSAL_STATE_COUNT; r++) {
        open_charge(PAYMENT_PENDING, (enum reversal_state)r);
        e.sent = SENT_ANSWERED;
        after(&image, e, earliest() + 60 * SEC, &policy);
        assert_input(QUERY_WAITING_STALE);
        e.sent = SENT_MAYBE;
        after(&image, e, earliest() + 60 * SEC, &policy);
        assert_input(QUERY_UNKNOWN);
        assert_int_equal(step.attempt.n, 0);
    }
}

static void test_waiting(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        open_charge(PAYMENT_PROCESSING, REVERSAL_NONE);
        tell(CALL_QUERY, i ? CLASS_ACCEPTED : CLASS_USER_PAYING, T0 + 6 * SEC);
        assert_input(QUERY_WAITING);
        assert_int_equal(step.after.state, PAYMENT_PENDING);
    }
}

static void test_answers_to_a_reversal(void **state)
{
    static const struct {
        enum answer_class cls;
        const char *before, *behind; /* the moment from which a charge cannot arrive any more */
    } cases[] = {{CLASS_SUCCESS, "REVERSE_DONE_EARLY", "REVERSE_DONE"},
                 {CLASS_CLOSED, "REVERSE_DONE_EARLY", "REVERSE_DONE"},
                 {CLASS_FAILED, "REVERSE_REFUSED", "REVERSE_REFUSED"},
                 {CLASS_REFUSED, "REVERSE_REFUSED", "REVERSE_REFUSED"},
                 {CLASS_NOT_FOUND, "REVERSE_AGAIN", "REVERSE_AGAIN"},
                 {CLASS_TOO_FREQUENT, "REVERSE_AGAIN", "REVERSE_AGAIN"},
                 {CLASS_UNKNOWN, "REVERSE_AGAIN", "REVERSE_AGAIN"}};

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        for (int64_t off = -1; off <= 1; off++) {
            open_charge(PAYMENT_PROCESSING, REVERSAL_PROCESSING);
            image.reverse_tries = 1;
            tell(CALL_REVERSE, cases[i].cls, image.prepare_before + policy.settle + off);
            assert_string_equal(step.input_name, off < 0 ? cases[i].before : cases[i].behind);
        }
    /* known there when it was asked: at once */
    open_charge(PAYMENT_PENDING, REVERSAL_PROCESSING);
    image.reverse_tries = 1;
    tell(CALL_REVERSE, CLASS_SUCCESS, image.prepare_before);
    assert_input(REVERSE_DONE);
    open_charge(PAYMENT_PROCESSING, REVERSAL_PROCESSING);
    image.reverse_tries = 1;
    image.succeeded_at = T0;
    tell(CALL_REVERSE, CLASS_SUCCESS, image.prepare_before);
    assert_input(REVERSE_DONE_PAID);
}

static void test_cases_of_a_charge(void **state)
{
    struct payment_event e = success(PAYMENT_EVENT_ANSWER, 1, 887);

    (void)state;
    e.call = CALL_CHARGE;
    open_charge(PAYMENT_PROCESSING, REVERSAL_NONE);
    after(&image, e, T0 + SEC, &policy);
    assert_input(CHARGE_MISMATCH);
    assert_true(slice_is(step.case_kind, "amount_mismatch"));
    e.amount = 888;
    open_charge(PAYMENT_CLOSED, REVERSAL_NONE);
    after(&image, e, T0 + SEC, &policy);
    assert_input(CHARGE_PAID);
    assert_true(slice_is(step.case_kind, "late_success"));
}

/* ---- the timer ---- */

/* Growing with the tries, bounded until a person was asked, then by query_max. */
static void test_reversals_grow(void **state)
{
    (void)state;
    for (uint32_t tries = 1; tries < 16; tries++) {
        int64_t max =
            tries <= policy.reverse_limit ? 12 * policy.paying_interval : policy.query_max;
        int64_t d = due_grown(policy.paying_interval, tries, max);

        open_charge(PAYMENT_PROCESSING, REVERSAL_PROCESSING);
        image.reverse_tries = tries;
        payment_plan(&image, ACTION_LATER_QUERY | ACTION_SEND_REVERSE, T0, &policy);
        assert_int_equal(image.due_kind, CALL_QUERY);
        assert_in_range(image.due_at - T0, d, d + d / 10);
    }
    open_charge(PAYMENT_PROCESSING, REVERSAL_FAILED);
    image.due_tries = 4;
    payment_plan(&image, ACTION_LATER_QUERY | ACTION_SEND_QUERY, T0, &policy);
    assert_in_range(image.due_at - T0, 16 * policy.paying_interval,
                    16 * policy.paying_interval * 11 / 10);
}

/* The query that ends the waiting comes when it is time to reverse, neither sooner nor later. */
static void test_the_last_query(void **state)
{
    pay_time_t at = T0 + policy.paying_limit;

    (void)state;
    for (int64_t left = 1; left < 2 * policy.paying_interval; left += SEC / 2) {
        open_charge(PAYMENT_PENDING, REVERSAL_NONE);
        payment_plan(&image, ACTION_LATER_QUERY | ACTION_SEND_QUERY, at - left, &policy);
        assert_int_equal(image.due_at,
                         left < policy.paying_interval ? at : at - left + policy.paying_interval);
    }
    open_charge(PAYMENT_PENDING, REVERSAL_NONE);
    payment_plan(&image, ACTION_LATER_QUERY | ACTION_SEND_QUERY, at, &policy);
    assert_int_equal(image.due_at, at + policy.paying_interval);
}

/* An answer leaves a timer alone that comes sooner; a send, or a wish to reverse, moves it. */
static void test_answers_leave_the_timer(void **state)
{
    static const unsigned moving[] = {ACTION_SEND_QUERY | ACTION_LATER_QUERY,
                                      ACTION_SEND_REVERSE | ACTION_LATER_QUERY, ACTION_LATER_CLOSE};

    (void)state;
    for (int64_t due = -1; due <= 1; due++) {
        open_charge(PAYMENT_PENDING, REVERSAL_NONE);
        image.due_at = T0 + due;
        payment_plan(&image, ACTION_LATER_QUERY, T0, &policy);
        assert_int_equal(image.due_at, due > 0 ? T0 + due : T0 + policy.paying_interval);
        for (size_t i = 0; i < sizeof(moving) / sizeof(moving[0]); i++) {
            open_charge(PAYMENT_PENDING, REVERSAL_NONE);
            image.due_at = T0 + due;
            payment_plan(&image, moving[i], T0, &policy);
            assert_true(image.due_at > T0 + SEC);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_failed_there),      cmocka_unit_test(test_words_that_are_old),
        cmocka_unit_test(test_waiting),           cmocka_unit_test(test_answers_to_a_reversal),
        cmocka_unit_test(test_cases_of_a_charge), cmocka_unit_test(test_reversals_grow),
        cmocka_unit_test(test_the_last_query),    cmocka_unit_test(test_answers_leave_the_timer),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
