/*
 * Setting a switch.  See ngx_http_pay_switch.h.
 */

#include "ngx_http_pay_switch.h"


static ngx_str_t  ngx_http_pay_switch_config =
    ngx_string(NGX_HTTP_PAY_SWITCH_CONFIG);


ngx_int_t
ngx_http_pay_switch_set(ngx_http_pay_channel_main_conf_t *cmcf,
    ngx_uint_t row, ngx_uint_t state, uid_t uid, struct slice reason)
{
    ngx_int_t               rc;
    ngx_str_t               name;
    const char             *what;
    ngx_http_pay_ledger_t  *l;
    ngx_http_pay_switch_t  *sw;

    l = cmcf->ledger;

    if (pthread_mutex_lock(&l->file) == EOWNERDEAD) {
        (void) pthread_mutex_consistent(&l->file);
    }

    ngx_http_pay_ledger_lock(l);

    sw = &l->rows[row].sw;
    sw->at = ngx_time();
    sw->uid = uid;
    sw->len = ngx_min(reason.n, NGX_HTTP_PAY_REASON_MAX);
    ngx_memcpy(sw->reason, reason.p, sw->len);

    l->states[row] = (u_char) state;

    ngx_http_pay_ledger_unlock(l);

    name.data = l->rows[row].name;
    name.len = l->rows[row].len;

    what = "pay_channel";

    if (ngx_http_pay_switch_is_pool(name.data, name.len)) {
        what = "pay_pool";
        name.data += sizeof(NGX_HTTP_PAY_SWITCH_POOL) - 1;
        name.len -= sizeof(NGX_HTTP_PAY_SWITCH_POOL) - 1;
    }

    ngx_log_error(NGX_LOG_NOTICE, ngx_cycle->log, 0,
                  "%s \"%V\" switched %V by uid %ui: %*s", what, &name,
                  ngx_http_pay_switch_name(state), (ngx_uint_t) uid,
                  reason.n, reason.p);

    if (cmcf->state_file.len == 0) {
        l->unkept = 1;
        rc = NGX_DECLINED;

    } else {
        rc = ngx_http_pay_state_save(cmcf, ngx_cycle->log);
        l->unkept = (rc != NGX_OK);
    }

    (void) pthread_mutex_unlock(&l->file);

    return rc;
}


ngx_str_t *
ngx_http_pay_switch_name(ngx_uint_t state)
{
    return state ? &ngx_http_pay_state_names[state - 1]
                 : &ngx_http_pay_switch_config;
}


ngx_int_t
ngx_http_pay_switch_state(struct slice name)
{
    ngx_int_t  n;
    ngx_str_t  s;

    if (slice_is(name, NGX_HTTP_PAY_SWITCH_CONFIG)) {
        return 0;
    }

    s.data = (u_char *) (uintptr_t) name.p;
    s.len = name.n;

    n = ngx_http_pay_name_index(ngx_http_pay_state_names, NGX_HTTP_PAY_STATES,
                                &s);

    return n == NGX_ERROR ? NGX_ERROR : 1 + n;
}
