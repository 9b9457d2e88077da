#include "core/breaker.h"

#include "core_test.h"

#define T0 100000000LL

static const struct breaker_policy policy = {
    .enabled = true,
    .limits = {[BREAKER_REACHABLE] = {12, 50},
               [BREAKER_AVAILABLE] = {12, 50},
               [BREAKER_IN_TIME] = {0, 80},
               [BREAKER_SLA] = {0, 10}},
    .calls = 20,
    .probes = 3,
    .slow_ms = 5000,
    .sla_ms = {[0] = 2000, [1] = 500},
    .window_ms = 10000,
    .wait_ms = 5000,
    .step_ms = 30000,
};

/* Kinds of results. */
static const struct breaker_call fine = {0, true, true, true, 50};
static const struct breaker_call query = {1, false, true, true, 50};
static const struct breaker_call slow = {0, true, true, true, 5001};
static const struct breaker_call late = {0, true, true, true, 2001}; /* of its SLA only */
static const struct breaker_call failed = {0, true, true, false, 50};
static const struct breaker_call lost = {0, true, false, false, 50};

static struct breaker b;
static int64_t now;

/* A result, and what the caller does with it. */
static enum breaker_reason result(const struct breaker_call *c)
{
    enum breaker_reason reason = breaker_call(&b, &policy, now, c);

    if (reason != BREAKER_FINE)
        breaker_open(&b, &policy, now, reason);
    return reason;
}

/* Of payments; others are told in a test of their own. */
static enum breaker_reason answers(const struct breaker_policy *p, uint32_t good, uint32_t bad)
{
    struct breaker_answers a = {{good, good}, {bad, bad}};

    return breaker_outcomes(&b, p, now, &a);
}

static void results(const struct breaker_call *c, int n)
{
    while (n-- > 0)
        result(c);
}

static void pass(int64_t ms)
{
    now += ms;
    breaker_tick(&b, &policy, now);
}

static void fresh(void)
{
    memset(&b, 0, sizeof(b));
    now = T0;
}

static void open_it(void)
{
    fresh();
    results(&lost, 12);
    assert_int_equal(b.state, BREAKER_OPEN);
}

static void assert_state(enum breaker_state state, uint32_t share)
{
    if (b.state != (uint8_t)state)
        fail_msg("state %s, want %s", breaker_state_name((enum breaker_state)b.state),
                 breaker_state_name(state));
    assert_int_equal(breaker_share(&b), share);
}

static void test_zero_is_closed(void **state)
{
    (void)state;
    fresh();
    assert_state(BREAKER_CLOSED, 100);
    assert_true(breaker_admit(&b));
    assert_false(breaker_offer(&b));
    assert_int_equal(breaker_level(&b, &policy), BREAKER_SLA);
    breaker_tick(&b, &policy, now);
    assert_state(BREAKER_CLOSED, 100);
}

