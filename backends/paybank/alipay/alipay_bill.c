/*
 * Alipay's bill: an address that works for 30 seconds, behind it a ZIP with two CSV files, names
 * and text in GBK.
 */
#include "backends/paybank/books/bill.h"
#include "backends/paybank/wire/digest.h"
#include "backends/paybank/wire/pack.h"
#include "alipay.h"
#include <stdio.h>

#define MONTHS       12
#define TOKEN_LIFE_S 30
#define BILL_CAP     ((size_t)256 << 20)
#define RULE         "-----------------------------------------"

struct sums {
    int64_t payments, refunds, came, went, fee;
};

/* Commas and line ends would break the file, which knows no quotes. */
static void add_text(struct buf *b, struct slice s)
{
    for (size_t i = 0; i < s.n; i++)
        buf_add_char(b, strchr(",\t\r\n", s.p[i]) && s.p[i] ? ' ' : s.p[i]);
}

static void add_row(struct buf *b, const struct bill_event *ev, struct sums *sums)
{
    bool back = ev->kind != BILL_PAYMENT;
    int64_t amount = ev->refund ? ev->refund->amount : ev->order->amount;
    int64_t fee = bill_fee(amount);
    char id[TRANSACTION_ID_MAX], made[TIME_WALL_LEN + 1], done[TIME_WALL_LEN + 1];
    struct buf text;

    order_transaction_id(ev->order, id);
    time_format_wall(made, ev->order->created_at, true);
    time_format_wall(done, ev->at, true);
    buf_init(&text, 64);
    money_format_yuan(&text, back ? -amount : amount);
    buf_addf(b, "%s\t,%.*s\t,%s\t,", id, SLICE_FMT(order_no(ev->order)), back ? "退款" : "交易");
    add_text(b, order_subject(ev->order));
    buf_addf(b, ",%s,%s,\t,\t,\t,\t,*三(159****5620)\t,%.*s,%.*s,0.00,0.00,0.00,0.00,0.00,,0.00\t,",
             made, done, SLICE_FMT(buf_slice(&text)), SLICE_FMT(buf_slice(&text)));
    buf_addf(b, "0.00,%.*s\t,", SLICE_FMT(ev->refund ? refund_no(ev->refund) : SLICE_NULL));
    money_format_yuan(b, back ? fee : -fee);
    buf_add_str(b, ",0.00,\r\n");
    buf_release(&text);
    sums->payments += !back;
    sums->refunds += back;
    sums->came += back ? 0 : amount;
    sums->went += back ? amount : 0;
    sums->fee += back ? fee : -fee;
}

static void add_head(struct buf *b, const char *title, const char *kind, const struct merchant *m,
                     struct slice day)
{
    buf_addf(b, "#支付宝%s查询\r\n#账号：[%.*s0156]\r\n", title, SLICE_FMT(m->seller_id));
    buf_addf(
        b, "#起始日期：[%.4s年%.2s月%.2s日 00:00:00]   终止日期：[%.4s年%.2s月%.2s日 24:00:00]\r\n",
        day.p, day.p + 4, day.p + 6, day.p, day.p + 4, day.p + 6);
    buf_addf(b, "#" RULE "%s列表" RULE "\r\n", kind);
}

static void add_made_at(struct buf *b, pay_time_t now)
{
    char text[TIME_WALL_LEN + 1];

    time_format_wall(text, now, true);
    buf_addf(b, "#导出时间：[%.4s年%.2s月%.2s日 %s]\r\n", text, text + 5, text + 8, text + 11);
}

static void add_sum(struct buf *b, const char *label, int64_t n, const char *what, int64_t amount,
                    const char *tail)
{
    buf_addf(b, "#%s：%lld笔，%s共", label, (long long)n, what);
    money_format_yuan(b, amount);
    buf_addf(b, "元，%s共0.00元\r\n", tail);
}

