/*
 * DESIGN. One connection carries one call at a time; there is no pipelining, for an answer that
 * belongs to the wrong call would be worse than a connection more. A request is written straight
 * from the caller's memory in the moment it is sent, and an answer that arrives in one piece is
 * parsed where it was read, so that the usual call copies nothing and costs one sendmsg and one
 * recv.
 *
 * Never a second send. A connection is looked at before it is used; if even so the very first write
 * fails without taking a byte, nothing has left the process and another connection may serve. As
 * soon as one byte was taken the call ends with whatever this connection brings.
 *
 * A connection's state is the list it is in: idle or busy.
 */
#include "http_egress.h"

#include "http_answer.h"
#include "http_request.h"
#include <errno.h>
#include <event2/event_struct.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

#define SCRATCH_BYTES 65536
#define HEAD_MAX      65536
#define CHUNK_SLACK   16384 /* chunk sizes beside what max_answer counts */
#define IDLE_KEEP_US                                                                               \
    (50 * USEC_PER_SEC) /* below nginx's keepalive_timeout of 75 s: we close first */
#define SWEEP_US (10 * USEC_PER_SEC)

struct egress_conn {
    struct http_egress *e;
    struct egress_conn *prev, *next;
    struct event readable, writable, deadline;
    int fd;
    bool busy;
    bool sent_some; /* of the call's request */
    bool cut_short; /* the peer stopped reading our request */
    int64_t idle_since;
    http_egress_cb *cb;
    void *arg;
    struct answer_parser parser;
    struct buf in;  /* only when an answer comes in pieces */
    struct buf out; /* only when a request does not go out at once */
    size_t out_done;
};

struct conn_list {
    struct egress_conn *first, *last;
    size_t n;
};

/* A call that ended inside http_egress_send; its callback waits for the end of the turn. */
struct failed_call {
    struct failed_call *next;
    http_egress_cb *cb;
    void *arg;
    enum http_outcome outcome;
    const char *reason;
};

struct http_egress {
    struct loop *loop;
    struct sockaddr_un addr;
    size_t max_connections, max_idle, max_answer;
    struct conn_list idle; /* most recently used first */
    struct conn_list busy;
    struct failed_call *failed, **failed_end;
    size_t nfailed;
    bool failed_deferred;
    bool freeing;
    struct loop_timer *sweep;
    struct buf head; /* of the request being written */
    char *scratch;   /* what was read last */
};

/* ---- lists ---- */

static void list_add(struct conn_list *l, struct egress_conn *c)
{
    c->prev = NULL;
    c->next = l->first;
    if (l->first)
        l->first->prev = c;
    else
        l->last = c;
    l->first = c;
    l->n++;
}

static void list_remove(struct conn_list *l, struct egress_conn *c)
{
    if (c->prev)
        c->prev->next = c->next;
    else
        l->first = c->next;
    if (c->next)
        c->next->prev = c->prev;
    else
        l->last = c->prev;
    l->n--;
}

static void conn_move(struct egress_conn *c, bool busy)
{
    list_remove(c->busy ? &c->e->busy : &c->e->idle, c);
    c->busy = busy;
    list_add(busy ? &c->e->busy : &c->e->idle, c);
}

/* ---- connections ---- */

static void on_readable(evutil_socket_t fd, short what, void *arg);
static void on_writable(evutil_socket_t fd, short what, void *arg);
static void on_deadline(evutil_socket_t fd, short what, void *arg);

static void conn_close(struct egress_conn *c)
{
    list_remove(c->busy ? &c->e->busy : &c->e->idle, c);
    event_del(&c->readable);
    event_del(&c->writable);
    event_del(&c->deadline);
    close(c->fd);
    buf_release(&c->in);
    buf_release(&c->out);
    free(c);
}

/* On a unix socket connect succeeds or fails at once; EAGAIN is a full backlog. */
static int open_socket(struct http_egress *e, const char **reason)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd < 0) {
        *reason = "no socket";
        return -1;
    }
    if (connect(fd, (struct sockaddr *)&e->addr, sizeof(e->addr)) != 0) {
        *reason = errno == EAGAIN ? "egress backlog full" : "egress refused the connection";
        close(fd);
        return -1;
    }
    return fd;
}

