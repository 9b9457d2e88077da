/* What the virtual bank signs and packs, against the published vectors. */
#include "core_test.h"

#include "backends/paybank/alipay/alipay.h"
#include "backends/paybank/wire/digest.h"
#include "backends/paybank/wire/form.h"
#include "backends/paybank/wire/pack.h"
#include "backends/paybank/unionpay/unionpay.h"
#include "backends/paybank/wechat_v2/wechat_v2.h"
#include "core/json.h"

#include <zlib.h>

static struct arena arena;

static int setup(void **state)
{
    (void)state;
    arena_init(&arena, 64 << 20);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    arena_release(&arena);
    return 0;
}

static const struct json *vectors(const char *path)
{
    struct slice text = read_file(path);
    struct slice kept = arena_copy(&arena, text);
    struct json_error err;
    const struct json *doc;

    free((char *)text.p);
    assert_int_equal(json_parse(&arena, kept, NULL, &doc, &err), 0);
    return doc;
}

/* Members of an object as a form. */
static struct form form_of(const struct json *object)
{
    struct form f;

    assert_non_null(object);
    assert_int_equal(form_init(&f, &arena), 0);
    for (const struct json *m = object->child; m; m = m->next)
        form_add(&f, arena_cstr(&arena, m->key), m->text);
    return f;
}

static struct pkey *private_key(const char *path)
{
    struct slice pem = read_file(path);
    struct pkey *k = pkey_private_from_pem(pem);

    free((char *)pem.p);
    assert_non_null(k);
    return k;
}

static struct pkey *public_key(const char *path)
{
    struct slice pem = read_file(path);
    struct pkey *k = pkey_public_from_pem(pem);

    free((char *)pem.p);
    assert_non_null(k);
    return k;
}

/* ---- form ---- */

static const char *parse_refused(struct slice text)
{
    const char *reason = NULL;
    struct form f;

    assert_int_equal(form_init(&f, &arena), 0);
    assert_int_equal(form_parse(&f, text, &reason), -1);
    return reason;
}

static void test_form_is_read(void **state)
{
    const char *reason;
    struct form f;
    struct buf b;

    (void)state;
    assert_int_equal(form_init(&f, &arena), 0);
    assert_int_equal(form_parse(&f, SLICE("a=1+2%2B&b=%E6%B5%8B&c=&d=x=y"), &reason), 0);
    assert_slice(form_get(&f, "a"), "1 2+");
    assert_slice(form_get(&f, "b"), "测");
    assert_slice(form_get(&f, "d"), "x=y");
    assert_non_null(form_get(&f, "c").p);
    assert_null(form_get(&f, "e").p);
    buf_init(&b, 1000);
    form_encode(&f, &b);
    assert_slice(buf_slice(&b), "a=1%202%2B&b=%E6%B5%8B&c=&d=x%3Dy");
    buf_release(&b);
    assert_string_equal(parse_refused(SLICE("a=%4")), "broken %XX");
    assert_string_equal(parse_refused(SLICE("a=%zz")), "broken %XX");
    assert_string_equal(parse_refused(SLICE("=1")), "no name");
    assert_string_equal(parse_refused(SLICE("a=1&&b=2")), "no name");
    assert_string_equal(parse_refused(SLICE("a=%FF")), "not UTF-8");
    assert_string_equal(parse_refused(SLICE("a=%00")), "not UTF-8");
    assert_string_equal(parse_refused(SLICE("a=1&%61=2")), "a name twice");
}

static void test_form_has_an_end(void **state)
{
    const char *reason;
    struct form f;
    struct buf b;

    (void)state;
    buf_init(&b, 1 << 16);
    for (int i = 0; i <= FORM_MAX; i++)
        buf_addf(&b, "%sn%d=1", i ? "&" : "", i);
    assert_int_equal(form_init(&f, &arena), 0);
    assert_int_equal(form_parse(&f, buf_slice(&b), &reason), -1);
    assert_string_equal(reason, "too many names");
    buf_release(&b);
}

/* ---- the three protocols ---- */

static void check_v2(const struct json *v, enum v2_sign type, const char *want)
{
    struct slice key = json_str(v, "key");
    struct form f = form_of(json_get(v, "fields"));
    struct merchant m = {.shared_key = hmac_key_new(key)};
    char got[65];

    assert_int_equal(secret_set(&m.api_key, key), 0);
    form_add_str(&f, "sign", "never part of it");
    assert_int_equal(v2_signature(&f, &m, type, got), 0);
    assert_slice(json_str(v, want), got);
    secret_release(&m.api_key);
    hmac_key_free(m.shared_key);
}

