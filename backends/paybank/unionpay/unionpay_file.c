/*
 * UnionPay's bill: 42 fields of fixed width with one blank between, GBK, in a ZIP, that deflated,
 * that in base64. A reversal has no record: it made the payment undone.
 */
#include "backends/paybank/books/bill.h"
#include "backends/paybank/wire/pack.h"
#include "unionpay.h"

#include <stdio.h>

#define BILL_CAP ((size_t)64 << 20)
#define MONTHS   12
#define FIELDS   42

static const uint8_t widths[FIELDS] = {3,  11, 11, 6,  10, 19, 12, 4,  2,  21, 2,  32, 2,  6,
                                       10, 13, 13, 4,  15, 2,  2,  6,  2,  4,  32, 1,  21, 15,
                                       1,  15, 32, 13, 13, 8,  32, 13, 13, 12, 2,  1,  32, 98};

struct record {
    struct arena *a;
    struct slice fields[FIELDS + 1]; /* as the document counts: from 1 */
};

static void put_record(struct buf *b, const struct record *r)
{
    for (int i = 1; i <= FIELDS; i++) {
        size_t n = r->fields[i].n < widths[i - 1] ? r->fields[i].n : widths[i - 1];

        if (i > 1)
            buf_add_char(b, ' ');
        buf_add(b, r->fields[i].p, n);
        for (; n < widths[i - 1]; n++)
            buf_add_char(b, ' ');
    }
    buf_add_str(b, "\r\n");
}

/* "C" to the merchant, "D" from the merchant. */
static struct slice signed_amount(struct arena *a, int64_t amount)
{
    return arena_printf(a, "%c%012lld", amount < 0 ? 'D' : 'C',
                        (long long)(amount < 0 ? -amount : amount));
}

static struct slice short_time(struct arena *a, pay_time_t t)
{
    char wall[TIME_WALL_LEN + 1];

    time_format_wall(wall, t, false);
    return arena_copy(a, slice_n(wall + 4, 10));
}

static void fill_common(struct record *r, const struct bill_event *ev, int64_t amount, bool back)
{
    struct arena *a = r->a;
    const struct order *o = ev->order;
    int64_t fee = bill_fee(amount);

    r->fields[2] = SLICE("00040000");
    r->fields[3] = SLICE("00049992");
    r->fields[5] = short_time(a, ev->at);
    r->fields[6] = SLICE("6216***********0018");
    r->fields[7] = arena_printf(a, "%012lld", (long long)amount);
    r->fields[8] = SLICE("5811");
    r->fields[9] = SLICE("08");
    r->fields[13] = SLICE("01");
    r->fields[16] = signed_amount(a, back ? fee : -fee);
    r->fields[17] = r->fields[33] = signed_amount(a, back ? fee - amount : amount - fee);
    r->fields[18] = SLICE("0001");
    r->fields[22] = SLICE("000000");
    r->fields[23] = SLICE("01");
    r->fields[26] = SLICE("0");
    r->fields[28] = o->merchant->id;
    r->fields[35] = order_attach(o);
    r->fields[40] = SLICE("1");
}

static void fill(struct record *r, const struct bill_event *ev)
{
    const struct refund *back = ev->refund;
    const struct order *o = ev->order;
    char id[TRANSACTION_ID_MAX];

    fill_common(r, ev, back ? back->amount : o->amount, back != NULL);
    order_transaction_id(o, id);
    r->fields[10] = arena_copy(r->a, slice_of(id));
    r->fields[12] = back ? refund_no(back) : order_no(o);
    r->fields[4] = arena_printf(r->a, "%06u", (back ? back->seq : o->seq) % 1000000);
    r->fields[1] = back ? (back->undo ? SLICE("S30") : SLICE("S56")) : SLICE("S22");
    r->fields[20] = back ? (back->undo ? SLICE("31") : SLICE("04")) : SLICE("01");
    r->fields[21] = back ? SLICE("00") : o->method == METHOD_BARCODE ? SLICE("06") : SLICE("07");
    if (!back)
        return;
    r->fields[14] = arena_printf(r->a, "%06u", o->seq % 1000000);
    r->fields[15] = short_time(r->a, o->paid_at);
    r->fields[27] = r->fields[10];
    r->fields[41] = order_no(o);
    refund_id(back, id);
    r->fields[10] = arena_copy(r->a, slice_of(id));
}

/* Records of what stayed: without payments that were reversed. Their number. */
static size_t make_text(const struct buf *events, struct buf *text)
{
    size_t n, rows = 0;
    const struct bill_event *ev = bill_events(events, &n);

    for (size_t i = 0; i < n; i++) {
        struct arena a;
        struct record r = {.a = &a};

        if (ev[i].kind == BILL_REVERSAL || ev[i].order->state == ORDER_REVOKED)
            continue;
        arena_init(&a, 8192);
        fill(&r, &ev[i]);
        put_record(text, &r);
        arena_release(&a);
        rows++;
    }
    return rows;
}

/* settleDate has no year: the latest such day that is over. */
static struct slice whole_day(struct up *u, struct slice mmdd)
{
    char today[9];
    int64_t year;

    time_format_day(today, u->ex->now);
    slice_int64(slice_n(today, 4), &year);
    if (memcmp(mmdd.p, today + 4, 4) > 0)
        year--;
    return arena_printf(u->out.arena, "%04lld%.4s", (long long)year, mmdd.p);
}

static int add_file(struct up *u, struct slice day, struct slice text)
{
    struct slice mer = u->ex->merchant->id;
    struct arena *a = u->out.arena;
    struct pack_file file = {arena_printf(a, "INN%.6s88ZM_%.*s", day.p + 2, SLICE_FMT(mer)), text};
    struct buf zip, packed, content;
    int rc = -1;

    buf_init(&zip, BILL_CAP);
    buf_init(&packed, BILL_CAP);
    buf_init(&content, 2 * BILL_CAP);
    if (pack_zip(&file, 1, &zip) == 0 && pack_zlib(buf_slice(&zip), &packed) == 0) {
        base64_encode(&content, buf_slice(&packed));
        up_answer(u, "00", "成功");
        form_add(&u->out, "fileName", arena_printf(a, "%.*s_%.8s.zip", SLICE_FMT(mer), day.p));
        form_add(&u->out, "fileContent", buf_slice(&content));
        rc = buf_ok(&content) ? 0 : -1;
    }
    buf_release(&zip);
    buf_release(&packed);
    buf_release(&content);
    return rc;
}

void up_file(struct up *u)
{
    struct exchange *ex = u->ex;
    struct slice day = whole_day(u, up_get(u, "settleDate"));
    struct buf events, text;

    if (exchange_strike(ex))
        return;
    buf_init(&events, BILL_CAP);
    buf_init(&text, BILL_CAP);
    if (!slice_is(up_get(u, "fileType"), "00")) {
        up_answer(u, "10", "报文格式错误");
    } else if (bill_day_state(day, MONTHS, ex->now) != BILL_READY) {
        up_answer(u, "98", "文件不存在");
    } else {
        bill_collect(ex->bank->books, ex->merchant, day, ex->now, &events);
        if (make_text(&events, &text) == 0)
            up_answer(u, "98", "文件不存在");
        else if (!buf_ok(&text) || add_file(u, day, buf_slice(&text)) < 0)
            up_answer(u, "06", "系统繁忙，请稍后再试");
    }
    buf_release(&events);
    buf_release(&text);
    exchange_send(ex);
}
