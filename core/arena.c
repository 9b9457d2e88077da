#include "arena.h"

#include <stdalign.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define ARENA_ALIGN 16u
#define ARENA_CHUNK_MIN                                                                            \
    1024u /* glibc's malloc keeps pieces up to 1032 bytes at hand for each thread */
#define ARENA_CHUNK_MAX 65536u

struct arena_chunk {
    struct arena_chunk *next;
    size_t size; /* bytes of data */
    size_t used;
    alignas(ARENA_ALIGN) unsigned char data[];
};

void arena_init(struct arena *a, size_t cap)
{
    *a = (struct arena){.cap = cap};
}

void arena_clear(struct arena *a)
{
    struct arena_chunk *next;

    for (struct arena_chunk *c = a->chunks; c; c = next) {
        next = c->next;
        free(c);
    }
    *a = (struct arena){.cap = a->cap};
}

void arena_release(struct arena *a)
{
    arena_clear(a);
    a->cap = 0;
}

/*
 * Chunks grow with the arena, from 1 KB to 64 KB: thousands of small requests that wait cost
 * little, a large one makes few mallocs, and neither wastes more than what it uses.
 */
static struct arena_chunk *chunk_add(struct arena *a, size_t need)
{
    size_t size = ARENA_CHUNK_MIN; /* with its head */
    struct arena_chunk *c;

    if (need > PTRDIFF_MAX - sizeof(*c)) /* no object is larger; valgrind and ASan insist */
        return NULL;
    while (size < ARENA_CHUNK_MAX && size < a->used)
        size *= 2;
    if (size < sizeof(*c) + need)
        size = sizeof(*c) + need;
    c = malloc(size);
    if (!c)
        return NULL;
    c->next = a->chunks;
    c->size = size - sizeof(*c);
    c->used = 0;
    a->chunks = c;
    return c;
}

/* Like arena_alloc, but the bytes are not zeroed. */
static void *arena_take(struct arena *a, size_t n)
{
    struct arena_chunk *c = a->chunks;
    void *p;

    if (n == 0)
        n = 1; /* NULL means failure, so nothing gets an address too */
    if (n > SIZE_MAX - ARENA_ALIGN)
        goto fail;
    n = (n + ARENA_ALIGN - 1) & ~(size_t)(ARENA_ALIGN - 1);
    if (n > a->cap || a->used > a->cap - n)
        goto fail;
    if (!c || c->size - c->used < n)
        c = chunk_add(a, n);
    if (!c)
        goto fail;
    p = c->data + c->used;
    c->used += n;
    a->used += n;
    return p;
fail:
    a->failed = true;
    return NULL;
}

void *arena_alloc(struct arena *a, size_t n)
{
    void *p = arena_take(a, n);

    if (p)
        memset(p, 0, n);
    return p;
}

void *arena_calloc(struct arena *a, size_t count, size_t size)
{
    size_t n;

    if (__builtin_mul_overflow(count, size, &n)) {
        a->failed = true;
        return NULL;
    }
    return arena_alloc(a, n);
}

struct slice arena_copy(struct arena *a, struct slice s)
{
    char *p;

    if (s.n == 0)
        return SLICE("");
    p = arena_take(a, s.n);
    if (!p)
        return SLICE_NULL;
    memcpy(p, s.p, s.n);
    return slice_n(p, s.n);
}

struct slice arena_join(struct arena *a, const struct slice *parts, size_t n)
{
    size_t all = 0;
    char *p, *to;

    for (size_t i = 0; i < n; i++)
        all += parts[i].n;
    p = to = arena_take(a, all);
    if (!p)
        return SLICE_NULL;
    for (size_t i = 0; i < n; i++)
        to = parts[i].n ? (char *)memcpy(to, parts[i].p, parts[i].n) + parts[i].n : to;
    return slice_n(p, all);
}

struct slice arena_int64(struct arena *a, int64_t v)
{
    char text[INT64_TEXT_LEN];

    return arena_copy(a, slice_of_int64(text, v));
}

char *arena_cstr(struct arena *a, struct slice s)
{
    char *p;

    if (s.n && memchr(s.p, '\0', s.n)) {
        a->failed = true;
        return NULL;
    }
    p = arena_take(a, s.n + 1);
    if (!p)
        return NULL;
    if (s.n)
        memcpy(p, s.p, s.n);
    p[s.n] = '\0';
    return p;
}

struct slice arena_printf(struct arena *a, const char *fmt, ...)
{
    char text[256];
    va_list args;
    char *p;
    int n;

    va_start(args, fmt);
    n = vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    if (n < 0) {
        a->failed = true;
        return SLICE_NULL;
    }
    p = arena_take(a, (size_t)n + 1);
    if (!p)
        return SLICE_NULL;
    if ((size_t)n < sizeof(text)) {
        memcpy(p, text, (size_t)n + 1);
        return slice_n(p, (size_t)n);
    }
    va_start(args, fmt); /* rare: the length is not known before */
    vsnprintf(p, (size_t)n + 1, fmt, args);
    va_end(args);
    return slice_n(p, (size_t)n);
}
