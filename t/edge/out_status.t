#!/usr/bin/python3
"""R9: the edge's counters as Prometheus text and as JSON, also with as many channels as there can be."""
import json
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
import prometheus  # noqa: E402
from egress import CHANNEL, bank, http, nginx  # noqa: E402
from tap import done, is_, ok  # noqa: E402


def samples(text):
    return prometheus.flat(prometheus.parse(text))


with bank() as b, nginx(f"pay_channel bank {{ endpoint {b.url}; {CHANNEL} }}"
                        f"pay_channel off {{ state off; endpoint {b.url}; {CHANNEL} }}") as n:
    before = samples(n.metrics())
    n.call("/ok")
    n.call("/wait/60", kind="query")
    n.call("/status/503", kind="refund")
    n.call("/reset")
    n.call(channel="off")
    n.call(before=-1)
    after = samples(n.metrics())
    changed = {k: after[k] - before[k] for k in after if after[k] != before[k] and "latency" not in k}
    is_(changed, {
        'pay_channel_calls_total{channel="bank",kind="pay"}': 2,
        'pay_channel_calls_total{channel="bank",kind="query"}': 1,
        'pay_channel_calls_total{channel="bank",kind="refund"}': 1,
        'pay_channel_sent_total{channel="bank",sent="answered"}': 3,
        'pay_channel_sent_total{channel="bank",sent="maybe"}': 1,
        'pay_channel_answers_total{channel="bank",status="2xx"}': 2,
        'pay_channel_answers_total{channel="bank",status="5xx"}': 1,
        'pay_channel_refused_total{channel="off",code="CHANNEL_OFF"}': 1,
        'pay_channel_refused_total{channel="bank",code="SEND_TOO_LATE"}': 1,
    }, "six calls change these counters and no others")
    h = "pay_channel_latency_seconds"
    is_((after[f'{h}_count{{channel="bank"}}'], after[f'{h}_bucket{{channel="bank",le="+Inf"}}']), (3, 3),
        "latencies of the answers")
    ok(after[f'{h}_sum{{channel="bank"}}'] >= 0.06, "their sum in seconds")
    ok(after[f'{h}_bucket{{channel="bank",le="0.050"}}'] <= 2, "a slow one is in a higher bucket")
    is_((after['pay_channel_state{channel="bank"}'], after['pay_channel_state{channel="off"}']), (0, 1), "states")
    is_((after['pay_channel_cap{channel="bank"}'], after['pay_channel_in_flight{channel="bank"}']), (100, 0),
        "cap and calls in flight")
    a = http(n.status_socket, b"GET /metrics HTTP/1.0\r\n\r\n")
    is_(a.header("Content-Type"), "text/plain; version=0.0.4", "content type of the text")
    a = http(n.status_socket, b"GET /status HTTP/1.0\r\n\r\n")
    is_(a.header("Content-Type"), "application/json", "content type of the JSON")
    c = n.channel()
    is_((c["calls"]["pay"], c["sent"]["maybe"], c["answers"]["5xx"], c["refused"]["SEND_TOO_LATE"]), (2, 1, 1, 1),
        "the JSON says the same")
    is_({"fallbacks", "key_evicted", "key_hits"} - set(n.status()["edge"]), set(), "and has the incoming side")
    is_(http(n.status_socket, b"HEAD /status HTTP/1.0\r\n\r\n").status, 200, "HEAD")
    is_(http(n.status_socket, b"POST /status HTTP/1.0\r\nContent-Length: 2\r\n\r\nxx").status, 405, "POST is refused")

    n.reload("".join(f"pay_channel {'c' * 28}{i} {{ endpoint {b.url}; {CHANNEL} }}" for i in range(1000, 1254)))
    is_(len([k for k in samples(n.metrics()) if k.startswith("pay_channel_cap")]), 254, "254 channels as text")
    is_(len(json.loads(http(n.status_socket, b"GET /status HTTP/1.0\r\n\r\n").body)["channels"]), 254, "and as JSON")

    # rows of channels that are gone are used again when there are no others
    for name in "de":
        n.reload("".join(f"pay_channel {name}{i} {{ endpoint {b.url}; {CHANNEL} }}" for i in range(2)))
    n.reload("".join(f"pay_channel f{i} {{ endpoint {b.url}; {CHANNEL} }}" for i in range(250)))
    is_(n.call(channel="f249").sent, "answered", "rows of channels that are gone are used again")
    is_(n.channel("f249")["calls"]["pay"], 1, "and begin at zero")

with nginx("") as n:
    ok(samples(n.metrics()), "no channels at all")
    is_(n.status()["channels"], [], "an empty list")
    is_(n.call().short, (404, "CHANNEL_UNKNOWN", "no"), "and calls are refused")

done()
