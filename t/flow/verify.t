#!/usr/bin/python3
"""DESIGN.md 8: `payctl verify` asks the database and the bank's books whether every invariant holds. Each fact that is
broken by hand is named, with the payment; a system at work breaks none."""
import json
import shutil
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))
from flow import ROOT, bank_books, becomes, done, eventually, flow_stack, is_, like, number, ok, pay  # noqa: E402

AMOUNT, BACK = 500, 200
# what is broken: the checks that say so; {p} is a paid payment with a refund, {o} an open one, {r} the refund
BROKEN = (
    ("a version without its row", "delete from pay.payment_history where payment_id = {p} and version = 2", {"history_versions", "history_path"}),
    ("a step from nowhere", "update pay.payment_history set from_state = 4 where payment_id = {p} and version = 3", {"history_path"}),
    ("a final state that moved", "update pay.payment set state = 5, refund_reserved = 0, refunded = 0 where id = {p}",
     {"history_end", "final_facts", "refunds", "money"}),
    ("a state that no step led to", "update pay.payment set state = 1 where id = {o}", {"history_end"}),
    ("an attempt that was not written down", "update pay.payment_history set opens_n = null where payment_id = {p} and opens_n = 1", {"attempts"}),
    ("an end without a time", "update pay.payment set final_at = null where id = {p}", {"final_facts"}),
    ("a callback that is not there", "delete from pay.callback where payment_id = {p} and subject_id = {p}", {"callbacks"}),
    ("a refund's callback that is not there", "delete from pay.callback where payment_id = {p} and subject_id = {r}", {"callbacks"}),
    ("an open order without a timer", "delete from pay.payment_timer where payment_id = {o}", {"timers"}),
    ("a refund that is not counted", "update pay.payment set refund_reserved = 0, refunded = 0 where id = {p}", {"refunds", "money"}),
    ("an order that vanished", "delete from pay.payment where id = {o}", {"orphans", "history_end"}),
    ("a paid order that vanished", "delete from pay.payment where id = {p}", {"orphans", "history_end", "money"}),
)
CSV = "out_trade_no,paid,refunded\n"
WRONG_BOOKS = (("", "books.csv: empty"), ("a,b\n", "books.csv:1: the first line is not"), (CSV + "X,1,0\n", "books.csv:2: out_trade_no"),
               (CSV + "{no},-1,0\n", "books.csv:2: paid"), (CSV + "{no},1,2\n", "books.csv:2: refunded"),
               (CSV + "{no},1,0", "books.csv:2: the line is cut off"))


def broken(stack, *words) -> dict[str, int]:
    return {c["check"]: c["broken"] for c in json.loads(stack.payctl("--json", "verify", *words, check=False)) if c["broken"]}


def main():
    with flow_stack(intact=False) as stack:
        client = stack.client("hmac")
        paid, left, closed = number("V"), number("W"), number("X")
        for no in (paid, left, closed):
            made = client.create_payment(no, AMOUNT, channel="wechat", notify_url=stack.callback_url)
            if no == paid:
                pay(stack, made.json["code_url"])
        client.close(client.find(closed).json["id"])
        becomes(stack, paid, "succeeded", "one is paid")
        becomes(stack, closed, "closed", "one is closed")
        refund = client.refund(paid, "BACK0001", BACK, notify_url=stack.callback_url).json["id"]
        eventually(lambda: client.get_refund(refund).json["state"] == "succeeded", "a part is refunded")

        said = stack.payctl("verify", "--books", str(bank_books(stack)))
        is_([line for line in said.splitlines() if not line.startswith("ok ")], [], "a system at work: every invariant holds")
        is_(broken(stack), {}, "the database alone")
        known = {line.split()[1] for line in said.splitlines()}
        is_({c for _, _, cs in BROKEN for c in cs} ^ known, set(), "every check is tried below")

        ids = {"p": paid, "o": left}
        ids = {k: stack.sql(f"select id from pay.payment where out_trade_no = '{no}'")[0][0] for k, no in ids.items()}
        ids["r"] = stack.sql("select id from pay.refund")[0][0]
        file = stack.folder / "books.csv"
        # nobody works meanwhile; no trigger and no constraint refuses what follows
        for name in stack.payd_names:
            stack.processes[name].stop()
        stack.sql("alter table pay.payment drop constraint payment_refunds, drop constraint payment_moves")
        tables = ("payment", "payment_history", "payment_timer", "callback", "refund")
        for name, statement, checks in BROKEN:
            stack.sql("; ".join(f"create table pay.kept_{t} as table pay.{t}" for t in tables))
            stack.sql("set session_replication_role = replica; " + statement.format(**ids))
            is_(set(broken(stack, "--books", str(file))), checks, f"{name}: {', '.join(sorted(checks))}")
            stack.sql("set session_replication_role = replica; " + "; ".join(
                f"delete from pay.{t}; insert into pay.{t} select * from pay.kept_{t}; drop table pay.kept_{t}" for t in tables))
        is_(broken(stack, "--books", str(file)), {}, "all of it undone: nothing is broken")

        text = file.read_text()
        line = next(x for x in text.splitlines() if x.endswith(f",{AMOUNT},{BACK}"))
        no = line.split(",")[0]
        for name, books_line in (("the bank took it twice", f"{no},{2 * AMOUNT},{BACK}"), ("the bank never took it", f"{no},0,0"),
                                 ("the bank gave back more", f"{no},{AMOUNT},{AMOUNT}")):
            file.write_text(text.replace(line, books_line))
            is_(broken(stack, "--books", str(file)), {"money": 1}, name)
        for content, why in WRONG_BOOKS:
            file.write_text(content.format(no=no))
            like(stack.payctl_error("verify", "--books", str(file)), why, f"refused: {why}")
        like(stack.payctl_error("verify", "--books", "/nonexistent/x"), "/nonexistent/x: No such file", "no such file")
        twice = stack.folder / "sql"
        shutil.copytree(ROOT / "sql", twice)
        (twice / "0001_z_again.sql").write_text("select 1")
        like(stack.payctl_error("migrate", "--owner", stack.postgres.conninfo(), "--sql", str(twice)),
             "0001_z_again.sql: 0001_schema.sql has the same number", "two migrations of one number are refused")
        ok("money" not in stack.payctl("verify"), "without books nobody asks about them")
    done()


main()
