#!/usr/bin/python3
"""R1.7: channels are switched at run time over the control socket: at once in every process, by those who may,
beside what the configuration says. Calls that rescue payments go on; calls in flight are untouched."""
import datetime
import os
import re
import sys
import time
import zlib

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
from egress import CHANNEL, Nginx, bank, nginx, wait_until  # noqa: E402
from processes import KILLED  # noqa: E402
from tap import done, is_, like, ok, skip  # noqa: E402

OFF = (503, "CHANNEL_OFF", "no")
OK = (200, None, "answered")
RESCUE = ("query", "close", "reverse", "refund", "other")
NOBODY = 65534


def workers_say(n, kind, want, calls=12):
    """The same answer from every process."""
    return is_({n.call(kind=kind).short for _ in range(calls)}, {want}, f"{kind}: {want[1] or 'passes'} in all processes")


def states(n):
    """Of the channels that have a block."""
    return {c["name"]: (c["state"], c["configured"]) for c in n.control("GET", "/channels").json["channels"] if "state" in c}


# what each state lets through, in three processes
with bank() as b, nginx(f"""pay_channel bank {{ endpoint {b.url}; {CHANNEL} }}
                            pay_channel shut {{ endpoint {b.url}; {CHANNEL} state off; }}""", workers=3) as n:
    is_(states(n), {"bank": ("on", "on"), "shut": ("off", "off")}, "as configured")
    held = n.call_later("/hold")
    ok(wait_until(lambda: b.targets() == ["/hold"]), "a payment is under way")
    for state, pay, rescue in (("off", OFF, OK), ("drain", OFF, OK), ("block", OFF, OFF), ("on", OK, OK)):
        began = int(time.time())
        a = n.switch(state, reason=f"try {state}")
        is_((a.status, a.header("Content-Type"), a.json["state"], a.json["configured"]),
            (200, "application/json", state, "on"), f"switched {state}")
        is_((a.json["switch"]["uid"], a.json["switch"]["reason"]), (os.getuid(), f"try {state}"), "by whom and why")
        like(a.json["switch"]["at"], r"^20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\+08:00$", "and when")
        at = datetime.datetime.fromisoformat(a.json["switch"]["at"]).timestamp()
        ok(began <= at <= time.time(), "which is now", a.json["switch"]["at"])
        workers_say(n, "pay", pay)
        is_({n.call(kind=k).short for k in RESCUE}, {rescue}, f"{state}: {', '.join(RESCUE)}")
        c = n.channel()
        is_((c["state"], c["configured"], c["switch"]["uid"], c["switch"]["reason"]),
            (state, "on", os.getuid(), f"try {state}"), "the status page shows both, who and why")
        like(n.metrics(), r'pay_channel_switched\{channel="bank"\} 1\n', "and the metrics that it is switched")
    n.switch("block")
    b.gate.set()
    is_(held.get().short, OK, "the payment under way was untouched")
    is_(n.switch("on", "shut").json["configured"], "off", "one that is configured off is switched on")
    is_(n.call(channel="shut").short, OK, "and takes payments")

    # a reload keeps switches, whatever the files say
    n.reload()
    is_(states(n), {"bank": ("block", "on"), "shut": ("on", "off")}, "a reload keeps the switches")
    workers_say(n, "query", OFF)
    is_("switch" in n.switch("config").json, False, "config takes the switch away")
    is_(states(n)["bank"], ("on", "on"), "and the channel is as configured")
    workers_say(n, "pay", OK)

