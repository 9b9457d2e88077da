#include "core/scheme.h"

#include "core/json.h"
#include "core_test.h"

#define MCHID  "mchid=\"1900000109\""
#define NONCE  "nonce_str=\"593BEC0C930BF1AFEB40B4A08C8FB242\""
#define TIME   "timestamp=\"1788235200\""
#define SERIAL "serial_no=\"7132d72a03e93cddf8c03bbd1f37eedf_-\""
#define SIG    "signature=\"QUJD+/8=\""
#define WECHAT "WECHATPAY2-SHA256-RSA2048 "
#define REST   "," NONCE "," TIME "," SERIAL "," SIG

/* ------------------------------------------------------------------ Authorization */

static void check_header(const char *header, enum scheme scheme)
{
    struct authorization a;
    const char *reason = "unset";

    if (authorization_parse(slice_of(header), &a, &reason) < 0)
        fail_msg("%s: %s", header, reason);
    assert_int_equal(a.scheme, scheme);
    assert_slice(a.mchid, "1900000109");
    assert_slice(a.nonce_str, "593BEC0C930BF1AFEB40B4A08C8FB242");
    assert_slice(a.timestamp, "1788235200");
    assert_int_equal(a.timestamp_s, 1788235200);
    assert_slice(a.serial_no, "7132d72a03e93cddf8c03bbd1f37eedf_-");
    assert_slice(a.signature, "QUJD+/8=");
}

static void test_header_forms(void **state)
{
    (void)state;
    check_header(WECHAT MCHID REST, SCHEME_WECHATPAY2_RSA);
    check_header("PAY-SHA256-RSA2048 " MCHID REST, SCHEME_PAY_RSA);
    check_header("PAY-HMAC-SHA256 " MCHID REST, SCHEME_PAY_HMAC);
    /* any order, and the blanks that SDKs put */
    check_header(WECHAT SIG "," SERIAL "," TIME "," NONCE "," MCHID, SCHEME_WECHATPAY2_RSA);
    check_header(WECHAT "  " TIME ", " SIG " ,\t" NONCE " , " MCHID ", " SERIAL " ",
                 SCHEME_WECHATPAY2_RSA);
    check_header(" " WECHAT MCHID REST "\t", SCHEME_WECHATPAY2_RSA);
}

