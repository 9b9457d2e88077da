"""A private stack with a proxy (t/fault/proxy.c) between any two of its parts, clocks that can be set, and, for root, a
disk of its own for the database that can become full.

    with flow_stack(kind=ProxiedStack) as stack:
        stack.proxy.reset("payd-postgres"); stack.proxy.whole("payd-postgres")
        stack.set_clock("edge", 600)
"""
from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import struct
import subprocess
import threading
from pathlib import Path
from typing import Any, Iterator

from postgres import Postgres
from processes import free_ports
from stack import Stack

CLONE_NEWNS, MS_REC, MS_PRIVATE = 0x20000, 0x4000, 1 << 18
DISK = 4 << 30              # bytes; of memory, as they are used
KEYS_AGE = 3600             # s: certificates are valid for clocks that go wrong, too
CLOCKS = {"edge": ("nginx",), "payd": ("order", "timer", "callback", "relay"), "database": ("postgres",),
          "Redis": ("redis",), "bank": ("paybank",)}
LINKS = ("edge-payd", "edge-payd keys", "edge-payd notify", "payd-postgres", "payd-redis", "edge-redis", "payd-egress",
         "egress-bank", "egress-bank TLS", "payd-merchant", "bank-edge")


class Proxy:
    """The program and its commands. Those that make a fault last until `whole`."""

    def __init__(self, program: Path, links: dict[str, tuple[str, str]], log: Path):
        self.lock = threading.Lock()
        self.names = {name: f"l{i}" for i, name in enumerate(links)}
        described = [f"{self.names[name]}={listen}={target}" for name, (listen, target) in links.items()]
        with open(log, "ab") as errors:
            self.child = subprocess.Popen([str(program), *described], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                          stderr=errors, text=True, bufsize=1, start_new_session=True)
        if self.child.stdout.readline() != "ready\n":
            raise RuntimeError(f"the proxy does not start: {log.read_text()}")

    def say(self, verb: str, link: str, *more: object) -> int:
        """How many of its connections have met a fault so far."""
        with self.lock:
            self.child.stdin.write(" ".join([verb, self.names[link], *map(str, more)]) + "\n")
            return int(self.child.stdout.readline())

    def whole(self, link: str) -> None:
        self.say("pass", link)

    def delay(self, link: str, ms: int) -> None:
        self.say("delay", link, ms)

    def reset(self, link: str) -> None:
        self.say("reset", link)

    def cut(self, link: str, way: str) -> None:
        self.say("cut", link, way)

    def swallow(self, link: str) -> None:
        self.say("swallow", link)

    def lose(self, link: str, times: int, statements: str) -> None:
        self.say("lose", link, times, statements)

    def struck(self, link: str) -> int:
        return self.say("struck", link)

    def stop(self) -> None:
        self.child.stdin.close()
        self.child.wait()
        self.child.stdout.close()


def private_mounts() -> bool:
    """What this process and its children mount is seen by nobody else and ends with them. Before any thread starts."""
    libc = ctypes.CDLL(None, use_errno=True)
    return os.geteuid() == 0 and libc.unshare(CLONE_NEWNS) == 0 \
        and libc.mount(None, b"/", None, MS_REC | MS_PRIVATE, None) == 0


