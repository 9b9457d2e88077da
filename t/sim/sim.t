#!/usr/bin/python3
"""R2.1-R2.6, R2.9, R2.10, R2.12-R2.18, R3.6: a slice of the simulator (README.md), a fixed number of orders of fixed seeds:
the same run everywhere. The real backends/domain breaks no invariant; planted bugs are found, and what is
printed of one of them replays.
"""
import os
import re
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "lib"))
from tap import done, ok  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]
BUILD = os.environ.get("PAY_BUILD", "build")
SIM = ROOT / BUILD / "t/sim/sim"
SAN = "san" in BUILD
# a minute of the promised rate, 500,000 orders
SEEDS = {11: 15_000, 12: 15_000} if SAN else {11: 250_000, 12: 250_000}
MUTANTS = ["maybe_sent_is_not_sent", "no_version_check", "rerouted_after_unknown", "decided_alone", "refund_sum_unchecked"]


def run(*command: object) -> subprocess.CompletedProcess:
    return subprocess.run([str(c) for c in command], cwd=ROOT, capture_output=True, text=True)


def test_lives() -> None:
    for seed, lives in SEEDS.items():
        done_ = run(SIM, "--seed", seed, "--lives", lives)
        ok(done_.returncode == 0, f"{lives} orders of seed {seed} break nothing", done_.stdout + done_.stderr)
        seen = dict(re.findall(r"(\w+)\b +(\d+)\b", done_.stdout))
        ok(all(int(seen.get(s, 0)) > 0 for s in ["succeeded", "failed", "closed"]), "they end in every final state", str(seen))
        ok(all(int(seen.get(s, 0)) > 0 for s in ["refunds", "them", "rerouted", "decided"]),
           "are refunded, go on to another channel, give back what nobody waits for, are decided by persons", str(seen))


def test_same_run() -> None:
    runs = [re.sub(r"\d+ orders a CPU minute", "", run(SIM, "--seed", 5, "--lives", 3000).stdout) for _ in range(2)]
    ok(runs[0] == runs[1] and "nothing is broken" in runs[0], "a seed gives the same run", "\n".join(runs))


def test_usage() -> None:
    for wrong in [["--life", "x"], ["--only", "nosuch.1"], ["--only", "crash"], ["more"]]:
        ok(run(SIM, *wrong).returncode == 2, f"{' '.join(wrong)} is refused")


def test_planted_bugs_fit() -> None:
    said = run("t/sim/mutate", "planted", "--check")
    ok(said.returncode == 0 and re.search(r"^(\d+) of \1 planted bugs fit$", said.stdout, flags=re.M),
       "every planted bug is still one of this tree", said.stdout + said.stderr)


def test_mutants() -> None:
    env = {**os.environ, "PAY_MUTANTS": f"{BUILD}/mutants"}
    found = subprocess.run(["t/sim/mutate", "planted", "--keep", *MUTANTS], cwd=ROOT, env=env, capture_output=True,
                           text=True)
    for name in MUTANTS:
        ok(re.search(rf"^found .* {name}:", found.stdout, flags=re.M), f"{name} is found", found.stdout + found.stderr)


def test_replay() -> None:
    """The last mutant is still there: its failure, shrunk, and the trace again from what was printed."""
    mutant = ["env", f"LD_LIBRARY_PATH={BUILD}/mutants/mutant", f"{BUILD}/mutants/base/sim.bin"]
    first = run(*mutant, "--seed", 1, "--lives", 100_000)
    replay = re.search(r"^replay: sim (.*)$", first.stdout, flags=re.M)
    needed = re.search(r"^  (\d+) of the life's (\d+) choices are needed", first.stdout, flags=re.M)
    ok(first.returncode == 1 and replay and needed, "a broken invariant prints how to replay it", first.stdout[-2000:])
    if not replay or not needed:
        return
    again = run(*mutant, *replay[1].split())
    trace = first.stdout.split("\n\n", 2)[1].strip()
    ok(again.returncode == 1 and trace == again.stdout.strip(), "its trace replays", again.stdout[-2000:])
    broken = [re.findall(r'^BROKEN "([^"]*)"', first.stdout, flags=re.M),
              re.findall(r"BROKEN  ([^:]*):", again.stdout)]
    ok(broken[0] and broken[0] == broken[1], "to the same broken invariant", str(broken))
    ok(int(needed[1]) <= int(needed[2]) and int(needed[1]) == len(replay[1].split()[-1].split(",")),
       "only what it needs is left of its choices", needed[0])
    ok(run(SIM, *replay[1].split()).returncode == 0, "the real domain passes the same life")


test_lives()
test_same_run()
test_usage()
test_planted_bugs_fit()
test_mutants()
test_replay()
done()
