/*
 * See ngx_http_pay_rate.h.
 */

#include "ngx_http_pay_rate.h"

#include "core/clock.h"


#define NGX_HTTP_PAY_MS_NS  ((int64_t) 1000000)


void
ngx_http_pay_rate_init(ngx_http_pay_channel_t *ch)
{
    ngx_uint_t  k;

    for (k = 0; k < NGX_HTTP_PAY_RATES; k++) {
        ch->rates[k].ahead_ns = 2 * ch->queue_timeout * NGX_HTTP_PAY_MS_NS;
    }
}


ngx_int_t
ngx_http_pay_rate_take(ngx_http_pay_channel_main_conf_t *cmcf,
    ngx_http_pay_channel_t *ch, ngx_uint_t kind, ngx_msec_t patience,
    ngx_msec_t *wait)
{
    int64_t            *states, *own_state, *all_state, now, own_ns, all_ns, ns;
    struct gcra_rate   *own, *all;

    *wait = 0;

    own = &ch->rates[kind];
    all = &ch->rates[NGX_HTTP_PAY_RATE_ALL];

    if (own->interval_ns == 0 && all->interval_ns == 0) {
        return NGX_OK;
    }

    states = ngx_http_pay_channel_row(cmcf, ch)->rates;
    own_state = &states[kind];
    all_state = &states[NGX_HTTP_PAY_RATE_ALL];
    now = clock_read_mono_us() * 1000;

    ngx_shmtx_lock(&cmcf->shpool->mutex);

    own_ns = gcra_ask(own_state, own, now);
    all_ns = gcra_ask(all_state, all, now);
    ns = ngx_max(own_ns, all_ns);

    /* rounded up: never before its turn */

    *wait = (ns + NGX_HTTP_PAY_MS_NS - 1) / NGX_HTTP_PAY_MS_NS;

    if (*wait <= patience) {
        gcra_promise(own_state, own, now, now + ns);
        gcra_promise(all_state, all, now, now + ns);
    }

    ngx_shmtx_unlock(&cmcf->shpool->mutex);

    return *wait <= patience ? NGX_OK : NGX_BUSY;
}


ngx_uint_t
ngx_http_pay_rate_full(ngx_http_pay_channel_main_conf_t *cmcf,
    ngx_http_pay_channel_t *ch)
{
    int64_t            *states, *own_state, *all_state, now, patience;
    ngx_uint_t          full;
    struct gcra_rate   *own, *all;

    own = &ch->rates[NGX_HTTP_PAY_KIND_PAY];
    all = &ch->rates[NGX_HTTP_PAY_RATE_ALL];

    if (own->interval_ns == 0 && all->interval_ns == 0) {
        return 0;
    }

    /* read without the lock: who then takes is asked again */

    states = ngx_http_pay_channel_row(cmcf, ch)->rates;
    own_state = &states[NGX_HTTP_PAY_KIND_PAY];
    all_state = &states[NGX_HTTP_PAY_RATE_ALL];
    now = clock_read_mono_us() * 1000;
    patience = ch->queue_timeout * NGX_HTTP_PAY_MS_NS;

    if (gcra_wait(*own_state, own, now) <= patience
        && gcra_wait(*all_state, all, now) <= patience)
    {
        return 0;
    }

    ngx_shmtx_lock(&cmcf->shpool->mutex);

    full = gcra_ask(own_state, own, now) > patience;
    full |= gcra_ask(all_state, all, now) > patience;

    ngx_shmtx_unlock(&cmcf->shpool->mutex);

    return full;
}
