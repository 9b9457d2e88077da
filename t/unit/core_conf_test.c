#include "core/conf.h"

#include "core/buf.h"

#include "core_test.h"

#include <sys/stat.h>
#include <unistd.h>

static struct arena arena;
static struct conf_error err;

static int setup(void **state)
{
    (void)state;
    arena_init(&arena, 8 << 20);
    memset(&err, 0, sizeof(err));
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    arena_release(&arena);
    return 0;
}

/* A tree as one line: name(arg,arg){...} - what was parsed, without the syntax. */
static void dump(struct buf *b, const struct conf_node *node)
{
    for (; node; node = node->next) {
        buf_add_slice(b, node->name);
        for (uint32_t i = 0; i < node->nargs; i++)
            buf_addf(b, "%c%.*s", i ? ',' : '(', SLICE_FMT(node->args[i]));
        if (node->nargs)
            buf_add_char(b, ')');
        if (node->block) {
            buf_add_char(b, '{');
            dump(b, node->child);
            buf_add_char(b, '}');
        } else {
            assert_null(node->child);
        }
        if (node->next)
            buf_add_char(b, ' ');
    }
}

static void assert_tree(const struct conf_node *node, const char *want)
{
    struct buf b;

    buf_init(&b, 65536);
    dump(&b, node);
    assert_slice(buf_slice(&b), want);
    buf_release(&b);
}

static void test_syntax(void **state)
{
    static const struct {
        const char *text;
        const char *tree;
    } good[] = {
        {"", ""},
        {" \n\t# only a comment", ""},
        {"a;", "a"},
        {"a b  c\n d;", "a(b,c,d)"},
        {"a{}", "a{}"},
        {"a b{c;}d e;", "a(b){c} d(e)"},
        {"a { b { c d; } } e;", "a{b{c(d)}} e"},
        {"a 'b c' \"d;{}#\";", "a(b c,d;{}#)"},
        {"a \"\" '';", "a(,)"},
        {"a \"it's\" 'say \"x\"';", "a(it's,say \"x\")"},
        {"a \"x\\\"y\" 'x\\'y' x\\\\y;", "a(x\"y,x'y,x\\y)"},
        {"a \"x\\ty\" x\\;y x\\ y \"\\d+\";", "a(x\ty,x\\;y,x\\ y,\\d+)"},
        {"a b#c; # d\ne;", "a(b#c) e"},
        {"a b # c;{\n d;", "a(b,d)"},
        {"# ' \"\na;", "a"},
        {"a $x ${y}z http://${h}/{}", "a($x,${y}z,http://${h}/){}"},
        {"a b\"c d'e;", "a(b\"c,d'e)"},
        {"\"a b\" c;", "a b(c)"},
        {"a\r\nb;\r\n", "a(b)"},
        {"a b}c;", "a(b}c)"},
        {"a \xe4\xb8\xad;", "a(\xe4\xb8\xad)"},
        {"a \"b\"{}", "a(b){}"},
        {"a ${x{y} ${z {b;}", "a(${x{y},${z){b}"},
    };
    (void)state;

    for (size_t i = 0; i < COUNT(good); i++) {
        struct slice text = slice_of(good[i].text);
        struct conf_node *node;

        if (conf_parse_text(&arena, "t", text, &node, &err) < 0)
            fail_msg("%s: %s", good[i].text, err.text);
        assert_tree(node, good[i].tree);
    }
}

static void test_lines(void **state)
{
    struct conf_node *node;
    (void)state;

    assert_int_equal(conf_parse_text(&arena, "f.conf",
                                     SLICE("\n# c\na 'x\ny'\n b;\nc {\n\n d; }\n e;"), &node, &err),
                     0);
    assert_string_equal(node->file, "f.conf");
    assert_int_equal(node->line, 3);
    assert_int_equal(node->next->line, 6);
    assert_int_equal(node->next->child->line, 8);
    assert_int_equal(node->next->next->line, 9);
}

