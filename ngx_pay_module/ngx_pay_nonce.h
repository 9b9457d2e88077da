/*
 * Nonces and rate limits of one node in the zone: a second line behind Redis,
 * and the only one while Redis is away.
 *
 * Nonces sit in buckets of fixed size.  One whose bucket is full of nonces that
 * could still be replayed pushes out the oldest; from then on a timestamp not
 * younger than that one cannot be judged in this bucket, and is refused while
 * there is no Redis to ask.
 */

#ifndef _NGX_PAY_NONCE_H_INCLUDED_
#define _NGX_PAY_NONCE_H_INCLUDED_


#include "ngx_http_pay_private.h"


typedef struct {
    struct slice    app;        /* {mchid, app} is the identity */
    struct slice    mchid;
    struct slice    nonce;
    time_t          timestamp;  /* signed */
    time_t          window;
    int64_t         step;       /* us per request, 0: no limit */
    int64_t         room;       /* us a burst may run ahead */
} ngx_pay_nonce_t;


typedef struct {
    ngx_uint_t      remaining;
    ngx_uint_t      reset;      /* s; until a retry makes sense if limited */
} ngx_pay_limit_t;


ngx_pay_nonce_shm_t *ngx_pay_nonce_init_shm(ngx_slab_pool_t *shpool,
    size_t size);

/* Redis has let it pass; remembers the nonce.  NGX_DECLINED: seen before. */
ngx_int_t ngx_pay_nonce_remember(ngx_pay_nonce_t *n);

/*
 * Without Redis: limit and nonce are checked, and written if both pass.
 * NGX_DECLINED: seen before, or nobody can tell.  NGX_BUSY: over the limit.
 */
ngx_int_t ngx_pay_nonce_judge(ngx_pay_nonce_t *n, ngx_pay_limit_t *limit);


#endif /* _NGX_PAY_NONCE_H_INCLUDED_ */
