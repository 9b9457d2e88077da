/*
 * The connection of one nginx process to payd's internal socket: lines out,
 * lines in, and whether the change feed is alive.  Addresses are tried in
 * turn.  docs/interfaces.md describes the protocol.
 *
 * A second connection, to another payd, is made when the first one owes an
 * answer for too long.  It is asked, and its changes are heard, but what is
 * fresh is said by the first one alone.
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
    ngx_uint_t              skip;       /* aside: so many were no use */
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


static void ngx_pay_feed_connect(ngx_pay_feed_t *f);
static void ngx_pay_feed_close(ngx_pay_feed_t *f, const char *reason);
static void ngx_pay_feed_write(ngx_event_t *wev);
static void ngx_pay_feed_read(ngx_event_t *rev);


static ngx_pay_feed_t  feeds[NGX_PAY_FEEDS];

#define feed   feeds[NGX_PAY_FEED_MAIN]
#define aside  feeds[NGX_PAY_FEED_ASIDE]


static void
ngx_pay_feed_timer(ngx_event_t *ev)
{
    if (feed.exiting) {
        return;
    }

    if (feed.c == NULL) {
        ngx_pay_feed_connect(&feed);

    } else if (ngx_current_msec - feed.ticked > NGX_PAY_FEED_SILENCE) {
        ngx_pay_feed_close(&feed, "silent for 3 s");
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

    aside.fd = (ngx_socket_t) -1;
    aside.conf = conf;
    aside.log = cycle->log;

    buf_init(&aside.out, NGX_PAY_FEED_OUT);

    feed.timer.handler = ngx_pay_feed_timer;
    feed.timer.data = &feed;
    feed.timer.log = cycle->log;
    feed.timer.cancelable = 1;

    /* spread over the workers, all of them if one is away */

    feed.addr = ngx_worker;

    ngx_pay_feed_connect(&feed);

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

    if (aside.c) {
        ngx_close_connection(aside.c);
        aside.c = NULL;
    }

    buf_release(&feed.out);
    buf_release(&aside.out);
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
ngx_pay_feed_connect(ngx_pay_feed_t *f)
{
    ngx_int_t    rc;
    ngx_addr_t  *addrs;

    addrs = f->conf->addrs.elts;

    ngx_memzero(&f->pc, sizeof(ngx_peer_connection_t));
    f->pc.sockaddr = addrs[f->addr % f->conf->addrs.nelts].sockaddr;
    f->pc.socklen = addrs[f->addr % f->conf->addrs.nelts].socklen;
    f->pc.name = &addrs[f->addr % f->conf->addrs.nelts].name;
    f->pc.get = ngx_event_get_peer;
    f->pc.log = f->log;
    f->pc.log_error = NGX_ERROR_ERR;

    f->addr++;

    rc = ngx_event_connect_peer(&f->pc);

    if (rc == NGX_ERROR || rc == NGX_BUSY || rc == NGX_DECLINED) {
        if (f->pc.connection) {
            ngx_close_connection(f->pc.connection);
        }

        if (f == &aside) {
            aside.skip++;
            return;
        }

        ngx_add_timer(&f->timer, f->backoff);
        f->backoff = ngx_min(f->backoff * 2, NGX_PAY_FEED_RETRIES);
        return;
    }

    f->c = f->pc.connection;
    f->c->data = f;
    f->c->log = f->log;
    f->c->read->log = f->log;
    f->c->write->log = f->log;
    f->c->read->handler = ngx_pay_feed_read;
    f->c->write->handler = ngx_pay_feed_write;

    f->up = 0;
    f->covering = 0;
    f->in_len = 0;
    f->ticked = ngx_current_msec;
    buf_clear(&f->out);

    if (f == &feed) {
        ngx_pay_keys_connected();
    }

    if (rc == NGX_OK) {
        ngx_pay_feed_write(f->c->write);
    }
}


static void
ngx_pay_feed_close(ngx_pay_feed_t *f, const char *reason)
{
    ngx_uint_t  generation;

    ngx_log_error(NGX_LOG_WARN, f->log, 0,
                  "pay: connection to \"%V\" for keys closed: %s",
                  f->pc.name, reason);

    ngx_close_connection(f->c);
    f->c = NULL;

    generation = f->up ? f->generation : 0;
    f->up = 0;

    wipe(f->in, f->in_len);
    f->in_len = 0;

    if (f == &aside) {
        ngx_pay_keys_aside_lost();
        return;
    }

    ngx_http_pay_row()->feed_alive = 0;

    ngx_add_timer(&f->timer, f->backoff);
    f->backoff = ngx_min(f->backoff * 2, NGX_PAY_FEED_RETRIES);

    ngx_pay_keys_lost(generation, f->ticked);
}


static ngx_int_t
ngx_pay_feed_established(ngx_pay_feed_t *f)
{
    int        err;
    socklen_t  len;

    if (f->up) {
        return NGX_OK;
    }

    err = 0;
    len = sizeof(int);

    if (getsockopt(f->c->fd, SOL_SOCKET, SO_ERROR, &err, &len) == -1 || err) {
        return NGX_ERROR;
    }

    f->up = 1;
    f->generation++;
    f->since = ngx_current_msec;
    f->ticked = ngx_current_msec;

    if (f == &feed) {
        ngx_http_pay_row()->feed_alive = 1;
    }

    return NGX_OK;
}


static void
ngx_pay_feed_write(ngx_event_t *wev)
{
    ssize_t            n;
    ngx_connection_t  *c = wev->data;
    ngx_pay_feed_t    *f = c->data;

    if (!f->up && !wev->ready) {
        /* posted while the connection is being made */
        return;
    }

    if (ngx_pay_feed_established(f) != NGX_OK) {
        ngx_pay_feed_close(f, "cannot connect");
        return;
    }

    while (f->out.n && wev->ready) {

        n = f->c->send(f->c, (u_char *) f->out.p, f->out.n);

        if (n == NGX_ERROR) {
            ngx_pay_feed_close(f, "send failed");
            return;
        }

        if (n == NGX_AGAIN) {
            break;
        }

        buf_consume(&f->out, n);
    }

    if (ngx_handle_write_event(wev, 0) != NGX_OK) {
        ngx_pay_feed_close(f, "event failed");
    }
}


/* another payd than the one whose changes we follow, and not one that hangs */

static ngx_int_t
ngx_pay_feed_aside(void)
{
    if (aside.c && ngx_current_msec - aside.ticked > NGX_PAY_FEED_SILENCE) {
        ngx_pay_feed_close(&aside, "silent for 3 s");
        aside.skip++;
    }

    if (aside.c == NULL) {
        aside.addr = feed.addr + aside.skip % (feed.conf->addrs.nelts - 1);
        ngx_pay_feed_connect(&aside);
    }

    return aside.c ? NGX_OK : NGX_ERROR;
}


ngx_uint_t
ngx_pay_feed_connected(void)
{
    return feed.c != NULL;
}


ngx_uint_t
ngx_pay_feed_has_aside(void)
{
    return feed.conf->addrs.nelts > 1;
}


ngx_int_t
ngx_pay_feed_ask(ngx_uint_t which, ngx_str_t *serial)
{
    size_t           n;
    ngx_pay_feed_t  *f = &feeds[which];

    if (feed.exiting
        || (which == NGX_PAY_FEED_ASIDE && ngx_pay_feed_aside() != NGX_OK)
        || f->c == NULL)
    {
        return NGX_DECLINED;
    }

    n = f->out.n;

    buf_add(&f->out, "KEY ", 4);
    buf_add(&f->out, serial->data, serial->len);
    buf_add_char(&f->out, '\n');

    if (!buf_ok(&f->out)) {
        f->out.n = n;
        f->out.failed = false;
        return NGX_ERROR;
    }

    /*
     * Sent at the end of this loop turn, with what else is asked in it, and
     * never from here: a failure would end look-ups while one is being made.
     */

    ngx_post_event(f->c->write, &ngx_posted_events);

    return NGX_OK;
}


static void
ngx_pay_feed_tick(ngx_pay_feed_t *f)
{
    f->ticked = ngx_current_msec;

    if (f == &aside) {
        return;
    }

    f->backoff = NGX_PAY_FEED_RETRY;
    f->covering = 1;

    ngx_pay_keys_zone_tick(f->since);
}


static ngx_int_t
ngx_pay_feed_line(ngx_pay_feed_t *f, struct slice line)
{
    if (slice_is(line, "TICK")) {
        ngx_pay_feed_tick(f);
        return NGX_OK;
    }

    /* one that is only asked shows by any answer that it does not hang */

    if (f == &aside) {
        f->ticked = ngx_current_msec;
    }

    return ngx_pay_keys_line(f - feeds, line);
}


/* handles the whole lines in the buffer and moves the rest to its start */

static ngx_int_t
ngx_pay_feed_lines(ngx_pay_feed_t *f)
{
    u_char  *p, *last, *nl;

    p = f->in;
    last = f->in + f->in_len;

    while ((nl = ngx_strlchr(p, last, '\n')) != NULL) {

        if (nl - p >= NGX_PAY_LINE_MAX
            || ngx_pay_feed_line(f, slice_n(p, nl - p)) != NGX_OK)
        {
            return NGX_ERROR;
        }

        p = nl + 1;
    }

    if (last - p >= NGX_PAY_LINE_MAX) {
        return NGX_ERROR;
    }

    /* secrets have passed through here */

    ngx_memmove(f->in, p, last - p);
    f->in_len = last - p;
    wipe(f->in + f->in_len, p - f->in);

    return NGX_OK;
}


static void
ngx_pay_feed_read(ngx_event_t *rev)
{
    ssize_t            n;
    ngx_connection_t  *c = rev->data;
    ngx_pay_feed_t    *f = c->data;

    if (ngx_pay_feed_established(f) != NGX_OK) {
        ngx_pay_feed_close(f, "cannot connect");
        return;
    }

    do {
        n = f->c->recv(f->c, f->in + f->in_len, sizeof(f->in) - f->in_len);

        if (n == NGX_AGAIN) {
            break;
        }

        if (n == 0 || n == NGX_ERROR) {
            ngx_pay_feed_close(f, "closed by payd");
            return;
        }

        f->in_len += n;

        if (ngx_pay_feed_lines(f) != NGX_OK) {
            ngx_pay_feed_close(f, "payd sent a line that is not understood");
            return;
        }

    } while (rev->ready);

    if (ngx_handle_read_event(rev, 0) != NGX_OK) {
        ngx_pay_feed_close(f, "event failed");
    }
}
