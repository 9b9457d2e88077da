#!/usr/bin/python3
"""R3.4: notifications through the real edge and worker, each member tampered with alone under an otherwise valid signature:
refused or not taken, counted, logged, and the order stays as it is; a flood of forged ones asks the database nothing."""
import os
import re
import sys
import time
import urllib.request

sys.path[:0] = [os.path.join(os.path.dirname(__file__), d) for d in ("../lib", "../docs")]
from docs import table  # noqa: E402
from flow import ROOT, becomes, bank_orders, done, eventually, flow_stack, is_, number, ok  # noqa: E402
from notifier import REFUSED, TAKEN, Notifier  # noqa: E402
import prometheus  # noqa: E402

FLOOD = 100  # for each channel
CHANNELS = ("wechat", "wechat_v2", "alipay", "unionpay", "bank")
NOBODY = "P2026N0B0DY"

# Where the order number stands, and each member that the channel's own documents tell to compare, changed alone and signed
# again: what becomes of it. None: the member is not there at all.
NUMBER = {"wechat": "out_trade_no", "wechat_v2": "out_trade_no", "alipay": "out_trade_no", "unionpay": "orderId", "bank": "order_no"}
TAMPERED = {
    "wechat": [
        ("merchant", {"mchid": "1900000999"}, "refused"), ("no merchant", {"mchid": None}, "refused"),
        ("app", {"appid": "wx0000000000000000"}, "refused"), ("no app", {"appid": None}, "refused"),
        ("amount", {"amount.total": 889}, "mismatch"), ("no amount", {"amount": {}}, "refused"),
        ("an amount that is a text", {"amount.total": "888"}, "refused"),
        ("currency", {"amount.currency": "USD"}, "mismatch"), ("no currency", {"amount.currency": None}, "refused")],
    "wechat_v2": [
        ("merchant", {"mch_id": "1900000999"}, "refused"), ("no merchant", {"mch_id": None}, "refused"),
        ("app", {"appid": "wx0000000000000000"}, "refused"), ("no app", {"appid": None}, "refused"),
        ("amount", {"total_fee": "889"}, "mismatch"), ("no amount", {"total_fee": None}, "refused"),
        ("an amount in yuan", {"total_fee": "8.88"}, "refused"), ("a negative amount", {"total_fee": "-888"}, "refused"),
        ("currency", {"fee_type": "USD"}, "mismatch")],
    "alipay": [
        ("app", {"app_id": "2014072300000000"}, "refused"), ("no app", {"app_id": None}, "refused"),
        ("seller", {"seller_id": "2088101106499365"}, "refused"), ("no seller", {"seller_id": None}, "refused"),
        ("amount", {"total_amount": "8.89"}, "mismatch"), ("no amount", {"total_amount": None}, "refused"),
        ("an amount in fen", {"total_amount": "888"}, "mismatch"), ("a negative amount", {"total_amount": "-8.88"}, "refused"),
        ("three decimals", {"total_amount": "8.880"}, "refused"), ("another algorithm", {"sign_type": "RSA"}, "refused")],
    "unionpay": [
        ("merchant", {"merId": "777290058110049"}, "refused"), ("no merchant", {"merId": None}, "refused"),
        ("amount", {"txnAmt": "889"}, "mismatch"), ("no amount", {"txnAmt": None}, "refused"),
        ("an amount in yuan", {"txnAmt": "8.88"}, "refused"),
        ("currency", {"currencyCode": "840"}, "mismatch"), ("no currency", {"currencyCode": None}, "refused")],
    "bank": [
        ("merchant", {"mch_id": "M10002"}, "refused"), ("no merchant", {"mch_id": None}, "refused"),
        ("amount", {"amount": 887}, "mismatch"), ("no amount", {"amount": None}, "refused"),
        ("a negative amount", {"amount": -888}, "refused"), ("an amount that is a text", {"amount": "888"}, "refused"),
        ("currency", {"currency": "USD"}, "mismatch"), ("no currency", {"currency": None}, "refused")]}

