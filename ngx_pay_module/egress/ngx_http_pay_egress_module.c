/*
 * pay_egress: checks a worker's call and lets it through to proxy_pass.
 */

#include "ngx_http_pay_egress.h"

#include "core/clock.h"


static ngx_int_t ngx_http_pay_egress_handler(ngx_http_request_t *r);
static ngx_http_pay_egress_ctx_t *ngx_http_pay_egress_create_ctx(
    ngx_http_request_t *r);
static ngx_int_t ngx_http_pay_egress_read_body(ngx_http_request_t *r,
    ngx_http_pay_egress_ctx_t *ctx);
static void ngx_http_pay_egress_body_handler(ngx_http_request_t *r);
static ngx_int_t ngx_http_pay_egress_check(ngx_http_request_t *r,
    ngx_http_pay_egress_ctx_t *ctx);
static ngx_int_t ngx_http_pay_egress_admit(ngx_http_request_t *r,
    ngx_http_pay_egress_ctx_t *ctx);
static void ngx_http_pay_egress_cleanup(void *data);

static void *ngx_http_pay_egress_create_main_conf(ngx_conf_t *cf);
static char *ngx_http_pay_egress_init_main_conf(ngx_conf_t *cf, void *conf);
static void *ngx_http_pay_egress_create_loc_conf(ngx_conf_t *cf);
static ngx_int_t ngx_http_pay_egress_init(ngx_conf_t *cf);


static ngx_conf_num_bounds_t  ngx_http_pay_egress_attempts_bounds = {
    ngx_conf_check_num_bounds, NGX_HTTP_PAY_ATTEMPTS_MIN, 67108864
};


static ngx_command_t  ngx_http_pay_egress_commands[] = {

    { ngx_string("pay_egress"),
      NGX_HTTP_LOC_CONF|NGX_CONF_FLAG,
      ngx_http_pay_egress_directive,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("pay_attempts"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_num_slot,
      NGX_HTTP_MAIN_CONF_OFFSET,
      offsetof(ngx_http_pay_egress_main_conf_t, count),
      &ngx_http_pay_egress_attempts_bounds },

      ngx_null_command
};


static ngx_http_module_t  ngx_http_pay_egress_module_ctx = {
    ngx_http_pay_egress_add_variables,     /* preconfiguration */
    ngx_http_pay_egress_init,              /* postconfiguration */

    ngx_http_pay_egress_create_main_conf,  /* create main configuration */
    ngx_http_pay_egress_init_main_conf,    /* init main configuration */

    NULL,                                  /* create server configuration */
    NULL,                                  /* merge server configuration */

    ngx_http_pay_egress_create_loc_conf,   /* create location configuration */
    ngx_http_pay_egress_merge_loc_conf     /* merge location configuration */
};


ngx_module_t  ngx_http_pay_egress_module = {
    NGX_MODULE_V1,
    &ngx_http_pay_egress_module_ctx,       /* module context */
    ngx_http_pay_egress_commands,          /* module directives */
    NGX_HTTP_MODULE,                       /* module type */
    NULL,                                  /* init master */
    NULL,                                  /* init module */
    NULL,                                  /* init process */
    NULL,                                  /* init thread */
    NULL,                                  /* exit thread */
    NULL,                                  /* exit process */
    NULL,                                  /* exit master */
    NGX_MODULE_V1_PADDING
};


static ngx_int_t
ngx_http_pay_egress_handler(ngx_http_request_t *r)
{
    ngx_int_t                        rc;
    ngx_http_pay_egress_ctx_t       *ctx;
    ngx_http_pay_egress_loc_conf_t  *elcf;

    elcf = ngx_http_get_module_loc_conf(r, ngx_http_pay_egress_module);

    if (!elcf->enable) {
        return NGX_DECLINED;
    }

    if (r != r->main) {
        return NGX_HTTP_FORBIDDEN;
    }

    ctx = ngx_http_pay_egress_get_ctx(r);

    if (ctx == NULL) {
        ctx = ngx_http_pay_egress_create_ctx(r);
        if (ctx == NULL) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }

    } else if (ctx->admitted) {

        /* redirected back after it was passed on: never twice */

        return NGX_HTTP_INTERNAL_SERVER_ERROR;

    } else if ((ctx->wait && ctx->wait->waiting)
               || (ctx->pause && ctx->pause->timer_set))
    {

        /* a write event meanwhile */

        return NGX_AGAIN;
    }

    if (!ctx->body_read) {
        rc = ngx_http_pay_egress_read_body(r, ctx);

        if (rc != NGX_OK) {
            return rc;
        }
    }

    return ngx_http_pay_egress_check(r, ctx);
}


/*
 * The body comes first: a place in the channel is not held while a worker
 * sends slowly, and what is checked is passed on at once.
 */

