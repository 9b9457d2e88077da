/*
 * Names of states, kinds, outcomes, refusals and methods, as they stand in
 * configuration, headers and metrics.
 */

#include "ngx_http_pay_channel.h"


/* index: NGX_HTTP_PAY_STATE_... */

ngx_str_t  ngx_http_pay_state_names[] = {
    ngx_string("on"),
    ngx_string("off"),
    ngx_string("drain"),
    ngx_string("block")
};


/* index: NGX_HTTP_PAY_KIND_... */

ngx_str_t  ngx_http_pay_kind_names[] = {
    ngx_string("pay"),
    ngx_string("query"),
    ngx_string("close"),
    ngx_string("reverse"),
    ngx_string("refund"),
    ngx_string("other")
};


/* index: NGX_HTTP_PAY_SENT_... */

ngx_str_t  ngx_http_pay_sent_names[] = {
    ngx_string("no"),
    ngx_string("maybe"),
    ngx_string("answered")
};


/* index: NGX_HTTP_PAY_ALERT_... */

ngx_str_t  ngx_http_pay_alert_names[] = {
    ngx_string("certificate"),
    ngx_string("other")
};


/* index: NGX_HTTP_PAY_REFUSED_...; the codes of the answers */

ngx_str_t  ngx_http_pay_refusal_names[] = {
    ngx_string("CHANNEL_UNKNOWN"),
    ngx_string("CHANNEL_OFF"),
    ngx_string("CHANNEL_BUSY"),
    ngx_string("SEND_TOO_LATE"),
    ngx_string("ATTEMPT_INVALID"),
    ngx_string("ALREADY_PASSED"),
    ngx_string("CHANNEL_UNRESOLVED"),
    ngx_string("CHANNEL_OUT"),
    ngx_string("CHANNEL_RATE")
};


/* a channel's methods are a bit each, by index */

ngx_str_t  ngx_http_pay_method_names[] = {
    ngx_string("native"),
    ngx_string("h5"),
    ngx_string("jsapi"),
    ngx_string("app"),
    ngx_string("barcode"),
    ngx_string("quick"),
    ngx_string("gateway"),
    ngx_string("withhold"),
    ngx_null_string
};


ngx_uint_t  ngx_http_pay_bucket_bounds[NGX_HTTP_PAY_BUCKETS] = {
    10, 50, 100, 250, 500, 1000, 2500, 5000, 10000
};


ngx_int_t
ngx_http_pay_name_index(ngx_str_t *names, ngx_uint_t n, ngx_str_t *s)
{
    ngx_uint_t  i;

    for (i = 0; i < n; i++) {
        if (names[i].len == s->len
            && ngx_memcmp(names[i].data, s->data, s->len) == 0)
        {
            return i;
        }
    }

    return NGX_ERROR;
}


ngx_int_t
ngx_http_pay_method_index(ngx_str_t *s)
{
    ngx_uint_t  n;

    for (n = 0; ngx_http_pay_method_names[n].len; n++) { /* void */ }

    return ngx_http_pay_name_index(ngx_http_pay_method_names, n, s);
}
