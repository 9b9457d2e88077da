#include "create.h"

#include "digest.h"
#include "flow.h"
#include "flows.h"
#include "reply.h"
#include "reroute.h"

#include <stdlib.h>

#define POLL_US (100 * USEC_PER_MSEC)
#define IN_FLIGHT_US                                                                               \
    (10 * USEC_PER_SEC) /* how long after its send_before a prepare may be answered */
#define ARENA_CAP (64u << 10)

struct waiter {
    const struct worker *w;
    struct http_req *req;
    bool replayed;
    struct waiter *next;
};

/* Lives until its flow has ended and everyone is answered. */
struct creation {
    struct worker *w;
    struct flow *flow; /* NULL once done */
    struct waiter *waiters;
    struct loop_timer *timer; /* the deadline, or the next look at another process's creation */
    int64_t deadline_us;
    bool answered; /* at the deadline; who joins later is answered at once */
    /* when the number is taken: what is looked up, and the order found */
    struct arena names;
    struct slice digest, mchid, out_trade_no;
    uint32_t slot;
    struct arena row;
};

static void on_timer(void *arg);
static void look_up(struct creation *c);

/* ---- what the request says ---- */

static struct slice digest_of(struct worker *w, struct arena *a, const struct json *doc,
                              struct slice app)
{
    static const char *const paths[] = {
        "method", "out_trade_no", "amount.currency", "description", "notify_url", "time_expire",
        "scene",  "product",      "store_id",        "attach",      "channel",    NULL};
    static const char *const paths_payer[] = {
        "method",          "out_trade_no", "amount.currency", "description",
        "notify_url",      "time_expire",  "scene",           "product",
        "store_id",        "attach",       "channel",         "payer_id",
        "payer_client_ip", "return_url",   "terminal_id",     NULL};
    /* what only some methods have came later: the digests of native orders stay as they are */
    bool native = slice_is(json_str(doc, "method"), "native");
    struct auth_code code;
    struct slice digest;

    auth_code_take(&code, doc);
    digest = content_digest(a, doc, app, "amount.total", native ? paths : paths_payer,
                            auth_code_digest(a, &code, w->vault.keys[0]));
    auth_code_forget(&code);
    return digest;
}

static struct slice text_of(struct arena *a, const struct json *doc, const char *path)
{
    return arena_copy(a, json_str(doc, path));
}

/* What the edge decided, for the trace: whose key signed, which channels were offered, and why. */
static struct slice route_of(const struct http_req *req, struct arena *a)
{
    const struct slice parts[] = {SLICE("key="),       http_req_header(req, "Pay-Serial"),
                                  SLICE(" channels="), http_req_header(req, "Pay-Channels"),
                                  SLICE(" "),          http_req_header(req, "Pay-Route")};

    return arena_join(a, parts, sizeof(parts) / sizeof(parts[0]));
}

/* The new order, all slices in the flow's arena (the request may be answered before it ends). */
static void fill(struct flow *f, const struct http_req *req, const struct json *doc, uint32_t slot)
{
    struct arena *a = &f->arena;
    struct payment *p = &f->payment;

    p->slot = slot;
    p->mchid = arena_copy(a, http_req_header(req, "Pay-Mchid"));
    p->app_id = arena_copy(a, http_req_header(req, "Pay-App"));
    p->trace_id = arena_copy(a, http_req_header(req, "Pay-Trace"));
    p->route = route_of(req, a);
    p->out_trade_no = text_of(a, doc, "out_trade_no");
    p->method = (enum payment_method)payment_method_parse(json_str(doc, "method"));
    p->scene = text_of(a, doc, "scene");
    p->product = text_of(a, doc, "product");
    p->store_id = text_of(a, doc, "store_id");
    json_int64(json_get(doc, "amount.total"), &p->amount);
    p->currency =
        json_get(doc, "amount.currency") ? text_of(a, doc, "amount.currency") : SLICE("CNY");
    p->description = text_of(a, doc, "description");
    p->attach = text_of(a, doc, "attach");
    p->notify_url = text_of(a, doc, "notify_url");
    p->payer = payer_write(a, doc);
    auth_code_take(&f->auth_code, doc);
    p->digest = digest_of(f->w, a, doc, p->app_id);
}

/* ---- answering ---- */

static void answer_all(struct creation *c, void (*answer)(struct waiter *w, const void *arg),
                       const void *arg)
{
    while (c->waiters) {
        struct waiter *w = c->waiters;
        c->waiters = w->next;
        answer(w, arg);
        free(w);
    }
}

static void with_payment(struct waiter *w, const void *arg)
{
    const struct payment *p = arg;
    int status = w->replayed ? 200 : p->state == PAYMENT_PROCESSING ? 202 : 201;

    reply_payment(w->w, w->req, status, p, w->replayed);
}

static void with_problem(struct waiter *w, const void *arg)
{
    reply_problem_full(w->req, arg);
}

