/*
 * load - a closed-loop load generator for the merchant API: keepalive connections, each request
 * signed with its own nonce and out_trade_no, each answer's status and signature checked.
 *
 * Only answers that are 2xx and whose signature verifies are counted. The result is one JSON line
 * on stdout: sent, good, bad by reason, seconds, latency percentiles. The generator's own CPU is
 * not part of what the benchmarks measure.
 */
#define _GNU_SOURCE
#include "core/clock.h"
#include "core/crypto.h"
#include "core/json.h"
#include "core/net.h"
#include "core/scheme.h"
#include "load_pay.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define BUFFER   16384
#define BODY_MAX 2048

struct conf {
    struct url url;
    const char *ca, *mchid, *serial, *key_file, *rsa_key_file, *platform_cert, *prefix, *notify_url;
    const char *bank; /* what was created is paid there */
    long connections, requests, hold_s;
    long rate; /* requests a second at most, 0: as many as are answered */
    bool bare; /* same request, but the answer carries no signature */
    bool once; /* one request per connection; all stay open until stdin ends */
};

struct conn {
    int fd;
    SSL *ssl;
    bool connecting, handshaking, busy, used, last; /* last: nginx said that it closes */
    char out[BUFFER];
    size_t out_n, out_at;
    char in[BUFFER];
    size_t in_n;
    int64_t started_us;
};

static struct conf conf;
static struct verify_key sign_key, answer_key;
static enum scheme scheme;
static SSL_CTX *tls;
static int epfd;
static long issued, finished, good, bad_status, bad_signature, broken;
static uint32_t *latencies_us;
static int64_t first_us, last_us;
static int status_seen[600];

static void report(void);

static int64_t now_us(void)
{
    return clock_read_mono_us();
}

static void die(const char *what)
{
    fprintf(stderr, "load: %s: %s\n", what, strerror(errno));
    exit(1);
}

/* ---- requests ---- */

static size_t make_body(char *body, long n)
{
    /* about 500 bytes, as a real order has */
    return (size_t)snprintf(
        body, BODY_MAX,
        "{\"method\":\"native\",\"out_trade_no\":\"%s%010ld\",\"mchid\":\"%s\",\"amount\":{"
        "\"total\":%ld,"
        "\"currency\":\"CNY\"},\"description\":\"Benchmark order, two lines of text as a shop "
        "would "
        "write them, size M, colour blue\",\"notify_url\":\"%s\",\"scene\":\"store\",\"product\":"
        "\"retail\",\"store_id\":\"store-0001\",\"attach\":\"a note that comes back in the "
        "callback, "
        "long enough to be like the ones that merchants use, with ids 0123456789\"}",
        conf.prefix, n, conf.mchid, 100 + n % 900, conf.notify_url);
}

static void sign(const char *body, size_t body_n, struct buf *authorization)
{
    char nonce[33] = "", timestamp[24];
    struct slice parts[SCHEME_PARTS];
    size_t n;

    random_token(nonce, 32);
    snprintf(timestamp, sizeof(timestamp), "%lld", (long long)(clock_read_wall() / USEC_PER_SEC));
    buf_clear(authorization);
    buf_addf(authorization,
             "%s mchid=\"%s\",nonce_str=\"%s\",timestamp=\"%s\",serial_no=\"%s\",signature=\"",
             scheme_name(scheme), conf.mchid, nonce, timestamp, conf.serial);
    n = scheme_request_parts(SLICE("POST"), conf.url.target, slice_of(timestamp), slice_of(nonce),
                             slice_n(body, body_n), parts);
    if (scheme_sign(&sign_key, parts, n, authorization) != 0)
        die("sign");
    buf_add_char(authorization, '"');
}

