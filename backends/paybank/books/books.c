/*
 * DESIGN. One hash table over the order number alone: a look-up by number is what merchants do, and
 * what a test does while 50,000 other orders wait. The same number at two merchants shares a
 * bucket. Orders also stand in one array by seq. Texts that most orders share (appid, notify_url)
 * are kept once. Refunds are in refunds.c,
 * numbers and codes in books_ids.c, the lines of the record in books_record.c.
 */
#include "books.h"

#include "books_impl.h"
#include <stdlib.h>

#define BUCKETS_FIRST 1024
#define CODE_LIFE_US  (2 * 3600 * USEC_PER_SEC)

static const bool moves[ORDER_STATE_COUNT][ORDER_STATE_COUNT] = {
    [ORDER_NOTPAY] = {[ORDER_USERPAYING] = true,
                      [ORDER_SUCCESS] = true,
                      [ORDER_CLOSED] = true,
                      [ORDER_FAILED] = true,
                      [ORDER_REVOKED] = true},
    [ORDER_USERPAYING] = {[ORDER_SUCCESS] = true,
                          [ORDER_CLOSED] = true,
                          [ORDER_FAILED] = true,
                          [ORDER_REVOKED] = true},
    [ORDER_SUCCESS] = {[ORDER_REVOKED] = true},
    [ORDER_FAILED] = {[ORDER_REVOKED] = true},
};

const char *order_state_name(enum order_state s)
{
    static const char *const names[] = {
#define X(name) #name,
        ORDER_STATE_TABLE(X)
#undef X
    };

    return names[s];
}

static const char *const methods[METHOD_COUNT] = {
#define X(name, text) text,
    PAY_METHOD_TABLE(X)
#undef X
};

const char *pay_method_name(enum pay_method m)
{
    return methods[m];
}

int pay_method_parse(struct slice s)
{
    for (int m = 0; m < METHOD_COUNT; m++)
        if (slice_is(s, methods[m]))
            return m;
    return -1;
}

bool order_move_allowed(enum order_state from, enum order_state to)
{
    return moves[from][to];
}

/* The only place where a state changes. A crash beats wrong books. */
void order_move(struct order *o, enum order_state to, pay_time_t at)
{
    if (!order_move_allowed(o->state, to))
        abort();
    if (to == ORDER_SUCCESS) {
        o->charges++;
        o->paid_at = at;
        o->scanned = true;
    }
    o->state = (uint8_t)to;
    o->ended_at = at;
}

enum order_state order_settle(struct order *o, pay_time_t now)
{
    bool open = o->state == ORDER_NOTPAY || o->state == ORDER_USERPAYING;

    if (open && now >= o->expire_at)
        order_move(o, ORDER_CLOSED, o->expire_at);
    return o->state;
}

/* ---- storage ---- */

struct books *books_new(const struct bank_conf *conf, books_record *record, void *arg)
{
    struct books *b = calloc(1, sizeof(*b));

    if (!b)
        return NULL;
    b->conf = conf;
    b->record = record;
    b->arg = arg;
    buf_init(&b->line, 8192);
    b->nbuckets = BUCKETS_FIRST;
    b->buckets = calloc(b->nbuckets, sizeof(*b->buckets));
    if (!b->buckets) {
        free(b);
        return NULL;
    }
    return b;
}

void books_free(struct books *b)
{
    struct interned *s;

    if (!b)
        return;
    for (uint32_t i = 0; i < b->count; i++)
        free(b->by_seq[i]);
    for (size_t i = 0; i < INTERN_BUCKETS; i++)
        while ((s = b->texts[i])) {
            b->texts[i] = s->next;
            free(s);
        }
    refunds_free(b);
    free(b->by_seq);
    free(b->buckets);
    buf_release(&b->line);
    free(b);
}

const char *books_intern(struct books *b, struct slice s)
{
    struct interned **head = &b->texts[slice_hash(s) % INTERN_BUCKETS];
    struct interned *i;

    for (i = *head; i; i = i->next)
        if (slice_is(s, i->text))
            return i->text;
    i = malloc(sizeof(*i) + s.n + 1);
    if (!i)
        return NULL;
    if (s.n)
        memcpy(i->text, s.p, s.n);
    i->text[s.n] = '\0';
    i->next = *head;
    *head = i;
    return i->text;
}

