/*
 * The workers: event ▸ decide ▸ commit ▸ act, as backends/payd/flow.c does it, cut into steps that
 * others can come between: the image is read, the commit runs, its result comes back, the call goes
 * out, its answer comes. A process that dies forgets its flows; its attempts that had not gone out
 * never will.
 */
#include "sim.h"

#define CONFLICTS_MAX 16
#define RETRIES_MAX   8
#define RETRY_FIRST   (100 * MS)
#define POLL          (200 * MS)
#define ANSWER_WITHIN (38 * SEC)

/* ---- life ---- */

struct flow *flow_start(struct world *w, unsigned process, enum origin from, int which)
{
    for (unsigned i = 0; i < FLOWS_MAX; i++) {
        struct flow *f = &w->flows[i];

        if (f->used)
            continue;
        memset(f, 0, sizeof(*f));
        f->used = true;
        f->process = (uint8_t)process;
        f->origin = from;
        f->which = which;
        f->gen = ++w->next_gen;
        f->refund_index = -1;
        return f;
    }
    broken(w, "bounded", "more than %d flows", FLOWS_MAX);
    return NULL;
}

static void next(struct world *w, struct flow *f, int64_t in, enum event_kind k)
{
    later(w, in, k, (unsigned)(f - w->flows), 0, f->gen);
}

static void finish(struct world *w, struct flow *f, enum flow_end end)
{
    f->used = false;
    if (f->origin == FROM_NOTICE)
        bank_told(w, (unsigned)f->which, end == END_SETTLED && !f->step.mismatch);
    else if (f->origin != FROM_TIMER)
        merchant_hears(w, f, end);
}

/* Sends that were committed and now never go out. */
static void forget_send(struct world *w, const struct flow *f)
{
    struct attempt_row *a = &w->rows.attempts[f->attempt.n];

    if (f->committed && f->attempt.n && a->fate == FATE_WAITS)
        a->fate = FATE_DEAD;
}

void worker_crash(struct world *w, unsigned process)
{
    SAY(w, "p%u      dies", process);
    w->up_at[process] = w->t + 200 * MS + (int64_t)pick(w, SITE_crash, (uint64_t)(20 * SEC));
    for (unsigned i = 0; i < FLOWS_MAX; i++) {
        struct flow *f = &w->flows[i];

        if (!f->used || f->process != process)
            continue;
        forget_send(w, f);
        finish(w, f, END_DIED);
    }
    poll_soon(w);
}

unsigned worker_any(struct world *w)
{
    unsigned first = (unsigned)pick(w, SITE_world, PROCESSES);

    for (unsigned i = 0; i < PROCESSES; i++)
        if (w->up_at[(first + i) % PROCESSES] <= w->t)
            return (first + i) % PROCESSES;
    return PROCESSES;
}

/* flows_by_id */
bool worker_busy(const struct world *w, unsigned process)
{
    for (unsigned i = 0; i < FLOWS_MAX; i++)
        if (w->flows[i].used && w->flows[i].process == process)
            return true;
    return false;
}

/* ---- decide ---- */

static void retry_later(struct world *w, struct flow *f)
{
    if (f->e.kind != PAYMENT_EVENT_ANSWER || f->retries >= RETRIES_MAX)
        finish(w, f, END_BUSY);
    else
        next(w, f, RETRY_FIRST << f->retries++, EVENT_load);
}

void flow_load(struct world *w, struct flow *f)
{
    int i = f->refund_index;
    bool wish = f->of_refund && f->r.id == 0;

    if (chance(w, SITE_store_busy)) {
        retry_later(w, f);
        return;
    }
    if (f->of_refund)
        i = wish ? rows_refund_by_wish(w, f->which) : rows_refund_by_id(w, f->r.id);
    if (!w->rows.exists || (f->of_refund && !wish && i < 0)) {
        finish(w, f, END_NONE);
        return;
    }
    rows_load(w, i, &f->p, &f->r);
    f->refund_index = i;
    if (wish && i >= 0)
        finish(w, f, END_EXISTS);
    else
        flow_decide(w, f);
}

static void say_step(const struct world *w, const struct flow *f)
{
    static const char *const verdicts[] = {"commit", "record", "nothing", "refuse"};
    const struct payment_step *s = &f->step;

    SAY(w, "p%u v%-3u %s%.0d %s %s/%s -> %s: %s %s%s%s%s%s", f->process, f->p.version,
        f->of_refund ? "refund " : "", 0, payment_event_name(f->e.kind),
        f->e.kind == PAYMENT_EVENT_ANSWER ? call_kind_name(f->e.call) : "-",
        answer_class_name(f->e.cls), s->input_name, verdicts[s->verdict],
        f->of_refund ? refund_state_name(f->r_after.state) : payment_state_name(s->after.state),
        s->attempt.n ? ", sends " : "", s->attempt.n ? call_kind_name(s->attempt.kind) : "",
        s->callback ? ", callback" : "", s->open_case ? ", case" : "");
}

