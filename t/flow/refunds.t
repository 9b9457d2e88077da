#!/usr/bin/python3
"""Refunds (R2.17, R2.4, R2.18): partial and several, never more than was paid, accepted is not refunded, and
what became of them under every kind of silence."""
import sys
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))
from flow import (at_once, bank_books, bank_orders, becomes, callbacks, clear_faults, done, eventually, fault, flow_stack,  # noqa: E402
                  is_, number, ok, pay, rows, verified)
from processes import KILLED  # noqa: E402

AT_ONCE = 64


def paid(stack, amount, **more):
    """out_trade_no of a payment that was paid."""
    no = number("F")
    made = stack.client("hmac").create_payment(no, amount, channel="wechat", **more)
    pay(stack, made.json["code_url"])
    becomes(stack, no, "succeeded", f"{no} is paid")
    return no


def refund_state(stack, no, refund_no):
    return stack.client("hmac").find_refund(no, refund_no).json.get("state", "?")


def bank_refunds(stack, no):
    """What the bank's books say was given back of a payment."""
    orders = bank_orders(stack, stack.client("hmac").find(no).json["id"])
    return [r["amount"] for o in orders for r in o["refunds"] if r["state"] not in ("CLOSED", "ABNORMAL")]


def life(stack):
    no, client = paid(stack, 888), stack.client()
    made = client.refund(no, "REFUND1", 300, reason="破损", notify_url=stack.callback_url)
    is_((made.status, made.json["amount"]), (201, {"refund": 300, "total": 888, "currency": "CNY"}), "a refund is accepted")
    is_(made.headers["Location"], f"/v1/refunds/{made.json['id']}", "and has an address")
    eventually(lambda: refund_state(stack, no, "REFUND1") == "succeeded", "it becomes succeeded")
    got = client.get_refund(made.json["id"]).json
    ok(got["channel_refund_no"] and got["succeeded_at"], "with the channel's number and time", got)
    payment = client.find(no).json
    is_((payment["state"], payment["refunded"]), ("succeeded", {"total": 300}), "the payment stays succeeded and counts it")
    event = eventually(lambda: [c for c in callbacks(stack, no) if c["event"]["resource_type"] == "refund"],
                       "the merchant is called back")[0]["event"]
    is_((event["event_type"], event["resource"]["out_refund_no"]), ("refund.succeeded", "REFUND1"), "about the refund")
    is_(bank_refunds(stack, no), [300], "the bank gave it back once")

    again = client.refund(no, "REFUND1", 300, reason="破损", notify_url=stack.callback_url)
    is_((again.status, again.replayed, again.json["id"]), (200, True, made.json["id"]), "the same again: the same refund")
    is_(client.refund(no, "REFUND1", 301).code, "OUT_REFUND_NO_CONFLICT", "the number with other content")
    is_(client.refund(no, "REFUND2", 589).code, "REFUND_EXCEEDS_PAID", "more than is left")
    is_(client.refund(no, "REFUND2", 1, amount={"refund": 1, "total": 889}).code, "FIELD_INVALID", "another total than was paid")
    is_(client.refund(no, "REFUND2", 588).status, 201, "all that is left")
    eventually(lambda: client.find(no).json["refunded"] == {"total": 888}, "everything is refunded")
    story = stack.payctl("trace", payment["id"])
    ok("REFUND_CREATE" in story and "REFUND1" in story, "the trace tells it", story)


def refusals(stack):
    client = stack.client()
    no = number("F")
    client.create_payment(no, 100)
    a = client.refund(no, "REFUND1", 1)
    is_((a.status, a.code, a.json["detail"]), (422, "PAYMENT_NOT_PAID", "pending"), "nothing was paid")
    is_(client.refund("NOSUCHORDER", "REFUND1", 1).code, "ORDER_NOT_FOUND", "no such payment")
    is_(client.find_refund(no, "REFUND1").code, "REFUND_NOT_FOUND", "no such refund")
    is_(client.get_refund("R202609010000000000000000000").code, "REFUND_NOT_FOUND", "no such id")
    is_(client.refund(no, "short", 1).code, "FIELD_INVALID", "a number too short")
    is_(client.refund(no, "REFUND1", 0).code, "AMOUNT_OUT_OF_RANGE", "nothing to refund")
    is_(client.request("GET", f"/v1/refunds?out_trade_no={no}").code, "FIELD_MISSING", "a question without out_refund_no")


