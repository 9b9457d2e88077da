#include "wechat_bill.h"

#include "backends/paybank/books/bill.h"
#include "backends/paybank/wire/pack.h"
#include "core/money.h"
#include <stdio.h>

#define BILL_CAP ((size_t)256 << 20)
#define MONTHS   3
#define PAYER    "oPaybankPayer000000000000001"

/* In which bills a column stands. */
#define IN_ALL     1u
#define IN_SUCCESS 2u
#define IN_REFUND  4u
#define EVERYWHERE (IN_ALL | IN_SUCCESS | IN_REFUND)

/* A column's text: plain, or in yuan of a number. */
struct row {
    const struct bill_event *ev;
    int64_t settled, refunded, fee;
    char at[TIME_WALL_LEN + 1], done_at[TIME_WALL_LEN + 1];
    char transaction_id[TRANSACTION_ID_MAX], refund_id[TRANSACTION_ID_MAX];
    struct slice out_refund_no;
    const char *state, *refund_state;
};

typedef void put_cell(struct buf *b, const struct row *r);

static void put_at(struct buf *b, const struct row *r)
{
    buf_add_str(b, r->at);
}
static void put_appid(struct buf *b, const struct row *r)
{
    buf_add_str(b, r->ev->order->appid);
}
static void put_mch(struct buf *b, const struct row *r)
{
    buf_add_slice(b, r->ev->order->merchant->id);
}
static void put_zero(struct buf *b, const struct row *r)
{
    (void)r;
    buf_add_char(b, '0');
}
static void put_nothing(struct buf *b, const struct row *r)
{
    (void)b;
    (void)r;
}
static void put_id(struct buf *b, const struct row *r)
{
    buf_add_str(b, r->transaction_id);
}
static void put_no(struct buf *b, const struct row *r)
{
    buf_add_slice(b, order_no(r->ev->order));
}
static void put_payer(struct buf *b, const struct row *r)
{
    (void)r;
    buf_add_str(b, PAYER);
}

static void put_type(struct buf *b, const struct row *r)
{
    static const char *const names[METHOD_COUNT] = {
        [METHOD_NATIVE] = "NATIVE", [METHOD_JSAPI] = "JSAPI",      [METHOD_H5] = "MWEB",
        [METHOD_APP] = "APP",       [METHOD_BARCODE] = "MICROPAY",
    };

    buf_add_str(b, names[r->ev->order->method]);
}

static void put_state(struct buf *b, const struct row *r)
{
    buf_add_str(b, r->state);
}
static void put_bank(struct buf *b, const struct row *r)
{
    (void)r;
    buf_add_str(b, "OTHERS");
}
static void put_currency(struct buf *b, const struct row *r)
{
    buf_add_str(b, r->ev->order->currency);
}
static void put_settled(struct buf *b, const struct row *r)
{
    money_format_yuan(b, r->settled);
}
static void put_no_money(struct buf *b, const struct row *r)
{
    (void)r;
    buf_add_str(b, "0.00");
}
static void put_done_at(struct buf *b, const struct row *r)
{
    buf_add_str(b, r->done_at);
}
static void put_refund_id(struct buf *b, const struct row *r)
{
    buf_add_str(b, r->refund_id);
}
static void put_refund_no(struct buf *b, const struct row *r)
{
    buf_add_slice(b, r->out_refund_no);
}
static void put_refunded(struct buf *b, const struct row *r)
{
    money_format_yuan(b, r->refunded);
}
static void put_refund_type(struct buf *b, const struct row *r)
{
    buf_add_str(b, r->ev->kind == BILL_PAYMENT ? "" : "ORIGINAL");
}
static void put_refund_state(struct buf *b, const struct row *r)
{
    buf_add_str(b, r->refund_state);
}

/* A comma stays, a back-tick or a line end would break the file. */
static void put_free_text(struct buf *b, struct slice s)
{
    for (size_t i = 0; i < s.n; i++)
        buf_add_char(b, s.p[i] == '`' || s.p[i] == '\r' || s.p[i] == '\n' ? ' ' : s.p[i]);
}

static void put_subject(struct buf *b, const struct row *r)
{
    put_free_text(b, order_subject(r->ev->order));
}
static void put_attach(struct buf *b, const struct row *r)
{
    put_free_text(b, order_attach(r->ev->order));
}
static void put_fee(struct buf *b, const struct row *r)
{
    money_format_yuan(b, r->fee);
    buf_add_str(b, "000");
}
static void put_rate(struct buf *b, const struct row *r)
{
    (void)r;
    buf_add_str(b, "0.60%");
}

