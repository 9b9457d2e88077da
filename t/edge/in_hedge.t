#!/usr/bin/python3
"""R1.2: a key that the process does not know, and a payd that is stopped or cannot tell: another payd of the pool is asked,
once for all who wait. Whichever answers first counts, but no answer that is older than a change."""
import json
import os
import socket
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
from edge import Edge, FakePayd, Key, edge, wait_until  # noqa: E402
from tap import done, is_, like, ok  # noqa: E402

K = [Key(f"KEY{i:07d}") for i in range(16)]


def later(e, key, count=1):
    """Requests that wait -> a function that waits for their statuses or codes."""
    got = []
    threads = [threading.Thread(target=lambda: got.append((a := e.call(key)).code or a.status)) for _ in range(count)]
    [t.start() for t in threads]

    def answers():
        [t.join() for t in threads]
        return got
    return answers


def record(key, **more):
    return f"KEY {key.serial} " + json.dumps({**key.record, **more})


def hedged(e):
    return e.status()["edge"]["key_hedges"]


def stopped(e, a, b):
    """a has the connection of the feed, and answers nothing."""
    a.mode = "silent"
    is_(later(e, K[0], 20)(), [200] * 20, "the other payd is asked")
    is_((a.asked, b.asked), ([K[0].serial], [K[0].serial]), "each once, for twenty requests that wait")
    is_(hedged(e), 1, "it is counted")
    is_((e.call(K[0]).status, len(b.asked)), (200, 1), "and the key is kept")
    is_(e.call(Key("UNKNOWN0001")).code, "KEY_UNKNOWN", "also that there is no such key")
    a.mode = b.mode = "later"
    is_(later(e, K[1])(), ["RETRY_SAME_NUMBER"], "neither can tell")
    is_(b.asked.count(K[1].serial), 1, "both were asked")
    b.mode = "answer"
    is_(later(e, K[2])(), [200], "one that cannot tell is not waited for")

    # changes that come in between
    a.mode = b.mode = "silent"
    got = later(e, K[3])
    wait_until(lambda: K[3].serial in b.asked)
    a.changed(K[3].serial)
    a.tell(record(K[3]))
    ok(wait_until(lambda: a.asked.count(K[3].serial) == 2), "a change while both are asked: the answer does not count")
    b.tell(record(K[3]))
    ok(wait_until(lambda: b.asked.count(K[3].serial) == 2), "nor does the other's, and each is asked again")
    b.tell(record(K[3], state="off"))
    is_(got(), ["KEY_DISABLED"], "and the first answer to that does")
    a.tell(record(K[3], state="off"))

    got = later(e, K[4])
    wait_until(lambda: K[4].serial in b.asked)
    b.changed(K[4].serial)
    b.tell(record(K[4]))
    wait_until(lambda: b.asked.count(K[4].serial) == 2)
    b.tell(record(K[4], state="off"))
    is_(got(), ["KEY_DISABLED"], "the other payd tells of changes, too")

    got = later(e, K[5])
    wait_until(lambda: K[5].serial in b.asked)
    a.tell(record(K[5]))
    is_(got(), [200], "the first one is not forgotten")
    b.tell(record(K[5], state="off"))
    is_([e.call(K[5]).status for _ in range(3)], [200] * 3, "and what the other says later is not believed")

    # the other one goes away, or is no use either
    got = later(e, K[6])
    wait_until(lambda: K[6].serial in b.asked)
    b.stop()
    wait_until(lambda: "closed by payd" in e.log.read_text())
    a.tell(record(K[6]))
    is_(got(), [200], "the other one dies: the first may still answer")
    got = later(e, K[7])
    wait_until(lambda: hedged(e) and K[7].serial in a.asked)
    a.tell(record(K[7]))
    is_(got(), [200], "and where the other is away")
    b.mode = "answer"
    b.start()
    is_(later(e, K[8])(), [200], "back again")


