/*
 * A cap that several nodes share: `concurrency NUMBER shared`.  The rules are
 * core/lease.h's; the board is Redis, one hash a channel.
 *
 * One process of the node keeps the leases of all channels: every 250 ms it
 * writes a note to each other node and reads theirs, in one operation a
 * channel.  What it knows stands in the ledger, so that another process goes on
 * when it ends.  Admission only looks there; nothing waits for Redis.
 *
 * Before anything is lent a file beside the state file says until when it may
 * be, so that a restart does not use it twice.
 */

#ifndef _NGX_HTTP_PAY_LEASE_H_INCLUDED_
#define _NGX_HTTP_PAY_LEASE_H_INCLUDED_

#include "ngx_pay_module/channel/ngx_http_pay_channel.h"


/* pay_node NUMBER/NODES */
char *ngx_http_pay_lease_node(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
/* what shared caps need; logs the reason */
ngx_int_t ngx_http_pay_lease_check(ngx_conf_t *cf);

/* in the master: leases of channels that have none yet */
void ngx_http_pay_lease_prepare(ngx_http_pay_channel_main_conf_t *cmcf,
    ngx_log_t *log);

void ngx_http_pay_lease_start(ngx_cycle_t *cycle,
    ngx_http_pay_channel_main_conf_t *cmcf);
void ngx_http_pay_lease_stop(void);

/* with the ledger locked: calls that this node may have open now */
ngx_uint_t ngx_http_pay_lease_limit(ngx_http_pay_channel_main_conf_t *cmcf,
    ngx_http_pay_channel_t *ch);
/* how long a call of a shared channel may last, ms */
ngx_msec_t ngx_http_pay_lease_call(ngx_http_pay_channel_t *ch);


/* NGX_OK, or NGX_ERROR with the reason logged: nothing may be lent then */
ngx_int_t ngx_http_pay_lease_save(ngx_http_pay_channel_main_conf_t *cmcf,
    int64_t until);


/* among the scripts of the connection to Redis */
#define NGX_HTTP_PAY_LEASE_SCRIPT  2

extern const char  ngx_http_pay_lease_script[];


#endif /* _NGX_HTTP_PAY_LEASE_H_INCLUDED_ */
