/*
 * Every code of every channel (R2.3, R2.14): t/vectors/channel_codes.txt says by hand what each
 * means and what it does to the order; here it comes as raw HTTP through the engine and the order's
 * decide. channel_codes.json, the sheets' own list, shows that no row was forgotten.
 */
#include "channel_answers.h"

#include "backends/domain/payment.h"

#define COLUMNS 9
#define SEC     USEC_PER_SEC

static const struct payment_policy policy = {.send_window = 5 * SEC,
                                             .query_first = 120 * SEC,
                                             .query_interval = 30 * SEC,
                                             .query_max = 1800 * SEC,
                                             .soon = 2 * SEC,
                                             .resend_interval = 3 * SEC,
                                             .settle = 30 * SEC,
                                             .not_sent_limit = 3,
                                             .prepare_resend = true};
static struct slice table;

static int load(void **state)
{
    if (five_setup(state) < 0)
        return -1;
    table = file_text("t/vectors/channel_codes.txt");
    return 0;
}

/* Cuts the next row; false at the end. */
static bool next_row(struct slice *rest, struct slice cells[COLUMNS])
{
    while (rest->p && rest->n) {
        struct slice line = slice_cut(rest, '\n');

        if (line.n == 0 || line.p[0] == '#')
            continue;
        for (int i = 0; i < COLUMNS; i++)
            cells[i] = slice_trim(slice_cut(&line, '|'));
        assert_true(cells[COLUMNS - 1].n > 0);
        return true;
    }
    return false;
}

static enum five channel_of(struct slice name)
{
    for (int i = 0; i < FIVE; i++)
        if (slice_is(name, five_names[i]))
            return (enum five)i;
    fail_msg("no channel %.*s", SLICE_FMT(name));
    return FIVE;
}

/* ------------------------------------------------------------------ the order */

static struct payment move(const struct payment *p, struct payment_event e, pay_time_t now)
{
    struct payment_step step;

    e.id = 1;
    payment_decide(p, &e, now, &policy, &step);
    return step.after;
}

static struct payment_event answer_event(enum call_kind kind, uint32_t n,
                                         const struct channel_result *r)
{
    return (struct payment_event){.kind = PAYMENT_EVENT_ANSWER,
                                  .call = kind,
                                  .attempt_n = n,
                                  .sent = SENT_ANSWERED,
                                  .http_status = 200,
                                  .cls = r->cls,
                                  .code = r->code,
                                  .channel_trade_no = r->channel_trade_no,
                                  .amount = r->amount,
                                  .currency = r->currency,
                                  .paid_at = r->paid_at,
                                  .code_url = r->code_url};
}

/* The state of an order of 888 fen behind this answer to its call; "-" for calls of another kind.
 */
static const char *state_after(enum call_kind kind, const struct channel_result *r)
{
    struct payment p = {.id = 1,
                        .slot = 5,
                        .mchid = SLICE("M1"),
                        .out_trade_no = SLICE("N1"),
                        .amount = 888,
                        .currency = SLICE("CNY"),
                        .created_at = NOW,
                        .time_expire = EXPIRE};
    struct channel_result accepted = {
        .cls = CLASS_ACCEPTED, .code = SLICE("x"), .code_url = SLICE("x"), .amount = -1};
    struct payment_event last;

    if (kind != CALL_PREPARE && kind != CALL_QUERY && kind != CALL_CLOSE)
        return "-";
    p = move(&p, (struct payment_event){.kind = PAYMENT_EVENT_CREATE}, NOW);
    if (kind != CALL_PREPARE) {
        p = move(&p, answer_event(CALL_PREPARE, 1, &accepted), NOW + SEC);
        p = move(&p,
                 (struct payment_event){.kind = kind == CALL_QUERY ? PAYMENT_EVENT_OPERATOR_QUERY
                                                                   : PAYMENT_EVENT_CLOSE},
                 NOW + 200 * SEC);
    }
    last = answer_event(kind, p.attempts, r);
    last.asked = p.version;
    last.asked_at = NOW + 200 * SEC;
    p = move(&p, last, NOW + 201 * SEC);
    return payment_state_name(p.state);
}

