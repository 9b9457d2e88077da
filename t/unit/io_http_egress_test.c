/*
 * backends/io/http_egress against a raw socket server in the same loop. The target of a request
 * picks what the server does with it, and the server counts what it gets: never more than was
 * called.
 */
#include "io_test.h"

#include "backends/io/http_egress.h"
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

/* ---- the server ---- */

enum act {
    KEEP,        /* answer, keep the connection */
    CLOSE,       /* answer, then close */
    CLOSE_EARLY, /* answer after the head without reading the body, then close */
    BYTEWISE,    /* answer a byte every millisecond */
    UNREAD,      /* close at once with the request unread (a reset) */
    SILENT,
    SLOW_READ /* reads a little every turn */
};

#define OK "HTTP/1.1 200 OK\r\n"

static const struct behaviour {
    const char *target;
    enum act act;
    const char *answer;
} behaviours[] = {
    {"/ok", KEEP, OK "Content-Length: 5\r\nPay-Sent: answered\r\n\r\nhello"},
    {"/chunked", KEEP, OK "Transfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n"},
    {"/bytes", BYTEWISE, OK "Transfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n"},
    {"/interim", KEEP, "HTTP/1.1 100 Continue\r\n\r\n" OK "Content-Length: 5\r\n\r\nhello"},
    {"/head", KEEP, OK "Content-Length: 500\r\n\r\n"},
    {"/204", KEEP, "HTTP/1.1 204 No Content\r\n\r\n"},
    {"/rest", CLOSE, OK "\r\nhello"},
    {"/close", CLOSE, OK "Connection: close\r\nContent-Length: 5\r\n\r\nhello"},
    {"/then-close", CLOSE, OK "Content-Length: 5\r\n\r\nhello"},
    {"/truncated", CLOSE, OK "Content-Length: 50\r\n\r\nhello"},
    {"/half-head", CLOSE, "HTTP/1.1 200 OK\r\nContent-"},
    {"/nothing", CLOSE, ""},
    {"/noise", KEEP, "SSH-2.0-OpenSSH_9.2\r\n"},
    {"/more", KEEP, OK "Content-Length: 5\r\n\r\nhello" OK "Content-Length: 3\r\n\r\nbad"},
    {"/early", CLOSE_EARLY, "HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno"},
    {"/unread", UNREAD, ""},
    {"/silent", SILENT, ""},
    {"/part", SILENT, OK "Content-Length: 5\r\n\r\nhel"},
    {"/slow", SLOW_READ, OK "Content-Length: 5\r\n\r\nhello"},
};

struct peer {
    struct event *ev;
    int fd;
    char in[4096]; /* head of the request under way */
    size_t n;
    size_t body_left;
    const struct behaviour *b;
    size_t sent;
    struct loop_timer *byte;
    struct peer *next;
};

static struct {
    int fd;
    struct event *ev;
    char path[100];
    struct peer *peers;
    int accepted, requests;
    size_t body_bytes;
    char head[4096]; /* of the last request */
} server;

static void peer_close(struct peer *p)
{
    struct peer **at = &server.peers;

    while (*at != p)
        at = &(*at)->next;
    *at = p->next;
    event_free(p->ev);
    loop_timer_free(p->byte);
    close(p->fd);
    free(p);
}

static void on_next_byte(void *arg)
{
    struct peer *p = arg;

    assert_int_equal(send(p->fd, p->b->answer + p->sent, 1, MSG_NOSIGNAL), 1);
    if (p->b->answer[++p->sent])
        loop_timer_set(p->byte, USEC_PER_MSEC);
    else
        p->b = NULL;
}

static void answer(struct peer *p)
{
    const struct behaviour *b = p->b;

    if (b->act == BYTEWISE) {
        p->sent = 0;
        loop_timer_set(p->byte, 0);
        return;
    }
    p->b = NULL;
    send(p->fd, b->answer, strlen(b->answer), MSG_NOSIGNAL);
    if (b->act == CLOSE || b->act == CLOSE_EARLY)
        peer_close(p);
}

