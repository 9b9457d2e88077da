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
        return conf_fail(
            cp->err, at,
            "a time needs a filter that makes it a text or a number: time, stamp, ...");
    f->key = last_part(at->name);
    f->missing = make_reason(cp, at->name, "no value");
    f->refused = make_reason(cp, at->name, "value is too long or malformed");
    return f->missing && f->refused ? 0 : adapter_no_memory(cp);
}

/* The first part of a dotted name. */
static struct slice first_part(struct slice path)
{
    return slice_cut(&path, '.');
}

static int compare_members(const struct adapter_member *v, uint32_t a, uint32_t b)
{
    struct slice x = v[a].key, y = v[b].key;
    int c = memcmp(x.p, y.p, x.n < y.n ? x.n : y.n);

    return c ? c : (x.n > y.n) - (x.n < y.n);
}

/* The fields of both lists, one behind the other. */
static const struct conf_node *next_field(const struct conf_node *d, const struct conf_node *block)
{
    /* the last of the common ones has no next, and neither has the last of all */
    const struct conf_node *last = block->child;

    while (last && last->next)
        last = last->next;
    return d->next || d == last ? d->next : block->child;
}

static const struct conf_node *first_field(const struct conf_node *common,
                                           const struct conf_node *block)
{
    return common && common->child ? common->child : block->child;
}

/* Runs of fields under one name, and their order by name. */
static int group_members(struct compiler *cp, const struct conf_node *common,
                         const struct conf_node *block, struct adapter_message *m)
{
    struct adapter_member *v = arena_array(cp->arena, struct adapter_member, m->nfields);
    uint32_t *sorted = arena_array(cp->arena, uint32_t, m->nfields);
    uint32_t n = 0, field = 0;

    if (!v || !sorted)
        return adapter_no_memory(cp);
    for (const struct conf_node *d = first_field(common, block); d; d = next_field(d, block)) {
        struct slice key = first_part(d->name);

        if (n == 0 || !slice_eq(v[n - 1].key, key))
            v[n++] = (struct adapter_member){.key = key, .first = field};
        v[n - 1].n++;
        v[n - 1].object = key.n < d->name.n;
        field++;
    }
    for (uint32_t i = 0; i < n; i++) {
        uint32_t k = i;

        for (; k > 0 && compare_members(v, sorted[k - 1], i) > 0; k--)
            sorted[k] = sorted[k - 1];
        sorted[k] = i;
    }
    m->members = v;
    m->sorted = sorted;
    m->nmembers = n;
    return 0;
}

int compile_send(struct compiler *cp, const struct conf_node *common, const struct conf_node *block,
                 enum encoding encoding, struct adapter_message *out)
{
    struct adapter_field *fields = arena_array(cp->arena, struct adapter_field, FIELDS_MAX);
    struct sender s = {.cp = cp};
    uint32_t n = 0;

    if (!fields)
        return adapter_no_memory(cp);
    if (!block->child)
        return conf_fail(cp->err, block, "send has no members");
    for (const struct conf_node *d = first_field(common, block); d; d = next_field(d, block)) {
        if (n == FIELDS_MAX)
            return conf_fail(cp->err, d, "more than %u members", FIELDS_MAX);
        if (compile_failed(cp, compile_field(&s, d, &fields[n])))
            return -1;
        /* quotes, colon, comma and braces of the member and its objects; digits of a number */
        out->fixed_size += (uint32_t)(d->name.n + 8 + 6 * fields[n].nopen + 24);
        n++;
    }
    out->encoding = encoding;
    out->fields = fields;
    out->nfields = n;
    out->nclose = s.depth;
    out->fixed_size += 8;
    return group_members(cp, common, block, out);
}