static void test_syntax_errors(void **state)
{
    static const struct {
        const char *text;
        const char *error;
    } bad[] = {
        {"a", "t:1: \"a\" is not ended by \";\" or a block"},
        {"\na b\nc", "t:2: \"a\" is not ended by \";\" or a block"},
        {"a;\nb {\n c;\n", "t:2: block is not closed by \"}\""},
        {"a {\n b {\n c;\n }\n", "t:1: block is not closed by \"}\""},
        {"a;\n}", "t:2: unexpected \"}\""},
        {"a {\n b\n}", "t:3: unexpected \"}\", \"b\" is not ended by \";\""},
        {";", "t:1: unexpected \";\""},
        {"a;\n\"\" b;", "t:2: a directive needs a name"},
        {"a;\n;", "t:2: unexpected \";\""},
        {"{ }", "t:1: unexpected \"{\""},
        {"a {\n {", "t:2: unexpected \"{\""},
        {"a\n \"b\nc;\nd;", "t:2: quoted argument is not ended by \""},
        {"a 'b\\'", "t:1: quoted argument is not ended by '"},
        {"a 'b\\", "t:1: quoted argument is not ended by '"},
        {"a \"b\"c;", "t:1: unexpected \"c\" behind a quoted argument"},
        {"a \"b\"}", "t:1: unexpected \"}\" behind a quoted argument"},
        {"a \"b\"\"c\";", "t:1: unexpected \"\"\" behind a quoted argument"},
        {"include x;", "t:1: include is not allowed here"},
        {"a {\n include *; }", "t:2: include is not allowed here"},
        {"a x\\\ny \"z\\\n\";\n}", "t:4: unexpected \"}\""},
        {"a b\\", "t:1: \"a\" is not ended by \";\" or a block"},
    };
    struct conf_node *node = NULL;
    (void)state;

    for (size_t i = 0; i < COUNT(bad); i++) {
        assert_case(conf_parse_text(&arena, "t", slice_of(bad[i].text), &node, &err) == -1,
                    bad[i].text);
        assert_string_equal(err.text, bad[i].error);
    }
    assert_int_equal(conf_parse_text(&arena, "t", SLICE("a;\nb\0c;"), &node, &err), -1);
    assert_string_equal(err.text, "t:2: NUL byte");
    assert_null(node);
}

static void repeat(struct buf *b, const char *text, int times)
{
    while (times--)
        buf_add_str(b, text);
}

static void test_limits(void **state)
{
    struct conf_node *node;
    struct buf b;
    (void)state;

    buf_init(&b, 1 << 20);
    buf_add_str(&b, "a");
    repeat(&b, " x", CONF_MAX_ARGS);
    buf_add_str(&b, ";");
    assert_int_equal(conf_parse_text(&arena, "t", buf_slice(&b), &node, &err), 0);
    assert_int_equal(node->nargs, CONF_MAX_ARGS);
    b.n--;
    buf_add_str(&b, "\nx;");
    assert_int_equal(conf_parse_text(&arena, "t", buf_slice(&b), &node, &err), -1);
    assert_string_equal(err.text, "t:2: more than 64 arguments in \"a\"");

    buf_clear(&b);
    repeat(&b, "a {", 15);
    repeat(&b, "}", 15);
    assert_int_equal(conf_parse_text(&arena, "t", buf_slice(&b), &node, &err), 0);
    buf_clear(&b);
    repeat(&b, "a {", 100000);
    assert_int_equal(conf_parse_text(&arena, "t", buf_slice(&b), &node, &err), -1);
    assert_string_equal(err.text, "t:1: blocks are nested deeper than 16");

    buf_clear(&b);
    repeat(&b, "a { b; }\n", 1000);
    assert_int_equal(conf_parse_text(&arena, "t", buf_slice(&b), &node, &err), 0);
    buf_release(&b);
}

static void test_arena_too_small(void **state)
{
    const struct slice text = SLICE("a b c;\nd { e f; }\n");
    int rc = -1;
    (void)state;

    for (size_t cap = 0; rc < 0; cap += 16) {
        struct conf_node *node = NULL;
        struct arena small;

        assert_true(cap < 4096);
        arena_init(&small, cap);
        rc = conf_parse_text(&small, "t", text, &node, &err);
        if (rc == 0)
            assert_tree(node, "a(b,c) d{e(f)}");
        else
            assert_non_null(strstr(err.text, "configuration is too large"));
        arena_release(&small);
    }
}

