#!/usr/bin/python3
"""R8.1: a sick channel is taken out of new payments by what its calls say, rescue calls go on, and it comes
back by probes and steps; the last one is kept when all are sick; routes leave out what is out."""
import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
import egress  # noqa: E402
from edge import Key, edge, payment  # noqa: E402
from egress import CHANNEL, LOCATION, bank, nginx, wait_until  # noqa: E402
from tap import done, is_, ok  # noqa: E402

OUT = (503, "CHANNEL_OUT", "no")
RESCUE = ("query", "close", "reverse", "refund", "other")
NEVER = "probe=1h step=1h"


def channel(name, url, breaker, more=""):
    return f"pay_channel {name} {{ endpoint {url}; {CHANNEL} {breaker and f'breaker {breaker};'} {more} }}\n"


def calls(n, targets, name="bank", kind="pay"):
    for target in targets:
        n.call(target, channel=name, kind=kind)


def health(n, name="bank"):
    h = n.channel(name)["health"]
    return h["state"], h["level"], h["reason"]


# ---- what takes it out: breaker, calls, and then state, level, reason ----

FINE = ("closed", "sla", "fine")
TABLE = [
    ("resets in a row", f"failures=3 {NEVER}", ["/reset"] * 3, ("open", "reachable", "failures")),
    ("one fewer", f"failures=4 {NEVER}", ["/reset"] * 3, FINE),
    ("a good one between", f"failures=3 {NEVER}", ["/reset", "/eof", "/ok"] * 4, FINE),
    ("5xx in a row", f"failures=3 {NEVER}", ["/status/500", "/status/502", "/status/503"],
     ("open", "reachable", "failures")),
    ("4xx are answers", f"failures=3 {NEVER}", ["/status/400", "/status/401", "/status/404", "/status/429"] * 3, FINE),
    ("no HTTP", f"failures=3 {NEVER}", ["/raw/garbage", "/raw/noline", "/raw/half"], ("open", "reachable", "failures")),
    ("a share", f"errors=50% calls=6 {NEVER}", ["/ok", "/reset"] * 3, ("open", "reachable", "errors")),
    ("a smaller share", f"errors=51% calls=6 {NEVER}", ["/ok", "/reset"] * 3, ("closed", "in_time", "fine")),
    ("a share of too few calls", f"errors=50% calls=7 {NEVER}", ["/ok", "/reset"] * 3, FINE),
    ("slow", f"slow=50% over=20ms calls=6 {NEVER}", ["/wait/60"] * 6, ("open", "available", "slow")),
    ("all by default", NEVER, ["/reset"] * 12, ("open", "reachable", "failures")),
    ("switched off", "off", ["/reset"] * 24, ("closed", "reachable", "fine")),
]

with bank() as b:
    text = "".join(channel(f"c{i}", b.url, row[1], "sla pay=10s;") for i, row in enumerate(TABLE))
    with nginx(text, workers=2) as n:
        for i, (name, _, targets, want) in enumerate(TABLE):
            # the last one is never taken out: there are always some that are well
            calls(n, targets, f"c{i}")
            is_(health(n, f"c{i}"), want, name)

# ---- what it means: state survives, rescue calls go on, all processes know ----

with bank() as b, nginx(channel("bank", b.url, f"failures=3 {NEVER}") + channel("gone", "http://127.0.0.1:1",
                                                                            f"failures=3 {NEVER}")
                        + channel("well", b.url, ""), workers=2) as n:
    is_(n.channel()["health"]["changed"], 0, "nothing changed yet")
    calls(n, ["/reset"] * 3)
    b.requests.clear()
    is_({n.call().short for _ in range(20)}, {OUT}, "at once, in every process: no new payment")
    is_(n.call().header("Retry-After"), "1", "with a time to try again")
    is_(len(b.requests), 0, "nothing of it reached the bank")
    for kind in RESCUE:
        is_(n.call(kind=kind).sent, "answered", f"{kind} goes on")
    is_(n.channel()["refused"]["CHANNEL_OUT"], 21, "refusals are counted")
    h = n.channel()["health"]
    is_((h["state"], h["share"], h["opened"], h["kept"], h["breaker"]), ("open", 0, 1, False, "on"), "the status tells")
    ok(h["changed"] > 1_600_000_000, "and since when", h["changed"])
    is_((h["levels"]["available"]["in_a_row_limit"], h["levels"]["available"]["percent_limit"],
         h["levels"]["in_time"]["percent_limit"], h["levels"]["sla"]["opens"]), (3, 50, 80, False), "and the table of levels")
    ok('pay_channel_breaker_state{channel="bank"} 1\n' in n.metrics()
       and 'pay_channel_level{channel="bank"} 1\n' in n.metrics()
       and 'pay_channel_share{channel="bank"} 0\n' in n.metrics(), "the metrics too")
    a = n.call(attempt=777_001)
    is_((a.short, n.call(attempt=777_001, kind="query").short), (OUT, (200, None, "answered")),
        "what was refused was not remembered as passed on")
    calls(n, ["/x"] * 3, "gone")
    is_((health(n, "gone"), n.call(channel="gone").short), (("open", "out", "unreachable"), OUT), "not reachable")
    n.reload()
    is_((health(n), n.call().short), (("open", "reachable", "failures"), OUT), "a reload changes nothing")
    n.reload(channel("bank", b.url, "off") + channel("well", b.url, ""))
    is_((health(n)[0], n.call().sent), ("closed", "answered"), "breaker off: taken back")
    said = [line for line in n.log.read_text().splitlines() if 'pay_channel "bank" is open' in line]
    ok(len(said) == 1 and "[error]" in said[0] and "failures" in said[0], "one line at level error", said)

