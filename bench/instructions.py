"""Instructions per request in user space, counted by callgrind: they do not depend on what else the machine does.
libcrypto is left out: valgrind shows OpenSSL a processor without SHA instructions, and its detours are no cost of ours."""
from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Callable

VALGRIND = shutil.which("valgrind")


def under_callgrind(command: list[str], out: Path) -> list[str]:
    """The same command, counted; command has setpriv before the program."""
    at = command.index("--") + 1
    return [*command[:at], "valgrind", "-q", "--tool=callgrind", f"--callgrind-out-file={out}", *command[at:]]


def control(pid: int, *args: str) -> None:
    subprocess.run(["callgrind_control", *args, str(pid)], check=True, capture_output=True)


def total(dump: Path) -> int:
    """The sum of what each function took itself, without libcrypto."""
    objects: dict[str, str] = {}
    inside, called, taken = "", False, 0
    for line in dump.read_text().splitlines():
        if m := re.match(r"c?ob=\((\d+)\)(?: (.*))?", line):
            if m.group(2):
                objects[m.group(1)] = m.group(2)
            if line.startswith("ob="):
                inside = m.group(1)
        elif line.startswith("calls="):
            called = True  # the next line is what was taken there
        elif re.match(r"[+*\-\d]", line):
            if not called and "libcrypto" not in objects.get(inside, ""):
                taken += int(line.split()[1])
            called = False
    return taken


def per_request(pid: int, out: Path, requests: int, load: Callable[[], None]) -> float:
    before = set(out.parent.glob(out.name + ".*"))
    control(pid, "-z")
    load()
    control(pid, "-d")
    (dump,) = set(out.parent.glob(out.name + ".*")) - before
    return total(dump) / requests