static const struct {
    const char *title;
    unsigned where;
    put_cell *put;
} columns[] = {
    {"交易时间", EVERYWHERE, put_at},
    {"公众账号ID", EVERYWHERE, put_appid},
    {"商户号", EVERYWHERE, put_mch},
    {"特约商户号", EVERYWHERE, put_zero},
    {"设备号", EVERYWHERE, put_nothing},
    {"微信订单号", EVERYWHERE, put_id},
    {"商户订单号", EVERYWHERE, put_no},
    {"用户标识", EVERYWHERE, put_payer},
    {"交易类型", EVERYWHERE, put_type},
    {"交易状态", EVERYWHERE, put_state},
    {"付款银行", EVERYWHERE, put_bank},
    {"货币种类", EVERYWHERE, put_currency},
    {"应结订单金额", EVERYWHERE, put_settled},
    {"代金券金额", EVERYWHERE, put_no_money},
    {"退款申请时间", IN_REFUND, put_at},
    {"退款成功时间", IN_REFUND, put_done_at},
    {"微信退款单号", IN_ALL | IN_REFUND, put_refund_id},
    {"商户退款单号", IN_ALL | IN_REFUND, put_refund_no},
    {"退款金额", IN_ALL | IN_REFUND, put_refunded},
    {"充值券退款金额", IN_ALL | IN_REFUND, put_no_money},
    {"退款类型", IN_ALL | IN_REFUND, put_refund_type},
    {"退款状态", IN_ALL | IN_REFUND, put_refund_state},
    {"商品名称", EVERYWHERE, put_subject},
    {"商户数据包", EVERYWHERE, put_attach},
    {"手续费", EVERYWHERE, put_fee},
    {"费率", EVERYWHERE, put_rate},
    {"订单金额", EVERYWHERE, put_settled},
    {"申请退款金额", IN_ALL | IN_REFUND, put_refunded},
    {"费率备注", EVERYWHERE, put_nothing},
};

static const char *const sum_titles =
    "总交易单数,应结订单总金额,退款总金额,充值券退款总金额,手续费总金额,订单总金额,"
    "申请退款总金额\r\n";

int wechat_bill_type_parse(struct slice s, enum wechat_bill_type *out)
{
    static const char *const names[] = {
        [BILL_ALL] = "ALL",
        [BILL_SUCCESS] = "SUCCESS",
        [BILL_REFUNDS] = "REFUND",
        [BILL_RECHARGE_REFUND] = "RECHARGE_REFUND",
    };

    for (int i = 0; i < 4; i++)
        if (slice_is(s, names[i])) {
            *out = (enum wechat_bill_type)i;
            return 0;
        }
    return -1;
}

/* ---- one row ---- */

static void fill_refund(struct row *r, struct refund *refund)
{
    static const char *const states[REFUND_STATE_COUNT] = {
        [REFUND_PROCESSING] = "PROCESSING",
        [REFUND_DONE] = "SUCCESS",
        [REFUND_CLOSED] = "FAIL",
        [REFUND_ABNORMAL] = "CHANGE",
    };

    r->state = "REFUND";
    r->refunded = refund->amount;
    r->refund_state = states[refund->state];
    r->out_refund_no = refund_no(refund);
    refund_id(refund, r->refund_id);
    if (refund->state == REFUND_DONE)
        time_format_wall(r->done_at, refund->due_at, true);
}

/* A reversal of what was paid carries the order's own number. */
static void fill_reversal(struct row *r, const struct order *o)
{
    r->state = "REVOKED";
    r->refunded = o->amount;
    r->refund_state = "SUCCESS";
    r->out_refund_no = order_no(o);
    snprintf(r->refund_id, sizeof(r->refund_id), "50000000019%.8s%010u", r->transaction_id + 10,
             o->seq);
    time_format_wall(r->done_at, o->ended_at, true);
}

