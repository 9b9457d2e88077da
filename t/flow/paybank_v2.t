#!/usr/bin/python3
"""R3.2, R3.3: WeChat Pay v2 as the virtual bank speaks it: orders, barcodes, reversals, refunds, bills."""
import gzip
import sys
import time
from datetime import datetime, timedelta

sys.dont_write_bytecode = True
from paybank_peer import CHINA, Stage, number, wait_for
from paybank_v2_peer import (DISABLED, OK, REFUSED, WechatV2, auth_code, failed, from_xml, open_req_info,
                             signature, to_xml)
from tap import done, is_, ok

DAY_MS = 86400000


def test_orders(bank, v2, receiver, name):
    no = number()
    url = f"{receiver.url}/v2{name}"
    a = v2.order(no, notify_url=url, attach="抬头|x")
    is_(a.brief(), OK, f"{name}: unifiedorder")
    ok(a.genuine, "signed with the type of the request")
    ok(a.get("code_url").startswith("weixin://wxpay/bizpayurl?pr=") and a.get("prepay_id"), "code and prepay_id")
    is_(v2.query(no).get("trade_state"), "NOTPAY", "query: not paid")
    ok("transaction_id" not in v2.query(no).doc, "and nothing of a payment")
    is_(v2.order(no, notify_url=url, attach="抬头|x").get("code_url"), a.get("code_url"), "again: the same")
    is_(v2.order(no, 889, notify_url=url, attach="抬头|x").brief(), failed("OUT_TRADE_NO_USED"), "other amount")
    status, paid = bank.pay(a.get("code_url"))
    is_(status, 200, "the payer pays")
    q = v2.query(no)
    is_((q.get("trade_state"), q.get("total_fee"), q.get("transaction_id"), q.get("trade_type"), q.genuine),
        ("SUCCESS", "888", paid["transaction_id"], "NATIVE", True), "query: paid")
    is_(v2.call("/pay/orderquery", {"transaction_id": paid["transaction_id"], "out_trade_no": "x"})
        .get("out_trade_no"), no, "transaction_id wins")
    is_(v2.order(no, notify_url=url, attach="抬头|x").brief(), failed("ORDERPAID"), "order after payment")
    is_(v2.close(no).brief(), failed("ORDERPAID"), "close after payment")
    _, _, body = wait_for(lambda: receiver.of(f"v2{name}"), "a notification")[0]
    doc = from_xml(body)
    is_((doc["result_code"], doc["total_fee"], doc["out_trade_no"], doc["transaction_id"], doc["attach"]),
        ("SUCCESS", "888", no, paid["transaction_id"], "抬头|x"), "its content")
    is_(doc["sign"], signature(doc, v2.kind), "signed with the type of the order")


def test_methods(v2):
    is_(v2.order(number(), kind="JSAPI").get("trade_type"), "JSAPI", "JSAPI")
    ok("code_url" not in v2.order(number(), kind="APP").doc, "APP has a prepay_id alone")
    ok("prepay_id=wx" in v2.order(number(), kind="MWEB").get("mweb_url"), "MWEB has an address")
    is_(v2.order(number(), kind="JSAPI", openid=...).brief(), failed("LACK_PARAMS"), "JSAPI needs openid")
    is_(v2.order(number(), product_id=...).brief(), failed("LACK_PARAMS"), "NATIVE needs product_id")
    is_(v2.order(number(), kind="MWEB", scene_info=...).brief(), failed("LACK_PARAMS"), "MWEB scene_info")
    is_(v2.order(number(), kind="FACE").brief(), failed("PARAM_ERROR"), "unknown trade_type")
    no = number()
    v2.order(no)
    is_(v2.close(no).brief(), OK, "close")
    is_((v2.query(no).get("trade_state"), v2.close(no).brief(), v2.order(no).brief()),
        ("CLOSED", failed("ORDERCLOSED"), failed("ORDERCLOSED")), "a closed number is dead")
    is_((v2.query(number()).brief(), v2.close(number()).brief()), (failed("ORDERNOTEXIST"),) * 2, "of nothing")


