#!/usr/bin/python3
"""R6.1 (fetch and keep): payctl bill fetch over the egress from the virtual bank: rows and sums of what was paid and given
back, the file as it came, the same again changes nothing; what is damaged, foreign or not there stores nothing."""
import json
import os
import subprocess
import sys
from datetime import datetime, timedelta, timezone

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
from flow import becomes, clear_faults, done, fault, flow_stack, is_, number, ok, pay  # noqa: E402
from processes import wait_until  # noqa: E402

DAY_MS = 86400000
CHINA = timezone(timedelta(hours=8))


def payctl(stack, *args):
    done = subprocess.run([str(stack.build / "payctl"), "-c", str(stack.conf / "payd.conf"), *args],
                          capture_output=True, text=True)
    return done.returncode, done.stdout, done.stderr


def stored(stack):
    return stack.sql("select channel, day, rows, paid, returned, encode(sha256, 'hex'), xmin from pay.channel_bill order by channel")


def main():
    with flow_stack() as stack:
        # a payment at midnight in China would stand in two days' bills
        wait_until(lambda: datetime.now(CHINA).strftime("%H:%M") != "23:59", "a day that lasts", 90)
        client, paid = stack.client("hmac"), {"wechat": [], "bank": []}
        for channel in paid:
            for amount in (100, 2500):
                made = client.create_payment(number("B"), amount, channel=channel)
                pay(stack, made.json["code_url"])
                becomes(stack, made.json["out_trade_no"], "succeeded", f"{channel}: {amount} paid")
                paid[channel].append((stack.bank("GET", "/orders")[1]["orders"][-1]["out_trade_no"], str(amount)))
        today = datetime.now(CHINA)
        day = today.strftime("%Y-%m-%d")
        code, _, said = payctl(stack, "bill", "fetch", "wechat", day)
        ok(code == 1 and stored(stack) == [], "no bill of a day that is not over", said)
        stack.bank("POST", "/clock", {"offset_ms": 2 * DAY_MS})
        for name, more in (("bad_signature", {}), ("error_500", {}), ("garbage", {})):
            fault(stack, name, "bill", **more)
            code, _, said = payctl(stack, "bill", "fetch", "wechat", day)
            ok(code == 1 and said and stored(stack) == [], f"{name}: refused, nothing is stored", said)
            clear_faults(stack)
        for args, why in ((("wechat", "yesterday"), "is not a day"), (("cash", day), "no channel"),
                          (("wechat", day, "--account", "nobody"), "no such account")):
            code, _, said = payctl(stack, "bill", "fetch", *args)
            ok(code == 1 and why in said, f"bill fetch {' '.join(args)}: refused", said)
        for channel in paid:
            code, out, said = payctl(stack, "--json", "bill", "fetch", channel, day)
            got = json.loads(out) if code == 0 else {}
            is_((code, got.get("rows"), got.get("paid"), got.get("returned")), (0, 2, 2600, 0), f"{channel}: fetched {said}")
            rows = stack.sql(f"select request_no, amount, kind, day from pay.channel_bill_row where channel = '{channel}' order by line")
            is_(sorted((r[0], r[1]) for r in rows), sorted(paid[channel]), f"{channel}: its rows are the payments")
            is_({(r[2], r[3]) for r in rows}, {("1", day)}, f"{channel}: of that day")
            size = stack.sql(f"select length(file) from pay.channel_bill where channel = '{channel}'")[0][0]
            ok(int(size) > 100, f"{channel}: the file is kept ({size} bytes)")
        before = stored(stack)
        code, out, _ = payctl(stack, "bill", "fetch", "bank", day)
        ok(code == 0 and "stored already" in out and stored(stack) == before, "the same file again changes nothing", out)
        stack.sql("update pay.channel_bill set sha256 = '' where channel = 'bank'")
        is_(payctl(stack, "bill", "fetch", "bank", day)[0], 0, "another file takes the place of the old one")
        is_(stack.sql("select count(*) from pay.channel_bill_row where channel = 'bank'")[0][0], "2", "with its rows")
        is_(len(json.loads(payctl(stack, "--json", "bill", "list")[1])), 2, "bill list")
        is_(len(json.loads(payctl(stack, "--json", "bill", "rows", "wechat", day)[1])), 2, "bill rows")
        stack.bank("POST", "/clock", {"offset_ms": 0})
    done()


main()
