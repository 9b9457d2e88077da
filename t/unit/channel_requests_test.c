/*
 * Every API's request of the five adapters, byte by byte. Where the fact sheets have a worked
 * vector it is that one, signature included; the rest was written from the sheets by hand and its
 * signature is checked with the merchant's public half.
 */
#include "channel_five.h"

static const struct json *vectors[FIVE];
static struct pkey *merchant; /* public */

static void load_vectors(enum five i, const char *path)
{
    struct json_error err;

    assert_int_equal(json_parse(&fx.arena, file_text(path), NULL, &vectors[i], &err), 0);
}

static int load(void **state)
{
    if (five_setup(state) < 0)
        return -1;
    load_vectors(V2, "t/vectors/wechat_v2.json");
    load_vectors(V3, "t/vectors/wechat_v3.json");
    load_vectors(ALI, "t/vectors/alipay.json");
    load_vectors(UPAY, "t/vectors/unionpay.json");
    merchant = pkey_public_from_pem(file_text("t/vectors/merchant.pub.pem"));
    return merchant ? 0 : -1;
}

static int unload(void **state)
{
    pkey_destroy(merchant);
    return five_teardown(state);
}

static struct slice vec(enum five i, const char *path)
{
    struct slice s = json_str(vectors[i], path);

    if (!s.p)
        fail_msg("no vector %s", path);
    return s;
}

static struct slice header(const struct channel_request *r, const char *name)
{
    return http_find(r->headers, r->nheaders, name, NULL);
}

static void assert_same(struct slice got, struct slice want)
{
    if (!slice_eq(got, want))
        fail_msg("got\n%.*s\nwant\n%.*s", SLICE_FMT(got), SLICE_FMT(want));
}

/* ------------------------------------------------------------------ worked vectors */

static void test_v2_micropay_vector(void **state)
{
    struct channel_order o = five_order(METHOD_BARCODE);
    struct channel_request r;

    (void)state;
    o.description = SLICE("测试 & <商品>");
    o.time_expire = 0;
    if (channel_encode(five.channel[V2], five.account[V2], CALL_CHARGE, &o, NOW,
                       SLICE("5K8264ILTKCH16CQ2502SI8ZNMTM67VS"), &fx.arena, &r,
                       &(const char *){NULL}) < 0)
        fail_msg("refused");
    assert_slice(r.target, "/pay/micropay");
    assert_slice(header(&r, "Content-Type"), "text/xml; charset=utf-8");
    assert_same(r.body,
                arena_printf(&fx.arena,
                             "<xml><appid><![CDATA[" APPID "]]></appid><mch_id><![CDATA[" MCHID
                             "]]></mch_id><nonce_str><![CDATA[5K8264ILTKCH16CQ2502SI8ZNMTM67VS]]>"
                             "</nonce_str><sign_type><![CDATA[HMAC-SHA256]]></sign_type>"
                             "<body><![CDATA[测试 & <商品>]]></body>"
                             "<out_trade_no><![CDATA[" ORDER_NO "]]></out_trade_no>"
                             "<total_fee><![CDATA[888]]></total_fee>"
                             "<spbill_create_ip><![CDATA[8.8.8.8]]></spbill_create_ip>"
                             "<auth_code><![CDATA[130061098828009406]]></auth_code>"
                             "<sign><![CDATA[%.*s]]></sign></xml>",
                             SLICE_FMT(vec(V2, "wechat_v2_micropay.hmac_sha256"))));
}

/* The public document's example, with both algorithms, through an adapter that says just that. */
static void check_v2_document(const char *algorithm, const char *want)
{
    static const char conf[] =
        "encoding xml;\n"
        "account { value appid; value mch_id; secret key hmac_sha256; }\n"
        "sign { algorithm %s; key key; message text '$sorted&key=$key'; signature hex_upper;"
        " member sign; }\n"
        "verify { algorithm %s; key key; message text '$sorted&key=$key'; signature hex_upper;"
        " member sign; }\n"
        "errors { code err_code; }\n"
        "api close { kind close; request POST /x; send { appid $account.appid;"
        " mch_id $account.mch_id; device_info 1000; body test; nonce_str ibuaiVcKdpRxkhJA;"
        " attach $order.attach optional; }\n"
        " recv { call { status 200; } trade { class closed; } } }\n"
        "api native { kind prepare; request POST /x; send { a 1; }"
        " recv { call { status 200; } trade { class accepted; } } }\n";
    static const char block[] = "pay_channel x { adapter x; methods native; }\n";
    struct channel_order o = an_order();
    struct channel_account *a;
    struct channel_request r;
    struct channel_set *set;
    struct conf_error err;
    const char *why, *path;

    write_file(&five.folder, "x.conf", arena_printf(&fx.arena, conf, algorithm, algorithm));
    path = write_file(&five.folder, "block", slice_of(block));
    if (channel_set_load(path, five.folder.path, &set, &err) < 0)
        fail_msg("%s", err.text);
    a = new_account(channel_at(set, 0), PAIRS("appid", "wxd930ea5d5a258f4f", "mch_id", "10000100"),
                    PAIRS("key", "192006250b4c09247ec02edce69f6a2d"));
    assert_int_equal(channel_encode(channel_at(set, 0), a, CALL_CLOSE, &o, NOW, SLICE(NONCE),
                                    &fx.arena, &r, &why),
                     0);
    assert_true(
        slice_contains(r.body, arena_printf(&fx.arena, "<sign><![CDATA[%.*s]]></sign></xml>",
                                            SLICE_FMT(vec(V2, want)))));
    channel_account_free(a);
    channel_set_free(set);
}

