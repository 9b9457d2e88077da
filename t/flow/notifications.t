#!/usr/bin/python3
"""R3.4: notifications through the real edge and worker, each member tampered with alone under an otherwise valid signature:
refused or not taken, counted, logged, and the order stays as it is; a flood of forged ones asks the database nothing."""
import base64
import hashlib
import hmac
import http.client
import json
import os
import re
import secrets
import ssl
import sys
import time
import urllib.request

sys.path[:0] = [os.path.join(os.path.dirname(__file__), d) for d in ("../lib", "../docs")]
from cryptography.hazmat.primitives import hashes, serialization  # noqa: E402
from cryptography.hazmat.primitives.asymmetric import padding  # noqa: E402
from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: E402
from docs import table  # noqa: E402
from flow import ROOT, becomes, done, eventually, flow_stack, is_, number, ok  # noqa: E402
import accounts  # noqa: E402
import prometheus  # noqa: E402

FLOOD = 400


class Sender:
    """Signs as the channels do and posts to the edge."""

    def __init__(self, stack):
        self.stack = stack
        self.wechat_key = serialization.load_pem_private_key(stack.keys.path("wechat_plat.key").read_bytes(), None)
        self.context = ssl.create_default_context(cafile=str(stack.keys.path("ca.crt")))
        self.context.check_hostname = False
        self.connection = http.client.HTTPSConnection("127.0.0.1", stack.ingress_port, context=self.context, timeout=60)

    def post(self, path, body, headers):
        self.connection.request("POST", path, body, {"Content-Type": "application/json", **headers})
        answer = self.connection.getresponse()
        answer.read()
        return answer.status

    def wechat(self, paid, path="/notify/wechat/main", at=None, spoil=False, serial=None):
        aad, nonce = b"transaction", secrets.token_hex(6).encode()
        sealed = AESGCM(self.stack.keys.api_v3_key.encode()).encrypt(nonce, json.dumps(paid).encode(), aad)
        body = json.dumps({"id": secrets.token_hex(8), "event_type": "TRANSACTION.SUCCESS", "resource_type": "encrypt-resource",
                           "resource": {"algorithm": "AEAD_AES_256_GCM", "original_type": "transaction", "nonce": nonce.decode(),
                                        "associated_data": aad.decode(), "ciphertext": base64.b64encode(sealed).decode()}})
        stamp, token = str(at or int(time.time())), secrets.token_hex(16)
        signature = self.wechat_key.sign(f"{stamp}\n{token}\n{body}\n".encode(), padding.PKCS1v15(), hashes.SHA256())
        return self.post(path, body + (" " if spoil else ""), {
            "Wechatpay-Timestamp": stamp, "Wechatpay-Nonce": token, "Wechatpay-Signature": base64.b64encode(signature).decode(),
            "Wechatpay-Serial": serial or self.stack.keys.wechat_plat_serial})

    def bank(self, paid, path="/notify/bank/main", at=None, spoil=False, serial=None):
        body = json.dumps({"event": "ORDER_PAID", **paid})
        stamp, token = str(at or int(time.time())), secrets.token_hex(16)
        key = self.stack.keys.bank_json_key if serial is None else "k" * 40
        sign = hmac.new(key.encode(), "\n".join((stamp, token, body)).encode(), hashlib.sha256).hexdigest()
        return self.post(path, body + (" " if spoil else ""), {"Bank-Signature": f"t={stamp},n={token},s={sign}"})


def page(stack, process="order0"):
    with urllib.request.urlopen(f"http://127.0.0.1:{stack.status_port}/metrics/{process}") as answer:
        return prometheus.parse(answer.read().decode())


def ends(stack, channel):
    flat = prometheus.flat(page(stack))
    return {m[1]: int(v) for k, v in flat.items()
            if (m := re.fullmatch(rf'pay_worker_notifications_total{{channel="{channel}",end="(\w+)"}}', k)) and v}


