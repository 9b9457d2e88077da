#include "ngx_pay_limit.h"


#define NGX_PAY_LIMIT_WAYS    4
#define NGX_PAY_LIMIT_SECOND  1000000


typedef struct {
    uint64_t               tag;
    int64_t                until;   /* us: arrival time; end of what counts */
    uint32_t               now;     /* sliding: requests of the window that */
    uint32_t               before;  /* ends a window before `until`; before it */
} ngx_pay_limit_entry_t;


struct ngx_pay_limits_shm_s {
    ngx_uint_t             mask;
    ngx_pay_limit_entry_t  entries[][NGX_PAY_LIMIT_WAYS];
};


/* what one limit says now */

typedef struct {
    ngx_uint_t             refused;
    int64_t                remaining;
    int64_t                wait;    /* us */
} ngx_pay_limit_say_t;


static u_char *
ngx_pay_limit_bulk(u_char *p, int64_t value)
{
    u_char  text[NGX_INT64_LEN + 1];
    size_t  n;

    n = ngx_sprintf(text, "%L", value) - text;

    return ngx_sprintf(p, "$%uz\r\n%*s\r\n", n, n, text);
}


void
ngx_pay_limit_init(ngx_pay_limit_t *l)
{
    u_char      *p;
    uint64_t     hash;
    ngx_uint_t   window;

    window = l->window * NGX_PAY_LIMIT_SECOND;

    if (l->sliding) {
        l->step = - (int64_t) window;
        l->room = l->rate;

    } else {
        l->step = l->rate ? window / l->rate : 0;
        l->room = l->step * l->burst;
    }

    /* arrival times mean the same at any rate, counts of a window do not */

    hash = slice_hash(ngx_pay_slice(l->name)) ^ (l->sliding ? window : 0);
    l->id = (uint32_t) (hash ^ (hash >> 32));

    l->policy.data = l->text;
    p = ngx_sprintf(l->text, "\"%V\";q=%ui;w=%ui", &l->name, l->rate,
                    l->window);
    l->policy.len = p - l->policy.data;

    l->argv.data = p;
    p = ngx_pay_limit_bulk(p, l->step);
    p = ngx_pay_limit_bulk(p, l->room);
    l->argv.len = p - l->argv.data;
}


ngx_int_t
ngx_pay_limit_rate(ngx_str_t *text, ngx_uint_t *rate, ngx_uint_t *window)
{
    ngx_int_t  n;

    if (text->len < 4 || text->data[text->len - 3] != 'r'
        || text->data[text->len - 2] != '/')
    {
        return NGX_ERROR;
    }

    switch (text->data[text->len - 1]) {

    case 's':
        *window = 1;
        break;

    case 'm':
        *window = 60;
        break;

    case 'h':
        *window = 3600;
        break;

    default:
        return NGX_ERROR;
    }

    n = ngx_atoi(text->data, text->len - 3);

    if (n <= 0 || n > NGX_PAY_LIMIT_RATE_MAX) {
        return NGX_ERROR;
    }

    *rate = n;

    return NGX_OK;
}


ngx_pay_limits_shm_t *
ngx_pay_limits_init_shm(ngx_slab_pool_t *shpool, size_t size)
{
    size_t                 set;
    ngx_uint_t             n;
    ngx_pay_limits_shm_t  *shm;

    set = sizeof(ngx_pay_limit_entry_t) * NGX_PAY_LIMIT_WAYS;

    /* a thirtysecond part of the zone or less */

    for (n = 64; n * 2 * set <= size / 32; n *= 2) { /* void */ }

    shm = ngx_slab_calloc(shpool, sizeof(ngx_pay_limits_shm_t) + n * set);

    if (shm) {
        shm->mask = n - 1;
    }

    return shm;
}


static ngx_pay_limit_entry_t *
ngx_pay_limits_find(ngx_pay_limits_shm_t *shm, uint64_t who)
{
    ngx_uint_t              i;
    ngx_pay_limit_entry_t  *set, *found;

    set = shm->entries[who & shm->mask];
    found = &set[0];

    for (i = 0; i < NGX_PAY_LIMIT_WAYS; i++) {

        if (set[i].tag == who) {
            return &set[i];
        }

        if (set[i].until < found->until) {
            found = &set[i];
        }
    }

    /* the one that forbids least makes room */

    ngx_memzero(found, sizeof(ngx_pay_limit_entry_t));
    found->tag = who;

    return found;
}


