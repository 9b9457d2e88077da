#!/usr/bin/python3
"""The virtual bank by itself: this script plays merchant, payer and receiver of notifications.

Everything is signed and checked here with python3-cryptography from the fact sheets, not with code
of the project.
"""
import base64
import hashlib
import hmac
import http.client
import http.server
import json
import os
import re
import secrets
import signal
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
PROGRAM = ROOT / os.environ.get("PAY_BUILD", "build") / "paybank"
CHINA = timezone(timedelta(hours=8))
MCHID, APPID, PLATFORM_SERIAL = "1900000109", "wx8888888888888888", "PUB_KEY_ID_0001"
API_V3_KEY = "0123456789abcdef0123456789ABCDEF"
BANK_MCHID, BANK_KEY = "M10001", "bank-test-key-0123456789abcdef0123"
PATIENCE = 20  # seconds until something that must happen counts as not happening

# ---- TAP ----

done = failed = 0


def ok(condition, name, *hints):
    global done, failed
    done += 1
    if condition:
        print(f"ok {done} - {name}", flush=True)
        return
    failed += 1
    print(f"not ok {done} - {name}", flush=True)
    for hint in hints:
        print(f"#   {hint!r}"[:2000], flush=True)


def same(got, want, name):
    ok(got == want, name, {"got": got}, {"want": want})


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


def make_cert(key, serial, names=()):
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "paybank test")])
    now = datetime.utcnow()
    builder = (x509.CertificateBuilder().subject_name(subject).issuer_name(subject)
               .public_key(key.public_key()).serial_number(serial)
               .not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=9)))
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


class Keys:
    def __init__(self, folder):
        import ipaddress
        self.merchant, self.platform, tls = make_key(), make_key(), make_key()
        self.serial = "0A1B2C3D4E5F"
        names = [x509.IPAddress(ipaddress.ip_address("127.0.0.1")), x509.DNSName("localhost")]
        files = {"merchant.crt": make_cert(self.merchant, int(self.serial, 16)),
                 "platform.key": pem(self.platform), "tls.key": pem(tls),
                 "tls.crt": make_cert(tls, 77, names)}
        for name, content in files.items():
            (folder / name).write_bytes(content)


# ---- the program under test ----

CONF = """
listen 127.0.0.1:0;
listen_tls 127.0.0.1:0 tls.crt tls.key;
ready_file ready; journal books; ca_file tls.crt; log paybank.log; seed 7;
notify_delay 10ms; notify_retry 30ms 30ms 30ms;
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
bank_json {{
    merchant {bank_mchid} {{ key {bank_key}; }}
    merchant M10002 {{ key {bank_key}; disabled on; }}
}}
"""


class Bank:
    def __init__(self, folder):
        self.folder, self.process = folder, None
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

    def call(self, method, target, body=None, headers=None, tls=False, timeout=PATIENCE):
        """(status, headers, body bytes); status 0: cut, None: no answer in time."""
        if tls:
            context = ssl.create_default_context(cafile=str(self.folder / "tls.crt"))
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

    def control(self, method, path, document=None):
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

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                with receiver.lock:
                    receiver.got.append((self.path, self.headers, body))
                    status, answer = receiver.answers.pop(0) if receiver.answers else \
                        (200, b'{"code":"OK"}')
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


# ---- tests ----

def test_command_line(folder):
    run = lambda *a: subprocess.run([PROGRAM, *a], capture_output=True, text=True)
    ok("usage" in run("--help").stdout and run("--help").returncode == 0, "--help")
    ok(run("--version").stdout.startswith("paybank "), "--version")
    ok("notify_delay" in run("--directives").stdout, "--directives")
    same(run("--nonsense").returncode, 2, "an unknown option exits 2")
    good = (folder / "paybank.conf").read_text()
    bad = {
        "an unknown directive": ("seed 7;", "sead 7;", "unknown directive"),
        "a public address": ("listen 127.0.0.1:0;", "listen 0.0.0.0:0;", "127.0.0.0/8"),
        "a host name": ("listen 127.0.0.1:0;", "listen localhost:0;", "127.0.0.0/8"),
        "a missing file": ("merchant_cert merchant.crt;", "merchant_cert none.crt;", "none.crt"),
        "a key file that is none": ("platform_key platform.key;", "platform_key merchant.crt;",
                                    "private key"),
        "a short api_v3_key": (f"api_v3_key {API_V3_KEY};", "api_v3_key short;", "32"),
        "a short shared key": (f"key {BANK_KEY};", "key short;", "32"),
        "a merchant twice": ("merchant M10002", "merchant M10001", "twice"),
        "a time without unit": ("notify_delay 10ms", "notify_delay 10", "not a time"),
    }
    for name, (old, new, reason) in bad.items():
        file = folder / "bad.conf"
        file.write_text(good.replace(old, new))
        r = run("-c", str(file))
        ok(r.returncode == 2 and re.search(r"bad\.conf:\d+: ", r.stderr) and reason in r.stderr,
           f"{name} is refused with file and line", r.returncode, r.stderr)
    same(run("-c", str(folder / "absent.conf")).returncode, 2, "no configuration exits 2")


