/* R1.9: the choice of channels. Random tables against the plain meaning of rules, the distribution
 * by weight, and what a change of one channel may move. */
#include "core/route.h"

#include "core_test.h"

#define ORDERS 20000

static uint64_t dice_state = 7;

static unsigned dice(unsigned n)
{
    dice_state = dice_state * 6364136223846793005ULL + 1442695040888963407ULL;
    return (unsigned)(dice_state >> 33) % n;
}

static uint64_t order_hash(unsigned i)
{
    char text[32];

    snprintf(text, sizeof(text), "ORDER%u", i);
    return slice_hash(slice_of(text));
}

static char channel_names[ROUTE_CHANNELS][8];

static struct route_channel channel(unsigned i, uint32_t priority, uint32_t weight)
{
    snprintf(channel_names[i], sizeof(channel_names[i]), "c%u", i);
    return (struct route_channel){.name = slice_of(channel_names[i]),
                                  .methods = 1,
                                  .min = 1,
                                  .max = 1000,
                                  .priority = priority,
                                  .weight = weight};
}

static bool is_full(const void *full, unsigned i)
{
    return match_set_has(full, i);
}

static const struct match_set nothing;

static struct route_live all_open(size_t n, const struct match_set *full)
{
    struct route_live live = {.full = is_full, .arg = full ? full : &nothing};

    for (unsigned i = 0; i < n; i++)
        match_set_add(&live.open, i);
    return live;
}

static struct route_ask ask_for(uint64_t hash, int64_t amount)
{
    struct route_ask ask = {.hash = hash, .wish = -1, .by = ROUTE_BY_WEIGHT};

    match_facts_init(&ask.facts);
    ask.facts.numbers[MATCH_METHOD] = 0;
    ask.facts.amount = amount;
    return ask;
}

struct fixture {
    struct arena a;
    struct route_table *t;
    struct route_live live;
};

static void make(struct fixture *f, const struct route_channel *c, size_t n)
{
    arena_init(&f->a, 1 << 24);
    f->t = route_compile(&f->a, c, n, NULL, 0);
    assert_non_null(f->t);
    f->live = all_open(n, NULL);
}

static unsigned first_of(struct fixture *f, unsigned order)
{
    struct route_ask ask = ask_for(order_hash(order), 100);
    struct route_choice choice;

    route_choose(f->t, &ask, &f->live, &choice);
    assert_true(choice.n > 0);
    return choice.chosen[0];
}

/* ---- distribution ---- */

/* Shares within five standard deviations of a binomial one, in integers: |got - want|^2 <= 25 var.
 */
static void assert_share(const char *what, int64_t got, int64_t n, int64_t part, int64_t whole)
{
    int64_t want = n * part / whole, off = got - want;
    int64_t variance = n * part / whole * (whole - part) / whole + 1;

    if (off * off > 25 * variance)
        fail_msg("%s: %lld of %lld, expected %lld", what, (long long)got, (long long)n,
                 (long long)want);
}

static void test_weights(void **state)
{
    static const uint32_t weights[][6] = {{1, 1},     {80, 20},        {1, 2, 3, 4, 5, 6},
                                          {10000, 1}, {10000, 100, 7}, {3333, 3333, 3334}};
    (void)state;

    for (size_t w = 0; w < COUNT(weights); w++) {
        struct route_channel c[6];
        unsigned n = 0, won[6] = {0}, sum = 0;
        struct fixture f;

        for (; n < 6 && weights[w][n]; n++) {
            c[n] = channel(n, 1, weights[w][n]);
            sum += weights[w][n];
        }
        make(&f, c, n);
        for (unsigned i = 0; i < ORDERS; i++)
            won[first_of(&f, i)]++;
        for (unsigned i = 0; i < n; i++)
            assert_share(channel_names[i], won[i], ORDERS, weights[w][i], sum);
        arena_release(&f.a);
    }
}

