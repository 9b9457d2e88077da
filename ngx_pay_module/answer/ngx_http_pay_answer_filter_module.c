/*
 * Answers on their way out.
 *
 * Whatever answers a verified request is signed: the header is held back, the
 * body collected (up to a cap), and both go on once the signature is there.
 * Answers that nginx makes itself become problem+json, where pay_problems says
 * so.  Standing before the copy filter, this one sees identity bodies in
 * memory, so the signature holds under gzip as well.
 */

#include "ngx_http_pay_answer.h"


static ngx_int_t ngx_http_pay_answer_send(ngx_http_pay_answer_t *a);

static void *ngx_http_pay_answer_create_main_conf(ngx_conf_t *cf);
static ngx_int_t ngx_http_pay_answer_init(ngx_conf_t *cf);
static ngx_int_t ngx_http_pay_answer_init_process(ngx_cycle_t *cycle);


static ngx_command_t  ngx_http_pay_answer_commands[] = {

    { ngx_string("pay_platform_key"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE23,
      ngx_http_pay_answer_set_key,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

      ngx_null_command
};


static ngx_http_module_t  ngx_http_pay_answer_filter_module_ctx = {
    NULL,                                  /* preconfiguration */
    ngx_http_pay_answer_init,              /* postconfiguration */

    ngx_http_pay_answer_create_main_conf,  /* create main configuration */
    NULL,                                  /* init main configuration */

    NULL,                                  /* create server configuration */
    NULL,                                  /* merge server configuration */

    NULL,                                  /* create location configuration */
    NULL                                   /* merge location configuration */
};


ngx_module_t  ngx_http_pay_answer_filter_module = {
    NGX_MODULE_V1,
    &ngx_http_pay_answer_filter_module_ctx, /* module context */
    ngx_http_pay_answer_commands,          /* module directives */
    NGX_HTTP_MODULE,                       /* module type */
    NULL,                                  /* init master */
    NULL,                                  /* init module */
    ngx_http_pay_answer_init_process,      /* init process */
    NULL,                                  /* init thread */
    NULL,                                  /* exit thread */
    NULL,                                  /* exit process */
    NULL,                                  /* exit master */
    NGX_MODULE_V1_PADDING
};


static ngx_http_output_header_filter_pt  ngx_http_next_header_filter;
static ngx_http_output_body_filter_pt    ngx_http_next_body_filter;

static ngx_http_pay_platform_t          *ngx_http_pay_platform;
static ngx_uint_t                        ngx_http_pay_reserved;


ngx_http_pay_platform_t *
ngx_http_pay_answer_platform(void)
{
    return ngx_http_pay_platform;
}


ngx_int_t
ngx_http_pay_answer_reserve(ngx_http_pay_ctx_t *ctx)
{
    if (key_alg_is_shared(ctx->alg)) {
        return NGX_OK;
    }

    if (ngx_http_pay_platform->keys[ctx->alg].serial.len == 0) {
        return NGX_DECLINED;
    }

    if (!ngx_http_pay_answer_is_slow(ctx->alg)) {
        return NGX_OK;
    }

    if (ngx_http_pay_reserved >= ngx_http_pay_platform->queue) {
        ngx_http_pay_count(sign_full);
        return NGX_BUSY;
    }

    ctx->reserved = 1;
    ngx_http_pay_reserved++;
    ngx_http_pay_row()->sign_inflight = ngx_http_pay_reserved;

    return NGX_OK;
}


void
ngx_http_pay_answer_release(ngx_http_pay_ctx_t *ctx)
{
    if (ctx->reserved) {
        ctx->reserved = 0;
        ngx_http_pay_reserved--;
        ngx_http_pay_row()->sign_inflight = ngx_http_pay_reserved;
    }
}


/* an error that no worker sent and that is not one of our problems */

static ngx_uint_t
ngx_http_pay_answer_is_nginx(ngx_http_request_t *r)
{
    if (r->headers_out.status < NGX_HTTP_BAD_REQUEST) {
        return 0;
    }

    /* the upstream module forgets its clean-up when it gives up */

    if (r->upstream && r->upstream->cleanup) {
        return 0;
    }

    return r->headers_out.content_type.len != sizeof(PROBLEM_CONTENT_TYPE) - 1
           || ngx_strncmp(r->headers_out.content_type.data,
                          PROBLEM_CONTENT_TYPE,
                          sizeof(PROBLEM_CONTENT_TYPE) - 1)
              != 0;
}


/*
 * A worker whose answer has no status line is taken for HTTP/0.9 by the proxy
 * module, which then sends the client no header either.
 */

static ngx_uint_t
ngx_http_pay_answer_version(ngx_http_request_t *r)
{
    if (r->http_version != NGX_HTTP_VERSION_9) {
        return 0;
    }

    r->http_version = NGX_HTTP_VERSION_11;

#if (NGX_HTTP_V2)
    if (r->stream) {
        r->http_version = NGX_HTTP_VERSION_20;
    }
#endif

    return 1;
}


static ngx_int_t
ngx_http_pay_answer_replace(ngx_http_pay_answer_t *a, enum problem_code code,
    ngx_uint_t status)
{
    ngx_http_request_t  *r = a->request;

    a->body = ngx_http_pay_problem(r, code, status, NULL, SLICE_NULL);
    if (a->body == NULL) {
        return NGX_ERROR;
    }

    a->replaced = 1;

    return NGX_OK;
}


/*
 * A unix socket says that there is room whenever the other side has read, and
 * nginx is woken for nothing by each request that it passes on.  It does not
 * wait for room now; when it has to, it watches again by itself.
 */

static void
ngx_http_pay_answer_unwatch(ngx_http_request_t *r)
{
    ngx_event_t  *wev;

    if (r->upstream == NULL || r->upstream->peer.connection == NULL
        || !(ngx_event_flags & NGX_USE_EPOLL_EVENT))
    {
        return;
    }

    wev = r->upstream->peer.connection->write;

    if (wev->active && wev->ready) {
        (void) ngx_del_event(wev, NGX_WRITE_EVENT, NGX_CLEAR_EVENT);
    }
}


static ngx_int_t
ngx_http_pay_answer_header_filter(ngx_http_request_t *r)
{
    ngx_uint_t                replace, status;
    enum problem_code         code;
    ngx_http_pay_ctx_t       *ctx;
    ngx_http_pay_answer_t    *a;
    ngx_http_pay_loc_conf_t  *plcf;

    if (r != r->main) {
        return ngx_http_next_header_filter(r);
    }

    ctx = ngx_http_pay_get_ctx(r);
    plcf = ngx_http_get_module_loc_conf(r, ngx_http_pay_core_module);

    replace = (plcf->problems & 1) && ngx_http_pay_answer_is_nginx(r);

    if (!replace && (ctx == NULL || !ctx->verified)) {
        return ngx_http_next_header_filter(r);
    }

    a = ngx_pcalloc(r->pool, sizeof(ngx_http_pay_answer_t));
    if (a == NULL) {
        return NGX_ERROR;
    }

    a->request = r;
    a->ctx = ctx;
    a->to_sign = ctx && ctx->verified;

    if (replace) {
        status = r->headers_out.status;
        code = ngx_http_pay_nginx_problem(r, status);

        /* what a worker did or did not get has its own statuses */

        if (code == PROBLEM_RETRY_SAME_NUMBER || code == PROBLEM_RESULT_UNKNOWN)
        {
            status = 0;
        }

        if (ngx_http_pay_answer_replace(a, code, status) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    if (a->to_sign && ngx_http_pay_answer_version(r)
        && ngx_http_pay_answer_replace(a, PROBLEM_RESULT_UNKNOWN, 0) != NGX_OK)
    {
        return NGX_ERROR;
    }

    ngx_http_pay_answer_unwatch(r);

    ngx_http_set_ctx(r, a, ngx_http_pay_answer_filter_module);

    if (r->header_only) {
        /* HEAD is not in the API: never verified */
        a->state = ngx_http_pay_answer_sent;
        return ngx_http_next_header_filter(r);
    }

    r->main_filter_need_in_memory = 1;
    r->allow_ranges = 0;

    return NGX_OK;
}


static ngx_int_t
ngx_http_pay_answer_room(ngx_http_pay_answer_t *a, size_t n)
{
    off_t       expected;
    size_t      used, size;
    ngx_buf_t  *b;

    used = a->body ? (size_t) (a->body->last - a->body->pos) : 0;

    if (used + n > NGX_HTTP_PAY_ANSWER_CAP) {
        return NGX_DECLINED;
    }

    if (used + n <= a->size) {
        return NGX_OK;
    }

    expected = a->request->headers_out.content_length_n;

    size = ngx_max(used + n, a->size * 2);

    if (expected > (off_t) size && expected <= NGX_HTTP_PAY_ANSWER_CAP) {
        size = expected;
    }

    size = ngx_min(size, NGX_HTTP_PAY_ANSWER_CAP);

    b = ngx_create_temp_buf(a->request->pool, size);
    if (b == NULL) {
        return NGX_ERROR;
    }

    if (used) {
        b->last = ngx_cpymem(b->last, a->body->pos, used);
    }

    a->body = b;
    a->size = size;

    return NGX_OK;
}


/* *last: the whole answer has come.  Everything in the chain is consumed. */

static ngx_int_t
ngx_http_pay_answer_collect(ngx_http_pay_answer_t *a, ngx_chain_t *in,
    ngx_uint_t *last)
{
    size_t                n;
    ngx_int_t             rc;
    ngx_buf_t            *b;
    ngx_chain_t          *cl;
    ngx_uint_t            flush;
    ngx_http_upstream_t  *u;

    flush = 0;

    for (cl = in; cl; cl = cl->next) {
        b = cl->buf;
        n = ngx_buf_in_memory(b) ? b->last - b->pos : 0;

        if (n && !a->replaced) {
            rc = ngx_http_pay_answer_room(a, n);

            if (rc == NGX_ERROR) {
                return NGX_ERROR;
            }

            if (rc == NGX_OK) {
                a->body->last = ngx_cpymem(a->body->last, b->pos, n);

            } else {
                ngx_log_error(NGX_LOG_ERR, a->request->connection->log, 0,
                              "pay: answer too long to be signed");

                if (ngx_http_pay_answer_replace(a, PROBLEM_INTERNAL, 0)
                    != NGX_OK)
                {
                    return NGX_ERROR;
                }
            }
        }

        b->pos = b->last;
        b->file_pos = b->file_last;

        *last |= b->last_buf;
        flush |= b->flush;
    }

    /* a worker that broke off: nobody knows what it would have said */

    u = a->request->upstream;

    if (flush && !*last && u && u->cleanup == NULL) {
        *last = 1;
        return ngx_http_pay_answer_replace(a, PROBLEM_RESULT_UNKNOWN, 0);
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_pay_answer_body_filter(ngx_http_request_t *r, ngx_chain_t *in)
{
    ngx_int_t               rc;
    ngx_uint_t              last;
    ngx_http_pay_answer_t  *a;

    a = ngx_http_get_module_ctx(r, ngx_http_pay_answer_filter_module);

    if (a == NULL || r != r->main) {
        return ngx_http_next_body_filter(r, in);
    }

    switch (a->state) {

    case ngx_http_pay_answer_hold:
        last = 0;

        if (ngx_http_pay_answer_collect(a, in, &last) != NGX_OK) {
            return NGX_ERROR;
        }

        if (!last) {
            return NGX_OK;
        }

        if (a->to_sign) {
            rc = ngx_http_pay_answer_make(a);

            if (rc != NGX_OK) {
                return rc;
            }
        }

        return ngx_http_pay_answer_send(a);

    case ngx_http_pay_answer_sign:
        return NGX_AGAIN;

    case ngx_http_pay_answer_signed:
        r->connection->buffered &= ~NGX_HTTP_PAY_BUFFERED;
        return ngx_http_pay_answer_send(a);

    default: /* ngx_http_pay_answer_sent */
        return ngx_http_next_body_filter(r, in);
    }
}


static ngx_int_t
ngx_http_pay_answer_send(ngx_http_pay_answer_t *a)
{
    ngx_int_t            rc;
    ngx_buf_t           *b;
    ngx_chain_t          out;
    ngx_http_request_t  *r = a->request;

    a->state = ngx_http_pay_answer_sent;

    if (a->to_sign && ngx_http_pay_answer_headers(a) != NGX_OK) {
        ngx_log_error(NGX_LOG_ERR, r->connection->log, 0,
                      "pay: the answer could not be signed");
        return NGX_ERROR;
    }

    b = a->body;

    ngx_http_clear_content_length(r);
    r->headers_out.content_length_n = b ? b->last - b->pos : 0;

    rc = ngx_http_next_header_filter(r);

    if (rc == NGX_ERROR || rc > NGX_OK) {
        return NGX_ERROR;
    }

    if (b == NULL || b->last == b->pos || r->header_only) {
        b = ngx_calloc_buf(r->pool);
        if (b == NULL) {
            return NGX_ERROR;
        }
    }

    b->last_buf = 1;
    b->last_in_chain = 1;

    out.buf = b;
    out.next = NULL;

    return ngx_http_next_body_filter(r, &out);
}


static void *
ngx_http_pay_answer_create_main_conf(ngx_conf_t *cf)
{
    return ngx_pcalloc(cf->pool, sizeof(ngx_http_pay_answer_main_conf_t));
}


static ngx_int_t
ngx_http_pay_answer_init(ngx_conf_t *cf)
{
    ngx_http_pay_where_t             *at;
    ngx_http_pay_answer_main_conf_t  *amcf;

    amcf = ngx_http_conf_get_module_main_conf(cf,
                                            ngx_http_pay_answer_filter_module);
    at = ngx_http_pay_sign_at(cf);

    if (at->line && amcf->platform == NULL) {
        ngx_http_pay_conf_error(cf, at,
                                "\"pay_sign\" needs \"pay_platform_key\",");
        return NGX_ERROR;
    }

    ngx_http_next_header_filter = ngx_http_top_header_filter;
    ngx_http_top_header_filter = ngx_http_pay_answer_header_filter;

    ngx_http_next_body_filter = ngx_http_top_body_filter;
    ngx_http_top_body_filter = ngx_http_pay_answer_body_filter;

    return NGX_OK;
}


static ngx_int_t
ngx_http_pay_answer_init_process(ngx_cycle_t *cycle)
{
    ngx_http_pay_answer_main_conf_t  *amcf;

    amcf = ngx_http_cycle_get_module_main_conf(cycle,
                                            ngx_http_pay_answer_filter_module);

    ngx_http_pay_platform = amcf ? amcf->platform : NULL;

    return NGX_OK;
}
