/* Bills: the sheets' samples row by row, and every way in which one can be damaged (R6.1). */
#include "channel_five.h"

struct rows {
    struct channel_bill_line v[64];
    size_t n;
    size_t stop; /* ends the reading there; 0: never */
};

static struct slice keep(struct slice s)
{
    return s.n ? arena_copy(&fx.arena, s) : SLICE_NULL;
}

static int on_row(void *arg, const struct channel_bill_line *row)
{
    struct rows *rows = arg;
    struct channel_bill_line *r = &rows->v[rows->n % COUNT(rows->v)];

    *r = *row;
    r->request_no = keep(row->request_no);
    r->channel_trade_no = keep(row->channel_trade_no);
    r->refund_no = keep(row->refund_no);
    r->channel_refund_no = keep(row->channel_refund_no);
    r->state = keep(row->state);
    rows->n++;
    return rows->stop && rows->n == rows->stop ? -1 : 0;
}

static struct conf_error why;

static int read_bill(enum five i, struct slice file, const char *sha1, struct rows *rows,
                     struct channel_bill_sum *sum)
{
    *rows = (struct rows){.n = 0};
    return channel_bill_read(five.channel[i], file, slice_of(sha1), on_row, rows, sum, &why);
}

static void must_read(enum five i, struct slice file, const char *sha1, struct rows *rows,
                      struct channel_bill_sum *sum)
{
    if (read_bill(i, file, sha1, rows, sum) < 0)
        fail_msg("%s", why.text);
}

static void assert_row(const struct channel_bill_line *r, enum bill_kind kind, const char *request,
                       const char *trade, const char *refund, int64_t amount, int64_t fee)
{
    assert_string_equal(channel_bill_kind_name(r->kind), channel_bill_kind_name(kind));
    assert_slice(r->request_no, request);
    assert_slice(r->channel_trade_no, trade);
    assert_slice(r->refund_no, refund);
    assert_int_equal(r->amount, amount);
    assert_int_equal(r->fee, fee);
}

static struct slice first_word(const char *path)
{
    struct slice s = file_text(path);

    return slice_n(s.p, strcspn(arena_cstr(&fx.arena, s), " \n"));
}

/* ------------------------------------------------------------------ samples */

static void check_wechat(enum five i, struct slice file, const char *sha1)
{
    struct channel_bill_sum sum;
    struct rows rows;

    must_read(i, file, sha1, &rows, &sum);
    assert_int_equal(rows.n, 5);
    assert_row(&rows.v[0], BILL_PAYMENT, "T202609010001", "4200000001202609011234567890", "", 888,
               5000);
    assert_true(rows.v[0].at == NOW + 3 * USEC_PER_SEC);
    assert_row(&rows.v[1], BILL_PAYMENT, "T202609010002", "4200000001202609011234567891", "", 10000,
               60000);
    assert_row(&rows.v[2], BILL_REVERSAL, "T202609010002", "4200000001202609011234567891", "",
               10000, -60000);
    assert_row(&rows.v[3], BILL_REFUND, "T202608300009", "4200000001202608301234567000",
               "R202609010001", 300, -2000);
    assert_slice(rows.v[3].channel_refund_no, "50000000012026090100000000002");
    assert_row(&rows.v[4], BILL_PAYMENT, "T202609010003", "4200000001202609011234567892", "", 2000,
               12000);
    assert_int_equal(sum.rows, 5);
    assert_int_equal(sum.paid, 12888);
    assert_int_equal(sum.returned, 10300);
}

static void test_wechat(void **state)
{
    const char *sha1 = arena_cstr(&fx.arena, first_word("t/vectors/wechat_bill.sha1"));

    (void)state;
    assert_int_equal(strlen(sha1), 40);
    check_wechat(V2, file_text("t/vectors/wechat_bill.csv"), "");
    check_wechat(V2, file_text("t/vectors/wechat_bill.csv.gz"), "");
    check_wechat(V3, file_text("t/vectors/wechat_bill.csv.gz"), sha1);
}

