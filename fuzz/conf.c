/* Configuration files: the tree, tables of directives, and values. */
#include "fuzz.h"

#include "core/conf.h"

static const struct conf_directive table[] = {
    {"state", 1, 1, CONF_NEED, "on | off", "", "one that must be there"},
    {"timeout", 1, 3, CONF_REPEAT, "TIME ...", "", "one that may be repeated"},
    {"api", 1, 1, CONF_BLOCK | CONF_REPEAT, "NAME { ... }", "", "a block"},
    {0},
};

static void check_values(struct slice s)
{
    int64_t n;
    bool on;

    if (conf_duration_ms(s, &n) == 0)
        must(n >= 0 && s.n >= 2);
    if (conf_size(s, &n) == 0)
        must(n >= 0 && s.n >= 1);
    if (conf_onoff(s, &on) == 0)
        must(slice_is(s, on ? "on" : "off"));
}

static void check_nodes(const struct conf_node *n)
{
    struct conf_error err = {.text = ""};

    for (; n; n = n->next) {
        must(n->name.n > 0 && n->nargs <= CONF_MAX_ARGS && n->line >= 1 && n->file);
        must(n->block || n->child == NULL);
        fuzz_touch(n->name);
        for (uint32_t i = 0; i < n->nargs; i++)
            check_values(n->args[i]);
        if (n->block && conf_check(n, NULL, table, &err) != 0)
            must(strncmp(err.text, "fuzz:", 5) == 0);
        check_nodes(n->child);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct conf_error err = {.text = ""};
    struct conf_node *first = NULL;
    struct arena a;

    arena_init(&a, FUZZ_ARENA);
    if (conf_parse_text(&a, "fuzz", slice_n(data, size), &first, &err) == 0) {
        check_nodes(first);
        conf_check(NULL, first, table, &err);
    } else {
        /* every error tells file and line */
        must(memchr(err.text, 0, sizeof(err.text)));
        must(strncmp(err.text, "fuzz:", 5) == 0 || a.failed);
    }
    arena_release(&a);
    return 0;
}
