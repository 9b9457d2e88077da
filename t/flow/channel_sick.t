#!/usr/bin/python3
"""R8.1, R1.17: a bank's errors take its channel out, payments go to the other one, rescue goes on, and the channel
comes back by itself; answers that only payd can judge do the same; what is over a rate waits and is never lost."""
import json
import sys
import urllib.request
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))
from flow import (at_once, bank_orders, becomes, clear_faults, done, eventually, fault, flow_stack, is_, number, ok, pay,  # noqa: E402
                  state_of)

BREAKER = "failures=4 probe=2s probes=1 step=100ms window=20s"


def health(stack, name="wechat"):
    with urllib.request.urlopen(stack.env["PAY_STATUS_URL"] + "/status") as answer:
        return next(c for c in json.load(answer)["channels"] if c["name"] == name)


def state(stack):
    return health(stack)["health"]["state"]


def create(stack, **more):
    """An order and its answer; the gateway chooses the channel unless one is wished for."""
    no = number("S")
    return no, stack.client("hmac").create_payment(no, 321, notify_url=stack.callback_url, **more)


def until_open(stack, limit=60):
    """Creates orders for wechat until its breaker opens; its health then."""
    for _ in range(limit):
        h = health(stack)["health"]
        if h["state"] == "open":
            break
        create(stack, channel="wechat")
    return h


def sick(stack, name, reasons):
    no, before = create(stack, channel="wechat")
    is_(before.json["state"], "pending", f"{name}: an order from before")
    fault(stack, name, "native", channel="wechat_v3")
    h = until_open(stack)
    is_((h["state"], h["reason"] in reasons, h["level"]), ("open", True, "reachable"), f"{name}: taken out")
    refused = create(stack, channel="wechat")[1]
    for _ in range(20):  # it is being probed meanwhile
        if refused.code == "CHANNEL_OUT":
            break
        refused = create(stack, channel="wechat")[1]
    is_((refused.status, refused.code, bool(refused.verified)), (503, "CHANNEL_OUT", True), f"{name}: a wish for it is refused")
    again = stack.client("hmac").create_payment(no, 321, notify_url=stack.callback_url, channel="wechat")
    is_((again.status, again.replayed), (200, True), f"{name}: a repeated request still gives its order")
    others = [create(stack) for _ in range(10)]
    elsewhere = [a.json.get("channel") for _, a in others]
    ok(elsewhere.count("bank") >= 6, f"{name}: payments go to the other one", elsewhere)
    # rescue goes on: the order from before is paid, no notification comes, a query finds it
    fault(stack, "no_notify", "notify", channel="wechat_v3")
    pay(stack, before.json["code_url"])
    becomes(stack, no, "succeeded", f"{name}: what was under way is found out by query")
    clear_faults(stack)
    eventually(lambda: (create(stack, channel="wechat"), state(stack) == "closed")[1], f"{name}: it comes back by itself", 60)
    no, answer = create(stack, channel="wechat")
    is_((answer.status, answer.json["channel"]), (201, "wechat"), f"{name}: and takes payments again")


def rate(stack):
    """Faster than the rate: each is sent once, in its turn. Far faster: known not sent, tried again."""
    made = [create(stack, channel="bank") for _ in range(8)]
    for no, _ in made:
        becomes(stack, no, "pending", f"{no}: sent in its time")
    payments = [stack.client("hmac").find(no).json["id"] for no, _ in made]
    is_([[b["prepares"] for b in bank_orders(stack, p)] for p in payments], [[1]] * 8, "the bank saw each once")
    many = at_once([lambda: create(stack, channel="bank")] * 40)
    taken = [no for no, a in many if a.status in (201, 202)]
    ok(taken and {a.code for _, a in many if a.status not in (201, 202)} <= {"CHANNEL_BUSY"}, "what is not taken is told so", len(taken))
    for no in taken:
        becomes(stack, no, "pending", f"{no}: sent in the end")


def by_hand(stack):
    """The operator knows better."""
    fault(stack, "error_503", "native", channel="wechat_v3")
    until_open(stack)
    clear_faults(stack)
    is_(json.loads(stack.payctl("--json", "channel", "show", "wechat"))["health"]["level"], "reachable", "payctl shows the level")
    told = json.loads(stack.payctl("--json", "channel", "well", "wechat"))["health"]
    is_((told["state"], told["share"], state(stack)), ("closed", 100, "closed"), "payctl channel well: closed at once")


def main():
    channels = {"wechat": {"breaker": BREAKER}, "bank": {"rate pay=20/s": "burst=0", "breaker": "off"}}
    with flow_stack(payd={"outcomes": "20ms", "not_sent_limit": "20"}, channels=channels) as stack:
        sick(stack, "error_503", ("failures",))
        # HTTP 200, and only payd sees that it is none
        sick(stack, "bad_signature", ("bad_answers", "errors"))
        eventually(lambda: health(stack)["outcomes"]["unknown"] >= 4, "payd told what it read")
        by_hand(stack)
        rate(stack)
        is_(stack.sql("select count(*) from pay.payment where state = 4"), [["0"]], "nothing was ever called failed")
    done()


main()