/* 0 = more of the head is needed, else what stands in p->in of the body, plus one. */
static size_t take_head(struct peer *p)
{
    char target[64];
    char *end, *length;

    p->in[p->n] = '\0';
    end = strstr(p->in, "\r\n\r\n");
    if (!end)
        return 0;
    assert_int_equal(sscanf(p->in, "%*s %63s", target), 1);
    for (size_t i = 0; i < sizeof(behaviours) / sizeof(behaviours[0]); i++)
        if (strcmp(target, behaviours[i].target) == 0)
            p->b = &behaviours[i];
    assert_non_null(p->b);
    end[2] = '\0';
    snprintf(server.head, sizeof(server.head), "%s", p->in);
    length = strstr(p->in, "Content-Length: ");
    p->body_left = length ? strtoul(length + 16, NULL, 10) : 0;
    server.requests++;
    return p->n - (size_t)(end + 4 - p->in) + 1;
}

static void on_peer(evutil_socket_t fd, short what, void *arg)
{
    struct peer *p = arg;
    char scratch[65536];
    size_t want = p->b && p->b->act == SLOW_READ ? 2000 : sizeof(scratch);
    ssize_t n =
        p->b ? recv(fd, scratch, want, 0) : recv(fd, p->in + p->n, sizeof(p->in) - p->n - 1, 0);
    size_t body;

    (void)what;
    if (n <= 0) {
        peer_close(p);
        return;
    }
    body = (size_t)n;
    if (!p->b) {
        p->n += (size_t)n;
        body = take_head(p);
        if (body-- == 0)
            return;
        if (p->b->act == UNREAD || p->b->act == CLOSE_EARLY) {
            if (p->b->act == UNREAD)
                peer_close(p);
            else
                answer(p);
            return;
        }
    }
    server.body_bytes += body;
    p->body_left -= body;
    p->n = 0;
    if (p->body_left == 0)
        answer(p);
}

static void on_accept(evutil_socket_t fd, short what, void *arg)
{
    struct peer *p = calloc(1, sizeof(*p));

    (void)what;
    (void)arg;
    p->fd = accept(fd, NULL, NULL);
    assert_true(p->fd >= 0);
    server.accepted++;
    p->ev = event_new(loop_base(loop), p->fd, EV_READ | EV_PERSIST, on_peer, p);
    event_add(p->ev, NULL);
    p->byte = loop_timer_new(loop, on_next_byte, p);
    p->next = server.peers;
    server.peers = p;
}

