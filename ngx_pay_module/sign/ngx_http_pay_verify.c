/*
 * pay_sign: is this request genuine, whose is it, and is it well-formed?
 *
 * The steps go from cheap to expensive, and nothing is read, asked or written
 * for a request that an earlier one has refused.  A request may wait twice
 * here, for its key and for its body; ctx->state says where it goes on.  The
 * body comes after the key, but for parameters that stand in it.
 */

#include "ngx_http_pay_claim.h"

#include "ngx_pay_module/keys/ngx_pay_keys.h"

#include "core/ids.h"


enum {
    NGX_HTTP_PAY_START = 0,
    NGX_HTTP_PAY_KEY,           /* look for the key */
    NGX_HTTP_PAY_KEY_WAIT,
    NGX_HTTP_PAY_KEY_FOUND,     /* ctx->rc says what came */
    NGX_HTTP_PAY_BODY,          /* reading it */
    NGX_HTTP_PAY_DONE
};


#define NGX_HTTP_PAY_SORTED_ROOM  4096


static ngx_int_t ngx_http_pay_sign_head(ngx_http_request_t *r,
    ngx_http_pay_ctx_t *ctx);
static ngx_int_t ngx_http_pay_sign_fresh(ngx_http_request_t *r,
    ngx_http_pay_ctx_t *ctx);
static ngx_int_t ngx_http_pay_sign_find_key(ngx_http_request_t *r,
    ngx_http_pay_ctx_t *ctx);
static ngx_int_t ngx_http_pay_sign_check_key(ngx_http_request_t *r,
    ngx_http_pay_ctx_t *ctx);
static ngx_int_t ngx_http_pay_sign_body(ngx_http_request_t *r,
    ngx_http_pay_ctx_t *ctx);
static ngx_int_t ngx_http_pay_sign_verify(ngx_http_request_t *r,
    ngx_http_pay_ctx_t *ctx);
static ngx_int_t ngx_http_pay_sign_content(ngx_http_request_t *r,
    ngx_http_pay_ctx_t *ctx);

ngx_int_t
ngx_http_pay_sign_request(ngx_http_request_t *r)
{
    ngx_int_t            rc;
    ngx_http_pay_ctx_t  *ctx;

    ctx = ngx_http_pay_get_ctx(r);

    if (ctx == NULL) {
        ctx = ngx_http_pay_create_ctx(r);
        if (ctx == NULL) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }

        ngx_http_pay_count(requests);
    }

    for ( ;; ) {

        switch (ctx->state) {

        case NGX_HTTP_PAY_START:
            rc = ngx_http_pay_sign_head(r, ctx);
            break;

        case NGX_HTTP_PAY_KEY:
            rc = ngx_http_pay_sign_find_key(r, ctx);
            break;

        case NGX_HTTP_PAY_KEY_FOUND:
            rc = ngx_http_pay_sign_check_key(r, ctx);
            break;

        case NGX_HTTP_PAY_BODY:
            if (!ctx->body_read) {
                rc = ngx_http_pay_body_read(r, ctx);

                if (rc >= NGX_HTTP_SPECIAL_RESPONSE) {
                    ctx->state = NGX_HTTP_PAY_DONE;
                }

                break;
            }

            rc = ngx_http_pay_sign_body(r, ctx);
            break;

        case NGX_HTTP_PAY_KEY_WAIT:
            /* called by a write event while payd is awaited */
            return NGX_DONE;

        default: /* NGX_HTTP_PAY_DONE */

            if (ctx->verified && !ctx->refused) {
                return NGX_OK;
            }

            /* an error page in a location that verifies */

            return NGX_HTTP_FORBIDDEN;
        }

        if (rc != NGX_OK) {
            return rc;
        }
    }
}


