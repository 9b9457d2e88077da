#!/usr/bin/python3
"""R3.2, R3.3: Alipay as the virtual bank speaks it: QR codes, barcodes, cancel, refunds, bills."""
import io
import sys
import zipfile
from datetime import datetime, timedelta
from urllib.parse import urlsplit

sys.dont_write_bytecode = True
from paybank_alipay_peer import DISABLED, OK, SELLER, WAITS, Alipay, auth_code, failed
from paybank_peer import CHINA, Stage, number, wait_for
from tap import done, is_, ok

DAY_MS = 86400000


def test_precreate(bank, alipay, receiver):
    no = number()
    url = receiver.url + "/alipay"
    a = alipay.precreate(no, notify_url=url)
    is_((a.brief(), a.named, a.genuine), (OK, True, True), "precreate")
    ok(b"https:\\/\\/qr.alipay.com\\/" in a.body, "slashes are escaped as there", a.body)
    is_(alipay.query(no).brief(), failed("TRADE_NOT_EXIST"), "no trade before somebody scans")
    is_(alipay.of("close", no).brief(), failed("TRADE_NOT_EXIST"), "nor to close")
    c = alipay.cancel(no)
    is_((c.brief(), c.get("retry_flag"), c.get("action")), (OK, "N", None), "nor to cancel")
    is_(alipay.precreate(no, notify_url=url).get("qr_code"), a.get("qr_code"), "again: the same code")
    is_(alipay.precreate(no, "8.89").brief(), failed("CONTEXT_INCONSISTENT"), "other amount")
    is_(bank.control("POST", "pay", {"code_url": a.get("qr_code"), "scan": True})[0], 200, "somebody scans")
    q = alipay.query(no)
    is_((q.get("trade_status"), q.get("total_amount"), q.get("send_pay_date")), ("WAIT_BUYER_PAY", "8.88", None), "waits")
    is_(bank.pay(a.get("qr_code"))[0], 200, "and pays")
    q = alipay.query(no)
    is_((q.get("trade_status"), q.get("buyer_pay_amount"), q.genuine), ("TRADE_SUCCESS", "8.88", True), "paid")
    is_(alipay.call("alipay.trade.query", {"trade_no": q.get("trade_no"), "out_trade_no": "x"}).get("out_trade_no"),
        no, "trade_no wins")
    is_(alipay.precreate(no, notify_url=url).brief(), failed("TRADE_HAS_SUCCESS"), "precreate after payment")
    is_(alipay.of("close", no).brief(), failed("TRADE_STATUS_ERROR"), "close after payment")
    fields, genuine = alipay.notice(wait_for(lambda: receiver.of("alipay"), "a notification")[0][2])
    ok(genuine, "signed")
    is_((fields["trade_status"], fields["total_amount"], fields["out_trade_no"], fields["seller_id"], fields["subject"]),
        ("TRADE_SUCCESS", "8.88", no, SELLER, "测试+&=%/x"), "its content")
    no = number()
    code = alipay.precreate(no).get("qr_code")
    bank.control("POST", "pay", {"code_url": code, "scan": True})
    is_((alipay.of("close", no).brief(), alipay.query(no).get("trade_status")), (OK, "TRADE_CLOSED"), "close")
    is_((bank.pay(code)[0], alipay.precreate(no).brief()), (409, failed("TRADE_HAS_CLOSE")), "a closed number is dead")


def test_methods(bank, alipay):
    no = number()
    a = alipay.trade("create", no, biz={"buyer_id": "2088102116773037"})
    is_((a.brief(), alipay.query(no).get("trade_status")), (OK, "WAIT_BUYER_PAY"), "create: a trade at once")
    is_(bank.control("POST", "pay", {"out_trade_no": no})[0], 200, "that is paid")
    is_(alipay.trade("create", number()).brief(), failed("INVALID_PARAMETER"), "create needs a buyer")
    for api in ("app.pay", "wap.pay"):
        no = number()
        is_(alipay.trade(api, no).brief(), OK, api)
        is_(bank.control("POST", "pay", {"out_trade_no": no})[0], 200, "is paid")
    is_(alipay.precreate(number(), in_query=True).brief(), OK, "system parameters in the query")
    no = number()
    alipay.trade("create", no, biz={"buyer_id": "1", "timeout_express": "1m"})
    bank.control("POST", "clock", {"offset_ms": 61000})
    is_(alipay.query(no).get("trade_status"), "TRADE_CLOSED", "timeout_express closes")
    bank.control("POST", "clock", {"offset_ms": 0})


