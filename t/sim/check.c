/*
 * What must hold: of every commit (check_step), after every step (check_rows), of what a merchant
 * is refused (check_refusal). All of it is written again from the rules (DESIGN.md section 8,
 * R2.*), not taken from the code under test; the truth is the bank's books and what became of each
 * send.
 */
#include "check.h"

const struct bank_order *check_order(const struct world *w)
{
    return &w->bank.orders[w->rows.p.command_seq % COMMANDS_MAX];
}

bool check_is_charge(const struct world *w)
{
    return w->order.method == METHOD_BARCODE;
}

enum call_kind check_making(const struct world *w)
{
    return check_is_charge(w) ? CALL_CHARGE : CALL_PREPARE;
}

bool check_may_arrive(const struct world *w, enum call_kind kind, int refund)
{
    for (unsigned n = 1; n <= w->rows.nattempts; n++) {
        const struct attempt_row *a = &w->rows.attempts[n];

        if (a->kind == kind && a->refund == refund &&
            ((a->fate == FATE_WAITS && w->t <= a->deadline) || a->fate == FATE_FLIES))
            return true;
    }
    return false;
}

/* ---- the whitelist, by hand ---- */

static bool may_move(enum payment_state from, enum payment_state to)
{
    switch (from) {
    case PAYMENT_NONE:
        return to == PAYMENT_PROCESSING;
    case PAYMENT_PROCESSING:
        return to == PAYMENT_PENDING || payment_state_final(to);
    case PAYMENT_PENDING:
        return payment_state_final(to);
    default:
        return false;
    }
}

static void check_path(struct world *w, const struct payment *b)
{
    const struct payment *p = &w->rows.p;

    CHECK(p->version == b->version + 1, "versions rise by one", "%u -> %u", b->version, p->version);
    CHECK(p->state == b->state || may_move(b->state, p->state), "the path is of the whitelist",
          "%s -> %s", payment_state_name(b->state), payment_state_name(p->state));
    CHECK(p->prev_state == (p->state == b->state ? b->prev_state : b->state),
          "prev_state is where it came from", "%s", payment_state_name(p->prev_state));
    CHECK(p->amount == w->order.amount && slice_eq(p->currency, w->order.currency) &&
              p->time_expire == w->order.time_expire && (!b->version || p->id == b->id),
          "what was agreed stays", "amount %lld", (long long)p->amount);
}

/* ---- what a final state says must be so at the bank ---- */

static void check_final(struct world *w, const struct flow *f)
{
    const struct payment *p = &w->rows.p;
    const struct bank_order *o = check_order(w);
    bool dead = o->state == BANK_CLOSED || o->state == BANK_DEAD || o->state == BANK_REVERSED;

    CHECK(f->step.callback, "one callback for each final state", "%s without one",
          payment_state_name(p->state));
    CHECK(p->final_at == f->now, "final_at is when it became final", "%lld off",
          (long long)(p->final_at - f->now));
    if (p->reversal == REVERSAL_SUCCEEDED) {
        CHECK(!honest(w) || p->state != PAYMENT_SUCCEEDED || o->state == BANK_REVERSED,
              "reversed means given back", "by %s", f->step.input_name);
        CHECK((p->state == PAYMENT_SUCCEEDED) == (p->succeeded_at > 0), "reversed says what was",
              "%s", payment_state_name(p->state));
    } else if (p->state == PAYMENT_SUCCEEDED) {
        CHECK(!honest(w) || o->irreversible || !check_may_arrive(w, CALL_REVERSE, -1),
              "a succeeded order keeps its money", "a reversal may arrive, by %s",
              f->step.input_name);
        CHECK(o->took > 0, "succeeded means paid", "the bank took nothing");
        CHECK(w->odd || w->lied || o->took == p->amount, "succeeded means paid",
              "the bank took %lld", (long long)o->took);
        CHECK(p->succeeded_at && p->channel_trade_no.n, "succeeded says when and what", "by %s",
              f->step.input_name);
    }
    if (p->state == PAYMENT_SUCCEEDED)
        return;
    CHECK(p->state != PAYMENT_FAILED || f->e.kind != PAYMENT_EVENT_ANSWER ||
              f->e.call != CALL_PREPARE ||
              check_unsent(w, CALL_PREPARE, -1, p->command_seq, f->e.attempt_n),
          "a refusal is definite when no earlier send is open", "by %s", f->step.input_name);
    if (slice_is(p->fail_code, "NOT_SENT"))
        for (unsigned n = 1; n <= w->rows.nattempts; n++)
            CHECK(w->rows.attempts[n].kind != check_making(w) ||
                      w->rows.attempts[n].command_seq != p->command_seq ||
                      w->rows.attempts[n].fate == FATE_DEAD,
                  "not sent means never sent", "attempt %u", n);
    if (!honest(w))
        return;
    CHECK(o->state != BANK_PAID && o->state != BANK_OPEN, "unknown is no failure",
          "%s by %s, but the bank has it", payment_state_name(p->state), f->step.input_name);
    CHECK(dead || !w->policy.prepare_local || T0 + w->t >= p->time_expire ||
              slice_is(p->fail_code, "NOT_SENT"),
          "unknown is no failure", "%s by %s, but the payer may come", payment_state_name(p->state),
          f->step.input_name);
    CHECK(dead || !check_may_arrive(w, check_making(w), -1), "unknown is no failure",
          "%s by %s, but a prepare may arrive", payment_state_name(p->state), f->step.input_name);
}

