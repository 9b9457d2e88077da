#include "payment_reroute.h"

bool payment_may_reroute(const struct payment *p, const struct payment_event *e,
                         const struct payment_policy *policy)
{
    return e->sent == SENT_ANSWERED && e->cls == CLASS_REFUSED && e->next_channel.n &&
           p->state == PAYMENT_PROCESSING && p->due_kind != CALL_CLOSE &&
           p->due_kind != CALL_REVERSE && p->command_seq <= policy->reroute &&
           p->command_seq <= PAYMENT_PAST_MAX;
}

void payment_reroute(struct payment *a, const struct payment_event *e)
{
    a->past[a->command_seq - 1] =
        (struct payment_past){.channel = a->channel, .account = a->account};
    a->command_seq++;
    a->channel = e->next_channel;
    a->account = e->next_account;
    a->code_url = SLICE_NULL;
    /* nothing of this command was sent */
    a->prepare_n = 0;
    a->prepare_last = a->prepare_past = MARK_UNSENT;
    a->not_sent = 0;
    a->due_tries = 0;
}

/* A reversal that is done is no payment; every other success is. */
enum payment_input payment_classify_past(const struct payment *p, const struct payment_event *e)
{
    bool told = e->kind == PAYMENT_EVENT_NOTIFY ||
                (e->sent == SENT_ANSWERED && (e->call == CALL_QUERY || e->call == CALL_CHARGE));

    return told && e->cls == CLASS_SUCCESS && e->amount > 0 && e->seq <= PAYMENT_PAST_MAX &&
                   !p->past[e->seq - 1].paid
               ? INPUT_OTHER_PAID
               : INPUT_OTHER_NEWS;
}

void payment_give_back(struct payment *a, const struct payment_event *e,
                       struct payment_extra *extra)
{
    struct payment_past *past = &a->past[e->seq - 1];

    past->paid = true;
    a->extra_paid += e->amount;
    *extra = (struct payment_extra){
        .seq = e->seq, .amount = e->amount, .channel = past->channel, .account = past->account};
}
