#!/usr/bin/python3
"""R2.2, cases: what a person has to look at is decided by two persons, who are the users of the processes that ask and
nothing that these say; a decision is a new record with its reason, and the order stays as it is."""
import http.client
import os
import pwd
import socket
import subprocess
import sys
from datetime import datetime
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))
from flow import bank_orders, done, eventually, fault, clear_faults, flow_stack, is_, json, number, ok, pay, rows  # noqa: E402

OTHER = "nobody"
NOBODYS_UID = pwd.getpwnam(OTHER).pw_uid


def payctl(stack, *args, user=None, **environment):
    """(exit status, everything it said)"""
    more = {"user": user, "group": "nogroup", "extra_groups": []} if user else {}
    if environment:
        more["env"] = {**os.environ, **environment}
    got = subprocess.run([str(stack.build / "payctl"), "-c", str(stack.conf / "payd.conf"), *args], capture_output=True,
                         text=True, **more)
    return got.returncode, got.stdout + got.stderr


def refused(stack, words, name, *args, user=None):
    status, said = payctl(stack, *args, user=user)
    ok(status == 1 and words in said, name, (status, said))


def says_more(stack, case, decision):
    """What payctl would say, and with it that somebody else says it: (HTTP status, answer)."""
    connection = http.client.HTTPConnection("operate", timeout=60)
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.connect(str(stack.sockets / "operate.sock"))
    who = {**dict.fromkeys(("name", "by", "by_name", "user", "operator", "as", "proposed_by", "second_by"), OTHER),
           **dict.fromkeys(("uid", "by_uid", "user_id", "proposed_uid", "second_uid"), NOBODYS_UID)}
    connection.request("POST", f"/cases/{case}", json.dumps({"decision": decision, "reason": "sure", **who}),
                       {**dict.fromkeys(("From", "Pay-User", "Pay-Operator", "X-User", "X-Forwarded-User", "X-Remote-User"), OTHER),
                        **dict.fromkeys(("Pay-Uid", "X-Uid", "X-User-Id"), str(NOBODYS_UID))})
    answer = connection.getresponse()
    return answer.status, answer.read().decode()


def open_case(stack):
    """The channel tells of an amount that is not ours. -> (out_trade_no, id of the case)"""
    no = number("C")
    made = stack.client().create_payment(no, 100)
    fault(stack, "wrong_amount", "notify")
    pay(stack, made.json["code_url"])
    eventually(lambda: rows(stack, no, "payment_case", "t.id"), "a wrong amount opens a case")
    clear_faults(stack)
    eventually(lambda: order(stack, no)[:1] == ["3"], "the right one comes later")
    return no, rows(stack, no, "payment_case", "t.id")[0][0]


def order(stack, no):
    return stack.sql(f"select state, version, refunded from pay.payment where out_trade_no = '{no}'")[0]


def two_persons(stack):
    no, case = open_case(stack)
    before = order(stack, no)
    ok(case in payctl(stack, "cases", "list")[1], "payctl cases list shows it")
    ok(case in payctl(stack, "cases", "list", "--kind", "amount_mismatch")[1], "by its kind")
    ok(case not in payctl(stack, "cases", "list", "--kind", "late_success")[1], "and not among others")
    status, said = payctl(stack, "cases", "resolve", case, "accepted", "the bank's message was wrong")
    ok(status == 0 and "proposed" in said, "one person proposes", said)
    is_(stack.sql(f"select state from pay.payment_case where id = {case}"), [["1"]], "the case stays open")
    ok("the bank's message was wrong" in payctl(stack, "cases", "show", case)[1], "payctl cases show tells what is proposed")
    refused(stack, "SECOND_PERSON", "the same person cannot confirm", "cases", "resolve", case, "accepted", "sure")
    is_(payctl(stack, "cases", "resolve", case, "accepted", "sure", "--as", OTHER)[0], 2, "nobody can say who he is")
    status, said = payctl(stack, "cases", "resolve", case, "accepted", "sure", SUDO_UID=str(NOBODYS_UID),
                          **dict.fromkeys(("USER", "LOGNAME", "SUDO_USER", "PAY_USER", "PAY_OPERATOR"), OTHER))
    ok(status == 1 and "SECOND_PERSON" in said, "nor in the environment", (status, said))
    status, said = says_more(stack, case, "accepted")
    ok(status == 409 and "SECOND_PERSON" in said, "nor in the request itself", (status, said))
    if os.geteuid() == 0:
        refused(stack, "DECISION_DIFFERS", "another cannot confirm something else", "cases", "resolve", case, "refunded",
                "no", user=OTHER)
        status, said = payctl(stack, "cases", "resolve", case, "accepted", "seen in the bank's books", user=OTHER)
        ok(status == 0 and "confirmed" in said, "another person confirms", said)
        is_(stack.sql("select state, decision, proposed_by, second_by, proposed_uid <> second_uid from pay.case_decision "
                      f"where case_id = {case}"), [["2", "accepted", "root", OTHER, "t"]], "who it was is on record")
        is_(stack.sql(f"select state, closed_by from pay.payment_case where id = {case}"), [["2", f"root, {OTHER}"]],
            "the case is closed")
        refused(stack, "CASE_CLOSED", "nobody decides it again", "cases", "resolve", case, "refunded", "again")
        ok(case not in payctl(stack, "cases", "list")[1], "it has left the queue")
        ok(case in payctl(stack, "cases", "list", "--all")[1], "and is still to be found")
        trace = json.loads(stack.payctl("--json", "trace", stack.client().find(no).json["id"]))
        is_([d["second_by"] for d in trace["decisions"]], [OTHER], "payctl trace tells the decision")
    is_(order(stack, no), before, "the order is what it was")