/* ------------------------------------------------------------------ the table */

static int wrong;

static void check_row(struct slice cells[COLUMNS])
{
    struct case_of c = {.channel = channel_of(cells[0]),
                        .kind = (enum call_kind)call_kind_parse(cells[3]),
                        .method = (enum payment_method)payment_method_parse(cells[4]),
                        .answer = cells[6]};
    struct channel_result r;
    int64_t status;
    const char *state;

    assert_int_equal(slice_int64(cells[5], &status), 0);
    c.status = (int)status;
    r = run_case(&c);
    state = state_after(c.kind, &r);
    if (slice_is(cells[7], answer_class_name(r.cls)) && slice_is(cells[8], state))
        return;
    print_message("# %.*s %.*s on %.*s of %.*s: %s (%.*s; %.*s), order %s; want %.*s, order %.*s\n",
                  SLICE_FMT(cells[0]), SLICE_FMT(cells[2]), SLICE_FMT(cells[3]),
                  SLICE_FMT(cells[4]), answer_class_name(r.cls), SLICE_FMT(r.code),
                  SLICE_FMT(r.message), state, SLICE_FMT(cells[7]), SLICE_FMT(cells[8]));
    wrong++;
}

static void test_rows(void **state)
{
    struct slice cells[COLUMNS], rest = table;
    int n = 0;

    (void)state;
    for (; next_row(&rest, cells); n++)
        check_row(cells);
    assert_int_equal(wrong, 0);
    assert_true(n > 600);
}

static bool has_row(struct slice channel, struct slice api, struct slice code)
{
    struct slice cells[COLUMNS], rest = table;

    while (next_row(&rest, cells))
        if (slice_eq(cells[0], channel) && slice_eq(cells[1], api) && slice_eq(cells[2], code))
            return true;
    return false;
}

static void test_complete(void **state)
{
    const struct json *sheet;
    struct json_error err;
    struct json_limits limits = {.depth = 8, .values = 10000};

    (void)state;
    assert_int_equal(
        json_parse(&fx.arena, file_text("t/vectors/channel_codes.json"), &limits, &sheet, &err), 0);
    sheet = json_get(sheet, "rows");
    assert_int_equal(sheet->count, 291);
    for (const struct json *row = sheet->child; row; row = row->next)
        if (!has_row(json_str(row, "channel"), json_str(row, "api"), json_str(row, "code")))
            fail_msg("no row for %.*s %.*s %.*s", SLICE_FMT(json_str(row, "channel")),
                     SLICE_FMT(json_str(row, "api")), SLICE_FMT(json_str(row, "code")));
}

/* ------------------------------------------------------------------ beyond the table */

