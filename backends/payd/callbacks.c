#include "callbacks.h"

#include "backends/io/failpoint.h"
#include "backends/io/http_out.h"
#include "backends/io/log.h"
#include "callback_health.h"
#include "callback_stats.h"
#include "core/ids.h"
#include "core/json.h"
#include "worker.h"

#include <stdlib.h>

#define CLAIM_MAX                                                                                  \
    512 /* at once: what does not fit into the arena would have been claimed in vain */
#define CLAIM_ARENA (16u << 20)
#define CALL_ARENA  (64u << 10)
#define LEASE_SLACK (5 * USEC_PER_SEC)
#define NONCE_LEN   32
#define HEADERS_MAX 12

struct callbacks {
    struct worker *w;
    struct http_out *out;
    struct loop_timer *poll;
    struct arena claim; /* of the claim being read */
    bool running, claiming;
    size_t claimed, ended; /* by the last claim; since then */
    struct call *calls;    /* under way */
    long active, suspects;
    struct callback_stats *stats;
    struct callback_health *health;
};

/* One try. Owns copies of its row. */
struct call {
    struct callbacks *c;
    struct call *prev, *next;
    struct arena arena;
    struct store_callback row;
    struct store_callback_try result;
    struct verify_key app_key; /* alg NONE: the platform's signs, or nobody */
    struct slice app_serial;
    pay_time_t started_at;
};

static void call_free(void *arg)
{
    struct call *x = arg;

    verify_key_release(&x->app_key);
    arena_release(&x->arena);
    free(x);
}

static void claim(struct callbacks *c);

static void call_end(struct call *x)
{
    struct callbacks *c = x->c;

    if (x->prev)
        x->prev->next = x->next;
    else
        c->calls = x->next;
    if (x->next)
        x->next->prev = x->prev;
    c->active--;
    c->suspects -= x->row.suspect;
    loop_defer(c->w->loop, call_free, x);
    if (++c->ended >= (c->claimed + 1) / 2 && c->claimed)
        claim(c);
}

/* ---- the result ---- */

static void on_stored(void *arg, enum store_result r)
{
    struct call *x = arg;

    failpoint(FAILPOINT_CALLBACK_STORED);
    if (r != STORE_DONE)
        log_event(LOG_WARN, "callback_try_not_stored", LOG_I("callback", x->row.id),
                  LOG_I("result", r));
    call_end(x);
}

static bool agreed(struct arena *a, const struct http_out_result *r)
{
    const struct json *doc;
    struct json_error err;

    return r->error == HTTP_OUT_OK && r->status == 200 &&
           json_parse(a, r->body, NULL, &doc, &err) == 0 &&
           slice_is(json_str(doc, "code"), "SUCCESS");
}

/* +-10 %, from the id: merchants that came back are not all called in the same second. */
static int64_t with_jitter(int64_t us, int64_t id, uint32_t tries)
{
    uint64_t h = ((uint64_t)id + tries) * 0x9e3779b97f4a7c15ULL;

    return us + us / 10 * ((int64_t)(h >> 54) - 512) / 512;
}

/* The merchant may ask for more time than the schedule gives, not for less, nor for ever. */
static int64_t asked_us(const struct callback_options *o, const struct http_out_result *r)
{
    int64_t most = o->retry_after_us;

    if (r->error != HTTP_OUT_OK || r->retry_after_s < 0)
        return 0;
    return r->retry_after_s < most / USEC_PER_SEC ? r->retry_after_s * USEC_PER_SEC : most;
}

static void schedule(struct call *x, const struct http_out_result *r, pay_time_t now)
{
    const struct callback_options *o = &x->c->w->options->callbacks;
    struct store_callback_try *t = &x->result;
    uint32_t failed = x->row.tries; /* this one included */
    int64_t wait, asked = asked_us(o, r);

    if (failed > o->steps || r->status == 410) {
        t->state = CALLBACK_GIVEN_UP;
        return;
    }
    t->state = CALLBACK_WAITING;
    wait = with_jitter(o->schedule_us[failed - 1], x->row.id, failed);
    t->next_at = now + (wait > asked ? wait : asked);
}

