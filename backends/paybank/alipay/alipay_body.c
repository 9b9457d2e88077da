#include "alipay.h"

#include <stdio.h>

#define BUYER_ID    "2088102116773037"
#define BUYER       "159****5620"
#define FINISHED_US (365 * 86400 * USEC_PER_SEC)
#define TEXT_CAP    (1 << 20)

struct slice alipay_get(const struct alipay *al, const char *name)
{
    const struct json *v = json_get(al->biz, name);

    if (!v || (v->type != JSON_STRING && v->type != JSON_NUMBER) || v->text.n == 0)
        return SLICE_NULL;
    return v->text;
}

/* ---- the node ---- */

void alipay_begin(struct alipay *al, struct json_writer *w, const char *code, const char *msg)
{
    al->ex->status = 200;
    buf_clear(&al->ex->body);
    json_writer_init(w, &al->ex->body);
    json_begin_object(w);
    json_member_str(w, "code", slice_of(code));
    json_member_str(w, "msg", slice_of(msg));
}

bool alipay_refuse(struct alipay *al, const char *code, const char *msg, const char *sub_code,
                   const char *sub_msg)
{
    struct json_writer w;

    alipay_begin(al, &w, code, msg);
    json_member_str(&w, "sub_code", slice_of(sub_code));
    json_member_str(&w, "sub_msg", slice_of(sub_msg));
    json_end_object(&w);
    return false;
}

bool alipay_fail(struct alipay *al, const char *sub_code, const char *sub_msg)
{
    return alipay_refuse(al, "40004", "Business Failed", sub_code, sub_msg);
}

void alipay_member_yuan(struct json_writer *w, const char *key, int64_t fen)
{
    struct buf text;

    buf_init(&text, 32);
    money_format_yuan(&text, fen);
    json_member_str(w, key, buf_slice(&text));
    buf_release(&text);
}

void alipay_member_time(struct json_writer *w, const char *key, pay_time_t t)
{
    char text[TIME_WALL_LEN + 1];

    time_format_wall(text, t, true);
    json_member_str(w, key, slice_of(text));
}

const char *alipay_trade_status(struct order *o, pay_time_t now)
{
    order_settle(o, now);
    if (!o->scanned)
        return NULL;
    if (o->state == ORDER_NOTPAY || o->state == ORDER_USERPAYING)
        return "WAIT_BUYER_PAY";
    if (o->state != ORDER_SUCCESS || order_refunded(o, now) == o->amount)
        return "TRADE_CLOSED";
    return now - o->paid_at > FINISHED_US ? "TRADE_FINISHED" : "TRADE_SUCCESS";
}

/* ---- faults ---- */

void alipay_fault_answer(struct exchange *ex, enum fault_kind kind)
{
    struct alipay *al = ex->answer;

    switch (kind) {
    case FAULT_TOO_FREQUENT:
        alipay_refuse(al, "40005", "Call Limited", "isv.app-call-limited", "调用频次超限");
        break;
    case FAULT_NOT_FOUND:
        alipay_fail(al, "ACQ.TRADE_NOT_EXIST", "交易不存在");
        break;
    default: /* the gateway itself always says 200: some box in front of it broke */
        ex->status = kind == FAULT_ERROR_500 ? 500 : 503;
        ex->bare = true;
        ex->content_type = "text/html";
        buf_add_str(&ex->body, "<html><body>Service unavailable</body></html>");
        break;
    }
}

/* Five digits: of the gateway; the rest: business. */
void alipay_code_answer(struct exchange *ex, const char *code, int status)
{
    struct alipay *al = ex->answer;

    if (strlen(code) == 5 && code[0] >= '0' && code[0] <= '9')
        alipay_refuse(al, code, "Service Currently Unavailable",
                      strcmp(code, "20000") == 0 ? "isp.unknow-error" : "isv.as-asked-for", code);
    else
        alipay_fail(al, code, code);
    if (status)
        ex->status = status;
}

/* ---- signatures ---- */

int alipay_verify(const struct form *in, const struct merchant *m)
{
    static const char *const but[] = {"sign", NULL};
    struct buf text, raw;
    struct slice whole;
    int rc = -1;

    buf_init(&text, TEXT_CAP);
    buf_init(&raw, 2048);
    form_signed_text(in, but, &text);
    whole = buf_slice(&text);
    if (buf_ok(&text) && base64_decode(&raw, form_get(in, "sign")) == 0)
        rc = pkey_verify_sha256(m->merchant_key, &whole, 1, buf_slice(&raw));
    buf_release(&text);
    buf_release(&raw);
    return rc;
}

/* Adds base64. spoil: over other bytes. 0 or -1. */
static int add_signature(const struct merchant *m, struct slice text, bool spoil, struct buf *out)
{
    uint8_t sig[1024];
    size_t n = sizeof(sig);
    struct slice other = SLICE("something else");

    if (pkey_sign_sha256(m->platform_key, spoil ? &other : &text, 1, sig, &n) < 0)
        return -1;
    base64_encode(out, slice_n(sig, n));
    return 0;
}

/* "alipay.trade.pay" -> "alipay_trade_pay_response" */
static void add_node_name(struct buf *b, struct slice method)
{
    if (method.n == 0) {
        buf_add_str(b, "error_response");
        return;
    }
    for (size_t i = 0; i < method.n; i++)
        buf_add_char(b, method.p[i] == '.' ? '_' : method.p[i]);
    buf_add_str(b, "_response");
}

