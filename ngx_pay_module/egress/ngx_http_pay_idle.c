/*
 * Idle connections to channels, per worker and channel, after the model of
 * ngx_http_upstream_keepalive_module.  The difference: a connection is looked
 * at right before it is used again, since a call is never sent twice, and one
 * lost on a connection that the channel had closed is "maybe sent".
 */

#include "ngx_http_pay_egress.h"


#define NGX_HTTP_PAY_IDLE_REQUESTS  1000
#define NGX_HTTP_PAY_IDLE_AGE       3600000


typedef struct {
    ngx_queue_t                queue;
    ngx_http_pay_peers_t      *peers;
    ngx_connection_t          *connection;
    ngx_addr_t                *local;       /* of "bind", or NULL */
    socklen_t                  socklen;
    ngx_sockaddr_t             sockaddr;
} ngx_http_pay_idle_t;


static void ngx_http_pay_idle_dummy_handler(ngx_event_t *ev);
static void ngx_http_pay_idle_close_handler(ngx_event_t *ev);
static ngx_int_t ngx_http_pay_idle_alive(ngx_connection_t *c);
static void ngx_http_pay_idle_close(ngx_connection_t *c);


ngx_int_t
ngx_http_pay_idle_init(ngx_conf_t *cf, ngx_http_pay_peers_t *peers)
{
    ngx_uint_t            i, n;
    ngx_http_pay_idle_t  *items;

    ngx_queue_init(&peers->idle);
    ngx_queue_init(&peers->free);

    n = peers->channel->keepalive;

    if (n == 0) {
        return NGX_OK;
    }

    items = ngx_pcalloc(cf->pool, n * sizeof(ngx_http_pay_idle_t));
    if (items == NULL) {
        return NGX_ERROR;
    }

    for (i = 0; i < n; i++) {
        items[i].peers = peers;
        ngx_queue_insert_tail(&peers->free, &items[i].queue);
    }

    return NGX_OK;
}


ngx_connection_t *
ngx_http_pay_idle_get(ngx_http_pay_peers_t *peers, ngx_peer_connection_t *pc)
{
    ngx_queue_t          *q, *next;
    ngx_connection_t     *c;
    ngx_http_pay_idle_t  *item;

    for (q = ngx_queue_head(&peers->idle);
         q != ngx_queue_sentinel(&peers->idle);
         q = next)
    {
        next = ngx_queue_next(q);
        item = ngx_queue_data(q, ngx_http_pay_idle_t, queue);

        if (item->local != pc->local
            || ngx_memn2cmp((u_char *) &item->sockaddr,
                            (u_char *) pc->sockaddr,
                            item->socklen, pc->socklen)
               != 0)
        {
            continue;
        }

        c = item->connection;

        ngx_queue_remove(q);
        ngx_queue_insert_head(&peers->free, q);

        if (ngx_http_pay_idle_alive(c) != NGX_OK) {
            ngx_http_pay_idle_close(c);
            continue;
        }

        c->idle = 0;
        c->sent = 0;
        c->data = NULL;

        if (c->read->timer_set) {
            ngx_del_timer(c->read);
        }

        return c;
    }

    return NULL;
}


ngx_int_t
ngx_http_pay_idle_put(ngx_http_pay_peers_t *peers, ngx_peer_connection_t *pc)
{
    ngx_queue_t          *q;
    ngx_connection_t     *c;
    ngx_http_pay_idle_t  *item;

    c = pc->connection;

    if (peers->channel->keepalive == 0
        || c == NULL
        || c->read->eof
        || c->read->error
        || c->read->timedout
        || c->write->error
        || c->write->timedout
        || c->requests >= NGX_HTTP_PAY_IDLE_REQUESTS
        || ngx_current_msec - c->start_time > NGX_HTTP_PAY_IDLE_AGE
        || ngx_terminate
        || ngx_exiting
        || ngx_handle_read_event(c->read, 0) != NGX_OK)
    {
        return NGX_DECLINED;
    }

    if (ngx_queue_empty(&peers->free)) {
        q = ngx_queue_last(&peers->idle);
        item = ngx_queue_data(q, ngx_http_pay_idle_t, queue);
        ngx_http_pay_idle_close(item->connection);

    } else {
        q = ngx_queue_head(&peers->free);
        item = ngx_queue_data(q, ngx_http_pay_idle_t, queue);
    }

    ngx_queue_remove(q);
    ngx_queue_insert_head(&peers->idle, q);

    pc->connection = NULL;

    c->read->delayed = 0;
    ngx_add_timer(c->read, peers->channel->idle_timeout);

    if (c->write->timer_set) {
        ngx_del_timer(c->write);
    }

    c->write->handler = ngx_http_pay_idle_dummy_handler;
    c->read->handler = ngx_http_pay_idle_close_handler;

    c->data = item;
    c->idle = 1;
    c->log = ngx_cycle->log;
    c->read->log = ngx_cycle->log;
    c->write->log = ngx_cycle->log;
    c->pool->log = ngx_cycle->log;

    item->connection = c;
    item->local = pc->local;
    item->socklen = pc->socklen;
    ngx_memcpy(&item->sockaddr, pc->sockaddr, pc->socklen);

    if (c->read->ready) {
        ngx_http_pay_idle_close_handler(c->read);
    }

    return NGX_OK;
}


static void
ngx_http_pay_idle_dummy_handler(ngx_event_t *ev)
{
    ngx_log_debug0(NGX_LOG_DEBUG_HTTP, ev->log, 0, "pay idle dummy handler");
}


/* an idle connection became readable, timed out, or the worker stops */

static void
ngx_http_pay_idle_close_handler(ngx_event_t *ev)
{
    ngx_connection_t     *c;
    ngx_http_pay_idle_t  *item;

    c = ev->data;
    item = c->data;

    if (!c->close && !c->read->timedout
        && ngx_http_pay_idle_alive(c) == NGX_OK)
    {
        ev->ready = 0;

        if (ngx_handle_read_event(c->read, 0) == NGX_OK) {
            return;
        }
    }

    ngx_http_pay_idle_close(c);

    ngx_queue_remove(&item->queue);
    ngx_queue_insert_head(&item->peers->free, &item->queue);
}


/* nothing may come from the other side, neither bytes nor an end */

static ngx_int_t
ngx_http_pay_idle_alive(ngx_connection_t *c)
{
    ssize_t  n;
    char     buf[1];

    n = recv(c->fd, buf, 1, MSG_PEEK|MSG_DONTWAIT);

    return (n == -1 && ngx_socket_errno == NGX_EAGAIN) ? NGX_OK : NGX_ERROR;
}


static void
ngx_http_pay_idle_close(ngx_connection_t *c)
{
#if (NGX_HTTP_SSL)

    if (c->ssl) {
        c->ssl->no_wait_shutdown = 1;
        c->ssl->no_send_shutdown = 1;

        if (ngx_ssl_shutdown(c) == NGX_AGAIN) {
            c->ssl->handler = ngx_http_pay_idle_close;
            return;
        }
    }

#endif

    ngx_destroy_pool(c->pool);
    ngx_close_connection(c);
}
