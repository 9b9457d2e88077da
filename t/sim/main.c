/*
 * sim - lives of orders under faults; README.md has the use.
 *
 *   sim [--seed N] [--lives N | --minutes N] [--first N] [--quiet]
 *   sim --seed N --life N [--only pays.1,crash.3]     one life and its trace
 */
#include "sim.h"

#include <getopt.h>
#include <stdlib.h>
#include <time.h>

struct options {
    uint64_t seed, lives, first, life, seconds;
    bool one, quiet;
    struct choices choices;
};

static struct world world; /* as large as its pools */

static int64_t now_us(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
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

static int run_many(const struct options *o)
{
    uint64_t end = o->seconds ? UINT64_MAX : o->first + o->lives, life, steps = 0, faults = 0;
    uint64_t finals[PAYMENT_STATE_COUNT] = {0}, refunds = 0, cases = 0;
    int64_t began = now_us(), took;

    for (life = o->first; life < end; life++) {
        if (o->seconds && life % 256 == 0 && now_us() - began > (int64_t)o->seconds * SEC)
            break;
        world_run(&world, o->seed, life, &o->choices, NULL);
        if (world.broken)
            return report(o, life);
        steps += world.steps;
        faults += world.nfired;
        finals[world.rows.exists ? world.rows.p.state : PAYMENT_NONE]++;
        refunds += world.rows.nrefunds;
        cases += world.rows.ncases;
    }
    took = now_us() - began + 1;
    life -= o->first;
    if (o->quiet)
        return 0;
    printf("seed %llu: %llu orders, %llu steps, %llu faults and wishes, %llu refunds, %llu cases; "
           "nothing is broken\n",
           (unsigned long long)o->seed, (unsigned long long)life, (unsigned long long)steps,
           (unsigned long long)faults, (unsigned long long)refunds, (unsigned long long)cases);
    for (unsigned s = 0; s < PAYMENT_STATE_COUNT; s++)
        printf("  %-10s %llu\n", payment_state_name((enum payment_state)s),
               (unsigned long long)finals[s]);
    printf("%llu orders a minute\n", (unsigned long long)(life * 60 * SEC / (uint64_t)took));
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
