/* The invented bank against docs/bank_json.md, whose worked examples stand here word for word. */
#include "channel_test.h"

static struct channel_request encode(enum call_kind kind)
{
    struct channel_order order = an_order();
    struct channel_request r;
    const char *why;

    if (channel_encode(fx.bank, fx.bank_account, kind, &order, NOW, SLICE(NONCE), &fx.arena, &r,
                       &why) < 0)
        fail_msg("%s", why);
    return r;
}

static void test_requests(void **state)
{
    struct channel_request r = encode(CALL_PREPARE);

    (void)state;
    assert_slice(r.method, "POST");
    assert_slice(r.target, "/bank/v1/orders");
    assert_slice(r.egress_kind, "pay");
    assert_slice(r.body, "{\"mch_id\":\"M10001\",\"order_no\":\"T202609010001\",\"amount\":888,"
                         "\"currency\":\"CNY\",\"subject\":\"测试\",\"notify_url\":"
                         "\"https://127.0.0.1:9443/notify/bank/main\","
                         "\"expire_at\":\"2026-09-01T14:00:00+08:00\"}");
    assert_slice(http_find(r.headers, r.nheaders, "Content-Type", NULL), "application/json");

    r = encode(CALL_QUERY);
    assert_slice(r.method, "GET");
    assert_slice(r.target, "/bank/v1/orders/T202609010001?mch_id=M10001");
    assert_int_equal(r.body.n, 0);
    assert_slice(http_find(r.headers, r.nheaders, "Bank-Signature", NULL),
                 "t=1788235200,n=" NONCE
                 ",s=d63850ef7e2b9b9a8d9c476593d32aeb55b8e50a3496d89643e83a38b25756e1");

    r = encode(CALL_CLOSE);
    assert_slice(r.target, "/bank/v1/orders/T202609010001/close");
    assert_slice(r.body, "{\"mch_id\":\"M10001\"}");
}

/* The sheet's example has another notify_url: a set with that one gives its very bytes. */
static void test_worked_post(void **state)
{
    static const char conf[] = "pay_channel bank { adapter bank_json; methods native;"
                               " notify_base https://pay.example/notify; }";
    struct folder folder = make_folder();
    struct channel_order order = an_order();
    struct channel_account *a;
    struct channel_request r;
    struct channel_set *set;
    struct conf_error err;
    const char *why;

    (void)state;
    assert_int_equal(channel_set_load(write_file(&folder, "bank.conf", slice_of(conf)),
                                      "lua-free-conf/adapters", &set, &err),
                     0);
    remove_folder(&folder);
    a = new_account(channel_at(set, 0), PAIRS("mch_id", BANK_MCH), PAIRS("key", BANK_KEY));
    assert_int_equal(channel_encode(channel_at(set, 0), a, CALL_PREPARE, &order, NOW, SLICE(NONCE),
                                    &fx.arena, &r, &why),
                     0);
    assert_slice(http_find(r.headers, r.nheaders, "Bank-Signature", NULL),
                 "t=1788235200,n=" NONCE
                 ",s=0fa4b28bc3eb14993a327728a02ccd1dc06063d94466dd229a5eb0cb149fdec9");
    channel_account_free(a);
    channel_set_free(set);
}

/* ------------------------------------------------------------------ answers */

#define REPLY "{\"code\":\"OK\",\"qr\":\"bank://pay?o=7Q2M\"}"
#define REPLY_SIGNATURE                                                                            \
    "t=1788235201,n=c5ac7061fccab6bf3e254dcf98995b8c,"                                             \
    "s=d7fbf54dde09fb2a04df5c557a41cf698bc6dbcf30d328aa2d1728a41d57eb6c"
#define REPLY_NOW (1788235201 * USEC_PER_SEC)

static struct channel_result reply(const char *signature, const char *body, pay_time_t now)
{
    struct signed_headers h = {.n = 0};

