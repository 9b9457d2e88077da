/*
 * One connection to Redis per nginx process, in nginx's event loop, for one
 * script.  Commands of requests that are handled in the same turn of the loop
 * leave in one write.
 *
 * An operation ends once: with its reply, with NGX_ERROR when Redis failed, or
 * with NGX_BUSY at its deadline.  After that, and after ngx_pay_redis_cancel,
 * the operation is not the caller's any more; a late reply is dropped here.
 */

#ifndef _NGX_PAY_REDIS_H_INCLUDED_
#define _NGX_PAY_REDIS_H_INCLUDED_


#include "ngx_http_pay_private.h"


#define NGX_PAY_REDIS_CMD_MAX  1024


/* set by the pay_redis directive */

typedef struct {
    ngx_str_t               path;       /* of a unix socket, or */
    ngx_str_t               host;       /* a numeric address; both end in NUL */
    in_port_t               port;
    ngx_str_t               password;   /* ends in NUL */
    ngx_uint_t              db;
    ngx_msec_t              timeout;    /* of one operation */
    ngx_msec_t              pause;      /* Redis is not asked for so long */
    ngx_uint_t              failures;   /* in a row before that */
    ngx_uint_t              inflight;   /* operations at once */
} ngx_pay_redis_conf_t;


typedef void (*ngx_pay_redis_pt)(void *data, ngx_int_t rc, int64_t value);


/* script: one that answers with an integer; lives as long as the process */
ngx_int_t ngx_pay_redis_start(ngx_cycle_t *cycle, ngx_pay_redis_conf_t *conf,
    const char *script);
void ngx_pay_redis_stop(void);

/*
 * Runs the script; the first nkeys arguments are its keys.  NULL when Redis
 * cannot be asked now: handler is not called then.
 */
ngx_pay_redis_op_t *ngx_pay_redis_eval(ngx_str_t *args, ngx_uint_t nargs,
    ngx_uint_t nkeys, ngx_pay_redis_pt handler, void *data);
void ngx_pay_redis_cancel(ngx_pay_redis_op_t *op);


#endif /* _NGX_PAY_REDIS_H_INCLUDED_ */
