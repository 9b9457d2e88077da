#!/usr/bin/python3
"""Merchants' callbacks: signed, repeated at growing intervals until the merchant agrees, with a history;
sent again by an operator; never to a private address that is not listed."""
import socket
import sys
import threading
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))
from flow import (SLOW, becomes, callbacks, done, eventually, flow_stack, is_, number, ok, pay, rows)  # noqa: E402
from processes import free_ports  # noqa: E402

SCHEDULE = [0.2, 0.4, 0.8]  # then given up
WAITING, DONE, GIVEN_UP = "1", "2", "3"


def paid(stack, url, scheme="rsa"):
    client, no = stack.client(scheme), number("K")
    made = client.create_payment(no, 100, notify_url=url)
    pay(stack, made.json["code_url"])
    becomes(stack, no, "succeeded", f"{no} is paid")
    return no


def state(stack, no):
    found = rows(stack, no, "callback", "t.state, t.tries")
    return found[0] if found else None


def no_id(stack, no):
    return stack.sql(f"select id from pay.payment where out_trade_no = '{no}'")[0][0]


def attempts(stack, no):
    return rows(stack, no, "callback_attempt", "t.n, t.http_status, t.error", "t.n")


def signatures(stack):
    by_rsa = paid(stack, stack.callback_url)
    by_hmac = paid(stack, stack.callback_url, "hmac")
    eventually(lambda: callbacks(stack, by_rsa) and callbacks(stack, by_hmac), "both apps are called back")
    rsa, hmac = callbacks(stack, by_rsa)[0], callbacks(stack, by_hmac)[0]
    is_(rsa["verified"], stack.env["PAY_PLATFORM_SERIAL"], "an RSA app's callback is signed with the platform key")
    is_(rsa["headers"].get("Wechatpay-Signature"), rsa["headers"]["Pay-Signature"], "under WeChat Pay's header names too")
    is_(hmac["verified"], stack.env["PAY_HMAC_SERIAL"], "an HMAC app's callback is signed with its own secret")


def retries(stack):
    stack.merchant("POST", "/answer", {"status": 500, "times": 2})
    no = paid(stack, stack.callback_url)
    eventually(lambda: state(stack, no) == [DONE, "3"], "refused twice, taken the third time")
    times = [r["at"] for r in callbacks(stack, no)]
    gaps = [b - a for a, b in zip(times, times[1:])]
    ok(len(gaps) == 2 and all(g >= 0.85 * s for g, s in zip(gaps, SCHEDULE)), f"not before their time: {gaps}")
    ok(len(gaps) == 2 and gaps[1] > gaps[0], "at growing intervals")
    bodies = {r["body"] for r in callbacks(stack, no)}
    nonces = {r["headers"]["Pay-Nonce"] for r in callbacks(stack, no)}
    is_((len(bodies), len(nonces)), (1, 3), "the same event each time, signed anew each time")
    is_([(n, status) for n, status, _ in attempts(stack, no)], [("1", "500"), ("2", "500"), ("3", "200")],
        "each try is in the history")


def slow_merchant(stack):
    stack.merchant("POST", "/answer", {"delay": 3 * SLOW, "times": 1})
    no = paid(stack, stack.callback_url)
    eventually(lambda: state(stack, no) == [DONE, "2"], "one that does not answer in time is called again")
    is_(attempts(stack, no)[0][1], "0", "the time-out is in the history")


def resend(stack):
    stack.merchant("POST", "/answer", {"status": 503, "times": 1000})
    no = paid(stack, stack.callback_url)
    eventually(lambda: state(stack, no) == [GIVEN_UP, str(len(SCHEDULE) + 1)], "given up at the end of the schedule")
    stack.merchant("POST", "/answer", {"times": 0})
    listed = stack.payctl("callbacks", "list", "--state", "given_up")
    ok(no_id(stack, no) in listed, "payctl callbacks list shows it", listed)
    ident = listed.splitlines()[1].split()[0]
    shown = stack.payctl("callbacks", "show", ident)
    ok("503" in shown, "payctl callbacks show tells each try")
    stack.payctl("callbacks", "resend", ident)
    eventually(lambda: (state(stack, no) or [""])[0] == DONE, "an operator sends it again, it is taken")


def private_addresses(stack):
    with socket.create_server(("127.0.0.1", free_ports(1)[0])) as trap:
        port, came = trap.getsockname()[1], []
        threading.Thread(target=lambda: came.append(trap.accept()), daemon=True).start()
        hosts = ["127.0.0.1", "localhost", "127.1", "2130706433", "[::ffff:127.0.0.1]", "0.0.0.0"]
        client = stack.client("hmac")
        numbers = []
        for i, host in enumerate(hosts):
            no = number("V", i)
            made = client.create_payment(no, 100, notify_url=f"http://{host}:{port}/callback")
            if made.status == 400:
                is_(made.code, "FIELD_INVALID", f"{host}: refused at once")
                continue
            numbers.append((host, no))
            pay(stack, made.json["code_url"])
        for host, no in numbers:
            eventually(lambda: attempts(stack, no), f"{host}: a try is recorded")
            is_((attempts(stack, no) or [["", "", ""]])[0][1], "0", f"{host}: without an answer")
        is_(came, [], "a private address that is not listed was never connected to")


def unusable_key(stack):
    no = number("N")
    made = stack.client("hmac").create_payment(no, 100, notify_url=stack.callback_url)
    stack.sql("create table saved as select serial, material_sealed from pay.app_key where alg = 'hmac-sha256'")
    stack.sql("update pay.app_key set material_sealed = '\\x00' where alg = 'hmac-sha256'")
    pay(stack, made.json["code_url"])
    eventually(lambda: state(stack, no) == [GIVEN_UP, str(len(SCHEDULE) + 1)], "a key that cannot be used: along the schedule")
    is_(attempts(stack, no), [[str(n + 1), "0", "not_signed"] for n in range(len(SCHEDULE) + 1)], "with the reason in the history")
    is_(callbacks(stack, no), [], "nothing unsigned was sent")
    stack.sql("update pay.app_key k set material_sealed = s.material_sealed from saved s where s.serial = k.serial")


def main():
    # the last wait is the longest: a slow machine must not mistake it for giving up
    schedule = " ".join(f"{int(s * 1000)}ms" for s in SCHEDULE)
    with flow_stack('"ev":"callback"', payd={"callbacks > schedule": schedule}) as stack:
        signatures(stack)
        retries(stack)
        slow_merchant(stack)
        resend(stack)
        private_addresses(stack)
        unusable_key(stack)
    done()


main()
