/* R1.1: the sorted-parameter scheme: WeChat's and Alipay's published strings, every refusal, and
 * what goes on to a worker. */
#include "core/scheme_sorted.h"
#include "core_test.h"

static struct arena arena;

static int clear(void **state)
{
    (void)state;
    arena_clear(&arena);
    return 0;
}

static const char *text_of(struct buf *b)
{
    return arena_cstr(&arena, buf_slice(b));
}

/* ------------------------------------------------------------------ vectors */

static const struct json *vector(const char *name)
{
    struct slice text = read_file("t/vectors/sorted.json");
    const struct json *v;
    struct json_error err;

    if (json_parse(&arena, text, NULL, &v, &err) < 0)
        fail_msg("sorted.json: %s at %zu", err.reason, err.offset);
    free((char *)text.p);
    return json_get(v, name);
}

static struct sorted_params params_of(const struct json *fields)
{
    struct sorted_params p;
    const char *reason;

    if (sorted_from_json(&arena, fields, &p, &reason) < 0)
        fail_msg("%s", reason);
    return p;
}

static void check_shared(const char *name, const char *member, enum key_alg alg)
{
    const struct json *v = vector(name);
    struct sorted_params p = params_of(json_get(v, "fields"));
    struct slice want = json_str(v, member), whole;
    struct verify_key k;
    struct buf b, sign;

    assert_int_equal(verify_key_load(&k, alg, json_str(v, "key")), 0);
    buf_init(&b, 4096);
    buf_init(&sign, 4096);
    sorted_string(&b, p.list, p.count);
    assert_int_equal(sorted_sign(&k, buf_slice(&b), &sign), 0);
    assert_true(slice_eq(buf_slice(&sign), want));
    assert_int_equal(sorted_verify(&k, buf_slice(&b), want), 0);
    assert_int_equal(sorted_verify(&k, buf_slice(&b), slice_n(want.p, want.n - 2)), -1);
    assert_int_equal(sorted_verify(&k, buf_slice(&b), SLICE("zz")), -1);
    buf_add_char(&b, 'x');
    assert_int_equal(sorted_verify(&k, buf_slice(&b), want), -1);
    b.n--;
    buf_add_str(&b, "&key=");
    buf_add_slice(&b, json_str(v, "key"));
    whole = buf_slice(&b);
    assert_true(slice_eq(whole, json_str(v, "string")));
    verify_key_release(&k);
    buf_release(&b);
    buf_release(&sign);
}

static void test_wechat_v2(void **state)
{
    (void)state;
    check_shared("wechat_v2_request", "md5", KEY_MD5);
    check_shared("wechat_v2_request", "hmac_sha256", KEY_HMAC_SHA256);
    check_shared("wechat_v2_micropay", "hmac_sha256", KEY_HMAC_SHA256);
    check_shared("wechat_v2_micropay", "md5_if_sign_type_md5_kept_as_is", KEY_MD5);
}

/* Alipay's notify_url would not pass our rule about '&': its text is made all the same. */
static void test_alipay(void **state)
{
    const struct json *v = vector("alipay_request");
    struct slice private_pem = read_file("t/vectors/merchant.key.pem");
    struct slice public_pem = read_file("t/vectors/merchant.pub.pem");
    struct sorted_param list[16];
    struct verify_key sign, verify;
    struct sorted_params p;
    struct buf b, out;
    const char *reason;
    size_t n = 0;
    (void)state;

    assert_int_equal(sorted_from_json(&arena, json_get(v, "params"), &p, &reason), -1);
    assert_string_equal(reason, "a parameter's value looks like another parameter");

    static const char *const order[] = {"app_id",    "biz_content", "charset",
                                        "format",    "method",      "notify_url",
                                        "sign_type", "timestamp",   "version"};
    for (size_t i = 0; i < COUNT(order); i++)
        list[n++] = (struct sorted_param){.name = slice_of(order[i]),
                                          .value = json_get(json_get(v, "params"), order[i])->text};
    buf_init(&b, 4096);
    buf_init(&out, 4096);
    sorted_string(&b, list, n);
    assert_true(slice_eq(buf_slice(&b), json_str(v, "string")));
    assert_int_equal(verify_key_load(&sign, KEY_RSA_SHA256, private_pem), 0);
    assert_int_equal(verify_key_load(&verify, KEY_RSA_SHA256, public_pem), 0);
    assert_int_equal(sorted_sign(&sign, buf_slice(&b), &out), 0);
    assert_true(slice_eq(buf_slice(&out), json_str(v, "sign")));
    assert_int_equal(sorted_verify(&verify, buf_slice(&b), json_str(v, "sign")), 0);
    out.p[7] ^= 1;
    assert_int_equal(sorted_verify(&verify, buf_slice(&b), buf_slice(&out)), -1);
    verify_key_release(&sign);
    verify_key_release(&verify);
    buf_release(&b);
    buf_release(&out);
    free((char *)private_pem.p);
    free((char *)public_pem.p);
}

