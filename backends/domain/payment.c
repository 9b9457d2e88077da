#include "payment.h"

#include "payment_charge.h"
#include "payment_plan.h"
#include "payment_reroute.h"

/* After this many closes in a row without a result, one turn asks instead: a paid order whose
 * notification was lost would never be found by closing alone. */
#define CLOSES_PER_QUERY 3

/* ---- what an event means ---- */

static bool closing(const struct payment *p, pay_time_t now)
{
    return payment_expired(p, now) || payment_close_wanted(p);
}

/* May a prepare go out (again) under the same number? */
static bool may_prepare(const struct payment *p, const struct payment_policy *policy)
{
    return policy->prepare_resend || !p->maybe_sent;
}

/* What was to arrive there has arrived by then, or never will. */
static bool settled(const struct payment *p, pay_time_t at, const struct payment_policy *policy)
{
    return at >= p->prepare_before + policy->settle;
}

bool payment_amount_ours(const struct payment *p, const struct payment_event *e)
{
    if (e->amount != p->amount)
        return false;
    /* A channel that speaks of no currency has one only. */
    return e->currency.n ? slice_eq(e->currency, p->currency) : slice_is(p->currency, "CNY");
}

enum payment_input payment_classify_paid(const struct payment *p, const struct payment_event *e,
                                         const struct payment_policy *policy,
                                         enum payment_input paid, enum payment_input mismatch)
{
    if (!payment_amount_ours(p, e))
        return mismatch;
    if (p->reversal == REVERSAL_PROCESSING)
        return INPUT_PAID_REVERSING;
    if (p->reversal == REVERSAL_SUCCEEDED)
        return INPUT_PAID_REVERSED;
    if (p->state == PAYMENT_SUCCEEDED && p->channel_trade_no.n && e->channel_trade_no.n &&
        !slice_eq(p->channel_trade_no, e->channel_trade_no))
        return INPUT_SECOND_PAID;
    if (policy->late_refund && (p->state == PAYMENT_FAILED || p->state == PAYMENT_CLOSED))
        return payment_classify_late(p, e);
    return paid;
}

static enum payment_input classify_prepare(const struct payment *p, const struct payment_event *e,
                                           const struct payment_policy *policy)
{
    bool latest = e->attempt_n == p->prepare_n;

    if (e->sent == SENT_NO) {
        if (!latest)
            return INPUT_PREPARE_UNKNOWN;
        return p->prepare_past == MARK_UNSENT && p->not_sent + 1 >= policy->not_sent_limit
                   ? INPUT_PREPARE_GIVEN_UP
                   : INPUT_PREPARE_NOT_SENT;
    }
    if (e->sent != SENT_ANSWERED)
        return INPUT_PREPARE_UNKNOWN;
    switch (e->cls) {
    case CLASS_SUCCESS:
    case CLASS_ACCEPTED:
    case CLASS_USER_PAYING:
        return INPUT_PREPARE_ACCEPTED;
    case CLASS_FAILED:
    case CLASS_REFUSED:
        if (!latest || p->prepare_past == MARK_OPEN)
            return INPUT_PREPARE_FAILED_DOUBTED;
        return payment_may_reroute(p, e, policy) ? INPUT_REROUTE : INPUT_PREPARE_FAILED;
    case CLASS_CLOSED:
        return INPUT_PREPARE_CLOSED;
    case CLASS_TOO_FREQUENT:
        return latest && policy->prepare_resend ? INPUT_PREPARE_TOO_FREQUENT
                                                : INPUT_PREPARE_UNKNOWN;
    case CLASS_DUPLICATE:
        return INPUT_PREPARE_DUPLICATE;
    default:
        return INPUT_PREPARE_UNKNOWN;
    }
}

