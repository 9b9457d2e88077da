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
    int64_t            *states, now, own_ns, all_ns;
    struct gcra_rate   *own, *all;

    *wait = 0;

    own = &ch->rates[kind];
    all = &ch->rates[NGX_HTTP_PAY_RATE_ALL];

    if (own->interval_ns == 0 && all->interval_ns == 0) {
        return NGX_OK;
    }

    states = ngx_http_pay_channel_row(cmcf, ch)->rates;
    now = clock_read_mono_us() * 1000;

    ngx_shmtx_lock(&cmcf->shpool->mutex);

    own_ns = gcra_take_turn(&states[kind], own, now,
                            patience * NGX_HTTP_PAY_MS_NS);
    all_ns = own_ns < 0 ? -1
                        : gcra_take_turn(&states[NGX_HTTP_PAY_RATE_ALL], all,
                                         now, patience * NGX_HTTP_PAY_MS_NS);

    if (own_ns >= 0 && all_ns < 0) {
        gcra_give_back(&states[kind], own);
    }

    ngx_shmtx_unlock(&cmcf->shpool->mutex);

    if (all_ns < 0) {
        return NGX_BUSY;
    }

    /* rounded up: never before its turn */

    *wait = (ngx_max(own_ns, all_ns) + NGX_HTTP_PAY_MS_NS - 1)
            / NGX_HTTP_PAY_MS_NS;

    return NGX_OK;
}


ngx_uint_t
ngx_http_pay_rate_full(ngx_http_pay_channel_main_conf_t *cmcf,
    ngx_http_pay_channel_t *ch)
{
    int64_t            *states, now, patience;
    struct gcra_rate   *own, *all;

    own = &ch->rates[NGX_HTTP_PAY_KIND_PAY];
    all = &ch->rates[NGX_HTTP_PAY_RATE_ALL];

    if (own->interval_ns == 0 && all->interval_ns == 0) {
        return 0;
    }

    /* read without the lock: who then takes is asked again */

    states = ngx_http_pay_channel_row(cmcf, ch)->rates;
    now = clock_read_mono_us() * 1000;
    patience = ch->queue_timeout * NGX_HTTP_PAY_MS_NS;

    return gcra_wait(states[NGX_HTTP_PAY_KIND_PAY], own, now) > patience
           || gcra_wait(states[NGX_HTTP_PAY_RATE_ALL], all, now) > patience;
}
