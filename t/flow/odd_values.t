#!/usr/bin/python3
"""The longest, the shortest and the oddest values that the API takes reach the bank and the callback as they
were said; those it does not take are refused by name and hurt no neighbour in the same batch."""
import json
import sys
import threading
from datetime import datetime, timedelta, timezone
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))
from flow import becomes, callbacks, done, eventually, flow_stack, is_, number, ok, pay, state_of  # noqa: E402

REFUSED = {  # what is changed in a good body
    "a NUL in a text": {"description": "a\0b"},
    "half of a surrogate pair": {"description": "\udc00"},
    "one character too many": {"description": "😀" * 128},
    "attach too long": {"attach": "茶" * 129},
    "a notify_url with a line break": {"notify_url": "https://m.example/\r\nX: y"},
    "a notify_url of another kind": {"notify_url": "file:///etc/passwd"},
    "a notify_url with a password": {"notify_url": "https://a:b@m.example/"},
    "an expiry in the past": {"time_expire": "2020-01-01T00:00:00+08:00"},
    "an expiry that is no day": {"time_expire": "2031-02-30T00:00:00+08:00"},
    "an expiry that is no year 2099 in China any more": {"time_expire": "2099-12-31T16:00:00+00:00"},
    "an expiry in year 10000": {"time_expire": "9999-12-31T23:59:59-23:59"},
}


def refusals(stack):
    client, answers = stack.client("hmac"), {}

    def ask(name, i, changes):
        body = {"method": "native", "out_trade_no": number("R", i), "amount": {"total": 100}, "description": "x", **changes}
        answers[name] = client.request("POST", "/v1/payments", json.dumps(body).encode())
    threads = [threading.Thread(target=ask, args=(n, i, c)) for i, (n, c) in enumerate(REFUSED.items())]
    good = [threading.Thread(target=ask, args=(f"good {i}", 100 + i, {})) for i in range(20)]
    for t in threads + good:
        t.start()
    for t in threads + good:
        t.join()
    for name in REFUSED:
        is_(answers[name].status, 400, f"{name}: {answers[name].code}")
    is_({a.status for n, a in answers.items() if n.startswith("good")}, {201}, "their neighbours are made")


def extremes(stack):
    client, no = stack.client(), number("*|")[:32]
    most = {"description": "茶" * 127, "attach": '"\\/' + "茶" * 125, "notify_url": stack.callback_url,
            "time_expire": "2099-12-31T15:59:59+00:00"}
    made = client.create_payment(no, 1, **most)
    is_((made.status, made.json["state"]), (201, "pending"), "127 and 128 characters, a number with * and |, an expiry in 2099")
    is_(client.create_payment(no, 1, **most).replayed, True, "the same again is the same")
    pay(stack, made.json["code_url"])
    becomes(stack, no, "succeeded", "it is paid")
    eventually(lambda: callbacks(stack, no), "and called back")
    event = callbacks(stack, no)[0]["event"]["resource"]
    is_((event["description"], event["attach"]), (most["description"], most["attach"]), "with the texts as they were said")
    # WeChat Pay takes no characters of four bytes; whatever it says, nothing hangs
    made = client.create_payment(number("E"), 1, description="😀" * 127)
    is_((made.status, made.json["description"]), (201, "😀" * 127), f"127 characters of four bytes: {made.json['state']}")


def soon(stack):
    ahead = (datetime.now(timezone.utc) + timedelta(seconds=4)).isoformat(timespec="milliseconds")
    no = number("X")
    made = stack.client().create_payment(no, 100, time_expire=ahead)
    ok(made.status in (201, 202), f"an expiry seconds ahead: {made.status}")
    becomes(stack, no, "closed", "closes by itself")
    is_(pay(stack, made.json.get("code_url", ""))[0] in (404, 409), True, "and cannot be paid any more")
    is_(state_of(stack, no), "closed", "nor moved")


def main():
    with flow_stack() as stack:
        refusals(stack)
        extremes(stack)
        soon(stack)
    done()


main()
