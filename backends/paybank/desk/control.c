#include "control.h"

#include "backends/paybank/exchange.h"
#include "backends/paybank/notify.h"
#include "backends/paybank/wire/check.h"
#include "payer.h"

#define LIST_CAP     ((size_t)1 << 30)
#define ANSWER_CAP   65536
#define CLOCK_MAX_MS (400 * 86400000LL)

void reply_text(struct http_req *req, int status, const char *type, struct slice body)
{
    struct http_header h[] = {
        {SLICE("Content-Type"), slice_of(type)},
        {SLICE("Cache-Control"), SLICE("no-store")},
    };

    http_req_reply(req, status, h, 2, body);
}

static void reply_buf(struct http_req *req, int status, struct buf *b)
{
    if (buf_ok(b))
        reply_text(req, status, "application/json", buf_slice(b));
    else
        http_req_abort(req);
    buf_release(b);
}

void reply_error(struct http_req *req, int status, const char *reason)
{
    struct json_writer w;
    struct buf b;

    buf_init(&b, ANSWER_CAP);
    json_writer_init(&w, &b);
    json_begin_object(&w);
    json_member_str(&w, "error", slice_of(reason));
    json_end_object(&w);
    reply_buf(req, status, &b);
}

/* NULL: answered already. */
static const struct json *body_of(struct http_req *req)
{
    const struct json *doc;
    struct json_error err;

    if (json_parse(&req->arena, req->body, NULL, &doc, &err) == 0 && doc->type == JSON_OBJECT)
        return doc;
    reply_error(req, 400, "body is not a JSON object");
    return NULL;
}

/* ---- the payer ---- */

static const char *reason_of(enum books_result r)
{
    switch (r) {
    case BOOKS_IS_PAID:
        return "paid already";
    case BOOKS_IS_CLOSED:
    case BOOKS_IS_REVOKED:
        return "closed";
    case BOOKS_CODE_OLD:
        return "code is older than two hours";
    default:
        return "not possible here, or the books cannot be written";
    }
}

/* By code_url or prepay_id, or by a number that only one merchant uses. */
static struct order *order_of(struct bank *bank, const struct json *doc)
{
    struct slice code = json_str(doc, "code_url");
    struct order *o;

    if (code.p)
        return payer_scan(bank, code);
    o = books_next(bank->books, json_str(doc, "out_trade_no"), NULL);
    return o && !books_next(bank->books, json_str(doc, "out_trade_no"), o) ? o : NULL;
}

/* {"code_url"|"out_trade_no", "refuse":true | "scan":true} */
static void pay(struct bank *bank, struct http_req *req)
{
    const struct json *doc = body_of(req);
    const struct json *refuse = json_get(doc, "refuse");
    const struct json *scan = json_get(doc, "scan");
    enum payer_act act = refuse && refuse->type == JSON_TRUE ? PAYER_REFUSES
                         : scan && scan->type == JSON_TRUE   ? PAYER_LOOKS
                                                             : PAYER_PAYS;
    char id[TRANSACTION_ID_MAX];
    struct json_writer w;
    enum books_result r;
    struct order *o;
    struct buf b;

    if (!doc)
        return;
    o = order_of(bank, doc);
    if (!o) {
        reply_error(req, 404, "no such code or number, or several");
        return;
    }
    r = payer_acts(bank, o, act);
    if (r != BOOKS_DONE) {
        reply_error(req, 409, reason_of(r));
        return;
    }
    order_transaction_id(o, id);
    buf_init(&b, ANSWER_CAP);
    json_writer_init(&w, &b);
    json_begin_object(&w);
    json_member_str(&w, "out_trade_no", order_no(o));
    json_member_str(&w, "transaction_id", slice_of(id));
    json_member_int64(&w, "amount", o->amount);
    json_end_object(&w);
    reply_buf(req, 200, &b);
}

