/*
 * One connection to Redis per nginx process, in nginx's event loop, for a few
 * scripts.  Commands of requests that are handled in the same turn of the loop
 * leave in one write, and those of them that differ in one key only leave as
 * one: what a merchant's requests have in common is then read, counted and
 * written once.
 *
 * An operation is some commands that leave together.  It ends once: with all
 * their replies, with NGX_ERROR when one failed, or with NGX_BUSY at its
 * deadline.  After that, and after ngx_pay_redis_cancel, the operation is not
 * the caller's any more; late replies are dropped here.
 */

#ifndef _NGX_PAY_REDIS_H_INCLUDED_
#define _NGX_PAY_REDIS_H_INCLUDED_

#include "ngx_pay_redis_link.h"

#include "ngx_pay_module/request/ngx_http_pay_private.h"


#define NGX_PAY_REDIS_SCRIPTS  3
#define NGX_PAY_REDIS_CMDS     17       /* of one operation */
#define NGX_PAY_REDIS_TEXT     4096     /* all of them */


/* set by the pay_redis directive */

typedef struct {
    ngx_array_t             addrs;      /* ngx_pay_redis_addr_t */
    ngx_str_t               sentinel;   /* they watch this master; or empty */
    ngx_pay_redis_auth_t    auth;
    ngx_pay_redis_auth_t    sentinel_auth;
    ngx_uint_t              db;
    ngx_msec_t              timeout;    /* of one operation */
    ngx_msec_t              pause;      /* Redis is not asked for so long */
    ngx_uint_t              failures;   /* in a row before that */
    ngx_uint_t              inflight;   /* operations at once */
} ngx_pay_redis_conf_t;


/*
 * One that joins is called once for several commands: their own keys follow
 * after the keys in common, and the last argument says how many commands they
 * are.  It answers with so many integers, or for a single one with an integer,
 * as those do that do not join.
 */

typedef struct {
    const char             *text;
    unsigned                joins:1;
} ngx_pay_redis_script_t;


/* EVALSHA; keys, arguments and own are bulk strings (RESP), side by side */

typedef struct {
    ngx_uint_t              script;
    ngx_uint_t              nkeys;      /* without own */
    ngx_uint_t              nargs;
    size_t                  keys;       /* bytes */
    size_t                  args;
    size_t                  own;        /* a last key; 0: none */
} ngx_pay_redis_cmd_t;


typedef struct {
    ngx_uint_t              n;
    ngx_pay_redis_cmd_t     cmds[NGX_PAY_REDIS_CMDS];
    size_t                  len;
    u_char                  text[NGX_PAY_REDIS_TEXT];   /* one after another */
} ngx_pay_redis_ask_t;


/* values: one per command, if rc is NGX_OK; valid during the call */
typedef void (*ngx_pay_redis_pt)(void *data, ngx_int_t rc, int64_t *values);


/* the end of a line of RESP; n < 1000 */

static ngx_inline u_char *
ngx_pay_redis_number(u_char *p, ngx_uint_t n)
{
    if (n > 99) {
        *p++ = (u_char) ('0' + n / 100);
    }

    if (n > 9) {
        *p++ = (u_char) ('0' + n / 10 % 10);
    }

    *p++ = (u_char) ('0' + n % 10);
    *p++ = CR;
    *p++ = LF;

    return p;
}


/* scripts: live as long as the process */
ngx_int_t ngx_pay_redis_start(ngx_cycle_t *cycle, ngx_pay_redis_conf_t *conf,
    const ngx_pay_redis_script_t *scripts);
void ngx_pay_redis_stop(void);

/*
 * Sends the commands, which are copied.  NULL when Redis cannot be asked now:
 * handler is not called then.
 */
ngx_pay_redis_op_t *ngx_pay_redis_eval(ngx_pay_redis_ask_t *ask,
    ngx_pay_redis_pt handler, void *data);
void ngx_pay_redis_cancel(ngx_pay_redis_op_t *op);
/* the same for one whose replies nobody waits for */
void ngx_pay_redis_tell(ngx_pay_redis_ask_t *ask);


#endif /* _NGX_PAY_REDIS_H_INCLUDED_ */
