#include "call.h"

#include "accounts.h"
#include "backends/io/failpoint.h"
#include "backends/io/log.h"
#include "core/json.h"
#include "flow.h"
#include "outcomes.h"
#include "present.h"

/* The egress's own time-outs (pay_channel timeout) end a call much earlier; this is the backstop.
 */
#define CALL_TIMEOUT_US (36 * USEC_PER_SEC)
#define ANSWER_MAX      (64u << 10)
#define ENCODE_MAX      (256u << 10)
#define PAY_HEADERS     5 /* at most */

struct unsent {
    struct flow *f;
    struct payment_event event;
};

static struct payment_event answer_event(const struct flow *f, enum sent sent,
                                         enum answer_class cls, struct slice code)
{
    return (struct payment_event){.kind = PAYMENT_EVENT_ANSWER,
                                  .call = f->attempt.kind,
                                  .attempt_n = f->attempt.n,
                                  .asked = f->attempt.version,
                                  .seq = f->of_refund ? 0 : f->attempt.command_seq,
                                  .asked_at = f->attempt.committed_at,
                                  .sent = sent,
                                  .cls = cls,
                                  .code = code,
                                  .amount = -1};
}

static void on_unsent(void *arg)
{
    struct unsent *u = arg;

    flow_answer(u->f, &u->event);
}

/* Nothing left this process: said so in the next turn, as every answer. */
static void answer_later(struct flow *f, struct payment_event e)
{
    struct unsent *u = arena_new(&f->arena, struct unsent);

    if (!u) { /* out of arena: the flow ends soon anyway */
        flow_answer(f, &e);
        return;
    }
    u->f = f;
    u->event = e;
    loop_defer(f->w->loop, on_unsent, u);
}

static void not_sent(struct flow *f, const char *code)
{
    log_event(LOG_ERROR, "call_not_sent", LOG_S("reason", slice_of(code)),
              LOG_S("channel", flow_channel(f)), LOG_S("trace", f->payment.trace_id));
    answer_later(f, answer_event(f, SENT_NO, CLASS_NOT_SENT, slice_of(code)));
}

/* Some prepares are nothing but a text that the payer takes to the channel (present.h). */
static bool is_local(const struct flow *f, const struct channel *c)
{
    struct channel_api api;

    return f->attempt.kind == CALL_PREPARE &&
           channel_api(c, CALL_PREPARE, f->payment.method, &api) && api.local;
}

static void add_refund(const struct flow *f, struct arena *a, struct channel_order *o)
{
    char no[ID_TEXT_LEN + 1];

    id_format(no, 'R', f->refund.id);
    o->refund_no = arena_copy(a, slice_of(no));
    o->refund_amount = f->refund.amount;
    o->refund_reason = f->refund.reason;
    o->refund_created_at = f->refund.created_at;
}

static void order_of(const struct flow *f, struct arena *a, struct channel_order *o)
{
    present_order(a, &f->payment, f->attempt.command_seq, o);
    if (f->attempt.kind == CALL_CHARGE)
        o->auth_code = auth_code_slice(&f->auth_code);
    if (f->of_refund)
        add_refund(f, a, o);
}

/* The one text that the payer needs: a code, an address, or what channel_present makes more of. */
static struct slice prepared_with(enum payment_method method, const struct channel_result *r)
{
    if (method == METHOD_NATIVE)
        return r->code_url;
    return method == METHOD_H5 && r->h5_url.n ? r->h5_url : r->prepay;
}

static struct payment_event decoded_event(struct flow *f, const struct http_answer *answer)
{
    const struct channel *c = channel_find(f->w->channels, flow_channel(f));
    const struct channel_account *acc =
        accounts_get(f->w->accounts, flow_channel(f), flow_account(f));
    struct slice body;
    struct channel_order order;
    struct channel_result r;
    struct payment_event e;

