"""A merchant of each scheme for the edge's tests: keys that payd knows, and calls through demo/signing.py."""
from __future__ import annotations

import base64
import os
import secrets
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../../demo"))

from cryptography.hazmat.primitives import serialization  # noqa: E402
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa  # noqa: E402

import signing  # noqa: E402
from edge import Answer, Edge, encode, payment, send  # noqa: E402

PEM, PKCS8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
SPKI = serialization.PublicFormat.SubjectPublicKeyInfo

SCHEMES = {"header": ("rsa-sha256", "hmac-sha256", "ed25519"),
           "sorted": ("rsa-sha256", "hmac-sha256", "md5"),
           "rfc9421": ("rsa-sha256", "hmac-sha256", "ed25519", "ecdsa-p256-sha256", "rsa-pss-sha512")}


def private_key(alg: str) -> Any:
    if alg == "ed25519":
        return ed25519.Ed25519PrivateKey.generate()
    if alg == "ecdsa-p256-sha256":
        return ec.generate_private_key(ec.SECP256R1())
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


class Pair:
    """A private key with both its PEM forms. RSA keys take long to make: all merchants share one of each kind."""
    made: dict[str, "Pair"] = {}

    @classmethod
    def shared(cls, alg: str) -> "Pair":
        return cls.made.setdefault(alg, cls.made.get(alg) or cls(alg))

    def __init__(self, alg: str):
        key = private_key(alg)
        self.private = key.private_bytes(PEM, PKCS8, serialization.NoEncryption())
        self.public = key.public_key().public_bytes(PEM, SPKI)


class Merchant:
    """One key of one scheme. `record` is what payd says of it; `platform` verifies the answers."""

    def __init__(self, scheme: str, alg: str, serial: str | None = None, form: bool = False, **more: Any):
        self.serial = serial or f"{scheme}-{alg}".replace(".", "-")
        self.name = f"{scheme} {alg}{' form' if form else ''}"
        if alg in signing.SHARED:
            shown = own = secrets.token_urlsafe(32).encode()
        else:
            pair = Pair.shared(alg)
            shown, own = pair.public, pair.private
        self.record = {"serial": self.serial, "scheme": scheme, "alg": alg, "key": base64.b64encode(shown).decode(),
                       "mchid": "1900000001", "app": "app1", "state": "on", "base_slot": 7, "span": 1,
                       "valid_from": 0, "valid_to": 4102444800, "rate": 0, "burst": 0}
        if alg == "md5":
            self.record["md5"] = True
        self.record.update(more)
        key = signing.Key(self.serial, alg, own)
        self.scheme: Any = {
            "header": lambda: signing.HeaderScheme(key, mchid=self.record["mchid"]),
            "sorted": lambda: signing.SortedScheme(key, form=form),
            "rfc9421": lambda: signing.Rfc9421Scheme(key)}[scheme]()

    def sign(self, method: str = "POST", target: str = "/v1/payments", body: Any = None) -> signing.Request:
        if body is None and method == "POST":
            body = payment(notify_url="https://shop.example/paid")
        return self.scheme.sign(method, target, encode(body) if body is not None else None)

    def call(self, e: Edge, method: str = "POST", target: str = "/v1/payments", body: Any = None,
             do: str = "200") -> tuple[Answer, str | None]:
        """The answer, and the serial it is signed with."""
        request = self.sign(method, target, body)
        request.headers["X-Do"] = do
        a = send(e.socket, wire(request))
        return a, self.scheme.verify(request, a.status, dict(a.headers), a.body)


def wire(request: signing.Request, **change: Any) -> bytes:
    """The request as bytes. `change` replaces method, target or body, after signing; extra: more header lines."""
    body = change.get("body", request.body)
    lines = [f"{change.get('method', request.method)} {change.get('target', request.target)} HTTP/1.1",
             "Host: pay.example", "Connection: close"]
    lines += [f"{k}: {v}" for k, v in change.get("headers", request.headers).items()]
    lines += change.get("extra", [])
    if body is not None:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + (body or b"")


class Platform:
    """The gateway's keys, one of each kind, with the directives that name them."""

    def __init__(self, e: Edge, merchants: list[Merchant], rsa_serial: str, rsa_public: bytes):
        self.public = {rsa_serial: rsa_public}
        self.directives = ""
        for alg in ("ed25519", "ecdsa-p256-sha256"):
            pair, serial = Pair(alg), "PLATFORM-" + alg
            file = Path(e.folder) / f"{serial}.pem"
            file.write_bytes(pair.private)
            self.public[serial] = pair.public
            self.directives += f"pay_platform_key {serial} {file};\n"
        for m in merchants:
            m.scheme.platform = self.public
