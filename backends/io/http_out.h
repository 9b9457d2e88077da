/*
 * http_out - calls to addresses that merchants choose (callbacks), over libcurl multi in our loop.
 *
 * Refused before a byte is sent: addresses that core/net classifies as not public unless a rule
 * allows them, and addresses that a rule denies (checked on the address really connected to, so
 * rebinding does not help), other protocols than http and https, redirects (never followed).
 * Proxies of the environment are ignored.
 */
#ifndef IO_HTTP_OUT_H
#define IO_HTTP_OUT_H

#include "backends/io/http.h"
#include "backends/io/loop.h"
#include "core/net.h"

struct http_out;

struct http_out_conf {
    const struct addr_rule *allow; /* beside public addresses */
    size_t nallow;
    const struct addr_rule *deny; /* before all else */
    size_t ndeny;
    const char *ca_file; /* NULL = the system's */
    size_t max_active;   /* default 1000 */
    size_t max_answer;   /* bytes of body kept, default 4096; the rest is refused */
    const char *user_agent;
};

enum http_out_error {
    HTTP_OUT_OK,      /* status is set */
    HTTP_OUT_REFUSED, /* address not allowed */
    HTTP_OUT_CONNECT, /* DNS, connect, TLS */
    HTTP_OUT_TIMEOUT,
    HTTP_OUT_BROKEN, /* anything after connecting, too large answers included */
    HTTP_OUT_BUSY    /* over max_active */
};

struct http_out_result {
    enum http_out_error error;
    int status;
    struct slice body;     /* valid during the callback */
    int64_t retry_after_s; /* -1 when absent */
    int64_t took_us;
    const char *reason;
};
typedef void http_out_cb(void *arg, const struct http_out_result *r);

struct http_out *http_out_new(struct loop *l, const struct http_out_conf *conf);
/* Calls under way end inside this call as HTTP_OUT_BROKEN. Allowed in callbacks. */
void http_out_free(struct http_out *o);
/* POST. Copies everything. The callback is never called from inside this function. */
void http_out_post(struct http_out *o, struct slice url, const struct http_header *headers,
                   size_t n, struct slice body, int64_t timeout_us, http_out_cb *cb, void *arg);
const char *http_out_error_name(enum http_out_error e);

#endif