    if (!c || !acc)
        return answer_event(f, SENT_ANSWERED, CLASS_UNKNOWN, SLICE("account is gone"));
    if (answer->body.n > ANSWER_MAX) /* read without its body it could mean something else */
        return answer_event(f, SENT_ANSWERED, CLASS_UNKNOWN, SLICE("answer too large"));
    body = arena_copy(&f->arena, answer->body);
    order_of(f, &f->arena, &order);
    channel_decode(c, acc, f->attempt.kind, &order, answer->status, answer->headers,
                   answer->nheaders, body, worker_now(f->w), &f->arena, &r);
    e = answer_event(f, SENT_ANSWERED, r.cls, r.code);
    e.message = auth_code_mask(&f->arena, &f->auth_code, r.message);
    e.channel_trade_no = f->of_refund ? r.channel_refund_no : r.channel_trade_no;
    e.amount = f->of_refund ? r.refund_amount : r.amount;
    e.currency = r.currency;
    e.paid_at = r.paid_at;
    e.code_url = prepared_with(f->payment.method, &r);
    return e;
}

/* The egress's own refusal: problem+json with a code. */
static struct slice refusal_code(struct flow *f, const struct http_answer *answer)
{
    const struct json *doc;
    struct json_error err;
    struct slice code = SLICE_NULL;

    if (answer->body.n <= ANSWER_MAX && json_parse(&f->arena, answer->body, NULL, &doc, &err) == 0)
        code = arena_copy(&f->arena, json_str(doc, "code"));
    return code.n ? code : arena_printf(&f->arena, "HTTP %d", answer->status);
}

/* What only we could read in it. A 5xx says it itself: the egress has counted it. */
static void report(const struct flow *f, const struct http_answer *answer,
                   const struct payment_event *e)
{
    if (e->sent == SENT_ANSWERED && answer->status < 500)
        outcomes_add(f->w->outcomes, flow_channel(f), f->attempt.kind, e->cls,
                     loop_now_us(f->w->loop) - f->sent_us);
}

/* For the trace: "METHOD TARGET", a newline and the body, as they left us. */
static void note_request(struct flow *f, struct arena *a, const struct channel_request *req)
{
    size_t n = req->method.n + 1 + req->target.n + 1 + req->body.n;
    char *text = arena_alloc(a, n), *at = text;
    const struct slice parts[] = {req->method, SLICE(" "), req->target, SLICE("\n"), req->body};

    f->job.request_digest = f->job.answer_digest = SLICE_NULL;
    if (!text)
        return;
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
        if (parts[i].n)
            memcpy(at, parts[i].p, parts[i].n);
        at += parts[i].n;
    }
    if (sha256(slice_n(text, n), f->request_digest) == 0)
        f->job.request_digest = slice_n(f->request_digest, sizeof(f->request_digest));
}

/* The answer's body as it came. */
static void note_answer(struct flow *f, const struct http_answer *answer)
{
    if (answer->outcome == HTTP_ANSWERED && sha256(answer->body, f->answer_digest) == 0)
        f->job.answer_digest = slice_n(f->answer_digest, sizeof(f->answer_digest));
}

static void on_answer(void *arg, const struct http_answer *answer)
{
    struct flow *f = arg;
    struct payment_event e;
    struct slice sent;

    failpoint(FAILPOINT_CHANNEL_ANSWERED);
    if (answer->outcome == HTTP_NOT_SENT)
        e = answer_event(f, SENT_NO, CLASS_NOT_SENT, slice_of(answer->reason));
    else if (answer->outcome != HTTP_ANSWERED)
        e = answer_event(f, SENT_MAYBE, CLASS_UNKNOWN, slice_of(answer->reason));
    else {
        sent = http_find(answer->headers, answer->nheaders, "Pay-Sent", NULL);
        if (slice_is(sent, "no"))
            e = answer_event(f, SENT_NO, CLASS_NOT_SENT, refusal_code(f, answer));
        else if (slice_is(sent, "answered"))
            e = decoded_event(f, answer);
        else
            e = answer_event(f, SENT_MAYBE, CLASS_UNKNOWN,
                             arena_printf(&f->arena, "HTTP %d", answer->status));
        e.http_status = answer->status;
    }
    note_answer(f, answer);
    report(f, answer, &e);
    if (e.cls != CLASS_REFUSED) /* then another channel may take it */
        auth_code_forget(&f->auth_code);
    flow_answer(f, &e);
}

