#include "status.h"

#include "backends/io/http_in.h"
#include "flows.h"
#include "worker.h"

#include <assert.h>
#include <stdlib.h>

#define PAGE_MAX (8u << 20) /* thousands of accounts, hundreds of channels */

struct status {
    struct worker *w;
    struct http_in *http;
    struct {
        status_source *source;
        const void *arg;
    } sources[STATUS_SOURCES];
    size_t n;
};

static void page(const struct status *s, struct buf *b)
{
    buf_addf(b,
             "# HELP pay_worker_info 1; the labels are the process and its number in ids\n"
             "# TYPE pay_worker_info gauge\n"
             "pay_worker_info{process=\"%s\",number=\"%u\"} 1\n"
             "# HELP pay_worker_orders orders it works on now\n"
             "# TYPE pay_worker_orders gauge\n"
             "pay_worker_orders %zu\n",
             s->w->process->name, s->w->ids.process, flows_active(s->w->flows));
    for (size_t i = 0; i < s->n; i++)
        s->sources[i].source(s->sources[i].arg, b);
}

static void handle(void *arg, struct http_req *req)
{
    const struct http_header type = {SLICE("Content-Type"), SLICE("text/plain; version=0.0.4")};
    struct buf b;

    if (!slice_is(req->target, "/metrics") || !slice_is(req->method, "GET")) {
        http_req_reply(req, 404, NULL, 0, SLICE_NULL);
        return;
    }
    buf_init(&b, PAGE_MAX);
    page(arg, &b);
    http_req_reply(req, buf_ok(&b) ? 200 : 500, &type, 1, buf_slice(&b));
    buf_release(&b);
}

struct status *status_new(struct worker *w, const char *unix_path, char *err, size_t n)
{
    struct status *s = calloc(1, sizeof(*s));
    struct http_in_conf hc = {
        .unix_path = unix_path, .max_requests = 16, .handler = handle, .arg = s};

    if (!s)
        return NULL;
    s->w = w;
    s->http = http_in_new(w->loop, &hc, err, n);
    if (!s->http) {
        free(s);
        return NULL;
    }
    return s;
}

void status_add(struct status *s, status_source *source, const void *arg)
{
    assert(s->n < STATUS_SOURCES);
    s->sources[s->n].source = source;
    s->sources[s->n++].arg = arg;
}

void status_free(struct status *s)
{
    if (!s)
        return;
    http_in_free(s->http);
    free(s);
}
