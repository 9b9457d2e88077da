#include "channel_test.h"

static const struct json *vectors;

static struct slice vec(const char *path)
{
    struct slice s = json_str(vectors, path);

    if (!s.p)
        fail_msg("no vector %s", path);
    return s;
}

static int load(void **state)
{
    struct json_error err;

    if (setup(state) < 0)
        return -1;
    return json_parse(&fx.arena, file_text("t/vectors/wechat_v3.json"), NULL, &vectors, &err);
}

/* ------------------------------------------------------------------ requests */

static struct channel_request encode(const struct channel_order *order, enum call_kind kind)
{
    struct channel_request r;
    const char *why;

    if (channel_encode(fx.wechat, fx.wechat_account, kind, order, NOW, SLICE(NONCE), &fx.arena, &r,
                       &why) < 0)
        fail_msg("%s", why);
    return r;
}

static struct slice header(const struct channel_request *r, const char *name)
{
    size_t n;
    struct slice v = http_find(r->headers, r->nheaders, name, &n);

    assert_true(n <= 1);
    return v;
}

static void test_query_vector(void **state)
{
    struct channel_order order = an_order();
    struct channel_request r = encode(&order, CALL_QUERY);
    struct slice want = arena_printf(&fx.arena,
                                     "WECHATPAY2-SHA256-RSA2048 mchid=\"" MCHID
                                     "\",nonce_str=\"" NONCE "\",timestamp=\"1788235200\","
                                     "serial_no=\"" MERCHANT_SERIAL "\",signature=\"%.*s\"",
                                     SLICE_FMT(vec("wechat_v3_get.signature")));

    (void)state;
    assert_slice(r.method, "GET");
    assert_slice(r.target, "/v3/pay/transactions/out-trade-no/" ORDER_NO "?mchid=" MCHID);
    assert_int_equal(r.body.n, 0);
    assert_slice(r.egress_kind, "query");
    assert_true(slice_eq(header(&r, "Authorization"), want));
    assert_slice(header(&r, "Accept"), "application/json");
    assert_true(header(&r, "User-Agent").n > 0);
    assert_slice(header(&r, "Wechatpay-Serial"), SERIAL_1);
    assert_null(header(&r, "Content-Type").p);
}

/* The signature of r as WeChat would check it. */
static int check_authorization(const struct channel_request *r)
{
    struct slice parts[SCHEME_PARTS];
    struct authorization auth;
    struct verify_key pub;
    const char *why;
    size_t n;
    int rc;

    if (authorization_parse(header(r, "Authorization"), &auth, &why) < 0)
        fail_msg("%s", why);
    assert_slice(auth.mchid, MCHID);
    assert_slice(auth.serial_no, MERCHANT_SERIAL);
    assert_int_equal(auth.timestamp_s, NOW_S);
    n = scheme_request_parts(r->method, r->target, auth.timestamp, auth.nonce_str, r->body, parts);
    assert_int_equal(verify_key_load(&pub, KEY_RSA_SHA256, file_text("t/vectors/merchant.pub.pem")),
                     0);
    rc = scheme_verify(&pub, parts, n, auth.signature);
    verify_key_release(&pub);
    return rc;
}

static void test_native_body(void **state)
{
    struct channel_order order = an_order();
    struct channel_request r;

    (void)state;
    order.attach = SLICE("a\"b\\");
    r = encode(&order, CALL_PREPARE);
    assert_slice(r.method, "POST");
    assert_slice(r.target, "/v3/pay/transactions/native");
    assert_slice(r.egress_kind, "pay");
    assert_slice(header(&r, "Content-Type"), "application/json");
    assert_slice(r.body,
                 "{\"appid\":\"" APPID "\",\"mchid\":\"" MCHID "\",\"description\":\"测试\","
                 "\"out_trade_no\":\"" ORDER_NO "\",\"time_expire\":\"2026-09-01T14:00:00+08:00\","
                 "\"attach\":\"a\\\"b\\\\\","
                 "\"notify_url\":\"https://127.0.0.1:9443/notify/wechat/main\","
                 "\"amount\":{\"total\":888,\"currency\":\"CNY\"}}");
    assert_int_equal(check_authorization(&r), 0);
}

static void test_optional_members(void **state)
{
    struct channel_order order = an_order();
    struct channel_request r;

    (void)state;
    order.time_expire = 0;
    r = encode(&order, CALL_PREPARE);
    assert_false(slice_contains(r.body, SLICE("attach")));
    assert_false(slice_contains(r.body, SLICE("time_expire")));
}

