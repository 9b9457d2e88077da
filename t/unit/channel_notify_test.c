/*
 * Notifications (R3.4): each member that says whose money it is, tampered with alone under an
 * otherwise valid signature; each bit of what is signed; the forms in which XML deceives.
 */
#include "channel_answers.h"

#include "backends/domain/payment.h"

#define SEC USEC_PER_SEC

struct notice {
    enum five channel;
    struct pairs p;
};

/* ------------------------------------------------------------------ genuine ones */

static struct notice paid(enum five i)
{
    struct notice n = {.channel = i};

    if (i == V2)
        PUT(&n.p, "appid", APPID, "bank_type", "CFT", "fee_type", "CNY", "is_subscribe", "Y",
            "mch_id", MCHID, "nonce_str", "5d2b6c2a8db53831f7eda20af46e531c", "openid", "o1",
            "out_trade_no", ORDER_NO, "result_code", "SUCCESS", "return_code", "SUCCESS",
            "time_end", "20260901120003", "total_fee", "888", "coupon_fee_0", "10", "trade_type",
            "JSAPI", "transaction_id", "1004400740201409030005092168", "attach", "");
    if (i == ALI)
        PUT(&n.p, "app_id", ALI_APP, "auth_app_id", ALI_APP, "charset", "utf-8", "notify_id", "n1",
            "notify_type", "trade_status_sync", "out_trade_no", ORDER_NO, "subject",
            "100% a+b&c 测试", "total_amount", "8.88", "gmt_payment", "2026-09-01 12:00:03",
            "trade_no", "2026090122001400001000000001", "trade_status", "TRADE_SUCCESS",
            "seller_id", ALI_SELF, "version", "1.0", "sign_type", "RSA2");
    if (i == UPAY)
        PUT(&n.p, "version", "5.1.0", "encoding", "UTF-8", "signMethod", "01", "txnType", "01",
            "txnSubType", "06", "bizType", "000000", "accessType", "0", "merId", UPAY_MER,
            "orderId", ORDER_NO, "txnTime", "20260901120000", "txnAmt", "888", "currencyCode",
            "156", "queryId", "202609011200000000018", "respCode", "00", "respMsg", "成功[0000000]",
            "settleDate", "0901", "reqReserved", "{a=1}");
    return n;
}

static void sign_notice(struct notice *n)
{
    if (n->channel == V2)
        sign_v2(&n->p);
    else if (n->channel == ALI)
        put(&n->p, "sign", rsa_base64(sorted_text(&n->p, "sign_type")));
    else
        sign_upay(&n->p);
}

static struct slice notice_body(const struct notice *n)
{
    return n->channel == V2 ? xml_of(&n->p) : pairs_of(&n->p, true);
}

static int read_body(enum five i, struct slice body, struct channel_result *r, const char **why)
{
    return channel_notification(five.channel[i], five.account[i], NULL, 0, body, five_now(i),
                                &fx.arena, r, why);
}

static int read_notice(struct notice n, struct channel_result *r, const char **why)
{
    sign_notice(&n);
    return read_body(n.channel, notice_body(&n), r, why);
}

static const enum five senders[] = {V2, ALI, UPAY};

static void test_genuine(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(senders); i++) {
        struct channel_result r;
        const char *why;

        if (read_notice(paid(senders[i]), &r, &why) < 0)
            fail_msg("%s: %s", five_names[senders[i]], why);
        assert_class(r, CLASS_SUCCESS, five_names[senders[i]]);
        assert_true(r.verified);
        assert_int_equal(r.about, CALL_QUERY);
        assert_slice(r.request_no, ORDER_NO);
        assert_int_equal(r.amount, 888);
        assert_slice(r.currency, "CNY");
        assert_true(r.channel_trade_no.n > 0);
    }
}