static void make_request(struct conn *c)
{
    static struct buf authorization;
    char body[BODY_MAX];
    size_t body_n = make_body(body, issued);

    if (!authorization.cap)
        buf_init(&authorization, 4096);
    sign(body, body_n, &authorization);
    c->out_n = (size_t)snprintf(
        c->out, sizeof(c->out),
        "POST %.*s HTTP/1.1\r\nHost: %.*s:%u\r\nUser-Agent: load/1\r\nAccept: application/json\r\n"
        "Content-Type: application/json\r\nContent-Length: %zu\r\nAuthorization: %.*s\r\n\r\n%.*s",
        SLICE_FMT(conf.url.target), SLICE_FMT(conf.url.host), conf.url.port, body_n,
        SLICE_FMT(buf_slice(&authorization)), (int)body_n, body);
    c->out_at = 0;
    c->in_n = 0;
    c->busy = c->used = true;
    c->started_us = now_us();
    issued++;
}

/* ---- answers ---- */

static struct slice header(struct slice head, const char *name)
{
    struct slice rest = head;

    while (rest.n) {
        struct slice line = slice_cut(&rest, '\n'), value = line, key = slice_cut(&value, ':');
        if (slice_eq_nocase(key, slice_of(name))) {
            value = slice_trim(value);
            while (value.n && value.p[value.n - 1] == '\r')
                value.n--;
            return value;
        }
    }
    return SLICE_NULL;
}

static bool signature_good(struct slice head, struct slice body)
{
    const char *prefix = scheme_header_prefix(scheme);
    char names[3][40];
    struct slice parts[SCHEME_PARTS];
    size_t n;

    snprintf(names[0], sizeof(names[0]), "%sTimestamp", prefix);
    snprintf(names[1], sizeof(names[1]), "%sNonce", prefix);
    snprintf(names[2], sizeof(names[2]), "%sSignature", prefix);
    n = scheme_answer_parts(header(head, names[0]), header(head, names[1]), body, parts);
    return scheme_verify(&answer_key, parts, n, header(head, names[2])) == 0;
}

static void pay_for(struct slice body)
{
    static const char member[] = "\"code_url\":\"";
    const char *at = memmem(body.p, body.n, member, sizeof(member) - 1);
    struct slice code = SLICE_NULL;

    if (at) {
        at += sizeof(member) - 1;
        code = slice_n(at, (size_t)(body.p + body.n - at));
        code = slice_cut(&code, '"');
    }
    load_pay_add(code);
}

static void count_answer(struct conn *c, struct slice head, struct slice body)
{
    int status =
        head.n > 12 ? (head.p[9] - '0') * 100 + (head.p[10] - '0') * 10 + head.p[11] - '0' : 0;

    last_us = now_us();
    if (status >= 0 && status < 600)
        status_seen[status]++;
    if (status < 200 || status > 299)
        bad_status++;
    else if (!conf.bare && !signature_good(head, body))
        bad_signature++;
    else
        latencies_us[good++] = (uint32_t)(last_us - c->started_us);
    if (conf.bank && status == 201)
        pay_for(body);
    if ((status < 200 || status > 299) && bad_status <= 3)
        fprintf(stderr, "load: HTTP %d: %.*s\n", status, SLICE_FMT(body));
    finished++;
    c->busy = false;
    c->last = slice_eq(header(head, "Connection"), SLICE("close"));
}

/* Whole answer in c->in? Content-Length only: that is what signed answers have. */
static bool whole_answer(struct conn *c, struct slice *head, struct slice *body)
{
    char *end = memmem(c->in, c->in_n, "\r\n\r\n", 4);
    int64_t length;

    if (!end)
        return false;
    *head = slice_n(c->in, (size_t)(end - c->in) + 2);
    if (slice_int64(header(*head, "Content-Length"), &length) != 0)
        length = 0;
    if (c->in_n < head->n + 2 + (size_t)length)
        return false;
    *body = slice_n(end + 4, (size_t)length);
    return true;
}

/* ---- connections ---- */

static ssize_t conn_write(struct conn *c, const void *p, size_t n)
{
    return c->ssl ? SSL_write(c->ssl, p, (int)n) : write(c->fd, p, n);
}