/* The second place goes by weight among those left: 4 and 4 of 8 behind a first of 2. */
static void test_second_place(void **state)
{
    struct route_channel c[3] = {channel(0, 1, 2), channel(1, 1, 4), channel(2, 1, 4)};
    unsigned firsts = 0, seconds = 0;
    struct fixture f;
    (void)state;

    make(&f, c, 3);
    for (unsigned i = 0; i < ORDERS; i++) {
        struct route_ask ask = ask_for(order_hash(i), 100);
        struct route_choice choice;

        route_choose(f.t, &ask, &f.live, &choice);
        assert_int_equal(choice.n, 3);
        firsts += choice.chosen[0] == 1;
        seconds += choice.chosen[0] == 1 && choice.chosen[1] == 0;
    }
    assert_share("2 of 2 + 4", seconds, firsts, 2, 6);
    arena_release(&f.a);
}

/* 200 equal channels: nobody is forgotten, nobody preferred. */
static void test_many(void **state)
{
    struct route_channel c[200];
    unsigned won[200] = {0};
    struct fixture f;
    (void)state;

    for (unsigned i = 0; i < 200; i++)
        c[i] = channel(i, 1, 5);
    make(&f, c, 200);
    for (unsigned i = 0; i < 5 * ORDERS; i++)
        won[first_of(&f, i)]++;
    for (unsigned i = 0; i < 200; i++)
        assert_share(channel_names[i], won[i], 5 * ORDERS, 1, 200);
    arena_release(&f.a);
}

/* ---- stability ---- */

/* Before and after: an order moves only from or to the one channel that changed. */
static void assert_moves_only(struct fixture *before, struct fixture *after, unsigned changed,
                              bool gains, bool loses)
{
    unsigned moved = 0;

    for (unsigned i = 0; i < ORDERS; i++) {
        unsigned a = first_of(before, i), b = first_of(after, i);

        if (a == b)
            continue;
        moved++;
        if (!((gains && b == changed) || (loses && a == changed)))
            fail_msg("order %u moved from %u to %u, changed was %u", i, a, b, changed);
    }
    assert_true(moved > 0 && moved < ORDERS / 2);
}

static void test_stability(void **state)
{
    struct route_channel c[8], swapped[8];
    struct fixture before, after;
    (void)state;

    for (unsigned i = 0; i < 8; i++)
        c[i] = channel(i, 1, 10 + i);
    make(&before, c, 8);

    make(&after, c, 8); /* a switch */
    match_set_drop(&after.live.open, 3);
    assert_moves_only(&before, &after, 3, false, true);
    arena_release(&after.a);

    struct match_set full = {{0}};
    match_set_add(&full, 5);
    make(&after, c, 8);
    after.live.arg = &full;
    assert_moves_only(&before, &after, 5, false, true);
    arena_release(&after.a);

    c[2].weight *= 3;
    make(&after, c, 8);
    c[2].weight /= 3;
    assert_moves_only(&before, &after, 2, true, false);
    arena_release(&after.a);

    make(&after, c, 7); /* the last block is taken out of the file */
    assert_moves_only(&before, &after, 7, false, true);
    arena_release(&after.a);

    for (unsigned i = 0; i < 8; i++) /* the files in another order */
        swapped[i] = c[7 - i];
    make(&after, swapped, 8);
    for (unsigned i = 0; i < ORDERS; i++)
        assert_int_equal(first_of(&before, i), 7 - first_of(&after, i));
    arena_release(&after.a);
    arena_release(&before.a);
}