static void test_header_refused(void **state)
{
    static const struct {
        const char *header;
        const char *reason;
    } bad[] = {
        {"", "unknown schema"},
        {"Basic YTpi", "unknown schema"},
        {"WECHATPAY2-SHA256-RSA2048", "parameters are missing"},
        {"wechatpay2-sha256-rsa2048 " MCHID REST, "unknown schema"},
        {"WECHATPAY2-SHA256-RSA20480 " MCHID REST, "unknown schema"},
        {"WECHATPAY2-SM2-WITH-SM3 " MCHID REST, "unknown schema"},
        {"WECHATPAY2-SHA256-RSA2048\t" MCHID REST, "unknown schema"},
        {WECHAT, "parameters are missing"},
        {WECHAT NONCE "," TIME "," SERIAL "," SIG, "mchid is missing"},
        {WECHAT MCHID "," TIME "," SERIAL "," SIG, "nonce_str is missing"},
        {WECHAT MCHID "," NONCE "," SERIAL "," SIG, "timestamp is missing"},
        {WECHAT MCHID "," NONCE "," TIME "," SIG, "serial_no is missing"},
        {WECHAT MCHID "," NONCE "," TIME "," SERIAL, "signature is missing"},
        {WECHAT MCHID REST "," MCHID, "mchid is repeated"},
        {WECHAT MCHID REST "," SIG, "signature is repeated"},
        {WECHAT "mchid=\"other\"," MCHID REST, "mchid is repeated"},
        {WECHAT MCHID REST ",app=\"1\"", "unknown parameter"},
        {WECHAT "MCHID=\"1\"," NONCE, "unknown parameter"},
        {WECHAT "=\"1\"", "unknown parameter"},
        {WECHAT MCHID REST ",", "parameters are malformed"},
        {WECHAT MCHID REST ", ", "parameters are malformed"},
        {WECHAT MCHID ",," NONCE, "unknown parameter"},
        {WECHAT "," MCHID REST, "unknown parameter"},
        {WECHAT MCHID REST "x", "parameters are malformed"},
        {WECHAT MCHID " " NONCE, "parameters are malformed"},
        {WECHAT "mchid", "parameters are malformed"},
        {WECHAT "mchid=", "mchid is malformed"},
        {WECHAT "mchid=1900000109" REST, "mchid is malformed"},
        {WECHAT "mchid='1900000109'" REST, "mchid is malformed"},
        {WECHAT "mchid=\"1900000109" REST, "mchid is malformed"},
        {WECHAT "mchid=\"1900000109", "mchid is malformed"},
        {WECHAT "mchid= \"1900000109\"" REST, "mchid is malformed"},
        {WECHAT "mchid=\"\"" REST, "mchid is malformed"},
        {WECHAT "mchid=\"19 0\"" REST, "mchid is malformed"},
        {WECHAT "mchid=\"19\\\"0\"" REST, "mchid is malformed"},
        {WECHAT "mchid=\"19,0\"" REST, "mchid is malformed"},
        {WECHAT "mchid=\"\xe4\xb8\xad\"" REST, "mchid is malformed"},
        {WECHAT "nonce_str=\"123456789012345\"", "nonce_str is malformed"},
        {WECHAT "nonce_str=\"1234567890123456\n\"", "nonce_str is malformed"},
        {WECHAT "nonce_str=\"12345678901234567890123456789012345678901234567890123456789012345\"",
         "nonce_str is malformed"},
        {WECHAT "timestamp=\"-1\"", "timestamp is malformed"},
        {WECHAT "timestamp=\"1788235200.5\"", "timestamp is malformed"},
        {WECHAT "timestamp=\"1788235200000\"", "timestamp is malformed"},
        {WECHAT "timestamp=\" 1788235200\"", "timestamp is malformed"},
        {WECHAT MCHID "," NONCE ",timestamp=\"01788235200\"," SERIAL "," SIG,
         "timestamp is malformed"},
        {WECHAT "serial_no=\"a:b\"", "serial_no is malformed"},
        {WECHAT "signature=\"QUJ\"", "signature is malformed"},
        {WECHAT "signature=\"QUJD QUJD\"", "signature is malformed"},
        {WECHAT "signature=\"WECHATPAY/SIGNTEST/x.y\"", "signature is malformed"},
    };
    struct authorization a = {.timestamp_s = 42};
    const char *reason = NULL;
    (void)state;

    for (size_t i = 0; i < COUNT(bad); i++) {
        assert_case(authorization_parse(slice_of(bad[i].header), &a, &reason) == -1, bad[i].header);
        assert_case(strcmp(reason, bad[i].reason) == 0, reason);
    }
    assert_int_equal(authorization_parse(SLICE_NULL, &a, &reason), -1);
    assert_int_equal(authorization_parse(SLICE(WECHAT MCHID REST "\0"), &a, &reason), -1);
    assert_int_equal(authorization_parse(SLICE(WECHAT "mchid=\"19\0\"" REST), &a, &reason), -1);
    assert_int_equal(a.timestamp_s, 42);
}

/* The vector of the Standard Webhooks reference libraries. */
static void test_standard_webhook(void **state)
{
    static const char payload[] = "{\"test\": 2432232314}";
    struct verify_key k = {0};
    struct slice parts[SCHEME_PARTS];
    struct buf secret, out;
    size_t n;
    (void)state;

    buf_init(&secret, 64);
    buf_init(&out, 256);
    assert_int_equal(base64_decode(&secret, SLICE("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")), 0);
    assert_int_equal(verify_key_load(&k, KEY_HMAC_SHA256, buf_slice(&secret)), 0);
    n = scheme_webhook_parts(SLICE("msg_p5jXN8AQM9LWM0D4loKWxJek"), SLICE("1614265330"),
                             slice_of(payload), parts);
    assert_true(n <= SCHEME_PARTS);
    assert_int_equal(scheme_sign(&k, parts, n, &out), 0);
    assert_true(slice_is(buf_slice(&out), "g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="));
    verify_key_release(&k);
    buf_release(&secret);
    buf_release(&out);
}

