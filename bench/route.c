/*
 * route - what one choice of channels costs: CPU nanoseconds, as one JSON line. 200 channels and
 * 200 rules; beside the choice itself it does what the edge does for it: collects the switches of
 * all channels and asks those about to be chosen for room, in memory laid out as the zone's.
 *
 *   usual  rules by merchant, amount, wallet, app, method; a tenth of the channels off, a tenth
 * full; four priorities; by weight worst  every rule holds and has something to do; every channel
 * fits, of one priority, by cost
 */
#define _GNU_SOURCE
#include "core/route.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define CHANNELS  200
#define RULES     200
#define ASKS      4096
#define METHODS   8
#define MERCHANTS 2000

/* as a row of the edge's zone: counters of one channel, far from the next one's */
struct row {
    uint64_t in_flight, in_pay;
    uint64_t others[60];
};

struct world {
    struct arena arena;
    struct route_table *table;
    uint16_t rows[CHANNELS];
    struct row *zone;
    uint8_t *states;
    struct route_ask asks[ASKS];
};

static char names[MERCHANTS][16];
static uint64_t dice_state = 1;

static unsigned dice(unsigned n)
{
    dice_state = dice_state * 6364136223846793005ULL + 1442695040888963407ULL;
    return (unsigned)(dice_state >> 33) % n;
}

static bool is_full(const void *arg, unsigned i)
{
    const struct world *w = arg;
    const struct row *row = &w->zone[w->rows[i]];

    return row->in_pay >= 80 || row->in_flight >= 100;
}

static struct slice merchant(unsigned i)
{
    return slice_of(names[i]);
}

static void make_channels(struct world *w, struct route_channel *c, bool worst)
{
    static char channel_names[CHANNELS][16];

    for (unsigned i = 0; i < CHANNELS; i++) {
        snprintf(channel_names[i], sizeof(channel_names[i]), "channel%u", i);
        c[i] = (struct route_channel){
            .name = slice_of(channel_names[i]),
            .methods = worst ? 0xff : 1u << dice(METHODS) | 1u << dice(METHODS),
            .min = 1,
            .max = worst ? 10000000 : 10000 + 1000 * dice(10000),
            .priority = worst ? 1 : i / (CHANNELS / 4),
            .weight = 1 + dice(100),
            .fee = {true, 2000 + dice(6000), dice(10), 0, 100000},
        };
        w->rows[i] = (uint16_t)(i * 7 % 256);
        if (!worst && dice(10) == 0)
            w->states[w->rows[i]] = 2;
        if (!worst && dice(10) == 0)
            w->zone[w->rows[i]].in_pay = 80;
    }
}

static void make_line(struct match_line *l, struct slice *store)
{
    switch (dice(4)) {
    case 0:
        for (int k = 0; k < 5; k++)
            store[k] = merchant(dice(MERCHANTS));
        l->given = MATCH_NAME_BIT(MATCH_MERCHANT);
        l->names[MATCH_MERCHANT] = store;
        l->nnames[MATCH_MERCHANT] = 5;
        break;
    case 1:
        l->given = MATCH_AMOUNT_BIT | MATCH_NUMBER_BIT(MATCH_METHOD);
        l->min = 1000 * dice(5000);
        l->max = l->min + 1000 * dice(5000);
        match_set_add(&l->numbers[MATCH_METHOD], dice(METHODS));
        break;
    case 2:
        l->given = MATCH_NUMBER_BIT(MATCH_WALLET) | MATCH_NUMBER_BIT(MATCH_SHARE);
        match_set_add(&l->numbers[MATCH_WALLET], dice(4));
        for (unsigned v = dice(128); v; v--)
            match_set_add(&l->numbers[MATCH_SHARE], v);
        break;
    default:
        l->given = MATCH_NAME_BIT(MATCH_APP);
        store[0] = merchant(dice(50));
        l->names[MATCH_APP] = store;
        l->nnames[MATCH_APP] = 1;
    }
}

