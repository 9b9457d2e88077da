/*
 * One process' Redis: shared by ngx_pay_redis.c (operations),
 * ngx_pay_redis_call.c (their commands on the way), ngx_pay_redis_conn.c (the
 * connection's life) and ngx_pay_redis_sentinel.c (who the master is).
 */

#ifndef _NGX_PAY_REDIS_CONN_H_INCLUDED_
#define _NGX_PAY_REDIS_CONN_H_INCLUDED_


#include "ngx_pay_redis.h"


/* a command of an operation */

typedef struct {
    ngx_pay_redis_op_t     *op;
    ngx_pay_redis_cmd_t    *cmd;
    u_char                 *text;
} ngx_pay_redis_part_t;


struct ngx_pay_redis_op_s {
    ngx_queue_t             queue;      /* by deadline; or the free list */
    ngx_pay_redis_pt        handler;    /* NULL: nobody waits any more */
    void                   *data;
    ngx_msec_t              deadline;
    ngx_uint_t              pending;    /* replies that have not come */
    unsigned                probe:1;    /* sent while paused */
    unsigned                told:1;     /* nobody ever waited */
    unsigned                failed:1;
    int64_t                 values[NGX_PAY_REDIS_CMDS];
    ngx_pay_redis_part_t    parts[NGX_PAY_REDIS_CMDS];
    ngx_pay_redis_ask_t     ask;
};


typedef struct {
    ngx_pay_redis_link_t    link;       /* first: data of the timers, too */
    ngx_pay_redis_conf_t   *conf;
    ngx_log_t              *log;
    const ngx_pay_redis_script_t  *scripts;
    u_char                  sha[NGX_PAY_REDIS_SCRIPTS][40];

    ngx_pay_redis_addr_t    addr;       /* host is NULL: not known yet */
    u_char                  host[NGX_SOCKADDR_STRLEN + 1];

    ngx_event_t             deadline;
    ngx_event_t             timer;      /* reconnecting */
    ngx_msec_t              backoff;

    ngx_queue_t             waiting;    /* operations with a handler */
    ngx_queue_t             free;
    ngx_uint_t              inflight;

    ngx_event_t             send;       /* posted: calls have gathered */
    ngx_queue_t             gathered;   /* calls of this turn of the loop */
    ngx_queue_t             spare;      /* calls */

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
/* the reply to a part: value is NULL when it failed; lost: there was none */
void ngx_pay_redis_replied(ngx_pay_redis_part_t *part, int64_t *value,
    ngx_uint_t lost);

/* ngx_pay_redis_call.c */
void ngx_pay_redis_call_start(void);
/* what has not left will not */
void ngx_pay_redis_call_stop(void);
/* the part will be replied to; NGX_ERROR: it will not */
ngx_int_t ngx_pay_redis_call(ngx_pay_redis_part_t *part);

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
