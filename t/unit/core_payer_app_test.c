/* R1.9, R10.5: the payer's app, from codes and from browsers. */
#include "core/payer_app.h"

#include "core_test.h"

static void test_barcode(void **state)
{
    static const struct {
        const char *code;
        enum payer_app app;
    } cases[] = {
        {"100000000000000000", PAYER_APP_WECHAT},
        {"154743442123456789", PAYER_APP_WECHAT},
        {"134567890123456789", PAYER_APP_WECHAT},
        {"094743442123456789", PAYER_APP_OTHER},
        {"164743442123456789", PAYER_APP_OTHER},
        {"13474344212345678", PAYER_APP_OTHER},
        {"1347434421234567890", PAYER_APP_OTHER},
        {"2512345678901234", PAYER_APP_ALIPAY},
        {"28763443825664394", PAYER_APP_ALIPAY},
        {"301234567890123456789012", PAYER_APP_ALIPAY},
        {"251234567890123", PAYER_APP_OTHER},
        {"2512345678901234567890123", PAYER_APP_OTHER},
        {"2412345678901234", PAYER_APP_OTHER},
        {"3112345678901234", PAYER_APP_OTHER},
        {"6223175680183309582", PAYER_APP_UNIONPAY},
        {"622317568018330958", PAYER_APP_OTHER},
        {"62231756801833095822", PAYER_APP_OTHER},
        {"6123175680183309582", PAYER_APP_OTHER},
        {"", PAYER_APP_OTHER},
        {"1", PAYER_APP_OTHER},
        {"13474344212345678x", PAYER_APP_OTHER},
        {" 34743442123456789", PAYER_APP_OTHER},
        {"13474344212345678 ", PAYER_APP_OTHER},
        {"+34743442123456789", PAYER_APP_OTHER},
        {"١٣٤٧٤٣٤٤٢", PAYER_APP_OTHER},
    };
    (void)state;

    for (size_t i = 0; i < COUNT(cases); i++)
        assert_case(payer_app_of_barcode(slice_of(cases[i].code)) == cases[i].app, cases[i].code);
    assert_int_equal(payer_app_of_barcode(SLICE_NULL), PAYER_APP_OTHER);
    assert_int_equal(payer_app_of_barcode(SLICE("13474344\0"
                                                "123456789")),
                     PAYER_APP_OTHER);
}

/* Every two first digits, every length: exactly what the sheets say. */
static void test_barcode_all(void **state)
{
    char code[32];
    (void)state;

    memset(code, '7', sizeof(code));
    for (int first = 0; first < 100; first++) {
        for (size_t n = 2; n <= 30; n++) {
            enum payer_app want = PAYER_APP_OTHER;

            if (first >= 10 && first <= 15 && n == 18)
                want = PAYER_APP_WECHAT;
            if (first >= 25 && first <= 30 && n >= 16 && n <= 24)
                want = PAYER_APP_ALIPAY;
            if (first == 62 && n == 19)
                want = PAYER_APP_UNIONPAY;
            code[0] = (char)('0' + first / 10);
            code[1] = (char)('0' + first % 10);
            if (payer_app_of_barcode(slice_n(code, n)) != want)
                fail_msg("%.*s", (int)n, code);
        }
    }
}

static void test_agent(void **state)
{
    static const struct {
        const char *agent;
        enum payer_app app;
    } cases[] = {
        {"Mozilla/5.0 (iPhone; CPU iPhone OS 16_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like "
         "Gecko) "
         "Mobile/15E148 MicroMessenger/8.0.38(0x1800262c) NetType/WIFI Language/zh_CN",
         PAYER_APP_WECHAT},
        {"Mozilla/5.0 (Linux; U; Android 12; zh-CN) AppleWebKit/537.36 Mobile Safari/537.36 "
         "NebulaSDK/1.8.100112 Nebula AlipayDefined(nt:WIFI) AliApp(AP/10.3.80) "
         "AlipayClient/10.3.80 Language/zh-Hans",
         PAYER_APP_ALIPAY},
        {"Mozilla/5.0 (Linux; Android 10) AppleWebKit/537.36 Mobile Safari/537.36 "
         "(com.unionpay.mobilepay)"
         "(UnionPay/1.0 CloudPay)",
         PAYER_APP_UNIONPAY},
        {"micromessenger/8.0", PAYER_APP_WECHAT},
        {"MicroMessenger/8", PAYER_APP_WECHAT},
        {"a;AlipayClient/1", PAYER_APP_ALIPAY},
        {"MicroMessenger/8.0 MicroMessenger/8.1", PAYER_APP_WECHAT},
        /* not certain */
        {"MicroMessenger/8.0 AlipayClient/10", PAYER_APP_OTHER},
        {"MicroMessenger", PAYER_APP_OTHER},
        {"MicroMessenger/", PAYER_APP_OTHER},
        {"MicroMessenger/x", PAYER_APP_OTHER},
        {"NotMicroMessenger/8.0", PAYER_APP_OTHER},
        {"x-MicroMessenger/8.0", PAYER_APP_OTHER},
        {"AlipayClientHK/7.0", PAYER_APP_OTHER},
        {"UnionPay 1.0", PAYER_APP_OTHER},
        {"Mozilla/5.0 (X11; Linux x86_64) Firefox/115.0", PAYER_APP_OTHER},
        {"curl/7.88.1", PAYER_APP_OTHER},
        {"", PAYER_APP_OTHER},
    };
    (void)state;

    for (size_t i = 0; i < COUNT(cases); i++)
        assert_case(payer_app_of_agent(slice_of(cases[i].agent)) == cases[i].app, cases[i].agent);
    assert_int_equal(payer_app_of_agent(SLICE_NULL), PAYER_APP_OTHER);
}

static void test_names(void **state)
{
    (void)state;
    for (int i = 0; i < PAYER_APP_COUNT; i++)
        assert_int_equal(payer_app_parse(slice_of(payer_app_name((enum payer_app)i))), i);
    assert_int_equal(payer_app_parse(SLICE("WeChat")), -1);
    assert_int_equal(payer_app_parse(SLICE_NULL), -1);
    assert_string_equal(payer_app_name((enum payer_app)4), "?");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_barcode),
        cmocka_unit_test(test_barcode_all),
        cmocka_unit_test(test_agent),
        cmocka_unit_test(test_names),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
