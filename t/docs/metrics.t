#!/usr/bin/python3
"""docs/metrics.md against what the edge really says: every metric, its type and its labels, in both directions; the
page is read by a strict reader, which is tested first."""
import json
import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from docs import DOCS, table  # noqa: E402
import prometheus  # noqa: E402
from edge import Key, edge, wait_until  # noqa: E402
from tap import done, is_, like, ok  # noqa: E402

HEAD = "# HELP a_total x\n# TYPE a_total counter\n"
HISTOGRAM = "# HELP h x\n# TYPE h histogram\n"
BAD = {
    "no newline": HEAD + "a_total 1",
    "no TYPE": "# HELP a_total x\na_total 1\n",
    "no HELP": "# TYPE a_total counter\na_total 1\n",
    "HELP twice": "# HELP a_total x\n" + HEAD + "a_total 1\n",
    "TYPE after a sample": "# HELP a x\n# TYPE a gauge\na 1\n# TYPE a gauge\n",
    "unknown type": "# HELP a x\n# TYPE a number\na 1\n",
    "counter without _total": "# HELP a x\n# TYPE a counter\na 1\n",
    "gauge with _total": "# HELP a_total x\n# TYPE a_total gauge\na_total 1\n",
    "a sample twice": HEAD + "a_total 1\na_total 2\n",
    "a label twice": HEAD + 'a_total{b="1",b="2"} 1\n',
    "a family in two places": HEAD + "a_total 1\n# HELP b x\n# TYPE b gauge\nb 1\n" + HEAD.replace("HELP", "HELP"),
    "another family's sample": HEAD + "b_total 1\n",
    "no value": HEAD + "a_total\n",
    "a bare quote": HEAD + 'a_total{b="x"y"} 1\n',
    "a bad escape": HEAD + 'a_total{b="\\t"} 1\n',
    "negative counter": HEAD + "a_total -1\n",
    "an empty line": HEAD + "a_total 1\n\n",
    "milliseconds": "# HELP a_ms x\n# TYPE a_ms gauge\na_ms 1\n",
    "no +Inf": HISTOGRAM + 'h_bucket{le="1"} 1\nh_sum 1\nh_count 1\n',
    "not cumulative": HISTOGRAM + 'h_bucket{le="1"} 2\nh_bucket{le="+Inf"} 1\nh_sum 1\nh_count 1\n',
    "count differs": HISTOGRAM + 'h_bucket{le="+Inf"} 1\nh_sum 1\nh_count 2\n',
    "no sum": HISTOGRAM + 'h_bucket{le="+Inf"} 1\nh_count 1\n',
    "bounds out of order": HISTOGRAM + 'h_bucket{le="2"} 1\nh_bucket{le="1"} 1\nh_bucket{le="+Inf"} 1\nh_sum 1\nh_count 1\n',
}
for name, text in BAD.items():
    try:
        prometheus.parse(text)
        ok(False, f"the reader refuses: {name}")
    except prometheus.Invalid:
        ok(True, f"the reader refuses: {name}")
is_(prometheus.flat(prometheus.parse(HEAD + 'a_total{b="\\"c"} 1\n' + HISTOGRAM
                                     + 'h_bucket{le="+Inf"} 1\nh_sum 1.5\nh_count 1\n')),
    {'a_total{b="\\"c"}': 1, 'h_bucket{le="+Inf"}': 1, 'h_sum': 1.5, 'h_count': 1}, "and reads what is right")