/* {"offset_ms"}: how far the bank's business day is ahead of the wall clock. */
static void set_clock(struct bank *bank, struct http_req *req)
{
    const struct json *doc = body_of(req);
    char now[RFC3339_LEN + 1];
    struct json_writer w;
    struct buf b;
    int64_t ms;

    if (!doc)
        return;
    if (json_int64(json_get(doc, "offset_ms"), &ms) < 0 || ms < -CLOCK_MAX_MS ||
        ms > CLOCK_MAX_MS) {
        reply_error(req, 400, "offset_ms is -400 to 400 days");
        return;
    }
    bank->clock_offset_us = ms * 1000;
    time_format_rfc3339(now, bank_now(bank));
    buf_init(&b, ANSWER_CAP);
    json_writer_init(&w, &b);
    json_begin_object(&w);
    json_member_str(&w, "now", slice_of(now));
    json_end_object(&w);
    reply_buf(req, 200, &b);
}

static void notify(struct bank *bank, struct http_req *req)
{
    const struct json *doc = body_of(req);
    struct order *o = NULL;
    bool found = false;
    int64_t sent = 0;
    struct json_writer w;
    struct slice no;
    struct buf b;

    if (!doc)
        return;
    no = json_str(doc, "out_trade_no");
    while ((o = books_next(bank->books, no, o))) {
        found = true;
        if (notify_now(bank->notifier, o) == 0)
            sent++;
    }
    if (!sent) {
        reply_error(req, found ? 409 : 404, found ? "not paid" : "no such order");
        return;
    }
    buf_init(&b, ANSWER_CAP);
    json_writer_init(&w, &b);
    json_begin_object(&w);
    json_member_int64(&w, "notifications", sent);
    json_end_object(&w);
    reply_buf(req, 200, &b);
}

/* ---- the books ---- */

static void put_time(struct json_writer *w, const char *key, pay_time_t t)
{
    char text[RFC3339_LEN + 1];

    json_key(w, key);
    if (t) {
        time_format_rfc3339(text, t);
        json_put_str(w, slice_of(text));
    } else {
        json_put_null(w);
    }
}

static void put_refunds(struct json_writer *w, struct order *o, pay_time_t now)
{
    json_key(w, "refunds");
    json_begin_array(w);
    for (struct refund *r = o->refunds; r; r = r->order_next) {
        json_begin_object(w);
        json_member_str(w, "out_refund_no", refund_no(r));
        json_member_int64(w, "amount", r->amount);
        json_member_str(w, "state", slice_of(refund_state_name(refund_settle(r, now))));
        json_member_int64(w, "notify_tries", r->notify_tries);
        json_key(w, "notified");
        json_put_bool(w, r->notified);
        json_end_object(w);
    }
    json_end_array(w);
}

static void put_order(struct json_writer *w, struct order *o, pay_time_t now)
{
    char id[TRANSACTION_ID_MAX];
    char code_url[CODE_URL_MAX];

    order_settle(o, now);
    order_transaction_id(o, id);
    payer_code_url(o, code_url);
    json_begin_object(w);
    json_member_str(w, "channel", slice_of(bank_channel_name(o->merchant->channel)));
    json_member_str(w, "mchid", o->merchant->id);
    json_member_str(w, "out_trade_no", order_no(o));
    json_member_int64(w, "amount", o->amount);
    json_member_str(w, "currency", slice_of(o->currency));
    json_member_str(w, "state", slice_of(order_state_name(o->state)));
    json_member_str(w, "method", slice_of(pay_method_name(o->method)));
    json_key(w, "transaction_id");
    if (id[0])
        json_put_str(w, slice_of(id));
    else
        json_put_null(w);
    json_member_str(w, "code_url", slice_of(code_url));
    put_time(w, "created_at", o->created_at);
    put_time(w, "paid_at", o->paid_at);
    json_member_int64(w, "prepares", o->prepares);
    json_member_int64(w, "charges", o->charges);
    json_member_int64(w, "notify_tries", o->notify_tries);
    json_key(w, "notified");
    json_put_bool(w, o->notified);
    put_refunds(w, o, now);
    json_end_object(w);
}

