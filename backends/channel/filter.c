#include "filter.h"

#include "adapter.h"
#include "core/crypto.h"
#include "core/money.h"

static int to_text(struct value *v, struct buf *b)
{
    if (!buf_ok(b))
        return -1;
    *v = (struct value){.type = VALUE_TEXT, .text = buf_slice(b)};
    return 0;
}

static int apply_yuan(const struct filter_step *step, struct arena *arena, struct value *v)
{
    struct buf b = arena_buf(arena, 32);

    (void)step;
    money_format_yuan(&b, v->num);
    return to_text(v, &b);
}

static int apply_fen(const struct filter_step *step, struct arena *arena, struct value *v)
{
    int64_t fen;

    (void)step;
    (void)arena;
    if (money_parse_yuan(v->text, &fen) < 0)
        return -1;
    *v = (struct value){.type = VALUE_INT, .num = fen};
    return 0;
}

static int apply_text(const struct filter_step *step, struct arena *arena, struct value *v)
{
    struct buf b = arena_buf(arena, 24);

    (void)step;
    buf_add_int64(&b, v->num);
    return to_text(v, &b);
}

static int apply_int(const struct filter_step *step, struct arena *arena, struct value *v)
{
    int64_t num;

    (void)step;
    (void)arena;
    if (slice_int64(v->text, &num) < 0)
        return -1;
    *v = (struct value){.type = VALUE_INT, .num = num};
    return 0;
}

static int apply_time_out(const struct filter_step *step, struct arena *arena, struct value *v)
{
    char *text = arena_alloc(arena, RFC3339_LEN + 1);

    (void)step;
    if (!text)
        return -1;
    time_format_rfc3339(text, v->num);
    *v = (struct value){.type = VALUE_TEXT, .text = slice_n(text, RFC3339_LEN)};
    return 0;
}

static int apply_time_in(const struct filter_step *step, struct arena *arena, struct value *v)
{
    pay_time_t t;

    (void)step;
    (void)arena;
    if (time_parse_rfc3339(v->text, &t) < 0)
        return -1;
    *v = (struct value){.type = VALUE_TIME, .num = t};
    return 0;
}

/* China's wall clock, n characters of it from `from` on. */
static int wall_out(struct arena *arena, struct value *v, bool marks, size_t from, size_t n)
{
    char *text = arena_alloc(arena, TIME_WALL_LEN + 1);

    if (!text)
        return -1;
    time_format_wall(text, v->num, marks);
    *v = (struct value){.type = VALUE_TEXT, .text = slice_n(text + from, n)};
    return 0;
}

static int wall_in(struct value *v, bool marks)
{
    pay_time_t t;

    if (time_parse_wall(v->text, marks, &t) < 0)
        return -1;
    *v = (struct value){.type = VALUE_TIME, .num = t};
    return 0;
}

static int apply_stamp_out(const struct filter_step *step, struct arena *arena, struct value *v)
{
    (void)step;
    return wall_out(arena, v, false, 0, 14);
}

static int apply_stamp_in(const struct filter_step *step, struct arena *arena, struct value *v)
{
    (void)step;
    (void)arena;
    return wall_in(v, false);
}

static int apply_wall_out(const struct filter_step *step, struct arena *arena, struct value *v)
{
    (void)step;
    return wall_out(arena, v, true, 0, TIME_WALL_LEN);
}

static int apply_wall_in(const struct filter_step *step, struct arena *arena, struct value *v)
{
    (void)step;
    (void)arena;
    return wall_in(v, true);
}

static int apply_date(const struct filter_step *step, struct arena *arena, struct value *v)
{
    (void)step;
    return wall_out(arena, v, true, 0, 10);
}

static int apply_month_day(const struct filter_step *step, struct arena *arena, struct value *v)
{
    (void)step;
    return wall_out(arena, v, false, 4, 4);
}

static int apply_unix_out(const struct filter_step *step, struct arena *arena, struct value *v)
{
    (void)step;
    (void)arena;
    *v = (struct value){.type = VALUE_INT, .num = v->num / USEC_PER_SEC};
    return 0;
}

