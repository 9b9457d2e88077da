/*
 * api_index - a field table of api.c, made quick to ask. Every body of every request is held
 * against one, so it is not searched: a member's name is one step to its field, a character one
 * step to the sets that have it, and what must be there is a word of bits.
 *
 * Made before main, once per process, and never changed: any thread may read it. A table that does
 * not fit is refused there, by assertion.
 */
#ifndef CORE_API_INDEX_H
#define CORE_API_INDEX_H

#include "api.h"

#define API_FIELDS_MAX  64 /* of one table: a bit each in a word */
#define API_PLACES      (4 * API_FIELDS_MAX)
#define API_SETS_MAX    8 /* different charsets of one table */
#define API_METHODS_MAX 8 /* rows of api_method_fields() */

/* Which member a field is. */
struct api_name {
    struct slice text; /* the last part of its path */
    int32_t parent;    /* the object it is in, as an index of the table; -1: the body itself */
    uint8_t charset;   /* its bit in `characters`; 0: any text */
};

struct api_index {
    const struct api_field *fields; /* NULL: no body */
    size_t count;
    uint64_t required;
    struct api_name names[API_FIELDS_MAX];
    uint8_t places[API_PLACES];         /* hash table of names: 1 + index, 0 is free */
    uint8_t characters[256];            /* a bit for each charset that has the byte */
    uint8_t by_method[API_METHODS_MAX]; /* creation only: the fields of api_method_fields() */
};

/* The one of an API of api_table(). */
const struct api_index *api_index_of(const struct api *api);

static inline unsigned api_index_hash(int32_t parent, struct slice name)
{
    unsigned char first = (unsigned char)name.p[0], last = (unsigned char)name.p[name.n - 1];

    return ((unsigned)name.n * 37 + first * 5u + last * 11u + (unsigned)(parent + 1) * 83u) %
           API_PLACES;
}

/* Index of the field that a member of `parent` called `name` is, -1 if there is none. */
static inline int api_index_find(const struct api_index *x, int32_t parent, struct slice name)
{
    unsigned at;

    if (name.n == 0)
        return -1;
    /* at most a quarter of the places is taken */
    for (at = api_index_hash(parent, name); x->places[at]; at = (at + 1) % API_PLACES) {
        int i = x->places[at] - 1;

        if (x->names[i].parent == parent && slice_eq(x->names[i].text, name))
            return i;
    }
    return -1;
}

#endif
