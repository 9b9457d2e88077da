/* Alipay: trades from their making to their end. */
#include "backends/paybank/desk/payer.h"
#include "backends/paybank/wire/check.h"
#include "core/net.h"
#include "alipay.h"

#define AMOUNT_TOP       10000000000LL /* 100,000,000.00 yuan */
#define MINUTE_US        (60 * USEC_PER_SEC)
#define HOUR_US          (3600 * USEC_PER_SEC)
#define DAY_US           (86400 * USEC_PER_SEC)
#define BARCODE_LIFE_US  (3 * MINUTE_US)
#define QR_LIFE_US       (2 * HOUR_US)
#define TRADE_LIFE_US    (15 * DAY_US)
#define CANCEL_WINDOW_US DAY_US

/* ---- making ---- */

/* "90m", "2h", "15d", "1c" (this day): 1 minute to 15 days. */
static bool read_timeout(struct alipay *al, const char *name, pay_time_t *expire_at)
{
    struct slice s = alipay_get(al, name);
    int64_t n, us;

    if (!s.p)
        return true;
    if (slice_is(s, "1c")) {
        *expire_at = (al->ex->now + 8 * HOUR_US) / DAY_US * DAY_US + DAY_US - 8 * HOUR_US;
        return true;
    }
    us = s.p[s.n - 1] == 'm'   ? MINUTE_US
         : s.p[s.n - 1] == 'h' ? HOUR_US
         : s.p[s.n - 1] == 'd' ? DAY_US
                               : 0;
    if (!us || slice_int64(slice_n(s.p, s.n - 1), &n) < 0 || n < 1 || n > 21600 ||
        n * us > TRADE_LIFE_US)
        return alipay_fail(al, "ACQ.INVALID_PARAMETER", name);
    *expire_at = al->ex->now + n * us;
    return true;
}

static bool read_notify_url(struct alipay *al, struct slice *out)
{
    const char *reason;
    struct url url;

    *out = form_get(&al->in, "notify_url");
    return !out->n || (out->n <= 256 && url_parse(*out, &url, &reason) == 0) ||
           alipay_fail(al, "ACQ.INVALID_PARAMETER", "notify_url");
}

/* All of biz_content but the code that a payer shows once. */
static void digest_content(const struct alipay *al, uint8_t out[CONTENT_DIGEST_LEN])
{
    struct json_writer w;
    struct buf b;

    buf_init(&b, 1 << 18);
    json_writer_init(&w, &b);
    json_begin_object(&w);
    for (const struct json *m = al->biz->child; m; m = m->next) {
        if (slice_is(m->key, "auth_code"))
            continue;
        json_key_slice(&w, m->key);
        json_put_value(&w, m);
    }
    json_end_object(&w);
    exchange_digest(buf_slice(&b), out);
    buf_release(&b);
}

static bool read_terms(struct alipay *al, enum pay_method method, int64_t life_us,
                       struct order_terms *t)
{
    struct exchange *ex = al->ex;

    *t = (struct order_terms){
        .merchant = ex->merchant,
        .out_trade_no = alipay_get(al, "out_trade_no"),
        .subject = alipay_get(al, "subject"),
        .attach = alipay_get(al, "passback_params"),
        .currency = SLICE("CNY"),
        .method = method,
        .expire_at = ex->now + life_us,
    };
    if (!t->out_trade_no.p || t->out_trade_no.n > 64 || !check_charset(t->out_trade_no, "_"))
        return alipay_fail(al, "ACQ.INVALID_PARAMETER", "out_trade_no");
    if (!t->subject.p || t->subject.n > 256 || t->attach.n > 512)
        return alipay_fail(al, "ACQ.INVALID_PARAMETER", "subject");
    if (!alipay_get(al, "total_amount").p ||
        money_parse_yuan(alipay_get(al, "total_amount"), &t->amount) < 0 || t->amount < 1)
        return alipay_fail(al, "ACQ.INVALID_PARAMETER", "total_amount");
    if (t->amount > AMOUNT_TOP)
        return alipay_fail(al, "ACQ.TOTAL_FEE_EXCEED", "订单总金额超限");
    if (!read_notify_url(al, &t->notify_url) || !read_timeout(al, "timeout_express", &t->expire_at))
        return false;
    if (method == METHOD_NATIVE && !read_timeout(al, "qr_code_timeout_express", &t->expire_at))
        return false;
    if (ex->merchant->disabled)
        return alipay_fail(al, "ACQ.ACCESS_FORBIDDEN", "无权限使用接口");
    digest_content(al, t->digest);
    return true;
}

static bool fail_books(struct alipay *al, enum books_result r)
{
    switch (r) {
    case BOOKS_OTHER_CONTENT:
        return alipay_fail(al, "ACQ.CONTEXT_INCONSISTENT", "交易信息被篡改");
    case BOOKS_OTHER_PAYER:
        return alipay_fail(al, "ACQ.TRADE_BUYER_NOT_MATCH", "交易买家不匹配");
    case BOOKS_IS_PAID:
        return alipay_fail(al, "ACQ.TRADE_HAS_SUCCESS", "交易已被支付");
    case BOOKS_IS_CLOSED:
    case BOOKS_IS_REVOKED:
        return alipay_fail(al, "ACQ.TRADE_HAS_CLOSE", "交易已经关闭");
    default:
        return alipay_fail(al, "ACQ.SYSTEM_ERROR", "系统错误");
    }
}