class ProxiedStack(Stack):
    def __init__(self, *args: Any, merchant_port: int = 0, disk: bool = False, **more: Any):
        super().__init__(*args, **more)
        self.receiver_port, self.wants_disk = merchant_port, disk
        self.proxy: Proxy | None = None
        self.disk: Path | None = None

    @property
    def callback_url(self) -> str:
        return f"http://127.0.0.1:{self.ports['payd-merchant']}/callback"

    # ---- preparation ----

    def _prepare(self) -> None:
        super()._prepare()
        home = self.sockets.parent
        self.clocks = {}
        library = home / "clock.so"
        shutil.copy(self.build / "t/fault/clock.so", library)
        library.chmod(0o755)
        for name in (*CLOCKS, "keys"):
            self.clocks[name] = home / f"clock.{name}"
            self.clocks[name].write_bytes(bytes(8))
        self.clock_env = {"LD_PRELOAD": str(library)}
        if self.wants_disk:
            self._mount_disk(home / "disk")

    def _mount_disk(self, disk: Path) -> None:
        disk.mkdir(exist_ok=True)
        if subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK},mode=711", "none", str(disk)],
                          capture_output=True).returncode == 0:
            self.disk = disk
            self.postgres = Postgres(disk / "pg", self.sockets / "pg", self.log / "postgres.log",
                                     self.options["postgres"])

    def _make_keys(self) -> None:
        with self._environment(FAULT_CLOCK=str(self.clocks["keys"]), **self.clock_env):
            self.set_clock("keys", -KEYS_AGE)
            super()._make_keys()

    @staticmethod
    @contextlib.contextmanager
    def _environment(**more: str) -> Iterator[None]:
        os.environ.update(more)
        try:
            yield
        finally:
            for name in more:
                del os.environ[name]

    def _configure(self) -> None:
        taken = (self.ingress_port, self.status_port, self.bank_port, self.bank_tls_port, self.merchant_port)
        free = [port for port in free_ports(4 + len(taken)) if port not in taken]
        self.ports = ports = dict(zip(("egress-bank", "egress-bank TLS", "payd-merchant", "bank-edge"), free))
        s = self.sockets
        (s / "pgproxy").mkdir(mode=0o755)
        receiver = self.receiver_port or self.merchant_port
        unix = {"edge-payd": ("p.api", "order0.api"), "edge-payd keys": ("p.internal", "order0.internal"),
                "edge-payd notify": ("p.notify", "order0.notify"), "payd-redis": ("p.redis", "redis"),
                "edge-redis": ("p.redis2", "redis"), "payd-egress": ("p.egress", "egress")}
        links = {name: (f"unix:{s}/{listen}.sock", f"unix:{s}/{target}.sock") for name, (listen, target) in unix.items()}
        links["payd-postgres"] = (f"unix:{s}/pgproxy/.s.PGSQL.5432", f"unix:{s}/pg/.s.PGSQL.5432")
        targets = {"egress-bank": self.bank_port, "egress-bank TLS": self.bank_tls_port, "payd-merchant": receiver,
                   "bank-edge": self.ingress_port}
        links |= {name: (f"127.0.0.1:{ports[name]}", f"127.0.0.1:{port}") for name, port in targets.items()}
        self._lead_through(ports)
        super()._configure()
        self.proxy = Proxy(self.build / "t/fault/proxy", links, self.log / "proxy.err")

    def _lead_through(self, ports: dict[str, int]) -> None:
        """Every part asks the proxy instead of the other part."""
        self.options["nginx"] |= {
            "upstream pay_orders > server": "unix:{sockets}/p.api.sock max_fails=0",
            "upstream pay_notify > server": "unix:{sockets}/p.notify.sock max_fails=0",
            "http > pay_keys": "unix:{sockets}/p.internal.sock",
            "http > pay_redis": "unix:{sockets}/p.redis2.sock timeout=50ms"}
        self.options["payd"] |= {
            "database": '"host={sockets}/pgproxy dbname=ngx_pay user=ngx_pay_app" writers=2 readers=2',
            "egress": "unix:{sockets}/p.egress.sock", "relay > redis": "unix:{sockets}/p.redis.sock",
            "callbacks > allow": f"127.0.0.1:{ports['payd-merchant']}"}
        for channel, endpoint in (("wechat", f"https://127.0.0.1:{ports['egress-bank TLS']}"),
                                  ("bank", f"http://127.0.0.1:{ports['egress-bank']}")):
            self.channel_options.setdefault(channel, {}).update(
                endpoint=endpoint, notify_base=f"https://127.0.0.1:{ports['bank-edge']}/notify")

    @property
    def clocked(self) -> list[str]:
        """Whose clocks can be set: a sanitizer wants to be loaded first."""
        return [name for name in CLOCKS if "san" not in self.build.name or name in ("database", "Redis")]

    def _describe_processes(self) -> None:
        super()._describe_processes()
        for clock in self.clocked:
            prefixes = CLOCKS[clock]
            for name, process in self.processes.items():
                if name.startswith(prefixes):
                    process.env |= {**self.clock_env, "FAULT_CLOCK": str(self.clocks[clock])}

    def stop(self) -> None:
        super().stop()
        if self.proxy:
            self.proxy.stop()
            self.proxy = None
        if self.disk:
            subprocess.run(["umount", str(self.disk)], check=True)
            self.disk = None

    # ---- faults ----

    def set_clock(self, name: str, seconds: int) -> None:
        with open(self.clocks[name], "r+b") as f:
            f.write(struct.pack("=q", seconds * 1_000_000))

    def fill_disk(self) -> None:
        """Hardly a byte more: it may grow between the look and the word."""
        for room in range(0, 64 << 20, 1 << 20):
            used = os.statvfs(self.disk)
            if self._resize((used.f_blocks - used.f_bfree) * used.f_frsize + room):
                return
        raise RuntimeError(f"{self.disk} cannot be made smaller")

    def empty_disk(self) -> None:
        if not self._resize(DISK):
            raise RuntimeError(f"{self.disk} cannot be made larger")

    def _resize(self, size: int) -> bool:
        return subprocess.run(["mount", "-o", f"remount,size={size}", str(self.disk)], capture_output=True).returncode == 0
