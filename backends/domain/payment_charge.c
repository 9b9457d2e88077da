#include "payment_charge.h"

#include "due.h"
#include "payment_plan.h"
#include "payment_reroute.h"

/* Reversals without a result are repeated at most this many intervals apart, until a person was
 * asked. */
#define REVERSE_INTERVALS 12

/* ---- when it is reversed ---- */

/* The charge may arrive until prepare_before: from then on the channel's own time counts. */
static pay_time_t earliest(const struct payment *p, const struct payment_policy *policy)
{
    return p->prepare_before + policy->reverse_earliest;
}

static pay_time_t reverse_at(const struct payment *p, const struct payment_policy *policy)
{
    pay_time_t at = p->prepare_before - policy->send_window + policy->paying_limit;

    if (p->time_expire < at)
        at = p->time_expire;
    return at > earliest(p, policy) ? at : earliest(p, policy);
}

/* The merchant closed it, or a query said that it failed. */
static bool wanted(const struct payment *p)
{
    return p->due_kind == CALL_REVERSE;
}

static bool reverse_due(const struct payment *p, pay_time_t now,
                        const struct payment_policy *policy)
{
    if (p->reversal == REVERSAL_PROCESSING)
        return true;
    if (p->reversal != REVERSAL_NONE || now < earliest(p, policy))
        return false;
    return wanted(p) || now >= reverse_at(p, policy);
}

/* ---- what an event means ---- */

enum payment_input charge_classify_answer(const struct payment *p, const struct payment_event *e,
                                          const struct payment_policy *policy)
{
    bool reversing = p->reversal != REVERSAL_NONE; /* then only that ends it */

    if (e->attempt_n != p->prepare_n)
        return INPUT_CHARGE_UNKNOWN;
    if (e->sent == SENT_NO)
        return reversing ? INPUT_CHARGE_UNKNOWN : INPUT_CHARGE_FAILED;
    if (e->sent != SENT_ANSWERED)
        return INPUT_CHARGE_UNKNOWN;
    switch (e->cls) {
    case CLASS_SUCCESS:
        return payment_classify_paid(p, e, policy, INPUT_CHARGE_PAID, INPUT_CHARGE_MISMATCH);
    case CLASS_ACCEPTED:
    case CLASS_USER_PAYING:
        return INPUT_CHARGE_WAITING;
    case CLASS_REFUSED:
        if (!reversing && payment_may_reroute(p, e, policy))
            return INPUT_REROUTE;
        return reversing ? INPUT_CHARGE_UNKNOWN : INPUT_CHARGE_FAILED;
    case CLASS_FAILED:
    case CLASS_TOO_FREQUENT: /* not executed, and it is not sent again */
        return reversing ? INPUT_CHARGE_UNKNOWN : INPUT_CHARGE_FAILED;
    case CLASS_CLOSED:
        return reversing ? INPUT_CHARGE_UNKNOWN : INPUT_CHARGE_CLOSED;
    default:
        return INPUT_CHARGE_UNKNOWN;
    }
}

/* The channel says that it was reversed. */
static enum payment_input reversed(const struct payment *p)
{
    return p->succeeded_at ? INPUT_REVERSE_DONE_PAID : INPUT_REVERSE_DONE;
}

/* A query without a final word, before anything is reversed. */
static enum payment_input classify_open(const struct payment *p, const struct payment_event *e,
                                        const struct payment_policy *policy)
{
    if (e->sent != SENT_ANSWERED)
        return INPUT_QUERY_UNKNOWN;
    switch (e->cls) {
    case CLASS_ACCEPTED:
    case CLASS_USER_PAYING:
        return INPUT_QUERY_WAITING;
    case CLASS_FAILED: /* reversed all the same: the channels ask for it */
        return p->reversal == REVERSAL_NONE && policy->reverse_open ? INPUT_POLL_REVERSE_SOON
                                                                    : INPUT_QUERY_FAILED;
    case CLASS_NOT_FOUND: /* proves nothing, as long as the charge may arrive */
        return INPUT_QUERY_NOT_FOUND_EARLY;
    default:
        return INPUT_QUERY_UNKNOWN;
    }
}

enum payment_input charge_classify_query(const struct payment *p, const struct payment_event *e,
                                         pay_time_t now, const struct payment_policy *policy)
{
    bool latest = e->attempt_n == p->attempts, due = reverse_due(p, now, policy);
    enum payment_input in;

    if (e->sent == SENT_ANSWERED && e->cls == CLASS_SUCCESS) {
        in = payment_classify_paid(p, e, policy, INPUT_QUERY_PAID, INPUT_QUERY_MISMATCH);
        return in == INPUT_PAID_REVERSING && latest ? INPUT_POLL_REVERSE_PAID : in;
    }
    if (e->sent == SENT_ANSWERED && e->cls == CLASS_CLOSED)
        return p->reversal == REVERSAL_PROCESSING || p->reversal == REVERSAL_SUCCEEDED
                   ? reversed(p)
                   : INPUT_QUERY_CLOSED;
    if (!latest) /* somebody has asked, or reversed, since */
        return e->sent == SENT_ANSWERED ? INPUT_QUERY_WAITING_STALE : INPUT_QUERY_UNKNOWN;
    if (e->sent == SENT_ANSWERED && e->cls == CLASS_FAILED && p->reversal == REVERSAL_NONE &&
        now >= earliest(p, policy))
        due = true;
    if (!due)
        return classify_open(p, e, policy);
    /* one that was begun may have been done: only the channel's word ends it, window or not */
    return policy->reverse_open || p->reversal == REVERSAL_PROCESSING ? INPUT_POLL_REVERSE
                                                                      : INPUT_POLL_REVERSE_LATE;
}