static void make_rules(struct route_rule *rules, bool worst)
{
    static struct match_line lines[RULES];
    static struct slice store[RULES][5];

    for (unsigned i = 0; i < RULES; i++) {
        rules[i] = (struct route_rule){.lines = &lines[i], .nlines = 1};
        lines[i] = (struct match_line){.given = MATCH_AMOUNT_BIT, .min = 1, .max = INT64_MAX};
        if (!worst)
            make_line(&lines[i], store[i]);
        for (int k = 0; k < 3; k++)
            match_set_add(i % 3 || worst ? &rules[i].prefer : &rules[i].exclude, dice(CHANNELS));
        if (worst) { /* prefers what is not there, narrows nothing: no short cut */
            rules[i].prefer = (struct match_set){.w[3] = 1ULL << 63};
            match_set_add(&rules[i].exclude, 255);
        }
    }
}

static void make_world(struct world *w, bool worst)
{
    struct route_channel c[CHANNELS];
    struct route_rule rules[RULES];

    arena_init(&w->arena, 64u << 20);
    w->zone = calloc(256, sizeof(struct row));
    w->states = calloc(256, 1);
    if (!w->zone || !w->states)
        exit(1);
    make_channels(w, c, worst);
    make_rules(rules, worst);
    w->table = route_compile(&w->arena, c, CHANNELS, rules, RULES);
    if (!w->table)
        exit(1);
    for (unsigned i = 0; i < ASKS; i++) {
        struct match_facts *f = &w->asks[i].facts;

        w->asks[i] = (struct route_ask){.hash = slice_hash(slice_n(&i, sizeof(i))),
                                        .wish = -1,
                                        .by = worst ? ROUTE_BY_COST : ROUTE_BY_WEIGHT};
        match_facts_init(f);
        f->numbers[MATCH_METHOD] = (uint16_t)dice(METHODS);
        f->numbers[MATCH_WALLET] = (uint16_t)dice(4);
        f->numbers[MATCH_SHARE] = (uint16_t)(w->asks[i].hash & 255);
        f->names[MATCH_MERCHANT] = merchant(dice(MERCHANTS));
        f->names[MATCH_APP] = merchant(dice(200));
        f->amount = 1 + dice(5000000);
    }
}

static void choose(const struct world *w, const struct route_ask *ask, struct route_choice *choice)
{
    struct route_live live = {.full = is_full, .arg = w};

    for (unsigned i = 0; i < CHANNELS; i++) {
        if (w->states[w->rows[i]] < 2)
            match_set_add(&live.open, i);
    }
    route_choose(w->table, ask, &live, choice);
}

static int64_t cpu_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

/* Every choice must have been made: three channels, but for what has no three candidates. */
static void measure(const char *name, bool worst, long rounds, const char *end)
{
    static struct world w;
    struct route_choice choice;
    unsigned long fit = 0, rules = 0, chosen = 0;
    int64_t t;

    make_world(&w, worst);
    for (unsigned i = 0; i < ASKS; i++) {
        choose(&w, &w.asks[i], &choice);
        fit += choice.fit;
        rules += match_set_count(&choice.rules);
        if (choice.n == 0 && choice.fit > choice.busy)
            exit(1);
    }
    t = cpu_ns();
    for (long r = 0; r < rounds; r++) {
        for (unsigned i = 0; i < ASKS; i++) {
            choose(&w, &w.asks[i], &choice);
            chosen += choice.n;
        }
    }
    t = cpu_ns() - t;
    printf("\"%s_ns\":%lld,\"%s_fit\":%lu,\"%s_rules\":%lu,\"%s_chosen\":%lu%s", name,
           (long long)(t / (rounds * ASKS)), name, fit / ASKS, name, rules / ASKS, name,
           chosen / (unsigned long)rounds, end);
    arena_release(&w.arena);
    free(w.zone);
    free(w.states);
}

int main(int argc, char **argv)
{
    long rounds = argc > 1 ? strtol(argv[1], NULL, 10) : 100;

    if (rounds < 1)
        return 2;
    for (unsigned i = 0; i < MERCHANTS; i++)
        snprintf(names[i], sizeof(names[i]), "19%08u", i);
    printf("{\"channels\":%d,\"rules\":%d,", CHANNELS, RULES);
    measure("usual", false, rounds, ",");
    measure("worst", true, rounds, "}\n");
    return 0;
}
