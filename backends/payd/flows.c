#include "flows.h"

#include "flow.h"

#include <stdlib.h>

#define BUCKETS 8192

struct flows {
    struct flow *by_id[BUCKETS];
    struct flow *by_number[BUCKETS];
    size_t active;
};

struct flows *flows_new(void)
{
    return calloc(1, sizeof(struct flows));
}

void flows_free(struct flows *fs)
{
    free(fs);
}

size_t flows_active(const struct flows *fs)
{
    return fs->active;
}

static size_t id_bucket(int64_t id)
{
    return (size_t)(((uint64_t)id * 0x9e3779b97f4a7c15ULL) >> 51) % BUCKETS;
}

static size_t number_bucket(struct slice mchid, struct slice no)
{
    return (size_t)(slice_hash(mchid) * 31 + slice_hash(no)) % BUCKETS;
}

struct flow *flows_by_id(const struct flows *fs, int64_t id)
{
    struct flow *f = fs->by_id[id_bucket(id)];

    while (f && f->payment.id != id)
        f = f->by_id;
    return f;
}

struct flow *flows_creating(const struct flows *fs, struct slice mchid, struct slice no)
{
    struct flow *f = fs->by_number[number_bucket(mchid, no)];

    while (f && !(slice_eq(f->payment.out_trade_no, no) && slice_eq(f->payment.mchid, mchid)))
        f = f->by_number;
    return f;
}

void flows_enter(struct flow *f)
{
    f->w->flows->active++;
}

void flows_add_id(struct flow *f)
{
    struct flow **at = &f->w->flows->by_id[id_bucket(f->payment.id)];

    f->by_id = *at;
    *at = f;
    f->has_id = true;
}

void flows_add_number(struct flow *f)
{
    struct payment *p = &f->payment;
    struct flow **at = &f->w->flows->by_number[number_bucket(p->mchid, p->out_trade_no)];

    f->by_number = *at;
    *at = f;
    f->has_number = true;
}

void flows_leave(struct flow *f)
{
    struct flows *fs = f->w->flows;
    struct flow **at;

    if (f->has_id) {
        for (at = &fs->by_id[id_bucket(f->payment.id)]; *at != f; at = &(*at)->by_id)
            ;
        *at = f->by_id;
    }
    if (f->has_number) {
        at = &fs->by_number[number_bucket(f->payment.mchid, f->payment.out_trade_no)];
        for (; *at != f; at = &(*at)->by_number)
            ;
        *at = f->by_number;
    }
    f->has_id = f->has_number = false;
    fs->active--;
}
