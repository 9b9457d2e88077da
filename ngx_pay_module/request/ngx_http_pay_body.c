/*
 * The body of a request as one slice, however it came.
 */

#include "ngx_http_pay_private.h"


static void
ngx_http_pay_body_handler(ngx_http_request_t *r)
{
    ngx_http_pay_ctx_t  *ctx;

    ctx = ngx_http_pay_get_ctx(r);

    ctx->body_read = 1;

    /* the proxy reads it again */

    r->preserve_body = 1;
    r->write_event_handler = ngx_http_core_run_phases;

    if (!ctx->in_handler) {
        ngx_http_core_run_phases(r);
    }
}


ngx_int_t
ngx_http_pay_body_read(ngx_http_request_t *r, ngx_http_pay_ctx_t *ctx)
{
    ngx_int_t  rc;

    if (ctx->body_asked) {
        /* a write event while the body is awaited */
        return NGX_DONE;
    }

    ctx->body_asked = 1;
    ctx->in_handler = 1;

    rc = ngx_http_read_client_request_body(r, ngx_http_pay_body_handler);

    ctx->in_handler = 0;

    if (rc >= NGX_HTTP_SPECIAL_RESPONSE) {
        return rc;
    }

    ngx_http_finalize_request(r, NGX_DONE);

    return ctx->body_read ? NGX_OK : NGX_DONE;
}


/* one slice: usually the buffer it was read into, without a copy */

ngx_int_t
ngx_http_pay_body_gather(ngx_http_request_t *r, ngx_http_pay_ctx_t *ctx,
    size_t max)
{
    off_t         size;
    u_char       *p;
    ssize_t       n;
    ngx_buf_t    *b;
    ngx_chain_t  *cl;

    if (r->request_body == NULL || r->request_body->bufs == NULL) {
        return NGX_OK;
    }

    cl = r->request_body->bufs;

    if (cl->next == NULL && ngx_buf_in_memory(cl->buf)) {
        ctx->body = slice_n(cl->buf->pos, cl->buf->last - cl->buf->pos);
        return NGX_OK;
    }

    for (size = 0; cl; cl = cl->next) {
        size += ngx_buf_size(cl->buf);
    }

    if (size > (off_t) max) {
        return NGX_DECLINED;
    }

    p = ngx_pnalloc(r->pool, size);
    if (p == NULL) {
        return NGX_ERROR;
    }

    ctx->body = slice_n(p, size);

    for (cl = r->request_body->bufs; cl; cl = cl->next) {
        b = cl->buf;

        if (ngx_buf_in_memory(b)) {
            p = ngx_cpymem(p, b->pos, b->last - b->pos);

        } else if (b->in_file) {
            n = ngx_read_file(b->file, p, b->file_last - b->file_pos,
                              b->file_pos);
            if (n != b->file_last - b->file_pos) {
                return NGX_ERROR;
            }

            p += n;
        }
    }

    return NGX_OK;
}
