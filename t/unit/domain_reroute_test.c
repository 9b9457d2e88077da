/*
 * Orders that go on to another channel (R3.6), and the money that nobody waits for: over a channel
 * that had refused, or for an order that has ended without it (R2.9).
 */
#include "domain_test.h"

static struct payment_event refused(const struct payment *p, struct slice channel)
{
    struct payment_event e =
        answer(payment_is_charge(p) ? CALL_CHARGE : CALL_PREPARE, p->attempts, CLASS_REFUSED);

    e.next_channel = channel;
    e.next_account = SLICE("second");
    e.seq = p->command_seq;
    return e;
}

/* R3.6: only after a refusal, at most so often, each time as a new command. */
static void test_refused_goes_to_the_next_channel(void **state)
{
    struct payment_policy twice = policy;
    struct payment c = order(), p, q;
    struct payment_event late;

    (void)state;
    twice.reroute = 2;
    c.time_expire = T0 + 60 * SEC; /* before the first query */
    c.channel = SLICE("one");
    c.account = SLICE("main");
    for (int charge = 0; charge < 2; charge++) {
        c.method = charge ? METHOD_BARCODE : METHOD_NATIVE;
        p = after(&c, (struct payment_event){.kind = PAYMENT_EVENT_CREATE}, T0, &twice);
        for (unsigned cls = 0; cls < ANSWER_CLASS_COUNT; cls++) {
            struct payment_event e = refused(&p, SLICE("two"));

            e.cls = (enum answer_class)cls;
            after(&p, e, T0 + SEC, &twice);
            assert_int_equal(step.input == INPUT_REROUTE, cls == CLASS_REFUSED);
            e.sent = SENT_MAYBE;
            after(&p, e, T0 + SEC, &twice);
            assert_int_not_equal(step.input, INPUT_REROUTE);
        }
        q = p; /* not what somebody has asked about, or wants closed, meanwhile */
        q.version++;
        late = refused(&p, SLICE("two"));
        late.asked = p.version;
        q = after(&q, late, T0 + SEC, &twice);
        assert_int_equal(q.state, PAYMENT_FAILED);
        p.not_sent = p.due_tries = 3; /* of the first one's sends */
        p = after(&p, refused(&p, SLICE("two")), T0 + SEC, &twice);
        assert_int_equal(p.not_sent, 0);
        assert_int_equal(p.due_tries, 0);
        assert_true(slice_is(p.account, "second") && slice_is(p.past[0].account, "main"));
        assert_int_equal(p.command_seq, 2);
        assert_true(slice_is(p.channel, "two") && slice_is(p.past[0].channel, "one"));
        assert_int_equal(step.attempt.kind, charge ? CALL_CHARGE : CALL_PREPARE);
        assert_int_equal(step.attempt.command_seq, 2);
        assert_int_equal(p.prepare_past, MARK_UNSENT);
        assert_int_equal(p.prepare_before, T0 + SEC + policy.send_window);
        q = after(&p, refused(&p, SLICE("three")), T0 + 2 * SEC, &twice);
        assert_int_equal(q.command_seq, 3);
        q = after(&q, refused(&q, SLICE("four")), T0 + 3 * SEC, &twice);
        assert_int_equal(q.state, PAYMENT_FAILED);
        p = after(&p, refused(&p, SLICE_NULL), T0 + 2 * SEC, &twice);
        assert_int_equal(p.state, PAYMENT_FAILED);
    }
}

/* What comes over a channel that had refused goes back, once, in every state. */
static void test_money_over_a_channel_that_refused(void **state)
{
    struct payment_policy twice = policy;
    struct payment p = created(), q;
    struct payment_event paid = success(PAYMENT_EVENT_NOTIFY, 0, 888);

    (void)state;
    twice.reroute = 2;
    p.channel = SLICE("one");
    p = after(&p, refused(&p, SLICE("two")), T0 + SEC, &twice);
    for (unsigned s = PAYMENT_PROCESSING; s < PAYMENT_STATE_COUNT; s++) {
        p.state = (enum payment_state)s;
        paid.seq = 1;
        q = after(&p, paid, T0 + 9 * SEC, &twice);
        assert_input(OTHER_PAID);
        assert_int_equal(q.state, s);
        assert_int_equal(q.extra_paid, 888);
        assert_int_equal(step.extra.seq, 1);
        assert_int_equal(step.extra.amount, 888);
        assert_true(slice_is(step.extra.channel, "one"));
        assert_false(step.callback);
        after(&q, paid, T0 + 10 * SEC, &twice); /* told again */
        assert_input(OTHER_NEWS);
        assert_int_equal(step.verdict, STEP_NOTHING);
    }
    p.state = PAYMENT_PENDING;
    paid.seq = 2;
    q = after(&p, paid, T0 + 9 * SEC, &twice);
    assert_input(NOTIFY_PAID);
    assert_int_equal(q.state, PAYMENT_SUCCEEDED);
}

