/*
 * Values of the pay_channel block's directives.
 */

#include "ngx_http_pay_channel_conf.h"

#include "core/api.h"
#include "core/payer_app.h"


char *
ngx_http_pay_channel_invalid(ngx_conf_t *cf, ngx_str_t *value)
{
    ngx_str_t  *args;

    args = cf->args->elts;

    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                       "invalid value \"%V\" in \"%V\"", value, &args[0]);

    return NGX_CONF_ERROR;
}


char *
ngx_http_pay_channel_range(ngx_conf_t *cf, ngx_str_t *value,
    const char *allowed)
{
    ngx_str_t  *args;

    args = cf->args->elts;

    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                       "invalid value \"%V\" in \"%V\", allowed is %s",
                       value, &args[0], allowed);

    return NGX_CONF_ERROR;
}


ngx_uint_t
ngx_http_pay_key_value(ngx_str_t *arg, const char *key, ngx_str_t *value)
{
    size_t  len;

    len = ngx_strlen(key);

    if (arg->len <= len || arg->data[len] != '='
        || ngx_strncmp(arg->data, key, len) != 0)
    {
        return 0;
    }

    value->len = arg->len - len - 1;
    value->data = arg->data + len + 1;

    return 1;
}


char *
ngx_http_pay_channel_state_set(ngx_conf_t *cf, ngx_http_pay_channel_t *ch)
{
    ngx_int_t   i;
    ngx_str_t  *value;

    value = cf->args->elts;

    i = ngx_http_pay_name_index(ngx_http_pay_state_names,
                                NGX_HTTP_PAY_STATES, &value[1]);
    if (i == NGX_ERROR) {
        return ngx_http_pay_channel_invalid(cf, &value[1]);
    }

    ch->state = i;

    return NGX_CONF_OK;
}


char *
ngx_http_pay_channel_adapter(ngx_conf_t *cf, ngx_http_pay_channel_t *ch)
{
    ngx_str_t  *value;

    value = cf->args->elts;

    if (value[1].len == 0) {
        return ngx_http_pay_channel_invalid(cf, &value[1]);
    }

    ch->adapter = value[1];

    return NGX_CONF_OK;
}


char *
ngx_http_pay_channel_endpoint(ngx_conf_t *cf, ngx_http_pay_channel_t *ch)
{
    size_t      add;
    ngx_str_t  *value;
    ngx_url_t  *u;

    value = cf->args->elts;
    u = &ch->url;

    if (ngx_strncmp(value[1].data, "https://", 8) == 0) {
        add = 8;
        ch->tls = 1;
        u->default_port = 443;

    } else if (ngx_strncmp(value[1].data, "http://", 7) == 0) {
        add = 7;
        u->default_port = 80;

    } else {
        return ngx_http_pay_channel_invalid(cf, &value[1]);
    }

    u->url.len = value[1].len - add;
    u->url.data = value[1].data + add;
    u->uri_part = 1;
    u->no_resolve = 1;

    if (ngx_strncmp(u->url.data, "unix:", 5) == 0
        || ngx_parse_url(cf->pool, u) != NGX_OK
        || u->host.len == 0)
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "%s in \"endpoint\" \"%V\"",
                           u->err ? u->err : "invalid address", &value[1]);
        return NGX_CONF_ERROR;
    }

    /* the path belongs to the calls: their bytes are signed */

    if (u->uri.len) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "path in \"endpoint\" \"%V\"", &value[1]);
        return NGX_CONF_ERROR;
    }

    ch->by_name = (u->naddrs == 0);

    return NGX_CONF_OK;
}


char *
ngx_http_pay_channel_tls_name(ngx_conf_t *cf, ngx_http_pay_channel_t *ch)
{
    ngx_str_t  *value;

    value = cf->args->elts;

    if (value[1].len == 0
        || ngx_strlchr(value[1].data, value[1].data + value[1].len, ':')
        || ngx_strlchr(value[1].data, value[1].data + value[1].len, '/'))
    {
        return ngx_http_pay_channel_invalid(cf, &value[1]);
    }

    ch->tls_name = value[1];

    return NGX_CONF_OK;
}


char *
ngx_http_pay_channel_methods(ngx_conf_t *cf, ngx_http_pay_channel_t *ch)
{
    ngx_int_t    m;
    ngx_str_t   *value;
    ngx_uint_t   i;

    value = cf->args->elts;

    for (i = 1; i < cf->args->nelts; i++) {
        m = ngx_http_pay_method_index(&value[i]);

        if (m == NGX_ERROR || (ch->methods & 1u << m)) {
            return ngx_http_pay_channel_invalid(cf, &value[i]);
        }

        ch->methods |= 1u << m;
    }

    return NGX_CONF_OK;
}


