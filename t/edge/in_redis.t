#!/usr/bin/python3
"""R1.5: Redis over TCP, with a password, a user, a database; and Redis that is read-only, full, closed to us, or takes
connections and never answers. Every request is answered in time, by Redis or by the node, and no password is seen."""
import os
import re
import socket
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
from edge import Key, edge, send, signed, wait_until  # noqa: E402
from redisd import Server, free_ports, servers  # noqa: E402
from tap import done, is_, like, ok  # noqa: E402

A = Key("APPA000001", app="app1")
LOCATION = "add_header X-Guard $pay_guard always;"
LIMITED = LOCATION + "pay_limit app rate=100000r/s burst=100000; pay_limit api rate=100000r/s burst=100000;"
FAST = "timeout=1s failures=3 pause=100ms"
SECRET = "redis-secret-of-edge"
CHANNEL = ("pay_channel one { endpoint http://127.0.0.1:1; adapter test; methods native; amount 1 1000000;"
           " timeout connect=1s send=1s read=30s; } ")
ROUTED = "pay_route on; pay_limit app rate=1r/h burst=50;"
UNGUARDED = "location = /v1/payments { pay_sign on; pay_route on; proxy_set_header Pay-Route $pay_route; proxy_pass http://pay_orders; }"


def judge(e):
    a = e.call(A)
    return a.header("X-Guard") if a.status == 200 else a.status


def state(e):
    return e.status()["edge"]


def told(e):
    """What the trace of a new payment hears of it, without time and process."""
    began, a = time.time(), e.call(A)
    route = e.payd.requests[-1]["pay-route"]
    found = re.search(r" (guard=.*) at=(\d+\.\d{3}) pid=(\d+)$", route)
    ok(a.status == 200 and found and began - 1 < float(found[2]) < time.time() + 1 and int(found[3]) in e.workers(),
       "the trace is told when, and in which process", route)
    if a.header("RateLimit"):
        limit, left = re.search(r'"(\w+)";r=(\d+);', a.header("RateLimit")).groups()
        is_(found and found[1].partition(" ")[2], f"limit={limit} left={left}", "and the tightest limit")
    return found and found[1].split()[0]


