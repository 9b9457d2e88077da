/*
 * Reading of claims.  Verifying them: ngx_http_pay_claim_verify.c.
 */

#include "ngx_http_pay_claim.h"


static void
ngx_http_pay_claim_header(ngx_http_pay_claim_t *claim, ngx_table_elt_t *h)
{
    ngx_uint_t         i;
    ngx_table_elt_t  **place;

    static const ngx_str_t  names[] = {
        ngx_string("authorization"), ngx_string("signature-input"),
        ngx_string("signature"), ngx_string("content-digest")
    };

    for (i = 0; i < 4; i++) {

        if (h->key.len != names[i].len
            || ngx_memcmp(h->lowcase_key, names[i].data, names[i].len) != 0)
        {
            continue;
        }

        place = i == 0 ? &claim->authorization
                : i == 1 ? &claim->input
                : i == 2 ? &claim->signature : &claim->digest;

        claim->repeated |= *place != NULL;
        *place = h;
    }
}


static void
ngx_http_pay_claim_headers(ngx_http_request_t *r, ngx_http_pay_claim_t *claim)
{
    ngx_uint_t        i;
    ngx_list_part_t  *part;
    ngx_table_elt_t  *h;

    for (part = &r->headers_in.headers.part; part; part = part->next) {
        h = part->elts;

        for (i = 0; i < part->nelts; i++) {

            /* all names have 9 to 15 letters and begin with a, s or c */

            if (h[i].key.len >= 9 && h[i].key.len <= 15
                && (h[i].lowcase_key[0] == 'a' || h[i].lowcase_key[0] == 's'
                    || h[i].lowcase_key[0] == 'c'))
            {
                ngx_http_pay_claim_header(claim, &h[i]);
            }
        }
    }
}


/* a query that has the parameter "sign": the others are the scheme's, too */

static ngx_int_t
ngx_http_pay_claim_query(ngx_http_request_t *r, ngx_http_pay_ctx_t *ctx,
    const char **reason)
{
    u_char                *p;
    struct buf             query;
    struct slice           args;
    ngx_http_pay_claim_t  *claim = ctx->claim;

    args = ngx_pay_slice(r->unparsed_uri);
    (void) slice_cut(&args, '?');

    if (!slice_starts(args, SLICE("sign="))
        && !slice_contains(args, SLICE("&sign=")))
    {
        return NGX_OK;
    }

    ctx->scheme = SCHEME_SORTED;

    if (sorted_from_form(&ctx->arena, args, &claim->params, reason) != 0) {
        return NGX_DECLINED;
    }

    buf_init(&query, r->unparsed_uri.len + 1);
    sorted_query(&query, &claim->params);

    claim->target.len = r->unparsed_uri.len - args.n - 1
                        + (query.n ? query.n + 1 : 0);
    claim->target.data = ngx_pnalloc(r->pool, claim->target.len);

    if (claim->target.data == NULL || !buf_ok(&query)) {
        buf_release(&query);
        return NGX_ERROR;
    }

    p = ngx_cpymem(claim->target.data, r->unparsed_uri.data,
                   r->unparsed_uri.len - args.n - 1);

    if (query.n) {
        *p++ = '?';
        ngx_memcpy(p, query.p, query.n);
    }

    buf_release(&query);

    return NGX_OK;
}


static ngx_uint_t
ngx_http_pay_claim_type(ngx_http_request_t *r, const char *type)
{
    size_t      n;
    ngx_str_t  *value;

    if (r->headers_in.content_type == NULL) {
        return 0;
    }

    value = &r->headers_in.content_type->value;
    n = ngx_strlen(type);

    return value->len >= n
           && ngx_strncasecmp(value->data, (u_char *) type, n) == 0
           && (value->len == n || value->data[n] == ';'
               || value->data[n] == ' ');
}


static ngx_int_t
ngx_http_pay_claim_parameters(ngx_http_request_t *r, ngx_http_pay_ctx_t *ctx,
    const char **reason)
{
    ngx_http_pay_claim_t  *claim = ctx->claim;

    if (r->headers_in.content_length_n <= 0 && !r->headers_in.chunked) {
        return ngx_http_pay_claim_query(r, ctx, reason);
    }

    claim->is_form = ngx_http_pay_claim_type(r,
                                           "application/x-www-form-urlencoded");

    if (claim->is_form || ngx_http_pay_claim_type(r, "application/json")) {
        claim->in_body = 1;
        ctx->scheme = SCHEME_SORTED;
    }

    return NGX_OK;
}


ngx_int_t
ngx_http_pay_claim_find(ngx_http_request_t *r, ngx_http_pay_ctx_t *ctx,
    const char **reason)
{
    ngx_http_pay_claim_t  *claim;

    claim = ngx_pcalloc(r->pool, sizeof(ngx_http_pay_claim_t));
    if (claim == NULL) {
        return NGX_ERROR;
    }

    ctx->claim = claim;
    ctx->scheme = SCHEME_NONE;
    claim->target = r->unparsed_uri;

    ngx_http_pay_claim_headers(r, claim);

    /* two would be read differently by others */

    if (claim->repeated) {
        *reason = "a header of the signature is repeated";
        return NGX_DECLINED;
    }

    if (claim->authorization) {

        if (claim->input || claim->signature) {
            *reason = "Authorization and Signature exclude each other";
            return NGX_DECLINED;
        }

        return NGX_OK;
    }

    if (claim->input || claim->signature) {

        if (claim->input == NULL || claim->signature == NULL) {
            *reason = "Signature and Signature-Input belong together";
            return NGX_DECLINED;
        }

        ctx->scheme = SCHEME_RFC9421;
        return NGX_OK;
    }

    return ngx_http_pay_claim_parameters(r, ctx, reason);
}


