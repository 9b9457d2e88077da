#include "money.h"

#include <inttypes.h>

int money_add(int64_t a, int64_t b, int64_t *out)
{
    int64_t sum;

    if (__builtin_add_overflow(a, b, &sum))
        return -1;
    *out = sum;
    return 0;
}

int money_sub(int64_t a, int64_t b, int64_t *out)
{
    int64_t difference;

    if (__builtin_sub_overflow(a, b, &difference))
        return -1;
    *out = difference;
    return 0;
}

static bool all_digits(struct slice s)
{
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] < '0' || s.p[i] > '9')
            return false;
    return true;
}

/* Appends a digit to a negative (or zero) amount: downwards, as INT64_MIN has no positive twin. */
static int push_digit(int64_t *v, int64_t digit)
{
    return __builtin_mul_overflow(*v, (int64_t)10, v) || __builtin_sub_overflow(*v, digit, v);
}

int money_parse_yuan(struct slice s, int64_t *fen)
{
    struct slice decimals = s;
    struct slice whole;
    bool negative = s.n && s.p[0] == '-';
    int64_t v = 0;

    if (negative) {
        decimals.p++;
        decimals.n--;
    }
    whole = slice_cut(&decimals, '.');
    if (whole.n == 0 || (whole.n > 1 && whole.p[0] == '0') || !all_digits(whole))
        return -1;
    if (decimals.p && (decimals.n < 1 || decimals.n > 2 || !all_digits(decimals)))
        return -1;
    for (size_t i = 0; i < whole.n; i++)
        if (push_digit(&v, whole.p[i] - '0'))
            return -1;
    for (size_t i = 0; i < 2; i++)
        if (push_digit(&v, i < decimals.n ? decimals.p[i] - '0' : 0))
            return -1;
    if (!negative && __builtin_sub_overflow((int64_t)0, v, &v))
        return -1;
    *fen = v;
    return 0;
}

void money_format_yuan(struct buf *b, int64_t fen)
{
    uint64_t magnitude = fen < 0 ? 0 - (uint64_t)fen : (uint64_t)fen;

    buf_addf(b, "%s%" PRIu64 ".%02u", fen < 0 ? "-" : "", magnitude / 100,
             (unsigned)(magnitude % 100));
}

bool currency_valid(struct slice s)
{
    if (s.n != CURRENCY_LEN)
        return false;
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] < 'A' || s.p[i] > 'Z')
            return false;
    return true;
}