def lost(e, a, b):
    """The connection of the feed is lost while the other one is asked."""
    a.mode = b.mode = "silent"
    got = later(e, K[9])
    wait_until(lambda: K[9].serial in b.asked)
    said = e.log.read_text().count("closed by payd")
    for s in a.feeds:
        s.shutdown(socket.SHUT_RDWR)
    wait_until(lambda: e.log.read_text().count("closed by payd") > said)
    b.tell(record(K[9]))
    is_(got(), [200], "the first one hangs up: the other's answer serves")
    a.mode = b.mode = "answer"
    ok(wait_until(lambda: e.call(K[10]).status == 200), "and so does what is asked afterwards")


def useless(e, others):
    """Of three, the first one that is asked beside the one of the feed hangs, and later is away: the third is asked."""
    for payd in (e.payd, *others):
        payd.mode = "silent"
    for payd in others:
        payd.ticking = False
    is_(e.call(K[0]).code, "RETRY_SAME_NUMBER", "nobody answers")
    wait_until(lambda: others[0].asked or others[1].asked)
    hangs, third = others if others[0].asked else reversed(others)
    is_((hangs.asked, third.asked), ([K[0].serial], []), "one other was asked")
    third.mode = "answer"
    ok(wait_until(lambda: e.call(K[1]).status == 200), "one that hangs is given up for the third")
    like(e.log.read_text(), "for keys closed: silent for 3 s", "the log tells")
    third.stop()
    hangs.mode = "answer"
    ok(wait_until(lambda: e.call(K[2]).status == 200), "and is asked again when the third is away")
    is_(e.payd.asked.count(K[2].serial) > 0, True, "the first one was asked all the time")


def main():
    with edge(*K, lookup="timeout=10s") as e:
        (e.folder / "two").mkdir(mode=0o711)
        other = FakePayd(e.folder / "two", K)
        other.start()
        try:
            for mode in ("off", "10s"):
                e.reload(lookup=f"unix:{e.folder}/two/internal.sock hedge={mode}", redis="")
                ok(wait_until(lambda: len(e.payd.feeds) + len(other.feeds) == 1), "one connection is enough")
                is_({e.call(k).status for k in K[12:]}, {200}, f"hedge={mode}")
                is_(hedged(e), 0, "nobody else is asked")
            e.reload(lookup=f"unix:{e.folder}/two/internal.sock hedge=50ms")
            ok(wait_until(lambda: len(e.payd.feeds) + len(other.feeds) == 1), "the old process is gone")
            a, b = (e.payd, other) if e.payd.feeds else (other, e.payd)
            a.asked.clear()
            b.asked.clear()
            stopped(e, a, b)
            lost(e, a, b)
        finally:
            other.stop()

    with edge(*K, lookup="timeout=300ms hedge=50ms") as e:
        e.payd.mode = "silent"
        is_((e.call(K[0]).code, e.payd.asked, hedged(e)), ("RETRY_SAME_NUMBER", [K[0].serial], 0), "there is no other payd")

    with edge(*K, lookup="timeout=300ms hedge=50ms") as e:
        others = []
        for name in ("two", "three"):
            (e.folder / name).mkdir(mode=0o711)
            others.append(FakePayd(e.folder / name, K).start())
        try:
            e.reload(lookup=f"unix:{e.folder}/two/internal.sock unix:{e.folder}/three/internal.sock timeout=300ms hedge=50ms", redis="")
            ok(wait_until(lambda: len(e.payd.feeds) == 1 and not others[0].feeds + others[1].feeds), "the first one has the feed")
            useless(e, others)
        finally:
            for payd in others:
                payd.stop()

    e = Edge(K[0])
    for value in ("hedge=", "hedge=x", "hedge=-1", "hedge=of"):
        like(e.test(e.conf(lookup=value)), rf'invalid parameter "{value}" in \S+nginx.conf:\d+', value)
    e.stop()
    done()


main()
