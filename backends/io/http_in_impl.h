/*
 * http_in_impl - what http_in.c (the library in the loop) and http_req.c (requests and answers)
 * share. These are the only files that know libmicrohttpd.
 */
#ifndef IO_HTTP_IN_IMPL_H
#define IO_HTTP_IN_IMPL_H

#include "core/problem.h"
#include "http_in.h"
#include "listen.h"
#include <gnutls/gnutls.h>
#include <microhttpd.h>

#define METHOD_MAX 15
/* Head of a request, the library's list of its headers and the head of the answer must fit in. */
#define HTTP_IN_CONNECTION_MEMORY 6144u

enum phase {
    PHASE_READING, /* head or body still come in */
    PHASE_HANDED,  /* the handler has it and owes an answer */
    PHASE_ANSWERED,
    PHASE_CUT
};

struct in_req {
    struct http_req pub; /* first: the handler holds a pointer to it */
    struct http_in *in;  /* NULL once http_in is gone */
    struct MHD_Connection *conn;
    struct MHD_Response *answer;
    unsigned status;
    enum phase phase;
    bool in_handler; /* the handler is below us on the stack */
    bool counted;    /* in http_in.active */
    enum problem_code refusal;
    struct buf body;
    size_t drained;
    struct in_req *prev, *next;
    char method[METHOD_MAX + 1];
    char target[];
};

struct http_in {
    struct loop *loop;
    struct http_in_conf conf;
    struct MHD_Daemon *daemon;
    struct listener listener;
    uint16_t port;
    struct event *ready; /* the library's epoll descriptor */
    struct loop_timer *timer;
    struct in_req *live;
    size_t active;
    struct buf scratch; /* NUL-terminated header of an answer */
    bool run_deferred;
    bool stopping;
    bool succeeded; /* when we stopped, another process had our path already */
    bool dead;
    char *cert, *key; /* the library keeps pointing into them */
};

/* http_req.c: the library's callbacks, and the end. */
void *on_target(void *cls, const char *uri, struct MHD_Connection *conn);
enum MHD_Result on_request(void *cls, struct MHD_Connection *conn, const char *url,
                           const char *method, const char *version, const char *data, size_t *n,
                           void **con_cls);
void on_completed(void *cls, struct MHD_Connection *conn, void **con_cls,
                  enum MHD_RequestTerminationCode why);
/* Requests without an answer lose their connection; what the handler holds is freed by its answer.
 */
void http_in_detach_all(struct http_in *h);

/* http_in.c: run the library at the end of this turn. */
void http_in_defer_run(struct http_in *h);

#endif
