#!/usr/bin/python3
"""R3.2, R3.3: UnionPay as the virtual bank speaks it: both scans, undo, refund, reversal, files."""
import base64
import io
import sys
import zipfile
import zlib
from datetime import datetime, timedelta

sys.dont_write_bytecode = True
from paybank_peer import CHINA, Stage, wait_for
from paybank_unionpay_peer import DISABLED, MER_ID, UnionPay, now, order_id, qr_no
from tap import done, is_, ok

DAY_MS = 86400000
WIDTHS = [3, 11, 11, 6, 10, 19, 12, 4, 2, 21, 2, 32, 2, 6, 10, 13, 13, 4, 15, 2, 2, 6, 2, 4, 32, 1, 21, 15, 1, 15, 32, 13,
          13, 8, 32, 13, 13, 12, 2, 1, 32, 98]


def test_qr(bank, up, receiver):
    no, at = order_id(), now()
    a = up.qr(no, at, backUrl=receiver.url + "/up", reqReserved="abc")
    is_((a.brief(), a.genuine, a.get("reqReserved")), (("00", None), True, "abc"), "QR code")
    q = up.query(no, at)
    is_((q.brief(), q.genuine, q.get("queryId")), (("00", "05"), True, None), "query: waiting, without queryId")
    is_(bank.pay(a.get("qrCode"))[0], 200, "the payer pays")
    q = up.query(no, at)
    is_((q.brief(), q.get("txnAmt"), q.get("settleAmt"), len(q.get("queryId"))), (("00", "00"), "888", "888", 21), "paid")
    is_(up.query(no, "20200101000000").brief(), ("34", None), "another txnTime is another transaction")
    is_(up.qr(no, at).brief(), ("12", None), "the number again")
    later = datetime.strptime(at, "%Y%m%d%H%M%S").replace(second=0 if at[-2:] != "00" else 1)
    is_(up.qr(no, later.strftime("%Y%m%d%H%M%S")).brief(), ("12", None), "the number again on the same day")
    fields, genuine = up.notice(wait_for(lambda: receiver.of("up"), "a notification")[0][2])
    ok(genuine, "signed by a certificate under the root")
    is_([fields[k] for k in ("orderId", "txnTime", "txnAmt", "respCode", "queryId", "txnType", "reqReserved")],
        [no, at, "888", "00", q.get("queryId"), "01", "abc"], "its content")
    no, at = order_id(), now()
    code = up.qr(no, at, payTimeout=(datetime.now(CHINA) + timedelta(minutes=5)).strftime("%Y%m%d%H%M%S")).get("qrCode")
    bank.control("POST", "clock", {"offset_ms": 301000})
    is_((up.query(no, at).brief(), bank.pay(code)[0]), (("00", "39"), 409), "payTimeout passes")
    bank.control("POST", "clock", {"offset_ms": 0})
    no, at = order_id(), now()
    a = up.call("/gateway/api/appTransReq.do", {"txnType": "01", "txnSubType": "01", "bizType": "000201", "orderId": no,
                                                "txnTime": at, "txnAmt": 1, "currencyCode": "156", "backUrl": "http://127.0.0.1:9/x"})
    is_((a.brief()[0], bank.pay(a.get("tn"))[0], up.query(no, at, bizType="000201").brief()), ("00", 200, ("00", "00")), "APP: a tn")
    no = order_id()
    a = up.call("/gateway/api/frontTransReq.do", {"txnType": "01", "txnSubType": "01", "bizType": "000201", "orderId": no,
                                                  "txnTime": now(), "txnAmt": 1, "currencyCode": "156", "backUrl": "http://127.0.0.1:9/x"})
    ok(b"<html>" in a.body and bank.order(no)["method"] == "h5", "a page for the browser", a.body)


