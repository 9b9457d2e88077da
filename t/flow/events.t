#!/usr/bin/python3
"""R4.4, events of orders in Redis Streams: every move of every order and refund, in the order of its order, without a
gap - when transactions commit in another order than they began, when Redis is away or was emptied, when the relay is
killed."""
import json
import subprocess
import sys
import urllib.request
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))
from flow import ROOT, becomes, done, eventually, flow_stack, is_, number, ok, pay, payment_id  # noqa: E402

STREAMS = 2
OPTIONS = {"relay > streams": str(STREAMS), "relay > groups": "risk accounts", "relay > poll": "20ms",
           "relay > batch": "3", "relay > timeout": "2s"}


def redis(stack, *args):
    got = subprocess.run(["redis-cli", "-s", stack.env["PAY_REDIS"], "--json", *args], capture_output=True, text=True)
    try:
        return json.loads(got.stdout)
    except ValueError:
        return None


def entries(stack):
    """All entries of all streams, each as a dict with its stream."""
    found = []
    for i in range(STREAMS):
        for _, values in redis(stack, "XRANGE", f"pay:events:{i}", "-", "+") or []:
            found.append({"stream": i, **dict(zip(values[::2], values[1::2]))})
    return found


def told(stack):
    """What a reader that drops repetitions has: per order, sequences in the order of their first coming."""
    seen: dict[str, list[int]] = {}
    for e in entries(stack):
        mine = seen.setdefault(e["payment_id"], [])
        if int(e["sequence"]) not in mine:
            mine.append(int(e["sequence"]))
    return seen


def written(stack):
    """The same from the history."""
    seen: dict[str, list[int]] = {}
    for shown, version in stack.sql("select payment_id, version from pay.payment_history where from_state <> to_state "
                                    "order by payment_id, version"):
        seen.setdefault(shown, []).append(int(version))
    return seen


def same(stack):
    """Every move was told, each order's in its order: compared by the orders' sequences."""
    return sorted(told(stack).values()) == sorted(written(stack).values())


def count(stack):
    """event -> how often it is told"""
    return Counter((e["payment_id"], e["sequence"]) for e in entries(stack))


def complete(stack, name):
    ok_ = eventually(lambda: same(stack), name, 30)
    if not ok_:
        print(f"# told {sorted(told(stack).values())}\n# written {sorted(written(stack).values())}")


def order(stack, prefix, paid=True):
    client, no = stack.client(), number(prefix)
    made = client.create_payment(no, 100, notify_url=stack.callback_url)
    if paid:
        pay(stack, made.json["code_url"])
        becomes(stack, no, "succeeded", f"{prefix}: paid")
    else:
        client.close(made.json["id"])
        becomes(stack, no, "closed", f"{prefix}: closed")
    return no


def both_streams(stack):
    """The merchant's slots lie at both sides of the border."""
    stack.sql("update pay.merchant set base_slot = 480, span = 64")
    for _ in range(60):
        stack.client().create_payment(number("Z"), 100)
        if len({s for s, in stack.sql("select slot / 512 from pay.payment")}) == STREAMS:
            break
    complete(stack, "orders of both streams are told")
    is_({e["stream"] for e in entries(stack)}, set(range(STREAMS)), "in both")


