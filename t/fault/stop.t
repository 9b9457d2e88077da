#!/usr/bin/python3
"""A worker that is told to stop while its database does not answer: it leaves with status 0, touching
nothing that is gone already."""
import os
import signal
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))
from flow import SLOW, done, flow_stack, is_, number, ok  # noqa: E402


def main():
    with flow_stack('"ev":"store_') as stack:
        is_(stack.client().create_payment(number("S"), 100).status, 201, "an order is made")
        server = [stack.pid("postgres"), *stack.children("postgres")]
        for pid in server:
            os.kill(pid, signal.SIGSTOP)
        time.sleep(1.5)  # each of them asks something by now
        for name in stack.payd_names:
            stack.signal(name, signal.SIGTERM)
        for name in stack.payd_names:
            began, child = time.monotonic(), stack.processes[name].child
            code = child.wait(60 * SLOW)
            is_(code, 0, f"{name} stops ({time.monotonic() - began:.1f} s)")
            log = (stack.log / f"{name}.log").read_text()
            ok('"stopped"' in log, f"{name} says so")
        for pid in server:
            os.kill(pid, signal.SIGCONT)
    done()


main()
