/*
 * check - what a JSON body must look like, as a table; everything else is refused, as the real
 * banks do.
 */
#ifndef PAYBANK_CHECK_H
#define PAYBANK_CHECK_H

#include "core/json.h"

enum check_type { CHECK_STRING, CHECK_INTEGER, CHECK_BOOL, CHECK_OBJECT, CHECK_OPAQUE };

struct check_field {
    const char *path;     /* dotted */
    enum check_type type; /* OPAQUE: an object whose members are not looked at */
    bool must;
    int64_t min, max; /* characters of a string, value of an integer */
    const char *also; /* beside 0-9A-Za-z these only; NULL = any text */
};

struct check_error {
    char field[128];   /* "/amount/total" */
    const char *issue; /* static */
};

/* Members that are null count as absent. Table ends with path NULL. 0, or -1 with *err filled. */
int check_fields(const struct json *doc, const struct check_field *table, struct check_error *err);

/* 0-9A-Za-z and what stands in also. */
bool check_charset(struct slice s, const char *also);
/* Undoes %XX into the arena; -1 on a broken one. '+' stays what it is. */
int check_unescape(struct arena *a, struct slice s, struct slice *out);

#endif
