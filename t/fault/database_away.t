#!/usr/bin/python3
"""The database goes away while a channel is being asked: its answer is kept until it can be stored, and
is not asked for again. What comes meanwhile is refused in time and reaches no channel."""
import sys
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))
from flow import bank_orders, becomes, done, fault, flow_stack, is_, number, payment_id, rows, wait_until  # noqa: E402

AMOUNT = 777
AWAY = 11  # s; longer than a commit (5 s) and a read (3 s) wait


def main():
    # no query brings what the answer has said; the channel may take its time
    late = {"query_first": "5m", "timeout": "connect=500ms send=1s read=8s"}
    with flow_stack('"ev":"store_', payd={"answer_within": "8s"}, channels={"wechat": late, "bank": late}) as stack:
        stack.client("hmac").create_payment(number("W"), 100)  # everything is warm
        fault(stack, "delay", "native", delay_ms=2500, times=1)
        no, answers = number("A"), []
        asker = threading.Thread(target=lambda: answers.append(stack.client().create_payment(no, AMOUNT)))
        asker.start()
        # the bank has booked it and takes its time to say so
        wait_until(lambda: any(b["amount"] == AMOUNT for b in stack.bank("GET", "/orders")[1]["orders"]), "the bank has it")
        stack.kill("postgres")
        asker.join()
        is_(answers[0].status, 202, "the merchant is answered in time: processing")
        refused = stack.client().create_payment(meanwhile := number("M"), AMOUNT + 1)
        is_((refused.status, refused.code), (503, "RETRY_SAME_NUMBER"), "what cannot be stored is refused in time")
        time.sleep(AWAY)
        stack.start_process("postgres")
        becomes(stack, no, "pending", "the channel's answer is stored when the database is back", 20)
        is_(rows(stack, no, "attempt", "t.n, t.kind, t.sent, t.class", "t.n")[0][2:], ["3", "2"],
            "as what the channel said: answered, accepted")
        is_([b["prepares"] for b in bank_orders(stack, payment_id(stack, no))], [1], "the bank was asked once")
        is_([b for b in stack.bank("GET", "/orders")[1]["orders"] if b["amount"] == AMOUNT + 1], [], "and never for what was not stored")
        is_(stack.sql(f"select count(*) from pay.payment where out_trade_no = '{meanwhile}'"), [["0"]], "which nobody has")
        made = stack.client().create_payment(meanwhile, AMOUNT + 1)
        is_((made.status, made.replayed), (201, False), "and which can be made now")
    done()


main()
