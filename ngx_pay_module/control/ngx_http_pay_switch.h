/*
 * Runtime switches: what an operator said about a channel, over what its block
 * says.  They act in all processes at once and are kept in the state file.
 *
 * The state file holds all switches, and is replaced whole: a reader finds the
 * old or the new one.  Its last line counts and sums up the others; a file that
 * does not add up is damaged, and no channel is open because of what it may
 * have lost: where it has no legible word a channel takes no new payments.
 */

#ifndef _NGX_HTTP_PAY_SWITCH_H_INCLUDED_
#define _NGX_HTTP_PAY_SWITCH_H_INCLUDED_

#include "ngx_pay_module/channel/ngx_http_pay_channel.h"

#include "core/slice.h"


/* rows of the ledger that belong to pools: "pool:NAME"; no channel has a ':' */
#define NGX_HTTP_PAY_SWITCH_POOL    "pool:"

#define ngx_http_pay_switch_is_pool(name, len)                                \
    ((len) > sizeof(NGX_HTTP_PAY_SWITCH_POOL) - 1                             \
     && ngx_strncmp(name, NGX_HTTP_PAY_SWITCH_POOL,                           \
                    sizeof(NGX_HTTP_PAY_SWITCH_POOL) - 1) == 0)

/* why something is off that nobody switched off */
#define NGX_HTTP_PAY_STATE_LOST     "the state file is damaged"

/* what stands for "as configured" beside the names of states */
#define NGX_HTTP_PAY_SWITCH_CONFIG  "config"


/*
 * Sets a row's switch: 1 + NGX_HTTP_PAY_STATE_..., or 0 to take it away.
 * reason: at most NGX_HTTP_PAY_REASON_MAX bytes without control characters.
 * NGX_OK: kept.  NGX_ERROR: in force, but the state file could not be written,
 * and a restart forgets it; NGX_DECLINED: the same, there is no state file.
 */
ngx_int_t ngx_http_pay_switch_set(ngx_http_pay_channel_main_conf_t *cmcf,
    ngx_uint_t row, ngx_uint_t state, uid_t uid, struct slice reason);

/* "on", ..., or "config" */
ngx_str_t *ngx_http_pay_switch_name(ngx_uint_t state);
/* 1 + NGX_HTTP_PAY_STATE_..., 0 for "config", or NGX_ERROR */
ngx_int_t ngx_http_pay_switch_state(struct slice name);


/* pay_state_file */
char *ngx_http_pay_state_file(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
/* in the master, once in the life of a ledger */
void ngx_http_pay_state_load(ngx_http_pay_channel_main_conf_t *cmcf,
    ngx_log_t *log);
/* in a worker: says early what would fail in an emergency */
void ngx_http_pay_state_check(ngx_http_pay_channel_main_conf_t *cmcf,
    ngx_log_t *log);
/* NGX_OK, or NGX_ERROR with the reason logged; one process at a time */
ngx_int_t ngx_http_pay_state_save(ngx_http_pay_channel_main_conf_t *cmcf,
    ngx_log_t *log);


#endif /* _NGX_HTTP_PAY_SWITCH_H_INCLUDED_ */
