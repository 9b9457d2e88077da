#!/usr/bin/python3
"""R1.5: Redis through sentinels. The master is found by several of them, a failover is followed, a sentinel that is dead or
silent is passed over; no request is lost meanwhile, and no password is seen."""
import os
import re
import signal
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
from edge import Key, edge, send, signed, wait_until  # noqa: E402
from redisd import Sentinel, Server, free_ports, servers  # noqa: E402
from tap import done, is_, like, ok  # noqa: E402

A = Key("APPA000001", app="app1")
SECRET, WATCH = "redis-master-secret", "redis-sentinel-secret"
LOCATION = "add_header X-Guard $pay_guard always;"


def judge(e):
    return e.call(A).header("X-Guard")


def by_redis(e, n=8):
    return all(judge(e) == "redis" for _ in range(n))


def masters(e):
    return e.status()["edge"]["redis_masters"]


with servers() as (folder, started):
    access = (f"requirepass {SECRET}", f"masterauth {SECRET}")
    one = Server(folder, "one", *access, auth=(SECRET,))
    two = Server(folder, "two", *access, f"replicaof 127.0.0.1 {one.port}", auth=(SECRET,))
    watchers = [Sentinel(folder, f"watcher{n}", one, f"sentinel auth-pass pay {SECRET}", f"requirepass {WATCH}",
                         f"sentinel sentinel-pass {WATCH}", auth=(WATCH,)) for n in range(3)]
    for s in (one, two, *watchers):
        started.append(s.start())
    ok(wait_until(lambda: b"state=online" in one.command("INFO", "replication")
                  and all(b"num-other-sentinels\r\n$1\r\n2" in w.command("SENTINEL", "MASTER", "pay")
                          and b"num-slaves\r\n$1\r\n1" in w.command("SENTINEL", "MASTER", "pay") for w in watchers)),
       "a master, a replica and three sentinels")
    (folder / "secret").write_text(SECRET + "\n")
    (folder / "watch").write_text(WATCH + "\n")
    dead = free_ports(1)[0]
    at = " ".join(f"127.0.0.1:{p}" for p in (dead, *(w.port for w in watchers)))
    redis = f"sentinel=pay timeout=1s failures=3 pause=100ms password_file={folder}/secret sentinel_password_file={folder}/watch"
    with edge(A, redis_at=at, redis=redis, location=LOCATION, workers=2) as e:
        ok(wait_until(lambda: by_redis(e)), "found behind a sentinel that is not there")
        ok(one.size() > 0, "it is the master")
        like(e.log.read_text(), rf'pay: redis master "pay" is 127.0.0.1:{one.port}', "and told so")

        # the master dies: every request is answered, the replica takes over
        one.kill()
        answers, stop = [], threading.Event()

        def load():
            while not stop.is_set():
                answers.append(e.call(A))
        threads = [threading.Thread(target=load) for _ in range(2)]
        [t.start() for t in threads]
        ok(wait_until(lambda: two.role() == "master"), "a failover")
        before = two.size()
        ok(wait_until(lambda: by_redis(e) and two.size() > before), "is followed")
        stop.set()
        [t.join() for t in threads]
        is_({a.status for a in answers}, {200}, f"no request is lost meanwhile ({len(answers)})")
        ok(f"pay: redis master \"pay\" is 127.0.0.1:{two.port}" in e.log.read_text(), "the new master is told")

        # the old one comes back, as a replica, and is made the master again by hand
        one.start(fresh=False)
        ok(wait_until(lambda: one.role() == "slave" and b"state=online" in two.command("INFO", "replication")), "the old one is a replica")
        is_(judge(e), "redis", "nothing changes for us")
        told = len(e.log.read_text())
        ok(wait_until(lambda: watchers[0].command("SENTINEL", "FAILOVER", "pay").startswith(b"+OK")), "a failover by hand")
        ok(wait_until(lambda: one.role() == "master"), "turns the roles")
        before = one.size()
        ok(wait_until(lambda: by_redis(e) and one.size() > before), "and is followed")
        data = signed(A)
        is_([send(e.socket, data).status for _ in range(3)], [200, 409, 409], "nonces are remembered there")

        # each process is told by its own sentinel
        wait_until(lambda: set(re.findall(rf'(\d+)#\d+: pay: redis master "pay" is 127.0.0.1:{one.port}', e.log.read_text()[told:]))
                   == set(map(str, e.workers())))

        # sentinels die or fall silent
        seen, lost = masters(e), e.log.read_text().count("pay: redis sentinel: ")
        watchers[0].kill()
        watchers[1].process.send_signal(signal.SIGSTOP)
        ok(wait_until(lambda: e.log.read_text().count("pay: redis sentinel: ") >= lost + 4), "one sentinel dies, one is silent: noticed")
        is_(by_redis(e), True, "Redis is still used")
        e.reload()
        is_([judge(e) for _ in range(8)], ["redis"] * 8, "new processes know the master at once, before a sentinel is asked")
        is_(masters(e), seen, "it has not changed")

        # a name that nobody watches
        e.reload(redis=redis.replace("sentinel=pay", "sentinel=other"))
        ok(wait_until(lambda: 'cannot tell master "other"' in e.log.read_text()), "an unknown name is told")
        is_((e.call(A).status, judge(e)), (200, "local"), "and requests are judged by the node")
        text = e.log.read_text()
        is_([word for word in (SECRET, WATCH) if word in text], [], "no password in the log")
done()
