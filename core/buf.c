#include "buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define BUF_ALLOC_MIN 128u

void buf_init(struct buf *b, size_t cap)
{
    *b = (struct buf){.cap = cap};
}

void buf_release(struct buf *b)
{
    free(b->p);
    *b = (struct buf){.cap = b->cap};
}

void buf_clear(struct buf *b)
{
    b->n = 0;
    b->failed = false;
}

void buf_consume(struct buf *b, size_t n)
{
    if (n > b->n)
        n = b->n;
    if (n == 0)
        return;
    memmove(b->p, b->p + n, b->n - n);
    b->n -= n;
}

/*
 * Doubling, so that many small additions stay linear; the cap bounds it. One byte more than `alloc`
 * is there always: vsnprintf wants to end with a NUL that is not ours to count.
 */
static bool buf_grow(struct buf *b, size_t need)
{
    size_t size = b->alloc ? b->alloc : b->cap < BUF_ALLOC_MIN ? b->cap : BUF_ALLOC_MIN;
    char *p;

    while (size < need)
        size = size > b->cap / 2 ? b->cap : size * 2;
    p = size < PTRDIFF_MAX ? realloc(b->p, size + 1) : NULL;
    if (!p)
        return false;
    b->p = p;
    b->alloc = size;
    return true;
}

char *buf_reserve(struct buf *b, size_t n)
{
    if (b->failed)
        return NULL;
    if (n > b->cap || b->n > b->cap - n) {
        b->failed = true;
        return NULL;
    }
    if ((!b->p || b->alloc - b->n < n) && !buf_grow(b, b->n + n)) {
        b->failed = true;
        return NULL;
    }
    return b->p + b->n;
}

void buf_add_growing(struct buf *b, const void *p, size_t n)
{
    char *to = buf_reserve(b, n);

    if (!to)
        return;
    memcpy(to, p, n);
    b->n += n;
}

void buf_add_int64(struct buf *b, int64_t v)
{
    char text[INT64_TEXT_LEN];
    struct slice digits = slice_of_int64(text, v);

    buf_add(b, digits.p, digits.n);
}

void buf_addf(struct buf *b, const char *fmt, ...)
{
    size_t room = b->p && !b->failed ? b->alloc - b->n + 1 : 0; /* with the NUL's byte */
    va_list args;
    char *to;
    int n;

    va_start(args, fmt);
    n = vsnprintf(room ? b->p + b->n : NULL, room, fmt, args);
    va_end(args);
    if (n < 0) {
        b->failed = true;
        return;
    }
    if (n == 0)
        return;
    if ((size_t)n < room && (size_t)n <= b->cap - b->n) {
        b->n += (size_t)n;
        return;
    }
    to = buf_reserve(b, (size_t)n);
    if (!to)
        return;
    va_start(args, fmt);
    vsnprintf(to, (size_t)n + 1, fmt, args);
    va_end(args);
    b->n += (size_t)n;
}
