#include "reroute.h"

#include "accounts.h"

/* The next candidate that serves the order; *name is empty behind the last. */
static const struct channel *next_usable(struct flow *f, struct slice *name, struct slice *account)
{
    const struct payment *p = &f->payment;
    enum call_kind first = payment_is_charge(p) ? CALL_CHARGE : CALL_PREPARE;

    while (f->candidates.n) {
        const struct channel *c;

        *name = slice_trim(slice_cut(&f->candidates, ','));
        c = channel_find(f->w->channels, *name);
        if (c && channel_has(c, first, p->method) &&
            accounts_choose(f->w->accounts, *name, p->mchid, account)) {
            *account = arena_copy(&f->arena, *account);
            return c;
        }
    }
    *name = SLICE_NULL;
    return NULL;
}

int reroute_first(struct flow *f, struct slice candidates)
{
    struct payment *p = &f->payment;

    f->candidates = arena_copy(&f->arena, candidates);
    return next_usable(f, &p->channel, &p->account) ? 0 : -1;
}

static bool same_wallets(const struct channel *a, const struct channel *b)
{
    uint32_t wallets = a ? channel_facts(a)->wallets : 0;

    return wallets && wallets == channel_facts(b)->wallets;
}

void reroute_offer(struct flow *f, struct payment_event *e)
{
    const struct payment *p = &f->payment;
    pay_time_t now = worker_now(f->w);
    const struct channel *c;
    struct slice name, account;

    if (e->sent != SENT_ANSWERED || e->cls != CLASS_REFUSED || f->of_refund ||
        (e->call != CALL_PREPARE && e->call != CALL_CHARGE) || p->method == METHOD_JSAPI ||
        p->method == METHOD_APP || now >= p->time_expire ||
        now >= p->created_at + f->w->options->answer_within_us ||
        (payment_is_charge(p) && !f->auth_code.n))
        return;
    while ((c = next_usable(f, &name, &account))) {
        if (!same_wallets(channel_find(f->w->channels, p->channel), c))
            continue;
        e->next_channel = name;
        e->next_account = account;
        return;
    }
}
