#!/usr/bin/python3
"""R3.5: WeChat's platform certificates: fetched, decrypted and believed without a key of the account's, used by every worker,
and replaced while everything runs; forged lists are not believed. With WeChat's public key nothing is fetched."""
import os
import re
import ssl
import subprocess
import sys
import urllib.request

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
import prometheus  # noqa: E402
from flow import becomes, clear_faults, done, eventually, fault, flow_stack, is_, number, ok, pay  # noqa: E402
from keys import openssl  # noqa: E402


def bank_has(stack, key, serial, *certs):
    """The bank signs with that key and tells those certificates."""
    path = stack.conf / "paybank.conf"
    text = re.sub(r"\n *platform_cert .*", "", path.read_text())
    text = re.sub(r"platform_serial +\S+;", f"platform_serial {serial};", text)
    text = re.sub(r"platform_key +\S+;", f"platform_key {key};" + (f"\n        platform_cert {' '.join(certs)};" if certs else ""), text)
    path.write_text(text)
    stack.restart("paybank")


def known(stack):
    return {r[0] for r in stack.sql("select serial from pay.channel_certificate")}


def paid(stack, name):
    """A payment over wechat: its answer and its notification are verified."""
    made = eventually(lambda: (a := stack.client("hmac").create_payment(number("W"), 100, channel="wechat")).status == 201 and a,
                      f"{name}: a payment is made")
    pay(stack, made.json["code_url"])
    becomes(stack, made.json["out_trade_no"], "succeeded", f"{name}: and paid")


def logged(stack, event):
    return [line for line in (stack.log / "timer0.log").read_text().splitlines() if f'"{event}"' in line]


def ends(stack):
    with urllib.request.urlopen(f"http://127.0.0.1:{stack.status_port}/metrics/timer0") as answer:
        flat = prometheus.flat(prometheus.parse(answer.read().decode()))
    return {m.groups(): int(v) for k, v in flat.items()
            if (m := re.fullmatch(r'pay_worker_certificate_end_seconds{channel="(.*)",account="(.*)",certificate="(.*)"}', k))}


def end_of(path):
    text = openssl("x509", "-in", str(path), "-noout", "-enddate").strip().removeprefix("notAfter=")
    return int(ssl.cert_time_to_seconds(text))


def certificate(path, days):
    openssl("req", "-x509", "-newkey", "rsa:2048", "-noenc", "-days", str(days), "-subj", "/CN=watched",
            "-keyout", str(path) + ".key", "-out", str(path))
    return path


def watched(stack):
    """What is in no account: the certificate shown to a channel, ours for merchants, what payd.conf names."""
    short, none = certificate(stack.folder / "short.crt", 5), stack.folder / "none.crt"
    conf = stack.conf / "payd.conf"
    conf.write_text(conf.read_text() + f"\nwatch_certificate ca {short};\nwatch_certificate gone {none};\n")
    stack.restart("timer0")
    want = {("wechat_v2", "", "tls_certificate"): end_of(stack.keys.path("wechat_mch.crt")),
            ("", "", f"platform {stack.keys.platform_serial}"): end_of(stack.keys.path("platform.crt")),
            ("", "", "ca"): end_of(short), ("", "", "gone"): 0}
    eventually(lambda: want.items() <= ends(stack).items(), "each has its end among the metrics, 0 what cannot be read")
    told = eventually(lambda: [line for line in logged(stack, "certificate_ends") if '"certificate":"ca"' in line], "what ends soon is logged")
    ok('"lvl":"warn"' in told[0] and '"days":4' in told[0], "as a warning, with the days that are left", told)
    ok(any('"certificate":"gone"' in line for line in logged(stack, "certificate_unreadable")), "what cannot be read, too")


def main():
    with flow_stack(payd={"timers > certificates": "1s"}, also=["wechat_v2"]) as stack:
        plat, crt = stack.keys.path("wechat_plat.key"), str(stack.keys.path("wechat_plat.crt"))
        serial = stack.keys.wechat_plat_serial
        paid(stack, "with the public key")
        is_((known(stack), logged(stack, "certificates_failed")), (set(), []), "nobody asks for certificates")

        bank_has(stack, plat, serial, crt)
        fault(stack, "bad_signature", "certificates")
        stack.payctl("account", "set", "wechat", "main", "--remove", "platform_serial", "--remove", "platform_key")
        eventually(lambda: any("signature" in line for line in logged(stack, "certificates_failed")), "a list with a wrong signature")
        is_(known(stack), set(), "is not believed")
        is_(stack.client("hmac").create_payment(number("N"), 100, channel="wechat").code, "NO_CHANNEL",
            "an account that could verify no answer makes no payment")
        clear_faults(stack)
        eventually(lambda: known(stack) == {serial}, "the right one is")
        paid(stack, "with the platform's certificate")
        ok("until" in stack.payctl("account", "certificates", "wechat", "main"), "payctl account certificates shows it")

        key, new = str(stack.folder / "next.key"), str(stack.folder / "next.crt")
        openssl("req", "-x509", "-newkey", "rsa:2048", "-noenc", "-days", "30", "-subj", "/CN=next", "-keyout", key, "-out", new)
        other = openssl("x509", "-in", new, "-noout", "-serial").strip().removeprefix("serial=")
        bank_has(stack, plat, serial, crt, new)
        eventually(lambda: known(stack) == {serial, other}, "the bank announces another: fetched")
        bank_has(stack, key, other, crt, new)
        paid(stack, "signed with the new one, no process was restarted")
        started = [len([line for line in (stack.log / f"{n}.log").read_text().splitlines() if '"ready"' in line]) for n in stack.payd_names]
        is_(set(started), {1}, "none was")
        watched(stack)
    done()


main()
