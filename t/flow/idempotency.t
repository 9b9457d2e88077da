#!/usr/bin/python3
"""One number, one order: 64 requests at once, equal and unequal, through one worker process and several."""
import sys
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))
from flow import at_once, bank_orders, clear_faults, done, eventually, fault, flow_stack, is_, number, ok, pay, state_of  # noqa: E402

AT_ONCE = 64


def count(stack, no):
    return int(stack.sql(f"select count(*) from pay.payment where out_trade_no = '{no}'")[0][0])


def facts(answer):
    p = answer.json
    return p["id"], p["amount"]["total"], p["code_url"]


def equal(stack, scheme, name):
    no = number("E")
    # a bank that takes its time keeps the first one in flight while the others arrive
    fault(stack, "delay", "native", delay_ms=300, times=1)
    client = stack.client(scheme)
    answers = at_once([lambda: client.create_payment(no, 777)] * AT_ONCE)
    clear_faults(stack)
    is_(Counter(a.status for a in answers), Counter({200: AT_ONCE - 1, 201: 1}), f"{name}: one is created, the others replayed")
    is_([a.replayed for a in answers if a.status == 200].count(True), AT_ONCE - 1, f"{name}: replays say so")
    is_(len({facts(a) for a in answers}), 1, f"{name}: one id, amount and code_url in all {AT_ONCE} answers")
    ok(all(a.verified for a in answers), f"{name}: all of them signed")
    is_(count(stack, no), 1, f"{name}: one order in the database")
    is_([(b["prepares"], b["amount"]) for b in bank_orders(stack, answers[0].json["id"])], [(1, 777)],
        f"{name}: the bank was asked once")


def unequal(stack, name):
    no = number("U")
    fault(stack, "delay", "native", delay_ms=300, times=1)
    client = stack.client()
    answers = at_once([lambda total=total: client.create_payment(no, 1000 + total) for total in range(AT_ONCE)])
    clear_faults(stack)
    is_(Counter(a.status for a in answers), Counter({409: AT_ONCE - 1, 201: 1}), f"{name}: one is created, the rest are conflicts")
    is_({a.code for a in answers if a.status == 409}, {"OUT_TRADE_NO_CONFLICT"}, f"{name}: with the code that says so")
    is_(count(stack, no), 1, f"{name}: one order in the database")
    winner = next(a for a in answers if a.status == 201).json
    is_(client.find(no).json["amount"], winner["amount"], f"{name}: with the winner's amount")
    is_([b["amount"] for b in bank_orders(stack, winner["id"])], [winner["amount"]["total"]], f"{name}: as the bank has it")


def later(stack):
    client, no = stack.client(), number("L")
    made = client.create_payment(no, 4200, description="茶")
    body = ('{"description":"\\u8336",  "amount":{"currency":"CNY","total":4200},'
            f'"out_trade_no":"{no}","method":"native"}}').encode()
    again = client.request("POST", "/v1/payments", body)
    is_((again.status, again.replayed, again.json), (200, True, made.json), "the same content in other bytes is the same request")
    is_(client.create_payment(no, 4200, description="Coffee").code, "OUT_TRADE_NO_CONFLICT", "other content is a conflict")
    other = stack.client("hmac").create_payment(no, 4200, description="茶")
    is_(other.code, "OUT_TRADE_NO_CONFLICT", "the number is the merchant's: another of its apps cannot take it again")
    pay(stack, made.json["code_url"])
    eventually(lambda: state_of(stack, no) == "succeeded", "it is paid")
    again = client.create_payment(no, 4200, description="茶")
    is_((again.status, again.replayed, again.json["state"]), (200, True, "succeeded"), "a repetition shows it as it now is")


def channel_off(stack):
    """A number that was taken is known also when nothing new can be made."""
    client, no = stack.client(), number("O")
    made = client.create_payment(no, 100, channel="bank")
    file = stack.conf / "channels/bank.conf"
    on = file.read_text()
    file.write_text(on.replace("state on;", "state off;"))
    stack.reload_nginx()
    eventually(lambda: client.create_payment(number("N"), 100, channel="bank").code == "NO_CHANNEL", "a channel is off")
    again = client.create_payment(no, 100, channel="bank")
    is_((again.status, again.replayed, again.json), (200, True, made.json), "an order that it has is given again")
    is_(client.create_payment(no, 101, channel="bank").code, "OUT_TRADE_NO_CONFLICT", "and still conflicts with others")
    file.write_text(on)
    stack.reload_nginx()


def without_redis(stack):
    stack.kill("redis")
    equal(stack, "hmac", "without Redis")
    stack.start_process("redis")


def main():
    # the app's rate limit would refuse what this test wants
    roomy = {"location /v1/ > pay_guard": "window=300s nonce=600s app=5000r/s burst=5000 fallback=open"}
    with flow_stack(nginx=roomy) as stack:
        equal(stack, "rsa", "equal, RSA")
        equal(stack, "hmac", "equal, HMAC")
        unequal(stack, "unequal")
        later(stack)
        channel_off(stack)
        without_redis(stack)
    # the second process hears of the first one's order only from the database
    with flow_stack(nginx={**roomy, "upstream pay_orders > hash": None}, orders=2) as stack:
        equal(stack, "hmac", "two processes, no hashing")
        unequal(stack, "unequal, two processes")
    done()


main()
