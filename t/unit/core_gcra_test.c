#include "core/gcra.h"

#include "core_test.h"

#define SEC 1000000000LL
#define T0  (5000 * SEC)

/* How many of n calls at one moment may go. */
static int taken(int64_t *state, const struct gcra_rate *rate, int64_t now, int n)
{
    int got = 0;

    for (int i = 0; i < n; i++)
        got += gcra_take(state, rate, now);
    return got;
}

static void test_burst_then_rate(void **unused)
{
    struct gcra_rate rate = gcra_rate_of(50, SEC, 10);
    int64_t state = 0;
    (void)unused;

    assert_int_equal(taken(&state, &rate, T0, 100), 11);
    assert_int_equal(taken(&state, &rate, T0 + SEC / 50 - 1, 100), 0);
    assert_int_equal(taken(&state, &rate, T0 + SEC / 50, 100), 1);
    assert_int_equal(taken(&state, &rate, T0 + SEC, 100), 11);
    /* idle time is not saved up */
    assert_int_equal(taken(&state, &rate, T0 + 1000 * SEC, 100), 11);
}

static void test_never_over_the_rate(void **unused)
{
    static const int64_t counts[] = {1, 3, 7, 50, 333, 9999, 10000};
    (void)unused;

    for (size_t i = 0; i < COUNT(counts); i++) {
        struct gcra_rate rate = gcra_rate_of(counts[i], SEC, 0);
        int64_t state = 0, got = 0;

        /* twice as often as allowed, for a second */
        for (int64_t k = 0; k < 2 * counts[i]; k++)
            got += gcra_take(&state, &rate, T0 + k * SEC / (2 * counts[i]));
        assert_true(got <= counts[i]);
        assert_true(got >= counts[i] - counts[i] / 2);
        assert_int_equal(rate.interval_ns, (SEC + counts[i] - 1) / counts[i]);
    }
}

static void test_per_minute(void **unused)
{
    struct gcra_rate rate = gcra_rate_of(6, 60 * SEC, 0);
    int64_t state = 0;
    (void)unused;

    assert_true(gcra_take(&state, &rate, T0));
    assert_int_equal(gcra_wait(state, &rate, T0 + SEC), 9 * SEC);
    assert_false(gcra_take(&state, &rate, T0 + 10 * SEC - 1));
    assert_true(gcra_take(&state, &rate, T0 + 10 * SEC));
}

static void test_no_limit(void **unused)
{
    struct gcra_rate rate = {0};
    int64_t state = 0;
    (void)unused;

    assert_int_equal(taken(&state, &rate, T0, 1000), 1000);
    assert_int_equal(state, 0);
}

/* A clock set back, or a state of a much slower rate, holds nobody longer than one burst. */
static void test_clock_back(void **unused)
{
    struct gcra_rate rate = gcra_rate_of(10, SEC, 4);
    int64_t state = 0;
    (void)unused;

    assert_int_equal(taken(&state, &rate, T0, 5), 5);
    assert_int_equal(gcra_wait(state, &rate, T0 - 4000 * SEC), SEC / 10);
    assert_false(gcra_take(&state, &rate, T0 - 4000 * SEC));
    assert_true(gcra_take(&state, &rate, T0 - 4000 * SEC + SEC / 10));
    state = T0 + 900 * SEC;
    assert_int_equal(gcra_wait(state, &rate, T0), SEC / 10);
}

/* When the next call has its turn; it is promised it. */
static int64_t turn(int64_t *state, const struct gcra_rate *rate, int64_t now)
{
    int64_t wait = gcra_wait(*state, rate, now);

    gcra_promise(state, rate, now, now + wait);
    return wait;
}

/* Turns are promised in order, never more often than the rate. */
static void test_turns(void **unused)
{
    struct gcra_rate rate = gcra_rate_of(10, SEC, 1);
    int64_t state = 0;
    (void)unused;

    rate.ahead_ns = SEC / 2;
    assert_int_equal(turn(&state, &rate, T0), 0);
    for (int i = 0; i <= 5; i++)
        assert_int_equal(turn(&state, &rate, T0), i * SEC / 10);
    assert_int_equal(gcra_wait(state, &rate, T0), SEC * 6 / 10);
    assert_false(gcra_take(&state, &rate, T0 + SEC * 6 / 10 - 1));
    assert_true(gcra_take(&state, &rate, T0 + SEC * 6 / 10));
    /* and a clock set back makes nobody wait longer than burst and promises */
    assert_int_equal(gcra_wait(state, &rate, T0 - 4000 * SEC), SEC * 6 / 10);
}

/* A call that waits for another rate, too, counts when it goes: the next one comes an interval
 * later. */
static void test_waits_for_another_rate(void **unused)
{
    struct gcra_rate rate = gcra_rate_of(10, SEC, 0);
    int64_t state = 0;
    (void)unused;

    rate.ahead_ns = SEC;
    gcra_promise(&state, &rate, T0, T0 + SEC / 2);
    assert_int_equal(gcra_wait(state, &rate, T0), SEC * 6 / 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_burst_then_rate),
        cmocka_unit_test(test_never_over_the_rate),
        cmocka_unit_test(test_per_minute),
        cmocka_unit_test(test_no_limit),
        cmocka_unit_test(test_clock_back),
        cmocka_unit_test(test_turns),
        cmocka_unit_test(test_waits_for_another_rate),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
