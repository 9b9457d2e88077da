#!/usr/bin/python3
"""R1.7, R1.12, R1.13, R1.16: a wrong configuration is refused by nginx -t with file, line, directive and value."""
import os
import re
import shutil
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
from egress import LOCATION, Nginx  # noqa: E402
from tap import done, is_, ok  # noqa: E402

GOOD = {"state": "on", "adapter": "wechat_v3", "endpoint": "http://127.0.0.1:1", "methods": "native jsapi",
        "amount": "1 5000000", "weight": "80", "concurrency": "200",
        "timeout": "connect=2s send=5s read=10s", "fee": "0.60%"}


def block(name="wechat", **changes):
    """A block with one directive a line; `state` stands in line 2, the others below it in their order."""
    directives = {**GOOD, **{k: v for k, v in changes.items() if k != "more"}}
    lines = [f"    {k} {v};" for k, v in directives.items() if v is not None]
    return "\n".join([f"pay_channel {name} {{", *lines, *changes.get("more", ()), "}"]) + "\n"


def test(channels, **options):
    n = Nginx(channels, **options)
    try:
        return n.test()
    finally:
        shutil.rmtree(n.folder)


def accepted(name, channels, **options):
    is_(test(channels, **options), "", name)


def refused(name, channels, line, *words, file="channels.conf", **options):
    said = test(channels, **options)
    place = re.search(rf"{re.escape(file)}:{line}\b" if line else re.escape(file), said)
    missing = [w for w in words if w not in said]
    if not ok(place and not missing, f"refused: {name}"):
        print(f"# wanted {file}:{line} {missing}\n# " + "\n# ".join(said.splitlines()))


accepted("the sample", block())
accepted("all directives", block(state="drain", keepalive="8 timeout=30s", concurrency="10 reserve=30%",
                                 breaker="failures=12 window=60s probe=5s", account="main wx", notify_base="https://x",
                                 query_first="120s", settle="5m", fee="0.60% min=1"))
accepted("only what is needed", block(state=None, amount=None, weight=None, concurrency=None, fee=None))
accepted("several channels", block() + block("alipay") + block("b-2_x"))
accepted("no channel at all", "")
accepted("256 channels", "".join(block(f"c{i}") for i in range(256)))

LINES = {k: i + 2 for i, k in enumerate(GOOD)}
for directive, bad in {
    "state": ["enabled", "ON", '""'],
    "endpoint": ["ftp://x", "127.0.0.1:80", "http://", "http://127.0.0.1:99999", "http://127.0.0.1:1/path",
                 "http://unix:/x", "https://", "http://127.0.0.1:1/"],
    "methods": ["cash", "native native", "native,jsapi"],
    "amount": ["0 10", "10 1", "1 x", "-1 5", "1 200000000000000", "1.5 3"],
    "weight": ["0", "-1", "x", "10001", "1.5"],
    "concurrency": ["0", "x", "10001", "10 reserve=20", "10 reserve=91%", "10 reserve=x%", "10 spare=20%"],
    "timeout": ["connect=0s send=1s read=1s", "connect=1s send=1s read=x", "connect=1s send=1s read=1h",
                "connect=1s send=1s write=1s", "connect=1s connect=1s read=1s", "2s 5s 10s"],
    "fee": ["0.60", "x%", "101%", "0.00001%"],
}.items():
    for value in bad:
        part = value.split()[-1] if directive in ("amount", "timeout", "concurrency") else value
        refused(f"{directive} {value}", block(**{directive: value}), LINES[directive], f'"{directive}"')
    refused(f"{directive} twice", block(more=[f"{directive} {GOOD[directive]};"]), len(GOOD) + 2, f'"{directive}"',
            "duplicate", "wechat")
for value in ("failures=0 window=60s", "window=x", "tries=3"):
    refused(f"breaker {value}", block(breaker=value), len(GOOD) + 2, '"breaker"')
for value in ("x", "8 idle=3s", "8 timeout=x"):
    refused(f"keepalive {value}", block(keepalive=value), len(GOOD) + 2, '"keepalive"')
for value in ("a:1", "a/b", '""'):
    refused(f"tls_name {value}", block(endpoint="https://127.0.0.1:1", tls_name=value), len(GOOD) + 2, '"tls_name"')

for incomplete in ("connect=1s read=1s", "read=1s", "connect=1s send=1s"):
    refused(f"time-outs {incomplete}", block(timeout=incomplete), LINES["timeout"], '"timeout"', "wechat")
