/* R10.3: when a canary is worse than the pool beside it, and when it only looks so. */
#include "core/canary.h"

#include "core_test.h"

static const struct canary_limits limits = {.requests = 100, .failures = 5, .slower = 200};

static const struct {
    const char *name;
    struct canary_sums own, other;
    enum canary_verdict verdict;
} cases[] = {
    {"nothing happened", {0, 0, 0}, {0, 0, 0}, CANARY_EARLY},
    {"one too few", {99, 99, 99000}, {5000, 0, 5000}, CANARY_EARLY},
    {"as good", {100, 0, 1000}, {5000, 0, 50000}, CANARY_WELL},
    {"within the limit", {100, 5, 1000}, {5000, 0, 50000}, CANARY_WELL},
    {"beyond it", {100, 6, 1000}, {5000, 0, 50000}, CANARY_FAILS},
    {"all of them", {100, 100, 1000}, {5000, 0, 50000}, CANARY_FAILS},
    {"nobody to compare with", {100, 6, 1000}, {0, 0, 0}, CANARY_FAILS},
    {"the other fails as often", {100, 40, 1000}, {5000, 2000, 50000}, CANARY_WELL},
    {"and all of both", {100, 100, 1000}, {5000, 5000, 50000}, CANARY_WELL},
    /* 20 % of 100: 4 % is one deviation */
    {"by chance", {100, 37, 1000}, {5000, 1000, 50000}, CANARY_WELL},
    {"not by chance", {100, 38, 1000}, {5000, 1000, 50000}, CANARY_FAILS},
    {"the same share of many", {10000, 2630, 100000}, {5000, 1000, 50000}, CANARY_FAILS},
    {"better", {100, 0, 0}, {5000, 1000, 500000}, CANARY_WELL},
    {"twice as slow", {100, 0, 10000}, {5000, 0, 250000}, CANARY_WELL},
    {"more than twice", {100, 0, 10100}, {5000, 0, 250000}, CANARY_SLOW},
    {"ten times, but of nothing", {100, 0, 900}, {5000, 0, 0}, CANARY_WELL},
    {"ten milliseconds", {100, 0, 1000}, {5000, 0, 0}, CANARY_SLOW},
    {"slow beside too few", {100, 0, 100000}, {99, 0, 99}, CANARY_WELL},
    {"failing before slow", {100, 50, 100000}, {5000, 0, 5000}, CANARY_FAILS},
    {"the largest sums",
     {UINT32_MAX, UINT32_MAX, UINT32_MAX},
     {UINT32_MAX, 0, UINT32_MAX},
     CANARY_FAILS},
};

static void test_verdicts(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++)
        assert_case(canary_judge(&cases[i].own, &cases[i].other, &limits) == cases[i].verdict,
                    cases[i].name);
}

/* Without a limit on times only failures count. */
static void test_any_time(void **state)
{
    const struct canary_limits any = {.requests = 100, .failures = 5, .slower = 0};
    const struct canary_sums slow = {100, 0, 100000}, bad = {100, 6, 100000};
    const struct canary_sums other = {5000, 0, 5000};
    (void)state;

    assert_int_equal(canary_judge(&slow, &other, &limits), CANARY_SLOW);
    assert_int_equal(canary_judge(&slow, &other, &any), CANARY_WELL);
    assert_int_equal(canary_judge(&bad, &other, &any), CANARY_FAILS);
}

static void test_numbers(void **state)
{
    const struct canary_sums none = {0, 0, 0}, some = {3, 1, 100};
    (void)state;

    assert_int_equal(canary_share(&none), 0);
    assert_int_equal(canary_mean(&none), 0);
    assert_int_equal(canary_share(&some), 3333);
    assert_int_equal(canary_mean(&some), 33);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_verdicts),
        cmocka_unit_test(test_any_time),
        cmocka_unit_test(test_numbers),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