/* error: NULL when the merchant has answered. */
static void tried(struct call *x, const struct http_out_result *r, const char *error)
{
    struct worker *w = x->c->w;
    pay_time_t now = worker_now(w);
    struct store_callback_try *t = &x->result;

    *t = (struct store_callback_try){.callback = &x->row,
                                     .at = x->started_at,
                                     .http_status = r->status,
                                     .took_us = r->took_us,
                                     .done = on_stored,
                                     .arg = x};
    if (agreed(&x->arena, r))
        t->state = CALLBACK_DONE;
    else
        schedule(x, r, now);
    if (error)
        t->error = slice_of(error);
    else if (t->state != CALLBACK_DONE)
        t->error = SLICE("not_agreed");
    log_event(t->state == CALLBACK_GIVEN_UP ? LOG_ALERT : LOG_INFO, "callback",
              LOG_I("callback", x->row.id), LOG_S("mchid", x->row.mchid),
              LOG_I("try", x->row.tries), LOG_I("status", r->status), LOG_S("error", t->error),
              LOG_I("ms", r->took_us / USEC_PER_MSEC));
    if (r->status != 0 || r->took_us > w->options->callbacks.timeout_us / 2)
        callback_health_note(x->c->health, x->row.mchid,
                             r->took_us > w->options->callbacks.timeout_us / 2);
    callback_stats_try(x->c->stats, t->state, r->status != 0);
    store_callback_tried(w->store, t);
}

static void on_answer(void *arg, const struct http_out_result *r)
{
    failpoint(FAILPOINT_CALLBACK_ANSWERED);
    tried(arg, r, r->error == HTTP_OUT_OK ? NULL : http_out_error_name(r->error));
}

/* No call without a signature. It counts as a try: with the same key the next one at once would end
 * no better, and whoever looks at the callback shall see why nothing comes. */
static void not_signed(struct call *x)
{
    const struct http_out_result none = {.error = HTTP_OUT_REFUSED, .retry_after_s = -1};

    tried(x, &none, "not_signed");
}

/* ---- sending ---- */

struct signature {
    struct slice timestamp, nonce, serial, value;
};

static struct slice signed_with(struct call *x, const struct verify_key *k,
                                const struct slice *parts, size_t n)
{
    struct slice value = SLICE_NULL;
    struct buf b;

    buf_init(&b, 1024);
    if (scheme_sign(k, parts, n, &b) == 0)
        value = arena_copy(&x->arena, buf_slice(&b));
    buf_release(&b);
    return value;
}

static struct slice timestamp(struct call *x)
{
    return arena_int64(&x->arena, worker_now(x->c->w) / USEC_PER_SEC);
}

static int sign(struct call *x, struct signature *s)
{
    struct worker *w = x->c->w;
    bool hmac = x->app_key.alg == KEY_HMAC_SHA256;
    struct slice parts[SCHEME_PARTS];
    char nonce[NONCE_LEN];
    size_t n;

    random_token(nonce, sizeof(nonce));
    s->nonce = arena_copy(&x->arena, slice_n(nonce, sizeof(nonce)));
    s->timestamp = timestamp(x);
    s->serial = hmac ? x->app_serial : slice_of(w->options->platform_serial);
    n = scheme_answer_parts(s->timestamp, s->nonce, x->row.body, parts);
    s->value = signed_with(x, hmac ? &x->app_key : &w->platform_key, parts, n);
    return s->value.p && !x->arena.failed ? 0 : -1;
}

static size_t add_members(struct call *x, const char *prefix, const struct signature *s,
                          struct http_header *h)
{
    const struct {
        const char *name;
        struct slice value;
    } members[] = {{"Timestamp", s->timestamp},
                   {"Nonce", s->nonce},
                   {"Serial", s->serial},
                   {"Signature", s->value}};
    size_t n = sizeof(members) / sizeof(members[0]);

    for (size_t i = 0; i < n; i++)
        h[i] = (struct http_header){
            arena_join(&x->arena, (struct slice[]){slice_of(prefix), slice_of(members[i].name)}, 2),
            members[i].value};
    return n;
}

/* Our header scheme. RSA callbacks carry the Wechatpay- names too, so that its SDKs verify them
 * unchanged. 0 = not signed. */
