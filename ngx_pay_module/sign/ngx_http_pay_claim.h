/*
 * What a request claims about its signature, whichever of the three schemes it
 * uses: read from headers, query or body, before anything is believed.
 */

#ifndef _NGX_HTTP_PAY_CLAIM_H_INCLUDED_
#define _NGX_HTTP_PAY_CLAIM_H_INCLUDED_

#include "ngx_pay_module/request/ngx_http_pay_private.h"

#include "core/scheme_rfc9421.h"
#include "core/scheme_sorted.h"


struct ngx_http_pay_claim_s {
    ngx_table_elt_t        *authorization;
    ngx_table_elt_t        *input;      /* Signature-Input */
    ngx_table_elt_t        *signature;
    ngx_table_elt_t        *digest;     /* Content-Digest */

    ngx_str_t               target;     /* without the scheme's parameters */
    struct httpsig         *httpsig;    /* SCHEME_RFC9421; in the arena */
    struct sorted_params    params;     /* SCHEME_SORTED */
    struct sorted_request  *sorted;

    unsigned                repeated:1; /* one of the headers */
    unsigned                is_form:1;
    unsigned                in_body:1;  /* the parameters */
    unsigned                read:1;
};


/*
 * Finds the headers, or the parameters of a query.  NGX_DECLINED: malformed,
 * *reason says why.  Afterwards ctx->scheme is set, SCHEME_NONE when there is
 * no signature, and claim->target is what the API is to match.
 */
ngx_int_t ngx_http_pay_claim_find(ngx_http_request_t *r,
    ngx_http_pay_ctx_t *ctx, const char **reason);
/* reads what was found into ctx->auth */
ngx_int_t ngx_http_pay_claim_read(ngx_http_request_t *r,
    ngx_http_pay_ctx_t *ctx, const char **reason);
/* the same for parameters in a body, which ctx->body holds by now */
ngx_int_t ngx_http_pay_claim_read_body(ngx_http_request_t *r,
    ngx_http_pay_ctx_t *ctx, struct problem *problem);

/* what the request says of its algorithm is the key's: NULL, or why not */
const char *ngx_http_pay_claim_mismatch(ngx_http_pay_ctx_t *ctx);
/* 0: genuine.  *reason may be set otherwise. */
int ngx_http_pay_claim_verify(ngx_http_request_t *r, ngx_http_pay_ctx_t *ctx,
    const char **reason);
/* takes the scheme's parameters out of what goes on to a worker */
ngx_int_t ngx_http_pay_claim_pass(ngx_http_request_t *r,
    ngx_http_pay_ctx_t *ctx);

/* the request as RFC 9421 sees it; its fields live in the arena */
ngx_int_t ngx_http_pay_claim_message(ngx_http_request_t *r,
    struct arena *arena, struct http_message *m);


#endif /* _NGX_HTTP_PAY_CLAIM_H_INCLUDED_ */
