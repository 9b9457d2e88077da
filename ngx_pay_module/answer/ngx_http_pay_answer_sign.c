/*
 * Signatures of answers, in the scheme and algorithm of their requests.  HMAC
 * and MD5 are made at once with the app's own key; so are Ed25519 and ECDSA
 * (25 to 50 us) with the platform's.  RSA takes 250 us, as long as a dozen
 * requests, and goes to a thread of low priority.  One thread: each further
 * one would take its time from the loop.
 */

#include "ngx_http_pay_answer.h"

#include "ngx_pay_module/keys/ngx_pay_keys.h"
#include "ngx_pay_module/request/ngx_pay_text.h"
#include "ngx_pay_module/sign/ngx_http_pay_claim.h"

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
ngx_http_pay_answer_compute(ngx_http_pay_answer_t *a)
{
    size_t        n, length;
    struct slice  body, parts[SCHEME_PARTS];

    if (a->message.len) {
        n = 1;
        parts[0] = ngx_pay_slice(a->message);

        /* the text of sorted parameters ends with the secret */

        if (a->ctx->scheme == SCHEME_SORTED && key_alg_is_shared(a->key->alg)) {
            n = 3;
            parts[1] = SLICE("&key=");
            parts[2] = slice_n(a->key->secret.p, a->key->secret.n);
        }

    } else {
        body = a->body ? slice_n(a->body->pos, a->body->last - a->body->pos)
                       : SLICE_NULL;

        n = scheme_answer_parts(ngx_pay_slice(a->timestamp),
                                ngx_pay_slice(a->nonce), body, parts);
    }

    if (key_sign(a->key, parts, n, a->signature, &length) == 0) {
        a->length = length;
    }
}


#if (NGX_THREADS)

