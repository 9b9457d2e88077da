/*
 * The directives of a pay_channel block: each checks its arguments and fills
 * the channel.  NGX_CONF_OK, or NGX_CONF_ERROR with the reason logged.
 */

#ifndef _NGX_HTTP_PAY_CHANNEL_CONF_H_INCLUDED_
#define _NGX_HTTP_PAY_CHANNEL_CONF_H_INCLUDED_


#include "ngx_http_pay_channel.h"


#define NGX_HTTP_PAY_CHANNEL_CAP   10000    /* largest concurrency */


char *ngx_http_pay_channel_state_set(ngx_conf_t *cf,
    ngx_http_pay_channel_t *ch);
char *ngx_http_pay_channel_adapter(ngx_conf_t *cf,
    ngx_http_pay_channel_t *ch);
char *ngx_http_pay_channel_endpoint(ngx_conf_t *cf,
    ngx_http_pay_channel_t *ch);
char *ngx_http_pay_channel_tls_name(ngx_conf_t *cf,
    ngx_http_pay_channel_t *ch);
char *ngx_http_pay_channel_tls_certificate(ngx_conf_t *cf,
    ngx_http_pay_channel_t *ch);
char *ngx_http_pay_channel_wallet(ngx_conf_t *cf,
    ngx_http_pay_channel_t *ch);
char *ngx_http_pay_channel_methods(ngx_conf_t *cf,
    ngx_http_pay_channel_t *ch);
char *ngx_http_pay_channel_amount(ngx_conf_t *cf,
    ngx_http_pay_channel_t *ch);
char *ngx_http_pay_channel_weight(ngx_conf_t *cf,
    ngx_http_pay_channel_t *ch);
char *ngx_http_pay_channel_priority(ngx_conf_t *cf,
    ngx_http_pay_channel_t *ch);
char *ngx_http_pay_channel_concurrency(ngx_conf_t *cf,
    ngx_http_pay_channel_t *ch);
char *ngx_http_pay_channel_queue(ngx_conf_t *cf,
    ngx_http_pay_channel_t *ch);
char *ngx_http_pay_channel_timeout(ngx_conf_t *cf,
    ngx_http_pay_channel_t *ch);
char *ngx_http_pay_channel_keepalive(ngx_conf_t *cf,
    ngx_http_pay_channel_t *ch);
char *ngx_http_pay_channel_fee(ngx_conf_t *cf,
    ngx_http_pay_channel_t *ch);
char *ngx_http_pay_channel_breaker(ngx_conf_t *cf,
    ngx_http_pay_channel_t *ch);

char *ngx_http_pay_channel_sla(ngx_conf_t *cf,
    ngx_http_pay_channel_t *ch);
char *ngx_http_pay_channel_rate(ngx_conf_t *cf,
    ngx_http_pay_channel_t *ch);
char *ngx_http_pay_channel_bind(ngx_conf_t *cf,
    ngx_http_pay_channel_t *ch);

/* what a channel has without a "breaker" and a "sla" directive */
void ngx_http_pay_channel_breaker_defaults(ngx_http_pay_channel_t *ch);

/* "key=value": 1 and the value, or 0 */
ngx_uint_t ngx_http_pay_key_value(ngx_str_t *arg, const char *key,
    ngx_str_t *value);

/* logs "invalid value" with the directive's name, returns NGX_CONF_ERROR */
char *ngx_http_pay_channel_invalid(ngx_conf_t *cf, ngx_str_t *value);
/* the same, and what is allowed */
char *ngx_http_pay_channel_range(ngx_conf_t *cf, ngx_str_t *value,
    const char *allowed);


#endif /* _NGX_HTTP_PAY_CHANNEL_CONF_H_INCLUDED_ */
