/*
 * The connection of one nginx process to payd's internal socket: lines out,
 * lines in, and whether the change feed is alive.  Addresses are tried in
 * turn.  docs/interfaces.md describes the protocol.
 *
 * The maintenance timer is cancelable, so that it never keeps a process that
 * shuts down; requests that wait for a look-up have timers of their own.
 */

#include "ngx_pay_keys.h"

#include <ngx_event_connect.h>


#define NGX_PAY_FEED_SILENCE  3000      /* ms without TICK */
#define NGX_PAY_FEED_CHECK    500
#define NGX_PAY_FEED_RETRY    100
#define NGX_PAY_FEED_RETRIES  1000
#define NGX_PAY_FEED_OUT      (256 * 1024)


typedef struct {
    /* the timer's data: the event module's debug log reads fd behind these */
    void                   *unused[3];
    ngx_socket_t            fd;

    ngx_pay_keys_conf_t    *conf;
    ngx_log_t              *log;
    ngx_peer_connection_t   pc;
    ngx_connection_t       *c;          /* NULL: not connected */
    ngx_uint_t              addr;       /* next to try */
    ngx_event_t             timer;
    ngx_msec_t              backoff;

    ngx_uint_t              generation;
    ngx_msec_t              since;      /* connected */
    ngx_msec_t              ticked;
    unsigned                up:1;       /* connection established */
    unsigned                covering:1; /* a TICK has come */
    unsigned                exiting:1;

    struct buf              out;
    size_t                  in_len;
    u_char                  in[2 * NGX_PAY_LINE_MAX];
} ngx_pay_feed_t;


static void ngx_pay_feed_connect(void);
static void ngx_pay_feed_close(const char *reason);
static void ngx_pay_feed_write(ngx_event_t *wev);
static void ngx_pay_feed_read(ngx_event_t *rev);


static ngx_pay_feed_t  feed;


static void
ngx_pay_feed_timer(ngx_event_t *ev)
{
    if (feed.exiting) {
        return;
    }

    if (feed.c == NULL) {
        ngx_pay_feed_connect();

    } else if (ngx_current_msec - feed.ticked > NGX_PAY_FEED_SILENCE) {
        ngx_pay_feed_close("silent for 3 s");
    }

    if (!feed.timer.timer_set) {
        ngx_add_timer(&feed.timer, NGX_PAY_FEED_CHECK);
    }
}


ngx_int_t
ngx_pay_feed_start(ngx_cycle_t *cycle, ngx_pay_keys_conf_t *conf)
{
    feed.fd = (ngx_socket_t) -1;
    feed.conf = conf;
    feed.log = cycle->log;
    feed.backoff = NGX_PAY_FEED_RETRY;

    buf_init(&feed.out, NGX_PAY_FEED_OUT);

    feed.timer.handler = ngx_pay_feed_timer;
    feed.timer.data = &feed;
    feed.timer.log = cycle->log;
    feed.timer.cancelable = 1;

    /* spread over the workers, all of them if one is away */

    feed.addr = ngx_worker;

    ngx_pay_feed_connect();

    if (!feed.timer.timer_set) {
        ngx_add_timer(&feed.timer, NGX_PAY_FEED_CHECK);
    }

    return NGX_OK;
}


/*
 * A process that is about to end hands its stretch of the feed over to those
 * that connected while it lived: what has come is heard first.
 */

void
ngx_pay_feed_stop(void)
{
    feed.exiting = 1;

    if (feed.covering && ngx_pay_feed_generation()) {
        ngx_pay_feed_read(feed.c->read);
    }

    if (feed.covering && ngx_pay_feed_generation()) {
        ngx_pay_keys_zone_tick(feed.since);
    }

    if (feed.timer.timer_set) {
        ngx_del_timer(&feed.timer);
    }

    if (feed.c) {
        ngx_close_connection(feed.c);
        feed.c = NULL;
    }

    buf_release(&feed.out);
}


ngx_uint_t
ngx_pay_feed_generation(void)
{
    if (feed.up && ngx_current_msec - feed.ticked <= NGX_PAY_FEED_SILENCE) {
        return feed.generation;
    }

    return 0;
}


