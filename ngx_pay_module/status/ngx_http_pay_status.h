/*
 * The status page: parts that each write both formats, and the text they
 * write to.  Labels come from the configuration or from closed lists, never
 * from requests, so that the page has a bound.
 */

#ifndef _NGX_HTTP_PAY_STATUS_H_INCLUDED_
#define _NGX_HTTP_PAY_STATUS_H_INCLUDED_

#include "ngx_pay_module/channel/ngx_http_pay_channel.h"
#include "ngx_pay_module/request/ngx_http_pay_core.h"


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

/* HELP and TYPE, once before a metric's samples; type as Prometheus says */
void ngx_http_pay_status_head(ngx_http_pay_status_text_t *t, const char *name,
    const char *type, const char *help);
/* cumulative buckets, sum and count of one histogram; times in ms, n bounds */
void ngx_http_pay_status_histogram(ngx_http_pay_status_text_t *t,
    const char *name, ngx_str_t *label, ngx_str_t *value, ngx_uint_t *bounds,
    ngx_atomic_t *buckets, ngx_uint_t n, ngx_atomic_uint_t sum);
/* a name that stands between quotes in either format; cut at 128 bytes */
ngx_str_t ngx_http_pay_status_quoted(ngx_http_pay_status_text_t *t,
    ngx_str_t *s);


/*
 * One part of the page.  json writes the value of the member `name`.  A new
 * part: its functions here, a row in the table of ngx_http_pay_status_module.c
 * and its metrics in docs/metrics.md.
 */

typedef void (*ngx_http_pay_status_pt)(ngx_http_request_t *r,
    ngx_http_pay_status_text_t *t);

typedef struct {
    const char              *name;
    ngx_http_pay_status_pt   prometheus;
    ngx_http_pay_status_pt   json;
} ngx_http_pay_status_part_t;

void ngx_http_pay_status_edge(ngx_http_request_t *r,
    ngx_http_pay_status_text_t *t);
void ngx_http_pay_status_edge_json(ngx_http_request_t *r,
    ngx_http_pay_status_text_t *t);
void ngx_http_pay_status_requests(ngx_http_request_t *r,
    ngx_http_pay_status_text_t *t);
void ngx_http_pay_status_requests_json(ngx_http_request_t *r,
    ngx_http_pay_status_text_t *t);
void ngx_http_pay_status_zones(ngx_http_request_t *r,
    ngx_http_pay_status_text_t *t);
void ngx_http_pay_status_zones_json(ngx_http_request_t *r,
    ngx_http_pay_status_text_t *t);
void ngx_http_pay_status_channels(ngx_http_request_t *r,
    ngx_http_pay_status_text_t *t);
void ngx_http_pay_status_channels_json(ngx_http_request_t *r,
    ngx_http_pay_status_text_t *t);
void ngx_http_pay_status_pools(ngx_http_request_t *r,
    ngx_http_pay_status_text_t *t);
void ngx_http_pay_status_pools_json(ngx_http_request_t *r,
    ngx_http_pay_status_text_t *t);


/* counts a finished request: log phase */
ngx_int_t ngx_http_pay_status_count(ngx_http_request_t *r);


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
