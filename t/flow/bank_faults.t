#!/usr/bin/python3
"""Whatever goes wrong between us and a channel: the result is unknown, never failed, and the timer role
finds out - by query, or by the same number again, never by charging twice."""
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))
from flow import (SLOW, bank_orders, becomes, callbacks, clear_faults, done, eventually, fault, flow_stack, is_,  # noqa: E402
                  number, ok, pay, rows, state_of)
from stack import call  # noqa: E402

PROTOCOLS = {"wechat": "wechat_v3", "bank": "bank_json"}
# fault on the prepare -> did the bank book the first attempt?
PREPARE_FAULTS = {"timeout_before": False, "timeout_after": True, "reset_before": False, "reset_after": True,
                  "error_500": False, "error_503": False, "garbage": True, "bad_signature": True,
                  "too_frequent": False}


def create(stack, channel, no=None):
    no = no or number("B")
    return no, stack.client("hmac").create_payment(no, 321, channel=channel, notify_url=stack.callback_url)


def code_url(stack, no):
    return stack.client("hmac").find(no).json.get("code_url")


def pay_and_finish(stack, no, what):
    payment = stack.client("hmac").find(no).json
    is_(pay(stack, payment["code_url"])[0], 200, f"{what}: the payer pays")
    becomes(stack, no, "succeeded", f"{what}: succeeded")
    is_([(b["state"], b["charges"], b["amount"]) for b in bank_orders(stack, payment["id"])], [("SUCCESS", 1, 321)],
        f"{what}: one order in the bank's books, charged once")


def prepare_faults(stack):
    for name, booked in PREPARE_FAULTS.items():
        made = {}
        for channel, protocol in PROTOCOLS.items():
            fault(stack, name, "native", channel=protocol, times=1)
            made[channel] = create(stack, channel)
        for channel, (no, answer) in made.items():
            what = f"{name} {channel}"
            is_((answer.status, answer.json["state"]), (202, "processing"), f"{what}: the merchant hears `processing`")
            eventually(lambda: code_url(stack, no), f"{what}: the timer gets the code")
            is_(state_of(stack, no), "pending", f"{what}: the order waits for its payer")
            if booked:
                sent = rows(stack, no, "attempt", "count(*)")
                ok(int(sent[0][0]) >= 2, f"{what}: cleared up by further attempts under the same number")
            pay_and_finish(stack, no, what)
        clear_faults(stack)


def paid_while_unknown(stack):
    """The bank booked, its answer was lost, and someone pays before we ever saw the code."""
    fault(stack, "timeout_after", "native", channel="bank_json", times=1)
    fault(stack, "error_500", "query", channel="bank_json")
    no, answer = create(stack, "bank")
    # the bank's page shows the payer the same code that we never received
    order = bank_orders(stack, answer.json["id"])[0]
    status, _ = stack.bank("POST", "/pay", {"out_trade_no": order["out_trade_no"], "code_url": order.get("code_url", "")})
    if status != 200:
        print(f"# the bank does not tell codes of its books ({status}): paid after the repetition instead")
    clear_faults(stack)
    if status != 200:
        eventually(lambda: code_url(stack, no), "unknown, then known: the timer gets the code")
        pay(stack, code_url(stack, no))
    becomes(stack, no, "succeeded", "paid while the result was unknown: succeeded")


def query_faults(stack):
    """No notification comes, and the queries meet every fault before one gets through."""
    for channel, protocol in PROTOCOLS.items():
        no, made = create(stack, channel)
        fault(stack, "no_notify", "notify", channel=protocol)
        for name in ("error_500", "garbage", "bad_signature", "reset_before", "timeout_before", "not_found"):
            fault(stack, name, "query", channel=protocol, times=1)
        pay(stack, made.json["code_url"])
        becomes(stack, no, "succeeded", f"{channel}: no notification, six bad answers to queries: succeeded by the seventh", 30)
        is_(len(rows(stack, no, "callback", "t.id")), 1, f"{channel}: one callback")
        clear_faults(stack)


def close_faults(stack):
    for name in ("timeout_after", "reset_before", "error_500", "garbage"):
        no, made = create(stack, "bank")
        fault(stack, name, "close", channel="bank_json", times=1)
        stack.client("hmac").close(made.json["id"])
        becomes(stack, no, "closed", f"{name} on close: closed in the end")
        is_([b["state"] for b in bank_orders(stack, made.json["id"])], ["CLOSED"], f"{name} on close: at the bank too")
        clear_faults(stack)


def wrong_amount(stack):
    for channel, protocol in PROTOCOLS.items():
        no, made = create(stack, channel)
        fault(stack, "wrong_amount", "notify", channel=protocol)
        fault(stack, "error_500", "query", channel=protocol)
        pay(stack, made.json["code_url"])
        eventually(lambda: rows(stack, no, "payment_case", "t.kind"), f"{channel}: a wrong amount opens a case")
        is_(state_of(stack, no), "pending", f"{channel}: and does not make the order succeeded")
        is_(callbacks(stack, no), [], f"{channel}: nobody is told that it is")
        clear_faults(stack)
        becomes(stack, no, "succeeded", f"{channel}: the right amount does")
        is_(len(rows(stack, no, "payment_case", "t.kind")), 1, f"{channel}: one case, however often it came")


def notifications(stack):
    for name in ("duplicate_notify", "bad_signature", "delay"):
        no, made = create(stack, "wechat")
        fault(stack, name, "notify", channel="wechat_v3", times=2, delay_ms=200)
        pay(stack, made.json["code_url"])
        becomes(stack, no, "succeeded", f"{name}: succeeded")
        order = bank_orders(stack, made.json["id"])[0]["out_trade_no"]
        eventually(lambda: bank_orders(stack, made.json["id"])[0]["notified"], f"{name}: the bank is told that we know")
        is_(stack.bank("POST", "/notify", {"out_trade_no": order})[0], 200, f"{name}: notified once more")
        finals = rows(stack, no, "payment_history", "t.version")
        is_(len(rows(stack, no, "callback", "t.id")), 1, f"{name}: one callback")
        is_(len({v for v, in finals}), len(finals), f"{name}: each version once in the history")
        clear_faults(stack)


def forged(stack):
    no, made = create(stack, "bank")
    order = bank_orders(stack, made.json["id"])[0]["out_trade_no"]
    text = {"event": "ORDER_PAID", "mch_id": "M10001", "order_no": order, "bank_no": "B1", "amount": 321,
            "currency": "CNY", "paid_at": "2026-09-01T12:00:00+08:00"}
    client = stack.client("hmac")
    for path in ("/notify/bank/main", "/notify/wechat/main"):
        answer = client.request("POST", path, text, {"Bank-Signature": f"t=1,n={'n' * 32},s={'0' * 64}"})
        ok(answer.status >= 400, f"a forged notification to {path} is not taken: {answer.status}")
    ok(client.request("POST", "/notify/bank/nobody", text).status >= 400, "nor one for an account nobody has")
    is_(state_of(stack, no), "pending", "and the order stays as it was")


def main():
    # alerts are what these faults must raise
    with flow_stack('"ev":"case"', '"ev":"notification_refused"', '"ev":"notification_not_taken"', hasty=True) as stack:
        prepare_faults(stack)
        paid_while_unknown(stack)
        query_faults(stack)
        close_faults(stack)
        wrong_amount(stack)
        notifications(stack)
        forged(stack)
        is_(stack.sql("select count(*) from pay.payment where state = 4"), [["0"]], "nothing was ever called failed")
    done()


main()
