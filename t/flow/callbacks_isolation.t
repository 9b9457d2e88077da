#!/usr/bin/python3
"""R4.1: a merchant that takes connections and never answers delays nobody else's callbacks, however many of
its own are due before theirs."""
import socket
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))
from flow import SLOW, becomes, callbacks, done, eventually, flow_stack, number, ok, pay  # noqa: E402
from processes import free_ports  # noqa: E402

ACTIVE, PER_MERCHANT, DEAD, TIMEOUT = 4, 2, 60, 3


def bury(stack, port):
    """Callbacks of an order that became final long ago, to somebody who does not answer."""
    stack.sql("insert into pay.callback (slot, id, payment_id, subject_id, mchid, app_id, url, body, state,"
              " created_at, next_at) select 1, i, i, i, 'dead', '', 'http://127.0.0.1:"
              f"{port}/', '{{}}', 1, now(), now() - interval '1 day' from generate_series(1, {DEAD}) i")


def main():
    limits = {"callbacks > active": str(ACTIVE), "callbacks > per_merchant": str(PER_MERCHANT),
              "callbacks > timeout": f"{TIMEOUT * SLOW}s", "callbacks > schedule": "1h"}
    port = free_ports(1)[0]
    with socket.create_server(("127.0.0.1", port), backlog=DEAD) as silent, \
            flow_stack('"ev":"callback"', payd={**limits, "callbacks > allow": "127.0.0.1"}) as stack:
        bury(stack, port)
        eventually(lambda: stack.sql("select 1 from pay.callback where mchid = 'dead' and tries > 0"), "it is being called")
        no = number("I")
        made = stack.client().create_payment(no, 100, notify_url=stack.callback_url)
        pay(stack, made.json["code_url"])
        becomes(stack, no, "succeeded", "another merchant's order is paid")
        eventually(lambda: callbacks(stack, no), "and called back")
        untried = int(stack.sql("select count(*) from pay.callback where mchid = 'dead' and tries = 0")[0][0])
        ok(untried > DEAD // 2, "before most of the silent one's had their turn", untried)
        silent.close()
    done()


main()