# good queries do not hide that no payment passes
with bank() as b, nginx(channel("bank", b.url, "failures=3 probe=100ms probes=2 step=1h")) as n:
    for _ in range(3):
        calls(n, ["/ok"] * 3, kind="query")
        calls(n, ["/reset"])
    is_((n.channel()["health"]["opened"], health(n)[2]), (1, "failures"), "three payments in a row, with queries between them")
    wait_until(lambda: health(n)[0] == "probing")
    calls(n, ["/ok"] * 5, kind="query")
    is_(health(n)[0], "probing", "and queries do not call it well")
    calls(n, ["/ok"])
    is_(health(n)[0], "probing", "nor does one payment of two")
    calls(n, ["/ok"])
    is_(health(n)[0], "recovering", "two do")

# while it is probed only so many payments are let through; lost results give as many places again after each second
PROBES = "failures=3 probe=1s probes=2 step=1h"
SLOWLY = "adapter test; methods native; timeout connect=1s send=1s read=30s;"


def given(began):
    """Places for probes since then, at most."""
    return 2 * (1 + int(time.monotonic() - began))


with bank() as b, nginx(f"pay_channel bank {{ endpoint {b.url}; {SLOWLY} breaker {PROBES}; }}" + channel("well", b.url, ""),
                        workers=2) as n:
    calls(n, ["/reset"] * 3)
    began = time.monotonic()
    wait_until(lambda: health(n)[0] == "probing")
    held = [n.call_later("/hold") for _ in range(60)]
    ok(wait_until(lambda: b.targets().count("/hold") + n.channel()["refused"]["CHANNEL_OUT"] == 60), "sixty payments come")
    passed, most = b.targets().count("/hold"), given(began)
    ok(2 <= passed <= most, "probes alone are let through", f"{passed} of at most {most}")
    b.gate.set()
    is_({h.get().short for h in held}, {(200, None, "answered"), OUT}, "the others are refused")
    ok(wait_until(lambda: health(n)[0] == "recovering"), "and the probes let it recover")

# who found no place in the cap has taken none of the probes'
with bank() as b:
    def sick(cap):
        return (f"pay_channel bank {{ endpoint {b.url}; {SLOWLY} breaker {PROBES}; concurrency {cap}; }}" +
                channel("well", b.url, ""))
    with nginx(sick(1)) as n:
        calls(n, ["/reset"] * 3)
        wait_until(lambda: health(n)[0] == "probing")
        held = n.call_later("/hold", kind="query")
        wait_until(lambda: "/hold" in b.targets())
        is_({n.call().code for _ in range(5)}, {"CHANNEL_BUSY"}, "probing, but no place is free")
        n.reload(sick(10))
        is_(n.call().short, (200, None, "answered"), "who was refused then took no probe's place")
        b.gate.set()
        held.get()

# ---- and back ----

SHORT = "failures=3 probe=100ms probes=2 step=100ms"
with bank() as b, nginx(channel("bank", b.url, SHORT) + channel("well", b.url, ""), workers=2) as n:
    calls(n, ["/reset"] * 3)
    ok(wait_until(lambda: health(n)[0] == "probing"), "probing after a moment")
    calls(n, ["/reset"])
    is_((health(n)[2], n.channel()["health"]["opened"]), ("failures", 2), "a failed probe: open again")
    ok(wait_until(lambda: n.call().sent == "answered"), "a payment may probe")
    ok(wait_until(lambda: n.call(kind="query").sent == "answered" and health(n)[0] in ("recovering", "closed")),
       "a query probes as well: recovering")
    ok(wait_until(lambda: health(n) == FINE), "closed in the end")
    is_(n.call().sent, "answered", "and payments go")
    log = n.log.read_text()
    ok(all(f'pay_channel "bank" is {s}' in log for s in ("open", "probing", "recovering", "closed")), "the log tells")
    ok(all(f" {s}% of new payments" in log for s in (1, 5, 25, 100)), "in four steps")

