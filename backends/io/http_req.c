/*
 * One inbound request: born when its target is read, handed over when its body is whole, freed when
 * the library has sent the answer. http_in.c tells the rest.
 */
#define _GNU_SOURCE /* struct ucred */
#include "http_in_impl.h"

#include "log.h"
#include <stdlib.h>
#include <sys/socket.h>

#define DRAIN_MAX        1048576 /* bytes of a too large body that are read to answer politely */
#define FIELD_BYTES      64      /* of the library's list, for each header */
#define ANSWER_HEAD_ROOM 2048    /* guaranteed to every answer */
#define ANSWER_HEAD_OURS 256     /* of it: status line, length, Connection */

/* ---- life ---- */

static void req_unlink(struct in_req *r)
{
    if (r->prev)
        r->prev->next = r->next;
    else if (r->in)
        r->in->live = r->next;
    if (r->next)
        r->next->prev = r->prev;
    r->prev = r->next = NULL;
}

static void req_free(struct in_req *r)
{
    if (r->answer)
        MHD_destroy_response(r->answer);
    buf_release(&r->body);
    arena_release(&r->pub.arena);
    free(r);
}

void *on_target(void *cls, const char *uri, struct MHD_Connection *conn)
{
    struct http_in *h = cls;
    size_t n = strlen(uri);
    struct in_req *r = calloc(1, sizeof(*r) + n + 1);

    (void)conn;
    if (!r)
        return NULL;
    memcpy(r->target, uri, n);
    r->pub.target = slice_n(r->target, n);
    r->in = h;
    arena_init(&r->pub.arena, h->conf.arena_cap);
    buf_init(&r->body, h->conf.max_body);
    r->next = h->live;
    if (r->next)
        r->next->prev = r;
    h->live = r;
    return r;
}

void on_completed(void *cls, struct MHD_Connection *conn, void **con_cls,
                  enum MHD_RequestTerminationCode why)
{
    struct in_req *r = *con_cls;

    (void)cls;
    (void)conn;
    (void)why;
    *con_cls = NULL;
    if (!r || !r->in) /* without http_in it belongs to the handler until its answer */
        return;
    if (r->counted)
        r->in->active--;
    req_unlink(r);
    req_free(r);
}

void http_in_detach_all(struct http_in *h)
{
    struct in_req *next;

    for (struct in_req *r = h->live; r; r = next) {
        next = r->next;
        if (r->phase != PHASE_HANDED)
            continue;
        MHD_resume_connection(r->conn);
        req_unlink(r);
        r->in = NULL;
        r->conn = NULL;
    }
}

/* ---- answers ---- */

static void add_header(struct http_in *h, struct MHD_Response *resp, struct slice name,
                       struct slice value)
{
    struct buf *b = &h->scratch;

    if (value.n == 0)
        return; /* the library knows no empty values */
    buf_clear(b);
    buf_add_slice(b, name);
    buf_add_char(b, '\0');
    buf_add_slice(b, value);
    buf_add_char(b, '\0');
    if (!buf_ok(b) || MHD_add_response_header(resp, b->p, b->p + name.n + 1) != MHD_YES)
        log_event(LOG_ERROR, "http_in_header_refused", LOG_S("header", name));
}

static struct MHD_Response *answer_new(struct http_in *h, const struct http_header *headers,
                                       size_t n, struct slice body)
{
    void *p = body.n ? (void *)body.p : (void *)"";
    struct MHD_Response *resp = MHD_create_response_from_buffer(
        body.n, p, body.n ? MHD_RESPMEM_MUST_COPY : MHD_RESPMEM_PERSISTENT);
    size_t bytes = 0;

    if (!resp)
        return NULL;
    for (size_t i = 0; i < n; i++) {
        add_header(h, resp, headers[i].name, headers[i].value);
        bytes += headers[i].name.n + headers[i].value.n + 4;
    }
    if (bytes > ANSWER_HEAD_ROOM - ANSWER_HEAD_OURS)
        log_event(LOG_ERROR, "http_in_answer_head_too_large", LOG_I("bytes", bytes));
    if (h->stopping) /* so that the peer does not pick this connection for its next request */
        add_header(h, resp, SLICE("Connection"), SLICE("close"));
    return resp;
}

/* Refusals of http_in itself, in the form of all others. */
static struct MHD_Response *refusal_new(struct http_in *h, enum problem_code code)
{
    const struct http_header headers[] = {
        {SLICE("Content-Type"), SLICE(PROBLEM_CONTENT_TYPE)},
        {SLICE("Retry-After"), SLICE("1")},
    };
    struct problem problem = {.code = code};
    struct MHD_Response *resp;
    struct buf b;

