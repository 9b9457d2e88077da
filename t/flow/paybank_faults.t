#!/usr/bin/python3
"""The virtual bank's misbehaviour on demand, its notifications, its journal and its page."""
import json
import re
import signal
import select
import socket
import subprocess
import sys
import time
from urllib.parse import quote

sys.dont_write_bytecode = True
from paybank_peer import (BANK_MCHID, PATIENCE, PROGRAM, Receiver, Stage, decrypt, number,
                          rfc3339, wait_for)
from tap import done, is_, ok


def test_faults_on_answers(bank, wechat, client):
    def with_fault(fault, **more):
        bank.no_faults()
        bank.fault(fault, times=1, **more)

    no = number()
    with_fault("error_500", api="native")
    is_(wechat.native(no).brief(), (500, "SYSTEM_ERROR"), "error_500")
    is_(bank.order(no), None, "nothing booked")
    is_(wechat.native(no).status, 200, "times=1 is once")
    with_fault("error_503", channel="wechat_v3", api="query")
    is_(wechat.query(no).brief(), (503, "SERVICE_UNAVAILABLE"), "error_503")
    with_fault("too_frequent")
    is_(wechat.query(no).brief(), (429, "FREQUENCY_LIMITED"), "too_frequent")
    with_fault("not_found", out_trade_no=no)
    is_(wechat.query(no).brief(), (404, "ORDER_NOT_EXIST"), "not_found")
    with_fault("error_503")
    is_(client.native(number("B")).brief(), (503, "SYSTEM_BUSY"), "error_503 of bank_json")
    with_fault("too_frequent")
    is_(client.native(number("B")).brief(), (429, "TOO_FREQUENT"), "too_frequent of bank_json")
    no = number()
    with_fault("timeout_before", out_trade_no=no)
    is_(wechat.native(no, timeout=0.4).status, None, "timeout_before: no answer")
    is_(bank.order(no), None, "nothing booked")
    with_fault("timeout_after", out_trade_no=no)
    is_(wechat.native(no, timeout=0.4).status, None, "timeout_after: no answer")
    is_(bank.order(no)["prepares"], 1, "but booked")
    is_(bank.pay(bank.order(no)["code_url"])[0], 200, "and the payer may pay it")
    no = number()
    with_fault("reset_before", api="native")
    is_(wechat.native(no).status, 0, "reset_before: cut")
    is_(bank.order(no), None, "nothing booked")
    with_fault("reset_after", api="native")
    is_(wechat.native(no).status, 0, "reset_after: cut")
    is_(bank.order(no)["prepares"], 1, "but booked")
    no = number()
    with_fault("garbage")
    a = wechat.native(no)
    ok(a.status == 200 and not a.doc and not a.genuine, "garbage", a.status, a.body)
    ok(bank.order(no), "garbage: booked")
    with_fault("bad_signature", api="query")
    a = wechat.query(no)
    ok(a.status == 200 and a.doc and not a.genuine, "bad_signature", a.status, a.body)
    with_fault("bad_signature", channel="bank_json")
    a = client.native(number("B"))
    ok(a.status == 200 and a.doc and not a.genuine, "bad_signature of bank_json", a.body)
    with_fault("delay", api="query", delay_ms=300)
    begin = time.monotonic()
    is_(wechat.query(no).status, 200, "delay")
    ok(time.monotonic() - begin >= 0.3, "answers later")
    bank.fault("error_500", out_trade_no="T20260901009999")
    is_(wechat.query(no).status, 200, "a fault of another order does not strike")
    bank.no_faults()
    bank.fault("error_500", percent=50)
    hits = sum(wechat.query(no).status == 500 for _ in range(60))
    ok(10 < hits < 50, "percent=50 strikes half of the time", hits)
    listed = bank.control("GET", "faults")[1]["faults"][0]
    is_((listed["fault"], listed["percent"], listed["hits"]), ("error_500", 50, hits), "listed")
    is_(bank.control("DELETE", "faults")[1], {"faults": [], "scenarios": []}, "cleared")
    requests = bank.control("GET", f"orders?out_trade_no={no}")[1]["requests"]
    is_([(r["api"], r["status"], r["fault"]) for r in requests[:3]],
        [("native", 200, "garbage"), ("query", 200, "bad_signature"), ("query", 200, "delay")],
        "the log of requests")
    for document in ({"fault": "nonsense"}, {"fault": "delay", "api": "natve"}, {"fualt": "delay"},
                     {"fault": "wrong_amount", "api": "native"}, {"fault": "delay", "percent": 101},
                     {"fault": "delay", "channel": "wechat"}):
        is_(bank.control("POST", "faults", document)[0], 400, f"refused: {document}")


