/*
 * When nothing is left to happen: the bank's books and ours agree, and nothing hangs.
 */
#include "check.h"

static bool has_case(const struct world *w, const char *prefix)
{
    for (unsigned i = 0; i < w->rows.ncases; i++)
        if (slice_starts(w->rows.cases[i].kind, slice_of(prefix)))
            return true;
    return false;
}

static bool payment_case(const struct world *w)
{
    return has_case(w, "late_success") || has_case(w, "second_success") ||
           has_case(w, "amount_mismatch") || has_case(w, "contradiction") ||
           has_case(w, "not_found") || has_case(w, "not_reversed") ||
           has_case(w, "paid_then_reversed") || has_case(w, "extra_");
}

/* Every yuan the bank took is one succeeded order, or a person looks at it. */
static void check_money(struct world *w)
{
    const struct payment *p = &w->rows.p;
    bool succeeded = w->rows.exists && p->state == PAYMENT_SUCCEEDED;
    bool reversed = w->rows.exists && p->reversal == REVERSAL_SUCCEEDED;
    unsigned paid = 0;

    for (unsigned i = 0; i < COMMANDS_MAX; i++) {
        const struct bank_order *o = &w->bank.orders[i];

        if (!o->took)
            continue;
        CHECK(w->rows.exists, "every yuan is accounted for", "%lld of no order",
              (long long)o->took);
        /* never over two channels: what is not the order's own went back, or goes back by hand */
        CHECK((succeeded && i == p->command_seq && !reversed && o->payments == 1 &&
               o->took == p->amount && !o->returned) ||
                  (i == p->command_seq && reversed && o->returned == o->took) ||
                  check_given_back(w, i) || payment_case(w) || has_case(w, "refund_"),
              "every yuan is accounted for", "the bank took %lld in %u, the order is %s",
              (long long)o->took, o->payments, payment_state_name(p->state));
        paid += o->payments;
    }
    CHECK(!succeeded || paid, "succeeded means paid", "%u payments", paid);
}

static void check_refunds(struct world *w)
{
    int64_t sum = 0;

    for (unsigned i = 0; i < w->rows.nrefunds; i++) {
        const struct bank_refund *b = &w->bank.refunds[i];
        enum refund_state s = w->rows.refunds[i].r.state;

        sum += b->state == BANK_REFUND_DONE && !w->rows.refunds[i].r.command_seq ? b->amount : 0;
        if (has_case(w, "refund_") || has_case(w, "extra_"))
            continue;
        CHECK((s == REFUND_SUCCEEDED) == (b->state == BANK_REFUND_DONE),
              "refunds agree with the bank", "refund %u is %s, there %d", i, refund_state_name(s),
              (int)b->state);
    }
    CHECK(sum <= w->rows.p.amount || w->odd, "refunds never exceed what was paid", "%lld of %lld",
          (long long)sum, (long long)w->rows.p.amount);
}

/* Only what never arrived, may not be sent again, and lies before a person is still open. */
static void check_finished(struct world *w)
{
    const struct rows *r = &w->rows;

    if (!payment_state_final(r->p.state))
        CHECK(payment_case(w), "every order comes to an end", "still %s",
              payment_state_name(r->p.state));
    for (unsigned i = 0; i < r->nrefunds; i++)
        if (!refund_state_final(r->refunds[i].r.state))
            CHECK(has_case(w, "refund_"), "every refund comes to an end", "refund %u", i);
}

static void check_callbacks(struct world *w)
{
    const struct rows *r = &w->rows;
    unsigned finals = payment_state_final(r->p.state);

    for (unsigned i = 0; i < r->nrefunds; i++)
        finals += refund_state_final(r->refunds[i].r.state);
    CHECK(finals == r->ncallbacks, "one callback for each final state", "%u of %u", r->ncallbacks,
          finals);
    for (unsigned i = 0; i < r->ncallbacks; i++)
        CHECK(r->callbacks[i].told, "merchants are told", "callback %u was not delivered", i);
}

/* The channel's word that money moved: it stops when it was taken, so it must have been. */
static void check_notices(struct world *w)
{
    for (unsigned i = 0; i < w->bank.nnotices; i++) {
        const struct notice *n = &w->bank.notices[i];

        CHECK(n->acked || n->never || w->odd || w->lied || n->tries >= 12 ||
                  n->cls != CLASS_SUCCESS || payment_state_final(w->rows.p.state),
              "notifications are taken", "notice %u after %u tries", i, n->tries);
    }
}

void check_end(struct world *w)
{
    const struct merchant *m = &w->merchant;

    CHECK(!m->acked_id || (w->rows.exists && w->rows.p.id == m->acked_id),
          "an acknowledged order exists", "order %lld", (long long)m->acked_id);
    check_money(w);
    if (!w->rows.exists)
        return;
    check_refunds(w);
    check_finished(w);
    check_callbacks(w);
    check_notices(w);
    if (m->close_taken)
        CHECK(payment_state_final(w->rows.p.state) || payment_case(w), "a wanted close ends", "%s",
              payment_state_name(w->rows.p.state));
}
