/* Alipay: refunds and their query. A refund is over when it is answered. */
#include "backends/paybank/notify.h"
#include "backends/paybank/wire/check.h"
#include "alipay.h"

static bool fail_refund(struct alipay *al, enum books_result r)
{
    switch (r) {
    case BOOKS_OTHER_CONTENT:
        return alipay_fail(al, "ACQ.DISCORDANT_REPEAT_REQUEST", "请求信息不一致");
    case BOOKS_NOT_PAID:
        return alipay_fail(al, "ACQ.TRADE_STATUS_ERROR", "交易状态不合法");
    case BOOKS_IS_REVOKED:
        return alipay_fail(al, "ACQ.TRADE_HAS_CLOSE", "交易已经关闭");
    case BOOKS_TOO_MUCH:
        return alipay_fail(al, "ACQ.REFUND_AMT_NOT_EQUAL_TOTAL", "退款金额超限");
    case BOOKS_TOO_MANY:
        return alipay_fail(al, "ACQ.TRADE_NOT_ALLOW_REFUND", "当前交易不允许退款");
    default:
        return alipay_fail(al, "ACQ.SYSTEM_ERROR", "系统错误");
    }
}

static bool read_terms(struct alipay *al, struct order *o, struct refund_terms *t)
{
    enum fault_kind fault = al->ex->fault.kind;
    struct slice number = alipay_get(al, "out_request_no");

    *t = (struct refund_terms){
        .order = o,
        .out_refund_no = number.p ? number : order_no(o),
        .notify_url = slice_of(o->notify_url),
        .outcome = fault == FAULT_REFUND_CLOSED     ? REFUND_CLOSED
                   : fault == FAULT_REFUND_ABNORMAL ? REFUND_ABNORMAL
                                                    : REFUND_DONE,
    };
    if (money_parse_yuan(alipay_get(al, "refund_amount"), &t->amount) < 0 || t->amount < 1)
        return alipay_fail(al, "ACQ.REFUND_FEE_ERROR", "退款金额错误");
    if (number.n > 64 || (!number.p && t->amount < o->amount))
        return alipay_fail(al, "ACQ.INVALID_PARAMETER", "out_request_no");
    return true;
}

static void put_refund(struct alipay *al, struct refund *r, bool moved)
{
    char id[TRANSACTION_ID_MAX];
    struct json_writer w;

    order_transaction_id(r->order, id);
    alipay_begin(al, &w, "10000", "Success");
    json_member_str(&w, "trade_no", slice_of(id));
    json_member_str(&w, "out_trade_no", order_no(r->order));
    json_member_str(&w, "buyer_logon_id", SLICE("159****5620"));
    json_member_str(&w, "fund_change", moved ? SLICE("Y") : SLICE("N"));
    alipay_member_yuan(&w, "refund_fee", order_refunded(r->order, al->ex->now));
    alipay_member_time(&w, "gmt_refund_pay", r->due_at);
    json_end_object(&w);
}

static void refund(struct alipay *al, struct order *o)
{
    struct exchange *ex = al->ex;
    struct refund_terms terms;
    struct refund *made;
    enum books_result r;
    bool done;

    if (!read_terms(al, o, &terms))
        return;
    r = books_refund(ex->bank->books, &terms, ex->now, &made);
    if (r != BOOKS_DONE && r != BOOKS_AGAIN) {
        fail_refund(al, r);
        return;
    }
    done = refund_settle(made, ex->now) == REFUND_DONE;
    if (r == BOOKS_DONE && done)
        notify_refund(ex->bank->notifier, made);
    put_refund(al, made, r == BOOKS_DONE && done);
}

void alipay_refund(struct alipay *al)
{
    struct exchange *ex = al->ex;
    const char *status;
    struct order *o;

    if (!alipay_find_order(al, &o)) {
        exchange_send(ex);
        return;
    }
    if (exchange_strike(ex))
        return;
    status = o ? alipay_trade_status(o, ex->now) : NULL;
    if (!status)
        alipay_fail(al, "ACQ.TRADE_NOT_EXIST", "交易不存在");
    else if (strcmp(status, "TRADE_FINISHED") == 0)
        alipay_fail(al, "ACQ.TRADE_HAS_FINISHED", "交易已完结");
    else
        refund(al, o);
    exchange_send(ex);
}

/* Code 10000 alone says nothing: refund_status is there only when the money went back. */
static void put_query(struct alipay *al, struct order *o, struct refund *r)
{
    char id[TRANSACTION_ID_MAX];
    struct json_writer w;

    order_transaction_id(o, id);
    alipay_begin(al, &w, "10000", "Success");
    json_member_str(&w, "trade_no", slice_of(id));
    json_member_str(&w, "out_trade_no", order_no(o));
    json_member_str(&w, "out_request_no", alipay_get(al, "out_request_no"));
    if (r && refund_settle(r, al->ex->now) == REFUND_DONE) {
        json_member_str(&w, "refund_status", SLICE("REFUND_SUCCESS"));
        alipay_member_yuan(&w, "total_amount", o->amount);
        alipay_member_yuan(&w, "refund_amount", exchange_amount(al->ex, r->amount));
        alipay_member_time(&w, "gmt_refund_pay", r->due_at);
    }
    json_end_object(&w);
}

void alipay_refund_query(struct alipay *al)
{
    struct exchange *ex = al->ex;
    struct slice number = alipay_get(al, "out_request_no");
    struct refund *r;
    struct order *o;

    if (!number.p)
        alipay_fail(al, "ACQ.INVALID_PARAMETER", "out_request_no");
    if (!number.p || !alipay_find_order(al, &o)) {
        exchange_send(ex);
        return;
    }
    if (exchange_strike(ex))
        return;
    if (!o || !alipay_trade_status(o, ex->now)) {
        alipay_fail(al, "ACQ.TRADE_NOT_EXIST", "交易不存在");
    } else {
        r = refunds_find(ex->bank->books, ex->merchant, number, SLICE_NULL);
        put_query(al, o, r && r->order == o ? r : NULL);
    }
    exchange_send(ex);
}