static void test_close_body(void **state)
{
    struct channel_order order = an_order();
    struct channel_request r = encode(&order, CALL_CLOSE);

    (void)state;
    assert_slice(r.method, "POST");
    assert_slice(r.target, "/v3/pay/transactions/out-trade-no/" ORDER_NO "/close");
    assert_slice(r.body, "{\"mchid\":\"" MCHID "\"}");
    assert_slice(r.egress_kind, "close");
    assert_int_equal(check_authorization(&r), 0);
}

/* 127 characters of text stay, the 128th goes; never half of one. */
static void test_description_is_cut(void **state)
{
    struct channel_order order = an_order();
    struct channel_request r;
    char text[3 * 128 + 1] = "";
    const struct json *body;
    struct json_error err;

    (void)state;
    for (int i = 0; i < 128; i++)
        memcpy(text + 3 * i, "支", 3);
    order.description = slice_n(text, 3 * 128);
    r = encode(&order, CALL_PREPARE);
    assert_int_equal(json_parse(&fx.arena, r.body, NULL, &body, &err), 0);
    assert_int_equal(json_str(body, "description").n, 3 * 127);
}

static void refused(const struct channel_order *order, enum call_kind kind, struct slice nonce,
                    const char *want)
{
    struct channel_request r;
    const char *why = NULL;

    assert_int_equal(
        channel_encode(fx.wechat, fx.wechat_account, kind, order, NOW, nonce, &fx.arena, &r, &why),
        -1);
    assert_string_equal(why, want);
}

static void test_encode_refusals(void **state)
{
    struct channel_order order = an_order();

    (void)state;
    order.request_no = SLICE("123456789012345678901234567890123");
    refused(&order, CALL_PREPARE, SLICE(NONCE), "out_trade_no: value is too long or malformed");
    order = an_order();
    order.request_no = SLICE_NULL;
    refused(&order, CALL_PREPARE, SLICE(NONCE), "out_trade_no: no value");
    refused(&order, CALL_QUERY, SLICE(NONCE), "a value of the request's path is missing");
    order = an_order();
    order.description = SLICE("\xff\xfe");
    refused(&order, CALL_PREPARE, SLICE(NONCE), "description: value is too long or malformed");
    order.description = SLICE_NULL;
    refused(&order, CALL_PREPARE, SLICE(NONCE), "description: no value");
    order = an_order();
    order.amount = 0;
    refused(&order, CALL_PREPARE, SLICE(NONCE), "amount must be positive");
    order = an_order();
    refused(&order, CALL_PREPARE, SLICE("short"), "nonce must be 32 letters and digits");
    refused(&order, CALL_PREPARE, SLICE("593BEC0C930BF1AFEB40B4A08C8FB24\n"),
            "nonce must be 32 letters and digits");
    order.method = METHOD_BARCODE;
    refused(&order, CALL_PREPARE, SLICE(NONCE), "the adapter has no such call");
}

/* What would end a path's part or add a parameter is encoded. */
static void test_target_is_encoded(void **state)
{
    struct channel_order order = an_order();
    struct channel_request r;

    (void)state;
    order.request_no = SLICE("a/b?c&d|e*f g");
    r = encode(&order, CALL_QUERY);
    assert_slice(r.target, "/v3/pay/transactions/out-trade-no/"
                           "a%2Fb%3Fc%26d%7Ce%2Af%20g?mchid=" MCHID);
}

/* ------------------------------------------------------------------ answers: signature */

#define REPLY_NOW (1788235201 * USEC_PER_SEC)

static struct signed_headers vector_headers(const char *name)
{
    char path[64];
    struct slice signature;

    snprintf(path, sizeof(path), "%s.signature", name);
    signature = vec(path);
    return wechat_headers(SLICE("1788235201"), SLICE("c5ac7061fccab6bf3e254dcf98995b8c"),
                          SLICE(SERIAL_1), signature);
}

static void test_response_vector(void **state)
{
    struct signed_headers h = vector_headers("wechat_v3_response");
    struct channel_result r =
        decode_at(fx.wechat, CALL_PREPARE, 200, &h, vec("wechat_v3_response.body"), REPLY_NOW);

    (void)state;
    assert_class(r, CLASS_ACCEPTED, "vector");
    assert_true(r.verified);
    assert_slice(r.code_url, "weixin://wxpay/bizpayurl?pr=abc");
    assert_int_equal(r.amount, -1);
}