def test_many_wait(bank, client):
    bank.no_faults()
    bank.fault("delay", delay_ms=5000)
    count, socks = 300, []
    for _ in range(count):
        target = f"/bank/v1/orders/{number('B')}?mch_id={BANK_MCHID}"
        s = socket.create_connection(("127.0.0.1", bank.http))
        s.sendall(f"GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
                  f"Bank-Signature: {client.seal('GET', target, '')}\r\n\r\n".encode())
        socks.append(s)
    is_(bank.control("GET", "health"), (200, b"ok"), "health while hundreds wait")
    is_(select.select(socks, [], [], 0)[0], [], "answered before any of them")
    answers = []
    for s in socks:
        s.settimeout(PATIENCE)
        answers.append(s.recv(12))
        s.close()
    is_(answers.count(b"HTTP/1.1 404"), count, "all who waited were answered")
    bank.no_faults()


def test_notifications(bank, wechat, client, receiver, folder):
    def paid(name, fault=None, maker=wechat, url=receiver.url, **more):
        bank.no_faults()
        if fault:
            bank.fault(fault, times=1, **more)
        no = number()
        a = maker.native(no, notify_url=f"{url}/{name}")
        bank.pay(a.get("code_url") or a.get("qr"))
        return no

    receiver.answers[:] = [(500, b""), (404, b"{}"), (204, b"")]
    no = paid("retry")
    wait_for(lambda: bank.order(no)["notified"], "sent again until 204")
    got = receiver.of("retry")
    is_(len(got), 3, "three times")
    is_(len({json.loads(b)["id"] for _, _, b in got}), 1, "always the same id")
    is_(len({h["Wechatpay-Nonce"] for _, h, _ in got}), 3, "never the same nonce")
    is_(bank.order(no)["notify_tries"], 3, "counted in the books")
    receiver.answers[:] = [(500, b"")] * 4
    no = paid("never")
    wait_for(lambda: bank.order(no)["notify_tries"] == 4, "the schedule has an end")
    is_(bank.control("POST", "notify", {"out_trade_no": no})[0], 200, "by hand")
    wait_for(lambda: bank.order(no)["notified"], "it comes again")
    is_(bank.control("POST", "notify", {"out_trade_no": "T0000000"})[0], 404, "unknown number")
    unpaid = number()
    wechat.native(unpaid)
    is_(bank.control("POST", "notify", {"out_trade_no": unpaid})[0], 409, "not paid")
    receiver.answers[:] = [(200, b'{"code":"FAIL"}'), (204, b"")]
    no = paid("bjretry", maker=client)
    wait_for(lambda: bank.order(no)["notified"], "bank_json: only 200 with OK is taken")
    is_(len(receiver.of("bjretry")), 3, "three times")
    no = paid("badsig", "bad_signature", api="notify")
    _, headers, body = wait_for(lambda: receiver.of("badsig"), "bad_signature: it comes")[0]
    ok(not wechat.genuine(headers, body), "and is forged")
    no = paid("badsigbj", "bad_signature", maker=client, api="notify")
    _, headers, body = wait_for(lambda: receiver.of("badsigbj"), "bank_json, too")[0]
    ok(not client.genuine(headers, body), "forged")
    no = paid("wrong", "wrong_amount")
    _, headers, body = wait_for(lambda: receiver.of("wrong"), "wrong_amount: it comes")[0]
    ok(wechat.genuine(headers, body) and decrypt(body)["amount"]["total"] == 889, "one fen more")
    is_(wechat.query(no).get("amount", "total"), 888, "query knows better")
    no = paid("twice", "duplicate_notify")
    wait_for(lambda: len(receiver.of("twice")) == 2, "duplicate_notify")
    no = paid("none", "no_notify")
    late = paid("late", "delay", api="notify", delay_ms=400)
    ok(not bank.order(late)["notified"], "delay: a late notification")
    wait_for(lambda: bank.order(late)["notified"], "comes in the end")
    is_((receiver.of("none"), bank.order(no)["notify_tries"]), ([], 0), "no_notify")
    secure = Receiver(folder)
    no = paid("tls", url=secure.url)
    wait_for(lambda: bank.order(no)["notified"], "over https, certificate checked")
    far = [paid("far", url=url) for url in ("http://192.0.2.1", "http://127.example.com")]
    wait_for(lambda: (bank.folder / "paybank.log").read_text().count("notify_refused") == 2,
             "nothing leaves this machine")
    is_([bank.order(no)["notify_tries"] for no in far], [0, 0], "not even tried")


