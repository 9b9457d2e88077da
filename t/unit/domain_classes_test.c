/*
 * What each class of answer means in each call, and what the cases are called that people read.
 */
#include "domain_test.h"

#include "backends/domain/refund.h"

#define LATE (T0 + 600 * SEC) /* everything sent has settled */

struct meaning {
    enum answer_class cls;
    const char *input;
};

static void check(const struct payment *p, struct payment_event e, const struct meaning *m)
{
    e.cls = m->cls;
    after(p, e, LATE, &policy);
    if (strcmp(step.input_name, m->input) != 0)
        fail_msg("%s: %s, not %s", answer_class_name(m->cls), step.input_name, m->input);
}

static void test_prepare(void **state)
{
    static const struct meaning meanings[] = {{CLASS_SUCCESS, "PREPARE_ACCEPTED"},
                                              {CLASS_ACCEPTED, "PREPARE_ACCEPTED"},
                                              {CLASS_USER_PAYING, "PREPARE_ACCEPTED"},
                                              {CLASS_FAILED, "PREPARE_FAILED"},
                                              {CLASS_REFUSED, "PREPARE_FAILED"},
                                              {CLASS_CLOSED, "PREPARE_CLOSED"},
                                              {CLASS_TOO_FREQUENT, "PREPARE_TOO_FREQUENT"},
                                              {CLASS_DUPLICATE, "PREPARE_DUPLICATE"},
                                              {CLASS_NOT_FOUND, "PREPARE_UNKNOWN"},
                                              {CLASS_UNKNOWN, "PREPARE_UNKNOWN"},
                                              {CLASS_NOT_SENT, "PREPARE_UNKNOWN"}};
    struct payment p = created();

    (void)state;
    for (size_t i = 0; i < sizeof(meanings) / sizeof(meanings[0]); i++)
        check(&p, answer(CALL_PREPARE, 1, CLASS_UNKNOWN), &meanings[i]);
}

static void test_query(void **state)
{
    static const struct meaning meanings[] = {{CLASS_SUCCESS, "QUERY_MISMATCH" /* no amount */},
                                              {CLASS_ACCEPTED, "QUERY_WAITING"},
                                              {CLASS_USER_PAYING, "QUERY_WAITING"},
                                              {CLASS_FAILED, "QUERY_FAILED"},
                                              {CLASS_CLOSED, "QUERY_CLOSED"},
                                              {CLASS_NOT_FOUND, "QUERY_NOT_FOUND"},
                                              {CLASS_REFUSED, "QUERY_UNKNOWN"},
                                              {CLASS_TOO_FREQUENT, "QUERY_UNKNOWN"},
                                              {CLASS_DUPLICATE, "QUERY_UNKNOWN"},
                                              {CLASS_UNKNOWN, "QUERY_UNKNOWN"},
                                              {CLASS_NOT_SENT, "QUERY_UNKNOWN"}};
    struct payment p = pending();

    (void)state;
    for (size_t i = 0; i < sizeof(meanings) / sizeof(meanings[0]); i++)
        check(&p, answer(CALL_QUERY, 1, CLASS_UNKNOWN), &meanings[i]);
}

static void test_close(void **state)
{
    static const struct meaning meanings[] = {
        {CLASS_SUCCESS, "CLOSE_DONE"},         {CLASS_CLOSED, "CLOSE_DONE"},
        {CLASS_DUPLICATE, "CLOSE_PAID"},       {CLASS_NOT_FOUND, "CLOSE_NOT_FOUND"},
        {CLASS_FAILED, "CLOSE_UNKNOWN"},       {CLASS_REFUSED, "CLOSE_UNKNOWN"},
        {CLASS_TOO_FREQUENT, "CLOSE_UNKNOWN"}, {CLASS_UNKNOWN, "CLOSE_UNKNOWN"}};
    const struct meaning too_long = {CLASS_NOT_FOUND, "CLOSE_NOT_FOUND_LONG"};
    struct payment p = pending();

    (void)state;
    for (size_t i = 0; i < sizeof(meanings) / sizeof(meanings[0]); i++)
        check(&p, answer(CALL_CLOSE, 1, CLASS_UNKNOWN), &meanings[i]);
    p.due_tries = PAYMENT_CLOSE_TRIES_LONG;
    check(&p, answer(CALL_CLOSE, 1, CLASS_UNKNOWN), &too_long);
}

