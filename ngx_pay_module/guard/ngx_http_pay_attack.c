#include "ngx_http_pay_attack.h"

#include "ngx_pay_module/local/ngx_pay_nonce.h"


#define NGX_HTTP_PAY_ATTACK_WAYS  4


/* times in seconds of the machine's clock since its start */

typedef struct {
    uint64_t                     tag;
    uint32_t                     since;     /* the counts begin */
    uint32_t                     until;     /* blocked */
    uint32_t                     count[NGX_HTTP_PAY_ATTACKS];
    uint32_t                     told;      /* bit per signal */
    ngx_msec_t                   next;      /* slowed: not before */
} ngx_http_pay_attack_entry_t;


struct ngx_http_pay_attack_shm_s {
    ngx_atomic_t                 until;     /* of all: later none is blocked */
    ngx_uint_t                   mask;
    ngx_http_pay_attack_entry_t  entries[][NGX_HTTP_PAY_ATTACK_WAYS];
};


static const char *const  ngx_http_pay_attack_names[NGX_HTTP_PAY_ATTACKS] = {
    "signatures", "replays", "serials", "paths"
};


ngx_http_pay_attack_shm_t *
ngx_http_pay_attack_init_shm(ngx_slab_pool_t *shpool, size_t size)
{
    size_t                      set;
    ngx_uint_t                  n;
    ngx_http_pay_attack_shm_t  *shm;

    set = sizeof(ngx_http_pay_attack_entry_t) * NGX_HTTP_PAY_ATTACK_WAYS;

    /* a 64th part of the zone or less */

    for (n = 64; n * 2 * set <= size / 64; n *= 2) { /* void */ }

    shm = ngx_slab_calloc(shpool, sizeof(ngx_http_pay_attack_shm_t) + n * set);

    if (shm) {
        shm->mask = n - 1;
    }

    return shm;
}


struct slice
ngx_http_pay_source(ngx_http_request_t *r)
{
    struct sockaddr      *sa;
#if (NGX_HAVE_INET6)
    struct sockaddr_in6  *sin6;
#endif

    sa = r->connection->sockaddr;

    switch (sa->sa_family) {

    case AF_INET:
        return slice_n(&((struct sockaddr_in *) sa)->sin_addr, 4);

#if (NGX_HAVE_INET6)
    case AF_INET6:
        sin6 = (struct sockaddr_in6 *) sa;

        if (IN6_IS_ADDR_V4MAPPED(&sin6->sin6_addr)) {
            return slice_n(&sin6->sin6_addr.s6_addr[12], 4);
        }

        /* a subscriber has a /64 */
        return slice_n(&sin6->sin6_addr, 8);
#endif

    default:
        return SLICE_NULL;
    }
}


static ngx_http_pay_attack_entry_t *
ngx_http_pay_attack_set(struct slice source, uint64_t *tag)
{
    *tag = ngx_pay_nonce_mix(ngx_pay_nonce_seed(), source);

    return ngx_http_pay_shm->attack->entries[*tag
                                             & ngx_http_pay_shm->attack->mask];
}


/* under the lock: the source's entry, or a new one for it */

static ngx_http_pay_attack_entry_t *
ngx_http_pay_attack_find(struct slice source, uint32_t now)
{
    uint64_t                      tag;
    ngx_uint_t                    i;
    ngx_http_pay_attack_entry_t  *set, *found;

    set = ngx_http_pay_attack_set(source, &tag);
    found = &set[0];

    for (i = 0; i < NGX_HTTP_PAY_ATTACK_WAYS; i++) {

        if (set[i].tag == tag) {
            return &set[i];
        }

        if (ngx_max(set[i].until, set[i].since)
            < ngx_max(found->until, found->since))
        {
            found = &set[i];
        }
    }

    ngx_memzero(found, sizeof(ngx_http_pay_attack_entry_t));
    found->tag = tag;
    found->since = now;

    return found;
}


/* the number of refusals when it is to be told, else 0 */

