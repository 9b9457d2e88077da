/*
 * The guard: read from the configuration by ngx_http_pay_guard_conf.c,
 * _limit_conf.c and _redis_conf.c, used by ngx_http_pay_guard.c with what
 * ngx_http_pay_guard_keys.c says about whose limits and which keys.
 */

#ifndef _NGX_HTTP_PAY_GUARD_H_INCLUDED_
#define _NGX_HTTP_PAY_GUARD_H_INCLUDED_

#include "ngx_pay_module/local/ngx_pay_limit.h"
#include "ngx_pay_module/redis/ngx_pay_redis.h"
#include "ngx_pay_module/request/ngx_http_pay_private.h"


#define NGX_HTTP_PAY_WINDOW  300        /* s, where no pay_guard says else */
#define NGX_HTTP_PAY_LIMITS  16         /* of one location */


typedef struct {
    ngx_pay_limit_t            limit;
    ngx_str_t                  key;     /* as written */
    ngx_http_complex_value_t  *value;   /* of kind NGX_PAY_LIMIT_VALUE */
    ngx_uint_t                 tag;     /* equal: counted by one script */
    ngx_http_pay_where_t       at;
} ngx_http_pay_limit_t;


typedef struct {
    ngx_pay_redis_conf_t   *redis;
    ngx_array_t             limits;     /* ngx_http_pay_limit_t *, all */
    ngx_http_pay_where_t    used_at;    /* first pay_guard */
} ngx_http_pay_guard_main_conf_t;


typedef struct {
    ngx_flag_t              enable;
    ngx_flag_t              closed;     /* fallback=closed */
    time_t                  window;     /* s */
    ngx_msec_t              nonce;      /* ms in Redis */
    ngx_http_pay_limit_t    app;        /* app= and burst= */
    ngx_http_pay_where_t    at;

    ngx_array_t            *limits;     /* ngx_http_pay_limit_t *, or NULL */
    ngx_http_pay_where_t    limit_at;   /* of a pay_limit in a location */

    /* made of these; the merchant's hash tag is the last */
    ngx_http_pay_limit_t  **all;
    ngx_uint_t              n;
    ngx_str_t               policy;     /* RateLimit-Policy */
    ngx_str_t               life;       /* nonce, as Redis reads it (RESP) */
} ngx_http_pay_guard_loc_conf_t;


/* the limits of one request, those with the same hash tag side by side */

typedef struct {
    ngx_uint_t              n;
    ngx_uint_t              own;        /* how many are the key record's */
    ngx_pay_limit_use_t     use[NGX_HTTP_PAY_LIMITS + 2];
    struct slice            value[NGX_HTTP_PAY_LIMITS + 2];
    ngx_uint_t              tag[NGX_HTTP_PAY_LIMITS + 2];
    u_char                  hash[NGX_HTTP_PAY_LIMITS + 2][16];
} ngx_http_pay_guard_set_t;


#define NGX_HTTP_PAY_GUARD_ASK   0      /* the scripts */
#define NGX_HTTP_PAY_GUARD_UNDO  1

extern const ngx_pay_redis_script_t
    ngx_http_pay_guard_scripts[NGX_PAY_REDIS_SCRIPTS];


/* ngx_http_pay_guard_keys.c */

ngx_int_t ngx_http_pay_guard_collect(ngx_http_request_t *r,
    ngx_http_pay_ctx_t *ctx, ngx_http_pay_guard_loc_conf_t *glcf,
    ngx_http_pay_guard_set_t *set);
/* use[].who, for the counters in the zone */
void ngx_http_pay_guard_who(ngx_http_pay_ctx_t *ctx,
    ngx_http_pay_guard_set_t *set);
/* one command per hash tag whose bit is set in tags; the merchant's is last */
void ngx_http_pay_guard_write(ngx_http_pay_ctx_t *ctx,
    ngx_http_pay_guard_loc_conf_t *glcf, ngx_http_pay_guard_set_t *set,
    ngx_uint_t script, ngx_uint_t tags, ngx_pay_redis_ask_t *ask);


/* directives */

char *ngx_http_pay_guard_set_guard(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_http_pay_guard_set_limit(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_http_pay_guard_set_redis(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
/* checks a limit against the others of the configuration and completes it */
char *ngx_http_pay_limit_list(ngx_conf_t *cf, ngx_http_pay_limit_t *l);
/* all, n, policy, life; NGX_CONF_ERROR has been reported */
char *ngx_http_pay_guard_merge_limits(ngx_conf_t *cf,
    ngx_http_pay_guard_loc_conf_t *glcf);


extern ngx_module_t  ngx_http_pay_guard_module;


#endif /* _NGX_HTTP_PAY_GUARD_H_INCLUDED_ */