/* No prefix of a good header is one, and none is read beyond its end. */
static void test_header_prefixes(void **state)
{
    static const char header[] = WECHAT MCHID REST;
    (void)state;

    for (size_t n = 0; n < sizeof(header) - 1; n++) {
        char *copy = malloc(n ? n : 1);
        struct authorization a;
        const char *reason = NULL;

        memcpy(copy, header, n);
        assert_int_equal(authorization_parse(slice_n(copy, n), &a, &reason), -1);
        assert_non_null(reason);
        free(copy);
    }
}

static void test_long_signature(void **state)
{
    struct authorization a;
    const char *reason;
    struct buf b;
    (void)state;

    buf_init(&b, 65536);
    buf_add_str(&b, WECHAT MCHID "," NONCE "," TIME "," SERIAL ",signature=\"");
    for (int i = 0; i < 2000; i++)
        buf_add_char(&b, 'A');
    buf_add_char(&b, '"');
    assert_int_equal(authorization_parse(buf_slice(&b), &a, &reason), -1);
    assert_string_equal(reason, "signature is malformed");
    buf_release(&b);
}

/* ------------------------------------------------------------------ names */

static void test_names(void **state)
{
    (void)state;
    assert_string_equal(scheme_name(SCHEME_WECHATPAY2_RSA), "WECHATPAY2-SHA256-RSA2048");
    assert_string_equal(scheme_name(SCHEME_PAY_RSA), "PAY-SHA256-RSA2048");
    assert_string_equal(scheme_name(SCHEME_PAY_HMAC), "PAY-HMAC-SHA256");
    assert_string_equal(scheme_header_prefix(SCHEME_WECHATPAY2_RSA), "Wechatpay-");
    assert_string_equal(scheme_header_prefix(SCHEME_PAY_RSA), "Pay-");
    assert_string_equal(scheme_header_prefix(SCHEME_PAY_HMAC), "Pay-");
    assert_int_equal(key_alg_parse(SLICE("rsa-sha256")), KEY_RSA_SHA256);
    assert_int_equal(key_alg_parse(SLICE("hmac-sha256")), KEY_HMAC_SHA256);
    assert_int_equal(key_alg_parse(SLICE("none")), KEY_ALG_NONE);
    assert_int_equal(key_alg_parse(SLICE("RSA-SHA256")), KEY_ALG_NONE);
    assert_int_equal(key_alg_parse(SLICE_NULL), KEY_ALG_NONE);
    assert_string_equal(key_alg_name(KEY_RSA_SHA256), "rsa-sha256");
    assert_string_equal(key_alg_name(KEY_HMAC_SHA256), "hmac-sha256");
    assert_non_null(scheme_name(SCHEME_NONE));
}

/* Scheme and algorithm are the key's: one scheme's message with another's key is never taken, nor
 * one algorithm's schema with another's. The whole matrix; what is not listed is refused. */
static void test_fits(void **state)
{
    static const struct {
        enum scheme scheme;
        enum key_scheme key_scheme;
        enum key_alg alg;
    } allowed[] = {
        {SCHEME_WECHATPAY2_RSA, KEY_SCHEME_HEADER, KEY_RSA_SHA256},
        {SCHEME_PAY_RSA, KEY_SCHEME_HEADER, KEY_RSA_SHA256},
        {SCHEME_PAY_HMAC, KEY_SCHEME_HEADER, KEY_HMAC_SHA256},
        {SCHEME_PAY_ED25519, KEY_SCHEME_HEADER, KEY_ED25519},
        {SCHEME_SORTED, KEY_SCHEME_SORTED, KEY_MD5},
        {SCHEME_SORTED, KEY_SCHEME_SORTED, KEY_HMAC_SHA256},
        {SCHEME_SORTED, KEY_SCHEME_SORTED, KEY_RSA_SHA256},
        {SCHEME_RFC9421, KEY_SCHEME_RFC9421, KEY_RSA_SHA256},
        {SCHEME_RFC9421, KEY_SCHEME_RFC9421, KEY_HMAC_SHA256},
        {SCHEME_RFC9421, KEY_SCHEME_RFC9421, KEY_ED25519},
        {SCHEME_RFC9421, KEY_SCHEME_RFC9421, KEY_ECDSA_P256_SHA256},
        {SCHEME_RFC9421, KEY_SCHEME_RFC9421, KEY_RSA_PSS_SHA512},
    };
    (void)state;

    for (enum scheme s = SCHEME_NONE; s <= SCHEME_RFC9421; s++)
        for (enum key_scheme k = KEY_SCHEME_NONE; k <= KEY_SCHEME_RFC9421; k++)
            for (enum key_alg alg = KEY_ALG_NONE; alg <= KEY_MD5; alg++) {
                bool want = false;

                for (size_t i = 0; i < COUNT(allowed); i++)
                    want |= allowed[i].scheme == s && allowed[i].key_scheme == k &&
                            allowed[i].alg == alg;
                assert_int_equal(scheme_fits(s, k, alg), want);
            }
}