def test_refusals(alipay):
    def refused(name, code, sub_code, signed=True, **more):
        a = alipay.precreate(number(), **more)
        ok(a.brief() == (code, sub_code) and a.genuine == signed, f"refused: {name}", a.body)

    refused("signature", "40002", "isv.invalid-signature", sign="AAAA")
    refused("no signature", "40001", "isv.missing-signature", sign="")
    refused("unknown app", "40002", "isv.invalid-app-id", signed=False, app_id="2014072300009999")
    refused("no app", "40001", "isv.missing-app-id", signed=False, app_id=...)
    refused("no version", "40001", "isv.missing-version", version=...)
    refused("version", "40002", "isv.invalid-version", version="1.1")
    refused("sign_type", "40002", "isv.invalid-signature-type", sign_type="RSA")
    refused("charset", "40002", "isv.invalid-charset", charset="gbk")
    refused("timestamp", "40002", "isv.invalid-timestamp", timestamp="2026-09-01T12:00:00")
    a = alipay.call("alipay.trade.nothing", {})
    is_((a.brief(), a.node), (("40002", "isv.invalid-method"), "error_response"), "unknown method: error_response")
    is_(alipay.call("alipay.trade.query", {}).brief(), failed("INVALID_PARAMETER"), "no number")
    for name, biz in {"amount 0": {"total_amount": "0"}, "three decimals": {"total_amount": "1.234"},
                      "no amount": {"total_amount": ...}, "sign": {"total_amount": "-1"},
                      "number": {"out_trade_no": "T-1"}, "long": {"out_trade_no": "T" * 65}, "subject": {"subject": ...},
                      "timeout": {"timeout_express": "16d"}}.items():
        is_(alipay.precreate(number(), biz=biz).brief(), failed("INVALID_PARAMETER"), f"refused: {name}")
    is_(alipay.precreate(number(), "100000000.01").brief(), failed("TOTAL_FEE_EXCEED"), "too much")
    is_(alipay.precreate(number(), app_id=DISABLED).brief(), failed("ACCESS_FORBIDDEN"), "a disabled app")
    is_(alipay.precreate(number(), tls=False).status, 403, "not without TLS")


def test_barcode(bank, alipay):
    no, code = number(), auth_code()
    a = alipay.pay(no, code=code)
    is_((a.brief(), a.get("total_amount"), a.genuine), (OK, "8.88", True), "barcode")
    is_(alipay.pay(no, code=code).get("trade_no"), a.get("trade_no"), "the same again: the same trade")
    is_(alipay.pay(no).brief(), failed("TRADE_HAS_SUCCESS"), "another code: paid")
    is_(alipay.pay(no, "8.89", code=code).brief(), failed("CONTEXT_INCONSISTENT"), "other content")
    is_(alipay.pay(number(), code=code).brief(), failed("PAYMENT_AUTH_CODE_INVALID"), "a code works once")
    for bad in ("13" + "1" * 16, "31" + "1" * 16, "28" + "1" * 13, "28" + "1" * 23):
        is_(alipay.pay(number(), code=bad).brief(), failed("PAYMENT_AUTH_CODE_INVALID"), f"no code: {bad}")
    is_(alipay.pay(number(), biz={"scene": "wave"}).brief(), failed("INVALID_PARAMETER"), "scene")
    no, code = number(), auth_code()
    is_(alipay.pay(no, "2000.01", code=code).brief(), WAITS, "over 2,000 yuan: the password")
    is_(alipay.pay(no, "2000.01", code=code).brief(), WAITS, "asked again: still")
    is_(alipay.query(no).get("trade_status"), "WAIT_BUYER_PAY", "query says so")
    bank.control("POST", "pay", {"out_trade_no": no})
    is_(alipay.query(no).get("trade_status"), "TRADE_SUCCESS", "the password comes")
    no = number()
    alipay.pay(no, "2000.01")
    bank.control("POST", "clock", {"offset_ms": 181000})
    is_(alipay.query(no).get("trade_status"), "TRADE_CLOSED", "after 3 minutes it closes itself")
    bank.control("POST", "clock", {"offset_ms": 0})


