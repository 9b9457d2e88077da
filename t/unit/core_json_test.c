#include "core/json.h"

#include "core_test.h"

#define MEGABYTE (1u << 20)

static struct arena arena;
static struct json_error err;

static int setup(void **state)
{
    (void)state;
    arena_init(&arena, 256 * MEGABYTE);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    arena_release(&arena);
    return 0;
}

/* Parses what must be right. */
static const struct json *parse(struct slice text)
{
    const struct json *v = NULL;

    if (json_parse(&arena, text, NULL, &v, &err) < 0)
        fail_msg("%.*s: %s at %zu", SLICE_FMT(text), err.reason, err.offset);
    assert_null(err.reason);
    return v;
}

/* Parses what must be wrong -> the reason. */
static const char *refuse(struct slice text, const struct json_limits *limits)
{
    const struct json *v = NULL;

    if (json_parse(&arena, text, limits, &v, &err) == 0)
        fail_msg("%.*s: accepted", SLICE_FMT(text));
    assert_null(v);
    assert_non_null(err.reason);
    return err.reason;
}

static void assert_written(const struct json *v, const char *want)
{
    struct json_writer w;
    struct buf b;

    buf_init(&b, MEGABYTE);
    json_writer_init(&w, &b);
    json_put_value(&w, v);
    assert_true(buf_ok(&b));
    assert_slice(buf_slice(&b), want);
    buf_release(&b);
}

/* ------------------------------------------------------------------ parsing */

static void test_accepts(void **state)
{
    static const struct {
        const char *text;
        const char *compact;
    } good[] = {
        {"null", "null"},
        {" true ", "true"},
        {"false\n", "false"},
        {"0", "0"},
        {"-0", "-0"},
        {"12345678901234567890123456789", "12345678901234567890123456789"},
        {"88.880", "88.880"},
        {"1e400", "1e400"},
        {"-1.5E+3", "-1.5E+3"},
        {"\"\"", "\"\""},
        {"[]", "[]"},
        {"{}", "{}"},
        {"[ 1 , 2 ,[ 3 ] ]", "[1,2,[3]]"},
        {"{\"a\":{\"b\":[null,{}]},\"c\":\"d\"}", "{\"a\":{\"b\":[null,{}]},\"c\":\"d\"}"},
        {"{\"\":1}", "{\"\":1}"},
        {"[{\"a\":1},{\"a\":1}]", "[{\"a\":1},{\"a\":1}]"},
        {"{\"a\":{\"a\":{\"a\":1}}}", "{\"a\":{\"a\":{\"a\":1}}}"},
        {"{\"a\":1,\"A\":2,\"a \":3}", "{\"a\":1,\"A\":2,\"a \":3}"},
        {"\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", "\"\\\"\\\\/\\u0008\\u000c\\n\\r\\t\""},
        {"\"\\u0041\\u00e9\\u4e2d\\ud83d\\ude00\"", "\"A\xc3\xa9\xe4\xb8\xad\xf0\x9f\x98\x80\""},
        {"\"\\uD800\\uDC00\\udbff\\udfff\"", "\"\xf0\x90\x80\x80\xf4\x8f\xbf\xbf\""},
        {"\"\\\\ud800 \\\\u0000\"", "\"\\\\ud800 \\\\u0000\""},
        {"\"\xe6\xb5\x8b\xe8\xaf\x95\x7f\"", "\"\xe6\xb5\x8b\xe8\xaf\x95\x7f\""},
    };
    (void)state;

    for (size_t i = 0; i < COUNT(good); i++)
        assert_written(parse(slice_of(good[i].text)), good[i].compact);
}

