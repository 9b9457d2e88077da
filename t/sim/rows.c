/*
 * The store: rows and the statements of backends/store, one transaction each (sql_create, sql_step,
 * sql_answer, sql_refund, sql_record in commit_sql.c and refund_sql.c). Exactly the columns are
 * written that those statements write, by compare-and-swap on version and from-state; with them, or
 * not at all, go history, attempt, outcome, timer, callback and case.
 */
#include "sim.h"

enum statement { CREATE, STEP, ANSWER, REFUND, RECORD };

/* As commit.c's kind_of and commit_params.c's step_is_answer. */
static enum statement statement_of(const struct flow *f)
{
    const struct payment_step *s = &f->step;
    const struct payment *b = &f->p, *a = &s->after;

    if (s->verdict == STEP_RECORD)
        return RECORD;
    if (f->of_refund)
        return REFUND;
    if (b->version == 0)
        return CREATE;
    return !s->timer_changed && !s->callback && !s->open_case && !s->attempt.n &&
                   !payment_state_final(a->state) && a->prepare_past == b->prepare_past &&
                   a->reversal == b->reversal && a->succeeded_at == b->succeeded_at && !s->extra.seq
               ? ANSWER
               : STEP;
}

static void write_history(struct world *w, const struct flow *f, uint32_t version)
{
    struct rows *r = &w->rows;

    if (version != r->nhistory + 1 || version > VERSIONS_MAX) {
        broken(w, "versions rise by one", "version %u behind %u", version, r->nhistory);
        return;
    }
    r->history[version] = f->e.id;
    r->nhistory = version;
}

static void write_outcome(struct world *w, const struct flow *f)
{
    const struct payment_outcome *o = &f->step.outcome;
    struct attempt_row *a;

    if (!o->n)
        return;
    if (o->n > w->rows.nattempts) {
        broken(w, "answers have an attempt", "attempt %u of %u", o->n, w->rows.nattempts);
        return;
    }
    a = &w->rows.attempts[o->n];
    if (a->answered)
        return;
    a->answered = true;
    a->sent = o->sent;
    a->cls = o->cls;
}

static void write_attempt(struct world *w, const struct flow *f, uint32_t n, enum call_kind kind)
{
    struct rows *r = &w->rows;

    if (n != r->nattempts + 1 || n > ATTEMPTS_MAX) {
        broken(w, n > ATTEMPTS_MAX ? "bounded" : "attempts are numbered without gaps",
               "attempt %u behind %u", n, r->nattempts);
        return;
    }
    r->nattempts = n;
    r->attempts[n] = (struct attempt_row){.kind = kind,
                                          .command_seq = f->step.attempt.command_seq,
                                          .version = r->p.version,
                                          .refund = f->of_refund ? f->refund_index : -1,
                                          .committed_at = f->now,
                                          .send_before = f->step.attempt.send_before,
                                          .fate = FATE_WAITS,
                                          .deadline = f->deadline};
}

static void write_callback(struct world *w, const struct flow *f)
{
    struct rows *r = &w->rows;
    int subject = f->of_refund ? f->refund_index : -1;

    if (!f->step.callback)
        return;
    for (unsigned i = 0; i < r->ncallbacks; i++)
        if (r->callbacks[i].subject == subject) {
            broken(w, "one callback for each final state", "a second one for %d", subject);
            return;
        }
    r->callbacks[r->ncallbacks] = (struct callback_row){
        .subject = subject, .state = f->of_refund ? (int)f->r_after.state : (int)r->p.state};
    later(w, slow(w, SITE_callback_lost, 20 * MS, 0), EVENT_callback, r->ncallbacks, 0, 0);
    r->ncallbacks++;
}

/* ON CONFLICT DO NOTHING: the same fact again opens no second case. */
static void write_case(struct world *w, const struct flow *f)
{
    struct rows *r = &w->rows;
    const struct payment_step *s = &f->step;

    if (!s->open_case)
        return;
    for (unsigned i = 0; i < r->ncases; i++)
        if (slice_eq(r->cases[i].kind, s->case_kind) &&
            slice_eq(r->cases[i].detail, s->case_detail) &&
            slice_eq(r->cases[i].trade_no, f->e.channel_trade_no))
            return;
    if (r->ncases == CASES_MAX) {
        broken(w, "bounded", "more than %d cases", CASES_MAX);
        return;
    }
    r->cases[r->ncases] = (struct case_row){
        .kind = s->case_kind, .detail = s->case_detail, .trade_no = f->e.channel_trade_no};
    persons_called(w, r->ncases++);
}

static void set_timer(pay_time_t *at, enum call_kind *kind, uint32_t *tries, pay_time_t due_at,
                      enum call_kind due_kind, uint32_t due_tries)
{
    *at = due_at;
    *kind = due_at ? due_kind : CALL_NONE;
    *tries = due_at ? due_tries : 0;
}

/* ---- statements ---- */

