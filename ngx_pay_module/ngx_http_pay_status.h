/*
 * Text of the status page, written piece by piece.
 */

#ifndef _NGX_HTTP_PAY_STATUS_H_INCLUDED_
#define _NGX_HTTP_PAY_STATUS_H_INCLUDED_


#include "ngx_http_pay_channel.h"
#include "ngx_http_pay_core.h"


#define NGX_HTTP_PAY_STATUS_CHUNK  32768
#define NGX_HTTP_PAY_STATUS_LINE   512      /* most bytes of one printf */


typedef struct {
    ngx_pool_t    *pool;
    ngx_chain_t   *out;
    ngx_chain_t  **last;
    ngx_buf_t     *buf;
    off_t          size;
    ngx_uint_t     failed;
} ngx_http_pay_status_text_t;


void ngx_cdecl ngx_http_pay_status_printf(ngx_http_pay_status_text_t *t,
    const char *fmt, ...);

void ngx_http_pay_status_prometheus(ngx_http_request_t *r,
    ngx_http_pay_status_text_t *t);
void ngx_http_pay_status_json(ngx_http_request_t *r,
    ngx_http_pay_status_text_t *t);


/*
 * Counters of the incoming side, for both formats: summed over the rows of
 * the processes.  Ends with name NULL.
 */

typedef struct {
    const char    *name;
    const char    *help;
    size_t         offset;      /* in ngx_http_pay_row_t */
    ngx_uint_t     gauge;
} ngx_http_pay_status_metric_t;

extern ngx_http_pay_status_metric_t  ngx_http_pay_status_metrics[];

/* 0 without pay_zone */
ngx_atomic_uint_t ngx_http_pay_status_sum(size_t offset);


extern ngx_module_t  ngx_http_pay_status_module;


#endif /* _NGX_HTTP_PAY_STATUS_H_INCLUDED_ */
