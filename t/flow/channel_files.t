#!/usr/bin/env python3
"""payctl channel check and try: every mistake of a file at once, with line and column; the bytes of every call
of the shipped adapters; answers understood; no payer's code shown. Nothing runs beside payctl."""
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "t/lib"))
from tap import done, is_, like, ok  # noqa: E402

PAYCTL = ROOT / os.environ.get("PAY_BUILD", "build") / "payctl"
ADAPTERS = ROOT / "lua-free-conf/adapters"
CODE = "130061098828009406"


def unlike(got, text, name):
    ok(text not in got, name, got)


def payctl(*args, stdin=""):
    run = subprocess.run([str(PAYCTL), *map(str, args)], input=stdin, capture_output=True, text=True, timeout=60)
    return run.returncode, run.stdout, run.stderr


def check(folder):
    files = sorted(ADAPTERS.glob("*.conf"))
    status, out, _ = payctl("channel", "check", *files, *sorted((ROOT / "lua-free-conf").glob("channels*/*.conf")))
    is_((status, out), (0, "all good\n"), "the shipped files are good, and no payd.conf is needed")
    broken = (ADAPTERS / "bank_json.conf").read_text()
    edits = [("encoding  json;", "encoding  yaml;"), ("    algorithm  hmac_sha256;", "    algorithm  sha1;"),
             ("map      BAD_REQUEST        failed ", "map      BAD_REQUEST        failled "),
             ("    idempotent  on;", "    idempotnt  on;"), ("limit=32;", "limit=many;"),
             ("state  status;", "state  .status;"), ("event  event ORDER_PAID;", "event;")]
    want = []
    for old, new in edits:
        ok(old in broken, f"the sample has {old.strip()!r}")
        broken = broken.replace(old, new, 1)
    for _, new in edits:
        before = broken[:broken.index(new)]
        want.append(before.count("\n") + 1)
    file = folder / "broken.conf"
    file.write_text(broken)
    status, out, err = payctl("channel", "check", file)
    places = [re.match(rf"{re.escape(str(file))}:(\d+):(\d+): ", line) for line in out.splitlines()]
    ok(all(places), "every mistake has file, line and column")
    is_(status, 1, "exit status 1")
    found = {int(p.group(1)) for p in places}
    is_(sorted(set(want) - found), [], "all mistakes are reported at once")
    like(err, r"^payctl: \d+ mistakes$", "and counted")
    like(out, r':\d+:11: expected json, xml or form, not "yaml"', "the column is that of the word")
    is_(payctl("channel", "check", folder / "none.conf")[0], 1, "a missing file is a mistake")
    file.write_text("pay_channel a { adaptr bank_json; }\npay_channel b { adapter bank_json; methods cash; }\n")
    status, out, _ = payctl("-c", folder / "payd.conf", "channel", "check", file)
    is_((status, out.count("\n")), (1, 4), "files of channels too: " + out.replace("\n", " | "))
    sample = (ROOT / "lua-free-conf/channels-available/wechat_v2.conf").read_text()
    file.write_text(re.sub(r"(?m)^ *tls_certificate.*\n", "", sample))
    status, out, _ = payctl("-c", folder / "payd.conf", "channel", "check", file)
    ok(status == 1 and out.endswith("adapter wechat_v2 needs tls_certificate for reverse\n"),
       "R1.12: a certificate that the channel will want and the block does not have", out)


def prepare(folder):
    blocks = "".join(f"pay_channel {name} {{ adapter {name}; methods {methods}; notify_base https://pay.example/notify; "
                     f"endpoint https://{name}.example; }}\n" for name, methods in METHODS.items())
    (folder / "channels.conf").write_text(blocks)
    conf = (ROOT / "lua-free-conf/payd.conf").read_text()
    conf = re.sub(r"(?m)^channels .*$", f"channels {folder}/channels.conf;", conf)
    (folder / "payd.conf").write_text(re.sub(r"(?m)^adapters .*$", f"adapters {ADAPTERS};", conf))


