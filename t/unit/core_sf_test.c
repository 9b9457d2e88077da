/* RFC 8941, strictly: what is taken has one serialised form, everything else is refused. */
#include "core/sf.h"
#include "core_test.h"

static const char *round_trip(struct arena *a, const char *in, struct buf *b)
{
    struct sf_member *first;
    const char *reason;

    if (sf_parse_dictionary(a, slice_of(in), &first, &reason) < 0) {
        assert_null(first);
        return reason;
    }
    assert_null(reason);
    buf_clear(b);
    sf_write_dictionary(b, first);
    return arena_cstr(a, buf_slice(b));
}

static void test_round_trip(void **state)
{
    static const char *const cases[][2] = {
        {"", ""},
        {"  ", ""},
        {"a=1", "a=1"},
        {" a=1 ,\t b=2 ", "a=1, b=2"},
        {"a", "a"},
        {"a=?1", "a"},
        {"a=?0;b;c=?1;d=?0", "a=?0;b;c;d=?0"},
        {"a=-999999999999999", "a=-999999999999999"},
        {"a=007", "a=7"},
        {"a=1.50, b=-0.125, c=100.0, d=0.07", "a=1.5, b=-0.125, c=100.0, d=0.07"},
        {"a=\"x \\\"\\\\y\"", "a=\"x \\\"\\\\y\""},
        {"a=\"\"", "a=\"\""},
        {"a=*t/x:y", "a=*t/x:y"},
        {"a=:AAAA:, b=::", "a=:AAAA:, b=::"},
        {"a=()", "a=()"},
        {"a=(  1   \"b\";x;y=2 ?1  );p=:AA==:", "a=(1 \"b\";x;y=2 ?1);p=:AA==:"},
        {"*a-_.9=1", "*a-_.9=1"},
        {"a;  b=1", "a;b=1"},
    };
    struct arena a;
    struct buf b;
    (void)state;

    arena_init(&a, 1 << 16);
    buf_init(&b, 4096);
    for (size_t i = 0; i < COUNT(cases); i++) {
        const char *got = round_trip(&a, cases[i][0], &b);

        if (strcmp(got, cases[i][1]) != 0)
            fail_msg("%s: %s", cases[i][0], got);
    }
    buf_release(&b);
    arena_release(&a);
}

static void test_refused(void **state)
{
    static const char *const bad[] = {
        "a=1, a=2",
        "a;x;x",
        "a,",
        "a, ",
        ",a",
        "a b",
        "a=",
        "a =1",
        "a= 1",
        "A=1",
        "1=1",
        "a=-",
        "a=1000000000000000",
        "a=1.",
        "a=1.2345",
        "a=1234567890123.1",
        "a=\"",
        "a=\"\\a\"",
        "a=\"\\",
        "a=\"\n\"",
        "a=\"\x7f\"",
        "a=\"\xc3\xa4\"",
        "a=:A:",
        "a=:AAAA",
        "a=:AA:",
        "a=:A*A=:",
        "a=:AB==:",
        "a=?2",
        "a=?",
        "a=(1",
        "a=(1\"b\")",
        "a=(1,2)",
        "a=((1))",
        "a=1;",
        "a=1;B",
        "a=@1659578233",
        "a=1 ;b",
        "a=%\"x\"",
        "\ta",
    };
    struct sf_member *first;
    const char *reason;
    struct arena a;
    (void)state;

    arena_init(&a, 1 << 16);
    for (size_t i = 0; i < COUNT(bad); i++) {
        assert_case(sf_parse_dictionary(&a, slice_of(bad[i]), &first, &reason) == -1, bad[i]);
        assert_case(first == NULL && reason != NULL, bad[i]);
    }
    assert_int_equal(sf_parse_dictionary(&a, slice_n("a\0b", 3), &first, &reason), -1);
    arena_release(&a);
}

static void test_no_memory(void **state)
{
    struct sf_member *first;
    const char *reason;
    struct arena a;
    (void)state;

    arena_init(&a, 64);
    assert_int_equal(sf_parse_dictionary(&a, SLICE("a,b,c,d,e"), &first, &reason), -1);
    assert_string_equal(reason, "too long");
    arena_release(&a);
}

static void test_lookup(void **state)
{
    struct sf_member *first;
    const char *reason;
    struct arena a;
    (void)state;

    arena_init(&a, 1 << 16);
    assert_int_equal(
        sf_parse_dictionary(&a, SLICE("x=1, y=(\"a\" \"b\");k=\"v\""), &first, &reason), 0);
    assert_null(sf_find(first, "z"));
    assert_int_equal(sf_find(first, "x")->value.integer, 1);
    assert_int_equal(sf_find(first, "y")->value.type, SF_INNER_LIST);
    assert_slice(sf_find(first, "y")->items->next->value.text, "b");
    assert_slice(sf_param(sf_find(first, "y"), "k")->value.text, "v");
    assert_null(sf_param(sf_find(first, "y"), "l"));
    arena_release(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_no_memory),
        cmocka_unit_test(test_lookup),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