def fields(stack):
    no = order(stack, "A")
    stack.client().refund(no, f"{no}R", 30)
    eventually(lambda: stack.sql("select 1 from pay.refund where state = 2"), "refunded")
    closed = order(stack, "B", paid=False)
    complete(stack, "every move of a payment, its refund and a closed order is told")
    mine = [e for e in entries(stack) if e["out_trade_no"] == no]
    types = [e["event_type"] for e in mine]
    is_(types, ["payment.processing", "payment.pending", "payment.succeeded", "refund.processing", "refund.succeeded"],
        "in its order")
    paid = mine[2]
    is_({k: paid.get(k) for k in ("payment_id", "mchid", "method", "amount", "currency")},
        {"payment_id": payment_id(stack, no), "mchid": stack.env["PAY_MCHID"], "method": "native", "amount": "100",
         "currency": "CNY"}, "with what an order has")
    ok(paid["channel_trade_no"] and paid["channel"] and paid["trace_id"] and paid["create_time"] and paid["cause"],
       "where and when it was paid, and why", paid)
    is_((mine[4]["out_refund_no"], mine[4]["refund_amount"]), (f"{no}R", "30"), "with what a refund has")
    ok("refund_id" not in paid, "which a payment has not")
    is_([e["event_type"] for e in entries(stack) if e["out_trade_no"] == closed][-1], "payment.closed", "the closed one")
    slot = int(stack.sql(f"select slot from pay.payment where out_trade_no = '{no}'")[0][0])
    is_({e["stream"] for e in mine}, {slot * STREAMS // 1024}, "in the stream of its slot")


def groups(stack):
    made = {g["name"] for i in range(STREAMS) for g in redis(stack, "XINFO", "GROUPS", f"pay:events:{i}") or []}
    is_(made, {"risk", "accounts"}, "the consumer groups are there")


class Session:
    """A transaction that stays open."""

    def __init__(self, stack):
        self.psql = subprocess.Popen(["psql", "-qAt", "-d", f"{stack.postgres.conninfo()}"], stdin=subprocess.PIPE,
                                     stdout=subprocess.PIPE, text=True)

    def run(self, sql):
        self.psql.stdin.write(f"{sql};\nselect 'done';\n")
        self.psql.stdin.flush()
        while self.psql.stdout.readline().strip() != "done":
            pass

    def close(self):
        self.psql.stdin.close()
        self.psql.wait()


def move(no, version, from_state=1):
    return ("insert into pay.payment_history (payment_id, event_id, at, version, attempt_n, slot, from_state, to_state, event,"
            f" input, code) select id, {version}, now(), {version}, 0, slot, {from_state}, 2, 1, 'TEST', '' from pay.payment"
            f" where out_trade_no = '{no}'")


def out_of_order(stack):
    """The transaction that began first ends last, another never."""
    no = order(stack, "C")
    first, second = Session(stack), Session(stack)
    first.run("begin; " + move(no, 1001))
    second.run("begin; " + move(no, 1002))
    order(stack, "D")
    complete(stack, "transactions that stay open hold nobody back")
    first.run("commit")
    complete(stack, "what the oldest one wrote comes when it has ended")
    ok(any(1001 in s for s in told(stack).values()), "it is there")
    second.run("rollback")
    order(stack, "E")
    complete(stack, "what was rolled back is not told")
    ok(not any(1002 in s for s in told(stack).values()), "it is not there")
    first.close()
    second.close()


def inverted(stack):
    """One transaction took its number early and wrote a later version: the two may not change places, wherever the
    batches of three are cut."""
    numbers = [order(stack, f"F{i}") for i in range(3)]
    stack.processes["relay0"].stop()
    early = Session(stack)
    early.run("begin; select pg_current_xact_id()")
    for no in numbers:
        stack.sql(move(no, 1001))
    for no in numbers:
        early.run(move(no, 1002))
    early.run("commit")
    early.close()
    stack.start_process("relay0")
    complete(stack, "versions come in their order though their transactions' numbers do not")


def redis_away(stack):
    no = order(stack, "G")
    complete(stack, "all is told, and then Redis goes away")
    stack.kill("redis")
    for version in range(2001, 2006):  # more than a batch of what is not told
        stack.sql(move(no, version, 2))
    order(stack, "G")

    def lag():
        page = urllib.request.urlopen(stack.env["PAY_STATUS_URL"] + "/metrics/relay0", timeout=10).read().decode()
        return {line.split()[0]: int(line.split()[1]) for line in page.splitlines() if not line.startswith("#")}
    eventually(lambda: lag()["pay_relay_lag_seconds"] > 0 and lag()["pay_relay_redis_up"] == 0, "without Redis the lag grows")
    stack.start_process("redis")
    complete(stack, "a new Redis gets all that was told before, and what came meanwhile")
    eventually(lambda: lag()["pay_relay_lag_seconds"] == 0 and lag()["pay_relay_redis_up"] == 1, "no lag any more")
    ok(lag()["pay_relay_refills_total"] > 0, "a refill is counted")
    groups(stack)


def emptied(stack):
    redis(stack, "FLUSHALL")
    complete(stack, "an emptied Redis is filled again, without a reconnect")
    groups(stack)
    redis(stack, "FLUSHALL")
    order(stack, "H")
    complete(stack, "also when new events come at that moment")


def stream_of(stack, no):
    return int(stack.sql(f"select slot from pay.payment where out_trade_no = '{no}'")[0][0]) * STREAMS // 1024


def mark(stack):
    """A place to which the relay may go back, as it makes one itself from time to time."""
    def saved():
        ends = {i: f"{ms}-{seq}" for i, ms, seq in stack.sql("select stream, last_ms, last_seq from pay.relay")}
        return all(redis(stack, "XREVRANGE", f"pay:events:{i}", "+", "-", "COUNT", "1")[0][0] == ends[str(i)] for i in range(STREAMS))
    eventually(saved, "the relay knows where the streams end")
    stack.sql("insert into pay.relay_mark (streams, stream, upto, open, last_ms, last_seq, at)"
              " select streams, stream, upto, open, last_ms, last_seq, now() from pay.relay on conflict do nothing")


def behind(stack):
    """Redis is as it was a while ago, as after a failover: what it lacks comes again, also from a transaction that was open
    at the mark; and what it has does not."""
    first, session = order(stack, "M"), Session(stack)
    session.run("begin; " + move(first, 1003))
    while stream_of(stack, order(stack, "N")) != stream_of(stack, first):
        pass
    complete(stack, "the relay has gone on past a transaction that is open")
    eventually(lambda: stack.sql(f"select 1 from pay.relay where stream = {stream_of(stack, first)} and open <> ''"),
               "and remembers it")
    mark(stack)
    for i in range(STREAMS):
        redis(stack, "COPY", f"pay:events:{i}", f"old:{i}", "REPLACE")
    had = count(stack)
    session.run("commit")
    session.close()
    for prefix in ("O", "P"):
        order(stack, prefix)
        complete(stack, f"{prefix}: all is told")
        mark(stack)
    for i in range(STREAMS):
        redis(stack, "COPY", f"old:{i}", f"pay:events:{i}", "REPLACE")
    complete(stack, "what a Redis lacks that is behind comes again, from the mark that it has reached")
    now = count(stack)
    is_({e: now[e] for e in had}, dict(had), "and nothing that was told before the mark")


def ahead(stack):
    """Something was appended and the relay does not know of it, as when an answer was lost: its batch is told all the same."""
    stack.kill("relay0")
    for i in range(STREAMS):
        redis(stack, "XDEL", f"pay:events:{i}", redis(stack, "XADD", f"pay:events:{i}", "*", "what", "ever"))
    order(stack, "Q")
    stack.start_process("relay0")
    complete(stack, "a stream that ends behind what the relay knows of gets the batch behind its end")


def killed(stack):
    stack.kill("relay0")
    order(stack, "I")
    stack.start_process("relay0")
    complete(stack, "a relay that was killed goes on where it was")


def metrics(stack):
    """The table of docs/events.md against what the two processes with a status socket say."""
    sys.path.insert(0, str(ROOT / "t/docs"))
    from docs import DOCS, table
    import prometheus
    stack.merchant("POST", "/answer", {"status": 410, "times": 1})
    order(stack, "J")
    page = ""

    def given_up():
        nonlocal page
        page = urllib.request.urlopen(stack.env["PAY_STATUS_URL"] + "/metrics/callback0", timeout=10).read().decode()
        flat = prometheus.flat(prometheus.parse(page))
        return flat.get("pay_callback_given_up") == 1 and flat["pay_callback_given_up_total"] == 1
    eventually(given_up, "a callback that was given up is in the metrics", 30)
    relay = urllib.request.urlopen(stack.env["PAY_STATUS_URL"] + "/metrics/relay0", timeout=10).read().decode()
    said = {f.name: f.type for text in (page, relay) for f in prometheus.parse(text).values()}
    rows = table((DOCS / "events.md").read_text(), "metric of a worker", "type", "what it counts")
    is_({r["metric of a worker"]: r["type"] for r in rows}, said, "docs/events.md has the metrics of workers")


def main():
    with flow_stack('"ev":"callback"', payd=OPTIONS, intact=False) as stack:
        both_streams(stack)
        fields(stack)
        groups(stack)
        out_of_order(stack)
        inverted(stack)
        redis_away(stack)
        emptied(stack)
        behind(stack)
        ahead(stack)
        killed(stack)
        metrics(stack)
    done()


main()
