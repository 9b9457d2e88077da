/* R3.4: what a channel's XML may be and what it may not; and that the writer's XML is read back. */
#include "core/xml_impl.h"

#include "core_test.h"

static struct arena arena;
static struct xml_error err;

static int setup(void **state)
{
    (void)state;
    arena_init(&arena, 64 << 20);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    arena_release(&arena);
    return 0;
}

static const struct xml *parse(struct slice text)
{
    const struct xml *v = NULL;

    if (xml_parse(&arena, text, NULL, &v, &err) < 0)
        fail_msg("%.*s: %s at %zu", SLICE_FMT(text), err.reason, err.offset);
    assert_null(err.reason);
    return v;
}

static const char *refuse(struct slice text, const struct xml_limits *limits)
{
    const struct xml *v = NULL;

    if (xml_parse(&arena, text, limits, &v, &err) == 0)
        fail_msg("%.*s: accepted", SLICE_FMT(text));
    assert_null(v);
    assert_non_null(err.reason);
    return err.reason;
}

static void test_values(void **state)
{
    const struct xml *v = parse(SLICE("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
                                      "<xml>\n  <a><![CDATA[1 < 2 & 3]]></a>\n"
                                      "  <b>&lt;&amp;&gt;&quot;&apos;&#x4e2d;&#25991;</b>\n"
                                      "  <c></c><d/><e>  x\r\ny </e>\n"
                                      "  <f><g>1</g><h>2</h></f><i><![CDATA[]]></i>\n</xml>\n"));

    (void)state;
    assert_slice(v->name, "xml");
    assert_int_equal(v->count, 7);
    assert_slice(v->text, "");
    assert_slice(xml_str(v, "a"), "1 < 2 & 3");
    assert_slice(xml_str(v, "b"), "<&>\"'中文");
    assert_non_null(xml_str(v, "c").p);
    assert_int_equal(xml_str(v, "c").n, 0);
    assert_non_null(xml_str(v, "d").p);
    assert_slice(xml_str(v, "e"), "  x\ny ");
    assert_null(xml_str(v, "f").p);
    assert_slice(xml_str(xml_get(v, "f"), "h"), "2");
    assert_slice(xml_str(v, "i"), "");
    assert_null(xml_str(v, "nothing").p);
    assert_null(xml_get(NULL, "a"));
    assert_slice(v->child->next->name, "b");
}

static void test_byte_order_mark(void **state)
{
    (void)state;
    assert_slice(xml_str(parse(SLICE("\xEF\xBB\xBF<xml><a>1</a></xml>")), "a"), "1");
}

