"""Redis servers and sentinels of a test: real processes on free loopback ports."""
from __future__ import annotations

import contextlib
import signal
import socket
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Iterator

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "demo"))
from edge import wait_until  # noqa: E402
from processes import free_ports  # noqa: E402


class Server:
    """One process; `conf` are lines of redis.conf, `users` AUTH words for command()."""

    sentinel = False

    def __init__(self, folder: Path, name: str, *conf: str, auth: tuple[str, ...] = ()) -> None:
        self.folder, self.name, self.auth = folder, name, auth
        self.port = free_ports(1)[0]
        self.file = folder / f"{name}.conf"
        self.conf = conf
        self.process: subprocess.Popen | None = None

    def start(self, fresh: bool = True) -> "Server":
        if fresh:
            dir_ = self.folder / self.name
            dir_.mkdir(exist_ok=True)
            self.file.write_text("\n".join((f"port {self.port}", "bind 127.0.0.1", f"dir {dir_}",
                                            f"logfile {self.folder}/{self.name}.log", "protected-mode no",
                                            *(() if self.sentinel else ('save ""', "repl-diskless-sync-delay 0")),
                                            *self.conf, "")))
        self.process = subprocess.Popen(["redis-server", str(self.file), *(["--sentinel"] if self.sentinel else [])],
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        if not wait_until(lambda: self.command("PING").startswith((b"+PONG", b"-NOAUTH"))):
            raise RuntimeError(f"{self.name} does not start: " + (self.folder / f"{self.name}.log").read_text()[-500:])
        return self

    def command(self, *words: str) -> bytes:
        """The last reply, after AUTH if there is one."""
        lines = [w for w in (("AUTH", *self.auth) if self.auth else (), words) if w]
        data = b"".join(b"*%d\r\n" % len(ws) + b"".join(b"$%d\r\n%s\r\n" % (len(w.encode()), w.encode()) for w in ws)
                        for ws in lines)
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 2) as s:
            s.sendall(data)
            s.shutdown(socket.SHUT_WR)
            reply = b""
            while chunk := s.recv(65536):
                reply += chunk
            return reply.removeprefix(b"+OK\r\n") if self.auth else reply
        return b""

    def size(self, db: int = 0) -> int:
        found = self.command("INFO", "keyspace").decode().partition(f"db{db}:keys=")[2]
        return int(found.partition(",")[0] or 0)

    def role(self) -> str:
        return self.command("INFO", "replication").decode().partition("role:")[2].partition("\r\n")[0]

    def kill(self) -> None:
        if self.process:
            self.process.send_signal(signal.SIGCONT)
            self.process.kill()
            self.process.wait()
            self.process = None


class Sentinel(Server):
    sentinel = True

    def __init__(self, folder: Path, name: str, master: Server, *conf: str, auth: tuple[str, ...] = ()) -> None:
        super().__init__(folder, name, f"sentinel monitor pay 127.0.0.1 {master.port} 2",
                         "sentinel down-after-milliseconds pay 2000", "sentinel failover-timeout pay 2000", *conf, auth=auth)


@contextlib.contextmanager
def servers() -> Iterator[tuple[Path, list[Server]]]:
    """A folder, and a list of what is to be ended at the end."""
    folder = Path(tempfile.mkdtemp(prefix="ngx_pay-t."))
    started: list[Server] = []
    try:
        yield folder, started
    finally:
        for s in started:
            s.kill()
        shutil.rmtree(folder, ignore_errors=True)
