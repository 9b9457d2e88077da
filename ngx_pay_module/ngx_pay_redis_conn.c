/*
 * hiredis in nginx's event loop.
 *
 * Traps that this file is built around: hiredis reads 16 KB per call, so read
 * events are level-triggered; after redisAsyncHandleRead and -Write the context
 * may be gone; it closes the descriptor itself; every callback comes exactly
 * once, with NULL when the connection ends.
 */

#include "ngx_pay_redis_conn.h"


#define NGX_PAY_REDIS_RETRIES  1000
#define NGX_PAY_REDIS_DEAD     3000     /* ms without an awaited reply */


/* hiredis' hooks */

static void
ngx_pay_redis_add_read(void *data)
{
    if (ngx_pay_rd.c && !ngx_pay_rd.c->read->active) {
        (void) ngx_add_event(ngx_pay_rd.c->read, NGX_READ_EVENT,
                             NGX_LEVEL_EVENT);
    }
}


static void
ngx_pay_redis_del_read(void *data)
{
    if (ngx_pay_rd.c && ngx_pay_rd.c->read->active) {
        (void) ngx_del_event(ngx_pay_rd.c->read, NGX_READ_EVENT, 0);
    }
}


static void
ngx_pay_redis_add_write(void *data)
{
    redisAsyncContext  *ac = data;

    if (ngx_pay_rd.c == NULL) {
        return;
    }

    /* gather what this turn of the loop has to say, if the way is free */

    if ((ac->c.flags & REDIS_CONNECTED) && !ngx_pay_rd.flushing) {
        if (!ngx_pay_rd.c->write->active && !ngx_pay_rd.flush.posted) {
            ngx_post_event(&ngx_pay_rd.flush, &ngx_posted_events);
        }
        return;
    }

    if (!ngx_pay_rd.c->write->active) {
        (void) ngx_add_event(ngx_pay_rd.c->write, NGX_WRITE_EVENT,
                             NGX_LEVEL_EVENT);
    }
}


static void
ngx_pay_redis_del_write(void *data)
{
    if (ngx_pay_rd.c && ngx_pay_rd.c->write->active) {
        (void) ngx_del_event(ngx_pay_rd.c->write, NGX_WRITE_EVENT, 0);
    }
}


/* before hiredis closes the descriptor, which must not be closed twice */

static void
ngx_pay_redis_cleanup(void *data)
{
    ngx_connection_t  *c = ngx_pay_rd.c;

    if (c == NULL) {
        return;
    }

    ngx_pay_rd.c = NULL;

    if (ngx_pay_rd.flush.posted) {
        ngx_delete_posted_event(&ngx_pay_rd.flush);
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
    redisAsyncHandleRead(ngx_pay_rd.ac);
}


static void
ngx_pay_redis_write(void)
{
    if (ngx_pay_rd.ac == NULL) {
        return;
    }

    ngx_pay_rd.flushing = 1;
    redisAsyncHandleWrite(ngx_pay_rd.ac);
    ngx_pay_rd.flushing = 0;
}


static void
ngx_pay_redis_write_handler(ngx_event_t *wev)
{
    ngx_pay_redis_write();
}


void
ngx_pay_redis_flush_handler(ngx_event_t *ev)
{
    ngx_pay_redis_write();
}


/* the connection */

static void
ngx_pay_redis_lost(const char *reason)
{
    ngx_pay_rd.ac = NULL;
    ngx_pay_rd.ready = 0;
    ngx_pay_rd.trusted = 0;
    ngx_pay_rd.loading = 0;

    if (ngx_pay_rd.exiting) {
        return;
    }

    ngx_log_error(NGX_LOG_ERR, ngx_pay_rd.log, 0, "pay: redis: %s", reason);
    ngx_http_pay_count(redis_reconnects);
    ngx_pay_redis_state();

    ngx_add_timer(&ngx_pay_rd.timer, ngx_pay_rd.backoff);
    ngx_pay_rd.backoff = ngx_min(ngx_pay_rd.backoff * 2, NGX_PAY_REDIS_RETRIES);
}


static void
ngx_pay_redis_on_connect(const redisAsyncContext *ac, int status)
{
    if (status == REDIS_OK) {
        ngx_pay_rd.heard = ngx_current_msec;
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

    if (ngx_pay_rd.conf->path.len) {
        ac = redisAsyncConnectUnix((char *) ngx_pay_rd.conf->path.data);

    } else {
        ac = redisAsyncConnect((char *) ngx_pay_rd.conf->host.data,
                               ngx_pay_rd.conf->port);
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

    c = ngx_get_connection(ac->c.fd, ngx_pay_rd.log);
    if (c == NULL) {
        return NGX_ERROR;
    }

    c->data = &ngx_pay_rd;
    c->log = ngx_pay_rd.log;
    c->read->log = ngx_pay_rd.log;
    c->write->log = ngx_pay_rd.log;
    c->read->handler = ngx_pay_redis_read_handler;
    c->write->handler = ngx_pay_redis_write_handler;

    ngx_pay_rd.c = c;
    ngx_pay_rd.ac = ac;

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


void
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

    ngx_pay_rd.heard = ngx_current_msec;

    if (ngx_pay_rd.conf->password.len) {
        redisAsyncCommand(ac, NULL, NULL, "AUTH %b",
                          ngx_pay_rd.conf->password.data,
                          ngx_pay_rd.conf->password.len);
    }

    if (ngx_pay_rd.conf->db) {
        redisAsyncCommand(ac, NULL, NULL, "SELECT %d",
                          (int) ngx_pay_rd.conf->db);
    }

    ngx_pay_redis_load();
}


static void
ngx_pay_redis_on_load(redisAsyncContext *ac, void *data, void *unused)
{
    redisReply  *reply = data;

    ngx_pay_rd.loading = 0;

    if (reply == NULL) {
        return;
    }

    if (reply->type != REDIS_REPLY_STRING) {
        ngx_log_error(NGX_LOG_ERR, ngx_pay_rd.log, 0,
                      "pay: redis does not take the script: %*s",
                      reply->str ? reply->len : 0,
                      reply->str ? reply->str : "");
        ngx_pay_rd.ready = 0;
        redisAsyncFree(ac);
        return;
    }

    ngx_pay_rd.ready = 1;
    ngx_pay_rd.heard = ngx_current_msec;
    ngx_pay_rd.backoff = NGX_PAY_REDIS_RETRY;
    ngx_pay_redis_state();
}


void
ngx_pay_redis_load(void)
{
    if (ngx_pay_rd.loading) {
        return;
    }

    if (redisAsyncCommand(ngx_pay_rd.ac, ngx_pay_redis_on_load, NULL,
                          "SCRIPT LOAD %s", ngx_pay_rd.script)
        == REDIS_OK)
    {
        ngx_pay_rd.loading = 1;
    }
}


void
ngx_pay_redis_timer(ngx_event_t *ev)
{
    if (ngx_pay_rd.exiting) {
        return;
    }

    if (ngx_pay_rd.ac == NULL) {
        ngx_pay_redis_connect();

    } else if ((ngx_pay_rd.inflight || ngx_pay_rd.loading)
               && ngx_current_msec - ngx_pay_rd.heard > NGX_PAY_REDIS_DEAD)
    {
        redisAsyncFree(ngx_pay_rd.ac);

        if (ngx_pay_rd.ac) {
            /* on_disconnect is for connections that were made */
            ngx_pay_redis_lost("does not answer");
        }
    }

    if (!ngx_pay_rd.timer.timer_set) {
        ngx_add_timer(&ngx_pay_rd.timer, NGX_PAY_REDIS_CHECK);
    }
}