def test_cancel(bank, alipay):
    no = number()
    alipay.pay(no)
    bank.fault("recall", times=1)
    c = alipay.cancel(no)
    is_((c.get("retry_flag"), c.get("action"), alipay.query(no).get("trade_status")), ("Y", None, "TRADE_SUCCESS"),
        "retry_flag Y: not done")
    for time in ("cancel", "cancelled again"):
        c = alipay.cancel(no)
        is_((c.get("retry_flag"), c.get("action")), ("N", "refund"), time)
    q = alipay.query(no)
    ok(q.get("trade_status") == "TRADE_CLOSED" and q.get("send_pay_date"), "TRADE_CLOSED, with its payment", q.doc)
    is_(bank.order(no)["state"], "REVOKED", "the bank knows the difference")
    is_(alipay.refund(no, "1", number("R")).brief(), failed("TRADE_HAS_CLOSE"), "nothing left to refund")
    no = number()
    alipay.pay(no, "2000.01")
    is_((alipay.cancel(no).get("action"), alipay.query(no).get("trade_status")), ("close", "TRADE_CLOSED"), "unpaid: close")
    c = alipay.cancel(number())
    is_((c.brief(), c.get("retry_flag"), c.get("action")), (OK, "N", None), "an unknown number: no action")
    no = number()
    alipay.pay(no)
    alipay.refund(no, "1", number("R"))
    is_(alipay.cancel(no).brief(), failed("REASON_TRADE_REFUND_FEE_ERR"), "not after a refund")
    no = number()
    alipay.pay(no)
    bank.control("POST", "clock", {"offset_ms": 25 * 3600000})
    is_(alipay.cancel(no).brief(), failed("TRADE_CANCEL_TIME_OUT"), "not after a day")
    bank.control("POST", "clock", {"offset_ms": 366 * DAY_MS})
    is_(alipay.query(no).get("trade_status"), "TRADE_FINISHED", "finished after a year")
    is_(alipay.refund(no, "1", number("R")).brief(), failed("TRADE_HAS_FINISHED"), "no refund any more")
    bank.control("POST", "clock", {"offset_ms": 0})