static const struct case_of every_call[] = {
    {V2, CALL_CHARGE, METHOD_BARCODE, 200, {NULL, 0}},
    {V2, CALL_PREPARE, METHOD_NATIVE, 200, {NULL, 0}},
    {V2, CALL_PREPARE, METHOD_JSAPI, 200, {NULL, 0}},
    {V2, CALL_PREPARE, METHOD_H5, 200, {NULL, 0}},
    {V2, CALL_PREPARE, METHOD_APP, 200, {NULL, 0}},
    {V2, CALL_QUERY, METHOD_NATIVE, 200, {NULL, 0}},
    {V2, CALL_CLOSE, METHOD_NATIVE, 200, {NULL, 0}},
    {V2, CALL_REVERSE, METHOD_BARCODE, 200, {NULL, 0}},
    {V2, CALL_REFUND, METHOD_NATIVE, 200, {NULL, 0}},
    {V2, CALL_REFUND_QUERY, METHOD_NATIVE, 200, {NULL, 0}},
    {V3, CALL_CHARGE, METHOD_BARCODE, 200, {NULL, 0}},
    {V3, CALL_PREPARE, METHOD_NATIVE, 200, {NULL, 0}},
    {V3, CALL_PREPARE, METHOD_JSAPI, 200, {NULL, 0}},
    {V3, CALL_PREPARE, METHOD_H5, 200, {NULL, 0}},
    {V3, CALL_PREPARE, METHOD_APP, 200, {NULL, 0}},
    {V3, CALL_QUERY, METHOD_NATIVE, 200, {NULL, 0}},
    {V3, CALL_REVERSE, METHOD_BARCODE, 200, {NULL, 0}},
    {V3, CALL_REFUND, METHOD_NATIVE, 200, {NULL, 0}},
    {V3, CALL_REFUND_QUERY, METHOD_NATIVE, 200, {NULL, 0}},
    {V3, CALL_BILL, METHOD_NONE, 200, {NULL, 0}},
    {ALI, CALL_CHARGE, METHOD_BARCODE, 200, {NULL, 0}},
    {ALI, CALL_PREPARE, METHOD_NATIVE, 200, {NULL, 0}},
    {ALI, CALL_PREPARE, METHOD_JSAPI, 200, {NULL, 0}},
    {ALI, CALL_QUERY, METHOD_NATIVE, 200, {NULL, 0}},
    {ALI, CALL_CLOSE, METHOD_NATIVE, 200, {NULL, 0}},
    {ALI, CALL_REVERSE, METHOD_BARCODE, 200, {NULL, 0}},
    {ALI, CALL_REFUND, METHOD_NATIVE, 200, {NULL, 0}},
    {ALI, CALL_REFUND_QUERY, METHOD_NATIVE, 200, {NULL, 0}},
    {ALI, CALL_BILL, METHOD_NONE, 200, {NULL, 0}},
    {UPAY, CALL_CHARGE, METHOD_BARCODE, 200, {NULL, 0}},
    {UPAY, CALL_PREPARE, METHOD_NATIVE, 200, {NULL, 0}},
    {UPAY, CALL_PREPARE, METHOD_APP, 200, {NULL, 0}},
    {UPAY, CALL_QUERY, METHOD_NATIVE, 200, {NULL, 0}},
    {UPAY, CALL_REVERSE, METHOD_BARCODE, 200, {NULL, 0}},
    {UPAY, CALL_REFUND, METHOD_NATIVE, 200, {NULL, 0}},
    {UPAY, CALL_REFUND_QUERY, METHOD_NATIVE, 200, {NULL, 0}},
    {UPAY, CALL_BILL, METHOD_NONE, 200, {NULL, 0}},
};

static const char *name_of(const struct case_of *c, const char *what)
{
    return arena_printf(&fx.arena, "%s %s %s: %s", five_names[c->channel], call_kind_name(c->kind),
                        payment_method_name(c->method), what)
        .p;
}

static struct channel_result run(const struct case_of *c, const char *answer, int status)
{
    struct case_of one = *c;

    one.answer = slice_of(answer);
    one.status = status;
    return run_case(&one);
}

static struct slice flip(struct slice s, size_t at)
{
    struct slice copy = arena_copy(&fx.arena, s);

    ((char *)(uintptr_t)copy.p)[at] ^= 1;
    return copy;
}

/* A code that no row lists is unknown, on every call; so is every 5xx, 3xx and 201, whatever the
 * body says. */
static void test_unlisted(void **state)
{
    static const int statuses[] = {500, 502, 503, 504, 301, 302, 404, 403};

    (void)state;
    for (size_t i = 0; i < COUNT(every_call); i++) {
        const struct case_of *c = &every_call[i];

        assert_class(run(c, "error BRAND_NEW_CODE", c->channel == V3 ? 400 : 200), CLASS_UNKNOWN,
                     name_of(c, "unlisted code"));
        for (size_t k = 0; k < COUNT(statuses); k++)
            assert_class(run(c, "trade", statuses[k]), CLASS_UNKNOWN,
                         name_of(c, "good answer under another status"));
    }
}

/* R2.14, the call layer: not one good answer survives a byte of its body, a lost signature, a cut,
 * garbage, an empty body. */