static enum payment_input classify_waiting(const struct payment *p, const struct payment_event *e,
                                           pay_time_t now, const struct payment_policy *policy)
{
    if (e->attempt_n < p->attempts)
        return INPUT_QUERY_WAITING_STALE;
    if (p->code_url.n || !policy->prepare_resend || closing(p, now))
        return INPUT_QUERY_WAITING;
    return settled(p, now, policy) ? INPUT_QUERY_WAITING_LOST_CODE : INPUT_QUERY_WAITING_EARLY;
}

/* The order may have come to the channel, or been accepted, after the question was put. */
static enum payment_input classify_not_found(const struct payment *p, const struct payment_event *e,
                                             pay_time_t now, const struct payment_policy *policy)
{
    if (!settled(p, e->asked_at, policy) || e->asked < p->version)
        return INPUT_QUERY_NOT_FOUND_EARLY;
    if (closing(p, now))
        return INPUT_QUERY_NOT_FOUND_CLOSING;
    return may_prepare(p, policy) ? INPUT_QUERY_NOT_FOUND : INPUT_QUERY_NOT_FOUND_KEEP;
}

static enum payment_input classify_query(const struct payment *p, const struct payment_event *e,
                                         pay_time_t now, const struct payment_policy *policy)
{
    if (e->sent != SENT_ANSWERED)
        return INPUT_QUERY_UNKNOWN;
    switch (e->cls) {
    case CLASS_SUCCESS:
        return payment_classify_paid(p, e, policy, INPUT_QUERY_PAID, INPUT_QUERY_MISMATCH);
    case CLASS_ACCEPTED:
    case CLASS_USER_PAYING:
        return classify_waiting(p, e, now, policy);
    case CLASS_FAILED:
        return INPUT_QUERY_FAILED;
    case CLASS_CLOSED:
        return INPUT_QUERY_CLOSED;
    case CLASS_NOT_FOUND:
        if (policy->prepare_local &&
            !payment_state_final(p->state)) /* the payer has not come yet */
            return INPUT_QUERY_WAITING;
        return classify_not_found(p, e, now, policy);
    default:
        return INPUT_QUERY_UNKNOWN;
    }
}

/* Some channels close what they never saw. The prepare may arrive behind the close, and the close's
 * answer long behind both: what it says then is news only if the close was asked late enough. */
static enum payment_input classify_close(const struct payment *p, const struct payment_event *e,
                                         const struct payment_policy *policy)
{
    bool open = p->prepare_last == MARK_OPEN || p->prepare_past == MARK_OPEN;
    bool early = open && !settled(p, e->asked_at, policy);
    bool seen = p->state != PAYMENT_PROCESSING && e->asked == p->version;

    if (e->sent != SENT_ANSWERED)
        return INPUT_CLOSE_UNKNOWN;
    switch (e->cls) {
    case CLASS_SUCCESS:
    case CLASS_CLOSED:
        return early && !seen ? INPUT_CLOSE_DONE_EARLY : INPUT_CLOSE_DONE;
    case CLASS_DUPLICATE:
        return INPUT_CLOSE_PAID;
    case CLASS_NOT_FOUND:
        if (early || (policy->prepare_local && payment_state_final(p->state)))
            return INPUT_CLOSE_UNKNOWN; /* the order, or its payer, came since */
        if (policy->prepare_local) /* nobody came, and what he holds is dead behind the expiry */
            return e->asked_at >= p->time_expire + policy->settle ? INPUT_CLOSE_DONE
                                                                  : INPUT_CLOSE_NOT_FOUND;
        return p->due_tries >= PAYMENT_CLOSE_TRIES_LONG ? INPUT_CLOSE_NOT_FOUND_LONG
                                                        : INPUT_CLOSE_NOT_FOUND;
    default:
        return INPUT_CLOSE_UNKNOWN;
    }
}

static enum payment_input classify_notify(const struct payment *p, const struct payment_event *e,
                                          const struct payment_policy *policy)
{
    switch (e->cls) {
    case CLASS_SUCCESS:
        return payment_classify_paid(p, e, policy, INPUT_NOTIFY_PAID, INPUT_NOTIFY_MISMATCH);
    case CLASS_FAILED:
        return INPUT_NOTIFY_FAILED;
    case CLASS_CLOSED:
        return INPUT_NOTIFY_CLOSED;
    default:
        return INPUT_NOTIFY_OTHER;
    }
}