static void test_key_names(void **state)
{
    (void)state;
    for (enum key_alg alg = KEY_RSA_SHA256; alg <= KEY_MD5; alg++)
        assert_int_equal(key_alg_parse(slice_of(key_alg_name(alg))), alg);
    for (enum key_scheme k = KEY_SCHEME_HEADER; k <= KEY_SCHEME_RFC9421; k++)
        assert_int_equal(key_scheme_parse(slice_of(key_scheme_name(k))), k);
    assert_int_equal(key_scheme_parse(SLICE("none")), KEY_SCHEME_NONE);
    assert_int_equal(key_scheme_parse(SLICE_NULL), KEY_SCHEME_NONE);
    assert_false(key_scheme_allows((enum key_scheme)99, KEY_MD5));
    assert_false(key_scheme_allows(KEY_SCHEME_SORTED, (enum key_alg)99));
}

/* HMAC with the public key as its secret, and any key as one of another algorithm. */
static void test_material_of_another_kind(void **state)
{
    struct slice pem = read_file("t/vectors/merchant.pub.pem");
    struct slice cert = read_file("t/vectors/merchant.crt.pem");
    struct verify_key k;
    (void)state;

    assert_int_equal(verify_key_load(&k, KEY_HMAC_SHA256, pem), -1);
    assert_int_equal(verify_key_load(&k, KEY_HMAC_SHA256, cert), -1);
    assert_int_equal(verify_key_load(&k, KEY_MD5, pem), -1);
    assert_int_equal(verify_key_load(&k, KEY_ED25519, pem), -1);
    assert_int_equal(verify_key_load(&k, KEY_ECDSA_P256_SHA256, pem), -1);
    assert_int_equal(verify_key_load(&k, KEY_RSA_SHA256, SLICE("0123456789abcdef")), -1);
    assert_int_equal(k.alg, KEY_ALG_NONE);
    assert_int_equal(verify_key_load(&k, KEY_RSA_PSS_SHA512, pem), 0);
    verify_key_release(&k);
    free((char *)pem.p);
    free((char *)cert.p);
}

/* ------------------------------------------------------------------ WeChat's vectors */

static struct arena arena;
static const struct json *vectors;
static struct verify_key merchant, channel, merchant_pub, channel_pub;

static void load_key(struct verify_key *k, const char *path)
{
    struct slice pem = read_file(path);

    assert_case(verify_key_load(k, KEY_RSA_SHA256, pem) == 0, path);
    free((char *)pem.p);
}

static int load_vectors(void **state)
{
    struct slice text = read_file("t/vectors/wechat_v3.json");
    struct json_error err;
    (void)state;

    arena_init(&arena, 1 << 20);
    if (json_parse(&arena, text, NULL, &vectors, &err) < 0)
        fail_msg("wechat_v3.json: %s at %zu", err.reason, err.offset);
    free((char *)text.p);
    load_key(&merchant, "t/vectors/merchant.key.pem");
    load_key(&channel, "t/vectors/channel.key.pem");
    load_key(&merchant_pub, "t/vectors/merchant.crt.pem");
    load_key(&channel_pub, "t/vectors/channel.pub.pem");
    return 0;
}

static int unload_vectors(void **state)
{
    (void)state;
    verify_key_release(&merchant);
    verify_key_release(&channel);
    verify_key_release(&merchant_pub);
    verify_key_release(&channel_pub);
    arena_release(&arena);
    return 0;
}