def rejected(stack):
    _, case = open_case(stack)
    refused(stack, "NOTHING_PROPOSED", "what is not proposed cannot be rejected", "cases", "reject", case, "no")
    payctl(stack, "cases", "resolve", case, "dismissed", "a mistake")
    status, said = payctl(stack, "cases", "reject", case, "thought again")
    ok(status == 0 and "rejected" in said, "a proposal is taken back", said)
    status, said = payctl(stack, "cases", "resolve", case, "refunded", "by hand, receipt 7")
    ok(status == 0 and "proposed" in said, "and another one made", said)
    is_(stack.sql(f"select state, decision from pay.case_decision where case_id = {case} order by proposed_at"),
        [["3", "dismissed"], ["1", "refunded"]], "both are on record")
    refused(stack, "CASE_UNKNOWN", "no such case", "cases", "resolve", "1", "refunded", "x")
    refused(stack, "reason", "no reason", "cases", "resolve", case, "refunded", " ")
    refused(stack, "decision", "no such decision", "cases", "resolve", case, "forgotten", "x")
    _, other = open_case(stack)
    refused(stack, "DECISION_IMPOSSIBLE", "nothing but late money is given back by itself", "cases", "resolve", other, "refund", "x")
    return case


def database(stack, case):
    """The database holds it too, for whoever is at its prompt."""
    app = stack.postgres.conninfo(user="ngx_pay_app")
    for name, sql in {
        "a case closed without a decision": f"update pay.payment_case set state = 2 where id = {case}",
        "one person for two": "update pay.case_decision set state = 2, second_at = now(), second_uid = proposed_uid,"
                              f" second_by = proposed_by, second_reason = 'x' where case_id = {case} and state = 1",
        "one uid under two names": "update pay.case_decision set state = 2, second_at = now(), second_uid = proposed_uid,"
                                   f" second_by = 'x', second_reason = 'x' where case_id = {case} and state = 1",
        "two uids under one name": "update pay.case_decision set state = 2, second_at = now(), second_uid = proposed_uid + 1,"
                                   f" second_by = proposed_by, second_reason = 'x' where case_id = {case} and state = 1",
        "another reason": f"update pay.case_decision set reason = 'x' where case_id = {case}",
        "a rejected one raised": "update pay.case_decision set state = 1, second_at = null, second_uid = null, second_by = null,"
                                 f" second_reason = null where case_id = {case} and state = 3",
        "a decision born confirmed": "insert into pay.case_decision select id + 1, case_id, payment_id, proposed_at, now(),"
                                     f" 1, 2, slot, 2, decision, reason, 'a', 'b', 'c' from pay.case_decision"
                                     f" where case_id = {case} and state = 3",
        "a decision forgotten": f"delete from pay.case_decision where case_id = {case}",
        "a case forgotten": f"delete from pay.payment_case where id = {case}",
    }.items():
        for who, conninfo in (("application", app), ("superuser", stack.postgres.conninfo())):
            if who == "superuser" and "forgotten" in name:
                continue
            got = subprocess.run(["psql", "-qAt", "-v", "ON_ERROR_STOP=1", "-d", conninfo, "-c", sql], capture_output=True,
                                 text=True)
            ok(got.returncode != 0 and "ERROR" in got.stderr, f"{name}: refused to the {who}", got.stderr)


def one_person(stack, case):
    """One is who has the uid or the name of another: uids are given again, and machines have users of their own."""
    for name, uid, by in (("another uid", "proposed_uid + 1", "proposed_by"), ("another name", "proposed_uid", "'somebody'")):
        said = subprocess.run(["psql", "-qAt", "-d", stack.postgres.conninfo(), "-c", "select s.outcome from pay.case_decision d,"
                               f" pay.say_on_case(d.slot, d.case_id, d.id + 1, d.decision, 'sure', {uid}, {by}, now()) s"
                               f" where d.case_id = {case} and d.state = 1"], capture_output=True, text=True)
        is_(said.stdout.strip(), "same_person", f"who proposed it is no second person under {name}")
        print(f"# {said.stderr}" if said.returncode else "", end="")