def test_refusals(bank, up):
    def refused(name, code, signed=True, **more):
        a = up.barcode(more.pop("no", None) or order_id(), more.pop("at", None), more.pop("amount", 888), **more)
        ok(a.get("respCode") == code and a.genuine == signed and "queryId" not in a.doc, f"refused: {name}", a.body)

    refused("signature", "11", signature="AAAA")
    refused("certId", "11", certId="11111822610016")
    refused("no signature", "13", signed=False, signature="")
    refused("no version", "13", signed=False, version=...)
    refused("version", "10", signed=False, version="5.0.0")
    refused("signMethod", "10", signed=False, signMethod="11")
    refused("unknown merchant", "31", signed=False, merId="777290058110000")
    refused("disabled merchant", "31", merId=DISABLED)
    refused("no amount", "13", amount=...)
    refused("amount 0", "10", amount=0)
    refused("amount in yuan", "10", amount="8.88")
    refused("long amount", "10", amount="1" * 13)
    refused("no qrNo", "13", qrNo=...)
    refused("qrNo", "61", qrNo="13" + "1" * 16)
    refused("number with _", "10", no="U_1234567")
    refused("short number", "10", no="U123456")
    refused("no backUrl", "13", backUrl=...)
    refused("txnTime", "10", at="2026-09-01")
    refused("an old txnTime", "39", at="20200901120000")
    refused("channelType", "10", channelType="07")
    refused("currency", "13", currencyCode="840")
    refused("reqReserved", "10", reqReserved="a=b")
    refused("no such transaction", "32", txnSubType="99")
    is_(up.call("/gateway/api/queryTrans.do", {}, raw="a=%ZZ").get("respCode"), "10", "a broken form")
    is_(up.call("/gateway/api/queryTrans.do", {}, raw="a=1&a=2").get("respCode"), "10", "a name twice")
    is_(up.query(order_id(), now()).brief(), ("34", None), "query of nothing")
    is_(up.query(order_id(), now(), tls=False).status, 403, "not without TLS")


def paid(up, amount=888, **more):
    no, at = order_id(), now()
    return no, at, up.barcode(no, at, amount, **more).get("queryId")


def test_barcode(bank, up, receiver):
    no, at, code = order_id(), now(), qr_no()
    a = up.barcode(no, at, code=code, backUrl=receiver.url + "/upbar")
    is_((a.brief()[0], a.genuine), ("00", True), "barcode: accepted")
    is_(up.query(no, at).brief(), ("00", "00"), "the query knows: paid")
    wait_for(lambda: receiver.of("upbar"), "a notification")
    is_(up.barcode(order_id(), now(), code=code).get("respCode"), "63", "a code works once")
    no, at = order_id(), now()
    is_((up.barcode(no, at, 200001).get("respCode"), up.query(no, at).brief()), ("05", ("00", "05")), "over 2,000 yuan: 05")
    bank.control("POST", "pay", {"out_trade_no": no})
    is_(up.query(no, at).brief(), ("00", "00"), "the password comes")
    no, at = order_id(), now()
    up.barcode(no, at, 200001)
    bank.control("POST", "pay", {"out_trade_no": no, "refuse": True})
    is_(up.query(no, at).brief(), ("00", "65"), "or is wrong")


def test_reversal(bank, up):
    no, at, query_id = paid(up)
    is_((up.reversal(no, at).get("respCode"), up.query(no, at).brief()), ("00", ("00", "01")), "reversal")
    is_(up.reversal(no, at).get("respCode"), "00", "again")
    is_(up.refund(order_id(), now(), query_id, 1).get("respCode"), "45", "nothing left to refund")
    is_(up.reversal(order_id(), now()).get("respCode"), "34", "of nothing")
    no, at = order_id(), now()
    up.qr(no, at)
    is_(up.reversal(no, at).get("respCode"), "35", "only of barcodes")
    no, at, query_id = paid(up)
    up.refund(order_id(), now(), query_id, 1)
    is_(up.reversal(no, at).get("respCode"), "45", "not after a refund")
    no, at, _ = paid(up)
    bank.control("POST", "clock", {"offset_ms": 25 * 3600000})
    is_(up.reversal(no, at).get("respCode"), "39", "not after a day")
    bank.control("POST", "clock", {"offset_ms": 0})


