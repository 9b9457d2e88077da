#!/usr/bin/python3
"""The vertical path: merchant → edge → worker → channel → payer → notification → callback, each hop looked
at from its own side, through both channels and with all three signature schemes."""
import os
import stat
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))
from flow import (STATES, bank_orders, becomes, callbacks, done, eventually, flow_stack, is_, number, ok,  # noqa: E402
                  pay, rows, state_of)
from client import BadSignature, read_env  # noqa: E402
from stack import call  # noqa: E402

ENV = """PAY_URL PAY_CA PAY_MCHID PAY_SERIAL PAY_KEY PAY_HMAC_SERIAL PAY_HMAC_KEY PAY_PLATFORM_SERIAL
         PAY_PLATFORM_CERT PAYBANK_URL PAY_PG PAY_REDIS PAY_NGINX_CONF PAY_STATUS_URL""".split()


def environment(stack):
    env = read_env(stack.folder / "demo.env")
    is_([name for name in ENV if not env.get(name)], [], "demo.env names what scripts need")
    files = [name for name in ENV if env[name].startswith("/")]
    is_([name for name in files if not Path(env[name]).exists()], [], "its files are there")
    open_files = [f.name for f in (stack.folder / "secrets").iterdir() if stat.S_IMODE(f.stat().st_mode) != 0o600]
    is_(open_files, [], "nobody else can read a secret")


def one_payment(stack, scheme, channel, total):
    what = f"{scheme} {channel}:"
    client, no = stack.client(scheme), number("T")
    order = {"out_trade_no": no, "total": total, "description": "一杯茶 Tea", "channel": channel,
             "attach": "table 7", "notify_url": stack.callback_url}
    made = client.create_payment(**order)
    is_(made.status, 201, f"{what} a new payment is created") or print(f"# {made.body}")
    expected = stack.env["PAY_HMAC_SERIAL" if scheme == "hmac" else "PAY_PLATFORM_SERIAL"]
    is_(made.verified, expected, f"{what} the answer's signature verifies")
    prefix = "Wechatpay-" if scheme == "wechat" else "Pay-"
    ok(made.headers.get(prefix + "Signature"), f"{what} in headers that begin with {prefix}")
    payment = made.json
    is_((payment["state"], payment["channel"], payment["amount"]),
        ("pending", channel, {"total": total, "currency": "CNY"}), f"{what} it waits for its payer")
    ok(payment.get("code_url"), f"{what} it has a code to pay")

    again = client.create_payment(**order)
    is_((again.status, again.replayed, again.json), (200, True, payment), f"{what} the same request gives the same order")
    is_(client.get(payment["id"]).json, payment, f"{what} found by id")
    is_(client.find(no).json, payment, f"{what} found by out_trade_no")

    books = bank_orders(stack, payment["id"])
    is_([(b["amount"], b["state"], b["prepares"], b["charges"]) for b in books], [(total, "NOTPAY", 1, 0)],
        f"{what} the bank has one order, prepared once")

    status, paid = pay(stack, payment["code_url"])
    is_((status, paid["amount"]), (200, total), f"{what} the payer pays")
    becomes(stack, no, "succeeded", f"{what} the notification makes it succeeded")
    final = client.find(no).json
    is_(final["channel_trade_no"], paid["transaction_id"], f"{what} with the channel's number")
    ok(final["succeeded_at"], f"{what} and the time of payment")

    received = eventually(lambda: callbacks(stack, no), f"{what} the merchant is called back")
    eventually(lambda: rows(stack, no, "callback", "t.state") == [["2"]], f"{what} the callback is done, there is one")
    is_([(r["event"]["event_type"], r["event"]["resource"], r["answered"]) for r in received],
        [("payment.succeeded", final, 200)], f"{what} with the order as the API shows it")
    ok(received and received[0]["verified"], f"{what} and a signature that verifies")

    history = [STATES.get(int(to), to) for to, in rows(stack, no, "payment_history", "t.to_state", "t.version")]
    ok(history[0] == "processing" and history[-1] == "succeeded", f"{what} its history ends there: {history}")
    is_(stack.sql(f"select count(*) from pay.payment_timer t join pay.payment p on p.id = t.payment_id "
                  f"where p.out_trade_no = '{no}'"), [["0"]], f"{what} and no timer is left")
    books = bank_orders(stack, payment["id"])
    is_([(b["state"], b["charges"], b["notified"]) for b in books], [("SUCCESS", 1, True)],
        f"{what} the bank charged once and knows that we know")
    return no


def trace(stack, no):
    text = stack.payctl("trace", f"{stack.env['PAY_MCHID']}/{no}")
    missing = [w for w in (no, "processing", "succeeded", "callback", "prepare") if w not in text]
    is_(missing, [], "payctl trace tells the whole story") or print(f"# {text}")


def close(stack):
    client, no = stack.client(), number("C")
    made = client.create_payment(no, 100, notify_url=stack.callback_url)
    closed = client.close(made.json["id"])
    ok(closed.status in (200, 202), f"close is taken: {closed.status}")
    becomes(stack, no, "closed", "the payment is closed")
    is_([b["state"] for b in bank_orders(stack, made.json["id"])], ["CLOSED"], "also at the bank")
    is_(pay(stack, made.json["code_url"])[0], 409, "nobody can pay it any more")
    received = eventually(lambda: callbacks(stack, no), "the merchant is told")
    is_([r["event"]["event_type"] for r in received], ["payment.closed"], "that it is closed, once")


def refusals(stack):
    client = stack.client()
    is_(client.find("nosuchnumber").code, "ORDER_NOT_FOUND", "an unknown number is 404 with a code")
    is_(client.create_payment(number("X"), 0).code in ("FIELD_INVALID", "AMOUNT_OUT_OF_RANGE"), True, "amount 0 is refused")
    client.scheme.mchid = "M9999999"
    is_(client.find("nosuchnumber").code, "IDENTITY_MISMATCH", "nobody poses as another merchant")
    client = stack.client()
    client.scheme.key.sign = lambda message: b"x" * 256
    forged = client.find("nosuchnumber")
    is_((forged.status, forged.code, forged.verified), (401, "SIGN_ERROR", None), "a forged request is refused, unsigned")


def operators(stack):
    status, text = call("GET", f"{stack.env['PAY_STATUS_URL']}/metrics")
    ok(status == 200 and "# TYPE" in text, "metrics in Prometheus' format")
    status, value = call("GET", f"{stack.env['PAY_STATUS_URL']}/status")
    ok(status == 200 and isinstance(value, dict), "status as JSON")


def main():
    with flow_stack() as stack:
        environment(stack)
        orders = [one_payment(stack, "rsa", "wechat", 888), one_payment(stack, "wechat", "bank", 1),
                  one_payment(stack, "hmac", "bank", 5000)]
        trace(stack, orders[0])
        close(stack)
        refusals(stack)
        operators(stack)
        pids = [p.pid for p in stack.processes.values()]
    is_([p for p in pids if os.path.exists(f"/proc/{p}")], [], "every process is stopped")
    done()


main()