# ---- everybody is sick: our own network ----

with bank() as b, nginx(channel("a", b.url, SHORT, "bind 127.0.0.1 127.0.0.2;") + channel("b", b.url, SHORT)) as n:
    n.call(channel="a")
    calls(n, ["/reset"] * 3, "a")
    is_(b.peers[-1], "127.0.0.1", "bind: calls leave from our address")
    ok(health(n, "a")[0] in ("open", "probing") and health(n, "b")[0] == "closed", "the first one is taken out")
    calls(n, ["/reset"] * 9, "b")
    h = n.channel("b")["health"]
    is_((h["state"], h["kept"], h["share"], h["reason"], h["level"]), ("closed", True, 100, "failures", "reachable"),
        "the last one is kept")
    is_(n.call(channel="b").sent, "answered", "and takes payments")
    ok("pay_egress_suspected_total 1\n" in n.metrics(), "our own network is suspected, once")
    crit = [line for line in n.log.read_text().splitlines() if "[crit]" in line]
    ok(len(crit) == 1 and "our own network" in crit[0], "one critical line", crit)
    ok(wait_until(lambda: n.call(channel="a", kind="query").sent == "answered" and health(n, "a")[0] == "closed"),
       "the first one comes back")
    is_(b.peers[-1], "127.0.0.2", "through the other exit")
    calls(n, ["/reset"] * 3, "b")
    ok(health(n, "b")[0] in ("open", "probing"), "then the other may be taken out")

# ---- routes ----

key = Key("K1")


def create(e, **more):
    a = e.call(key, body=payment(**more))
    r = e.payd.requests[-1]
    return a.status, r.get("pay-channels"), r.get("pay-refuse"), r.get("pay-route")


with bank() as b, edge(key, location="pay_route on;") as e:
    path = str(e.folder / "egress.sock")
    server = f"server {{ listen unix:{path}; location / {{ {LOCATION} }} }}"

    def text(a, b_):
        return channel("a", b.url, a) + channel("b", b.url, b_) + server

    def fail(name, times=3):
        for _ in range(times):
            egress.call(path, "/reset", channel=name)

    def state(name):
        return next(c for c in e.status()["channels"] if c["name"] == name)["health"]["state"]

    e.reload(http=text(f"failures=3 {NEVER}", f"failures=3 {NEVER}"))
    is_(set(create(e)[1].split(",")), {"a", "b"}, "both are well")
    fail("a")
    is_({create(e, out_trade_no=f"ORDER-{i}")[1] for i in range(20)}, {"b"}, "who is out is left out")
    ok("ill=1" in create(e)[3], "the trace tells", create(e)[3])
    is_(create(e, channel="a")[2], "CHANNEL_OUT /channel", "a wish for it: refused, for payd to tell")
    fail("b")
    is_(create(e)[1], "b", "the last one is kept")

    # alone, it is taken out
    e.reload(http=channel("c", b.url, f"failures=3 {NEVER}") + server)
    fail("c")
    is_(create(e)[1:3], (None, "CHANNEL_OUT /method"), "nothing is left")

    # probed: the first choice of as many orders as may probe
    e.reload(http=channel("f", b.url, PROBES) + channel("g", b.url, "") + server)
    fail("f")
    began = time.monotonic()
    wait_until(lambda: state("f") == "probing")
    took = [create(e, out_trade_no=f"PROBE-{i}")[1].split(",")[0] for i in range(60)].count("f")
    most = given(began)
    ok(1 <= took <= most, "who is probed is the first choice of a few", f"{took} of at most {most}")

    # coming back: a stable part of the orders
    e.reload(http=channel("d", b.url, "failures=3 probe=100ms probes=1 step=1h") + channel("e", b.url, "") + server)
    fail("d")
    wait_until(lambda: egress.call(path, "/ok", channel="d", kind="query").sent and state("d") == "recovering")
    is_(state("d"), "recovering", "one of a hundred")
    took = [i for i in range(600) if "d" in create(e, out_trade_no=f"BACK-{i}")[1]]
    ok(0 < len(took) < 30, "about one of a hundred may go there", len(took))
    is_([i for i in range(600) if i % 50 == 0 or i in took if ("d" in create(e, out_trade_no=f"BACK-{i}")[1]) != (i in took)],
        [], "always the same")

    # and all of them when there is no other
    e.reload(http=channel("d", b.url, "failures=3 probe=100ms probes=1 step=1h") + server)
    is_({create(e, out_trade_no=f"BACK-{i}")[1] for i in range(40)}, {"d"}, "the only one takes all")

done()
