/*
 * Reading: bytes come in pieces, lines are put together in one buffer, each is cut into cells and
 * mapped. Whatever the size of the bill, memory is a line and what it becomes.
 */
#define _GNU_SOURCE /* memmem */
#include "bill.h"

#include "core/crypto_old.h"
#include "set.h"

#include <iconv.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define CELL_MAX   1024u
#define ROW_MEMORY (256u * 1024u)
#define NO_COLUMN  UINT32_MAX

enum where { IN_HEAD, IN_ROWS, IN_TOTAL_TITLES, IN_TOTALS, AT_END };

struct reader {
    const struct channel *channel;
    const struct adapter_bill *bill;
    channel_bill_row *on_row;
    void *arg;
    struct channel_bill_sum *sum;
    struct arena row; /* of the line at hand */
    iconv_t iconv;
    struct sha1 *sha1;
    enum where where;
    char *line;
    size_t nline;
    uint32_t number;                  /* of the line */
    bool started;                     /* a byte order mark was looked for */
    uint32_t columns[BILL_NAMES_MAX]; /* place in the file */
    uint32_t totals[3];
    struct slice cells[BILL_COLUMNS_MAX];
    uint32_t ncells;
    char end[256]; /* bill->end in the file's charset */
    size_t nend;
    char reason[160];
};

__attribute__((format(printf, 2, 3))) static int fail(struct reader *r, const char *fmt, ...)
{
    va_list args;
    int n = snprintf(r->reason, sizeof(r->reason), "line %u: ", r->number);

    va_start(args, fmt);
    vsnprintf(r->reason + n, sizeof(r->reason) - (size_t)n, fmt, args);
    va_end(args);
    return -1;
}

/* ------------------------------------------------------------------ text */

static bool is_ascii(struct slice s)
{
    for (size_t i = 0; i < s.n; i++)
        if ((unsigned char)s.p[i] >= 0x80)
            return false;
    return true;
}

/* GBK to UTF-8; ASCII is both. */
static int convert(struct reader *r, struct slice *s)
{
    size_t left = s->n, room = 2 * s->n + 16;
    char *in = (char *)(uintptr_t)s->p;
    char *out, *to;

    if (is_ascii(*s))
        return 0;
    if (!r->bill->gbk)
        return utf8_valid(*s) ? 0 : fail(r, "not UTF-8");
    out = to = arena_alloc(&r->row, room);
    if (!out)
        return fail(r, "too long");
    iconv(r->iconv, NULL, NULL, NULL, NULL);
    if (iconv(r->iconv, &in, &left, &to, &room) == (size_t)-1 || left)
        return fail(r, "not GBK");
    *s = slice_n(out, (size_t)(to - out));
    return 0;
}

/* Blanks, tabs and the mark in front of cells that keeps spreadsheets from guessing. */
static struct slice trim_cell(const struct adapter_bill *b, struct slice s)
{
    s = slice_trim(s);
    if (b->lead.n && slice_starts(s, b->lead))
        s = slice_trim(slice_n(s.p + b->lead.n, s.n - b->lead.n));
    return s;
}

/* Where part stands in s behind `from`; s.n when it does not. */
static size_t find(struct slice s, size_t from, struct slice part)
{
    const char *at = from < s.n ? memmem(s.p + from, s.n - from, part.p, part.n) : NULL;

    return at ? (size_t)(at - s.p) : s.n;
}

/* Titles stand plain where rows have the lead in front of every cell. */
static int split_csv(struct reader *r, struct slice line)
{
    const struct adapter_bill *b = r->bill;
    bool led = b->lead.n && slice_starts(line, b->lead);
    struct slice sep = b->separator;
    char joined[16];

    if (led) {
        memcpy(joined, sep.p, sep.n);
        memcpy(joined + sep.n, b->lead.p, b->lead.n);
        sep = slice_n(joined, sep.n + b->lead.n);
    }
    if (convert(r, &line) < 0)
        return -1;
    r->ncells = 0;
    for (size_t from = 0; from <= line.n;) {
        size_t to = find(line, from, sep);

        if (r->ncells == BILL_COLUMNS_MAX)
            return fail(r, "more than %u cells", BILL_COLUMNS_MAX);
        r->cells[r->ncells++] = trim_cell(b, slice_n(line.p + from, to - from));
        from = to + sep.n;
        if (to == line.n)
            break;
    }
    return 0;
}

