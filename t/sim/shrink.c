/*
 * Shrinking: a life fails because of a few of its choices. All are switched off in pieces, halves
 * first, and stay off while the same invariant is broken.
 */
#include "sim.h"

static void set(struct choices *c, uint32_t fired)
{
    unsigned s = fired >> 16, n = fired & 0xffff;

    c->set[s][n / 64] |= 1ULL << (n % 64);
}

static bool fails_still(struct world *w, uint64_t seed, uint64_t life, const struct choices *c,
                        const char *invariant)
{
    world_run(w, seed, life, c, NULL);
    return w->broken && strcmp(w->broken, invariant) == 0;
}

/* One pass over the choices that happened, in pieces of `size`; true when some went off. */
static bool pass(struct world *w, uint64_t seed, uint64_t life, struct choices *c,
                 const char *invariant, unsigned size)
{
    static uint32_t fired[sizeof(w->fired) / sizeof(w->fired[0])];
    unsigned n = w->nfired;
    bool any = false;

    memcpy(fired, w->fired, n * sizeof(fired[0]));
    for (unsigned at = 0; at < n; at += size) {
        struct choices before = *c;

        for (unsigned i = at; i < at + size && i < n; i++)
            set(c, fired[i]);
        if (fails_still(w, seed, life, c, invariant))
            any = true;
        else
            *c = before;
    }
    fails_still(w, seed, life, c, invariant);
    return any;
}

void shrink(struct world *w, uint64_t seed, uint64_t life, struct choices *c)
{
    const char *invariant = w->broken;
    struct choices needed = {.only = true};

    for (unsigned size = w->nfired / 2 + 1; size >= 1; size = size == 1 ? 0 : size / 2)
        while (pass(w, seed, life, c, invariant, size) && size == 1)
            ;
    for (unsigned i = 0; i < w->nfired; i++)
        set(&needed, w->fired[i]);
    *c = needed;
}
