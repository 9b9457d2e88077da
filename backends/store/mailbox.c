#include "mailbox.h"

#include <assert.h>
#include <stdlib.h>

#define BUCKETS 16384u

struct order {
    struct order *chain; /* of its bucket, or of the free ones */
    struct order *ready; /* next in the ready queue */
    size_t bucket;
    struct store_job *running;
    struct store_job *first, *last; /* waiting */
};

struct mailboxes {
    struct order *buckets[BUCKETS];
    struct order *ready, *ready_last;
    size_t nready;
    struct order *free;
    size_t jobs;
};

struct mailboxes *mailboxes_new(void)
{
    return calloc(1, sizeof(struct mailboxes));
}

void mailboxes_free(struct mailboxes *m)
{
    struct order *o;

    if (!m)
        return;
    assert(m->jobs == 0);
    while ((o = m->free)) {
        m->free = o->chain;
        free(o);
    }
    free(m);
}

size_t mailboxes_jobs(const struct mailboxes *m)
{
    return m->jobs;
}

size_t mailboxes_ready(const struct mailboxes *m)
{
    return m->nready;
}

static bool is_create(const struct store_job *j)
{
    return j->before->version == 0;
}

static size_t bucket_of(const struct store_job *j)
{
    const struct payment *p = j->before;
    uint64_t h = is_create(j) ? slice_hash(p->out_trade_no) ^ slice_hash(p->mchid) * 31
                              : (uint64_t)p->id * 0x9e3779b97f4a7c15ULL;

    return (h ^ h >> 32) % BUCKETS;
}

static bool same_order(const struct store_job *a, const struct store_job *b)
{
    if (is_create(a) != is_create(b))
        return false;
    return is_create(a) ? slice_eq(a->before->out_trade_no, b->before->out_trade_no) &&
                              slice_eq(a->before->mchid, b->before->mchid)
                        : a->before->id == b->before->id;
}

static struct order *order_new(struct mailboxes *m, size_t bucket)
{
    struct order *o = m->free;

    if (o)
        m->free = o->chain;
    else if (!(o = malloc(sizeof(*o))))
        abort();
    *o = (struct order){.chain = m->buckets[bucket], .bucket = bucket};
    m->buckets[bucket] = o;
    return o;
}

static void order_drop(struct mailboxes *m, struct order *o)
{
    struct order **at = &m->buckets[o->bucket];

    while (*at != o)
        at = &(*at)->chain;
    *at = o->chain;
    o->chain = m->free;
    m->free = o;
}

static void push_ready(struct mailboxes *m, struct order *o)
{
    o->ready = NULL;
    if (m->ready)
        m->ready_last->ready = o;
    else
        m->ready = o;
    m->ready_last = o;
    m->nready++;
}

void mailbox_add(struct mailboxes *m, struct store_job *job)
{
    size_t bucket = bucket_of(job);
    struct order *o = m->buckets[bucket];

    while (o && !same_order(o->running ? o->running : o->first, job))
        o = o->chain;
    if (!o)
        o = order_new(m, bucket);
    job->order = o;
    job->next = NULL;
    if (o->first)
        o->last->next = job;
    else
        o->first = job;
    o->last = job;
    m->jobs++;
    if (!o->running && o->first == job)
        push_ready(m, o);
}

const struct store_job *mailbox_first(const struct mailboxes *m)
{
    return m->ready ? m->ready->first : NULL;
}

struct store_job *mailbox_take(struct mailboxes *m)
{
    struct order *o = m->ready;
    struct store_job *job;

    if (!o)
        return NULL;
    m->ready = o->ready;
    m->nready--;
    job = o->first;
    o->first = job->next;
    job->next = NULL;
    o->running = job;
    return job;
}

struct store_job *mailbox_outrun(struct mailboxes *m, const struct store_job *winner)
{
    struct order *o = winner->order;
    struct store_job *outrun = NULL, **end = &outrun, **at = &o->first;

    o->last = NULL;
    while (*at) {
        struct store_job *job = *at;

        if (job->step->verdict != STEP_COMMIT || job->before->version > winner->before->version) {
            o->last = job;
            at = &job->next;
            continue;
        }
        *at = job->next;
        job->next = NULL;
        job->order = NULL;
        m->jobs--;
        *end = job;
        end = &job->next;
    }
    return outrun;
}

void mailbox_done(struct mailboxes *m, struct store_job *job)
{
    struct order *o = job->order;

    assert(o->running == job);
    o->running = NULL;
    job->order = NULL;
    m->jobs--;
    if (o->first)
        push_ready(m, o);
    else
        order_drop(m, o);
}
