/* WeChat Pay v3 as the virtual bank sees it, against the published vectors. */
#include "core_test.h"

#include "backends/paybank/wire/check.h"
#include "backends/paybank/wechat_v3/wechat_sign.h"
#include "core/json.h"

#define TIME_OF_VECTORS 1788235200

struct vectors {
    struct slice text;
    struct arena arena;
    const struct json *doc;
    struct merchant m;
};

static struct slice of(struct vectors *v, const char *path)
{
    struct slice s = json_str(v->doc, path);

    if (!s.p)
        fail_msg("no vector %s", path);
    return s;
}

static int open_vectors(void **state)
{
    struct vectors *v = calloc(1, sizeof(*v));
    struct slice cert = read_file("t/vectors/merchant.crt.pem");
    struct slice key = read_file("t/vectors/channel.key.pem");
    struct json_error err;

    v->text = read_file("t/vectors/wechat_v3.json");
    arena_init(&v->arena, 1 << 20);
    assert_int_equal(json_parse(&v->arena, v->text, NULL, &v->doc, &err), 0);
    v->m.merchant_key = pkey_public_from_pem(cert);
    v->m.platform_key = pkey_private_from_pem(key);
    assert_int_equal(cert_serial_hex(cert, v->m.merchant_serial, sizeof(v->m.merchant_serial)), 0);
    secret_set(&v->m.api_v3_key, of(v, "wechat_v3_notify.api_v3_key"));
    free((void *)cert.p);
    free((void *)key.p);
    *state = v;
    return 0;
}

static int close_vectors(void **state)
{
    struct vectors *v = *state;

    pkey_destroy(v->m.merchant_key);
    pkey_destroy(v->m.platform_key);
    secret_release(&v->m.api_v3_key);
    arena_release(&v->arena);
    free((void *)v->text.p);
    free(v);
    return 0;
}

static struct wechat_auth auth_of(struct vectors *v, const char *signature)
{
    return (struct wechat_auth){
        .mchid = SLICE("1900000109"),
        .nonce_str = SLICE("593BEC0C930BF1AFEB40B4A08C8FB242"),
        .timestamp = SLICE("1788235200"),
        .serial_no = slice_of(v->m.merchant_serial),
        .signature = of(v, signature),
    };
}

static int verify_post(struct vectors *v, const struct wechat_auth *auth, int64_t now,
                       const char **reason)
{
    return wechat_auth_verify(auth, &v->m, SLICE("POST"), of(v, "wechat_v3_post.url"),
                              of(v, "wechat_v3_post.body"), now, reason);
}

static void test_genuine_requests(void **state)
{
    struct vectors *v = *state;
    struct wechat_auth post = auth_of(v, "wechat_v3_post.signature");
    struct wechat_auth get = auth_of(v, "wechat_v3_get.signature");
    const char *reason = "";

    assert_int_equal(verify_post(v, &post, TIME_OF_VECTORS, &reason), 0);
    assert_int_equal(wechat_auth_verify(
                         &get, &v->m, SLICE("GET"),
                         SLICE("/v3/pay/transactions/out-trade-no/T202609010001?mchid=1900000109"),
                         SLICE_NULL, TIME_OF_VECTORS, &reason),
                     0);
}

static void test_forged_requests(void **state)
{
    struct vectors *v = *state;
    struct wechat_auth good = auth_of(v, "wechat_v3_post.signature"), bad;
    const char *reason = "";

    bad = good;
    bad.signature = of(v, "wechat_v3_get.signature");
    assert_int_equal(verify_post(v, &bad, TIME_OF_VECTORS, &reason), -1);
    assert_string_equal(reason, "sign not match");
    bad.signature = SLICE("not base64!");
    assert_int_equal(verify_post(v, &bad, TIME_OF_VECTORS, &reason), -1);
    bad = good;
    bad.nonce_str = SLICE("593BEC0C930BF1AFEB40B4A08C8FB243");
    assert_int_equal(verify_post(v, &bad, TIME_OF_VECTORS, &reason), -1);
    bad = good;
    bad.timestamp = SLICE("1788235201");
    assert_int_equal(verify_post(v, &bad, TIME_OF_VECTORS, &reason), -1);
    bad = good;
    bad.serial_no = SLICE("0a1b2c3d4e5f");
    assert_int_equal(verify_post(v, &bad, TIME_OF_VECTORS, &reason), -1);
    assert_int_equal(wechat_auth_verify(&good, &v->m, SLICE("POST"), of(v, "wechat_v3_post.url"),
                                        SLICE("{}"), TIME_OF_VECTORS, &reason),
                     -1);
}