static void test_refusals(void **state)
{
    static const struct {
        struct slice text;
        const char *reason;
    } cases[] = {
        {SLICE(""), "syntax"},
        {SLICE("   "), "syntax"},
        {SLICE("text"), "syntax"},
        {SLICE("<xml>"), "syntax"},
        {SLICE("<xml></lmx>"), "syntax"},
        {SLICE("<xml><a>1</xml></a>"), "syntax"},
        {SLICE("<xml><a>a & b</a></xml>"), "syntax"},
        {SLICE("<xml><a>]]></a></xml>"), "syntax"},
        {SLICE("<xml><a><![CDATA[x</a></xml>"), "syntax"},
        {SLICE("<xml><a>\x01</a></xml>"), "syntax"},
        {SLICE("<xml><a>&#1;</a></xml>"), "syntax"},
        {SLICE("<xml><a>&#0;</a></xml>"), "syntax"},
        {SLICE("<xml/><xml/>"), "bytes behind the element"},
        {SLICE("<xml/>x"), "bytes behind the element"},
        {SLICE("<!DOCTYPE xml><xml/>"), "DOCTYPE"},
        {SLICE("<!DOCTYPE xml [<!ENTITY a \"b\">]><xml><b>&a;</b></xml>"), "DOCTYPE"},
        {SLICE("<!DOCTYPE xml SYSTEM \"file:///etc/passwd\"><xml/>"), "DOCTYPE"},
        {SLICE("<!DOCTYPE xml [<!ENTITY % d SYSTEM \"http://127.0.0.1/d\"> %d;]><xml/>"),
         "DOCTYPE"},
        {SLICE("<xml><a>&nbsp;</a></xml>"), "entity"},
        {SLICE("<xml a=\"1\"/>"), "attribute"},
        {SLICE("<xml a=\"1\" a=\"1\"/>"), "attribute"},
        {SLICE("<xml xmlns=\"urn:x\"/>"), "attribute"},
        {SLICE("<xml><a>88<!-- -->8</a></xml>"), "comment"},
        {SLICE("<!-- --><xml/>"), "comment"},
        {SLICE("<xml/><!-- -->"), "comment"},
        {SLICE("<xml><a>8<?x y?>8</a></xml>"), "processing instruction"},
        {SLICE("<?xml-stylesheet href=\"x\"?><xml/>"), "processing instruction"},
        {SLICE("<?xml version=\"1.0\" encoding=\"GBK\"?><xml/>"), "encoding"},
        {SLICE("<?xml version=\"1.0\" encoding=\"UTF-16\"?><xml/>"), "encoding"},
        {SLICE("<xml><a><![CDATA[1]]><![CDATA[2]]></a></xml>"), "CDATA beside text"},
        {SLICE("<xml><a>1<![CDATA[2]]></a></xml>"), "CDATA beside text"},
        {SLICE("<xml><a><![CDATA[1]]>2</a></xml>"), "CDATA beside text"},
        {SLICE("<xml><a> <![CDATA[1]]></a></xml>"), "CDATA beside text"},
        {SLICE("<xml><a><![CDATA[]]><![CDATA[2]]></a></xml>"), "CDATA beside text"},
        {SLICE("<xml>1<a/></xml>"), "text beside elements"},
        {SLICE("<xml><a/>1</xml>"), "text beside elements"},
        {SLICE("<xml><a/>1<b/></xml>"), "text beside elements"},
        {SLICE("<xml><![CDATA[ ]]><a/></xml>"), "text beside elements"},
        {SLICE("<xml><a/><![CDATA[ ]]></xml>"), "text beside elements"},
        {SLICE("<xml><a>1</a><b/><a>2</a></xml>"), "duplicate element"},
        {SLICE("<xml><f><a/><a/></f></xml>"), "duplicate element"},
        {SLICE("<a><b><c><d><e/></d></c></b></a>"), "too deep"},
        {SLICE("\xFF\xFE<\0x\0/\0>\0"), "not UTF-8"},
        {SLICE("\xFE\xFF\0<\0x\0/\0>"), "not UTF-8"},
        {SLICE("<\0x\0/\0>\0"), "not UTF-8"},
        {SLICE("<xml><a>\xC0\x80</a></xml>"), "not UTF-8"},
        {SLICE("<xml><a>\xB2\xE2</a></xml>"), "not UTF-8"},
        {SLICE("<xml><a>\xED\xA0\x80</a></xml>"), "not UTF-8"},
        {SLICE("<xml/>\0"), "not UTF-8"},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        const char *reason = refuse(cases[i].text, NULL);

        if (strcmp(reason, cases[i].reason) != 0)
            fail_msg("%.*s: \"%s\", not \"%s\"", SLICE_FMT(cases[i].text), reason, cases[i].reason);
    }
}

static void test_errors_name_the_place(void **state)
{
    (void)state;
    refuse(SLICE("<xml><total_fee>1</total_fee><total_fee>2</total_fee></xml>"), NULL);
    assert_slice(err.name, "total_fee");
    assert_int_equal(err.offset, 29);
    refuse(SLICE("<xml><a>1<![CDATA[2]]></a></xml>"), NULL);
    assert_slice(err.name, "a");
    assert_int_equal(err.offset, 9);
}

