/*
 * Replays and rates: scripts in Redis judge the nonce and all limits of a
 * request in a single round trip, one script per hash tag, so that it works
 * with a cluster behind one address, too.
 *
 * A script checks everything of its tag before it writes.  When one tag refuses
 * and others have passed, what those wrote is taken back (without waiting), so
 * that a request refused by a limit is not counted and burns no nonce.
 *
 * When Redis is slow or gone the node judges by itself (fallback=open), or
 * nothing passes (fallback=closed).
 */

#include "ngx_http_pay_guard.h"

#include "ngx_pay_module/keys/ngx_pay_keys.h"
#include "ngx_pay_module/local/ngx_pay_nonce.h"
#include "ngx_pay_module/request/ngx_pay_text.h"


/* fields of a script's answer */
#define ngx_http_pay_guard_code(v)       ((v) & 3)
#define ngx_http_pay_guard_seconds(v)    (((v) >> 2) & 0xfffff)
#define ngx_http_pay_guard_which(v)      (((v) >> 22) & 0x1f)
#define ngx_http_pay_guard_remaining(v)  ((v) >> 27)

#define NGX_HTTP_PAY_GUARD_ALL           (~(ngx_uint_t) 0)


/* what all tags together say: ctx->value has it while the request resumes */

typedef struct {
    ngx_uint_t           code;
    ngx_uint_t           command;       /* whose answer counts */
    ngx_uint_t           which;
    ngx_uint_t           seconds;
    ngx_uint_t           remaining;
    ngx_uint_t           passed;        /* bit per command */
} ngx_http_pay_guard_word_t;


static ngx_http_pay_guard_word_t  ngx_http_pay_guard_word;


static void
ngx_http_pay_guard_nonce_of(ngx_http_pay_ctx_t *ctx,
    ngx_http_pay_guard_loc_conf_t *glcf, ngx_pay_nonce_t *n)
{
    n->mchid = ngx_pay_slice(ctx->mchid);
    n->app = ngx_pay_slice(ctx->app);
    n->nonce = ctx->auth.nonce_str;
    n->timestamp = (time_t) ctx->auth.timestamp_s;
    n->window = glcf->window;
}


static void
ngx_http_pay_guard_cleanup(void *data)
{
    ngx_http_pay_ctx_t  *ctx = data;

    ngx_pay_redis_cancel(ctx->op);
    ctx->op = NULL;
}


static void
ngx_http_pay_guard_reduce(int64_t *values, ngx_uint_t n,
    ngx_http_pay_guard_word_t *word)
{
    ngx_uint_t  i, code, remaining;

    ngx_memzero(word, sizeof(ngx_http_pay_guard_word_t));

    for (i = 0; i < n; i++) {
        code = ngx_http_pay_guard_code(values[i]);
        remaining = ngx_http_pay_guard_remaining(values[i]);

        if (code == 0) {
            word->passed |= (ngx_uint_t) 1 << i;
        }

        /* the first refusal, else the tightest */

        if (i == 0 || (word->code == 0
                       && (code != 0 || remaining < word->remaining)))
        {
            word->code = code;
            word->command = i;
            word->which = ngx_http_pay_guard_which(values[i]);
            word->seconds = ngx_http_pay_guard_seconds(values[i]);
            word->remaining = remaining;
        }
    }
}


static void
ngx_http_pay_guard_redis_done(void *data, ngx_int_t rc, int64_t *values)
{
    ngx_http_request_t  *r = data;

    ngx_http_pay_ctx_t  *ctx;

    ctx = ngx_http_pay_get_ctx(r);

    ctx->op = NULL;
    ctx->cln->handler = NULL;
    ctx->answered = 1;
    ctx->rc = rc;

    if (rc == NGX_OK) {
        /* read by ngx_http_pay_guard_request before this function returns */
        ngx_http_pay_guard_reduce(values, ctx->value, &ngx_http_pay_guard_word);
    }

    ngx_http_pay_resume(r);
}


/* NGX_AGAIN: asked.  NGX_DECLINED: Redis cannot be asked. */

