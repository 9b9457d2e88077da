#!/usr/bin/python3
"""kill -9 of everything, again and again, while payments are in flight. Afterwards the bank's books and
ours agree: what was paid is succeeded, once; nothing was charged twice; nobody is told twice.

PAY_ROUNDS (10) rounds; in each, every process in turn."""
import http.client
import os
import random
import signal
import sys
import threading
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))
from flow import SLOW, STATES, done, fault, flow_stack, is_, number, ok, verified  # noqa: E402
from processes import wait_until  # noqa: E402

ROUNDS = int(os.environ.get("PAY_ROUNDS", "10"))
MERCHANTS = 24      # threads that make orders
IN_FLIGHT = 20      # at least, whenever something dies
ALIVE = 10          # new orders between two deaths
PATIENCE = 60 * SLOW


class Market:
    """Merchants that make orders and payers that pay most of them, until told to stop."""

    def __init__(self, stack):
        self.stack, self.stopping = stack, threading.Event()
        self.lock = threading.Lock()
        self.acknowledged = {}      # out_trade_no -> (id, amount)
        self.in_flight = set()
        self.errors = []
        self.threads = [threading.Thread(target=self.merchant, args=(i,)) for i in range(MERCHANTS)]

    def __enter__(self):
        for t in self.threads:
            t.start()
        return self

    def __exit__(self, *_):
        self.stopping.set()
        for t in self.threads:
            t.join()

    def merchant(self, i):
        client, dice = self.stack.client("hmac"), random.Random(i)
        turn = 0
        while not self.stopping.is_set():
            turn += 1
            no, amount = number(f"F{i:02}", turn), dice.randint(1, 9999)
            with self.lock:
                self.in_flight.add(no)
            try:
                self.one_order(client, dice, no, amount)
            except Exception as e:  # noqa: BLE001 - reported as a failed test
                self.errors.append(f"{no}: {e!r}")
            with self.lock:
                self.in_flight.discard(no)

    def one_order(self, client, dice, no, amount):
        answer = client.create_until_known(PATIENCE, out_trade_no=no, total=amount,
                                           notify_url=self.stack.callback_url)
        if answer.status not in (200, 201, 202):
            raise RuntimeError(f"{answer.status} {answer.body!r}")
        with self.lock:
            self.acknowledged[no] = (answer.json["id"], amount)
        what = dice.choice(["pay", "pay", "pay", "pay", "close", "leave"])
        if what == "leave":
            time.sleep(0.2)
            return
        payment = until_known(lambda: client.find(no), lambda a: a.status == 200 and (
            "code_url" in a.json or a.json["state"] not in ("processing", "pending")))
        if what == "close":
            until_known(lambda: client.close(payment.json["id"]), lambda a: a.status < 500)
        elif "code_url" in payment.json:
            until_known(lambda: self.stack.bank("POST", "/pay", {"code_url": payment.json["code_url"]}),
                        lambda a: a[0] in (200, 409))
            time.sleep(0.1)


