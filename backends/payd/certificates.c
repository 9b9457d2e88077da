#include "certificates.h"

#include "accounts.h"
#include "backends/io/log.h"
#include "core/json.h"

#include <stdlib.h>

#define LOOK_US      USEC_PER_SEC
#define TIMEOUT_US   (10 * USEC_PER_SEC)
#define LEASE_US     (60 * USEC_PER_SEC) /* also until a failure is tried again */
#define LOOKS        10                  /* in an interval, at accounts that have a certificate */
#define MEMORY       (1u << 20)
#define PAY_HEADERS  4
#define HEADERS_MAX  64
#define NONCE_LENGTH 32

/* One account at a time: `next` is the one to look at, names are copied since the accounts may be
 * read anew while we wait. */
struct certificates {
    struct worker *w;
    struct loop_timer *timer;
    struct arena arena;
    size_t next;
    bool urgent_only; /* this round */
    int64_t round_us; /* loop time of the last round through all */
    struct slice channel, account;
    bool asking, stopped;
};

static void look(struct certificates *c);

static int64_t lease_of(const struct certificates *c)
{
    int64_t interval = c->w->options->timers.certificates_us;

    return interval < LEASE_US ? interval : LEASE_US;
}

/* This account is done with; the next one. */
static void finish(struct certificates *c)
{
    c->asking = false;
    arena_release(&c->arena);
    arena_init(&c->arena, MEMORY);
    if (!c->stopped)
        look(c);
}

static void fail(struct certificates *c, const char *reason)
{
    log_event(LOG_WARN, "certificates_failed", LOG_S("channel", c->channel),
              LOG_S("account", c->account), LOG_S("reason", slice_of(reason)));
    finish(c);
}

/* ---- what came ---- */

static void on_stored(void *arg, enum store_result r)
{
    struct certificates *c = arg;

    if (r != STORE_DONE) {
        fail(c, "not stored");
        return;
    }
    log_event(LOG_NOTICE, "certificates_fetched", LOG_S("channel", c->channel),
              LOG_S("account", c->account));
    finish(c);
}

static struct slice json_of(struct certificates *c, const struct channel_certificate *v, uint32_t n)
{
    char from[RFC3339_LEN + 1], until[RFC3339_LEN + 1];
    struct slice text = SLICE_NULL;
    struct json_writer w;
    struct buf b;

    buf_init(&b, MEMORY);
    json_writer_init(&w, &b);
    json_begin_array(&w);
    for (uint32_t i = 0; i < n; i++) {
        time_format_rfc3339(from, v[i].from);
        time_format_rfc3339(until, v[i].until);
        json_begin_object(&w);
        json_member_str(&w, "serial", v[i].serial);
        json_member_str(&w, "pem", v[i].pem);
        json_member_str(&w, "valid_from", slice_of(from));
        json_member_str(&w, "valid_to", slice_of(until));
        json_end_object(&w);
    }
    json_end_array(&w);
    if (buf_ok(&b))
        text = arena_copy(&c->arena, buf_slice(&b));
    buf_release(&b);
    return text;
}

static void read_answer(struct certificates *c, const struct http_answer *answer)
{
    const struct channel *channel = channel_find(c->w->channels, c->channel);
    const struct channel_account *a = accounts_get(c->w->accounts, c->channel, c->account);
    struct channel_certificate came[CHANNEL_CERTIFICATES_MAX];
    const char *reason = "account is gone";
    struct slice body, json;
    uint32_t n;

    body = arena_copy(&c->arena, answer->body);
    if (!channel || !a || c->arena.failed ||
        channel_certificates_decode(channel, a, answer->status, answer->headers, answer->nheaders,
                                    body, worker_now(c->w), &c->arena, came, &n, &reason) != 0) {
        fail(c, reason);
        return;
    }
    json = json_of(c, came, n);
    if (!json.p) {
        fail(c, "too large");
        return;
    }
    store_refresh_done(c->w->store, c->channel, c->account, json,
                       c->w->options->timers.certificates_us, on_stored, c);
}

static void on_answer(void *arg, const struct http_answer *answer)
{
    struct certificates *c = arg;

    if (c->stopped || answer->outcome != HTTP_ANSWERED)
        fail(c, c->stopped ? "stopping" : answer->reason);
    else if (!slice_is(http_find(answer->headers, answer->nheaders, "Pay-Sent", NULL), "answered"))
        fail(c, "the egress did not pass it on");
    else
        read_answer(c, answer);
}

