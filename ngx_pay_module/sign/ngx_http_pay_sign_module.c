/*
 * pay_keys, and the life of the key cache.  What is done to a request stands in
 * ngx_http_pay_verify.c.
 */

#include "ngx_pay_module/keys/ngx_pay_keys.h"


typedef struct {
    ngx_pay_keys_conf_t  *keys;
} ngx_http_pay_sign_main_conf_t;


static void *ngx_http_pay_sign_create_main_conf(ngx_conf_t *cf);
static ngx_int_t ngx_http_pay_sign_init(ngx_conf_t *cf);
static char *ngx_http_pay_sign_keys(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static ngx_int_t ngx_http_pay_sign_init_process(ngx_cycle_t *cycle);
static void ngx_http_pay_sign_exit_process(ngx_cycle_t *cycle);


static ngx_command_t  ngx_http_pay_sign_commands[] = {

    { ngx_string("pay_keys"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_1MORE,
      ngx_http_pay_sign_keys,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

      ngx_null_command
};


static ngx_http_module_t  ngx_http_pay_sign_module_ctx = {
    NULL,                                  /* preconfiguration */
    ngx_http_pay_sign_init,                /* postconfiguration */

    ngx_http_pay_sign_create_main_conf,    /* create main configuration */
    NULL,                                  /* init main configuration */

    NULL,                                  /* create server configuration */
    NULL,                                  /* merge server configuration */

    NULL,                                  /* create location configuration */
    NULL                                   /* merge location configuration */
};


ngx_module_t  ngx_http_pay_sign_module = {
    NGX_MODULE_V1,
    &ngx_http_pay_sign_module_ctx,         /* module context */
    ngx_http_pay_sign_commands,            /* module directives */
    NGX_HTTP_MODULE,                       /* module type */
    NULL,                                  /* init master */
    NULL,                                  /* init module */
    ngx_http_pay_sign_init_process,        /* init process */
    NULL,                                  /* init thread */
    NULL,                                  /* exit thread */
    ngx_http_pay_sign_exit_process,        /* exit process */
    NULL,                                  /* exit master */
    NGX_MODULE_V1_PADDING
};


static void *
ngx_http_pay_sign_create_main_conf(ngx_conf_t *cf)
{
    return ngx_pcalloc(cf->pool, sizeof(ngx_http_pay_sign_main_conf_t));
}


static ngx_int_t
ngx_http_pay_sign_init(ngx_conf_t *cf)
{
    ngx_http_pay_where_t           *at;
    ngx_http_pay_sign_main_conf_t  *smcf;

    smcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_pay_sign_module);
    at = ngx_http_pay_sign_at(cf);

    if (at->line && smcf->keys == NULL) {
        ngx_http_pay_conf_error(cf, at, "\"pay_sign\" needs \"pay_keys\",");
        return NGX_ERROR;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_pay_sign_keys_arg(ngx_pay_keys_conf_t *keys, ngx_str_t *arg)
{
    ngx_int_t   n;
    ngx_str_t   value;
    u_char     *p;

    p = ngx_strlchr(arg->data, arg->data + arg->len, '=');
    value.data = p + 1;
    value.len = arg->data + arg->len - value.data;

    if (ngx_strncmp(arg->data, "timeout=", 8) == 0) {
        n = ngx_parse_time(&value, 0);
        keys->timeout = n;
        return (n > 0 && n <= 10000) ? NGX_OK : NGX_ERROR;
    }

    if (ngx_strncmp(arg->data, "hedge=", 6) == 0) {
        n = value.len == 3 && ngx_strncmp(value.data, "off", 3) == 0
            ? 0 : ngx_parse_time(&value, 0);
        keys->hedge = n;
        return n >= 0 ? NGX_OK : NGX_ERROR;
    }

    if (ngx_strncmp(arg->data, "stale=", 6) == 0) {
        n = ngx_parse_time(&value, 0);
        keys->stale = n;
        return n >= 0 ? NGX_OK : NGX_ERROR;
    }

    if (ngx_strncmp(arg->data, "parsed=", 7) == 0) {
        n = ngx_atoi(value.data, value.len);
        keys->parsed = n;
        return n > 0 ? NGX_OK : NGX_ERROR;
    }

    if (ngx_strncmp(arg->data, "misses=", 7) == 0) {
        n = ngx_atoi(value.data, value.len);
        keys->misses = n;
        return n > 0 ? NGX_OK : NGX_ERROR;
    }

    return NGX_ERROR;
}


static char *
ngx_http_pay_sign_keys_addr(ngx_conf_t *cf, ngx_pay_keys_conf_t *keys,
    ngx_str_t *value)
{
    ngx_url_t    u;
    ngx_uint_t   i;
    ngx_addr_t  *addr;

    ngx_memzero(&u, sizeof(ngx_url_t));
    u.url = *value;

    if (ngx_parse_url(cf->pool, &u) != NGX_OK
        || (u.family != AF_UNIX && u.no_port))
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "%s in \"%V\"",
                           u.err ? u.err : "no port", value);
        return NGX_CONF_ERROR;
    }

    for (i = 0; i < u.naddrs; i++) {
        addr = ngx_array_push(&keys->addrs);
        if (addr == NULL) {
            return NGX_CONF_ERROR;
        }

        *addr = u.addrs[i];
    }

    return NGX_CONF_OK;
}


static char *
ngx_http_pay_sign_keys(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_pay_sign_main_conf_t  *smcf = conf;

    ngx_str_t            *value;
    ngx_uint_t            i;
    ngx_pay_keys_conf_t  *keys;

    if (smcf->keys) {
        return "is duplicate";
    }

    keys = ngx_pcalloc(cf->pool, sizeof(ngx_pay_keys_conf_t));
    if (keys == NULL
        || ngx_array_init(&keys->addrs, cf->pool, 4, sizeof(ngx_addr_t))
           != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    smcf->keys = keys;

    keys->timeout = 500;
    keys->hedge = 100;
    keys->stale = 600 * 1000;
    keys->parsed = 1024;
    keys->misses = 200;

    value = cf->args->elts;

    for (i = 1; i < cf->args->nelts; i++) {

        if (ngx_strlchr(value[i].data, value[i].data + value[i].len, '=')) {

            if (ngx_http_pay_sign_keys_arg(keys, &value[i]) != NGX_OK) {
                ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                                   "invalid parameter \"%V\"", &value[i]);
                return NGX_CONF_ERROR;
            }

        } else if (ngx_http_pay_sign_keys_addr(cf, keys, &value[i])
                   != NGX_CONF_OK)
        {
            return NGX_CONF_ERROR;
        }
    }

    if (keys->addrs.nelts == 0) {
        return "needs an address";
    }

    if (keys->hedge >= keys->timeout) {

        /* nobody would be asked in time */

        keys->hedge = 0;
    }

    return NGX_CONF_OK;
}


static ngx_int_t
ngx_http_pay_sign_init_process(ngx_cycle_t *cycle)
{
    ngx_http_pay_sign_main_conf_t  *smcf;

    if (ngx_process != NGX_PROCESS_WORKER && ngx_process != NGX_PROCESS_SINGLE)
    {
        return NGX_OK;
    }

    smcf = ngx_http_cycle_get_module_main_conf(cycle, ngx_http_pay_sign_module);

    if (smcf == NULL || smcf->keys == NULL || ngx_http_pay_shm == NULL) {
        return NGX_OK;
    }

    return ngx_pay_keys_start(cycle, smcf->keys);
}


static void
ngx_http_pay_sign_exit_process(ngx_cycle_t *cycle)
{
    ngx_pay_keys_stop();
}
