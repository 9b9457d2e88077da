/* json_text - where the plain part of a JSON string ends; for its reader (json.c) and its writer.
 */
#ifndef CORE_JSON_TEXT_H
#define CORE_JSON_TEXT_H

#include "word.h"

#include <endian.h>
#include <stdbool.h>

static inline bool is_plain(char c)
{
    return (unsigned char)c >= 0x20 && c != '"' && c != '\\';
}

/* Nothing in these eight bytes ends a plain part, and all are ASCII. */
static inline bool word_is_plain(uint64_t w)
{
    return !((w & TOP_BITS) | word_zero(w ^ EACH((uint64_t)'"')) |
             word_zero(w ^ EACH((uint64_t)'\\')) | word_below(w, 0x20));
}

/* The whole string is plain ASCII; the last eight bytes overlap those before. */
static inline bool is_plain_ascii(const char *p, size_t n)
{
    size_t i;

    for (i = 0; n - i >= 8; i += 8) {
        if (!word_is_plain(word_at(p + i)))
            return false;
    }
    if (n >= 8)
        return word_is_plain(word_at(p + n - 8));
    for (; i < n; i++) {
        if (!is_plain(p[i]) || (unsigned char)p[i] >= 0x80)
            return false;
    }
    return true;
}

/* From p inside a string to the first byte that is not simply itself: quote, backslash, control
 * character, or the end of the input. */
static inline const char *plain_end(const char *p, const char *end)
{
    while (end - p >= 8) {
        uint64_t w = le64toh(word_at(p));
        uint64_t found = word_zero(w ^ EACH((uint64_t)'"')) | word_zero(w ^ EACH((uint64_t)'\\')) |
                         word_below(w, 0x20);

        if (found) /* its lowest bit is exact: a borrow only goes upwards */
            return p + __builtin_ctzll(found) / 8;
        p += 8;
    }
    while (p < end && is_plain(*p))
        p++;
    return p;
}

#endif
