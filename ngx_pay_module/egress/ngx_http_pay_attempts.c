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

    at->count = count;

    /* slab keeps a descriptor for each page in front of the pages */

    size = count * sizeof(ngx_http_pay_attempt_t);
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


/*
 * With the zone locked.  1: *place has the id; 0: *place is the first free
 * place for it, NULL if there is none.
 */

static ngx_uint_t
ngx_http_pay_attempts_find(ngx_http_pay_attempts_t *at, uint64_t id,
    uint64_t now, ngx_http_pay_attempt_t **place)
{
    uint64_t                 h;
    ngx_uint_t               i, n;
    ngx_http_pay_attempt_t  *p;

    *place = NULL;

    /*
     * Ids made one after another share a few pages: runs of 64 are spread
     * (splitmix64's finalizer), within a run they keep their order.
     */

    h = id >> 6;
    h = (h ^ (h >> 30)) * 0xbf58476d1ce4e5b9ULL;
    h = (h ^ (h >> 27)) * 0x94d049bb133111ebULL;
    h ^= h >> 31;
    h += id & 63;

    i = h % at->count;

    for (n = 0; n < NGX_HTTP_PAY_ATTEMPTS_WINDOW; n++) {
        p = &at->places[i];

        if (p->until > now) {
            if (p->id == id) {
                *place = p;
                return 1;
            }

        } else {
            if (*place == NULL) {
                *place = p;
            }

            if (p->until == 0) {
                return 0;
            }
        }

        i = (i + 1 == at->count) ? 0 : i + 1;
    }

    return 0;
}
