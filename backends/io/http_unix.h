/*
 * http_unix - what http_unix.c (connections and reading) and http_unix_req.c (requests and answers)
 * share. Private to them.
 */
#ifndef IO_HTTP_UNIX_H
#define IO_HTTP_UNIX_H

#include "http_answer.h"
#include "http_in_impl.h"

#include <event2/event_struct.h>

struct unix_conn;

struct unix_req {
    struct http_req pub;    /* first: the handler holds a pointer to it */
    struct unix_conn *conn; /* NULL once http_in is gone */
    bool answered;
    size_t nheaders;
    struct http_header headers[]; /* into the bytes behind them */
};

struct unix_in {
    struct http_in pub;
    struct event accept;
    struct loop_timer *sweep;
    struct unix_conn *conns; /* all */
    size_t nconns;
    struct unix_conn *ended; /* those whose turn it is at the end of this one */
    bool turn_deferred;
    bool paused; /* takes no connections for want of descriptors or room */
    bool dead;
    char *scratch;   /* what was read last */
    struct buf head; /* of the answer being written */
};

struct unix_conn {
    struct unix_in *in_of;
    struct unix_conn *prev, *next;
    struct unix_conn *next_ended;
    struct event watch, writable;
    int fd;
    bool readable; /* the socket may have more */
    bool hung_up;  /* the peer has said its last */
    bool ended;    /* stands in unix_in.ended: an answer was given */
    bool closing;  /* ends with the answer that is on its way */
    bool broken;   /* does not take our bytes */
    bool counted;  /* in http_in.active, until its answer is written */
    bool head_only, encouraged;
    int64_t since_us;     /* of its latest bytes */
    struct unix_req *req; /* that the handler has, or that was answered in this turn */
    struct answer_parser parser;
    struct buf in;  /* what was read and not yet used */
    struct buf out; /* what the socket did not take at once */
    size_t out_done;
};

/* http_unix.c: at the end of this turn the request is freed, and the next one's turn comes. */
void unix_conn_end_turn(struct unix_conn *c);

/* Once all of its answer is written, or never will be. */
static inline void unix_uncount(struct unix_conn *c)
{
    c->in_of->pub.active -= c->counted;
    c->counted = false;
}

/* http_unix_req.c: an answer to what was read last; whatever becomes of it, the connection is there
 * until the end of the turn. */
void unix_answer(struct unix_conn *c, int status, const struct http_header *headers, size_t n,
                 struct slice body);
void unix_req_free(struct unix_req *r);
void unix_on_writable(evutil_socket_t fd, short what, void *arg);
struct slice unix_req_header(const struct http_req *req, const char *name);
size_t unix_req_headers(const struct http_req *req, struct http_header *out, size_t max);
struct slice unix_req_peer(const struct http_req *req);
int unix_req_fd(const struct http_req *req);
void unix_req_reply(struct http_req *req, int status, const struct http_header *headers, size_t n,
                    struct slice body);
void unix_req_abort(struct http_req *req);

#endif