static struct order **bucket_of(struct books *b, struct slice no)
{
    return &b->buckets[slice_hash(no) & (b->nbuckets - 1)];
}

static void grow_buckets(struct books *b)
{
    size_t n = b->nbuckets * 2;
    struct order **fresh = calloc(n, sizeof(*fresh));

    if (!fresh)
        return; /* longer chains, nothing worse */
    free(b->buckets);
    b->buckets = fresh;
    b->nbuckets = n;
    for (uint32_t i = 0; i < b->count; i++) {
        struct order **head = bucket_of(b, order_no(b->by_seq[i]));

        b->by_seq[i]->bucket_next = *head;
        *head = b->by_seq[i];
    }
}

static int grow_array(struct books *b)
{
    uint32_t alloc = b->alloc ? b->alloc * 2 : 1024;
    struct order **p;

    if (b->count < b->alloc)
        return 0;
    p = alloc > b->alloc ? realloc(b->by_seq, alloc * sizeof(*p)) : NULL;
    if (!p)
        return -1;
    b->by_seq = p;
    b->alloc = alloc;
    return 0;
}

static char *put_text(char *to, struct slice s)
{
    if (s.n)
        memcpy(to, s.p, s.n);
    return to + s.n;
}

struct order *order_make(struct books *b, const struct order_terms *t, pay_time_t at)
{
    struct order *o;

    if (grow_array(b) < 0 || t->out_trade_no.n > UINT8_MAX || t->attach.n > UINT16_MAX ||
        t->subject.n > UINT16_MAX || t->stamp.n >= STAMP_MAX)
        return NULL;
    o = calloc(1, sizeof(*o) + t->out_trade_no.n + t->attach.n + t->subject.n);
    if (!o)
        return NULL;
    o->appid = books_intern(b, t->appid);
    o->notify_url = books_intern(b, t->notify_url);
    if (!o->appid || !o->notify_url || t->currency.n != 3) {
        free(o);
        return NULL;
    }
    o->merchant = t->merchant;
    o->amount = t->amount;
    o->created_at = o->prepared_at = at;
    o->expire_at = t->expire_at;
    o->seq = b->count + 1;
    o->prepares = 1;
    o->no_len = (uint8_t)t->out_trade_no.n;
    o->attach_len = (uint16_t)t->attach.n;
    o->subject_len = (uint16_t)t->subject.n;
    o->method = (uint8_t)t->method;
    o->scanned = t->method == METHOD_BARCODE;
    o->payer = t->payer;
    o->variant = t->variant;
    memcpy(o->currency, t->currency.p, 3);
    memcpy(o->digest, t->digest, sizeof(o->digest));
    put_text(o->stamp, t->stamp);
    put_text(put_text(put_text(o->text, t->out_trade_no), t->attach), t->subject);
    return o;
}

void order_file(struct books *b, struct order *o)
{
    struct order **head;

    if (b->count >= b->nbuckets)
        grow_buckets(b);
    head = bucket_of(b, order_no(o));
    o->bucket_next = *head;
    *head = o;
    b->by_seq[b->count++] = o;
}

/* ---- finding ---- */

struct order *books_next(struct books *b, struct slice no, const struct order *after)
{
    struct order *o = after ? after->bucket_next : *bucket_of(b, no);

    while (o && !slice_eq(order_no(o), no))
        o = o->bucket_next;
    return o;
}

struct order *books_find(struct books *b, const struct merchant *m, struct slice no)
{
    struct order *o = NULL;

    while ((o = books_next(b, no, o)) && o->merchant != m)
        ;
    return o;
}

struct order *books_find_stamped(struct books *b, const struct merchant *m, struct slice no,
                                 struct slice stamp)
{
    struct order *o = NULL;

    while ((o = books_next(b, no, o)) && (o->merchant != m || !slice_is(stamp, o->stamp)))
        ;
    return o;
}

uint32_t books_count(const struct books *b)
{
    return b->count;
}

struct order *books_at(struct books *b, uint32_t seq)
{
    return seq >= 1 && seq <= b->count ? b->by_seq[seq - 1] : NULL;
}

/* ---- business ---- */

