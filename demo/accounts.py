"""Who takes part in a private stack: a merchant with two apps (RSA and HMAC), our accounts at the
channels, and the same accounts in the books of the virtual bank."""
from __future__ import annotations

import json
from typing import TYPE_CHECKING

from client import SCHEMES
from conf import Conf
from keys import ACP_NAME, Keys

if TYPE_CHECKING:
    from stack import Stack

MCHID = "M1000001"
RSA_APP, HMAC_APP = "shop_rsa", "shop_hmac"
RSA_SERIAL, HMAC_SERIAL = "SHOPRSA1", "SHOPHMAC1"

WECHAT_MCHID, WECHAT_APPID = "1900000109", "wx8888888888888888"
WECHAT_V2_MCHID, WECHAT_V2_APPID = "1900000209", "wx7777777777777777"
ALIPAY_APP, ALIPAY_SELLER = "2014072300007148", "2088101106499364"
UNIONPAY_MERID = "777290058110048"
BANK_MCHID = "M10001"
ACCOUNT = "main"  # the name that lua-free-conf/channels/*.conf use


def configure_paybank(conf: Conf, keys: Keys) -> None:
    """The bank's side of our accounts, with this stack's keys instead of the sample's."""
    wechat = "wechat > merchant"
    conf.set(f"{wechat} > appid", WECHAT_APPID)
    conf.set(f"{wechat} > api_v3_key", keys.api_v3_key)
    conf.set(f"{wechat} > merchant_cert", str(keys.path("wechat_mch.crt")))
    conf.set(f"{wechat} > platform_serial", keys.wechat_plat_serial)
    conf.set(f"{wechat} > platform_key", str(keys.path("wechat_plat.key")))
    conf.set("wechat_v2 > merchant > api_key", keys.wechat_v2_key)
    conf.set("wechat_v2 > merchant > api_cert", str(keys.path("wechat_mch.crt")))
    conf.set("alipay > merchant > app_public_key", str(keys.path("wechat_mch.pub")))
    conf.set("alipay > merchant > alipay_key", str(keys.path("wechat_plat.key")))
    conf.set("unionpay > merchant > merchant_cert", str(keys.path("wechat_mch.crt")))
    conf.set("unionpay > merchant > unionpay_cert", str(keys.path("acp.crt")))
    conf.set("unionpay > merchant > unionpay_key", str(keys.path("wechat_plat.key")))
    conf.set("bank_json > merchant > key", keys.bank_json_key)


def channel_accounts(keys: Keys) -> dict[str, tuple[dict, dict]]:
    """channel -> (plain values, secrets), by the names that its adapter asks for."""
    wechat = {"mchid": WECHAT_MCHID, "appid": WECHAT_APPID, "serial_no": keys.wechat_mch_serial,
              "platform_serial": keys.wechat_plat_serial}
    wechat_secrets = {"private_key": keys.text("wechat_mch.key"), "api_v3_key": keys.api_v3_key,
                      "platform_key": keys.text("wechat_plat.pub")}
    our_key = {"private_key": keys.text("wechat_mch.key")}
    return {"wechat": (wechat, wechat_secrets),
            "bank": ({"mch_id": BANK_MCHID}, {"key": keys.bank_json_key}),
            "wechat_v2": ({"appid": WECHAT_V2_APPID, "mch_id": WECHAT_V2_MCHID}, {"api_key": keys.wechat_v2_key}),
            "alipay": ({"app_id": ALIPAY_APP, "seller_id": ALIPAY_SELLER},
                       {**our_key, "alipay_key": keys.text("wechat_plat.pub")}),
            "unionpay": ({"mer_id": UNIONPAY_MERID, "cert_id": str(int(keys.wechat_mch_serial, 16)), "sign_name": ACP_NAME},
                         {**our_key, "acp_roots": keys.text("acp_root.crt")})}


def add_key(stack: Stack, scheme: str, alg: str, serial: str, file: str) -> None:
    """Keys of the other schemes belong to the first app."""
    name = {"rsa-sha256": "rsa", "hmac-sha256": "hmac", "ecdsa-p256-sha256": "ecdsa", "rsa-pss-sha512": "rsa-pss"}.get(alg, alg)
    path = str(stack.keys.path(file))
    source = ["--secret-file", path] if name in ("hmac", "md5") else ["--public-key", path.removesuffix(".key") + ".pub"]
    more = ["--allow-md5"] if alg == "md5" else ["--scheme", scheme] if name in ("rsa", "hmac", "ed25519") else []
    stack.payctl("key", f"add-{name}", RSA_APP, *source, "--serial", serial, *more)


def register(stack: Stack) -> None:
    """What an operator does once, with payctl."""
    keys, payctl = stack.keys, stack.payctl
    payctl("merchant", "add", MCHID, "Tea House")
    payctl("app", "add", RSA_APP, MCHID, "Shop")
    payctl("app", "add", HMAC_APP, MCHID, "Shop's back office")
    payctl("key", "add-rsa", RSA_APP, "--public-key", str(keys.path("merchant.pub")), "--serial", RSA_SERIAL)
    payctl("key", "add-hmac", HMAC_APP, "--secret-file", str(keys.path("hmac.key")), "--serial", HMAC_SERIAL)
    for scheme, alg, serial, file in set(SCHEMES.values()):
        if serial not in (RSA_SERIAL, HMAC_SERIAL):
            add_key(stack, scheme, alg, serial, file)
    for channel in ["wechat", "bank", *stack.also]:
        config, secrets = channel_accounts(keys)[channel]
        files = {"config": keys.path(f"{channel}.config.json"), "secrets": keys.path(f"{channel}.secrets.json")}
        files["config"].write_text(json.dumps(config))
        files["secrets"].write_text(json.dumps(secrets))
        for file in files.values():
            file.chmod(0o600)
        payctl("account", "add", channel, ACCOUNT, "--config", str(files["config"]),
               "--secrets", str(files["secrets"]))