/* A channel that comes back takes its share, always the same orders, and keeps them as it grows. */
static void test_come_back(void **state)
{
    static const uint8_t steps[] = {0, 1, 5, 25, 100};
    struct route_channel c[2] = {channel(0, 1, 1), channel(1, 2, 1)};
    uint8_t share[2] = {0, 100};
    static bool had[ORDERS];
    struct fixture f;
    (void)state;

    make(&f, c, 2);
    f.live.share = share;
    for (size_t s = 0; s < COUNT(steps); s++) {
        unsigned got = 0;

        share[0] = steps[s];
        for (unsigned i = 0; i < ORDERS; i++) {
            bool has = first_of(&f, i) == 0;
            assert_true(has || !had[i]);
            had[i] = has;
            got += has;
        }
        assert_share("share", got, ORDERS, steps[s], 100);
    }
    arena_release(&f.a);
}

/* Where nobody is quite well, who comes back takes every order; who is out takes none. */
static void test_all_ill(void **state)
{
    struct route_channel c[3] = {channel(0, 1, 1), channel(1, 2, 1), channel(2, 3, 1)};
    uint8_t share[3] = {0, 1, 0};
    struct match_set full = {{0}};
    struct route_choice choice;
    struct fixture f;
    (void)state;

    make(&f, c, 3);
    f.live.share = share;
    f.live.arg = &full;
    for (unsigned i = 0; i < 1000; i++) {
        struct route_ask ask = ask_for(order_hash(i), 100);

        route_choose(f.t, &ask, &f.live, &choice);
        assert_true(choice.n == 1 && choice.chosen[0] == 1 && choice.ill >= 2);
        share[2] = 100; /* one that is well, and full: not a reason to push the ill one */
        match_set_add(&full, 2);
        ask.hash = order_hash(i + 1000);
        route_choose(f.t, &ask, &f.live, &choice);
        assert_true(choice.n == 0 ? choice.busy == 1 && choice.ill == 2 : choice.chosen[0] == 1);
        share[2] = 0;
        match_set_drop(&full, 2);
    }
    share[1] = 0;
    struct route_ask ask = ask_for(1, 100);
    route_choose(f.t, &ask, &f.live, &choice);
    assert_true(choice.n == 0 && choice.ill == 3 && choice.busy == 0);
    arena_release(&f.a);
}

/* ---- priority, cost ---- */

static void test_priority(void **state)
{
    struct route_channel c[] = {channel(0, 1, 1), channel(1, 1, 1), channel(2, 5, 10000),
                                channel(3, 9, 10000)};
    struct match_set full = {{0}};
    struct fixture f;
    (void)state;

    make(&f, c, 4);
    f.live.arg = &full;
    for (unsigned i = 0; i < 1000; i++) {
        struct route_ask ask = ask_for(order_hash(i), 100);
        struct route_choice choice;

        full.w[0] = 0;
        route_choose(f.t, &ask, &f.live, &choice);
        assert_int_equal(choice.n, 3);
        assert_true(choice.chosen[0] < 2 && choice.chosen[1] < 2 && choice.chosen[2] == 2);
        match_set_add(&full, 0);
        match_set_add(&full, 2);
        route_choose(f.t, &ask, &f.live, &choice);
        assert_int_equal(choice.n, 2);
        assert_true(choice.chosen[0] == 1 && choice.chosen[1] == 3);
        assert_int_equal(choice.busy, 2);
    }
    arena_release(&f.a);
}

static void test_fee(void **state)
{
    struct route_fee fee = {.known = true, .rate = 6000, .min = 0, .max = INT64_MAX};
    (void)state;

    assert_int_equal(route_fee_of(&fee, 10000), 60);
    assert_int_equal(route_fee_of(&fee, 83), 0);  /* 0.498 */
    assert_int_equal(route_fee_of(&fee, 84), 1);  /* 0.504 */
    assert_int_equal(route_fee_of(&fee, 250), 2); /* 1.5: half goes up */
    assert_int_equal(route_fee_of(&fee, 100000000000), 600000000);
    fee.fixed = 30;
    assert_int_equal(route_fee_of(&fee, 10000), 90);
    fee.min = 100;
    fee.max = 2500;
    assert_int_equal(route_fee_of(&fee, 10000), 100);
    assert_int_equal(route_fee_of(&fee, 100000000000), 2500);
    fee =
        (struct route_fee){.known = true, .rate = 1000000, .fixed = 100000000000, .max = INT64_MAX};
    assert_int_equal(route_fee_of(&fee, 100000000000), 200000000000);
    fee.known = false;
    assert_int_equal(route_fee_of(&fee, 1), INT64_MAX);
}

