/*
 * DESIGN. HTTP/1.1 for nginx, over unix sockets. A request that comes in one piece costs one recv
 * and its answer one sendmsg; nothing is added to or taken out of epoll in between, for sockets are
 * watched edge-triggered:
 *
 *   reading   bytes are parsed where they were read (scratch), or behind those kept in c->in
 *   handed    the handler has the request (c->req). What the socket says meanwhile is remembered
 *             (c->readable), bytes behind the request wait in c->in
 *   ended     the answer is written, as far as the socket takes it. At the end of the turn the
 *             request is freed and the next one's turn comes: the handler may go on with what it
 *             holds
 *
 * A connection is closed nowhere but at the end of a turn, while reading, or by the sweep, so
 * whoever answers need not ask whether it is still there. A request is one piece of memory: struct,
 * headers and a copy of its bytes.
 */
#define _GNU_SOURCE /* accept4 */
#include "http_unix.h"

#include "log.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define HEAD_MAX    4096                                  /* of a request */
#define MESSAGE_MAX (HEAD_MAX + HTTP_IN_DRAIN_MAX + 4096) /* with sizes of chunks */
#define SCRATCH     65536
#define ACCEPT_TURN 64 /* connections taken in one turn */
#define SWEEP_US    (USEC_PER_SEC)

/* ---- connections ---- */

static void accept_again(struct unix_in *h)
{
    if (h->paused && !h->pub.stopping && event_add(&h->accept, NULL) == 0)
        h->paused = false;
}

/* A request without an answer stays with the handler. */
static void conn_close(struct unix_conn *c)
{
    struct unix_in *h = c->in_of;

    if (c->req && c->req->answered)
        unix_req_free(c->req);
    else if (c->req)
        c->req->conn = NULL;
    if (c->prev)
        c->prev->next = c->next;
    else
        h->conns = c->next;
    if (c->next)
        c->next->prev = c->prev;
    h->nconns--;
    unix_uncount(c);
    event_del(&c->watch);
    event_del(&c->writable);
    close(c->fd);
    buf_release(&c->in);
    buf_release(&c->out);
    free(c);
    accept_again(h);
}

/* ---- reading ---- */

static void refuse(struct unix_conn *c, enum problem_code code, int status)
{
    struct http_header headers[HTTP_IN_REFUSAL_HEADERS];
    struct buf body;
    size_t n;

    http_in_refusal(code, &body, headers, &n);
    unix_answer(c, status ? status : problem_status(code), headers, n, buf_slice(&body));
    buf_release(&body);
}

/* No request, or one that is not worth reading: what stands behind it cannot be found. */
static void refuse_bytes(struct unix_conn *c)
{
    c->closing = true;
    if (c->parser.head_end == 0 && !c->parser.reason)
        refuse(c, PROBLEM_REQUEST_INVALID, 431);
    else
        refuse(c, c->parser.too_large ? PROBLEM_BODY_TOO_LARGE : PROBLEM_REQUEST_INVALID, 0);
}

static struct slice moved(struct slice s, const char *from, const char *to)
{
    return slice_n(to + (s.p - from), s.n);
}

/* The whole request stands in data[0 .. body_start + body_n). */
static struct unix_req *req_new(struct unix_conn *c, const char *data)
{
    const struct answer_parser *p = &c->parser;
    struct http_header headers[ANSWER_MAX_HEADERS];
    size_t n = answer_headers(p, data, headers), bytes = p->body_start + p->body_n;
    struct unix_req *r = malloc(sizeof(*r) + n * sizeof(headers[0]) + bytes);
    char *copy;

    if (!r)
        return NULL;
    *r = (struct unix_req){.conn = c, .nheaders = n};
    copy = (char *)&r->headers[n];
    memcpy(copy, data, bytes);
    for (size_t i = 0; i < n; i++)
        r->headers[i] = (struct http_header){moved(headers[i].name, data, copy),
                                             moved(headers[i].value, data, copy)};
    r->pub.kind = &http_unix;
    r->pub.method = slice_n(copy + p->head_start, p->method_n);
    r->pub.target = slice_n(copy + p->target_at, p->target_n);
    r->pub.body = slice_n(copy + p->body_start, p->body_n);
    arena_init(&r->pub.arena, c->in_of->pub.conf.arena_cap);
    return r;
}

