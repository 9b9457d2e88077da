/*
 * hiredis in nginx's event loop.
 *
 * Traps that this file is built around: hiredis reads 16 KB per call, so read
 * events are level-triggered; after redisAsyncHandleRead and -Write the context
 * may be gone; it closes the descriptor itself; every callback comes exactly
 * once, with NULL when the connection ends, and only there operations are
 * freed.  Operations outlive requests, so they never come from r->pool.
 *
 * Deadlines: all operations wait equally long, so a queue in the order of
 * sending and one timer serve all of them.  That timer is not cancelable, or a
 * process that shuts down would leave its waiting requests behind; the timer
 * for reconnecting is.
 */

#include "ngx_pay_redis.h"

#include <hiredis/hiredis.h>
#include <hiredis/async.h>
#include <openssl/evp.h>


#define NGX_PAY_REDIS_CHECK    500
#define NGX_PAY_REDIS_RETRY    100
#define NGX_PAY_REDIS_RETRIES  1000
#define NGX_PAY_REDIS_DEAD     3000     /* ms without an awaited reply */


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


static void ngx_pay_redis_connect(void);
static void ngx_pay_redis_load(void);
static void ngx_pay_redis_on_reply(redisAsyncContext *ac, void *reply,
    void *data);


static ngx_pay_redis_t  rd;


static void
ngx_pay_redis_state(void)
{
    ngx_http_pay_row()->redis_state =
        rd.paused ? NGX_HTTP_PAY_REDIS_PAUSED
        : rd.ready ? NGX_HTTP_PAY_REDIS_OK : NGX_HTTP_PAY_REDIS_DOWN;
}


/* the breaker: what is said here decides whether Redis is asked */

static void
ngx_pay_redis_success(void)
{
    rd.failed = 0;
    rd.probing = 0;

    if (rd.paused) {
        rd.paused = 0;
        ngx_log_error(NGX_LOG_NOTICE, rd.log, 0, "pay: redis answers again");
        ngx_pay_redis_state();
    }
}


static void
ngx_pay_redis_failure(void)
{
    rd.failed++;

    if (rd.probing || rd.failed >= rd.conf->failures) {

        if (!rd.paused) {
            ngx_log_error(NGX_LOG_ERR, rd.log, 0,
                          "pay: redis failed %ui times, not asked for %M ms",
                          rd.failed, rd.conf->pause);
        }

        rd.paused = 1;
        rd.probing = 0;
        rd.until = ngx_current_msec + rd.conf->pause;
        ngx_pay_redis_state();
    }
}


static ngx_uint_t
ngx_pay_redis_may_ask(void)
{
    if (rd.ac == NULL || !(rd.ready || rd.trusted)
        || rd.inflight >= rd.conf->inflight)
    {
        return 0;
    }

    if (!rd.paused) {
        return 1;
    }

    if (rd.probing || (ngx_msec_int_t) (rd.until - ngx_current_msec) > 0) {
        return 0;
    }

    rd.probing = 1;

    return 1;
}


/* hiredis' hooks */

static void
ngx_pay_redis_add_read(void *data)
{
    if (rd.c && !rd.c->read->active) {
        (void) ngx_add_event(rd.c->read, NGX_READ_EVENT, NGX_LEVEL_EVENT);
    }
}


static void
ngx_pay_redis_del_read(void *data)
{
    if (rd.c && rd.c->read->active) {
        (void) ngx_del_event(rd.c->read, NGX_READ_EVENT, 0);
    }
}


static void
ngx_pay_redis_add_write(void *data)
{
    redisAsyncContext  *ac = data;

    if (rd.c == NULL) {
        return;
    }

    /* gather what this turn of the loop has to say, if the way is free */

    if ((ac->c.flags & REDIS_CONNECTED) && !rd.flushing) {
        if (!rd.c->write->active && !rd.flush.posted) {
            ngx_post_event(&rd.flush, &ngx_posted_events);
        }
        return;
    }

    if (!rd.c->write->active) {
        (void) ngx_add_event(rd.c->write, NGX_WRITE_EVENT, NGX_LEVEL_EVENT);
    }
}


