/*
 * The channel, with books of its own. It is honest unless a choice of the group LIE says otherwise,
 * but refuses, fails, is slow, says nothing of use, and tells of things late and twice. Its books
 * are the truth that check.c compares ours with.
 */
#include "sim.h"

#define PAYMENTS_MAX 4
static const struct slice trade_nos[COMMANDS_MAX][PAYMENTS_MAX] = {
    {SLICE("X")},
    {SLICE("B1"), SLICE("B2"), SLICE("B3"), SLICE("B4")},
    {SLICE("C1"), SLICE("C2"), SLICE("C3"), SLICE("C4")},
    {SLICE("D1"), SLICE("D2"), SLICE("D3"), SLICE("D4")}};

static struct payment_event said(enum answer_class cls)
{
    return (struct payment_event){.cls = cls, .code = SLICE("CODE"), .amount = -1};
}

/* ---- telling ---- */

static struct slice currency(const struct world *w)
{
    return w->bank.names_currency ? w->order.currency : SLICE_NULL;
}

/* Who is lied to, or paid after a jump, must hear of it in the end: else only a bill tells. */
static bool must_hear(const struct world *w)
{
    return w->profile->level[GROUP_LIE] || w->profile->level[GROUP_CLOCK];
}

static void tell(struct world *w, const struct notice *n)
{
    struct bank *b = &w->bank;

    if (b->nnotices == NOTICES_MAX) {
        broken(w, "bounded", "more than %d notices", NOTICES_MAX);
        return;
    }
    b->notices[b->nnotices] = *n;
    /* who is lied to, or paid late after a jump, must hear of it in the end; else only a bill tells
     */
    b->notices[b->nnotices].never = !w->profile->level[GROUP_LIE] &&
                                    !w->profile->level[GROUP_CLOCK] && chance(w, SITE_notice_never);
    later(w, slow(w, SITE_notice_slow, 50 * MS, 600 * SEC), EVENT_notice, b->nnotices, 0, 0);
    if (chance(w, SITE_notice_twice))
        later(w, slow(w, SITE_notice_slow, 50 * MS, 600 * SEC), EVENT_notice, b->nnotices, 0, 0);
    b->nnotices++;
}

static bool lie_of_amount(struct world *w, struct payment_event *e)
{
    if (!chance(w, SITE_wrong_amount))
        return false;
    w->lied = true;
    if (e->currency.n && pick(w, SITE_wrong_amount, 3) == 0)
        e->currency = SLICE("USD");
    else
        e->amount = (e->amount < 0 ? w->order.amount : e->amount) + 1;
    return true;
}

void bank_notice(struct world *w, unsigned which)
{
    struct notice *n = &w->bank.notices[which];
    unsigned process = worker_any(w);
    struct flow *f;

    if (n->acked && n->tries > 1)
        return;
    n->tries++;
    if (process == PROCESSES || n->never || chance(w, SITE_notice_lost)) {
        bank_told(w, which, false);
        return;
    }
    f = flow_start(w, process, FROM_NOTICE, (int)which);
    if (!f)
        return;
    f->of_refund = n->refund >= 0;
    if (f->of_refund)
        f->r.id = w->rows.refunds[n->refund].r.id;
    f->e = said(n->cls);
    f->e.kind = PAYMENT_EVENT_NOTIFY;
    f->e.seq = f->of_refund ? 0 : n->command_seq;
    f->e.channel_trade_no = n->trade_no;
    f->e.amount = n->amount;
    f->e.currency = currency(w);
    f->e.paid_at = n->cls == CLASS_SUCCESS ? T0 + w->t : 0;
    if (n->cls == CLASS_SUCCESS)
        lie_of_amount(w, &f->e);
    SAY(w, "bank    notifies of %s: %s %lld", n->refund >= 0 ? "a refund" : "the order",
        answer_class_name(n->cls), (long long)f->e.amount);
    later(w, 1 * MS, EVENT_load, (unsigned)(f - w->flows), 0, f->gen);
}

