/*
 * The directives of a pay_channel block that concern its health and its rates:
 * breaker, sla, rate, bind.
 *
 * breaker and sla fill one table, ch->breaker: what each level of health takes
 * (core/breaker.h) and the times of the breaker on top of it.
 */

#include "ngx_http_pay_channel_conf.h"


#define NGX_HTTP_PAY_NUMBER   0
#define NGX_HTTP_PAY_PERCENT  1     /* with the sign */
#define NGX_HTTP_PAY_TIME     2     /* ms */

#define NGX_HTTP_PAY_BURST    10    /* a burst is this part of the rate */
#define NGX_HTTP_PAY_BURST_MAX  100000


typedef struct {
    const char  *name;
    ngx_uint_t   type;
    ngx_int_t    min;
    ngx_int_t    max;
    ngx_int_t    value;             /* default */
    const char  *allowed;
} ngx_http_pay_param_t;


static ngx_int_t ngx_http_pay_param_value(ngx_http_pay_param_t *p,
    ngx_str_t *s);
static void ngx_http_pay_breaker_set(struct breaker_policy *policy,
    ngx_int_t *values);
static ngx_int_t ngx_http_pay_rate_parse(ngx_str_t *s, ngx_int_t *count,
    int64_t *period);


#define NGX_HTTP_PAY_BREAKER_FAILURES  0
#define NGX_HTTP_PAY_BREAKER_ERRORS    1
#define NGX_HTTP_PAY_BREAKER_SLOW      2
#define NGX_HTTP_PAY_BREAKER_OVER      3
#define NGX_HTTP_PAY_BREAKER_CALLS     4
#define NGX_HTTP_PAY_BREAKER_WINDOW    5
#define NGX_HTTP_PAY_BREAKER_PROBE     6
#define NGX_HTTP_PAY_BREAKER_PROBES    7
#define NGX_HTTP_PAY_BREAKER_STEP      8
#define NGX_HTTP_PAY_BREAKER_PARAMS    9

static ngx_http_pay_param_t  ngx_http_pay_breaker_params[] = {
    { "failures", NGX_HTTP_PAY_NUMBER, 1, 10000, 12, "1 to 10000" },
    { "errors", NGX_HTTP_PAY_PERCENT, 1, 100, 50, "1% to 100%" },
    { "slow", NGX_HTTP_PAY_PERCENT, 1, 100, 80, "1% to 100%" },
    { "over", NGX_HTTP_PAY_TIME, 1, 300000, 5000, "1ms to 300s" },
    { "calls", NGX_HTTP_PAY_NUMBER, 1, 100000, 20, "1 to 100000" },
    { "window", NGX_HTTP_PAY_TIME, 1000, 3600000, 10000, "1s to 1h" },
    { "probe", NGX_HTTP_PAY_TIME, 100, 3600000, 5000, "100ms to 1h" },
    { "probes", NGX_HTTP_PAY_NUMBER, 1, 1000, 3, "1 to 1000" },
    { "step", NGX_HTTP_PAY_TIME, 100, 3600000, 30000, "100ms to 1h" }
};

static ngx_http_pay_param_t  ngx_http_pay_sla_share = {
    "share", NGX_HTTP_PAY_PERCENT, 1, 99, 90, "1% to 99%"
};

static ngx_http_pay_param_t  ngx_http_pay_sla_time = {
    NULL, NGX_HTTP_PAY_TIME, 1, 300000, 0, "1ms to 300s"
};


/* within the parameter's bounds, or NGX_ERROR */

static ngx_int_t
ngx_http_pay_param_value(ngx_http_pay_param_t *p, ngx_str_t *s)
{
    size_t     len;
    ngx_int_t  n;

    len = s->len;

    switch (p->type) {

    case NGX_HTTP_PAY_TIME:
        n = ngx_parse_time(s, 0);
        break;

    case NGX_HTTP_PAY_PERCENT:
        if (len < 2 || s->data[len - 1] != '%') {
            return NGX_ERROR;
        }

        len--;

        /* fall through */

    default:
        n = ngx_atoi(s->data, len);
    }

    return n < p->min || n > p->max ? NGX_ERROR : n;
}