static void test_call_layer(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(every_call); i++) {
        struct case_of c = every_call[i];
        struct slice body, raw;
        struct channel_result r;

        c.answer = SLICE("trade");
        body = body_of(&c);
        raw = raw_http(&c, body);
        r = read_http(&c, raw);
        if (r.cls == CLASS_UNKNOWN || !r.verified)
            fail_msg("%s (%.*s %.*s)", name_of(&c, "a good answer is unknown"), SLICE_FMT(r.code),
                     SLICE_FMT(r.message));
        for (size_t k = 0; k < body.n; k += 7) {
            r = read_http(&c, flip(raw, raw.n - body.n + k));
            assert_class(r, CLASS_UNKNOWN, name_of(&c, "one bit flipped"));
        }
        for (size_t k = 1; k < body.n; k += 31) {
            raw = raw_http(&c, slice_n(body.p, body.n - k));
            if (c.channel == V3) /* else the header would be made for the cut body */
                break;
            assert_class(read_http(&c, raw), CLASS_UNKNOWN, name_of(&c, "cut"));
        }
        c.answer = SLICE("none");
        assert_class(run_case(&c), CLASS_UNKNOWN, name_of(&c, "no body"));
        assert_class(read_http(&c, raw_http(&c, SLICE("<html>Bad Gateway</html>"))), CLASS_UNKNOWN,
                     name_of(&c, "garbage"));
    }
}

/* Answers of somebody else, well signed: another order, another merchant (the trade layer). */
static void test_trade_layer(void **state)
{
    static const struct {
        enum five channel;
        const char *change;
        unsigned kinds; /* bit per call that must look */
    } foreign[] = {
        {V2, "trade out_trade_no=OTHER",
         1u << CALL_CHARGE | 1u << CALL_QUERY | 1u << CALL_REFUND | 1u << CALL_REFUND_QUERY},
        {V2, "trade mch_id=1900000110", ~0u},
        {V2, "trade out_refund_no=OTHER out_refund_no_0=OTHER",
         1u << CALL_REFUND | 1u << CALL_REFUND_QUERY},
        {V2, "trade appid=wxother", 1u << CALL_CHARGE | 1u << CALL_QUERY | 1u << CALL_PREPARE},
        {V3, "trade out_trade_no=OTHER",
         1u << CALL_CHARGE | 1u << CALL_QUERY | 1u << CALL_REVERSE | 1u << CALL_REFUND |
             1u << CALL_REFUND_QUERY},
        {V3, "trade mchid=1900000110", 1u << CALL_CHARGE | 1u << CALL_QUERY | 1u << CALL_REVERSE},
        {V3, "trade appid=wxother", 1u << CALL_CHARGE | 1u << CALL_QUERY},
        {V3, "trade out_refund_no=OTHER", 1u << CALL_REFUND | 1u << CALL_REFUND_QUERY},
        {ALI, "trade out_trade_no=OTHER", ~(1u << CALL_BILL)},
        {ALI, "trade out_request_no=OTHER", 1u << CALL_REFUND_QUERY},
        {UPAY, "trade orderId=OTHER00000", ~(1u << CALL_BILL)},
        {UPAY, "trade merId=777290058110049", ~0u},
    };

    (void)state;
    for (size_t k = 0; k < COUNT(foreign); k++) {
        for (size_t i = 0; i < COUNT(every_call); i++) {
            const struct case_of *c = &every_call[i];
            struct channel_result r;

            if (c->channel != foreign[k].channel || !(foreign[k].kinds & 1u << c->kind))
                continue;
            r = run(c, foreign[k].change, 200);
            assert_class(r, CLASS_UNKNOWN, name_of(c, foreign[k].change));
            assert_slice(r.code, "mismatch");
            assert_int_equal(r.amount, -1);
        }
    }
}

