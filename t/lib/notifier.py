"""What the five channels would notify, made and signed with a stack's keys, and posted to the real edge. Written from the
protocol sheets, like the virtual bank and not with its code: whoever wants a genuine message with one member changed takes
genuine(), changes it, and lets send() sign it."""
from __future__ import annotations

import base64
import hashlib
import hmac
import http.client
import json
import secrets
import ssl
import time
from typing import Any
from urllib.parse import urlencode

import accounts
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

# what a channel reads as "do not come again" and as "come again"
TAKEN = {"wechat": '"SUCCESS"', "wechat_v2": "<![CDATA[SUCCESS]]>", "alipay": "success", "unionpay": "ok", "bank": '"OK"'}
REFUSED = {"wechat": '"FAIL"', "wechat_v2": "<![CDATA[FAIL]]>", "alipay": "fail", "unionpay": "fail", "bank": '"FAIL"'}


def pairs(fields: dict, *but: str) -> str:
    return "&".join(f"{k}={v}" for k, v in sorted(fields.items()) if v != "" and k not in but)


def xml(fields: dict) -> str:
    return "<xml>" + "".join(f"<{k}><![CDATA[{v}]]></{k}>" for k, v in fields.items()) + "</xml>"


class Notifier:
    def __init__(self, stack: Any):
        self.stack, self.keys = stack, stack.keys
        self.key = serialization.load_pem_private_key(self.keys.path("wechat_plat.key").read_bytes(), None)
        self.stranger = serialization.load_pem_private_key(self.keys.path("merchant.key").read_bytes(), None)
        self.context = ssl.create_default_context(cafile=str(self.keys.path("ca.crt")))
        self.context.check_hostname = False
        self.connection = http.client.HTTPSConnection("127.0.0.1", stack.ingress_port, context=self.context, timeout=60)

    # ---- what a paid order's message says ----

    def genuine(self, channel: str, request_no: str, amount: int = 888) -> dict:
        yuan = f"{amount // 100}.{amount % 100:02}"
        return {
            "wechat": lambda: {
                "mchid": accounts.WECHAT_MCHID, "appid": accounts.WECHAT_APPID, "out_trade_no": request_no,
                "transaction_id": "42000001", "trade_type": "NATIVE", "trade_state": "SUCCESS",
                "success_time": "2026-09-01T12:00:03+08:00", "payer": {"openid": "o1"},
                "amount": {"total": amount, "payer_total": amount, "currency": "CNY", "payer_currency": "CNY"}},
            "wechat_v2": lambda: {
                "return_code": "SUCCESS", "result_code": "SUCCESS", "appid": accounts.WECHAT_V2_APPID,
                "mch_id": accounts.WECHAT_V2_MCHID, "nonce_str": secrets.token_hex(16), "openid": "o1", "trade_type": "NATIVE",
                "bank_type": "CMC", "total_fee": str(amount), "fee_type": "CNY", "cash_fee": str(amount),
                "transaction_id": "42000002", "out_trade_no": request_no, "time_end": "20260901120003"},
            "alipay": lambda: {
                "notify_time": "2026-09-01 12:00:04", "notify_type": "trade_status_sync", "notify_id": secrets.token_hex(16),
                "charset": "utf-8", "version": "1.0", "sign_type": "RSA2", "app_id": accounts.ALIPAY_APP,
                "auth_app_id": accounts.ALIPAY_APP, "seller_id": accounts.ALIPAY_SELLER, "out_trade_no": request_no,
                "trade_no": "2026090122001400001000000001", "trade_status": "TRADE_SUCCESS", "total_amount": yuan,
                "receipt_amount": yuan, "buyer_id": "2088102116773037", "gmt_create": "2026-09-01 12:00:00",
                "gmt_payment": "2026-09-01 12:00:03"},
            "unionpay": lambda: {
                "version": "5.1.0", "encoding": "UTF-8", "signMethod": "01", "txnType": "01", "txnSubType": "07",
                "bizType": "000000", "accessType": "0", "merId": accounts.UNIONPAY_MERID, "orderId": request_no,
                "txnTime": "20260901120000", "txnAmt": str(amount), "currencyCode": "156", "respCode": "00",
                "respMsg": "成功[0000000]", "queryId": "202609011200000000018", "settleAmt": str(amount),
                "settleCurrencyCode": "156", "settleDate": "0901", "traceNo": "000001", "traceTime": "0901120000"},
            "bank": lambda: {
                "event": "ORDER_PAID", "mch_id": accounts.BANK_MCHID, "order_no": request_no, "bank_no": "B42",
                "amount": amount, "currency": "CNY", "paid_at": "2026-09-01T12:00:03+08:00"},
        }[channel]()

    # ---- signed and sent ----

    def rsa(self, text: str, foreign: bool) -> str:
        key = self.stranger if foreign else self.key
        return base64.b64encode(key.sign(text.encode(), padding.PKCS1v15(), hashes.SHA256())).decode()

    def wechat(self, paid: dict, at: int | None, foreign: bool) -> tuple[str, dict]:
        aad, nonce = b"transaction", secrets.token_hex(6).encode()
        sealed = AESGCM(self.keys.api_v3_key.encode()).encrypt(nonce, json.dumps(paid).encode(), aad)
        body = json.dumps({"id": secrets.token_hex(8), "event_type": "TRANSACTION.SUCCESS", "resource_type": "encrypt-resource",
                           "resource": {"algorithm": "AEAD_AES_256_GCM", "original_type": "transaction", "nonce": nonce.decode(),
                                        "associated_data": aad.decode(), "ciphertext": base64.b64encode(sealed).decode()}})
        stamp, token = str(at or int(time.time())), secrets.token_hex(16)
        return body, {"Content-Type": "application/json", "Wechatpay-Timestamp": stamp, "Wechatpay-Nonce": token,
                      "Wechatpay-Signature": self.rsa(f"{stamp}\n{token}\n{body}\n", foreign),
                      "Wechatpay-Serial": self.keys.wechat_plat_serial}

    def wechat_v2(self, paid: dict, at: int | None, foreign: bool) -> tuple[str, dict]:
        key = "k" * 32 if foreign else self.keys.wechat_v2_key
        text = f"{pairs(paid)}&key={key}"
        sign = hmac.new(key.encode(), text.encode(), hashlib.sha256).hexdigest().upper()
        return xml({**paid, "sign": sign}), {"Content-Type": "text/xml"}

    def alipay(self, paid: dict, at: int | None, foreign: bool) -> tuple[str, dict]:
        sign = self.rsa(pairs(paid, "sign_type"), foreign)
        return urlencode({**paid, "sign": sign}), {"Content-Type": "application/x-www-form-urlencoded; charset=utf-8"}

    def unionpay(self, paid: dict, at: int | None, foreign: bool) -> tuple[str, dict]:
        fields = {**paid, "certId": "1", "signPubKeyCert": self.keys.text("merchant.crt" if foreign else "acp.crt")}
        digest = hashlib.sha256(pairs(fields).encode()).hexdigest()
        return urlencode({**fields, "signature": self.rsa(digest, foreign)}), \
            {"Content-Type": "application/x-www-form-urlencoded"}

    def bank(self, paid: dict, at: int | None, foreign: bool) -> tuple[str, dict]:
        body, key = json.dumps(paid), "k" * 40 if foreign else self.keys.bank_json_key
        stamp, token = str(at or int(time.time())), secrets.token_hex(16)
        sign = hmac.new(key.encode(), "\n".join((stamp, token, body)).encode(), hashlib.sha256).hexdigest()
        return body, {"Content-Type": "application/json", "Bank-Signature": f"t={stamp},n={token},s={sign}"}

    def send(self, channel: str, paid: dict, *, path: str | None = None, at: int | None = None, foreign: bool = False,
             spoil: tuple[str, str] | None = None) -> tuple[int, str]:
        """(status, what we answered). spoil: (old, new) in the finished body; at: another time than now, where one is signed;
        foreign: signed with a key that is not the channel's."""
        body, headers = getattr(self, channel)(paid, at, foreign)
        if spoil:
            assert spoil[0] in body, (spoil, body)
            body = body.replace(spoil[0], spoil[1], 1)
        return self.post(path or f"/notify/{channel}/main", body, headers)

    def post(self, path: str, body: str | bytes, headers: dict) -> tuple[int, str]:
        self.connection.request("POST", path, body.encode() if isinstance(body, str) else body, headers)
        answer = self.connection.getresponse()
        return answer.status, answer.read().decode()
