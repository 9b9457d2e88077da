#include "commit_batch.h"

#include "commit_params.h"

#include <stdlib.h>

static enum job_kind kind_of(const struct store_job *job)
{
    if (job->step->verdict == STEP_RECORD)
        return JOB_RECORD;
    if (job->before->version == 0)
        return JOB_CREATE;
    if (job->refund)
        return JOB_REFUND;
    return step_is_answer(job) ? JOB_ANSWER : JOB_STEP;
}

static int compare_slices(struct slice a, struct slice b)
{
    size_t n = a.n < b.n ? a.n : b.n;
    int d = n ? memcmp(a.p, b.p, n) : 0;

    return d ? d : (a.n > b.n) - (a.n < b.n);
}

/* By statement, then as rows are locked: whoever writes several orders takes them in this order.
 * New orders meet in their number's unique key, others in their row. */
static int compare_jobs(const void *x, const void *y)
{
    const struct store_job *a = *(struct store_job *const *)x;
    const struct store_job *b = *(struct store_job *const *)y;
    const struct payment *p = a->before, *q = b->before;
    int d = a->kind - b->kind;

    if (!d)
        d = (p->slot > q->slot) - (p->slot < q->slot);
    if (!d && p->version == 0) {
        d = compare_slices(p->mchid, q->mchid);
        if (!d)
            d = compare_slices(p->out_trade_no, q->out_trade_no);
    }
    return d ? d : (p->id > q->id) - (p->id < q->id);
}

/* Beside a step answers are steps too: two statements over orders would lock them in two orders,
 * and a second statement costs more than the wider rows. */
static void sort_jobs(struct batch *b)
{
    for (size_t i = 0; i < b->n; i++) {
        b->jobs[i]->kind = kind_of(b->jobs[i]);
        b->of_kind[b->jobs[i]->kind]++;
    }
    for (size_t i = 0; i < b->n && b->of_kind[JOB_STEP]; i++)
        if (b->jobs[i]->kind == JOB_ANSWER)
            b->jobs[i]->kind = JOB_STEP;
    if (b->of_kind[JOB_STEP]) {
        b->of_kind[JOB_STEP] += b->of_kind[JOB_ANSWER];
        b->of_kind[JOB_ANSWER] = 0;
    }
    qsort(b->jobs, b->n, sizeof(struct store_job *), compare_jobs);
}

struct batch *batch_new(struct commits *c, struct store_job *const *jobs, size_t n)
{
    struct batch *b = calloc(1, sizeof(*b) + n * sizeof(struct store_job *));

    if (!b)
        abort();
    b->c = c;
    b->n = n;
    memcpy(b->jobs, jobs, n * sizeof(struct store_job *));
    sort_jobs(b);
    return b;
}
