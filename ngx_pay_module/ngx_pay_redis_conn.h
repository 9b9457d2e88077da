/*
 * One process' connection to Redis: shared by ngx_pay_redis.c (operations) and
 * ngx_pay_redis_conn.c (hiredis in the event loop).
 */

#ifndef _NGX_PAY_REDIS_CONN_H_INCLUDED_
#define _NGX_PAY_REDIS_CONN_H_INCLUDED_


#include "ngx_pay_redis.h"

#include <hiredis/hiredis.h>
#include <hiredis/async.h>


#define NGX_PAY_REDIS_CHECK    500
#define NGX_PAY_REDIS_RETRY    100


struct ngx_pay_redis_op_s {
    ngx_queue_t             queue;      /* by deadline; or the free list */
    ngx_pay_redis_pt        handler;    /* NULL: nobody waits any more */
    void                   *data;
    ngx_msec_t              deadline;
    unsigned                retried:1;
    unsigned                probe:1;    /* sent while paused */
    size_t                  len;
    u_char                  cmd[NGX_PAY_REDIS_CMD_MAX];
};


typedef struct {
    /* the timers' data: the event module's debug log reads fd behind these */
    void                   *unused[3];
    ngx_socket_t            fd;

    ngx_pay_redis_conf_t   *conf;
    ngx_log_t              *log;
    const char             *script;
    u_char                  sha[40];

    redisAsyncContext      *ac;
    ngx_connection_t       *c;
    ngx_event_t             flush;      /* posted: write what has gathered */
    ngx_event_t             deadline;
    ngx_event_t             timer;      /* reconnecting */
    ngx_msec_t              backoff;
    ngx_msec_t              heard;      /* last reply or connection */

    ngx_queue_t             waiting;    /* operations with a handler */
    ngx_queue_t             free;
    ngx_uint_t              inflight;

    ngx_uint_t              failed;     /* in a row */
    ngx_msec_t              until;      /* paused */

    unsigned                ready:1;    /* the script is loaded */
    unsigned                trusted:1;  /* first connection: need not be */
    unsigned                loading:1;
    unsigned                paused:1;
    unsigned                probing:1;  /* one operation asks how it is */
    unsigned                flushing:1;
    unsigned                exiting:1;
} ngx_pay_redis_t;


extern ngx_pay_redis_t  ngx_pay_rd;


/* ngx_pay_redis.c */
void ngx_pay_redis_state(void);

/* ngx_pay_redis_conn.c */
void ngx_pay_redis_connect(void);
/* sends the script, unless that is under way */
void ngx_pay_redis_load(void);
void ngx_pay_redis_timer(ngx_event_t *ev);
void ngx_pay_redis_flush_handler(ngx_event_t *ev);


#endif /* _NGX_PAY_REDIS_CONN_H_INCLUDED_ */
