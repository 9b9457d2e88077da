#!/usr/bin/python3
"""R1.9, R1.7: which channels a new payment may take: state, method, amount, room, weight, the merchant's
wish; stable per order; each refusal has its own code."""
import collections
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
import egress  # noqa: E402
from edge import Key, edge, payment, wait_until  # noqa: E402
from egress import LOCATION, bank  # noqa: E402
from tap import done, is_, ok  # noqa: E402


def channel(name, methods="native", amount="1 1000000", **more):
    lines = {"endpoint": "http://127.0.0.1:1", "adapter": "test", "methods": methods, "amount": amount,
             "timeout": "connect=1s send=1s read=30s", **more}
    return f"pay_channel {name} {{ " + " ".join(f"{k} {v};" for k, v in lines.items()) + " }\n"


key = Key("K1")


def create(e, **more):
    """Status, code, pointer, and the candidates that payd got. What no channel may take goes to payd with the
    refusal: it may be a repetition."""
    a = e.call(key, body=payment(**more))
    if a.status == 200 and "pay-refuse" in e.payd.requests[-1]:
        code, pointer = e.payd.requests[-1]["pay-refuse"].split(" ")
        is_(e.payd.requests[-1].get("pay-channels"), None, "a refusal comes without candidates")
        return 422, code, pointer, None
    got = e.payd.requests[-1].get("pay-channels") if a.status == 200 else None
    return a.status, a.code, a.pointer, got


# (name, channels, body, status, code, pointer, candidates)
def amount(total):
    return {"amount": {"total": total, "currency": "CNY"}}


ON, OFF, DRAIN, BLOCK = ({"state": s} for s in ("on", "off", "drain", "block"))
NO = (422, "NO_CHANNEL")
RANGE = (422, "AMOUNT_OUT_OF_RANGE", "/amount/total", None)
TABLE = [
    ("one channel", channel("a"), {}, (200, None, None, {"a"})),
    ("none at all", "", {}, (*NO, "/method", None)),
    ("none with the method", channel("a", "jsapi h5"), {}, (*NO, "/method", None)),
    ("only the one with the method", channel("a", "jsapi") + channel("b"), {}, (200, None, None, {"b"})),
    ("off", channel("a", **OFF), {}, (*NO, "/method", None)),
    ("drain", channel("a", **DRAIN), {}, (*NO, "/method", None)),
    ("block", channel("a", **BLOCK), {}, (*NO, "/method", None)),
    ("those that are on", channel("a", **OFF) + channel("b") + channel("c", **DRAIN) + channel("d"), {},
     (200, None, None, {"b", "d"})),
    ("amount below", channel("a", amount="100 200"), amount(99), RANGE),
    ("amount at the lower end", channel("a", amount="100 200"), amount(100), (200, None, None, {"a"})),
    ("amount at the upper end", channel("a", amount="100 200"), amount(200), (200, None, None, {"a"})),
    ("amount above", channel("a", amount="100 200"), amount(201), RANGE),
    ("amount between two channels", channel("a", amount="1 100") + channel("b", amount="200 300"), amount(150), RANGE),
    ("the one that takes the amount", channel("a", amount="1 100") + channel("b", amount="101 300"), amount(150),
     (200, None, None, {"b"})),
    ("amount fits only one that is off", channel("a", **OFF) + channel("b", amount="200 300"), amount(100), RANGE),
    ("at most three", "".join(channel(f"c{i}") for i in range(6)), {}, (200, None, None, 3)),
    ("a wish", channel("a", weight="10000") + channel("b"), {"channel": "b"}, (200, None, None, {"b"})),
    ("a wish that does not exist", channel("a"), {"channel": "b"}, (*NO, "/channel", None)),
    ("a wish that is off", channel("a") + channel("b", **OFF), {"channel": "b"}, (*NO, "/channel", None)),
    ("a wish without the method", channel("a") + channel("b", "h5"), {"channel": "b"}, (*NO, "/channel", None)),
    ("a wish that does not take the amount", channel("a") + channel("b", amount="200 300"),
     {"channel": "b", **amount(100)}, RANGE),
]

