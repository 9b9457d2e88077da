/*
 * buf - a growing byte buffer with a cap given at birth.
 *
 * Invariants: b->n <= b->alloc <= b->cap; once an addition would pass the cap (or memory ends)
 * b->failed is set, the addition and all later ones do nothing, so a sequence of additions is
 * checked once by buf_ok. buf_release frees; buf_clear empties, clears `failed` and keeps the
 * memory.
 */
#ifndef CORE_BUF_H
#define CORE_BUF_H

#include "slice.h"

#include <string.h>

struct buf {
    char *p;
    size_t n;
    size_t alloc;
    size_t cap;
    bool failed;
};

void buf_init(struct buf *b, size_t cap);
void buf_release(struct buf *b);
void buf_clear(struct buf *b);
/* Drops the first n bytes (n <= b->n). */
void buf_consume(struct buf *b, size_t n);

/* Room for n more bytes at b->p + b->n; NULL over the cap. Follow by b->n += written. */
char *buf_reserve(struct buf *b, size_t n);
void buf_add_growing(struct buf *b, const void *p, size_t n); /* buf_add where room must be made */
void buf_add_int64(struct buf *b, int64_t v);
void buf_addf(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static inline void buf_add(struct buf *b, const void *p, size_t n)
{
    if (n == 0)
        return;
    if (b->failed || b->alloc - b->n < n) {
        buf_add_growing(b, p, n);
        return;
    }
    memcpy(b->p + b->n, p, n);
    b->n += n;
}

static inline void buf_add_slice(struct buf *b, struct slice s)
{
    buf_add(b, s.p, s.n);
}

static inline void buf_add_str(struct buf *b, const char *cstr)
{
    buf_add(b, cstr, strlen(cstr));
}

static inline void buf_add_char(struct buf *b, char c)
{
    buf_add(b, &c, 1);
}

static inline bool buf_ok(const struct buf *b)
{
    return !b->failed;
}

static inline struct slice buf_slice(const struct buf *b)
{
    return (struct slice){b->p, b->n};
}

#endif
