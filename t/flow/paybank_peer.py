"""What the tests of the virtual bank share: the bank under test, the merchant's two clients, a
receiver of notifications.

Everything is signed and checked here with python3-cryptography from the fact sheets, not with code
of the project.
"""
import base64
import hashlib
import hmac
import http.client
import http.server
import ipaddress
import json
import os
import re
import secrets
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
from datetime import datetime, timedelta, timezone
from pathlib import Path
from urllib.parse import quote

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.x509.oid import NameOID

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "t/lib"))
from tap import ok  # noqa: E402

PROGRAM = ROOT / os.environ.get("PAY_BUILD", "build") / "paybank"
CHINA = timezone(timedelta(hours=8))
MCHID, APPID, PLATFORM_SERIAL = "1900000109", "wx8888888888888888", "PUB_KEY_ID_0001"
API_V3_KEY = "0123456789abcdef0123456789ABCDEF"
BANK_MCHID, BANK_KEY = "M10001", "bank-test-key-0123456789abcdef0123"
PATIENCE = 60  # seconds until something that must happen counts as not happening


def wait_for(what, name):
    """Polls until what() is true; returns its value."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        value = what()
        if value:
            ok(True, name)
            return value
        time.sleep(0.01)
    ok(False, name, "waited in vain")
    return what()


# ---- keys ----

def make_key():
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def pem(key):
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                             serialization.NoEncryption())


def public_pem(key):
    return key.public_key().public_bytes(serialization.Encoding.PEM,
                                         serialization.PublicFormat.SubjectPublicKeyInfo)


def make_cert(key, serial, names=(), issuer=None):
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "paybank test")])
    by = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "paybank root")]) if issuer else subject
    now = datetime.utcnow()
    builder = (x509.CertificateBuilder().subject_name(subject).issuer_name(by)
               .public_key(key.public_key()).serial_number(serial)
               .not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=9)))
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
    return builder.sign(issuer or key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


class Keys:
    def __init__(self, folder):
        self.merchant, self.platform, tls = make_key(), make_key(), make_key()
        self.serial = "0A1B2C3D4E5F"
        names = [x509.IPAddress(ipaddress.ip_address("127.0.0.1")), x509.DNSName("localhost")]
        files = {"merchant.crt": make_cert(self.merchant, int(self.serial, 16)), "merchant.key": pem(self.merchant),
                 "stranger.crt": make_cert(self.platform, 99), "stranger.key": pem(self.platform),
                 "platform.key": pem(self.platform), "tls.key": pem(tls),
                 "tls.crt": make_cert(tls, 77, names), "merchant.pub": public_pem(self.merchant)}
        # UnionPay's certificate comes with every message and chains to a root
        self.acp_root = make_key()
        self.acp_serial = 0x1002030405AABBCCDD  # beyond 2^53
        files["acp.crt"] = make_cert(self.platform, self.acp_serial, issuer=self.acp_root)
        for name, content in files.items():
            (folder / name).write_bytes(content)


# ---- the program under test ----

CONF = """
listen 127.0.0.1:0;
listen_tls 127.0.0.1:0 tls.crt tls.key;
ready_file ready; journal books; ca_file tls.crt; log paybank.log; seed 7;
notify_delay 10ms; notify_retry 30ms 30ms 30ms; refund_gap 60s; reverse_after 15s;
wechat {{
    merchant {mchid} {{
        appid {appid} wxsecond0000000001; api_v3_key {api_v3_key}; merchant_cert merchant.crt;
        platform_serial {serial}; platform_key platform.key;
    }}
    merchant 1900000110 {{
        appid {appid}; api_v3_key {api_v3_key}; merchant_cert merchant.crt;
        platform_serial {serial}; platform_key platform.key; disabled on;
    }}
}}
wechat_v2 {{
    merchant 1900000209 {{ appid wx7777777777777777; api_key 192006250b4c09247ec02edce69f6a2d; api_cert merchant.crt; }}
    merchant 1900000210 {{
        appid wx7777777777777777; api_key 192006250b4c09247ec02edce69f6a2d; disabled on;
    }}
}}
alipay {{
    merchant 2014072300007148 {{
        seller_id 2088101106499364; app_public_key merchant.pub; alipay_key platform.key;
    }}
    merchant 2014072300007149 {{
        seller_id 2088101106499364; app_public_key merchant.pub; alipay_key platform.key; disabled on;
    }}
}}
unionpay {{
    merchant 777290058110048 {{
        merchant_cert merchant.crt; unionpay_cert acp.crt; unionpay_key platform.key;
    }}
    merchant 777290058110049 {{
        merchant_cert merchant.crt; unionpay_cert acp.crt; unionpay_key platform.key; disabled on;
    }}
}}
bank_json {{
    merchant {bank_mchid} {{ key {bank_key}; }}
    merchant M10002 {{ key {bank_key}; disabled on; }}
}}
"""


class Bank:
    def __init__(self, folder):
        self.folder, self.process, self.offset_ms = folder, None, 0
        (folder / "paybank.conf").write_text(CONF.format(
            mchid=MCHID, appid=APPID, api_v3_key=API_V3_KEY, serial=PLATFORM_SERIAL,
            bank_mchid=BANK_MCHID, bank_key=BANK_KEY))

    def start(self):
        ready = self.folder / "ready"
        ready.unlink(missing_ok=True)
        self.process = subprocess.Popen([PROGRAM, "-c", self.folder / "paybank.conf"])
        end = time.monotonic() + PATIENCE
        while not ready.exists():
            if self.process.poll() is not None or time.monotonic() > end:
                sys.exit("paybank does not start")
            time.sleep(0.01)
        found = re.fullmatch(r"http=(\d+) tls=(\d+)\n", ready.read_text())
        self.http, self.tls = int(found[1]), int(found[2])

    def end(self, signo):
        self.process.send_signal(signo)
        return self.process.wait(PATIENCE)

    def call(self, method, target, body=None, headers=None, tls=False, timeout=PATIENCE, client=None):
        """(status, headers, body bytes); status 0: cut, None: no answer in time. client: its certificate."""
        if tls:
            context = ssl.create_default_context(cafile=str(self.folder / "tls.crt"))
            if client:
                context.load_cert_chain(self.folder / f"{client}.crt", self.folder / f"{client}.key")
            c = http.client.HTTPSConnection("127.0.0.1", self.tls, timeout=timeout,
                                            context=context)
        else:
            c = http.client.HTTPConnection("127.0.0.1", self.http, timeout=timeout)
        try:
            c.request(method, target, body, headers or {})
            r = c.getresponse()
            return r.status, r.headers, r.read()
        except (socket.timeout, TimeoutError):
            return None, {}, b""
        except (ConnectionError, http.client.HTTPException, ssl.SSLError):
            return 0, {}, b""
        finally:
            c.close()

    def later(self, call, ms=15000):
        """What the call answers while the clock is ahead."""
        self.control("POST", "clock", {"offset_ms": self.offset_ms + ms})
        try:
            return call()
        finally:
            self.control("POST", "clock", {"offset_ms": self.offset_ms - ms})

    def control(self, method, path, document=None):
        if path == "clock":
            self.offset_ms = document["offset_ms"]
        body = None if document is None else json.dumps(document)
        status, _, answer = self.call(method, "/_control/" + path, body)
        return status, json.loads(answer) if answer.startswith(b"{") else answer

    def order(self, number):
        status, books = self.control("GET", f"orders?out_trade_no={quote(number, safe='')}")
        return books["orders"][0] if books["orders"] else None

    def pay(self, code_url):
        return self.control("POST", "pay", {"code_url": code_url})

    def fault(self, fault, **more):
        status, answer = self.control("POST", "faults", {"fault": fault, **more})
        if status != 200:
            ok(False, f"fault {fault} is accepted", status, answer)

    def no_faults(self):
        self.control("DELETE", "faults")


# ---- WeChat Pay's client ----

def rfc3339(seconds_from_now):
    return (datetime.now(CHINA) + timedelta(seconds=seconds_from_now)).isoformat(timespec="seconds")


class Wechat:
    def __init__(self, bank, keys):
        self.bank, self.keys = bank, keys

    def sign(self, method, target, body, mchid=MCHID, serial=None, timestamp=None, nonce=None):
        nonce = nonce or secrets.token_hex(16).upper()
        timestamp = str(int(time.time()) if timestamp is None else timestamp)
        message = f"{method}\n{target}\n{timestamp}\n{nonce}\n{body}\n".encode()
        signature = base64.b64encode(
            self.keys.merchant.sign(message, padding.PKCS1v15(), hashes.SHA256())).decode()
        return (f'WECHATPAY2-SHA256-RSA2048 mchid="{mchid}",nonce_str="{nonce}",'
                f'signature="{signature}",timestamp="{timestamp}",'
                f'serial_no="{serial or self.keys.serial}"')

    def call(self, method, target, body="", headers=None, timeout=PATIENCE, **signing):
        all_headers = {"Accept": "application/json", "User-Agent": "test",
                       "Authorization": self.sign(method, target, body, **signing)}
        if method == "POST":
            all_headers["Content-Type"] = "application/json"
        all_headers.update(headers or {})
        all_headers = {k: v for k, v in all_headers.items() if v is not None}
        status, got, answer = self.bank.call(method, target, body.encode() or None, all_headers,
                                             tls=True, timeout=timeout)
        return Answer(status, got, answer, self)

    def genuine(self, headers, body):
        message = (headers.get("Wechatpay-Timestamp", "") + "\n" +
                   headers.get("Wechatpay-Nonce", "") + "\n").encode() + body + b"\n"
        try:
            self.keys.platform.public_key().verify(
                base64.b64decode(headers.get("Wechatpay-Signature", "")), message,
                padding.PKCS1v15(), hashes.SHA256())
            return headers["Wechatpay-Serial"] == PLATFORM_SERIAL and \
                abs(int(headers["Wechatpay-Timestamp"]) - time.time()) < 60
        except InvalidSignature:
            return False

    def native(self, number, total=888, **more):
        call = {k: more.pop(k) for k in ("timeout", "mchid") if k in more}
        document = {"appid": APPID, "mchid": call.get("mchid", MCHID), "description": "测试",
                    "out_trade_no": number, "notify_url": "http://127.0.0.1:9/x",
                    "amount": {"total": total, "currency": "CNY"}, **more}
        document = {k: v for k, v in document.items() if v is not ...}
        return self.call("POST", "/v3/pay/transactions/native",
                         json.dumps(document, ensure_ascii=False), **call)

    def query(self, number, **more):
        return self.call("GET", "/v3/pay/transactions/out-trade-no/"
                         f"{quote(number, safe='')}?mchid={MCHID}", **more)

    def query_id(self, transaction_id):
        return self.call("GET", f"/v3/pay/transactions/id/{transaction_id}?mchid={MCHID}")

    def close(self, number, **more):
        return self.call("POST", f"/v3/pay/transactions/out-trade-no/{number}/close",
                         json.dumps({"mchid": MCHID}), **more)


class Answer:
    def __init__(self, status, headers, body, client):
        self.status, self.headers, self.body = status, headers, body
        self.genuine = status and client.genuine(headers, body)
        try:
            self.doc = json.loads(body)
        except ValueError:
            self.doc = {}

    def get(self, *path):
        value = self.doc
        for key in path:
            value = value.get(key, {})
        return value

    def brief(self):
        return self.status, self.get("code") if self.status else ""


# ---- bank_json's client ----

class BankJson:
    def __init__(self, bank):
        self.bank = bank

    def seal(self, *texts, key=BANK_KEY, t=None, n=None):
        t, n = str(int(time.time()) if t is None else t), n or secrets.token_hex(16)
        mac = hmac.new(key.encode(), "\n".join([t, n, *texts]).encode(), hashlib.sha256)
        return f"t={t},n={n},s={mac.hexdigest()}"

    def call(self, method, target, body="", headers=None, timeout=PATIENCE, **signing):
        all_headers = {"Bank-Signature": self.seal(method, target, body, **signing)}
        if body:
            all_headers["Content-Type"] = "application/json"
        all_headers.update(headers or {})
        all_headers = {k: v for k, v in all_headers.items() if v is not None}
        status, got, answer = self.bank.call(method, target, body.encode() or None, all_headers,
                                             timeout=timeout)
        return Answer(status, got, answer, self)

    def genuine(self, headers, body):
        found = re.fullmatch(r"t=(\d+),n=([0-9A-Za-z]{16,64}),s=([0-9a-f]{64})",
                             headers.get("Bank-Signature", ""))
        if not found:
            return False
        mac = hmac.new(BANK_KEY.encode(), f"{found[1]}\n{found[2]}\n".encode() + body,
                       hashlib.sha256)
        return mac.hexdigest() == found[3] and abs(int(found[1]) - time.time()) < 60

    def native(self, number, amount=888, **more):
        signing = {k: more.pop(k) for k in ("key", "t", "n", "headers", "timeout") if k in more}
        document = {"mch_id": BANK_MCHID, "order_no": number, "amount": amount, "currency": "CNY",
                    "subject": "测试", "notify_url": "http://127.0.0.1:9/x",
                    "expire_at": rfc3339(3600), **more}
        document = {k: v for k, v in document.items() if v is not ...}
        return self.call("POST", "/bank/v1/orders", json.dumps(document, ensure_ascii=False),
                         **signing)

    def query(self, number, mchid=BANK_MCHID, **more):
        return self.call("GET", f"/bank/v1/orders/{number}?mch_id={mchid}", **more)

    def close(self, number, **more):
        return self.call("POST", f"/bank/v1/orders/{number}/close",
                         json.dumps({"mch_id": BANK_MCHID}), **more)


# ---- receiver of notifications ----

class Receiver:
    def __init__(self, tls_folder=None):
        receiver = self
        self.got, self.answers, self.lock = [], [], threading.Lock()
        self.default = (200, b'{"code":"OK"}')

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                with receiver.lock:
                    receiver.got.append((self.path, self.headers, body))
                    status, answer = receiver.answers.pop(0) if receiver.answers else \
                        receiver.default
                self.send_response(status)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        scheme = "http"
        if tls_folder:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(tls_folder / "tls.crt", tls_folder / "tls.key")
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
            scheme = "https"
        self.url = f"{scheme}://127.0.0.1:{self.server.server_address[1]}/notify"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def of(self, name):
        with self.lock:
            return [g for g in self.got if g[0] == f"/notify/{name}"]


def decrypt(body):
    resource = json.loads(body)["resource"]
    plain = AESGCM(API_V3_KEY.encode()).decrypt(
        resource["nonce"].encode(), base64.b64decode(resource["ciphertext"]),
        resource["associated_data"].encode())
    return json.loads(plain)


number_count = 0


def number(prefix="T"):
    global number_count
    number_count += 1
    return f"{prefix}20260901{number_count:06d}"


class Stage:
    """All actors in a temporary folder; the bank is stopped whatever happens."""

    def __enter__(self):
        self.temp = tempfile.TemporaryDirectory(prefix="paybank.")
        self.folder = Path(self.temp.name)
        self.keys, self.bank, self.receiver = Keys(self.folder), Bank(self.folder), Receiver()
        self.wechat, self.client = Wechat(self.bank, self.keys), BankJson(self.bank)
        return self

    def __exit__(self, *_):
        process = self.bank.process
        if process and process.poll() is None:
            process.kill()
            process.wait()
        self.temp.cleanup()