static void test_refuses_syntax(void **state)
{
    static const char *const bad[] = {
        "",
        " ",
        "\n",
        "nul",
        "nulll",
        "True",
        "truefalse",
        "undefined",
        "NaN",
        "Infinity",
        "-",
        "+1",
        "01",
        "-01",
        "1.",
        ".5",
        "1e",
        "1e+",
        "0x10",
        "1_000",
        "1 2",
        "--1",
        "\"",
        "\"a",
        "'a'",
        "a",
        "\"\\x\"",
        "\"\\u12\"",
        "\"\\u12g4\"",
        "\"\\\"",
        "\"\\",
        "\"\\u",
        "\"\t\"",
        "\"\n\"",
        "\"\x01\"",
        "\"\x1f\"",
        "[",
        "]",
        "[1",
        "[1,",
        "[1,]",
        "[,1]",
        "[1 2]",
        "[1,,2]",
        "[1}",
        "[1]]",
        "{",
        "}",
        "{\"a\"",
        "{\"a\":",
        "{\"a\":1",
        "{\"a\":1,",
        "{\"a\":1,}",
        "{\"a\" 1}",
        "{a:1}",
        "{1:1}",
        "{null:1}",
        "{\"a\"}",
        "{,}",
        "{\"a\":1 \"b\":2}",
        "{\"a\"::1}",
        "{\"a\":1]",
        "{} x",
        "{}{}",
        "{},",
        "1,",
        "null null",
        "[]\"\"",
        "[1]//x",
        "/**/1",
        "// c\n1",
        "#\n1",
        "\xef\xbb\xbf{}",
        "{\"a\":1};",
        "\\u0041",
        "[\\n]",
        "(1)",
    };
    (void)state;

    for (size_t i = 0; i < COUNT(bad); i++)
        assert_case(strcmp(refuse(slice_of(bad[i]), NULL), "syntax") == 0, bad[i]);
    refuse(SLICE_NULL, NULL);
    refuse(SLICE("{}\0"), NULL);
    refuse(SLICE("\0"), NULL);
    refuse(SLICE("1\0"), NULL);
    refuse(SLICE("\"a\0b\""), NULL);
    refuse(SLICE("{\"a\0\":1}"), NULL);
}

static void test_every_prefix_is_refused(void **state)
{
    static const char text[] = "{\"a\":[1,true,null,\"x\\u4e2d\\ud83d\\ude00\",{\"b\":-1.5e3}]}";
    (void)state;

    for (size_t n = 0; n < sizeof(text) - 1; n++) {
        /* on the heap, so that the sanitizer sees a read behind the end */
        char *copy = malloc(n ? n : 1);

        memcpy(copy, text, n);
        refuse(slice_n(copy, n), NULL);
        free(copy);
    }
    parse(slice_n(text, sizeof(text) - 1));
}

static void test_refuses_nul_and_surrogates(void **state)
{
    static const char *const lone[] = {"\"\\ud800\"",
                                       "\"\\uDBFF\"",
                                       "\"\\udc00\"",
                                       "\"\\uDFFF\"",
                                       "\"\\ud800x\"",
                                       "\"\\ud800\\u0041\"",
                                       "\"\\ud800\\ud800\\udc00\"",
                                       "\"\\udc00\\ud800\"",
                                       "\"\\ud800\\\\udc00\"",
                                       "\"\\ud800\\n\"",
                                       "\"\\ud83d\\ude00\\ude00\"",
                                       "\"\\ud800\\ud",
                                       "{\"\\ud800\":1}",
                                       "\"\\ud800\\",
                                       "\"\\ud800"};
    (void)state;

    for (size_t i = 0; i < COUNT(lone); i++)
        assert_case(strcmp(refuse(slice_of(lone[i]), NULL), "lone surrogate") == 0, lone[i]);
    refuse(SLICE("[1,\"ab\\ud800\"]"), NULL);
    assert_int_equal(err.offset, 6);
    assert_string_equal(refuse(SLICE("\"a\\u0000\""), NULL), "NUL in string");
    assert_int_equal(err.offset, 2);
    assert_string_equal(refuse(SLICE("{\"\\u0000\":1}"), NULL), "NUL in string");
    assert_string_equal(refuse(SLICE("\"\\\\\\u0000\""), NULL), "NUL in string");
}

