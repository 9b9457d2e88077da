#include "payment_plan.h"

#include "due.h"
#include "payment_charge.h"

/* Before the expiry nothing is planned beyond it but the close that it brings. */
static void set_due(struct payment *a, enum call_kind kind, pay_time_t at, pay_time_t now)
{
    pay_time_t last = a->time_expire + PAYMENT_EXPIRE_MARGIN;

    if (payment_expired(a, now)) {
        kind = CALL_CLOSE;
    } else if (kind == CALL_CLOSE) {
        at = at < last ? at : last;
    } else if (at >= a->time_expire) {
        kind = CALL_CLOSE;
        at = last;
        a->due_tries = 0;
    }
    a->due_kind = kind;
    a->due_at = at;
}

/* A query asked for by something that was said: soon, and before whatever else was planned. */
static void query_soon(struct payment *a, pay_time_t now, const struct payment_policy *policy)
{
    pay_time_t at = now + due_grown(policy->soon, a->due_tries, policy->query_max);

    if (!payment_expired(a, now) && at > a->time_expire + PAYMENT_EXPIRE_MARGIN)
        at = a->time_expire + PAYMENT_EXPIRE_MARGIN;
    if (a->due_kind == CALL_QUERY && a->due_at > now && a->due_at <= at)
        return;
    a->due_kind = CALL_QUERY;
    a->due_at = at;
}

/* LATER_*: a send moves the timer, so that nobody sends again meanwhile; an answer leaves a timer
 * alone that does the same already (a query beyond the expiry is planned as the close then). */
static void call_later(struct payment *a, enum call_kind kind, bool sending, pay_time_t now,
                       const struct payment_policy *policy)
{
    int64_t base = kind == CALL_PREPARE ? policy->resend_interval : policy->query_interval;
    int64_t d;

    if (payment_close_wanted(a))
        kind = CALL_CLOSE; /* stays wanted */
    else if (kind == CALL_CLOSE && !payment_expired(a, now))
        a->due_tries = 0;
    if (!sending && a->due_at > now &&
        (a->due_kind == kind || (a->due_kind == CALL_CLOSE && kind == CALL_QUERY)))
        return;
    d = due_grown(base, a->due_tries, policy->query_max);
    d += 2 * due_spread(a->id, a->due_tries, d) - d / 10;
    a->due_tries++;
    set_due(a, kind, now + d, now);
}

/* After sending a prepare nothing is asked before query_first (R2.4). */
static void query_after_prepare(struct payment *a, pay_time_t now,
                                const struct payment_policy *policy)
{
    int64_t d = policy->query_first;

    if (a->due_tries && d < due_grown(policy->query_interval, a->due_tries, policy->query_max))
        d = due_grown(policy->query_interval, a->due_tries, policy->query_max);
    set_due(a, CALL_QUERY, now + d + due_spread(a->id, a->due_tries, d), now);
}

void payment_plan(struct payment *a, unsigned actions, pay_time_t now,
                  const struct payment_policy *policy)
{
    bool sending = (actions & (ACTION_SEND_PREPARE | ACTION_SEND_QUERY | ACTION_SEND_CLOSE)) != 0;

    if (payment_is_charge(a))
        charge_plan(a, actions, now, policy);
    else if (actions & ACTION_SOON_QUERY)
        query_soon(a, now, policy);
    else if (actions & ACTION_SEND_PREPARE)
        query_after_prepare(a, now, policy);
    else if (actions & ACTION_LATER_PREPARE)
        call_later(a, CALL_PREPARE, sending, now, policy);
    else if (actions & ACTION_LATER_QUERY)
        call_later(a, CALL_QUERY, sending, now, policy);
    else if (actions & ACTION_LATER_CLOSE)
        call_later(a, CALL_CLOSE, sending, now, policy);
}
