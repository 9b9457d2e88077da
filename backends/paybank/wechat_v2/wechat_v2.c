/*
 * The door of WeChat Pay v2. Looked at in this order: method, XML, merchant, signature, fields,
 * application; what the order says comes in the files of the APIs.
 */
#include "wechat_v2.h"

#include "backends/paybank/wire/check.h"
#include "core/xml.h"
#include <stdio.h>

#define ORDER_NO_ALSO  "_-|*@"
#define REFUND_NO_ALSO "_-|*@"
#define AMOUNT_TOP     100000000000LL

const struct protocol wechat_v2_protocol = {
    .content_type = "text/plain",
    .fault_answer = v2_fault_answer,
    .code_answer = v2_code_answer,
    .finish = v2_finish,
    .notice = v2_notice,
    .taken = v2_taken,
};

enum kind { TEXT, WORD, AMOUNT, TIME }; /* WORD: letters, digits and `also` */

/* What stands in no table is let through, as long as it is signed: the sheet says so. */
struct field {
    const char *name;
    enum kind kind;
    bool must;
    size_t max; /* characters are not counted there: bytes */
    const char *also;
};

static const struct field common_fields[] = {
    {"appid", WORD, true, 32, ""},           {"mch_id", WORD, true, 32, ""},
    {"nonce_str", WORD, true, 32, ""},       {"sign_type", WORD, false, 32, "-"},
    {"device_info", TEXT, false, 32, NULL},  {"out_trade_no", WORD, false, 32, ORDER_NO_ALSO},
    {"transaction_id", WORD, false, 32, ""}, {NULL, TEXT, false, 0, NULL},
};

static const struct field pay_fields[] = {
    {"body", TEXT, true, 128, NULL},        {"out_trade_no", WORD, true, 32, ORDER_NO_ALSO},
    {"total_fee", AMOUNT, true, 0, NULL},   {"spbill_create_ip", WORD, true, 64, ".:"},
    {"detail", TEXT, false, 6000, NULL},    {"attach", TEXT, false, 127, NULL},
    {"fee_type", WORD, false, 16, ""},      {"goods_tag", TEXT, false, 32, NULL},
    {"limit_pay", WORD, false, 32, "_"},    {"time_start", TIME, false, 14, ""},
    {"time_expire", TIME, false, 14, ""},   {"receipt", WORD, false, 8, ""},
    {"scene_info", TEXT, false, 256, NULL}, {NULL, TEXT, false, 0, NULL},
};

static const struct field unifiedorder_fields[] = {
    {"notify_url", TEXT, true, 256, NULL}, {"trade_type", WORD, true, 16, ""},
    {"product_id", TEXT, false, 32, NULL}, {"openid", TEXT, false, 128, NULL},
    {NULL, TEXT, false, 0, NULL},
};

static const struct field micropay_fields[] = {
    {"auth_code", TEXT, true, 128, NULL},
    {NULL, TEXT, false, 0, NULL},
};

static const struct field close_fields[] = {
    {"out_trade_no", WORD, true, 32, ORDER_NO_ALSO},
    {NULL, TEXT, false, 0, NULL},
};

static const struct field refund_fields[] = {
    {"out_refund_no", WORD, true, 64, REFUND_NO_ALSO},
    {"total_fee", AMOUNT, true, 0, NULL},
    {"refund_fee", AMOUNT, true, 0, NULL},
    {"refund_fee_type", WORD, false, 8, ""},
    {"refund_desc", TEXT, false, 80, NULL},
    {"refund_account", WORD, false, 30, "_"},
    {"notify_url", TEXT, false, 256, NULL},
    {NULL, TEXT, false, 0, NULL},
};

static const struct field refundquery_fields[] = {
    {"out_refund_no", WORD, false, 64, REFUND_NO_ALSO},
    {"refund_id", WORD, false, 32, ""},
    {"offset", WORD, false, 8, ""},
    {NULL, TEXT, false, 0, NULL},
};

