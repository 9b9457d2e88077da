/* backends/io/http_in against raw clients; both sides in one loop, the client reads between turns.
 */
#include "io_test.h"

#include "backends/io/http_in.h"
#include "backends/io/log.h"
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#define MAX_HELD 4000

static struct http_in *server;
static char path[100];
static struct http_req *held[MAX_HELD]; /* requests that wait for the test to answer them */
static int nheld;
static int handled;
static char seen[256]; /* of the last request */

static void reply_text(struct http_req *req, const char *text)
{
    struct http_header h[] = {{SLICE("Content-Type"), SLICE("text/plain")},
                              {SLICE("Empty"), SLICE("")}};

    http_req_reply(req, 200, h, 2, slice_of(text));
}

static void reply_large(struct http_req *req)
{
    static char large[1000000];

    memset(large, 'L', sizeof(large));
    large[sizeof(large) - 1] = 'E';
    http_req_reply(req, 200, NULL, 0, slice_n(large, sizeof(large)));
}

/* The target says how the handler answers. */
static void on_request(void *arg, struct http_req *req)
{
    struct slice key = http_req_header(req, "PAY-key");

    assert_ptr_equal(arg, &server);
    handled++;
    snprintf(seen, sizeof(seen), "%.*s %.*s key=%.*s body=%.*s", SLICE_FMT(req->method),
             SLICE_FMT(req->target), SLICE_FMT(key), req->body.n < 64 ? (int)req->body.n : 64,
             req->body.n ? req->body.p : "");
    if (slice_starts(req->target, SLICE("/hold"))) {
        assert_non_null(arena_alloc(&req->arena, 1000));
        held[nheld++] = req;
    } else if (slice_is(req->target, "/abort")) {
        http_req_abort(req);
    } else if (slice_is(req->target, "/large")) {
        reply_large(req);
    } else if (slice_is(req->target, "/204")) {
        http_req_reply(req, 204, NULL, 0, SLICE_NULL);
    } else {
        reply_text(req, "hello");
    }
}

static struct http_in *new_server(const char *listen, size_t max_requests)
{
    struct http_in_conf conf = {.unix_path = listen ? NULL : path,
                                .listen = listen,
                                .max_body = 1000,
                                .max_requests = max_requests,
                                .handler = on_request,
                                .arg = &server};
    char err[256];
    struct http_in *h = http_in_new(loop, &conf, err, sizeof(err));

    if (!h)
        fail_msg("%s", err);
    return h;
}

static void start(const char *listen, size_t max_requests)
{
    snprintf(path, sizeof(path), "%s/in.sock", folder);
    nheld = handled = 0;
    server = new_server(listen, max_requests);
}

static void stop(void)
{
    http_in_free(server);
    assert_int_not_equal(access(path, F_OK), 0);
}

/* ---- the client ---- */

static int try_dial(void)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(http_in_port(server))};
    bool tcp = http_in_port(server) != 0;
    int fd = socket(tcp ? AF_INET : AF_UNIX, SOCK_STREAM, 0);
    int rc;

    snprintf(un.sun_path, sizeof(un.sun_path), "%s", path);
    in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    rc = tcp ? connect(fd, (struct sockaddr *)&in, sizeof(in))
             : connect(fd, (struct sockaddr *)&un, sizeof(un));
    if (rc == 0)
        return fd;
    close(fd);
    return -1;
}

static int dial(void)
{
    int fd = try_dial();

    assert_true(fd >= 0);
    return fd;
}

