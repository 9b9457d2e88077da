#!/usr/bin/python3
"""R1.11: a close is answered in time too, with what is known; its result follows."""
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))
from flow import SLOW, becomes, done, fault, flow_stack, is_, number  # noqa: E402

WITHIN, BANK = 1 * SLOW, 3 * SLOW  # s


def main():
    slow = {"timeout": f"connect=1s send=1s read={3 * BANK}s"}
    with flow_stack(payd={"answer_within": f"{WITHIN}s"}, channels={"wechat": slow, "bank": slow}) as stack:
        client, no = stack.client(), number("C")
        made = client.create_payment(no, 100)
        fault(stack, "delay", "close", delay_ms=BANK * 1000, times=1)
        answer = client.request("POST", f"/v1/payments/{made.json['id']}/close", b"{}")
        is_((answer.status, answer.json["state"]), (202, "pending"), "the merchant hears, before the channel answers, that it is not closed yet")
        becomes(stack, no, "closed", "and it is closed when the channel has said so")
    done()


main()
