#!/usr/bin/python3
"""R10.3, R1.10: two pools of payd behind one edge. Gray release by one line and a reload, an order stays in its pool
and is found from the other one; a pool whose payd is stopped fills its own places and nobody else notices."""
import re
import signal
import sys
import threading
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))
from flow import bank_orders, becomes, done, eventually, flow_stack, is_, number, ok, pay  # noqa: E402
from stack import call  # noqa: E402

ORDERS = 24


class Gray:
    """The sample's pools, with order1 as the canary's only process."""

    def __init__(self, stack):
        self.stack, self.file = stack, stack.conf / "nginx.conf"
        text = self.file.read_text()
        # order1 was put beside order0; it becomes the canary instead
        text, n = re.subn(r"(upstream pay_orders \{[^}]*?)\s*server unix:\S*order1\.api\.sock[^;]*;", r"\1", text)
        assert n == 1
        self.text = text.replace("/canary0.api.sock", "/order1.api.sock")

    def step(self, *when, in_flight=1024):
        """What an operator changes in the file, and the reload."""
        lines = "".join(f"when {w};" for w in when)
        self.file.write_text(re.sub(r"(pay_pool canary \{[^}]*?in_flight) 1024;", rf"\1 {in_flight}; {lines}", self.text))
        before = set(self.stack.children("nginx"))
        self.stack.reload_nginx()
        eventually(lambda: not before & set(self.stack.children("nginx")), f"the canary takes {when or 'nothing'}")

    def status(self, pool):
        status = call("GET", f"{self.stack.env['PAY_STATUS_URL']}/status")[1]
        return next(p for p in status["pools"] if p["name"] == pool)


def where_made(stack, *numbers):
    """Number -> the pool that the order's route names, and the process number that made it."""
    rows = stack.sql("select p.out_trade_no, p.route, (event_id >> 14) & 255 from pay.payment_history h join pay.payment p on "
                     "(p.slot, p.id) = (h.slot, h.payment_id) where h.version = 1")
    return {no: (route.rpartition(" pool=")[2], process) for no, route, process in rows if no in numbers}


def create(stack, no):
    return stack.client("hmac").create_payment(no, 500, notify_url=stack.callback_url)


def gray(stack, pools):
    pools.step("share=1/2")
    made = {no: create(stack, no).json for no in (number("G", i) for i in range(ORDERS))}
    is_(sorted({p["state"] for p in made.values()}), ["pending"], "orders are made in both pools")
    where = where_made(stack, *made)
    text = stack.payctl("trace", f"{stack.env['PAY_MCHID']}/{next(iter(made))}")
    ok(re.search(r"by=weight open=2 fit=2 ill=0 busy=0 guard=redis .*pool=(canary|orders)\b", text), "payctl trace tells why this channel and pool", text)
    is_(sorted({pool for pool, _ in where.values()}), ["canary", "orders"], "each order knows which")
    processes = {pool: {p for at, p in where.values() if at == pool} for pool in ("canary", "orders")}
    ok(len(processes["canary"]) == len(processes["orders"]) == 1 and processes["canary"] != processes["orders"],
       "each pool is one process", processes)
    again = [no for no, p in made.items() if (a := create(stack, no)).status != 200 or a.json != p]
    is_(again, [], "a repeated creation finds its order")
    lost = [no for no, p in made.items() if stack.client("hmac").get(p["id"]).json != p or stack.client("hmac").find(no).json != p]
    is_(lost, [], "so do queries by id and by number, whichever pool they go to")

    no = next(no for no, (pool, _) in where.items() if pool == "canary")
    pay(stack, made[no]["code_url"])
    becomes(stack, no, "succeeded", "an order of the canary is paid; its notification went to any process")

    pools.step()
    back = [number("B", i) for i in range(8)]
    is_({create(stack, no).status for no in back}, {201}, "orders are made")
    is_({pool for pool, _ in where_made(stack, *back).values()}, {"orders"},
        "one line back: the canary gets nothing")
    is_([n for n in made if stack.client("hmac").find(n).json["id"] != made[n]["id"]], [], "its orders are still found")
    return [n for n, (pool, _) in where.items() if pool == "canary"], [n for n, (pool, _) in where.items() if pool != "canary"]


def together(stack, pools):
    """Equal requests in flight of one order, in a share: one process, one order, one call to the bank."""
    for i in range(4):
        no, answers = number("E", i), []
        threads = [threading.Thread(target=lambda: answers.append(create(stack, no))) for _ in range(6)]
        [t.start() for t in threads]
        [t.join() for t in threads]
        is_((sorted(a.status for a in answers), len({a.json.get("id") for a in answers})), ([200] * 5 + [201], 1),
            f"order {i}: six equal requests at once make one order")
        is_([b["prepares"] for b in bank_orders(stack, answers[0].json["id"])], [1], "and one call")


def stuck(stack, pools, canary, others):
    """SIGSTOP to the canary's payd."""
    pools.step("share=1/2", in_flight=3)
    is_(create(stack, others[0]).status, 200, "all is well")
    stack.signal("order1", signal.SIGSTOP)
    waiting, answers = [], []
    try:
        for no in canary[:3]:
            waiting.append(threading.Thread(target=lambda no=no: answers.append(create(stack, no))))
            waiting[-1].start()
        eventually(lambda: pools.status("canary")["in_flight"] == 3, "three requests hang in the stopped process")
        refused = create(stack, canary[3])
        is_((refused.status, refused.code, refused.headers.get("Retry-After"), bool(refused.verified)), (503, "OVERLOADED", "1", True),
            "one more is refused at once, and the answer is signed")
        is_([create(stack, no).status for no in others], [200] * len(others), "whoever is in the other pool notices nothing")
        fresh = [create(stack, number("F", i)) for i in range(12)]
        is_(sorted({(a.status, a.code) for a in fresh}, key=str), [(201, None), (503, "OVERLOADED")],
            "new orders: refused or made, none hangs")
        is_({stack.client("hmac").find(no).status for no in others}, {200}, "queries have a pool of their own")
        is_((pools.status("canary")["in_flight"], answers), (3, []), "the three still wait")
    finally:
        stack.signal("order1", signal.SIGCONT)
    [t.join() for t in waiting]
    is_(sorted(a.status for a in answers), [200] * 3, "and are answered when it goes on")
    is_(pools.status("canary")["in_flight"], 0, "their places are free")
    is_(create(stack, canary[3]).status, 200, "it takes requests again")


def main():
    # one nginx process: it hears of keys from order0, which is never stopped
    with flow_stack(orders=2, nginx={"worker_processes": "1"}, payd={"answer_within": "38s"}) as stack:
        pools = Gray(stack)
        canary, others = gray(stack, pools)
        pools.step("share=1/2")
        together(stack, pools)
        stuck(stack, pools, canary, others)
        eventually(lambda: '"pool":"canary"' in (stack.log / "access.log").read_text(), "the access log tells the pool")
    done()


main()
