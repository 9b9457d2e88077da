/*
 * http_in - inbound HTTP/1.1 through libmicrohttpd's epoll descriptor inside our loop. Only
 * http_in.c and http_req.c know the library.
 *
 * Life of a request: the handler is called once with method, target, headers and the whole body; it
 * answers at once or later with http_req_reply, exactly once. Until then the request and its arena
 * stay valid even when the peer has gone away. More than max_requests in flight are answered 503
 * `OVERLOADED` by http_in itself, bodies over max_body 413, heads over about 3 KB 431; none of
 * these reaches the handler. Headers of an answer may have 1.7 KB.
 */
#ifndef IO_HTTP_IN_H
#define IO_HTTP_IN_H

#include "backends/io/http.h"
#include "backends/io/loop.h"
#include "core/arena.h"

struct http_in;

struct http_req {
    struct slice method;
    struct slice target; /* path[?query] exactly as sent */
    struct slice body;
    struct arena arena; /* capped by http_in_conf.arena_cap; freed after the reply */
    void *user;         /* the handler's */
};
typedef void http_in_handler(void *arg, struct http_req *req);

struct http_in_conf {
    const char *unix_path; /* either this (mode 0660, taken over from whoever has it) ... */
    const char *listen;    /* ... or "127.0.0.1:PORT" ("127.0.0.1:0" takes a free port) */
    const char *tls_cert;  /* PEM file; with tls_key: HTTPS (paybank only) */
    const char *tls_key;
    const char
        *tls_clients;    /* PEM text: clients are asked for a certificate, http_req_peer has it */
    size_t max_body;     /* default 65536 */
    size_t max_requests; /* default 10000 */
    size_t arena_cap;    /* default 262144 */
    uint32_t idle_timeout_s; /* default 120: longer than nginx's keepalive */
    http_in_handler *handler;
    void *arg;
};

/* NULL with errno-like text in err (size n). */
struct http_in *http_in_new(struct loop *l, const struct http_in_conf *conf, char *err, size_t n);
/* Stops accepting; requests in flight are still answered, and so are those that still come over
 * connections that are open, with "Connection: close". */
void http_in_stop(struct http_in *h);
size_t http_in_active(const struct http_in *h);
/*
 * After http_in_stop: what is to be waited for before http_in_free. With a successor these are all
 * open connections: one closed by us while the peer sends its next request loses that request, so
 * it is the peer that closes them. Without one they are the requests in flight.
 */
size_t http_in_held(const struct http_in *h);
/* Not from inside the handler. Requests without an answer lose their connection, but stay valid
 * until the handler has answered them (to nobody). */
void http_in_free(struct http_in *h);
uint16_t http_in_port(const struct http_in *h); /* of a TCP listener */

struct slice http_req_header(const struct http_req *req, const char *name);
/* The DER of the certificate that the client proved to have; empty: none. Whether it is a right one
 * is the handler's to say. */
struct slice http_req_peer(const struct http_req *req);
size_t http_req_headers(const struct http_req *req, struct http_header *out, size_t max);
/* User of the process at the other end of a unix socket. 0 or -1. */
int http_req_peer_uid(const struct http_req *req, uint32_t *uid);
/* body is copied. Content-Length is set; Content-Type must be among the headers if wanted. */
void http_req_reply(struct http_req *req, int status, const struct http_header *headers, size_t n,
                    struct slice body);
/* Cuts the connection without an answer (paybank's faults). Counts as the reply. */
void http_req_abort(struct http_req *req);

#endif