static ngx_int_t
ngx_http_pay_guard_ask(ngx_http_request_t *r, ngx_http_pay_ctx_t *ctx,
    ngx_http_pay_guard_loc_conf_t *glcf, ngx_http_pay_guard_set_t *set)
{
    ngx_http_cleanup_t   *cln;
    ngx_pay_redis_ask_t   ask;

    if (ctx->cln == NULL) {
        cln = ngx_http_cleanup_add(r, 0);
        if (cln == NULL) {
            return NGX_ERROR;
        }

        cln->data = ctx;
        ctx->cln = cln;
    }

    ngx_http_pay_guard_write(ctx, glcf, set, NGX_HTTP_PAY_GUARD_ASK,
                             NGX_HTTP_PAY_GUARD_ALL, &ask);

    ctx->op = ngx_pay_redis_eval(&ask, ngx_http_pay_guard_redis_done, r);
    if (ctx->op == NULL) {
        return NGX_DECLINED;
    }

    ctx->value = ask.n;
    ctx->cln->handler = ngx_http_pay_guard_cleanup;

    return NGX_AGAIN;
}


static ngx_int_t
ngx_http_pay_guard_limited(ngx_http_request_t *r, ngx_http_pay_ctx_t *ctx,
    ngx_pay_limit_t *limit)
{
    ngx_str_t  name, value;

    ngx_http_pay_count(limited[limit->kind]);

    ngx_str_set(&name, "Retry-After");

    value.data = ngx_pnalloc(r->pool, NGX_INT_T_LEN);
    if (value.data == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    value.len = ngx_sprintf(value.data, "%ui", ngx_max(ctx->reset, 1))
                - value.data;

    if (ngx_http_pay_add_header(r, name, value) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return ngx_http_pay_refuse(r, PROBLEM_RATE_LIMITED,
                               (char *) limit->name.data, NULL);
}


/* the location's policies, unless the key record has some in their place */

static ngx_int_t
ngx_http_pay_guard_policy(ngx_http_request_t *r, ngx_http_pay_ctx_t *ctx,
    ngx_http_pay_guard_loc_conf_t *glcf, ngx_http_pay_guard_set_t *set)
{
    u_char      *p;
    ngx_uint_t   i;

    if (set->own == 0) {
        ctx->policy = glcf->policy;
        return NGX_OK;
    }

    p = ngx_pnalloc(r->pool, set->n * (NGX_PAY_LIMIT_POLICY_MAX + 2));
    if (p == NULL) {
        return NGX_ERROR;
    }

    ctx->policy.data = p;

    for (i = 0; i < set->n; i++) {
        p = ngx_sprintf(p, "%s%V", i ? ", " : "",
                        &set->use[i].limit->policy);
    }

    ctx->policy.len = p - ctx->policy.data;

    return NGX_OK;
}


static ngx_int_t
ngx_http_pay_guard_verdict(ngx_http_request_t *r, ngx_http_pay_ctx_t *ctx,
    ngx_http_pay_guard_loc_conf_t *glcf, ngx_http_pay_guard_set_t *set,
    ngx_int_t rc, ngx_uint_t which)
{
    if (rc != NGX_OK && rc != NGX_BUSY) {
        return ngx_http_pay_refuse(r, PROBLEM_NONCE_REPLAYED, NULL, NULL);
    }

    if (set->n) {
        if (ngx_http_pay_guard_policy(r, ctx, glcf, set) != NGX_OK) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }

        ctx->limit = &set->use[which].limit->name;
        ctx->limited = 1;
    }

    if (rc == NGX_BUSY) {
        return ngx_http_pay_guard_limited(r, ctx, set->use[which].limit);
    }

    ctx->guarded = 1;

    return NGX_OK;
}


static ngx_int_t
ngx_http_pay_guard_fallback(ngx_http_request_t *r, ngx_http_pay_ctx_t *ctx,
    ngx_http_pay_guard_loc_conf_t *glcf, ngx_http_pay_guard_set_t *set)
{
    ngx_int_t             rc;
    ngx_pay_nonce_t       nonce;
    ngx_pay_limit_left_t  left;

    ctx->fallback = 1;
    ngx_http_pay_count(fallbacks);

    if (glcf->closed) {
        return ngx_http_pay_refuse(r, PROBLEM_RETRY_SAME_NUMBER,
                                   "replays cannot be told now", NULL);
    }

    ngx_http_pay_guard_nonce_of(ctx, glcf, &nonce);
    ngx_http_pay_guard_who(ctx, set);

    rc = ngx_pay_nonce_judge(&nonce, set->use, set->n, &left);

    ctx->remaining = left.remaining;
    ctx->reset = left.reset;

    return ngx_http_pay_guard_verdict(r, ctx, glcf, set, rc, left.which);
}


/* another tag refused: what passed was not to be counted */

static void
ngx_http_pay_guard_undo(ngx_http_pay_ctx_t *ctx,
    ngx_http_pay_guard_loc_conf_t *glcf, ngx_http_pay_guard_set_t *set,
    ngx_uint_t passed)
{
    ngx_pay_redis_ask_t  ask;

    if (passed == 0) {
        return;
    }

    ngx_http_pay_guard_write(ctx, glcf, set, NGX_HTTP_PAY_GUARD_UNDO, passed,
                             &ask);
    ngx_pay_redis_tell(&ask);
    ngx_http_pay_count(undone);
}


static ngx_int_t
ngx_http_pay_guard_answer(ngx_http_request_t *r, ngx_http_pay_ctx_t *ctx,
    ngx_http_pay_guard_loc_conf_t *glcf, ngx_http_pay_guard_set_t *set)
{
    ngx_int_t                   rc;
    ngx_uint_t                  i, which;
    ngx_pay_nonce_t             nonce;
    ngx_http_pay_guard_word_t  *word;

    word = &ngx_http_pay_guard_word;

    ctx->reset = word->seconds;
    ctx->remaining = word->remaining;

    /* the script counts within its tag */

    which = 0;

    for (i = 0; i < word->command; which++) {
        if (which + 1 == set->n || set->tag[which + 1] != set->tag[which]) {
            i++;
        }
    }

    which += word->which;

    switch (word->code) {

    case 0:
        /* this node may have seen it while Redis was away */
        ngx_http_pay_guard_nonce_of(ctx, glcf, &nonce);
        rc = ngx_pay_nonce_remember(&nonce);
        break;

    case 1:
        rc = NGX_DECLINED;
        break;

    default:
        rc = NGX_BUSY;
    }

    if (word->code) {
        ngx_http_pay_guard_undo(ctx, glcf, set, word->passed);
    }

    return ngx_http_pay_guard_verdict(r, ctx, glcf, set, rc, which);
}


ngx_int_t
ngx_http_pay_guard_request(ngx_http_request_t *r)
{
    ngx_int_t                       rc;
    ngx_http_pay_ctx_t             *ctx;
    ngx_http_pay_guard_set_t        set;
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

    if (ngx_http_pay_guard_collect(r, ctx, glcf, &set) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (ctx->answered) {
        return ctx->rc == NGX_OK ? ngx_http_pay_guard_answer(r, ctx, glcf, &set)
                                 : ngx_http_pay_guard_fallback(r, ctx, glcf,
                                                               &set);
    }

    rc = ngx_http_pay_guard_ask(r, ctx, glcf, &set);

    if (rc == NGX_DECLINED) {
        return ngx_http_pay_guard_fallback(r, ctx, glcf, &set);
    }

    return rc == NGX_AGAIN ? NGX_AGAIN : NGX_HTTP_INTERNAL_SERVER_ERROR;
}


time_t
ngx_http_pay_guard_window(ngx_http_request_t *r)
{
    ngx_http_pay_guard_loc_conf_t  *glcf;

    glcf = ngx_http_get_module_loc_conf(r, ngx_http_pay_guard_module);

    return glcf->window;
}


size_t
ngx_http_pay_guard_told_len(ngx_http_pay_ctx_t *ctx)
{
    return sizeof(" guard=local:error limit= left=") - 1 + NGX_INT_T_LEN
           + (ctx->limited ? ctx->limit->len : 0);
}


/* for the trace: with a word why Redis has not judged */

u_char *
ngx_http_pay_guard_told(ngx_http_pay_ctx_t *ctx, u_char *p)
{
    const char  *by;

    if (!ctx->guarded) {
        by = "off";

    } else if (!ctx->fallback) {
        by = "redis";

    } else if (!ctx->answered) {
        by = "local:away";

    } else {
        by = ctx->rc == NGX_BUSY ? "local:late" : "local:error";
    }

    p = ngx_pay_put(p, " guard=");
    p = ngx_pay_put(p, by);

    if (ctx->limited) {
        p = ngx_pay_put(p, " limit=");
        p = ngx_pay_put_str(p, ctx->limit);
        p = ngx_pay_put(p, " left=");
        p = ngx_pay_put_number(p, ctx->remaining);
    }

    return p;
}
