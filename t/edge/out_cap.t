#!/usr/bin/python3
"""R1.7, R1.8: caps are exact at the bank over all nginx processes, a part is reserved for rescue calls,
and no place leaks: client abort, kill -9, reload. Counters survive reloads."""
import contextlib
import os
import signal
import socket
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
from egress import CHANNEL, SLOW, bank, nginx, request, wait_until  # noqa: E402
from processes import KILLED  # noqa: E402
from tap import done, is_, ok  # noqa: E402

SLOWLY = "adapter test; methods native; timeout connect=1s send=1s read=30s;"


def storm(n, target, threads, calls, kind):
    """Many calls from many threads; how often each status came."""
    seen, lock = {}, threading.Lock()

    def run():
        for _ in range(calls):
            a = n.call(target, kind=kind)
            with lock:
                key = (a.status, a.code, a.sent)
                seen[key] = seen.get(key, 0) + 1

    all_ = [threading.Thread(target=run) for _ in range(threads)]
    [t.start() for t in all_]
    [t.join() for t in all_]
    return seen


BUSY = (503, "CHANNEL_BUSY", "no")
OK = (200, None, "answered")

# exact at the bank, two processes
with bank() as b, nginx(f"pay_channel bank {{ endpoint {b.url}; {CHANNEL} concurrency 10; }}", workers=2) as n:
    for kind, cap in (("pay", 8), ("query", 10)):
        b.most = 0
        seen = storm(n, "/wait/5", 24, 25, kind)
        is_(set(seen) <= {OK, BUSY}, True, f"{kind}: answered or busy {seen}")
        is_(b.most, cap, f"{kind}: the bank saw {cap} open calls at most, and as many")
        is_(len(b.requests), seen[OK], f"{kind}: refused calls did not reach it")
        b.requests.clear()
    c = n.channel()
    is_((c["in_flight"], c["in_pay"], c["cap"], c["pay_cap"]), (0, 0, 10, 8), "all places are free again")
    is_(c["sent"]["answered"], sum(c["calls"].values()), "every call was answered")

# the reserve
with bank() as b, nginx(f"""pay_channel bank {{ endpoint {b.url}; {SLOWLY} concurrency 10; }}
                            pay_channel half {{ endpoint {b.url}; {SLOWLY} concurrency 4 reserve=50%; }}
                            pay_channel all {{ endpoint {b.url}; {SLOWLY} concurrency 2 reserve=0%; }}
                            pay_channel one {{ endpoint {b.url}; {SLOWLY} concurrency 1; }}
                            pay_channel odd {{ endpoint {b.url}; {SLOWLY} concurrency 3 reserve=50%; }}""") as n:
    held = []

    def hold(count, channel, kind):
        before = n.channel(channel)["in_flight"]
        held.extend(n.call_later("/hold", channel=channel, kind=kind) for _ in range(count))
        return wait_until(lambda: n.channel(channel)["in_flight"] == before + count)

    ok(hold(8, "bank", "pay"), "eight payments at a cap of ten")
    a = n.call("/x")
    is_((a.short, a.header("Retry-After"), a.header("Content-Type")), (BUSY, "1", "application/problem+json"),
        "the ninth is busy, not sent")
    ok(hold(1, "bank", "refund") and hold(1, "bank", "close"), "a refund and a close get the rest")
    for kind in ("query", "reverse", "other", "refund", "pay"):
        is_(n.call("/x", kind=kind).short, BUSY, f"then {kind} is busy too")
    ok(hold(2, "half", "pay"), "reserve=50%: half of the places")
    is_(n.call("/x", channel="half").short, BUSY, "and no more")
    ok(hold(2, "all", "pay"), "reserve=0%: all places")
    is_(n.call("/x", channel="all", kind="query").short, BUSY, "and nothing is left for a query")
    ok(hold(1, "one", "pay"), "a cap of one takes one payment")
    ok(hold(1, "odd", "pay"), "half of three is one for payments")
    is_(n.call("/x", channel="odd").short, BUSY, "and not two")
    ok(hold(2, "odd", "query"), "the rest is for queries")
    is_(b.targets().count("/x"), 0, "nothing of what was refused reached the bank")
    b.gate.set()
    is_({h.get().short for h in held}, {OK}, "those that were let in are answered")
    is_([n.channel(c)["in_flight"] + n.channel(c)["in_pay"] for c in ("bank", "half", "all", "one", "odd")], [0] * 5,
        "all places are free")
    is_(n.channel()["refused"]["CHANNEL_BUSY"], 6, "refusals are counted")

