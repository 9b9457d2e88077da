#include "commit_params.h"

#include "core/ids.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

/* One array parameter: `value` is evaluated for each job, with b, a, s, e, f at hand. */
#define ARRAY(type, add, value)                                                                    \
    do {                                                                                           \
        pg_array_begin(p, (type), (uint32_t)n);                                                    \
        for (size_t i = 0; i < n; i++) {                                                           \
            const struct store_job *j = jobs[i];                                                   \
            const struct payment *b = j->before, *a = &j->step->after;                             \
            const struct payment_step *s = j->step;                                                \
            const struct payment_event *e = j->event;                                              \
            const struct refund *f = j->refund;                                                    \
                                                                                                   \
            (void)b, (void)a, (void)s, (void)e, (void)f;                                           \
            add(p, value);                                                                         \
        }                                                                                          \
        pg_array_end(p);                                                                           \
    } while (0)
#define INT2(value)  ARRAY(PG_INT2, pg_add_int2, (int16_t)(value))
#define INT4(value)  ARRAY(PG_INT4, pg_add_int4, (int32_t)(value))
#define INT8(value)  ARRAY(PG_INT8, pg_add_int8, (int64_t)(value))
#define TEXT(value)  ARRAY(PG_TEXT, pg_add_text, or_empty(value))
#define BYTEA(value) ARRAY(PG_BYTEA, pg_add_bytea, or_empty(value))
#define TIME(value)  ARRAY(PG_TIMESTAMPTZ, pg_add_time, (value))

enum timer_op { TIMER_KEEP, TIMER_SET, TIMER_DELETE };

/* Texts are NOT NULL in the schema: nothing is ''. */
static struct slice or_empty(struct slice s)
{
    return s.p ? s : SLICE("");
}

static struct pg_params *new_params(void)
{
    struct pg_params *p = pg_params_new();

    if (!p)
        abort(); /* see pg.c: a job that never ends would leave its order hanging */
    return p;
}

static enum timer_op timer_op(const struct payment_step *s, pay_time_t due_at)
{
    if (!s->timer_changed)
        return TIMER_KEEP;
    return due_at ? TIMER_SET : TIMER_DELETE;
}

bool step_is_answer(const struct store_job *job)
{
    const struct payment_step *s = job->step;
    const struct payment *b = job->before, *a = &s->after;

    return !s->timer_changed && !s->callback && !s->open_case && !s->attempt.n &&
           !payment_state_final(a->state) && a->prepare_past == b->prepare_past &&
           a->reversal == b->reversal && a->succeeded_at == b->succeeded_at && !s->extra.seq;
}

/* What sql_create writes as constants. */
static void check_create(const struct store_job *j)
{
    const struct payment *a = &j->step->after;

    assert(a->version == 1 && a->state == PAYMENT_PROCESSING && a->prev_state == PAYMENT_NONE);
    assert(a->attempts == 1 && a->prepare_n == 1 && a->prepare_last == MARK_OPEN);
    assert(a->prepare_past == MARK_UNSENT && a->not_sent == 0 && a->due_tries == 0);
    assert(a->busy_kind == j->step->attempt.kind && a->busy_before == a->prepare_before);
    assert(j->step->attempt.n == 1 && j->attempt_id && a->due_at && id_slot(a->id) == a->slot);
}

struct pg_params *params_create(struct store_job *const *jobs, size_t n)
{
    struct pg_params *p = new_params();

    for (size_t i = 0; i < n; i++)
        check_create(jobs[i]);
    INT2(a->slot);
    INT8(a->id);
    TEXT(a->mchid);
    TEXT(a->app_id);
    TEXT(a->out_trade_no);
    BYTEA(a->digest);
    INT2(a->method);
    TEXT(a->scene);
    TEXT(a->product);
    TEXT(a->store_id);
    INT8(a->amount);
    TEXT(a->currency);
    TEXT(a->description);
    TEXT(a->attach);
    TEXT(a->notify_url);
    TEXT(a->trace_id);
    TEXT(a->channel);
    TEXT(a->account);
    TEXT(a->route);
    TIME(a->created_at);
    TIME(a->time_expire);
    TIME(a->prepare_before);
    INT2(a->command_seq);
    INT8(e->id);
    INT8(j->attempt_id);
    INT8(j->adapter_version);
    TIME(a->due_at);
    INT2(a->due_kind);
    INT2(a->busy_kind);
    TEXT(a->payer);
    return p;
}

