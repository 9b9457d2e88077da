#!/usr/bin/python3
"""R1.2: keys come from the workers once, changes take effect at once in every process, an unreachable
worker leaves known keys usable for a while, and unknown serials cost little."""
import json
import os
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
from edge import PLATFORM, Key, edge, send, signed, wait_until  # noqa: E402
from tap import done, is_, like, ok  # noqa: E402


def storm(e, key, count):
    """Equal questions at the same time."""
    got = []
    datas = [signed(key) for _ in range(count)]
    threads = [threading.Thread(target=lambda d=d: got.append(send(e.socket, d))) for d in datas]
    [t.start() for t in threads]
    [t.join() for t in threads]
    return got


def statuses(e, key, count=12):
    """Enough calls to meet every process."""
    return {e.call(key).code or 200 for _ in range(count)}


# ---- look-ups
K = [Key(f"KEY{i:07d}") for i in range(40)]
with edge(*K, workers=1, lookup="timeout=3s") as e:
    e.payd.mode = "silent"
    threads = [threading.Thread(target=storm, args=(e, K[0], 20))]
    [t.start() for t in threads]
    ok(wait_until(lambda: e.payd.asked == [K[0].serial]), "one question")
    [t.join() for t in threads]
    is_(e.payd.asked, [K[0].serial], "for twenty requests that wait")
    e.payd.mode = "answer"
    is_({a.status for a in storm(e, K[1], 20)}, {200}, "all are served by one answer")
    is_(e.payd.asked.count(K[1].serial), 1, "which was asked for once")
    is_((e.call(K[1]).status, e.payd.asked.count(K[1].serial)), (200, 1), "and is kept")

    # silence
    def told_of(key):
        return f'look-up of key "{key.serial}" timed out' in e.log.read_text()

    e.reload(lookup="timeout=300ms")
    e.payd.mode = "silent"
    a = e.call(K[2])
    ok((a.status, a.code) == (503, "RETRY_SAME_NUMBER") and a.unsigned and told_of(K[2]), "payd is silent: 503 at the deadline", a)
    e.reload(lookup="timeout=10s")
    e.payd.mode = "later"
    a = e.call(K[3])
    ok((a.status, a.code) == (503, "RETRY_SAME_NUMBER") and not told_of(K[3]), "LATER: 503 without waiting for it", a)
    is_(e.call(K[1]).status, 200, "known keys serve on")
    e.payd.mode = "answer"
    is_([e.call(k).status for k in K[2:4]], [200, 200], "and afterwards the others")

    # unknown ones
    before = len(e.payd.asked)
    got = [e.call(Key("UNKNOWN0001")) for _ in range(20)]
    is_({a.code for a in got}, {"KEY_UNKNOWN"}, "unknown serial")
    is_(len(e.payd.asked) - before, 1, "asked once")
    late = Key("UNKNOWN0001")
    e.payd.keys[late.serial] = late.record
    e.payd.changed(late.serial)
    ok(wait_until(lambda: e.call(late).status == 200), "a key that has come to be is used at once")

# a change while its question is under way must not be answered with what was before
with edge(K[0]) as e:
    e.payd.mode = "silent"
    got = []
    t = threading.Thread(target=lambda: got.append(e.call(K[0])))
    t.start()
    wait_until(lambda: e.payd.asked)
    e.payd.changed(K[0].serial)
    e.payd.tell(f"KEY {K[0].serial} " + json.dumps(K[0].record))
    ok(wait_until(lambda: len(e.payd.asked) == 2), "CHANGED during a look-up: asked again")
    e.payd.tell(f"KEY {K[0].serial} " + json.dumps({**K[0].record, "state": "off"}))
    t.join()
    is_(got[0].code, "KEY_DISABLED", "and the second answer counts")

# ---- changes reach every process
H, R = Key("HMAC000001"), Key("RSA0000001", "rsa")
with edge(H, R, workers=2) as e:
    for key in (H, R):
        is_(statuses(e, key), {200}, f"{key.alg}: on")
        key.record["state"] = "off"
        e.payd.changed(key.serial)
        ok(wait_until(lambda: statuses(e, key) == {"KEY_DISABLED"}), f"{key.alg}: off in both processes")
        key.record["state"] = "on"
        e.payd.changed(key.serial)
        ok(wait_until(lambda: statuses(e, key) == {200}), f"{key.alg}: on again")

    # rotation: two keys of one app
    new = Key("HMAC000002")
    e.payd.keys[new.serial] = new.record
    is_((e.call(H).status, e.call(new).status), (200, 200), "old and new key serve")
    e.payd.keys[H.serial] = {**H.record, "valid_to": int(time.time()) - 1}
    e.payd.changed(H.serial)
    ok(wait_until(lambda: statuses(e, H) == {"KEY_DISABLED"}), "the old one ends")
    is_(statuses(e, new), {200}, "the new one does not")

    # ---- reload: the zone knows them; asked again only until the feed has ticked
    e.reload()
    wait_until(lambda: len(e.payd.feeds) == 2)
    def unasked():
        asked = len(e.payd.asked)
        return statuses(e, new) == {200} and len(e.payd.asked) == asked

    ok(wait_until(unasked), "after a reload records are in the zone")

    # ---- payd away
    e.payd.stop()
    ok(wait_until(lambda: e.log.read_text().count("for keys closed") >= 2), "payd is gone")
    waited = e.status()["edge"]["key_misses"]
    a = e.call(new, "GET", "/v1/certificates")
    ok((a.status, a.code) == (503, "RETRY_SAME_NUMBER") and a.signed_with(new),
       "the request is genuine, and the worker away: signed 503", a)
    is_(e.status()["edge"]["key_misses"], waited, "nobody is waited for")
    a = e.call(R)
    ok(a.status == 503 and a.signed_with(PLATFORM), "RSA as well")
    is_(e.call(Key("NEVERSEEN01")).code, "RETRY_SAME_NUMBER", "an unknown serial cannot be told")
    e.reload()
    a = e.call(new)
    ok(a.status == 503 and a.signed_with(new), "a new process takes known keys from the zone", a)
    new.record["state"] = "off"
    e.payd.start()
    ok(wait_until(lambda: statuses(e, new) == {"KEY_DISABLED"}), "after the return keys are asked again")
    is_(statuses(e, R), {200}, "and serve")