def until_known(request, known):
    """Repeats a request that is safe to repeat."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            answer = request()
            if known(answer):
                return answer
        except (OSError, http.client.HTTPException) as e:
            answer = e
        if time.monotonic() > deadline:
            raise TimeoutError(repr(answer))
        time.sleep(0.1)


# ---- who dies ----

def kill_restart(name):
    def victim(stack):
        stack.kill(name)
        stack.start_process(name)
    return victim


def slow_bank(stack):
    """Half of the calls take their time, so that some are always under way when something dies."""
    fault(stack, "delay", percent=50, delay_ms=200)


def bank(stack):
    kill_restart("paybank")(stack)
    slow_bank(stack)


def nginx_worker(stack):
    before = stack.children("nginx")
    os.kill(random.choice(before), signal.SIGKILL)
    wait_until(lambda: len(stack.children("nginx")) == len(before) and stack.children("nginx") != before, "a new worker")


def postgres_backend(stack):
    pid = stack.sql("select pid from pg_stat_activity where usename = 'ngx_pay_app' order by random() limit 1")
    if pid:
        os.kill(int(pid[0][0]), signal.SIGKILL)
    # PostgreSQL restarts all of its processes then
    wait_until(lambda: sql_works(stack), "PostgreSQL to come back", PATIENCE)


def postgres_immediate(stack):
    stack.signal("postgres", signal.SIGQUIT)
    stack.processes["postgres"].child.wait()
    stack.start_process("postgres")


def sql_works(stack):
    try:
        return stack.sql("select 1")
    except RuntimeError:
        return None


VICTIMS = {
    "nginx worker": nginx_worker, "nginx": kill_restart("nginx"), "order process": kill_restart("order0"),
    "timer process": kill_restart("timer0"), "callback process": kill_restart("callback0"),
    "PostgreSQL backend": postgres_backend, "PostgreSQL, immediate": postgres_immediate,
    "PostgreSQL": kill_restart("postgres"), "Redis": kill_restart("redis"), "the bank": bank,
}


def one_round(stack, market, n):
    victims = list(VICTIMS.items())
    random.Random(n).shuffle(victims)
    least = None
    for name, kill in victims:
        # the next one dies only when the system lives again
        alive = len(market.acknowledged) + ALIVE
        wait_until(lambda: len(market.acknowledged) >= alive, f"new orders before {name} dies", PATIENCE)
        wait_until(lambda: len(market.in_flight) >= IN_FLIGHT, f"{IN_FLIGHT} orders in flight", PATIENCE)
        least = min(len(market.in_flight), least or MERCHANTS)
        kill(stack)
    ok(least >= IN_FLIGHT, f"round {n}: {len(victims)} deaths, {least} or more orders in flight at each, "
                           f"{len(market.acknowledged)} acknowledged so far")


# ---- what must be true afterwards ----

def our_books(stack):
    columns = "out_trade_no, id, amount, state, (select count(*) from pay.callback c where c.payment_id = p.id)"
    return {no: (int(ident), int(amount), STATES[int(state)], int(calls))
            for no, ident, amount, state, calls in stack.sql(f"select {columns} from pay.payment p")}


def bank_books(stack):
    return stack.bank("GET", "/orders")[1]["orders"]


def shown_ids(stack, market):
    """Our ids as merchants and the bank know them, from the answers."""
    return {no: ident for no, (ident, _) in market.acknowledged.items()}


def settled(stack, market):
    """Everything paid at the bank has reached us, and nothing is unknown any more."""
    paid = {o["out_trade_no"][:-2] for o in bank_books(stack) if o["state"] == "SUCCESS"}
    ours, shown = our_books(stack), shown_ids(stack, market)
    return all(o[2] != "processing" for o in ours.values()) and \
        all(ours[no][2] == "succeeded" for no, ident in shown.items() if ident in paid and no in ours)


def check(stack, market):
    is_(market.errors[:5], [], "every request got a definite answer in the end")
    try:
        wait_until(lambda: settled(stack, market), "the timers to finish", PATIENCE)
    except Exception as e:  # noqa: BLE001
        print(f"# {e}")
    ours, bank, shown = our_books(stack), bank_books(stack), shown_ids(stack, market)
    is_([no for no, (_, amount) in market.acknowledged.items() if ours.get(no, (0, 0))[1] != amount], [],
        f"all {len(market.acknowledged)} acknowledged orders exist with their amount")
    charges = Counter({o["out_trade_no"][:-2]: 0 for o in bank})
    for o in bank:
        charges[o["out_trade_no"][:-2]] += o["charges"]
    is_([i for i, n in charges.items() if n > 1], [], "the bank charged nobody twice")
    by_shown = {shown[no]: no for no in shown}
    paid = {by_shown[i] for i, n in charges.items() if n == 1 and i in by_shown}
    is_([i for i, n in charges.items() if n == 1 and i not in by_shown], [], "nothing was paid that we do not know")
    succeeded = {no for no, o in ours.items() if o[2] == "succeeded"}
    is_((sorted(paid - succeeded), sorted(succeeded - paid)), ([], []),
        f"succeeded is what the bank's books show as paid: {len(paid)}")
    others = Counter(o[2] for no, o in ours.items() if no not in succeeded)
    is_(set(others) - {"pending", "closed"}, set(), f"every other one is pending or closed: {dict(others)}")
    verified(stack, "every invariant holds in the database and against the bank's books")


def main():
    # what a death looks like in the logs is no failure of this test
    allowed = ("exited on signal 9", "exited with fatal code", "open socket", "PANIC", "terminat", "kill")
    roomy = {"location /v1/ > pay_guard": "window=300s nonce=600s app=5000r/s burst=5000 fallback=open"}
    random.seed(1)
    # short intervals would give up what the egress could not take for a second, as failed
    with flow_stack(*allowed, nginx=roomy, payd={"not_sent_limit": "100"}) as stack:
        slow_bank(stack)
        with Market(stack) as market:
            for n in range(1, ROUNDS + 1):
                one_round(stack, market, n)
        check(stack, market)
    done()


main()