    add_header(&h, "bank-signature", slice_of(signature));
    return decode_at(fx.bank, CALL_PREPARE, 200, &h, slice_of(body), now);
}

static void test_worked_answer(void **state)
{
    struct channel_result r = reply(REPLY_SIGNATURE, REPLY, REPLY_NOW);

    (void)state;
    assert_class(r, CLASS_ACCEPTED, "worked answer");
    assert_true(r.verified);
    assert_slice(r.code_url, "bank://pay?o=7Q2M");
}

static void test_spoilt_signature(void **state)
{
    static const char *const bad[] = {
        "",
        "t=1788235201",
        "t=1788235202,n=c5ac7061fccab6bf3e254dcf98995b8c,"
        "s=d7fbf54dde09fb2a04df5c557a41cf698bc6dbcf30d328aa2d1728a41d57eb6c",
        "t=1788235201,n=c5ac7061fccab6bf3e254dcf98995b8d,"
        "s=d7fbf54dde09fb2a04df5c557a41cf698bc6dbcf30d328aa2d1728a41d57eb6c",
        "t=1788235201,n=c5ac7061fccab6bf3e254dcf98995b8c,"
        "s=d7fbf54dde09fb2a04df5c557a41cf698bc6dbcf30d328aa2d1728a41d57eb6d",
        "t=1788235201,n=c5ac7061fccab6bf3e254dcf98995b8c,"
        "s=d7fbf54dde09fb2a04df5c557a41cf698bc6dbcf30d328aa2d1728a41d57eb6",
        "t=1788235201,n=c5ac7061fccab6bf3e254dcf98995b8c,"
        "s=d7fbf54dde09fb2a04df5c557a41cf698bc6dbcf30d328aa2d1728a41d57eb6c00",
        "t=1788235201,n=c5ac7061fccab6bf3e254dcf98995b8c,"
        "s=d7fbf54dde09fb2a04df5c557a41cf698bc6dbcf30d328aa2d1728a41d57eb6c ",
        "t=1788235201, n=c5ac7061fccab6bf3e254dcf98995b8c,"
        "s=d7fbf54dde09fb2a04df5c557a41cf698bc6dbcf30d328aa2d1728a41d57eb6c",
        "n=c5ac7061fccab6bf3e254dcf98995b8c,t=1788235201,"
        "s=d7fbf54dde09fb2a04df5c557a41cf698bc6dbcf30d328aa2d1728a41d57eb6c",
        "t=,n=,s=",
        "t=1788235201,n=c5ac7061fccab6bf3e254dcf98995b8c,s=",
        "t=1788235201,n=c5ac7061fccab6bf3e254dcf98995b8c,s=zz",
    };
    struct channel_result r;

    (void)state;
    for (size_t i = 0; i < COUNT(bad); i++) {
        r = reply(bad[i], REPLY, REPLY_NOW);
        assert_class(r, CLASS_UNKNOWN, bad[i]);
        assert_slice(r.code, "signature");
    }
    for (size_t i = 0; i < sizeof(REPLY) - 1; i++) {
        char body[] = REPLY;

        body[i] ^= 1;
        assert_class(reply(REPLY_SIGNATURE, body, REPLY_NOW), CLASS_UNKNOWN, body);
    }
    assert_class(reply(REPLY_SIGNATURE, REPLY, REPLY_NOW + 301 * USEC_PER_SEC), CLASS_UNKNOWN,
                 "late");
    assert_class(reply(REPLY_SIGNATURE, REPLY, REPLY_NOW + 300 * USEC_PER_SEC), CLASS_ACCEPTED,
                 "in time");
}

static void test_second_key(void **state)
{
    struct hmac_key *first = fx.bank_key;

    (void)state;
    fx.bank_key = hmac_key_new(SLICE(BANK_KEY_2));
    assert_class(decode_signed(fx.bank, CALL_PREPARE, 200, REPLY), CLASS_ACCEPTED, "key_2");
    hmac_key_free(fx.bank_key);
    fx.bank_key = hmac_key_new(SLICE("some-other-key-0123456789abcdef0123"));
    assert_class(decode_signed(fx.bank, CALL_PREPARE, 200, REPLY), CLASS_UNKNOWN, "strange key");
    hmac_key_free(fx.bank_key);
    fx.bank_key = first;
}

