#!/usr/bin/python3
"""R3.6: another channel only after a refusal, in the same wallet, each time under a number of its own, never after
unknown; and the money that comes over the first one all the same is given back once, whatever became of the order.
R2.9: so is money that comes for a closed order, where the policy says so.
The wallet of a barcode follows from its prefix."""
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))
from flow import (bank_orders, becomes, callbacks, clear_faults, done, eventually, fault, flow_stack, is_, number,  # noqa: E402
                  ok, payment_id, rows)

REFUSES = {"channel": "bank_json", "code": "MERCHANT_DISABLED", "status": 403, "times": 1}


def code(i):
    return f"13{i:016d}"


def create(stack, no, method="native", **more):
    return stack.client().create_payment(no, 888, method=method, notify_url=stack.callback_url, **more)


def orders(stack, no):
    """Request number without the payment's id -> the order in the bank's books."""
    pid = payment_id(stack, no)
    return {o["out_trade_no"][len(pid):]: o for o in bank_orders(stack, pid)}


def commands(stack, no):
    return rows(stack, no, "attempt", "t.n, t.command_seq, t.channel", "t.n")


def refused_then_taken(stack):
    no = number("R")
    fault(stack, "code", "native", **REFUSES)
    made = create(stack, no)
    is_((made.status, made.json["state"], made.json["channel"]), (201, "pending", "wechat"), "refused by one, taken by the next")
    is_([c[1:] for c in commands(stack, no)], [["1", "bank"], ["2", "wechat"]], "each with its own command")
    is_(sorted(orders(stack, no)), ["02"], "and number")
    is_(stack.bank("POST", "/pay", {"code_url": made.json["code_url"]})[0], 200, "the payer pays")
    becomes(stack, no, "succeeded", "paid over the second")
    is_(stack.client().refund(no, "REFUND1", 888).status, 201, "and refunded over it")
    eventually(lambda: stack.client().find_refund(no, "REFUND1").json["state"] == "succeeded", "as a whole")


def barcode(stack):
    no = number("B")
    fault(stack, "code", "barcode", **REFUSES)
    made = create(stack, no, "barcode", auth_code=code(1))
    is_((made.json["state"], made.json["channel"]), ("succeeded", "wechat"), "a barcode goes on with the code it came with")
    is_([c[1:] for c in commands(stack, no)], [["1", "bank"], ["2", "wechat"]], "once each")


def not_after_unknown(stack):
    for api, method, more in (("native", "native", {}), ("barcode", "barcode", {"auth_code": code(2)})):
        no = number("U")
        fault(stack, "reset_before", api, channel="bank_json", times=1)
        made = create(stack, no, method, **more)
        is_((made.status, made.json["channel"]), (202, "bank"), f"{method}: unknown stays where it is")
        is_({c[2] for c in commands(stack, no)}, {"bank"}, "no other channel hears of it")
        clear_faults(stack)


def not_after_failure(stack):
    no = number("F")
    made = create(stack, no, "barcode", auth_code=code(3))  # the bank wants codes that begin with 99
    is_((made.json["state"], made.json["fail_code"], made.json["channel"]), ("failed", "AUTH_CODE_INVALID", "bank"),
        "failed is not refused")


def all_refuse(stack):
    no = number("A")
    fault(stack, "code", "native", **REFUSES)
    fault(stack, "code", "native", channel="wechat_v3", code="NO_AUTH", status=403, times=1)
    made = create(stack, no)
    is_((made.status, made.json["state"], made.json["channel"]), (201, "failed", "wechat"), "refused by all: failed")
    is_(len(commands(stack, no)), 2, "after each was asked once")


def extra(stack, no):
    return rows(stack, no, "refund", "t.state, t.amount, t.channel, t.command_seq")


