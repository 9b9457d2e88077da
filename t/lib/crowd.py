"""The merchants of the fault campaign: many orders of every kind over connections that are kept, each repeated until an
answer says what happened, and a place where callbacks arrive."""
from __future__ import annotations

import http.client
import json
import random
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from flow import SLOW, number  # first: it knows where the others are
from client import Answer, Client, Verifier
from signing import BadSignature

PATIENCE = 180 * SLOW
ANSWER_WITHIN = 8 * SLOW    # s, then the connection is given up
PAYER_WAITS = 5 * SLOW
PAUSE = 0.1
# what a life consists of, and how often of a hundred
LIVES = {"pay": 58, "refund": 10, "barcode": 12, "close": 8, "race": 4, "leave": 8}
UNKNOWN = (OSError, http.client.HTTPException, BadSignature, ValueError)


class KeptClient(Client):
    """One connection for all requests, as merchants' libraries do it."""
    connection: http.client.HTTPSConnection | None = None

    def request(self, method, target, body=None, headers=None) -> Answer:
        data = json.dumps(body).encode() if isinstance(body, dict) else body
        signed = self.scheme.sign(method, target, data)
        if self.connection is None:
            self.connection = http.client.HTTPSConnection(self.host, timeout=ANSWER_WITHIN, context=self.tls)
        try:
            self.connection.request(method, signed.target, signed.body, signed.headers)
            response = self.connection.getresponse()
            content = response.read()
            verified = self.scheme.verify(signed, response.status, response.headers, content)
            if verified is None and response.status < 400:
                raise BadSignature(f"{response.status} without a signature")
            return Answer(response.status, response.headers, content, verified, signed.headers)
        except BaseException:
            self.close_connection()
            raise

    def close_connection(self) -> None:
        if self.connection:
            self.connection.close()
        self.connection = None


class Receiver(ThreadingHTTPServer):
    """Takes callbacks; answers those whose signature verifies."""
    daemon_threads = True
    request_queue_size = 512

    def __init__(self) -> None:
        self.told: dict[str, str] = {}      # subject's id -> state
        self.contradictions: list[str] = []
        self.verifier: Verifier | None = None
        self.guard = threading.Lock()
        super().__init__(("127.0.0.1", 0), Callback)
        self.thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True)
        self.thread.start()

    @property
    def port(self) -> int:
        return self.server_address[1]

    def knows(self, stack) -> None:
        """Whose signatures to believe."""
        key = stack.client("hmac").scheme.key
        self.verifier = Verifier({stack.keys.platform_serial: stack.keys.path("platform.crt")}, {key.serial: key.secret})

    def take(self, event: dict) -> None:
        subject, state = event["resource"]["id"], event["resource"]["state"]
        with self.guard:
            if self.told.setdefault(subject, state) != state:
                self.contradictions.append(f"{subject}: {self.told[subject]}, then {state}")

    def handle_error(self, request, client_address) -> None:
        pass  # a connection that a fault has broken

    def close(self) -> None:
        self.shutdown()
        self.server_close()


class Callback(BaseHTTPRequestHandler):
    server: Receiver
    protocol_version = "HTTP/1.1"
    timeout = 30

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        try:
            genuine = self.server.verifier.verify(self.headers, body) is not None
        except BadSignature:
            genuine = False
        if genuine:
            self.server.take(json.loads(body))
        answer = b'{"code":"SUCCESS"}' if genuine else b'{"code":"FAIL"}'
        self.wfile.write(b"HTTP/1.1 %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" %
                         (b"200 OK" if genuine else b"401 Unauthorized", len(answer), answer))

    def log_message(self, *args: object) -> None:
        pass


class Unknown(Exception):
    pass


def until_known(request, patience=PATIENCE):
    """Repeats a request that is safe to repeat until its answer is definite: not a lost connection, a 5xx, a limit, or a
    401 - somebody's clock may be wrong."""
    deadline, last = time.monotonic() + patience, None
    while time.monotonic() < deadline:
        try:
            last = request()
            status = last.status if isinstance(last, Answer) else last[0]
            if status < 500 and status not in (401, 429) and (status != 409 or
                                                              getattr(last, "code", "") != "NONCE_REPLAYED"):
                return last
        except UNKNOWN as e:
            last = e
        time.sleep(PAUSE)
    raise Unknown(f"no definite answer in {patience} s; the last: {last!r}"[:400])