static void test_alipay_vector(void **state)
{
    struct slice text = file_text("t/vectors/alipay.json");
    const struct json *v;
    struct json_error err;
    struct channel_result r;
    const char *why;

    (void)state;
    assert_int_equal(json_parse(&fx.arena, text, NULL, &v, &err), 0);
    if (read_body(ALI, json_str(v, "alipay_notify.wire_body"), &r, &why) < 0)
        fail_msg("%s", why);
    assert_class(r, CLASS_SUCCESS, "vector");
    assert_int_equal(r.amount, 888);
    assert_true(r.paid_at == NOW + 3 * SEC);
}

/* The sheets' worked answers, with their signatures. */
static void test_answer_vectors(void **state)
{
    struct case_of c = {ALI, CALL_CHARGE, METHOD_BARCODE, 200, SLICE_NULL};
    const struct json *v;
    struct json_error err;
    struct channel_order o = five_order(METHOD_BARCODE);
    struct channel_result r;

    (void)state;
    assert_int_equal(json_parse(&fx.arena, file_text("t/vectors/alipay.json"), NULL, &v, &err), 0);
    r = read_http(&c, raw_http(&c, json_str(v, "alipay_response.raw")));
    assert_class(r, CLASS_USER_PAYING, "alipay 10003");
    assert_true(r.verified);
    assert_int_equal(json_parse(&fx.arena, file_text("t/vectors/unionpay.json"), NULL, &v, &err),
                     0);
    o.request_no = SLICE("20260901120000001");
    r = five_decode(UPAY, CALL_CHARGE, &o, 200, NULL, json_str(v, "unionpay_response.raw_reply"));
    assert_class(r, CLASS_ACCEPTED, "unionpay 00");
    assert_true(r.verified);
    assert_slice(r.channel_trade_no, "202609011200000000018");
}

/* ------------------------------------------------------------------ tampering */

/* Well signed, but of another merchant, app or seller: refused here. */
static void test_identity(void **state)
{
    static const struct {
        enum five channel;
        const char *name, *value;
    } foreign[] = {
        {V2, "appid", "wx0000000000000000"},
        {V2, "mch_id", "1900000110"},
        {ALI, "app_id", "2014072300007149"},
        {ALI, "seller_id", "2088101106499365"},
        {UPAY, "merId", "777290058110049"},
        {V2, "appid", ""},
        {V2, "mch_id", ""},
        {ALI, "app_id", ""},
        {ALI, "seller_id", ""},
        {UPAY, "merId", ""},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(foreign); i++) {
        struct notice n = paid(foreign[i].channel);
        struct channel_result r;
        const char *why = NULL;

        put(&n.p, foreign[i].name, slice_of(foreign[i].value));
        if (read_notice(n, &r, &why) == 0)
            fail_msg("%s of %s=\"%s\" was taken", five_names[n.channel], foreign[i].name,
                     foreign[i].value);
        assert_string_equal(why, "is not for this account");
        assert_int_equal(r.amount, -1);
    }
}

static enum payment_state state_of(const struct channel_result *r, enum payment_input *input)
{
    static const struct payment_policy policy = {.send_window = 5 * SEC,
                                                 .query_first = 120 * SEC,
                                                 .query_interval = 30 * SEC,
                                                 .query_max = 1800 * SEC,
                                                 .soon = 2 * SEC,
                                                 .resend_interval = 3 * SEC,
                                                 .settle = 30 * SEC,
                                                 .not_sent_limit = 3,
                                                 .prepare_resend = true};
    struct payment p = {.id = 1,
                        .slot = 5,
                        .mchid = SLICE("M1"),
                        .out_trade_no = SLICE("N1"),
                        .amount = 888,
                        .currency = SLICE("CNY"),
                        .created_at = NOW,
                        .time_expire = EXPIRE};
    struct payment_event e = {.id = 1, .kind = PAYMENT_EVENT_CREATE};
    struct payment_step step;

    payment_decide(&p, &e, NOW, &policy, &step);
    p = step.after;
    e = (struct payment_event){.id = 2,
                               .kind = PAYMENT_EVENT_NOTIFY,
                               .cls = r->cls,
                               .code = r->code,
                               .channel_trade_no = r->channel_trade_no,
                               .amount = r->amount,
                               .currency = r->currency,
                               .paid_at = r->paid_at};
    payment_decide(&p, &e, NOW + 9 * SEC, &policy, &step);
    *input = step.input;
    return step.after.state;
}

