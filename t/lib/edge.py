"""What the tests of the edge's way in share: a real nginx with a real Redis, a payd that says what the
test wants (docs/interfaces.md), and a merchant that signs."""
from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import json
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Callable, Iterator

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

sys.path.append(str(Path(__file__).resolve().parents[2] / "demo"))

from processes import end_family  # noqa: E402
from tap import is_, ok  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]
# nginx ends without freeing its configuration: no leaks are looked for in it
os.environ["ASAN_OPTIONS"] = os.environ.get("ASAN_OPTIONS", "") + ":detect_leaks=0"
NGINX = os.environ.get("PAY_NGINX", "/usr/sbin/nginx")
MODULE = os.environ.get("PAY_NGINX_MODULE", str(ROOT / "build/ngx_http_pay_core_module.so"))
SLOW = 4 if "san" in NGINX else 1  # sanitizers take their time

WECHAT, RSA, HMAC = "WECHATPAY2-SHA256-RSA2048", "PAY-SHA256-RSA2048", "PAY-HMAC-SHA256"


def wait_until(condition: Callable[[], Any], seconds: float = 60) -> Any:
    """The first true value of condition, or its last false one."""
    end = time.monotonic() + seconds * SLOW
    while not (value := condition()) and time.monotonic() < end:
        time.sleep(0.01)
    return value


# ---- keys ----