# the socket itself
with bank() as b, nginx(f"pay_channel bank {{ endpoint {b.url}; {CHANNEL} }}") as n:
    def refused(method, target, body, status, code, name, pointer=None):
        a = n.control(method, target, body)
        got = (a.status, a.code, a.header("Content-Type"), a.json.get("errors", [{}])[0].get("pointer"))
        is_(got, (status, code, "application/problem+json", pointer), name)

    path = "/channels/bank/state"
    refused("GET", "/", None, 404, "PATH_UNKNOWN", "no such path")
    refused("GET", "/channels/bank/state", None, 405, "METHOD_NOT_ALLOWED", "a state is put")
    refused("POST", path, {"state": "off"}, 405, "METHOD_NOT_ALLOWED", "and not posted")
    refused("GET", "/channels/", None, 404, "PATH_UNKNOWN", "no name")
    refused("GET", "/channels/none", None, 404, "CHANNEL_UNKNOWN", "no such channel")
    refused("PUT", "/channels/none/state", {"state": "off"}, 404, "CHANNEL_UNKNOWN", "nor to switch")
    for body in (b"", b"{", b'{"state":"off","state":"on"}', b'{"state":"off"} x', b"\xff"):
        refused("PUT", path, body, 400, "JSON_INVALID", f"{body!r} is not JSON")
    for body, code, pointer in (([], "FIELD_TYPE", ""), ({}, "FIELD_MISSING", "/state"),
                                ({"state": "off", "x": 1}, "FIELD_UNKNOWN", ""),
                                ({"state": "OFF"}, "FIELD_INVALID", "/state"),
                                ({"state": 1}, "FIELD_INVALID", "/state"),
                                ({"state": {}}, "FIELD_INVALID", "/state"),
                                ({"state": "off", "reason": 1}, "FIELD_INVALID", "/reason"),
                                ({"state": "off", "reason": "a\nb"}, "FIELD_INVALID", "/reason"),
                                ({"state": "off", "reason": "r" * 201}, "FIELD_INVALID", "/reason")):
        refused("PUT", path, body, 400, code, f"{str(body)[:40]}", pointer)
    refused("PUT", path, {"state": "x" * 300000}, 413, "BODY_TOO_LARGE", "a body of 300 KB")
    is_(n.channel()["state"], "on", "none of that switched anything")
    big = n.control("PUT", path, {"reason": "原因" * 33, "state": "off"})
    is_((big.status, big.json["switch"]["reason"]), (200, "原因" * 33), "200 bytes of reason")
    odd = '"\\</>\u2028' * 20
    n.switch("off", reason=odd)
    is_((n.channel()["switch"]["reason"], n.control("GET", "/channels/bank").json["switch"]["reason"]), (odd, odd),
        "any text comes back as it was")
    ok("pay_channel \"bank\" switched off" in n.log.read_text(), "the log tells who switched")
    n.switch("config")

    # who may
    if os.getuid() == 0:
        a = n.control("PUT", path, {"state": "off"}, uid=NOBODY)
        is_((a.status, a.code), (403, "FORBIDDEN"), "a stranger may not switch")
        is_(n.control("GET", "/channels", uid=NOBODY).status, 200, "but look")
        is_(n.channel()["state"], "on", "nothing was switched")
        for users in ("nobody", str(NOBODY), f"root {NOBODY}"):
            n.reload(f"pay_channel bank {{ endpoint {b.url}; {CHANNEL} }}", control=f"pay_control_users {users};")
            a = n.control("PUT", path, {"state": "off"}, uid=NOBODY)
            is_((a.status, a.json["switch"]["uid"]), (200, NOBODY), f"pay_control_users {users}")
    else:
        skip("who may", "not root")

# over restarts
def lines(n):
    return (n.folder / "state").read_text().splitlines()


BLOCKS = """pay_channel bank {{ endpoint {0}; {1} }} pay_channel shut {{ endpoint {0}; {1} state off; }}
            pay_channel third {{ endpoint {0}; {1} }}"""
STATE = "pay_state_file state;"
LOST = "the switches in .* cannot be read"