static void
ngx_pay_limit_gcra(ngx_pay_limit_t *l, ngx_pay_limit_entry_t *e, int64_t now,
    ngx_uint_t count, ngx_pay_limit_say_t *say)
{
    int64_t  ahead;

    ahead = e->until > now ? e->until - now : 0;

    /* written under a lower rate: an operator who raises it means now */

    if (ahead > l->step + l->room) {
        ahead = 0;
    }

    if (ahead > l->room) {
        say->refused = 1;
        say->wait = ahead - l->room;
        return;
    }

    ahead += l->step;

    if (count) {
        e->until = now + ahead;
    }

    say->remaining = ahead <= l->room ? (l->room - ahead) / l->step + 1 : 0;
    say->wait = ahead;
}


/* us until the requests of two windows leave room for one more */

static int64_t
ngx_pay_limit_sliding_wait(int64_t window, int64_t from, int64_t room,
    int64_t cur, int64_t prev)
{
    if (cur >= room) {
        return window - from + window * (cur - room + 1) / cur;
    }

    return window * (prev - (room - 1 - cur)) / prev - from;
}


static void
ngx_pay_limit_sliding(ngx_pay_limit_t *l, ngx_pay_limit_entry_t *e,
    int64_t now, ngx_uint_t count, ngx_pay_limit_say_t *say)
{
    int64_t  window, from, start, cur, prev, used;

    window = -l->step;
    from = now % window;
    start = now - from;

    cur = 0;
    prev = 0;

    if (e->until == start + 2 * window) {
        cur = e->now;
        prev = e->before;

    } else if (e->until == start + window) {
        prev = e->now;
    }

    /* in parts of a request */

    used = prev * (window - from) + cur * window;

    if (used + window > l->room * window) {
        say->refused = 1;
        say->wait = ngx_pay_limit_sliding_wait(window, from, l->room, cur,
                                               prev);
        return;
    }

    if (count) {
        e->until = start + 2 * window;
        e->now = (uint32_t) (cur + 1);
        e->before = (uint32_t) prev;
    }

    say->remaining = (l->room * window - used - window) / window;
    say->wait = window - from;
}


static void
ngx_pay_limit_say(ngx_pay_limits_shm_t *shm, ngx_pay_limit_use_t *use,
    ngx_uint_t count, ngx_pay_limit_say_t *say)
{
    int64_t                 now;
    struct timespec         ts;
    ngx_pay_limit_entry_t  *e;

    /* nginx's own time is too coarse: without a burst it would be the limit */

    (void) clock_gettime(CLOCK_MONOTONIC, &ts);
    now = (int64_t) ts.tv_sec * NGX_PAY_LIMIT_SECOND + ts.tv_nsec / 1000;

    e = ngx_pay_limits_find(shm, use->who);

    ngx_memzero(say, sizeof(ngx_pay_limit_say_t));

    if (use->limit->sliding) {
        ngx_pay_limit_sliding(use->limit, e, now, count, say);

    } else {
        ngx_pay_limit_gcra(use->limit, e, now, count, say);
    }
}


ngx_int_t
ngx_pay_limits_check(ngx_pay_limits_shm_t *shm, ngx_pay_limit_use_t *use,
    ngx_uint_t n, ngx_pay_limit_left_t *left)
{
    ngx_uint_t           i;
    ngx_pay_limit_say_t  say;

    for (i = 0; i < n; i++) {
        ngx_pay_limit_say(shm, &use[i], 0, &say);

        if (i == 0 || say.refused
            || say.remaining < (int64_t) left->remaining)
        {
            left->which = i;
            left->remaining = say.remaining;
            left->reset = (say.wait + NGX_PAY_LIMIT_SECOND - 1)
                          / NGX_PAY_LIMIT_SECOND;
        }

        if (say.refused) {
            return NGX_BUSY;
        }
    }

    return NGX_OK;
}


void
ngx_pay_limits_count(ngx_pay_limits_shm_t *shm, ngx_pay_limit_use_t *use,
    ngx_uint_t n)
{
    ngx_uint_t           i;
    ngx_pay_limit_say_t  say;

    for (i = 0; i < n; i++) {
        ngx_pay_limit_say(shm, &use[i], 1, &say);
    }
}
