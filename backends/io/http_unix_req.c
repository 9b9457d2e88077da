/* Requests over unix sockets as the handler sees them, and their answers. http_unix.c has the rest.
 */
#include "http_unix.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/uio.h>

/* ---- answers ---- */

static const char *reason_phrase(int status)
{
    static const struct {
        int status;
        const char *phrase;
    } phrases[] = {{200, "OK"},
                   {201, "Created"},
                   {202, "Accepted"},
                   {204, "No Content"},
                   {400, "Bad Request"},
                   {401, "Unauthorized"},
                   {403, "Forbidden"},
                   {404, "Not Found"},
                   {405, "Method Not Allowed"},
                   {409, "Conflict"},
                   {413, "Content Too Large"},
                   {422, "Unprocessable Content"},
                   {429, "Too Many Requests"},
                   {431, "Request Header Fields Too Large"},
                   {500, "Internal Server Error"},
                   {503, "Service Unavailable"},
                   {504, "Gateway Timeout"}};

    for (size_t i = 0; i < sizeof(phrases) / sizeof(phrases[0]); i++)
        if (phrases[i].status == status)
            return phrases[i].phrase;
    return "Unknown";
}

static void add_header(struct buf *b, struct slice name, struct slice value)
{
    buf_add_slice(b, name);
    buf_add(b, ": ", 2);
    buf_add_slice(b, value);
    buf_add(b, "\r\n", 2);
}

/* Headers without a value are left out. */
static void put_head(struct buf *b, int status, const struct http_header *headers, size_t n,
                     size_t body, bool close)
{
    buf_clear(b);
    buf_add_str(b, "HTTP/1.1 ");
    buf_add_int64(b, status);
    buf_add_char(b, ' ');
    buf_add_str(b, reason_phrase(status));
    buf_add(b, "\r\n", 2);
    for (size_t i = 0; i < n; i++)
        if (headers[i].value.n)
            add_header(b, headers[i].name, headers[i].value);
    if (close)
        add_header(b, SLICE("Connection"), SLICE("close"));
    if (status != 204) {
        buf_add_str(b, "Content-Length: ");
        buf_add_int64(b, (int64_t)body);
        buf_add(b, "\r\n", 2);
    }
    buf_add(b, "\r\n", 2);
}

/* What the socket did not take waits in c->out. */
static void keep_rest(struct unix_conn *c, struct slice head, struct slice body, size_t sent)
{
    size_t from_body = sent > head.n ? sent - head.n : 0;

    if (sent < head.n)
        buf_add(&c->out, head.p + sent, head.n - sent);
    if (from_body < body.n)
        buf_add(&c->out, body.p + from_body, body.n - from_body);
    c->out_done = 0;
    if (c->out.n && (!buf_ok(&c->out) || event_add(&c->writable, NULL) != 0))
        c->broken = true;
}

static void write_answer(struct unix_conn *c, struct slice head, struct slice body)
{
    struct iovec iov[2] = {{(void *)head.p, head.n}, {(void *)body.p, body.n}};
    struct msghdr msg = {.msg_iov = iov, .msg_iovlen = body.n ? 2 : 1};
    ssize_t n;

    do
        n = sendmsg(c->fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
    while (n < 0 && errno == EINTR);
    if (n < 0 && errno != EAGAIN)
        c->broken = true;
    else
        keep_rest(c, head, body, n > 0 ? (size_t)n : 0);
}

void unix_answer(struct unix_conn *c, int status, const struct http_header *headers, size_t n,
                 struct slice body)
{
    struct unix_in *h = c->in_of;

    /* so that the peer does not pick this connection for its next request */
    c->closing |= h->pub.stopping;
    put_head(&h->head, status, headers, n, body.n, c->closing);
    if (buf_ok(&h->head))
        write_answer(c, buf_slice(&h->head), c->head_only ? SLICE_NULL : body);
    else
        c->broken = true;
    if (!c->out.n)
        unix_uncount(c);
    unix_conn_end_turn(c);
}

void unix_on_writable(evutil_socket_t fd, short what, void *arg)
{
    struct unix_conn *c = arg;
    ssize_t n;

    (void)what;
    do {
        n = send(fd, c->out.p + c->out_done, c->out.n - c->out_done, MSG_NOSIGNAL | MSG_DONTWAIT);
        c->out_done += n > 0 ? (size_t)n : 0;
    } while ((n > 0 && c->out_done < c->out.n) || (n < 0 && errno == EINTR));
    c->since_us = loop_now_us(c->in_of->pub.loop);
    if (n < 0 && errno == EAGAIN)
        return;
    c->broken |= n < 0;
    event_del(&c->writable);
    buf_release(&c->out);
    unix_conn_end_turn(c);
}

/* ---- the handler's view ---- */

void unix_req_free(struct unix_req *r)
{
    arena_release(&r->pub.arena);
    free(r);
}

struct slice unix_req_header(const struct http_req *req, const char *name)
{
    const struct unix_req *r = (const struct unix_req *)req;

    return r->conn ? http_find(r->headers, r->nheaders, name, NULL) : SLICE_NULL;
}

size_t unix_req_headers(const struct http_req *req, struct http_header *out, size_t max)
{
    const struct unix_req *r = (const struct unix_req *)req;
    size_t n = r->nheaders < max ? r->nheaders : max;

    memcpy(out, r->headers, n * sizeof(*out));
    return n;
}

struct slice unix_req_peer(const struct http_req *req)
{
    (void)req;
    return SLICE_NULL;
}

int unix_req_fd(const struct http_req *req)
{
    const struct unix_req *r = (const struct unix_req *)req;

    return r->conn ? r->conn->fd : -1;
}

/* False: nobody is there to hear the answer. */
static bool answer_begins(struct unix_req *r)
{
    if (!r->conn) {
        unix_req_free(r);
        return false;
    }
    if (r->answered)
        abort(); /* a second answer would go to somebody else's request */
    r->answered = true;
    return true;
}

void unix_req_reply(struct http_req *req, int status, const struct http_header *headers, size_t n,
                    struct slice body)
{
    struct unix_req *r = (struct unix_req *)req;

    if (answer_begins(r))
        unix_answer(r->conn, status, headers, n, body);
}

/* The peer reads the end: a unix socket knows no reset. */
void unix_req_abort(struct http_req *req)
{
    struct unix_req *r = (struct unix_req *)req;

    if (!answer_begins(r))
        return;
    r->conn->broken = true;
    unix_uncount(r->conn);
    shutdown(r->conn->fd, SHUT_RDWR);
    unix_conn_end_turn(r->conn);
}
