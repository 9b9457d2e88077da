/*
 * pay_route: which channels may take a new payment, in order of preference.
 * It writes them into the request's context or refuses, and says why.
 */

#include "ngx_http_pay_core.h"
#include "ngx_http_pay_route.h"


typedef struct {
    ngx_flag_t                         enable;
    ngx_http_pay_where_t               where;
} ngx_http_pay_route_loc_conf_t;


static ngx_int_t ngx_http_pay_route_handler(ngx_http_request_t *r);
static ngx_int_t ngx_http_pay_route_wish(ngx_http_request_t *r,
    ngx_http_pay_ctx_t *ctx, ngx_http_pay_route_main_conf_t *rmcf,
    ngx_str_t *wish, ngx_int_t method, int64_t amount,
    ngx_http_pay_route_t *route);
static ngx_int_t ngx_http_pay_route_refuse(ngx_http_request_t *r,
    ngx_http_pay_ctx_t *ctx, enum problem_code code, const char *detail,
    const char *pointer);
static ngx_int_t ngx_http_pay_route_result(ngx_http_request_t *r,
    ngx_http_pay_ctx_t *ctx, ngx_http_pay_route_t *route, const char *by);
static ngx_int_t ngx_http_pay_route_init_module(ngx_cycle_t *cycle);
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
      NGX_HTTP_LOC_CONF|NGX_CONF_FLAG,
      ngx_http_pay_route_directive,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_pay_route_loc_conf_t, enable),
      NULL },

      ngx_null_command
};