static void test_cost(void **state)
{
    /* 0: 0.60 %; 1: 0.30 % but at least 50; 2: nobody knows; 3: as 0; 4: free, of lower priority */
    struct route_channel c[] = {channel(0, 1, 10000), channel(1, 1, 1), channel(2, 1, 10000),
                                channel(3, 1, 10000), channel(4, 2, 1)};
    struct route_choice choice;
    unsigned zero = 0;
    struct fixture f;
    (void)state;

    for (int i = 0; i < 5; i++)
        c[i].max = 1000000;
    c[0].fee = c[3].fee = (struct route_fee){true, 6000, 0, 0, INT64_MAX};
    c[1].fee = (struct route_fee){true, 3000, 0, 50, INT64_MAX};
    c[4].fee = (struct route_fee){true, 0, 0, 0, INT64_MAX};
    make(&f, c, 5);
    for (unsigned i = 0; i < 2000; i++) {
        struct route_ask ask = ask_for(order_hash(i), 1000);

        ask.by = ROUTE_BY_COST;
        route_choose(f.t, &ask, &f.live, &choice); /* 6, 50, ?, 6: by weight among equal costs */
        assert_true(choice.chosen[0] % 3 == 0 && choice.chosen[1] % 3 == 0 &&
                    choice.chosen[2] == 1);
        zero += choice.chosen[0] == 0;
        assert_int_equal(choice.by, ROUTE_BY_COST);
        ask.facts.amount = 100000; /* 600, 300, ?, 600 */
        route_choose(f.t, &ask, &f.live, &choice);
        assert_int_equal(choice.chosen[0], 1);
        assert_true(choice.chosen[1] % 3 == 0);
        match_set_drop(&f.live.open, 0);
        match_set_drop(&f.live.open, 3);
        route_choose(f.t, &ask, &f.live, &choice);
        assert_true(choice.chosen[0] == 1 && choice.chosen[1] == 2 && choice.chosen[2] == 4);
        f.live = all_open(5, NULL);
    }
    assert_share("equal cost", zero, 2000, 1, 2);
    arena_release(&f.a);
}

/* ---- rules ---- */

static struct match_line *amount_line(struct match_line *line, int64_t min, int64_t max)
{
    *line = (struct match_line){.given = MATCH_AMOUNT_BIT, .min = min, .max = max};
    return line;
}

static struct match_set set_of(unsigned a, unsigned b)
{
    struct match_set s = {{0}};

    match_set_add(&s, a);
    match_set_add(&s, b);
    return s;
}