void
ngx_http_pay_channel_breaker_defaults(ngx_http_pay_channel_t *ch)
{
    ngx_int_t   values[NGX_HTTP_PAY_BREAKER_PARAMS];
    ngx_uint_t  i;

    for (i = 0; i < NGX_HTTP_PAY_BREAKER_PARAMS; i++) {
        values[i] = ngx_http_pay_breaker_params[i].value;
    }

    ch->breaker.enabled = 1;
    ngx_http_pay_breaker_set(&ch->breaker, values);

    ch->breaker.limits[BREAKER_SLA].percent = 100
                                              - ngx_http_pay_sla_share.value;
}


static void
ngx_http_pay_breaker_set(struct breaker_policy *policy, ngx_int_t *values)
{
    struct breaker_limit  *limits;

    limits = policy->limits;

    limits[BREAKER_REACHABLE].in_a_row = values[NGX_HTTP_PAY_BREAKER_FAILURES];
    limits[BREAKER_REACHABLE].percent = values[NGX_HTTP_PAY_BREAKER_ERRORS];
    limits[BREAKER_AVAILABLE] = limits[BREAKER_REACHABLE];
    limits[BREAKER_IN_TIME].percent = values[NGX_HTTP_PAY_BREAKER_SLOW];

    policy->slow_ms = values[NGX_HTTP_PAY_BREAKER_OVER];
    policy->calls = values[NGX_HTTP_PAY_BREAKER_CALLS];
    policy->window_ms = values[NGX_HTTP_PAY_BREAKER_WINDOW];
    policy->wait_ms = values[NGX_HTTP_PAY_BREAKER_PROBE];
    policy->probes = values[NGX_HTTP_PAY_BREAKER_PROBES];
    policy->step_ms = values[NGX_HTTP_PAY_BREAKER_STEP];
}


/* breaker off | NAME=VALUE ... */

char *
ngx_http_pay_channel_breaker(ngx_conf_t *cf, ngx_http_pay_channel_t *ch)
{
    ngx_int_t              values[NGX_HTTP_PAY_BREAKER_PARAMS];
    ngx_str_t             *value, s;
    ngx_uint_t             i, k, seen;
    ngx_http_pay_param_t  *p;

    value = cf->args->elts;

    if (cf->args->nelts == 2 && ngx_strcmp(value[1].data, "off") == 0) {
        ch->breaker.enabled = 0;
        return NGX_CONF_OK;
    }

    for (k = 0; k < NGX_HTTP_PAY_BREAKER_PARAMS; k++) {
        values[k] = ngx_http_pay_breaker_params[k].value;
    }

    seen = 0;

    for (i = 1; i < cf->args->nelts; i++) {

        for (k = 0; k < NGX_HTTP_PAY_BREAKER_PARAMS; k++) {
            p = &ngx_http_pay_breaker_params[k];

            if (ngx_http_pay_key_value(&value[i], p->name, &s)) {
                break;
            }
        }

        if (k == NGX_HTTP_PAY_BREAKER_PARAMS || (seen & 1u << k)) {
            return ngx_http_pay_channel_range(cf, &value[i],
                       "\"off\", or each once: failures= errors= slow= over= "
                       "calls= window= probe= probes= step=");
        }

        seen |= 1u << k;
        values[k] = ngx_http_pay_param_value(&ngx_http_pay_breaker_params[k],
                                             &s);
        if (values[k] == NGX_ERROR) {
            return ngx_http_pay_channel_range(cf, &value[i],
                                      ngx_http_pay_breaker_params[k].allowed);
        }
    }

    ngx_http_pay_breaker_set(&ch->breaker, values);

    return NGX_CONF_OK;
}


/* sla KIND=TIME ... [share=PERCENT] */

char *
ngx_http_pay_channel_sla(ngx_conf_t *cf, ngx_http_pay_channel_t *ch)
{
    ngx_int_t    n;
    ngx_str_t   *value, s;
    ngx_uint_t   i, k, share;

    value = cf->args->elts;
    share = 0;

    for (i = 1; i < cf->args->nelts; i++) {

        if (!share && ngx_http_pay_key_value(&value[i], "share", &s)) {
            share = 1;
            n = ngx_http_pay_param_value(&ngx_http_pay_sla_share, &s);

            if (n == NGX_ERROR) {
                return ngx_http_pay_channel_range(cf, &value[i],
                                              ngx_http_pay_sla_share.allowed);
            }

            ch->breaker.limits[BREAKER_SLA].percent = 100 - n;
            continue;
        }

        for (k = 0; k < NGX_HTTP_PAY_KINDS; k++) {
            if (ngx_http_pay_key_value(&value[i], (char *)
                                       ngx_http_pay_kind_names[k].data, &s))
            {
                break;
            }
        }

        if (k == NGX_HTTP_PAY_KINDS || ch->breaker.sla_ms[k]) {
            return ngx_http_pay_channel_range(cf, &value[i],
                       "each once: pay= query= close= reverse= refund= "
                       "other= share=");
        }

        n = ngx_http_pay_param_value(&ngx_http_pay_sla_time, &s);

        if (n == NGX_ERROR) {
            return ngx_http_pay_channel_range(cf, &value[i],
                                              ngx_http_pay_sla_time.allowed);
        }

        ch->breaker.sla_ms[k] = n;
    }

    return NGX_CONF_OK;
}


