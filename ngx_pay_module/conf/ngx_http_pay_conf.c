/*
 * See ngx_http_pay_conf.h.
 */

#include "ngx_http_pay_conf.h"


ngx_int_t
ngx_http_pay_conf_handler(ngx_conf_t *cf, ngx_http_phases phase,
    ngx_http_handler_pt handler)
{
    ngx_http_handler_pt        *h;
    ngx_http_core_main_conf_t  *cmcf;

    cmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_core_module);

    h = ngx_array_push(&cmcf->phases[phase].handlers);
    if (h == NULL) {
        return NGX_ERROR;
    }

    *h = handler;

    return NGX_OK;
}


ngx_int_t
ngx_http_pay_conf_variables(ngx_conf_t *cf, ngx_http_variable_t *vars)
{
    ngx_http_variable_t  *var, *v;

    for (v = vars; v->name.len; v++) {
        var = ngx_http_add_variable(cf, &v->name, v->flags);
        if (var == NULL) {
            return NGX_ERROR;
        }

        var->get_handler = v->get_handler;
        var->data = v->data;
    }

    return NGX_OK;
}


ngx_uint_t
ngx_http_pay_conf_param(ngx_str_t *arg, const char *name, ngx_str_t *value)
{
    size_t  n;

    n = ngx_strlen(name);

    if (arg->len <= n || ngx_strncmp(arg->data, name, n) != 0
        || arg->data[n] != '=')
    {
        return 0;
    }

    value->data = arg->data + n + 1;
    value->len = arg->len - n - 1;

    return 1;
}


char *
ngx_http_pay_conf_invalid(ngx_conf_t *cf, ngx_str_t *arg)
{
    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "invalid parameter \"%V\"", arg);

    return NGX_CONF_ERROR;
}


void
ngx_http_pay_where(ngx_conf_t *cf, ngx_http_pay_where_t *where)
{
    where->file = cf->conf_file->file.name;
    where->line = cf->conf_file->line;
}


char *
ngx_http_pay_conf_error(ngx_conf_t *cf, ngx_http_pay_where_t *where,
    const char *text)
{
    ngx_log_error(NGX_LOG_EMERG, cf->log, 0, "%s in %V:%ui", text,
                  &where->file, where->line);

    return NGX_CONF_ERROR;
}
