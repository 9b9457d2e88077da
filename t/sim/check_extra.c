/*
 * What must hold of orders that go on to another channel, of the money that nobody waits for, and
 * of what persons decide.
 */
#include "check.h"

/* ---- another channel ---- */

/* R3.6: nothing of this command can have been accepted; the answer at hand refused the last of it.
 */
static bool refused(const struct world *w, const struct flow *f, uint32_t seq)
{
    for (unsigned n = 1; n < f->step.attempt.n; n++) {
        const struct attempt_row *a = &w->rows.attempts[n];

        if (a->kind != check_making(w) || a->refund >= 0 || a->command_seq != seq)
            continue;
        if (!a->answered)
            return false;
        if (n == f->e.attempt_n ? a->sent != SENT_ANSWERED || a->cls != CLASS_REFUSED
                                : a->sent != SENT_NO && a->cls != CLASS_TOO_FREQUENT)
            return false;
    }
    return f->e.kind == PAYMENT_EVENT_ANSWER && f->e.call == check_making(w) && f->e.seq == seq;
}

void check_reroute(struct world *w, const struct flow *f, const struct payment *b)
{
    const struct payment *p = &w->rows.p;
    const struct payment_past *past;

    if (!b->version)
        return;
    past = &p->past[b->command_seq - 1];
    if (p->command_seq == b->command_seq) {
        CHECK(slice_eq(p->channel, b->channel) && slice_eq(p->account, b->account),
              "what was agreed stays", "another channel by %s", f->step.input_name);
        return;
    }
    CHECK(p->command_seq == b->command_seq + 1 && p->command_seq <= 1 + w->policy.reroute,
          "only so many channels are tried", "%u -> %u", b->command_seq, p->command_seq);
    CHECK(refused(w, f, b->command_seq), "only a refusal goes on to another channel", "by %s",
          f->step.input_name);
    CHECK(!honest(w) || w->bank.orders[b->command_seq].state == BANK_NONE,
          "only a refusal goes on to another channel", "command %u is there", b->command_seq);
    CHECK(p->state == PAYMENT_PROCESSING && b->state == PAYMENT_PROCESSING &&
              !w->merchant.close_taken,
          "only what is wanted goes on to another channel", "%s", payment_state_name(b->state));
    CHECK(f->step.attempt.kind == check_making(w) && f->step.attempt.command_seq == p->command_seq,
          "each channel has a number of its own", "%u", f->step.attempt.command_seq);
    CHECK(slice_eq(p->channel, f->e.next_channel) && slice_eq(p->account, f->e.next_account) &&
              slice_eq(past->channel, b->channel) && slice_eq(past->account, b->account) &&
              !past->paid,
          "who refused is remembered", "%.*s", SLICE_FMT(past->channel));
    CHECK(!p->code_url.n && !p->due_tries && !p->not_sent,
          "a new channel knows nothing of the old one", "%u tries", p->due_tries);
}

/* ---- money that nobody waits for ---- */

/* Over a channel that had refused, or by policy for an order that ended without it: once each. */
void check_extra(struct world *w, const struct flow *f, const struct payment *b)
{
    const struct payment_extra *x = &f->step.extra;
    const struct payment *p = &w->rows.p;
    bool late = x->seq == p->command_seq && w->policy.late_refund &&
                (p->state == PAYMENT_FAILED || p->state == PAYMENT_CLOSED);

    if (!x->seq)
        return;
    CHECK(w->lied || w->jumped, "honest channels bring no extra money", "by %s",
          f->step.input_name);
    CHECK(x->seq < p->command_seq || late, "only extra money is given back by itself",
          "command %u of %u by %s", x->seq, p->command_seq, f->step.input_name);
    CHECK(w->bank.orders[x->seq].took > 0, "only extra money is given back by itself",
          "the bank took nothing as %u", x->seq);
    CHECK(p->state == b->state && !f->step.callback && !f->step.attempt.n,
          "extra money moves nothing", "by %s", f->step.input_name);
    CHECK(x->amount == f->e.amount && p->extra_paid == b->extra_paid + x->amount,
          "extra money is counted", "%lld", (long long)p->extra_paid);
    CHECK(slice_eq(x->channel, x->seq == p->command_seq ? p->channel : p->past[x->seq - 1].channel),
          "extra money goes back where it came from", "%.*s", SLICE_FMT(x->channel));
}

bool check_given_back(const struct world *w, uint32_t seq)
{
    int64_t sum = 0;

    for (unsigned i = 0; i < w->rows.nrefunds; i++)
        if (w->rows.refunds[i].r.command_seq == seq && w->bank.refunds[i].state == BANK_REFUND_DONE)
            sum += w->bank.refunds[i].amount;
    return sum == w->bank.orders[seq].took;
}

/* ---- decisions ---- */

/* R2.2: by two persons, one for each case; the order stays what it is. */
void check_word(struct world *w, unsigned which, enum word word, const struct payment *before,
                const struct case_row *was)
{
    const struct case_row *c = &w->rows.cases[which];
    unsigned confirmed = 0, waiting = 0;

    for (unsigned i = 0; i < c->ndecisions; i++) {
        const struct decision_row *d = &c->decisions[i];

        confirmed += d->state == DECISION_CONFIRMED;
        waiting += d->state == DECISION_WAITS;
        CHECK(d->state != DECISION_CONFIRMED || d->proposed_by != d->second_by,
              "two persons decide", "person %u alone", d->proposed_by);
        CHECK(d->decision >= WORD_REFUNDED && d->decision <= WORD_DISMISSED,
              "a decision says what came of it", "%d", (int)d->decision);
    }
    for (unsigned i = 0; i < was->ndecisions; i++) {
        const struct decision_row *d = &c->decisions[i], *b = &was->decisions[i];

        CHECK(d->decision == b->decision && d->proposed_by == b->proposed_by &&
                  (d->state == b->state || b->state == DECISION_WAITS),
              "what was decided stays", "decision %u", i);
        CHECK(d->state == b->state ||
                  word == (d->state == DECISION_CONFIRMED ? d->decision : WORD_REJECT),
              "who confirms says the same", "%d", (int)word);
    }
    CHECK(confirmed == c->closed && confirmed + waiting <= 1, "a closed case has one decision",
          "%u confirmed, %u waiting, %s", confirmed, waiting, c->closed ? "closed" : "open");
    CHECK(memcmp(before, &w->rows.p, sizeof(*before)) == 0, "a decision moves no order", "%s",
          payment_state_name(w->rows.p.state));
}
