#include "filter_impl.h"

#include "core/crypto.h"
#include "core/money.h"

static int to_text(struct value *v, struct buf *b)
{
    if (!buf_ok(b))
        return -1;
    *v = (struct value){.type = VALUE_TEXT, .text = buf_slice(b)};
    return 0;
}

int apply_yuan(const struct filter_step *step, struct arena *arena, struct value *v)
{
    struct buf b = arena_buf(arena, 32);

    (void)step;
    money_format_yuan(&b, v->num);
    return to_text(v, &b);
}

int apply_fen(const struct filter_step *step, struct arena *arena, struct value *v)
{
    int64_t fen;

    (void)step;
    (void)arena;
    if (money_parse_yuan(v->text, &fen) < 0)
        return -1;
    *v = (struct value){.type = VALUE_INT, .num = fen};
    return 0;
}

int apply_text(const struct filter_step *step, struct arena *arena, struct value *v)
{
    struct buf b = arena_buf(arena, 24);

    (void)step;
    buf_add_int64(&b, v->num);
    return to_text(v, &b);
}

int apply_int(const struct filter_step *step, struct arena *arena, struct value *v)
{
    int64_t num;

    (void)step;
    (void)arena;
    if (slice_int64(v->text, &num) < 0)
        return -1;
    *v = (struct value){.type = VALUE_INT, .num = num};
    return 0;
}

int apply_time_out(const struct filter_step *step, struct arena *arena, struct value *v)
{
    char *text = arena_alloc(arena, RFC3339_LEN + 1);

    (void)step;
    if (!text)
        return -1;
    time_format_rfc3339(text, v->num);
    *v = (struct value){.type = VALUE_TEXT, .text = slice_n(text, RFC3339_LEN)};
    return 0;
}

int apply_time_in(const struct filter_step *step, struct arena *arena, struct value *v)
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

int apply_stamp_out(const struct filter_step *step, struct arena *arena, struct value *v)
{
    (void)step;
    return wall_out(arena, v, false, 0, 14);
}

int apply_stamp_in(const struct filter_step *step, struct arena *arena, struct value *v)
{
    (void)step;
    (void)arena;
    return wall_in(v, false);
}

int apply_wall_out(const struct filter_step *step, struct arena *arena, struct value *v)
{
    (void)step;
    return wall_out(arena, v, true, 0, TIME_WALL_LEN);
}

int apply_wall_in(const struct filter_step *step, struct arena *arena, struct value *v)
{
    (void)step;
    (void)arena;
    return wall_in(v, true);
}

int apply_date(const struct filter_step *step, struct arena *arena, struct value *v)
{
    (void)step;
    return wall_out(arena, v, true, 0, 10);
}

int apply_month_day(const struct filter_step *step, struct arena *arena, struct value *v)
{
    (void)step;
    return wall_out(arena, v, false, 4, 4);
}

int apply_unix_out(const struct filter_step *step, struct arena *arena, struct value *v)
{
    (void)step;
    (void)arena;
    *v = (struct value){.type = VALUE_INT, .num = v->num / USEC_PER_SEC};
    return 0;
}

int apply_unix_in(const struct filter_step *step, struct arena *arena, struct value *v)
{
    int64_t us;

    (void)step;
    (void)arena;
    if (v->num <= 0 || __builtin_mul_overflow(v->num, USEC_PER_SEC, &us))
        return -1;
    *v = (struct value){.type = VALUE_TIME, .num = us};
    return 0;
}

int apply_day(const struct filter_step *step, struct arena *arena, struct value *v)
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

int apply_upper(const struct filter_step *step, struct arena *arena, struct value *v)
{
    (void)step;
    return change_case(arena, v, 'a', 'z');
}

int apply_lower(const struct filter_step *step, struct arena *arena, struct value *v)
{
    (void)step;
    return change_case(arena, v, 'A', 'Z');
}

int apply_urlenc(const struct filter_step *step, struct arena *arena, struct value *v)
{
    struct buf b = arena_buf(arena, 3 * v->text.n);

    (void)step;
    percent_encode(&b, v->text);
    return to_text(v, &b);
}