with edge(key, location="pay_route on;") as e:
    for name, channels, body, want in TABLE:
        e.reload(http=channels)
        status, code, pointer, got = create(e, **body)
        if isinstance(want[3], set):
            got = set(got.split(",")) if got else got
        elif isinstance(want[3], int):
            got = len(set(got.split(","))) if got else got
        is_((status, code, pointer, got), want, name)

    # what is not a creation needs no channel
    a = e.call(key, "GET", "/v1/payments?out_trade_no=ABC12345", body=b"")
    is_((a.status, e.payd.requests[-1].get("pay-channels")), (200, None), "a query is not routed")

    # weights, and the same choice for the same order
    e.reload(http=channel("heavy", weight="80") + channel("light", weight="20") + channel("h5", "h5"))
    first = collections.Counter()
    chosen = {}
    for i in range(300):
        status, _, _, got = create(e, out_trade_no=f"ORDER-{i}")
        chosen[i] = got
        first[got.split(",")[0]] += 1
    ok(200 <= first["heavy"] <= 275, "80 to 20", first)
    is_({len(c.split(",")) for c in chosen.values()}, {2}, "the other one follows")
    is_([i for i in range(0, 300, 10) if create(e, out_trade_no=f"ORDER-{i}")[3] != chosen[i]], [],
        "a repeated order gets the same channels")
    e.reload()
    e.reload(http=channel("heavy", weight="80") + channel("light", weight="20") + channel("h5", "h5"))
    is_([i for i in range(0, 300, 10) if create(e, out_trade_no=f"ORDER-{i}")[3] != chosen[i]], [],
        "also after a reload")
    ok(e.payd.requests[-1]["pay-route"].startswith("by=weight open=2 fit=2"), "the reason is told",
       e.payd.requests[-1]["pay-route"])

    # merchants cannot set the facts
    a = e.call(key, body=payment(), headers={"Pay-Channels": "evil", "Pay-Route": "evil"})
    r = e.payd.requests[-1]
    is_(("evil" in r["pay-channels"], "evil" in r["pay-route"], len([k for k, _ in r["headers"] if k == "Pay-Channels"])),
        (False, False, 1), "a merchant's own Pay-Channels is dropped")

# full channels: with the egress in the same nginx
with bank() as b, edge(key, location="pay_route on;") as e:
    path = str(e.folder / "egress.sock")
    server = f"server {{ listen unix:{path}; location / {{ {LOCATION} }} }}"
    both = channel("a", endpoint=b.url, concurrency="5") + channel("b", endpoint=b.url, concurrency="5")
    e.reload(http=both + server)

    def hold(name, count=4, kind="pay"):
        at = len(b.requests)
        calls = [egress.Later(lambda: egress.call(path, "/hold", channel=name, kind=kind)) for _ in range(count)]
        wait_until(lambda: len(b.requests) == at + count)
        return calls

    held = hold("a")
    is_({create(e)[3] for _ in range(20)}, {"b"}, "a full channel is left out")
    a = e.call(key, body=payment(channel="a"))
    is_((a.status, a.code, a.header("Retry-After")), (503, "CHANNEL_BUSY", "1"), "a wish for a full channel")
    held += hold("b", 3)
    is_(create(e)[3], "b", "one place is left")
    held += hold("b", 1)
    a = e.call(key, body=payment())
    is_((a.status, a.code, a.header("Retry-After")), (503, "CHANNEL_BUSY", "1"), "all full")
    ok(a.signed_with(key), "signed")
    b.gate.set()
    [h.get() for h in held]
    is_(create(e)[0], 200, "room again")

    # rescue calls that fill the whole cap leave no room for payments either
    b.gate.clear()
    held = hold("a", 5, "query") + hold("b", 5, "query")
    is_(create(e)[:2], (503, "CHANNEL_BUSY"), "full of rescue calls")
    b.gate.set()
    [h.get() for h in held]

    # over its rate: the burst and one, then nothing for an hour
    e.reload(http=channel("a", endpoint=b.url, rate="pay=1/h burst=1") + channel("b", endpoint=b.url) + server)
    egress.call(path, channel="a")
    is_(create(e, channel="a")[3], "a", "one call is left of its rate")
    egress.call(path, channel="a")
    is_({create(e)[3] for _ in range(20)}, {"b"}, "a channel over its rate is left out")
    a = e.call(key, body=payment(channel="a"))
    is_((a.status, a.code, a.header("Retry-After")), (503, "CHANNEL_BUSY", "1"), "a wish for a channel over its rate")
    e.reload(http=channel("a", endpoint=b.url, rate="pay=50/s burst=1") + channel("b", endpoint=b.url) + server)
    ok(wait_until(lambda: create(e, channel="a")[3] == "a"), "a rate that was raised does not hold back for the old one's hour")

done()
