"""A client of the merchant API: signs requests, verifies answers. Read it as an example.

    pay = Client("https://pay.example", "M100", RsaSigner("1A2B", "merchant.key"),
                 platform={"3C4D": "platform.crt"})
    answer = pay.create_payment(out_trade_no="T20260901001", total=888, description="Tea")
    print(answer.json["code_url"])

Three rules for whoever writes one:
 1. The result of a request that ended in a lost connection, a time-out or a 5xx is unknown. Send
    the same request again (same out_trade_no, same content) or ask by out_trade_no; never take a new
    number. Repeating is always safe: there is one order per number.
 2. Each send needs its own nonce and signature, also a repetition.
 3. Believe an answer only when its signature verifies.
"""
from __future__ import annotations

import base64
import hashlib
import hmac
import http.client
import json
import os
import re
import secrets
import ssl
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Mapping
from urllib.parse import quote, urlsplit

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding


class RsaSigner:
    """RSA-SHA256. `schema` may be WeChat Pay's literal one: its SDKs work with only the URL changed."""

    def __init__(self, serial: str, key_file: str | Path, schema: str = "PAY-SHA256-RSA2048"):
        self.serial, self.schema = serial, schema
        self.key = serialization.load_pem_private_key(Path(key_file).read_bytes(), None)

    def sign(self, message: bytes) -> bytes:
        return self.key.sign(message, padding.PKCS1v15(), hashes.SHA256())


class HmacSigner:
    schema = "PAY-HMAC-SHA256"

    def __init__(self, serial: str, secret: bytes):
        self.serial, self.secret = serial, secret

    def sign(self, message: bytes) -> bytes:
        return hmac.new(self.secret, message, hashlib.sha256).digest()


class Verifier:
    """Checks signatures on answers and callbacks: by certificate (RSA) or by shared secret (HMAC)."""

    def __init__(self, certificates: Mapping[str, str | Path] | None = None,
                 secrets_by_serial: Mapping[str, bytes] | None = None):
        self.keys = {serial: x509.load_pem_x509_certificate(Path(file).read_bytes()).public_key()
                     for serial, file in (certificates or {}).items()}
        self.secrets = dict(secrets_by_serial or {})

    def verify(self, headers: Mapping[str, str], body: bytes) -> str | None:
        """The serial of the key that signed; None when there is no signature; raises BadSignature."""
        for prefix in ("Pay-", "Wechatpay-"):
            signature = headers.get(prefix + "Signature")
            if signature is not None:
                timestamp, nonce, serial = (headers.get(prefix + n, "") for n in ("Timestamp", "Nonce", "Serial"))
                self._check_age(timestamp)
                message = timestamp.encode() + b"\n" + nonce.encode() + b"\n" + body + b"\n"
                self._check(serial, message, base64.b64decode(signature))
                return serial
        return None

    @staticmethod
    def _check_age(timestamp: str) -> None:
        if not timestamp.isdigit() or abs(time.time() - int(timestamp)) > 300:
            raise BadSignature(f"timestamp {timestamp!r} is more than 300 s away")

    def _check(self, serial: str, message: bytes, signature: bytes) -> None:
        if serial in self.secrets:
            if not hmac.compare_digest(HmacSigner(serial, self.secrets[serial]).sign(message), signature):
                raise BadSignature(f"HMAC of {serial} does not verify")
        elif serial in self.keys:
            try:
                self.keys[serial].verify(signature, message, padding.PKCS1v15(), hashes.SHA256())
            except InvalidSignature:
                raise BadSignature(f"RSA signature of {serial} does not verify") from None
        else:
            raise BadSignature(f"signed by unknown serial {serial!r}")


class BadSignature(Exception):
    pass


@dataclass
class Answer:
    status: int
    headers: http.client.HTTPMessage
    body: bytes
    verified: str | None        # serial of the platform key (or of our secret); None: not signed
    request_headers: dict[str, str]

    @property
    def json(self) -> dict:
        return json.loads(self.body) if self.body else {}

    @property
    def code(self) -> str | None:
        """What a program acts on when the request was refused."""
        return self.json.get("code") if self.status >= 400 else None

    @property
    def replayed(self) -> bool:
        return self.headers.get("Idempotency-Replayed") == "true"