static void say(int fd, const char *text)
{
    assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

static char heard[1100000];
static size_t nheard;
static int heard_error; /* 0 = end of file, -1 = still open */

/* Runs the loop until the peer has said `what` `times` times, or has closed. False: closed before.
 */
static bool hear(int fd, const char *what, int times)
{
    nheard = 0;
    for (int turn = 0; turn < 3000; turn++) {
        ssize_t n = recv(fd, heard + nheard, sizeof(heard) - 1 - nheard, MSG_DONTWAIT);
        const char *p = heard;
        int count = 0;

        heard_error = n == 0 ? 0 : n < 0 && errno != EAGAIN ? errno : -1;
        nheard += n > 0 ? (size_t)n : 0;
        heard[nheard] = '\0';
        while (what && (p = strstr(p, what)))
            count++, p++;
        if (what && count >= times)
            return true;
        if (heard_error >= 0)
            return false;
        if (n < 0)
            run_for_ms(1);
    }
    fail_msg("not heard: %s; but: %.200s", what ? what : "the end", heard);
    return false;
}

static bool answered(int fd, const char *request, const char *expected)
{
    say(fd, request);
    return hear(fd, expected, 1);
}

#define GET(target) "GET " target " HTTP/1.1\r\nHost: x\r\n\r\n"
#define POST(target, n, body)                                                                      \
    "POST " target " HTTP/1.1\r\nHost: x\r\nPay-Key: k1\r\nContent-Length: " n "\r\n\r\n" body

/* ---- tests ---- */

static void test_request_and_answer(void **state)
{
    struct stat st;
    int fd;

    (void)state;
    start(NULL, 0);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0660);
    fd = dial();
    assert_true(answered(fd, POST("/v1/a%20b//c/../d?x=%7e&y=+", "5", "hello"), "\r\n\r\nhello"));
    assert_string_equal(seen, "POST /v1/a%20b//c/../d?x=%7e&y=+ key=k1 body=hello");
    assert_int_equal(strncmp(heard, "HTTP/1.1 200 OK\r\n", 17), 0);
    assert_non_null(strstr(heard, "Content-Length: 5\r\n"));
    assert_non_null(strstr(heard, "Content-Type: text/plain\r\n"));
    assert_null(strstr(heard, "Date:"));
    assert_true(answered(fd, GET("/2"), "hello"));
    assert_string_equal(seen, "GET /2 key= body=");
    assert_true(answered(fd, GET("/204"), "\r\n\r\n"));
    assert_non_null(strstr(heard, "HTTP/1.1 204"));
    assert_true(answered(fd, "HEAD /h HTTP/1.1\r\nHost: x\r\n\r\n", "\r\n\r\n"));
    assert_non_null(strstr(heard, "Content-Length: 5\r\n"));
    run_for_ms(5);
    assert_int_equal(recv(fd, heard, 1, MSG_DONTWAIT), -1);
    assert_int_equal(http_in_active(server), 0);
    close(fd);
    stop();
}

static void test_headers(void **state)
{
    struct http_header h[10];
    size_t n;
    int fd;

    (void)state;
    start(NULL, 0);
    fd = dial();
    say(fd, "GET /hold HTTP/1.1\r\nHost: x\r\nA: 1\r\nB:\r\na: 2\r\n\r\n");
    run_for_ms(10);
    assert_int_equal(nheld, 1);
    n = http_req_headers(held[0], h, 10);
    assert_int_equal(n, 4);
    assert_true(slice_is(http_find(h, n, "A", &n), "1"));
    assert_int_equal(n, 2);
    assert_int_equal(http_req_headers(held[0], h, 2), 2);
    assert_null(http_req_header(held[0], "C").p);
    assert_int_equal(http_req_header(held[0], "B").n, 0);
    reply_text(held[0], "late");
    assert_true(hear(fd, "late", 1));
    close(fd);
    stop();
}

static void test_bytewise(void **state)
{
    const char *text = POST("/b", "3", "abc");
    int fd;

    (void)state;
    start(NULL, 0);
    fd = dial();
    for (size_t i = 0; i < strlen(text); i++) {
        assert_int_equal(handled, 0);
        assert_int_equal(send(fd, text + i, 1, MSG_NOSIGNAL), 1);
        run_for_ms(1);
    }
    assert_true(hear(fd, "hello", 1));
    assert_string_equal(seen, "POST /b key=k1 body=abc");
    close(fd);
    stop();
}

static void test_delayed(void **state)
{
    int fd;

    (void)state;
    start(NULL, 0);
    fd = dial();
    for (int i = 0; i < 3; i++) {
        nheld = 0;
        say(fd, POST("/hold", "3", "abc"));
        run_for_ms(20);
        assert_int_equal(nheld, 1);
        assert_int_equal(http_in_active(server), 1);
        assert_true(slice_is(held[0]->body, "abc"));
        assert_true(slice_is(held[0]->target, "/hold"));
        reply_text(held[0], "later");
        assert_true(hear(fd, "later", 1));
    }
    close(fd);
    stop();
}

