#!/usr/bin/python3
"""A short slice of each benchmark: it runs, and its own counting (answers, signatures, nonces, rows, requests at
the upstream) comes out even. No number is judged here: a loaded machine proves nothing about speed."""
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "t/lib"))

from tap import done, is_, ok, skip  # noqa: E402

SLICES = {
    "edge": (["--requests", "400", "--rounds", "1", "--connections", "16", "--idle", "100", "--no-instructions"],
             {"plain", "tls", "plain_alone", "tls_alone", "beside_rsa", "idle"}),
    "create": (["--payments", "320", "--rounds", "1", "--connections", "32", "--preload", "2000", "--stolen", "100"],
               {"us", "pgbench_us", "wechat_us"}),
    "lifecycle": (["--payments", "160", "--rounds", "1", "--connections", "16", "--preload", "1000", "--latency", "60",
                   "--stolen", "100"],
                  {"us", "pgbench_us", "half"}),
    "memory": (["--payments", "50", "--delay-ms", "4000"], {"payd_mb", "nginx_mb", "bare_mb"}),
    "route": (["--rounds", "1", "--repeats", "1"], {"usual", "worst"}),
    "channel": (["--calls", "20"], {"channels", "load_ms"}),
    "bank": (["--rounds", "1", "--requests", "40"], {"wechat_v2 MD5", "bank_json HMAC", "unionpay RSA"}),
}


def run(name: str, arguments: list[str], wanted: set[str]) -> None:
    with tempfile.TemporaryDirectory(prefix="ngx_pay-b.") as folder:
        os.chmod(folder, 0o711)
        results = Path(folder) / "results.json"
        env = {**os.environ, "PAY_BENCH_RUN": folder + "/run", "PAY_BENCH_RESULTS": str(results)}
        ran = subprocess.run([str(ROOT / "bench" / name), *arguments], env=env, capture_output=True, text=True)
        is_(ran.returncode, 0, f"bench-{name} runs and counts what it asked for")
        if ran.returncode:
            ok(False, f"bench-{name} says why", ran.stdout[-2000:], ran.stderr[-2000:])
            return
        (result,) = json.loads(results.read_text())
        ok(wanted <= set(result), f"bench-{name} keeps its record", result)


if "san" in os.environ.get("PAY_BUILD", "build"):
    skip("benchmarks", "sanitizers change every cost")
else:
    for name, (arguments, wanted) in SLICES.items():
        run(name, arguments, wanted)
done()
