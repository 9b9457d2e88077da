#include "refunds.h"

#include "books_impl.h"
#include <stdlib.h>

const char *refund_state_name(enum refund_state s)
{
    static const char *const names[] = {
#define X(name) #name,
        REFUND_STATE_TABLE(X)
#undef X
    };

    return names[s];
}

enum refund_state refund_settle(struct refund *r, pay_time_t now)
{
    if (r->state == REFUND_PROCESSING && now >= r->due_at)
        r->state = r->outcome;
    return r->state;
}

int64_t order_refunded(struct order *o, pay_time_t now)
{
    int64_t sum = 0;

    for (struct refund *r = o->refunds; r; r = r->order_next)
        if (refund_settle(r, now) != REFUND_CLOSED)
            sum += r->amount; /* cannot overflow: never more than was paid */
    return sum;
}

/* ---- storage ---- */

static int grow(struct books *b)
{
    uint32_t alloc = b->refund_alloc ? b->refund_alloc * 2 : 256;
    struct refund **p;

    if (b->nrefunds < b->refund_alloc)
        return 0;
    p = alloc > b->refund_alloc ? realloc(b->refund_by_seq, alloc * sizeof(*p)) : NULL;
    if (!p)
        return -1;
    b->refund_by_seq = p;
    b->refund_alloc = alloc;
    return 0;
}

struct refund *refund_make(struct books *b, const struct refund_terms *t, pay_time_t at)
{
    struct refund *r;

    if (grow(b) < 0 || t->out_refund_no.n > UINT8_MAX || t->stamp.n >= STAMP_MAX)
        return NULL;
    r = calloc(1, sizeof(*r) + t->out_refund_no.n);
    if (!r)
        return NULL;
    r->notify_url = books_intern(b, t->notify_url);
    if (!r->notify_url) {
        free(r);
        return NULL;
    }
    r->order = t->order;
    r->amount = t->amount;
    r->created_at = at;
    r->due_at = at + t->delay_us;
    r->outcome = (uint8_t)t->outcome;
    r->undo = t->undo;
    r->seq = b->nrefunds + 1;
    r->no_len = (uint8_t)t->out_refund_no.n;
    memcpy(r->text, t->out_refund_no.p, t->out_refund_no.n);
    if (t->stamp.n)
        memcpy(r->stamp, t->stamp.p, t->stamp.n);
    return r;
}

static struct refund **bucket_of(struct books *b, struct slice no)
{
    return &b->refund_buckets[slice_hash(no) % REFUND_BUCKETS];
}

void refund_file(struct books *b, struct refund *r)
{
    struct refund **head = bucket_of(b, refund_no(r));
    struct refund **end = &r->order->refunds;

    r->bucket_next = *head;
    *head = r;
    while (*end)
        end = &(*end)->order_next;
    *end = r;
    b->refund_by_seq[b->nrefunds++] = r;
}

void refunds_free(struct books *b)
{
    for (uint32_t i = 0; i < b->nrefunds; i++)
        free(b->refund_by_seq[i]);
    free(b->refund_by_seq);
}

struct refund *refunds_find(struct books *b, const struct merchant *m, struct slice no,
                            struct slice stamp)
{
    struct refund *r = *bucket_of(b, no);

    while (r &&
           !(r->order->merchant == m && slice_eq(refund_no(r), no) && slice_is(stamp, r->stamp)))
        r = r->bucket_next;
    return r;
}

bool refunds_stamped(struct books *b, const struct merchant *m, struct slice no, struct slice begin)
{
    for (const struct refund *r = *bucket_of(b, no); r; r = r->bucket_next)
        if (r->order->merchant == m && slice_eq(refund_no(r), no) &&
            slice_starts(slice_of(r->stamp), begin))
            return true;
    return false;
}

uint32_t refunds_count(const struct books *b)
{
    return b->nrefunds;
}

struct refund *refunds_at(struct books *b, uint32_t seq)
{
    return seq >= 1 && seq <= b->nrefunds ? b->refund_by_seq[seq - 1] : NULL;
}

/* ---- business ---- */

static enum books_result may_refund(const struct refund_terms *t, pay_time_t now)
{
    const struct refund *last = NULL;
    unsigned count = 0;

    switch (order_settle(t->order, now)) {
    case ORDER_SUCCESS:
        break;
    case ORDER_REVOKED:
        return BOOKS_IS_REVOKED;
    default:
        return BOOKS_NOT_PAID;
    }
    for (const struct refund *r = t->order->refunds; r; r = r->order_next) {
        last = r;
        count++;
    }
    if (count >= REFUNDS_MAX)
        return BOOKS_TOO_MANY;
    if (last && now - last->created_at < t->gap_us)
        return BOOKS_TOO_SOON;
    if (t->amount > t->order->amount - order_refunded(t->order, now))
        return BOOKS_TOO_MUCH;
    return BOOKS_DONE;
}

enum books_result books_refund(struct books *b, const struct refund_terms *t, pay_time_t now,
                               struct refund **out)
{
    struct refund *r = refunds_find(b, t->order->merchant, t->out_refund_no, t->stamp);
    enum books_result may;

    if (r) {
        *out = r;
        return r->order == t->order && r->amount == t->amount && r->undo == t->undo
                   ? BOOKS_AGAIN
                   : BOOKS_OTHER_CONTENT;
    }
    may = may_refund(t, now);
    if (may != BOOKS_DONE)
        return may;
    r = refund_make(b, t, now);
    if (!r || record_refund(b, r) < 0) {
        free(r);
        return BOOKS_BROKEN;
    }
    refund_file(b, r);
    *out = r;
    return BOOKS_DONE;
}

int refunds_tried(struct books *b, struct refund *r, int status, bool taken, pay_time_t now)
{
    if (record_try(b, r->order, r, status, taken, now) < 0)
        return -1;
    r->notify_tries++;
    r->notified = r->notified || taken;
    return 0;
}
