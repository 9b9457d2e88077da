/*
 * docs/channels.md against the tables in the code: each list of the language stands there word for
 * word. A list that differs is printed as it should be.
 */
#include "channel_test.h"

#include "backends/channel/account.h"
#include "backends/channel/set.h"

static struct slice doc;
static struct buf text;

static int load(void **state)
{
    if (setup(state) < 0)
        return -1;
    buf_init(&text, 65536);
    doc = file_text("docs/channels.md");
    return 0;
}

static int unload(void **state)
{
    buf_release(&text);
    return teardown(state);
}

/* A cell of a Markdown table. */
static void add_cell(const char *s)
{
    buf_add_char(&text, ' ');
    for (; *s; s++) {
        if (*s == '|')
            buf_add_char(&text, '\\');
        buf_add_char(&text, *s);
    }
    buf_add_str(&text, *(s - 1) == ' ' ? "|" : " |");
}

static void add_code(const char *s)
{
    add_cell(arena_printf(&fx.arena, "`%s`", s).p);
}

static void begin_row(const char *name)
{
    buf_add_str(&text, "|");
    add_code(name);
}

static void end_row(const char *help)
{
    add_cell(help);
    buf_add_char(&text, '\n');
}

static void begin(const char *heading)
{
    buf_clear(&text);
    buf_add_str(&text, heading);
}

static int missing;

static void must_be_documented(void)
{
    assert_true(buf_ok(&text));
    if (slice_contains(doc, buf_slice(&text)))
        return;
    print_message("# docs/channels.md must contain:\n");
    for (struct slice rest = buf_slice(&text); rest.n;) {
        struct slice line = slice_cut(&rest, '\n');

        print_message("#%s%.*s\n", line.n ? " " : "", SLICE_FMT(line));
    }
    missing++;
}

static const char *how_often(const struct conf_directive *d)
{
    if (d->flags & CONF_NEED)
        return d->flags & CONF_REPEAT ? "1…n" : "1";
    return d->flags & CONF_REPEAT ? "0…n" : "0…1";
}

static void check_directives(const char *name, const struct conf_directive *table)
{
    begin(arena_printf(&fx.arena, "### Directives of `%s`\n\n", name).p);
    buf_add_str(&text, "| directive | arguments | times | default | meaning |\n"
                       "| --- | --- | --- | --- | --- |\n");
    for (; table->name; table++) {
        begin_row(table->name);
        add_code(table->syntax);
        add_cell(how_often(table));
        if (table->dflt[0])
            add_code(table->dflt);
        else
            add_cell("–");
        end_row(table->help);
    }
    must_be_documented();
}

static void test_directives(void **state)
{
    (void)state;
    missing = 0;
    check_directives("pay_channel", channel_block_table);
    for (size_t i = 0; adapter_contexts(i); i++)
        check_directives(adapter_contexts(i)->name, adapter_contexts(i)->table);
    assert_int_equal(missing, 0);
}

static const char *type_word(enum value_type t)
{
    return t == VALUE_TEXT ? "text" : t == VALUE_INT ? "number" : t == VALUE_TIME ? "time" : "?";
}

static void test_filters(void **state)
{
    static const char *const directions[] = {"", "sent", "received", "both"};
    static const char *const args[] = {"", "=NUMBER", "=TEXT"};

    (void)state;
    missing = 0;
    begin("| filter | values | from | to | meaning |\n| --- | --- | --- | --- | --- |\n");
    for (size_t i = 0; filter_at(i); i++) {
        const struct filter *f = filter_at(i);

        begin_row(arena_printf(&fx.arena, "%s%s", f->name, args[f->arg]).p);
        add_cell(directions[f->direction]);
        add_cell(type_word(f->from));
        add_cell(type_word(f->to));
        end_row(f->help);
    }
    must_be_documented();
    assert_int_equal(missing, 0);
}

static void add_source(const char *name, enum value_type type, unsigned scopes, const char *help)
{
    static const char *const words[] = {"send", "recv",   "notification",
                                        "sign", "verify", "signed text"};
    const char *where = "";

    for (size_t i = 0; i < COUNT(words); i++)
        if (scopes & 1u << i)
            where = arena_printf(&fx.arena, "%s%s%s", where, *where ? ", " : "", words[i]).p;
    begin_row(arena_printf(&fx.arena, "$%s", name).p);
    add_cell(type_word(type));
    add_cell(where);
    end_row(help);
}

static void test_sources(void **state)
{
    (void)state;
    missing = 0;
    begin("| source | type | where | meaning |\n| --- | --- | --- | --- |\n");
#define X(id, name, type, scopes, help) add_source(name, type, scopes, help);
    SOURCE_TABLE(X)
#undef X
    must_be_documented();
    assert_int_equal(missing, 0);
}

static void test_members(void **state)
{
    (void)state;
    missing = 0;
    begin("| member | type | meaning |\n| --- | --- | --- |\n");
#define X(id, name, type, max, help)                                                               \
    begin_row(name);                                                                               \
    add_cell(type_word(type));                                                                     \
    end_row(help);
    MEMBER_TABLE(X)
#undef X
    must_be_documented();
    assert_int_equal(missing, 0);
}

static void must_name(const char *word)
{
    struct slice code = arena_printf(&fx.arena, "`%s`", word);

    if (slice_contains(doc, code))
        return;
    print_message("# docs/channels.md must name %s\n", code.p);
    missing++;
}

static void test_words(void **state)
{
    (void)state;
    missing = 0;
    for (size_t i = 0; signer_word(i); i++)
        must_name(signer_word(i));
    for (int i = 0; i < SECRET_TYPE_COUNT; i++)
        must_name(secret_type_name((enum secret_type)i));
    for (int i = 0; i < ANSWER_CLASS_COUNT; i++)
        must_name(answer_class_name((enum answer_class)i));
    assert_int_equal(missing, 0);
}

/* The samples that the document shows are files that load. */
static void test_samples(void **state)
{
    (void)state;
    missing = 0;
    for (size_t i = 0; i < channel_count(fx.set); i++) {
        const struct channel *c = channel_at(fx.set, i);

        must_name(arena_printf(&fx.arena, "%.*s.conf", SLICE_FMT(channel_facts(c)->adapter)).p);
        for (uint32_t k = 0; k < c->adapter->nvalues; k++)
            must_name(c->adapter->values[k].name);
        for (uint32_t k = 0; k < c->adapter->nsecrets; k++)
            must_name(c->adapter->secrets[k].name);
    }
    assert_int_equal(missing, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_directives), cmocka_unit_test(test_filters),
        cmocka_unit_test(test_sources),    cmocka_unit_test(test_members),
        cmocka_unit_test(test_words),      cmocka_unit_test(test_samples),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, load, unload);
}
