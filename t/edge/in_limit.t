#!/usr/bin/python3
"""R1.4, R1.5: limits by app, merchant, API, address and any variable, GCRA and sliding window; what is refused is not
counted anywhere and burns no nonce; one round trip; an operator's limit for one app or merchant; the same without Redis.
Rates are per hour, so that nothing is given back while a test runs."""
import os
import re
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
import edge as lib  # noqa: E402
from edge import Key, nonce, wait_until  # noqa: E402
from tap import done, is_, like, ok  # noqa: E402

A, B = Key("APPA000001", app="app1"), Key("APPB000001", app="app2")
OTHER = Key("APPC000001", app="app3", mchid="1900000002")
REAL_IP = "set_real_ip_from unix:; real_ip_header X-Real-IP;"


def edge(*keys, **options):
    """Patient with Redis: a loaded machine must not be judged by the node."""
    return lib.edge(*keys, **{"redis": "timeout=900ms", **options})


def statuses(calls):
    return [c.status for c in calls]


def from_ip(e, key, ip, **more):
    return e.call(key, headers={"X-Real-IP": ip, **more.pop("headers", {})}, **more)


def asked(e):
    """EVALSHA commands and reads of the server so far; asking costs two reads, the last one is the end of the connection."""
    text = e.redis.command("INFO", "everything").decode()
    calls = re.search(r"cmdstat_evalsha:calls=(\d+)", text)
    return int(calls[1]) if calls else 0, int(re.search(r"total_reads_processed:(\d+)", text)[1])


def without_redis(e):
    e.redis.kill()
    wait_until(lambda: "pay: redis:" in e.log.read_text())


def kinds(e, where):
    """The same with and without Redis."""
    is_(statuses(e.call(k) for k in (A, B, A, B)), [200, 200, 200, 429], f"{where}: a merchant's apps share its limit")
    a = e.call(A)
    is_((a.code, a.header("RateLimit"), a.signed_with(A)), ("RATE_LIMITED", f'"merchant";r=0;t={a.header("Retry-After")}', True),
        f"{where}: the answer names the limit")
    is_(a.json["detail"], "merchant", f"{where}: and the problem does")
    ok(0 < int(a.header("Retry-After")) <= 1200, f"{where}: a third of an hour until the next", a.header("Retry-After"))
    is_(statuses(e.call(OTHER) for _ in range(2)), [200] * 2, f"{where}: another merchant is not concerned")


GET = dict(method="GET", target="/v1/payments?out_trade_no=T1000001")


def api(e, where):
    is_(statuses(from_ip(e, A, f"10.0.0.{i}") for i in range(4)), [200, 200, 200, 429], f"{where}: an API's limit")
    is_([from_ip(e, B, "10.0.0.9").status, from_ip(e, OTHER, "10.0.0.10").status], [429] * 2,
        f"{where}: of all merchants together")
    is_(from_ip(e, A, "10.0.0.8", **GET).status, 200, f"{where}: another API")


def ip(e, where):
    is_(statuses(from_ip(e, A, "10.0.0.4", **GET) for _ in range(3)), [200, 200, 429], f"{where}: an address' limit")
    is_(from_ip(e, A, "10.0.0.5", **GET).status, 200, f"{where}: another address")
    v6 = ["2001:db8:1:1::1", "2001:db8:1:1::2", "2001:db8:1:1:ffff::3", "2001:db8:1:2::1"]
    is_(statuses(from_ip(e, A, ip, **GET) for ip in v6), [200, 200, 429, 200], f"{where}: a /64 is one address")
    is_(statuses(e.call(A, **GET) for _ in range(4)), [200] * 4, f"{where}: a unix socket has none")


def variables(e, where):
    def call(**headers):
        return e.call(A, headers={"X-" + k.capitalize(): v for k, v in headers.items()})
    long = "s" * 100
    is_(statuses(call(store="1") for _ in range(3)), [200, 200, 429], f"{where}: a variable")
    is_(statuses(call(store="2") for _ in range(1)), [200], f"{where}: another value")
    is_(statuses(call() for _ in range(4)), [200] * 4, f"{where}: an empty value is not limited")
    is_(statuses(call(store=long + c) for c in "aabab"), [200, 200, 200, 429, 200], f"{where}: a long value counts to its end")
    is_(statuses(call(till=t) for t in "1122"), [200, 429, 200, 429], f"{where}: a text with two variables")
    is_(statuses(call(lane="1") for _ in range(4)), [200, 200, 200, 429], f"{where}: a third, by sliding window")
    is_(call(store="x}y{").status, 200, f"{where}: braces")


