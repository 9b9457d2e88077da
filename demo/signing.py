"""The three signature schemes of the merchant API, as docs/signing.md describes them: each signs a request
and verifies its answer.

    scheme = HeaderScheme("M100", Key("1A2B", "rsa-sha256", private_pem), {"3C4D": platform_certificate_pem})
    request = scheme.sign("POST", "/v1/payments", b'{"method": ...}')
    # send request.method, request.target, request.headers, request.body
    serial = scheme.verify(request, status, headers, body)      # of the key that signed the answer

A key has one scheme and one algorithm, chosen when it was made at the gateway.
"""
from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
import secrets
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Mapping
from urllib.parse import parse_qsl, urlencode

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, utils

SHARED = ("hmac-sha256", "md5")
PSS = padding.PSS(padding.MGF1(hashes.SHA512()), 64)


class BadSignature(Exception):
    pass


@dataclass
class Request:
    method: str
    target: str
    headers: dict[str, str]
    body: bytes | None
    nonce: str = ""


def material(source: bytes | str | Path) -> bytes:
    """The bytes themselves, or a file's."""
    return source if isinstance(source, bytes) else Path(source).read_bytes()


def public_key(source: bytes | str | Path) -> Any:
    pem = material(source)
    if b"BEGIN CERTIFICATE" in pem:
        return x509.load_pem_x509_certificate(pem).public_key()
    return serialization.load_pem_public_key(pem)


def verify_bytes(alg: str, key: Any, message: bytes, signature: bytes) -> bool:
    """key: a public key, or for the shared algorithms the secret."""
    if alg in SHARED:
        return hmac.compare_digest(Key("", alg, key).sign(message), signature)
    try:
        if alg == "ed25519":
            key.verify(signature, message)
        elif alg == "ecdsa-p256-sha256":
            r, s = (int.from_bytes(signature[i:i + 32], "big") for i in (0, 32))
            key.verify(utils.encode_dss_signature(r, s), message, ec.ECDSA(hashes.SHA256()))
        elif alg == "rsa-pss-sha512":
            key.verify(signature, message, PSS, hashes.SHA512())
        else:
            key.verify(signature, message, padding.PKCS1v15(), hashes.SHA256())
    except InvalidSignature:
        return False
    return True


class Key:
    """What a merchant signs with: a private key (PEM, file or bytes), or a secret both sides hold."""

    def __init__(self, serial: str, alg: str, source: bytes | str | Path):
        self.serial, self.alg = serial, alg
        self.secret = material(source) if alg in SHARED else b""
        self.private = None if alg in SHARED else serialization.load_pem_private_key(material(source), None)

    def sign(self, message: bytes) -> bytes:
        if self.alg == "hmac-sha256":
            return hmac.new(self.secret, message, hashlib.sha256).digest()
        if self.alg == "md5":
            return hashlib.md5(message).digest()
        if self.alg == "ed25519":
            return self.private.sign(message)
        if self.alg == "ecdsa-p256-sha256":
            r, s = utils.decode_dss_signature(self.private.sign(message, ec.ECDSA(hashes.SHA256())))
            return r.to_bytes(32, "big") + s.to_bytes(32, "big")
        if self.alg == "rsa-pss-sha512":
            return self.private.sign(message, PSS, hashes.SHA512())
        return self.private.sign(message, padding.PKCS1v15(), hashes.SHA256())


@dataclass
class Scheme:
    """What the schemes share: the merchant's key, and the gateway's by serial number."""
    key: Key
    platform: Mapping[str, bytes | str | Path] = field(default_factory=dict)

    def check(self, serial: str, message: bytes, signature: bytes) -> str:
        if self.key.alg in SHARED and serial == self.key.serial:
            known = self.key.secret
        elif self.key.alg not in SHARED and serial in self.platform:
            known = public_key(self.platform[serial])
        else:
            raise BadSignature(f"signed by unknown serial {serial!r}")
        if not verify_bytes(self.key.alg, known, message, signature):
            raise BadSignature(f"the signature of {serial} does not verify")
        return serial


def now() -> str:
    return str(int(time.time()))


def nonce() -> str:
    return secrets.token_hex(16)


