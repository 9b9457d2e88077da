/* channel_answers - good and bad answers of the five channels, for each call, as raw HTTP. */
#ifndef T_UNIT_CHANNEL_ANSWERS_H
#define T_UNIT_CHANNEL_ANSWERS_H

#include "backends/io/http_answer.h"
#include "channel_five.h"

struct case_of {
    enum five channel;
    enum call_kind kind;
    enum payment_method method;
    int status;
    struct slice answer; /* as t/vectors/channel_codes.txt says */
};

/* ------------------------------------------------------------------ members of good answers */

static inline const char *v2_trade_type(enum payment_method m)
{
    return m == METHOD_JSAPI ? "JSAPI"
           : m == METHOD_H5  ? "MWEB"
           : m == METHOD_APP ? "APP"
                             : "NATIVE";
}

static inline void good_v2(struct pairs *p, const struct case_of *c)
{
    PUT(p, "return_code", "SUCCESS", "return_msg", "OK", "appid", APPID, "mch_id", MCHID,
        "nonce_str", "IITRi8Iabbblz1Jc", "result_code", "SUCCESS", "out_trade_no", ORDER_NO,
        "trade_type", c->kind == CALL_CHARGE ? "MICROPAY" : v2_trade_type(c->method), "openid",
        "o6_bmjrPTlm6_2sgVt7hMZOPfL2M", "total_fee", "888", "cash_fee", "888", "transaction_id",
        "4200000001202609011234567890", "time_end", "20260901120003", "trade_state", "SUCCESS",
        "attach", "", "prepay_id", "wx201410272009395522657a690389285100", "code_url",
        "weixin://wxpay/bizpayurl?pr=abc", "mweb_url", "https://wx.tenpay.com/cgi-bin/x?y=1&z=2",
        "recall", "N", "out_refund_no", REFUND_NO, "refund_id", "50000000382019052709732678859",
        "refund_fee", "300", "out_refund_no_0", REFUND_NO, "refund_id_0",
        "50000000382019052709732678859", "refund_fee_0", "300", "refund_status_0", "SUCCESS");
}

static inline void good_ali(struct pairs *p)
{
    PUT(p, "code", "10000", "msg", "Success", "out_trade_no", ORDER_NO, "trade_no",
        "2026090122001400001000000001", "buyer_logon_id", "159****5620", "total_amount", "8.88",
        "receipt_amount", "8.88", "gmt_payment", "2026-09-01 12:00:03", "send_pay_date",
        "2026-09-01 12:00:03", "trade_status", "TRADE_SUCCESS", "qr_code",
        "https://qr.alipay.com/bax03431ljhokirwl38f00a7", "retry_flag", "N", "action", "close",
        "fund_change", "Y", "refund_fee", "3.00", "out_request_no", REFUND_NO, "refund_status",
        "REFUND_SUCCESS", "refund_amount", "3.00", "bill_download_url",
        "http://dwbillcenter.alipay.com/downloadBillFile.resource?bizType=trade");
}

static inline void good_upay(struct pairs *p, const struct case_of *c)
{
    bool refund = c->kind == CALL_REFUND || c->kind == CALL_REFUND_QUERY;

    PUT(p, "version", "5.1.0", "encoding", "UTF-8", "signMethod", "01", "accessType", "0",
        "bizType", "000000", "merId", UPAY_MER, "orderId", refund ? REFUND_NO : ORDER_NO, "txnTime",
        "20260901120000", "queryId", "202609011200000000018", "respCode", "00", "respMsg",
        "成功[0000000]", "origRespCode", "00", "origRespMsg", "成功[0000000]", "txnAmt",
        refund ? "300" : "888", "currencyCode", "156", "settleDate", "0901", "qrCode",
        "https://qr.95516.com/00010000/62", "tn", "812345678901234567890", "fileContent",
        "eJwLAAAAAAE=", "reserved", "{a=b&c=d}");
}

static inline void good_v3(struct pairs *p)
{
    PUT(p, "appid", APPID, "mchid", MCHID, "out_trade_no", ORDER_NO, "transaction_id",
        "4200000001202609011234567890", "trade_type", "NATIVE", "trade_state", "SUCCESS",
        "success_time", "2026-09-01T12:00:00+08:00", "status", "SUCCESS", "out_refund_no",
        REFUND_NO, "refund_id", "50000000382019052709732678859", "code_url",
        "weixin://wxpay/bizpayurl?pr=abc", "prepay_id", "wx201410272009395522657a690389285100",
        "h5_url", "https://wx.tenpay.com/cgi-bin/x?y=1", "hash_type", "SHA1", "hash_value",
        "79bb0f45fc4c42234a918000b2668d689e2bde04", "download_url",
        "https://api.mch.weixin.qq.com/v3/billdownload/file?token=x");
}

/* " k=v k=v" over them; without v the member is left out. */
static inline void change(struct pairs *p, struct slice words)
{
    while (words.n) {
        struct slice value = slice_cut(&words, ' ');
        struct slice name;

        if (value.n == 0)
            continue;
        name = slice_cut(&value, '=');
        if (value.n)
            put(p, arena_cstr(&fx.arena, name), value);
        else
            drop(p, arena_cstr(&fx.arena, name));
    }
}

/* ------------------------------------------------------------------ bodies */

