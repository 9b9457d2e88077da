#include "lease.h"

#include <string.h>

#define BEAT_BITS  18
#define BEAT_MASK  ((1u << BEAT_BITS) - 1)
#define COUNT_BITS 14
#define COUNT_MASK ((1u << COUNT_BITS) - 1)
#define TERM_BITS  7
#define TERM_MASK  ((1u << TERM_BITS) - 1)
#define SECOND     1000000
#define FRESH      (8 * LEASE_BEAT) /* a node that is silent for longer needs nothing */

int64_t lease_term(const struct lease_terms *t)
{
    /* whole seconds, as notes carry it */
    return (t->call + LEASE_SLACK + SECOND - 1) / SECOND * SECOND;
}

/* Clocks of two machines run apart by less than this while a loan lasts. */
static int64_t margin(int64_t term)
{
    return term / 100 + LEASE_BEAT;
}

uint32_t lease_share(const struct lease_terms *t)
{
    return t->cap / t->nodes + (t->self < t->cap % t->nodes ? 1 : 0);
}

/* a is younger than or the same as b, modulo 2^18 */
static bool not_older(uint32_t a, uint32_t b)
{
    return ((a - b) & BEAT_MASK) < 1u << (BEAT_BITS - 1);
}

static uint32_t min_u(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

static uint32_t max_u(uint32_t a, uint32_t b)
{
    return a > b ? a : b;
}

void lease_init(struct lease *l, const struct lease_terms *t, int64_t lost_until)
{
    memset(l, 0, sizeof(*l));
    l->ready = true;
    l->lost_until = lost_until;
    l->own = lost_until ? 0 : lease_share(t);
}

/* ---- what binds the lender ---- */

/* Places of ours that the peer may be using. */
static uint32_t bound(const struct lease_terms *t, const struct lease_peer *p, int64_t now)
{
    uint32_t n = now < p->hold_until ? p->hold_in : 0;

    for (uint32_t i = 0; i < p->npromises; i++)
        if (now < p->promises[i].at + lease_term(t))
            n = max_u(n, p->promises[i].count);
    return n;
}

static void forget_promises(struct lease_peer *p, uint32_t n)
{
    memmove(p->promises, p->promises + n, (p->npromises - n) * sizeof(p->promises[0]));
    p->npromises -= n;
}

static void promise(struct lease_peer *p, uint32_t beat, uint32_t count, int64_t now)
{
    struct lease_promise *last = p->npromises ? &p->promises[p->npromises - 1] : NULL;

    p->loan_out = count;
    if (count == 0)
        return;
    if (!last || last->count != count) {
        if (p->npromises == LEASE_PROMISES) {
            /* no room: the two oldest become one that binds as much as both */
            p->promises[1].count = max_u(p->promises[0].count, p->promises[1].count);
            forget_promises(p, 1);
        }
        last = &p->promises[p->npromises++];
    }
    *last = (struct lease_promise){beat, count, now};
}

/* All peers have said in this life what they hold, or nothing of a former one can bind any more. */
static bool promises_known(const struct lease *l, const struct lease_terms *t, int64_t now)
{
    if (now >= l->lost_until)
        return true;
    for (uint32_t i = 0; i < t->nodes; i++)
        if (i != t->self && !l->peers[i].answered)
            return false;
    return true;
}

static uint32_t lent(const struct lease *l, const struct lease_terms *t, int64_t now)
{
    uint32_t n = 0;

    for (uint32_t i = 0; i < t->nodes; i++)
        n += i == t->self ? 0 : bound(t, &l->peers[i], now);
    return n;
}

static void set_own(struct lease *l, const struct lease_terms *t, int64_t now)
{
    uint32_t share = lease_share(t);

    l->own = promises_known(l, t, now) ? share - min_u(share, lent(l, t, now)) : 0;
}

/* ---- the beat ---- */

/* Borrowed places that are in use count as held, whatever the loan has become. */
static void set_holds(struct lease *l, const struct lease_terms *t, int64_t now, uint32_t in_use)
{
    uint32_t excess = in_use > l->own ? in_use - l->own : 0;

    for (uint32_t i = 0; i < t->nodes; i++) {
        struct lease_peer *p = &l->peers[i];
        uint32_t loan = now < p->loan_until ? p->loan_in : 0;

        p->hold_out = max_u(loan, min_u(max_u(p->hold_out, loan), excess));
    }
}

/* What the peer would like to borrow; one that is silent likes nothing. */
static uint32_t needs(const struct lease_peer *p, int64_t now)
{
    return p->known && now - p->heard < FRESH ? p->need : 0;
}

/* Lends what we do not want ourselves to those who need it, and never what is in use. */
static void lend(struct lease *l, const struct lease_terms *t, int64_t now, uint32_t in_use,
                 uint32_t want)
{
    uint32_t share = lease_share(t), keep = max_u(in_use, want);
    uint32_t spare = share > keep && promises_known(l, t, now) ? share - keep : 0;

    for (uint32_t i = 0; i < t->nodes; i++) {
        struct lease_peer *p = &l->peers[i];
        uint32_t n, others;

        if (i == t->self)
            continue;
        n = min_u(needs(p, now), spare);
        /* more than before only of what is free, beside what binds us to the others */
        others = lent(l, t, now) - bound(t, p, now) + in_use;
        n = min_u(n, share > others ? share - others : 0);
        promise(p, l->beat, n, now);
        spare -= min_u(spare, n);
    }
}

void lease_beat(struct lease *l, const struct lease_terms *t, int64_t now, uint32_t number,
                uint32_t in_use, uint32_t want)
{
    l->beat = number & BEAT_MASK;
    if (l->beat == 0)
        l->beat = 1;
    l->sent[l->beat % LEASE_SENT] = (struct lease_sent){l->beat, now};
    for (uint32_t i = 0; i < t->nodes; i++) {
        struct lease_peer *p = &l->peers[i];

        while (p->npromises && now >= p->promises[0].at + lease_term(t))
            forget_promises(p, 1);
    }
    set_own(l, t, now);
    l->need = want > lease_share(t) ? min_u(want - lease_share(t), COUNT_MASK) : 0;
    set_holds(l, t, now, in_use);
    lend(l, t, now, in_use, want);
    set_own(l, t, now);
}

/* ---- notes ---- */

struct lease_note lease_write(const struct lease *l, const struct lease_terms *t, uint32_t peer)
{
    const struct lease_peer *p = &l->peers[peer];
    uint64_t term = (uint64_t)(lease_term(t) / SECOND), echo = p->known ? p->seen : 0;
    uint64_t a = p->loan_out, b = p->hold_out;

    a = a << BEAT_BITS | echo;
    a = a << BEAT_BITS | l->beat;
    b = b << COUNT_BITS | l->need;
    b = b << TERM_BITS | (term & TERM_MASK);
    b = b << BEAT_BITS | l->beat;
    return (struct lease_note){(int64_t)a, (int64_t)b};
}

/* Takes the lowest bits of *v away. */
static uint32_t take(uint64_t *v, unsigned bits)
{
    uint32_t n = (uint32_t)(*v & ((1u << bits) - 1));

    *v >>= bits;
    return n;
}

/* The peer has read our note `echo`, written at `at`: later notes bind, earlier ones no more. */
static void answered(struct lease_peer *p, const struct lease_terms *t, uint32_t echo, int64_t at,
                     uint32_t hold)
{
    while (p->npromises && not_older(echo, p->promises[0].beat))
        forget_promises(p, 1);
    p->answered = true;
    p->hold_in = hold;
    p->hold_until = at + lease_term(t);
}

void lease_read(struct lease *l, const struct lease_terms *t, uint32_t peer, struct lease_note note,
                int64_t now)
{
    struct lease_peer *p = &l->peers[peer];
    uint64_t a = (uint64_t)note.a, b = (uint64_t)note.b;
    uint32_t beat = take(&a, BEAT_BITS), echo = take(&a, BEAT_BITS), loan = take(&a, COUNT_BITS);
    uint32_t same = take(&b, BEAT_BITS), term_s = take(&b, TERM_BITS);
    uint32_t need = take(&b, COUNT_BITS), hold = take(&b, COUNT_BITS);
    const struct lease_sent *sent = &l->sent[echo % LEASE_SENT];
    int64_t term = (int64_t)term_s * SECOND;

    if (note.a <= 0 || note.b <= 0 || beat == 0 || beat != same)
        return; /* none, or one half is older than the other */
    if (p->known &&
        (beat == p->seen || (!not_older(beat, p->seen) && now - p->heard < lease_term(t))))
        return;
    p->known = true;
    p->seen = beat;
    p->heard = now;
    p->need = need;
    if (echo == 0 || sent->beat != echo)
        return; /* it answers nothing of this life, or something very old */
    if (term > lease_term(t))
        term = lease_term(t);
    p->loan_in = loan;
    p->loan_until = sent->at + term - margin(term);
    answered(p, t, echo, sent->at, hold);
}

/* ---- what may be used ---- */

bool lease_asked(const struct lease *l, const struct lease_terms *t, int64_t now)
{
    for (uint32_t i = 0; i < t->nodes; i++)
        if (i != t->self && needs(&l->peers[i], now))
            return true;
    return false;
}

uint32_t lease_limit(const struct lease *l, const struct lease_terms *t, int64_t now)
{
    uint32_t n = l->own;

    for (uint32_t i = 0; i < t->nodes; i++)
        if (i != t->self && now + t->call < l->peers[i].loan_until)
            n += l->peers[i].loan_in;
    return min_u(n, t->cap);
}

int64_t lease_bound_until(const struct lease *l, const struct lease_terms *t, int64_t now)
{
    int64_t until = 0;

    for (uint32_t i = 0; i < t->nodes; i++) {
        const struct lease_peer *p = &l->peers[i];

        if (p->npromises && p->promises[p->npromises - 1].at + lease_term(t) > until)
            until = p->promises[p->npromises - 1].at + lease_term(t);
        if (p->hold_in && p->hold_until > now && p->hold_until > until)
            until = p->hold_until;
    }
    return until > now ? until : 0;
}
