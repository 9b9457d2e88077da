/*
 * pay_guard, pay_limit, pay_redis: the module.  What is done to a request
 * stands in ngx_http_pay_guard.c.
 */

#include "ngx_http_pay_guard.h"


static void *ngx_http_pay_guard_create_main_conf(ngx_conf_t *cf);
static char *ngx_http_pay_guard_init_main_conf(ngx_conf_t *cf, void *conf);
static void *ngx_http_pay_guard_create_loc_conf(ngx_conf_t *cf);
static char *ngx_http_pay_guard_merge_loc_conf(ngx_conf_t *cf, void *parent,
    void *child);
static ngx_int_t ngx_http_pay_guard_init_process(ngx_cycle_t *cycle);
static void ngx_http_pay_guard_exit_process(ngx_cycle_t *cycle);


static ngx_command_t  ngx_http_pay_guard_commands[] = {

    { ngx_string("pay_redis"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_1MORE,
      ngx_http_pay_guard_set_redis,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("pay_guard"),
      NGX_HTTP_LOC_CONF|NGX_CONF_1MORE,
      ngx_http_pay_guard_set_guard,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("pay_limit"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_2MORE,
      ngx_http_pay_guard_set_limit,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

      ngx_null_command
};


static ngx_http_module_t  ngx_http_pay_guard_module_ctx = {
    NULL,                                  /* preconfiguration */
    NULL,                                  /* postconfiguration */

    ngx_http_pay_guard_create_main_conf,   /* create main configuration */
    ngx_http_pay_guard_init_main_conf,     /* init main configuration */

    NULL,                                  /* create server configuration */
    NULL,                                  /* merge server configuration */

    ngx_http_pay_guard_create_loc_conf,    /* create location configuration */
    ngx_http_pay_guard_merge_loc_conf      /* merge location configuration */
};


ngx_module_t  ngx_http_pay_guard_module = {
    NGX_MODULE_V1,
    &ngx_http_pay_guard_module_ctx,        /* module context */
    ngx_http_pay_guard_commands,           /* module directives */
    NGX_HTTP_MODULE,                       /* module type */
    NULL,                                  /* init master */
    NULL,                                  /* init module */
    ngx_http_pay_guard_init_process,       /* init process */
    NULL,                                  /* init thread */
    NULL,                                  /* exit thread */
    ngx_http_pay_guard_exit_process,       /* exit process */
    NULL,                                  /* exit master */
    NGX_MODULE_V1_PADDING
};


static void *
ngx_http_pay_guard_create_main_conf(ngx_conf_t *cf)
{
    ngx_http_pay_guard_main_conf_t  *gmcf;

    gmcf = ngx_pcalloc(cf->pool, sizeof(ngx_http_pay_guard_main_conf_t));

    if (gmcf == NULL
        || ngx_array_init(&gmcf->limits, cf->pool, 8,
                          sizeof(ngx_http_pay_limit_t *))
           != NGX_OK)
    {
        return NULL;
    }

    return gmcf;
}


static char *
ngx_http_pay_guard_init_main_conf(ngx_conf_t *cf, void *conf)
{
    ngx_http_pay_guard_main_conf_t  *gmcf = conf;

    if (gmcf->used_at.line && gmcf->redis == NULL) {
        return ngx_http_pay_conf_error(cf, &gmcf->used_at,
                                       "\"pay_guard\" needs \"pay_redis\",");
    }

    return NGX_CONF_OK;
}


static void *
ngx_http_pay_guard_create_loc_conf(ngx_conf_t *cf)
{
    ngx_http_pay_guard_loc_conf_t  *glcf;

    glcf = ngx_pcalloc(cf->pool, sizeof(ngx_http_pay_guard_loc_conf_t));
    if (glcf == NULL) {
        return NULL;
    }

    glcf->enable = NGX_CONF_UNSET;

    return glcf;
}


static char *
ngx_http_pay_guard_merge_loc_conf(ngx_conf_t *cf, void *parent, void *child)
{
    ngx_http_pay_guard_loc_conf_t  *prev = parent;
    ngx_http_pay_guard_loc_conf_t  *conf = child;

    ngx_array_t              *limits;
    ngx_http_pay_where_t      limit_at;
    ngx_http_pay_loc_conf_t  *plcf;

    limits = conf->limits ? conf->limits : prev->limits;
    limit_at = conf->limit_at;

    if (conf->enable == NGX_CONF_UNSET) {
        *conf = *prev;
    }

    conf->limits = limits;

    if (conf->enable == NGX_CONF_UNSET) {
        conf->enable = 0;
    }

    if (conf->window == 0) {
        conf->window = NGX_HTTP_PAY_WINDOW;
    }

    if (limit_at.line && !conf->enable) {
        return ngx_http_pay_conf_error(cf, &limit_at,
                                       "\"pay_limit\" needs \"pay_guard\",");
    }

    plcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_pay_core_module);

    if (conf->enable && !plcf->sign) {
        return ngx_http_pay_conf_error(cf, &conf->at,
                                       "\"pay_guard\" needs \"pay_sign on\",");
    }

    return conf->enable ? ngx_http_pay_guard_merge_limits(cf, conf)
                        : NGX_CONF_OK;
}


static ngx_int_t
ngx_http_pay_guard_init_process(ngx_cycle_t *cycle)
{
    ngx_http_pay_guard_main_conf_t  *gmcf;

    if (ngx_process != NGX_PROCESS_WORKER && ngx_process != NGX_PROCESS_SINGLE)
    {
        return NGX_OK;
    }

    gmcf = ngx_http_cycle_get_module_main_conf(cycle,
                                               ngx_http_pay_guard_module);

    if (gmcf == NULL || gmcf->redis == NULL) {
        return NGX_OK;
    }

    return ngx_pay_redis_start(cycle, gmcf->redis, ngx_http_pay_guard_scripts);
}


static void
ngx_http_pay_guard_exit_process(ngx_cycle_t *cycle)
{
    ngx_pay_redis_stop();
}
