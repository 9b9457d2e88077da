/*
 * One process' Redis: shared by ngx_pay_redis.c (operations),
 * ngx_pay_redis_conn.c (the connection's life) and ngx_pay_redis_sentinel.c
 * (who the master is).
 */

#ifndef _NGX_PAY_REDIS_CONN_H_INCLUDED_
#define _NGX_PAY_REDIS_CONN_H_INCLUDED_


#include "ngx_pay_redis.h"


typedef struct {
    ngx_pay_redis_op_t     *op;
    uint32_t                start;      /* in the operation's text */
    uint32_t                len;
    int64_t                 value;
    unsigned                retried:1;
} ngx_pay_redis_cmd_t;


struct ngx_pay_redis_op_s {
    ngx_queue_t             queue;      /* by deadline; or the free list */
    ngx_pay_redis_pt        handler;    /* NULL: nobody waits any more */
    void                   *data;
    ngx_msec_t              deadline;
    ngx_uint_t              n;
    ngx_uint_t              pending;    /* replies that have not come */
    unsigned                probe:1;    /* sent while paused */
    unsigned                told:1;     /* nobody ever waited */
    unsigned                failed:1;
    int64_t                 values[NGX_PAY_REDIS_CMDS];
    ngx_pay_redis_cmd_t     cmds[NGX_PAY_REDIS_CMDS];
    u_char                  text[NGX_PAY_REDIS_TEXT];
};


typedef struct {
    ngx_pay_redis_link_t    link;       /* first: data of the timers, too */
    ngx_pay_redis_conf_t   *conf;
    ngx_log_t              *log;
    const char *const      *scripts;
    u_char                  sha[NGX_PAY_REDIS_SCRIPTS][40];

    ngx_pay_redis_addr_t    addr;       /* host is NULL: not known yet */
    u_char                  host[NGX_SOCKADDR_STRLEN + 1];

    ngx_event_t             deadline;
    ngx_event_t             timer;      /* reconnecting */
    ngx_msec_t              backoff;

    ngx_queue_t             waiting;    /* operations with a handler */
    ngx_queue_t             free;
    ngx_uint_t              inflight;

    ngx_uint_t              failed;     /* in a row */
    ngx_msec_t              until;      /* paused */
    ngx_uint_t              loading;    /* scripts on their way */

    unsigned                ready:1;    /* the scripts are loaded */
    unsigned                trusted:1;  /* first connection: need not be */
    unsigned                paused:1;
    unsigned                probing:1;  /* one operation asks how it is */
    unsigned                exiting:1;
} ngx_pay_redis_t;


extern ngx_pay_redis_t  ngx_pay_rd;


/* ngx_pay_redis.c */
void ngx_pay_redis_state(void);

/* ngx_pay_redis_conn.c */
void ngx_pay_redis_conn_start(void);
void ngx_pay_redis_conn_stop(void);
/* sends the scripts, unless they are under way */
void ngx_pay_redis_load(void);
/* from now on Redis is there; numeric */
void ngx_pay_redis_moved(ngx_str_t *host, in_port_t port);
/* this is not a master (any more) */
void ngx_pay_redis_readonly(void);

/* ngx_pay_redis_sentinel.c */
void ngx_pay_redis_sentinel_start(void);
void ngx_pay_redis_sentinel_stop(void);
/* what they said last may be wrong now */
void ngx_pay_redis_sentinel_ask(void);


#endif /* _NGX_PAY_REDIS_CONN_H_INCLUDED_ */
