"""Every fault of the campaign. Each is made, lasts, and is lifted again; what is returned is the moment from which recovery
counts: that of the death, or that at which a fault which lasts was lifted."""
from __future__ import annotations

import os
import random
import re
import signal
import subprocess
import time
from dataclasses import dataclass
from typing import Callable

from flow import ROOT, SLOW, clear_faults, fault
from processes import NotReady, wait_until
from proxied import LINKS, ProxiedStack

WITHIN = 60 * SLOW
POINTS = re.findall(r"^    X\((\w+)\)", (ROOT / "backends/io/failpoint.h").read_text(), re.M)
# who passes a step; all others are passed by order0 and timer0
ONLY = {"NOTIFY": ("order0",), "TIMER": ("timer0",), "CALLBACK": ("callback0",)}
PAYD = ("order0", "timer0", "callback0", "relay0")
WRITES = ("create", "step,answer", "refund", "tried", "record", "relay_save")
CLOCK_S = 600
# of paybank, by which calls; `share` percent of them
BANK = {
    "silence, nothing booked": {"fault": "timeout_before"}, "silence, booked": {"fault": "timeout_after"},
    "reset, nothing booked": {"fault": "reset_before"}, "reset, booked": {"fault": "reset_after"},
    "500": {"fault": "error_500"}, "503": {"fault": "error_503"}, "too frequent": {"fault": "too_frequent"},
    "not found": {"fault": "not_found", "api": "query"}, "garbage, booked": {"fault": "garbage"},
    "unsigned": {"fault": "unsigned"}, "wrong signature": {"fault": "bad_signature"},
    "wrong amount in queries": {"fault": "wrong_amount", "api": "query"},
    "wrong amount in notifications": {"fault": "wrong_amount", "api": "notify"},
    "contradictory notifications": {"fault": "contradictory_notify", "api": "notify"},
    "doubled notifications": {"fault": "duplicate_notify", "api": "notify"},
    "lost notifications": {"fault": "no_notify", "api": "notify"},
    "late notifications": {"fault": "delay", "api": "notify", "delay_ms": 700},
    "late answers, in another order": {"fault": "delay", "delay_ms": 700},
}


@dataclass
class Fault:
    kind: str                                   # a row of the table
    what: str                                   # of this kind: a link, a step, a process
    make: Callable[[ProxiedStack, random.Random], float]
    first: bool = False                         # the clock that counts: what was planned comes ten minutes late


class NotMet(Exception):
    """It could not be made: nobody came by."""


def hold(dice: random.Random) -> None:
    """As long as a fault lasts."""
    time.sleep(dice.choice((0.1, 0.3, 0.6, 1.2)))


# ---- deaths ----

def revive(stack: ProxiedStack, name: str) -> None:
    stack.start_process(name)
    # a database that has come back is asked by all again
    if name == "postgres":
        wait_until(lambda: sql_works(stack), "PostgreSQL to answer", WITHIN)


def sql_works(stack: ProxiedStack) -> bool:
    try:
        return bool(stack.sql("select 1"))
    except RuntimeError:
        return False


def kill(*names: str):
    """They come back in the opposite order: who uses a server behind the server."""
    def make(stack, _dice):
        began = time.monotonic()
        for name in names:
            stack.kill(name)
        for name in reversed(names):
            revive(stack, name)
        return began
    return make


def kill_worker(stack, dice):
    """One that serves: in the place of one that is about to end nginx puts no other."""
    before = stack.nginx_workers()
    began = time.monotonic()
    os.kill(dice.choice(sorted(before)), signal.SIGKILL)
    wait_until(lambda: stack.nginx_workers() - before, "a new worker", WITHIN)
    return began


def kill_backend(stack, _dice):
    pid = stack.sql("select pid from pg_stat_activity where usename = 'ngx_pay_app' order by random() limit 1")
    if not pid:
        raise NotMet("no connection")
    began = time.monotonic()
    os.kill(int(pid[0][0]), signal.SIGKILL)
    time.sleep(0.1)
    # PostgreSQL restarts all of its processes then
    wait_until(lambda: sql_works(stack), "PostgreSQL to come back", WITHIN)
    return began


def immediate(stack, _dice):
    began = time.monotonic()
    stack.signal("postgres", signal.SIGQUIT)
    stack.processes["postgres"].child.wait(WITHIN)
    revive(stack, "postgres")
    return began


def reload_nginx(stack, _dice):
    began = time.monotonic()
    stack.reload_nginx()
    return began


def die_at(point: str, name: str):
    """The process is killed; the next one ends at that step; the one after it does not."""
    def make(stack, dice):
        process = stack.processes[name]
        process.kill()
        process.env["PAYD_FAILPOINT"] = f"{point}:{dice.randint(1, 5)}"
        try:
            process.start()
            wait_until(lambda: not process.running(), f"{name} to end at {point}", 10 * SLOW)
        except NotReady as e:
            raise NotMet(str(e)) from None
        finally:
            began = time.monotonic()
            process.kill()
            del process.env["PAYD_FAILPOINT"]
            stack.start_process(name)
        return began
    return make


