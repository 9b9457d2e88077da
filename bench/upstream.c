/*
 * upstream - the stand-in worker of bench-edge and bench-memory: one fixed answer of about 300
 * bytes, at once or after --delay. GET /count tells how many POSTs it answered.
 *
 * --merchant KEYFILE: the merchant of bench-lifecycle instead. Callbacks whose HMAC signature
 * verifies are agreed to and counted; others get 401.
 */
#include "backends/io/http_in.h"
#include "backends/io/loop.h"
#include "core/buf.h"
#include "core/scheme.h"

#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

static struct loop *loop;
static int64_t delay_us;
static long answered;
static struct verify_key merchant_key;

static const char answer[] =
    "{\"id\":\"P202611220000000000000000001\",\"out_trade_no\":\"BENCH0000000001\",\"state\":"
    "\"pending\","
    "\"method\":\"native\",\"channel\":\"bank\",\"amount\":{\"total\":100,\"currency\":\"CNY\"},"
    "\"description\":\"Benchmark "
    "order\",\"code_url\":\"bank://pay?o=0000000000000001\",\"created_at\":"
    "\"2026-11-22T12:00:00+08:00\",\"refunded\":{\"total\":0}}";

struct waiting {
    struct http_req *req;
    struct loop_timer *timer;
};

static void reply(struct http_req *req)
{
    const struct http_header type = {SLICE("Content-Type"), SLICE("application/json")};

    answered++;
    http_req_reply(req, 201, &type, 1, slice_n(answer, sizeof(answer) - 1));
}

static void agree(struct http_req *req)
{
    const struct http_header type = {SLICE("Content-Type"), SLICE("application/json")};
    struct slice parts[SCHEME_PARTS];
    size_t n = scheme_answer_parts(http_req_header(req, "Pay-Timestamp"),
                                   http_req_header(req, "Pay-Nonce"), req->body, parts);

    if (scheme_verify(&merchant_key, parts, n, http_req_header(req, "Pay-Signature")) != 0) {
        http_req_reply(req, 401, NULL, 0, SLICE_NULL);
        return;
    }
    answered++;
    http_req_reply(req, 200, &type, 1, SLICE("{\"code\":\"SUCCESS\"}"));
}

static void load_key(const char *path)
{
    char text[256];
    FILE *f = fopen(path, "r");
    size_t n = f ? fread(text, 1, sizeof(text), f) : 0;

    if (f)
        fclose(f);
    while (n && text[n - 1] == '\n')
        n--;
    if (verify_key_load(&merchant_key, KEY_HMAC_SHA256, slice_n(text, n)) != 0) {
        fprintf(stderr, "upstream: %s: no key\n", path);
        exit(2);
    }
}

static void on_timer(void *arg)
{
    struct waiting *w = arg;

    reply(w->req);
    loop_timer_free(w->timer);
    free(w);
}

static void on_request(void *arg, struct http_req *req)
{
    struct waiting *w;
    char text[32];

    (void)arg;
    if (slice_is(req->target, "/count")) {
        int n = snprintf(text, sizeof(text), "%ld", answered);
        http_req_reply(req, 200, NULL, 0, slice_n(text, (size_t)n));
    } else if (merchant_key.alg != KEY_ALG_NONE) {
        agree(req);
    } else if (delay_us == 0) {
        reply(req);
    } else if ((w = calloc(1, sizeof(*w)))) {
        w->req = req;
        w->timer = loop_timer_new(loop, on_timer, w);
        loop_timer_set(w->timer, delay_us);
    }
}

static void on_term(void *arg)
{
    (void)arg;
    loop_stop(loop);
}

int main(int argc, char **argv)
{
    static const struct option longs[] = {{"unix", 1, NULL, 'u'},
                                          {"delay", 1, NULL, 'd'},
                                          {"listen", 1, NULL, 'l'},
                                          {"merchant", 1, NULL, 'm'},
                                          {0}};
    struct http_in_conf conf = {.max_requests = 20000, .handler = on_request};
    struct rlimit files;
    struct http_in *h;
    char err[256] = "";
    int64_t ms;
    int c;

    while ((c = getopt_long(argc, argv, "", longs, NULL)) != -1) {
        if (c == 'u')
            conf.unix_path = optarg;
        else if (c == 'l')
            conf.listen = optarg;
        else if (c == 'm')
            load_key(optarg);
        else if (c == 'd' && slice_int64(slice_of(optarg), &ms) == 0)
            delay_us = ms * 1000;
        else
            return 2;
    }
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
    signal(SIGPIPE, SIG_IGN);
    loop = loop_new();
    loop_signal(loop, SIGTERM, on_term, NULL);
    h = http_in_new(loop, &conf, err, sizeof(err));
    if (!h) {
        fprintf(stderr, "upstream: %s\n", err);
        return 1;
    }
    loop_run(loop);
    http_in_free(h);
    loop_free(loop);
    return 0;
}