static void
ngx_pay_redis_del_write(void *data)
{
    if (rd.c && rd.c->write->active) {
        (void) ngx_del_event(rd.c->write, NGX_WRITE_EVENT, 0);
    }
}


/* before hiredis closes the descriptor, which must not be closed twice */

static void
ngx_pay_redis_cleanup(void *data)
{
    ngx_connection_t  *c = rd.c;

    if (c == NULL) {
        return;
    }

    rd.c = NULL;

    if (rd.flush.posted) {
        ngx_delete_posted_event(&rd.flush);
    }

    if (c->read->posted) {
        ngx_delete_posted_event(c->read);
    }

    if (c->write->posted) {
        ngx_delete_posted_event(c->write);
    }

    ngx_del_conn(c, NGX_CLOSE_EVENT);
    c->read->closed = 1;
    c->write->closed = 1;

    ngx_reusable_connection(c, 0);
    ngx_free_connection(c);
    c->fd = (ngx_socket_t) -1;
}


static void
ngx_pay_redis_read_handler(ngx_event_t *rev)
{
    redisAsyncHandleRead(rd.ac);
}


static void
ngx_pay_redis_write(void)
{
    if (rd.ac == NULL) {
        return;
    }

    rd.flushing = 1;
    redisAsyncHandleWrite(rd.ac);
    rd.flushing = 0;
}


static void
ngx_pay_redis_write_handler(ngx_event_t *wev)
{
    ngx_pay_redis_write();
}


static void
ngx_pay_redis_flush_handler(ngx_event_t *ev)
{
    ngx_pay_redis_write();
}


/* the connection */

static void
ngx_pay_redis_lost(const char *reason)
{
    rd.ac = NULL;
    rd.ready = 0;
    rd.trusted = 0;
    rd.loading = 0;

    if (rd.exiting) {
        return;
    }

    ngx_log_error(NGX_LOG_ERR, rd.log, 0, "pay: redis: %s", reason);
    ngx_http_pay_count(redis_reconnects);
    ngx_pay_redis_state();

    ngx_add_timer(&rd.timer, rd.backoff);
    rd.backoff = ngx_min(rd.backoff * 2, NGX_PAY_REDIS_RETRIES);
}


static void
ngx_pay_redis_on_connect(const redisAsyncContext *ac, int status)
{
    if (status == REDIS_OK) {
        rd.heard = ngx_current_msec;
        return;
    }

    /* hiredis frees the context and does not call on_disconnect */

    ngx_pay_redis_lost(ac->errstr ? ac->errstr : "cannot connect");
}


static void
ngx_pay_redis_on_disconnect(const redisAsyncContext *ac, int status)
{
    ngx_pay_redis_lost(ac->errstr && ac->errstr[0] ? ac->errstr : "closed");
}


static redisAsyncContext *
ngx_pay_redis_open(void)
{
    redisAsyncContext  *ac;

    if (rd.conf->path.len) {
        ac = redisAsyncConnectUnix((char *) rd.conf->path.data);

    } else {
        ac = redisAsyncConnect((char *) rd.conf->host.data, rd.conf->port);
    }

    if (ac && ac->err) {
        redisAsyncFree(ac);
        ac = NULL;
    }

    return ac;
}


