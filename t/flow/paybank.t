#!/usr/bin/python3
"""The virtual bank's two protocols: what it lets in, what it refuses, and how it answers."""
import json
import re
import secrets
import signal
import subprocess
import sys
import time

sys.dont_write_bytecode = True
from paybank_peer import (API_V3_KEY, APPID, BANK_KEY, BANK_MCHID, MCHID, PROGRAM, Stage, decrypt,
                          number, rfc3339, wait_for)
from tap import done, is_, ok


def test_command_line(folder):
    run = lambda *a: subprocess.run([PROGRAM, *a], capture_output=True, text=True, timeout=20)
    ok("usage" in run("--help").stdout and run("--help").returncode == 0, "--help")
    ok(run("--version").stdout.startswith("paybank "), "--version")
    ok("notify_delay" in run("--directives").stdout, "--directives")
    is_(run("--nonsense").returncode, 2, "an unknown option exits 2")
    good = (folder / "paybank.conf").read_text()
    bad = {
        "an unknown directive": ("seed 7;", "sead 7;", "unknown directive"),
        "a public address": ("listen 127.0.0.1:0;", "listen 0.0.0.0:0;", "127.0.0.0/8"),
        "a host name": ("listen 127.0.0.1:0;", "listen localhost:0;", "127.0.0.0/8"),
        "a missing file": ("merchant_cert merchant.crt;", "merchant_cert none.crt;", "none.crt"),
        "a key file that is none": ("platform_key platform.key;", "platform_key merchant.crt;",
                                    "private key"),
        "a short api_v3_key": (f"api_v3_key {API_V3_KEY};", "api_v3_key short;", "32"),
        "a short shared key": (f"key {BANK_KEY};", "key short;", "32"),
        "a merchant twice": ("merchant M10002", "merchant M10001", "twice"),
        "a time without unit": ("notify_delay 10ms", "notify_delay 10", "not a time"),
    }
    for name, (old, new, reason) in bad.items():
        file = folder / "bad.conf"
        file.write_text(good.replace(old, new))
        r = run("-c", str(file))
        ok(r.returncode == 2 and re.search(r"bad\.conf:\d+: ", r.stderr) and reason in r.stderr,
           f"{name} is refused with file and line", r.returncode, r.stderr)
    is_(run("-c", str(folder / "absent.conf")).returncode, 2, "no configuration exits 2")


def test_wechat_life(bank, wechat, receiver):
    no = number()
    first = wechat.native(no, notify_url=receiver.url + "/life", attach="抬头|x")
    is_(first.brief()[0], 200, "native answers 200")
    ok(first.genuine, "and signed by the platform")
    ok(first.headers.get("Request-ID"), "with a Request-ID")
    code = first.get("code_url")
    ok(re.fullmatch(r"weixin://wxpay/bizpayurl\?pr=\w+", code), "and a code", code)
    waiting = wechat.query(no)
    is_((waiting.status, waiting.get("trade_state"), waiting.get("amount", "total")),
        (200, "NOTPAY", 888), "query: not paid")
    ok(not {"transaction_id", "success_time", "payer"} & set(waiting.doc),
       "nothing of a payment in it", waiting.doc)
    again = wechat.native(no, notify_url=receiver.url + "/life", attach="抬头|x")
    is_(again.get("code_url"), code, "the same number and content: the same code")
    other = wechat.native(no, 889, notify_url=receiver.url + "/life", attach="抬头|x")
    is_(other.brief(), (403, "OUT_TRADE_NO_USED"), "other amount: used")
    ok(other.genuine, "errors are signed too")
    is_(wechat.native(no, notify_url=receiver.url + "/life", attach="抬头").brief(),
        (403, "OUT_TRADE_NO_USED"), "other attach: used")
    is_(bank.pay("weixin://wxpay/bizpayurl?pr=000000000")[0], 404, "an unknown code: 404")
    status, paid = bank.pay(code)
    is_((status, paid["out_trade_no"], paid["amount"]), (200, no, 888), "the payer pays")
    is_(bank.pay(code)[0], 409, "but not twice")
    final = wechat.query(no)
    is_((final.get("trade_state"), final.get("transaction_id"), final.get("attach")),
        ("SUCCESS", paid["transaction_id"], "抬头|x"), "query: paid")
    is_(len(paid["transaction_id"]), 28, "a transaction number has 28 digits")
    is_(wechat.query_id(paid["transaction_id"]).get("out_trade_no"), no, "found by it, too")
    is_(wechat.query_id("4200000001202609019999999999").brief(), (404, "ORDER_NOT_EXIST"),
        "not found by another one")
    is_(wechat.native(no, notify_url=receiver.url + "/life", attach="抬头|x").brief(),
        (400, "ORDER_PAID"), "native after payment")
    is_(wechat.close(no).brief(), (400, "ORDER_PAID"), "close after payment")
    got = wait_for(lambda: receiver.of("life"), "the notification comes")
    wait_for(lambda: bank.order(no)["notified"], "and is taken")
    order = bank.order(no)
    is_((order["state"], order["prepares"], order["charges"], order["notify_tries"],
         order["channel"]), ("SUCCESS", 2, 1, 1, "wechat_v3"), "the books")
    check_wechat_notification(wechat, got[0], no, paid)