def test_refusals(bank, v2):
    def refused(name, message, **more):
        a = v2.order(more.pop("no", None) or number(), **more)
        ok(a.brief() == REFUSED and message in a.get("return_msg") and "sign" not in a.doc,
           f"refused: {name}", a.body.decode())

    refused("a wrong signature", "签名错误", sign="0" * 32)
    refused("a signature in small letters", "签名错误", sign="a" * 32)
    refused("no signature", "sign", sign="")
    refused("unknown merchant", "mch_id", mch_id="1900000999")
    refused("no merchant", "mch_id", mch_id=...)
    refused("unknown sign_type", "sign_type", sign_type="SHA1")
    refused("no amount", "total_fee", fee=...)
    refused("amount 0", "total_fee", fee=0)
    refused("amount with fraction", "total_fee", fee="8.88")
    refused("no body", "body", body=...)
    refused("long number", "out_trade_no", no="T" * 33)
    refused("number with a blank", "out_trade_no", no="T 1")
    refused("address", "spbill_create_ip", spbill_create_ip="8.8.8.8 x")
    is_(v2.order(number(), appid="wx0000000000000000").brief(), failed("APPID_MCHID_NOT_MATCH"), "other appid")
    is_(v2.order(number(), mch_id=DISABLED).brief(), failed("NOAUTH"), "disabled merchant")
    is_(v2.order(number(), fee_type="USD").brief(), failed("PARAM_ERROR"), "other currency")
    is_(v2.order(number(), notify_url="http://127.0.0.1/x?y=1").brief(), failed("PARAM_ERROR"), "notify_url")
    is_(v2.order(number(), time_expire="20200101000000").brief(), failed("PARAM_ERROR"), "past time_expire")
    is_(v2.order(number(), unknown_field="x").brief(), OK, "unknown signed elements are free")
    for name, raw in {"empty": b"", "no XML": b"{}", "DOCTYPE": b"<!DOCTYPE xml><xml/>",
                      "an element twice": b"<xml><a>1</a><a>1</a></xml>", "other root": b"<lmx/>",
                      "nested": b"<xml><a><b/></a></xml>", "UTF-16": "<xml/>".encode("utf-16"),
                      "GBK": "<xml><a>测</a></xml>".encode("gbk")}.items():
        is_(v2.call("/pay/unifiedorder", {}, raw=raw).brief(), REFUSED, f"body: {name}")
    is_(v2.call("/pay/nothing", {}).brief(), REFUSED, "no such path")
    is_(v2.call("/pay/orderquery", {}, method="PUT").brief(), REFUSED, "only POST")
    is_(v2.call("/pay/orderquery", {}).brief(), REFUSED, "query of no number")
    is_(bank.call("POST", "/pay/orderquery", b"<xml/>")[0], 403, "not without TLS")


def test_micropay(bank, v2):
    no, code = number(), auth_code()
    a = v2.micropay(no, code=code)
    is_((a.brief(), a.get("trade_type"), a.get("total_fee"), a.genuine), (OK, "MICROPAY", "888", True), "micropay")
    is_(v2.query(no).get("transaction_id"), a.get("transaction_id"), "query knows it")
    is_(v2.micropay(no, code=code).brief(), failed("ORDERPAID"), "again: paid")
    is_(v2.micropay(number(), code=code).brief(), failed("AUTH_CODE_ERROR"), "a code works once")
    is_(v2.micropay(no).brief(), failed("BUYER_MISMATCH"), "the number with another code")
    is_(v2.micropay(no, 889, code=code).brief(), failed("OUT_TRADE_NO_USED"), "the number with other content")
    for bad in ("28" + "1" * 16, "16" + "1" * 16, "1" * 17, "1" * 19, "13" + "a" * 16):
        is_(v2.micropay(number(), code=bad).brief(), failed("AUTH_CODE_INVALID"), f"no code: {bad}")
    is_(v2.close(no).brief(), failed("INVALID_REQUEST"), "micropay is not closed")
    is_(bank.order(no)["notify_tries"], 0, "no notification for micropay")
    large, code = number(), auth_code()
    is_(v2.micropay(large, 200001, code=code).brief(), failed("USERPAYING"), "over 2,000 yuan: the password")
    is_(v2.query(large).get("trade_state"), "USERPAYING", "query says so")
    is_(v2.micropay(large, 200001, code=code).brief(), failed("USERPAYING"), "asked again: still")
    is_(v2.reverse(large).brief(), failed("USERPAYING"), "no reversal while the payer types")
    is_(bank.control("POST", "pay", {"out_trade_no": large})[0], 200, "the password comes")
    is_(v2.query(large).get("trade_state"), "SUCCESS", "paid")
    is_(v2.micropay(number(), 200000).brief(), OK, "2,000 yuan need none")
    wrong = number()
    v2.micropay(wrong, 200001)
    is_(bank.control("POST", "pay", {"out_trade_no": wrong, "refuse": True})[0], 200, "a wrong password")
    is_(v2.query(wrong).get("trade_state"), "PAYERROR", "PAYERROR")
    is_((v2.reverse(wrong).get("recall"), v2.query(wrong).get("trade_state")), ("N", "REVOKED"), "reversed")


