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