static void test_alipay(void **state)
{
    struct channel_bill_sum sum;
    struct rows rows;

    (void)state;
    must_read(ALI, file_text("t/vectors/alipay_bill.zip"), "", &rows, &sum);
    assert_int_equal(rows.n, 4);
    assert_row(&rows.v[0], BILL_PAYMENT, "T202609010001", "2026090122001400001000000001", "", 888,
               5000);
    assert_row(&rows.v[1], BILL_PAYMENT, "T202609010002", "2026090122001400001000000002", "", 10000,
               60000);
    assert_row(&rows.v[2], BILL_REVERSAL, "T202609010002", "2026090122001400001000000002", "",
               10000, -60000);
    assert_row(&rows.v[3], BILL_REFUND, "T202608300009", "2026083022001400001000000777",
               "R202609010001", 300, -2000);
    assert_slice(rows.v[3].state, "退款");
    assert_int_equal(sum.paid, 10888);
    assert_int_equal(sum.returned, 10300);
}

static void test_unionpay(void **state)
{
    struct channel_bill_sum sum;
    struct rows rows;

    (void)state;
    must_read(UPAY, first_word("t/vectors/unionpay_bill.b64"), "", &rows, &sum);
    assert_int_equal(rows.n, 4);
    assert_row(&rows.v[0], BILL_PAYMENT, "20260901120000001", "202609011200030000018", "", 888,
               5000);
    assert_int_equal(rows.v[1].amount, 10000);
    assert_int_equal(rows.v[2].kind, BILL_REVERSAL);
    assert_slice(rows.v[2].channel_trade_no, "202609011201100000028");
    assert_int_equal(rows.v[2].amount, 10000);
    assert_int_equal(rows.v[2].fee, -60000);
    assert_int_equal(rows.v[3].kind, BILL_REFUND);
    assert_slice(rows.v[3].refund_no, "20260901152000004");
    assert_int_equal(rows.v[3].amount, 300);
    assert_int_equal(sum.paid, 10888);
    assert_int_equal(sum.returned, 10300);
}

#define BANK_TITLES "kind,order_no,bank_no,refund_no,bank_refund_no,amount,fee,currency,at\n"

static void test_bank(void **state)
{
    struct channel_bill_sum sum;
    struct rows rows;

    (void)state;
    must_read(BANK,
              SLICE(BANK_TITLES "PAYMENT,T1,B1,,,888,3,CNY,2026-09-01T12:00:00+08:00\n"
                                "REFUND,T1,B1,R1,BR1,-300,-1,CNY,2026-09-01T13:00:00+08:00\n"
                                "REVERSAL,T2,B2,,,-500,0,CNY,2026-09-01T13:00:00+08:00\n"
                                "CHARGEBACK,T1,B1,,,1,1,CNY,2026-09-01T13:00:00+08:00"),
              "", &rows, &sum);
    assert_int_equal(rows.n, 4);
    assert_row(&rows.v[0], BILL_PAYMENT, "T1", "B1", "", 888, 3000);
    assert_row(&rows.v[1], BILL_REFUND, "T1", "B1", "R1", 300, -1000);
    assert_row(&rows.v[2], BILL_REVERSAL, "T2", "B2", "", 500, 0);
    assert_int_equal(rows.v[3].kind, BILL_OTHER);
    assert_slice(rows.v[3].state, "CHARGEBACK");
    assert_int_equal(rows.v[3].number, 5);
    must_read(BANK, SLICE(BANK_TITLES), "", &rows, &sum);
    assert_int_equal(rows.n, 0);
}

/* ------------------------------------------------------------------ damage */

static void refused(enum five i, struct slice file, const char *sha1, const char *want)
{
    struct channel_bill_sum sum;
    struct rows rows;

    if (read_bill(i, file, sha1, &rows, &sum) == 0)
        fail_msg("read, want: %s", want);
    if (!strstr(why.text, want))
        fail_msg("got \"%s\", want \"%s\"", why.text, want);
}

static struct slice replaced(struct slice s, const char *from, const char *to)
{
    const char *text = arena_cstr(&fx.arena, s);
    const char *at = strstr(text, from);

    if (!at)
        fail_msg("no %s", from);
    return arena_printf(&fx.arena, "%.*s%s%s", (int)(at - text), text, to, at + strlen(from));
}