static void test_window(void **state)
{
    struct vectors *v = *state;
    struct wechat_auth auth = auth_of(v, "wechat_v3_post.signature");
    const char *reason = "";

    assert_int_equal(verify_post(v, &auth, TIME_OF_VECTORS + 300, &reason), 0);
    assert_int_equal(verify_post(v, &auth, TIME_OF_VECTORS - 300, &reason), 0);
    assert_int_equal(verify_post(v, &auth, TIME_OF_VECTORS + 301, &reason), -1);
    assert_int_equal(verify_post(v, &auth, TIME_OF_VECTORS - 301, &reason), -1);
    auth.timestamp = SLICE("01788235200");
    assert_int_equal(verify_post(v, &auth, TIME_OF_VECTORS, &reason), -1);
}

static void test_authorization_header(void **state)
{
#define W    "WECHATPAY2-SHA256-RSA2048 "
#define REST ",timestamp=\"1\",serial_no=\"A\",signature=\"c2ln\""
    static const struct {
        const char *header;
        int rc;
    } cases[] = {
        {W "mchid=\"1\",nonce_str=\"n\"" REST, 0},
        {W "mchid=\"1\", nonce_str=\"n\" " REST, 0},
        {W "serial_no=\"A\",signature=\"c2ln\",mchid=\"1\",timestamp=\"1\",nonce_str=\"n\"", 0},
        {"PAY-SHA256-RSA2048 mchid=\"1\",nonce_str=\"n\"" REST, -1},
        {"WECHATPAY2-SHA256-RSA2048", -1},
        {W, -1},
        {W "mchid=\"1\"" REST, -1},
        {W "mchid=\"1\",nonce_str=\"n\",mchid=\"1\"" REST, -1},
        {W "mchid=\"1\",nonce_str=\"n\",more=\"1\"" REST, -1},
        {W "mchid=1,nonce_str=\"n\"" REST, -1},
        {W "mchid=\"1,nonce_str=n", -1},
        {W "mchid=\"\",nonce_str=\"n\"" REST, -1},
        {W "mchid=\"1\" nonce_str=\"n\"" REST, -1},
        {W "mchid=\"1\",nonce_str=\"n\"" REST ",", -1},
        {W "mchid=\"1\",nonce_str=\"n n\"" REST, -1},
        {W "mchid=\"1\",nonce_str=\"000000000011111111112222222222333\"" REST, -1},
    };
    struct wechat_auth auth;
    const char *reason;

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        reason = NULL;
        assert_case(wechat_auth_parse(slice_of(cases[i].header), &auth, &reason) == cases[i].rc,
                    cases[i].header);
        assert_case((reason != NULL) == (cases[i].rc < 0), cases[i].header);
    }
    assert_int_equal(wechat_auth_parse(slice_of(cases[2].header), &auth, &reason), 0);
    assert_slice(auth.mchid, "1");
    assert_slice(auth.nonce_str, "n");
    assert_slice(auth.timestamp, "1");
    assert_slice(auth.serial_no, "A");
    assert_slice(auth.signature, "c2ln");
}

static void test_our_signatures(void **state)
{
    static const char *const names[] = {"wechat_v3_response", "wechat_v3_notify"};
    struct vectors *v = *state;
    char path[64];
    struct buf out;

    buf_init(&out, 4096);
    for (size_t i = 0; i < COUNT(names); i++) {
        struct slice parts[4];
        const char *members[] = {"timestamp", "nonce", "body", "signature"};

        for (size_t m = 0; m < 4; m++) {
            snprintf(path, sizeof(path), "%s.%s", names[i], members[m]);
            parts[m] = of(v, path);
        }
        buf_clear(&out);
        assert_int_equal(wechat_sign(&v->m, parts[0], parts[1], parts[2], &out), 0);
        assert_true(slice_eq(buf_slice(&out), parts[3]));
    }
    buf_clear(&out); /* 204: an empty body is an empty line */
    assert_int_equal(wechat_sign(&v->m, SLICE("1788235201"),
                                 SLICE("c5ac7061fccab6bf3e254dcf98995b8c"), SLICE_NULL, &out),
                     0);
    assert_true(slice_eq(buf_slice(&out), of(v, "wechat_v3_response_204.signature")));
    buf_release(&out);
}

