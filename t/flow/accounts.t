#!/usr/bin/python3
"""R3.5: accounts at channels with payctl: shared ones and a merchant's own, changed in part, never shown; every secret of
the database under a new master key while payments go on, also when the rotation is killed in the middle."""
import json
import os
import secrets
import signal
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
from flow import done, eventually, flow_stack, is_, number, ok, pay, state_of  # noqa: E402
from tap import like  # noqa: E402
import accounts  # noqa: E402
from processes import wait_until  # noqa: E402


def payctl(stack, *args):
    done = subprocess.run([str(stack.build / "payctl"), "-c", str(stack.conf / "payd.conf"), *args],
                          capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr


def shown(stack, *names):
    return json.loads(payctl(stack, "--json", "account", "show", *names)[1])


def account_files(stack, channel):
    return ["--config", str(stack.keys.path(f"{channel}.config.json")), "--secrets", str(stack.keys.path(f"{channel}.secrets.json"))]


def used(stack, client):
    """The account that a payment over the bank gets, or the problem."""
    made = client.create_payment(number("U"), 100, channel="bank")
    if made.status != 201:
        return made.code
    return ":".join(stack.sql(f"select channel, account from pay.payment where out_trade_no = '{made.json['out_trade_no']}'")[0])


def show_and_set(stack):
    key = stack.keys.bank_json_key
    code, text = payctl(stack, "account", "show", "wechat", "main")
    ok(code == 0 and accounts.WECHAT_MCHID in text and "until" not in text, "account show: values, a key without an end", text)
    ok("BEGIN" not in text and stack.keys.api_v3_key not in text, "and no secret", text)
    for args, why in ((("show", "bank", "none"), "no such account"), (("set", "bank", "none", "a=b"), "no such account"),
                      (("set", "bank", "main", "nothing"), "not NAME=VALUE"), (("set", "bank", "main", "--secret", "key"), "NAME=FILE"),
                      (("set", "bank", "main", "--secret", "key=/nowhere"), "cannot read"),
                      (("set", "bank", "main", "mch_id=a b"), "printable"), (("set", "bank", "main", "--remove", "key"), '"key" is missing'),
                      (("set", "wechat", "main", "platform_serial_2=AB"), "without secret"),
                      (("add", "bank", "a b", *account_files(stack, "bank")), "0-9A-Za-z"),
                      (("add", "cash", "main", *account_files(stack, "bank")), "no channel")):
        code, said = payctl(stack, "account", *args)
        ok(code == 1 and why in said, f"account {' '.join(args[:4])}: refused", said)
    before = shown(stack, "wechat", "main")
    crt = stack.keys.path("wechat_plat.crt")
    code, said = payctl(stack, "account", "set", "wechat", "main", f"platform_serial_2={stack.keys.wechat_plat_serial}",
                        "--secret", f"platform_key_2={crt}", "--secret", f"certificate={stack.keys.path('wechat_mch.crt')}")
    is_(code, 0, f"account set adds the channel's next key with its serial, and our certificate {said if code else ''}")
    after = shown(stack, "wechat", "main")
    by_name = {s["name"]: s for s in after["secrets"]}
    ends = [bool(by_name[n].get("valid_to")) for n in ("platform_key", "platform_key_2", "certificate")]
    is_(ends, [False, True, True], "ends of certificates are shown, a bare key has none")
    is_(by_name["platform_key_2"]["serial"], stack.keys.wechat_plat_serial, "with the serial")
    is_({k: v for k, v in after["config"].items() if k != "platform_serial_2"}, before["config"], "what was not named stays")
    is_(payctl(stack, "account", "set", "wechat", "main", "--remove", "platform_key_2", "--remove", "platform_serial_2")[0], 0, "taken away again")
    ok("platform_serial_2" not in shown(stack, "wechat", "main")["config"], "and gone")
    ok(key not in payctl(stack, "--json", "account", "show", "bank", "main")[1], "JSON has no secret either")
    _, listed = payctl(stack, "account", "list", "bank")
    ok("bank" in listed and "wechat" not in listed, "account list of one channel", listed)


def whose(stack):
    """The merchant's own account, else the shared one that the channel's file names; never the other way round."""
    client = stack.client("hmac")
    eventually(lambda: used(stack, client) == "bank:main", "the shared account that the channel's file names")
    # in front by name, but not named by the channel's file
    is_(payctl(stack, "account", "add", "bank", "aaa", *account_files(stack, "bank"))[0], 0, "another shared account")
    own = payctl(stack, "account", "add", "bank", "own", *account_files(stack, "bank"), "--merchant", accounts.MCHID)
    is_(own[0], 0, "an account of the merchant's own")
    eventually(lambda: used(stack, client) == "bank:own", "which is used from now on")
    made = client.create_payment(number("D"), 300)
    is_(payctl(stack, "account", "disable", "bank", "own")[0], 0, "it is disabled")
    eventually(lambda: used(stack, client) == "NO_CHANNEL", "and the merchant's money goes to no account of others")
    pay(stack, made.json["code_url"])
    eventually(lambda: state_of(stack, made.json["out_trade_no"]) == "succeeded", "what began with it is paid all the same")
    is_(payctl(stack, "account", "enable", "bank", "own")[0], 0, "enabled")
    eventually(lambda: used(stack, client) == "bank:own", "and used again")


def sealed(stack):
    return dict(stack.sql("select 'k' || serial, encode(material_sealed, 'hex') from pay.app_key union all"
                          " select 'a' || channel || ':' || account, encode(secrets_sealed, 'hex') from pay.channel_account"))


def conf_master(stack, *files):
    path = stack.conf / "payd.conf"
    lines = path.read_text().splitlines()
    at = next(i for i, line in enumerate(lines) if line.startswith("master_key"))
    lines[at] = f"master_key {' '.join(map(str, files))};"
    path.write_text("\n".join(lines) + "\n")


def killed_in_the_middle(stack):
    """One row is held by another session, so the rotation waits there; then it is killed."""
    before = sealed(stack)
    holder = subprocess.Popen(["psql", "-X", "-q", "-o", "/dev/null", "-d", stack.postgres.conninfo()], stdin=subprocess.PIPE, text=True)
    serials = sorted(k[1:] for k in before if k.startswith("k"))
    holder.stdin.write(f"begin; select from pay.app_key where serial = '{serials[len(serials) // 2]}' for update;\n")
    holder.stdin.flush()
    locks = "select count(*) from pg_locks where relation = 'pay.app_key'::regclass and mode = 'RowShareLock' and granted"
    wait_until(lambda: stack.sql(locks)[0][0] != "0", "the lock")
    run = subprocess.Popen([str(stack.build / "payctl"), "-c", str(stack.conf / "payd.conf"), "master", "rotate", "--batch", "1"],
                           stdout=subprocess.DEVNULL)
    waits = "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and query like '%app_key%'"
    eventually(lambda: stack.sql(waits)[0][0] == "1", "the rotation waits for a row in the middle")
    run.send_signal(signal.SIGKILL)
    run.wait()
    holder.stdin.write("rollback;\n")
    holder.stdin.close()
    holder.wait()
    wait_until(lambda: stack.sql(waits)[0][0] == "0", "its statement has ended")
    code, status = payctl(stack, "--json", "master", "status")
    keys = next(t for t in json.loads(status) if t["table"] == "app keys")["under"]
    ok(code == 0 and keys[0] and keys[1], f"killed: some keys are under the new master key, some under the old: {keys}", status)


def rotation(stack):
    client, old = stack.client("hmac"), stack.keys.path("master.key")
    new = stack.folder / "master.new"
    new.write_text(secrets.token_hex(32) + "\n")
    new.chmod(0o644)
    conf_master(stack, old, new)
    code, said = payctl(stack, "master", "status")
    ok(code == 1 and "open to everybody" in said, "a key file that everybody may read is refused", said)
    new.chmod(0o600)
    before = sealed(stack)
    for name in stack.payd_names:
        stack.restart(name)
    conf_master(stack, new, old)
    code, said = payctl(stack, "master", "status")
    ok(code == 0 and f"0 under {new}" in said, "master status: nothing is under the new key", said)
    killed_in_the_middle(stack)
    is_(client.create_payment(number("H"), 100).status, 201, "workers have both keys: payments go on half-way")
    code, said = payctl(stack, "master", "rotate")
    is_(code, 0, f"the next run finishes {said if code else ''}")
    after = sealed(stack)
    is_([k for k in before if before[k] == after[k]], [], "every secret was sealed anew")
    like(payctl(stack, "master", "rotate")[1], "app keys +0 sealed anew", "and a third run finds nothing to do")
    conf_master(stack, new)
    is_(payctl(stack, "master", "status")[0], 0, "all open with the new key alone")
    for name in stack.payd_names:
        stack.restart(name)
    for scheme in ("hmac", "rsa"):
        made = stack.client(scheme).create_payment(number("N"), 100)
        is_((made.status, bool(made.verified)), (201, True), f"workers with the new key alone serve {scheme}")
    pay(stack, made.json["code_url"])
    eventually(lambda: state_of(stack, made.json["out_trade_no"]) == "succeeded", "channel's secrets work: paid")
    conf_master(stack, old)
    code, said = payctl(stack, "master", "status")
    ok(code == 1 and "none of the master keys" in said, "the old key alone opens nothing", said)
    conf_master(stack, new)


def main():
    with flow_stack() as stack:
        show_and_set(stack)
        whose(stack)
        rotation(stack)
    done()


main()