/* Ids are made once: a commit that is decided again keeps its event's. */
static void make_ids(struct world *w, struct flow *f)
{
    if (!f->e.id)
        f->e.id = w->next_id++;
    if (f->of_refund && f->r_after.id == 0) {
        f->r_after.id = w->next_id++;
        f->r_after.created_at = f->now;
    }
}

void flow_decide(struct world *w, struct flow *f)
{
    f->now = process_now(w, f->process);
    f->committed = false;
    f->attempt.n = 0;
    f->reverse_open = !w->reverse_window || f->now < f->p.created_at + w->reverse_window;
    w->policy.reverse_open = f->reverse_open;
    if (f->of_refund)
        refund_decide(&f->p, &f->r, &f->e, f->now, &w->policy, &f->step, &f->r_after);
    else
        payment_decide(&f->p, &f->e, f->now, &w->policy, &f->step);
    say_step(w, f);
    check_decision(w, f);
    if (f->step.verdict == STEP_NOTHING) {
        finish(w, f, END_SETTLED);
        return;
    }
    if (f->step.verdict == STEP_REFUSE) {
        check_refusal(w, f);
        finish(w, f, END_REFUSED);
        return;
    }
    make_ids(w, f);
    f->attempt = f->step.attempt;
    f->deadline = w->t + (f->attempt.send_before - f->now);
    f->doubt = false;
    next(w, f, slow(w, SITE_commit_slow, 2 * MS, 8 * SEC), EVENT_commit);
}

/* ---- commit ---- */

/* A COMMIT whose answer was lost is run once more as it is; a loser in doubt is looked up. */
void flow_commit(struct world *w, struct flow *f)
{
    if (!f->doubt && chance(w, SITE_store_busy)) {
        f->result = RESULT_BUSY;
    } else if (chance(w, SITE_commit_lost)) {
        if (!f->committed && pick(w, SITE_commit_lost, 2))
            f->committed = rows_commit(w, f) == RESULT_DONE;
        f->doubt = true;
        next(w, f, 10 * MS, EVENT_commit);
        return;
    } else {
        f->result = rows_commit(w, f);
        if (f->result != RESULT_DONE && f->doubt && rows_known(w, f))
            f->result = RESULT_DONE;
        f->committed = f->result == RESULT_DONE;
    }
    poll_soon(w);
    next(w, f, 1 + (int64_t)pick(w, SITE_world, (uint64_t)(2 * MS)), EVENT_result);
}

void flow_result(struct world *w, struct flow *f)
{
    switch (f->result) {
    case RESULT_DONE:
        if (f->step.verdict == STEP_COMMIT) {
            f->p = f->step.after;
            f->r = f->r_after;
        }
        if (f->attempt.n)
            next(w, f, slow(w, SITE_worker_stops, 10, 60 * SEC), EVENT_send);
        else
            finish(w, f, END_SETTLED);
        return;
    case RESULT_CONFLICT:
        SAY(w, "p%u v%-3u conflict", f->process, f->p.version);
        if (f->conflicts++ < CONFLICTS_MAX)
            flow_load(w, f);
        else
            retry_later(w, f);
        return;
    case RESULT_EXISTS:
        finish(w, f, END_EXISTS);
        return;
    case RESULT_BUSY:
        retry_later(w, f);
        return;
    }
}

/* ---- act: the egress ---- */

void flow_answered(struct world *w, struct flow *f, int64_t in, enum sent sent,
                   const struct payment_event *what)
{
    f->answer = *what;
    f->answer.kind = PAYMENT_EVENT_ANSWER;
    f->answer.call = f->attempt.kind;
    f->answer.attempt_n = f->attempt.n;
    f->answer.asked = f->attempt.version;
    f->answer.asked_at = f->attempt.committed_at;
    f->answer.seq = f->of_refund ? 0 : f->attempt.command_seq;
    f->answer.sent = sent;
    f->waits_for = 0;
    next(w, f, in, EVENT_answer);
}

static void no_answer(struct world *w, struct flow *f, int64_t in, enum sent sent,
                      enum answer_class cls)
{
    const struct payment_event nothing = {.cls = cls, .amount = -1};

    flow_answered(w, f, in, sent, &nothing);
}