def order(stack, channel):
    made = stack.client("hmac").create_payment(number("N"), 888, channel=channel)
    assert made.status == 201, made.body
    request_no = stack.bank("GET", "/orders")[1]["orders"][-1]["out_trade_no"]
    assert request_no.startswith(made.json["id"])
    return made.json["out_trade_no"], request_no


def money(stack, out_trade_no):
    return stack.sql("select state, amount, currency, channel, account, channel_trade_no, succeeded_at is null from pay.payment"
                     f" where out_trade_no = '{out_trade_no}'")[0]


def tampered(stack, sender, channel, genuine, cases, foreign):
    """Each case alone; then the genuine one."""
    no, request_no = order(stack, channel)
    send, before, was = getattr(sender, channel), money(stack, no), ends(stack, channel)
    want = dict(was)
    for name, change, end in cases + [("the order of another channel", {foreign[0]: foreign[1]}, "unknown_order")]:
        paid = genuine(request_no)
        for key, value in change.items():
            *outer, last = key.split(".")
            inner = paid
            for o in outer:
                inner = inner[o]
            inner[last] = value
        status = send(paid)
        want[end] = want.get(end, 0) + 1
        got = ends(stack, channel)
        ok(status >= 400 and got == want, f"{channel}: {name}: {end}, not acknowledged, counted", status, got, want)
        want = got
    for name, more in (("a spoilt body", {"spoil": True}), ("an old timestamp", {"at": int(time.time()) - 400}),
                       ("a timestamp to come", {"at": int(time.time()) + 400}), ("another's key", {"serial": "00AA"})):
        status = send(genuine(request_no), **more)
        want["refused"] = want.get("refused", 0) + 1
        ok(status >= 400 and ends(stack, channel) == want, f"{channel}: {name}: refused, counted", status, ends(stack, channel))
    is_(money(stack, no), before, f"{channel}: the order is as it was")
    for path in (f"/notify/{channel}/nobody", "/notify/nothing/main"):
        is_(send(genuine(request_no), path=path), 404, f"{channel}: {path} is nobody's")
    is_(send(genuine(request_no)), 200, f"{channel}: the genuine one is acknowledged")
    becomes(stack, no, "succeeded", f"{channel}: and taken")
    is_(send(genuine(request_no)), 200, f"{channel}: a duplicate is acknowledged, too")
    is_(ends(stack, channel).get("taken"), was.get("taken", 0) + 2, f"{channel}: both counted as taken")
    return no, request_no


def wechat_paid(request_no):
    return {"mchid": accounts.WECHAT_MCHID, "appid": accounts.WECHAT_APPID, "out_trade_no": request_no, "transaction_id": "42000001",
            "trade_type": "NATIVE", "trade_state": "SUCCESS", "success_time": "2026-09-01T12:00:03+08:00",
            "payer": {"openid": "o1"}, "amount": {"total": 888, "payer_total": 888, "currency": "CNY", "payer_currency": "CNY"}}


def bank_paid(request_no):
    return {"mch_id": accounts.BANK_MCHID, "order_no": request_no, "bank_no": "B42", "amount": 888, "currency": "CNY",
            "paid_at": "2026-09-01T12:00:03+08:00"}


