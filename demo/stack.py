"""The private stack: PostgreSQL, Redis, nginx, payd, the virtual bank and an example merchant, all
under one folder, on unix sockets and free loopback ports. `make run`, the tests and the benchmarks use it.

    with Stack("run") as stack:                        # starts everything, stops everything
        stack.client().create_payment("T1000001", 888)

    Stack(folder, orders=2, payd={"query_interval": "200ms"}, channels={"bank": {"concurrency": "5"}},
          paybank={"notify_retry": "50ms 100ms"}, nginx={"worker_processes": "1"},
          also=["alipay"], adapters={"alipay": {"api cancel > earliest": "1s"}})

Configuration is made from the samples in lua-free-conf/ (conf.py): the keys of payd, paybank and nginx
are `block > directive` paths, a value of None removes the directive; `also` names files of channels-available/.
Every start waits for a condition, never for a time. Processes can be killed and restarted by name: postgres, redis, paybank, merchant,
nginx, order0 ..., timer0, callback0, relay0.
"""
from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Iterable, Mapping
from urllib.parse import urlsplit

import accounts
from client import Client, read_env
from conf import Conf, Directive
from keys import Keys
from postgres import Postgres, reachable
from processes import NotReady, Process, Registry, free_ports, wait_until

ROOT = Path(__file__).resolve().parent.parent
SAMPLES = ROOT / "lua-free-conf"
LONGEST_SOCKET_NAME = len("/order99.internal.sock~")
SOCKET_PATH_MAX = 107

Overrides = Mapping[str, str | None]