static void fill(struct row *r, const struct bill_event *ev)
{
    *r = (struct row){.ev = ev, .refund_state = "", .refund_id = "0", .out_refund_no = SLICE("0")};
    time_format_wall(r->at, ev->at, true);
    order_transaction_id(ev->order, r->transaction_id);
    if (ev->kind == BILL_PAYMENT) {
        r->state = "SUCCESS";
        r->settled = ev->order->amount;
        r->fee = bill_fee(ev->order->amount);
        return;
    }
    if (ev->kind == BILL_REFUND)
        fill_refund(r, ev->refund);
    else
        fill_reversal(r, ev->order);
    r->fee = -bill_fee(r->refunded);
}

static void put_titles(struct buf *b, unsigned where)
{
    const char *comma = "";

    for (size_t i = 0; i < sizeof(columns) / sizeof(columns[0]); i++)
        if (columns[i].where & where) {
            buf_add_str(b, comma);
            buf_add_str(b, columns[i].title);
            comma = ",";
        }
    buf_add_str(b, "\r\n");
}

static void put_row(struct buf *b, unsigned where, const struct row *r)
{
    const char *comma = "`";

    for (size_t i = 0; i < sizeof(columns) / sizeof(columns[0]); i++)
        if (columns[i].where & where) {
            buf_add_str(b, comma);
            columns[i].put(b, r);
            comma = ",`";
        }
    buf_add_str(b, "\r\n");
}

/* ---- the file ---- */

struct sums {
    int64_t rows, settled, refunded, fee;
};

static void put_sums(struct buf *b, const struct sums *s)
{
    buf_add_str(b, sum_titles);
    buf_addf(b, "`%lld,`", (long long)s->rows);
    money_format_yuan(b, s->settled);
    buf_add_str(b, ",`");
    money_format_yuan(b, s->refunded);
    buf_add_str(b, ",`0.00,`");
    money_format_yuan(b, s->fee);
    buf_add_str(b, "000,`");
    money_format_yuan(b, s->settled);
    buf_add_str(b, ",`");
    money_format_yuan(b, s->refunded);
    buf_add_str(b, "\r\n");
}

static bool wanted(enum wechat_bill_type type, enum bill_kind kind)
{
    switch (type) {
    case BILL_ALL:
        return true;
    case BILL_SUCCESS:
        return kind == BILL_PAYMENT;
    case BILL_REFUNDS:
        return kind != BILL_PAYMENT;
    default:
        return false; /* nobody here pays from a balance that was charged before */
    }
}

static int64_t put_file(struct buf *b, const struct bill_event *ev, size_t n,
                        enum wechat_bill_type type)
{
    static const unsigned where[] = {IN_ALL, IN_SUCCESS, IN_REFUND, IN_REFUND};
    struct sums sums = {0, 0, 0, 0};
    struct row r;

    buf_add_str(b, "\xEF\xBB\xBF");
    put_titles(b, where[type]);
    for (size_t i = 0; i < n; i++) {
        if (!wanted(type, ev[i].kind))
            continue;
        fill(&r, &ev[i]);
        put_row(b, where[type], &r);
        sums.rows++;
        sums.settled += r.settled;
        sums.refunded += r.refunded;
        sums.fee += r.fee;
    }
    put_sums(b, &sums);
    return sums.rows;
}

enum wechat_bill_result wechat_bill(struct bank *bank, const struct merchant *m, struct slice day,
                                    enum wechat_bill_type type, bool gzip, struct buf *out)
{
    pay_time_t now = bank_now(bank);
    enum bill_day state = bill_day_state(day, MONTHS, now);
    enum wechat_bill_result result = WECHAT_BILL_MADE;
    struct buf events, text;
    const struct bill_event *ev;
    size_t n;

    if (state != BILL_READY)
        return state == BILL_NOT_YET ? WECHAT_BILL_EMPTY : WECHAT_BILL_BAD_DAY;
    buf_init(&events, BILL_CAP);
    buf_init(&text, BILL_CAP);
    bill_collect(bank->books, m, day, now, &events);
    ev = bill_events(&events, &n);
    if (put_file(&text, ev, n, type) == 0)
        result = WECHAT_BILL_EMPTY;
    else if (gzip && pack_gzip(buf_slice(&text), out) < 0)
        result = WECHAT_BILL_BROKEN;
    else if (!gzip)
        buf_add_slice(out, buf_slice(&text));
    if (!buf_ok(&events) || !buf_ok(&text) || !buf_ok(out))
        result = WECHAT_BILL_BROKEN;
    buf_release(&events);
    buf_release(&text);
    return result;
}
