#!/usr/bin/python3
"""R4.2: due work is shared by lease between as many processes as there are, no order is polled by two of them at once and
no channel beyond its cap; a channel that hangs holds up nobody but itself; a backlog is worked off while what becomes due
now is not kept waiting."""
import collections
import os
import re
import sys
import urllib.request
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))
from flow import becomes, clear_faults, done, eventually, fault, flow_stack, is_, number, ok  # noqa: E402
from processes import wait_until  # noqa: E402

PROCESSES, PARTS = 8, 64
WHOLE = "PAY_BACKLOG" in os.environ  # make soak-backlog
BACKLOG = int(os.environ.get("PAY_BACKLOG", 20_000))
OLD = "P2025"  # ids of the backlog: made in the first days of 2025
PATIENT = {"timeout": "connect=1s send=1s read=60s"}


def parts(stack):
    """holder -> how many parts of the slots it has"""
    return {h.split(":")[1]: int(n) for h, n in stack.sql(
        "select holder, count(*) from pay.timer_part where until > now() group by 1")}


def queries(stack, since=0):
    """order number -> when the bank was asked for it, ms; without its first `since` calls"""
    asked = collections.defaultdict(list)
    for r in stack.bank("GET", "/orders")[1]["requests"][since:]:
        if r["api"] == "query":
            asked[r["out_trade_no"]].append(r["at_ms"])
    return asked


def made(stack, no):
    """The id of a new order; a channel that is full is asked again."""
    answer = wait_until(lambda: (a := stack.client("hmac").create_payment(no, 100)).status < 300 and a, "an order")
    return answer.json["id"]


def most_at_once(asked, hold_ms):
    """Of calls that last hold_ms: how many were open at the same moment."""
    at = sorted(t for times in asked.values() for t in times)
    return max(sum(1 for t in at if first <= t < first + hold_ms * 0.9) for first in at)


def holders(stack):
    """part of the slots -> who has it"""
    return dict(stack.sql("select part, split_part(holder, ':', 2) from pay.timer_part where until > now()"))


def strangers(stack, orders):
    """Who asks for an order is who has its part: as long as no part changes hands."""
    def calm():
        before, now = holders(stack), stack.sql("select clock_timestamp()")[0][0]

        def asked():
            return stack.sql("select distinct a.slot % 64, split_part(l.holder, ':', 2), a.payment_id from pay.attempt a"
                             " join pay.process_lease l on l.process = (a.attempt_id >> 14) & 255"
                             f" where a.kind = 2 and a.committed_at > '{now}'")
        wait_until(lambda: len({i for _, _, i in asked()}) == len(orders), "each order is asked for once more", 60)
        found = [(part, who) for part, who, _ in asked() if before.get(part) != who]
        return (found,) if holders(stack) == before else None
    seen = eventually(calm, "nobody's parts change while each order is asked for")
    is_(sorted(set(seen[0])) if seen else None, [], "nobody asks for an order of another's part")


