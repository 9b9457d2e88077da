/*
 * http_in_impl - what the two servers behind http_in.h share: http_unix.c, our own for unix
 * sockets, and http_mhd.c, the library for TCP and TLS. Private to them.
 */
#ifndef IO_HTTP_IN_IMPL_H
#define IO_HTTP_IN_IMPL_H

#include "core/problem.h"
#include "http_in.h"
#include "listen.h"

#define HTTP_IN_DRAIN_MAX 1048576 /* bytes of a too large body that are read to answer politely */
#define HTTP_IN_SLACK     2048    /* idle keepalive connections beside those with a request */

/* The first member of each server's own struct. */
struct http_in {
    const struct http_in_kind *kind;
    struct loop *loop;
    struct http_in_conf conf; /* defaults filled in */
    struct listener listener;
    uint16_t port;
    size_t active; /* requests that the handler has */
    bool stopping;
    bool succeeded; /* when we stopped, another process had our path already */
};

/* What http_in.h promises; the listener is open when `start` runs. */
struct http_in_kind {
    size_t size; /* of the server's struct */
    int (*start)(struct http_in *h, char *err, size_t n);
    void (*stop)(struct http_in *h);
    size_t (*connections)(const struct http_in *h);
    void (*free)(struct http_in *h); /* the struct itself too, now or at the end of the turn */
    struct slice (*header)(const struct http_req *req, const char *name);
    size_t (*headers)(const struct http_req *req, struct http_header *out, size_t max);
    struct slice (*peer)(const struct http_req *req);
    int (*fd)(const struct http_req *req); /* -1: gone */
    void (*reply)(struct http_req *req, int status, const struct http_header *headers, size_t n,
                  struct slice body);
    void (*abort)(struct http_req *req);
};

extern const struct http_in_kind http_unix, http_mhd;

/* The problem that http_in itself refuses with, and its headers: the Retry-After is the last. */
#define HTTP_IN_REFUSAL_HEADERS 2
void http_in_refusal(enum problem_code code, struct buf *body,
                     struct http_header headers[HTTP_IN_REFUSAL_HEADERS], size_t *n);

#endif
