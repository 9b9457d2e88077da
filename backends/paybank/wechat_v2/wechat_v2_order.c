/* WeChat Pay v2: orders from their making to their end. */
#include "backends/paybank/desk/payer.h"
#include "core/net.h"
#include "wechat_v2.h"

#define ORDER_LIFE_US     (7 * 86400 * USEC_PER_SEC)
#define REVERSE_WINDOW_US (7 * 86400 * USEC_PER_SEC)

/* ---- making ---- */

static void digest_content(const struct v2 *v, uint8_t out[CONTENT_DIGEST_LEN])
{
    static const char *const but[] = {"sign", "sign_type", "nonce_str", "auth_code", NULL};
    struct buf text;

    buf_init(&text, 1 << 18);
    form_signed_text(&v->in, but, &text);
    exchange_digest(buf_slice(&text), out);
    buf_release(&text);
}

static bool read_expiry(struct v2 *v, pay_time_t *out)
{
    struct slice s = v2_get(v, "time_expire");

    *out = v->ex->now + ORDER_LIFE_US;
    if (!s.p)
        return true;
    if (time_parse_wall(s, false, out) < 0 || *out <= v->ex->now)
        return v2_fail(v, "PARAM_ERROR", "time_expire时间过短");
    return true;
}

static bool read_terms(struct v2 *v, enum pay_method method, struct order_terms *t)
{
    struct slice currency = v2_get(v, "fee_type");

    *t = (struct order_terms){
        .merchant = v->ex->merchant,
        .out_trade_no = v2_get(v, "out_trade_no"),
        .appid = v2_get(v, "appid"),
        .notify_url = method == METHOD_BARCODE ? SLICE_NULL : v2_get(v, "notify_url"),
        .attach = v2_get(v, "attach"),
        .subject = v2_get(v, "body"),
        .currency = SLICE("CNY"),
        .method = method,
        .variant = v->sign_type,
    };
    slice_int64(v2_get(v, "total_fee"), &t->amount);
    if (currency.p && !slice_is(currency, "CNY"))
        return v2_fail(v, "PARAM_ERROR", "fee_type只支持CNY");
    if (!read_expiry(v, &t->expire_at))
        return false;
    if (v->ex->merchant->disabled)
        return v2_fail(v, "NOAUTH", "商户无此接口权限");
    digest_content(v, t->digest);
    return true;
}

static bool check_notify_url(struct v2 *v)
{
    const char *reason;
    struct url url;

    if (url_parse(v2_get(v, "notify_url"), &url, &reason) < 0 ||
        memchr(url.target.p, '?', url.target.n))
        return v2_fail(v, "PARAM_ERROR", "notify_url不是有效的URL");
    return true;
}

static bool read_trade_type(struct v2 *v, enum pay_method *method)
{
    static const struct {
        const char *name;
        enum pay_method method;
        enum bank_api api;
        const char *needs;
    } types[] = {
        {"NATIVE", METHOD_NATIVE, BANK_NATIVE, "product_id"},
        {"JSAPI", METHOD_JSAPI, BANK_JSAPI, "openid"},
        {"APP", METHOD_APP, BANK_APP, NULL},
        {"MWEB", METHOD_H5, BANK_H5, "scene_info"},
    };

    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
        if (!slice_is(v2_get(v, "trade_type"), types[i].name))
            continue;
        *method = types[i].method;
        v->ex->api = types[i].api;
        return !types[i].needs || v2_get(v, types[i].needs).p ||
               v2_fail(v, "LACK_PARAMS", types[i].needs);
    }
    return v2_fail(v, "PARAM_ERROR", "trade_type");
}

static void put_prepay(struct v2 *v, const struct order *o)
{
    char code_url[CODE_URL_MAX], prepay_id[PREPAY_ID_MAX];

    payer_code_url(o, code_url);
    payer_prepay_id(o, prepay_id);
    v2_begin_ok(v);
    form_add_str(&v->out, "trade_type", v2_trade_type(o));
    form_add_str(&v->out, "prepay_id", prepay_id);
    if (o->method == METHOD_NATIVE)
        form_add_str(&v->out, "code_url", code_url);
    if (o->method == METHOD_H5)
        form_add(&v->out, "mweb_url",
                 arena_printf(v->out.arena,
                              "https://wx.tenpay.com/cgi-bin/mmpayweb-bin/checkmweb?prepay_id=%s",
                              prepay_id));
}

void v2_unifiedorder(struct v2 *v)
{
    struct exchange *ex = v->ex;
    enum pay_method method = METHOD_NATIVE;
    struct order_terms terms;
    enum books_result r;
    struct order *o;

    if (!read_trade_type(v, &method) || !check_notify_url(v) || !read_terms(v, method, &terms)) {
        exchange_send(ex);
        return;
    }
    if (exchange_strike(ex))
        return;
    r = books_prepare(ex->bank->books, &terms, ex->now, &o);
    if (r == BOOKS_DONE)
        put_prepay(v, o);
    else
        v2_fail_books(v, r);
    exchange_send(ex);
}

/* ---- barcode ---- */

/* A code that is none, or was shown before, leaves the number unused. */
static bool check_barcode(struct v2 *v, const struct order_terms *t)
{
    struct slice code = v2_get(v, "auth_code");
    struct bank *bank = v->ex->bank;

    if (books_find(bank->books, t->merchant, t->out_trade_no))
        return true; /* what is known about the number comes first */
    if (!payer_barcode_valid(code, 18, 18, 10, 15))
        return v2_fail(v, "AUTH_CODE_INVALID", "授权码检验错误");
    if (payer_barcode_use(bank, CHANNEL_WECHAT_V2, code) < 0)
        return v2_fail(v, "AUTH_CODE_ERROR", "二维码已被使用");
    return true;
}

