#include "refund.h"

#include "due.h"

/* ---- what an event means ---- */

static enum refund_input classify_wish(const struct payment *p, const struct refund *r,
                                       const struct payment_event *e, pay_time_t now,
                                       const struct payment_policy *policy)
{
    if (r->state != REFUND_NONE)
        return INPUT_REFUND_CREATE;
    if (p->state != PAYMENT_SUCCEEDED || p->reversal == REVERSAL_SUCCEEDED)
        return INPUT_REFUND_NOT_PAID;
    if (!policy->refund)
        return INPUT_REFUND_UNSUPPORTED;
    if (policy->refund_window && now >= p->succeeded_at + policy->refund_window)
        return INPUT_REFUND_TOO_LATE;
    if (e->amount != -1 && e->amount != p->amount)
        return INPUT_REFUND_DIFFERS;
    if (r->amount < 1 || r->amount > p->amount - p->refund_reserved)
        return INPUT_REFUND_EXCEEDS;
    return INPUT_REFUND_CREATE;
}

/* Channels that name no amount speak of the whole refund. */
static bool amount_ours(const struct payment *p, const struct refund *r,
                        const struct payment_event *e)
{
    if (e->amount != -1 && e->amount != r->amount)
        return false;
    return !e->currency.n || slice_eq(e->currency, p->currency);
}

static enum refund_input classify_send(const struct refund *r, const struct payment_event *e,
                                       const struct payment_policy *policy)
{
    bool latest = e->attempt_n == r->send_n;

    if (e->sent == SENT_NO) {
        if (!latest)
            return INPUT_REFUND_UNKNOWN;
        return (r->not_sent + 1) % REFUND_NOT_SENT_LONG ? INPUT_REFUND_NOT_SENT
                                                        : INPUT_REFUND_NOT_SENT_LONG;
    }
    if (e->sent != SENT_ANSWERED)
        return INPUT_REFUND_UNKNOWN;
    switch (e->cls) {
    case CLASS_SUCCESS:
        return INPUT_REFUND_DONE;
    case CLASS_ACCEPTED:
    case CLASS_USER_PAYING:
        return INPUT_REFUND_ACCEPTED;
    case CLASS_FAILED:
    case CLASS_REFUSED:
    case CLASS_CLOSED:
        if (latest && r->send_past != MARK_OPEN)
            return INPUT_REFUND_REFUSED;
        /* sent again behind a settled "not found" and refused again: that would go on for ever */
        return r->due_tries < REFUND_REFUSED_LONG ? INPUT_REFUND_REFUSED_DOUBTED
                                                  : INPUT_REFUND_REFUSED_LONG;
    case CLASS_TOO_FREQUENT:
        return latest && policy->refund_resend ? INPUT_REFUND_TOO_FREQUENT : INPUT_REFUND_UNKNOWN;
    case CLASS_DUPLICATE:
        return INPUT_REFUND_DUPLICATE;
    default:
        return INPUT_REFUND_UNKNOWN;
    }
}

static bool may_send(const struct refund *r, const struct payment_policy *policy)
{
    return policy->refund_resend || (r->send_last == MARK_UNSENT && r->send_past == MARK_UNSENT);
}

static enum refund_input classify_not_found(const struct payment *p, const struct refund *r,
                                            const struct payment_event *e,
                                            const struct payment_policy *policy)
{
    if (e->asked_at < r->send_before + policy->settle || e->asked < p->version)
        return INPUT_REFUND_QUERY_NOT_FOUND_EARLY;
    return may_send(r, policy) ? INPUT_REFUND_QUERY_NOT_FOUND : INPUT_REFUND_QUERY_NOT_FOUND_KEEP;
}

static enum refund_input classify_query(const struct payment *p, const struct refund *r,
                                        const struct payment_event *e,
                                        const struct payment_policy *policy)
{
    if (e->sent != SENT_ANSWERED)
        return INPUT_REFUND_QUERY_UNKNOWN;
    switch (e->cls) {
    case CLASS_SUCCESS:
        return amount_ours(p, r, e) ? INPUT_REFUND_QUERY_DONE : INPUT_REFUND_QUERY_MISMATCH;
    case CLASS_ACCEPTED:
    case CLASS_USER_PAYING:
        return INPUT_REFUND_QUERY_WAITING;
    case CLASS_FAILED:
    case CLASS_CLOSED:
        return INPUT_REFUND_QUERY_FAILED;
    case CLASS_NOT_FOUND:
        return classify_not_found(p, r, e, policy);
    default:
        return INPUT_REFUND_QUERY_UNKNOWN;
    }
}