static void
ngx_http_pay_answer_thread(void *data, ngx_log_t *log)
{
    ngx_http_pay_answer_t  *a = *(ngx_http_pay_answer_t **) data;

    static __thread ngx_uint_t  nice;

    if (!nice) {
        nice = 1;
        (void) setpriority(PRIO_PROCESS, ngx_log_tid,
                           getpriority(PRIO_PROCESS, ngx_log_tid)
                           + NGX_HTTP_PAY_NICE);
    }

    ngx_http_pay_answer_compute(a);

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

    if (ngx_thread_task_post(ngx_http_pay_answer_platform()->pool, task)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    a->state = ngx_http_pay_answer_sign;
    a->request->main->blocked++;
    a->request->aio = 1;
    a->request->connection->buffered |= NGX_HTTP_PAY_BUFFERED;

    return NGX_AGAIN;
}

#endif


/* which key, and what of it the answer names */

static void
ngx_http_pay_answer_choose(ngx_http_pay_answer_t *a)
{
    ngx_http_pay_ctx_t           *ctx = a->ctx;
    ngx_http_pay_platform_key_t  *own;

    if (key_alg_is_shared(ctx->alg)) {
        a->key = &ctx->key->verify;
        a->serial = ctx->serial;
        ngx_http_pay_count(sign_hmac);
        return;
    }

    own = &ngx_http_pay_answer_platform()->keys[ctx->alg];
    a->key = &own->key;
    a->serial = own->serial;

    if (ngx_http_pay_answer_is_slow(ctx->alg)) {
        ngx_http_pay_count(sign_rsa);

    } else {
        ngx_http_pay_count(sign_ec);
    }
}


ngx_int_t
ngx_http_pay_answer_make(ngx_http_pay_answer_t *a)
{
    u_char  *p;

    p = a->text;

    a->timestamp.data = p;
    p = ngx_pay_put_number(p, ngx_time());
    a->timestamp.len = p - a->timestamp.data;

    a->nonce.data = p;
    a->nonce.len = NGX_PAY_TOKEN_LEN;
    ngx_http_pay_token(p);

    ngx_http_pay_answer_choose(a);

    if ((a->ctx->scheme == SCHEME_SORTED || a->ctx->scheme == SCHEME_RFC9421)
        && ngx_http_pay_answer_message(a) != NGX_OK)
    {
        return NGX_ERROR;
    }

#if (NGX_THREADS)

    if (ngx_http_pay_answer_is_slow(a->ctx->alg)
        && ngx_http_pay_answer_platform()->pool
        && ngx_http_pay_answer_post(a) == NGX_AGAIN)
    {
        return NGX_AGAIN;
    }

#endif

    /* better a slow loop than a payment without its answer */

    ngx_http_pay_answer_compute(a);

    return NGX_OK;
}


static ngx_int_t
ngx_http_pay_answer_limits(ngx_http_request_t *r, ngx_http_pay_ctx_t *ctx)
{
    u_char     *p;
    ngx_str_t   name, value;

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

    p = value.data;
    *p++ = '"';
    p = ngx_pay_put_str(p, ctx->limit);
    p = ngx_pay_put(p, "\";r=");
    p = ngx_pay_put_number(p, ctx->remaining);
    p = ngx_pay_put(p, ";t=");
    p = ngx_pay_put_number(p, ctx->reset);
    value.len = p - value.data;

    return ngx_http_pay_add_header(r, name, value);
}


/* hex for the sorted scheme's shared secrets, base64 for everything else */

static ngx_int_t
ngx_http_pay_answer_encode(ngx_http_pay_answer_t *a, ngx_str_t *to)
{
    size_t        n;
    ngx_uint_t    hex;
    struct buf    text;
    struct slice  raw;

    hex = a->ctx->scheme == SCHEME_SORTED && key_alg_is_shared(a->ctx->alg);
    raw = slice_n(a->signature, a->length);
    n = 2 * a->length + sizeof("pay=:::");

    to->data = ngx_pnalloc(a->request->pool, n);
    if (to->data == NULL) {
        return NGX_ERROR;
    }

    buf_init(&text, n);

    if (a->ctx->scheme == SCHEME_RFC9421) {
        buf_add_str(&text, "pay=");
        sf_write_bytes(&text, raw);

    } else if (hex) {
        hex_encode(&text, raw, true);

    } else {
        base64_encode(&text, raw);
    }

    to->len = buf_ok(&text) ? text.n : 0;
    ngx_memcpy(to->data, text.p, to->len);
    buf_release(&text);

    return to->len ? NGX_OK : NGX_ERROR;
}


static ngx_int_t
ngx_http_pay_answer_httpsig_headers(ngx_http_pay_answer_t *a,
    ngx_str_t *signature)
{
    ngx_str_t            digest, input, name;
    ngx_http_request_t  *r = a->request;

    ngx_str_set(&digest, "Content-Digest");
    ngx_str_set(&input, "Signature-Input");
    ngx_str_set(&name, "Signature");

    if (ngx_http_pay_add_header(r, digest, a->digest) != NGX_OK
        || ngx_http_pay_add_header(r, input, a->input) != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_http_pay_add_header(r, name, *signature);
}


static ngx_int_t
ngx_http_pay_answer_own_headers(ngx_http_pay_answer_t *a, ngx_str_t *signature)
{
    ngx_str_t            type;
    ngx_uint_t           i;
    ngx_http_request_t  *r = a->request;
    ngx_http_pay_ctx_t  *ctx = a->ctx;

    i = ctx->scheme == SCHEME_WECHATPAY2_RSA ? 0 : 1;

    if (ngx_http_pay_add_header(r, ngx_http_pay_answer_names[i].timestamp,
                                a->timestamp) != NGX_OK
        || ngx_http_pay_add_header(r, ngx_http_pay_answer_names[i].nonce,
                                   a->nonce) != NGX_OK
        || ngx_http_pay_add_header(r, ngx_http_pay_answer_names[i].serial,
                                   a->serial) != NGX_OK
        || ngx_http_pay_add_header(r, ngx_http_pay_answer_names[i].signature,
                                   *signature) != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (ctx->scheme == SCHEME_PAY_HMAC) {
        return NGX_OK;
    }

    type = ngx_pay_str(slice_of(ctx->scheme == SCHEME_SORTED
                                ? sorted_sign_type(ctx->alg)
                                : scheme_name(ctx->scheme)));

    return ngx_http_pay_add_header(r, ngx_http_pay_answer_names[i].type, type);
}


ngx_int_t
ngx_http_pay_answer_headers(ngx_http_pay_answer_t *a)
{
    ngx_int_t            rc;
    ngx_str_t            signature;
    ngx_http_pay_ctx_t  *ctx = a->ctx;

    if (a->length == 0 || ngx_http_pay_answer_encode(a, &signature) != NGX_OK) {
        return NGX_ERROR;
    }

    rc = ctx->scheme == SCHEME_RFC9421
         ? ngx_http_pay_answer_httpsig_headers(a, &signature)
         : ngx_http_pay_answer_own_headers(a, &signature);

    if (rc != NGX_OK) {
        return NGX_ERROR;
    }

    return ctx->limited ? ngx_http_pay_answer_limits(a->request, ctx) : NGX_OK;
}