static void put_orders(struct bank *bank, struct slice no, struct json_writer *w)
{
    pay_time_t now = bank_now(bank);
    struct order *o = NULL;

    json_begin_array(w);
    if (no.n) {
        while ((o = books_next(bank->books, no, o)))
            put_order(w, o, now);
    } else {
        for (uint32_t seq = 1; seq <= books_count(bank->books); seq++)
            put_order(w, books_at(bank->books, seq), now);
    }
    json_end_array(w);
}

static void orders(struct bank *bank, struct http_req *req, struct slice query)
{
    struct slice no = SLICE_NULL;
    struct json_writer w;
    struct buf b;

    if (query.n) {
        struct slice name = slice_cut(&query, '=');

        if (!slice_is(name, "out_trade_no") || check_unescape(&req->arena, query, &no) < 0 ||
            no.n == 0) {
            reply_error(req, 400, "the only parameter is out_trade_no");
            return;
        }
    }
    buf_init(&b, LIST_CAP);
    json_writer_init(&w, &b);
    json_begin_object(&w);
    json_key(&w, "orders");
    put_orders(bank, no, &w);
    json_key(&w, "requests");
    reqlog_list(bank->reqlog, no, &w);
    json_end_object(&w);
    reply_buf(req, 200, &b);
}

/* What was taken and given back, a line per order number, for `payctl verify --books`. */
static void put_books(struct bank *bank, struct http_req *req)
{
    pay_time_t now = bank_now(bank);
    struct buf b;

    buf_init(&b, LIST_CAP);
    buf_add_str(&b, "out_trade_no,paid,refunded\n");
    for (uint32_t seq = 1; seq <= books_count(bank->books); seq++) {
        struct order *o = books_at(bank->books, seq);
        int64_t paid = o->charges * o->amount;

        buf_add_slice(&b, order_no(o));
        buf_add_char(&b, ',');
        buf_add_int64(&b, paid);
        buf_add_char(&b, ',');
        buf_add_int64(&b, order_settle(o, now) == ORDER_REVOKED ? paid : order_refunded(o, now));
        buf_add_char(&b, '\n');
    }
    reply_text(req, 200, "text/csv", buf_slice(&b));
    buf_release(&b);
}

/* ---- faults ---- */

static void faults(struct bank *bank, struct http_req *req)
{
    const char *reason = "?";
    struct json_writer w;
    struct buf b;

    if (slice_is(req->method, "POST")) {
        const struct json *doc = body_of(req);

        if (!doc)
            return;
        if (faults_add(bank->faults, doc, &reason) < 0) {
            reply_error(req, 400, reason);
            return;
        }
    } else if (slice_is(req->method, "DELETE")) {
        faults_clear(bank->faults);
    }
    buf_init(&b, LIST_CAP);
    json_writer_init(&w, &b);
    faults_list(bank->faults, &w);
    reply_buf(req, 200, &b);
}

void control_handle(struct bank *bank, struct http_req *req)
{
    struct slice query;
    struct slice path = target_path(req->target, &query);
    bool get = slice_is(req->method, "GET");
    bool post = slice_is(req->method, "POST");

    if (slice_is(path, "/_control/pay") && post)
        pay(bank, req);
    else if (slice_is(path, "/_control/clock") && post)
        set_clock(bank, req);
    else if (slice_is(path, "/_control/notify") && post)
        notify(bank, req);
    else if (slice_is(path, "/_control/orders") && get)
        orders(bank, req, query);
    else if (slice_is(path, "/_control/books") && get)
        put_books(bank, req);
    else if (slice_is(path, "/_control/faults") && (get || post || slice_is(req->method, "DELETE")))
        faults(bank, req);
    else if (slice_is(path, "/_control/health") && get)
        reply_text(req, 200, "text/plain", SLICE("ok"));
    else
        reply_error(req, 404, "no such path or method");
}