static enum books_result dead_or_alive(struct order *o, pay_time_t now)
{
    switch (order_settle(o, now)) {
    case ORDER_NOTPAY:
    case ORDER_USERPAYING:
        return BOOKS_DONE;
    case ORDER_SUCCESS:
        return BOOKS_IS_PAID;
    case ORDER_REVOKED:
        return BOOKS_IS_REVOKED;
    default:
        return BOOKS_IS_CLOSED;
    }
}

static enum books_result prepare_again(struct books *b, struct order *o,
                                       const struct order_terms *t, pay_time_t now)
{
    enum books_result state;

    if (memcmp(o->digest, t->digest, sizeof(o->digest)) != 0 || o->method != t->method)
        return BOOKS_OTHER_CONTENT;
    if (o->payer != t->payer)
        return BOOKS_OTHER_PAYER;
    state = dead_or_alive(o, now);
    if (state != BOOKS_DONE)
        return state;
    if (record_change(b, "prepare", o, now) < 0)
        return BOOKS_BROKEN;
    o->prepares++;
    o->prepared_at = now;
    return BOOKS_DONE;
}

enum books_result books_prepare(struct books *b, const struct order_terms *t, pay_time_t now,
                                struct order **out)
{
    struct order *o = books_find_stamped(b, t->merchant, t->out_trade_no, t->stamp);

    *out = o;
    if (o)
        return prepare_again(b, o, t, now);
    o = order_make(b, t, now);
    if (!o || record_order(b, o) < 0) {
        free(o);
        return BOOKS_BROKEN;
    }
    order_file(b, o);
    *out = o;
    return BOOKS_DONE;
}

static enum books_result end_order(struct books *b, struct order *o, const char *op,
                                   enum order_state to, pay_time_t now)
{
    enum books_result state = dead_or_alive(o, now);

    if (state != BOOKS_DONE)
        return state;
    if (record_change(b, op, o, now) < 0)
        return BOOKS_BROKEN;
    order_move(o, to, now);
    return BOOKS_DONE;
}

enum books_result books_pay(struct books *b, struct order *o, pay_time_t now)
{
    bool wechat =
        o->merchant->channel == CHANNEL_WECHAT_V3 || o->merchant->channel == CHANNEL_WECHAT_V2;
    bool old = wechat && o->method != METHOD_BARCODE && now - o->prepared_at >= CODE_LIFE_US;

    if (old && dead_or_alive(o, now) == BOOKS_DONE)
        return BOOKS_CODE_OLD;
    return end_order(b, o, "pay", ORDER_SUCCESS, now);
}

enum books_result books_refuse(struct books *b, struct order *o, pay_time_t now)
{
    return end_order(b, o, "fail", ORDER_FAILED, now);
}

enum books_result books_close(struct books *b, struct order *o, pay_time_t now)
{
    return end_order(b, o, "close", ORDER_CLOSED, now);
}

enum books_result books_await(struct books *b, struct order *o, pay_time_t now)
{
    if (order_settle(o, now) == ORDER_USERPAYING)
        return BOOKS_IS_PAYING;
    return end_order(b, o, "await", ORDER_USERPAYING, now);
}

enum books_result books_reverse(struct books *b, struct order *o, bool paying_too, pay_time_t now)
{
    enum order_state state = order_settle(o, now);

    if (state == ORDER_REVOKED)
        return BOOKS_IS_REVOKED;
    if (state == ORDER_CLOSED)
        return BOOKS_IS_CLOSED;
    if (state == ORDER_USERPAYING && !paying_too)
        return BOOKS_IS_PAYING;
    if (o->refunds)
        return BOOKS_REFUNDED;
    if (record_change(b, "reverse", o, now) < 0)
        return BOOKS_BROKEN;
    order_move(o, ORDER_REVOKED, now);
    return BOOKS_DONE;
}

int books_scan(struct books *b, struct order *o, pay_time_t now)
{
    if (o->scanned)
        return 0;
    if (record_change(b, "scan", o, now) < 0)
        return -1;
    o->scanned = true;
    return 0;
}

int books_tried(struct books *b, struct order *o, int status, bool taken, pay_time_t now)
{
    if (record_try(b, o, NULL, status, taken, now) < 0)
        return -1;
    o->notify_tries++;
    o->notified = o->notified || taken;
    return 0;
}
