#!/usr/bin/python3
"""R1.13: what is wrong in the configuration of the way in is refused by nginx -t with file, line and reason."""
import os
import re
import shutil
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
from edge import PLATFORM, Edge, Key  # noqa: E402
from tap import done, is_, like, ok  # noqa: E402
from cryptography.hazmat.primitives import serialization  # noqa: E402

e = Edge()
good = e.conf()
(e.folder / "public.pem").write_bytes(PLATFORM.private.public_key().public_bytes(
    serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo))
(e.folder / "empty").write_bytes(b"")
(e.folder / "password").write_bytes(b"secret\n")
is_(e.test(good), "", "the sample is accepted")


def without(name):
    return re.sub(rf"\n *{name} [^;]*;", "\n", good)


def wrong(conf, reason, name, line=None):
    said = e.test(conf)
    like(said, r"\[emerg\].*" + reason + r".* in \S+nginx\.conf:\d+", name)
    if line:
        number = next(i for i, text in enumerate(conf.splitlines(), 1) if line in text)
        like(said, rf"nginx\.conf:{number}\n", f"{name}: the right line")


def replaced(old, new, reason, line=None):
    assert old in good, old
    conf = good.replace(old, new, 1)
    wrong(conf, reason, new.strip().splitlines()[0], line or new.strip().splitlines()[0])


for directive, user in (("pay_zone", "pay_sign"), ("pay_keys", "pay_sign"), ("pay_platform_key", "pay_sign"),
                        ("pay_redis", "pay_guard")):
    wrong(without(directive), f'"{user}" needs "{directive}"', f"without {directive}", f"{user} ")
replaced("pay_sign on;", "pay_sign off;", '"pay_guard" needs "pay_sign on"', "pay_guard ")
replaced("pay_sign on;", "pay_sign yes;", 'invalid value "yes"')
wrong(good.replace("pay_zone pay 8m;", "pay_zone pay 8m; pay_zone more 8m;"), "duplicate", "two zones")
for new, reason in (("pay_zone pay 8x;", 'invalid zone size "8x"'), ("pay_zone pay 100k;", "too small"),
                    ("pay_zone pay;", "invalid number of arguments")):
    replaced("pay_zone pay 8m;", new, reason)
redis = f"pay_redis unix:{e.folder}/redis.sock timeout=50ms;"
for new, reason in (("timeout=0ms", 'invalid parameter "timeout=0ms"'), ("timeout=5s", "timeout=5s"), ("timeout=x", "timeout=x"),
                    ("failures=0", "failures=0"), ("pause=-1s", "pause=-1s"), ("db=-1", "db=-1"), ("surprise=1", "surprise=1"),
                    ("inflight=0", "inflight=0"), (f"password_file={e.folder}/none", "none"),
                    (f"password_file={e.folder}/empty", "no password")):
    replaced(redis, f"pay_redis unix:{e.folder}/redis.sock {new};", reason)
replaced(redis, "pay_redis 127.0.0.1:99999;", "invalid port")
replaced(redis, "pay_redis no.such.host.invalid;", "host not found")
for new in (f"pay_redis 127.0.0.1 timeout=20ms db=2 failures=3 pause=2s inflight=10 password_file={e.folder}/password;",
            "pay_redis 127.0.0.1:7000;", "pay_redis [::1]:7000;"):
    is_(e.test(good.replace(redis, new)), "", new.replace(str(e.folder), ""))
for new, reason in (("pay_keys timeout=1s;", "needs an address"), ("pay_keys 127.0.0.1;", 'no port in "127.0.0.1"'),
                    ("pay_keys unix:/x timeout=0ms;", "timeout=0ms"), ("pay_keys unix:/x parsed=0;", "parsed=0"),
                    ("pay_keys unix:/x misses=x;", "misses=x"), ("pay_keys unix:/x a=b;", 'invalid parameter "a=b"')):
    replaced(f"pay_keys unix:{e.folder}/internal.sock ;", new, reason)
is_(e.test(good.replace("internal.sock ;", "internal.sock unix:/b 127.0.0.1:9 timeout=100ms stale=5m parsed=10 misses=5;")), "",
    "several addresses")
for new, reason in (("window=0s", "window=0s"), ("window=2h", "window=2h"), ("app=500", "app=500"), ("app=0r/s", "app=0r/s"),
                    ("burst=-1", "burst=-1"), ("fallback=maybe", "fallback=maybe"), ("nonce=599s", "twice"),
                    ("window=400s nonce=600s", "twice"), ("off", 'invalid parameter "off"')):
    replaced("pay_guard window=300s nonce=600s ;", f"pay_guard window=300s {new};", reason)
for new in ("off", "window=10s", "app=off", "app=5r/s burst=0 fallback=closed"):
    is_(e.test(good.replace("pay_guard window=300s nonce=600s ;", f"pay_guard {new};")), "", f"pay_guard {new}")
key = f"pay_platform_key {PLATFORM.serial} {e.folder}/platform.pem ;"
for new, reason in ((f"pay_platform_key X {e.folder}/none;", "none"), (f"pay_platform_key X {e.folder}/empty;", "no private RSA key"),
                    (f"pay_platform_key X {e.folder}/password;", "no private RSA key"),
                    (f"pay_platform_key X {e.folder}/public.pem;", "cannot sign"),
                    (f"pay_platform_key X {e.folder}/platform.pem queue=0;", "queue=0"),
                    (f"pay_platform_key X {e.folder}/platform.pem more=1;", "more=1")):
    replaced(key, new, reason)
ok("PRIVATE" not in e.log.read_text() if e.log.exists() else True, "no key in the log")
shutil.rmtree(e.folder)

done()