static void server_start(int backlog)
{
    struct sockaddr_un sa = {.sun_family = AF_UNIX};

    memset(&server, 0, sizeof(server));
    snprintf(server.path, sizeof(server.path), "%s/egress.sock", folder);
    snprintf(sa.sun_path, sizeof(sa.sun_path), "%s", server.path);
    server.fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
    assert_int_equal(bind(server.fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
    assert_int_equal(listen(server.fd, backlog), 0);
    server.ev = event_new(loop_base(loop), server.fd, EV_READ | EV_PERSIST, on_accept, NULL);
    if (backlog)
        event_add(server.ev, NULL);
}

static void server_stop(void)
{
    while (server.peers)
        peer_close(server.peers);
    event_free(server.ev);
    close(server.fd);
    unlink(server.path);
}

/* ---- the client ---- */

static struct http_egress *egress;

static void start(size_t max_connections, size_t max_answer)
{
    struct http_egress_conf conf = {
        .unix_path = server.path, .max_connections = max_connections, .max_answer = max_answer};

    server_start(4096);
    egress = http_egress_new(loop, &conf);
    assert_non_null(egress);
}

static void stop(void)
{
    http_egress_free(egress);
    server_stop();
}

struct got {
    int calls;
    enum http_outcome outcome;
    int status;
    size_t body_n;
    char body[32];
    char sent[32];
    char reason[64];
    bool stop;
};

static void on_answer(void *arg, const struct http_answer *a)
{
    struct got *g = arg;
    struct slice sent;

    g->calls++;
    g->outcome = a->outcome;
    g->status = a->status;
    g->body_n = a->body.n;
    snprintf(g->body, sizeof(g->body), "%.*s", SLICE_FMT(a->body));
    sent = http_find(a->headers, a->nheaders, "pay-sent", NULL);
    snprintf(g->sent, sizeof(g->sent), "%.*s", SLICE_FMT(sent));
    snprintf(g->reason, sizeof(g->reason), "%s", a->reason ? a->reason : "");
    assert_true((a->outcome == HTTP_ANSWERED) == (a->reason == NULL));
    if (g->stop)
        loop_stop(loop);
}

static struct slice body_of = {"{\"x\":1}", 7};

static void send_call(const char *method, const char *target, int64_t ms, struct got *g)
{
    struct http_header h[] = {{SLICE("Pay-Attempt"), SLICE("42")},
                              {SLICE("Content-Type"), SLICE("application/json")}};
    struct http_call c = {slice_of(method), slice_of(target), h, 2, body_of, ms * USEC_PER_MSEC};

    *g = (struct got){.stop = true};
    http_egress_send(egress, &c, on_answer, g);
    assert_int_equal(g->calls, 0);
}

static enum http_outcome call(const char *method, const char *target, struct got *g)
{
    send_call(method, target, 3000, g);
    run_loop(10);
    assert_int_equal(g->calls, 1);
    return g->outcome;
}

/* ---- tests ---- */

static void test_keepalive(void **state)
{
    static const char *const targets[] = {"/ok", "/chunked", "/bytes", "/interim", "/ok"};
    struct got g;

    (void)state;
    start(0, 0);
    for (int i = 0; i < 5; i++) {
        assert_int_equal(call("POST", targets[i], &g), HTTP_ANSWERED);
        assert_int_equal(g.status, 200);
        assert_string_equal(g.body, "hello");
        assert_int_equal(http_egress_active(egress), 0);
    }
    assert_string_equal(g.sent, "answered");
    assert_int_equal(call("POST", "/204", &g), HTTP_ANSWERED);
    assert_int_equal(call("HEAD", "/head", &g), HTTP_ANSWERED);
    assert_int_equal(g.body_n, 0);
    assert_int_equal(server.accepted, 1);
    assert_int_equal(server.requests, 7);
    stop();
}

static void test_request_text(void **state)
{
    struct got g;

    (void)state;
    start(0, 0);
    assert_int_equal(call("POST", "/ok", &g), HTTP_ANSWERED);
    assert_string_equal(server.head, "POST /ok HTTP/1.1\r\nPay-Attempt: 42\r\n"
                                     "Content-Type: application/json\r\nHost: egress\r\n"
                                     "Content-Length: 7\r\n");
    assert_int_equal(server.body_bytes, 7);
    stop();
}

static void test_connections_that_end(void **state)
{
    static const char *const targets[] = {"/rest", "/close", "/then-close", "/more"};
    struct got g;

    (void)state;
    start(0, 0);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(call("POST", targets[i], &g), HTTP_ANSWERED);
        assert_string_equal(g.body, "hello");
        assert_int_equal(call("POST", "/ok", &g), HTTP_ANSWERED);
    }
    assert_int_equal(server.requests, 8);
    assert_int_equal(server.accepted, 5);
    stop();
}

/* One connection that the server closed while it was idle, in the very turn of the next call. */
static void test_stale_connection(void **state)
{
    struct got g;

    (void)state;
    start(0, 0);
    assert_int_equal(call("POST", "/ok", &g), HTTP_ANSWERED);
    while (server.peers)
        peer_close(server.peers);
    assert_int_equal(call("POST", "/ok", &g), HTTP_ANSWERED);
    assert_int_equal(server.requests, 2);
    assert_int_equal(server.accepted, 2);
    stop();
}

/* Once written, a call ends with this connection, kept or new: the server sees it once. */
static void test_never_twice(void **state)
{
    static const char *const targets[] = {"/nothing", "/unread", "/truncated", "/half-head",
                                          "/noise"};
    struct got g;

    (void)state;
    start(0, 0);
    for (int kept = 0; kept < 2; kept++) {
        for (int i = 0; i < 5; i++) {
            if (kept)
                assert_int_equal(call("POST", "/ok", &g), HTTP_ANSWERED);
            server.requests = 0;
            assert_int_equal(call("POST", targets[i], &g), HTTP_BROKEN);
            run_for_ms(5);
            assert_int_equal(server.requests, 1);
            assert_true(g.reason[0] != '\0');
        }
    }
    stop();
}

static void test_timeout(void **state)
{
    static const char *const targets[] = {"/silent", "/part"};
    struct got g;

    (void)state;
    start(0, 0);
    for (int i = 0; i < 2; i++) {
        int64_t began = clock_read_mono_us();

        send_call("POST", targets[i], 100, &g);
        run_loop(5);
        assert_int_equal(g.outcome, HTTP_TIMED_OUT);
        assert_in_range(clock_read_mono_us() - began, 95000, 1000000);
    }
    run_for_ms(5);
    assert_null(server.peers); /* such a connection is not used again */
    assert_int_equal(server.requests, 2);
    stop();
}

/* Trickling bytes do not put the end off. */
static void test_timeout_is_total(void **state)
{
    struct got g;

    (void)state;
    start(0, 0);
    send_call("POST", "/bytes", 30, &g);
    run_loop(5);
    assert_int_equal(g.outcome, HTTP_TIMED_OUT);
    stop();
}

static void test_too_large(void **state)
{
    struct got g;

    (void)state;
    start(0, 60);
    assert_int_equal(call("POST", "/ok", &g), HTTP_BROKEN);
    assert_string_equal(g.reason, "answer too large");
    stop();
}

static void test_large_request(void **state)
{
    static char large[3000000];
    struct slice small = body_of;
    struct got g;

    (void)state;
    start(0, 0);
    body_of = slice_n(large, sizeof(large));
    assert_int_equal(call("POST", "/slow", &g), HTTP_ANSWERED);
    assert_int_equal(server.body_bytes, sizeof(large));
    assert_int_equal(call("POST", "/slow", &g), HTTP_ANSWERED);
    assert_int_equal(server.accepted, 1);
    /* refused before the body was read: that answer counts, not the broken pipe behind it */
    assert_int_equal(call("POST", "/early", &g), HTTP_ANSWERED);
    assert_int_equal(g.status, 413);
    /* not one byte more is taken: still written in part, so the outcome is unknown */
    send_call("POST", "/silent", 50, &g);
    run_loop(5);
    assert_int_equal(g.outcome, HTTP_TIMED_OUT);
    body_of = small;
    assert_int_equal(call("POST", "/ok", &g), HTTP_ANSWERED);
    stop();
}

static void test_not_sent(void **state)
{
    struct http_egress_conf conf = {.unix_path = server.path};
    struct got g, first;

    (void)state;
    start(1, 0);
    send_call("POST", "/ok", 1000, &first);
    first.stop = false;
    send_call("POST", "/ok", 1000, &g);
    run_for_ms(20);
    assert_int_equal(first.outcome, HTTP_ANSWERED);
    assert_int_equal(g.outcome, HTTP_NOT_SENT);
    assert_string_equal(g.reason, "pool full");
    assert_int_equal(server.requests, 1);
    stop();
    egress = http_egress_new(loop, &conf);
    assert_int_equal(call("POST", "/ok", &g), HTTP_NOT_SENT); /* nobody listens */
    assert_string_equal(g.reason, "egress refused the connection");
    http_egress_free(egress);
}

/* A unix socket with a full backlog refuses at once. */
static void test_backlog_full(void **state)
{
    struct got g[8];
    int refused = 0;
    struct http_egress_conf conf = {.unix_path = server.path};

    (void)state;
    server_start(0); /* nothing is accepted */
    egress = http_egress_new(loop, &conf);
    for (int i = 0; i < 8; i++)
        send_call("POST", "/ok", 100, &g[i]);
    run_for_ms(10);
    for (int i = 0; i < 8; i++)
        refused += g[i].calls == 1 && g[i].outcome == HTTP_NOT_SENT;
    assert_in_range(refused, 4, 7);
    http_egress_free(egress);
    for (int i = 0; i < 8; i++)
        assert_int_equal(g[i].calls, 1);
    server_stop();
}

static void test_malformed_request(void **state)
{
    static const struct http_header bad[] = {
        {SLICE("X"), SLICE("a\r\nY: b")},
        {SLICE("X Y"), SLICE("b")},
        {SLICE(""), SLICE("b")},
        {SLICE("Content-Length"), SLICE("3")},
        {SLICE("connection"), SLICE("close")},
        {SLICE("Transfer-Encoding"), SLICE("chunked")},
    };
    static const char *const targets[] = {"/a b", "", "/a\r\nX: y"};
    struct got g;

    (void)state;
    start(0, 0);
    for (size_t i = 0; i < 6; i++) {
        struct http_call c = {SLICE("POST"), SLICE("/ok"), &bad[i], 1, SLICE_NULL, USEC_PER_SEC};

        g = (struct got){.stop = true};
        http_egress_send(egress, &c, on_answer, &g);
        run_loop(5);
        assert_int_equal(g.outcome, HTTP_NOT_SENT);
    }
    for (int i = 0; i < 3; i++)
        assert_int_equal(call("POST", targets[i], &g), HTTP_NOT_SENT);
    assert_int_equal(server.requests, 0);
    stop();
}

static int chain_left;

static void on_chain(void *arg, const struct http_answer *a)
{
    static struct got g;

    assert_int_equal(a->outcome, HTTP_ANSWERED);
    (void)arg;
    if (--chain_left == 0)
        loop_stop(loop);
    else if (chain_left == 50)
        http_egress_free(egress); /* under the feet of all the others */
    else if (chain_left > 50) {
        struct http_call c = {SLICE("POST"), SLICE("/ok"), NULL, 0, SLICE_NULL, USEC_PER_SEC};

        http_egress_send(egress, &c, on_chain, &g);
    }
}

static void on_tail(void *arg, const struct http_answer *a)
{
    int *n = arg;

    assert_true(a->outcome == HTTP_BROKEN || a->outcome == HTTP_ANSWERED);
    if (--*n == 0)
        loop_stop(loop);
}

/* The callback sends the next call over the connection it was called from, and ends the client. */
static void test_from_callback(void **state)
{
    struct http_call c = {SLICE("POST"), SLICE("/ok"), NULL, 0, SLICE_NULL, USEC_PER_SEC};
    struct http_call silent = {SLICE("POST"), SLICE("/silent"), NULL, 0, SLICE_NULL, USEC_PER_SEC};
    int tails = 10;

    (void)state;
    start(0, 0);
    chain_left = 1000;
    http_egress_send(egress, &c, on_chain, NULL);
    for (int i = 0; i < 10; i++)
        http_egress_send(egress, &silent, on_tail, &tails);
    run_loop(10);
    assert_int_equal(tails, 0);
    assert_int_equal(chain_left, 50);
    assert_int_equal(server.accepted, 11);
    run_for_ms(1);
    server_stop();
}

static void test_many(void **state)
{
    struct http_call c = {SLICE("POST"), SLICE("/ok"), NULL, 0, SLICE("x"), 10 * USEC_PER_SEC};
    int left = 2000;

    (void)state;
    start(0, 0);
    for (int i = 0; i < 2000; i++)
        http_egress_send(egress, &c, on_tail, &left);
    assert_int_equal(http_egress_active(egress), 2000);
    run_loop(20);
    assert_int_equal(server.requests, 2000);
    run_for_ms(10);
    assert_int_equal(http_egress_active(egress), 0);
    stop();
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup_loop, teardown_loop)
    const struct CMUnitTest tests[] = {
        T(test_keepalive),        T(test_request_text), T(test_connections_that_end),
        T(test_stale_connection), T(test_never_twice),  T(test_timeout),
        T(test_timeout_is_total), T(test_too_large),    T(test_large_request),
        T(test_not_sent),         T(test_backlog_full), T(test_malformed_request),
        T(test_from_callback),    T(test_many),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, setup_folder, teardown_folder);
}
