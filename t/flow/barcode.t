#!/usr/bin/python3
"""Barcode payments (R2.8, R2.15, R2.16, R3.7): paid at once, the payer types a password, nobody knows; reversed
until that is known; what a payment and its reversal do to each other; restarts; the payer's code is kept nowhere."""
import http.client
import sys
import threading
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))
from flow import (bank_books, bank_orders, becomes, callbacks, clear_faults, done, eventually, fault, flow_stack, is_,  # noqa: E402
                  number, ok, payment_id, rows, state_of, verified)
from signing import BadSignature  # noqa: E402

ABOVE = 300000  # the bank asks for the password
LIMIT = 3       # reversals without a result before a case
codes = []


def auth_code():
    codes.append(f"99{len(codes) + 7000000000000000:016d}")
    return codes[-1]


def charge(stack, no, amount, code=None, **more):
    return stack.client().create_payment(no, amount, method="barcode", auth_code=code or auth_code(), channel="bank",
                                         notify_url=stack.callback_url, **more)


def bank_order(stack, no):
    orders = bank_orders(stack, payment_id(stack, no))
    return orders[0] if orders else {}


def bank_pays(stack, no):
    return stack.bank("POST", "/pay", {"out_trade_no": bank_order(stack, no)["out_trade_no"]})[0]


def reversal(stack, no):
    """[state, reason, amount] of the record; 2 = succeeded."""
    found = rows(stack, no, "reversal", "t.state, t.reason, t.amount")
    return [found[0][0], found[0][1], found[0][2]] if found else None


def attempts(stack, no, kind):
    """How many were made; core/terms.h: 2 query, 3 close, 4 charge, 5 reverse."""
    return [int(r[0]) for r in rows(stack, no, "attempt", "t.kind", "t.n")].count(kind)


def told(stack, no, events, name):
    eventually(lambda: [c["event"]["event_type"] for c in callbacks(stack, no)] == events, name)


def answered_at_once(stack):
    no, code = number("A"), auth_code()
    made = charge(stack, no, 888, code)
    is_((made.status, made.json["state"], made.json.get("code_url")), (201, "succeeded", None), "R2.8: paid at once")
    is_(made.json["channel_trade_no"], bank_order(stack, no)["transaction_id"], "with the bank's number")
    again = charge(stack, no, 888, code)
    is_((again.status, again.replayed, again.json["id"]), (200, True, made.json["id"]), "the same again: the same payment")
    is_(charge(stack, no, 888).code, "OUT_TRADE_NO_CONFLICT", "the number with another code")
    is_(attempts(stack, no, 4), 1, "one charge")
    no = number("A")
    failed = charge(stack, no, 888, code)
    is_((failed.status, failed.json["state"], failed.json["fail_code"]), (201, "failed", "AUTH_CODE_INVALID"),
        "a code that was used: failed at once")
    is_(reversal(stack, no), None, "nothing is reversed that was definitely not charged")


def refused_fields(stack):
    make = stack.client().create_payment
    for more, code, pointer, what in (
            ({"method": "barcode"}, "FIELD_MISSING", "/auth_code", "no code"),
            ({"method": "barcode", "auth_code": "99123456789012345x"}, "FIELD_INVALID", "/auth_code", "letters"),
            ({"method": "barcode", "auth_code": "991234567890123"}, "FIELD_INVALID", "/auth_code", "too short"),
            ({"method": "native", "auth_code": "991234567890123456"}, "FIELD_INVALID", "/auth_code", "a code for native")):
        answer = make(number("R"), 1, **more)
        is_((answer.status, answer.code, answer.json["errors"][0]["pointer"]), (400, code, pointer), f"refused: {what}")


def payer_acts(stack):
    no = number("P")
    made = charge(stack, no, ABOVE)
    is_((made.status, made.json["state"]), (201, "pending"), "the payer types a password")
    fault(stack, "no_notify", "notify")
    is_(bank_pays(stack, no), 200, "and pays")
    becomes(stack, no, "succeeded", "R2.8: found by a query")
    told(stack, no, ["payment.succeeded"], "the merchant is told once")
    is_(reversal(stack, no), None, "nothing was reversed")


def payer_is_gone(stack):
    no = number("G")
    charge(stack, no, ABOVE)
    becomes(stack, no, "closed", "R2.8: nobody paid: reversed, and closed", 30)
    is_(reversal(stack, no), ["2", "paying", "0"], "with a record of its own")
    is_(stack.client().find(no).json["reversal"], "succeeded", "which the merchant sees")
    is_(bank_order(stack, no)["state"], "REVOKED", "the bank's books say so, too")
    ok(attempts(stack, no, 2) >= 3, "it was asked for several times before", attempts(stack, no, 2))
    told(stack, no, ["payment.closed"], "the merchant is told once")
    is_(charge(stack, no, ABOVE, codes[-1]).json["state"], "closed", "and repeating makes nothing new")


def nobody_knows(stack):
    no = number("U")
    fault(stack, "reset_after", "barcode", times=1)
    fault(stack, "no_notify", "notify")
    made = charge(stack, no, 888)
    is_((made.status, made.json["state"]), (202, "processing"), "R2.3: booked, and no answer: unknown")
    becomes(stack, no, "succeeded", "found by a query")
    is_(attempts(stack, no, 4), 1, "R2.6: charged once")


