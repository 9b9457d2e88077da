#include "control.h"

#include "check.h"
#include "exchange.h"
#include "notify.h"
#include "payer.h"

#define LIST_CAP   ((size_t)1 << 30)
#define ANSWER_CAP 65536

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

static void pay(struct bank *bank, struct http_req *req)
{
    static const char *const reasons[] = {
        [BOOKS_IS_PAID] = "paid already",
        [BOOKS_IS_CLOSED] = "closed",
        [BOOKS_CODE_OLD] = "code is older than two hours",
        [BOOKS_BROKEN] = "not possible here, or the books cannot be written",
    };
    const struct json *doc = body_of(req);
    const struct json *refuse = json_get(doc, "refuse");
    char id[TRANSACTION_ID_MAX];
    struct json_writer w;
    enum books_result r;
    struct order *o;
    struct buf b;

    if (!doc)
        return;
    o = payer_scan(bank, json_str(doc, "code_url"));
    if (!o) {
        reply_error(req, 404, "no such code");
        return;
    }
    r = payer_pay(bank, o, refuse && refuse->type == JSON_TRUE);
    if (r != BOOKS_DONE) {
        reply_error(req, 409, reasons[r]);
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

static void put_order(struct json_writer *w, struct order *o, pay_time_t now)
{
    char id[TRANSACTION_ID_MAX];
    char code_url[CODE_URL_MAX];
    bool paid = order_settle(o, now) == ORDER_SUCCESS;

    order_transaction_id(o, id);
    payer_code_url(o, code_url);
    json_begin_object(w);
    json_member_str(w, "channel", slice_of(bank_channel_name(o->merchant->channel)));
    json_member_str(w, "mchid", o->merchant->id);
    json_member_str(w, "out_trade_no", order_no(o));
    json_member_int64(w, "amount", o->amount);
    json_member_str(w, "currency", slice_of(o->currency));
    json_member_str(w, "state", slice_of(order_state_name(o->state)));
    json_key(w, "transaction_id");
    if (paid)
        json_put_str(w, slice_of(id));
    else
        json_put_null(w);
    json_member_str(w, "code_url", slice_of(code_url));
    put_time(w, "created_at", o->created_at);
    put_time(w, "paid_at", paid ? o->ended_at : 0);
    json_member_int64(w, "prepares", o->prepares);
    json_member_int64(w, "charges", o->charges);
    json_member_int64(w, "notify_tries", o->notify_tries);
    json_key(w, "notified");
    json_put_bool(w, o->notified);
    json_end_object(w);
}

static void put_orders(struct bank *bank, struct slice no, struct json_writer *w)
{
    pay_time_t now = clock_read_wall();
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
    else if (slice_is(path, "/_control/notify") && post)
        notify(bank, req);
    else if (slice_is(path, "/_control/orders") && get)
        orders(bank, req, query);
    else if (slice_is(path, "/_control/faults") && (get || post || slice_is(req->method, "DELETE")))
        faults(bank, req);
    else if (slice_is(path, "/_control/health") && get)
        reply_text(req, 200, "text/plain", SLICE("ok"));
    else
        reply_error(req, 404, "no such path or method");
}