static enum books_result charge(struct v2 *v, const struct order_terms *t, struct order **o)
{
    struct exchange *ex = v->ex;
    enum books_result r = books_prepare(ex->bank->books, t, ex->now, o);

    if (r != BOOKS_DONE)
        return r;
    return payer_charge(ex->bank, *o, &ex->fault, ex->now);
}

void v2_micropay(struct v2 *v)
{
    struct exchange *ex = v->ex;
    struct order_terms terms;
    enum books_result r;
    struct order *o;

    if (!read_terms(v, METHOD_BARCODE, &terms)) {
        exchange_send(ex);
        return;
    }
    if (exchange_strike(ex))
        return;
    terms.payer = payer_barcode_hash(v2_get(v, "auth_code"));
    if (check_barcode(v, &terms)) {
        r = charge(v, &terms, &o);
        if (r == BOOKS_DONE) {
            v2_begin_ok(v);
            v2_put_payment(&v->out, o, o->amount);
        } else {
            v2_fail_books(v, r);
        }
    }
    exchange_send(ex);
}

/* ---- query, close, reverse ---- */

static const char *trade_state(struct order *o, pay_time_t now)
{
    static const char *const names[ORDER_STATE_COUNT] = {
        [ORDER_NOTPAY] = "NOTPAY", [ORDER_USERPAYING] = "USERPAYING", [ORDER_SUCCESS] = "SUCCESS",
        [ORDER_CLOSED] = "CLOSED", [ORDER_FAILED] = "PAYERROR",       [ORDER_REVOKED] = "REVOKED",
    };

    order_settle(o, now);
    if (o->state == ORDER_SUCCESS && order_refunded(o, now) > 0)
        return "REFUND";
    return names[o->state];
}

static bool has_number(struct v2 *v)
{
    return v2_get(v, "transaction_id").p || v2_get(v, "out_trade_no").p ||
           v2_refuse(v, "缺少参数:out_trade_no");
}

void v2_orderquery(struct v2 *v)
{
    struct exchange *ex = v->ex;
    struct order *o;
    const char *state;

    if (!has_number(v)) {
        exchange_send(ex);
        return;
    }
    o = v2_find_order(v);
    if (exchange_strike(ex))
        return;
    if (!o) {
        v2_fail(v, "ORDERNOTEXIST", "订单不存在");
    } else {
        state = trade_state(o, ex->now);
        v2_begin_ok(v);
        form_add_str(&v->out, "trade_state", state);
        form_add_str(&v->out, "trade_state_desc", state);
        if (o->state == ORDER_SUCCESS)
            v2_put_payment(&v->out, o, exchange_amount(ex, o->amount));
        else
            form_add(&v->out, "out_trade_no", order_no(o));
    }
    exchange_send(ex);
}

void v2_closeorder(struct v2 *v)
{
    struct exchange *ex = v->ex;
    enum books_result r;
    struct order *o;

    if (exchange_strike(ex))
        return;
    o = books_find(ex->bank->books, ex->merchant, ex->out_trade_no);
    if (!o) {
        v2_fail(v, "ORDERNOTEXIST", "订单不存在");
    } else if (o->method == METHOD_BARCODE) {
        v2_fail(v, "INVALID_REQUEST", "付款码订单请使用撤销");
    } else {
        r = books_close(ex->bank->books, o, ex->now);
        if (r == BOOKS_DONE)
            v2_begin_ok(v);
        else
            v2_fail_books(v, r);
    }
    exchange_send(ex);
}

static void put_recall(struct v2 *v, const char *recall)
{
    v2_begin_ok(v);
    form_add_str(&v->out, "recall", recall);
}

/* An unknown number is answered as if it were revoked (the sheet's report): nothing is booked, and
 * a payment that arrives later under it is taken. */
static void reverse(struct v2 *v, struct order *o)
{
    struct exchange *ex = v->ex;

    if (!o) {
        if (v2_get(v, "transaction_id").p)
            v2_fail(v, "INVALID_TRANSACTIONID", "无效transaction_id");
        else
            put_recall(v, "N");
        return;
    }
    if (o->method != METHOD_BARCODE) {
        v2_fail(v, "INVALID_REQUEST", "只有付款码订单可以撤销");
        return;
    }
    if (ex->now - o->created_at > REVERSE_WINDOW_US) {
        v2_fail(v, "REVERSE_EXPIRE", "订单无法撤销");
        return;
    }
    if (ex->now - o->created_at < ex->bank->conf.reverse_after_us) {
        v2_fail(v, "INVALID_REQUEST", "支付后15秒内不能撤销");
        return;
    }
    switch (books_reverse(ex->bank->books, o, false, ex->now)) {
    case BOOKS_DONE:
    case BOOKS_IS_REVOKED:
    case BOOKS_IS_CLOSED:
        put_recall(v, "N");
        break;
    case BOOKS_IS_PAYING:
        v2_fail(v, "USERPAYING", "用户支付中，需要输入密码");
        break;
    case BOOKS_REFUNDED:
        v2_fail(v, "TRADE_ERROR", "订单已退款，无法撤销");
        break;
    default:
        v2_fail(v, "SYSTEMERROR", "接口返回错误");
        break;
    }
}

void v2_reverse(struct v2 *v)
{
    struct exchange *ex = v->ex;
    struct order *o;

    if (!has_number(v)) {
        exchange_send(ex);
        return;
    }
    o = v2_find_order(v);
    if (exchange_strike(ex))
        return;
    if (ex->fault.kind == FAULT_RECALL)
        put_recall(v, "Y");
    else
        reverse(v, o);
    exchange_send(ex);
}