/* Without its optional second key an account has one chance, and no crash. */
static void test_single_key(void **state)
{
    struct channel_account *a =
        new_account(fx.bank, PAIRS("mch_id", BANK_MCH), PAIRS("key", BANK_KEY_2));
    struct slice body = SLICE(REPLY);
    struct signed_headers h = bank_sign(body);
    struct channel_order order = an_order();
    struct channel_result r;

    (void)state;
    channel_decode(fx.bank, a, CALL_PREPARE, &order, 200, h.h, h.n, body, NOW, &fx.arena, &r);
    assert_class(r, CLASS_UNKNOWN, "signed with another key");
    channel_account_free(a);
}

/* A signature over an empty nonce is right as a signature, and not in the header's form. */
static void test_empty_nonce(void **state)
{
    struct slice parts[] = {SLICE("1788235200\n\n"), SLICE(REPLY)};
    uint8_t mac[SHA256_LEN];
    struct buf hex;

    (void)state;
    assert_int_equal(hmac_sign(fx.bank_key, parts, COUNT(parts), mac), 0);
    buf_init(&hex, 128);
    hex_encode(&hex, slice_n(mac, sizeof(mac)), false);
    assert_class(
        reply(arena_printf(&fx.arena, "t=1788235200,n=,s=%.*s", SLICE_FMT(buf_slice(&hex))).p,
              REPLY, NOW),
        CLASS_UNKNOWN, "empty nonce");
    buf_release(&hex);
}

#define ERROR(code) "{\"code\":\"" code "\",\"message\":\"m\"}"
#define ORDER(status)                                                                              \
    "{\"code\":\"OK\",\"status\":\"" status "\",\"order_no\":\"" ORDER_NO                          \
    "\",\"amount\":888,\"currency\":\"CNY\"}"
#define PAID                                                                                       \
    "{\"code\":\"OK\",\"status\":\"PAID\",\"order_no\":\"" ORDER_NO                                \
    "\",\"bank_no\":\"B20260901000001\",\"amount\":888,\"currency\":\"CNY\",\"paid_at\":"          \
    "\"2026-09-01T12:00:00+08:00\"}"

