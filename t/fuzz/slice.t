#!/usr/bin/python3
"""Every fuzzer for a moment (60 s in all), from its seeds, with the same random numbers each time. Longer runs and
new ways: make fuzz."""
import os
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
from tap import done, ok, skip_all  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]
NAMES = sorted(p.stem for p in (ROOT / "fuzz").glob("*.c"))
SECONDS, RUNS = 54, 400_000  # of all; of each

if os.environ.get("PAY_BUILD", "build") != "build":
    skip_all("fuzzers have a build of their own, always under sanitizers")

for name in NAMES:
    seeds = list((ROOT / "fuzz/seeds" / name).glob("*"))
    ok(seeds, f"{name}: has seeds")
    run = subprocess.run([str(ROOT / "fuzz/run"), "--jobs", "1", "--seconds", str(max(1, SECONDS // len(NAMES))),
                          "--runs", str(RUNS), name], capture_output=True, text=True)
    ok(run.returncode == 0 and " 0 runs" not in run.stdout, f"{name}: nothing found", run.stdout, run.stderr)

done()