class Stack:
    def __init__(self, folder: str | Path, *, orders: int = 1, timers: int = 1, payd: Overrides | None = None,
                 nginx: Overrides | None = None, paybank: Overrides | None = None,
                 channels: Mapping[str, Overrides] | None = None,
                 also: Iterable[str] = (), adapters: Mapping[str, Overrides] | None = None,
                 postgres: Mapping[str, str] | None = None, build: str | None = None):
        self.folder = Path(folder).resolve()
        self.build = ROOT / (build or os.environ.get("PAY_BUILD", "build"))
        self.orders = [f"order{i}" for i in range(orders)]
        self.timers = [f"timer{i}" for i in range(timers)]
        self.options = {"payd": dict(payd or {}), "nginx": dict(nginx or {}),
                        "paybank": dict(paybank or {}), "postgres": dict(postgres or {})}
        self.channel_options = {name: dict(block) for name, block in (channels or {}).items()}
        self.also = list(also)
        self.adapter_options = {name: dict(block) for name, block in (adapters or {}).items()}
        self.registry = Registry(self.folder / "pids")
        self.processes: dict[str, Process] = {}
        self.log_start: dict[str, int] = {}  # what a process said since its latest start
        self.short: Path | None = None  # stands in for the folder where paths must be short or open

    # ---- life ----

    def __enter__(self) -> "Stack":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        self._stop_on_term()
        self.folder.mkdir(parents=True, exist_ok=True)
        self.registry.clean_up()
        self.registry.write([])
        try:
            self._prepare()
            with ThreadPoolExecutor() as pool:
                # PostgreSQL takes longest: its folder is made while the keys are
                database = pool.submit(self.postgres.create)
                pool.submit(self._make_keys).result()
                database.result()
            self._configure()
            self._start("postgres", "redis", "paybank", "merchant")
            self._fill_database()
            self._start(*self.payd_names)
            self._start("nginx")
            self._write_env()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stops whatever was started; those who use a server before the server."""
        servers = ("redis", "postgres")
        first = [p for name, p in self.processes.items() if name not in servers]
        for process in first:
            process.signal(process.stop_signal)
        for process in first:
            process.stop()
        for name in servers:
            if name in self.processes:
                self.processes[name].stop()
        for file in (self.registry.path, self.folder / "demo.env"):
            file.unlink(missing_ok=True)
        if self.short:
            shutil.rmtree(self.short, ignore_errors=True)
            self.short = None

    @staticmethod
    def _stop_on_term() -> None:
        """TERM ends the program through its finally clauses."""
        if threading.current_thread() is threading.main_thread() \
                and signal.getsignal(signal.SIGTERM) == signal.SIG_DFL:
            signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))

    # ---- single processes ----

    def start_process(self, name: str) -> None:
        """Starts it and waits until it serves."""
        self._start(name)

    def kill(self, name: str) -> None:
        """kill -9, with all of its children; gone when this returns."""
        self.processes[name].kill()

    def restart(self, name: str) -> None:
        self.processes[name].stop()
        self._start(name)

    def signal(self, name: str, number: int) -> None:
        self.processes[name].signal(number)

    def pid(self, name: str) -> int:
        return self.processes[name].pid

    def children(self, name: str) -> list[int]:
        """nginx's workers, PostgreSQL's backends ..."""
        pid = self.pid(name)
        return [int(p) for p in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]

    def nginx_workers(self) -> set[int]:
        """Those that serve; one that was told to end says so in its title."""
        return {pid for pid in self.children("nginx") if serves(pid)}

    def reload_nginx(self) -> None:
        """After editing a file under conf/: waits until new workers took over."""
        before = self.nginx_workers()
        self.signal("nginx", signal.SIGHUP)
        wait_until(lambda: (now := self.nginx_workers()) and not now & before, "nginx's new workers to take over")

    def _start(self, *names: str) -> None:
        for name in names:
            if name == "paybank":
                (self.folder / "paybank.ready").unlink(missing_ok=True)
            if name == "nginx":
                # nginx does not remove what a killed one left, and cannot bind over it
                for socket in ("egress.sock", "control.sock"):
                    (self.sockets / socket).unlink(missing_ok=True)
            self.log_start[name] = size(self.log / f"{name}.log")
            self.processes[name].start()
        self.registry.write(list(self.processes.values()))
        for name in names:
            self._wait_ready(name)

    def _wait_ready(self, name: str) -> None:
        process = self.processes[name]
        ready = {"postgres": self.postgres.ready, "redis": self._redis_ready, "nginx": self._nginx_ready,
                 "paybank": lambda: (self.folder / "paybank.ready").exists(),
                 "merchant": lambda: answers(self.merchant_port)}.get(name, lambda: self._payd_ready(name))

        def condition() -> object:
            process.check()
            return ready()
        try:
            wait_until(condition, f"{name} to serve")
        except NotReady as e:
            raise NotReady(f"{e}\n{process.last_words()}") from None

    def _redis_ready(self) -> bool:
        return ask_unix(self.sockets / "redis.sock", b"PING\r\n").startswith(b"+PONG")

    def _nginx_ready(self) -> bool:
        """Serves, and every worker hears of changed keys."""
        try:
            metrics = call("GET", f"http://127.0.0.1:{self.status_port}/metrics")[1]
        except OSError:
            return False
        alive = re.findall(r"^pay_edge_feed_alive.* (\d)$", str(metrics), re.M)
        return alive != [] and set(alive) == {"1"} and answers(self.ingress_port)

    def _payd_ready(self, name: str) -> bool:
        """It says so: has the database, a process number, the accounts, and its sockets."""
        return b'"ready"' in self._new_log_text(name)

    def _new_log_text(self, name: str) -> bytes:
        path = self.log / f"{name}.log"
        if not path.exists():
            return b""
        with open(path, "rb") as log:
            log.seek(self.log_start[name])
            return log.read()

    # ---- what others use ----

    def client(self, scheme: str = "rsa", **changes: Any) -> Client:
        client = Client.from_env(self.env, scheme)
        for name, value in changes.items():
            setattr(client, name, value)
        return client

    def _payctl(self, *args: str) -> subprocess.CompletedProcess:
        return subprocess.run([str(self.build / "payctl"), "-c", str(self.conf / "payd.conf"), *args],
                              capture_output=True, text=True)

    def payctl(self, *args: str, check: bool = True) -> str:
        done = self._payctl(*args)
        if check and done.returncode:
            raise RuntimeError(f"payctl {' '.join(args)} ended with {done.returncode}: {done.stderr}{done.stdout}")
        return done.stdout

    def payctl_error(self, *args: str) -> str:
        """What a refused command says."""
        done = self._payctl(*args)
        return done.stderr if done.returncode else f"not refused: {done.stdout}"

    def sql(self, statement: str) -> list[list[str]]:
        return self.postgres.sql(statement)

    def bank(self, method: str, path: str, body: dict | None = None) -> Any:
        """The bank's control API; returns (status, JSON)."""
        return call(method, f"http://127.0.0.1:{self.bank_port}/_control{path}", body)

    def merchant(self, method: str, path: str, body: dict | None = None) -> Any:
        return call(method, f"http://127.0.0.1:{self.merchant_port}{path}", body)[1]

    @property
    def callback_url(self) -> str:
        return f"http://127.0.0.1:{self.merchant_port}/callback"

    def problems(self, *allowed: str) -> list[str]:
        """Log lines that must not be there, except those that contain one of `allowed`."""
        signs = ("[alert]", "[emerg]", "Sanitizer", "runtime error:", '"lvl":"alert"', "PANIC:", "assertion")
        lines = [f"{log.name}: {line}" for log in sorted((self.folder / "log").iterdir())
                 for line in read(log).splitlines() if any(s in line for s in signs)]
        return [line for line in lines if not any(a in line for a in allowed)]

    # ---- preparation ----

    def _prepare(self) -> None:
        for old in ("log", "conf", "redis", "pg", "sock", "bank"):
            shutil.rmtree(self.folder / old, ignore_errors=True)
        for new in ("log", "conf/channels", "redis", "bank"):
            (self.folder / new).mkdir(parents=True)
        for file in ("demo.env", "paybank.ready"):
            (self.folder / file).unlink(missing_ok=True)
        self.log, self.conf, self.secrets = (self.folder / n for n in ("log", "conf", "secrets"))
        home = self.folder if self._home_is_fine() else self._short_folder()
        self.sockets = home / "sock"
        self.sockets.mkdir(mode=0o711, exist_ok=True)
        self.postgres = Postgres(home / "pg", self.sockets / "pg", self.log / "postgres.log",
                                 self.options["postgres"])
        self.ingress_port, self.status_port, self.bank_port, self.bank_tls_port, self.merchant_port = free_ports(5)
        self.payd_names = [*self.orders, *self.timers, "callback0", "relay0"]

    def _home_is_fine(self) -> bool:
        return len(str(self.folder)) + len("/sock") + LONGEST_SOCKET_NAME <= SOCKET_PATH_MAX \
            and reachable(self.folder)

    def _short_folder(self) -> Path:
        self.short = Path(tempfile.mkdtemp(prefix="ngx_pay.", dir="/tmp"))
        self.short.chmod(0o711)
        return self.short

    def _make_keys(self) -> None:
        self.keys = Keys(self.secrets, sorted({endpoint_host(Conf.read(f)) for f in channel_files(AVAILABLE)}))

    def _configure(self) -> None:
        self._configure_payd()
        self._configure_adapters()
        self._configure_channels()
        self._configure_paybank()
        self._configure_nginx()
        self._describe_processes()

    def _places(self) -> dict[str, str]:
        """Where the samples' relative paths lead here."""
        return {"run/log": str(self.log), "run/nginx.pid": str(self.folder / "nginx.pid"),
                "run/paybank.ready": str(self.folder / "paybank.ready"),
                "run/": f"{self.sockets}/", "log/": f"{self.log}/", "secrets/": f"{self.secrets}/",
                "channels/": f"{self.conf}/channels/",
                "adapters": str(self.conf / "adapters" if self.adapter_options else SAMPLES / "adapters")}

    def _sample(self, name: str) -> Conf:
        conf = Conf.read(SAMPLES / name)
        conf.move(self._places())
        return conf

    def _finish(self, conf: Conf, name: str, options: Overrides) -> None:
        for path, value in options.items():
            conf.set(path, value and value.replace("{sockets}", str(self.sockets)))
        conf.write(self.conf / name)

    def _configure_payd(self) -> None:
        conf = self._sample("payd.conf")
        conf.set("platform", f"{self.keys.platform_serial} {self.keys.path('platform.crt')} "
                             f"{self.keys.path('platform.key')}")
        for serial, name in list(self.keys.platform.items())[1:]:
            conf.block.append(Directive(["platform_certificate", serial, str(self.keys.path(f"{name}.crt"))]))
        conf.set("callbacks > allow", f"127.0.0.1:{self.merchant_port}")
        for name in self.orders[1:]:
            conf.repeat("process order0", {"order0": name})
        for name in self.timers[1:]:
            conf.repeat("process timer0", {"timer0": name, "operate.sock": f"operate.{name}.sock"})
        self._finish(conf, "payd.conf", self.options["payd"])

    def _configure_channels(self) -> None:
        """Every channel is played by the virtual bank, over TLS under the channel's own name."""
        for file in channel_files(self.also):
            conf = Conf.read(file)
            conf.move(self._places())
            name = conf.all("pay_channel")[0].words[1]
            block = f"pay_channel {name}"
            if conf.all("endpoint")[0].words[1].startswith("https:"):
                host = endpoint_host(conf)
                conf.set(f"{block} > endpoint", f"https://127.0.0.1:{self.bank_tls_port}")
                conf.set(f"{block} > tls_name", host)
            else:
                conf.set(f"{block} > endpoint", f"http://127.0.0.1:{self.bank_port}")
            conf.set(f"{block} > notify_base", f"https://127.0.0.1:{self.ingress_port}/notify")
            options = {f"{block} > {k}": v for k, v in self.channel_options.get(name, {}).items()}
            self._finish(conf, f"channels/{file.name}", options)

    def _configure_adapters(self) -> None:
        """The samples themselves, unless one is changed."""
        if self.adapter_options:
            (self.conf / "adapters").mkdir()
            for file in sorted((SAMPLES / "adapters").glob("*.conf")):
                self._finish(Conf.read(file), f"adapters/{file.name}", self.adapter_options.get(file.stem, {}))

    def _configure_paybank(self) -> None:
        conf = self._sample("paybank.conf")
        accounts.configure_paybank(conf, self.keys)
        conf.set("listen", f"127.0.0.1:{self.bank_port}")
        conf.set("listen_tls", f"127.0.0.1:{self.bank_tls_port} {self.keys.path('bank.crt')} {self.keys.path('bank.key')}")
        conf.set("ready_file", str(self.folder / "paybank.ready"))
        conf.set("journal", str(self.folder / "bank/journal"))
        conf.set("log", str(self.log / "paybank.log"))
        conf.set("ca_file", str(self.keys.path("ca.crt")))
        self._finish(conf, "paybank.conf", self.options["paybank"])

    def _configure_nginx(self) -> None:
        conf = self._sample("nginx.conf")
        module = self.build / "ngx_http_pay_core_module.so"
        conf.set("load_module", None if self._static_nginx() else str(module))
        conf.set("user", "root" if os.geteuid() == 0 else None)
        conf.set("worker_processes", "2")
        conf.set("worker_rlimit_nofile", None)  # more than a container may allow
        # all of its clients have one address
        conf.set("http > pay_attack", "on except=127.0.0.0/8")
        for key in conf.all("pay_platform_key"):
            key.words[1:3] = [self.keys.platform_serial, str(self.keys.path("platform.key"))]
        for serial, name in list(self.keys.platform.items())[1:]:
            conf.all("http")[0].block.insert(0, Directive(["pay_platform_key", serial, str(self.keys.path(f"{name}.key"))]))
        listens = {"443": f"127.0.0.1:{self.ingress_port}", "127.0.0.1:9180": f"127.0.0.1:{self.status_port}"}
        for listen in conf.all("listen"):
            listen.words[1] = listens.get(listen.words[1], listen.words[1])
        conf.set("http > pay_keys", " ".join(f"unix:{self.sockets}/{name}.internal.sock" for name in self.orders))
        for name in self.orders[1:]:
            for upstream, path in (("pay_orders", "api"), ("pay_notify", "notify")):
                conf.repeat(f"upstream {upstream} > server unix:{self.sockets}/order0.{path}.sock",
                            {"order0": name})
        for trusted in conf.all("proxy_ssl_trusted_certificate"):
            trusted.words[1] = str(self.keys.path("ca.crt"))
        self._finish(conf, "nginx.conf", self.options["nginx"])

    def _static_nginx(self) -> Path | None:
        """An nginx that has the module in it: PAY_NGINX, or the sanitizers' build."""
        static = Path(os.environ.get("PAY_NGINX") or self.build / "nginx/nginx")
        return static if static.exists() else None

    def _describe_processes(self) -> None:
        def describe(name: str, *command: str | Path, **more: Any) -> None:
            self.processes[name] = Process(name, [str(c) for c in command], log=self.log / f"{name}.err", **more)

        self.processes["postgres"] = self.postgres.process
        describe("redis", "redis-server", "--port", "0", "--unixsocket", self.sockets / "redis.sock",
                 "--unixsocketperm", "600", "--save", "", "--appendonly", "no", "--dir", self.folder / "redis")
        describe("paybank", self.build / "paybank", "-c", self.conf / "paybank.conf")
        describe("merchant", sys.executable, ROOT / "demo/merchant.py", "--listen", f"127.0.0.1:{self.merchant_port}",
                 "--certificate", f"{self.keys.platform_serial}={self.keys.path('platform.crt')}",
                 "--secret", f"{accounts.HMAC_SERIAL}={self.keys.path('hmac.key')}")
        for name in self.payd_names:
            describe(name, self.build / "payd", "-c", self.conf / "payd.conf", "-n", name)
        describe("nginx", self._static_nginx() or "/usr/sbin/nginx", "-p", f"{self.folder}/",
                 "-c", self.conf / "nginx.conf", "-e", self.log / "nginx.error.log", "-g", "daemon off;",
                 env={"ASAN_OPTIONS": "detect_leaks=0"})

    def _fill_database(self) -> None:
        self.postgres.sql("create database ngx_pay", database="postgres")
        self.payctl("migrate", "--owner", self.postgres.conninfo(), "--sql", str(ROOT / "sql"))
        accounts.register(self)

    def _write_env(self) -> None:
        key = self.keys.path
        self.env = {
            "PAY_URL": f"https://127.0.0.1:{self.ingress_port}", "PAY_CA": key("ca.crt"),
            "PAY_MCHID": accounts.MCHID, "PAY_SERIAL": accounts.RSA_SERIAL, "PAY_KEY": key("merchant.key"),
            "PAY_HMAC_SERIAL": accounts.HMAC_SERIAL, "PAY_HMAC_KEY": key("hmac.key"),
            "PAY_PLATFORM_SERIAL": self.keys.platform_serial, "PAY_PLATFORM_CERT": key("platform.crt"),
            "PAY_KEYS": self.keys.folder,
            "PAY_PLATFORM_KEYS": ",".join(f"{serial}={key(f'{name}.crt')}" for serial, name in self.keys.platform.items()),
            "PAYBANK_URL": f"http://127.0.0.1:{self.bank_port}", "PAY_PG": self.postgres.conninfo(),
            "PAY_REDIS": self.sockets / "redis.sock", "PAY_NGINX_CONF": self.conf / "nginx.conf",
            "PAY_STATUS_URL": f"http://127.0.0.1:{self.status_port}",
            "PAY_PAYD_CONF": self.conf / "payd.conf", "PAY_CALLBACK_URL": self.callback_url,
        }
        self.env = {name: str(value) for name, value in self.env.items()}
        lines = ["# The private stack that runs here. Shell: set -a; . run/demo.env\n",
                 *(f"{name}={shlex.quote(value)}\n" for name, value in self.env.items())]
        (self.folder / "demo.env").write_text("".join(lines))


