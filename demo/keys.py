"""Keys and certificates of a private stack, made on the spot with openssl. Folder 0700, files 0600.

What they are for:
  ca            signs the two TLS certificates below; clients and the egress trust it
  server        TLS of the ingress (ECDSA P-256)
  bank          TLS of the virtual bank, in the names of the channels it plays
  platform      RSA: signs our answers and callbacks
  platform_ed25519, platform_ecdsa   sign answers to requests in those algorithms
  merchant      RSA: the merchant's requests
  merchant_ed25519, merchant_ecdsa   the same in other algorithms
  hmac          the second app's secret
  sorted, md5, rfc9421   secrets of further schemes
  wechat_mch    RSA: our requests to WeChat Pay v3, Alipay and UnionPay
  wechat_plat   RSA: their answers and notifications (the bank holds the private half)
  acp           certificate of wechat_plat's key for UnionPay's answers, under the root acp_root
  master        encrypts the secrets in the database
"""
from __future__ import annotations

import secrets
import string
import subprocess
from pathlib import Path

DAYS = "3650"
ACP_NAME = "00040000:SIGN"  # whom UnionPay's certificate names


def openssl(*args: str) -> str:
    done = subprocess.run(["openssl", *args], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"openssl {' '.join(args)}: {done.stderr}")
    return done.stdout


class Keys:
    """Makes every key once; a folder that has them all, for these names, is used as it is."""

    def __init__(self, folder: Path, bank_names: list[str]):
        self.folder = folder
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        complete, names = folder / "complete", " ".join(["3", *bank_names])  # the number: which keys there are
        if not complete.exists() or complete.read_text() != names:
            self._make(bank_names)
            complete.write_text(names)
            for file in folder.iterdir():
                file.chmod(0o600)
        self.platform_serial = self.serial("platform")
        self.platform = {self.serial(name): name for name in ("platform", "platform_ed25519", "platform_ecdsa")}
        self.wechat_mch_serial = self.serial("wechat_mch")
        self.wechat_plat_serial = self.serial("wechat_plat")
        self.api_v3_key = self.path("api_v3.key").read_text()
        self.bank_json_key = self.path("bank_json.key").read_text()
        self.wechat_v2_key = self.path("wechat_v2.key").read_text()

    def path(self, name: str) -> Path:
        return self.folder / name

    def text(self, name: str) -> str:
        return self.path(name).read_text()

    def serial(self, name: str) -> str:
        """Upper-case hex, as WeChat Pay writes serial numbers."""
        out = openssl("x509", "-in", str(self.path(f"{name}.crt")), "-noout", "-serial")
        return out.strip().removeprefix("serial=")

    def _make(self, bank_names: list[str]) -> None:
        self._certificate("ca", "ec", "/CN=ngx_pay private CA")
        self._certificate("server", "ec", "/CN=localhost", signed=True,
                          names="DNS:localhost,IP:127.0.0.1")
        self._certificate("bank", "ec", "/CN=virtual bank", signed=True,
                          names=",".join(f"DNS:{n}" for n in ["localhost", *bank_names]) + ",IP:127.0.0.1")
        for name in ("platform", "merchant", "wechat_mch", "wechat_plat"):
            self._certificate(name, "rsa", f"/CN=ngx_pay {name}")
        for name in ("merchant", "wechat_mch", "wechat_plat"):
            openssl("pkey", "-in", str(self.path(f"{name}.key")), "-pubout",
                    "-out", str(self.path(f"{name}.pub")))
        self._certificate("acp_root", "ec", "/CN=ngx_pay private UnionPay")
        self._certificate("acp", "", f"/CN=041@Z12@{ACP_NAME}@00000001", signed=True, by="acp_root", key="wechat_plat")
        for name in ("platform_ed25519", "merchant_ed25519", "platform_ecdsa", "merchant_ecdsa"):
            self._certificate(name, name.split("_")[1], f"/CN=ngx_pay {name}")
        for name in ("merchant_ed25519", "merchant_ecdsa"):
            openssl("pkey", "-in", str(self.path(f"{name}.key")), "-pubout", "-out", str(self.path(f"{name}.pub")))
        for name in ("hmac", "sorted", "md5", "rfc9421"):
            self._text(f"{name}.key", random_text(48))
        self._text("api_v3.key", random_text(32))
        self._text("bank_json.key", random_text(40))
        self._text("wechat_v2.key", random_text(32))
        self._text("master.key", secrets.token_hex(32) + "\n")

    def _certificate(self, name: str, kind: str, subject: str, signed: bool = False, names: str = "",
                     by: str = "ca", key: str = "") -> None:
        """key: of that other certificate, instead of a new one."""
        new = {"rsa": ["-newkey", "rsa:2048"], "ed25519": ["-newkey", "ed25519"]}.get(
            kind, ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"])
        new = ["-new", "-key", str(self.path(f"{key}.key"))] if key else [*new, "-keyout", str(self.path(f"{name}.key"))]
        signer = ["-CA", str(self.path(f"{by}.crt")), "-CAkey", str(self.path(f"{by}.key"))] if signed else []
        usage = ["-addext", f"subjectAltName={names}"] if names else []
        openssl("req", "-x509", *new, "-noenc", "-days", DAYS, "-subj", subject, *signer, *usage,
                "-out", str(self.path(f"{name}.crt")))

    def _text(self, name: str, text: str) -> None:
        self.path(name).write_text(text)


def random_text(length: int) -> str:
    return "".join(secrets.choice(string.ascii_letters + string.digits) for _ in range(length))