static ngx_int_t
ngx_pay_redis_attach(redisAsyncContext *ac)
{
    ngx_connection_t  *c;

    c = ngx_get_connection(ac->c.fd, rd.log);
    if (c == NULL) {
        return NGX_ERROR;
    }

    c->data = &rd;
    c->log = rd.log;
    c->read->log = rd.log;
    c->write->log = rd.log;
    c->read->handler = ngx_pay_redis_read_handler;
    c->write->handler = ngx_pay_redis_write_handler;

    rd.c = c;
    rd.ac = ac;

    ac->ev.data = ac;
    ac->ev.addRead = ngx_pay_redis_add_read;
    ac->ev.delRead = ngx_pay_redis_del_read;
    ac->ev.addWrite = ngx_pay_redis_add_write;
    ac->ev.delWrite = ngx_pay_redis_del_write;
    ac->ev.cleanup = ngx_pay_redis_cleanup;

    redisAsyncSetConnectCallback(ac, ngx_pay_redis_on_connect);
    redisAsyncSetDisconnectCallback(ac, ngx_pay_redis_on_disconnect);

    return NGX_OK;
}


static void
ngx_pay_redis_connect(void)
{
    redisAsyncContext  *ac;

    ac = ngx_pay_redis_open();

    if (ac == NULL) {
        ngx_pay_redis_lost("cannot connect");
        return;
    }

    if (ngx_pay_redis_attach(ac) != NGX_OK) {
        redisAsyncFree(ac);
        ngx_pay_redis_lost("no connections");
        return;
    }

    rd.heard = ngx_current_msec;

    if (rd.conf->password.len) {
        redisAsyncCommand(ac, NULL, NULL, "AUTH %b", rd.conf->password.data,
                          rd.conf->password.len);
    }

    if (rd.conf->db) {
        redisAsyncCommand(ac, NULL, NULL, "SELECT %d", (int) rd.conf->db);
    }

    ngx_pay_redis_load();
}


static void
ngx_pay_redis_on_load(redisAsyncContext *ac, void *data, void *unused)
{
    redisReply  *reply = data;

    rd.loading = 0;

    if (reply == NULL) {
        return;
    }

    if (reply->type != REDIS_REPLY_STRING) {
        ngx_log_error(NGX_LOG_ERR, rd.log, 0,
                      "pay: redis does not take the script: %*s",
                      reply->str ? reply->len : 0,
                      reply->str ? reply->str : "");
        rd.ready = 0;
        redisAsyncFree(ac);
        return;
    }

    rd.ready = 1;
    rd.heard = ngx_current_msec;
    rd.backoff = NGX_PAY_REDIS_RETRY;
    ngx_pay_redis_state();
}


static void
ngx_pay_redis_load(void)
{
    if (rd.loading) {
        return;
    }

    if (redisAsyncCommand(rd.ac, ngx_pay_redis_on_load, NULL,
                          "SCRIPT LOAD %s", rd.script)
        == REDIS_OK)
    {
        rd.loading = 1;
    }
}


static void
ngx_pay_redis_timer(ngx_event_t *ev)
{
    if (rd.exiting) {
        return;
    }

    if (rd.ac == NULL) {
        ngx_pay_redis_connect();

    } else if ((rd.inflight || rd.loading)
               && ngx_current_msec - rd.heard > NGX_PAY_REDIS_DEAD)
    {
        redisAsyncFree(rd.ac);

        if (rd.ac) {
            /* on_disconnect is for connections that were made */
            ngx_pay_redis_lost("does not answer");
        }
    }

    if (!rd.timer.timer_set) {
        ngx_add_timer(&rd.timer, NGX_PAY_REDIS_CHECK);
    }
}


/* operations */

static void
ngx_pay_redis_free_op(ngx_pay_redis_op_t *op)
{
    rd.inflight--;
    ngx_http_pay_row()->redis_inflight = rd.inflight;
    ngx_queue_insert_head(&rd.free, &op->queue);
}


static void
ngx_pay_redis_end(ngx_pay_redis_op_t *op, ngx_int_t rc, int64_t value)
{
    ngx_pay_redis_pt  handler;

    handler = op->handler;
    op->handler = NULL;
    ngx_queue_remove(&op->queue);

    handler(op->data, rc, value);
}


