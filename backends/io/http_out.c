/*
 * DESIGN. libcurl's multi interface says which sockets and which one timer it wants; both become
 * events of our loop, and each event ends in curl_multi_socket_action followed by a look at what is
 * finished. Its callbacks only take notes: libcurl forbids to add or remove transfers inside them.
 *
 * The address check sits where libcurl makes the socket. There the name is already resolved and the
 * address is the one that is connected to next, so a name that changes its mind between check and
 * use gains nothing. A reused connection was checked when it was opened.
 *
 * Easy handles are kept with their fixed options; a call only changes URL, headers, body and
 * time-out.
 */
#include "http_out.h"

#include "http_out_impl.h"
#include <stdlib.h>

#define MAX_ACTIVE 1000
#define MAX_ANSWER 4096
#define MAX_SPARE  64
#define MAX_IDLE   256 /* connections kept open */

struct out_socket {
    struct http_out *o;
    struct event *ev;
    curl_socket_t fd;
    short events;
};

const char *http_out_error_name(enum http_out_error e)
{
    static const char *const names[] = {"ok", "refused", "connect", "timeout", "broken", "busy"};

    return (size_t)e < sizeof(names) / sizeof(names[0]) ? names[e] : "?";
}

/* ---- what libcurl wishes ---- */

static void on_event(evutil_socket_t fd, short what, void *arg);

/* curl_multi_assign is the one multi call that is made for use in here. */
static int on_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *known)
{
    struct http_out *o = arg;
    struct out_socket *s = known;
    short events =
        EV_PERSIST | (what & CURL_POLL_IN ? EV_READ : 0) | (what & CURL_POLL_OUT ? EV_WRITE : 0);

    (void)easy;
    if (what == CURL_POLL_REMOVE) {
        if (s) {
            event_free(s->ev);
            free(s);
        }
        curl_multi_assign(o->multi, fd, NULL);
        return 0;
    }
    if (!s) {
        s = calloc(1, sizeof(*s));
        if (!s)
            return -1;
        s->o = o;
        s->fd = fd;
        curl_multi_assign(o->multi, fd, s);
    }
    if (s->ev && s->events == events)
        return 0;
    if (s->ev)
        event_free(s->ev);
    s->events = events;
    s->ev = event_new(loop_base(o->loop), fd, events, on_event, s);
    return s->ev && event_add(s->ev, NULL) == 0 ? 0 : -1;
}

static int on_timer_wish(CURLM *multi, long ms, void *arg)
{
    struct http_out *o = arg;

    (void)multi;
    if (ms < 0)
        loop_timer_clear(o->timer);
    else
        loop_timer_set(o->timer, ms * USEC_PER_MSEC);
    return 0;
}

/* ---- calls ---- */

static struct out_call *call_new(struct http_out *o)
{
    struct out_call *c = o->spare;

    if (c) {
        o->spare = c->next;
        o->nspare--;
        c->next = NULL;
        return c;
    }
    c = calloc(1, sizeof(*c));
    if (!c)
        abort(); /* a call that never ends would leave its callback hanging without a trace */
    c->o = o;
    buf_init(&c->url, 8192);
    buf_init(&c->body, SIZE_MAX / 4);
    buf_init(&c->answer, o->max_answer);
    return c;
}

/* Back among the spare ones, or freed. */
static void call_release(struct out_call *c)
{
    struct http_out *o = c->o;

    if (o->freeing || o->nspare >= MAX_SPARE) {
        out_call_free(c);
        return;
    }
    out_call_clear(c);
    c->next = o->spare;
    o->spare = c;
    o->nspare++;
}

static void tell(struct out_call *c, const struct http_out_result *r)
{
    c->cb(c->arg, r);
    call_release(c);
}

static void on_failed(void *arg)
{
    struct http_out *o = arg;
    struct out_call *c = o->failed, *next;

    o->failed = NULL;
    o->failed_end = &o->failed;
    o->failed_deferred = false;
    for (; c; c = next) {
        struct http_out_result r = {.error = c->error, .reason = c->reason, .retry_after_s = -1};

        next = c->next;
        tell(c, &r);
    }
}

static void fail_later(struct out_call *c, enum http_out_error error, const char *reason)
{
    struct http_out *o = c->o;

    c->error = error;
    c->reason = reason;
    c->next = NULL;
    *o->failed_end = c;
    o->failed_end = &c->next;
    if (!o->failed_deferred)
        loop_defer(o->loop, on_failed, o);
    o->failed_deferred = true;
}

/* ---- ends ---- */

static void active_remove(struct out_call *c)
{
    if (c->prev)
        c->prev->next = c->next;
    else
        c->o->active = c->next;
    if (c->next)
        c->next->prev = c->prev;
    c->prev = c->next = NULL;
    c->o->nactive--;
}

static void finish(struct out_call *c, CURLcode code)
{
    struct http_out_result r = {.error = out_call_classify(c, code),
                                .retry_after_s = c->retry_after_s};
    long status = 0;

    curl_easy_getinfo(c->easy, CURLINFO_RESPONSE_CODE, &status);
    curl_multi_remove_handle(c->o->multi, c->easy);
    active_remove(c);
    r.reason = out_call_reason(c, r.error, code);
    r.took_us = clock_read_mono_us() - c->began_us;
    if (r.error == HTTP_OUT_OK) {
        r.status = (int)status;
        r.body = buf_slice(&c->answer);
    }
    tell(c, &r);
}

/* A callback may call http_out_free, which ends every transfer: the multi handle stays until the
 * end of the turn and then has no messages any more. */
