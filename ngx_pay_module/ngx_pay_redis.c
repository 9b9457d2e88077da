/*
 * Operations: what is asked of Redis, until when, and whether it is asked at
 * all.  They outlive requests, so they never come from r->pool.
 *
 * Deadlines: all operations wait equally long, so a queue in the order of
 * sending and one timer serve all of them.  That timer is not cancelable, or a
 * process that shuts down would leave its waiting requests behind; the timer
 * for reconnecting is.
 */

#include "ngx_pay_redis_conn.h"

#include <openssl/evp.h>


static void ngx_pay_redis_on_reply(redisAsyncContext *ac, void *reply,
    void *data);


ngx_pay_redis_t  ngx_pay_rd;


void
ngx_pay_redis_state(void)
{
    ngx_http_pay_row()->redis_state =
        ngx_pay_rd.paused ? NGX_HTTP_PAY_REDIS_PAUSED
        : ngx_pay_rd.ready ? NGX_HTTP_PAY_REDIS_OK : NGX_HTTP_PAY_REDIS_DOWN;
}


/* the breaker: what is said here decides whether Redis is asked */

static void
ngx_pay_redis_success(void)
{
    ngx_pay_rd.failed = 0;
    ngx_pay_rd.probing = 0;

    if (ngx_pay_rd.paused) {
        ngx_pay_rd.paused = 0;
        ngx_log_error(NGX_LOG_NOTICE, ngx_pay_rd.log, 0,
                      "pay: redis answers again");
        ngx_pay_redis_state();
    }
}


static void
ngx_pay_redis_failure(void)
{
    ngx_pay_rd.failed++;

    if (ngx_pay_rd.probing || ngx_pay_rd.failed >= ngx_pay_rd.conf->failures) {

        if (!ngx_pay_rd.paused) {
            ngx_log_error(NGX_LOG_ERR, ngx_pay_rd.log, 0,
                          "pay: redis failed %ui times, not asked for %M ms",
                          ngx_pay_rd.failed, ngx_pay_rd.conf->pause);
        }

        ngx_pay_rd.paused = 1;
        ngx_pay_rd.probing = 0;
        ngx_pay_rd.until = ngx_current_msec + ngx_pay_rd.conf->pause;
        ngx_pay_redis_state();
    }
}


static ngx_uint_t
ngx_pay_redis_may_ask(void)
{
    if (ngx_pay_rd.ac == NULL || !(ngx_pay_rd.ready || ngx_pay_rd.trusted)
        || ngx_pay_rd.inflight >= ngx_pay_rd.conf->inflight)
    {
        return 0;
    }

    if (!ngx_pay_rd.paused) {
        return 1;
    }

    if (ngx_pay_rd.probing
        || (ngx_msec_int_t) (ngx_pay_rd.until - ngx_current_msec) > 0)
    {
        return 0;
    }

    ngx_pay_rd.probing = 1;

    return 1;
}


/* operations */

