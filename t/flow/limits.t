#!/usr/bin/python3
"""R1.4, R1.18: an operator lowers one merchant's or app's limit, and says where an app may call from; it acts at the edge
without a reload, and others are not touched."""
import json
import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))
from flow import done, eventually, flow_stack, is_, ok  # noqa: E402
from accounts import HMAC_APP, MCHID, RSA_APP  # noqa: E402
from client import Client  # noqa: E402
from signing import HeaderScheme, Key  # noqa: E402

REFUSED = (("merchant", "limit", MCHID, "5"), ("merchant", "limit", MCHID, "0r/s"), ("app", "limit", RSA_APP, "5r/d"),
           ("app", "limit", RSA_APP, "1000001r/s"), ("app", "limit", RSA_APP, "5r/s", "--burst", "-1"), ("app", "limit", "nobody", "5r/s"),
           ("merchant", "limit", "nobody", "off"), ("app", "allow", RSA_APP, "10.0.0.0/33"), ("app", "allow", RSA_APP, "10.0.0.1/8"),
           ("app", "allow", RSA_APP, "10.0.0.1:80"), ("app", "allow", RSA_APP, "any", "10.0.0.0/8"), ("app", "allow", "nobody", "any"),
           ("app", "allow", RSA_APP), ("app", "allow", RSA_APP, *["10.0.0.1"] * 65))


def find(client):
    return client.request("GET", "/v1/payments?out_trade_no=T1000001")


def acts(condition, name):
    """In both processes of nginx: ten new connections in a row meet it."""
    return eventually(lambda: (met := [condition() for _ in range(10)]) and all(met) and met[-1], name)


def main():
    with flow_stack() as stack:
        def told(*words):
            return json.loads(stack.payctl("--json", *words))

        rsa, hmac = stack.client("rsa"), stack.client("hmac")
        stack.payctl("merchant", "add", "M2000001", "Coffee House")
        stack.payctl("app", "add", "coffee", "M2000001")
        secret = stack.folder / "coffee.key"
        stack.payctl("key", "add-hmac", "coffee", "--secret-file", str(secret), "--generate", "--serial", "COFFEE1")
        scheme = HeaderScheme(Key("COFFEE1", "hmac-sha256", secret), {}, "M2000001")
        other = Client(stack.env["PAY_URL"], scheme, ca_file=stack.env["PAY_CA"])
        is_([find(c).status for c in (rsa, hmac, other)], [404] * 3, "before: all are served")

        is_(told("merchant", "limit", MCHID, "3r/h", "--burst", "1"), {"mchid": MCHID, "rate": "3r/h", "burst": 1}, "lower a merchant")
        acts(lambda: find(rsa).status == 429, "its requests are limited")
        refused = acts(lambda: (a := find(hmac)).status == 429 and a, "of all its apps")
        is_((refused.code, bool(refused.verified)), ("RATE_LIMITED", True), "refused and signed")
        ok('"merchant";q=3;w=3600' in refused.headers.get("RateLimit-Policy", ""), "the policy is the operator's")
        is_([find(other).status for _ in range(5)], [404] * 5, "another merchant is not touched")
        is_(told("merchant", "limit", MCHID, "off"), {"mchid": MCHID, "rate": None, "burst": None}, "and let it go")
        acts(lambda: find(rsa).status == 404, "it is served again")

        is_(told("app", "limit", RSA_APP, "1r/m"), {"app_id": RSA_APP, "rate": "1r/m", "burst": 0}, "lower an app")
        acts(lambda: find(rsa).status == 429, "its requests are limited")
        acts(lambda: find(hmac).status == 404, "the merchant's other app is served")
        is_([find(hmac).status for _ in range(10)], [404] * 10, "and not touched")
        stack.payctl("app", "limit", RSA_APP, "off")
        acts(lambda: find(rsa).status == 404, "and served again")

        is_(told("app", "allow", HMAC_APP, "10.0.0.0/8", "2001:db8::1"),
            {"app_id": HMAC_APP, "allow": "10.0.0.0/8 2001:db8::1/128", "elsewhere": "refuse"}, "an app may call from two networks")
        acts(lambda: find(hmac).code == "ADDRESS_NOT_ALLOWED", "we are not there")
        is_(find(rsa).status, 404, "the other app has no list")
        is_(told("app", "allow", HMAC_APP, "10.0.0.0/8", "--alert")["elsewhere"], "alert", "only report it")
        acts(lambda: find(hmac).status == 404, "let through")
        log = (stack.folder / "log/nginx.error.log").read_text()
        ok(re.search(rf"\[error\].*event=address_not_listed app={HMAC_APP} .* source=127.0.0.1 action=refuse", log)
           and re.search(rf"event=address_not_listed app={HMAC_APP} .* action=none", log), "both are reported")
        stack.payctl("app", "allow", HMAC_APP, "127.0.0.0/8")
        shown = next(a for a in told("app", "list") if a["app_id"] == HMAC_APP)
        is_((shown["allow"], shown["rate"]), ("127.0.0.0/8", None), "shown in the list")
        is_(told("app", "allow", HMAC_APP, "any")["allow"], None, "any")
        for words in REFUSED:
            is_(stack.payctl(*words, check=False), "", f"refused: payctl {' '.join(words)[:60]}")
    done()


main()
