/*
 * A refund's life (R2.17): its table against a matrix written by hand, stories, and sums that hold
 * on random lives of many refunds at once.
 */
#include "domain_test.h"

#include "backends/domain/refund.h"

#include <stdlib.h>

/* Columns: input, then none, processing, succeeded, failed; words as in payment_matrix.h, where
 * +send is the refund call. */
/* clang-format off */
static const char *const matrix[] = {
    "REFUND_CREATE                |processing +send @query|ignore          |ignore|ignore",
    "REFUND_NOT_PAID              |refuse                 |ignore          |ignore|ignore",
    "REFUND_DIFFERS               |refuse                 |ignore          |ignore|ignore",
    "REFUND_EXCEEDS               |refuse                 |ignore          |ignore|ignore",
    "REFUND_TOO_LATE              |refuse                 |ignore          |ignore|ignore",
    "REFUND_UNSUPPORTED           |refuse                 |ignore          |ignore|ignore",
    /* accepted is not refunded */
    "REFUND_ACCEPTED              |ignore                 |stay take @query|ignore|case",
    "REFUND_DONE                  |ignore                 |succeeded take  |ignore|case",
    "REFUND_REFUSED               |ignore                 |failed          |ignore|ignore",
    "REFUND_REFUSED_DOUBTED       |ignore                 |stay soon       |ignore|ignore",
    "REFUND_REFUSED_LONG          |ignore                 |stay case soon  |ignore|ignore",
    "REFUND_TOO_FREQUENT          |ignore                 |stay @send      |ignore|ignore",
    "REFUND_DUPLICATE             |ignore                 |stay soon       |ignore|ignore",
    "REFUND_NOT_SENT              |ignore                 |stay @send      |ignore|ignore",
    "REFUND_NOT_SENT_LONG         |ignore                 |stay case @send |ignore|ignore",
    "REFUND_UNKNOWN               |ignore                 |stay @query     |ignore|ignore",
    "REFUND_QUERY_DONE            |ignore                 |succeeded take  |ignore|case",
    "REFUND_QUERY_MISMATCH        |ignore                 |stay case @query|case  |case",
    "REFUND_QUERY_WAITING         |ignore                 |stay @query     |ignore|case",
    "REFUND_QUERY_FAILED          |ignore                 |failed          |case  |ignore",
    /* R2.4: not found never fails a refund */
    "REFUND_QUERY_NOT_FOUND       |ignore                 |stay +send @query|case |ignore",
    "REFUND_QUERY_NOT_FOUND_EARLY |ignore                 |stay @query     |ignore|ignore",
    "REFUND_QUERY_NOT_FOUND_KEEP  |ignore                 |stay case @query|case  |ignore",
    "REFUND_QUERY_UNKNOWN         |ignore                 |stay @query     |ignore|ignore",
    "REFUND_NOTIFY_DONE           |case                   |succeeded take  |ignore|case",
    "REFUND_NOTIFY_MISMATCH       |case                   |stay case @query|case  |case",
    "REFUND_NOTIFY_OTHER          |ignore                 |stay soon       |case  |ignore",
    "REFUND_TIMER_EARLY           |ignore                 |ignore          |ignore|ignore",
    "REFUND_TIMER_SEND            |ignore                 |stay +send @query|ignore|ignore",
    "REFUND_TIMER_QUERY           |ignore                 |stay +query @query|ignore|ignore",
};
/* clang-format on */

static unsigned action_of(struct slice word)
{
    static const struct {
        const char *word;
        unsigned action;
    } words[] = {{"+send", ACTION_SEND_PREPARE},  {"+query", ACTION_SEND_QUERY},
                 {"@send", ACTION_LATER_PREPARE}, {"@query", ACTION_LATER_QUERY},
                 {"soon", ACTION_SOON_QUERY},     {"take", ACTION_TAKE},
                 {"case", ACTION_CASE},           {"ignore", ACTION_IGNORE},
                 {"refuse", ACTION_REFUSE}};

    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
        if (slice_is(word, words[i].word))
            return words[i].action;
    fail_msg("no action %.*s", SLICE_FMT(word));
    return 0;
}