static void make_detail(struct buf *b, const struct merchant *m, struct slice day, pay_time_t now,
                        const struct buf *events, struct sums *sums)
{
    size_t n;
    const struct bill_event *ev = bill_events(events, &n);

    add_head(b, "业务明细", "业务明细", m, day);
    buf_add_str(
        b, "支付宝交易号,商户订单号,业务类型,商品名称,创建时间,完成时间,门店编号,门店名称,操作员,"
           "终端号,对方账户,订单金额（元）,商家实收（元）,支付宝红包（元）,集分宝（元）,"
           "支付宝优惠（元）,商家优惠（元）,券核销金额（元）,券名称,商家红包消费金额（元）,"
           "卡消费金额（元）,退款批次号/请求号,服务费（元）,分润（元）,备注\r\n");
    for (size_t i = 0; i < n; i++)
        add_row(b, &ev[i], sums);
    buf_add_str(b, "#" RULE "业务明细列表结束------------------------------------\r\n");
    add_sum(b, "交易合计", sums->payments, "商家实收", sums->came, "商家优惠");
    add_sum(b, "退款合计", sums->refunds, "商家实收退款", -sums->went, "商家优惠退款");
    add_made_at(b, now);
}

static void make_summary(struct buf *b, const struct merchant *m, struct slice day, pay_time_t now,
                         const struct sums *s)
{
    add_head(b, "业务汇总", "业务汇总", m, day);
    buf_add_str(b, "门店编号,门店名称,交易订单总笔数,退款订单总笔数,订单金额（元）,商家实收（元）,"
                   "支付宝优惠（元）,商家优惠（元）,卡消费金额（元）,服务费（元）,分润（元）,"
                   "实收净额（元）\r\n");
    buf_addf(b, "合计\t,\t,%lld,%lld,", (long long)s->payments, (long long)s->refunds);
    money_format_yuan(b, s->came - s->went);
    buf_add_char(b, ',');
    money_format_yuan(b, s->came - s->went);
    buf_add_str(b, ",0.00,0.00,0.00,");
    money_format_yuan(b, s->fee);
    buf_add_str(b, ",0.00,");
    money_format_yuan(b, s->came - s->went + s->fee);
    buf_add_str(b, "\r\n#" RULE "业务汇总列表结束-------------------------------------\r\n");
    add_made_at(b, now);
}

/* name and content into GBK, side by side in `out`. */
static int to_gbk(struct arena *a, const char *name, const struct buf *text, struct buf *out,
                  struct pack_file *file)
{
    struct buf gbk;
    int rc;

    buf_init(&gbk, 1024);
    rc = pack_gbk(slice_of(name), &gbk);
    file->name = arena_copy(a, buf_slice(&gbk));
    buf_release(&gbk);
    if (rc < 0 || pack_gbk(buf_slice(text), out) < 0)
        return -1;
    file->content = buf_slice(out);
    return 0;
}

static int make_zip(struct exchange *ex, struct slice day, const struct buf *events,
                    struct buf *out)
{
    const struct merchant *m = ex->merchant;
    struct arena *a = &ex->req->arena;
    struct buf detail, summary, detail_gbk, summary_gbk;
    struct pack_file files[2];
    struct sums sums = {0, 0, 0, 0, 0};
    struct slice stem =
        arena_printf(a, "%.*s0156_%.*s_业务明细", SLICE_FMT(m->seller_id), SLICE_FMT(day));
    int rc = -1;

    buf_init(&detail, BILL_CAP);
    buf_init(&summary, BILL_CAP);
    buf_init(&detail_gbk, BILL_CAP);
    buf_init(&summary_gbk, BILL_CAP);
    make_detail(&detail, m, day, ex->now, events, &sums);
    make_summary(&summary, m, day, ex->now, &sums);
    if (buf_ok(&detail) && buf_ok(&summary) && !a->failed &&
        to_gbk(a, arena_printf(a, "%s.csv", stem.p).p, &detail, &detail_gbk, &files[0]) == 0 &&
        to_gbk(a, arena_printf(a, "%s(汇总).csv", stem.p).p, &summary, &summary_gbk, &files[1]) ==
            0)
        rc = pack_zip(files, 2, out);
    buf_release(&detail);
    buf_release(&summary);
    buf_release(&detail_gbk);
    buf_release(&summary_gbk);
    return rc;
}

/* ---- the address ---- */