static int apply_unix_in(const struct filter_step *step, struct arena *arena, struct value *v)
{
    int64_t us;

    (void)step;
    (void)arena;
    if (v->num <= 0 || __builtin_mul_overflow(v->num, USEC_PER_SEC, &us))
        return -1;
    *v = (struct value){.type = VALUE_TIME, .num = us};
    return 0;
}

static int apply_day(const struct filter_step *step, struct arena *arena, struct value *v)
{
    (void)step;
    return wall_out(arena, v, false, 0, 8);
}

/* ASCII letters only: numbers and codes, never text for people. */
static int change_case(struct arena *arena, struct value *v, char first, char last)
{
    char *text = arena_alloc(arena, v->text.n);

    if (!text)
        return -1;
    for (size_t i = 0; i < v->text.n; i++) {
        char c = v->text.p[i];

        text[i] = c >= first && c <= last ? (char)(c ^ 0x20) : c;
    }
    v->text.p = text;
    return 0;
}

static int apply_upper(const struct filter_step *step, struct arena *arena, struct value *v)
{
    (void)step;
    return change_case(arena, v, 'a', 'z');
}

static int apply_lower(const struct filter_step *step, struct arena *arena, struct value *v)
{
    (void)step;
    return change_case(arena, v, 'A', 'Z');
}

static int apply_urlenc(const struct filter_step *step, struct arena *arena, struct value *v)
{
    struct buf b = arena_buf(arena, 3 * v->text.n);

    (void)step;
    percent_encode(&b, v->text);
    return to_text(v, &b);
}

static int apply_hex(const struct filter_step *step, struct arena *arena, struct value *v)
{
    struct buf b = arena_buf(arena, 2 * v->text.n);

    (void)step;
    hex_encode(&b, v->text, false);
    return to_text(v, &b);
}

static int apply_base64(const struct filter_step *step, struct arena *arena, struct value *v)
{
    struct buf b = arena_buf(arena, (v->text.n + 2) / 3 * 4);

    (void)step;
    base64_encode(&b, v->text);
    return to_text(v, &b);
}

/* ISO 4217: the currencies that channels settle in. */
static const char *const currencies[][2] = {
    {"CNY", "156"}, {"HKD", "344"}, {"MOP", "446"}, {"TWD", "901"}, {"USD", "840"}, {"EUR", "978"},
    {"GBP", "826"}, {"JPY", "392"}, {"KRW", "410"}, {"SGD", "702"}, {"AUD", "036"}, {"CAD", "124"},
};

static int change_currency(struct value *v, int from)
{
    for (size_t i = 0; i < sizeof(currencies) / sizeof(*currencies); i++) {
        if (!slice_is(v->text, currencies[i][from]))
            continue;
        v->text = slice_of(currencies[i][!from]);
        return 0;
    }
    return -1;
}

static int apply_currency_out(const struct filter_step *step, struct arena *arena, struct value *v)
{
    (void)step;
    (void)arena;
    return change_currency(v, 0);
}

static int apply_currency_in(const struct filter_step *step, struct arena *arena, struct value *v)
{
    (void)step;
    (void)arena;
    return change_currency(v, 1);
}

static int join(struct arena *arena, struct value *v, struct slice first, struct slice second)
{
    struct buf b = arena_buf(arena, first.n + second.n);

    buf_add_slice(&b, first);
    buf_add_slice(&b, second);
    return to_text(v, &b);
}

static int apply_append(const struct filter_step *step, struct arena *arena, struct value *v)
{
    return join(arena, v, v->text, step->text);
}

static int apply_prepend(const struct filter_step *step, struct arena *arena, struct value *v)
{
    return join(arena, v, step->text, v->text);
}

static int apply_default(const struct filter_step *step, struct arena *arena, struct value *v)
{
    (void)arena;
    if (v->type == VALUE_NONE || v->text.n == 0)
        *v = (struct value){.type = VALUE_TEXT, .text = step->text};
    return 0;
}

struct slice utf8_cut(struct slice s, size_t n)
{
    size_t chars = 0;

    for (size_t i = 0; i < s.n; i++) {
        if (((unsigned char)s.p[i] & 0xC0) == 0x80)
            continue;
        if (chars++ == n)
            return slice_n(s.p, i);
    }
    return s;
}