# ---- small tools ----

AVAILABLE = [f.stem for f in sorted((SAMPLES / "channels-available").glob("*.conf"))]


def channel_files(also: Iterable[str] = ()) -> list[Path]:
    return sorted((SAMPLES / "channels").glob("*.conf")) + [SAMPLES / "channels-available" / f"{name}.conf" for name in also]


def endpoint_host(channel: Conf) -> str:
    """The name the channel's TLS certificate has."""
    names = channel.all("tls_name")
    return names[0].words[1] if names else urlsplit(channel.all("endpoint")[0].words[1]).hostname


def read(path: Path) -> str:
    return path.read_text(errors="replace") if path.exists() else ""


def size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def serves(pid: int) -> bool:
    """Of a worker of nginx."""
    try:
        return "shutting down" not in Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return False


def answers(port: int) -> bool:
    with socket.socket() as s:
        return s.connect_ex(("127.0.0.1", port)) == 0


def ask_unix(path: Path, line: bytes) -> bytes:
    """Sends one line and reads one; empty when none came within a second."""
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(1)
        try:
            s.connect(str(path))
            s.sendall(line)
            got = b""
            while not got.endswith(b"\n"):
                more = s.recv(4096)
                if not more:
                    return b""
                got += more
            return got
        except OSError:
            return b""


def call(method: str, url: str, body: dict | None = None) -> tuple[int, Any]:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"}, method=method)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=30) as response:
            status, text = response.status, response.read()
    except urllib.error.HTTPError as e:
        status, text = e.code, e.read()
    try:
        return status, json.loads(text) if text else None
    except ValueError:
        return status, text.decode("utf-8", "replace")


def run_folder() -> Path:
    """Where `make run` runs its stack: ./run, or what PAY_RUN says."""
    return Path(os.environ.get("PAY_RUN") or ROOT / "run")


def running() -> dict[str, str]:
    """The environment of the stack that `make run` started."""
    return read_env(run_folder() / "demo.env")