/* What trips it: a number of results of two kinds, mixed in turn, then what is expected. */
static void test_trips(void **state)
{
    static const struct {
        const char *name;
        const struct breaker_call *first, *second;
        int nfirst, nsecond; /* in each round */
        int rounds;
        enum breaker_reason reason;
        enum breaker_level level;
    } table[] = {
        {"11 lost", &lost, NULL, 11, 0, 1, BREAKER_FINE, BREAKER_SLA},
        {"12 lost", &lost, NULL, 12, 0, 1, BREAKER_UNREACHABLE, BREAKER_OUT},
        {"11 failed", &failed, NULL, 11, 0, 1, BREAKER_FINE, BREAKER_SLA},
        {"12 failed", &failed, NULL, 12, 0, 1, BREAKER_FAILURES, BREAKER_REACHABLE},
        {"12 failed or lost", &failed, &lost, 6, 6, 1, BREAKER_FAILURES, BREAKER_REACHABLE},
        {"a good one between", &failed, &fine, 11, 1, 1, BREAKER_FINE, BREAKER_SLA},
        {"19 calls, all but one bad", &failed, &fine, 9, 1, 1, BREAKER_FINE, BREAKER_SLA},
        {"20 calls, half of them failed", &failed, &fine, 1, 1, 10, BREAKER_ERRORS,
         BREAKER_REACHABLE},
        {"20 calls, half of them lost", &lost, &fine, 1, 1, 10, BREAKER_UNREACHABLE, BREAKER_OUT},
        {"less than half", &fine, &failed, 5, 4, 20, BREAKER_FINE, BREAKER_IN_TIME},
        {"four of five slow", &slow, &fine, 4, 1, 4, BREAKER_SLOW, BREAKER_AVAILABLE},
        {"three of four slow", &slow, &fine, 3, 1, 20, BREAKER_FINE, BREAKER_IN_TIME},
        {"an SLA missed opens nothing", &late, &fine, 1, 4, 20, BREAKER_FINE, BREAKER_IN_TIME},
        {"one of ten misses its SLA", &late, &fine, 1, 9, 4, BREAKER_FINE, BREAKER_IN_TIME},
        {"one of eleven does not matter", &late, &fine, 1, 10, 4, BREAKER_FINE, BREAKER_SLA},
        {"another API keeps its SLA", &query, &late, 20, 1, 4, BREAKER_FINE, BREAKER_SLA},
    };
    (void)state;

    for (size_t i = 0; i < COUNT(table); i++) {
        enum breaker_reason reason = BREAKER_FINE;

        fresh();
        now += 10000; /* slow calls begin after the zero of time */
        for (int r = 0; r < table[i].rounds && reason == BREAKER_FINE; r++) {
            for (int k = 0; k < table[i].nfirst && reason == BREAKER_FINE; k++)
                reason = result(table[i].first);
            for (int k = 0; k < table[i].nsecond && reason == BREAKER_FINE; k++)
                reason = result(table[i].second);
        }
        if (reason != table[i].reason || breaker_level(&b, &policy) != table[i].level)
            fail_msg("%s: %s, level %s", table[i].name, breaker_reason_name(reason),
                     breaker_level_name(breaker_level(&b, &policy)));
        assert_case(b.state == (reason == BREAKER_FINE ? BREAKER_CLOSED : BREAKER_OPEN),
                    table[i].name);
    }
}

/* A limit of 0 is none, level by level. */
static void test_limits_off(void **state)
{
    struct breaker_policy p = policy;
    (void)state;

    memset(p.limits, 0, sizeof(p.limits));
    fresh();
    for (int i = 0; i < 1000; i++) {
        assert_int_equal(breaker_call(&b, &p, now, i % 2 ? &lost : &slow), BREAKER_FINE);
        assert_int_equal(answers(&p, 0, 5), BREAKER_FINE);
    }
    assert_int_equal(breaker_level(&b, &p), BREAKER_SLA);
}

static void test_window_forgets(void **state)
{
    (void)state;
    fresh();
    for (int i = 0; i < 9; i++) {
        results(&failed, 1);
        results(&fine, 1);
    }
    assert_int_equal(breaker_missed_percent(&b, &policy, BREAKER_AVAILABLE), 50);
    now += 11000;
    for (int i = 0; i < 9; i++) {
        assert_int_equal(result(&failed), BREAKER_FINE);
        assert_int_equal(result(&fine), BREAKER_FINE);
        now += 500;
    }
    assert_int_equal(b.sum.views[BREAKER_ALL].calls, 18);
    /* failures in a row must not be far apart */
    fresh();
    for (int i = 0; i < 100; i++) {
        assert_int_equal(result(&failed), BREAKER_FINE);
        now += 10001;
    }
    fresh();
    for (int i = 0; i < 11; i++) {
        assert_int_equal(result(&failed), BREAKER_FINE);
        now += 9999;
    }
    assert_int_equal(result(&failed), BREAKER_FAILURES);
}