static void test_response_204_vector(void **state)
{
    struct signed_headers h = vector_headers("wechat_v3_response_204");
    struct channel_result r = decode_at(fx.wechat, CALL_CLOSE, 204, &h, SLICE_NULL, REPLY_NOW);

    (void)state;
    assert_class(r, CLASS_CLOSED, "vector");
    assert_true(r.verified);
    /* the same bytes with another status are not a close */
    r = decode_at(fx.wechat, CALL_CLOSE, 200, &h, SLICE_NULL, REPLY_NOW);
    assert_class(r, CLASS_UNKNOWN, "200 without body");
    r = decode_at(fx.wechat, CALL_CLOSE, 204, &h, SLICE("{}"), REPLY_NOW);
    assert_class(r, CLASS_UNKNOWN, "204 with body");
}

static void not_believed(enum call_kind kind, int status, struct signed_headers h,
                         struct slice body, pay_time_t now, const char *what)
{
    struct channel_result r = decode_at(fx.wechat, kind, status, &h, body, now);

    assert_class(r, CLASS_UNKNOWN, what);
    assert_false(r.verified);
    assert_null(r.code_url.p);
    assert_slice(r.code, "signature");
}

static struct slice flip(struct slice s, size_t at)
{
    struct slice copy = arena_copy(&fx.arena, s);

    ((char *)(uintptr_t)copy.p)[at] ^= 1;
    return copy;
}

/* Every way to spoil the headers of a good answer. */
static void spoil(enum call_kind kind, int status, const char *vector, struct slice body)
{
    static const char *const names[] = {"Wechatpay-Timestamp", "Wechatpay-Nonce",
                                        "Wechatpay-Serial", "Wechatpay-Signature"};
    struct signed_headers good = vector_headers(vector);
    struct signed_headers h;

    for (size_t i = 0; i < COUNT(names); i++) {
        h = good;
        *header_value(&h, names[i]) = flip(*header_value(&good, names[i]), 3);
        not_believed(kind, status, h, body, REPLY_NOW, names[i]);
        h = good;
        *header_value(&h, names[i]) = SLICE("");
        not_believed(kind, status, h, body, REPLY_NOW, names[i]);
        h = good;
        add_header(&h, names[i], *header_value(&good, names[i]));
        not_believed(kind, status, h, body, REPLY_NOW, "header twice");
        h = good;
        rename_header(&h, names[i], "X-Other");
        not_believed(kind, status, h, body, REPLY_NOW, "header missing");
    }
    h = good;
    *header_value(&h, "Wechatpay-Signature") = arena_printf(
        &fx.arena, "WECHATPAY/SIGNTEST/%.*s", SLICE_FMT(*header_value(&good, names[3])));
    not_believed(kind, status, h, body, REPLY_NOW, "probe");
    h = good;
    *header_value(&h, "Wechatpay-Serial") = SLICE(SERIAL_2);
    not_believed(kind, status, h, body, REPLY_NOW, "serial of the other key");
    h = good;
    *header_value(&h, "Wechatpay-Timestamp") = SLICE("+1788235201");
    not_believed(kind, status, h, body, REPLY_NOW, "timestamp with a sign");
    h = good;
    *header_value(&h, "Wechatpay-Timestamp") = SLICE("99999999999999999999");
    not_believed(kind, status, h, body, REPLY_NOW, "timestamp overflows");
    h = (struct signed_headers){.n = 0};
    not_believed(kind, status, h, body, REPLY_NOW, "not signed");
}

static void test_spoilt_answers(void **state)
{
    struct slice body = vec("wechat_v3_response.body");
    struct signed_headers good = vector_headers("wechat_v3_response");

    (void)state;
    spoil(CALL_PREPARE, 200, "wechat_v3_response", body);
    spoil(CALL_CLOSE, 204, "wechat_v3_response_204", SLICE_NULL);
    for (size_t i = 0; i < body.n; i++)
        not_believed(CALL_PREPARE, 200, good, flip(body, i), REPLY_NOW, "body");
    not_believed(CALL_PREPARE, 200, good, slice_n(body.p, body.n - 1), REPLY_NOW, "body cut");
    not_believed(CALL_PREPARE, 200, vector_headers("wechat_v3_response_204"), body, REPLY_NOW,
                 "signature of another answer");
}

