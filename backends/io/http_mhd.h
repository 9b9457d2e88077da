/*
 * http_mhd - what http_mhd.c (the library in the loop) and http_mhd_req.c (requests and answers)
 * share. These are the only files that know libmicrohttpd.
 */
#ifndef IO_HTTP_MHD_H
#define IO_HTTP_MHD_H

#include "http_in_impl.h"
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
    struct mhd_in *in;   /* NULL once http_in is gone */
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

struct mhd_in {
    struct http_in pub;
    struct MHD_Daemon *daemon;
    struct event *ready; /* the library's epoll descriptor */
    struct loop_timer *timer;
    struct in_req *live;
    struct buf scratch; /* NUL-terminated header of an answer */
    bool run_deferred;
    bool dead;
    char *cert, *key; /* the library keeps pointing into them */
};

/* http_mhd_req.c: the library's callbacks, and the end. */
void *on_target(void *cls, const char *uri, struct MHD_Connection *conn);
enum MHD_Result on_request(void *cls, struct MHD_Connection *conn, const char *url,
                           const char *method, const char *version, const char *data, size_t *n,
                           void **con_cls);
void on_completed(void *cls, struct MHD_Connection *conn, void **con_cls,
                  enum MHD_RequestTerminationCode why);
/* Requests without an answer lose their connection; what the handler holds is freed by its answer.
 */
void mhd_detach_all(struct mhd_in *h);
struct slice mhd_req_header(const struct http_req *req, const char *name);
size_t mhd_req_headers(const struct http_req *req, struct http_header *out, size_t max);
struct slice mhd_req_peer(const struct http_req *req);
int mhd_req_fd(const struct http_req *req);
void mhd_req_reply(struct http_req *req, int status, const struct http_header *headers, size_t n,
                   struct slice body);
void mhd_req_abort(struct http_req *req);

/* http_mhd.c: run the library at the end of this turn. */
void mhd_defer_run(struct mhd_in *h);

#endif