static void
ngx_pay_redis_deadline(ngx_event_t *ev)
{
    ngx_queue_t         *q;
    ngx_msec_int_t       left;
    ngx_pay_redis_op_t  *op;

    while (!ngx_queue_empty(&rd.waiting)) {
        q = ngx_queue_head(&rd.waiting);
        op = ngx_queue_data(q, ngx_pay_redis_op_t, queue);

        left = (ngx_msec_int_t) (op->deadline - ngx_current_msec);

        if (left > 0) {
            ngx_add_timer(&rd.deadline, (ngx_msec_t) left);
            return;
        }

        ngx_http_pay_count(redis_timeouts);
        ngx_pay_redis_failure();
        ngx_pay_redis_end(op, NGX_BUSY, 0);
    }
}


static void
ngx_pay_redis_on_reply(redisAsyncContext *ac, void *data, void *privdata)
{
    redisReply          *reply = data;
    ngx_pay_redis_op_t  *op = privdata;

    ngx_int_t  rc;

    rc = NGX_ERROR;

    if (reply) {
        rd.heard = ngx_current_msec;

        if (reply->type == REDIS_REPLY_INTEGER) {
            rc = NGX_OK;

        } else if (reply->type == REDIS_REPLY_ERROR && op->handler
                   && !op->retried
                   && ngx_strncmp(reply->str, "NOSCRIPT", 8) == 0)
        {
            op->retried = 1;
            ngx_pay_redis_load();

            if (redisAsyncFormattedCommand(ac, ngx_pay_redis_on_reply, op,
                                           (char *) op->cmd, op->len)
                == REDIS_OK)
            {
                return;
            }

        } else if (reply->type == REDIS_REPLY_ERROR) {
            ngx_log_error(NGX_LOG_ERR, rd.log, 0, "pay: redis says \"%*s\"",
                          reply->len, reply->str);
        }
    }

    if (op->handler == NULL) {
        /* late, or nobody waits: says nothing about Redis */

        if (reply) {
            ngx_http_pay_count(redis_late);
        }

        if (op->probe) {
            rd.probing = 0;
        }

    } else if (!rd.exiting) {

        if (rc == NGX_OK) {
            ngx_http_pay_count(redis_ok);
            ngx_pay_redis_success();

        } else {
            ngx_http_pay_count(redis_errors);
            ngx_pay_redis_failure();
        }

        ngx_pay_redis_end(op, rc, rc == NGX_OK ? reply->integer : 0);
    }

    ngx_pay_redis_free_op(op);
}


static ngx_pay_redis_op_t *
ngx_pay_redis_alloc_op(void)
{
    ngx_queue_t         *q;
    ngx_pay_redis_op_t  *op;

    if (!ngx_queue_empty(&rd.free)) {
        q = ngx_queue_head(&rd.free);
        ngx_queue_remove(q);

        return ngx_queue_data(q, ngx_pay_redis_op_t, queue);
    }

    op = ngx_alloc(sizeof(ngx_pay_redis_op_t), rd.log);

    return op;
}


static ngx_int_t
ngx_pay_redis_format(ngx_pay_redis_op_t *op, ngx_str_t *args, ngx_uint_t nargs,
    ngx_uint_t nkeys)
{
    u_char      *p;
    size_t       len;
    ngx_uint_t   i;

    len = sizeof("*00\r\n$7\r\nEVALSHA\r\n$40\r\n\r\n$1\r\n0\r\n") + 40;

    for (i = 0; i < nargs; i++) {
        len += args[i].len + sizeof("$0000\r\n\r\n");
    }

    if (len > NGX_PAY_REDIS_CMD_MAX || nkeys > 9) {
        return NGX_ERROR;
    }

    p = ngx_sprintf(op->cmd, "*%ui\r\n$7\r\nEVALSHA\r\n$40\r\n", nargs + 3);
    p = ngx_cpymem(p, rd.sha, sizeof(rd.sha));
    p = ngx_sprintf(p, "\r\n$1\r\n%ui\r\n", nkeys);

    for (i = 0; i < nargs; i++) {
        p = ngx_sprintf(p, "$%uz\r\n", args[i].len);
        p = ngx_cpymem(p, args[i].data, args[i].len);
        *p++ = CR;
        *p++ = LF;
    }

    op->len = p - op->cmd;

    return NGX_OK;
}