/* The parts make `string`; our signature is the vector's (PKCS#1 v1.5 is deterministic). */
static void check_vector(const struct json *v, const struct slice *parts, size_t count)
{
    bool by_merchant = slice_is(json_str(v, "key"), "merchant.key.pem");
    struct slice want = json_str(v, "signature");
    struct slice string = json_str(v, "string");
    struct buf b;

    buf_init(&b, 65536);
    for (size_t i = 0; i < count; i++)
        buf_add_slice(&b, parts[i]);
    if (string.p) /* the notification's is not spelled out */
        assert_true(slice_eq(buf_slice(&b), string));
    buf_clear(&b);
    assert_int_equal(scheme_sign(by_merchant ? &merchant : &channel, parts, count, &b), 0);
    assert_true(slice_eq(buf_slice(&b), want));
    assert_int_equal(scheme_verify(by_merchant ? &merchant_pub : &channel_pub, parts, count, want),
                     0);
    assert_int_equal(scheme_verify(by_merchant ? &channel_pub : &merchant_pub, parts, count, want),
                     -1);
    assert_int_equal(
        scheme_verify(by_merchant ? &merchant_pub : &channel_pub, parts, count - 1, want), -1);
    b.p[10] = b.p[10] == 'A' ? 'B' : 'A';
    assert_int_equal(
        scheme_verify(by_merchant ? &merchant_pub : &channel_pub, parts, count, buf_slice(&b)), -1);
    buf_release(&b);
}

static void test_wechat_requests(void **state)
{
    const struct json *post = json_get(vectors, "wechat_v3_post");
    const struct json *get = json_get(vectors, "wechat_v3_get");
    struct slice parts[SCHEME_PARTS];
    size_t count;
    (void)state;

    count = scheme_request_parts(json_str(post, "method"), json_str(post, "url"),
                                 json_str(post, "timestamp"), json_str(post, "nonce"),
                                 json_str(post, "body"), parts);
    assert_int_equal(count, 10);
    check_vector(post, parts, count);
    count = scheme_request_parts(
        SLICE("GET"), SLICE("/v3/pay/transactions/out-trade-no/T202609010001?mchid=1900000109"),
        SLICE("1788235200"), SLICE("593BEC0C930BF1AFEB40B4A08C8FB242"), SLICE_NULL, parts);
    check_vector(get, parts, count);
}

static void test_wechat_answers(void **state)
{
    const struct json *answer = json_get(vectors, "wechat_v3_response");
    const struct json *empty = json_get(vectors, "wechat_v3_response_204");
    struct slice parts[SCHEME_PARTS];
    size_t count;
    (void)state;

    count = scheme_answer_parts(json_str(answer, "timestamp"), json_str(answer, "nonce"),
                                json_str(answer, "body"), parts);
    assert_int_equal(count, 6);
    check_vector(answer, parts, count);
    count = scheme_answer_parts(json_str(answer, "timestamp"), json_str(answer, "nonce"),
                                SLICE_NULL, parts);
    check_vector(empty, parts, count);
}

static void test_wechat_notification(void **state)
{
    const struct json *v = json_get(vectors, "wechat_v3_notify");
    struct slice parts[SCHEME_PARTS];
    const struct json *body;
    struct json_error err;
    struct buf cipher, plain;
    size_t count;
    (void)state;

    count = scheme_answer_parts(json_str(v, "timestamp"), json_str(v, "nonce"), json_str(v, "body"),
                                parts);
    check_vector(v, parts, count);

    assert_int_equal(json_parse(&arena, json_str(v, "body"), NULL, &body, &err), 0);
    buf_init(&cipher, 4096);
    buf_init(&plain, 4096);
    assert_int_equal(base64_decode(&cipher, json_str(body, "resource.ciphertext")), 0);
    assert_int_equal(gcm_open(json_str(v, "api_v3_key"), json_str(body, "resource.nonce"),
                              json_str(body, "resource.associated_data"), buf_slice(&cipher),
                              &plain),
                     0);
    assert_true(slice_eq(buf_slice(&plain), json_str(v, "plaintext")));

    buf_clear(&cipher);
    assert_int_equal(gcm_seal(json_str(v, "api_v3_key"), json_str(v, "aead_nonce"),
                              json_str(v, "aad"), json_str(v, "plaintext"), &cipher),
                     0);
    buf_clear(&plain);
    base64_encode(&plain, buf_slice(&cipher));
    assert_true(slice_eq(buf_slice(&plain), json_str(v, "ciphertext_b64")));
    buf_release(&cipher);
    buf_release(&plain);
}

