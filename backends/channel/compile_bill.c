/* From the block `bill { ... }` to a struct adapter_bill. */
#include "bill.h"

#include "compile.h"

const struct conf_directive bill_table[] = {
    {"ready", 1, 1, 0, "HH:MM", "12:00",
     "When the bill of a day is there on the next one, in China: asked for from then on."},
    {"unpack", 1, BILL_STAGES_MAX, 0, "base64 | zlib | gzip | zip ...", "",
     "What was done to the file, from the outside in; gzip may be missing."},
    {"entry", 1, 1, 0, "PATTERN", "", "The file in the zip, as a shell writes patterns."},
    {"charset", 1, 1, 0, "utf8 | gbk", "utf8", "Of its text."},
    {"csv", 1, 2, 0, "SEPARATOR [LEAD]", "",
     "Cells with this between them and LEAD in front of each; the first line has the titles."},
    {"fixed", 2, BILL_COLUMNS_MAX, 0, "GAP WIDTH ...", "",
     "Or fields of these bytes with GAP blanks between them, and no titles."},
    {"comment", 1, 1, 0, "CHAR", "", "Lines that begin so are skipped."},
    {"end", 1, 1, 0, "TEXT", "",
     "The line with this text ends the rows; a bill without it is cut."},
    {"column", 2, 4, CONF_NEED | CONF_REPEAT, "NAME TITLE ... | NAME NUMBER", "",
     "A column by its title (any of them), or the number of the field."},
    {"row", 1, 1, CONF_BLOCK | CONF_NEED | CONF_REPEAT, "payment | refund | reversal { ... }", "",
     "How a row of this kind looks; the first block that fits counts, without one it is of kind "
     "other."},
    {"total", 2, 4, CONF_REPEAT, "rows | payments | refunds TITLE [FILTER ...]", "",
     "A number of the summary behind the end: it must be what the rows have."},
    {NULL, 0, 0, 0, NULL, NULL, NULL},
};

const struct conf_directive bill_row_table[] = {
    {"when", 2, 9, CONF_REPEAT, "COLUMN VALUE ...", "", "It has one of these values."},
    {"same", 2, 2, CONF_REPEAT, "COLUMN COLUMN", "", "Both have the same value."},
    {"take", 2, 9, CONF_NEED | CONF_REPEAT, "MEMBER COLUMN [FILTER ...] [optional]", "",
     "Moves a cell into the row."},
    {NULL, 0, 0, 0, NULL, NULL, NULL},
};

static const struct {
    const char *name;
    enum value_type type;
} members[BILL_MEMBER_COUNT] = {
#define X(id, text, value_type, help) [BILL_##id] = {text, value_type},
    BILL_MEMBER_TABLE(X)
#undef X
};

static const char *const stages[STAGE_COUNT] = {
    [STAGE_BASE64] = "base64", [STAGE_ZLIB] = "zlib", [STAGE_GZIP] = "gzip", [STAGE_ZIP] = "zip"};

struct slice bill_title(struct slice s, char *to, size_t n)
{
    size_t used = 0;

    for (size_t i = 0; i < s.n && used < n; i++) {
        struct slice rest = slice_n(s.p + i, s.n - i);

        if (s.p[i] == ' ' || s.p[i] == '\t')
            continue;
        if (slice_starts(rest, SLICE("（"))) {
            to[used++] = '(';
            i += 2;
        } else if (slice_starts(rest, SLICE("）"))) {
            to[used++] = ')';
            i += 2;
        } else {
            to[used++] = s.p[i];
        }
    }
    return slice_n(to, used);
}

/* A title for comparisons, in the arena. */
static int copy_title(struct compiler *cp, struct slice word, struct slice *out)
{
    char text[512];

    *out = arena_copy(cp->arena, bill_title(word, text, sizeof(text)));
    return out->p ? 0 : adapter_no_memory(cp);
}