static size_t add_signature(struct call *x, struct http_header *h)
{
    struct signature s;
    size_t n;

    if (sign(x, &s) != 0)
        return 0;
    n = add_members(x, scheme_header_prefix(SCHEME_PAY_HMAC), &s, h);
    if (x->app_key.alg != KEY_HMAC_SHA256)
        n += add_members(x, scheme_header_prefix(SCHEME_WECHATPAY2_RSA), &s, h + n);
    return n;
}

/* Standard Webhooks, with the app's secret: there is none for apps without an HMAC key. The id is
 * the callback's and the same in every try. 0 = not signed. */
static size_t add_webhook(struct call *x, struct http_header *h)
{
    char id[ID_TEXT_LEN + 1];
    struct slice parts[SCHEME_PARTS], value;
    size_t n;

    if (x->app_key.alg != KEY_HMAC_SHA256)
        return 0;
    id_format(id, 'E', x->row.id);
    h[0] = (struct http_header){SLICE("webhook-id"), arena_copy(&x->arena, slice_of(id))};
    h[1] = (struct http_header){SLICE("webhook-timestamp"), timestamp(x)};
    n = scheme_webhook_parts(h[0].value, h[1].value, x->row.body, parts);
    value = signed_with(x, &x->app_key, parts, n);
    h[2] = (struct http_header){SLICE("webhook-signature"),
                                arena_printf(&x->arena, "v1,%.*s", SLICE_FMT(value))};
    return value.p && !x->arena.failed ? 3 : 0;
}

static void post(struct call *x)
{
    struct worker *w = x->c->w;
    struct http_header headers[HEADERS_MAX] = {{SLICE("Content-Type"), SLICE("application/json")},
                                               {SLICE("Accept"), SLICE("application/json")}};
    size_t n = x->row.webhook ? add_webhook(x, headers + 2) : add_signature(x, headers + 2);

    if (n == 0) {
        not_signed(x);
        return;
    }
    http_out_post(x->c->out, x->row.url, headers, n + 2, x->row.body,
                  w->options->callbacks.timeout_us, on_answer, x);
    failpoint(FAILPOINT_CALLBACK_SENT);
}

static int open_app_key(struct call *x, const struct store_key *k)
{
    struct worker *w = x->c->w;
    struct slice context = arena_printf(&x->arena, "app_key:%.*s", SLICE_FMT(k->serial));
    struct buf plain;
    int rc;

    x->app_serial = arena_copy(&x->arena, k->serial);
    buf_init(&plain, 64 << 10);
    rc = -1;
    if (vault_ring_open(&w->vault, context, k->material_sealed, &plain) >= 0)
        rc = verify_key_load(&x->app_key, KEY_HMAC_SHA256, buf_slice(&plain));
    if (plain.p)
        wipe(plain.p, plain.n);
    buf_release(&plain);
    return rc;
}

static void on_key(void *arg, enum store_result r, const struct store_key *k)
{
    struct call *x = arg;

    if (r == STORE_NONE || (r == STORE_DONE && open_app_key(x, k) == 0)) {
        post(x);
        return;
    }
    log_event(LOG_ERROR, "callback_key", LOG_I("callback", x->row.id), LOG_I("result", r));
    if (r == STORE_DONE)
        not_signed(x);
    else
        call_end(x); /* its claim runs out, then it is tried again */
}

static void call_start(struct callbacks *c, const struct store_callback *row)
{
    struct call *x = calloc(1, sizeof(*x));

    if (!x)
        return;
    arena_init(&x->arena, CALL_ARENA);
    x->c = c;
    x->started_at = worker_now(c->w);
    x->row = *row;
    x->row.mchid = arena_copy(&x->arena, row->mchid);
    x->row.app_id = arena_copy(&x->arena, row->app_id);
    x->row.url = arena_copy(&x->arena, row->url);
    x->row.body = arena_copy(&x->arena, row->body);
    if (x->arena.failed) {
        call_free(x);
        return;
    }
    x->next = c->calls;
    if (x->next)
        x->next->prev = x;
    c->calls = x;
    c->active++;
    c->suspects += x->row.suspect;
    store_app_signing_key(c->w->store, x->row.app_id, &x->arena, on_key, x);
}

/* ---- claiming ---- */