/* Widths count bytes, so the line is cut before it is converted. */
static int split_fixed(struct reader *r, struct slice line)
{
    const struct adapter_bill *b = r->bill;
    size_t at = 0;

    r->ncells = 0;
    for (uint32_t i = 0; i < b->nwidths; i++) {
        struct slice cell;

        if (at + b->widths[i] > line.n)
            return fail(r, "shorter than its fields");
        cell = slice_n(line.p + at, b->widths[i]);
        at += b->widths[i];
        for (uint32_t k = 0; k < b->gap && i + 1 < b->nwidths; k++, at++)
            if (at >= line.n || line.p[at] != ' ')
                return fail(r, "no blank behind field %u", i + 1);
        if (convert(r, &cell) < 0)
            return -1;
        r->cells[r->ncells++] = slice_trim(cell);
    }
    return at == line.n ? 0 : fail(r, "longer than its fields");
}

static int split(struct reader *r, struct slice line)
{
    return r->bill->fixed ? split_fixed(r, line) : split_csv(r, line);
}

/* ------------------------------------------------------------------ titles */

static uint32_t find_title(const struct reader *r, const struct slice *titles, uint32_t n)
{
    for (uint32_t i = 0; i < r->ncells; i++) {
        char text[CELL_MAX];
        struct slice title = bill_title(r->cells[i], text, sizeof(text));

        for (uint32_t k = 0; k < n; k++)
            if (slice_eq(title, titles[k]))
                return i;
    }
    return NO_COLUMN;
}

static int read_titles(struct reader *r)
{
    for (uint32_t i = 0; i < r->bill->ncolumns; i++) {
        const struct bill_column *c = &r->bill->columns[i];

        r->columns[i] = find_title(r, c->titles, c->ntitles);
        if (r->columns[i] == NO_COLUMN)
            return fail(r, "no column \"%.*s\"", SLICE_FMT(c->titles[0]));
    }
    r->where = IN_ROWS;
    return 0;
}

/* ------------------------------------------------------------------ rows */

static struct slice cell(const struct reader *r, uint32_t column)
{
    uint32_t at = r->columns[column];

    return at < r->ncells ? r->cells[at] : SLICE_NULL;
}

static bool when_holds(const struct reader *r, const struct bill_when *w)
{
    struct slice s = cell(r, w->column);

    if (w->test == TEST_SAME)
        return slice_eq(s, cell(r, w->other));
    for (uint32_t i = 0; i < w->nwords; i++)
        if (slice_eq(s, w->words[i]))
            return true;
    return false;
}

static const struct bill_map *find_map(const struct reader *r)
{
    for (uint32_t i = 0; i < r->bill->nmaps; i++) {
        const struct bill_map *m = &r->bill->maps[i];
        bool fits = true;

        for (uint32_t k = 0; k < m->nwhens && fits; k++)
            fits = when_holds(r, &m->whens[k]);
        if (fits)
            return m;
    }
    return NULL;
}

static int store(enum bill_member m, const struct value *v, struct channel_bill_line *row)
{
    switch (m) {
    case BILL_REQUEST_NO:
        row->request_no = v->text;
        return 0;
    case BILL_CHANNEL_TRADE_NO:
        row->channel_trade_no = v->text;
        return 0;
    case BILL_REFUND_NO:
        row->refund_no = v->text;
        return 0;
    case BILL_CHANNEL_REFUND_NO:
        row->channel_refund_no = v->text;
        return 0;
    case BILL_AMOUNT:
        row->amount = v->num;
        return v->num >= 0 ? 0 : -1;
    case BILL_FEE:
        row->fee = v->num;
        return 0;
    case BILL_AT:
        row->at = v->num;
        return 0;
    case BILL_STATE:
        row->state = v->text;
        return 0;
    case BILL_MEMBER_COUNT:
        break;
    }
    return -1;
}

static int take(struct reader *r, const struct bill_take *t, struct channel_bill_line *row)
{
    struct slice s = cell(r, t->column);
    struct value v = {.type = s.n ? VALUE_TEXT : VALUE_NONE, .text = s};
    const char *name = r->bill->columns[t->column].name;

    if (s.n > CELL_MAX)
        return fail(r, "%s is too long", name);
    if (v.type == VALUE_NONE)
        return t->optional ? 0 : fail(r, "%s is empty", name);
    if (filters_apply(&t->filters, &r->row, &v) < 0 || store(t->member, &v, row) < 0)
        return fail(r, "%s is malformed: \"%.*s\"", name, s.n > 40 ? 40 : (int)s.n, s.p);
    return 0;
}