static const struct {
    enum call_kind kind;
    int status;
    const char *body;
    enum answer_class cls;
} answers[] = {
    {CALL_PREPARE, 400, ERROR("BAD_REQUEST"), CLASS_FAILED},
    {CALL_PREPARE, 401, ERROR("BAD_SIGNATURE"), CLASS_FAILED},
    {CALL_PREPARE, 403, ERROR("MERCHANT_DISABLED"), CLASS_REFUSED},
    {CALL_PREPARE, 409, ERROR("ORDER_PAID"), CLASS_DUPLICATE},
    {CALL_PREPARE, 409, ERROR("ORDER_NO_USED"), CLASS_DUPLICATE},
    {CALL_PREPARE, 409, ERROR("ORDER_CLOSED"), CLASS_CLOSED},
    {CALL_PREPARE, 429, ERROR("TOO_FREQUENT"), CLASS_TOO_FREQUENT},
    {CALL_PREPARE, 503, ERROR("SYSTEM_BUSY"), CLASS_UNKNOWN},
    {CALL_PREPARE, 200, ERROR("BAD_REQUEST"), CLASS_UNKNOWN},
    {CALL_PREPARE, 400, REPLY, CLASS_UNKNOWN},
    {CALL_PREPARE, 200, "{\"qr\":\"bank://pay?o=7Q2M\"}", CLASS_UNKNOWN},
    {CALL_PREPARE, 200, "{\"code\":\"ok\",\"qr\":\"bank://pay?o=7Q2M\"}", CLASS_UNKNOWN},
    {CALL_PREPARE, 200, "{\"code\":\"OK\"}", CLASS_UNKNOWN},
    {CALL_PREPARE, 400, ERROR("BADREQUEST"), CLASS_UNKNOWN},
    {CALL_PREPARE, 418, ERROR("TEAPOT"), CLASS_UNKNOWN},
    {CALL_QUERY, 200, PAID, CLASS_SUCCESS},
    {CALL_QUERY, 200, ORDER("WAITING"), CLASS_ACCEPTED},
    {CALL_QUERY, 200, ORDER("CLOSED"), CLASS_CLOSED},
    {CALL_QUERY, 200, ORDER("FAILED"), CLASS_FAILED},
    {CALL_QUERY, 200, ORDER("PAID"), CLASS_UNKNOWN},
    {CALL_QUERY, 200, ORDER("OTHER"), CLASS_UNKNOWN},
    {CALL_QUERY, 404, ERROR("ORDER_NOT_FOUND"), CLASS_NOT_FOUND},
    {CALL_QUERY, 400, ERROR("BAD_REQUEST"), CLASS_UNKNOWN},
    {CALL_QUERY, 401, ERROR("BAD_SIGNATURE"), CLASS_UNKNOWN},
    {CALL_QUERY, 403, ERROR("MERCHANT_DISABLED"), CLASS_UNKNOWN},
    {CALL_QUERY, 429, ERROR("TOO_FREQUENT"), CLASS_TOO_FREQUENT},
    {CALL_QUERY, 503, ERROR("SYSTEM_BUSY"), CLASS_UNKNOWN},
    {CALL_QUERY, 503, PAID, CLASS_UNKNOWN},
    {CALL_CLOSE, 200, "{\"code\":\"OK\",\"status\":\"CLOSED\"}", CLASS_CLOSED},
    {CALL_CLOSE, 200, "{\"code\":\"OK\",\"status\":\"WAITING\"}", CLASS_UNKNOWN},
    {CALL_CLOSE, 200, "{\"code\":\"OK\"}", CLASS_UNKNOWN},
    {CALL_CLOSE, 409, ERROR("ORDER_PAID"), CLASS_DUPLICATE},
    {CALL_CLOSE, 409, ERROR("ORDER_CLOSED"), CLASS_CLOSED},
    {CALL_CLOSE, 404, ERROR("ORDER_NOT_FOUND"), CLASS_NOT_FOUND},
    {CALL_CLOSE, 401, ERROR("BAD_SIGNATURE"), CLASS_UNKNOWN},
    {CALL_CLOSE, 429, ERROR("TOO_FREQUENT"), CLASS_TOO_FREQUENT},
};

static void test_codes(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(answers); i++) {
        assert_class(decode_signed(fx.bank, answers[i].kind, answers[i].status, answers[i].body),
                     answers[i].cls, answers[i].body);
        assert_class(decode_unsigned(fx.bank, answers[i].kind, answers[i].status, answers[i].body),
                     CLASS_UNKNOWN, answers[i].body);
    }
}

static void test_paid(void **state)
{
    struct channel_result r = decode_signed(fx.bank, CALL_QUERY, 200, PAID);

    (void)state;
    assert_slice(r.request_no, ORDER_NO);
    assert_slice(r.channel_trade_no, "B20260901000001");
    assert_int_equal(r.amount, 888);
    assert_slice(r.currency, "CNY");
    assert_int_equal(r.paid_at, NOW);
    r = decode_signed(fx.bank, CALL_QUERY, 200,
                      "{\"code\":\"OK\",\"status\":\"PAID\",\"order_no\":\"T202609010002\","
                      "\"bank_no\":\"B1\",\"amount\":888,\"currency\":\"CNY\"}");
    assert_class(r, CLASS_UNKNOWN, "another order");
    assert_slice(r.code, "mismatch");
}

/* ------------------------------------------------------------------ notifications */

