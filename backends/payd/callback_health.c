#include "callback_health.h"

#include <stdlib.h>
#include <string.h>

#define BUCKETS  1024
#define NAME_MAX 64

struct suspect {
    struct suspect *chain;         /* of its bucket */
    struct suspect *newer, *older; /* by the latest slow call */
    size_t n;
    char name[NAME_MAX];
};

struct callback_health {
    struct suspect *buckets[BUCKETS];
    struct suspect *newest, *oldest;
    size_t n;
};

struct callback_health *callback_health_new(void)
{
    return calloc(1, sizeof(struct callback_health));
}

void callback_health_free(struct callback_health *h)
{
    struct suspect *s;

    if (!h)
        return;
    while ((s = h->newest)) {
        h->newest = s->older;
        free(s);
    }
    free(h);
}

static struct suspect **place_of(struct callback_health *h, struct slice name)
{
    struct suspect **at = &h->buckets[slice_hash(name) % BUCKETS];

    while (*at && !slice_eq(slice_n((*at)->name, (*at)->n), name))
        at = &(*at)->chain;
    return at;
}

static void take_out(struct callback_health *h, struct suspect *s)
{
    *(s->newer ? &s->newer->older : &h->newest) = s->older;
    *(s->older ? &s->older->newer : &h->oldest) = s->newer;
}

static void put_first(struct callback_health *h, struct suspect *s)
{
    s->newer = NULL;
    s->older = h->newest;
    *(h->newest ? &h->newest->newer : &h->oldest) = s;
    h->newest = s;
}

static void forget(struct callback_health *h, struct suspect **at)
{
    struct suspect *s = *at;

    *at = s->chain;
    take_out(h, s);
    free(s);
    h->n--;
}

static void add(struct callback_health *h, struct suspect **at, struct slice name)
{
    struct suspect *s = name.n <= NAME_MAX ? calloc(1, sizeof(*s)) : NULL;

    if (!s)
        return;
    memcpy(s->name, name.p, name.n);
    s->n = name.n;
    *at = s;
    put_first(h, s);
    if (++h->n > CALLBACK_SUSPECTS_MAX)
        forget(h, place_of(h, slice_n(h->oldest->name, h->oldest->n)));
}

void callback_health_note(struct callback_health *h, struct slice mchid, bool slow)
{
    struct suspect **at = place_of(h, mchid);

    if (*at && slow) {
        take_out(h, *at);
        put_first(h, *at);
    } else if (*at) {
        forget(h, at);
    } else if (slow && mchid.n) {
        add(h, at, mchid);
    }
}

const struct slice *callback_health_suspects(const struct callback_health *h, struct arena *a,
                                             size_t *n)
{
    struct slice *names = arena_array(a, struct slice, h->n);

    *n = 0;
    for (const struct suspect *s = h->newest; names && s; s = s->older)
        names[(*n)++] = slice_n(s->name, s->n);
    return names;
}