for directive in ("adapter", "endpoint", "methods", "timeout"):
    refused(f"no {directive}", block(**{directive: None}), 1, f'"{directive}"', "wechat")
refused("an unknown directive", block(more=["    speed fast;"]), len(GOOD) + 2, '"speed"', "wechat")
refused("a block in the block", block(more=["    account { }"]), len(GOOD) + 2, "{")
refused("no arguments", block(weight=""), LINES["weight"], '"weight"', "wechat")
refused("too many arguments", block(weight="1 2"), LINES["weight"], '"weight"', "wechat")
refused("tls_name without TLS", block(tls_name="x.example"), 1, '"tls_name"', "wechat")
refused("a block without end", block().rstrip("}\n"), None, "unexpected end")
for name in ("Wechat", "-a", "a.b", "x" * 33, '""', "a,b"):
    refused(f"channel name {name}", block(name), 1, "pay_channel")
refused("no name", block(""), 1, "pay_channel")
refused("the same channel twice", block("a") + block("b") + block("a"), 2 * (len(GOOD) + 2) + 1, '"a"', "duplicate",
        "channels.conf:1")
refused("257 channels", "".join(block(f"c{i}") for i in range(257)), None, "too many", "c256")

# the egress's location
def location(name, text, *words, channels=block(), **options):
    said = test(channels, egress=text, **options)
    place = re.search(r"nginx\.conf:\d+", said)
    missing = [w for w in words if w not in said]
    if not ok(place and not missing, f"refused: {name}"):
        print(f"# {missing}\n# " + "\n# ".join(said.splitlines()))


accepted("the sample's location", block(), egress=LOCATION)
location("no proxy_pass", "pay_egress on; proxy_next_upstream off;", "pay_egress", "proxy_pass")
location("proxy_pass elsewhere", "pay_egress on; proxy_next_upstream off; proxy_pass http://127.0.0.1:1;", "pay_egress",
         "$pay_egress_url")
location("next upstream not off", "pay_egress on; proxy_pass $pay_egress_url;", "proxy_next_upstream off")
location("next upstream set", "pay_egress on; proxy_pass $pay_egress_url; proxy_next_upstream error;",
         "proxy_next_upstream off")
location("proxy_intercept_errors", LOCATION + "proxy_intercept_errors on;", "proxy_intercept_errors")
location("proxy_store", LOCATION + "proxy_store on;", "proxy_store")
location("proxy_cache", LOCATION + "proxy_cache c;", "proxy_cache",
         http="proxy_cache_path /tmp/ngx_pay-t.cache keys_zone=c:1m;")
location("no headers", LOCATION + "proxy_pass_request_headers off;", "proxy_pass_request_headers")
location("no body", LOCATION + "proxy_pass_request_body off;", "proxy_pass_request_body")
location("a nested location without proxy_pass", LOCATION + "location /x { }", "pay_egress", "proxy_pass")
location("pay_egress maybe", "pay_egress maybe;", '"maybe"')
location("pay_egress twice", LOCATION + "pay_egress on;", "pay_egress", "duplicate")
location("no TLS verification", LOCATION, "proxy_ssl_verify on", channels=block(endpoint="https://127.0.0.1:1"))
refused("pay_attempts 127", block(), None, "value must be", file="nginx.conf", http="pay_attempts 127;")
accepted("pay_egress off needs nothing", block(), egress="pay_egress off; return 204;")
accepted("an if block", block(), egress=LOCATION + "if ($request_method = TRACE) { return 405; }")
accepted("limit_except", block(), egress=LOCATION + "limit_except GET POST { deny all; }")
refused("a name without resolver", "\n" + block("plain") + block(endpoint="http://bank.example"),
        len(GOOD) + 4, '"wechat"', "bank.example", "resolver")
accepted("a name with resolver in http", block(endpoint="http://bank.example"), http="resolver 127.0.0.1;")
accepted("a name with resolver in the location", block(endpoint="http://bank.example"),
         location="resolver 127.0.0.1;")
accepted("a name that cannot be resolved", block(endpoint="http://no.such.name.invalid"), http="resolver 127.0.0.1:1;")

# the rest
refused("pay_route without pay_sign", block(), None, "pay_route", "pay_sign", file="nginx.conf",
        egress="pay_route on; return 204;")
refused("pay_status xml", block(), None, '"xml"', file="nginx.conf", egress="pay_status xml;")
refused("pay_channel in a server", block(), None, "pay_channel", file="nginx.conf", egress="pay_channel x { }")

done()