# R2.14, the call's layer and the trade's: genuine messages that say no success. Whatever is made of them, nobody is paid.
NOT_PAID = {
    "wechat": [("a trade that is not paid", {"trade_state": "NOTPAY"}), ("a state nobody knows", {"trade_state": "PAID"}),
               ("no state", {"trade_state": None})],
    "wechat_v2": [("the call failed", {"return_code": "FAIL"}), ("no return code", {"return_code": None}),
                  ("the trade failed", {"result_code": "FAIL"}), ("no result", {"result_code": None})],
    "alipay": [("a payer who acts", {"trade_status": "WAIT_BUYER_PAY"}), ("closed", {"trade_status": "TRADE_CLOSED"}),
               ("a state nobody knows", {"trade_status": "PAID"}), ("no state", {"trade_status": None})],
    "unionpay": [("failed", {"respCode": "01"}), ("under way", {"respCode": "05"}), ("no code", {"respCode": None}),
                 ("a transaction of another kind", {"txnType": "02"})],
    "bank": [("another event", {"event": "ORDER_CLOSED"}), ("no event", {"event": None})]}

# under the signature: (what stands in the finished body, what stands there then)
SPOILT = {"wechat": ('"nonce": "', '"nonce": "0'), "wechat_v2": ("<total_fee><![CDATA[888]]>", "<total_fee><![CDATA[88]]>"),
          "alipay": ("total_amount=8.88", "total_amount=0.01"), "unionpay": ("txnAmt=888", "txnAmt=88"), "bank": ("888", "88")}


def page(stack, process="order0"):
    with urllib.request.urlopen(f"http://127.0.0.1:{stack.status_port}/metrics/{process}") as answer:
        return prometheus.parse(answer.read().decode())


def ends(stack, channel):
    flat = prometheus.flat(page(stack))
    return {m[1]: int(v) for k, v in flat.items()
            if (m := re.fullmatch(rf'pay_worker_notifications_total{{channel="{channel}",end="(\w+)"}}', k)) and v}


def order(stack, channel):
    no = number("N")
    made = []

    def taken():  # at the latest when a restarted worker is there again
        made.append(stack.client("hmac").create_payment(no, 888, channel=channel))
        return made[-1].status in (200, 201) and made[-1].json["state"] == "pending"
    eventually(taken, f"an order over {channel} is taken")
    return no, bank_orders(stack, made[-1].json["id"])[0]["out_trade_no"]


def money(stack, out_trade_no):
    return stack.sql("select state, amount, currency, channel, account, channel_trade_no, succeeded_at is null from pay.payment"
                     f" where out_trade_no = '{out_trade_no}'")[0]


def changed(paid, change):
    for key, value in change.items():
        *outer, last = key.split(".")
        inner = paid
        for o in outer:
            inner = inner[o]
        if value is None:
            del inner[last]
        else:
            inner[last] = value
    return paid


class Refusals:
    """Sends what must not be believed; each time exactly one more is counted, and it is not acknowledged."""

    def __init__(self, stack, notifier, channel):
        self.stack, self.notifier, self.channel, self.want = stack, notifier, channel, ends(stack, channel)

    def check(self, said, end, name):
        self.want[end] = self.want.get(end, 0) + 1
        got = ends(self.stack, self.channel)
        ok(said[0] >= 400 and (REFUSED[self.channel] in said[1] or not said[1]) and got == self.want,
           f"{self.channel}: {name}: {end}, not acknowledged, counted", said, got, self.want)
        self.want = got

    def send(self, paid, end, name, **more):
        self.check(self.notifier.send(self.channel, paid, **more), end, name)