static void test_damaged(void **state)
{
    struct slice csv = file_text("t/vectors/wechat_bill.csv");
    struct slice gz = file_text("t/vectors/wechat_bill.csv.gz");
    struct slice zip = file_text("t/vectors/alipay_bill.zip");
    struct slice b64 = first_word("t/vectors/unionpay_bill.b64");
    struct slice broken = arena_copy(&fx.arena, zip);
    const char *text = arena_cstr(&fx.arena, csv);

    (void)state;
    refused(V2, SLICE(""), "", "no line of titles");
    refused(V2, csv, "0000000000000000000000000000000000000000", "its SHA-1 is another");
    refused(V2, slice_n(csv.p, csv.n - 180), "", "");
    refused(V2, replaced(csv, "总交易单数", "共"), "", "");
    refused(V2, slice_n(text, (size_t)(strstr(text, "总交易单数") - text)), "", "it is cut");
    refused(V2, replaced(csv, "`0.60%,`8.88,", "`0.60%,`8.89,"), "",
            "total \"订单总金额\" is 12888, the rows have 12889");
    refused(V2, replaced(csv, "`5,`128.88", "`6,`128.88"), "", "total \"总交易单数\" is 6");
    refused(V2, replaced(csv, "`0.60%,`8.88,", "`0.60%,`8.888,"), "",
            "line 2: amount is malformed");
    refused(V2, replaced(csv, "`2026-09-01 12:00:03", "`2026-09-31 12:00:03"), "",
            "at is malformed");
    refused(V2, replaced(csv, "商户订单号", "订单号"), "", "no column \"商户订单号\"");
    refused(V2, replaced(csv, "测试商品", "\xff\xfe"), "", "line 2: not UTF-8");
    for (size_t n = 12; n < gz.n; n += 5)
        refused(V2, slice_n(gz.p, n), "", "");
    refused(V2, arena_printf(&fx.arena, "%s", "\x1f\x8b garbage"), "", "damaged or cut");
    refused(ALI, SLICE("PK, they said"), "", "it is no zip file");
    refused(ALI, slice_n(zip.p, zip.n - 30), "", "it is no zip file");
    ((char *)(uintptr_t)broken.p)[120] ^= 1;
    refused(ALI, broken, "", "");
    refused(UPAY, slice_n(b64.p, b64.n - 4), "", "");
    refused(UPAY, SLICE("!!"), "", "it is not base64");
    refused(UPAY, SLICE("eJwLAAAAAAE="), "", "");
    refused(V3, replaced(csv, "`REFUND", "`SUCCESS"), "", "total");
}

/* One byte of a fixed-width record more or less, or not where it was. */
static void test_fixed_width(void **state)
{
    static const char conf[] =
        "encoding json;\n"
        "account { value mch; secret key hmac_sha256; }\n"
        "sign { algorithm hmac_sha256; key key; message lines $timestamp $body; signature hex;"
        " header S $signature; }\n"
        "verify { algorithm hmac_sha256; key key; message lines $timestamp $body; signature hex;"
        " header S 't=$timestamp,s=$signature'; }\n"
        "errors { code code; }\n"
        "api native { kind prepare; request POST /x; send { a 1; }"
        " recv { call { status 200; } trade { class accepted; } } }\n"
        "bill { fixed 1 3 6 10; charset gbk; column kind 1; column amount 2; column name 3;\n"
        " row payment { when kind PAY; take amount amount digits; take state name optional; } }\n";
    static const char block[] = "pay_channel x { adapter x; methods native; }\n";
    struct channel_bill_sum sum;
    struct channel_set *set;
    struct conf_error err;
    struct rows rows = {.n = 0};
    static const char *const bad[] = {
        "PAY 000888 0123456789x", "PAY 000888 012345678",           "PAY_000888 0123456789",
        "PAY 0008x8 0123456789",  "PAY 000888 \xff\xff\xff       ",
    };

    (void)state;
    write_file(&five.folder, "x.conf", slice_of(conf));
    if (channel_set_load(write_file(&five.folder, "block", slice_of(block)), five.folder.path, &set,
                         &err) < 0)
        fail_msg("%s", err.text);
    /* GBK of two characters, four bytes */
    if (channel_bill_read(channel_at(set, 0),
                          SLICE("PAY 000888 \xb2\xe2\xca\xd4      \r\nREF 000001           \n"),
                          SLICE_NULL, on_row, &rows, &sum, &err) < 0)
        fail_msg("%s", err.text);
    assert_int_equal(rows.n, 2);
    assert_slice(rows.v[0].state, "测试");
    assert_int_equal(rows.v[0].amount, 888);
    assert_int_equal(rows.v[1].kind, BILL_OTHER);
    for (size_t i = 0; i < COUNT(bad); i++)
        if (channel_bill_read(channel_at(set, 0), slice_of(bad[i]), SLICE_NULL, on_row, &rows, &sum,
                              &err) == 0)
            fail_msg("read: %s", bad[i]);
    channel_set_free(set);
}