def test_reverse(bank, v2):
    no = number()
    v2.micropay(no)
    is_((v2.reverse_now(no).brief(), v2.query(no).get("trade_state")), (failed("INVALID_REQUEST"), "SUCCESS"), "not before 15 s")
    is_((v2.bank.later(lambda: v2.reverse_now(no), 14000).brief(), v2.query(no).get("trade_state")),
        (failed("INVALID_REQUEST"), "SUCCESS"), "not after 14 s either")
    for what in (lambda c: v2.reverse(no, client=c), lambda c: v2.refund(no, number("R"), 1, client=c)):
        is_(((a := what(None)).status, a.brief(), b"No required SSL certificate" in a.body), (400, (None, None, None), True),
            "/secapi without the client's certificate")
        is_((what("stranger").brief(), v2.query(no).get("trade_state")), (REFUSED, "SUCCESS"), "with another's")
    is_((v2.reverse(no).brief(), v2.reverse(no).get("recall")), (OK, "N"), "reverse, twice")
    is_((v2.query(no).get("trade_state"), v2.micropay(no).brief()), ("REVOKED", failed("BUYER_MISMATCH")), "REVOKED")
    is_(v2.refund(no, number("R"), 1).brief(), failed("ERROR"), "nothing left to refund")
    is_(v2.reverse(number()).get("recall"), "N", "an unknown number is answered alike")
    is_(v2.call("/secapi/pay/reverse", {"transaction_id": "42"}, client="merchant").brief(), failed("INVALID_TRANSACTIONID"),
        "an unknown transaction_id is not")
    native = number()
    v2.order(native)
    is_(v2.reverse(native).brief(), failed("INVALID_REQUEST"), "only micropay")
    no = number()
    v2.micropay(no)
    bank.fault("recall", times=1)
    is_((v2.reverse(no).get("recall"), v2.query(no).get("trade_state")), ("Y", "SUCCESS"), "recall=Y: not done")
    is_((v2.reverse(no).get("recall"), v2.query(no).get("trade_state")), ("N", "REVOKED"), "called again")
    no = number()
    v2.micropay(no)
    bank.control("POST", "clock", {"offset_ms": 8 * DAY_MS})
    is_(v2.reverse(no).brief(), failed("REVERSE_EXPIRE"), "not after 7 days")
    bank.control("POST", "clock", {"offset_ms": 366 * DAY_MS})
    is_(v2.refund(no, number("R"), 1).brief(), failed("TRADE_OVERDUE"), "no refund after a year")
    bank.control("POST", "clock", {"offset_ms": 0})


