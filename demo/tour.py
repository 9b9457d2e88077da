#!/usr/bin/python3
"""make run, make demo: starts the private stack under ./run and makes one payment, telling each step with
what was really sent and answered. Then it waits (or with --once ends; exit 0 = the merchant was called back)."""
from __future__ import annotations

import argparse
import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from client import Answer, Client  # noqa: E402
from processes import InUse, NotReady, wait_until  # noqa: E402
from stack import Stack, run_folder  # noqa: E402

COLOURS = sys.stdout.isatty()
# the stack behaves as in production but for the waits that would bore a spectator
PAYD = {"query_interval": "2s", "callbacks > schedule": "2s 5s 15s 30s 3m 10m 20m 30m 30m 30m 60m 3h 3h 3h 6h 6h"}
CHANNELS = {name: {"query_first": "5s", "settle": "5s", "timeout": "connect=2s send=2s read=3s"}
            for name in ("wechat", "bank")}


def bold(text: str) -> str:
    return f"\033[1m{text}\033[0m" if COLOURS else text


def step(title: str) -> None:
    print(f"\n{bold('▶ ' + title)}", flush=True)


def show(text: str) -> None:
    print("".join(f"    {line}\n" for line in text.splitlines()), end="", flush=True)


def show_request(method: str, target: str, body: dict, answer: Answer) -> None:
    show(f"{method} {target}")
    for name, value in answer.request_headers.items():
        show(f"{name}: {value.replace(',', ',' + chr(10) + ' ' * 15) if name == 'Authorization' else value}")
    show("\n" + json.dumps(body, ensure_ascii=False, indent=2))


def show_answer(answer: Answer) -> None:
    show(f"HTTP {answer.status}")
    for name, value in answer.headers.items():
        if name.startswith(("Pay-", "Wechatpay-", "Content-Type")):
            show(f"{name}: {value}")
    show("\n" + json.dumps(answer.json, ensure_ascii=False, indent=2))
    show(f"\nsignature verified: made with key {answer.verified}")


def show_code(text: str) -> None:
    """A QR code as a payer would scan it."""
    if shutil.which("qrencode"):
        subprocess.run(["qrencode", "-t", "ANSIUTF8" if COLOURS else "UTF8", "-m", "1", text], check=False)
    show(text)


def create(client: Client, stack: Stack) -> dict:
    step("The merchant asks for a payment of ¥8.88")
    order = {"out_trade_no": f"TEA{int(time.time())}", "total": 888, "description": "一杯茶 A cup of tea",
             "notify_url": stack.callback_url, "channel": "wechat"}
    answer = client.create_payment(**order)
    body = {"method": "native", "out_trade_no": order["out_trade_no"],
            "amount": {"total": 888, "currency": "CNY"}, "description": order["description"],
            "notify_url": order["notify_url"], "channel": order["channel"]}
    show_request("POST", "/v1/payments", body, answer)
    step("ngx_pay answers, signed")
    show_answer(answer)
    if answer.status != 201:
        raise SystemExit(f"The payment was not made: {answer.body.decode()}")
    return answer.json


def pay(stack: Stack, payment: dict) -> dict:
    step("The shop shows the code; the payer scans it")
    show_code(payment["code_url"])
    step("The payer pays (at the virtual bank)")
    show(f"POST {stack.env['PAYBANK_URL']}/_control/pay {json.dumps({'code_url': payment['code_url']})}")
    status, answer = stack.bank("POST", "/pay", {"code_url": payment["code_url"]})
    show(f"HTTP {status} {json.dumps(answer)}")
    return answer


def notification(stack: Stack, answer: dict) -> None:
    step("The bank notifies ngx_pay: encrypted and signed, as WeChat Pay v3 does. In the bank's books:")

    def notified() -> list[dict]:
        orders = stack.bank("GET", f"/orders?out_trade_no={answer['out_trade_no']}")[1]["orders"]
        return [o for o in orders if o["notified"]]
    order = wait_until(notified, "the notification to be acknowledged", 30)[0]
    show(json.dumps({k: order[k] for k in ("channel", "out_trade_no", "state", "amount", "transaction_id", "paid_at",
                                           "prepares", "charges", "notify_tries", "notified")}, indent=2))


def callback(stack: Stack, payment: dict) -> dict:
    step("ngx_pay calls the merchant back. What the merchant got:")

    def received() -> list[dict]:
        return [r for r in stack.merchant("GET", "/received") if payment["id"] in r["body"]]
    call = wait_until(received, "the callback", 30)[-1]
    for name in ("Content-Type", "Pay-Timestamp", "Pay-Nonce", "Pay-Serial", "Pay-Signature"):
        show(f"{name}: {call['headers'].get(name)}")
    event = json.loads(call["body"])
    show("\n" + json.dumps(event, ensure_ascii=False, indent=2))
    show(f"\nsignature verified: made with key {call['verified']}; answered {call['answered']}")
    return event


def story(stack: Stack, payment: dict) -> None:
    step(f"The whole story: build/payctl -c run/conf/payd.conf trace {payment['id']}")
    wait_until(lambda: "done" in stack.payctl("callbacks", "list"), "the callback's end", 10)
    show(stack.payctl("trace", payment["id"]))


def invite(stack: Stack) -> None:
    step("Everything runs under ./run until Ctrl-C. Try:")
    show(f"""demo/pay create MYFIRST1 100        # another payment; repeat it: the same order
demo/pay scan MYFIRST1              # somebody pays it
demo/pay find MYFIRST1
build/payctl -c run/conf/payd.conf trace {stack.env['PAY_MCHID']}/MYFIRST1
set -a; . run/demo.env; set +a      # for curl $PAY_STATUS_URL/metrics, psql "$PAY_PG" ...
The virtual bank's page: {stack.env['PAYBANK_URL']}
What everyone says: tail -f run/log/*; who is who: run/pids. Kill -9 whom you like.""")


def keep_running(stack: Stack) -> None:
    """What a service manager does: who dies is started again. So kill -9 whom you like."""
    try:
        while True:
            time.sleep(0.5)
            for name, process in stack.processes.items():
                if not process.running():
                    show(f"{name} is gone ({process.child.returncode}), starting it again")
                    stack.start_process(name)
    except KeyboardInterrupt:
        print("\nStopped.", flush=True)


def tour(once: bool) -> int:
    step("Starting PostgreSQL, Redis, nginx, payd, the virtual bank and an example merchant under ./run")
    begun = time.monotonic()
    with Stack(run_folder(), payd=PAYD, channels=CHANNELS) as stack:
        show(f"{' · '.join(stack.processes)} ({time.monotonic() - begun:.1f} s)")
        payment = create(stack.client(), stack)
        notification(stack, pay(stack, payment))
        event = callback(stack, payment)
        story(stack, payment)
        succeeded = event["event_type"] == "payment.succeeded" and event["resource"]["state"] == "succeeded"
        if not once:
            invite(stack)
            keep_running(stack)
        return 0 if succeeded else 1


def end(*_: object) -> None:
    """Ctrl-C or TERM: once is enough, stopping is not to be interrupted."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--once", action="store_true", help="do not wait at the end")
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, end)
    try:
        return tour(parser.parse_args().once)
    except KeyboardInterrupt:
        return 130
    except InUse as e:
        print(f"\n{e}", file=sys.stderr)
        return 1
    except NotReady as e:
        print(f"\n{e}\nMore in run/log/.", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
