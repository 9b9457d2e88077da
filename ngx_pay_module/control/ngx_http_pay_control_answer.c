/*
 * Answers of the control socket.
 */

#include "ngx_http_pay_control.h"


/* index: ngx_http_pay_control_code_e */

static struct {
    ngx_uint_t   status;
    const char  *code;
    const char  *title;
} ngx_http_pay_control_problems[] = {
    { 403, "FORBIDDEN", "This user may not do that" },
    { 404, "PATH_UNKNOWN", "No such path" },
    { 405, "METHOD_NOT_ALLOWED", "Method not allowed on this path" },
    { 413, "BODY_TOO_LARGE", "Body too large" },
    { 400, "JSON_INVALID", "Body is not valid JSON" },
    { 400, "FIELD_MISSING", "Required field missing" },
    { 400, "FIELD_UNKNOWN", "Unknown field" },
    { 400, "FIELD_TYPE", "Field has the wrong type" },
    { 400, "FIELD_INVALID", "Field value not allowed" },
    { 404, "CHANNEL_UNKNOWN", "No such channel" },
    { 404, "POOL_UNKNOWN", "No such pool" },
    { 409, "POOL_NEEDED", "This pool cannot be switched off" },
    { 500, "INTERNAL", "Internal error" }
};


ngx_int_t
ngx_http_pay_control_refuse(ngx_http_pay_control_call_t *call,
    ngx_http_pay_control_code_e code, const char *detail, const char *pointer)
{
    struct json_writer  *w;

    w = &call->w;
    buf_clear(&call->out);
    json_writer_init(w, &call->out);

    call->problem = 1;
    call->status = ngx_http_pay_control_problems[code].status;

    json_begin_object(w);
    json_member_str(w, "type", SLICE("about:blank"));
    json_member_str(w, "title",
                    slice_of(ngx_http_pay_control_problems[code].title));
    json_member_int64(w, "status", (int64_t) call->status);
    json_member_str(w, "code",
                    slice_of(ngx_http_pay_control_problems[code].code));
    json_member_str_opt(w, "detail", slice_of(detail));

    if (pointer) {
        json_key(w, "errors");
        json_begin_array(w);
        json_begin_object(w);
        json_member_str(w, "pointer", slice_of(pointer));
        json_end_object(w);
        json_end_array(w);
    }

    json_end_object(w);

    return NGX_OK;
}


ngx_int_t
ngx_http_pay_control_send(ngx_http_pay_control_call_t *call)
{
    ngx_int_t            rc;
    ngx_buf_t           *b;
    ngx_chain_t          out;
    ngx_http_request_t  *r;

    r = call->request;

    buf_add_char(&call->out, '\n');

    if (!buf_ok(&call->out)) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    b = ngx_create_temp_buf(r->pool, call->out.n);
    if (b == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    b->last = ngx_cpymem(b->pos, call->out.p, call->out.n);
    b->last_buf = 1;
    b->last_in_chain = 1;

    if (call->problem) {
        ngx_str_set(&r->headers_out.content_type, PROBLEM_CONTENT_TYPE);

    } else {
        ngx_str_set(&r->headers_out.content_type, "application/json");
    }

    r->headers_out.content_type_len = r->headers_out.content_type.len;
    r->headers_out.content_type_lowcase = NULL;
    r->headers_out.status = call->status;
    r->headers_out.content_length_n = b->last - b->pos;

    rc = ngx_http_send_header(r);

    if (rc == NGX_ERROR || rc > NGX_OK || r->header_only) {
        return rc;
    }

    out.buf = b;
    out.next = NULL;

    return ngx_http_output_filter(r, &out);
}
