/*
 * The choice of channels for a new payment.
 *
 * It is by weight and stable per order: a repeated request gets the same order
 * of channels as long as the configuration and the switches stay.  Candidates
 * stand per method in flat arrays made at configuration time; only those that
 * were drawn are asked in the zone whether they have room.
 */

#ifndef _NGX_HTTP_PAY_ROUTE_H_INCLUDED_
#define _NGX_HTTP_PAY_ROUTE_H_INCLUDED_


#include "ngx_http_pay_health.h"


#define NGX_HTTP_PAY_ROUTE_MAX    3     /* channels offered to the worker */


typedef struct {
    int64_t                            min;
    int64_t                            max;
    uint32_t                           weight;
    uint16_t                           row;
    uint16_t                           state;   /* as configured */
    ngx_http_pay_channel_t            *channel;
} ngx_http_pay_candidate_t;


typedef struct {
    ngx_http_pay_channel_main_conf_t  *channels;
    ngx_http_pay_candidate_t          *candidates[NGX_HTTP_PAY_METHODS_MAX];
    ngx_uint_t                         ncandidates[NGX_HTTP_PAY_METHODS_MAX];
} ngx_http_pay_route_main_conf_t;


typedef struct {
    ngx_http_pay_channel_t            *chosen[NGX_HTTP_PAY_ROUTE_MAX];
    ngx_uint_t                         n;
    ngx_uint_t                         open;    /* take new payments */
    ngx_uint_t                         fit;     /* of them by amount */
    ngx_uint_t                         ill;     /* of them not for this order */
    ngx_uint_t                         busy;    /* of them drawn and full */
} ngx_http_pay_route_t;


ngx_int_t ngx_http_pay_route_prepare(ngx_conf_t *cf,
    ngx_http_pay_route_main_conf_t *rmcf);
void ngx_http_pay_route_bind(ngx_http_pay_route_main_conf_t *rmcf);

/* fills *route, which is zeroed before; hash: of the order */
void ngx_http_pay_route_choose(ngx_http_pay_route_main_conf_t *rmcf,
    ngx_int_t method, int64_t amount, uint64_t hash,
    ngx_http_pay_route_t *route);


extern ngx_module_t  ngx_http_pay_route_module;


#endif /* _NGX_HTTP_PAY_ROUTE_H_INCLUDED_ */