/* ------------------------------------------------------------------ files */

static char folder[64];

static int make_folder(void **state)
{
    snprintf(folder, sizeof(folder), "/tmp/conf[t]XXXXXX"); /* a name that is also a pattern */
    return setup(state) == 0 && mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state)
{
    char command[128];

    snprintf(command, sizeof(command), "rm -rf '%s'", folder);
    return teardown(state) == 0 && system(command) == 0 ? 0 : -1;
}

static const char *path(const char *name)
{
    static char text[2][256];
    static unsigned turn;

    turn ^= 1;
    snprintf(text[turn], sizeof(text[turn]), "%s/%s", folder, name);
    return text[turn];
}

static void put(const char *name, const char *text)
{
    FILE *f = fopen(path(name), "w");

    assert_non_null(f);
    assert_int_equal(fwrite(text, 1, strlen(text), f), strlen(text));
    assert_int_equal(fclose(f), 0);
}

/* Parses main.conf, whose error must be "FOLDER/" + want. */
static void assert_file_error(const char *want)
{
    struct conf_node *node = NULL;
    char text[512];

    assert_int_equal(conf_parse_file(&arena, path("main.conf"), &node, &err), -1);
    snprintf(text, sizeof(text), "%s/%s", folder, want);
    assert_string_equal(err.text, text);
    assert_null(node);
}

static void test_include(void **state)
{
    struct conf_node *node;
    (void)state;

    assert_int_equal(mkdir(path("sub"), 0700), 0);
    put("main.conf", "a;\nb { include sub/*.conf; z; }\ninclude one.inc;\nc;\n");
    put("one.inc", "one;\n");
    put("sub/20.conf", "\nsecond;\n");
    put("sub/10.conf", "include '../one.inc';first;\n");
    put("sub/B.conf", "third;");
    put("sub/a.conf", "fourth;"); /* bytes order, whatever the locale says */
    put("sub/empty.conf", "");
    put("sub/x.off", "never;");
    if (conf_parse_file(&arena, path("main.conf"), &node, &err) < 0)
        fail_msg("%s", err.text);
    assert_tree(node, "a b{one first second third fourth z} one c");
    node = node->next->child->next->next;
    assert_int_equal(node->line, 2);
    assert_string_equal(node->file, path("sub/20.conf"));
}

static void test_include_patterns(void **state)
{
    struct conf_node *node;
    char text[256];
    (void)state;

    put("main.conf", "include none/*.conf; include nothing-[ab].conf; a;");
    assert_int_equal(conf_parse_file(&arena, path("main.conf"), &node, &err), 0);
    assert_tree(node, "a");

    snprintf(text, sizeof(text), "include /%s/b.inc; \"include\" x;", folder + 1);
    /* absolute paths are patterns themselves, and this folder's name does not match itself */
    put("main.conf", text);
    put("b.inc", "b;");
    assert_int_equal(conf_parse_file(&arena, path("main.conf"), &node, &err), 0);
    assert_tree(node, "include(x)");
}

static void test_file_errors(void **state)
{
    struct conf_node *node;
    (void)state;

    assert_int_equal(conf_parse_file(&arena, path("absent"), &node, &err), -1);
    assert_non_null(strstr(err.text, "/absent: cannot open"));
    assert_non_null(strstr(err.text, "No such file"));
    assert_int_equal(conf_parse_file(&arena, folder, &node, &err), -1);
    assert_non_null(strstr(err.text, "not a regular file"));

    put("main.conf", "a;\ninclude absent.conf;\n");
    assert_file_error("main.conf:2: include finds no \"absent.conf\"");
    put("main.conf", "a;\ninclude;\n");
    assert_file_error("main.conf:2: include takes one argument");
    put("main.conf", "include a b;\n");
    assert_file_error("main.conf:1: include takes one argument");
    put("main.conf", "include a { }\n");
    assert_file_error("main.conf:1: include takes one argument");
    put("main.conf", "include '';\n");
    assert_file_error("main.conf:1: include needs a file name");

    /* the error is the included file's, and blocks do not reach over files */
    put("main.conf", "a {\ninclude b.inc;\n}\n");
    put("b.inc", "x;\ny {\n");
    assert_file_error("b.inc:2: block is not closed by \"}\"");
    put("b.inc", "x;\n}\n");
    assert_file_error("b.inc:2: unexpected \"}\"");
}