static void test_utf8(void **state)
{
    static const char *const good[] = {"",
                                       "a",
                                       "\x7f",
                                       "\xc2\x80",
                                       "\xdf\xbf",
                                       "\xe0\xa0\x80",
                                       "\xed\x9f\xbf",
                                       "\xee\x80\x80",
                                       "\xef\xbf\xbf",
                                       "\xf0\x90\x80\x80",
                                       "\xf4\x8f\xbf\xbf"};
    static const char *const bad[] = {
        "\x80",
        "\xbf",
        "\xc0\x80",
        "\xc1\xbf",
        "\xc2",
        "\xc2\x41",
        "\xc2\xc0",
        "\xe0\x80\x80",
        "\xe0\x9f\xbf",
        "\xe1\x80",
        "\xe1\x80\x41",
        "\xed\xa0\x80",
        "\xed\xbf\xbf",
        "\xf0\x80\x80\x80",
        "\xf0\x8f\xbf\xbf",
        "\xf1\x80\x80",
        "\xf4\x90\x80\x80",
        "\xf5\x80\x80\x80",
        "\xf8\x88\x80\x80\x80",
        "\xfe",
        "\xff",
        "\xc4\xe3", /* GBK */
    };
    (void)state;

    for (size_t i = 0; i < COUNT(good); i++)
        assert_case(utf8_valid(slice_of(good[i])), good[i]);
    for (size_t i = 0; i < COUNT(bad); i++) {
        char text[16];

        assert_false(utf8_valid(slice_of(bad[i])));
        snprintf(text, sizeof(text), "\"a%s\"", bad[i]);
        assert_string_equal(refuse(slice_of(text), NULL), "not UTF-8");
        assert_int_equal(err.offset, 2);
    }
    assert_true(utf8_valid(SLICE("a\0b")));
    assert_int_equal(utf8_prefix(SLICE("a\xe4\xb8\xad\xe4\xb8")), 4);
}

static void test_duplicate_keys(void **state)
{
    (void)state;
    assert_string_equal(refuse(SLICE("{\"amount\":1,\"b\":2,\"amount\":3}"), NULL),
                        "duplicate key");
    assert_slice(err.key, "amount");
    assert_string_equal(refuse(SLICE("[{\"x\":{\"a\":1,\"\\u0061\":2}}]"), NULL), "duplicate key");
    assert_slice(err.key, "a");
    assert_string_equal(refuse(SLICE("{\"\":1,\"\":2}"), NULL), "duplicate key");
}

/* An object with the keys 0..n-1 and then `last`. */
static void add_object(struct buf *b, int n, int last)
{
    buf_add_char(b, '{');
    for (int i = 0; i < n; i++)
        buf_addf(b, "\"%d\":%d,", i * 7919 % n, i);
    buf_addf(b, "\"%d\":1}", last);
}

static void test_duplicates_in_large_objects(void **state)
{
    struct json_limits limits = {.values = 100000};
    struct buf b;
    (void)state;

    buf_init(&b, 8 * MEGABYTE);
    for (int n = 60; n < 70; n++) {
        const struct json *v;

        buf_clear(&b);
        add_object(&b, n, n);
        v = parse(buf_slice(&b));
        assert_int_equal(v->count, n + 1);
        for (int last = 0; last < n; last++) {
            buf_clear(&b);
            add_object(&b, n, last);
            assert_string_equal(refuse(buf_slice(&b), NULL), "duplicate key");
            assert_int_equal(slice_int64(err.key, &(int64_t){0}), 0);
        }
    }
    buf_clear(&b);
    add_object(&b, 50000, 49999);
    assert_string_equal(refuse(buf_slice(&b), &limits), "duplicate key");
    assert_slice(err.key, "49999");
    buf_release(&b);
}

static void test_depth(void **state)
{
    struct json_limits limits = {.depth = 3};
    char text[256];
    (void)state;

    parse(SLICE("[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]"));
    assert_string_equal(refuse(SLICE("[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]"), NULL), "too deep");
    assert_int_equal(err.offset, 17);
    assert_string_equal(refuse(SLICE("{\"a\":[[[]]]}"), &limits), "too deep");
    assert_string_equal(refuse(SLICE("[[{\"a\":{}}]]"), &limits), "too deep");
    /* depth, not number */
    assert_int_equal(json_parse(&arena, SLICE("[[[1],[2]],[[3],[4]],{},{}]"), &limits,
                                &(const struct json *){NULL}, &err),
                     0);
    memset(text, '[', sizeof(text));
    assert_string_equal(refuse(slice_n(text, sizeof(text)), NULL), "too deep");
    limits.depth = 1000;
    for (size_t i = 0; i < sizeof(text); i++)
        text[i] = i < sizeof(text) / 2 ? '[' : ']';
    assert_int_equal(json_parse(&arena, slice_n(text, sizeof(text)), &limits,
                                &(const struct json *){NULL}, &err),
                     0);
}