static int apply_limit(const struct filter_step *step, struct arena *arena, struct value *v)
{
    (void)arena;
    return utf8_cut(v->text, (size_t)step->num).n == v->text.n ? 0 : -1;
}

static int apply_cut(const struct filter_step *step, struct arena *arena, struct value *v)
{
    (void)arena;
    v->text = utf8_cut(v->text, (size_t)step->num);
    return 0;
}

static const struct filter table[] = {
    {"yuan", FILTER_SEND, VALUE_INT, VALUE_TEXT, FILTER_ARG_NONE, apply_yuan,
     "888 becomes \"8.88\""},
    {"fen", FILTER_RECV, VALUE_TEXT, VALUE_INT, FILTER_ARG_NONE, apply_fen, "\"8.88\" becomes 888"},
    {"text", FILTER_SEND, VALUE_INT, VALUE_TEXT, FILTER_ARG_NONE, apply_text,
     "888 becomes \"888\""},
    {"int", FILTER_RECV, VALUE_TEXT, VALUE_INT, FILTER_ARG_NONE, apply_int, "\"888\" becomes 888"},
    {"time", FILTER_SEND, VALUE_TIME, VALUE_TEXT, FILTER_ARG_NONE, apply_time_out,
     "RFC 3339 in +08:00, whole seconds"},
    {"time", FILTER_RECV, VALUE_TEXT, VALUE_TIME, FILTER_ARG_NONE, apply_time_in, "from RFC 3339"},
    {"unix", FILTER_SEND, VALUE_TIME, VALUE_INT, FILTER_ARG_NONE, apply_unix_out,
     "seconds since 1970"},
    {"unix", FILTER_RECV, VALUE_INT, VALUE_TIME, FILTER_ARG_NONE, apply_unix_in,
     "from seconds since 1970"},
    {"day", FILTER_SEND, VALUE_TIME, VALUE_TEXT, FILTER_ARG_NONE, apply_day,
     "20260901, day in China"},
    {"stamp", FILTER_SEND, VALUE_TIME, VALUE_TEXT, FILTER_ARG_NONE, apply_stamp_out,
     "20260901120000 in China"},
    {"stamp", FILTER_RECV, VALUE_TEXT, VALUE_TIME, FILTER_ARG_NONE, apply_stamp_in,
     "from 20260901120000"},
    {"wall", FILTER_SEND, VALUE_TIME, VALUE_TEXT, FILTER_ARG_NONE, apply_wall_out,
     "2026-09-01 12:00:00 in China"},
    {"wall", FILTER_RECV, VALUE_TEXT, VALUE_TIME, FILTER_ARG_NONE, apply_wall_in,
     "from 2026-09-01 12:00:00"},
    {"date", FILTER_SEND, VALUE_TIME, VALUE_TEXT, FILTER_ARG_NONE, apply_date,
     "2026-09-01, day in China"},
    {"month_day", FILTER_SEND, VALUE_TIME, VALUE_TEXT, FILTER_ARG_NONE, apply_month_day,
     "0901, day in China"},
    {"iso4217", FILTER_SEND, VALUE_TEXT, VALUE_TEXT, FILTER_ARG_NONE, apply_currency_out,
     "CNY becomes 156"},
    {"iso4217", FILTER_RECV, VALUE_TEXT, VALUE_TEXT, FILTER_ARG_NONE, apply_currency_in,
     "156 becomes CNY"},
    {"upper", FILTER_BOTH, VALUE_TEXT, VALUE_TEXT, FILTER_ARG_NONE, apply_upper,
     "ASCII letters in upper case"},
    {"lower", FILTER_BOTH, VALUE_TEXT, VALUE_TEXT, FILTER_ARG_NONE, apply_lower,
     "ASCII letters in lower case"},
    {"urlenc", FILTER_SEND, VALUE_TEXT, VALUE_TEXT, FILTER_ARG_NONE, apply_urlenc,
     "percent-encoding of all but unreserved characters"},
    {"hex", FILTER_SEND, VALUE_TEXT, VALUE_TEXT, FILTER_ARG_NONE, apply_hex,
     "bytes as lower-case hex"},
    {"base64", FILTER_SEND, VALUE_TEXT, VALUE_TEXT, FILTER_ARG_NONE, apply_base64,
     "bytes as base64"},
    {"default", FILTER_BOTH, VALUE_TEXT, VALUE_TEXT, FILTER_ARG_TEXT, apply_default,
     "this text where there is none"},
    {"append", FILTER_BOTH, VALUE_TEXT, VALUE_TEXT, FILTER_ARG_TEXT, apply_append,
     "this text behind it"},
    {"prepend", FILTER_BOTH, VALUE_TEXT, VALUE_TEXT, FILTER_ARG_TEXT, apply_prepend,
     "this text in front of it"},
    {"limit", FILTER_BOTH, VALUE_TEXT, VALUE_TEXT, FILTER_ARG_NUMBER, apply_limit,
     "refuses more than so many characters"},
    {"cut", FILTER_BOTH, VALUE_TEXT, VALUE_TEXT, FILTER_ARG_NUMBER, apply_cut,
     "cuts to so many characters"},
};
#define TABLE_SIZE (sizeof(table) / sizeof(*table))