static void test_v2_document_vector(void **state)
{
    (void)state;
    check_v2_document("md5", "wechat_v2_request.md5");
    check_v2_document("hmac_sha256", "wechat_v2_request.hmac_sha256");
}

static void test_v3_codepay_vector(void **state)
{
    struct channel_order o = five_order(METHOD_BARCODE);
    struct channel_request r = five_encode(V3, CALL_CHARGE, &o);

    (void)state;
    assert_slice(r.target, "/v3/pay/transactions/codepay");
    assert_slice(r.egress_kind, "pay");
    assert_same(r.body, vec(V3, "wechat_v3_post.body"));
    assert_same(header(&r, "Authorization"),
                arena_printf(&fx.arena,
                             "WECHATPAY2-SHA256-RSA2048 mchid=\"" MCHID "\",nonce_str=\"" NONCE
                             "\",timestamp=\"1788235200\",serial_no=\"" MERCHANT_SERIAL
                             "\",signature=\"%.*s\"",
                             SLICE_FMT(vec(V3, "wechat_v3_post.signature"))));
}

static void test_alipay_pay_vector(void **state)
{
    struct channel_order o = five_order(METHOD_BARCODE);
    struct slice ours = five.account[ALI]->notify_url;
    struct channel_request r;
    struct buf sign;

    (void)state;
    o.description = SLICE("测试+&=%");
    o.auth_code = SLICE("28763443825664394");
    o.time_expire = 0;
    five.account[ALI]->notify_url = vec(ALI, "alipay_request.params.notify_url");
    r = five_encode(ALI, CALL_CHARGE, &o);
    five.account[ALI]->notify_url = ours;
    assert_slice(r.target, "/gateway.do");
    assert_slice(header(&r, "Content-Type"), "application/x-www-form-urlencoded;charset=utf-8");
    buf_init(&sign, 4096);
    percent_encode(&sign, vec(ALI, "alipay_request.sign"));
    assert_same(r.body,
                arena_printf(&fx.arena,
                             "app_id=" ALI_APP "&format=JSON&charset=utf-8&sign_type=RSA2"
                             "&timestamp=2026-09-01%%2012%%3A00%%3A00&version=1.0"
                             "&method=alipay.trade.pay"
                             "&notify_url=http%%3A%%2F%%2Fm.example%%2Fn%%3Fx%%3D1%%26y%%3D2"
                             "&biz_content=%%7B%%22out_trade_no%%22%%3A%%22" ORDER_NO
                             "%%22%%2C%%22scene%%22%%3A%%22bar_code%%22%%2C%%22auth_code%%22%%3A"
                             "%%2228763443825664394%%22%%2C%%22subject%%22%%3A%%22%%E6%%B5%%8B"
                             "%%E8%%AF%%95%%2B%%26%%3D%%25%%22%%2C%%22total_amount%%22%%3A"
                             "%%228.88%%22%%7D&sign=%.*s",
                             SLICE_FMT(buf_slice(&sign))));
    buf_release(&sign);
}

static void test_unionpay_consume_vector(void **state)
{
    struct channel_order o = five_order(METHOD_BARCODE);
    struct slice ours = five.account[UPAY]->notify_url;
    struct channel_request r;

    (void)state;
    o.request_no = SLICE("20260901120000001");
    o.auth_code = SLICE("6223175680183309582");
    o.terminal_id = SLICE("49000002");
    five.account[UPAY]->notify_url = vec(UPAY, "unionpay_request.fields.backUrl");
    r = five_encode(UPAY, CALL_CHARGE, &o);
    five.account[UPAY]->notify_url = ours;
    assert_slice(r.target, "/gateway/api/backTransReq.do");
    assert_same(r.body, vec(UPAY, "unionpay_request.wire_body"));
}

/* ------------------------------------------------------------------ all others, by hand */