static int count_row(struct reader *r, const struct channel_bill_line *row)
{
    struct channel_bill_sum *s = r->sum;
    int64_t *sum = row->kind == BILL_PAYMENT ? &s->paid : &s->returned;

    s->rows++;
    if (row->kind == BILL_OTHER)
        return 0;
    return __builtin_add_overflow(*sum, row->amount, sum) ? fail(r, "amounts overflow") : 0;
}

static int read_row(struct reader *r)
{
    const struct bill_map *m = find_map(r);
    struct channel_bill_line row = {.kind = m ? m->kind : BILL_OTHER, .number = r->number};

    for (uint32_t i = 0; m && i < m->ntakes; i++)
        if (take(r, &m->takes[i], &row) < 0)
            return -1;
    if (!m && r->ncells)
        row.state = r->cells[0];
    if (r->row.failed)
        return fail(r, "too long");
    if (count_row(r, &row) < 0)
        return -1;
    return r->on_row(r->arg, &row) < 0 ? fail(r, "reading was ended") : 0;
}

/* ------------------------------------------------------------------ totals */

static int read_total_titles(struct reader *r)
{
    for (uint32_t i = 0; i < r->bill->ntotals; i++) {
        r->totals[i] = find_title(r, &r->bill->totals[i].title, 1);
        if (r->totals[i] == NO_COLUMN)
            return fail(r, "no total \"%.*s\"", SLICE_FMT(r->bill->totals[i].title));
    }
    r->where = IN_TOTALS;
    return 0;
}

static int read_totals(struct reader *r)
{
    const int64_t counted[] = {
        [SUM_ROWS] = r->sum->rows, [SUM_PAYMENTS] = r->sum->paid, [SUM_REFUNDS] = r->sum->returned};

    for (uint32_t i = 0; i < r->bill->ntotals; i++) {
        const struct bill_total *t = &r->bill->totals[i];
        struct slice s = r->totals[i] < r->ncells ? r->cells[r->totals[i]] : SLICE_NULL;
        struct value v = {.type = VALUE_TEXT, .text = s};

        if (s.n == 0 || filters_apply(&t->filters, &r->row, &v) < 0)
            return fail(r, "total \"%.*s\" is malformed", SLICE_FMT(t->title));
        if (v.num != counted[t->sum])
            return fail(r, "total \"%.*s\" is %lld, the rows have %lld", SLICE_FMT(t->title),
                        (long long)v.num, (long long)counted[t->sum]);
    }
    r->where = AT_END;
    return 0;
}

/* ------------------------------------------------------------------ lines */

/* In the file's own charset: every line is asked. */
static bool is_end(const struct reader *r, struct slice line)
{
    return r->nend && r->where == IN_ROWS && find(line, 0, slice_n(r->end, r->nend)) < line.n;
}

static int read_line(struct reader *r, struct slice line)
{
    const struct adapter_bill *b = r->bill;

    r->number++;
    if (line.n && line.p[line.n - 1] == '\r')
        line.n--;
    if (is_end(r, line)) {
        if (!b->ntotals) {
            r->where = AT_END;
            return 0;
        }
        r->where = IN_TOTAL_TITLES;
    }
    if (line.n == 0 || r->where == AT_END || (b->comment && line.p[0] == b->comment))
        return 0;
    if (split(r, line) < 0)
        return -1;
    switch (r->where) {
    case IN_HEAD:
        return read_titles(r);
    case IN_ROWS:
        return read_row(r);
    case IN_TOTAL_TITLES:
        return read_total_titles(r);
    default:
        return read_totals(r);
    }
}

static int end_line(struct reader *r)
{
    struct slice line = slice_n(r->line, r->nline);
    int rc;

    if (!r->started && slice_starts(line, SLICE("\xef\xbb\xbf")))
        line = slice_n(line.p + 3, line.n - 3);
    r->started = true;
    rc = read_line(r, line);
    r->nline = 0;
    arena_clear(&r->row);
    return rc;
}

