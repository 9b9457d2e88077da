#!/usr/bin/python3
"""R1.7, R2.1: a channel that is switched off takes no new payment, but repeating a request is still safe: it
gives the order that was made while the channel was on."""
import os
import re
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
from flow import eventually, flow_stack, number, pay, state_of  # noqa: E402
from tap import done, is_  # noqa: E402


def switch(stack, state):
    """One line in each channel's file, and a reload."""
    for file in (stack.conf / "channels").glob("*.conf"):
        file.write_text(re.sub(r"state\s+\w+;", f"state {state};", file.read_text()))
    before = set(stack.children("nginx"))
    stack.reload_nginx()
    eventually(lambda: not before & set(stack.children("nginx")), f"all of nginx says {state}")


def main():
    with flow_stack() as stack:
        client, no = stack.client(), number("O")
        made = client.create_payment(no, 888)
        is_(made.status, 201, "created while the channels are on")
        for state in ("off", "drain"):
            switch(stack, state)
            again = client.create_payment(no, 888)
            is_((again.status, again.replayed, again.json), (200, True, made.json), f"{state}: the same request gives the order")
            is_(client.create_payment(no, 889).code, "OUT_TRADE_NO_CONFLICT", f"{state}: other content is still a conflict")
            new = client.create_payment(number("N"), 888)
            is_((new.status, new.code, new.json["errors"][0]["pointer"], bool(new.verified)), (422, "NO_CHANNEL", "/method", True),
                f"{state}: a new payment is refused, signed, with the field")
        # rescue calls go on while the channel drains
        pay(stack, made.json["code_url"])
        eventually(lambda: state_of(stack, no) == "succeeded", "what was made before is paid")
        switch(stack, "on")
        is_(client.create_payment(number("N"), 888).status, 201, "on again: new payments")
    done()


main()
