/* One call of http_out: its easy handle, the checks, and what libcurl's callbacks note about it. */
#include "http_out_impl.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

#define MAX_HEAD        65536 /* bytes of the answer's header lines */
#define CONNECT_MS      5000
#define HEADER_LINE_MAX 8192
#define RETRY_AFTER_MAX 64

/* ---- what libcurl calls: notes only ---- */

static bool may_connect(const struct http_out *o, const struct sockaddr *addr)
{
    return !addr_rule_match(o->deny, o->ndeny, addr) &&
           (addr_classify(addr) == ADDR_PUBLIC || addr_rule_match(o->allow, o->nallow, addr));
}

static curl_socket_t on_open_socket(void *arg, curlsocktype purpose, struct curl_sockaddr *a)
{
    struct out_call *c = arg;

    (void)purpose;
    if ((a->family != AF_INET && a->family != AF_INET6) || !may_connect(c->o, &a->addr)) {
        c->refused = true;
        return CURL_SOCKET_BAD;
    }
    return socket(a->family, a->socktype | SOCK_CLOEXEC, a->protocol);
}

static size_t on_body(char *data, size_t size, size_t count, void *arg)
{
    struct out_call *c = arg;

    buf_add(&c->answer, data, size * count);
    if (buf_ok(&c->answer))
        return size * count;
    c->too_large = true;
    return 0; /* anything but the size given ends the transfer */
}

/* Seconds or a date (RFC 9110, 10.2.3). */
static int64_t parse_retry_after(struct slice value)
{
    char text[RETRY_AFTER_MAX];
    int64_t seconds;
    time_t date;

    if (slice_int64(value, &seconds) == 0)
        return seconds >= 0 ? seconds : -1;
    if (value.n == 0 || value.n >= sizeof(text))
        return -1;
    memcpy(text, value.p, value.n);
    text[value.n] = '\0';
    date = curl_getdate(text, NULL);
    if (date < 0)
        return -1;
    seconds = (int64_t)date - clock_read_wall() / USEC_PER_SEC;
    return seconds > 0 ? seconds : 0;
}

static size_t on_header(char *data, size_t size, size_t count, void *arg)
{
    struct out_call *c = arg;
    struct slice line = slice_n(data, size * count);
    struct slice value = line;
    struct slice name = slice_cut(&value, ':');

    c->head_bytes += line.n;
    if (c->head_bytes > MAX_HEAD) {
        c->too_large = true;
        return 0;
    }
    while (value.n && (value.p[value.n - 1] == '\n' || value.p[value.n - 1] == '\r'))
        value.n--;
    if (slice_starts(line, SLICE("HTTP/")))
        c->retry_after_s = -1; /* what an interim answer said does not count */
    else if (slice_eq_nocase(name, SLICE("Retry-After")))
        c->retry_after_s = parse_retry_after(slice_trim(value));
    return line.n;
}

/* ---- readying ---- */