with servers() as (folder, started):
    def server(name, *conf, auth=()):
        started.append(Server(folder, name, *conf, auth=auth))
        return started[-1].start()

    (folder / "secret").write_text(SECRET + "\nwhat follows does not count\n")
    (folder / "wrong").write_text("not-the-secret\n")
    plain = server("plain")
    closed = server("closed", f"requirepass {SECRET}", f"user edge on >{SECRET} ~* +@all", "user reader on >x ~* +ping", auth=(SECRET,))
    at = {s: f"127.0.0.1:{s.port}" for s in (plain, closed)}

    # ---- addresses, passwords, databases
    with edge(A, redis_at=at[plain], location=LOCATION, redis="timeout=900ms db=3") as e:
        is_([judge(e) for _ in range(3)], ["redis"] * 3, "by TCP")
        is_((plain.size(3), plain.size(0)), (3, 0), "in its database")
        for more, name in ((f"password_file={folder}/secret", "with a password"), (f"user=edge password_file={folder}/secret", "with a user"),
                           (f"user=edge db=2 password_file={folder}/secret", "with a user and a database")):
            e.reload(redis_at=at[closed], redis=f"timeout=900ms {more}")
            is_([judge(e) for _ in range(3)], ["redis"] * 3, name)
        is_(closed.size(2), 3, "there")
        for more, says, name in ((f"password_file={folder}/wrong", "does not take the password", "a wrong password"),
                                 ("", "NOAUTH", "no password"), (f"user=reader password_file={folder}/wrong", "does not take the password", "a wrong user")):
            e.log.write_text("")
            e.reload(redis_at=at[closed], redis=f"{FAST} {more}")
            is_({judge(e) for _ in range(5)}, {"local"}, f"{name}: the node judges")
            ok(wait_until(lambda: says in e.log.read_text()), f"{name}: and the log says why")
            is_([w for w in (SECRET, "not-the-secret") if w in e.log.read_text()], [], f"{name}: without the word")
        e.reload(redis_at=f"127.0.0.1:{free_ports(1)[0]}", redis=FAST)
        is_({judge(e) for _ in range(5)}, {"local"}, "nobody listens")
        is_(state(e)["redis_ok"] > 0, True, "counted over all of it")

    # ---- errors
    with edge(A, redis_at=at[plain], location=LIMITED, redis=FAST) as e:
        is_(judge(e), "redis", "several commands")
        first = signed(A)
        is_(send(e.socket, first).status, 200, "a nonce")
        for set_, unset, error in ((("REPLICAOF", "127.0.0.1", "1"), ("REPLICAOF", "NO", "ONE"), "READONLY"),
                                   (("CONFIG", "SET", "maxmemory", "1"), ("CONFIG", "SET", "maxmemory", "0"), "OOM"),
                                   (("CONFIG", "SET", "min-replicas-to-write", "1"), ("CONFIG", "SET", "min-replicas-to-write", "0"), "NOREPLICAS")):
            plain.command(*set_)
            is_({judge(e) for _ in range(8)}, {"local"}, f"{error}: the node judges")
            is_(send(e.socket, first).code, "NONCE_REPLAYED", f"{error}: and knows the nonces from before")
            like(e.log.read_text(), rf"pay: redis says \"{error}", f"{error}: told")
            plain.command(*unset)
            ok(wait_until(lambda: judge(e) == "redis"), f"{error}: used again when it is over")
        ok("not asked for 100 ms" in e.log.read_text(), "the breaker opened")

    with edge(A, redis_at=at[plain], guard="fallback=closed", redis=FAST) as e:
        plain.command("REPLICAOF", "127.0.0.1", "1")
        a = e.call(A)
        ok((a.status, a.code) == (503, "RETRY_SAME_NUMBER") and a.header("Retry-After") and a.signed_with(A), "fallback=closed: READONLY refuses", a)
        plain.command("REPLICAOF", "NO", "ONE")
        ok(wait_until(lambda: e.call(A).status == 200), "fallback=closed: and serves again")

    with edge(A, redis_at=at[plain], location=ROUTED, http=CHANNEL, redis="timeout=1s failures=3 pause=1h") as e:
        is_(told(e), "guard=redis", "the trace: judged by Redis")
        plain.command("REPLICAOF", "127.0.0.1", "1")
        is_([told(e) for _ in range(4)], ["guard=local:error"] * 3 + ["guard=local:away"], "the trace: by the node, and why")
        plain.command("REPLICAOF", "NO", "ONE")
        e.reload(server=UNGUARDED)
        is_(told(e), "guard=off", "the trace: by nobody")

    # a connection that Redis ends under us
    with edge(A, redis_at=at[plain], location=LIMITED, redis="timeout=1s") as e:
        answers, stop = [], threading.Event()

        def load():
            while not stop.is_set():
                answers.append(e.call(A).status)
        threads = [threading.Thread(target=load) for _ in range(3)]
        [t.start() for t in threads]
        for _ in range(5):
            seen = state(e)["redis_reconnects"]
            plain.command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
            wait_until(lambda: state(e)["redis_reconnects"] > seen and judge(e) == "redis")
        stop.set()
        [t.join() for t in threads]
        is_(set(answers), {200}, f"connections ended under load: all {len(answers)} are answered")

# ---- takes connections, never answers: over a unix socket, and over TCP with a full queue
for where in "unix", "tcp":
    silent = socket.socket(socket.AF_UNIX if where == "unix" else socket.AF_INET)
    held = []
    with edge(A, redis_at="unix:/nonexistent", location=LIMITED + "pay_route on;", http=CHANNEL, guard="fallback=open",
              redis="timeout=50ms failures=3 pause=1h") as e:
        silent.bind(str(e.folder / "silent.sock") if where == "unix" else ("127.0.0.1", 0))
        silent.listen(0)
        address = f"unix:{e.folder}/silent.sock" if where == "unix" else f"127.0.0.1:{silent.getsockname()[1]}"
        if where == "tcp":
            for _ in range(3):  # what is behind the queue's end gets no answer to its SYN
                s = socket.socket()
                s.setblocking(False)
                s.connect_ex(silent.getsockname())
                held.append(s)
        os.chmod(e.folder / "silent.sock", 0o777) if where == "unix" else None
        e.reload(redis_at=address)
        is_(told(e), "guard=local:late", f"{where}: the trace is told")
        answers = [e.call(A) for _ in range(12)]
        is_([(a.status, a.header("X-Guard")) for a in answers], [(200, "local")] * 12, f"{where}: never answers: the node judges")
        is_(state(e)["redis_timeouts"] <= 3, True, f"{where}: after three deadlines it is not asked")
        data = signed(A)
        is_([send(e.socket, data).status for _ in range(2)], [200, 409], f"{where}: replays are still told")
        ok(wait_until(lambda: "pay: redis: does not answer" in e.log.read_text()), f"{where}: given up and connected anew")
    silent.close()
    [s.close() for s in held]

done()
