#!/usr/bin/python3
"""R1.13: what is wrong in the configuration of the way in is refused by nginx -t with file, line and reason."""
import os
import re
import shutil
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
from edge import PLATFORM, Edge, Key  # noqa: E402
from schemes import Pair  # noqa: E402
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
redis = f"pay_redis unix:{e.folder}/redis.sock timeout=1s;"
for new, reason in (("timeout=0ms", 'invalid parameter "timeout=0ms"'), ("timeout=5s", "timeout=5s"), ("timeout=x", "timeout=x"),
                    ("failures=0", "failures=0"), ("pause=-1s", "pause=-1s"), ("db=-1", "db=-1"), ("surprise=1", "surprise=1"),
                    ("inflight=0", "inflight=0"), ("sentinel=", "sentinel="), ("user=edge", "has a user without a password file"),
                    ("sentinel_user=x", "has a password for sentinels"), (f"sentinel_password_file={e.folder}/none", "none"),
                    ("127.0.0.1", "several addresses only with"), (f"password_file={e.folder}/none", "none"),
                    (f"password_file={e.folder}/empty", "no password")):
    replaced(redis, f"pay_redis unix:{e.folder}/redis.sock {new};", reason)
replaced(redis, "pay_redis 127.0.0.1:99999;", "invalid port")
replaced(redis, "pay_redis timeout=1s;", "needs an address")
replaced(redis, f"pay_redis 127.0.0.1 sentinel=pay sentinel_user=x password_file={e.folder}/password;", "has a user without")
replaced(redis, "pay_redis no.such.host.invalid;", "host not found")
for new in (f"pay_redis 127.0.0.1 timeout=20ms db=2 failures=3 pause=2s inflight=10 password_file={e.folder}/password;",
            "pay_redis 127.0.0.1:7000;", "pay_redis [::1]:7000;", f"pay_redis 127.0.0.1 user=edge password_file={e.folder}/password;",
            f"pay_redis 127.0.0.1 [::1]:26380 unix:/s sentinel=pay sentinel_user=s sentinel_password_file={e.folder}/password;"):
    is_(e.test(good.replace(redis, new)), "", new.replace(str(e.folder), ""))
for new, reason in (("pay_keys timeout=1s;", "needs an address"), ("pay_keys 127.0.0.1;", 'no port in "127.0.0.1"'),
                    ("pay_keys unix:/x timeout=0ms;", "timeout=0ms"), ("pay_keys unix:/x parsed=0;", "parsed=0"),
                    ("pay_keys unix:/x misses=x;", "misses=x"), ("pay_keys unix:/x a=b;", 'invalid parameter "a=b"')):
    replaced(f"pay_keys unix:{e.folder}/internal.sock timeout=10s;", new, reason)
is_(e.test(good.replace("internal.sock timeout=10s;", "internal.sock unix:/b 127.0.0.1:9 timeout=100ms stale=5m parsed=10 misses=5;")), "",
    "several addresses")
for new, reason in (("window=0s", "window=0s"), ("window=2h", "window=2h"), ("app=500", "app=500"), ("app=0r/s", "app=0r/s"),
                    ("burst=-1", "burst=-1"), ("fallback=maybe", "fallback=maybe"), ("nonce=599s", "twice"),
                    ("window=400s nonce=600s", "twice"), ("off", 'invalid parameter "off"')):
    replaced("pay_guard window=300s nonce=600s ;", f"pay_guard window=300s {new};", reason)
for new in ("off", "window=10s", "app=off", "app=5r/s burst=0 fallback=closed"):
    is_(e.test(good.replace("pay_guard window=300s nonce=600s ;", f"pay_guard {new};")), "", f"pay_guard {new}")
guard = "pay_guard window=300s nonce=600s ;"
for new, reason in (("app", "number of arguments"), ("app burst=1", 'needs "rate"'), ("app rate=5", "rate=5"), ("app rate=0r/s", "rate=0r/s"),
                    ("app rate=1000001r/s", "rate=1000001r/s"), ("app rate=5r/d", "rate=5r/d"), ("apps rate=5r/s", '"apps" is not app'),
                    ("app rate=5r/s burst=x", "burst=x"), ("app rate=5r/s algorithm=leaky", "algorithm=leaky"),
                    ("app rate=5r/s burst=5 algorithm=sliding", "sliding window does not"), ("app rate=5r/s more=1", "more=1"),
                    ("$a$b rate=5r/s", "invalid name"), ('"$host $uri" rate=5r/s', "invalid name"), ("$host rate=5r/s name=", "invalid name"),
                    ("$host rate=5r/s name=app", 'name "app" is for another kind'), ("app rate=5r/s name=Big", 'invalid name "Big"'),
                    (f"app rate=5r/s name={'x' * 33}", "invalid name")):
    wrong(good.replace(guard, f"{guard} pay_limit {new};"), reason, f"pay_limit {new}", "pay_limit ")