/* Answers come in the order of the requests, whenever each is given. */
static void test_pipelined(void **state)
{
    int fd;

    (void)state;
    start(NULL, 0);
    fd = dial();
    say(fd, GET("/hold/1") POST("/now", "2", "xy") GET("/hold/3") GET("/4"));
    run_for_ms(10);
    assert_int_equal(nheld, 1);
    reply_text(held[0], "first");
    run_for_ms(10);
    assert_int_equal(nheld, 2);
    reply_text(held[1], "third");
    assert_true(hear(fd, "hello", 2));
    assert_true(strstr(heard, "first") < strstr(heard, "hello"));
    assert_true(strstr(heard, "hello") < strstr(heard, "third"));
    assert_int_equal(handled, 4);
    close(fd);
    stop();
}

static void test_client_gone(void **state)
{
    int fd;

    (void)state;
    start(NULL, 0);
    for (int i = 0; i < 20; i++) {
        fd = dial();
        say(fd, POST("/hold", "3", "abc"));
        run_for_ms(2);
        close(fd);
    }
    run_for_ms(10);
    assert_int_equal(nheld, 20);
    assert_int_equal(http_in_active(server), 20);
    for (int i = 0; i < 20; i++) {
        assert_true(slice_is(held[i]->body, "abc")); /* still ours */
        if (i % 2)
            reply_text(held[i], "to nobody");
        else
            http_req_abort(held[i]);
    }
    run_for_ms(20);
    assert_int_equal(http_in_active(server), 0);
    fd = dial(); /* gone with half a request */
    say(fd, "POST /x HTTP/1.1\r\nContent-Length: 100\r\n\r\nabc");
    run_for_ms(5);
    close(fd);
    run_for_ms(5);
    assert_int_equal(handled, 20);
    stop();
}

static void test_body_limit(void **state)
{
    static char body[1200];
    char text[2000];
    int fd;

    (void)state;
    memset(body, 'b', sizeof(body) - 1);
    start(NULL, 0);
    fd = dial();
    snprintf(text, sizeof(text), POST("/x", "1000", "%.1000s"), body);
    assert_true(answered(fd, text, "hello"));
    snprintf(text, sizeof(text), POST("/x", "1001", "%.1001s"), body);
    assert_true(answered(fd, text, "BODY_TOO_LARGE"));
    assert_non_null(strstr(heard, "HTTP/1.1 413"));
    assert_non_null(strstr(heard, "application/problem+json"));
    /* it was read to its end, so the connection goes on */
    snprintf(text, sizeof(text),
             "POST /x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
             "3e8\r\n%.1000s\r\n1\r\nx\r\n0\r\n\r\n",
             body);
    assert_true(answered(fd, text, "BODY_TOO_LARGE"));
    assert_true(answered(fd,
                         "POST /c HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
                         "3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n",
                         "hello"));
    assert_string_equal(seen, "POST /c key= body=abcde");
    assert_int_equal(handled, 2);
    /* this one is not worth reading */
    assert_true(answered(fd, POST("/x", "999999999999", "b"), "BODY_TOO_LARGE"));
    assert_false(hear(fd, NULL, 1));
    close(fd);
    stop();
}

static void test_overload(void **state)
{
    int fd[3];

    (void)state;
    start(NULL, 2);
    for (int i = 0; i < 3; i++) {
        fd[i] = dial();
        say(fd[i], GET("/hold"));
        run_for_ms(5);
    }
    assert_int_equal(nheld, 2);
    assert_true(hear(fd[2], "OVERLOADED", 1));
    assert_non_null(strstr(heard, "HTTP/1.1 503"));
    assert_non_null(strstr(heard, "Retry-After: 1\r\n"));
    assert_int_equal(handled, 2);
    reply_text(held[0], "one");
    assert_true(hear(fd[0], "one", 1));
    assert_true(answered(fd[2], GET("/x"), "hello"));
    reply_text(held[1], "two");
    assert_true(hear(fd[1], "two", 1));
    for (int i = 0; i < 3; i++)
        close(fd[i]);
    stop();
}

static void abort_both_ways(int expected_error)
{
    int fd = dial();

    assert_false(answered(fd, GET("/abort"), "HTTP"));
    assert_int_equal(heard_error, expected_error);
    assert_int_equal(nheard, 0);
    close(fd);
    fd = dial();
    nheld = 0;
    say(fd, POST("/hold", "3", "abc"));
    run_for_ms(10);
    http_req_abort(held[0]);
    assert_false(hear(fd, "HTTP", 1));
    assert_int_equal(heard_error, expected_error);
    assert_int_equal(nheard, 0);
    close(fd);
    run_for_ms(5);
    assert_int_equal(http_in_active(server), 0);
}

