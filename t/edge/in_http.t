#!/usr/bin/python3
"""HTTP around the signature: targets in normal form only, no Pay-* header from outside, bodies in every
shape, what nginx itself refuses is problem+json as well, HTTP/2."""
import io
import json
import os
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
from edge import PLATFORM, Key, authorization, connect, edge, encode, payment, read_answer, signed  # noqa: E402
from tap import done, is_, like, ok  # noqa: E402

H, R = Key("HMAC000001"), Key("RSA0000001", "rsa")


def problem(a, status, code, name):
    ok((a.status, a.code, a.json.get("status"), a.header("Content-Type"))
       == (status, code, status, "application/problem+json"), f"{name}: {status} {code}", a)


def get(target, *headers, method="GET", version="1.1", body=""):
    lines = [f"{method} {target} HTTP/{version}", "Host: x", *headers, "Connection: close"]
    return ("\r\n".join(lines) + "\r\n\r\n" + body).encode()


with edge(H, R, server="large_client_header_buffers 2 4k; proxy_intercept_errors off;",
          location="client_body_timeout 1s;") as e:
    # ---- targets
    for target in ("/v1//payments?out_trade_no=123456", "/v1/./certificates", "/v1/x/../certificates",
                   "/v1/payments/../../notify/bank/1", "/v1/%63ertificates", "/v1%2Fcertificates", "/v1/payments/%2e%2e/certificates",
                   "/v1/certificates%00", "/v1/certificates#x", "/v1/payments/a%2fb", "/v1/payments/%c"):
        a = e.call(H, "GET", target)
        ok(a.status == 400 and a.code in ("TARGET_INVALID", "REQUEST_INVALID"), f"not in normal form: {target}", a)
    for target in ("/notify/../v1/certificates", "/notify//bank", "/notify/%62ank"):
        a = e.raw(get(target))
        ok(a.status in (400, 401) and a.header("Content-Type") == "application/problem+json",
           f"nor at the notifications: {target}", a)
    is_(len(e.payd.requests), 0, "none of them went on")
    is_(e.raw(get("/notify/bank/1", method="POST")).status, 200, "a notification passes unsigned")
    a = e.call(H, "GET", "/v1/certificates", sent_target="http://pay.example/v1/certificates")
    is_(a.status, 200, "the absolute form is signed by its path")

    # ---- nobody outside states our facts
    smuggled = {"Pay-Mchid": "evil", "pay-slot": "1", "PAY-CHANNELS": "x", "Pay-Attempt": "1", "Pay-Extra": "1"}
    many = {f"X-{i}": "y" for i in range(60)}
    for name, call in (("API", lambda: e.call(H, headers={**smuggled, **many})),
                       ("notifications", lambda: e.raw(get("/notify/b/1", *(f"{k}: {v}" for k, v in {**smuggled, **many}.items()))))):
        is_(call().status, 200, f"{name}: passes with Pay-* headers")
        r = e.payd.requests[-1]
        facts = {k: v for k, v in r.items() if k.startswith("pay-")}
        ok(not {"evil", "x"} & set(facts.values()) and not {"pay-attempt", "pay-extra"} & set(facts),
           f"{name}: without them", facts)
        is_(sum(k.startswith("X-") for k, _ in r["headers"]), 60, f"{name}: all others are there")
    a = e.call(H, headers={"Authorization": "Bearer x"})
    ok(a.status in (400, 401) and a.header("Content-Type") == "application/problem+json", "two Authorization headers", a)

    # ---- bodies
    e.payd.requests.clear()
    text = payment(attach="x" * 128)
    for size in (1, 7, 50, 10000):
        is_(e.call(H, body=text, chunked=size).status, 200, f"chunked by {size}")
    is_([json.loads(r["body"]) for r in e.payd.requests], [text] * 4, "arrived whole")
    padded = encode(text) + b" " * 12000
    is_((e.call(H, body=padded).status, e.payd.requests[-1]["body"]), (200, padded), "12 KB")
    data = signed(H, body=text, headers={"Expect": "100-continue"})
    head, _, tail = data.partition(b"\r\n\r\n")
    with connect(e.socket) as s:
        f = s.makefile("rb")
        s.sendall(head + b"\r\n\r\n")
        like(f.readline().decode(), "100", "Expect: 100-continue is answered")
        f.readline()
        s.sendall(tail)
        is_(read_answer(f).status, 200, "and the body taken")
    bad = signed(H, serial="UNKNOWN001", headers={"Expect": "100-continue"}, body=text).partition(b"\r\n\r\n")[0]
    with connect(e.socket) as s:
        s.sendall(bad + b"\r\n\r\n")
        problem(read_answer(s.makefile("rb")), 401, "KEY_UNKNOWN", "a refused one is not asked for its body")
    data = signed(H, body=text)
    with connect(e.socket) as s:
        for i in range(len(data)):
            if i == data.index(b"\r\n\r\n") + 4:
                time.sleep(0.05)
            s.sendall(data[i:i + 1])
        is_(read_answer(s.makefile("rb")).status, 200, "byte by byte")
    with connect(e.socket) as s:
        s.sendall(signed(H, body=text)[:-10])
        is_(read_answer(s.makefile("rb")).status, 0, "a body that does not come: closed")
    with connect(e.socket) as s:
        s.sendall(signed(H, body=text)[:-10])
    a = e.raw(signed(H, body=text, chunked=50).replace(b"\r\n32\r\n", b"\r\nzz\r\n", 1))
    problem(a, 400, "REQUEST_INVALID", "broken chunks")
    with connect(e.socket) as s:
        s.sendall(signed(H, serial="UNKNOWN001", close=False) + signed(H))
        f = s.makefile("rb")
        is_([read_answer(f).status, read_answer(f).status], [401, 200], "a refused body is skipped on keepalive")

    # ---- what nginx refuses
    problem(e.raw(b"NONSENSE\r\n\r\n"), 400, "REQUEST_INVALID", "no request line")
    problem(e.raw(b"GET / HTTP/1.1\r\n\r\n"), 400, "REQUEST_INVALID", "no Host")
    problem(e.raw(get("/v1/" + "x" * 9000)), 414, "REQUEST_INVALID", "long target")
    problem(e.raw(get("/v1/x", "X: " + "y" * 9000)), 400, "REQUEST_INVALID", "long header")
    problem(e.raw(get("/nowhere")), 404, "PATH_UNKNOWN", "outside of all locations")
    problem(e.raw(get("/v1/x", method="TRACE")), 405, "METHOD_NOT_ALLOWED", "TRACE")
    problem(e.raw(get("/v1/x", "Transfer-Encoding: odd")), 501, "INTERNAL", "transfer encoding")
    problem(e.raw(get("/v1/x", "Content-Length: 99999999")), 413, "BODY_TOO_LARGE", "body for nginx")
    problem(e.raw(get("/v1/certificates", method="PUT")), 405, "METHOD_NOT_ALLOWED", "PUT")
    out = subprocess.run(["curl", "-sS", "-I", "--unix-socket", str(e.socket), "http://x/v1/certificates"],
                         capture_output=True, text=True).stdout
    like(out, "^HTTP/1.1 405", "HEAD")
    is_(e.raw(get("/status")).status, 200, "other locations are not concerned")

    # ---- HTTP/2
    def h2(key, *more, body=None, target="/v1/payments", method="POST", unix="edge2.sock"):
        data = encode(payment() if body is None and method == "POST" else body)
        auth = authorization(key, method, target, data)
        args = ["curl", "-sS", "-i", "--http2-prior-knowledge", "--unix-socket", str(e.folder / unix), "-X", method,
                "-H", f"Authorization: {auth}", *more]
        if data:
            args += ["--data-binary", "@-", "-H", "Content-Type: application/json"]
        out = subprocess.run([*args, "http://x" + target], input=data, capture_output=True).stdout
        return read_answer(io.BytesIO(out.replace(b"HTTP/2 ", b"HTTP/2.0 ")))

    for key, signer in ((H, H), (R, PLATFORM)):
        for do in ("200", "204", "422", "chunked 3", "truncated", "garbage", "big 100000"):
            a = h2(key, "-H", f"X-Do: {do}")
            want = 504 if do in ("truncated", "garbage") else int(do) if do.isdigit() else 200
            ok(a.status == want and a.signed_with(signer), f"HTTP/2 {key.alg}: {do}", a)
    problem(h2(H, target="/v1//x", method="GET"), 400, "TARGET_INVALID", "HTTP/2: normal form")
    problem(h2(H, target="/v1/x", method="GET"), 404, "PATH_UNKNOWN", "HTTP/2: unknown path")
    is_(h2(H, "-H", "pay-mchid: evil").status, 200, "HTTP/2: smuggling")
    is_(e.payd.requests[-1]["pay-mchid"], "1900000001", "HTTP/2: in vain")
    # streams that are reset while everything is in progress
    procs = [subprocess.Popen(["curl", "-s", "-m", "0.05", "--http2-prior-knowledge", "--unix-socket",
                               str(e.folder / "edge2.sock"), "-H", "X-Do: slow 0.3", "-H",
                               f"Authorization: {authorization(R, 'GET', '/v1/certificates', b'')}",
                               "http://x/v1/certificates"], stdout=subprocess.DEVNULL) for _ in range(15)]
    [p.wait() for p in procs]
    is_(h2(R).status, 200, "HTTP/2: clients that leave")

# ---- bodies in files, and a small zone
with edge(H, R, location="client_body_buffer_size 1k; client_body_in_file_only clean;") as e:
    padded = encode(payment()) + b" " * 15000
    is_((e.call(H, body=padded).status, e.payd.requests[-1]["body"]), (200, padded), "a body in a file")
    is_(e.call(R, body=padded, chunked=3000).status, 200, "chunked into a file")
    is_(e.call(H, body=padded, sent_body=padded + b" ").code, "SIGN_ERROR", "is verified whole")

# ---- redirects inside nginx
with edge(H, location="error_page 502 503 504 = @down;", server="location @down { return 200 down; }") as e:
    e.call(H)
    e.payd.stop()
    a = e.call(H)
    ok((a.status, a.body) == (200, b"down") and a.signed_with(H), "an error page of the operator: signed as well", a)

done()
