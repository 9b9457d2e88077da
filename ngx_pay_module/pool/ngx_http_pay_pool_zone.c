/*
 * Requests in flight per pool and process, and the pools' counters.
 *
 * Two processes that ask for the last place at once both count themselves
 * first and look then, so at least one of them sees both: never is one too
 * many admitted, and at worst both are refused.
 */

#include "ngx_http_pay_pool.h"


static ngx_int_t ngx_http_pay_pool_row(ngx_http_pay_pool_main_conf_t *omcf,
    ngx_http_pay_pool_main_conf_t *old, ngx_str_t *name);


ngx_uint_t
ngx_http_pay_pool_in_flight(ngx_http_pay_pool_sh_t *sh, ngx_uint_t row)
{
    ngx_uint_t  s, n, sum;

    n = sh->slots;
    sum = 0;

    for (s = 0; s < n; s++) {
        sum += sh->in_flight[s][row];
    }

    return sum;
}


/* rows of processes that were killed and not replaced */

static void
ngx_http_pay_pool_reap(ngx_http_pay_pool_main_conf_t *omcf)
{
    ngx_pid_t                pid;
    ngx_uint_t               s;
    ngx_http_pay_pool_sh_t  *sh;

    sh = omcf->sh;

    ngx_shmtx_lock(&omcf->shpool->mutex);

    for (s = 0; s < sh->slots; s++) {
        pid = sh->pids[s];

        if (pid && kill(pid, 0) == -1 && ngx_errno == ESRCH) {
            sh->pids[s] = 0;
            ngx_memzero((void *) sh->in_flight[s], sizeof(sh->in_flight[s]));

            if (s < NGX_HTTP_PAY_ROWS) {
                ngx_memzero((void *) sh->waits[s], sizeof(sh->waits[s]));
            }
        }
    }

    ngx_shmtx_unlock(&omcf->shpool->mutex);
}


ngx_http_pay_pool_count_t
ngx_http_pay_pool_sum(ngx_http_pay_pool_sh_t *sh, ngx_uint_t row)
{
    ngx_uint_t                  i, k;
    ngx_http_pay_pool_count_t   sum, *c;

    ngx_memzero(&sum, sizeof(ngx_http_pay_pool_count_t));

    for (i = 0; i < NGX_HTTP_PAY_ROWS; i++) {
        c = &sh->counts[i][row];

        sum.requests += c->requests;
        sum.refused += c->refused;
        sum.latency += c->latency;

        for (k = 0; k < NGX_HTTP_PAY_POOL_CLASSES; k++) {
            sum.answers[k] += c->answers[k];
        }
    }

    return sum;
}


/* only the first processes are followed: of more than these there are none */

static void
ngx_http_pay_pool_wait(ngx_http_pay_pool_sh_t *sh, ngx_uint_t row,
    ngx_int_t n, ngx_msec_t since)
{
    ngx_http_pay_pool_wait_t  *w;

    if (ngx_process_slot >= NGX_HTTP_PAY_ROWS) {
        return;
    }

    w = &sh->waits[ngx_process_slot][row];

    w->seq++;
    ngx_memory_barrier();

    w->waiting += n;
    w->since += n * since;

    ngx_memory_barrier();
    w->seq++;
}


/* a process that was killed while it wrote, or writes on and on, is left out */

void
ngx_http_pay_pool_waiting(ngx_http_pay_pool_sh_t *sh, ngx_uint_t row,
    struct canary_sums *sums)
{
    ngx_uint_t                 s, i;
    ngx_atomic_uint_t          seq, waiting, since;
    ngx_http_pay_pool_wait_t  *w;

    ngx_memzero(sums, sizeof(struct canary_sums));

    for (s = 0; s < NGX_HTTP_PAY_ROWS; s++) {
        w = &sh->waits[s][row];

        for (i = 0; i < 4; i++) {
            seq = w->seq;
            ngx_memory_barrier();

            waiting = w->waiting;
            since = w->since;

            ngx_memory_barrier();

            if (seq == w->seq && (seq & 1) == 0) {
                sums->requests += waiting;
                sums->ms += waiting * ngx_current_msec - since;
                break;
            }
        }
    }
}


ngx_int_t
ngx_http_pay_pool_take(ngx_http_pay_pool_main_conf_t *omcf,
    ngx_http_pay_pool_t *pool, ngx_msec_t now)
{
    ngx_atomic_t            *own;
    ngx_http_pay_pool_sh_t  *sh;

    sh = omcf->sh;
    own = &sh->in_flight[ngx_process_slot][pool->row];

    (void) ngx_atomic_fetch_add(own, 1);

    if (ngx_http_pay_pool_in_flight(sh, pool->row) <= pool->bound) {
        ngx_http_pay_pool_wait(sh, pool->row, 1, now);
        return NGX_OK;
    }

    if (sh->reaped != ngx_time()) {
        sh->reaped = ngx_time();
        ngx_http_pay_pool_reap(omcf);

        if (ngx_http_pay_pool_in_flight(sh, pool->row) <= pool->bound) {
            ngx_http_pay_pool_wait(sh, pool->row, 1, now);
            return NGX_OK;
        }
    }

    (void) ngx_atomic_fetch_add(own, -1);

    return NGX_BUSY;
}


