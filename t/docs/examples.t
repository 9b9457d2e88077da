#!/usr/bin/python3
"""R1.1: the examples of docs/api.md and docs/signing.md, typed literally: every block marked `sh test` runs, in order and in one shell,
in a folder whose run/ is a private stack, and prints what the block behind it shows (… stands for anything)."""
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from docs import ROOT, examples, pattern  # noqa: E402
from flow import flow_stack  # noqa: E402
from tap import done, is_, ok  # noqa: E402

TIMEOUT = 120


def run(folder: Path, document: str, found: list[tuple[str, str]]) -> None:
    """One shell, as a reader's; each block's output in a file of its own."""
    script = "".join(f"{{\n{commands}}} >out.{i} 2>err.{i}\n" for i, (commands, _) in enumerate(found))
    env = {k: v for k, v in os.environ.items() if not k.startswith("PAY_")}
    done_ = subprocess.run(["bash", "-euo", "pipefail", "-c", script], cwd=folder, env=env, timeout=TIMEOUT,
                           capture_output=True, text=True)
    is_(done_.returncode, 0, f"{document}: every command succeeds")
    for i, (commands, shown) in enumerate(found):
        out, err = ((folder / f"{name}.{i}").read_text() if (folder / f"{name}.{i}").exists() else "(did not run)"
                    for name in ("out", "err"))
        ok(re.fullmatch(pattern(shown), out.strip()), f"{document}: example {i + 1} prints what is shown",
           commands.strip().splitlines()[0], f"got:  {out}", f"want: {shown}", err)


NAMED = {"api.md": ("PAY-SHA256-RSA2048", "PAY-HMAC-SHA256"),
         "signing.md": ("PAY-ED25519", "sign=", "Signature-Input", "SORTEDRSA1")}


def main():
    found = {document: examples(document) for document in NAMED}
    for document, blocks in found.items():
        ok(len(blocks) >= 6 and all(shown for _, shown in blocks), f"{document}: examples, each with its output")
        ok(all(any(n in c for c, _ in blocks) for n in NAMED[document]), f"{document}: for each scheme")
    with flow_stack() as stack:
        for document, blocks in found.items():
            with tempfile.TemporaryDirectory(prefix="ngx_pay-t.") as name:
                folder = Path(name)
                (folder / "run").symlink_to(stack.folder)
                (folder / "demo").symlink_to(ROOT / "demo")
                run(folder, document, blocks)
    done()


main()