def test_wechat_life(bank, wechat, receiver):
    no = number()
    first = wechat.native(no, notify_url=receiver.url + "/life", attach="抬头|x")
    same(first.brief()[0], 200, "native answers 200")
    ok(first.genuine, "and signed by the platform")
    ok(first.headers.get("Request-ID"), "with a Request-ID")
    code = first.get("code_url")
    ok(re.fullmatch(r"weixin://wxpay/bizpayurl\?pr=\w+", code), "and a code", code)
    waiting = wechat.query(no)
    same((waiting.status, waiting.get("trade_state"), waiting.get("amount", "total")),
         (200, "NOTPAY", 888), "query: not paid")
    ok(not {"transaction_id", "success_time", "payer"} & set(waiting.doc),
       "nothing of a payment in it", waiting.doc)
    again = wechat.native(no, notify_url=receiver.url + "/life", attach="抬头|x")
    same(again.get("code_url"), code, "the same number and content: the same code")
    other = wechat.native(no, 889, notify_url=receiver.url + "/life", attach="抬头|x")
    same(other.brief(), (403, "OUT_TRADE_NO_USED"), "other amount: used")
    ok(other.genuine, "errors are signed too")
    same(wechat.native(no, notify_url=receiver.url + "/life", attach="抬头").brief(),
         (403, "OUT_TRADE_NO_USED"), "other attach: used")
    same(bank.pay("weixin://wxpay/bizpayurl?pr=000000000")[0], 404, "an unknown code: 404")
    status, paid = bank.pay(code)
    same((status, paid["out_trade_no"], paid["amount"]), (200, no, 888), "the payer pays")
    same(bank.pay(code)[0], 409, "but not twice")
    done = wechat.query(no)
    same((done.get("trade_state"), done.get("transaction_id"), done.get("attach")),
         ("SUCCESS", paid["transaction_id"], "抬头|x"), "query: paid")
    same(len(paid["transaction_id"]), 28, "a transaction number has 28 digits")
    same(wechat.query_id(paid["transaction_id"]).get("out_trade_no"), no, "found by it, too")
    same(wechat.query_id("4200000001202609019999999999").brief(), (404, "ORDER_NOT_EXIST"),
         "not found by another one")
    same(wechat.native(no, notify_url=receiver.url + "/life", attach="抬头|x").brief(),
         (400, "ORDER_PAID"), "native after payment")
    same(wechat.close(no).brief(), (400, "ORDER_PAID"), "close after payment")
    got = wait_for(lambda: receiver.of("life"), "the notification comes")
    wait_for(lambda: bank.order(no)["notified"], "and is taken")
    order = bank.order(no)
    same((order["state"], order["prepares"], order["charges"], order["notify_tries"],
          order["channel"]), ("SUCCESS", 2, 1, 1, "wechat_v3"), "the books")
    check_wechat_notification(wechat, got[0], no, paid)


