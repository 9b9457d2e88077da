#include "core/money.h"

#include "core_test.h"

static void test_arithmetic(void **state)
{
    int64_t v = 42;
    (void)state;

    assert_int_equal(money_add(1, 2, &v), 0);
    assert_int_equal(v, 3);
    assert_int_equal(money_sub(1, 2, &v), 0);
    assert_int_equal(v, -1);
    v = 42;
    assert_int_equal(money_add(INT64_MAX, 1, &v), -1);
    assert_int_equal(money_add(INT64_MIN, -1, &v), -1);
    assert_int_equal(money_sub(INT64_MIN, 1, &v), -1);
    assert_int_equal(money_sub(0, INT64_MIN, &v), -1);
    assert_int_equal(v, 42);
    assert_int_equal(money_add(INT64_MAX, INT64_MIN, &v), 0);
    assert_int_equal(v, -1);
}

static void test_parse_yuan(void **state)
{
    static const struct {
        const char *text;
        int64_t fen;
    } good[] = {
        {"12.34", 1234},
        {"12", 1200},
        {"0.05", 5},
        {"0", 0},
        {"0.00", 0},
        {"1.5", 150},
        {"-12.34", -1234},
        {"-0.01", -1},
        {"-0.00", 0},
        {"10.01", 1001},
        {"88.88", 8888},
        {"92233720368547758.07", INT64_MAX},
        {"-92233720368547758.07", -INT64_MAX},
        {"-92233720368547758.08", INT64_MIN},
    };
    static const char *const bad[] = {"",
                                      ".",
                                      "-",
                                      "-.5",
                                      ".5",
                                      "1.",
                                      "1.234",
                                      "1.2.3",
                                      "+1",
                                      " 1",
                                      "1 ",
                                      "1,000.00",
                                      "1e2",
                                      "--1",
                                      "1.-5",
                                      "1.+5",
                                      "012",
                                      "00.10",
                                      "0x1",
                                      "NaN",
                                      "inf",
                                      "1.2a",
                                      "a",
                                      "¥1",
                                      "92233720368547758.08",
                                      "-92233720368547758.09",
                                      "92233720368547759",
                                      "9223372036854775807",
                                      "99999999999999999999999"};
    (void)state;

    for (size_t i = 0; i < COUNT(good); i++) {
        int64_t fen = 42;

        assert_case(money_parse_yuan(slice_of(good[i].text), &fen) == 0, good[i].text);
        assert_case(fen == good[i].fen, good[i].text);
    }
    for (size_t i = 0; i < COUNT(bad); i++) {
        int64_t fen = 42;

        assert_case(money_parse_yuan(slice_of(bad[i]), &fen) == -1, bad[i]);
        assert_case(fen == 42, bad[i]);
    }
    assert_int_equal(money_parse_yuan(SLICE_NULL, &(int64_t){0}), -1);
    assert_int_equal(money_parse_yuan(SLICE("1\0"), &(int64_t){0}), -1);
}

static void check_format(int64_t fen, const char *want)
{
    int64_t back = ~fen;
    struct buf b;

    buf_init(&b, 64);
    money_format_yuan(&b, fen);
    assert_slice(buf_slice(&b), want);
    assert_int_equal(money_parse_yuan(buf_slice(&b), &back), 0);
    assert_true(back == fen);
    buf_release(&b);
}

static void test_format_yuan(void **state)
{
    (void)state;
    check_format(0, "0.00");
    check_format(5, "0.05");
    check_format(1234, "12.34");
    check_format(-1, "-0.01");
    check_format(-1200, "-12.00");
    check_format(INT64_MAX, "92233720368547758.07");
    check_format(INT64_MIN, "-92233720368547758.08");
}

static void test_currency(void **state)
{
    (void)state;
    assert_true(currency_valid(SLICE("CNY")));
    assert_false(currency_valid(SLICE("cny")));
    assert_false(currency_valid(SLICE("CN")));
    assert_false(currency_valid(SLICE("CNYY")));
    assert_false(currency_valid(SLICE("C1Y")));
    assert_false(currency_valid(SLICE_NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_arithmetic),
        cmocka_unit_test(test_parse_yuan),
        cmocka_unit_test(test_format_yuan),
        cmocka_unit_test(test_currency),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