static const struct field bill_fields[] = {
    {"bill_date", WORD, true, 8, ""},
    {"bill_type", WORD, true, 32, "_"},
    {"tar_type", WORD, false, 8, ""},
    {NULL, TEXT, false, 0, NULL},
};

static const struct route {
    const char *path;
    enum bank_api api;
    const struct field *fields, *more;
    void (*handle)(struct v2 *v);
} routes[] = {
    {"/pay/unifiedorder", BANK_NATIVE, pay_fields, unifiedorder_fields, v2_unifiedorder},
    {"/pay/micropay", BANK_BARCODE, pay_fields, micropay_fields, v2_micropay},
    {"/pay/orderquery", BANK_QUERY, NULL, NULL, v2_orderquery},
    {"/pay/closeorder", BANK_CLOSE, close_fields, NULL, v2_closeorder},
    {"/secapi/pay/reverse", BANK_REVERSE, NULL, NULL, v2_reverse},
    {"/secapi/pay/refund", BANK_REFUND, refund_fields, NULL, v2_refund},
    {"/pay/refundquery", BANK_REFUND_QUERY, refundquery_fields, NULL, v2_refundquery},
    {"/pay/downloadbill", BANK_BILL, bill_fields, NULL, v2_downloadbill},
};

/* ---- fields ---- */

static bool refuse_field(struct v2 *v, const char *what, const char *name)
{
    char text[128];

    snprintf(text, sizeof(text), "%s:%s", what, name);
    return v2_refuse(v, text);
}

static bool fits(const struct field *f, struct slice s)
{
    pay_time_t at;
    int64_t amount;

    switch (f->kind) {
    case AMOUNT:
        return slice_int64(s, &amount) == 0 && amount >= 1 && amount <= AMOUNT_TOP;
    case TIME:
        return time_parse_wall(s, false, &at) == 0;
    case WORD:
        return s.n <= f->max && check_charset(s, f->also);
    default:
        return s.n <= f->max;
    }
}

static bool check_table(struct v2 *v, const struct field *f)
{
    for (; f && f->name; f++) {
        struct slice s = v2_get(v, f->name);

        if (!s.p && f->must)
            return refuse_field(v, "缺少参数", f->name);
        if (s.p && !fits(f, s))
            return refuse_field(v, "参数格式有误", f->name);
    }
    return true;
}

static bool appid_bound(const struct merchant *m, struct slice appid)
{
    for (uint32_t i = 0; i < m->nappids; i++)
        if (slice_eq(m->appids[i], appid))
            return true;
    return false;
}

/* ---- XML and signature ---- */

static bool read_xml(struct v2 *v)
{
    struct slice body = v->ex->req->body;
    const struct xml *doc;
    struct xml_error err;

    if (body.n == 0)
        return v2_refuse(v, "post数据为空");
    if (xml_parse(&v->ex->req->arena, body, NULL, &doc, &err) < 0)
        return v2_refuse(v, strcmp(err.reason, "not UTF-8") == 0 ? "编码格式错误" : "XML格式错误");
    if (!slice_is(doc->name, "xml"))
        return v2_refuse(v, "XML格式错误");
    for (const struct xml *e = doc->child; e; e = e->next) {
        if (e->child || v->in.n == FORM_MAX)
            return v2_refuse(v, "XML格式错误");
        v->in.v[v->in.n++] = (struct form_field){e->name, e->text};
    }
    v->ex->out_trade_no = v2_get(v, "out_trade_no");
    return true;
}

