#!/usr/bin/python3
"""README.md's five minutes, typed as they stand there beside a `make run`: every command prints what is shown."""
import os
import re
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from docs import BUILD, ROOT, fences, pattern  # noqa: E402
from processes import NotReady, Process, start_time, wait_until  # noqa: E402
from tap import done, is_, ok  # noqa: E402

TIMEOUT = 120
REPEATABLE = re.compile(r"(sleep \d+; )?(demo/pay find|curl [^;|]*/metrics|build/payctl)")  # asks only
# what is another in every run
SHAPES = [(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}", "AT"), (r"\bP?\d{15,}", "ID"), (r"\b[0-9A-F]{40}\b", "SERIAL"),
          (r"\b[0-9a-f]{32}\b", "TRACE"), (r"pr=\w+", "pr=CODE"), (r"(?<= )\d{1,2}(?= )", "N"), (r"[ \t]+", " "), (r" ?$", "")]


def shape(text: str) -> str:
    for volatile, name in SHAPES:
        text = re.sub(volatile, name, text, flags=re.M)
    return re.sub(r"^ *\.\.\.\n", "…", text.strip(), flags=re.M)


def typed() -> list[tuple[str, str]]:
    """(command, what it prints) of every prompt in the page's terminals."""
    pairs = []
    for info, content in fences((ROOT / "README.md").read_text()):
        if info == "console":
            for part in re.split(r"^\$ ", content, flags=re.M)[1:]:
                command, _, shown = part.partition("\n")
                pairs.append((command, shown))
    return pairs


class Terminal:
    """The second one: in a folder whose run/ is the stack's."""

    def __init__(self, folder: Path):
        self.folder, self.before = folder, ""
        for name, to in (("demo", ROOT / "demo"), ("build", BUILD), ("run", folder / "stack")):
            (folder / name).symlink_to(to)
        self.env = {**{k: v for k, v in os.environ.items() if not k.startswith("PAY_")}, "PAY_BUILD": str(BUILD),
                    "PAY_RUN": str(folder / "stack"), "PYTHONDONTWRITEBYTECODE": "1", "ASAN_OPTIONS": "detect_leaks=0"}

    def run(self, command: str) -> str:
        return subprocess.run(["bash", "-c", self.before + command], cwd=self.folder, env=self.env, timeout=TIMEOUT,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True).stdout

    def type(self, command: str, shown: str) -> None:
        if command.startswith("set -a"):
            self.before += command + "\n"
        got, want = "", re.compile(pattern(shape(shown)), re.S)

        def as_shown() -> object:
            nonlocal got
            got = self.run(command)
            return want.fullmatch(shape(got))
        try:
            fine = wait_until(as_shown, command) if REPEATABLE.match(command) else as_shown()
        except NotReady:
            fine = False
        ok(fine, command, f"got:  {shape(got)}", f"want: {shape(shown)}")


def workers(stack: Path) -> set[str]:
    nginx = (stack / "nginx.pid").read_text().strip()
    return set(Path(f"/proc/{nginx}/task/{nginx}/children").read_text().split())


def main():
    commands = typed()
    ok(len(commands) > 12 and all(any(word in c for c, _ in commands) for word in ("kill -9", "kill -HUP", "trace")),
       "the tour has its stations")
    with tempfile.TemporaryDirectory(prefix="ngx_pay-t.") as name:
        folder, terminal = Path(name), Terminal(Path(name))
        os.chmod(folder, 0o711)
        tour = Process("make run", [str(ROOT / "demo/tour.py")], log=folder / "tour.log", env=terminal.env, stop_signal=signal.SIGINT)
        tour.start()
        try:
            wait_until(lambda: "until Ctrl-C" in (folder / "tour.log").read_text() or not tour.running(), "the first payment")
            ok(tour.running(), "make run makes a payment and goes on", (folder / "tour.log").read_text()[-2000:])
            for command, shown in commands:
                old = workers(folder / "stack")
                terminal.type(command, shown)
                if "kill -HUP" in command:
                    wait_until(lambda: workers(folder / "stack") and not old & workers(folder / "stack"), "nginx to have reloaded")
            pids = [int(line.split()[1]) for line in (folder / "stack/pids").read_text().splitlines() if line.split()[1].isdigit()]
            tour.signal(signal.SIGINT)
            is_(tour.child.wait(TIMEOUT), 0, "Ctrl-C ends it")
            ok("order0 is gone (-9), starting it again" in (folder / "tour.log").read_text(), "who was killed was started again")
            ok(len(pids) > 8 and not any(map(start_time, pids)), "and nothing runs any more", str(pids))
        finally:
            tour.stop(TIMEOUT)
    done()


main()
