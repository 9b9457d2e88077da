#!/usr/bin/python3
"""R1.7, R1.12, R1.13, R1.16: a wrong configuration is refused by nginx -t with file, line, directive and value."""
import os
import re
import shutil
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
from egress import LOCATION, Nginx, certificates  # noqa: E402
from tap import done, is_, ok  # noqa: E402

GOOD = {"state": "on", "adapter": "wechat_v3", "endpoint": "http://127.0.0.1:1", "methods": "native jsapi",
        "amount": "1 5000000", "weight": "80", "concurrency": "200",
        "timeout": "connect=2s send=5s read=10s", "fee": "0.60%", "wallet": "wechat"}


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
    "wallet": ["cash", "wechat wechat", "wechat,alipay", "WECHAT"],
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
# health and rates: every bound, and what is allowed stands in the error
for directive, bad in {
    "breaker": {"1 to 10000": ["failures=0 window=60s", "failures=10001", "failures=x", "failures=-1", "failures="],
                "1% to 100%": ["errors=0%", "errors=101%", "errors=50", "errors=%", "slow=0%", "slow=x%"],
                "1ms to 300s": ["over=0s", "over=301s", "over=x"], "1 to 100000": ["calls=0", "calls=100001"],
                "1s to 1h": ["window=999ms", "window=2h", "window=x"], "100ms to 1h": ["probe=99ms", "probe=2h", "step=99ms"],
                "1 to 1000": ["probes=0", "probes=1001"],
                "each once": ["tries=3", "failures=3 failures=4", "on", "off failures=3"]},
    "sla": {"1ms to 300s": ["pay=0s", "pay=301s", "query=x"], "1% to 99%": ["pay=1s share=0%", "pay=1s share=100%"],
            "each once": ["charge=1s", "pay=1s pay=2s", "pay=1s share=9% share=8%", "pay"]},
    "rate": {"1/s to 1000000/s": ["pay=0/s", "pay=1000001/s", "pay=10", "pay=10/x", "pay=x/s", "all=/s"],
             "burst=0 to burst=100000": ["pay=1/s burst=x", "pay=1/s burst=100001", "pay=1/s 10"],
             "each in one directive": ["charge=1/s", "1/s"]},
    "bind": {"an IPv4 or IPv6 address": ["bank.example", "300.0.0.1", "127.0.0.1:80"],
             "addresses of one family": ["127.0.0.1 ::1"]},
}.items():
    for allowed, values in bad.items():
        for value in values:
            refused(f"{directive} {value}", block(**{directive: value}), len(GOOD) + 2, f'"{directive}"', allowed)
    good = {"breaker": "off", "sla": "pay=1s query=500ms share=95%", "rate": "pay=10/s burst=0", "bind": "127.0.0.1"}[directive]
    accepted(f"{directive} {good}", block(**{directive: good}))
    refused(f"{directive} twice", block(**{directive: good}, more=[f"{directive} {good};"]), len(GOOD) + 3, f'"{directive}"')
accepted("every parameter of breaker", block(breaker="failures=3 errors=1% slow=100% over=1s calls=1 window=1h probe=100ms "
                                                     "probes=1 step=1h"))
accepted("a rate for each kind", block(more=[f"rate {k}=5/m burst=3;" for k in
                                             ("pay", "query", "close", "reverse", "refund", "other", "all")]))
refused("bind and endpoint of different families", block(bind="::1"), 1, '"bind"', "families", "wechat")
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
keys = Path(tempfile.mkdtemp(prefix="ngx_pay-t."))
PAIR, OTHER = ([str(ca).replace("-ca.pem", end) for end in (".pem", ".key")]
               for ca, _ in (certificates(keys, "client.example") for _ in "ab"))
refused("tls_certificate without TLS", block(tls_certificate=f"{PAIR[0]} {PAIR[1]}"), 1, '"tls_certificate"', "wechat")
for value, why in (("/nowhere.pem /nowhere.key", "cannot be read"), (f"{PAIR[0]} /nowhere.key", "the key"),
                   (f"{PAIR[0]} {OTHER[1]}", "is not the certificate's"), (f"{PAIR[1]} {PAIR[1]}", "the certificate")):
    refused(f"tls_certificate {value}", block(endpoint="https://127.0.0.1:1", tls_certificate=value), len(GOOD) + 2, why)
refused("tls_certificate, but none in the location", block(endpoint="https://127.0.0.1:1", tls_certificate=f"{PAIR[0]} {PAIR[1]}"),
        None, "proxy_ssl_certificate", file="nginx.conf",
        egress=LOCATION + f"proxy_ssl_verify on; proxy_ssl_trusted_certificate {PAIR[0]};")
shutil.rmtree(keys)
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