static ssize_t conn_read(struct conn *c, void *p, size_t n)
{
    return c->ssl ? SSL_read(c->ssl, p, (int)n) : read(c->fd, p, n);
}

static void conn_open(struct conn *c)
{
    struct sockaddr_in sin = {.sin_family = AF_INET, .sin_port = htons(conf.url.port)};
    struct epoll_event ev = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.ptr = c};
    char host[64];
    int one = 1;

    snprintf(host, sizeof(host), "%.*s", SLICE_FMT(conf.url.host));
    inet_pton(AF_INET, host, &sin.sin_addr);
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (c->fd < 0)
        die("socket");
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    if (connect(c->fd, (struct sockaddr *)&sin, sizeof(sin)) != 0 && errno != EINPROGRESS)
        die("connect");
    c->connecting = true;
    if (conf.url.https) {
        c->ssl = SSL_new(tls);
        SSL_set_fd(c->ssl, c->fd);
        SSL_set_connect_state(c->ssl);
        c->handshaking = true;
    }
    epoll_ctl(epfd, EPOLL_CTL_ADD, c->fd, &ev);
}

static void conn_close(struct conn *c)
{
    SSL_free(c->ssl);
    close(c->fd);
    c->ssl = NULL;
    if (c->busy) {
        broken++;
        finished++;
    }
    c->busy = c->connecting = c->handshaking = c->last = false;
    c->fd = -1;
}

static bool would_block(struct conn *c, ssize_t n)
{
    if (!c->ssl)
        return n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK);
    int e = SSL_get_error(c->ssl, (int)n);
    return e == SSL_ERROR_WANT_READ || e == SSL_ERROR_WANT_WRITE;
}

/* false: the connection is gone */
static bool step_in(struct conn *c)
{
    struct slice head, body;

    while (c->busy) {
        ssize_t n = conn_read(c, c->in + c->in_n, sizeof(c->in) - c->in_n);
        if (n > 0) {
            c->in_n += (size_t)n;
            if (whole_answer(c, &head, &body))
                count_answer(c, head, body);
            continue;
        }
        return would_block(c, n);
    }
    return true;
}

static bool step_out(struct conn *c)
{
    while (c->out_at < c->out_n) {
        ssize_t n = conn_write(c, c->out + c->out_at, c->out_n - c->out_at);
        if (n <= 0)
            return would_block(c, n);
        c->out_at += (size_t)n;
    }
    return true;
}

/* by the clock: is it time for another request? */
static bool due(void)
{
    return conf.rate && issued <= (now_us() - first_us) * conf.rate / USEC_PER_SEC;
}

static bool may_issue(const struct conn *c)
{
    if (c->busy || issued >= conf.requests || (conf.once && c->used))
        return false;
    return !conf.rate || due();
}

static void conn_step(struct conn *c)
{
    if (c->handshaking) {
        int rc = SSL_do_handshake(c->ssl);
        if (rc != 1) {
            if (!would_block(c, rc))
                conn_close(c);
            return;
        }
        c->handshaking = false;
    }
    c->connecting = false;
    for (;;) {
        if (!step_out(c) || !step_in(c) || c->last) {
            conn_close(c);
            return;
        }
        if (conf.rate || !may_issue(c))
            return; /* by the clock: run() chooses the connection */
        make_request(c);
    }
}

