#!/usr/bin/python3
"""R1.3 to R1.5: a nonce passes once, on whatever process; limits per app; and what happens when Redis is
slow, gone, restarted or forgets its script. Nothing is lost, nothing hangs."""
import os
import socket
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
from edge import Key, edge, nonce, payment, send, signed, wait_until  # noqa: E402
from tap import done, is_, like, ok  # noqa: E402

A, B = Key("APPA000001", app="app1"), Key("APPB000001", app="app2")


def together(calls):
    """All at once; the answers in no order."""
    answers, lock, gate = [], threading.Lock(), threading.Barrier(len(calls))

    def run(call):
        gate.wait()
        a = call()
        with lock:
            answers.append(a)

    threads = [threading.Thread(target=run, args=(c,)) for c in calls]
    [t.start() for t in threads]
    [t.join() for t in threads]
    return answers


def codes(answers):
    seen = {}
    for a in answers:
        key = a.code or a.status
        seen[key] = seen.get(key, 0) + 1
    return seen


# ---- nonces
with edge(A, B, workers=2, redis="timeout=900ms") as e:
    for round_ in range(10):
        data = signed(A)
        is_(codes(together([lambda: send(e.socket, data)] * 40)), {200: 1, "NONCE_REPLAYED": 39},
            f"round {round_}: one of forty equal requests passes")
    a = send(e.socket, data)
    ok(a.status == 409 and a.code == "NONCE_REPLAYED" and a.signed_with(A), "the refusal is signed", a)
    n = nonce()
    is_([e.call(k, nonce_str=n).status for k in (A, B, A)], [200, 200, 409], "apps do not share nonces")
    is_(e.call(A, nonce_str=(n := nonce()), signature="AAAA").status, 401, "a forger")
    is_(e.call(A, nonce_str=n).status, 200, "cannot burn a nonce")
    like(e.redis.command("TTL", b"{1900000001}happ1:" + bytes.fromhex(n)).decode(), r":(59\d|600)\r\n", "remembered for twice the window")

# ---- limits
with edge(A, B, guard="app=5r/h burst=10", workers=2, redis="timeout=900ms") as e:
    body = payment()
    datas = [signed(A, body=body) for _ in range(30)]
    answers = together([lambda d=d: send(e.socket, d) for d in datas])
    seen = codes(answers)
    is_(seen, {200: 11, "RATE_LIMITED": 19}, "burst and rate over two processes")
    a = next(a for a in answers if a.status == 429)
    ok(a.signed_with(A) and 600 < int(a.header("Retry-After")) <= 720, "429 is signed and says when", a)
    is_(a.header("RateLimit-Policy"), '"app";q=5;w=3600', "policy")
    like(a.header("RateLimit"), r'^"app";r=0;t=\d+$', "nothing left")
    b = e.call(B)
    is_((b.status, b.header("RateLimit")), (200, '"app";r=10;t=720'), "another app is not concerned")
    data = signed(A)
    is_(send(e.socket, data).status, 429, "over the limit")
    e.redis.command("DEL", e.redis.command("KEYS", "*a????app1").split(b"\r\n")[2])
    a = send(e.socket, data)
    is_(a.status, 200, "a request refused by the limit burned no nonce")

with edge(Key("K"), *(keys := [Key("SLOWAPP001", app="slow", rate=1, burst=0), Key("FREEAPP001", app="free")])) as e:
    slow, free = keys
    is_(codes([e.call(slow) for _ in range(5)]), {200: 1, "RATE_LIMITED": 4}, "the key record's own rate")
    a = e.call(free)
    is_((a.status, a.header("RateLimit")), (200, None), "no limit, no headers")

# ---- Redis stops answering
def judges(answers):
    return [(a.status, a.header("X-Guard")) for a in answers]


def count(e, name):
    return e.status()["edge"][f"redis_{name}"]