static ngx_int_t
ngx_http_pay_egress_read_body(ngx_http_request_t *r,
    ngx_http_pay_egress_ctx_t *ctx)
{
    ngx_int_t  rc;

    ctx->in_handler = 1;

    rc = ngx_http_read_client_request_body(r,
                                           ngx_http_pay_egress_body_handler);
    ctx->in_handler = 0;

    if (rc >= NGX_HTTP_SPECIAL_RESPONSE) {
        return rc;
    }

    ngx_http_finalize_request(r, NGX_DONE);

    return ctx->body_read ? NGX_OK : NGX_DONE;
}


static void
ngx_http_pay_egress_body_handler(ngx_http_request_t *r)
{
    ngx_http_pay_egress_ctx_t  *ctx;

    ctx = ngx_http_pay_egress_get_ctx(r);

    ctx->body_read = 1;
    r->preserve_body = 1;
    r->write_event_handler = ngx_http_core_run_phases;

    if (!ctx->in_handler) {
        ngx_http_core_run_phases(r);
    }
}


/*
 * An attempt that was passed on before is found first: no later reason may
 * call it "not sent".
 */

static ngx_int_t
ngx_http_pay_egress_check(ngx_http_request_t *r,
    ngx_http_pay_egress_ctx_t *ctx)
{
    ngx_int_t                          rc;
    ngx_uint_t                         state;
    ngx_http_pay_channel_t            *ch;
    ngx_http_pay_channel_main_conf_t  *cmcf;

    ch = ctx->channel;
    cmcf = ctx->main->channels;

    if (ctx->attempt && !ctx->recorded
        && ngx_http_pay_attempts_seen(ctx->main->attempts, ctx->attempt))
    {
        ctx->seen = 1;
        return ngx_http_pay_egress_refuse(r, ctx, NGX_HTTP_PAY_REFUSED_SEEN);
    }

    if (ctx->invalid) {
        return ngx_http_pay_egress_refuse(r, ctx,
                                          NGX_HTTP_PAY_REFUSED_INVALID);
    }

    if (ch == NULL) {
        return ngx_http_pay_egress_refuse(r, ctx,
                                          NGX_HTTP_PAY_REFUSED_UNKNOWN);
    }

    state = ngx_http_pay_channel_state(cmcf, ch);

    if (state == NGX_HTTP_PAY_STATE_BLOCK
        || (state != NGX_HTTP_PAY_STATE_ON
            && ctx->kind == NGX_HTTP_PAY_KIND_PAY))
    {
        return ngx_http_pay_egress_refuse(r, ctx, NGX_HTTP_PAY_REFUSED_OFF);
    }

    rc = ngx_http_pay_resolve(r, ctx);

    if (rc == NGX_AGAIN) {
        return NGX_AGAIN;
    }

    if (rc != NGX_OK) {
        ctx->begun = ngx_current_msec;
        ngx_http_pay_egress_judge(ctx, 1);

        return ngx_http_pay_egress_refuse(r, ctx,
                                          NGX_HTTP_PAY_REFUSED_UNRESOLVED);
    }

    if (clock_read_boot_us() >= ctx->send_before
        || (ctx->gave_up && ctx->pressed))
    {
        return ngx_http_pay_egress_refuse(r, ctx, NGX_HTTP_PAY_REFUSED_LATE);
    }

    if (ctx->gave_up) {
        return ngx_http_pay_egress_refuse(r, ctx, NGX_HTTP_PAY_REFUSED_BUSY);
    }

    return ngx_http_pay_egress_admit(r, ctx);
}