static void create(struct world *w, struct flow *f)
{
    struct rows *r = &w->rows;

    r->exists = true;
    r->p = f->step.after;
    if (r->p.version != 1 || r->p.state != PAYMENT_PROCESSING || r->p.attempts != 1 ||
        r->p.prepare_n != 1 || r->p.prepare_last != MARK_OPEN || r->p.due_tries != 0 ||
        r->p.busy_kind != f->step.attempt.kind || !r->p.due_at || f->step.attempt.n != 1)
        broken(w, "as sql_create writes it", "version %u, %u attempts", r->p.version,
               r->p.attempts);
    write_history(w, f, 1);
    write_attempt(w, f, 1, r->p.busy_kind);
}

static void answer(struct world *w, struct flow *f)
{
    struct payment *p = &w->rows.p;
    const struct payment *a = &f->step.after;

    p->version++;
    p->state = a->state;
    p->prev_state = a->prev_state;
    p->not_sent = a->not_sent;
    p->prepare_last = a->prepare_last;
    p->busy_kind = a->busy_kind;
    p->busy_before = a->busy_before;
    p->channel_trade_no = a->channel_trade_no;
    p->code_url = a->code_url;
    write_history(w, f, p->version);
    write_outcome(w, f);
}

/* A record of its own: born with a reason, not done; final once. */
static void write_reversal(struct world *w, const struct flow *f)
{
    struct reversal_row *r = &w->rows.reversal;
    const struct payment *a = &f->step.after;

    if (f->step.reversal_why.n) {
        if (r->state != REVERSAL_NONE || a->reversal == REVERSAL_SUCCEEDED)
            broken(w, "one reversal, never born done", "by %s", f->step.input_name);
        *r = (struct reversal_row){.state = a->reversal, .tries = a->reverse_tries};
    } else if (a->reversal != REVERSAL_NONE && r->state == REVERSAL_PROCESSING) {
        r->state = a->reversal;
        r->tries = a->reverse_tries;
        if (a->reversal == REVERSAL_SUCCEEDED && a->succeeded_at)
            r->amount = a->amount;
    }
}

/* Its timer is due at once. */
static void write_extra(struct world *w, const struct flow *f)
{
    struct rows *r = &w->rows;
    const struct payment_extra *x = &f->step.extra;

    if (!x->seq)
        return;
    if (r->nrefunds == REFUNDS_MAX) {
        broken(w, "what came is given back once", "%u refunds", r->nrefunds);
        return;
    }
    for (unsigned i = 0; i < r->nrefunds; i++)
        if (r->refunds[i].r.command_seq == x->seq)
            broken(w, "what came is given back once", "command %u", x->seq);
    r->refunds[r->nrefunds++] = (struct refund_row){.wish = -1,
                                                    .r = {.id = w->next_id++,
                                                          .state = REFUND_PROCESSING,
                                                          .out_refund_no = SLICE("extra"),
                                                          .amount = x->amount,
                                                          .command_seq = x->seq,
                                                          .channel = x->channel,
                                                          .account = x->account,
                                                          .send_before = f->now,
                                                          .created_at = f->now,
                                                          .due_at = f->now,
                                                          .due_kind = CALL_REFUND}};
}

static void step(struct world *w, struct flow *f)
{
    struct payment *p = &w->rows.p;
    const struct payment *a = &f->step.after;

    memcpy(p->past, a->past, sizeof(p->past));
    p->extra_paid = a->extra_paid;
    p->channel = a->channel;
    p->account = a->account;
    p->command_seq = a->command_seq;
    write_extra(w, f);
    p->attempts = a->attempts;
    p->prepare_n = a->prepare_n;
    p->prepare_past = a->prepare_past;
    p->prepare_before = a->prepare_before;
    p->fail_code = a->fail_code;
    p->final_at = a->final_at;
    p->succeeded_at = a->succeeded_at;
    p->reversal = a->reversal;
    p->reverse_tries = a->reverse_tries;
    write_reversal(w, f);
    answer(w, f);
    if (f->step.attempt.n)
        write_attempt(w, f, a->attempts, a->busy_kind);
    if (f->step.timer_changed)
        set_timer(&p->due_at, &p->due_kind, &p->due_tries, a->due_at, a->due_kind, a->due_tries);
    write_callback(w, f);
    write_case(w, f);
}

