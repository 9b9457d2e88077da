"""A merchant of WeChat Pay v2, written from the fact sheet: XML by hand, MD5 and HMAC-SHA256."""
import base64
import hashlib
import hmac
import secrets
import xml.etree.ElementTree as tree
from xml.sax.saxutils import escape

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

MCHID, APPID, KEY = "1900000209", "wx7777777777777777", "192006250b4c09247ec02edce69f6a2d"
DISABLED = "1900000210"


def signature(fields, kind="MD5", key=KEY):
    text = "&".join(f"{k}={v}" for k, v in sorted(fields.items()) if k != "sign" and v != "")
    text += f"&key={key}"
    if kind == "MD5":
        return hashlib.md5(text.encode()).hexdigest().upper()
    return hmac.new(key.encode(), text.encode(), hashlib.sha256).hexdigest().upper()


def to_xml(fields):
    return "<xml>" + "".join(f"<{k}>{escape(str(v))}</{k}>" for k, v in fields.items()) + "</xml>"


def from_xml(body):
    try:
        return {e.tag: e.text or "" for e in tree.fromstring(body)}
    except tree.ParseError:
        return {}


def open_req_info(text, key=KEY):
    aes = Cipher(algorithms.AES(hashlib.md5(key.encode()).hexdigest().encode()), modes.ECB()).decryptor()
    plain = aes.update(base64.b64decode(text)) + aes.finalize()
    return from_xml(plain[:-plain[-1]])


def auth_code():
    return "13" + "".join(secrets.choice("0123456789") for _ in range(16))


class Answer:
    def __init__(self, status, body, kind):
        self.status, self.body, self.doc = status, body, from_xml(body)
        self.genuine = self.doc.get("sign") == signature(self.doc, kind)

    def get(self, name):
        return self.doc.get(name)

    def brief(self):
        return self.get("return_code"), self.get("result_code"), self.get("err_code")


OK, REFUSED = ("SUCCESS", "SUCCESS", None), ("FAIL", None, None)


def failed(code):
    return "SUCCESS", "FAIL", code


class WechatV2:
    def __init__(self, bank, kind="MD5"):
        self.bank, self.kind = bank, kind

    def call(self, path, fields, raw=None, timeout=20, method="POST", client=None, **more):
        fields = {"appid": APPID, "mch_id": MCHID, "nonce_str": secrets.token_hex(16), **fields, **more}
        if self.kind != "MD5":
            fields.setdefault("sign_type", self.kind)
        fields = {k: v for k, v in fields.items() if v is not ...}
        fields.setdefault("sign", signature(fields, self.kind))
        status, _, body = self.bank.call(method, path, raw if raw is not None else to_xml(fields).encode(),
                                         {"Content-Type": "text/xml"}, tls=True, timeout=timeout,
                                         client=client)
        return Answer(status, body, self.kind)

    def order(self, no, fee=888, kind="NATIVE", **more):
        extra = {"NATIVE": {"product_id": "P1"}, "JSAPI": {"openid": "o1"}, "APP": {},
                 "MWEB": {"scene_info": '{"h5_info":{}}'}}.get(kind, {})
        return self.call("/pay/unifiedorder", {
            "body": "测试 & <商品>", "out_trade_no": no, "total_fee": fee, "spbill_create_ip": "8.8.8.8",
            "notify_url": "http://127.0.0.1:9/x", "trade_type": kind, **extra}, **more)

    def micropay(self, no, fee=888, code=None, **more):
        return self.call("/pay/micropay", {"body": "Tea", "out_trade_no": no, "total_fee": fee,
                                           "spbill_create_ip": "8.8.8.8", "auth_code": code or auth_code()},
                         **more)

    def query(self, no, **more):
        return self.call("/pay/orderquery", {"out_trade_no": no}, **more)

    def close(self, no):
        return self.call("/pay/closeorder", {"out_trade_no": no})

    def reverse(self, no, **more):
        return self.bank.later(lambda: self.reverse_now(no, **more))

    def reverse_now(self, no, client="merchant", **more):
        return self.call("/secapi/pay/reverse", {"out_trade_no": no}, client=client, **more)

    def refund(self, no, refund_no, fee, total=888, client="merchant", **more):
        return self.call("/secapi/pay/refund", {"out_trade_no": no, "out_refund_no": refund_no,
                                                "total_fee": total, "refund_fee": fee}, client=client, **more)

    def refund_query(self, **which):
        return self.call("/pay/refundquery", which)

    def bill(self, day, kind="ALL", **more):
        return self.call("/pay/downloadbill", {"bill_date": day, "bill_type": kind}, **more)