class Key:
    """A merchant's key: what payd knows of it, and what the merchant signs with."""

    def __init__(self, serial: str, alg: str = "hmac", **record: Any) -> None:
        self.serial = serial
        self.alg = alg
        if alg == "hmac":
            self.secret = secrets.token_bytes(32)
            shown = self.secret
        else:
            self.private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
            shown = self.private.public_key().public_bytes(
                serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        self.record = {"serial": serial, "alg": f"{alg}-sha256", "key": base64.b64encode(shown).decode(),
                       "mchid": "1900000001", "app": "app1", "state": "on", "base_slot": 7, "span": 1,
                       "valid_from": 0, "valid_to": 4102444800, "rate": 0, "burst": 0, **record}

    def sign(self, message: bytes) -> str:
        if self.alg == "hmac":
            return base64.b64encode(hmac.new(self.secret, message, hashlib.sha256).digest()).decode()
        return base64.b64encode(self.private.sign(message, padding.PKCS1v15(), hashes.SHA256())).decode()


PLATFORM = Key("PLATFORM1", "rsa")


# ---- payd ----

class FakePayd:
    """The api and internal sockets of a worker. An X-Do header of a request says how it is answered."""

    def __init__(self, folder: Path, keys: list[Key]) -> None:
        self.api, self.internal = folder / "api.sock", folder / "internal.sock"
        self.keys = {k.serial: k.record for k in keys}
        self.mode = "answer"          # of key look-ups: answer, later, silent
        self.ticking = True
        self.asked: list[str] = []    # serials
        self.requests: list[dict] = []
        self.held: list[socket.socket] = []
        self.gate = threading.Event()  # opened, it lets those go that X-Do: gate holds
        self.feeds: list[socket.socket] = []
        self.lock = threading.RLock()
        self.listeners: list[socket.socket] = []
        self.open: set[socket.socket] = set()
        self.running = False

    def start(self) -> "FakePayd":
        self.running = True
        for path, serve in ((self.api, self.serve_api), (self.internal, self.serve_internal)):
            path.unlink(missing_ok=True)
            listener = socket.socket(socket.AF_UNIX)
            listener.bind(str(path))
            listener.listen(512)
            self.listeners.append(listener)
            threading.Thread(target=self.accept, args=(listener, serve), daemon=True).start()
        threading.Thread(target=self.tick, daemon=True).start()
        return self

    def stop(self) -> None:
        self.running = False
        for s in self.listeners + list(self.open):
            with contextlib.suppress(OSError):
                s.shutdown(socket.SHUT_RDWR)
            s.close()
        self.listeners.clear()
        for path in (self.api, self.internal):
            path.unlink(missing_ok=True)

    def accept(self, listener: socket.socket, serve: Callable) -> None:
        while self.running:
            try:
                c, _ = listener.accept()
            except OSError:
                return
            self.open.add(c)
            threading.Thread(target=self.guarded, args=(serve, c), daemon=True).start()

    def guarded(self, serve: Callable, c: socket.socket) -> None:
        with contextlib.suppress(OSError, ValueError):
            serve(c)
        with self.lock:
            self.feeds = [f for f in self.feeds if f is not c]
        if c not in self.held:
            self.open.discard(c)
            c.close()

    # internal

    def tell(self, line: str) -> None:
        with self.lock:
            for feed in self.feeds:
                with contextlib.suppress(OSError):
                    feed.sendall(line.encode() + b"\n")

    def changed(self, serial: str) -> None:
        self.tell(f"CHANGED {serial}")

    def tick(self) -> None:
        while self.running:
            if self.ticking:
                self.tell("TICK")
            time.sleep(0.2)

    def serve_internal(self, c: socket.socket) -> None:
        with self.lock:
            self.feeds.append(c)
        for line in c.makefile("r"):
            word, serial = line.split()
            assert word == "KEY", line
            with self.lock:
                self.asked.append(serial)
                mode = self.mode
                if mode == "silent":
                    continue
                if mode == "later":
                    answer = f"LATER {serial}"
                elif serial in self.keys:
                    answer = f"KEY {serial} {json.dumps(self.keys[serial])}"
                else:
                    answer = f"NONE {serial}"
                c.sendall(answer.encode() + b"\n")

    # api

    def serve_api(self, c: socket.socket) -> None:
        f = c.makefile("rb")
        while line := f.readline():
            method, target, _ = line.decode().split()
            headers = []
            while (h := f.readline()) not in (b"\r\n", b""):
                name, _, value = h.decode().partition(":")
                headers.append((name.strip(), value.strip()))
            lower = {k.lower(): v for k, v in headers}
            body = f.read(int(lower.get("content-length", 0)))
            with self.lock:
                self.requests.append({"method": method, "target": target, "headers": headers, "body": body,
                                      **{k: v for k, v in lower.items() if k.startswith("pay-")}})
            if not self.answer(c, lower.get("x-do", "200"), lower):
                return

    def answer(self, c: socket.socket, do: str, headers: dict) -> bool:
        """False ends the connection."""
        what, _, arg = do.partition(" ")
        if what == "close":
            return False
        if what == "hold":
            self.held.append(c)
            return False
        if what == "gate":
            self.gate.wait(60)
            what = "200"
        if what == "slow":
            time.sleep(float(arg))
            what = "200"
        body = json.dumps({"state": "pending", "slot": headers.get("pay-slot")}).encode()
        if what == "big":
            body = b"x" * int(arg)
            what = "200"
        if what == "truncated":
            c.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{")
            return False
        if what == "garbage":
            c.sendall(b"nonsense\r\n\r\n")
            return False
        if what == "chunked":
            c.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            for i in range(int(arg)):
                c.sendall(b"5\r\n%05d\r\n" % i)
            c.sendall(b"0\r\n\r\n")
            return True
        if what == "204":
            c.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")
            return True
        c.sendall(b"HTTP/1.1 %s X\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s"
                  % (what.encode(), len(body), body))
        return True


# ---- redis ----

class Redis:
    def __init__(self, folder: Path) -> None:
        self.path = folder / "redis.sock"
        self.log = folder / "redis.log"
        self.process: subprocess.Popen | None = None

    def start(self) -> "Redis":
        self.process = subprocess.Popen(
            ["redis-server", "--port", "0", "--unixsocket", str(self.path), "--unixsocketperm", "777",
             "--save", "", "--appendonly", "no", "--dir", str(self.path.parent), "--logfile", str(self.log)],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        if not wait_until(lambda: self.command("PING") == b"+PONG\r\n"):
            raise RuntimeError("redis does not start")
        return self

    def command(self, *words: str | bytes) -> bytes:
        with socket.socket(socket.AF_UNIX) as s:
            s.settimeout(20)
            parts = [w.encode() if isinstance(w, str) else w for w in words]
            try:
                s.connect(str(self.path))
                s.sendall(b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(w), w) for w in parts))
                return s.recv(65536)
            except OSError:
                return b""

    def kill(self) -> None:
        if self.process:
            self.process.kill()
            self.process.wait()
            self.process = None

    def pause(self) -> None:
        self.process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        self.process.send_signal(signal.SIGCONT)


# ---- the edge ----

def patient(options: str, timeout: str) -> str:
    """A machine that is busy must not look like a Redis or a payd that is away: only tests of that say timeout=."""
    return options if "timeout=" in options else f"timeout={timeout} {options}".strip()


class Edge:
    """nginx, Redis and a payd in a private folder."""

    def __init__(self, *keys: Key, workers: int = 1, guard: str = "", http: str = "", location: str = "",
                 server: str = "", main: str = "", redis: str = "", lookup: str = "",
                 redis_at: str = "", platform: str = "", zone: str = "8m", upstream: str = "pay_orders") -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="ngx_pay-t."))
        self.folder.chmod(0o711)
        self.socket = self.folder / "edge.sock"
        self.log = self.folder / "error.log"
        self.redis = Redis(self.folder)
        self.payd = FakePayd(self.folder, list(keys))
        self.process: subprocess.Popen | None = None
        self.options = dict(workers=workers, guard=guard, http=http, location=location, server=server,
                            main=main, redis=redis, redis_at=redis_at, lookup=lookup, platform=platform, zone=zone, upstream=upstream)
        (self.folder / "platform.pem").write_bytes(PLATFORM.private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
        self.write()

    def conf(self, **options: Any) -> str:
        o = {**self.options, **options}
        f = self.folder
        temp = " ".join(f"{name}_temp_path {f}/{name};" for name in
                        ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        load = f"load_module {Path(MODULE).absolute()};" if MODULE else ""
        user = "user root;" if os.getuid() == 0 else ""
        return f"""
{load} {user} {o['main']}
daemon off; worker_processes {o['workers']}; pid {f}/nginx.pid;
error_log {f}/error.log {os.environ.get('PAY_LOG_LEVEL', 'info')};
events {{ worker_connections 2048; }}
http {{
    access_log {f}/access.log; {temp}
    client_body_buffer_size 64k; client_max_body_size 64k;
    pay_zone pay {o['zone']};
    pay_redis {o['redis_at'] or f"unix:{f}/redis.sock"} {patient(o['redis'], '1s')};
    pay_keys unix:{f}/internal.sock {patient(o['lookup'], '10s')};
    pay_platform_key {PLATFORM.serial} {f}/platform.pem {o['platform']};
    {o['http']}
    upstream pay_orders {{ hash $pay_slot; server unix:{f}/api.sock max_fails=0; keepalive 64; }}
    server {{
        listen unix:{f}/edge.sock;
        listen unix:{f}/edge2.sock http2;
        {o['server']}
        location /v1/ {{
            pay_sign on;
            pay_guard window=300s nonce=600s {o['guard']};
            {o['location']}
            proxy_pass http://{o['upstream']};
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header Pay-Mchid $pay_mchid;
            proxy_set_header Pay-App $pay_app;
            proxy_set_header Pay-Serial $pay_serial;
            proxy_set_header Pay-Slot $pay_slot;
            proxy_set_header Pay-Trace $pay_trace;
            proxy_set_header Pay-Channels $pay_channels;
            proxy_set_header Pay-Route $pay_route;
            proxy_set_header Pay-Refuse $pay_refuse;
            proxy_next_upstream off;
        }}
        location /notify/ {{
            pay_strip on;
            proxy_pass http://pay_orders;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
        }}
        location /status {{ pay_status json; }}
    }}
}}
"""

    def write(self, **options: Any) -> None:
        (self.folder / "nginx.conf").write_text(self.conf(**options))

    def command(self) -> list[str]:
        return [NGINX, "-p", str(self.folder), "-c", str(self.folder / "nginx.conf"), "-e", str(self.log)]

    def test(self, conf: str | None = None) -> str:
        """What nginx -t says; empty when it accepts the configuration."""
        if conf is not None:
            (self.folder / "nginx.conf").write_text(conf)
        done = subprocess.run([*self.command(), "-t"], capture_output=True, text=True)
        return "" if done.returncode == 0 else done.stderr

    def start(self) -> "Edge":
        self.redis.start()
        self.payd.start()
        return self.start_nginx()

    def start_nginx(self) -> "Edge":
        out = open(self.folder / "stderr", "ab")
        self.process = subprocess.Popen(self.command(), stderr=out, stdout=out)
        if not wait_until(lambda: self.listening()):
            raise RuntimeError("nginx does not start: " + (self.folder / "stderr").read_text()
                               + (self.log.read_text()[-2000:] if self.log.exists() else ""))
        wait_until(lambda: len(self.payd.feeds) >= self.options["workers"])
        return self

    def listening(self) -> bool:
        with socket.socket(socket.AF_UNIX) as s:
            return s.connect_ex(str(self.socket)) == 0

    def workers(self) -> list[int]:
        """Worker processes that are not about to stop."""
        out = subprocess.run(["ps", "--ppid", str(self.process.pid), "-o", "pid=,args="],
                             capture_output=True, text=True).stdout
        return [int(line.split()[0]) for line in out.splitlines()
                if "worker process" in line and "shutting down" not in line]

    def reload(self, **options: Any) -> None:
        self.write(**options)
        old = set(self.workers())
        self.process.send_signal(signal.SIGHUP)
        if not wait_until(lambda: (now := self.workers()) and not old & set(now)
                          and len(now) == self.options["workers"], 10):
            raise RuntimeError("reload failed: " + self.log.read_text()[-2000:])

    def stop(self) -> None:
        if self.process:
            end_family(self.process)
            self.process = None
        self.payd.stop()
        if self.redis.process:
            self.redis.go_on()
            self.redis.kill()

    def problems(self, allowed: tuple[str, ...] = ()) -> list[str]:
        text = self.log.read_text(errors="replace") + (self.folder / "stderr").read_text(errors="replace")
        return [line for line in text.splitlines()
                if re.search(r"\[(alert|emerg)\]|Sanitizer|runtime error", line)
                and not any(a in line for a in allowed)]

    def status(self) -> dict:
        a = send(self.socket, b"GET /status HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        return a.json

    # calls

    def call(self, key: Key, method: str = "POST", target: str = "/v1/payments",
             body: Any = None, **more: Any) -> "Answer":
        return send(self.socket, signed(key, method, target, body, **more))

    def raw(self, data: bytes, **more: Any) -> "Answer":
        return send(self.socket, data, **more)


@contextlib.contextmanager
def edge(*keys: Key, alerts: tuple[str, ...] = (), **options: Any) -> Iterator[Edge]:
    """A running edge. At the end: no alert in its log, and no secret."""
    e = Edge(*keys, **options)
    try:
        e.start()
        yield e
        e.stop()
        is_(e.problems(alerts), [], "no alert, no sanitizer report in the log")
        text = e.log.read_text(errors="replace")
        ok(not any(k.record["key"][:40] in text for k in keys), "no key in the log")
    except BaseException:
        if e.log.exists():
            for line in e.log.read_text(errors="replace").splitlines()[-20:]:
                print("# " + line[:400])
        raise
    finally:
        e.stop()
        if os.environ.get("PAY_KEEP"):
            print(f"# kept: {e.folder}")
        else:
            shutil.rmtree(e.folder, ignore_errors=True)


# ---- the merchant ----

def payment(**more: Any) -> dict:
    """A valid body with a fresh order number."""
    return {"method": "native", "out_trade_no": "T" + secrets.token_hex(8),
            "amount": {"total": 100, "currency": "CNY"}, "description": "tea",
            "notify_url": "https://shop.example/paid", **more}


def nonce() -> str:
    return secrets.token_hex(16)


def authorization(key: Key, method: str, target: str, body: bytes, *, scheme: str | None = None,
                  timestamp: Any = None, nonce_str: str | None = None, mchid: str | None = None,
                  serial: str | None = None, order: str = "mchid nonce_str timestamp serial_no signature",
                  signature: str | None = None) -> str:
    scheme = scheme or (HMAC if key.alg == "hmac" else RSA)
    timestamp = str(int(time.time()) if timestamp is None else timestamp)
    nonce_str = nonce() if nonce_str is None else nonce_str
    message = f"{method}\n{target}\n{timestamp}\n{nonce_str}\n".encode() + body + b"\n"
    values = {"mchid": mchid or key.record["mchid"], "nonce_str": nonce_str, "timestamp": timestamp,
              "serial_no": serial or key.serial, "signature": signature or key.sign(message)}
    return scheme + " " + ",".join(f'{name}="{values[name]}"' for name in order.split())


def encode(body: Any) -> bytes:
    if body is None:
        return b""
    return body if isinstance(body, bytes) else json.dumps(body).encode()


def signed(key: Key, method: str = "POST", target: str = "/v1/payments", body: Any = None, *,
           headers: dict | None = None, chunked: int = 0, close: bool = True, sent_target: str | None = None,
           sent_body: Any = None, sent_method: str | None = None, auth: str | None = None, **more: Any) -> bytes:
    """A whole request. sent_... replace what was signed."""
    if body is None and method == "POST" and target == "/v1/payments":
        body = payment()
    data = encode(body)
    auth = auth or authorization(key, method, target, data, **more)
    if sent_body is not None:
        data = encode(sent_body)
    lines = [f"{sent_method or method} {sent_target or target} HTTP/1.1", "Host: pay.example",
             f"Authorization: {auth}"]
    lines += [f"{k}: {v}" for k, v in (headers or {}).items()]
    if close:
        lines.append("Connection: close")
    if chunked:
        lines.append("Transfer-Encoding: chunked")
        data = b"".join(b"%x\r\n%s\r\n" % (len(data[i:i + chunked]), data[i:i + chunked])
                        for i in range(0, len(data), chunked)) + b"0\r\n\r\n"
    elif data or method == "POST":
        lines.append(f"Content-Length: {len(data)}")
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + data


@dataclass
class Answer:
    status: int  # 0: the connection ended without an answer
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: bytes = b""

    def header(self, name: str) -> str | None:
        values = [v for k, v in self.headers if k.lower() == name.lower()]
        return ", ".join(values) if values else None

    @property
    def json(self) -> Any:
        try:
            return json.loads(self.body)
        except ValueError:
            return {}

    @property
    def code(self) -> str | None:
        return self.json.get("code") if isinstance(self.json, dict) else None

    @property
    def pointer(self) -> str | None:
        return (self.json.get("errors") or [{}])[0].get("pointer")

    def signed_with(self, key: Key, prefix: str = "Pay-") -> bool:
        """Whether the answer carries a genuine signature of that key."""
        parts = [self.header(prefix + n) for n in ("Timestamp", "Nonce", "Serial", "Signature")]
        if None in parts or parts[2] != key.serial or abs(int(parts[0]) - time.time()) > 30:
            return False
        message = f"{parts[0]}\n{parts[1]}\n".encode() + self.body + b"\n"
        if key.alg == "hmac":
            return parts[3] == key.sign(message)
        try:
            key.private.public_key().verify(base64.b64decode(parts[3]), message, padding.PKCS1v15(),
                                            hashes.SHA256())
        except InvalidSignature:
            return False
        return True

    @property
    def unsigned(self) -> bool:
        return self.header("Pay-Signature") is None and self.header("Wechatpay-Signature") is None


def connect(path: Path | str) -> socket.socket:
    s = socket.socket(socket.AF_UNIX)
    s.settimeout(60 * SLOW)
    s.connect(str(path))
    return s


def read_answer(f: Any) -> Answer:
    """One answer from a buffered reader, interim ones skipped."""
    while True:
        line = f.readline()
        if not line.startswith(b"HTTP/"):
            return Answer(0)
        status = int(line.split()[1])
        headers = []
        while (h := f.readline()) not in (b"\r\n", b""):
            name, _, value = h.decode("latin-1").partition(":")
            headers.append((name.strip(), value.strip()))
        if status >= 200:
            break
    lower = {k.lower(): v for k, v in headers}
    if lower.get("transfer-encoding") == "chunked":
        body = b""
        while size := int(f.readline() or b"0", 16):
            body += f.read(size)
            f.readline()
        f.readline()
    elif "content-length" in lower:
        body = f.read(int(lower["content-length"]))
    else:
        body = b"" if status in (204, 304) else f.read()
    return Answer(status, headers, body)


def send(path: Path | str, data: bytes, seconds: float | None = None) -> Answer:
    with connect(path) as s:
        if seconds:
            s.settimeout(seconds)
        try:
            s.sendall(data)
        except OSError:
            pass  # refused early: the answer is there
        try:
            a = read_answer(s.makefile("rb"))
        except OSError:
            a = Answer(0)
    return a
