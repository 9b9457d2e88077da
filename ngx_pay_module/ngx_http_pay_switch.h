/*
 * Runtime switches: what an operator said about a channel, over what its block
 * says.  They act in all processes at once.
 */

#ifndef _NGX_HTTP_PAY_SWITCH_H_INCLUDED_
#define _NGX_HTTP_PAY_SWITCH_H_INCLUDED_


#include "ngx_http_pay_channel.h"

#include "core/slice.h"


/* what stands for "as configured" beside the names of states */
#define NGX_HTTP_PAY_SWITCH_CONFIG  "config"


/*
 * Sets a row's switch: 1 + NGX_HTTP_PAY_STATE_..., or 0 to take it away.
 * reason: at most NGX_HTTP_PAY_REASON_MAX bytes without control characters.
 */
void ngx_http_pay_switch_set(ngx_http_pay_channel_main_conf_t *cmcf,
    ngx_uint_t row, ngx_uint_t state, uid_t uid, struct slice reason);

/* "on", ..., or "config" */
ngx_str_t *ngx_http_pay_switch_name(ngx_uint_t state);


#endif /* _NGX_HTTP_PAY_SWITCH_H_INCLUDED_ */
