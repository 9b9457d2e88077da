#include "breaker.h"

#include <stddef.h>
#include <string.h>

#define WAIT_DOUBLINGS 3u /* 8 times the wait */
#define SLACK_MS       1000

static const uint8_t steps[] = {1, 5, 25, 100};
#define STEPS (sizeof(steps) / sizeof(steps[0]))

/* ------------------------------------------------------------------ words */

static const char *const states[BREAKER_STATES] = {"closed", "open", "probing", "recovering"};
static const char *const levels[BREAKER_LEVELS] = {"out", "reachable", "available", "in_time",
                                                   "sla"};
static const char *const reasons[BREAKER_REASONS] = {
    "fine", "unreachable", "failures", "errors", "bad_answers", "slow", "probe"};

const char *breaker_state_name(enum breaker_state s)
{
    return (unsigned)s < BREAKER_STATES ? states[s] : "?";
}

const char *breaker_level_name(enum breaker_level l)
{
    return (unsigned)l < BREAKER_LEVELS ? levels[l] : "?";
}

const char *breaker_reason_name(enum breaker_reason r)
{
    return (unsigned)r < BREAKER_REASONS ? reasons[r] : "?";
}

/* ------------------------------------------------------------------ time and window */

/* Processes read the clock at slightly different moments: a little back is the same moment. More is
 * another clock, and what is waited for stays as far away as it was. */
static int64_t take_time(struct breaker *b, int64_t now)
{
    int64_t back = b->now_ms - now;

    if (back <= 0) {
        b->now_ms = now;
        return now;
    }
    if (back <= SLACK_MS)
        return b->now_ms;
    b->now_ms = now;
    b->row_ms -= back;
    b->bucket_ms -= back;
    b->until_ms -= back;
    b->since_ms -= back;
    b->changed_ms -= back;
    return now;
}

static void clear_window(struct breaker *b, int64_t now)
{
    memset(&b->sum, 0, sizeof(b->sum));
    memset(b->buckets, 0, sizeof(b->buckets));
    memset(b->runs, 0, sizeof(b->runs));
    b->bucket_ms = now;
}

static void forget(struct breaker_counts *sum, struct breaker_counts *old)
{
    for (size_t v = 0; v < BREAKER_VIEWS; v++) {
        sum->views[v].calls -= old->views[v].calls;
        for (size_t i = 0; i < BREAKER_LEVELS; i++)
            sum->views[v].missed[i] -= old->views[v].missed[i];
    }
    for (size_t i = 0; i < BREAKER_APIS; i++) {
        sum->apis[i].calls -= old->apis[i].calls;
        sum->apis[i].missed -= old->apis[i].missed;
    }
    memset(old, 0, sizeof(*old));
}

static void turn_window(struct breaker *b, const struct breaker_policy *p, int64_t now)
{
    int64_t width = p->window_ms / (int64_t)BREAKER_BUCKETS;
    int64_t gone;

    if (width < 1)
        width = 1;
    gone = (now - b->bucket_ms) / width;
    b->bucket_ms += gone * width;
    if (gone > (int64_t)BREAKER_BUCKETS)
        gone = BREAKER_BUCKETS;
    for (; gone > 0; gone--) {
        b->bucket = (uint8_t)((b->bucket + 1u) % BREAKER_BUCKETS);
        forget(&b->sum, &b->buckets[b->bucket]);
    }
    if (now - b->row_ms > p->window_ms)
        memset(b->runs, 0, sizeof(b->runs));
}

static int64_t advance(struct breaker *b, const struct breaker_policy *p, int64_t now)
{
    now = take_time(b, now);
    turn_window(b, p, now);
    return now;
}

/* ------------------------------------------------------------------ levels */

static uint32_t percent_of(uint32_t part, uint32_t all)
{
    if (all == 0)
        return 0;
    return part >= all ? 100u : (uint32_t)((uint64_t)part * 100u / all);
}

/* Enough calls, and the part of them reaches the limit. */
static bool too_many(uint32_t part, uint32_t all, uint32_t percent, uint32_t fewest)
{
    return percent > 0 && all > 0 && all >= fewest &&
           (uint64_t)part * 100u >= (uint64_t)percent * all;
}

