#!/usr/bin/python3
"""Clients that mean harm: slow ones, half-open ones, one byte at a time, broken chunks, streams that are reset, long
pipelines, and 100,000 requests of garbage. Meanwhile an honest client is served, and afterwards every worker has
given back its connections and its memory."""
import contextlib
import os
import random
import re
import socket
import struct
import sys
import threading
import time
from pathlib import Path

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../../demo"))
from edge import SLOW, Key, authorization, connect, edge, payment, encode, read_answer, signed, wait_until  # noqa: E402
from processes import free_ports  # noqa: E402
from tap import done, is_, ok  # noqa: E402

GARBAGE = 100_000 if SLOW == 1 else 10_000
BATCH = 50
MOST = 1024 if SLOW == 1 else 1 << 20  # KB that a worker may keep; a sanitizer keeps what was freed
POOL = 64  # connections to payd that a worker keeps
ACTIVE = b"GET /active HTTP/1.0\r\n\r\n"
dice = random.Random(1)
H = Key("HMAC1", "hmac")


PORT = free_ports(1)[0]


def tcp() -> socket.socket:
    s = socket.create_connection(("127.0.0.1", PORT))
    s.settimeout(20 * SLOW)
    return s


def reset(s: socket.socket) -> None:
    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    s.close()


def closed(s: socket.socket) -> bool:
    """Whether the server ends the connection by itself; what it says before does not matter."""
    s.settimeout(10 * SLOW)
    with contextlib.suppress(ConnectionError):
        try:
            while s.recv(65536):
                pass
        except socket.timeout:
            return False
    return True


def memory(pid: int) -> dict[str, int]:
    """Resident memory in KB: all of it, and what it is made of."""
    text = Path(f"/proc/{pid}/status").read_text()
    return {name: int(kb) for name, kb in re.findall(r"(VmRSS|RssAnon|RssFile|RssShmem):\s+(\d+) kB", text)}