static void test_open_to_closed(void **state)
{
    static const uint32_t shares[] = {1, 5, 25, 100};
    (void)state;

    open_it();
    assert_false(breaker_admit(&b));
    pass(4999);
    assert_state(BREAKER_OPEN, 0);
    pass(1);
    assert_state(BREAKER_PROBING, 0);
    for (int i = 0; i < 3; i++) {
        assert_true(breaker_offer(&b));
        assert_true(breaker_admit(&b));
    }
    assert_false(breaker_offer(&b));
    assert_false(breaker_admit(&b));
    now += 100;
    results(&fine, 2);
    assert_state(BREAKER_PROBING, 0);
    results(&query, 1); /* a rescue call probes too */
    for (size_t i = 0; i < COUNT(shares); i++) {
        assert_state(BREAKER_RECOVERING, shares[i]);
        assert_true(breaker_admit(&b));
        pass(29999);
        assert_state(BREAKER_RECOVERING, shares[i]);
        pass(1);
    }
    assert_state(BREAKER_CLOSED, 100);
    assert_int_equal(b.reason, BREAKER_FINE);
    assert_int_equal(breaker_level(&b, &policy), BREAKER_SLA);
}

static void test_probe_fails(void **state)
{
    static const int64_t waits[] = {5000, 10000, 20000, 40000, 40000, 40000};
    (void)state;

    open_it();
    for (size_t i = 0; i < COUNT(waits); i++) {
        pass(waits[i] - 1);
        assert_state(BREAKER_OPEN, 0);
        pass(1);
        assert_state(BREAKER_PROBING, 0);
        now += 100;
        results(&fine, 2);
        assert_int_equal(result(i % 2 ? &slow : &failed), i % 2 ? BREAKER_FINE : BREAKER_PROBE);
        if (i % 2) { /* it began before it was probed: says nothing; one that did not, does */
            now += 6000;
            breaker_tick(&b, &policy, now);
            assert_int_equal(result(&slow), BREAKER_PROBE);
        }
        assert_int_equal(b.reason, BREAKER_UNREACHABLE);
        assert_int_equal(breaker_level(&b, &policy), BREAKER_OUT);
    }
    /* what comes back starts with the short wait again */
    pass(40000);
    now += 100;
    results(&fine, 3);
    for (int i = 0; i < 4; i++)
        pass(30000);
    assert_state(BREAKER_CLOSED, 100);
    results(&lost, 12);
    pass(5000);
    assert_state(BREAKER_PROBING, 0);
}

/* Payments that never ended do not hold their places for ever. */
static void test_probes_lost(void **state)
{
    (void)state;
    open_it();
    pass(5000);
    for (int i = 0; i < 3; i++)
        assert_true(breaker_admit(&b));
    pass(4999);
    assert_false(breaker_admit(&b));
    pass(1);
    assert_state(BREAKER_PROBING, 0);
    assert_true(breaker_offer(&b));
    assert_true(breaker_admit(&b));
}

/* Answers to what was sent before the outage neither close nor open it. */
static void test_old_calls(void **state)
{
    struct breaker_call old = fine, bad = lost;
    (void)state;

    open_it();
    results(&fine, 100); /* rescue calls while it is open change nothing by themselves */
    assert_state(BREAKER_OPEN, 0);
    results(&lost, 100);
    assert_int_equal(b.opened, 1);
    pass(5000);
    old.took_ms = bad.took_ms = 1000;
    results(&old, 10);
    results(&bad, 10);
    assert_state(BREAKER_PROBING, 0);
    assert_int_equal(b.good, 0);
    now += 1000;
    results(&old, 3);
    assert_state(BREAKER_RECOVERING, 1);
}