static void test_abort(void **state)
{
    (void)state;
    start(NULL, 0);
    abort_both_ways(0);
    stop();
    start("127.0.0.1:0", 0);
    abort_both_ways(ECONNRESET);
    http_in_free(server);
}

static void test_large_answer(void **state)
{
    int fd;

    (void)state;
    start(NULL, 0);
    fd = dial();
    say(fd, GET("/large"));
    run_for_ms(20); /* the client is slow */
    assert_true(hear(fd, "LE", 1));
    assert_true(nheard > 1000000);
    assert_true(answered(fd, GET("/x"), "hello"));
    close(fd);
    stop();
}

/* Head of a signed request and of a signed answer as large as they get. */
static void test_large_heads(void **state)
{
    char value[3000], text[6000];
    struct http_header h[4];
    int fd;

    (void)state;
    memset(value, 'v', sizeof(value));
    start(NULL, 0);
    fd = dial();
    snprintf(text, sizeof(text),
             "POST /hold HTTP/1.1\r\nHost: x\r\nA: %.1000s\r\nB: %.1000s\r\n"
             "Content-Length: 900\r\n\r\n%.900s",
             value, value, value);
    say(fd, text);
    run_for_ms(5);
    assert_int_equal(nheld, 1);
    for (int i = 0; i < 4; i++)
        h[i] = (struct http_header){SLICE("Signature"), {value, 400}};
    http_req_reply(held[0], 200, h, 4, SLICE("large head"));
    assert_true(hear(fd, "large head", 1));
    assert_true(nheard > 1600);
    /* a head that would leave no room for the answer's is refused before anything is done */
    snprintf(text, sizeof(text), "GET /x HTTP/1.1\r\nA: %.2000s\r\nB: %.2200s\r\n\r\n", value,
             value);
    say(fd, text);
    assert_true(hear(fd, "HTTP/1.1 431", 1));
    close(fd);
    fd = dial();
    for (int i = 0; i < 3; i++) /* and one that the library itself cannot hold */
        send(fd, value, sizeof(value), MSG_NOSIGNAL);
    hear(fd, NULL, 1);
    close(fd);
    assert_int_equal(handled, 1);
    stop();
}

static void test_malformed(void **state)
{
    static const char *const texts[] = {
        "\x16\x03\x01\x02\x01garbage\r\n\r\n",
        "GET\r\n\r\n",
        "GET / HTTP/9.9\r\n\r\n",
        "GET / HTTP/1.1\r\nContent-Length: x\r\n\r\n",
        "GET / HTTP/1.1\r\nNo colon\r\n\r\n",
    };

    (void)state;
    start(NULL, 0);
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        int fd = dial();

        say(fd, texts[i]);
        shutdown(fd, SHUT_WR);
        hear(fd, NULL, 1); /* answered with a refusal or just closed */
        close(fd);
    }
    assert_int_equal(handled, 0);
    stop();
}

static void test_many_connections(void **state)
{
    static int fd[2000];

    (void)state;
    start(NULL, 0);
    for (int i = 0; i < 2000; i++) {
        fd[i] = dial();
        say(fd[i], POST("/hold", "3", "abc"));
    }
    while (nheld < 2000)
        run_for_ms(5);
    assert_int_equal(http_in_active(server), 2000);
    for (int i = 0; i < 2000; i++)
        reply_text(held[i], "answer");
    for (int i = 0; i < 2000; i++) {
        assert_true(hear(fd[i], "answer", 1));
        close(fd[i]);
    }
    run_for_ms(20);
    assert_int_equal(http_in_active(server), 0);
    stop();
}

static void test_stop(void **state)
{
    struct http_in *next;
    int fd, idle;

    (void)state;
    start(NULL, 0);
    fd = dial();
    idle = dial();
    assert_true(answered(idle, GET("/x"), "hello"));
    say(fd, GET("/hold"));
    run_for_ms(5);
    http_in_stop(server);
    assert_int_equal(try_dial(), -1);
    next = new_server(NULL, 0); /* the successor has the same path */
    reply_text(held[0], "last");
    assert_true(hear(fd, "last", 1));
    assert_non_null(strstr(heard, "Connection: close\r\n"));
    assert_true(answered(idle, GET("/y"), "hello")); /* came over a kept connection */
    assert_non_null(strstr(heard, "Connection: close\r\n"));
    http_in_free(server);
    server = next;
    close(fd);
    close(idle);
    fd = dial();
    assert_true(answered(fd, GET("/z"), "hello"));
    close(fd);
    stop();
}

