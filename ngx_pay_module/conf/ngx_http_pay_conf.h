/*
 * What every module of ours does while the configuration is read: hook a
 * handler into a phase, add variables, read "name=value" parameters.
 */

#ifndef _NGX_HTTP_PAY_CONF_H_INCLUDED_
#define _NGX_HTTP_PAY_CONF_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>


ngx_int_t ngx_http_pay_conf_handler(ngx_conf_t *cf, ngx_http_phases phase,
    ngx_http_handler_pt handler);

/* vars ends with an empty name */
ngx_int_t ngx_http_pay_conf_variables(ngx_conf_t *cf,
    ngx_http_variable_t *vars);

/* "name=value": cuts value out, or returns 0 when it is another name */
ngx_uint_t ngx_http_pay_conf_param(ngx_str_t *arg, const char *name,
    ngx_str_t *value);

/* logs "invalid parameter", returns NGX_CONF_ERROR */
char *ngx_http_pay_conf_invalid(ngx_conf_t *cf, ngx_str_t *arg);


/*
 * Where a directive stood, for checks that are only possible at merge time:
 * ngx_http_pay_conf_error logs "... in FILE:LINE" at level emerg.
 */
typedef struct {
    ngx_str_t   file;
    ngx_uint_t  line;
} ngx_http_pay_where_t;

void ngx_http_pay_where(ngx_conf_t *cf, ngx_http_pay_where_t *where);
char *ngx_http_pay_conf_error(ngx_conf_t *cf, ngx_http_pay_where_t *where,
    const char *text);


#endif /* _NGX_HTTP_PAY_CONF_H_INCLUDED_ */
