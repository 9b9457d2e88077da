#!/usr/bin/python3
"""R1.2: a tenth of 100,000 apps with two RSA-2048 keys each, in a tenth of a 160 MB zone: all stay, none is asked for
again, and the parsed ones stay bounded. PAY_KEYS_SCALE=1 makes it the whole (docs/performance.md has its numbers)."""
import json
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
from edge import SLOW, edge, send, wait_until  # noqa: E402
from schemes import Merchant, wire  # noqa: E402
from tap import done, is_, ok  # noqa: E402

SCALE = int(os.environ.get("PAY_KEYS_SCALE", "10"))
COUNT, ZONE = 200000 // SCALE, 160 // SCALE
MOST = 8 << 10 if SLOW == 1 else 1 << 20  # KB that parsed keys may take; a sanitizer keeps what was freed
M = Merchant("rfc9421", "rsa-sha256", "0" * 40)


def serial(i):
    """As long as a certificate's."""
    return f"{i:040X}"


def record(i):
    return {**M.record, "serial": serial(i), "mchid": f"19{i // 4:08d}", "app": f"wx{i // 2:016d}"}


def call(e, i):
    M.scheme.key.serial = serial(i)
    return send(e.socket, wire(M.sign("GET", "/v1/payments?out_trade_no=ORDER-1"))).status


def memory(e):
    status = open(f"/proc/{e.workers()[0]}/status").read()
    return {k: int(v.split()[0]) for k, v in (line.split(":", 1) for line in status.splitlines())
            if k in ("RssAnon", "RssShmem")}


with edge(zone=f"{ZONE}m", lookup="parsed=100") as e:
    e.payd.keys[serial(COUNT)] = record(COUNT)
    is_(call(e, COUNT), 200, "a key is asked for")
    before = memory(e)
    [feed] = e.payd.feeds
    for first in range(0, COUNT, 100):
        lines = "".join(f"KEY {serial(i)} {json.dumps(record(i))}\n" for i in range(first, min(first + 100, COUNT)))
        with e.payd.lock:
            feed.sendall(lines.encode() + b"TICK\n")
    # the last one is there: so are all, in their order
    e.payd.asked.clear()
    ok(wait_until(lambda: call(e, COUNT - 1) == 200 and not e.payd.asked, 30 * 10 // SCALE + 60), f"{COUNT} keys have come")
    e.payd.asked.clear()
    is_({call(e, i) for i in range(0, COUNT, COUNT // 300)}, {200}, "keys from all over the zone serve")
    is_(e.payd.asked, [], "none of them was asked for again")
    is_(e.status()["edge"]["key_evicted"], 0, "and none had to go")
    after = memory(e)
    print(f"# {COUNT} keys in {ZONE} MB: {(after['RssShmem'] - before['RssShmem']) * 1024 // COUNT} bytes of zone a key; "
          f"private memory {before['RssAnon']} -> {after['RssAnon']} KiB with 100 parsed keys")
    ok((after["RssShmem"] - before["RssShmem"]) * 1024 / COUNT < 640, "a key takes 512 bytes of the zone, and a little around it")
    ok(after["RssAnon"] - before["RssAnon"] < MOST, "parsed keys stay bounded", before, after)

done()