/* ------------------------------------------------------------------ reading */

static const char *from_json(const char *text)
{
    const struct json *doc;
    struct sorted_params p;
    struct json_error err;
    const char *reason;
    struct buf b;

    if (json_parse(&arena, slice_of(text), NULL, &doc, &err) < 0)
        return err.reason;
    if (sorted_from_json(&arena, doc, &p, &reason) < 0)
        return reason;
    buf_init(&b, 4096);
    sorted_string(&b, p.list, p.count);
    text = text_of(&b);
    buf_release(&b);
    return text;
}

static const char *from_form(const char *form)
{
    struct sorted_params p;
    const char *reason;
    struct buf b;

    if (sorted_from_form(&arena, slice_of(form), &p, &reason) < 0)
        return reason;
    buf_init(&b, 4096);
    sorted_string(&b, p.list, p.count);
    reason = text_of(&b);
    buf_release(&b);
    return reason;
}

#define NAME   "a parameter's name is not of 0-9 A-Z a-z _ - ."
#define TWO    "a parameter's value looks like another parameter"
#define TWICE  "a parameter is repeated"
#define KEY    "key is not a parameter"
#define DOTTED "a member's name has a dot"

static void test_json(void **state)
{
    static const char *const cases[][2] = {
        {"{}", ""},
        {"{\"b\":\"2\",\"a\":\"1\"}", "a=1&b=2"},
        /* bytes, not letters: capitals first, the shorter first */
        {"{\"b\":1,\"B\":2,\"ab\":3,\"a\":4}", "B=2&a=4&ab=3&b=1"},
        {"{\"amount\":{\"total\":100,\"currency\":\"CNY\"},\"a\":{}}",
         "amount.currency=CNY&amount.total=100"},
        {"{\"a\":\"\",\"b\":null,\"c\":0,\"d\":false,\"e\":true}", "c=0&d=false&e=true"},
        {"{\"sign\":\"X\",\"sign_type\":\"MD5\"}", "sign_type=MD5"},
        /* only the outermost sign is left out: an inner one is no signature */
        {"{\"a\":{\"sign\":\"X\"}}", "a.sign=X"},
        {"{\"n\":1.50,\"m\":1e3}", "m=1e3&n=1.50"},
        {"{\"a\":\"\\u8336 & =x=\"}", "a=\xe8\x8c\xb6 & =x="},
        {"{\"a\":\"x&&b\"}", "a=x&&b"},
        {"{\"a\":1,\"a\":1}", "duplicate key"},
        {"{\"a\":\"1&b=2\"}", TWO},
        {"{\"a\":\"&b=\"}", TWO},
        {"{\"a\":\"x&y& b&c=\"}", TWO},
        {"{\"a=1&b\":\"2\"}", NAME},
        {"{\"a=1\":\"2\"}", NAME},
        {"{\"\":\"2\"}", NAME},
        {"{\"\\u00e4\":\"2\"}", NAME},
        {"{\"a b\":{}}", NAME},
        {"{\"a.b\":1}", DOTTED},
        {"{\"a\":{\"b.c\":1}}", DOTTED},
        {"{\"key\":\"x\"}", KEY},
        {"{\"a\":[1]}", "an array cannot be signed"},
        {"[1]", "the body must be an object"},
        {"{\"a\":{\"b\":{\"c\":{\"d\":{\"e\":{\"f\":{\"g\":{\"h\":{\"i\":{\"j\":1}}}}}}}}}}",
         "too deep"},
        {"{\"a\":\"\\u0000\"}", "NUL in string"},
        {"{\"a\":\"\\ud800\"}", "lone surrogate"},
    };
    (void)state;

    for (size_t i = 0; i < COUNT(cases); i++) {
        const char *got = from_json(cases[i][0]);

        if (strcmp(got, cases[i][1]) != 0)
            fail_msg("%s: %s", cases[i][0], got);
    }
}