static void test_notification(void **state)
{
    static const struct meaning meanings[] = {
        {CLASS_SUCCESS, "NOTIFY_PAID"},    {CLASS_FAILED, "NOTIFY_FAILED"},
        {CLASS_CLOSED, "NOTIFY_CLOSED"},   {CLASS_ACCEPTED, "NOTIFY_OTHER"},
        {CLASS_NOT_FOUND, "NOTIFY_OTHER"}, {CLASS_UNKNOWN, "NOTIFY_OTHER"}};
    struct payment p = pending();

    (void)state;
    for (size_t i = 0; i < sizeof(meanings) / sizeof(meanings[0]); i++)
        check(&p, success(PAYMENT_EVENT_NOTIFY, 0, 888), &meanings[i]);
    assert_false(step.mismatch);
    after(&p, success(PAYMENT_EVENT_NOTIFY, 0, 887), LATE, &policy);
    assert_true(step.mismatch);
}

static void check_case(struct payment p, enum payment_state state, struct payment_event e,
                       const char *kind)
{
    p.state = state;
    after(&p, e, LATE, &policy);
    assert_true(step.open_case);
    assert_string_equal(step.input_name, step.case_detail.p);
    if (!slice_is(step.case_kind, kind))
        fail_msg("%s: %.*s, not %s", step.input_name, SLICE_FMT(step.case_kind), kind);
}

static void test_cases(void **state)
{
    struct payment p = pending();
    struct payment_event second = success(PAYMENT_EVENT_NOTIFY, 0, 888);
    struct payment_policy once = policy;

    (void)state;
    check_case(p, PAYMENT_PENDING, success(PAYMENT_EVENT_NOTIFY, 0, 887), "amount_mismatch");
    check_case(p, PAYMENT_PENDING, success(PAYMENT_EVENT_ANSWER, 1, 887), "amount_mismatch");
    check_case(p, PAYMENT_CLOSED, success(PAYMENT_EVENT_NOTIFY, 0, 888), "late_success");
    check_case(p, PAYMENT_FAILED, success(PAYMENT_EVENT_ANSWER, 1, 888), "late_success");
    check_case(p, PAYMENT_PENDING, answer(CALL_QUERY, 1, CLASS_NOT_FOUND), "not_found");
    check_case(p, PAYMENT_SUCCEEDED, answer(CALL_CLOSE, 1, CLASS_NOT_FOUND), "not_found");
    check_case(p, PAYMENT_SUCCEEDED, answer(CALL_CLOSE, 1, CLASS_SUCCESS), "contradiction");
    check_case(p, PAYMENT_SUCCEEDED, answer(CALL_QUERY, 1, CLASS_CLOSED), "contradiction");
    p.due_kind = CALL_CLOSE;
    p.due_tries = PAYMENT_CLOSE_TRIES_LONG;
    check_case(p, PAYMENT_PENDING, answer(CALL_QUERY, 1, CLASS_NOT_FOUND), "not_found");
    check_case(p, PAYMENT_PENDING, answer(CALL_CLOSE, 1, CLASS_NOT_FOUND), "not_found");
    p = pending();
    once.prepare_resend = false;
    after(&p, answer(CALL_QUERY, 1, CLASS_NOT_FOUND), LATE, &once);
    assert_input(QUERY_NOT_FOUND_KEEP);
    assert_true(slice_is(step.case_kind, "not_found"));
    p.channel_trade_no = SLICE("B0");
    check_case(p, PAYMENT_SUCCEEDED, second, "second_success");
}

/* The channel knows nothing of an order before its payer comes: "not found" is no news, and nothing
 * against an order that is over. */
static void test_local_prepare(void **state)
{
    struct payment_policy local = policy;
    struct payment p = pending();
    struct payment_event e = answer(CALL_QUERY, 1, CLASS_NOT_FOUND);

    (void)state;
    local.prepare_local = true;
    after(&p, e, LATE, &local);
    assert_input(QUERY_WAITING);
    p.state = PAYMENT_CLOSED;
    after(&p, e, LATE, &local);
    assert_input(QUERY_NOT_FOUND);
    assert_false(step.open_case);
    p.state = PAYMENT_SUCCEEDED;
    e.call = CALL_CLOSE;
    after(&p, e, LATE, &local);
    assert_input(CLOSE_UNKNOWN);
    assert_false(step.open_case);
}

