/* backends/io/http_out against http_in on 127.0.0.1, both in one loop. */
#include "io_test.h"

#include "backends/io/http_in.h"
#include "backends/io/http_out.h"
#include <string.h>

static struct http_in *server;
static struct http_out *out;
static struct addr_rule rules[2];
static int seen; /* requests that reached the server */
static struct http_req *slow;
static char seen_body[64];
static char seen_type[64];
static char seen_agent[64];

static void copy_text(char *to, size_t n, struct slice s)
{
    snprintf(to, n, "%.*s", SLICE_FMT(s));
}

static void on_late(void *arg)
{
    http_req_reply(arg, 200, NULL, 0, SLICE("late"));
}

/* The target says how the server behaves. */
static void on_request(void *arg, struct http_req *req)
{
    struct http_header h[] = {{SLICE("Retry-After"), SLICE("17")}};
    struct http_header date[] = {{SLICE("Retry-After"), SLICE("Fri, 01 Jan 2100 00:00:00 GMT")}};
    struct http_header move[] = {{SLICE("Location"), SLICE("/moved")}};
    static char large[10000];

    (void)arg;
    seen++;
    copy_text(seen_body, sizeof(seen_body), req->body);
    copy_text(seen_type, sizeof(seen_type), http_req_header(req, "Content-Type"));
    copy_text(seen_agent, sizeof(seen_agent), http_req_header(req, "User-Agent"));
    memset(large, 'x', sizeof(large));
    if (slice_is(req->target, "/redirect"))
        http_req_reply(req, 302, move, 1, SLICE_NULL);
    else if (slice_is(req->target, "/large"))
        http_req_reply(req, 200, NULL, 0, slice_n(large, sizeof(large)));
    else if (slice_is(req->target, "/busy"))
        http_req_reply(req, 503, h, 1, SLICE("no"));
    else if (slice_is(req->target, "/busy-date"))
        http_req_reply(req, 503, date, 1, SLICE("no"));
    else if (slice_is(req->target, "/cut"))
        http_req_abort(req);
    else if (slice_is(req->target, "/slow"))
        slow = req; /* not answered in time */
    else if (slice_is(req->target, "/defer"))
        loop_defer(loop, on_late, req);
    else
        http_req_reply(req, 200, NULL, 0, SLICE("SUCCESS"));
}

static const char *denied; /* a rule, for the next start() */

static void start(const char *allow, const char *ca)
{
    struct http_in_conf in = {
        .listen = "127.0.0.1:0", .handler = on_request, .tls_cert = ca, .tls_key = ca};
    struct http_out_conf conf = {.user_agent = "ngx_pay-test", .ca_file = ca, .max_active = 300};
    char err[256];

    seen = 0;
    server = http_in_new(loop, &in, err, sizeof(err));
    assert_non_null(server);
    if (allow) {
        assert_int_equal(addr_rule_parse(slice_of(allow), &rules[0]), 0);
        conf.allow = rules;
        conf.nallow = 1;
    }
    if (denied) {
        assert_int_equal(addr_rule_parse(slice_of(denied), &rules[1]), 0);
        conf.deny = &rules[1];
        conf.ndeny = 1;
    }
    denied = NULL;
    out = http_out_new(loop, &conf);
    assert_non_null(out);
}

static void stop(void)
{
    http_out_free(out);
    http_in_free(server);
}

struct got {
    int calls;
    enum http_out_error error;
    int status;
    char body[64];
    int64_t retry_after_s;
    int64_t took_us;
    bool stop;
};

static void on_result(void *arg, const struct http_out_result *r)
{
    struct got *g = arg;

    g->calls++;
    g->error = r->error;
    g->status = r->status;
    g->retry_after_s = r->retry_after_s;
    g->took_us = r->took_us;
    copy_text(g->body, sizeof(g->body), r->body);
    assert_true((r->error == HTTP_OUT_OK) == (r->reason == NULL));
    if (g->stop)
        loop_stop(loop);
}

/* $ in base stands for the server's port and the path. */
static void make_url(char *url, size_t n, const char *base, const char *path)
{
    const char *at = strchr(base, '$');

    assert_non_null(at);
    snprintf(url, n, "%.*s%u%s%s", (int)(at - base), base, http_in_port(server), path, at + 1);
}

static enum http_out_error post_ms(const char *base, const char *path, int64_t ms, struct got *g)
{
    struct http_header h[] = {{SLICE("Content-Type"), SLICE("application/json")}};
    char url[256];

    make_url(url, sizeof(url), base, path);
    *g = (struct got){.stop = true};
    http_out_post(out, slice_of(url), h, 1, SLICE("{\"a\":1}"), ms * USEC_PER_MSEC, on_result, g);
    assert_int_equal(g->calls, 0);
    run_loop(20);
    assert_int_equal(g->calls, 1);
    return g->error;
}

#define LOCAL "http://127.0.0.1:$"

static enum http_out_error post(const char *path, struct got *g)
{
    return post_ms(LOCAL, path, 5000, g);
}

