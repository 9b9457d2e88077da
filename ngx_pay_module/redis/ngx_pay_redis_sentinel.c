/*
 * Who is the master?  Each process asks one sentinel a second, and the next one
 * when that does not answer or does not know.  A sentinel that was cut off may
 * tell an old master: what was configured later (a higher epoch) wins.
 *
 * Names were resolved when the configuration was read; sentinels tell numeric
 * addresses.  The last answer stands in the zone for processes that start.
 */

#include "ngx_pay_redis_conn.h"


#define NGX_PAY_SENTINEL_POLL     1000
#define NGX_PAY_SENTINEL_SOON     20
#define NGX_PAY_SENTINEL_PATIENCE 500
#define NGX_PAY_SENTINEL_TRUST    5000


typedef struct {
    ngx_pay_redis_link_t    link;       /* first: data of the timer, too */
    ngx_event_t             timer;
    ngx_uint_t              next;       /* sentinel to try */
    ngx_uint_t              asking;
    int64_t                 epoch;      /* of the master we follow */
    ngx_msec_t              taken;      /* when a sentinel last knew it */
} ngx_pay_sentinel_t;


static ngx_pay_sentinel_t  ngx_pay_sentinel;


static void
ngx_pay_sentinel_remember(ngx_str_t *host, in_port_t port, int64_t epoch)
{
    ngx_http_pay_master_t  *m;

    if (ngx_http_pay_shm == NULL) {
        return;
    }

    m = &ngx_http_pay_shm->master;

    ngx_shmtx_lock(&ngx_http_pay_shpool->mutex);

    ngx_memcpy(m->host, host->data, host->len);
    m->len = host->len;
    m->port = port;
    m->epoch = epoch;
    m->name = slice_hash(ngx_pay_slice(ngx_pay_rd.conf->sentinel));

    ngx_shmtx_unlock(&ngx_http_pay_shpool->mutex);
}


static void
ngx_pay_sentinel_recall(void)
{
    ngx_str_t               host;
    in_port_t               port;
    u_char                  buf[NGX_SOCKADDR_STRLEN];
    ngx_http_pay_master_t  *m;

    if (ngx_http_pay_shm == NULL) {
        return;
    }

    m = &ngx_http_pay_shm->master;

    ngx_shmtx_lock(&ngx_http_pay_shpool->mutex);

    host.data = buf;
    host.len = m->name == slice_hash(ngx_pay_slice(ngx_pay_rd.conf->sentinel))
               ? m->len : 0;
    ngx_memcpy(buf, m->host, m->len);
    port = m->port;
    ngx_pay_sentinel.epoch = host.len ? m->epoch : 0;

    ngx_shmtx_unlock(&ngx_http_pay_shpool->mutex);

    if (host.len) {
        ngx_pay_redis_moved(&host, port);
    }
}


static ngx_uint_t
ngx_pay_sentinel_is_numeric(ngx_str_t *host)
{
    u_char  addr[16];

    return ngx_inet_addr(host->data, host->len) != INADDR_NONE
           || ngx_inet6_addr(host->data, host->len, addr) == NGX_OK;
}


/* a pair of "SENTINEL MASTER name": name, value, name, value ... */

static ngx_str_t
ngx_pay_sentinel_field(redisReply *reply, const char *name)
{
    size_t      i;
    ngx_str_t   value = ngx_null_string;

    for (i = 0; i + 1 < reply->elements; i += 2) {
        if (reply->element[i]->type == REDIS_REPLY_STRING
            && reply->element[i + 1]->type == REDIS_REPLY_STRING
            && ngx_strcmp(reply->element[i]->str, name) == 0)
        {
            value.data = (u_char *) reply->element[i + 1]->str;
            value.len = reply->element[i + 1]->len;
            break;
        }
    }

    return value;
}


/* NGX_DECLINED: this sentinel is of no use */

static ngx_int_t
ngx_pay_sentinel_take(redisReply *reply)
{
    ngx_int_t   port, epoch;
    ngx_str_t   host, value;

    if (reply->type != REDIS_REPLY_ARRAY) {
        return NGX_DECLINED;
    }

    host = ngx_pay_sentinel_field(reply, "ip");

    value = ngx_pay_sentinel_field(reply, "port");
    port = value.len ? ngx_atoi(value.data, value.len) : NGX_ERROR;

    value = ngx_pay_sentinel_field(reply, "config-epoch");
    epoch = value.len ? ngx_atoi(value.data, value.len) : NGX_ERROR;

    if (host.len == 0 || host.len >= NGX_SOCKADDR_STRLEN || port < 1
        || port > 65535 || epoch < 0)
    {
        return NGX_DECLINED;
    }

    if (!ngx_pay_sentinel_is_numeric(&host)) {
        ngx_log_error(NGX_LOG_ERR, ngx_pay_rd.log, 0,
                      "pay: sentinel tells a name, \"%V\", not an address",
                      &host);
        return NGX_DECLINED;
    }

    /* set up anew they count from the beginning, and then all say the same */

    if (epoch < ngx_pay_sentinel.epoch
        && ngx_current_msec - ngx_pay_sentinel.taken < NGX_PAY_SENTINEL_TRUST)
    {
        return NGX_DECLINED;
    }

    ngx_pay_sentinel.epoch = epoch;
    ngx_pay_sentinel.taken = ngx_current_msec;

    if (host.len == ngx_pay_rd.addr.host.len
        && ngx_memcmp(host.data, ngx_pay_rd.addr.host.data, host.len) == 0
        && port == ngx_pay_rd.addr.port)
    {
        return NGX_OK;
    }

    ngx_log_error(NGX_LOG_NOTICE, ngx_pay_rd.log, 0,
                  "pay: redis master \"%V\" is %V:%i",
                  &ngx_pay_rd.conf->sentinel, &host, port);

    ngx_http_pay_count(redis_masters);
    ngx_pay_sentinel_remember(&host, (in_port_t) port, epoch);
    ngx_pay_redis_moved(&host, (in_port_t) port);

    return NGX_OK;
}


