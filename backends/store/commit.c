/*
 * DESIGN. Jobs wait in mailboxes. Whenever a connection is free, up to batch_max ready ones become
 * a batch: one transaction of at most four statements (creates; steps, or answers when that is all
 * they are; steps of refunds; records), each over arrays. What becomes of a batch:
 *
 *   done      winners are DONE; losers moved on under us: CONFLICT, EXISTS
 *   retry     serialisation or deadlock: once more as it is
 *   there     new orders are written as if none was there, which is cheaper than to look for each.
 *             When one is: once more, carefully, and so are the next CAREFUL batches
 *   error     some job cannot be written: both halves on their own, until it stands alone
 *   lost      it may be committed: once more as it is, "in doubt". What was committed loses its
 *             swap then, and a loser in doubt is looked up by its event's id in the history
 *
 * A batch of one costs PostgreSQL what sixteen rows do. So while a commit runs, what arrives is
 * collected: another connection is used only for GATHER orders or when the oldest waited GATHER_US.
 * Under load (the last batch had BUSY jobs) a batch is not sent before its oldest job has waited as
 * long as two commits take, even when none runs: who is alone never waits, and a commit that is
 * quick is not made slow.
 *
 * Batches that must run again go before new ones. Nothing waits longer than WAIT_US for a
 * connection; in doubt DOUBT_US.
 */
#include "commit.h"

#include "backends/io/failpoint.h"
#include "backends/io/log.h"
#include "commit_batch.h"
#include "commit_params.h"
#include "mailbox.h"

#include <stdlib.h>

#define WAIT_US     (5 * USEC_PER_SEC)
#define DOUBT_US    (60 * USEC_PER_SEC)
#define RETRIES_MAX 20
#define GATHER      128
#define GATHER_US   (10 * USEC_PER_MSEC)
#define BUSY        32
#define CAREFUL     64

#define UNIQUE_VIOLATION "23505"

struct commits {
    struct loop *loop;
    struct pg_pool *pool;
    unsigned batch_max, queue_max;
    struct mailboxes *mail;
    struct batch *again, **again_end;
    struct store_job *refused;
    struct loop_timer *gather;
    unsigned running;
    unsigned careful;  /* so many more batches with new orders */
    size_t last_n;     /* jobs of the batch sent last */
    int64_t commit_us; /* what commits take, the latest count most */
    bool run_deferred, refuse_deferred, stopping;
};

/* ---- ends ---- */

static enum store_result lost_swap(const struct store_job *job)
{
    return job->before->version == 0 ? STORE_EXISTS : STORE_CONFLICT;
}

/* Who was decided on the image that a winner replaced need not go to the database to hear so. */
static void job_end(struct commits *c, struct store_job *job, enum store_result r)
{
    bool won = r == STORE_DONE && job->step->verdict == STEP_COMMIT;
    struct store_job *outrun = won ? mailbox_outrun(c->mail, job) : NULL, *next;

    mailbox_done(c->mail, job);
    job->done(job->arg, r);
    for (; outrun; outrun = next) {
        next = outrun->next;
        outrun->done(outrun->arg, lost_swap(outrun));
    }
}

static void batch_end(struct batch *b, enum store_result r)
{
    for (size_t i = 0; i < b->n; i++) {
        struct store_job *job = b->jobs[i];

        job_end(b->c, job, r == STORE_BUSY && job->doubt ? STORE_UNKNOWN : r);
    }
    free(b);
}

static void run_again(struct batch *b)
{
    b->next = NULL;
    *b->c->again_end = b;
    b->c->again_end = &b->next;
}

/* ---- answers ---- */

/* A batch of jobs taken out of another one; the others stay. */
static void look_up_later(struct batch *b, struct store_job *const *jobs, size_t n)
{
    struct batch *q;

    if (n == 0)
        return;
    q = batch_new(b->c, jobs, n);
    q->look_up = true;
    run_again(q);
}

static void mark_winners(const PGresult *r, struct store_job *const *jobs, size_t n)
{
    for (int row = 0; row < PQntuples(r); row++) {
        int64_t k = pg_get_int(r, row, 0);

        if (k >= 1 && (size_t)k <= n)
            jobs[k - 1]->won = true;
    }
}

/* Where it is all or none. */
static void mark_all(struct store_job *const *jobs, size_t n)
{
    for (size_t i = 0; i < n; i++)
        jobs[i]->won = true;
}

static void batch_done(struct batch *b, const struct pg_answer *answer)
{
    struct store_job *doubtful[BATCH_LIMIT];
    size_t statement = 0, at = 0, n = 0;

    for (unsigned kind = 0; kind < JOB_KINDS; kind++) {
        if (!b->of_kind[kind])
            continue;
        if (kind == JOB_RECORD || (kind == JOB_CREATE && !b->careful))
            mark_all(b->jobs + at, b->of_kind[kind]);
        else
            mark_winners(answer->results[statement], b->jobs + at, b->of_kind[kind]);
        at += b->of_kind[kind];
        statement++;
    }
    for (size_t i = 0; i < b->n; i++)
        if (!b->jobs[i]->won && b->jobs[i]->doubt)
            doubtful[n++] = b->jobs[i];
    look_up_later(b, doubtful, n);
    for (size_t i = 0; i < b->n; i++) {
        struct store_job *job = b->jobs[i];

        if (job->won)
            job_end(b->c, job, STORE_DONE);
        else if (!job->doubt)
            job_end(b->c, job, lost_swap(job));
    }
    free(b);
}

