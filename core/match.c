#include "core/match.h"

/* Open addressing, a power of two of places, at most half of them taken. */
struct name_place {
    struct slice name; /* n 0: free */
    struct match_set *lines;
};

struct names {
    struct name_place *places;
    size_t mask;
    struct match_set other; /* lines that hold for any other name */
};

/* Amounts from bounds[i] up to bounds[i + 1] leave the lines sets[i]; bounds[0] is INT64_MIN. */
struct ranges {
    int64_t *bounds;
    struct match_set *sets;
    size_t n;
};

struct match {
    uint32_t given;
    struct match_set all;
    struct match_set *numbers[MATCH_NUMBERS]; /* [0..255, MATCH_ABSENT] */
    struct names names[MATCH_NAMES];
    struct ranges amounts;
};

/* ---- compile ---- */

static bool line_negates(const struct match_line *line, uint32_t bit)
{
    return (line->negated & bit) != 0;
}

static int compile_number(struct arena *a, struct match *m, unsigned kind,
                          const struct match_line *lines, size_t n)
{
    const uint32_t bit = MATCH_NUMBER_BIT(kind);
    struct match_set *table = arena_array(a, struct match_set, MATCH_ABSENT + 1);

    if (!table)
        return -1;
    for (unsigned v = 0; v <= MATCH_ABSENT; v++) {
        for (unsigned i = 0; i < n; i++) {
            bool equal = v < MATCH_ABSENT && match_set_has(&lines[i].numbers[kind], v);
            if (!(lines[i].given & bit) || equal != line_negates(&lines[i], bit))
                match_set_add(&table[v], i);
        }
    }
    m->numbers[kind] = table;
    return 0;
}

static struct name_place *find_place(const struct names *names, struct slice name)
{
    size_t i = (size_t)slice_hash(name);

    for (;;) {
        struct name_place *p = &names->places[i & names->mask];
        if (p->name.n == 0 || slice_eq(p->name, name))
            return p;
        i++;
    }
}

static int compile_name(struct arena *a, struct match *m, unsigned kind,
                        const struct match_line *lines, size_t n)
{
    const uint32_t bit = MATCH_NAME_BIT(kind);
    struct names *names = &m->names[kind];
    size_t count = 0, size = 8;

    for (size_t i = 0; i < n; i++) {
        if (!(lines[i].given & bit) || line_negates(&lines[i], bit))
            match_set_add(&names->other, (unsigned)i);
        count += lines[i].given & bit ? lines[i].nnames[kind] : 0;
    }
    while (size < 2 * count)
        size *= 2;
    names->mask = size - 1;
    names->places = arena_array(a, struct name_place, size);
    if (!names->places)
        return -1;

    for (size_t i = 0; i < n; i++) {
        for (size_t k = 0; lines[i].given & bit && k < lines[i].nnames[kind]; k++) {
            struct name_place *p = find_place(names, lines[i].names[kind][k]);

            if (!p->lines) {
                p->lines = arena_new(a, struct match_set);
                if (!p->lines)
                    return -1;
                *p->lines = names->other;
                p->name = lines[i].names[kind][k];
            }
            if (line_negates(&lines[i], bit))
                match_set_drop(p->lines, (unsigned)i);
            else
                match_set_add(p->lines, (unsigned)i);
        }
    }
    return 0;
}

static void insert_bound(struct ranges *r, int64_t bound)
{
    size_t i = r->n;

    while (i > 0 && r->bounds[i - 1] > bound)
        i--;
    if (i > 0 && r->bounds[i - 1] == bound)
        return;
    memmove(&r->bounds[i + 1], &r->bounds[i], (r->n - i) * sizeof(r->bounds[0]));
    r->bounds[i] = bound;
    r->n++;
}

static int compile_amounts(struct arena *a, struct match *m, const struct match_line *lines,
                           size_t n)
{
    struct ranges *r = &m->amounts;

    r->bounds = arena_array(a, int64_t, 2 * n + 1);
    r->sets = arena_array(a, struct match_set, 2 * n + 1);
    if (!r->bounds || !r->sets)
        return -1;
    insert_bound(r, INT64_MIN);
    for (size_t i = 0; i < n; i++) {
        if (lines[i].given & MATCH_AMOUNT_BIT) {
            insert_bound(r, lines[i].min);
            if (lines[i].max < INT64_MAX)
                insert_bound(r, lines[i].max + 1);
        }
    }
    for (size_t k = 0; k < r->n; k++) {
        for (unsigned i = 0; i < n; i++) {
            bool within = r->bounds[k] >= lines[i].min && r->bounds[k] <= lines[i].max;
            if (!(lines[i].given & MATCH_AMOUNT_BIT) ||
                within != line_negates(&lines[i], MATCH_AMOUNT_BIT))
                match_set_add(&r->sets[k], i);
        }
    }
    return 0;
}

struct match *match_compile(struct arena *a, const struct match_line *lines, size_t n)
{
    struct match *m = arena_new(a, struct match);

    if (!m || n > MATCH_LINES)
        return NULL;
    for (unsigned i = 0; i < n; i++) {
        match_set_add(&m->all, i);
        m->given |= lines[i].given;
    }
    for (unsigned kind = 0; kind < MATCH_NUMBERS; kind++) {
        if (m->given & MATCH_NUMBER_BIT(kind) && compile_number(a, m, kind, lines, n) != 0)
            return NULL;
    }
    for (unsigned kind = 0; kind < MATCH_NAMES; kind++) {
        if (m->given & MATCH_NAME_BIT(kind) && compile_name(a, m, kind, lines, n) != 0)
            return NULL;
    }
    if (m->given & MATCH_AMOUNT_BIT && compile_amounts(a, m, lines, n) != 0)
        return NULL;
    return m;
}

/* ---- find ---- */

uint32_t match_given(const struct match *m)
{
    return m->given;
}

void match_facts_init(struct match_facts *facts)
{
    *facts = (struct match_facts){.amount = -1};
    for (int i = 0; i < MATCH_NUMBERS; i++)
        facts->numbers[i] = MATCH_ABSENT;
}

/* The last range that begins at or below the amount. */
static const struct match_set *find_amount(const struct ranges *r, int64_t amount)
{
    size_t low = 0, n = r->n;

    while (n > 1) {
        size_t half = n / 2;
        low += r->bounds[low + half] <= amount ? half : 0;
        n -= half;
    }
    return &r->sets[low];
}

static const struct match_set *find_name(const struct names *names, struct slice name)
{
    const struct name_place *p = name.n ? find_place(names, name) : NULL;

    return p && p->name.n ? p->lines : &names->other;
}

void match_find(const struct match *m, const struct match_facts *facts, struct match_set *out)
{
    *out = m->all;
    for (unsigned kind = 0; kind < MATCH_NUMBERS; kind++) {
        if (m->numbers[kind])
            match_set_and(out, &m->numbers[kind][facts->numbers[kind]]);
    }
    for (unsigned kind = 0; kind < MATCH_NAMES; kind++) {
        if (m->names[kind].places)
            match_set_and(out, find_name(&m->names[kind], facts->names[kind]));
    }
    if (m->amounts.n)
        match_set_and(out, find_amount(&m->amounts, facts->amount));
}