static int column_index(struct compiler *cp, const struct conf_node *at, struct slice name,
                        const struct adapter_bill *b, uint32_t *out)
{
    for (uint32_t i = 0; i < b->ncolumns; i++) {
        if (slice_is(name, b->columns[i].name)) {
            *out = i;
            return 0;
        }
    }
    return conf_fail(cp->err, at, "\"%.*s\": no such column", SLICE_FMT(name));
}

/* ------------------------------------------------------------------ the file */

static int two_digits(struct slice s, int64_t most, int64_t *out)
{
    if (s.n == 2 && s.p[0] == '0')
        s = slice_n(s.p + 1, 1);
    else if (s.n != 2)
        return -1;
    return slice_int64(s, out) == 0 && *out >= 0 && *out <= most ? 0 : -1;
}

static int compile_ready(struct compiler *cp, const struct conf_node *at, struct adapter_bill *b)
{
    struct slice minute = at ? at->args[0] : SLICE("12:00");
    struct slice hour = slice_cut(&minute, ':');
    int64_t h, m;

    if (two_digits(hour, 23, &h) != 0 || two_digits(minute, 59, &m) != 0)
        return conf_fail(cp->err, at, "ready: expected a time of day from 00:00 to 23:59");
    b->ready_us = (h * 60 + m) * 60 * USEC_PER_SEC;
    return 0;
}

static int compile_unpack(struct compiler *cp, const struct conf_node *at, struct adapter_bill *b)
{
    for (uint32_t i = 0; at && i < at->nargs; i++) {
        uint32_t s = 0;

        while (s < STAGE_COUNT && !slice_is(at->args[i], stages[s]))
            s++;
        if (s == STAGE_COUNT)
            return conf_fail(cp->err, at, "expected base64, zlib, gzip or zip, not \"%.*s\"",
                             SLICE_FMT(at->args[i]));
        b->stages[b->nstages++] = (enum bill_stage)s;
    }
    return 0;
}

static int compile_widths(struct compiler *cp, const struct conf_node *at, struct adapter_bill *b)
{
    for (uint32_t i = 0; i < at->nargs; i++) {
        int64_t n;

        if (slice_int64(at->args[i], &n) < 0 || n < (i ? 1 : 0) || n > 4096)
            return conf_fail(cp->err, at, "\"%.*s\" is no width", SLICE_FMT(at->args[i]));
        if (i == 0)
            b->gap = (uint32_t)n;
        else
            b->widths[b->nwidths++] = (uint32_t)n;
    }
    b->fixed = true;
    return 0;
}

static int compile_form(struct compiler *cp, const struct conf_node *block, struct adapter_bill *b)
{
    const struct conf_node *csv = conf_find(block->child, "csv");
    const struct conf_node *fixed = conf_find(block->child, "fixed");

    if (!csv == !fixed)
        return conf_fail(cp->err, block, "expected either csv or fixed");
    if (fixed)
        return compile_widths(cp, fixed, b);
    if (csv->args[0].n == 0 || csv->args[0].n > 8 || (csv->nargs == 2 && csv->args[1].n > 8))
        return conf_fail(cp->err, csv, "expected a separator of 1..8 bytes");
    b->separator = csv->args[0];
    b->lead = csv->nargs == 2 ? csv->args[1] : SLICE_NULL;
    return 0;
}

static int compile_text(struct compiler *cp, const struct conf_node *block, struct adapter_bill *b)
{
    const struct conf_node *charset = conf_find(block->child, "charset");
    const struct conf_node *comment = conf_find(block->child, "comment");
    const struct conf_node *end = conf_find(block->child, "end");
    const struct conf_node *entry = conf_find(block->child, "entry");

    b->gbk = charset && slice_is(charset->args[0], "gbk");
    if (charset && !b->gbk && !slice_is(charset->args[0], "utf8"))
        return conf_fail(cp->err, charset, "expected utf8 or gbk, not \"%.*s\"",
                         SLICE_FMT(charset->args[0]));
    if (comment && comment->args[0].n != 1)
        return conf_fail(cp->err, comment, "expected one character");
    b->comment = comment ? comment->args[0].p[0] : 0;
    b->end = end ? end->args[0] : SLICE_NULL;
    b->entry = entry ? adapter_cstr(cp, entry->args[0]) : NULL;
    return entry && !b->entry ? adapter_no_memory(cp) : 0;
}