static void test_rules(void **state)
{
    struct route_channel c[6];
    struct match_line big, huge, always = {0};
    struct route_rule rules[] = {
        {.lines = amount_line(&big, 500, INT64_MAX), .nlines = 1, .prefer = set_of(5, 5)},
        {.lines = amount_line(&huge, 900, INT64_MAX),
         .nlines = 1,
         .prefer = set_of(4, 5),
         .by = ROUTE_BY_COST},
        {.lines = &always, .nlines = 1, .exclude = set_of(0, 0), .by = ROUTE_BY_WEIGHT},
        {.lines = amount_line(&(struct match_line){0}, 1, 1),
         .nlines = 1,
         .has_only = true,
         .only = set_of(0, 2)},
        {.lines = amount_line(&(struct match_line){0}, 2, 2), .nlines = 1, .has_only = true},
    };
    struct route_live live = all_open(6, NULL);
    struct route_choice choice;
    struct route_table *t;
    struct arena a;
    (void)state;

    for (unsigned i = 0; i < 6; i++)
        c[i] = channel(i, i, 1);
    arena_init(&a, 1 << 24);
    t = route_compile(&a, c, 6, rules, COUNT(rules));
    assert_non_null(t);
    assert_int_equal(route_given(t), MATCH_AMOUNT_BIT);

#define choose(amount_)                                                                            \
    do {                                                                                           \
        struct route_ask ask = ask_for(1, amount_);                                                \
        route_choose(t, &ask, &live, &choice);                                                     \
    } while (0)
    choose(100);
    assert_memory_equal(choice.chosen, ((uint8_t[]){1, 2, 3}), 3);
    assert_int_equal(choice.rules.w[0], 1 << 2);
    choose(500);
    assert_memory_equal(choice.chosen, ((uint8_t[]){5, 1, 2}), 3);
    assert_int_equal(choice.by, ROUTE_BY_WEIGHT);
    choose(900);
    assert_memory_equal(choice.chosen, ((uint8_t[]){5, 4, 1}), 3);
    assert_int_equal(choice.by, ROUTE_BY_COST);
    assert_int_equal(choice.rules.w[0], 1 << 0 | 1 << 1 | 1 << 2);
    choose(1);
    assert_int_equal(choice.n, 1);
    assert_int_equal(choice.chosen[0], 2);
    assert_true(choice.open == 6 && choice.allowed == 1 && choice.fit == 1);
    choose(2);
    assert_true(choice.n == 0 && choice.open == 6 && choice.allowed == 0);
    choose(1001);
    assert_true(choice.n == 0 && choice.open == 6 && choice.allowed == 5 && choice.fit == 0);

    struct route_ask ask = ask_for(1, 900);
    ask.facts.numbers[MATCH_METHOD] = MATCH_ABSENT;
    route_choose(t, &ask, &live, &choice);
    assert_true(choice.n == 0 && choice.open == 0);
    ask.facts.numbers[MATCH_METHOD] = 0;
    ask.wish = 3;
    route_choose(t, &ask, &live, &choice);
    assert_true(choice.n == 1 && choice.chosen[0] == 3);
    ask.wish = 0; /* a wish is no way around a rule */
    route_choose(t, &ask, &live, &choice);
    assert_true(choice.n == 0 && choice.open == 1 && choice.allowed == 0);
    arena_release(&a);
}

/* ---- random tables ---- */

struct world {
    size_t n, nrules;
    struct route_channel c[ROUTE_CHANNELS];
    struct route_rule rules[40];
    struct match_line lines[80];
    struct match_set open, full;
    uint8_t share[ROUTE_CHANNELS];
};

static struct match_set random_set(size_t n, unsigned one_in)
{
    struct match_set s = {{0}};

    for (unsigned i = 0; i < n; i++) {
        if (dice(one_in) == 0)
            match_set_add(&s, i);
    }
    return s;
}

static void random_world(struct world *w)
{
    size_t line = 0;

    memset(w, 0, sizeof(*w));
    w->n = 1 + dice(dice(3) ? 12 : ROUTE_CHANNELS);
    w->nrules = dice(41);
    for (unsigned i = 0; i < w->n; i++) {
        w->c[i] = channel(i, i ? w->c[i - 1].priority + (dice(4) == 0) : 1, 1 + dice(50));
        w->c[i].methods = 1 + dice(7);
        w->c[i].min = 1 + dice(50);
        w->c[i].max = w->c[i].min + dice(100);
        w->c[i].fee = (struct route_fee){dice(5) > 0, dice(50000), dice(3), 0, 50};
        w->share[i] = dice(4) ? 100 : (uint8_t)dice(101);
    }
    w->open = random_set(w->n, 1 + dice(2));
    w->full = random_set(w->n, 3);
    for (size_t i = 0; i < w->nrules; i++) {
        struct route_rule *r = &w->rules[i];

        r->lines = &w->lines[line];
        r->nlines = 1 + dice(2);
        for (size_t k = 0; k < r->nlines; k++) {
            struct match_line *l = amount_line(&w->lines[line++], 1 + dice(100), 100 + dice(60));
            if (dice(3) == 0) {
                l->given = MATCH_NUMBER_BIT(MATCH_WALLET);
                match_set_add(&l->numbers[MATCH_WALLET], dice(3));
            }
        }
        r->has_only = dice(8) == 0;
        if (r->has_only)
            r->only = random_set(w->n, 2);
        if (dice(4) == 0)
            r->exclude = random_set(w->n, 4);
        if (dice(3) == 0)
            r->prefer = random_set(w->n, 4);
        r->by = dice(5) ? ROUTE_BY_NOTHING : ROUTE_BY_WEIGHT + dice(2);
    }
}

