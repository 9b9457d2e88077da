/* WeChat Pay v3: orders from their making to their end. */
#include "backends/paybank/desk/payer.h"
#include "wechat.h"

#define ORDER_LIFE_US     (7 * 86400 * USEC_PER_SEC)
#define REVERSE_WINDOW_US (7 * 86400 * USEC_PER_SEC)
#define AMOUNT_TOP        100000000000LL

/* What native, JSAPI, app and H5 share; H5 and JSAPI must say more. */
#define ORDER_FIELDS                                                                               \
    {"appid", CHECK_STRING, true, 1, 32, ""}, {"mchid", CHECK_STRING, true, 1, 32, ""},            \
        {"description", CHECK_STRING, true, 1, 127, NULL},                                         \
        {"out_trade_no", CHECK_STRING, true, 6, 32, WECHAT_NO_ALSO},                               \
        {"attach", CHECK_STRING, false, 0, 128, NULL},                                             \
        {"goods_tag", CHECK_STRING, false, 1, 32, NULL},                                           \
        {"support_fapiao", CHECK_BOOL, false, 0, 0, NULL},                                         \
        {"amount", CHECK_OBJECT, true, 0, 0, NULL},                                                \
        {"amount.total", CHECK_INTEGER, true, 1, AMOUNT_TOP, NULL},                                \
        {"amount.currency", CHECK_STRING, false, 1, 16, ""},                                       \
        {"detail", CHECK_OPAQUE, false, 0, 0, NULL},                                               \
        {"settle_info", CHECK_OBJECT, false, 0, 0, NULL},                                          \
        {"settle_info.profit_sharing", CHECK_BOOL, false, 0, 0, NULL},                             \
    {                                                                                              \
        "scene_info.device_id", CHECK_STRING, false, 1, 32, NULL                                   \
    }
#define PREPAY_FIELDS                                                                              \
    ORDER_FIELDS, {"notify_url", CHECK_STRING, true, 1, 255, NULL},                                \
        {"time_expire", CHECK_STRING, false, 1, 64, NULL},                                         \
        {"scene_info.store_info", CHECK_OPAQUE, false, 0, 0, NULL},                                \
    {                                                                                              \
        "scene_info.payer_client_ip", CHECK_STRING, true, 2, 45, ".:"                              \
    }
#define END                                                                                        \
    {                                                                                              \
        NULL, CHECK_STRING, false, 0, 0, NULL                                                      \
    }

static const struct check_field native_fields[] = {
    PREPAY_FIELDS,
    {"scene_info", CHECK_OBJECT, false, 0, 0, NULL},
    END,
};

static const struct check_field jsapi_fields[] = {
    PREPAY_FIELDS,
    {"scene_info", CHECK_OBJECT, false, 0, 0, NULL},
    {"payer", CHECK_OBJECT, true, 0, 0, NULL},
    {"payer.openid", CHECK_STRING, true, 1, 128, NULL},
    END,
};

static const struct check_field h5_fields[] = {
    PREPAY_FIELDS,
    {"scene_info", CHECK_OBJECT, true, 0, 0, NULL},
    {"scene_info.h5_info", CHECK_OBJECT, true, 0, 0, NULL},
    {"scene_info.h5_info.type", CHECK_STRING, true, 1, 32, NULL},
    {"scene_info.h5_info.app_name", CHECK_STRING, false, 1, 64, NULL},
    {"scene_info.h5_info.app_url", CHECK_STRING, false, 1, 128, NULL},
    {"scene_info.h5_info.bundle_id", CHECK_STRING, false, 1, 128, NULL},
    {"scene_info.h5_info.package_name", CHECK_STRING, false, 1, 128, NULL},
    END,
};

