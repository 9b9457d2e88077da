/*
 * Replays and rates: one script in Redis judges nonce and limit of an app in a
 * single round trip, and writes only when both pass, so that a request refused
 * by the limit burns no nonce.  When Redis is slow or gone the node judges by
 * itself (fallback=open), or nothing passes (fallback=closed).
 */

#include "ngx_http_pay_guard.h"
#include "ngx_pay_keys.h"
#include "ngx_pay_nonce.h"


static void ngx_http_pay_guard_redis_done(void *data, ngx_int_t rc,
    int64_t value);

static void *ngx_http_pay_guard_create_main_conf(ngx_conf_t *cf);
static char *ngx_http_pay_guard_init_main_conf(ngx_conf_t *cf, void *conf);
static void *ngx_http_pay_guard_create_loc_conf(ngx_conf_t *cf);
static char *ngx_http_pay_guard_merge_loc_conf(ngx_conf_t *cf, void *parent,
    void *child);
static ngx_int_t ngx_http_pay_guard_init_process(ngx_cycle_t *cycle);
static void ngx_http_pay_guard_exit_process(ngx_cycle_t *cycle);


/*
 * KEYS: nonce, limit.  ARGV: nonce's life in ms, us per request (0: no limit),
 * us a burst may run ahead (GCRA).  The answer is one integer, which costs the
 * client least: code (0 pass, 1 replay, 2 over the limit) + 4 * seconds +
 * 2^22 * remaining.
 */

static const char  ngx_http_pay_guard_script[] =
    "local t = redis.call('TIME')\n"
    "local now = t[1] * 1000000 + t[2]\n"
    "local step = tonumber(ARGV[2])\n"
    "local room = tonumber(ARGV[3])\n"
    "local tat = now\n"
    "if step > 0 then\n"
    "  tat = tonumber(redis.call('GET', KEYS[2]) or now)\n"
    "  if tat < now then tat = now end\n"
    "  if tat - now > room then\n"
    "    return 2 + 4 * math.ceil((tat - now - room) / 1000000)\n"
    "  end\n"
    "end\n"
    "if not redis.call('SET', KEYS[1], '', 'NX', 'PX', ARGV[1]) then\n"
    "  return 1\n"
    "end\n"
    "if step == 0 then return 0 end\n"
    "local ahead = tat + step - now\n"
    "redis.call('SET', KEYS[2], string.format('%.0f', tat + step),\n"
    "           'PX', math.ceil(ahead / 1000) + 1)\n"
    "local left = 0\n"
    "if ahead <= room then left = math.floor((room - ahead) / step) + 1 end\n"
    "return 4 * math.ceil(ahead / 1000000) + 4194304 * left\n";


