#!/usr/bin/python3
"""R1.10, R10.3: pools. Which one a request goes to; that an order stays in its pool; that a pool at its bound
refuses at once, exactly, and nobody else notices; that no place leaks."""
import os
import signal
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
import edge as lib  # noqa: E402
from edge import Edge, FakePayd, Key, connect, edge, payment, signed, wait_until  # noqa: E402
from processes import KILLED  # noqa: E402
from tap import done, is_, like, ok  # noqa: E402


class Worker(FakePayd):
    """Counts what is open at once; `gate` waits until it is opened."""

    def __init__(self, folder, keys):
        super().__init__(folder, keys)
        self.gate, self.now, self.most = threading.Event(), 0, 0

    def answer(self, c, do, headers):
        with self.lock:
            self.now += 1
            self.most = max(self.most, self.now)
        if do == "gate":
            self.gate.wait(20)
            do = "200"
        with self.lock:  # over before its last byte leaves
            self.now -= 1
        return super().answer(c, do, headers)


lib.FakePayd = Worker
A, B = Key("K1"), Key("K2", mchid="1900000002", app="app2")
CHANNELS = "".join(f"pay_channel {name} {{ endpoint http://127.0.0.1:1; adapter test; methods native; priority {i};"
                   f" amount 1 {100 * i}; timeout connect=1s send=1s read=1s; }}\n" for i, name in enumerate(("one", "two"), 1))


def pool(name, upstream, *when, in_flight=100):
    lines = "".join(f"when {w}; " for w in when)
    return f"pay_pool {name} {{ upstream {upstream}; in_flight {in_flight}; {lines}}}\n"


ALL = pool("rest", "pay_orders", "all")
OPTIONS = dict(location="pay_pools on; pay_route on;", upstream="$pay_pool")


class Two:
    """An edge and a second group of workers behind the upstream `canary`."""

    def __init__(self, e):
        self.e = e
        (e.folder / "two").mkdir(mode=0o711)
        self.rest, self.canary = e.payd, Worker(e.folder / "two", [])
        self.canary.start()

    def http(self, *pools):
        canary = f"upstream canary {{ hash $pay_slot; server unix:{self.e.folder}/two/api.sock max_fails=0; keepalive 8; }}\n"
        return canary + CHANNELS + "".join(pools)

    def pools(self, *pools, **options):
        self.e.reload(http=self.http(*pools), **options)

    def where(self, key=A, method="POST", target="/v1/payments", body=None, **more):
        """Which group of workers got it, by its number of requests."""
        before = len(self.rest.requests), len(self.canary.requests)
        a = self.e.call(key, method, target, payment(**more) if method == "POST" and body is None else body or b"")
        after = len(self.rest.requests), len(self.canary.requests)
        got = [name for name, x, y in zip(("rest", "canary"), before, after) if y > x]
        return got[0] if a.status == 200 and len(got) == 1 else (a.status, a.code, got)

    def status(self, name):
        return next(p for p in self.e.status()["pools"] if p["name"] == name)