static void run(void)
{
    struct conn *conns = calloc((size_t)conf.connections, sizeof(*conns));
    struct epoll_event events[256];
    long opened = 0, turn = 0;

    if (!conns)
        die("memory");
    for (long i = 0; i < conf.connections; i++)
        conns[i].fd = -1;
    first_us = now_us();
    while (finished < conf.requests || (conf.bank && load_pay_done() < good)) {
        /* a few at a time: a full backlog refuses */
        for (int k = 0; k < 64 && opened < conf.connections; k++)
            conn_open(&conns[opened++]);
        int n = epoll_wait(epfd, events, 256, opened < conf.connections || conf.rate ? 1 : 1000);
        for (int i = 0; i < n; i++) {
            struct conn *c = events[i].data.ptr;
            if (!c) {
                load_pay_step();
                continue;
            }
            if (c->fd >= 0 && !c->busy && (events[i].events & (EPOLLRDHUP | EPOLLHUP)))
                conn_close(c); /* it was kept too long without a request */
            if (c->fd >= 0)
                conn_step(c);
            if (c->fd < 0 && issued < conf.requests)
                conn_open(c); /* nginx closed it, mostly after keepalive_requests */
        }
        /* those whose turn has come by the clock, in a circle: none idles until nginx closes it */
        for (long i = 0; i < opened && due(); i++) {
            struct conn *c = &conns[turn = (turn + 1) % opened];
            if (c->fd >= 0 && !c->connecting && !c->handshaking && may_issue(c)) {
                make_request(c);
                conn_step(c);
            }
        }
        if (n == 0 && now_us() - (last_us ? last_us : first_us) > conf.hold_s * USEC_PER_SEC)
            break;
    }
    if (conf.once) {
        report();
        fflush(stdout);
        while (getchar() != EOF)
            ;
    }
    for (long i = 0; i < opened; i++)
        if (conns[i].fd >= 0)
            conn_close(&conns[i]);
    free(conns);
}

/* ---- result ---- */

static int by_value(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

    return x < y ? -1 : x > y;
}

static uint32_t percentile(int permille)
{
    return good ? latencies_us[(size_t)(good - 1) * (size_t)permille / 1000] : 0;
}

static void report(void)
{
    qsort(latencies_us, (size_t)good, sizeof(*latencies_us), by_value);
    printf("{\"requests\":%ld,\"good\":%ld,\"bad_status\":%ld,\"bad_signature\":%ld,\"broken\":%ld,"
           "\"created\":%d,\"replayed\":%d,\"accepted\":%d,\"ms\":%lld,"
           "\"p50_us\":%u,\"p99_us\":%u,\"p999_us\":%u}\n",
           issued, good, bad_status, bad_signature, broken, status_seen[201], status_seen[200],
           status_seen[202], (long long)((last_us - first_us) / 1000), percentile(500),
           percentile(990), percentile(999));
}

/* ---- start ---- */

static struct slice read_file(const char *path)
{
    static char data[4][65536];
    static int used;
    FILE *f = fopen(path, "r");
    size_t n;

    if (!f)
        die(path);
    n = fread(data[used], 1, sizeof(data[0]), f);
    fclose(f);
    return slice_n(data[used++], n);
}

static void load_keys(void)
{
    struct slice secret = read_file(conf.key_file ? conf.key_file : conf.rsa_key_file);

    if (conf.key_file) {
        while (secret.n && secret.p[secret.n - 1] == '\n')
            secret.n--;
        scheme = SCHEME_PAY_HMAC;
        if (verify_key_load(&sign_key, KEY_HMAC_SHA256, secret) != 0)
            die("key");
        answer_key = sign_key;
        return;
    }
    scheme = SCHEME_WECHATPAY2_RSA;
    if (verify_key_load(&sign_key, KEY_RSA_SHA256, secret) != 0)
        die("rsa key");
    /* the answer key is the platform's; the loader wants the public form */
    answer_key.alg = KEY_RSA_SHA256;
    answer_key.pkey =
        conf.platform_cert ? pkey_public_from_pem(read_file(conf.platform_cert)) : NULL;
    if (!answer_key.pkey)
        die("platform certificate");
}

static long number(const char *s)
{
    int64_t v;

    if (slice_int64(slice_of(s), &v) != 0 || v < 1) {
        fprintf(stderr, "load: \"%s\" is not a positive number\n", s);
        exit(2);
    }
    return (long)v;
}

static const char usage_text[] =
    "usage: load --url URL --mchid M --serial S (--key FILE | --rsa-key FILE --platform-cert "
    "FILE)\n"
    "            [--ca FILE] [--connections N] [--requests N] [--prefix P] [--notify-url URL]\n"
    "            [--hold SECONDS] [--rate N] [--bare] [--once] [--pay BANK:PORT]\n";