int apply_hex(const struct filter_step *step, struct arena *arena, struct value *v)
{
    struct buf b = arena_buf(arena, 2 * v->text.n);

    (void)step;
    hex_encode(&b, v->text, false);
    return to_text(v, &b);
}

int apply_base64(const struct filter_step *step, struct arena *arena, struct value *v)
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

int apply_currency_out(const struct filter_step *step, struct arena *arena, struct value *v)
{
    (void)step;
    (void)arena;
    return change_currency(v, 0);
}

int apply_currency_in(const struct filter_step *step, struct arena *arena, struct value *v)
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

/* "0.05000" -> 5000 thousandths of a fen; at most five decimals. */
int apply_millifen(const struct filter_step *step, struct arena *arena, struct value *v)
{
    struct slice rest = v->text, whole = slice_cut(&rest, '.');
    bool negative = whole.n && whole.p[0] == '-';
    int64_t yuan, part = 0, unit = 100000;

    (void)step;
    (void)arena;
    if (negative)
        whole = slice_n(whole.p + 1, whole.n - 1);
    if (slice_int64(whole, &yuan) < 0 || yuan < 0 || rest.n > 5 || (rest.p && rest.n == 0))
        return -1;
    for (size_t i = 0; i < rest.n; i++) {
        if (rest.p[i] < '0' || rest.p[i] > '9')
            return -1;
        unit /= 10;
        part += (rest.p[i] - '0') * unit;
    }
    if (__builtin_mul_overflow(yuan, INT64_C(100000), &yuan) ||
        __builtin_add_overflow(yuan, part, &yuan))
        return -1;
    *v = (struct value){.type = VALUE_INT, .num = negative ? -yuan : yuan};
    return 0;
}

/* Zero-padded. */
int apply_digits(const struct filter_step *step, struct arena *arena, struct value *v)
{
    struct slice s = v->text;

    while (s.n > 1 && s.p[0] == '0')
        s = slice_n(s.p + 1, s.n - 1);
    v->text = s;
    if (s.n && s.p[0] == '-')
        return -1;
    return apply_int(step, arena, v);
}

int apply_debit(const struct filter_step *step, struct arena *arena, struct value *v)
{
    char sign = v->text.n ? v->text.p[0] : 0;

    if (sign != 'C' && sign != 'D')
        return -1;
    v->text = slice_n(v->text.p + 1, v->text.n - 1);
    if (apply_digits(step, arena, v) < 0)
        return -1;
    v->num = sign == 'C' ? -v->num : v->num;
    return 0;
}

int apply_abs(const struct filter_step *step, struct arena *arena, struct value *v)
{
    (void)step;
    (void)arena;
    if (v->num == INT64_MIN)
        return -1;
    v->num = v->num < 0 ? -v->num : v->num;
    return 0;
}

int apply_times(const struct filter_step *step, struct arena *arena, struct value *v)
{
    (void)arena;
    return __builtin_mul_overflow(v->num, step->num, &v->num) ? -1 : 0;
}

int apply_negate(const struct filter_step *step, struct arena *arena, struct value *v)
{
    (void)step;
    (void)arena;
    return __builtin_sub_overflow((int64_t)0, v->num, &v->num) ? -1 : 0;
}

int apply_append(const struct filter_step *step, struct arena *arena, struct value *v)
{
    return join(arena, v, v->text, step->text);
}

int apply_prepend(const struct filter_step *step, struct arena *arena, struct value *v)
{
    return join(arena, v, step->text, v->text);
}

int apply_default(const struct filter_step *step, struct arena *arena, struct value *v)
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

int apply_limit(const struct filter_step *step, struct arena *arena, struct value *v)
{
    (void)arena;
    return utf8_cut(v->text, (size_t)step->num).n == v->text.n ? 0 : -1;
}

int apply_cut(const struct filter_step *step, struct arena *arena, struct value *v)
{
    (void)arena;
    v->text = utf8_cut(v->text, (size_t)step->num);
    return 0;
}
