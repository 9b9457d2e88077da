#!/usr/bin/python3
"""R1.18: an app's list of addresses, refused or only reported; bursts of bad signatures, replays, unknown serials and paths
are counted per source, reported at once, and the source is refused or slowed before any work is done for it."""
import os
import re
import socket
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
from edge import Key, edge, payment, send, signed, wait_until  # noqa: E402
from tap import done, is_, like, ok  # noqa: E402

A, B = Key("APPA000001", app="app1"), Key("APPB000001", "rsa", app="app2")
REAL_IP = "set_real_ip_from unix:; real_ip_header X-Real-IP;"
REST = "location / { pay_strip on; return 404; }"


def attacked(http="pay_attack signatures=5 replays=5 serials=5 paths=5 within=1h block=1h;", **more):
    return edge(A, B, server="pay_problems on; " + REAL_IP + REST, http=http, **more)


def call(e, ip, key=A, **more):
    return e.call(key, headers={"X-Real-IP": ip}, **more)


def events(e, event):
    return re.findall(rf"\[error\].*pay: event={event} (.*?), client", e.log.read_text())


def bad_signature(e, ip):
    return call(e, ip, signature="AAAA")


def unknown_serial(e, ip):
    unknown_serial.n += 1
    return call(e, ip, serial=f"NOBODY{unknown_serial.n}")


unknown_serial.n = 0


def unknown_path(e, ip):
    return e.raw(f"GET /admin.php HTTP/1.1\r\nHost: x\r\nX-Real-IP: {ip}\r\nConnection: close\r\n\r\n".encode())


def unknown_api(e, ip):
    return call(e, ip, target="/v1/nothing", body={})


def odd_target(e, ip):
    return e.raw(f"GET /v1//payments HTTP/1.1\r\nHost: x\r\nX-Real-IP: {ip}\r\nConnection: close\r\n\r\n".encode())


# ---- signals
with attacked(workers=2) as e:
    again = signed(A, headers={"X-Real-IP": "10.0.3.1"})
    send(e.socket, again)
    signals = (("signatures", "10.0.1.1", bad_signature, 401), ("serials", "10.0.2.1", unknown_serial, 401),
               ("replays", "10.0.3.1", lambda e, ip: send(e.socket, again), 409), ("paths", "10.0.4.1", unknown_path, 404),
               ("paths", "10.0.5.1", unknown_api, 404), ("paths", "10.0.6.1", odd_target, 400))
    for number, (signal, ip, attack, status) in enumerate(signals, 1):
        is_([attack(e, ip).status for _ in range(4)], [status] * 4, f"{attack.__name__}: below the threshold")
        is_(call(e, ip).status, 200, f"{attack.__name__}: the source is still served")
        is_(attack(e, ip).status, status, f"{attack.__name__}: one too many")
        asked, passed = len(e.payd.asked), len(e.payd.requests)
        a = call(e, ip)
        ok((a.status, a.code) == (429, "RATE_LIMITED") and a.unsigned and 3500 < int(a.header("Retry-After")) <= 3600,
           f"{attack.__name__}: now refused, and told until when", a)
        is_([attack(e, ip).status for _ in range(3)], [429] * 3, f"{attack.__name__}: whatever it sends")
        is_(call(e, ip, target="/notify/x", body={}).status, 429, f"{attack.__name__}: and wherever")
        is_((len(e.payd.asked), len(e.payd.requests)), (asked, passed), f"{attack.__name__}: nobody is asked for it")
        told = events(e, "attack")
        is_((len(told), told[-1]), (number, f"signal={signal} source={ip} count=5 within=3600s action=block for=3600s"),
            f"{attack.__name__}: one line in the log")
    is_(call(e, "10.0.9.9").status, 200, "others are served")
    is_(e.call(A).status, 200, "and whoever comes over a unix socket")
    counts = e.status()["edge"]
    is_({k: v for k, v in counts.items() if k.startswith("attack_")},
        {"attack_signatures": 1, "attack_replays": 1, "attack_serials": 1, "attack_paths": 3, "attack_refused": 30}, "counted")
    e.reload()
    is_(call(e, "10.0.1.1").status, 429, "a reload forgives nobody")
    is_([bad_signature(e, f"2001:db8:1:1::{n}").status for n in range(6)], [401] * 5 + [429], "a /64 is one source")
    is_(call(e, "2001:db8:1:2::1").status, 200, "another is not")
    is_([bad_signature(e, ip).status for ip in ("10.0.8.1", "::ffff:10.0.8.1") * 3], [401] * 5 + [429], "mapped addresses are IPv4")
    is_(call(e, "::ffff:10.0.8.2").status, 200, "and not all the same")
    # a body that is still to come is not waited for
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(5)
        s.connect(str(e.socket))
        s.sendall(b"POST /v1/payments HTTP/1.1\r\nHost: x\r\nX-Real-IP: 10.0.1.1\r\nContent-Length: 1000\r\n\r\n")
        like(s.recv(100).decode(), "^HTTP/1.1 429", "refused before its body")

