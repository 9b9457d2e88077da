/*
 * Requests to the egress: reading and removing the headers that are meant for
 * it, and the variables that proxy_pass uses.
 */

#include "ngx_http_pay_egress.h"

#include "core/clock.h"


/* later than this is a mistake, and would outlive the memory of attempts */
#define NGX_HTTP_PAY_EGRESS_AHEAD                                             \
    (NGX_HTTP_PAY_ATTEMPTS_SECONDS * USEC_PER_SEC)


#define NGX_HTTP_PAY_HEADER_CHANNEL      0
#define NGX_HTTP_PAY_HEADER_ATTEMPT      1
#define NGX_HTTP_PAY_HEADER_KIND         2
#define NGX_HTTP_PAY_HEADER_SEND_BEFORE  3
#define NGX_HTTP_PAY_HEADER_NOT_SENT     4
#define NGX_HTTP_PAY_HEADERS             5


static ngx_int_t ngx_http_pay_egress_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);


static ngx_str_t  ngx_http_pay_egress_headers[] = {
    ngx_string("pay-channel"),
    ngx_string("pay-attempt"),
    ngx_string("pay-kind"),
    ngx_string("pay-send-before"),
    ngx_string("pay-not-sent")
};


#define NGX_HTTP_PAY_EGRESS_URL      0
#define NGX_HTTP_PAY_EGRESS_HOST     1
#define NGX_HTTP_PAY_EGRESS_NAME     2
#define NGX_HTTP_PAY_EGRESS_CHANNEL  3
#define NGX_HTTP_PAY_EGRESS_SENT     4
#define NGX_HTTP_PAY_EGRESS_CERT     5
#define NGX_HTTP_PAY_EGRESS_KEY      6

static ngx_http_variable_t  ngx_http_pay_egress_vars[] = {

    { ngx_string("pay_egress_url"), NULL, ngx_http_pay_egress_variable,
      NGX_HTTP_PAY_EGRESS_URL, NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("pay_egress_host"), NULL, ngx_http_pay_egress_variable,
      NGX_HTTP_PAY_EGRESS_HOST, 0, 0 },

    { ngx_string("pay_egress_name"), NULL, ngx_http_pay_egress_variable,
      NGX_HTTP_PAY_EGRESS_NAME, 0, 0 },

    { ngx_string("pay_egress_channel"), NULL, ngx_http_pay_egress_variable,
      NGX_HTTP_PAY_EGRESS_CHANNEL, 0, 0 },

    { ngx_string("pay_egress_sent"), NULL, ngx_http_pay_egress_variable,
      NGX_HTTP_PAY_EGRESS_SENT, NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("pay_egress_certificate"), NULL,
      ngx_http_pay_egress_variable, NGX_HTTP_PAY_EGRESS_CERT, 0, 0 },

    { ngx_string("pay_egress_certificate_key"), NULL,
      ngx_http_pay_egress_variable, NGX_HTTP_PAY_EGRESS_KEY, 0, 0 },

      ngx_http_null_variable
};


void
ngx_http_pay_egress_read_headers(ngx_http_request_t *r,
    ngx_http_pay_egress_ctx_t *ctx)
{
    off_t             n;
    int64_t           now;
    ngx_int_t         i;
    ngx_str_t         name, values[NGX_HTTP_PAY_HEADERS];
    ngx_uint_t        k;
    ngx_list_part_t  *part;
    ngx_table_elt_t  *h;

    ngx_memzero(values, sizeof(values));

    part = &r->headers_in.headers.part;
    h = part->elts;

    for (k = 0; /* void */ ; k++) {

        if (k >= part->nelts) {
            if (part->next == NULL) {
                break;
            }

            part = part->next;
            h = part->elts;
            k = 0;
        }

        name.len = h[k].key.len;
        name.data = h[k].lowcase_key;

        i = ngx_http_pay_name_index(ngx_http_pay_egress_headers,
                                    NGX_HTTP_PAY_HEADERS, &name);

        if (i == NGX_ERROR) {
            continue;
        }

        if (values[i].data) {
            ctx->invalid = 1;
        }

        values[i] = h[k].value;
    }

    ctx->channel = ngx_http_pay_channel_find(ctx->main->channels,
                                       &values[NGX_HTTP_PAY_HEADER_CHANNEL]);

    n = ngx_atoof(values[NGX_HTTP_PAY_HEADER_ATTEMPT].data,
                  values[NGX_HTTP_PAY_HEADER_ATTEMPT].len);

    if (n > 0) {
        ctx->attempt = n;

    } else {
        ctx->invalid = 1;
    }

    i = ngx_http_pay_name_index(ngx_http_pay_kind_names, NGX_HTTP_PAY_KINDS,
                                &values[NGX_HTTP_PAY_HEADER_KIND]);
    if (i == NGX_ERROR) {
        ctx->invalid = 1;

    } else {
        ctx->kind = i;
    }

    n = ngx_atoof(values[NGX_HTTP_PAY_HEADER_SEND_BEFORE].data,
                  values[NGX_HTTP_PAY_HEADER_SEND_BEFORE].len);
    now = clock_read_boot_us();

    if (n < 0 || n > now + NGX_HTTP_PAY_EGRESS_AHEAD) {
        ctx->invalid = 1;

    } else {
        ctx->send_before = n;
    }

    if (values[NGX_HTTP_PAY_HEADER_NOT_SENT].data) {
        n = ngx_atoof(values[NGX_HTTP_PAY_HEADER_NOT_SENT].data,
                      values[NGX_HTTP_PAY_HEADER_NOT_SENT].len);
        if (n < 0) {
            ctx->invalid = 1;

        } else {
            ctx->again = n > 0;
        }
    }
}


