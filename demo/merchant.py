#!/usr/bin/python3
"""The example merchant: takes callbacks, verifies their signature, answers, remembers.

    merchant.py --listen 127.0.0.1:8081 --certificate SERIAL=platform.crt --secret SERIAL=hmac.key

POST /callback   {"code":"SUCCESS"} when the signature verifies, else 401 {"code":"FAIL"}
GET  /received   everything that came: [{"at", "verified", "headers", "body", "answered"}]
POST /answer     {"status": 500, "times": 3}, {"delay": 2, "times": 1} or {"status": 503, "retry_after": "60", "times": 1}:
                 refuse, be slow, ask for time; for tests
"""
from __future__ import annotations

import argparse
import json
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import ThreadingMixIn, TCPServer

sys.path.insert(0, str(Path(__file__).resolve().parent))
from client import BadSignature, Verifier  # noqa: E402


class Merchant(ThreadingMixIn, TCPServer):
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 512

    def __init__(self, address: tuple[str, int], verifier: Verifier):
        self.verifier = verifier
        self.lock = threading.Lock()
        self.received: list[dict] = []
        self.mood = {"status": 200, "delay": 0, "times": 0}
        super().__init__(address, Handler)

    def next_mood(self) -> dict:
        with self.lock:
            if self.mood["times"] == 0:
                return {}
            self.mood["times"] -= 1
            return self.mood


class Handler(BaseHTTPRequestHandler):
    server: Merchant
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        with self.server.lock:
            self.answer(200, list(self.server.received))

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path == "/answer":
            with self.server.lock:
                self.server.mood = json.loads(body)
            self.answer(200, {"code": "SUCCESS"})
        else:
            self.callback(body)

    def callback(self, body: bytes) -> None:
        try:
            verified, reason = self.server.verifier.verify(self.headers, body), "no signature"
        except BadSignature as e:
            verified, reason = None, str(e)
        mood = self.server.next_mood()
        status = mood.get("status", 200) if verified else 401
        with self.server.lock:
            self.server.received.append({
                "at": time.time(), "path": self.path, "verified": verified, "answered": status,
                "headers": dict(self.headers), "body": body.decode("utf-8", "replace"),
                **({} if verified else {"reason": reason})})
        time.sleep(mood.get("delay", 0))
        try:
            self.answer(status, {"code": "SUCCESS"} if status == 200 else {"code": "FAIL"}, mood.get("retry_after"))
        except ConnectionError:
            pass  # the caller did not wait so long

    def answer(self, status: int, value: object, retry_after: str | None = None) -> None:
        text = json.dumps(value).encode()
        self.send_response(status)
        if retry_after:
            self.send_header("Retry-After", retry_after)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *args: object) -> None:
        pass


def pairs(texts: list[str]) -> dict[str, str]:
    return dict(t.split("=", 1) for t in texts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--listen", default="127.0.0.1:8081")
    parser.add_argument("--certificate", action="append", default=[], metavar="SERIAL=FILE")
    parser.add_argument("--secret", action="append", default=[], metavar="SERIAL=FILE")
    args = parser.parse_args()
    secrets = {serial: Path(file).read_bytes() for serial, file in pairs(args.secret).items()}
    host, port = args.listen.rsplit(":", 1)
    Merchant((host, int(port)), Verifier(pairs(args.certificate), secrets)).serve_forever()


if __name__ == "__main__":
    main()