static struct slice make_token(struct exchange *ex, struct slice day, int64_t until)
{
    char mac[DIGEST_HEX_MAX];
    struct slice text =
        arena_printf(&ex->req->arena, "%.*s|%.*s|%lld|%s", SLICE_FMT(ex->merchant->id),
                     SLICE_FMT(day), (long long)until, ex->bank->request_id_head);

    if (sha256_hex(text, mac) < 0)
        return SLICE_NULL;
    return arena_printf(&ex->req->arena, "%lld-%.32s", (long long)until, mac);
}

static struct slice read_day(struct alipay *al)
{
    struct slice s = alipay_get(al, "bill_date");

    if (s.n != 10 || s.p[4] != '-' || s.p[7] != '-')
        return SLICE_NULL;
    return arena_printf(al->in.arena, "%.4s%.2s%.2s", s.p, s.p + 5, s.p + 8);
}

static void put_address(struct alipay *al, struct slice day)
{
    struct exchange *ex = al->ex;
    struct slice host = http_req_header(ex->req, "Host");
    struct slice token = make_token(ex, day, ex->wall / USEC_PER_SEC + TOKEN_LIFE_S);
    struct json_writer w;

    alipay_begin(al, &w, "10000", "Success");
    json_member_str(&w, "bill_download_url",
                    arena_printf(al->in.arena,
                                 "%s://%.*s/alipay/bill?app_id=%.*s&day=%.*s&token=%.*s",
                                 ex->req->user ? "https" : "http", SLICE_FMT(host),
                                 SLICE_FMT(ex->merchant->id), SLICE_FMT(day), SLICE_FMT(token)));
    json_end_object(&w);
}

void alipay_bill(struct alipay *al)
{
    struct exchange *ex = al->ex;
    struct slice type = alipay_get(al, "bill_type");
    struct slice day = read_day(al);
    struct buf events;

    if (exchange_strike(ex))
        return;
    buf_init(&events, BILL_CAP);
    if (day.p)
        bill_collect(ex->bank->books, ex->merchant, day, ex->now, &events);
    if (!slice_is(type, "trade") && !slice_is(type, "signcustomer"))
        alipay_refuse(al, "40002", "Invalid Arguments", "isv.invalid-parameter", "bill_type");
    else if (!day.p || bill_day_state(day, MONTHS, ex->now) == BILL_BAD_DAY)
        alipay_refuse(al, "40002", "Invalid Arguments", "isv.invalid-parameter", "bill_date");
    else if (!events.n || bill_day_state(day, MONTHS, ex->now) != BILL_READY)
        alipay_fail(al, "isp.bill_not_exist", "账单不存在");
    else
        put_address(al, day);
    buf_release(&events);
    exchange_send(ex);
}

static bool token_good(struct exchange *ex, const struct form *q)
{
    struct slice rest = form_get(q, "token");
    struct slice token = rest;
    int64_t until;

    if (slice_int64(slice_cut(&rest, '-'), &until) < 0 || until < ex->wall / USEC_PER_SEC)
        return false;
    return equal_ct(make_token(ex, form_get(q, "day"), until), token);
}

void alipay_bill_file(struct exchange *ex, struct slice query)
{
    const char *reason;
    struct buf events;
    struct form q;

    ex->bare = true;
    ex->content_type = "text/plain";
    ex->status = 403;
    if (form_init(&q, &ex->req->arena) == 0 && form_parse(&q, query, &reason) == 0)
        ex->merchant = bank_conf_merchant(&ex->bank->conf, CHANNEL_ALIPAY, form_get(&q, "app_id"));
    if (!ex->merchant || !token_good(ex, &q)) {
        buf_add_str(&ex->body, "expired");
        exchange_send(ex);
        return;
    }
    if (exchange_strike(ex))
        return;
    buf_init(&events, BILL_CAP);
    bill_collect(ex->bank->books, ex->merchant, form_get(&q, "day"), ex->now, &events);
    ex->status = 200;
    ex->content_type = "application/zip";
    if (!buf_ok(&events) || make_zip(ex, form_get(&q, "day"), &events, &ex->body) < 0)
        ex->body.failed = true;
    buf_release(&events);
    exchange_send(ex);
}