    buf_init(&b, 4096);
    problem_write(&b, &problem, SLICE_NULL);
    resp = answer_new(h, headers, code == PROBLEM_OVERLOADED ? 2 : 1, buf_slice(&b));
    buf_release(&b);
    return resp;
}

static enum MHD_Result refuse(struct in_req *r, enum problem_code code)
{
    struct MHD_Response *resp = refusal_new(r->in, code);
    enum MHD_Result rc = MHD_NO;

    if (resp) {
        rc = MHD_queue_response(r->conn, (unsigned)problem_status(code), resp);
        MHD_destroy_response(resp);
    }
    r->phase = PHASE_ANSWERED;
    return rc;
}

/* MHD_NO closes the connection: with nothing to say, that is the honest thing. */
static enum MHD_Result send_answer(struct in_req *r)
{
    enum MHD_Result rc;

    if (r->phase != PHASE_ANSWERED || !r->answer)
        return MHD_NO;
    rc = MHD_queue_response(r->conn, r->status, r->answer);
    MHD_destroy_response(r->answer);
    r->answer = NULL;
    return rc;
}

/* ---- the library's view of a request: head, pieces of the body, end ---- */

/*
 * The answer's head needs room in the same memory. The library notices a lack of it only after the
 * handler has done its work, and then cuts the connection: an executed request without an answer.
 * So what the request takes is added up before anything is done: its bytes, what the library keeps
 * for each header, argument and cookie, and its copy of the cookies.
 */
static bool leaves_room(struct in_req *r)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(r->conn, MHD_CONNECTION_INFO_REQUEST_HEADER_SIZE);
    int fields = MHD_get_connection_values(
        r->conn, MHD_HEADER_KIND | MHD_COOKIE_KIND | MHD_GET_ARGUMENT_KIND, NULL, NULL);
    size_t copies = http_req_header(&r->pub, "Cookie").n;

    return info && info->header_size + copies + (size_t)fields * FIELD_BYTES + ANSWER_HEAD_ROOM <=
                       HTTP_IN_CONNECTION_MEMORY;
}

static enum MHD_Result refuse_head(struct in_req *r)
{
    struct MHD_Response *resp = answer_new(r->in, NULL, 0, SLICE_NULL);
    enum MHD_Result rc = MHD_NO;

    if (resp) {
        rc = MHD_queue_response(r->conn, MHD_HTTP_REQUEST_HEADER_FIELDS_TOO_LARGE, resp);
        MHD_destroy_response(resp);
    }
    r->phase = PHASE_ANSWERED;
    return rc;
}

static enum MHD_Result on_head(struct in_req *r, struct MHD_Connection *conn, const char *method)
{
    size_t n = strlen(method);
    struct slice length;
    int64_t announced = 0;

    r->conn = conn;
    if (!leaves_room(r))
        return refuse_head(r);
    if (n > METHOD_MAX)
        return refuse(r, PROBLEM_METHOD_NOT_ALLOWED);
    memcpy(r->method, method, n);
    r->pub.method = slice_n(r->method, n);
    length = http_req_header(&r->pub, "Content-Length");
    if (slice_int64(length, &announced) != 0 || announced <= 0)
        return MHD_YES;
    if (announced > DRAIN_MAX && (uint64_t)announced > r->in->conf.max_body)
        return refuse(r, PROBLEM_BODY_TOO_LARGE);
    if ((uint64_t)announced > r->in->conf.max_body)
        r->refusal = PROBLEM_BODY_TOO_LARGE;
    return MHD_YES;
}

static enum MHD_Result on_body(struct in_req *r, const char *data, size_t n)
{
    if (r->refusal == PROBLEM_NONE) {
        buf_add(&r->body, data, n);
        if (buf_ok(&r->body))
            return MHD_YES;
        r->refusal = r->body.n + n > r->body.cap ? PROBLEM_BODY_TOO_LARGE : PROBLEM_OVERLOADED;
        buf_release(&r->body);
    }
    r->drained += n;
    return r->drained > DRAIN_MAX ? MHD_NO : MHD_YES;
}

static enum MHD_Result hand_over(struct in_req *r)
{
    struct http_in *h = r->in;

    if (r->refusal != PROBLEM_NONE)
        return refuse(r, r->refusal);
    if (h->active >= h->conf.max_requests)
        return refuse(r, PROBLEM_OVERLOADED);
    h->active++;
    r->counted = true;
    r->pub.body = buf_slice(&r->body);
    r->phase = PHASE_HANDED;
    r->in_handler = true;
    h->conf.handler(h->conf.arg, &r->pub);
    r->in_handler = false;
    if (r->phase != PHASE_HANDED)
        return send_answer(r);
    MHD_suspend_connection(r->conn);
    return MHD_YES;
}