/* Members as they stand in the body, without the signature; XML: between the common ones and it. */
static const struct request {
    enum five channel;
    enum call_kind kind;
    enum payment_method method;
    const char *line; /* method and target */
    const char *egress_kind;
    const char *body;
} requests[] = {
#define V2_HEAD "appid=" APPID "&mch_id=" MCHID "&nonce_str=" NONCE "&sign_type=HMAC-SHA256"
#define V2_ORDER(type)                                                                             \
    V2_HEAD "&body=测试&out_trade_no=" ORDER_NO "&total_fee=888&spbill_create_ip=8.8.8.8"          \
            "&notify_url=https://pay.example/notify/wechat_v2/main&trade_type=" type
    {V2, CALL_PREPARE, METHOD_NATIVE, "POST /pay/unifiedorder", "pay",
     V2_ORDER("NATIVE") "&product_id=" ORDER_NO "&time_expire=20260901140000"},
    {V2, CALL_PREPARE, METHOD_JSAPI, "POST /pay/unifiedorder", "pay",
     V2_ORDER("JSAPI") "&openid=o6_bmjrPTlm6_2sgVt7hMZOPfL2M&time_expire=20260901140000"},
    {V2, CALL_PREPARE, METHOD_H5, "POST /pay/unifiedorder", "pay",
     V2_ORDER("MWEB") "&scene_info={\"h5_info\":{\"type\":\"Wap\"}}&time_expire=20260901140000"},
    {V2, CALL_PREPARE, METHOD_APP, "POST /pay/unifiedorder", "pay",
     V2_ORDER("APP") "&time_expire=20260901140000"},
    {V2, CALL_QUERY, METHOD_NATIVE, "POST /pay/orderquery", "query",
     V2_HEAD "&out_trade_no=" ORDER_NO},
    {V2, CALL_CLOSE, METHOD_NATIVE, "POST /pay/closeorder", "close",
     V2_HEAD "&out_trade_no=" ORDER_NO},
    {V2, CALL_REVERSE, METHOD_BARCODE, "POST /secapi/pay/reverse", "reverse",
     V2_HEAD "&out_trade_no=" ORDER_NO},
    {V2, CALL_REFUND, METHOD_NATIVE, "POST /secapi/pay/refund", "refund",
     V2_HEAD "&out_trade_no=" ORDER_NO "&out_refund_no=" REFUND_NO "&total_fee=888&refund_fee=300"
             "&notify_url=https://pay.example/notify/wechat_v2/main"},
    {V2, CALL_REFUND_QUERY, METHOD_NATIVE, "POST /pay/refundquery", "query",
     V2_HEAD "&out_refund_no=" REFUND_NO},
    {V2, CALL_BILL, METHOD_NONE, "POST /pay/downloadbill", "other",
     V2_HEAD "&bill_date=20260901&bill_type=ALL&tar_type=GZIP"},

#define V3_ORDER                                                                                    \
    "{\"appid\":\"" APPID "\",\"mchid\":\"" MCHID "\",\"description\":\"测试\",\"out_trade_no\":" \
    "\"" ORDER_NO "\",\"time_expire\":\"2026-09-01T14:00:00+08:00\",\"notify_url\":"                \
    "\"https://pay.example/notify/wechat_v3/main\",\"amount\":{\"total\":888,\"currency\":"         \
    "\"CNY\"}"
    {V3, CALL_PREPARE, METHOD_NATIVE, "POST /v3/pay/transactions/native", "pay", V3_ORDER "}"},
    {V3, CALL_PREPARE, METHOD_JSAPI, "POST /v3/pay/transactions/jsapi", "pay",
     V3_ORDER ",\"payer\":{\"openid\":\"o6_bmjrPTlm6_2sgVt7hMZOPfL2M\"}}"},
    {V3, CALL_PREPARE, METHOD_H5, "POST /v3/pay/transactions/h5", "pay",
     V3_ORDER ",\"scene_info\":{\"payer_client_ip\":\"8.8.8.8\",\"h5_info\":{\"type\":\"Wap\"}}}"},
    {V3, CALL_PREPARE, METHOD_APP, "POST /v3/pay/transactions/app", "pay", V3_ORDER "}"},
    {V3, CALL_QUERY, METHOD_BARCODE,
     "GET /v3/pay/transactions/out-trade-no/" ORDER_NO "?mchid=" MCHID, "query", ""},
    {V3, CALL_CLOSE, METHOD_H5, "POST /v3/pay/transactions/out-trade-no/" ORDER_NO "/close",
     "close", "{\"mchid\":\"" MCHID "\"}"},
    {V3, CALL_REVERSE, METHOD_BARCODE,
     "POST /v3/pay/transactions/out-trade-no/" ORDER_NO "/reverse", "reverse",
     "{\"appid\":\"" APPID "\",\"mchid\":\"" MCHID "\"}"},
    {V3, CALL_REFUND, METHOD_NATIVE, "POST /v3/refund/domestic/refunds", "refund",
     "{\"out_trade_no\":\"" ORDER_NO "\",\"out_refund_no\":\"" REFUND_NO
     "\",\"notify_url\":\"https://pay.example/notify/wechat_v3/main\",\"amount\":{\"refund\":300,"
     "\"total\":888,\"currency\":\"CNY\"}}"},
    {V3, CALL_REFUND_QUERY, METHOD_NATIVE, "GET /v3/refund/domestic/refunds/" REFUND_NO, "query",
     ""},
    {V3, CALL_BILL, METHOD_NONE,
     "GET /v3/bill/tradebill?bill_date=2026-09-01&bill_type=ALL&tar_type=GZIP", "other", ""},

#define ALI_HEAD(method)                                                                           \
    "app_id=" ALI_APP "&format=JSON&charset=utf-8&sign_type=RSA2&timestamp=2026-09-01 12:00:00"    \
    "&version=1.0&method=" method
#define ALI_NOTIFY "&notify_url=https://pay.example/notify/alipay/main"
#define ALI_NO     "&biz_content={\"out_trade_no\":\"" ORDER_NO "\""
    {ALI, CALL_PREPARE, METHOD_NATIVE, "POST /gateway.do", "pay",
     ALI_HEAD("alipay.trade.precreate") ALI_NOTIFY ALI_NO
     ",\"total_amount\":\"8.88\",\"subject\":\"测试\","
     "\"timeout_express\":\"120m\"}"},
    {ALI, CALL_PREPARE, METHOD_JSAPI, "POST /gateway.do", "pay",
     ALI_HEAD("alipay.trade.create") ALI_NOTIFY ALI_NO
     ",\"total_amount\":\"8.88\",\"subject\":\"测试\",\"buyer_id\":"
     "\"o6_bmjrPTlm6_2sgVt7hMZOPfL2M\",\"product_code\":\"JSAPI_PAY\","
     "\"timeout_express\":\"120m\"}"},
    {ALI, CALL_QUERY, METHOD_NATIVE, "POST /gateway.do", "query",
     ALI_HEAD("alipay.trade.query") ALI_NO "}"},
    {ALI, CALL_CLOSE, METHOD_NATIVE, "POST /gateway.do", "close",
     ALI_HEAD("alipay.trade.close") ALI_NO "}"},
    {ALI, CALL_REVERSE, METHOD_BARCODE, "POST /gateway.do", "reverse",
     ALI_HEAD("alipay.trade.cancel") ALI_NO "}"},
    {ALI, CALL_REFUND, METHOD_NATIVE, "POST /gateway.do", "refund",
     ALI_HEAD("alipay.trade.refund") ALI_NO
     ",\"refund_amount\":\"3.00\",\"out_request_no\":\"" REFUND_NO "\"}"},
    {ALI, CALL_REFUND_QUERY, METHOD_NATIVE, "POST /gateway.do", "query",
     ALI_HEAD("alipay.trade.fastpay.refund.query") ALI_NO ",\"out_request_no\":\"" REFUND_NO "\"}"},
    {ALI, CALL_BILL, METHOD_NONE, "POST /gateway.do", "other",
     ALI_HEAD(
         "alipay.data.dataservice.bill.downloadurl.query") "&biz_content={\"bill_type\":\"trade\","
                                                           "\"bill_date\":\"2026-09-01\"}"},

#define UPAY_HEAD(type, sub, biz)                                                                  \
    "version=5.1.0&encoding=UTF-8&signMethod=01&txnType=" type "&txnSubType=" sub "&bizType=" biz
#define UPAY_BACK  "&backUrl=https://pay.example/notify/unionpay/main"
#define UPAY_ID    "&merId=" UPAY_MER "&orderId=" ORDER_NO
#define UPAY_TAIL  "&certId=" UPAY_CERT
#define UPAY_TRANS "POST /gateway/api/backTransReq.do"
    {UPAY, CALL_PREPARE, METHOD_NATIVE, UPAY_TRANS, "pay",
     UPAY_HEAD("01", "07", "000000") "&channelType=08&accessType=0" UPAY_ID
                                     "&txnTime=20260901120000&txnAmt=888&currencyCode=156" UPAY_BACK
                                     "&payTimeout=20260901140000" UPAY_TAIL},
    {UPAY, CALL_PREPARE, METHOD_APP, "POST /gateway/api/appTransReq.do", "pay",
     UPAY_HEAD("01", "01", "000201") "&channelType=08&accessType=0" UPAY_ID
                                     "&txnTime=20260901120000&txnAmt=888&currencyCode=156" UPAY_BACK
                                     "&payTimeout=20260901140000" UPAY_TAIL},
    {UPAY, CALL_QUERY, METHOD_BARCODE, "POST /gateway/api/queryTrans.do", "query",
     UPAY_HEAD("00", "00", "000000") "&accessType=0" UPAY_ID "&txnTime=20260901120000" UPAY_TAIL},
    {UPAY, CALL_QUERY, METHOD_APP, "POST /gateway/api/queryTrans.do", "query",
     UPAY_HEAD("00", "00", "000201") "&accessType=0" UPAY_ID "&txnTime=20260901120000" UPAY_TAIL},
    {UPAY, CALL_REVERSE, METHOD_BARCODE, UPAY_TRANS, "reverse",
     UPAY_HEAD("99", "01", "000000") "&channelType=08&accessType=0" UPAY_ID
                                     "&txnTime=20260901120000" UPAY_TAIL},
    {UPAY, CALL_REFUND, METHOD_NATIVE, UPAY_TRANS, "refund",
     UPAY_HEAD("04", "00",
               "000000") "&channelType=08&accessType=0&merId=" UPAY_MER "&orderId=" REFUND_NO
                         "&origQryId=202609011200000000018"
                         "&txnTime=20260901120100&txnAmt=300&currencyCode=156" UPAY_BACK UPAY_TAIL},
    {UPAY, CALL_REFUND_QUERY, METHOD_NATIVE, "POST /gateway/api/queryTrans.do", "query",
     UPAY_HEAD("00", "00", "000000") "&accessType=0&merId=" UPAY_MER "&orderId=" REFUND_NO
                                     "&txnTime=20260901120100" UPAY_TAIL},
    {UPAY, CALL_BILL, METHOD_NONE, "POST /", "other",
     UPAY_HEAD("76", "01", "000000") "&accessType=0&merId=" UPAY_MER "&settleDate=0901"
                                     "&txnTime=20260901120000&fileType=00" UPAY_TAIL},

    /* docs/bank_json.md */
    {BANK, CALL_CHARGE, METHOD_BARCODE, "POST /bank/v1/payments", "pay",
     "{\"mch_id\":\"M10001\",\"order_no\":\"" ORDER_NO
     "\",\"amount\":888,\"currency\":\"CNY\",\"subject\":\"测试\",\"notify_url\":"
     "\"https://pay.example/notify/bank_json/main\",\"expire_at\":\"2026-09-01T14:00:00+08:00\","
     "\"auth_code\":\"130061098828009406\"}"},
    {BANK, CALL_PREPARE, METHOD_NATIVE, "POST /bank/v1/orders", "pay",
     "{\"mch_id\":\"M10001\",\"order_no\":\"" ORDER_NO
     "\",\"amount\":888,\"currency\":\"CNY\",\"subject\":\"测试\",\"notify_url\":"
     "\"https://pay.example/notify/bank_json/main\",\"expire_at\":\"2026-09-01T14:00:00+08:00\"}"},
    {BANK, CALL_QUERY, METHOD_NATIVE, "GET /bank/v1/orders/" ORDER_NO "?mch_id=M10001", "query",
     ""},
    {BANK, CALL_CLOSE, METHOD_NATIVE, "POST /bank/v1/orders/" ORDER_NO "/close", "close",
     "{\"mch_id\":\"M10001\"}"},
    {BANK, CALL_REVERSE, METHOD_BARCODE, "POST /bank/v1/orders/" ORDER_NO "/reverse", "reverse",
     "{\"mch_id\":\"M10001\"}"},
    {BANK, CALL_REFUND, METHOD_NATIVE, "POST /bank/v1/refunds", "refund",
     "{\"mch_id\":\"M10001\",\"refund_no\":\"" REFUND_NO "\",\"order_no\":\"" ORDER_NO
     "\",\"amount\":300,\"currency\":\"CNY\"}"},
    {BANK, CALL_REFUND_QUERY, METHOD_NATIVE, "GET /bank/v1/refunds/" REFUND_NO "?mch_id=M10001",
     "query", ""},
    {BANK, CALL_BILL, METHOD_NONE, "GET /bank/v1/bills/20260901?mch_id=M10001", "other", ""},
};