static void test_recovering_is_wary(void **state)
{
    (void)state;
    for (int step = 0; step < 4; step++) {
        open_it();
        pass(5000);
        now += 100;
        results(&fine, 3);
        for (int i = 0; i < step; i++)
            pass(30000);
        results(&fine, 10);
        results(&failed, 2);
        assert_int_equal(b.state, BREAKER_RECOVERING);
        assert_int_equal(result(&failed), BREAKER_FAILURES);
        assert_state(BREAKER_OPEN, 0);
        assert_int_equal(breaker_level(&b, &policy), BREAKER_REACHABLE);
        pass(9999);
        assert_state(BREAKER_OPEN, 0); /* the second opening waits twice as long */
        pass(1);
        assert_state(BREAKER_PROBING, 0);
    }
    /* a share of a few calls is enough */
    open_it();
    pass(5000);
    now += 100;
    results(&fine, 3);
    now += 20000; /* the probes are forgotten */
    results(&fine, 1);
    results(&failed, 1);
    assert_int_equal(b.state, BREAKER_RECOVERING);
    assert_int_equal(result(&failed), BREAKER_ERRORS);
}

static void test_outcomes(void **state)
{
    (void)state;
    fresh();
    assert_int_equal(answers(&policy, 0, 11), BREAKER_FINE);
    assert_int_equal(answers(&policy, 1, 0), BREAKER_FINE);
    assert_int_equal(answers(&policy, 0, 11), BREAKER_FINE);
    results(&fine, 1); /* the bank answers something each time: no run of failed calls */
    assert_int_equal(answers(&policy, 0, 1), BREAKER_BAD_ANSWERS);
    /* a share, among answers that were good by themselves */
    fresh();
    results(&fine, 40);
    for (int i = 0; i < 19; i++)
        assert_int_equal(answers(&policy, 1, 1), BREAKER_FINE);
    assert_int_equal(answers(&policy, 1, 1), BREAKER_ERRORS);
    /* while probing one is enough; while open they are only counted */
    open_it();
    assert_int_equal(answers(&policy, 0, 100), BREAKER_FINE);
    pass(5000);
    assert_int_equal(answers(&policy, 100, 0), BREAKER_FINE);
    assert_state(BREAKER_PROBING, 0);
    assert_int_equal(answers(&policy, 1, 1), BREAKER_PROBE);
}

/* Good queries do not hide that no payment passes, and do not call it well again. */
static void test_payments_alone(void **state)
{
    struct breaker_answers mixed = {{50, 0}, {6, 6}};
    struct breaker_call bad_query = query;
    (void)state;

    fresh();
    for (int i = 0; i < 11; i++) {
        assert_int_equal(result(&failed), BREAKER_FINE);
        results(&query, 10);
    }
    assert_int_equal(breaker_in_a_row(&b, BREAKER_AVAILABLE), 11);
    assert_int_equal(breaker_missed_percent(&b, &policy, BREAKER_AVAILABLE), 100);
    assert_int_equal(result(&failed), BREAKER_FAILURES);
    assert_int_equal(breaker_level(&b, &policy), BREAKER_REACHABLE);
    pass(5000);
    now += 100;
    results(&query, 50);
    assert_state(BREAKER_PROBING, 0);
    results(&fine, 3);
    assert_state(BREAKER_RECOVERING, 1);
    /* but a bad one is a bad sign whatever it is about */
    open_it();
    b.pay_only = true;
    pass(5000);
    now += 100;
    bad_query.served = false;
    assert_int_equal(result(&bad_query), BREAKER_PROBE);
    /* what workers read */
    fresh();
    assert_int_equal(breaker_outcomes(&b, &policy, now, &mixed), BREAKER_FINE);
    assert_int_equal(breaker_outcomes(&b, &policy, now, &mixed), BREAKER_BAD_ANSWERS);
    /* bad queries take payments out as well */
    fresh();
    results(&fine, 5);
    for (int i = 0; i < 11; i++)
        assert_int_equal(result(&bad_query), BREAKER_FINE);
    assert_int_equal(result(&bad_query), BREAKER_FAILURES);
    assert_false(b.pay_only);
}

