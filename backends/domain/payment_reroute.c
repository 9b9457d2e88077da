#include "payment_reroute.h"

bool payment_may_reroute(const struct payment *p, const struct payment_event *e,
                         const struct payment_policy *policy)
{
    return e->sent == SENT_ANSWERED && e->cls == CLASS_REFUSED && e->asked == p->version &&
           e->next_channel.n && p->command_seq <= policy->reroute &&
           p->command_seq <= PAYMENT_PAST_MAX;
}

void payment_reroute(struct payment *a, const struct payment_event *e)
{
    a->past[a->command_seq - 1] =
        (struct payment_past){.channel = a->channel, .account = a->account};
    a->command_seq++;
    a->channel = e->next_channel;
    a->account = e->next_account;
    /* nothing of this command was sent */
    a->prepare_last = a->prepare_past = MARK_UNSENT;
    a->not_sent = 0;
    a->due_tries = 0;
}

/* Told again, or paid again: what the channel calls it says which. */
static enum payment_input classify_extra(const struct payment_past *past,
                                         const struct payment_event *e, enum payment_input first)
{
    if (!past->paid)
        return first;
    return past->trade_no.n && e->channel_trade_no.n &&
                   !slice_eq(past->trade_no, e->channel_trade_no)
               ? INPUT_SECOND_PAID
               : INPUT_OTHER_NEWS;
}

/* A reversal that is done is no payment; every other success is. Another sum than the order's is a
 * person's. */
enum payment_input payment_classify_past(const struct payment *p, const struct payment_event *e)
{
    bool notice = e->kind == PAYMENT_EVENT_NOTIFY;
    bool told =
        notice || (e->sent == SENT_ANSWERED && (e->call == CALL_QUERY || e->call == CALL_CHARGE));

    if (!told || e->cls != CLASS_SUCCESS || e->seq > PAYMENT_PAST_MAX)
        return INPUT_OTHER_NEWS;
    if (!payment_amount_ours(p, e))
        return notice ? INPUT_NOTIFY_MISMATCH : INPUT_QUERY_MISMATCH;
    return classify_extra(&p->past[e->seq - 1], e, INPUT_OTHER_PAID);
}

enum payment_input payment_classify_late(const struct payment *p, const struct payment_event *e)
{
    return classify_extra(&p->past[p->command_seq - 1], e, INPUT_LATE_PAID);
}

void payment_give_back(struct payment *a, const struct payment_event *e,
                       struct payment_extra *extra)
{
    uint32_t seq = payment_event_of_past(a, e) ? e->seq : a->command_seq;
    struct payment_past *past = &a->past[seq - 1];

    if (seq == a->command_seq)
        *past = (struct payment_past){.channel = a->channel, .account = a->account};
    past->paid = true;
    past->trade_no = e->channel_trade_no;
    a->extra_paid += e->amount;
    *extra = (struct payment_extra){
        .seq = seq, .amount = e->amount, .channel = past->channel, .account = past->account};
}