static int on_bytes(void *arg, const char *p, size_t n)
{
    struct reader *r = arg;

    if (r->sha1 && sha1_add(r->sha1, slice_n(p, n)) < 0)
        return fail(r, "no memory");
    while (n) {
        const char *newline = memchr(p, '\n', n);
        size_t part = newline ? (size_t)(newline - p) : n;

        r->number += r->nline + part > BILL_LINE_MAX;
        if (r->nline + part > BILL_LINE_MAX)
            return fail(r, "longer than %u bytes", BILL_LINE_MAX);
        memcpy(r->line + r->nline, p, part);
        r->nline += part;
        if (newline && end_line(r) < 0)
            return -1;
        part += newline ? 1 : 0;
        p += part;
        n -= part;
    }
    return 0;
}

/* ------------------------------------------------------------------ the bill */

/* Everything that was announced has to have come. */
static int finish(struct reader *r, struct slice sha1)
{
    uint8_t digest[SHA1_LEN];
    char text[2 * SHA1_LEN + 1];
    struct buf hex = {.p = text, .alloc = 2 * SHA1_LEN, .cap = 2 * SHA1_LEN};

    if (r->nline && end_line(r) < 0)
        return -1;
    if (r->where == IN_HEAD)
        return fail(r, "it has no line of titles");
    if (r->bill->end.n && r->where != AT_END)
        return fail(r, "it is cut: its end is missing");
    if (!r->sha1)
        return 0;
    if (sha1_end(r->sha1, digest) < 0)
        return fail(r, "no memory");
    hex_encode(&hex, slice_n(digest, sizeof(digest)), false);
    return slice_eq_nocase(buf_slice(&hex), sha1) ? 0 : fail(r, "its SHA-1 is another");
}

static int encode_end(struct reader *r)
{
    const struct adapter_bill *b = r->bill;
    char *in = (char *)(uintptr_t)b->end.p, *to = r->end;
    size_t left = b->end.n, room = sizeof(r->end);
    iconv_t gbk;
    bool ok;

    if (b->end.n == 0)
        return 0;
    if (!b->gbk || is_ascii(b->end)) {
        r->nend = b->end.n < room ? b->end.n : 0;
        memcpy(r->end, b->end.p, r->nend);
        return r->nend == b->end.n ? 0 : -1;
    }
    gbk = iconv_open("GBK", "UTF-8");
    if (gbk == (iconv_t)-1)
        return -1;
    ok = iconv(gbk, &in, &left, &to, &room) != (size_t)-1;
    iconv_close(gbk);
    r->nend = (size_t)(to - r->end);
    return ok ? 0 : -1;
}

static int start(struct reader *r, struct slice sha1)
{
    r->iconv = (iconv_t)-1;
    r->line = malloc(BILL_LINE_MAX);
    arena_init(&r->row, ROW_MEMORY);
    r->where = r->bill->fixed ? IN_ROWS : IN_HEAD;
    for (uint32_t i = 0; r->bill->fixed && i < r->bill->ncolumns; i++)
        r->columns[i] = r->bill->columns[i].number;
    if (r->bill->gbk)
        r->iconv = iconv_open("UTF-8", "GBK");
    if (sha1.n)
        r->sha1 = sha1_new();
    if (encode_end(r) < 0)
        return fail(r, "the text of end cannot be written in its charset");
    if (!r->line || (r->bill->gbk && r->iconv == (iconv_t)-1) || (sha1.n && !r->sha1))
        return fail(r, "no memory");
    return 0;
}

int channel_bill_read(const struct channel *c, struct slice file, struct slice sha1,
                      channel_bill_row *on_row, void *arg, struct channel_bill_sum *sum,
                      struct conf_error *err)
{
    struct reader r = {.channel = c, .bill = c->adapter->bill, .on_row = on_row, .arg = arg};
    const char *reason = NULL;
    int rc;

    *sum = (struct channel_bill_sum){0};
    r.sum = sum;
    if (!r.bill)
        return conf_fail(err, NULL, "channel %.*s has no bills", SLICE_FMT(c->facts.name));
    rc = start(&r, sha1);
    if (rc == 0)
        rc = bill_unpack(r.bill, file, on_bytes, &r, &reason);
    if (rc == 0)
        rc = finish(&r, sha1);
    if (rc < 0)
        conf_fail(err, NULL, "bill of channel %.*s: %s", SLICE_FMT(c->facts.name),
                  r.reason[0] ? r.reason : reason);
    if (r.iconv != (iconv_t)-1)
        iconv_close(r.iconv);
    sha1_free(r.sha1);
    arena_release(&r.row);
    free(r.line);
    return rc;
}

const char *channel_bill_kind_name(enum bill_kind k)
{
    static const char *const names[] = {"payment", "refund", "reversal", "other"};

    return names[k];
}
