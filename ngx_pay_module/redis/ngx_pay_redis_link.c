#include "ngx_pay_redis_link.h"


/* hiredis' hooks */

static void
ngx_pay_redis_add_read(void *data)
{
    ngx_pay_redis_link_t  *link = data;

    if (link->c && !link->c->read->active) {
        (void) ngx_add_event(link->c->read, NGX_READ_EVENT, NGX_LEVEL_EVENT);
    }
}


static void
ngx_pay_redis_del_read(void *data)
{
    ngx_pay_redis_link_t  *link = data;

    if (link->c && link->c->read->active) {
        (void) ngx_del_event(link->c->read, NGX_READ_EVENT, 0);
    }
}


static void
ngx_pay_redis_add_write(void *data)
{
    ngx_pay_redis_link_t  *link = data;

    if (link->c == NULL) {
        return;
    }

    /* gather what this turn of the loop has to say, if the way is free */

    if (link->ac && (link->ac->c.flags & REDIS_CONNECTED) && !link->flushing) {
        if (!link->c->write->active && !link->flush.posted) {
            ngx_post_event(&link->flush, &ngx_posted_events);
        }
        return;
    }

    if (!link->c->write->active) {
        (void) ngx_add_event(link->c->write, NGX_WRITE_EVENT, NGX_LEVEL_EVENT);
    }
}


static void
ngx_pay_redis_del_write(void *data)
{
    ngx_pay_redis_link_t  *link = data;

    if (link->c && link->c->write->active) {
        (void) ngx_del_event(link->c->write, NGX_WRITE_EVENT, 0);
    }
}


/* before hiredis closes the descriptor, which must not be closed twice */

static void
ngx_pay_redis_cleanup(void *data)
{
    ngx_pay_redis_link_t  *link = data;

    ngx_connection_t  *c;

    c = link->c;

    if (c == NULL) {
        return;
    }

    link->c = NULL;

    if (link->flush.posted) {
        ngx_delete_posted_event(&link->flush);
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
    ngx_connection_t      *c = rev->data;
    ngx_pay_redis_link_t  *link = c->data;

    redisAsyncHandleRead(link->ac);
}


static void
ngx_pay_redis_write(ngx_pay_redis_link_t *link)
{
    if (link->ac == NULL) {
        return;
    }

    link->flushing = 1;
    redisAsyncHandleWrite(link->ac);
    link->flushing = 0;
}


static void
ngx_pay_redis_write_handler(ngx_event_t *wev)
{
    ngx_connection_t  *c = wev->data;

    ngx_pay_redis_write(c->data);
}


static void
ngx_pay_redis_flush_handler(ngx_event_t *ev)
{
    ngx_pay_redis_write(ev->data);
}


/* the connection */

static void
ngx_pay_redis_link_lost(ngx_pay_redis_link_t *link, const char *reason)
{
    link->ac = NULL;

    if (!link->exiting) {
        link->on_down(link, reason);
    }
}


static void
ngx_pay_redis_on_connect(const redisAsyncContext *ac, int status)
{
    ngx_pay_redis_link_t  *link = ac->data;

    if (status == REDIS_OK) {
        link->heard = ngx_current_msec;
        return;
    }

    /* hiredis frees the context and does not call on_disconnect */

    ngx_pay_redis_link_lost(link, ac->errstr ? ac->errstr : "cannot connect");
}


static void
ngx_pay_redis_on_disconnect(const redisAsyncContext *ac, int status)
{
    ngx_pay_redis_link_t  *link = ac->data;

    ngx_pay_redis_link_lost(link, ac->errstr && ac->errstr[0] ? ac->errstr
                                  : link->reason ? link->reason : "closed");
}


static redisAsyncContext *
ngx_pay_redis_connect(ngx_pay_redis_addr_t *addr)
{
    redisAsyncContext  *ac;

    if (addr->path.len) {
        ac = redisAsyncConnectUnix((char *) addr->path.data);

    } else {
        ac = redisAsyncConnect((char *) addr->host.data, addr->port);
    }

    if (ac && ac->err) {
        redisAsyncFree(ac);
        ac = NULL;
    }

    return ac;
}


static ngx_int_t
ngx_pay_redis_attach(ngx_pay_redis_link_t *link, redisAsyncContext *ac)
{
    ngx_connection_t  *c;

    c = ngx_get_connection(ac->c.fd, link->log);
    if (c == NULL) {
        return NGX_ERROR;
    }

    c->data = link;
    c->log = link->log;
    c->read->log = link->log;
    c->write->log = link->log;
    c->read->handler = ngx_pay_redis_read_handler;
    c->write->handler = ngx_pay_redis_write_handler;

    link->fd = (ngx_socket_t) -1;
    link->flush.handler = ngx_pay_redis_flush_handler;
    link->flush.data = link;
    link->flush.log = link->log;

    link->c = c;
    link->ac = ac;

    ac->data = link;
    ac->ev.data = link;
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
ngx_pay_redis_on_auth(redisAsyncContext *ac, void *data, void *unused)
{
    redisReply            *reply = data;
    ngx_pay_redis_link_t  *link = ac->data;

    /* what follows fails, too; this line says why */

    if (reply && reply->type == REDIS_REPLY_ERROR && !link->exiting) {
        ngx_log_error(NGX_LOG_ERR, link->log, 0,
                      "pay: redis does not take the password: \"%*s\"",
                      reply->len, reply->str);
    }
}


ngx_int_t
ngx_pay_redis_link_open(ngx_pay_redis_link_t *link, ngx_pay_redis_addr_t *addr,
    ngx_pay_redis_auth_t *auth)
{
    redisAsyncContext  *ac;

    ac = ngx_pay_redis_connect(addr);

    if (ac == NULL) {
        return NGX_ERROR;
    }

    if (ngx_pay_redis_attach(link, ac) != NGX_OK) {
        redisAsyncFree(ac);
        return NGX_ERROR;
    }

    link->heard = ngx_current_msec;
    link->reason = NULL;

    if (auth->user.len) {
        redisAsyncCommand(ac, ngx_pay_redis_on_auth, NULL, "AUTH %b %b",
                          auth->user.data, auth->user.len,
                          auth->password.data, auth->password.len);

    } else if (auth->password.len) {
        redisAsyncCommand(ac, ngx_pay_redis_on_auth, NULL, "AUTH %b",
                          auth->password.data, auth->password.len);
    }

    link->on_up(link);

    return NGX_OK;
}


void
ngx_pay_redis_link_close(ngx_pay_redis_link_t *link, const char *reason)
{
    redisAsyncContext  *ac = link->ac;

    ngx_uint_t  deferred;

    if (ac == NULL) {
        return;
    }

    /* inside a callback the context lives until that returns */

    deferred = (ac->c.flags & REDIS_IN_CALLBACK) != 0;
    link->reason = reason;

    redisAsyncFree(ac);

    if (!deferred && link->ac == ac) {
        /* on_disconnect is for connections that were made */
        ngx_pay_redis_link_lost(link, reason);
    }
}
