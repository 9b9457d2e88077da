#include "compile.h"

const struct conf_directive errors_table[] = {
    {"code", 1, 2, CONF_NEED, "PATH [ignore=CHAR]", "",
     "Where an answer that is not whole keeps its code; CHAR is left out in comparisons."},
    {"message", 1, 1, 0, "PATH", "", "Where it keeps a text for people."},
    {"map", 2, 3, CONF_REPEAT, "CODE CLASS [STATUS]", "",
     "Class of a code that comes with this HTTP status (default: with any 4xx)."},
    {"status", 2, 2, CONF_REPEAT, "STATUS CLASS", "",
     "Class of an answer of this HTTP status without a code."},
    {NULL, 0, 0, 0, NULL, NULL, NULL},
};

int compile_class(struct compiler *cp, const struct conf_node *at, struct slice word,
                  enum answer_class *out)
{
    int c = answer_class_parse(word);

    if (c < 0 || c == CLASS_NOT_SENT)
        return conf_fail(cp->err, at, "\"%.*s\" is no class of answers", SLICE_FMT(word));
    *out = (enum answer_class)c;
    return 0;
}

struct slice code_normal(struct slice code, char ignore, char to[CODE_MAX])
{
    size_t n = 0;

    for (size_t i = 0; i < code.n; i++) {
        if (ignore && code.p[i] == ignore)
            continue;
        if (n == CODE_MAX)
            return SLICE_NULL;
        to[n++] = code.p[i];
    }
    return slice_n(to, n);
}

/* ------------------------------------------------------------------ rows of codes */

/* Only the trade layer can say that money moved or that an order was taken. */
static int check_code_class(struct compiler *cp, const struct conf_node *at, enum answer_class cls,
                            int status)
{
    if (cls == CLASS_SUCCESS || cls == CLASS_ACCEPTED)
        return conf_fail(cp->err, at, "class %s belongs into a trade block",
                         answer_class_name(cls));
    if (status >= 300 && status <= 399)
        return conf_fail(cp->err, at, "an answer of HTTP %d is always unknown", status);
    if (status >= 500 && cls != CLASS_UNKNOWN)
        return conf_fail(cp->err, at, "with HTTP %d anything may have happened: expected unknown",
                         status);
    return 0;
}

static int compile_code(struct compiler *cp, const struct conf_node *d, char ignore,
                        struct adapter_row *row)
{
    char text[CODE_MAX];
    struct slice code = code_normal(d->args[0], ignore, text);

    if (code.n == 0)
        return conf_fail(cp->err, d, "\"%.*s\" is no code of 1..%u characters",
                         SLICE_FMT(d->args[0]), CODE_MAX);
    if (compile_class(cp, d, d->args[1], &row->cls) < 0)
        return -1;
    if (d->nargs == 3 && compile_status(cp, d, d->args[2], 200, 599, &row->status) < 0)
        return -1;
    row->word = arena_copy(cp->arena, code);
    row->at = d;
    if (!row->word.p)
        return adapter_no_memory(cp);
    return check_code_class(cp, d, row->cls, row->status);
}

static int compile_status_row(struct compiler *cp, const struct conf_node *d,
                              struct adapter_row *row)
{
    row->at = d;
    if (compile_status(cp, d, d->args[0], 200, 599, &row->status) < 0 ||
        compile_class(cp, d, d->args[1], &row->cls) < 0)
        return -1;
    return check_code_class(cp, d, row->cls, row->status);
}

static const struct adapter_row *find_row(const struct adapter_row *v, uint32_t n,
                                          const struct adapter_row *row)
{
    for (uint32_t i = 0; i < n; i++) {
        if (slice_eq(v[i].word, row->word) && (row->word.n || v[i].status == row->status))
            return &v[i];
    }
    return NULL;
}

/* Appends the rows `name` of the block to v[*n]. */
static int read_rows(struct compiler *cp, const struct conf_node *block, const char *name,
                     char ignore, struct adapter_row *v, uint32_t *n)
{
    bool codes = slice_is(slice_of(name), "map");

    for (const struct conf_node *d = block->child; d; d = d->next) {
        const struct adapter_row *same;

        if (!slice_is(d->name, name))
            continue;
        if ((codes ? compile_code(cp, d, ignore, &v[*n]) : compile_status_row(cp, d, &v[*n])) < 0)
            return -1;
        same = find_row(v, *n, &v[*n]);
        if (same)
            return conf_fail(cp->err, d, "\"%.*s\" is repeated, first on line %u",
                             SLICE_FMT(d->args[0]), same->at->line);
        (*n)++;
    }
    return 0;
}

