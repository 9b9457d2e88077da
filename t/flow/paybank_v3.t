#!/usr/bin/python3
"""R3.2: what WeChat Pay v3 and bank_json have beside native: barcodes, reversals, refunds, bills."""
import gzip
import hashlib
import json
import secrets
import sys
from datetime import datetime
from urllib.parse import urlsplit

sys.dont_write_bytecode = True
from paybank_peer import APPID, BANK_MCHID, CHINA, MCHID, Stage, decrypt, number, rfc3339, wait_for
from tap import done, is_, ok

DAY_MS = 86400000
digits = lambda n: "".join(secrets.choice("0123456789") for _ in range(n))


class V3:
    """The APIs that paybank_peer does not have."""

    def __init__(self, wechat):
        self.wechat, self.query = wechat, wechat.query

    def post(self, path, document):
        document = {k: v for k, v in document.items() if v is not ...}
        return self.wechat.call("POST", path, json.dumps(document, ensure_ascii=False))

    def order(self, api, no, total=888, **more):
        return self.post(f"/v3/pay/transactions/{api}", {
            "appid": APPID, "mchid": MCHID, "description": "测试", "out_trade_no": no,
            "notify_url": "http://127.0.0.1:9/x", "amount": {"total": total, "currency": "CNY"}, **more})

    def codepay(self, no, total=888, code=None, **more):
        more = {"payer": {"auth_code": code or "13" + digits(16)}, "notify_url": ...,
                "scene_info": {"store_info": {"id": "S1"}}, **more}
        return self.order("codepay", no, total, **more)

    def reverse(self, no):
        return self.wechat.bank.later(lambda: self.reverse_now(no))

    def reverse_now(self, no):
        return self.post(f"/v3/pay/transactions/out-trade-no/{no}/reverse", {"appid": APPID, "mchid": MCHID})

    def refund(self, no, number, amount, total=888, **more):
        return self.post("/v3/refund/domestic/refunds", {
            "out_trade_no": no, "out_refund_no": number,
            "amount": {"refund": amount, "total": total, "currency": "CNY"}, **more})

    def refund_query(self, number):
        return self.wechat.call("GET", f"/v3/refund/domestic/refunds/{number}")


def test_v3_methods(bank, v3):
    no = number()
    a = v3.order("jsapi", no, payer={"openid": "o1"})
    is_((a.status, a.genuine, bank.pay(a.get("prepay_id"))[0], v3.query(no).get("trade_type")),
        (200, True, 200, "JSAPI"), "jsapi")
    is_(v3.order("jsapi", number()).brief(), (400, "PARAM_ERROR"), "jsapi needs openid")
    ok(v3.order("app", number()).get("prepay_id"), "app")
    scene = {"payer_client_ip": "8.8.8.8", "h5_info": {"type": "Wap"}}
    ok("prepay_id=" in v3.order("h5", number(), scene_info=scene).get("h5_url"), "h5")
    is_(v3.order("h5", number()).brief(), (400, "PARAM_ERROR"), "h5 needs scene_info")


