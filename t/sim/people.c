/*
 * The merchant, who repeats what was not answered, closes, refunds, and is called back; and whoever
 * asks for a query.
 */
#include "sim.h"

static const struct slice refund_nos[WISHES_MAX] = {SLICE("W0"), SLICE("W1"), SLICE("W2"),
                                                    SLICE("W3"), SLICE("W4"), SLICE("W5"),
                                                    SLICE("W6"), SLICE("W7")};

void people_start(struct world *w)
{
    int64_t life = w->order.time_expire - T0;

    later(w, 0, EVENT_create, 0, 0, 0);
    if (chance(w, SITE_creates_twice))
        later(w, (int64_t)pick(w, SITE_creates_twice, (uint64_t)SEC), EVENT_create, 0, 0, 0);
    for (int i = 0; i < 3 && chance(w, SITE_closes); i++)
        later(w,
              (int64_t)pick(w, SITE_closes, (uint64_t)(life / (pick(w, SITE_closes, 2) ? 8 : 1))),
              EVENT_close, 0, 0, 0);
    for (int i = 0; i < 3 && chance(w, SITE_asks); i++) {
        int64_t at = (int64_t)pick(w, SITE_asks, (uint64_t)life);
        unsigned n = chance(w, SITE_asks_at_once) ? 6 : 1;

        while (n--)
            later(w, at + (int64_t)n * MS, EVENT_ask, 0, 0, 0);
    }
    if (chance(w, SITE_clock_jumps))
        later(w, (int64_t)pick(w, SITE_clock_jumps, (uint64_t)(2 * life)), EVENT_jump, 0, 0, 0);
    if (chance(w, SITE_refunds_early)) {
        w->merchant.wishes[0] = (struct wish){.amount = 1, .total = -1, .tries = 3};
        w->merchant.nwishes = 1;
        later(w, (int64_t)pick(w, SITE_refunds_early, (uint64_t)life), EVENT_refund, 0, 0, 0);
    }
}

static struct flow *request(struct world *w, enum origin from, int which,
                            enum payment_event_kind kind)
{
    unsigned process = worker_any(w);
    struct flow *f;

    if (process == PROCESSES)
        return NULL;
    f = flow_start(w, process, from, which);
    if (f)
        f->e = (struct payment_event){.kind = kind, .amount = -1};
    return f;
}

static void go(struct world *w, struct flow *f)
{
    later(w, 1 * MS, EVENT_load, (unsigned)(f - w->flows), 0, f->gen);
}

void merchant_creates(struct world *w)
{
    struct flow *f;

    if (process_now(w, 0) >= w->order.time_expire - SEC) /* payd takes no order that has expired */
        return;
    f = request(w, FROM_CREATE, -1, PAYMENT_EVENT_CREATE);
    if (!f) {
        later(w, SEC, EVENT_create, 0, 0, 0);
        return;
    }
    w->merchant.creates++;
    f->p = w->order;
    f->p.id = w->next_id++;
    f->p.created_at = process_now(w, f->process);
    f->candidates = (unsigned)pick(w, SITE_world, 3);
    flow_decide(w, f);
}

void merchant_closes(struct world *w)
{
    struct flow *f = request(w, FROM_CLOSE, -1, PAYMENT_EVENT_CLOSE);

    if (f)
        go(w, f);
}

void operator_asks(struct world *w)
{
    struct flow *f = request(w, FROM_ASK, -1, PAYMENT_EVENT_OPERATOR_QUERY);

    if (f)
        go(w, f);
}

void merchant_refunds(struct world *w, unsigned which)
{
    struct wish *x = &w->merchant.wishes[which];
    struct flow *f = request(w, FROM_REFUND, (int)which, PAYMENT_EVENT_REFUND);

    if (!f) {
        later(w, SEC, EVENT_refund, which, 0, 0);
        return;
    }
    x->tries++;
    f->of_refund = true;
    f->e.amount = x->total;
    f->r = (struct refund){.out_refund_no = refund_nos[which], .amount = x->amount};
    go(w, f);
}

