"""The fault campaign: fault after fault while merchants order and payers pay; after each round of them, when it is
quiet, every invariant is asked of the database and of the bank's books.

What is a violation: a line of `payctl verify --books` that is broken; an acknowledged order that is not there with its
amount; a request that never got a definite answer, or got one that cannot be; an order that comes to no end; a callback
that contradicts an earlier one or never came."""
from __future__ import annotations

import random
import time
from collections import Counter, defaultdict
from statistics import median

from flow import SLOW, STATES, bank_books, fault, flow_stack  # first: it knows where the others are
from crowd import Crowd, Receiver, Unknown, until_known
from faults import CLOCK_S, Fault, NotMet, all_faults
from processes import NotReady, wait_until
from proxied import ProxiedStack, private_mounts

SETTLE = 120 * SLOW
PROBE_EACH = 10 * SLOW
ROUND = 25
FINAL = ("succeeded", "failed", "closed")
# a person has it
NO_CASE = "not exists (select from pay.payment_case c where (c.slot, c.payment_id, c.state) = (t.slot, t.id, 1))"
SOON = "now() + interval '60 s'"
LATE = f"exists (select from pay.payment_timer m where (m.slot, m.payment_id) = (t.slot, t.id) and m.due_at > {SOON})"
OPTIONS = {
    "nginx": {"location /v1/ > pay_guard": "window=300s nonce=600s app=20000r/s burst=20000 fallback=open"},
    "payd": {"not_sent_limit": "100", "expire": "20s", "query_interval": "500ms", "query_max": "5s", "reverse_limit": "6",
             "paying_interval": "300ms", "paying_limit": "2s",
             "callbacks > schedule": "100ms 200ms 400ms 800ms 1s 1s 2s 2s 2s 5s 5s 5s 5s 10s 10s",
             "relay > poll": "50ms"},
    "postgres": {"checkpoint_timeout": "30s", "max_wal_size": "256MB"},
}
BREAKER = {"breaker": "failures=12 window=5s probe=200ms probes=1 step=100ms", "concurrency": "200"}
# what a fault looks like in the logs is no failure; a sanitizer's or an assertion's word is
LOGS = ('"lvl":"alert"', "[alert]", "[emerg]", "PANIC")


