/*
 * The door of WeChat Pay v3. Looked at in this order: path, signature, headers, fields, business.
 * Messages are Chinese as there; `issue` says in English what was wrong, for the developer who
 * reads a log.
 */
#include "wechat.h"

#include "core/net.h"
#include "wechat_sign.h"

const struct protocol wechat_protocol = {
    .content_type = "application/json; charset=utf-8",
    .fault_answer = wechat_fault_answer,
    .code_answer = wechat_code_answer,
    .finish = wechat_sign_answer,
    .notice = wechat_notice,
    .taken = wechat_taken,
};

/* Refusals return false, so that checks read `return refuse_...`. */
bool wechat_refuse(struct exchange *ex, int status, const char *code, const char *message)
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

bool wechat_refuse_param(struct exchange *ex, const char *location, const char *field,
                         const char *issue)
{
    struct wechat_detail d = {location, field, issue};

    wechat_error(ex, 400, "PARAM_ERROR", "参数错误", &d);
    return false;
}

bool wechat_refuse_books(struct exchange *ex, enum books_result r)
{
    switch (r) {
    case BOOKS_OTHER_CONTENT:
        return wechat_refuse(ex, 403, "OUT_TRADE_NO_USED", "商户订单号重复");
    case BOOKS_IS_PAID:
        return wechat_refuse(ex, 400, "ORDER_PAID", "该订单已支付");
    case BOOKS_IS_CLOSED:
        return wechat_refuse(ex, 400, "ORDER_CLOSED", "该订单已关闭");
    case BOOKS_IS_REVOKED:
        return wechat_refuse(ex, 400, "ORDER_REVERSED", "该订单已撤销");
    case BOOKS_OTHER_PAYER:
        return wechat_refuse(ex, 403, "OUT_TRADE_NO_USED", "商户订单号重复，付款码不同");
    case BOOKS_IS_PAYING:
        return wechat_refuse(ex, 202, "USERPAYING", "用户支付中，需要输入密码");
    default:
        return wechat_refuse(ex, 500, "SYSTEM_ERROR", "系统异常，请用相同参数重新调用");
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
        return wechat_refuse(ex, 400, "PARAM_ERROR", "Http头缺少Accept或User-Agent");
    if (slice_is(ex->req->method, "POST") && !is_json_type(exchange_one_header(ex, "Content-Type")))
        return wechat_refuse(ex, 415, "PARAM_ERROR", "Http头Content-Type必须为application/json");
    if (serial.p && ex->merchant && !slice_eq(serial, ex->merchant->platform_serial))
        return wechat_refuse(ex, 400, "PARAM_ERROR", "Http头Wechatpay-Serial的序列号不存在");
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
                           ex->wall / USEC_PER_SEC, &reason) < 0)
        return refuse_sign(ex, "错误的签名，验签失败", reason);
    if (nonces_use(ex->bank->nonces, auth.mchid, auth.nonce_str, ex->wall) < 0)
        return refuse_sign(ex, "错误的签名，验签失败", "nonce_str used before");
    return true;
}

bool wechat_parse_body(struct exchange *ex, const struct check_field *fields,
                       const struct json **doc)
{
    struct check_error bad;
    struct json_error err;

    if (json_parse(&ex->req->arena, ex->req->body, NULL, doc, &err) < 0)
        return wechat_refuse_param(ex, "body", NULL, err.reason);
    /* Even a refused order leaves its number in the log of requests. */
    if (json_str(*doc, "out_trade_no").p)
        ex->out_trade_no = json_str(*doc, "out_trade_no");
    if (check_fields(*doc, fields, &bad) < 0)
        return wechat_refuse_param(ex, "body", bad.field, bad.issue);
    if (json_get(*doc, "mchid") && !slice_eq(json_str(*doc, "mchid"), ex->merchant->id))
        return wechat_refuse_param(ex, "body", "/mchid", "not the mchid of Authorization");
    return true;
}

bool wechat_check_mchid(struct exchange *ex, struct slice query)
{
    struct slice name = slice_cut(&query, '=');
    struct slice value;

    if (!slice_is(name, "mchid") || check_unescape(&ex->req->arena, query, &value) < 0)
        return wechat_refuse_param(ex, "query", "mchid", "missing, or not the only parameter");
    if (!slice_eq(value, ex->merchant->id))
        return wechat_refuse_param(ex, "query", "mchid", "not the mchid of Authorization");
    return true;
}

bool wechat_check_url(struct exchange *ex, struct slice s)
{
    const char *reason;
    struct url url;

    if (url_parse(s, &url, &reason) < 0)
        return wechat_refuse_param(ex, "body", "/notify_url", reason);
    if (memchr(url.target.p, '?', url.target.n))
        return wechat_refuse_param(ex, "body", "/notify_url", "carries parameters");
    return true;
}

