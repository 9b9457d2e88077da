/*
 * Every code of the fact sheet for native, query and close, by hand: raw HTTP in, class out. A last
 * test compares the table with the sheet's rows, so that none is forgotten.
 */
#include "channel_test.h"

#define ERROR(code) "{\"code\":\"" code "\",\"message\":\"m\"}"
#define TRADE(state)                                                                               \
    "{\"appid\":\"" APPID "\",\"mchid\":\"" MCHID "\",\"out_trade_no\":\"" ORDER_NO                \
    "\",\"trade_state\":\"" state "\",\"amount\":{\"total\":888,\"currency\":\"CNY\"}}"
#define PAID_TRADE(state)                                                                          \
    "{\"appid\":\"" APPID "\",\"mchid\":\"" MCHID "\",\"out_trade_no\":\"" ORDER_NO                \
    "\",\"transaction_id\":\"4200000001\",\"success_time\":\"2026-09-01T12:00:00+08:00\","         \
    "\"trade_state\":\"" state "\",\"amount\":{\"total\":888,\"currency\":\"CNY\"}}"

#define COMMON "*"
#define NATIVE "native/jsapi/h5/app"

/* `row`: api and code as the sheet names them, NULL for a case beyond its rows. */
static const struct answer {
    const char *row_api, *row_code;
    enum call_kind kind;
    int status;
    const char *body;
    enum answer_class cls;
} answers[] = {
    /* common codes, on the call that makes an order */
    {COMMON, "PARAM_ERROR", CALL_PREPARE, 400, ERROR("PARAM_ERROR"), CLASS_FAILED},
    {COMMON, "INVALID_REQUEST", CALL_PREPARE, 400, ERROR("INVALID_REQUEST"), CLASS_UNKNOWN},
    {COMMON, "SIGN_ERROR", CALL_PREPARE, 401, ERROR("SIGN_ERROR"), CLASS_FAILED},
    {COMMON, "NO_AUTH", CALL_PREPARE, 403, ERROR("NO_AUTH"), CLASS_REFUSED},
    {COMMON, "RESOURCE_NOT_EXISTS", CALL_PREPARE, 404, ERROR("RESOURCE_NOT_EXISTS"),
     CLASS_NOT_FOUND},
    {COMMON, "FREQUENCY_LIMITED", CALL_PREPARE, 429, ERROR("FREQUENCY_LIMITED"),
     CLASS_TOO_FREQUENT},
    {COMMON, "FREQUENCY_LIMIT_EXCEED", CALL_PREPARE, 429, ERROR("FREQUENCY_LIMIT_EXCEED"),
     CLASS_TOO_FREQUENT},
    {COMMON, "RATELIMIT_EXCEEDED", CALL_PREPARE, 429, ERROR("RATELIMIT_EXCEEDED"),
     CLASS_TOO_FREQUENT},
    {COMMON, "RATE_LIMITED", CALL_PREPARE, 429, ERROR("RATE_LIMITED"), CLASS_TOO_FREQUENT},
    {COMMON, "SYSTEM_ERROR", CALL_PREPARE, 500, ERROR("SYSTEM_ERROR"), CLASS_UNKNOWN},
    {COMMON, "SERVICE_UNAVAILABLE", CALL_PREPARE, 503, ERROR("SERVICE_UNAVAILABLE"), CLASS_UNKNOWN},
    {COMMON, "HTTP 202", CALL_PREPARE, 202, "", CLASS_USER_PAYING},
    {COMMON, "HTTP 202", CALL_PREPARE, 202, "{}", CLASS_USER_PAYING},

    /* the same on a query: what is said about the call decides nothing about the payment */
    {COMMON, "PARAM_ERROR", CALL_QUERY, 400, ERROR("PARAM_ERROR"), CLASS_UNKNOWN},
    {COMMON, "INVALID_REQUEST", CALL_QUERY, 400, ERROR("INVALID_REQUEST"), CLASS_UNKNOWN},
    {COMMON, "SIGN_ERROR", CALL_QUERY, 401, ERROR("SIGN_ERROR"), CLASS_UNKNOWN},
    {COMMON, "NO_AUTH", CALL_QUERY, 403, ERROR("NO_AUTH"), CLASS_UNKNOWN},
    {COMMON, "RESOURCE_NOT_EXISTS", CALL_QUERY, 404, ERROR("RESOURCE_NOT_EXISTS"), CLASS_NOT_FOUND},
    {COMMON, "FREQUENCY_LIMITED", CALL_QUERY, 429, ERROR("FREQUENCY_LIMITED"), CLASS_TOO_FREQUENT},
    {COMMON, "FREQUENCY_LIMIT_EXCEED", CALL_QUERY, 429, ERROR("FREQUENCY_LIMIT_EXCEED"),
     CLASS_TOO_FREQUENT},
    {COMMON, "RATELIMIT_EXCEEDED", CALL_QUERY, 429, ERROR("RATELIMIT_EXCEEDED"),
     CLASS_TOO_FREQUENT},
    {COMMON, "RATE_LIMITED", CALL_QUERY, 429, ERROR("RATE_LIMITED"), CLASS_TOO_FREQUENT},
    {COMMON, "SYSTEM_ERROR", CALL_QUERY, 500, ERROR("SYSTEM_ERROR"), CLASS_UNKNOWN},
    {COMMON, "SERVICE_UNAVAILABLE", CALL_QUERY, 503, ERROR("SERVICE_UNAVAILABLE"), CLASS_UNKNOWN},
    {COMMON, "HTTP 202", CALL_QUERY, 202, "", CLASS_USER_PAYING},

    /* and on a close */
    {COMMON, "PARAM_ERROR", CALL_CLOSE, 400, ERROR("PARAM_ERROR"), CLASS_UNKNOWN},
    {COMMON, "INVALID_REQUEST", CALL_CLOSE, 400, ERROR("INVALID_REQUEST"), CLASS_UNKNOWN},
    {COMMON, "SIGN_ERROR", CALL_CLOSE, 401, ERROR("SIGN_ERROR"), CLASS_UNKNOWN},
    {COMMON, "NO_AUTH", CALL_CLOSE, 403, ERROR("NO_AUTH"), CLASS_UNKNOWN},
    {COMMON, "RESOURCE_NOT_EXISTS", CALL_CLOSE, 404, ERROR("RESOURCE_NOT_EXISTS"), CLASS_NOT_FOUND},
    {COMMON, "FREQUENCY_LIMITED", CALL_CLOSE, 429, ERROR("FREQUENCY_LIMITED"), CLASS_TOO_FREQUENT},
    {COMMON, "FREQUENCY_LIMIT_EXCEED", CALL_CLOSE, 429, ERROR("FREQUENCY_LIMIT_EXCEED"),
     CLASS_TOO_FREQUENT},
    {COMMON, "RATELIMIT_EXCEEDED", CALL_CLOSE, 429, ERROR("RATELIMIT_EXCEEDED"),
     CLASS_TOO_FREQUENT},
    {COMMON, "RATE_LIMITED", CALL_CLOSE, 429, ERROR("RATE_LIMITED"), CLASS_TOO_FREQUENT},
    {COMMON, "SYSTEM_ERROR", CALL_CLOSE, 500, ERROR("SYSTEM_ERROR"), CLASS_UNKNOWN},
    {COMMON, "SERVICE_UNAVAILABLE", CALL_CLOSE, 503, ERROR("SERVICE_UNAVAILABLE"), CLASS_UNKNOWN},
    {COMMON, "HTTP 202", CALL_CLOSE, 202, "", CLASS_USER_PAYING},

    {NATIVE, "OUT_TRADE_NO_USED", CALL_PREPARE, 403, ERROR("OUT_TRADE_NO_USED"), CLASS_DUPLICATE},
    {NATIVE, "ORDER_CLOSED", CALL_PREPARE, 400, ERROR("ORDER_CLOSED"), CLASS_CLOSED},
    {NATIVE, "ORDER_PAID", CALL_PREPARE, 400, ERROR("ORDER_PAID"), CLASS_DUPLICATE},
    {NATIVE, "ORDER_PAID", CALL_PREPARE, 403, ERROR("ORDER_PAID"), CLASS_DUPLICATE},
    /* the sheet calls these two failures, and every 5xx unknown: the cautious reading wins */
    {NATIVE, "OPENID_MISMATCH", CALL_PREPARE, 500, ERROR("OPENID_MISMATCH"), CLASS_UNKNOWN},
    {NATIVE, "INVALID_TRANSACTIONID", CALL_PREPARE, 500, ERROR("INVALID_TRANSACTIONID"),
     CLASS_UNKNOWN},
    {NATIVE, "BANK_ERROR", CALL_PREPARE, 500, ERROR("BANK_ERROR"), CLASS_UNKNOWN},
    {NATIVE, "TRADE_ERROR", CALL_PREPARE, 403, ERROR("TRADE_ERROR"), CLASS_REFUSED},
    {NATIVE, "RULE_LIMIT", CALL_PREPARE, 403, ERROR("RULE_LIMIT"), CLASS_REFUSED},
    {NATIVE, "ACCOUNT_ERROR", CALL_PREPARE, 403, ERROR("ACCOUNT_ERROR"), CLASS_REFUSED},

    {"query", "ORDER_NOT_EXIST", CALL_QUERY, 404, ERROR("ORDER_NOT_EXIST"), CLASS_NOT_FOUND},
    {"query", "trade_state=SUCCESS", CALL_QUERY, 200, PAID_TRADE("SUCCESS"), CLASS_SUCCESS},
    {"query", "trade_state=REFUND", CALL_QUERY, 200, PAID_TRADE("REFUND"), CLASS_SUCCESS},
    {"query", "trade_state=NOTPAY", CALL_QUERY, 200, TRADE("NOTPAY"), CLASS_ACCEPTED},
    {"query", "trade_state=USERPAYING", CALL_QUERY, 200, TRADE("USERPAYING"), CLASS_USER_PAYING},
    {"query", "trade_state=CLOSED", CALL_QUERY, 200, TRADE("CLOSED"), CLASS_CLOSED},
    {"query", "trade_state=REVOKED", CALL_QUERY, 200, TRADE("REVOKED"), CLASS_CLOSED},
    {"query", "trade_state=PAYERROR", CALL_QUERY, 200, TRADE("PAYERROR"), CLASS_UNKNOWN},

    {"close", "HTTP 204", CALL_CLOSE, 204, "", CLASS_CLOSED},
    {"close", "ORDER_PAID", CALL_CLOSE, 400, ERROR("ORDER_PAID"), CLASS_DUPLICATE},
    {"close", "ORDER_CLOSED", CALL_CLOSE, 400, ERROR("ORDER_CLOSED"), CLASS_CLOSED},
    {NULL, NULL, CALL_CLOSE, 404, ERROR("ORDER_NOT_EXIST"), CLASS_NOT_FOUND},

    /* the other spellings */
    {NULL, NULL, CALL_PREPARE, 400, ERROR("PARAMERROR"), CLASS_FAILED},
    {NULL, NULL, CALL_PREPARE, 403, ERROR("NOAUTH"), CLASS_REFUSED},
    {NULL, NULL, CALL_PREPARE, 403, ERROR("RULELIMIT"), CLASS_REFUSED},
    {NULL, NULL, CALL_PREPARE, 403, ERROR("ACCOUNTERROR"), CLASS_REFUSED},
    {NULL, NULL, CALL_PREPARE, 400, ERROR("ORDERCLOSED"), CLASS_CLOSED},
    {NULL, NULL, CALL_QUERY, 404, ERROR("ORDERNOTEXIST"), CLASS_NOT_FOUND},
    {NULL, NULL, CALL_QUERY, 429, ERROR("FREQUENCYLIMITED"), CLASS_TOO_FREQUENT},
    {NULL, NULL, CALL_PREPARE, 400, ERROR("param_error"), CLASS_UNKNOWN},

    /* status and code disagree */
    {NULL, NULL, CALL_PREPARE, 403, ERROR("PARAM_ERROR"), CLASS_UNKNOWN},
    {NULL, NULL, CALL_PREPARE, 500, ERROR("PARAM_ERROR"), CLASS_UNKNOWN},
    {NULL, NULL, CALL_PREPARE, 200, ERROR("NO_AUTH"), CLASS_UNKNOWN},
    {NULL, NULL, CALL_PREPARE, 202, ERROR("NO_AUTH"), CLASS_UNKNOWN},
    {NULL, NULL, CALL_PREPARE, 404, ERROR("NO_AUTH"), CLASS_UNKNOWN},
    {NULL, NULL, CALL_PREPARE, 500, ERROR("FREQUENCY_LIMITED"), CLASS_UNKNOWN},
    {NULL, NULL, CALL_PREPARE, 200, ERROR("ORDER_PAID"), CLASS_UNKNOWN},
    {NULL, NULL, CALL_PREPARE, 500, ERROR("ORDER_PAID"), CLASS_UNKNOWN},
    {NULL, NULL, CALL_QUERY, 200, ERROR("ORDER_NOT_EXIST"), CLASS_UNKNOWN},
    {NULL, NULL, CALL_QUERY, 500, ERROR("ORDER_NOT_EXIST"), CLASS_UNKNOWN},
    {NULL, NULL, CALL_QUERY, 404, PAID_TRADE("SUCCESS"), CLASS_UNKNOWN},
    {NULL, NULL, CALL_QUERY, 500, PAID_TRADE("SUCCESS"), CLASS_UNKNOWN},
    {NULL, NULL, CALL_QUERY, 201, PAID_TRADE("SUCCESS"), CLASS_UNKNOWN},
    {NULL, NULL, CALL_QUERY, 302, PAID_TRADE("SUCCESS"), CLASS_UNKNOWN},
    {NULL, NULL, CALL_CLOSE, 200, "{}", CLASS_UNKNOWN},
    {NULL, NULL, CALL_CLOSE, 403, ERROR("ORDER_CLOSED"), CLASS_UNKNOWN},
    {NULL, NULL, CALL_CLOSE, 200, ERROR("ORDER_CLOSED"), CLASS_UNKNOWN},

    /* no row: another API's code, a new one, none */
    {NULL, NULL, CALL_PREPARE, 403, ERROR("NOT_ENOUGH"), CLASS_UNKNOWN},
    {NULL, NULL, CALL_PREPARE, 400, ERROR("MCH_NOT_EXISTS"), CLASS_UNKNOWN},
    {NULL, NULL, CALL_PREPARE, 404, ERROR("ORDER_NOT_EXIST"), CLASS_UNKNOWN},
    {NULL, NULL, CALL_QUERY, 400, ERROR("ORDER_CLOSED"), CLASS_UNKNOWN},
    {NULL, NULL, CALL_QUERY, 400, ERROR("ORDER_PAID"), CLASS_UNKNOWN},
    {NULL, NULL, CALL_QUERY, 400, ERROR("NEW_CODE"), CLASS_UNKNOWN},
    {NULL, NULL, CALL_QUERY, 200, TRADE("NEW_STATE"), CLASS_UNKNOWN},
    {NULL, NULL, CALL_PREPARE, 404, "", CLASS_UNKNOWN},
    {NULL, NULL, CALL_PREPARE, 400, "{}", CLASS_UNKNOWN},
    {NULL, NULL, CALL_PREPARE, 400, "{\"code\":[]}", CLASS_UNKNOWN},
    {NULL, NULL, CALL_PREPARE, 400, "{\"code\":\"\"}", CLASS_UNKNOWN},
    {NULL, NULL, CALL_PREPARE, 400, "{\"code\":\"___\"}", CLASS_UNKNOWN},
    {NULL, NULL, CALL_PREPARE, 400, "<html>Bad Request</html>", CLASS_UNKNOWN},
    {NULL, NULL, CALL_PREPARE, 202, "<html>", CLASS_UNKNOWN},
    {NULL, NULL, CALL_PREPARE, 204, "", CLASS_UNKNOWN},
    {NULL, NULL, CALL_PREPARE, 100, "", CLASS_UNKNOWN},
    {NULL, NULL, CALL_PREPARE, 0, "", CLASS_UNKNOWN},
    {NULL, NULL, CALL_PREPARE, -1, "", CLASS_UNKNOWN},
    {NULL, NULL, CALL_PREPARE, 600, ERROR("PARAM_ERROR"), CLASS_UNKNOWN},
    {NULL, NULL, CALL_PREPARE, 502, "<html>Bad Gateway</html>", CLASS_UNKNOWN},
    {NULL, NULL, CALL_QUERY, 504, "", CLASS_UNKNOWN},
};

