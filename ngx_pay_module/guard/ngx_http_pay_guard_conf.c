/*
 * pay_guard.  Every wrong word is reported as it stands.
 */

#include "ngx_http_pay_guard.h"


static ngx_uint_t
ngx_http_pay_guard_is_off(ngx_str_t *value)
{
    return value->len == 3 && ngx_strncmp(value->data, "off", 3) == 0;
}


static ngx_int_t
ngx_http_pay_guard_arg(ngx_http_pay_guard_loc_conf_t *glcf, ngx_str_t *arg)
{
    ngx_int_t  n;
    ngx_str_t  value;

    if (ngx_http_pay_conf_param(arg, "window", &value)) {
        n = ngx_parse_time(&value, 1);
        glcf->window = n;
        return (n > 0 && n <= 3600) ? NGX_OK : NGX_ERROR;
    }

    if (ngx_http_pay_conf_param(arg, "nonce", &value)) {
        n = ngx_parse_time(&value, 0);
        glcf->nonce = n;
        return n > 0 ? NGX_OK : NGX_ERROR;
    }

    if (ngx_http_pay_conf_param(arg, "app", &value)) {
        return ngx_http_pay_guard_is_off(&value)
               ? NGX_OK
               : ngx_pay_limit_rate(&value, &glcf->app.limit.rate,
                                    &glcf->app.limit.window);
    }

    if (ngx_http_pay_conf_param(arg, "burst", &value)) {
        n = ngx_atoi(value.data, value.len);
        glcf->app.limit.burst = n;
        return (n >= 0 && n <= NGX_PAY_LIMIT_RATE_MAX) ? NGX_OK : NGX_ERROR;
    }

    if (ngx_http_pay_conf_param(arg, "fallback", &value)) {
        if (value.len == 4 && ngx_strncmp(value.data, "open", 4) == 0) {
            glcf->closed = 0;
            return NGX_OK;
        }

        if (value.len == 6 && ngx_strncmp(value.data, "closed", 6) == 0) {
            glcf->closed = 1;
            return NGX_OK;
        }
    }

    return NGX_ERROR;
}


char *
ngx_http_pay_guard_set_guard(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_pay_guard_loc_conf_t  *glcf = conf;

    ngx_str_t                       *value;
    ngx_uint_t                       i;
    ngx_http_pay_guard_main_conf_t  *gmcf;

    if (glcf->enable != NGX_CONF_UNSET) {
        return "is duplicate";
    }

    value = cf->args->elts;

    if (cf->args->nelts == 2 && ngx_http_pay_guard_is_off(&value[1])) {
        glcf->enable = 0;
        return NGX_CONF_OK;
    }

    glcf->enable = 1;
    glcf->window = NGX_HTTP_PAY_WINDOW;
    ngx_http_pay_where(cf, &glcf->at);

    for (i = 1; i < cf->args->nelts; i++) {
        if (ngx_http_pay_guard_arg(glcf, &value[i]) != NGX_OK) {
            return ngx_http_pay_conf_invalid(cf, &value[i]);
        }
    }

    /* both clocks may be off by the window */

    if (glcf->nonce == 0) {
        glcf->nonce = glcf->window * 2 * 1000;
    }

    if (glcf->nonce < (ngx_msec_t) glcf->window * 2 * 1000) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"nonce\" must be at least twice \"window\"");
        return NGX_CONF_ERROR;
    }

    if (glcf->app.limit.rate) {
        ngx_str_set(&glcf->app.limit.name, "app");
        glcf->app.key = glcf->app.limit.name;
        glcf->app.at = glcf->at;

        if (ngx_http_pay_limit_list(cf, &glcf->app) != NGX_CONF_OK) {
            return NGX_CONF_ERROR;
        }
    }

    gmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_pay_guard_module);

    if (gmcf->used_at.line == 0) {
        ngx_http_pay_where(cf, &gmcf->used_at);
    }

    return NGX_CONF_OK;
}