/* Who knows that it is paid may want some of it back. */
static void plan_refunds(struct world *w)
{
    struct merchant *m = &w->merchant;
    int64_t amount = w->order.amount;

    while (m->nwishes < WISHES_MAX && chance(w, SITE_refunds)) {
        struct wish *x = &m->wishes[m->nwishes];
        /* many at once, or over time */
        int64_t in = pick(w, SITE_refunds, 2) ? 5 * MS : (int64_t)pick(w, SITE_refunds, 5400) * SEC;

        *x = (struct wish){.amount = 1 + (int64_t)pick(w, SITE_refunds, (uint64_t)amount),
                           .total = pick(w, SITE_refunds, 2) ? amount : -1};
        if (chance(w, SITE_refunds_too_much))
            x->amount = amount - x->amount + 2;
        if (chance(w, SITE_refunds_wrong_total))
            x->total = amount + 1;
        later(w, in + 1, EVENT_refund, m->nwishes, 0, 0);
        if (chance(w, SITE_refunds_again))
            later(w, in + 1 + (int64_t)pick(w, SITE_refunds_again, (uint64_t)(2 * SEC)),
                  EVENT_refund, m->nwishes, 0, 0);
        m->nwishes++;
    }
}

void merchant_called(struct world *w, unsigned callback)
{
    struct callback_row *c = &w->rows.callbacks[callback];
    int now = c->subject < 0 ? (int)w->rows.p.state : (int)w->rows.refunds[c->subject].r.state;

    c->tries++;
    if (chance(w, SITE_callback_lost)) {
        later(w, (5 * SEC) << (c->tries < 8 ? c->tries : 8), EVENT_callback, callback, 0, 0);
        return;
    }
    if (c->state != now)
        broken(w, "merchants are told what stays true", "told %d, is %d", c->state, now);
    SAY(w, "merchant hears of %s: %s", c->subject < 0 ? "the payment" : "a refund",
        c->subject < 0 ? payment_state_name((enum payment_state)c->state)
                       : refund_state_name((enum refund_state)c->state));
    if (!c->told && c->subject < 0 && c->state == PAYMENT_SUCCEEDED)
        plan_refunds(w);
    c->told = true;
}

/* ---- answers ---- */

static void hears_of_create(struct world *w, const struct flow *f, enum flow_end end)
{
    struct merchant *m = &w->merchant;
    int64_t id;

    if (end != END_SETTLED && end != END_EXISTS) {
        /* with the number of a request that got no answer, until one comes */
        if (!m->acked_id && m->creates < 12)
            later(w, 2 * SEC + (int64_t)pick(w, SITE_world, (uint64_t)(20 * SEC)), EVENT_create, 0,
                  0, 0);
        return;
    }
    id = end == END_EXISTS ? w->rows.p.id : f->p.id;
    if (!w->rows.exists || w->rows.p.id != id || w->rows.p.amount != w->order.amount)
        broken(w, "an acknowledged order exists", "order %lld", (long long)id);
    if (m->acked_id && m->acked_id != id)
        broken(w, "a repeated request gives the same order", "%lld, before %lld", (long long)id,
               (long long)m->acked_id);
    m->acked_id = id;
}

static void hears_of_refund(struct world *w, const struct flow *f, enum flow_end end)
{
    struct wish *x = &w->merchant.wishes[f->which];

    if (end == END_SETTLED || end == END_EXISTS) {
        int64_t id = f->r.id;

        if (rows_refund_by_id(w, id) < 0)
            broken(w, "an acknowledged refund exists", "refund %lld", (long long)id);
        if (x->id && x->id != id)
            broken(w, "a repeated request gives the same refund", "%lld, before %lld",
                   (long long)id, (long long)x->id);
        x->id = id;
    }
    x->heard = x->heard || end == END_SETTLED || end == END_EXISTS || end == END_REFUSED;
    if (!x->heard && x->tries < 6)
        later(w, SEC + (int64_t)pick(w, SITE_world, (uint64_t)(30 * SEC)), EVENT_refund,
              (unsigned)f->which, 0, 0);
}

void merchant_hears(struct world *w, struct flow *f, enum flow_end end)
{
    switch (f->origin) {
    case FROM_CREATE:
        hears_of_create(w, f, end);
        return;
    case FROM_REFUND:
        hears_of_refund(w, f, end);
        return;
    case FROM_CLOSE:
        if (end == END_SETTLED && w->rows.exists)
            w->merchant.close_taken = true;
        return;
    default:
        return;
    }
}