static void check_cell(enum refund_state state, enum refund_input in, struct slice cell)
{
    const struct refund_rule *rule = &refund_rules[state][in];
    struct slice rest = slice_trim(cell), word = slice_cut(&rest, ' ');
    int known = refund_state_parse(word);
    enum refund_state to = known >= 0 ? (enum refund_state)known : state;
    unsigned actions = known >= 0 || slice_is(word, "stay") ? 0 : action_of(word);

    while (rest.n)
        actions |= action_of(slice_cut(&rest, ' '));
    if (rule->to != to || rule->actions != actions)
        fail_msg("%s on %s: the table says %s %#x, the matrix %s %#x", refund_state_name(state),
                 refund_input_name(in), refund_state_name(rule->to), rule->actions,
                 refund_state_name(to), actions);
}

static void test_table_is_the_matrix(void **state)
{
    (void)state;
    assert_int_equal(sizeof(matrix) / sizeof(matrix[0]), REFUND_INPUT_COUNT);
    for (unsigned i = 0; i < REFUND_INPUT_COUNT; i++) {
        struct slice rest = slice_of(matrix[i]);

        assert_true(
            slice_is(slice_trim(slice_cut(&rest, '|')), refund_input_name((enum refund_input)i)));
        for (unsigned s = REFUND_NONE; s < REFUND_STATE_COUNT; s++)
            check_cell((enum refund_state)s, (enum refund_input)i, slice_cut(&rest, '|'));
    }
    assert_string_equal(refund_input_name(REFUND_INPUT_COUNT), "?");
}

/* ---- stories ---- */

static struct payment paid_one; /* the aggregate: payment and one refund */
static struct refund refund_one;
static const struct payment_event wish = {.kind = PAYMENT_EVENT_REFUND, .amount = -1};

static struct payment paid(void)
{
    struct payment p = pending();

    return after(&p, success(PAYMENT_EVENT_NOTIFY, 0, 888), T0 + 10 * SEC, &policy);
}

static void tell(struct payment_event e, pay_time_t now, const struct payment_policy *pol)
{
    struct refund next;

    e.id = 1;
    if (!e.asked)
        e.asked = paid_one.version;
    if (!e.asked_at)
        e.asked_at = now;
    refund_decide(&paid_one, &refund_one, &e, now, pol, &step, &next);
    if (step.verdict != STEP_COMMIT) {
        assert_memory_equal(&step.after, &paid_one, sizeof(paid_one));
        return;
    }
    assert_int_equal(step.after.version, paid_one.version + 1);
    paid_one = step.after;
    refund_one = next;
}

static void start(int64_t amount)
{
    paid_one = paid();
    refund_one = (struct refund){.id = 77, .out_refund_no = SLICE("R1"), .amount = amount};
    tell(wish, T0 + 20 * SEC, &policy);
}

#define assert_was(name) assert_string_equal(step.input_name, "REFUND_" #name)

static struct payment_event told(enum call_kind call, uint32_t n, enum answer_class cls)
{
    struct payment_event e = answer(call, n, cls);

    e.channel_trade_no = SLICE("CR1");
    return e;
}

static void test_accepted_then_done(void **state)
{
    (void)state;
    start(300);
    assert_was(CREATE);
    assert_int_equal(refund_one.state, REFUND_PROCESSING);
    assert_int_equal(paid_one.refund_reserved, 300);
    assert_int_equal(paid_one.refunded, 0);
    assert_int_equal(step.attempt.kind, CALL_REFUND);
    assert_int_equal(step.attempt.n, paid_one.attempts);
    assert_true(refund_one.due_at >= T0 + 140 * SEC); /* R2.4: not asked before */
    tell(told(CALL_REFUND, refund_one.send_n, CLASS_ACCEPTED), T0 + 21 * SEC, &policy);
    assert_was(ACCEPTED);
    assert_int_equal(refund_one.state, REFUND_PROCESSING);
    assert_false(step.callback);
    tell(timer, refund_one.due_at, &policy);
    assert_was(TIMER_QUERY);
    assert_int_equal(step.attempt.kind, CALL_REFUND_QUERY);
    tell(told(CALL_REFUND_QUERY, step.attempt.n, CLASS_SUCCESS), refund_one.due_at, &policy);
    assert_was(QUERY_DONE);
    assert_int_equal(refund_one.state, REFUND_SUCCEEDED);
    assert_true(step.callback && step.timer_changed);
    assert_int_equal(refund_one.due_at, 0);
    assert_int_equal(paid_one.refund_reserved, 300);
    assert_int_equal(paid_one.refunded, 300);
    assert_int_equal(paid_one.state, PAYMENT_SUCCEEDED);
    assert_true(slice_is(refund_one.channel_refund_no, "CR1"));
}

