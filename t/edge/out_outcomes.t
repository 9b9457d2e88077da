#!/usr/bin/python3
"""R8.1: what workers read in the channels' answers counts for their health; who may tell; and an operator's word
closes a breaker."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
from egress import CHANNEL, bank, nginx  # noqa: E402
from tap import done, is_, ok, skip  # noqa: E402

OUT = (503, "CHANNEL_OUT", "no")
NOBODY = 65534


def entry(cls, count=1, channel="bank", kind="pay", ms=0):
    return {"channel": channel, "kind": kind, "class": cls, "count": count, "ms": ms}


def tell(n, *entries, **more):
    return n.control("POST", "/-/outcomes", {"outcomes": list(entries)}, **more)


def health(n, name="bank"):
    h = n.channel(name)["health"]
    return h["state"], h["level"], h["reason"]


FINE = ("closed", "sla", "fine")
BAD = ("open", "reachable", "bad_answers")
# batches, and what becomes of a channel with failures=5
TABLE = [
    ("unknown in a row", [[entry("unknown", 5)]], BAD),
    ("one fewer", [[entry("unknown", 4)]], FINE),
    ("batch after batch", [[entry("unknown", 2)], [entry("unknown", 2)], [entry("unknown")]], BAD),
    ("of queries too", [[entry("unknown", 5, kind="query")]], BAD),
    ("a good one between", [[entry("unknown", 4)], [entry("success")], [entry("unknown", 4)]], FINE),
    ("a good one in the batch, before", [[entry("accepted"), entry("unknown", 50)]], FINE),
    ("or behind", [[entry("unknown", 50), entry("user_paying")]], FINE),
    ("refused payments", [[entry("refused", 5)]], BAD),
    ("too frequent payments", [[entry("too_frequent", 5)]], BAD),
    ("too frequent queries say nothing", [[entry("too_frequent", 50, kind="query")]], FINE),
    ("payments that failed are good service", [[entry("failed", 50)], [entry("closed", 50)], [entry("not_found", 50)]], FINE),
    ("what was not sent says nothing", [[entry("not_sent", 50)]], FINE),
]

with bank() as b:
    text = "".join(f"pay_channel c{i} {{ endpoint {b.url}; {CHANNEL} breaker failures=5 probe=1h; }}\n"
                   for i in range(len(TABLE))) + f"pay_channel bank {{ endpoint {b.url}; {CHANNEL} }}"
    with nginx(text, workers=2) as n:
        for i, (name, batches, want) in enumerate(TABLE):
            for batch in batches:
                is_(tell(n, *({**e, "channel": f"c{i}"} for e in batch)).status, 200, f"{name}: taken")
            is_(health(n, f"c{i}"), want, name)
        is_(n.call(channel="c0").short, OUT, "at once, for new payments")
        is_(n.control("GET", "/channels/c0").json["health"],
            {"state": "open", "level": "reachable", "share": 0, "reason": "bad_answers"}, "the control socket shows it")

        # a share of calls that were answered
        for _ in range(20):
            n.call("/ok")
        tell(n, entry("unknown", 9), entry("success", 11))
        is_(health(n)[0], "closed", "nine of twenty")
        a = tell(n, entry("unknown", 1), entry("success", 1))
        is_((a.json, health(n)), ({"taken": 2, "unknown": 0}, ("open", "reachable", "errors")), "ten of twenty")
        is_((n.channel()["outcomes"]["unknown"], n.channel()["outcomes"]["success"]), (10, 12), "the status counts classes")
        ok('pay_channel_outcomes_total{channel="bank",class="success"} 12\n' in n.metrics(), "the metrics too")
        tell(n, entry("success", 2, ms=500))
        is_(n.channel()["outcome_ms"], 500, "and the time they took")

        # an operator's word
        a = n.control("PUT", "/channels/bank/health", {"state": "closed"})
        is_((a.status, a.json["name"], health(n), n.call().sent), (200, "bank", FINE, "answered"), "closed by hand")
        is_(n.control("PUT", "/channels/bank/health", {"state": "open"}).code, "FIELD_INVALID", "it cannot be opened by hand")
        is_(n.control("PUT", "/channels/none/health", {"state": "closed"}).code, "CHANNEL_UNKNOWN", "nor one that is not there")

        # what is not known, and what makes no sense
        a = tell(n, entry("success", 3, channel="none"), entry("odd", 4), entry("success", 5, kind="charge"), entry("success"))
        is_(a.json, {"taken": 1, "unknown": 12}, "what is not known is left out")
        for wrong in ({}, {"outcomes": {}}, {"outcomes": [1]}, {"outcomes": [{**entry("success"), "count": -1}]},
                      {"outcomes": [{**entry("success"), "count": "x"}]}, {"outcomes": [{**entry("success"), "kind": 1}]},
                      {"outcomes": [{**entry("success"), "ms": 10**10}]}, {"outcomes": [{"channel": "bank"}]}):
            a = n.control("POST", "/-/outcomes", wrong)
            is_((a.status, a.code), (400, "FIELD_INVALID"), f"refused: {wrong}")
        is_(n.control("GET", "/-/outcomes").code, "METHOD_NOT_ALLOWED", "nothing to read there")
        if os.getuid() == 0:
            is_(tell(n, entry("unknown", 99), uid=NOBODY).code, "FORBIDDEN", "not everybody may tell")
        else:
            skip("not everybody may tell", "needs root")
        is_(health(n), FINE, "and nothing of it counted")

    # an answer that ends early is none, though its header was fine
    with nginx(f"pay_channel bank {{ endpoint {b.url}; {CHANNEL} breaker failures=3 probe=1h; }}") as n:
        for _ in range(3):
            is_(n.call("/raw/short").sent, "answered", "an answer that ends early")
        is_(health(n), ("open", "reachable", "failures"), "counts as a failure")

done()
