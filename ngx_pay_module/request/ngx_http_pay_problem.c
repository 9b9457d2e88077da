/*
 * Refusals: problem+json for what we refuse, and for what nginx refuses.
 */

#include "ngx_http_pay_private.h"


#define NGX_HTTP_PAY_PROBLEM_MAX  4096


static ngx_int_t
ngx_http_pay_problem_headers(ngx_http_request_t *r, enum problem_code code)
{
    ngx_str_t  name, value;

    static ngx_str_t  schemas = ngx_string("WECHATPAY2-SHA256-RSA2048, "
        "PAY-SHA256-RSA2048, PAY-HMAC-SHA256, PAY-ED25519, Signature");

    switch (code) {

    case PROBLEM_AUTHORIZATION_INVALID:
    case PROBLEM_SIGN_ERROR:
    case PROBLEM_KEY_UNKNOWN:
    case PROBLEM_KEY_DISABLED:
    case PROBLEM_TIMESTAMP_STALE:
    case PROBLEM_IDENTITY_MISMATCH:
        ngx_str_set(&name, "WWW-Authenticate");
        value = schemas;
        break;

    case PROBLEM_RETRY_SAME_NUMBER:
    case PROBLEM_OVERLOADED:
    case PROBLEM_CHANNEL_BUSY:
    case PROBLEM_CHANNEL_OUT:
        ngx_str_set(&name, "Retry-After");
        ngx_str_set(&value, "1");
        break;

    default:
        return NGX_OK;
    }

    return ngx_http_pay_add_header(r, name, value);
}


static ngx_buf_t *
ngx_http_pay_problem_buf(ngx_http_request_t *r, const struct problem *problem)
{
    ngx_buf_t           *b;
    struct buf           text;
    struct slice         trace;
    ngx_http_pay_ctx_t  *ctx;

    ctx = ngx_http_pay_get_ctx(r);
    trace = ctx ? ngx_pay_slice(ctx->trace) : SLICE_NULL;

    buf_init(&text, NGX_HTTP_PAY_PROBLEM_MAX);
    problem_write(&text, problem, trace);

    b = buf_ok(&text) ? ngx_create_temp_buf(r->pool, text.n) : NULL;

    if (b) {
        b->last = ngx_cpymem(b->pos, text.p, text.n);
        b->last_buf = 1;
        b->last_in_chain = 1;
    }

    buf_release(&text);

    return b;
}


/* status, headers and body of the answer become the problem's */

ngx_buf_t *
ngx_http_pay_problem(ngx_http_request_t *r, enum problem_code code,
    ngx_uint_t status, const char *detail, struct slice pointer)
{
    ngx_buf_t           *b;
    struct problem       problem;
    ngx_http_pay_ctx_t  *ctx;

    problem.code = code;
    problem.status = (int) status;
    problem.detail = slice_of(detail);
    problem.pointer = pointer;

    b = ngx_http_pay_problem_buf(r, &problem);
    if (b == NULL) {
        return NULL;
    }

    if (ngx_http_pay_problem_headers(r, code) != NGX_OK) {
        return NULL;
    }

    ctx = ngx_http_pay_get_ctx(r);

    if (ctx) {
        ctx->code = code;
    }

    ngx_http_pay_count(refused[code]);
    ngx_http_pay_attack_note(r, code);

    r->err_status = 0;
    r->headers_out.status = status ? status : (ngx_uint_t) problem_status(code);
    r->headers_out.status_line.len = 0;

    ngx_str_set(&r->headers_out.content_type, PROBLEM_CONTENT_TYPE);
    r->headers_out.content_type_len = r->headers_out.content_type.len;
    r->headers_out.content_type_lowcase = NULL;
    r->headers_out.charset.len = 0;

    ngx_http_clear_content_length(r);
    ngx_http_clear_accept_ranges(r);
    ngx_http_clear_last_modified(r);
    ngx_http_clear_etag(r);

    if (r->headers_out.content_encoding) {
        r->headers_out.content_encoding->hash = 0;
        r->headers_out.content_encoding = NULL;
    }

    r->headers_out.content_length_n = b->last - b->pos;

    return b;
}