static void looked_up(struct batch *b, const struct pg_answer *answer)
{
    mark_winners(answer->results[0], b->jobs, b->n);
    for (size_t i = 0; i < b->n; i++)
        job_end(b->c, b->jobs[i], b->jobs[i]->won ? STORE_DONE : lost_swap(b->jobs[i]));
    free(b);
}

static void log_batch(enum log_level level, const char *event, const struct batch *b,
                      const struct pg_answer *answer)
{
    log_event(level, event, LOG_I("jobs", b->n), LOG_I("order_id", b->jobs[0]->before->id),
              LOG_S("sqlstate", slice_of(answer->sqlstate)),
              LOG_S("message", slice_of(answer->message)));
}

/* Errors of the server's state, not of what was to be written: halving would not help. */
static bool is_outage(const char *sqlstate)
{
    static const char *const classes[] = {"08", "25", "53", "57", "58", "F0", "XX"};

    for (size_t i = 0; i < sizeof(classes) / sizeof(classes[0]); i++)
        if (strncmp(sqlstate, classes[i], 2) == 0)
            return true;
    return false;
}

static bool is_there(const struct batch *b, const struct pg_answer *answer)
{
    return answer->outcome == PG_ERROR && strcmp(answer->sqlstate, UNIQUE_VIOLATION) == 0 &&
           b->of_kind[JOB_CREATE] && !b->careful && !b->look_up;
}

static void batch_failed(struct batch *b, const struct pg_answer *answer)
{
    size_t half = b->n / 2;
    bool look_up = b->look_up;

    if (is_outage(answer->sqlstate)) {
        log_batch(LOG_ERROR, "store_refused", b, answer);
        batch_end(b, STORE_BUSY);
    } else if (b->n == 1) {
        log_batch(LOG_ALERT, "store_poison", b, answer);
        batch_end(b, STORE_BUSY);
    } else {
        struct batch *left = batch_new(b->c, b->jobs, half);
        struct batch *right = batch_new(b->c, b->jobs + half, b->n - half);

        log_batch(LOG_WARN, "store_halved", b, answer);
        left->look_up = right->look_up = look_up;
        run_again(left);
        run_again(right);
        free(b);
    }
}

static void on_batch(void *arg, const struct pg_answer *answer)
{
    struct batch *b = arg;
    struct commits *c = b->c;

    c->running--;
    if (answer->outcome == PG_DONE) {
        failpoint(FAILPOINT_COMMIT_ANSWERED);
        c->commit_us += (loop_now_us(c->loop) - b->sent_us - c->commit_us) / 4;
        if (b->look_up)
            looked_up(b, answer);
        else
            batch_done(b, answer);
    } else if (is_there(b, answer)) {
        b->c->careful = CAREFUL;
        b->careful = true;
        run_again(b);
    } else if (answer->outcome == PG_ERROR ||
               (answer->outcome == PG_RETRY && b->retries++ >= RETRIES_MAX)) {
        batch_failed(b, answer);
    } else {
        for (size_t i = 0; i < b->n && answer->outcome == PG_LOST; i++)
            b->jobs[i]->doubt = true;
        log_batch(LOG_WARN, answer->outcome == PG_LOST ? "store_lost" : "store_again", b, answer);
        run_again(b);
    }
    commits_run(c);
}

/* ---- running ---- */

/* What is in doubt may be there. */
static bool must_look(const struct batch *b)
{
    bool look = b->careful || b->c->careful > 0;

    for (size_t i = 0; i < b->of_kind[JOB_CREATE] && !look; i++)
        look = b->jobs[i]->doubt;
    return look;
}

static void send_batch(struct batch *b)
{
    static const struct {
        const char *name;
        struct pg_params *(*params)(struct store_job *const *jobs, size_t n);
    } kinds[JOB_KINDS] = {[JOB_CREATE] = {"create", params_create},
                          [JOB_STEP] = {"step", params_step},
                          [JOB_ANSWER] = {"answer", params_answer},
                          [JOB_REFUND] = {"refund", params_refund},
                          [JOB_RECORD] = {"record", params_record}};
    struct pg_unit_statement s[JOB_KINDS];
    size_t n = 0, at = 0;

    for (size_t i = 0; i < b->n; i++)
        b->jobs[i]->won = false;
    if (b->of_kind[JOB_CREATE] && !b->look_up) {
        b->careful = must_look(b);
        b->c->careful -= b->c->careful > 0;
    }
    if (b->look_up)
        s[n++] = (struct pg_unit_statement){"known", params_known(b->jobs, b->n)};
    for (unsigned kind = 0; kind < JOB_KINDS && !b->look_up; kind++) {
        size_t count = b->of_kind[kind];

        if (!count)
            continue;
        s[n].name = kind == JOB_CREATE && b->careful ? "create_missing" : kinds[kind].name;
        s[n++].params = kinds[kind].params(b->jobs + at, count);
        at += count;
    }
    b->c->running++;
    b->c->last_n = b->n;
    b->sent_us = loop_now_us(b->c->loop);
    failpoint(FAILPOINT_COMMIT_SEND);
    pg_run(b->c->pool, s, n, on_batch, b);
    failpoint(FAILPOINT_COMMIT_SENT);
}

