#!/usr/bin/python3
"""Refunds of every channel (R2.17, R2.3, R2.18), what t/flow/refunds.t shows with one: accepted is not refunded, and is asked for
until it is final though no notification comes; several; an answer that is lost; one that the channel closes; an account that
is closed and an order that is too old are failures with the channel's code. And R3.6 with the shipped samples: what WeChat v3
refuses goes to WeChat v2, which has the same wallet, and is refunded there."""
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))
from flow import (bank_books, bank_orders, becomes, done, eventually, fault, flow_stack, is_, number, ok, pay, rows,  # noqa: E402
                  verified)


class Channel:
    """closed: what becomes of a refund that the channel took and then closed. codes: what it answers about an account that is
    closed and about an order that is too old, with the HTTP status."""

    def __init__(self, name, protocol, status, codes, closed="failed"):
        self.name, self.protocol, self.status, self.codes, self.closed = name, protocol, status, codes, closed


CHANNELS = [
    Channel("wechat", "wechat_v3", 403, ("USER_ACCOUNT_ABNORMAL", None)),
    Channel("wechat_v2", "wechat_v2", 200, ("USER_ACCOUNT_ABNORMAL", "TRADE_OVERDUE")),
    # its refund query tells of those that were done only: nothing is known of the others
    Channel("alipay", "alipay", 200, ("ACQ.BUYER_ERROR", "ACQ.TRADE_HAS_FINISHED"), closed="processing"),
    Channel("unionpay", "unionpay", 200, ("63", "39")),
    Channel("bank", "bank_json", 409, (None, "REFUND_EXPIRED")),
]


def refund_of(stack, no, refund_no):
    return stack.client("hmac").find_refund(no, refund_no).json


def given_back(stack, no):
    orders = bank_orders(stack, stack.client("hmac").find(no).json["id"])
    return sorted(r["amount"] for o in orders for r in o["refunds"] if r["state"] not in ("CLOSED", "ABNORMAL"))


def lives(stack, ch):
    client, no = stack.client("hmac"), number("R" + str(CHANNELS.index(ch)))
    made = client.create_payment(no, 1000, channel=ch.name)
    is_(made.status, 201, f"{ch.name}: an order")
    request_no = bank_orders(stack, made.json["id"])[0]["out_trade_no"]
    pay(stack, made.json["code_url"])
    becomes(stack, no, "succeeded", f"{ch.name}: is paid")

    def misfortune(name, api="refund", **more):
        fault(stack, name, api, channel=ch.protocol, **more)

    def is_refused(refund_no, code, what):
        misfortune("code", code=code, status=ch.status, times=1)
        is_(client.refund(no, refund_no, 100).status, 201, f"{ch.name}: {what}: we take the wish")
        eventually(lambda: refund_of(stack, no, refund_no)["state"] == "failed", f"{ch.name}: {what}: failed")
        is_(refund_of(stack, no, refund_no)["fail_code"], code, f"{ch.name}: {what}: with the channel's code")

    misfortune("no_notify", "notify_refund", out_trade_no=request_no)
    is_(client.refund(no, "PART0001", 300).status, 201, f"{ch.name}: a refund is taken")
    eventually(lambda: refund_of(stack, no, "PART0001")["state"] == "succeeded", f"{ch.name}: and found done by a query")
    for code, refund_no, what in zip(ch.codes, ("ACCOUNT1", "TOOOLD01"), ("an account that is closed", "an order that is too old")):
        if code:
            is_refused(refund_no, code, what)
    misfortune("reset_after", times=1)
    is_(client.refund(no, "LOST0001", 200).status, 201, f"{ch.name}: the answer is lost")
    eventually(lambda: refund_of(stack, no, "LOST0001")["state"] == "succeeded", f"{ch.name}: and found out")
    is_(given_back(stack, no), [200, 300], f"{ch.name}: each once in the channel's books")
    is_(client.refund(no, "TOOMUCH1", 501).code, "REFUND_EXCEEDS_PAID", f"{ch.name}: more than is left")
    misfortune("refund_closed", times=1)
    before = asked(stack, request_no)
    is_(client.refund(no, "CLOSED01", 500).status, 201, f"{ch.name}: all that is left")
    if ch.closed == "failed":
        eventually(lambda: refund_of(stack, no, "CLOSED01")["state"] == "failed", f"{ch.name}: which the channel closes")
        is_(client.find(no).json["refunded"]["total"], 500, f"{ch.name}: and does not count")
        is_(client.refund(no, "SECOND01", 500).status, 201, f"{ch.name}: under another number")
        eventually(lambda: client.find(no).json["refunded"]["total"] == 1000, f"{ch.name}: all of it went back")
    else:
        eventually(lambda: asked(stack, request_no) >= before + 3, f"{ch.name}: it is asked for")
        is_(refund_of(stack, no, "CLOSED01")["state"], "processing", f"{ch.name}: R2.4: not found never fails a refund")
        is_(client.refund(no, "SECOND01", 500).code, "REFUND_EXCEEDS_PAID", f"{ch.name}: and holds its money")


def asked(stack, request_no):
    return len([r for r in stack.bank("GET", "/orders")[1]["requests"]
                if r["api"] == "refund_query" and r["out_trade_no"] == request_no])


def rerouted(stack):
    no, client = number("W"), stack.client()
    fault(stack, "code", "native", channel="wechat_v3", code="NO_AUTH", status=403, times=1)
    made = client.create_payment(no, 888)
    is_((made.status, made.json["channel"]), (201, "wechat_v2"), "R3.6: the samples' second way into the wallet takes over")
    is_(list(dict.fromkeys(r[0] for r in rows(stack, no, "attempt", "t.channel", "t.n"))), ["wechat", "wechat_v2"], "after the first")
    pay(stack, made.json["code_url"])
    becomes(stack, no, "succeeded", "paid there")
    is_(client.refund(no, "REFUND01", 888).status, 201, "and refunded ...")
    eventually(lambda: refund_of(stack, no, "REFUND01")["state"] == "succeeded", "... there")


def main():
    with flow_stack('"ev":"case"', also=["wechat_v2", "alipay", "unionpay"],
                    paybank={"refund_gap": "1ms"},  # one that comes too soon would use up what is done to it
                    channels={ch.name: {"breaker": "off"} for ch in CHANNELS} | {
                        "wechat": {"breaker": "off", "priority": "1"}}) as stack:
        with ThreadPoolExecutor(len(CHANNELS)) as pool:
            list(pool.map(lambda ch: lives(stack, ch), CHANNELS))
        rerouted(stack)
        verified(stack, "what the channels took and kept is what we hold", "--books", str(bank_books(stack)))
    done()


main()