/* A successor takes the path over while connections come: the old one serves all that are its own,
 * and is done when the peers have closed them. */
static void test_successor(void **state)
{
    struct http_in *next;
    int idle, late;

    (void)state;
    start(NULL, 0);
    idle = dial();
    assert_true(answered(idle, GET("/x"), "hello"));
    late = dial(); /* not accepted yet */
    next = new_server(NULL, 0);
    assert_int_equal(access(path, F_OK), 0);
    http_in_stop(server);
    assert_int_equal(access(path, F_OK), 0);
    assert_int_equal(http_in_active(server), 0);
    assert_int_equal(http_in_held(server), 2);
    assert_true(answered(late, GET("/y"), "hello"));
    assert_non_null(strstr(heard, "Connection: close\r\n"));
    close(late);
    run_for_ms(5);
    assert_int_equal(http_in_held(server), 1);
    close(idle);
    run_for_ms(5);
    assert_int_equal(http_in_held(server), 0);
    http_in_free(server);
    server = next;
    idle = dial();
    assert_true(answered(idle, GET("/z"), "hello"));
    close(idle);
    stop();
}

/* The handler may answer after the server is gone; then nobody hears it. */
static void test_free_before_answer(void **state)
{
    int fd[3];

    (void)state;
    start(NULL, 0);
    for (int i = 0; i < 3; i++) {
        fd[i] = dial();
        say(fd[i], POST("/hold", "3", "abc"));
        run_for_ms(5);
    }
    assert_int_equal(nheld, 3);
    reply_text(held[2], "in the same turn");
    http_in_free(server);
    assert_true(slice_is(held[0]->body, "abc"));
    assert_true(slice_is(held[0]->method, "POST"));
    assert_null(http_req_header(held[0], "Host").p);
    reply_text(held[0], "late");
    http_req_abort(held[1]);
    assert_false(hear(fd[0], "late", 1));
    for (int i = 0; i < 3; i++)
        close(fd[i]);
}

/* A loop that spins over silent connections would cost a core: CPU time is looked at. */
static void test_idle_costs_nothing(void **state)
{
    int fd, quiet;
    clock_t began;

    (void)state;
    start(NULL, 0);
    fd = dial();
    quiet = dial();
    say(fd, GET("/hold"));
    run_for_ms(10);
    began = clock();
    run_for_ms(200);
    assert_true(clock() - began < CLOCKS_PER_SEC / 20);
    reply_text(held[0], "x");
    run_for_ms(10);
    began = clock();
    run_for_ms(200);
    assert_true(clock() - began < CLOCKS_PER_SEC / 20);
    close(fd);
    close(quiet);
    stop();
}

static void test_cannot_listen(void **state)
{
    struct http_in_conf conf = {.unix_path = "/nowhere/in.sock", .handler = on_request};
    char err[256] = "";

    (void)state;
    assert_null(http_in_new(loop, &conf, err, sizeof(err)));
    assert_non_null(strstr(err, "/nowhere/in.sock"));
    conf = (struct http_in_conf){.listen = "localhost", .handler = on_request};
    assert_null(http_in_new(loop, &conf, err, sizeof(err)));
    conf = (struct http_in_conf){
        .listen = "127.0.0.1:0", .tls_cert = "/no/cert", .tls_key = "/no/key"};
    assert_null(http_in_new(loop, &conf, err, sizeof(err)));
    assert_non_null(strstr(err, "/no/cert"));
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup_loop, teardown_loop)
    const struct CMUnitTest tests[] = {
        T(test_request_and_answer),
        T(test_headers),
        T(test_bytewise),
        T(test_delayed),
        T(test_pipelined),
        T(test_client_gone),
        T(test_body_limit),
        T(test_overload),
        T(test_abort),
        T(test_large_answer),
        T(test_large_heads),
        T(test_malformed),
        T(test_many_connections),
        T(test_stop),
        T(test_successor),
        T(test_free_before_answer),
        T(test_idle_costs_nothing),
        T(test_cannot_listen),
    };

    log_open("/dev/null", "test", LOG_ERROR);
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, setup_folder, teardown_folder);
}
