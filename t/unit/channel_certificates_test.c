/*
 * Certificates that the channel publishes (R3.5): which lists are believed, what they are good for
 * and when; which accounts ask for them. The merchant's certificate plays the platform's.
 */
#include "channel_test.h"

#include "core/crypto.h"

#define AT_S   1796000000LL /* within the certificates' life */
#define AT     (AT_S * USEC_PER_SEC)
#define SERIAL "0A1B2C3D4E5F"
#define CERT   "t/vectors/merchant.crt.pem"
#define OTHER  "t/vectors/channel_acp.crt.pem" /* serial 1002030405, key of fx.platform */

static struct slice config(void)
{
    return PAIRS("mchid", MCHID, "appid", APPID, "serial_no", MERCHANT_SERIAL);
}

static struct slice secrets(void)
{
    return PAIRS("private_key", "@t/vectors/merchant.key.pem", "api_v3_key", API_V3_KEY);
}

static struct slice sealed(struct slice key, struct slice plain)
{
    struct slice text;
    struct buf raw, b64;

    buf_init(&raw, 65536);
    buf_init(&b64, 65536);
    assert_int_equal(gcm_seal(key, SLICE("0123456789ab"), SLICE("certificate"), plain, &raw), 0);
    base64_encode(&b64, buf_slice(&raw));
    text = arena_copy(&fx.arena, buf_slice(&b64));
    buf_release(&raw);
    buf_release(&b64);
    return text;
}

static struct slice member(const char *serial, struct slice ciphertext)
{
    return arena_printf(&fx.arena,
                        "{\"serial_no\":\"%s\",\"encrypt_certificate\":{\"algorithm\":"
                        "\"AEAD_AES_256_GCM\",\"nonce\":\"0123456789ab\",\"associated_data\":"
                        "\"certificate\",\"ciphertext\":\"%.*s\"}}",
                        serial, SLICE_FMT(ciphertext));
}

static struct slice list_of(struct slice members)
{
    return arena_printf(&fx.arena, "{\"data\":[%.*s]}", SLICE_FMT(members));
}

static struct slice good_list(void)
{
    return list_of(member(SERIAL, sealed(SLICE(API_V3_KEY), file_text(CERT))));
}

static struct channel_certificate came[CHANNEL_CERTIFICATES_MAX];
static uint32_t count;

/* How the list is taken by a new account: NULL or why not. */
static const char *take(struct slice body, const struct verify_key *key, const char *serial,
                        int64_t signed_at, int status)
{
    struct channel_account *a = new_account(fx.wechat, config(), secrets());
    struct signed_headers h = wechat_sign_as(key, serial, signed_at, body);
    const char *why = NULL;
    int rc = channel_certificates_decode(fx.wechat, a, status, h.h, h.n, body, AT, &fx.arena, came,
                                         &count, &why);

    channel_account_free(a);
    assert_true(rc == 0 ? count > 0 : count == 0 && why);
    return rc == 0 ? NULL : why;
}

static void test_request(void **state)
{
    struct channel_account *a = new_account(fx.wechat, config(), secrets());
    struct channel_request r;
    const char *why;
    size_t n;

    (void)state;
    assert_int_equal(
        channel_certificates_encode(fx.wechat, a, AT, SLICE(NONCE), &fx.arena, &r, &why), 0);
    assert_slice(r.method, "GET");
    assert_slice(r.target, "/v3/certificates");
    assert_slice(r.egress_kind, "other");
    assert_true(slice_starts(http_find(r.headers, r.nheaders, "Authorization", &n),
                             SLICE("WECHATPAY2-SHA256-RSA2048 mchid=")));
    http_find(r.headers, r.nheaders, "Wechatpay-Serial", &n);
    assert_int_equal(n, 0);
    assert_int_equal(
        channel_certificates_encode(fx.wechat, a, AT, SLICE("short"), &fx.arena, &r, &why), -1);
    channel_account_free(a);
    assert_int_equal(channel_certificates_encode(fx.bank, fx.bank_account, AT, SLICE(NONCE),
                                                 &fx.arena, &r, &why),
                     -1);
}

static void test_taken(void **state)
{
    (void)state;
    assert_null(take(good_list(), &fx.platform_2, SERIAL, AT_S, 200));
    assert_int_equal(count, 1);
    assert_slice(came[0].serial, SERIAL);
    assert_true(slice_contains(came[0].pem, SLICE("BEGIN CERTIFICATE")));
    assert_true(came[0].from < AT && came[0].until > AT);
}