static ngx_int_t
ngx_http_pay_sign_refuse_match(ngx_http_request_t *r, struct problem *problem)
{
    ngx_str_t  name;

    if (problem->code == PROBLEM_METHOD_NOT_ALLOWED && problem->detail.n) {
        ngx_str_set(&name, "Allow");

        if (ngx_http_pay_add_header(r, name, ngx_pay_str(problem->detail))
            != NGX_OK)
        {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }

        problem->detail = SLICE_NULL;
    }

    return ngx_http_pay_refuse_with(r, problem);
}


/* parameters of the scheme come on top of what the API allows */

static size_t
ngx_http_pay_sign_max_body(ngx_http_pay_ctx_t *ctx)
{
    return ctx->match.api->max_body
           + (ctx->claim->in_body ? NGX_HTTP_PAY_SORTED_ROOM : 0);
}


/* what the request line and the headers tell */

static ngx_int_t
ngx_http_pay_sign_head(ngx_http_request_t *r, ngx_http_pay_ctx_t *ctx)
{
    ngx_int_t        rc;
    const char      *reason;
    struct problem   problem;

    ctx->state = NGX_HTTP_PAY_DONE;

    rc = ngx_http_pay_claim_find(r, ctx, &reason);

    if (rc == NGX_ERROR) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (api_match(&ctx->arena, ngx_pay_slice(r->method_name),
                  ngx_pay_slice(ctx->claim->target), &ctx->match, &problem)
        != 0)
    {
        return ngx_http_pay_sign_refuse_match(r, &problem);
    }

    if (r->headers_in.content_length_n
        > (off_t) ngx_http_pay_sign_max_body(ctx))
    {
        return ngx_http_pay_refuse(r, PROBLEM_BODY_TOO_LARGE, NULL, NULL);
    }

    if (rc == NGX_OK) {
        rc = ngx_http_pay_claim_read(r, ctx, &reason);
    }

    if (rc == NGX_ERROR) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (rc == NGX_DECLINED) {
        return ngx_http_pay_refuse(r, PROBLEM_AUTHORIZATION_INVALID, reason,
                                   NULL);
    }

    if (ctx->claim->read) {
        return ngx_http_pay_sign_fresh(r, ctx);
    }

    ctx->state = NGX_HTTP_PAY_BODY;

    return NGX_OK;
}


static ngx_int_t
ngx_http_pay_sign_fresh(ngx_http_request_t *r, ngx_http_pay_ctx_t *ctx)
{
    time_t   skew, now;
    int64_t  expires;

    now = ngx_time();
    skew = ngx_http_pay_guard_window(r);
    expires = ctx->claim->httpsig ? ctx->claim->httpsig->expires : 0;

    if (ctx->auth.timestamp_s < now - skew || ctx->auth.timestamp_s > now + skew
        || (expires && expires < now))
    {
        return ngx_http_pay_refuse(r, PROBLEM_TIMESTAMP_STALE, NULL, NULL);
    }

    ctx->state = NGX_HTTP_PAY_KEY;

    return NGX_OK;
}


static void
ngx_http_pay_sign_wait_cleanup(void *data)
{
    ngx_http_pay_ctx_t  *ctx = data;

    ngx_pay_key_cancel(ctx->wait);
    ctx->wait = NULL;
}


static void
ngx_http_pay_sign_key_done(void *data, ngx_int_t rc, ngx_pay_key_t *key)
{
    ngx_http_request_t  *r = data;

    ngx_http_pay_ctx_t  *ctx;

    ctx = ngx_http_pay_get_ctx(r);

    ctx->wait = NULL;
    ctx->cln->handler = NULL;
    ctx->rc = rc;
    ctx->key = key;
    ctx->state = NGX_HTTP_PAY_KEY_FOUND;

    ngx_http_pay_resume(r);
}