static int compile_column(struct compiler *cp, const struct conf_node *d, struct adapter_bill *b)
{
    struct bill_column *c = &b->columns[b->ncolumns];
    int64_t n;

    if (b->ncolumns == BILL_NAMES_MAX)
        return conf_fail(cp->err, d, "more than %u columns", BILL_NAMES_MAX);
    c->name = adapter_cstr(cp, d->args[0]);
    if (!c->name)
        return adapter_no_memory(cp);
    b->ncolumns++;
    if (b->fixed) {
        if (d->nargs != 2 || slice_int64(d->args[1], &n) < 0 || n < 1 || n > b->nwidths)
            return conf_fail(cp->err, d, "expected the number of a field, 1..%u", b->nwidths);
        c->number = (uint32_t)n - 1;
        return 0;
    }
    for (uint32_t i = 1; i < d->nargs; i++)
        if (copy_title(cp, d->args[i], &c->titles[c->ntitles++]) < 0)
            return -1;
    return 0;
}

/* ------------------------------------------------------------------ rows */

static int compile_when(struct compiler *cp, const struct conf_node *d,
                        const struct adapter_bill *b, struct bill_when *w)
{
    if (column_index(cp, d, d->args[0], b, &w->column) < 0)
        return -1;
    if (slice_is(d->name, "same")) {
        w->test = TEST_SAME;
        return column_index(cp, d, d->args[1], b, &w->other);
    }
    w->words = d->args + 1;
    w->nwords = d->nargs - 1;
    return 0;
}

static int compile_take(struct compiler *cp, const struct conf_node *d,
                        const struct adapter_bill *b, struct bill_take *t)
{
    enum value_type type = VALUE_TEXT;
    uint32_t end = d->nargs;
    int m = 0;

    while (m < BILL_MEMBER_COUNT && !slice_is(d->args[0], members[m].name))
        m++;
    if (m == BILL_MEMBER_COUNT)
        return conf_fail(cp->err, d, "\"%.*s\" is no member of a row", SLICE_FMT(d->args[0]));
    t->member = (enum bill_member)m;
    t->optional = end > 2 && slice_is(d->args[end - 1], "optional");
    end -= t->optional;
    if (column_index(cp, d, d->args[1], b, &t->column) < 0 ||
        filters_compile(cp, d, d->args + 2, end - 2, FILTER_RECV, &type, &t->filters) < 0)
        return -1;
    return type == members[m].type
               ? 0
               : conf_fail(cp->err, d, "the filters give the wrong type for %s", members[m].name);
}

static bool takes(const struct bill_map *m, enum bill_member member)
{
    for (uint32_t i = 0; i < m->ntakes; i++)
        if (m->takes[i].member == member && !m->takes[i].optional)
            return true;
    return false;
}

static int compile_kind(struct compiler *cp, const struct conf_node *at, struct bill_map *m)
{
    static const enum bill_kind kinds[] = {BILL_PAYMENT, BILL_REFUND, BILL_REVERSAL};

    for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++) {
        if (slice_is(at->args[0], channel_bill_kind_name(kinds[i]))) {
            m->kind = kinds[i];
            return 0;
        }
    }
    return conf_fail(cp->err, at, "expected payment, refund or reversal, not \"%.*s\"",
                     SLICE_FMT(at->args[0]));
}

static int compile_row(struct compiler *cp, struct conf_node *block, const struct adapter_bill *b,
                       struct bill_map *m)
{
    struct bill_when *whens;
    struct bill_take *takes_;
    uint32_t before = cp->mistakes;