def test_refund(bank, up, receiver):
    _, _, query_id = paid(up)
    no, at = order_id(), now()
    a = up.refund(no, at, query_id, 300, backUrl=receiver.url + "/uprefund")
    is_((a.brief()[0], a.genuine), ("00", True), "refund: accepted")
    wait_for(lambda: up.query(no, at).brief() == ("00", "00"), "its own query says when it is done")
    fields, genuine = up.notice(wait_for(lambda: receiver.of("uprefund"), "a notification")[0][2])
    is_((genuine, fields["txnType"], fields["orderId"], fields["txnAmt"]), (True, "04", no, "300"), "of its own")
    is_(up.refund(no, at, query_id, 300).get("respCode"), "12", "the number again")
    other = f"{at[:-2]}{(int(at[-2:]) + 30) % 60:02d}"
    is_(up.refund(no, other, query_id, 300).get("respCode"), "12", "the number at another time of the day")
    is_(up.qr(no, other).get("respCode"), "12", "nor is it an order's")
    is_(up.refund(order_id(), now(), query_id, 589).get("respCode"), "36", "more than is left")
    is_(up.refund(order_id(), now(), query_id, 588).get("respCode"), "00", "the rest")
    is_(up.refund(order_id(), now(), query_id, 1).get("respCode"), "45", "nothing is left")
    is_(up.refund(order_id(), now(), "2" * 21, 1).get("respCode"), "35", "of nothing")
    is_(up.refund(order_id(), now(), "2", 1).get("respCode"), "10", "of no queryId")
    _, _, query_id = paid(up)
    is_(up.undo(order_id(), now(), query_id, 887).get("respCode"), "36", "undo: the whole or nothing")
    no, at = order_id(), now()
    is_(up.undo(no, at, query_id).get("respCode"), "00", "undo: accepted")
    wait_for(lambda: up.query(no, at).brief() == ("00", "00"), "and done")
    is_(up.undo(order_id(), now(), query_id).get("respCode"), "45", "once")
    _, _, query_id = paid(up)
    bank.control("POST", "clock", {"offset_ms": DAY_MS})
    is_(up.undo(order_id(), now(), query_id).get("respCode"), "39", "undo: not on the next day")
    is_(up.refund(order_id(), now(), query_id, 1).get("respCode"), "00", "refund: then, too")
    bank.control("POST", "clock", {"offset_ms": 331 * DAY_MS})
    is_(up.refund(order_id(), now(), query_id, 1).get("respCode"), "39", "refund: not after 330 days")
    bank.control("POST", "clock", {"offset_ms": 0})
    _, _, query_id = paid(up)
    bank.fault("refund_closed", times=1)
    no, at = order_id(), now()
    is_(up.refund(no, at, query_id, 300).get("respCode"), "00", "refund_closed: accepted")
    wait_for(lambda: up.query(no, at).brief() == ("00", "01"), "and failed")


