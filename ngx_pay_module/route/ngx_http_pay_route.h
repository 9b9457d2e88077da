/*
 * The choice of channels for a new payment: pay_rule blocks and the channels'
 * own facts, compiled into core/route's tables at configuration time.
 */

#ifndef _NGX_HTTP_PAY_ROUTE_H_INCLUDED_
#define _NGX_HTTP_PAY_ROUTE_H_INCLUDED_

#include "ngx_pay_module/channel/ngx_http_pay_health.h"
#include "ngx_pay_module/conf/ngx_http_pay_when.h"

#include "core/payer_app.h"
#include "core/route.h"


typedef struct {
    ngx_array_t                        names;   /* ngx_str_t, of channels */
    ngx_http_pay_where_t               where;   /* line 0: not there */
} ngx_http_pay_channels_t;


/* one pay_rule block */

typedef struct {
    ngx_str_t                          name;
    ngx_array_t                        whens;   /* ngx_http_pay_when_t */
    ngx_http_pay_channels_t            only;
    ngx_http_pay_channels_t            exclude;
    ngx_http_pay_channels_t            prefer;
    enum route_by                      by;
    ngx_http_pay_where_t               where;
} ngx_http_pay_rule_t;


typedef struct {
    ngx_http_pay_channel_main_conf_t  *channels;
    ngx_array_t                        rules;   /* ngx_http_pay_rule_t */
    struct route_table                *table;
    uint32_t                           given;   /* facts that rules ask for */

    /* by priority, as the table numbers them */
    ngx_uint_t                         n;
    ngx_http_pay_channel_t            *sorted[NGX_HTTP_PAY_CHANNELS_MAX];
    uint8_t                            at[NGX_HTTP_PAY_CHANNELS_MAX];
    uint16_t                           rows[NGX_HTTP_PAY_CHANNELS_MAX];
    u_char                             on[NGX_HTTP_PAY_CHANNELS_MAX];
} ngx_http_pay_route_main_conf_t;


typedef struct {
    ngx_flag_t                         enable;
    enum route_by                      by;
    ngx_http_pay_where_t               where;
} ngx_http_pay_route_loc_conf_t;


char *ngx_http_pay_rule_block(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);

/* once all blocks are read */
char *ngx_http_pay_route_prepare(ngx_conf_t *cf,
    ngx_http_pay_route_main_conf_t *rmcf);
/* once the zone is there: each channel knows its row */
void ngx_http_pay_route_bind(ngx_http_pay_route_main_conf_t *rmcf);

void ngx_http_pay_route_choose(ngx_http_pay_route_main_conf_t *rmcf,
    const struct route_ask *ask, uint32_t wallet,
    struct route_choice *choice);
ngx_int_t ngx_http_pay_route_handler(ngx_http_request_t *r);
/* the payer's app, from what a request tells of him */
enum payer_app ngx_http_pay_route_wallet(ngx_http_request_t *r);
/* the table's number of a channel */
#define ngx_http_pay_route_number(rmcf, ch)  ((int) (rmcf)->at[(ch)->place])


extern ngx_module_t  ngx_http_pay_route_module;


#endif /* _NGX_HTTP_PAY_ROUTE_H_INCLUDED_ */