static void test_encryption(void **state)
{
    struct vectors *v = *state;
    struct buf out;

    buf_init(&out, 4096);
    assert_int_equal(wechat_encrypt(&v->m, of(v, "wechat_v3_notify.aead_nonce"),
                                    of(v, "wechat_v3_notify.aad"),
                                    of(v, "wechat_v3_notify.plaintext"), &out),
                     0);
    assert_true(slice_eq(buf_slice(&out), of(v, "wechat_v3_notify.ciphertext_b64")));
    buf_release(&out);
}

static void test_fields(void **state)
{
    static const struct check_field table[] = {
        {"no", CHECK_STRING, true, 6, 8, "_-"},
        {"amount", CHECK_OBJECT, false, 0, 0, NULL},
        {"amount.total", CHECK_INTEGER, true, 1, 100, NULL},
        {"text", CHECK_STRING, false, 0, 3, NULL},
        {"flag", CHECK_BOOL, false, 0, 0, NULL},
        {"any", CHECK_OPAQUE, false, 0, 0, NULL},
        {NULL, CHECK_STRING, false, 0, 0, NULL},
    };
    static const struct {
        const char *body;
        const char *field; /* NULL: accepted */
    } cases[] = {
        {"{\"no\":\"abc_-1\"}", NULL},
        {"{\"no\":\"abcdef\",\"amount\":{\"total\":100},\"text\":\"\xe6\xb5\x8b\xe6\xb5\x8b"
         "\xe6\xb5\x8b\",\"flag\":true,\"any\":{\"x\":[1]}}",
         NULL},
        {"{\"no\":\"abcdef\",\"amount\":null,\"text\":null}", NULL},
        {"[]", "/"},
        {"{}", "/no"},
        {"{\"no\":null}", "/no"},
        {"{\"no\":123456}", "/no"},
        {"{\"no\":\"abcde\"}", "/no"},
        {"{\"no\":\"abcdefghi\"}", "/no"},
        {"{\"no\":\"abc|ef\"}", "/no"},
        {"{\"no\":\"abcdef\",\"amount\":{}}", "/amount/total"},
        {"{\"no\":\"abcdef\",\"amount\":5}", "/amount"},
        {"{\"no\":\"abcdef\",\"amount\":{\"total\":0}}", "/amount/total"},
        {"{\"no\":\"abcdef\",\"amount\":{\"total\":101}}", "/amount/total"},
        {"{\"no\":\"abcdef\",\"amount\":{\"total\":1e1}}", "/amount/total"},
        {"{\"no\":\"abcdef\",\"amount\":{\"total\":\"5\"}}", "/amount/total"},
        {"{\"no\":\"abcdef\",\"amount\":{\"total\":5,\"x\":1}}", "/amount/x"},
        {"{\"no\":\"abcdef\",\"text\":\"abcd\"}", "/text"},
        {"{\"no\":\"abcdef\",\"text\":\"\xf0\x9f\x98\x80\"}", "/text"},
        {"{\"no\":\"abcdef\",\"flag\":1}", "/flag"},
        {"{\"no\":\"abcdef\",\"any\":1}", "/any"},
        {"{\"no\":\"abcdef\",\"more\":1}", "/more"},
    };
    const struct json *doc;
    struct json_error err;
    struct arena a;

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct check_error bad;
        int rc;

        arena_init(&a, 65536);
        assert_int_equal(json_parse(&a, slice_of(cases[i].body), NULL, &doc, &err), 0);
        rc = check_fields(doc, table, &bad);
        assert_case(rc == (cases[i].field ? -1 : 0), cases[i].body);
        if (cases[i].field)
            assert_string_equal(bad.field, cases[i].field);
        arena_release(&a);
    }
}

static void test_unescape(void **state)
{
    struct slice out;
    struct arena a;

    (void)state;
    arena_init(&a, 4096);
    assert_int_equal(check_unescape(&a, SLICE("a%7Cb%2a+"), &out), 0);
    assert_slice(out, "a|b*+");
    assert_int_equal(check_unescape(&a, SLICE("a%7"), &out), -1);
    assert_int_equal(check_unescape(&a, SLICE("a%"), &out), -1);
    assert_int_equal(check_unescape(&a, SLICE("a%g0"), &out), -1);
    arena_release(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_genuine_requests), cmocka_unit_test(test_forged_requests),
        cmocka_unit_test(test_window),           cmocka_unit_test(test_authorization_header),
        cmocka_unit_test(test_our_signatures),   cmocka_unit_test(test_encryption),
        cmocka_unit_test(test_fields),           cmocka_unit_test(test_unescape),
    };

    return cmocka_run_group_tests(tests, open_vectors, close_vectors);
}
