/*
 * DESIGN. A heap of what is about to happen; one step takes the earliest, lets it happen, and looks
 * at everything that must hold. A worker may die before any step of its own: what it had not
 * committed is gone, what it had sent is on its way.
 *
 * Randomness is counted, not streamed: the n-th draw of a site is a hash of (life, site, n).
 */
#include "sim.h"

#include <stdarg.h>

static const struct {
    const char *name;
    enum group group;
    unsigned permille;
} sites[SITES] = {
#define X(name, group, permille) {#name, GROUP_##group, permille},
    SITE_TABLE(X)
#undef X
};

/* clang-format off */
const struct profile profiles[] = {
    /*          weight    wish bank net slow crash store clock lie */
    {"calm",    10,      {1,   1,   0,  0,   0,    0,    0,    0}},
    {"net",     15,      {1,   1,   2,  1,   0,    0,    0,    0}},
    {"slow",    15,      {1,   1,   1,  3,   0,    0,    0,    0}},
    {"crash",   15,      {1,   1,   1,  1,   3,    1,    0,    0}},
    {"store",   10,      {1,   1,   1,  1,   1,    4,    0,    0}},
    {"clock",    5,      {1,   1,   1,  1,   1,    1,    1,    0}},
    {"liar",    15,      {1,   1,   1,  1,   0,    0,    0,    2}},
    {"storm",   15,      {1,   3,   3,  3,   2,    2,    0,    0}},
    {"all",     10,      {1,   2,   2,  2,   2,    2,    1,    1}},
};
/* clang-format on */
const unsigned profile_count = sizeof(profiles) / sizeof(profiles[0]);

const char *site_name(enum site s)
{
    return sites[s].name;
}

/* ---- choices ---- */

static uint64_t mix(uint64_t h)
{
    h = (h ^ (h >> 30)) * 0xbf58476d1ce4e5b9ULL;
    h = (h ^ (h >> 27)) * 0x94d049bb133111ebULL;
    return h ^ (h >> 31);
}

static uint64_t draw(const struct world *w, enum site s, uint64_t stream, uint32_t n)
{
    return mix(w->seed + mix(((uint64_t)s << 40) + (stream << 32) + n));
}

static bool allowed(const struct choices *c, enum site s, uint32_t n)
{
    return !c || (c->set[s][n / 64] >> (n % 64) & 1) == c->only;
}

bool chance(struct world *w, enum site s)
{
    unsigned permille = sites[s].permille * w->profile->level[sites[s].group];
    uint32_t n;

    if (permille == 0 || w->t >= w->quiet)
        return false;
    n = ++w->draws[s];
    if (draw(w, s, 1, n) % 1000 >= (permille > 900 ? 900 : permille))
        return false;
    if (n >= SITE_DRAWS || !allowed(w->choices, s, n))
        return false;
    if (w->nfired < sizeof(w->fired) / sizeof(w->fired[0]))
        w->fired[w->nfired++] = (uint32_t)s << 16 | n;
    SAY(w, "        ! %s.%u", sites[s].name, n);
    return true;
}

uint64_t pick(struct world *w, enum site s, uint64_t below)
{
    return draw(w, s, 2, ++w->values[s]) % below;
}

/* base and a little, or up to `more` longer */
int64_t slow(struct world *w, enum site s, int64_t base, int64_t more)
{
    int64_t d = base + (int64_t)pick(w, s, (uint64_t)base);

    if (more > 0 && chance(w, s))
        d += (int64_t)pick(w, s, (uint64_t)more);
    return d;
}

/* ---- what is about to happen ---- */

static bool sooner(const struct event *a, const struct event *b)
{
    return a->at != b->at ? a->at < b->at : a->seq < b->seq;
}

void later(struct world *w, int64_t in, enum event_kind k, unsigned a, unsigned b, uint32_t gen)
{
    struct event e = {.at = w->t + in,
                      .seq = w->seq++,
                      .kind = (uint8_t)k,
                      .a = (uint16_t)a,
                      .b = (uint8_t)b,
                      .gen = gen};
    unsigned i = w->nevents;

    if (i == EVENTS_MAX) {
        broken(w, "bounded", "more than %d events wait", EVENTS_MAX);
        return;
    }
    w->nevents++;
    for (; i && sooner(&e, &w->events[(i - 1) / 2]); i = (i - 1) / 2)
        w->events[i] = w->events[(i - 1) / 2];
    w->events[i] = e;
}

static struct event take(struct world *w)
{
    struct event first = w->events[0], last = w->events[--w->nevents];
    unsigned i = 0, child;

    while ((child = 2 * i + 1) < w->nevents) {
        if (child + 1 < w->nevents && sooner(&w->events[child + 1], &w->events[child]))
            child++;
        if (!sooner(&w->events[child], &last))
            break;
        w->events[i] = w->events[child];
        i = child;
    }
    w->events[i] = last;
    return first;
}