static void test_answered(void **state)
{
    struct got g;

    (void)state;
    start("127.0.0.1", NULL);
    for (int i = 0; i < 3; i++) { /* the second and third over the kept connection */
        assert_int_equal(post("/ok", &g), HTTP_OUT_OK);
        assert_int_equal(g.status, 200);
        assert_string_equal(g.body, "SUCCESS");
        assert_int_equal(g.retry_after_s, -1);
        assert_true(g.took_us > 0);
    }
    assert_int_equal(seen, 3);
    assert_string_equal(seen_body, "{\"a\":1}");
    assert_string_equal(seen_type, "application/json");
    assert_string_equal(seen_agent, "ngx_pay-test");
    assert_int_equal(post("/defer", &g), HTTP_OUT_OK);
    assert_string_equal(g.body, "late");
    stop();
}

static void test_addresses_refused(void **state)
{
    static const char *const urls[] = {
        "http://127.0.0.1:$",
        "http://localhost:$",
        "http://[::ffff:127.0.0.1]:$",
        "http://[::1]:$",
        "http://10.0.0.1:$",
        "http://169.254.169.254:$",
        "http://[64:ff9b::7f00:1]:$",
        "http://0.0.0.0:$",
        "http://192.168.1.1:$",
        "http://2130706433:$",
        "http://0x7f.1:$",
        "ftp://127.0.0.1:$",
        "file:///etc/passwd?$",
        "http://u@127.0.0.1:$",
        "gopher://127.0.0.1:$",
    };
    struct got g;

    (void)state;
    start(NULL, NULL);
    for (size_t i = 0; i < sizeof(urls) / sizeof(urls[0]); i++) {
        enum http_out_error e = post_ms(urls[i], "/ok", 5000, &g);

        if (e != HTTP_OUT_REFUSED)
            fail_msg("%s: %s", urls[i], http_out_error_name(e));
    }
    assert_int_equal(seen, 0);
    stop();
}

/* A rule for one port does not open the others. */
static void test_rule_with_port(void **state)
{
    struct got g;

    (void)state;
    start("127.0.0.1:1", NULL);
    assert_int_equal(post("/ok", &g), HTTP_OUT_REFUSED);
    assert_int_equal(seen, 0);
    stop();
}

/* What is denied is denied although it is allowed too; another port is another matter. */
static void test_denied(void **state)
{
    static const char *const all[] = {"127.0.0.1", "::/0", "127.0.0.0/8"};
    struct got g;

    (void)state;
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        denied = all[i];
        start("127.0.0.1", NULL);
        assert_int_equal(post("/ok", &g), HTTP_OUT_REFUSED);
        assert_int_equal(seen, 0);
        stop();
    }
    denied = "::/0:25";
    start("127.0.0.1", NULL);
    assert_int_equal(post("/ok", &g), HTTP_OUT_OK);
    assert_int_equal(post_ms("http://127.0.0.1:25/$", "", 5000, &g), HTTP_OUT_REFUSED);
    stop();
}

static void test_redirect_is_not_followed(void **state)
{
    struct got g;

    (void)state;
    start("127.0.0.1", NULL);
    assert_int_equal(post("/redirect", &g), HTTP_OUT_OK);
    assert_int_equal(g.status, 302);
    assert_int_equal(seen, 1);
    stop();
}

static void test_retry_after(void **state)
{
    struct got g;

    (void)state;
    start("127.0.0.1", NULL);
    assert_int_equal(post("/busy", &g), HTTP_OUT_OK);
    assert_int_equal(g.status, 503);
    assert_int_equal(g.retry_after_s, 17);
    assert_int_equal(post("/busy-date", &g), HTTP_OUT_OK);
    assert_true(g.retry_after_s > 86400);
    stop();
}

static void test_failures(void **state)
{
    struct got g;

    (void)state;
    start("127.0.0.1", NULL);
    assert_int_equal(post("/large", &g), HTTP_OUT_BROKEN);
    assert_int_equal(post("/cut", &g), HTTP_OUT_BROKEN);
    assert_int_equal(post_ms("http://127.0.0.1:1/$", "", 1000, &g), HTTP_OUT_CONNECT);
    assert_int_equal(post_ms("http://no-such-name.invalid:$", "/", 9000, &g), HTTP_OUT_CONNECT);
    assert_int_equal(post_ms(LOCAL, "/slow", 200, &g), HTTP_OUT_TIMEOUT);
    assert_in_range(g.took_us, 190000, 1500000);
    http_req_abort(slow);
    assert_int_equal(post("/ok", &g), HTTP_OUT_OK);
    stop();
}

static void test_environment_is_ignored(void **state)
{
    struct got g;

    (void)state;
    setenv("http_proxy", "http://127.0.0.1:1", 1);
    setenv("ALL_PROXY", "http://127.0.0.1:1", 1);
    start("127.0.0.1", NULL);
    assert_int_equal(post("/ok", &g), HTTP_OUT_OK);
    stop();
    unsetenv("http_proxy");
    unsetenv("ALL_PROXY");
}