/* Another amount or currency: the order stays as it was, and a person hears of it. */
static void test_amount_currency(void **state)
{
    static const struct {
        enum five channel;
        const char *name, *value;
    } other[] = {
        {V2, "total_fee", "887"},     {V2, "fee_type", "USD"}, {ALI, "total_amount", "8.87"},
        {ALI, "total_amount", "888"}, {UPAY, "txnAmt", "1"},   {UPAY, "currencyCode", "840"},
    };
    enum payment_input input;

    (void)state;
    for (size_t i = 0; i < COUNT(other); i++) {
        struct notice n = paid(other[i].channel);
        struct channel_result r;
        const char *why;

        assert_int_equal(read_notice(n, &r, &why), 0);
        assert_int_equal(state_of(&r, &input), PAYMENT_SUCCEEDED);
        put(&n.p, other[i].name, slice_of(other[i].value));
        assert_int_equal(read_notice(n, &r, &why), 0);
        assert_int_equal(state_of(&r, &input), PAYMENT_PROCESSING);
        assert_string_equal(payment_input_name(input), "NOTIFY_MISMATCH");
    }
}

static void test_malformed_members(void **state)
{
    static const struct {
        enum five channel;
        const char *name, *value;
    } bad[] = {
        {V2, "total_fee", "0"},        {V2, "total_fee", "8.88"},
        {V2, "total_fee", ""},         {V2, "out_trade_no", ""},
        {V2, "fee_type", "yuan"},      {V2, "time_end", "20260230120000"},
        {V2, "transaction_id", ""},    {ALI, "total_amount", "8.888"},
        {ALI, "total_amount", ""},     {ALI, "out_trade_no", ""},
        {ALI, "gmt_payment", "x"},     {UPAY, "txnAmt", "0888"},
        {UPAY, "orderId", ""},         {UPAY, "queryId", ""},
        {UPAY, "currencyCode", "CNY"},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(bad); i++) {
        struct notice n = paid(bad[i].channel);
        struct channel_result r;
        const char *why = NULL;

        put(&n.p, bad[i].name, slice_of(bad[i].value));
        if (read_notice(n, &r, &why) == 0)
            fail_msg("%s with %s=\"%s\" was taken", five_names[n.channel], bad[i].name,
                     bad[i].value);
        assert_string_equal(why, "has a member missing or malformed");
    }
}

/* The order number is the channel's word, so another one is another order's. */
static void test_order_number(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(senders); i++) {
        struct notice n = paid(senders[i]);
        struct channel_result r;
        const char *why;

        put(&n.p, senders[i] == UPAY ? "orderId" : "out_trade_no", SLICE("T202609010002"));
        assert_int_equal(read_notice(n, &r, &why), 0);
        assert_slice(r.request_no, "T202609010002");
    }
}

static struct slice changed(struct slice s, size_t at, char to)
{
    struct slice copy = arena_copy(&fx.arena, s);

    ((char *)(uintptr_t)copy.p)[at] = to;
    return copy;
}

/* Every byte of the body, the signature's own included; but the name of XML's root and the blanks
 * around elements mean nothing. */
static void test_each_byte(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(senders); i++) {
        struct notice n = paid(senders[i]);
        struct slice body;

        sign_notice(&n);
        body = notice_body(&n);
        for (size_t k = 0; k < body.n; k++) {
            struct channel_result r;
            const char *why;

            if (body.p[k] == '\n' || (senders[i] == V2 && k < 5))
                continue;
            if (read_body(senders[i], changed(body, k, body.p[k] == 'x' ? 'y' : 'x'), &r, &why) ==
                0)
                fail_msg("%s: byte %zu, %.20s", five_names[senders[i]], k, body.p + k);
        }
    }
}