static void test_include_cycle(void **state)
{
    (void)state;
    put("main.conf", "\ninclude main.conf;\n");
    assert_file_error("main.conf:2: include is nested deeper than 8 (a cycle?)");
    put("main.conf", "include *.conf;\n");
    put("other.conf", "include *.conf;\n");
    assert_file_error("main.conf:1: include is nested deeper than 8 (a cycle?)");
}

static void test_include_depth(void **state)
{
    struct conf_node *node;
    char name[16], text[32];
    (void)state;

    put("main.conf", "include 1.inc;\n");
    for (int i = 1; i < 8; i++) {
        snprintf(name, sizeof(name), "%d.inc", i);
        snprintf(text, sizeof(text), "include %d.inc;", i + 1);
        put(name, text);
    }
    put("8.inc", "deep;");
    assert_int_equal(conf_parse_file(&arena, path("main.conf"), &node, &err), 0);
    assert_tree(node, "deep");
}

static void test_large_file(void **state)
{
    struct conf_node *node;
    (void)state;

    put("main.conf", "a;");
    assert_int_equal(truncate(path("main.conf"), 1024 * 1024 + 1), 0);
    assert_int_equal(conf_parse_file(&arena, path("main.conf"), &node, &err), -1);
    assert_non_null(strstr(err.text, "larger than 1048576 bytes"));
}

/* ------------------------------------------------------------------ values and tables */

static void test_durations(void **state)
{
    static const struct {
        const char *text;
        int64_t ms;
    } good[] = {
        {"50ms", 50},
        {"5s", 5000},
        {"2m", 120000},
        {"3h", 10800000},
        {"7d", 604800000},
        {"0s", 0},
        {"9223372036854775807ms", INT64_MAX},
    };
    static const char *const bad[] = {"",
                                      "5",
                                      "ms",
                                      "s",
                                      "-5s",
                                      "+5s",
                                      "5 s",
                                      "5S",
                                      "5M",
                                      "5sec",
                                      "1.5s",
                                      "05s",
                                      "1h30m",
                                      "5s ",
                                      " 5s",
                                      "9223372036854775808ms",
                                      "9223372036854775807s",
                                      "106751991168d"};
    (void)state;

    for (size_t i = 0; i < COUNT(good); i++) {
        int64_t ms = 42;

        assert_case(conf_duration_ms(slice_of(good[i].text), &ms) == 0, good[i].text);
        assert_case(ms == good[i].ms, good[i].text);
    }
    for (size_t i = 0; i < COUNT(bad); i++) {
        int64_t ms = 42;

        assert_case(conf_duration_ms(slice_of(bad[i]), &ms) == -1, bad[i]);
        assert_case(ms == 42, bad[i]);
    }
}

static void test_sizes_and_switches(void **state)
{
    static const char *const bad[] = {"",
                                      "k",
                                      "-1",
                                      "1.5k",
                                      "1kb",
                                      "1 k",
                                      "0x10",
                                      "1t",
                                      "010",
                                      "9223372036854775808",
                                      "9007199254740992k"};
    int64_t n = 42;
    bool on = false;
    (void)state;

    assert_int_equal(conf_size(SLICE("512"), &n), 0);
    assert_int_equal(n, 512);
    assert_int_equal(conf_size(SLICE("64k"), &n), 0);
    assert_int_equal(n, 65536);
    assert_int_equal(conf_size(SLICE("8M"), &n), 0);
    assert_int_equal(n, 8388608);
    assert_int_equal(conf_size(SLICE("1g"), &n), 0);
    assert_int_equal(n, 1073741824);
    for (size_t i = 0; i < COUNT(bad); i++)
        assert_case(conf_size(slice_of(bad[i]), &n) == -1, bad[i]);
    assert_int_equal(n, 1073741824);
    assert_int_equal(conf_onoff(SLICE("on"), &on), 0);
    assert_true(on);
    assert_int_equal(conf_onoff(SLICE("off"), &on), 0);
    assert_false(on);
    assert_int_equal(conf_onoff(SLICE("On"), &on), -1);
    assert_int_equal(conf_onoff(SLICE("1"), &on), -1);
    assert_int_equal(conf_onoff(SLICE_NULL, &on), -1);
}

