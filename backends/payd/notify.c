#include "notify.h"

#include "accounts.h"
#include "backends/io/failpoint.h"
#include "backends/io/log.h"
#include "flow.h"
#include "metrics.h"
#include "notice_guard.h"

#define HEADERS_MAX  64
#define NOTICES_TOLD 20 /* in a second, in the log */

/* Lives in the request's arena. */
struct notice {
    struct worker *w;
    struct http_req *req;
    const struct channel *channel;
    struct slice of_channel, of_account; /* of the request's target */
    uint8_t digest[NOTICE_DIGEST_LEN];
    uint32_t command_seq;
};

/* Forged ones come as fast as a stranger likes: a few of each second are told, all are counted. */
static bool may_log(struct worker *w)
{
    int64_t now_s = loop_now_us(w->loop) / USEC_PER_SEC;

    if (w->notices_at_s != now_s) {
        if (w->notices_told > NOTICES_TOLD)
            log_event(LOG_ALERT, "notifications_not_told",
                      LOG_I("count", w->notices_told - NOTICES_TOLD));
        w->notices_at_s = now_s;
        w->notices_told = 0;
    }
    return ++w->notices_told <= NOTICES_TOLD;
}

static void acknowledge(struct notice *n, enum notice_end end)
{
    bool ok = end == NOTICE_TAKEN || end == NOTICE_OTHER;
    struct channel_ack ack;
    struct http_header type;

    metrics_notice(n->w->metrics, n->channel, end);
    channel_ack(n->channel, ok, &ack);
    type = (struct http_header){SLICE("Content-Type"), ack.content_type};
    http_req_reply(n->req, ack.status, &type, ack.content_type.n ? 1 : 0, ack.body);
}

static void on_flow(void *arg, struct flow *f)
{
    struct notice *n = arg;
    enum notice_end end = f->end == FLOW_SETTLED ? f->step.mismatch ? NOTICE_MISMATCH : NOTICE_TAKEN
                          : f->end == FLOW_NONE  ? NOTICE_UNKNOWN_ORDER
                                                 : NOTICE_BUSY;

    failpoint(FAILPOINT_NOTIFY_COMMITTED);
    if (end == NOTICE_TAKEN)
        notice_guard_taken(n->w->notice_guard, n->digest, loop_now_us(n->w->loop));
    else if (end != NOTICE_BUSY)
        notice_guard_miss(n->w->notice_guard, n->of_channel, n->of_account,
                          loop_now_us(n->w->loop));
    if (end != NOTICE_TAKEN && may_log(n->w))
        log_event(f->end == FLOW_BUSY ? LOG_WARN : LOG_ALERT, "notification_not_taken",
                  LOG_I("order", f->payment.id), LOG_I("end", f->end),
                  LOG_S("input", slice_of(f->step.input_name)));
    acknowledge(n, end);
}

static void refuse(struct notice *n, struct slice channel, struct slice account, const char *reason)
{
    if (may_log(n->w))
        log_event(LOG_ALERT, "notification_refused", LOG_S("channel", channel),
                  LOG_S("account", account), LOG_S("reason", slice_of(reason)));
    acknowledge(n, NOTICE_REFUSED);
}

/* Known without the database: taken a moment ago, or one too many. */
static bool is_known(struct notice *n, const struct channel_result *r)
{
    int64_t now = loop_now_us(n->w->loop);

    if (notice_digest(n->of_channel, n->of_account, r, n->digest) != 0) {
        acknowledge(n, NOTICE_BUSY);
        return true;
    }
    if (notice_guard_known(n->w->notice_guard, n->digest, now)) {
        acknowledge(n, NOTICE_TAKEN);
        return true;
    }
    if (notice_guard_may(n->w->notice_guard, n->of_channel, n->of_account, now))
        return false;
    if (may_log(n->w))
        log_event(LOG_ALERT, "notifications_limited", LOG_S("channel", n->of_channel),
                  LOG_S("account", n->of_account));
    acknowledge(n, NOTICE_LIMITED);
    return true;
}

static struct payment_event event_of(struct arena *a, const struct channel_result *r)
{
    bool refund = r->about == CALL_REFUND_QUERY;
    struct slice no = refund ? r->channel_refund_no : r->channel_trade_no;

    return (struct payment_event){.kind = PAYMENT_EVENT_NOTIFY,
                                  .cls = r->cls,
                                  .code = arena_copy(a, r->code),
                                  .message = arena_copy(a, r->message),
                                  .channel_trade_no = arena_copy(a, no),
                                  .amount = refund ? r->refund_amount : r->amount,
                                  .currency = arena_copy(a, r->currency),
                                  .paid_at = r->paid_at};
}

static void take(struct worker *w, struct notice *n, struct slice channel, struct slice account,
                 const struct channel_result *r)
{
    bool refund = r->about == CALL_REFUND_QUERY;
    struct payment_event e;
    struct flow *f;
    int64_t id;

    /* genuine news, but not of a payment's or refund's result */
    if ((r->about != CALL_QUERY && !refund) ||
        (r->cls == CLASS_UNKNOWN && !r->request_no.n && !r->refund_no.n)) {
        log_event(LOG_NOTICE, "notification_without_result", LOG_S("channel", channel),
                  LOG_S("account", account), LOG_S("code", r->code));
        acknowledge(n, NOTICE_OTHER);
        return;
    }
    if (refund ? id_parse(r->refund_no, 'R', &id) != 0
               : request_no_parse(r->request_no, &id, &n->command_seq) != 0) {
        refuse(n, channel, account, "not an order number of ours");
        return;
    }
    n->of_channel = channel;
    n->of_account = account;
    if (is_known(n, r))
        return;
    f = flow_new(w, on_flow, n);
    if (!f) {
        acknowledge(n, NOTICE_BUSY);
        return;
    }
    e = event_of(&f->arena, r);
    f->only_channel = arena_copy(&f->arena, channel);
    f->only_account = arena_copy(&f->arena, account);
    f->only_seq = n->command_seq;
    e.seq = n->command_seq;
    if (refund)
        flow_start_refund(f, id, &e);
    else
        flow_start(f, id, &e);
}

void notify_handle(void *arg, struct http_req *req)
{
    struct worker *w = arg;
    struct slice path = req->target, rest, channel, account;
    struct http_header headers[HEADERS_MAX];
    struct notice *n = arena_new(&req->arena, struct notice);
    const struct channel_account *acc = NULL;
    struct channel_result r;
    const char *reason;

    path = slice_cut(&path, '?');
    rest = slice_starts(path, SLICE("/notify/")) ? slice_n(path.p + 8, path.n - 8) : SLICE_NULL;
    channel = slice_cut(&rest, '/');
    account = rest;
    if (n) {
        n->w = w;
        n->req = req;
        n->channel = channel_find(w->channels, channel);
        acc = accounts_get(w->accounts, channel, account);
    }
    if (!n || !n->channel || !acc) {
        metrics_stray(w->metrics);
        http_req_reply(req, n ? 404 : 503, NULL, 0, SLICE_NULL);
        return;
    }
    if (channel_notification(n->channel, acc, headers, http_req_headers(req, headers, HEADERS_MAX),
                             req->body, worker_now(w), &req->arena, &r, &reason) != 0) {
        refuse(n, channel, account, reason);
        return;
    }
    failpoint(FAILPOINT_NOTIFY_TAKEN);
    take(w, n, channel, account, &r);
}