static void test_unsigned(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(senders); i++) {
        struct notice n = paid(senders[i]);
        struct channel_result r;
        const char *why = NULL;

        assert_int_equal(read_body(senders[i], notice_body(&n), &r, &why), -1);
        assert_string_equal(why, "not signed");
        assert_int_equal(read_body(senders[i], SLICE(""), &r, &why), -1);
        assert_int_equal(read_body(senders[i], SLICE("{}"), &r, &why), -1);
        assert_int_equal(read_body(senders[i], SLICE("<xml></xml>"), &r, &why), -1);
        assert_int_equal(read_body(senders[i], SLICE("a=b&a=c"), &r, &why), -1);
    }
}

/* One member more, one less: the signature covers what is there, and unknown ones too. */
static void test_more_and_less(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(senders); i++) {
        struct notice n = paid(senders[i]), more;
        struct channel_result r;
        const char *why;

        sign_notice(&n);
        more = n;
        put(&more.p, "zzz", SLICE("1"));
        assert_int_equal(read_body(n.channel, notice_body(&more), &r, &why), -1);
        assert_string_equal(why, "signature does not verify");
        for (size_t k = 0; k < n.p.n; k++) {
            more = n;
            if (more.p.v[k].value.n == 0 || !strcmp(more.p.v[k].name, "sign_type"))
                continue;
            more.p.v[k].value = SLICE_NULL;
            assert_int_equal(read_body(n.channel, notice_body(&more), &r, &why), -1);
        }
    }
}

/* ------------------------------------------------------------------ XML */

static struct slice replaced(struct slice s, const char *from, const char *to)
{
    const char *text = arena_cstr(&fx.arena, s);
    const char *at = strstr(text, from);

    if (!at)
        fail_msg("no %s", from);
    return arena_printf(&fx.arena, "%.*s%s%s", (int)(at - text), text, to, at + strlen(from));
}

static struct slice utf16(struct slice s)
{
    struct buf b;

    buf_init(&b, 1 << 20);
    buf_add(&b, "\xff\xfe", 2);
    for (size_t i = 0; i < s.n; i++) {
        buf_add_char(&b, s.p[i]);
        buf_add_char(&b, '\0');
    }
    return kept(&b);
}

static void test_xml(void **state)
{
    static const struct {
        const char *name, *from, *to;
    } cases[] = {
        {"DOCTYPE", "<xml>", "<!DOCTYPE xml><xml>"},
        {"external entity", "<xml>",
         "<!DOCTYPE x [<!ENTITY e SYSTEM \"file:///etc/passwd\">]><xml>"},
        {"entity of its own", "<![CDATA[888]]>", "&amount;"},
        {"CDATA in two pieces", "<![CDATA[888]]>", "<![CDATA[88]]><![CDATA[8]]>"},
        {"CDATA beside text", "<![CDATA[888]]>", "8<![CDATA[88]]>"},
        {"element twice", "<total_fee>", "<total_fee>888</total_fee><total_fee>"},
        {"comment", "<![CDATA[888]]>", "<!-- -->888"},
        {"attribute", "<total_fee>", "<total_fee a=\"1\">"},
        {"instruction", "<total_fee>", "<?x?><total_fee>"},
        {"depth", "<![CDATA[888]]>", "<a><b><c><d><e>888</e></d></c></b></a>"},
        {"nested", "<![CDATA[888]]>", "<a>888</a>"},
        {"encoding", "<xml>", "<?xml version=\"1.0\" encoding=\"GBK\"?><xml>"},
        {"two documents", "</xml>", "</xml><xml></xml>"},
        {"not closed", "</xml>", ""},
        {"not UTF-8", "JSAPI", "JS\xff\xfe"},
    };
    struct notice n = paid(V2);
    struct channel_result r;
    struct slice body;
    const char *why;

    (void)state;
    sign_notice(&n);
    body = notice_body(&n);
    assert_int_equal(read_body(V2, body, &r, &why), 0);
    for (size_t i = 0; i < COUNT(cases); i++)
        if (read_body(V2, replaced(body, cases[i].from, cases[i].to), &r, &why) == 0)
            fail_msg("taken: %s", cases[i].name);
    assert_int_equal(read_body(V2, utf16(body), &r, &why), -1);
    /* what means the same is the same */
    assert_int_equal(read_body(V2, replaced(body, "<![CDATA[888]]>", "888"), &r, &why), 0);
    assert_int_equal(read_body(V2, replaced(body, "<![CDATA[888]]>", "&#56;88"), &r, &why), 0);
    assert_int_equal(r.amount, 888);
}

