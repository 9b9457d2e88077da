/*
 * What several sends under one number prove together: every sequence of what may become of them,
 * against rules written in one line each. A refusal is definite when no earlier send can have done
 * anything; what may be sent once goes out again when nothing of it ever left.
 */
#include "domain_test.h"

#include "backends/domain/refund.h"

#define SENDS 3
/* never passed on, not executed; no answer, an answer that says nothing */
enum fate { NOT_SENT, BUSY, SILENT, GARBLED, FATES };

static struct payment_event became(enum call_kind call, uint32_t n, enum fate fate)
{
    struct payment_event e;

    if (fate == NOT_SENT)
        return not_sent(call, n);
    e = answer(call, n, fate == BUSY ? CLASS_TOO_FREQUENT : CLASS_UNKNOWN);
    if (fate == SILENT)
        e.sent = SENT_MAYBE;
    return e;
}

static bool all(const enum fate *fates, unsigned n, enum fate fate)
{
    for (unsigned i = 0; i < n; i++)
        if (fates[i] != fate)
            return false;
    return true;
}

/* Nothing can have been done by any of them. */
static bool harmless(const enum fate *fates, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        if (fates[i] == SILENT || fates[i] == GARBLED)
            return false;
    return true;
}

static void fates_of(unsigned number, enum fate *fates)
{
    for (unsigned i = 0; i < SENDS; i++, number /= FATES)
        fates[i] = (enum fate)(number % FATES);
}

/* ---- payments ---- */

static struct payment image;
static pay_time_t at;

static void tell(struct payment_event e, const struct payment_policy *pol)
{
    image = after(&image, e, at, pol);
}

/* What the timer brings until the next prepare; false when none may go out. */
static bool prepared_again(const struct payment_policy *pol)
{
    uint32_t before = image.prepare_n;

    for (int turns = 0; turns < 6; turns++) {
        at = image.due_at;
        tell(timer, pol);
        if (image.prepare_n == before && step.attempt.kind == CALL_QUERY) {
            at += pol->send_window + pol->settle;
            tell(answer(CALL_QUERY, image.attempts, CLASS_NOT_FOUND), pol);
        }
        if (image.prepare_n != before)
            return true;
    }
    return false;
}

static void check_ends(const enum fate *fates, unsigned n, const struct payment_policy *pol)
{
    const struct payment open = image;
    bool unsent = all(fates, n, NOT_SENT);

    assert_int_equal(image.maybe_sent, !unsent);
    after(&open, timer, image.time_expire + SEC, pol);
    assert_int_equal(step.input == INPUT_TIMER_EXPIRED_UNSENT, unsent);
    assert_int_equal(slice_is(step.after.fail_code, "NOT_SENT"), unsent);
    after(&open, merchant_close, at, pol);
    assert_int_equal(step.input == INPUT_MERCHANT_CLOSE_UNSENT, unsent);
    assert_int_equal(slice_is(step.after.fail_code, "NOT_SENT"), unsent);
    /* closed there: early as long as something may arrive */
    after(&open, answer(CALL_CLOSE, 99, CLASS_SUCCESS), image.prepare_before + pol->settle - 1,
          pol);
    assert_int_equal(step.input == INPUT_CLOSE_DONE_EARLY, !harmless(fates, n));
    after(&open, answer(CALL_CLOSE, 99, CLASS_SUCCESS), image.prepare_before + pol->settle, pol);
    assert_input(CLOSE_DONE);
    assert_true(slice_is(step.after.fail_code, "CODE"));
}

