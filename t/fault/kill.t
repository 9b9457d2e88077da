#!/usr/bin/python3
"""kill -9 of everything, again and again, while payments are in flight. Afterwards the bank's books and
ours agree: what was paid is succeeded, once; nothing was charged twice; nobody is told twice.

PAY_ROUNDS (10) rounds; in each, every process in turn."""
import os
import random
import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))
from faults import kill_worker  # noqa: E402
from flow import done, ok  # noqa: E402
from market import PATIENCE, Market, check, market_stack, slow_bank  # noqa: E402
from processes import wait_until  # noqa: E402

ROUNDS = int(os.environ.get("PAY_ROUNDS", "10"))
MERCHANTS = 24      # threads that make orders
IN_FLIGHT = 20      # at least, whenever something dies
ALIVE = 10          # new orders between two deaths


# ---- who dies ----

def kill_restart(name):
    def victim(stack):
        stack.kill(name)
        stack.start_process(name)
    return victim


def bank(stack):
    kill_restart("paybank")(stack)
    slow_bank(stack)


def nginx_worker(stack):
    kill_worker(stack, random)


def postgres_backend(stack):
    pid = stack.sql("select pid from pg_stat_activity where usename = 'ngx_pay_app' order by random() limit 1")
    if pid:
        os.kill(int(pid[0][0]), signal.SIGKILL)
    # PostgreSQL restarts all of its processes then
    wait_until(lambda: sql_works(stack), "PostgreSQL to come back", PATIENCE)


def postgres_immediate(stack):
    stack.signal("postgres", signal.SIGQUIT)
    stack.processes["postgres"].child.wait()
    stack.start_process("postgres")


def sql_works(stack):
    try:
        return stack.sql("select 1")
    except RuntimeError:
        return None


VICTIMS = {
    "nginx worker": nginx_worker, "nginx": kill_restart("nginx"), "order process": kill_restart("order0"),
    "timer process": kill_restart("timer0"), "callback process": kill_restart("callback0"),
    "PostgreSQL backend": postgres_backend, "PostgreSQL, immediate": postgres_immediate,
    "PostgreSQL": kill_restart("postgres"), "Redis": kill_restart("redis"), "the bank": bank,
}


def one_round(stack, market, n):
    victims = list(VICTIMS.items())
    random.Random(n).shuffle(victims)
    least = None
    for name, kill in victims:
        # the next one dies only when the system lives again
        alive = len(market.acknowledged) + ALIVE
        wait_until(lambda: len(market.acknowledged) >= alive, f"new orders before {name} dies", PATIENCE)
        wait_until(lambda: len(market.in_flight) >= IN_FLIGHT, f"{IN_FLIGHT} orders in flight", PATIENCE)
        least = min(len(market.in_flight), least or MERCHANTS)
        kill(stack)
    ok(least >= IN_FLIGHT, f"round {n}: {len(victims)} deaths, {least} or more orders in flight at each, "
                           f"{len(market.acknowledged)} acknowledged so far")


def main():
    random.seed(1)
    with market_stack() as stack:
        with Market(stack, MERCHANTS) as market:
            for n in range(1, ROUNDS + 1):
                one_round(stack, market, n)
        check(stack, market)
    done()


main()
