/*
 * pay_pools on: chooses the pool of a verified request, takes a place in it or
 * refuses; $pay_pool is the upstream's name for proxy_pass.
 */

#include "ngx_http_pay_pool.h"

#include "ngx_pay_module/request/ngx_http_pay_private.h"


#define NGX_HTTP_PAY_POOL_SALT  0x2545f491u     /* of "share" in pools */


typedef struct {
    ngx_flag_t             enable;
    ngx_http_pay_where_t   where;
} ngx_http_pay_pool_loc_conf_t;


static ngx_int_t ngx_http_pay_pool_handler(ngx_http_request_t *r);
static ngx_http_pay_pool_t *ngx_http_pay_pool_choose(
    ngx_http_pay_pool_main_conf_t *omcf, ngx_http_pay_ctx_t *ctx);
static ngx_int_t ngx_http_pay_pool_tell(ngx_http_request_t *r,
    ngx_http_pay_ctx_t *ctx, ngx_http_pay_pool_t *pool);
static ngx_int_t ngx_http_pay_pool_header_filter(ngx_http_request_t *r);
static ngx_int_t ngx_http_pay_pool_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);

static ngx_int_t ngx_http_pay_pool_init_module(ngx_cycle_t *cycle);
static ngx_int_t ngx_http_pay_pool_init_process(ngx_cycle_t *cycle);
static void ngx_http_pay_pool_exit_process(ngx_cycle_t *cycle);
static ngx_int_t ngx_http_pay_pool_add_variables(ngx_conf_t *cf);
static void *ngx_http_pay_pool_create_main_conf(ngx_conf_t *cf);
static char *ngx_http_pay_pool_init_main_conf(ngx_conf_t *cf, void *conf);
static void *ngx_http_pay_pool_create_loc_conf(ngx_conf_t *cf);
static char *ngx_http_pay_pool_merge_loc_conf(ngx_conf_t *cf, void *parent,
    void *child);
