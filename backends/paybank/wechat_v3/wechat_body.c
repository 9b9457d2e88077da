#include "wechat_body.h"

#include "wechat_sign.h"
#include <stdio.h>

#define NONCE_LEN     32
#define GCM_NONCE_LEN 12
#define NOTICE_CAP    16384
#define PAYER         "oPaybankPayer000000000000001"

/* "REFUND" is no state of the books: money went back from a paid order. */
static const char *state_name(struct order *o, enum order_state s, pay_time_t now)
{
    if (s == ORDER_SUCCESS && order_refunded(o, now) > 0)
        return "REFUND";
    return s == ORDER_FAILED ? "PAYERROR" : order_state_name(s);
}

static const char *state_desc(enum order_state s)
{
    static const char *const texts[ORDER_STATE_COUNT] = {
        [ORDER_NOTPAY] = "订单未支付", [ORDER_USERPAYING] = "用户支付中，请输入密码",
        [ORDER_SUCCESS] = "支付成功",  [ORDER_CLOSED] = "订单已关闭",
        [ORDER_FAILED] = "支付失败",   [ORDER_REVOKED] = "订单已撤销",
    };

    return texts[s];
}

static const char *trade_type(const struct order *o)
{
    static const char *const names[METHOD_COUNT] = {
        [METHOD_NATIVE] = "NATIVE", [METHOD_JSAPI] = "JSAPI",      [METHOD_H5] = "MWEB",
        [METHOD_APP] = "APP",       [METHOD_BARCODE] = "MICROPAY",
    };

    return names[o->method];
}

static void put_amount(struct json_writer *w, const struct order *o, bool paid, int64_t amount)
{
    struct slice currency = slice_of(o->currency);

    json_key(w, "amount");
    json_begin_object(w);
    json_member_int64(w, "total", amount);
    if (paid)
        json_member_int64(w, "payer_total", amount);
    json_member_str(w, "currency", currency);
    json_member_str(w, "payer_currency", currency);
    json_end_object(w);
}

static void put_payment(struct json_writer *w, const struct order *o)
{
    char id[TRANSACTION_ID_MAX];
    char at[RFC3339_LEN + 1];

    order_transaction_id(o, id);
    time_format_rfc3339(at, o->paid_at);
    json_member_str(w, "transaction_id", slice_of(id));
    json_member_str(w, "trade_type", slice_of(trade_type(o)));
    json_member_str(w, "bank_type", SLICE("OTHERS"));
    json_member_str(w, "success_time", slice_of(at));
    json_key(w, "payer");
    json_begin_object(w);
    json_member_str(w, "openid", SLICE(PAYER));
    json_end_object(w);
}

void wechat_transaction(struct json_writer *w, struct order *o, enum order_state state,
                        int64_t amount, pay_time_t now)
{
    bool paid = state == ORDER_SUCCESS;

    json_begin_object(w);
    json_member_str(w, "appid", slice_of(o->appid));
    json_member_str(w, "mchid", o->merchant->id);
    json_member_str(w, "out_trade_no", order_no(o));
    if (paid)
        put_payment(w, o);
    json_member_str(w, "trade_state", slice_of(state_name(o, state, now)));
    json_member_str(w, "trade_state_desc", slice_of(state_desc(state)));
    json_member_str_opt(w, "attach", order_attach(o));
    put_amount(w, o, paid, amount);
    json_end_object(w);
}

static void put_refund_amount(struct json_writer *w, const struct refund *r, int64_t amount,
                              bool in_notice)
{
    json_key(w, "amount");
    json_begin_object(w);
    json_member_int64(w, "total", r->order->amount);
    json_member_int64(w, "refund", amount);
    json_member_int64(w, "payer_total", r->order->amount);
    json_member_int64(w, "payer_refund", amount);
    if (!in_notice) {
        json_member_int64(w, "settlement_refund", amount);
        json_member_int64(w, "settlement_total", r->order->amount);
        json_member_int64(w, "discount_refund", 0);
        json_member_str(w, "currency", slice_of(r->order->currency));
    }
    json_end_object(w);
}