def check_age(timestamp: str) -> None:
    if not timestamp.isdigit() or abs(time.time() - int(timestamp)) > 300:
        raise BadSignature(f"timestamp {timestamp!r} is more than 300 s away")


def header_of(headers: Mapping[str, str], name: str) -> str | None:
    return next((v for k, v in headers.items() if k.lower() == name.lower()), None)


# ---- header scheme ----

SCHEMAS = {"rsa-sha256": "PAY-SHA256-RSA2048", "hmac-sha256": "PAY-HMAC-SHA256", "ed25519": "PAY-ED25519"}


@dataclass
class HeaderScheme(Scheme):
    """Authorization, over method, target, timestamp, nonce and body; WeChat Pay v3's form."""
    mchid: str = ""
    schema: str = ""

    def sign(self, method: str, target: str, body: bytes | None = None) -> Request:
        timestamp, own = now(), nonce()
        message = "\n".join((method, target, timestamp, own, "")).encode() + (body or b"") + b"\n"
        fields = {"mchid": self.mchid, "nonce_str": own, "timestamp": timestamp, "serial_no": self.key.serial,
                  "signature": base64.b64encode(self.key.sign(message)).decode()}
        headers = {"Authorization": f"{self.schema or SCHEMAS[self.key.alg]} "
                                    + ",".join(f'{k}="{v}"' for k, v in fields.items())}
        if body is not None:
            headers["Content-Type"] = "application/json"
        return Request(method, target, headers, body, own)

    def verify(self, request: Request, status: int, headers: Mapping[str, str], body: bytes) -> str | None:
        """The serial of the key that signed; None when there is no signature; raises BadSignature."""
        for prefix in ("Pay-", "Wechatpay-"):
            signature = header_of(headers, prefix + "Signature")
            if signature is not None:
                timestamp, own, serial = (header_of(headers, prefix + n) or "" for n in
                                          ("Timestamp", "Nonce", "Serial"))
                check_age(timestamp)
                message = timestamp.encode() + b"\n" + own.encode() + b"\n" + body + b"\n"
                return self.check(serial, message, base64.b64decode(signature))
        return None


# ---- sorted parameters ----

SIGN_TYPES = {"md5": "MD5", "hmac-sha256": "HMAC-SHA256", "rsa-sha256": "RSA-SHA256"}


def flatten(value: Any, name: str = "") -> dict[str, str]:
    """{"amount": {"total": 1}} -> {"amount.total": "1"}, empty values left out."""
    if isinstance(value, dict):
        flat: dict[str, str] = {}
        for k, v in value.items():
            flat |= flatten(v, f"{name}.{k}" if name else k)
        return flat
    if value is None or value == "":
        return {}
    return {name: json.dumps(value) if isinstance(value, (bool, int)) else str(value)}


def sorted_string(flat: Mapping[str, str]) -> str:
    return "&".join(f"{k}={flat[k]}" for k in sorted(flat) if k != "sign" and flat[k] != "")


@dataclass
class SortedScheme(Scheme):
    """Flat parameters, sorted by name: in a JSON body, in a form, or in the query of a GET."""
    form: bool = False

    def text(self, flat: Mapping[str, str]) -> bytes:
        text = sorted_string(flat).encode()
        return text + b"&key=" + self.key.secret if self.key.alg in SHARED else text

    def signature(self, flat: Mapping[str, str]) -> str:
        raw = self.key.sign(self.text(flat))
        return raw.hex().upper() if self.key.alg in SHARED else base64.b64encode(raw).decode()

    def sign(self, method: str, target: str, body: bytes | None = None) -> Request:
        path, _, query = target.partition("?")
        fields = json.loads(body) if body else dict(parse_qsl(query, keep_blank_values=True))
        own = {"service": f"{method} {path}", "serial_no": self.key.serial, "nonce_str": nonce(),
               "timestamp": now(), "sign_type": SIGN_TYPES[self.key.alg]}
        own["sign"] = self.signature(flatten({**fields, **own}))
        if method == "GET":
            return Request(method, f"{path}?{urlencode({**fields, **own})}", {}, None, own["nonce_str"])
        if self.form:
            return Request(method, target, {"Content-Type": "application/x-www-form-urlencoded"},
                           urlencode(flatten({**fields, **own})).encode(), own["nonce_str"])
        return Request(method, target, {"Content-Type": "application/json"},
                       json.dumps({**fields, **own}, ensure_ascii=False).encode(), own["nonce_str"])

    def verify(self, request: Request, status: int, headers: Mapping[str, str], body: bytes) -> str | None:
        signature = header_of(headers, "Pay-Signature")
        if signature is None:
            return None
        own = {"timestamp": header_of(headers, "Pay-Timestamp") or "", "nonce_str": header_of(headers, "Pay-Nonce") or "",
               "serial_no": header_of(headers, "Pay-Serial") or "", "request_nonce": request.nonce,
               "status": str(status), "body_sha256": hashlib.sha256(body).hexdigest()}
        check_age(own["timestamp"])
        raw = bytes.fromhex(signature) if self.key.alg in SHARED else base64.b64decode(signature)
        return self.check(own["serial_no"], self.text(own), raw)


