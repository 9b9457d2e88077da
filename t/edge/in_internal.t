#!/usr/bin/python3
"""What nginx does to a request inside: redirects (error_page, try_files, X-Accel-Redirect, named locations) forget a
module's context, and subrequests are requests of their own. A nonce is asked once per request of a merchant, whatever
happens inside; answers stay signed; nothing inside gets past the verification."""
import os
import socket
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
from edge import PLATFORM, Key, edge  # noqa: E402
from tap import done, is_, ok  # noqa: E402

H, R = Key("HMAC1", "hmac"), Key("RSA1", "rsa")
PROXY = """proxy_pass http://pay_orders; proxy_http_version 1.1; proxy_set_header Connection "";
           proxy_set_header Pay-Mchid $pay_mchid; proxy_set_header Pay-Slot $pay_slot; proxy_next_upstream off;"""
GUARDED = "pay_sign on; pay_guard window=300s nonce=600s;"


class Away:
    """A worker that hangs up at once."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.bind(str(path))
        self.socket.listen(64)
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        try:
            while True:
                self.socket.accept()[0].close()
        except OSError:
            pass


SERVER = f"""
    # a worker that fails, and a second one behind an error page: both locations verify and guard
    location = /v1/certificates {{
        {GUARDED}
        error_page 502 504 = /fallback;
        proxy_pass http://unix:FOLDER/away.sock;
    }}
    location = /fallback {{ internal; {GUARDED} {PROXY} }}

    # the same to a named location
    location /v1/payments/out-trade-no/ {{
        {GUARDED}
        error_page 502 504 = @named;
        proxy_pass http://unix:FOLDER/away.sock;
    }}
    location @named {{ {GUARDED} {PROXY} }}

    # nginx asks itself about every request, with the merchant's headers
    location = /v1/payments {{
        auth_request /asked;
        {GUARDED}
        {PROXY}
    }}
    location = /asked {{ internal; {GUARDED} proxy_pass http://pay_orders; proxy_pass_request_body off;
                         proxy_set_header Content-Length ""; proxy_set_header Connection ""; proxy_http_version 1.1; }}

    # the worker sends nginx elsewhere
    location ~ ^/v1/payments/out-trade-no/X {{ {GUARDED} proxy_pass http://unix:FOLDER/elsewhere.sock; }}
    location /elsewhere {{ internal; {GUARDED} {PROXY} }}
    location /inside {{ internal; {PROXY} }}
    location /files {{ try_files /none /inside; }}
"""


class Elsewhere(Away):
    def serve(self):
        try:
            while True:
                c = self.socket.accept()[0]
                c.recv(65536)
                c.sendall(b"HTTP/1.0 200 OK\r\nX-Accel-Redirect: /elsewhere\r\n\r\n")
                c.close()
        except OSError:
            pass



import edge as harness  # noqa: E402


class Edge(harness.Edge):
    def conf(self, **options):
        return super().conf(**options).replace("FOLDER", str(self.folder))

    def start(self):
        self.away, self.elsewhere = Away(self.folder / "away.sock"), Elsewhere(self.folder / "elsewhere.sock")
        return super().start()


harness.Edge = Edge

with edge(H, R, workers=1, server=SERVER) as e:
    def nonces():
        return e.status()["requests"]["guard"]

    for key, signer in ((H, H), (R, PLATFORM)):
        for name, method, target in (("error_page", "GET", "/v1/certificates"),
                                     ("a named location", "GET", "/v1/payments/out-trade-no/T1234567"),
                                     ("auth_request", "POST", "/v1/payments"),
                                     ("X-Accel-Redirect", "GET", "/v1/payments/out-trade-no/X1234567")):
            before = nonces()
            a = e.call(key, method, target, nonce_str=(again := os.urandom(16).hex()))
            after = nonces()
            is_((a.status, a.signed_with(signer)), (200, True), f"{key.alg}, {name}: served and signed")
            is_({k: after[k] - before[k] for k in after if after[k] != before[k]}, {"redis_passed": 1},
                f"{key.alg}, {name}: its nonce was asked once")
            is_(e.call(key, method, target, nonce_str=again).code, "NONCE_REPLAYED", f"{key.alg}, {name}: and is burnt")
            is_(e.call(key, method, target, signature="A" * 44).code, "SIGN_ERROR", f"{key.alg}, {name}: a forgery stays one")
    is_([e.call(H, "GET", t, signature="A" * 44).status for t in ("/fallback", "/elsewhere", "/asked", "/inside")], [404] * 4,
        "internal locations are not there for others")
    a = e.raw(b"GET /files HTTP/1.1\r\nHost: x\r\nPay-Mchid: evil\r\nConnection: close\r\n\r\n")
    is_((a.status, e.payd.requests[-1].get("pay-mchid")), (200, None), "try_files: nobody's Pay-* headers pass")
    ok(all(r.get("pay-mchid") in (None, "1900000001") for r in e.payd.requests), "no request had a merchant of its own making")

done()