def paid_twice(stack, second_first):
    """The bank books what it says it refused, and the payer pays both."""
    what = "paid by the second first" if second_first else "paid by the first first"
    no = number("T")
    fault(stack, "code_after", "native", **REFUSES)
    made = create(stack, no)
    is_(made.json["channel"], "wechat", f"{what}: refused, but booked")
    first, second = (orders(stack, no)[n]["out_trade_no"] for n in ("01", "02"))
    if second_first:
        stack.bank("POST", "/pay", {"out_trade_no": second})
        becomes(stack, no, "succeeded", f"{what}: the second channel's money counts")
    is_(stack.bank("POST", "/pay", {"out_trade_no": first})[0], 200, f"{what}: money over the first")
    eventually(lambda: extra(stack, no) == [["2", "888", "bank", "1"]], f"{what}: given back by itself")
    if not second_first:
        stack.bank("POST", "/pay", {"out_trade_no": second})
        becomes(stack, no, "succeeded", f"{what}: the order is paid by the second")
    stack.bank("POST", "/notify", {"out_trade_no": first})
    eventually(lambda: sorted(c["event"]["event_type"] for c in callbacks(stack, no)) == ["payment.succeeded", "refund.succeeded"],
               f"{what}: the merchant is told of both, once")
    is_([r["amount"] for r in orders(stack, no)["01"]["refunds"]], [888], f"{what}: the bank gave it back once")
    is_(orders(stack, no)["02"]["refunds"], [], f"{what}: and not the other")
    is_(stack.sql(f"select extra_paid, refunded, refund_reserved from pay.payment where out_trade_no = '{no}'"), [["0", "0", "0"]],
        f"{what}: it counts in no refund of the merchant's")


def paid_after_the_close(stack):
    no = number("C")
    fault(stack, "code_after", "native", **REFUSES)
    made = create(stack, no)
    is_(stack.client().close(made.json["id"]).json["state"], "closed", "closed at the second channel")
    stack.bank("POST", "/pay", {"out_trade_no": orders(stack, no)["01"]["out_trade_no"]})
    eventually(lambda: extra(stack, no) == [["2", "888", "bank", "1"]], "money over the first is given back, though it is closed")
    is_(stack.client().find(no).json["state"], "closed", "and nothing moves")


def late(stack):
    """The bank says that it closed the order, and takes the money all the same."""
    no = number("L")
    made = create(stack, no)
    fault(stack, "code", "close", channel="bank_json", code="ORDER_CLOSED", status=409, times=1)
    is_(stack.client().close(made.json["id"]).json["state"], "closed", "closed, as the channel says")
    is_(stack.bank("POST", "/pay", {"code_url": made.json["code_url"]})[0], 200, "money comes late")
    eventually(lambda: extra(stack, no) == [["2", "888", "bank", "1"]], "it is given back by itself (late_success refund)")
    is_(stack.client().find(no).json["state"], "closed", "and the order stays closed")
    stack.bank("POST", "/notify", {"out_trade_no": orders(stack, no)["01"]["out_trade_no"]})
    eventually(lambda: sorted(c["event"]["event_type"] for c in callbacks(stack, no)) == ["payment.closed", "refund.succeeded"],
               "the merchant is told once of each")
    is_([r["amount"] for r in orders(stack, no)["01"]["refunds"]], [888], "the bank gave it back once")
    is_(rows(stack, no, "payment_case", "t.kind"), [], "no person is asked")


def wallets(stack):
    for start, length, wallet in (("28", 18, "alipay"), ("62", 19, "unionpay"), ("99", 18, "other")):
        answer = create(stack, number("W"), "barcode", auth_code=start.ljust(length, "7"))
        is_((answer.status, answer.code), (422, "NO_CHANNEL"), f"no channel takes codes of {wallet}")


def main():
    # what is tested are answers: on a busy machine nothing may be asked, or sent again, before they come
    patient = {"methods": "native barcode", "wallet": "wechat", "timeout": "connect=20s send=20s read=20s", "query_first": "30s"}
    with flow_stack(payd={"late_success": "refund", "answer_within": "39s", "send_window": "30s"},
                    channels={"bank": {**patient, "priority": "1"}, "wechat": {**patient, "priority": "2"}}) as stack:
        for part in (refused_then_taken, barcode, not_after_unknown, not_after_failure, all_refuse, paid_after_the_close, late, wallets):
            part(stack)
            clear_faults(stack)
        for second_first in (True, False):
            paid_twice(stack, second_first)
        ok(True, "both orders of payment")
    done()


main()