static const struct check_field codepay_fields[] = {
    ORDER_FIELDS,
    {"payer", CHECK_OBJECT, true, 0, 0, NULL},
    {"payer.auth_code", CHECK_STRING, true, 1, 32, NULL},
    {"scene_info", CHECK_OBJECT, true, 0, 0, NULL},
    {"scene_info.device_ip", CHECK_STRING, false, 2, 45, ".:"},
    {"scene_info.store_info", CHECK_OBJECT, true, 0, 0, NULL},
    {"scene_info.store_info.id", CHECK_STRING, false, 1, 32, NULL},
    {"scene_info.store_info.out_id", CHECK_STRING, false, 1, 32, NULL},
    END,
};

static const struct check_field close_fields[] = {
    {"mchid", CHECK_STRING, true, 1, 32, ""},
    END,
};

static const struct check_field reverse_fields[] = {
    {"appid", CHECK_STRING, true, 1, 32, ""},
    {"mchid", CHECK_STRING, true, 1, 32, ""},
    END,
};

/* ---- making ---- */

/* All that was asked, in the table's order: what a repetition must equal. */
static void digest_content(const struct json *doc, const struct check_field *fields,
                           uint8_t out[CONTENT_DIGEST_LEN])
{
    struct json_writer w;
    struct buf b;

    buf_init(&b, 1 << 18);
    json_writer_init(&w, &b);
    json_begin_array(&w);
    for (const struct check_field *f = fields; f->path; f++) {
        const struct json *v = json_get(doc, f->path);

        if (f->type == CHECK_OBJECT || strcmp(f->path, "payer.auth_code") == 0)
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
    exchange_digest(buf_slice(&b), out);
    buf_release(&b);
}

static bool appid_bound(const struct merchant *m, struct slice appid)
{
    for (uint32_t i = 0; i < m->nappids; i++)
        if (slice_eq(m->appids[i], appid))
            return true;
    return false;
}

static bool check_expiry(struct exchange *ex, struct slice s, pay_time_t *out)
{
    *out = ex->now + ORDER_LIFE_US;
    if (!s.p)
        return true;
    if (time_parse_rfc3339(s, out) < 0)
        return wechat_refuse_param(ex, "body", "/time_expire", "not a time of RFC 3339");
    if (*out <= ex->now)
        return wechat_refuse_param(ex, "body", "/time_expire", "in the past");
    return true;
}

static bool read_terms(struct exchange *ex, const struct json *doc,
                       const struct check_field *fields, enum pay_method method,
                       struct order_terms *t)
{
    struct slice currency = json_str(doc, "amount.currency");

    *t = (struct order_terms){
        .merchant = ex->merchant,
        .out_trade_no = json_str(doc, "out_trade_no"),
        .appid = json_str(doc, "appid"),
        .notify_url = json_str(doc, "notify_url"),
        .attach = json_str(doc, "attach"),
        .subject = json_str(doc, "description"),
        .currency = currency.p ? currency : SLICE("CNY"),
        .method = method,
    };
    if (!slice_is(t->currency, "CNY"))
        return wechat_refuse_param(ex, "body", "/amount/currency", "only CNY");
    if (t->notify_url.p && !wechat_check_url(ex, t->notify_url))
        return false;
    if (!check_expiry(ex, json_str(doc, "time_expire"), &t->expire_at))
        return false;
    if (!appid_bound(ex->merchant, t->appid))
        return wechat_refuse(ex, 400, "APPID_MCHID_NOT_MATCH", "商户号与appid不匹配");
    if (ex->merchant->disabled)
        return wechat_refuse(ex, 403, "NO_AUTH", "商户号无权限");
    json_int64(json_get(doc, "amount.total"), &t->amount);
    digest_content(doc, fields, t->digest);
    return true;
}

static void put_one(struct exchange *ex, const char *name, const char *value)
{
    struct json_writer w;

    ex->status = 200;
    json_writer_init(&w, &ex->body);
    json_begin_object(&w);
    json_member_str(&w, name, slice_of(value));
    json_end_object(&w);
}

static void put_prepay(struct exchange *ex, const struct order *o)
{
    char text[CODE_URL_MAX], prepay_id[PREPAY_ID_MAX];
    struct slice h5;

    payer_code_url(o, text);
    payer_prepay_id(o, prepay_id);
    if (o->method == METHOD_NATIVE) {
        put_one(ex, "code_url", text);
    } else if (o->method == METHOD_H5) {
        h5 = arena_printf(&ex->req->arena,
                          "https://wx.tenpay.com/cgi-bin/mmpayweb-bin/checkmweb?prepay_id=%s",
                          prepay_id);
        put_one(ex, "h5_url", h5.p);
    } else {
        put_one(ex, "prepay_id", prepay_id);
    }
}

static void prepay(struct exchange *ex, const struct check_field *fields, enum pay_method method)
{
    const struct json *doc;
    struct order_terms terms;
    struct order *o;
    enum books_result r;

    if (!wechat_parse_body(ex, fields, &doc) || !read_terms(ex, doc, fields, method, &terms)) {
        exchange_send(ex);
        return;
    }
    if (exchange_strike(ex))
        return;
    r = books_prepare(ex->bank->books, &terms, ex->now, &o);
    if (r == BOOKS_DONE)
        put_prepay(ex, o);
    else
        wechat_refuse_books(ex, r);
    exchange_send(ex);
}

#define API(name) void wechat_##name(struct exchange *ex, struct slice item, struct slice query)

API(native)
{
    (void)item;
    (void)query;
    prepay(ex, native_fields, METHOD_NATIVE);
}

API(app)
{
    (void)item;
    (void)query;
    prepay(ex, native_fields, METHOD_APP);
}

API(jsapi)
{
    (void)item;
    (void)query;
    prepay(ex, jsapi_fields, METHOD_JSAPI);
}

API(h5)
{
    (void)item;
    (void)query;
    prepay(ex, h5_fields, METHOD_H5);
}

/* ---- barcode ---- */

static bool check_barcode(struct exchange *ex, const struct order_terms *t, struct slice code)
{
    if (books_find(ex->bank->books, t->merchant, t->out_trade_no))
        return true; /* what is known about the number comes first */
    if (!payer_barcode_valid(code, 18, 18, 10, 15))
        return wechat_refuse(ex, 400, "AUTH_CODE_INVALID", "付款码无效");
    if (payer_barcode_use(ex->bank, CHANNEL_WECHAT_V3, code) < 0)
        return wechat_refuse(ex, 400, "AUTH_CODE_ERROR", "付款码已被使用");
    return true;
}

static void charge(struct exchange *ex, const struct order_terms *t)
{
    struct json_writer w;
    struct order *o;
    enum books_result r = books_prepare(ex->bank->books, t, ex->now, &o);

    if (r == BOOKS_DONE)
        r = payer_charge(ex->bank, o, &ex->fault, ex->now);
    if (r != BOOKS_DONE) {
        wechat_refuse_books(ex, r);
        return;
    }
    ex->status = 200;
    json_writer_init(&w, &ex->body);
    wechat_transaction(&w, o, ORDER_SUCCESS, o->amount, ex->now);
}

API(codepay)
{
    const struct json *doc;
    struct order_terms terms;
    struct slice code;

    (void)item;
    (void)query;
    if (!wechat_parse_body(ex, codepay_fields, &doc) ||
        !read_terms(ex, doc, codepay_fields, METHOD_BARCODE, &terms)) {
        exchange_send(ex);
        return;
    }
    if (!json_get(doc, "scene_info.store_info.id") &&
        !json_get(doc, "scene_info.store_info.out_id")) {
        wechat_refuse_param(ex, "body", "/scene_info/store_info", "neither id nor out_id");
        exchange_send(ex);
        return;
    }
    if (exchange_strike(ex))
        return;
    code = json_str(doc, "payer.auth_code");
    terms.payer = payer_barcode_hash(code);
    if (check_barcode(ex, &terms, code))
        charge(ex, &terms);
    exchange_send(ex);
}

/* ---- query, close, reverse ---- */

static void answer_order(struct exchange *ex, struct order *o)
{
    struct json_writer w;

    if (exchange_strike(ex))
        return;
    if (!o) {
        wechat_refuse(ex, 404, "ORDER_NOT_EXIST", "订单不存在");
    } else {
        order_settle(o, ex->now);
        ex->status = 200;
        json_writer_init(&w, &ex->body);
        wechat_transaction(&w, o, o->state, exchange_amount(ex, o->amount), ex->now);
    }
    exchange_send(ex);
}

API(query)
{
    if (wechat_check_mchid(ex, query))
        answer_order(ex, books_find(ex->bank->books, ex->merchant, item));
    else
        exchange_send(ex);
}

API(query_id)
{
    struct order *o;

    if (!wechat_check_mchid(ex, query)) {
        exchange_send(ex);
        return;
    }
    o = books_by_transaction_id(ex->bank->books, ex->merchant, item);
    if (o)
        ex->out_trade_no = order_no(o);
    answer_order(ex, o);
}

API(close)
{
    const struct json *doc;
    enum books_result r;
    struct order *o;

    (void)query;
    if (!wechat_parse_body(ex, close_fields, &doc)) {
        exchange_send(ex);
        return;
    }
    if (exchange_strike(ex))
        return;
    o = books_find(ex->bank->books, ex->merchant, item);
    if (!o) {
        wechat_refuse(ex, 404, "ORDER_NOT_EXIST", "订单不存在");
    } else if (o->method == METHOD_BARCODE) {
        wechat_refuse(ex, 400, "INVALID_REQUEST", "付款码订单请使用撤销");
    } else {
        r = books_close(ex->bank->books, o, ex->now);
        if (r == BOOKS_DONE)
            ex->status = 204;
        else
            wechat_refuse_books(ex, r);
    }
    exchange_send(ex);
}

static void put_reversed(struct exchange *ex)
{
    struct json_writer w;

    ex->status = 200;
    json_writer_init(&w, &ex->body);
    json_begin_object(&w);
    json_member_str(&w, "mchid", ex->merchant->id);
    json_member_str(&w, "out_trade_no", ex->out_trade_no);
    json_end_object(&w);
}

static void reverse(struct exchange *ex, struct order *o)
{
    if (ex->now - o->created_at < ex->bank->conf.reverse_after_us) {
        wechat_refuse(ex, 400, "INVALID_REQUEST", "支付后15秒内不能撤销");
        return;
    }
    switch (books_reverse(ex->bank->books, o, false, ex->now)) {
    case BOOKS_DONE:
    case BOOKS_IS_REVOKED:
    case BOOKS_IS_CLOSED:
        put_reversed(ex);
        break;
    case BOOKS_IS_PAYING:
        wechat_refuse(ex, 400, "USERPAYING", "用户支付中，暂时不能撤销");
        break;
    case BOOKS_REFUNDED:
        wechat_refuse(ex, 403, "TRADE_ERROR", "订单已退款，无法撤销");
        break;
    default:
        wechat_refuse_books(ex, BOOKS_BROKEN);
        break;
    }
}

API(reverse)
{
    const struct json *doc;
    struct order *o;

    (void)query;
    if (!wechat_parse_body(ex, reverse_fields, &doc)) {
        exchange_send(ex);
        return;
    }
    if (exchange_strike(ex))
        return;
    o = books_find(ex->bank->books, ex->merchant, item);
    if (!o)
        wechat_refuse(ex, 404, "ORDER_NOT_EXIST", "订单不存在");
    else if (o->method != METHOD_BARCODE)
        wechat_refuse(ex, 400, "INVALID_REQUEST", "只有付款码订单可以撤销");
    else if (ex->now - o->created_at > REVERSE_WINDOW_US)
        wechat_refuse(ex, 400, "REVERSE_EXPIRE", "订单超过撤销期限");
    else if (ex->fault.kind == FAULT_RECALL)
        wechat_refuse_books(ex, BOOKS_BROKEN); /* "call again" has no member of its own here */
    else
        reverse(ex, o);
    exchange_send(ex);
}