static void
ngx_pay_redis_free_op(ngx_pay_redis_op_t *op)
{
    ngx_pay_rd.inflight--;
    ngx_http_pay_row()->redis_inflight = ngx_pay_rd.inflight;
    ngx_queue_insert_head(&ngx_pay_rd.free, &op->queue);
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

    while (!ngx_queue_empty(&ngx_pay_rd.waiting)) {
        q = ngx_queue_head(&ngx_pay_rd.waiting);
        op = ngx_queue_data(q, ngx_pay_redis_op_t, queue);

        left = (ngx_msec_int_t) (op->deadline - ngx_current_msec);

        if (left > 0) {
            ngx_add_timer(&ngx_pay_rd.deadline, (ngx_msec_t) left);
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
        ngx_pay_rd.heard = ngx_current_msec;

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
            ngx_log_error(NGX_LOG_ERR, ngx_pay_rd.log, 0,
                          "pay: redis says \"%*s\"", reply->len, reply->str);
        }
    }

    if (op->handler == NULL) {
        /* late, or nobody waits: says nothing about Redis */

        if (reply) {
            ngx_http_pay_count(redis_late);
        }

        if (op->probe) {
            ngx_pay_rd.probing = 0;
        }

    } else if (!ngx_pay_rd.exiting) {

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

    if (!ngx_queue_empty(&ngx_pay_rd.free)) {
        q = ngx_queue_head(&ngx_pay_rd.free);
        ngx_queue_remove(q);

        return ngx_queue_data(q, ngx_pay_redis_op_t, queue);
    }

    op = ngx_alloc(sizeof(ngx_pay_redis_op_t), ngx_pay_rd.log);

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
    p = ngx_cpymem(p, ngx_pay_rd.sha, sizeof(ngx_pay_rd.sha));
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
    op->probe = ngx_pay_rd.probing;
    op->deadline = ngx_current_msec + ngx_pay_rd.conf->timeout;

    if (ngx_pay_redis_format(op, args, nargs, nkeys) != NGX_OK
        || redisAsyncFormattedCommand(ngx_pay_rd.ac, ngx_pay_redis_on_reply, op,
                                      (char *) op->cmd, op->len)
           != REDIS_OK)
    {
        ngx_pay_rd.probing = 0;
        ngx_queue_insert_head(&ngx_pay_rd.free, &op->queue);
        return NULL;
    }

    ngx_pay_rd.inflight++;
    ngx_http_pay_row()->redis_inflight = ngx_pay_rd.inflight;

    if (ngx_pay_rd.inflight == 1) {
        ngx_pay_rd.heard = ngx_current_msec;
    }

    ngx_queue_insert_tail(&ngx_pay_rd.waiting, &op->queue);

    if (!ngx_pay_rd.deadline.timer_set) {
        ngx_add_timer(&ngx_pay_rd.deadline, ngx_pay_rd.conf->timeout);
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

    (void) ngx_hex_dump(ngx_pay_rd.sha, sha, 20);

    ngx_pay_rd.fd = (ngx_socket_t) -1;
    ngx_pay_rd.conf = conf;
    ngx_pay_rd.log = cycle->log;
    ngx_pay_rd.script = script;
    ngx_pay_rd.backoff = NGX_PAY_REDIS_RETRY;
    ngx_pay_rd.trusted = 1;

    ngx_queue_init(&ngx_pay_rd.waiting);
    ngx_queue_init(&ngx_pay_rd.free);

    ngx_pay_rd.flush.handler = ngx_pay_redis_flush_handler;
    ngx_pay_rd.flush.data = &ngx_pay_rd;
    ngx_pay_rd.flush.log = cycle->log;

    ngx_pay_rd.deadline.handler = ngx_pay_redis_deadline;
    ngx_pay_rd.deadline.data = &ngx_pay_rd;
    ngx_pay_rd.deadline.log = cycle->log;

    ngx_pay_rd.timer.handler = ngx_pay_redis_timer;
    ngx_pay_rd.timer.data = &ngx_pay_rd;
    ngx_pay_rd.timer.log = cycle->log;
    ngx_pay_rd.timer.cancelable = 1;

    ngx_pay_redis_state();
    ngx_pay_redis_connect();

    if (!ngx_pay_rd.timer.timer_set) {
        ngx_add_timer(&ngx_pay_rd.timer, NGX_PAY_REDIS_CHECK);
    }

    return NGX_OK;
}


/* replies that come now must not resume requests */

void
ngx_pay_redis_stop(void)
{
    ngx_pay_rd.exiting = 1;

    if (ngx_pay_rd.ac) {
        redisAsyncFree(ngx_pay_rd.ac);
    }

    if (ngx_pay_rd.timer.timer_set) {
        ngx_del_timer(&ngx_pay_rd.timer);
    }

    if (ngx_pay_rd.deadline.timer_set) {
        ngx_del_timer(&ngx_pay_rd.deadline);
    }
}
