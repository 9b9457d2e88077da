/*
 * Nonces of one node in the zone: a second line behind Redis, and the only one
 * while Redis is away.
 *
 * Nonces sit in buckets of fixed size.  One whose bucket is full of nonces that
 * could still be replayed pushes out the oldest; from then on a timestamp not
 * younger than that one cannot be judged in this bucket, and is refused while
 * there is no Redis to ask.
 */

#ifndef _NGX_PAY_NONCE_H_INCLUDED_
#define _NGX_PAY_NONCE_H_INCLUDED_


#include "ngx_pay_limit.h"


typedef struct {
    struct slice    app;        /* {mchid, app} is the identity */
    struct slice    mchid;
    struct slice    nonce;
    time_t          timestamp;  /* signed */
    time_t          window;
} ngx_pay_nonce_t;


ngx_pay_nonce_shm_t *ngx_pay_nonce_init_shm(ngx_slab_pool_t *shpool,
    size_t size);

/* Redis has let it pass; remembers the nonce.  NGX_DECLINED: seen before. */
ngx_int_t ngx_pay_nonce_remember(ngx_pay_nonce_t *n);

/*
 * Without Redis: limits and nonce are checked, and written if all pass.
 * NGX_DECLINED: seen before, or nobody can tell.  NGX_BUSY: over a limit.
 */
ngx_int_t ngx_pay_nonce_judge(ngx_pay_nonce_t *n, ngx_pay_limit_use_t *use,
    ngx_uint_t nuse, ngx_pay_limit_left_t *left);

/* what counters and nonces in the zone are called by */
uint64_t ngx_pay_nonce_seed(void);
uint64_t ngx_pay_nonce_mix(uint64_t h, struct slice s);


#endif /* _NGX_PAY_NONCE_H_INCLUDED_ */