/*
 * A new list without Pay-* and Proxy-Connection.  The old elements stay where
 * they are: r->headers_in points to some of them.
 */

ngx_int_t
ngx_http_pay_egress_strip(ngx_http_request_t *r)
{
    ngx_uint_t        i;
    ngx_list_part_t   old, *part;
    ngx_table_elt_t  *h, *copy;

    old = r->headers_in.headers.part;

    if (ngx_list_init(&r->headers_in.headers, r->pool, 16,
                      sizeof(ngx_table_elt_t))
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    part = &old;
    h = part->elts;

    for (i = 0; /* void */ ; i++) {

        if (i >= part->nelts) {
            if (part->next == NULL) {
                break;
            }

            part = part->next;
            h = part->elts;
            i = 0;
        }

        if ((h[i].key.len >= 4
             && ngx_strncmp(h[i].lowcase_key, "pay-", 4) == 0)
            || (h[i].key.len == sizeof("proxy-connection") - 1
                && ngx_strncmp(h[i].lowcase_key, "proxy-connection",
                               sizeof("proxy-connection") - 1)
                   == 0))
        {
            continue;
        }

        copy = ngx_list_push(&r->headers_in.headers);
        if (copy == NULL) {
            return NGX_ERROR;
        }

        *copy = h[i];
    }

    return NGX_OK;
}


ngx_int_t
ngx_http_pay_egress_add_variables(ngx_conf_t *cf)
{
    return ngx_http_pay_conf_variables(cf, ngx_http_pay_egress_vars);
}


/*
 * $pay_egress_url is empty until the call is admitted: proxy_pass fails then.
 * The target is passed on as the worker sent it, since its bytes are signed.
 */

static ngx_int_t
ngx_http_pay_egress_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data)
{
    u_char                     *p;
    ngx_str_t                   value;
    ngx_http_pay_egress_ctx_t  *ctx;

    ctx = ngx_http_pay_egress_get_ctx(r->main);

    if (ctx == NULL || ctx->channel == NULL) {
        v->not_found = 1;
        return NGX_OK;
    }

    ngx_str_null(&value);

    switch (data) {

    case NGX_HTTP_PAY_EGRESS_URL:

        if (!ctx->held || ctx->upstream) {
            v->not_found = 1;
            return NGX_OK;
        }

        value.len = sizeof("https://" NGX_HTTP_PAY_EGRESS_UPSTREAM) - 1
                    + r->unparsed_uri.len;

        value.data = ngx_pnalloc(r->pool, value.len);
        if (value.data == NULL) {
            return NGX_ERROR;
        }

        p = ngx_sprintf(value.data, "%s://%s%V",
                        ctx->channel->tls ? "https" : "http",
                        NGX_HTTP_PAY_EGRESS_UPSTREAM, &r->unparsed_uri);
        value.len = p - value.data;
        break;

    case NGX_HTTP_PAY_EGRESS_HOST:
        value = ctx->channel->host;
        break;

    case NGX_HTTP_PAY_EGRESS_NAME:
        value = ctx->channel->tls_name;
        break;

    case NGX_HTTP_PAY_EGRESS_CHANNEL:
        value = ctx->channel->name;
        break;

    /* empty where the channel has none: nginx then sends none */

    case NGX_HTTP_PAY_EGRESS_CERT:
        value = ctx->channel->cert;
        break;

    case NGX_HTTP_PAY_EGRESS_KEY:
        value = ctx->channel->cert_key;
        break;

    default: /* NGX_HTTP_PAY_EGRESS_SENT */
        value = ngx_http_pay_sent_names[ngx_http_pay_egress_sent(ctx)];
        break;
    }

    v->len = value.len;
    v->data = value.data;
    v->valid = 1;
    v->no_cacheable = 0;
    v->not_found = 0;

    return NGX_OK;
}
