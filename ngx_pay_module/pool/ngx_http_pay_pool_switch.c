/*
 * Pools that are switched off: by an operator, or by themselves.
 *
 * A pool with "step_back" is a canary.  Whatever happens to one of its
 * requests, its sums since the last look are held against those of the pool it
 * is compared with; one that is worse is switched off, which acts in all
 * processes at once, and stays off until an operator switches it on.
 *
 * Switches of pools stand beside those of channels, in rows of the ledger
 * named "pool:NAME": so they outlive reloads, upgrades and, in the state file,
 * restarts.
 */

#include "ngx_http_pay_pool.h"

#include "ngx_pay_module/control/ngx_http_pay_switch.h"


#define NGX_HTTP_PAY_POOL_LOOK  100     /* ms between two looks of a node */


static ngx_int_t ngx_http_pay_pool_switch_row(ngx_http_pay_ledger_t *l,
    ngx_http_pay_pool_t *pool);


/* workers inherit what the master finds */

void
ngx_http_pay_pool_switches(ngx_http_pay_pool_main_conf_t *omcf, ngx_log_t *log)
{
    ngx_uint_t              i;
    ngx_http_pay_pool_t    *pool;
    ngx_http_pay_ledger_t  *l;

    l = omcf->channels->ledger;
    pool = omcf->pools.elts;

    for (i = 0; i < omcf->pools.nelts; i++) {
        pool[i].sw = NGX_ERROR;

        if (l == NULL || pool[i].all) {
            continue;
        }

        pool[i].sw = ngx_http_pay_pool_switch_row(l, &pool[i]);

        if (pool[i].sw == NGX_ERROR) {
            ngx_log_error(NGX_LOG_ERR, log, 0,
                          "pay_pool \"%V\" cannot be switched off: no row "
                          "left for it", &pool[i].name);
        }
    }
}


static ngx_int_t
ngx_http_pay_pool_switch_row(ngx_http_pay_ledger_t *l,
    ngx_http_pay_pool_t *pool)
{
    u_char                  name[NGX_HTTP_PAY_NAME_MAX], *last;
    ngx_int_t               row;
    ngx_http_pay_switch_t  *sw;

    last = ngx_snprintf(name, sizeof(name), NGX_HTTP_PAY_SWITCH_POOL "%V",
                        &pool->name);

    ngx_http_pay_ledger_lock(l);

    row = ngx_http_pay_ledger_find(l, name, last - name);

    if (row == NGX_ERROR) {
        row = ngx_http_pay_ledger_add(l, name, last - name);
    }

    /* a canary that may have stepped back is not on by accident */

    if (row != NGX_ERROR && pool->other && l->damaged && l->states[row] == 0) {
        sw = &l->rows[row].sw;
        sw->at = ngx_time();
        sw->uid = NGX_HTTP_PAY_UID_NOBODY;
        sw->len = sizeof(NGX_HTTP_PAY_STATE_LOST) - 1;
        ngx_memcpy(sw->reason, NGX_HTTP_PAY_STATE_LOST, sw->len);

        l->states[row] = 1 + NGX_HTTP_PAY_STATE_OFF;
    }

    ngx_http_pay_ledger_unlock(l);

    return row;
}


ngx_uint_t
ngx_http_pay_pool_is_off(ngx_http_pay_pool_main_conf_t *omcf,
    ngx_http_pay_pool_t *pool)
{
    return pool->sw != NGX_ERROR && omcf->channels->ledger->states[pool->sw];
}


ngx_int_t
ngx_http_pay_pool_set(ngx_http_pay_pool_main_conf_t *omcf,
    ngx_http_pay_pool_t *pool, ngx_uint_t off, uid_t uid, struct slice reason)
{
    /* what it did before it was switched on is forgiven */

    omcf->sh->looks[pool->row].known = 0;

    return ngx_http_pay_switch_set(omcf->channels, pool->sw,
                                   off ? 1 + NGX_HTTP_PAY_STATE_OFF : 0,
                                   uid, reason);
}