static ngx_int_t
ngx_http_pay_sign_wait(ngx_http_request_t *r, ngx_http_pay_ctx_t *ctx,
    ngx_pay_key_wait_t *wait)
{
    ngx_pay_key_wait_t  *w;
    ngx_http_cleanup_t  *cln;

    /* the look-up has listed *wait, which is on the stack: move it */

    w = ngx_palloc(r->pool, sizeof(ngx_pay_key_wait_t));
    cln = ngx_http_cleanup_add(r, 0);

    if (w == NULL || cln == NULL) {
        ngx_pay_key_cancel(wait);
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    w->handler = ngx_http_pay_sign_key_done;
    w->data = r;
    ngx_queue_insert_after(&wait->queue, &w->queue);
    ngx_queue_remove(&wait->queue);

    cln->handler = ngx_http_pay_sign_wait_cleanup;
    cln->data = ctx;

    ctx->cln = cln;
    ctx->wait = w;
    ctx->state = NGX_HTTP_PAY_KEY_WAIT;

    return NGX_AGAIN;
}


static ngx_int_t
ngx_http_pay_sign_find_key(ngx_http_request_t *r, ngx_http_pay_ctx_t *ctx)
{
    ngx_str_t           serial;
    ngx_pay_key_wait_t  wait;

    serial = ngx_pay_str(ctx->auth.serial_no);

    ctx->rc = ngx_pay_key_get(&serial, &ctx->key, &wait);

    if (ctx->rc == NGX_AGAIN) {
        return ngx_http_pay_sign_wait(r, ctx, &wait);
    }

    ctx->state = NGX_HTTP_PAY_KEY_FOUND;

    return NGX_OK;
}


static ngx_int_t
ngx_http_pay_sign_check_key(ngx_http_request_t *r, ngx_http_pay_ctx_t *ctx)
{
    const char     *reason;
    ngx_pay_key_t  *key = ctx->key;

    ctx->state = NGX_HTTP_PAY_DONE;

    if (ctx->rc == NGX_DECLINED) {
        return ngx_http_pay_refuse(r, PROBLEM_KEY_UNKNOWN, NULL, NULL);
    }

    if (ctx->rc != NGX_OK) {
        return ngx_http_pay_refuse(r, PROBLEM_RETRY_SAME_NUMBER,
                                   "the key cannot be looked up now", NULL);
    }

    if (!key->on || ngx_time() < key->valid_from || ngx_time() >= key->valid_to)
    {
        return ngx_http_pay_refuse(r, PROBLEM_KEY_DISABLED, NULL, NULL);
    }

    reason = ngx_http_pay_claim_mismatch(ctx);

    if (reason) {
        return ngx_http_pay_refuse(r, PROBLEM_SIGN_ERROR, reason, NULL);
    }

    /* the other schemes' identity is the key's alone */

    if (ctx->claim->authorization
        && !slice_eq(ctx->auth.mchid, ngx_pay_slice(key->mchid)))
    {
        return ngx_http_pay_refuse(r, PROBLEM_IDENTITY_MISMATCH, NULL, NULL);
    }

    ctx->mchid = key->mchid;
    ctx->app = key->app;
    ctx->serial = key->serial;
    ctx->base_slot = key->base_slot;
    ctx->span = key->span;
    ctx->alg = key->verify.alg;

    /*
     * A place to sign the answer, before anything costs more: a request that
     * was carried out must not lose its answer to a full queue.
     */

    switch (ngx_http_pay_answer_reserve(ctx)) {

    case NGX_BUSY:
        return ngx_http_pay_refuse(r, PROBLEM_OVERLOADED, NULL, NULL);

    case NGX_DECLINED:
        ngx_log_error(NGX_LOG_ERR, r->connection->log, 0,
                      "pay: no \"pay_platform_key\" for the %s of key \"%V\"",
                      key_alg_name(ctx->alg), &key->serial);

        return ngx_http_pay_refuse(r, PROBLEM_KEY_DISABLED,
                                "answers cannot be signed in this algorithm",
                                NULL);
    }

    ctx->state = NGX_HTTP_PAY_BODY;

    return NGX_OK;
}


static ngx_int_t
ngx_http_pay_sign_body(ngx_http_request_t *r, ngx_http_pay_ctx_t *ctx)
{
    ngx_int_t       rc;
    struct problem  problem;

    if (ctx->claim->read && ctx->claim->in_body) {
        /* its key has been found since */
        return ngx_http_pay_sign_verify(r, ctx);
    }

    ctx->state = NGX_HTTP_PAY_DONE;

    rc = ngx_http_pay_body_gather(r, ctx, ngx_http_pay_sign_max_body(ctx));

    if (rc == NGX_ERROR) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (rc == NGX_DECLINED || ctx->body.n > ngx_http_pay_sign_max_body(ctx)) {
        return ngx_http_pay_refuse(r, PROBLEM_BODY_TOO_LARGE, NULL, NULL);
    }

    if (ctx->claim->read) {
        return ngx_http_pay_sign_verify(r, ctx);
    }

    rc = ngx_http_pay_claim_read_body(r, ctx, &problem);

    if (rc == NGX_ERROR) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (rc == NGX_DECLINED) {
        return ngx_http_pay_refuse_with(r, &problem);
    }

    return ngx_http_pay_sign_fresh(r, ctx);
}


static ngx_int_t
ngx_http_pay_sign_verify(ngx_http_request_t *r, ngx_http_pay_ctx_t *ctx)
{
    const char  *reason;

    ctx->state = NGX_HTTP_PAY_DONE;

    if (ngx_http_pay_claim_verify(r, ctx, &reason) != 0) {
        ngx_http_pay_answer_release(ctx);
        return ngx_http_pay_refuse(r, PROBLEM_SIGN_ERROR, reason, NULL);
    }

    ctx->verified = 1;
    ngx_http_pay_count(verified);

    if (ngx_http_pay_claim_pass(r, ctx) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return ngx_http_pay_sign_content(r, ctx);
}


static ngx_uint_t
ngx_http_pay_sign_is(struct slice said, ngx_str_t *known)
{
    return said.n == 0 || slice_eq(said, ngx_pay_slice(*known));
}


/* genuine: from here on refusals are signed */

static ngx_int_t
ngx_http_pay_sign_content(ngx_http_request_t *r, ngx_http_pay_ctx_t *ctx)
{
    int64_t         id;
    struct slice    out_trade_no;
    struct problem  problem;

    if (api_check(&ctx->arena, ctx->match.api, ctx->body, &ctx->doc, &problem)
        != 0)
    {
        return ngx_http_pay_refuse_with(r, &problem);
    }

    if (!ngx_http_pay_sign_is(ctx->match.mchid, &ctx->mchid)
        || !ngx_http_pay_sign_is(json_str(ctx->doc, "mchid"), &ctx->mchid))
    {
        return ngx_http_pay_refuse(r, PROBLEM_IDENTITY_MISMATCH, NULL,
                                   ctx->doc ? "/mchid" : NULL);
    }

    if (!ngx_http_pay_sign_is(json_str(ctx->doc, "appid"), &ctx->app)) {
        return ngx_http_pay_refuse(r, PROBLEM_IDENTITY_MISMATCH, NULL,
                                   "/appid");
    }

    if (ctx->match.id.n) {
        if (id_parse(ctx->match.id, ctx->match.api->id_kind, &id) != 0) {
            return ngx_http_pay_refuse(r, ctx->match.api->id_kind == 'R'
                                          ? PROBLEM_REFUND_NOT_FOUND
                                          : PROBLEM_ORDER_NOT_FOUND,
                                       NULL, NULL);
        }

        ctx->slot = id_slot(id);
        return NGX_OK;
    }

    out_trade_no = ctx->match.out_trade_no.n ? ctx->match.out_trade_no
                                      : json_str(ctx->doc, "out_trade_no");

    ctx->slot = out_trade_no.n
                ? slot_of(ctx->base_slot, ctx->span, out_trade_no)
                : ctx->base_slot;

    return NGX_OK;
}
