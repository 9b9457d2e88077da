#!/usr/bin/python3
"""R1.7, R1.16: states by kind of call, send-before, attempts that are passed on once, wrong headers."""
import os
import re
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
from egress import CHANNEL, attempts, bank, nginx, wait_until  # noqa: E402
from tap import done, is_, ok  # noqa: E402

KINDS = ("pay", "query", "close", "reverse", "refund", "other")
OFF = (503, "CHANNEL_OFF", "no")
OK = (200, None, "answered")
LATE = (409, "SEND_TOO_LATE", "no")
SEEN = (409, "ALREADY_PASSED", "maybe")
INVALID = (400, "ATTEMPT_INVALID", "no")
UNKNOWN = (404, "CHANNEL_UNKNOWN", "no")

with bank() as b:
    channels = "".join(f"pay_channel {state} {{ state {state}; endpoint {b.url}; {CHANNEL} }}\n"
                       for state in ("on", "off", "drain", "block")) \
        + f"pay_channel bank {{ endpoint {b.url}; {CHANNEL} concurrency 2; }}\n"

    with nginx(channels, workers=2, http="client_body_timeout 2s;") as n:
        for state in ("on", "off", "drain", "block"):
            for kind in KINDS:
                want = OFF if state == "block" or (state in ("off", "drain") and kind == "pay") else OK
                is_(n.call(channel=state, kind=kind).short, want, f"{state}: {kind}")
            is_(n.channel(state)["state"], state, f"{state} is shown")
        is_(len(b.requests), 16, "the bank saw those that were let through")

        # one line and a reload
        n.reload(re.sub("state on;", "state block;", channels))
        is_(n.call(channel="on", kind="query").short, OFF, "switched by a reload")
        n.reload(channels)
        is_(n.call(channel="on", kind="query").short, OK, "and back")

        # send-before
        b.requests.clear()
        is_(n.call(before=-1).short, LATE, "a microsecond too late")
        is_(n.call(before=-10**9).short, LATE, "far too late")
        is_(n.call(before=-10**9, kind="query").short, LATE, "queries too")
        is_(n.call(before=200_000).short, OK, "in time")
        is_(n.call(before=601 * 10**6).short, INVALID, "more than ten minutes ahead is a mistake")
        is_(b.targets(), ["/ok"], "late ones did not reach the bank")

        # attempts
        b.requests.clear()
        id_ = next(attempts)
        is_(n.call(attempt=id_).short, OK, "an attempt")
        is_(n.call(attempt=id_).short, SEEN, "again: maybe sent, and not passed on")
        is_(n.call(attempt=id_, before=-1).short, SEEN, "again and late: still maybe sent")
        is_(n.call(attempt=id_, channel="off").short, SEEN, "again on a channel that is off: still maybe sent")
        is_(n.call(attempt=id_, channel="nobody").short, SEEN, "again on an unknown channel: still maybe sent")
        is_(n.call(attempt=id_, without=("Pay-Kind",)).short, SEEN, "again without a kind: still maybe sent")
        id2 = next(attempts)
        is_(n.call(attempt=id2, before=-1).short, LATE, "an attempt that was late")
        is_(n.call(attempt=id2, channel="off").short, OFF, "and then off")
        is_(n.call(attempt=id2).short, OK, "was not passed on and may still be")
        n.reload()
        is_(n.call(attempt=id2).short, SEEN, "attempts survive a reload")
        id3 = next(attempts)
        is_(n.call("/reset", attempt=id3).sent, "maybe", "an attempt that the bank reset")
        is_(n.call("/reset", attempt=id3).short, SEEN, "is not passed on again")
        is_(b.targets(), ["/ok", "/ok", "/reset"], "the bank saw each attempt once")

        b.requests.clear()
        results = []
        for i in range(40):
            id_ = next(attempts)
            start = threading.Barrier(2)

            def both():
                start.wait()
                results.append(n.call(attempt=id_).short)

            two = [threading.Thread(target=both) for _ in range(2)]
            [t.start() for t in two]
            [t.join() for t in two]
        is_((results.count(OK), results.count(SEEN)), (40, 40), "of two at once one is passed on, over two processes")
        is_(len(b.requests), 40, "and the bank saw one")

        # a repeated attempt while the channel is full is still "maybe"
        id_ = next(attempts)
        first = n.call_later("/hold", attempt=id_)
        wait_until(lambda: n.channel()["in_flight"] == 1)
        is_(n.call().short, (503, "CHANNEL_BUSY", "no"), "full")
        is_(n.call(attempt=id_).short, SEEN, "an attempt in flight, again, on a full channel")
        b.gate.set()
        first.get()

        # wrong headers
        b.requests.clear()
        is_(n.call(channel="nobody").short, UNKNOWN, "unknown channel")
        is_(n.call(channel="").short, UNKNOWN, "empty channel")
        is_(n.call(without=("Pay-Channel",)).short, UNKNOWN, "no channel")
        for name in ("Pay-Attempt", "Pay-Kind", "Pay-Send-Before"):
            is_(n.call(without=(name,)).short, INVALID, f"no {name}")
        for value in ("0", "-1", "x", "1x", "1.0", "99999999999999999999", "0x10", "+1"):
            is_(n.call(attempt=value).short, INVALID, f"attempt {value}")
        is_(n.call(kind="PAY").short, INVALID, "unknown kind")
        is_(n.call(headers=("Pay-Channel: on",)).short, INVALID, "two channels")
        is_(n.call(headers=("pay-attempt: 7",)).short, INVALID, "two attempts")
        is_(n.call(without=("Pay-Send-Before",), headers=("Pay-Send-Before: soon",)).short, INVALID, "send-before soon")
        for value in ("", "-1", "twice"):
            is_(n.call(headers=(f"Pay-Not-Sent: {value}",)).short, INVALID, f"refused before: {value!r}")
        is_(b.requests, [], "none of them reached the bank")
        is_(n.metrics().count('pay_egress_refused_total{code="CHANNEL_UNKNOWN"} 3\n'), 1, "refusals are counted")

    # a small memory of attempts: when it is full nothing is passed on
    b.requests.clear()
    with nginx(channels, http="pay_attempts 128;") as n:
        is_({n.call(channel="on").short for _ in range(128)}, {OK}, "128 attempts fit into 128 places")
        is_(n.call(channel="on").short, (503, "CHANNEL_BUSY", "no"), "one more is refused as not sent")
        is_((len(b.requests), n.channel("on")["in_flight"]), (128, 0), "and not passed on, and holds no place")

    # ... and half of it is there for ids that are made without gaps
    b.requests.clear()
    with nginx(channels, http="pay_attempts 2048;") as n:
        is_({n.call(channel="on", attempt=str(7_000_000 + i)).short for i in range(1024)}, {OK}, "half of the places can be used")

    # late while connecting: the time is checked again when the first byte is about to leave
    import socket as so
    with so.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        # fill the backlog so that the connect hangs
        fill = [so.socket() for _ in range(3)]
        for f in fill:
            f.setblocking(False)
            f.connect_ex(full.getsockname())
        with nginx(f"pay_channel bank {{ endpoint http://127.0.0.1:{full.getsockname()[1]}; {CHANNEL} }}") as n:
            a = n.call(before=100_000)
            is_((a.status, a.sent), (504, "no"), "connecting does not last longer than the call may wait")
            is_(n.channel()["in_flight"], 0, "nothing in flight")
        [f.close() for f in fill]

done()