def test_file(bank, up):
    payment, at, query_id = paid(up, 10000)
    back = order_id()
    up.undo(back, now(), query_id, 10000)
    reversed_no, reversed_at, _ = paid(up)
    up.reversal(reversed_no, reversed_at)
    today = datetime.now(CHINA)
    is_(up.file(today.strftime("%m%d")).get("respCode"), "98", "no file on the same day")
    bank.control("POST", "clock", {"offset_ms": 2 * DAY_MS})
    a = up.file(today.strftime("%m%d"))
    is_((a.brief()[0], a.genuine, a.get("fileName")), ("00", True, f"{MER_ID}_{today:%Y%m%d}.zip"), "the file")
    box = zipfile.ZipFile(io.BytesIO(zlib.decompress(base64.b64decode(a.get("fileContent")))))
    is_(box.namelist(), [f"INN{today:%y%m%d}88ZM_{MER_ID}"], "its name inside")
    lines = box.read(box.namelist()[0]).decode("gbk").split("\r\n")[:-1]
    is_({len(line) for line in lines}, {607}, "607 characters a record")
    records = {}
    for line in lines:
        fields, start = [None], 0
        for width in WIDTHS:
            fields.append(line[start:start + width].rstrip())
            start += width + 1
        records[fields[12]] = fields
    r = records[payment]
    is_([r[i] for i in (7, 10, 16, 17, 20, 28)],
        ["000000010000", query_id, "D000000000060", "C000000009940", "01", MER_ID], "a payment")
    r = records[back]
    is_([r[i] for i in (7, 16, 17, 20, 27, 41)],
        ["000000010000", "C000000000060", "D000000009940", "31", query_id, payment], "its undo points to it")
    ok(reversed_no not in records, "what was reversed is not there")
    is_(up.file((today - timedelta(days=3)).strftime("%m%d")).get("respCode"), "98", "an empty day")
    is_(up.file("13").get("respCode"), "10", "no day")
    is_(up.file(today.strftime("%m%d"), fileType="01").get("respCode"), "10", "no such file")
    bank.control("POST", "clock", {"offset_ms": 0})


def test_faults(bank, up, receiver):
    def struck(fault, call, **more):
        bank.no_faults()
        bank.fault(fault, times=1, channel="unionpay", **more)
        return call()

    no, at, _ = paid(up)
    query = lambda **more: up.query(no, at, **more)
    is_(struck("error_503", query).status, 503, "error_503")
    is_(struck("too_frequent", query).brief(), ("37", None), "too_frequent")
    is_(struck("not_found", query).brief(), ("34", None), "not_found")
    ok("respCode" not in struck("garbage", query).doc, "garbage")
    ok(not struck("bad_signature", query, api="query").genuine, "bad_signature")
    ok("signature" not in struck("unsigned", query, api="query").doc, "unsigned")
    is_(struck("wrong_amount", query, api="query").get("txnAmt"), "889", "wrong_amount in an answer")
    for code in ("02", "03", "64", "A6", "99"):
        is_(struck("code", query, code=code).get("respCode"), code, f"code {code}")
    is_(struck("reset_before", query).status, 0, "reset_before")
    lost, at = order_id(), now()
    is_(struck("code_after", lambda: up.barcode(lost, at), code="03").get("respCode"), "03", "code_after")
    is_(up.query(lost, at).brief(), ("00", "00"), "and nevertheless paid")
    is_(struck("user_paying", lambda: up.barcode(order_id(), now())).get("respCode"), "05", "user_paying")
    receiver.answers[:] = [(500, b""), (404, b""), (302, b"")]
    no = order_id()
    bank.pay(up.qr(no, now(), backUrl=receiver.url + "/upack").get("qrCode"))
    wait_for(lambda: bank.order(no)["notified"], "200 and 302 are taken")
    is_(bank.order(no)["notify_tries"], 3, "at the third try")
    code = up.qr(order_id(), now(), backUrl=receiver.url + "/uptwice").get("qrCode")
    struck("contradictory_notify", lambda: bank.pay(code))
    got = wait_for(lambda: len(receiver.of("uptwice")) == 2 and receiver.of("uptwice"), "a contradictory notification")
    is_([up.notice(b)[0]["respCode"] for _, _, b in got], ["01", "00"], "then the truth")
    bank.no_faults()


def main():
    with Stage() as s:
        s.bank.start()
        up = UnionPay(s.bank, s.keys)
        test_qr(s.bank, up, s.receiver)
        test_refusals(s.bank, up)
        test_barcode(s.bank, up, s.receiver)
        test_reversal(s.bank, up)
        test_refund(s.bank, up, s.receiver)
        test_file(s.bank, up)
        test_faults(s.bank, up, s.receiver)
    done()


if __name__ == "__main__":
    main()
