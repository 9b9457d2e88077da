#include "compile.h"

#include "core/money.h"

const struct conf_directive trade_table[] = {
    {"check", 2, 8, CONF_REPEAT, "PATH SOURCE [FILTER ...] [optional]", "",
     "The member must be there and equal the source."},
    {"absent", 1, 1, CONF_REPEAT, "PATH", "", "The member must not be there."},
    {"take", 2, 9, CONF_REPEAT, "RESULT PATH [FILTER ...] [optional | on=success]", "",
     "Moves a member into the result; without optional it must be there."},
    {"state", 1, 1, 0, "PATH", "", "Where the state of the order stands; map gives its class."},
    {"map", 2, 5, CONF_REPEAT, "STATE CLASS [if=PATH] [unless=PATH] [method=METHOD]", "",
     "Class of a state, if that member is there, is not there, for that payment method; the first "
     "row that fits counts, none is unknown."},
    {"set", 2, 2, CONF_REPEAT, "RESULT TEXT", "", "A text of the result that is always this one."},
    {"class", 1, 1, 0, "CLASS", "", "Class of every such answer, instead of state and map."},
    {NULL, 0, 0, 0, NULL, NULL, NULL},
};

static const struct {
    const char *name;
    enum value_type type;
} members[MEMBER_COUNT] = {
#define X(id, text, value_type, max, help) [MEMBER_##id] = {text, value_type},
    MEMBER_TABLE(X)
#undef X
};

/* ------------------------------------------------------------------ shared by all blocks */

const char *compile_path(struct compiler *cp, const struct conf_node *at, struct slice word)
{
    bool dot = true; /* as if one stood before */
    const char *path;

    for (size_t i = 0; i < word.n; i++) {
        char c = word.p[i];

        if ((c == '.' && dot) || c <= ' ' || c == '$' || c == '"')
            goto bad;
        dot = c == '.';
    }
    if (dot || word.n > 128)
        goto bad;
    path = adapter_cstr(cp, word);
    if (!path)
        adapter_no_memory(cp);
    return path;
bad:
    conf_fail(cp->err, at, "\"%.*s\" is no path of members, such as amount.total", SLICE_FMT(word));
    return NULL;
}

int compile_status(struct compiler *cp, const struct conf_node *at, struct slice word, int min,
                   int max, int *out)
{
    int64_t n;

    if (slice_int64(word, &n) < 0 || n < min || n > max)
        return conf_fail(cp->err, at, "expected an HTTP status of %d..%d, not \"%.*s\"", min, max,
                         SLICE_FMT(word));
    *out = (int)n;
    return 0;
}

int compile_printable(struct compiler *cp, const struct conf_node *at, struct slice word, char from)
{
    for (size_t i = 0; i < word.n; i++) {
        if (word.p[i] < from || word.p[i] > '~')
            return conf_fail(cp->err, at, "\"%.*s\" has a character that cannot be sent here",
                             SLICE_FMT(word));
    }
    return word.n ? 0 : conf_fail(cp->err, at, "expected a text that is not empty");
}

uint32_t compile_count(const struct conf_node *block, const char *name)
{
    uint32_t n = 0;

    for (const struct conf_node *d = block->child; d; d = d->next)
        n += slice_is(d->name, name);
    return n;
}

int compile_expr(struct compiler *cp, const struct conf_node *at, uint32_t from, unsigned scope,
                 struct adapter_expr *out, enum value_type *type)
{
    uint32_t end = at->nargs;

    if (end > from + 1 && slice_is(at->args[end - 1], "optional")) {
        out->optional = true;
        end--;
    }
    if (source_compile(cp, at, at->args[from], scope, &out->source) < 0)
        return -1;
    *type = source_type(&out->source);
    return filters_compile(cp, at, at->args + from + 1, end - from - 1, FILTER_SEND, type,
                           &out->filters);
}

/* ------------------------------------------------------------------ check, absent, take */