static ngx_int_t
ngx_http_pay_send_problem(ngx_http_request_t *r, enum problem_code code,
    const char *detail, struct slice pointer)
{
    ngx_int_t            rc;
    ngx_buf_t           *b;
    ngx_chain_t          out;
    ngx_http_pay_ctx_t  *ctx;

    ctx = ngx_http_pay_get_ctx(r);

    if (ctx) {
        ctx->refused = 1;
    }

    ngx_log_error(NGX_LOG_INFO, r->connection->log, 0, "pay: refused, %s%s%s",
                  problem_name(code), detail ? ": " : "", detail ? detail : "");

    b = ngx_http_pay_problem(r, code, 0, detail, pointer);
    if (b == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    /* a body that nobody reads must not be asked for */

    r->expect_tested = 1;

    if (ngx_http_discard_request_body(r) != NGX_OK) {
        r->keepalive = 0;
    }

    rc = ngx_http_send_header(r);

    if (rc == NGX_ERROR || rc > NGX_OK || r->header_only) {
        return rc;
    }

    out.buf = b;
    out.next = NULL;

    return ngx_http_output_filter(r, &out);
}


ngx_int_t
ngx_http_pay_refuse(ngx_http_request_t *r, enum problem_code code,
    const char *detail, const char *pointer)
{
    ngx_http_finalize_request(r,
        ngx_http_pay_send_problem(r, code, detail, slice_of(pointer)));

    return NGX_DONE;
}


ngx_int_t
ngx_http_pay_refuse_content(ngx_http_request_t *r, enum problem_code code,
    const char *detail, const char *pointer)
{
    return ngx_http_pay_send_problem(r, code, detail, slice_of(pointer));
}


ngx_int_t
ngx_http_pay_refuse_with(ngx_http_request_t *r, const struct problem *problem)
{
    char                *detail;
    ngx_http_pay_ctx_t  *ctx;

    ctx = ngx_http_pay_get_ctx(r);
    detail = problem->detail.n ? arena_cstr(&ctx->arena, problem->detail)
                               : NULL;

    ngx_http_finalize_request(r,
        ngx_http_pay_send_problem(r, problem->code, detail, problem->pointer));

    return NGX_DONE;
}


/*
 * The code for an answer that nginx made itself.  Once a worker may have read
 * the request nobody can say that it failed.
 */

enum problem_code
ngx_http_pay_nginx_problem(ngx_http_request_t *r, ngx_uint_t status)
{
    switch (status) {

    case NGX_HTTP_BAD_GATEWAY:
    case NGX_HTTP_SERVICE_UNAVAILABLE:
    case NGX_HTTP_GATEWAY_TIME_OUT:
        if (r->upstream && r->upstream->request_sent) {
            return PROBLEM_RESULT_UNKNOWN;
        }

        return PROBLEM_RETRY_SAME_NUMBER;

    case NGX_HTTP_NOT_FOUND:
        return PROBLEM_PATH_UNKNOWN;

    case NGX_HTTP_NOT_ALLOWED:
        return PROBLEM_METHOD_NOT_ALLOWED;

    case NGX_HTTP_REQUEST_ENTITY_TOO_LARGE:
        return PROBLEM_BODY_TOO_LARGE;

    case NGX_HTTP_TOO_MANY_REQUESTS:
        return PROBLEM_RATE_LIMITED;

    default:
        return status >= NGX_HTTP_INTERNAL_SERVER_ERROR
               ? PROBLEM_INTERNAL : PROBLEM_REQUEST_INVALID;
    }
}


ngx_int_t
ngx_http_pay_add_header(ngx_http_request_t *r, ngx_str_t name, ngx_str_t value)
{
    ngx_table_elt_t  *h;

    h = ngx_list_push(&r->headers_out.headers);
    if (h == NULL) {
        return NGX_ERROR;
    }

    h->hash = 1;
    h->key = name;
    h->value = value;
    h->lowcase_key = NULL;
#if (nginx_version >= 1023000)
    h->next = NULL;
#endif

    return NGX_OK;
}
