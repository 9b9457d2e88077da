/*
 * Signatures of answers.  HMAC is made at once with the app's own key; RSA
 * takes 250 us, as long as a dozen requests, and goes to a thread of low
 * priority.  One thread: each further one would take its time from the loop.
 */

#include "ngx_http_pay_answer.h"
#include "ngx_pay_keys.h"

#include <openssl/crypto.h>
#include <sys/resource.h>


#define NGX_HTTP_PAY_NICE  10


static const struct {
    ngx_str_t  timestamp;
    ngx_str_t  nonce;
    ngx_str_t  serial;
    ngx_str_t  signature;
    ngx_str_t  type;
} ngx_http_pay_answer_names[] = {

    { ngx_string("Wechatpay-Timestamp"), ngx_string("Wechatpay-Nonce"),
      ngx_string("Wechatpay-Serial"), ngx_string("Wechatpay-Signature"),
      ngx_string("Wechatpay-Signature-Type") },

    { ngx_string("Pay-Timestamp"), ngx_string("Pay-Nonce"),
      ngx_string("Pay-Serial"), ngx_string("Pay-Signature"),
      ngx_string("Pay-Signature-Type") }
};


/* in the loop or in the thread: touches nothing but what it is given */

static void
ngx_http_pay_answer_compute(ngx_http_pay_answer_t *a,
    const struct verify_key *key)
{
    size_t        n;
    struct buf    out;
    struct slice  body, parts[SCHEME_PARTS];

    body = a->body ? slice_n(a->body->pos, a->body->last - a->body->pos)
                   : SLICE_NULL;

    n = scheme_answer_parts(ngx_pay_slice(a->timestamp),
                            ngx_pay_slice(a->nonce), body, parts);

    buf_init(&out, NGX_HTTP_PAY_SIGNATURE);

    if (scheme_sign(key, parts, n, &out) == 0) {
        ngx_memcpy(a->signature.data, out.p, out.n);
        a->signature.len = out.n;
    }

    buf_release(&out);
}


#if (NGX_THREADS)

static void
ngx_http_pay_answer_thread(void *data, ngx_log_t *log)
{
    ngx_http_pay_answer_t  *a = *(ngx_http_pay_answer_t **) data;

    static __thread ngx_uint_t  nice;

    if (!nice) {
        nice = 1;
        (void) setpriority(PRIO_PROCESS, ngx_log_tid, NGX_HTTP_PAY_NICE);
    }

    ngx_http_pay_answer_compute(a, &a->platform->key);

    /*
     * OpenSSL's memory of this thread goes now: at the end of the process the
     * thread's own end and OPENSSL_cleanup would both free it.
     */

    OPENSSL_thread_stop();
}


static void
ngx_http_pay_answer_event(ngx_event_t *ev)
{
    ngx_connection_t       *c;
    ngx_http_request_t     *r;
    ngx_http_pay_answer_t  *a = ev->data;

    r = a->request;
    c = r->connection;

    ngx_http_set_log_request(c->log, r);

    a->state = ngx_http_pay_answer_signed;
    r->main->blocked--;
    r->aio = 0;

    if (r->done) {
        c->write->handler(c->write);
        return;
    }

    r->write_event_handler(r);
    ngx_http_run_posted_requests(c);
}


static ngx_int_t
ngx_http_pay_answer_post(ngx_http_pay_answer_t *a)
{
    ngx_thread_task_t  *task;

    task = ngx_thread_task_alloc(a->request->pool, sizeof(a));
    if (task == NULL) {
        return NGX_ERROR;
    }

    *(ngx_http_pay_answer_t **) task->ctx = a;
    task->handler = ngx_http_pay_answer_thread;
    task->event.handler = ngx_http_pay_answer_event;
    task->event.data = a;

    if (ngx_thread_task_post(a->platform->pool, task) != NGX_OK) {
        return NGX_ERROR;
    }

    a->state = ngx_http_pay_answer_sign;
    a->request->main->blocked++;
    a->request->aio = 1;
    a->request->connection->buffered |= NGX_HTTP_PAY_BUFFERED;

    return NGX_AGAIN;
}

