"""A client of the merchant API: signs requests, verifies answers (signing.py). Read it as an example.

    key = Key("1A2B", "rsa-sha256", "merchant.key")
    pay = Client("https://pay.example", HeaderScheme(key, {"3C4D": "platform.crt"}, mchid="M100"))
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
import http.client
import json
import os
import re
import ssl
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Mapping
from urllib.parse import quote, urlsplit

from signing import BadSignature, HeaderScheme, Key, Rfc9421Scheme, Scheme, SortedScheme, check_age, public_key, verify_bytes

# name: scheme, algorithm, serial number and key file of the private stack's merchant (demo/accounts.py)
SCHEMES = {
    "rsa": ("header", "rsa-sha256", "SHOPRSA1", "merchant.key"),
    "wechat": ("header", "rsa-sha256", "SHOPRSA1", "merchant.key"),
    "hmac": ("header", "hmac-sha256", "SHOPHMAC1", "hmac.key"),
    "ed25519": ("header", "ed25519", "SHOPED25519", "merchant_ed25519.key"),
    "sorted-rsa": ("sorted", "rsa-sha256", "SORTEDRSA1", "merchant.key"),
    "sorted-hmac": ("sorted", "hmac-sha256", "SORTEDHMAC1", "sorted.key"),
    "sorted-form": ("sorted", "hmac-sha256", "SORTEDHMAC1", "sorted.key"),
    "sorted-md5": ("sorted", "md5", "SORTEDMD5", "md5.key"),
    "rfc9421-rsa": ("rfc9421", "rsa-sha256", "RFCRSA1", "merchant.key"),
    "rfc9421-rsa-pss": ("rfc9421", "rsa-pss-sha512", "RFCRSAPSS1", "merchant.key"),
    "rfc9421-ed25519": ("rfc9421", "ed25519", "RFCED25519", "merchant_ed25519.key"),
    "rfc9421-ecdsa": ("rfc9421", "ecdsa-p256-sha256", "RFCECDSA1", "merchant_ecdsa.key"),
    "rfc9421-hmac": ("rfc9421", "hmac-sha256", "RFCHMAC1", "rfc9421.key"),
}


class Verifier:
    """Checks signatures on callbacks: the header scheme's, by certificate (RSA) or by shared secret (HMAC), and those
    of Standard Webhooks, by shared secret."""

    def __init__(self, certificates: Mapping[str, str | Path] | None = None,
                 secrets_by_serial: Mapping[str, bytes] | None = None):
        self.keys = {serial: public_key(file) for serial, file in (certificates or {}).items()}
        self.secrets = dict(secrets_by_serial or {})

    def verify(self, headers: Mapping[str, str], body: bytes) -> str | None:
        """The serial of the key that signed; None when there is no signature; raises BadSignature."""
        for prefix in ("Pay-", "Wechatpay-"):
            signature = headers.get(prefix + "Signature")
            if signature is not None:
                timestamp, nonce, serial = (headers.get(prefix + n, "") for n in ("Timestamp", "Nonce", "Serial"))
                check_age(timestamp)
                message = timestamp.encode() + b"\n" + nonce.encode() + b"\n" + body + b"\n"
                known = self.secrets.get(serial) or self.keys.get(serial)
                alg = "hmac-sha256" if serial in self.secrets else "rsa-sha256"
                if known is None:
                    raise BadSignature(f"signed by unknown serial {serial!r}")
                if not verify_bytes(alg, known, message, base64.b64decode(signature)):
                    raise BadSignature(f"the signature of {serial} does not verify")
                return serial
        return self.verify_webhook(headers, body) if "webhook-signature" in headers else None

    def verify_webhook(self, headers: Mapping[str, str], body: bytes) -> str:
        """Standard Webhooks name no key: whichever of our secrets fits."""
        check_age(headers.get("webhook-timestamp", ""))
        message = f"{headers.get('webhook-id')}.{headers.get('webhook-timestamp')}.".encode() + body
        for signature in headers["webhook-signature"].split():
            version, _, value = signature.partition(",")
            for serial, secret in self.secrets.items():
                if version == "v1" and verify_bytes("hmac-sha256", secret, message, base64.b64decode(value)):
                    return serial
        raise BadSignature("no secret fits the webhook's signature")


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
    def __init__(self, url: str, scheme: Scheme, *, ca_file: str | Path | None = None, timeout: float = 50):
        self.host = urlsplit(url).netloc
        self.scheme, self.timeout = scheme, timeout
        self.tls = ssl.create_default_context(cafile=str(ca_file) if ca_file else None)

    @classmethod
    def from_env(cls, env: Mapping[str, str] = os.environ, scheme: str = "rsa") -> "Client":
        """From run/demo.env; scheme is one of SCHEMES."""
        kind, alg, serial, file = SCHEMES[scheme]
        key = Key(serial, alg, Path(env["PAY_KEYS"]) / file)
        platform = dict(pair.split("=", 1) for pair in env["PAY_PLATFORM_KEYS"].split(","))
        schema = "WECHATPAY2-SHA256-RSA2048" if scheme == "wechat" else ""
        signer = {"header": lambda: HeaderScheme(key, platform, env["PAY_MCHID"], schema),
                  "sorted": lambda: SortedScheme(key, platform, form=scheme == "sorted-form"),
                  "rfc9421": lambda: Rfc9421Scheme(key, platform)}[kind]()
        return cls(env["PAY_URL"], signer, ca_file=env["PAY_CA"])

    @property
    def mchid(self) -> str:
        """Empty in schemes that do not name it."""
        return getattr(self.scheme, "mchid", "")

    # ---- one signed request ----

    def authorization(self, method: str, target: str, body: bytes) -> str:
        """For who sends by other means; header scheme only."""
        return self.scheme.sign(method, target, body).headers["Authorization"]

    def request(self, method: str, target: str, body: dict | bytes | None = None,
                headers: Mapping[str, str] | None = None) -> Answer:
        """Sends it once. OSError and http.client.HTTPException mean: result unknown (rule 1)."""
        if isinstance(body, dict):
            body = json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()
        signed = self.scheme.sign(method, target, body)
        signed.headers = {"Accept": "application/json", **signed.headers, **(headers or {})}
        connection = http.client.HTTPSConnection(self.host, timeout=self.timeout, context=self.tls)
        try:
            connection.request(method, signed.target, signed.body, signed.headers)
            response = connection.getresponse()
            content = response.read()
        finally:
            connection.close()
        verified = self.scheme.verify(signed, response.status, response.headers, content)
        if verified is None and response.status < 400:
            raise BadSignature(f"{response.status} without a signature")
        return Answer(response.status, response.headers, content, verified, signed.headers)

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