def open_files(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


class Honest(threading.Thread):
    """Asks all the time; every answer must be right."""

    def __init__(self, e):
        super().__init__(daemon=True)
        self.e, self.stopping, self.served, self.bad = e, threading.Event(), 0, []

    def run(self):
        while not self.stopping.is_set():
            a = self.e.call(H)
            self.served += 1
            if a.status != 200 or not a.signed_with(H):
                self.bad.append((a.status, a.body[:200]))
            time.sleep(0.02)

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.stopping.set()
        self.join()


# ---- what they do ----

def slow_heads():
    """A byte of a header now and then: the whole head has a time limit."""
    socks = [tcp() for _ in range(40)]
    for part in (b"POST /v1/pay", b"ments HTTP/1.1\r\nHo", b"st: x\r\nX-Slow: "):
        for s in socks:
            s.sendall(part)
        time.sleep(0.1)
    return [closed(s) for s in socks]


def slow_bodies():
    """A signed request whose body does not come."""
    whole = signed(H, close=False)
    head, _, body = whole.partition(b"\r\n\r\n")
    socks = [tcp() for _ in range(20)]
    for s in socks:
        s.sendall(head + b"\r\n\r\n" + body[:10])
    return [closed(s) for s in socks]


def silent():
    """Connections on which nothing is ever said."""
    return [closed(s) for s in [tcp() for _ in range(40)]]


def vanishing():
    """Connections that are reset in the middle of everything."""
    whole = signed(H, headers={"X-Do": "slow 0.05"})
    for cut in [1, 20, 100, len(whole) - 5, len(whole), len(whole)] * 10:
        s = tcp()
        s.sendall(whole[:cut])
        reset(s)
    return [True]


def bytewise():
    """One byte a segment."""
    answers = []
    for _ in range(3):
        with tcp() as s:
            s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for byte in signed(H):
                s.sendall(bytes((byte,)))
            answers.append(read_answer(s.makefile("rb")).status == 200)
    return answers


def chunks():
    """Bodies in chunks: of one byte, broken, endless, without an end."""
    answers = []
    body = encode(payment())
    with tcp() as s:
        s.sendall(signed(H, body=body, chunked=1))
        answers.append(read_answer(s.makefile("rb")).status == 200)
    head = signed(H, body=body, chunked=1).partition(b"\r\n\r\n")[0] + b"\r\n\r\n"
    for broken in (b"zz\r\n", b"-1\r\n", b"fffffffffffffffffff\r\n", b"5\r\nabc", b"1\r\naXX", b"\r\n\r\n", b"5;" + b"e" * 70000):
        with tcp() as s:
            with contextlib.suppress(ConnectionError):
                s.sendall(head + broken)
                s.shutdown(socket.SHUT_WR)
                answers.append(read_answer(s.makefile("rb")).status in (0, 400, 408, 413))
    with tcp() as s, contextlib.suppress(ConnectionError):  # 64 KB is the most: the rest is not waited for
        s.sendall(head)
        for _ in range(200):
            s.sendall(b"400\r\n" + b" " * 1024 + b"\r\n")
    return answers


def pipeline():
    """A hundred requests in one segment: answered in their order."""
    good = [signed(H, close=False) if i % 2 else
            b"GET /v1/certificates HTTP/1.1\r\nHost: x\r\nAuthorization: junk\r\n\r\n" for i in range(100)]
    with tcp() as s:
        s.sendall(b"".join(good))
        f = s.makefile("rb")
        statuses = [read_answer(f).status for _ in good]
    return [statuses == [401, 200] * 50]


def frame(kind: int, flags: int, stream: int, data: bytes = b"") -> bytes:
    return struct.pack(">I", len(data))[1:] + bytes((kind, flags)) + struct.pack(">I", stream) + data


def field(name: bytes, value: bytes) -> bytes:
    """HPACK: a literal that is not indexed, without Huffman."""
    return b"\0" + bytes((len(name),)) + name + (bytes((len(value),)) if len(value) < 127 else
                                                  b"\x7f" + varint(len(value) - 127)) + value


def varint(n: int) -> bytes:
    out = b""
    while n >= 128:
        out, n = out + bytes((n % 128 + 128,)), n // 128
    return out + bytes((n,))


def http2_resets(path):
    """Streams opened and reset at once, by the hundred, also in the middle of a body."""
    for _ in range(4):
        with connect(path) as s, contextlib.suppress(ConnectionError):
            s.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0))
            for stream in range(1, 400, 2):
                auth = authorization(H, "POST", "/v1/payments", b"{}").encode()
                head = b"".join((field(b":method", b"POST"), field(b":scheme", b"http"), field(b":path", b"/v1/payments"),
                                 field(b":authority", b"x"), field(b"authorization", auth), field(b"content-length", b"2")))
                s.sendall(frame(1, 4, stream, head) + (frame(0, 0, stream, b"{") if stream % 3 else b"")
                          + frame(3, 0, stream, struct.pack(">I", 8)))
    # frames that are none: too long, of a stream that never was, a window that runs over
    for bad in (struct.pack(">I", 1 << 20)[1:] + b"\0\0\0\0\0\1", frame(0, 0, 99, b"x"),
                frame(8, 0, 0, struct.pack(">I", 0x7fffffff)) * 2, frame(9, 4, 1, b"x"), dice.randbytes(500)):
        with connect(path) as s, contextlib.suppress(ConnectionError):
            s.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0) + bad)
            s.shutdown(socket.SHUT_WR)
            closed(s)
    return [True]


# ---- garbage by the thousand ----