CASES = ((kinds, "pay_limit merchant rate=3r/h burst=2;"),
         (api, "pay_limit api rate=3r/h burst=2;"), (ip, "pay_limit ip rate=2r/h burst=1;"),
         (variables, 'pay_limit $http_x_store rate=2r/h burst=1; pay_limit "$pay_mchid:${http_x_till}" rate=60r/h name=till;'
                     "pay_limit $http_x_lane rate=3r/h algorithm=sliding;".replace('"$pay_mchid:${http_x_till}"', "$till")))
TILL = 'map $http_x_till $till { "" ""; default "$pay_mchid:$http_x_till"; }'

for case, limits in CASES:
    with edge(A, B, OTHER, location=limits, server=REAL_IP, http=TILL) as e:
        case(e, "redis")
        is_(e.status()["edge"]["fallbacks"], 0, "all by Redis")
    with edge(A, B, OTHER, location=limits, server=REAL_IP, http=TILL) as e:
        without_redis(e)
        case(e, "local")

# ---- what is refused is not counted, also under another hash tag
limits = ("pay_limit app rate=4r/h burst=3; pay_limit ip rate=1r/h; pay_limit $http_x_store rate=100r/h algorithm=sliding;"
          "pay_limit app rate=1000r/h burst=999 name=day;")
with edge(A, B, location=limits, server=REAL_IP) as e:
    a = from_ip(e, A, "10.0.0.1", headers={"X-Store": "s"})
    is_(a.header("RateLimit-Policy"),
        '"ip";q=1;w=3600, "http_x_store";q=100;w=3600, "app";q=4;w=3600, "day";q=1000;w=3600', "all policies")
    like(a.header("RateLimit"), r'^"ip";r=0;t=3600$', "the tightest limit")
    n = nonce()
    for _ in range(3):
        a = from_ip(e, A, "10.0.0.1", headers={"X-Store": "s"}, nonce_str=n)
        is_((a.code, a.json["detail"]), ("RATE_LIMITED", "ip"), "refused by address")
    a = from_ip(e, A, "10.0.0.2", headers={"X-Store": "s"}, nonce_str=n)
    is_((a.status, a.header("RateLimit")[:11]), (200, '"ip";r=0;t='), "its nonce is not burned")
    is_(from_ip(e, A, "10.0.0.3", headers={"X-Store": "s"}, nonce_str=n).code, "NONCE_REPLAYED", "now it is")
    a = from_ip(e, A, "unix:", headers={"X-Store": "s"})
    is_((a.status, a.header("RateLimit")[:12]), (200, '"app";r=1;t='), "refusals and replays did not count for the app")
    a = from_ip(e, A, "10.0.0.3", headers={"X-Store": "s"})
    is_(a.status, 200, "nor the replay for its address")
    keys = e.redis.command("KEYS", b"*s}*")
    window = e.redis.command("GET", keys.split(b"\r\n")[2])
    like(window.decode(), r"\d+ [34] [01]\r\n", "nor for the store's sliding window")
    is_(from_ip(e, A, "10.0.0.4").code, "RATE_LIMITED", "the app's four are used")
    is_(e.status()["edge"]["limited_ip"], 3, "counted: by address")
    is_(e.status()["edge"]["limited_app"], 1, "counted: by app")
    is_(e.status()["edge"]["undone"], 5, "counted: taken back")

    # one round trip
    before = asked(e)
    is_(from_ip(e, B, "10.0.1.1", headers={"X-Store": "s"}).status, 200, "a request with three hash tags")
    after = asked(e)
    is_((after[0] - before[0], after[1] - before[1] - 2), (3, 1), "three scripts, sent together in one write")
    before = asked(e)
    is_(e.call(B).status, 200, "a request with one")
    after = asked(e)
    is_((after[0] - before[0], after[1] - before[1] - 2), (1, 1), "one script for the nonce and both limits of the app")
    e.redis.command("SCRIPT", "FLUSH")
    is_(from_ip(e, B, "10.0.1.2", headers={"X-Store": "s"}).status, 200, "a flushed script under several commands")
    is_(from_ip(e, B, "10.0.1.2", headers={"X-Store": "s"}).code, "RATE_LIMITED", "and was counted once")
    is_(e.status()["edge"]["fallbacks"], 0, "all by Redis")