    if (compile_failed(cp, compile_kind(cp, block, m)) ||
        compile_table(cp, block, bill_row_table) < 0)
        return -1;
    whens = arena_array(cp->arena, struct bill_when,
                        compile_count(block, "when") + compile_count(block, "same"));
    takes_ = arena_array(cp->arena, struct bill_take, compile_count(block, "take"));
    if (!whens || !takes_)
        return adapter_no_memory(cp);
    m->whens = whens;
    m->takes = takes_;
    for (const struct conf_node *d = block->child; d; d = d->next) {
        bool is_take = slice_is(d->name, "take");

        if (compile_failed(cp, is_take ? compile_take(cp, d, b, &takes_[m->ntakes])
                                       : compile_when(cp, d, b, &whens[m->nwhens])))
            return -1;
        m->ntakes += is_take;
        m->nwhens += !is_take;
    }
    if (cp->mistakes == before && !takes(m, BILL_AMOUNT))
        return conf_fail(cp->err, block, "a row needs its amount");
    return 0;
}

static int compile_total(struct compiler *cp, const struct conf_node *d, struct adapter_bill *b)
{
    static const char *const sums[] = {"rows", "payments", "refunds"};
    struct bill_total *t = &b->totals[b->ntotals];
    enum value_type type = VALUE_TEXT;
    int s = 0;

    if (b->ntotals == 3)
        return conf_fail(cp->err, d, "more than 3 totals");
    while (s < 3 && !slice_is(d->args[0], sums[s]))
        s++;
    if (s == 3)
        return conf_fail(cp->err, d, "expected rows, payments or refunds, not \"%.*s\"",
                         SLICE_FMT(d->args[0]));
    if (b->end.n == 0)
        return conf_fail(cp->err, d, "totals stand behind the end: expected end");
    t->sum = (enum bill_sum)s;
    if (copy_title(cp, d->args[1], &t->title) < 0 ||
        filters_compile(cp, d, d->args + 2, d->nargs - 2, FILTER_RECV, &type, &t->filters) < 0)
        return -1;
    b->ntotals++;
    return type == VALUE_INT ? 0
                             : conf_fail(cp->err, d, "a total needs a filter that gives a number");
}

/* ------------------------------------------------------------------ the block */

static int compile_children(struct compiler *cp, struct conf_node *block, struct adapter_bill *b)
{
    for (struct conf_node *d = block->child; d; d = d->next) {
        if (!slice_is(d->name, "row"))
            continue;
        if (b->nmaps == BILL_ROWS_MAX)
            return conf_fail(cp->err, d, "more than %u rows", BILL_ROWS_MAX);
        if (compile_failed(cp, compile_row(cp, d, b, &b->maps[b->nmaps])))
            return -1;
        b->nmaps++;
    }
    for (const struct conf_node *d = block->child; d; d = d->next)
        if (slice_is(d->name, "total") && compile_failed(cp, compile_total(cp, d, b)))
            return -1;
    return 0;
}

int compile_bill(struct compiler *cp, struct conf_node *block)
{
    struct adapter_bill *b = arena_new(cp->arena, struct adapter_bill);

    if (!b)
        return adapter_no_memory(cp);
    if (compile_table(cp, block, bill_table) < 0 ||
        compile_failed(cp, compile_ready(cp, conf_find(block->child, "ready"), b)) ||
        compile_failed(cp, compile_unpack(cp, conf_find(block->child, "unpack"), b)) ||
        compile_failed(cp, compile_text(cp, block, b)) ||
        compile_failed(cp, compile_form(cp, block, b)))
        return -1;
    for (const struct conf_node *d = block->child; d; d = d->next)
        if (slice_is(d->name, "column") && compile_failed(cp, compile_column(cp, d, b)))
            return -1;
    cp->adapter->bill = b;
    return compile_children(cp, block, b);
}
