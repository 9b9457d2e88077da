/*
 * What must hold of every decision, committed or not, and of what a merchant is refused.
 */
#include "check.h"

/* ---- decisions ---- */

static bool ours(const struct world *w, const struct flow *f)
{
    const struct payment_event *e = &f->e;
    int64_t amount = f->of_refund ? f->r.amount : w->order.amount;
    bool currency = e->currency.n ? slice_eq(e->currency, w->order.currency)
                                  : f->of_refund || slice_is(w->order.currency, "CNY");

    return currency && (e->amount == amount || (f->of_refund && e->amount == -1));
}

/* A notification of another sum is told so; every answer is written down; steps have names. */
static void check_facts(struct world *w, const struct flow *f)
{
    const struct payment_step *s = &f->step;
    const struct payment_event *e = &f->e;
    bool success = e->kind == PAYMENT_EVENT_NOTIFY && e->cls == CLASS_SUCCESS;

    CHECK(s->mismatch == (success && !ours(w, f)), "wrong sums are told", "%s", s->input_name);
    CHECK(s->input_name && *s->input_name, "steps have a name", "%d", (int)s->input);
    CHECK(f->of_refund || s->input_name == payment_input_name(s->input), "steps have a name", "%s",
          s->input_name);
    CHECK(!s->open_case || (s->case_kind.n && slice_is(s->case_detail, s->input_name)),
          "cases say what they are about", "%s", s->input_name);
    if (e->kind != PAYMENT_EVENT_ANSWER)
        return;
    CHECK(s->outcome.n == e->attempt_n && s->outcome.sent == e->sent && s->outcome.cls == e->cls &&
              s->outcome.answered_at == f->now && slice_eq(s->outcome.code, e->code),
          "answers are written down", "attempt %u", e->attempt_n);
}

/* What the channel says for good ends the order; what it says of the other kind is asked about. */
static void check_taken(struct world *w, const struct flow *f)
{
    const struct payment_event *e = &f->e;
    const struct payment *a = &f->step.after;
    bool answer = e->kind == PAYMENT_EVENT_ANSWER && e->sent == SENT_ANSWERED;
    bool unpaid = e->cls == CLASS_FAILED || e->cls == CLASS_CLOSED;

    if (f->of_refund || (e->seq && e->seq < f->p.command_seq) || payment_state_final(f->p.state) ||
        f->p.state == PAYMENT_NONE || check_is_charge(w))
        return;
    if (e->kind == PAYMENT_EVENT_NOTIFY && unpaid)
        CHECK(a->due_kind == CALL_QUERY && f->now + w->policy.query_max >= a->due_at,
              "what is told is asked about", "%s", f->step.input_name);
    if (!answer)
        return;
    if (e->call == CALL_QUERY)
        CHECK(!unpaid || payment_state_final(a->state), "what a query says for good is taken", "%s",
              f->step.input_name);
    if (e->call == CALL_PREPARE && e->cls == CLASS_CLOSED && f->p.state == PAYMENT_PROCESSING)
        CHECK(a->state == PAYMENT_CLOSED, "a dead number is closed", "%s", f->step.input_name);
}

void check_decision(struct world *w, const struct flow *f)
{
    if (f->step.verdict == STEP_REFUSE)
        return;
    check_facts(w, f);
    check_taken(w, f);
}

/* ---- refusals ---- */

static enum problem_code problem_of_wish(const struct world *w, const struct flow *f)
{
    const struct payment *p = &f->p;

    if (p->state != PAYMENT_SUCCEEDED || p->reversal == REVERSAL_SUCCEEDED)
        return PROBLEM_PAYMENT_NOT_PAID;
    if (!w->policy.refund)
        return PROBLEM_REFUND_UNSUPPORTED;
    if (w->policy.refund_window && f->now - p->succeeded_at >= w->policy.refund_window)
        return PROBLEM_REFUND_TOO_LATE;
    if (f->e.amount >= 0 && f->e.amount != p->amount)
        return PROBLEM_FIELD_INVALID;
    return PROBLEM_REFUND_EXCEEDS_PAID;
}

/* Nobody is refused for a reason that is none. */
void check_refusal(struct world *w, const struct flow *f)
{
    if (f->origin == FROM_REFUND) {
        CHECK(f->step.problem == problem_of_wish(w, f), "refusals tell the reason", "%s",
              f->step.input_name);
        CHECK(f->step.problem != PROBLEM_REFUND_EXCEEDS_PAID ||
                  f->r.amount + f->p.refund_reserved > f->p.amount,
              "what was paid can be refunded", "%lld of %lld, %lld reserved",
              (long long)f->r.amount, (long long)f->p.amount, (long long)f->p.refund_reserved);
    } else {
        CHECK(payment_state_final(f->p.state) && f->step.problem == PROBLEM_STATE_CONFLICT,
              "refusals tell the reason", "%s", f->step.input_name);
    }
}
