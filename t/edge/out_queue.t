#!/usr/bin/python3
"""R1.8: in front of a full cap calls wait, in order, for a bounded time and in bounded number; queries, refunds and
closes never wait behind payments; nothing that leaves the queue was sent."""
import contextlib
import os
import signal
import socket
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
from egress import Nginx, bank, nginx, request, wait_until  # noqa: E402
from processes import KILLED  # noqa: E402
from tap import done, is_, like, ok  # noqa: E402

BUSY = (503, "CHANNEL_BUSY", "no")
LATE = (409, "SEND_TOO_LATE", "no")
OFF = (503, "CHANNEL_OFF", "no")
OK = (200, None, "answered")
BLOCK = "pay_channel bank {{ endpoint {}; adapter test; methods native; timeout connect=1s send=1s read=30s; {} }}"


def block(b, more):
    return BLOCK.format(b.url, more)


def fill(n, b, count, kind="pay"):
    """Calls that hold their places until the gate opens."""
    before = len(b.requests)
    calls = [n.call_later("/hold", kind=kind) for _ in range(count)]
    ok(wait_until(lambda: len(b.requests) == before + count), f"{count} places are taken")
    return calls


def waits(n, count):
    return wait_until(lambda: n.channel()["waiting"] == count)


def idle(n):
    c = n.channel()
    return is_((c["in_flight"], c["in_pay"], c["waiting"]), (0, 0, 0), "nobody waits, all places are free")


# a short peak waits instead of failing; the cap holds
with bank() as b, nginx(block(b, "concurrency 4 reserve=50%; queue 100 timeout=10s;"), workers=3) as n:
    for kind, cap in (("pay", 2), ("query", 4)):
        b.most = 0
        calls = [n.call_later("/wait/5", kind=kind, before=20_000_000) for _ in range(60)]
        is_({c.get().short for c in calls}, {OK}, f"{kind}: sixty calls at once, all are answered")
        is_(b.most, cap, f"{kind}: the bank never saw more than {cap} at once")
    idle(n)

# first come, first served, over all processes
with bank() as b, nginx(block(b, "concurrency 1 reserve=0%; queue 12 timeout=10s;"), workers=4) as n:
    held = fill(n, b, 1)
    calls = []
    for i in range(12):
        calls.append(n.call_later(f"/ok?{i}", before=20_000_000))
        ok(waits(n, i + 1), f"call {i} waits")
    is_(n.call("/ok?more").short, BUSY, "one more than the queue has places: busy at once")
    is_(n.channel()["waiting"], 12, "it did not push out another one")
    like(n.metrics(), r'pay_channel_waiting\{channel="bank"\} 12\n', "the metrics show who waits")
    b.gate.set()
    is_({c.get().short for c in held + calls}, {OK}, "then all are answered")
    is_(b.targets(), ["/hold"] + [f"/ok?{i}" for i in range(12)], "in the order in which they came")
    is_(b.most, 1, "one at a time")
    idle(n)

# who may use the reserve does not wait behind those who may not
with bank() as b, nginx(block(b, "concurrency 4 reserve=50%; queue 4 timeout=10s;"), workers=2) as n:
    held = fill(n, b, 2)
    pays = [n.call_later("/ok?pay", before=20_000_000) for _ in range(4)]
    ok(waits(n, 4), "payments fill their queue")
    is_(n.call("/ok?late").short, BUSY, "no payment more")
    is_([n.call("/ok?rescue", kind=k).short for k in ("query", "close", "reverse", "refund")], [OK] * 4,
        "queries, closes, reversals, refunds pass at once")
    rescue = fill(n, b, 2, "query")
    others = [n.call_later("/ok?other", kind="refund", before=20_000_000) for _ in range(4)]
    ok(waits(n, 8), "with the whole cap taken refunds wait in a queue of their own")
    is_(b.targets().count("/ok?pay"), 0, "no payment has passed")
    b.gate.set()
    is_({c.get().short for c in held + rescue + pays + others}, {OK}, "all are answered in the end")
    first = [t for t in b.targets() if t in ("/ok?other", "/ok?pay")]
    is_(len(first), 8, "each once")
    idle(n)

# one that was refused before waits, queue or not, and new ones do not overtake it
AGAIN = {"headers": ("Pay-Not-Sent: 1",), "before": 20_000_000}
for places in (0, 2):
    with bank() as b, nginx(block(b, f"concurrency 2 reserve=50%; queue {places} timeout=10s;"), workers=2) as n:
        held = fill(n, b, 1)
        news = [n.call_later("/ok?new", before=20_000_000) for _ in range(places)]
        ok(waits(n, places), f"a queue of {places} is full")
        is_(n.call("/x", headers=("Pay-Not-Sent: 0",)).short, BUSY, "refused never: busy at once")
        again = [n.call_later("/ok?again", **AGAIN) for _ in range(3)]
        ok(waits(n, places + 3), "refused before: waits")
        is_(n.call("/x").short, BUSY, "a new one does not")
        is_(n.call("/ok?rescue", kind="query").short, OK, "a query passes")
        b.gate.set()
        is_({c.get().short for c in held + news + again}, {OK}, "all that waited are answered")
        is_([t for t in b.targets() if t in ("/ok?new", "/ok?again")], ["/ok?new"] * places + ["/ok?again"] * 3,
            "in the order in which they came")
        ok(not any(r.header("Pay-Not-Sent") for r in b.requests), "the bank does not hear of it")
        idle(n)