/* ------------------------------------------------------------------ keys */

static void test_hmac_scheme(void **state)
{
    struct slice parts[SCHEME_PARTS];
    struct verify_key k, other;
    struct buf b;
    size_t count;
    (void)state;

    buf_init(&b, 64);
    assert_int_equal(verify_key_load(&k, KEY_HMAC_SHA256, SLICE("secret")), 0);
    assert_non_null(k.hmac);
    assert_null(k.pkey);
    assert_int_equal(verify_key_load(&other, KEY_HMAC_SHA256, SLICE("Secret")), 0);
    count = scheme_request_parts(SLICE("POST"), SLICE("/v1/payments"), SLICE("1788235200"),
                                 SLICE("0123456789abcdef"), SLICE("{}"), parts);
    assert_int_equal(scheme_sign(&k, parts, count, &b), 0);
    /* printf 'POST\n/v1/payments\n1788235200\n0123456789abcdef\n{}\n' |
     * openssl dgst -sha256 -hmac secret -binary | base64 */
    assert_slice(buf_slice(&b), "pI8iHBJyRwwdxMQ8wD81fhy/OAZu1DcJDIciQwkeT20=");
    assert_int_equal(scheme_verify(&k, parts, count, buf_slice(&b)), 0);
    assert_int_equal(scheme_verify(&other, parts, count, buf_slice(&b)), -1);
    parts[8] = SLICE("{ }");
    assert_int_equal(scheme_verify(&k, parts, count, buf_slice(&b)), -1);
    assert_int_equal(scheme_verify(&k, parts, count, SLICE("")), -1);
    assert_int_equal(scheme_verify(&k, parts, count, SLICE("not base64!!")), -1);
    buf_release(&b);
    verify_key_release(&k);
    verify_key_release(&other);
    assert_int_equal(scheme_verify(&k, parts, count, SLICE("QUJD")), -1);
    assert_int_equal(scheme_sign(&k, parts, count, &b), -1);
}

static void test_key_refusals(void **state)
{
    struct slice parts[SCHEME_PARTS];
    struct verify_key k;
    struct buf b;
    size_t count = scheme_answer_parts(SLICE("1"), SLICE("2"), SLICE("3"), parts);
    (void)state;

    assert_int_equal(verify_key_load(&k, KEY_ALG_NONE, SLICE("x")), -1);
    assert_int_equal(verify_key_load(&k, KEY_HMAC_SHA256, SLICE_NULL), -1);
    assert_int_equal(verify_key_load(&k, KEY_RSA_SHA256, SLICE_NULL), -1);
    assert_int_equal(verify_key_load(&k, KEY_RSA_SHA256, SLICE("PRIVATE KEY-----")), -1);
    assert_null(k.hmac);
    assert_null(k.pkey);
    verify_key_release(&k);

    /* a public key cannot sign; an output buffer that is too small is an error, not a short text */
    buf_init(&b, 100);
    assert_int_equal(scheme_sign(&merchant_pub, parts, count, &b), -1);
    assert_true(buf_ok(&b));
    assert_int_equal(scheme_sign(&merchant, parts, count, &b), -1);
    assert_false(buf_ok(&b));
    buf_release(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_header_forms),
        cmocka_unit_test(test_header_refused),
        cmocka_unit_test(test_standard_webhook),
        cmocka_unit_test(test_header_prefixes),
        cmocka_unit_test(test_long_signature),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_fits),
        cmocka_unit_test(test_key_names),
        cmocka_unit_test(test_material_of_another_kind),
        cmocka_unit_test(test_wechat_requests),
        cmocka_unit_test(test_wechat_answers),
        cmocka_unit_test(test_wechat_notification),
        cmocka_unit_test(test_hmac_scheme),
        cmocka_unit_test(test_key_refusals),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, load_vectors, unload_vectors);
}