/* Who reads may end it; a line that never ends does. */
static void test_large(void **state)
{
    static const char row[] = "PAYMENT,T202609010001,B20260901000001,,,888,3,CNY,"
                              "2026-09-01T12:00:00+08:00\n";
    const size_t count = 20000;
    struct channel_bill_sum sum;
    struct rows rows;
    struct buf b;

    (void)state;
    buf_init(&b, 4 << 20);
    buf_add_str(&b, BANK_TITLES);
    for (size_t i = 0; i < count; i++)
        buf_add_str(&b, row);
    assert_true(buf_ok(&b));
    rows = (struct rows){.stop = 7};
    assert_int_equal(
        channel_bill_read(five.channel[BANK], buf_slice(&b), SLICE_NULL, on_row, &rows, &sum, &why),
        -1);
    assert_int_equal(rows.n, 7);
    buf_clear(&b);
    buf_add_str(&b, BANK_TITLES);
    for (size_t i = 0; i < 70000; i++)
        buf_add_char(&b, 'x');
    refused(BANK, buf_slice(&b), "", "line 2: longer than 65536 bytes");
    buf_release(&b);
}

static void expect_newest(enum five i, const char *now, const char *day)
{
    char got[CHANNEL_DAY_LEN + 1] = "";
    pay_time_t t;

    assert_int_equal(time_parse_rfc3339(slice_of(now), &t), 0);
    assert_true(channel_bill_newest(five.channel[i], t, got));
    assert_string_equal(got, day);
    assert_true(channel_bill_ready(five.channel[i], slice_of(got)) <= t);
}

/* Until the hour of the next day in China the day before is the newest. */
static void test_days(void **state)
{
    pay_time_t start, ready;

    (void)state;
    expect_newest(V3, "2026-09-02T09:59:59+08:00", "2026-08-31");
    expect_newest(V3, "2026-09-02T10:00:00+08:00", "2026-09-01");
    expect_newest(V3, "2026-09-02T23:59:59+08:00", "2026-09-01");
    expect_newest(V3, "2026-09-03T00:00:00+08:00", "2026-09-01");
    expect_newest(V3, "2027-01-01T01:59:59Z", "2026-12-30");
    expect_newest(V3, "2027-01-01T02:00:00Z", "2026-12-31");
    expect_newest(UPAY, "2026-09-02T11:59:59+08:00", "2026-08-31");
    expect_newest(UPAY, "2026-09-02T12:00:00+08:00", "2026-09-01");
    assert_int_equal(time_parse_rfc3339(SLICE("2026-09-02T10:00:00+08:00"), &ready), 0);
    assert_int_equal(channel_bill_ready(five.channel[V3], SLICE("2026-09-01")), ready);
    assert_int_equal(channel_bill_ready(five.channel[V3], SLICE("2026-02-30")), 0);
    assert_int_equal(channel_day_parse(SLICE("2026-9-1"), &start), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_wechat),   cmocka_unit_test(test_alipay),
        cmocka_unit_test(test_unionpay), cmocka_unit_test(test_bank),
        cmocka_unit_test(test_damaged),  cmocka_unit_test(test_fixed_width),
        cmocka_unit_test(test_large),    cmocka_unit_test(test_days),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, five_setup, five_teardown);
}