def test_v3_codepay(bank, v3):
    no, code = number(), "13" + digits(16)
    a = v3.codepay(no, code=code)
    is_((a.status, a.get("trade_state"), a.get("trade_type"), a.get("amount", "total"), a.genuine),
        (200, "SUCCESS", "MICROPAY", 888, True), "codepay")
    is_(v3.codepay(no, code=code).brief(), (400, "ORDER_PAID"), "again: paid")
    is_(v3.codepay(no).brief(), (403, "OUT_TRADE_NO_USED"), "with another code: used")
    is_(v3.codepay(number(), code=code).brief(), (400, "AUTH_CODE_ERROR"), "a code works once")
    is_(v3.codepay(number(), code="28" + digits(16)).brief(), (400, "AUTH_CODE_INVALID"), "not a code")
    is_(v3.codepay(number(), scene_info={"store_info": {}}).brief(), (400, "PARAM_ERROR"), "store_info needs an id")
    is_(v3.wechat.close(no).brief(), (400, "INVALID_REQUEST"), "codepay is not closed")
    is_((v3.reverse_now(no).brief(), v3.query(no).get("trade_state")), ((400, "INVALID_REQUEST"), "SUCCESS"), "not before 15 s")
    for name in ("reverse", "reverse again"):
        is_(v3.reverse(no).doc, {"mchid": MCHID, "out_trade_no": no}, name)
    is_(v3.query(no).get("trade_state"), "REVOKED", "REVOKED")
    is_(v3.codepay(no, code=code).brief(), (400, "ORDER_REVERSED"), "the number is dead")
    large = number()
    is_(v3.codepay(large, 200001).brief(), (202, "USERPAYING"), "over 2,000 yuan: the password")
    is_((v3.query(large).get("trade_state"), v3.reverse(large).get("code")), ("USERPAYING", "USERPAYING"), "no reversal then")
    bank.control("POST", "pay", {"out_trade_no": large})
    is_(v3.query(large).get("trade_state"), "SUCCESS", "the password comes")
    is_(v3.reverse(number()).brief(), (404, "ORDER_NOT_EXIST"), "reverse of nothing")
    native = number()
    v3.wechat.native(native)
    is_(v3.reverse(native).brief(), (400, "INVALID_REQUEST"), "only codepay")
    bank.control("POST", "clock", {"offset_ms": 8 * DAY_MS})
    is_(v3.reverse(large).brief(), (400, "REVERSE_EXPIRE"), "not after 7 days")
    bank.control("POST", "clock", {"offset_ms": 0})


def test_v3_refund(bank, v3, receiver):
    no, first, second = number(), number("R"), number("R")
    v3.codepay(no)
    a = v3.refund(no, first, 300, notify_url=receiver.url + "/v3refund")
    is_((a.status, a.get("status"), a.get("amount", "refund"), a.genuine), (200, "PROCESSING", 300, True), "refund")
    wait_for(lambda: v3.refund_query(first).get("status") == "SUCCESS", "refund query: done")
    is_(v3.refund(no, first, 300).get("refund_id"), a.get("refund_id"), "the same number: the same refund")
    is_(v3.refund(no, first, 301).brief(), (400, "INVALID_REQUEST"), "with another amount")
    is_(v3.query(no).get("trade_state"), "REFUND", "the order says REFUND")
    plain = decrypt(wait_for(lambda: receiver.of("v3refund"), "a notification")[0][2])
    is_((plain["refund_status"], plain["out_refund_no"], plain["amount"]["refund"], plain["mchid"]),
        ("SUCCESS", first, 300, MCHID), "its secret part")
    is_(json.loads(receiver.of("v3refund")[0][2])["event_type"], "REFUND.SUCCESS", "its event")
    bank.control("POST", "clock", {"offset_ms": 61000})
    is_(v3.refund(no, second, 589).brief(), (400, "INVALID_REQUEST"), "more than is left")
    is_(v3.refund(no, second, 588).status, 200, "the rest")
    bank.control("POST", "clock", {"offset_ms": 0})
    is_(v3.refund(no, number("R"), 1, total=889).brief(), (400, "INVALID_REQUEST"), "another total")
    is_(v3.refund(number(), number("R"), 1).brief(), (404, "RESOURCE_NOT_EXISTS"), "of nothing")
    is_(v3.refund_query(number("R")).brief(), (404, "RESOURCE_NOT_EXISTS"), "query of nothing")
    for fault, state in (("refund_closed", "CLOSED"), ("refund_abnormal", "ABNORMAL")):
        no, back = number(), number("R")
        v3.codepay(no)
        bank.fault(fault, times=1)
        v3.refund(no, back, 1)
        wait_for(lambda: v3.refund_query(back).get("status") == state, f"{fault}: {state}")
    no = number()
    v3.codepay(no)
    v3.refund(no, number("R"), 1)
    is_(v3.refund(no, number("R"), 1).brief(), (429, "FREQUENCY_LIMITED"), "a minute between two")
    is_(v3.reverse(no).brief(), (403, "TRADE_ERROR"), "no reversal after a refund")