/* ---- routes ---- */

/* A path ends with its item where `item` says so: "{no}/close" has it in front of the tail. */
static const struct route {
    const char *method, *folder, *tail;
    enum bank_api api;
    enum { NO_ITEM, ORDER_NO, REFUND_NO, ANY_ITEM } item;
    wechat_api *handle;
} routes[] = {
    {"POST", "/v3/pay/transactions/native", "", BANK_NATIVE, NO_ITEM, wechat_native},
    {"POST", "/v3/pay/transactions/jsapi", "", BANK_JSAPI, NO_ITEM, wechat_jsapi},
    {"POST", "/v3/pay/transactions/app", "", BANK_APP, NO_ITEM, wechat_app},
    {"POST", "/v3/pay/transactions/h5", "", BANK_H5, NO_ITEM, wechat_h5},
    {"POST", "/v3/pay/transactions/codepay", "", BANK_BARCODE, NO_ITEM, wechat_codepay},
    {"GET", "/v3/pay/transactions/id/", "", BANK_QUERY, ANY_ITEM, wechat_query_id},
    {"GET", "/v3/pay/transactions/out-trade-no/", "", BANK_QUERY, ORDER_NO, wechat_query},
    {"POST", "/v3/pay/transactions/out-trade-no/", "/close", BANK_CLOSE, ORDER_NO, wechat_close},
    {"POST", "/v3/pay/transactions/out-trade-no/", "/reverse", BANK_REVERSE, ORDER_NO,
     wechat_reverse},
    {"POST", "/v3/refund/domestic/refunds", "", BANK_REFUND, NO_ITEM, wechat_refund},
    {"GET", "/v3/refund/domestic/refunds/", "", BANK_REFUND_QUERY, REFUND_NO, wechat_refund_query},
    {"GET", "/v3/certificates", "", BANK_CERTIFICATES, NO_ITEM, wechat_certificates},
    {"GET", "/v3/bill/tradebill", "", BANK_BILL, NO_ITEM, wechat_tradebill},
    {"GET", "/v3/billdownload/file", "", BANK_BILL, NO_ITEM, wechat_billfile},
};

/* The part of the path that is the item; false when the route is another. */
static bool take_item(const struct route *r, struct slice path, struct slice *item)
{
    struct slice folder = slice_of(r->folder), tail = slice_of(r->tail);

    *item = SLICE_NULL;
    if (r->item == NO_ITEM)
        return slice_eq(path, folder);
    if (!slice_starts(path, folder) || path.n <= folder.n + tail.n ||
        memcmp(path.p + path.n - tail.n, tail.p, tail.n) != 0)
        return false;
    *item = slice_n(path.p + folder.n, path.n - folder.n - tail.n);
    return !memchr(item->p, '/', item->n);
}

static bool item_fits(struct exchange *ex, const struct route *r, struct slice *item)
{
    size_t max = r->item == REFUND_NO ? 64 : 32;

    if (r->item == NO_ITEM)
        return true;
    if (check_unescape(&ex->req->arena, *item, item) < 0)
        return false;
    if (r->item == ANY_ITEM)
        return true;
    if (r->item == ORDER_NO)
        ex->out_trade_no = *item;
    return item->n <= max &&
           check_charset(*item, r->item == REFUND_NO ? WECHAT_NO_ALSO "@" : WECHAT_NO_ALSO);
}

static const struct route *find_route(struct exchange *ex, struct slice path, struct slice *item)
{
    for (size_t i = 0; i < sizeof(routes) / sizeof(routes[0]); i++)
        if (slice_is(ex->req->method, routes[i].method) && take_item(&routes[i], path, item))
            return &routes[i];
    return NULL;
}

void wechat_handle(struct bank *bank, struct http_req *req)
{
    struct exchange *ex = exchange_new(bank, req, CHANNEL_WECHAT_V3);
    struct slice query, item;
    struct slice path = target_path(req->target, &query);
    const struct route *r;
    bool good;

    if (!ex)
        return;
    r = find_route(ex, path, &item);
    if (!r) {
        wechat_refuse(ex, 404, "NOT_FOUND", "请求的URL或方法不存在");
        exchange_send(ex);
        return;
    }
    ex->api = r->api;
    good = item_fits(ex, r, &item) ||
           wechat_refuse_param(ex, "uri_path", "out_trade_no", "not such a number");
    if (good && check_signature(ex) && check_headers(ex))
        r->handle(ex, item, query);
    else
        exchange_send(ex);
}