def test_refund(bank, alipay, receiver):
    no, first, second = number(), number("R"), number("R")
    alipay.pay(no, notify_url=receiver.url + "/alipayrefund")
    wait_for(lambda: receiver.of("alipayrefund"), "paid")
    a = alipay.refund(no, "3.00", first)
    is_((a.brief(), a.get("fund_change"), a.get("refund_fee"), a.genuine), (OK, "Y", "3.00", True), "refund")
    a = alipay.refund(no, "3.00", first)
    is_((a.get("fund_change"), a.get("refund_fee")), ("N", "3.00"), "the same again: no money moves")
    is_(alipay.refund(no, "3.01", first).brief(), failed("DISCORDANT_REPEAT_REQUEST"), "with another amount")
    is_(alipay.refund(no, "5.89", second).brief(), failed("REFUND_AMT_NOT_EQUAL_TOTAL"), "more than is left")
    is_(alipay.refund(no, "0", second).brief(), failed("REFUND_FEE_ERROR"), "nothing")
    is_(alipay.refund(no, "1").brief(), failed("INVALID_PARAMETER"), "a part needs a number")
    is_(alipay.query(no).get("trade_status"), "TRADE_SUCCESS", "partly refunded: still TRADE_SUCCESS")
    is_(alipay.refund(no, "5.88", second).get("refund_fee"), "8.88", "refund_fee is the sum")
    is_(alipay.query(no).get("trade_status"), "TRADE_CLOSED", "fully refunded: TRADE_CLOSED")
    is_(bank.order(no)["state"], "SUCCESS", "which the bank keeps apart from closed")
    q = alipay.refund_query(no, second)
    is_((q.get("refund_status"), q.get("refund_amount")), ("REFUND_SUCCESS", "5.88"), "refund query")
    q = alipay.refund_query(no, number("R"))
    is_((q.brief(), q.get("refund_status")), (OK, None), "of an unknown number: 10000 that proves nothing")
    is_(alipay.refund_query(number(), first).brief(), failed("TRADE_NOT_EXIST"), "of no trade")
    got = wait_for(lambda: len(receiver.of("alipayrefund")) == 3 and receiver.of("alipayrefund"), "two notifications")
    notes = {n["out_biz_no"]: n for n, genuine in (alipay.notice(b) for _, _, b in got) if genuine and "out_biz_no" in n}
    ok(set(notes) == {first, second}, "one for each", notes)
    is_(notes[second]["trade_status"], "TRADE_CLOSED", "the last says TRADE_CLOSED")
    no = number()
    alipay.pay(no)
    is_(alipay.refund(no, "8.88").get("fund_change"), "Y", "the whole needs no number")
    is_(alipay.refund_query(no, no).get("refund_status"), "REFUND_SUCCESS", "it has the order's")
    is_(alipay.refund(number(), "1", first).brief(), failed("TRADE_NOT_EXIST"), "of nothing")
    no, back = number(), number("R")
    alipay.pay(no)
    bank.fault("refund_closed", times=1)
    is_(alipay.refund(no, "1", back).get("fund_change"), "N", "refund_closed: no money moved")
    is_(alipay.refund_query(no, back).get("refund_status"), None, "and the query does not say otherwise")


def test_bill(bank, alipay):
    paid, revoked, back = number("B"), number("B"), number("R")
    alipay.pay(paid, "100.00")
    alipay.pay(revoked)
    alipay.cancel(revoked)
    alipay.refund(paid, "3.00", back)
    today = datetime.now(CHINA)
    day = today.strftime("%Y-%m-%d")
    is_(alipay.bill(day).brief(), ("40004", "isp.bill_not_exist"), "no bill on the same day")
    bank.control("POST", "clock", {"offset_ms": 2 * DAY_MS})
    a = alipay.bill(day)
    url = urlsplit(a.get("bill_download_url"))
    status, _, body = bank.call("GET", f"{url.path}?{url.query}", tls=True)
    is_((a.brief(), status, url.scheme), (OK, 200, "https"), "an address, and what is behind it")
    files = zipfile.ZipFile(io.BytesIO(body)).infolist()
    is_([f.filename.encode("cp437").decode("gbk") for f in files],
        [f"{SELLER}0156_{today:%Y%m%d}_业务明细.csv", f"{SELLER}0156_{today:%Y%m%d}_业务明细(汇总).csv"], "two files, GBK names")
    text = zipfile.ZipFile(io.BytesIO(body)).read(files[0]).decode("gbk")
    lines = text.split("\r\n")
    rows = [[c.rstrip("\t") for c in line.split(",")] for line in lines if line and not line.startswith("#")]
    titles, rows = rows[0], rows[1:]
    cell = lambda row, title: row[titles.index(title)]
    mine = {(cell(r, "商户订单号"), cell(r, "业务类型")): r for r in rows}
    is_((len(titles), {len(r) for r in rows}), (25, {25}), "25 columns")
    r = mine[paid, "交易"]
    is_((cell(r, "订单金额（元）"), cell(r, "服务费（元）")), ("100.00", "-0.60"), "a payment")
    r = mine[paid, "退款"]
    is_((cell(r, "订单金额（元）"), cell(r, "退款批次号/请求号"), cell(r, "服务费（元）")), ("-3.00", back, "0.02"), "a refund")
    r = mine[revoked, "退款"]
    is_((cell(r, "订单金额（元）"), cell(r, "退款批次号/请求号")), ("-8.88", ""), "a cancel: no refund number")
    ok((revoked, "交易") in mine, "and its payment stays")
    sums = [line for line in lines if line.startswith("#交易合计")]
    is_(len(sums) == 1 and f"{sum(cell(r, '业务类型') == '交易' for r in rows)}笔" in sums[0], True, "the sums")
    is_(bank.call("GET", f"{url.path}?{url.query}0", tls=True)[0], 403, "another token")
    is_(alipay.bill((today - timedelta(days=3)).strftime("%Y-%m-%d")).brief(), ("40004", "isp.bill_not_exist"), "an empty day")
    is_(alipay.bill("20260901").brief(), ("40002", "isv.invalid-parameter"), "no day")
    is_(alipay.bill(day, "x").brief(), ("40002", "isv.invalid-parameter"), "no such bill")
    bank.control("POST", "clock", {"offset_ms": 0})