static void test_find_and_fail(void **state)
{
    struct conf_node *node;
    (void)state;

    conf_parse_text(&arena, "t", SLICE("a;\nb 1;\nb 2;"), &node, &err);
    assert_ptr_equal(conf_find(node, "b"), node->next);
    assert_null(conf_find(node, "c"));
    assert_null(conf_find(NULL, "c"));
    assert_int_equal(conf_fail(&err, node->next, "bad %s", "thing"), -1);
    assert_string_equal(err.text, "t:2: bad thing");
    conf_fail(&err, NULL, "%d", 7);
    assert_string_equal(err.text, "7");
    assert_int_equal(conf_fail(NULL, node, "x"), -1);
    conf_fail(&err, node, "%2000d", 1); /* cut, not overrun */
    assert_int_equal(strlen(err.text), sizeof(err.text) - 1);
}

static const struct conf_directive table[] = {
    {"listen", 1, 1, CONF_NEED, "ADDRESS", "", "Where to listen."},
    {"allow", 1, 2, CONF_REPEAT, "ADDRESS [PORT]", "", "Who may come."},
    {"role", 1, 1, CONF_BLOCK, "NAME", "", "What to do."},
    {"flag", 0, 0, 0, "", "", "No argument."},
    {NULL, 0, 0, 0, NULL, NULL, NULL},
};

static const char *check(const char *text)
{
    struct conf_node *node;
    int rc;

    memset(&err, 0, sizeof(err));
    assert_int_equal(conf_parse_text(&arena, "t", slice_of(text), &node, &err), 0);
    rc = conf_check(NULL, node, table, &err);
    assert_int_equal(rc, err.text[0] ? -1 : 0);
    return err.text;
}

static void test_check(void **state)
{
    struct conf_node *node;
    (void)state;

    assert_string_equal(check("listen a; allow b; allow c d; role x { any; } flag;"), "");
    assert_string_equal(check("listen a;\nnope;"), "t:2: unknown directive \"nope\"");
    assert_string_equal(check("listen a;\nlisten b;"), "t:2: \"listen\" is repeated, first at t:1");
    assert_string_equal(check("listen;"),
                        "t:1: wrong number of arguments (0), expected: listen ADDRESS");
    assert_string_equal(check("listen a;\nallow a b c;"),
                        "t:2: wrong number of arguments (3), expected: allow ADDRESS [PORT]");
    assert_string_equal(check("listen a { }"), "t:1: \"listen\" takes no block");
    assert_string_equal(check("listen a; role x;"), "t:1: \"role\" needs a block { }");
    assert_string_equal(check("\nflag;"), "t:2: \"listen\" is missing");
    assert_string_equal(check(""), "\"listen\" is missing");

    conf_parse_text(&arena, "t", SLICE("\nserver {\n flag;\n}"), &node, &err);
    assert_int_equal(conf_check(node, NULL, table, &err), -1);
    assert_string_equal(err.text, "t:2: \"listen\" is missing in block \"server\"");
}

int main(void)
{
#define IN_MEMORY(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
#define IN_FOLDER(f) cmocka_unit_test_setup_teardown(f, make_folder, remove_folder)
    const struct CMUnitTest tests[] = {
        IN_MEMORY(test_syntax),
        IN_MEMORY(test_lines),
        IN_MEMORY(test_syntax_errors),
        IN_MEMORY(test_limits),
        IN_MEMORY(test_arena_too_small),
        IN_FOLDER(test_include),
        IN_FOLDER(test_include_patterns),
        IN_FOLDER(test_file_errors),
        IN_FOLDER(test_include_cycle),
        IN_FOLDER(test_include_depth),
        IN_FOLDER(test_large_file),
        IN_MEMORY(test_durations),
        IN_MEMORY(test_sizes_and_switches),
        IN_MEMORY(test_find_and_fail),
        IN_MEMORY(test_check),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