static void options(int argc, char **argv)
{
    static const struct option longs[] = {
        {"url", 1, NULL, 'u'},           {"ca", 1, NULL, 'a'},          {"mchid", 1, NULL, 'm'},
        {"serial", 1, NULL, 's'},        {"key", 1, NULL, 'k'},         {"rsa-key", 1, NULL, 'r'},
        {"platform-cert", 1, NULL, 'p'}, {"connections", 1, NULL, 'c'}, {"requests", 1, NULL, 'n'},
        {"prefix", 1, NULL, 'x'},        {"notify-url", 1, NULL, 'y'},  {"hold", 1, NULL, 'h'},
        {"pay", 1, NULL, 'P'},           {"bare", 0, NULL, 'b'},        {"rate", 1, NULL, 'R'},
        {"once", 0, NULL, 'o'},          {"help", 0, NULL, 'H'},        {0}};
    const char *reason = "missing";
    int c;

    conf = (struct conf){.connections = 64,
                         .requests = 1000,
                         .hold_s = 30,
                         .prefix = "BENCH",
                         .notify_url = "https://merchant.example/callback"};
    while ((c = getopt_long(argc, argv, "", longs, NULL)) != -1) {
        switch (c) {
        case 'u':
            if (url_parse(slice_of(optarg), &conf.url, &reason) != 0) {
                fprintf(stderr, "load: --url: %s\n", reason);
                exit(2);
            }
            break;
        case 'a':
            conf.ca = optarg;
            break;
        case 'm':
            conf.mchid = optarg;
            break;
        case 's':
            conf.serial = optarg;
            break;
        case 'k':
            conf.key_file = optarg;
            break;
        case 'r':
            conf.rsa_key_file = optarg;
            break;
        case 'p':
            conf.platform_cert = optarg;
            break;
        case 'c':
            conf.connections = number(optarg);
            break;
        case 'n':
            conf.requests = number(optarg);
            break;
        case 'x':
            conf.prefix = optarg;
            break;
        case 'y':
            conf.notify_url = optarg;
            break;
        case 'h':
            conf.hold_s = number(optarg);
            break;
        case 'b':
            conf.bare = true;
            break;
        case 'P':
            conf.bank = optarg;
            break;
        case 'R':
            conf.rate = number(optarg);
            break;
        case 'o':
            conf.once = true;
            break;
        default:
            fputs(usage_text, c == 'H' ? stdout : stderr);
            exit(c == 'H' ? 0 : 2);
        }
    }
    if (!conf.url.port || !conf.mchid || !conf.serial || (!conf.key_file && !conf.rsa_key_file)) {
        fputs(usage_text, stderr);
        exit(2);
    }
}

int main(int argc, char **argv)
{
    options(argc, argv);
    load_keys();
    if (conf.url.https) {
        tls = SSL_CTX_new(TLS_client_method());
        SSL_CTX_set_verify(tls, SSL_VERIFY_PEER, NULL);
        SSL_CTX_set_mode(tls, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
        if (!conf.ca || SSL_CTX_load_verify_locations(tls, conf.ca, NULL) != 1)
            die("--ca");
    }
    latencies_us = calloc((size_t)conf.requests + 1, sizeof(*latencies_us));
    epfd = epoll_create1(EPOLL_CLOEXEC);
    if (!latencies_us || epfd < 0)
        die("start");
    if (conf.bank) {
        struct epoll_event ev = {.events = EPOLLIN, .data.ptr = NULL};
        if (load_pay_open(conf.bank, (size_t)conf.requests) != 0 ||
            epoll_ctl(epfd, EPOLL_CTL_ADD, load_pay_fd(), &ev) != 0)
            die(conf.bank);
    }
    run();
    if (!conf.once)
        report();
    return good == conf.requests ? 0 : 1;
}