static void test_refusals(void **state)
{
    struct payment_policy p = policy;
    struct payment_event e = wish;

    (void)state;
    start(889);
    assert_was(EXCEEDS);
    assert_int_equal(step.problem, PROBLEM_REFUND_EXCEEDS_PAID);
    start(0);
    assert_was(EXCEEDS);
    start(888);
    refund_one = (struct refund){.id = 78, .amount = 1};
    tell(wish, T0 + 30 * SEC, &policy);
    assert_was(EXCEEDS); /* reserved counts, not only what is done */
    paid_one = pending();
    tell(wish, T0 + 30 * SEC, &policy);
    assert_int_equal(step.problem, PROBLEM_PAYMENT_NOT_PAID);
    paid_one = paid();
    e.amount = 887;
    tell(e, T0 + 30 * SEC, &policy);
    assert_was(DIFFERS);
    e.amount = 888;
    tell(e, T0 + 30 * SEC, &policy);
    assert_was(CREATE);
    refund_one = (struct refund){.id = 79, .amount = 1};
    paid_one = paid();
    p.refund_window = 60 * SEC;
    tell(wish, paid_one.succeeded_at + 60 * SEC, &p);
    assert_int_equal(step.problem, PROBLEM_REFUND_TOO_LATE);
    p.refund = false;
    tell(wish, T0 + 30 * SEC, &p);
    assert_int_equal(step.problem, PROBLEM_REFUND_UNSUPPORTED);
}

static void test_definite_failure_gives_the_money_back(void **state)
{
    (void)state;
    start(888);
    tell(told(CALL_REFUND, refund_one.send_n, CLASS_FAILED), T0 + 21 * SEC, &policy);
    assert_int_equal(refund_one.state, REFUND_FAILED);
    assert_true(slice_is(refund_one.fail_code, "CODE"));
    assert_int_equal(paid_one.refund_reserved, 0);
    /* and again: money that goes out after all is a case, and no second giving back */
    tell(told(CALL_REFUND_QUERY, refund_one.send_n + 1, CLASS_SUCCESS), T0 + 22 * SEC, &policy);
    assert_int_equal(step.verdict, STEP_RECORD);
    assert_true(step.open_case);
}

/* Unknown is not failure, and a failure after an unknown attempt is not definite. */
static void test_unknown(void **state)
{
    struct payment_event e;

    (void)state;
    start(100);
    e = told(CALL_REFUND, refund_one.send_n, CLASS_UNKNOWN);
    e.sent = SENT_MAYBE;
    tell(e, T0 + 25 * SEC, &policy);
    assert_was(UNKNOWN);
    assert_int_equal(refund_one.state, REFUND_PROCESSING);
    tell(timer, refund_one.due_at, &policy);
    tell(told(CALL_REFUND_QUERY, step.attempt.n, CLASS_NOT_FOUND), refund_one.due_at, &policy);
    assert_was(QUERY_NOT_FOUND); /* long settled: the same number goes out again */
    assert_int_equal(step.attempt.kind, CALL_REFUND);
    tell(told(CALL_REFUND, refund_one.send_n, CLASS_FAILED), refund_one.due_at, &policy);
    assert_was(REFUSED_DOUBTED);
    assert_int_equal(refund_one.state, REFUND_PROCESSING);
    assert_int_equal(paid_one.refund_reserved, 100);
    /* a channel that goes on so is brought before a person */
    for (int i = 0; i < 3 && !step.open_case; i++) {
        tell(timer, refund_one.due_at, &policy);
        tell(told(CALL_REFUND_QUERY, step.attempt.n, CLASS_NOT_FOUND),
             refund_one.send_before + 60 * SEC, &policy);
        assert_was(QUERY_NOT_FOUND);
        tell(told(CALL_REFUND, refund_one.send_n, CLASS_REFUSED), refund_one.send_before + 60 * SEC,
             &policy);
    }
    assert_was(REFUSED_LONG);
    assert_true(slice_is(step.case_kind, "refund_refused"));
    assert_int_equal(refund_one.state, REFUND_PROCESSING);
}