void flow_send(struct world *w, struct flow *f)
{
    struct attempt_row *a = &w->rows.attempts[f->attempt.n];
    int64_t most = f->deadline + w->policy.settle - w->t - 2 * SEC, in;

    if (f->attempt.n > w->rows.nattempts || !f->committed || a->fate != FATE_WAITS) {
        broken(w, "nothing is sent that is not committed, nothing twice", "attempt %u",
               f->attempt.n);
        return;
    }
    if (f->attempt.kind == CALL_PREPARE && w->policy.prepare_local) {
        const struct payment_event local = {.cls = CLASS_ACCEPTED, .amount = -1};

        a->fate = FATE_ARRIVED;
        bank_expects(w, a->command_seq);
        flow_answered(w, f, 1, SENT_ANSWERED, &local);
        return;
    }
    if (w->t > f->deadline || chance(w, SITE_connect_fails)) {
        a->fate = FATE_DEAD;
        no_answer(w, f, 5 * MS, SENT_NO, CLASS_NOT_SENT);
        return;
    }
    if (chance(w, SITE_request_lost)) {
        a->fate = FATE_DEAD;
        no_answer(w, f, EGRESS_WAIT, SENT_MAYBE, CLASS_UNKNOWN);
        return;
    }
    a->fate = FATE_FLIES;
    in = slow(w, SITE_request_slow, 20 * MS, most);
    later(w, in, EVENT_arrive, (unsigned)(f - w->flows) * 1024 + f->attempt.n, 0, f->gen);
    if (in >= EGRESS_WAIT)
        no_answer(w, f, EGRESS_WAIT, SENT_MAYBE, CLASS_UNKNOWN);
    else
        f->waits_for = f->attempt.n;
}

/* As backends/payd/reroute.c: while the merchant waits, who has named the candidates. */
static void offer_next(const struct world *w, struct flow *f)
{
    static const struct slice channels[] = {SLICE("bank3"), SLICE("bank2")};
    static const struct slice accounts[] = {SLICE("A3"), SLICE("A2")};
    pay_time_t now = process_now(w, f->process);

    if (f->e.sent != SENT_ANSWERED || f->e.cls != CLASS_REFUSED || f->of_refund ||
        (f->e.call != CALL_PREPARE && f->e.call != CALL_CHARGE) || !f->candidates ||
        now >= f->p.time_expire || now >= f->p.created_at + ANSWER_WITHIN)
        return;
    f->e.next_channel = channels[--f->candidates];
    f->e.next_account = accounts[f->candidates];
}

void flow_answer(struct world *w, struct flow *f)
{
    f->e = f->answer;
    f->conflicts = f->retries = 0;
    offer_next(w, f);
    flow_decide(w, f);
}

/* ---- timers ---- */

static void start_timer(struct world *w, unsigned process, int refund)
{
    struct flow *f;

    if (worker_busy(w, process))
        return;
    f = flow_start(w, process, FROM_TIMER, -1);
    if (!f)
        return;
    f->e = (struct payment_event){.kind = PAYMENT_EVENT_TIMER, .amount = -1};
    f->of_refund = refund >= 0;
    if (refund >= 0) {
        f->r.id = w->rows.refunds[refund].r.id;
        f->which = w->rows.refunds[refund].wish;
    }
    next(w, f, 1 * MS, EVENT_load);
}

/* When the store has something due: then, or soon. */
void poll_soon(struct world *w)
{
    pay_time_t due = rows_due(w);
    int64_t at = due - T0 - w->jump;

    if (!due)
        return;
    if (at < w->t + POLL)
        at = w->t + POLL;
    if (w->next_poll <= at)
        return;
    w->next_poll = at;
    later(w, at - w->t, EVENT_poll, 0, 0, 0);
}

void poll_timers(struct world *w)
{
    unsigned process = worker_any(w);
    const struct rows *r = &w->rows;
    bool twice;

    if (w->t >= w->next_poll)
        w->next_poll = INT64_MAX;
    if (process < PROCESSES && r->exists) {
        pay_time_t now = process_now(w, process);

        twice = chance(w, SITE_polled_twice);
        if (r->p.due_at && r->p.due_at <= now) {
            start_timer(w, process, -1);
            if (twice && w->up_at[(process + 1) % PROCESSES] <= w->t)
                start_timer(w, (process + 1) % PROCESSES, -1);
        }
        for (unsigned i = 0; i < r->nrefunds; i++)
            if (r->refunds[i].r.due_at && r->refunds[i].r.due_at <= now) {
                start_timer(w, process, (int)i);
                if (twice && w->up_at[(process + 1) % PROCESSES] <= w->t)
                    start_timer(w, (process + 1) % PROCESSES, (int)i);
            }
    }
    poll_soon(w);
}
