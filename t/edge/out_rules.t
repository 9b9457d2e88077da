#!/usr/bin/python3
"""R1.9: rules, priorities and cost: what they make of the candidates, what the trace is told, and what nginx -t
refuses."""
import collections
import os
import re
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
from edge import Edge, Key, edge, payment  # noqa: E402
from tap import done, is_, like, ok  # noqa: E402

WECHAT = {"User-Agent": "Mozilla/5.0 (iPhone) MicroMessenger/8.0.38 NetType/WIFI"}
ALIPAY = {"User-Agent": "Mozilla/5.0 AliApp(AP/10.3.80) AlipayClient/10.3.80"}


def channel(name, **more):
    lines = {"endpoint": "http://127.0.0.1:1", "adapter": "test", "methods": "native", "amount": "1 1000000",
             "timeout": "connect=1s send=1s read=30s", **more}
    return f"pay_channel {name} {{ " + " ".join(f"{k} {v};" for k, v in lines.items()) + " }\n"


def rule(name, *lines):
    return f"pay_rule {name} {{ " + " ".join(f"{line};" for line in lines) + " }\n"


def create(e, key, headers=None, total=100, **more):
    """The candidates and the reason that payd got, without what the guard says (in_redis.t); None and the refusal."""
    a = e.call(key, body=payment(amount={"total": total, "currency": "CNY"}, **more), headers=headers)
    if a.status != 200:
        return None, f"{a.status} {a.code}"
    got = e.payd.requests[-1]
    return (got["pay-channels"], got["pay-route"].partition(" guard=")[0]) if "pay-channels" in got else (None, got["pay-refuse"])


THREE = channel("one", priority=1) + channel("two", priority=2) + channel("three-x", priority=3)
ABC = "one,two,three-x"
# Name, rules, request, candidates or refusal. All of them stand in one configuration: every case has a key of its own
# and its rules get one more condition, that key's app (or merchant, where the app is what is tested).
TABLE = [
    ("priority alone", "", {}, ABC),
    ("a rule that does not hold", rule("r", "when merchant=1", "exclude one"), {}, ABC),
    ("prefer", rule("r", "when all", "prefer three-x"), {}, "three-x,one,two"),
    ("prefer two: priority decides between them", rule("r", "when all", "prefer three-x two"), {}, "two,three-x,one"),
    ("the earlier preference goes first", rule("r", "when all", "prefer three-x") + rule("s", "when all", "prefer two one"), {},
     "three-x,one,two"),
    ("exclude", rule("r", "when all", "exclude one"), {}, "two,three-x"),
    ("only", rule("r", "when all", "only two"), {}, "two"),
    ("only and exclude leave nothing", rule("r", "when all", "only two") + rule("s", "when all", "exclude two"), {},
     "NO_CHANNEL /method"),
    ("only what is not a candidate", rule("r", "when all", "only off"), {}, "NO_CHANNEL /method"),
    # conditions
    ("merchant", rule("r", "when merchant=1900000009,1900000002", "only two"), {"mchid": "1900000002"}, "two"),
    ("merchant, another", rule("r", "when merchant=1900000009,1900000002", "only two"), {}, ABC),
    ("merchant, negated", rule("r", "when merchant!=1900000002", "only two"), {"mchid": "1900000002"}, ABC),
    ("merchant, negated, another", rule("r", "when merchant!=1900000002", "only two"), {}, "two"),
    ("merchants of a file", rule("r", "when merchants=list", "only two"), {"mchid": "1900000002"}, "two"),
    ("merchants of a file and more", rule("r", "when merchants=list merchant=1900000001", "only two"), {}, "two"),
    ("merchants of a file, another", rule("r", "when merchants=list", "only two"), {}, ABC),
    ("merchants of an empty file", rule("r", "when merchants=empty", "only two"), {}, ABC),
    ("app", rule("r", "when app=app2", "only two"), {"app": "app2"}, "two"),
    ("app, another", rule("r", "when app=app2", "only two"), {}, ABC),
    ("method", rule("r", "when method=native,h5", "only two"), {}, "two"),
    ("method, another", rule("r", "when method=h5", "only two"), {}, ABC),
    ("amount from", rule("r", "when amount=500-", "only two"), {"total": 500}, "two"),
    ("amount below from", rule("r", "when amount=500-", "only two"), {"total": 499}, ABC),
    ("amount to", rule("r", "when amount=-500", "only two"), {"total": 500}, "two"),
    ("amount above to", rule("r", "when amount=-500", "only two"), {"total": 501}, ABC),
    ("amount within", rule("r", "when amount=400-500", "only two"), {"total": 450}, "two"),
    ("one amount", rule("r", "when amount=7", "only two"), {"total": 7}, "two"),
    ("amount, negated", rule("r", "when amount!=400-500", "only two"), {"total": 450}, ABC),
    ("currency", rule("r", "when currency=CNY", "only two"), {}, "two"),
    ("currency, another", rule("r", "when currency=USD,EUR", "only two"), {}, ABC),
    ("scene", rule("r", "when scene=store,pc", "only two"), {"scene": "pc"}, "two"),
    ("scene, another", rule("r", "when scene=store,pc", "only two"), {"scene": "app"}, ABC),
    ("scene that is not told", rule("r", "when scene=store", "only two"), {}, ABC),
    ("wallet", rule("r", "when wallet=alipay", "only two"), {"headers": ALIPAY}, "two"),
    ("wallet, another", rule("r", "when wallet=alipay,unionpay", "only two"), {"headers": WECHAT}, ABC),
    ("no wallet", rule("r", "when wallet=other", "only two"), {}, "two"),
    ("parts of a line must all hold", rule("r", "when merchant=1900000001 amount=500-", "only two"), {}, ABC),
    ("and do", rule("r", "when merchant=1900000001 amount=100-", "only two"), {}, "two"),
    ("one of several lines is enough", rule("r", "when merchant=1", "when amount=100", "only two"), {}, "two"),
    ("every share", rule("r", "when share=256/256", "only two"), {}, "two"),
    # the merchant's wish
    ("a wish for a name with a dash", "", {"channel": "three-x"}, "three-x"),
    ("a wish against a preference", rule("r", "when all", "prefer one"), {"channel": "two"}, "two"),
    ("a wish is no way around a rule", rule("r", "when all", "exclude two"), {"channel": "two"}, "NO_CHANNEL /channel"),
]