static void test_not_found_proves_little(void **state)
{
    struct payment_policy once = policy;
    struct payment_event e;

    (void)state;
    start(100);
    tell(told(CALL_REFUND_QUERY, 9, CLASS_NOT_FOUND), refund_one.send_before + 29 * SEC, &policy);
    assert_was(QUERY_NOT_FOUND_EARLY);
    e = told(CALL_REFUND_QUERY, 9, CLASS_NOT_FOUND);
    e.asked = paid_one.version - 1;
    tell(e, refund_one.send_before + 30 * SEC, &policy);
    assert_was(QUERY_NOT_FOUND_EARLY);
    e.asked = paid_one.version;
    e.asked_at = refund_one.send_before + 29 * SEC; /* asked then, answered later */
    tell(e, refund_one.send_before + 90 * SEC, &policy);
    assert_was(QUERY_NOT_FOUND_EARLY);
    once.refund_resend = false;
    tell(told(CALL_REFUND_QUERY, 9, CLASS_NOT_FOUND), refund_one.send_before + 30 * SEC, &once);
    assert_was(QUERY_NOT_FOUND_KEEP);
    assert_int_equal(refund_one.state, REFUND_PROCESSING);
}

static void test_not_sent_is_sent_again_for_ever(void **state)
{
    bool asked = false;

    (void)state;
    start(100);
    for (unsigned i = 0; i < 20; i++) {
        tell(not_sent(CALL_REFUND, refund_one.send_n), refund_one.due_at, &policy);
        assert_int_equal(refund_one.due_kind, CALL_REFUND);
        asked = asked || step.open_case;
        tell(timer, refund_one.due_at, &policy);
        assert_was(TIMER_SEND);
        assert_int_equal(step.attempt.kind, CALL_REFUND);
    }
    assert_true(asked);
    assert_int_equal(refund_one.state, REFUND_PROCESSING);
    /* none of the earlier ones was passed on: this refusal is definite */
    tell(told(CALL_REFUND, refund_one.send_n, CLASS_REFUSED), refund_one.due_at, &policy);
    assert_was(REFUSED);
}

static void test_amounts(void **state)
{
    struct payment_event e = success(PAYMENT_EVENT_NOTIFY, 0, 299);

    (void)state;
    start(300);
    tell(e, T0 + 30 * SEC, &policy);
    assert_was(NOTIFY_MISMATCH);
    assert_true(step.open_case && step.mismatch);
    assert_int_equal(paid_one.refunded, 0);
    e.amount = 300;
    tell(e, T0 + 31 * SEC, &policy);
    assert_was(NOTIFY_DONE);
    tell(e, T0 + 32 * SEC, &policy);
    assert_int_equal(step.verdict, STEP_NOTHING); /* told twice: once counted */
    assert_int_equal(paid_one.refunded, 300);
}

/* ---- sums on random lives ---- */

#define REFUNDS 64

static struct payment_event random_event(const struct refund *r)
{
    static const enum payment_event_kind kinds[] = {PAYMENT_EVENT_REFUND, PAYMENT_EVENT_ANSWER,
                                                    PAYMENT_EVENT_NOTIFY, PAYMENT_EVENT_TIMER};
    struct payment_event e =
        told(random() % 2 ? CALL_REFUND : CALL_REFUND_QUERY,
             random() % 4 ? r->send_n : (uint32_t)(random() % 9), random() % ANSWER_CLASS_COUNT);

    e.kind = r->state == REFUND_NONE ? PAYMENT_EVENT_REFUND : kinds[random() % 4];
    e.sent = random() % 4 ? SENT_ANSWERED : (enum sent)(random() % 4);
    e.amount = random() % 3 ? -1 : r->amount - random() % 2;
    return e;
}

