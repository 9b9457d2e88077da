/* WeChat Pay v3: refunds, their query, and the bill. */
#include "backends/paybank/notify.h"
#include "backends/paybank/wire/digest.h"
#include "wechat.h"
#include "wechat_bill.h"

#define REFUND_WINDOW_US (365 * 86400 * USEC_PER_SEC)
#define AMOUNT_TOP       100000000000LL
#define TOKEN_LIFE_S     300
#define FILE_PATH        "/v3/billdownload/file"

static const struct check_field refund_fields[] = {
    {"transaction_id", CHECK_STRING, false, 1, 32, ""},
    {"out_trade_no", CHECK_STRING, false, 6, 32, WECHAT_NO_ALSO},
    {"out_refund_no", CHECK_STRING, true, 1, 64, WECHAT_NO_ALSO "@"},
    {"reason", CHECK_STRING, false, 1, 80, NULL},
    {"notify_url", CHECK_STRING, false, 1, 256, NULL},
    {"funds_account", CHECK_STRING, false, 1, 32, "_"},
    {"amount", CHECK_OBJECT, true, 0, 0, NULL},
    {"amount.refund", CHECK_INTEGER, true, 1, AMOUNT_TOP, NULL},
    {"amount.total", CHECK_INTEGER, true, 1, AMOUNT_TOP, NULL},
    {"amount.currency", CHECK_STRING, true, 1, 16, ""},
    {NULL, CHECK_STRING, false, 0, 0, NULL},
};

/* ---- refund ---- */

static bool read_terms(struct exchange *ex, const struct json *doc, struct order *o,
                       struct refund_terms *t)
{
    const struct bank_conf *conf = &ex->bank->conf;
    int64_t total;

    *t = (struct refund_terms){
        .order = o,
        .out_refund_no = json_str(doc, "out_refund_no"),
        .notify_url = json_str(doc, "notify_url"),
        .delay_us = conf->refund_delay_us,
        .gap_us = conf->refund_gap_us,
        .outcome = ex->fault.kind == FAULT_REFUND_CLOSED     ? REFUND_CLOSED
                   : ex->fault.kind == FAULT_REFUND_ABNORMAL ? REFUND_ABNORMAL
                                                             : REFUND_DONE,
    };
    json_int64(json_get(doc, "amount.refund"), &t->amount);
    json_int64(json_get(doc, "amount.total"), &total);
    if (!slice_is(json_str(doc, "amount.currency"), "CNY"))
        return wechat_refuse_param(ex, "body", "/amount/currency", "only CNY");
    if (t->notify_url.p && !wechat_check_url(ex, t->notify_url))
        return false;
    if (!o)
        return wechat_refuse(ex, 404, "RESOURCE_NOT_EXISTS", "订单不存在");
    if (total != o->amount)
        return wechat_refuse(ex, 400, "INVALID_REQUEST", "订单金额与原订单不一致");
    if (o->paid_at && ex->now - o->paid_at > REFUND_WINDOW_US)
        return wechat_refuse(ex, 400, "INVALID_REQUEST", "订单已超过退款期限");
    return true;
}

static void refuse(struct exchange *ex, enum books_result r)
{
    switch (r) {
    case BOOKS_OTHER_CONTENT:
        wechat_refuse(ex, 400, "INVALID_REQUEST", "退款单号已使用且参数不一致");
        break;
    case BOOKS_NOT_PAID:
    case BOOKS_IS_REVOKED:
        wechat_refuse(ex, 400, "INVALID_REQUEST", "订单状态不支持退款");
        break;
    case BOOKS_TOO_MUCH:
    case BOOKS_TOO_MANY:
        wechat_refuse(ex, 400, "INVALID_REQUEST", "退款金额或次数超过限制");
        break;
    case BOOKS_TOO_SOON:
        wechat_refuse(ex, 429, "FREQUENCY_LIMITED", "频率超限，请降低请求接口频率");
        break;
    default:
        wechat_refuse_books(ex, BOOKS_BROKEN);
        break;
    }
}

static void put_refund(struct exchange *ex, struct refund *r)
{
    struct json_writer w;

    refund_settle(r, ex->now);
    ex->status = 200;
    json_writer_init(&w, &ex->body);
    wechat_refund_object(&w, r, exchange_amount(ex, r->amount), false);
}

static struct order *find_order(struct exchange *ex, const struct json *doc)
{
    struct slice id = json_str(doc, "transaction_id");
    struct order *o;

    if (!id.p)
        return books_find(ex->bank->books, ex->merchant, ex->out_trade_no);
    o = books_by_transaction_id(ex->bank->books, ex->merchant, id);
    if (o)
        ex->out_trade_no = order_no(o);
    return o;
}

void wechat_refund(struct exchange *ex, struct slice item, struct slice query)
{
    const struct json *doc;
    struct refund_terms terms;
    struct refund *made;
    struct order *o;
    enum books_result r;

    (void)item;
    (void)query;
    if (!wechat_parse_body(ex, refund_fields, &doc)) {
        exchange_send(ex);
        return;
    }
    o = find_order(ex, doc);
    if (exchange_strike(ex))
        return;
    if (read_terms(ex, doc, o, &terms)) {
        r = books_refund(ex->bank->books, &terms, ex->now, &made);
        if (r == BOOKS_DONE)
            notify_refund(ex->bank->notifier, made);
        if (r == BOOKS_DONE || r == BOOKS_AGAIN)
            put_refund(ex, made);
        else
            refuse(ex, r);
    }
    exchange_send(ex);
}