void
ngx_http_pay_pool_give(ngx_http_pay_pool_main_conf_t *omcf,
    ngx_http_pay_pool_t *pool, ngx_msec_t since)
{
    ngx_http_pay_pool_wait(omcf->sh, pool->row, -1, since);

    (void) ngx_atomic_fetch_add(
               &omcf->sh->in_flight[ngx_process_slot][pool->row], -1);
}


static void
ngx_http_pay_pool_own(ngx_http_pay_pool_main_conf_t *omcf, ngx_pid_t pid)
{
    ngx_http_pay_pool_sh_t  *sh;

    sh = omcf->sh;

    ngx_shmtx_lock(&omcf->shpool->mutex);

    ngx_memzero((void *) sh->in_flight[ngx_process_slot],
                sizeof(sh->in_flight[ngx_process_slot]));
    sh->pids[ngx_process_slot] = pid;

    if (ngx_process_slot < NGX_HTTP_PAY_ROWS) {
        ngx_memzero((void *) sh->waits[ngx_process_slot],
                    sizeof(sh->waits[ngx_process_slot]));
    }

    if (sh->slots <= (ngx_uint_t) ngx_process_slot) {
        sh->slots = ngx_process_slot + 1;
    }

    ngx_shmtx_unlock(&omcf->shpool->mutex);
}


/* whoever had the slot before is gone, perhaps killed */

void
ngx_http_pay_pool_process_start(ngx_http_pay_pool_main_conf_t *omcf)
{
    ngx_http_pay_pool_own(omcf, ngx_pid);
}


void
ngx_http_pay_pool_process_end(ngx_http_pay_pool_main_conf_t *omcf)
{
    ngx_http_pay_pool_own(omcf, 0);
}


/* called by the master with the old cycle's configuration on a reload */

ngx_int_t
ngx_http_pay_pool_zone_init(ngx_shm_zone_t *zone, void *data)
{
    ngx_http_pay_pool_main_conf_t  *old = data;

    ngx_int_t                       row;
    ngx_uint_t                      i;
    ngx_http_pay_pool_t            *pool;
    ngx_http_pay_pool_main_conf_t  *omcf;

    omcf = zone->data;
    omcf->shpool = (ngx_slab_pool_t *) zone->shm.addr;

    if (old) {
        omcf->sh = old->sh;

    } else if (zone->shm.exists) {
        omcf->sh = omcf->shpool->data;

    } else {
        omcf->sh = ngx_slab_calloc(omcf->shpool,
                                   sizeof(ngx_http_pay_pool_sh_t));
        if (omcf->sh == NULL) {
            return NGX_ERROR;
        }

        omcf->shpool->data = omcf->sh;
    }

    pool = omcf->pools.elts;

    for (i = 0; i < omcf->pools.nelts; i++) {
        row = ngx_http_pay_pool_row(omcf, old, &pool[i].name);

        if (row == NGX_ERROR) {
            ngx_log_error(NGX_LOG_EMERG, zone->shm.log, 0,
                          "no row left for pay_pool \"%V\" in %V:%ui",
                          &pool[i].name, &pool[i].where.file,
                          pool[i].where.line);
            return NGX_ERROR;
        }

        pool[i].row = row;
    }

    return NGX_OK;
}


static ngx_uint_t
ngx_http_pay_pool_known(ngx_http_pay_pool_main_conf_t *omcf, u_char *name,
    size_t len)
{
    ngx_uint_t            i;
    ngx_http_pay_pool_t  *pool;

    if (omcf == NULL) {
        return 0;
    }

    pool = omcf->pools.elts;

    for (i = 0; i < omcf->pools.nelts; i++) {
        if (pool[i].name.len == len
            && ngx_memcmp(pool[i].name.data, name, len) == 0)
        {
            return 1;
        }
    }

    return 0;
}


/*
 * The row of that name, or a free one, or one of a pool that neither the old
 * nor the new configuration has and that has nothing in flight.
 */

static ngx_int_t
ngx_http_pay_pool_row(ngx_http_pay_pool_main_conf_t *omcf,
    ngx_http_pay_pool_main_conf_t *old, ngx_str_t *name)
{
    ngx_int_t                i, unused;
    ngx_uint_t               k;
    ngx_http_pay_pool_sh_t  *sh;

    sh = omcf->sh;
    unused = NGX_ERROR;

    for (i = NGX_HTTP_PAY_POOLS_MAX - 1; i >= 0; i--) {

        if (sh->names[i].len == name->len
            && ngx_memcmp(sh->names[i].name, name->data, name->len) == 0)
        {
            return i;
        }

        if (sh->names[i].len == 0
            || (!ngx_http_pay_pool_known(omcf, sh->names[i].name,
                                         sh->names[i].len)
                && !ngx_http_pay_pool_known(old, sh->names[i].name,
                                            sh->names[i].len)
                && ngx_http_pay_pool_in_flight(sh, i) == 0))
        {
            unused = i;
        }
    }

    if (unused != NGX_ERROR) {
        sh->names[unused].len = name->len;
        ngx_memcpy(sh->names[unused].name, name->data, name->len);
        ngx_memzero((void *) &sh->looks[unused],
                    sizeof(ngx_http_pay_pool_look_t));

        for (k = 0; k < NGX_HTTP_PAY_ROWS; k++) {
            ngx_memzero((void *) &sh->counts[k][unused],
                        sizeof(ngx_http_pay_pool_count_t));
        }
    }

    return unused;
}