static void finish_done(struct http_out *o)
{
    struct out_call *c;
    CURLMsg *m;
    int left;

    while ((m = curl_multi_info_read(o->multi, &left))) {
        CURLcode code = m->data.result; /* m is gone once the handle is removed */

        if (m->msg != CURLMSG_DONE)
            continue;
        curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, &c);
        finish(c, code);
    }
}

static void on_event(evutil_socket_t fd, short what, void *arg)
{
    struct http_out *o = ((struct out_socket *)arg)->o;
    int mask = (what & EV_READ ? CURL_CSELECT_IN : 0) | (what & EV_WRITE ? CURL_CSELECT_OUT : 0);
    int running;

    curl_multi_socket_action(o->multi, fd, mask, &running);
    finish_done(o);
}

static void on_timer(void *arg)
{
    struct http_out *o = arg;
    int running;

    curl_multi_socket_action(o->multi, CURL_SOCKET_TIMEOUT, 0, &running);
    finish_done(o);
}

/* ---- sending ---- */

static void begin(struct out_call *c, const char *reason)
{
    struct http_out *o = c->o;

    if (reason || curl_multi_add_handle(o->multi, c->easy) != CURLM_OK) {
        fail_later(c, HTTP_OUT_REFUSED, reason ? reason : "libcurl takes no call");
        return;
    }
    c->prev = NULL;
    c->next = o->active;
    if (c->next)
        c->next->prev = c;
    o->active = c;
    o->nactive++;
}

void http_out_post(struct http_out *o, struct slice url, const struct http_header *headers,
                   size_t n, struct slice body, int64_t timeout_us, http_out_cb *cb, void *arg)
{
    struct out_call *c = call_new(o);
    const char *reason;
    struct url parsed;

    c->cb = cb;
    c->arg = arg;
    c->refused = c->too_large = false;
    c->retry_after_s = -1;
    c->head_bytes = 0;
    c->began_us = clock_read_mono_us();
    if (o->freeing || o->nactive >= o->max_active)
        fail_later(c, HTTP_OUT_BUSY, o->freeing ? "stopping" : "too many calls");
    else if (url_parse(url, &parsed, &reason) != 0)
        fail_later(c, HTTP_OUT_REFUSED, reason);
    else
        begin(c, out_call_prepare(c, url, headers, n, body, timeout_us));
}

/* ---- life ---- */

static struct addr_rule *copy_rules(const struct addr_rule *rules, size_t n)
{
    struct addr_rule *copy = calloc(n + 1, sizeof(*copy));

    if (copy && n)
        memcpy(copy, rules, n * sizeof(*copy));
    return copy;
}

static int copy_conf(struct http_out *o, const struct http_out_conf *conf)
{
    o->max_active = conf->max_active ? conf->max_active : MAX_ACTIVE;
    o->max_answer = conf->max_answer ? conf->max_answer : MAX_ANSWER;
    o->nallow = conf->nallow;
    o->ndeny = conf->ndeny;
    o->allow = copy_rules(conf->allow, conf->nallow);
    o->deny = copy_rules(conf->deny, conf->ndeny);
    if (!o->allow || !o->deny)
        return -1;
    o->ca_file = conf->ca_file ? strdup(conf->ca_file) : NULL;
    o->user_agent = conf->user_agent ? strdup(conf->user_agent) : NULL;
    return (conf->ca_file && !o->ca_file) || (conf->user_agent && !o->user_agent) ? -1 : 0;
}

static void out_destroy(struct http_out *o)
{
    struct out_call *c;

    while ((c = o->spare)) {
        o->spare = c->next;
        out_call_free(c);
    }
    curl_multi_cleanup(o->multi);
    loop_timer_free(o->timer);
    free(o->allow);
    free(o->deny);
    free(o->ca_file);
    free(o->user_agent);
    free(o);
}

struct http_out *http_out_new(struct loop *l, const struct http_out_conf *conf)
{
    static bool initialised;
    struct http_out *o = calloc(1, sizeof(*o));

    if (!o)
        return NULL;
    if (!initialised && curl_global_init(CURL_GLOBAL_DEFAULT) != 0) {
        free(o);
        return NULL;
    }
    initialised = true;
    o->loop = l;
    o->failed_end = &o->failed;
    o->timer = loop_timer_new(l, on_timer, o);
    o->multi = curl_multi_init();
    if (copy_conf(o, conf) != 0 || !o->timer || !o->multi) {
        out_destroy(o);
        return NULL;
    }
    curl_multi_setopt(o->multi, CURLMOPT_SOCKETFUNCTION, on_socket);
    curl_multi_setopt(o->multi, CURLMOPT_SOCKETDATA, o);
    curl_multi_setopt(o->multi, CURLMOPT_TIMERFUNCTION, on_timer_wish);
    curl_multi_setopt(o->multi, CURLMOPT_TIMERDATA, o);
    curl_multi_setopt(o->multi, CURLMOPT_PIPELINING, (long)CURLPIPE_NOTHING);
    curl_multi_setopt(o->multi, CURLMOPT_MAXCONNECTS, (long)MAX_IDLE);
    return o;
}

/* The last deferred act on o; a callback may have tried one more call meanwhile. */
static void on_free(void *arg)
{
    struct http_out *o = arg;

    if (o->failed_deferred)
        loop_defer(o->loop, on_free, o);
    else
        out_destroy(o);
}

void http_out_free(struct http_out *o)
{
    if (!o || o->freeing)
        return;
    o->freeing = true;
    while (o->active) {
        o->active->too_large = false;
        finish(o->active, CURLE_ABORTED_BY_CALLBACK);
    }
    on_failed(o); /* at once: who is told may not outlive this call */
    loop_defer(o->loop, on_free, o);
}