class Campaign:
    def __init__(self, stack: ProxiedStack, crowd: Crowd, receiver: Receiver, seed: int, say=print):
        self.stack, self.crowd, self.receiver, self.say = stack, crowd, receiver, say
        self.dice = random.Random(seed)
        self.probe_client, self.probes = crowd.client(), 0
        self.times: dict[str, int] = defaultdict(int)
        self.recovery: dict[str, list[float]] = defaultdict(list)
        self.violations: dict[str, int] = defaultdict(int)
        self.found: list[str] = []
        self.not_met: list[str] = []
        self.verified = self.compared = 0

    # ---- one fault ----

    def strike(self, f: Fault) -> None:
        try:
            since = f.make(self.stack, self.dice)
        except NotMet as e:
            self.not_met.append(f"{f.kind}: {f.what}: {e}")
            return
        except NotReady as e:
            self.note([f.kind], [f"{f.kind}: {f.what}: {e}"])
            since = time.monotonic()
        self.times[f.kind] += 1
        took = self.probe(since)
        if took is None:
            self.note([f.kind], [f"{f.kind}: {f.what}: no order went through in {SETTLE} s"])
        else:
            self.recovery[f.kind].append(took)

    def probe(self, since: float) -> float | None:
        """Seconds until an order that was begun afterwards is paid, succeeded and called back."""
        deadline = time.monotonic() + SETTLE
        while time.monotonic() < deadline:
            self.probes += 1
            try:
                if self.probe_once(f"PROBE{self.crowd.seed}x{self.probes:06}"):
                    return time.monotonic() - since
            except Unknown:
                pass
        return None

    def probe_once(self, no: str) -> bool:
        crowd, client = self.crowd, self.probe_client
        payment = crowd.create(client, no, 100, PROBE_EACH, channel="bank")
        if "code_url" not in payment:
            return False
        pay = lambda: self.stack.bank("POST", "/pay", {"code_url": payment["code_url"]})  # noqa: E731
        if until_known(pay, PROBE_EACH)[0] != 200:
            return False
        wait = time.monotonic() + PROBE_EACH
        while time.monotonic() < wait:
            if self.receiver.told.get(payment["id"]) == "succeeded":
                return True
            time.sleep(0.01)
        return False

    # ---- when it is quiet ----

    def note(self, kinds: list[str], violations: list[str]) -> None:
        self.found += violations
        for v in violations:
            self.say(f"# VIOLATION {v}")
        for kind in set(kinds):
            self.violations[kind] += len(violations)

    def unsettled(self) -> str:
        """What is still under way; empty when nothing is."""
        ask = (f"select 'orders', count(*) from pay.payment t where state = 1 and {NO_CASE} and not {LATE} union all "
               f"select 'reversals', count(*) from pay.payment t where reversal = 1 and {NO_CASE} and not {LATE} union all "
               f"select 'refunds', count(*) from pay.refund_timer where due_at < {SOON} union all "
               f"select 'callbacks', count(*) from pay.callback where state = 1 and next_at < {SOON}")
        try:
            left = ", ".join(f"{n} {what}" for what, n in self.stack.sql(ask) if n != "0")
            return left or self.unheard()
        except RuntimeError as e:
            return f"the database: {e}"

    def late(self) -> bool:
        """Is anything planned by a clock that was wrong? It comes in its time, ten minutes from now."""
        ask = (f"select (select count(*) from pay.payment_timer where due_at > {SOON}) + (select count(*) from pay.callback "
               f"where state = 1 and next_at > {SOON}) + (select count(*) from pay.refund_timer where due_at > {SOON})")
        return self.stack.sql(ask) != [["0"]]

    def unheard(self) -> str:
        """Orders that are paid at the bank and pending here."""
        paid = {line.partition(",")[0][:-2] for line in bank_books(self.stack).read_text().splitlines()[1:]
                if line.split(",")[1] != line.split(",")[2]}
        pending = [no for no, in self.stack.sql(f"select out_trade_no from pay.payment t where state = 2 and not {LATE}")]
        late = [no for no in pending if self.crowd.acknowledged.get(no, ("",))[0] in paid]
        return f"paid, and not known: {late[:5]}" if late else ""

    def quiet(self, kinds: list[str], last: bool = False) -> None:
        """The end of a round."""
        self.crowd.pause()
        try:
            wait_until(lambda: not self.unsettled(), "rest", SETTLE)
        except NotReady:
            self.note(kinds, [f"not settled in {SETTLE} s: {self.unsettled()}"])
        self.note(kinds, self.broken() + self.missing() + self.crowd.errors + self.receiver.contradictions)
        self.crowd.errors, self.receiver.contradictions = [], []
        self.verified += 1
        if not last:
            self.crowd.resume()

    def broken(self) -> list[str]:
        books = ("--books", str(bank_books(self.stack))) if not self.late() else ()
        self.compared += bool(books)
        said = self.stack.payctl("verify", *books, check=False)
        lines = [line for line in said.splitlines() if not line.startswith("ok ")]
        return lines if said.startswith("ok ") or lines else ["payctl verify gives no answer"]

    def missing(self) -> list[str]:
        """Of the orders that were acknowledged since the last look."""
        look, self.crowd.unchecked = self.crowd.unchecked, []
        if not look:
            return []
        rows = self.stack.sql("select out_trade_no, amount from pay.payment where out_trade_no in (%s)" %
                              ",".join(f"'{no}'" for no in look))
        have = {no: int(amount) for no, amount in rows}
        return [f"{no} is acknowledged with {self.crowd.acknowledged[no][1]}, stored with {have.get(no)}"
                for no in set(look) if have.get(no) != self.crowd.acknowledged[no][1]]

    # ---- the whole ----

    def plan(self, faults: int, kinds: list[Fault]) -> list[Fault]:
        """Every fault before any comes again; once, at the beginning, those after which things come ten minutes late."""
        order = [f for f in kinds if f.first]
        while len(order) < faults:
            some = [f for f in kinds if not f.first] or kinds
            self.dice.shuffle(some)
            order += some
        return order[:faults]

    def run(self, plan: list[Fault], orders: int, round_of: int = ROUND) -> None:
        crowd, kinds, began = self.crowd, [], time.monotonic()
        for i, f in enumerate(plan):
            due = orders * (i + 1) // len(plan)
            crowd.allowed = due + 50
            self.strike(f)
            self.wait_for_orders(due)
            kinds.append(f.kind)
            if len(kinds) == round_of or i == len(plan) - 1:
                self.quiet(kinds)
                self.say(f"# {i + 1} faults, {len(crowd.acknowledged)} orders, {time.monotonic() - began:.0f} s, "
                         f"{len(self.found)} violations")
                kinds = []
                if self.verified % 10 == 0:
                    self.say(f"so far:\n{self.table()}")
        self.finish()

    def wait_for_orders(self, n: int) -> None:
        crowd = self.crowd
        try:
            wait_until(lambda: len(crowd.acknowledged) + len(crowd.errors) + crowd.busy >= n, f"{n} orders", SETTLE)
        except NotReady as e:
            self.say(f"# {e}")

    def finish(self) -> None:
        """Every order comes to an end, and the merchant is told of it."""
        self.crowd.pause()
        try:
            wait_until(lambda: not self.late(), "what is late", CLOCK_S + SETTLE)
        except NotReady as e:
            self.note([], [str(e)])
        ask = f"select count(*) from pay.payment t where state < 3 and (state = 2 or {NO_CASE})"
        try:
            wait_until(lambda: self.stack.sql(ask) == [["0"]], "the end of all orders", SETTLE)
        except NotReady:
            self.note([], [f"{self.stack.sql(ask)[0][0]} orders have come to no end"])
        self.quiet([], last=True)
        ended = [(no, STATES[int(state)]) for no, state in self.stack.sql("select out_trade_no, state from pay.payment")]
        known = {no: ident for no, (ident, _) in self.crowd.acknowledged.items()}
        told = {no: self.receiver.told.get(ident) for no, ident in known.items()}
        self.note([], [f"{no} is {state}, and its merchant was told {told[no]}" for no, state in ended
                       if state in FINAL and no in told and told[no] != state])
        self.ends = Counter(state for _, state in ended)
        self.cases = int(self.stack.sql("select count(*) from pay.payment_case")[0][0])

    def table(self) -> str:
        rows = [("fault", "times", "violations", "recovery: median", "p99")]
        for kind in sorted(self.times):
            took = self.recovery[kind]
            rows.append((kind, str(self.times[kind]), str(self.violations[kind]), *seconds(took)))
        everything = [t for took in self.recovery.values() for t in took]
        rows.append(("all", str(sum(self.times.values())), str(len(self.found)), *seconds(everything)))
        return "\n".join("| " + " | ".join(r) + " |" + ("\n| --- | --- | --- | --- | --- |" if i == 0 else "")
                         for i, r in enumerate(rows))