static void
ngx_pay_sentinel_on_master(redisAsyncContext *ac, void *data, void *unused)
{
    redisReply  *reply = data;

    ngx_pay_sentinel.asking = 0;

    if (reply == NULL || ngx_pay_sentinel.link.exiting) {
        return;
    }

    ngx_pay_sentinel.link.heard = ngx_current_msec;

    if (ngx_pay_sentinel_take(reply) != NGX_OK) {
        ngx_log_error(NGX_LOG_WARN, ngx_pay_rd.log, 0,
                      "pay: a sentinel cannot tell master \"%V\"%s%s",
                      &ngx_pay_rd.conf->sentinel, reply->str ? ": " : "",
                      reply->str ? reply->str : "");
        ngx_pay_redis_link_close(&ngx_pay_sentinel.link, "of no use");
    }
}


static void
ngx_pay_sentinel_send(void)
{
    if (ngx_pay_sentinel.asking || ngx_pay_sentinel.link.ac == NULL) {
        return;
    }

    if (redisAsyncCommand(ngx_pay_sentinel.link.ac, ngx_pay_sentinel_on_master,
                          NULL, "SENTINEL MASTER %b",
                          ngx_pay_rd.conf->sentinel.data,
                          ngx_pay_rd.conf->sentinel.len)
        == REDIS_OK)
    {
        ngx_pay_sentinel.asking = 1;
        ngx_pay_sentinel.link.heard = ngx_current_msec;
    }
}


static void
ngx_pay_sentinel_on_up(ngx_pay_redis_link_t *link)
{
    ngx_pay_sentinel_send();
}


/* the next one, soon; after all of them have been tried, in a second */

static void
ngx_pay_sentinel_on_down(ngx_pay_redis_link_t *link, const char *reason)
{
    ngx_pay_sentinel.asking = 0;

    ngx_log_error(NGX_LOG_WARN, ngx_pay_rd.log, 0, "pay: redis sentinel: %s",
                  reason);

    ngx_pay_sentinel.next++;

    ngx_add_timer(&ngx_pay_sentinel.timer,
                  ngx_pay_sentinel.next % ngx_pay_rd.conf->addrs.nelts
                  ? NGX_PAY_SENTINEL_SOON : NGX_PAY_SENTINEL_POLL);
}


static void
ngx_pay_sentinel_open(void)
{
    ngx_pay_redis_addr_t  *addr;

    addr = ngx_pay_rd.conf->addrs.elts;
    addr += ngx_pay_sentinel.next % ngx_pay_rd.conf->addrs.nelts;

    if (ngx_pay_redis_link_open(&ngx_pay_sentinel.link, addr,
                                &ngx_pay_rd.conf->sentinel_auth)
        != NGX_OK)
    {
        ngx_pay_sentinel_on_down(&ngx_pay_sentinel.link, "cannot connect");
    }
}


static void
ngx_pay_sentinel_timer(ngx_event_t *ev)
{
    if (ngx_pay_rd.exiting) {
        return;
    }

    if (ngx_pay_sentinel.link.ac == NULL) {
        ngx_pay_sentinel_open();

    } else if (!ngx_pay_sentinel.asking) {
        ngx_pay_sentinel_send();

    } else if (ngx_current_msec - ngx_pay_sentinel.link.heard
               >= NGX_PAY_SENTINEL_PATIENCE)
    {
        ngx_pay_redis_link_close(&ngx_pay_sentinel.link, "does not answer");
    }

    if (!ngx_pay_sentinel.timer.timer_set) {
        ngx_add_timer(&ngx_pay_sentinel.timer,
                      ngx_pay_sentinel.asking ? NGX_PAY_SENTINEL_PATIENCE
                                              : NGX_PAY_SENTINEL_POLL);
    }
}


void
ngx_pay_redis_sentinel_ask(void)
{
    if (ngx_pay_rd.conf->sentinel.len && ngx_pay_sentinel.link.ac) {

        /* nginx would leave a timer that is nearly due where it is */

        if (ngx_pay_sentinel.timer.timer_set) {
            ngx_del_timer(&ngx_pay_sentinel.timer);
        }

        ngx_add_timer(&ngx_pay_sentinel.timer, NGX_PAY_SENTINEL_SOON);
    }
}


void
ngx_pay_redis_sentinel_start(void)
{
    ngx_pay_sentinel.link.log = ngx_pay_rd.log;
    ngx_pay_sentinel.link.fd = (ngx_socket_t) -1;
    ngx_pay_sentinel.link.on_up = ngx_pay_sentinel_on_up;
    ngx_pay_sentinel.link.on_down = ngx_pay_sentinel_on_down;

    ngx_pay_sentinel.timer.handler = ngx_pay_sentinel_timer;
    ngx_pay_sentinel.timer.data = &ngx_pay_sentinel;
    ngx_pay_sentinel.timer.log = ngx_pay_rd.log;
    ngx_pay_sentinel.timer.cancelable = 1;

    ngx_pay_sentinel.taken = ngx_current_msec;
    ngx_pay_sentinel_recall();

    ngx_add_timer(&ngx_pay_sentinel.timer, 1);
}


void
ngx_pay_redis_sentinel_stop(void)
{
    ngx_pay_sentinel.link.exiting = 1;

    ngx_pay_redis_link_close(&ngx_pay_sentinel.link, NULL);

    if (ngx_pay_sentinel.timer.timer_set) {
        ngx_del_timer(&ngx_pay_sentinel.timer);
    }
}
