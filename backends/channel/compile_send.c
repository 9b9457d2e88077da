#include "compile.h"

#define FIELDS_MAX  64u
#define OBJECTS_MAX 8u

/* A send block being read: the objects open now, and all paths used so far. */
struct sender {
    struct compiler *cp;
    struct slice open[OBJECTS_MAX]; /* as whole paths: "amount", "amount.detail" */
    uint32_t depth;
    struct slice used[FIELDS_MAX * 2]; /* paths of values and of objects */
    uint32_t nused;
};

static int use_path(struct sender *s, const struct conf_node *at, struct slice path)
{
    for (uint32_t i = 0; i < s->nused; i++) {
        if (slice_eq(s->used[i], path))
            return conf_fail(s->cp->err, at,
                             "\"%.*s\" stands twice (members of one object must stand together)",
                             SLICE_FMT(path));
    }
    if (s->nused == FIELDS_MAX * 2)
        return conf_fail(s->cp->err, at, "too many members");
    s->used[s->nused++] = path;
    return 0;
}

static struct slice last_part(struct slice path)
{
    const char *p = path.p + path.n;

    while (p > path.p && p[-1] != '.')
        p--;
    return slice_n(p, (size_t)(path.p + path.n - p));
}

/* Closes and opens objects so that the member `at->name` can be written. */
static int enter_objects(struct sender *s, const struct conf_node *at, struct adapter_field *f)
{
    struct slice open[OBJECTS_MAX];
    uint32_t depth = 0, same = 0;
    struct slice *names;

    for (size_t i = 0; i < at->name.n; i++) {
        if (at->name.p[i] != '.')
            continue;
        if (depth == OBJECTS_MAX)
            return conf_fail(s->cp->err, at, "more than %u objects inside each other", OBJECTS_MAX);
        open[depth++] = slice_n(at->name.p, i);
    }
    while (same < depth && same < s->depth && slice_eq(open[same], s->open[same]))
        same++;
    f->nclose = s->depth - same;
    f->nopen = depth - same;
    names = arena_array(s->cp->arena, struct slice, f->nopen);
    if (!names)
        return adapter_no_memory(s->cp);
    for (uint32_t i = same; i < depth; i++) {
        if (use_path(s, at, open[i]) < 0)
            return -1;
        s->open[i] = open[i];
        names[i - same] = last_part(open[i]);
    }
    s->depth = depth;
    f->open = names;
    return 0;
}

static const char *make_reason(struct compiler *cp, struct slice path, const char *what)
{
    return arena_printf(cp->arena, "%.*s: %s", SLICE_FMT(path), what).p;
}

static int compile_field(struct sender *s, const struct conf_node *at, struct adapter_field *f)
{
    struct compiler *cp = s->cp;

    if (at->block || at->nargs == 0)
        return conf_fail(cp->err, at, "expected MEMBER SOURCE [FILTER ...] [optional];");
    if (!compile_path(cp, at, at->name))
        return -1;
    if (enter_objects(s, at, f) < 0 || use_path(s, at, at->name) < 0 ||
        compile_expr(cp, at, 0, IN_SEND, &f->expr, &f->type) < 0)
        return -1;
    if (f->type == VALUE_TIME)
        return conf_fail(cp->err, at, "a time needs one of the filters time, unix, day");
    f->key = last_part(at->name);
    f->missing = make_reason(cp, at->name, "no value");
    f->refused = make_reason(cp, at->name, "value is too long or malformed");
    return f->missing && f->refused ? 0 : adapter_no_memory(cp);
}

int compile_send(struct compiler *cp, const struct conf_node *block, struct adapter_api *api)
{
    struct adapter_field *fields = arena_array(cp->arena, struct adapter_field, FIELDS_MAX);
    struct sender s = {.cp = cp};
    uint32_t n = 0;

    if (!fields)
        return adapter_no_memory(cp);
    for (const struct conf_node *d = block->child; d; d = d->next) {
        if (n == FIELDS_MAX)
            return conf_fail(cp->err, d, "more than %u members", FIELDS_MAX);
        if (compile_field(&s, d, &fields[n]) < 0)
            return -1;
        /* quotes, colon, comma and braces of the member and its objects; digits of a number */
        api->fixed_size += (uint32_t)(d->name.n + 8 + 6 * fields[n].nopen + 24);
        n++;
    }
    if (n == 0)
        return conf_fail(cp->err, block, "send has no members");
    api->has_body = true;
    api->fields = fields;
    api->nfields = n;
    api->nclose = s.depth;
    api->fixed_size += 8;
    return 0;
}
