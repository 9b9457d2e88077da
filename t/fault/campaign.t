#!/usr/bin/python3
"""A slice of the fault campaign (`make soak`): of every kind of fault at least one, while merchants order and payers pay.
Then every order has come to its end, its merchant was told that end, and ours and the bank's books agree."""
import random
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))
from flow import done, is_, ok  # noqa: E402
from campaign import campaign  # noqa: E402

SEED = 7
FAULTS, ORDERS, MERCHANTS = 22, 300, 8
# ends within a slice: unpaid orders, and charges that the bank never saw
SHORT = {"expire": "6s", "reverse_limit": "2", "paying_limit": "1s"}
# a half-open connection to the database is noticed after 12 s: too long for this slice
LONG = ("half-open payd-postgres", "everything of ours")


def choose(faults):
    """One of each kind, then more of those that have many."""
    dice = random.Random(SEED)
    faults = [f for f in faults if not f.first and not any(long in f"{f.kind} {f.what}" for long in LONG)]
    dice.shuffle(faults)
    first = {f.kind: f for f in reversed(faults)}
    chosen = list(first.values()) + [f for f in faults if f not in first.values()]
    return chosen[:max(FAULTS, len(first))]


def main():
    run = campaign(SEED, 0, ORDERS, MERCHANTS, choose, payd=SHORT, round_of=1000)
    is_(run.found, [], f"no order lost, none paid twice: {sum(run.times.values())} faults, "
                       f"{len(run.crowd.acknowledged)} orders: {dict(run.ends)}")
    ok(len(run.crowd.acknowledged) >= ORDERS, "all orders were acknowledged", run.crowd.errors)
    is_([kind for kind in run.times if kind not in run.recovery], [], "after each fault an order went all its way")
    for line in run.not_met:
        print(f"# not met: {line}")
    done()


main()
