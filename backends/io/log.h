/*
 * log - one JSON object a line to stderr or a file: {"t":RFC 3339 with microseconds,"lvl":..,
 * "proc":NAME,"ev":event,...}. Values are slices and integers; `struct secret` has no overload.
 */
#ifndef IO_LOG_H
#define IO_LOG_H

#include "core/slice.h"

enum log_level { LOG_DEBUG, LOG_INFO, LOG_NOTICE, LOG_WARN, LOG_ERROR, LOG_ALERT };

/* path NULL = stderr. Reopened by log_reopen (SIGUSR1). 0 or -1 with errno. */
int log_open(const char *path, const char *process, enum log_level level);
int log_reopen(void);
/* Lines below LOG_ERROR are written at the end of the loop turn and at exit, by this. */
void log_flush(void);
int log_level_parse(struct slice s, enum log_level *out);

struct log_field {
    const char *key;
    struct slice str; /* used when key and is_int == false */
    int64_t num;
    bool is_int;
};
#define LOG_S(k, v) ((struct log_field){(k), (v), 0, false})
#define LOG_I(k, v) ((struct log_field){(k), SLICE_NULL, (int64_t)(v), true})

void log_write(enum log_level level, const char *event, const struct log_field *fields, size_t n);
#define log_event(level, event, ...)                                                               \
    log_write((level), (event), (const struct log_field[]){__VA_ARGS__},                           \
              sizeof((const struct log_field[]){__VA_ARGS__}) / sizeof(struct log_field))

#endif