static struct pairs split(struct slice body, bool encoded)
{
    struct pairs p = {.n = 0};

    while (body.n) {
        struct slice value = slice_cut(&body, '&');
        struct slice name = slice_cut(&value, '=');
        struct buf b;

        buf_init(&b, 65536);
        for (size_t i = 0; i < value.n; i++) {
            if (encoded && value.p[i] == '%') {
                assert_int_equal(hex_decode(&b, slice_n(value.p + i + 1, 2)), 0);
                i += 2;
            } else {
                buf_add_char(&b, value.p[i]);
            }
        }
        put(&p, arena_cstr(&fx.arena, name), kept(&b));
    }
    return p;
}

/* The body in the form of the table: k=v&k=v, undecoded JSON. */
static struct pairs members_of(enum five i, struct slice body)
{
    struct pairs p = {.n = 0};
    struct xml_error err;
    const struct xml *x;

    if (i != V2)
        return split(body, true);
    assert_int_equal(xml_parse(&fx.arena, body, NULL, &x, &err), 0);
    assert_slice(x->name, "xml");
    for (x = x->child; x; x = x->next)
        put(&p, arena_cstr(&fx.arena, x->name), x->text);
    return p;
}

static struct slice value_of(const struct pairs *p, const char *name)
{
    for (size_t i = 0; i < p->n; i++)
        if (strcmp(p->v[i].name, name) == 0)
            return p->v[i].value;
    return SLICE_NULL;
}