char *
ngx_http_pay_channel_wallet(ngx_conf_t *cf, ngx_http_pay_channel_t *ch)
{
    int          app;
    ngx_str_t   *value;
    ngx_uint_t   i;

    value = cf->args->elts;

    for (i = 1; i < cf->args->nelts; i++) {
        app = payer_app_parse(slice_n(value[i].data, value[i].len));

        if (app < 0 || (ch->wallets & 1u << app)) {
            return ngx_http_pay_channel_invalid(cf, &value[i]);
        }

        ch->wallets |= 1u << app;
    }

    return NGX_CONF_OK;
}


char *
ngx_http_pay_channel_amount(ngx_conf_t *cf, ngx_http_pay_channel_t *ch)
{
    ngx_str_t  *value;

    value = cf->args->elts;

    ch->amount_min = ngx_atoof(value[1].data, value[1].len);

    if (ch->amount_min < AMOUNT_MIN || ch->amount_min > AMOUNT_MAX) {
        return ngx_http_pay_channel_invalid(cf, &value[1]);
    }

    ch->amount_max = ngx_atoof(value[2].data, value[2].len);

    if (ch->amount_max < ch->amount_min || ch->amount_max > AMOUNT_MAX) {
        return ngx_http_pay_channel_invalid(cf, &value[2]);
    }

    return NGX_CONF_OK;
}


char *
ngx_http_pay_channel_weight(ngx_conf_t *cf, ngx_http_pay_channel_t *ch)
{
    ngx_int_t   n;
    ngx_str_t  *value;

    value = cf->args->elts;

    n = ngx_atoi(value[1].data, value[1].len);

    if (n < 1 || n > 10000) {
        return ngx_http_pay_channel_invalid(cf, &value[1]);
    }

    ch->weight = n;

    return NGX_CONF_OK;
}


char *
ngx_http_pay_channel_priority(ngx_conf_t *cf, ngx_http_pay_channel_t *ch)
{
    ngx_int_t   n;
    ngx_str_t  *value;

    value = cf->args->elts;

    n = ngx_atoi(value[1].data, value[1].len);

    if (n < 1 || n > 1000) {
        return ngx_http_pay_channel_invalid(cf, &value[1]);
    }

    ch->priority = n;

    return NGX_CONF_OK;
}


/* concurrency COUNT [reserve=PERCENT%] [shared] */

char *
ngx_http_pay_channel_concurrency(ngx_conf_t *cf, ngx_http_pay_channel_t *ch)
{
    ngx_int_t    n, reserve;
    ngx_str_t   *value, s;
    ngx_uint_t   i;

    value = cf->args->elts;
    reserve = 20;

    n = ngx_atoi(value[1].data, value[1].len);

    if (n < 1 || n > NGX_HTTP_PAY_CHANNEL_CAP) {
        return ngx_http_pay_channel_range(cf, &value[1], "1 to 10000 calls");
    }

    for (i = 2; i < cf->args->nelts; i++) {

        if (value[i].len == 6 && ngx_strncmp(value[i].data, "shared", 6) == 0) {
            ch->shared = 1;
            continue;
        }

        if (!ngx_http_pay_key_value(&value[i], "reserve", &s)
            || s.len < 2 || s.data[s.len - 1] != '%')
        {
            return ngx_http_pay_channel_range(cf, &value[i],
                                              "reserve=0% to reserve=90%, "
                                              "shared");
        }

        reserve = ngx_atoi(s.data, s.len - 1);

        if (reserve < 0 || reserve > 90) {
            return ngx_http_pay_channel_range(cf, &value[i],
                                              "reserve=0% to reserve=90%");
        }
    }

    ch->cap = n;
    ch->reserve = reserve;
    ch->pay_cap = ngx_http_pay_pay_part(ch, ch->cap);

    return NGX_CONF_OK;
}


/* queue COUNT [timeout=TIME] */

char *
ngx_http_pay_channel_queue(ngx_conf_t *cf, ngx_http_pay_channel_t *ch)
{
    ngx_int_t   n;
    ngx_str_t  *value, s;

    value = cf->args->elts;

    n = ngx_atoi(value[1].data, value[1].len);

    if (n == NGX_ERROR || n > NGX_HTTP_PAY_CHANNEL_CAP) {
        return ngx_http_pay_channel_range(cf, &value[1], "0 to 10000 calls");
    }

    ch->queue = n;

    if (cf->args->nelts > 2) {

        if (!ngx_http_pay_key_value(&value[2], "timeout", &s)) {
            return ngx_http_pay_channel_range(cf, &value[2], "timeout=TIME");
        }

        ch->queue_timeout = ngx_parse_time(&s, 0);

        if (ch->queue_timeout == (ngx_msec_t) NGX_ERROR
            || ch->queue_timeout == 0 || ch->queue_timeout > 10000)
        {
            return ngx_http_pay_channel_range(cf, &value[2], "1ms to 10s");
        }
    }

    return NGX_CONF_OK;
}