/* Said again until it is acknowledged, ever more seldom. */
void bank_told(struct world *w, unsigned which, bool taken)
{
    struct notice *n = &w->bank.notices[which];

    if (taken)
        n->acked = true;
    else if (!n->acked && (n->tries < 12 || must_hear(w)))
        later(w, (15 * SEC) << (n->tries < 5 ? n->tries : 5), EVENT_notice, which, 0, 0);
}

/* ---- orders ---- */

void bank_pay(struct world *w, uint32_t seq, bool again)
{
    struct bank_order *o = &w->bank.orders[seq];
    int64_t amount;

    if (o->state == BANK_NONE && w->policy.prepare_local && T0 + w->t < w->order.time_expire) {
        o->state = BANK_OPEN;
        o->amount = w->order.amount;
    }
    amount = o->amount;
    if (o->state != BANK_OPEN && !(again && o->state == BANK_PAID))
        return;
    if (o->payments == PAYMENTS_MAX)
        return;
    if (chance(w, SITE_paid_odd)) {
        amount++;
        w->odd = true;
    }
    o->state = BANK_PAID;
    o->took += amount;
    SAY(w, "bank    takes %lld as %.*s", (long long)amount, SLICE_FMT(trade_nos[seq][o->payments]));
    tell(w, &(struct notice){.cls = CLASS_SUCCESS,
                             .refund = -1,
                             .command_seq = seq,
                             .amount = amount,
                             .trade_no = trade_nos[seq][o->payments]});
    o->payments++;
    if (chance(w, SITE_paid_twice)) {
        w->odd = true;
        later(w, slow(w, SITE_paid_twice, 5 * SEC, 0), EVENT_pay, seq, 1, 0);
    }
}

static void end_order(struct world *w, uint32_t seq, enum bank_state state)
{
    w->bank.orders[seq].state = state;
    SAY(w, "bank    order %u is %s", seq, state == BANK_CLOSED ? "closed" : "dead");
    if (chance(w, SITE_tells_close))
        tell(w, &(struct notice){.cls = state == BANK_CLOSED ? CLASS_CLOSED : CLASS_FAILED,
                                 .refund = -1,
                                 .command_seq = seq,
                                 .amount = -1});
}

void bank_expire(struct world *w, uint32_t seq)
{
    if (w->bank.orders[seq].state == BANK_OPEN)
        end_order(w, seq, BANK_CLOSED);
}

/* A charge whose payer types a password, or lets it be. */
static void plan_password(struct world *w, uint32_t seq)
{
    if (chance(w, SITE_pays))
        later(w, SEC + (int64_t)pick(w, SITE_pays, (uint64_t)(45 * SEC)), EVENT_pay, seq, 0, 0);
    if (w->bank.expires)
        later(w, (int64_t)(20 + pick(w, SITE_world, 100)) * SEC, EVENT_expire, seq, 0, 0);
}

static void plan_payer(struct world *w, uint32_t seq)
{
    int64_t left = w->order.time_expire - T0 - w->t;
    int64_t in = left > SEC ? 100 * MS + (int64_t)pick(w, SITE_pays, (uint64_t)left) : SEC;

    if (chance(w, SITE_pays)) {
        if (pick(w, SITE_pays, 2)) /* at once, as most do */
            in = 100 * MS + in % (10 * SEC);
        if (chance(w, SITE_pays_at_the_end))
            in = left + (int64_t)pick(w, SITE_pays_at_the_end, (uint64_t)(8 * SEC)) - 4 * SEC;
        later(w, in > 0 ? in : 1, EVENT_pay, seq, 0, 0);
    }
    if (w->bank.expires)
        later(w, (left > 0 ? left : 0) + 10 * SEC, EVENT_expire, seq, 0, 0);
}

void bank_expects(struct world *w, uint32_t seq)
{
    if (w->bank.orders[seq].state == BANK_NONE)
        plan_payer(w, seq);
}

static struct payment_event prepare(struct world *w, const struct attempt_row *a)
{
    struct bank_order *o = &w->bank.orders[a->command_seq % COMMANDS_MAX];
    struct payment_event e = said(CLASS_ACCEPTED);