static void answer_problem(struct creation *c, enum problem_code code, const char *detail)
{
    struct problem p = {.code = code, .detail = slice_of(detail)};

    answer_all(c, with_problem, &p);
}

static void creation_free(void *arg)
{
    struct creation *c = arg;

    loop_timer_free(c->timer);
    arena_release(&c->names);
    arena_release(&c->row);
    free(c);
}

static void creation_end(struct creation *c)
{
    loop_timer_clear(c->timer);
    loop_defer(c->w->loop, creation_free, c);
}

static int add_waiter(struct creation *c, struct http_req *req, bool replayed)
{
    struct waiter *w = calloc(1, sizeof(*w));

    if (!w)
        return -1;
    *w = (struct waiter){c->w, req, replayed, c->waiters};
    c->waiters = w;
    return 0;
}

/* Everyone gets what is known at the deadline; the flow goes on. */
static void answer_in_time(struct creation *c)
{
    c->answered = true;
    if (c->flow->payment.version > 0)
        answer_all(c, with_payment, &c->flow->payment);
    else
        answer_problem(c, PROBLEM_RESULT_UNKNOWN, NULL);
}

void create_join(struct flow *creating, struct http_req *req)
{
    struct creation *c = creating->arg;

    if (add_waiter(c, req, true) != 0)
        reply_problem(req, PROBLEM_OVERLOADED, NULL, NULL);
    else if (c->answered)
        answer_in_time(c);
}

/* ---- the number is taken: the order as it now is ---- */

static void on_found(void *arg, enum store_result r, const struct payment *p)
{
    struct creation *c = arg;
    struct waiter *w;
    bool elsewhere;

    if (r != STORE_DONE) {
        answer_problem(c, r == STORE_NONE ? PROBLEM_INTERNAL : PROBLEM_RETRY_SAME_NUMBER, NULL);
        creation_end(c);
        return;
    }
    if (!slice_eq(p->digest, c->digest)) {
        answer_problem(c, PROBLEM_OUT_TRADE_NO_CONFLICT, NULL);
        creation_end(c);
        return;
    }
    for (w = c->waiters; w; w = w->next)
        w->replayed = true;
    /* being made by another process just now: wait for its result as the joiners here do */
    elsewhere = p->state == PAYMENT_PROCESSING && !p->code_url.n &&
                worker_now(c->w) < p->prepare_before + IN_FLIGHT_US;
    if (elsewhere && loop_now_us(c->w->loop) + POLL_US < c->deadline_us) {
        loop_timer_set(c->timer, POLL_US);
        return;
    }
    answer_all(c, with_payment, p);
    creation_end(c);
}

static void look_up(struct creation *c)
{
    arena_clear(&c->row);
    store_payment_by_no(c->w->store, c->slot, c->mchid, c->out_trade_no, &c->row, on_found, c);
}

/* ---- the creation's flow ---- */

static void on_flow(void *arg, struct flow *f)
{
    struct creation *c = arg;

    c->flow = NULL;
    switch (f->end) {
    case FLOW_SETTLED:
        answer_all(c, with_payment, &f->payment);
        break;
    case FLOW_EXISTS:
        if (!c->waiters) /* all were answered at the deadline */
            break;
        loop_timer_clear(c->timer); /* one look-up at a time; the next one is on_found's to set */
        c->digest = arena_copy(&c->names, f->payment.digest);
        c->mchid = arena_copy(&c->names, f->payment.mchid);
        c->out_trade_no = arena_copy(&c->names, f->payment.out_trade_no);
        look_up(c);
        return;
    case FLOW_BUSY:
        if (f->payment.version > 0) /* it exists; only the channel's answer is not stored yet */
            answer_all(c, with_payment, &f->payment);
        else
            answer_problem(c, PROBLEM_RETRY_SAME_NUMBER, "nothing was stored");
        break;
    default:
        answer_problem(c, PROBLEM_RESULT_UNKNOWN, NULL);
        break;
    }
    creation_end(c);
}

static void on_timer(void *arg)
{
    struct creation *c = arg;

    if (c->flow)
        answer_in_time(c);
    else /* another process makes it */
        look_up(c);
}

static struct creation *creation_new(struct worker *w, struct http_req *req, uint32_t slot)
{
    struct creation *c = calloc(1, sizeof(*c));

    if (!c)
        return NULL;
    arena_init(&c->names, ARENA_CAP);
    arena_init(&c->row, ARENA_CAP);
    c->w = w;
    c->slot = slot;
    c->timer = loop_timer_new(w->loop, on_timer, c);
    c->deadline_us = loop_now_us(w->loop) + w->options->answer_within_us;
    if (!c->timer || add_waiter(c, req, false) != 0) {
        creation_free(c);
        return NULL;
    }
    return c;
}