static enum payment_input classify_timer(const struct payment *p, pay_time_t now,
                                         const struct payment_policy *policy)
{
    if (!p->due_at || now < p->due_at)
        return INPUT_TIMER_EARLY;
    if (payment_is_charge(p))
        return INPUT_TIMER_QUERY;
    if (closing(p, now) && !p->maybe_sent)
        return INPUT_TIMER_EXPIRED_UNSENT;
    switch (p->due_kind) {
    case CALL_PREPARE:
        if (payment_expired(p, now))
            return INPUT_TIMER_CLOSE;
        return may_prepare(p, policy) ? INPUT_TIMER_PREPARE : INPUT_TIMER_QUERY;
    case CALL_CLOSE:
        return p->due_tries % (CLOSES_PER_QUERY + 1) == CLOSES_PER_QUERY ? INPUT_TIMER_QUERY
                                                                         : INPUT_TIMER_CLOSE;
    default:
        return INPUT_TIMER_QUERY;
    }
}

/* 64 askers at once make one call: the latest attempt is of that kind, unanswered and in time. */
static bool busy(const struct payment *p, enum call_kind kind, pay_time_t now)
{
    return p->busy_kind == kind && now < p->busy_before;
}

static enum payment_input classify_answer(const struct payment *p, const struct payment_event *e,
                                          pay_time_t now, const struct payment_policy *policy)
{
    switch (e->call) {
    case CALL_PREPARE:
        return classify_prepare(p, e, policy);
    case CALL_CHARGE:
        return charge_classify_answer(p, e, policy);
    case CALL_CLOSE:
        return classify_close(p, e, policy);
    case CALL_REVERSE:
        return charge_classify_reverse(p, e, policy);
    default:
        return payment_is_charge(p) ? charge_classify_query(p, e, now, policy)
                                    : classify_query(p, e, now, policy);
    }
}

enum payment_input payment_classify(const struct payment *p, const struct payment_event *e,
                                    pay_time_t now, const struct payment_policy *policy)
{
    switch (e->kind) {
    case PAYMENT_EVENT_CREATE:
        return INPUT_CREATE;
    case PAYMENT_EVENT_ANSWER:
        return payment_event_of_past(p, e) ? payment_classify_past(p, e)
                                           : classify_answer(p, e, now, policy);
    case PAYMENT_EVENT_NOTIFY:
        return payment_event_of_past(p, e) ? payment_classify_past(p, e)
                                           : classify_notify(p, e, policy);
    case PAYMENT_EVENT_TIMER:
        return classify_timer(p, now, policy);
    case PAYMENT_EVENT_CLOSE:
        if (payment_is_charge(p))
            return charge_classify_close(p, busy(p, CALL_QUERY, now), now, policy);
        if (!p->maybe_sent)
            return INPUT_MERCHANT_CLOSE_UNSENT;
        return busy(p, CALL_CLOSE, now) ? INPUT_MERCHANT_CLOSE_BUSY : INPUT_MERCHANT_CLOSE;
    case PAYMENT_EVENT_OPERATOR_QUERY:
        return busy(p, CALL_QUERY, now) ? INPUT_OPERATOR_QUERY_BUSY : INPUT_OPERATOR_QUERY;
    case PAYMENT_EVENT_REFUND: /* refund_decide's */
    case PAYMENT_EVENT_KINDS:
        break;
    }
    return INPUT_TIMER_EARLY;
}

/* ---- the step ---- */

