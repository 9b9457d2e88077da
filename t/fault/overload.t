#!/usr/bin/python3
"""R8.3, overload: the bank is slow and its cap sets what can be taken; five times that is offered. What is accepted is
made, paid and called back; the rest is refused before it reaches a worker's work or the bank, with Retry-After; nothing
waits beyond its bound, memory stays as it is, and afterwards everything is as before.

PAY_MINUTES (a few seconds when absent): so long, at PAY_SCALE (1) times the capacity (make overload)."""
import os
import sys
import threading
import time
import urllib.request
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))
from flow import SLOW, bank_books, clear_faults, done, eventually, fault, flow_stack, is_, number, ok, verified  # noqa: E402
from crowd import UNKNOWN, KeptClient  # noqa: E402
from prometheus import parse  # noqa: E402

MINUTES = float(os.environ.get("PAY_MINUTES", "0"))
SCALE = int(os.environ.get("PAY_SCALE", "1"))
SECONDS = MINUTES * 60 or 6
WARM_UP = 4                     # s of the same overload before memory is looked at
DELAY_MS = 500                  # of the bank
CAP = 10 * SCALE                # calls at the bank; eight of ten may be new payments
CAPACITY = CAP * 8 // 10 * 1000 // DELAY_MS     # orders a second
OFFERED = 5 * CAPACITY
CLIENTS = 40 * SCALE
IN_FLIGHT = 30 * SCALE          # requests that may wait for the workers
GROWTH = 8 << 20                # bytes a process may grow by: buffers of connections, no queue of orders
REFUSED = (429, 503)


class Offer:
    """So many orders a second, whatever becomes of them: nobody waits for an answer before the next one asks."""

    def __init__(self, stack, rate):
        self.stack, self.rate = stack, rate
        self.lock, self.stopping = threading.Lock(), threading.Event()
        self.asked, self.began = 0, time.monotonic()
        self.accepted, self.refused = {}, Counter()
        self.bare, self.others = [], []
        self.threads = [threading.Thread(target=self.client) for _ in range(CLIENTS)]

    def __enter__(self):
        for t in self.threads:
            t.start()
        return self

    def __exit__(self, *_):
        self.stopping.set()
        for t in self.threads:
            t.join()
        self.took = time.monotonic() - self.began

    def turn(self):
        """When the next order is due; one that is late is not made up for."""
        with self.lock:
            self.asked += 1
            now = time.monotonic()
            self.next = max(getattr(self, "next", now) + 1 / self.rate, now)
            return self.asked, self.next - now

    def client(self):
        client = KeptClient.from_env(self.stack.env, "hmac")
        while not self.stopping.is_set():
            n, wait = self.turn()
            time.sleep(wait)
            no = number("V", n)
            try:
                answer = client.create_payment(no, 100 + n % 900, channel="bank", notify_url=self.stack.callback_url)
            except UNKNOWN as e:
                self.others.append(repr(e))
                continue
            with self.lock:
                self.note(no, answer)
        client.close_connection()

    def note(self, no, answer):
        if answer.status in (201, 202):
            self.accepted[no] = answer.json
        elif answer.status in REFUSED:
            self.refused[answer.code] += 1
            if not (answer.headers.get("Retry-After") or "").isdigit():
                self.bare.append(f"{answer.status} {answer.code}")
        else:
            self.others.append(f"{answer.status} {answer.body[:200]!r}")


class Watch(threading.Thread):
    """The most of each gauge that was seen."""
    GAUGES = ("pay_channel_in_flight", "pay_channel_in_pay", "pay_pool_in_flight")

    def __init__(self, stack):
        super().__init__()
        self.stack, self.most, self.stopping = stack, Counter(), threading.Event()

    def gauges(self):
        with urllib.request.urlopen(self.stack.env["PAY_STATUS_URL"] + "/metrics") as answer:
            families = parse(answer.read().decode())
        return {name: max(families[name].samples.values()) for name in self.GAUGES}

    def run(self):
        while not self.stopping.wait(0.1):
            for name, value in self.gauges().items():
                self.most[name] = max(self.most[name], value)

    def stop(self):
        self.stopping.set()
        self.join()


def memory(stack):
    """Bytes that each of our processes has for itself. The zones that nginx's share have their sizes from the configuration."""
    pids = {f"nginx {i}": pid for i, pid in enumerate(stack.children("nginx"))}
    pids |= {name: stack.pid(name) for name in stack.payd_names}
    return {name: sum(int(line.split()[1]) << 10 for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
                      if line.startswith("Private_")) for name, pid in pids.items()}