static void verify_rsa(struct slice text, struct slice signature)
{
    struct buf raw;

    buf_init(&raw, 1024);
    assert_int_equal(base64_decode(&raw, signature), 0);
    assert_int_equal(pkey_verify_sha256(merchant, &text, 1, buf_slice(&raw)), 0);
    buf_release(&raw);
}

/* The signature as the channel would check it. */
static void verify_members(enum five i, const struct pairs *p)
{
    struct slice text = sorted_text(p, NULL);
    struct pairs copy = *p;
    uint8_t digest[SHA256_LEN];

    if (i == V2) {
        sign_v2(&copy);
        assert_same(value_of(p, "sign"), value_of(&copy, "sign"));
    } else if (i == ALI) {
        verify_rsa(text, value_of(p, "sign"));
    } else {
        assert_int_equal(sha256(text, digest), 0);
        verify_rsa(hex_of(digest, sizeof(digest), false), value_of(p, "signature"));
    }
}

static void verify_v3(const struct channel_request *r)
{
    struct slice parts[SCHEME_PARTS];
    struct authorization auth;
    const char *why;
    struct buf raw;
    size_t n;

    if (authorization_parse(header(r, "Authorization"), &auth, &why) < 0)
        fail_msg("%s", why);
    n = scheme_request_parts(r->method, r->target, auth.timestamp, auth.nonce_str, r->body, parts);
    buf_init(&raw, 1024);
    assert_int_equal(base64_decode(&raw, auth.signature), 0);
    assert_int_equal(pkey_verify_sha256(merchant, parts, n, buf_slice(&raw)), 0);
    buf_release(&raw);
}