/* What is over leaves no work behind; what answers the latest attempt ends its being busy. */
static void test_no_work_is_left(void **state)
{
    struct payment c = created(), p;

    (void)state;
    assert_int_equal(c.busy_kind, CALL_PREPARE);
    p = after(&c, answer(CALL_PREPARE, 1, CLASS_UNKNOWN), T0 + SEC, &policy);
    assert_int_equal(p.busy_kind, CALL_NONE);
    assert_int_equal(p.busy_before, 0);
    p = after(&c, success(PAYMENT_EVENT_NOTIFY, 0, 888), T0 + SEC, &policy);
    assert_int_equal(p.state, PAYMENT_SUCCEEDED);
    assert_int_equal(p.busy_kind, CALL_NONE);
    assert_int_equal(p.busy_before, 0);
    assert_int_equal(p.due_kind, CALL_NONE);
    assert_int_equal(p.due_at, 0);
    c.due_tries = 3;
    p = after(&c, success(PAYMENT_EVENT_NOTIFY, 0, 888), T0 + SEC, &policy);
    assert_int_equal(p.due_tries, 0);
    /* busy ends with send_before itself */
    after(&c, (struct payment_event){.kind = PAYMENT_EVENT_OPERATOR_QUERY}, T0 + SEC, &policy);
    c = step.after;
    after(&c, operator_query, c.busy_before - 1, &policy);
    assert_input(OPERATOR_QUERY_BUSY);
    after(&c, operator_query, c.busy_before, &policy);
    assert_input(OPERATOR_QUERY);
}

/* ---- refunds ---- */

static void check_refund(enum payment_event_kind kind, enum call_kind call, const struct meaning *m)
{
    struct payment p = pending();
    struct refund r = {.id = 7,
                       .state = REFUND_PROCESSING,
                       .amount = 100,
                       .send_n = 2,
                       .send_last = MARK_OPEN,
                       .send_before = T0 + 30 * SEC,
                       .due_kind = CALL_REFUND_QUERY},
                  next;
    struct payment_event e = answer(call, 2, m->cls);

    p.state = PAYMENT_SUCCEEDED;
    p.refund_reserved = 100;
    p.attempts = 2;
    e.kind = kind;
    e.asked = p.version;
    e.asked_at = LATE;
    refund_decide(&p, &r, &e, LATE, &policy, &step, &next);
    if (strcmp(step.input_name, m->input) != 0)
        fail_msg("%s: %s, not %s", answer_class_name(m->cls), step.input_name, m->input);
}

static void test_refund(void **state)
{
    static const struct meaning sends[] = {{CLASS_SUCCESS, "REFUND_DONE"},
                                           {CLASS_ACCEPTED, "REFUND_ACCEPTED"},
                                           {CLASS_USER_PAYING, "REFUND_ACCEPTED"},
                                           {CLASS_FAILED, "REFUND_REFUSED"},
                                           {CLASS_REFUSED, "REFUND_REFUSED"},
                                           {CLASS_CLOSED, "REFUND_REFUSED"},
                                           {CLASS_TOO_FREQUENT, "REFUND_TOO_FREQUENT"},
                                           {CLASS_DUPLICATE, "REFUND_DUPLICATE"},
                                           {CLASS_NOT_FOUND, "REFUND_UNKNOWN"},
                                           {CLASS_UNKNOWN, "REFUND_UNKNOWN"}};
    static const struct meaning queries[] = {
        {CLASS_SUCCESS, "REFUND_QUERY_DONE"},        {CLASS_ACCEPTED, "REFUND_QUERY_WAITING"},
        {CLASS_USER_PAYING, "REFUND_QUERY_WAITING"}, {CLASS_FAILED, "REFUND_QUERY_FAILED"},
        {CLASS_CLOSED, "REFUND_QUERY_FAILED"},       {CLASS_NOT_FOUND, "REFUND_QUERY_NOT_FOUND"},
        {CLASS_REFUSED, "REFUND_QUERY_UNKNOWN"},     {CLASS_UNKNOWN, "REFUND_QUERY_UNKNOWN"}};
    static const struct meaning notices[] = {{CLASS_SUCCESS, "REFUND_NOTIFY_DONE"},
                                             {CLASS_FAILED, "REFUND_NOTIFY_OTHER"},
                                             {CLASS_CLOSED, "REFUND_NOTIFY_OTHER"}};

    (void)state;
    for (size_t i = 0; i < sizeof(sends) / sizeof(sends[0]); i++)
        check_refund(PAYMENT_EVENT_ANSWER, CALL_REFUND, &sends[i]);
    for (size_t i = 0; i < sizeof(queries) / sizeof(queries[0]); i++)
        check_refund(PAYMENT_EVENT_ANSWER, CALL_REFUND_QUERY, &queries[i]);
    for (size_t i = 0; i < sizeof(notices) / sizeof(notices[0]); i++)
        check_refund(PAYMENT_EVENT_NOTIFY, CALL_NONE, &notices[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_prepare), cmocka_unit_test(test_query),
        cmocka_unit_test(test_close),   cmocka_unit_test(test_notification),
        cmocka_unit_test(test_cases),   cmocka_unit_test(test_no_work_is_left),
        cmocka_unit_test(test_refund),  cmocka_unit_test(test_local_prepare),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