def test_refund(bank, v2, receiver):
    no, first, second = number(), number("R"), number("R")
    v2.micropay(no)
    a = v2.refund(no, first, 300, notify_url=receiver.url + "/v2refund")
    is_((a.brief(), a.get("refund_fee"), a.genuine), (OK, "300", True), "refund accepted")
    is_(v2.refund(no, first, 300).get("refund_id"), a.get("refund_id"), "the same number: the same refund")
    is_(v2.refund(no, first, 301).brief(), failed("INVALID_REQUEST"), "with another amount")
    is_(v2.query(no).get("trade_state"), "REFUND", "the order says REFUND")
    is_(v2.refund(no, second, 588).brief(), failed("FREQUENCY_LIMITED"), "a minute between two")
    _, _, body = wait_for(lambda: receiver.of("v2refund"), "a notification")[0]
    doc = from_xml(body)
    inner = open_req_info(doc["req_info"])
    is_((inner["out_refund_no"], inner["refund_fee"], inner["total_fee"], inner["refund_status"]),
        (first, "300", "888", "SUCCESS"), "its secret part")
    ok("sign" not in doc, "without a signature")
    bank.control("POST", "clock", {"offset_ms": 61000})
    is_(v2.refund(no, second, 589).brief(), failed("ERROR"), "more than is left")
    is_(v2.refund(no, second, 588).brief(), OK, "the rest")
    bank.control("POST", "clock", {"offset_ms": 62000})
    wait_for(lambda: v2.refund_query(out_refund_no=second).get("refund_status_0") == "SUCCESS", "it ends")
    q = v2.refund_query(out_trade_no=no)
    is_((q.get("refund_count"), q.get("out_refund_no_0"), q.get("refund_fee_1")), ("2", first, "588"), "both")
    is_(v2.refund_query(out_trade_no=no, offset=1).get("out_refund_no_0"), second, "from an offset")
    is_(v2.refund_query(refund_id=a.get("refund_id")).get("out_refund_no_0"), first, "by refund_id")
    is_(v2.refund_query(out_refund_no=number("R")).brief(), failed("REFUNDNOTEXIST"), "of nothing")
    is_(v2.refund(number(), number("R"), 1).brief(), failed("ORDERNOTEXIST"), "of no order")
    unpaid = number()
    v2.order(unpaid)
    is_(v2.refund(unpaid, number("R"), 1).brief(), failed("ORDERNOTEXIST"), "of an unpaid one")
    bank.control("POST", "clock", {"offset_ms": 0})
    no = number()
    v2.micropay(no)
    is_(v2.refund(no, number("R"), 1, total=889).brief(), failed("ERROR"), "another total")
    for fault, state in (("refund_closed", "REFUNDCLOSE"), ("refund_abnormal", "CHANGE")):
        no, back = number(), number("R")
        v2.micropay(no)
        bank.fault(fault, times=1)
        is_(v2.refund(no, back, 888).brief(), OK, f"{fault}: accepted")
        wait_for(lambda: v2.refund_query(out_refund_no=back).get("refund_status_0") == state, f"ends as {state}")


