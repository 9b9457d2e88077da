#!/usr/bin/python3
"""R4.1, merchants' callbacks: signed in the app's way, numbered, repeated at growing intervals until the merchant agrees
or says that it never will, with a history; sent again by an operator, one or all of a time. Where they may not go:
callbacks_addresses.t."""
import base64
import hashlib
import hmac as hmac_
import json
import select
import socket
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))
from flow import (SLOW, becomes, callbacks, done, eventually, flow_stack, is_, number, ok, pay, rows)  # noqa: E402
import accounts  # noqa: E402

SCHEDULE = [0.2, 0.4, 0.8]  # then given up
RETRY_AFTER_MAX = 600  # s; nothing here waits for it
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


def webhook_signature(secret, headers, body):
    """Written from the specification, not from our code."""
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.{body}".encode()
    return "v1," + base64.b64encode(hmac_.new(secret, signed, hashlib.sha256).digest()).decode()


def standard_webhooks(stack):
    refused = subprocess.run([str(stack.build / "payctl"), "-c", str(stack.conf / "payd.conf"), "app", "callbacks",
                              accounts.RSA_APP, "webhook"], capture_output=True, text=True)
    is_(refused.returncode, 1, "an app without an HMAC key cannot have Standard Webhooks")
    ok("HMAC" in refused.stderr, "and is told why", refused.stderr)
    stack.payctl("app", "callbacks", accounts.HMAC_APP, "webhook")
    stack.merchant("POST", "/answer", {"status": 500, "times": 1})
    no = paid(stack, stack.callback_url, "hmac")
    eventually(lambda: state(stack, no) == [DONE, "2"], "an app with Standard Webhooks: refused once, then taken")
    calls = callbacks(stack, no)
    is_([c["headers"]["webhook-id"] for c in calls], [c["event"]["id"] for c in calls], "the id is the callback's")
    is_(len({c["headers"]["webhook-id"] for c in calls}), 1, "and the same in every try")
    secret = stack.keys.path("hmac.key").read_bytes()
    is_([c["headers"]["webhook-signature"] for c in calls],
        [webhook_signature(secret, c["headers"], c["body"]) for c in calls], "signed with the app's secret")
    is_([h for h in calls[0]["headers"] if h.startswith("Pay-")], [], "and not in the other way too")
    stack.payctl("app", "callbacks", accounts.HMAC_APP, "header")


def sequence(stack):
    """Several callbacks of one order: the merchant can tell which is newer."""
    client, no = stack.client("rsa"), number("Q")
    made = client.create_payment(no, 100, notify_url=stack.callback_url)
    pay(stack, made.json["code_url"])
    becomes(stack, no, "succeeded", f"{no} is paid")
    for i in range(2):
        client.refund(no, f"{no}R{i}", 10, notify_url=stack.callback_url)
    eventually(lambda: len(callbacks(stack, no)) >= 3, "the payment and two refunds are called back")
    told = sorted((c["event"]["create_time"], c["event"]["sequence"]) for c in callbacks(stack, no))
    is_([s for _, s in told], sorted({s for _, s in told}), "their sequence rises with their time")
    versions = stack.sql("select h.version from pay.payment_history h join pay.payment p on (p.slot, p.id) = (h.slot, "
                         f"h.payment_id) where p.out_trade_no = '{no}' and (refund_id = 0 and to_state = 3 and from_state < 3 "
                         "or refund_id > 0 and to_state = 2) order by 1")
    is_([str(s) for _, s in told], [v for v, in versions], "and is the version of the order that it tells of")