/* The largest depth that a caller can get, with escapes in between. */
static void test_deepest(void **state)
{
    enum { DEPTH = 1024 };
    struct json_limits limits = {.depth = UINT32_MAX, .values = 100 * DEPTH};
    const struct json *v;
    struct buf b;
    (void)state;

    buf_init(&b, 64 * MEGABYTE);
    for (int escapes = 0; escapes < 100; escapes += 33) {
        buf_clear(&b);
        for (int i = 0; i < DEPTH; i++) {
            buf_add_str(&b, "[\"");
            for (int j = 0; j < escapes * i / 10; j++)
                buf_add_str(&b, "\\n");
            buf_add_str(&b, i < DEPTH - 1 ? "\"," : "\"");
        }
        for (int i = 0; i < DEPTH; i++)
            buf_add_char(&b, ']');
        if (json_parse(&arena, buf_slice(&b), &limits, &v, &err) < 0)
            fail_msg("%s at %zu", err.reason, err.offset);
        arena_clear(&arena);
    }
    buf_clear(&b);
    for (int i = 0; i <= DEPTH; i++)
        buf_add_char(&b, '[');
    assert_string_equal(refuse(buf_slice(&b), &limits), "too deep");
    buf_release(&b);
}

static void test_value_count(void **state)
{
    struct json_limits limits = {.values = 4};
    (void)state;

    assert_int_equal(
        json_parse(&arena, SLICE("[1,[2]]"), &limits, &(const struct json *){NULL}, &err), 0);
    assert_string_equal(refuse(SLICE("[1,[2,3]]"), &limits), "too many values");
    assert_string_equal(refuse(SLICE("[1,[2],{}]"), &limits), "too many values");
    assert_string_equal(refuse(SLICE("{\"a\":1,\"b\":2,\"c\":3,\"d\":4}"), &limits),
                        "too many values");
    assert_slice(err.key, "d");
}

static void test_default_value_count(void **state)
{
    struct buf b;
    (void)state;

    buf_init(&b, MEGABYTE);
    buf_add_char(&b, '[');
    for (int i = 0; i < 1022; i++)
        buf_add_str(&b, "1,");
    buf_add_str(&b, "1]");
    assert_int_equal(parse(buf_slice(&b))->count, 1023);
    b.n--;
    buf_add_str(&b, ",1]");
    assert_string_equal(refuse(buf_slice(&b), NULL), "too many values");
    buf_release(&b);
}

/* Whatever the length of a string, with and without escapes, ended or not: memory suffices. */
static void test_string_lengths(void **state)
{
    static const size_t lengths[] = {
        0,    1,    100,  503,   504,   505,   2030,   2047,   2048,   2049,    4095,
        4096, 4097, 9000, 65535, 65536, 65537, 100000, 131071, 131073, 1 << 20, (1 << 20) + 1};
    struct buf b;
    (void)state;

    buf_init(&b, 4 * MEGABYTE);
    for (size_t i = 0; i < COUNT(lengths); i++) {
        for (int escapes = 0; escapes < 2; escapes++) {
            const struct json *v;

            buf_clear(&b);
            buf_add_str(&b, escapes ? "[\"\\n" : "[\"x");
            memset(buf_reserve(&b, lengths[i]), 'a', lengths[i]);
            b.n += lengths[i];
            assert_string_equal(refuse(buf_slice(&b), NULL), "syntax");
            buf_add_str(&b, escapes ? "\\t\",\"\\t\"]" : "x\",\"t\"]");
            v = parse(buf_slice(&b));
            assert_int_equal(v->child->text.n, lengths[i] + 2);
            assert_int_equal(v->child->next->text.n, 1);
            arena_clear(&arena);
        }
    }
    buf_release(&b);
}

