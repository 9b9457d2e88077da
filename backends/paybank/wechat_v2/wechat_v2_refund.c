/* WeChat Pay v2: refunds, their query, and the bill. */

#include "backends/paybank/notify.h"
#include "backends/paybank/wechat_v3/wechat_bill.h"
#include "core/net.h"
#include "wechat_v2.h"

#include <stdio.h>

#define REFUND_WINDOW_US (365 * 86400 * USEC_PER_SEC)
#define PAGE_REFUNDS     10

static void put_refund(struct v2 *v, const struct refund *r)
{
    char of[TRANSACTION_ID_MAX], id[TRANSACTION_ID_MAX];

    order_transaction_id(r->order, of);
    refund_id(r, id);
    v2_begin_ok(v);
    form_add_str(&v->out, "transaction_id", of);
    form_add(&v->out, "out_trade_no", order_no(r->order));
    form_add(&v->out, "out_refund_no", refund_no(r));
    form_add_str(&v->out, "refund_id", id);
    form_add_int64(&v->out, "refund_fee", r->amount);
    form_add_int64(&v->out, "total_fee", r->order->amount);
    form_add_int64(&v->out, "cash_fee", r->order->amount);
    form_add_int64(&v->out, "cash_refund_fee", r->amount);
}

static bool read_terms(struct v2 *v, struct order *o, struct refund_terms *t)
{
    const struct bank_conf *conf = &v->ex->bank->conf;
    enum fault_kind fault = v->ex->fault.kind;
    const char *reason;
    struct url url;
    int64_t total;

    *t = (struct refund_terms){
        .order = o,
        .out_refund_no = v2_get(v, "out_refund_no"),
        .notify_url = v2_get(v, "notify_url"),
        .delay_us = conf->refund_delay_us,
        .gap_us = conf->refund_gap_us,
        .outcome = fault == FAULT_REFUND_CLOSED     ? REFUND_CLOSED
                   : fault == FAULT_REFUND_ABNORMAL ? REFUND_ABNORMAL
                                                    : REFUND_DONE,
    };
    slice_int64(v2_get(v, "refund_fee"), &t->amount);
    slice_int64(v2_get(v, "total_fee"), &total);
    if (t->notify_url.p && url_parse(t->notify_url, &url, &reason) < 0)
        return v2_fail(v, "PARAM_ERROR", "notify_url不是有效的URL");
    if (!o)
        return v2_get(v, "transaction_id").p
                   ? v2_fail(v, "INVALID_TRANSACTIONID", "无效transaction_id")
                   : v2_fail(v, "ORDERNOTEXIST", "订单号不存在");
    if (total != o->amount)
        return v2_fail(v, "ERROR", "订单总金额不一致");
    if (o->paid_at && v->ex->now - o->paid_at > REFUND_WINDOW_US)
        return v2_fail(v, "TRADE_OVERDUE", "订单已经超过退款期限");
    return true;
}

static void refuse(struct v2 *v, enum books_result r)
{
    switch (r) {
    case BOOKS_OTHER_CONTENT:
        v2_fail(v, "INVALID_REQUEST", "退款单号已使用且参数不一致");
        break;
    case BOOKS_NOT_PAID:
        v2_fail(v, "ORDERNOTEXIST", "订单未支付");
        break;
    case BOOKS_IS_REVOKED:
        v2_fail(v, "ERROR", "订单已撤销");
        break;
    case BOOKS_TOO_MUCH:
        v2_fail(v, "ERROR", "累计退款金额大于支付金额");
        break;
    case BOOKS_TOO_MANY:
        v2_fail(v, "ERROR", "退款次数超过限制");
        break;
    case BOOKS_TOO_SOON:
        v2_fail(v, "FREQUENCY_LIMITED", "频率限制");
        break;
    default:
        v2_fail(v, "SYSTEMERROR", "接口返回错误");
        break;
    }
}

void v2_refund(struct v2 *v)
{
    struct exchange *ex = v->ex;
    struct order *o = v2_find_order(v);
    struct refund_terms terms;
    enum books_result r;
    struct refund *made;

    if (exchange_strike(ex))
        return;
    if (read_terms(v, o, &terms)) {
        r = books_refund(ex->bank->books, &terms, ex->now, &made);
        if (r == BOOKS_DONE)
            notify_refund(ex->bank->notifier, made);
        if (r == BOOKS_DONE || r == BOOKS_AGAIN)
            put_refund(v, made);
        else
            refuse(v, r);
    }
    exchange_send(ex);
}

/* ---- query ---- */

static void add_nth(struct v2 *v, const char *name, unsigned n, struct slice value)
{
    form_add(&v->out, arena_printf(v->out.arena, "%s_%u", name, n).p, value);
}

static void add_nth_int(struct v2 *v, const char *name, unsigned n, int64_t value)
{
    add_nth(v, name, n, arena_int64(v->out.arena, value));
}

