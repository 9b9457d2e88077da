/*
 * $pay_...: what is known about a request, for upstream headers and logs.
 */

#include "ngx_http_pay_private.h"
#include "ngx_pay_text.h"


static ngx_int_t ngx_http_pay_str_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);
static ngx_int_t ngx_http_pay_slot_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);
static ngx_int_t ngx_http_pay_text_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);


#define ngx_http_pay_var(name, handler, field, flags)                         \
    { ngx_string(name), NULL, handler,                                        \
      offsetof(ngx_http_pay_ctx_t, field), flags, 0 }

/* route and channels are set in the ACCESS phase, so they are not cached */

static ngx_http_variable_t  ngx_http_pay_vars[] = {
    ngx_http_pay_var("pay_mchid", ngx_http_pay_str_variable, mchid,
                     NGX_HTTP_VAR_NOCACHEABLE),
    ngx_http_pay_var("pay_app", ngx_http_pay_str_variable, app,
                     NGX_HTTP_VAR_NOCACHEABLE),
    ngx_http_pay_var("pay_serial", ngx_http_pay_str_variable, serial,
                     NGX_HTTP_VAR_NOCACHEABLE),
    ngx_http_pay_var("pay_trace", ngx_http_pay_str_variable, trace,
                     NGX_HTTP_VAR_NOCACHEABLE),
    ngx_http_pay_var("pay_channels", ngx_http_pay_str_variable, channels,
                     NGX_HTTP_VAR_NOCACHEABLE),
    ngx_http_pay_var("pay_route", ngx_http_pay_str_variable, route,
                     NGX_HTTP_VAR_NOCACHEABLE),
    ngx_http_pay_var("pay_refuse", ngx_http_pay_str_variable, refuse,
                     NGX_HTTP_VAR_NOCACHEABLE),
    ngx_http_pay_var("pay_slot", ngx_http_pay_slot_variable, slot,
                     NGX_HTTP_VAR_NOCACHEABLE),
    ngx_http_pay_var("pay_code", ngx_http_pay_text_variable, code,
                     NGX_HTTP_VAR_NOCACHEABLE),
    ngx_http_pay_var("pay_scheme", ngx_http_pay_text_variable, scheme,
                     NGX_HTTP_VAR_NOCACHEABLE),
    ngx_http_pay_var("pay_guard", ngx_http_pay_text_variable, value,
                     NGX_HTTP_VAR_NOCACHEABLE),
      ngx_http_null_variable
};


ngx_int_t
ngx_http_pay_add_variables(ngx_conf_t *cf)
{
    return ngx_http_pay_conf_variables(cf, ngx_http_pay_vars);
}


static ngx_int_t
ngx_http_pay_str_variable(ngx_http_request_t *r, ngx_http_variable_value_t *v,
    uintptr_t data)
{
    ngx_str_t           *s;
    ngx_http_pay_ctx_t  *ctx;

    ctx = ngx_http_pay_get_ctx(r);
    s = ctx ? (ngx_str_t *) ((u_char *) ctx + data) : NULL;

    if (s == NULL || s->data == NULL) {
        v->not_found = 1;
        return NGX_OK;
    }

    v->len = s->len;
    v->data = s->data;
    v->valid = 1;
    v->no_cacheable = 0;
    v->not_found = 0;

    return NGX_OK;
}


static ngx_int_t
ngx_http_pay_slot_variable(ngx_http_request_t *r, ngx_http_variable_value_t *v,
    uintptr_t data)
{
    ngx_http_pay_ctx_t  *ctx;

    ctx = ngx_http_pay_get_ctx(r);

    if (ctx == NULL || !ctx->verified) {
        v->not_found = 1;
        return NGX_OK;
    }

    v->data = ngx_pnalloc(r->pool, NGX_INT64_LEN);
    if (v->data == NULL) {
        return NGX_ERROR;
    }

    v->len = ngx_pay_put_number(v->data, ctx->slot) - v->data;
    v->valid = 1;
    v->no_cacheable = 0;
    v->not_found = 0;

    return NGX_OK;
}


static ngx_int_t
ngx_http_pay_text_variable(ngx_http_request_t *r, ngx_http_variable_value_t *v,
    uintptr_t data)
{
    const char          *text;
    ngx_http_pay_ctx_t  *ctx;

    ctx = ngx_http_pay_get_ctx(r);

    if (ctx == NULL) {
        v->not_found = 1;
        return NGX_OK;
    }

    if (data == offsetof(ngx_http_pay_ctx_t, code)) {
        text = ctx->code ? problem_name(ctx->code) : "OK";

    } else if (data == offsetof(ngx_http_pay_ctx_t, value)) {
        text = ctx->fallback ? "local" : ctx->answered ? "redis" : "-";

    } else {
        text = scheme_name(ctx->scheme);
    }

    v->len = ngx_strlen(text);
    v->data = (u_char *) (uintptr_t) text;
    v->valid = 1;
    v->no_cacheable = 0;
    v->not_found = 0;

    return NGX_OK;
}
