/* UnionPay: payments from their making to their end, and the query of everything. */
#include "backends/paybank/desk/payer.h"
#include "core/net.h"
#include "unionpay.h"

#define ORDER_LIFE_US (86400 * USEC_PER_SEC)
#define REVERSAL_US   (86400 * USEC_PER_SEC)
#define PAGE          "<html><body><a href=\"%s\">UnionPay</a></body></html>"

static bool read_expiry(struct up *u, pay_time_t *out)
{
    struct slice s = up_get(u, "payTimeout");

    *out = u->ex->now + ORDER_LIFE_US;
    if (!s.p)
        return true;
    if (time_parse_wall(s, false, out) < 0 || *out <= u->ex->now)
        return up_answer(u, "10", "报文格式错误");
    return true;
}

static bool read_terms(struct up *u, enum pay_method method, struct order_terms *t)
{
    const char *reason;
    struct url url;

    *t = (struct order_terms){
        .merchant = u->ex->merchant,
        .out_trade_no = u->ex->out_trade_no,
        .stamp = up_get(u, "txnTime"),
        .notify_url = up_get(u, "backUrl"),
        .attach = up_get(u, "reqReserved"),
        .currency = SLICE("CNY"),
        .method = method,
    };
    if (slice_int64(up_get(u, "txnAmt"), &t->amount) < 0 || t->amount < 1 ||
        url_parse(t->notify_url, &url, &reason) < 0)
        return up_answer(u, "10", "报文格式错误");
    if (!read_expiry(u, &t->expire_at) || !up_check_fresh(u))
        return false;
    exchange_digest(u->ex->req->body, t->digest); /* never repeated: the number is used up */
    return true;
}

/* The order, past checks and faults; NULL: answered already. */
static struct order *make(struct up *u, enum pay_method method)
{
    struct exchange *ex = u->ex;
    struct order_terms terms;
    struct order *o;

    if (!read_terms(u, method, &terms)) {
        exchange_send(ex);
        return NULL;
    }
    if (exchange_strike(ex))
        return NULL;
    if (books_prepare(ex->bank->books, &terms, ex->now, &o) == BOOKS_DONE)
        return o;
    up_answer(u, "03", "交易通讯超时，请发起查询交易");
    exchange_send(ex);
    return NULL;
}

void up_qr(struct up *u)
{
    struct order *o = make(u, METHOD_NATIVE);
    char code_url[CODE_URL_MAX];

    if (!o)
        return;
    payer_code_url(o, code_url);
    up_answer(u, "00", "成功");
    form_add_str(&u->out, "qrCode", code_url);
    exchange_send(u->ex);
}

/* A page where the payer goes on; unsigned, for a browser. */
void up_front(struct up *u)
{
    struct order *o = make(u, METHOD_H5);
    char code_url[CODE_URL_MAX];

    if (!o)
        return;
    payer_code_url(o, code_url);
    u->ex->bare = true;
    buf_addf(&u->ex->body, PAGE, code_url);
    exchange_send(u->ex);
}

void up_app(struct up *u)
{
    struct order *o = make(u, METHOD_APP);
    char prepay_id[PREPAY_ID_MAX];

    if (!o)
        return;
    payer_prepay_id(o, prepay_id);
    up_answer(u, "00", "成功");
    form_add_str(&u->out, "tn", prepay_id);
    exchange_send(u->ex);
}

/* ---- barcode ---- */

static void charge(struct up *u, struct order *o)
{
    char id[TRANSACTION_ID_MAX];

    switch (payer_charge(u->ex->bank, o, &u->ex->fault, u->ex->now)) {
    case BOOKS_DONE:
        up_answer(u, "00", "成功");
        break;
    case BOOKS_IS_PAYING:
        up_answer(u, "05", "交易已受理，请稍后查询交易结果");
        break;
    default:
        up_answer(u, "03", "交易通讯超时，请发起查询交易");
        break;
    }
    order_transaction_id(o, id);
    form_add_str(&u->out, "queryId", id);
}

void up_barcode(struct up *u)
{
    struct slice code = up_get(u, "qrNo");
    struct order *o;

    if (!payer_barcode_valid(code, 1, 20, 62, 62)) {
        up_answer(u, "61", "输入的卡号无效，请确认后输入");
        exchange_send(u->ex);
        return;
    }
    o = make(u, METHOD_BARCODE);
    if (!o)
        return;
    if (payer_barcode_use(u->ex->bank, CHANNEL_UNIONPAY, code) < 0) {
        books_refuse(u->ex->bank->books, o, u->ex->now);
        up_answer(u, "63", "卡状态不正确");
    } else {
        charge(u, o);
    }
    exchange_send(u->ex);
}

/* ---- reversal, query ---- */

static void reverse(struct up *u, struct order *o)
{
    switch (books_reverse(u->ex->bank->books, o, true, u->ex->now)) {
    case BOOKS_DONE:
    case BOOKS_IS_REVOKED:
    case BOOKS_IS_CLOSED:
        up_answer(u, "00", "成功");
        break;
    case BOOKS_REFUNDED:
        up_answer(u, "45", "原交易已被成功退货或已被成功撤销");
        break;
    default:
        up_answer(u, "03", "交易通讯超时，请发起查询交易");
        break;
    }
}

/* Of a barcode payment alone, under its own number and time. */
void up_reversal(struct up *u)
{
    struct order *o = up_find_order(u);

    if (exchange_strike(u->ex))
        return;
    if (!o)
        up_answer(u, "34", "查无此交易");
    else if (o->method != METHOD_BARCODE)
        up_answer(u, "35", "原交易不存在或状态不正确");
    else if (u->ex->now - o->created_at > REVERSAL_US)
        up_answer(u, "39", "交易不在受理时间范围内");
    else if (u->ex->fault.kind == FAULT_RECALL)
        up_answer(u, "05", "交易已受理，请稍后查询交易结果");
    else
        reverse(u, o);
    exchange_send(u->ex);
}

static void put_found(struct up *u, const char *code, const char *id, uint32_t seq, int64_t amount,
                      pay_time_t at)
{
    bool good = strcmp(code, "00") == 0;

    up_answer(u, "00", "成功");
    form_add_str(&u->out, "origRespCode", code);
    form_add_str(&u->out, "origRespMsg", good ? "成功[0000000]" : "处理中或失败[6100000]");
    form_add_int64(&u->out, "txnAmt", amount);
    if (good)
        up_put_settled(&u->out, id, seq, amount, at);
}

void up_query(struct up *u)
{
    struct exchange *ex = u->ex;
    struct order *o = up_find_order(u);
    struct refund *r =
        o ? NULL
          : refunds_find(ex->bank->books, ex->merchant, ex->out_trade_no, up_get(u, "txnTime"));
    char id[TRANSACTION_ID_MAX];

    if (r)
        ex->api = BANK_REFUND_QUERY;
    if (exchange_strike(ex))
        return;
    if (o) {
        order_settle(o, ex->now);
        order_transaction_id(o, id);
        put_found(u, up_order_code(o), id, o->seq, exchange_amount(ex, o->amount), o->paid_at);
    } else if (r) {
        refund_settle(r, ex->now);
        refund_id(r, id);
        put_found(u, up_refund_code(r), id, r->seq, exchange_amount(ex, r->amount), r->due_at);
    } else {
        up_answer(u, "34", "查无此交易");
    }
    exchange_send(ex);
}
