/*
 * DESIGN. Two servers stand behind one header. nginx speaks to workers over unix sockets, a few
 * kilobytes a time and thousands of times a second: http_unix.c does what that needs and nothing
 * else. The virtual bank speaks TCP and TLS to anybody: libmicrohttpd knows how (http_mhd.c).
 */
#define _GNU_SOURCE /* struct ucred */
#include "http_in_impl.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

static void set_defaults(struct http_in_conf *c)
{
    if (c->max_body == 0)
        c->max_body = 65536;
    if (c->max_requests == 0)
        c->max_requests = 10000;
    if (c->arena_cap == 0)
        c->arena_cap = 262144;
    if (c->idle_timeout_s == 0)
        c->idle_timeout_s = 120;
}

struct http_in *http_in_new(struct loop *l, const struct http_in_conf *conf, char *err, size_t n)
{
    const struct http_in_kind *kind = conf->unix_path ? &http_unix : &http_mhd;
    struct http_in *h = calloc(1, kind->size);
    int rc;

    if (!h) {
        snprintf(err, n, "no memory");
        return NULL;
    }
    h->kind = kind;
    h->loop = l;
    h->conf = *conf;
    set_defaults(&h->conf);
    rc = conf->unix_path ? listen_unix(&h->listener, conf->unix_path, err, n)
                         : listen_tcp(&h->listener, conf->listen, err, n);
    h->port = h->listener.port;
    if (rc != 0 || kind->start(h, err, n) != 0) {
        http_in_free(h);
        return NULL;
    }
    return h;
}

void http_in_stop(struct http_in *h)
{
    if (h->stopping)
        return;
    h->stopping = true;
    h->succeeded = listen_succeeded(&h->listener);
    h->kind->stop(h);
    listen_close(&h->listener);
}

size_t http_in_active(const struct http_in *h)
{
    return h->active;
}

size_t http_in_held(const struct http_in *h)
{
    return h->succeeded ? h->kind->connections(h) : h->active;
}

void http_in_free(struct http_in *h)
{
    if (h)
        h->kind->free(h);
}

uint16_t http_in_port(const struct http_in *h)
{
    return h->port;
}

void http_in_refusal(enum problem_code code, struct buf *body,
                     struct http_header headers[HTTP_IN_REFUSAL_HEADERS], size_t *n)
{
    const struct problem problem = {.code = code};

    headers[0] = (struct http_header){SLICE("Content-Type"), SLICE(PROBLEM_CONTENT_TYPE)};
    headers[1] = (struct http_header){SLICE("Retry-After"), SLICE("1")};
    *n = code == PROBLEM_OVERLOADED ? 2 : 1;
    buf_init(body, 4096);
    problem_write(body, &problem, SLICE_NULL);
}

/* ---- requests ---- */

struct slice http_req_header(const struct http_req *req, const char *name)
{
    return req->kind->header(req, name);
}

size_t http_req_headers(const struct http_req *req, struct http_header *out, size_t max)
{
    return req->kind->headers(req, out, max);
}

struct slice http_req_peer(const struct http_req *req)
{
    return req->kind->peer(req);
}

int http_req_peer_uid(const struct http_req *req, uint32_t *uid)
{
    int fd = req->kind->fd(req);
    struct ucred peer;
    socklen_t n = sizeof(peer);

    if (fd < 0 || getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &n) != 0 || n != sizeof(peer) ||
        peer.pid == 0)
        return -1;
    *uid = peer.uid;
    return 0;
}

void http_req_reply(struct http_req *req, int status, const struct http_header *headers, size_t n,
                    struct slice body)
{
    req->kind->reply(req, status, headers, n, body);
}

void http_req_abort(struct http_req *req)
{
    req->kind->abort(req);
}