static const char *refund_status(const struct refund *r)
{
    return r->state == REFUND_DONE ? "SUCCESS" : refund_state_name(r->state);
}

void wechat_refund_object(struct json_writer *w, const struct refund *r, int64_t amount,
                          bool in_notice)
{
    char id[TRANSACTION_ID_MAX], of[TRANSACTION_ID_MAX];
    char created[RFC3339_LEN + 1], done[RFC3339_LEN + 1];

    refund_id(r, id);
    order_transaction_id(r->order, of);
    time_format_rfc3339(created, r->created_at);
    time_format_rfc3339(done, r->due_at);
    json_begin_object(w);
    if (in_notice)
        json_member_str(w, "mchid", r->order->merchant->id);
    json_member_str(w, "refund_id", slice_of(id));
    json_member_str(w, "out_refund_no", refund_no(r));
    json_member_str(w, "transaction_id", slice_of(of));
    json_member_str(w, "out_trade_no", order_no(r->order));
    json_member_str(w, "user_received_account", SLICE("支付用户零钱"));
    if (r->state == REFUND_DONE)
        json_member_str(w, "success_time", slice_of(done));
    json_member_str(w, in_notice ? "refund_status" : "status", slice_of(refund_status(r)));
    if (!in_notice) {
        json_member_str(w, "channel", SLICE("ORIGINAL"));
        json_member_str(w, "create_time", slice_of(created));
        json_member_str(w, "funds_account", SLICE("AVAILABLE"));
    }
    put_refund_amount(w, r, amount, in_notice);
    json_end_object(w);
}

void wechat_error(struct exchange *ex, int status, const char *code, const char *message,
                  const struct wechat_detail *detail)
{
    struct json_writer w;

    ex->status = status;
    buf_clear(&ex->body);
    json_writer_init(&w, &ex->body);
    json_begin_object(&w);
    json_member_str(&w, "code", slice_of(code));
    json_member_str(&w, "message", slice_of(message));
    if (detail) {
        json_key(&w, "detail");
        json_begin_object(&w);
        if (detail->field)
            json_member_str(&w, "field", slice_of(detail->field));
        json_member_str(&w, "issue", slice_of(detail->issue));
        json_member_str(&w, "location", slice_of(detail->location));
        json_end_object(&w);
    }
    json_end_object(&w);
}

void wechat_fault_answer(struct exchange *ex, enum fault_kind kind)
{
    switch (kind) {
    case FAULT_ERROR_500:
        wechat_error(ex, 500, "SYSTEM_ERROR", "系统异常，请用相同参数重新调用", NULL);
        break;
    case FAULT_ERROR_503:
        wechat_error(ex, 503, "SERVICE_UNAVAILABLE", "服务不可用，请稍后重试", NULL);
        break;
    case FAULT_TOO_FREQUENT:
        wechat_error(ex, 429, "FREQUENCY_LIMITED", "频率超限，请降低请求接口频率", NULL);
        break;
    default:
        wechat_error(ex, 404,
                     ex->api == BANK_REFUND || ex->api == BANK_REFUND_QUERY ? "RESOURCE_NOT_EXISTS"
                                                                            : "ORDER_NOT_EXIST",
                     "订单不存在", NULL);
        break;
    }
}

/* The status that goes with a code, underscores or not; 400 for the rest. */
static int status_of(const char *code)
{
    static const struct {
        const char *code;
        int status;
    } table[] = {
        {"SIGN_ERROR", 401},          {"NO_AUTH", 403},
        {"NOT_ENOUGH", 403},          {"OUT_TRADE_NO_USED", 403},
        {"TRADE_ERROR", 403},         {"RULE_LIMIT", 403},
        {"ACCOUNT_ERROR", 403},       {"USER_ACCOUNT_ABNORMAL", 403},
        {"RESOURCE_NOT_EXISTS", 404}, {"ORDER_NOT_EXIST", 404},
        {"FREQUENCY_LIMITED", 429},   {"FREQUENCY_LIMIT_EXCEED", 429},
        {"RATELIMIT_EXCEEDED", 429},  {"RATE_LIMITED", 429},
        {"USERPAYING", 202},          {"USER_PAYING", 202},
        {"SYSTEM_ERROR", 500},        {"BANK_ERROR", 500},
        {"OPENID_MISMATCH", 500},     {"INVALID_TRANSACTIONID", 500},
        {"SERVICE_UNAVAILABLE", 503},
    };

    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
        if (strcmp(code, table[i].code) == 0)
            return table[i].status;
    return 400;
}

