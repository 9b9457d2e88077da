#include "ngx_pay_nonce.h"


#define NGX_PAY_NONCE_WAYS   10         /* a bucket has two cache lines */


typedef struct {
    uint32_t            floor;          /* timestamps up to it were forgotten */
    uint32_t            unused;
    uint32_t            timestamp[NGX_PAY_NONCE_WAYS];
    uint64_t            tag[NGX_PAY_NONCE_WAYS];
} ngx_pay_nonce_bucket_t;


struct ngx_pay_nonce_shm_s {
    uint64_t                 seed;
    ngx_uint_t               mask;
    ngx_pay_nonce_bucket_t  *buckets;
};


ngx_pay_nonce_shm_t *
ngx_pay_nonce_init_shm(ngx_slab_pool_t *shpool, size_t size)
{
    ngx_uint_t            n;
    ngx_pay_nonce_shm_t  *shm;

    shm = ngx_slab_calloc(shpool, sizeof(ngx_pay_nonce_shm_t));
    if (shm == NULL || random_bytes(&shm->seed, sizeof(shm->seed)) != 0) {
        return NULL;
    }

    /* a quarter of the zone or less */

    for (n = 1; n * 2 * sizeof(ngx_pay_nonce_bucket_t) <= size / 4; n *= 2) {
        /* void */
    }

    shm->mask = n - 1;

    /* a new zone is zeroed: its pages cost memory only once they are used */

    shm->buckets = ngx_slab_alloc(shpool, n * sizeof(ngx_pay_nonce_bucket_t));

    return shm->buckets ? shm : NULL;
}


uint64_t
ngx_pay_nonce_mix(uint64_t h, struct slice s)
{
    h = (h ^ slice_hash(s)) * 0x9e3779b97f4a7c15;

    return h ^ (h >> 32);
}


/* callers hold the slab mutex */

static ngx_int_t
ngx_pay_nonce_add(ngx_pay_nonce_t *n, uint64_t who, ngx_uint_t strict)
{
    time_t                   now;
    uint64_t                 tag;
    ngx_uint_t               i, place;
    ngx_pay_nonce_shm_t     *shm;
    ngx_pay_nonce_bucket_t  *b;

    now = ngx_time();
    shm = ngx_http_pay_shm->nonces;
    tag = ngx_pay_nonce_mix(who, n->nonce);
    b = &shm->buckets[(tag >> 16) & shm->mask];

    place = 0;

    for (i = 0; i < NGX_PAY_NONCE_WAYS; i++) {

        if (b->tag[i] == tag && b->timestamp[i] + n->window >= now) {
            return NGX_DECLINED;
        }

        if (b->timestamp[i] < b->timestamp[place]) {
            place = i;
        }
    }

    if (strict && n->timestamp <= (time_t) b->floor) {
        return NGX_DECLINED;
    }

    if (b->timestamp[place] + n->window >= now
        && b->timestamp[place] > b->floor)
    {
        b->floor = b->timestamp[place];
    }

    b->tag[place] = tag;
    b->timestamp[place] = (uint32_t) n->timestamp;

    return NGX_OK;
}


uint64_t
ngx_pay_nonce_seed(void)
{
    return ngx_http_pay_shm->nonces->seed;
}


static uint64_t
ngx_pay_nonce_who(ngx_pay_nonce_t *n)
{
    return ngx_pay_nonce_mix(ngx_pay_nonce_mix(ngx_pay_nonce_seed(), n->mchid),
                             n->app);
}


ngx_int_t
ngx_pay_nonce_remember(ngx_pay_nonce_t *n)
{
    uint64_t   who;
    ngx_int_t  rc;

    who = ngx_pay_nonce_who(n);

    ngx_shmtx_lock(&ngx_http_pay_shpool->mutex);
    rc = ngx_pay_nonce_add(n, who, 0);
    ngx_shmtx_unlock(&ngx_http_pay_shpool->mutex);

    return rc;
}


ngx_int_t
ngx_pay_nonce_judge(ngx_pay_nonce_t *n, ngx_pay_limit_use_t *use,
    ngx_uint_t nuse, ngx_pay_limit_left_t *left)
{
    uint64_t   who;
    ngx_int_t  rc;

    who = ngx_pay_nonce_who(n);
    ngx_memzero(left, sizeof(ngx_pay_limit_left_t));

    ngx_shmtx_lock(&ngx_http_pay_shpool->mutex);

    rc = ngx_pay_limits_check(ngx_http_pay_shm->limits, use, nuse, left);

    if (rc == NGX_OK) {
        rc = ngx_pay_nonce_add(n, who, 1);
    }

    if (rc == NGX_OK) {
        ngx_pay_limits_count(ngx_http_pay_shm->limits, use, nuse);
    }

    ngx_shmtx_unlock(&ngx_http_pay_shpool->mutex);

    return rc;
}
