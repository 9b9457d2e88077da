"""What the benchmarks share: CPU time of processes, programs run beside the stack, the table, the record."""
from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Callable, Iterable, Sequence

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "demo"))

BUILD = ROOT / os.environ.get("PAY_BUILD", "build")
TOOLS = BUILD / "bench"
# the tests run short slices elsewhere and keep no record
RUN = Path(os.environ.get("PAY_BENCH_RUN", ROOT / "run-bench"))
RESULTS = Path(os.environ.get("PAY_BENCH_RESULTS", ROOT / "bench/results.json"))


GONE = (FileNotFoundError, ProcessLookupError)


def cpu_ns(pids: Iterable[int], may_end: bool = False) -> int:
    """CPU time of all threads of these processes since they started, nanoseconds. may_end: what a process
    used that just ended is counted elsewhere (by its parent)."""
    total = 0
    for pid in pids:
        try:
            for task in Path(f"/proc/{pid}/task").iterdir():
                total += int((task / "schedstat").read_text().split()[0])
        except GONE:
            if not may_end:
                raise RuntimeError(f"process {pid} ended during the measurement") from None
    return total


def descendants(pid: int) -> list[int]:
    """The process and all below it."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except GONE:
        return []
    return [pid, *(below for child in children for below in descendants(int(child)))]


def memory_kb(pid: int, field: str = "VmRSS") -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1])
    raise RuntimeError(f"{pid}: no {field}")


TRIES = 2  # for each round that counts
REST_S = 60  # what takes processors from a busy machine may leave a rested one alone
STOLEN = "a round counts when the machine's host took at most so many per cent of the processors' time"


def processors() -> tuple[int, int]:
    """Ticks that all processors have worked, and those that the machine's host gave to others meanwhile."""
    user, nice, system, _, _, irq, softirq, stolen = map(int, Path("/proc/stat").read_text().split()[1:9])
    return user + nice + system + irq + softirq, stolen


def quiet_rounds(rounds: int, allowed: float, one: Callable[[int], dict]) -> list[dict]:
    """What so many calls of one() said in which the host took at most `allowed` per cent of the processors' time. Where it
    never leaves them alone, those in which it took least."""
    done = []
    for i in range(TRIES * rounds):
        before = processors()
        result = one(i)
        worked, stolen = (b - a for a, b in zip(before, processors()))
        done.append((100 * stolen / max(worked + stolen, 1), i, result))
        if sum(share <= allowed for share, *_ in done) == rounds:
            break
        if done[-1][0] > allowed:
            print(f"  round {i + 1}: the host took {done[-1][0]:.1f} % of the processors' time, another one follows", flush=True)
            time.sleep(REST_S)
    best = sorted(done, key=lambda d: d[0])[:rounds]
    if best[-1][0] > allowed:
        print(f"  the machine was not quiet: up to {best[-1][0]:.1f} % of the processors' time was taken in the rounds counted")
    return [result | {"stolen": round(share, 2)} for share, _, result in best]


def tool(name: str, *args: object, check: bool = True) -> dict:
    """Runs one of bench/*.c and reads its JSON line."""
    done = subprocess.run([str(TOOLS / name), *map(str, args)], capture_output=True, text=True)
    if check and done.returncode:
        raise RuntimeError(f"{name} ended with {done.returncode}: {done.stdout}{done.stderr}")
    return json.loads(done.stdout)


def median(values: Sequence[float]) -> float:
    return statistics.median(values)


def expect(name: str, got: object, want: object) -> None:
    """A benchmark whose work was not done measures nothing."""
    if got != want:
        raise SystemExit(f"not counted: {name} is {got}, should be {want}")


def table(title: str, rows: Sequence[Sequence[object]]) -> None:
    print(f"\n{title}")
    cells = [[f"{c:.2f}" if isinstance(c, float) else str(c) for c in row] for row in rows]
    widths = [max(len(row[i]) for row in cells) for i in range(len(cells[0]))]
    for i, row in enumerate(cells):
        print("  " + "  ".join(c.ljust(w) if k == 0 else c.rjust(w) for k, (c, w) in enumerate(zip(row, widths))))
        if i == 0:
            print("  " + "  ".join("-" * w for w in widths))


def record(name: str, result: dict) -> None:
    """Appends to bench/results.json: a list of runs, newest last."""
    runs = json.loads(RESULTS.read_text()) if RESULTS.exists() else []
    commit = subprocess.run(["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"], capture_output=True, text=True)
    runs.append({"benchmark": name, "at": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
                 "commit": commit.stdout.strip(), "cores": os.cpu_count(), **result})
    RESULTS.write_text(json.dumps(runs, indent=1) + "\n")
    print(f"  appended to {RESULTS.name}; docs/performance.md explains it")


def nonces(stack: Any) -> int:
    """How many nonces Redis holds; beside them stand the keys of limits, which come and go."""
    script = "return #redis.call('keys', '{*}[hn]*')"
    out = subprocess.run(["redis-cli", "-s", str(stack.sockets / "redis.sock"), "EVAL", script, "0"],
                         capture_output=True, text=True, check=True)
    return int(out.stdout)
