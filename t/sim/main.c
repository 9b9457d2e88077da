/*
 * sim - lives of orders under faults; README.md has the use.
 *
 *   sim [--seed N] [--lives N | --minutes N] [--first N] [--quiet]
 *   sim --seed N --life N [--only pays.1,crash.3]     one life and its trace
 */
#include "sim.h"

#include <getopt.h>
#include <inttypes.h>
#include <stdlib.h>
#include <time.h>

struct options {
    uint64_t seed, lives, first, life, seconds;
    bool one, quiet;
    struct choices choices;
};

static struct world world; /* as large as its pools */

static int64_t now_us(clockid_t clock)
{
    struct timespec ts;

    clock_gettime(clock, &ts);
    return ts.tv_sec * SEC + ts.tv_nsec / 1000;
}

/* ---- choices by name ---- */

static void print_choices(const struct choices *c)
{
    const char *comma = "";

    for (unsigned s = 0; s < SITES; s++)
        for (unsigned n = 0; n < SITE_DRAWS; n++)
            if (c->set[s][n / 64] >> (n % 64) & 1) {
                printf("%s%s.%u", comma, site_name((enum site)s), n);
                comma = ",";
            }
    if (!*comma)
        printf("none");
}

static int read_choice(struct choices *c, struct slice word)
{
    struct slice name = slice_cut(&word, '.');
    int64_t n;

    if (slice_int64(word, &n) != 0 || n < 0 || n >= SITE_DRAWS)
        return -1;
    for (unsigned s = 0; s < SITES; s++)
        if (slice_is(name, site_name((enum site)s))) {
            c->set[s][n / 64] |= 1ULL << (n % 64);
            return 0;
        }
    return -1;
}

static int read_choices(struct choices *c, const char *text)
{
    struct slice rest = slice_of(text);

    c->only = true;
    if (slice_is(rest, "none"))
        return 0;

    while (rest.n)
        if (read_choice(c, slice_cut(&rest, ',')) != 0)
            return -1;
    return 0;
}

/* ---- running ---- */

static int report(const struct options *o, uint64_t life)
{
    struct choices c = o->choices;
    unsigned all = world.nfired;
    char invariant[64];

    shrink(&world, o->seed, life, &c);
    snprintf(invariant, sizeof(invariant), "%s", world.broken);
    printf("BROKEN \"%s\": %s\n", invariant, world.detail);
    printf("  %u of the life's %u choices are needed; its trace without the others:\n\n",
           world.nfired, all);
    world_run(&world, o->seed, life, &c, stdout);
    printf("\nreplay: sim --seed %llu --life %llu --only ", (unsigned long long)o->seed,
           (unsigned long long)life);
    print_choices(&c);
    printf("\n");
    return 1;
}

static int run_one(const struct options *o)
{
    world_run(&world, o->seed, o->life, &o->choices, stdout);
    if (!world.broken)
        printf("nothing is broken\n");
    return world.broken ? 1 : 0;
}

struct totals {
    uint64_t orders, steps, faults, refunds, cases, decided, rerouted, extra;
    uint64_t finals[PAYMENT_STATE_COUNT];
};

static void count(struct totals *sum)
{
    const struct rows *r = &world.rows;

    sum->orders++;
    sum->steps += world.steps;
    sum->faults += world.nfired;
    sum->finals[r->exists ? r->p.state : PAYMENT_NONE]++;
    if (!r->exists)
        return;
    sum->refunds += r->nrefunds;
    sum->cases += r->ncases;
    sum->rerouted += r->p.command_seq > 1;
    for (unsigned i = 0; i < r->nrefunds; i++)
        sum->extra += r->refunds[i].r.command_seq > 0;
    for (unsigned i = 0; i < r->ncases; i++)
        sum->decided += r->cases[i].closed;
}

static void print_totals(const struct totals *sum, uint64_t seed, int64_t cpu)
{
    printf("seed %" PRIu64 ": %" PRIu64 " orders, %" PRIu64 " steps, %" PRIu64
           " faults and wishes; nothing is broken\n",
           seed, sum->orders, sum->steps, sum->faults);
    for (unsigned s = 0; s < PAYMENT_STATE_COUNT; s++)
        printf("  %-10s %" PRIu64 "\n", payment_state_name((enum payment_state)s), sum->finals[s]);
    printf("  %-10s %" PRIu64 ", of them %" PRIu64 " that nobody asked for\n", "refunds",
           sum->refunds, sum->extra);
    printf("  %-10s %" PRIu64 " orders\n", "rerouted", sum->rerouted);
    printf("  %-10s %" PRIu64 ", decided %" PRIu64 "\n", "cases", sum->cases, sum->decided);
    printf("%" PRIu64 " orders a CPU minute\n", (uint64_t)((int64_t)sum->orders * 60 * SEC / cpu));
}

static int run_many(const struct options *o)
{
    uint64_t end = o->seconds ? UINT64_MAX : o->first + o->lives;
    int64_t began = now_us(CLOCK_MONOTONIC), cpu = now_us(CLOCK_PROCESS_CPUTIME_ID);
    struct totals sum = {.orders = 0};

    for (uint64_t life = o->first; life < end; life++) {
        if (o->seconds && life % 256 == 0 &&
            now_us(CLOCK_MONOTONIC) - began > (int64_t)o->seconds * SEC)
            break;
        world_run(&world, o->seed, life, &o->choices, NULL);
        if (world.broken)
            return report(o, life);
        count(&sum);
    }
    if (!o->quiet)
        print_totals(&sum, o->seed, now_us(CLOCK_PROCESS_CPUTIME_ID) - cpu + 1);
    return 0;
}

static int usage(void)
{
    fprintf(stderr, "sim [--seed N] [--lives N | --seconds N | --minutes N] [--first N] [--quiet]\n"
                    "sim --seed N --life N [--only SITE.N,...]\n");
    return 2;
}

static int read_options(struct options *o, int argc, char **argv)
{
    static const struct option longs[] = {
        {"seed", 1, NULL, 's'},    {"lives", 1, NULL, 'n'}, {"minutes", 1, NULL, 'm'},
        {"seconds", 1, NULL, 'S'}, {"first", 1, NULL, 'f'}, {"life", 1, NULL, 'l'},
        {"only", 1, NULL, 'o'},    {"quiet", 0, NULL, 'q'}, {NULL, 0, NULL, 0}};
    int c;

    while ((c = getopt_long(argc, argv, "", longs, NULL)) != -1) {
        int64_t n = 0;

        if (c == '?' || (c != 'o' && c != 'q' && (slice_int64(slice_of(optarg), &n) || n < 0)))
            return -1;
        if (c == 's')
            o->seed = (uint64_t)n;
        else if (c == 'n')
            o->lives = (uint64_t)n;
        else if (c == 'm' || c == 'S')
            o->seconds = (uint64_t)n * (c == 'm' ? 60 : 1);
        else if (c == 'f')
            o->first = (uint64_t)n;
        else if (c == 'q')
            o->quiet = true;
        else if (c == 'o' && read_choices(&o->choices, optarg) != 0)
            return -1;
        else if (c == 'l') {
            o->one = true;
            o->life = (uint64_t)n;
        }
    }
    return optind == argc ? 0 : -1;
}

int main(int argc, char **argv)
{
    static struct options o = {.seed = 1, .lives = 100000};

    if (read_options(&o, argc, argv) != 0)
        return usage();
    return o.one ? run_one(&o) : run_many(&o);
}