int compile_checks(struct compiler *cp, const struct conf_node *block, unsigned scope,
                   const struct adapter_check **out, uint32_t *count)
{
    struct adapter_check *v =
        arena_array(cp->arena, struct adapter_check,
                    compile_count(block, "check") + compile_count(block, "absent"));
    uint32_t n = 0;

    if (!v)
        return adapter_no_memory(cp);
    for (const struct conf_node *d = block->child; d; d = d->next) {
        bool absent = slice_is(d->name, "absent");
        enum value_type type = VALUE_NONE;

        if (!absent && !slice_is(d->name, "check"))
            continue;
        v[n].path = compile_path(cp, d, d->args[0]);
        v[n].absent = absent;
        if (compile_failed(cp, !v[n].path ? -1
                               : absent   ? 0
                                          : compile_expr(cp, d, 1, scope, &v[n].want, &type)))
            return -1;
        if (!absent && type == VALUE_TIME)
            return conf_fail(cp->err, d, "a time cannot be compared");
        n++;
    }
    *out = v;
    *count = n;
    return 0;
}

static int compile_need(struct compiler *cp, const struct conf_node *d, uint32_t *end,
                        struct adapter_take *take)
{
    struct slice last = d->args[d->nargs - 1];

    *end = d->nargs;
    take->need = NEED_ALWAYS;
    if (slice_is(last, "optional"))
        take->need = NEED_NEVER;
    else if (slice_is(last, "on=success"))
        take->need = NEED_ON_SUCCESS;
    else
        return 0;
    if (d->nargs < 3)
        return conf_fail(cp->err, d, "expected RESULT PATH before \"%.*s\"", SLICE_FMT(last));
    (*end)--;
    return 0;
}

static int find_member(struct slice name)
{
    for (int m = 0; m < MEMBER_COUNT; m++)
        if (slice_is(name, members[m].name))
            return m;
    return -1;
}

static int compile_take(struct compiler *cp, const struct conf_node *d, struct adapter_take *take)
{
    enum value_type type = VALUE_NONE;
    uint32_t end;
    int m = find_member(d->args[0]);

    if (m < 0)
        return conf_fail(cp->err, d, "\"%.*s\" is no member of a result", SLICE_FMT(d->args[0]));
    take->member = (enum result_member)m;
    take->path = compile_path(cp, d, d->args[1]);
    if (!take->path || compile_need(cp, d, &end, take) < 0 ||
        filters_compile(cp, d, d->args + 2, end - 2, FILTER_RECV, &type, &take->filters) < 0)
        return -1;
    if (type == VALUE_NONE)
        type = members[m].type;
    if (type != members[m].type)
        return conf_fail(cp->err, d, "the filters give the wrong type for %s", members[m].name);
    take->type = take->filters.n ? take->filters.steps[0].filter->from : type;
    if (take->type == VALUE_TIME)
        return conf_fail(cp->err, d, "%s needs a filter that makes it a time: time, stamp, ...",
                         members[m].name);
    return 0;
}

static int compile_takes(struct compiler *cp, const struct conf_node *block,
                         struct adapter_trade *out)
{
    struct adapter_take *v =
        arena_array(cp->arena, struct adapter_take, compile_count(block, "take"));
    uint32_t seen = 0;

    if (!v)
        return adapter_no_memory(cp);
    out->takes = v;
    for (const struct conf_node *d = block->child; d; d = d->next) {
        if (!slice_is(d->name, "take"))
            continue;
        if (compile_failed(cp, compile_take(cp, d, &v[out->ntakes])))
            return -1;
        if (seen & 1u << v[out->ntakes].member)
            return conf_fail(cp->err, d, "\"%.*s\" is taken twice", SLICE_FMT(d->args[0]));
        seen |= 1u << v[out->ntakes].member;
        out->ntakes++;
    }
    return 0;
}

/* ------------------------------------------------------------------ the block */