/* ---- time ---- */

pay_time_t process_now(const struct world *w, unsigned process)
{
    return T0 + w->t + w->jump + w->skew[process];
}

bool honest(const struct world *w)
{
    return !w->lied && !w->jumped;
}

static void jump(struct world *w)
{
    int64_t d = (int64_t)pick(w, SITE_clock_jumps, (uint64_t)(1200 * SEC)) - 600 * SEC;

    w->jump += d;
    w->jumped = true;
    SAY(w, "clock   jumps by %lld s", (long long)(d / SEC));
    poll_soon(w);
}

/* ---- verdict ---- */

void broken(struct world *w, const char *invariant, const char *fmt, ...)
{
    va_list ap;

    if (w->broken)
        return;
    w->broken = invariant;
    va_start(ap, fmt);
    vsnprintf(w->detail, sizeof(w->detail), fmt, ap);
    va_end(ap);
    SAY(w, "BROKEN  %s: %s", invariant, w->detail);
}

void say(const struct world *w, const char *fmt, ...)
{
    va_list ap;

    fprintf(w->trace, "%10lld.%06lld  ", (long long)(w->t / SEC), (long long)(w->t % SEC));
    va_start(ap, fmt);
    vfprintf(w->trace, fmt, ap);
    va_end(ap);
    fputc('\n', w->trace);
}

/* ---- a step ---- */

static void flow_event(struct world *w, const struct event *e)
{
    struct flow *f = &w->flows[e->a];

    if (!f->used || f->gen != e->gen) /* it died with its process */
        return;
    if (chance(w, SITE_crash)) {
        worker_crash(w, f->process);
        return;
    }
    switch (e->kind) {
    case EVENT_load:
        flow_load(w, f);
        return;
    case EVENT_commit:
        flow_commit(w, f);
        return;
    case EVENT_result:
        flow_result(w, f);
        return;
    case EVENT_send:
        flow_send(w, f);
        return;
    default:
        flow_answer(w, f);
    }
}

static void happen(struct world *w, const struct event *e)
{
    switch (e->kind) {
    case EVENT_create:
        merchant_creates(w);
        return;
    case EVENT_close:
        merchant_closes(w);
        return;
    case EVENT_ask:
        operator_asks(w);
        return;
    case EVENT_refund:
        merchant_refunds(w, e->a);
        return;
    case EVENT_pay:
        bank_pay(w, e->a, e->b);
        return;
    case EVENT_expire:
        bank_expire(w, e->a);
        return;
    case EVENT_refund_done:
        bank_refund_ends(w, e->a, e->b);
        return;
    case EVENT_notice:
        bank_notice(w, e->a);
        return;
    case EVENT_poll:
        poll_timers(w);
        return;
    case EVENT_arrive:
        bank_arrive(w, e->a % 1024u, e->a / 1024u, e->gen);
        return;
    case EVENT_callback:
        merchant_called(w, e->a);
        return;
    case EVENT_look:
        person_looks(w, e->a / 256u, e->a % 256u);
        return;
    case EVENT_word:
        person_speaks(w, e->a / 256u, e->a % 256u, (enum word)e->b);
        return;
    case EVENT_jump:
        jump(w);
        return;
    default:
        flow_event(w, e);
    }
}

/* ---- a life ---- */

static const struct profile *profile_of(struct world *w)
{
    unsigned sum = 0, at;

    for (unsigned i = 0; i < profile_count; i++)
        sum += profiles[i].weight;
    at = (unsigned)(draw(w, SITE_world, 3, 0) % sum);
    for (unsigned i = 0;; i++) {
        if (at < profiles[i].weight)
            return &profiles[i];
        at -= profiles[i].weight;
    }
}

static bool one_in(struct world *w, unsigned n)
{
    return pick(w, SITE_world, n) == 0;
}

static void set_policy(struct world *w)
{
    struct payment_policy *p = &w->policy;

    *p = (struct payment_policy){.send_window = 5 * SEC,
                                 .query_first = one_in(w, 2) ? 120 * SEC : 3 * SEC,
                                 .query_interval = one_in(w, 2) ? 30 * SEC : 2 * SEC,
                                 .query_max = one_in(w, 2) ? 1800 * SEC : 120 * SEC,
                                 .soon = 2 * SEC,
                                 .resend_interval = 3 * SEC,
                                 .settle = one_in(w, 2) ? 30 * SEC : 5 * SEC,
                                 .not_sent_limit = one_in(w, 4) ? 1 : 3,
                                 .prepare_resend = !one_in(w, 3),
                                 .paying_interval = one_in(w, 2) ? 5 * SEC : SEC,
                                 .paying_limit = one_in(w, 2) ? 30 * SEC : 8 * SEC,
                                 .reverse_earliest = one_in(w, 2) ? 15 * SEC : 0,
                                 .reverse_limit = one_in(w, 2) ? 10 : 3,
                                 .reroute = (uint32_t)pick(w, SITE_world, 3),
                                 .late_refund = one_in(w, 2),
                                 .refund = !one_in(w, 20),
                                 .refund_resend = !one_in(w, 3),
                                 .refund_window = one_in(w, 3) ? 3600 * SEC : 0};
}

