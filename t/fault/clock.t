#!/usr/bin/python3
"""The database's clock, which is everybody's here, goes ten minutes ahead and back again: orders are taken all the time,
no id is given twice, and a number whose ids are ahead of the time is not used before they are not."""
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))
from flow import done, eventually, flow_stack, is_, number, ok  # noqa: E402
from proxied import ProxiedStack  # noqa: E402

AHEAD = 600
LEASES = "select process, until > now() + interval '300 s' from pay.process_lease where holder like '%:order0:%'" \
         " and until > now() order by until"
LONG = "select count(*) from pay.timer_part where until > now() + interval '60 s'"


def created(stack, name):
    """An order that is taken, at the latest when payd has looked at the clock again."""
    answers = []

    def accepted():
        answers.append(stack.client("hmac").create_payment(number("C", len(answers)), 100, channel="bank"))
        return answers[-1].status in (201, 202)
    eventually(accepted, name)
    return answers[-1].json["id"]


def jumps(stack):
    """What payd has noticed, in ms."""
    log = (stack.log / "order0.log").read_text()
    return [line for line in log.splitlines() if '"clock_jump"' in line]


def main():
    # the bank's clock is another one: it refuses our signatures meanwhile
    with flow_stack('"ev":"clock_jump"', kind=ProxiedStack, channels={"bank": {"breaker": "off"}}) as stack:
        created(stack, "before: an order is taken")
        first = stack.sql(LEASES)
        is_([far for _, far in first], ["f"], "with a number in its id, for two minutes")
        stack.set_clock("database", AHEAD)
        eventually(lambda: len(jumps(stack)) == 1, "the clock goes ahead, and payd sees it")
        ahead = created(stack, "an order is taken")
        second = stack.sql(LEASES)
        ok(len(second) == 1 and second[0][0] != first[0][0], "under a number that was taken by the new time", second)
        stack.set_clock("database", 0)
        eventually(lambda: len(jumps(stack)) == 2, "the clock goes back, and payd sees it")
        back = created(stack, "an order is taken, long before the time of the last one has come again")
        ok(back < ahead, "its id is of its own time", back, ahead)
        held = dict(stack.sql(LEASES))
        is_(held.pop(second[0][0], ""), "t", "the number whose ids are ahead is taken until they are not")
        ok(set(held.values()) == {"f"} and set(held) - {first[0][0]}, "another one goes on", held)
        created(stack, "and so on")
        eventually(lambda: stack.sql(LONG) == [["0"]], "leases of timers' work end as soon as ever")
        is_(stack.sql("select count(*) - count(distinct id) from pay.payment"), [["0"]], "no id was given twice")
    done()


main()
