/*
 * WeChat Pay v3 from the platform's side: native, query, close. Looked at in this
 * order: path, signature, headers, fields, business. Messages are Chinese as there; `issue` says in
 * English what was wrong, for the developer who reads a log.
 */
#include "check.h"
#include "payer.h"
#include "wechat_body.h"
#include "wechat_sign.h"

#include "core/net.h"

#define TRANSACTIONS  "/v3/pay/transactions/"
#define ORDER_LIFE_US (7 * 86400 * USEC_PER_SEC)
#define AMOUNT_TOP    100000000000LL
#define ORDER_NO_ALSO "_-|*"

static const struct check_field native_fields[] = {
    {"appid", CHECK_STRING, true, 1, 32, ""},
    {"mchid", CHECK_STRING, true, 1, 32, ""},
    {"description", CHECK_STRING, true, 1, 127, NULL},
    {"out_trade_no", CHECK_STRING, true, 6, 32, ORDER_NO_ALSO},
    {"time_expire", CHECK_STRING, false, 1, 64, NULL},
    {"attach", CHECK_STRING, false, 0, 128, NULL},
    {"notify_url", CHECK_STRING, true, 1, 255, NULL},
    {"goods_tag", CHECK_STRING, false, 1, 32, NULL},
    {"support_fapiao", CHECK_BOOL, false, 0, 0, NULL},
    {"amount", CHECK_OBJECT, true, 0, 0, NULL},
    {"amount.total", CHECK_INTEGER, true, 1, AMOUNT_TOP, NULL},
    {"amount.currency", CHECK_STRING, false, 1, 16, ""},
    {"detail", CHECK_OPAQUE, false, 0, 0, NULL},
    {"scene_info", CHECK_OBJECT, false, 0, 0, NULL},
    {"scene_info.payer_client_ip", CHECK_STRING, true, 2, 45, ".:"},
    {"scene_info.device_id", CHECK_STRING, false, 1, 32, NULL},
    {"scene_info.store_info", CHECK_OPAQUE, false, 0, 0, NULL},
    {"settle_info", CHECK_OBJECT, false, 0, 0, NULL},
    {"settle_info.profit_sharing", CHECK_BOOL, false, 0, 0, NULL},
    {NULL, CHECK_STRING, false, 0, 0, NULL},
};

static const struct check_field close_fields[] = {
    {"mchid", CHECK_STRING, true, 1, 32, ""},
    {NULL, CHECK_STRING, false, 0, 0, NULL},
};

const struct protocol wechat_protocol = {
    .channel = CHANNEL_WECHAT_V3,
    .fault_answer = wechat_fault_answer,
    .sign = wechat_sign_answer,
    .notice = wechat_notice,
    .taken = wechat_taken,
};

/* Refusals return false, so that checks read `return refuse_...`. */
static bool refuse(struct exchange *ex, int status, const char *code, const char *message)
{
    wechat_error(ex, status, code, message, NULL);
    return false;
}

static bool refuse_sign(struct exchange *ex, const char *message, const char *issue)
{
    struct wechat_detail d = {"authorization", NULL, issue};

    wechat_error(ex, 401, "SIGN_ERROR", message, &d);
    return false;
}

static bool refuse_param(struct exchange *ex, const char *location, const char *field,
                         const char *issue)
{
    struct wechat_detail d = {location, field, issue};

    wechat_error(ex, 400, "PARAM_ERROR", "参数错误", &d);
    return false;
}

static bool refuse_books(struct exchange *ex, enum books_result r)
{
    switch (r) {
    case BOOKS_OTHER_CONTENT:
        return refuse(ex, 403, "OUT_TRADE_NO_USED", "商户订单号重复");
    case BOOKS_IS_PAID:
        return refuse(ex, 400, "ORDER_PAID", "该订单已支付");
    case BOOKS_IS_CLOSED:
        return refuse(ex, 400, "ORDER_CLOSED", "该订单已关闭");
    default:
        return refuse(ex, 500, "SYSTEM_ERROR", "系统异常，请用相同参数重新调用");
    }
}

/* ---- headers and signature ---- */