def one_garbage(i: int) -> bytes:
    """A request that is framed well enough for the next one to follow, and nothing else."""
    kind = i % 8
    text = "".join(chr(dice.randint(33, 126)) for _ in range(dice.randint(0, 60))).replace("%", "")
    if kind == 0:
        return f"GET /v1/{text.replace('#', '').replace('?', '')} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
    if kind == 1:
        return f"GET /v1/certificates HTTP/1.1\r\nHost: x\r\nAuthorization: {text}\r\n\r\n".encode()
    if kind == 2:  # a forged signature of a key that exists
        return signed(H, "GET", "/v1/certificates", close=False, signature="A" * 44)
    if kind == 3:
        return signed(H, "GET", "/v1/certificates", close=False, timestamp=dice.randint(0, 10**12))
    if kind == 4:
        junk = dice.randbytes(dice.randint(0, 300))
        return b"POST /v1/payments HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s" % (len(junk), junk)
    if kind == 5:
        return b"GET /v1/%2e%2e/" + text.replace("#", "").encode() + b" HTTP/1.1\r\nHost: x\r\nPay-Mchid: evil\r\n\r\n"
    if kind == 6:  # genuine, with a body that is not the API's
        return signed(H, body=b'{"method":' + encode(text)[:40], close=False)
    return signed(H, "GET", f"/v1/payments?out_trade_no=${text.replace('#', '')}", close=False)


def garbage(count: int, batches: list[list[bytes]]) -> int:
    """So many, over kept connections; how many were answered. Batches are used again and again: a genuine request then
    is a replay, which is garbage as well."""
    answered = 0
    s = f = None
    while answered < count:
        if s is None:
            s = tcp()
            f = s.makefile("rb")
        batch = batches[dice.randrange(len(batches))]
        try:
            s.sendall(b"".join(batch))
            for _ in batch:
                a = read_answer(f)
                if a.status == 0:
                    raise ConnectionError
                assert 400 <= a.status < 500, (a.status, a.body)
                answered += 1
                if a.header("Connection") == "close":
                    raise ConnectionError
        except ConnectionError:
            s.close()
            s = None
    if s:
        s.close()
    return answered


LIMITS = "client_header_timeout 1s; client_body_timeout 1s; keepalive_timeout 1s; reset_timedout_connection on;"
with edge(H, workers=2, http=LIMITS, main="worker_shutdown_timeout 5s;",
          server=f"listen 127.0.0.1:{PORT}; location /active {{ return 200 $connections_active; }}") as e:
    e.payd.requests = e.payd.asked = type("Forgetful", (list,), {"append": lambda self, x: None})()
    attacks = [slow_heads, slow_bodies, silent, vanishing, bytewise, chunks, pipeline,
               lambda: http2_resets(e.folder / "edge2.sock")]
    names = ["slow heads: closed", "bodies that do not come: closed", "silence: closed", "resets", "one byte at a time: served",
             "chunks", "a pipeline of a hundred, in order", "HTTP/2 resets and broken frames"]
    batches = [[one_garbage(i) for i in range(BATCH)] for _ in range(40)]

    # once everything, so that what is needed is there
    for attack in attacks:
        attack()
    garbage(5000, batches)
    workers = e.workers()
    wait_until(lambda: e.call(H).status == 200)
    time.sleep(1.2)  # kept connections end
    before = {pid: (memory(pid), open_files(pid)) for pid in workers}

    with Honest(e) as honest:
        for attack, name in zip(attacks, names):
            result = attack()
            ok(result and all(result), name, result)
        is_(garbage(GARBAGE, batches) >= GARBAGE, True, f"{GARBAGE} requests of garbage: every one is refused with 4xx")
    ok(honest.served > 50, f"an honest client asked {honest.served} times meanwhile")
    is_(honest.bad, [], "and was served each time")

    is_(e.workers(), workers, "no worker ended")
    ok(wait_until(lambda: e.raw(ACTIVE).body == b"1"), "every connection of a client was given back", e.raw(ACTIVE).body)
    for pid in workers:
        ok(open_files(pid) <= before[pid][1] + POOL, "and its file",
           f"{open_files(pid)} open files, {before[pid][1]} before")
        now = memory(pid)
        # a zone's pages are reserved from the beginning and shared: they are resident once they were touched
        grown = {name: kb - before[pid][0][name] for name, kb in now.items() if name != "RssShmem"}
        kept = grown["RssAnon"] + grown["RssFile"]
        ok(kept <= MOST, f"a worker of {now['VmRSS']} KB has grown by {kept} KB", grown)
    status = e.status()
    is_((status["edge"]["redis_inflight"], status["edge"]["sign_inflight"]), (0, 0), "nothing is in flight")

done()
