#!/usr/bin/python3
"""R1.1, R1.2: keys of every scheme from payctl to a payment and back; rotation without an interruption; disabling a
key, an app or a merchant acts at every edge within 5 s, also right after a bulk load."""
import os
import subprocess
import sys
import threading
import time
from datetime import datetime, timedelta, timezone

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
from flow import SLOW, done, eventually, flow_stack, is_, number, ok  # noqa: E402
from client import SCHEMES, Client  # noqa: E402
from signing import HeaderScheme, Key  # noqa: E402


def payctl(stack, *args):
    done = subprocess.run([str(stack.build / "payctl"), "-c", str(stack.conf / "payd.conf"), *args],
                          capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr


def every_scheme(stack):
    serials = {"header": "SHOPRSA1"}
    for name in SCHEMES:
        client = stack.client(name)
        made = client.create_payment(number("S"), 100, "茶 & Kekse")
        again = client.find(made.json["out_trade_no"])
        ok(made.status == 201 and made.verified and again.json == made.json, f"{name}: created, found, signed", made)
        shared = SCHEMES[name][1] in ("hmac-sha256", "md5")
        is_(made.verified, SCHEMES[name][2] if shared else made.verified, f"{name}: by the app's own secret" if shared
            else f"{name}: by a platform key")
        listed = client.request("GET", "/v1/certificates").json["data"]
        ok(shared or made.verified in [c["serial_no"] for c in listed], f"{name}: which is among the certificates", listed)
    is_([c["algorithm"] for c in listed], ["rsa-sha256", "ed25519", "ecdsa-p256-sha256"], "all certificates are shown")


def refused_keys(stack):
    file, pub = str(stack.folder / "new.key"), str(stack.keys.path("merchant.pub"))
    ed = str(stack.keys.path("merchant_ed25519.pub"))
    for args, why in (
            (("add-md5", "shop_rsa", "--secret-file", file, "--generate"), "--allow-md5"),
            (("add-md5", "shop_rsa", "--secret-file", file, "--generate", "--allow-md5", "--scheme", "header"), "not for"),
            (("add-hmac", "shop_rsa", "--secret-file", file, "--generate", "--scheme", "x"), "not for"),
            (("add-hmac", "shop_rsa", "--secret-file", pub), "not a usable"),
            (("add-ecdsa", "shop_rsa", "--public-key", pub), "not a usable"),
            (("add-ed25519", "shop_rsa", "--public-key", ed, "--scheme", "sorted"), "not for"),
            (("add-rsa", "shop_rsa", "--public-key", ed), "not a usable"),
            (("add-rsa", "shop_rsa", "--public-key", str(stack.keys.path("merchant.key"))), "private key"),
            (("add-rsa", "shop_rsa", "--public-key", pub, "--valid-from", "tomorrow"), "RFC 3339"),
            (("add-rsa", "shop_rsa", "--public-key", pub, "--days", "0"), "--days"),
            (("until", "SHOPRSA1", "soon"), "RFC 3339"), (("until", "NOSUCHKEY", "2030-01-01T00:00:00Z"), "no such key")):
        code, said = payctl(stack, "key", *args)
        ok(code == 1 and why in said, f"payctl key {' '.join(args[:1] + args[4:])}: refused", said)
    for change in ("scheme = 'rfc9421'", "alg = 'hmac-sha256'", "app_id = 'shop_hmac'"):
        try:
            stack.sql(f"update pay.app_key set {change} where serial = 'SHOPRSA1'")
            ok(False, f"{change}: the database refuses it")
        except Exception as e:
            ok("never change" in str(e), f"{change}: the database refuses it", e)
    try:
        stack.sql("insert into pay.app_key (serial, app_id, scheme, alg, material_sealed, valid_to) values "
                  "('MD5X', 'shop_rsa', 'sorted', 'md5', '\\x00', now() + interval '1 day')")
        ok(False, "MD5 without its switch: the database refuses it")
    except Exception as e:
        ok("app_key_md5" in str(e), "MD5 without its switch: the database refuses it", e)


def own(stack, serial, file, alg="hmac-sha256"):
    client = stack.client("hmac")
    client.scheme = HeaderScheme(Key(serial, alg, file), {}, stack.env["PAY_MCHID"])
    return client


def rotation(stack):
    """The next key is added with its beginning before the old one's end; no call fails in between."""
    t = datetime.now(timezone.utc)
    begins, ends = (t + timedelta(seconds=s * SLOW) for s in (2, 4))
    old, new = (str(stack.folder / f"{n}.secret") for n in ("old", "new"))
    for serial, file in (("ROTATE1", old), ("ROTATE2", new)):
        more = ["--valid-from", begins.isoformat()] if file == new else []
        code, said = payctl(stack, "key", "add-hmac", "shop_rsa", "--secret-file", file, "--generate", "--serial", serial, *more)
        is_(code, 0, f"{serial} is added")
    old_client, new_client = own(stack, "ROTATE1", old), own(stack, "ROTATE2", new)
    is_(new_client.find("ROTATION1").code, "KEY_DISABLED", "the next key is not valid yet")
    is_(payctl(stack, "key", "until", "ROTATE1", ends.isoformat())[0], 0, "the old one's end is set")
    seen = []
    while datetime.now(timezone.utc) < ends + timedelta(seconds=0.5):
        active = new_client if datetime.now(timezone.utc) > begins + timedelta(seconds=1) else old_client
        seen.append((active is new_client, active.find("ROTATION1").code))
        time.sleep(0.05)
    is_({code for _, code in seen}, {"ORDER_NOT_FOUND"}, "every call is genuine, first with the old key, then with the new")
    is_({new for new, _ in seen}, {True, False}, "both were used")
    is_((old_client.find("ROTATION1").code, new_client.find("ROTATION1").code), ("KEY_DISABLED", "ORDER_NOT_FOUND"),
        "the old one has ended, the new one goes on")


def disabling(stack):
    client = stack.client("ed25519")
    for what in (("key", "SHOPED25519"), ("app", "shop_rsa"), ("merchant", "M1000001")):
        calls = lambda: {client.find("DISABLED1").code for _ in range(6)}  # noqa: E731  both nginx processes
        is_(payctl(stack, what[0], "disable", what[1])[0], 0, f"{what[0]} disable")
        eventually(lambda: calls() == {"KEY_DISABLED"}, f"{what[0]}: refused everywhere", 5)
        is_(payctl(stack, what[0], "enable", what[1])[0], 0, f"{what[0]} enable")
        eventually(lambda: calls() == {"ORDER_NOT_FOUND"}, f"{what[0]}: serves again", 5)


def bulk_change(stack):
    """More changes at once than the feed can name: the edges forget everything instead, and the feed goes on."""
    client = stack.client("ed25519")
    calls = lambda: {client.find("BULKLOAD1").code for _ in range(6)}  # noqa: E731
    stack.sql("set session_replication_role = replica;"
              " insert into pay.app_key (serial, app_id, scheme, alg, material_sealed, valid_to, changed_at)"
              " select 'BULK' || n, 'shop_rsa', 'header', 'hmac-sha256', '\\x00', now() + interval '1 day', '2020-01-01'"
              " from generate_series(1, 21000) n")
    eventually(lambda: calls() == {"ORDER_NOT_FOUND"}, "the key is known", 5)
    is_(payctl(stack, "app", "disable", "shop_rsa")[0], 0, "an app with 21,000 keys is disabled")
    eventually(lambda: calls() == {"KEY_DISABLED"}, "refused everywhere", 5)
    # this key, changed just before, may have been refused sooner: it is forgotten once more with every look at the feed
    eventually(lambda: any("keys_changed_all" in f.read_text() for f in stack.log.glob("*")), "all keys were forgotten at once", 5)
    is_(payctl(stack, "app", "enable", "shop_rsa")[0], 0, "and enabled")
    eventually(lambda: calls() == {"ORDER_NOT_FOUND"}, "serves again", 5)
    is_(payctl(stack, "key", "disable", "SHOPED25519")[0], 0, "one key is disabled right afterwards")
    eventually(lambda: calls() == {"KEY_DISABLED"}, "refused everywhere, too", 5)


with flow_stack() as stack:
    every_scheme(stack)
    refused_keys(stack)
    rotation(stack)
    disabling(stack)
    bulk_change(stack)

done()