static void test_long_number_and_escapes_only(void **state)
{
    struct buf b;
    (void)state;

    buf_init(&b, 4 * MEGABYTE);
    for (int i = 0; i < 300000; i++)
        buf_add_char(&b, '7');
    assert_int_equal(parse(buf_slice(&b))->text.n, 300000); /* ended by the input's end */
    buf_clear(&b);
    buf_add_char(&b, '"');
    for (int i = 0; i < 100000; i++)
        buf_add_str(&b, "\\u4e2d");
    buf_add_char(&b, '"');
    assert_int_equal(parse(buf_slice(&b))->text.n, 300000);
    buf_release(&b);
}

static void test_too_long(void **state)
{
    static const char c = '1';
    (void)state;
    assert_string_equal(refuse(slice_n(&c, 64 * MEGABYTE + 1), NULL), "too long");
}

static void test_input_may_go_away(void **state)
{
    char text[] = "{\"key\":[\"value\",12]}";
    const struct json *v;
    (void)state;

    v = parse(slice_of(text));
    memset(text, '#', sizeof(text));
    assert_written(v, "{\"key\":[\"value\",12]}");
}

/* Only when asked for, and never what had to be decoded. */
static void test_in_place(void **state)
{
    const struct json_limits limits = {.in_place = true};
    static const char text[] =
        "{\"plain\":\"value\",\"n\":12,\"dec\\u006fded\":\"a\\nb\",\"\":\"\"}";
    const struct json *doc = NULL;
    struct arena a;

    (void)state;
    arena_init(&a, 65536);
    assert_int_equal(json_parse(&a, slice_of(text), &limits, &doc, &err), 0);
    assert_true(slice_is(json_str(doc, "plain"), "value"));
    assert_ptr_equal(json_str(doc, "plain").p, strstr(text, "value"));
    assert_ptr_equal(json_get(doc, "n")->text.p, strstr(text, "12"));
    assert_true(slice_is(json_str(doc, "decoded"), "a\nb"));
    assert_true(json_str(doc, "").p != NULL && json_str(doc, "").n == 0);
    assert_int_equal(json_parse(&a, slice_of(text), NULL, &doc, &err), 0);
    assert_true(json_str(doc, "plain").p != strstr(text, "value"));
    arena_release(&a);
}

static void test_arena_too_small(void **state)
{
    static const char text[] = "{\"a\":[1,\"two\",{\"b\":null}],\"c\":\"\\n\"}";
    int rc = -1;
    (void)state;

    for (size_t cap = 0; rc < 0; cap += 16) {
        const struct json *v = NULL;
        struct arena small;

        assert_true(cap < 4096);
        arena_init(&small, cap);
        rc = json_parse(&small, slice_of(text), NULL, &v, &err);
        if (rc == 0)
            assert_written(v, text);
        else
            assert_string_equal(err.reason, "out of memory");
        arena_release(&small);
    }
}

static void test_syntax_offset(void **state)
{
    (void)state;
    refuse(SLICE("{\"a\":1,}"), NULL);
    assert_in_range(err.offset, 7, 8);
    refuse(SLICE("[1,2] x"), NULL);
    assert_in_range(err.offset, 5, 7);
}

/* ------------------------------------------------------------------ reading */

static void test_get(void **state)
{
    const struct json *v =
        parse(SLICE("{\"amount\":{\"total\":888,\"currency\":\"CNY\",\"\":7},\"n\":null,"
                    "\"list\":[{\"x\":1}],\"s\":\"str\"}"));
    (void)state;

    assert_slice(json_get(v, "amount.total")->text, "888");
    assert_slice(json_str(v, "amount.currency"), "CNY");
    assert_slice(json_str(v, "s"), "str");
    assert_int_equal(json_get(v, "n")->type, JSON_NULL);
    assert_int_equal(json_get(v, "list")->count, 1);
    assert_slice(json_get(v, "amount.")->text, "7");
    assert_null(json_get(v, "amount.total.x"));
    assert_null(json_get(v, "amount.tota"));
    assert_null(json_get(v, "list.x"));
    assert_null(json_get(v, "absent"));
    assert_null(json_get(v, ""));
    assert_null(json_get(NULL, "a"));
    assert_null(json_str(v, "amount.total").p);
    assert_null(json_str(v, "absent").p);
    assert_null(json_str(NULL, "a").p);
    assert_slice(v->child->key, "amount");
    assert_slice(json_get(v, "list")->child->key, "");
}