# ---- RFC 9421 ----

RFC_NAMES = {"rsa-sha256": "rsa-v1_5-sha256"}


def sf_bytes(raw: bytes) -> str:
    return f":{base64.b64encode(raw).decode()}:"


@dataclass
class Rfc9421Scheme(Scheme):
    """HTTP Message Signatures with Content-Digest."""
    label: str = "sig1"

    def components(self, target: str, body: bytes | None) -> list[str]:
        names = ["@method", "@path"]
        names += ["@query"] if "?" in target else []
        return names + (["content-digest"] if body else [])

    def value(self, name: str, request: Request) -> str:
        path, mark, query = request.target.partition("?")
        if name == "@query":
            return "?" + query
        return {"@method": request.method, "@path": path, "content-digest":
                request.headers.get("Content-Digest", "")}[name]

    def sign(self, method: str, target: str, body: bytes | None = None) -> Request:
        request = Request(method, target, {}, body, nonce())
        if body is not None:
            request.headers = {"Content-Type": "application/json",
                               "Content-Digest": "sha-256=" + sf_bytes(hashlib.sha256(body).digest())}
        names = self.components(target, body)
        parameters = f'({" ".join(json.dumps(n) for n in names)});created={now()};keyid="{self.key.serial}";' \
                     f'nonce="{request.nonce}";alg="{RFC_NAMES.get(self.key.alg, self.key.alg)}"'
        lines = [f'"{n}": {self.value(n, request)}' for n in names] + [f'"@signature-params": {parameters}']
        request.headers["Signature-Input"] = f"{self.label}={parameters}"
        request.headers["Signature"] = f'{self.label}={sf_bytes(self.key.sign(chr(10).join(lines).encode()))}'
        return request

    def verify(self, request: Request, status: int, headers: Mapping[str, str], body: bytes) -> str | None:
        given, signature = header_of(headers, "Signature-Input"), header_of(headers, "Signature")
        if given is None or signature is None:
            return None
        covered = '("@status" "content-digest" "@method";req "@path";req ' \
                  f'"signature";req;key="{self.label}")'
        m = re.fullmatch(re.escape("pay=" + covered) + r';created=(\d+);keyid="([^"]+)";nonce="[^"]+";alg="([^"]+)"', given)
        raw = re.fullmatch(r"pay=:([A-Za-z0-9+/=]+):", signature)
        if not m or not raw or m[3] != RFC_NAMES.get(self.key.alg, self.key.alg):
            raise BadSignature(f"unexpected Signature-Input {given!r}")
        check_age(m[1])
        digest = "sha-256=" + sf_bytes(hashlib.sha256(body).digest())
        if header_of(headers, "Content-Digest") != digest:
            raise BadSignature("Content-Digest is not the body's")
        lines = [f'"@status": {status}', f'"content-digest": {digest}', f'"@method";req: {request.method}',
                 f'"@path";req: {request.target.partition("?")[0]}',
                 f'"signature";req;key="{self.label}": {request.headers["Signature"].partition("=")[2]}',
                 f'"@signature-params": {given.partition("=")[2]}']
        return self.check(m[2], "\n".join(lines).encode(), base64.b64decode(raw[1]))
