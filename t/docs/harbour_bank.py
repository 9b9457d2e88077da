#!/usr/bin/python3
"""Harbour Bank of docs/connect-a-bank.md, as far as a first payment needs it: written from the sheet there, not from the adapter.
GET /pay?qr=QR plays the payer; with quiet=1 the bank forgets to notify.

    t/docs/harbour_bank.py ADDRESS:PORT SECRETS_JSON CA_FILE
"""
from __future__ import annotations

import hmac
import json
import re
import ssl
import sys
import threading
import time
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qsl, urlencode, urlsplit

MERCHANT = "HB20301"
FORM = "application/x-www-form-urlencoded"
MEMBERS = {"/gate/order": {"merchant", "order", "amount", "currency", "goods", "expires", "notify", "sign"},
           "/gate/query": {"merchant", "order", "sign"}, "/gate/close": {"merchant", "order", "sign"}}
FORMS = {"order": r"[0-9A-Za-z]{1,32}", "amount": r"(0|[1-9][0-9]*)\.[0-9]{2}", "currency": "156", "goods": ".{1,60}",
         "expires": r"[0-9]{14}", "notify": r"https?://\S+"}


def sign(key: bytes, members: dict[str, str]) -> str:
    text = "&".join(f"{k}={members[k]}" for k in sorted(members) if k != "sign" and members[k])
    return hmac.new(key, text.encode(), "sha256").hexdigest().upper()


class Bank:
    def __init__(self, key: bytes, ca_file: str):
        self.key, self.orders, self.lock = key, {}, threading.Lock()
        self.tls = ssl.create_default_context(cafile=ca_file)

    def signed(self, **members: str) -> bytes:
        return urlencode({**members, "sign": sign(self.key, members)}).encode()

    def call(self, path: str, body: str) -> dict[str, str]:
        """The answer's members."""
        pairs = parse_qsl(body, keep_blank_values=True, encoding="utf-8", errors="strict")
        told = dict(pairs)
        if len(told) != len(pairs) or set(told) != MEMBERS[path] \
                or not all(re.fullmatch(FORMS[k], v) for k, v in told.items() if k in FORMS):
            return {"code": "11"}
        if told["merchant"] != MERCHANT or not hmac.compare_digest(sign(self.key, told), told["sign"]):
            return {"code": "11"}
        with self.lock:
            order = self.orders.get(told["order"])
            return {"/gate/order": self.make, "/gate/query": self.query, "/gate/close": self.close}[path](order, told)

    def make(self, order: dict | None, told: dict) -> dict[str, str]:
        if order is None:
            order = self.orders[told["order"]] = {"state": "OPEN", "told": told, "qr": f"harbour://pay?o={len(self.orders) + 1001}"}
        elif order["state"] != "OPEN":
            return {"code": "21" if order["state"] == "PAID" else "22"}
        elif any(order["told"][k] != told[k] for k in ("amount", "currency")):
            return {"code": "23"}
        return {"code": "00", "merchant": MERCHANT, "order": told["order"], "qr": order["qr"]}

    def query(self, order: dict | None, told: dict) -> dict[str, str]:
        if order is None:
            return {"code": "20"}
        answer = {"code": "00", "merchant": MERCHANT, "state": order["state"],
                  **{k: order["told"][k] for k in ("order", "amount", "currency")}}
        return {**answer, **order["payment"]} if order["state"] == "PAID" else answer

    def close(self, order: dict | None, told: dict) -> dict[str, str]:
        if order is None or order["state"] == "PAID":
            return {"code": "21" if order else "20"}
        order["state"] = "DEAD"
        return {"code": "00", "merchant": MERCHANT, "order": told["order"]}

    def pay(self, qr: str, quiet: bool) -> str:
        """The payer scans the code: paid, and notified unless quiet."""
        with self.lock:
            order = next((o for o in self.orders.values() if (o["qr"], o["state"]) == (qr, "OPEN")), None)
            if order is None:
                return "no such code\n"
            china = time.gmtime(time.time() + 8 * 3600)
            order["payment"] = {"bank_order": f"HB{time.time_ns()}", "paid": time.strftime("%Y%m%d%H%M%S", china)}
            order["state"] = "PAID"
            told = order["told"]
            body = self.signed(merchant=MERCHANT, **{k: told[k] for k in ("order", "amount", "currency")}, **order["payment"])
        return "paid\n" if quiet else f"paid, notified: {self.notify(told['notify'], body)}\n"

    def notify(self, url: str, body: bytes) -> str:
        try:
            with urllib.request.urlopen(urllib.request.Request(url, body, {"Content-Type": FORM}), timeout=30,
                                        context=self.tls) as answer:
                return f"{answer.status} {answer.read().decode()}"
        except urllib.error.HTTPError as e:
            return f"{e.code} {e.read().decode()}"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self, status: int, content_type: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        if self.path not in MEMBERS:
            self.answer(404, "text/plain", b"")
        else:
            self.answer(200, FORM, self.server.bank.signed(**self.server.bank.call(self.path, body)))

    def do_GET(self):
        asked = dict(parse_qsl(urlsplit(self.path).query))
        self.answer(200, "text/plain", self.server.bank.pay(asked.get("qr", ""), "quiet" in asked).encode())

    def log_message(self, *_):
        pass


def main(listen: str, secrets: str, ca_file: str) -> None:
    host, _, port = listen.rpartition(":")
    server = ThreadingHTTPServer((host, int(port)), Handler)
    server.daemon_threads = True
    server.bank = Bank(json.loads(Path(secrets).read_text())["key"].encode(), ca_file)
    server.serve_forever()


if __name__ == "__main__":
    main(*sys.argv[1:])