METHODS = {"wechat_v2": "barcode native jsapi h5 app", "wechat_v3": "barcode native jsapi h5 app",
           "alipay": "barcode native jsapi h5 app", "unionpay": "barcode native h5 app", "bank_json": "barcode native"}


def try_(folder, *args, **kwargs):
    return payctl("-c", folder / "payd.conf", "channel", "try", *args, **kwargs)


def calls(folder):
    for name, methods in METHODS.items():
        for method in methods.split():
            status, out, err = try_(folder, name, f"pay.{method}", f"auth_code={CODE}", "time_expire=2026-12-01T12:00:00+08:00")
            ok(status == 0 and "---" in out, f"{name} pay.{method} {err}")
            unlike(out + err, CODE, "the payer's code is masked")
            unlike(out + err, "INVENTEDinvented", "no secret is shown")
        for kind in "query", "refund":
            status, out, err = try_(folder, name, kind)
            ok(status == 0 and out.startswith("--- sent"), f"{name} {kind} {err}")
    status, _, err = try_(folder, "wechat_v2", "pay.native", "request_no=" + "9" * 33)
    is_((status, err), (1, "payctl: cannot be sent: out_trade_no: value is too long or malformed\n"), "refusals are told")
    status, _, err = try_(folder, "wechat_v2", "pay.native", "colour=red")
    is_((status, err), (1, "payctl: colour=red: no such member\n"), "unknown members too")
    is_(try_(folder, "unionpay", "close")[0], 1, "a call that the channel does not have")


def answers(folder):
    vectors = json.loads((ROOT / "t/vectors/alipay.json").read_text())
    answer = folder / "answer"
    answer.write_text("HTTP/1.1 200 OK\nContent-Type: text/html\n\n" + vectors["alipay_response"]["raw"])
    _, out, _ = try_(folder, "alipay", "pay.barcode", "request_no=T202609010001", "--answer", answer)
    like(out, r"(?m)^class +user_paying: the channel knows it and the payer acts$", "an answer from a file")
    like(out, r"(?m)^signature +not checked, the account is invented$", "with an invented account")
    _, out, _ = try_(folder, "alipay", "pay.barcode", "request_no=OTHER", "--answer", answer)
    like(out, r"(?m)^class +unknown: .*\n(.*\n)*code +mismatch$", "of another order")
    _, out, _ = try_(folder, "alipay", "notification", "--answer", "-", stdin=vectors["alipay_notify"]["wire_body"])
    like(out, r"(?m)^class +success", "a notification from stdin")
    like(out, r"(?m)^amount +888 CNY$", "its amount")
    config, secrets = folder / "config", folder / "secrets"
    config.write_text(json.dumps({"app_id": "2014072300007148", "seller_id": "2088101106499364"}))
    secrets.write_text(json.dumps({"private_key": (ROOT / "t/vectors/merchant.key.pem").read_text(),
                                   "alipay_key": (ROOT / "t/vectors/channel.pub.pem").read_text()}))
    real = ("--config", config, "--secrets", secrets)
    _, out, err = try_(folder, "alipay", "pay.barcode", "request_no=T202609010001", "--answer", answer, *real)
    like(out, r"(?m)^signature +good$", "with a real account the signature counts")
    unlike(out + err, "PRIVATE KEY", "no key is shown")
    answer.write_text(answer.read_text().replace("10003", "10000"))
    _, out, _ = try_(folder, "alipay", "pay.barcode", "request_no=T202609010001", "--answer", answer, *real)
    like(out, r"(?m)^class +unknown: .*\n(.*\n)*code +signature$", "a changed answer is unknown")
    _, out, _ = try_(folder, "bank_json", "query", "--answer", "-", stdin="HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n")
    like(out, r"(?m)^class +unknown", "a 502")


with tempfile.TemporaryDirectory(prefix="channel_files.") as name:
    folder = Path(name)
    prepare(folder)
    check(folder)
    calls(folder)
    answers(folder)
done()