static ngx_int_t
ngx_http_pay_claim_httpsig(ngx_http_request_t *r, ngx_http_pay_ctx_t *ctx,
    const char **reason)
{
    struct httpsig        *s;
    struct http_message    m;
    ngx_http_pay_claim_t  *claim = ctx->claim;

    s = arena_new(&ctx->arena, struct httpsig);
    if (s == NULL) {
        return NGX_ERROR;
    }

    claim->httpsig = s;

    ngx_memzero(&m, sizeof(struct http_message));
    m.target = ngx_pay_slice(r->unparsed_uri);

    if (httpsig_parse(&ctx->arena, ngx_pay_slice(claim->input->value),
                      ngx_pay_slice(claim->signature->value), SLICE_NULL, s,
                      reason)
        != 0
        || httpsig_check(s, &m,
                         r->headers_in.content_length_n > 0
                         || r->headers_in.chunked, reason)
           != 0)
    {
        return NGX_DECLINED;
    }

    ctx->auth.scheme = SCHEME_RFC9421;
    ctx->auth.serial_no = s->keyid;
    ctx->auth.nonce_str = s->nonce;
    ctx->auth.timestamp_s = s->created;

    return NGX_OK;
}


/* "METHOD path", without what the query has besides */

static ngx_uint_t
ngx_http_pay_claim_is_service(ngx_http_request_t *r, struct slice service)
{
    struct slice  method, path, rest;

    rest = service;
    method = slice_cut(&rest, ' ');
    path = ngx_pay_slice(r->unparsed_uri);
    path = slice_cut(&path, '?');

    return slice_eq(method, ngx_pay_slice(r->method_name))
           && slice_eq(rest, path);
}


static ngx_int_t
ngx_http_pay_claim_sorted(ngx_http_request_t *r, ngx_http_pay_ctx_t *ctx,
    const char **reason)
{
    struct sorted_request  *s;

    s = arena_new(&ctx->arena, struct sorted_request);
    if (s == NULL) {
        return NGX_ERROR;
    }

    ctx->claim->sorted = s;

    if (sorted_take(&ctx->claim->params, s, reason) != 0) {
        return NGX_DECLINED;
    }

    if (!ngx_http_pay_claim_is_service(r, s->service)) {
        *reason = "service is not the request's method and path";
        return NGX_DECLINED;
    }

    /* the answer's signature names it, when the arena may be gone */

    ctx->auth.nonce_str.n = s->nonce_str.n;
    ctx->auth.nonce_str.p = (char *) ngx_pnalloc(r->pool, s->nonce_str.n);
    if (ctx->auth.nonce_str.p == NULL) {
        return NGX_ERROR;
    }

    ngx_memcpy((void *) (uintptr_t) ctx->auth.nonce_str.p, s->nonce_str.p,
               s->nonce_str.n);

    ctx->auth.scheme = SCHEME_SORTED;
    ctx->auth.serial_no = s->serial_no;
    ctx->auth.timestamp_s = s->timestamp_s;
    ctx->claim->read = 1;

    return NGX_OK;
}


ngx_int_t
ngx_http_pay_claim_read(ngx_http_request_t *r, ngx_http_pay_ctx_t *ctx,
    const char **reason)
{
    ngx_http_pay_claim_t  *claim = ctx->claim;

    if (claim->authorization) {

        if (authorization_parse(ngx_pay_slice(claim->authorization->value),
                                &ctx->auth, reason)
            != 0)
        {
            return NGX_DECLINED;
        }

        ctx->scheme = ctx->auth.scheme;
        claim->read = 1;

        return NGX_OK;
    }

    if (ctx->scheme == SCHEME_RFC9421) {
        claim->read = 1;
        return ngx_http_pay_claim_httpsig(r, ctx, reason);
    }

    if (ctx->scheme == SCHEME_SORTED) {
        return claim->in_body ? NGX_OK
                              : ngx_http_pay_claim_sorted(r, ctx, reason);
    }

    *reason = "there is no signature";

    return NGX_DECLINED;
}


static ngx_int_t
ngx_http_pay_claim_problem(struct problem *problem, enum problem_code code,
    const char *detail)
{
    ngx_memzero(problem, sizeof(struct problem));
    problem->code = code;
    problem->detail = slice_of(detail);

    return NGX_DECLINED;
}


ngx_int_t
ngx_http_pay_claim_read_body(ngx_http_request_t *r, ngx_http_pay_ctx_t *ctx,
    struct problem *problem)
{
    int                    rc;
    ngx_int_t              read;
    const char            *reason;
    struct json_error      err;
    const struct json     *doc;
    ngx_http_pay_claim_t  *claim = ctx->claim;

    if (claim->is_form) {
        rc = sorted_from_form(&ctx->arena, ctx->body, &claim->params, &reason);

    } else {

        if (json_parse(&ctx->arena, ctx->body, NULL, &doc, &err) != 0) {
            return ngx_http_pay_claim_problem(problem, PROBLEM_JSON_INVALID,
                                              err.reason);
        }

        rc = sorted_from_json(&ctx->arena, doc, &claim->params, &reason);
    }

    if (rc != 0) {
        return ngx_http_pay_claim_problem(problem,
                                          PROBLEM_AUTHORIZATION_INVALID,
                                          reason);
    }

    read = ngx_http_pay_claim_sorted(r, ctx, &reason);

    if (read == NGX_DECLINED) {
        return ngx_http_pay_claim_problem(problem,
                                          PROBLEM_AUTHORIZATION_INVALID,
                                          reason);
    }

    return read;
}