static ngx_int_t
ngx_http_pay_egress_admit(ngx_http_request_t *r,
    ngx_http_pay_egress_ctx_t *ctx)
{
    ngx_int_t                          rc;
    ngx_uint_t                         reason;
    ngx_http_pay_channel_row_t        *row;
    ngx_http_pay_channel_main_conf_t  *cmcf;

    cmcf = ctx->main->channels;

    /*
     * Recorded first and forgotten again if there is no room: of two arrivals
     * of one attempt none may be called "not sent" while the other goes on, or
     * waits.
     */

    if (!ctx->recorded) {
        rc = ngx_http_pay_attempts_record(ctx->main->attempts, ctx->attempt);

        if (rc == NGX_DECLINED) {
            ctx->seen = 1;
            return ngx_http_pay_egress_refuse(r, ctx,
                                              NGX_HTTP_PAY_REFUSED_SEEN);
        }

        if (rc == NGX_BUSY) {
            ngx_log_error(NGX_LOG_CRIT, r->connection->log, 0,
                          "no place for attempt %uL, "
                          "\"pay_attempts\" is too small", ctx->attempt);

            return ngx_http_pay_egress_refuse(r, ctx,
                                              NGX_HTTP_PAY_REFUSED_BUSY);
        }

        ctx->recorded = 1;
    }

    rc = ngx_http_pay_egress_place(r, ctx, &reason);

    if (rc == NGX_AGAIN) {
        return NGX_AGAIN;
    }

    if (rc != NGX_OK) {
        return ngx_http_pay_egress_refuse(r, ctx, reason);
    }

    ctx->admitted = 1;
    ctx->begun = ngx_current_msec;

    row = ngx_http_pay_channel_row(cmcf, ctx->channel);
    (void) ngx_atomic_fetch_add(&row->calls[ctx->kind], 1);

    if (ngx_http_pay_egress_strip(r) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return NGX_DECLINED;
}


static ngx_http_pay_egress_ctx_t *
ngx_http_pay_egress_create_ctx(ngx_http_request_t *r)
{
    ngx_pool_cleanup_t         *cln;
    ngx_http_pay_egress_ctx_t  *ctx;

    cln = ngx_pool_cleanup_add(r->pool, sizeof(ngx_http_pay_egress_ctx_t));
    if (cln == NULL) {
        return NULL;
    }

    ctx = cln->data;
    ngx_memzero(ctx, sizeof(ngx_http_pay_egress_ctx_t));

    ctx->request = r;
    ctx->main = ngx_http_get_module_main_conf(r, ngx_http_pay_egress_module);

    cln->handler = ngx_http_pay_egress_cleanup;

    ngx_http_set_ctx(r, ctx, ngx_http_pay_egress_module);

    ngx_http_pay_egress_read_headers(r, ctx);

    return ctx;
}


ngx_http_pay_egress_ctx_t *
ngx_http_pay_egress_get_ctx(ngx_http_request_t *r)
{
    ngx_pool_cleanup_t         *cln;
    ngx_http_pay_egress_ctx_t  *ctx;

    ctx = ngx_http_get_module_ctx(r, ngx_http_pay_egress_module);

    if (ctx || !(r->internal || r->filter_finalize)) {
        return ctx;
    }

    /* an internal redirect has zeroed the request's contexts */

    for (cln = r->pool->cleanup; cln; cln = cln->next) {
        if (cln->handler == ngx_http_pay_egress_cleanup) {
            ctx = cln->data;
            ngx_http_set_ctx(r, ctx, ngx_http_pay_egress_module);
            break;
        }
    }

    return ctx;
}


/* the request ends, in whatever way */

static void
ngx_http_pay_egress_cleanup(void *data)
{
    ngx_http_pay_egress_ctx_t  *ctx = data;

    ngx_http_pay_resolve_cancel(ctx);

    if (ctx->admitted) {
        ngx_http_pay_egress_release(ctx);
        ngx_http_pay_egress_count(ctx);

    } else {
        ngx_http_pay_egress_leave(ctx);
    }
}


static void *
ngx_http_pay_egress_create_main_conf(ngx_conf_t *cf)
{
    ngx_http_pay_egress_main_conf_t  *emcf;

    emcf = ngx_pcalloc(cf->pool, sizeof(ngx_http_pay_egress_main_conf_t));
    if (emcf == NULL) {
        return NULL;
    }

    emcf->count = NGX_CONF_UNSET_UINT;

    return emcf;
}


static char *
ngx_http_pay_egress_init_main_conf(ngx_conf_t *cf, void *conf)
{
    ngx_http_pay_egress_main_conf_t  *emcf = conf;

    ngx_conf_init_uint_value(emcf->count, NGX_HTTP_PAY_ATTEMPTS_DEFAULT);

    emcf->channels = ngx_http_conf_get_module_main_conf(cf,
                                                 ngx_http_pay_channel_module);

    return NGX_CONF_OK;
}


static void *
ngx_http_pay_egress_create_loc_conf(ngx_conf_t *cf)
{
    ngx_http_pay_egress_loc_conf_t  *elcf;

    elcf = ngx_pcalloc(cf->pool, sizeof(ngx_http_pay_egress_loc_conf_t));
    if (elcf == NULL) {
        return NULL;
    }

    elcf->enable = NGX_CONF_UNSET;

    return elcf;
}


static ngx_int_t
ngx_http_pay_egress_init(ngx_conf_t *cf)
{
    ngx_http_pay_egress_main_conf_t  *emcf;

    emcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_pay_egress_module);

    if (emcf->upstream == NULL) {
        return NGX_OK;
    }

    emcf->attempts = ngx_http_pay_attempts_add(cf, emcf->count,
                                               &ngx_http_pay_egress_module);
    if (emcf->attempts == NULL) {
        return NGX_ERROR;
    }

    if (ngx_http_pay_conf_handler(cf, NGX_HTTP_PRECONTENT_PHASE,
                                  ngx_http_pay_egress_handler)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    ngx_http_pay_egress_add_filter();

    return NGX_OK;
}