static void verify_bank(const struct channel_request *r)
{
    struct slice parts[] = {
        SLICE("1788235200\n" NONCE "\n"), r->method, SLICE("\n"), r->target, SLICE("\n"), r->body};
    uint8_t mac[SHA256_LEN];

    assert_int_equal(hmac_sign(fx.bank_key, parts, COUNT(parts), mac), 0);
    assert_same(header(r, "Bank-Signature"),
                arena_printf(&fx.arena, "t=1788235200,n=" NONCE ",s=%.*s",
                             SLICE_FMT(hex_of(mac, sizeof(mac), false))));
}

static void check_request(const struct request *want)
{
    struct channel_order o = five_order(want->method);
    struct channel_request r = five_encode(want->channel, want->kind, &o);
    struct pairs got;
    struct buf b;

    assert_same(arena_printf(&fx.arena, "%.*s %.*s", SLICE_FMT(r.method), SLICE_FMT(r.target)),
                slice_of(want->line));
    assert_slice(r.egress_kind, want->egress_kind);
    if (want->channel == V3 || want->channel == BANK) {
        assert_same(r.body, slice_of(want->body));
        if (want->channel == V3)
            verify_v3(&r);
        else
            verify_bank(&r);
        return;
    }
    got = members_of(want->channel, r.body);
    verify_members(want->channel, &got);
    assert_true(got.n > 1);
    got.n--; /* the signature is the last */
    buf_init(&b, 65536);
    for (size_t i = 0; i < got.n; i++)
        buf_addf(&b, "%s%s=%.*s", i ? "&" : "", got.v[i].name, SLICE_FMT(got.v[i].value));
    assert_same(kept(&b), slice_of(want->body));
}

static void test_requests(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(requests); i++)
        check_request(&requests[i]);
}

/* No API without its row above, a vector, or a test of its own. */
static void test_complete(void **state)
{
    (void)state;
    for (int i = 0; i < FIVE; i++) {
        const struct adapter *ad = five.channel[i]->adapter;

        for (uint32_t k = 0; k < ad->napis; k++) {
            const struct adapter_api *api = &ad->apis[k];
            bool found = api->kind == CALL_CHARGE || api->kind == CALL_DOWNLOAD || api->local;

            for (size_t m = 0; m < COUNT(requests); m++)
                found |= requests[m].channel == (enum five)i && requests[m].kind == api->kind &&
                         (!api->methods || api->methods & 1u << requests[m].method);
            if (!found)
                fail_msg("%s: no row for api %s", five_names[i], api->name);
        }
    }
}

/* ------------------------------------------------------------------ downloads */

static void test_download(void **state)
{
    struct channel_order o = five_order(METHOD_NONE);
    struct channel_request r;
    const char *why;

    (void)state;
    assert_int_equal(channel_address(five.channel[V3],
                                     SLICE("https://api.mch.weixin.qq.com/v3/billdownload/"
                                           "file?token=6XIv5TUPto7pByrTQKhd"),
                                     &o.download, &why),
                     0);
    r = five_encode(V3, CALL_DOWNLOAD, &o);
    assert_slice(r.target, "/v3/billdownload/file?token=6XIv5TUPto7pByrTQKhd");
    assert_slice(r.host, "api.mch.weixin.qq.com");
    verify_v3(&r);
    assert_int_equal(channel_address(five.channel[ALI],
                                     SLICE("http://dwbillcenter.alipay.com/"
                                           "downloadBillFile.resource?bizType=trade&x=%E4"),
                                     &o.download, &why),
                     0);
    r = five_encode(ALI, CALL_DOWNLOAD, &o);
    assert_slice(r.target, "/downloadBillFile.resource?bizType=trade&x=%E4");
    assert_null(header(&r, "Content-Type").p);
    assert_int_equal(r.body.n, 0);
    /* nobody sends us elsewhere */
    assert_int_equal(
        channel_address(five.channel[ALI], SLICE("https://evil.example/x"), &o.download, &why), -1);
    assert_int_equal(channel_address(five.channel[V3], SLICE("https://dwbillcenter.alipay.com/x"),
                                     &o.download, &why),
                     -1);
    assert_int_equal(
        channel_address(five.channel[V3], SLICE("file:///etc/passwd"), &o.download, &why), -1);
}