static void on_claimed(void *arg, enum store_result r, const struct store_callback *rows, size_t n)
{
    struct callbacks *c = arg;

    c->claimed = r == STORE_DONE ? n : 0;
    c->ended = 0;
    if (c->claimed)
        failpoint(FAILPOINT_CALLBACK_CLAIMED);
    for (size_t i = 0; i < c->claimed; i++)
        call_start(c, &rows[i]);
    arena_clear(&c->claim);
    c->claiming = false;
}

/* A merchant that does not answer keeps its share of the calls and no more, and all such merchants
 * together half of them (R4.1). */
static void claim_now(struct callbacks *c)
{
    const struct callback_options *o = &c->w->options->callbacks;
    const struct process_options *p = c->w->process;
    pay_time_t now = worker_now(c->w);
    long free_calls = o->active - c->active, free_suspects = (o->active + 1) / 2 - c->suspects;
    struct slice *busy = arena_array(&c->claim, struct slice, (size_t)c->active);
    struct store_callback_wish wish = {
        .slot_from = p->slot_from,
        .slot_to = p->slot_to,
        .now = now,
        .lease_until = now + o->timeout_us + LEASE_SLACK,
        .max = (unsigned)(free_calls < CLAIM_MAX ? free_calls : CLAIM_MAX),
        .per_merchant = (unsigned)o->per_merchant,
        .suspects_max = (unsigned)(free_suspects > 0 ? free_suspects : 0),
        .busy = busy};

    wish.suspects = callback_health_suspects(c->health, &c->claim, &wish.nsuspects);
    if (c->claim.failed) {
        arena_clear(&c->claim);
        return;
    }
    for (const struct call *x = c->calls; x; x = x->next)
        busy[wish.nbusy++] = x->row.mchid;
    c->claiming = true;
    store_callbacks_claim(c->w->store, &wish, &c->claim, on_claimed, c);
}

/* At every poll, and when as many have ended as half of the last claim: who waits for room does not
 * wait for the clock too. */
static void claim(struct callbacks *c)
{
    if (c->running && !c->claiming && c->active < c->w->options->callbacks.active &&
        worker_clock_steady(c->w))
        claim_now(c);
}

static void on_poll(void *arg)
{
    struct callbacks *c = arg;

    loop_timer_set(c->poll, c->w->options->callbacks.poll_us);
    claim(c);
}

struct callbacks *callbacks_new(struct worker *w)
{
    const struct callback_options *o = &w->options->callbacks;
    struct http_out_conf oc = {.allow = o->allow,
                               .nallow = o->nallow,
                               .deny = o->deny,
                               .ndeny = o->ndeny,
                               .ca_file = o->ca_file,
                               .max_active = (size_t)o->active + 16,
                               .user_agent = "ngx_pay/1"};
    struct callbacks *c = calloc(1, sizeof(*c));

    if (!c)
        return NULL;
    c->w = w;
    arena_init(&c->claim, CLAIM_ARENA);
    c->out = http_out_new(w->loop, &oc);
    c->poll = loop_timer_new(w->loop, on_poll, c);
    c->stats = callback_stats_new(w);
    c->health = callback_health_new();
    if (!c->out || !c->poll || !c->stats || !c->health) {
        callbacks_free(c);
        return NULL;
    }
    return c;
}

void callbacks_start(struct callbacks *c)
{
    c->running = true;
    loop_timer_set(c->poll, 0);
    callback_stats_start(c->stats);
}

void callbacks_metrics(const void *arg, struct buf *b)
{
    const struct callbacks *c = arg;

    callback_stats_metrics(c->stats, callbacks_active(c), c->suspects, b);
}

void callbacks_stop(struct callbacks *c)
{
    c->running = false;
    loop_timer_clear(c->poll);
    callback_stats_stop(c->stats);
}

void callbacks_end(struct callbacks *c)
{
    if (!c)
        return;
    callbacks_stop(c);
    http_out_free(c->out);
    c->out = NULL;
}

long callbacks_active(const struct callbacks *c)
{
    return c->active + c->claiming;
}

void callbacks_free(struct callbacks *c)
{
    if (!c)
        return;
    loop_timer_free(c->poll);
    http_out_free(c->out);
    callback_stats_free(c->stats);
    callback_health_free(c->health);
    arena_release(&c->claim);
    free(c);
}
