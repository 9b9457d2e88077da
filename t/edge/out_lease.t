#!/usr/bin/python3
"""R1.8: a cap that two nodes share through Redis is never exceeded, not by one: while one lends to the other, while one
is killed, restarted, upgraded, while Redis hangs, forgets or is away; with Redis gone each node has cap / nodes."""
import os
import signal
import sys
import tempfile
import threading
from pathlib import Path

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
import edge  # noqa: E402
from egress import Nginx, bank, nginx, wait_until  # noqa: E402
from processes import KILLED  # noqa: E402
from tap import done, is_, like, ok  # noqa: E402

CAP = 20
BUSY = (503, "CHANNEL_BUSY", "no")
OK = (200, None, "answered")
TERM = 10  # seconds a loan lasts: time-outs 0.5 + 0.5 + 3, one for what is between, 5 of slack, rounded up
BLOCK = ("pay_channel bank {{ endpoint {}; adapter test; methods native; concurrency 20 reserve=0% shared; {}"
         "timeout connect=500ms send=500ms read=3s; }}")


class Load:
    """Keeps `n` calls of a few milliseconds going at a node."""

    def __init__(self, node, n):
        self.stop, self.node, self.seen, self.lock = threading.Event(), node, {}, threading.Lock()
        self.threads = [threading.Thread(target=self.run, daemon=True) for _ in range(n)]
        [t.start() for t in self.threads]

    def run(self):
        while not self.stop.is_set():
            try:
                short = self.node.call("/wait/20").short
            except OSError:  # the node is killed
                short = (0, None, None)
                self.stop.wait(0.05)
            with self.lock:
                self.seen[short] = self.seen.get(short, 0) + 1
            if short == BUSY:
                self.stop.wait(0.01)

    def end(self):
        self.stop.set()
        [t.join() for t in self.threads]
        return set(self.seen)


def known(*loads):
    """Every call was answered, refused as not sent, or (a machine under load, a killed node) timed out."""
    seen = set().union(*(load.end() for load in loads))
    is_({s for s in seen if s not in (OK, BUSY) and s[0] not in (0, 502, 504)}, set(), "no other answers")


def limits(*nodes):
    return [n.control("GET", "/channels/bank").json["limit"] for n in nodes]


def node(redis, b, number, **more):
    http = f"pay_redis unix:{redis.path} timeout=50ms pause=300ms; pay_state_file state; pay_node {number}/2;"
    return nginx(BLOCK.format(b.url, ""), workers=2, http=http, alerts=(*KILLED, "cannot be read"), **more)


folder = Path(tempfile.mkdtemp(prefix="ngx_pay-t."))
redis = edge.Redis(folder).start()