# a payd that hangs: silence for 3 s is the end of the feed
with edge(H, lookup="timeout=300ms") as e:
    is_(e.call(H).status, 200, "fresh")
    e.payd.ticking = False
    e.payd.mode = "silent"
    ok(wait_until(lambda: "silent for 3 s" in e.log.read_text()), "the connection is given up")
    stale = e.status()["edge"]["key_stale"]
    is_([e.call(H).status for _ in range(5)], [200] * 5, "known keys serve")
    is_(e.status()["edge"]["key_stale"] - stale, 5, "though nobody confirms them")
    ok(wait_until(lambda: (n := len(e.payd.asked)) and [e.call(H).status for _ in range(3)] == [200] * 3
                  and len(e.payd.asked) == n), "and are not asked for each time")
    H.record["state"] = "off"
    e.payd.mode, e.payd.ticking = "answer", True
    ok(wait_until(lambda: e.call(H).code == "KEY_DISABLED"), "asked again as soon as somebody answers")
    H.record["state"] = "on"

# usable only for so long
with edge(H, lookup="stale=700ms") as e:
    is_(e.call(H).status, 200, "fresh")
    e.payd.stop()
    wait_until(lambda: "for keys closed" in e.log.read_text())
    ok(e.call(H).signed_with(H), "away: still known")
    ok(wait_until(lambda: (a := e.call(H)).code == "RETRY_SAME_NUMBER" and a.unsigned), "but not for ever")

# ---- bounds: few parsed keys, a small zone, a flood of unknown serials
with edge(*K, lookup="parsed=4 misses=3") as e:
    is_({e.call(k).status for k in K[:20] for _ in range(2)}, {200}, "more keys than places for parsed ones")
    is_(len(e.payd.asked), 20, "the others come from the zone")
    before = len(e.payd.asked)
    codes = {}
    start = time.time()
    for i in range(300):
        c = e.call(Key(f"FLOOD{i:06d}")).code
        codes[c] = codes.get(c, 0) + 1
    seconds = int(time.time() - start) + 2
    ok(len(e.payd.asked) - before <= 3 * seconds and set(codes) == {"KEY_UNKNOWN", "RETRY_SAME_NUMBER"},
       f"a flood of unknown serials has a budget {codes}")
    is_(e.call(K[0]).status, 200, "known ones are not concerned")

# a cold start: the budget is for serials that are none
with edge(*K, lookup="misses=5") as e:
    is_({e.call(k).code or 200 for k in K}, {200}, "genuine keys do not use up the budget")

# a reload while requests wait for their key
with edge(*K, lookup="timeout=3s") as e:
    e.payd.mode = "silent"
    got = []
    threads = [threading.Thread(target=lambda k=k: got.append(e.call(k))) for k in K[:5]]
    [t.start() for t in threads]
    wait_until(lambda: len(e.payd.asked) == 5)
    e.reload()
    e.payd.mode = "answer"
    for k in K[:5]:
        e.payd.tell(f"KEY {k.serial} " + json.dumps(k.record))
    [t.join() for t in threads]
    is_([a.status for a in got], [200] * 5, "reload while keys are awaited: all are answered")

# between two connections to payd: the question that the old one owed, and one that nobody could be asked
with edge(*K[:2], workers=1, lookup="timeout=9s") as e:
    e.payd.mode = "silent"
    got = {}
    threads = [threading.Thread(target=lambda i=i: got.update({i: e.call(K[i])})) for i in range(2)]
    threads[0].start()
    wait_until(lambda: e.payd.asked == [K[0].serial])
    e.payd.stop()
    wait_until(lambda: "for keys closed" in e.log.read_text())
    misses = e.status()["edge"]["key_misses"]
    threads[1].start()
    wait_until(lambda: e.status()["edge"]["key_misses"] > misses)
    is_(got, {}, "payd is gone: neither the one that was asked for nor a new one is given up")
    e.payd.mode = "answer"
    e.payd.start()
    [t.join() for t in threads]
    is_([got[i].status for i in range(2)], [200, 200], "the next connection brings both")
    is_(sorted(e.payd.asked[1:]), [K[0].serial, K[1].serial], "each asked there once")

# nonsense on the line
with edge(H) as e:
    e.payd.tell("HELLO world")
    ok(wait_until(lambda: "not understood" in e.log.read_text()), "a line that is not understood")
    ok(wait_until(lambda: e.payd.feeds and e.call(H).status == 200), "ends the connection, not the service")
    e.payd.keys["BROKEN0001"] = {"serial": "BROKEN0001", "alg": "hmac-sha256", "key": "%%%", "mchid": "1", "app": "a"}
    is_(e.call(Key("BROKEN0001")).code, "RETRY_SAME_NUMBER", "a record that is not understood")
    like(e.log.read_text(), 'record of key "BROKEN0001" is malformed', "is named in the log")
    e.payd.tell("x" * 20000)
    ok(wait_until(lambda: e.log.read_text().count("not understood") == 2), "a line that is too long")
    ok(wait_until(lambda: e.call(H).status == 200), "likewise")

done()
