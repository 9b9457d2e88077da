/*
 * Rates of the calls to a channel, per kind and for all kinds together
 * ("rate" in the pay_channel block), counted by all processes of the node.
 *
 * The budgets are apart: a burst of queries takes nothing from the payments'
 * rate.  Only "all" is shared, by whoever comes first.
 *
 * A call that is over the rate is given its turn, in the order of arrival, if
 * that is not later than it can wait: the time-out of the channel's queue, and
 * twice that for one that was refused before.
 */

#ifndef _NGX_HTTP_PAY_RATE_H_INCLUDED_
#define _NGX_HTTP_PAY_RATE_H_INCLUDED_


#include "ngx_http_pay_channel.h"


/* when the block has been read */
void ngx_http_pay_rate_init(ngx_http_pay_channel_t *ch);

/* NGX_OK: counted, it goes in *wait ms.  NGX_BUSY: over one of its rates. */
ngx_int_t ngx_http_pay_rate_take(ngx_http_pay_channel_main_conf_t *cmcf,
    ngx_http_pay_channel_t *ch, ngx_uint_t kind, ngx_msec_t patience,
    ngx_msec_t *wait);

/* 1: a new payment would have to wait too long for its turn */
ngx_uint_t ngx_http_pay_rate_full(ngx_http_pay_channel_main_conf_t *cmcf,
    ngx_http_pay_channel_t *ch);


#endif /* _NGX_HTTP_PAY_RATE_H_INCLUDED_ */
