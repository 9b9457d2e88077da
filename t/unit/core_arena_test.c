#include "core/arena.h"

#include "core_test.h"

static void test_alignment_and_zero(void **state)
{
    struct arena a;
    (void)state;

    arena_init(&a, 1 << 20);
    assert_null(a.chunks);
    for (size_t n = 0; n < 200; n++) {
        unsigned char *p = arena_alloc(&a, n);

        assert_non_null(p);
        assert_int_equal((uintptr_t)p % 16, 0);
        for (size_t i = 0; i < n; i++)
            assert_int_equal(p[i], 0);
        memset(p, 0xaa, n);
    }
    assert_false(a.failed);
    arena_release(&a);
}

static void test_join_and_int64(void **state)
{
    const struct slice parts[] = {SLICE("/v1/"), SLICE_NULL, SLICE("x"), SLICE("")};
    struct arena a;
    (void)state;

    arena_init(&a, 256);
    assert_slice(arena_join(&a, parts, 4), "/v1/x");
    assert_slice(arena_join(&a, parts + 1, 1), "");
    assert_slice(arena_int64(&a, 0), "0");
    assert_slice(arena_int64(&a, 10), "10");
    assert_slice(arena_int64(&a, INT64_MAX), "9223372036854775807");
    assert_slice(arena_int64(&a, INT64_MIN), "-9223372036854775808");
    assert_false(a.failed);
    while (arena_alloc(&a, 1)) {
    }
    assert_null(arena_join(&a, parts, 4).p);
    assert_null(arena_int64(&a, 1).p);
    arena_release(&a);
}

static void test_cap_is_never_passed(void **state)
{
    struct arena a;
    (void)state;

    arena_init(&a, 1024);
    assert_non_null(arena_alloc(&a, 1000));
    assert_int_equal(a.used, 1008);
    assert_non_null(arena_alloc(&a, 16));
    assert_int_equal(a.used, 1024);
    assert_false(a.failed);
    assert_null(arena_alloc(&a, 1));
    assert_true(a.failed);
    assert_int_equal(a.used, 1024);
    arena_release(&a);
}

static void test_failure_stays(void **state)
{
    struct arena a;
    (void)state;

    arena_init(&a, 64);
    assert_null(arena_alloc(&a, 65));
    assert_non_null(arena_alloc(&a, 8));
    assert_true(a.failed);
    arena_clear(&a);
    assert_false(a.failed);
    assert_int_equal(a.used, 0);
    assert_non_null(arena_alloc(&a, 64));
    arena_release(&a);
    /* a released arena gives nothing, rather than memory without a bound */
    assert_null(arena_alloc(&a, 1));
}

static void test_huge_sizes(void **state)
{
    struct arena a;
    (void)state;

    arena_init(&a, SIZE_MAX);
    assert_null(arena_alloc(&a, SIZE_MAX));
    assert_null(arena_alloc(&a, SIZE_MAX - 15));
    assert_null(arena_alloc(&a, SIZE_MAX - 64));
    assert_true(a.failed);
    arena_clear(&a);
    assert_null(arena_calloc(&a, SIZE_MAX / 2, 3));
    assert_true(a.failed);
    arena_clear(&a);
    assert_null(arena_array(&a, uint64_t, SIZE_MAX / 8 + 1));
    assert_true(a.failed);
    arena_release(&a);
}

static void test_many_chunks_keep_their_bytes(void **state)
{
    enum { N = 3000 };
    static uint32_t *p[N];
    struct arena a;
    (void)state;

    arena_init(&a, 1 << 22);
    for (uint32_t i = 0; i < N; i++) {
        p[i] = arena_array(&a, uint32_t, 1 + i % 97);
        assert_non_null(p[i]);
        for (uint32_t j = 0; j <= i % 97; j++)
            p[i][j] = i;
    }
    /* larger than any regular chunk */
    assert_non_null(arena_alloc(&a, 1 << 20));
    for (uint32_t i = 0; i < N; i++)
        for (uint32_t j = 0; j <= i % 97; j++)
            assert_int_equal(p[i][j], i);
    arena_release(&a);
}

static void test_copies(void **state)
{
    char text[] = "abc";
    struct slice copy;
    struct arena a;
    char *cstr;
    (void)state;

    arena_init(&a, 4096);
    copy = arena_copy(&a, slice_of(text));
    cstr = arena_cstr(&a, slice_of(text));
    text[0] = 'x';
    assert_slice(copy, "abc");
    assert_string_equal(cstr, "abc");
    assert_string_equal(arena_cstr(&a, SLICE_NULL), "");
    /* an empty copy is no failure, and callers tell them apart by p */
    assert_non_null(arena_copy(&a, SLICE_NULL).p);
    assert_false(a.failed);
    assert_null(arena_cstr(&a, SLICE("a\0b")));
    assert_true(a.failed);
    arena_clear(&a);
    assert_null(arena_copy(&a, slice_n(text, 5000)).p);
    assert_true(a.failed);
    arena_release(&a);
}

static void test_printf(void **state)
{
    struct arena a;
    struct slice s;
    (void)state;

    arena_init(&a, 256);
    s = arena_printf(&a, "%d-%s", 42, "x");
    assert_slice(s, "42-x");
    assert_int_equal(s.p[s.n], '\0');
    assert_slice(arena_printf(&a, "%s", ""), "");
    assert_false(a.failed);
    assert_null(arena_printf(&a, "%300d", 1).p);
    assert_true(a.failed);
    arena_release(&a);

    arena_init(&a, 64u << 10);
    for (int n = 250; n < 262; n++) { /* around what is formatted once */
        s = arena_printf(&a, "%*d", n, 7);
        assert_int_equal(s.n, n);
        assert_int_equal(s.p[n - 1], '7');
        assert_int_equal(s.p[n], '\0');
    }
    arena_release(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_alignment_and_zero),
        cmocka_unit_test(test_join_and_int64),
        cmocka_unit_test(test_cap_is_never_passed),
        cmocka_unit_test(test_failure_stays),
        cmocka_unit_test(test_huge_sizes),
        cmocka_unit_test(test_many_chunks_keep_their_bytes),
        cmocka_unit_test(test_copies),
        cmocka_unit_test(test_printf),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
