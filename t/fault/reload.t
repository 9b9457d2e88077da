#!/usr/bin/python3
"""R1.14, change under load: reloads, a binary upgrade (USR2, QUIT) and the replacement of the workers one by one; no
request of a client that follows HTTP's rules fails, and nothing is ordered twice.

PAY_SOAK_SECONDS: ten reloads, one upgrade and one replacement, spread over so many seconds (make soak-reload)."""
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))
from flow import SLOW, done, flow_stack, is_, ok  # noqa: E402
from processes import Process, pid_in, start_time, wait_until  # noqa: E402
from zero import Load  # noqa: E402

SOAK = float(os.environ.get("PAY_SOAK_SECONDS", "0"))
MERCHANTS = 12 if SOAK else 6
RELOADS = 10 if SOAK else 3
PAUSE = SOAK / (RELOADS + 3) if SOAK else 0.5 * SLOW
WITHIN = 60 * SLOW


class Adopted:
    """A server that another process started: as much of subprocess.Popen as Process needs."""

    def __init__(self, pid: int) -> None:
        self.pid, self.returncode = pid, None

    def poll(self):
        if start_time(self.pid) is None:
            self.returncode = 0
        return self.returncode

    def wait(self, seconds: float = WITHIN):
        wait_until(lambda: self.poll() is not None, f"the end of {self.pid}", seconds)
        return self.returncode

    def kill(self):
        os.kill(self.pid, signal.SIGKILL)


def daemonise(stack):
    """A master in the foreground ignores USR2: this one goes to the background, as it does in production."""
    process = stack.processes["nginx"]
    process.stop()
    (stack.folder / "nginx.pid").unlink(missing_ok=True)
    command = [c for c in process.command if c not in ("-g", "daemon off;")]
    subprocess.run(command, check=True)
    wait_until(stack._nginx_ready, "nginx in the background", WITHIN)
    process.child = Adopted(int((stack.folder / "nginx.pid").read_text()))
    stack.registry.write(list(stack.processes.values()))


def some_load(load, seconds=PAUSE):
    """Lets it work for a while, and at least until every merchant was answered again."""
    before = [m.requests for m in load.merchants]
    time.sleep(seconds)
    wait_until(lambda: all(m.requests > b + 1 for m, b in zip(load.merchants, before)), "load", WITHIN)


def reload_nginx(stack, load):
    old = stack.children("nginx")
    stack.reload_nginx()
    some_load(load)
    wait_until(lambda: not any(map(start_time, old)), "the end of the old workers", WITHIN)


def upgrade(stack, load):
    """USR2: a new master with workers of its own; WINCH: the old workers stop; QUIT: the old master."""
    old, pidfile = stack.pid("nginx"), stack.folder / "nginx.pid"
    stack.signal("nginx", signal.SIGUSR2)
    wait_until(lambda: pid_in(pidfile) not in ("", str(old)), "a new master", WITHIN)
    new = int(pidfile.read_text())
    process = stack.processes["nginx"]
    wait_until(lambda: Path(f"/proc/{new}/task/{new}/children").read_text().split(), "its workers", WITHIN)
    wait_until(stack._nginx_ready, "the new workers to hear of keys", WITHIN)
    some_load(load)
    os.kill(old, signal.SIGWINCH)
    some_load(load)
    os.kill(old, signal.SIGQUIT)
    process.child.wait(WITHIN)
    process.child = Adopted(new)
    stack.registry.write(list(stack.processes.values()))
    some_load(load)
    is_(start_time(new) is not None and (stack.sockets / "egress.sock").exists(), True,
        "the new master serves, and the egress socket is there")


def replace(stack, load, name):
    """The successor takes the sockets over, then the old one is told to stop."""
    old = stack.processes[name]
    stack.log_start[name] = (stack.log / f"{name}.log").stat().st_size
    new = stack.processes[name] = Process(name, old.command, log=old.log, dies_with_parent=False)
    new.start()
    wait_until(lambda: new.check() or stack._payd_ready(name), f"the new {name}", WITHIN)
    stack.registry.write(list(stack.processes.values()))
    some_load(load)
    old.signal(signal.SIGTERM)
    code = old.child.wait(WITHIN)
    is_(code, 0, f"{name}: the old one stopped by itself")
    some_load(load)


def main():
    # the database and the bank have time for the load alone: no query of an unpaid order is due meanwhile
    quiet = {"query_interval": "1h", "query_max": "1h", "query_soon": "5s", "send_window": "5s", "answer_within": "30s"}
    patient = {"timeout": "connect=5s send=5s read=10s", "query_first": "1h"}
    # a replaced payd waits until nginx has closed its idle connections
    nginx = {} if SOAK else {f"http > upstream {u} > keepalive_timeout": "1s" for u in ("pay_orders", "pay_notify")}
    with flow_stack(orders=2, payd=quiet, channels={"wechat": patient, "bank": patient}, nginx=nginx) as stack:
        daemonise(stack)
        clients = [stack.client(("hmac", "rsa")[i % 2]) for i in range(MERCHANTS)]
        body = {"method": "native", "amount": {"total": 100, "currency": "CNY"}, "description": "load"}
        with Load(clients, body) as load:
            some_load(load)
            for i in range(RELOADS):
                reload_nginx(stack, load)
                is_(load.failed, [], f"reload {i + 1} of {RELOADS}: nothing failed")
            upgrade(stack, load)
            is_(load.failed, [], "binary upgrade: nothing failed")
            for name in stack.orders:
                replace(stack, load, name)
                is_(load.failed, [], f"{name} replaced: nothing failed")
            for name in ("timer0", "callback0"):
                stack.restart(name)
            some_load(load)
        is_(load.failed, [], "nothing failed to the end")
        ok(load.requests > 10 * MERCHANTS, f"{load.requests} requests, {load.repeated} repeated after a kept connection "
           f"had been closed, {load.processing} orders were answered before the channel had")
        orders = load.orders
        is_(len(set(orders)), len(orders), "every order has its own number")
        stored = {r[0]: int(r[1]) for r in stack.sql(
            "select out_trade_no, count(*) from pay.payment group by 1")}
        is_(sorted(o for o in orders if stored.get(o) != 1), [], "every acknowledged order is there, once")
        booked = stack.sql("select count(*) from pay.payment where state not in (1, 2)")
        is_(booked, [["0"]], "and none has a state it was not led to")
    done()


main()