static bool in_a_row(uint32_t run, uint32_t limit)
{
    return limit > 0 && run >= limit;
}

static bool sla_missed(const struct breaker *b, const struct breaker_policy *p)
{
    for (size_t i = 0; i < BREAKER_APIS; i++)
        if (too_many(b->sum.apis[i].missed, b->sum.apis[i].calls, p->limits[BREAKER_SLA].percent,
                     p->calls))
            return true;
    return false;
}

static bool view_missed(const struct breaker *b, const struct breaker_policy *p,
                        enum breaker_level l, int view)
{
    const struct breaker_run *run = &b->runs[view];
    const struct breaker_limit *limit = &p->limits[l];

    return in_a_row(run->missed[l], limit->in_a_row) ||
           (l == BREAKER_AVAILABLE && in_a_row(run->bad_answers, limit->in_a_row)) ||
           too_many(b->sum.views[view].missed[l], b->sum.views[view].calls, limit->percent,
                    p->calls);
}

static bool missed(const struct breaker *b, const struct breaker_policy *p, enum breaker_level l)
{
    if (l == BREAKER_SLA)
        return sla_missed(b, p);
    return view_missed(b, p, l, BREAKER_ALL) || view_missed(b, p, l, BREAKER_PAY);
}

enum breaker_level breaker_level(const struct breaker *b, const struct breaker_policy *p)
{
    enum breaker_level top = BREAKER_SLA;

    if (b->state == BREAKER_OPEN || b->state == BREAKER_PROBING)
        top = (enum breaker_level)b->level;
    for (int l = BREAKER_REACHABLE; l <= (int)top; l++)
        if (missed(b, p, (enum breaker_level)l))
            return (enum breaker_level)(l - 1);
    return top;
}

static uint32_t larger(uint32_t a, uint32_t b)
{
    return a > b ? a : b;
}

uint32_t breaker_in_a_row(const struct breaker *b, enum breaker_level level)
{
    return larger(b->runs[BREAKER_ALL].missed[level], b->runs[BREAKER_PAY].missed[level]);
}

uint32_t breaker_missed_percent(const struct breaker *b, const struct breaker_policy *p,
                                enum breaker_level level)
{
    uint32_t worst = 0;

    for (size_t v = 0; v < BREAKER_VIEWS && level != BREAKER_SLA; v++)
        worst = larger(worst, percent_of(b->sum.views[v].missed[level], b->sum.views[v].calls));
    for (size_t i = 0; i < BREAKER_APIS && level == BREAKER_SLA; i++)
        if (p->sla_ms[i] > 0)
            worst = larger(worst, percent_of(b->sum.apis[i].missed, b->sum.apis[i].calls));
    return worst;
}

/* What trips it now. While it comes back, as few bad results as probes are enough. */
static enum breaker_reason judge_view(const struct breaker *b, const struct breaker_policy *p,
                                      int view)
{
    const struct breaker_limit *reach = &p->limits[BREAKER_REACHABLE];
    const struct breaker_limit *serve = &p->limits[BREAKER_AVAILABLE];
    const struct breaker_limit *in_time = &p->limits[BREAKER_IN_TIME];
    const struct breaker_run *run = &b->runs[view];
    const uint32_t *bad = b->sum.views[view].missed, all = b->sum.views[view].calls;
    bool wary = b->state == BREAKER_RECOVERING;
    uint32_t calls = wary && p->probes < p->calls ? p->probes : p->calls;
    uint32_t row = wary && p->probes < serve->in_a_row ? p->probes : serve->in_a_row;
    uint32_t lost = wary && p->probes < reach->in_a_row ? p->probes : reach->in_a_row;

    if (in_a_row(run->missed[BREAKER_REACHABLE], lost) ||
        too_many(bad[BREAKER_REACHABLE], all, reach->percent, calls))
        return BREAKER_UNREACHABLE;
    if (in_a_row(run->missed[BREAKER_AVAILABLE], row))
        return BREAKER_FAILURES;
    if (in_a_row(run->bad_answers, row))
        return BREAKER_BAD_ANSWERS;
    if (too_many(bad[BREAKER_AVAILABLE], all, serve->percent, calls))
        return BREAKER_ERRORS;
    if (in_a_row(run->missed[BREAKER_IN_TIME], in_time->in_a_row) ||
        too_many(bad[BREAKER_IN_TIME], all, in_time->percent, calls))
        return BREAKER_SLOW;
    return BREAKER_FINE;
}

