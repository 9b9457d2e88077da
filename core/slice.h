/*
 * slice - a view of bytes: pointer and length, never owned, not NUL-terminated.
 *
 * Every string inside ngx_pay is a slice; NUL-terminated strings occur only where a library
 * wants them (arena_cstr makes one). The empty slice is {NULL, 0}; p may be NULL only if n is 0.
 */
#ifndef CORE_SLICE_H
#define CORE_SLICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct slice {
    const char *p;
    size_t n;
};

#define SLICE(literal) ((struct slice){"" literal, sizeof(literal) - 1})
#define SLICE_NULL     ((struct slice){NULL, 0})
/* for printf("%.*s", SLICE_FMT(s)) */
#define SLICE_FMT(s) (int)(s).n, (s).n ? (s).p : ""

static inline struct slice slice_of(const char *cstr)
{
    return cstr ? (struct slice){cstr, strlen(cstr)} : SLICE_NULL;
}

static inline struct slice slice_n(const void *p, size_t n)
{
    return (struct slice){(const char *)p, n};
}

static inline bool slice_eq(struct slice a, struct slice b)
{
    return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

static inline bool slice_is(struct slice a, const char *cstr)
{
    return slice_eq(a, slice_of(cstr));
}

/* ASCII case-insensitive; for header names. */
bool slice_eq_nocase(struct slice a, struct slice b);
bool slice_starts(struct slice s, struct slice prefix);
bool slice_contains(struct slice s, struct slice part);
/* Without leading and trailing spaces and tabs. */
struct slice slice_trim(struct slice s);
/* Cuts *rest at the first `sep`: returns what stands before it, *rest becomes what stands behind
 * (SLICE_NULL when there was no sep). */
struct slice slice_cut(struct slice *rest, char sep);
/* Whole slice as decimal int64, optional '-', no '+', no blanks, no leading zeros but "0".
 * 0 or -1 (syntax or overflow). */
int slice_int64(struct slice s, int64_t *out);
/* The number as slice_int64 reads it, at the end of text. */
#define INT64_TEXT_LEN 20
struct slice slice_of_int64(char text[INT64_TEXT_LEN], int64_t v);
/* Bytes from the start, in steps of eight, that are ASCII; printable: and no control characters. At
 * most 7 less than there are: what stands behind is looked at one by one. */
size_t slice_ascii(struct slice s);
size_t slice_printable(struct slice s);
/* FNV-1a, 64 bit, with a final mix: the hash behind slots (ids.h). Stable for ever. */
uint64_t slice_hash(struct slice s);

#endif
