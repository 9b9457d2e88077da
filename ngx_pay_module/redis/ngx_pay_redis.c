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
    if (ngx_pay_rd.link.ac == NULL || !(ngx_pay_rd.ready || ngx_pay_rd.trusted)
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
ngx_pay_redis_end(ngx_pay_redis_op_t *op, ngx_int_t rc)
{
    ngx_pay_redis_pt  handler;

    handler = op->handler;
    op->handler = NULL;
    ngx_queue_remove(&op->queue);

    handler(op->data, rc, op->values);
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
        ngx_pay_redis_end(op, NGX_BUSY);
    }
}


/* all replies of an operation are here, or will never come */

static void
ngx_pay_redis_done(ngx_pay_redis_op_t *op, ngx_uint_t lost)
{
    if (op->handler) {

        if (op->failed) {
            ngx_http_pay_count(redis_errors);
            ngx_pay_redis_failure();

        } else {
            ngx_http_pay_count(redis_ok);
            ngx_pay_redis_success();
        }

        ngx_pay_redis_end(op, op->failed ? NGX_ERROR : NGX_OK);

    } else {
        /* late, or nobody waits: says nothing about Redis */

        if (!lost && !op->told) {
            ngx_http_pay_count(redis_late);
        }

        if (op->probe) {
            ngx_pay_rd.probing = 0;
        }
    }

    ngx_pay_redis_free_op(op);
}


void
ngx_pay_redis_replied(ngx_pay_redis_part_t *part, int64_t *value,
    ngx_uint_t lost)
{
    ngx_pay_redis_op_t  *op;

    op = part->op;

    if (value) {
        op->values[part - op->parts] = *value;

    } else {
        op->failed = 1;
    }

    if (--op->pending) {
        return;
    }

    if (ngx_pay_rd.exiting) {
        ngx_pay_redis_free_op(op);
        return;
    }

    ngx_pay_redis_done(op, lost);
}


static ngx_pay_redis_op_t *
ngx_pay_redis_alloc_op(void)
{
    ngx_queue_t  *q;

    if (ngx_queue_empty(&ngx_pay_rd.free)) {
        return ngx_alloc(sizeof(ngx_pay_redis_op_t), ngx_pay_rd.log);
    }

    q = ngx_queue_head(&ngx_pay_rd.free);
    ngx_queue_remove(q);

    return ngx_queue_data(q, ngx_pay_redis_op_t, queue);
}


static void
ngx_pay_redis_begin(ngx_pay_redis_op_t *op, ngx_pay_redis_pt handler,
    void *data)
{
    op->handler = handler;
    op->data = data;
    op->pending = 0;
    op->failed = 0;
    op->told = handler == NULL;
    op->probe = handler && ngx_pay_rd.probing;

    ngx_pay_rd.inflight++;
    ngx_http_pay_row()->redis_inflight = ngx_pay_rd.inflight;

    if (ngx_pay_rd.inflight == 1) {
        ngx_pay_rd.link.heard = ngx_current_msec;
    }
}


/* NGX_ERROR: none of the commands; of some, the operation will fail */

static ngx_int_t
ngx_pay_redis_send(ngx_pay_redis_op_t *op, ngx_pay_redis_ask_t *ask)
{
    u_char                *text;
    ngx_uint_t             i;
    ngx_pay_redis_cmd_t   *cmd;
    ngx_pay_redis_part_t  *part;

    text = op->ask.text;
    ngx_memcpy(text, ask->text, ask->len);
    ngx_memcpy(op->ask.cmds, ask->cmds, ask->n * sizeof(ngx_pay_redis_cmd_t));

    for (i = 0; i < ask->n; i++) {
        cmd = &op->ask.cmds[i];

        part = &op->parts[i];
        part->op = op;
        part->cmd = cmd;
        part->text = text;

        if (ngx_pay_redis_call(part) != NGX_OK) {
            op->failed = 1;
            break;
        }

        op->pending++;
        text += cmd->keys + cmd->args + cmd->own;
    }

    return op->pending ? NGX_OK : NGX_ERROR;
}


ngx_pay_redis_op_t *
ngx_pay_redis_eval(ngx_pay_redis_ask_t *ask, ngx_pay_redis_pt handler,
    void *data)
{
    ngx_pay_redis_op_t  *op;

    if (!ngx_pay_redis_may_ask()) {
        return NULL;
    }

    op = ngx_pay_redis_alloc_op();
    if (op == NULL) {
        ngx_pay_rd.probing = 0;
        return NULL;
    }

    ngx_pay_redis_begin(op, handler, data);

    if (ngx_pay_redis_send(op, ask) != NGX_OK) {
        ngx_pay_rd.probing = 0;
        ngx_pay_redis_free_op(op);
        return NULL;
    }

    op->deadline = ngx_current_msec + ngx_pay_rd.conf->timeout;
    ngx_queue_insert_tail(&ngx_pay_rd.waiting, &op->queue);

    if (!ngx_pay_rd.deadline.timer_set) {
        ngx_add_timer(&ngx_pay_rd.deadline, ngx_pay_rd.conf->timeout);
    }

    return op;
}


void
ngx_pay_redis_tell(ngx_pay_redis_ask_t *ask)
{
    ngx_pay_redis_op_t  *op;

    if (ngx_pay_rd.link.ac == NULL || ngx_pay_rd.paused
        || ngx_pay_rd.inflight >= ngx_pay_rd.conf->inflight)
    {
        return;
    }

    op = ngx_pay_redis_alloc_op();
    if (op == NULL) {
        return;
    }

    ngx_pay_redis_begin(op, NULL, NULL);

    if (ngx_pay_redis_send(op, ask) != NGX_OK) {
        ngx_pay_redis_free_op(op);
    }
}


void
ngx_pay_redis_cancel(ngx_pay_redis_op_t *op)
{
    op->handler = NULL;
    ngx_queue_remove(&op->queue);
}


ngx_int_t
ngx_pay_redis_start(ngx_cycle_t *cycle, ngx_pay_redis_conf_t *conf,
    const ngx_pay_redis_script_t *scripts)
{
    u_char      sha[EVP_MAX_MD_SIZE];
    ngx_uint_t  i;

    for (i = 0; i < NGX_PAY_REDIS_SCRIPTS; i++) {
        if (EVP_Digest(scripts[i].text, ngx_strlen(scripts[i].text), sha, NULL,
                       EVP_sha1(), NULL)
            != 1)
        {
            return NGX_ERROR;
        }

        (void) ngx_hex_dump(ngx_pay_rd.sha[i], sha, 20);
    }

    ngx_pay_rd.conf = conf;
    ngx_pay_rd.log = cycle->log;
    ngx_pay_rd.scripts = scripts;

    ngx_queue_init(&ngx_pay_rd.waiting);
    ngx_queue_init(&ngx_pay_rd.free);

    ngx_pay_rd.deadline.handler = ngx_pay_redis_deadline;
    ngx_pay_rd.deadline.data = &ngx_pay_rd;
    ngx_pay_rd.deadline.log = cycle->log;

    ngx_pay_redis_state();
    ngx_pay_redis_call_start();
    ngx_pay_redis_conn_start();

    return NGX_OK;
}


/* replies that come now must not resume requests */

void
ngx_pay_redis_stop(void)
{
    if (ngx_pay_rd.conf == NULL) {
        return;
    }

    ngx_pay_rd.exiting = 1;

    ngx_pay_redis_call_stop();
    ngx_pay_redis_conn_stop();

    if (ngx_pay_rd.deadline.timer_set) {
        ngx_del_timer(&ngx_pay_rd.deadline);
    }
}
