#include "core/route.h"

#define METHODS       32
#define LOG_BITS      8  /* steps of the logarithm's table */
#define LOG_SCALE     32 /* fraction bits of a logarithm */
#define RECIPROCAL    24 /* fraction bits of 1 / weight: 64 << 32 times this stays below 2^63 */
#define FEE_MILLIONTH 1000000

/* What the draw reads of a channel. */
struct runner {
    uint64_t seed; /* hash of the name */
    uint64_t reciprocal;
    uint32_t tier;
};

/* What a rule does when it holds. */
struct action {
    struct match_set keep; /* its `only` without its `exclude` */
    struct match_set prefer;
    bool prefers;
    enum route_by by;
};

struct route_table {
    size_t n;
    struct match_set methods[METHODS];
    struct runner *runners;
    struct route_fee *fees;
    struct match_set *tiers; /* channels of equal priority */
    struct match *amounts;   /* a line per channel */
    struct match *rules;
    uint16_t rule_of[MATCH_LINES];
    struct action *actions;
    uint64_t log[(1 << LOG_BITS) + 1]; /* log2(1 + i / 2^LOG_BITS) */
};

static inline int64_t fee_of(const struct route_fee *fee, int64_t amount)
{
    uint64_t part = (uint64_t)(amount * fee->rate + FEE_MILLIONTH / 2) / FEE_MILLIONTH;
    int64_t cost = (int64_t)part + fee->fixed;

    cost = cost < fee->min ? fee->min : cost;
    return cost > fee->max ? fee->max : cost;
}

/* So that a fee nobody knows costs most, without a question in the draw. */
static const struct route_fee no_fee = {.min = INT64_MAX, .max = INT64_MAX};

int64_t route_fee_of(const struct route_fee *fee, int64_t amount)
{
    return fee_of(fee->known ? fee : &no_fee, amount);
}

/* ---- compile ---- */

/* log2 of 1 + i / 2^LOG_BITS, digit by digit: squaring doubles the logarithm. */
static uint64_t log2_of(uint64_t i)
{
    uint64_t x = ((1ULL << LOG_BITS) + i) << (31 - LOG_BITS); /* 31 fraction bits, below 2 */
    uint64_t log = 0;

    if (i == 1ULL << LOG_BITS)
        return 1ULL << LOG_SCALE;
    for (int bit = LOG_SCALE - 1; bit >= 0; bit--) {
        x = x * x >> 31;
        if (x >> 32) {
            log |= 1ULL << bit;
            x >>= 1;
        }
    }
    return log;
}

static int compile_channels(struct arena *a, struct route_table *t, const struct route_channel *c)
{
    struct match_line *lines = arena_array(a, struct match_line, t->n + 1);
    uint32_t tier = 0;

    t->runners = arena_array(a, struct runner, t->n + 1);
    t->fees = arena_array(a, struct route_fee, t->n + 1);
    t->tiers = arena_array(a, struct match_set, t->n + 1);
    if (!lines || !t->runners || !t->fees || !t->tiers)
        return -1;
    for (unsigned i = 0; i < t->n; i++) {
        if (i > 0 && c[i].priority != c[i - 1].priority)
            tier++;
        match_set_add(&t->tiers[tier], i);
        t->runners[i] =
            (struct runner){slice_hash(c[i].name), (1ULL << RECIPROCAL) / c[i].weight, tier};
        t->fees[i] = c[i].fee.known ? c[i].fee : no_fee;
        lines[i] = (struct match_line){.given = MATCH_AMOUNT_BIT, .min = c[i].min, .max = c[i].max};
        for (unsigned m = 0; m < METHODS; m++) {
            if (c[i].methods & 1u << m)
                match_set_add(&t->methods[m], i);
        }
    }
    t->amounts = match_compile(a, lines, t->n);
    return t->amounts ? 0 : -1;
}

static const struct match_set everything = {{~0ULL, ~0ULL, ~0ULL, ~0ULL}};

static int compile_rules(struct arena *a, struct route_table *t, const struct route_rule *rules,
                         size_t n)
{
    struct match_line *lines = arena_array(a, struct match_line, MATCH_LINES);
    size_t count = 0;

    t->actions = arena_array(a, struct action, n + 1);
    if (!lines || !t->actions)
        return -1;
    for (size_t i = 0; i < n; i++) {
        const struct route_rule *r = &rules[i];

        t->actions[i] = (struct action){.keep = r->has_only ? r->only : everything,
                                        .prefer = r->prefer,
                                        .prefers = !match_set_empty(&r->prefer),
                                        .by = r->by};
        match_set_minus(&t->actions[i].keep, &r->exclude);
        for (size_t k = 0; k < r->nlines; k++) {
            if (count == MATCH_LINES)
                return -1;
            t->rule_of[count] = (uint16_t)i;
            lines[count++] = r->lines[k];
        }
    }
    t->rules = match_compile(a, lines, count);
    return t->rules ? 0 : -1;
}