static void check_prepares(const enum fate *fates, const struct payment_policy *pol)
{
    struct payment p = order();

    at = T0;
    image = after(&p, (struct payment_event){.kind = PAYMENT_EVENT_CREATE}, at, pol);
    for (unsigned i = 0; i < SENDS; i++) {
        struct payment_event refusal = answer(CALL_PREPARE, image.prepare_n, CLASS_FAILED);
        const struct payment sent = image;

        at += SEC;
        after(&sent, refusal, at, pol);
        assert_int_equal(step.after.state == PAYMENT_FAILED, harmless(fates, i));
        if (step.after.state == PAYMENT_FAILED)
            assert_true(slice_is(step.after.fail_code, "CODE"));
        tell(became(CALL_PREPARE, image.prepare_n, fates[i]), pol);
        assert_int_equal(image.not_sent, sent.not_sent + (fates[i] == NOT_SENT));
        if (i + 1 == pol->not_sent_limit && all(fates, i + 1, NOT_SENT)) {
            assert_input(PREPARE_GIVEN_UP);
            assert_true(slice_is(image.fail_code, "NOT_SENT"));
            return;
        }
        assert_int_equal(image.state, PAYMENT_PROCESSING);
        assert_int_equal(image.busy_kind, CALL_NONE);
        /* told twice, or of a call that is none: nothing more is known */
        p = after(&image, became(CALL_PREPARE, image.prepare_n, NOT_SENT), at, pol);
        assert_int_equal(p.not_sent, image.not_sent + !harmless(&fates[i], 1));
        p = after(&sent, became(CALL_QUERY, image.prepare_n, NOT_SENT), at, pol);
        assert_int_equal(p.prepare_last, MARK_OPEN);
        if (i) { /* an earlier one's late word */
            p = after(&sent, became(CALL_PREPARE, image.prepare_n - 1, NOT_SENT), at, pol);
            assert_int_equal(p.prepare_last, MARK_OPEN);
            assert_true(p.maybe_sent);
        }
        check_ends(fates, i + 1, pol);
        assert_int_equal(prepared_again(pol), pol->prepare_resend || all(fates, i + 1, NOT_SENT));
        if (image.prepare_n == sent.prepare_n)
            return;
    }
}

static void test_prepares(void **state)
{
    struct payment_policy pol = policy;

    (void)state;
    pol.not_sent_limit = SENDS;
    for (unsigned number = 0; number < FATES * FATES * FATES; number++)
        for (int resend = 0; resend < 2; resend++) {
            enum fate fates[SENDS];

            fates_of(number, fates);
            pol.prepare_resend = resend;
            check_prepares(fates, &pol);
        }
}

/* An address that the payer takes there himself is dead when he cannot have come any more. */
static void test_local_close(void **state)
{
    struct payment_policy local = policy;
    struct payment p = pending();

    (void)state;
    local.prepare_local = true;
    for (int64_t off = -1; off <= 1; off++) {
        after(&p, answer(CALL_CLOSE, 2, CLASS_NOT_FOUND), p.time_expire + local.settle + off,
              &local);
        assert_int_equal(step.input == INPUT_CLOSE_DONE, off >= 0);
    }
}

static void test_not_sent_charge(void **state)
{
    struct payment c = charged(), p;

    (void)state;
    p = after(&c, not_sent(CALL_CHARGE, 1), T0 + SEC, &policy);
    assert_true(slice_is(p.fail_code, "NOT_SENT"));
    p = after(&c, answer(CALL_CHARGE, 1, CLASS_FAILED), T0 + SEC, &policy);
    assert_true(slice_is(p.fail_code, "CODE"));
}

/* ---- refunds ---- */

static struct refund refund;

static void tell_refund(struct payment_event e, const struct payment_policy *pol)
{
    const struct payment p = image;
    const struct refund r = refund;

    e.id = 1;
    e.asked = p.version;
    e.asked_at = at;
    refund_decide(&p, &r, &e, at, pol, &step, &refund);
    image = step.after;
}

static bool refund_sent_again(const struct payment_policy *pol)
{
    uint32_t before = refund.send_n;

    for (int turns = 0; turns < 6; turns++) {
        at = refund.due_at;
        tell_refund(timer, pol);
        if (refund.send_n == before) {
            assert_int_equal(step.attempt.kind, CALL_REFUND_QUERY);
            at += pol->send_window + pol->settle;
            tell_refund(answer(CALL_REFUND_QUERY, image.attempts, CLASS_NOT_FOUND), pol);
        }
        if (refund.send_n != before)
            return true;
        assert_string_equal(step.input_name, "REFUND_QUERY_NOT_FOUND_KEEP");
        assert_true(step.open_case && slice_is(step.case_kind, "refund_not_found"));
    }
    return false;
}