/* all three: a call without a time-out cannot exist */

char *
ngx_http_pay_channel_timeout(ngx_conf_t *cf, ngx_http_pay_channel_t *ch)
{
    ngx_str_t   *value, s;
    ngx_uint_t   i;
    ngx_msec_t  *field;

    value = cf->args->elts;

    for (i = 1; i < cf->args->nelts; i++) {

        if (ngx_http_pay_key_value(&value[i], "connect", &s)) {
            field = &ch->connect_timeout;

        } else if (ngx_http_pay_key_value(&value[i], "send", &s)) {
            field = &ch->send_timeout;

        } else if (ngx_http_pay_key_value(&value[i], "read", &s)) {
            field = &ch->read_timeout;

        } else {
            return ngx_http_pay_channel_invalid(cf, &value[i]);
        }

        if (*field) {
            return ngx_http_pay_channel_invalid(cf, &value[i]);
        }

        *field = ngx_parse_time(&s, 0);

        if (*field == (ngx_msec_t) NGX_ERROR || *field == 0
            || *field > 300000)
        {
            return ngx_http_pay_channel_invalid(cf, &value[i]);
        }
    }

    if (!ch->connect_timeout || !ch->send_timeout || !ch->read_timeout) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"timeout\" needs connect=, send= and read= "
                           "in pay_channel \"%V\"", &ch->name);
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


/* keepalive COUNT [timeout=TIME] */

char *
ngx_http_pay_channel_keepalive(ngx_conf_t *cf, ngx_http_pay_channel_t *ch)
{
    ngx_int_t   n;
    ngx_str_t  *value, s;

    value = cf->args->elts;

    n = ngx_atoi(value[1].data, value[1].len);

    if (n == NGX_ERROR || n > NGX_HTTP_PAY_CHANNEL_CAP) {
        return ngx_http_pay_channel_invalid(cf, &value[1]);
    }

    ch->keepalive = n;

    if (cf->args->nelts > 2) {

        if (!ngx_http_pay_key_value(&value[2], "timeout", &s)) {
            return ngx_http_pay_channel_invalid(cf, &value[2]);
        }

        ch->idle_timeout = ngx_parse_time(&s, 0);

        if (ch->idle_timeout == (ngx_msec_t) NGX_ERROR
            || ch->idle_timeout == 0)
        {
            return ngx_http_pay_channel_invalid(cf, &value[2]);
        }
    }

    return NGX_CONF_OK;
}


/* fee PERCENT% [fixed=AMOUNT] [min=AMOUNT] [max=AMOUNT] */

char *
ngx_http_pay_channel_fee(ngx_conf_t *cf, ngx_http_pay_channel_t *ch)
{
    off_t        n;
    int64_t     *field;
    ngx_str_t   *value, *v, s;
    ngx_uint_t   i;

    value = cf->args->elts;
    v = &value[1];

    ch->fee.known = 1;
    ch->fee.max = INT64_MAX;
    ch->fee.rate = NGX_ERROR;

    /* four decimals of a percentage are millionths */

    if (v->len > 1 && v->data[v->len - 1] == '%') {
        ch->fee.rate = ngx_atofp(v->data, v->len - 1, 4);
    }

    if (ch->fee.rate == NGX_ERROR || ch->fee.rate > 1000000) {
        return ngx_http_pay_channel_invalid(cf, v);
    }

    for (i = 2; i < cf->args->nelts; i++) {

        if (ngx_http_pay_key_value(&value[i], "fixed", &s)) {
            field = &ch->fee.fixed;

        } else if (ngx_http_pay_key_value(&value[i], "min", &s)) {
            field = &ch->fee.min;

        } else if (ngx_http_pay_key_value(&value[i], "max", &s)) {
            field = &ch->fee.max;

        } else {
            return ngx_http_pay_channel_invalid(cf, &value[i]);
        }

        n = ngx_atoof(s.data, s.len);

        if (n == NGX_ERROR || n > AMOUNT_MAX) {
            return ngx_http_pay_channel_invalid(cf, &value[i]);
        }

        *field = n;
    }

    if (ch->fee.min > ch->fee.max) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "\"min\" of \"fee\" is above "
                           "\"max\" in pay_channel \"%V\"", &ch->name);
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}