static void put_nth(struct v2 *v, struct refund *r, unsigned n)
{
    char id[TRANSACTION_ID_MAX], at[TIME_WALL_LEN + 1];

    refund_settle(r, v->ex->now);
    refund_id(r, id);
    time_format_wall(at, r->due_at, true);
    add_nth(v, "out_refund_no", n, refund_no(r));
    add_nth(v, "refund_id", n, slice_of(id));
    add_nth(v, "refund_channel", n, SLICE("ORIGINAL"));
    add_nth_int(v, "refund_fee", n, exchange_amount(v->ex, r->amount));
    add_nth(v, "refund_status", n, slice_of(v2_refund_status(r)));
    add_nth(v, "refund_account", n, SLICE("REFUND_SOURCE_RECHARGE_FUNDS"));
    add_nth(v, "refund_recv_accout", n, SLICE("支付用户零钱"));
    if (r->state == REFUND_DONE)
        add_nth(v, "refund_success_time", n, slice_of(at));
}

/* One refund, or those of an order from `offset`. */
static void put_refunds(struct v2 *v, struct order *o, struct refund *only, int64_t offset)
{
    char id[TRANSACTION_ID_MAX];
    unsigned total = 0, shown = 0;

    order_transaction_id(o, id);
    v2_begin_ok(v);
    form_add_str(&v->out, "transaction_id", id);
    form_add(&v->out, "out_trade_no", order_no(o));
    form_add_int64(&v->out, "total_fee", o->amount);
    form_add_int64(&v->out, "cash_fee", o->amount);
    for (struct refund *r = o->refunds; r; r = r->order_next) {
        if (only && r != only)
            continue;
        if (total++ >= offset && shown < PAGE_REFUNDS)
            put_nth(v, r, shown++);
    }
    form_add_int64(&v->out, "total_refund_count", total);
    form_add_int64(&v->out, "refund_count", shown);
}

/* refund_id before out_refund_no before transaction_id before out_trade_no. */
static struct refund *find_refund(struct v2 *v, struct order **o)
{
    struct books *books = v->ex->bank->books;
    const struct merchant *m = v->ex->merchant;
    struct refund *r = NULL;

    if (v2_get(v, "refund_id").p)
        r = refunds_by_id(books, m, v2_get(v, "refund_id"));
    else if (v2_get(v, "out_refund_no").p)
        r = refunds_find(books, m, v2_get(v, "out_refund_no"), SLICE_NULL);
    else {
        *o = v2_find_order(v);
        return NULL;
    }
    *o = r ? r->order : NULL;
    return r;
}

void v2_refundquery(struct v2 *v)
{
    struct exchange *ex = v->ex;
    struct slice offset_text = v2_get(v, "offset");
    struct refund *only;
    struct order *o;
    int64_t offset = 0;

    if ((offset_text.p && (slice_int64(offset_text, &offset) < 0 || offset < 0)) ||
        !(v2_get(v, "refund_id").p || v2_get(v, "out_refund_no").p ||
          v2_get(v, "transaction_id").p || v2_get(v, "out_trade_no").p)) {
        v2_refuse(v, "缺少参数");
        exchange_send(ex);
        return;
    }
    only = find_refund(v, &o);
    if (o)
        ex->out_trade_no = order_no(o);
    if (exchange_strike(ex))
        return;
    if (!o || !o->refunds)
        v2_fail(v, "REFUNDNOTEXIST", "退款订单查询失败");
    else
        put_refunds(v, o, only, offset);
    exchange_send(ex);
}

/* ---- bill ---- */

static void no_bill(struct v2 *v, const char *message, const char *code)
{
    v2_refuse(v, message);
    form_add_str(&v->out, "error_code", code);
}

static void put_bill(struct v2 *v, struct slice day, enum wechat_bill_type type, bool gzip)
{
    struct exchange *ex = v->ex;

    switch (wechat_bill(ex->bank, ex->merchant, day, type, gzip, &ex->body)) {
    case WECHAT_BILL_MADE:
        ex->bare = true;
        ex->content_type = gzip ? "application/gzip" : "text/plain";
        break;
    case WECHAT_BILL_EMPTY:
        no_bill(v, "No Bill Exist", "20002");
        break;
    case WECHAT_BILL_BAD_DAY:
        no_bill(v, "invalid bill_date", "20007");
        break;
    default:
        no_bill(v, "SYSTEMERROR", "20100");
        break;
    }
}

void v2_downloadbill(struct v2 *v)
{
    struct slice tar = v2_get(v, "tar_type");
    enum wechat_bill_type type;

    if (exchange_strike(v->ex))
        return;
    if (wechat_bill_type_parse(v2_get(v, "bill_type"), &type) < 0)
        no_bill(v, "invalid bill_type", "20001");
    else if (tar.p && !slice_is(tar, "GZIP"))
        no_bill(v, "invalid tar_type", "20001");
    else
        put_bill(v, v2_get(v, "bill_date"), type, tar.p != NULL);
    exchange_send(v->ex);
}