static enum breaker_reason judge(const struct breaker *b, const struct breaker_policy *p)
{
    enum breaker_reason all = judge_view(b, p, BREAKER_ALL);

    return all != BREAKER_FINE ? all : judge_view(b, p, BREAKER_PAY);
}

/* ------------------------------------------------------------------ states */

static void enter(struct breaker *b, enum breaker_state state, int64_t now, int64_t stay_ms)
{
    b->state = (uint8_t)state;
    b->changed_ms = now;
    b->until_ms = now + stay_ms;
}

static void give_places(struct breaker *b, const struct breaker_policy *p)
{
    b->offers = b->places = p->probes;
}

static void begin_probing(struct breaker *b, const struct breaker_policy *p, int64_t now)
{
    enter(b, BREAKER_PROBING, now, p->wait_ms);
    clear_window(b, now);
    b->since_ms = now;
    b->good = 0;
    give_places(b, p);
}

static void close_breaker(struct breaker *b, int64_t now)
{
    enter(b, BREAKER_CLOSED, now, 0);
    b->reason = BREAKER_FINE;
    b->opened = 0;
}

/* The level that is left for this reason, at best: a few bad results need not show in a share. */
static enum breaker_level level_left(enum breaker_reason reason)
{
    if (reason == BREAKER_UNREACHABLE)
        return BREAKER_OUT;
    return reason == BREAKER_SLOW ? BREAKER_AVAILABLE : BREAKER_REACHABLE;
}

void breaker_open(struct breaker *b, const struct breaker_policy *p, int64_t now_ms,
                  enum breaker_reason reason)
{
    int64_t now = take_time(b, now_ms);
    uint32_t doublings = b->opened < WAIT_DOUBLINGS ? b->opened : WAIT_DOUBLINGS;

    /* a failed probe tells less about why than the first opening did */
    if (reason != BREAKER_PROBE) {
        enum breaker_level left = level_left(reason), level = breaker_level(b, p);

        b->pay_only = judge_view(b, p, BREAKER_ALL) == BREAKER_FINE &&
                      judge_view(b, p, BREAKER_PAY) != BREAKER_FINE;
        b->level = (uint8_t)(level < left ? level : left);
        b->reason = (uint8_t)reason;
    }
    b->opened++;
    b->kept = false;
    enter(b, BREAKER_OPEN, now, p->wait_ms << doublings);
}

void breaker_keep(struct breaker *b, enum breaker_reason reason)
{
    b->kept = true;
    b->reason = (uint8_t)reason;
}

void breaker_tick(struct breaker *b, const struct breaker_policy *p, int64_t now_ms)
{
    int64_t now = advance(b, p, now_ms);

    if (b->state == BREAKER_CLOSED || now < b->until_ms)
        return;
    if (b->state == BREAKER_OPEN) {
        begin_probing(b, p, now);
    } else if (b->state == BREAKER_PROBING) {
        /* results that never came: others may try */
        give_places(b, p);
        b->until_ms = now + p->wait_ms;
    } else if (b->step + 1u < STEPS) {
        b->step++;
        b->until_ms = now + p->step_ms;
    } else {
        close_breaker(b, now);
    }
}

void breaker_reset(struct breaker *b)
{
    int64_t now = b->now_ms;

    memset(b, 0, sizeof(*b));
    b->now_ms = b->bucket_ms = b->changed_ms = b->since_ms = now;
}

/* ------------------------------------------------------------------ results */

static enum breaker_reason decide(struct breaker *b, const struct breaker_policy *p)
{
    enum breaker_reason reason;

    if (b->state == BREAKER_OPEN || b->state == BREAKER_PROBING)
        return BREAKER_FINE;
    reason = judge(b, p);
    if (reason == BREAKER_FINE && b->kept) {
        b->kept = false;
        b->reason = BREAKER_FINE;
    }
    return reason;
}