/* Told again is no news; paid again, as the channel's number says, is before a person. */
static void test_extra_money_told_and_paid_again(void **state)
{
    struct payment_policy twice = policy;
    struct payment p = created();
    struct payment_event paid = success(PAYMENT_EVENT_NOTIFY, 0, 888), again = paid, silent = paid;

    (void)state;
    twice.reroute = 2;
    paid.seq = again.seq = silent.seq = 1;
    again.channel_trade_no = SLICE("B2");
    silent.channel_trade_no = SLICE_NULL;
    p = after(&p, refused(&p, SLICE("two")), T0 + SEC, &twice);
    p = after(&p, paid, T0 + 9 * SEC, &twice);
    assert_true(slice_is(p.past[0].trade_no, "B1"));
    after(&p, silent, T0 + 10 * SEC, &twice);
    assert_input(OTHER_NEWS);
    after(&p, again, T0 + 10 * SEC, &twice);
    assert_input(SECOND_PAID);
    assert_true(step.open_case && slice_is(step.case_kind, "second_success"));
    assert_int_equal(step.extra.seq, 0);
    p.past[0].trade_no = SLICE_NULL; /* unknown: nothing can be compared */
    after(&p, again, T0 + 10 * SEC, &twice);
    assert_input(OTHER_NEWS);
    p.command_seq = 5; /* more than are remembered */
    again.seq = 3;
    after(&p, again, T0 + 10 * SEC, &twice);
    assert_input(OTHER_NEWS);
}

/* What is no payment is no news; another sum is a person's. */
static void test_other_news(void **state)
{
    struct payment_policy twice = policy;
    struct payment p = created();
    struct payment_event e;

    (void)state;
    twice.reroute = 2;
    p = after(&p, refused(&p, SLICE("two")), T0 + SEC, &twice);
    for (unsigned call = 0; call < CALL_KIND_COUNT; call++)
        for (unsigned cls = 0; cls < ANSWER_CLASS_COUNT; cls++)
            for (int64_t amount = -1; amount <= 888; amount += 889)
                for (int answered = 0; answered < 2; answered++) {
                    bool money = (call == CALL_QUERY || call == CALL_CHARGE) && answered &&
                                 cls == CLASS_SUCCESS;

                    e = answer((enum call_kind)call, 1, (enum answer_class)cls);
                    e.seq = 1;
                    e.amount = amount;
                    e.sent = answered ? SENT_ANSWERED : SENT_MAYBE;
                    after(&p, e, T0 + 9 * SEC, &twice);
                    assert_int_equal(step.input, !money          ? INPUT_OTHER_NEWS
                                                 : amount == 888 ? INPUT_OTHER_PAID
                                                                 : INPUT_QUERY_MISMATCH);
                    e.kind = PAYMENT_EVENT_NOTIFY;
                    after(&p, e, T0 + 9 * SEC, &twice);
                    assert_int_equal(step.input, cls != CLASS_SUCCESS ? INPUT_OTHER_NEWS
                                                 : amount == 888      ? INPUT_OTHER_PAID
                                                                      : INPUT_NOTIFY_MISMATCH);
                }
}

/* R2.9: money for an order that has ended without it goes back once, where the policy says so. */
static void test_late_success(void **state)
{
    struct payment_policy back = policy;
    struct payment_event paid = success(PAYMENT_EVENT_NOTIFY, 0, 888), again = paid;
    struct payment p = pending(), q;

    (void)state;
    p.channel = SLICE("one");
    p.account = SLICE("main");
    again.channel_trade_no = SLICE("B2");
    for (unsigned s = PAYMENT_PROCESSING; s < PAYMENT_STATE_COUNT; s++) {
        bool late = s == PAYMENT_FAILED || s == PAYMENT_CLOSED;

        p.state = (enum payment_state)s;
        back.late_refund = false;
        after(&p, paid, T0 + 9 * SEC, &back);
        assert_input(NOTIFY_PAID);
        assert_int_equal(step.open_case, late);
        back.late_refund = true;
        q = after(&p, paid, T0 + 9 * SEC, &back);
        assert_int_equal(step.input == INPUT_LATE_PAID, late);
        if (!late)
            continue;
        assert_int_equal(q.state, s);
        assert_false(step.open_case || step.callback);
        assert_int_equal(q.extra_paid, 888);
        assert_int_equal(step.extra.seq, 1);
        assert_int_equal(step.extra.amount, 888);
        assert_true(slice_is(step.extra.channel, "one") && slice_is(step.extra.account, "main"));
        assert_true(slice_is(q.past[0].channel, "one") && slice_is(q.past[0].account, "main"));
        after(&q, paid, T0 + 10 * SEC, &back);
        assert_input(OTHER_NEWS);
        assert_int_equal(step.verdict, STEP_NOTHING);
        after(&q, again, T0 + 10 * SEC, &back);
        assert_input(SECOND_PAID);
        assert_true(step.open_case);
        again.amount = 887;
        after(&q, again, T0 + 10 * SEC, &back);
        assert_input(NOTIFY_MISMATCH);
        again.amount = 888;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refused_goes_to_the_next_channel),
        cmocka_unit_test(test_money_over_a_channel_that_refused),
        cmocka_unit_test(test_extra_money_told_and_paid_again),
        cmocka_unit_test(test_other_news),
        cmocka_unit_test(test_late_success),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
