#!/usr/bin/python3
"""R4.1: a merchant that takes connections and never answers delays none of 999 others, however many of its own are
due before theirs. No call to it ends while this runs, so whatever it holds it holds to the end: the others get
through because its share is bounded, and for no other reason. And dead merchants that are many have half of the calls
together and no more: those of callbacks that had no answer before, and those of merchants that kept calls waiting lately. Who waits for room does not wait for the clock."""
import collections
import json
import re
import selectors
import socket
import sys
import threading
import urllib.request
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import ThreadingMixIn, TCPServer

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))
from flow import done, eventually, flow_stack, is_, ok  # noqa: E402
from processes import free_ports  # noqa: E402

MERCHANTS, ACTIVE, PER_MERCHANT, DEAD = 1000, 16, 3, 200
LIMITS = {"callbacks > active": str(ACTIVE), "callbacks > per_merchant": str(PER_MERCHANT),
          "callbacks > timeout": "10m", "callbacks > schedule": "1h", "callbacks > poll": "10ms",
          "callbacks > allow": "127.0.0.1"}


class Others(ThreadingMixIn, TCPServer):
    """All merchants but the dead one; remembers who was called."""
    daemon_threads = allow_reuse_address = True
    request_queue_size = 512
    called: collections.Counter = collections.Counter()


