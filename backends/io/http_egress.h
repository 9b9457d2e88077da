/*
 * http_egress - our own small HTTP/1.1 client to nginx's egress on a unix socket. It never sends a
 * request twice (libcurl would, on a reused connection that died: DESIGN.md section 4).
 *
 * Keepalive connections are kept in a pool; one that turned readable or closed while idle is
 * dropped before use. A call ends in exactly one callback.
 */
#ifndef IO_HTTP_EGRESS_H
#define IO_HTTP_EGRESS_H

#include "backends/io/http.h"
#include "backends/io/loop.h"

struct http_egress;

enum http_outcome {
    HTTP_ANSWERED, /* status, headers, body are set */
    HTTP_NOT_SENT, /* no byte of it left this process: connect refused, pool full, stopping */
    HTTP_BROKEN,   /* written (in part), then closed, reset or not HTTP */
    HTTP_TIMED_OUT /* written, no whole answer in time */
};

struct http_answer {
    enum http_outcome outcome;
    int status;
    const struct http_header *headers; /* all slices valid only during the callback */
    size_t nheaders;
    struct slice body;
    const char *reason; /* static text when not answered */
};
typedef void http_egress_cb(void *arg, const struct http_answer *answer);

struct http_call {
    struct slice method;
    struct slice target;
    const struct http_header *headers; /* Host, Content-Length and Connection are added */
    size_t nheaders;
    struct slice body;
    int64_t timeout_us;
};

struct http_egress_conf {
    const char *unix_path;
    size_t max_connections; /* default 8192 */
    size_t max_idle;        /* default 256 */
    size_t max_answer;      /* header + body bytes, default 262144 */
};

struct http_egress *http_egress_new(struct loop *l, const struct http_egress_conf *conf);
/* Calls under way end inside this call as HTTP_BROKEN. Allowed in callbacks. */
void http_egress_free(struct http_egress *e);
/* Copies what it needs. The callback is never called from inside this function. */
void http_egress_send(struct http_egress *e, const struct http_call *call, http_egress_cb *cb,
                      void *arg);
size_t http_egress_active(const struct http_egress *e);

#endif