def test_v3_bill(bank, v3):
    no = number("B")
    v3.codepay(no)
    v3.reverse(no)
    day = datetime.now(CHINA).strftime("%Y-%m-%d")
    ask = lambda query: v3.wechat.call("GET", "/v3/bill/tradebill?" + query)
    is_(ask(f"bill_date={day}").brief(), (400, "NO_STATEMENT_EXIST"), "no bill on the same day")
    bank.control("POST", "clock", {"offset_ms": 2 * DAY_MS})
    a = ask(f"bill_date={day}&bill_type=ALL&tar_type=GZIP")
    is_((a.status, a.get("hash_type"), a.genuine), (200, "SHA1", True), "an address")
    url = urlsplit(a.get("download_url"))
    f = v3.wechat.call("GET", f"{url.path}?{url.query}")
    text = gzip.decompress(f.body)
    is_((hashlib.sha1(text).hexdigest(), f.genuine), (a.get("hash_value"), False), "the hash is of the unpacked file")
    ok(f"`{no}".encode() in text and b"`REVOKED" in text, "with its reversal")
    is_(v3.wechat.call("GET", f"{url.path}?{url.query}0").brief(), (403, "NO_AUTH"), "another token")
    is_(ask("bill_type=ALL").brief(), (400, "PARAM_ERROR"), "no day")
    is_(ask("bill_date=2020-01-01").brief(), (400, "PARAM_ERROR"), "too old")
    bank.control("POST", "clock", {"offset_ms": 0})


class Json:
    """bank_json's APIs that paybank_peer does not have."""

    def __init__(self, client):
        self.client, self.query = client, client.query

    def post(self, path, **document):
        return self.client.call("POST", path, json.dumps({"mch_id": BANK_MCHID, **document}))

    def get(self, path):
        return self.client.call("GET", f"{path}?mch_id={BANK_MCHID}")

    def barcode(self, no, amount=888, code=None):
        return self.post("/bank/v1/payments", order_no=no, amount=amount, currency="CNY", subject="Tea",
                         notify_url="http://127.0.0.1:9/x", expire_at=rfc3339(3600), auth_code=code or "99" + digits(16))

    def reverse(self, no):
        return self.post(f"/bank/v1/orders/{no}/reverse")

    def refund(self, no, number, amount):
        return self.post("/bank/v1/refunds", order_no=no, refund_no=number, amount=amount, currency="CNY")

    def refund_query(self, number):
        return self.get(f"/bank/v1/refunds/{number}")


def test_json_barcode(bank, client):
    no, code = number("B"), "99" + digits(16)
    a = client.barcode(no, code=code)
    is_((a.status, a.get("status"), a.get("amount"), a.genuine), (200, "PAID", 888, True), "bank_json: barcode")
    is_(client.barcode(no, code=code).get("bank_no"), a.get("bank_no"), "the same again: the same order")
    is_(client.barcode(no).brief(), (409, "ORDER_NO_USED"), "another code")
    for bad in (code, "13" + digits(16), "99" + digits(15)):
        is_(client.barcode(number("B"), code=bad).brief(), (400, "AUTH_CODE_INVALID"), f"no code: {bad}")
    is_(client.client.close(no).brief(), (400, "BAD_REQUEST"), "not closed but reversed")
    for name in ("reverse", "reverse again"):
        is_(client.reverse(no).doc, {"code": "OK", "status": "REVERSED"}, name)
    is_((client.query(no).get("status"), client.barcode(no, code=code).brief()), ("REVERSED", (409, "ORDER_REVERSED")), "dead")
    no = number("B")
    is_(client.barcode(no, 200001).get("status"), "USER_PAYING", "over 2,000 yuan: the password")
    is_((client.reverse(no).get("status"), client.query(no).get("status")), ("REVERSED", "REVERSED"), "reversed while typing")
    is_(client.reverse(number("B")).brief(), (404, "ORDER_NOT_FOUND"), "reverse of nothing")
    native = number("B")
    client.client.native(native)
    is_(client.reverse(native).brief(), (400, "BAD_REQUEST"), "only barcodes")
    no = number("B")
    client.barcode(no)
    bank.control("POST", "clock", {"offset_ms": 25 * 3600000})
    is_(client.reverse(no).brief(), (409, "REVERSE_EXPIRED"), "not after a day")
    bank.control("POST", "clock", {"offset_ms": 0})


