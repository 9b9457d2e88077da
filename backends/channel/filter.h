/*
 * filter - the closed list of what can be done to a value on its way out (`send`) or in (`take`).
 * Types are checked when a file is loaded: an amount cannot reach a filter that wants text.
 */
#ifndef CHANNEL_FILTER_H
#define CHANNEL_FILTER_H

#include "source.h"

#define FILTERS_MAX 6u

struct filter_step {
    const struct filter *filter;
    int64_t num;
    struct slice text;
};

struct filter_list {
    const struct filter_step *steps;
    uint32_t n;
};

enum filter_direction { FILTER_SEND = 1, FILTER_RECV = 2, FILTER_BOTH = 3 };
enum filter_arg { FILTER_ARG_NONE, FILTER_ARG_NUMBER, FILTER_ARG_TEXT };

struct filter {
    const char *name;
    enum filter_direction direction;
    enum value_type from, to;
    enum filter_arg arg;
    /* Changes *v. 0, or -1: the value is refused. */
    int (*apply)(const struct filter_step *step, struct arena *arena, struct value *v);
    const char *help;
};

/* NULL past the last. */
const struct filter *filter_at(size_t i);

/* args[0..n) are "name" or "name=argument". *type is the type before, and becomes the type behind;
 * before, VALUE_NONE means "whatever the first filter wants". 0 or -1. */
int filters_compile(struct compiler *cp, const struct conf_node *at, const struct slice *args,
                    uint32_t n, enum filter_direction direction, enum value_type *type,
                    struct filter_list *out);
int filters_apply(const struct filter_list *list, struct arena *arena, struct value *v);

/* s cut to at most n characters of UTF-8. */
struct slice utf8_cut(struct slice s, size_t n);

#endif
