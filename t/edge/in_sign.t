#!/usr/bin/python3
"""R1.1, R1.6: what is genuine passes in every scheme, everything else is refused with its code, and every
answer to a verified request is signed, whatever its status."""
import base64
import json
import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
from edge import HMAC, PLATFORM, RSA, WECHAT, Key, authorization, edge, encode, nonce, payment, send, signed  # noqa: E402
from tap import done, is_, like, ok  # noqa: E402

H, R = Key("HMAC000001"), Key("RSA0000001", "rsa")
OTHER = Key("OTHER00001", mchid="1900000002", app="app2", base_slot=100, span=8)
OFF, OLD, YOUNG = Key("OFF0000001", state="off"), Key("OLD0000001", valid_to=1700000000), \
    Key("YOUNG00001", valid_from=4000000000)

ID = "P20261122" + "1234567890123456789"


def refused(a, status, code, name, pointer=None, signer=None):
    ok((a.status, a.code) == (status, code) and a.header("Content-Type") == "application/problem+json"
       and a.json.get("status") == status, f"{name}: {status} {code}", a)
    if pointer:
        is_(a.pointer, pointer, f"{name}: names {pointer}")
    if signer:
        ok(a.signed_with(signer), f"{name}: signed")
    else:
        ok(a.unsigned, f"{name}: not signed")