with bank() as b, nginx(BLOCKS.format(b.url, CHANNEL), http=STATE, detached=True, workers=2,
                        alerts=(*KILLED, "cannot be read", "socket")) as n:
    text = BLOCKS.format(b.url, CHANNEL)
    is_((n.folder / "state").exists(), False, "no file before the first switch")
    is_(n.switch("off", reason="bank says so").json["kept"], True, "the file is written")
    is_(n.switch("on", "shut").json["kept"], True, "twice")
    is_(len(lines(n)), 4, "a line each, a first and a last one")
    like(lines(n)[1], rf"^bank off \d+ {os.getuid()} bank says so$", "who, when and why")
    before = {c["name"]: c.get("switch") for c in n.control("GET", "/channels").json["channels"]}

    # a new binary: both act on a switch at once, whoever took it
    old = n.upgrade()
    is_(states(n), {"bank": ("off", "on"), "shut": ("on", "off"), "third": ("on", "on")}, "a new binary knows the switches")
    for state, want in (("block", OFF), ("on", OK), ("off", OFF)):
        n.switch(state)
        workers_say(n, "pay", want, calls=24)
    n.switch("off", reason="bank says so")
    before = {c["name"]: c.get("switch") for c in n.control("GET", "/channels").json["channels"]}
    old.send_signal(3)
    old.wait()
    is_(states(n)["bank"], ("off", "on"), "and when the old one has gone")

    # kill -9 of everything
    n.kill()
    n.start()
    is_({c["name"]: c.get("switch") for c in n.control("GET", "/channels").json["channels"]}, before,
        "a restart finds them, with who, when and why")
    is_(n.call().short, OFF, "and they act")

    # somebody else's, of long ago
    n.kill()
    said = re.sub(r"(?m)^bank off \d+ \d+ ", "bank off 1700000000 4242 ", (n.folder / "state").read_text()).splitlines(True)
    said[-1] = f"end {len(said) - 2} {zlib.crc32(''.join(said[:-1]).encode()):08x}\n"
    (n.folder / "state").write_text("".join(said))
    n.start()
    is_(n.control("GET", "/channels/bank").json["switch"],
        {"state": "off", "at": "2023-11-15T06:13:20+08:00", "uid": 4242, "reason": "bank says so"}, "one by somebody else, long ago")
    is_(n.channel()["switch"]["uid"], 4242, "the status page shows it")
    is_(n.switch("off", "shut").json["kept"], True, "when another is switched")
    like((n.folder / "state").read_text(), r"\nbank off 1700000000 4242 bank says so\n", "it is written again as it was")
    n.switch("on", "shut")

    # a block that is away for a while
    n.reload(f"pay_channel third {{ endpoint {b.url}; {CHANNEL} }}")
    away = {c["name"]: c for c in n.control("GET", "/channels").json["channels"]}
    is_((away["bank"]["switch"]["state"], "state" in away["bank"]), ("off", False), "a switch of a block that is away is shown")
    n.switch("off", "third")
    n.kill()
    n.start()
    n.reload(text)
    is_(states(n), {"bank": ("off", "on"), "shut": ("on", "off"), "third": ("off", "on")}, "and waits for it")
    n.reload(f"pay_channel third {{ endpoint {b.url}; {CHANNEL} }}")
    is_(n.switch("config").status, 200, "it can be taken away")
    is_(n.switch("config").status, 404, "then it is unknown")
    n.reload(text)
    is_(states(n)["bank"], ("on", "on"), "and the block comes back as configured")
    n.switch("off")

    # damage: nothing opens because of it
    good = (n.folder / "state").read_text()
    closed = {"bank": ("off", "on"), "shut": ("off", "off"), "third": ("off", "on")}
    for name, damaged, want in (
            ("cut off", good[:-12], closed),
            ("without a line", re.sub("third .*\n", "", good), {**closed, "third": ("drain", "on")}),
            ("another word", good.replace("third off", "third on"), {**closed, "third": ("drain", "on")}),
            ("an unknown state", good.replace("third off", "third of"), {**closed, "third": ("drain", "on")}),
            ("another name", good.replace("third off", "thirt off"), {**closed, "third": ("drain", "on")}),
            ("a later version", good.replace("switches 1", "switches 2"), closed),
            ("empty", "", {"bank": ("drain", "on"), "shut": ("off", "off"), "third": ("drain", "on")}),
            ("garbage", "\0\xff" * 99, {"bank": ("drain", "on"), "shut": ("off", "off"), "third": ("drain", "on")}),
            ("too long", good * 5000, None)):
        n.kill()
        (n.folder / "state").write_text(damaged)
        seen = len(n.log.read_text())
        n.start()
        like(n.log.read_text()[seen:], rf"\[alert\].*{LOST}.*take no new payments until", f"{name}: an alert says what is safe")
        if want:
            is_(states(n), want, f"{name}: nothing is open because of it")
            is_((n.call(channel="third").short, n.call(channel="third", kind="query").short), (OFF, OK), "queries go on")
    c = next(c for c in n.control("GET", "/channels").json["channels"] if c["name"] == "third")
    is_(c["kept"], False, "what is in force is not what the file says")
    n.kill()
    (n.folder / "state").write_text("x")
    n.start()
    like(n.control("GET", "/channels/third").json["switch"].get("reason"), "damaged", "the channel shows why")
    is_("uid" in n.control("GET", "/channels/third").json["switch"], False, "and that it was nobody")
    is_(n.switch("config", "third").json["kept"], True, "the next switch writes the file anew")
    is_(n.call(channel="third").short, OK, "and opens what it names")
    n.kill()
    n.start()
    is_(states(n), {"bank": ("drain", "on"), "shut": ("off", "off"), "third": ("on", "on")}, "the others stay closed")

    # nowhere to write
    (n.folder / "state.new").mkdir()
    a = n.switch("off", "third")
    is_((a.status, a.json["state"], a.json["kept"]), (200, "off", False), "in force at once, but not kept")
    like(n.log.read_text(), r"\[crit\].*a restart forgets what was switched", "the log says so")
    (n.folder / "state.new").rmdir()
    is_(n.switch("drain").json["kept"], True, "the next one keeps both")
    n.kill()
    n.start()
    is_((states(n)["third"], states(n)["bank"]), (("off", "on"), ("drain", "on")), "both are there")

# where it may stand
TCP = "server { listen 127.0.0.1:1; location / { pay_control on; } }"
for http, reason in ((TCP, 'unix sockets and nothing else in .*nginx.conf:'),
                     ("server { listen unix:x.sock; listen 127.0.0.1:1; location / { pay_control on; } }", "unix sockets"),
                     ("server { location /a { location /a/b { pay_control on; } } }", "unix sockets"),
                     ("pay_control on;", "not allowed here"),
                     ("pay_control_users no-such-user;", 'no user "no-such-user" on this machine in .*:'),
                     ("pay_control_users root; pay_control_users root;", "duplicate"),
                     ("pay_control_users;", "number of arguments"),
                     ("pay_state_file x/;", '"x/" is no name of a file in .*:'),
                     ("pay_state_file a; pay_state_file b;", "duplicate")):
    n = Nginx("", http=http)
    like(n.test(), r"\[emerg\].*" + reason, f"{http[:60]}")
is_(Nginx("", http=TCP.replace("on;", "off;")).test(), "", "off may stand anywhere")

done()