static void add_outcome(struct pg_params *p, struct store_job *const *jobs, size_t n)
{
    INT4(s->outcome.n);
    INT2(s->outcome.sent);
    INT2(s->outcome.cls);
    INT4(s->outcome.http_status);
    TEXT(e->message);
}

static void add_digests(struct pg_params *p, struct store_job *const *jobs, size_t n)
{
    BYTEA(j->request_digest);
    BYTEA(j->answer_digest);
}

static void add_case(struct pg_params *p, struct store_job *const *jobs, size_t n)
{
    INT8(s->open_case ? j->case_id : 0);
    TEXT(s->case_kind);
    TEXT(s->case_detail);
    INT8(e->amount);
    TEXT(e->currency);
    TEXT(e->channel_trade_no);
}

#define TRADE_NO_MAX 64

/* A trade number is kept where row.c can read it again. */
static struct slice plain(struct slice trade_no)
{
    for (size_t i = 0; i < trade_no.n; i++)
        if (trade_no.p[i] <= ' ' || i == TRADE_NO_MAX)
            return SLICE_NULL;
    return trade_no;
}

/* CHANNEL/ACCOUNT of each, !TRADE_NO behind those that were paid; the buffer is the next call's. */
static struct slice past_text(const struct payment *p)
{
    static char text[(PAYMENT_PAST_MAX + 1) * (128 + TRADE_NO_MAX)];
    size_t n = 0;

    for (uint32_t i = 0; i <= PAYMENT_PAST_MAX && (i + 1 < p->command_seq || p->past[i].paid); i++)
        n += (size_t)snprintf(text + n, sizeof(text) - n, "%s%.*s/%.*s%s%.*s", i ? " " : "",
                              SLICE_FMT(p->past[i].channel), SLICE_FMT(p->past[i].account),
                              p->past[i].paid ? "!" : "", SLICE_FMT(plain(p->past[i].trade_no)));
    assert(n < sizeof(text));
    return slice_n(text, n);
}

/* No merchant's number has a colon. */
static struct slice extra_refund_no(const struct payment_step *s)
{
    static char text[16];

    return slice_n(text, (size_t)snprintf(text, sizeof(text), "extra:%u", s->extra.seq % 100));
}

static struct slice extra_reason(const struct store_job *j)
{
    if (j->refund_reason.n)
        return j->refund_reason;
    return j->step->extra.seq && j->step->extra.seq == j->step->after.command_seq
               ? SLICE("late payment")
               : SLICE("duplicate payment");
}

struct pg_params *params_step(struct store_job *const *jobs, size_t n)
{
    struct pg_params *p = new_params();

    INT2(b->slot);
    INT8(b->id);
    INT4(b->version);
    INT2(b->state);
    INT2(a->state);
    INT2(a->prev_state);
    INT4(a->attempts);
    INT4(a->prepare_n);
    INT4(a->not_sent);
    INT2(a->prepare_last);
    INT2(a->prepare_past);
    TIME(a->prepare_before);
    INT2(a->busy_kind);
    TIME(a->busy_before);
    TEXT(a->channel_trade_no);
    TEXT(a->code_url);
    TEXT(a->fail_code);
    TIME(a->final_at);
    TIME(a->succeeded_at);
    INT8(e->id);
    TIME(j->now);
    INT2(e->kind);
    TEXT(slice_of(s->input_name));
    TEXT(e->code);
    add_outcome(p, jobs, n);
    INT8(s->attempt.n ? j->attempt_id : 0);
    INT8(j->adapter_version);
    INT2(timer_op(s, a->due_at));
    TIME(a->due_at);
    INT2(a->due_kind);
    INT4(a->due_tries);
    INT8(s->callback ? j->callback_id : 0);
    TEXT(s->callback ? j->callback_body : SLICE_NULL);
    TIME(s->callback ? j->callback_at : 0);
    add_case(p, jobs, n);
    INT2(a->reversal);
    INT2(a->reverse_tries);
    TEXT(s->reversal_why);
    TEXT(past_text(a));
    INT8(a->extra_paid);
    TEXT(a->channel);
    TEXT(a->account);
    INT2(a->command_seq);
    INT8(s->extra.seq ? j->refund_id : 0);
    TEXT(extra_refund_no(s));
    INT2(s->extra.seq);
    INT8(s->extra.amount);
    TEXT(s->extra.channel);
    TEXT(s->extra.account);
    add_digests(p, jobs, n);
    TEXT(extra_reason(j));
    return p;
}