static ngx_command_t  ngx_http_pay_guard_commands[] = {

    { ngx_string("pay_redis"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_1MORE,
      ngx_http_pay_guard_set_redis,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("pay_guard"),
      NGX_HTTP_LOC_CONF|NGX_CONF_1MORE,
      ngx_http_pay_guard_set,
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


time_t
ngx_http_pay_guard_window(ngx_http_request_t *r)
{
    ngx_http_pay_guard_loc_conf_t  *glcf;

    glcf = ngx_http_get_module_loc_conf(r, ngx_http_pay_guard_module);

    return glcf->window;
}


static void
ngx_http_pay_guard_fill(ngx_http_pay_ctx_t *ctx,
    ngx_http_pay_guard_loc_conf_t *glcf, ngx_pay_nonce_t *n)
{
    ngx_uint_t  rate, burst;

    rate = ctx->key->rate ? ctx->key->rate : glcf->rate;
    burst = ctx->key->rate ? ctx->key->burst : glcf->burst;

    n->mchid = ngx_pay_slice(ctx->mchid);
    n->app = ngx_pay_slice(ctx->app);
    n->nonce = ctx->auth.nonce_str;
    n->timestamp = (time_t) ctx->auth.timestamp_s;
    n->window = glcf->window;
    n->step = rate ? 1000000 / rate : 0;
    n->room = n->step * burst;

    ctx->policy = ctx->key->rate ? &ctx->key->policy : &glcf->policy;
}


static void
ngx_http_pay_guard_cleanup(void *data)
{
    ngx_http_pay_ctx_t  *ctx = data;

    ngx_pay_redis_cancel(ctx->op);
    ctx->op = NULL;
}


/* NGX_AGAIN: asked.  NGX_DECLINED: Redis cannot be asked. */

static ngx_int_t
ngx_http_pay_guard_ask(ngx_http_request_t *r, ngx_http_pay_ctx_t *ctx,
    ngx_http_pay_guard_loc_conf_t *glcf, ngx_pay_nonce_t *n)
{
    u_char              *p;
    ngx_str_t            args[5];
    ngx_http_cleanup_t  *cln;
    u_char               buf[NGX_PAY_REDIS_CMD_MAX];

    if (n->mchid.n + n->app.n + n->nonce.n > NGX_PAY_REDIS_CMD_MAX / 4) {
        return NGX_DECLINED;
    }

    /* {mchid}nAPP:NONCE and {mchid}gAPP: one hash slot per merchant */

    args[0].data = buf;
    p = ngx_sprintf(buf, "{%V}n%V:%*s", &ctx->mchid, &ctx->app,
                    n->nonce.n, n->nonce.p);
    args[0].len = p - args[0].data;

    args[1].data = p;
    p = ngx_sprintf(p, "{%V}g%V", &ctx->mchid, &ctx->app);
    args[1].len = p - args[1].data;

    args[2].data = p;
    p = ngx_sprintf(p, "%M", glcf->nonce);
    args[2].len = p - args[2].data;

    args[3].data = p;
    p = ngx_sprintf(p, "%L", n->step);
    args[3].len = p - args[3].data;

    args[4].data = p;
    p = ngx_sprintf(p, "%L", n->room);
    args[4].len = p - args[4].data;

    if (ctx->cln == NULL) {
        cln = ngx_http_cleanup_add(r, 0);
        if (cln == NULL) {
            return NGX_ERROR;
        }

        cln->data = ctx;
        ctx->cln = cln;
    }

    ctx->op = ngx_pay_redis_eval(args, 5, 2, ngx_http_pay_guard_redis_done, r);
    if (ctx->op == NULL) {
        return NGX_DECLINED;
    }

    ctx->cln->handler = ngx_http_pay_guard_cleanup;

    return NGX_AGAIN;
}


static void
ngx_http_pay_guard_redis_done(void *data, ngx_int_t rc, int64_t value)
{
    ngx_http_request_t  *r = data;

    ngx_http_pay_ctx_t  *ctx;

    ctx = ngx_http_pay_get_ctx(r);

    ctx->op = NULL;
    ctx->cln->handler = NULL;
    ctx->answered = 1;
    ctx->rc = rc;
    ctx->value = value;

    ngx_http_pay_resume(r);
}


static ngx_int_t
ngx_http_pay_guard_limited(ngx_http_request_t *r, ngx_http_pay_ctx_t *ctx)
{
    ngx_str_t  name, value;

    ngx_str_set(&name, "Retry-After");

    value.data = ngx_pnalloc(r->pool, NGX_INT_T_LEN);
    if (value.data == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    value.len = ngx_sprintf(value.data, "%ui", ctx->reset) - value.data;

    if (ngx_http_pay_add_header(r, name, value) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return ngx_http_pay_refuse(r, PROBLEM_RATE_LIMITED, NULL, NULL);
}


static ngx_int_t
ngx_http_pay_guard_verdict(ngx_http_request_t *r, ngx_http_pay_ctx_t *ctx,
    ngx_pay_nonce_t *n, ngx_int_t rc)
{
    ctx->limited = n->step != 0;

    switch (rc) {

    case NGX_OK:
        ctx->guarded = 1;
        return NGX_OK;

    case NGX_BUSY:
        return ngx_http_pay_guard_limited(r, ctx);

    default: /* NGX_DECLINED */
        ctx->limited = 0;
        return ngx_http_pay_refuse(r, PROBLEM_NONCE_REPLAYED, NULL, NULL);
    }
}


static ngx_int_t
ngx_http_pay_guard_fallback(ngx_http_request_t *r, ngx_http_pay_ctx_t *ctx,
    ngx_http_pay_guard_loc_conf_t *glcf, ngx_pay_nonce_t *n)
{
    ngx_int_t        rc;
    ngx_pay_limit_t  limit;

    ctx->fallback = 1;
    ngx_http_pay_count(fallbacks);

    if (glcf->closed) {
        return ngx_http_pay_refuse(r, PROBLEM_RETRY_SAME_NUMBER,
                                   "replays cannot be told now", NULL);
    }

    rc = ngx_pay_nonce_judge(n, &limit);

    ctx->remaining = limit.remaining;
    ctx->reset = limit.reset;

    return ngx_http_pay_guard_verdict(r, ctx, n, rc);
}


ngx_int_t
ngx_http_pay_guard_request(ngx_http_request_t *r)
{
    ngx_int_t                       rc;
    ngx_pay_nonce_t                 n;
    ngx_http_pay_ctx_t             *ctx;
    ngx_http_pay_guard_loc_conf_t  *glcf;

    ctx = ngx_http_pay_get_ctx(r);
    glcf = ngx_http_get_module_loc_conf(r, ngx_http_pay_guard_module);

    if (!glcf->enable || ctx->guarded) {
        return NGX_OK;
    }

    if (ctx->op) {
        /* called by a write event while Redis is awaited */
        return NGX_DONE;
    }

    ngx_http_pay_guard_fill(ctx, glcf, &n);

    if (!ctx->answered) {
        rc = ngx_http_pay_guard_ask(r, ctx, glcf, &n);

        if (rc == NGX_AGAIN) {
            return NGX_AGAIN;
        }

        if (rc == NGX_ERROR) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }

        return ngx_http_pay_guard_fallback(r, ctx, glcf, &n);
    }

    if (ctx->rc != NGX_OK) {
        return ngx_http_pay_guard_fallback(r, ctx, glcf, &n);
    }

    ctx->reset = (ctx->value >> 2) & 0xfffff;
    ctx->remaining = ctx->value >> 22;

    switch (ctx->value & 3) {

    case 0:
        /* this node may have seen it while Redis was away */
        rc = ngx_pay_nonce_remember(&n);
        break;

    case 1:
        rc = NGX_DECLINED;
        break;

    default:
        rc = NGX_BUSY;
    }

    return ngx_http_pay_guard_verdict(r, ctx, &n, rc);
}


static void *
ngx_http_pay_guard_create_main_conf(ngx_conf_t *cf)
{
    return ngx_pcalloc(cf->pool, sizeof(ngx_http_pay_guard_main_conf_t));
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

    ngx_http_pay_loc_conf_t  *plcf;

    if (conf->enable == NGX_CONF_UNSET) {
        *conf = *prev;
    }

    if (conf->enable == NGX_CONF_UNSET) {
        conf->enable = 0;
    }

    if (conf->window == 0) {
        conf->window = NGX_HTTP_PAY_WINDOW;
    }

    plcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_pay_core_module);

    if (conf->enable && !plcf->sign) {
        return ngx_http_pay_conf_error(cf, &conf->at,
                                       "\"pay_guard\" needs \"pay_sign on\",");
    }

    return NGX_CONF_OK;
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

    return ngx_pay_redis_start(cycle, gmcf->redis, ngx_http_pay_guard_script);
}


static void
ngx_http_pay_guard_exit_process(ngx_cycle_t *cycle)
{
    ngx_pay_redis_stop();
}