static void test_window(void **state)
{
    struct signed_headers h = vector_headers("wechat_v3_response");
    struct slice body = vec("wechat_v3_response.body");
    const int64_t s = USEC_PER_SEC;

    (void)state;
    assert_class(decode_at(fx.wechat, CALL_PREPARE, 200, &h, body, REPLY_NOW + 300 * s),
                 CLASS_ACCEPTED, "300 s old");
    assert_class(decode_at(fx.wechat, CALL_PREPARE, 200, &h, body, REPLY_NOW - 300 * s),
                 CLASS_ACCEPTED, "300 s early");
    not_believed(CALL_PREPARE, 200, h, body, REPLY_NOW + 301 * s, "301 s old");
    not_believed(CALL_PREPARE, 200, h, body, REPLY_NOW - 301 * s, "301 s early");
    not_believed(CALL_PREPARE, 200, h, body, 0, "no clock");
}

static void test_rotation(void **state)
{
    struct slice body = vec("wechat_v3_response.body");
    struct signed_headers h = wechat_sign_as(&fx.platform_2, SERIAL_2, NOW_S, body);
    struct channel_account *alone;
    struct channel_order order = an_order();
    struct channel_result r;

    (void)state;
    assert_class(decode_at(fx.wechat, CALL_PREPARE, 200, &h, body, NOW), CLASS_ACCEPTED, "second");
    h = wechat_sign_as(&fx.platform_2, SERIAL_1, NOW_S, body);
    not_believed(CALL_PREPARE, 200, h, body, NOW, "second key under the first's serial");
    alone = new_account(fx.wechat,
                        PAIRS("mchid", MCHID, "appid", APPID, "serial_no", MERCHANT_SERIAL,
                              "platform_serial", SERIAL_1),
                        PAIRS("private_key", "@t/vectors/merchant.key.pem", "api_v3_key",
                              API_V3_KEY, "platform_key", "@t/vectors/channel.pub.pem"));
    h = wechat_sign_as(&fx.platform_2, SERIAL_2, NOW_S, body);
    channel_decode(fx.wechat, alone, CALL_PREPARE, &order, 200, h.h, h.n, body, NOW, &fx.arena, &r);
    assert_class(r, CLASS_UNKNOWN, "key the account does not have");
    h = wechat_sign(body);
    channel_decode(fx.wechat, alone, CALL_PREPARE, &order, 200, h.h, h.n, body, NOW, &fx.arena, &r);
    assert_class(r, CLASS_ACCEPTED, "only key");
    channel_account_free(alone);
}

static void test_signature_type(void **state)
{
    struct slice body = vec("wechat_v3_response.body");
    struct signed_headers h = vector_headers("wechat_v3_response");

    (void)state;
    add_header(&h, "Wechatpay-Signature-Type", SLICE("WECHATPAY2-SHA256-RSA2048"));
    assert_class(decode_at(fx.wechat, CALL_PREPARE, 200, &h, body, REPLY_NOW), CLASS_ACCEPTED,
                 "type");
    *header_value(&h, "Wechatpay-Signature-Type") = SLICE("WECHATPAY2-SM2-WITH-SM3");
    not_believed(CALL_PREPARE, 200, h, body, REPLY_NOW, "other type");
    *header_value(&h, "Wechatpay-Signature-Type") = SLICE("WECHATPAY2-SHA256-RSA2048X");
    not_believed(CALL_PREPARE, 200, h, body, REPLY_NOW, "type with a tail");
}

/* Some of the headers are not none: such an error is not believed as an unsigned one would be. */
static void test_half_signed_error(void **state)
{
    struct slice body = SLICE("{\"code\":\"FREQUENCY_LIMITED\"}");
    struct signed_headers h = wechat_sign(body);

    (void)state;
    assert_class(decode_at(fx.wechat, CALL_QUERY, 429, &h, body, NOW), CLASS_TOO_FREQUENT, "whole");
    rename_header(&h, "Wechatpay-Signature", "X-Other");
    not_believed(CALL_QUERY, 429, h, body, NOW, "half");
}

static void test_signed_204_with_body(void **state)
{
    (void)state;
    assert_class(decode_signed(fx.wechat, CALL_CLOSE, 204, "{}"), CLASS_UNKNOWN, "204 with body");
}

/* ------------------------------------------------------------------ answers: trade */

