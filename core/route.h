/*
 * route - which channels may take a new payment, in order of preference. Pure: what is true now is
 * passed in, the same input gives the same choice.
 *
 * Candidates are the channels that are open, serve the method and take the amount. Every rule that
 * holds is applied: `only` and `exclude` narrow the candidates; preferred ones come first, those of
 * an earlier rule before those of a later one; the first rule that says so decides between weight
 * and cost. Then lower priorities go first. Among equals the choice is by least cost, if asked, and
 * by weight.
 *
 * By weight means weighted rendezvous hashing: the order's number and the channel's name give each
 * candidate a key -log2(u) / weight, and the smallest keys win (Efraimidis and Spirakis, "Weighted
 * random sampling with a reservoir", 2006; Ceph calls it straw2). So an order keeps its channels
 * until one of them changes: another channel that comes, goes or changes its weight moves only the
 * orders that it gains or loses.
 */
#ifndef CORE_ROUTE_H
#define CORE_ROUTE_H

#include "match.h"

#define ROUTE_CHANNELS  MATCH_LINES
#define ROUTE_RULES     MATCH_LINES
#define ROUTE_CHOSEN    3
#define ROUTE_LISTED    (ROUTE_CHOSEN + 2) /* with those that a caller adds */
#define ROUTE_WEIGHT    10000              /* largest */
#define ROUTE_SHARE_ALL 100

/* What a channel takes for a payment: rate millionths of the amount, rounded half up, plus fixed,
 * within min and max. Amounts in the smallest unit. */
struct route_fee {
    bool known;
    int64_t rate, fixed, min, max;
};
/* INT64_MAX when the fee is not known. amount <= AMOUNT_MAX, rate <= 1000000, fixed, min and max
 * <= AMOUNT_MAX. */
int64_t route_fee_of(const struct route_fee *fee, int64_t amount);

struct route_channel {
    struct slice name;
    uint32_t methods; /* bits 0..31 */
    int64_t min, max; /* amounts, inclusive */
    uint32_t priority;
    uint32_t weight; /* 1..ROUTE_WEIGHT */
    struct route_fee fee;
};

enum route_by { ROUTE_BY_NOTHING, ROUTE_BY_WEIGHT, ROUTE_BY_COST };

struct route_rule {
    const struct match_line *lines; /* holds when one of them does */
    size_t nlines;
    bool has_only;
    struct match_set only, exclude, prefer; /* channels */
    enum route_by by;                       /* ROUTE_BY_NOTHING: does not say */
};

struct route_table;

/* Channels in ascending order of priority. All lines together at most MATCH_LINES. The names in the
 * lines must live as long as the arena; everything else is copied. NULL: no memory. */
struct route_table *route_compile(struct arena *a, const struct route_channel *channels, size_t n,
                                  const struct route_rule *rules, size_t nrules);
/* The facts that rules ask about, bits as in match_line's `given`. */
uint32_t route_given(const struct route_table *t);

/* What is true now. */
struct route_live {
    struct match_set open; /* channels that take new payments */
    /* how many of 100 orders a channel takes while it comes back, 0 while it is out; a channel
     * above 0 takes more where every candidate is below 100 and none is full. NULL: all 100 */
    const uint8_t *share;
    bool (*full)(const void *arg, unsigned channel); /* asked only of those about to be chosen */
    const void *arg;
};

struct route_ask {
    struct match_facts facts; /* the method and the amount must be there */
    uint64_t hash;            /* of the order */
    int wish;                 /* the only channel wanted, or -1 */
    enum route_by by;         /* unless a rule says otherwise */
};

struct route_choice {
    uint8_t
        chosen[ROUTE_LISTED]; /* channels, best first; route_choose gives ROUTE_CHOSEN at most */
    unsigned n;
    /* why: how many channels were left after each step */
    unsigned open;    /* serve the method and are open */
    unsigned allowed; /* by the rules */
    unsigned fit;     /* take the amount */
    unsigned ill;     /* of those met: not well enough for this order */
    unsigned busy;    /* of those met: full */
    enum route_by by;
    struct match_set rules; /* that held */
};

void route_choose(const struct route_table *t, const struct route_ask *ask,
                  const struct route_live *live, struct route_choice *choice);

#endif