static bool is_json_type(struct slice value)
{
    struct slice type = slice_trim(slice_cut(&value, ';'));
    struct slice parameter = slice_trim(value);

    return slice_eq_nocase(type, SLICE("application/json")) &&
           (parameter.n == 0 || slice_eq_nocase(parameter, SLICE("charset=utf-8")));
}

static bool accepts_json(struct slice accept)
{
    while (accept.n) {
        struct slice one = slice_cut(&accept, ',');

        one = slice_trim(slice_cut(&one, ';'));
        if (slice_eq_nocase(one, SLICE("application/json")) || slice_is(one, "*/*"))
            return true;
    }
    return false;
}

static bool check_headers(struct exchange *ex)
{
    struct slice serial = http_req_header(ex->req, "Wechatpay-Serial");

    if (!accepts_json(http_req_header(ex->req, "Accept")) ||
        slice_trim(http_req_header(ex->req, "User-Agent")).n == 0)
        return refuse(ex, 400, "PARAM_ERROR", "Http头缺少Accept或User-Agent");
    if (slice_is(ex->req->method, "POST") && !is_json_type(exchange_one_header(ex, "Content-Type")))
        return refuse(ex, 415, "PARAM_ERROR", "Http头Content-Type必须为application/json");
    if (serial.p && ex->merchant && !slice_eq(serial, ex->merchant->platform_serial))
        return refuse(ex, 400, "PARAM_ERROR", "Http头Wechatpay-Serial的序列号不存在");
    return true;
}

static bool check_signature(struct exchange *ex)
{
    struct slice header = exchange_one_header(ex, "Authorization");
    struct wechat_auth auth;
    const char *reason = "missing, or more than once";

    if (!header.p || wechat_auth_parse(header, &auth, &reason) < 0)
        return refuse_sign(ex, "Http头Authorization值格式错误", reason);
    ex->merchant = bank_conf_merchant(&ex->bank->conf, CHANNEL_WECHAT_V3, auth.mchid);
    if (!ex->merchant)
        return refuse_sign(ex, "商户号不存在", "mchid unknown");
    if (wechat_auth_verify(&auth, ex->merchant, ex->req->method, ex->req->target, ex->req->body,
                           ex->now / USEC_PER_SEC, &reason) < 0)
        return refuse_sign(ex, "错误的签名，验签失败", reason);
    if (nonces_use(ex->bank->nonces, auth.mchid, auth.nonce_str, ex->now) < 0)
        return refuse_sign(ex, "错误的签名，验签失败", "nonce_str used before");
    return true;
}

static bool parse_body(struct exchange *ex, const struct check_field *fields,
                       const struct json **doc)
{
    struct check_error bad;
    struct json_error err;

    if (json_parse(&ex->req->arena, ex->req->body, NULL, doc, &err) < 0)
        return refuse_param(ex, "body", NULL, err.reason);
    /* Even a refused order leaves its number in the log of requests. */
    if (json_str(*doc, "out_trade_no").p)
        ex->out_trade_no = json_str(*doc, "out_trade_no");
    if (check_fields(*doc, fields, &bad) < 0)
        return refuse_param(ex, "body", bad.field, bad.issue);
    if (!slice_eq(json_str(*doc, "mchid"), ex->merchant->id))
        return refuse_param(ex, "body", "/mchid", "not the mchid of Authorization");
    return true;
}

/* ---- native ---- */

/* All that was asked, in the table's order: what a repetition must equal. */
static void digest_content(const struct json *doc, uint8_t out[CONTENT_DIGEST_LEN])
{
    uint8_t whole[SHA256_LEN];
    struct json_writer w;
    struct buf b;

    buf_init(&b, 1 << 18);
    json_writer_init(&w, &b);
    json_begin_array(&w);
    for (const struct check_field *f = native_fields; f->path; f++) {
        const struct json *v = json_get(doc, f->path);

        if (f->type == CHECK_OBJECT)
            continue;
        json_put_str(&w, slice_of(f->path));
        if (v && v->type != JSON_NULL)
            json_put_value(&w, v);
        else if (strcmp(f->path, "amount.currency") == 0)
            json_put_str(&w, SLICE("CNY"));
        else
            json_put_null(&w);
    }
    json_end_array(&w);
    sha256(buf_slice(&b), whole);
    memcpy(out, whole, CONTENT_DIGEST_LEN);
    buf_release(&b);
}