static void refund(struct world *w, struct flow *f)
{
    struct rows *r = &w->rows;
    const struct payment *a = &f->step.after;
    struct refund *x;

    r->p.version++;
    r->p.attempts = a->attempts;
    r->p.refund_reserved = a->refund_reserved;
    r->p.refunded = a->refunded;
    r->p.extra_paid = a->extra_paid;
    if (f->r.state == REFUND_NONE) {
        if (r->nrefunds == REFUNDS_MAX || rows_refund_by_wish(w, f->which) >= 0) {
            broken(w, "one refund of a number", "wish %d twice", f->which);
            return;
        }
        f->refund_index = (int)r->nrefunds++;
        r->refunds[f->refund_index].wish = f->which;
        r->refunds[f->refund_index].r = f->r_after;
        r->refunds[f->refund_index].r.due_at = 0;
    }
    x = &r->refunds[f->refund_index].r;
    x->state = f->r_after.state;
    x->send_n = f->r_after.send_n;
    x->not_sent = f->r_after.not_sent;
    x->send_last = f->r_after.send_last;
    x->send_past = f->r_after.send_past;
    x->send_before = f->r_after.send_before;
    x->channel_refund_no = f->r_after.channel_refund_no;
    x->fail_code = f->r_after.fail_code;
    x->final_at = f->r_after.final_at;
    x->succeeded_at = f->r_after.succeeded_at;
    write_history(w, f, r->p.version);
    write_outcome(w, f);
    if (f->step.attempt.n)
        write_attempt(w, f, a->attempts, f->step.attempt.kind);
    if (f->step.timer_changed)
        set_timer(&x->due_at, &x->due_kind, &x->due_tries, f->r_after.due_at, f->r_after.due_kind,
                  f->r_after.due_tries);
    write_callback(w, f);
    write_case(w, f);
}

static void record(struct world *w, struct flow *f)
{
    write_outcome(w, f);
    write_case(w, f);
}

/* The swap: version and from-state are as the decision saw them. */
static bool swaps(const struct world *w, const struct flow *f)
{
    const struct payment *p = &w->rows.p;

    return w->rows.exists && p->version == f->p.version && p->state == f->p.state;
}

enum commit_result rows_commit(struct world *w, struct flow *f)
{
    static void (*const statements[])(struct world *, struct flow *) = {create, step, answer,
                                                                        refund, record};
    enum statement s = statement_of(f);
    struct payment before = {.version = 0};
    struct refund refund_before = f->r;

    if (s == CREATE && w->rows.exists)
        return RESULT_EXISTS;
    if (s != CREATE && s != RECORD && !swaps(w, f))
        return RESULT_CONFLICT;
    if (w->rows.exists)
        before = w->rows.p;
    statements[s](w, f);
    check_step(w, f, &before, &refund_before);
    return RESULT_DONE;
}

/* ---- decisions: pay.say_on_case ---- */

enum said rows_say(struct world *w, unsigned which, unsigned person, enum word word)
{
    struct case_row *c = &w->rows.cases[which];
    struct decision_row *d = c->ndecisions ? &c->decisions[c->ndecisions - 1] : NULL;

    if (d && d->state == DECISION_REJECTED)
        d = NULL;
    if (c->closed)
        return SAID_CLOSED;
    if (!d && word == WORD_REJECT)
        return SAID_NOTHING;
    if (!d) {
        if (c->ndecisions == WORDS_MAX)
            return SAID_NOTHING;
        c->decisions[c->ndecisions++] =
            (struct decision_row){.decision = word, .proposed_by = (uint8_t)person};
        return SAID_PROPOSED;
    }
    if (word == WORD_REJECT) {
        d->state = DECISION_REJECTED;
        d->second_by = (uint8_t)person;
        return SAID_REJECTED;
    }
    if (d->proposed_by == person)
        return SAID_SAME;
    if (d->decision != word)
        return SAID_DIFFERS;
    d->state = DECISION_CONFIRMED;
    d->second_by = (uint8_t)person;
    c->closed = true;
    return SAID_CONFIRMED;
}

/* ---- reads ---- */

/* sql_known: a loser in doubt whose event is in the history has won after all. */
bool rows_known(const struct world *w, const struct flow *f)
{
    uint32_t version = f->step.after.version;

    return version <= w->rows.nhistory && w->rows.history[version] == f->e.id;
}

int rows_refund_by_id(const struct world *w, int64_t id)
{
    for (unsigned i = 0; i < w->rows.nrefunds; i++)
        if (w->rows.refunds[i].r.id == id)
            return (int)i;
    return -1;
}

int rows_refund_by_wish(const struct world *w, int wish)
{
    for (unsigned i = 0; i < w->rows.nrefunds; i++)
        if (w->rows.refunds[i].wish == wish)
            return (int)i;
    return -1;
}

void rows_load(const struct world *w, int refund, struct payment *p, struct refund *r)
{
    *p = w->rows.p;
    /* no column: row.c */
    p->maybe_sent =
        p->prepare_n && (p->prepare_last != MARK_UNSENT || p->prepare_past != MARK_UNSENT);
    if (refund >= 0)
        *r = w->rows.refunds[refund].r;
}

pay_time_t rows_due(const struct world *w)
{
    pay_time_t first = w->rows.exists ? w->rows.p.due_at : 0;

    for (unsigned i = 0; i < w->rows.nrefunds; i++) {
        pay_time_t at = w->rows.refunds[i].r.due_at;

        if (at && (!first || at < first))
            first = at;
    }
    return first;
}