/* Money that moved has an amount, in the form of the channel, and never nothing. */
static void test_amounts(void **state)
{
    static const struct {
        enum five channel;
        enum call_kind kind;
        enum payment_method method;
        const char *answer;
    } bad[] = {
        {V2, CALL_CHARGE, METHOD_BARCODE, "trade total_fee="},
        {V2, CALL_CHARGE, METHOD_BARCODE, "trade total_fee=0"},
        {V2, CALL_CHARGE, METHOD_BARCODE, "trade total_fee=-888"},
        {V2, CALL_CHARGE, METHOD_BARCODE, "trade total_fee=8.88"},
        {V2, CALL_QUERY, METHOD_NATIVE, "trade total_fee=0888"},
        {V2, CALL_QUERY, METHOD_NATIVE, "trade total_fee=99999999999999999999"},
        {V2, CALL_QUERY, METHOD_NATIVE, "trade fee_type=RMB¥"},
        {V2, CALL_REFUND_QUERY, METHOD_NATIVE, "trade refund_fee_0="},
        {V2, CALL_REFUND_QUERY, METHOD_NATIVE, "trade refund_fee_0=0"},
        {ALI, CALL_CHARGE, METHOD_BARCODE, "trade total_amount=888.888"},
        {ALI, CALL_CHARGE, METHOD_BARCODE, "trade total_amount="},
        {ALI, CALL_QUERY, METHOD_NATIVE, "trade total_amount=8,88"},
        {ALI, CALL_QUERY, METHOD_NATIVE, "trade total_amount=0.00"},
        {ALI, CALL_REFUND_QUERY, METHOD_NATIVE, "trade refund_amount="},
        {UPAY, CALL_QUERY, METHOD_NATIVE, "trade txnAmt=8.88"},
        {UPAY, CALL_QUERY, METHOD_NATIVE, "trade txnAmt="},
        {UPAY, CALL_QUERY, METHOD_NATIVE, "trade currencyCode=999"},
        {UPAY, CALL_REFUND_QUERY, METHOD_NATIVE, "trade txnAmt=0"},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(bad); i++) {
        struct case_of c = {bad[i].channel, bad[i].kind, bad[i].method, 200,
                            slice_of(bad[i].answer)};
        struct channel_result r = run_case(&c);

        assert_class(r, CLASS_UNKNOWN, name_of(&c, bad[i].answer));
        assert_int_equal(r.amount, -1);
    }
}

/* What is taken of a good answer. */
static void test_members(void **state)
{
    struct case_of c = {V2, CALL_CHARGE, METHOD_BARCODE, 200, SLICE_NULL};
    struct channel_result r;

    (void)state;
    r = run(&c, "trade", 200);
    assert_int_equal(r.amount, 888);
    assert_slice(r.currency, "CNY");
    assert_slice(r.channel_trade_no, "4200000001202609011234567890");
    assert_slice(r.payer_id, "o6_bmjrPTlm6_2sgVt7hMZOPfL2M");
    assert_true(r.paid_at == NOW + 3 * SEC);
    c = (struct case_of){V2, CALL_REFUND_QUERY, METHOD_NATIVE, 200, SLICE_NULL};
    r = run(&c, "trade", 200);
    assert_int_equal(r.refund_amount, 300);
    assert_slice(r.refund_no, REFUND_NO);
    c = (struct case_of){ALI, CALL_CHARGE, METHOD_BARCODE, 200, SLICE_NULL};
    r = run(&c, "trade total_amount=8.8", 200);
    assert_int_equal(r.amount, 880);
    assert_slice(r.currency, "CNY");
    assert_true(r.paid_at == NOW + 3 * SEC);
    c = (struct case_of){ALI, CALL_PREPARE, METHOD_NATIVE, 200, SLICE_NULL};
    assert_slice(run(&c, "trade", 200).code_url, "https://qr.alipay.com/bax03431ljhokirwl38f00a7");
    c = (struct case_of){UPAY, CALL_QUERY, METHOD_NATIVE, 200, SLICE_NULL};
    r = run(&c, "trade", 200);
    assert_slice(r.currency, "CNY");
    assert_slice(r.channel_trade_no, "202609011200000000018");
    c = (struct case_of){V3, CALL_BILL, METHOD_NONE, 200, SLICE_NULL};
    r = run(&c, "trade", 200);
    assert_slice(r.bill_sha1, "79bb0f45fc4c42234a918000b2668d689e2bde04");
    assert_slice(r.bill_url, "https://api.mch.weixin.qq.com/v3/billdownload/file?token=x");
    c = (struct case_of){V2, CALL_PREPARE, METHOD_H5, 200, SLICE_NULL};
    assert_slice(run(&c, "trade", 200).h5_url, "https://wx.tenpay.com/cgi-bin/x?y=1&z=2");
}