# ---- the page of an edge that has everything
H, R = Key("HMAC1", "hmac"), Key("RSA1", "rsa")
HTTP = """limit_req_zone $remote_addr zone=odd"name:1m rate=1r/s;
pay_channel bank { adapter test; methods native; endpoint http://127.0.0.1:1; timeout connect=1s send=1s read=1s; }
pay_pool orders { upstream pay_orders; in_flight 100; when all; }"""
with edge(H, R, workers=2, http=HTTP, server="location /metrics { pay_status prometheus; }") as e:
    def page():
        return e.raw(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").body.decode()

    before = prometheus.flat(prometheus.parse(page()))
    is_(e.call(H, method="GET", target="/v1/certificates").status, 200, "a request with HMAC")
    is_(e.call(R).status, 200, "one with RSA")
    body = e.call(H, method="GET", target="/v1/nothing")
    is_(body.status, 404, "one for no API")
    is_(e.call(H, nonce_str="n" * 32, headers={"X-Do": "503"}).status, 503, "an answer of payd")
    is_(e.call(H, nonce_str="n" * 32).status, 409, "a replay")
    is_(e.raw(b"GET /v1/certificates HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").status, 401, "no signature")
    want = {
        'pay_edge_answers_total{api="GET /v1/certificates",status="200"}': 1,
        'pay_edge_answers_total{api="GET /v1/certificates",status="401"}': 1,
        'pay_edge_answers_total{api="POST /v1/payments",status="200"}': 1,
        'pay_edge_answers_total{api="POST /v1/payments",status="409"}': 1,
        'pay_edge_answers_total{api="POST /v1/payments",status="503"}': 1,
        'pay_edge_answers_total{api="none",status="404"}': 1,
        'pay_edge_signatures_total{scheme="PAY-HMAC-SHA256",genuine="yes"}': 3,
        'pay_edge_signatures_total{scheme="PAY-SHA256-RSA2048",genuine="yes"}': 1,
        'pay_edge_signatures_total{scheme="none",genuine="no"}': 2,
        'pay_edge_guard_total{judge="redis",verdict="passed"}': 3,
        'pay_edge_guard_total{judge="redis",verdict="replayed"}': 1,
    }

    def changed():
        now = prometheus.flat(prometheus.parse(page()))
        return {k: v - before[k] for k, v in now.items()
                if v != before[k] and re.match("pay_edge_(answers|signatures|guard)", k)}

    wait_until(lambda: changed() == want)  # a request is counted after it was answered
    is_(changed(), want, "six requests change these counters and no others")
    families = prometheus.parse(page())
    after = prometheus.flat(families)
    is_(after['pay_edge_request_seconds_count{api="POST /v1/payments"}'], 3, "and are in the histogram")
    is_(after['pay_zone_bytes{zone="pay"}'], 8 << 20, "size of the zone")
    ok(0 < after['pay_zone_free_bytes{zone="pay"}'] < 8 << 20, "some of it is free")
    ok('pay_zone_bytes{zone="odd\\"name"}' in after, "zones of other directives, with odd names")
    asked = e.raw(b"GET /status HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    page_json = json.loads(asked.body)
    is_(list(page_json), ["edge", "requests", "zones", "channels", "pools"], "the JSON has the same subjects")
    is_(page_json["requests"]["apis"]["POST /v1/payments"]["answers"], {"200": 1, "409": 1, "503": 1},
        "and the same counts")
    is_(page_json["requests"]["schemes"]["PAY-HMAC-SHA256"], {"genuine": 3, "not": 0}, "by scheme")
    is_(page_json["requests"]["guard"]["redis_replayed"], 1, "by verdict")
    is_(page_json["zones"]['odd"name']["size"], 1 << 20, "zones")

    # counters survive a reload, and a label does not grow with the processes
    workers = {k for k in after if k.startswith("pay_edge_feed_alive")}
    for _ in range(3):
        e.reload()
    def alive():
        return len({k for k in prometheus.flat(prometheus.parse(page())) if k.startswith("pay_edge_feed_alive")})

    ok(wait_until(lambda: alive() == len(workers)), "a row per worker that is there")
    later = prometheus.flat(prometheus.parse(page()))
    is_(later['pay_edge_answers_total{api="POST /v1/payments",status="503"}'], 1, "counters survive a reload")

rows = table((DOCS / "metrics.md").read_text(), "metric", "type", "labels")
documented = {r["metric"]: (r["type"], sorted(re.findall(r"\w+", r["labels"]))) for r in rows}
is_(len(rows), len(documented), "no metric is documented twice")
found = {f.name: (f.type, f.labels()) for f in families.values()}
is_(sorted(documented), sorted(found), "docs/metrics.md has the metrics of the page")
for name in sorted(found):
    is_(documented.get(name), found[name], f"{name}: type and labels")

done()
