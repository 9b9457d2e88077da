#!/usr/bin/python3
"""R1.4, R1.5: requests that a worker handles in one turn of its loop and that have their limits in common ask Redis as one; each
is judged for itself. The worker stands still while they are sent, so that one turn has all of them."""
import os
import re
import signal
import sys
from pathlib import Path

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
import edge as lib  # noqa: E402
from edge import Key, connect, nonce, read_answer, signed, wait_until  # noqa: E402
from tap import done, is_, ok  # noqa: E402

A, B = Key("APPA000001", app="app1"), Key("APPB000001", app="app2")
OTHER = Key("APPC000001", app="app3", mchid="1900000002")
JOINED = 64  # at most, ngx_pay_redis_call.c


def edge(*keys, **options):
    """Patient with Redis: a loaded machine must not be judged by the node."""
    return lib.edge(*keys, **{"redis": "timeout=900ms", **options})


def send_at_once(e, datas):
    """The connections, in whose order the worker reads."""
    connections = [connect(e.socket) for _ in datas]
    for c in connections:  # known to the worker, which accepts one in a turn
        c.sendall(b"GET /status HTTP/1.1\r\nHost: x\r\n\r\n")
        read_answer(c.makefile("rb"))
    [worker] = e.workers()
    os.kill(worker, signal.SIGSTOP)
    wait_until(lambda: Path(f"/proc/{worker}/stat").read_text().rpartition(")")[2].split()[0] == "T")
    try:
        for c, data in zip(connections, datas):
            c.sendall(data)
    finally:
        os.kill(worker, signal.SIGCONT)
    return connections


def answers(connections):
    got = [read_answer(c.makefile("rb")) for c in connections]
    for c in connections:
        c.close()
    return got


def at_once(e, datas):
    return answers(send_at_once(e, datas))


def statuses(got):
    return [a.status for a in got]


def scripts(e):
    """EVALSHA commands so far."""
    calls = re.search(r"cmdstat_evalsha:calls=(\d+)", e.redis.command("INFO", "commandstats").decode())
    return int(calls[1]) if calls else 0


def asked(e, datas):
    before = scripts(e)
    got = at_once(e, datas)
    return got, scripts(e) - before


def left(got):
    return [a.header("RateLimit").split(";")[1] for a in got]


for algorithm, limit in ("GCRA", "rate=5r/h burst=4"), ("sliding", "rate=5r/h algorithm=sliding"):
    with edge(A, B, OTHER, location=f"pay_limit app {limit};") as e:
        is_(e.call(A).status, 200, f"{algorithm}: a request alone")
        datas = [signed(A) for _ in range(7)]
        got, calls = asked(e, datas)
        is_((statuses(got), calls), ([200] * 4 + [429] * 3, 1), f"{algorithm}: seven ask as one, and pass as far as the limit goes")
        is_(left(got[:4]), ["r=3", "r=2", "r=1", "r=0"], f"{algorithm}: each is told what it leaves")
        ok(all(a.header("Retry-After") and a.signed_with(A) for a in got[4:]), f"{algorithm}: those refused, when to come again")
        is_(e.call(A).status, 429, f"{algorithm}: what they used is counted")
        app = e.redis.command("KEYS", b"*}a????app1").split(b"\r\n")[2]
        e.redis.command("DEL", app)
        is_(statuses(at_once(e, datas[4:])), [200] * 3, f"{algorithm}: no nonce of those refused is burned")
        is_([a.code for a in at_once(e, datas)], ["NONCE_REPLAYED"] * 7, f"{algorithm}: all the others are")
        is_(left([e.call(A)]), ["r=1"], f"{algorithm}: replays do not count")
        again = signed(B)
        got, calls = asked(e, [signed(B), again, again, signed(B)])
        is_(([a.code or a.status for a in got], calls), ([200, 200, "NONCE_REPLAYED", 200], 1), f"{algorithm}: a replay beside its original")
        is_(left([got[0], got[1], got[3]]), ["r=4", "r=3", "r=2"], f"{algorithm}: does not count, either")
        got, calls = asked(e, [signed(k) for k in (B, OTHER, B, OTHER)])
        is_((statuses(got), calls), ([200] * 4, 2), f"{algorithm}: another merchant's ask by themselves")
        is_(e.status()["edge"]["fallbacks"], 0, f"{algorithm}: all by Redis")

# ---- a limit of all merchants
with edge(A, B, OTHER, location="pay_limit api rate=6r/h burst=5; pay_limit app rate=100r/h burst=99;") as e:
    is_(statuses(e.call(k) for k in (A, B, OTHER)), [200] * 3, "all keys are known")
    before = scripts(e)
    datas = [signed(k) for k in (A, B, OTHER, OTHER, A)]
    is_(statuses(at_once(e, datas)), [200] * 3 + [429] * 2, "an API's limit counts all of them together")
    ok(wait_until(lambda: scripts(e) >= before + 6), "one script for it, one for each app, and two that take back")
    is_((scripts(e) - before, e.status()["edge"]["undone"]), (6, 2), "what was counted for the refused")
    api = e.redis.command("KEYS", b"{p*").split(b"\r\n")[2]
    e.redis.command("DEL", api)
    is_(statuses(at_once(e, datas[3:])), [200] * 2, "whose nonces are not burned")
    is_(e.status()["edge"]["fallbacks"], 0, "all by Redis")

# ---- many
with edge(A, location="pay_limit app rate=1000r/h burst=999;") as e:
    is_(e.call(A).status, 200, "warm")
    got, calls = asked(e, [signed(A) for _ in range(2 * JOINED + 1)])
    is_((statuses(got), calls), ([200] * (2 * JOINED + 1), 3), f"{2 * JOINED + 1} requests need three scripts")
    is_(left([e.call(A)]), [f"r={1000 - 2 * JOINED - 3}"], "and are all counted")

    e.redis.command("SCRIPT", "FLUSH")
    is_(statuses(at_once(e, [signed(A) for _ in range(10)])), [200] * 10, "a flushed script")
    is_(left([e.call(A)]), [f"r={1000 - 2 * JOINED - 14}"], "counts each once")
    is_(e.status()["edge"]["fallbacks"], 0, "all by Redis")

    # a nonce that names its end, and lengths that differ
    odd = [nonce()[:n] for n in (16, 24, 31)] + ["N0-N" * 8, "z" * 32]
    got, calls = asked(e, [signed(A, nonce_str=n) for n in odd * 2])
    is_(([a.code or a.status for a in got], calls), ([200] * 5 + ["NONCE_REPLAYED"] * 5, 1), "nonces of all lengths")

# ---- Redis ends with a call on its way
with edge(A, redis="timeout=900ms failures=1000") as e:
    is_(e.call(A).status, 200, "warm")
    e.redis.pause()
    connections = send_at_once(e, [signed(A) for _ in range(10)])
    ok(wait_until(lambda: e.status()["edge"]["redis_inflight"] == 10), "ten wait for one call")
    e.redis.kill()
    is_(statuses(answers(connections)), [200] * 10, "killed: the node judges each")
    edge_status = e.status()["edge"]
    is_((edge_status["fallbacks"], edge_status["redis_inflight"]), (10, 0), "and nothing is left over")

done()