/* Errors without signature: believed by no one but v2's prepare, and there only as the call's own
 * refusal. */
static void test_unsigned(void **state)
{
    struct case_of c = {V2, CALL_PREPARE, METHOD_NATIVE, 200, SLICE_NULL};
    struct channel_result r;

    (void)state;
    r = run(&c, "fail", 200);
    assert_class(r, CLASS_FAILED, "unifiedorder FAIL");
    assert_false(r.verified);
    /* an unsigned business answer is not that */
    r = read_http(&c, raw_http(&c, SLICE("<xml><return_code>SUCCESS</return_code><result_code>FAIL"
                                         "</result_code><err_code>NOAUTH</err_code></xml>")));
    assert_class(r, CLASS_UNKNOWN, "unsigned NOAUTH would let another channel take it");
    r = read_http(&c, raw_http(&c, SLICE("<xml><return_code>SUCCESS</return_code><result_code>"
                                         "SUCCESS</result_code><code_url>x</code_url></xml>")));
    assert_class(r, CLASS_UNKNOWN, "unsigned success");
    c = (struct case_of){ALI, CALL_PREPARE, METHOD_NATIVE, 200, SLICE_NULL};
    r = read_http(&c, raw_http(&c, SLICE("{\"error_response\":{\"code\":\"40002\",\"sub_code\":"
                                         "\"isv.invalid-signature\",\"msg\":\"x\"}}")));
    assert_class(r, CLASS_UNKNOWN, "unsigned error_response");
    c.status = 200;
    r = read_http(
        &c, raw_http(&c, ali_envelope("error_response", SLICE("{\"code\":\"40002\",\"sub_code\":"
                                                              "\"isv.invalid-signature\"}"))));
    assert_class(r, CLASS_FAILED, "signed error_response");
    r = read_http(&c, raw_http(&c, ali_envelope("alipay_trade_pay_response",
                                                SLICE("{\"code\":\"10000\",\"qr_code\":\"x\","
                                                      "\"out_trade_no\":\"" ORDER_NO "\"}"))));
    assert_class(r, CLASS_UNKNOWN, "the answer to another call, well signed");
}

/* Bills that come as the body itself, or as an XML error. */
static void test_bill_bodies(void **state)
{
    struct case_of c = {V2, CALL_BILL, METHOD_NONE, 200, SLICE_NULL};
    struct channel_result r;

    (void)state;
    r = read_http(&c, raw_http(&c, file_text("t/vectors/wechat_bill.csv")));
    assert_class(r, CLASS_SUCCESS, "csv");
    assert_true(r.bill.n > 1000);
    r = read_http(&c, raw_http(&c, file_text("t/vectors/wechat_v2_no_bill.xml")));
    assert_class(r, CLASS_NOT_FOUND, "no bill");
    c = (struct case_of){UPAY, CALL_BILL, METHOD_NONE, 200, SLICE_NULL};
    r = run(&c, "trade", 200);
    assert_class(r, CLASS_SUCCESS, "file content");
    assert_slice(r.bill, "eJwLAAAAAAE=");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),        cmocka_unit_test(test_complete),
        cmocka_unit_test(test_unlisted),    cmocka_unit_test(test_call_layer),
        cmocka_unit_test(test_trade_layer), cmocka_unit_test(test_amounts),
        cmocka_unit_test(test_members),     cmocka_unit_test(test_unsigned),
        cmocka_unit_test(test_bill_bodies),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, load, five_teardown);
}
