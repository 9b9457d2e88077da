/*
 * http_out_impl - what http_out.c (transfers in the loop) and http_out_call.c (one call and what
 * libcurl tells about it) share. Nobody else includes it.
 */
#ifndef IO_HTTP_OUT_IMPL_H
#define IO_HTTP_OUT_IMPL_H

#include "core/buf.h"
#include "http_out.h"
#include <curl/curl.h>

struct out_call {
    struct http_out *o;
    struct out_call *prev, *next; /* in active, spare or failed */
    CURL *easy;
    struct curl_slist *headers;
    struct buf url, body;
    struct buf answer;
    size_t head_bytes;
    bool refused; /* an address was not allowed */
    bool too_large;
    int64_t retry_after_s;
    int64_t began_us;
    http_out_cb *cb;
    void *arg;
    enum http_out_error error; /* of calls that never began */
    const char *reason;
};

struct http_out {
    struct loop *loop;
    CURLM *multi;
    struct loop_timer *timer;
    struct addr_rule *allow, *deny;
    size_t nallow, ndeny;
    char *ca_file, *user_agent;
    size_t max_active, max_answer;
    struct out_call *active;
    size_t nactive;
    struct out_call *spare;
    size_t nspare;
    struct out_call *failed, **failed_end;
    bool failed_deferred;
    bool freeing;
};

/* Readies c->easy for one call. NULL, or the reason why it cannot be made. */
const char *out_call_prepare(struct out_call *c, struct slice url,
                             const struct http_header *headers, size_t n, struct slice body,
                             int64_t timeout_us);
enum http_out_error out_call_classify(const struct out_call *c, CURLcode code);
/* Static text; NULL when all is well. */
const char *out_call_reason(const struct out_call *c, enum http_out_error e, CURLcode code);
/* Empties it for the next call; the easy handle stays. */
void out_call_clear(struct out_call *c);
void out_call_free(struct out_call *c);

#endif