def check_wechat_notification(wechat, got, no, paid):
    _, headers, body = got
    ok(wechat.genuine(headers, body), "notification: signed by the platform")
    is_(headers.get("Wechatpay-Signature-Type"), "WECHATPAY2-SHA256-RSA2048", "its type")
    document = json.loads(body)
    is_((document["event_type"], document["resource_type"],
         document["resource"]["algorithm"], document["resource"]["original_type"]),
        ("TRANSACTION.SUCCESS", "encrypt-resource", "AEAD_AES_256_GCM", "transaction"),
        "its frame")
    plain = decrypt(body)
    is_((plain["out_trade_no"], plain["transaction_id"], plain["trade_state"], plain["mchid"],
         plain["appid"], plain["amount"]["total"], plain["amount"]["currency"]),
        (no, paid["transaction_id"], "SUCCESS", MCHID, APPID, 888, "CNY"), "its secret part")
    ok(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+08:00", plain["success_time"]), "its time")


def test_wechat_close(bank, wechat):
    no = number()
    code = wechat.native(no).get("code_url")
    closed = wechat.close(no)
    is_((closed.status, closed.body), (204, b""), "close: 204 without body")
    ok(closed.genuine, "and signed")
    is_(wechat.query(no).get("trade_state"), "CLOSED", "query: closed")
    is_(wechat.close(no).brief(), (400, "ORDER_CLOSED"), "close again")
    is_(wechat.native(no).brief(), (400, "ORDER_CLOSED"), "native on a closed number")
    is_(bank.pay(code)[0], 409, "a closed order cannot be paid")
    is_(wechat.close(number()).brief(), (404, "ORDER_NOT_EXIST"), "close of nothing")
    is_(wechat.query(number()).brief(), (404, "ORDER_NOT_EXIST"), "query of nothing")
    odd = number("A|b*-_")
    is_(wechat.native(odd).status, 200, "a number of all allowed characters")
    is_(wechat.query(odd).get("out_trade_no"), odd, "queried with an escaped path")
    no = number()
    code = wechat.native(no, time_expire=rfc3339(2)).get("code_url")
    wait_for(lambda: wechat.query(no).get("trade_state") == "CLOSED", "time_expire closes")
    is_(bank.pay(code)[0], 409, "an expired order cannot be paid")


def test_wechat_signature(wechat):
    target = f"/v3/pay/transactions/out-trade-no/{number()}?mchid={MCHID}"
    now = int(time.time())
    get = lambda **more: wechat.call("GET", target, **more).brief()
    fine = wechat.sign("GET", target, "")
    refused = (401, "SIGN_ERROR")
    is_(get(), (404, "ORDER_NOT_EXIST"), "a good signature is let in")
    is_(get(headers={"Authorization": None}), refused, "no Authorization")
    is_(get(headers={"Authorization": fine.replace("RSA2048", "SM2")}), refused, "other schema")
    is_(get(headers={"Authorization": fine + ',mchid="1"'}), refused, "a parameter twice")
    is_(get(headers={"Authorization": fine.replace("nonce_str", "nonce")}), refused,
        "a parameter unknown")
    is_(get(headers={"Authorization": fine.replace(",", ", ")}), (404, "ORDER_NOT_EXIST"),
        "blanks between parameters")
    is_(get(headers={"Authorization": fine.replace(",", ", ")}), refused, "a nonce twice")
    is_(get(mchid="1900000111"), refused, "mchid unknown")
    is_(get(serial="0A1B2C3D4E5E"), refused, "serial_no of another certificate")
    is_(get(serial="0a1b2c3d4e5f"), refused, "serial_no in small letters")
    is_(get(timestamp=now - 310), refused, "timestamp too old")
    is_(get(timestamp=now + 310), refused, "timestamp too new")
    is_(get(timestamp=now - 280), (404, "ORDER_NOT_EXIST"), "timestamp just in the window")
    is_(get(nonce="x" * 33), refused, "nonce too long")
    other = wechat.sign("GET", target + "&x=1", "")
    is_(get(headers={"Authorization": other}), refused, "signed another target")
    other = wechat.sign("GET", target, "x")
    is_(get(headers={"Authorization": other}), refused, "signed another body")
    issue = wechat.call("GET", target, headers={"Authorization": other})
    is_(issue.get("detail", "issue"), "sign not match", "the reason stands in detail")


def test_wechat_fields(wechat):
    def refused(name, field, *args, **fields):
        a = wechat.native(*(args or (number(),)), **fields)
        ok(a.brief() == (400, "PARAM_ERROR") and a.get("detail", "field") == field and a.genuine,
           f"refused: {name}", a.status, a.doc)

    long_no = "T" * 33
    refused("number too short", "/out_trade_no", "T1234")
    refused("number too long", "/out_trade_no", long_no)
    refused("number with a blank", "/out_trade_no", "T12345 6")
    refused("amount 0", "/amount/total", amount={"total": 0})
    refused("amount as text", "/amount/total", amount={"total": "888"})
    refused("amount with fraction", "/amount/total", amount={"total": 8.5})
    refused("amount absent", "/amount/total", amount={})
    refused("no amount object", "/amount", amount=...)
    refused("other currency", "/amount/currency", amount={"total": 1, "currency": "USD"})
    refused("no description", "/description", description=...)
    refused("description too long", "/description", description="测" * 128)
    refused("character of four bytes", "/description", description="\U0001F600")
    refused("attach too long", "/attach", attach="a" * 129)
    refused("notify_url with a query", "/notify_url", notify_url="https://127.0.0.1/x?y=1")
    refused("notify_url without scheme", "/notify_url", notify_url="127.0.0.1/x")
    refused("notify_url too long", "/notify_url", notify_url="http://127.0.0.1/" + "x" * 240)
    refused("no notify_url", "/notify_url", notify_url=...)
    refused("time_expire past", "/time_expire", time_expire=rfc3339(-5))
    refused("time_expire no time", "/time_expire", time_expire="2026-09-01 12:00:00")
    refused("an unknown member", "/amounts", amounts={})
    refused("an unknown inner member", "/amount/totals", amount={"total": 1, "totals": 1})
    refused("scene_info without address", "/scene_info/payer_client_ip", scene_info={})
    is_(wechat.native(number(), appid="wx0000000000000000").brief(),
        (400, "APPID_MCHID_NOT_MATCH"), "appid of another merchant")
    is_(wechat.native(number(), appid="wxsecond0000000001").status, 200, "a second appid")
    is_(wechat.native(number(), description="测" * 127).status, 200, "127 Chinese characters")
    is_(wechat.native(number(), attach=None, detail=None).status, 200, "null is absent")
    is_(wechat.native(number(), mchid="1900000110").brief(), (403, "NO_AUTH"),
        "a disabled merchant")
    post = lambda body, **h: wechat.call("POST", "/v3/pay/transactions/native", body,
                                         headers=h).brief()
    is_(post("{"), (400, "PARAM_ERROR"), "body is not JSON")
    is_(post('{"mchid":"1","mchid":"2"}'), (400, "PARAM_ERROR"), "a member twice")
    is_(post("{}", **{"Content-Type": "text/plain"}), (415, "PARAM_ERROR"), "Content-Type")
    is_(post("{}", Accept="text/html"), (400, "PARAM_ERROR"), "Accept")
    is_(post("{}", **{"User-Agent": ""}), (400, "PARAM_ERROR"), "no User-Agent")
    is_(post("{}", **{"Wechatpay-Serial": "OTHER"}), (400, "PARAM_ERROR"), "Wechatpay-Serial")
    path = f"/v3/pay/transactions/out-trade-no/{number()}"
    get = lambda target: wechat.call("GET", target).brief()
    is_(get(path), (400, "PARAM_ERROR"), "query without mchid")
    is_(get(path + "?mchid=1900000110"), (400, "PARAM_ERROR"), "query with another mchid")
    is_(get(path + f"?mchid={MCHID}&x=1"), (400, "PARAM_ERROR"), "query with more")
    is_(get("/v3/pay/transactions/nativ"), (404, "NOT_FOUND"), "no such path")
    is_(wechat.call("GET", "/v3/pay/transactions/native").brief(), (404, "NOT_FOUND"),
        "no such method")


def test_wechat_only_tls(bank):
    is_(bank.call("GET", f"/v3/pay/transactions/id/1?mchid={MCHID}")[0], 403,
        "WeChat Pay is not spoken without TLS")


def test_bank_json(bank, client, receiver):
    no = number("B")
    a = client.native(no, notify_url=receiver.url + "/bj")
    is_((a.status, a.get("code")), (200, "OK"), "bank_json: native")
    ok(a.genuine, "signed")
    ok(re.fullmatch(r"bank://pay\?o=\w+", a.get("qr")), "qr", a.doc)
    is_(client.native(no, subject="other", expire_at=rfc3339(99)).get("qr"), a.get("qr"),
        "again: the same qr, only the money counts")
    is_(client.native(no, 889).brief(), (409, "ORDER_NO_USED"), "other amount")
    q = client.query(no)
    is_(q.doc, {"code": "OK", "status": "WAITING", "order_no": no, "amount": 888,
                "currency": "CNY"}, "query: waiting")
    status, paid = bank.pay(a.get("qr"))
    is_((status, paid.get("amount")), (200, 888), "the payer pays")
    q = client.query(no)
    is_((q.get("status"), q.get("bank_no")), ("PAID", paid["transaction_id"]), "query: paid")
    ok(q.get("paid_at") and q.genuine, "with its time")
    is_(client.native(no).brief(), (409, "ORDER_PAID"), "native after payment")
    is_(client.close(no).brief(), (409, "ORDER_PAID"), "close after payment")
    _, headers, body = wait_for(lambda: receiver.of("bj"), "notification")[0]
    ok(client.genuine(headers, body), "signed")
    document = json.loads(body)
    is_(document, {"event": "ORDER_PAID", "mch_id": BANK_MCHID, "order_no": no,
                   "bank_no": paid["transaction_id"], "amount": 888, "currency": "CNY",
                   "paid_at": document.get("paid_at")}, "whole")
    no = number("B")
    client.native(no)
    is_(client.close(no).doc, {"code": "OK", "status": "CLOSED"}, "close")
    is_(client.close(no).doc, {"code": "OK", "status": "CLOSED"}, "close again: the same")
    is_(client.native(no).brief(), (409, "ORDER_CLOSED"), "native on a closed number")
    is_(client.query(no).get("status"), "CLOSED", "query: closed")
    is_(client.query(number("B")).brief(), (404, "ORDER_NOT_FOUND"), "query of nothing")
    is_(client.close(number("B")).brief(), (404, "ORDER_NOT_FOUND"), "close of nothing")
    no = number("B")
    qr = client.native(no).get("qr")
    status, _ = bank.control("POST", "pay", {"code_url": qr, "refuse": True})
    is_((status, client.query(no).get("status")), (200, "FAILED"), "the payer's bank refuses")
    is_(client.close(no).brief(), (409, "ORDER_CLOSED"), "a failed number is dead")
    is_(bank.pay(qr)[0], 409, "for the payer, too")
    no = number("B")
    qr = client.native(no, expire_at=rfc3339(2)).get("qr")
    wait_for(lambda: client.query(no).get("status") == "CLOSED", "expire_at closes")
    is_(bank.pay(qr)[0], 409, "an expired order cannot be paid")
    is_(client.native(no, expire_at=rfc3339(-9)).brief(), (409, "ORDER_CLOSED"),
        "native on an expired number")


def test_bank_json_refusals(client):
    refused, bad = (401, "BAD_SIGNATURE"), (400, "BAD_REQUEST")
    now = int(time.time())
    is_(client.native(number("B"), key="x" * 32).brief(), refused, "bank_json: another key")
    ok(client.native(number("B"), key="x" * 32).genuine, "is answered signed")
    is_(client.native(number("B"), t=now - 310).brief(), refused, "t too old")
    is_(client.native(number("B"), t=now + 310).brief(), refused, "t too new")
    is_(client.native(number("B"), n="short").brief(), refused, "n too short")
    nonce = secrets.token_hex(16)
    is_(client.native(number("B"), n=nonce).status, 200, "a nonce once")
    is_(client.native(number("B"), n=nonce).brief(), refused, "and never again")
    is_(client.native(number("B"), headers={"Bank-Signature": None}).brief(), refused, "none")
    target = f"/bank/v1/orders/{number('B')}?mch_id={BANK_MCHID}"
    seal = client.seal("GET", target, "")
    is_(client.call("GET", target, headers={"Bank-Signature": seal.replace(",", ", ")}).brief(),
        refused, "blanks in the header")
    upper = seal[:-64] + seal[-64:].upper()
    is_(client.call("GET", target, headers={"Bank-Signature": upper}).brief(), refused,
        "hex in capitals")
    a = client.query(number("B"), mchid="M99999")
    ok(a.brief() == refused and not a.headers.get("Bank-Signature"), "mch_id unknown: unsigned")
    a = client.call("POST", "/bank/v1/orders", "{")
    ok(a.brief() == bad and not a.headers.get("Bank-Signature"), "not JSON: unsigned")
    for name, fields in {
            "amount 0": {"amount": 0}, "amount as text": {"amount": "8"},
            "currency": {"currency": "USD"}, "no subject": {"subject": ...},
            "subject too long": {"subject": "s" * 128}, "notify_url": {"notify_url": "x"},
            "no expire_at": {"expire_at": ...}, "expire_at past": {"expire_at": rfc3339(-5)},
            "unknown member": {"more": 1}}.items():
        a = client.native(number("B"), **fields)
        ok(a.brief() == bad and a.genuine, f"refused: {name}", a.status, a.doc)
    is_(client.native("B|123456").brief(), bad, "refused: number with |")
    is_(client.native(number("B"), headers={"Content-Type": "text/plain"}).brief(), bad,
        "refused: Content-Type")
    is_(client.native(number("B"), mch_id="M10002").brief(), (403, "MERCHANT_DISABLED"),
        "a disabled merchant")
    is_(client.call("GET", "/bank/v2/orders").brief(), bad, "no such path")


def main():
    with Stage() as s:
        test_command_line(s.folder)
        s.bank.start()
        test_wechat_life(s.bank, s.wechat, s.receiver)
        test_wechat_close(s.bank, s.wechat)
        test_wechat_signature(s.wechat)
        test_wechat_fields(s.wechat)
        test_wechat_only_tls(s.bank)
        test_bank_json(s.bank, s.client, s.receiver)
        test_bank_json_refusals(s.client)
        is_(s.bank.end(signal.SIGTERM), 0, "ends with 0")
    done()


if __name__ == "__main__":
    main()