    e.code_url = SLICE("weixin://code");
    if (o->state == BANK_PAID)
        return said(CLASS_DUPLICATE);
    if (o->state == BANK_CLOSED || o->state == BANK_DEAD)
        return said(CLASS_CLOSED);
    if (chance(w, SITE_bank_refuses))
        return said(pick(w, SITE_bank_refuses, 2) ? CLASS_REFUSED : CLASS_FAILED);
    if (o->state == BANK_OPEN)
        return w->bank.duplicates ? said(CLASS_DUPLICATE) : e;
    o->state = BANK_OPEN;
    o->amount = w->order.amount;
    SAY(w, "bank    opens order %u", a->command_seq);
    plan_payer(w, a->command_seq % COMMANDS_MAX);
    return e;
}

static struct payment_event paid(struct world *w, uint32_t seq)
{
    const struct bank_order *o = &w->bank.orders[seq];
    struct payment_event e = said(CLASS_SUCCESS);

    e.channel_trade_no = trade_nos[seq][0];
    e.amount = o->payments > 1 ? o->amount : o->took;
    e.currency = currency(w);
    e.paid_at = T0 + w->t;
    lie_of_amount(w, &e);
    return e;
}

/* Takes the money at once, or asks the payer; a second one of a number is refused as such. */
static struct payment_event charge(struct world *w, const struct attempt_row *a)
{
    uint32_t seq = a->command_seq % COMMANDS_MAX;
    struct bank_order *o = &w->bank.orders[seq];

    if (o->state == BANK_CLOSED || o->state == BANK_REVERSED)
        return said(CLASS_CLOSED);
    if (o->state != BANK_NONE)
        return said(CLASS_DUPLICATE);
    if (chance(w, SITE_bank_refuses)) {
        if (pick(w, SITE_bank_refuses, 2))
            return said(CLASS_REFUSED);
        end_order(w, seq, BANK_DEAD);
        return said(CLASS_FAILED);
    }
    o->state = BANK_OPEN;
    o->amount = w->order.amount;
    if (chance(w, SITE_asks_password)) {
        plan_password(w, seq);
        return said(pick(w, SITE_world, 2) ? CLASS_USER_PAYING : CLASS_ACCEPTED);
    }
    bank_pay(w, seq, false);
    return paid(w, seq);
}

static struct payment_event query(struct world *w, const struct attempt_row *a)
{
    uint32_t seq = a->command_seq % COMMANDS_MAX;
    struct bank_order *o = &w->bank.orders[seq];

    switch (o->state) {
    case BANK_NONE:
        return said(CLASS_NOT_FOUND);
    case BANK_OPEN:
        if (chance(w, SITE_bank_gives_up)) {
            end_order(w, seq, BANK_DEAD);
            return said(CLASS_FAILED);
        }
        return said(pick(w, SITE_world, 2) ? CLASS_ACCEPTED : CLASS_USER_PAYING);
    case BANK_CLOSED:
    case BANK_REVERSED:
        return said(CLASS_CLOSED);
    case BANK_DEAD:
        return said(CLASS_FAILED);
    case BANK_PAID:
        break;
    }
    return paid(w, seq);
}

/* Gives back what was taken, all of it; what nobody will pay any more is closed. */
static struct payment_event reverse(struct world *w, const struct attempt_row *a)
{
    uint32_t seq = a->command_seq % COMMANDS_MAX;
    struct bank_order *o = &w->bank.orders[seq];

    if (o->state == BANK_NONE)
        return said(w->bank.closes_unseen ? CLASS_SUCCESS : CLASS_NOT_FOUND);
    if (w->reverse_window && T0 + w->t >= w->rows.p.created_at + w->reverse_window + SEC)
        o->irreversible = true;
    if (o->state == BANK_PAID && (o->irreversible || chance(w, SITE_reverses_no_more))) {
        o->irreversible = true;
        return said(pick(w, SITE_world, 2) ? CLASS_FAILED : CLASS_REFUSED);
    }
    if (o->state == BANK_PAID || o->state == BANK_OPEN) {
        o->state = BANK_REVERSED;
        o->returned = o->took;
        SAY(w, "bank    reverses order %u, gives back %lld", seq, (long long)o->took);
    }
    return said(pick(w, SITE_world, 2) ? CLASS_SUCCESS : CLASS_CLOSED);
}

