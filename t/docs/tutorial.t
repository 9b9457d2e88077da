#!/usr/bin/python3
"""docs/connect-a-bank.md, followed literally: the adapter and the channel are put together from its blocks, its commands print
what it shows, and real payments run over the new channel against a stub of the bank, which was written from the sheet alone."""
import os
import re
import shlex
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import urlencode

sys.path.insert(0, str(Path(__file__).resolve().parent))
import harbour_bank  # noqa: E402
from docs import DOCS, ROOT, fences, looks_like_etc, pattern  # noqa: E402
from flow import flow_stack, state_of, wait_until  # noqa: E402
from processes import Process, free_ports  # noqa: E402
from stack import answers, call  # noqa: E402
from tap import done, is_, ok  # noqa: E402

NAME = "connect-a-bank.md"
BLOCKS = fences((DOCS / NAME).read_text())
TIMEOUT = 120
KEY = b"harbour-test-key-0123456789abcdef"
RESTART = "systemctl restart 'payd@*'\n"


class Reader:
    """Types what stands there, in a folder that looks like /etc/ngx_pay and has the links to the sources."""

    def __init__(self, stack, folder: Path):
        self.stack, self.folder, self.stub, self.workers = stack, folder, None, set()
        looks_like_etc(folder, stack)
        for name, to in (("adapters", stack.conf / "adapters"), ("demo", ROOT / "demo"), ("t", ROOT / "t"),
                         ("run/demo.env", stack.folder / "demo.env")):
            (folder / name).symlink_to(to)
        self.bank = f"127.0.0.1:{free_ports(1)[0]}"
        self.here = {"127.0.0.1:8095": self.bank, "127.0.0.1:9443": f"127.0.0.1:{stack.ingress_port}"}
        self.env = {**{k: v for k, v in os.environ.items() if not k.startswith("PAY_")},
                    "PATH": f"{folder}/bin:{os.environ['PATH']}", "PYTHONDONTWRITEBYTECODE": "1",
                    "ASAN_OPTIONS": "detect_leaks=0"}

    def place(self, text: str) -> str:
        for there, here in self.here.items():
            text = text.replace(there, here)
        return text

    def write(self, name: str, text: str) -> None:
        """Blocks of one file follow each other."""
        with open(self.folder / name, "a") as file:
            file.write(text)

    def move(self) -> None:
        """The channel goes where the ports are free here; what was tried before had the page's. From now on it is loaded."""
        self.workers = set(self.stack.children("nginx"))
        file = self.folder / "channels/harbour.conf"
        file.write_text(self.place(file.read_text()))

    def type(self, commands: str, shown: str) -> None:
        run = subprocess.run(["bash", "-euo", "pipefail", "-c", self.place(commands)], cwd=self.folder, env=self.env,
                             timeout=TIMEOUT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        first = commands.strip().splitlines()[0]
        is_(run.returncode, 0, f"works: {first}")
        ok(re.fullmatch(pattern(self.place(shown)), run.stdout.strip(), re.S), f"prints what is shown: {first}",
           f"got:  {run.stdout}", f"want: {shown}")

    def other(self, commands: str) -> None:
        """What is typed elsewhere: in a second terminal, to systemd."""
        if commands == RESTART:
            for name in self.stack.payd_names:
                self.stack.restart(name)
            wait_until(lambda: not self.workers & set(self.stack.children("nginx")), "nginx's old workers to end")
            self.stack._wait_ready("nginx")
            return
        is_(self.stub, None, "the one other command starts the stub")
        command, *args = shlex.split(self.place(commands))
        self.stub = Process("harbour_bank", [sys.executable, str(self.folder / command), args[0],
                                             *(str(self.folder / a) for a in args[1:])], log=self.stack.log / "harbour_bank.err")
        self.stub.start()
        wait_until(lambda: answers(int(self.bank.rpartition(":")[2])), "the stub to serve")

    def stop(self) -> None:
        if self.stub:
            self.stub.stop()


def follow(reader: Reader) -> None:
    for i, (info, content) in enumerate(BLOCKS):
        if info.startswith("nginx "):
            reader.write(info.split()[1], content)
        elif info == "sh manual":
            reader.other(content)
        elif info == "sh test":
            behind, shown = BLOCKS[i + 1] if i + 1 < len(BLOCKS) else ("", "")
            ok(behind == "text" and shown.strip(), f"block {i} is followed by what it prints")
            if "account add" in content:
                reader.move()
            reader.type(content, shown)
        else:
            ok(info == "text" and BLOCKS[i - 1][0] == "sh test", f"block {i}, {info}, is of a kind that is followed")


def post(url: str, body: bytes, **more) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, body), timeout=30, **more) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as e:
        return e.code, e.read().decode()


def afterwards(reader: Reader) -> None:
    """The stub did look at signatures, and so does the gateway at the bank's."""
    stack, bank = reader.stack, harbour_bank.Bank(KEY, str(reader.stack.keys.path("ca.crt")))
    query = bank.signed(merchant=harbour_bank.MERCHANT, order="A1")
    ok("code=20&" in post(f"http://{reader.bank}/gate/query", query)[1], "the stub answers what is signed")
    ok("code=11&" in post(f"http://{reader.bank}/gate/query", query.replace(b"A1", b"A2"))[1], "and refuses what was changed")
    no = "HB1000003"
    order = stack.client("hmac").create_payment(no, 500, channel="harbour")
    is_((order.status, order.json["channel"]), (201, "harbour"), "a third order")
    request_no = order.json["id"] + "01"
    ok("state=OPEN&" in post(f"http://{reader.bank}/gate/query", bank.signed(merchant=harbour_bank.MERCHANT, order=request_no))[1],
       "it waits for its payer at the bank")
    told = {"merchant": harbour_bank.MERCHANT, "order": request_no, "amount": "5.00", "currency": "156", "bank_order": "HB1",
            "paid": "20260901120102"}
    for what, body in (("a forged signature", bank.signed(**told).replace(b"HB1&", b"HB2&")),
                       ("another merchant's notification", bank.signed(**{**told, "merchant": "HB20302"}))):
        answer = post(f"https://127.0.0.1:{stack.ingress_port}/notify/harbour/main", body, context=bank.tls)
        is_((answer, state_of(stack, no)), ((500, "FAIL"), "pending"), f"{what} is refused, and the order waits")
    ok(stack.client("hmac").close(order.json["id"]).status in (200, 202), "it is closed")
    wait_until(lambda: state_of(stack, no) == "closed", "the order to be closed")
    scanned = f"http://{reader.bank}/pay?" + urlencode({"qr": order.json["code_url"]})
    is_(call("GET", scanned)[1], "no such code\n", "and its code is dead at the bank")


def main():
    kinds = [info for info, _ in BLOCKS]
    ok(kinds.count("sh test") >= 8 and sum(k.startswith("nginx ") for k in kinds) >= 5, "the tutorial has its blocks")
    example = re.search(r"the text `(merchant=\S+)` it is\s+>?\s*`([0-9A-F]{64})`", (DOCS / NAME).read_text())
    is_(harbour_bank.sign(KEY, dict(p.split("=") for p in example[1].split("&"))), example[2], "the sheet's worked signature")
    with tempfile.TemporaryDirectory(prefix="ngx_pay-t.") as name, \
            flow_stack("notification_refused", adapters={"bank_json": {}}) as stack:
        reader = Reader(stack, Path(name))
        try:
            follow(reader)
            afterwards(reader)
        finally:
            reader.stop()
    done()


main()