/* ---- asking ---- */

static const char *send_call(struct certificates *c, const struct channel *channel,
                             const struct channel_account *a)
{
    struct arena *m = &c->arena;
    struct channel_request req;
    struct http_header headers[HEADERS_MAX];
    const char *reason;
    char nonce[NONCE_LENGTH];
    int64_t id;

    random_token(nonce, sizeof(nonce));
    if (worker_id(c->w, 0, &id) != 0)
        return "no process number";
    if (channel_certificates_encode(channel, a, worker_now(c->w), slice_n(nonce, sizeof(nonce)), m,
                                    &req, &reason) != 0)
        return reason;
    headers[0] = (struct http_header){SLICE("Pay-Channel"), c->channel};
    headers[1] = (struct http_header){SLICE("Pay-Attempt"), arena_int64(m, id)};
    headers[2] = (struct http_header){SLICE("Pay-Kind"), req.egress_kind};
    headers[3] =
        (struct http_header){SLICE("Pay-Send-Before"),
                             arena_int64(m, clock_read_boot_us() + c->w->options->send_window_us)};
    memcpy(headers + PAY_HEADERS, req.headers, req.nheaders * sizeof(headers[0]));
    if (m->failed)
        return "out of memory";
    struct http_call call = {.method = req.method,
                             .target = req.target,
                             .headers = headers,
                             .nheaders = PAY_HEADERS + req.nheaders,
                             .timeout_us = TIMEOUT_US};
    http_egress_send(c->w->egress, &call, on_answer, c);
    return NULL;
}

static void on_claim(void *arg, enum store_result r)
{
    struct certificates *c = arg;
    const struct channel *channel = channel_find(c->w->channels, c->channel);
    const struct channel_account *a = accounts_get(c->w->accounts, c->channel, c->account);
    const char *reason;

    if (c->stopped || r != STORE_DONE || !channel || !a) {
        finish(c);
        return;
    }
    reason = send_call(c, channel, a);
    if (reason)
        fail(c, reason);
}

/* From `next` on: the first account that may be due. */
static void look(struct certificates *c)
{
    const struct channel_account *a;
    struct slice account;

    while (accounts_at(c->w->accounts, c->next++, &account, &a)) {
        if (!a || !channel_account_refreshes(a) ||
            (c->urgent_only && channel_account_trusts_until(a, worker_now(c->w)) > 0))
            continue;
        c->channel = arena_copy(&c->arena, channel_account_channel(a));
        c->account = arena_copy(&c->arena, account);
        if (c->arena.failed)
            return;
        c->asking = true;
        store_refresh_claim(c->w->store, c->channel, c->account, lease_of(c), on_claim, c);
        return;
    }
}

/* Accounts without a good certificate are looked at each second, the others a few times in an
 * interval. */
static void on_timer(void *arg)
{
    struct certificates *c = arg;
    int64_t now = loop_now_us(c->w->loop);
    int64_t pause = c->w->options->timers.certificates_us / LOOKS;

    loop_timer_set(c->timer, LOOK_US);
    if (c->asking || !worker_clock_steady(c->w))
        return;
    c->urgent_only = c->round_us != 0 && now - c->round_us < pause;
    if (!c->urgent_only)
        c->round_us = now;
    c->next = 0;
    look(c);
}

/* ---- life ---- */

struct certificates *certificates_new(struct worker *w)
{
    struct certificates *c = calloc(1, sizeof(*c));

    if (!c)
        return NULL;
    c->w = w;
    arena_init(&c->arena, MEMORY);
    c->timer = loop_timer_new(w->loop, on_timer, c);
    if (!c->timer) {
        free(c);
        return NULL;
    }
    return c;
}

void certificates_start(struct certificates *c)
{
    loop_timer_set(c->timer, 0);
}

void certificates_stop(struct certificates *c)
{
    if (c->stopped)
        return;
    c->stopped = true;
    loop_timer_clear(c->timer);
}

void certificates_free(struct certificates *c)
{
    if (!c)
        return;
    loop_timer_free(c->timer);
    arena_release(&c->arena);
    free(c);
}