static enum refund_input classify_timer(const struct refund *r, pay_time_t now,
                                        const struct payment_policy *policy)
{
    if (!r->due_at || now < r->due_at)
        return INPUT_REFUND_TIMER_EARLY;
    return r->due_kind == CALL_REFUND && may_send(r, policy) ? INPUT_REFUND_TIMER_SEND
                                                             : INPUT_REFUND_TIMER_QUERY;
}

enum refund_input refund_classify(const struct payment *p, const struct refund *r,
                                  const struct payment_event *e, pay_time_t now,
                                  const struct payment_policy *policy)
{
    switch (e->kind) {
    case PAYMENT_EVENT_REFUND:
        return classify_wish(p, r, e, now, policy);
    case PAYMENT_EVENT_ANSWER:
        if (e->call == CALL_REFUND)
            return classify_send(r, e, policy);
        return classify_query(p, r, e, policy);
    case PAYMENT_EVENT_NOTIFY:
        if (e->cls != CLASS_SUCCESS)
            return INPUT_REFUND_NOTIFY_OTHER;
        return amount_ours(p, r, e) ? INPUT_REFUND_NOTIFY_DONE : INPUT_REFUND_NOTIFY_MISMATCH;
    default:
        return classify_timer(r, now, policy);
    }
}

/* ---- the timer ---- */

static void set_due(struct refund *a, enum call_kind kind, pay_time_t at)
{
    a->due_kind = kind;
    a->due_at = at;
    a->due_tries++;
}

static void plan(struct refund *a, unsigned actions, pay_time_t now,
                 const struct payment_policy *policy)
{
    bool asks = (actions & (ACTION_LATER_QUERY | ACTION_SOON_QUERY)) != 0;
    int64_t base = policy->query_interval, d;

    if (actions & ACTION_SOON_QUERY)
        base = policy->soon;
    else if (actions & ACTION_LATER_PREPARE)
        base = policy->resend_interval;
    else if (!asks)
        return;
    d = due_grown(base, a->due_tries, policy->query_max);
    /* nothing is known of what goes out now: not asked before query_first (R2.4) */
    if ((actions & ACTION_SEND_PREPARE) && d < policy->query_first)
        d = policy->query_first;
    set_due(a, asks ? CALL_REFUND_QUERY : CALL_REFUND,
            now + d + due_spread(a->id, a->due_tries, d));
}

/* ---- the step ---- */

static void note_answer(struct refund *a, const struct payment_event *e)
{
    if (e->call != CALL_REFUND || e->attempt_n != a->send_n || a->send_last != MARK_OPEN)
        return;
    if (e->sent == SENT_NO) {
        a->send_last = MARK_UNSENT;
        a->not_sent++;
    } else if (e->sent == SENT_ANSWERED && e->cls == CLASS_TOO_FREQUENT) {
        a->send_last = MARK_IDLE;
    }
}

static void add_attempt(struct payment *p, struct refund *a, unsigned actions, pay_time_t now,
                        const struct payment_policy *policy, struct payment_attempt *attempt)
{
    bool send = (actions & ACTION_SEND_PREPARE) != 0;

    if (!send && !(actions & ACTION_SEND_QUERY))
        return;
    *attempt =
        (struct payment_attempt){.n = ++p->attempts,
                                 .kind = send ? CALL_REFUND : CALL_REFUND_QUERY,
                                 .command_seq = a->command_seq ? a->command_seq : p->command_seq,
                                 .version = p->version,
                                 .committed_at = now,
                                 .send_before = now + policy->send_window};
    if (!send)
        return;
    if (a->send_last > a->send_past)
        a->send_past = a->send_last;
    a->send_n = attempt->n;
    a->send_last = MARK_OPEN;
    a->send_before = attempt->send_before;
}

