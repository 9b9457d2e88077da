/*
 * arena - memory of one request or one event: allocated piece by piece, capped, freed whole.
 *
 * Invariants: total bytes handed out never exceed the cap given at birth; pointers stay valid until
 * arena_clear or arena_release; a failed allocation returns NULL (or SLICE_NULL) and sets
 * a->failed, which stays set, so a sequence of calls may check once at its end.
 * The first chunk is allocated at the first use: an idle arena costs sizeof(struct arena).
 */
#ifndef CORE_ARENA_H
#define CORE_ARENA_H

#include "slice.h"

struct arena_chunk;

struct arena {
    struct arena_chunk *chunks; /* newest first */
    size_t used;                /* bytes handed out */
    size_t cap;
    bool failed;
};

void arena_init(struct arena *a, size_t cap);
/* Frees all but keeps the arena usable. */
void arena_clear(struct arena *a);
void arena_release(struct arena *a);

/* 16-byte aligned, zeroed. */
void *arena_alloc(struct arena *a, size_t n);
#define arena_new(a, type)          ((type *)arena_alloc((a), sizeof(type)))
#define arena_array(a, type, count) ((type *)arena_calloc((a), (count), sizeof(type)))
/* Overflow-checked count * size. */
void *arena_calloc(struct arena *a, size_t count, size_t size);

struct slice arena_copy(struct arena *a, struct slice s);
/* n slices, one after another. */
struct slice arena_join(struct arena *a, const struct slice *parts, size_t n);
struct slice arena_int64(struct arena *a, int64_t v);
/* NUL-terminated copy; NULL (and a->failed) also when s contains a NUL. */
char *arena_cstr(struct arena *a, struct slice s);
struct slice arena_printf(struct arena *a, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

#endif