static ngx_uint_t
ngx_http_pay_attack_add(ngx_http_pay_attack_conf_t *acf, struct slice source,
    ngx_uint_t signal)
{
    uint32_t                      now;
    ngx_uint_t                    n;
    ngx_http_pay_attack_entry_t  *e;

    now = (uint32_t) (ngx_current_msec / 1000);
    n = 0;

    ngx_shmtx_lock(&ngx_http_pay_shpool->mutex);

    e = ngx_http_pay_attack_find(source, now);

    if (now - e->since >= (uint32_t) acf->within) {
        ngx_memzero(e->count, sizeof(e->count));
        e->told = 0;
        e->since = now;
    }

    e->count[signal]++;

    if (e->count[signal] >= acf->most[signal]
        && !(e->told & (1u << signal)))
    {
        e->told |= 1u << signal;
        n = e->count[signal];

        if (acf->block) {
            e->until = now + (uint32_t) acf->time;
            ngx_http_pay_shm->attack->until =
                ngx_max(ngx_http_pay_shm->attack->until, e->until);
        }
    }

    ngx_shmtx_unlock(&ngx_http_pay_shpool->mutex);

    return n;
}


static ngx_uint_t
ngx_http_pay_attack_is_excepted(ngx_http_request_t *r,
    ngx_http_pay_attack_conf_t *acf)
{
    return acf->except
           && ngx_cidr_match(r->connection->sockaddr, acf->except) == NGX_OK;
}


void
ngx_http_pay_attack_count(ngx_http_request_t *r,
    ngx_http_pay_attack_conf_t *acf, ngx_uint_t signal)
{
    ngx_uint_t    n;
    struct slice  source;

    source = ngx_http_pay_source(r);

    if (acf->most[signal] == 0 || source.n == 0 || ngx_http_pay_shm == NULL
        || ngx_http_pay_attack_is_excepted(r, acf))
    {
        return;
    }

    n = ngx_http_pay_attack_add(acf, source, signal);

    if (n == 0) {
        return;
    }

    ngx_http_pay_count(attacks[signal]);

    ngx_log_error(NGX_LOG_ERR, r->connection->log, 0,
                  "pay: event=attack signal=%s source=%V count=%ui within=%Ts "
                  "action=%s for=%Ts", ngx_http_pay_attack_names[signal],
                  &r->connection->addr_text, n, acf->within,
                  !acf->block ? "none" : acf->rate ? "slow" : "block",
                  acf->block ? acf->time : 0);
}


/* a blocked source may still come at the rate */

static ngx_uint_t
ngx_http_pay_attack_slow(ngx_http_pay_attack_conf_t *acf,
    ngx_http_pay_attack_entry_t *e)
{
    ngx_uint_t  passed;

    if (acf->rate == 0) {
        return 0;
    }

    ngx_shmtx_lock(&ngx_http_pay_shpool->mutex);

    passed = (ngx_msec_int_t) (e->next - ngx_current_msec) <= 0;

    if (passed) {
        e->next = ngx_current_msec + acf->window * 1000 / acf->rate;
    }

    ngx_shmtx_unlock(&ngx_http_pay_shpool->mutex);

    return passed;
}


/* every request comes here: while nobody is blocked it costs one comparison */

ngx_uint_t
ngx_http_pay_attack_blocked(ngx_http_request_t *r,
    ngx_http_pay_attack_conf_t *acf)
{
    uint32_t                      now, until;
    uint64_t                      tag;
    ngx_uint_t                    i;
    struct slice                  source;
    ngx_http_pay_attack_entry_t  *set;

    now = (uint32_t) (ngx_current_msec / 1000);

    if (ngx_http_pay_shm == NULL || ngx_http_pay_shm->attack->until <= now) {
        return 0;
    }

    source = ngx_http_pay_source(r);

    if (source.n == 0) {
        return 0;
    }

    /* without the lock: a wrong look costs one request more or less */

    set = ngx_http_pay_attack_set(source, &tag);

    for (i = 0; i < NGX_HTTP_PAY_ATTACK_WAYS; i++) {
        until = set[i].until;

        if (set[i].tag == tag && until > now) {
            return ngx_http_pay_attack_is_excepted(r, acf)
                   || ngx_http_pay_attack_slow(acf, &set[i])
                   ? 0 : until - now;
        }
    }

    return 0;
}