/*
 * A record in the zone may lack a change that another process was told before
 * we connected and has not handled yet; with the first TICK that is over.
 */

ngx_uint_t
ngx_pay_feed_covering(void)
{
    return feed.covering ? ngx_pay_feed_generation() : 0;
}


static void
ngx_pay_feed_connect(void)
{
    ngx_int_t    rc;
    ngx_addr_t  *addrs;

    addrs = feed.conf->addrs.elts;

    ngx_memzero(&feed.pc, sizeof(ngx_peer_connection_t));
    feed.pc.sockaddr = addrs[feed.addr % feed.conf->addrs.nelts].sockaddr;
    feed.pc.socklen = addrs[feed.addr % feed.conf->addrs.nelts].socklen;
    feed.pc.name = &addrs[feed.addr % feed.conf->addrs.nelts].name;
    feed.pc.get = ngx_event_get_peer;
    feed.pc.log = feed.log;
    feed.pc.log_error = NGX_ERROR_ERR;

    feed.addr++;

    rc = ngx_event_connect_peer(&feed.pc);

    if (rc == NGX_ERROR || rc == NGX_BUSY || rc == NGX_DECLINED) {
        if (feed.pc.connection) {
            ngx_close_connection(feed.pc.connection);
        }

        ngx_add_timer(&feed.timer, feed.backoff);
        feed.backoff = ngx_min(feed.backoff * 2, NGX_PAY_FEED_RETRIES);
        return;
    }

    feed.c = feed.pc.connection;
    feed.c->log = feed.log;
    feed.c->read->log = feed.log;
    feed.c->write->log = feed.log;
    feed.c->read->handler = ngx_pay_feed_read;
    feed.c->write->handler = ngx_pay_feed_write;

    feed.up = 0;
    feed.covering = 0;
    feed.in_len = 0;
    feed.ticked = ngx_current_msec;
    buf_clear(&feed.out);

    if (rc == NGX_OK) {
        ngx_pay_feed_write(feed.c->write);
    }
}


static void
ngx_pay_feed_close(const char *reason)
{
    ngx_uint_t  generation;

    ngx_log_error(NGX_LOG_WARN, feed.log, 0,
                  "pay: connection to \"%V\" for keys closed: %s",
                  feed.pc.name, reason);

    ngx_close_connection(feed.c);
    feed.c = NULL;

    generation = feed.up ? feed.generation : 0;
    feed.up = 0;

    wipe(feed.in, feed.in_len);
    feed.in_len = 0;
    ngx_http_pay_row()->feed_alive = 0;

    ngx_add_timer(&feed.timer, feed.backoff);
    feed.backoff = ngx_min(feed.backoff * 2, NGX_PAY_FEED_RETRIES);

    ngx_pay_keys_lost(generation, feed.ticked);
}


static ngx_int_t
ngx_pay_feed_established(void)
{
    int        err;
    socklen_t  len;

    if (feed.up) {
        return NGX_OK;
    }

    err = 0;
    len = sizeof(int);

    if (getsockopt(feed.c->fd, SOL_SOCKET, SO_ERROR, &err, &len) == -1 || err) {
        return NGX_ERROR;
    }

    feed.up = 1;
    feed.generation++;
    feed.since = ngx_current_msec;
    feed.ticked = ngx_current_msec;
    ngx_http_pay_row()->feed_alive = 1;

    return NGX_OK;
}


static void
ngx_pay_feed_write(ngx_event_t *wev)
{
    ssize_t  n;

    if (!feed.up && !wev->ready) {
        /* posted while the connection is being made */
        return;
    }

    if (ngx_pay_feed_established() != NGX_OK) {
        ngx_pay_feed_close("cannot connect");
        return;
    }

    while (feed.out.n && wev->ready) {

        n = feed.c->send(feed.c, (u_char *) feed.out.p, feed.out.n);

        if (n == NGX_ERROR) {
            ngx_pay_feed_close("send failed");
            return;
        }

        if (n == NGX_AGAIN) {
            break;
        }

        buf_consume(&feed.out, n);
    }

    if (ngx_handle_write_event(wev, 0) != NGX_OK) {
        ngx_pay_feed_close("event failed");
    }
}


