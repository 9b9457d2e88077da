/*
 * Configuration of the guard: read by ngx_http_pay_guard_conf.c, used by
 * ngx_http_pay_guard_module.c.
 */

#ifndef _NGX_HTTP_PAY_GUARD_H_INCLUDED_
#define _NGX_HTTP_PAY_GUARD_H_INCLUDED_


#include "ngx_http_pay_private.h"
#include "ngx_pay_redis.h"


#define NGX_HTTP_PAY_WINDOW  300        /* s, where no pay_guard says else */


typedef struct {
    ngx_pay_redis_conf_t   *redis;
    ngx_http_pay_where_t    used_at;    /* first pay_guard */
} ngx_http_pay_guard_main_conf_t;


typedef struct {
    ngx_flag_t              enable;
    ngx_flag_t              closed;     /* fallback=closed */
    time_t                  window;     /* s */
    ngx_msec_t              nonce;      /* ms in Redis */
    ngx_uint_t              rate;       /* requests/s of an app, 0: no limit */
    ngx_uint_t              burst;
    ngx_str_t               policy;     /* of a key without its own rate */
    ngx_http_pay_where_t    at;
} ngx_http_pay_guard_loc_conf_t;


char *ngx_http_pay_guard_set(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
char *ngx_http_pay_guard_set_redis(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);


extern ngx_module_t  ngx_http_pay_guard_module;


#endif /* _NGX_HTTP_PAY_GUARD_H_INCLUDED_ */
