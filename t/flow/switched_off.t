#!/usr/bin/python3
"""R1.7, R2.1: a channel that is switched off takes no new payment, but repeating a request is still safe: it
gives the order that was made while the channel was on."""
import json
import os
import pwd
import re
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
from flow import eventually, flow_stack, number, pay, state_of  # noqa: E402
from tap import done, is_, like  # noqa: E402


def switch(stack, state):
    """One line in each channel's file, and a reload."""
    for file in (stack.conf / "channels").glob("*.conf"):
        file.write_text(re.sub(r"state\s+\w+;", f"state {state};", file.read_text()))
    before = set(stack.children("nginx"))
    stack.reload_nginx()
    eventually(lambda: not before & set(stack.children("nginx")), f"all of nginx says {state}")


def channel(stack, *args):
    """Exit status, what payctl printed, and what it complained about."""
    done = subprocess.run([str(stack.build / "payctl"), "-c", str(stack.conf / "payd.conf"), *args],
                          capture_output=True, text=True)
    return done.returncode, done.stdout, done.stderr


def operator(stack, client):
    """payctl does the same at once, without a reload."""
    names = [file.stem for file in (stack.conf / "channels").glob("*.conf")]
    made = client.create_payment(number("P"), 888)
    for name in names:
        status, out, _ = channel(stack, "channel", "off", name, "--reason", "its network fails")
        is_(status, 0, f"payctl channel off {name}")
        like(out, rf"(?m)^{name} +off +on .*its network fails$", "shows state, configured state and why")
    user = pwd.getpwuid(os.getuid()).pw_name
    _, out, _ = channel(stack, "channel", "list")
    is_([line.split()[:3] for line in out.splitlines()[1:]], [[n, "off", "on"] for n in sorted(names)], "payctl channel list")
    like(out, rf" off +{user} +20\d\d-", "with who and when")
    is_(client.create_payment(number("N"), 888).code, "NO_CHANNEL", "new payments are refused")
    pay(stack, made.json["code_url"])
    eventually(lambda: state_of(stack, made.json["out_trade_no"]) == "succeeded", "what was made is paid")
    _, out, _ = channel(stack, "--json", "channel", "show", names[0])
    shown = json.loads(out)
    is_((shown["state"], shown["switch"]["user"], shown["switch"]["uid"]), ("off", user, os.getuid()), "--json has name and number")
    for state in ("drain", "block", "on", "reset"):
        status, out, _ = channel(stack, "channel", state, names[0])
        is_((status, out.splitlines()[1].split()[1]), (0, "on" if state == "reset" else state), f"payctl channel {state}")
    is_(len(json.loads(channel(stack, "--json", "channel", "list")[1])), len(names), "--json channel list is a list")
    is_(client.create_payment(number("N"), 888).status, 201, "a new payment passes")
    for args, status, text in ((("channel", "off", "none"), 1, "No such channel"),
                               (("channel", "off", "../x"), 1, "is not 1..32 of"),
                               (("channel", "off"), 2, "usage"), (("channel", "away", names[0]), 2, "usage"),
                               (("channel", "off", names[0], "--reason", "x" * 300), 1, "at most 200 bytes"),
                               (("--control", "unix:/nowhere", "channel", "list"), 1, "/nowhere: No such file")):
        got = channel(stack, *args)
        is_((got[0], text in got[2]), (status, True), f"payctl {' '.join(args)[:40]}: {text}")
    alone = subprocess.run([str(stack.build / "payctl"), "--control", f"unix:{stack.sockets}/control.sock", "channel", "list"],
                           capture_output=True, text=True)
    is_((alone.returncode, len(alone.stdout.splitlines())), (0, 1 + len(names)), "a machine without payd.conf has --control")


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
        operator(stack, client)
    done()


main()