#define PAID                                                                                       \
    "{\"appid\":\"" APPID "\",\"mchid\":\"" MCHID "\",\"out_trade_no\":\"" ORDER_NO "\","          \
    "\"transaction_id\":\"4200000001202609011234567890\",\"trade_type\":\"NATIVE\","               \
    "\"trade_state\":\"SUCCESS\",\"trade_state_desc\":\"支付成功\",\"bank_type\":\"OTHERS\","  \
    "\"attach\":\"\",\"success_time\":\"2026-09-01T12:00:00+08:00\",\"payer\":{\"openid\":"        \
    "\"o1\"},\"amount\":{\"total\":888,\"payer_total\":800,\"currency\":\"CNY\","                  \
    "\"payer_currency\":\"CNY\"}}"

static void test_query_paid(void **state)
{
    struct channel_result r = decode_signed(fx.wechat, CALL_QUERY, 200, PAID);

    (void)state;
    assert_class(r, CLASS_SUCCESS, "paid");
    assert_true(r.verified);
    assert_slice(r.code, "SUCCESS");
    assert_slice(r.message, "支付成功");
    assert_slice(r.request_no, ORDER_NO);
    assert_slice(r.channel_trade_no, "4200000001202609011234567890");
    assert_int_equal(r.amount, 888);
    assert_slice(r.currency, "CNY");
    assert_int_equal(r.paid_at, 1788235200 * USEC_PER_SEC);
}

/* PAID with one text replaced by another. */
static const char *changed(const char *from, const char *to)
{
    const char *at = strstr(PAID, from);
    struct slice s;

    if (!at)
        fail_msg("no %s in the sample", from);
    s = arena_printf(&fx.arena, "%.*s%s%s", (int)(at - PAID), PAID, to, at + strlen(from));
    return s.p;
}

static void test_query_mismatch(void **state)
{
    static const char *const cases[][2] = {
        {"\"mchid\":\"" MCHID "\"", "\"mchid\":\"1900000108\""},
        {"\"mchid\":\"" MCHID "\"", "\"mchid\":1900000109"},
        {"\"mchid\":\"" MCHID "\",", ""},
        {"\"appid\":\"" APPID "\"", "\"appid\":\"wx8888888888888889\""},
        {"\"appid\":\"" APPID "\",", ""},
        {"\"out_trade_no\":\"" ORDER_NO "\"", "\"out_trade_no\":\"T202609010002\""},
        {"\"out_trade_no\":\"" ORDER_NO "\"", "\"out_trade_no\":\"t202609010001\""},
        {"\"out_trade_no\":\"" ORDER_NO "\",", ""},
        {"\"out_trade_no\":\"" ORDER_NO "\"", "\"out_trade_no\":null"},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct channel_result r =
            decode_signed(fx.wechat, CALL_QUERY, 200, changed(cases[i][0], cases[i][1]));

        assert_class(r, CLASS_UNKNOWN, cases[i][1]);
        assert_slice(r.code, "mismatch");
        assert_true(r.verified);
        assert_int_equal(r.amount, -1); /* nothing of a stranger's order leaks */
        assert_null(r.channel_trade_no.p);
    }
}

/* A "success" that is not whole is none. */
static void test_query_not_whole(void **state)
{
    static const char *const cases[][2] = {
        {"\"total\":888", "\"total\":\"888\""},
        {"\"total\":888", "\"total\":888.0"},
        {"\"total\":888", "\"total\":8.88e2"},
        {"\"total\":888", "\"total\":-888"},
        {"\"total\":888", "\"total\":0"},
        {"\"total\":888", "\"total\":9223372036854775808"},
        {"\"total\":888,", ""},
        {"\"currency\":\"CNY\",", ""},
        {"\"currency\":\"CNY\"", "\"currency\":\"cny\""},
        {"\"currency\":\"CNY\"", "\"currency\":\"CNYY\""},
        {"\"transaction_id\":\"4200000001202609011234567890\",", ""},
        {"\"transaction_id\":\"4200000001202609011234567890\"", "\"transaction_id\":\"\""},
        {"2026-09-01T12:00:00+08:00", "yesterday"},
        {"\"trade_state\":\"SUCCESS\",", ""},
        {"\"trade_state\":\"SUCCESS\"", "\"trade_state\":null"},
        {"\"trade_state\":\"SUCCESS\"", "\"trade_state\":[\"SUCCESS\"]"},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct channel_result r =
            decode_signed(fx.wechat, CALL_QUERY, 200, changed(cases[i][0], cases[i][1]));

        assert_class(r, CLASS_UNKNOWN, cases[i][1]);
        assert_slice(r.code, "parse");
        assert_int_equal(r.amount, -1);
    }
    assert_class(decode_signed(fx.wechat, CALL_QUERY, 200, changed("SUCCESS", "success")),
                 CLASS_UNKNOWN, "other spelling of a state");
    /* a missing time is not worth doubting a signed payment */
    assert_class(decode_signed(fx.wechat, CALL_QUERY, 200,
                               changed("\"success_time\":\"2026-09-01T12:00:00+08:00\",", "")),
                 CLASS_SUCCESS, "no success_time");
}