/* One bad result sends it back, enough good ones in a row let it recover. */
static enum breaker_reason probed(struct breaker *b, const struct breaker_policy *p, int64_t now,
                                  uint32_t good, bool bad)
{
    if (bad)
        return BREAKER_PROBE;
    b->good += good;
    if (b->good >= p->probes) {
        b->step = 0;
        enter(b, BREAKER_RECOVERING, now, p->step_ms);
    }
    return BREAKER_FINE;
}

static void miss(struct breaker *b, struct breaker_counts *c, int view, enum breaker_level level,
                 bool is)
{
    uint32_t *run = &b->runs[view].missed[level];

    *run = is ? *run + 1 : 0;
    c->views[view].missed[level] += is;
    b->sum.views[view].missed[level] += is;
}

static void count_view(struct breaker *b, int view, const struct breaker_call *call, bool slow)
{
    struct breaker_counts *c = &b->buckets[b->bucket];

    c->views[view].calls++;
    b->sum.views[view].calls++;
    miss(b, c, view, BREAKER_REACHABLE, !call->connected);
    miss(b, c, view, BREAKER_AVAILABLE, !call->served);
    miss(b, c, view, BREAKER_IN_TIME, slow);
}

static void count(struct breaker *b, const struct breaker_policy *p, int64_t now,
                  const struct breaker_call *call, bool slow)
{
    struct breaker_counts *c = &b->buckets[b->bucket];
    uint32_t api = call->api % BREAKER_APIS;

    count_view(b, BREAKER_ALL, call, slow);
    if (call->pay)
        count_view(b, BREAKER_PAY, call, slow);
    if (p->sla_ms[api] > 0) {
        bool late = !call->served || call->took_ms > p->sla_ms[api];

        c->apis[api].calls++;
        c->apis[api].missed += late;
        b->sum.apis[api].calls++;
        b->sum.apis[api].missed += late;
    }
    if (!call->served || slow)
        b->row_ms = now;
}

enum breaker_reason breaker_call(struct breaker *b, const struct breaker_policy *p, int64_t now_ms,
                                 const struct breaker_call *call)
{
    int64_t now = advance(b, p, now_ms);
    bool slow = p->slow_ms > 0 && call->took_ms > p->slow_ms;

    breaker_tick(b, p, now);
    if (b->state != BREAKER_OPEN && now - call->took_ms < b->since_ms)
        return BREAKER_FINE; /* sent before it was probed */
    count(b, p, now, call, slow);
    if (b->state != BREAKER_PROBING)
        return decide(b, p);
    return probed(b, p, now, call->pay || !b->pay_only,
                  !call->served || (slow && p->limits[BREAKER_IN_TIME].percent));
}

enum breaker_reason breaker_outcomes(struct breaker *b, const struct breaker_policy *p,
                                     int64_t now_ms, const struct breaker_answers *answers)
{
    struct breaker_counts *c;
    int64_t now = advance(b, p, now_ms);

    breaker_tick(b, p, now);
    c = &b->buckets[b->bucket];
    for (size_t v = 0; v < BREAKER_VIEWS; v++) {
        uint32_t good = answers->good[v], bad = answers->bad[v];
        uint32_t *run = &b->runs[v].bad_answers;

        /* their calls were counted as served when they ended */
        c->views[v].missed[BREAKER_AVAILABLE] += bad;
        b->sum.views[v].missed[BREAKER_AVAILABLE] += bad;
        *run = good ? 0 : *run + bad;
    }
    if (answers->bad[BREAKER_ALL])
        b->row_ms = now;
    if (b->state != BREAKER_PROBING)
        return decide(b, p);
    return answers->bad[BREAKER_ALL] ? BREAKER_PROBE : BREAKER_FINE;
}

/* ------------------------------------------------------------------ payments */

uint32_t breaker_share(const struct breaker *b)
{
    if (b->state == BREAKER_RECOVERING)
        return steps[b->step];
    return b->state == BREAKER_CLOSED ? 100u : 0u;
}

static bool take_one(uint32_t *left)
{
    if (*left == 0)
        return false;
    (*left)--;
    return true;
}

bool breaker_offer(struct breaker *b)
{
    return b->state == BREAKER_PROBING && take_one(&b->offers);
}

bool breaker_admit(struct breaker *b)
{
    if (b->state == BREAKER_PROBING)
        return take_one(&b->places);
    return b->state != BREAKER_OPEN;
}