struct route_table *route_compile(struct arena *a, const struct route_channel *channels, size_t n,
                                  const struct route_rule *rules, size_t nrules)
{
    struct route_table *t = arena_new(a, struct route_table);

    if (!t || n > ROUTE_CHANNELS || nrules > ROUTE_RULES)
        return NULL;
    t->n = n;
    for (uint64_t i = 0; i <= 1 << LOG_BITS; i++)
        t->log[i] = log2_of(i);
    if (compile_channels(a, t, channels) != 0 || compile_rules(a, t, rules, nrules) != 0)
        return NULL;
    return t;
}

uint32_t route_given(const struct route_table *t)
{
    return match_given(t->rules);
}

/* ---- choose ---- */

/* What the rules that hold make of the candidates. */
struct ruling {
    struct match_set candidates;
    uint16_t prefers[MATCH_LINES + 1]; /* rules with a preference, in order */
    unsigned nprefers;
};

static void apply_rules(const struct route_table *t, const struct route_ask *ask,
                        struct route_choice *choice, struct ruling *ruling)
{
    struct match_set lines, left = ruling->candidates;
    enum route_by by = ROUTE_BY_NOTHING;
    unsigned n = 0;

    match_find(t->rules, &ask->facts, &lines);
    /* two lines of one rule that hold are as good as one */
    match_set_each(line, &lines)
    {
        unsigned i = t->rule_of[line];
        const struct action *act = &t->actions[i];

        match_set_add(&choice->rules, i);
        match_set_and(&left, &act->keep);
        ruling->prefers[n] = (uint16_t)i;
        n += act->prefers;
        by = by == ROUTE_BY_NOTHING ? act->by : by;
    }
    ruling->candidates = left;
    ruling->nprefers = n;
    choice->by = by == ROUTE_BY_NOTHING ? ask->by : by;
}

static uint64_t mix(uint64_t x)
{
    x = (x ^ x >> 32) * 0xd6e8feb86659fd93ULL;
    x = (x ^ x >> 32) * 0xd6e8feb86659fd93ULL;
    return x ^ x >> 32;
}

/* -log2(u / 2^64), fixed point; u is never 0. Between two steps of the table a straight line: at
 * most 0.2 % off, and exact where it matters most, at the ends. */
static uint64_t neg_log2(const uint64_t *log, uint64_t u)
{
    int zeros = __builtin_clzll(u);
    uint64_t fraction = u << zeros << 1; /* behind the leading one */
    uint64_t i = fraction >> (64 - LOG_BITS);
    uint64_t rest = fraction << LOG_BITS >> 32;
    uint64_t part = log[i] + ((log[i + 1] - log[i]) * rest >> 32);

    return ((uint64_t)(zeros + 1) << LOG_SCALE) - part;
}

/* The best so far, in order; below the third place nobody is asked for room. */
struct podium {
    int64_t cost[ROUTE_CHOSEN];
    uint64_t key[ROUTE_CHOSEN];
    uint8_t channel[ROUTE_CHOSEN];
    unsigned n, places;
};

static bool is_better(const struct podium *p, unsigned place, int64_t cost, uint64_t key)
{
    return cost < p->cost[place] || (cost == p->cost[place] && key < p->key[place]);
}

static void enter(struct podium *p, unsigned channel, int64_t cost, uint64_t key)
{
    unsigned i = p->n < p->places ? p->n++ : p->places - 1;

    while (i > 0 && is_better(p, i - 1, cost, key)) {
        p->cost[i] = p->cost[i - 1];
        p->key[i] = p->key[i - 1];
        p->channel[i] = p->channel[i - 1];
        i--;
    }
    p->cost[i] = cost;
    p->key[i] = key;
    p->channel[i] = (uint8_t)channel;
}

/* A channel that comes back takes a part of the orders, always the same ones. */
static bool is_well(const struct route_live *live, unsigned i, uint64_t u)
{
    return !live->share || live->share[i] >= ROUTE_SHARE_ALL ||
           (u >> 1 & 0xffff) * ROUTE_SHARE_ALL >> 16 < live->share[i];
}