static struct egress_conn *conn_new(struct http_egress *e, const char **reason)
{
    struct event_base *base = loop_base(e->loop);
    struct egress_conn *c;

    c = calloc(1, sizeof(*c));
    if (!c) {
        *reason = "no memory";
        return NULL;
    }
    c->e = e;
    c->fd = open_socket(e, reason);
    if (c->fd < 0) {
        free(c);
        return NULL;
    }
    buf_init(&c->in, e->max_answer + CHUNK_SLACK);
    buf_init(&c->out, SIZE_MAX / 4);
    event_assign(&c->readable, base, c->fd, EV_READ | EV_PERSIST, on_readable, c);
    event_assign(&c->writable, base, c->fd, EV_WRITE | EV_PERSIST, on_writable, c);
    evtimer_assign(&c->deadline, base, on_deadline, c);
    list_add(&e->idle, c);
    if (event_add(&c->readable, NULL) != 0) {
        conn_close(c);
        *reason = "no event";
        return NULL;
    }
    return c;
}

/* Idle means silent: end of file, an error or bytes nobody asked for all make it useless. */
static bool conn_alive(const struct egress_conn *c)
{
    char byte;

    return recv(c->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0 &&
           (errno == EAGAIN || errno == EWOULDBLOCK);
}

static struct egress_conn *take_idle(struct http_egress *e)
{
    struct egress_conn *c;

    while ((c = e->idle.first) && !conn_alive(c))
        conn_close(c);
    return c;
}

static void on_sweep(void *arg)
{
    struct http_egress *e = arg;
    int64_t oldest = loop_now_us(e->loop) - IDLE_KEEP_US;

    while (e->idle.last && e->idle.last->idle_since < oldest)
        conn_close(e->idle.last);
    loop_timer_set(e->sweep, SWEEP_US);
}

/* ---- ends of calls ---- */

/* The connection is given back before the callback runs: it may send the next call over it. */
static void conn_done(struct egress_conn *c, bool reusable)
{
    struct http_egress *e = c->e;

    if (!reusable || e->freeing || e->idle.n >= e->max_idle) {
        conn_close(c);
        return;
    }
    event_del(&c->deadline);
    c->idle_since = loop_now_us(e->loop);
    conn_move(c, false);
}

static void end_call(struct egress_conn *c, enum http_outcome outcome, const char *reason)
{
    struct http_answer answer = {.outcome = outcome, .reason = reason};
    http_egress_cb *cb = c->cb;
    void *arg = c->arg;

    conn_done(c, false);
    cb(arg, &answer);
}

static void end_answered(struct egress_conn *c, const char *data, size_t n)
{
    struct http_header headers[ANSWER_MAX_HEADERS];
    const struct answer_parser *p = &c->parser;
    struct http_answer answer = {
        .outcome = HTTP_ANSWERED,
        .status = p->status,
        .headers = headers,
        .nheaders = answer_headers(p, data, headers),
        .body = slice_n(data + p->body_start, p->body_n),
    };
    struct buf in = c->in; /* data may be in it */
    http_egress_cb *cb = c->cb;
    void *arg = c->arg;

    buf_init(&c->in, in.cap);
    conn_done(c, p->keepalive && p->end == n && c->out.n == 0 && !c->cut_short);
    cb(arg, &answer);
    buf_release(&in);
}

static void on_failed(void *arg)
{
    struct http_egress *e = arg;
    struct failed_call *f = e->failed, *next;

    e->failed = NULL;
    e->failed_end = &e->failed;
    e->failed_deferred = false;
    for (; f; f = next) {
        struct http_answer answer = {.outcome = f->outcome, .reason = f->reason};

        next = f->next;
        e->nfailed--;
        f->cb(f->arg, &answer);
        free(f);
    }
}

static void fail_later(struct http_egress *e, enum http_outcome outcome, const char *reason,
                       http_egress_cb *cb, void *arg)
{
    struct failed_call *f = calloc(1, sizeof(*f));

    if (!f)
        abort(); /* a call that never ends would leave its order hanging without a trace */
    *f = (struct failed_call){NULL, cb, arg, outcome, reason};
    *e->failed_end = f;
    e->failed_end = &f->next;
    e->nfailed++;
    if (!e->failed_deferred)
        loop_defer(e->loop, on_failed, e);
    e->failed_deferred = true;
}

/* ---- reading ---- */

static const char *read_error(ssize_t n)
{
    return n == 0 ? "closed before an answer" : "connection reset";
}

/* New bytes are in e->scratch. Parsed there while they are all there is, else behind the others. */
static void take_bytes(struct egress_conn *c, size_t n, bool eof)
{
    char *data = c->e->scratch;
    enum answer_step step;

    if (c->in.n) {
        buf_add(&c->in, data, n);
        data = c->in.p;
        n = c->in.n;
    }
    step = buf_ok(&c->in) ? answer_parse(&c->parser, data, n, eof) : ANSWER_BAD;
    if (step == ANSWER_MORE && c->in.n == 0)
        buf_add(&c->in, data, n);
    if (!buf_ok(&c->in) || (step != ANSWER_DONE && n > c->e->max_answer))
        end_call(c, HTTP_BROKEN, "answer too large");
    else if (step == ANSWER_BAD)
        end_call(c, HTTP_BROKEN, c->parser.reason);
    else if (step == ANSWER_DONE)
        end_answered(c, data, n);
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
    struct egress_conn *c = arg;
    ssize_t n = recv(fd, c->e->scratch, SCRATCH_BYTES, MSG_DONTWAIT);

    (void)what;
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (!c->busy) /* the peer has closed an idle connection, or talks unasked */
        conn_close(c);
    else if (n > 0)
        take_bytes(c, (size_t)n, false);
    else if (n == 0 && c->in.n)
        take_bytes(c, 0, true);
    else
        end_call(c, HTTP_BROKEN, read_error(n));
}

/* ---- writing ---- */

/* The peer may have answered and closed before it took our whole request: what it said is still to
 * be read, so the reading side decides how the call ends. */
static void stop_writing(struct egress_conn *c)
{
    event_del(&c->writable);
    buf_release(&c->out);
    c->cut_short = true;
}

static void on_writable(evutil_socket_t fd, short what, void *arg)
{
    struct egress_conn *c = arg;
    ssize_t n = send(fd, c->out.p + c->out_done, c->out.n - c->out_done, MSG_NOSIGNAL);

    (void)what;
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n < 0) {
        stop_writing(c);
        return;
    }
    c->sent_some = true;
    c->out_done += (size_t)n;
    if (c->out_done == c->out.n) {
        event_del(&c->writable);
        buf_release(&c->out);
    }
}