void wechat_code_answer(struct exchange *ex, const char *code, int status)
{
    wechat_error(ex, status ? status : status_of(code), code, code, NULL);
}

/* ---- signatures ---- */

struct seal {
    char timestamp[24];
    char nonce[NONCE_LEN + 1];
    struct buf signature;
};

/* spoil: signed over other bytes than are sent, as a forger's or a broken proxy's would be. */
static int make_seal(const struct merchant *m, struct slice body, pay_time_t now, bool spoil,
                     struct seal *s)
{
    buf_init(&s->signature, 2048);
    random_token(s->nonce, NONCE_LEN);
    s->nonce[NONCE_LEN] = '\0';
    snprintf(s->timestamp, sizeof(s->timestamp), "%lld", (long long)(now / USEC_PER_SEC));
    return wechat_sign(m, slice_of(s->timestamp), slice_of(s->nonce),
                       spoil ? SLICE("something else") : body, &s->signature);
}

void wechat_sign_answer(struct exchange *ex, enum sign_how how)
{
    struct seal s;

    if (!ex->merchant || how == SIGN_NOT)
        return;
    if (make_seal(ex->merchant, buf_slice(&ex->body), clock_read_wall(), how == SIGN_WRONG, &s) ==
        0) {
        exchange_header(ex, "Wechatpay-Timestamp", slice_of(s.timestamp));
        exchange_header(ex, "Wechatpay-Nonce", slice_of(s.nonce));
        exchange_header(ex, "Wechatpay-Serial", ex->merchant->platform_serial);
        exchange_header(ex, "Wechatpay-Signature", buf_slice(&s.signature));
        exchange_header(ex, "Wechatpay-Signature-Type", SLICE("WECHATPAY2-SHA256-RSA2048"));
    }
    buf_release(&s.signature);
}

/* ---- notification ---- */

/* What a notification says, and what it lies about. */
struct message {
    const struct event *ev;
    enum fault_kind fault;
    pay_time_t now;
};

static void put_plain(struct json_writer *w, const struct message *m)
{
    int64_t more = m->fault == FAULT_WRONG_AMOUNT;

    if (m->ev->refund)
        wechat_refund_object(w, m->ev->refund, m->ev->refund->amount + more, true);
    else
        wechat_transaction(w, m->ev->order,
                           m->fault == FAULT_CONTRADICTORY ? ORDER_CLOSED : ORDER_SUCCESS,
                           m->ev->order->amount + more, m->now);
}

static int put_resource(struct json_writer *w, const struct message *m)
{
    const char *type = m->ev->refund ? "refund" : "transaction";
    char nonce[GCM_NONCE_LEN + 1];
    struct json_writer plain_writer;
    struct buf plain, cipher;
    int rc;

    buf_init(&plain, NOTICE_CAP);
    buf_init(&cipher, NOTICE_CAP);
    json_writer_init(&plain_writer, &plain);
    put_plain(&plain_writer, m);
    random_token(nonce, GCM_NONCE_LEN);
    rc = wechat_encrypt(m->ev->order->merchant, slice_n(nonce, GCM_NONCE_LEN), slice_of(type),
                        buf_slice(&plain), &cipher);
    json_key(w, "resource");
    json_begin_object(w);
    json_member_str(w, "original_type", slice_of(type));
    json_member_str(w, "algorithm", SLICE("AEAD_AES_256_GCM"));
    json_member_str(w, "ciphertext", buf_slice(&cipher));
    json_member_str(w, "associated_data", slice_of(type));
    json_member_str(w, "nonce", slice_n(nonce, GCM_NONCE_LEN));
    json_end_object(w);
    buf_release(&plain);
    buf_release(&cipher);
    return rc;
}