static void same(const struct xml *a, const struct xml *b)
{
    assert_true(slice_eq(a->name, b->name));
    assert_true(slice_eq(a->text, b->text));
    assert_int_equal(a->text.p != NULL, b->text.p != NULL);
    assert_int_equal(a->count, b->count);
    for (a = a->child, b = b->child; a && b; a = a->next, b = b->next)
        same(a, b);
    assert_true(!a && !b);
}

/* What channels write takes the quick way, what it does not know the long one; both read alike. */
static void test_two_readers(void **state)
{
    static const struct xml_limits limits = {.depth = 4, .elements = 512};
    static const struct {
        struct slice text;
        bool plain;
    } cases[] = {
        {SLICE("<xml><a>1</a><b><![CDATA[x<y>&]]]z]></b>]]></b></xml>"), true},
        {SLICE("<xml>\n  <a_1.b-c>\xE6\xB5\x8B\xEF\xBC\x8C</a_1.b-c>\n\t<c></c></xml> \n"), true},
        {SLICE("<xml><a> </a><b><c>1</c><d> <e>\x7F\n</e></d></b></xml>"), true},
        {SLICE("<xml><a><![CDATA[x]]]]></a></xml>"), true},
        {SLICE("<xml></xml>"), true},
        {SLICE("<xml>text</xml>"), true},
        {SLICE("<xml><a><![CDATA[]]></a><ab>1</ab><ba>2</ba></xml>"), true},
        {SLICE("<xml><a/></xml>"), false},
        {SLICE("<xml ><a>1</a></xml>"), false},
        {SLICE("<?xml version=\"1.0\"?><xml><a>1</a></xml>"), false},
        {SLICE("\n<xml><a>1</a></xml>"), false},
        {SLICE("<xml><a>&lt;</a></xml>"), false},
        {SLICE("<xml><a>1\r\n2</a></xml>"), false},
        {SLICE("<xml><a>]</a></xml>"), false},
        {SLICE("<xml><a>\xEF\xBF\xA5</a></xml>"), false},
        {SLICE("<xml><\xE6\xB5\x8B>1</\xE6\xB5\x8B></xml>"), false},
    };
    const struct xml *quick, *slow;

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct slice in = cases[i].text;

        err = (struct xml_error){0};
        if (xml_read_expat(&arena, in, &limits, &slow, &err) < 0)
            fail_msg("%.*s: %s", SLICE_FMT(in), err.reason);
        if (xml_read_plain(&arena, in, &limits, &quick) != cases[i].plain)
            fail_msg("%.*s: the other way", SLICE_FMT(in));
        if (cases[i].plain)
            same(quick, slow);
        same(parse(in), slow);
    }
}

/* The same names in different parents are different elements. */
static void test_names_are_per_parent(void **state)
{
    (void)state;
    parse(SLICE("<xml><a><b/></a><c><b/></c></xml>"));
    parse(SLICE("<xml><xml/></xml>"));
}

static void test_limits(void **state)
{
    struct xml_limits two = {.depth = 2, .elements = 2};
    struct xml_limits huge = {.depth = UINT32_MAX, .elements = UINT32_MAX};
    const struct xml *v;
    struct buf b;
    char name[16];

    (void)state;
    assert_int_equal(xml_parse(&arena, SLICE("<a><b/></a>"), &two, &v, &err), 0);
    assert_string_equal(refuse(SLICE("<a><b><c/></b></a>"), &two), "too many elements");
    two.elements = 3;
    assert_string_equal(refuse(SLICE("<a><b><c/></b></a>"), &two), "too deep");
    buf_init(&b, 1 << 20);
    xml_begin(&b, "xml");
    for (int i = 0; i < 511; i++) {
        snprintf(name, sizeof(name), "e%d", i);
        xml_member_int64(&b, slice_of(name), i);
    }
    xml_end(&b, "xml");
    assert_int_equal(parse(buf_slice(&b))->count, 511);
    buf_clear(&b);
    for (int i = 0; i < 100000; i++)
        xml_begin(&b, "d");
    assert_string_equal(refuse(buf_slice(&b), &huge), "too deep");
    buf_release(&b);
}

