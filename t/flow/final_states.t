#!/usr/bin/python3
"""R2.2: nobody moves a final state. Every actor - the merchant, the timer, the channel, payctl, two persons who decide a
case, SQL as the application and as superuser - tries it on every final state of payments and refunds."""
import os
import re
import subprocess
import sys
import urllib.request
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))
from flow import (bank_orders, becomes, clear_faults, done, eventually, fault, flow_stack, is_, number, ok, pay,  # noqa: E402
                  rows)

PAYMENTS = {"succeeded": 3, "failed": 4, "closed": 5}
REFUNDS = {"succeeded": 2, "failed": 3}
KINDS = (1, 2, 3, 4, 5)  # of calls of a payment: prepare, query, close, charge, reverse
CASE = 7 * 2**32  # ids of the cases that are opened here


def image(stack, no):
    """Everything of the order and its refunds that an actor could have changed."""
    return (stack.sql("select state, prev_state, version, amount, final_at, succeeded_at, refunded, refund_reserved from "
                      f"pay.payment where out_trade_no = '{no}'"),
            rows(stack, no, "refund", "t.out_refund_no, t.state, t.amount, t.final_at"),
            rows(stack, no, "payment_history", "count(*)"))


def refused(stack, sql, name, users=("ngx_pay_app", "postgres")):
    for who in users:
        got = subprocess.run(["psql", "-qAt", "-v", "ON_ERROR_STOP=1", "-d", stack.postgres.conninfo(user=who), "-c", sql],
                             capture_output=True, text=True)
        ok(got.returncode != 0 and "ERROR" in got.stderr, f"{name}: refused to {who}", got.stderr)


def succeeded(stack):
    no, client = number("S"), stack.client()
    made = client.create_payment(no, 500, channel="bank", notify_url=stack.callback_url)
    pay(stack, made.json["code_url"])
    becomes(stack, no, "succeeded", "a payment that succeeded")
    client.refund(no, f"{no}A", 100)
    eventually(lambda: ["2"] in rows(stack, no, "refund", "t.state"), "with a refund that succeeded")
    fault(stack, "refund_closed", "refund", times=1)
    client.refund(no, f"{no}B", 100)
    eventually(lambda: ["3"] in rows(stack, no, "refund", "t.state"), "and one that failed")
    clear_faults(stack)
    return no, made.json["id"]


def failed(stack):
    client, code = stack.client(), "99" + "8" * 16
    client.create_payment(number("U"), 100, method="barcode", auth_code=code, channel="bank")
    no = number("F")
    made = client.create_payment(no, 500, method="barcode", auth_code=code, channel="bank", notify_url=stack.callback_url)
    is_(made.status, 201, f"a code that was used: {made.json}")
    becomes(stack, no, "failed", "a payment that failed")
    return no, made.json["id"]


def closed(stack):
    no, client = number("L"), stack.client()
    made = client.create_payment(no, 500, channel="bank", notify_url=stack.callback_url)
    client.close(made.json["id"])
    becomes(stack, no, "closed", "a payment that was closed")
    return no, made.json["id"]


def merchant(stack, no, ident, state):
    client = stack.client()
    answer = client.close(ident)
    ok(answer.status == 409 or answer.json.get("state") == state, f"{state}: the merchant closes it", answer.json)
    ok(client.create_payment(no, 999).status == 409, f"{state}: the merchant creates it with another amount")
    if state != "succeeded":
        ok(client.refund(no, f"{no}X", 1).status in (409, 422), f"{state}: the merchant wants money back")
    is_(client.get(ident).json["state"], state, f"{state}: a query tells the same")


def started(stack):
    """How many due orders and refunds the timer has taken up."""
    page = urllib.request.urlopen(stack.env["PAY_STATUS_URL"] + "/metrics/timer0", timeout=30).read().decode()
    return int(re.search(r"^pay_timer_started_total (\d+)$", page, re.M)[1])


