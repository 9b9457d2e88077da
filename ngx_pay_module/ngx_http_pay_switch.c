/*
 * See ngx_http_pay_switch.h.
 */

#include "ngx_http_pay_switch.h"


void
ngx_http_pay_switch_set(ngx_http_pay_channel_main_conf_t *cmcf,
    ngx_uint_t row, ngx_uint_t state, uid_t uid, struct slice reason)
{
    ngx_str_t                    name;
    ngx_http_pay_switch_t       *sw;
    ngx_http_pay_channel_row_t  *r;

    sw = &cmcf->sh->switches[row];

    ngx_shmtx_lock(&cmcf->shpool->mutex);

    sw->at = ngx_time();
    sw->uid = uid;
    sw->len = ngx_min(reason.n, NGX_HTTP_PAY_REASON_MAX);
    ngx_memcpy(sw->reason, reason.p, sw->len);

    cmcf->sh->states[row] = (u_char) state;

    ngx_shmtx_unlock(&cmcf->shpool->mutex);

    r = &cmcf->sh->rows[row];
    name.data = r->name;
    name.len = r->len;

    ngx_log_error(NGX_LOG_NOTICE, ngx_cycle->log, 0,
                  "pay_channel \"%V\" switched %V by uid %ui: %*s", &name,
                  ngx_http_pay_switch_name(state), (ngx_uint_t) uid,
                  sw->len, sw->reason);
}


ngx_str_t *
ngx_http_pay_switch_name(ngx_uint_t state)
{
    static ngx_str_t  config = ngx_string(NGX_HTTP_PAY_SWITCH_CONFIG);

    return state ? &ngx_http_pay_state_names[state - 1] : &config;
}
