"""A merchant of Alipay, written from the fact sheet: forms, RSA2 over the raw text of the answer's node."""
import base64
import json
import re
import secrets
from datetime import datetime
from urllib.parse import parse_qsl, urlencode

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding

from paybank_peer import CHINA

APP_ID, DISABLED, SELLER = "2014072300007148", "2014072300007149", "2088101106499364"


def signed_text(fields, but):
    return "&".join(f"{k}={v}" for k, v in sorted(fields.items()) if k not in but and v != "").encode()


def verifies(key, text, sign):
    try:
        key.public_key().verify(base64.b64decode(sign), text, padding.PKCS1v15(), hashes.SHA256())
        return True
    except (InvalidSignature, ValueError):
        return False


def auth_code():
    return "28" + "".join(secrets.choice("0123456789") for _ in range(16))


class Answer:
    def __init__(self, status, body, method, key):
        self.status, self.body, self.genuine, self.doc = status, body, False, {}
        text = body.decode("utf-8", "replace")
        found = re.fullmatch(r'\{"(\w+)":(\{.*\})(?:,"sign":"([^"]*)")?\}', text, re.S)
        if found:
            self.node, raw, sign = found.groups()
            self.doc = json.loads(raw)
            self.signed = sign is not None
            self.genuine = self.signed and verifies(key, raw.encode(), sign)
            self.named = self.node == method.replace(".", "_") + "_response"

    def get(self, name):
        return self.doc.get(name)

    def brief(self):
        return self.get("code"), self.get("sub_code")


OK, WAITS = ("10000", None), ("10003", None)


def failed(code):
    return "40004", "ACQ." + code


class Alipay:
    def __init__(self, bank, keys):
        self.bank, self.keys = bank, keys

    def call(self, method, biz, timeout=20, in_query=False, sign=None, tls=True, **more):
        fields = {"app_id": APP_ID, "method": method, "format": "JSON", "charset": "utf-8", "sign_type": "RSA2",
                  "timestamp": datetime.now(CHINA).strftime("%Y-%m-%d %H:%M:%S"), "version": "1.0",
                  "biz_content": json.dumps({k: v for k, v in biz.items() if v is not ...}, ensure_ascii=False),
                  **more}
        fields = {k: v for k, v in fields.items() if v is not ...}
        fields["sign"] = base64.b64encode(self.keys.merchant.sign(
            signed_text(fields, ["sign"]), padding.PKCS1v15(), hashes.SHA256())).decode() if sign is None else sign
        target, body = "/gateway.do", fields
        if in_query:  # as the SDK does
            body = {"biz_content": fields.pop("biz_content")}
            target += "?" + urlencode(fields)
        status, _, answer = self.bank.call(
            "POST", target, urlencode(body), {"Content-Type": "application/x-www-form-urlencoded;charset=utf-8"},
            tls=tls, timeout=timeout)
        return Answer(status, answer, method, self.keys.platform)

    def trade(self, api, no, amount="8.88", notify_url=..., biz=None, **more):
        return self.call(f"alipay.trade.{api}", {"out_trade_no": no, "total_amount": amount,
                                                 "subject": "测试+&=%/x", **(biz or {})},
                         notify_url=notify_url, **more)

    def precreate(self, no, amount="8.88", **more):
        return self.trade("precreate", no, amount, **more)

    def pay(self, no, amount="8.88", code=None, biz=None, **more):
        return self.trade("pay", no, amount,
                          biz={"scene": "bar_code", "auth_code": code or auth_code(), **(biz or {})}, **more)

    def of(self, api, no, **more):
        return self.call(f"alipay.trade.{api}", {"out_trade_no": no}, **more)

    def query(self, no, **more):
        return self.of("query", no, **more)

    def cancel(self, no, **more):
        return self.of("cancel", no, **more)

    def refund(self, no, amount, number=..., **more):
        return self.call("alipay.trade.refund", {"out_trade_no": no, "refund_amount": amount,
                                                 "out_request_no": number}, **more)

    def refund_query(self, no, number, **more):
        return self.call("alipay.trade.fastpay.refund.query", {"out_trade_no": no, "out_request_no": number}, **more)

    def bill(self, day, kind="trade"):
        return self.call("alipay.data.dataservice.bill.downloadurl.query", {"bill_type": kind, "bill_date": day})

    def notice(self, body):
        """-> (fields, genuine)"""
        fields = dict(parse_qsl(body.decode(), keep_blank_values=True))
        text = signed_text(fields, ["sign", "sign_type"])
        return fields, verifies(self.keys.platform, text, fields.get("sign", ""))
