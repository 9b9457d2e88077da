/*
 * An answer that is held back until it is complete: the filter collects it,
 * ngx_http_pay_answer_sign.c makes the signature.
 */

#ifndef _NGX_HTTP_PAY_ANSWER_H_INCLUDED_
#define _NGX_HTTP_PAY_ANSWER_H_INCLUDED_

#include "ngx_pay_module/request/ngx_http_pay_private.h"


#define NGX_HTTP_PAY_ANSWER_CAP    (256 * 1024)
#define NGX_HTTP_PAY_ANSWER_QUEUE  1024
/* free in connection->buffered, as the image filter takes it */
#define NGX_HTTP_PAY_BUFFERED      0x08


/* set by pay_platform_key */

typedef struct {
    ngx_str_t               serial;     /* empty: there is none */
    struct verify_key       key;        /* private */
} ngx_http_pay_platform_key_t;


typedef struct {
    ngx_http_pay_platform_key_t  keys[KEY_MD5 + 1]; /* by enum key_alg */
    ngx_uint_t              queue;      /* RSA requests in progress at once */
    void                   *pool;       /* of one thread */
} ngx_http_pay_platform_t;


typedef struct {
    ngx_http_pay_platform_t  *platform;
} ngx_http_pay_answer_main_conf_t;


typedef struct {
    ngx_http_request_t     *request;
    ngx_http_pay_ctx_t     *ctx;
    const struct verify_key *key;       /* the answer's */

    enum {
        ngx_http_pay_answer_hold = 0,   /* collecting */
        ngx_http_pay_answer_sign,       /* the thread has it */
        ngx_http_pay_answer_signed,
        ngx_http_pay_answer_sent
    }                       state;

    ngx_buf_t              *body;       /* NULL: nothing yet */
    size_t                  size;       /* allocated in body */

    ngx_str_t               timestamp;
    ngx_str_t               nonce;
    ngx_str_t               serial;     /* of the key */
    ngx_str_t               message;    /* what is signed, but for the body */
    ngx_str_t               input;      /* RFC 9421: Signature-Input */
    ngx_str_t               digest;     /* and Content-Digest */

    size_t                  length;     /* of the signature; 0: not made */
    unsigned                replaced:1; /* body is a problem's, input is not */
    unsigned                to_sign:1;
    u_char                  text[NGX_TIME_T_LEN + NGX_PAY_TOKEN_LEN];
    u_char                  signature[SIGNATURE_MAX];
} ngx_http_pay_answer_t;


/* too long for the loop: a thread signs */

static ngx_inline ngx_uint_t
ngx_http_pay_answer_is_slow(enum key_alg alg)
{
    return alg == KEY_RSA_SHA256 || alg == KEY_RSA_PSS_SHA512;
}


/* NGX_OK: signature made.  NGX_AGAIN: r->write_event_handler will be called. */
ngx_int_t ngx_http_pay_answer_make(ngx_http_pay_answer_t *a);
ngx_int_t ngx_http_pay_answer_headers(ngx_http_pay_answer_t *a);

/* the text of schemes that do not sign the body itself, into a->message */
ngx_int_t ngx_http_pay_answer_message(ngx_http_pay_answer_t *a);

ngx_http_pay_platform_t *ngx_http_pay_answer_platform(void);
char *ngx_http_pay_answer_set_key(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);


#endif /* _NGX_HTTP_PAY_ANSWER_H_INCLUDED_ */