# waiting ends: time-out, Pay-Send-Before, an operator; the attempt was not sent and may come again
with bank() as b, nginx(block(b, "concurrency 1 reserve=0%; queue 5 timeout=100ms;"), workers=2) as n:
    held = fill(n, b, 1)
    is_(n.call("/x", attempt=77).short, BUSY, "waited too long: busy, not sent")
    is_(n.call("/x", attempt=77, before=20_000).short, LATE, "Pay-Send-Before is nearer than the time-out: too late, not sent")
    n.reload(block(b, "concurrency 1 reserve=0%; queue 5 timeout=10s;"))
    first = n.call_later("/x", attempt=77, before=20_000_000)
    ok(waits(n, 1), "the attempt waits again")
    is_(n.call("/x", before=100_000).short, LATE, "one that must be sent sooner is too late")
    is_(n.channel()["waiting"], 1, "while the first one waits on, as long as the queue's time-out lets it")
    is_(n.call("/x", attempt=77).short, (409, "ALREADY_PASSED", "maybe"), "its second arrival is not called unsent")
    n.switch("off")
    b.gate.set()
    is_(first.get().short, OFF, "switched off while it waited: refused when its turn comes")
    n.switch("config")
    is_([h.get().short for h in held], [OK], "the call at the bank was untouched")
    is_(b.targets().count("/x"), 0, "none of them reached the bank")
    is_(n.call("/x", attempt=77).short, OK, "the attempt may come again")
    idle(n)

# workers that go away, processes that are killed, reloads
with bank() as b, nginx(block(b, "concurrency 1 reserve=0%; queue 50 timeout=10s;"), workers=3,
                        alerts=KILLED) as n:
    held = fill(n, b, 1)
    gone = []
    for i in range(10):
        s = socket.socket(socket.AF_UNIX)
        s.connect(n.egress)
        s.sendall(request("/gone", attempt=1000 + i, before=20_000_000))
        gone.append(s)
    ok(waits(n, 10), "ten wait")
    [s.close() for s in gone]
    ok(waits(n, 0), "those that go away leave the queue")
    calls = [n.call_later("/ok?reload", before=20_000_000) for _ in range(5)]
    ok(waits(n, 5), "five wait")
    old = n.workers()
    n.reload()
    is_(n.channel()["waiting"], 5, "they wait on while nginx is reloaded")
    calls += [n.call_later("/ok?new", before=20_000_000) for _ in range(5)]
    ok(waits(n, 10), "and those of the new processes behind them")
    b.gate.set()
    is_({c.get().short for c in held + calls}, {OK}, "all are answered")
    is_([t for t in b.targets() if t != "/hold"], ["/ok?reload"] * 5 + ["/ok?new"] * 5, "the old ones first")
    is_(b.targets().count("/gone"), 0, "what went away was never sent")
    is_(n.call("/ok", attempt=1000).short, OK, "and may come again")

    # the process of the first in the queue is killed
    b.gate.clear()
    held = fill(n, b, 1)
    calls = [n.call_later("/ok?kill", before=20_000_000) for _ in range(20)]
    ok(waits(n, 20), "twenty wait")
    victim = n.workers()[0]
    os.kill(victim, signal.SIGKILL)
    wait_until(lambda: victim not in n.workers())
    calls += [n.call_later("/ok?kill", before=20_000_000) for _ in range(5)]  # all twenty may have been with it
    b.gate.set()
    shorts = [c.get() for c in calls]
    is_({a.short for a in shorts if a.status}, {OK}, "those in other processes are answered")
    is_(b.targets().count("/ok?kill") <= 25, True, "nothing is sent twice")
    [h.get() for h in held]
    ok(wait_until(lambda: (c := n.channel())["in_flight"] == 0 and c["waiting"] == 0), "the killed one's turns are given back")

    # the processes that hold all places are killed
    b.gate.clear()
    held = [n.call_later("/hold")]
    wait_until(lambda: n.channel()["in_flight"] == 1)
    holders = set(n.workers())
    with contextlib.suppress(ProcessLookupError):
        for pid in holders:
            os.kill(pid, signal.SIGKILL)
    wait_until(lambda: len(n.workers()) == 3 and not holders & set(n.workers()))
    b.gate.set()
    is_({c.get().short for c in [n.call_later("/ok") for _ in range(6)]}, {OK}, "their places are found")
    [h.get() for h in held]
    idle(n)

# many abort at random moments
with bank() as b, nginx(block(b, "concurrency 3 reserve=0%; queue 30 timeout=1s;"), workers=3) as n:
    def churn(i):
        for k in range(12):
            with socket.socket(socket.AF_UNIX) as s:
                s.connect(n.egress)
                s.sendall(request("/wait/2"))
                if (i + k) % 3:
                    s.settimeout(0.003 * ((i * k) % 5 + 1))
                    with contextlib.suppress(OSError):
                        s.recv(10)
                else:
                    s.recv(1000)

    all_ = [threading.Thread(target=churn, args=(i,)) for i in range(16)]
    [t.start() for t in all_]
    [t.join() for t in all_]
    ok(wait_until(lambda: (c := n.channel())["in_flight"] == 0 and c["waiting"] == 0), "200 calls, most of them aborted: nothing leaks")
    ok(b.most <= 3, "and the cap held", b.most)

# what may be configured
with bank() as b:
    for text, reason in (("queue -1;", "0 to 10000 calls"), ("queue 10001;", "0 to 10000 calls"), ("queue x;", "0 to 10000"),
                         ("queue 5 timeout=11s;", "1ms to 10s"), ("queue 5 timeout=0s;", "1ms to 10s"),
                         ("queue 5 wait=1s;", "timeout=TIME"), ("queue 5; queue 5;", "duplicate"),
                         ("queue;", "number of arguments")):
        like(Nginx(block(b, text)).test(), rf"\[emerg\].*{reason}", text)
    is_(Nginx(block(b, "queue 0;")).test(), "", "queue 0: nobody waits")

done()