static void note_answer(struct payment *a, const struct payment_event *e)
{
    if (e->attempt_n == a->attempts) {
        a->busy_kind = CALL_NONE;
        a->busy_before = 0;
    }
    if ((e->call != CALL_PREPARE && e->call != CALL_CHARGE) || e->attempt_n != a->prepare_n ||
        a->prepare_last != MARK_OPEN)
        return;
    if (e->sent == SENT_NO) {
        a->prepare_last = MARK_UNSENT;
        a->not_sent++;
    } else if (e->sent == SENT_ANSWERED && e->cls == CLASS_TOO_FREQUENT) {
        a->prepare_last = MARK_IDLE;
    }
    a->maybe_sent = a->prepare_last != MARK_UNSENT || a->prepare_past != MARK_UNSENT;
}

static void take(struct payment *a, const struct payment_event *e, pay_time_t now)
{
    if (e->channel_trade_no.n)
        a->channel_trade_no = e->channel_trade_no;
    if (e->code_url.n)
        a->code_url = e->code_url;
    if (a->reversal == REVERSAL_PROCESSING && e->cls == CLASS_SUCCESS && !a->succeeded_at)
        a->succeeded_at = e->paid_at ? e->paid_at : now;
}

static void finish(struct payment *a, const struct payment_event *e, enum payment_input in,
                   pay_time_t now)
{
    a->final_at = now;
    if (a->reversal == REVERSAL_SUCCEEDED)
        a->fail_code = SLICE("REVERSED");
    else if (in == INPUT_TIMER_EXPIRED_UNSENT || in == INPUT_MERCHANT_CLOSE_UNSENT ||
             in == INPUT_PREPARE_GIVEN_UP || (in == INPUT_CHARGE_FAILED && e->sent == SENT_NO))
        a->fail_code = SLICE("NOT_SENT");
    else if (a->state != PAYMENT_SUCCEEDED)
        a->fail_code = e->code;
    else if (!a->succeeded_at)
        a->succeeded_at = e->paid_at ? e->paid_at : now;
    a->due_at = 0;
    a->due_kind = CALL_NONE;
    a->due_tries = 0;
    a->busy_kind = CALL_NONE;
    a->busy_before = 0;
}

/* The command and its attempt: written down before it is sent, so it counts as maybe sent. */
static void add_attempt(struct payment *a, unsigned actions, pay_time_t now,
                        const struct payment_policy *policy, struct payment_attempt *attempt)
{
    enum call_kind kind = CALL_NONE;

    if (actions & ACTION_SEND_PREPARE)
        kind = payment_is_charge(a) ? CALL_CHARGE : CALL_PREPARE;
    else if (actions & ACTION_SEND_QUERY)
        kind = CALL_QUERY;
    else if (actions & ACTION_SEND_CLOSE)
        kind = CALL_CLOSE;
    else if (actions & ACTION_SEND_REVERSE)
        kind = CALL_REVERSE;
    else
        return;
    *attempt = (struct payment_attempt){.n = ++a->attempts,
                                        .kind = kind,
                                        .command_seq = a->command_seq,
                                        .version = a->version,
                                        .committed_at = now,
                                        .send_before = now + policy->send_window};
    a->busy_kind = kind;
    a->busy_before = attempt->send_before;
    if (kind != CALL_PREPARE && kind != CALL_CHARGE)
        return;
    if (a->prepare_last > a->prepare_past)
        a->prepare_past = a->prepare_last;
    a->prepare_n = attempt->n;
    a->prepare_last = MARK_OPEN;
    a->prepare_before = attempt->send_before;
    a->maybe_sent = true;
}

static struct slice case_kind(enum payment_state state, enum payment_input in)
{
    switch (in) {
    case INPUT_QUERY_MISMATCH:
    case INPUT_NOTIFY_MISMATCH:
    case INPUT_CHARGE_MISMATCH:
        return SLICE("amount_mismatch");
    case INPUT_SECOND_PAID:
        return SLICE("second_success");
    case INPUT_REVERSE_AGAIN_LONG:
    case INPUT_REVERSE_REFUSED:
    case INPUT_POLL_REVERSE_LATE:
        return SLICE("not_reversed");
    case INPUT_PAID_REVERSED:
        return SLICE("paid_then_reversed");
    case INPUT_QUERY_PAID:
    case INPUT_NOTIFY_PAID:
    case INPUT_CHARGE_PAID:
        return state == PAYMENT_SUCCEEDED ? SLICE("contradiction") : SLICE("late_success");
    case INPUT_QUERY_NOT_FOUND:
    case INPUT_QUERY_NOT_FOUND_KEEP:
    case INPUT_QUERY_NOT_FOUND_CLOSING:
    case INPUT_CLOSE_NOT_FOUND:
    case INPUT_CLOSE_NOT_FOUND_LONG:
        return SLICE("not_found");
    default:
        return SLICE("contradiction");
    }
}

