#include "slice.h"

#include "word.h"

static unsigned char lower(char c)
{
    return (unsigned char)(c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c);
}

bool slice_eq_nocase(struct slice a, struct slice b)
{
    if (a.n != b.n)
        return false;
    for (size_t i = 0; i < a.n; i++)
        if (lower(a.p[i]) != lower(b.p[i]))
            return false;
    return true;
}

bool slice_starts(struct slice s, struct slice prefix)
{
    return s.n >= prefix.n && (prefix.n == 0 || memcmp(s.p, prefix.p, prefix.n) == 0);
}

/* memmem is an extension that not every build of these files asks for. */
bool slice_contains(struct slice s, struct slice part)
{
    if (part.n == 0)
        return true;
    while (s.n >= part.n) {
        const char *at = memchr(s.p, part.p[0], s.n - part.n + 1);

        if (!at)
            return false;
        s = (struct slice){at, s.n - (size_t)(at - s.p)};
        if (memcmp(s.p, part.p, part.n) == 0)
            return true;
        s.p++;
        s.n--;
    }
    return false;
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

struct slice slice_trim(struct slice s)
{
    while (s.n && is_blank(s.p[0])) {
        s.p++;
        s.n--;
    }
    while (s.n && is_blank(s.p[s.n - 1]))
        s.n--;
    return s;
}

struct slice slice_cut(struct slice *rest, char sep)
{
    struct slice head = *rest;
    const char *at = head.n ? memchr(head.p, sep, head.n) : NULL;

    if (!at) {
        *rest = SLICE_NULL;
        return head;
    }
    head.n = (size_t)(at - head.p);
    /* p stays set even when nothing stands behind: "a," and "a" differ for the caller */
    *rest = (struct slice){at + 1, rest->n - head.n - 1};
    return head;
}

int slice_int64(struct slice s, int64_t *out)
{
    bool negative = s.n && s.p[0] == '-';
    size_t i = negative;
    int64_t v = 0;

    if (i == s.n)
        return -1;
    /* "0" is the only number that begins with a zero; "-0" is none */
    if (s.p[i] == '0' && s.n > 1)
        return -1;
    /* downwards for negative numbers, so that INT64_MIN needs no special case */
    for (; i < s.n; i++) {
        if (s.p[i] < '0' || s.p[i] > '9')
            return -1;
        int64_t digit = s.p[i] - '0';
        if (__builtin_mul_overflow(v, (int64_t)10, &v))
            return -1;
        if (negative ? __builtin_sub_overflow(v, digit, &v) : __builtin_add_overflow(v, digit, &v))
            return -1;
    }
    *out = v;
    return 0;
}

struct slice slice_of_int64(char text[INT64_TEXT_LEN], int64_t v)
{
    char *end = text + INT64_TEXT_LEN, *at = end;
    uint64_t rest = v < 0 ? -(uint64_t)v : (uint64_t)v;

    do {
        *--at = (char)('0' + rest % 10);
        rest /= 10;
    } while (rest);
    if (v < 0)
        *--at = '-';
    return slice_n(at, (size_t)(end - at));
}

/* ------------------------------------------------------------------ eight bytes at a time */

size_t slice_ascii(struct slice s)
{
    size_t i = 0;

    while (s.n - i >= 8 && !(word_at(s.p + i) & TOP_BITS))
        i += 8;
    return i;
}

/* With no top bit set, a byte below 0x20 gives none to the first sum, and 0x7f gives one to the
 * second. */
size_t slice_printable(struct slice s)
{
    size_t i = 0;

    while (s.n - i >= 8) {
        uint64_t w = word_at(s.p + i);

        if ((w & TOP_BITS) || (~(w + EACH(0x60u)) & TOP_BITS) || ((w + EACH(1u)) & TOP_BITS))
            break;
        i += 8;
    }
    return i;
}

uint64_t slice_hash(struct slice s)
{
    uint64_t h = 0xcbf29ce484222325u;

    for (size_t i = 0; i < s.n; i++) {
        h ^= (unsigned char)s.p[i];
        h *= 0x100000001b3u;
    }
    /* FNV's low bits are weak for short, similar strings, and slots are taken from them: mix
     * (finaliser of MurmurHash3). */
    h ^= h >> 33;
    h *= 0xff51afd7ed558ccdu;
    h ^= h >> 33;
    h *= 0xc4ceb9fe1a85ec53u;
    h ^= h >> 33;
    return h;
}