static void check_sums(const struct refund *refunds)
{
    int64_t reserved = 0, done = 0;

    for (unsigned i = 0; i < REFUNDS; i++) {
        if (refunds[i].state == REFUND_PROCESSING || refunds[i].state == REFUND_SUCCEEDED)
            reserved += refunds[i].amount;
        if (refunds[i].state == REFUND_SUCCEEDED)
            done += refunds[i].amount;
    }
    assert_int_equal(paid_one.refund_reserved, reserved);
    assert_int_equal(paid_one.refunded, done);
    assert_true(done <= reserved && reserved <= paid_one.amount);
}

static void test_sums_hold(void **state)
{
    unsigned finals[REFUND_STATE_COUNT] = {0};

    (void)state;
    srandom(1);
    for (unsigned life = 0; life < 300; life++) {
        struct refund refunds[REFUNDS] = {{0}};
        pay_time_t now = T0 + 20 * SEC;

        paid_one = paid();
        for (unsigned i = 0; i < REFUNDS; i++)
            refunds[i] = (struct refund){.id = 100 + i, .amount = random() % 100};
        for (unsigned turn = 0; turn < 600; turn++) {
            struct refund *r = &refunds[random() % REFUNDS];
            enum refund_state before = r->state;

            now += random() % (60 * SEC);
            refund_one = *r;
            tell(random_event(r), now, &policy);
            *r = refund_one;
            if (refund_state_final(before))
                assert_int_equal(r->state, before); /* R2.2: no actor moves a final state */
            if (step.verdict == STEP_COMMIT)
                assert_int_equal(step.callback, refund_state_final(r->state));
            check_sums(refunds);
        }
        for (unsigned i = 0; i < REFUNDS; i++)
            finals[refunds[i].state]++;
    }
    for (unsigned s = 0; s < REFUND_STATE_COUNT; s++)
        assert_true(finals[s] > 0); /* each was reached */
}

/* Money that came over a channel that had refused the order: it counts in extra_paid alone. */
static void test_extra_money(void **state)
{
    struct payment p = order();
    struct refund r = {.id = 9,
                       .state = REFUND_PROCESSING,
                       .amount = 888,
                       .command_seq = 1,
                       .channel = SLICE("one"),
                       .due_at = T0,
                       .due_kind = CALL_REFUND},
                  sent, done;
    struct payment_event e = {.kind = PAYMENT_EVENT_TIMER};

    (void)state;
    p.state = PAYMENT_CLOSED;
    p.command_seq = 2;
    p.version = 7;
    p.extra_paid = 888;
    refund_decide(&p, &r, &e, T0, &policy, &step, &sent);
    assert_int_equal(step.attempt.kind, CALL_REFUND);
    assert_int_equal(step.attempt.command_seq, 1);
    e = answer(CALL_REFUND, step.attempt.n, CLASS_SUCCESS);
    p = step.after;
    refund_decide(&p, &sent, &e, T0 + SEC, &policy, &step, &done);
    assert_int_equal(done.state, REFUND_SUCCEEDED);
    assert_int_equal(step.after.extra_paid, 0);
    assert_int_equal(step.after.refunded, 0);
    assert_true(step.callback);
    e.cls = CLASS_FAILED;
    refund_decide(&p, &sent, &e, T0 + SEC, &policy, &step, &done);
    assert_int_equal(done.state, REFUND_FAILED);
    assert_int_equal(step.after.extra_paid, 888);
    assert_int_equal(step.after.refund_reserved, 0);
    assert_true(step.open_case && slice_is(step.case_kind, "extra_not_refunded"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table_is_the_matrix),
        cmocka_unit_test(test_accepted_then_done),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_definite_failure_gives_the_money_back),
        cmocka_unit_test(test_unknown),
        cmocka_unit_test(test_not_found_proves_little),
        cmocka_unit_test(test_not_sent_is_sent_again_for_ever),
        cmocka_unit_test(test_amounts),
        cmocka_unit_test(test_sums_hold),
        cmocka_unit_test(test_extra_money),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
