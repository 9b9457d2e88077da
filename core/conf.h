/*
 * conf - files in nginx's syntax: `name arg arg;` and `name arg { ... }`, # comments, "quoted" and
 * 'quoted' arguments with backslash escapes, `include GLOB;` relative to the including file.
 * Parsed into an arena tree; every node knows its file and line, so that every error names them.
 */
#ifndef CORE_CONF_H
#define CORE_CONF_H

#include "arena.h"

#define CONF_MAX_ARGS 64

/* Where a word begins; both count from 1. */
struct conf_place {
    uint32_t line, column;
};

struct conf_node {
    struct slice name;
    struct slice *args;              /* without the name */
    const struct conf_place *places; /* of the arguments */
    uint32_t nargs;
    bool block;              /* had { } */
    struct conf_node *child; /* first of the block, NULL when empty */
    struct conf_node *next;
    const char *file;
    uint32_t line, column;
};

struct conf_error {
    char text[512];          /* "FILE:LINE: reason" */
    struct conf_place place; /* line 0: of no file */
    uint16_t file_n;         /* length of FILE in text */
    uint16_t reason;         /* where the reason begins in text */
};

/* Parses file and its includes (depth <= 8). *out is the first top-level node. 0 or -1 + err. */
int conf_parse_file(struct arena *a, const char *file, struct conf_node **out,
                    struct conf_error *err);
/* The same from memory; `name` stands for the file in errors; include is refused. */
int conf_parse_text(struct arena *a, const char *name, struct slice text, struct conf_node **out,
                    struct conf_error *err);

/* First node of that name among siblings `first`, NULL if none. */
const struct conf_node *conf_find(const struct conf_node *first, const char *name);
/* "FILE:LINE: " + message into err; returns -1 for `return conf_fail(...)`. The place is that of
 * the argument which the message quotes ("..."), else of the directive. */
int conf_fail(struct conf_error *err, const struct conf_node *at, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* Makes the text "FILE:LINE:COLUMN: reason"; once. Without a place it stays as it is. */
void conf_error_place(struct conf_error *err);

/* Values. 0 or -1. Durations: 50ms 5s 2m 3h 7d (a bare number is refused) -> milliseconds.
 * Sizes: 512 64k 8m 1g -> bytes. */
int conf_duration_ms(struct slice s, int64_t *ms);
int conf_size(struct slice s, int64_t *bytes);
int conf_onoff(struct slice s, bool *out);

/*
 * Directive tables: the one list of what a block may contain. conf_check walks the children of a
 * block against it and reports unknown, repeated and badly counted directives with file and line.
 * docs/configuration.md is compared with these tables by t/unit and by `--directives`.
 */
#define CONF_REPEAT 1u /* may stand more than once */
#define CONF_BLOCK  2u
#define CONF_NEED   4u /* must stand at least once */

struct conf_directive {
    const char *name;
    uint32_t min_args, max_args;
    uint32_t flags;
    const char *syntax; /* "TIME", "on | off" ... for docs and errors */
    const char *dflt;   /* "" when there is none */
    const char *help;   /* one sentence */
};

/* table ends with name NULL. `block` is the node whose children are checked, or NULL with
 * `first` for the top level. */
int conf_check(const struct conf_node *block, const struct conf_node *first,
               const struct conf_directive *table, struct conf_error *err);

/*
 * The same to the end: `found` is called with every problem. Badly written directives are taken out
 * of the list, so that what is left can be read. Returns the number of problems; *missing = how
 * many of them are needed directives that are not there (any more).
 */
uint32_t conf_check_all(struct conf_node *block, struct conf_node **first,
                        const struct conf_directive *table, uint32_t *missing,
                        void (*found)(void *arg, const struct conf_error *err), void *arg);

#endif
