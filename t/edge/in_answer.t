#!/usr/bin/python3
"""What the merchant is told when a worker is away, silent, breaks off or says too much; RSA signatures
under load; clients that leave; reloads. The truth is one of: not processed, or unknown."""
import gzip
import os
import signal
import subprocess
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
from edge import PLATFORM, WECHAT, Key, connect, edge, read_answer, signed, wait_until  # noqa: E402
from processes import KILLED  # noqa: E402
from tap import done, is_, ok  # noqa: E402

H, R = Key("HMAC000001"), Key("RSA0000001", "rsa")


def told(a, status, code, name, key=H, signer=None, prefix="Pay-"):
    ok((a.status, a.code, a.json.get("status")) == (status, code, status) and a.signed_with(signer or key, prefix)
       and a.header("Content-Type") == "application/problem+json", f"{name}: signed {status} {code}", a)


def run_later(calls, got):
    """Threads whose answers come into `got`."""
    threads = [threading.Thread(target=lambda c=c: got.append(c())) for c in calls]
    [t.start() for t in threads]
    return threads


def run_all(calls):
    got = []
    [t.join() for t in run_later(calls, got)]
    return got


with edge(H, R, workers=1, location="proxy_read_timeout 2s;", server="gzip on; gzip_min_length 1; gzip_types *;") as e:
    for key, signer in ((H, H), (R, PLATFORM)):
        for do in ("close", "garbage", "truncated"):
            told(e.call(key, headers={"X-Do": do}), 504, "RESULT_UNKNOWN", f"{key.alg}: worker says {do}", key, signer)
        a = e.call(key, headers={"X-Do": "hold"})
        told(a, 504, "RESULT_UNKNOWN", f"{key.alg}: silent", key, signer)
        told(e.call(key, headers={"X-Do": "big 300000"}), 500, "INTERNAL", f"{key.alg}: an answer beyond the cap", key,
             signer)
        a = e.call(key, headers={"X-Do": "big 262144"})
        ok(a.status == 200 and len(a.body) == 262144 and a.signed_with(signer), f"{key.alg}: an answer of the cap's size")

    # many requests on one connection, one after the other and pipelined
    with connect(e.socket) as s:
        f = s.makefile("rb")
        for i in range(5):
            key = (H, R)[i % 2]
            s.sendall(signed(key, close=False))
            a = read_answer(f)
            ok(a.status == 200 and a.signed_with(key if key is H else PLATFORM), f"keepalive {i}")
        s.sendall(b"".join(signed((H, R)[i % 2], close=False, headers={"X-Do": ("200", "204", "422")[i % 3]})
                           for i in range(12)))
        answers = [read_answer(f) for _ in range(12)]
        ok(all(a.signed_with((H, PLATFORM)[i % 2]) for i, a in enumerate(answers))
           and [a.status for a in answers] == [200, 204, 422] * 4, "twelve pipelined requests, in order")

    # the signature is over the body before gzip
    a = e.call(H, headers={"X-Do": "big 5000", "Accept-Encoding": "gzip"})
    is_(a.header("Content-Encoding"), "gzip", "gzip is on")
    a.body = gzip.decompress(a.body)
    ok(a.signed_with(H), "the signature holds under gzip")

    # workers away
    e.payd.stop()
    for key, signer, scheme, prefix in ((H, H, None, "Pay-"), (R, PLATFORM, None, "Pay-"),
                                        (R, PLATFORM, WECHAT, "Wechatpay-")):
        a = e.call(key, scheme=scheme)
        told(a, 503, "RETRY_SAME_NUMBER", f"{scheme or key.alg}: worker away", key, signer, prefix)
        is_(a.header("Retry-After"), "1", "and when to try again")
    e.payd.start()
    ok(wait_until(lambda: e.call(H).status == 200), "the worker is back")

# ---- clients leave while the worker, the key, the thread are awaited
with edge(H, R, workers=1, location="proxy_ignore_client_abort on;") as e:
    is_((e.call(H).status, e.call(R).status), (200, 200), "warm")
    for key in (H, R):
        for do in ("200", "slow 0.2"):
            socks = []
            for _ in range(30):
                s = connect(e.socket)
                s.sendall(signed(key, headers={"X-Do": do}))
                socks.append(s)
            [s.close() for s in socks]
            is_(e.call(key).status, 200, f"{key.alg}: thirty clients left, {do}")
    got = run_all([lambda: e.call(R)] * 60)
    ok(all(a.status == 200 and a.signed_with(PLATFORM) for a in got), "sixty RSA answers at the same time")
    nice = subprocess.run(["ps", "-L", "-o", "ni=", "-p", str(e.workers()[0])], capture_output=True, text=True).stdout
    is_(sorted(int(n) for n in nice.split()), [os.nice(0), min(os.nice(0) + 10, 19)], "one thread, with low priority")

# ---- a full RSA queue refuses before anything is done
with edge(H, R, platform="queue=5") as e:
    e.call(R), e.call(H)
    e.payd.requests.clear()
    got = []
    threads = run_later([lambda: e.call(R, headers={"X-Do": "gate"})] * 15 + [lambda: e.call(H)] * 5, got)
    wait_until(lambda: len(e.payd.requests) == 10 and len(got) == 15)
    e.payd.gate.set()
    [t.join() for t in threads]
    over = [a for a in got if a.code == "OVERLOADED"]
    fine = [a for a in got if a.status == 200]
    is_((len(over), len(fine)), (10, 10), "five places: the others are refused, HMAC is not concerned")
    ok(all(a.status == 503 and a.unsigned and a.header("Retry-After") for a in over), "503, unsigned")
    is_(len(e.payd.requests), 10, "refused requests did not reach the worker")
    is_([e.call(R).status for _ in range(10)], [200] * 10, "places come back")
    is_({e.call(R, signature="AAAA").code for _ in range(10)}, {"SIGN_ERROR"}, "also after forgeries")
    is_(e.call(R).status, 200, "and the service goes on")

# ---- reload while everything is in progress
with edge(H, R, workers=2, alerts=KILLED) as e:
    got = []
    threads = run_later([lambda k=k: e.call(k, headers={"X-Do": "gate"}) for k in (H, R) * 10], got)
    wait_until(lambda: len(e.payd.requests) == 20)
    e.reload()
    e.payd.gate.set()
    [t.join() for t in threads]
    is_([a.status for a in got], [200] * 20, "requests in progress outlive a reload")
    stop, bad = threading.Event(), []

    def load(key):
        while not stop.is_set():
            a = e.call(key)
            if a.status != 200 or not a.signed_with(key if key is H else PLATFORM):
                bad.append(a)

    threads = [threading.Thread(target=load, args=(k,)) for k in (H, R, H, R)]
    [t.start() for t in threads]
    for _ in range(5):
        e.reload()
    stop.set()
    [t.join() for t in threads]
    is_(bad[:3], [], "five reloads under load")
    # a killed process
    os.kill(e.workers()[0], signal.SIGKILL)
    ok(wait_until(lambda: len(e.workers()) == 2 and all(e.call(H).status == 200 for _ in range(4))),
       "a killed process is replaced")

done()
