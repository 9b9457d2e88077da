#include "core/clock.h"

#include "core_test.h"

/* 2026-09-01T12:00:00+08:00 */
#define SEPTEMBER 1788235200LL

static void test_parse(void **state)
{
    static const struct {
        const char *text;
        int64_t usec;
    } good[] = {
        {"2026-09-01T12:00:00+08:00", SEPTEMBER * USEC_PER_SEC},
        {"2026-09-01T04:00:00Z", SEPTEMBER * USEC_PER_SEC},
        {"2026-08-31T23:30:00-04:30", SEPTEMBER * USEC_PER_SEC},
        {"2026-09-01T04:00:00+00:00", SEPTEMBER * USEC_PER_SEC},
        {"2026-09-01T12:00:00.5+08:00", SEPTEMBER * USEC_PER_SEC + 500000},
        {"2026-09-01T12:00:00.123456+08:00", SEPTEMBER * USEC_PER_SEC + 123456},
        {"2026-09-01T12:00:00.1234569999+08:00", SEPTEMBER * USEC_PER_SEC + 123456},
        {"2026-09-01T12:00:00.000001Z", (SEPTEMBER + 8 * 3600) * USEC_PER_SEC + 1},
        {"1970-01-01T00:00:01Z", USEC_PER_SEC},
        {"2000-02-29T00:00:00Z", 951782400LL * USEC_PER_SEC},
        {"2024-02-29T00:00:00Z", 1709164800LL * USEC_PER_SEC},
        {"2024-03-01T00:00:00Z", 1709251200LL * USEC_PER_SEC},
        {"2025-01-01T00:00:00Z", 1735689600LL * USEC_PER_SEC},
        {"2099-12-31T23:59:59+08:00", 4102415999LL * USEC_PER_SEC},
    };
    (void)state;

    for (size_t i = 0; i < COUNT(good); i++) {
        pay_time_t t = 42;

        assert_case(time_parse_rfc3339(slice_of(good[i].text), &t) == 0, good[i].text);
        assert_case(t == good[i].usec, good[i].text);
    }
}

static void test_parse_refuses(void **state)
{
    static const char *const bad[] = {"",
                                      "2026",
                                      "2026-09-01",
                                      "2026-09-01T12:00:00",
                                      "2026-09-01T12:00+08:00",
                                      "2026-09-01 12:00:00+08:00",
                                      "2026-09-01t12:00:00+08:00",
                                      "2026-09-01T12:00:00z",
                                      "2026-09-01T12:00:00+0800",
                                      "2026-09-01T12:00:00+08",
                                      "2026-09-01T12:00:00+08:0",
                                      "2026-09-01T12:00:00+08:00 ",
                                      " 2026-09-01T12:00:00+08:00",
                                      "2026-09-01T12:00:00ZZ",
                                      "2026-09-01T12:00:00.+08:00",
                                      "2026-09-01T12:00:00,5+08:00",
                                      "2026-09-01T12:00:00.5",
                                      "2026-09-01T24:00:00+08:00",
                                      "2026-09-01T12:60:00+08:00",
                                      "2026-09-01T12:00:60+08:00",
                                      "2026-09-01T12:00:00+24:00",
                                      "2026-09-01T12:00:00+08:60",
                                      "2026-09-01T12:00:00*08:00",
                                      "2026-00-01T12:00:00+08:00",
                                      "2026-13-01T12:00:00+08:00",
                                      "2026-09-00T12:00:00+08:00",
                                      "2026-09-31T12:00:00+08:00",
                                      "2026-02-29T12:00:00+08:00",
                                      "2100-02-29T12:00:00+08:00",
                                      "1969-12-31T23:59:59Z",
                                      "2100-01-01T00:00:00Z",
                                      "2099-12-31T16:00:00Z",
                                      "0000-01-01T00:00:00Z",
                                      "1970-01-01T00:00:00Z" /* 0 means "not set" */,
                                      "1970-01-01T07:59:59+08:00",
                                      "26-09-01T12:00:00+08:00",
                                      "+026-09-01T12:00:00+08:00",
                                      "2026-9-1T12:00:00+08:00",
                                      "2026-09-01T12:00:00+-8:00",
                                      "2026-09-01T-1:00:00+08:00",
                                      "２026-09-01T12:00:00Z"};
    (void)state;

    for (size_t i = 0; i < COUNT(bad); i++) {
        pay_time_t t = 42;

        assert_case(time_parse_rfc3339(slice_of(bad[i]), &t) == -1, bad[i]);
        assert_case(t == 42, bad[i]);
    }
    assert_int_equal(time_parse_rfc3339(SLICE("2026-09-01T12:00:00Z\0"), &(pay_time_t){0}), -1);
}