def test_bill(bank, v2):
    paid, revoked, refunded = number("B"), number("B"), number("B")
    for no in (paid, revoked, refunded):
        v2.micropay(no, body="茶,`x")
    v2.reverse(revoked)
    back = number("R")
    v2.refund(refunded, back, 300)
    today = datetime.now(CHINA)
    day = today.strftime("%Y%m%d")
    is_(v2.bill(day).get("error_code"), "20002", "no bill on the same day")
    bank.control("POST", "clock", {"offset_ms": 2 * DAY_MS})
    text = v2.bill(day).body.decode("utf-8-sig")
    lines = text.split("\r\n")
    is_(lines[0].count(","), 26, "27 columns")
    rows = [line[1:].split(",`") for line in lines[1:-3]]
    titles = lines[0].split(",")
    cell = lambda row, title: row[titles.index(title)]
    mine = {cell(r, "商户订单号") + cell(r, "交易状态"): r for r in rows}
    r = mine[paid + "SUCCESS"]
    is_((cell(r, "订单金额"), cell(r, "手续费"), cell(r, "商品名称"), cell(r, "商户退款单号")),
        ("8.88", "0.05000", "茶, x", "0"), "a payment")
    r = mine[revoked + "REVOKED"]
    is_((cell(r, "退款金额"), cell(r, "商户退款单号"), cell(r, "应结订单金额"), cell(r, "手续费")),
        ("8.88", revoked, "0.00", "-0.05000"), "a reversal carries the order's number")
    ok(revoked + "SUCCESS" in mine, "and its payment stays")
    r = mine[refunded + "REFUND"]
    is_((cell(r, "退款金额"), cell(r, "商户退款单号"), cell(r, "退款状态")), ("3.00", back, "SUCCESS"), "a refund")
    sums = lines[-2][1:].split(",`")
    is_((int(sums[0]), lines[-1]), (len(rows), ""), "the sums")
    is_(round(sum(float(cell(r, "应结订单金额")) for r in rows), 2), float(sums[1]), "of what came in")
    zipped = v2.bill(day, tar_type="GZIP").body
    is_(gzip.decompress(zipped).decode("utf-8-sig"), text, "gzip: the same")
    is_(v2.bill(day, "SUCCESS").body.decode("utf-8-sig").split("\r\n")[0].count(","), 19, "SUCCESS: 20 columns")
    is_(v2.bill(day, "REFUND").body.decode("utf-8-sig").split("\r\n")[0].count(","), 28, "REFUND: 29 columns")
    is_(v2.bill(day, "RECHARGE_REFUND").get("error_code"), "20002", "nothing else")
    is_(v2.bill((today - timedelta(days=3)).strftime("%Y%m%d")).get("error_code"), "20002", "an empty day")
    is_(v2.bill("20200101").get("error_code"), "20007", "too old")
    bank.control("POST", "clock", {"offset_ms": 0})


def test_faults(bank, v2, receiver):
    def struck(fault, call, **more):
        bank.no_faults()
        bank.fault(fault, times=1, channel="wechat_v2", **more)
        return call()

    no = number()
    v2.micropay(no)
    query = lambda **more: v2.query(no, **more)
    is_(struck("error_500", query).status, 500, "error_500")
    is_(struck("error_503", query).status, 503, "error_503")
    is_(struck("too_frequent", query).brief(), failed("FREQUENCY_LIMITED"), "too_frequent")
    is_(struck("not_found", query).brief(), failed("ORDERNOTEXIST"), "not_found")
    is_(struck("garbage", query).doc, {}, "garbage")
    ok(not struck("bad_signature", query).genuine, "bad_signature")
    ok("sign" not in struck("unsigned", query).doc, "unsigned")
    is_(struck("wrong_amount", query, api="query").get("total_fee"), "889", "wrong_amount in an answer")
    is_(struck("reset_after", query).status, 0, "reset_after")
    is_(struck("timeout_after", lambda: query(timeout=0.3)).status, None, "timeout_after")
    is_(struck("user_paying", lambda: v2.micropay(number())).brief(), failed("USERPAYING"), "user_paying")
    soon = number()
    is_(struck("user_paying", lambda: v2.micropay(soon), delay_ms=50).brief(), failed("USERPAYING"), "for a while")
    wait_for(lambda: v2.query(soon).get("trade_state") == "SUCCESS", "then the payer pays by himself")
    lost = number()
    is_(struck("code_after", lambda: v2.micropay(lost), code="SYSTEMERROR").brief(), failed("SYSTEMERROR"),
        "code_after: an error")
    is_(v2.query(lost).get("trade_state"), "SUCCESS", "and nevertheless paid")
    for code in ("SYSTEMERROR", "BANKERROR", "NOTENOUGH", "TRADE_ERROR", "AUTHCODEEXPIRE", "NOAUTH"):
        never = number()
        is_(struck("code", lambda: v2.micropay(never), code=code).brief(), failed(code), f"code {code}")
        is_(v2.query(never).brief(), failed("ORDERNOTEXIST"), "and nothing booked")
    is_(struck("code", query, code="FAIL").brief(), REFUSED, "code FAIL: the transport's level")
    no = number()
    url = receiver.url + "/v2twice"
    code_url = v2.order(no, notify_url=url).get("code_url")
    struck("contradictory_notify", lambda: bank.pay(code_url))
    wait_for(lambda: len(receiver.of("v2twice")) == 2, "a contradictory notification, then the truth")
    is_([from_xml(b)["result_code"] for _, _, b in receiver.of("v2twice")], ["FAIL", "SUCCESS"], "in this order")
    bank.no_faults()