static bool line_holds(const struct match_line *l, const struct match_facts *f)
{
    if (l->given == MATCH_AMOUNT_BIT)
        return f->amount >= l->min && f->amount <= l->max;
    return f->numbers[MATCH_WALLET] < MATCH_ABSENT &&
           match_set_has(&l->numbers[MATCH_WALLET], f->numbers[MATCH_WALLET]);
}

static bool rule_holds(const struct route_rule *r, const struct match_facts *f)
{
    for (size_t k = 0; k < r->nlines; k++) {
        if (line_holds(&r->lines[k], f))
            return true;
    }
    return false;
}

/* Place in the order of preference: the number of the first rule that prefers it. */
static size_t preference(const struct world *w, const struct match_facts *f, unsigned i)
{
    for (size_t k = 0; k < w->nrules; k++) {
        if (rule_holds(&w->rules[k], f) && match_set_has(&w->rules[k].prefer, i))
            return k;
    }
    return w->nrules;
}

static bool fits(const struct world *w, const struct route_ask *ask, unsigned i)
{
    const struct route_channel *c = &w->c[i];

    if (!match_set_has(&w->open, i) || !(c->methods & 1u << ask->facts.numbers[MATCH_METHOD]) ||
        ask->facts.amount < c->min || ask->facts.amount > c->max ||
        (ask->wish >= 0 && (unsigned)ask->wish != i))
        return false;
    for (size_t k = 0; k < w->nrules; k++) {
        const struct route_rule *r = &w->rules[k];
        if (rule_holds(r, &ask->facts) &&
            ((r->has_only && !match_set_has(&r->only, i)) || match_set_has(&r->exclude, i)))
            return false;
    }
    return true;
}

/* Is a at least as good as b, as far as rules, priority and cost say? */
static bool in_order(const struct world *w, const struct route_ask *ask, enum route_by by,
                     unsigned a, unsigned b)
{
    size_t pa = preference(w, &ask->facts, a), pb = preference(w, &ask->facts, b);

    if (pa != pb)
        return pa < pb;
    if (w->c[a].priority != w->c[b].priority)
        return w->c[a].priority < w->c[b].priority;
    return by != ROUTE_BY_COST || route_fee_of(&w->c[a].fee, ask->facts.amount) <=
                                      route_fee_of(&w->c[b].fee, ask->facts.amount);
}