static bool appid_bound(const struct merchant *m, struct slice appid)
{
    for (uint32_t i = 0; i < m->nappids; i++)
        if (slice_eq(m->appids[i], appid))
            return true;
    return false;
}

static bool check_notify_url(struct exchange *ex, struct slice s)
{
    const char *reason;
    struct url url;

    if (url_parse(s, &url, &reason) < 0)
        return refuse_param(ex, "body", "/notify_url", reason);
    if (memchr(url.target.p, '?', url.target.n))
        return refuse_param(ex, "body", "/notify_url", "carries parameters");
    return true;
}

static bool check_expiry(struct exchange *ex, struct slice s, pay_time_t *out)
{
    *out = ex->now + ORDER_LIFE_US;
    if (!s.p)
        return true;
    if (time_parse_rfc3339(s, out) < 0)
        return refuse_param(ex, "body", "/time_expire", "not a time of RFC 3339");
    if (*out <= ex->now)
        return refuse_param(ex, "body", "/time_expire", "in the past");
    return true;
}

static bool read_terms(struct exchange *ex, const struct json *doc, struct order_terms *t)
{
    struct slice currency = json_str(doc, "amount.currency");

    *t = (struct order_terms){
        .merchant = ex->merchant,
        .out_trade_no = json_str(doc, "out_trade_no"),
        .appid = json_str(doc, "appid"),
        .notify_url = json_str(doc, "notify_url"),
        .attach = json_str(doc, "attach"),
        .currency = currency.p ? currency : SLICE("CNY"),
    };
    if (!slice_is(t->currency, "CNY"))
        return refuse_param(ex, "body", "/amount/currency", "only CNY");
    if (!check_notify_url(ex, t->notify_url) ||
        !check_expiry(ex, json_str(doc, "time_expire"), &t->expire_at))
        return false;
    if (!appid_bound(ex->merchant, t->appid))
        return refuse(ex, 400, "APPID_MCHID_NOT_MATCH", "商户号与appid不匹配");
    if (ex->merchant->disabled)
        return refuse(ex, 403, "NO_AUTH", "商户号无权限");
    json_int64(json_get(doc, "amount.total"), &t->amount);
    digest_content(doc, t->digest);
    return true;
}

static void put_code(struct exchange *ex, const struct order *o)
{
    char code_url[CODE_URL_MAX];
    struct json_writer w;

    payer_code_url(o, code_url);
    ex->status = 200;
    json_writer_init(&w, &ex->body);
    json_begin_object(&w);
    json_member_str(&w, "code_url", slice_of(code_url));
    json_end_object(&w);
}

static void native(struct exchange *ex)
{
    const struct json *doc;
    struct order_terms terms;
    struct order *o;
    enum books_result r;

    if (!parse_body(ex, native_fields, &doc) || !read_terms(ex, doc, &terms)) {
        exchange_send(ex);
        return;
    }
    if (exchange_strike(ex))
        return;
    r = books_prepare(ex->bank->books, &terms, ex->now, &o);
    if (r == BOOKS_DONE)
        put_code(ex, o);
    else
        refuse_books(ex, r);
    exchange_send(ex);
}

/* ---- query and close ---- */

/* The one parameter mchid, the same as in Authorization. */
static bool check_mchid_query(struct exchange *ex, struct slice query)
{
    struct slice name = slice_cut(&query, '=');
    struct slice value;

    if (!slice_is(name, "mchid") || check_unescape(&ex->req->arena, query, &value) < 0)
        return refuse_param(ex, "query", "mchid", "missing, or not the only parameter");
    if (!slice_eq(value, ex->merchant->id))
        return refuse_param(ex, "query", "mchid", "not the mchid of Authorization");
    return true;
}

static void answer_order(struct exchange *ex, struct order *o)
{
    struct json_writer w;

    if (exchange_strike(ex))
        return;
    if (!o) {
        refuse(ex, 404, "ORDER_NOT_EXIST", "订单不存在");
    } else {
        order_settle(o, ex->now);
        ex->status = 200;
        json_writer_init(&w, &ex->body);
        wechat_transaction(&w, o, o->amount);
    }
    exchange_send(ex);
}