static void set_order(struct world *w)
{
    struct payment *p = &w->order;

    *p = (struct payment){.slot = 5,
                          .mchid = SLICE("M1"),
                          .out_trade_no = SLICE("N1"),
                          .digest = SLICE("D1"),
                          .method = one_in(w, 3) ? METHOD_BARCODE : METHOD_NATIVE,
                          .amount = 1 + (int64_t)pick(w, SITE_world, 1000),
                          .currency = SLICE("CNY"),
                          .channel = SLICE("bank1"),
                          .account = SLICE("A1")};
    w->bank.names_currency = !one_in(w, 3);
    if (w->bank.names_currency && one_in(w, 4))
        p->currency = SLICE("HKD");
    if (p->method == METHOD_NATIVE && one_in(w, 6)) {
        p->method = METHOD_H5; /* a text that the payer takes there himself */
        w->policy.prepare_local = w->policy.prepare_resend = true;
    }
    p->time_expire = T0 + (int64_t)(60 + pick(w, SITE_world, one_in(w, 2) ? 240 : 7200)) * SEC;
}

static void world_init(struct world *w, uint64_t seed, uint64_t life, const struct choices *c,
                       FILE *trace)
{
    /* the pools are as long as their counts say, and 0 means unused: only heads are cleared */
    struct rows *rows = &w->rows;

    memset(w->draws, 0, sizeof(w->draws));
    memset(w->values, 0, sizeof(w->values));
    for (unsigned i = 0; i < FLOWS_MAX; i++)
        w->flows[i].used = false;
    memset(&w->bank.orders, 0, sizeof(w->bank.orders));
    memset(&w->bank.refunds, 0, sizeof(w->bank.refunds));
    memset(&w->merchant, 0, sizeof(w->merchant));
    rows->exists = false;
    rows->reversal = (struct reversal_row){.state = REVERSAL_NONE};
    rows->nrefunds = rows->nattempts = rows->ncallbacks = rows->ncases = rows->nhistory = 0;
    rows->last_input = "";
    rows->last_at = 0;
    rows->last_attempt = 0;
    w->seed = mix(mix(seed) + life);
    w->choices = c;
    w->trace = trace;
    w->t = w->jump = 0;
    w->jumped = w->lied = w->odd = false;
    w->nevents = w->seq = w->steps = w->nfired = 0;
    w->next_poll = INT64_MAX;
    w->next_id = 1000;
    w->broken = NULL;
    w->bank.nnotices = 0;
    w->profile = profile_of(w);
    set_policy(w);
    set_order(w);
    w->reverse_window = one_in(w, 6) ? (int64_t)(20 + pick(w, SITE_world, 100)) * SEC : 0;
    w->bank.duplicates = one_in(w, 2);
    w->bank.closes_unseen = one_in(w, 3) && !w->policy.prepare_local;
    w->bank.expires = !one_in(w, 3);
    w->bank.names_refund_amount = !one_in(w, 3);
    for (unsigned i = 0; i < PROCESSES; i++) {
        w->skew[i] = (int64_t)pick(w, SITE_world, 100 * MS) - 50 * MS;
        w->up_at[i] = 0;
    }
    w->quiet = w->order.time_expire - T0 + 5400 * SEC;
}

void world_run(struct world *w, uint64_t seed, uint64_t life, const struct choices *c, FILE *trace)
{
    int64_t end;

    world_init(w, seed, life, c, trace);
    end = w->quiet + 12 * w->policy.query_max + 1200 * SEC;
    SAY(w, "life    %llu of seed %llu: %s, %s, amount %lld %.*s, expires in %lld s%s%s",
        (unsigned long long)life, (unsigned long long)seed, w->profile->name,
        payment_method_name(w->order.method), (long long)w->order.amount,
        SLICE_FMT(w->order.currency), (long long)((w->order.time_expire - T0) / SEC),
        w->policy.prepare_resend ? "" : ", one prepare only",
        w->policy.refund_resend ? "" : ", refunds sent once");
    people_start(w);
    while (w->nevents && !w->broken) {
        struct event e = take(w);

        if (e.at > end)
            break;
        w->t = e.at;
        if (++w->steps > STEPS_MAX) {
            broken(w, "bounded", "%d steps and no end", STEPS_MAX);
            break;
        }
        happen(w, &e);
        check_rows(w);
    }
    if (!w->broken)
        check_end(w);
}
