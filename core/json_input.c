/*
 * What can be wrong with the bytes of a JSON text, whatever they say: not UTF-8, a NUL or half of a
 * surrogate pair written as an escape. The parser itself need not think of it.
 */
#include "json_input.h"

#define INPUT_MAX (64u * 1024 * 1024)

/* Length of the UTF-8 sequence at p (RFC 3629: shortest form, no surrogates), 0 when invalid. */
static size_t utf8_len(const unsigned char *p, size_t n)
{
    unsigned c = p[0];
    size_t len = c < 0x80 ? 1 : c < 0xc2 ? 0 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : c < 0xf5 ? 4 : 0;

    if (len == 0 || len > n)
        return 0;
    for (size_t i = 1; i < len; i++)
        if ((p[i] & 0xc0) != 0x80)
            return 0;
    if ((c == 0xe0 && p[1] < 0xa0) || (c == 0xed && p[1] > 0x9f) || (c == 0xf0 && p[1] < 0x90) ||
        (c == 0xf4 && p[1] > 0x8f))
        return 0;
    return len;
}

size_t utf8_prefix(struct slice s)
{
    const unsigned char *p = (const unsigned char *)s.p;
    size_t i = slice_ascii(s);

    while (i < s.n) {
        size_t len = p[i] < 0x80 ? 1 : utf8_len(p + i, s.n - i);

        if (len == 0)
            break;
        i += len;
    }
    return i;
}

bool utf8_valid(struct slice s)
{
    return utf8_prefix(s) == s.n;
}

int json_code_unit(const char *p, size_t n)
{
    int v = 0;

    if (n < 4)
        return -1;
    for (int i = 0; i < 4; i++) {
        char c = p[i];
        int digit = c >= '0' && c <= '9'   ? c - '0'
                    : c >= 'a' && c <= 'f' ? c - 'a' + 10
                    : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                           : -1;
        if (digit < 0)
            return -1;
        v = v * 16 + digit;
    }
    return v;
}

/*
 * Backslashes are legal inside strings only, so the escapes can be read without knowing where
 * strings are: outside, the walk refuses them. 0 or -1 with *at and *reason.
 */
static int scan_escapes(struct slice in, size_t *at, const char **reason)
{
    const char *end = in.p + in.n;
    const char *p = in.p;

    while ((p = memchr(p, '\\', (size_t)(end - p))) != NULL) {
        int unit;

        *at = (size_t)(p - in.p);
        if (end - p < 2)
            return 0;
        if (p[1] != 'u') {
            p += 2;
            continue;
        }
        unit = json_code_unit(p + 2, (size_t)(end - p - 2));
        *reason = "NUL in string";
        if (unit == 0)
            return -1;
        *reason = "lone surrogate";
        if (unit >= 0xdc00 && unit <= 0xdfff)
            return -1;
        if (unit >= 0xd800 && unit <= 0xdbff) {
            p += 6;
            unit = end - p >= 6 && p[0] == '\\' && p[1] == 'u' ? json_code_unit(p + 2, 4) : -1;
            if (unit < 0xdc00 || unit > 0xdfff)
                return -1;
        }
        p += unit < 0 ? 2 : 6;
    }
    return 0;
}

int json_check_input(struct slice in, struct json_error *err)
{
    if (in.n > INPUT_MAX) {
        err->reason = "too long";
        return -1;
    }
    err->offset = utf8_prefix(in);
    if (err->offset != in.n) {
        err->reason = "not UTF-8";
        return -1;
    }
    err->offset = 0;
    if (in.n && scan_escapes(in, &err->offset, &err->reason) < 0)
        return -1;
    err->offset = 0;
    return 0;
}