/* ------------------------------------------------------------------ what the payer gets */

static struct channel_present present(enum five i, enum payment_method m)
{
    struct channel_order o = five_order(m);
    struct channel_present p;
    const char *why;

    if (channel_present(five.channel[i], five.account[i], &o, NOW, SLICE(NONCE), &fx.arena, &p,
                        &why) < 0)
        fail_msg("%s", why);
    return p;
}

static struct pairs json_pairs_of(struct slice text)
{
    struct pairs p = {.n = 0};
    const struct json *v;
    struct json_error err;

    assert_int_equal(json_parse(&fx.arena, text, NULL, &v, &err), 0);
    for (v = v->child; v; v = v->next)
        put(&p, arena_cstr(&fx.arena, v->key), v->text);
    return p;
}

#define PREPAY "wx201410272009395522657a690389285100"

static void test_present_v2(void **state)
{
    struct pairs p = json_pairs_of(present(V2, METHOD_JSAPI).pay_params), again;

    (void)state;
    assert_slice(value_of(&p, "appId"), APPID);
    assert_slice(value_of(&p, "timeStamp"), "1788235200");
    assert_slice(value_of(&p, "nonceStr"), NONCE);
    assert_slice(value_of(&p, "package"), "prepay_id=" PREPAY);
    assert_slice(value_of(&p, "signType"), "HMAC-SHA256");
    again = p;
    again.n--;
    sign_v2(&again);
    assert_same(value_of(&p, "paySign"), value_of(&again, "sign"));
    p = json_pairs_of(present(V2, METHOD_APP).pay_params);
    assert_slice(value_of(&p, "package"), "Sign=WXPay");
    assert_slice(value_of(&p, "prepayid"), PREPAY);
    verify_members(V2, &p);
    assert_null(present(V2, METHOD_NATIVE).pay_params.p);
}

static void test_present_v3(void **state)
{
    struct pairs p = json_pairs_of(present(V3, METHOD_JSAPI).pay_params);

    (void)state;
    assert_slice(value_of(&p, "package"), "prepay_id=" PREPAY);
    assert_slice(value_of(&p, "signType"), "RSA");
    verify_rsa(SLICE(APPID "\n1788235200\n" NONCE "\nprepay_id=" PREPAY "\n"),
               value_of(&p, "paySign"));
    p = json_pairs_of(present(V3, METHOD_APP).pay_params);
    assert_slice(value_of(&p, "partnerid"), MCHID);
    verify_rsa(SLICE(APPID "\n1788235200\n" NONCE "\n" PREPAY "\n"), value_of(&p, "sign"));
}

static void test_present_alipay(void **state)
{
    struct slice url = present(ALI, METHOD_H5).h5_url;
    struct slice prefix = SLICE("https://alipay.example/gateway.do?");
    struct pairs p;

    (void)state;
    assert_true(slice_starts(url, prefix));
    p = split(slice_n(url.p + prefix.n, url.n - prefix.n), true);
    assert_slice(value_of(&p, "method"), "alipay.trade.wap.pay");
    assert_slice(value_of(&p, "biz_content"),
                 "{\"out_trade_no\":\"" ORDER_NO
                 "\",\"total_amount\":\"8.88\",\"subject\":\"测试\","
                 "\"product_code\":\"QUICK_WAP_WAY\",\"timeout_express\":\"120m\"}");
    verify_members(ALI, &p);
    p = split(present(ALI, METHOD_APP).pay_params, true);
    assert_slice(value_of(&p, "method"), "alipay.trade.app.pay");
    verify_members(ALI, &p);
    assert_slice(present(ALI, METHOD_JSAPI).pay_params, "{\"tradeNO\":\"" PREPAY "\"}");
}

static void test_present_unionpay(void **state)
{
    struct slice text = present(UPAY, METHOD_H5).pay_params;
    struct pairs p = {.n = 0};
    const struct json *v;
    struct json_error err;

    (void)state;
    assert_int_equal(json_parse(&fx.arena, text, NULL, &v, &err), 0);
    assert_slice(json_str(v, "url"), "https://unionpay.example/gateway/api/frontTransReq.do");
    for (const struct json *f = json_get(v, "fields")->child; f; f = f->next)
        put(&p, arena_cstr(&fx.arena, f->key), f->text);
    assert_slice(value_of(&p, "txnAmt"), "888");
    verify_members(UPAY, &p);
    assert_slice(present(UPAY, METHOD_APP).pay_params, "{\"tn\":\"" PREPAY "\"}");
}

/* ------------------------------------------------------------------ declarations, refusals */

