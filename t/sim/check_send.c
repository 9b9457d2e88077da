/*
 * What a step sends, and what it brings before a person.
 */
#include "check.h"

/* ---- sends ---- */

bool check_unsent(const struct world *w, enum call_kind kind, int refund, uint32_t seq,
                  unsigned before)
{
    for (unsigned n = 1; n < before; n++) {
        const struct attempt_row *a = &w->rows.attempts[n];

        if (a->kind == kind && a->refund == refund && a->command_seq == seq &&
            !(a->answered && (a->sent == SENT_NO || a->cls == CLASS_TOO_FREQUENT)))
            return false;
    }
    return true;
}

/* 64 who ask at once make one call: none of that kind is under way as the latest. */
static void check_not_busy(struct world *w, const struct flow *f, unsigned n)
{
    const struct attempt_row *a = &w->rows.attempts[n], *last = &w->rows.attempts[n - 1];

    if (n < 2 || f->of_refund ||
        (f->step.input != INPUT_OPERATOR_QUERY && f->step.input != INPUT_MERCHANT_CLOSE &&
         f->step.input != INPUT_MERCHANT_REVERSE))
        return;
    CHECK(last->kind != a->kind || last->refund >= 0 || last->answered ||
              f->now >= last->send_before,
          "who asks at once makes one call", "%s twice", call_kind_name(a->kind));
}

/* R2.8: charged once; reversed not before the channel takes it, and only what may be charged. */
static void check_charge_send(struct world *w, const struct flow *f, const struct attempt_row *a)
{
    const struct payment *p = &w->rows.p;

    if (a->kind == CALL_CHARGE)
        for (const struct attempt_row *x = &w->rows.attempts[1]; x < a; x++)
            CHECK(check_is_charge(w) && (x->kind != CALL_CHARGE || x->command_seq < a->command_seq),
                  "no charge is sent twice", "attempt %u by %s", f->step.attempt.n,
                  f->step.input_name);
    if (a->kind != CALL_REVERSE)
        return;
    CHECK(check_is_charge(w) && p->reversal == REVERSAL_PROCESSING, "only charges are reversed",
          "by %s", f->step.input_name);
    CHECK(w->jumped || f->now >= p->prepare_before + w->policy.reverse_earliest,
          "no reversal comes too early", "%lld ms by %s",
          (long long)((f->now - p->prepare_before) / MS), f->step.input_name);
    CHECK(f->reverse_open || f->p.reversal == REVERSAL_PROCESSING,
          "no reversal begins behind its window", "by %s", f->step.input_name);
    CHECK(f->step.attempt.n < 2 || a[-1].kind != CALL_REVERSE || a[-1].answered ||
              f->now >= a[-1].send_before,
          "no reversal is sent beside another", "by %s", f->step.input_name);
    CHECK(p->reverse_tries == w->rows.reversal.tries, "reversals are counted", "%u, %u",
          p->reverse_tries, w->rows.reversal.tries);
}

void check_send(struct world *w, const struct flow *f)
{
    unsigned n = f->step.attempt.n;
    const struct attempt_row *a = &w->rows.attempts[n];
    const struct payment *p = &w->rows.p;
    uint32_t extra = f->of_refund ? f->r_after.command_seq : 0;

    if (!n)
        return;
    CHECK(a->send_before == f->now + w->policy.send_window && a->committed_at == f->now,
          "sends have an end", "attempt %u", n);
    CHECK(f->of_refund || p->busy_before == a->send_before, "sends have an end", "attempt %u", n);
    CHECK(a->command_seq == (extra ? extra : p->command_seq) && a->command_seq > 0,
          "no charge is sent twice under different numbers", "%u, before %u", a->command_seq,
          p->command_seq);
    if (a->kind == CALL_PREPARE) {
        CHECK(p->state == PAYMENT_PROCESSING && f->now < p->time_expire,
              "prepared only while it can be paid", "%s by %s", payment_state_name(p->state),
              f->step.input_name);
        CHECK(w->policy.prepare_resend || check_unsent(w, CALL_PREPARE, -1, a->command_seq, n),
              "no charge is sent twice", "attempt %u by %s", n, f->step.input_name);
    }
    check_charge_send(w, f, a);
    if (a->kind == CALL_REFUND)
        CHECK(w->policy.refund_resend || check_unsent(w, CALL_REFUND, a->refund, a->command_seq, n),
              "no refund is sent twice", "attempt %u by %s", n, f->step.input_name);
    CHECK(p->state != PAYMENT_SUCCEEDED || f->of_refund, "final orders are left alone",
          "attempt %u by %s", n, f->step.input_name);
    check_not_busy(w, f, n);
}

/* ---- cases ---- */

static bool never_arrived(const struct world *w, const struct flow *f)
{
    if (f->of_refund)
        return w->bank.refunds[f->refund_index].state == BANK_REFUND_NONE &&
               !check_may_arrive(w, CALL_REFUND, f->refund_index);
    return check_order(w)->state == BANK_NONE && !check_may_arrive(w, check_making(w), -1);
}

/* Honest, and yet it cannot be told from a contradiction: "waits for the payer" that comes after
 * the close which overtook it; "closed" of what the channel had not seen and was then paid. */
static bool looks_odd(const struct world *w, const struct flow *f)
{
    if (f->e.kind != PAYMENT_EVENT_ANSWER || !payment_state_final(w->rows.p.state))
        return false;
    return f->e.cls == CLASS_ACCEPTED || f->e.cls == CLASS_USER_PAYING ||
           (f->e.call == CALL_CLOSE && w->bank.closes_unseen);
}

/* A person is asked only where there is something to look at. */
void check_case(struct world *w, const struct flow *f)
{
    struct slice kind = f->step.case_kind;

    if (!f->step.open_case || !honest(w))
        return;
    if (slice_is(kind, "not_found") || slice_is(kind, "refund_not_found") ||
        slice_is(kind, "refund_refused"))
        CHECK(never_arrived(w, f), "cases have a cause", "%.*s by %s", SLICE_FMT(kind),
              f->step.input_name);
    else if (slice_is(kind, "refund_not_sent"))
        CHECK(check_unsent(w, CALL_REFUND, f->refund_index, w->rows.p.command_seq,
                           f->step.after.attempts) ||
                  f->r_after.not_sent >= REFUND_NOT_SENT_LONG,
              "cases have a cause", "%.*s", SLICE_FMT(kind));
    else if (slice_is(kind, "not_reversed"))
        CHECK(check_order(w)->irreversible || !f->reverse_open ||
                  f->p.reverse_tries >= w->policy.reverse_limit,
              "cases have a cause", "%.*s by %s", SLICE_FMT(kind), f->step.input_name);
    else if (slice_is(kind, "paid_then_reversed"))
        CHECK(check_order(w)->state == BANK_REVERSED, "cases have a cause", "%.*s by %s",
              SLICE_FMT(kind), f->step.input_name);
    else if (slice_is(kind, "contradiction") || slice_is(kind, "refund_contradiction"))
        CHECK(w->odd || looks_odd(w, f), "cases have a cause", "%.*s by %s", SLICE_FMT(kind),
              f->step.input_name);
    else
        CHECK(w->odd, "cases have a cause", "%.*s by %s", SLICE_FMT(kind), f->step.input_name);
}