static void test_int64(void **state)
{
    static const char *const bad[] = {
        "1.0",  "1e2",  "88.88", "-0", "9223372036854775808",       "\"1\"",
        "true", "null", "[1]",   "{}", "99999999999999999999999999"};
    int64_t n = 42;
    (void)state;

    for (size_t i = 0; i < COUNT(bad); i++)
        assert_case(json_int64(parse(slice_of(bad[i])), &n) == -1, bad[i]);
    assert_int_equal(json_int64(NULL, &n), -1);
    assert_int_equal(n, 42);
    assert_int_equal(json_int64(parse(SLICE("9223372036854775807")), &n), 0);
    assert_true(n == INT64_MAX);
    assert_int_equal(json_int64(parse(SLICE("-9223372036854775808")), &n), 0);
    assert_true(n == INT64_MIN);
}

/* ------------------------------------------------------------------ writing */

static void test_writer(void **state)
{
    struct json_writer w;
    struct buf b;
    (void)state;

    buf_init(&b, 4096);
    json_writer_init(&w, &b);
    json_begin_object(&w);
    json_member_str(&w, "a", SLICE("x"));
    json_member_str_opt(&w, "none", SLICE_NULL);
    json_member_int64(&w, "b", INT64_MIN);
    json_key(&w, "c");
    json_begin_array(&w);
    json_begin_object(&w);
    json_end_object(&w);
    json_begin_array(&w);
    json_end_array(&w);
    json_put_bool(&w, true);
    json_put_bool(&w, false);
    json_put_null(&w);
    json_put_raw(&w, SLICE("1.50"));
    json_put_int64(&w, 0);
    json_end_array(&w);
    json_key_slice(&w, SLICE("d\""));
    json_begin_object(&w);
    json_key(&w, "e");
    json_put_null(&w);
    json_end_object(&w);
    json_member_str_opt(&w, "f", SLICE("y"));
    json_end_object(&w);
    assert_slice(buf_slice(&b),
                 "{\"a\":\"x\",\"b\":-9223372036854775808,\"c\":[{},[],true,false,null,1.50,0],"
                 "\"d\\\"\":{\"e\":null},\"f\":\"y\"}");
    assert_int_equal(w.depth, 0);
    assert_true(buf_ok(&b));
    parse(buf_slice(&b));
    buf_release(&b);
}

static void assert_string_written(struct slice s, const char *want)
{
    struct json_writer w;
    struct buf b;

    buf_init(&b, 4096);
    json_writer_init(&w, &b);
    json_put_str(&w, s);
    assert_slice(buf_slice(&b), want);
    parse(buf_slice(&b));
    buf_release(&b);
}

static void test_escaping(void **state)
{
    (void)state;
    assert_string_written(SLICE(""), "\"\"");
    assert_string_written(SLICE_NULL, "\"\"");
    assert_string_written(SLICE("\"\\/"), "\"\\\"\\\\/\"");
    assert_string_written(SLICE("\n\r\t\b\f\x1f\x01"), "\"\\n\\r\\t\\u0008\\u000c\\u001f\\u0001\"");
    assert_string_written(SLICE("a\x7f\xe4\xb8\xad\xf0\x9f\x98\x80z"),
                          "\"a\x7f\xe4\xb8\xad\xf0\x9f\x98\x80z\"");
    /* not UTF-8: the output is JSON nevertheless */
    assert_string_written(SLICE("a\xffz"), "\"a\xef\xbf\xbdz\"");
    assert_string_written(SLICE("\xe4\xb8"), "\"\xef\xbf\xbd\xef\xbf\xbd\"");
    assert_string_written(SLICE("\xed\xa0\x80\""), "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\\\"\"");
}

/* Any byte at any place of a string of any length: what was written reads as it was, and a byte
 * that is no UTF-8 as U+FFFD. */