/* rate KIND=NUMBER/s|m|h [burst=NUMBER], a directive per kind */

char *
ngx_http_pay_channel_rate(ngx_conf_t *cf, ngx_http_pay_channel_t *ch)
{
    int64_t      period;
    ngx_int_t    count, burst;
    ngx_str_t   *value, s;
    ngx_uint_t   k;

    value = cf->args->elts;

    for (k = 0; k < NGX_HTTP_PAY_KINDS; k++) {
        if (ngx_http_pay_key_value(&value[1], (char *)
                                   ngx_http_pay_kind_names[k].data, &s))
        {
            break;
        }
    }

    /* k is "all" now if it was none of the kinds */

    if ((k == NGX_HTTP_PAY_RATE_ALL
         && !ngx_http_pay_key_value(&value[1], "all", &s))
        || ch->rates[k].interval_ns)
    {
        return ngx_http_pay_channel_range(cf, &value[1],
                   "each in one directive: pay= query= close= reverse= "
                   "refund= other= all=");
    }

    if (ngx_http_pay_rate_parse(&s, &count, &period) != NGX_OK) {
        return ngx_http_pay_channel_range(cf, &value[1],
                                          "1/s to 1000000/s, /m or /h");
    }

    burst = ngx_max(count / NGX_HTTP_PAY_BURST, 1);

    if (cf->args->nelts > 2) {
        burst = NGX_ERROR;

        if (ngx_http_pay_key_value(&value[2], "burst", &s)) {
            burst = ngx_atoi(s.data, s.len);
        }

        if (burst < 0 || burst > NGX_HTTP_PAY_BURST_MAX) {
            return ngx_http_pay_channel_range(cf, &value[2],
                                              "burst=0 to burst=100000");
        }
    }

    ch->rates[k] = gcra_rate_of(count, period, burst);

    return NGX_CONF_OK;
}


static ngx_int_t
ngx_http_pay_rate_parse(ngx_str_t *s, ngx_int_t *count, int64_t *period)
{
    if (s->len < 3 || s->data[s->len - 2] != '/') {
        return NGX_ERROR;
    }

    *period = 1000000000LL;

    switch (s->data[s->len - 1]) {

    case 'h':
        *period *= 3600;
        break;

    case 'm':
        *period *= 60;
        break;

    case 's':
        break;

    default:
        return NGX_ERROR;
    }

    *count = ngx_atoi(s->data, s->len - 2);

    return *count < 1 || *count > 1000000 ? NGX_ERROR : NGX_OK;
}


/* bind ADDRESS ...: the first one, the next while our network is suspected */

char *
ngx_http_pay_channel_bind(ngx_conf_t *cf, ngx_http_pay_channel_t *ch)
{
    ngx_str_t   *value;
    ngx_uint_t   i;
    ngx_addr_t  *addr;

    value = cf->args->elts;

    for (i = 1; i < cf->args->nelts; i++) {
        addr = &ch->binds[ch->nbinds];

        /* a port would allow one connection at a time */

        if (ngx_parse_addr(cf->pool, addr, value[i].data, value[i].len)
            != NGX_OK)
        {
            return ngx_http_pay_channel_range(cf, &value[i],
                                              "an IPv4 or IPv6 address");
        }

        if (ch->nbinds
            && addr->sockaddr->sa_family != ch->binds[0].sockaddr->sa_family)
        {
            return ngx_http_pay_channel_range(cf, &value[i],
                                              "addresses of one family");
        }

        addr->name = value[i];
        ch->nbinds++;
    }

    return NGX_CONF_OK;
}