/* Every prefix of a document is refused, and read without a byte beyond its end. */
static void test_prefixes(void **state)
{
    static const char text[] = "<xml><a><![CDATA[1]]></a><b>&lt;\xE6\xB5\x8B</b><c><d/></c></xml>";

    (void)state;
    for (size_t n = 0; n < sizeof(text) - 1; n++) {
        char *copy = malloc(n + 1); /* its end is where the sanitizer looks */

        memcpy(copy, text, n);
        refuse(slice_n(copy, n), NULL);
        free(copy);
    }
    parse(slice_of(text));
}

static void round_trip(struct slice text, const char *want)
{
    const struct xml *v;
    struct buf b;

    buf_init(&b, 65536);
    xml_begin(&b, "xml");
    xml_member(&b, SLICE("a"), text);
    xml_member_cdata(&b, SLICE("b"), text);
    xml_end(&b, "xml");
    v = parse(buf_slice(&b));
    assert_slice(xml_str(v, "a"), want);
    assert_slice(xml_str(v, "b"), want);
    buf_release(&b);
}

static void test_writer_is_read_back(void **state)
{
    (void)state;
    round_trip(SLICE(""), "");
    round_trip(SLICE("plain"), "plain");
    round_trip(SLICE("a<b>&c\"'"), "a<b>&c\"'");
    round_trip(SLICE("]]>"), "]]>");
    round_trip(SLICE("x]]]]>><![CDATA["), "x]]]]>><![CDATA[");
    round_trip(SLICE("\t l1\nl2 "), "\t l1\nl2 ");
    round_trip(SLICE("a\r\nb\r"), "a\r\nb\r");
    round_trip(SLICE("测试\xF0\x9F\x98\x80"), "测试\xF0\x9F\x98\x80");
    round_trip(SLICE("a\0b\x1F"), "a\xEF\xBF\xBD"
                                  "b\xEF\xBF\xBD");
    round_trip(SLICE("\xFFz\xE6\xB5"), "\xEF\xBF\xBDz\xEF\xBF\xBD\xEF\xBF\xBD");
    round_trip(SLICE("a\xEF\xBF\xBE\xEF\xBF\xBF.\xEF\xBF\xBD"), "a\xEF\xBF\xBD\xEF\xBF\xBD."
                                                                "\xEF\xBF\xBD");
}

static void test_writer_bytes(void **state)
{
    struct buf b;

    (void)state;
    buf_init(&b, 200);
    xml_begin(&b, "xml");
    xml_member_cdata(&b, SLICE("body"), SLICE("tea & milk"));
    xml_member(&b, SLICE("attach"), SLICE("a<b>"));
    xml_member_int64(&b, SLICE("total_fee"), 888);
    xml_end(&b, "xml");
    assert_slice(buf_slice(&b), "<xml><body><![CDATA[tea & milk]]></body>"
                                "<attach>a&lt;b&gt;</attach><total_fee>888</total_fee></xml>");
    buf_release(&b);
}

/* Memory that ends anywhere is told, and leaves nothing behind. */
static void test_memory_ends(void **state)
{
    struct slice text = SLICE("<xml><a>1</a><b><c>2</c></b></xml>");
    struct arena small;
    int rc = -1;

    (void)state;
    for (size_t cap = 0; rc < 0; cap += 16) {
        const struct xml *v = NULL;

        arena_init(&small, cap);
        rc = xml_parse(&small, text, NULL, &v, &err);
        if (rc < 0) {
            assert_string_equal(err.reason, "out of memory");
            assert_null(v);
        }
        arena_release(&small);
        assert_true(cap < 4096);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_byte_order_mark),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_errors_name_the_place),
        cmocka_unit_test(test_two_readers),
        cmocka_unit_test(test_names_are_per_parent),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_prefixes),
        cmocka_unit_test(test_writer_is_read_back),
        cmocka_unit_test(test_writer_bytes),
        cmocka_unit_test(test_memory_ends),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, setup, teardown);
}