FIND = dict(method="GET", target="/v1/payments?out_trade_no=ABC12345")
CLOSE = dict(method="POST", target=f"/v1/payments/P20250101{3600 << 32:019d}/close", body=b"{}")
GET = dict(method="GET", target=f"/v1/payments/P20250101{3600 << 32:019d}")
# Name, when of the pool `gray`, request, where. All lines stand in one pool: every case has a key of its own and its
# lines one more condition, that key's app (or merchant, where the app is what is tested).
TABLE = [
    ("no when takes nothing", [], {}, "rest"),
    ("all", ["all"], {}, "canary"),
    ("merchant", ["merchant=1900000002"], {"mchid": "1900000002"}, "canary"),
    ("merchant, another", ["merchant=1900000002"], {}, "rest"),
    ("all but a merchant", ["merchant!=1900000002"], {"mchid": "1900000002"}, "rest"),
    ("a list of merchants", ["merchants=list"], {"mchid": "1900000002"}, "canary"),
    ("app", ["app=app2"], {"app": "app2"}, "canary"),
    ("work: create", ["work=create"], {}, "canary"),
    ("work: query", ["work=query"], FIND, "canary"),
    ("work: a creation is no query", ["work=query,close"], {}, "rest"),
    ("work: query by id", ["work=query"], GET, "canary"),
    ("work: close", ["work=close"], CLOSE, "canary"),
    ("work: other", ["work=query,create,other"], CLOSE, "rest"),
    ("first channel", ["channel=one"], {}, "canary"),
    ("first channel by amount", ["channel=two"], {"amount": {"total": 150}}, "canary"),
    ("another first channel", ["channel=two"], {}, "rest"),
    ("a query has no channel", ["channel=one,two"], FIND, "rest"),
    ("scene", ["scene=store"], {"scene": "store"}, "canary"),
    ("scene, another", ["scene=store"], {"scene": "app"}, "rest"),
    ("method", ["method=native"], {}, "canary"),
    ("the whole share", ["share=1/1"], {}, "canary"),
    ("parts of a line", ["work=create merchant=1900000002"], {}, "rest"),
    ("one of the lines", ["merchant=1900000002", "work=create"], {}, "canary"),
]


def tagged(i, when, mchid="1900000001", app=None, **request):
    """The case's key, its lines, its request."""
    if app:
        return Key(f"T{i}", mchid=f"t{i}", app=app), [f"{w} merchant=t{i}" for w in when], request
    return Key(f"T{i}", mchid=mchid, app=f"t{i}"), [f"{w} app=t{i}".replace("all ", "") for w in when], request


CASES = [tagged(i, when, **request) for i, (_, when, request, _) in enumerate(TABLE)]


def choice(two):
    two.pools(pool("gray", "canary", *(line for _, lines, _ in CASES for line in lines)), ALL)
    for (name, _, _, want), (key, _, request) in zip(TABLE, CASES):
        is_(two.where(key, **request), want, name)
    two.pools(pool("first", "canary", "merchant=1900000001"), pool("second", "pay_orders", "all"), pool("third", "canary", "all"))
    is_((two.where(A), two.where(B)), ("canary", "rest"), "the first pool of the file that takes it")
    like(two.canary.requests[-1]["pay-route"], " pool=first$", "a new payment's trace is told")


def gray(two):
    """Growing shares, by one line and a reload: an order that is in stays in, in all of its requests."""
    inside = set()
    for share in ("1/256", "1/8", "1/2"):
        two.pools(pool("gray", "canary", f"share={share}"), ALL)
        now = {i for i in range(150) if two.where(out_trade_no=f"GRAY{i}00") == "canary"}
        ok(inside <= now, f"{share}: who was in stays in")
        inside = now
    ok(45 <= len(inside) <= 105, "about a half", len(inside))
    is_({i for i in range(0, 150, 9) if two.where(out_trade_no=f"GRAY{i}00") == "canary"}, {i for i in inside if i % 9 == 0},
        "a repeated order goes where it went")
    found = {i for i in range(0, 150, 9)
             if two.where(method="GET", target=f"/v1/payments?out_trade_no=GRAY{i}00") == "canary"}
    is_(found, {i for i in inside if i % 9 == 0}, "and so does its query by number")
    two.pools(ALL)
    is_({two.where(out_trade_no=f"GRAY{i}00") for i in sorted(inside)[:10]}, {"rest"}, "one line takes all of them back")


def hold(two, key, count, payd, do="gate"):
    """So many requests that wait for their worker, as open connections."""
    at = len(payd.requests)
    sockets = []
    for _ in range(count):
        s = connect(two.e.socket)
        s.sendall(signed(key, body=payment(), headers={"X-Do": do}))
        sockets.append(s)
    wait_until(lambda: len(payd.requests) == at + count)
    return sockets


def drop(sockets):
    for s in sockets:
        s.close()


