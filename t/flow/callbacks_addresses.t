#!/usr/bin/python3
"""R4.1: a merchant's address leads nowhere inside. The process that calls judges the address at the moment it connects,
whatever was written, resolved or answered before: odd notations, names that lead inside, names that change their mind,
several addresses of one name, redirects, ports. An answer is as short, and comes as soon, as we bear; what failed is tried
again after the interval with its jitter."""
import contextlib
import os
import shutil
import socket
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))
from flow import done, eventually, flow_stack, is_, number, ok  # noqa: E402
from processes import free_ports  # noqa: E402
from stack import Stack  # noqa: E402

# every notation of an address that some program takes for one: refused when the order is made, and when it is called
ODD = ["2130706433", "0177.0.0.1", "0x7f000001", "0x7f.1", "127.1", "127.0.1", "017700000001", "127.0.0.01", "127.0.0.1.",
       "127.0.0.0x1", "256.256.256.256.1", "1.2.3.4.5", "[::ffff:127.0.0.1", "[::1]x", "user@127.0.0.1", "%31%32%37.0.0.1",
       "127.0.0.1\\@shop.test", "127。0。0。1", "[fe80::1%25lo]"]
# written plainly, or told by a resolver
INSIDE = ["127.0.0.1", "127.255.255.254", "0.0.0.0", "10.0.0.1", "100.64.0.1", "169.254.169.254", "172.16.0.1", "172.31.255.255",
          "192.0.0.8", "192.168.1.1", "198.18.0.1", "224.0.0.1", "255.255.255.255", "::", "::1", "::127.0.0.1",
          "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:0:127.0.0.1", "64:ff9b::127.0.0.1", "64:ff9b:1::10.0.0.1",
          "2002:7f00:1::1", "2001:0:0:0:0:0:80ff:fffe", "fc00::1", "fd12::1", "fe80::1", "fec0::1", "ff02::1", "2001:db8::1"]
MOVES = (301, 302, 303, 307, 308)
WAIT = 3600  # s between two tries
DENIED = "93.184.216.34"  # public, but denied


class Network(Stack):
    """callback0 has a network that the test writes (t/fault/net.c)."""

    def _describe_processes(self):
        super()._describe_processes()
        library = self.sockets / "net.so"
        shutil.copy(self.build / "t/fault/net.so", library)
        self.names, self.connects = self.sockets / "names", self.sockets / "connects"
        self.tell({})
        options = os.environ.get("ASAN_OPTIONS", "")
        self.processes["callback0"].env.update(LD_PRELOAD=str(library), FAULT_NAMES=str(self.names), FAULT_CONNECTS=str(self.connects),
                                               ASAN_OPTIONS=f"{options}:verify_asan_link_order=0")

    def tell(self, names):
        """name -> its addresses from now on"""
        fresh = self.names.with_suffix(".new")
        fresh.write_text("".join(f"{name} {addresses}\n" for name, addresses in names.items()))
        fresh.rename(self.names)

    def connected(self):
        """Whom callback0 has tried to connect to."""
        return {tuple(line.split()) for line in self.connects.read_text().splitlines()}


class Merchant(BaseHTTPRequestHandler):
    """The path says what it does."""
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        what = self.path.strip("/")
        self.close_connection = True
        with contextlib.suppress(OSError):
            if what.isdigit():
                self.send_response(int(what))
                self.send_header("Location", self.server.elsewhere)
                self.send_header("Content-Length", "0")
                self.end_headers()
            else:
                getattr(self, what)()

    def agree(self):
        self.wfile.write(b'HTTP/1.1 200 OK\r\nContent-Length: 18\r\nConnection: close\r\n\r\n{"code":"SUCCESS"}')

    def endless(self):
        self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
        while True:
            self.wfile.write(b'{"code":"SUCCESS"}' + b" " * 1000)

    def endless_head(self):
        self.wfile.write(b"HTTP/1.1 200 OK\r\n")
        while True:
            self.wfile.write(b"X: " + b"x" * 1000 + b"\r\n")

    def drip(self):
        """Something comes all the time, and it never ends."""
        self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
        while True:
            self.wfile.write(b" ")
            time.sleep(0.02)

    def log_message(self, *_):
        pass


def listening(address, port, elsewhere):
    server = ThreadingHTTPServer((address, port), Merchant)
    server.daemon_threads, server.elsewhere = True, elsewhere
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def came(traps):
    """Who connected to what nobody may connect to."""
    found = []
    for trap in traps:
        trap.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            found.append((trap.getsockname(), trap.accept()[1]))
    return found


class Rows:
    """Callbacks that are due, one for each URL; what became of their tries."""

    def __init__(self, stack):
        self.stack, self.next = stack, 1

    def insert(self, urls):
        first, self.next = self.next, self.next + len(urls)
        values = ",".join(f"({i % 1024}, {i}, {i}, {i}, 'm{i}', '', '{url}', '{{}}', 1, now(), now())"
                          for i, url in enumerate(urls, first))
        self.stack.sql("insert into pay.callback (slot, id, payment_id, subject_id, mchid, app_id, url, body, state, created_at,"
                       f" next_at) values {values}")
        return range(first, self.next)

    def tried(self, ids, name, n=1):
        """-> (HTTP status, error) of the n-th try of each, in order"""
        ask = ("select callback_id, http_status, error from pay.callback_attempt where n = "
               f"{n} and callback_id between {ids[0]} and {ids[-1]} order by 1")
        eventually(lambda: len(self.stack.sql(ask)) == len(ids), name)
        return [tuple(row[1:]) for row in self.stack.sql(ask)]

    def again(self, ident):
        self.stack.sql(f"update pay.callback set state = 1, next_at = now() where id = {ident}")


