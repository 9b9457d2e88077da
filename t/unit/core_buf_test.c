#include "core/buf.h"

#include "core_test.h"

static void test_additions(void **state)
{
    struct buf b;
    (void)state;

    buf_init(&b, 1000);
    assert_slice(buf_slice(&b), "");
    buf_add_str(&b, "a");
    buf_add_char(&b, 'b');
    buf_add_slice(&b, SLICE("cd"));
    buf_add_slice(&b, SLICE_NULL);
    buf_add(&b, NULL, 0);
    buf_add_int64(&b, INT64_MIN);
    buf_addf(&b, "%s", "");
    buf_addf(&b, "/%03d", 7);
    assert_true(buf_ok(&b));
    assert_slice(buf_slice(&b), "abcd-9223372036854775808/007");
    buf_release(&b);
}

static void test_exact_cap(void **state)
{
    struct buf b;
    (void)state;

    buf_init(&b, 5);
    buf_addf(&b, "%s", "12345"); /* fills to the last byte: the NUL of printf must not count */
    assert_true(buf_ok(&b));
    assert_slice(buf_slice(&b), "12345");
    buf_add(&b, "", 0);
    assert_true(buf_ok(&b));
    buf_add_char(&b, '6');
    assert_false(buf_ok(&b));
    assert_slice(buf_slice(&b), "12345");
    buf_release(&b);
}

static void test_failure_is_sticky(void **state)
{
    struct buf b;
    (void)state;

    buf_init(&b, 4);
    buf_add_str(&b, "123");
    buf_add_str(&b, "45");
    buf_add_char(&b, '4'); /* would fit */
    assert_false(buf_ok(&b));
    assert_slice(buf_slice(&b), "123");
    assert_null(buf_reserve(&b, 0));
    buf_addf(&b, "%d", 1);
    assert_slice(buf_slice(&b), "123");
    buf_clear(&b);
    assert_true(buf_ok(&b));
    buf_add_str(&b, "1234");
    assert_slice(buf_slice(&b), "1234");
    buf_release(&b);
}

static void test_growth_up_to_each_cap(void **state)
{
    (void)state;
    for (size_t cap = 0; cap < 700; cap += 13) {
        struct buf b;

        buf_init(&b, cap);
        for (size_t i = 0; i < cap; i++) {
            if (i % 3)
                buf_add_char(&b, (char)('a' + i % 26));
            else
                buf_addf(&b, "%c", (int)('a' + i % 26));
        }
        assert_true(buf_ok(&b));
        assert_int_equal(b.n, cap);
        for (size_t i = 0; i < cap; i++)
            assert_int_equal(b.p[i], 'a' + i % 26);
        buf_addf(&b, "x");
        assert_false(buf_ok(&b));
        assert_int_equal(b.n, cap);
        buf_release(&b);
    }
}

/* A formatted text that ends before, at and behind the end of what is allocated, and of the cap. */
static void test_formats_of_every_length(void **state)
{
    (void)state;
    for (int n = 0; n < 400; n++) {
        struct buf b;

        buf_init(&b, 400);
        buf_add_char(&b, '<');
        buf_addf(&b, "%*d", n, 7);
        buf_add_char(&b, '>');
        assert_int_equal(buf_ok(&b), n <= 398);
        assert_int_equal(b.n, n > 398 ? 400 : n < 1 ? 3 : n + 2);
        assert_int_equal(b.p[0], '<');
        assert_int_equal(b.p[n < 1 ? 1 : n], '7');
        buf_release(&b);
    }
}

static void test_int64(void **state)
{
    static const struct {
        int64_t v;
        const char *text;
    } numbers[] = {{0, "0"},
                   {-1, "-1"},
                   {10, "10"},
                   {INT64_MAX, "9223372036854775807"},
                   {INT64_MIN, "-9223372036854775808"}};
    (void)state;

    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        struct buf b;

        buf_init(&b, 20);
        buf_add_int64(&b, numbers[i].v);
        assert_slice(buf_slice(&b), numbers[i].text);
        buf_release(&b);
    }
}

static void test_reserve(void **state)
{
    struct buf b;
    char *p;
    (void)state;

    buf_init(&b, 300);
    assert_non_null(buf_reserve(&b, 0));
    p = buf_reserve(&b, 300);
    assert_non_null(p);
    memset(p, 'x', 300);
    b.n += 300;
    assert_non_null(buf_reserve(&b, 0));
    assert_true(buf_ok(&b));
    assert_null(buf_reserve(&b, 1));
    assert_false(buf_ok(&b));
    buf_clear(&b);
    assert_null(buf_reserve(&b, SIZE_MAX));
    assert_false(buf_ok(&b));
    buf_release(&b);
    /* huge caps are a way to say "no cap"; the sum must not wrap */
    buf_init(&b, SIZE_MAX);
    buf_add_char(&b, 'a');
    assert_null(buf_reserve(&b, SIZE_MAX));
    assert_null(buf_reserve(&b, SIZE_MAX - 1));
    assert_false(buf_ok(&b));
    buf_release(&b);
}

static void test_consume(void **state)
{
    struct buf b;
    (void)state;

    buf_init(&b, 16);
    buf_consume(&b, 0);
    buf_add_str(&b, "abcdef");
    buf_consume(&b, 2);
    assert_slice(buf_slice(&b), "cdef");
    buf_consume(&b, 4);
    assert_slice(buf_slice(&b), "");
    buf_add_str(&b, "0123456789abcdef");
    assert_true(buf_ok(&b));
    buf_release(&b);
    assert_null(b.p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_additions),
        cmocka_unit_test(test_exact_cap),
        cmocka_unit_test(test_failure_is_sticky),
        cmocka_unit_test(test_growth_up_to_each_cap),
        cmocka_unit_test(test_formats_of_every_length),
        cmocka_unit_test(test_int64),
        cmocka_unit_test(test_reserve),
        cmocka_unit_test(test_consume),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
