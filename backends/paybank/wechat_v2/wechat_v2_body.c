#include "core/xml.h"
#include "wechat_v2.h"

#define PAYER      "oPaybankPayer000000000000002"
#define NONCE_LEN  32
#define NOTICE_CAP 16384

struct slice v2_get(const struct v2 *v, const char *name)
{
    struct slice s = form_get(&v->in, name);

    return s.n ? s : SLICE_NULL;
}

/* ---- answers ---- */

bool v2_refuse(struct v2 *v, const char *return_msg)
{
    v->out.n = 0;
    v->understood = false;
    form_add_str(&v->out, "return_code", "FAIL");
    form_add_str(&v->out, "return_msg", return_msg);
    return false;
}

static void put_head(struct v2 *v)
{
    char nonce[NONCE_LEN];

    v->out.n = 0;
    v->understood = true;
    random_token(nonce, sizeof(nonce));
    form_add_str(&v->out, "return_code", "SUCCESS");
    form_add_str(&v->out, "return_msg", "OK");
    form_add_opt(&v->out, "appid", v2_get(v, "appid"));
    form_add(&v->out, "mch_id", v->ex->merchant->id);
    form_add_opt(&v->out, "device_info", v2_get(v, "device_info"));
    form_add(&v->out, "nonce_str", slice_n(nonce, sizeof(nonce)));
}

void v2_begin_ok(struct v2 *v)
{
    put_head(v);
    form_add_str(&v->out, "result_code", "SUCCESS");
}

bool v2_fail(struct v2 *v, const char *err_code, const char *err_code_des)
{
    put_head(v);
    form_add_str(&v->out, "result_code", "FAIL");
    form_add_str(&v->out, "err_code", err_code);
    form_add_str(&v->out, "err_code_des", err_code_des);
    return false;
}

bool v2_fail_books(struct v2 *v, enum books_result r)
{
    switch (r) {
    case BOOKS_OTHER_CONTENT:
        return v2_fail(v, "OUT_TRADE_NO_USED", "商户订单号重复");
    case BOOKS_OTHER_PAYER:
        return v2_fail(v, "BUYER_MISMATCH", "支付账号错误");
    case BOOKS_IS_PAID:
        return v2_fail(v, "ORDERPAID", "该订单已支付");
    case BOOKS_IS_PAYING:
        return v2_fail(v, "USERPAYING", "需要用户输入支付密码");
    case BOOKS_IS_CLOSED:
        return v2_fail(v, "ORDERCLOSED", "订单已关闭");
    case BOOKS_IS_REVOKED:
        return v2_fail(v, "ORDERREVERSED", "订单已撤销");
    default:
        return v2_fail(v, "SYSTEMERROR", "系统错误");
    }
}

void v2_fault_answer(struct exchange *ex, enum fault_kind kind)
{
    static const char *const absent[BANK_API_COUNT] = {
        [BANK_REVERSE] = "INVALID_TRANSACTIONID",
        [BANK_REFUND_QUERY] = "REFUNDNOTEXIST",
    };
    struct v2 *v = ex->answer;

    switch (kind) {
    case FAULT_TOO_FREQUENT:
        v2_fail(v, "FREQUENCY_LIMITED", "频率限制");
        break;
    case FAULT_NOT_FOUND:
        v2_fail(v, absent[ex->api] ? absent[ex->api] : "ORDERNOTEXIST", "订单不存在");
        break;
    default: /* this protocol knows no status: some box in front of it broke */
        ex->status = kind == FAULT_ERROR_500 ? 500 : 503;
        ex->bare = true;
        ex->content_type = "text/html";
        buf_add_str(&ex->body, "<html><body>Service unavailable</body></html>");
        break;
    }
}

/* "FAIL" and what is no code: the transport's level. */
void v2_code_answer(struct exchange *ex, const char *code, int status)
{
    struct v2 *v = ex->answer;

    if (status)
        ex->status = status;
    if (strcmp(code, "FAIL") == 0)
        v2_refuse(v, "系统繁忙");
    else
        v2_fail(v, code, code);
}

static void write_xml(const struct form *f, const char *root, struct buf *b)
{
    xml_begin(b, root);
    for (size_t i = 0; i < f->n; i++)
        xml_member_cdata(b, f->v[i].name, f->v[i].value);
    xml_end(b, root);
}

static int add_signature(struct form *f, const struct merchant *m, enum v2_sign type,
                         enum sign_how how)
{
    char sign[65];

    if (how == SIGN_NOT)
        return 0;
    if (v2_signature(f, m, type, sign) < 0)
        return -1;
    if (how == SIGN_WRONG)
        sign[0] = sign[0] == '0' ? '1' : '0';
    form_add_str(f, "sign", sign);
    return 0;
}

void v2_finish(struct exchange *ex, enum sign_how how)
{
    struct v2 *v = ex->answer;

    if (v->understood && add_signature(&v->out, ex->merchant, v->sign_type, how) < 0)
        v->out.arena->failed = true;
    write_xml(&v->out, "xml", &ex->body);
    if (v->out.arena->failed)
        ex->body.failed = true; /* cut instead of half an answer */
}

/* ---- payments and refunds ---- */

const char *v2_trade_type(const struct order *o)
{
    static const char *const names[METHOD_COUNT] = {
        [METHOD_NATIVE] = "NATIVE", [METHOD_JSAPI] = "JSAPI",      [METHOD_H5] = "MWEB",
        [METHOD_APP] = "APP",       [METHOD_BARCODE] = "MICROPAY",
    };

    return names[o->method];
}