def test_journal(bank, wechat, client, receiver):
    paid_no, open_no, closed_no, late_no = number(), number(), number(), number()
    wechat.native(paid_no)
    code = wechat.native(paid_no).get("code_url")
    open_code = wechat.native(open_no, time_expire=rfc3339(3600)).get("code_url")
    wechat.native(closed_no)
    wechat.close(closed_no)
    bank.fault("delay", api="notify", delay_ms=60000)
    late = client.native(late_no, notify_url=receiver.url + "/after_crash")
    bank.pay(late.get("qr"))
    _, paid = bank.pay(code)
    names = ("channel", "mchid", "out_trade_no", "amount", "state", "transaction_id", "created_at",
             "paid_at", "prepares", "charges", "code_url")
    books = lambda: [[o[n] for n in names] for o in bank.control("GET", "orders")[1]["orders"]]
    before = books()
    bank.end(signal.SIGKILL)
    with open(bank.folder / "books", "ab") as f:
        f.write(b'{"op":"pay","seq":1,"at"')
    bank.start()
    is_(books(), before, "kill -9: the books are the same, a torn line is dropped")
    is_(wechat.query(paid_no).get("transaction_id"), paid["transaction_id"], "paid stays paid")
    is_(bank.pay(code)[0], 409, "and cannot be paid again")
    is_(wechat.native(closed_no).brief(), (400, "ORDER_CLOSED"), "closed stays closed")
    is_(bank.pay(open_code)[0], 200, "an open code still works")
    wait_for(lambda: receiver.of("after_crash"), "what was not yet notified is")
    is_(bank.end(signal.SIGTERM), 0, "SIGTERM: exit 0")
    bank.start()
    is_(bank.order(open_no)["state"], "SUCCESS", "written behind the dropped line")
    other = subprocess.run([PROGRAM, "-c", bank.folder / "paybank.conf"], capture_output=True,
                           text=True, timeout=PATIENCE)
    ok(other.returncode == 2 and "in use" in other.stderr, "one process per journal",
       other.stderr)
    bank.end(signal.SIGTERM)
    books_file = bank.folder / "books"
    good = books_file.read_bytes()
    books_file.write_bytes(good + 2 * b'{"op":"close","seq":1,"at":1}\n')
    other = subprocess.run([PROGRAM, "-c", bank.folder / "paybank.conf"], capture_output=True,
                           text=True, timeout=PATIENCE)
    ok(other.returncode == 2 and re.search(r"books:\d+: ", other.stderr),
       "a line that contradicts the books is refused", other.stderr)
    books_file.write_bytes(good)
    bank.start()


def test_page(bank, wechat):
    no = number()
    code = wechat.native(no, notify_url="http://127.0.0.1:9/x").get("code_url")
    status, headers, page = bank.call("GET", "/")
    ok(status == 200 and no.encode() in page, "the page lists orders")
    ok(b"<script" not in page and "default-src 'none'" in headers["Content-Security-Policy"],
       "without scripts")
    form = {"Content-Type": "application/x-www-form-urlencoded", "Origin": "http://evil.example"}
    body = "code_url=" + quote(code, safe="")
    is_(bank.call("POST", "/payer", body, form)[0], 403, "no buttons on other sites")
    form["Origin"] = f"http://127.0.0.1:{bank.http}"
    status, headers, _ = bank.call("POST", "/payer", body, form)
    is_((status, headers["Location"], bank.order(no)["state"]), (303, "/", "SUCCESS"),
        "the button pays")
    is_(bank.call("GET", "/nothing")[0], 404, "no other page")


def main():
    with Stage() as s:
        s.bank.start()
        test_faults_on_answers(s.bank, s.wechat, s.client)
        test_many_wait(s.bank, s.client)
        test_notifications(s.bank, s.wechat, s.client, s.receiver, s.folder)
        test_journal(s.bank, s.wechat, s.client, s.receiver)
        test_page(s.bank, s.wechat)
        is_(s.bank.end(signal.SIGTERM), 0, "ends with 0")
    done()


if __name__ == "__main__":
    main()