# ---- for a time, slower, only reported, not at all
with attacked("pay_attack signatures=3 within=1h block=1s;") as e:
    is_([bad_signature(e, "10.0.0.1").status for _ in range(4)], [401] * 3 + [429], "blocked")
    ok(wait_until(lambda: call(e, "10.0.0.1").status == 200), "and after its time served again")

with attacked("pay_attack signatures=3 within=1h block=1h rate=1r/h;") as e:
    is_([bad_signature(e, "10.0.0.1").status for _ in range(6)], [401] * 4 + [429] * 2, "slowed: one in an hour is heard")
    like(events(e, "attack")[0], "action=slow for=3600s", "and told so")

with attacked("pay_attack signatures=3 replays=off within=1s block=off;") as e:
    is_([bad_signature(e, "10.0.0.1").status for _ in range(10)], [401] * 10, "block=off: never refused")
    like(events(e, "attack")[0], "count=3 within=1s action=none for=0s", "but reported")
    ok(wait_until(lambda: bad_signature(e, "10.0.0.1") and len(events(e, "attack")) > 1), "and again in the next period")
    data = signed(A, headers={"X-Real-IP": "10.0.0.2"})
    ok([send(e.socket, data) for _ in range(60)] and not [x for x in events(e, "attack") if "replays" in x], "replays=off")

with attacked("pay_attack signatures=3 except=10.0.0.0/8 except=2001:db8::/32 block=1h;") as e:
    is_([bad_signature(e, ip).status for ip in ("10.0.0.1", "2001:db8::1") * 5], [401] * 10, "excepted")
    is_([bad_signature(e, "192.0.2.1").status for _ in range(4)], [401] * 3 + [429], "others not")

with attacked("", location="") as e:
    is_([bad_signature(e, "10.0.0.1").status for _ in range(60)], [401] * 60, "off by default")

# ---- more sources than there is room for
with attacked("pay_attack signatures=3 within=1h block=1h;", zone="4m") as e:
    for n in range(3000):
        unknown_path(e, f"10.1.{n // 250}.{n % 250}") if n % 50 == 0 else None
    is_([bad_signature(e, "10.0.0.1").status for _ in range(4)], [401] * 3 + [429], "among many sources")

# ---- an app's addresses
listed = Key("LISTED0001", "rsa", app="listed", allow=["10.0.0.0/8", "192.0.2.7/32", "2001:db8::/32"], allow_mode="refuse")
watched = Key("WATCHED001", app="watched", allow=["10.0.0.0/8"], allow_mode="alert")
broken = Key("BROKEN0001", app="broken", allow=["10.0.0.0/8", "everywhere"])
with edge(A, listed, watched, broken, server=REAL_IP) as e:
    for ip, status in (("10.1.2.3", 200), ("192.0.2.7", 200), ("2001:db8::9", 200), ("::ffff:10.0.0.1", 200),
                       ("192.0.2.8", 403), ("2001:db9::1", 403)):
        is_(call(e, ip, key=listed).status, status, f"from {ip}")
    data = signed(listed, headers={"X-Real-IP": "203.0.113.1"})
    a = send(e.socket, data)
    ok((a.status, a.code) == (403, "ADDRESS_NOT_ALLOWED"), "refused", a)
    is_(a.header("Wechatpay-Signature") or a.header("Pay-Signature") is not None, True, "signed")
    is_(send(e.socket, data.replace(b"203.0.113.1", b"10.0.0.1")).status, 200, "and has burned no nonce")
    is_(e.call(listed).status, 403, "a unix socket is on no list")
    like(events(e, "address_not_listed")[0], "app=listed serial=LISTED0001 source=192.0.2.8 action=refuse count=1$", "reported")
    is_(len(events(e, "address_not_listed")), 1, "not more than once in 5 s")
    is_(call(e, "203.0.113.1", key=watched).status, 200, "only reported: let through")
    like(events(e, "address_not_listed")[1], "app=watched .* source=203.0.113.1 action=none count=1$", "and reported")
    is_(call(e, "203.0.113.9", key=watched, signature="AAAA").code, "SIGN_ERROR", "a forged request from elsewhere is a forged one")
    is_(call(e, "10.0.0.1", key=broken).code, "RETRY_SAME_NUMBER", "a list that cannot be read lets nobody in")
    is_(call(e, "203.0.113.1").status, 200, "no list: from anywhere")
    is_(e.status()["edge"]["unlisted"], 5, "counted")
    e.payd.keys[listed.serial]["allow"].append("203.0.113.0/24")
    e.payd.changed(listed.serial)
    ok(wait_until(lambda: call(e, "203.0.113.1", key=listed).status == 200), "a changed list acts with the feed")

done()