def late_money(stack):
    """R2.9: late money goes back when two persons say so, by the gateway itself and once."""
    no = number("L")
    made = stack.client("hmac").create_payment(no, 888, notify_url=stack.callback_url, channel="bank")
    is_(made.json.get("channel"), "bank", "an order")
    fault(stack, "code", "close", channel="bank_json", code="ORDER_CLOSED", status=409, times=1)
    is_(stack.client("hmac").close(made.json["id"]).json["state"], "closed", "closed, as the channel says")
    is_(pay(stack, made.json["code_url"])[0], 200, "is paid all the same")
    eventually(lambda: rows(stack, no, "payment_case", "t.kind") == [["late_success"]], "which is a case")
    case, before = rows(stack, no, "payment_case", "t.id")[0][0], order(stack, no)[0]
    is_(payctl(stack, "cases", "resolve", case, "refund", "closed by the cashier")[0], 0, "one person wants it to go back")
    is_(rows(stack, no, "refund", "t.id"), [], "nothing happens yet")
    if os.geteuid() != 0:
        return
    status, said = payctl(stack, "cases", "resolve", case, "refund", "seen in the bank's books", user=OTHER)
    ok(status == 0 and "confirmed" in said, "another person does so too", said)
    eventually(lambda: rows(stack, no, "refund", "t.state, t.amount, t.reason") == [["2", "888", "closed by the cashier"]],
               "it is given back, with the reason")
    eventually(lambda: stack.sql(f"select outcome from pay.case_refund where case_id = {case}") == [["LATE_PAID"]],
               "and noted as begun")
    is_(order(stack, no)[0], before, "the order stays closed")
    # a process that died before it noted so takes it up again
    stack.sql(f"update pay.case_refund set done_at = null, outcome = null where case_id = {case}")
    eventually(lambda: stack.sql(f"select outcome from pay.case_refund where case_id = {case}") == [["OTHER_NEWS"]], "taken up again")
    is_(len(rows(stack, no, "refund", "t.id")), 1, "nothing goes back a second time")
    is_([r["amount"] for o in bank_orders(stack, made.json["id"]) for r in o["refunds"]], [888], "as the bank's books say")
    traced(stack, made.json["id"])


def traced(stack, order_id):
    """R2.11: payctl trace has all of it on one page."""
    eventually(lambda: stack.payctl("trace", order_id).count("200 ") >= 2, "both callbacks are made")
    trace = json.loads(stack.payctl("--json", "trace", order_id))
    (edge,) = trace["edge"]
    is_((edge["key"], edge["scheme"], edge["alg"], edge["app"]), ("SHOPHMAC1", "header", "hmac-sha256", "shop_hmac"), "who signed and how")
    ok("bank" in edge["candidates"].split(",") and "by=" in edge["decided"] and "guard" not in edge["decided"], "what was offered, and why", edge)
    is_((edge["guard"], edge["limit"], edge["left"].isdigit()), ("redis", "app", True), "who judged nonce and limits")
    came, made = (datetime.fromisoformat(at) for at in (edge["at"], trace["history"][0]["at"]))
    ok(abs((made - came).total_seconds()) < 60 and int(edge["pid"]) in stack.children("nginx"),
       "when the request came, and to which process", (edge, trace["history"][0]))
    is_({h["event"] for h in trace["history"]}, {"create", "answer", "notify", "close", "timer"}, "every kind of event")
    ok(all("order0" in h["process"] or "timer0" in h["process"] for h in trace["history"]), "with the process that it was in")
    answered = [a for a in trace["attempts"] if a["sent"] == "answered"]
    ok(len(answered) >= 3 and all(len(a["request"]) == 64 and len(a["answer"]) == 64 and a["ms"] >= 0 for a in answered),
       "each call with the digests of request and answer, and its time", answered)
    is_(len({a["request"] for a in answered}), len(answered), "no two are alike")
    is_([t["state"] for t in trace["tries"]], ["done", "done"], "each try of a callback")
    is_([r["reason"] for r in trace["refunds"]], ["closed by the cashier"], "the refund")
    is_([(r["reason"], r["outcome"]) for r in trace["case_refunds"]], [("closed by the cashier", "OTHER_NEWS")], "and who wanted it")


def main():
    with flow_stack('"ev":"case"', '"ev":"notification_not_taken"') as stack:
        os.chmod(stack.sockets / "operate.sock", 0o666)  # as if both were of the operators' group
        two_persons(stack)
        case = rejected(stack)
        one_person(stack, case)
        database(stack, case)
        late_money(stack)
    done()


main()
