#!/usr/bin/python3
"""Endpoints by name: resolved at run time and remembered for the answer's life; one that does not
resolve stops its own channel only; the last known addresses serve while the name server is away."""
import os
import socket
import struct
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
from egress import CHANNEL, bank, nginx, wait_until  # noqa: E402
from tap import done, is_, ok  # noqa: E402


class Names:
    """A name server: {name: (addresses, ttl)}; a name that is not there does not exist, None is silence
    until answer() is called."""

    def __init__(self):
        self.names, self.asked, self.silent = {}, [], []
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            q, client = self.socket.recvfrom(512)
            labels, i = [], 12
            while q[i]:
                labels.append(q[i + 1:i + 1 + q[i]].decode())
                i += q[i] + 1
            name = ".".join(labels)
            self.asked.append(name)
            if self.names.get(name, ()) is None:
                self.silent.append((name, q, i, client))
            else:
                self.send(name, q, i, client)

    def answer(self, name, *entry):
        self.names[name] = entry
        for pending in [s for s in self.silent if s[0] == name]:
            self.silent.remove(pending)
            self.send(*pending)

    def send(self, name, q, i, client):
        addresses, ttl = self.names.get(name, ((), 0))
        answers = b"".join(b"\xc0\x0c" + struct.pack("!HHIH", 1, 1, ttl, 4) + socket.inet_aton(a) for a in addresses)
        flags = 0x8180 | (0 if addresses else 3)
        self.socket.sendto(q[:2] + struct.pack("!HHHHH", flags, 1, len(addresses), 0, 0) + q[12:i + 5] + answers, client)


names = Names()
RESOLVER = f"resolver 127.0.0.1:{names.port} ipv6=off; resolver_timeout 2s;"
UNRESOLVED = (502, "CHANNEL_UNRESOLVED", "no")
OK = (200, None, "answered")

with bank() as b:
    def channel(name, host, timeout="connect=500ms send=5s read=5s"):
        return (f"pay_channel {name} {{ endpoint http://{host}:{b.port}; adapter test; methods native; "
                f"timeout {timeout}; }}\n")

    names.names.update({"good.example": (["127.0.0.1"], 1), "silent.example": None, "slow.example": None,
                        "two.example": (["127.0.0.9", "127.0.0.1"], 60)})
    channels = (channel("bank", "127.0.0.1") + channel("good", "good.example", "connect=60s send=5s read=5s") + channel("missing", "missing.example")
                + channel("silent", "silent.example") + channel("slow", "slow.example", "connect=60s send=5s read=5s")
                + channel("two", "two.example"))

    with nginx(channels, http=RESOLVER) as n:
        is_(n.call().short, OK, "a numeric endpoint beside them")
        is_(n.call(channel="missing").short, UNRESOLVED, "a name that does not exist: not sent")
        is_(n.call(channel="good").short, OK, "a name that does")
        is_(b.requests[-1].header("Host"), f"good.example:{b.port}", "Host is the name")

        is_(n.call(channel="silent").short, UNRESOLVED, "a silent name server: not sent, after the channel's connect time-out")

        waiting = [n.call_later(channel="slow") for _ in range(10)]
        wait_until(lambda: "slow.example" in names.asked)
        is_(n.call().short, OK, "others are not held up")
        is_(n.channel("slow")["in_flight"], 0, "calls that wait for a name take no place")
        names.answer("slow.example", ["127.0.0.1"], 60)
        is_({w.get().short for w in waiting}, {OK}, "calls that waited go on together")
        at = len(names.asked)
        is_({n.call(channel="slow").short for _ in range(20)}, {OK}, "more calls")
        is_(len(names.asked), at, "do not ask again during the answer's life")

        # an address that refuses gives way to the next one; nothing is sent twice
        b.requests.clear()
        seen = [n.call(channel="two") for _ in range(4)]
        ok([a.sent for a in seen].count("no") <= 1 and seen[-1].short == OK,
           f"a refusing address is left after one call {[a.short for a in seen]}")
        is_(len(b.requests), [a.sent for a in seen].count("answered"), "each call arrived once")

        # the name server goes away
        names.names["good.example"] = None
        time.sleep(1.2)  # the answer's life, not luck
        # whoever waited would wait for longer than a call of this test lasts
        is_({n.call(channel="good").short for _ in range(5)}, {OK}, "expired addresses serve while it is silent")
        del names.names["good.example"]
        wait_until(lambda: "good.example could not be resolved" in n.log.read_text())
        is_(n.call(channel="good").short, OK, "and when it says there is no such name")
        is_(n.channel("good")["in_flight"], 0, "nothing in flight")
        is_(n.channel("missing")["refused"]["CHANNEL_UNRESOLVED"], 1, "refusals are counted")

    # a worker that goes away while its call waits for the name
    names.names["slow.example"] = None
    with nginx(channels, http=RESOLVER, location="proxy_ignore_client_abort off;") as n:
        import egress
        at = len(names.asked)
        for _ in range(5):
            with socket.socket(socket.AF_UNIX) as s:
                s.connect(n.egress)
                s.sendall(egress.request("/left", channel="slow"))
                wait_until(lambda: len(names.asked) > at)
        names.answer("slow.example", ["127.0.0.1"], 60)
        is_(wait_until(lambda: n.call(channel="slow").short == OK), True, "a call after them is answered")
        n.reload()
        is_(n.call(channel="slow").short, OK, "after a reload too")

done()
