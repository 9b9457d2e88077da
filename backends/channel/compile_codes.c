#include "compile.h"

const struct conf_directive errors_table[] = {
    {"code", 1, 4, CONF_NEED, "PATH ... [ignore=CHAR]", "",
     "Where an answer that is not whole keeps its code: the first that a row lists counts. CHAR is "
     "left out "
     "in "
     "comparisons."},
    {"message", 1, 1, 0, "PATH", "", "Where it keeps a text for people."},
    {"envelope", 1, 1, 0, "MEMBER", "",
     "The member that holds such an answer, when it is not the api's."},
    {"default_status", 1, 1, 0, "STATUS", "any 4xx", "HTTP status of map rows that name none."},
    {"map", 2, 3, CONF_REPEAT, "CODE CLASS [STATUS]", "",
     "Class of a code that comes with this HTTP status (default: default_status)."},
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

static int compile_code(struct compiler *cp, const struct conf_node *d,
                        const struct adapter_errors *errors, struct adapter_row *row)
{
    int default_status = errors->status;
    char text[CODE_MAX];
    struct slice code = code_normal(d->args[0], errors->ignore, text);

    row->at = d;
    if (code.n == 0)
        return conf_fail(cp->err, d, "\"%.*s\" is no code of 1..%u characters",
                         SLICE_FMT(d->args[0]), CODE_MAX);
    if (compile_class(cp, d, d->args[1], &row->cls) < 0)
        return -1;
    if (d->nargs == 3 && compile_status(cp, d, d->args[2], 200, 599, &row->status) < 0)
        return -1;
    if (d->nargs == 2)
        row->status = default_status;
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

/* Could one answer fit both? 0 is any 4xx. */
static bool overlap(int a, int b)
{
    return a == b || (!a && b >= 400 && b <= 499) || (!b && a >= 400 && a <= 499);
}

/* A row of that code, or without code of that status; `exact`: that fits the same answers. */
static const struct adapter_row *find_row(const struct adapter_row *v, uint32_t n,
                                          const struct adapter_row *row, bool exact)
{
    for (uint32_t i = 0; i < n; i++) {
        if (slice_eq(v[i].word, row->word) &&
            ((row->word.n && !exact) || overlap(v[i].status, row->status)))
            return &v[i];
    }
    return NULL;
}

static int fail_repeated(struct compiler *cp, const struct conf_node *d,
                         const struct adapter_row *same)
{
    return conf_fail(cp->err, d, "\"%.*s\" is repeated, first on line %u", SLICE_FMT(d->args[0]),
                     same->at->line);
}

/* Appends the rows `name` of the block to v[*n]. */
static int read_rows(struct compiler *cp, const struct conf_node *block, const char *name,
                     const struct adapter_errors *errors, struct adapter_row *v, uint32_t *n)
{
    bool codes = slice_is(slice_of(name), "map");

    for (const struct conf_node *d = block->child; d; d = d->next) {
        const struct adapter_row *same;

        if (!slice_is(d->name, name))
            continue;
        if (compile_failed(cp, codes ? compile_code(cp, d, errors, &v[*n])
                                     : compile_status_row(cp, d, &v[*n])))
            return -1;
        same = find_row(v, *n, &v[*n], true);
        if (same && compile_failed(cp, fail_repeated(cp, d, same)))
            return -1;
        (*n)++;
    }
    return 0;
}

static int compile_code_paths(struct compiler *cp, const struct conf_node *at,
                              struct adapter_errors *out)
{
    for (uint32_t i = 0; i < at->nargs; i++) {
        struct slice word = at->args[i];

        if (i > 0 && i + 1 == at->nargs && memchr(word.p, '=', word.n)) {
            if (!slice_starts(word, SLICE("ignore=")) || word.n != 8)
                return conf_fail(cp->err, at, "expected ignore=CHAR, not \"%.*s\"",
                                 SLICE_FMT(word));
            out->ignore = word.p[7];
            continue;
        }
        if (out->ncode == CODE_PATHS_MAX)
            return conf_fail(cp->err, at, "more than %u places of a code", CODE_PATHS_MAX);
        out->code[out->ncode] = compile_path(cp, at, word);
        if (!out->code[out->ncode++])
            return -1;
    }
    return 0;
}

static int compile_error_paths(struct compiler *cp, const struct conf_node *block,
                               struct adapter_errors *out)
{
    const struct conf_node *message = conf_find(block->child, "message");
    const struct conf_node *envelope = conf_find(block->child, "envelope");
    const struct conf_node *status = conf_find(block->child, "default_status");

    out->message = message ? compile_path(cp, message, message->args[0]) : NULL;
    out->envelope = envelope ? compile_path(cp, envelope, envelope->args[0]) : NULL;
    if ((message && !out->message) || (envelope && !out->envelope))
        return -1;
    return status ? compile_status(cp, status, status->args[0], 200, 499, &out->status) : 0;
}

int compile_errors(struct compiler *cp, struct conf_node *block, struct adapter_errors *out)
{
    struct adapter_row *codes, *statuses;

    if (compile_table(cp, block, errors_table) < 0 ||
        compile_failed(cp, compile_code_paths(cp, conf_find(block->child, "code"), out)) ||
        compile_failed(cp, compile_error_paths(cp, block, out)))
        return -1;
    codes = arena_array(cp->arena, struct adapter_row, compile_count(block, "map"));
    statuses = arena_array(cp->arena, struct adapter_row, compile_count(block, "status"));
    if (!codes || !statuses)
        return adapter_no_memory(cp);
    if (read_rows(cp, block, "map", out, codes, &out->codes.n) < 0 ||
        read_rows(cp, block, "status", out, statuses, &out->statuses.n) < 0)
        return -1;
    out->codes.v = codes;
    out->statuses.v = statuses;
    return 0;
}

/*
 * A call that was refused says something about that call. Where the call was to make an order, a
 * charge, a refund or a reversal it is also the last word on that; a refused query or close leaves
 * the order as it was.
 */
static bool decides_nothing(const struct adapter_api *api, enum answer_class cls)
{
    bool looks =
        api->kind == CALL_QUERY || api->kind == CALL_REFUND_QUERY || api->kind == CALL_CLOSE;

    return looks && (cls == CLASS_FAILED || cls == CLASS_REFUSED);
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
    if (read_rows(cp, recv, name, &cp->adapter->errors, v, &n) < 0)
        return -1;
    own = n;
    for (uint32_t i = 0; i < own; i++) {
        if (decides_nothing(api, v[i].cls) &&
            compile_failed(cp, conf_fail(cp->err, v[i].at,
                                         "a %s that is refused says nothing about the order:"
                                         " expected unknown",
                                         call_kind_name(api->kind))))
            return -1;
    }
    for (uint32_t i = 0; i < common->n; i++) {
        if (find_row(v, own, &common->v[i], false))
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

static int compile_condition(struct compiler *cp, const struct conf_node *d, struct slice word,
                             struct adapter_row *row)
{
    struct slice value = word;
    struct slice name = slice_cut(&value, '=');
    int m;

    if (slice_is(name, "method")) {
        m = payment_method_parse(value);
        if (m <= METHOD_NONE)
            return conf_fail(cp->err, d, "\"%.*s\" is no payment method", SLICE_FMT(value));
        row->methods |= 1u << m;
        return 0;
    }
    if (slice_is(name, "if"))
        return (row->given = compile_path(cp, d, value)) ? 0 : -1;
    if (slice_is(name, "unless"))
        return (row->lacking = compile_path(cp, d, value)) ? 0 : -1;
    return conf_fail(cp->err, d, "expected if=PATH, unless=PATH or method=METHOD, not \"%.*s\"",
                     SLICE_FMT(word));
}

/* Behind a row without condition no other of the same state can count. */
static const struct adapter_row *find_final(const struct adapter_row *v, uint32_t n,
                                            struct slice word)
{
    for (uint32_t i = 0; i < n; i++)
        if (slice_eq(v[i].word, word) && !v[i].given && !v[i].lacking && !v[i].methods)
            return &v[i];
    return NULL;
}

static int compile_state(struct compiler *cp, const struct conf_node *d, struct adapter_row *v,
                         uint32_t n)
{
    const struct adapter_row *same = find_final(v, n, d->args[0]);

    v[n] = (struct adapter_row){.word = d->args[0], .at = d};
    if (compile_class(cp, d, d->args[1], &v[n].cls) < 0)
        return -1;
    for (uint32_t i = 2; i < d->nargs; i++)
        if (compile_condition(cp, d, d->args[i], &v[n]) < 0)
            return -1;
    return same ? fail_repeated(cp, d, same) : 0;
}

int compile_states(struct compiler *cp, const struct conf_node *block, struct adapter_rows *out)
{
    struct adapter_row *v = arena_array(cp->arena, struct adapter_row, compile_count(block, "map"));
    uint32_t n = 0;

    if (!v)
        return adapter_no_memory(cp);
    for (const struct conf_node *d = block->child; d; d = d->next) {
        if (!slice_is(d->name, "map"))
            continue;
        if (compile_failed(cp, compile_state(cp, d, v, n)))
            return -1;
        n++;
    }
    *out = (struct adapter_rows){v, n};
    return 0;
}
