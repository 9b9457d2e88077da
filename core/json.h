/*
 * json - strict JSON (RFC 8259) into an arena tree, and a writer onto a buf. Refused as well:
 * duplicate keys, NUL in strings, lone surrogates, too much depth, too many values. Numbers keep
 * their raw text: money is never floating point.
 */
#ifndef CORE_JSON_H
#define CORE_JSON_H

#include "arena.h"
#include "buf.h"

enum json_type {
    JSON_NULL,
    JSON_FALSE,
    JSON_TRUE,
    JSON_NUMBER,
    JSON_STRING,
    JSON_ARRAY,
    JSON_OBJECT
};

struct json {
    enum json_type type;
    struct slice key;   /* decoded member name inside an object, else empty */
    struct slice text;  /* STRING: decoded; NUMBER: raw text */
    struct json *child; /* ARRAY, OBJECT: first member */
    struct json *next;  /* sibling */
    uint32_t count;     /* ARRAY, OBJECT: members */
};

struct json_limits {
    uint32_t depth;  /* nesting, default 16, at most 1024 */
    uint32_t values; /* values in all, default 1024 */
    bool in_place;   /* the input outlives the tree, which may point into it; else all is copied */
};

struct json_error {
    size_t offset;      /* byte where it was noticed */
    const char *reason; /* static: "syntax", "duplicate key", "too deep", "NUL in string", ... */
    struct slice key;   /* member concerned, may be empty; lives in the arena */
};

/* Whole of `in` must be one value. limits NULL = defaults. 0, or -1 with *err filled. */
int json_parse(struct arena *a, struct slice in, const struct json_limits *limits,
               const struct json **out, struct json_error *err);

/* Dotted path through objects ("amount.total"); NULL when absent or v is NULL. A key that itself
 * contains a dot cannot be reached. */
const struct json *json_get(const struct json *v, const char *path);
/* String member's text, SLICE_NULL when absent or not a string. */
struct slice json_str(const struct json *v, const char *path);
/* Integer without fraction or exponent in int64 range. 0 or -1. */
int json_int64(const struct json *v, int64_t *out);

/* Writer. Commas are placed by the writer; the caller balances begin and end. Depth <= 32. */
struct json_writer {
    struct buf *b;
    uint32_t depth;
    uint32_t comma; /* bit per depth: a member was written */
};

void json_writer_init(struct json_writer *w, struct buf *b);
void json_begin_object(struct json_writer *w);
void json_end_object(struct json_writer *w);
void json_begin_array(struct json_writer *w);
void json_end_array(struct json_writer *w);
void json_key(struct json_writer *w, const char *key); /* a name of ours: written as it is */
void json_key_slice(struct json_writer *w, struct slice key);
void json_put_str(struct json_writer *w, struct slice s); /* escapes; non-UTF-8 -> U+FFFD */
void json_put_int64(struct json_writer *w, int64_t v);
void json_put_bool(struct json_writer *w, bool v);
void json_put_null(struct json_writer *w);
void json_put_raw(struct json_writer *w, struct slice raw); /* already JSON */
/* Key and value in one; _opt writes nothing for an empty slice. */
void json_member_str(struct json_writer *w, const char *key, struct slice s);
void json_member_str_opt(struct json_writer *w, const char *key, struct slice s);
void json_member_int64(struct json_writer *w, const char *key, int64_t v);
/* Re-writes a parsed value compactly, members in their order. */
void json_put_value(struct json_writer *w, const struct json *v);

/* RFC 3629: shortest form, no surrogates, at most U+10FFFF. */
bool utf8_valid(struct slice s);
/* Bytes from the start of s that are valid UTF-8. */
size_t utf8_prefix(struct slice s);

#endif
