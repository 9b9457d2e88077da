/*
 * Rates of the calls to a channel, per kind and for all kinds together
 * ("rate" in the pay_channel block), counted by all processes of the node.
 *
 * The budgets are apart: a burst of queries takes nothing from the payments'
 * rate.  Only "all" is shared, by whoever comes first.
 */

#ifndef _NGX_HTTP_PAY_RATE_H_INCLUDED_
#define _NGX_HTTP_PAY_RATE_H_INCLUDED_


#include "ngx_http_pay_channel.h"


/* 1: the call may go and is counted; 0: over one of its rates */
ngx_uint_t ngx_http_pay_rate_take(ngx_http_pay_channel_main_conf_t *cmcf,
    ngx_http_pay_channel_t *ch, ngx_uint_t kind);

/* milliseconds until the next call may go, 0: now.  Nothing is counted. */
ngx_msec_t ngx_http_pay_rate_wait(ngx_http_pay_channel_main_conf_t *cmcf,
    ngx_http_pay_channel_t *ch, ngx_uint_t kind);


#endif /* _NGX_HTTP_PAY_RATE_H_INCLUDED_ */