static struct payment_event close_order(struct world *w, const struct attempt_row *a)
{
    uint32_t seq = a->command_seq % COMMANDS_MAX;
    struct bank_order *o = &w->bank.orders[seq];

    switch (o->state) {
    case BANK_NONE:
        return said(w->bank.closes_unseen ? CLASS_SUCCESS : CLASS_NOT_FOUND);
    case BANK_PAID:
        return said(CLASS_DUPLICATE);
    case BANK_OPEN:
        end_order(w, seq, BANK_CLOSED);
        return said(CLASS_SUCCESS);
    default:
        return said(pick(w, SITE_world, 2) ? CLASS_SUCCESS : CLASS_CLOSED);
    }
}

/* ---- refunds ---- */

/* Money that left, or will: whatever is neither failed nor unknown there. */
static int64_t refunded(const struct world *w, uint32_t seq)
{
    int64_t sum = 0;

    for (unsigned i = 0; i < REFUNDS_MAX; i++)
        if (w->bank.refunds[i].command_seq == seq &&
            (w->bank.refunds[i].state == BANK_REFUND_RUNS ||
             w->bank.refunds[i].state == BANK_REFUND_DONE))
            sum += w->bank.refunds[i].amount;
    return sum;
}

void bank_refund_ends(struct world *w, unsigned refund, bool fails)
{
    struct bank_refund *r = &w->bank.refunds[refund];

    if (r->state != BANK_REFUND_RUNS)
        return;
    r->state = fails ? BANK_REFUND_FAILED : BANK_REFUND_DONE;
    SAY(w, "bank    refund %u %s", refund, fails ? "fails" : "is done");
    tell(w, &(struct notice){.cls = fails ? CLASS_FAILED : CLASS_SUCCESS,
                             .refund = (int)refund,
                             .amount = w->bank.names_refund_amount ? r->amount : -1,
                             .trade_no = SLICE("R1")});
}

static struct payment_event refund_as_it_is(struct world *w, const struct bank_refund *r)
{
    struct payment_event e;

    switch (r->state) {
    case BANK_REFUND_NONE:
        return said(CLASS_NOT_FOUND);
    case BANK_REFUND_RUNS:
        return said(CLASS_ACCEPTED);
    case BANK_REFUND_FAILED:
        return said(CLASS_FAILED);
    case BANK_REFUND_DONE:
        break;
    }
    e = said(CLASS_SUCCESS);
    e.channel_trade_no = SLICE("R1");
    e.amount = w->bank.names_refund_amount ? r->amount : -1;
    e.currency = currency(w);
    return e;
}

static struct payment_event refund(struct world *w, const struct attempt_row *a)
{
    struct bank_refund *r = &w->bank.refunds[a->refund];
    uint32_t seq = a->command_seq % COMMANDS_MAX;
    const struct bank_order *o = &w->bank.orders[seq];
    int64_t amount = w->rows.refunds[a->refund].r.amount;

    if (r->state != BANK_REFUND_NONE)
        return w->bank.duplicates ? said(CLASS_DUPLICATE) : refund_as_it_is(w, r);
    if (o->state != BANK_PAID)
        return said(CLASS_REFUSED);
    if (refunded(w, seq) + amount > o->took) {
        if (honest(w) && !w->odd)
            broken(w, "refunds never exceed what was paid", "%lld more than %lld",
                   (long long)(refunded(w, seq) + amount), (long long)o->took);
        return said(CLASS_REFUSED);
    }
    if (chance(w, SITE_bank_refuses))
        return said(pick(w, SITE_bank_refuses, 2) ? CLASS_REFUSED : CLASS_FAILED);
    r->amount = amount;
    r->command_seq = seq;
    r->state = BANK_REFUND_RUNS;
    SAY(w, "bank    accepts refund %d of %lld", a->refund, (long long)amount);
    if (chance(w, SITE_refund_slow) || chance(w, SITE_refund_fails)) {
        int64_t in = SEC + (int64_t)pick(w, SITE_refund_slow, (uint64_t)(900 * SEC));

        later(w, in, EVENT_refund_done, (unsigned)a->refund, chance(w, SITE_refund_fails), 0);
    } else {
        bank_refund_ends(w, (unsigned)a->refund, false);
    }
    return refund_as_it_is(w, r);
}