def eight_processes():
    """The bank answers queries after HOLD only, and they fall due ten times as often. A second one within HOLD would
    have been sent while the first was open. The channel takes half as many calls as there are orders."""
    hold_ms, cap = 500, 6
    with flow_stack(timers=PROCESSES, channels={"bank": {**PATIENT, "concurrency": str(cap)}, "wechat": {"state": "off"}},
                    payd={"query_interval": "50ms", "query_max": "50ms", "timers > poll": "10ms"}) as stack:
        share = {f"timer{i}": PARTS // PROCESSES for i in range(PROCESSES)}
        eventually(lambda: parts(stack) == share, f"{PROCESSES} processes have {PARTS // PROCESSES} of {PARTS} parts each")
        orders = [made(stack, number("E", i)) for i in range(2 * cap)]
        fault(stack, "delay", "query", delay_ms=hold_ms)
        since = len(stack.bank("GET", "/orders")[1]["requests"])  # from here on
        eventually(lambda: all(len(queries(stack, since)[n]) >= 4 for n in numbers(stack, orders)), "every order is polled again and again")
        asked = queries(stack, since)
        gaps = [b - a for times in asked.values() for a, b in zip(times, times[1:])]
        ok(gaps and min(gaps) >= hold_ms * 0.9, "never while an earlier query of it is open", sorted(gaps)[:5])
        most = most_at_once(asked, hold_ms)
        ok(1 < most <= cap, "several at once, and no more than the channel takes", most)
        strangers(stack, orders)
        clear_faults(stack)
        stack.kill("timer0")
        stack.processes["timer1"].stop()
        left = PROCESSES - 2
        eventually(lambda: (p := parts(stack)) and sum(p.values()) == PARTS and len(p) == left and max(p.values()) == -(-PARTS // left),
                   "of one that was killed and one that was stopped the others take over")
        stack.start_process("timer0")
        eventually(lambda: parts(stack).get("timer0", 0) > 0, "and share with one that comes")
        for i in orders:
            stack.bank("POST", "/pay", {"out_trade_no": next(iter(numbers(stack, [i])))})
        eventually(lambda: stack.sql("select count(*) from pay.payment where state = 3") == [[str(len(orders))]], "all are paid in the end")


def numbers(stack, ids):
    return [o["out_trade_no"] for o in stack.bank("GET", "/orders")[1]["orders"] if any(o["out_trade_no"].startswith(i) for i in ids)]


def in_work(stack):
    """channel -> orders that timer0 works on"""
    page = urllib.request.urlopen(stack.env["PAY_STATUS_URL"] + "/metrics/timer0", timeout=30).read().decode()
    return {c: int(n) for c, n in re.findall(r'^pay_timer_active{channel="(.*)"} (\d+)$', page, re.M) if n != "0"}


def hung_channel():
    """Calls to the bank do not end while this runs. It has more due than a process may work on, and what is in work is due again
    and again before those that wait."""
    with flow_stack(channels={"bank": PATIENT, "wechat": {"state": "off"}}, intact=False,
                    payd={"timers > active": "8", "query_interval": "50ms", "query_max": "1h", "timers > poll": "10ms"}) as stack:
        fault(stack, "no_notify", "notify")
        fault(stack, "timeout_after", "query", channel="bank_json")
        for i in range(16):
            stack.client("hmac").create_payment(number("H", i), 100)
        eventually(lambda: in_work(stack) == {"bank": 4}, "a channel that hangs gets half of the places")
        stack.payctl("channel", "on", "wechat", "--reason", "test")
        stack.payctl("channel", "off", "bank", "--reason", "test")
        no = number("W")
        made = stack.client("hmac").create_payment(no, 100)
        is_(made.json.get("channel"), "wechat", "an order of another channel")
        stack.bank("POST", "/pay", {"code_url": made.json["code_url"]})
        becomes(stack, no, "succeeded", "is asked for and found to be paid")
        is_(in_work(stack).get("bank"), 4, "while the other one holds its places, and no more")


def pile_up(stack, n):
    """Orders that wait for their payers and should have been asked for a day ago; the bank says: too frequent."""
    steps = [{"api": "query", "fault": "too_frequent", "times": 1_000_000}]
    stack.bank("POST", "/faults", {"scenario": "busy", "pattern": f"{OLD}*", "channel": "bank_json", "steps": steps})
    stack.sql(f"""
        set session_replication_role = replica;
        create temporary table old as select i, ((i / 1024 + 1)::bigint << 32) | ((i % 1024)::bigint << 22) | (200::bigint << 14) as id,
            (i % 1024)::smallint as slot from generate_series(1, {n}) i;
        insert into pay.payment (id, amount, created_at, time_expire, prepare_before, version, attempts, prepare_n, not_sent, slot,
            state, prev_state, method, command_seq, prepare_last, prepare_past, busy_kind, mchid, app_id, out_trade_no, digest,
            currency, scene, product, store_id, description, attach, notify_url, trace_id, channel, account, route,
            channel_trade_no, code_url, fail_code)
        select id, 100, now() - interval '1 day', now() + interval '1 day', now() - interval '1 day', 2, 1, 1, 0, slot, 2, 1, 1, 1, 2, 0,
            0, 'M1000001', 'shop_hmac', 'OLD' || i, '', 'CNY', '', '', '', 'old', '', '', '', 'bank', 'main', '', '', '', '' from old;
        insert into pay.payment_timer (slot, payment_id, due_at, kind, tries, channel)
        select slot, id, now() - interval '1 day' + i * interval '1 microsecond', 2, 0, 'bank' from old;
        analyze""")


def overdue(stack):
    return int(stack.sql("select count(*) from pay.payment_timer where due_at < now() - interval '1 hour'")[0][0])


def backlog():
    """Only queries find out that the new orders are paid, and (but in make soak-backlog) only a few may be in work at once."""
    few = {} if WHOLE else {"timers > poll": "10ms", "timers > batch": "8", "timers > active": "8"}
    with flow_stack(channels={"wechat": {"state": "off"}}, intact=False,
                    payd={"query_interval": "2h", "query_max": "24h", **few}) as stack:
        fault(stack, "no_notify", "notify")
        pile_up(stack, BACKLOG)
        eventually(lambda: 0 < overdue(stack) < BACKLOG, "the backlog is being worked off", 120)
        for i in range(5):
            no = number("N", i)
            made = stack.client("hmac").create_payment(no, 100)
            stack.bank("POST", "/pay", {"code_url": made.json["code_url"]})
            becomes(stack, no, "succeeded", "a new order is asked for in its time", 120)
        left = overdue(stack)
        ok(left > 0, "before the backlog is at its end", left)
        is_(stack.sql("select count(*) from pay.payment_timer t join pay.payment p on (p.slot, p.id) = (t.slot, t.payment_id)"
                      " where p.out_trade_no like 'OLD%' and t.due_at > now() - interval '1 hour'"
                      " and (t.tries = 0 or t.due_at < now() + interval '1 hour')"), [["0"]],
            "who was asked too often is asked again after the whole interval")
        if WHOLE:
            eventually(lambda: overdue(stack) == 0, f"all {BACKLOG} have been asked for", 24 * 3600)


eight_processes()
hung_channel()
backlog()
done()
