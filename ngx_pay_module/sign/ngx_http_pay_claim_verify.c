/*
 * Verifying of claims, one branch per scheme, and what of a verified request
 * goes on to a worker.
 */

#include "ngx_http_pay_claim.h"

#include "ngx_pay_module/keys/ngx_pay_keys.h"


#define NGX_HTTP_PAY_BASE_MAX  (64 * 1024)


ngx_int_t
ngx_http_pay_claim_message(ngx_http_request_t *r, struct arena *arena,
    struct http_message *m)
{
    ngx_uint_t          i, n;
    ngx_list_part_t    *part;
    ngx_table_elt_t    *h;
    struct http_field  *fields;

    ngx_memzero(m, sizeof(struct http_message));

    for (n = 0, part = &r->headers_in.headers.part; part; part = part->next) {
        n += part->nelts;
    }

    fields = arena_array(arena, struct http_field, n);
    if (fields == NULL) {
        return NGX_ERROR;
    }

    for (n = 0, part = &r->headers_in.headers.part; part; part = part->next) {
        h = part->elts;

        for (i = 0; i < part->nelts; i++) {
            fields[n].name = ngx_pay_slice(h[i].key);
            fields[n++].value = ngx_pay_slice(h[i].value);
        }
    }

    m->fields = fields;
    m->field_count = n;
    m->method = ngx_pay_slice(r->method_name);
    m->target = ngx_pay_slice(r->unparsed_uri);
    m->scheme = SLICE("http");

    if (r->headers_in.host) {
        m->authority = ngx_pay_slice(r->headers_in.host->value);
    }

#if (NGX_HTTP_SSL)
    if (r->connection->ssl) {
        m->scheme = SLICE("https");
    }
#endif

    return NGX_OK;
}


const char *
ngx_http_pay_claim_mismatch(ngx_http_pay_ctx_t *ctx)
{
    const char            *name;
    struct slice           said;
    ngx_http_pay_claim_t  *claim = ctx->claim;

    if (!scheme_fits(ctx->scheme, ctx->key->scheme, ctx->key->verify.alg)) {
        return "the scheme is not the key's";
    }

    if (ctx->scheme == SCHEME_RFC9421) {
        said = claim->httpsig->alg;
        name = httpsig_alg_name(ctx->key->verify.alg);

    } else if (ctx->scheme == SCHEME_SORTED) {
        said = claim->sorted->sign_type;
        name = sorted_sign_type(ctx->key->verify.alg);

    } else {
        /* the schema has named it */
        return NULL;
    }

    return said.n && !slice_is(said, name) ? "the algorithm is not the key's"
                                           : NULL;
}


static int
ngx_http_pay_verify_header(ngx_http_request_t *r, ngx_http_pay_ctx_t *ctx)
{
    size_t        n;
    struct slice  parts[SCHEME_PARTS];

    n = scheme_request_parts(ngx_pay_slice(r->method_name),
                             ngx_pay_slice(r->unparsed_uri),
                             ctx->auth.timestamp, ctx->auth.nonce_str,
                             ctx->body, parts);

    return scheme_verify(&ctx->key->verify, parts, n, ctx->auth.signature);
}


static int
ngx_http_pay_verify_sorted(ngx_http_pay_ctx_t *ctx)
{
    int                    rc;
    struct buf             text;
    ngx_http_pay_claim_t  *claim = ctx->claim;

    buf_init(&text, NGX_HTTP_PAY_BASE_MAX);
    sorted_string(&text, claim->params.list, claim->params.count);

    rc = buf_ok(&text) ? sorted_verify(&ctx->key->verify, buf_slice(&text),
                                       claim->sorted->sign)
                       : -1;
    buf_release(&text);

    return rc;
}