def bound(two):
    """Each merchant has a pool here: gray for B, rest for the others."""
    two.canary.gate.clear()
    two.pools(pool("gray", "canary", "merchant=1900000002", in_flight=3), pool("rest", "pay_orders", "all", in_flight=4))
    held = hold(two, B, 3, two.canary)
    a = two.e.call(B, body=payment())
    is_((a.status, a.code, a.header("Retry-After")), (503, "OVERLOADED", "1"), "a flooded merchant's pool is full: refused at once")
    ok(a.signed_with(B), "with a signature")
    is_([two.where(A) for _ in range(5)], ["rest"] * 5, "nobody of the other pool notices")
    is_(two.status("gray"), {**two.status("gray"), "upstream": "canary", "in_flight": 3, "bound": 3, "refused": 1}, "the status shows it")
    is_((two.status("rest")["in_flight"], two.status("rest")["refused"]), (0, 0), "and that the other one is well")
    two.canary.gate.set()
    is_([s.recv(12) for s in held], [b"HTTP/1.1 200"] * 3, "those who waited are answered")
    drop(held)
    is_([two.where(B) for _ in range(5)], ["canary"] * 5, "there is room again")
    s = two.status("gray")
    is_((s["in_flight"], s["answers"]["2xx"], s["answers"]["5xx"]), (0, s["requests"], 0), "every answer is counted")
    metrics = lib.send(two.e.socket, b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").body.decode()
    like(metrics, r'\npay_pool_refused_total\{pool="gray"\} 1\n', "also for Prometheus")
    like(metrics, r'\npay_pool_in_flight\{pool="rest"\} 0\n', "in flight, too")


def leaks(two):
    """Whoever had a place and is gone gives it back."""
    two.canary.gate.clear()
    drop(hold(two, B, 3, two.canary))
    ok(wait_until(lambda: two.status("gray")["in_flight"] == 0), "the merchant goes away")
    drop(hold(two, B, 1, two.canary, "close"))
    ok(wait_until(lambda: two.status("gray")["in_flight"] == 0), "the worker closes the connection")
    is_(two.status("gray")["answers"]["5xx"], 1, "and the 502 is counted")

    held = hold(two, B, 3, two.canary)
    two.e.reload(http=two.http(pool("gray", "canary", "merchant=1900000002", in_flight=4), ALL))
    is_(two.status("gray")["in_flight"], 3, "a reload: what the old process has still counts")
    is_((two.e.call(B, body=payment(), headers={"X-Do": "200"}).status, two.status("gray")["bound"]), (200, 4), "beside one more")
    two.canary.gate.set()
    is_([s.recv(12) for s in held], [b"HTTP/1.1 200"] * 3, "it finishes its requests")
    ok(wait_until(lambda: two.status("gray")["in_flight"] == 0), "and its places are free")
    drop(held)

    two.canary.gate.clear()
    held = hold(two, B, 4, two.canary)
    killed = two.e.workers()
    for pid in killed:
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: (now := two.e.workers()) and not set(now) & set(killed))
    is_(two.status("gray")["in_flight"], 0, "a killed process had nothing in flight")
    two.canary.gate.set()
    drop(held)
    is_(two.where(B), "canary", "and its successor serves")


def exact():
    """Four processes, three times as many requests as places: never one too many."""
    with edge(A, workers=4, **OPTIONS, http=CHANNELS + pool("rest", "pay_orders", "all", in_flight=20)) as e:
        results = []

        def client():
            for _ in range(10):
                results.append(e.call(A, body=payment(), headers={"X-Do": "slow 0.01"}).status)

        for wave in range(2):
            held = []
            for _ in range(15):
                s = connect(e.socket)
                s.sendall(signed(A, body=payment(), headers={"X-Do": "gate"}))
                held.append(s)
            wait_until(lambda: e.payd.now == 15)
            threads = [threading.Thread(target=client) for _ in range(24)]
            [t.start() for t in threads]
            [t.join() for t in threads]
            drop(held)
            e.payd.gate.set()
            wait_until(lambda: e.payd.now == 0)
            e.payd.gate.clear()
        is_(sorted(set(results)), [200, 503], "some are served, some refused")
        ok(15 < e.payd.most <= 20, "never more than the bound at the workers", e.payd.most)
        s = e.status()["pools"][0]
        ok(wait_until(lambda: e.status()["pools"][0]["in_flight"] == 0), "and nothing is left")
        is_((s["requests"], s["refused"]), (results.count(200) + 30, results.count(503)), "everything is counted")