/* How many calls for the same thing the egress has refused. */
static unsigned not_sent_before(const struct flow *f)
{
    switch (f->attempt.kind) {
    case CALL_PREPARE:
    case CALL_CHARGE:
        return f->payment.not_sent;
    case CALL_REFUND:
        return f->refund.not_sent;
    default:
        return 0;
    }
}

/* How many there are. */
static size_t add_pay_headers(const struct flow *f, struct arena *a, struct http_header *h,
                              struct slice kind)
{
    unsigned not_sent = not_sent_before(f);

    h[0] = (struct http_header){SLICE("Pay-Channel"), flow_channel(f)};
    h[1] = (struct http_header){SLICE("Pay-Attempt"), arena_int64(a, f->attempt_id)};
    h[2] = (struct http_header){SLICE("Pay-Kind"), kind};
    h[3] = (struct http_header){SLICE("Pay-Send-Before"), arena_int64(a, f->send_before_boot_us)};
    if (not_sent == 0)
        return PAY_HEADERS - 1;
    h[4] = (struct http_header){SLICE("Pay-Not-Sent"), arena_int64(a, not_sent)};
    return PAY_HEADERS;
}

/* The bytes of the call live only until the egress client has copied them: thousands of flows may
 * wait for their answers. NULL, or why it cannot be sent. */
static const char *encode_and_send(struct flow *f, const struct channel *c,
                                   const struct channel_account *acc, struct arena *a)
{
    struct channel_request req;
    struct channel_order order;
    struct http_header headers[sizeof(req.headers) / sizeof(req.headers[0]) + PAY_HEADERS];
    const char *reason = "out of memory";
    char nonce[32];
    size_t n;

    random_token(nonce, sizeof(nonce));
    order_of(f, a, &order);
    if (channel_encode(c, acc, f->attempt.kind, &order, worker_now(f->w),
                       slice_n(nonce, sizeof(nonce)), a, &req, &reason) != 0)
        return reason;
    n = add_pay_headers(f, a, headers, req.egress_kind);
    if (a->failed) /* never without its Pay-Attempt and Pay-Send-Before */
        return "out of memory";
    memcpy(headers + n, req.headers, req.nheaders * sizeof(headers[0]));
    struct http_call call = {.method = req.method,
                             .target = req.target,
                             .headers = headers,
                             .nheaders = n + req.nheaders,
                             .body = req.body,
                             .timeout_us = CALL_TIMEOUT_US};
    note_request(f, a, &req);
    f->sent_us = loop_now_us(f->w->loop);
    failpoint(FAILPOINT_CHANNEL_SEND);
    http_egress_send(f->w->egress, &call, on_answer, f);
    failpoint(FAILPOINT_CHANNEL_SENT);
    return NULL;
}

void call_send(struct flow *f)
{
    const struct channel *c = channel_find(f->w->channels, flow_channel(f));
    const struct channel_account *acc =
        accounts_get(f->w->accounts, flow_channel(f), flow_account(f));
    struct arena scratch;
    const char *reason;

    if (!c || !acc) {
        not_sent(f, c ? "no usable account" : "channel not configured");
        return;
    }
    if (is_local(f, c)) {
        answer_later(f, answer_event(f, SENT_ANSWERED, CLASS_ACCEPTED, SLICE("LOCAL")));
        return;
    }
    arena_init(&scratch, ENCODE_MAX);
    reason = encode_and_send(f, c, acc, &scratch);
    arena_release(&scratch);
    if (reason)
        not_sent(f, reason);
}
