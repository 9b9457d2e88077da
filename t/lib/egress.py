"""What the tests of the edge's way out share: an nginx with an egress, a bank that misbehaves on
demand, and a client that calls the egress as payd does."""
from __future__ import annotations

import contextlib
import itertools
import json
import os
import re
import shutil
import signal
import socket
import ssl
import struct
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Callable, Iterator

sys.path.append(str(Path(__file__).resolve().parents[2] / "demo"))

from processes import end_family, pid_in  # noqa: E402
from tap import is_, ok  # noqa: E402, F401

ROOT = Path(__file__).resolve().parents[2]
# nginx ends without freeing its configuration: no leaks are looked for in it
os.environ["ASAN_OPTIONS"] = os.environ.get("ASAN_OPTIONS", "") + ":detect_leaks=0"
NGINX = os.environ.get("PAY_NGINX", "/usr/sbin/nginx")
MODULE = os.environ.get("PAY_NGINX_MODULE", str(ROOT / "build/ngx_http_pay_core_module.so"))
SLOW = 4 if "san" in NGINX else 1  # sanitizers take their time

CHANNEL = """adapter test; methods native; timeout connect=2s send=3s read=3s;"""
LOCATION = """pay_egress on; proxy_pass $pay_egress_url; proxy_http_version 1.1;
              proxy_set_header Connection ""; proxy_set_header Host $pay_egress_host;
              proxy_next_upstream off;"""


def boottime() -> int:
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1000


def wait_until(condition: Callable[[], Any], seconds: float = 60) -> Any:
    """The first true value of condition, or its last false one."""
    end = time.monotonic() + seconds * SLOW
    while not (value := condition()) and time.monotonic() < end:
        time.sleep(0.01)
    return value


# ---- nginx ----

def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


class Detached:
    """A daemon, that looks like a Popen: nginx ignores USR2 while its starter lives."""

    def __init__(self, pid: int) -> None:
        self.pid = pid

    def send_signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def wait(self, timeout: float = 10) -> None:
        if not wait_until(lambda: not alive(self.pid), timeout):
            raise subprocess.TimeoutExpired("nginx", timeout)