def tampered(stack, notifier, channel, foreign):
    """Each member alone under a good signature; each signature; then the genuine one."""
    no, request_no = order(stack, channel)
    before, refusals = money(stack, no), Refusals(stack, notifier, channel)
    number_is = NUMBER[channel]

    def genuine():
        return notifier.genuine(channel, request_no)
    for name, change, end in TAMPERED[channel]:
        refusals.send(changed(genuine(), change), end, name)
    unknown = re.sub(r"\d(?=\d\d$)", lambda m: str((int(m[0]) + 1) % 10), request_no)
    for name, value, end in (("no order number", None, "refused"), ("a number of nobody's form", NOBODY, "refused"),
                             ("the order of another channel", foreign, "unknown_order"),
                             ("an order that does not exist", unknown, "unknown_order")):
        refusals.send(changed(genuine(), {number_is: value}), end, name)
    refusals.send(genuine(), "refused", "a changed body", spoil=SPOILT[channel])
    refusals.send(genuine(), "refused", "another's key", foreign=True)
    if channel in ("wechat", "bank"):
        for name, seconds in (("an old timestamp", -400), ("a timestamp to come", 400)):
            refusals.send(genuine(), "refused", name, at=int(time.time()) + seconds)
    is_(money(stack, no), before, f"{channel}: the order is as it was")
    for name, change in NOT_PAID[channel]:
        notifier.send(channel, changed(genuine(), change))
        is_(money(stack, no), before, f"{channel}: R2.14: {name}: nobody is paid")
    for path in (f"/notify/{channel}/nobody", "/notify/nothing/main"):
        is_(notifier.send(channel, genuine(), path=path)[0], 404, f"{channel}: {path} is nobody's")
    was, versions = ends(stack, channel).get("taken", 0), set()
    for name in ("the genuine one", "a duplicate", "another one"):
        said = notifier.send(channel, genuine())
        ok(said[0] == 200 and TAKEN[channel] in said[1], f"{channel}: {name} is acknowledged as the channel wants", said)
        becomes(stack, no, "succeeded", f"{channel}: and taken")
        versions.add(stack.sql(f"select version from pay.payment where out_trade_no = '{no}'")[0][0])
    is_(len(versions), 1, f"{channel}: once")
    is_(ends(stack, channel).get("taken"), was + 3, f"{channel}: all are counted as taken")
    return request_no


