/* UnionPay: undo and refund, both transactions of their own. */
#include "backends/paybank/notify.h"
#include "unionpay.h"

#define REFUND_WINDOW_US (330 * 86400 * USEC_PER_SEC)
#define CUT_OFF_HOUR     "23"

/* The payment's clearing day ends at 23 o'clock. */
static bool same_clearing_day(pay_time_t paid_at, pay_time_t now)
{
    char paid[TIME_WALL_LEN + 1], today[TIME_WALL_LEN + 1];

    time_format_wall(paid, paid_at, false);
    time_format_wall(today, now, false);
    return memcmp(paid, today, 8) == 0 &&
           (memcmp(paid + 8, CUT_OFF_HOUR, 2) < 0) == (memcmp(today + 8, CUT_OFF_HOUR, 2) < 0);
}

static bool read_terms(struct up *u, bool undo, struct refund_terms *t)
{
    struct exchange *ex = u->ex;
    enum fault_kind fault = ex->fault.kind;
    struct order *o =
        books_by_transaction_id(ex->bank->books, ex->merchant, up_get(u, "origQryId"));

    *t = (struct refund_terms){
        .order = o,
        .out_refund_no = ex->out_trade_no,
        .stamp = up_get(u, "txnTime"),
        .notify_url = up_get(u, "backUrl"),
        .delay_us = ex->bank->conf.refund_delay_us,
        .outcome = fault == FAULT_REFUND_CLOSED     ? REFUND_CLOSED
                   : fault == FAULT_REFUND_ABNORMAL ? REFUND_ABNORMAL
                                                    : REFUND_DONE,
        .undo = undo,
    };
    slice_int64(up_get(u, "txnAmt"), &t->amount);
    if (!o || !o->paid_at)
        return up_answer(u, "35", "原交易不存在或状态不正确");
    if (undo && t->amount != o->amount)
        return up_answer(u, "36", "与原交易信息不符");
    if (undo ? !same_clearing_day(o->paid_at, ex->now) : ex->now - o->paid_at > REFUND_WINDOW_US)
        return up_answer(u, "39", "交易不在受理时间范围内");
    return t->amount >= 1 || up_answer(u, "10", "报文格式错误");
}

static void answer_books(struct up *u, enum books_result r, const struct refund_terms *t)
{
    switch (r) {
    case BOOKS_NOT_PAID:
        up_answer(u, "35", "原交易不存在或状态不正确");
        break;
    case BOOKS_IS_REVOKED:
        up_answer(u, "45", "原交易已被成功退货或已被成功撤销");
        break;
    case BOOKS_TOO_MUCH:
    case BOOKS_TOO_MANY:
        if (t->undo || order_refunded(t->order, u->ex->now) == t->order->amount)
            up_answer(u, "45", "原交易已被成功退货或已被成功撤销");
        else
            up_answer(u, "36", "与原交易信息不符");
        break;
    default:
        up_answer(u, "03", "交易通讯超时，请发起查询交易");
        break;
    }
}

static void give_back(struct up *u, bool undo)
{
    struct exchange *ex = u->ex;
    char id[TRANSACTION_ID_MAX];
    struct refund_terms terms;
    struct refund *made;
    enum books_result r;

    if (!up_check_fresh(u)) {
        exchange_send(ex);
        return;
    }
    if (exchange_strike(ex))
        return;
    if (read_terms(u, undo, &terms)) {
        r = books_refund(ex->bank->books, &terms, ex->now, &made);
        if (r == BOOKS_DONE) {
            notify_refund(ex->bank->notifier, made);
            refund_id(made, id);
            up_answer(u, "00", "成功");
            form_add_str(&u->out, "queryId", id);
            form_add(&u->out, "origQryId", up_get(u, "origQryId"));
        } else {
            answer_books(u, r, &terms);
        }
    }
    exchange_send(ex);
}

void up_undo(struct up *u)
{
    give_back(u, true);
}

void up_refund(struct up *u)
{
    give_back(u, false);
}