static void set_checks(CURL *h, struct out_call *c)
{
    struct http_out *o = c->o;

    curl_easy_setopt(h, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(h, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(h, CURLOPT_PROXY, "");
    curl_easy_setopt(h, CURLOPT_OPENSOCKETFUNCTION, on_open_socket);
    curl_easy_setopt(h, CURLOPT_OPENSOCKETDATA, c);
    curl_easy_setopt(h, CURLOPT_SSL_VERIFYPEER, 1L);
    curl_easy_setopt(h, CURLOPT_SSL_VERIFYHOST, 2L);
    curl_easy_setopt(h, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    if (o->ca_file) { /* only this one: the system's folder would be trusted beside it */
        curl_easy_setopt(h, CURLOPT_CAINFO, o->ca_file);
        curl_easy_setopt(h, CURLOPT_CAPATH, NULL);
    }
}

static void set_manner(CURL *h, struct out_call *c)
{
    curl_easy_setopt(h, CURLOPT_PRIVATE, c);
    curl_easy_setopt(h, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(h, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(h, CURLOPT_POST, 1L);
    curl_easy_setopt(h, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(h, CURLOPT_WRITEDATA, c);
    curl_easy_setopt(h, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(h, CURLOPT_HEADERDATA, c);
    if (c->o->user_agent)
        curl_easy_setopt(h, CURLOPT_USERAGENT, c->o->user_agent);
#if LIBCURL_VERSION_NUM >= 0x075700
    /* Else ending a call whose name is still being resolved waits for the resolver's thread. */
    curl_easy_setopt(h, CURLOPT_QUICK_EXIT, 1L);
#endif
}

static bool clean(struct slice s)
{
    return !s.n || !(memchr(s.p, '\r', s.n) || memchr(s.p, '\n', s.n) || memchr(s.p, '\0', s.n));
}

static int add_line(struct out_call *c, const char *line)
{
    struct curl_slist *list = curl_slist_append(c->headers, line);

    if (!list)
        return -1;
    c->headers = list;
    return 0;
}

static int add_headers(struct out_call *c, const struct http_header *headers, size_t n)
{
    char line[HEADER_LINE_MAX];
    size_t types;

    for (size_t i = 0; i < n; i++) {
        const struct http_header *h = &headers[i];
        /* a header without a value is written with a semicolon, which libcurl turns into a colon */
        const char *colon = h->value.n ? ": " : ";";
        int len;

        if (!clean(h->name) || !clean(h->value))
            return -1;
        len = snprintf(line, sizeof(line), "%.*s%s%.*s", SLICE_FMT(h->name), colon,
                       SLICE_FMT(h->value));
        if (len < 0 || (size_t)len >= sizeof(line) || add_line(c, line) != 0)
            return -1;
    }
    http_find(headers, n, "Content-Type", &types);
    if (types == 0 && add_line(c, "Content-Type:") != 0) /* else libcurl says it is a form */
        return -1;
    return add_line(c, "Expect:");
}

const char *out_call_prepare(struct out_call *c, struct slice url,
                             const struct http_header *headers, size_t n, struct slice body,
                             int64_t timeout_us)
{
    long ms = timeout_us > USEC_PER_MSEC ? (long)(timeout_us / USEC_PER_MSEC) : 1;
    CURL *h = c->easy;

    if (!h) {
        h = c->easy = curl_easy_init();
        if (!h)
            return "no memory";
        set_checks(h, c);
        set_manner(h, c);
    }
    buf_add_slice(&c->url, url);
    buf_add_char(&c->url, '\0');
    buf_add_slice(&c->body, body);
    if (!buf_ok(&c->url) || !buf_ok(&c->body))
        return "request too large";
    if (add_headers(c, headers, n) != 0)
        return "malformed header";
    curl_easy_setopt(h, CURLOPT_URL, c->url.p);
    curl_easy_setopt(h, CURLOPT_HTTPHEADER, c->headers);
    curl_easy_setopt(h, CURLOPT_POSTFIELDS, body.n ? c->body.p : "");
    curl_easy_setopt(h, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)body.n);
    curl_easy_setopt(h, CURLOPT_TIMEOUT_MS, ms);
    curl_easy_setopt(h, CURLOPT_CONNECTTIMEOUT_MS, ms < CONNECT_MS ? ms : (long)CONNECT_MS);
    return NULL;
}

/* ---- ends ---- */

enum http_out_error out_call_classify(const struct out_call *c, CURLcode code)
{
    switch (code) {
    case CURLE_OK:
        return HTTP_OUT_OK;
    case CURLE_OPERATION_TIMEDOUT:
        return HTTP_OUT_TIMEOUT;
    case CURLE_UNSUPPORTED_PROTOCOL:
    case CURLE_URL_MALFORMAT:
        return HTTP_OUT_REFUSED;
    case CURLE_COULDNT_CONNECT:
        return c->refused ? HTTP_OUT_REFUSED : HTTP_OUT_CONNECT;
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_SSL_CIPHER:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_ISSUER_ERROR:
    case CURLE_SSL_INVALIDCERTSTATUS:
        return HTTP_OUT_CONNECT;
    default:
        return HTTP_OUT_BROKEN;
    }
}

const char *out_call_reason(const struct out_call *c, enum http_out_error e, CURLcode code)
{
    if (e == HTTP_OUT_OK)
        return NULL;
    if (e == HTTP_OUT_REFUSED && c->refused)
        return "address not allowed";
    return c->too_large ? "answer too large" : curl_easy_strerror(code);
}

void out_call_clear(struct out_call *c)
{
    curl_slist_free_all(c->headers);
    c->headers = NULL;
    buf_release(&c->body);
    buf_clear(&c->body);
    buf_clear(&c->answer);
    buf_clear(&c->url);
}

void out_call_free(struct out_call *c)
{
    curl_easy_cleanup(c->easy);
    curl_slist_free_all(c->headers);
    buf_release(&c->url);
    buf_release(&c->body);
    buf_release(&c->answer);
    free(c);
}