with edge(A, guard="app=1000r/s burst=1000", location="add_header X-Guard $pay_guard always;") as e:
    first = signed(A)
    is_(judges([send(e.socket, first)]), [(200, "redis")], "with Redis")
    e.reload(redis="timeout=50ms failures=3 pause=1h")
    ok(wait_until(lambda: judges([e.call(A)]) == [(200, "redis")]), "with little patience, too")
    e.redis.pause()
    before = count(e, "timeouts")
    is_(judges([e.call(A) for _ in range(3)]), [(200, "local")] * 3, "SIGSTOP: passed by the node")
    is_(count(e, "timeouts") - before, 3, "after a deadline each")
    answers = [e.call(A) for _ in range(20)]
    is_(judges(answers), [(200, "local")] * 20, "so are others")
    is_((count(e, "timeouts") - before, count(e, "inflight")), (3, 3), "for which Redis is not asked")
    ok(all(a.header("RateLimit") for a in answers), "limits still count")
    is_(send(e.socket, first).code, "NONCE_REPLAYED", "the node knows the nonces from before")
    data = signed(A)
    is_(codes(together([lambda: send(e.socket, data)] * 10)), {200: 1, "NONCE_REPLAYED": 9}, "and from now")
    e.redis.go_on()
    e.reload(redis="timeout=1s failures=1 pause=100ms")
    ok(wait_until(lambda: judges([e.call(A)]) == [(200, "redis")]), "it goes on")
    e.redis.pause()
    is_(judges([e.call(A)]), [(200, "local")], "and stops again")
    e.redis.go_on()
    ok(wait_until(lambda: e.call(A).status == 200 and "redis answers again" in e.log.read_text()), "it is asked again")
    ok(wait_until(lambda: count(e, "inflight") == 0), "and has answered all")
    before = e.redis.command("DBSIZE")
    is_(judges([e.call(A) for _ in range(5)]), [(200, "redis")] * 5, "and judges")
    is_(int(e.redis.command("DBSIZE")[1:]) - int(before[1:]) in (5, 6), True, "and remembers")
    is_(send(e.socket, data).code, "NONCE_REPLAYED", "a nonce of the time without Redis is still known")

    # gone
    e.log.write_text("")
    e.redis.kill()
    ok(wait_until(lambda: "pay: redis:" in e.log.read_text()), "the loss is noticed")
    before = count(e, "timeouts")
    is_(judges([e.call(A) for _ in range(20)]), [(200, "local")] * 20, "killed: passed by the node")
    is_(count(e, "timeouts"), before, "and no deadline was waited for")
    e.redis.start()
    ok(wait_until(lambda: e.call(A).status == 200 and int(e.redis.command("DBSIZE")[1:]) > 1), "restarted: used again")
    e.redis.command("SCRIPT", "FLUSH")
    is_([e.call(A).status for _ in range(3)], [200] * 3, "a flushed script is loaded again")
    like(e.redis.command("INFO", "commandstats").decode(), "evalsha", "by EVALSHA")

# killed while requests wait
with edge(A, redis="timeout=1s failures=1000") as e:
    is_(e.call(A).status, 200, "warm")
    e.redis.pause()
    deadlines = count(e, "timeouts")
    got = []
    datas = [signed(A) for _ in range(20)]
    threads = [threading.Thread(target=lambda d=d: got.append(send(e.socket, d))) for d in datas]
    [t.start() for t in threads]
    wait_until(lambda: count(e, "inflight") == 20)
    e.redis.kill()
    [t.join() for t in threads]
    is_(codes(got), {200: 20}, "killed under waiting requests: all are answered")
    ok(count(e, "errors") > 0 and count(e, "errors") + count(e, "timeouts") - deadlines == 20,
       "by the end of the connection, not of their time", e.status()["edge"])

# closed
with edge(A, guard="fallback=closed", redis="timeout=1s failures=2 pause=200ms") as e:
    is_(e.call(A).status, 200, "closed: with Redis")
    e.redis.kill()
    a = e.call(A)
    ok((a.status, a.code) == (503, "RETRY_SAME_NUMBER") and a.signed_with(A) and a.header("Retry-After"),
       "closed: refused without Redis", a)
    e.redis.start()
    ok(wait_until(lambda: e.call(A).status == 200), "closed: serves again with Redis")

# ---- a local limit of its own
with edge(A, guard="app=5r/h burst=10") as e:
    e.redis.kill()
    wait_until(lambda: "pay: redis:" in e.log.read_text())
    seen = codes([e.call(A) for _ in range(30)])
    is_(seen, {200: 11, "RATE_LIMITED": 19}, "limit without Redis")

# ---- clients that go away while Redis is awaited, and a reload meanwhile
with edge(A, workers=2, redis="timeout=1s failures=100000") as e:
    is_(e.call(A).status, 200, "warm")
    e.redis.pause()
    socks = []
    for i in range(40):
        s = socket.socket(socket.AF_UNIX)
        s.connect(str(e.socket))
        s.sendall(signed(A))
        socks.append(s)
    wait_until(lambda: count(e, "inflight") == 40)
    [s.close() for s in socks]
    got = []
    threads = [threading.Thread(target=lambda d=signed(A): got.append(send(e.socket, d))) for _ in range(10)]
    [t.start() for t in threads]
    wait_until(lambda: count(e, "inflight") >= 50)
    e.process.send_signal(1)
    [t.join() for t in threads]
    is_(codes(got), {200: 10}, "reload while requests wait for Redis: all are answered")
    e.redis.go_on()
    ok(wait_until(lambda: e.call(A).status == 200), "and the new processes serve")

done()