static void check_format(int64_t seconds, const char *text, const char *day)
{
    char out[RFC3339_LEN + 1], out_day[9];

    time_format_rfc3339(out, seconds * USEC_PER_SEC + 999999);
    assert_string_equal(out, text);
    time_format_day(out_day, seconds * USEC_PER_SEC + 999999);
    assert_string_equal(out_day, day);
}

static void test_format(void **state)
{
    (void)state;
    check_format(SEPTEMBER, "2026-09-01T12:00:00+08:00", "20260901");
    check_format(0, "1970-01-01T08:00:00+08:00", "19700101");
    /* the Chinese day begins at 16:00 UTC */
    check_format(1709135999, "2024-02-28T23:59:59+08:00", "20240228");
    check_format(1709136000, "2024-02-29T00:00:00+08:00", "20240229");
    check_format(1735660800, "2025-01-01T00:00:00+08:00", "20250101");
    check_format(4102415999, "2099-12-31T23:59:59+08:00", "20991231");
    check_format(4107513600, "2100-03-01T00:00:00+08:00", "21000301"); /* 2100 has no leap day */
}

static void test_format_clamps(void **state)
{
    char out[RFC3339_LEN + 1], day[9];
    (void)state;

    time_format_rfc3339(out, INT64_MIN);
    assert_string_equal(out, "1970-01-01T08:00:00+08:00");
    time_format_rfc3339(out, INT64_MAX);
    assert_string_equal(out, "9999-12-31T23:59:59+08:00");
    time_format_day(day, INT64_MAX);
    assert_string_equal(day, "99991231");
    time_format_day(day, -1);
    assert_string_equal(day, "19700101");
}

/* Every day of the range: its text is the successor of yesterday's, and parses back. */
static void test_every_day_returns(void **state)
{
    char text[RFC3339_LEN + 1], day[9], yesterday[9] = "";
    (void)state;

    for (int64_t s = 1; s < 4102415999LL; s += 86400) {
        pay_time_t back;

        time_format_rfc3339(text, s * USEC_PER_SEC);
        assert_case(time_parse_rfc3339(slice_of(text), &back) == 0, text);
        assert_case(back == s * USEC_PER_SEC, text);
        time_format_day(day, s * USEC_PER_SEC);
        assert_case(strcmp(yesterday, day) < 0, day);
        memcpy(yesterday, day, sizeof(day));
    }
}

static void test_clocks_run(void **state)
{
    int64_t mono = clock_read_mono_us();
    int64_t boot = clock_read_boot_us();
    (void)state;

    assert_true(clock_read_wall() > 1735689600LL * USEC_PER_SEC);
    assert_true(mono > 0 && clock_read_mono_us() >= mono);
    assert_true(boot >= mono && clock_read_boot_us() >= boot);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parse),
        cmocka_unit_test(test_parse_refuses),
        cmocka_unit_test(test_format),
        cmocka_unit_test(test_format_clamps),
        cmocka_unit_test(test_every_day_returns),
        cmocka_unit_test(test_clocks_run),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