#define EVENT                                                                                      \
    "{\"event\":\"ORDER_PAID\",\"mch_id\":\"M10001\",\"order_no\":\"T202609010001\","              \
    "\"bank_no\":\"B20260901000001\",\"amount\":888,\"currency\":\"CNY\","                         \
    "\"paid_at\":\"2026-09-01T12:00:00+08:00\"}"

static int notify(const struct signed_headers *h, const char *body, pay_time_t now,
                  struct channel_result *r, const char **why)
{
    return channel_notification(fx.bank, fx.bank_account, h->h, h->n, slice_of(body), now,
                                &fx.arena, r, why);
}

static void test_worked_notification(void **state)
{
    struct signed_headers h = {.n = 0};
    struct channel_result r;
    struct channel_ack ack;
    const char *why;

    (void)state;
    add_header(&h, "Bank-Signature",
               SLICE("t=1788235202,n=Edsrx0FsDqMjNIdIVkTsVgWwqKMxZoMt,"
                     "s=eaedae32192b780665d3369bea77eb92cd50033d8631a2261dff431567367d32"));
    if (notify(&h, EVENT, 1788235202 * USEC_PER_SEC, &r, &why) < 0)
        fail_msg("%s", why);
    assert_class(r, CLASS_SUCCESS, "worked notification");
    assert_true(r.verified);
    assert_slice(r.request_no, ORDER_NO);
    assert_slice(r.channel_trade_no, "B20260901000001");
    assert_int_equal(r.amount, 888);
    assert_int_equal(r.paid_at, NOW);
    for (size_t i = 0; i < sizeof(EVENT) - 1; i++) {
        char body[] = EVENT;

        body[i] ^= 1;
        assert_int_equal(notify(&h, body, 1788235202 * USEC_PER_SEC, &r, &why), -1);
        assert_int_equal(r.cls, CLASS_UNKNOWN);
    }
    channel_ack(fx.bank, true, &ack);
    assert_int_equal(ack.status, 200);
    assert_slice(ack.body, "{\"code\":\"OK\"}");
    channel_ack(fx.bank, false, &ack);
    assert_int_equal(ack.status, 500);
    assert_slice(ack.body, "{\"code\":\"FAIL\"}");
}

static void test_notification_contents(void **state)
{
    static const struct {
        const char *body, *why;
    } cases[] = {
        {"{\"event\":\"ORDER_PAID\",\"mch_id\":\"M10002\",\"order_no\":\"T202609010001\"}",
         "is not for this account"},
        {"{\"event\":\"ORDER_PAID\",\"order_no\":\"T202609010001\"}", "is not for this account"},
        {"{\"event\":\"ORDER_PAID\",\"mch_id\":\"M10001\"}", "has a member missing or malformed"},
        {"{\"mch_id\":\"M10001\"}", "has no event"},
        {"[]", "is malformed"},
    };
    struct signed_headers h;
    struct channel_result r;
    const char *why;

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        h = bank_sign(slice_of(cases[i].body));
        assert_int_equal(notify(&h, cases[i].body, NOW, &r, &why), -1);
        assert_string_equal(why, cases[i].why);
    }
    h = bank_sign(SLICE("{\"event\":\"ORDER_REFUNDED\"}"));
    assert_int_equal(notify(&h, "{\"event\":\"ORDER_REFUNDED\"}", NOW, &r, &why), 0);
    assert_class(r, CLASS_UNKNOWN, "other event");
    assert_slice(r.code, "ORDER_REFUNDED");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_requests),
        cmocka_unit_test(test_worked_post),
        cmocka_unit_test(test_worked_answer),
        cmocka_unit_test(test_spoilt_signature),
        cmocka_unit_test(test_second_key),
        cmocka_unit_test(test_single_key),
        cmocka_unit_test(test_empty_nonce),
        cmocka_unit_test(test_codes),
        cmocka_unit_test(test_paid),
        cmocka_unit_test(test_worked_notification),
        cmocka_unit_test(test_notification_contents),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, setup, teardown);
}