static char *ngx_http_pay_pool_directive(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static ngx_int_t ngx_http_pay_pool_init(ngx_conf_t *cf);


static ngx_command_t  ngx_http_pay_pool_commands[] = {

    { ngx_string("pay_pool"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_BLOCK|NGX_CONF_TAKE1,
      ngx_http_pay_pool_block,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("pay_pools"),
      NGX_HTTP_LOC_CONF|NGX_CONF_FLAG,
      ngx_http_pay_pool_directive,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_pay_pool_loc_conf_t, enable),
      NULL },

      ngx_null_command
};


static ngx_http_module_t  ngx_http_pay_pool_module_ctx = {
    ngx_http_pay_pool_add_variables,       /* preconfiguration */
    ngx_http_pay_pool_init,                /* postconfiguration */

    ngx_http_pay_pool_create_main_conf,    /* create main configuration */
    ngx_http_pay_pool_init_main_conf,      /* init main configuration */

    NULL,                                  /* create server configuration */
    NULL,                                  /* merge server configuration */

    ngx_http_pay_pool_create_loc_conf,     /* create location configuration */
    ngx_http_pay_pool_merge_loc_conf       /* merge location configuration */
};


ngx_module_t  ngx_http_pay_pool_module = {
    NGX_MODULE_V1,
    &ngx_http_pay_pool_module_ctx,         /* module context */
    ngx_http_pay_pool_commands,            /* module directives */
    NGX_HTTP_MODULE,                       /* module type */
    NULL,                                  /* init master */
    ngx_http_pay_pool_init_module,         /* init module */
    ngx_http_pay_pool_init_process,        /* init process */
    NULL,                                  /* init thread */
    NULL,                                  /* exit thread */
    ngx_http_pay_pool_exit_process,        /* exit process */
    NULL,                                  /* exit master */
    NGX_MODULE_V1_PADDING
};


static ngx_http_variable_t  ngx_http_pay_pool_vars[] = {

    { ngx_string("pay_pool"), NULL, ngx_http_pay_pool_variable,
      offsetof(ngx_http_pay_pool_t, upstream), NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("pay_pool_name"), NULL, ngx_http_pay_pool_variable,
      offsetof(ngx_http_pay_pool_t, name), NGX_HTTP_VAR_NOCACHEABLE, 0 },

      ngx_http_null_variable
};


static ngx_http_output_header_filter_pt  ngx_http_next_header_filter;

/* of this process */
static ngx_http_pay_pool_main_conf_t    *ngx_http_pay_pools;


static ngx_inline ngx_http_pay_pool_count_t *
ngx_http_pay_pool_counts(ngx_http_pay_pool_t *pool)
{
    return &ngx_http_pay_pools->sh->counts[ngx_process_slot
                                           % NGX_HTTP_PAY_ROWS][pool->row];
}


ngx_uint_t
ngx_http_pay_pool_enabled(ngx_http_request_t *r)
{
    ngx_http_pay_pool_loc_conf_t  *olcf;

    olcf = ngx_http_get_module_loc_conf(r, ngx_http_pay_pool_module);

    return olcf->enable;
}


static ngx_int_t
ngx_http_pay_pool_handler(ngx_http_request_t *r)
{
    ngx_http_pay_ctx_t             *ctx;
    ngx_http_pay_pool_t            *pool;
    ngx_http_pay_pool_main_conf_t  *omcf;

    if (r != r->main || !ngx_http_pay_pool_enabled(r)) {
        return NGX_DECLINED;
    }

    ctx = ngx_http_pay_get_ctx(r);

    if (ctx == NULL || !ctx->verified || ctx->pool) {
        return NGX_DECLINED;
    }

    omcf = ngx_http_get_module_main_conf(r, ngx_http_pay_pool_module);

    pool = ngx_http_pay_pool_choose(omcf, ctx);
    ctx->pool = pool;

    ngx_http_pay_forget_doc(ctx);

    if (ngx_http_pay_pool_take(omcf, pool, ngx_current_msec) != NGX_OK) {
        ngx_http_pay_pool_counts(pool)->refused++;
        ngx_http_pay_pool_look(omcf, pool);

        return ngx_http_pay_refuse(r, PROBLEM_OVERLOADED, NULL, NULL);
    }

    ctx->pool_held = 1;
    ctx->pooled = ngx_current_msec;

    ngx_http_pay_pool_counts(pool)->requests++;
    ngx_http_pay_pool_look(omcf, pool);

    return ngx_http_pay_pool_tell(r, ctx, pool);
}


/* there is a line that always holds, and its pool is never off */

static ngx_http_pay_pool_t *
ngx_http_pay_pool_choose(ngx_http_pay_pool_main_conf_t *omcf,
    ngx_http_pay_ctx_t *ctx)
{
    ngx_int_t            method;
    ngx_str_t            s;
    ngx_uint_t           i;
    uint32_t             given;
    struct match_set     lines;
    struct match_facts   f;
    ngx_http_pay_pool_t  *pool;

    static uint8_t  works[] = {
        [API_PAYMENT_CREATE] = NGX_HTTP_PAY_WORK_CREATE,
        [API_PAYMENT_GET] = NGX_HTTP_PAY_WORK_QUERY,
        [API_PAYMENT_FIND] = NGX_HTTP_PAY_WORK_QUERY,
        [API_PAYMENT_CLOSE] = NGX_HTTP_PAY_WORK_CLOSE,
    };

    match_facts_init(&f);
    given = match_given(omcf->match);

    i = ctx->match.api ? ctx->match.api->id : API_NONE;

    f.numbers[MATCH_WORK] = i > API_NONE && i <= API_PAYMENT_CLOSE
                            ? works[i] : NGX_HTTP_PAY_WORK_OTHER;

    if (ctx->channel) {
        f.numbers[MATCH_CHANNEL] = ctx->channel - 1;
    }

    if (given & MATCH_NUMBER_BIT(MATCH_SHARE)) {
        f.numbers[MATCH_SHARE] = ngx_http_pay_when_share(
                                     ngx_http_pay_when_hash(ctx),
                                     NGX_HTTP_PAY_POOL_SALT);
    }

    f.names[MATCH_MERCHANT] = ngx_pay_slice(ctx->mchid);
    f.names[MATCH_APP] = ngx_pay_slice(ctx->app);

    if (given & MATCH_NUMBER_BIT(MATCH_METHOD)) {
        s = ngx_pay_str(json_str(ctx->doc, "method"));
        method = ngx_http_pay_method_index(&s);

        f.numbers[MATCH_METHOD] = method == NGX_ERROR ? MATCH_ABSENT : method;
    }

    if (given & MATCH_NAME_BIT(MATCH_SCENE)) {
        f.names[MATCH_SCENE] = json_str(ctx->doc, "scene");
    }

    match_find(omcf->match, &f, &lines);

    pool = omcf->pools.elts;

    match_set_each(line, &lines)
    {
        if (!ngx_http_pay_pool_is_off(omcf, &pool[omcf->of_line[line]])) {
            return &pool[omcf->of_line[line]];
        }
    }

    return &pool[omcf->last];
}


/* the trace of a new payment shows where it was made */

static ngx_int_t
ngx_http_pay_pool_tell(ngx_http_request_t *r, ngx_http_pay_ctx_t *ctx,
    ngx_http_pay_pool_t *pool)
{
    u_char  *p;

    if (ctx->channel == 0) {
        return NGX_DECLINED;
    }

    p = ngx_pnalloc(r->pool, ctx->route.len + sizeof(" pool=") - 1
                             + pool->name.len);
    if (p == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ctx->route.len = ngx_sprintf(p, "%V pool=%V", &ctx->route, &pool->name)
                     - p;
    ctx->route.data = p;

    return NGX_DECLINED;
}


void
ngx_http_pay_pool_release(ngx_http_pay_ctx_t *ctx)
{
    if (ctx->pool_held) {
        ctx->pool_held = 0;
        ngx_http_pay_pool_give(ngx_http_pay_pools, ctx->pool, ctx->pooled);
    }
}


/* the worker has answered: a client that reads slowly holds no place */

static ngx_int_t
ngx_http_pay_pool_header_filter(ngx_http_request_t *r)
{
    ngx_uint_t                  class;
    ngx_http_pay_ctx_t         *ctx;
    ngx_http_pay_pool_count_t  *counts;

    ctx = r == r->main ? ngx_http_pay_get_ctx(r) : NULL;

    if (ctx && ctx->pool_held) {
        ngx_http_pay_pool_release(ctx);

        class = r->headers_out.status / 100;
        counts = ngx_http_pay_pool_counts(ctx->pool);

        counts->answers[class < NGX_HTTP_PAY_POOL_CLASSES ? class : 0]++;
        counts->latency += (ngx_msec_t) (ngx_current_msec - ctx->pooled);

        ngx_http_pay_pool_look(ngx_http_pay_pools, ctx->pool);
    }

    return ngx_http_next_header_filter(r);
}


static ngx_int_t
ngx_http_pay_pool_variable(ngx_http_request_t *r, ngx_http_variable_value_t *v,
    uintptr_t data)
{
    ngx_str_t           *s;
    ngx_http_pay_ctx_t  *ctx;

    ctx = ngx_http_pay_get_ctx(r);

    if (ctx == NULL || ctx->pool == NULL) {
        v->not_found = 1;
        return NGX_OK;
    }

    s = (ngx_str_t *) ((u_char *) ctx->pool + data);

    v->len = s->len;
    v->data = s->data;
    v->valid = 1;
    v->no_cacheable = 0;
    v->not_found = 0;

    return NGX_OK;
}


/* in the master, when all zones are there */

static ngx_int_t
ngx_http_pay_pool_init_module(ngx_cycle_t *cycle)
{
    ngx_http_pay_pool_main_conf_t  *omcf;

    omcf = ngx_http_cycle_get_module_main_conf(cycle, ngx_http_pay_pool_module);

    if (omcf != NULL && omcf->sh != NULL) {
        ngx_http_pay_pool_switches(omcf, cycle->log);
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_pay_pool_init_process(ngx_cycle_t *cycle)
{
    ngx_http_pay_pool_main_conf_t  *omcf;

    omcf = ngx_http_cycle_get_module_main_conf(cycle, ngx_http_pay_pool_module);

    if (omcf != NULL && omcf->sh != NULL) {
        ngx_http_pay_pools = omcf;
        ngx_http_pay_pool_process_start(omcf);
    }

    return NGX_OK;
}


static void
ngx_http_pay_pool_exit_process(ngx_cycle_t *cycle)
{
    if (ngx_http_pay_pools != NULL) {
        ngx_http_pay_pool_process_end(ngx_http_pay_pools);
    }
}


static ngx_int_t
ngx_http_pay_pool_add_variables(ngx_conf_t *cf)
{
    return ngx_http_pay_conf_variables(cf, ngx_http_pay_pool_vars);
}


static void *
ngx_http_pay_pool_create_main_conf(ngx_conf_t *cf)
{
    ngx_http_pay_pool_main_conf_t  *omcf;

    omcf = ngx_pcalloc(cf->pool, sizeof(ngx_http_pay_pool_main_conf_t));
    if (omcf == NULL) {
        return NULL;
    }

    if (ngx_array_init(&omcf->pools, cf->pool, NGX_HTTP_PAY_POOLS_MAX,
                       sizeof(ngx_http_pay_pool_t))
        != NGX_OK)
    {
        return NULL;
    }

    return omcf;
}


static char *
ngx_http_pay_pool_init_main_conf(ngx_conf_t *cf, void *conf)
{
    return ngx_http_pay_pool_prepare(cf, conf);
}


static void *
ngx_http_pay_pool_create_loc_conf(ngx_conf_t *cf)
{
    ngx_http_pay_pool_loc_conf_t  *olcf;

    olcf = ngx_pcalloc(cf->pool, sizeof(ngx_http_pay_pool_loc_conf_t));
    if (olcf == NULL) {
        return NULL;
    }

    olcf->enable = NGX_CONF_UNSET;

    return olcf;
}


static char *
ngx_http_pay_pool_merge_loc_conf(ngx_conf_t *cf, void *parent, void *child)
{
    ngx_http_pay_pool_loc_conf_t  *prev = parent;
    ngx_http_pay_pool_loc_conf_t  *conf = child;

    ngx_http_pay_loc_conf_t        *plcf;
    ngx_http_pay_pool_main_conf_t  *omcf;

    if (conf->enable == NGX_CONF_UNSET && prev->enable == 1) {
        conf->where = prev->where;
    }

    ngx_conf_merge_value(conf->enable, prev->enable, 0);

    if (!conf->enable) {
        return NGX_CONF_OK;
    }

    plcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_pay_core_module);
    omcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_pay_pool_module);

    if (plcf->sign != 1) {
        return ngx_http_pay_conf_error(cf, &conf->where,
                                       "\"pay_pools\" needs \"pay_sign on\"");
    }

    if (omcf->pools.nelts == 0) {
        return ngx_http_pay_conf_error(cf, &conf->where,
                                       "\"pay_pools\" needs \"pay_pool\"");
    }

    return NGX_CONF_OK;
}


static char *
ngx_http_pay_pool_directive(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_pay_pool_loc_conf_t  *olcf = conf;

    ngx_http_pay_where(cf, &olcf->where);

    return ngx_conf_set_flag_slot(cf, cmd, conf);
}


static ngx_int_t
ngx_http_pay_pool_init(ngx_conf_t *cf)
{
    ngx_http_pay_pool_main_conf_t  *omcf;

    omcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_pay_pool_module);

    if (omcf->pools.nelts == 0) {
        return NGX_OK;
    }

    if (ngx_http_pay_conf_handler(cf, NGX_HTTP_PRECONTENT_PHASE,
                                  ngx_http_pay_pool_handler)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    ngx_http_next_header_filter = ngx_http_top_header_filter;
    ngx_http_top_header_filter = ngx_http_pay_pool_header_filter;

    return NGX_OK;
}