/* ------------------------------------------------------------------ refunds, reversals, others */

/* Nobody signs v2's refund notification: sealed or not, it only wakes. */
static void test_v2_refund(void **state)
{
    const struct json *v;
    struct json_error err;
    struct notice n = {.channel = V2};
    struct channel_result r;
    const char *why;

    (void)state;
    assert_int_equal(json_parse(&fx.arena, file_text("t/vectors/wechat_v2.json"), NULL, &v, &err),
                     0);
    PUT(&n.p, "return_code", "SUCCESS", "appid", APPID, "mch_id", MCHID, "nonce_str", "x");
    put(&n.p, "req_info", json_str(v, "wechat_v2_req_info.req_info"));
    if (read_body(V2, xml_of(&n.p), &r, &why) < 0)
        fail_msg("%s", why);
    assert_class(r, CLASS_UNKNOWN, "hint");
    assert_false(r.verified);
    assert_int_equal(r.about, CALL_REFUND_QUERY);
    assert_slice(r.refund_no, "R1");
    assert_slice(r.code, "SUCCESS");
    put(&n.p, "mch_id", SLICE("1900000110"));
    assert_int_equal(read_body(V2, xml_of(&n.p), &r, &why), -1);
    put(&n.p, "mch_id", SLICE(MCHID));
    put(&n.p, "req_info", SLICE("w+pz7KAYyq6xXhbWxqPjww=="));
    assert_int_equal(read_body(V2, xml_of(&n.p), &r, &why), -1);
    assert_string_equal(why, "cannot be decrypted");
}

static void test_other_kinds(void **state)
{
    struct notice n = paid(ALI);
    struct channel_result r;
    const char *why;

    (void)state;
    PUT(&n.p, "refund_fee", "3.00", "gmt_refund", "2026-09-01 13:00:00", "out_biz_no", REFUND_NO);
    assert_int_equal(read_notice(n, &r, &why), 0);
    assert_int_equal(r.about, CALL_REFUND_QUERY);
    assert_class(r, CLASS_ACCEPTED, "alipay tells the sum of all refunds");
    assert_slice(r.refund_no, REFUND_NO);
    n = paid(UPAY);
    PUT(&n.p, "txnType", "04", "orderId", REFUND_NO, "txnAmt", "300");
    assert_int_equal(read_notice(n, &r, &why), 0);
    assert_int_equal(r.about, CALL_REFUND_QUERY);
    assert_class(r, CLASS_SUCCESS, "unionpay refund");
    assert_int_equal(r.refund_amount, 300);
    assert_int_equal(r.amount, -1);
    put(&n.p, "txnType", SLICE("99"));
    assert_int_equal(read_notice(n, &r, &why), 0);
    assert_int_equal(r.about, CALL_REVERSE);
    put(&n.p, "txnType", SLICE("72"));
    assert_int_equal(read_notice(n, &r, &why), 0);
    assert_class(r, CLASS_UNKNOWN, "a kind nobody knows");
    assert_slice(r.code, "72");
    assert_null(r.request_no.p);
    /* states that decide nothing */
    n = paid(ALI);
    put(&n.p, "trade_status", SLICE("TRADE_CLOSED"));
    assert_int_equal(read_notice(n, &r, &why), 0);
    assert_class(r, CLASS_UNKNOWN, "unpaid, or given back");
    n = paid(UPAY);
    put(&n.p, "respCode", SLICE("05"));
    assert_int_equal(read_notice(n, &r, &why), 0);
    assert_class(r, CLASS_UNKNOWN, "unionpay 05");
}

