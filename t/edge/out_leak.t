#!/usr/bin/python3
"""R1.8: the cap holds, not over by one, for 10,000 calls at once in four processes; for an old and a new binary
together; and no place leaks over aborts, kill -9 and reloads at random moments (`make soak-places`: 1,000 of them)."""
import asyncio
import contextlib
import os
import random
import signal
import socket
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
from egress import SLOW, alive, bank, nginx, request, wait_until  # noqa: E402
from processes import KILLED  # noqa: E402
from tap import done, is_, ok  # noqa: E402

CALLS = 10000 // (5 if SLOW > 1 else 1)
ROUNDS = int(os.environ.get("PAY_SOAK", 6))
BLOCK = "pay_channel bank {{ endpoint {}; adapter test; methods native; timeout connect=3s send=3s read=30s; {} }}"
BUSY = (503, "CHANNEL_BUSY", "no")
OK = (200, None, "answered")


class ManyBank(asyncio.Protocol):
    """Answers after 3 ms; counts the calls that are open at once."""
    open = most = answered = 0
    body = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"

    def connection_made(self, transport):
        self.transport, self.data = transport, b""

    def data_received(self, data):
        self.data += data
        if self.data.endswith(b"\r\n\r\n{}"):
            self.data = b""
            ManyBank.open += 1
            ManyBank.most = max(ManyBank.most, ManyBank.open)
            asyncio.get_running_loop().call_later(0.003, self.answer)

    def answer(self):
        ManyBank.open -= 1
        ManyBank.answered += 1
        self.transport.write(self.body)


async def flood(path, kinds):
    """All calls connected first, then sent; how often each status came."""
    seen = {}

    async def one(streams, kind):
        reader, writer = streams
        writer.write(request("/x", kind=kind, before=60_000_000))
        head = await reader.readuntil(b"\r\n\r\n")
        key = (int(head.split()[1]), b"Pay-Sent: no" in head)
        seen[key] = seen.get(key, 0) + 1
        writer.close()

    streams = []
    for _ in range(CALLS):
        while True:
            try:
                streams.append(await asyncio.open_unix_connection(path))
                break
            except BlockingIOError:  # nginx' backlog is full
                await asyncio.sleep(0.005)
    await asyncio.gather(*(one(s, kinds[i % len(kinds)]) for i, s in enumerate(streams)))
    return seen


async def many():
    server = await asyncio.get_running_loop().create_server(ManyBank, "127.0.0.1", 0, backlog=4096)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    with nginx(BLOCK.format(url, "concurrency 40 reserve=25%; queue 1500 timeout=10s;"), workers=4, connections=16384) as n:
        for kinds, cap in ((("pay",), 30), (("pay", "query"), 40)):
            ManyBank.most = ManyBank.answered = 0
            seen = await flood(n.egress, kinds)
            is_((sum(seen.values()), set(seen) <= {(200, False), (503, True)}), (CALLS, True),
                f"{CALLS} calls at once ({' and '.join(kinds)}): answered, or refused as not sent {seen}")
            is_(ManyBank.most, cap, f"the bank never saw more than {cap} at once, and as many")
            is_(seen[200, False], ManyBank.answered, "as many answers as it gave")
        c = n.channel()
        is_((c["in_flight"], c["in_pay"], c["waiting"]), (0, 0, 0), "nothing leaks")
    server.close()


asyncio.run(many())

# an old and a new binary beside each other
with bank() as b, nginx(BLOCK.format(b.url, "concurrency 4 reserve=0%;"), workers=2, detached=True,
                        alerts=KILLED) as n:
    held = [n.call_later("/hold") for _ in range(3)]
    wait_until(lambda: len(b.requests) == 3)
    old = n.upgrade()
    is_([n.channel()["in_flight"] for _ in range(8)], [3] * 8, "a new binary knows the calls of the old one")
    held += [n.call_later("/hold") for _ in range(6)]
    ok(wait_until(lambda: n.channel()["refused"]["CHANNEL_BUSY"] or len(b.requests) == 4), "six calls more")
    got = sorted(h.get(2).short[0] for h in held[3:] if h.get(0.5))
    is_((b.most, got), (4, [503] * 5), "one of them gets the last place, whichever binary it meets")
    old.send_signal(signal.SIGQUIT)
    is_({n.call().short for _ in range(8)}, {BUSY}, "still full while the old one ends")
    b.gate.set()
    is_([h.get().short for h in held if h.get().status == 200], [OK] * 4, "all four are answered")
    old.wait()
    is_(n.channel()["in_flight"], 0, "nothing is left of the old one")
    b.gate.clear()
    b.requests.clear()
    held = [n.call_later("/hold") for _ in range(4)]
    wait_until(lambda: len(b.requests) == 4)
    old = n.upgrade()
    is_({n.call().short for _ in range(8)}, {BUSY}, "a third binary: full")
    doomed = [int(p) for p in os.popen(f"ps --ppid {old.pid} -o pid=").read().split()
              if p != str(n.process.pid)]
    for pid in (old.pid, *doomed):
        os.kill(pid, signal.SIGKILL)
    ok(wait_until(lambda: not any(alive(p) for p in doomed)) and wait_until(lambda: n.call().short == OK),
       "the old one is killed: its places are free")
    [h.get() for h in held]
    b.gate.set()
    is_(n.channel()["in_flight"], 0, "all of them")

# random reloads, kills, aborts under load


def storm(n, b, kills):
    """ROUNDS of them while eight clients call, and give up at random moments."""
    stop, strange = threading.Event(), set()
    dice = random.Random(int(os.environ.get("PAY_SEED", 0)) + kills)

    def load(seed):
        own = random.Random(seed)
        while not stop.is_set():
            with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as s:
                s.settimeout(own.choice((0.002, 0.01, 5)))
                s.connect(n.egress)
                s.sendall(request("/wait/%d" % own.choice((0, 1, 5)), kind=own.choice(("pay", "query"))))
                head = s.recv(4000)
                if head and head.split()[1] not in (b"200", b"503"):
                    strange.add(head[:200])

    threads = [threading.Thread(target=load, args=(i,)) for i in range(8)]
    [t.start() for t in threads]
    for i in range(ROUNDS):
        if kills and dice.randrange(2) and (workers := n.workers()):
            with contextlib.suppress(ProcessLookupError):
                os.kill(dice.choice(workers), signal.SIGKILL)
        else:
            n.process.send_signal(signal.SIGHUP)
        stop.wait(dice.choice((0, 0.01, 0.05, 0.1)))
    stop.set()
    [t.join() for t in threads]
    what = f"{ROUNDS} {'reloads and kills' if kills else 'reloads'} at random moments"
    is_(strange, set(), f"{what}: only known answers")
    ok(wait_until(lambda: (c := n.channel())["in_flight"] == 0 and c["waiting"] == 0, 20), f"{what}: nothing is left", n.channel())
    is_({n.call().short for _ in range(12)}, {OK}, "all places are there")


with bank() as b, nginx(BLOCK.format(b.url, "concurrency 6 reserve=0%; queue 20 timeout=2s;"), workers=3,
                        alerts=KILLED) as n:
    storm(n, b, kills=False)
    ok(b.most <= 6, "the cap held", b.most)
    # of a killed process the bank may still believe that it waits: what it counts then proves nothing
    storm(n, b, kills=True)

done()