static void on_deadline(evutil_socket_t fd, short what, void *arg)
{
    struct egress_conn *c = arg;

    (void)fd;
    (void)what;
    if (c->sent_some)
        end_call(c, HTTP_TIMED_OUT, "no whole answer in time");
    else
        end_call(c, HTTP_NOT_SENT, "egress took no byte in time");
}

/* What a full socket did not take waits in c->out. */
static int keep_rest(struct egress_conn *c, struct slice head, struct slice body, size_t sent)
{
    size_t from_body = sent > head.n ? sent - head.n : 0;

    if (sent < head.n)
        buf_add(&c->out, head.p + sent, head.n - sent);
    if (from_body < body.n)
        buf_add(&c->out, body.p + from_body, body.n - from_body);
    c->out_done = 0;
    if (!buf_ok(&c->out))
        return -1;
    return event_add(&c->writable, NULL);
}

/* -1 only if not one byte was taken: then nothing has been sent. */
static int write_request(struct egress_conn *c, struct slice head, struct slice body)
{
    struct iovec iov[2] = {{(void *)head.p, head.n}, {(void *)body.p, body.n}};
    struct msghdr msg = {.msg_iov = iov, .msg_iovlen = body.n ? 2 : 1};
    ssize_t n = sendmsg(c->fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);

    if (n < 0 && errno != EAGAIN && errno != EINTR)
        return -1;
    c->sent_some = n > 0;
    if (n < 0)
        n = 0;
    if ((size_t)n == head.n + body.n || keep_rest(c, head, body, (size_t)n) == 0)
        return 0;
    if (!c->sent_some)
        return -1;
    stop_writing(c); /* no memory for the rest: ends as broken or timed out */
    shutdown(c->fd, SHUT_RDWR);
    return 0;
}