/* Is it better to wait for the commit that runs, or for more? */
static bool gathering(struct commits *c)
{
    const struct store_job *first = mailbox_first(c->mail);
    int64_t patience = GATHER_US, left;

    if (!first || mailboxes_ready(c->mail) >= GATHER)
        return false;
    if (c->running == 0)
        patience = c->last_n < BUSY ? 0 : 2 * c->commit_us;
    patience = patience < GATHER_US ? patience : GATHER_US;
    left = first->queued_us + patience - loop_now_us(c->loop);
    if (left <= 0)
        return false;
    loop_timer_set(c->gather, left);
    return true;
}

static struct batch *next_batch(struct commits *c)
{
    struct batch *b = c->again;
    struct store_job *jobs[BATCH_LIMIT];
    size_t n = 0;

    if (b) {
        c->again = b->next;
        if (!c->again)
            c->again_end = &c->again;
        return b;
    }
    if (gathering(c))
        return NULL;
    while (n < c->batch_max && (jobs[n] = mailbox_take(c->mail)))
        n++;
    return n ? batch_new(c, jobs, n) : NULL;
}

void commits_run(struct commits *c)
{
    struct batch *b;

    while (!c->stopping && pg_pool_free_connections(c->pool) > 0 && (b = next_batch(c)))
        send_batch(b);
}

static void on_run(void *arg)
{
    struct commits *c = arg;

    c->run_deferred = false;
    commits_run(c);
}

static void on_gathered(void *arg)
{
    commits_run(arg);
}

static void on_refused(void *arg)
{
    struct commits *c = arg;
    struct store_job *job = c->refused, *next;

    c->refused = NULL;
    c->refuse_deferred = false;
    for (; job; job = next) {
        next = job->next;
        job->done(job->arg, STORE_BUSY);
    }
}

void commits_add(struct commits *c, struct store_job *job)
{
    job->queued_us = loop_now_us(c->loop);
    job->doubt = job->won = false;
    if (c->stopping || mailboxes_jobs(c->mail) >= c->queue_max) {
        job->next = c->refused;
        c->refused = job;
        if (!c->refuse_deferred)
            loop_defer(c->loop, on_refused, c);
        c->refuse_deferred = true;
        return;
    }
    mailbox_add(c->mail, job);
    if (!c->run_deferred) /* what else this turn brings goes with it */
        loop_defer(c->loop, on_run, c);
    c->run_deferred = true;
}

static bool waited_out(const struct commits *c, const struct store_job *job)
{
    return loop_now_us(c->loop) - job->queued_us > (job->doubt ? DOUBT_US : WAIT_US);
}

void commits_tick(struct commits *c)
{
    struct batch *b = c->again;

    c->again = NULL;
    c->again_end = &c->again;
    while (b) {
        struct batch *next = b->next;

        if (waited_out(c, b->jobs[0]))
            batch_end(b, STORE_BUSY);
        else
            run_again(b);
        b = next;
    }
    while (mailbox_first(c->mail) && waited_out(c, mailbox_first(c->mail)))
        job_end(c, mailbox_take(c->mail), STORE_BUSY);
    commits_run(c);
}

/* ---- life ---- */

struct commits *commits_new(struct loop *l, struct pg_pool *writers, unsigned batch_max,
                            unsigned queue_max)
{
    struct commits *c = calloc(1, sizeof(*c));

    if (!c)
        return NULL;
    *c = (struct commits){.loop = l,
                          .pool = writers,
                          .batch_max = batch_max < BATCH_LIMIT ? batch_max : BATCH_LIMIT,
                          .queue_max = queue_max,
                          .mail = mailboxes_new()};
    c->again_end = &c->again;
    c->gather = loop_timer_new(l, on_gathered, c);
    if (!c->mail || !c->gather) {
        mailboxes_free(c->mail);
        free(c);
        return NULL;
    }
    return c;
}

static void on_free(void *arg)
{
    struct commits *c = arg;

    if (c->run_deferred || c->refuse_deferred) {
        loop_defer(c->loop, on_free, c);
        return;
    }
    mailboxes_free(c->mail);
    free(c);
}

void commits_stop(struct commits *c)
{
    c->stopping = true;
}

void commits_free(struct commits *c)
{
    struct batch *b, *next;

    if (!c)
        return;
    c->stopping = true;
    loop_timer_free(c->gather);
    for (b = c->again; b; b = next) {
        next = b->next;
        batch_end(b, STORE_BUSY);
    }
    while (mailbox_first(c->mail))
        job_end(c, mailbox_take(c->mail), STORE_BUSY);
    loop_defer(c->loop, on_free, c);
}