void wechat_refund_query(struct exchange *ex, struct slice item, struct slice query)
{
    struct refund *r = refunds_find(ex->bank->books, ex->merchant, item, SLICE_NULL);

    if (r)
        ex->out_trade_no = order_no(r->order);
    if (query.n) {
        wechat_refuse_param(ex, "query", "sub_mchid", "no parameter is known here");
        exchange_send(ex);
        return;
    }
    if (exchange_strike(ex))
        return;
    if (r)
        put_refund(ex, r);
    else
        wechat_refuse(ex, 404, "RESOURCE_NOT_EXISTS", "退款单不存在");
    exchange_send(ex);
}

/* ---- bill ---- */

struct bill_query {
    char day[9];
    enum wechat_bill_type type;
    bool gzip;
    struct slice token; /* of the file alone */
};

static bool read_bill_query(struct exchange *ex, struct slice query, struct bill_query *q)
{
    *q = (struct bill_query){.type = BILL_ALL};
    while (query.n) {
        struct slice value = slice_cut(&query, '&');
        struct slice name = slice_cut(&value, '=');

        if (slice_is(name, "bill_date") && value.n == 10 && value.p[4] == '-' &&
            value.p[7] == '-') {
            memcpy(q->day, value.p, 4);
            memcpy(q->day + 4, value.p + 5, 2);
            memcpy(q->day + 6, value.p + 8, 2);
        } else if (slice_is(name, "tar_type") && slice_is(value, "GZIP")) {
            q->gzip = true;
        } else if (slice_is(name, "token")) {
            q->token = value;
        } else if (!slice_is(name, "bill_type") || wechat_bill_type_parse(value, &q->type) < 0) {
            return wechat_refuse_param(ex, "query", "bill_date", "a parameter unknown or wrong");
        }
    }
    return q->day[0] || wechat_refuse_param(ex, "query", "bill_date", "missing, or not a day");
}

static bool make_bill(struct exchange *ex, const struct bill_query *q, bool gzip, struct buf *out)
{
    switch (wechat_bill(ex->bank, ex->merchant, slice_of(q->day), q->type, gzip, out)) {
    case WECHAT_BILL_MADE:
        return true;
    case WECHAT_BILL_EMPTY:
        return wechat_refuse(ex, 400, "NO_STATEMENT_EXIST", "账单文件不存在");
    case WECHAT_BILL_BAD_DAY:
        return wechat_refuse_param(ex, "query", "bill_date", "no day of the last three months");
    default:
        return wechat_refuse_books(ex, BOOKS_BROKEN);
    }
}

/* "SECONDS-HEX": until when the address works, and that we made it. */
static struct slice make_token(struct exchange *ex, const struct bill_query *q, int64_t until)
{
    char mac[DIGEST_HEX_MAX];
    struct slice text = arena_printf(&ex->req->arena, "%s|%d|%d|%lld|%s", q->day, (int)q->type,
                                     q->gzip, (long long)until, ex->bank->request_id_head);

    if (sha256_hex(text, mac) < 0)
        return SLICE_NULL;
    return arena_printf(&ex->req->arena, "%lld-%.32s", (long long)until, mac);
}

static void put_bill_address(struct exchange *ex, const struct bill_query *q, struct slice query,
                             struct slice text)
{
    struct slice host = http_req_header(ex->req, "Host");
    struct slice token = make_token(ex, q, ex->wall / USEC_PER_SEC + TOKEN_LIFE_S);
    char hash[DIGEST_HEX_MAX];
    struct json_writer w;

    if (sha1_hex(text, hash) < 0)
        hash[0] = '\0';
    ex->status = 200;
    json_writer_init(&w, &ex->body);
    json_begin_object(&w);
    json_member_str(&w, "hash_type", SLICE("SHA1"));
    json_member_str(&w, "hash_value", slice_of(hash));
    json_member_str(&w, "download_url",
                    arena_printf(&ex->req->arena, "https://%.*s" FILE_PATH "?%.*s&token=%.*s",
                                 SLICE_FMT(host), SLICE_FMT(query), SLICE_FMT(token)));
    json_end_object(&w);
}

void wechat_tradebill(struct exchange *ex, struct slice item, struct slice query)
{
    struct bill_query q;
    struct buf text;

    (void)item;
    if (!read_bill_query(ex, query, &q)) {
        exchange_send(ex);
        return;
    }
    if (exchange_strike(ex))
        return;
    buf_init(&text, ex->body.cap);
    if (make_bill(ex, &q, false, &text))
        put_bill_address(ex, &q, query, buf_slice(&text));
    buf_release(&text);
    exchange_send(ex);
}

static bool token_good(struct exchange *ex, const struct bill_query *q)
{
    struct slice rest = q->token;
    int64_t until;

    if (slice_int64(slice_cut(&rest, '-'), &until) < 0 || until < ex->wall / USEC_PER_SEC)
        return false;
    return equal_ct(make_token(ex, q, until), q->token);
}

/* The file itself is not signed. */
void wechat_billfile(struct exchange *ex, struct slice item, struct slice query)
{
    struct bill_query q;

    (void)item;
    if (!read_bill_query(ex, query, &q)) {
        exchange_send(ex);
        return;
    }
    if (!token_good(ex, &q)) {
        wechat_refuse(ex, 403, "NO_AUTH", "下载地址已失效");
        exchange_send(ex);
        return;
    }
    if (exchange_strike(ex))
        return;
    if (make_bill(ex, &q, q.gzip, &ex->body)) {
        ex->status = 200;
        ex->bare = true;
        ex->content_type = q.gzip ? "application/gzip" : "text/plain";
    }
    exchange_send(ex);
}