static void finish(struct payment *p, struct refund *a, const struct payment_event *e,
                   pay_time_t now)
{
    a->final_at = now;
    a->due_at = 0;
    a->due_kind = CALL_NONE;
    a->due_tries = 0;
    if (a->state == REFUND_SUCCEEDED) {
        a->succeeded_at = e->paid_at ? e->paid_at : now;
        if (a->command_seq)
            p->extra_paid -= a->amount;
        else
            p->refunded += a->amount;
    } else {
        a->fail_code = e->code;
        if (!a->command_seq)
            p->refund_reserved -= a->amount;
    }
}

static void move(const struct refund *r, const struct payment_event *e, pay_time_t now,
                 const struct payment_policy *policy, const struct refund_rule *rule,
                 struct payment_step *out, struct refund *a)
{
    struct payment *p = &out->after;

    p->version++;
    a->state = rule->to;
    if (r->state == REFUND_NONE)
        p->refund_reserved += a->amount;
    if (e->kind == PAYMENT_EVENT_ANSWER)
        note_answer(a, e);
    if ((rule->actions & ACTION_TAKE) && e->channel_trade_no.n)
        a->channel_refund_no = e->channel_trade_no;
    if (refund_state_final(a->state)) {
        finish(p, a, e, now);
        out->callback = true;
    } else {
        plan(a, rule->actions, now, policy);
        add_attempt(p, a, rule->actions, now, policy, &out->attempt);
    }
    out->timer_changed = true; /* each step plans it anew, or ends it */
    out->verdict = STEP_COMMIT;
}

/* Money that nobody asked for cannot be given back: a person has to. */
static unsigned actions_of(const struct refund *r, const struct refund_rule *rule)
{
    bool lost = r->command_seq && !refund_state_final(r->state) && rule->to == REFUND_FAILED;

    return rule->actions | (lost ? (unsigned)ACTION_CASE : 0);
}

static struct slice case_kind(enum refund_input in, const struct refund *r)
{
    if (r->command_seq && (in == INPUT_REFUND_REFUSED || in == INPUT_REFUND_QUERY_FAILED))
        return SLICE("extra_not_refunded");
    switch (in) {
    case INPUT_REFUND_QUERY_MISMATCH:
    case INPUT_REFUND_NOTIFY_MISMATCH:
        return SLICE("refund_mismatch");
    case INPUT_REFUND_NOT_SENT_LONG:
        return SLICE("refund_not_sent");
    case INPUT_REFUND_REFUSED_LONG:
        return SLICE("refund_refused");
    case INPUT_REFUND_QUERY_NOT_FOUND:
    case INPUT_REFUND_QUERY_NOT_FOUND_KEEP:
        return SLICE("refund_not_found");
    default:
        return SLICE("refund_contradiction");
    }
}

static enum problem_code problem_of(enum refund_input in)
{
    switch (in) {
    case INPUT_REFUND_NOT_PAID:
        return PROBLEM_PAYMENT_NOT_PAID;
    case INPUT_REFUND_DIFFERS:
        return PROBLEM_FIELD_INVALID;
    case INPUT_REFUND_EXCEEDS:
        return PROBLEM_REFUND_EXCEEDS_PAID;
    case INPUT_REFUND_TOO_LATE:
        return PROBLEM_REFUND_TOO_LATE;
    default:
        return PROBLEM_REFUND_UNSUPPORTED;
    }
}

void refund_decide(const struct payment *p, const struct refund *r, const struct payment_event *e,
                   pay_time_t now, const struct payment_policy *policy, struct payment_step *out,
                   struct refund *after)
{
    enum refund_input in = refund_classify(p, r, e, now, policy);
    const struct refund_rule *rule = &refund_rules[r->state][in];

    memset(out, 0, sizeof(*out));
    out->input_name = refund_input_name(in);
    out->mismatch = in == INPUT_REFUND_NOTIFY_MISMATCH;
    out->after = *p;
    *after = *r;
    if (rule->actions & ACTION_REFUSE) {
        out->verdict = STEP_REFUSE;
        out->problem = problem_of(in);
        return;
    }
    payment_note_facts(e, now, actions_of(r, rule), case_kind(in, r), out);
    if (r->state == REFUND_NONE && in != INPUT_REFUND_CREATE)
        out->outcome.n = 0; /* no attempt was ever made for it */
    if ((rule->actions & ACTION_IGNORE) || refund_state_final(r->state) || rule->to == REFUND_NONE)
        out->verdict = out->outcome.n || out->open_case ? STEP_RECORD : STEP_NOTHING;
    else
        move(r, e, now, policy, rule, out, after);
}
