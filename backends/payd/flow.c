#include "flow.h"

#include "backends/io/log.h"
#include "call.h"
#include "flows.h"
#include "reroute.h"
#include "view.h"

#include <stdlib.h>

#define ARENA_CAP      (512u << 10)
#define CONFLICTS_MAX  16
#define RETRIES_MAX    8
#define RETRY_FIRST_US (100 * USEC_PER_MSEC)

/* ---- life ---- */

struct flow *flow_new(struct worker *w, flow_cb *done, void *arg)
{
    struct flow *f = calloc(1, sizeof(*f));

    if (!f)
        return NULL;
    arena_init(&f->arena, ARENA_CAP);
    f->w = w;
    f->done = done;
    f->arg = arg;
    flows_enter(f);
    return f;
}

static void flow_free(void *arg)
{
    struct flow *f = arg;

    auth_code_forget(&f->auth_code);
    loop_timer_free(f->retry);
    arena_release(&f->arena);
    free(f);
}

void flow_drop(struct flow *f)
{
    flows_leave(f);
    flow_free(f);
}

static void finish(struct flow *f, enum flow_end end)
{
    f->end = end;
    flows_leave(f);
    f->done(f->arg, f);
    loop_defer(f->w->loop, flow_free, f);
}

/* ---- decide and commit ---- */

static void decide(struct flow *f);
static void retry_later(struct flow *f);

static void set_policy(struct flow *f)
{
    const struct options *o = f->w->options;
    const struct payment *p = &f->payment;
    const struct channel *c = channel_find(f->w->channels, flow_channel(f));
    const struct channel_facts *facts = c ? channel_facts(c) : NULL;
    struct channel_api api;

    f->policy =
        (struct payment_policy){.send_window = o->send_window_us,
                                .query_first = facts ? facts->first_query_us : 120 * USEC_PER_SEC,
                                .query_interval = o->query_interval_us,
                                .query_max = o->query_max_us,
                                .soon = o->query_soon_us,
                                .resend_interval = o->resend_interval_us,
                                .settle = facts ? facts->settle_us : 30 * USEC_PER_SEC,
                                .not_sent_limit = (uint32_t)o->not_sent_limit,
                                .prepare_resend = facts && facts->prepare_resend,
                                .paying_interval = o->paying_interval_us,
                                .paying_limit = o->paying_limit_us,
                                .reroute = (uint32_t)o->reroute,
                                .late_refund = o->late_refund || f->give_back,
                                .reverse_limit = (uint32_t)o->reverse_limit};
    if (c && channel_api(c, CALL_PREPARE, p->method, &api))
        f->policy.prepare_local = api.local;
    if (c && payment_is_charge(p) && channel_api(c, CALL_REVERSE, p->method, &api)) {
        f->policy.reverse_earliest = api.earliest_us;
        f->policy.reverse_open =
            channel_in_window(c, CALL_REVERSE, p->method, p->created_at, worker_now(f->w));
    }
    if (c && f->of_refund && channel_api(c, CALL_REFUND, p->method, &api)) {
        f->policy.refund = channel_has(c, CALL_REFUND_QUERY, p->method);
        f->policy.refund_resend = api.resend;
        f->policy.refund_window = api.window_us;
    }
    f->job.adapter_version = facts ? facts->version : 0;
}

static void log_step(const struct flow *f)
{
    const struct payment_step *s = &f->step;
    const char *from = payment_state_name(f->payment.state);
    const char *to = payment_state_name(s->after.state);
    char id[ID_TEXT_LEN + 1], refund[ID_TEXT_LEN + 1] = "";

    id_format(id, 'P', f->payment.id);
    if (f->of_refund) {
        id_format(refund, 'R', f->refund_after.id);
        from = refund_state_name(f->refund.state);
        to = refund_state_name(f->refund_after.state);
    }
    log_event(s->open_case ? LOG_ALERT : LOG_INFO, s->open_case ? "case" : "step",
              LOG_S("order", slice_of(id)), LOG_S("refund", slice_of(refund)),
              LOG_S("mchid", f->payment.mchid), LOG_S("trace", f->payment.trace_id),
              LOG_S("input", slice_of(s->input_name)), LOG_S("from", slice_of(from)),
              LOG_S("to", slice_of(to)), LOG_S("code", s->open_case ? s->case_kind : f->event.code),
              LOG_I("version", s->after.version));
}

