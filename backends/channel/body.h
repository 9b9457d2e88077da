/*
 * body - bytes of a message to a tree of members and back to nothing: whatever the encoding, what
 * is read is one JSON object, so that paths, checks and tables know no encoding.
 *   json   RFC 8259, an object
 *   xml    core/xml.h; the root's name does not matter, its elements are the members
 *   form   application/x-www-form-urlencoded
 *   pairs  the same without percent-encoding: k=v&k=v, split at & outside of { }, at the first =
 * Texts are UTF-8; no member twice, none without a name, no NUL.
 */
#ifndef CHANNEL_BODY_H
#define CHANNEL_BODY_H

#include "core/json.h"

enum encoding { ENCODING_JSON, ENCODING_XML, ENCODING_FORM, ENCODING_PAIRS };

/* -1 when there is none of that name. */
int encoding_parse(struct slice word);
const char *encoding_name(enum encoding e);
struct slice encoding_content_type(enum encoding e);

/* 0, or -1: it is none, or too large for the arena. */
int body_parse(enum encoding e, struct slice in, struct arena *arena, const struct json **out);

/* The bytes of member `key` of the JSON object `in`, which json_parse has accepted; SLICE_NULL when
 * it is not there, or its name is written with escapes. */
struct slice body_raw_member(struct slice in, const char *key);

/* The members as k=v&k=v by name, without empty ones and those of leave[0..n). SLICE_NULL when one
 * is neither text nor number, has = or & in its name (two bodies would have one text), or memory
 * ends. */
struct slice body_sorted(const struct json *body, const struct slice *leave, size_t n,
                         struct arena *arena);

#endif