class Client:
    def __init__(self, url: str, mchid: str, signer: RsaSigner | HmacSigner, *,
                 platform: Mapping[str, str | Path] | None = None, ca_file: str | Path | None = None,
                 timeout: float = 50):
        self.host = urlsplit(url).netloc
        self.mchid, self.signer, self.timeout = mchid, signer, timeout
        own = {signer.serial: signer.secret} if isinstance(signer, HmacSigner) else {}
        self.verifier = Verifier(platform, own)
        self.tls = ssl.create_default_context(cafile=str(ca_file) if ca_file else None)

    @classmethod
    def from_env(cls, env: Mapping[str, str] = os.environ, scheme: str = "rsa") -> "Client":
        """From run/demo.env; scheme is rsa, wechat (RSA under WeChat Pay's name) or hmac."""
        if scheme == "hmac":
            signer = HmacSigner(env["PAY_HMAC_SERIAL"], Path(env["PAY_HMAC_KEY"]).read_bytes())
        else:
            schema = "WECHATPAY2-SHA256-RSA2048" if scheme == "wechat" else "PAY-SHA256-RSA2048"
            signer = RsaSigner(env["PAY_SERIAL"], env["PAY_KEY"], schema)
        return cls(env["PAY_URL"], env["PAY_MCHID"], signer, ca_file=env["PAY_CA"],
                   platform={env["PAY_PLATFORM_SERIAL"]: env["PAY_PLATFORM_CERT"]})

    # ---- one signed request ----

    def authorization(self, method: str, target: str, body: bytes) -> str:
        timestamp, nonce = str(int(time.time())), secrets.token_hex(16)
        message = "\n".join((method, target, timestamp, nonce, "")).encode() + body + b"\n"
        fields = {"mchid": self.mchid, "nonce_str": nonce, "timestamp": timestamp,
                  "serial_no": self.signer.serial,
                  "signature": base64.b64encode(self.signer.sign(message)).decode()}
        return f"{self.signer.schema} " + ",".join(f'{k}="{v}"' for k, v in fields.items())

    def request(self, method: str, target: str, body: dict | bytes | None = None,
                headers: Mapping[str, str] | None = None) -> Answer:
        """Sends it once. OSError and http.client.HTTPException mean: result unknown (rule 1)."""
        if isinstance(body, dict):
            body = json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()
        sent = {"Accept": "application/json",
                "Authorization": self.authorization(method, target, body or b""), **(headers or {})}
        if body is not None:
            sent["Content-Type"] = "application/json"
        connection = http.client.HTTPSConnection(self.host, timeout=self.timeout, context=self.tls)
        try:
            connection.request(method, target, body, sent)
            response = connection.getresponse()
            content = response.read()
        finally:
            connection.close()
        verified = self.verifier.verify(response.headers, content)
        if verified is None and response.status < 400:
            raise BadSignature(f"{response.status} without a signature")
        return Answer(response.status, response.headers, content, verified, sent)

    # ---- the API ----

    def create_payment(self, out_trade_no: str, total: int, description: str = "Test",
                       method: str = "native", **more: object) -> Answer:
        """`more`: notify_url, time_expire, attach, channel, scene, product, store_id."""
        return self.request("POST", "/v1/payments", {
            "method": method, "out_trade_no": out_trade_no,
            "amount": {"total": total, "currency": "CNY"}, "description": description, **more})

    def create_until_known(self, seconds: float = 60, **payment: object) -> Answer:
        """Rule 1 in code: the same request again until an answer says what happened."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                answer = self.create_payment(**payment)
                if answer.status < 500 and answer.code not in ("RATE_LIMITED", "NONCE_REPLAYED"):
                    return answer
                problem = f"{answer.status} {answer.body!r}"
            except (OSError, http.client.HTTPException) as e:
                problem = repr(e)
            if time.monotonic() > deadline:
                raise TimeoutError(f"no definite answer in {seconds} s; the last: {problem}")
            time.sleep(0.2)

    def get(self, payment_id: str) -> Answer:
        return self.request("GET", f"/v1/payments/{payment_id}")

    def find(self, out_trade_no: str) -> Answer:
        return self.request("GET", f"/v1/payments?out_trade_no={quote(out_trade_no, safe='')}")

    def close(self, payment_id: str) -> Answer:
        return self.request("POST", f"/v1/payments/{payment_id}/close", {})

    def refund(self, out_trade_no: str, out_refund_no: str, refund: int, **more: object) -> Answer:
        """`more`: reason, notify_url; amount may be given whole."""
        return self.request("POST", "/v1/refunds", {
            "out_trade_no": out_trade_no, "out_refund_no": out_refund_no,
            "amount": {"refund": refund, "currency": "CNY"}, **more})

    def get_refund(self, refund_id: str) -> Answer:
        return self.request("GET", f"/v1/refunds/{refund_id}")

    def find_refund(self, out_trade_no: str, out_refund_no: str) -> Answer:
        return self.request("GET", f"/v1/refunds?out_trade_no={quote(out_trade_no, safe='')}"
                                   f"&out_refund_no={quote(out_refund_no, safe='')}")


def read_env(path: str | Path) -> dict[str, str]:
    """run/demo.env: KEY=value lines; values may be quoted as for the shell."""
    lines = re.findall(r"^(?:export )?(\w+)=(.*)$", Path(path).read_text(), re.M)
    return {key: value.strip("'\"") for key, value in lines}