static bool meant(const struct flow *f, const struct payment *p)
{
    struct slice channel = p->channel, account = p->account;

    if (!f->only_channel.n)
        return true;
    if (f->of_refund && f->refund.command_seq) {
        channel = f->refund.channel;
        account = f->refund.account;
    } else if (!f->of_refund && f->only_seq < p->command_seq && f->only_seq &&
               f->only_seq <= PAYMENT_PAST_MAX) { /* a channel that had refused it */
        channel = p->past[f->only_seq - 1].channel;
        account = p->past[f->only_seq - 1].account;
    }
    return slice_eq(f->only_channel, channel) && slice_eq(f->only_account, account) &&
           (f->of_refund || (f->only_seq && f->only_seq <= p->command_seq));
}

static void on_loaded(void *arg, enum store_result r, const struct payment *p)
{
    struct flow *f = arg;

    if (r == STORE_NONE || (r == STORE_DONE && !meant(f, p))) {
        finish(f, FLOW_NONE);
        return;
    }
    if (r != STORE_DONE) {
        retry_later(f);
        return;
    }
    f->payment = *p;
    decide(f);
}

/* A wish finds its payment, and perhaps the refund that has its number already. */
static void on_refund_loaded(void *arg, enum store_result r, const struct payment *p,
                             const struct refund *refund)
{
    struct flow *f = arg;
    bool wish = f->refund.state == REFUND_NONE && f->refund.out_refund_no.n;

    if (r == STORE_DONE && !f->has_id) {
        f->payment.id = p->id;
        flows_add_id(f);
    }
    if (r == STORE_DONE && wish && refund->id != 0) {
        f->payment = *p;
        f->refund = *refund;
        finish(f, FLOW_EXISTS);
        return;
    }
    if (r == STORE_DONE && !wish)
        f->refund = *refund;
    on_loaded(f, r, p);
}

static void reload(struct flow *f)
{
    struct payment *p = &f->payment;

    if (!f->of_refund)
        store_payment_by_id(f->w->store, p->id, &f->arena, on_loaded, f);
    else if (f->refund.id != 0)
        store_refund_by_id(f->w->store, f->refund.id, &f->arena, on_refund_loaded, f);
    else
        store_refund_by_no(f->w->store, p->slot, p->mchid, p->out_trade_no, f->refund.out_refund_no,
                           &f->arena, on_refund_loaded, f);
}

static void on_retry(void *arg)
{
    reload(arg);
}

/* An answer must not be forgotten because the database was away for a moment; what is still not
 * stored after this is found by the timer's query. */
static void retry_later(struct flow *f)
{
    if (f->event.kind != PAYMENT_EVENT_ANSWER || f->retries >= RETRIES_MAX || f->w->ending ||
        (!f->retry && !(f->retry = loop_timer_new(f->w->loop, on_retry, f)))) {
        finish(f, FLOW_BUSY);
        return;
    }
    loop_timer_set(f->retry, RETRY_FIRST_US << f->retries++);
}

static void on_committed(void *arg, enum store_result r)
{
    struct flow *f = arg;

    switch (r) {
    case STORE_DONE:
        log_step(f);
        if (f->step.verdict == STEP_COMMIT) {
            f->payment = f->step.after;
            f->refund = f->refund_after;
        }
        if (f->step.attempt.n)
            call_send(f);
        else
            finish(f, FLOW_SETTLED);
        return;
    case STORE_CONFLICT:
    case STORE_UNKNOWN:
        if (f->payment.version == 0 && !f->of_refund)
            finish(f, FLOW_UNKNOWN);
        else if (f->conflicts++ < CONFLICTS_MAX)
            reload(f);
        else
            retry_later(f);
        return;
    case STORE_EXISTS:
        finish(f, FLOW_EXISTS);
        return;
    case STORE_NONE:
    case STORE_BUSY:
        retry_later(f);
        return;
    }
}

