#!/usr/bin/python3
"""Each worker ends, as by kill -9, at each step between the database, the channel and the merchant
(backends/io/failpoint.h), while payments are in flight. Afterwards the bank's books and ours agree.

PAY_PASSES (1): every step is met at its first pass, its second, and so on."""
import os
import re
import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))
from flow import ROOT, done, is_, ok  # noqa: E402
from market import PATIENCE, Market, check, market_stack  # noqa: E402
from processes import wait_until  # noqa: E402

PASSES = int(os.environ.get("PAY_PASSES", "1"))
MERCHANTS = 8
POINTS = re.findall(r"^    X\((\w+)\)", (ROOT / "backends/io/failpoint.h").read_text(), re.M)
# who passes a step; all others are passed by order0 and timer0
ONLY = {"NOTIFY": ("order0",), "TIMER": ("timer0",), "CALLBACK": ("callback0",)}


def die_at(stack, name, point, n):
    """The process is replaced by one that ends at that step; then by one that does not."""
    process = stack.processes[name]
    process.stop()
    process.env["PAYD_FAILPOINT"] = f"{point}:{n}"
    process.start()
    wait_until(lambda: not process.running(), f"{name} to end at {point}", PATIENCE)
    code = process.child.returncode
    del process.env["PAYD_FAILPOINT"]
    stack.start_process(name)
    return code


def refused(stack):
    process = stack.processes["order0"]
    process.stop()
    for wrong in ("NOWHERE", "COMMIT_SEND:0", "COMMIT_SEND:x"):
        process.env["PAYD_FAILPOINT"] = wrong
        process.start()
        is_(process.child.wait(PATIENCE), 2, f"refused: {wrong}")
    del process.env["PAYD_FAILPOINT"]
    stack.start_process("order0")


def main():
    ok(len(POINTS) > 10, f"{len(POINTS)} steps")
    with market_stack() as stack:
        refused(stack)
        with Market(stack, MERCHANTS) as market:
            for n in range(1, PASSES + 1):
                for point in POINTS:
                    for name in ONLY.get(point.split("_")[0], ("order0", "timer0")):
                        is_(die_at(stack, name, point, n), -signal.SIGKILL, f"{name} dies at {point}, pass {n}")
        check(stack, market)
    done()


main()