def hostile(stack, notifier):
    """XML that wants to be more than a list of names and values, and what is no UTF-8: refused whatever its signature."""
    no, request_no = order(stack, "wechat_v2")
    refusals = Refusals(stack, notifier, "wechat_v2")
    good = notifier.wechat_v2(notifier.genuine("wechat_v2", request_no), None, False)[0]
    for name, body in (("a DOCTYPE", '<!DOCTYPE xml [<!ENTITY e SYSTEM "file:///etc/passwd">]>' + good),
                       ("an entity", good.replace("<xml>", "<xml><x>&e;</x>")),
                       ("a CDATA that is split", good.replace("[888]]>", "[8]]><![CDATA[88]]>", 1)),
                       ("an element twice", good.replace("<xml>", "<xml><total_fee>1</total_fee>")),
                       ("depth", good.replace("<xml>", "<xml>" + "<a>" * 40 + "</a>" * 40)),
                       ("a second root", good + "<xml/>"), ("nothing", ""), ("half of it", good[:len(good) // 2])):
        refusals.check(notifier.post("/notify/wechat_v2/main", body, {"Content-Type": "text/xml"}), "refused", name)
    refusals.check(notifier.post("/notify/wechat_v2/main", good.encode("utf-16"), {"Content-Type": "text/xml"}), "refused", "UTF-16")
    is_(money(stack, no)[0], "2", "wechat_v2: the order waits")


def queries(stack, request_nos):
    return len([r for r in stack.bank("GET", "/orders")[1]["requests"] if r["api"] == "query" and r["out_trade_no"] in request_nos])


def flood(stack, notifier):
    """Forged ones of every channel. Statements that look payments up are counted by PostgreSQL itself."""
    open_orders = {channel: order(stack, channel) for channel in CHANNELS}
    request_nos = [r for _, r in open_orders.values()]
    scans = "select idx_scan + seq_scan from pg_stat_user_tables where relname = 'payment'"
    was, asked = {c: ends(stack, c).get("refused", 0) for c in CHANNELS}, int(stack.sql(scans)[0][0])
    before = queries(stack, request_nos)
    for channel, (_, request_no) in open_orders.items():
        for i in range(FLOOD):
            notifier.send(channel, notifier.genuine(channel, request_no), spoil=SPOILT[channel])
        is_(ends(stack, channel)["refused"], was[channel] + FLOOD, f"{channel}: {FLOOD} forged notifications are counted")
    total = FLOOD * len(CHANNELS)
    lines = [line for line in (stack.log / "order0.log").read_text().splitlines() if "notification" in line]
    ok(len(lines) < total, f"the log has {len(lines)} lines about them and those before")
    # the statistics of a session come late, with one of its next statements
    eventually(lambda: stack.client("hmac").find(open_orders["bank"][0]).status == 200 and int(stack.sql(scans)[0][0]) > asked,
               "look-ups are counted")
    looked = int(stack.sql(scans)[0][0]) - asked
    ok(looked < total / 4, f"payments were looked up {looked} times meanwhile, not once a message")
    now = queries(stack, request_nos) - before
    ok(now < 20, f"and the channels were asked {now} times by the orders' own timers")
    is_({money(stack, no)[0] for no, _ in open_orders.values()}, {"2"}, "the orders wait")


def lookups(stack):
    """Statements that looked payments up; those of a session come late, with one of its next."""
    return int(stack.sql("select idx_scan + seq_scan from pg_stat_user_tables where relname = 'payment'")[0][0])


def replay(stack, notifier):
    """Whoever replays what was genuine, or holds the account's key: few of such notifications reach the database."""
    path = stack.conf / "payd.conf"
    path.write_text(re.sub(r"(?m)^notify_misses +\d+;", "notify_misses 1;", path.read_text()))
    stack.restart("order0")
    no, request_no = order(stack, "bank")
    paid = notifier.genuine("bank", request_no)
    is_(eventually(lambda: notifier.send("bank", paid)[0] == 200, "a genuine notification is acknowledged"), True, "by the new process")
    becomes(stack, no, "succeeded", "and taken")
    was, asked = ends(stack, "bank"), lookups(stack)
    for i in range(FLOOD):
        notifier.send("bank", paid)
    is_(ends(stack, "bank")["taken"], was["taken"] + FLOOD, f"replayed {FLOOD} times it is acknowledged each time")
    last = int(request_no[-6:-2])
    for i in range(FLOOD):
        notifier.send("bank", notifier.genuine("bank", f"{request_no[:-6]}{(last + 1 + i) % 10000:04}{request_no[-2:]}"))
    now = ends(stack, "bank")
    is_(now.get("limited", 0) + now.get("unknown_order", 0), FLOOD, f"{FLOOD} genuine ones of no order: {now}")
    ok(now.get("limited", 0) > FLOOD / 2, "most of them are not looked up")
    eventually(lambda: stack.client("hmac").find(no).status == 200 and lookups(stack) > asked, "look-ups are counted")
    looked = lookups(stack) - asked
    ok(looked < FLOOD, f"payments were looked up {looked} times in {2 * FLOOD} notifications")
    ok(any('"notifications_limited"' in line for line in (stack.log / "order0.log").read_text().splitlines()), "and it is told")


def documented(stack):
    families = {}
    for process in ("order0", "timer0"):
        eventually(lambda: len(page(stack, process)["pay_worker_certificate_end_seconds"].labels()) == 3, f"{process} has the account")
        families.update(page(stack, process))
    for shared in ("pay_worker_info", "pay_worker_orders"): # docs/events.md
        del families[shared]
    rows = table((ROOT / "docs/metrics.md").read_text(), "metric of a process", "type", "labels")
    is_({r["metric of a process"]: (r["type"], sorted(re.findall(r"\w+", r["labels"]))) for r in rows},
        {f.name: (f.type, f.labels()) for f in families.values()}, "docs/metrics.md has the metrics of the workers")


def main():
    with flow_stack('"notification_refused"', '"notification_not_taken"', '"notifications_not_told"', '"notifications_limited"', '"ev":"case"',
                    payd={"query_interval": "60s", "query_max": "60s"}, also=["wechat_v2", "alipay", "unionpay"],
                    channels={c: {"query_first": "60s"} for c in CHANNELS}) as stack:
        notifier = Notifier(stack)
        stack.payctl("account", "set", "wechat", "main", "--secret", f"certificate={stack.keys.path('wechat_mch.crt')}")
        name = 'pay_worker_certificate_end_seconds{channel="wechat",account="main",certificate="certificate"}'
        end = eventually(lambda: prometheus.flat(page(stack)).get(name), "the end of our certificate is a metric")
        ok(end > time.time(), "and lies ahead")
        foreign = order(stack, "bank")[1]
        for channel in ("wechat", "wechat_v2", "alipay", "unionpay", "bank"):
            foreign = tampered(stack, notifier, channel, foreign)
        hostile(stack, notifier)
        flood(stack, notifier)
        documented(stack)
        refused = eventually(lambda: [line for line in (stack.log / "order0.log").read_text().splitlines()
                                      if '"notification_refused"' in line], "refusals are logged")
        ok(all('"reason":"' in line and '"lvl":"alert"' in line for line in refused), "as alerts, with the reason")
        is_({c for c in CHANNELS if not any(f'"channel":"{c}"' in line for line in refused)}, set(), "of every channel")
        replay(stack, notifier)
    done()


main()