static const char *describe(const struct answer *a)
{
    return arena_printf(&fx.arena, "%s %d %s", call_kind_name(a->kind), a->status, a->body).p;
}

static void test_signed(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(answers); i++) {
        struct channel_result r =
            decode_signed(fx.wechat, answers[i].kind, answers[i].status, answers[i].body);

        assert_class(r, answers[i].cls, describe(&answers[i]));
        assert_true(r.verified);
        assert_true(r.code.n > 0);
        if (r.cls != CLASS_SUCCESS && r.cls != CLASS_UNKNOWN)
            assert_true(r.paid_at == 0);
    }
}

/* Without a signature "too frequent" is all that is left. */
static void test_unsigned(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(answers); i++) {
        struct channel_result r =
            decode_unsigned(fx.wechat, answers[i].kind, answers[i].status, answers[i].body);
        bool believed = answers[i].cls == CLASS_TOO_FREQUENT;

        assert_class(r, believed ? CLASS_TOO_FREQUENT : CLASS_UNKNOWN, describe(&answers[i]));
        assert_false(r.verified);
        assert_true(r.code.n > 0);
    }
}

/* With a wrong signature nothing is. */
static void test_badly_signed(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(answers); i++) {
        struct slice body = slice_of(answers[i].body);
        struct signed_headers h = wechat_sign_as(&fx.platform_2, SERIAL_1, NOW_S, body);
        struct channel_result r =
            decode_at(fx.wechat, answers[i].kind, answers[i].status, &h, body, NOW);

        assert_class(r, CLASS_UNKNOWN, describe(&answers[i]));
        assert_false(r.verified);
        assert_slice(r.code, "signature");
    }
}