/* R2.18: what is not idempotent is never sent twice. A charge is not, whatever the channel says. */
static void test_repeats(void **state)
{
    (void)state;
    for (int i = 0; i < FIVE; i++) {
        const struct adapter *ad = five.channel[i]->adapter;

        for (uint32_t k = 0; k < ad->napis; k++) {
            const struct adapter_api *api = &ad->apis[k];

            if (api->kind == CALL_CHARGE)
                assert_false(api->idempotent || api->resend);
            else if (!api->local && !(i == UPAY && api->kind == CALL_PREPARE))
                assert_true(api->idempotent && api->resend);
            assert_true(api->sla_us > 0);
        }
    }
}

/* R2.15: reversal and refund only inside of the channel's window. */
static void test_windows(void **state)
{
    const int64_t hour = 3600 * USEC_PER_SEC, day = 24 * hour;
    const pay_time_t noon = NOW; /* 12:00 in China */
    struct channel_api api;

    (void)state;
    assert_true(
        channel_in_window(five.channel[V2], CALL_REVERSE, METHOD_BARCODE, noon, noon + 7 * day));
    assert_false(channel_in_window(five.channel[V2], CALL_REVERSE, METHOD_BARCODE, noon,
                                   noon + 7 * day + 1));
    assert_true(channel_in_window(five.channel[ALI], CALL_REVERSE, METHOD_BARCODE, noon,
                                  noon + 12 * hour - 1));
    assert_false(
        channel_in_window(five.channel[ALI], CALL_REVERSE, METHOD_BARCODE, noon, noon + 12 * hour));
    assert_false(channel_in_window(five.channel[ALI], CALL_REVERSE, METHOD_NATIVE, noon, noon));
    assert_true(
        channel_in_window(five.channel[V3], CALL_REFUND, METHOD_NATIVE, noon, noon + 365 * day));
    assert_false(
        channel_in_window(five.channel[V3], CALL_REFUND, METHOD_NATIVE, noon, noon + 366 * day));
    assert_false(
        channel_in_window(five.channel[ALI], CALL_REFUND, METHOD_NATIVE, noon, noon + 91 * day));
    assert_true(channel_api(five.channel[V2], CALL_REVERSE, METHOD_BARCODE, &api));
    assert_int_equal(api.earliest_us, 15 * USEC_PER_SEC);
    assert_false(channel_api(five.channel[UPAY], CALL_CLOSE, METHOD_NATIVE, &api));
    assert_true(channel_api(five.channel[ALI], CALL_PREPARE, METHOD_H5, &api));
    assert_true(api.local);
}

static void refused(enum five i, enum call_kind kind, const struct channel_order *o,
                    const char *want)
{
    struct channel_request r;
    const char *why = NULL;

    assert_int_equal(channel_encode(five.channel[i], five.account[i], kind, o, NOW, SLICE(NONCE),
                                    &fx.arena, &r, &why),
                     -1);
    assert_string_equal(why, want);
}

static void test_refusals(void **state)
{
    struct channel_order o = five_order(METHOD_BARCODE);

    (void)state;
    o.auth_code = SLICE_NULL;
    refused(V2, CALL_CHARGE, &o, "auth_code: no value");
    refused(ALI, CALL_CHARGE, &o, "biz_content.auth_code: no value");
    o = five_order(METHOD_NATIVE);
    o.description = SLICE("a\rb"); /* XML would make it another text, and the signature wrong */
    refused(V2, CALL_PREPARE, &o, "body: value is too long or malformed");
    o = five_order(METHOD_H5);
    refused(ALI, CALL_PREPARE, &o,
            "nothing is sent for this method: the payer takes it to the channel");
    o = five_order(METHOD_NATIVE);
    o.channel_trade_no = SLICE_NULL;
    refused(UPAY, CALL_REFUND, &o, "origQryId: no value");
    o = five_order(METHOD_NATIVE);
    o.refund_amount = 889;
    for (int i = 0; i < BANK; i++)
        refused((enum five)i, CALL_REFUND, &o, "a refund cannot be larger than the payment");
    o.refund_amount = 0;
    refused(ALI, CALL_REFUND, &o, "a refund needs a number and a positive amount");
    o = five_order(METHOD_NATIVE);
    refused(ALI, CALL_REVERSE, &o, "the adapter has no such call");
    o.currency = SLICE("XXX");
    refused(UPAY, CALL_PREPARE, &o, "currencyCode: value is too long or malformed");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_v2_micropay_vector),
        cmocka_unit_test(test_v2_document_vector),
        cmocka_unit_test(test_v3_codepay_vector),
        cmocka_unit_test(test_alipay_pay_vector),
        cmocka_unit_test(test_unionpay_consume_vector),
        cmocka_unit_test(test_requests),
        cmocka_unit_test(test_complete),
        cmocka_unit_test(test_download),
        cmocka_unit_test(test_present_v2),
        cmocka_unit_test(test_present_v3),
        cmocka_unit_test(test_present_alipay),
        cmocka_unit_test(test_present_unionpay),
        cmocka_unit_test(test_repeats),
        cmocka_unit_test(test_windows),
        cmocka_unit_test(test_refusals),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, load, unload);
}