def never_more(stack):
    """64 at once, in two processes: the sum stays within what was paid, here and at the bank."""
    no, client = paid(stack, 1000), stack.client("hmac")
    answers = at_once([lambda i=i: client.refund(no, f"PART{i:04}", 150) for i in range(AT_ONCE)])
    seen = Counter(a.code or a.status for a in answers)
    is_(seen, Counter({201: 6, "REFUND_EXCEEDS_PAID": AT_ONCE - 6}), "six of 150 fit into 1000")
    eventually(lambda: client.find(no).json["refunded"]["total"] == 900, "they are all refunded")
    is_(bank_refunds(stack, no), [150] * 6, "the bank gave back the same")
    is_(client.refund(no, "PART9999", 100).status, 201, "the rest can still go")

    no = paid(stack, 1000)
    answers = at_once([lambda: client.refund(no, "THESAME", 600)] * AT_ONCE)
    is_((Counter(a.code or a.status for a in answers), len({a.json.get("id") for a in answers})),
        (Counter({200: AT_ONCE - 1, 201: 1}), 1), "64 equal wishes are one refund")
    eventually(lambda: bank_refunds(stack, no) == [600], "sent once")


def silences(stack):
    """Unknown is not failure; the number is sent again only where the bank says it has none."""
    for kind in ("timeout_after", "reset_after", "garbage", "error_500", "timeout_before", "reset_before"):
        no, client = paid(stack, 500), stack.client("hmac")
        fault(stack, kind, "refund", times=1)
        a = client.refund(no, "SILENT1", 200)
        # a notification may have told already
        ok(a.status == 201 and a.json["state"] in ("processing", "succeeded"), f"{kind}: accepted", a.body)
        eventually(lambda: refund_state(stack, no, "SILENT1") == "succeeded", f"{kind}: found out")
        is_(bank_refunds(stack, no), [200], f"{kind}: given back once")
        clear_faults(stack)


def failure(stack):
    no, client = paid(stack, 500), stack.client("hmac")
    fault(stack, "refund_closed", "refund", times=1)
    client.refund(no, "FAILING", 500, notify_url=stack.callback_url)
    eventually(lambda: refund_state(stack, no, "FAILING") == "failed", "a refund that the bank closes fails")
    is_(client.find(no).json["refunded"], {"total": 0}, "nothing counts as refunded")
    clear_faults(stack)
    is_(client.refund(no, "SECOND1", 500).status, 201, "the money can be refunded under another number")
    eventually(lambda: refund_state(stack, no, "SECOND1") == "succeeded", "which succeeds")
    is_(rows(stack, no, "callback", "count(*)")[0][0], "3", "one callback row for the payment and each refund")


def killed(stack):
    no, client = paid(stack, 500), stack.client("hmac")
    fault(stack, "timeout_after", "refund", times=1)
    answers = at_once([lambda: _survive(lambda: client.refund(no, "KILLED1", 200)),
                       lambda: eventually(lambda: rows(stack, no, "refund", "t.id"), "the refund is stored")
                       and [stack.kill(p) for p in ("order0", "order1")]])
    ok(answers, "both processes are killed while the bank is silent")
    for name in ("order0", "order1"):
        stack.start_process(name)
    clear_faults(stack)
    eventually(lambda: _survive(lambda: refund_state(stack, no, "KILLED1")) == "succeeded", "the timer finishes it", 30)
    is_(bank_refunds(stack, no), [200], "given back once")


def _survive(request):
    try:
        return request()
    except Exception as e:  # noqa: BLE001 - a process dies on purpose
        return e


def main():
    with flow_stack(*KILLED, "kill", orders=2, hasty=True) as stack:
        life(stack)
        refusals(stack)
        never_more(stack)
        silences(stack)
        failure(stack)
        killed(stack)
        verified(stack, "what the bank took and kept is what we hold", "--books", str(bank_books(stack)))
    done()


main()
