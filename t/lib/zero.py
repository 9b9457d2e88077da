"""A merchant's load that follows HTTP's rules, for the tests of changes under load: every request has an answer, or
it counts as failed."""
from __future__ import annotations

import http.client
import json
import ssl
import threading
import time
from typing import Any

from client import Client


class Merchant(threading.Thread):
    """Makes orders and asks for them over one connection that it keeps.

    A kept connection may be closed by the server at any moment between two requests (RFC 9112, 9.5). When it ends
    before the first byte of an answer, the request is repeated once, on a new connection: RFC 9110, 9.2.2 allows that
    for a POST whose repetition is known to be safe, and docs/api.md promises it. It is signed anew, since a nonce
    works once. A request that is the first one of its connection is never repeated."""

    def __init__(self, client: Client, name: str, stopping: threading.Event, body: dict[str, Any], pause: float) -> None:
        super().__init__(daemon=True)
        self.client, self.prefix, self.stopping, self.body, self.pause = client, name, stopping, body, pause
        self.connection: http.client.HTTPSConnection | None = None
        self.served = 0                     # requests of this connection
        self.requests = self.repeated = self.processing = 0
        self.failed: list[str] = []
        self.orders: list[str] = []

    def run(self) -> None:
        turn = 0
        while not self.stopping.is_set():
            turn += 1
            no = f"{self.prefix}x{turn:06}"
            created = self.call("POST", "/v1/payments", {**self.body, "out_trade_no": no})
            if created is not None:
                self.orders.append(no)
                self.processing += created.get("state") == "processing"
                self.call("GET", f"/v1/payments?out_trade_no={no}")
            time.sleep(self.pause)
        self.close()

    def close(self) -> None:
        if self.connection:
            self.connection.close()
        self.connection, self.served = None, 0

    def call(self, method: str, target: str, body: dict | None = None) -> dict | None:
        """The answer; None when there was none that says what happened."""
        self.requests += 1
        data = json.dumps(body).encode() if body is not None else b""
        for _ in range(2):
            old = self.served > 0
            try:
                status, text = self.once(method, target, data)
            except (OSError, http.client.HTTPException) as e:
                # an end without TLS's close_notify is an end as well
                unanswered = isinstance(e, (http.client.RemoteDisconnected, ConnectionError, ssl.SSLEOFError,
                                            ssl.SSLZeroReturnError))
                self.close()
                if old and unanswered:
                    self.repeated += 1
                    continue
                self.fail(f"{method} {target}: {e!r} on {'a kept' if old else 'a new'} connection")
                return None
            if status not in (200, 201, 202):
                self.fail(f"{method} {target}: {status} {text[:200]!r}")
                return None
            return json.loads(text)
        self.fail(f"{method} {target}: repeated in vain")
        return None

    def once(self, method: str, target: str, data: bytes) -> tuple[int, bytes]:
        if self.connection is None:
            self.connection = http.client.HTTPSConnection(self.client.host, timeout=60, context=self.client.tls)
            self.connection.connect()
        signed = self.client.scheme.sign(method, target, data or None)
        self.connection.request(method, signed.target, signed.body, signed.headers)
        response = self.connection.getresponse()
        text = response.read()
        self.client.scheme.verify(signed, response.status, response.headers, text)
        self.served += 1
        if response.will_close:
            self.close()
        return response.status, text

    def fail(self, what: str) -> None:
        self.failed.append(f"{time.strftime('%H:%M:%S')} {what}")


class Load:
    """So many merchants at once, from __enter__ to __exit__."""

    def __init__(self, clients: list[Client], body: dict[str, Any], pause: float = 0.05) -> None:
        self.stopping = threading.Event()
        tag = f"Z{time.time_ns() // 1000 % 10**10}"
        self.merchants = [Merchant(c, f"{tag}m{i:02}", self.stopping, body, pause) for i, c in enumerate(clients)]

    def __enter__(self) -> "Load":
        for m in self.merchants:
            m.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopping.set()
        for m in self.merchants:
            m.join()

    @property
    def requests(self) -> int:
        return sum(m.requests for m in self.merchants)

    @property
    def repeated(self) -> int:
        return sum(m.repeated for m in self.merchants)

    @property
    def processing(self) -> int:
        return sum(m.processing for m in self.merchants)

    @property
    def failed(self) -> list[str]:
        return [f for m in self.merchants for f in m.failed]

    @property
    def orders(self) -> list[str]:
        return [o for m in self.merchants for o in m.orders]
