"""Child processes that never outlive their purpose.

Each runs in its own process group and is written down (pid, start time, boot) in a file before
anything else happens, so that what a crashed run left behind can be found again: by pid and start
time, never by name. Should the parent die, the kernel ends the children.
"""
from __future__ import annotations

import fcntl
import os
import random
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import Callable

# What nginx itself says of a worker that was killed: how it ended and, if that was while it held a zone's lock, that
# the master opened it again.
KILLED = ("exited on signal 9", "was locked by")
BOOT_ID = Path("/proc/sys/kernel/random/boot_id").read_text().strip()


class NotReady(Exception):
    """Something did not start or did not happen in time."""


class InUse(Exception):
    """Another process runs a stack in this folder."""


# A byte of this file for each port that a running stack has taken, or is about to listen on: what is chosen here
# is bound seconds later by somebody else. The kernel forgets the locks of a process that ends.
_taken_file: int = -1
_taken: set[int] = set()


def _take(port: int) -> bool:
    global _taken_file
    if _taken_file < 0:
        _taken_file = os.open(f"/tmp/ngx_pay.{os.getuid()}.ports", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    if port in _taken:
        return False
    try:
        fcntl.lockf(_taken_file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
    except OSError:
        return False
    _taken.add(port)
    return True


def free_ports(count: int) -> list[int]:
    """Nobody else's for as long as this process lives. Below the range the kernel takes for outgoing connections, so
    they stay free over a restart."""
    ports: list[int] = []
    while len(ports) < count:
        port = random.randint(10000, 32000)
        with socket.socket() as s:
            try:
                s.bind(("127.0.0.1", port))
            except OSError:
                continue
        if _take(port):
            ports.append(port)
    return ports


def wait_until(condition: Callable[[], object], what: str, seconds: float = 120) -> object:
    """Polls until the condition holds and returns what it returned."""
    deadline = time.monotonic() + seconds
    pause = 0.002
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise NotReady(f"waited {seconds} s for {what}")
        time.sleep(pause)
        pause = min(pause * 1.5, 0.05)


def stat(pid: int | str) -> list[str]:
    """/proc/PID/stat behind the name: state, parent, group ...; empty when it is gone or a zombie."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return []
    # a dead main thread is not the end while others still hold the sockets
    threads = int(fields[17])
    return [] if fields[0] in "ZX" and threads <= 1 else fields


def pid_in(path: Path) -> str:
    """What a pidfile says; empty while there is none: nginx renames it when it is upgraded."""
    try:
        return path.read_text().strip()
    except FileNotFoundError:
        return ""


def start_time(pid: int) -> str | None:
    """Clock ticks since boot at which this pid started; None when it is gone or a zombie."""
    fields = stat(pid)
    return fields[19] if fields else None


def family(pid: int) -> set[int]:
    """The process, its children, and whoever else is in its group."""
    found = set()
    for entry in os.listdir("/proc"):
        fields = stat(entry) if entry.isdigit() else []
        if fields and str(pid) in (entry, fields[1], fields[2]):
            found.add(int(entry))
    return found


def signal_group(pid: int, number: int) -> None:
    try:
        os.killpg(pid, number)
    except ProcessLookupError:
        pass


def end_family(process, seconds: float = 10) -> None:
    """SIGTERM to a process that has its children under control; if it does not end, kill -9 to all of them."""
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        for pid in family(process.pid):
            os.kill(pid, signal.SIGKILL)
        process.wait()


class Process:
    """One named child: start, kill, stop, restart with the same command."""

    def __init__(self, name: str, command: list[str], *, log: Path, stop_signal: int = signal.SIGTERM,
                 env: dict[str, str] | None = None, dies_with_parent: bool = True):
        self.name, self.log, self.stop_signal = name, log, stop_signal
        # setpriv ends the child when the thread that started it ends, however that happens
        death = signal.Signals(stop_signal).name.removeprefix("SIG")
        self.command = ["setpriv", "--pdeathsig", death, "--", *command] if dies_with_parent else command
        self.env = {**os.environ, **(env or {})}
        self.child: subprocess.Popen | None = None

    @property
    def pid(self) -> int:
        return self.child.pid if self.child else 0

    def running(self) -> bool:
        return self.child is not None and self.child.poll() is None

    def start(self) -> None:
        with open(self.log, "ab") as out:
            self.child = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                                          start_new_session=True, env=self.env, cwd="/")

    def check(self) -> None:
        """Raises when the process is gone, with the end of what it said."""
        if not self.running():
            code = self.child.returncode if self.child else None
            raise NotReady(f"{self.name} ended with {code}:\n{self.last_words()}")

    def last_words(self) -> str:
        text = self.log.read_text(errors="replace") if self.log.exists() else ""
        return "\n".join(text.splitlines()[-15:])

    def signal(self, number: int) -> None:
        if self.running():
            os.kill(self.pid, number)

    def kill(self) -> None:
        """kill -9 to the whole group. Gone when this returns, with all children: PostgreSQL's are in
        groups of their own, end by themselves, and hold its shared memory until then."""
        if self.child:
            others = family(self.pid)
            signal_group(self.pid, signal.SIGKILL)
            self.child.wait()
            wait_until(lambda: not any(map(start_time, others | family(self.pid))), f"the end of {self.name}")

    def stop(self, seconds: float = 10) -> None:
        """Asks politely, then does not ask."""
        if not self.child:
            return
        self.signal(self.stop_signal)
        try:
            self.child.wait(seconds)
        except subprocess.TimeoutExpired:
            pass
        self.kill()
        self.child = None


class Registry:
    """The file that names the owner and the running children, one `name pid start boot` a line."""

    def __init__(self, path: Path):
        self.path = path

    def write(self, processes: list[Process]) -> None:
        rows = [("owner", os.getpid()), *((p.name, p.pid) for p in processes if p.running())]
        new = self.path.with_suffix(".new")
        new.write_text("".join(f"{name} {pid} {start_time(pid)} {BOOT_ID}\n" for name, pid in rows))
        new.replace(self.path)

    def alive(self) -> dict[str, int]:
        """What is recorded and still runs: the same pid, started at the same time."""
        if not self.path.exists():
            return {}
        rows = [line.split() for line in self.path.read_text().splitlines()]
        return {name: int(pid) for name, pid, start, boot in rows
                if boot == BOOT_ID and start_time(int(pid)) == start}

    def clean_up(self) -> None:
        """Ends what a crashed run left behind. Raises when the run has not crashed."""
        left = self.alive()
        if left.get("owner", os.getpid()) != os.getpid():
            raise InUse(f"{self.path.parent} is in use by process {left['owner']}; stop that first")
        left.pop("owner", None)
        for pid in left.values():
            signal_group(pid, signal.SIGTERM)
        for pid in left.values():
            try:
                wait_until(lambda: start_time(pid) is None, f"end of {pid}", 5)
            except NotReady:
                signal_group(pid, signal.SIGKILL)
        self.path.unlink(missing_ok=True)
