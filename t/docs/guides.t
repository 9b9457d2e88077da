#!/usr/bin/python3
"""README.md, docs/HACKING.md and every other document: links lead somewhere, files and make targets that are named exist,
the harmless commands run, HACKING's Python example runs, and each decision has its three parts."""
import re
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from docs import BUILD, ROOT, fences, sections  # noqa: E402
from flow import SHORT, Stack  # noqa: E402
from tap import done, is_, ok  # noqa: E402

GUIDES = [ROOT / name for name in ("README.md", "docs/HACKING.md") if (ROOT / name).exists()]
DOCUMENTS = [*GUIDES, *(p for p in sorted(ROOT.glob("docs/**/*.md")) if p not in GUIDES)]
# made when something runs, or by the reader
MADE = ("run", "run-bench", "bench/results.json")
FOLDERS = {p.name for p in ROOT.iterdir() if p.is_dir() and not p.name.startswith(("build", "run", "."))}


def prose(text: str) -> str:
    return re.sub(r"^```.*?^```$", "", text, flags=re.S | re.M)


def anchors(path: Path) -> set[str]:
    """As the usual viewers make them of titles."""
    titles = [t.replace("`", "").lower() for t in sections(path.read_text())]
    return {re.sub(r"[^\w\- ]", "", t).replace(" ", "-") for t in titles}


def links(path: Path) -> list[str]:
    """Relative links that lead nowhere."""
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(path.read_text())):
        if re.match(r"\w+:", target):
            continue
        file, _, anchor = target.partition("#")
        found = (path.parent / file).resolve() if file else path
        if not found.exists() or (anchor and anchor not in anchors(found)):
            broken.append(target)
    return broken


def files(path: Path) -> list[str]:
    """Names in code marks that look like files of the tree and are none."""
    named = re.findall(r"`([\w./-]+)`", prose(path.read_text()))
    wanted = [n for n in named if n.partition("/")[0] in FOLDERS and "/" in n and not n.startswith(MADE)
              and not re.search(r"NAME|NNNN", n)]
    return [n for n in wanted if not (ROOT / n).exists() and not (path.parent / n).exists()]


def code(path: Path) -> str:
    """What a reader may type: shell blocks and code marks."""
    text = path.read_text()
    blocks = [content for info, content in fences(text) if info.split()[:1] in ([], ["sh"], ["console"])]
    return "\n".join(blocks + re.findall(r"`([^`\n]+)`", prose(text)))


def targets() -> set[str]:
    """What the Makefile can make, from its own data base."""
    listed = subprocess.run(["make", "-pnq", "--no-print-directory", "nothing-of-this-name"], cwd=ROOT,
                            capture_output=True, text=True).stdout
    return set(re.findall(r"^([a-z][\w-]*):", listed, re.M))


def make(path: Path, known: set[str]) -> list[str]:
    """`make TARGET [NAME=VALUE]` whose target does not exist."""
    calls = re.findall(r"(?:^|[;&`] *|\$ )make((?: +[^\s;&|#`]+)*)", code(path), re.M)
    used = {word for call in calls for word in shlex.split(call) if "=" not in word and not word.startswith("-")}
    return sorted(w for w in used if re.fullmatch(r"[a-z][\w-]*", w) and w not in known)


def scripts(path: Path) -> list[str]:
    """Programs of the tree that lines of shell blocks call and that are not there or cannot run."""
    lines = "\n".join(content for info, content in fences(path.read_text()) if info.startswith("sh"))
    called = re.findall(r"^(?:\$ )?((?:build|demo|t|bench|mk)/[\w./-]+)", lines, re.M)
    paths = [BUILD / c.removeprefix("build/") if c.startswith("build/") else ROOT / c for c in called]
    return [str(p) for p in paths if not (p.is_file() and p.stat().st_mode & 0o100)]


def harmless():
    """Commands that change nothing are run."""
    for command in ("make help", "make -n demo", "make -n test TESTS='t/flow/*.t'", "make -n lint", "demo/install-deps"):
        done_ = subprocess.run(shlex.split(command), cwd=ROOT, capture_output=True, text=True)
        is_(done_.returncode, 0, f"{command} runs") or print("# " + done_.stderr[:500])


def hacking_example():
    """The block of HACKING.md that shows the private stack, in a folder of its own."""
    text = (ROOT / "docs/HACKING.md").read_text()
    found = [content for info, content in fences(text) if info == "python" and "Stack(" in content]
    is_(len(found), 1, "HACKING.md has one example of the private stack")
    with tempfile.TemporaryDirectory(prefix="ngx_pay-t.") as folder:
        Path(folder).chmod(0o711)
        program = found[0].replace('"/tmp/x"', repr(folder))
        ok(folder in program, "it names a folder")
        made = {}

        class Watched(Stack):
            def __init__(self, *args, **more):
                super().__init__(*args, postgres=SHORT["postgres"], **more)

            def stop(self):
                made["orders"] = self.sql("select out_trade_no from pay.payment") if "postgres" in self.processes else []
                super().stop()
        exec(compile(program, "HACKING.md", "exec"), {"Stack": Watched})
        is_(made.get("orders"), [["T1000001"]], "it runs and makes its payment")


def decisions():
    records = sorted((ROOT / "docs/decisions").glob("*.md"))
    numbers = [int(p.name[:4]) for p in records]
    is_(numbers, list(range(1, len(records) + 1)), "decisions are numbered without gaps")
    for record in records:
        text = record.read_text()
        missing = [part for part in ("Context", "Decision", "Consequence") if f"**{part}.**" not in text]
        is_((missing, text.startswith(f"# {int(record.name[:4])}. ")), ([], True), f"{record.name} has its parts")


def main():
    known = targets()
    ok({"run", "demo", "test"} <= known, "make tells its targets")
    for path in DOCUMENTS:
        name = path.relative_to(ROOT)
        is_(links(path), [], f"{name}: links lead somewhere")
        is_(files(path), [], f"{name}: files that it names exist")
        is_(make(path, known), [], f"{name}: make targets exist")
        is_(scripts(path), [], f"{name}: programs of its examples exist")
    harmless()
    decisions()
    hacking_example()
    done()


main()