def notations(stack, rows, port):
    refused = [stack.client("hmac").create_payment(number("O", i), 100, notify_url=f"http://{host}:{port}/agree")
               for i, host in enumerate(ODD)]
    is_([(host, a.status, a.code) for host, a in zip(ODD, refused)], [(host, 400, "FIELD_INVALID") for host in ODD],
        "odd notations: no order has such an address")
    ids = rows.insert([f"http://{host}:{port}/agree" for host in ODD])
    is_(rows.tried(ids, "odd notations: tried"), [("0", "refused")] * len(ODD), "and one that had would not be called")
    ids = rows.insert([f"http://{f'[{a}]' if ':' in a else a}:{port}/agree" for a in INSIDE])
    is_(dict(zip(INSIDE, rows.tried(ids, "addresses inside: tried"))), {a: ("0", "refused") for a in INSIDE}, "addresses inside: refused")


def resolved(stack, rows, port):
    names = {f"n{i}.shop.test": a for i, a in enumerate(INSIDE)}
    stack.tell(names)
    ids = rows.insert([f"http://{name}:{port}/agree" for name in names])
    is_(dict(zip(names.values(), rows.tried(ids, "names that lead inside: tried"))), {a: ("0", "refused") for a in names.values()},
        "names that lead inside: refused")


def rebinding(stack, rows, port, traps):
    """The same name, first where it may lead, then where it may not."""
    stack.tell({"moving.shop.test": "127.0.0.1"})
    ids = rows.insert([f"http://moving.shop.test:{port}/500"])
    is_(rows.tried(ids, "a name that leads to the merchant: tried"), [("500", "not_agreed")], "is called")
    stack.tell({"moving.shop.test": "127.0.0.2"})
    stack.restart("callback0")  # what it had resolved is forgotten
    rows.again(ids[0])
    is_(rows.tried(ids, "the name has changed its mind: tried", 2), [("0", "refused")], "refused, whatever it was before")
    is_(came(traps), [], "and not connected to")
    stack.tell({"both.shop.test": "127.0.0.2 127.0.0.1", "neither.shop.test": "127.0.0.2 ::1 10.0.0.1"})
    ids = rows.insert([f"http://both.shop.test:{port}/agree", f"http://neither.shop.test:{port}/agree"])
    is_(rows.tried(ids, "several addresses of one name: tried"), [("200", ""), ("0", "refused")], "only the one that may be is called")
    is_(came(traps), [], "and no other was connected to")


def ports(rows, port, other):
    """allow 127.0.0.1:port 127.0.0.3; deny 127.0.0.3:port"""
    ids = rows.insert([f"http://{a}/agree" for a in (f"127.0.0.1:{port}", f"127.0.0.1:{other}", f"127.0.0.3:{other}", f"127.0.0.3:{port}",
                                                   DENIED)])
    is_(rows.tried(ids, "rules for ports: tried"), [("200", ""), ("0", "refused"), ("200", ""), ("0", "refused"), ("0", "refused")],
        "one port open, the others not; one denied, the others not; a public address denied")


def answers(rows, port, traps):
    ids = rows.insert([f"http://127.0.0.1:{port}/{status}" for status in MOVES])
    is_(rows.tried(ids, "redirects: tried"), [(str(status), "not_agreed") for status in MOVES], "redirects are no agreement")
    is_(came(traps), [], "and are not followed")
    ids = rows.insert([f"http://127.0.0.1:{port}/{what}" for what in ("endless", "endless_head", "drip")])
    is_(rows.tried(ids, "answers without an end: tried"), [("0", "broken"), ("0", "broken"), ("0", "timeout")],
        "are cut off where they are too long or take too long")


def spread(stack):
    """What fails in the same second is not tried again in the same second."""
    waits = [float(w) for w, in stack.sql("select extract(epoch from c.next_at - a.at) from pay.callback c join pay.callback_attempt a on "
                                          "(a.slot, a.callback_id, a.n) = (c.slot, c.id, c.tries) where c.state = 1")]
    ok(len(waits) > 50 and min(waits) >= 0.9 * WAIT and max(waits) <= 1.1 * WAIT + 60, "tried again after the interval, give or take a tenth",
       sorted(waits))
    ok(max(waits) - min(waits) > 0.1 * WAIT, "and not all at the same moment", sorted(waits))


def main():
    port, other, inside = free_ports(3)
    with contextlib.ExitStack() as opened:
        traps = [opened.enter_context(socket.create_server(a)) for a in (("127.0.0.1", inside), ("127.0.0.2", port), ("127.0.0.3", port))]
        for address in (("127.0.0.1", port), ("127.0.0.3", other)):
            opened.callback(listening(*address, f"http://127.0.0.1:{inside}/inside").shutdown)
        with flow_stack('"ev":"callback"', kind=Network, intact=False,
                        payd={"callbacks > allow": f"127.0.0.1:{port} 127.0.0.3", "callbacks > deny": f"127.0.0.3:{port} {DENIED}",
                              "callbacks > schedule": f"{WAIT}s"}) as stack:
            rows = Rows(stack)
            notations(stack, rows, inside)
            resolved(stack, rows, inside)
            is_(came(traps), [], "nobody came")
            rebinding(stack, rows, port, traps)
            ports(rows, port, other)
            answers(rows, port, traps)
            spread(stack)
            is_(came(traps), [], "nobody came where nobody may")
            is_(stack.connected(), {("127.0.0.1", str(port)), ("127.0.0.3", str(other))}, "nor tried to")
    done()


main()