/* The node stands in the frame as it was signed, with each '/' as "\/" as there. */
void alipay_finish(struct exchange *ex, enum sign_how how)
{
    struct alipay *al = ex->answer;
    struct buf node = ex->body;
    size_t from;

    buf_init(&ex->body, node.cap);
    buf_add_str(&ex->body, "{\"");
    add_node_name(&ex->body, al->route ? form_get(&al->in, "method") : SLICE_NULL);
    buf_add_str(&ex->body, "\":");
    from = ex->body.n;
    for (size_t i = 0; i < node.n; i++) {
        if (node.p[i] == '/')
            buf_add_char(&ex->body, '\\');
        buf_add_char(&ex->body, node.p[i]);
    }
    if (ex->merchant && how != SIGN_NOT && buf_ok(&ex->body)) {
        struct buf sign;

        buf_init(&sign, 2048);
        if (add_signature(ex->merchant, slice_n(ex->body.p + from, ex->body.n - from),
                          how == SIGN_WRONG, &sign) < 0)
            ex->body.failed = true;
        buf_add_str(&ex->body, ",\"sign\":\"");
        buf_add_slice(&ex->body, buf_slice(&sign));
        buf_add_char(&ex->body, '"');
        buf_release(&sign);
    }
    buf_add_char(&ex->body, '}');
    buf_release(&node);
}

/* ---- notification ---- */

static void add_yuan(struct form *f, const char *name, int64_t fen)
{
    struct buf text;

    buf_init(&text, 32);
    money_format_yuan(&text, fen);
    form_add(f, name, buf_slice(&text));
    buf_release(&text);
}

static void add_time(struct form *f, const char *name, pay_time_t t)
{
    char text[TIME_WALL_LEN + 1];

    time_format_wall(text, t, true);
    form_add_str(f, name, text);
}

static void put_trade(struct form *f, struct order *o, const struct refund *r, int64_t amount,
                      const char *status, pay_time_t now)
{
    char id[TRANSACTION_ID_MAX];

    order_transaction_id(o, id);
    form_add_str(f, "trade_no", id);
    form_add(f, "out_trade_no", order_no(o));
    form_add_str(f, "trade_status", status);
    add_yuan(f, "total_amount", amount);
    add_yuan(f, "receipt_amount", amount);
    add_yuan(f, "buyer_pay_amount", amount);
    add_yuan(f, "invoice_amount", amount);
    add_yuan(f, "point_amount", 0);
    form_add(f, "subject", order_subject(o));
    form_add_opt(f, "passback_params", order_attach(o));
    form_add(f, "seller_id", o->merchant->seller_id);
    form_add_str(f, "buyer_id", BUYER_ID);
    form_add_str(f, "buyer_logon_id", BUYER);
    form_add(f, "fund_bill_list",
             arena_printf(f->arena,
                          "[{\"amount\":\"%lld.%02lld\",\"fundChannel\":\"ALIPAYACCOUNT\"}]",
                          (long long)(amount / 100), (long long)(amount % 100)));
    add_time(f, "gmt_create", o->created_at);
    if (strcmp(status, "WAIT_BUYER_PAY") != 0)
        add_time(f, "gmt_payment", o->paid_at);
    if (r) {
        add_yuan(f, "refund_fee", order_refunded(o, now));
        add_time(f, "gmt_refund", r->due_at);
        form_add(f, "out_biz_no", refund_no(r));
    }
}

static int sign_notice(struct form *f, const struct merchant *m, bool spoil)
{
    static const char *const but[] = {"sign", "sign_type", NULL};
    struct buf text, sign;
    int rc;

    buf_init(&text, TEXT_CAP);
    buf_init(&sign, 2048);
    form_signed_text(f, but, &text);
    rc = buf_ok(&text) ? add_signature(m, buf_slice(&text), spoil, &sign) : -1;
    form_add_str(f, "sign_type", "RSA2");
    form_add(f, "sign", buf_slice(&sign));
    buf_release(&text);
    buf_release(&sign);
    return rc;
}

int alipay_notice(struct bank *bank, const struct event *ev, enum fault_kind fault,
                  enum sign_how how, struct arena *a, struct notice *out)
{
    pay_time_t now = bank_now(bank);
    struct order *o = ev->order;
    const char *status = fault == FAULT_CONTRADICTORY ? "WAIT_BUYER_PAY"
                         : ev->refund                 ? alipay_trade_status(o, now)
                                                      : "TRADE_SUCCESS";
    char day[9];
    struct form f;
    struct buf body;
    int rc = 0;

    if (form_init(&f, a) < 0)
        return -1;
    time_format_day(day, o->created_at);
    add_time(&f, "notify_time", clock_read_wall());
    form_add_str(&f, "notify_type", "trade_status_sync");
    form_add(&f, "notify_id",
             arena_printf(a, "%s00222%d%010u%010u", day, ev->refund ? 1 : 0, o->seq,
                          ev->refund ? ev->refund->seq : 0));
    form_add(&f, "app_id", o->merchant->id);
    form_add(&f, "auth_app_id", o->merchant->id);
    form_add_str(&f, "charset", "utf-8");
    form_add_str(&f, "version", "1.0");
    put_trade(&f, o, ev->refund, o->amount + (fault == FAULT_WRONG_AMOUNT), status, now);
    if (how != SIGN_NOT)
        rc = sign_notice(&f, o->merchant, how == SIGN_WRONG);
    buf_init(&body, TEXT_CAP);
    form_encode(&f, &body);
    out->headers[0] = (struct http_header){
        SLICE("Content-Type"), SLICE("application/x-www-form-urlencoded; charset=utf-8")};
    out->nheaders = 1;
    out->body = arena_copy(a, buf_slice(&body));
    if (!buf_ok(&body))
        rc = -1;
    buf_release(&body);
    return rc;
}

/* Seven characters and nothing else. */
bool alipay_taken(int status, struct slice body)
{
    return status == 200 && slice_is(body, "success");
}