struct pg_params *params_answer(struct store_job *const *jobs, size_t n)
{
    struct pg_params *p = new_params();

    INT2(b->slot);
    INT8(b->id);
    INT4(b->version);
    INT2(b->state);
    INT2(a->state);
    INT2(a->prev_state);
    INT4(a->not_sent);
    INT2(a->prepare_last);
    INT2(a->busy_kind);
    TIME(a->busy_before);
    TEXT(a->channel_trade_no);
    TEXT(a->code_url);
    INT8(e->id);
    TIME(j->now);
    INT2(e->kind);
    TEXT(slice_of(s->input_name));
    TEXT(e->code);
    add_outcome(p, jobs, n);
    add_digests(p, jobs, n);
    return p;
}

struct pg_params *params_refund(struct store_job *const *jobs, size_t n)
{
    struct pg_params *p = new_params();

    INT2(b->slot);
    INT8(b->id);
    INT4(b->version);
    INT4(a->attempts);
    INT8(a->refund_reserved);
    INT8(a->refunded);
    INT8(f->id);
    INT2(j->refund_before->state);
    INT2(f->state);
    TEXT(f->out_refund_no);
    BYTEA(f->digest);
    INT8(f->amount);
    TEXT(f->reason);
    TEXT(f->notify_url);
    TEXT(f->trace_id);
    TIME(f->created_at);
    INT4(f->send_n);
    INT4(f->not_sent);
    INT2(f->send_last);
    INT2(f->send_past);
    TIME(f->send_before);
    TEXT(f->channel_refund_no);
    TEXT(f->fail_code);
    TIME(f->final_at);
    TIME(f->succeeded_at);
    INT8(e->id);
    TIME(j->now);
    INT2(e->kind);
    TEXT(slice_of(s->input_name));
    TEXT(e->code);
    add_outcome(p, jobs, n);
    INT8(s->attempt.n ? j->attempt_id : 0);
    INT2(s->attempt.kind);
    TIME(s->attempt.send_before);
    INT8(j->adapter_version);
    INT2(timer_op(s, f->due_at));
    TIME(f->due_at);
    INT2(f->due_kind);
    INT4(f->due_tries);
    INT8(s->callback ? j->callback_id : 0);
    TEXT(s->callback ? j->callback_body : SLICE_NULL);
    TIME(s->callback ? j->callback_at : 0);
    add_case(p, jobs, n);
    INT8(a->extra_paid);
    INT2(b->state);
    INT2(f->command_seq ? f->command_seq : b->command_seq);
    TEXT(f->command_seq ? f->channel : b->channel);
    TEXT(f->command_seq ? f->account : b->account);
    add_digests(p, jobs, n);
    return p;
}

struct pg_params *params_record(struct store_job *const *jobs, size_t n)
{
    struct pg_params *p = new_params();

    INT2(b->slot);
    INT8(b->id);
    INT8(e->id);
    TIME(j->now);
    TEXT(e->code);
    add_outcome(p, jobs, n);
    add_case(p, jobs, n);
    add_digests(p, jobs, n);
    return p;
}

struct pg_params *params_known(struct store_job *const *jobs, size_t n)
{
    struct pg_params *p = new_params();

    INT2(a->slot);
    INT8(a->id);
    INT4(a->version);
    INT8(e->id);
    return p;
}