/* Also where nothing is concluded from the amount. */
static void test_query_unpaid_not_whole(void **state)
{
    const char *unpaid = changed("\"SUCCESS\"", "\"NOTPAY\"");
    struct channel_result r = decode_signed(fx.wechat, CALL_QUERY, 200, unpaid);
    const char *at = strstr(unpaid, "\"total\":888") + 8;

    (void)state;
    assert_class(r, CLASS_ACCEPTED, "unpaid");
    r = decode_signed(fx.wechat, CALL_QUERY, 200,
                      arena_printf(&fx.arena, "%.*s-888%s", (int)(at - unpaid), unpaid, at + 3).p);
    assert_class(r, CLASS_UNKNOWN, "negative amount");
    assert_slice(r.code, "parse");
    r = decode_signed(fx.wechat, CALL_QUERY, 200, changed("\"SUCCESS\"", "\"NOT\\nPAY\""));
    assert_class(r, CLASS_UNKNOWN, "control character in a state");
    assert_slice(r.code, "parse");
}

static void test_prepare_not_whole(void **state)
{
    static const char *const bodies[] = {
        "",
        "{}",
        "[]",
        "null",
        "\"x\"",
        "{\"code_url\":\"\"}",
        "{\"code_url\":null}",
        "{\"code_url\":1}",
        "{\"code_url\":\"a\\nb\"}",
        "{\"code_url\":\"a\"} x",
        "{\"code_url\":\"a\",\"code_url\":\"a\"}",
        "{\"code_url\":\"a\"",
        "<html>",
        "{\"code_url\":\"a\",\"code\":\"PARAM_ERROR\"}",
        "{\"code\":\"PARAM_ERROR\"}",
        "{\"code_url\":\"a\\u0000b\"}",
    };

    (void)state;
    for (size_t i = 0; i < COUNT(bodies); i++) {
        struct channel_result r = decode_signed(fx.wechat, CALL_PREPARE, 200, bodies[i]);

        assert_class(r, CLASS_UNKNOWN, bodies[i]);
        assert_null(r.code_url.p);
        assert_true(r.code.n > 0);
    }
}

/* ------------------------------------------------------------------ notifications */

#define NOTIFY_NOW (1788235202 * USEC_PER_SEC)

static struct signed_headers notify_headers(void)
{
    return wechat_headers(SLICE("1788235202"), SLICE("Edsrx0FsDqMjNIdIVkTsVgWwqKMxZoMt"),
                          SLICE(SERIAL_1), vec("wechat_v3_notify.signature"));
}

static int notify(const struct channel_account *a, const struct signed_headers *h,
                  struct slice body, struct channel_result *r, const char **why)
{
    *why = NULL;
    return channel_notification(fx.wechat, a, h->h, h->n, body, NOTIFY_NOW, &fx.arena, r, why);
}

static void refuse(struct signed_headers h, struct slice body, const char *want)
{
    struct channel_result r;
    const char *why;

    assert_int_equal(notify(fx.wechat_account, &h, body, &r, &why), -1);
    assert_string_equal(why, want);
    assert_int_equal(r.cls, CLASS_UNKNOWN);
    assert_false(r.verified);
    assert_null(r.request_no.p);
}