def retry_after(stack):
    stack.merchant("POST", "/answer", {"status": 503, "times": 1, "retry_after": "86400"})
    no = paid(stack, stack.callback_url)
    eventually(lambda: attempts(stack, no), "a merchant that asks for a day")
    waits = "extract(epoch from t.next_at - a.at)::int from pay.callback t join pay.callback_attempt a on " \
            f"(a.slot, a.callback_id) = (t.slot, t.id) where t.payment_id = {no_id(stack, no)}"
    wait = int(stack.sql(f"select {waits}")[0][0])
    ok(wait >= RETRY_AFTER_MAX, "gets more time than the schedule has", wait)
    ok(wait < 2 * RETRY_AFTER_MAX, "but no more than retry_after", wait)
    stack.payctl("callbacks", "resend", stack.sql(f"select id from pay.callback where payment_id = {no_id(stack, no)}")[0][0])
    eventually(lambda: state(stack, no) == [DONE, "2"], "unless an operator sends it now")
    stack.merchant("POST", "/answer", {"status": 429, "times": 1, "retry_after": "0"})
    no = paid(stack, stack.callback_url)
    eventually(lambda: state(stack, no) == [DONE, "2"], "nobody gets less than the schedule")
    gap = [b["at"] - a["at"] for a, b in zip(callbacks(stack, no), callbacks(stack, no)[1:])]
    ok(len(gap) == 1 and gap[0] >= 0.85 * SCHEDULE[0], f"not before its time: {gap}")


def gone(stack):
    stack.merchant("POST", "/answer", {"status": 410, "times": 1})
    no = paid(stack, stack.callback_url)
    eventually(lambda: state(stack, no) == [GIVEN_UP, "1"], "410 ends the tries")
    return no


def resend_since(stack):
    """Everything from a time on, again; only of the merchant, only in the state, only in the time that are named."""
    start = stack.sql("select to_char(now() at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')")[0][0]
    taken = paid(stack, stack.callback_url)
    eventually(lambda: state(stack, taken) == [DONE, "1"], "one is taken")
    dead = gone(stack)
    is_(json.loads(stack.payctl("--json", "callbacks", "resend", "--since", "2020-01-01T00:00:00Z", "--until",
                                "2020-01-02T00:00:00Z", "--all-merchants")), {"resent": 0}, "nothing from years ago")
    is_(json.loads(stack.payctl("--json", "callbacks", "resend", "--since", start, "--merchant", "nobody")),
        {"resent": 0}, "nothing of another merchant")
    is_(json.loads(stack.payctl("--json", "callbacks", "resend", "--since", start, "--merchant", accounts.MCHID,
                                "--state", "given_up")), {"resent": 1}, "what was given up since a time")
    eventually(lambda: state(stack, dead) == [DONE, "2"], "is sent again and taken")
    is_(state(stack, taken), [DONE, "1"], "the other is not")
    is_(json.loads(stack.payctl("--json", "callbacks", "resend", "--since", start, "--all-merchants")),
        {"resent": 2}, "everything since a time")
    eventually(lambda: (state(stack, taken), state(stack, dead)) == ([DONE, "2"], [DONE, "3"]), "both once more")
    usage = subprocess.run([str(stack.build / "payctl"), "-c", str(stack.conf / "payd.conf"), "callbacks", "resend",
                            "--since", start], capture_output=True)
    is_(usage.returncode, 2, "without a merchant's name: not every merchant by mistake")


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


def counted_first(stack):
    """Whoever ends in the midst of a call has made it, and comes to the end of the schedule."""
    with socket.create_server(("127.0.0.1", 0)) as door:
        no = paid(stack, f"http://127.0.0.1:{door.getsockname()[1]}/")
        eventually(lambda: select.select([door], [], [], 0)[0], "a call stands at the merchant's door")
        calls = []
        while select.select([door], [], [], 0)[0]:
            calls.append(door.accept()[0])
        tries = int(state(stack, no)[1])
        ok(tries >= len(calls), "and is counted already, with those before it", tries, len(calls))
        for call in calls:
            call.close()
    eventually(lambda: state(stack, no) == [GIVEN_UP, str(len(SCHEDULE) + 1)], "nobody is there for the others")


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
    with flow_stack('"ev":"callback"', payd={"callbacks > schedule": schedule, "callbacks > allow": "127.0.0.1",
                                             "callbacks > retry_after": f"{RETRY_AFTER_MAX}s"}) as stack:
        signatures(stack)
        standard_webhooks(stack)
        sequence(stack)
        retries(stack)
        retry_after(stack)
        resend_since(stack)
        counted_first(stack)
        slow_merchant(stack)
        resend(stack)
        unusable_key(stack)
    done()


main()