class Crowd:
    """Merchants from __enter__ to __exit__; `allow` says how many orders they may have made."""

    def __init__(self, stack, merchants: int, seed: int):
        self.stack, self.seed = stack, seed
        self.stopping, self.going = threading.Event(), threading.Event()
        self.allowed, self.made, self.busy = 0, 0, 0
        self.lock = threading.Lock()
        self.acknowledged: dict[str, tuple[str, int]] = {}   # out_trade_no -> (id, amount)
        self.unchecked: list[str] = []                       # of them, since the last look
        self.errors: list[str] = []
        self.lives: Counter = Counter()
        self.threads = [threading.Thread(target=self.merchant, args=(i,), daemon=True) for i in range(merchants)]
        self.going.set()

    def __enter__(self) -> "Crowd":
        for t in self.threads:
            t.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopping.set()
        self.going.set()
        for t in self.threads:
            t.join()

    def client(self) -> KeptClient:
        return KeptClient.from_env(self.stack.env, "hmac")

    def pause(self) -> None:
        """Nobody is doing anything when this returns."""
        self.going.clear()
        deadline = time.monotonic() + PATIENCE + 10
        while self.busy and time.monotonic() < deadline:
            time.sleep(0.02)

    def resume(self) -> None:
        self.going.set()

    def begin(self) -> bool:
        with self.lock:
            if not self.going.is_set() or self.made >= self.allowed:
                return False
            self.made += 1
            self.busy += 1
            return True

    def merchant(self, i: int) -> None:
        client, dice, turn = self.client(), random.Random(f"{self.seed}/{i}"), 0
        while not self.stopping.is_set():
            if not self.begin():
                time.sleep(0.02)
                continue
            turn += 1
            no, life = number(f"S{i:02}", turn), dice.choices(list(LIVES), LIVES.values())[0]
            try:
                self.live(client, dice, no, dice.randint(2, 9999), life)
            except Exception as e:  # noqa: BLE001 - counted as a violation
                self.errors.append(f"{no} ({life}): {e!r}"[:400])
            with self.lock:
                self.lives[life] += 1
                self.busy -= 1
        client.close_connection()

    def create(self, client, no, amount, patience=PATIENCE, **more):
        answer = until_known(lambda: client.create_payment(no, amount, notify_url=self.stack.callback_url, **more), patience)
        if answer.status not in (200, 201, 202):
            raise RuntimeError(f"{answer.status} {answer.body[:300]!r}")
        with self.lock:
            self.acknowledged[no] = (answer.json["id"], amount)
            self.unchecked.append(no)
        return answer.json

    def live(self, client, dice, no, amount, life):
        if life == "barcode":
            self.create(client, no, amount, method="barcode", channel="bank", auth_code=f"99{dice.randrange(10**16):016}")
            return
        payment = self.create(client, no, amount)
        if life == "leave":
            return
        if "code_url" not in payment and not self.waits(lambda: "code_url" in self.look(client, no, payment)):
            return
        if life in ("close", "race"):
            closing = lambda: until_known(lambda: client.close(payment["id"]))  # noqa: E731
            paying = lambda: self.pay(payment)  # noqa: E731
            for step in dice.sample([closing, paying], 2) if life == "race" else [closing]:
                step()
            return
        self.pay(payment)
        if life == "refund" and self.waits(lambda: self.look(client, no, payment)["state"] == "succeeded"):
            part = dice.randint(1, amount)
            until_known(lambda: client.refund(no, f"R{no}"[:32], part, notify_url=self.stack.callback_url))

    @staticmethod
    def look(client, no, payment):
        """As it now is."""
        payment.update(until_known(lambda: client.find(no)).json)
        return payment

    @staticmethod
    def waits(condition):
        """A payer waits so long, and walks away."""
        deadline = time.monotonic() + PAYER_WAITS
        while not condition():
            if time.monotonic() > deadline:
                return False
            time.sleep(PAUSE)
        return True

    def pay(self, payment):
        """The payer; the bank refuses orders that are closed."""
        if "code_url" in payment:
            until_known(lambda: self.stack.bank("POST", "/pay", {"code_url": payment["code_url"]}))