static void check_refund_final(struct world *w, const struct flow *f)
{
    const struct refund *r = &w->rows.refunds[f->refund_index].r;
    const struct bank_refund *b = &w->bank.refunds[f->refund_index];

    CHECK(f->step.callback, "one callback for each final state", "refund %s without one",
          refund_state_name(r->state));
    CHECK(r->final_at == f->now && !r->due_at, "a final refund has no timer", "%lld",
          (long long)r->due_at);
    if (r->state == REFUND_SUCCEEDED) {
        CHECK(b->state == BANK_REFUND_DONE && b->amount == r->amount, "refunded means given back",
              "refund %d by %s", f->refund_index, f->step.input_name);
        CHECK(r->succeeded_at, "refunded says when", "refund %d", f->refund_index);
        return;
    }
    CHECK(
        f->e.kind != PAYMENT_EVENT_ANSWER || f->e.call != CALL_REFUND ||
            (f->e.attempt_n == r->send_n &&
             check_unsent(w, CALL_REFUND, f->refund_index,
                          r->command_seq ? r->command_seq : w->rows.p.command_seq, f->e.attempt_n)),
        "a refusal is definite when no earlier send is open", "refund %d by %s", f->refund_index,
        f->step.input_name);
    if (!honest(w))
        return;
    CHECK(b->state == BANK_REFUND_FAILED ||
              (b->state == BANK_REFUND_NONE && !check_may_arrive(w, CALL_REFUND, f->refund_index)),
          "an unknown refund is no failure", "refund %d by %s", f->refund_index,
          f->step.input_name);
}

/* ---- timers ---- */

/* The order's timer lies ahead, within what the policy grows to, and not beyond the expiry. */
static void check_timer(struct world *w, const struct flow *f)
{
    const struct payment *p = &w->rows.p;
    const struct payment_policy *o = &w->policy;
    int64_t most = o->query_max + o->query_max / 5 + o->query_first;
    pay_time_t last = p->time_expire + PAYMENT_EXPIRE_MARGIN;

    if (payment_state_final(p->state) || !f->step.timer_changed)
        return;
    CHECK(p->due_at > f->now, "a timer lies ahead", "%lld us back by %s",
          (long long)(f->now - p->due_at), f->step.input_name);
    CHECK(w->jumped || p->due_at - f->now <= (p->due_kind == CALL_CLOSE && f->now < p->time_expire
                                                  ? last - f->now + most
                                                  : most),
          "intervals are bounded", "%lld s by %s", (long long)((p->due_at - f->now) / SEC),
          f->step.input_name);
    CHECK(check_is_charge(w) || f->now >= p->time_expire || p->due_at <= last,
          "the expiry is not slept through", "%lld s behind it by %s",
          (long long)((p->due_at - p->time_expire) / SEC), f->step.input_name);
}

/* R2.4: nothing is asked right after a prepare whose outcome is unknown. */
static void check_first_query(struct world *w, const struct flow *f)
{
    const struct rows *r = &w->rows;
    const struct attempt_row *last = &r->attempts[r->last_attempt];

    if (f->step.input != INPUT_TIMER_QUERY || f->of_refund || !r->last_attempt || w->jumped)
        return;
    if (last->kind == CALL_PREPARE && last->refund < 0 && last->committed_at == r->last_at)
        CHECK(f->now - r->last_at >= w->policy.query_first - SEC, "the first query waits", "%lld s",
              (long long)((f->now - r->last_at) / SEC));
}

/* ---- one commit ---- */

static void check_payment_step(struct world *w, const struct flow *f, const struct payment *b)
{
    const struct payment *p = &w->rows.p;
    bool entered = payment_state_final(p->state) && !payment_state_final(b->state);

    CHECK(!payment_state_final(b->state) || f->step.extra.seq, "final states stay",
          "%s moved by %s", payment_state_name(b->state), f->step.input_name);
    check_reroute(w, f, b);
    check_extra(w, f, b);
    CHECK(f->step.callback == entered, "one callback for each final state", "%s",
          f->step.input_name);
    CHECK(p->refund_reserved == b->refund_reserved && p->refunded == b->refunded,
          "refunds alone move their sums", "%s", f->step.input_name);
    if (p->state == PAYMENT_PENDING && b->state != PAYMENT_PENDING) {
        CHECK(!honest(w) || w->policy.prepare_local || check_order(w)->state != BANK_NONE,
              "pending means known there", "by %s", f->step.input_name);
        CHECK(check_is_charge(w) || w->policy.prepare_local || p->code_url.n || !honest(w) ||
                  !w->policy.prepare_resend || f->now >= p->time_expire ||
                  b->due_kind == CALL_CLOSE || p->due_kind == CALL_CLOSE,
              "a lost code is fetched again", "by %s", f->step.input_name);
    }
    CHECK((p->busy_kind == CALL_NONE) == !p->busy_before, "busy until when", "%s",
          f->step.input_name);
    CHECK(!entered || (p->busy_kind == CALL_NONE && f->step.after.due_kind == CALL_NONE &&
                       !f->step.after.due_tries && f->step.timer_changed),
          "nothing is left of a final order's work", "%s", f->step.input_name);
    check_timer(w, f);
    check_first_query(w, f);
    if (entered)
        check_final(w, f);
}