static void test_wechat_v2(void **state)
{
    const struct json *v = vectors("t/vectors/wechat_v2.json");
    const struct json *info = json_get(v, "wechat_v2_req_info");
    struct merchant m = {.channel = CHANNEL_WECHAT_V2};
    struct buf sealed;

    (void)state;
    check_v2(json_get(v, "wechat_v2_request"), V2_MD5, "md5");
    check_v2(json_get(v, "wechat_v2_request"), V2_HMAC, "hmac_sha256");
    check_v2(json_get(v, "wechat_v2_micropay"), V2_HMAC, "hmac_sha256");
    buf_init(&sealed, 4096);
    assert_int_equal(secret_set(&m.api_key, json_str(info, "api_key")), 0);
    assert_int_equal(v2_req_info(&m, json_str(info, "plaintext"), &sealed), 0);
    assert_true(slice_eq(buf_slice(&sealed), json_str(info, "req_info")));
    secret_release(&m.api_key);
    buf_release(&sealed);
}

static void test_alipay(void **state)
{
    const struct json *v = vectors("t/vectors/alipay.json");
    const struct json *request = json_get(v, "alipay_request");
    struct merchant m = {.merchant_key = public_key("t/vectors/merchant.pub.pem")};
    struct form f = form_of(json_get(request, "params"));

    (void)state;
    form_add(&f, "sign", json_str(request, "sign"));
    assert_int_equal(alipay_verify(&f, &m), 0);
    form_add_str(&f, "more", "1");
    assert_int_equal(alipay_verify(&f, &m), -1);
    pkey_destroy(m.merchant_key);
}

/* A node goes into its frame as the vector has it: escaped, signed, in this order. */
static void test_alipay_frame(void **state)
{
    const struct json *v = json_get(vectors("t/vectors/alipay.json"), "alipay_response");
    struct merchant m = {.platform_key = private_key("t/vectors/channel.key.pem")};
    struct exchange ex = {.merchant = &m};
    struct alipay al = {.ex = &ex};
    struct slice node = json_str(v, "string");

    (void)state;
    assert_int_equal(form_init(&al.in, &arena), 0);
    form_add(&al.in, "method", json_str(v, "method"));
    al.route = (const void *)&al; /* known, that is all */
    ex.answer = &al;
    buf_init(&ex.body, 65536);
    for (size_t i = 0; i < node.n; i++)
        if (node.p[i] != '\\') /* as the writer writes it */
            buf_add_char(&ex.body, node.p[i]);
    alipay_finish(&ex, SIGN_RIGHT);
    assert_true(slice_eq(buf_slice(&ex.body), json_str(v, "raw")));
    buf_release(&ex.body);
    pkey_destroy(m.platform_key);
}

static void test_unionpay(void **state)
{
    const struct json *v = json_get(vectors("t/vectors/unionpay.json"), "unionpay_request");
    struct merchant m = {.merchant_key = public_key("t/vectors/merchant.crt.pem"),
                         .merchant_serial = "11111822610015"};
    struct form f = form_of(json_get(v, "fields"));
    struct form wire;
    const char *reason;

    (void)state;
    form_add(&f, "signature", json_str(v, "signature"));
    assert_int_equal(up_verify(&f, &m), 0);
    assert_int_equal(form_init(&wire, &arena), 0);
    assert_int_equal(form_parse(&wire, json_str(v, "wire_body"), &reason), 0);
    assert_int_equal(up_verify(&wire, &m), 0);
    memcpy(m.merchant_serial, "11111822610016", 15);
    assert_int_equal(up_verify(&f, &m), -1); /* another certificate */
    memcpy(m.merchant_serial, "11111822610015", 15);
    form_add_str(&f, "more", "1");
    assert_int_equal(up_verify(&f, &m), -1);
    pkey_destroy(m.merchant_key);
}

/* ---- packing ---- */

static void test_packing(void **state)
{
    struct slice text = SLICE("业务明细 业务明细 业务明细");
    unsigned char plain[256];
    uLongf n = sizeof(plain);
    struct buf b;

    (void)state;
    buf_init(&b, 4096);
    assert_int_equal(pack_zlib(text, &b), 0);
    assert_int_equal(uncompress(plain, &n, (const Bytef *)b.p, b.n), Z_OK);
    assert_true(slice_eq(slice_n(plain, n), text));
    buf_clear(&b);
    assert_int_equal(pack_gbk(SLICE("测A"), &b), 0);
    assert_slice(buf_slice(&b), "\xB2\xE2"
                                "A");
    buf_clear(&b);
    assert_int_equal(pack_gbk(SLICE("\xF0\x9F\x98\x80"), &b), -1); /* GBK has no such character */
    buf_release(&b);
    buf_init(&b, 10);
    assert_int_equal(pack_gzip(text, &b), -1); /* no room */
    buf_release(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_form_is_read), cmocka_unit_test(test_form_has_an_end),
        cmocka_unit_test(test_wechat_v2),    cmocka_unit_test(test_alipay),
        cmocka_unit_test(test_alipay_frame), cmocka_unit_test(test_unionpay),
        cmocka_unit_test(test_packing),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
