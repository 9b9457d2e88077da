/*
 * form - a list of named texts: a urlencoded form, a flat XML, the text that is signed. Built here
 * and not in core: the gateway's side must not share a mistake in it.
 */
#ifndef PAYBANK_FORM_H
#define PAYBANK_FORM_H

#include "core/arena.h"
#include "core/buf.h"

#define FORM_MAX 256

struct form_field {
    struct slice name;
    struct slice value;
};

/* Slices live in the arena, or where the caller's do. */
struct form {
    struct arena *arena;
    struct form_field *v; /* FORM_MAX of them */
    size_t n;
};

/* -1: no memory. */
int form_init(struct form *f, struct arena *a);
/* value is copied. More than FORM_MAX: the arena is marked as failed. */
void form_add(struct form *f, const char *name, struct slice value);
void form_add_str(struct form *f, const char *name, const char *value);
void form_add_int64(struct form *f, const char *name, int64_t value);
/* Adds nothing when value is empty. */
void form_add_opt(struct form *f, const char *name, struct slice value);
/* SLICE_NULL when absent. */
struct slice form_get(const struct form *f, const char *name);

/* Adds the pairs of an application/x-www-form-urlencoded text: '+' is a blank, %XX a byte. 0, or -1
 * with a static reason: broken %XX, no name, not UTF-8, NUL, a name twice (also with what is there
 * already). */
int form_parse(struct form *f, struct slice text, const char **reason);
/* k=v&k=v with everything but unreserved characters as %XX. */
void form_encode(const struct form *f, struct buf *out);

/*
 * k=v joined by '&', by name in the order of bytes, raw values; without empty values and without
 * the names in `but` (ends with NULL). What three of the protocols sign.
 */
void form_signed_text(const struct form *f, const char *const *but, struct buf *out);

#endif