static bool check_signature(struct v2 *v)
{
    struct slice type = v2_get(v, "sign_type");
    struct slice sign = v2_get(v, "sign");
    char want[65];

    if (!sign.p)
        return refuse_field(v, "缺少参数", "sign");
    if (type.p && !slice_is(type, "MD5") && !slice_is(type, "HMAC-SHA256"))
        return refuse_field(v, "参数格式有误", "sign_type");
    v->sign_type = slice_is(type, "HMAC-SHA256") ? V2_HMAC : V2_MD5;
    if (v2_signature(&v->in, v->ex->merchant, v->sign_type, want) < 0 ||
        !equal_ct(sign, slice_of(want)))
        return v2_refuse(v, "签名错误");
    return true;
}

/* What the TLS in front of the API answers to calls without a certificate. */
static bool refuse_client(struct exchange *ex)
{
    ex->status = 400;
    ex->bare = true;
    ex->content_type = "text/html";
    buf_add_str(&ex->body, "<html>\r\n<head><title>400 No required SSL certificate was sent</title>"
                           "</head>\r\n<body>\r\n<center><h1>400 Bad Request</h1></center>\r\n"
                           "<center>No required SSL certificate was sent</center>\r\n"
                           "</body>\r\n</html>\r\n");
    return false;
}

static bool needs_no_cert(const struct exchange *ex)
{
    return ex->bank->conf.plain_channels || !slice_starts(ex->req->target, SLICE("/secapi/"));
}

static bool check_request(struct v2 *v, const struct route *r)
{
    struct exchange *ex = v->ex;
    struct slice peer = http_req_peer(ex->req);

    if (!slice_is(ex->req->method, "POST"))
        return v2_refuse(v, "请使用post方法");
    if (!needs_no_cert(ex) && !peer.n)
        return refuse_client(ex);
    if (!read_xml(v))
        return false;
    if (!v2_get(v, "mch_id").p)
        return refuse_field(v, "缺少参数", "mch_id");
    ex->merchant = bank_conf_merchant(&ex->bank->conf, CHANNEL_WECHAT_V2, v2_get(v, "mch_id"));
    if (!ex->merchant)
        return v2_refuse(v, "商户号mch_id不存在");
    if (!needs_no_cert(ex) && !slice_eq(peer, ex->merchant->api_cert))
        return v2_refuse(v, "商户证书与商户号不匹配");
    if (!check_signature(v) || !check_table(v, common_fields) || !check_table(v, r->fields) ||
        !check_table(v, r->more))
        return false;
    if (!appid_bound(ex->merchant, v2_get(v, "appid")))
        return v2_fail(v, "APPID_MCHID_NOT_MATCH", "appid和mch_id不匹配");
    return true;
}

static const struct route *find_route(struct slice path)
{
    for (size_t i = 0; i < sizeof(routes) / sizeof(routes[0]); i++)
        if (slice_is(path, routes[i].path))
            return &routes[i];
    return NULL;
}

struct order *v2_find_order(struct v2 *v)
{
    struct books *books = v->ex->bank->books;
    struct slice id = v2_get(v, "transaction_id");
    struct order *o;

    if (!id.p)
        return books_find(books, v->ex->merchant, v->ex->out_trade_no);
    o = books_by_transaction_id(books, v->ex->merchant, id);
    if (o)
        v->ex->out_trade_no = order_no(o);
    return o;
}

void wechat_v2_handle(struct bank *bank, struct http_req *req)
{
    struct exchange *ex = exchange_new(bank, req, CHANNEL_WECHAT_V2);
    struct slice query;
    const struct route *r = find_route(target_path(req->target, &query));
    struct v2 *v;

    if (!ex)
        return;
    v = arena_new(&req->arena, struct v2);
    if (!v || form_init(&v->in, &req->arena) < 0 || form_init(&v->out, &req->arena) < 0) {
        http_req_abort(req);
        return;
    }
    v->ex = ex;
    ex->answer = v;
    ex->status = 200;
    if (!r) {
        v2_refuse(v, "请求的URL不存在");
        exchange_send(ex);
        return;
    }
    ex->api = r->api;
    if (check_request(v, r))
        r->handle(v);
    else
        exchange_send(ex);
}
