#!/usr/bin/python3
"""docs/runbook.md: what it tells to type works. Blocks marked `sh` run in their order in a folder that looks like
/etc/ngx_pay; of the others (`sh manual`: systemd, signals for an upgrade) the commands exist. Metrics, directives, codes
and payctl's commands that it names are real ones."""
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from docs import DOCS, fences, looks_like_etc, problems, program, table  # noqa: E402
import accounts  # noqa: E402
from flow import flow_stack  # noqa: E402
from tap import done, is_, ok  # noqa: E402

TEXT = (DOCS / "runbook.md").read_text()
TIMEOUT = 60
# what stands in the place of a name, and what a system has where this one is installed
ELSEWHERE = {"systemctl", "journalctl"}


def commands(text: str) -> set[str]:
    """First words of every command of a shell block."""
    lines = [re.sub(r"(^|\s)#.*", "", line) for line in text.splitlines()]
    parts = [p.strip() for line in lines for p in re.split(r"&&|\|\||[|;]", re.sub(r"'[^']*'|\"[^\"]*\"", "x", line))]
    return {p.split()[0] for p in parts if p}


def typed(stack, blocks: list[str]) -> None:
    with tempfile.TemporaryDirectory(prefix="ngx_pay-t.") as name:
        folder = Path(name)
        looks_like_etc(folder, stack)
        env = {**os.environ, "PATH": f"{folder}/bin:{os.environ['PATH']}", "PAY_PG": stack.postgres.conninfo(),
               "SERIAL": accounts.HMAC_SERIAL, "ASAN_OPTIONS": "detect_leaks=0"}
        for block in blocks:
            script = block.replace("127.0.0.1:9180", f"127.0.0.1:{stack.status_port}")
            run = subprocess.run(["bash", "-euo", "pipefail", "-c", script], cwd=folder, env=env, timeout=TIMEOUT,
                                 capture_output=True, text=True)
            ok(run.returncode == 0, f"works: {block.strip().splitlines()[0]}", script, run.stdout, run.stderr)


def main():
    blocks = [(info, content) for info, content in fences(TEXT) if info.split()[:1] == ["sh"]]
    runs = [content for info, content in blocks if info == "sh"]
    ok(len(runs) >= 8, f"{len(runs)} blocks to type")
    with flow_stack() as stack:
        is_(stack.client("hmac").create_payment("R1000001", 100).status, 201, "a stack that works")
        typed(stack, runs)
        is_(stack.client("hmac").find("R1000001").status, 200, "and works afterwards")
    known = {"payctl", "payd", "nginx", "kill"} | ELSEWHERE
    unknown = [c for _, content in blocks for c in commands(content) if c not in known and not shutil.which(c)
               and c not in ("true", "x", "cat")]
    is_(unknown, [], "every command exists")

    metrics = {r["metric"] for r in table((DOCS / "metrics.md").read_text(), "metric", "type")}
    named = set(re.findall(r"\b(pay_(?:edge|channel|zone|egress|pool|route)_\w+)", TEXT))
    is_(sorted(n for n in named if n not in metrics and not any(m.startswith(n) for m in metrics)), [],
        "metrics that it names are in metrics.md")
    said = re.findall(r"^  ([a-z]+ [a-z0-9-]+)", program("payctl", "--help"), re.M)
    wanted = set(re.findall(r"payctl(?: -c payd\.conf)? ([a-z]+ [a-z0-9-]+)", TEXT))
    is_(sorted(w for w in wanted if w not in said), [], "payctl has the commands")
    egress = set(re.findall(r"`([A-Z_]+)`", (DOCS / "interfaces.md").read_text()))
    codes = set(problems()) | egress
    quoted = {c for c in re.findall(r"`([A-Z]+(?:_[A-Z]+)+)`", TEXT)}
    is_(sorted(c for c in quoted if c not in codes), [], "codes are those of api.md and interfaces.md")
    done()


main()