def flood(stack, sender):
    """Statements that look payments up are counted by PostgreSQL itself."""
    no, request_no = order(stack, "wechat")
    scans = "select idx_scan + seq_scan from pg_stat_user_tables where relname = 'payment'"
    was, asked = ends(stack, "wechat").get("refused", 0), int(stack.sql(scans)[0][0])
    queries = len([r for r in stack.bank("GET", "/orders")[1]["requests"] if r["api"] == "query" and r["out_trade_no"] == request_no])
    for i in range(FLOOD):
        sender.wechat(wechat_paid(request_no), spoil=True)
    is_(ends(stack, "wechat")["refused"], was + FLOOD, f"{FLOOD} forged notifications are counted")
    lines = [line for line in (stack.log / "order0.log").read_text().splitlines() if "notification" in line]
    ok(len(lines) < FLOOD, f"the log has {len(lines)} lines about them and those before")
    # the statistics of a session come late, with one of its next statements
    eventually(lambda: stack.client("hmac").find(no).status == 200 and int(stack.sql(scans)[0][0]) > asked, "look-ups are counted")
    looked = int(stack.sql(scans)[0][0]) - asked
    ok(looked < FLOOD / 4, f"payments were looked up {looked} times meanwhile, not once a message")
    now = len([r for r in stack.bank("GET", "/orders")[1]["requests"] if r["api"] == "query" and r["out_trade_no"] == request_no])
    ok(now - queries < 20, f"and the channel was asked {now - queries} times by the order's own timer")
    is_(money(stack, no)[0], "2", "the order waits")


def documented(stack):
    families = {}
    for process in ("order0", "timer0"):
        eventually(lambda: len(page(stack, process)["pay_worker_certificate_end_seconds"].labels()) == 3, f"{process} has the account")
        families.update(page(stack, process))
    for shared in ("pay_worker_info", "pay_worker_orders"): # docs/events.md
        del families[shared]
    rows = table((ROOT / "docs/metrics.md").read_text(), "metric of a process", "type", "labels")
    is_({r["metric of a process"]: (r["type"], sorted(re.findall(r"\w+", r["labels"]))) for r in rows},
        {f.name: (f.type, f.labels()) for f in families.values()}, "docs/metrics.md has the metrics of the workers")


def main():
    with flow_stack('"notification_refused"', '"notification_not_taken"', '"notifications_not_told"', '"ev":"case"',
                    payd={"query_interval": "60s", "query_max": "60s"},
                    channels={c: {"query_first": "60s"} for c in ("wechat", "bank")}) as stack:
        sender = Sender(stack)
        stack.payctl("account", "set", "wechat", "main", "--secret", f"certificate={stack.keys.path('wechat_mch.crt')}")
        name = 'pay_worker_certificate_end_seconds{channel="wechat",account="main",certificate="certificate"}'
        end = eventually(lambda: prometheus.flat(page(stack)).get(name), "the end of our certificate is a metric")
        ok(end > time.time(), "and lies ahead")
        other = order(stack, "bank")[1]
        nobody = number("P")[:30]
        _, request_no = tampered(stack, sender, "wechat", wechat_paid, [
            ("mchid", {"mchid": "1900000999"}, "refused"), ("appid", {"appid": "wx0000000000000000"}, "refused"),
            ("amount", {"amount.total": 889}, "mismatch"), ("currency", {"amount.currency": "USD"}, "mismatch"),
            ("no amount", {"amount": {}}, "refused"), ("an amount that is a text", {"amount.total": "888"}, "refused"),
            ("an order number of nobody's form", {"out_trade_no": nobody}, "refused")], ("out_trade_no", other))
        tampered(stack, sender, "bank", bank_paid, [
            ("mch_id", {"mch_id": "M10002"}, "refused"), ("amount", {"amount": 887}, "mismatch"),
            ("currency", {"currency": "USD"}, "mismatch"), ("a negative amount", {"amount": -888}, "refused"),
            ("an order number of nobody's form", {"order_no": nobody}, "refused")], ("order_no", request_no))
        unknown = re.sub(r"\d$", lambda m: str((int(m[0]) + 1) % 10), other)
        status = sender.bank(bank_paid(unknown))
        ok(status >= 400, f"an order that does not exist is not acknowledged: {status}")
        flood(stack, sender)
        documented(stack)
        refused = eventually(lambda: [line for line in (stack.log / "order0.log").read_text().splitlines()
                                      if '"notification_refused"' in line], "refusals are logged")
        ok(all('"reason":"' in line and '"lvl":"alert"' in line for line in refused), "as alerts, with the reason")
    done()


main()