void v2_put_payment(struct form *f, const struct order *o, int64_t amount)
{
    char id[TRANSACTION_ID_MAX], at[TIME_WALL_LEN + 1];

    order_transaction_id(o, id);
    time_format_wall(at, o->paid_at, false);
    form_add_str(f, "openid", PAYER);
    form_add_str(f, "is_subscribe", "N");
    form_add_str(f, "trade_type", v2_trade_type(o));
    form_add_str(f, "bank_type", "OTHERS");
    form_add_str(f, "fee_type", "CNY");
    form_add_int64(f, "total_fee", amount);
    form_add_str(f, "cash_fee_type", "CNY");
    form_add_int64(f, "cash_fee", amount);
    form_add_str(f, "transaction_id", id);
    form_add(f, "out_trade_no", order_no(o));
    form_add_opt(f, "attach", order_attach(o));
    form_add_str(f, "time_end", at);
}

const char *v2_refund_status(const struct refund *r)
{
    static const char *const names[REFUND_STATE_COUNT] = {
        [REFUND_PROCESSING] = "PROCESSING",
        [REFUND_DONE] = "SUCCESS",
        [REFUND_CLOSED] = "REFUNDCLOSE",
        [REFUND_ABNORMAL] = "CHANGE",
    };

    return names[r->state];
}

/* ---- notifications ---- */

static void put_who(struct form *f, const struct order *o)
{
    char nonce[NONCE_LEN];

    random_token(nonce, sizeof(nonce));
    form_add_str(f, "return_code", "SUCCESS");
    form_add_str(f, "appid", o->appid);
    form_add(f, "mch_id", o->merchant->id);
    form_add(f, "nonce_str", slice_n(nonce, sizeof(nonce)));
}

static int pay_notice(struct form *f, const struct order *o, enum fault_kind fault,
                      enum sign_how how)
{
    put_who(f, o);
    if (fault == FAULT_CONTRADICTORY) {
        form_add_str(f, "result_code", "FAIL");
        form_add_str(f, "err_code", "TRADE_ERROR");
        form_add_str(f, "err_code_des", "交易错误");
        form_add(f, "out_trade_no", order_no(o));
    } else {
        form_add_str(f, "result_code", "SUCCESS");
        v2_put_payment(f, o, o->amount + (fault == FAULT_WRONG_AMOUNT));
    }
    return add_signature(f, o->merchant, o->variant, how);
}

static void put_refund(struct form *f, struct refund *r, int64_t amount)
{
    char id[TRANSACTION_ID_MAX], of[TRANSACTION_ID_MAX], at[TIME_WALL_LEN + 1];

    order_transaction_id(r->order, of);
    refund_id(r, id);
    time_format_wall(at, r->due_at, true);
    form_add_str(f, "transaction_id", of);
    form_add(f, "out_trade_no", order_no(r->order));
    form_add_str(f, "refund_id", id);
    form_add(f, "out_refund_no", refund_no(r));
    form_add_int64(f, "total_fee", r->order->amount);
    form_add_int64(f, "refund_fee", amount);
    form_add_int64(f, "settlement_refund_fee", amount);
    form_add_str(f, "refund_status", v2_refund_status(r));
    if (r->state == REFUND_DONE)
        form_add_str(f, "success_time", at);
    form_add_str(f, "refund_recv_accout", "支付用户零钱");
    form_add_str(f, "refund_account", "REFUND_SOURCE_RECHARGE_FUNDS");
    form_add_str(f, "refund_request_source", "API");
}

/* Not signed: who can encrypt with the API key may speak. A bad signature is another key here. */
static int refund_notice(struct form *f, struct refund *r, enum fault_kind fault, enum sign_how how)
{
    struct merchant other = *r->order->merchant;
    uint8_t zeros[32] = {0};
    struct buf plain, sealed;
    struct form inner;
    int rc = form_init(&inner, f->arena);

    buf_init(&plain, NOTICE_CAP);
    buf_init(&sealed, NOTICE_CAP);
    if (rc == 0) {
        put_refund(&inner, r, r->amount + (fault == FAULT_WRONG_AMOUNT));
        write_xml(&inner, "root", &plain);
    }
    if (how == SIGN_WRONG)
        other.api_key = (struct secret){zeros, sizeof(zeros)};
    if (rc == 0)
        rc = v2_req_info(&other, buf_slice(&plain), &sealed);
    put_who(f, r->order);
    form_add(f, "req_info", buf_slice(&sealed));
    buf_release(&plain);
    buf_release(&sealed);
    return rc;
}

int v2_notice(struct bank *bank, const struct event *ev, enum fault_kind fault, enum sign_how how,
              struct arena *a, struct notice *out)
{
    struct form f;
    struct buf body;
    int rc = form_init(&f, a);

    (void)bank;
    if (rc < 0)
        return -1;
    if (ev->refund)
        refund_settle(ev->refund, bank_now(bank));
    rc = ev->refund ? refund_notice(&f, ev->refund, fault, how)
                    : pay_notice(&f, ev->order, fault, how);
    buf_init(&body, NOTICE_CAP);
    write_xml(&f, "xml", &body);
    out->headers[0] = (struct http_header){SLICE("Content-Type"), SLICE("text/xml")};
    out->nheaders = 1;
    out->body = arena_copy(a, buf_slice(&body));
    if (!buf_ok(&body))
        rc = -1;
    buf_release(&body);
    return rc;
}

bool v2_taken(int status, struct slice body)
{
    const struct xml *doc;
    struct xml_error err;
    struct arena a;
    bool ok;

    arena_init(&a, 65536);
    ok = status == 200 && xml_parse(&a, body, NULL, &doc, &err) == 0 &&
         slice_is(doc->name, "xml") && slice_is(xml_str(doc, "return_code"), "SUCCESS");
    arena_release(&a);
    return ok;
}