const struct filter *filter_at(size_t i)
{
    return i < TABLE_SIZE ? &table[i] : NULL;
}

/* ------------------------------------------------------------------ compiling */

static const char *type_name(enum value_type t)
{
    switch (t) {
    case VALUE_TEXT:
        return "text";
    case VALUE_INT:
        return "a number";
    case VALUE_TIME:
        return "a time";
    default:
        return "nothing";
    }
}

static const struct filter *find(struct slice name, enum filter_direction direction)
{
    for (size_t i = 0; i < TABLE_SIZE; i++) {
        if ((table[i].direction & direction) && slice_is(name, table[i].name))
            return &table[i];
    }
    return NULL;
}

static int compile_one(struct compiler *cp, const struct conf_node *at, struct slice word,
                       enum filter_direction direction, struct filter_step *step)
{
    bool has_arg = memchr(word.p, '=', word.n) != NULL;
    struct slice arg = word;
    struct slice name = slice_cut(&arg, '=');
    const struct filter *f = find(name, direction);

    if (!f)
        return conf_fail(cp->err, at, "\"%.*s\" is no filter for values that are %s",
                         SLICE_FMT(name), direction == FILTER_SEND ? "sent" : "received");
    if (has_arg != (f->arg != FILTER_ARG_NONE))
        return conf_fail(cp->err, at, "filter \"%s\" %s", f->name,
                         has_arg ? "takes no argument" : "needs an argument: name=VALUE");
    *step = (struct filter_step){.filter = f, .text = arg};
    if (f->arg == FILTER_ARG_NUMBER &&
        (slice_int64(arg, &step->num) < 0 || step->num < 1 || step->num > 65535))
        return conf_fail(cp->err, at, "filter \"%s\" needs a number of 1..65535", f->name);
    return 0;
}

int filters_compile(struct compiler *cp, const struct conf_node *at, const struct slice *args,
                    uint32_t n, enum filter_direction direction, enum value_type *type,
                    struct filter_list *out)
{
    struct filter_step *steps = arena_array(cp->arena, struct filter_step, n);

    if (!steps)
        return adapter_no_memory(cp);
    if (n > FILTERS_MAX)
        return conf_fail(cp->err, at, "more than %u filters", FILTERS_MAX);
    for (uint32_t i = 0; i < n; i++) {
        const struct filter *f;

        if (compile_one(cp, at, args[i], direction, &steps[i]) < 0)
            return -1;
        f = steps[i].filter;
        if (*type != VALUE_NONE && *type != f->from)
            return conf_fail(cp->err, at, "filter \"%s\" wants %s but gets %s", f->name,
                             type_name(f->from), type_name(*type));
        *type = f->to;
    }
    *out = (struct filter_list){steps, n};
    return 0;
}

int filters_apply(const struct filter_list *list, struct arena *arena, struct value *v)
{
    for (uint32_t i = 0; i < list->n; i++) {
        const struct filter_step *step = &list->steps[i];

        if (v->type == VALUE_NONE && step->filter->apply != apply_default)
            continue;
        if (step->filter->apply(step, arena, v) < 0)
            return -1;
    }
    return 0;
}