with edge(H, R, OTHER, OFF, OLD, YOUNG) as e:
    # ---- every scheme, every kind of answer
    for key, scheme, signer, prefix in ((H, HMAC, H, "Pay-"), (R, RSA, PLATFORM, "Pay-"),
                                        (R, WECHAT, PLATFORM, "Wechatpay-")):
        for do, status in (("200", 200), ("201", 201), ("204", 204), ("409", 409), ("422", 422), ("500", 500),
                           ("chunked 3", 200), ("chunked 0", 200), ("big 200000", 200)):
            a = e.call(key, scheme=scheme, headers={"X-Do": do})
            ok(a.status == status and a.signed_with(signer, prefix), f"{scheme}: {do} is signed", a)
        a = e.call(key, scheme=scheme)
        is_(a.header(prefix + "Signature-Type"), None if key is H else scheme, f"{scheme}: signature type")
        a = e.call(key, scheme=scheme, body=b"{")
        ok(a.status == 400 and a.signed_with(signer, prefix), f"{scheme}: a problem is signed", a)

    # ---- what the worker is told
    body = payment(out_trade_no="ORDER-1|*")
    e.payd.requests.clear()
    is_(e.call(OTHER, body=body).status, 200, "passed on")
    got = e.payd.requests[-1]
    is_((got["pay-mchid"], got["pay-app"], got["pay-serial"]), ("1900000002", "app2", "OTHER00001"), "identity")
    like(got["pay-trace"], "^[0-9a-f]{32}$", "trace")
    ok(100 <= int(got["pay-slot"]) < 108, "slot within the merchant's span")
    is_((got["method"], got["target"], json.loads(got["body"])), ("POST", "/v1/payments", body), "as it was sent")
    slot = got["pay-slot"]
    for target in ("/v1/payments?out_trade_no=ORDER-1%7C*", "/v1/payments?out_trade_no=ORDER-1|*",
                   "/v1/payments/out-trade-no/ORDER-1%7C%2A", "/v1/payments/out-trade-no/ORDER-1|*?mchid=1900000002"):
        a = e.call(OTHER, "GET", target)
        is_((a.status, e.payd.requests[-1]["pay-slot"], e.payd.requests[-1]["target"]), (200, slot, target),
            f"same slot: {target}")
    number = (50000000 << 32) | (77 << 22)
    day = time.strftime("%Y%m%d", time.gmtime(1735689600 + 50000000 + 8 * 3600))
    a = e.call(H, "GET", f"/v1/payments/P{day}{number:019d}")
    is_((a.status, e.payd.requests[-1]["pay-slot"]), (200, "77"), "the slot stands in the id")
    is_(e.call(H, "POST", f"/v1/payments/P{day}{number:019d}/close").status, 200, "close without a body")
    is_(e.call(H, "POST", f"/v1/payments/P{day}{number:019d}/close", b"{}").status, 200, "close with {}")
    is_(e.call(H, "GET", "/v1/certificates").status, 200, "certificates")
    passed = len(e.payd.requests)

    # ---- parameters in any order, with blanks
    for order in ("signature serial_no timestamp nonce_str mchid", "timestamp mchid signature nonce_str serial_no"):
        is_(e.call(H, order=order).status, 200, f"order: {order}")
    auth = authorization(H, "GET", "/v1/certificates", b"").replace(",", " , ")
    is_(e.call(H, "GET", "/v1/certificates", auth=auth).status, 200, "blanks around commas")
    passed += 3

    # ---- each of the five signed parts, for each algorithm
    for key in (H, R):
        auth = authorization(key, "POST", "/v1/certificates", b"")
        refused(e.call(key, "GET", "/v1/certificates", auth=auth), 401, "SIGN_ERROR", f"{key.alg} other method")
        for part, change in (("target", dict(sent_target="/v1/payments?mchid=1900000001")),
                             ("body", dict(sent_body=payment()))):
            refused(e.call(key, **change), 401, "SIGN_ERROR", f"{key.alg} other {part}")
        for name in ("timestamp", "nonce_str", "signature"):
            auth = authorization(key, "GET", "/v1/certificates", b"")
            other = {"timestamp": str(int(time.time()) - 5), "nonce_str": nonce(),
                     "signature": base64.b64encode(bytes(32 if key is H else 256)).decode()}[name]
            start = auth.index(name + '="') + len(name) + 2
            auth = auth[:start] + other + auth[auth.index('"', start):]
            refused(e.call(key, "GET", "/v1/certificates", auth=auth), 401, "SIGN_ERROR", f"{key.alg} other {name}")
    data = encode(payment())
    refused(e.call(H, body=data, sent_body=data + b" "), 401, "SIGN_ERROR", "one byte more")
    refused(e.call(H, body=data, signature="AAAA"), 401, "SIGN_ERROR", "short signature")
    refused(e.call(H, serial="RSA0000001", scheme=RSA), 401, "SIGN_ERROR", "another key's serial")

    # ---- the head
    refused(e.call(H, scheme=RSA), 401, "SIGN_ERROR", "schema of another algorithm")
    refused(e.call(R, scheme=HMAC), 401, "SIGN_ERROR", "a public key is no secret")
    refused(e.call(H, auth="Bearer x"), 401, "AUTHORIZATION_INVALID", "unknown schema")
    ok(e.call(H, auth="Bearer x").header("WWW-Authenticate"), "401 names the schemas")
    refused(e.call(H, auth=HMAC + ' mchid="1"'), 401, "AUTHORIZATION_INVALID", "parameters missing")
    refused(e.raw(b"GET /v1/certificates HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"), 401,
            "AUTHORIZATION_INVALID", "no header")
    for skew, status in ((-301, 401), (-290, 200), (290, 200), (302, 401)):
        a = e.call(H, timestamp=int(time.time()) + skew)
        is_((a.status, a.code), (status, "TIMESTAMP_STALE" if status == 401 else None), f"{skew} s off: {status}")
    passed += 2
    refused(e.call(H, serial="NOSUCHKEY1"), 401, "KEY_UNKNOWN", "unknown serial")
    for key, why in ((OFF, "state off"), (OLD, "no longer valid"), (YOUNG, "not yet valid")):
        refused(e.call(key), 401, "KEY_DISABLED", why)
    refused(e.call(H, mchid="1900000002"), 401, "IDENTITY_MISMATCH", "mchid of another merchant")
    refused(e.call(H, "GET", "/v1/nothing"), 404, "PATH_UNKNOWN", "unknown path")
    refused(e.call(H, "GET", "/v1/payments/"), 404, "PATH_UNKNOWN", "empty id")
    a = e.call(H, "DELETE", "/v1/payments")
    refused(a, 405, "METHOD_NOT_ALLOWED", "method")
    is_(a.header("Allow"), "POST, GET", "405 says what is allowed")
    refused(e.call(H, "GET", "/v1/payments"), 400, "FIELD_MISSING", "find without a number")
    refused(e.call(H, "GET", "/v1/payments?out_trade_no=short"), 400, "FIELD_INVALID", "find with a bad number")
    refused(e.call(H, "GET", "/v1/payments?out_trade_no=long-enough&x=1"), 400, "FIELD_UNKNOWN", "unknown parameter")
    refused(e.call(H, body=b'{"x":"' + b"y" * 20000 + b'"}'), 413, "BODY_TOO_LARGE", "too large")
    refused(e.call(H, body=b'{"x":"' + b"y" * 20000 + b'"}', chunked=4000), 413, "BODY_TOO_LARGE", "too large, chunked")
    refused(e.call(H, body=b'{"x":"' + b"y" * 70000 + b'"}'), 413, "BODY_TOO_LARGE", "too large for nginx")

    # ---- the body: signed refusals that name the field
    def field(name, status, code, pointer=None, signer=H, **more):
        refused(e.call(signer, body={k: v for k, v in payment(**more).items() if v is not ...}), status, code, name,
                pointer, signer)

    refused(e.call(H, body=b'{"method":'), 400, "JSON_INVALID", "broken JSON", signer=H)
    refused(e.call(H, body=b"[]"), 400, "JSON_INVALID", "not an object", signer=H)
    refused(e.call(H, body=b""), 400, "JSON_INVALID", "no body", signer=H)
    refused(e.call(H, body=b'{"method":"native","method":"native"}'), 400, "JSON_INVALID", "duplicate key", "/method", H)
    refused(e.call(H, "GET", "/v1/certificates", sent_body=None, body=None, headers={"Content-Length": "2"}), 413,
            "BODY_TOO_LARGE", "GET with a body")
    field("unknown field", 400, "FIELD_UNKNOWN", "/surprise", surprise=1)
    field("unknown nested field", 400, "FIELD_UNKNOWN", "/amount/tip", amount={"total": 1, "tip": 1})
    field("dotted key", 400, "FIELD_UNKNOWN", "/amount.total", **{"amount.total": 1})
    for name in ("method", "out_trade_no", "amount", "description"):
        field(f"{name} missing", 400, "FIELD_MISSING", f"/{name}", **{name: ...})
    field("total missing", 400, "FIELD_MISSING", "/amount/total", amount={"currency": "CNY"})
    field("total a string", 400, "FIELD_TYPE", "/amount/total", amount={"total": "100"})
    field("total a fraction", 400, "FIELD_TYPE", "/amount/total", amount={"total": 1.5})
    refused(e.call(H, body=b'{"amount":{"total":1e3}}'), 400, "FIELD_TYPE", "exponent", "/amount/total", H)
    field("amount a number", 400, "FIELD_TYPE", "/amount", amount=100)
    field("description a number", 400, "FIELD_TYPE", "/description", description=5)
    field("attach null", 400, "FIELD_TYPE", "/attach", attach=None)
    for total in (0, -1, 100000000001, 10**30):
        field(f"total {total}", 422, "AMOUNT_OUT_OF_RANGE", "/amount/total", amount={"total": total})
    field("currency", 400, "FIELD_INVALID", "/amount/currency", amount={"total": 1, "currency": "USD"})
    field("method unknown", 400, "FIELD_INVALID", "/method", method="telepathy")
    field("number too short", 400, "FIELD_INVALID", "/out_trade_no", out_trade_no="12345")
    field("number too long", 400, "FIELD_INVALID", "/out_trade_no", out_trade_no="1" * 33)
    field("number with a dot", 400, "FIELD_INVALID", "/out_trade_no", out_trade_no="123456.7")
    field("description too long", 400, "FIELD_INVALID", "/description", description="茶" * 128)
    field("description with a control character", 400, "FIELD_INVALID", "/description", description="a\nb")
    field("URL", 400, "FIELD_INVALID", "/notify_url", notify_url="ftp://x.example/")
    field("URL too long", 400, "FIELD_INVALID", "/notify_url", notify_url="https://x.example/" + "y" * 255)
    field("time", 400, "FIELD_INVALID", "/time_expire", time_expire="tomorrow")
    field("time without offset", 400, "FIELD_INVALID", "/time_expire", time_expire="2030-01-01T00:00:00")
    field("scene", 400, "FIELD_INVALID", "/scene", scene="moon")
    field("channel", 400, "FIELD_INVALID", "/channel", channel="We Chat")
    field("mchid", 401, "IDENTITY_MISMATCH", "/mchid", mchid="1900000002")
    field("appid", 401, "IDENTITY_MISMATCH", "/appid", appid="app2")
    a = e.call(H, "GET", "/v1/payments?out_trade_no=long-enough&mchid=1900000002")
    refused(a, 401, "IDENTITY_MISMATCH", "mchid in the query", signer=H)
    refused(e.call(H, "GET", "/v1/payments/P123"), 404, "ORDER_NOT_FOUND", "no id", signer=H)
    full = payment(time_expire="2030-01-01T00:00:00+08:00", scene="app", product="p.1", store_id="S-1", attach="",
                   channel="wechat_1", mchid="1900000001", appid="app1", description="茶" * 127)
    is_(e.call(H, body=full).status, 200, "all fields")
    passed += 1

    is_(len(e.payd.requests), passed, "nothing that was refused has reached the worker")
    like(e.call(H, body=b"{").json["trace_id"], "^[0-9a-f]{32}$", "problems carry a trace id")

done()