static void put_made(struct alipay *al, const struct order *o)
{
    char id[TRANSACTION_ID_MAX], code_url[CODE_URL_MAX];
    struct json_writer w;

    order_transaction_id(o, id);
    payer_code_url(o, code_url);
    alipay_begin(al, &w, "10000", "Success");
    json_member_str(&w, "out_trade_no", order_no(o));
    if (o->method == METHOD_NATIVE)
        json_member_str(&w, "qr_code", slice_of(code_url));
    else if (id[0])
        json_member_str(&w, "trade_no", slice_of(id));
    json_end_object(&w);
}

/* A trade whose payer is there from the beginning exists at once. */
static void make(struct alipay *al, enum pay_method method, int64_t life_us, bool with_payer)
{
    struct exchange *ex = al->ex;
    struct order_terms terms;
    enum books_result r;
    struct order *o;

    if (!read_terms(al, method, life_us, &terms)) {
        exchange_send(ex);
        return;
    }
    if (exchange_strike(ex))
        return;
    r = books_prepare(ex->bank->books, &terms, ex->now, &o);
    if (r == BOOKS_DONE && with_payer && books_scan(ex->bank->books, o, ex->now) < 0)
        r = BOOKS_BROKEN;
    if (r == BOOKS_DONE)
        put_made(al, o);
    else
        fail_books(al, r);
    exchange_send(ex);
}

void alipay_precreate(struct alipay *al)
{
    make(al, METHOD_NATIVE, QR_LIFE_US, false);
}

void alipay_create(struct alipay *al)
{
    if (!alipay_get(al, "buyer_id").p && !alipay_get(al, "buyer_open_id").p) {
        alipay_fail(al, "ACQ.INVALID_PARAMETER", "buyer_id");
        exchange_send(al->ex);
        return;
    }
    make(al, METHOD_JSAPI, TRADE_LIFE_US, true);
}

/* Here a wallet or a browser calls, with what the merchant signed; the answer is for them. */
void alipay_app(struct alipay *al)
{
    make(al, METHOD_APP, TRADE_LIFE_US, false);
}

void alipay_wap(struct alipay *al)
{
    make(al, METHOD_H5, TRADE_LIFE_US, false);
}

/* ---- barcode ---- */

static void put_payment(struct json_writer *w, const struct order *o, int64_t amount)
{
    json_member_str(w, "buyer_logon_id", SLICE("159****5620"));
    json_member_str(w, "buyer_user_id", SLICE("2088102116773037"));
    alipay_member_yuan(w, "total_amount", amount);
    alipay_member_yuan(w, "receipt_amount", amount);
    alipay_member_yuan(w, "buyer_pay_amount", amount);
    alipay_member_yuan(w, "point_amount", 0);
    alipay_member_yuan(w, "invoice_amount", amount);
    (void)o;
}

static void put_numbers(struct json_writer *w, const struct order *o)
{
    char id[TRANSACTION_ID_MAX];

    order_transaction_id(o, id);
    json_member_str(w, "trade_no", slice_of(id));
    json_member_str(w, "out_trade_no", order_no(o));
}

static void put_charge(struct alipay *al, const struct order *o)
{
    bool paid = o->state == ORDER_SUCCESS;
    struct json_writer w;

    alipay_begin(al, &w, paid ? "10000" : "10003",
                 paid ? "Success" : "order success pay inprocess");
    put_numbers(&w, o);
    if (paid) {
        put_payment(&w, o, o->amount);
        alipay_member_time(&w, "gmt_payment", o->paid_at);
    }
    json_end_object(&w);
}

static bool check_barcode(struct alipay *al, const struct order_terms *t, struct slice code)
{
    struct bank *bank = al->ex->bank;

    if (!slice_is(alipay_get(al, "scene"), "bar_code"))
        return alipay_fail(al, "ACQ.INVALID_PARAMETER", "scene");
    if (books_find(bank->books, t->merchant, t->out_trade_no))
        return true; /* what is known about the number comes first */
    if (!payer_barcode_valid(code, 16, 24, 25, 30) ||
        payer_barcode_use(bank, CHANNEL_ALIPAY, code) < 0)
        return alipay_fail(al, "ACQ.PAYMENT_AUTH_CODE_INVALID", "支付失败，获取顾客账户信息失败");
    return true;
}

