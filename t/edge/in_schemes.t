#!/usr/bin/python3
"""R1.1: each scheme in each of its algorithms, both ways; a key of one never serves another; what was
changed after signing, or can be read in two ways, is refused."""
import base64
import hashlib
import json
import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
from edge import PLATFORM, Edge, edge, nonce, payment, send  # noqa: E402
from schemes import PEM, SCHEMES, SPKI, Merchant, Platform, signing, wire  # noqa: E402
from tap import done, is_, like, ok  # noqa: E402

ALL = [Merchant(s, a) for s, algs in SCHEMES.items() for a in algs] + \
      [Merchant("sorted", a, f"form-{a}", form=True) for a in SCHEMES["sorted"]]
BY = {m.name: m for m in ALL}
HMAC, MD5, FORM = BY["sorted hmac-sha256"], BY["sorted md5"], BY["sorted hmac-sha256 form"]
RFC, RFC_HMAC = BY["rfc9421 ed25519"], BY["rfc9421 hmac-sha256"]
ID = "P20260801" + f"{(50000000 << 32) | (77 << 22):019d}"


def code(a):
    return a.status, a.code


with edge(*ALL) as e:
    platform = Platform(e, ALL, PLATFORM.serial, PLATFORM.private.public_key().public_bytes(PEM, SPKI))
    e.reload(http=platform.directives)

    # ---- every scheme and algorithm: asked, passed on, answered, verified
    for m in ALL:
        for do, status in (("200", 200), ("204", 204), ("409", 409), ("big 20000", 200), ("chunked 2", 200)):
            a, serial = m.call(e, do=do)
            own = m.record["alg"] in signing.SHARED
            ok(a.status == status and serial == (m.serial if own else serial)
               and (own or serial in platform.public), f"{m.name}: {do} is answered and signed", a, serial)
        a, serial = m.call(e, body=b'{"method": "none"}')
        ok(a.status == 400 and a.code == "FIELD_INVALID" and serial, f"{m.name}: a refusal is signed", a)
        a, serial = m.call(e, "GET", "/v1/payments?out_trade_no=ORDER-1%7C%2A")
        got = e.payd.requests[-1]
        ok(a.status == 200 and serial, f"{m.name}: GET", a)
        is_((got["target"], got["pay-serial"], got["pay-mchid"]),
            ("/v1/payments?out_trade_no=ORDER-1%7C%2A", m.serial, "1900000001"), f"{m.name}: the worker sees the API's request")
        body = payment(description="茶 & Co = 1+1 %", attach="x&y", scene="app")
        a, serial = m.call(e, body=body)
        got = e.payd.requests[-1]
        is_(json.loads(got["body"]), body, f"{m.name}: the worker sees the API's document")
        is_(dict((k.lower(), v) for k, v in got["headers"])["content-type"], "application/json", f"{m.name}: as JSON")
        day = time.strftime("%Y%m%d", time.gmtime(1735689600 + 50000000 + 8 * 3600))
        a, serial = m.call(e, "POST", f"/v1/payments/P{day}{ID[9:]}/close", b"{}")
        ok(a.status == 200 and serial and json.loads(e.payd.requests[-1]["body"]) == {}, f"{m.name}: close", a)
    seen = len(e.payd.requests)

    def refused(m, request, name, want=(401, "SIGN_ERROR"), **change):
        a = send(e.socket, wire(request, **change))
        ok(code(a) == want and a.unsigned and a.header("Signature") is None, f"{m.name}: {name}: {want[1]}", a)
        return a

    # ---- changed after signing
    for m in ALL:
        other = json.dumps(payment()).encode()
        r = m.sign()
        if m.record["scheme"] == "sorted":
            flat = r.body.replace(b"tea", b"pea")
            refused(m, r, "other body", body=flat)
            refused(m, r, "other path", (401, "AUTHORIZATION_INVALID"), target=f"/v1/payments/{ID}/close")
        else:
            refused(m, r, "other body", body=other)
            refused(m, r, "one byte more", body=r.body + b" ")
            refused(m, m.sign(), "other path", target=f"/v1/payments/{ID}/close")
        r = m.sign("GET", "/v1/payments?out_trade_no=ORDER-1")
        refused(m, r, "other query", target=r.target.replace("ORDER-1", "ORDER-2"))

    # ---- a key of one scheme or algorithm under another (downgrade, confusion)
    for m in ALL:
        for other in ALL:
            if m.record["scheme"] == other.record["scheme"] and m.record["alg"] == other.record["alg"]:
                continue
            forged = Merchant(m.record["scheme"], m.record["alg"], other.serial)
            if m.record["alg"] in signing.SHARED:   # the public key is the secret, or the real secret is
                forged.scheme.key.secret = base64.b64decode(other.record["key"])
            a = send(e.socket, wire(forged.sign("GET", "/v1/payments?out_trade_no=ORDER-1")))
            if code(a) != (401, "SIGN_ERROR"):
                ok(False, f"{m.name} with the serial of {other.name} is refused", a)
    ok(True, "no key serves another scheme or algorithm")
    r = RFC.sign()
    r.headers["Signature-Input"] = r.headers["Signature-Input"].replace('alg="ed25519"', 'alg="hmac-sha256"')
    like(refused(RFC, r, "another alg").json["detail"], "algorithm", "says why")
    forged = Merchant("sorted", "hmac-sha256", MD5.serial)
    forged.scheme.key.secret = base64.b64decode(MD5.record["key"])
    like(refused(MD5, forged.sign(), "another sign_type").json["detail"], "algorithm", "says why")

    # ---- MD5 needs its switch in the record
    weak = Merchant("sorted", "md5", "MD5WITHOUT1", md5=False)
    e.payd.keys[weak.serial] = weak.record
    a = send(e.socket, wire(weak.sign()))
    is_(code(a), (503, "RETRY_SAME_NUMBER"), "a record of MD5 without its switch is no record")
    for scheme, alg in (("header", "md5"), ("rfc9421", "md5"), ("header", "ecdsa-p256-sha256"), ("sorted", "ed25519"),
                        ("none", "hmac-sha256")):
        k = Merchant("header", "hmac-sha256", f"BAD-{scheme}-{alg}")
        k.record.update(scheme=scheme, alg=alg)
        e.payd.keys[k.serial] = k.record
        is_(send(e.socket, wire(k.sign())).code, "RETRY_SAME_NUMBER", f"nor is one of {scheme} with {alg}")

    # ---- one scheme at a time, each header once
    r, h = RFC.sign(), BY["header ed25519"].sign()
    bad = (401, "AUTHORIZATION_INVALID")
    refused(RFC, r, "two schemes", bad, extra=[f"Authorization: {h.headers['Authorization']}"])
    refused(BY["header ed25519"], h, "two Authorization", (400, "REQUEST_INVALID"), extra=[f"Authorization: {h.headers['Authorization']}"])
    for name in ("Signature", "Signature-Input", "Content-Digest"):
        refused(RFC, r, f"two {name}", bad, extra=[f"{name}: {r.headers[name]}"])
        left = {k: v for k, v in r.headers.items() if k != name}
        refused(RFC, r, f"no {name}", bad if name != "Content-Digest" else (401, "SIGN_ERROR"), headers=left)
    both = {**r.headers, "Signature-Input": r.headers["Signature-Input"] + ", b=();created=1",
            "Signature": r.headers["Signature"] + ", b=:AAAA:"}
    refused(RFC, r, "two labels", bad, headers=both)
    a = e.raw(b"POST /v1/payments HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\n{}")
    is_(code(a), bad, "nothing that could be a signature")

    # ---- RFC 9421: what must be covered, and when
    class Custom(signing.Rfc9421Scheme):
        drop: str = ""
        params: dict = {}

        def components(self, target, body):
            return [n for n in super().components(target, body) if n != self.drop]

    custom = Custom(RFC.scheme.key, RFC.scheme.platform)
    for drop, target in (("@method", "/v1/payments"), ("@path", "/v1/payments"), ("content-digest", "/v1/payments")):
        custom.drop = drop
        a = refused(RFC, custom.sign("POST", target, json.dumps(payment()).encode()), f"without {drop}", bad)
        like(a.json["detail"], drop, f"names {drop}")
    custom.drop = "@query"
    refused(RFC, custom.sign("GET", "/v1/payments?out_trade_no=ORDER-1"), "without @query", bad)
    real = signing.now
    for skew, want in ((-301, "TIMESTAMP_STALE"), (302, "TIMESTAMP_STALE")):
        signing.now = lambda: str(int(time.time()) + skew)
        refused(RFC, RFC.sign(), f"{skew} s off", (401, want))
        refused(HMAC, HMAC.sign(), f"{skew} s off", (401, want))
    signing.now = lambda: f"{int(time.time())};expires={int(time.time()) - 1}"
    refused(RFC, RFC.sign(), "expired", (401, "TIMESTAMP_STALE"))
    signing.now = lambda: f"{int(time.time())};expires={int(time.time()) + 60}"
    is_(send(e.socket, wire(RFC.sign())).status, 200, "expires later")
    signing.now = real
    target_uri = Custom(RFC.scheme.key)
    target_uri.components = lambda target, body: ["@method", "@target-uri", "content-digest"]
    target_uri.value = lambda name, request: {"@target-uri": "http://pay.example" + request.target}.get(
        name) or signing.Rfc9421Scheme.value(target_uri, name, request)
    is_(send(e.socket, wire(target_uri.sign("POST", "/v1/payments", json.dumps(payment()).encode()))).status, 200, "@target-uri")
    target_uri.value = lambda name, request: {"@target-uri": "https://pay.example" + request.target}.get(
        name) or signing.Rfc9421Scheme.value(target_uri, name, request)
    refused(RFC, target_uri.sign("POST", "/v1/payments", json.dumps(payment()).encode()), "another scheme's @target-uri")
    sha512 = RFC.sign()
    digest = "sha-512=:" + base64.b64encode(hashlib.sha512(sha512.body).digest()).decode() + ":"
    refused(RFC, sha512, "another digest of the same body", headers={**sha512.headers, "Content-Digest": digest})
    seen += 2

    # ---- sorted parameters: what could be read in two ways
    def sorted_raw(body, ctype="application/json", **change):
        return wire(signing.Request("POST", "/v1/payments", {"Content-Type": ctype}, body), **change)

    def resigned(m, change):
        """The parameters with a change, signed as they then are."""
        r = m.sign()
        body = json.loads(r.body)
        change(body)
        body["sign"] = m.scheme.signature(signing.flatten({k: v for k, v in body.items() if k != "sign"}))
        return json.dumps(body).encode()

    is_(send(e.socket, sorted_raw(resigned(HMAC, lambda b: None))).status, 200, "the harness signs rightly")
    seen += 1
    cases = {
        "key as a parameter": lambda b: b.update(key="x"),
        "a name with =": lambda b: b.update({"a=1&b": "2"}),
        "a dotted name": lambda b: b.update({"amount.total": 100}),
        "a value that holds another parameter": lambda b: b.update(attach="1&description=x"),
        "no nonce": lambda b: b.pop("nonce_str"), "no timestamp": lambda b: b.pop("timestamp"),
        "no service": lambda b: b.pop("service"), "no serial": lambda b: b.pop("serial_no"),
        "another service": lambda b: b.update(service="GET /v1/payments"),
    }
    for name, change in cases.items():
        a = send(e.socket, sorted_raw(resigned(HMAC, change)))
        ok(code(a) == bad and a.unsigned, f"sorted: {name}", a)
    a = send(e.socket, sorted_raw(resigned(HMAC, lambda b: b.update(sign_type="MD5"))))
    is_(code(a), (401, "SIGN_ERROR"), "sorted: another sign_type")
    a = send(e.socket, sorted_raw(HMAC.sign().body.replace(b'"tea"', b'["tea"]')))
    is_(code(a), bad, "sorted: an array")
    r = HMAC.sign().body
    for name, body in (("a duplicate member", r[:-1] + b', "method": "native"}'), ("NUL", r.replace(b"tea", b"\\u0000")),
                       ("a lone surrogate", r.replace(b"tea", b"\\ud800")), ("overlong UTF-8", r.replace(b"tea", b"\xc0\xaf")),
                       ("no JSON", b"{")):
        a = send(e.socket, sorted_raw(body))
        ok(code(a) == (400, "JSON_INVALID") and a.unsigned, f"sorted: {name}", a)
    form, ctype = FORM.sign().body, "application/x-www-form-urlencoded"
    for name, body in (("a duplicate parameter", form + b"&method=native"), ("an escaped duplicate", form + b"&%6dethod=x"),
                       ("key", form + b"&key=1"), ("NUL", form + b"&attach=%00"), ("overlong UTF-8", form + b"&attach=%c0%af"),
                       ("a lone surrogate", form + b"&attach=%ed%a0%80"), ("half an escape", form + b"&attach=%4"),
                       ("an escaped &", form + b"&attach=1%26scene=app")):
        a = send(e.socket, sorted_raw(body, ctype))
        ok(code(a) == bad and a.unsigned, f"form: {name}", a)

    # empty members are not signed: they are not there either
    body = json.loads(HMAC.sign().body)
    body.update(attach="", scene=None)
    body["sign"] = HMAC.scheme.signature(signing.flatten({k: v for k, v in body.items() if k != "sign"}))
    is_(send(e.socket, sorted_raw(json.dumps(body).encode())).status, 200, "sorted: empty members")
    got = json.loads(e.payd.requests[-1]["body"])
    ok(not {"attach", "scene", "sign", "nonce_str", "service", "timestamp", "serial_no", "sign_type"} & set(got),
       "sorted: what was not signed is not passed on", got)
    a = send(e.socket, sorted_raw(form + b"&attach=&scene=", ctype))
    is_((a.status, "attach" in e.payd.requests[-1]["body"].decode()), (200, False), "form: empty parameters")
    seen += 2
    same = HMAC.sign()
    first, second = (send(e.socket, wire(same)) for _ in range(2))
    is_((first.status, second.code), (200, "NONCE_REPLAYED"), "sorted: a nonce serves once")
    same = RFC.sign()
    first, second = (send(e.socket, wire(same)) for _ in range(2))
    is_((first.status, second.code), (200, "NONCE_REPLAYED"), "RFC 9421: a nonce serves once")
    seen += 2
    big = payment(attach="x" * 30000)
    is_(send(e.socket, wire(HMAC.sign(body=big))).status, 413, "sorted: too large")
    mine = payment(mchid="1900000002")
    a, serial = HMAC.call(e, body=mine)
    ok(code(a) == (401, "IDENTITY_MISMATCH") and serial, "sorted: another merchant's mchid", a)
    is_(len(e.payd.requests), seen, "nothing that was refused has reached the worker")

# ---- a gateway without a key of that kind says so before it does anything
with edge(RFC, RFC_HMAC, alerts=()) as e:
    RFC_HMAC.scheme.platform = {}
    a, serial = RFC_HMAC.call(e)
    is_((a.status, serial), (200, RFC_HMAC.serial), "HMAC needs no platform key")
    a = send(e.socket, wire(RFC.sign()))
    is_((code(a), len(e.payd.requests)), ((401, "KEY_DISABLED"), 1), "no Ed25519 platform key: refused, not carried out")

done()