static ngx_http_module_t  ngx_http_pay_route_module_ctx = {
    NULL,                                  /* preconfiguration */
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


static ngx_int_t
ngx_http_pay_route_handler(ngx_http_request_t *r)
{
    int64_t                          amount;
    uint64_t                         h;
    ngx_int_t                        method, rc;
    ngx_str_t                        s;
    ngx_http_pay_ctx_t              *ctx;
    ngx_http_pay_route_t             route;
    ngx_http_pay_route_loc_conf_t   *rlcf;
    ngx_http_pay_route_main_conf_t  *rmcf;

    rlcf = ngx_http_get_module_loc_conf(r, ngx_http_pay_route_module);

    if (!rlcf->enable || r != r->main) {
        return NGX_DECLINED;
    }

    ctx = ngx_http_pay_get_ctx(r);

    if (ctx == NULL || !ctx->verified || ctx->doc == NULL
        || ctx->match.api == NULL
        || ctx->match.api->id != API_PAYMENT_CREATE
        || ctx->channels.data)
    {
        return NGX_DECLINED;
    }

    /* these were checked: both are there and of the right type */

    s = ngx_pay_str(json_str(ctx->doc, "method"));
    method = ngx_http_pay_method_index(&s);

    if (json_int64(json_get(ctx->doc, "amount.total"), &amount) != 0) {
        return ngx_http_pay_refuse(r, PROBLEM_FIELD_INVALID, NULL,
                                   "/amount/total");
    }

    rmcf = ngx_http_get_module_main_conf(r, ngx_http_pay_route_module);
    ngx_memzero(&route, sizeof(ngx_http_pay_route_t));

    s = ngx_pay_str(json_str(ctx->doc, "channel"));

    if (s.len) {
        rc = ngx_http_pay_route_wish(r, ctx, rmcf, &s, method, amount,
                                     &route);

        if (rc != NGX_OK) {
            return rc;
        }

        return ngx_http_pay_route_result(r, ctx, &route, "wish");
    }

    h = slice_hash(json_str(ctx->doc, "out_trade_no"))
        ^ slice_hash(ngx_pay_slice(ctx->mchid)) * 0x9e3779b97f4a7c15ULL;

    ngx_http_pay_route_choose(rmcf, method, amount, h, &route);

    if (route.n) {
        return ngx_http_pay_route_result(r, ctx, &route, "weight");
    }

    if (route.open == 0) {
        return ngx_http_pay_route_refuse(r, ctx, PROBLEM_NO_CHANNEL,
                                         "no channel offers this method now",
                                         "/method");
    }

    if (route.fit == 0) {
        return ngx_http_pay_route_refuse(r, ctx, PROBLEM_AMOUNT_OUT_OF_RANGE,
                                         "no channel of this method takes this "
                                         "amount", "/amount/total");
    }

    if (route.busy == 0) {
        return ngx_http_pay_route_refuse(r, ctx, PROBLEM_CHANNEL_OUT,
                                         "every channel for this payment is "
                                         "out of order", "/method");
    }

    return ngx_http_pay_refuse(r, PROBLEM_CHANNEL_BUSY, NULL, NULL);
}


/* the merchant names the channel: that one or none */

static ngx_int_t
ngx_http_pay_route_wish(ngx_http_request_t *r, ngx_http_pay_ctx_t *ctx,
    ngx_http_pay_route_main_conf_t *rmcf, ngx_str_t *wish, ngx_int_t method,
    int64_t amount, ngx_http_pay_route_t *route)
{
    ngx_http_pay_channel_t            *ch;
    ngx_http_pay_channel_row_t        *row;
    ngx_http_pay_channel_main_conf_t  *cmcf;

    cmcf = rmcf->channels;
    ch = ngx_http_pay_channel_find(cmcf, wish);

    if (ch == NULL) {
        return ngx_http_pay_route_refuse(r, ctx, PROBLEM_NO_CHANNEL,
                                         "the wanted channel does not exist",
                                         "/channel");
    }

    if (method == NGX_ERROR || !(ch->methods & 1u << method)) {
        return ngx_http_pay_route_refuse(r, ctx, PROBLEM_NO_CHANNEL,
                                         "the wanted channel does not offer this "
                                         "method", "/channel");
    }

    if (ngx_http_pay_channel_state(cmcf, ch) != NGX_HTTP_PAY_STATE_ON) {
        return ngx_http_pay_route_refuse(r, ctx, PROBLEM_NO_CHANNEL,
                                         "the wanted channel is switched off",
                                         "/channel");
    }

    if (amount < ch->amount_min || amount > ch->amount_max) {
        return ngx_http_pay_route_refuse(r, ctx, PROBLEM_AMOUNT_OUT_OF_RANGE,
                                         "the wanted channel does not take this "
                                         "amount", "/amount/total");
    }

    ngx_http_pay_health_refresh(cmcf);

    if (cmcf->sh->shares[ch->row] == 0) {
        return ngx_http_pay_route_refuse(r, ctx, PROBLEM_CHANNEL_OUT,
                                         "the wanted channel is out of order",
                                         "/channel");
    }

    row = ngx_http_pay_channel_row(cmcf, ch);

    if (ngx_http_pay_channel_full(row, ch)) {
        return ngx_http_pay_refuse(r, PROBLEM_CHANNEL_BUSY, NULL, NULL);
    }

    ngx_http_pay_health_chosen(cmcf, ch);

    route->chosen[0] = ch;
    route->n = 1;
    route->open = 1;
    route->fit = 1;

    return NGX_OK;
}


/*
 * No channel for a new order. The request goes on all the same: it may be the
 * repetition of one that made an order while there was a channel, and only the
 * worker can tell; it refuses in these words if not.
 */

static ngx_int_t
ngx_http_pay_route_refuse(ngx_http_request_t *r, ngx_http_pay_ctx_t *ctx,
    enum problem_code code, const char *detail, const char *pointer)
{
    size_t       n;
    const char  *name;

    name = problem_name(code);
    n = ngx_strlen(name) + 1 + ngx_strlen(pointer);

    ctx->refuse.data = ngx_pnalloc(r->pool, n);
    if (ctx->refuse.data == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ctx->refuse.len = ngx_sprintf(ctx->refuse.data, "%s %s", name, pointer)
                      - ctx->refuse.data;

    ctx->route.data = (u_char *) (uintptr_t) detail;
    ctx->route.len = ngx_strlen(detail);
    ngx_str_set(&ctx->channels, "");
    ngx_http_pay_forget_doc(ctx);

    return NGX_DECLINED;
}


/* "a,b,c" and why */

static ngx_int_t
ngx_http_pay_route_result(ngx_http_request_t *r, ngx_http_pay_ctx_t *ctx,
    ngx_http_pay_route_t *route, const char *by)
{
    u_char      *p;
    ngx_uint_t   i;

    p = ngx_pnalloc(r->pool,
                    NGX_HTTP_PAY_ROUTE_MAX * (NGX_HTTP_PAY_NAME_MAX + 1));
    if (p == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ctx->channels.data = p;

    for (i = 0; i < route->n; i++) {
        if (i) {
            *p++ = ',';
        }

        p = ngx_cpymem(p, route->chosen[i]->name.data,
                       route->chosen[i]->name.len);
    }

    ctx->channels.len = p - ctx->channels.data;

    p = ngx_pnalloc(r->pool, sizeof("by=weight open= fit= ill= busy=")
                             + 4 * NGX_INT_T_LEN);
    if (p == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ctx->route.data = p;
    p = ngx_sprintf(p, "by=%s open=%ui fit=%ui ill=%ui busy=%ui", by,
                    route->open, route->fit, route->ill, route->busy);
    ctx->route.len = p - ctx->route.data;
    ngx_http_pay_forget_doc(ctx);

    return NGX_DECLINED;
}


static void *
ngx_http_pay_route_create_main_conf(ngx_conf_t *cf)
{
    return ngx_pcalloc(cf->pool, sizeof(ngx_http_pay_route_main_conf_t));
}


static char *
ngx_http_pay_route_init_main_conf(ngx_conf_t *cf, void *conf)
{
    return ngx_http_pay_route_prepare(cf, conf) == NGX_OK ? NGX_CONF_OK
                                                          : NGX_CONF_ERROR;
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


static char *
ngx_http_pay_route_directive(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_pay_route_loc_conf_t  *rlcf = conf;

    ngx_http_pay_where(cf, &rlcf->where);

    return ngx_conf_set_flag_slot(cf, cmd, conf);
}


static ngx_int_t
ngx_http_pay_route_init(ngx_conf_t *cf)
{
    ngx_http_handler_pt        *h;
    ngx_http_core_main_conf_t  *cmcf;

    cmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_core_module);

    h = ngx_array_push(&cmcf->phases[NGX_HTTP_ACCESS_PHASE].handlers);
    if (h == NULL) {
        return NGX_ERROR;
    }

    *h = ngx_http_pay_route_handler;

    return NGX_OK;
}
