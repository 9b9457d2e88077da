/* Values and directive tables of conf.h: what is asked of a tree once conf.c has parsed it. */
#include "conf.h"

#include <inttypes.h>

const struct conf_node *conf_find(const struct conf_node *first, const char *name)
{
    while (first && !slice_is(first->name, name))
        first = first->next;
    return first;
}

/* Digits in front of a unit; the unit is what *s then holds. */
static int take_digits(struct slice *s, int64_t *v)
{
    size_t n = 0;

    while (n < s->n && s->p[n] >= '0' && s->p[n] <= '9')
        n++;
    if (slice_int64(slice_n(s->p, n), v) < 0)
        return -1;
    *s = slice_n(s->p + n, s->n - n);
    return 0;
}

int conf_duration_ms(struct slice s, int64_t *ms)
{
    static const struct {
        const char *unit;
        int64_t ms;
    } units[] = {{"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}, {"d", 86400000}};
    int64_t v;

    if (take_digits(&s, &v) < 0)
        return -1;
    for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
        if (!slice_is(s, units[i].unit))
            continue;
        if (__builtin_mul_overflow(v, units[i].ms, &v))
            return -1;
        *ms = v;
        return 0;
    }
    return -1;
}

int conf_size(struct slice s, int64_t *bytes)
{
    int64_t factor = 1;
    int64_t v;

    if (take_digits(&s, &v) < 0)
        return -1;
    if (slice_eq_nocase(s, SLICE("k")))
        factor = 1024;
    else if (slice_eq_nocase(s, SLICE("m")))
        factor = 1024 * 1024;
    else if (slice_eq_nocase(s, SLICE("g")))
        factor = 1024 * 1024 * 1024;
    else if (s.n)
        return -1;
    if (__builtin_mul_overflow(v, factor, &v))
        return -1;
    *bytes = v;
    return 0;
}

int conf_onoff(struct slice s, bool *out)
{
    bool on = slice_is(s, "on");

    if (!on && !slice_is(s, "off"))
        return -1;
    *out = on;
    return 0;
}

static int check_node(const struct conf_node *first, const struct conf_node *node,
                      const struct conf_directive *table, struct conf_error *err)
{
    const struct conf_directive *d = table;
    const struct conf_node *earlier;

    while (d->name && !slice_is(node->name, d->name))
        d++;
    if (!d->name)
        return conf_fail(err, node, "unknown directive \"%.*s\"", SLICE_FMT(node->name));
    earlier = conf_find(first, d->name);
    if (earlier != node && !(d->flags & CONF_REPEAT))
        return conf_fail(err, node, "\"%s\" is repeated, first at %s:%u", d->name, earlier->file,
                         earlier->line);
    if (node->nargs < d->min_args || node->nargs > d->max_args)
        return conf_fail(err, node, "wrong number of arguments (%u), expected: %s %s", node->nargs,
                         d->name, d->syntax ? d->syntax : "");
    if (node->block && !(d->flags & CONF_BLOCK))
        return conf_fail(err, node, "\"%s\" takes no block", d->name);
    if (!node->block && (d->flags & CONF_BLOCK))
        return conf_fail(err, node, "\"%s\" needs a block { }", d->name);
    return 0;
}

static int fail_missing(const struct conf_node *block, const struct conf_node *first,
                        const struct conf_directive *d, struct conf_error *err)
{
    if (!block)
        return conf_fail(err, first, "\"%s\" is missing", d->name);
    return conf_fail(err, block, "\"%s\" is missing in block \"%.*s\"", d->name,
                     SLICE_FMT(block->name));
}

int conf_check(const struct conf_node *block, const struct conf_node *first,
               const struct conf_directive *table, struct conf_error *err)
{
    if (block)
        first = block->child;
    for (const struct conf_node *node = first; node; node = node->next)
        if (check_node(first, node, table, err) < 0)
            return -1;
    for (const struct conf_directive *d = table; d->name; d++)
        if ((d->flags & CONF_NEED) && !conf_find(first, d->name))
            return fail_missing(block, first, d, err);
    return 0;
}

uint32_t conf_check_all(struct conf_node *block, struct conf_node **first,
                        const struct conf_directive *table, uint32_t *missing,
                        void (*found)(void *arg, const struct conf_error *err), void *arg)
{
    struct conf_node **link = block ? &block->child : first;
    struct conf_node **head = link;
    const struct conf_node *any = *head;
    uint64_t bad = 0; /* bit per directive that stood there, badly written */
    struct conf_error err;
    uint32_t n = 0;

    *missing = 0;
    while (*link) {
        if (check_node(*head, *link, table, &err) == 0) {
            link = &(*link)->next;
            continue;
        }
        found(arg, &err);
        n++;
        for (uint32_t i = 0; table[i].name; i++)
            bad |= (uint64_t)slice_is((*link)->name, table[i].name) << i % 64;
        *link = (*link)->next;
    }
    for (uint32_t i = 0; table[i].name; i++) {
        if (!(table[i].flags & CONF_NEED) || conf_find(*head, table[i].name))
            continue;
        (*missing)++;
        if (bad & (uint64_t)1 << i % 64)
            continue;
        fail_missing(block, any, &table[i], &err);
        found(arg, &err);
        n++;
    }
    return n;
}