def queue():
    """Places for RSA signatures: a stuck pool has its own, at most."""
    e = Edge(A, **OPTIONS, http=CHANNELS + pool("a", "pay_orders", "work=query", in_flight=600)
             + pool("b", "pay_orders", "all", in_flight=425))
    like(e.test(), r'"in_flight" 1025, but "pay_platform_key" has queue=1024.* in \S+nginx.conf:\d+', "more places than signatures")
    is_(e.test(e.conf(platform="queue=1025")), "", "enough of them")
    e.stop()


def errors():
    e = Edge(A, **OPTIONS)
    good = CHANNELS + ALL
    is_(e.test(e.conf(http=good)), "", "the sample is accepted")
    wrong = [
        (CHANNELS + pool("a", "nowhere", "all"), 'no such "upstream" is declared'),
        (CHANNELS + pool("a", "pay_orders", "merchant=1"), 'no pay_pool has "when all"'),
        (CHANNELS + pool("a", "pay_orders"), 'no pay_pool has "when all"'),
        (good * 2, "duplicate pay_channel"),
        (good + ALL, 'duplicate pay_pool "rest", first in '),
        (good + "pay_pool x { in_flight 1; }", 'no "upstream" in pay_pool "x"'),
        (good + "pay_pool x { upstream pay_orders; }", 'no "in_flight" in pay_pool "x"'),
        (good + "pay_pool x { upstream pay_orders; in_flight 0; }", 'invalid value "0" in "in_flight"'),
        (good + "pay_pool x { upstream pay_orders; in_flight 1000001; }", 'invalid value "1000001" in "in_flight"'),
        (good + "pay_pool X { upstream pay_orders; in_flight 1; }", 'invalid value "X" in "pay_pool"'),
        (good + "pay_pool x { server y; }", 'unknown directive "server" in pay_pool "x"'),
        (good + pool("x", "pay_orders", "channel=three"), 'unknown channel "three"'),
        (good + pool("x", "pay_orders", "work=play"), 'invalid value "work=play" in "when"'),
        (good + pool("x", "pay_orders", "amount=1-2"), 'invalid value "amount=1-2" in "when"'),
        (good + pool("x", "pay_orders", "wallet=wechat"), 'invalid value "wallet=wechat" in "when"'),
        (good + "".join(pool(f"x{i}", "pay_orders", in_flight=1) for i in range(32)), "at most 32 blocks"),
        (good + "".join(pool(f"x{i}", "pay_orders", *["work=query"] * 40, in_flight=1) for i in range(7)), 'more than 256 "when"'),
        (CHANNELS, '"pay_pools" needs "pay_pool"'),
    ]
    for text, reason in wrong:
        said = e.test(e.conf(http=text))
        lines = [line for line in said.splitlines() if "[emerg]" in line and reason in line]
        ok(lines and " in " in lines[0] and "nginx.conf:" in lines[0], reason, said)
    e.test(e.conf(http=good))
    like(e.test(e.conf(http=good).replace("pay_sign on;", "pay_sign off;").replace("pay_guard", "# pay_guard").replace("pay_route on;", "")),
         r'"pay_pools" needs "pay_sign on" in \S+nginx.conf:\d+', "without a signature")
    like(e.test(e.conf(http=good, location="pay_pools maybe;")), r'invalid value "maybe".* in \S+nginx.conf:\d+', "a switch")
    e.stop()


def main():
    with edge(A, B, *(key for key, _, _ in CASES), **OPTIONS, http=CHANNELS + ALL,
              server="location /metrics { pay_status prometheus; }", alerts=KILLED) as e:
        (e.folder / "list").write_text("1900000002\n")
        two = Two(e)
        try:
            choice(two)
            gray(two)
            bound(two)
            leaks(two)
        finally:
            two.canary.stop()
    exact()
    queue()
    errors()
    done()


main()