static const char *event_type(const struct message *m)
{
    static const char *const of_refund[REFUND_STATE_COUNT] = {
        [REFUND_PROCESSING] = "REFUND.ABNORMAL",
        [REFUND_DONE] = "REFUND.SUCCESS",
        [REFUND_CLOSED] = "REFUND.CLOSED",
        [REFUND_ABNORMAL] = "REFUND.ABNORMAL",
    };

    if (m->ev->refund)
        return of_refund[m->ev->refund->state];
    return m->fault == FAULT_CONTRADICTORY ? "TRANSACTION.CLOSED" : "TRANSACTION.SUCCESS";
}

/* The same event has the same id however often it is sent. */
static int put_notice(struct buf *b, const struct message *m)
{
    pay_time_t when = m->ev->refund ? m->ev->refund->due_at : m->ev->order->paid_at;
    char day[9], id[40], at[RFC3339_LEN + 1];
    struct json_writer w;
    int rc;

    time_format_day(day, when);
    time_format_rfc3339(at, when);
    snprintf(id, sizeof(id), "%s-%s%010u", m->ev->refund ? "RF" : "EV", day,
             m->ev->refund ? m->ev->refund->seq : m->ev->order->seq);
    json_writer_init(&w, b);
    json_begin_object(&w);
    json_member_str(&w, "id", slice_of(id));
    json_member_str(&w, "create_time", slice_of(at));
    json_member_str(&w, "resource_type", SLICE("encrypt-resource"));
    json_member_str(&w, "event_type", slice_of(event_type(m)));
    json_member_str(&w, "summary", m->ev->refund ? SLICE("退款") : SLICE("支付成功"));
    rc = put_resource(&w, m);
    json_end_object(&w);
    return rc == 0 && buf_ok(b) ? 0 : -1;
}

static void add(struct notice *n, struct arena *a, const char *name, struct slice value)
{
    n->headers[n->nheaders++] = (struct http_header){slice_of(name), arena_copy(a, value)};
}

static void add_seal(struct notice *n, struct arena *a, const struct merchant *m,
                     const struct seal *s)
{
    add(n, a, "Wechatpay-Timestamp", slice_of(s->timestamp));
    add(n, a, "Wechatpay-Nonce", slice_of(s->nonce));
    add(n, a, "Wechatpay-Serial", m->platform_serial);
    add(n, a, "Wechatpay-Signature", buf_slice(&s->signature));
    add(n, a, "Wechatpay-Signature-Type", SLICE("WECHATPAY2-SHA256-RSA2048"));
}

int wechat_notice(struct bank *bank, const struct event *ev, enum fault_kind fault,
                  enum sign_how how, struct arena *a, struct notice *out)
{
    struct message m = {ev, fault, bank_now(bank)};
    const struct merchant *merchant = ev->order->merchant;
    struct buf body;
    struct seal s;
    char id[40];
    int rc;

    if (ev->refund)
        refund_settle(ev->refund, m.now);
    buf_init(&body, NOTICE_CAP);
    bank_request_id(bank, id);
    rc = put_notice(&body, &m);
    if (make_seal(merchant, buf_slice(&body), clock_read_wall(), how == SIGN_WRONG, &s) < 0)
        rc = -1;
    out->nheaders = 0;
    out->body = arena_copy(a, buf_slice(&body));
    add(out, a, "Content-Type", SLICE("application/json; charset=utf-8"));
    add(out, a, "Accept", SLICE("*/*"));
    add(out, a, "Request-ID", slice_of(id));
    if (how != SIGN_NOT)
        add_seal(out, a, merchant, &s);
    buf_release(&body);
    buf_release(&s.signature);
    return rc;
}

bool wechat_taken(int status, struct slice body)
{
    (void)body;
    return status == 200 || status == 204;
}