static void test_notification_vector(void **state)
{
    struct signed_headers h = notify_headers();
    struct channel_result r;
    const char *why;

    (void)state;
    add_header(&h, "Wechatpay-Signature-Type", SLICE("WECHATPAY2-SHA256-RSA2048"));
    if (notify(fx.wechat_account, &h, vec("wechat_v3_notify.body"), &r, &why) < 0)
        fail_msg("%s", why);
    assert_class(r, CLASS_SUCCESS, "vector");
    assert_true(r.verified);
    assert_slice(r.request_no, ORDER_NO);
    assert_slice(r.channel_trade_no, "4200000001202609011234567890");
    assert_int_equal(r.amount, 888);
    assert_slice(r.currency, "CNY");
    assert_int_equal(r.paid_at, 1788235200 * USEC_PER_SEC);
}

static void test_notification_spoilt(void **state)
{
    struct signed_headers good = notify_headers(), h;
    struct slice body = vec("wechat_v3_notify.body");
    const char *bad = "signature does not verify";

    (void)state;
    for (size_t i = 0; i < body.n; i += 7)
        refuse(good, flip(body, i), bad);
    h = good;
    *header_value(&h, "Wechatpay-Timestamp") = SLICE("1788235203");
    refuse(h, body, bad);
    *header_value(&h, "Wechatpay-Timestamp") = SLICE("1788234901");
    refuse(h, body, "timestamp is outside of the window");
    h = good;
    *header_value(&h, "Wechatpay-Nonce") = flip(*header_value(&good, "Wechatpay-Nonce"), 0);
    refuse(h, body, bad);
    h = good;
    *header_value(&h, "Wechatpay-Signature") =
        flip(*header_value(&good, "Wechatpay-Signature"), 10);
    refuse(h, body, bad);
    h = good;
    *header_value(&h, "Wechatpay-Serial") = SLICE("7132D72A03E93CDDF8C03BBD1F37EEDF00000001");
    refuse(h, body, "serial is not one of the account's");
    h = good;
    *header_value(&h, "Wechatpay-Signature") = SLICE("WECHATPAY/SIGNTEST/abcd");
    refuse(h, body, "signature is a probe of the channel");
    h = (struct signed_headers){.n = 0};
    refuse(h, body, "not signed");
    add_header(&h, "Wechatpay-Signature-Type", SLICE("WECHATPAY2-SHA256-RSA2048"));
    refuse(h, body, "signature headers are incomplete or malformed");
}

/* A well signed envelope around a plain text. */
static struct slice seal(const char *plain, const char *key, const char *nonce, const char *aad,
                         const char *event)
{
    struct buf sealed, text;
    struct slice body;

    buf_init(&sealed, 65536);
    buf_init(&text, 65536);
    assert_int_equal(
        gcm_seal(slice_of(key), slice_of(nonce), slice_of(aad), slice_of(plain), &sealed), 0);
    base64_encode(&text, buf_slice(&sealed));
    body = arena_printf(&fx.arena,
                        "{\"id\":\"EV-1\",\"resource_type\":\"encrypt-resource\",\"event_type\":"
                        "\"%s\",\"resource\":{\"original_type\":\"transaction\",\"algorithm\":"
                        "\"AEAD_AES_256_GCM\",\"ciphertext\":\"%.*s\",\"associated_data\":\"%s\","
                        "\"nonce\":\"%s\"}}",
                        event, SLICE_FMT(buf_slice(&text)), aad, nonce);
    buf_release(&sealed);
    buf_release(&text);
    return body;
}

static struct slice sealed(const char *plain)
{
    return seal(plain, API_V3_KEY, "fdasflkja484", "transaction", "TRANSACTION.SUCCESS");
}

static void test_notification_contents(void **state)
{
    static const struct {
        const char *from, *to, *why;
    } cases[] = {
        {MCHID, "1900000108", "is not for this account"},
        {APPID, "wx0000000000000000", "is not for this account"},
        {"\"appid\":\"" APPID "\",", "", "is not for this account"},
        {"\"out_trade_no\":\"" ORDER_NO "\",", "", "has a member missing or malformed"},
        {"\"total\":888", "\"total\":\"888\"", "has a member missing or malformed"},
        {"\"total\":888", "\"total\":0", "has a member missing or malformed"},
        {"\"trade_state\":\"SUCCESS\",", "", "has a member missing or malformed"},
        {"{\"appid\"", "[{\"appid\"", "decrypted text is malformed"},
    };
    struct channel_result r;
    struct slice body;
    const char *why;

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        body = sealed(changed(cases[i].from, cases[i].to));
        refuse(wechat_sign(body), body, cases[i].why);
    }
    body = sealed(changed("\"SUCCESS\"", "\"CLOSED\""));
    {
        struct signed_headers h = wechat_sign(body);

        assert_int_equal(notify(fx.wechat_account, &h, body, &r, &why), 0);
        assert_class(r, CLASS_UNKNOWN, "a state that no row lists");
    }
}