static void hand_over(struct unix_conn *c, const char *data)
{
    struct http_in *h = &c->in_of->pub;
    const struct answer_parser *p = &c->parser;

    c->head_only = slice_is(slice_n(data + p->head_start, p->method_n), "HEAD");
    c->closing = !p->keepalive;
    if (p->head_end > HEAD_MAX)
        refuse(c, PROBLEM_REQUEST_INVALID, 431);
    else if (p->body_n > h->conf.max_body)
        refuse(c, PROBLEM_BODY_TOO_LARGE, 0);
    else if (h->active >= h->conf.max_requests || !(c->req = req_new(c, data)))
        refuse(c, PROBLEM_OVERLOADED, 0);
    else {
        h->active++;
        c->counted = true;
        h->conf.handler(h->conf.arg, &c->req->pub);
    }
}

/* "100 Continue", once, to whoever waits for it with its body. */
static void encourage(struct unix_conn *c)
{
    static const char text[] = "HTTP/1.1 100 Continue\r\n\r\n";

    if (!c->parser.expects || c->encouraged)
        return;
    c->encouraged = true;
    if (send(c->fd, text, sizeof(text) - 1, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
        c->readable = true; /* gone, and reading tells */
}

/* data[0..n) is all there is: c->in, or the scratch. What is not used stays in c->in. */
static void take_bytes(struct unix_conn *c, char *data, size_t n)
{
    bool kept = data == c->in.p;
    enum answer_step step = answer_parse(&c->parser, data, n, false);
    size_t used = 0;

    if (step == ANSWER_DONE) {
        used = c->parser.end;
        hand_over(c, data);
    } else if (step == ANSWER_BAD || n > MESSAGE_MAX || (c->parser.head_end == 0 && n > HEAD_MAX)) {
        used = n;
        refuse_bytes(c);
    } else {
        encourage(c);
    }
    if (kept)
        buf_consume(&c->in, used);
    else
        buf_add(&c->in, data + used, n - used);
    if (c->in.n == 0)
        buf_release(&c->in);
}

/* False: the connection is closed, or there is nothing to read now. What comes behind a short read
 * is told by the next edge; an end that was told already is not told again. */
static bool read_some(struct unix_conn *c)
{
    struct unix_in *h = c->in_of;
    ssize_t n = recv(c->fd, h->scratch, SCRATCH, MSG_DONTWAIT);

    if (n < 0 && errno == EINTR)
        return true;
    if (n < 0 && errno == EAGAIN) {
        c->readable = false;
        return false;
    }
    if (n > 0 && c->in.n)
        buf_add(&c->in, h->scratch, (size_t)n);
    if (n <= 0 || !buf_ok(&c->in)) {
        conn_close(c);
        return false;
    }
    c->since_us = loop_now_us(h->pub.loop);
    c->readable = c->hung_up || n == SCRATCH;
    if (c->in.n)
        take_bytes(c, c->in.p, c->in.n);
    else
        take_bytes(c, h->scratch, (size_t)n);
    return true;
}

static void conn_read(struct unix_conn *c)
{
    while (c->readable && !c->req && !c->ended && !c->out.n && read_some(c))
        ;
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
    struct unix_conn *c = arg;

    (void)fd;
    c->readable = true;
    c->hung_up |= (what & EV_CLOSED) != 0;
    conn_read(c);
}

/* ---- the end of a turn ---- */

static void conn_next(struct unix_conn *c)
{
    request_parser_init(&c->parser, MESSAGE_MAX);
    c->encouraged = c->head_only = false;
    if (c->in.n)
        take_bytes(c, c->in.p, c->in.n);
    conn_read(c);
}

static void conn_ended(struct unix_conn *c)
{
    struct unix_req *r = c->req;

    c->ended = false;
    if (!c->out.n)
        unix_uncount(c);
    if (r && r->answered) {
        c->req = NULL;
        unix_req_free(r);
    }
    if (c->broken || (c->closing && !c->out.n))
        conn_close(c);
    else if (!c->out.n) /* else it ends once more when that is written */
        conn_next(c);
}

static void in_release(struct unix_in *h)
{
    buf_release(&h->head);
    free(h->scratch);
    free(h);
}

static void on_turn(void *arg)
{
    struct unix_in *h = arg;
    struct unix_conn *c = h->ended, *next;

    h->ended = NULL;
    h->turn_deferred = false;
    if (h->dead)
        in_release(h);
    for (; c; c = next) {
        next = c->next_ended;
        conn_ended(c);
    }
}

void unix_conn_end_turn(struct unix_conn *c)
{
    struct unix_in *h = c->in_of;

    if (c->ended)
        return;
    c->ended = true;
    c->next_ended = h->ended;
    h->ended = c;
    if (!h->turn_deferred)
        loop_defer(h->pub.loop, on_turn, h);
    h->turn_deferred = true;
}

/* ---- accepting ---- */

static void conn_new(struct unix_in *h, int fd)
{
    struct event_base *base = loop_base(h->pub.loop);
    struct unix_conn *c = calloc(1, sizeof(*c));

    if (!c) {
        close(fd);
        return;
    }
    c->in_of = h;
    c->fd = fd;
    c->since_us = loop_now_us(h->pub.loop);
    buf_init(&c->in, MESSAGE_MAX + SCRATCH);
    buf_init(&c->out, SIZE_MAX / 4);
    request_parser_init(&c->parser, MESSAGE_MAX);
    event_assign(&c->watch, base, fd, EV_READ | EV_CLOSED | EV_ET | EV_PERSIST, on_readable, c);
    event_assign(&c->writable, base, fd, EV_WRITE | EV_ET | EV_PERSIST, unix_on_writable, c);
    c->next = h->conns;
    if (c->next)
        c->next->prev = c;
    h->conns = c;
    h->nconns++;
    if (event_add(&c->watch, NULL) != 0)
        conn_close(c);
}

static void pause_accepting(struct unix_in *h)
{
    event_del(&h->accept);
    h->paused = true; /* until a connection ends, or the next sweep */
}

static void take_connections(struct unix_in *h, unsigned max)
{
    while (max--) {
        int fd;

        if (h->nconns >= h->pub.conf.max_requests + HTTP_IN_SLACK) {
            pause_accepting(h);
            return;
        }
        fd = accept4(h->pub.listener.fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            conn_new(h, fd);
        } else if (errno == EAGAIN) {
            return;
        } else if (errno != EINTR && errno != ECONNABORTED) {
            log_event(LOG_ERROR, "http_in_accept", LOG_S("error", slice_of(strerror(errno))));
            pause_accepting(h);
            return;
        }
    }
}

static void on_accept(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    take_connections(arg, ACCEPT_TURN);
}

/* Closes what has been silent for too long; a request that the handler has may take its time. */
static void on_sweep(void *arg)
{
    struct unix_in *h = arg;
    int64_t oldest = loop_now_us(h->pub.loop) - h->pub.conf.idle_timeout_s * USEC_PER_SEC;
    struct unix_conn *next;

    for (struct unix_conn *c = h->conns; c; c = next) {
        next = c->next;
        if (!c->req && !c->ended && c->since_us < oldest)
            conn_close(c);
    }
    accept_again(h);
    loop_timer_set(h->sweep, SWEEP_US);
}

/* ---- life ---- */

static int unix_start(struct http_in *pub, char *err, size_t n)
{
    struct unix_in *h = (struct unix_in *)pub;

    buf_init(&h->head, SIZE_MAX / 4);
    h->scratch = malloc(SCRATCH);
    h->sweep = loop_timer_new(pub->loop, on_sweep, h);
    event_assign(&h->accept, loop_base(pub->loop), pub->listener.fd, EV_READ | EV_PERSIST,
                 on_accept, h);
    if (!h->scratch || !h->sweep || event_add(&h->accept, NULL) != 0) {
        snprintf(err, n, "no memory");
        return -1;
    }
    loop_timer_set(h->sweep, SWEEP_US);
    return 0;
}

/* Who connected before the successor was there belongs to us. */
static void unix_stop(struct http_in *pub)
{
    struct unix_in *h = (struct unix_in *)pub;

    take_connections(h, LISTEN_BACKLOG);
    event_del(&h->accept);
}

static size_t unix_connections(const struct http_in *pub)
{
    return ((const struct unix_in *)pub)->nconns;
}

static void unix_free(struct http_in *pub)
{
    struct unix_in *h = (struct unix_in *)pub;

    pub->stopping = true;
    if (h->sweep)
        event_del(&h->accept);
    loop_timer_free(h->sweep);
    while (h->conns)
        conn_close(h->conns);
    listen_close(&pub->listener);
    h->ended = NULL;
    h->dead = true;
    if (!h->turn_deferred)
        in_release(h);
}

const struct http_in_kind http_unix = {.size = sizeof(struct unix_in),
                                       .start = unix_start,
                                       .stop = unix_stop,
                                       .connections = unix_connections,
                                       .free = unix_free,
                                       .header = unix_req_header,
                                       .headers = unix_req_headers,
                                       .peer = unix_req_peer,
                                       .fd = unix_req_fd,
                                       .reply = unix_req_reply,
                                       .abort = unix_req_abort};
