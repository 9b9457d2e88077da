/*
 * One connection of hiredis in nginx's event loop.
 *
 * Traps that this is built around: hiredis reads 16 KB per call, so read
 * events are level-triggered; after redisAsyncHandleRead and -Write the context
 * may be gone; it closes the descriptor itself; every callback comes exactly
 * once, with NULL when the connection ends.
 *
 * A link is zeroed but for log, on_up and on_down before its first opening, and
 * may be opened again when it is down.  on_down is called once for each opening
 * that came to an end, not for one that ngx_pay_redis_link_open refused, and
 * not while `exiting`.
 */

#ifndef _NGX_PAY_REDIS_LINK_H_INCLUDED_
#define _NGX_PAY_REDIS_LINK_H_INCLUDED_

#include "ngx_pay_module/request/ngx_http_pay_core.h"

#include <hiredis/hiredis.h>
#include <hiredis/async.h>


/* where Redis or a sentinel is */

typedef struct {
    ngx_str_t           path;       /* of a unix socket, or */
    ngx_str_t           host;       /* a numeric address; both end in NUL */
    in_port_t           port;
} ngx_pay_redis_addr_t;


typedef struct {
    ngx_str_t           user;       /* both end in NUL */
    ngx_str_t           password;
} ngx_pay_redis_auth_t;


typedef struct ngx_pay_redis_link_s  ngx_pay_redis_link_t;

struct ngx_pay_redis_link_s {
    /* as data of events: the debug log reads fd behind these */
    void               *unused[3];
    ngx_socket_t        fd;

    ngx_log_t          *log;
    void              (*on_up)(ngx_pay_redis_link_t *link);
    void              (*on_down)(ngx_pay_redis_link_t *link,
                                 const char *reason);

    redisAsyncContext  *ac;         /* NULL: down */
    ngx_connection_t   *c;
    ngx_event_t         flush;      /* posted: write what has gathered */
    ngx_msec_t          heard;      /* last reply, connection or opening */
    const char         *reason;     /* why we close it */

    unsigned            flushing:1;
    unsigned            exiting:1;
};


/* NGX_ERROR: cannot be opened now */
ngx_int_t ngx_pay_redis_link_open(ngx_pay_redis_link_t *link,
    ngx_pay_redis_addr_t *addr, ngx_pay_redis_auth_t *auth);
/* inside a callback it is closed when that returns */
void ngx_pay_redis_link_close(ngx_pay_redis_link_t *link, const char *reason);


#endif /* _NGX_PAY_REDIS_LINK_H_INCLUDED_ */
