#!/usr/bin/python3
"""R10.3: a canary that is worse than the pool beside it steps back by itself, tells why, and stays back over reloads
and restarts until an operator switches it on. Pools are switched by operators as channels are."""
import os
import re
import subprocess
import sys
import threading
import time
from pathlib import Path

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
import edge as lib  # noqa: E402
from edge import Edge, FakePayd, Key, connect, edge, payment, signed, wait_until  # noqa: E402
from egress import http  # noqa: E402
from processes import KILLED  # noqa: E402
from tap import done, is_, like, ok  # noqa: E402


class Worker(FakePayd):
    """Answers every request as `do` says, while it says anything."""

    do = ""

    def answer(self, c, do, headers):
        return super().answer(c, self.do or do, headers)


lib.FakePayd = Worker
PAYCTL = Path(__file__).resolve().parents[2] / os.environ.get("PAY_BUILD", "build") / "payctl"
A = Key("K1")
CHANNEL = ("pay_channel one { endpoint http://127.0.0.1:1; adapter test; methods native; amount 1 1000;"
           " timeout connect=1s send=1s read=1s; }\n")
REST = "pay_pool rest { upstream pay_orders; in_flight 100; when all; }\n"
OPTIONS = dict(location="pay_pools on; pay_route on;", upstream="$pay_pool")


# a busy machine must not look like a slow canary: only the test of that compares times
def canary(back="step_back rest requests=20 slower=off;", when="share=1/2"):
    return f"pay_pool canary {{ upstream canary; in_flight 100; {back} when {when}; }}\n"


