#!/usr/bin/python3
"""Barcode payments of every channel (R2.8, R2.15, R2.16): what t/flow/barcode.t shows with the example bank, for each protocol
as it is: paid at once, the payer types, nobody knows, reversed and reversed again until that is known, not too early, paid
meanwhile, a case after ten, a notification behind the reversal, kill -9 in each state. One table of the differences; the
orders of all channels are open at the same time."""
import http.client
import signal
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))
from flow import (bank_books, bank_orders, becomes, callbacks, clear_faults, done, eventually, fault, flow_stack, is_,  # noqa: E402
                  number, ok, payment_id, rows, verified)
from notifier import TAKEN, Notifier  # noqa: E402
from signing import BadSignature  # noqa: E402

ABOVE = 300000  # the bank asks for the password
LIMIT = 10      # reversals without a result before a case: the default
EARLIEST = {"wechat": 2.0, "wechat_v2": 2.0}  # WeChat's 15 s, shorter
CHARGE, QUERY, REVERSE = 4, 2, 5  # core/terms.h


class Channel:
    """What differs. at_once: what a charge that was paid at once is answered with. typing: ... one whose payer types.
    unseen: how a charge ends that the channel never saw - some reverse what they do not know, some say so. types_on: it
    reverses nothing while the payer has the question before him."""

    def __init__(self, name, protocol, code, at_once="succeeded", typing=(201, "pending"), unseen="closed", notifies=True,
                 types_on=False):
        self.name, self.protocol, self.head, self.codes = name, protocol, code, 0
        self.at_once, self.typing, self.unseen, self.notifies = at_once, typing, unseen, notifies
        self.types_on = types_on

    def code(self):
        self.codes += 1
        length = 19 if self.head == "62" else 18
        return self.head + f"{self.codes:0{length - 2}}"


CHANNELS = [
    Channel("wechat", "wechat_v3", "13", unseen="case", notifies=False, types_on=True),
    Channel("wechat_v2", "wechat_v2", "14", notifies=False, types_on=True),
    Channel("alipay", "alipay", "28"),
    # 00 means accepted, and a charge whose payer types is answered 05: both are only queries' to tell
    Channel("unionpay", "unionpay", "62", at_once="pending", typing=(202, "processing"), unseen="case"),
    Channel("bank", "bank_json", "99", unseen="case"),
]


def charge(stack, ch, amount, code=None, no=None):
    no = no or number("B" + str(CHANNELS.index(ch)))
    return no, stack.client().create_payment(no, amount, method="barcode", auth_code=code or ch.code(), channel=ch.name,
                                             notify_url=stack.callback_url)


def bank_order(stack, no):
    orders = bank_orders(stack, payment_id(stack, no))
    return orders[0] if orders else {}


def bank_pays(stack, no, **more):
    return stack.bank("POST", "/pay", {"out_trade_no": bank_order(stack, no)["out_trade_no"], **more})[0]


def fault_of(stack, ch, no, name, api, **more):
    """For this order alone."""
    fault(stack, name, api, channel=ch.protocol, out_trade_no=bank_order(stack, no)["out_trade_no"], **more)


def reversal(stack, no):
    """[state, reason, amount] of the record; 2 = succeeded."""
    return (rows(stack, no, "reversal", "t.state, t.reason, t.amount") or [None])[0]


def attempts(stack, no, kind):
    return len([k for k, in rows(stack, no, "attempt", "t.kind") if k == str(kind)])


def events(stack, no):
    return [c["event"]["event_type"] for c in callbacks(stack, no)]


# ---- what is answered at once ----

def answered_at_once(stack, ch):
    code = ch.code()
    no, made = charge(stack, ch, 888, code)
    is_((made.status, made.json["state"]), (201, ch.at_once), f"{ch.name}: paid at once: {ch.at_once}")
    becomes(stack, no, "succeeded", f"{ch.name}: succeeded, with or without a query")
    is_(stack.client().find(no).json["channel_trade_no"], bank_order(stack, no)["transaction_id"], f"{ch.name}: the channel's number")
    again = charge(stack, ch, 888, code, no)[1]
    is_((again.replayed, again.json["id"]), (True, made.json["id"]), f"{ch.name}: the same again: the same payment")
    is_(attempts(stack, no, CHARGE), 1, f"{ch.name}: charged once")
    used, failed = charge(stack, ch, 888, code)
    if ch.name != "unionpay":
        is_((failed.status, failed.json["state"]), (201, "failed"), f"{ch.name}: a code that was used: failed at once")
        is_((reversal(stack, used), bool(failed.json["fail_code"])), (None, True), f"{ch.name}: with the reason, and not reversed")
    else:
        becomes(stack, used, "failed", f"{ch.name}: a code that was used: failed")


# ---- orders that wait for the timer, which is stopped until all of them are there ----

