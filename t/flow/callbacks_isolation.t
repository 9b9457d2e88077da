#!/usr/bin/python3
"""R4.1: a merchant that takes connections and never answers delays none of 999 others, however many of its own are
due before theirs. No call to it ends while this runs, so whatever it holds it holds to the end: the others get
through because its share is bounded, and for no other reason."""
import collections
import json
import socket
import sys
import threading
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
