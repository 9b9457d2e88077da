/*
 * match - which lines of conditions hold for a request, for any number of lines at the same cost.
 *
 * A line names values per kind of fact ("merchant is one of ...", "amount is within ...") and holds
 * when all of its kinds do; a negated kind holds for every other value, also when the fact is not
 * known. match_compile turns up to 256 lines into tables that give, per kind, the set of lines a
 * fact leaves; match_find is the intersection of a handful of sets.
 *
 * A compiled match lives in the arena it was made in and is read-only: any number of readers.
 */
#ifndef CORE_MATCH_H
#define CORE_MATCH_H

#include "arena.h"

#define MATCH_LINES  256 /* and the values of a number, the channels of a route */
#define MATCH_ABSENT 256 /* the fact is not known; no line's value equals it */

/* A set of 0..255. */
struct match_set {
    uint64_t w[MATCH_LINES / 64];
};

enum match_number {
    MATCH_METHOD,
    MATCH_WALLET,
    MATCH_WORK,
    MATCH_CHANNEL,
    MATCH_SHARE,
    MATCH_NUMBERS
};
enum match_name { MATCH_MERCHANT, MATCH_APP, MATCH_CURRENCY, MATCH_SCENE, MATCH_NAMES };

/* Bits of match_line's `given` and `negated`: numbers, then names, then the amount. */
#define MATCH_NUMBER_BIT(kind) (1u << (kind))
#define MATCH_NAME_BIT(kind)   (1u << (MATCH_NUMBERS + (kind)))
#define MATCH_AMOUNT_BIT       (1u << (MATCH_NUMBERS + MATCH_NAMES))

struct match_line {
    uint32_t given;   /* kinds the line asks about; 0 = it always holds */
    uint32_t negated; /* of them, those that must not hold */
    struct match_set numbers[MATCH_NUMBERS];
    const struct slice *names[MATCH_NAMES];
    size_t nnames[MATCH_NAMES];
    int64_t min, max; /* both inclusive */
};

/* What is known of a request. A name that is not known is SLICE_NULL, an amount -1. */
struct match_facts {
    uint16_t numbers[MATCH_NUMBERS]; /* 0..255 or MATCH_ABSENT */
    struct slice names[MATCH_NAMES];
    int64_t amount;
};

struct match;

/* The names are not copied: they must live as long as the arena. n <= MATCH_LINES. NULL: no memory
 * (the arena is too small). */
struct match *match_compile(struct arena *a, const struct match_line *lines, size_t n);
/* The kinds that some line asks about, as in `given`: other facts need not be filled in. */
uint32_t match_given(const struct match *m);
void match_find(const struct match *m, const struct match_facts *facts, struct match_set *out);

/* All facts unknown. */
void match_facts_init(struct match_facts *facts);

static inline void match_set_add(struct match_set *s, unsigned i)
{
    s->w[i / 64] |= 1ULL << (i % 64);
}

static inline void match_set_drop(struct match_set *s, unsigned i)
{
    s->w[i / 64] &= ~(1ULL << (i % 64));
}

static inline bool match_set_has(const struct match_set *s, unsigned i)
{
    return s->w[i / 64] >> (i % 64) & 1;
}

static inline void match_set_and(struct match_set *s, const struct match_set *other)
{
    for (int k = 0; k < MATCH_LINES / 64; k++)
        s->w[k] &= other->w[k];
}

static inline void match_set_minus(struct match_set *s, const struct match_set *other)
{
    for (int k = 0; k < MATCH_LINES / 64; k++)
        s->w[k] &= ~other->w[k];
}

static inline bool match_set_empty(const struct match_set *s)
{
    return (s->w[0] | s->w[1] | s->w[2] | s->w[3]) == 0;
}

static inline unsigned match_set_count(const struct match_set *s)
{
    unsigned n = 0;

    for (int k = 0; k < MATCH_LINES / 64; k++)
        n += (unsigned)__builtin_popcountll(s->w[k]);
    return n;
}

/* Walks a set in ascending order: `continue` is allowed in the body, `break` is not. */
#define match_set_each(i, s)                                                                       \
    for (unsigned i##_w = 0; i##_w < MATCH_LINES / 64; i##_w++)                                    \
        for (uint64_t i##_b = (s)->w[i##_w]; i##_b; i##_b &= i##_b - 1)                            \
            for (unsigned i = i##_w * 64 + (unsigned)__builtin_ctzll(i##_b), i##_one = 1; i##_one; \
                 i##_one = 0)

#endif