class Case:
    def __init__(self, i, rules, request):
        request = dict(request)
        by_app = "app=" not in rules
        self.request = {k: v for k, v in request.items() if k not in ("mchid", "app")}
        self.key = Key(f"K{i}", mchid=request.get("mchid", "1900000001") if by_app else f"m{i}",
                       app=f"a{i}" if by_app else request.get("app", "app1"))
        tag = f"app=a{i}" if by_app else f"merchant=m{i}"
        # names of rules are unique
        rules = re.sub(r"pay_rule (\w+)", rf"pay_rule c{i}\1", rules)
        self.rules = re.sub(r"when (all)?([^;]*);", rf"when \2 {tag};", rules)


def behaviour():
    cases = [Case(i, rules, request) for i, (_, rules, request, _) in enumerate(TABLE)]
    free = Key("FREE")
    with edge(free, *(c.key for c in cases), location="pay_route on;") as e:
        (e.folder / "list").write_text("# ours\n1900000002  # the second\n\n1900000077\r\n")
        (e.folder / "empty").write_text("# nobody\n")
        # the rules stand before the channels they name
        e.reload(http="".join(c.rules for c in cases) + THREE + channel("off", state="off"))
        for case, (name, _, _, want) in zip(cases, TABLE):
            got, reason = create(e, case.key, **case.request)
            is_(got if got is not None else reason, want, name)

        e.reload(http=THREE + rule("vip", "when merchant=1900000001", "prefer two")
                 + rule("web", "when wallet=wechat", "prefer three-x") + rule("never", "when amount=9", "exclude one"))
        is_(create(e, free, headers=WECHAT), ("two,three-x,one", "by=weight open=3 fit=3 ill=0 busy=0 wallet=wechat rules=vip,web"),
            "the trace is told what decided")
        e.reload(http=THREE + "".join(rule(f"r{i}", "when all", "prefer two") for i in range(7)))
        is_(create(e, free)[1], "by=weight open=3 fit=3 ill=0 busy=0 rules=r0,r1,r2,r3+3", "and not more than a header holds")
        is_(create(e, free, channel="two")[1], "by=wish open=1 fit=1 ill=0 busy=0 rules=r0,r1,r2,r3+3", "a wish is called one")

        shares(e, free)
        cost(e, free)


def shares(e, key):
    """A share of the orders, always the same ones, growing with the share."""
    taken = {}
    for share in ("1/4", "1/2"):
        e.reload(http=THREE + rule("gray", f"when share={share}", "prefer three-x"))
        taken[share] = {i for i in range(200) if create(e, key, out_trade_no=f"SHARE{i}")[0].startswith("three-x")}
    ok(25 <= len(taken["1/4"]) <= 80 and 70 <= len(taken["1/2"]) <= 130, "a share of the orders",
       [len(t) for t in taken.values()])
    ok(taken["1/4"] < taken["1/2"], "who was in stays in")
    again = {i for i in range(0, 200, 10) if create(e, key, out_trade_no=f"SHARE{i}")[0].startswith("three-x")}
    is_(again, {i for i in taken["1/2"] if i % 10 == 0}, "the same order, the same side")


