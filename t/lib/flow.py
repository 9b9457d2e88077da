"""What the flow and fault tests share: a private stack with short intervals, and ways to look at it
from every side - the merchant's API, the database, the bank's books, the received callbacks."""
from __future__ import annotations

import contextlib
import json
import os
import shutil
import sys
import tempfile
import threading
import time
import urllib.request
from pathlib import Path
from typing import Any, Callable, Iterable, Iterator

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "demo"), str(ROOT / "t/lib")]

from client import Answer  # noqa: E402
from processes import NotReady, wait_until  # noqa: E402
from stack import Stack  # noqa: E402
from tap import done, is_, like, ok  # noqa: E402

# core/terms.h
STATES = {1: "processing", 2: "pending", 3: "succeeded", 4: "failed", 5: "closed"}
SLOW = 4 if "san" in os.environ.get("PAY_BUILD", "") else 1  # sanitizers take their time

SHORT = {
    "payd": {"query_interval": "200ms", "query_max": "1s", "query_soon": "50ms", "resend_interval": "100ms",
             "send_window": "10s", "answer_within": "30s",
             "timers > poll": "50ms", "callbacks > poll": "50ms", "callbacks > timeout": "1s",
             "callbacks > schedule": "200ms 400ms 800ms 1600ms 3200ms 3200ms"},
    "channel": {"timeout": "connect=10s send=10s read=10s", "query_first": "300ms", "settle": "300ms"},
    "paybank": {"notify_delay": "10ms", "notify_retry": "200ms 400ms 800ms 1s 1s 1s 1s 1s"},
    # what is committed survives a killed process also without fsync
    "postgres": {"fsync": "off", "full_page_writes": "off"},
}
# For tests that wait until a call's time is up; the others have time, also on a machine that stands still for a second.
HASTY = {
    "payd": {"send_window": "2s", "answer_within": "6s"},
    "channel": {"timeout": "connect=2s send=2s read=2s"},
}
CHANNELS = ("wechat", "bank")


@contextlib.contextmanager
def flow_stack(*allowed_problems: str, payd: dict | None = None, channels: dict | None = None,
               paybank: dict | None = None, postgres: dict | None = None, intact: bool = True, also: Iterable[str] = (),
               hasty: bool = False, kind: type[Stack] = Stack, **more: Any) -> Iterator[Stack]:
    """A running stack in a private folder. At the end: no alerts in any log, every invariant holds in the database
    (unless the test breaks them: intact=False), nothing left behind."""
    usual = {part: {**options, **(HASTY.get(part, {}) if hasty else {})} for part, options in SHORT.items()}
    folder = tempfile.mkdtemp(prefix="ngx_pay-t.")
    os.chmod(folder, 0o711)
    channels = channels or {}
    stack = kind(folder, payd={**usual["payd"], **(payd or {})}, postgres={**usual["postgres"], **(postgres or {})},
                 channels={c: {**usual["channel"], **channels.get(c, {})} for c in (*CHANNELS, *also)},
                 paybank={**usual["paybank"], **(paybank or {})}, also=also, **more)
    try:
        stack.start()
        yield stack
        if intact:
            verified(stack, "every invariant holds in the database")
        is_(stack.problems(*allowed_problems), [], "no alert, no sanitizer report in any log")
    except BaseException:
        show_logs(stack)
        raise
    finally:
        stack.stop()
        if os.environ.get("PAY_KEEP"):
            print(f"# kept: {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)


def show_logs(stack: Stack, lines: int = 12) -> None:
    """After an unexpected end: the last words of everybody, as TAP comments."""
    for log in sorted((stack.folder / "log").glob("*")):
        tail = log.read_text(errors="replace").splitlines()[-lines:]
        print("".join(f"# {log.name}: {line[:400]}\n" for line in tail), end="")


def eventually(condition: Callable[[], object], name: str, seconds: float = 60) -> Any:
    """ok() for something that becomes true; gives the value back."""
    try:
        value = wait_until(condition, name, seconds * SLOW)
    except NotReady:
        value = condition()
    ok(value, name)
    return value


def at_once(requests: list[Callable[[], Any]]) -> list[Any]:
    """Runs all of them at the same moment; answers in order."""
    barrier, answers = threading.Barrier(len(requests)), [None] * len(requests)

    def run(i, request):
        barrier.wait()
        answers[i] = request()
    threads = [threading.Thread(target=run, args=(i, r)) for i, r in enumerate(requests)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    return answers


# ---- the merchant's side ----

def number(prefix: str, i: int = 0) -> str:
    """A fresh out_trade_no."""
    return f"{prefix}{time.time_ns() // 1000 % 10**12}x{i}"


def state_of(stack: Stack, out_trade_no: str) -> str:
    return stack.client("hmac").find(out_trade_no).json.get("state", "?")


def becomes(stack: Stack, out_trade_no: str, state: str, name: str, seconds: float = 60) -> None:
    """ok() once the merchant sees this state; tells the state that was seen last."""
    try:
        wait_until(lambda: state_of(stack, out_trade_no) == state, name, seconds * SLOW)
        ok(True, name)
    except NotReady:
        is_(state_of(stack, out_trade_no), state, name)


# ---- the other sides ----

def bank_books(stack: Stack) -> Path:
    """A file for `payctl verify --books`."""
    with urllib.request.urlopen(f"http://127.0.0.1:{stack.bank_port}/_control/books", timeout=60) as answer:
        text = answer.read().decode()
    path = stack.folder / "books.csv"
    path.write_text(text)
    return path


def verified(stack: Stack, name: str, *books: str) -> None:
    """ok() when payctl finds every invariant kept."""
    said = stack.payctl("verify", *books, check=False)
    broken = [line for line in said.splitlines() if not line.startswith("ok ")]
    ok(said and not broken, name, *(broken or ["no answer"]))


def bank_orders(stack: Stack, payment_id: str) -> list[dict]:
    """A payment in the bank's books: under request numbers that begin with its id."""
    orders = stack.bank("GET", "/orders")[1]["orders"]
    return [o for o in orders if o["out_trade_no"].startswith(payment_id)]


def payment_id(stack: Stack, out_trade_no: str) -> str:
    return stack.client("hmac").find(out_trade_no).json["id"]


def pay(stack: Stack, code_url: str) -> tuple[int, Any]:
    return stack.bank("POST", "/pay", {"code_url": code_url})


def fault(stack: Stack, fault: str, api: str = "*", **more: Any) -> None:
    status, answer = stack.bank("POST", "/faults", {"fault": fault, "api": api, **more})
    assert status == 200, answer


def clear_faults(stack: Stack) -> None:
    stack.bank("DELETE", "/faults")


def callbacks(stack: Stack, out_trade_no: str) -> list[dict]:
    """What the example merchant received about an order; `event` is the parsed body."""
    received = [{**r, "event": json.loads(r["body"])} for r in stack.merchant("GET", "/received")]
    return [r for r in received if r["event"]["resource"]["out_trade_no"] == out_trade_no]


def rows(stack: Stack, out_trade_no: str, table: str, columns: str = "*", order: str = "1") -> list[list[str]]:
    return stack.sql(f"select {columns} from pay.{table} t join pay.payment p on (p.slot, p.id) = (t.slot, t.payment_id) "
                     f"where p.out_trade_no = '{out_trade_no}' order by {order}")
