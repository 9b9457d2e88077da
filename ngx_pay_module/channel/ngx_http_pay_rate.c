/*
 * See ngx_http_pay_rate.h.
 */

#include "ngx_http_pay_rate.h"

#include "core/clock.h"


ngx_uint_t
ngx_http_pay_rate_take(ngx_http_pay_channel_main_conf_t *cmcf,
    ngx_http_pay_channel_t *ch, ngx_uint_t kind)
{
    int64_t            *states, now;
    ngx_uint_t          ok;
    struct gcra_rate   *own, *all;

    own = &ch->rates[kind];
    all = &ch->rates[NGX_HTTP_PAY_RATE_ALL];

    if (own->interval_ns == 0 && all->interval_ns == 0) {
        return 1;
    }

    states = ngx_http_pay_channel_row(cmcf, ch)->rates;
    now = clock_read_mono_us() * 1000;

    ngx_shmtx_lock(&cmcf->shpool->mutex);

    ok = gcra_take(&states[kind], own, now);

    if (ok && !gcra_take(&states[NGX_HTTP_PAY_RATE_ALL], all, now)) {
        gcra_give_back(&states[kind], own);
        ok = 0;
    }

    ngx_shmtx_unlock(&cmcf->shpool->mutex);

    return ok;
}


ngx_msec_t
ngx_http_pay_rate_wait(ngx_http_pay_channel_main_conf_t *cmcf,
    ngx_http_pay_channel_t *ch, ngx_uint_t kind)
{
    int64_t            *states, now, own_ns, all_ns;
    struct gcra_rate   *own, *all;

    own = &ch->rates[kind];
    all = &ch->rates[NGX_HTTP_PAY_RATE_ALL];

    if (own->interval_ns == 0 && all->interval_ns == 0) {
        return 0;
    }

    /* read without the lock: who then takes is asked again */

    states = ngx_http_pay_channel_row(cmcf, ch)->rates;
    now = clock_read_mono_us() * 1000;

    own_ns = gcra_wait(states[kind], own, now);
    all_ns = gcra_wait(states[NGX_HTTP_PAY_RATE_ALL], all, now);

    return (ngx_max(own_ns, all_ns) + 999999) / 1000000;
}