static struct canary_sums
ngx_http_pay_pool_sums(ngx_http_pay_pool_sh_t *sh, ngx_uint_t row)
{
    ngx_uint_t                  i;
    struct canary_sums          sums;
    ngx_http_pay_pool_count_t   n;

    n = ngx_http_pay_pool_sum(sh, row);

    sums.requests = n.refused;
    sums.failures = n.refused;
    sums.ms = n.latency;

    for (i = 0; i < NGX_HTTP_PAY_POOL_CLASSES; i++) {
        sums.requests += n.answers[i];
        sums.failures += i == 2 ? 0 : n.answers[i];
    }

    return sums;
}


/* since the base; those that wait count with the time they have waited */

static struct canary_sums
ngx_http_pay_pool_since(ngx_http_pay_pool_sh_t *sh, ngx_uint_t row,
    struct canary_sums *now, struct canary_sums *base)
{
    struct canary_sums  sums;

    ngx_http_pay_pool_waiting(sh, row, &sums);

    sums.requests += now->requests - base->requests;
    sums.failures = now->failures - base->failures;
    sums.ms += now->ms - base->ms;

    return sums;
}


static void
ngx_http_pay_pool_step_back(ngx_http_pay_pool_main_conf_t *omcf,
    ngx_http_pay_pool_t *pool, enum canary_verdict verdict,
    struct canary_sums *own, struct canary_sums *other)
{
    u_char        reason[NGX_HTTP_PAY_REASON_MAX], *last;
    ngx_uint_t    a, b;

    if (verdict == CANARY_FAILS) {
        a = canary_share(own);
        b = canary_share(other);

        last = ngx_snprintf(reason, sizeof(reason),
                            "%ui.%02ui%% of %uL failed, in %V %ui.%02ui%% of "
                            "%uL", a / 100, a % 100, own->requests,
                            &pool->other->name, b / 100, b % 100,
                            other->requests);

    } else {
        last = ngx_snprintf(reason, sizeof(reason),
                            "%uL requests took %uL ms, in %V %uL took %uL ms",
                            own->requests, canary_mean(own),
                            &pool->other->name, other->requests,
                            canary_mean(other));
    }

    ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, 0,
                  "pay_pool \"%V\" steps back: %*s", &pool->name,
                  (size_t) (last - reason), reason);

    omcf->sh->looks[pool->row].back++;

    (void) ngx_http_pay_pool_set(omcf, pool, 1, NGX_HTTP_PAY_UID_NOBODY,
                                 slice_n(reason, last - reason));
}


void
ngx_http_pay_pool_look(ngx_http_pay_pool_main_conf_t *omcf,
    ngx_http_pay_pool_t *pool)
{
    enum canary_verdict       verdict;
    struct canary_sums        own, other, now, now_other;
    ngx_http_pay_pool_look_t  *look;

    if (pool->other == NULL || pool->sw == NGX_ERROR) {
        return;
    }

    look = &omcf->sh->looks[pool->row];

    if (look->known
        && (ngx_msec_t) (ngx_current_msec - look->at) < NGX_HTTP_PAY_POOL_LOOK)
    {
        return;
    }

    /* another process looks */

    if (!ngx_shmtx_trylock(&omcf->shpool->mutex)) {
        return;
    }

    look->at = ngx_current_msec;

    now = ngx_http_pay_pool_sums(omcf->sh, pool->row);
    now_other = ngx_http_pay_pool_sums(omcf->sh, pool->other->row);

    if (!look->known || look->against != pool->other->row) {
        look->known = 1;
        look->against = pool->other->row;
        look->own = now;
        look->other = now_other;
    }

    own = ngx_http_pay_pool_since(omcf->sh, pool->row, &now, &look->own);
    other = ngx_http_pay_pool_since(omcf->sh, pool->other->row, &now_other,
                                    &look->other);

    verdict = canary_judge(&own, &other, &pool->limits);

    if (verdict == CANARY_WELL) {
        look->own = now;
        look->other = now_other;

    } else if (verdict != CANARY_EARLY
               && !ngx_http_pay_pool_is_off(omcf, pool))
    {
        ngx_http_pay_pool_step_back(omcf, pool, verdict, &own, &other);
    }

    ngx_shmtx_unlock(&omcf->shpool->mutex);
}