#endif


ngx_int_t
ngx_http_pay_answer_make(ngx_http_pay_answer_t *a)
{
    u_char              *p;
    ngx_http_pay_ctx_t  *ctx = a->ctx;

    p = a->text;

    a->timestamp.data = p;
    p = ngx_sprintf(p, "%T", ngx_time());
    a->timestamp.len = p - a->timestamp.data;

    a->nonce.data = p;
    a->nonce.len = NGX_PAY_TOKEN_LEN;
    ngx_http_pay_token(p);

    a->signature.data = p + NGX_PAY_TOKEN_LEN;
    a->signature.len = 0;

    if (ctx->alg == KEY_HMAC_SHA256) {
        ngx_http_pay_count(sign_hmac);
        ngx_http_pay_answer_compute(a, &ctx->key->verify);
        return NGX_OK;
    }

    a->platform = ngx_http_pay_answer_platform();
    ngx_http_pay_count(sign_rsa);

#if (NGX_THREADS)

    if (a->platform->pool && ngx_http_pay_answer_post(a) == NGX_AGAIN) {
        return NGX_AGAIN;
    }

#endif

    /* better a slow loop than a payment without its answer */

    ngx_http_pay_answer_compute(a, &a->platform->key);

    return NGX_OK;
}


static ngx_int_t
ngx_http_pay_answer_limits(ngx_http_request_t *r, ngx_http_pay_ctx_t *ctx)
{
    ngx_str_t  name, value;

    ngx_str_set(&name, "RateLimit-Policy");

    if (ngx_http_pay_add_header(r, name, ctx->policy) != NGX_OK) {
        return NGX_ERROR;
    }

    ngx_str_set(&name, "RateLimit");

    value.data = ngx_pnalloc(r->pool, sizeof("\"\";r=;t=") + ctx->limit->len
                                      + 2 * NGX_INT_T_LEN);
    if (value.data == NULL) {
        return NGX_ERROR;
    }

    value.len = ngx_sprintf(value.data, "\"%V\";r=%ui;t=%ui", ctx->limit,
                            ctx->remaining, ctx->reset)
                - value.data;

    return ngx_http_pay_add_header(r, name, value);
}


ngx_int_t
ngx_http_pay_answer_headers(ngx_http_pay_answer_t *a)
{
    ngx_str_t            serial, type;
    ngx_uint_t           i;
    ngx_http_request_t  *r = a->request;
    ngx_http_pay_ctx_t  *ctx = a->ctx;

    if (a->signature.len == 0) {
        return NGX_ERROR;
    }

    i = ctx->scheme == SCHEME_WECHATPAY2_RSA ? 0 : 1;

    serial = ctx->alg == KEY_HMAC_SHA256 ? ctx->serial : a->platform->serial;

    if (ngx_http_pay_add_header(r, ngx_http_pay_answer_names[i].timestamp,
                                a->timestamp) != NGX_OK
        || ngx_http_pay_add_header(r, ngx_http_pay_answer_names[i].nonce,
                                   a->nonce) != NGX_OK
        || ngx_http_pay_add_header(r, ngx_http_pay_answer_names[i].serial,
                                   serial) != NGX_OK
        || ngx_http_pay_add_header(r, ngx_http_pay_answer_names[i].signature,
                                   a->signature) != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (ctx->alg != KEY_HMAC_SHA256) {
        type = ngx_pay_str(slice_of(scheme_name(ctx->scheme)));

        if (ngx_http_pay_add_header(r, ngx_http_pay_answer_names[i].type, type)
            != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    return ctx->limited ? ngx_http_pay_answer_limits(r, ctx) : NGX_OK;
}