# ---- what stands in Redis and is no count of this limit counts as none
with edge(A, location="pay_limit app rate=4r/h burst=3;") as e:
    is_(e.call(A).status, 200, "a request leaves its count")
    spoil = "local k = redis.call('KEYS', '*}a????app1') for i = 1, #k do redis.call('SET', k[i], '7 3 0') end return #k"
    is_(e.redis.command("EVAL", spoil, "0"), b":1\r\n", "which is replaced by a sliding window's")
    is_((e.call(A).status, e.status()["edge"]["fallbacks"]), (200, 0), "the next one passes, judged by Redis")

# ---- sliding window
for where in "redis", "local":
    with edge(A, location="pay_limit app rate=5r/h algorithm=sliding;") as e:
        if where == "local":
            without_redis(e)
        answers = [e.call(A) for _ in range(7)]
        is_(statuses(answers), [200] * 5 + [429] * 2, f"{where}: five in an hour")
        is_([a.header("RateLimit").split(";")[1] for a in answers[:5]], [f"r={n}" for n in (4, 3, 2, 1, 0)], f"{where}: what is left")
        # one of five has to leave the window: it ends, and a fifth of the next one
        ok(720 <= int(answers[-1].header("Retry-After")) <= 4320, f"{where}: until a place is free", answers[-1].header("Retry-After"))

with edge(A, location="pay_limit app rate=10r/s algorithm=sliding;") as e:
    counts = {200: 0, 429: 0}
    start = int(e.redis.command("TIME").split(b"\r\n")[2])
    while (now := int(e.redis.command("TIME").split(b"\r\n")[2])) < start + 3:
        counts[e.call(A).status] += 1
    ok(counts[429] and counts[200] <= 45, "about ten a second pass", counts)

# ---- the operator's limits, in the key record
slow = Key("SLOWAPP001", app="slow", rate=2, window=3600, burst=1)
poor = [Key(f"POORAPP00{i}", app=f"poor{i}", mchid="1900000009", merchant_rate=3, merchant_window=3600, merchant_burst=2)
        for i in range(2)]
with edge(A, B, slow, *poor, location="pay_limit app rate=1000r/s burst=1000; pay_limit ip rate=100r/s burst=100;") as e:
    answers = [e.call(slow) for _ in range(3)]
    is_(statuses(answers), [200, 200, 429], "an app's own limit goes before nginx.conf's")
    is_(answers[0].header("RateLimit-Policy"), '"app";q=2;w=3600', "and is told")
    is_(statuses(e.call(k) for k in (*poor, *poor)), [200, 200, 200, 429], "a merchant's limit is there without one in nginx.conf")
    is_(e.call(poor[0]).header("RateLimit-Policy"), '"app";q=1000;w=1, "merchant";q=3;w=3600', "both are told")
    is_(e.call(A).status, 200, "others are not concerned")
    for k in poor:
        e.payd.keys[k.serial].update(merchant_rate=10, merchant_window=1, merchant_burst=10)
        e.payd.changed(k.serial)
    ok(wait_until(lambda: e.call(poor[0]).status == 200), "raised again: acts at once, without an hour's debt")
    is_(statuses(e.call(k) for k in (*poor, *poor)), [200] * 4, "for all its apps")
    is_(statuses(e.call(B) for _ in range(3)), [200] * 3, "nginx.conf's limit")
    e.payd.keys[B.serial].update(rate=1, window=3600)
    e.payd.changed(B.serial)
    ok(wait_until(lambda: e.call(B).status == 429), "lowered: refused within the feed's time")

# ---- inheritance, and a location without
extra = """location /v1/certificates { pay_sign on; pay_guard window=300s; pay_limit ip rate=1r/h; proxy_pass http://pay_orders; }"""
with edge(A, http="pay_limit app rate=2r/h burst=1;", server=REAL_IP + extra) as e:
    is_(statuses(e.call(A) for _ in range(3)), [200, 200, 429], "a limit of http acts in the location")
    a = from_ip(e, A, "10.0.0.1", method="GET", target="/v1/certificates")
    is_((a.status, a.header("RateLimit-Policy")), (200, '"ip";q=1;w=3600'), "a location with limits of its own inherits none")

done()
