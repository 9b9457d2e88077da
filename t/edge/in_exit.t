#!/usr/bin/python3
"""Workers end while their threads sign answers with RSA: by reload, by QUIT, by TERM, again and again. None crashes on
its way out (OpenSSL's clean-up and the end of a thread once freed the same memory), and nobody who was served is served
wrongly."""
import os
import re
import signal
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
from edge import NGINX, PLATFORM, SLOW, Key, edge, wait_until  # noqa: E402
from tap import done, is_, like, ok  # noqa: E402

ROUNDS = int(os.environ.get("PAY_ROUNDS", "4" if SLOW == 1 else "10"))
CLIENTS = 12
R = Key("RSA1", "rsa")

if SLOW > 1:
    said = subprocess.run([NGINX, "-V"], capture_output=True, text=True).stderr
    like(said, "NGX_DEBUG_PALLOC=1.*fsanitize|fsanitize.*NGX_DEBUG_PALLOC=1",
         "the sanitizers' nginx gives every allocation of a pool memory of its own")



def alive(pid):
    return os.path.exists(f"/proc/{pid}")


with edge(R, workers=2) as e:
    wrong, lost, served, stop, stopping = [], [], [0], threading.Event(), threading.Event()

    def client():
        """Whoever gets an answer gets a right one; an end instead of it is how a stop looks."""
        while not stop.is_set():
            try:
                a = e.call(R)
            except OSError:
                time.sleep(0.01)
                continue
            if a.status == 200 and a.signed_with(PLATFORM):
                served[0] += 1
            elif a.status == 0 and not stopping.is_set():
                lost.append(e.payd.requests[-1]["pay-trace"])
            elif a.status != 0 and not (a.status == 401 or a.code == "RETRY_SAME_NUMBER"):
                wrong.append((a.status, a.body[:200]))

    ended = []
    for turn in range(ROUNDS):
        stop.clear()
        stopping.clear()
        threads = [threading.Thread(target=client) for _ in range(CLIENTS)]
        [t.start() for t in threads]
        before = served[0]
        wait_until(lambda: served[0] >= before + 2 * CLIENTS)
        old = e.workers()
        e.reload()
        wait_until(lambda: not any(map(alive, old)))
        stopping.set()
        # a worker that is already ending by QUIT complains of what is open when TERM hurries it, in 1.22: so one of both
        e.process.send_signal(signal.SIGTERM if turn % 2 else signal.SIGQUIT)
        ended.append(e.process.wait(60 * SLOW))
        stop.set()
        [t.join() for t in threads]
        e.socket.unlink(missing_ok=True)
        (e.folder / "edge2.sock").unlink(missing_ok=True)
        e.start_nginx()
    is_(ended, [0] * ROUNDS, f"{ROUNDS} times nginx ended as it should, with {served[0]} answers signed")
    ok(served[0] >= 2 * ROUNDS * CLIENTS, "while it was busy")
    is_(wrong, [], "every answer was right")
    # send_timeout's timer keeps a worker that is to end until the thread has signed
    is_(lost, [], "a reload lost no answer")
    is_(re.findall(r"(?:exited on signal|exited with code [1-9]).*", e.log.read_text()), [], "no worker crashed")
    is_(e.call(R).status, 200, "and it serves")

done()
