#!/usr/bin/python3
"""What the payer's page or app is given (R2.7): jsapi, h5 and app over WeChat Pay v3; the same again for whoever asks
again, until it is paid; and what each method needs."""
import base64
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))
from cryptography.hazmat.primitives import hashes  # noqa: E402
from cryptography.hazmat.primitives.asymmetric import padding  # noqa: E402
from cryptography.hazmat.primitives.serialization import load_pem_public_key  # noqa: E402
from flow import bank_orders, becomes, done, fault, flow_stack, is_, number, ok  # noqa: E402

APPID = "wx8888888888888888"
METHODS = {"jsapi": {"payer_id": "oUpF8uMuAJO_M2pxb1Q9zNjWeS6o"},
           "h5": {"payer_client_ip": "192.0.2.7"},
           "app": {"return_url": "https://shop.example/back"}}


def make(stack, method, no, **more):
    return stack.client().create_payment(no, 888, method=method, channel="wechat", **{**METHODS[method], **more})


def signed_by_us(stack, params, text):
    key = load_pem_public_key(stack.keys.path("wechat_mch.pub").read_bytes())
    key.verify(base64.b64decode(params), text.encode(), padding.PKCS1v15(), hashes.SHA256())
    return True


def paid(stack, no, what):
    order = bank_orders(stack, stack.client().find(no).json["id"])[0]
    is_(stack.bank("POST", "/pay", {"out_trade_no": order["out_trade_no"]})[0], 200, f"{what}: the payer pays")
    becomes(stack, no, "succeeded", f"{what}: paid")
    got = stack.client().find(no).json
    is_([m for m in ("code_url", "h5_url", "pay_params") if m in got], [], f"{what}: nothing left to pay with")


def jsapi(stack):
    no = number("J")
    made = make(stack, "jsapi", no)
    is_((made.status, made.json["state"]), (201, "pending"), "jsapi: prepared")
    p = json.loads(made.json["pay_params"])
    is_((p["appId"], p["signType"], p["package"][:10]), (APPID, "RSA", "prepay_id="), "jsapi: what the page hands to WeChat")
    ok(signed_by_us(stack, p["paySign"], f"{p['appId']}\n{p['timeStamp']}\n{p['nonceStr']}\n{p['package']}\n"),
       "jsapi: with our signature")
    again = json.loads(stack.client().find(no).json["pay_params"])
    ok(again["package"] == p["package"] and again["nonceStr"] != p["nonceStr"], "jsapi: asked again: the same order, signed anew")
    is_(make(stack, "jsapi", no).replayed, True, "jsapi: the same again is the same payment")
    is_(make(stack, "jsapi", no, payer_id="somebody").code, "OUT_TRADE_NO_CONFLICT", "jsapi: for another payer it is not")
    paid(stack, no, "jsapi")


def app(stack):
    no = number("A")
    p = json.loads(make(stack, "app", no).json["pay_params"])
    is_((p["appid"], p["package"]), (APPID, "Sign=WXPay"), "app: what the app hands to WeChat")
    ok(signed_by_us(stack, p["sign"], f"{p['appid']}\n{p['timestamp']}\n{p['noncestr']}\n{p['prepayid']}\n"), "app: with our signature")
    paid(stack, no, "app")


def h5(stack):
    no = number("H")
    fault(stack, "reset_after", "h5", times=1)  # what the first answer said is lost, and asked for again
    make(stack, "h5", no)
    becomes(stack, no, "pending", "h5: prepared again under the same number")
    made = stack.client().find(no).json
    ok(made.get("h5_url", "").startswith("https://"), "h5: an address for the browser", made.get("h5_url"))
    paid(stack, no, "h5")


def needs(stack):
    for method, more, code, pointer in (("jsapi", {"payer_id": None}, "FIELD_MISSING", "/payer_id"),
                                        ("h5", {"payer_client_ip": None}, "FIELD_MISSING", "/payer_client_ip"),
                                        ("h5", {"payer_client_ip": "192.0.2"}, "FIELD_INVALID", "/payer_client_ip"),
                                        ("app", {"payer_id": "x"}, "FIELD_INVALID", "/payer_id")):
        fields = {k: v for k, v in {**METHODS[method], **more}.items() if v is not None}
        answer = stack.client().create_payment(number("N"), 1, method=method, **fields)
        is_((answer.status, answer.code, answer.json["errors"][0]["pointer"]), (400, code, pointer), f"{method}: {more}")


def main():
    with flow_stack(hasty=True, channels={"wechat": {"methods": "native jsapi h5 app"}}) as stack:
        for part in (jsapi, app, h5, needs):
            part(stack)
    done()


main()
