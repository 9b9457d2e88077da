#!/usr/bin/python3
"""R1.12, R1.16, R2.3: Pay-Sent says no only if nothing left, answered only if the channel answered;
nothing is ever sent twice; targets and bodies leave as they came, Pay-* headers do not."""
import os
import socket
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
from egress import CHANNEL, Answer, bank, http, nginx, request, wait_until  # noqa: E402
from tap import done, is_, ok  # noqa: E402

free = socket.create_server(("127.0.0.1", 0))
refused_port = free.getsockname()[1]
free.close()

with bank() as b, nginx(f"""
    pay_channel bank {{ endpoint {b.url}; {CHANNEL} breaker off; }}
    pay_channel gone {{ endpoint http://127.0.0.1:{refused_port}; {CHANNEL} breaker off; }}
    pay_channel tls {{ endpoint http://127.0.0.1:{b.port}; {CHANNEL} }}
""", location="client_max_body_size 1k;") as n:

    # answered, whatever the status
    a = n.call("/ok")
    is_((a.status, a.sent, a.body), (200, "answered", b'{"bank":"ok"}'), "an answer is answered")
    for status in (201, 204, 302, 400, 403, 404, 429, 500, 502, 503, 504):
        a = n.call(f"/status/{status}")
        is_((a.status, a.sent), (status, "answered"), f"the channel's {status} is answered")

    # requests: bytes of the target, body, headers
    b.requests.clear()
    raw = "/a%2Fb/../c//d;x=%e4?q=%20&&sign=a+b%2F/=="
    n.call(raw, body=b'{"k": "\xe4\xb8\xad"}', headers=("Pay-Secret: s", "PAY-App: x", "Payment: keep",
                                                       "Authorization: SCHEME a=\"b\"", "X-Two: 1", "X-Two: 2",
                                                       "Accept: application/json", "Proxy-Connection: close"))
    r = b.requests[-1]
    is_(r.target, raw, "the target's bytes reach the channel unchanged")
    is_(r.body, b'{"k": "\xe4\xb8\xad"}', "so does the body")
    names = [k.lower() for k, _ in r.headers]
    is_([k for k in names if k.startswith("pay-")], [], "no Pay-* header reaches the channel")
    is_((r.header("Payment"), r.header("Authorization"), r.header("Accept")),
        ("keep", 'SCHEME a="b"', "application/json"), "other headers do")
    is_(names.count("x-two"), 2, "repeated ones too")
    is_([k for k in names if k in ("accept-encoding", "connection", "proxy-connection", "x-forwarded-for", "via")], [],
        "nothing is added")
    is_(r.header("Host"), f"127.0.0.1:{b.port}", "Host is the endpoint's")
    n.call("/get", method="GET", body=b"", kind="query")
    is_((b.requests[-1].method, b.requests[-1].body), ("GET", b""), "GET without a body")
    n.call("/big", body=b"x" * 1000)
    is_(len(b.requests[-1].body), 1000, "a larger body")
    chunked = request("/chunked").replace(b"Content-Length: 2", b"Transfer-Encoding: chunked")[:-2]
    is_(http(n.egress, chunked + b"3\r\nabc\r\n0\r\n\r\n").sent, "answered", "a chunked request")
    is_(b.requests[-1].body, b"abc", "its body arrives")

    # answers: the channel's own Pay-* and X-Accel-* mean nothing
    a = n.call("/pay")
    is_((a.sent, a.header("PAY-Other"), a.header("Payment"), a.header("X-Accel-Redirect"), a.body),
        ("answered", None, "y", None, b'{"bank":"pay"}'), "Pay-* and X-Accel-* of the channel are dropped")

    # not sent
    is_(n.call("/x", channel="gone").short, (502, None, "no"), "connection refused: no")
    a = n.call("/x", body=b"x" * 2000)
    is_((a.status, a.sent), (413, "no"), "a body too large: no")
    is_(len(b.requests), 5, "and the channel did not see it")

    # maybe sent, and once only
    def once(target, want, name, **more):
        b.requests.clear()
        a = n.call(target, **more)
        is_((a.status, a.sent), want, name)
        is_(b.targets(), [target], f"{name}: one request at the channel")

    for kind, method in (("pay", "POST"), ("query", "GET"), ("refund", "POST")):
        once("/reset", (502, "maybe"), f"books and resets ({kind})", kind=kind, method=method)
        once("/eof", (502, "maybe"), f"books and closes ({kind})", kind=kind, method=method)
    once("/hang", (504, "maybe"), "read time-out")
    once("/raw/half", (502, "maybe"), "half a header")
    once("/raw/noline", (502, "maybe"), "a wrong status line")
    once("/raw/garbage", (502, "maybe"), "bytes that are not HTTP")
    b.requests.clear()
    a = n.call("/raw/short")
    is_((a.status, a.sent, len(a.body) < int(a.header("Content-Length"))), (200, "answered", True),
        "an answer that ends early stays recognizable")

    # kept connections
    n.call("/ok")
    at = b.connections
    for _ in range(5):
        n.call("/ok")
    is_(b.connections, at, "connections are kept")
    is_(len({r.connection for r in b.requests[-5:]}), 1, "and used again")
    once("/reset", (502, "maybe"), "books and resets on a kept connection")
    n.call("/ok")
    once("/eof", (502, "maybe"), "books and closes on a kept connection")
    n.call("/ok")
    at = b.connections
    b.close_idle()
    once("/ok", (200, "answered"), "a kept connection that the channel closed is not used")
    is_(b.connections, at + 1, "a new one is")

    # a race that cannot be seen: the channel closes when the request is on its way
    for i in range(20):
        n.call("/ok")
        b.requests.clear()
        b.close_idle()
        a = n.call(f"/race/{i}")
        if (a.sent, len(b.requests)) not in (("answered", 1), ("maybe", 0), ("maybe", 1)):
            ok(False, f"race {i}: {a.sent} {b.targets()}")
    ok(True, "closing under the request's feet: never twice, never a wrong no")

    # the worker goes away: the channel's call goes on and is counted until its end
    with socket.socket(socket.AF_UNIX) as s:
        s.connect(n.egress)
        s.sendall(request("/wait/300"))
        wait_until(lambda: n.channel()["in_flight"] == 1)
    is_(n.channel()["in_flight"], 1, "a call whose worker left still counts")
    is_(wait_until(lambda: n.channel()["in_flight"] == 0), True, "until the channel has answered")

    c = n.channel()
    is_(c["in_flight"] + c["in_pay"], 0, "nothing is left in flight")
    is_(sum(c["calls"].values()), sum(c["sent"].values()), "every call has an outcome")
    is_(sum(c["answers"].values()), c["sent"]["answered"], "every answer has a class")
    is_(n.channel("gone")["sent"], {"no": 1, "maybe": 0, "answered": 0}, "outcomes are per channel")
    ok('pay_channel_sent_total{channel="gone",sent="no"} 1\n' in n.metrics(), "and in the metrics")

# nginx's own errors in pages that lead elsewhere keep Pay-Sent
with bank() as b, nginx(f"pay_channel bank {{ endpoint {b.url}; {CHANNEL} }}",
                        location="error_page 502 504 /again; ") as n:
    a = n.call("/reset")
    is_((a.sent, b.targets()), ("maybe", ["/reset"]), "redirected back into the egress: not passed on again")

done()