int compile_errors(struct compiler *cp, const struct conf_node *block, struct adapter_errors *out)
{
    const struct conf_node *code = conf_find(block->child, "code");
    const struct conf_node *message = conf_find(block->child, "message");
    struct adapter_row *codes, *statuses;

    if (conf_check(block, NULL, errors_table, cp->err) < 0)
        return -1;
    out->code = compile_path(cp, code, code->args[0]);
    out->message = message ? compile_path(cp, message, message->args[0]) : NULL;
    if (!out->code || (message && !out->message))
        return -1;
    if (code->nargs == 2) {
        if (!slice_starts(code->args[1], SLICE("ignore=")) || code->args[1].n != 8)
            return conf_fail(cp->err, code, "expected ignore=CHAR, not \"%.*s\"",
                             SLICE_FMT(code->args[1]));
        out->ignore = code->args[1].p[7];
    }
    codes = arena_array(cp->arena, struct adapter_row, compile_count(block, "map"));
    statuses = arena_array(cp->arena, struct adapter_row, compile_count(block, "status"));
    if (!codes || !statuses)
        return adapter_no_memory(cp);
    if (read_rows(cp, block, "map", out->ignore, codes, &out->codes.n) < 0 ||
        read_rows(cp, block, "status", 0, statuses, &out->statuses.n) < 0)
        return -1;
    out->codes.v = codes;
    out->statuses.v = statuses;
    return 0;
}

/*
 * A call that was refused says something about that call. Only where the call was to make the order
 * it is also the last word on the order; a refused query or close leaves the order as it was.
 */
static bool decides_nothing(const struct adapter_api *api, enum answer_class cls)
{
    return api->kind != CALL_PREPARE && (cls == CLASS_FAILED || cls == CLASS_REFUSED);
}

static int merge_rows(struct compiler *cp, const struct conf_node *recv, const char *name,
                      const struct adapter_api *api, const struct adapter_rows *common,
                      struct adapter_rows *out)
{
    uint32_t n = 0, own;
    struct adapter_row *v =
        arena_array(cp->arena, struct adapter_row, compile_count(recv, name) + common->n);

    if (!v)
        return adapter_no_memory(cp);
    if (read_rows(cp, recv, name, cp->adapter->errors.ignore, v, &n) < 0)
        return -1;
    own = n;
    for (uint32_t i = 0; i < own; i++) {
        if (decides_nothing(api, v[i].cls))
            return conf_fail(cp->err, v[i].at,
                             "a %s that is refused says nothing about the order:"
                             " expected unknown",
                             call_kind_name(api->kind));
    }
    for (uint32_t i = 0; i < common->n; i++) {
        if (find_row(v, own, &common->v[i]))
            continue;
        v[n] = common->v[i];
        if (decides_nothing(api, v[n].cls))
            v[n].cls = CLASS_UNKNOWN;
        n++;
    }
    *out = (struct adapter_rows){v, n};
    return 0;
}

int compile_api_codes(struct compiler *cp, const struct conf_node *recv, struct adapter_api *api)
{
    const struct adapter_errors *errors = &cp->adapter->errors;

    if (merge_rows(cp, recv, "map", api, &errors->codes, &api->codes) < 0)
        return -1;
    return merge_rows(cp, recv, "status", api, &errors->statuses, &api->statuses);
}

/* ------------------------------------------------------------------ states of a trade */

int compile_states(struct compiler *cp, const struct conf_node *block, struct adapter_rows *out)
{
    struct adapter_row *v = arena_array(cp->arena, struct adapter_row, compile_count(block, "map"));
    uint32_t n = 0;

    if (!v)
        return adapter_no_memory(cp);
    for (const struct conf_node *d = block->child; d; d = d->next) {
        const struct adapter_row *same;

        if (!slice_is(d->name, "map"))
            continue;
        v[n] = (struct adapter_row){.word = d->args[0], .at = d};
        if (compile_class(cp, d, d->args[1], &v[n].cls) < 0)
            return -1;
        same = find_row(v, n, &v[n]);
        if (same)
            return conf_fail(cp->err, d, "\"%.*s\" is repeated, first on line %u",
                             SLICE_FMT(d->args[0]), same->at->line);
        n++;
    }
    *out = (struct adapter_rows){v, n};
    return 0;
}