class Call(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.server.called[self.path] += 1
        answer = json.dumps({"code": "SUCCESS"}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: object) -> None:
        pass


def bury(stack, dead_port, port):
    """Callbacks of orders that became final long ago: the dead merchant's first, one of each other merchant."""
    columns = ("insert into pay.callback (slot, id, payment_id, subject_id, mchid, app_id, url, body, state, created_at, "
               "next_at) select i % 1024, i, i, i")
    stack.sql(f"begin; {columns}, 'dead', '', 'http://127.0.0.1:{dead_port}/', '{{}}', 1, now(), now() - interval '1 day'"
              f" from generate_series(1, {DEAD}) i;"
              f" {columns}, 'm' || i, '', 'http://127.0.0.1:{port}/m' || i, '{{}}', 1, now(), now() - interval '1 hour'"
              f" from generate_series({DEAD + 1}, {DEAD + MERCHANTS - 1}) i; commit")


class Holes:
    """A server of dead merchants: takes every connection and says nothing. How many were open at once?"""

    def __init__(self, port):
        self.server, self.open, self.most = socket.create_server(("127.0.0.1", port), backlog=512), set(), 0
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        waiting = selectors.DefaultSelector()
        waiting.register(self.server, selectors.EVENT_READ)
        while True:
            # ended ones first: they were ended before the next ones were begun
            for key, _ in sorted(waiting.select(), key=lambda e: e[0].fileobj is self.server):
                if key.fileobj is self.server:
                    connection = self.server.accept()[0]
                    waiting.register(connection, selectors.EVENT_READ)
                    self.open.add(connection)
                    self.most = max(self.most, len(self.open))
                elif not received(key.fileobj):
                    waiting.unregister(key.fileobj)
                    self.open.discard(key.fileobj)
                    key.fileobj.close()


def received(connection):
    try:
        return connection.recv(65536)
    except ConnectionError:
        return b""


def insert(stack, name, first, count, port, more):
    """One callback for each of `count` merchants; more: columns of what happened before."""
    columns, values = "".join(f", {c}" for c in more), "".join(f", {v}" for v in more.values())
    stack.sql(f"insert into pay.callback (slot, id, payment_id, subject_id, mchid, app_id, url, body, state, created_at, next_at{columns})"
              f" select i % 1024, i, i, i, '{name}' || i, '', 'http://127.0.0.1:{port}/{name}' || i, '{{}}', 1, now(),"
              f" now() - interval '1 day'{values} from generate_series({first}, {first + count - 1}) i")


def open_to(stack, port):
    """-> (calls open, of them to suspects) by the metrics"""
    page = urllib.request.urlopen(stack.env["PAY_STATUS_URL"] + "/metrics/callback0", timeout=30).read().decode()
    return tuple(int(re.search(rf"^{name} (\d+)$", page, re.M)[1]) for name in ("pay_callback_active", "pay_callback_suspects"))


def many_dead():
    dead_port, port = free_ports(2)
    holes = Holes(dead_port)
    with Others(("127.0.0.1", port), Call) as others, flow_stack('"ev":"callback"', payd=LIMITS, intact=False) as stack:
        threading.Thread(target=others.serve_forever, daemon=True).start()
        insert(stack, "d", 1, 200, dead_port, {"tries": 1, "last_status": 0})
        eventually(lambda: len(holes.open) == ACTIVE // 2, "200 dead merchants hold half of the calls")
        others.called.clear()
        insert(stack, "m", 1000, 100, port, {})
        eventually(lambda: len(others.called) == 100, "everybody else is called")
        is_((len(holes.open), holes.most), (ACTIVE // 2, ACTIVE // 2), "and they never had more, though all were due before")
        eventually(lambda: open_to(stack, port) == (ACTIVE // 2, ACTIVE // 2), "as the metrics tell", 60)
        others.shutdown()


def learned():
    """Merchants of whom nothing is known may fill the calls once, until they have kept one waiting."""
    dead_port, port = free_ports(2)
    holes = Holes(dead_port)
    with Others(("127.0.0.1", port), Call) as others, \
            flow_stack('"ev":"callback"', payd={**LIMITS, "callbacks > timeout": "2s"}, intact=False) as stack:
        threading.Thread(target=others.serve_forever, daemon=True).start()
        insert(stack, "d", 1, 20, dead_port, {})
        eventually(lambda: stack.sql("select count(*) from pay.callback_attempt where error = 'timeout'") == [["20"]],
                   "twenty dead merchants have had a try each")
        eventually(lambda: not holes.open, "which is over")
        holes.most = 0
        # new ones of the same merchants, and more than there are calls
        stack.sql("insert into pay.callback (slot, id, payment_id, subject_id, mchid, app_id, url, body, state, created_at, next_at)"
                  " select slot, id + 5000, payment_id + 5000, subject_id + 5000, mchid, '', url, body, 1, now(), now() from pay.callback")
        others.called.clear()
        eventually(lambda: holes.open, "they are called again")
        insert(stack, "m", 1000, 50, port, {})
        eventually(lambda: len(others.called) == 50, "everybody else is called in between")
        eventually(lambda: stack.sql("select count(*) from pay.callback_attempt where error = 'timeout'") == [["40"]], "and so are they")
        is_(holes.most, ACTIVE // 2, "with half of the calls at most")
        others.shutdown()


def without_the_clock():
    """One merchant with far more due than its share: each call that ends makes room for the next, poll or no poll."""
    port, = free_ports(1)
    with Others(("127.0.0.1", port), Call) as others, \
            flow_stack('"ev":"callback"', payd={**LIMITS, "callbacks > poll": "1h"}, intact=False) as stack:
        threading.Thread(target=others.serve_forever, daemon=True).start()
        stack.sql("insert into pay.callback (slot, id, payment_id, subject_id, mchid, app_id, url, body, state, created_at, next_at)"
                  f" select i % 1024, i, i, i, 'm', '', 'http://127.0.0.1:{port}/m', '{{}}', 1, now(), now() - interval '1 day'"
                  f" from generate_series(1, {50 * PER_MERCHANT}) i")
        others.called.clear()
        stack.restart("callback0")
        eventually(lambda: others.called["/m"] == 50 * PER_MERCHANT, "all are made after a single poll")
        others.shutdown()


def main():
    dead_port, port = free_ports(2)
    with socket.create_server(("127.0.0.1", dead_port), backlog=DEAD) as dead, \
            Others(("127.0.0.1", port), Call) as others, flow_stack('"ev":"callback"', payd=LIMITS, intact=False) as stack:
        threading.Thread(target=others.serve_forever, daemon=True).start()
        bury(stack, dead_port, port)
        eventually(lambda: len(others.called) == MERCHANTS - 1, "everybody else is called back", 60)
        is_(set(others.called.values()), {1}, "once each")
        eventually(lambda: stack.sql("select count(*) from pay.callback where mchid <> 'dead' and state <> 2") == [["0"]],
                   "and known to have agreed", 60)
        claimed = int(stack.sql("select count(*) from pay.callback where mchid = 'dead' and tries > 0")[0][0])
        is_(claimed, PER_MERCHANT, "the dead one has its share of the calls open, and has had no more")
        is_(stack.sql("select count(*) from pay.callback_attempt a join pay.callback c on (c.slot, c.id) = (a.slot, "
                      "a.callback_id) where mchid = 'dead'"), [["0"]], "none of its calls has ended")
        is_(held(dead), PER_MERCHANT, "as many connections stand at its door")
        ok(PER_MERCHANT < ACTIVE < DEAD, "it had more due than there are calls")
        dead.close()
        others.shutdown()
    many_dead()
    learned()
    without_the_clock()
    done()


def held(server):
    """Connections that wait to be accepted."""
    server.setblocking(False)
    taken = []
    try:
        while True:
            taken.append(server.accept()[0])
    except BlockingIOError:
        pass
    for connection in taken:
        connection.close()
    return len(taken)


main()
