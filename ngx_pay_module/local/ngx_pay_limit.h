/*
 * One rate limit: what it allows, and how it is counted on this node while
 * Redis is away.  The script in ngx_http_pay_guard_script.h counts the same way.
 *
 * GCRA: a request may come as soon as the theoretical arrival time of the next
 * one is at most `room` ahead of now; it moves that time by `step`.
 * Sliding window: requests of this window, and of the one before as if they had
 * been spread evenly over it, are at most `room`.
 */

#ifndef _NGX_PAY_LIMIT_H_INCLUDED_
#define _NGX_PAY_LIMIT_H_INCLUDED_

#include "ngx_pay_module/request/ngx_http_pay_private.h"


#define NGX_PAY_LIMIT_RATE_MAX   1000000
#define NGX_PAY_LIMIT_NAME_MAX   32
#define NGX_PAY_LIMIT_POLICY_MAX (NGX_PAY_LIMIT_NAME_MAX + 32)
#define NGX_PAY_LIMIT_ARGV_MAX   64


typedef struct {
    ngx_str_t         name;         /* ends in NUL */
    ngx_uint_t        rate;         /* requests in `window`; 0: no limit */
    ngx_uint_t        window;       /* s: 1, 60 or 3600 */
    ngx_uint_t        burst;
    ngx_uint_t        sliding;
    ngx_uint_t        kind;         /* NGX_PAY_LIMIT_... */

    /* made of these by ngx_pay_limit_init */
    uint32_t          id;           /* of the counter, in keys */
    int64_t           step;         /* us per request; < 0: window in us */
    int64_t           room;         /* us; requests per window */
    ngx_str_t         policy;       /* item of RateLimit-Policy */
    ngx_str_t         argv;         /* step and room for Redis (RESP) */
    u_char            text[NGX_PAY_LIMIT_POLICY_MAX + NGX_PAY_LIMIT_ARGV_MAX];
} ngx_pay_limit_t;

/* what is counted; the first two have the merchant's hash tag */
#define NGX_PAY_LIMIT_APP       0
#define NGX_PAY_LIMIT_MERCHANT  1
#define NGX_PAY_LIMIT_API       2
#define NGX_PAY_LIMIT_IP        3
#define NGX_PAY_LIMIT_VALUE     4
#define NGX_PAY_LIMIT_KINDS     5


/* one limit for one request, and what came of it */

typedef struct {
    ngx_pay_limit_t  *limit;
    uint64_t          who;          /* hash of limit and counted value */
} ngx_pay_limit_use_t;


typedef struct {
    ngx_uint_t        which;        /* index: the tightest, or what refused */
    ngx_uint_t        remaining;
    ngx_uint_t        reset;        /* s; until a retry makes sense if refused */
} ngx_pay_limit_left_t;


/* fills the second half of *l from the first */
void ngx_pay_limit_init(ngx_pay_limit_t *l);

/* "500r/s", "10r/m", "100r/h": NGX_OK with rate and window, or NGX_ERROR */
ngx_int_t ngx_pay_limit_rate(ngx_str_t *text, ngx_uint_t *rate,
    ngx_uint_t *window);


/* counters in the zone; callers hold the zone's mutex */

ngx_pay_limits_shm_t *ngx_pay_limits_init_shm(ngx_slab_pool_t *shpool,
    size_t size);

/* NGX_OK, or NGX_BUSY when one refuses; nothing is counted */
ngx_int_t ngx_pay_limits_check(ngx_pay_limits_shm_t *shm,
    ngx_pay_limit_use_t *use, ngx_uint_t n, ngx_pay_limit_left_t *left);
/* after a check that passed, under the same lock */
void ngx_pay_limits_count(ngx_pay_limits_shm_t *shm, ngx_pay_limit_use_t *use,
    ngx_uint_t n);


#endif /* _NGX_PAY_LIMIT_H_INCLUDED_ */