def cost(e, key):
    blocks = (channel("dear", fee="0.60%", weight=10000) + channel("cheap", fee="0.30% min=50")
              + channel("unknown", weight=10000) + channel("flat", fee="0% fixed=55 max=1000"))
    e.reload(http=blocks, location="pay_route on by=cost;")
    is_(create(e, key, total=1000), ("dear,cheap,flat", "by=cost open=4 fit=4 ill=0 busy=0"), "6, 50, 55; what is not known comes last")
    is_(create(e, key, total=100000)[0], "flat,cheap,dear", "55, 300, 600")
    e.reload(http=blocks + rule("w", "when amount=1000", "by weight"), location="pay_route on by=cost;")
    first = collections.Counter(create(e, key, total=1000)[0].split(",")[0] for _ in range(40))
    ok(first["unknown"] > 5 and first["dear"] > 5, "a rule asks for weight", first)
    e.reload(http=blocks + rule("c", "when amount=1000", "by cost") + rule("w", "when all", "by weight"))
    is_(create(e, key, total=1000), ("dear,cheap,flat", "by=cost open=4 fit=4 ill=0 busy=0 rules=c,w"), "the first rule that says so")


def errors():
    e = Edge(location="pay_route on;")
    good = THREE + rule("r", "when all", "only two")
    is_(e.test(e.conf(http=good)), "", "the sample is accepted")
    (e.folder / "bad").write_text("1900000001\nno name\n")
    wrong = [
        (rule("r", "when all", "only nobody"), 'unknown channel "nobody"'),
        (rule("r", "when all", "only one", "prefer two nobody"), 'unknown channel "nobody"'),
        (rule("r", "only one"), 'no "when" in pay_rule "r"'),
        (rule("r", "when all"), 'pay_rule "r" does nothing'),
        (rule("r", "when all", "only one", "only two"), '"only" is duplicate'),
        (rule("r", "when all", "only one one"), 'invalid value "one" in "only"'),
        (rule("r", "when all", "only"), 'invalid number of arguments in "only"'),
        (rule("r", "when all", "avoid one"), 'unknown directive "avoid" in pay_rule "r"'),
        (rule("r", "when all", "by luck"), 'invalid value "luck" in "by"'),
        (rule("R", "when all", "only one"), 'invalid value "R" in "pay_rule"'),
        (rule("r" * 33, "when all", "only one"), 'in "pay_rule"'),
        (rule("r", "when all", "only one") * 2, 'duplicate pay_rule "r", first in '),
        *((rule("r", f"when {bad}", "only one"), f'invalid value "{bad}" in "when"') for bad in (
            "everything", "=x", "merchant", "merchant=", "merchant=a,,b", "merchant=,a", "merchant=a,", "merchant=a.b",
            "merchant=" + "9" * 33, "app=a/b", "method=cash", "wallet=WeChat", "currency=cny", "scene=train", "amount=-",
            "amount=", "amount=0-5", "amount=9-5", "amount=5-100000000001", "amount=x", "amount=1-2,3-4", "share=1/3",
            "share=0/4", "share=5/4", "share=1/512", "share=1", "share=1/4,1/2", "work=create", "channel=one",
            "pool!=x", "amount==5")),
        (rule("r", "when method=native method=h5", "only one"), '"method" is duplicate in "when"'),
        (rule("r", "when merchant=a merchant!=b", "only one"), '"merchant" is duplicate in "when"'),
        (rule("r", "when merchants=none", "only one"), 'none" failed'),
        (rule("r", "when merchants=bad", "only one"), 'invalid name "no name"'),
        ("".join(rule(f"r{i}", "when all", "only one") for i in range(257)), "at most 256 blocks"),
        ("".join(rule(f"r{i}", *["when all"] * 9, "only one") for i in range(30)), 'more than 256 "when"'),
        (channel("x", priority=0), 'invalid value "0" in "priority"'),
        (channel("x", priority=1001), 'invalid value "1001" in "priority"'),
        *((channel("x", fee=f"0.6% {bad}"), f'invalid value "{bad}" in "fee"') for bad in ("fixed=x", "more=1", "min=-1", "0")),
        (channel("x", fee="0.6"), 'invalid value "0.6" in "fee"'),
        (channel("x", fee="100.0001%"), "in \"fee\""),
        (channel("x", fee="0.6% min=5 max=4"), '"min" of "fee" is above "max"'),
    ]
    for text, reason in wrong:
        said = e.test(e.conf(http=THREE + text))
        lines = [line for line in said.splitlines() if "[emerg]" in line and reason in line]
        ok(lines and re.search(r" in \S+(nginx\.conf|/bad):\d+$", lines[0]), reason, said)
    for bad in ("yes", "on by=luck", "off by=cost"):
        like(e.test(e.conf(location=f"pay_route {bad};")), r'invalid value ".*" in "pay_route" in \S+nginx.conf:\d+', f"pay_route {bad}")
    like(e.test(e.conf(location="pay_route on; pay_route on;")), '"pay_route" directive is duplicate', "pay_route twice")
    e.stop()


behaviour()
errors()
done()