/* What is written whether or not the order moves. */
void payment_note_facts(const struct payment_event *e, pay_time_t now, unsigned actions,
                        struct slice kind, struct payment_step *out)
{
    if (e->kind == PAYMENT_EVENT_ANSWER)
        out->outcome = (struct payment_outcome){.n = e->attempt_n,
                                                .sent = e->sent,
                                                .cls = e->cls,
                                                .http_status = e->http_status,
                                                .code = e->code,
                                                .message = e->message,
                                                .answered_at = now};
    if (actions & ACTION_CASE) {
        out->open_case = true;
        out->case_kind = kind;
        out->case_detail = slice_of(out->input_name);
    }
}

static void move(const struct payment *p, const struct payment_event *e, pay_time_t now,
                 const struct payment_policy *policy, const struct payment_rule *rule,
                 struct payment_step *out)
{
    struct payment *a = &out->after;

    a->version++;
    if (rule->to != p->state) {
        a->prev_state = p->state;
        a->state = rule->to;
    }
    if (p->state == PAYMENT_NONE)
        a->command_seq = 1;
    if (e->kind == PAYMENT_EVENT_ANSWER)
        note_answer(a, e);
    if (rule->actions & ACTION_REROUTE)
        payment_reroute(a, e);
    if (rule->actions & ACTION_GIVE_BACK)
        payment_give_back(a, e, &out->extra);
    charge_note_reversal(p, e, rule->actions, now, a, &out->reversal_why);
    if (rule->actions & ACTION_TAKE)
        take(a, e, now);
    if (payment_state_final(p->state)) {
        ; /* nothing of it moves */
    } else if (payment_state_final(a->state)) {
        finish(a, e, out->input, now);
        out->callback = true;
    } else {
        payment_plan(a, rule->actions, now, policy);
        add_attempt(a, rule->actions, now, policy, &out->attempt);
    }
    out->timer_changed =
        a->due_at != p->due_at || a->due_kind != p->due_kind || a->due_tries != p->due_tries;
    out->verdict = STEP_COMMIT;
}

void payment_decide(const struct payment *p, const struct payment_event *e, pay_time_t now,
                    const struct payment_policy *policy, struct payment_step *out)
{
    enum payment_input in = payment_classify(p, e, now, policy);
    const struct payment_rule *rule = &payment_rules[p->state][in];

    memset(out, 0, sizeof(*out));
    out->input = in;
    out->input_name = payment_input_name(in);
    out->mismatch = in == INPUT_NOTIFY_MISMATCH;
    out->after = *p;
    if (rule->actions & ACTION_REFUSE) {
        out->verdict = STEP_REFUSE;
        out->problem = p->state == PAYMENT_NONE ? PROBLEM_ORDER_NOT_FOUND : PROBLEM_STATE_CONFLICT;
        return;
    }
    payment_note_facts(e, now, rule->actions, case_kind(p->state, in), out);
    if (p->state == PAYMENT_NONE)
        out->outcome.n = 0; /* no attempt was ever made */
    if ((rule->actions & ACTION_IGNORE) ||
        (payment_state_final(p->state) && !(rule->actions & ACTION_GIVE_BACK)))
        out->verdict = out->outcome.n || out->open_case ? STEP_RECORD : STEP_NOTHING;
    else
        move(p, e, now, policy, rule, out);
}