static void test_kept(void **state)
{
    enum breaker_reason reason = BREAKER_FINE;
    (void)state;

    fresh();
    for (int i = 0; i < 12; i++)
        reason = breaker_call(&b, &policy, now, &lost);
    assert_int_equal(reason, BREAKER_UNREACHABLE);
    breaker_keep(&b, reason);
    assert_state(BREAKER_CLOSED, 100);
    assert_true(b.kept && breaker_admit(&b));
    assert_int_equal(breaker_level(&b, &policy), BREAKER_OUT);
    /* each further bad result asks again */
    assert_int_equal(breaker_call(&b, &policy, now, &lost), BREAKER_UNREACHABLE);
    /* good ones end it */
    now += 11000;
    assert_int_equal(breaker_call(&b, &policy, now, &fine), BREAKER_FINE);
    assert_false(b.kept);
    assert_int_equal(b.reason, BREAKER_FINE);
}

static void test_reset(void **state)
{
    (void)state;
    open_it();
    breaker_reset(&b);
    assert_state(BREAKER_CLOSED, 100);
    assert_int_equal(breaker_level(&b, &policy), BREAKER_SLA);
    results(&fine, 1);
    results(&lost, 11);
    assert_state(BREAKER_CLOSED, 100);
}

/* A clock that is set back shortens and lengthens no wait; one that leaps makes one step at most.
 */
static void test_clock_jumps(void **state)
{
    static const int64_t back[] = {1, 1000, 1001, 3600000, T0 - 1, T0 + 5000000};
    (void)state;

    for (size_t i = 0; i < COUNT(back); i++) {
        bool jumped = back[i] > 1000;

        open_it();
        now -= back[i];
        pass(0);
        assert_state(BREAKER_OPEN, 0);
        pass(jumped ? 4999 : 4999 + back[i]);
        assert_state(BREAKER_OPEN, 0);
        pass(1);
        assert_state(BREAKER_PROBING, 0);
        now += 100;
        results(&fine, 3);
        assert_state(BREAKER_RECOVERING, 1);
        now -= back[i];
        results(&fine, 5);
        assert_state(BREAKER_RECOVERING, 1);
        pass(jumped ? 30000 : 30000 + back[i]);
        assert_state(BREAKER_RECOVERING, 5);
    }
    open_it();
    pass(INT64_C(1) << 45);
    assert_state(BREAKER_PROBING, 0);
    now += 100;
    results(&fine, 3);
    pass(INT64_C(1) << 45);
    assert_state(BREAKER_RECOVERING, 5);
    pass(0);
    assert_state(BREAKER_RECOVERING, 5);
}

/* ---- anything in any order ---- */

static uint64_t dice = 88172645463325252ULL;

static uint64_t roll(uint64_t n)
{
    dice ^= dice << 13;
    dice ^= dice >> 7;
    dice ^= dice << 17;
    return dice % n;
}

static void check_sums(void)
{
    struct breaker_counts sum = {0};

    for (size_t i = 0; i < BREAKER_BUCKETS; i++) {
        for (size_t v = 0; v < BREAKER_VIEWS; v++) {
            sum.views[v].calls += b.buckets[i].views[v].calls;
            for (size_t l = 0; l < BREAKER_LEVELS; l++)
                sum.views[v].missed[l] += b.buckets[i].views[v].missed[l];
        }
        for (size_t a = 0; a < BREAKER_APIS; a++) {
            sum.apis[a].calls += b.buckets[i].apis[a].calls;
            sum.apis[a].missed += b.buckets[i].apis[a].missed;
        }
    }
    assert_memory_equal(&sum, &b.sum, sizeof(sum));
}