ngx_int_t
ngx_pay_feed_ask(ngx_str_t *serial)
{
    size_t  n;

    if (feed.c == NULL || feed.exiting) {
        return NGX_ERROR;
    }

    n = feed.out.n;

    buf_add(&feed.out, "KEY ", 4);
    buf_add(&feed.out, serial->data, serial->len);
    buf_add_char(&feed.out, '\n');

    if (!buf_ok(&feed.out)) {
        feed.out.n = n;
        feed.out.failed = false;
        return NGX_ERROR;
    }

    /*
     * Sent at the end of this loop turn, with what else is asked in it, and
     * never from here: a failure would end look-ups while one is being made.
     */

    ngx_post_event(feed.c->write, &ngx_posted_events);

    return NGX_OK;
}


static void
ngx_pay_feed_tick(void)
{
    feed.ticked = ngx_current_msec;
    feed.backoff = NGX_PAY_FEED_RETRY;
    feed.covering = 1;

    ngx_pay_keys_zone_tick(feed.since);
}


/* "WORD serial[ record]", without its newline */

static ngx_int_t
ngx_pay_feed_line(struct slice line)
{
    ngx_str_t     serial;
    struct slice  word;

    word = slice_cut(&line, ' ');
    serial = ngx_pay_str(slice_cut(&line, ' '));

    if (slice_is(word, "TICK") && serial.len == 0) {
        ngx_pay_feed_tick();
        return NGX_OK;
    }

    if (serial.len == 0 || serial.len > NGX_PAY_SERIAL_MAX) {
        return NGX_ERROR;
    }

    if (slice_is(word, "KEY") && line.n) {
        ngx_pay_keys_event(ngx_pay_feed_key, &serial, line);

    } else if (slice_is(word, "NONE")) {
        ngx_pay_keys_event(ngx_pay_feed_none, &serial, SLICE_NULL);

    } else if (slice_is(word, "LATER")) {
        ngx_pay_keys_event(ngx_pay_feed_later, &serial, SLICE_NULL);

    } else if (slice_is(word, "CHANGED")) {
        ngx_pay_keys_event(ngx_pay_feed_changed, &serial, SLICE_NULL);

    } else {
        return NGX_ERROR;
    }

    return NGX_OK;
}


/* handles the whole lines in the buffer and moves the rest to its start */

static ngx_int_t
ngx_pay_feed_lines(void)
{
    u_char  *p, *last, *nl;

    p = feed.in;
    last = feed.in + feed.in_len;

    while ((nl = ngx_strlchr(p, last, '\n')) != NULL) {

        if (nl - p >= NGX_PAY_LINE_MAX
            || ngx_pay_feed_line(slice_n(p, nl - p)) != NGX_OK)
        {
            return NGX_ERROR;
        }

        p = nl + 1;
    }

    if (last - p >= NGX_PAY_LINE_MAX) {
        return NGX_ERROR;
    }

    /* secrets have passed through here */

    ngx_memmove(feed.in, p, last - p);
    feed.in_len = last - p;
    wipe(feed.in + feed.in_len, p - feed.in);

    return NGX_OK;
}


static void
ngx_pay_feed_read(ngx_event_t *rev)
{
    ssize_t  n;

    if (ngx_pay_feed_established() != NGX_OK) {
        ngx_pay_feed_close("cannot connect");
        return;
    }

    do {
        n = feed.c->recv(feed.c, feed.in + feed.in_len,
                         sizeof(feed.in) - feed.in_len);

        if (n == NGX_AGAIN) {
            break;
        }

        if (n == 0 || n == NGX_ERROR) {
            ngx_pay_feed_close("closed by payd");
            return;
        }

        feed.in_len += n;

        if (ngx_pay_feed_lines() != NGX_OK) {
            ngx_pay_feed_close("payd sent a line that is not understood");
            return;
        }

    } while (rev->ready);

    if (ngx_handle_read_event(rev, 0) != NGX_OK) {
        ngx_pay_feed_close("event failed");
    }
}
