/*
 * See ngx_http_pay_attempts.h.  The zone's mutex is released by the master
 * when a process is killed while holding it; every state between two of the
 * stores below is a valid one.
 */

#include "ngx_http_pay_attempts.h"

#include "core/clock.h"


typedef struct {
    uint64_t                   id;
    uint64_t                   until;   /* boot time, s; 0: never used */
} ngx_http_pay_attempt_t;


struct ngx_http_pay_attempts_s {
    ngx_uint_t                 count;
    ngx_http_pay_attempt_t    *places;
    ngx_slab_pool_t           *shpool;
};


static ngx_int_t ngx_http_pay_attempts_init(ngx_shm_zone_t *zone, void *data);
static ngx_uint_t ngx_http_pay_attempts_find(ngx_http_pay_attempts_t *at,
    uint64_t id, uint64_t now, ngx_http_pay_attempt_t **place);


ngx_http_pay_attempts_t *
ngx_http_pay_attempts_add(ngx_conf_t *cf, ngx_uint_t count,
    ngx_module_t *module)
{
    size_t                    size;
    ngx_str_t                 name;
    ngx_shm_zone_t           *zone;
    ngx_http_pay_attempts_t  *at;

    at = ngx_pcalloc(cf->pool, sizeof(ngx_http_pay_attempts_t));
    if (at == NULL) {
        return NULL;
    }

    for (at->count = NGX_HTTP_PAY_ATTEMPTS_MIN; at->count < count; ) {
        at->count *= 2;
    }

    /* slab keeps a descriptor for each page in front of the pages */

    size = at->count * sizeof(ngx_http_pay_attempt_t);
    size += size / ngx_pagesize * sizeof(ngx_slab_page_t);
    size = ngx_align(size, ngx_pagesize) + 16 * ngx_pagesize;

    ngx_str_set(&name, "pay_attempts");

    zone = ngx_shared_memory_add(cf, &name, size, module);
    if (zone == NULL) {
        return NULL;
    }

    zone->init = ngx_http_pay_attempts_init;
    zone->data = at;

    return at;
}


static ngx_int_t
ngx_http_pay_attempts_init(ngx_shm_zone_t *zone, void *data)
{
    ngx_http_pay_attempts_t  *oat = data;

    ngx_http_pay_attempts_t  *at;

    at = zone->data;
    at->shpool = (ngx_slab_pool_t *) zone->shm.addr;

    if (oat) {
        at->places = oat->places;
        return NGX_OK;
    }

    if (zone->shm.exists) {
        at->places = at->shpool->data;
        return NGX_OK;
    }

    /* a new zone is zeroed: its pages cost memory only once they are used */

    at->places = ngx_slab_alloc(at->shpool,
                                at->count * sizeof(ngx_http_pay_attempt_t));
    if (at->places == NULL) {
        return NGX_ERROR;
    }

    at->shpool->data = at->places;

    return NGX_OK;
}


ngx_uint_t
ngx_http_pay_attempts_seen(ngx_http_pay_attempts_t *at, uint64_t id)
{
    uint64_t                 now;
    ngx_uint_t               seen;
    ngx_http_pay_attempt_t  *place;

    now = (uint64_t) (clock_read_boot_us() / USEC_PER_SEC);

    ngx_shmtx_lock(&at->shpool->mutex);

    seen = ngx_http_pay_attempts_find(at, id, now, &place);

    ngx_shmtx_unlock(&at->shpool->mutex);

    return seen;
}


ngx_int_t
ngx_http_pay_attempts_record(ngx_http_pay_attempts_t *at, uint64_t id)
{
    uint64_t                 now;
    ngx_int_t                rc;
    ngx_http_pay_attempt_t  *place;

    now = (uint64_t) (clock_read_boot_us() / USEC_PER_SEC);

    ngx_shmtx_lock(&at->shpool->mutex);

    if (ngx_http_pay_attempts_find(at, id, now, &place)) {
        rc = NGX_DECLINED;

    } else if (place == NULL) {
        rc = NGX_BUSY;

    } else {
        place->id = id;
        place->until = now + NGX_HTTP_PAY_ATTEMPTS_SECONDS + 1;
        rc = NGX_OK;
    }

    ngx_shmtx_unlock(&at->shpool->mutex);

    return rc;
}


void
ngx_http_pay_attempts_forget(ngx_http_pay_attempts_t *at, uint64_t id)
{
    uint64_t                 now;
    ngx_http_pay_attempt_t  *place;

    now = (uint64_t) (clock_read_boot_us() / USEC_PER_SEC);

    ngx_shmtx_lock(&at->shpool->mutex);

    if (ngx_http_pay_attempts_find(at, id, now, &place)) {
        place->until = 1;
    }

    ngx_shmtx_unlock(&at->shpool->mutex);
}


/* splitmix64's finalizer */

static ngx_inline uint64_t
ngx_http_pay_attempts_mix(uint64_t h)
{
    h = (h ^ (h >> 30)) * 0xbf58476d1ce4e5b9ULL;
    h = (h ^ (h >> 27)) * 0x94d049bb133111ebULL;

    return h ^ (h >> 31);
}


/*
 * With the zone locked.  1: *place has the id; 0: *place is the first free
 * place for it, NULL if there is none.
 */

static ngx_uint_t
ngx_http_pay_attempts_find(ngx_http_pay_attempts_t *at, uint64_t id,
    uint64_t now, ngx_http_pay_attempt_t **place)
{
    uint64_t                 bucket, step, mask;
    ngx_uint_t               i, n;
    ngx_http_pay_attempt_t  *p;

    *place = NULL;

    /*
     * Ids made one after another share a few pages: the first bucket is that
     * of a run of ids, and the runs are spread.  The others are the id's own.
     */

    mask = at->count / NGX_HTTP_PAY_ATTEMPTS_BUCKET - 1;

    bucket = ngx_http_pay_attempts_mix(id / NGX_HTTP_PAY_ATTEMPTS_RUN)
             + id % NGX_HTTP_PAY_ATTEMPTS_RUN / NGX_HTTP_PAY_ATTEMPTS_BUCKET;
    step = ngx_http_pay_attempts_mix(id) | 1;

    for (n = 0; n < NGX_HTTP_PAY_ATTEMPTS_BUCKETS; n++) {
        p = &at->places[(bucket & mask) * NGX_HTTP_PAY_ATTEMPTS_BUCKET];

        for (i = 0; i < NGX_HTTP_PAY_ATTEMPTS_BUCKET; i++, p++) {

            if (p->until > now) {
                if (p->id == id) {
                    *place = p;
                    return 1;
                }

                continue;
            }

            if (*place == NULL) {
                *place = p;
            }

            if (p->until == 0) {
                return 0;
            }
        }

        bucket += step;
    }

    return 0;
}