def again_until_done(stack):
    """Not done, answer lost: the reversal is repeated until it is known."""
    no = number("W")
    fault(stack, "recall", "reverse", times=1)
    charge(stack, no, ABOVE)
    becomes(stack, no, "closed", "not done at first: reversed again", 30)
    is_(attempts(stack, no, 5), 2, "with the second call")
    no = number("L")
    fault(stack, "reset_after", "reverse", times=1)
    charge(stack, no, ABOVE)
    becomes(stack, no, "closed", "done, and the answer lost: a query says so", 30)
    is_((attempts(stack, no, 5), reversal(stack, no)[0]), (1, "2"), "and it is not reversed a second time")


def paid_while_reversing(stack):
    no = number("B")
    fault(stack, "recall", "reverse", times=2)
    charge(stack, no, ABOVE)
    eventually(lambda: reversal(stack, no), "the reversal has begun")
    is_(bank_pays(stack, no), 200, "and now the payer pays")
    becomes(stack, no, "reversed", "R2.8: paid, and all of it went back", 30)
    is_(reversal(stack, no), ["2", "paying", str(ABOVE)], "the record has the amount")
    is_(stack.sql(f"select state from pay.payment where out_trade_no = '{no}'"), [["3"]], "the payment itself stays succeeded")
    told(stack, no, ["payment.reversed"], "the merchant never hears that it succeeded")
    is_(stack.client().refund(no, "REFUND1", 1).code, "PAYMENT_NOT_PAID", "there is nothing left to refund")
    is_(bank_order(stack, no)["state"], "REVOKED", "the bank's books say so, too")


def notified_after_the_reversal(stack):
    """The news that it was paid comes late: behind the reversal, which has given the money back."""
    no = number("N")
    fault(stack, "delay", "notify", delay_ms=4000, times=1)
    fault(stack, "error_503", "query")  # so that nobody hears of it by asking
    fault(stack, "user_paying", "barcode", delay_ms=200, times=1)
    charge(stack, no, 888)
    becomes(stack, no, "closed", "reversed while the notification is on its way", 30)
    clear_faults(stack)
    eventually(lambda: any("paid_then_reversed" == r[0] for r in rows(stack, no, "payment_case", "t.kind")),
               "R2.5: a case says that it was paid and went back", 30)
    is_(state_of(stack, no), "closed", "and nothing moves")


def merchant_closes(stack):
    no = number("C")
    made = charge(stack, no, ABOVE)
    closed = stack.client().close(made.json["id"])
    is_((closed.status, closed.json["state"]), (202, "pending"), "R2.16: a close is a reversal, which waits its time")
    becomes(stack, no, "closed", "and comes", 30)
    is_((reversal(stack, no)[1], attempts(stack, no, 3)), ("closed", 0), "by reversal, not by close")


def never_known(stack):
    no = number("K")
    fault(stack, "reset_before", "barcode", times=1)
    charge(stack, no, 888)
    eventually(lambda: rows(stack, no, "payment_case", "t.kind") == [["not_reversed"]],
               "R2.8: the bank knows no such payment: a case after some tries", 40)
    ok(attempts(stack, no, 5) >= LIMIT, "as many as configured", attempts(stack, no, 5))
    is_(state_of(stack, no), "processing", "R2.4: and it does not fail by that")


def charge_quietly(stack, no, amount):
    """Whoever asks while payd is killed hears 502 or 504, or nothing."""
    try:
        charge(stack, no, amount)
    except (OSError, http.client.HTTPException, BadSignature):
        pass


def restarts(stack):
    """kill -9 while a charge, a query and a reversal are out."""
    for api, amount, end, kind in (("barcode", 888, "succeeded", 4), ("query", ABOVE, "closed", 2), ("reverse", ABOVE, "closed", 5)):
        no = number("X")
        fault(stack, "delay", api, delay_ms=1500, times=1)
        asking = threading.Thread(target=lambda: charge_quietly(stack, no, amount))
        asking.start()
        eventually(lambda: attempts(stack, no, kind), f"{api} is under way")
        for process in ("order0", "timer0"):
            stack.kill(process)
            stack.start_process(process)
        asking.join()
        becomes(stack, no, end, f"R2.6: killed during {api}: {end}", 40)
        is_(attempts(stack, no, 4), 1, "and charged once")
        clear_faults(stack)


def kept_nowhere(stack):
    tables = [r[0] for r in stack.sql("select table_name from information_schema.tables where table_schema = 'pay'")]
    text = "".join(str(stack.sql(f"select t::text from pay.{t} t")) for t in tables)
    logs = "".join(f.read_text(errors="replace") for f in (stack.folder / "log").iterdir() if "paybank" not in f.name)
    ok(len(codes) > 10 and not [c for c in codes if c in text], "R3.7: no payer's code in the database")
    is_([c for c in codes if c in logs], [], "nor in a log")


def main():
    payd = {"paying_interval": "200ms", "paying_limit": "1500ms", "reverse_limit": str(LIMIT)}
    # what is done here to the channel would take it out
    with flow_stack("not_reversed", "amount_mismatch", "paid_then_reversed", "notification_not_taken", payd=payd, hasty=True,
                    channels={"bank": {"methods": "native barcode", "breaker": "off"}}) as stack:
        for part in (answered_at_once, refused_fields, payer_acts, payer_is_gone, nobody_knows, again_until_done,
                     paid_while_reversing, notified_after_the_reversal, merchant_closes, never_known, restarts, kept_nowhere):
            part(stack)
            clear_faults(stack)
        verified(stack, "what the bank took and kept is what we hold", "--books", str(bank_books(stack)))
    done()


main()