static void test_words_for_people(void **state)
{
    struct channel_result r = decode_signed(fx.wechat, CALL_PREPARE, 400, ERROR("PARAM_ERROR"));

    (void)state;
    assert_slice(r.code, "PARAM_ERROR");
    assert_slice(r.message, "m");
    r = decode_signed(fx.wechat, CALL_QUERY, 502, "<html>");
    assert_slice(r.code, "HTTP 502");
    r = decode_signed(fx.wechat, CALL_QUERY, 500, ERROR("SYSTEM_ERROR"));
    assert_slice(r.code, "SYSTEM_ERROR");
    r = decode_signed(fx.wechat, CALL_QUERY, 200, "{");
    assert_slice(r.code, "parse");
    r = decode_unsigned(fx.wechat, CALL_PREPARE, 400, "{\"code\":\"PARAM_ERROR\"}");
    assert_slice(r.code, "PARAM_ERROR");
    assert_slice(r.message, "not signed");
}

static bool is_tested(struct slice api, struct slice code)
{
    for (size_t i = 0; i < COUNT(answers); i++)
        if (answers[i].row_api && slice_is(api, answers[i].row_api) &&
            slice_is(code, answers[i].row_code))
            return true;
    return false;
}

static void test_complete(void **state)
{
    struct slice text = file_text("t/vectors/channel_codes_wechat_v3.json");
    const struct json *rows;
    struct json_error err;

    (void)state;
    assert_int_equal(json_parse(&fx.arena, text, NULL, &rows, &err), 0);
    assert_true(rows->count >= 32);
    for (const struct json *row = rows->child; row; row = row->next) {
        struct slice api = json_str(row, "api");
        struct slice code = json_str(row, "code");

        if (!is_tested(api, code))
            fail_msg("no case for %.*s %.*s", SLICE_FMT(api), SLICE_FMT(code));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_signed),       cmocka_unit_test(test_unsigned),
        cmocka_unit_test(test_badly_signed), cmocka_unit_test(test_words_for_people),
        cmocka_unit_test(test_complete),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, setup, teardown);
}