def overload(stack):
    watch = Watch(stack)
    with Offer(stack, OFFERED) as offer:
        time.sleep(WARM_UP)
        before = memory(stack)
        watch.start()
        time.sleep(SECONDS)
        after = memory(stack)
        watch.stop()
    accepted, refused = len(offer.accepted), sum(offer.refused.values())
    print(f"# capacity {CAPACITY} orders/s; offered {offer.asked / offer.took:.0f}/s for {offer.took:.0f} s, accepted "
          f"{accepted / offer.took:.1f}/s, refused {dict(offer.refused)}")
    ok(accepted and refused, "some are accepted, some are refused", accepted, refused)
    is_(offer.others[:5], [], "there is no other answer: nothing fails, nothing hangs")
    is_(offer.bare[:5], [], "each refusal says when to come back: Retry-After")
    most = {name: int(value) for name, value in watch.most.items()}
    ok(most["pay_channel_in_pay"] <= CAP * 8 // 10 and most["pay_channel_in_flight"] <= CAP, "the cap was kept", most)
    ok(most["pay_pool_in_flight"] <= IN_FLIGHT, "nothing waited beyond its bound", most)
    growth = {name: after[name] - before[name] for name in before}
    print(f"# at most: {most}; memory: {({n: f'{before[n] >> 10} {growth[n] / 1024:+.0f} KiB' for n in growth})}")
    if SLOW == 1:  # a sanitizer keeps what is freed
        is_({name: g for name, g in growth.items() if g > GROWTH}, {}, "memory stays as it is")
    return offer


def complete(stack, offer):
    """Everything accepted goes its way; nothing refused left a trace at the bank."""
    numbers = set(offer.accepted)

    def open_ones():
        return {no for no, in stack.sql("select out_trade_no from pay.payment where state = 1")}
    eventually(lambda: not open_ones(), "each accepted order is known to be made", 60)
    # two may see the last place of the queue: who comes second is not sent, and then waits before those that come later
    most = int(stack.sql("select max(attempts) from pay.payment")[0][0])
    ok(most <= 2, "at its second attempt at the latest", most)
    rows = dict(stack.sql("select out_trade_no, state from pay.payment where out_trade_no like 'V%'"))
    is_(sorted(numbers - set(rows)), [], "all of them are there")
    failed = [no for no in numbers if rows[no] == "4"]
    is_(failed[:5], [], f"none of the {len(numbers)} failed")
    codes = [code for no, code in stack.sql("select out_trade_no, code_url from pay.payment where out_trade_no like 'V%'")
             if no in numbers]
    for code in codes:
        stack.bank("POST", "/pay", {"code_url": code})
    eventually(lambda: stack.sql("select count(*) from pay.payment where state = 3") == [[str(len(codes))]],
               "each is paid and succeeds", 120)
    eventually(lambda: stack.sql("select count(*) from pay.callback where state <> 2") == [["0"]], "and is called back", 120)
    verified(stack, "ours and the bank's books agree", "--books", str(bank_books(stack)))


def normal_again(stack):
    """What the capacity holds is taken again, and nothing is left of the flood."""
    is_([stack.client("hmac").create_payment(number("N", i), 100, channel="bank").status for i in range(5)], [201] * 5,
        "afterwards: five of five are accepted")
    gauges = Watch(stack).gauges()
    eventually(lambda: set(Watch(stack).gauges().values()) <= {0, 1}, f"no place is left taken {gauges}")


def main():
    nginx = {"location /v1/ > pay_guard": "window=300s nonce=600s app=100000r/s burst=100000 fallback=open",
             **{f"pay_pool {pool} > in_flight": str(IN_FLIGHT) for pool in ("orders", "queries")}}
    channel = {"concurrency": str(CAP), "breaker": "off", "timeout": "connect=5s send=5s read=20s", "query_first": "1h",
               "queue": f"{CAP} timeout=3s"}
    quiet = {"answer_within": "30s", "send_window": "5s", "query_interval": "1h", "query_max": "1h"}
    with flow_stack(channels={"bank": channel, "wechat": {"breaker": "off"}}, payd=quiet, nginx=nginx) as stack:
        fault(stack, "delay", "native", delay_ms=DELAY_MS)
        offer = overload(stack)
        eventually(lambda: Watch(stack).gauges()["pay_channel_in_flight"] == 0, "the bank has nothing left to do")
        normal_again(stack)
        clear_faults(stack)
        complete(stack, offer)
    done()


main()