enum MHD_Result on_request(void *cls, struct MHD_Connection *conn, const char *url,
                           const char *method, const char *version, const char *data, size_t *n,
                           void **con_cls)
{
    struct in_req *r = *con_cls;
    size_t had = *n;

    (void)cls;
    (void)url;
    (void)version;
    if (!r) /* no memory in on_target */
        return MHD_NO;
    if (!r->conn)
        return on_head(r, conn, method);
    if (had) {
        *n = 0;
        return on_body(r, data, had);
    }
    return r->phase == PHASE_READING ? hand_over(r) : send_answer(r);
}

/* ---- the handler's view ---- */

struct slice http_req_peer(const struct http_req *req)
{
    const struct in_req *r = (const struct in_req *)req;
    const union MHD_ConnectionInfo *info =
        r->conn ? MHD_get_connection_info(r->conn, MHD_CONNECTION_INFO_GNUTLS_SESSION) : NULL;
    const gnutls_datum_t *chain;
    unsigned n = 0;

    if (!info || !info->tls_session)
        return SLICE_NULL;
    chain = gnutls_certificate_get_peers(info->tls_session, &n);
    return chain && n ? slice_n(chain[0].data, chain[0].size) : SLICE_NULL;
}

struct slice http_req_header(const struct http_req *req, const char *name)
{
    const struct in_req *r = (const struct in_req *)req;
    const char *value = NULL;
    size_t n = 0;

    if (!r->conn || MHD_lookup_connection_value_n(r->conn, MHD_HEADER_KIND, name, strlen(name),
                                                  &value, &n) != MHD_YES)
        return SLICE_NULL;
    return value ? slice_n(value, n) : SLICE_NULL;
}

int http_req_peer_uid(const struct http_req *req, uint32_t *uid)
{
    const struct in_req *r = (const struct in_req *)req;
    const union MHD_ConnectionInfo *info =
        r->conn ? MHD_get_connection_info(r->conn, MHD_CONNECTION_INFO_CONNECTION_FD) : NULL;
    struct ucred peer;
    socklen_t n = sizeof(peer);

    if (!info || getsockopt(info->connect_fd, SOL_SOCKET, SO_PEERCRED, &peer, &n) != 0 ||
        n != sizeof(peer) || peer.pid == 0)
        return -1;
    *uid = peer.uid;
    return 0;
}

struct collect {
    struct http_header *out;
    size_t n, max;
};

static enum MHD_Result on_header(void *cls, enum MHD_ValueKind kind, const char *key, size_t nkey,
                                 const char *value, size_t nvalue)
{
    struct collect *c = cls;

    (void)kind;
    if (c->n == c->max)
        return MHD_NO;
    c->out[c->n++] = (struct http_header){slice_n(key, nkey), slice_n(value, value ? nvalue : 0)};
    return MHD_YES;
}

size_t http_req_headers(const struct http_req *req, struct http_header *out, size_t max)
{
    const struct in_req *r = (const struct in_req *)req;
    struct collect c = {out, 0, max};

    if (r->conn)
        MHD_get_connection_values_n(r->conn, MHD_HEADER_KIND, on_header, &c);
    return c.n;
}

/* The request leaves the handler's hands: on_request does the rest, now or when it is resumed. */
static void req_resume(struct in_req *r, enum phase phase)
{
    r->phase = phase;
    if (r->in_handler)
        return;
    MHD_resume_connection(r->conn);
    http_in_defer_run(r->in);
}

void http_req_reply(struct http_req *req, int status, const struct http_header *headers, size_t n,
                    struct slice body)
{
    struct in_req *r = (struct in_req *)req;

    if (!r->in) {
        req_free(r);
        return;
    }
    if (r->phase != PHASE_HANDED)
        abort(); /* a second answer would go to somebody else's request */
    r->status = (unsigned)status;
    r->answer = answer_new(r->in, headers, n, body);
    req_resume(r, r->answer ? PHASE_ANSWERED : PHASE_CUT);
}

/* Dissolving the address of a TCP socket sends a reset at once; the library alone would send a FIN
 * first. A unix socket knows no reset: its peer reads the end. */
static void cut_socket(struct MHD_Connection *conn)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(conn, MHD_CONNECTION_INFO_CONNECTION_FD);
    const struct linger reset = {.l_onoff = 1, .l_linger = 0};
    const struct sockaddr none = {.sa_family = AF_UNSPEC};

    if (!info)
        return;
    setsockopt(info->connect_fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
    if (connect(info->connect_fd, &none, sizeof(none)) != 0)
        shutdown(info->connect_fd, SHUT_RDWR);
}

void http_req_abort(struct http_req *req)
{
    struct in_req *r = (struct in_req *)req;

    if (!r->in) {
        req_free(r);
        return;
    }
    if (r->phase != PHASE_HANDED)
        abort();
    cut_socket(r->conn);
    req_resume(r, PHASE_CUT);
}