/* The best of channels that are equal but for weight and, if asked, cost. */
static void draw(const struct route_table *t, const struct route_ask *ask,
                 const struct route_live *live, const struct match_set *equals,
                 struct route_choice *choice)
{
    const bool by_cost = choice->by == ROUTE_BY_COST;
    struct podium p = {.places = ROUTE_CHOSEN - choice->n};

    match_set_each(i, equals)
    {
        int64_t cost = by_cost ? fee_of(&t->fees[i], ask->facts.amount) : 0;
        uint64_t u, key;

        if (p.n == p.places && cost > p.cost[p.n - 1])
            continue;
        u = mix(ask->hash ^ t->runners[i].seed) | 1;
        key = neg_log2(t->log, u) * t->runners[i].reciprocal;
        if (p.n == p.places && !is_better(&p, p.n - 1, cost, key))
            continue;
        if (!is_well(live, i, u)) {
            choice->ill++;
            continue;
        }
        if (live->full(live->arg, i)) {
            choice->busy++;
            continue;
        }
        enter(&p, i, cost, key);
    }
    for (unsigned i = 0; i < p.n; i++)
        choice->chosen[choice->n++] = p.channel[i];
}

/* Tier by tier: channels are numbered by priority, so the first one left is of the best tier. */
static void draw_by_priority(const struct route_table *t, const struct route_ask *ask,
                             const struct route_live *live, struct match_set *left,
                             struct route_choice *choice)
{
    for (unsigned w = 0; w < MATCH_LINES / 64 && choice->n < ROUTE_CHOSEN;) {
        struct match_set equals;

        if (!left->w[w]) {
            w++;
            continue;
        }
        equals = t->tiers[t->runners[w * 64 + (unsigned)__builtin_ctzll(left->w[w])].tier];
        match_set_and(&equals, left);
        match_set_minus(left, &equals);
        draw(t, ask, live, &equals, choice);
    }
}

static void draw_by_preference(const struct route_table *t, const struct route_ask *ask,
                               const struct route_live *live, const struct ruling *ruling,
                               struct route_choice *choice)
{
    struct match_set left, rest = ruling->candidates;

    for (unsigned i = 0; i < ruling->nprefers && choice->n < ROUTE_CHOSEN; i++) {
        left = rest;
        match_set_and(&left, &t->actions[ruling->prefers[i]].prefer);
        if (match_set_empty(&left))
            continue;
        match_set_minus(&rest, &left);
        draw_by_priority(t, ask, live, &left, choice);
    }
    draw_by_priority(t, ask, live, &rest, choice);
}

/* Nobody is quite well: who comes back takes more than his share. */
static void draw_from_ill(const struct route_table *t, const struct route_ask *ask,
                          const struct route_live *live, struct ruling *ruling,
                          struct route_choice *choice)
{
    struct route_live anyhow = *live;
    const unsigned ill = choice->ill;

    anyhow.share = NULL;
    match_set_each(i, &ruling->candidates)
    {
        if (!live->share[i])
            match_set_drop(&ruling->candidates, i);
    }
    draw_by_preference(t, ask, &anyhow, ruling, choice);
    choice->ill = ill;
}

void route_choose(const struct route_table *t, const struct route_ask *ask,
                  const struct route_live *live, struct route_choice *choice)
{
    struct ruling ruling;
    struct match_set amount;

    *choice = (struct route_choice){.by = ROUTE_BY_NOTHING};
    ruling.candidates = live->open;
    if (ask->facts.numbers[MATCH_METHOD] < METHODS)
        match_set_and(&ruling.candidates, &t->methods[ask->facts.numbers[MATCH_METHOD]]);
    else
        ruling.candidates = (struct match_set){{0}};
    if (ask->wish >= 0) {
        struct match_set wish = {{0}};
        match_set_add(&wish, (unsigned)ask->wish);
        match_set_and(&ruling.candidates, &wish);
    }
    choice->open = match_set_count(&ruling.candidates);
    apply_rules(t, ask, choice, &ruling);
    choice->allowed = match_set_count(&ruling.candidates);
    match_find(t->amounts, &ask->facts, &amount);
    match_set_and(&ruling.candidates, &amount);
    choice->fit = match_set_count(&ruling.candidates);

    draw_by_preference(t, ask, live, &ruling, choice);
    if (choice->n == 0 && choice->ill && !choice->busy)
        draw_from_ill(t, ask, live, &ruling, choice);
}