/* ------------------------------------------------------------------ UnionPay's certificate */

static struct channel_account *upay_account(const char *name, const char *roots)
{
    return new_account(five.channel[UPAY],
                       PAIRS("mer_id", UPAY_MER, "cert_id", UPAY_CERT, "sign_name", name),
                       PAIRS("private_key", "@t/vectors/merchant.key.pem", "acp_roots", roots));
}

static int read_with(struct channel_account *a, struct slice body, pay_time_t now, const char **why)
{
    struct channel_result r;

    return channel_notification(five.channel[UPAY], a, NULL, 0, body, now, &fx.arena, &r, why);
}

static void test_certificate(void **state)
{
    struct channel_account *other = upay_account("00040000", "@t/vectors/acp_root.crt.pem");
    struct channel_account *ours = upay_account("00040000:SIGN", "@t/vectors/acp_root.crt.pem");
    const int64_t year = 366LL * 86400 * SEC;
    struct notice n = paid(UPAY), foreign;
    const char *why;

    (void)state;
    sign_notice(&n);
    assert_int_equal(read_with(ours, notice_body(&n), UPAY_NOW, &why), 0);
    assert_int_equal(read_with(ours, notice_body(&n), UPAY_NOW + 2 * SEC, &why), 0);
    /* remembered is the certificate, not the trust: time is looked at again */
    assert_int_equal(read_with(ours, notice_body(&n), NOW, &why), -1);
    assert_string_equal(why, "certificate does not chain to the account's, or is out of date");
    assert_int_equal(read_with(ours, notice_body(&n), UPAY_NOW + 21 * year, &why), -1);
    assert_int_equal(read_with(ours, notice_body(&n), UPAY_NOW, &why), 0);
    assert_int_equal(read_with(other, notice_body(&n), UPAY_NOW, &why), -1);
    assert_string_equal(why, "certificate is not of the expected name");
    /* somebody's own certificate, with a signature that fits it */
    foreign = paid(UPAY);
    five.upay_cert = file_text("t/vectors/merchant.crt.pem");
    sign_notice(&foreign);
    five.upay_cert = file_text("t/vectors/channel_acp.crt.pem");
    assert_int_equal(read_with(ours, notice_body(&foreign), UPAY_NOW, &why), -1);
    foreign = paid(UPAY);
    sign_notice(&foreign);
    put(&foreign.p, "signPubKeyCert", SLICE("x"));
    assert_int_equal(read_with(ours, notice_body(&foreign), UPAY_NOW, &why), -1);
    channel_account_free(other);
    channel_account_free(ours);
}

static void test_acks(void **state)
{
    static const struct {
        enum five channel;
        const char *body;
    } good[] = {
        {V2, "<xml><return_code><![CDATA[SUCCESS]]></return_code><return_msg><![CDATA[OK]]>"
             "</return_msg></xml>"},
        {ALI, "success"},
        {UPAY, "ok"},
    };
    struct channel_ack ack;

    (void)state;
    for (size_t i = 0; i < COUNT(good); i++) {
        channel_ack(five.channel[good[i].channel], true, &ack);
        assert_int_equal(ack.status, 200);
        assert_slice(ack.body, good[i].body);
        channel_ack(five.channel[good[i].channel], false, &ack);
        assert_int_equal(ack.status, 500);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_genuine),
        cmocka_unit_test(test_alipay_vector),
        cmocka_unit_test(test_answer_vectors),
        cmocka_unit_test(test_identity),
        cmocka_unit_test(test_amount_currency),
        cmocka_unit_test(test_malformed_members),
        cmocka_unit_test(test_order_number),
        cmocka_unit_test(test_each_byte),
        cmocka_unit_test(test_unsigned),
        cmocka_unit_test(test_more_and_less),
        cmocka_unit_test(test_xml),
        cmocka_unit_test(test_v2_refund),
        cmocka_unit_test(test_other_kinds),
        cmocka_unit_test(test_certificate),
        cmocka_unit_test(test_acks),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, five_setup, five_teardown);
}
