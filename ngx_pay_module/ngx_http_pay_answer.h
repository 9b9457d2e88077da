/*
 * An answer that is held back until it is complete: the filter collects it,
 * ngx_http_pay_answer_sign.c makes the signature.
 */

#ifndef _NGX_HTTP_PAY_ANSWER_H_INCLUDED_
#define _NGX_HTTP_PAY_ANSWER_H_INCLUDED_


#include "ngx_http_pay_private.h"


#define NGX_HTTP_PAY_ANSWER_CAP    (256 * 1024)
#define NGX_HTTP_PAY_ANSWER_QUEUE  1024
#define NGX_HTTP_PAY_SIGNATURE     1024     /* base64, RSA up to 4096 bits */

/* free in connection->buffered, as the image filter takes it */
#define NGX_HTTP_PAY_BUFFERED      0x08


/* set by pay_platform_key */

typedef struct {
    ngx_str_t               serial;
    struct verify_key       key;        /* private */
    ngx_uint_t              queue;      /* RSA requests in progress at once */
    void                   *pool;       /* of one thread */
} ngx_http_pay_platform_t;


typedef struct {
    ngx_http_pay_platform_t  *platform;
} ngx_http_pay_answer_main_conf_t;


typedef struct {
    ngx_http_request_t     *request;
    ngx_http_pay_ctx_t     *ctx;
    ngx_http_pay_platform_t *platform;

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
    ngx_str_t               signature;  /* empty: it could not be made */

    unsigned                replaced:1; /* body is a problem's, input is not */
    unsigned                to_sign:1;
    u_char                  text[NGX_TIME_T_LEN + NGX_PAY_TOKEN_LEN
                                 + NGX_HTTP_PAY_SIGNATURE];
} ngx_http_pay_answer_t;


/* NGX_OK: signature made.  NGX_AGAIN: r->write_event_handler will be called. */
ngx_int_t ngx_http_pay_answer_make(ngx_http_pay_answer_t *a);
ngx_int_t ngx_http_pay_answer_headers(ngx_http_pay_answer_t *a);

ngx_http_pay_platform_t *ngx_http_pay_answer_platform(void);
char *ngx_http_pay_answer_set_key(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);


#endif /* _NGX_HTTP_PAY_ANSWER_H_INCLUDED_ */