/* Ids and the callback's text, which the domain cannot make. */
static int complete_job(struct flow *f)
{
    struct worker *w = f->w;
    struct store_job *j = &f->job;
    uint32_t slot = f->payment.slot;

    if (f->event.id == 0 && worker_id(w, slot, &f->event.id) != 0)
        return -1;
    if (f->of_refund && f->refund_after.id == 0) {
        if (worker_id(w, slot, &f->refund_after.id) != 0)
            return -1;
        f->refund_after.created_at = j->now;
    }
    if (f->step.attempt.n && worker_id(w, slot, &j->attempt_id) != 0)
        return -1;
    if (f->step.open_case && worker_id(w, slot, &j->case_id) != 0)
        return -1;
    if (f->step.extra.seq && worker_id(w, slot, &j->refund_id) != 0)
        return -1;
    if (f->step.callback) {
        if (worker_id(w, slot, &j->callback_id) != 0)
            return -1;
        j->callback_body = f->of_refund
                               ? view_refund_callback(&f->arena, j->callback_id, &f->step.after,
                                                      &f->refund_after, j->now)
                               : view_callback(&f->arena, j->callback_id, &f->step.after, j->now);
        j->callback_at = j->now;
        if (!j->callback_body.p)
            return -1;
    }
    return 0;
}

/* `now` was read when the turn began. What a process that was stopped since then has lost counts
 * against its attempt; the later clock is read first, so that a stop in between does too. */
static int64_t boot_time_of(const struct flow *f, pay_time_t now, pay_time_t t)
{
    int64_t boot = clock_read_boot_us();
    int64_t turn = clock_read_mono_us() - loop_now_us(f->w->loop);

    return boot - turn + (t - now);
}

static void decide(struct flow *f)
{
    pay_time_t now = worker_now(f->w);
    struct store_job *j = &f->job;

    set_policy(f);
    if (f->of_refund)
        refund_decide(&f->payment, &f->refund, &f->event, now, &f->policy, &f->step,
                      &f->refund_after);
    else
        payment_decide(&f->payment, &f->event, now, &f->policy, &f->step);
    if (f->step.verdict == STEP_NOTHING) {
        finish(f, FLOW_SETTLED);
        return;
    }
    if (f->step.verdict == STEP_REFUSE) {
        f->problem = f->step.problem;
        finish(f, FLOW_REFUSED);
        return;
    }
    j->before = &f->payment;
    j->step = &f->step;
    j->event = &f->event;
    j->refund_before = f->of_refund ? &f->refund : NULL;
    j->refund = f->of_refund ? &f->refund_after : NULL;
    j->now = now;
    j->done = on_committed;
    j->arg = f;
    if (complete_job(f) != 0) {
        retry_later(f);
        return;
    }
    f->attempt = f->step.attempt;
    f->attempt_id = j->attempt_id;
    f->send_before_boot_us = boot_time_of(f, now, f->attempt.send_before);
    store_commit(f->w->store, j);
}

void flow_create(struct flow *f)
{
    f->payment.created_at = worker_now(f->w);
    f->event.kind = PAYMENT_EVENT_CREATE;
    if (worker_id(f->w, f->payment.slot, &f->payment.id) != 0 ||
        worker_id(f->w, f->payment.slot, &f->event.id) != 0) {
        finish(f, FLOW_BUSY);
        return;
    }
    flows_add_id(f);
    flows_add_number(f);
    decide(f);
}

void flow_start(struct flow *f, int64_t payment_id, const struct payment_event *event)
{
    f->payment.id = payment_id;
    f->event = *event;
    if (worker_id(f->w, id_slot(payment_id), &f->event.id) != 0) {
        finish(f, FLOW_BUSY);
        return;
    }
    flows_add_id(f);
    reload(f);
}

void flow_refund(struct flow *f, int64_t total)
{
    f->of_refund = true;
    f->event = (struct payment_event){.kind = PAYMENT_EVENT_REFUND, .amount = total};
    reload(f);
}

void flow_start_refund(struct flow *f, int64_t refund_id, const struct payment_event *event)
{
    f->of_refund = true;
    f->refund.id = refund_id;
    f->payment.slot = id_slot(refund_id);
    f->event = *event;
    reload(f);
}

void flow_answer(struct flow *f, const struct payment_event *event)
{
    f->event = *event; /* its id is made when it is committed, however late that is */
    f->conflicts = f->retries = 0;
    reroute_offer(f, &f->event);
    decide(f);
}