class Nginx:
    """A real nginx in a private folder; {channels} is the text of the pay_channel blocks."""

    def __init__(self, channels: str, *, location: str = "", http: str = "", workers: int = 1,
                 egress: str = LOCATION, main: str = "", control: str = "", detached: bool = False,
                 connections: int = 1024) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="ngx_pay-t."))
        self.egress = str(self.folder / "egress.sock")
        self.status_socket = str(self.folder / "status.sock")
        self.control_socket = str(self.folder / "control.sock")
        self.log = self.folder / "error.log"
        self.process: subprocess.Popen | Detached | None = None
        self.detached = detached
        self.options = dict(location=location, http=http, workers=workers, egress=egress, main=main,
                            control=control, connections=connections)
        self.write(channels)

    def write(self, channels: str, **options: Any) -> None:
        o = {**self.options, **options}
        (self.folder / "channels.conf").write_text(channels)
        load = f"load_module {Path(MODULE).absolute()};" if MODULE else ""
        user = "user root;" if os.getuid() == 0 else ""
        temp = " ".join(f"{name}_temp_path {self.folder}/{name};" for name in
                        ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        (self.folder / "nginx.conf").write_text(f"""
{load} {user} {o['main']}
env ASAN_OPTIONS; daemon {'on' if self.detached else 'off'}; worker_processes {o['workers']}; pid {self.folder}/nginx.pid;
error_log {self.log} info;
events {{ worker_connections {o['connections']}; }}
http {{
    access_log off; {temp}
    {o['http']}
    include {self.folder}/channels.conf;
    server {{
        listen unix:{self.egress};
        location / {{ {o['egress']} {o['location']} }}
    }}
    server {{
        listen unix:{self.status_socket};
        location /status {{ pay_status json; }}
        location /metrics {{ pay_status prometheus; }}
    }}
    server {{
        listen unix:{self.control_socket};
        location / {{ pay_control on; {o['control']} }}
    }}
}}
""")

    def command(self) -> list[str]:
        return [NGINX, "-p", str(self.folder), "-c", str(self.folder / "nginx.conf"), "-e", str(self.log)]

    def test(self) -> str:
        """What nginx -t says; empty when it accepts the configuration."""
        done = subprocess.run([*self.command(), "-t"], capture_output=True, text=True)
        return "" if done.returncode == 0 else done.stderr + self.log.read_text()

    def start(self) -> "Nginx":
        out = open(self.folder / "stderr", "wb")
        self.process = subprocess.Popen(self.command(), stderr=out, stdout=out)
        if self.detached:
            self.process.wait()
            wait_until(lambda: pid_in(self.folder / "nginx.pid"))
            self.process = Detached(int((self.folder / "nginx.pid").read_text()))
        if not wait_until(lambda: self.listening(self.control_socket)):
            raise RuntimeError("nginx does not start: " + (self.folder / "stderr").read_text()
                               + self.log.read_text()[-2000:])
        return self

    @staticmethod
    def listening(path: str) -> bool:
        with socket.socket(socket.AF_UNIX) as s:
            return s.connect_ex(path) == 0

    def children(self, words: str = "worker process", without: str = "?") -> list[int]:
        out = subprocess.run(["ps", "--ppid", str(self.process.pid), "-o", "pid=,args="],
                             capture_output=True, text=True).stdout
        return [int(line.split()[0]) for line in out.splitlines() if words in line and without not in line]

    def workers(self) -> list[int]:
        """Worker processes that are not about to stop."""
        return self.children(without="shutting down")

    def reload(self, channels: str | None = None, **options: Any) -> None:
        if channels is not None:
            self.write(channels, **options)
        old = set(self.workers())
        self.process.send_signal(signal.SIGHUP)
        if not wait_until(lambda: (now := self.workers()) and not old & set(now)
                          and len(now) == self.options["workers"]):
            raise RuntimeError("reload failed: " + self.log.read_text()[-2000:])

    def upgrade(self) -> "Detached":
        """USR2: starts another binary beside this one; returns the old master, which goes on. Needs detached."""
        old = self.process
        old.send_signal(signal.SIGUSR2)
        pid = self.folder / "nginx.pid"
        if not wait_until(lambda: pid_in(pid) not in ("", str(old.pid))):
            raise RuntimeError("no new binary: " + self.log.read_text()[-2000:])
        self.process = Detached(int(pid.read_text()))
        wait_until(lambda: len(self.workers()) == self.options["workers"])
        return old

    def kill(self) -> None:
        """kill -9 of all its processes, and what a restart has to remove."""
        pids = [self.process.pid, *self.children()]
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        self.process.wait()
        wait_until(lambda: not any(alive(pid) for pid in pids))
        for path in (self.egress, self.status_socket, self.control_socket, str(self.folder / "nginx.pid")):
            Path(path).unlink()

    def stop(self) -> None:
        if self.process:
            end_family(self.process)

    def status(self) -> dict:
        return json.loads(http(self.status_socket, b"GET /status HTTP/1.0\r\n\r\n").body)

    def channel(self, name: str = "bank") -> dict:
        return next(c for c in self.status()["channels"] if c["name"] == name)

    def metrics(self) -> str:
        return http(self.status_socket, b"GET /metrics HTTP/1.0\r\n\r\n").body.decode()

    def problems(self) -> list[str]:
        text = self.log.read_text() + (self.folder / "stderr").read_text()
        return [line for line in text.splitlines()
                if re.search(r"\[(alert|emerg)\]|Sanitizer|runtime error", line)]

    # the control socket

    def control(self, method: str, target: str, body: Any = None, uid: int | None = None) -> "Answer":
        """body: bytes as they are, else as JSON; uid: asked by a process of that user."""
        data = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        head = f"{method} {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {len(data)}\r\n\r\n"
        return http(self.control_socket, head.encode() + data) if uid is None else \
            as_user(uid, self.control_socket, head.encode() + data)

    def switch(self, state: str, channel: str = "bank", **more: Any) -> "Answer":
        return self.control("PUT", f"/channels/{channel}/state", {"state": state, **more})

    # calls

    def call(self, target: str = "/ok", **more: Any) -> "Answer":
        return call(self.egress, target, **more)

    def call_later(self, target: str = "/ok", **more: Any) -> "Later":
        return Later(lambda: self.call(target, **more))


@contextlib.contextmanager
def nginx(channels: str, *, alerts: tuple[str, ...] = (), **options: Any) -> Iterator[Nginx]:
    """A running nginx. At the end: no alert in its log but those that contain one of `alerts`."""
    server = Nginx(channels, **options)
    try:
        server.start()
        yield server
        server.stop()
        is_([p for p in server.problems() if not any(a in p for a in alerts)], [],
            "no alert, no sanitizer report in the log")
    except BaseException:
        for line in server.log.read_text().splitlines()[-15:]:
            print("# " + line[:300])
        raise
    finally:
        server.stop()
        if os.environ.get("PAY_KEEP"):
            print(f"# kept: {server.folder}")
        else:
            shutil.rmtree(server.folder, ignore_errors=True)


# ---- the client ----

@dataclass
class Answer:
    status: int  # 0: the connection ended without an answer
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: bytes = b""

    def header(self, name: str) -> str | None:
        values = [v for k, v in self.headers if k.lower() == name.lower()]
        return ", ".join(values) if values else None

    @property
    def sent(self) -> str | None:
        return self.header("Pay-Sent")

    @property
    def code(self) -> str | None:
        try:
            return json.loads(self.body).get("code")
        except ValueError:
            return None

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def short(self) -> tuple:
        return (self.status, self.code, self.sent)


def http(path: str, request: bytes, timeout: float = 30) -> Answer:
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(timeout)
        s.connect(path)
        s.sendall(request)
        return read_answer(s)


def as_user(uid: int, path: str, request: bytes) -> Answer:
    """http() by a child process that has given up being root."""
    script = ("import os,socket,sys; os.setgroups([]); os.setgid(int(sys.argv[1])); os.setuid(int(sys.argv[1]));"
              "s=socket.socket(socket.AF_UNIX); s.connect(sys.argv[2]); s.sendall(sys.stdin.buffer.read());\n"
              "while d := s.recv(65536): sys.stdout.buffer.write(d)")
    for folder in (Path(path).parent, Path(path)):
        folder.chmod(0o777)
    out = subprocess.run([sys.executable, "-c", script, str(uid), path], input=request, capture_output=True, check=True)
    a, b = socket.socketpair()
    with a, b:
        a.sendall(out.stdout)
        a.close()
        return read_answer(b)


def read_answer(s: socket.socket) -> Answer:
    data = b""
    while b"\r\n\r\n" not in data:
        more = s.recv(65536)
        if not more:
            return Answer(0, body=data)
        data += more
    head, _, body = data.partition(b"\r\n\r\n")
    lines = head.decode("latin-1").split("\r\n")
    headers = [(k, v.strip()) for k, _, v in (line.partition(":") for line in lines[1:])]
    answer = Answer(int(lines[0].split()[1]), headers)
    length = answer.header("Content-Length") if answer.status != 204 else "0"
    while length is None or len(body) < int(length):
        more = s.recv(65536)
        if not more:
            break
        body += more
        if length is None and body.endswith(b"0\r\n\r\n"):
            break
    answer.body = body
    return answer


attempts = itertools.count(1)


def request(target: str, *, channel: str = "bank", kind: str = "pay", attempt: int | str | None = None,
            before: int | None = None, method: str = "POST", body: bytes = b"{}",
            headers: tuple[str, ...] = (), without: tuple[str, ...] = ()) -> bytes:
    """The bytes of one call; before: microseconds from now."""
    pay = {"Pay-Channel": channel, "Pay-Attempt": attempt or next(attempts), "Pay-Kind": kind,
           "Pay-Send-Before": boottime() + (30_000_000 if before is None else before)}
    lines = [f"{method} {target} HTTP/1.1", "Host: egress", f"Content-Length: {len(body)}",
             *(f"{k}: {v}" for k, v in pay.items() if k not in without), *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def call(path: str, target: str = "/ok", **more: Any) -> Answer:
    return http(path, request(target, **more))


class Later:
    """Something that runs in its own thread."""

    def __init__(self, run: Callable[[], Any]) -> None:
        self.value: Any = None
        self.thread = threading.Thread(target=self.work, args=(run,), daemon=True)
        self.thread.start()

    def work(self, run: Callable[[], Any]) -> None:
        try:
            self.value = run()
        except OSError as e:
            self.value = Answer(0, body=str(e).encode())

    def get(self, seconds: float = 30) -> Any:
        self.thread.join(seconds)
        return self.value


# ---- the bank ----

@dataclass
class Received:
    connection: int
    method: str
    target: str
    headers: list[tuple[str, str]]
    body: bytes
    sni: str | None = None

    def header(self, name: str) -> str | None:
        return next((v for k, v in self.headers if k.lower() == name.lower()), None)


class Bank:
    """Does what the path of a request says; counts the calls that are open at once."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.tls = tls
        self.gate = threading.Event()   # /hold waits for it
        self.lock = threading.Lock()
        self.requests: list[Received] = []
        self.connections = 0
        self.peers: list[str] = []      # addresses that connected, in order
        self.open = 0
        self.most = 0
        self.stopped = False
        self.resumed = 0
        self.sni: str | None = None
        self.socket = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.port = self.socket.getsockname()[1]
        self.sockets: list[socket.socket] = []
        if tls:
            tls.sni_callback = lambda _s, name, _c: setattr(self, "sni", name)
        threading.Thread(target=self.accept, daemon=True).start()

    @property
    def url(self) -> str:
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}"

    def targets(self) -> list[str]:
        return [r.target for r in self.requests]

    def accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                s, peer = self.socket.accept()
                s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self.connections += 1
                self.peers.append(peer[0])
                threading.Thread(target=self.serve, args=(s, self.connections), daemon=True).start()

    def stop(self) -> None:
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()
        self.gate.set()
        self.stopped = True

    def close_idle(self) -> None:
        """Closes all connections, as banks do with idle ones."""
        for s in self.sockets:
            with contextlib.suppress(OSError):
                s.shutdown(socket.SHUT_RDWR)

    def serve(self, s: socket.socket, number: int) -> None:
        with contextlib.suppress(OSError, ConnectionError):
            if self.tls:
                s = self.tls.wrap_socket(s, server_side=True)
                self.resumed += s.session_reused
            self.sockets.append(s)
            data = b""
            while True:
                while b"\r\n\r\n" not in data:
                    more = s.recv(65536)
                    if not more:
                        return
                    data += more
                head, _, data = data.partition(b"\r\n\r\n")
                lines = head.decode("latin-1").split("\r\n")
                headers = [(k, v.strip()) for k, _, v in (line.partition(":") for line in lines[1:])]
                length = int(next((v for k, v in headers if k.lower() == "content-length"), 0))
                while len(data) < length:
                    data += s.recv(65536)
                method, target, _ = lines[0].split(" ", 2)
                body, data = data[:length], data[length:]
                received = Received(number, method, target, headers, body, self.sni)
                with self.lock:
                    self.requests.append(received)
                    self.open += 1
                    self.most = max(self.most, self.open)
                keep = self.work(s, received)
                if not keep:
                    return

    def work(self, s: socket.socket, r: Received) -> bool:
        """True to go on with the connection."""
        what = r.target.partition("?")[0].strip("/").split("/")
        if what[0] == "hold":
            self.gate.wait(30)
        elif what[0] == "wait":
            time.sleep(int(what[1]) / 1000)
        elif what[0] == "hang":
            s.recv(1)
        elif what[0] == "drip":  # an answer that never ends, a byte at a time
            with contextlib.suppress(OSError):
                s.sendall(b"HTTP/1.1 200 Said\r\nContent-Length: 1000000\r\n\r\n")
                while not self.stopped:
                    s.sendall(b"X")
                    time.sleep(0.2)
        # the call is over before its last byte leaves: the caller may send the next one at once
        with self.lock:
            self.open -= 1
        if what[0] == "reset":
            s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            socket.socket(fileno=s.detach()).close()
        elif what[0] == "raw":
            s.sendall(RAW[what[1]])
            s.close()
        elif what[0] in ("eof", "hang", "drip"):
            s.close()
        else:
            status = int(what[1]) if what[0] == "status" else 200
            body = b'{"bank":"%s"}' % what[0].encode() if status != 204 else b""
            s.sendall(b"HTTP/1.1 %d Said\r\nContent-Type: application/json\r\nContent-Length: %d\r\n%s\r\n%s"
                      % (status, len(body), EXTRA.get(what[0], b""), body))
            return True
        return False


EXTRA = {
    "pay": b"Pay-Sent: no\r\nPAY-Other: x\r\nPayment: y\r\nX-Accel-Redirect: /other\r\n",
}
RAW = {
    "noline": b"HTTP/1.1 200OK\r\nPay-Sent: no\r\nContent-Length: 0\r\n\r\n",
    "garbage": b"\x00\x01\x02 Pay-Sent: no\r\n\r\n",
    "short": b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nten bytes.",
    "half": b"HTTP/1.1 200 OK\r\nContent-Le",
}


@contextlib.contextmanager
def bank(tls: ssl.SSLContext | None = None) -> Iterator[Bank]:
    b = Bank(tls)
    try:
        yield b
    finally:
        b.stop()


# ---- certificates ----

def certificates(folder: Path, name: str) -> tuple[Path, ssl.SSLContext]:
    """A fresh CA (its file) and a server's context with a certificate for name."""
    def openssl(*args: str) -> None:
        subprocess.run(["openssl", *args], check=True, capture_output=True, cwd=folder)

    tag = f"{name}-{next(attempts)}"
    key = ["-newkey", "rsa:2048", "-nodes", "-days", "2"]
    openssl("req", "-x509", *key, "-subj", f"/CN=CA of {tag}", "-keyout", f"{tag}-ca.key", "-out", f"{tag}-ca.pem")
    openssl("req", *key, "-subj", f"/CN={name}", "-keyout", f"{tag}.key", "-out", f"{tag}.csr")
    (folder / f"{tag}.ext").write_text(f"subjectAltName=DNS:{name}\n")
    openssl("x509", "-req", "-in", f"{tag}.csr", "-CA", f"{tag}-ca.pem", "-CAkey", f"{tag}-ca.key",
            "-CAcreateserial", "-days", "2", "-extfile", f"{tag}.ext", "-out", f"{tag}.pem")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / f"{tag}.pem", folder / f"{tag}.key")
    return folder / f"{tag}-ca.pem", context
