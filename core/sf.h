/*
 * sf - structured field values (RFC 8941): a strict parser into an arena, and their one serialised
 * form. Stricter than the RFC where leniency would let two readers see different things: a key or
 * parameter that occurs twice is refused (the RFC lets the last one win), and so is base64 without
 * its padding.
 */
#ifndef CORE_SF_H
#define CORE_SF_H

#include "arena.h"
#include "buf.h"

enum sf_type { SF_INTEGER, SF_DECIMAL, SF_STRING, SF_TOKEN, SF_BYTES, SF_BOOLEAN, SF_INNER_LIST };

struct sf_value {
    enum sf_type type;
    int64_t integer;   /* INTEGER; DECIMAL in thousandths; BOOLEAN 0 or 1 */
    struct slice text; /* STRING without quotes and escapes, TOKEN, BYTES decoded */
};

struct sf_param {
    struct slice key;
    struct sf_value value;
    struct sf_param *next;
};

/* A member of a dictionary, or an item of an inner list. */
struct sf_member {
    struct slice key; /* of a dictionary's member, else empty */
    struct sf_value value;
    struct sf_member *items; /* INNER_LIST: its items, in order */
    struct sf_param *params; /* in order */
    struct sf_member *next;
};

/* The whole of `in` must be one dictionary; an empty one gives *out NULL. Slices point into `in` or
 * live in the arena. 0, or -1 with *reason a static text. */
int sf_parse_dictionary(struct arena *a, struct slice in, struct sf_member **out,
                        const char **reason);
/* NULL when there is none. */
const struct sf_member *sf_find(const struct sf_member *first, const char *key);
const struct sf_member *sf_find_slice(const struct sf_member *first, struct slice key);
const struct sf_param *sf_param(const struct sf_member *m, const char *key);

/* Value and parameters, without the dictionary's key. */
void sf_write(struct buf *b, const struct sf_member *m);
/* The whole dictionary. */
void sf_write_dictionary(struct buf *b, const struct sf_member *first);
/* "text" with its escapes; the caller makes sure that it is printable ASCII. */
void sf_write_string(struct buf *b, struct slice text);
/* :base64: */
void sf_write_bytes(struct buf *b, struct slice bytes);

#endif