def begun(stack, ch):
    """Payer types and is gone, each with his own misfortune."""
    o = {}
    for what in ("typed", "gone", "recalled", "lost", "meanwhile", "stuck", "late", "closed"):
        o[what], made = charge(stack, ch, ABOVE)
        is_((made.status, made.json["state"]), ch.typing, f"{ch.name}: {what}: the payer types")
    fault_of(stack, ch, o["typed"], "no_notify", "notify")
    is_(bank_pays(stack, o["typed"]), 200, f"{ch.name}: one pays, and no notification comes")
    if ch.types_on:
        for what in ("recalled", "lost", "late", "closed"):
            is_(bank_pays(stack, o[what], refuse=True), 200, f"{ch.name}: {what}: the payer says no")
    fault_of(stack, ch, o["recalled"], "recall", "reverse", times=1)
    fault_of(stack, ch, o["lost"], "reset_after", "reverse", times=1)
    fault_of(stack, ch, o["meanwhile"], "recall", "reverse", times=LIMIT - 3)
    fault_of(stack, ch, o["stuck"], "recall", "reverse")
    closed = stack.client().close(payment_id(stack, o["closed"])).status
    ok(closed in (200, 202), f"{ch.name}: R2.16: a close is a reversal, which may have to wait", closed)
    fault(stack, "reset_after", "barcode", channel=ch.protocol, times=1)
    o["unknown"], made = charge(stack, ch, 888)
    is_((made.status, made.json["state"]), (202, "processing"), f"{ch.name}: R2.3: booked, and no answer: unknown")
    if ch.notifies:
        fault_of(stack, ch, o["unknown"], "no_notify", "notify")
    fault(stack, "reset_before", "barcode", channel=ch.protocol, times=1)
    o["unseen"], made = charge(stack, ch, 888)
    is_((made.status, made.json["state"]), (202, "processing"), f"{ch.name}: not booked, and no answer: unknown as well")
    return o


def ended(stack, ch, o, notifier):
    eventually(lambda: reversal(stack, o["meanwhile"]), f"{ch.name}: a reversal has begun")
    paid = bank_pays(stack, o["meanwhile"])
    is_(paid, 200, f"{ch.name}: and now the payer pays")
    becomes(stack, o["unknown"], "succeeded", f"{ch.name}: no answer: found by a query")
    is_(attempts(stack, o["unknown"], CHARGE), 1, f"{ch.name}: R2.6: charged once")

    becomes(stack, o["typed"], "succeeded", f"{ch.name}: R2.8: paid after the password: found by a query")
    eventually(lambda: events(stack, o["typed"]) == ["payment.succeeded"], f"{ch.name}: the merchant is told once")
    is_(reversal(stack, o["typed"]), None, f"{ch.name}: nothing was reversed")

    if ch.types_on:
        eventually(lambda: attempts(stack, o["gone"], REVERSE) >= 2, f"{ch.name}: not reversed while the payer types")
        is_(bank_pays(stack, o["gone"], refuse=True), 200, f"{ch.name}: who goes away at last")
    becomes(stack, o["gone"], "closed", f"{ch.name}: R2.8: nobody paid: reversed, and closed")
    ok(reversal(stack, o["gone"])[::2] == ["2", "0"], f"{ch.name}: with a record of its own", reversal(stack, o["gone"]))
    is_(stack.client().find(o["gone"]).json["reversal"], "succeeded", f"{ch.name}: which the merchant sees")
    is_(bank_order(stack, o["gone"])["state"], "REVOKED", f"{ch.name}: the channel's books say so, too")
    ok(attempts(stack, o["gone"], QUERY) >= 1, f"{ch.name}: it was asked for before", attempts(stack, o["gone"], QUERY))
    eventually(lambda: events(stack, o["gone"]) == ["payment.closed"], f"{ch.name}: the merchant is told once")

    becomes(stack, o["recalled"], "closed", f"{ch.name}: call again: it is reversed again")
    is_(attempts(stack, o["recalled"], REVERSE), 2, f"{ch.name}: with the second call")
    becomes(stack, o["lost"], "closed", f"{ch.name}: done, and the answer lost: found out")
    ok(reversal(stack, o["lost"])[0] == "2" and bank_order(stack, o["lost"])["state"] == "REVOKED", f"{ch.name}: and it is known as done")
    becomes(stack, o["closed"], "closed", f"{ch.name}: closed by the merchant")
    is_((reversal(stack, o["closed"])[1], attempts(stack, o["closed"], 3)), ("failed" if ch.types_on else "closed", 0),
        f"{ch.name}: by reversal, not by close")

    becomes(stack, o["meanwhile"], "reversed", f"{ch.name}: R2.8: paid while reversing: all of it went back")
    is_(reversal(stack, o["meanwhile"])[::2], ["2", str(ABOVE)], f"{ch.name}: the record has the amount")
    is_(stack.sql(f"select state from pay.payment where out_trade_no = '{o['meanwhile']}'"), [["3"]], f"{ch.name}: it stays succeeded")
    eventually(lambda: events(stack, o["meanwhile"]) == ["payment.reversed"], f"{ch.name}: the merchant never hears that it succeeded")
    is_(stack.client().refund(o["meanwhile"], "REFUND1", 1).code, "PAYMENT_NOT_PAID", f"{ch.name}: there is nothing left to refund")
    is_(bank_order(stack, o["meanwhile"])["state"], "REVOKED", f"{ch.name}: the channel's books say so, too")

    if ch.unseen == "closed":
        becomes(stack, o["unseen"], "closed", f"{ch.name}: it reverses what it never saw, late enough to believe it")
    else:
        eventually(lambda: ["not_reversed"] in rows(stack, o["unseen"], "payment_case", "t.kind"),
                   f"{ch.name}: it never saw the charge: a case")
        is_(stack.client().find(o["unseen"]).json["state"], "processing", f"{ch.name}: R2.4: and it does not fail by that")
    eventually(lambda: ["not_reversed"] in rows(stack, o["stuck"], "payment_case", "t.kind"), f"{ch.name}: R2.8: never done: a case")
    ok(attempts(stack, o["stuck"], REVERSE) >= LIMIT, f"{ch.name}: after {LIMIT} tries", attempts(stack, o["stuck"], REVERSE))
    becomes(stack, o["late"], "closed", f"{ch.name}: reversed, and then ...")
    said = notifier.send(ch.name, notifier.genuine(ch.name, bank_order(stack, o["late"])["out_trade_no"], ABOVE))
    ok(said[0] == 200 and TAKEN[ch.name] in said[1], f"{ch.name}: ... the news that it was paid is acknowledged", said)
    eventually(lambda: ["paid_then_reversed"] in rows(stack, o["late"], "payment_case", "t.kind"), f"{ch.name}: R2.5: and a case")
    is_(stack.client().find(o["late"]).json["state"], "closed", f"{ch.name}: and nothing moves")