# client aborts
with bank() as b, nginx(f"pay_channel bank {{ endpoint {b.url}; {CHANNEL} concurrency 5 reserve=0%; }}",
                        workers=2) as n:
    for reset in (False, True):
        for _ in range(30):
            with socket.socket(socket.AF_UNIX) as s:
                s.connect(n.egress)
                s.sendall(request("/wait/2"))
                if reset:
                    s.shutdown(socket.SHUT_RDWR)
    for cut in (10, 60, -1):
        with socket.socket(socket.AF_UNIX) as s:
            s.connect(n.egress)
            s.sendall(request("/never")[:cut])
    ok(wait_until(lambda: n.channel()["in_flight"] == 0), "aborting workers leak nothing")
    is_(b.targets().count("/never"), 0, "a request that was not complete is not passed on")
    is_(storm(n, "/ok", 5, 10, "pay"), {OK: 50}, "five places are there")

# kill -9 and reload
CHANNELS = "pay_channel bank {{ endpoint {}; {} concurrency 4 reserve=0%; }}"
with bank() as b, nginx(CHANNELS.format(b.url, SLOWLY), workers=2, alerts=KILLED) as n:
    held = [n.call_later("/hold") for _ in range(4)]
    wait_until(lambda: len(b.requests) == 4)
    is_(n.channel()["in_flight"], 4, "four in flight")
    is_(n.call().short, BUSY, "full")
    for pid in n.workers():
        os.kill(pid, signal.SIGKILL)
    ok(wait_until(lambda: len(n.workers()) == 2 and n.channel()["in_flight"] == 0),
       "killed processes' places are given back when their successors start")
    [h.get() for h in held]
    b.gate.set()
    is_([n.call().short for _ in range(4)], [OK] * 4, "and can be used")

    # an old process, killed while it shuts down, has no successor in its slot
    b.gate.clear()
    b.requests.clear()
    held = [n.call_later("/hold") for _ in range(4)]
    wait_until(lambda: len(b.requests) == 4)
    old = n.workers()
    calls = n.channel()["calls"]["pay"]
    n.reload()
    is_(n.channel()["in_flight"], 4, "calls of the old processes count after a reload")
    is_(n.call().short, BUSY, "still full")
    is_(n.channel()["calls"]["pay"], calls, "counters survive")
    for pid in old:
        with contextlib.suppress(ProcessLookupError):  # one without a call has ended by itself
            os.kill(pid, signal.SIGKILL)
    ok(wait_until(lambda: n.call().short == OK), "killed old processes' places are found")
    [h.get() for h in held]
    b.gate.set()
    is_(n.channel()["in_flight"], 0, "all free")

    # reload in mid-call, with another cap and another channel
    b.gate.clear()
    b.requests.clear()
    held = [n.call_later("/hold") for _ in range(4)]
    wait_until(lambda: len(b.requests) == 4)
    n.reload(f"pay_channel first {{ endpoint {b.url}; {CHANNEL} }}"
             + CHANNELS.format(b.url, SLOWLY).replace("concurrency 4", "concurrency 6"))
    is_((n.channel()["in_flight"], n.channel()["cap"]), (4, 6), "a raised cap, the same calls")
    is_(n.channel("first")["in_flight"], 0, "a new channel in front of it has its own row")
    more = [n.call_later("/hold") for _ in range(2)]
    wait_until(lambda: n.channel()["in_flight"] == 6)
    is_(n.call().short, BUSY, "the raised cap holds over both generations")
    n.reload(f"pay_channel first {{ endpoint {b.url}; {CHANNEL} }}")
    is_(n.call().short, (404, "CHANNEL_UNKNOWN", "no"), "a channel that was taken out is unknown")
    b.gate.set()
    is_({h.get().short for h in held + more}, {OK}, "its calls in flight were untouched")
    n.reload(CHANNELS.format(b.url, SLOWLY))
    is_((n.channel()["in_flight"], n.channel()["calls"]["pay"] >= calls + 6), (0, True),
        "when it comes back its counters are there")

# reloads under load
with bank() as b, nginx(f"pay_channel bank {{ endpoint {b.url}; {CHANNEL} concurrency 20 reserve=0%; }}",
                        workers=2) as n:
    seen = {}
    load = [threading.Thread(target=lambda: [seen.update({k: seen.get(k, 0) + v}) for k, v in
                                             storm(n, "/wait/3", 1, 120, "pay").items()]) for _ in range(8)]
    [t.start() for t in load]
    for _ in range(3):
        n.reload()
    [t.join() for t in load]
    is_(set(seen), {OK}, f"three reloads under load: every call answered {seen}")
    ok(wait_until(lambda: n.channel()["in_flight"] == 0), "nothing left in flight")
    is_(n.channel()["calls"]["pay"], len(b.requests), "the count is the bank's")

done()
