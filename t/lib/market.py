"""A market for the fault tests: merchants that order and payers that pay while parts of the system die, and what must
be true when it is quiet again: the bank's books and ours agree."""
from __future__ import annotations

import contextlib
import http.client
import random
import threading
import time
from collections import Counter

from flow import SLOW, STATES, bank_books, fault, flow_stack, is_, number, verified
from processes import KILLED, NotReady, wait_until

PATIENCE = 60 * SLOW
# what a death looks like in the logs is no failure of these tests
DEATHS = (*KILLED, "exited with fatal code", "open socket", "PANIC", "terminat", "kill")
ROOMY = {"location /v1/ > pay_guard": "window=300s nonce=600s app=5000r/s burst=5000 fallback=open"}


@contextlib.contextmanager
def market_stack(**more):
    """A stack that survives deaths: short intervals would give up what the egress could not take for a second, as failed."""
    with flow_stack(*DEATHS, hasty=True, nginx=ROOMY, payd={"not_sent_limit": "100", **more.pop("payd", {})}, **more) as stack:
        slow_bank(stack)
        yield stack


def slow_bank(stack):
    """Half of the calls take their time, so that some are always under way when something dies."""
    fault(stack, "delay", percent=50, delay_ms=200)


class Market:
    """Merchants that make orders and payers that pay most of them, until told to stop."""

    def __init__(self, stack, merchants):
        self.stack, self.stopping = stack, threading.Event()
        self.lock = threading.Lock()
        self.acknowledged = {}      # out_trade_no -> (id, amount)
        self.in_flight = set()
        self.errors = []
        self.threads = [threading.Thread(target=self.merchant, args=(i,)) for i in range(merchants)]

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


# ---- what must be true afterwards ----

def our_books(stack):
    columns = "out_trade_no, id, amount, state, (select count(*) from pay.callback c where c.payment_id = p.id)"
    return {no: (int(ident), int(amount), STATES[int(state)], int(calls))
            for no, ident, amount, state, calls in stack.sql(f"select {columns} from pay.payment p")}


def orders_at_bank(stack):
    return stack.bank("GET", "/orders")[1]["orders"]


def shown_ids(stack, market):
    """Our ids as merchants and the bank know them, from the answers."""
    return {no: ident for no, (ident, _) in market.acknowledged.items()}


def settled(stack, market):
    """Everything paid at the bank has reached us, and nothing is unknown any more."""
    paid = {o["out_trade_no"][:-2] for o in orders_at_bank(stack) if o["state"] == "SUCCESS"}
    ours, shown = our_books(stack), shown_ids(stack, market)
    return all(o[2] != "processing" for o in ours.values()) and \
        all(ours[no][2] == "succeeded" for no, ident in shown.items() if ident in paid and no in ours)


def check(stack, market):
    """Once the merchants have gone home."""
    is_(market.errors[:5], [], "every request got a definite answer in the end")
    try:
        wait_until(lambda: settled(stack, market), "the timers to finish", PATIENCE)
    except NotReady as e:
        print(f"# {e}")
    ours, bank, shown = our_books(stack), orders_at_bank(stack), shown_ids(stack, market)
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
    verified(stack, "every invariant holds against the bank's books", "--books", str(bank_books(stack)))