with bank() as b, node(redis, b, 1, detached=True) as one, node(redis, b, 2, detached=True) as two:
    is_(limits(one, two), [10, 10], "each node begins with its half")

    # lending: all the load on one of them
    load = Load(one, 24)
    ok(wait_until(lambda: limits(one)[0] >= 17), "the node that has work borrows what the other does not need")
    ok(wait_until(lambda: b.most >= 17), "and uses it", b.most)
    ok(limits(two)[0] <= 3, "the other one has as much less")
    load2 = Load(two, 24)
    ok(wait_until(lambda: limits(two)[0] >= 9), "when it has work itself it gets its half back")
    ok(wait_until(lambda: sum(limits(one, two)) == CAP), "together they have the whole cap", limits(one, two))

    # a new binary goes on with the leases of the old one
    old = two.upgrade()
    old.send_signal(signal.SIGQUIT)
    ok(wait_until(lambda: sum(limits(one, two)) >= CAP - 2), "a new binary goes on with the leases", limits(one, two))
    ok(b.most <= CAP, f"never more than {CAP} at the bank", b.most)
    known(load, load2)
    old.wait()

    # the lender is killed, whole, and starts again at once: it must not use what it lent
    load = Load(one, 24)
    ok(wait_until(lambda: limits(one)[0] >= 17), "one borrows again")
    two.kill()
    two.start()
    ok(limits(two)[0] + limits(one)[0] <= CAP, "a node that forgot what it lent uses none of it", limits(one, two))
    load2 = Load(two, 24)
    ok(wait_until(lambda: limits(two)[0] >= 9), "until the other one has said what it holds")

    # Redis forgets everything
    redis.command("FLUSHALL")
    redis.command("SCRIPT", "FLUSH")
    ok(wait_until(lambda: sum(limits(one, two)) == CAP), "Redis forgets: the leases are told again")
    known(load, load2)

    # Redis goes while one has borrowed
    load = Load(one, 24)
    ok(wait_until(lambda: limits(one)[0] >= 17), "one borrows again")
    redis.process.send_signal(signal.SIGSTOP)
    load2 = Load(two, 24)
    ok(wait_until(lambda: limits(one, two) == [10, 10], TERM + 15), "Redis hangs: each node has its half in the end", limits(one, two))
    redis.process.send_signal(signal.SIGCONT)
    redis.kill()
    is_(limits(one, two), [10, 10], "and keeps it while Redis is away")
    known(load, load2)

    # a node starts without Redis while it may have lent something
    two.kill()
    two.start()
    ok(wait_until(lambda: limits(two) == [10], TERM + 15), "a node that starts without Redis gets its half when no loan can last")
    ok(b.most <= CAP, f"in all of this the bank never saw more than {CAP} calls at once", b.most)

    # Redis comes back; one node is dead
    redis.start()
    two.kill()
    load = Load(one, 24)
    ok(wait_until(lambda: load.seen.get(OK, 0) > 50), "one node dead: the other has its half")
    is_(limits(one), [10], "and not more, for the dead one may only be cut off from Redis")
    load.end()
    two.start()

    # a call that the bank keeps open byte by byte cannot outlive a loan
    ok(len(one.call("/drip").body) < 1000, "a call is cut off when all its time-outs are over")
    ok("lasts longer than all time-outs, cut off" in one.log.read_text(), "the log says so")
    is_(one.channel()["in_flight"], 0, "its place is free")

# two nodes that call themselves the same
with bank() as b, node(redis, b, 1) as one, node(redis, b, 1) as other:
    ok(wait_until(lambda: "another node calls itself" in one.log.read_text() + other.log.read_text(), 20),
       "two nodes of the same number find out")

# what may be configured
with bank() as b:
    url = b.url
REDIS, STATE, NODE = f"pay_redis unix:{redis.path};", "pay_state_file state;", "pay_node 1/2;"
for http, reason in ((REDIS + STATE, 'needs "pay_node"'), (STATE + NODE, 'needs "pay_redis"'), (REDIS + NODE, 'needs "pay_state_file"'),
                     *((f"pay_node {w};", "allowed is NUMBER/NODES, 1/2 to 8/8") for w in ("1", "0/2", "3/2", "1/9", "1/1", "a/b", "/")),
                     (NODE + NODE, "duplicate")):
    like(Nginx(BLOCK.format(url, ""), http=http).test(), rf"\[emerg\].*{reason}", http.replace(str(redis.path), "..."))
for text, reason in (("concurrency 20 share;", "reserve=0% to reserve=90%, shared"), ("concurrency 0;", "1 to 10000 calls"),
                     ("concurrency 20 reserve=91%;", "reserve=0% to reserve=90%")):
    block = BLOCK.format(url, "").replace("concurrency 20 reserve=0% shared;", text)
    like(Nginx(block, http=REDIS + STATE + NODE).test(), rf"\[emerg\].*{reason}", text)
long = BLOCK.format(url, "").replace("read=3s", "read=99s")
like(Nginx(long, http=REDIS + STATE + NODE).test(), "time-outs of less than 100 s in all", "a shared cap with a time-out of 99 s")
redis.kill()

done()