static int
ngx_http_pay_verify_httpsig(ngx_http_request_t *r, ngx_http_pay_ctx_t *ctx,
    const char **reason)
{
    int                    rc;
    struct buf             base;
    struct slice           text;
    struct http_message    m;
    ngx_http_pay_claim_t  *claim = ctx->claim;

    /* covered or not, what it says must be true */

    if (claim->digest
        && content_digest_check(&ctx->arena,
                                ngx_pay_slice(claim->digest->value),
                                ctx->body, reason)
           != 0)
    {
        return -1;
    }

    if (ngx_http_pay_claim_message(r, &ctx->arena, &m) != NGX_OK) {
        return -1;
    }

    buf_init(&base, NGX_HTTP_PAY_BASE_MAX);

    rc = httpsig_base(&ctx->arena, &m, claim->httpsig->input, &base, reason);

    if (rc == 0) {
        text = buf_slice(&base);
        rc = key_verify(&ctx->key->verify, &text, 1, claim->httpsig->signature);
    }

    buf_release(&base);

    return rc;
}


int
ngx_http_pay_claim_verify(ngx_http_request_t *r, ngx_http_pay_ctx_t *ctx,
    const char **reason)
{
    *reason = NULL;

    switch (ctx->scheme) {

    case SCHEME_WECHATPAY2_RSA:
    case SCHEME_PAY_RSA:
    case SCHEME_PAY_HMAC:
    case SCHEME_PAY_ED25519:
        return ngx_http_pay_verify_header(r, ctx);

    case SCHEME_SORTED:
        return ngx_http_pay_verify_sorted(ctx);

    case SCHEME_RFC9421:
        return ngx_http_pay_verify_httpsig(r, ctx, reason);

    case SCHEME_NONE:
        break;
    }

    return -1;
}


static void
ngx_http_pay_claim_set_type(ngx_http_request_t *r, ngx_str_t *type)
{
    ngx_uint_t        i;
    ngx_list_part_t  *part;
    ngx_table_elt_t  *h;

    for (part = &r->headers_in.headers.part; part; part = part->next) {
        h = part->elts;

        for (i = 0; i < part->nelts; i++) {
            if (h[i].key.len == sizeof("Content-Type") - 1
                && ngx_memcmp(h[i].lowcase_key, "content-type",
                              sizeof("Content-Type") - 1)
                   == 0)
            {
                h[i].value = *type;
            }
        }
    }
}


static ngx_int_t
ngx_http_pay_claim_pass_body(ngx_http_request_t *r, ngx_http_pay_ctx_t *ctx)
{
    ngx_buf_t             *b;
    struct buf             text;
    ngx_chain_t           *cl;
    ngx_http_pay_claim_t  *claim = ctx->claim;

    static ngx_str_t  json = ngx_string("application/json");

    buf_init(&text, NGX_HTTP_PAY_BASE_MAX);
    sorted_body(&text, &claim->params, ctx->match.api->fields, claim->is_form);

    b = buf_ok(&text) ? ngx_create_temp_buf(r->pool, text.n) : NULL;
    cl = ngx_alloc_chain_link(r->pool);

    if (b == NULL || cl == NULL) {
        buf_release(&text);
        return NGX_ERROR;
    }

    b->last = ngx_cpymem(b->pos, text.p, text.n);
    b->last_buf = 1;
    buf_release(&text);

    cl->buf = b;
    cl->next = NULL;

    /* what the proxy module sends */

    r->request_body->bufs = cl;
    r->headers_in.content_length_n = b->last - b->pos;
    ctx->body = slice_n(b->pos, b->last - b->pos);

    ngx_http_pay_claim_set_type(r, &json);

    return NGX_OK;
}


ngx_int_t
ngx_http_pay_claim_pass(ngx_http_request_t *r, ngx_http_pay_ctx_t *ctx)
{
    ngx_http_pay_claim_t  *claim = ctx->claim;

    if (ctx->scheme != SCHEME_SORTED) {
        return NGX_OK;
    }

    if (claim->in_body) {
        return ngx_http_pay_claim_pass_body(r, ctx);
    }

    r->unparsed_uri = claim->target;
    r->args.data = ngx_strlchr(claim->target.data,
                               claim->target.data + claim->target.len, '?');
    r->args.len = 0;

    if (r->args.data) {
        r->args.data++;
        r->args.len = claim->target.data + claim->target.len - r->args.data;
    }

    return NGX_OK;
}
