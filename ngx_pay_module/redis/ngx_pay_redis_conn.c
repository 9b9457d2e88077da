/*
 * The connection to Redis: opened, made ready, given up when it is silent, and
 * opened again, at the address that was configured or that sentinels tell.
 */

#include "ngx_pay_redis_conn.h"


#define NGX_PAY_REDIS_CHECK    500
#define NGX_PAY_REDIS_RETRY    100
#define NGX_PAY_REDIS_RETRIES  1000
#define NGX_PAY_REDIS_DEAD     3000     /* ms without an awaited reply */


static void
ngx_pay_redis_open(void)
{
    if (ngx_pay_rd.addr.host.len == 0 && ngx_pay_rd.addr.path.len == 0) {
        return;
    }

    if (ngx_pay_redis_link_open(&ngx_pay_rd.link, &ngx_pay_rd.addr,
                                &ngx_pay_rd.conf->auth)
        != NGX_OK)
    {
        ngx_pay_rd.link.on_down(&ngx_pay_rd.link, "cannot connect");
    }
}


static void
ngx_pay_redis_on_down(ngx_pay_redis_link_t *link, const char *reason)
{
    ngx_pay_rd.ready = 0;
    ngx_pay_rd.trusted = 0;
    ngx_pay_rd.loading = 0;

    ngx_log_error(NGX_LOG_ERR, ngx_pay_rd.log, 0, "pay: redis: %s", reason);
    ngx_http_pay_count(redis_reconnects);
    ngx_pay_redis_state();

    ngx_pay_redis_sentinel_ask();

    ngx_add_timer(&ngx_pay_rd.timer, ngx_pay_rd.backoff);
    ngx_pay_rd.backoff = ngx_min(ngx_pay_rd.backoff * 2, NGX_PAY_REDIS_RETRIES);
}


static void
ngx_pay_redis_on_load(redisAsyncContext *ac, void *data, void *unused)
{
    redisReply  *reply = data;

    if (reply == NULL) {
        return;
    }

    ngx_pay_rd.link.heard = ngx_current_msec;

    if (reply->type != REDIS_REPLY_STRING) {
        ngx_log_error(NGX_LOG_ERR, ngx_pay_rd.log, 0,
                      "pay: redis does not take the script: %*s",
                      reply->str ? reply->len : 0,
                      reply->str ? reply->str : "");
        ngx_pay_rd.ready = 0;
        ngx_pay_redis_link_close(&ngx_pay_rd.link, "unusable");
        return;
    }

    if (ngx_pay_rd.loading && --ngx_pay_rd.loading) {
        return;
    }

    ngx_pay_rd.ready = 1;
    ngx_pay_rd.backoff = NGX_PAY_REDIS_RETRY;
    ngx_pay_redis_state();
}


void
ngx_pay_redis_load(void)
{
    ngx_uint_t  i;

    if (ngx_pay_rd.loading) {
        return;
    }

    for (i = 0; i < NGX_PAY_REDIS_SCRIPTS; i++) {
        if (redisAsyncCommand(ngx_pay_rd.link.ac, ngx_pay_redis_on_load, NULL,
                              "SCRIPT LOAD %s", ngx_pay_rd.scripts[i].text)
            == REDIS_OK)
        {
            ngx_pay_rd.loading++;
        }
    }
}


/* a sentinel may have been wrong, or have told it before it was true */

static void
ngx_pay_redis_on_role(redisAsyncContext *ac, void *data, void *unused)
{
    redisReply  *reply = data;

    if (reply && reply->type == REDIS_REPLY_ARRAY && reply->elements
        && reply->element[0]->type == REDIS_REPLY_STRING
        && ngx_strcmp(reply->element[0]->str, "master") != 0)
    {
        ngx_pay_redis_link_close(&ngx_pay_rd.link, "is not the master");
    }
}


static void
ngx_pay_redis_on_up(ngx_pay_redis_link_t *link)
{
    if (ngx_pay_rd.conf->db) {
        redisAsyncCommand(link->ac, NULL, NULL, "SELECT %d",
                          (int) ngx_pay_rd.conf->db);
    }

    if (ngx_pay_rd.conf->sentinel.len) {
        redisAsyncCommand(link->ac, ngx_pay_redis_on_role, NULL, "ROLE");
    }

    ngx_pay_redis_load();
}


static void
ngx_pay_redis_timer(ngx_event_t *ev)
{
    if (ngx_pay_rd.exiting) {
        return;
    }

    if (ngx_pay_rd.link.ac == NULL) {
        ngx_pay_redis_open();

    } else if ((ngx_pay_rd.inflight || ngx_pay_rd.loading)
               && ngx_current_msec - ngx_pay_rd.link.heard
                  > NGX_PAY_REDIS_DEAD)
    {
        ngx_pay_redis_link_close(&ngx_pay_rd.link, "does not answer");
    }

    if (!ngx_pay_rd.timer.timer_set) {
        ngx_add_timer(&ngx_pay_rd.timer, NGX_PAY_REDIS_CHECK);
    }
}


void
ngx_pay_redis_moved(ngx_str_t *host, in_port_t port)
{
    ngx_memcpy(ngx_pay_rd.host, host->data, host->len);
    ngx_pay_rd.host[host->len] = '\0';

    ngx_pay_rd.addr.host.data = ngx_pay_rd.host;
    ngx_pay_rd.addr.host.len = host->len;
    ngx_pay_rd.addr.port = port;

    ngx_pay_redis_link_close(&ngx_pay_rd.link, "there is a new master");

    ngx_pay_rd.backoff = NGX_PAY_REDIS_RETRY;

    if (ngx_pay_rd.timer.timer_set) {
        ngx_del_timer(&ngx_pay_rd.timer);
        ngx_add_timer(&ngx_pay_rd.timer, 1);
    }
}


void
ngx_pay_redis_readonly(void)
{
    if (ngx_pay_rd.conf->sentinel.len) {
        ngx_pay_redis_link_close(&ngx_pay_rd.link, "is read-only");
    }
}


void
ngx_pay_redis_conn_start(void)
{
    ngx_pay_redis_addr_t  *addr;

    ngx_pay_rd.link.log = ngx_pay_rd.log;
    ngx_pay_rd.link.fd = (ngx_socket_t) -1;
    ngx_pay_rd.link.on_up = ngx_pay_redis_on_up;
    ngx_pay_rd.link.on_down = ngx_pay_redis_on_down;

    if (ngx_pay_rd.conf->sentinel.len) {
        ngx_pay_redis_sentinel_start();

    } else {
        addr = ngx_pay_rd.conf->addrs.elts;
        ngx_pay_rd.addr = addr[0];
    }

    ngx_pay_rd.backoff = NGX_PAY_REDIS_RETRY;
    ngx_pay_rd.trusted = 1;

    ngx_pay_rd.timer.handler = ngx_pay_redis_timer;
    ngx_pay_rd.timer.data = &ngx_pay_rd;
    ngx_pay_rd.timer.log = ngx_pay_rd.log;
    ngx_pay_rd.timer.cancelable = 1;

    ngx_pay_redis_open();

    if (!ngx_pay_rd.timer.timer_set) {
        ngx_add_timer(&ngx_pay_rd.timer, NGX_PAY_REDIS_CHECK);
    }
}


void
ngx_pay_redis_conn_stop(void)
{
    ngx_pay_rd.link.exiting = 1;

    ngx_pay_redis_link_close(&ngx_pay_rd.link, NULL);
    ngx_pay_redis_sentinel_stop();

    if (ngx_pay_rd.timer.timer_set) {
        ngx_del_timer(&ngx_pay_rd.timer);
    }
}