def check_wechat_notification(wechat, got, no, paid):
    _, headers, body = got
    ok(wechat.genuine(headers, body), "notification: signed by the platform")
    same(headers.get("Wechatpay-Signature-Type"), "WECHATPAY2-SHA256-RSA2048", "its type")
    document = json.loads(body)
    same((document["event_type"], document["resource_type"],
          document["resource"]["algorithm"], document["resource"]["original_type"]),
         ("TRANSACTION.SUCCESS", "encrypt-resource", "AEAD_AES_256_GCM", "transaction"),
         "its frame")
    plain = decrypt(body)
    same((plain["out_trade_no"], plain["transaction_id"], plain["trade_state"], plain["mchid"],
          plain["appid"], plain["amount"]["total"], plain["amount"]["currency"]),
         (no, paid["transaction_id"], "SUCCESS", MCHID, APPID, 888, "CNY"), "its secret part")
    ok(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+08:00", plain["success_time"]), "its time")


def test_wechat_close(bank, wechat):
    no = number()
    code = wechat.native(no).get("code_url")
    closed = wechat.close(no)
    same((closed.status, closed.body), (204, b""), "close: 204 without body")
    ok(closed.genuine, "and signed")
    same(wechat.query(no).get("trade_state"), "CLOSED", "query: closed")
    same(wechat.close(no).brief(), (400, "ORDER_CLOSED"), "close again")
    same(wechat.native(no).brief(), (400, "ORDER_CLOSED"), "native on a closed number")
    same(bank.pay(code)[0], 409, "a closed order cannot be paid")
    same(wechat.close(number()).brief(), (404, "ORDER_NOT_EXIST"), "close of nothing")
    same(wechat.query(number()).brief(), (404, "ORDER_NOT_EXIST"), "query of nothing")
    odd = number("A|b*-_")
    same(wechat.native(odd).status, 200, "a number of all allowed characters")
    same(wechat.query(odd).get("out_trade_no"), odd, "queried with an escaped path")
    no = number()
    code = wechat.native(no, time_expire=rfc3339(2)).get("code_url")
    wait_for(lambda: wechat.query(no).get("trade_state") == "CLOSED", "time_expire closes")
    same(bank.pay(code)[0], 409, "an expired order cannot be paid")


def test_wechat_signature(wechat):
    target = f"/v3/pay/transactions/out-trade-no/{number()}?mchid={MCHID}"
    now = int(time.time())
    get = lambda **more: wechat.call("GET", target, **more).brief()
    fine = wechat.sign("GET", target, "")
    refused = (401, "SIGN_ERROR")
    same(get(), (404, "ORDER_NOT_EXIST"), "a good signature is let in")
    same(get(headers={"Authorization": None}), refused, "no Authorization")
    same(get(headers={"Authorization": fine.replace("RSA2048", "SM2")}), refused, "other schema")
    same(get(headers={"Authorization": fine + ',mchid="1"'}), refused, "a parameter twice")
    same(get(headers={"Authorization": fine.replace("nonce_str", "nonce")}), refused,
         "a parameter unknown")
    same(get(headers={"Authorization": fine.replace(",", ", ")}), (404, "ORDER_NOT_EXIST"),
         "blanks between parameters")
    same(get(headers={"Authorization": fine.replace(",", ", ")}), refused, "a nonce twice")
    same(get(mchid="1900000111"), refused, "mchid unknown")
    same(get(serial="0A1B2C3D4E5E"), refused, "serial_no of another certificate")
    same(get(serial="0a1b2c3d4e5f"), refused, "serial_no in small letters")
    same(get(timestamp=now - 310), refused, "timestamp too old")
    same(get(timestamp=now + 310), refused, "timestamp too new")
    same(get(timestamp=now - 280), (404, "ORDER_NOT_EXIST"), "timestamp just in the window")
    same(get(nonce="x" * 33), refused, "nonce too long")
    other = wechat.sign("GET", target + "&x=1", "")
    same(get(headers={"Authorization": other}), refused, "signed another target")
    other = wechat.sign("GET", target, "x")
    same(get(headers={"Authorization": other}), refused, "signed another body")
    issue = wechat.call("GET", target, headers={"Authorization": other})
    same(issue.get("detail", "issue"), "sign not match", "the reason stands in detail")


def test_wechat_fields(wechat):
    def refused(name, field, *args, **fields):
        a = wechat.native(*(args or (number(),)), **fields)
        ok(a.brief() == (400, "PARAM_ERROR") and a.get("detail", "field") == field and a.genuine,
           f"refused: {name}", a.status, a.doc)

    long_no = "T" * 33
    refused("number too short", "/out_trade_no", "T1234")
    refused("number too long", "/out_trade_no", long_no)
    refused("number with a blank", "/out_trade_no", "T12345 6")
    refused("amount 0", "/amount/total", amount={"total": 0})
    refused("amount as text", "/amount/total", amount={"total": "888"})
    refused("amount with fraction", "/amount/total", amount={"total": 8.5})
    refused("amount absent", "/amount/total", amount={})
    refused("no amount object", "/amount", amount=...)
    refused("other currency", "/amount/currency", amount={"total": 1, "currency": "USD"})
    refused("no description", "/description", description=...)
    refused("description too long", "/description", description="测" * 128)
    refused("character of four bytes", "/description", description="\U0001F600")
    refused("attach too long", "/attach", attach="a" * 129)
    refused("notify_url with a query", "/notify_url", notify_url="https://127.0.0.1/x?y=1")
    refused("notify_url without scheme", "/notify_url", notify_url="127.0.0.1/x")
    refused("notify_url too long", "/notify_url", notify_url="http://127.0.0.1/" + "x" * 240)
    refused("no notify_url", "/notify_url", notify_url=...)
    refused("time_expire past", "/time_expire", time_expire=rfc3339(-5))
    refused("time_expire no time", "/time_expire", time_expire="2026-09-01 12:00:00")
    refused("an unknown member", "/amounts", amounts={})
    refused("an unknown inner member", "/amount/totals", amount={"total": 1, "totals": 1})
    refused("scene_info without address", "/scene_info/payer_client_ip", scene_info={})
    refused("mchid of another", "/mchid", **{"mchid": 1})  # a number is no text
    same(wechat.native(number(), appid="wx0000000000000000").brief(),
         (400, "APPID_MCHID_NOT_MATCH"), "appid of another merchant")
    same(wechat.native(number(), appid="wxsecond0000000001").status, 200, "a second appid")
    same(wechat.native(number(), description="测" * 127).status, 200, "127 Chinese characters")
    same(wechat.native(number(), attach=None, detail=None).status, 200, "null is absent")
    same(wechat.native(number(), mchid="1900000110").brief(), (403, "NO_AUTH"),
         "a disabled merchant")
    post = lambda body, **h: wechat.call("POST", "/v3/pay/transactions/native", body,
                                         headers=h).brief()
    same(post("{"), (400, "PARAM_ERROR"), "body is not JSON")
    same(post('{"mchid":"1","mchid":"2"}'), (400, "PARAM_ERROR"), "a member twice")
    same(post("{}", **{"Content-Type": "text/plain"}), (415, "PARAM_ERROR"), "Content-Type")
    same(post("{}", Accept="text/html"), (400, "PARAM_ERROR"), "Accept")
    same(post("{}", **{"User-Agent": ""}), (400, "PARAM_ERROR"), "no User-Agent")
    same(post("{}", **{"Wechatpay-Serial": "OTHER"}), (400, "PARAM_ERROR"), "Wechatpay-Serial")
    path = f"/v3/pay/transactions/out-trade-no/{number()}"
    get = lambda target: wechat.call("GET", target).brief()
    same(get(path), (400, "PARAM_ERROR"), "query without mchid")
    same(get(path + "?mchid=1900000110"), (400, "PARAM_ERROR"), "query with another mchid")
    same(get(path + f"?mchid={MCHID}&x=1"), (400, "PARAM_ERROR"), "query with more")
    same(get("/v3/pay/transactions/nativ"), (404, "NOT_FOUND"), "no such path")
    same(wechat.call("GET", "/v3/pay/transactions/native").brief(), (404, "NOT_FOUND"),
         "no such method")


def test_wechat_only_tls(bank):
    same(bank.call("GET", f"/v3/pay/transactions/id/1?mchid={MCHID}")[0], 403,
         "WeChat Pay is not spoken without TLS")


def test_bank_json(bank, client, receiver):
    no = number("B")
    a = client.native(no, notify_url=receiver.url + "/bj")
    same((a.status, a.get("code")), (200, "OK"), "bank_json: native")
    ok(a.genuine, "signed")
    ok(re.fullmatch(r"bank://pay\?o=\w+", a.get("qr")), "qr", a.doc)
    same(client.native(no, subject="other", expire_at=rfc3339(99)).get("qr"), a.get("qr"),
         "again: the same qr, only the money counts")
    same(client.native(no, 889).brief(), (409, "ORDER_NO_USED"), "other amount")
    q = client.query(no)
    same(q.doc, {"code": "OK", "status": "WAITING", "order_no": no, "amount": 888,
                 "currency": "CNY"}, "query: waiting")
    status, paid = bank.pay(a.get("qr"))
    same((status, paid.get("amount")), (200, 888), "the payer pays")
    q = client.query(no)
    same((q.get("status"), q.get("bank_no")), ("PAID", paid["transaction_id"]), "query: paid")
    ok(q.get("paid_at") and q.genuine, "with its time")
    same(client.native(no).brief(), (409, "ORDER_PAID"), "native after payment")
    same(client.close(no).brief(), (409, "ORDER_PAID"), "close after payment")
    _, headers, body = wait_for(lambda: receiver.of("bj"), "notification")[0]
    ok(client.genuine(headers, body), "signed")
    document = json.loads(body)
    same(document, {"event": "ORDER_PAID", "mch_id": BANK_MCHID, "order_no": no,
                    "bank_no": paid["transaction_id"], "amount": 888, "currency": "CNY",
                    "paid_at": document.get("paid_at")}, "whole")
    no = number("B")
    client.native(no)
    same(client.close(no).doc, {"code": "OK", "status": "CLOSED"}, "close")
    same(client.close(no).doc, {"code": "OK", "status": "CLOSED"}, "close again: the same")
    same(client.native(no).brief(), (409, "ORDER_CLOSED"), "native on a closed number")
    same(client.query(no).get("status"), "CLOSED", "query: closed")
    same(client.query(number("B")).brief(), (404, "ORDER_NOT_FOUND"), "query of nothing")
    same(client.close(number("B")).brief(), (404, "ORDER_NOT_FOUND"), "close of nothing")
    no = number("B")
    qr = client.native(no).get("qr")
    status, _ = bank.control("POST", "pay", {"code_url": qr, "refuse": True})
    same((status, client.query(no).get("status")), (200, "FAILED"), "the payer's bank refuses")
    same(client.close(no).brief(), (409, "ORDER_CLOSED"), "a failed number is dead")
    same(bank.pay(qr)[0], 409, "for the payer, too")
    no = number("B")
    qr = client.native(no, expire_at=rfc3339(2)).get("qr")
    wait_for(lambda: client.query(no).get("status") == "CLOSED", "expire_at closes")
    same(bank.pay(qr)[0], 409, "an expired order cannot be paid")
    same(client.native(no, expire_at=rfc3339(-9)).brief(), (409, "ORDER_CLOSED"),
         "native on an expired number")


def test_bank_json_refusals(client):
    refused, bad = (401, "BAD_SIGNATURE"), (400, "BAD_REQUEST")
    now = int(time.time())
    same(client.native(number("B"), key="x" * 32).brief(), refused, "bank_json: another key")
    ok(client.native(number("B"), key="x" * 32).genuine, "is answered signed")
    same(client.native(number("B"), t=now - 310).brief(), refused, "t too old")
    same(client.native(number("B"), t=now + 310).brief(), refused, "t too new")
    same(client.native(number("B"), n="short").brief(), refused, "n too short")
    nonce = secrets.token_hex(16)
    same(client.native(number("B"), n=nonce).status, 200, "a nonce once")
    same(client.native(number("B"), n=nonce).brief(), refused, "and never again")
    same(client.native(number("B"), headers={"Bank-Signature": None}).brief(), refused, "none")
    target = f"/bank/v1/orders/{number('B')}?mch_id={BANK_MCHID}"
    seal = client.seal("GET", target, "")
    same(client.call("GET", target, headers={"Bank-Signature": seal.replace(",", ", ")}).brief(),
         refused, "blanks in the header")
    upper = seal[:-64] + seal[-64:].upper()
    same(client.call("GET", target, headers={"Bank-Signature": upper}).brief(), refused,
         "hex in capitals")
    a = client.query(number("B"), mchid="M99999")
    ok(a.brief() == refused and not a.headers.get("Bank-Signature"), "mch_id unknown: unsigned")
    a = client.call("POST", "/bank/v1/orders", "{")
    ok(a.brief() == bad and not a.headers.get("Bank-Signature"), "not JSON: unsigned")
    for name, fields in {
            "amount 0": {"amount": 0}, "amount as text": {"amount": "8"},
            "currency": {"currency": "USD"}, "no subject": {"subject": ...},
            "subject too long": {"subject": "s" * 128}, "notify_url": {"notify_url": "x"},
            "no expire_at": {"expire_at": ...}, "expire_at past": {"expire_at": rfc3339(-5)},
            "unknown member": {"more": 1}}.items():
        a = client.native(number("B"), **fields)
        ok(a.brief() == bad and a.genuine, f"refused: {name}", a.status, a.doc)
    same(client.native("B|123456").brief(), bad, "refused: number with |")
    same(client.native(number("B"), headers={"Content-Type": "text/plain"}).brief(), bad,
         "refused: Content-Type")
    same(client.native(number("B"), mch_id="M10002").brief(), (403, "MERCHANT_DISABLED"),
         "a disabled merchant")
    same(client.call("GET", "/bank/v2/orders").brief(), bad, "no such path")


def test_faults_on_answers(bank, wechat, client):
    def with_fault(fault, **more):
        bank.no_faults()
        bank.fault(fault, times=1, **more)

    no = number()
    with_fault("error_500", api="native")
    same(wechat.native(no).brief(), (500, "SYSTEM_ERROR"), "error_500")
    same(bank.order(no), None, "nothing booked")
    same(wechat.native(no).status, 200, "times=1 is once")
    with_fault("error_503", channel="wechat_v3", api="query")
    same(wechat.query(no).brief(), (503, "SERVICE_UNAVAILABLE"), "error_503")
    with_fault("too_frequent")
    same(wechat.query(no).brief(), (429, "FREQUENCY_LIMITED"), "too_frequent")
    with_fault("not_found", out_trade_no=no)
    same(wechat.query(no).brief(), (404, "ORDER_NOT_EXIST"), "not_found")
    with_fault("error_503")
    same(client.native(number("B")).brief(), (503, "SYSTEM_BUSY"), "error_503 of bank_json")
    with_fault("too_frequent")
    same(client.native(number("B")).brief(), (429, "TOO_FREQUENT"), "too_frequent of bank_json")
    no = number()
    with_fault("timeout_before", out_trade_no=no)
    same(wechat.native(no, timeout=0.4).status, None, "timeout_before: no answer")
    same(bank.order(no), None, "nothing booked")
    with_fault("timeout_after", out_trade_no=no)
    same(wechat.native(no, timeout=0.4).status, None, "timeout_after: no answer")
    same(bank.order(no)["prepares"], 1, "but booked")
    same(bank.pay(bank.order(no)["code_url"])[0], 200, "and the payer may pay it")
    no = number()
    with_fault("reset_before", api="native")
    same(wechat.native(no).status, 0, "reset_before: cut")
    same(bank.order(no), None, "nothing booked")
    with_fault("reset_after", api="native")
    same(wechat.native(no).status, 0, "reset_after: cut")
    same(bank.order(no)["prepares"], 1, "but booked")
    no = number()
    with_fault("garbage")
    a = wechat.native(no)
    ok(a.status == 200 and not a.doc and not a.genuine, "garbage", a.status, a.body)
    ok(bank.order(no), "garbage: booked")
    with_fault("bad_signature", api="query")
    a = wechat.query(no)
    ok(a.status == 200 and a.doc and not a.genuine, "bad_signature", a.status, a.body)
    with_fault("bad_signature", channel="bank_json")
    a = client.native(number("B"))
    ok(a.status == 200 and a.doc and not a.genuine, "bad_signature of bank_json", a.body)
    with_fault("delay", delay_ms=300)
    begin = time.monotonic()
    same(wechat.query(no).status, 200, "delay")
    ok(time.monotonic() - begin >= 0.3, "answers later")
    bank.fault("error_500", out_trade_no="T20260901009999")
    same(wechat.query(no).status, 200, "a fault of another order does not strike")
    bank.no_faults()
    bank.fault("error_500", percent=50)
    hits = sum(wechat.query(no).status == 500 for _ in range(60))
    ok(10 < hits < 50, "percent=50 strikes half of the time", hits)
    listed = bank.control("GET", "faults")[1]["faults"][0]
    same((listed["fault"], listed["percent"], listed["hits"]), ("error_500", 50, hits), "listed")
    same(bank.control("DELETE", "faults")[1], {"faults": []}, "cleared")
    requests = bank.control("GET", f"orders?out_trade_no={no}")[1]["requests"]
    same([(r["api"], r["status"], r["fault"]) for r in requests[:3]],
         [("native", 200, "garbage"), ("query", 200, "bad_signature"), ("query", 200, "delay")],
         "the log of requests")
    for document in ({"fault": "nonsense"}, {"fault": "delay", "api": "natve"}, {"fualt": "delay"},
                     {"fault": "wrong_amount", "api": "query"}, {"fault": "delay", "percent": 101},
                     {"fault": "delay", "channel": "wechat"}):
        same(bank.control("POST", "faults", document)[0], 400, f"refused: {document}")


def test_many_wait(bank, client):
    bank.no_faults()
    bank.fault("delay", delay_ms=1500)
    count, socks = 300, []
    for _ in range(count):
        target = f"/bank/v1/orders/{number('B')}?mch_id={BANK_MCHID}"
        s = socket.create_connection(("127.0.0.1", bank.http))
        s.sendall(f"GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
                  f"Bank-Signature: {client.seal('GET', target, '')}\r\n\r\n".encode())
        socks.append(s)
    begin = time.monotonic()
    same(bank.control("GET", "health"), (200, b"ok"), "health while hundreds wait")
    ok(time.monotonic() - begin < 1, "at once")
    answers = []
    for s in socks:
        s.settimeout(PATIENCE)
        answers.append(s.recv(12))
        s.close()
    same(answers.count(b"HTTP/1.1 404"), count, "all who waited were answered")
    bank.no_faults()


def test_notifications(bank, wechat, client, receiver, folder):
    def paid(name, fault=None, maker=wechat, url=receiver.url, **more):
        bank.no_faults()
        if fault:
            bank.fault(fault, times=1, **more)
        no = number()
        a = maker.native(no, notify_url=f"{url}/{name}")
        bank.pay(a.get("code_url") or a.get("qr"))
        return no

    receiver.answers[:] = [(500, b""), (404, b"{}"), (204, b"")]
    no = paid("retry")
    wait_for(lambda: bank.order(no)["notified"], "sent again until 204")
    got = receiver.of("retry")
    same(len(got), 3, "three times")
    same(len({json.loads(b)["id"] for _, _, b in got}), 1, "always the same id")
    same(len({h["Wechatpay-Nonce"] for _, h, _ in got}), 3, "never the same nonce")
    same(bank.order(no)["notify_tries"], 3, "counted in the books")
    receiver.answers[:] = [(500, b"")] * 4
    no = paid("never")
    wait_for(lambda: bank.order(no)["notify_tries"] == 4, "the schedule has an end")
    same(bank.control("POST", "notify", {"out_trade_no": no})[0], 200, "by hand")
    wait_for(lambda: bank.order(no)["notified"], "it comes again")
    same(bank.control("POST", "notify", {"out_trade_no": "T0000000"})[0], 404, "unknown number")
    unpaid = number()
    wechat.native(unpaid)
    same(bank.control("POST", "notify", {"out_trade_no": unpaid})[0], 409, "not paid")
    receiver.answers[:] = [(200, b'{"code":"FAIL"}'), (204, b"")]
    no = paid("bjretry", maker=client)
    wait_for(lambda: bank.order(no)["notified"], "bank_json: only 200 with OK is taken")
    same(len(receiver.of("bjretry")), 3, "three times")
    no = paid("badsig", "bad_signature", api="notify")
    _, headers, body = wait_for(lambda: receiver.of("badsig"), "bad_signature: it comes")[0]
    ok(not wechat.genuine(headers, body), "and is forged")
    no = paid("badsigbj", "bad_signature", maker=client, api="notify")
    _, headers, body = wait_for(lambda: receiver.of("badsigbj"), "bank_json, too")[0]
    ok(not client.genuine(headers, body), "forged")
    no = paid("wrong", "wrong_amount")
    _, headers, body = wait_for(lambda: receiver.of("wrong"), "wrong_amount: it comes")[0]
    ok(wechat.genuine(headers, body) and decrypt(body)["amount"]["total"] == 889, "one fen more")
    same(wechat.query(no).get("amount", "total"), 888, "query knows better")
    no = paid("twice", "duplicate_notify")
    wait_for(lambda: len(receiver.of("twice")) == 2, "duplicate_notify")
    no = paid("none", "no_notify")
    late = paid("late", "delay", api="notify", delay_ms=400)
    ok(not bank.order(late)["notified"], "delay: a late notification")
    wait_for(lambda: bank.order(late)["notified"], "comes in the end")
    same((receiver.of("none"), bank.order(no)["notify_tries"]), ([], 0), "no_notify")
    secure = Receiver(folder)
    no = paid("tls", url=secure.url)
    wait_for(lambda: bank.order(no)["notified"], "over https, certificate checked")
    no = paid("far", url="http://192.0.2.1")
    time.sleep(0.2)
    same(bank.order(no)["notify_tries"], 0, "nothing leaves this machine")


def test_journal(bank, wechat, client, receiver):
    paid_no, open_no, closed_no, late_no = number(), number(), number(), number()
    wechat.native(paid_no)
    code = wechat.native(paid_no).get("code_url")
    open_code = wechat.native(open_no, time_expire=rfc3339(3600)).get("code_url")
    wechat.native(closed_no)
    wechat.close(closed_no)
    bank.fault("delay", api="notify", delay_ms=60000)
    late = client.native(late_no, notify_url=receiver.url + "/after_crash")
    bank.pay(late.get("qr"))
    _, paid = bank.pay(code)
    names = ("channel", "mchid", "out_trade_no", "amount", "state", "transaction_id", "created_at",
             "paid_at", "prepares", "charges", "code_url")
    books = lambda: [[o[n] for n in names] for o in bank.control("GET", "orders")[1]["orders"]]
    before = books()
    bank.end(signal.SIGKILL)
    with open(bank.folder / "books", "ab") as f:
        f.write(b'{"op":"pay","seq":1,"at"')
    bank.start()
    same(books(), before, "kill -9: the books are the same, a torn line is dropped")
    same(wechat.query(paid_no).get("transaction_id"), paid["transaction_id"], "paid stays paid")
    same(bank.pay(code)[0], 409, "and cannot be paid again")
    same(wechat.native(closed_no).brief(), (400, "ORDER_CLOSED"), "closed stays closed")
    same(bank.pay(open_code)[0], 200, "an open code still works")
    wait_for(lambda: receiver.of("after_crash"), "what was not yet notified is")
    same(bank.end(signal.SIGTERM), 0, "SIGTERM: exit 0")
    bank.start()
    same(bank.order(open_no)["state"], "SUCCESS", "written behind the dropped line")
    other = subprocess.run([PROGRAM, "-c", bank.folder / "paybank.conf"], capture_output=True,
                           text=True)
    ok(other.returncode == 2 and "in use" in other.stderr, "one process per journal",
       other.stderr)
    bank.end(signal.SIGTERM)
    books_file = bank.folder / "books"
    good = books_file.read_bytes()
    books_file.write_bytes(good + b'{"op":"close","seq":1,"at":1}\n')
    other = subprocess.run([PROGRAM, "-c", bank.folder / "paybank.conf"], capture_output=True,
                           text=True)
    ok(other.returncode == 2 and re.search(r"books:\d+: ", other.stderr),
       "a line that contradicts the books is refused", other.stderr)
    books_file.write_bytes(good)
    bank.start()


def test_page(bank, wechat):
    no = number()
    code = wechat.native(no, notify_url="http://127.0.0.1:9/x").get("code_url")
    status, headers, page = bank.call("GET", "/")
    ok(status == 200 and no.encode() in page, "the page lists orders")
    ok(b"<script" not in page and "default-src 'none'" in headers["Content-Security-Policy"],
       "without scripts")
    form = {"Content-Type": "application/x-www-form-urlencoded", "Origin": "http://evil.example"}
    body = "code_url=" + quote(code, safe="")
    same(bank.call("POST", "/pay", body, form)[0], 403, "no buttons on other sites")
    form["Origin"] = f"http://127.0.0.1:{bank.http}"
    status, headers, _ = bank.call("POST", "/pay", body, form)
    same((status, headers["Location"], bank.order(no)["state"]), (303, "/", "SUCCESS"),
         "the button pays")
    same(bank.call("GET", "/nothing")[0], 404, "no other page")


def main():
    with tempfile.TemporaryDirectory(prefix="paybank.") as name:
        folder = Path(name)
        keys, bank, receiver = Keys(folder), Bank(folder), Receiver()
        wechat, client = Wechat(bank, keys), BankJson(bank)
        test_command_line(folder)
        bank.start()
        try:
            test_wechat_life(bank, wechat, receiver)
            test_wechat_close(bank, wechat)
            test_wechat_signature(wechat)
            test_wechat_fields(wechat)
            test_wechat_only_tls(bank)
            test_bank_json(bank, client, receiver)
            test_bank_json_refusals(client)
            test_faults_on_answers(bank, wechat, client)
            test_many_wait(bank, client)
            test_notifications(bank, wechat, client, receiver, folder)
            test_journal(bank, wechat, client, receiver)
            test_page(bank, wechat)
            same(bank.end(signal.SIGTERM), 0, "ends with 0")
        finally:
            if bank.process.poll() is None:
                bank.process.kill()
                bank.process.wait()
    print(f"1..{done}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
