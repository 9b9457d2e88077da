#include "core/slice.h"

#include "core_test.h"

static void test_equality(void **state)
{
    (void)state;
    assert_true(slice_eq(SLICE_NULL, SLICE("")));
    assert_true(slice_eq(SLICE("ab"), slice_n("abc", 2)));
    assert_false(slice_eq(SLICE("ab"), SLICE("abc")));
    assert_false(slice_eq(SLICE("a\0b"), SLICE("a\0c")));
    assert_true(slice_is(SLICE_NULL, ""));
    assert_false(slice_is(SLICE("a\0"), "a"));
    assert_int_equal(slice_of(NULL).n, 0);
}

static void test_nocase(void **state)
{
    (void)state;
    assert_true(slice_eq_nocase(SLICE("Pay-NONCE"), SLICE("pay-nonce")));
    assert_true(slice_eq_nocase(SLICE_NULL, SLICE("")));
    assert_false(slice_eq_nocase(SLICE("Pay"), SLICE("Pays")));
    /* '[' and '{', '@' and '`' differ by the same bit as letters do */
    assert_false(slice_eq_nocase(SLICE("["), SLICE("{")));
    assert_false(slice_eq_nocase(SLICE("@"), SLICE("`")));
    /* no locale: bytes over 127 are never folded */
    assert_false(slice_eq_nocase(SLICE("\xc4"), SLICE("\xe4")));
}

static void test_starts_and_contains(void **state)
{
    (void)state;
    assert_true(slice_starts(SLICE("abc"), SLICE("ab")));
    assert_true(slice_starts(SLICE("abc"), SLICE_NULL));
    assert_true(slice_starts(SLICE_NULL, SLICE_NULL));
    assert_false(slice_starts(SLICE("a"), SLICE("ab")));
    assert_true(slice_contains(SLICE("xxab"), SLICE("ab")));
    assert_true(slice_contains(SLICE("ab"), SLICE("")));
    assert_true(slice_contains(SLICE_NULL, SLICE_NULL));
    assert_false(slice_contains(SLICE("xxa"), SLICE("ab")));
    assert_false(slice_contains(slice_n("xxab", 3), SLICE("ab")));
}

static void test_trim(void **state)
{
    (void)state;
    assert_slice(slice_trim(SLICE(" \t a b\t ")), "a b");
    assert_slice(slice_trim(SLICE("  ")), "");
    assert_slice(slice_trim(SLICE_NULL), "");
    assert_slice(slice_trim(SLICE("\na")), "\na");
}

static void test_cut(void **state)
{
    struct slice rest = SLICE("a,,b,");
    (void)state;

    assert_slice(slice_cut(&rest, ','), "a");
    assert_slice(slice_cut(&rest, ','), "");
    assert_slice(slice_cut(&rest, ','), "b");
    /* the separator was there, so an empty piece is left */
    assert_non_null(rest.p);
    assert_int_equal(rest.n, 0);
    assert_slice(slice_cut(&rest, ','), "");
    assert_null(rest.p);
    assert_slice(slice_cut(&rest, ','), "");
    assert_null(rest.p);
}

static void test_int64(void **state)
{
    static const struct {
        const char *text;
        int64_t value;
    } good[] = {
        {"0", 0},
        {"7", 7},
        {"-1", -1},
        {"1234567890", 1234567890},
        {"9223372036854775807", INT64_MAX},
        {"-9223372036854775808", INT64_MIN},
    };
    static const char *const bad[] = {"",
                                      "-",
                                      "+1",
                                      " 1",
                                      "1 ",
                                      "01",
                                      "-0",
                                      "-01",
                                      "00",
                                      "1a",
                                      "1.0",
                                      "0x1",
                                      "--1",
                                      "1e3",
                                      "9223372036854775808",
                                      "-9223372036854775809",
                                      "99999999999999999999999999",
                                      "18446744073709551616",
                                      "\xd9\xa1"};
    (void)state;

    for (size_t i = 0; i < COUNT(good); i++) {
        int64_t v = 42;

        assert_case(slice_int64(slice_of(good[i].text), &v) == 0, good[i].text);
        assert_case(v == good[i].value, good[i].text);
    }
    for (size_t i = 0; i < COUNT(bad); i++) {
        int64_t v = 42;

        assert_case(slice_int64(slice_of(bad[i]), &v) == -1, bad[i]);
        assert_case(v == 42, bad[i]);
    }
    assert_int_equal(slice_int64(SLICE("1\0"), &(int64_t){0}), -1);
}

/* Every byte at every place of two words and a rest: whole words count up to the first that has
 * one. */
static void test_words(void **state)
{
    char text[20];

    (void)state;
    for (unsigned byte = 0; byte < 256; byte++) {
        for (size_t at = 0; at < sizeof(text); at++) {
            bool ascii = byte < 128, printable = byte >= 0x20 && byte < 0x7f;
            size_t whole = at < 8 ? 0 : at < 16 ? 8 : 16;

            memset(text, 'x', sizeof(text));
            text[at] = (char)byte;
            assert_int_equal(slice_ascii(slice_n(text, sizeof(text))), ascii ? 16 : whole);
            assert_int_equal(slice_printable(slice_n(text, sizeof(text))), printable ? 16 : whole);
        }
    }
    assert_int_equal(slice_ascii(SLICE_NULL), 0);
    assert_int_equal(slice_printable(SLICE("1234567")), 0);
    assert_int_equal(slice_printable(SLICE(" ~\x20\x7e!@#$")), 8);
}

/* These values are in every stored id: a change here loses orders. */
static void test_hash_is_stable(void **state)
{
    (void)state;
    assert_true(slice_hash(SLICE_NULL) == 0xefd01f60ba992926u);
    assert_true(slice_hash(SLICE("a")) == 0x82a2a958a9bece5bu);
    assert_true(slice_hash(SLICE("T202609010001")) == 0xaf1614afa59f3a9du);
    assert_true(slice_hash(SLICE("a\0")) != slice_hash(SLICE("a")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_equality),
        cmocka_unit_test(test_nocase),
        cmocka_unit_test(test_starts_and_contains),
        cmocka_unit_test(test_trim),
        cmocka_unit_test(test_cut),
        cmocka_unit_test(test_int64),
        cmocka_unit_test(test_words),
        cmocka_unit_test(test_hash_is_stable),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