def stall(*names: str):
    """SIGSTOP and, longer than an attempt may wait to be sent, SIGCONT."""
    def make(stack, dice):
        pids = [pid for name in names for pid in (stack.pid(name), *(stack.children(name) if name == "postgres" else ()))]
        send(pids, signal.SIGSTOP)
        try:
            time.sleep(dice.choice((0.2, 0.8, 1.5)))
        finally:
            send(pids, signal.SIGCONT)
        return time.monotonic()
    return make


def send(pids, number) -> None:
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            pass


# ---- between two parts ----

def between(link: str, begin: Callable):
    def make(stack, dice):
        begin(stack.proxy, link, dice)
        try:
            hold(dice)
        finally:
            stack.proxy.whole(link)
        return time.monotonic()
    return make


NETWORK = {
    "latency": lambda proxy, link, dice: proxy.delay(link, dice.choice((20, 80, 300))),
    "reset": lambda proxy, link, _dice: proxy.reset(link),
    "cut in the middle of a message": lambda proxy, link, dice: proxy.cut(link, dice.choice(("up", "down"))),
    "half-open": lambda proxy, link, _dice: proxy.swallow(link),
}


def lose_commit(statements: str):
    def make(stack, dice):
        before = stack.proxy.struck("payd-postgres")
        stack.proxy.lose("payd-postgres", dice.choice((1, 1, 4)), statements)
        try:
            wait_until(lambda: stack.proxy.struck("payd-postgres") > before, "a commit", 5 * SLOW)
        except NotReady as e:
            raise NotMet(str(e)) from None
        finally:
            stack.proxy.whole("payd-postgres")
        return time.monotonic()
    return make


# ---- Redis, disk, clock, bank ----

def redis(*command: str):
    def make(stack, _dice):
        subprocess.run(["redis-cli", "-s", stack.env["PAY_REDIS"], *command], check=True, capture_output=True)
        return time.monotonic()
    return make


def disk_full(stack, dice):
    stack.fill_disk()
    try:
        time.sleep(dice.choice((0.3, 1, 2)))
    finally:
        stack.empty_disk()
        lifted = time.monotonic()
    # without room for its log PostgreSQL ends itself, and cannot come back before there is some
    deadline = time.monotonic() + WITHIN
    while not sql_works(stack) and time.monotonic() < deadline:
        if not stack.processes["postgres"].running():
            stack.start_process("postgres")
        time.sleep(0.05)
    return lifted


def clock(name: str, seconds: int, lasts: tuple[float, ...]):
    def make(stack, dice):
        stack.set_clock(name, seconds)
        try:
            time.sleep(dice.choice(lasts))
        finally:
            stack.set_clock(name, 0)
        return time.monotonic()
    return make


def bank(rule: dict):
    def make(stack, dice):
        fault(stack, **{"percent": dice.choice((20, 60, 100)), **rule})
        try:
            hold(dice)
        finally:
            clear_faults(stack)
        return time.monotonic()
    return make


# ---- all ----

def all_faults(stack: ProxiedStack) -> list[Fault]:
    found = [Fault("a worker ends at a step", f"{name} at {point}", die_at(point, name))
             for point in POINTS for name in ONLY.get(point.split("_")[0], ("order0", "timer0"))]
    found += [Fault("kill -9 of a worker", name, kill(name)) for name in PAYD]
    found += [Fault("kill -9 of a worker", "all at once", kill(*PAYD)),
              Fault("kill -9 of nginx", "a worker", kill_worker), Fault("kill -9 of nginx", "a worker", kill_worker),
              Fault("kill -9 of nginx", "all", kill("nginx")), Fault("nginx reloaded", "", reload_nginx),
              Fault("kill -9 of the bank", "", kill("paybank")),
              Fault("PostgreSQL", "a backend killed", kill_backend),
              Fault("PostgreSQL", "immediate stop", immediate), Fault("PostgreSQL", "kill -9 of all", kill("postgres")),
              Fault("everything of ours", "killed at once", kill("nginx", *PAYD, "redis", "postgres"))]
    found += [Fault("stalled", name, stall(name)) for name in (*PAYD, "postgres", "redis", "paybank")]
    found += [Fault("the answer to COMMIT is lost", s, lose_commit(s)) for s in WRITES for _ in range(2)]
    found += [Fault("Redis", "killed", kill("redis")), Fault("Redis", "flushed", redis("FLUSHALL")),
              Fault("Redis", "its scripts forgotten", redis("SCRIPT", "FLUSH"))]
    found += [Fault(f"network: {kind}", link, between(link, begin)) for kind, begin in NETWORK.items() for link in LINKS]
    found += [Fault("the bank", name, bank(rule)) for name, rule in BANK.items()]
    if stack.disk:
        found += [Fault("PostgreSQL's disk is full", "", disk_full) for _ in range(3)]
    # where the clock is the database's, timers wait half a minute after each jump
    found += [Fault("clock", f"{name} {s // 60:+} min", clock(name, s, (0.3, 1)))
              for name in stack.clocked if name != "database" for s in (CLOCK_S, -CLOCK_S)]
    # by this one all is planned; timers wait half a minute after each jump
    found += [Fault("clock", f"database {s // 60:+} min", clock("database", s, (3, 40)), first=True)
              for s in (-CLOCK_S, CLOCK_S)]
    return found
