/*
 * Signals of attack, counted per source in the zone.
 *
 * A source is a client address (IPv6: its /64), as the realip module leaves it;
 * a unix socket is none.  What counts are refusals: ngx_http_pay_problem, where
 * all of them pass, notes them here.  A source over a threshold is reported
 * once per period, and refused or slowed for a time before anything is read or
 * computed for it.
 */

#ifndef _NGX_HTTP_PAY_ATTACK_H_INCLUDED_
#define _NGX_HTTP_PAY_ATTACK_H_INCLUDED_

#include "ngx_pay_module/request/ngx_http_pay_private.h"


#define NGX_HTTP_PAY_ATTACK_SIGNATURES  0   /* forged or malformed */
#define NGX_HTTP_PAY_ATTACK_REPLAYS     1
#define NGX_HTTP_PAY_ATTACK_SERIALS     2   /* keys that nobody has */
#define NGX_HTTP_PAY_ATTACK_PATHS       3   /* looking around */


typedef struct {
    ngx_flag_t                   enable;
    ngx_flag_t                   block;     /* 0: report only */
    ngx_uint_t                   most[NGX_HTTP_PAY_ATTACKS]; /* 0: any */
    time_t                       within;    /* s */
    time_t                       time;      /* s: blocked so long */
    ngx_uint_t                   rate;      /* of a blocked source; 0: none */
    ngx_uint_t                   window;    /* s: the rate's */
    ngx_array_t                 *except;    /* ngx_cidr_t, or NULL */
} ngx_http_pay_attack_conf_t;


ngx_http_pay_attack_shm_t *ngx_http_pay_attack_init_shm(
    ngx_slab_pool_t *shpool, size_t size);

/* the network of a client as bytes; empty when it has none */
struct slice ngx_http_pay_source(ngx_http_request_t *r);

/* one refusal of this source; logs when it is one too many */
void ngx_http_pay_attack_count(ngx_http_request_t *r,
    ngx_http_pay_attack_conf_t *acf, ngx_uint_t signal);
/* 0, or for how many seconds this source is blocked */
ngx_uint_t ngx_http_pay_attack_blocked(ngx_http_request_t *r,
    ngx_http_pay_attack_conf_t *acf);


extern ngx_module_t  ngx_http_pay_attack_module;


#endif /* _NGX_HTTP_PAY_ATTACK_H_INCLUDED_ */
