/* bank_json: refunds, their query, and the bill. */
#include "backends/paybank/books/bill.h"
#include "bank_json.h"

#define AMOUNT_TOP       100000000000LL
#define REFUND_WINDOW_US (365 * 86400 * USEC_PER_SEC)
#define BILL_MONTHS      3
#define BILL_CAP         ((size_t)64 << 20)

static const struct check_field refund_fields[] = {
    {"mch_id", CHECK_STRING, true, 1, 32, ""},
    {"refund_no", CHECK_STRING, true, 6, 32, BANK_NO_ALSO},
    {"order_no", CHECK_STRING, true, 6, 32, BANK_NO_ALSO},
    {"amount", CHECK_INTEGER, true, 1, AMOUNT_TOP, NULL},
    {"currency", CHECK_STRING, true, 3, 3, ""},
    {NULL, CHECK_STRING, false, 0, 0, NULL},
};

static void put_refund(struct exchange *ex, struct refund *r)
{
    static const char *const names[REFUND_STATE_COUNT] = {
        [REFUND_PROCESSING] = "PROCESSING",
        [REFUND_DONE] = "DONE",
        [REFUND_CLOSED] = "FAILED",
        [REFUND_ABNORMAL] = "FAILED",
    };
    char id[TRANSACTION_ID_MAX];
    struct json_writer w;

    refund_id(r, id);
    bank_begin_ok(ex, &w);
    json_member_str(&w, "status", slice_of(names[refund_settle(r, ex->now)]));
    json_member_str(&w, "refund_no", refund_no(r));
    json_member_str(&w, "bank_refund_no", slice_of(id));
    json_member_str(&w, "order_no", order_no(r->order));
    json_member_int64(&w, "amount", exchange_amount(ex, r->amount));
    json_member_str(&w, "currency", slice_of(r->order->currency));
    json_end_object(&w);
}

static bool read_terms(struct exchange *ex, const struct json *doc, struct refund_terms *t)
{
    struct order *o = books_find(ex->bank->books, ex->merchant, json_str(doc, "order_no"));
    enum fault_kind fault = ex->fault.kind;

    *t = (struct refund_terms){
        .order = o,
        .out_refund_no = json_str(doc, "refund_no"),
        .delay_us = ex->bank->conf.refund_delay_us,
        .outcome = fault == FAULT_REFUND_CLOSED || fault == FAULT_REFUND_ABNORMAL ? REFUND_CLOSED
                                                                                  : REFUND_DONE,
    };
    json_int64(json_get(doc, "amount"), &t->amount);
    if (!slice_is(json_str(doc, "currency"), "CNY"))
        return bank_refuse(ex, 400, "BAD_REQUEST", "/currency: only CNY");
    if (!o)
        return bank_refuse(ex, 404, "ORDER_NOT_FOUND", "no such order");
    if (o->paid_at && ex->now - o->paid_at > REFUND_WINDOW_US)
        return bank_refuse(ex, 409, "REFUND_EXPIRED", "paid more than a year ago");
    return true;
}

void bank_refund(struct exchange *ex, struct slice item)
{
    const struct json *doc;
    struct refund_terms terms;
    struct refund *made;
    enum books_result r;

    (void)item;
    if (!bank_read_body(ex, refund_fields, &doc)) {
        exchange_send(ex);
        return;
    }
    if (exchange_strike(ex))
        return;
    if (read_terms(ex, doc, &terms)) {
        r = books_refund(ex->bank->books, &terms, ex->now, &made);
        if (r == BOOKS_DONE || r == BOOKS_AGAIN)
            put_refund(ex, made);
        else if (r == BOOKS_OTHER_CONTENT)
            bank_refuse(ex, 409, "REFUND_NO_USED", "refund number used with other content");
        else
            bank_refuse_books(ex, r);
    }
    exchange_send(ex);
}

void bank_refund_query(struct exchange *ex, struct slice item)
{
    struct refund *r = refunds_find(ex->bank->books, ex->merchant, item, SLICE_NULL);

    if (r)
        ex->out_trade_no = order_no(r->order);
    if (exchange_strike(ex))
        return;
    if (r)
        put_refund(ex, r);
    else
        bank_refuse(ex, 404, "REFUND_NOT_FOUND", "no such refund");
    exchange_send(ex);
}

/* ---- bill ---- */

static void put_row(struct buf *b, const struct bill_event *ev)
{
    static const char *const kinds[] = {"PAYMENT", "REFUND", "REVERSAL"};
    char id[TRANSACTION_ID_MAX], back[TRANSACTION_ID_MAX] = "", at[RFC3339_LEN + 1];
    int64_t amount = ev->kind == BILL_REFUND ? ev->refund->amount : ev->order->amount;
    int64_t fee = bill_fee(amount);

    order_transaction_id(ev->order, id);
    if (ev->refund)
        refund_id(ev->refund, back);
    time_format_rfc3339(at, ev->at);
    buf_addf(b, "%s,%.*s,%s,%.*s,%s,%lld,%lld,%s,%s\n", kinds[ev->kind],
             SLICE_FMT(order_no(ev->order)), id,
             SLICE_FMT(ev->refund ? refund_no(ev->refund) : SLICE_NULL), back,
             (long long)(ev->kind == BILL_PAYMENT ? amount : -amount),
             (long long)(ev->kind == BILL_PAYMENT ? fee : -fee), ev->order->currency, at);
}

static void put_bill(struct exchange *ex, struct slice day)
{
    const struct bill_event *ev;
    struct buf events;
    size_t n;

    buf_init(&events, BILL_CAP);
    bill_collect(ex->bank->books, ex->merchant, day, ex->now, &events);
    ev = bill_events(&events, &n);
    ex->status = 200;
    ex->content_type = "text/csv; charset=utf-8";
    buf_add_str(&ex->body,
                "kind,order_no,bank_no,refund_no,bank_refund_no,amount,fee,currency,at\n");
    for (size_t i = 0; i < n; i++)
        put_row(&ex->body, &ev[i]);
    if (!buf_ok(&events))
        ex->body.failed = true;
    buf_release(&events);
}

void bank_bill(struct exchange *ex, struct slice item)
{
    if (exchange_strike(ex))
        return;
    switch (bill_day_state(item, BILL_MONTHS, ex->now)) {
    case BILL_READY:
        put_bill(ex, item);
        break;
    case BILL_NOT_YET:
        bank_refuse(ex, 404, "BILL_NOT_FOUND", "not ready");
        break;
    default:
        bank_refuse(ex, 400, "BAD_REQUEST", "no day of the last three months");
        break;
    }
    exchange_send(ex);
}
