#include "nonces.h"

#include <stdlib.h>

#define GENERATION_US (600 * USEC_PER_SEC)
#define SLOTS_FIRST   4096

struct generation {
    uint64_t *slots; /* open addressing, 0 = free; a power of two of them */
    size_t nslots;
    size_t used;
};

struct nonces {
    struct generation now, before;
    pay_time_t began; /* of `now` */
};

struct nonces *nonces_new(void)
{
    return calloc(1, sizeof(struct nonces));
}

void nonces_free(struct nonces *s)
{
    if (!s)
        return;
    free(s->now.slots);
    free(s->before.slots);
    free(s);
}

static bool has(const struct generation *g, uint64_t h)
{
    if (!g->slots)
        return false;
    for (size_t i = h & (g->nslots - 1); g->slots[i]; i = (i + 1) & (g->nslots - 1))
        if (g->slots[i] == h)
            return true;
    return false;
}

static void put(struct generation *g, uint64_t h)
{
    size_t i = h & (g->nslots - 1);

    while (g->slots[i])
        i = (i + 1) & (g->nslots - 1);
    g->slots[i] = h;
    g->used++;
}

static int grow_set(struct generation *g)
{
    struct generation fresh = {NULL, g->nslots ? g->nslots * 2 : SLOTS_FIRST, 0};

    fresh.slots = calloc(fresh.nslots, sizeof(*fresh.slots));
    if (!fresh.slots)
        return -1;
    for (size_t i = 0; i < g->nslots; i++)
        if (g->slots[i])
            put(&fresh, g->slots[i]);
    free(g->slots);
    *g = fresh;
    return 0;
}

static void turn(struct nonces *s, pay_time_t now)
{
    if (now - s->began < GENERATION_US)
        return;
    free(s->before.slots);
    s->before = now - s->began < 2 * GENERATION_US ? s->now : (struct generation){NULL, 0, 0};
    if (s->before.slots != s->now.slots)
        free(s->now.slots);
    s->now = (struct generation){NULL, 0, 0};
    s->began = now;
}

int nonces_use(struct nonces *s, struct slice owner, struct slice nonce, pay_time_t now)
{
    uint64_t h = slice_hash(nonce) * UINT64_C(0x9E3779B97F4A7C15) ^ slice_hash(owner);

    if (h == 0)
        h = 1;
    turn(s, now);
    if (has(&s->now, h) || has(&s->before, h))
        return -1;
    if (2 * (s->now.used + 1) > s->now.nslots && grow_set(&s->now) < 0)
        return -1;
    put(&s->now, h);
    return 0;
}