/* Why no channel may take a new order, in the edge's words: "CODE POINTER". */
static struct problem refusal_of_edge(const struct http_req *req)
{
    struct slice pointer = http_req_header(req, "Pay-Refuse");
    struct slice code = slice_cut(&pointer, ' ');
    struct problem p = {.code = PROBLEM_NO_CHANNEL,
                        .detail = http_req_header(req, "Pay-Route"),
                        .pointer = pointer};

    if (slice_is(code, problem_name(PROBLEM_AMOUNT_OUT_OF_RANGE)))
        p.code = PROBLEM_AMOUNT_OUT_OF_RANGE;
    else if (slice_is(code, problem_name(PROBLEM_CHANNEL_OUT)))
        p.code = PROBLEM_CHANNEL_OUT;
    else if (!code.n) /* a channel that the edge knows and this process cannot use */
        p.detail = SLICE("no account is set up for the channel");
    return p;
}

struct refusal {
    struct worker *w;
    struct http_req *req;
    struct slice digest;
    struct problem problem;
};

/* A request that may not make an order may still be the repetition of one that did. */
static void on_refused_number(void *arg, enum store_result r, const struct payment *p)
{
    struct refusal *x = arg;

    if (r == STORE_NONE)
        reply_problem_full(x->req, &x->problem);
    else if (r != STORE_DONE)
        reply_problem(x->req, PROBLEM_RETRY_SAME_NUMBER, NULL, NULL);
    else if (!slice_eq(p->digest, x->digest))
        reply_problem(x->req, PROBLEM_OUT_TRADE_NO_CONFLICT, NULL, NULL);
    else
        reply_payment(x->w, x->req, 200, p, true);
}

static void refuse_unless_known(struct worker *w, struct http_req *req, const struct flow *f,
                                struct problem problem)
{
    struct refusal *x = arena_new(&req->arena, struct refusal);
    struct slice mchid = arena_copy(&req->arena, f->payment.mchid);
    struct slice no = arena_copy(&req->arena, f->payment.out_trade_no);

    if (!x) {
        reply_problem(req, PROBLEM_OVERLOADED, NULL, NULL);
        return;
    }
    *x = (struct refusal){w, req, arena_copy(&req->arena, f->payment.digest), problem};
    store_payment_by_no(w->store, f->payment.slot, mchid, no, &req->arena, on_refused_number, x);
}

/* What forbids making this order now; PROBLEM_NONE if nothing does. */
static struct problem check_new(struct worker *w, struct http_req *req, const struct json *doc,
                                struct flow *f)
{
    struct payment *p = &f->payment;
    struct slice expire = json_str(doc, "time_expire");
    pay_time_t now = worker_now(w);

    if (f->arena.failed || !p->digest.p)
        return (struct problem){.code = PROBLEM_OVERLOADED};
    p->time_expire = now + w->options->expire_us;
    if (expire.n && (time_parse_rfc3339(expire, &p->time_expire) != 0 || p->time_expire <= now))
        return (struct problem){.code = PROBLEM_FIELD_INVALID,
                                .detail = SLICE("time_expire is in the past"),
                                .pointer = SLICE("/time_expire")};
    if (reroute_first(f, http_req_header(req, "Pay-Channels")) != 0)
        return refusal_of_edge(req);
    return (struct problem){.code = PROBLEM_NONE};
}

static void join_or_conflict(struct flow *creating, struct http_req *req, struct slice digest)
{
    if (!digest.p)
        reply_problem(req, PROBLEM_OVERLOADED, NULL, NULL);
    else if (slice_eq(creating->payment.digest, digest))
        create_join(creating, req);
    else
        reply_problem(req, PROBLEM_OUT_TRADE_NO_CONFLICT, NULL, NULL);
}

void create_payment(struct worker *w, struct http_req *req, const struct json *doc)
{
    struct flow *f, *creating;
    struct creation *c;
    struct problem problem;
    int64_t slot;

    if (reply_slot(req, &slot) != 0)
        return;
    creating =
        flows_creating(w->flows, http_req_header(req, "Pay-Mchid"), json_str(doc, "out_trade_no"));
    if (creating) {
        join_or_conflict(creating, req,
                         digest_of(w, &req->arena, doc, http_req_header(req, "Pay-App")));
        return;
    }
    c = creation_new(w, req, (uint32_t)slot);
    f = c ? flow_new(w, on_flow, c) : NULL;
    if (!f) {
        if (c)
            creation_end(c);
        reply_problem(req, PROBLEM_OVERLOADED, NULL, NULL);
        return;
    }
    fill(f, req, doc, (uint32_t)slot);
    c->flow = f;
    problem = check_new(w, req, doc, f);
    if (problem.code != PROBLEM_NONE) {
        refuse_unless_known(w, req, f, problem);
        flow_drop(f);
        free(c->waiters);
        c->waiters = NULL;
        creation_end(c);
        return;
    }
    loop_timer_set(c->timer, w->options->answer_within_us);
    flow_create(f);
}