static void test_every_byte_is_written(void **state)
{
    (void)state;

    for (unsigned n = 1; n <= 25; n++) {
        for (unsigned at = 0; at < n; at++) {
            for (unsigned c = 0; c < 256; c++) {
                char text[25], out[32], want[32];
                struct json_writer w;
                struct buf b;
                int size;

                memset(text, 'x', sizeof(text));
                text[at] = (char)c;
                buf_init(&b, 64);
                json_writer_init(&w, &b);
                json_put_str(&w, slice_n(text, n));
                if (c >= 0x80)
                    size = snprintf(out, sizeof(out), "\xef\xbf\xbd");
                else if (c == '"' || c == '\\')
                    size = snprintf(out, sizeof(out), "\\%c", c);
                else if (c == '\n' || c == '\r' || c == '\t')
                    size = snprintf(out, sizeof(out), "\\%c",
                                    c == '\n'   ? 'n'
                                    : c == '\r' ? 'r'
                                                : 't');
                else if (c < 0x20)
                    size = snprintf(out, sizeof(out), "\\u%04x", c);
                else
                    size = snprintf(out, sizeof(out), "%c", c);
                memset(want, 'x', sizeof(want));
                assert_int_equal(b.n, 2 + n - 1 + (unsigned)size);
                assert_int_equal(b.p[0], '"');
                assert_int_equal(b.p[b.n - 1], '"');
                assert_memory_equal(b.p + 1, want, at);
                assert_memory_equal(b.p + 1 + at, out, (size_t)size);
                assert_memory_equal(b.p + 1 + at + size, want, n - 1 - at);
                buf_release(&b);
            }
        }
    }
}

/* RFC 8259 allows it, our own parser refuses it: it never enters, but must not break the form. */
static void test_nul_is_escaped(void **state)
{
    struct json_writer w;
    struct buf b;
    (void)state;

    buf_init(&b, 64);
    json_writer_init(&w, &b);
    json_put_str(&w, SLICE("a\0b"));
    assert_slice(buf_slice(&b), "\"a\\u0000b\"");
    buf_release(&b);
}

static void test_writer_depth(void **state)
{
    struct json_writer w;
    struct buf b;
    (void)state;

    buf_init(&b, 4096);
    json_writer_init(&w, &b);
    for (int i = 0; i < 32; i++) {
        if (i)
            json_put_null(&w);
        json_begin_array(&w);
    }
    assert_true(buf_ok(&b));
    for (int i = 0; i < 32; i++)
        json_end_array(&w);
    assert_true(buf_ok(&b));
    json_parse(&arena, buf_slice(&b), &(struct json_limits){.depth = 32},
               &(const struct json *){NULL}, &err);
    assert_null(err.reason);
    json_end_array(&w);
    assert_false(buf_ok(&b));

    buf_clear(&b);
    json_writer_init(&w, &b);
    for (int i = 0; i < 33; i++)
        json_begin_array(&w);
    assert_false(buf_ok(&b));
    assert_int_equal(w.depth, 32);
    buf_release(&b);
}

static void test_writer_cap(void **state)
{
    const struct json *v = parse(SLICE("{\"a\":[1,2,{\"b\":\"x\"}],\"c\":\"\xe4\xb8\xad\"}"));
    bool ok = false;
    (void)state;

    for (size_t cap = 0; !ok; cap++) {
        struct json_writer w;
        struct buf b;

        buf_init(&b, cap);
        json_writer_init(&w, &b);
        json_put_value(&w, v);
        ok = buf_ok(&b);
        assert_true(b.n <= cap && (!ok || b.n == cap));
        buf_release(&b);
    }
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_accepts),
        TEST(test_refuses_syntax),
        TEST(test_every_prefix_is_refused),
        TEST(test_refuses_nul_and_surrogates),
        TEST(test_utf8),
        TEST(test_duplicate_keys),
        TEST(test_duplicates_in_large_objects),
        TEST(test_depth),
        TEST(test_deepest),
        TEST(test_value_count),
        TEST(test_default_value_count),
        TEST(test_string_lengths),
        TEST(test_long_number_and_escapes_only),
        TEST(test_too_long),
        TEST(test_input_may_go_away),
        TEST(test_in_place),
        TEST(test_arena_too_small),
        TEST(test_syntax_offset),
        TEST(test_get),
        TEST(test_int64),
        TEST(test_writer),
        TEST(test_escaping),
        TEST(test_every_byte_is_written),
        TEST(test_nul_is_escaped),
        TEST(test_writer_depth),
        TEST(test_writer_cap),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
