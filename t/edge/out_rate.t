#!/usr/bin/python3
"""R1.17: calls to a channel per second, per kind of call, counted by all nginx processes together; what is over
the rate is not sent; one kind's burst takes nothing from another's budget."""
import os
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
from egress import CHANNEL, attempts, bank, nginx, wait_until  # noqa: E402
from tap import done, is_, ok  # noqa: E402

OVER = (503, "CHANNEL_RATE", "no")
OK = (200, None, "answered")


def storm(n, calls, kind, threads=8):
    """How often each answer came to calls from many threads."""
    seen, lock = {}, threading.Lock()

    def run():
        for _ in range(calls // threads):
            short = n.call(kind=kind).short
            with lock:
                seen[short] = seen.get(short, 0) + 1

    all_ = [threading.Thread(target=run) for _ in range(threads)]
    [t.start() for t in all_]
    [t.join() for t in all_]
    return seen


# so slow that nothing is added while the test runs: the burst and one call
with bank() as b, nginx(f"""
    pay_channel bank {{ endpoint {b.url}; {CHANNEL} rate pay=1/h burst=9; rate query=1/h burst=4; }}
    pay_channel all {{ endpoint {b.url}; {CHANNEL} rate all=1/h burst=2; rate query=2/h burst=0; }}
    pay_channel tiny {{ endpoint {b.url}; {CHANNEL} rate pay=1/h burst=5; concurrency 1; }}
    pay_channel free {{ endpoint {b.url}; {CHANNEL} }}""", workers=2) as n:
    is_(storm(n, 80, "query"), {OK: 5, OVER: 75}, "queries: the burst and one, over all processes")
    is_(storm(n, 80, "pay"), {OK: 10, OVER: 70}, "queries have taken nothing from the payments")
    is_(n.call(kind="refund").short, OK, "a kind without a rate is free")
    is_(len(b.requests), 16, "what was over the rate did not reach the bank")
    a = n.call()
    is_((a.short, a.header("Retry-After"), a.header("Content-Type")), (OVER, "1", "application/problem+json"), "not sent")
    c = n.channel()
    is_((c["refused"]["CHANNEL_RATE"], c["in_flight"], c["in_pay"]), (146, 0, 0), "counted, and no place is kept")
    is_(c["health"]["level"], "sla", "and it says nothing about the channel's health")
    id_ = next(attempts)
    is_((n.call(attempt=id_).short, n.call(attempt=id_, channel="free").short), (OVER, OK),
        "what was over the rate may be sent later")
    n.reload()
    is_(n.call().short, OVER, "a reload gives no new burst")

    kinds = ("query", "query", "refund", "pay", "refund")
    is_([n.call(channel="all", kind=k).short for k in kinds], [OK, OVER, OK, OK, OVER], "all kinds together, and one of them")
    is_({n.call(channel="free").short for _ in range(50)}, {OK}, "another channel has its own")

    # a call that finds the channel full costs nothing of its rate
    held = n.call_later("/hold", channel="tiny")
    wait_until(lambda: n.channel("tiny")["in_flight"] == 1)
    is_({n.call(channel="tiny").code for _ in range(20)}, {"CHANNEL_BUSY"}, "full")
    b.gate.set()
    is_([held.get().short, *(n.call(channel="tiny").short for _ in range(6))], [OK] * 6 + [OVER], "took nothing")

# and with time there is room again
with bank() as b, nginx(f"pay_channel bank {{ endpoint {b.url}; {CHANNEL} rate pay=20/s burst=0; }}") as n:
    is_(n.call().short, OK, "the first one")
    ok(wait_until(lambda: n.call().short == OK), "another one, in its time")

# over the rate calls are given their turns, in order, as far ahead as one waits in a queue; who was refused before, twice as far
with bank() as b, nginx(f"""
    pay_channel bank {{ endpoint {b.url}; {CHANNEL} rate pay=20/m burst=0; queue 0 timeout=4s; }}
    pay_channel slow {{ endpoint {b.url}; {CHANNEL} rate pay=1/h burst=0; queue 0 timeout=4s; }}""") as n:
    AGAIN = ("Pay-Not-Sent: 1",)
    is_(n.call("/ok?first").short, OK, "the first one goes at once")
    second = n.call_later("/ok?second", before=20_000_000)
    wait_until(lambda: n.channel()["in_flight"] == 1)
    is_(n.call("/ok?third").short, OVER, "after the second one, which has its turn in 3 s, another one would wait too long")
    is_(n.call("/ok?pressed", headers=AGAIN, before=1_000_000).short, OVER, "or beyond Pay-Send-Before")
    is_(n.call("/ok?again", headers=AGAIN, before=20_000_000).short, OK, "one that was refused before waits longer")
    is_(second.get().short, OK, "the second one went")
    is_(b.targets(), ["/ok?first", "/ok?second", "/ok?again"], "in the order of their turns")
    is_([n.call(channel="slow").short, n.call(channel="slow", headers=AGAIN).short], [OK, OVER], "an hour is too long for both")
    is_([n.channel(c)["in_flight"] for c in ("bank", "slow")], [0, 0], "no place is kept")

# who is over the rate of all kinds has taken nothing of his own
with bank() as b, nginx(f"pay_channel bank {{ endpoint {b.url}; {CHANNEL} rate all=5/s burst=0; rate query=1/h burst=0; }}") as n:
    n.call()
    ok(wait_until(lambda: n.call(kind="query").short == OK), "a query goes when all kinds have room again")
    is_(n.call(kind="query").short, OVER, "and that was the one it had")

done()