static void test_malformed_header(void **state)
{
    struct http_header h[] = {{SLICE("X"), SLICE("a\r\nEvil: 1")}};
    struct got g = {.stop = true};
    char url[64];

    (void)state;
    start("127.0.0.1", NULL);
    make_url(url, sizeof(url), LOCAL, "/ok");
    http_out_post(out, slice_of(url), h, 1, SLICE_NULL, USEC_PER_SEC, on_result, &g);
    run_loop(5);
    assert_int_equal(g.error, HTTP_OUT_REFUSED);
    assert_int_equal(seen, 0);
    stop();
}

static void test_tls(void **state)
{
    char pem[128], cmd[1024];
    struct got g;

    (void)state;
    snprintf(pem, sizeof(pem), "%s/cert.pem", folder);
    snprintf(cmd, sizeof(cmd),
             "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2"
             " -subj /CN=pay -addext subjectAltName=IP:127.0.0.1 -keyout %s -out %s.crt 2>/dev/null"
             " && cat %s.crt >> %s && rm %s.crt",
             pem, pem, pem, pem, pem);
    assert_int_equal(system(cmd), 0);
    start("127.0.0.1", pem);
    assert_int_equal(post_ms("https://127.0.0.1:$", "/ok", 5000, &g), HTTP_OUT_OK);
    assert_string_equal(g.body, "SUCCESS");
    /* the name in the certificate is another one */
    assert_int_equal(post_ms("https://localhost:$", "/ok", 5000, &g), HTTP_OUT_CONNECT);
    http_out_free(out);
    out = http_out_new(loop, &(struct http_out_conf){.allow = rules, .nallow = 1});
    /* the system does not know this authority */
    assert_int_equal(post_ms("https://127.0.0.1:$", "/ok", 5000, &g), HTTP_OUT_CONNECT);
    assert_int_equal(seen, 1);
    stop();
    unlink(pem);
}

static int many_done, many_busy, many_ok;

static void on_many(void *arg, const struct http_out_result *r)
{
    int *left = arg;

    many_done++;
    many_busy += r->error == HTTP_OUT_BUSY;
    many_ok += r->error == HTTP_OUT_OK && r->status == 200;
    if (--*left == 0)
        loop_stop(loop);
}

static void test_many_at_once(void **state)
{
    char url[64];
    int left = 400;

    (void)state;
    many_done = many_busy = many_ok = 0;
    start("127.0.0.0/8", NULL);
    make_url(url, sizeof(url), LOCAL, "/defer");
    for (int i = 0; i < 400; i++)
        http_out_post(out, slice_of(url), NULL, 0, SLICE("x"), 10 * USEC_PER_SEC, on_many, &left);
    run_loop(20);
    assert_int_equal(many_done, 400);
    assert_int_equal(many_busy, 100);
    assert_int_equal(many_ok, 300);
    stop();
}

/* Every callback comes, also when the client ends with calls under way. */
static void test_free_tells_all(void **state)
{
    struct got a = {0}, b = {0};
    char url[64];

    (void)state;
    start("127.0.0.1", NULL);
    make_url(url, sizeof(url), LOCAL, "/defer");
    http_out_post(out, slice_of(url), NULL, 0, SLICE("x"), USEC_PER_SEC, on_result, &a);
    http_out_post(out, SLICE("nothing"), NULL, 0, SLICE("x"), USEC_PER_SEC, on_result, &b);
    http_out_free(out);
    assert_int_equal(a.calls, 1);
    assert_int_equal(a.error, HTTP_OUT_BROKEN);
    assert_int_equal(b.calls, 1);
    assert_int_equal(b.error, HTTP_OUT_REFUSED);
    http_in_free(server);
}

static void on_result_free(void *arg, const struct http_out_result *r)
{
    (void)r;
    ++*(int *)arg;
    http_out_free(out);
    loop_stop(loop);
}

static void test_free_in_callback(void **state)
{
    char url[64];
    int calls = 0;

    (void)state;
    start("127.0.0.1", NULL);
    make_url(url, sizeof(url), LOCAL, "/ok");
    for (int i = 0; i < 5; i++)
        http_out_post(out, slice_of(url), NULL, 0, SLICE("x"), USEC_PER_SEC, on_result_free,
                      &calls);
    run_loop(5);
    assert_int_equal(calls, 5);
    http_in_free(server);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup_loop, teardown_loop)
    const struct CMUnitTest tests[] = {
        T(test_answered),
        T(test_addresses_refused),
        T(test_rule_with_port),
        T(test_denied),
        T(test_redirect_is_not_followed),
        T(test_retry_after),
        T(test_failures),
        T(test_environment_is_ignored),
        T(test_malformed_header),
        T(test_tls),
        T(test_many_at_once),
        T(test_free_tells_all),
        T(test_free_in_callback),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, setup_folder, teardown_folder);
}
