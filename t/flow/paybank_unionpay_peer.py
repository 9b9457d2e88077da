"""A merchant of UnionPay, written from the fact sheet: forms, SHA-256 hex signed with RSA, certificates."""
import base64
import hashlib
import secrets
from datetime import datetime
from urllib.parse import parse_qsl, urlencode

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding

from paybank_peer import CHINA, number

MER_ID, DISABLED = "777290058110048", "777290058110049"


def signed_text(fields):
    text = "&".join(f"{k}={v}" for k, v in sorted(fields.items()) if k != "signature" and v != "")
    return hashlib.sha256(text.encode()).hexdigest().encode()


def split_pairs(text):
    """k=v&k=v, not encoded: the first '=' counts."""
    return dict(pair.split("=", 1) for pair in text.split("&")) if "=" in text else {}


def now():
    return datetime.now(CHINA).strftime("%Y%m%d%H%M%S")


def qr_no():
    return "62" + "".join(secrets.choice("0123456789") for _ in range(17))


def order_id():
    return number("U")


class Answer:
    def __init__(self, status, body, client):
        self.status, self.body = status, body
        self.doc = split_pairs(body.decode("utf-8", "replace"))
        self.genuine = client.genuine(self.doc)

    def get(self, name):
        return self.doc.get(name)

    def brief(self):
        return self.get("respCode"), self.get("origRespCode")


class UnionPay:
    def __init__(self, bank, keys):
        self.bank, self.keys = bank, keys

    def genuine(self, fields):
        """By the certificate that came along, which the root must have signed."""
        try:
            cert = x509.load_pem_x509_certificate(fields["signPubKeyCert"].encode())
            self.keys.acp_root.public_key().verify(cert.signature, cert.tbs_certificate_bytes, padding.PKCS1v15(),
                                                   cert.signature_hash_algorithm)
            cert.public_key().verify(base64.b64decode(fields["signature"]), signed_text(fields), padding.PKCS1v15(),
                                     hashes.SHA256())
            return fields["certId"] == str(cert.serial_number) == str(self.keys.acp_serial)
        except (KeyError, ValueError, InvalidSignature):
            return False

    def call(self, path, fields, timeout=20, tls=True, method="POST", raw=None, **more):
        fields = {"version": "5.1.0", "encoding": "UTF-8", "signMethod": "01", "bizType": "000000", "accessType": "0",
                  "channelType": "08", "merId": MER_ID, "certId": str(int(self.keys.serial, 16)), **fields, **more}
        fields = {k: v for k, v in fields.items() if v is not ...}
        fields.setdefault("signature", base64.b64encode(self.keys.merchant.sign(
            signed_text(fields), padding.PKCS1v15(), hashes.SHA256())).decode())
        status, _, body = self.bank.call(method, path, raw or urlencode(fields),
                                         {"Content-Type": "application/x-www-form-urlencoded"}, tls=tls, timeout=timeout)
        return Answer(status, body, self)

    def back(self, kind, subtype, no, at, amount=888, **more):
        more.setdefault("txnSubType", subtype)
        return self.call("/gateway/api/backTransReq.do", {
            "txnType": kind, "orderId": no, "txnTime": at or now(), "txnAmt": amount,
            "currencyCode": "156", "backUrl": "http://127.0.0.1:9/x", **more})

    def barcode(self, no, at, amount=888, code=None, **more):
        return self.back("01", "06", no, at, amount, **{"qrNo": code or qr_no(), "termId": "49000002", **more})

    def qr(self, no, at, amount=888, **more):
        return self.back("01", "07", no, at, amount, **more)

    def undo(self, no, at, query_id, amount=888, **more):
        return self.back("31", "00", no, at, amount, origQryId=query_id, **more)

    def refund(self, no, at, query_id, amount=888, **more):
        return self.back("04", "00", no, at, amount, origQryId=query_id, **more)

    def reversal(self, no, at, **more):
        return self.back("99", "01", no, at, ..., currencyCode=..., backUrl=..., **more)

    def query(self, no, at, **more):
        return self.call("/gateway/api/queryTrans.do", {"txnType": "00", "txnSubType": "00", "orderId": no, "txnTime": at,
                                                        "channelType": ...}, **more)

    def file(self, day, **more):
        return self.call("/", {"txnType": "76", "txnSubType": "01", "settleDate": day, "fileType": "00",
                               "txnTime": now(), "channelType": ...}, **more)

    def notice(self, body):
        fields = dict(parse_qsl(body.decode()))
        return fields, self.genuine(fields)