/* Some channels reverse what they never saw. The charge may arrive behind the reversal: what it
 * says counts when it was asked late enough, or about what was known there then. */
static bool seen_there(const struct payment *p)
{
    return p->state == PAYMENT_PENDING || p->succeeded_at;
}

enum payment_input charge_classify_reverse(const struct payment *p, const struct payment_event *e,
                                           const struct payment_policy *policy)
{
    enum answer_class cls = e->sent == SENT_ANSWERED ? e->cls : CLASS_UNKNOWN;
    bool ended = p->reversal != REVERSAL_PROCESSING;

    switch (cls) {
    case CLASS_SUCCESS:
    case CLASS_CLOSED:
        if (ended && p->reversal != REVERSAL_SUCCEEDED)
            return INPUT_REVERSE_AGAIN; /* a query decides */
        return (seen_there(p) && e->asked == p->version) ||
                       e->asked_at >= p->prepare_before + policy->settle
                   ? reversed(p)
                   : INPUT_REVERSE_DONE_EARLY;
    case CLASS_FAILED:
    case CLASS_REFUSED:
        return ended ? INPUT_REVERSE_AGAIN : INPUT_REVERSE_REFUSED;
    default:
        return !ended && policy->reverse_limit && p->reverse_tries % policy->reverse_limit == 0
                   ? INPUT_REVERSE_AGAIN_LONG
                   : INPUT_REVERSE_AGAIN;
    }
}

enum payment_input charge_classify_close(const struct payment *p, bool busy, pay_time_t now,
                                         const struct payment_policy *policy)
{
    if (p->reversal == REVERSAL_PROCESSING || wanted(p))
        return INPUT_MERCHANT_CLOSE_BUSY;
    if (p->reversal == REVERSAL_FAILED) /* the channel reverses nothing any more */
        return INPUT_MERCHANT_CLOSE_BUSY;
    return busy || now < earliest(p, policy) ? INPUT_MERCHANT_REVERSE_SOON : INPUT_MERCHANT_REVERSE;
}

/* ---- the timer ---- */

/* Until the next query. */
static pay_time_t next_query(const struct payment *a, pay_time_t now,
                             const struct payment_policy *policy)
{
    int64_t interval = policy->paying_interval, max = policy->query_max, d = interval;

    if (a->reversal == REVERSAL_PROCESSING) {
        if (a->reverse_tries <= policy->reverse_limit)
            max = REVERSE_INTERVALS * interval;
        d = due_grown(interval, a->reverse_tries, max);
    } else if (a->reversal == REVERSAL_FAILED) {
        d = due_grown(interval, a->due_tries, max);
    } else if (now < reverse_at(a, policy) && now + interval > reverse_at(a, policy)) {
        return reverse_at(a, policy);
    }
    return now + d + (d > interval ? due_spread(a->id, a->due_tries, d) : 0);
}

void charge_plan(struct payment *a, unsigned actions, pay_time_t now,
                 const struct payment_policy *policy)
{
    bool sends = (actions & (ACTION_SEND_PREPARE | ACTION_SEND_QUERY | ACTION_SEND_REVERSE)) != 0;
    enum call_kind kind = wanted(a) ? CALL_REVERSE : CALL_QUERY; /* wanted: stays so */
    pay_time_t at;

    if (actions & ACTION_SEND_PREPARE) {
        at = now + policy->send_window + policy->paying_interval;
        kind = CALL_QUERY;
    } else if (actions & ACTION_LATER_CLOSE) {
        at = sends || now >= earliest(a, policy) ? now + policy->paying_interval
                                                 : earliest(a, policy);
        kind = CALL_REVERSE;
    } else if (actions & ACTION_SOON_QUERY) {
        at = now + due_grown(policy->soon, a->due_tries, policy->query_max);
    } else if (actions & ACTION_LATER_QUERY) {
        at = next_query(a, now, policy);
    } else {
        return;
    }
    if (actions & ACTION_SEND_QUERY)
        a->due_tries++;
    if (!sends && !(actions & ACTION_LATER_CLOSE) && a->due_at > now && a->due_at < at)
        at = a->due_at; /* planned by the call that this answers */
    a->due_kind = kind;
    a->due_at = at;
}

/* ---- the reversal ---- */

static struct slice reason(const struct payment *p, const struct payment_event *e, pay_time_t now)
{
    if (e->kind == PAYMENT_EVENT_ANSWER && e->sent == SENT_ANSWERED && e->cls == CLASS_FAILED)
        return SLICE("failed");
    if (wanted(p))
        return SLICE("closed");
    if (payment_expired(p, now))
        return SLICE("expired");
    return p->state == PAYMENT_PENDING ? SLICE("paying") : SLICE("unknown");
}

void charge_note_reversal(const struct payment *p, const struct payment_event *e, unsigned actions,
                          pay_time_t now, struct payment *a, struct slice *why)
{
    if (p->reversal == REVERSAL_NONE && (actions & (ACTION_SEND_REVERSE | ACTION_UNREVERSED)))
        *why = reason(p, e, now);
    if (actions & ACTION_SEND_REVERSE) {
        a->reversal = REVERSAL_PROCESSING;
        a->reverse_tries++;
    }
    if (actions & ACTION_REVERSED)
        a->reversal = REVERSAL_SUCCEEDED;
    if (actions & ACTION_UNREVERSED)
        a->reversal = REVERSAL_FAILED;
}