/* What the refund would be after this word about it. */
static struct refund would_be(struct payment_event e, const struct payment_policy *pol)
{
    const struct payment p = image;
    const struct refund r = refund;
    struct refund next;

    tell_refund(e, pol);
    next = refund;
    image = p;
    refund = r;
    return next;
}

static void check_sends(const enum fate *fates, const struct payment_policy *pol)
{
    image = pending();
    image.state = PAYMENT_SUCCEEDED;
    refund = (struct refund){.id = 7, .amount = 100};
    at = T0;
    tell_refund((struct payment_event){.kind = PAYMENT_EVENT_REFUND, .amount = -1}, pol);
    for (unsigned i = 0; i < SENDS; i++) {
        struct refund next;

        assert_int_equal(step.attempt.kind, CALL_REFUND);
        assert_int_equal(refund.send_n, image.attempts);
        assert_int_equal(refund.send_before, at + pol->send_window);
        at += SEC;
        next = would_be(answer(CALL_REFUND, refund.send_n, CLASS_FAILED), pol);
        assert_int_equal(next.state == REFUND_FAILED, harmless(fates, i));
        /* of a query, or of an earlier send: nothing is known of the latest */
        next = would_be(became(CALL_REFUND_QUERY, refund.send_n, NOT_SENT), pol);
        assert_int_equal(next.send_last, MARK_OPEN);
        for (int fate = 0; i && fate < FATES; fate++) {
            next = would_be(became(CALL_REFUND, refund.send_n - 1, (enum fate)fate), pol);
            assert_string_equal(step.input_name, "REFUND_UNKNOWN");
            assert_int_equal(next.send_last, MARK_OPEN);
            assert_int_equal(next.not_sent, refund.not_sent);
        }
        if (i)
            assert_int_equal(
                would_be(answer(CALL_REFUND, refund.send_n - 1, CLASS_FAILED), pol).state,
                REFUND_PROCESSING);
        tell_refund(became(CALL_REFUND, refund.send_n, fates[i]), pol);
        next = would_be(became(CALL_REFUND, refund.send_n, NOT_SENT), pol); /* told twice */
        assert_int_equal(next.not_sent, refund.not_sent + !harmless(&fates[i], 1));
        assert_int_equal(refund_sent_again(pol), pol->refund_resend || all(fates, i + 1, NOT_SENT));
        if (step.attempt.kind != CALL_REFUND)
            return;
    }
}

static void test_refunds(void **state)
{
    struct payment_policy pol = policy;

    (void)state;
    for (unsigned number = 0; number < FATES * FATES * FATES; number++)
        for (int resend = 0; resend < 2; resend++) {
            enum fate fates[SENDS];

            fates_of(number, fates);
            pol.refund_resend = resend;
            check_sends(fates, &pol);
        }
}

/* A person hears of what goes on for ever, each eighth time. */
static void test_for_ever(void **state)
{
    (void)state;
    for (uint32_t tries = 0; tries < 20; tries++) {
        image = pending();
        image.state = PAYMENT_SUCCEEDED;
        image.attempts = 5;
        at = T0 + 9 * SEC;
        refund = (struct refund){.id = 7,
                                 .state = REFUND_PROCESSING,
                                 .amount = 100,
                                 .send_n = 5,
                                 .send_last = MARK_OPEN,
                                 .send_past = MARK_OPEN,
                                 .not_sent = tries,
                                 .due_at = T0,
                                 .due_tries = tries};
        would_be(answer(CALL_REFUND, 5, CLASS_REFUSED), &policy);
        assert_int_equal(step.open_case, tries >= REFUND_REFUSED_LONG);
        assert_true(!step.open_case || slice_is(step.case_kind, "refund_refused"));
        would_be(not_sent(CALL_REFUND, 5), &policy);
        assert_int_equal(step.open_case, (tries + 1) % REFUND_NOT_SENT_LONG == 0);
        assert_true(!step.open_case || slice_is(step.case_kind, "refund_not_sent"));
    }
}

