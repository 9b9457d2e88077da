"""A private PostgreSQL: its own data folder, a unix socket nobody else can open, no TCP.

PostgreSQL refuses to run as root, so as root it runs as `postgres` (or `nobody`).
"""
from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
from pathlib import Path

from processes import Process

SETTINGS = {
    "listen_addresses": "", "unix_socket_permissions": "0700", "max_connections": "200",
    "shared_buffers": "128MB", "max_wal_size": "2GB", "timezone": "UTC", "log_timezone": "UTC",
    "log_line_prefix": "%m [%p] ", "log_min_duration_statement": "1s",
}
PORT = 5432  # part of the socket's name only


def bin_folder() -> Path:
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda p: float(p.parts[4]))
    if not folders:
        raise RuntimeError("no PostgreSQL under /usr/lib/postgresql: run demo/install-deps")
    return folders[-1].parent


def system_user() -> str | None:
    """Who PostgreSQL runs as; None: the invoking user."""
    if os.geteuid() != 0:
        return None
    names = {p.pw_name for p in pwd.getpwall()}
    return "postgres" if "postgres" in names else "nobody"


def reachable(folder: Path) -> bool:
    """Can PostgreSQL's user get into this folder?"""
    user = system_user()
    if user is None:
        return True
    return subprocess.run([*drop(user), "test", "-x", str(folder)], cwd="/").returncode == 0


def drop(user: str | None, death: str | None = None) -> list[str]:
    if user is None:
        return []
    group = str(pwd.getpwnam(user).pw_gid)
    return ["setpriv", f"--reuid={user}", f"--regid={group}", "--init-groups",
            *(["--pdeathsig", death] if death else []), "--"]


class Postgres:
    def __init__(self, data: Path, socket: Path, log: Path, settings: dict[str, str]):
        self.data, self.socket = data, socket
        options = {**SETTINGS, "unix_socket_directories": str(socket), **settings}
        self.user = system_user()
        command = [*drop(self.user, "QUIT"), str(bin_folder() / "postgres"), "-D", str(data),
                   *(f"--{k}={v}" for k, v in options.items())]
        # SIGINT: fast shutdown
        self.process = Process("postgres", command, log=log, stop_signal=signal.SIGINT,
                               dies_with_parent=self.user is None)

    def create(self) -> None:
        for folder in (self.data, self.socket):
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(mode=0o700, parents=True)
            if self.user:
                shutil.chown(folder, self.user)
        subprocess.run([*drop(self.user), str(bin_folder() / "initdb"), "-D", str(self.data), "-U", "postgres",
                        "--auth=trust", "--no-sync", "--encoding=UTF8", "--locale=C.UTF-8"],
                       check=True, capture_output=True, cwd="/")

    def ready(self) -> bool:
        """The last line of postmaster.pid tells; it names the process, so an old file does not fool."""
        self.process.check()
        try:
            lines = (self.data / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return False
        return len(lines) > 7 and lines[0] == str(self.process.pid) and lines[7].strip() == "ready"

    def conninfo(self, user: str = "postgres", database: str = "ngx_pay") -> str:
        return f"host={self.socket} dbname={database} user={user}"

    def sql(self, statement: str, database: str = "ngx_pay") -> list[list[str]]:
        """Rows as text."""
        done = subprocess.run(["psql", "-qAtX", "-F", "\x1f", "-R", "\x1e", "-v", "ON_ERROR_STOP=1",
                               "-c", statement, self.conninfo(database=database)],
                              capture_output=True, text=True, cwd="/")
        if done.returncode:
            raise RuntimeError(f"{statement}: {done.stderr.strip()}")
        text = done.stdout.rstrip("\n")
        return [row.split("\x1f") for row in text.split("\x1e")] if text else []