static struct payment_event refund_query(struct world *w, const struct attempt_row *a)
{
    struct payment_event e = refund_as_it_is(w, &w->bank.refunds[a->refund]);

    if (e.cls == CLASS_SUCCESS)
        lie_of_amount(w, &e);
    return e;
}

/* ---- calls ---- */

typedef struct payment_event bank_call(struct world *w, const struct attempt_row *a);
static bank_call *const calls[CALL_KIND_COUNT] = {
    [CALL_PREPARE] = prepare,          [CALL_QUERY] = query,
    [CALL_CLOSE] = close_order,        [CALL_CHARGE] = charge,
    [CALL_REVERSE] = reverse,          [CALL_REFUND] = refund,
    [CALL_REFUND_QUERY] = refund_query};

/* Never a success that was none: nobody could find that out without the bank's bill. */
static enum answer_class lie(struct world *w, enum call_kind kind, enum answer_class truth)
{
    static const enum answer_class lies[] = {CLASS_UNKNOWN,   CLASS_ACCEPTED,     CLASS_FAILED,
                                             CLASS_REFUSED,   CLASS_CLOSED,       CLASS_NOT_FOUND,
                                             CLASS_DUPLICATE, CLASS_TOO_FREQUENT, CLASS_SUCCESS};
    unsigned n = sizeof(lies) / sizeof(lies[0]) - (kind != CALL_CLOSE);
    enum answer_class l;

    if ((kind == CALL_PREPARE || kind == CALL_CHARGE) && chance(w, SITE_refuses_falsely)) {
        w->lied = true;
        return CLASS_REFUSED;
    }
    if (!chance(w, SITE_lies))
        return truth;
    l = lies[pick(w, SITE_lies, n)];
    /* "closed" of a charge says that it was reversed */
    if (l == CLASS_CLOSED && w->order.method == METHOD_BARCODE && kind != CALL_CHARGE)
        return truth;
    w->lied = true;
    return l;
}

static struct payment_event handle(struct world *w, const struct attempt_row *a)
{
    struct payment_event e;

    if ((unsigned)a->kind >= CALL_KIND_COUNT || !calls[a->kind]) {
        broken(w, "only known calls", "%s", call_kind_name(a->kind));
        return said(CLASS_UNKNOWN);
    }
    if (chance(w, SITE_bank_too_frequent))
        return said(CLASS_TOO_FREQUENT);
    if (chance(w, SITE_bank_error_undone))
        return said(CLASS_UNKNOWN);
    e = calls[a->kind](w, a);
    if (chance(w, SITE_bank_error_done))
        return said(CLASS_UNKNOWN);
    e.cls = lie(w, a->kind, e.cls);
    return e;
}

void bank_arrive(struct world *w, uint32_t attempt, unsigned flow, uint32_t gen)
{
    struct attempt_row *a = &w->rows.attempts[attempt];
    struct flow *f = &w->flows[flow];
    struct payment_event e;

    a->fate = FATE_ARRIVED;
    e = handle(w, a);
    SAY(w, "bank    is asked %s, says %s", call_kind_name(a->kind), answer_class_name(e.cls));
    if (!f->used || f->gen != gen || f->waits_for != attempt)
        return;
    if (chance(w, SITE_answer_lost)) {
        const struct payment_event nothing = {.cls = CLASS_UNKNOWN, .amount = -1};

        flow_answered(w, f, EGRESS_WAIT, SENT_MAYBE, &nothing);
        return;
    }
    flow_answered(w, f, slow(w, SITE_answer_slow, 20 * MS, 30 * SEC), SENT_ANSWERED, &e);
}