def test_acknowledgement(bank, v2, receiver):
    receiver.answers[:] = [(200, b"success"), (500, to_xml({"return_code": "SUCCESS"}).encode()),
                           (200, to_xml({"return_code": "FAIL"}).encode()),
                           (200, to_xml({"return_code": "SUCCESS"}).encode())]
    no = number()
    bank.pay(v2.order(no, notify_url=receiver.url + "/v2ack").get("code_url"))
    wait_for(lambda: bank.order(no)["notified"], "only 200 with return_code SUCCESS is taken")
    is_(bank.order(no)["notify_tries"], 4, "at the fourth try")


def test_scenario(bank, v2):
    is_(bank.control("POST", "faults", {
        "scenario": "slow payer", "pattern": "SC*7", "channel": "wechat_v2",
        "steps": [{"api": "barcode", "fault": "user_paying"}, {"api": "query", "fault": "none", "times": 2},
                  {"api": "query", "fault": "code", "code": "SYSTEMERROR"}, {"api": "reverse", "fault": "recall"}],
    })[0], 200, "a scenario")
    for no in ("SC000017", "SC000027"):
        is_(v2.micropay(no).brief(), failed("USERPAYING"), f"{no}: the payer is asked")
    states = lambda no: [v2.query(no).brief() for _ in range(4)]
    for no in ("SC000027", "SC000017"):
        is_(states(no), [OK, OK, failed("SYSTEMERROR"), OK], "two queries are answered, the third is not")
    is_(v2.reverse("SC000017").get("recall"), "Y", "recall once")
    is_(v2.reverse("SC000017").brief(), failed("USERPAYING"), "then the order is left alone")
    is_(v2.micropay("SC000018").brief(), OK, "numbers that do not fit are never touched")
    for bad in ({"steps": []}, {"steps": [{"fault": "nonsense"}]}, {"pattern": ""}, {"channel": "x"},
                {"steps": [{"fault": "none", "times": 0}]}, {"more": 1}):
        doc = {"scenario": "s", "pattern": "*", "steps": [{"fault": "none"}], **bad}
        is_(bank.control("POST", "faults", doc)[0], 400, f"refused: {bad}")
    bank.no_faults()


def test_journal(bank, v2):
    import signal
    no, back = number(), number("R")
    v2.micropay(no)
    v2.refund(no, back, 300)
    revoked, asked = number(), number()
    v2.micropay(revoked)
    v2.reverse(revoked)
    v2.micropay(asked, 200001)
    wait_for(lambda: v2.refund_query(out_refund_no=back).get("refund_status_0") == "SUCCESS", "a refund ends")
    before = [v2.query(n).get("trade_state") for n in (no, revoked, asked)]
    bank.end(signal.SIGKILL)
    bank.start()
    is_([v2.query(n).get("trade_state") for n in (no, revoked, asked)], before, "kill -9: the states are the same")
    is_(v2.refund_query(out_refund_no=back).get("refund_status_0"), "SUCCESS", "and the refund")


def main():
    with Stage() as s:
        s.bank.start()
        md5, mac = WechatV2(s.bank), WechatV2(s.bank, "HMAC-SHA256")
        s.receiver.default = (200, to_xml({"return_code": "SUCCESS"}).encode())
        test_orders(s.bank, md5, s.receiver, "MD5")
        test_orders(s.bank, mac, s.receiver, "HMAC")
        test_methods(md5)
        test_refusals(s.bank, md5)
        test_micropay(s.bank, mac)
        test_reverse(s.bank, md5)
        test_refund(s.bank, mac, s.receiver)
        test_bill(s.bank, md5)
        test_faults(s.bank, md5, s.receiver)
        test_acknowledgement(s.bank, md5, s.receiver)
        test_scenario(s.bank, md5)
        test_journal(s.bank, md5)
    done()


if __name__ == "__main__":
    main()