static void test_form(void **state)
{
    static const char *const cases[][2] = {
        {"", ""},
        {"b=2&a=1", "a=1&b=2"},
        {"amount.total=100&amount.currency=CNY", "amount.currency=CNY&amount.total=100"},
        {"a=x+y%20z%2Bw", "a=x y z+w"},
        {"a=%E8%8C%B6%26%3d", "a=\xe8\x8c\xb6&="},
        {"a=1=2", "a=1=2"},
        {"a=&b", ""},
        {"a=1&a=1", TWICE},
        {"a=1&%61=2", TWICE},
        {"a=&a=1", TWICE},
        {"a=1%26b=2", TWO},
        {"a%3D1=2", NAME},
        {"a=1&&b=2", NAME},
        {"=1", NAME},
        {"key=1", KEY},
        {"%6bey=1", KEY},
        {"a=%0", "a percent sign without two digits"},
        {"a=%", "a percent sign without two digits"},
        {"a=%zz", "a percent sign without two digits"},
        {"a=%00", "a NUL"},
        {"a=%c0%af", "not UTF-8"},    /* overlong */
        {"a=%ed%a0%80", "not UTF-8"}, /* a lone surrogate */
        {"a=\xff", "not UTF-8"},
    };
    (void)state;

    for (size_t i = 0; i < COUNT(cases); i++) {
        const char *got = from_form(cases[i][0]);

        if (strcmp(got, cases[i][1]) != 0)
            fail_msg("%s: %s", cases[i][0], got);
    }
}

static void test_too_many(void **state)
{
    struct sorted_params p;
    const char *reason;
    struct buf b;
    (void)state;

    buf_init(&b, 8192);
    for (unsigned i = 0; i < SORTED_MAX; i++)
        buf_addf(&b, "%sp%u=1", i ? "&" : "", i);
    assert_int_equal(sorted_from_form(&arena, buf_slice(&b), &p, &reason), 0);
    buf_add_str(&b, "&q=1");
    assert_int_equal(sorted_from_form(&arena, buf_slice(&b), &p, &reason), -1);
    assert_string_equal(reason, "too many parameters");
    buf_release(&b);
}

/* ------------------------------------------------------------------ the scheme's parameters */

#define OWN                                                                                        \
    "service=POST+%2Fv1%2Fpayments&serial_no=K1&nonce_str=0123456789abcdef&timestamp=1788235200"   \
    "&sign=ABCD"

static void test_take(void **state)
{
    static const char *const bad[][2] = {
        {"serial_no=K1&nonce_str=0123456789abcdef&timestamp=1&sign=ABCD",
         "service is missing or malformed"},
        {"service=x&nonce_str=0123456789abcdef&timestamp=1&sign=ABCD",
         "serial_no is missing or malformed"},
        {"service=x&serial_no=K1&timestamp=1&sign=ABCD", "nonce_str is missing or malformed"},
        {"service=x&serial_no=K1&nonce_str=short&timestamp=1&sign=ABCD",
         "nonce_str is missing or malformed"},
        {"service=x&serial_no=K.1&nonce_str=0123456789abcdef&timestamp=1&sign=ABCD",
         "serial_no is missing or malformed"},
        {"service=x&serial_no=K1&nonce_str=0123456789abcdef&sign=ABCD",
         "timestamp is missing or malformed"},
        {"service=x&serial_no=K1&nonce_str=0123456789abcdef&timestamp=1x&sign=ABCD",
         "timestamp is missing or malformed"},
        {"service=x&serial_no=K1&nonce_str=0123456789abcdef&timestamp=01&sign=ABCD",
         "timestamp is missing or malformed"},
        {"service=x&serial_no=K1&nonce_str=0123456789abcdef&timestamp=1",
         "sign is missing or malformed"},
    };
    struct sorted_request r;
    struct sorted_params p;
    const char *reason;
    (void)state;

    assert_int_equal(sorted_from_form(&arena, SLICE(OWN "&sign_type=MD5"), &p, &reason), 0);
    assert_int_equal(sorted_take(&p, &r, &reason), 0);
    assert_slice(r.service, "POST /v1/payments");
    assert_slice(r.sign, "ABCD");
    assert_slice(r.sign_type, "MD5");
    assert_int_equal(r.timestamp_s, 1788235200);
    for (size_t i = 0; i < COUNT(bad); i++) {
        assert_int_equal(sorted_from_form(&arena, slice_of(bad[i][0]), &p, &reason), 0);
        assert_int_equal(sorted_take(&p, &r, &reason), -1);
        assert_string_equal(reason, bad[i][1]);
    }
}