static void query_by_number(struct exchange *ex, struct slice query)
{
    if (check_mchid_query(ex, query))
        answer_order(ex, books_find(ex->bank->books, ex->merchant, ex->out_trade_no));
    else
        exchange_send(ex);
}

static void query_by_id(struct exchange *ex, struct slice id, struct slice query)
{
    struct order *o;

    if (!check_mchid_query(ex, query)) {
        exchange_send(ex);
        return;
    }
    o = books_by_transaction_id(ex->bank->books, ex->merchant, id);
    if (o)
        ex->out_trade_no = order_no(o);
    answer_order(ex, o);
}

static void close_order(struct exchange *ex)
{
    const struct json *doc;
    enum books_result r;
    struct order *o;

    if (!parse_body(ex, close_fields, &doc)) {
        exchange_send(ex);
        return;
    }
    if (exchange_strike(ex))
        return;
    o = books_find(ex->bank->books, ex->merchant, ex->out_trade_no);
    if (!o) {
        refuse(ex, 404, "ORDER_NOT_EXIST", "订单不存在");
    } else {
        r = books_close(ex->bank->books, o, ex->now);
        if (r == BOOKS_DONE)
            ex->status = 204;
        else
            refuse_books(ex, r);
    }
    exchange_send(ex);
}

/* ---- the door ---- */

struct route {
    enum bank_api api;
    bool by_id;
    struct slice id; /* transaction id, still escaped */
};

static bool number_of_path(struct exchange *ex, struct slice escaped)
{
    return check_unescape(&ex->req->arena, escaped, &ex->out_trade_no) == 0 &&
           ex->out_trade_no.n >= 1 && ex->out_trade_no.n <= 32 &&
           check_charset(ex->out_trade_no, ORDER_NO_ALSO);
}

/* false: no such path or method, refused already. */
static bool find_route(struct exchange *ex, struct slice path, struct route *r)
{
    struct slice rest = slice_n(path.p + strlen(TRANSACTIONS), path.n - strlen(TRANSACTIONS));
    struct slice kind = slice_cut(&rest, '/');
    struct slice item = slice_cut(&rest, '/');
    bool get = slice_is(ex->req->method, "GET");
    bool post = slice_is(ex->req->method, "POST");

    *r = (struct route){BANK_NONE, false, item};
    if (slice_is(kind, "native") && !item.p && post) {
        r->api = BANK_NATIVE;
    } else if (slice_is(kind, "id") && item.n && !rest.p && get) {
        r->api = BANK_QUERY;
        r->by_id = true;
    } else if (slice_is(kind, "out-trade-no") && item.n) {
        if (!rest.p && get)
            r->api = BANK_QUERY;
        else if (slice_is(rest, "close") && post)
            r->api = BANK_CLOSE;
    }
    ex->api = r->api;
    if (r->api == BANK_NONE)
        return refuse(ex, 404, "NOT_FOUND", "请求的URL或方法不存在");
    if ((r->api == BANK_CLOSE || r->api == BANK_QUERY) && !r->by_id && !number_of_path(ex, item))
        return refuse_param(ex, "uri_path", "out_trade_no", "not an order number");
    return true;
}

void wechat_handle(struct bank *bank, struct http_req *req)
{
    struct exchange *ex = exchange_new(bank, req, &wechat_protocol);
    struct slice query;
    struct slice path = target_path(req->target, &query);
    struct route r = {BANK_NONE, false, SLICE_NULL};
    bool known;

    if (!ex)
        return;
    if (!slice_starts(path, SLICE(TRANSACTIONS)))
        known = refuse(ex, 404, "NOT_FOUND", "请求的URL不存在");
    else
        known = find_route(ex, path, &r);
    if (!known || !check_signature(ex) || !check_headers(ex)) {
        exchange_send(ex);
        return;
    }
    if (r.api == BANK_NATIVE)
        native(ex);
    else if (r.api == BANK_CLOSE)
        close_order(ex);
    else if (r.by_id)
        query_by_id(ex, r.id, query);
    else
        query_by_number(ex, query);
}