ngx_pay_redis_op_t *
ngx_pay_redis_eval(ngx_str_t *args, ngx_uint_t nargs, ngx_uint_t nkeys,
    ngx_pay_redis_pt handler, void *data)
{
    ngx_pay_redis_op_t  *op;

    if (!ngx_pay_redis_may_ask()) {
        return NULL;
    }

    op = ngx_pay_redis_alloc_op();
    if (op == NULL) {
        return NULL;
    }

    op->handler = handler;
    op->data = data;
    op->retried = 0;
    op->probe = rd.probing;
    op->deadline = ngx_current_msec + rd.conf->timeout;

    if (ngx_pay_redis_format(op, args, nargs, nkeys) != NGX_OK
        || redisAsyncFormattedCommand(rd.ac, ngx_pay_redis_on_reply, op,
                                      (char *) op->cmd, op->len)
           != REDIS_OK)
    {
        rd.probing = 0;
        ngx_queue_insert_head(&rd.free, &op->queue);
        return NULL;
    }

    rd.inflight++;
    ngx_http_pay_row()->redis_inflight = rd.inflight;

    if (rd.inflight == 1) {
        rd.heard = ngx_current_msec;
    }

    ngx_queue_insert_tail(&rd.waiting, &op->queue);

    if (!rd.deadline.timer_set) {
        ngx_add_timer(&rd.deadline, rd.conf->timeout);
    }

    return op;
}


void
ngx_pay_redis_cancel(ngx_pay_redis_op_t *op)
{
    op->handler = NULL;
    ngx_queue_remove(&op->queue);
}


ngx_int_t
ngx_pay_redis_start(ngx_cycle_t *cycle, ngx_pay_redis_conf_t *conf,
    const char *script)
{
    u_char  sha[EVP_MAX_MD_SIZE];

    if (EVP_Digest(script, ngx_strlen(script), sha, NULL, EVP_sha1(), NULL)
        != 1)
    {
        return NGX_ERROR;
    }

    (void) ngx_hex_dump(rd.sha, sha, 20);

    rd.fd = (ngx_socket_t) -1;
    rd.conf = conf;
    rd.log = cycle->log;
    rd.script = script;
    rd.backoff = NGX_PAY_REDIS_RETRY;
    rd.trusted = 1;

    ngx_queue_init(&rd.waiting);
    ngx_queue_init(&rd.free);

    rd.flush.handler = ngx_pay_redis_flush_handler;
    rd.flush.data = &rd;
    rd.flush.log = cycle->log;

    rd.deadline.handler = ngx_pay_redis_deadline;
    rd.deadline.data = &rd;
    rd.deadline.log = cycle->log;

    rd.timer.handler = ngx_pay_redis_timer;
    rd.timer.data = &rd;
    rd.timer.log = cycle->log;
    rd.timer.cancelable = 1;

    ngx_pay_redis_state();
    ngx_pay_redis_connect();

    if (!rd.timer.timer_set) {
        ngx_add_timer(&rd.timer, NGX_PAY_REDIS_CHECK);
    }

    return NGX_OK;
}


/* replies that come now must not resume requests */

void
ngx_pay_redis_stop(void)
{
    rd.exiting = 1;

    if (rd.ac) {
        redisAsyncFree(rd.ac);
    }

    if (rd.timer.timer_set) {
        ngx_del_timer(&rd.timer);
    }

    if (rd.deadline.timer_set) {
        ngx_del_timer(&rd.deadline);
    }
}