/* ------------------------------------------------------------------ what goes on */

static void test_body(void **state)
{
    static const struct api_field fields[] = {{"amount", FIELD_OBJECT, 0, 0, 0, 0, 0, 0},
                                              {"amount.total", FIELD_INTEGER, 0, 0, 0, 0, 0, 0},
                                              {0}};
    static const char *const forms[][2] = {
        {OWN, "{}"},
        {OWN "&amount.total=100&a=1&amount.currency=CNY",
         "{\"a\":\"1\",\"amount\":{\"currency\":\"CNY\",\"total\":100}}"},
        {"amount.total=1e3", "{\"amount\":{\"total\":\"1e3\"}}"},
        {"amount.total=007", "{\"amount\":{\"total\":\"007\"}}"},
        {"empty=&z.y.x=1&z.y.w=2&z.a=3&z=4",
         "{\"z\":\"4\",\"z\":{\"a\":\"3\",\"y\":{\"w\":\"2\",\"x\":\"1\"}}}"},
        {"a=%22%0a", "{\"a\":\"\\\"\\n\"}"},
    };
    struct sorted_params p;
    const struct json *doc;
    struct json_error err;
    const char *reason;
    struct buf b;
    (void)state;

    buf_init(&b, 4096);
    for (size_t i = 0; i < COUNT(forms); i++) {
        buf_clear(&b);
        assert_int_equal(sorted_from_form(&arena, slice_of(forms[i][0]), &p, &reason), 0);
        sorted_body(&b, &p, fields, true);
        assert_slice(buf_slice(&b), forms[i][1]);
    }
    /* types of a JSON body stay; what was not signed is not there */
    assert_int_equal(json_parse(&arena,
                                SLICE("{\"sign\":\"X\",\"a\":{\"b\":1,\"c\":\"1\",\"d\":true},"
                                      "\"e\":\"\",\"f\":null,\"service\":\"x\"}"),
                                NULL, &doc, &err),
                     0);
    assert_int_equal(sorted_from_json(&arena, doc, &p, &reason), 0);
    buf_clear(&b);
    sorted_body(&b, &p, fields, false);
    assert_slice(buf_slice(&b), "{\"a\":{\"b\":1,\"c\":\"1\",\"d\":true}}");

    buf_clear(&b);
    assert_int_equal(
        sorted_from_form(&arena, SLICE(OWN "&out_trade_no=a%7Cb&mchid=1&x="), &p, &reason), 0);
    sorted_query(&b, &p);
    assert_slice(buf_slice(&b), "mchid=1&out_trade_no=a%7Cb");
    buf_release(&b);
}

static void test_answer(void **state)
{
    const struct sorted_answer answer = {.status = 204,
                                         .body = SLICE_NULL,
                                         .nonce_str = SLICE("N"),
                                         .request_nonce = SLICE("R"),
                                         .serial_no = SLICE("S"),
                                         .timestamp = SLICE("1")};
    struct buf b;
    (void)state;

    buf_init(&b, 4096);
    sorted_answer_string(&b, &answer);
    assert_slice(buf_slice(&b),
                 "body_sha256=e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
                 "&nonce_str=N&request_nonce=R&serial_no=S&status=204&timestamp=1");
    buf_release(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_wechat_v2, clear),
        cmocka_unit_test_teardown(test_alipay, clear),
        cmocka_unit_test_teardown(test_json, clear),
        cmocka_unit_test_teardown(test_form, clear),
        cmocka_unit_test_teardown(test_too_many, clear),
        cmocka_unit_test_teardown(test_take, clear),
        cmocka_unit_test_teardown(test_body, clear),
        cmocka_unit_test_teardown(test_answer, clear),
    };
    int failed;

    cmocka_set_message_output(CM_OUTPUT_TAP);
    arena_init(&arena, 4 << 20);
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    arena_release(&arena);
    return failed;
}