wrong(good.replace(guard, f"{guard} pay_limit app rate=5r/s; pay_limit app rate=6r/s;"), 'limit "app" is another one in', "one name, two limits")
wrong(good.replace(guard, "pay_guard app=5r/s burst=1; pay_limit app rate=5r/s;"), 'limit "app" is another one in', "app= is a limit, too")
wrong(good.replace(guard, f"{guard} pay_limit ip rate=5r/s; pay_limit ip rate=5r/s;"), 'duplicate limit "ip"', "the same limit twice")
wrong(good.replace(guard, guard + "".join(f"pay_limit ip rate=5r/s name=n{n};" for n in range(17))), 'more than 16 limits with "n16"', "17 limits")
wrong(good.replace("location /notify/ {", "location /notify/ { pay_limit ip rate=5r/s;"), '"pay_limit" needs "pay_guard"', "pay_limit without pay_guard")
for new in ("pay_limit app rate=5r/s;", "pay_limit merchant rate=10r/m burst=5; pay_limit merchant rate=100r/h name=hour algorithm=sliding;",
            "pay_limit api rate=1000000r/s burst=1000000;", "pay_limit ip rate=1r/s algorithm=gcra;", "pay_limit $http_x_store rate=1r/s;",
            'pay_limit "$host:$uri" rate=1r/s name=page;'):
    is_(e.test(good.replace(guard, f"{guard} {new}")), "", new)
    is_(e.test(good.replace("upstream pay_orders", f"{new} upstream pay_orders")), "", f"in http: {new}")
for new, reason in (("yes", 'invalid parameter "yes"'), ("on off", 'invalid parameter "off"'), ("signatures=0", "signatures=0"), ("replays=x", "replays=x"),
                    ("serials=1000001", "serials=1000001"), ("paths=-1", "paths=-1"), ("within=0s", "within=0s"), ("within=2d", "within=2d"),
                    ("block=0s", "block=0s"), ("rate=5", "rate=5"), ("except=10.0.0.0/33", "except=10.0.0.0/33"), ("more=1", "more=1")):
    wrong(good.replace("upstream pay_orders", f"pay_attack {new}; upstream pay_orders"), reason, f"pay_attack {new}", "pay_attack ")
for new in ("on", "off", "on signatures=5 block=off", "paths=off rate=1r/s except=10.0.0.0/8 except=::1 within=1d block=1d"):
    is_(e.test(good.replace("upstream pay_orders", f"pay_attack {new}; upstream pay_orders")), "", f"pay_attack {new}")
key = f"pay_platform_key {PLATFORM.serial} {e.folder}/platform.pem ;"
for new, reason in ((f"pay_platform_key X {e.folder}/none;", "none"), (f"pay_platform_key X {e.folder}/empty;", "no private RSA key"),
                    (f"pay_platform_key X {e.folder}/password;", "no private RSA key"),
                    (f"pay_platform_key X {e.folder}/public.pem;", "cannot sign"),
                    (f"pay_platform_key X {e.folder}/platform.pem queue=0;", "queue=0"),
                    (f"pay_platform_key X {e.folder}/platform.pem more=1;", "more=1")):
    replaced(key, new, reason)
for alg in ("ed25519", "ecdsa-p256-sha256"):
    (e.folder / f"{alg}.pem").write_bytes(Pair(alg).private)
    replaced(key, f"pay_platform_key X {e.folder}/{alg}.pem queue=5;", '"queue" is for an RSA key')
    is_(e.test(good.replace(key, f"{key} pay_platform_key X {e.folder}/{alg}.pem;")), "", f"an {alg} key besides")
    is_(e.test(good.replace(key, f"pay_platform_key X {e.folder}/{alg}.pem;")), "", f"an {alg} key alone")
replaced(key, f"{key} pay_platform_key X {e.folder}/platform.pem;", "a second key for rsa-sha256")
replaced(key, f"pay_platform_key X {e.folder}/ed25519.pem; pay_platform_key Y {e.folder}/ed25519.pem;", "a second key for ed25519")
ok("PRIVATE" not in e.log.read_text() if e.log.exists() else True, "no key in the log")
shutil.rmtree(e.folder)

done()