static void check_choice(const struct world *w, const struct route_ask *ask,
                         const struct route_choice *choice)
{
    enum route_by by = ROUTE_BY_NOTHING;
    unsigned fit = 0, free = 0;

    for (size_t k = 0; k < w->nrules && by == ROUTE_BY_NOTHING; k++)
        by = rule_holds(&w->rules[k], &ask->facts) ? w->rules[k].by : by;
    assert_int_equal(choice->by, by == ROUTE_BY_NOTHING ? ask->by : by);
    for (unsigned i = 0; i < w->n; i++) {
        fit += fits(w, ask, i);
        free += fits(w, ask, i) && !match_set_has(&w->full, i) && w->share[i] == 100;
    }
    assert_int_equal(choice->fit, fit);
    assert_true(choice->n == 3 || choice->n >= free);
    if (choice->ill < fit) {
        assert_true(choice->n + choice->ill + choice->busy <= fit);
        assert_true(choice->n == 3 || choice->n + choice->ill + choice->busy == fit);
    }
    for (unsigned k = 0; k < choice->n; k++) {
        unsigned i = choice->chosen[k];

        assert_true(fits(w, ask, i));
        assert_false(match_set_has(&w->full, i));
        assert_true(w->share[i] > 0);
        for (unsigned other = 0; other < k; other++)
            assert_int_not_equal(choice->chosen[other], i);
        if (k > 0)
            assert_true(in_order(w, ask, choice->by, choice->chosen[k - 1], i));
    }
    /* nobody better was left out */
    for (unsigned i = 0; i < w->n && choice->n == 3; i++) {
        if (!fits(w, ask, i) || match_set_has(&w->full, i) || w->share[i] < 100)
            continue;
        if (i != choice->chosen[0] && i != choice->chosen[1] && i != choice->chosen[2])
            assert_true(in_order(w, ask, choice->by, choice->chosen[2], i));
    }
}

static void test_random_tables(void **state)
{
    static struct world w;
    unsigned chosen = 0, refused = 0;
    (void)state;

    for (int round = 0; round < 300; round++) {
        struct route_table *t;
        struct route_live live;
        struct arena a;

        random_world(&w);
        arena_init(&a, 1 << 24);
        t = route_compile(&a, w.c, w.n, w.rules, w.nrules);
        assert_non_null(t);
        live = (struct route_live){w.open, w.share, is_full, &w.full};
        for (unsigned i = 0; i < 100; i++) {
            struct route_ask ask = ask_for(order_hash(i), 1 + dice(200));
            struct route_choice choice, again;

            ask.facts.numbers[MATCH_METHOD] = (uint16_t)dice(3);
            ask.facts.numbers[MATCH_WALLET] = (uint16_t)(dice(2) ? dice(4) : MATCH_ABSENT);
            ask.wish = dice(10) ? -1 : (int)dice((unsigned)w.n);
            ask.by = ROUTE_BY_WEIGHT + dice(2);
            route_choose(t, &ask, &live, &choice);
            check_choice(&w, &ask, &choice);
            route_choose(t, &ask, &live, &again);
            assert_memory_equal(choice.chosen, again.chosen, choice.n);
            chosen += choice.n > 0;
            refused += choice.n == 0;
        }
        arena_release(&a);
    }
    assert_true(chosen > 5000 && refused > 1000);
}

static void test_limits(void **state)
{
    static struct match_line lines[MATCH_LINES + 1];
    struct route_rule rule = {.lines = lines, .nlines = MATCH_LINES + 1, .by = ROUTE_BY_COST};
    struct route_live live = all_open(0, NULL);
    struct route_ask ask = ask_for(1, 1);
    struct route_choice choice;
    struct route_table *t;
    struct arena a;
    (void)state;

    arena_init(&a, 1 << 24);
    assert_null(route_compile(&a, NULL, 0, &rule, 1));
    rule.nlines = MATCH_LINES;
    t = route_compile(&a, NULL, 0, &rule, 1);
    assert_non_null(t);
    route_choose(t, &ask, &live, &choice);
    assert_true(choice.n == 0 && choice.open == 0);
    arena_release(&a);
    arena_init(&a, 4096);
    assert_null(route_compile(&a, NULL, 0, &rule, 1));
    arena_release(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_weights),       cmocka_unit_test(test_second_place),
        cmocka_unit_test(test_many),          cmocka_unit_test(test_stability),
        cmocka_unit_test(test_come_back),     cmocka_unit_test(test_all_ill),
        cmocka_unit_test(test_priority),      cmocka_unit_test(test_fee),
        cmocka_unit_test(test_cost),          cmocka_unit_test(test_rules),
        cmocka_unit_test(test_random_tables), cmocka_unit_test(test_limits),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