/* What a refund's case is called, and what is taken from an answer. */
static void test_words_of_refunds(void **state)
{
    static const struct {
        enum refund_state state;
        enum payment_event_kind kind;
        enum call_kind call;
        enum answer_class cls;
        int64_t amount;
        const char *word;
    } cases[] = {
        {REFUND_PROCESSING, PAYMENT_EVENT_NOTIFY, 0, CLASS_SUCCESS, 99, "refund_mismatch"},
        {REFUND_PROCESSING, PAYMENT_EVENT_ANSWER, CALL_REFUND_QUERY, CLASS_SUCCESS, 99,
         "refund_mismatch"},
        {REFUND_SUCCEEDED, PAYMENT_EVENT_ANSWER, CALL_REFUND_QUERY, CLASS_NOT_FOUND, -1,
         "refund_not_found"},
        {REFUND_SUCCEEDED, PAYMENT_EVENT_NOTIFY, 0, CLASS_FAILED, -1, "refund_contradiction"},
        {REFUND_FAILED, PAYMENT_EVENT_ANSWER, CALL_REFUND, CLASS_SUCCESS, -1,
         "refund_contradiction"},
        {REFUND_NONE, PAYMENT_EVENT_NOTIFY, 0, CLASS_SUCCESS, -1, "refund_contradiction"}};

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct payment_event e = answer(cases[i].call, 1, cases[i].cls);

        image = pending();
        image.state = PAYMENT_SUCCEEDED;
        at = T0 + 900 * SEC;
        refund = (struct refund){.id = 7, .state = cases[i].state, .amount = 100, .send_n = 1};
        e.kind = cases[i].kind;
        e.amount = cases[i].amount;
        would_be(e, &policy);
        assert_true(step.open_case);
        if (!slice_is(step.case_kind, cases[i].word))
            fail_msg("%zu: %.*s", i, SLICE_FMT(step.case_kind));
        if (cases[i].kind == PAYMENT_EVENT_ANSWER)
            assert_int_equal(step.outcome.n, 1);
    }
    refund = (struct refund){.id = 7}; /* no refund, so no attempt of it */
    would_be(answer(CALL_REFUND, 1, CLASS_SUCCESS), &policy);
    assert_int_equal(step.outcome.n, 0);
    assert_int_equal(step.verdict, STEP_NOTHING);
}

static void test_taken_from_answers(void **state)
{
    struct payment_event e = answer(CALL_REFUND_QUERY, 1, CLASS_ACCEPTED);
    const struct refund known = {.id = 7,
                                 .state = REFUND_PROCESSING,
                                 .amount = 100,
                                 .send_n = 1,
                                 .send_last = MARK_OPEN,
                                 .channel_refund_no = SLICE("CR1"),
                                 .due_at = T0};

    (void)state;
    image = pending();
    image.state = PAYMENT_SUCCEEDED;
    at = T0 + SEC;
    refund = known;
    e.channel_trade_no = SLICE("CR2");
    assert_true(slice_is(would_be(e, &policy).channel_refund_no, "CR1")); /* it only waits */
    e.cls = CLASS_SUCCESS;
    assert_true(slice_is(would_be(e, &policy).channel_refund_no, "CR2"));
    assert_int_equal(would_be(e, &policy).succeeded_at, at);
    e.channel_trade_no = SLICE_NULL;
    e.paid_at = T0 + 5;
    assert_true(slice_is(would_be(e, &policy).channel_refund_no, "CR1"));
    assert_int_equal(would_be(e, &policy).succeeded_at, T0 + 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_prepares),           cmocka_unit_test(test_local_close),
        cmocka_unit_test(test_not_sent_charge),    cmocka_unit_test(test_refunds),
        cmocka_unit_test(test_for_ever),           cmocka_unit_test(test_words_of_refunds),
        cmocka_unit_test(test_taken_from_answers),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