/* ---- sending ---- */

static void begin_call(struct egress_conn *c, const struct http_call *call, http_egress_cb *cb,
                       void *arg)
{
    struct timeval tv = {call->timeout_us / USEC_PER_SEC, call->timeout_us % USEC_PER_SEC};

    c->cb = cb;
    c->arg = arg;
    c->cut_short = false;
    answer_parser_init(&c->parser, slice_is(call->method, "HEAD"), c->e->max_answer);
    conn_move(c, true);
    evtimer_add(&c->deadline, &tv);
}

/* NULL, or why nothing can be sent at all. */
static const char *cannot_send(struct http_egress *e, const struct http_call *call)
{
    if (e->freeing)
        return "stopping";
    if (e->busy.n >= e->max_connections)
        return "pool full";
    return http_request_head(&e->head, call) == 0 ? NULL : "malformed request";
}

void http_egress_send(struct http_egress *e, const struct http_call *call, http_egress_cb *cb,
                      void *arg)
{
    const char *reason = cannot_send(e, call);
    struct egress_conn *c;
    bool fresh = reason != NULL;

    while (!fresh) {
        c = take_idle(e);
        fresh = !c;
        if (fresh)
            c = conn_new(e, &reason);
        if (!c)
            break;
        if (write_request(c, buf_slice(&e->head), call->body) == 0) {
            begin_call(c, call, cb, arg);
            return;
        }
        reason = "egress closed the connection";
        conn_close(c);
    }
    fail_later(e, HTTP_NOT_SENT, reason, cb, arg);
}

/* ---- life ---- */

struct http_egress *http_egress_new(struct loop *l, const struct http_egress_conf *conf)
{
    struct http_egress *e = calloc(1, sizeof(*e));

    if (!e || strlen(conf->unix_path) >= sizeof(e->addr.sun_path))
        goto failed;
    e->loop = l;
    e->addr.sun_family = AF_UNIX;
    memcpy(e->addr.sun_path, conf->unix_path, strlen(conf->unix_path));
    e->max_connections = conf->max_connections ? conf->max_connections : 8192;
    e->max_idle = conf->max_idle ? conf->max_idle : 256;
    e->max_answer = conf->max_answer ? conf->max_answer : 262144;
    e->failed_end = &e->failed;
    buf_init(&e->head, HEAD_MAX);
    e->scratch = malloc(SCRATCH_BYTES);
    e->sweep = loop_timer_new(l, on_sweep, e);
    if (!e->scratch || !e->sweep)
        goto failed;
    loop_timer_set(e->sweep, SWEEP_US);
    return e;
failed:
    if (e)
        free(e->scratch);
    free(e);
    return NULL;
}

/* The last deferred act on e. A callback may have sent once more meanwhile. */
static void on_free(void *arg)
{
    struct http_egress *e = arg;

    if (e->failed_deferred) {
        loop_defer(e->loop, on_free, e);
        return;
    }
    buf_release(&e->head);
    free(e->scratch);
    free(e);
}

void http_egress_free(struct http_egress *e)
{
    if (!e || e->freeing)
        return;
    e->freeing = true;
    loop_timer_free(e->sweep);
    while (e->idle.first)
        conn_close(e->idle.first);
    while (e->busy.first)
        end_call(e->busy.first, e->busy.first->sent_some ? HTTP_BROKEN : HTTP_NOT_SENT, "stopping");
    loop_defer(e->loop, on_free, e);
}

size_t http_egress_active(const struct http_egress *e)
{
    return e->busy.n + e->nfailed;
}