def test_faults(bank, alipay, receiver):
    def struck(fault, call, **more):
        bank.no_faults()
        bank.fault(fault, times=1, channel="alipay", **more)
        return call()

    no = number()
    alipay.pay(no)
    query = lambda **more: alipay.query(no, **more)
    is_(struck("error_500", query).status, 500, "error_500")
    is_(struck("too_frequent", query).brief(), ("40005", "isv.app-call-limited"), "too_frequent")
    is_(struck("not_found", query).brief(), failed("TRADE_NOT_EXIST"), "not_found")
    is_(struck("garbage", query).doc, {}, "garbage")
    ok(not struck("bad_signature", query).genuine, "bad_signature")
    a = struck("unsigned", query)
    ok(a.doc and not a.signed, "unsigned")
    is_(struck("wrong_amount", query, api="query").get("total_amount"), "8.89", "wrong_amount in an answer")
    is_(struck("code", query, code="20000").brief(), ("20000", "isp.unknow-error"), "code 20000")
    is_(struck("timeout_before", lambda: query(timeout=0.3)).status, None, "timeout_before")
    is_(struck("user_paying", lambda: alipay.pay(number())).brief(), WAITS, "user_paying")
    lost = number()
    is_(struck("code_after", lambda: alipay.pay(lost), code="ACQ.SYSTEM_ERROR").brief(), failed("SYSTEM_ERROR"), "code_after")
    is_(alipay.query(lost).get("trade_status"), "TRADE_SUCCESS", "and nevertheless paid")
    receiver.answers[:] = [(200, b"success "), (200, b"SUCCESS"), (302, b"success"), (200, b"success")]
    no = number()
    bank.pay(alipay.precreate(no, notify_url=receiver.url + "/alipayack").get("qr_code"))
    wait_for(lambda: bank.order(no)["notified"], "only 200 with `success` is taken")
    is_(bank.order(no)["notify_tries"], 4, "at the fourth try")
    no = number()
    code = alipay.precreate(no, notify_url=receiver.url + "/alipaybad").get("qr_code")
    struck("bad_signature", lambda: bank.pay(code), api="notify")
    got = wait_for(lambda: receiver.of("alipaybad"), "a forged notification")
    ok(not alipay.notice(got[0][2])[1], "does not verify")
    bank.no_faults()


def main():
    with Stage() as s:
        s.bank.start()
        s.receiver.default = (200, b"success")
        alipay = Alipay(s.bank, s.keys)
        test_precreate(s.bank, alipay, s.receiver)
        test_methods(s.bank, alipay)
        test_refusals(alipay)
        test_barcode(s.bank, alipay)
        test_cancel(s.bank, alipay)
        test_refund(s.bank, alipay, s.receiver)
        test_bill(s.bank, alipay)
        test_faults(s.bank, alipay, s.receiver)
    done()


if __name__ == "__main__":
    main()
