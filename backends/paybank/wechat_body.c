#include "wechat_body.h"

#include "wechat_sign.h"
#include <stdio.h>

#define NONCE_LEN     32
#define GCM_NONCE_LEN 12
#define NOTICE_CAP    16384
#define PAYER         "oPaybankPayer000000000000001"

static const char *state_desc(enum order_state s)
{
    switch (s) {
    case ORDER_NOTPAY:
        return "订单未支付";
    case ORDER_SUCCESS:
        return "支付成功";
    default:
        return "订单已关闭";
    }
}

static void put_amount(struct json_writer *w, const struct order *o, int64_t amount)
{
    struct slice currency = slice_of(o->currency);

    json_key(w, "amount");
    json_begin_object(w);
    json_member_int64(w, "total", amount);
    if (o->state == ORDER_SUCCESS)
        json_member_int64(w, "payer_total", amount);
    json_member_str(w, "currency", currency);
    json_member_str(w, "payer_currency", currency);
    json_end_object(w);
}

void wechat_transaction(struct json_writer *w, const struct order *o, int64_t amount)
{
    char id[TRANSACTION_ID_MAX];
    char at[RFC3339_LEN + 1];

    order_transaction_id(o, id);
    time_format_rfc3339(at, o->ended_at);
    json_begin_object(w);
    json_member_str(w, "appid", slice_of(o->appid));
    json_member_str(w, "mchid", o->merchant->id);
    json_member_str(w, "out_trade_no", order_no(o));
    if (o->state == ORDER_SUCCESS) {
        json_member_str(w, "transaction_id", slice_of(id));
        json_member_str(w, "trade_type", SLICE("NATIVE"));
        json_member_str(w, "bank_type", SLICE("OTHERS"));
        json_member_str(w, "success_time", slice_of(at));
        json_key(w, "payer");
        json_begin_object(w);
        json_member_str(w, "openid", SLICE(PAYER));
        json_end_object(w);
    }
    json_member_str(w, "trade_state", slice_of(order_state_name(o->state)));
    json_member_str(w, "trade_state_desc", slice_of(state_desc(o->state)));
    json_member_str_opt(w, "attach", order_attach(o));
    put_amount(w, o, amount);
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
        wechat_error(ex, 404, "ORDER_NOT_EXIST", "订单不存在", NULL);
        break;
    }
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

void wechat_sign_answer(struct exchange *ex, bool spoil)
{
    struct seal s;

    if (make_seal(ex->merchant, buf_slice(&ex->body), clock_read_wall(), spoil, &s) == 0) {
        exchange_header(ex, "Wechatpay-Timestamp", slice_of(s.timestamp));
        exchange_header(ex, "Wechatpay-Nonce", slice_of(s.nonce));
        exchange_header(ex, "Wechatpay-Serial", ex->merchant->platform_serial);
        exchange_header(ex, "Wechatpay-Signature", buf_slice(&s.signature));
        exchange_header(ex, "Wechatpay-Signature-Type", SLICE("WECHATPAY2-SHA256-RSA2048"));
    }
    buf_release(&s.signature);
}

/* ---- notification ---- */

static int put_resource(struct json_writer *w, const struct order *o, int64_t amount)
{
    char nonce[GCM_NONCE_LEN + 1];
    struct json_writer plain_writer;
    struct buf plain, cipher;
    int rc;

    buf_init(&plain, NOTICE_CAP);
    buf_init(&cipher, NOTICE_CAP);
    json_writer_init(&plain_writer, &plain);
    wechat_transaction(&plain_writer, o, amount);
    random_token(nonce, GCM_NONCE_LEN);
    rc = wechat_encrypt(o->merchant, slice_n(nonce, GCM_NONCE_LEN), SLICE("transaction"),
                        buf_slice(&plain), &cipher);
    json_key(w, "resource");
    json_begin_object(w);
    json_member_str(w, "original_type", SLICE("transaction"));
    json_member_str(w, "algorithm", SLICE("AEAD_AES_256_GCM"));
    json_member_str(w, "ciphertext", buf_slice(&cipher));
    json_member_str(w, "associated_data", SLICE("transaction"));
    json_member_str(w, "nonce", slice_n(nonce, GCM_NONCE_LEN));
    json_end_object(w);
    buf_release(&plain);
    buf_release(&cipher);
    return rc;
}

/* The same event has the same id however often it is sent. */
static int put_notice(struct buf *b, const struct order *o, int64_t amount)
{
    char day[9], id[32], at[RFC3339_LEN + 1];
    struct json_writer w;
    int rc;

    time_format_day(day, o->ended_at);
    time_format_rfc3339(at, o->ended_at);
    snprintf(id, sizeof(id), "EV-%s%010u", day, o->seq);
    json_writer_init(&w, b);
    json_begin_object(&w);
    json_member_str(&w, "id", slice_of(id));
    json_member_str(&w, "create_time", slice_of(at));
    json_member_str(&w, "resource_type", SLICE("encrypt-resource"));
    json_member_str(&w, "event_type", SLICE("TRANSACTION.SUCCESS"));
    json_member_str(&w, "summary", SLICE("支付成功"));
    rc = put_resource(&w, o, amount);
    json_end_object(&w);
    return rc == 0 && buf_ok(b) ? 0 : -1;
}

static void add(struct notice *n, struct arena *a, const char *name, struct slice value)
{
    n->headers[n->nheaders++] = (struct http_header){slice_of(name), arena_copy(a, value)};
}

int wechat_notice(struct bank *bank, const struct order *o, enum fault_kind fault, pay_time_t now,
                  struct arena *a, struct notice *out)
{
    int64_t amount = o->amount + (fault == FAULT_WRONG_AMOUNT);
    struct buf body;
    struct seal s;
    char id[40];
    int rc;

    buf_init(&body, NOTICE_CAP);
    bank_request_id(bank, id);
    rc = put_notice(&body, o, amount);
    if (make_seal(o->merchant, buf_slice(&body), now, fault == FAULT_BAD_SIGNATURE, &s) < 0)
        rc = -1;
    out->nheaders = 0;
    out->body = arena_copy(a, buf_slice(&body));
    add(out, a, "Content-Type", SLICE("application/json; charset=utf-8"));
    add(out, a, "Accept", SLICE("*/*"));
    add(out, a, "Request-ID", slice_of(id));
    add(out, a, "Wechatpay-Timestamp", slice_of(s.timestamp));
    add(out, a, "Wechatpay-Nonce", slice_of(s.nonce));
    add(out, a, "Wechatpay-Serial", o->merchant->platform_serial);
    add(out, a, "Wechatpay-Signature", buf_slice(&s.signature));
    add(out, a, "Wechatpay-Signature-Type", SLICE("WECHATPAY2-SHA256-RSA2048"));
    buf_release(&body);
    buf_release(&s.signature);
    return rc == 0 && !a->failed ? 0 : -1;
}

bool wechat_taken(int status, struct slice body)
{
    (void)body;
    return status == 200 || status == 204;
}