static inline const char *ali_name(const struct case_of *c)
{
    static const char *const names[CALL_KIND_COUNT] = {
        [CALL_CHARGE] = "alipay_trade_pay_response",
        [CALL_QUERY] = "alipay_trade_query_response",
        [CALL_CLOSE] = "alipay_trade_close_response",
        [CALL_REVERSE] = "alipay_trade_cancel_response",
        [CALL_REFUND] = "alipay_trade_refund_response",
        [CALL_REFUND_QUERY] = "alipay_trade_fastpay_refund_query_response",
        [CALL_BILL] = "alipay_data_dataservice_bill_downloadurl_query_response"};

    if (c->kind == CALL_PREPARE)
        return c->method == METHOD_JSAPI ? "alipay_trade_create_response"
                                         : "alipay_trade_precreate_response";
    return names[c->kind];
}

static inline struct slice body_v2(const struct case_of *c, struct slice verb, struct slice rest)
{
    struct pairs p = {.n = 0};

    if (slice_is(verb, "fail")) {
        PUT(&p, "return_code", "FAIL", "return_msg", "签名错误");
        change(&p, rest);
        return xml_of(&p);
    }
    good_v2(&p, c);
    if (slice_is(verb, "error")) {
        p = (struct pairs){.n = 0};
        PUT(&p, "return_code", "SUCCESS", "return_msg", "OK", "appid", APPID, "mch_id", MCHID,
            "nonce_str", "x", "result_code", "FAIL", "err_code_des", "text for people");
        put(&p, "err_code", rest);
    } else {
        change(&p, rest);
    }
    sign_v2(&p);
    return xml_of(&p);
}

/* Amounts are an object of numbers. */
static inline struct slice body_v3(struct slice verb, struct slice rest)
{
    struct pairs p = {.n = 0};
    struct slice flat;

    if (slice_is(verb, "error"))
        return arena_printf(&fx.arena, "{\"code\":\"%.*s\",\"message\":\"m\"}", SLICE_FMT(rest));
    good_v3(&p);
    change(&p, rest);
    flat = json_of(&p);
    return arena_printf(&fx.arena,
                        "%.*s,\"amount\":{\"total\":888,\"refund\":300,\"currency\":\"CNY\"}}",
                        (int)flat.n - 1, flat.p);
}

static inline struct slice body_ali(const struct case_of *c, struct slice verb, struct slice rest)
{
    struct pairs p = {.n = 0};

    if (slice_is(verb, "trade")) {
        good_ali(&p);
        change(&p, rest);
        return ali_envelope(ali_name(c), json_of(&p));
    }
    PUT(&p, "code", "40004", "msg", "Business Failed", "sub_code", "isv.some-unlisted", "sub_msg",
        "text/for people");
    put(&p, slice_is(verb, "gateway") ? "code" : "sub_code", rest);
    return ali_envelope(ali_name(c), json_of(&p));
}

static inline struct slice body_upay(const struct case_of *c, struct slice verb, struct slice rest)
{
    struct pairs p = {.n = 0};

    good_upay(&p, c);
    if (slice_is(verb, "error"))
        put(&p, "respCode", rest);
    else
        change(&p, rest);
    sign_upay(&p);
    return pairs_of(&p, false);
}

static inline struct slice body_of(const struct case_of *c)
{
    struct slice rest = c->answer;
    struct slice verb = slice_cut(&rest, ' ');

    if (slice_is(verb, "none"))
        return SLICE_NULL;
    switch (c->channel) {
    case V2:
        return body_v2(c, verb, rest);
    case V3:
        return body_v3(verb, rest);
    case ALI:
        return body_ali(c, verb, rest);
    default:
        return body_upay(c, verb, rest);
    }
}

/* ------------------------------------------------------------------ raw HTTP */

static inline struct slice raw_http(const struct case_of *c, struct slice body)
{
    struct signed_headers h = {.n = 0};
    struct buf b;

    if (c->channel == V3)
        h = wechat_sign(body);
    else
        add_header(&h, "Content-Type", SLICE("text/plain;charset=UTF-8"));
    buf_init(&b, 1 << 20);
    buf_addf(&b, "HTTP/1.1 %d X\r\nServer: nginx\r\n", c->status);
    for (size_t i = 0; i < h.n; i++)
        buf_addf(&b, "%.*s: %.*s\r\n", SLICE_FMT(h.h[i].name), SLICE_FMT(h.h[i].value));
    if (c->status != 204)
        buf_addf(&b, "Content-Length: %zu\r\n", body.n);
    buf_add_str(&b, "\r\n");
    buf_add_slice(&b, body);
    return kept(&b);
}

/* Raw bytes through the HTTP parser and the engine. */
static inline struct channel_result read_http(const struct case_of *c, struct slice raw)
{
    struct http_header headers[ANSWER_MAX_HEADERS];
    struct channel_order o = five_order(c->method);
    char *data = (char *)(uintptr_t)arena_copy(&fx.arena, raw).p;
    struct signed_headers h = {.n = 0};
    struct answer_parser p;

    answer_parser_init(&p, false, 1 << 20);
    if (answer_parse(&p, data, raw.n, true) != ANSWER_DONE)
        fail_msg("not HTTP: %s", p.reason);
    h.n = answer_headers(&p, data, headers);
    assert_true(h.n <= COUNT(h.h));
    memcpy(h.h, headers, h.n * sizeof(*headers));
    return five_decode(c->channel, c->kind, &o, p.status, &h,
                       slice_n(data + p.body_start, p.body_n));
}

static inline struct channel_result run_case(const struct case_of *c)
{
    return read_http(c, raw_http(c, body_of(c)));
}

#endif
