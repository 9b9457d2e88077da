"""What the benchmarks of payments share: a stack for load, finished orders in its database, CPU time by program,
pgbench beside it."""
from __future__ import annotations

import os
import resource
import subprocess
import time
from pathlib import Path

from measure import ROOT, RUN, cpu_ns, descendants
from postgres import bin_folder, drop
from processes import wait_until
from stack import Stack

TICK_NS = 1_000_000_000 // os.sysconf("SC_CLK_TCK")
BENCH = ROOT / "bench"

# Finished orders, as they stand in a database that has been used; their events (xid) have been told
PRELOAD = """
SET session_replication_role = replica; -- finished orders are not born so: past the trigger
INSERT INTO pay.payment (id, amount, created_at, time_expire, final_at, succeeded_at, version, attempts,
    prepare_n, not_sent, slot, state, prev_state, method, command_seq, prepare_last, prepare_past, busy_kind,
    mchid, app_id, out_trade_no, digest, currency, scene, product, store_id, description, attach, notify_url,
    trace_id, channel, account, route, channel_trade_no, code_url, fail_code)
SELECT i, 100, now(), now(), now(), now(), 3, 1, 1, 0, 17, 3, 2, 1, 1, 2, 0, 0, 'M0000000', 'app', 'OLD' || i,
    decode(md5(i::text) || md5((-i)::text), 'hex'), 'CNY', 'store', 'retail', 'store-0001', 'Benchmark order', '',
    'https://merchant.example/callback', md5(i::text), 'bank', 'main', 'weight', 'B' || i, 'bank://pay?o=' || i, ''
  FROM generate_series(1, %(n)d) i;
INSERT INTO pay.payment_history (payment_id, event_id, at, version, attempt_n, slot, from_state, to_state, event, input, code, xid,
    opens_n, attempt_id, adapter_version, send_before, kind, command_seq, channel, account)
SELECT i, i * 4 + 1, now(), 1, 0, 17, 0, 1, 0, 'CREATE', '', 0, 1, i, 1, now(), 1, 1, 'bank', 'main' FROM generate_series(1, %(n)d) i;
INSERT INTO pay.payment_history (payment_id, event_id, at, version, attempt_n, slot, from_state, to_state, event, input, code, xid,
    http_status, sent, class, message)
SELECT i, i * 4 + 2, now(), 2, 1, 17, 1, 2, 1, 'PREPARE_ACCEPTED', 'OK', 0, 200, 3, 2, '' FROM generate_series(1, %(n)d) i;
INSERT INTO pay.payment_history (payment_id, event_id, at, version, attempt_n, slot, from_state, to_state, event, input, code, xid)
SELECT i, i * 4 + 3, now(), 3, 0, 17, 2, 3, 2, 'SUCCESS', 'SUCCESS', 0 FROM generate_series(1, %(n)d) i;
"""

# ... and the merchants' agreement to them
PRELOAD_CALLBACKS = """
INSERT INTO pay.callback (slot, id, payment_id, subject_id, mchid, app_id, url, body, state, created_at, next_at, done_at, tries, last_status)
SELECT 17, i, i, i, 'M0000000', 'app', 'https://merchant.example/callback', repeat(md5(i::text), 20), 2, now(), now(), now(), 1, 200
  FROM generate_series(1, %(n)d) i;
INSERT INTO pay.callback_attempt (slot, payment_id, callback_id, n, at, http_status, state, error, took_us)
SELECT 17, i, i, 1, now(), 200, 2, '', 1000 FROM generate_series(1, %(n)d) i;
"""


def used(stack: Stack, preload: str, n: int) -> None:
    """A database that has been used: rows, statistics, and files of the log that are written again. A new server would
    make, and fill with zeros, one for every 16 MB of what is measured."""
    stack.sql(preload % {"n": n})
    stack.sql(f"SELECT count(pg_logical_emit_message(false, 'used', repeat('x', {n} * 36))) FROM generate_series(1, 100)")
    stack.sql("VACUUM ANALYZE")
    stack.sql("CHECKPOINT")


class Meter:
    """CPU nanoseconds by program."""

    def __init__(self, stack: Stack):
        self.stack = stack

    def programs(self) -> dict[str, list[int]]:
        s = self.stack
        running = [n for n in s.payd_names if s.processes[n].running()]
        return {"nginx": descendants(s.pid("nginx")), **{n: [s.pid(n)] for n in running},
                "redis": [s.pid("redis")], "paybank": [s.pid("paybank")]}

    def together(self, us: dict) -> float:
        """What counts: the bank and the generator do not."""
        return sum(us[name] for name in ("nginx", "postgres", "redis", *self.stack.payd_names))

    def postgres(self) -> int:
        """Living backends, and those the postmaster has reaped."""
        pid = self.stack.pid("postgres")
        reaped = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return cpu_ns(descendants(pid), may_end=True) + (int(reaped[13]) + int(reaped[14])) * TICK_NS

    def read(self) -> dict[str, int]:
        return {name: cpu_ns(pids) for name, pids in self.programs().items()} | {"postgres": self.postgres()}


def told(stack: Stack) -> bool:
    """Has the relay told every event?"""
    events = stack.sql("SELECT count(*) FROM pay.payment_history WHERE xid > 0 AND from_state <> to_state")[0][0]
    out = subprocess.run(["redis-cli", "-s", str(stack.sockets / "redis.sock"), "XLEN", "pay:events:0"],
                         capture_output=True, text=True, check=True)
    return int(out.stdout) == int(events)


def backends(stack: Stack) -> int:
    return len(descendants(stack.pid("postgres")))


def pgbench(stack: Stack, meter: Meter, script: str, clients: int, transactions: int, *more: str) -> dict:
    """CPU microseconds per run of the script of client and server."""
    quiet = backends(stack)
    before, client = meter.postgres(), resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [*drop(stack.postgres.user), str(bin_folder() / "pgbench"), "-n", "-M", "prepared", "-c", str(clients),
               "-j", "2", "-t", str(transactions // clients), *more, "-f", "-", stack.postgres.conninfo()]
    start = time.monotonic()
    done = subprocess.run(command, input=(BENCH / script).read_text(), capture_output=True, text=True, cwd="/")
    seconds = time.monotonic() - start
    if done.returncode:
        raise SystemExit(f"pgbench: {done.stderr}")
    wait_until(lambda: backends(stack) <= quiet, "pgbench's backends to end")
    after, client_after = meter.postgres(), resource.getrusage(resource.RUSAGE_CHILDREN)
    rows = transactions // clients * clients
    client_us = (client_after.ru_utime + client_after.ru_stime - client.ru_utime - client.ru_stime) * 1e6
    return {"client": client_us / rows, "server": (after - before) / 1e3 / rows, "rate": rows / seconds}


def bench_stack(channel: str, **more: dict) -> Stack:
    other = {"bank": "wechat", "wechat": "bank"}[channel]
    return Stack(RUN,
                 channels={other: {"state": "off"}, channel: {"concurrency": "10000", "keepalive": "256 timeout=15s"}},
                 nginx={"worker_processes": "1",
                        # a loaded machine must not push nonces into the fallback
                        "http > pay_redis": "unix:{sockets}/redis.sock timeout=1s",
                        "location /v1/ > pay_guard": "window=300s nonce=600s app=1000000r/s burst=1000000 fallback=open"}, **more)
