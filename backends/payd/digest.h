/*
 * digest - what makes two requests "the same content": equal values of the named members, whatever
 * their order or the white space. mchid and appid may be left out of a body; they are the key's.
 */
#ifndef PAYD_DIGEST_H
#define PAYD_DIGEST_H

#include "core/json.h"

/* amount: path of the integer; paths: of the texts, ended by NULL; code: what stands for a payer's
 * code, or "". SHA-256 in the arena, or
 * SLICE_NULL when there is no memory. */
struct slice content_digest(struct arena *a, const struct json *doc, struct slice app,
                            const char *amount, const char *const *paths, struct slice code);

#endif