static void test_refused(void **state)
{
    struct slice text = sealed(SLICE(API_V3_KEY), file_text(CERT));
    struct slice one = member(SERIAL, text), many = one;

    (void)state;
    for (uint32_t i = 0; i < CHANNEL_CERTIFICATES_MAX; i++)
        many = arena_printf(&fx.arena, "%.*s,%.*s", SLICE_FMT(many), SLICE_FMT(one));
    /* signed by somebody whose certificate is not in it, or by nobody's serial */
    assert_string_equal(take(good_list(), &fx.platform, SERIAL, AT_S, 200),
                        "signature does not verify");
    assert_string_equal(take(good_list(), &fx.platform_2, SERIAL_1, AT_S, 200),
                        "serial is not one of the account's");
    assert_non_null(take(good_list(), &fx.platform_2, SERIAL, AT_S - 301, 200));
    assert_non_null(take(good_list(), &fx.platform_2, SERIAL, AT_S, 401));
    /* sealed with another key: a stranger's list with his own certificate and signature */
    assert_string_equal(
        take(list_of(member(SERIAL,
                            sealed(SLICE("another-key-another-key-another-"), file_text(CERT)))),
             &fx.platform_2, SERIAL, AT_S, 200),
        "a certificate cannot be decrypted");
    assert_string_equal(
        take(list_of(member("0A1B2C3D4E60", text)), &fx.platform_2, SERIAL, AT_S, 200),
        "a certificate has another serial number than it is said to have");
    assert_string_equal(take(list_of(member(SERIAL, sealed(SLICE(API_V3_KEY), SLICE("no PEM")))),
                             &fx.platform_2, SERIAL, AT_S, 200),
                        "a certificate is malformed");
    assert_non_null(take(list_of(SLICE("")), &fx.platform_2, SERIAL, AT_S, 200));
    assert_non_null(take(list_of(many), &fx.platform_2, SERIAL, AT_S, 200));
    assert_non_null(take(SLICE("{\"data\":{}}"), &fx.platform_2, SERIAL, AT_S, 200));
    assert_non_null(take(SLICE("{"), &fx.platform_2, SERIAL, AT_S, 200));
}

/* A certificate is believed by its serial number, while it is in date, beside the account's keys.
 */
static void test_trust(void **state)
{
    struct channel_account *a = new_account(fx.wechat, config(), secrets());
    struct channel_order order = an_order();
    struct slice body = SLICE("{\"code_url\":\"weixin://x\"}"), serial;
    struct signed_headers h = wechat_sign_as(&fx.platform_2, SERIAL, AT_S, body);
    struct channel_result r;
    pay_time_t from, until;

    (void)state;
    assert_true(channel_account_refreshes(a));
    assert_int_equal(channel_account_trusts_until(a, AT), 0);
    channel_decode(fx.wechat, a, CALL_PREPARE, &order, 200, h.h, h.n, body, AT, &fx.arena, &r);
    assert_int_equal(r.cls, CLASS_UNKNOWN);
    assert_int_equal(channel_account_trust(a, SLICE("garbage")), 0);
    assert_int_equal(
        channel_account_trust(a, arena_printf(&fx.arena, "%.*s%.*s", SLICE_FMT(file_text(OTHER)),
                                              SLICE_FMT(file_text(CERT)))),
        2);
    assert_true(channel_account_trusted(a, 1, &serial, &from, &until));
    assert_slice(serial, SERIAL);
    assert_false(channel_account_trusted(a, 2, &serial, &from, &until));
    assert_true(channel_account_trusts_until(a, AT) > AT);
    channel_decode(fx.wechat, a, CALL_PREPARE, &order, 200, h.h, h.n, body, AT, &fx.arena, &r);
    assert_int_equal(r.cls, CLASS_ACCEPTED);
    /* another's serial on it */
    rename_header(&h, "Wechatpay-Serial", "X-Was");
    add_header(&h, "Wechatpay-Serial", SLICE("1002030405"));
    channel_decode(fx.wechat, a, CALL_PREPARE, &order, 200, h.h, h.n, body, AT, &fx.arena, &r);
    assert_int_equal(r.cls, CLASS_UNKNOWN);
    /* before it begins, and after its end */
    assert_int_equal(channel_account_trusts_until(a, from - USEC_PER_SEC), 0);
    assert_int_equal(channel_account_trusts_until(a, until + USEC_PER_SEC), 0);
    h = wechat_sign_as(&fx.platform_2, SERIAL, from / USEC_PER_SEC - 60, body);
    channel_decode(fx.wechat, a, CALL_PREPARE, &order, 200, h.h, h.n, body,
                   from - 60 * USEC_PER_SEC, &fx.arena, &r);
    assert_int_equal(r.cls, CLASS_UNKNOWN);
    channel_account_free(a);
}

static void test_who_asks(void **state)
{
    struct slice with = PAIRS("mchid", MCHID, "appid", APPID, "serial_no", MERCHANT_SERIAL,
                              "platform_serial", SERIAL);
    struct channel_account *a;

    (void)state;
    assert_false(channel_account_refreshes(fx.wechat_account)); /* has a bare public key */
    assert_false(channel_account_refreshes(fx.bank_account));
    a = new_account(fx.wechat, with,
                    PAIRS("private_key", "@t/vectors/merchant.key.pem", "api_v3_key", API_V3_KEY,
                          "platform_key", "@" CERT));
    assert_true(channel_account_refreshes(a)); /* a certificate ends */
    assert_true(channel_account_trusts_until(a, AT) > AT);
    channel_account_free(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_request),  cmocka_unit_test(test_taken),
        cmocka_unit_test(test_refused),  cmocka_unit_test(test_trust),
        cmocka_unit_test(test_who_asks),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, setup, teardown);
}