static void test_notification_encryption(void **state)
{
    struct slice good = sealed(PAID), body;

    (void)state;
    body = seal(PAID, "0123456789abcdef0123456789ABCDE0", "fdasflkja484", "transaction",
                "TRANSACTION.SUCCESS");
    refuse(wechat_sign(body), body, "cannot be decrypted");
    /* aad, nonce or ciphertext changed by someone who can sign */
    for (int i = 0; i < 3; i++) {
        static const char *const marks[] = {"\"associated_data\":\"", "\"nonce\":\"",
                                            "\"ciphertext\":\""};
        char *copy = arena_cstr(&fx.arena, good);
        char *at = strstr(copy, marks[i]) + strlen(marks[i]);

        *at = *at == 'A' ? 'B' : 'A';
        body = slice_of(copy);
        refuse(wechat_sign(body), body, "cannot be decrypted");
    }
    body = seal(PAID, API_V3_KEY, "fdasflkja484", "", "TRANSACTION.SUCCESS");
    {
        struct signed_headers h = wechat_sign(body);
        struct channel_result r;
        const char *why;

        assert_int_equal(notify(fx.wechat_account, &h, body, &r, &why), 0);
        assert_class(r, CLASS_SUCCESS, "empty associated_data");
    }
}

static void test_notification_other_events(void **state)
{
    struct slice body = seal(PAID, API_V3_KEY, "fdasflkja484", "refund", "PAYSCORE.USER_PAID");
    struct signed_headers h = wechat_sign(body);
    struct channel_result r;
    const char *why;

    (void)state;
    assert_int_equal(notify(fx.wechat_account, &h, body, &r, &why), 0);
    assert_class(r, CLASS_UNKNOWN, "other");
    assert_slice(r.code, "PAYSCORE.USER_PAID");
    assert_true(r.verified);
    assert_int_equal(r.amount, -1);
    assert_null(r.request_no.p);
    body = SLICE("{\"event_type\":7}");
    refuse(wechat_sign(body), body, "has no event");
    body = SLICE("{\"event_type\":\"TRANSACTION.SUCCESS\"}");
    refuse(wechat_sign(body), body, "has an unknown form");
    body = SLICE("garbage");
    refuse(wechat_sign(body), body, "is malformed");
    body = SLICE("");
    refuse(wechat_sign(body), body, "is malformed");
}

static void test_ack(void **state)
{
    struct channel_ack ack;

    (void)state;
    channel_ack(fx.wechat, true, &ack);
    assert_int_equal(ack.status, 200);
    assert_slice(ack.content_type, "application/json");
    assert_slice(ack.body, "{\"code\":\"SUCCESS\",\"message\":\"成功\"}");
    channel_ack(fx.wechat, false, &ack);
    assert_int_equal(ack.status, 500);
    assert_true(slice_contains(ack.body, SLICE("FAIL")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_query_vector),
        cmocka_unit_test(test_native_body),
        cmocka_unit_test(test_optional_members),
        cmocka_unit_test(test_close_body),
        cmocka_unit_test(test_description_is_cut),
        cmocka_unit_test(test_encode_refusals),
        cmocka_unit_test(test_target_is_encoded),
        cmocka_unit_test(test_response_vector),
        cmocka_unit_test(test_response_204_vector),
        cmocka_unit_test(test_spoilt_answers),
        cmocka_unit_test(test_window),
        cmocka_unit_test(test_rotation),
        cmocka_unit_test(test_signature_type),
        cmocka_unit_test(test_half_signed_error),
        cmocka_unit_test(test_signed_204_with_body),
        cmocka_unit_test(test_query_paid),
        cmocka_unit_test(test_query_mismatch),
        cmocka_unit_test(test_query_not_whole),
        cmocka_unit_test(test_query_unpaid_not_whole),
        cmocka_unit_test(test_prepare_not_whole),
        cmocka_unit_test(test_notification_vector),
        cmocka_unit_test(test_notification_spoilt),
        cmocka_unit_test(test_notification_contents),
        cmocka_unit_test(test_notification_encryption),
        cmocka_unit_test(test_notification_other_events),
        cmocka_unit_test(test_ack),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, load, teardown);
}