def seconds(took: list[float]) -> tuple[str, str]:
    if not took:
        return "-", "-"
    took = sorted(took)
    return f"{median(took):.1f} s", f"{took[min(len(took) - 1, len(took) * 99 // 100)]:.1f} s"


def campaign(seed: int, faults: int, orders: int, merchants: int, choose=lambda faults: faults, payd: dict | None = None,
             say=print, round_of: int = ROUND) -> Campaign:
    """Runs it on a stack of its own: so many of the chosen faults, or (0) each once. The first thing a program does: it
    may get mounts of its own."""
    mounts = private_mounts()
    receiver = Receiver()
    channels = {name: dict(BREAKER) for name in ("wechat", "bank")}
    try:
        with flow_stack(*LOGS, kind=ProxiedStack, hasty=True, nginx=OPTIONS["nginx"], payd={**OPTIONS["payd"], **(payd or {})},
                        postgres=OPTIONS["postgres"], channels=channels, merchant_port=receiver.port,
                        disk=mounts) as stack:
            receiver.knows(stack)
            if not stack.disk:
                say("# no fault of a full disk: a file system of its own for PostgreSQL needs root and the right to mount")
            fault(stack, "delay", percent=30, delay_ms=100)
            with Crowd(stack, merchants, seed) as crowd:
                run = Campaign(stack, crowd, receiver, seed, say)
                kinds = choose(all_faults(stack))
                run.run(run.plan(faults or len(kinds), kinds), orders, round_of)
    finally:
        receiver.close()
    return run