class Two:
    def __init__(self, e):
        self.e = e
        (e.folder / "two").mkdir(mode=0o711)
        self.rest, self.canary = e.payd, Worker(e.folder / "two", [])
        self.canary.start()

    def http(self, *pools):
        f = self.e.folder
        return (f"upstream canary {{ hash $pay_slot; server unix:{f}/two/api.sock max_fails=0; keepalive 8; }}\n"
                f"pay_state_file state; server {{ listen unix:{f}/control.sock; location / {{ pay_control on; }} }}\n"
                + CHANNEL + "".join(pools))

    def pools(self, *pools):
        self.e.reload(http=self.http(*pools))

    def pay(self, count=1):
        """-> statuses, and how many of them the canary answered"""
        before = len(self.canary.requests)
        return [self.e.call(A, body=payment()).status for _ in range(count)], len(self.canary.requests) - before

    def pay_on(self, count):
        """As many at least, and while the node, which looks ten times a second, has looked some times."""
        statuses, mine = self.pay(count)
        end = time.monotonic() + 0.5
        while time.monotonic() < end:
            more, also = self.pay()
            statuses, mine = statuses + more, mine + also
        return statuses, mine

    def status(self, name="canary"):
        return next(p for p in self.e.status()["pools"] if p["name"] == name)

    def metrics(self):
        return lib.send(self.e.socket, b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").body.decode()

    def control(self, method="GET", target="/pools/canary", body=None):
        data = lib.encode(body)
        return http(str(self.e.folder / "control.sock"), f"{method} {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
                    f"Content-Length: {len(data)}\r\n\r\n".encode() + data)

    def switch(self, state, name="canary", **more):
        return self.control("PUT", f"/pools/{name}/state", {"state": state, **more})

    def until_back(self, name):
        """Payments until the canary is off."""
        def look():
            self.pay(4)
            return self.status()["state"] == "off"
        return ok(wait_until(look, 60), name)


def well(two):
    is_([set(two.pay_on(60)[0]), two.status()["state"], two.status()["stepped_back"]], [{200}, "on", 0], "a good canary stays")
    ok(two.pay(60)[1] > 10, "and has its share")
    two.canary.do = two.rest.do = "500"
    two.pay_on(80)
    is_((two.status()["state"], two.status()["stepped_back"]), ("on", 0), "one that fails as often as the others stays")
    two.rest.do = two.canary.do = ""
    two.switch("on")  # what was is forgiven
    two.rest.do = "500"
    two.pay_on(60)
    is_(two.status()["state"], "on", "one that is better does")
    two.rest.do = ""
    two.switch("on")


def back(two):
    two.canary.do = "500"
    two.until_back("one that fails steps back")
    statuses, mine = two.pay(30)
    is_((set(statuses), mine), ({200}, 0), "nobody goes there any more")
    c = two.control().json
    like(c["switch"]["reason"], r"^[\d.]+% of \d+ failed, in rest [\d.]+% of \d+$", "why")
    is_(("uid" in c["switch"], c["state"], c["compared_with"], c["stepped_back"], c["kept"]), (False, "off", "rest", 1, True),
        "and that it was nobody")
    like(two.e.log.read_text(), r'\[error\].* pay_pool "canary" steps back: [\d.]+% of \d+ failed', "the log tells it")
    like(two.e.log.read_text(), r'pay_pool "canary" switched off by uid', "as a switch")
    like(two.metrics(), r'\npay_pool_on\{pool="canary"\} 0\n', "the metrics show it")
    like(two.metrics(), r'\npay_pool_stepped_back_total\{pool="canary"\} 1\n', "and count it")
    like((two.e.folder / "state").read_text(), r"\npool:canary off \d+ \d+ ", "it is written down")
    is_([c["name"] for c in two.control("GET", "/channels").json["channels"]], ["one"], "and is no channel")
    is_(two.control("GET", "/channels/pool:canary").status, 404, "by no way")

    two.canary.do = ""
    two.pools(canary(), REST)
    is_((two.pay(20)[1], two.status()["state"]), (0, "off"), "a reload does not bring it back")
    workers = two.e.workers()
    two.e.process.kill()
    two.e.process.wait()
    for pid in workers:
        os.kill(pid, 9)
    for name in ("edge.sock", "edge2.sock", "control.sock"):
        (two.e.folder / name).unlink(missing_ok=True)
    two.e.start_nginx()
    is_((two.pay(20)[1], two.status()["state"]), (0, "off"), "nor does a restart")
    like(two.control().json["switch"]["reason"], " failed, in rest ", "the reason stays")

    a = two.switch("on", reason="mended")
    is_((a.status, a.json["state"], "switch" in a.json), (200, "on", False), "an operator switches it on")
    ok(two.pay(60)[1] > 10, "it has its share again")
    is_("pool:" in (two.e.folder / "state").read_text(), False, "and nothing is written of it")
    is_(two.status()["state"], "on", "what it did before is forgiven")
    two.canary.do = "404"
    two.until_back("success is what counts: refusing is failing, too")
    two.canary.do = ""
    two.switch("on")
    is_((set(two.pay_on(20)[0]), two.status()["state"]), ({200}, "on"), "forgiven without a restart, too")


def limits(two):
    """Each number of step_back counts as it is written."""
    def stays(back, name, pay=lambda: two.pay_on(200)):
        two.pools(canary(f"step_back rest {back};", "share=1/4"), REST)
        two.switch("on")
        mine, c = pay()[1], two.control().json
        is_((mine > 20, c["state"], c.get("switch")), (True, "on", None), f"{back}: {name}")

    two.canary.do = "500"
    stays("requests=180 slower=off", "fewer failures than that are early", lambda: two.pay(400))
    two.until_back("then it steps back")
    reason = two.control().json["switch"]["reason"]
    ok(int(re.search(r" of (\d+) failed", reason)[1]) >= 180, "and not before", reason)
    stays("requests=20 failures=100% slower=off", "all of them may fail")
    # the canary takes six times as long
    two.canary.do, two.rest.do = "slow 0.03", "slow 0.005"
    stays("requests=20 slower=10000%", "not slow enough")
    stays("requests=20 slower=off", "it may take any time")
    two.canary.do = two.rest.do = ""
    two.pools(canary(), REST)
    two.switch("on")


def full(two):
    two.pools(canary().replace("in_flight 100;", "in_flight 1;"), REST)
    two.canary.do = "gate"
    held = []

    def look():
        s = connect(two.e.socket)
        s.sendall(signed(A, body=payment()))
        held.append(s)
        return two.status()["in_flight"] == 1

    ok(wait_until(look), "the only place is taken")
    two.until_back("one that is full steps back")
    like(two.control().json["switch"]["reason"], r"^[\d.]+% of \d+ failed", "because it refuses")
    for s in held:
        s.close()
    two.canary.do = ""
    two.canary.gate.set()
    ok(wait_until(lambda: two.status()["in_flight"] == 0), "its place is free again")
    two.canary.gate.clear()
    two.switch("on")


def slow(two):
    # more places than will be needed: no request is refused
    two.pools(canary("step_back rest requests=20;").replace("in_flight 100;", "in_flight 900;"), REST)
    two.canary.do = "slow 0.3"

    def client():
        while two.status()["state"] == "on":
            two.pay()

    threads = [threading.Thread(target=client) for _ in range(8)]
    [t.start() for t in threads]
    [t.join(60) for t in threads]
    is_(two.status()["state"], "off", "one that is slow steps back")
    like(two.control().json["switch"]["reason"], r"^\d+ requests took \d+ ms, in rest \d+ took \d+ ms$", "with its times")
    two.canary.do = "gate"
    two.switch("on")
    held = []

    def look():
        for _ in range(4):
            s = connect(two.e.socket)
            s.sendall(signed(A, body=payment()))
            held.append(s)
        return two.status()["state"] == "off"

    ok(wait_until(look, 60), "one that never answers does: who waits counts")
    like(two.control().json["switch"]["reason"], r"^\d+ requests took \d+ ms, ", "by the time they wait")
    is_(two.pay(10)[0], [200] * 10, "and the others go on")
    for s in held:
        s.close()
    two.canary.do = ""
    two.canary.gate.set()
    ok(wait_until(lambda: two.status()["in_flight"] == 0), "nobody waits any more")
    two.pools(canary(), REST)
    two.switch("on")


def operators(two):
    for what, name, status, code in (("on", "none", 404, "POOL_UNKNOWN"), ("off", "rest", 409, "POOL_NEEDED"),
                                     ("drain", "canary", 400, "FIELD_INVALID"), ("config", "canary", 400, "FIELD_INVALID")):
        a = two.switch(what, name)
        is_((a.status, a.code), (status, code), f"{name} {what}")
    is_(two.control("GET", "/pools/none").code, "POOL_UNKNOWN", "no such pool")
    like(two.switch("drain").json["detail"], "^on, off$", "what is possible is said")
    is_([p["name"] for p in two.control("GET", "/pools").json["pools"]], ["canary", "rest"], "all pools")
    payctl = [str(PAYCTL), "--control", f"unix:{two.e.folder}/control.sock", "pool"]
    run = subprocess.run([*payctl, "off", "canary", "--reason", "try it"], capture_output=True, text=True)
    like(run.stdout, r"canary +off +canary +0 +100 +rest +\S+ +\S+ +try it", "payctl pool off")
    is_((run.returncode, two.pay(20)), (0, ([200] * 20, 0)), "acts at once")
    is_(two.control().json["switch"]["uid"], os.getuid(), "by whom")
    run = subprocess.run([*payctl, "list"], capture_output=True, text=True)
    like(run.stdout, r"(?m)^rest +on +pay_orders", "payctl pool list")
    run = subprocess.run([*payctl, "off", "rest"], capture_output=True, text=True)
    like((run.returncode, run.stderr), "cannot be switched off: it has", "payctl tells why not")
    is_(subprocess.run([*payctl, "on", "canary"], capture_output=True).returncode, 0, "payctl pool on")
    ok(two.pay(60)[1] > 10, "and back")

    # one without step_back never steps back
    two.canary.do = "500"
    two.pools(canary(""), REST)
    two.pay_on(80)
    is_((two.status()["state"], two.status()["stepped_back"] > 0), ("on", True), "unless it is told to, it goes on")
    two.canary.do = ""


def damaged(two):
    two.pools(canary(), REST)
    two.e.process.terminate()
    two.e.process.wait()
    (two.e.folder / "state").write_text("ngx_pay switches 1\nend 5 00000000\n")
    two.e.start_nginx()
    is_((two.status()["state"], two.control().json["switch"]["reason"]), ("off", "the state file is damaged"),
        "a canary that may have stepped back is not on by accident")
    two.switch("on")
    ok(two.pay(60)[1] > 10, "until somebody says so")


def errors():
    e = Edge(A, **OPTIONS)
    good = CHANNEL + "upstream canary { server unix:/x; }\n"
    for back in ("step_back rest;", "step_back rest requests=20 failures=1% slower=110%;", "step_back rest slower=off;",
                 "step_back rest requests=100000 failures=100% slower=10000%;"):
        is_(e.test(e.conf(http=good + canary(back) + REST)), "", back)
    is_(e.test(e.conf(http=good + REST + canary())), "", "in any order")
    for pools, reason in (
            (canary("step_back none;") + REST, 'no other pay_pool "none" to compare "canary" with in '),
            (canary("step_back canary;") + REST, 'no other pay_pool "canary" to compare "canary" with in '),
            (canary("step_back rest requests=19;") + REST, 'invalid value "requests=19" in "step_back": 20 to 100000 are possible'),
            (canary("step_back rest requests=100001;") + REST, 'invalid value "requests=100001" in "step_back"'),
            (canary("step_back rest failures=0%;") + REST, 'invalid value "failures=0%" in "step_back": 1 to 100 % are possible'),
            (canary("step_back rest failures=101%;") + REST, 'invalid value "failures=101%"'),
            (canary("step_back rest failures=5;") + REST, 'invalid value "failures=5" in "step_back"'),
            (canary("step_back rest slower=109%;") + REST, 'invalid value "slower=109%" in "step_back": 110 to 10000 % are possible, or off'),
            (canary("step_back rest failures=off;") + REST, 'invalid value "failures=off"'),
            (canary("step_back rest slower=x%;") + REST, 'invalid value "slower=x%"'),
            (canary("step_back rest window=5s;") + REST, 'invalid value "window=5s" in "step_back"'),
            (canary("step_back rest; step_back rest;") + REST, '"step_back" is duplicate'),
            (canary("step_back;") + REST, 'invalid number of arguments in "step_back"'),
            (canary("step_back rest;", "all") + REST, '"step_back" is not possible in a pay_pool with "when all"'),
            (REST.replace("rest", "x" * 28), "is longer than 27 characters")):
        said = e.test(e.conf(http=good + pools))
        lines = [line for line in said.splitlines() if "[emerg]" in line and reason in line]
        ok(lines and re.search(r" in \S*nginx.conf:\d+", lines[0]), reason, said)
    said = e.test(e.conf(http=good.replace(CHANNEL, "") + canary() + REST, location="pay_pools on;"))
    like(said, r'"step_back" needs a "pay_channel".* in \S+nginx.conf:\d+', "without channels there are no switches")
    e.stop()


def main():
    with edge(A, **OPTIONS, http=CHANNEL + REST, workers=2, server="location /metrics { pay_status prometheus; }",
              alerts=(*KILLED, "cannot be read")) as e:
        two = Two(e)
        try:
            two.pools(canary(), REST)
            well(two)
            back(two)
            limits(two)
            full(two)
            slow(two)
            operators(two)
            damaged(two)
        finally:
            two.canary.stop()
    errors()
    done()


main()