static void check_step(const struct breaker *before)
{
    /* from, to: by one step */
    static const bool allowed[BREAKER_STATES][BREAKER_STATES] = {
        [BREAKER_CLOSED] = {[BREAKER_CLOSED] = true, [BREAKER_OPEN] = true},
        [BREAKER_OPEN] = {[BREAKER_OPEN] = true, [BREAKER_PROBING] = true},
        [BREAKER_PROBING] =
            {[BREAKER_PROBING] = true, [BREAKER_OPEN] = true, [BREAKER_RECOVERING] = true},
        [BREAKER_RECOVERING] =
            {[BREAKER_RECOVERING] = true, [BREAKER_OPEN] = true, [BREAKER_CLOSED] = true},
    };

    assert_true(allowed[before->state][b.state]);
    if (before->state == BREAKER_RECOVERING && b.state == BREAKER_RECOVERING)
        assert_true(b.step == before->step || b.step == before->step + 1);
    assert_true(b.places <= policy.probes && b.offers <= policy.probes);
    assert_true(breaker_level(&b, &policy) <= BREAKER_SLA);
    assert_true((breaker_share(&b) == 100) ==
                (b.state == BREAKER_CLOSED || (b.state == BREAKER_RECOVERING && b.step == 3)));
    check_sums();
}

/* sick: most results are bad ones */
static void one_random_step(bool sick)
{
    const struct breaker_call *calls[] = {&fine, &query, &slow, &late, &failed, &lost};
    enum breaker_reason reason = BREAKER_FINE;
    struct breaker before;

    breaker_tick(&b, &policy, now); /* so that the rest is one step */
    before = b;
    switch (roll(8)) {
    case 0:
        reason = answers(&policy, (uint32_t)roll(3), roll(30) == 0);
        break;
    case 1:
        assert_true(breaker_admit(&b) ==
                    (b.state != BREAKER_OPEN && (b.state != BREAKER_PROBING || before.places > 0)));
        break;
    case 2:
        breaker_offer(&b);
        break;
    default:
        reason = breaker_call(&b, &policy, now,
                              calls[roll(50) ? roll(2) + (sick ? 4 : 0) : roll(COUNT(calls))]);
    }
    check_step(&before);
    if (reason == BREAKER_FINE)
        return;
    assert_int_not_equal(b.state, BREAKER_OPEN);
    before = b;
    if (roll(10) == 0 && b.state == BREAKER_CLOSED)
        breaker_keep(&b, reason);
    else
        breaker_open(&b, &policy, now, reason);
    check_step(&before);
}

static void test_anything(void **state)
{
    unsigned seen[BREAKER_STATES] = {0};
    (void)state;

    fresh();
    for (int i = 0; i < 200000; i++) {
        struct breaker before = b;

        switch (roll(200)) {
        case 0:
            now += (int64_t)roll(100000);
            break;
        case 1:
            now -= (int64_t)roll(5000);
            break;
        default:
            now += (int64_t)roll(1000);
        }
        breaker_tick(&b, &policy, now);
        check_step(&before);
        one_random_step(i / 300 % 6 == 0);
        seen[b.state]++;
    }
    for (int s = 0; s < BREAKER_STATES; s++)
        assert_in_range(seen[s], 500, 200000);
}

static void test_words(void **state)
{
    (void)state;
    assert_string_equal(breaker_state_name(BREAKER_RECOVERING), "recovering");
    assert_string_equal(breaker_level_name(BREAKER_SLA), "sla");
    assert_string_equal(breaker_reason_name(BREAKER_PROBE), "probe");
    assert_string_equal(breaker_state_name((enum breaker_state)9), "?");
    assert_string_equal(breaker_level_name((enum breaker_level)9), "?");
    assert_string_equal(breaker_reason_name((enum breaker_reason)9), "?");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_zero_is_closed),
        cmocka_unit_test(test_trips),
        cmocka_unit_test(test_limits_off),
        cmocka_unit_test(test_window_forgets),
        cmocka_unit_test(test_open_to_closed),
        cmocka_unit_test(test_probe_fails),
        cmocka_unit_test(test_probes_lost),
        cmocka_unit_test(test_old_calls),
        cmocka_unit_test(test_recovering_is_wary),
        cmocka_unit_test(test_outcomes),
        cmocka_unit_test(test_payments_alone),
        cmocka_unit_test(test_kept),
        cmocka_unit_test(test_reset),
        cmocka_unit_test(test_clock_jumps),
        cmocka_unit_test(test_anything),
        cmocka_unit_test(test_words),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