static void check_refund_step(struct world *w, const struct flow *f, const struct payment *b,
                              const struct refund *rb)
{
    const struct refund *r = &w->rows.refunds[f->refund_index].r;
    bool entered = refund_state_final(r->state) && !refund_state_final(rb->state);

    CHECK(!refund_state_final(rb->state), "final states stay", "refund %s moved by %s",
          refund_state_name(rb->state), f->step.input_name);
    CHECK(w->rows.p.state == b->state && (b->state == PAYMENT_SUCCEEDED || r->command_seq),
          "only what is paid is refunded", "%s", payment_state_name(w->rows.p.state));
    CHECK(f->step.callback == entered, "one callback for each final state", "%s",
          f->step.input_name);
    CHECK(!f->step.timer_changed || !r->due_at || r->due_at > f->now, "a timer lies ahead",
          "refund, %lld us back by %s", (long long)(f->now - r->due_at), f->step.input_name);
    CHECK(!r->due_at ||
              r->due_at - f->now <=
                  w->policy.query_max + w->policy.query_max / 5 + w->policy.query_first ||
              !f->step.timer_changed,
          "intervals are bounded", "%lld s by %s", (long long)((r->due_at - f->now) / SEC),
          f->step.input_name);
    if (entered)
        check_refund_final(w, f);
}

void check_step(struct world *w, const struct flow *f, const struct payment *before,
                const struct refund *refund_before)
{
    struct rows *r = &w->rows;

    check_case(w, f);
    if (f->step.verdict != STEP_COMMIT) {
        CHECK(!f->step.callback && !f->step.attempt.n, "what is only recorded moves nothing", "%s",
              f->step.input_name);
        return;
    }
    check_path(w, before);
    check_send(w, f);
    if (f->of_refund)
        check_refund_step(w, f, before, refund_before);
    else
        check_payment_step(w, f, before);
    r->last_input = f->step.input_name;
    r->last_at = f->now;
    r->last_attempt = f->step.attempt.n;
}

/* ---- after every step ---- */

void check_rows(struct world *w)
{
    const struct rows *r = &w->rows;
    const struct payment *p = &r->p;
    int64_t reserved = 0, refunded = 0, extra = 0;

    if (!r->exists)
        return;
    CHECK(p->version == r->nhistory, "one history row for each version", "%u, %u rows", p->version,
          r->nhistory);
    CHECK(p->attempts == r->nattempts, "attempts are numbered without gaps", "%u, %u rows",
          p->attempts, r->nattempts);
    CHECK(payment_state_final(p->state) ? !p->due_at : p->due_at > 0,
          "what is not final has a timer", "%s, due %lld", payment_state_name(p->state),
          (long long)p->due_at);
    for (unsigned i = 0; i < r->nrefunds; i++) {
        const struct refund *x = &r->refunds[i].r;

        CHECK(x->amount > 0 && x->state != REFUND_NONE, "refunds are of something", "refund %u", i);
        CHECK(refund_state_final(x->state) ? !x->due_at : x->due_at > 0,
              "what is not final has a timer", "refund %u, due %lld", i, (long long)x->due_at);
        if (x->command_seq) { /* nobody asked for it */
            extra += x->state == REFUND_SUCCEEDED ? 0 : x->amount;
            continue;
        }
        reserved += x->state == REFUND_FAILED ? 0 : x->amount;
        refunded += x->state == REFUND_SUCCEEDED ? x->amount : 0;
    }
    CHECK(p->refund_reserved == reserved && p->refunded == refunded && p->extra_paid == extra,
          "sums are those of the refunds", "%lld %lld %lld, are %lld %lld %lld",
          (long long)p->refund_reserved, (long long)p->refunded, (long long)p->extra_paid,
          (long long)reserved, (long long)refunded, (long long)extra);
    CHECK(p->reversal == r->reversal.state, "the reversal is one record", "%d, %d",
          (int)p->reversal, (int)r->reversal.state);
    CHECK(check_order(w)->state != BANK_REVERSED || p->state != PAYMENT_SUCCEEDED || !honest(w) ||
              p->reversal == REVERSAL_SUCCEEDED,
          "a succeeded order keeps its money", "it was reversed");
    CHECK(reserved <=
              (p->state == PAYMENT_SUCCEEDED && p->reversal != REVERSAL_SUCCEEDED ? p->amount : 0),
          "refunds never exceed what was paid", "%lld of %lld", (long long)reserved,
          (long long)p->amount);
}