def timer(stack, orders):
    """Due at once, for whatever the timer may do, until it has taken all of them up a few times."""
    numbers = ", ".join(f"'{no}'" for no, _ in orders.values())
    refunds = int(stack.sql("insert into pay.refund_timer (slot, refund_id, payment_id, due_at, kind, tries) select r.slot, r.id, "
                            "r.payment_id, now(), 6, 0 from pay.refund r join pay.payment p on (p.slot, p.id) = (r.slot, "
                            f"r.payment_id) where p.out_trade_no in ({numbers}) returning (select count(*) from pay.refund)")[0][0])
    for kind in KINDS:
        stack.sql("insert into pay.payment_timer (slot, payment_id, due_at, kind, tries) select slot, id, now(), "
                  f"{kind}, 0 from pay.payment where out_trade_no in ({numbers}) on conflict (slot, payment_id) do update "
                  f"set kind = {kind}, due_at = now()")
        before = started(stack)
        eventually(lambda: started(stack) >= before + 4 * (len(orders) + refunds), f"the timer works on all of it, kind {kind}")
    stack.sql("delete from pay.payment_timer; delete from pay.refund_timer")


def channel(stack, ident):
    """It notifies again, as it did and to the contrary."""
    for order in bank_orders(stack, ident):
        stack.bank("POST", "/notify", {"out_trade_no": order["out_trade_no"]})
        fault(stack, "contradictory_notify", "notify", times=2)
        stack.bank("POST", "/notify", {"out_trade_no": order["out_trade_no"]})
        clear_faults(stack)


def payctl(stack, *args, user=None):
    more = {"user": user, "group": "nogroup", "extra_groups": []} if user else {}
    return subprocess.run([str(stack.build / "payctl"), "-c", str(stack.conf / "payd.conf"), *args], capture_output=True,
                          text=True, **more).returncode


def operator(stack, no, ident):
    payctl(stack, "orders", "query", ident)
    for callback, in rows(stack, no, "callback", "t.id"):
        payctl(stack, "callbacks", "resend", callback)


def persons(stack, no, state, n):
    """A case about it is decided by two."""
    case = stack.sql(f"insert into pay.payment_case (slot, id, payment_id, event_id, opened_at, kind, detail, currency,"
                     f" channel_trade_no, code, message) select slot, (slot::bigint << 22) | {CASE + n}, id, 1, now(), 'test', '',"
                     f" '', '', '', '' from pay.payment where out_trade_no = '{no}' returning id")[0][0]
    is_(payctl(stack, "cases", "resolve", case, "refunded", "test"), 0, f"{state}: a case is proposed as refunded")
    if os.geteuid() == 0:
        is_(payctl(stack, "cases", "resolve", case, "refunded", "test", user="nobody"), 0, f"{state}: and confirmed")


def sql(stack, no, state):
    where = f"where out_trade_no = '{no}'"
    for name, to in {**PAYMENTS, "processing": 1, "pending": 2}.items():
        if name != state:
            refused(stack, f"update pay.payment set state = {to}, prev_state = state, version = version + 1 {where}",
                    f"{state}: made {name} by SQL")
    for what in ("amount = 1", "final_at = now()", "succeeded_at = now()"):
        refused(stack, f"update pay.payment set {what}, version = version + 1 {where}", f"{state}: {what} by SQL")
    for gone in (f"delete from pay.payment {where}", "delete from pay.payment_history", "delete from pay.refund", "truncate pay.payment"):
        refused(stack, gone, f"{state}: {gone.split(' where')[0]} by SQL", ("ngx_pay_app",))
    if state != "succeeded":
        return
    for name, is_now in REFUNDS.items():
        for to in (1, 2, 3):
            if to != is_now:
                refused(stack, f"update pay.refund set state = {to} where state = {is_now}", f"refund {name}: made {to} by SQL")
        refused(stack, f"update pay.refund set amount = 1 where state = {is_now}", f"refund {name}: another amount by SQL")


def main():
    with flow_stack('"ev":"case"', '"ev":"notification_not_taken"',
                    channels={"bank": {"methods": "native barcode"}}) as stack:
        os.chmod(stack.sockets / "operate.sock", 0o666)
        orders = {"succeeded": succeeded(stack), "failed": failed(stack), "closed": closed(stack)}
        eventually(lambda: stack.sql("select 1 from pay.callback where state = 1") == [], "all is told")
        before = {state: image(stack, no) for state, (no, _) in orders.items()}
        timer(stack, orders)
        for n, (state, (no, ident)) in enumerate(orders.items()):
            merchant(stack, no, ident, state)
            channel(stack, ident)
            operator(stack, no, ident)
            persons(stack, no, state, n)
            sql(stack, no, state)
        for state, (no, _) in orders.items():
            is_(image(stack, no), before[state], f"{state}: nothing of it has changed")
    done()


main()