/* The same number, content and code: the same trade, as it is now. */
static void charge(struct alipay *al, const struct order_terms *t)
{
    struct exchange *ex = al->ex;
    struct order *o;
    enum books_result r = books_prepare(ex->bank->books, t, ex->now, &o);

    if (r == BOOKS_DONE)
        r = payer_charge(ex->bank, o, &ex->fault, ex->now);
    if (r == BOOKS_DONE || r == BOOKS_IS_PAYING || r == BOOKS_IS_PAID)
        put_charge(al, o);
    else if (r == BOOKS_OTHER_PAYER && o->state == ORDER_SUCCESS)
        fail_books(al, BOOKS_IS_PAID);
    else
        fail_books(al, r);
}

void alipay_pay(struct alipay *al)
{
    struct exchange *ex = al->ex;
    struct slice code = alipay_get(al, "auth_code");
    struct order_terms terms;

    if (!read_terms(al, METHOD_BARCODE, BARCODE_LIFE_US, &terms)) {
        exchange_send(ex);
        return;
    }
    if (exchange_strike(ex))
        return;
    terms.payer = payer_barcode_hash(code);
    if (check_barcode(al, &terms, code))
        charge(al, &terms);
    exchange_send(ex);
}

/* ---- query, close, cancel ---- */

/* The order with a trade behind it, and past the faults; NULL: answered already. */
static struct order *find_trade(struct alipay *al, const char **status)
{
    struct exchange *ex = al->ex;
    struct order *o;

    if (!alipay_find_order(al, &o)) {
        exchange_send(ex);
        return NULL;
    }
    if (exchange_strike(ex))
        return NULL;
    *status = o ? alipay_trade_status(o, ex->now) : NULL;
    if (*status)
        return o;
    alipay_fail(al, "ACQ.TRADE_NOT_EXIST", "交易不存在");
    exchange_send(ex);
    return NULL;
}

void alipay_query(struct alipay *al)
{
    const char *status;
    struct order *o = find_trade(al, &status);
    struct json_writer w;

    if (!o)
        return;
    alipay_begin(al, &w, "10000", "Success");
    put_numbers(&w, o);
    json_member_str(&w, "trade_status", slice_of(status));
    put_payment(&w, o, exchange_amount(al->ex, o->amount));
    if (o->paid_at)
        alipay_member_time(&w, "send_pay_date", o->paid_at);
    json_end_object(&w);
    exchange_send(al->ex);
}

void alipay_close(struct alipay *al)
{
    const char *status;
    struct order *o = find_trade(al, &status);
    struct json_writer w;

    if (!o)
        return;
    if (strcmp(status, "WAIT_BUYER_PAY") != 0) {
        alipay_fail(al, "ACQ.TRADE_STATUS_ERROR", "交易状态不合法");
    } else if (books_close(al->ex->bank->books, o, al->ex->now) != BOOKS_DONE) {
        alipay_fail(al, "ACQ.SYSTEM_ERROR", "系统错误");
    } else {
        alipay_begin(al, &w, "10000", "Success");
        put_numbers(&w, o);
        json_end_object(&w);
    }
    exchange_send(al->ex);
}

/* o NULL: there was nothing, and nothing was done. */
static void put_cancel(struct alipay *al, const struct order *o, const char *retry_flag)
{
    struct json_writer w;

    alipay_begin(al, &w, "10000", "Success");
    if (o)
        put_numbers(&w, o);
    else
        json_member_str_opt(&w, "out_trade_no", al->ex->out_trade_no);
    json_member_str(&w, "retry_flag", slice_of(retry_flag));
    if (o && retry_flag[0] == 'N') {
        json_member_str(&w, "action", o->paid_at ? SLICE("refund") : SLICE("close"));
        if (o->paid_at)
            alipay_member_time(&w, "gmt_refund_pay", o->ended_at);
    }
    json_end_object(&w);
}

static void cancel(struct alipay *al, struct order *o)
{
    pay_time_t now = al->ex->now;

    if (now - o->created_at > CANCEL_WINDOW_US) {
        alipay_fail(al, "ACQ.TRADE_CANCEL_TIME_OUT", "超过撤销时间范围");
        return;
    }
    switch (books_reverse(al->ex->bank->books, o, true, now)) {
    case BOOKS_DONE:
    case BOOKS_IS_REVOKED:
    case BOOKS_IS_CLOSED:
        put_cancel(al, o, "N");
        break;
    case BOOKS_REFUNDED:
        alipay_fail(al, "ACQ.REASON_TRADE_REFUND_FEE_ERR", "退款金额错误");
        break;
    default:
        alipay_fail(al, "ACQ.SYSTEM_ERROR", "系统错误");
        break;
    }
}

/* A QR code that nobody scanned has no trade, and stays good: the sheet does not know better. */
void alipay_cancel(struct alipay *al)
{
    struct exchange *ex = al->ex;
    struct order *o;

    if (!alipay_find_order(al, &o)) {
        exchange_send(ex);
        return;
    }
    if (exchange_strike(ex))
        return;
    if (!o || !alipay_trade_status(o, ex->now))
        put_cancel(al, NULL, "N");
    else if (ex->fault.kind == FAULT_RECALL)
        put_cancel(al, o, "Y");
    else
        cancel(al, o);
    exchange_send(ex);
}