def test_json_refund(bank, client):
    no, first = number("B"), number("R")
    client.barcode(no)
    a = client.refund(no, first, 300)
    is_((a.status, a.get("status"), a.get("amount"), a.genuine), (200, "PROCESSING", 300, True), "refund")
    wait_for(lambda: client.refund_query(first).get("status") == "DONE", "refund query: done")
    is_(client.refund(no, first, 300).get("bank_refund_no"), a.get("bank_refund_no"), "again: the same")
    is_(client.refund(no, first, 301).brief(), (409, "REFUND_NO_USED"), "with another amount")
    is_(client.query(no).get("refunded"), 300, "the order knows how much")
    is_(client.refund(no, number("R"), 589).brief(), (409, "REFUND_TOO_MUCH"), "more than is left")
    is_(client.reverse(no).brief(), (409, "ORDER_REFUNDED"), "no reversal any more")
    is_(client.refund(number("B"), number("R"), 1).brief(), (404, "ORDER_NOT_FOUND"), "of nothing")
    is_(client.refund_query(number("R")).brief(), (404, "REFUND_NOT_FOUND"), "query of nothing")
    unpaid = number("B")
    client.client.native(unpaid)
    is_(client.refund(unpaid, number("R"), 1).brief(), (409, "ORDER_NOT_PAID"), "of an unpaid one")
    failing = number("R")
    bank.fault("refund_closed", times=1)
    client.refund(no, failing, 588)
    wait_for(lambda: client.refund_query(failing).get("status") == "FAILED", "refund_closed: FAILED")
    is_((client.query(no).get("refunded"), client.refund(no, number("R"), 588).status), (300, 200), "its money is free again")
    bank.control("POST", "clock", {"offset_ms": 366 * DAY_MS})
    is_(client.refund(no, number("R"), 1).brief(), (409, "REFUND_EXPIRED"), "not after a year")
    bank.control("POST", "clock", {"offset_ms": 0})


def test_json_bill(bank, client):
    no, revoked, back = number("B"), number("B"), number("R")
    paid = client.barcode(no, 10000)
    client.barcode(revoked)
    client.reverse(revoked)
    client.refund(no, back, 300)
    day = datetime.now(CHINA).strftime("%Y%m%d")
    is_(client.get(f"/bank/v1/bills/{day}").brief(), (404, "BILL_NOT_FOUND"), "no bill on the same day")
    bank.control("POST", "clock", {"offset_ms": 2 * DAY_MS})
    a = client.get(f"/bank/v1/bills/{day}")
    ok(a.genuine and a.headers["Content-Type"] == "text/csv; charset=utf-8", "the bill, signed", a.headers)
    lines = [line.split(",") for line in a.body.decode().splitlines()]
    rows = {(r[0], r[1]): dict(zip(lines[0], r)) for r in lines[1:]}
    is_([rows["PAYMENT", no][k] for k in ("bank_no", "amount", "fee", "refund_no")],
        [paid.get("bank_no"), "10000", "60", ""], "a payment")
    is_([rows["REFUND", no][k] for k in ("refund_no", "amount", "fee")], [back, "-300", "-2"], "a refund")
    is_(rows["REVERSAL", revoked]["amount"], "-888", "a reversal")
    is_(client.get("/bank/v1/bills/20200101").brief(), (400, "BAD_REQUEST"), "too old")
    bank.control("POST", "clock", {"offset_ms": 0})


def test_seed(bank, client):
    """The same seed and the same requests: the same misfortunes."""
    def run():
        bank.end(15)
        bank.start()
        bank.fault("error_503", percent=40, channel="bank_json")
        return [client.query("B000000").status for _ in range(40)]

    first = run()
    ok(first == run() and {404, 503} == set(first), "twice the same", first)


def main():
    with Stage() as s:
        s.bank.start()
        v3, client = V3(s.wechat), Json(s.client)
        test_v3_methods(s.bank, v3)
        test_v3_codepay(s.bank, v3)
        test_v3_refund(s.bank, v3, s.receiver)
        test_v3_bill(s.bank, v3)
        test_json_barcode(s.bank, client)
        test_json_refund(s.bank, client)
        test_json_bill(s.bank, client)
        test_seed(s.bank, client)
    done()


if __name__ == "__main__":
    main()