def not_too_early(stack):
    """From the last moment at which the charge can have left, not from its making."""
    for name, seconds in EARLIEST.items():
        early = stack.sql("select c.payment_id from pay.attempt c join pay.attempt r using (slot, payment_id) "
                          f"where c.kind = {CHARGE} and r.kind = {REVERSE} and c.channel = '{name}' "
                          f"and r.committed_at < c.send_before + interval '{seconds} s'")
        is_(early, [], f"{name}: R2.8: no reversal before the channel takes one")


# ---- restarts ----

def quietly(stack, ch, no, amount):
    """Whoever asks while payd is killed hears 502 or 504, or nothing."""
    try:
        charge(stack, ch, amount, no=no)
    except (OSError, http.client.HTTPException, BadSignature):
        pass


def restarts(stack):
    """kill -9 while a charge, a query and a reversal of each channel are out."""
    for api, amount, end, kind in (("barcode", 888, "succeeded", CHARGE), ("query", ABOVE, "closed", QUERY),
                                   ("reverse", ABOVE, "closed", REVERSE)):
        nos = {ch: number("X" + str(CHANNELS.index(ch))) for ch in CHANNELS}
        for ch in CHANNELS:
            fault(stack, "delay", api, channel=ch.protocol, delay_ms=1500, times=1)
        asking = [threading.Thread(target=quietly, args=(stack, ch, no, amount)) for ch, no in nos.items()]
        for t in asking:
            t.start()
        for ch, no in nos.items():
            eventually(lambda: attempts(stack, no, kind), f"{ch.name}: {api} is under way")
        for process in ("order0", "timer0"):
            stack.kill(process)
            stack.start_process(process)
        for ch, no in nos.items():
            if ch.types_on and amount == ABOVE:
                bank_pays(stack, no, refuse=True)
        for t in asking:
            t.join()
        for ch, no in nos.items():
            becomes(stack, no, end, f"{ch.name}: R2.6: killed during {api}: {end}")
            is_(attempts(stack, no, CHARGE), 1, f"{ch.name}: and charged once")
        clear_faults(stack)


def main():
    # what is done here to a channel would take it out
    options = {ch.name: {"breaker": "off"} for ch in CHANNELS}
    options["bank"]["methods"] = "native barcode"
    earliest = {{"wechat": "wechat_v3"}.get(c, c): {"api reverse > earliest": f"{s:.0f}s"} for c, s in EARLIEST.items()}
    with flow_stack("not_reversed", "paid_then_reversed", '"ev":"case"', "notification_not_taken", hasty=True,
                    payd={"paying_interval": "100ms", "paying_limit": "2s"},
                    also=["wechat_v2", "alipay", "unionpay"], adapters=earliest,
                    channels=options) as stack, ThreadPoolExecutor(len(CHANNELS)) as pool:
        def each(part, *more):
            return list(pool.map(part, [stack] * len(CHANNELS), CHANNELS, *more))

        each(answered_at_once)
        stack.signal("timer0", signal.SIGSTOP)
        orders = each(begun)
        stack.signal("timer0", signal.SIGCONT)
        each(ended, orders, [Notifier(stack) for _ in CHANNELS])
        not_too_early(stack)
        clear_faults(stack)
        for ch, o in zip(CHANNELS, orders):
            if ch.types_on:
                bank_pays(stack, o["stuck"], refuse=True)
            becomes(stack, o["stuck"], "closed", f"{ch.name}: what was stuck is reversed when the channel does it")
        restarts(stack)
        verified(stack, "what the channels took and kept is what we hold", "--books", str(bank_books(stack)))
    done()


main()