static int compile_outcome(struct compiler *cp, const struct conf_node *block,
                           struct adapter_trade *out)
{
    const struct conf_node *state = conf_find(block->child, "state");
    const struct conf_node *cls = conf_find(block->child, "class");
    const struct conf_node *map = conf_find(block->child, "map");

    if (!state == !cls)
        return conf_fail(cp->err, block, "expected either state or class");
    if (cls)
        return map ? conf_fail(cp->err, map, "map needs state")
                   : compile_class(cp, cls, cls->args[0], &out->cls);
    if (!map)
        return conf_fail(cp->err, state, "state needs at least one map");
    out->state = compile_path(cp, state, state->args[0]);
    if (!out->state)
        return -1;
    return compile_states(cp, block, &out->map);
}

static int compile_sets(struct compiler *cp, const struct conf_node *block,
                        struct adapter_trade *out)
{
    struct adapter_set *v = arena_array(cp->arena, struct adapter_set, compile_count(block, "set"));

    if (!v)
        return adapter_no_memory(cp);
    out->sets = v;
    for (const struct conf_node *d = block->child; d; d = d->next) {
        int m;

        if (!slice_is(d->name, "set"))
            continue;
        m = find_member(d->args[0]);
        if (m < 0 || members[m].type != VALUE_TEXT)
            return conf_fail(cp->err, d, "\"%.*s\" is no text of a result", SLICE_FMT(d->args[0]));
        if (m == MEMBER_CURRENCY && !currency_valid(d->args[1]))
            return conf_fail(cp->err, d, "\"%.*s\" is no currency", SLICE_FMT(d->args[1]));
        v[out->nsets++] = (struct adapter_set){(enum result_member)m, d->args[1]};
    }
    return 0;
}

static bool can_succeed(const struct adapter_trade *t)
{
    for (uint32_t i = 0; i < t->map.n; i++)
        if (t->map.v[i].cls == CLASS_SUCCESS)
            return true;
    return !t->state && t->cls == CLASS_SUCCESS;
}

static bool takes(const struct adapter_trade *t, enum result_member m)
{
    for (uint32_t i = 0; i < t->ntakes; i++)
        if (t->takes[i].member == m && t->takes[i].need != NEED_NEVER)
            return true;
    for (uint32_t i = 0; i < t->nsets; i++)
        if (t->sets[i].member == m)
            return true;
    return false;
}

/* Money that moved has an amount. */
static int check_amounts(struct compiler *cp, const struct conf_node *block, enum call_kind about,
                         struct adapter_trade *out)
{
    out->amount = -1;
    if (about == CALL_QUERY || about == CALL_CHARGE)
        out->amount = MEMBER_AMOUNT;
    else if (about == CALL_REFUND_QUERY)
        out->amount = MEMBER_REFUND_AMOUNT;
    if (out->amount == MEMBER_AMOUNT && can_succeed(out) &&
        (!takes(out, MEMBER_AMOUNT) || !takes(out, MEMBER_CURRENCY)))
        return conf_fail(cp->err, block, "success needs amount and currency to be taken");
    if (out->amount == MEMBER_REFUND_AMOUNT && can_succeed(out) &&
        !takes(out, MEMBER_REFUND_AMOUNT))
        return conf_fail(cp->err, block, "success needs refund_amount to be taken");
    return 0;
}

int compile_trade(struct compiler *cp, struct conf_node *block, unsigned scope,
                  enum call_kind about, struct adapter_trade *out)
{
    uint32_t before = cp->mistakes;

    if (compile_table(cp, block, trade_table) < 0 ||
        compile_failed(cp, compile_checks(cp, block, scope, &out->checks, &out->nchecks)) ||
        compile_failed(cp, compile_takes(cp, block, out)) ||
        compile_failed(cp, compile_sets(cp, block, out)) ||
        compile_failed(cp, compile_outcome(cp, block, out)))
        return -1;
    return cp->mistakes != before ? 0 : check_amounts(cp, block, about, out);
}
