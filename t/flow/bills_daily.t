#!/usr/bin/python3
"""R6.1 (each day by itself): timers fetch yesterday's bill of every account that is on, one process of all; what is not there
yet is asked for again, seen in payctl, the metrics and the log; stored bills are not asked for again, missed days are made up."""
import json
import os
import re
import sys
import tempfile
import urllib.request
from datetime import datetime, timedelta, timezone
from pathlib import Path

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
import prometheus  # noqa: E402
from flow import ROOT, becomes, done, eventually, flow_stack, is_, number, ok, pay  # noqa: E402
from processes import wait_until  # noqa: E402

HOUR_MS, DAY_MS = 3600000, 86400000
CHINA = timezone(timedelta(hours=8))
CHANNELS = ("bank", "wechat")


def adapters(folder):
    """The shipped ones, whose bills are there from midnight on."""
    for file in (ROOT / "lua-free-conf/adapters").glob("*.conf"):
        text = re.sub(r"(?m)^( +ready +)\S+;", r"\g<1>00:00;", file.read_text())
        (folder / file.name).write_text(text)
    return str(folder)


def bills(stack):
    return {(b["channel"], b["day"]): b for b in json.loads(stack.payctl("--json", "bill", "list"))}


def flat(stack, process):
    with urllib.request.urlopen(f"http://127.0.0.1:{stack.status_port}/metrics/{process}") as answer:
        return prometheus.flat(prometheus.parse(answer.read().decode()))


def logged(stack, event):
    return [line for p in ("order0", "order1", "timer0") for line in (stack.log / f"{p}.log").read_text().splitlines()
            if f'"{event}"' in line]


def main():
    with tempfile.TemporaryDirectory(prefix="adapters.") as folder, \
            flow_stack('"ev":"bill_late"', orders=2,
                       payd={"adapters": adapters(Path(folder)), "timers > bills": "1s", "timers > bills_late": "1s",
                             "process order0 > roles": "order timer", "process order1 > roles": "order timer",
                             "process order0 > slots": "0 1023", "process order1 > slots": "0 1023"}) as stack:
        wait_until(lambda: datetime.now(CHINA).strftime("%H") != "23" or datetime.now(CHINA).minute < 55, "a day that lasts", 400)
        day = (datetime.now(CHINA) - timedelta(days=1)).strftime("%Y-%m-%d")
        is_(bills(stack), {}, "no bill of a day before the account was there")
        stack.bank("POST", "/clock", {"offset_ms": -DAY_MS})
        for channel in CHANNELS:
            made = stack.client("hmac").create_payment(number("B"), 100, channel=channel)
            pay(stack, made.json["code_url"])
            becomes(stack, made.json["out_trade_no"], "succeeded", f"{channel}: paid, at the bank yesterday")
        stack.sql("update pay.channel_account set created_at = now() - interval '1 day'")
        key = {c: (c, day) for c in CHANNELS}
        late = eventually(lambda: (b := bills(stack)) and all(b.get(k, {}).get("state") == "late" for k in key.values()) and b,
                          "a bill that is not made yet is asked for, and late")
        ok(all("no bill of" in b["reason"] for b in late.values()), "with the channel's reason", late)
        eventually(lambda: all(int(bills(stack)[k]["tries"]) > 2 for k in key.values()), "and asked for again")
        told = logged(stack, "bill_late")
        is_(len(told), len(CHANNELS), "the alert comes once for each")
        stack.bank("POST", "/clock", {"offset_ms": 12 * HOUR_MS})
        have = eventually(lambda: (b := bills(stack)) and all(b[k]["state"] == "stored" for k in key.values()) and b,
                          "when the bank has them they are stored")
        is_([int(have[k]["paid"]) for k in key.values()], [100, 100], "with what was paid yesterday")
        midnight = datetime.now(CHINA).replace(hour=0, minute=0, second=0, microsecond=0).timestamp()
        for channel in CHANNELS:
            name = f'pay_worker_bill_end_seconds{{channel="{channel}",account="main"}}'
            for process in ("order0", "timer0"):
                eventually(lambda: flat(stack, process).get(name) == midnight, f"{channel}: stored up to midnight, says {process}")
        fetched = eventually(lambda: len(f := logged(stack, "bill_fetched")) >= len(CHANNELS) and f, "one process of three fetched each")
        is_(len(fetched), len(CHANNELS), "and only one")
        calls = stack.bank("GET", "/orders")[1]["requests"]
        stack.sql("delete from pay.channel_bill_row; delete from pay.channel_bill where channel = 'bank';"
                  " update pay.channel_bill_fetch set due_at = now() where channel = 'bank'")
        eventually(lambda: bills(stack)[key["bank"]]["state"] == "stored", "a bill that is missing is made up for")
        now = stack.bank("GET", "/orders")[1]["requests"]
        is_([r["api"] for r in now[len(calls):] if "bill" in r["api"]], ["bill"], "and no other is asked for")
        stack.bank("POST", "/clock", {"offset_ms": 0})
    done()


main()
