/*
 * pay_route and pay_rule: their configuration; $pay_payer_app.
 */

#include "ngx_http_pay_route.h"

#include "ngx_pay_module/conf/ngx_http_pay_block.h"


static ngx_int_t ngx_http_pay_payer_app_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);

static ngx_int_t ngx_http_pay_route_init_module(ngx_cycle_t *cycle);
static ngx_int_t ngx_http_pay_route_add_variables(ngx_conf_t *cf);
static void *ngx_http_pay_route_create_main_conf(ngx_conf_t *cf);
static char *ngx_http_pay_route_init_main_conf(ngx_conf_t *cf, void *conf);
static void *ngx_http_pay_route_create_loc_conf(ngx_conf_t *cf);
static char *ngx_http_pay_route_merge_loc_conf(ngx_conf_t *cf, void *parent,
    void *child);
static char *ngx_http_pay_route_directive(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static ngx_int_t ngx_http_pay_route_init(ngx_conf_t *cf);


static ngx_command_t  ngx_http_pay_route_commands[] = {

    { ngx_string("pay_route"),
      NGX_HTTP_LOC_CONF|NGX_CONF_TAKE12,
      ngx_http_pay_route_directive,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("pay_rule"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_BLOCK|NGX_CONF_TAKE1,
      ngx_http_pay_rule_block,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

      ngx_null_command
};


static ngx_http_module_t  ngx_http_pay_route_module_ctx = {
    ngx_http_pay_route_add_variables,      /* preconfiguration */
    ngx_http_pay_route_init,               /* postconfiguration */

    ngx_http_pay_route_create_main_conf,   /* create main configuration */
    ngx_http_pay_route_init_main_conf,     /* init main configuration */

    NULL,                                  /* create server configuration */
    NULL,                                  /* merge server configuration */

    ngx_http_pay_route_create_loc_conf,    /* create location configuration */
    ngx_http_pay_route_merge_loc_conf      /* merge location configuration */
};


ngx_module_t  ngx_http_pay_route_module = {
    NGX_MODULE_V1,
    &ngx_http_pay_route_module_ctx,        /* module context */
    ngx_http_pay_route_commands,           /* module directives */
    NGX_HTTP_MODULE,                       /* module type */
    NULL,                                  /* init master */
    ngx_http_pay_route_init_module,        /* init module */
    NULL,                                  /* init process */
    NULL,                                  /* init thread */
    NULL,                                  /* exit thread */
    NULL,                                  /* exit process */
    NULL,                                  /* exit master */
    NGX_MODULE_V1_PADDING
};


static ngx_http_variable_t  ngx_http_pay_route_vars[] = {

    { ngx_string("pay_payer_app"), NULL, ngx_http_pay_payer_app_variable,
      0, 0, 0 },

      ngx_http_null_variable
};


static ngx_int_t
ngx_http_pay_payer_app_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data)
{
    const char  *name;

    name = payer_app_name(ngx_http_pay_route_wallet(r));

    v->len = ngx_strlen(name);
    v->data = (u_char *) (uintptr_t) name;
    v->valid = 1;
    v->no_cacheable = 0;
    v->not_found = 0;

    return NGX_OK;
}


static ngx_int_t
ngx_http_pay_route_add_variables(ngx_conf_t *cf)
{
    return ngx_http_pay_conf_variables(cf, ngx_http_pay_route_vars);
}


static void *
ngx_http_pay_route_create_main_conf(ngx_conf_t *cf)
{
    ngx_http_pay_route_main_conf_t  *rmcf;

    rmcf = ngx_pcalloc(cf->pool, sizeof(ngx_http_pay_route_main_conf_t));
    if (rmcf == NULL) {
        return NULL;
    }

    if (ngx_array_init(&rmcf->rules, cf->pool, 8, sizeof(ngx_http_pay_rule_t))
        != NGX_OK)
    {
        return NULL;
    }

    return rmcf;
}


static char *
ngx_http_pay_route_init_main_conf(ngx_conf_t *cf, void *conf)
{
    return ngx_http_pay_route_prepare(cf, conf);
}


/* the zone is there: each candidate learns its channel's row in it */

static ngx_int_t
ngx_http_pay_route_init_module(ngx_cycle_t *cycle)
{
    ngx_http_pay_route_main_conf_t  *rmcf;

    rmcf = ngx_http_cycle_get_module_main_conf(cycle,
                                               ngx_http_pay_route_module);
    if (rmcf) {
        ngx_http_pay_route_bind(rmcf);
    }

    return NGX_OK;
}


static void *
ngx_http_pay_route_create_loc_conf(ngx_conf_t *cf)
{
    ngx_http_pay_route_loc_conf_t  *rlcf;

    rlcf = ngx_pcalloc(cf->pool, sizeof(ngx_http_pay_route_loc_conf_t));
    if (rlcf == NULL) {
        return NULL;
    }

    rlcf->enable = NGX_CONF_UNSET;

    return rlcf;
}


static char *
ngx_http_pay_route_merge_loc_conf(ngx_conf_t *cf, void *parent, void *child)
{
    ngx_http_pay_route_loc_conf_t  *prev = parent;
    ngx_http_pay_route_loc_conf_t  *conf = child;

    ngx_http_pay_loc_conf_t  *plcf;

    if (conf->enable == NGX_CONF_UNSET && prev->enable == 1) {
        conf->where = prev->where;
    }

    if (conf->enable == NGX_CONF_UNSET) {
        conf->by = prev->by;
    }

    ngx_conf_merge_value(conf->enable, prev->enable, 0);

    if (!conf->enable) {
        return NGX_CONF_OK;
    }

    plcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_pay_core_module);

    if (plcf->sign != 1) {
        return ngx_http_pay_conf_error(cf, &conf->where,
                                       "\"pay_route\" needs \"pay_sign on\"");
    }

    return NGX_CONF_OK;
}


/* pay_route on | off [by=weight | by=cost] */

static char *
ngx_http_pay_route_directive(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_pay_route_loc_conf_t  *rlcf = conf;

    ngx_str_t  *value;

    if (rlcf->enable != NGX_CONF_UNSET) {
        return "is duplicate";
    }

    ngx_http_pay_where(cf, &rlcf->where);

    value = cf->args->elts;

    rlcf->by = ROUTE_BY_WEIGHT;

    if (ngx_strcmp(value[1].data, "on") == 0) {
        rlcf->enable = 1;

    } else if (ngx_strcmp(value[1].data, "off") == 0
               && cf->args->nelts == 2)
    {
        rlcf->enable = 0;

    } else {
        return ngx_http_pay_block_invalid(cf, &value[1]);
    }

    if (cf->args->nelts == 3) {

        if (ngx_strcmp(value[2].data, "by=cost") == 0) {
            rlcf->by = ROUTE_BY_COST;

        } else if (ngx_strcmp(value[2].data, "by=weight") != 0) {
            return ngx_http_pay_block_invalid(cf, &value[2]);
        }
    }

    return NGX_CONF_OK;
}


static ngx_int_t
ngx_http_pay_route_init(ngx_conf_t *cf)
{
    return ngx_http_pay_conf_handler(cf, NGX_HTTP_ACCESS_PHASE,
                                     ngx_http_pay_route_handler);
}
