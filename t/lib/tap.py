"""TAP for test scripts: ok, is_, like, skip and, as the last line, done. A test that an exception ends says so: with
its trace as a failure, and a plan."""
from __future__ import annotations

import re
import sys
import threading
import traceback
from types import TracebackType
from typing import Any

_lock = threading.Lock()
_count = 0
_failed = 0


def ok(value: Any, name: str, *notes: Any) -> bool:
    """Passes when value is true; notes are shown when it is not."""
    global _count, _failed
    with _lock:
        _count += 1
        if not value:
            _failed += 1
        print(f"{'ok' if value else 'not ok'} {_count} - {name.replace('#', '')}", flush=True)
        if not value:
            for line in "\n".join(str(n) for n in notes).splitlines()[:60]:
                print(f"#   {line[:600]}", flush=True)
    return bool(value)


def is_(got: Any, want: Any, name: str) -> bool:
    return ok(got == want, name, f"got:  {got!r}", f"want: {want!r}")


def like(got: Any, pattern: str, name: str) -> bool:
    return ok(re.search(pattern, str(got), re.S), name, f"got:  {got!r}", f"want: /{pattern}/")


def skip(name: str, why: str) -> None:
    global _count
    with _lock:
        _count += 1
        print(f"ok {_count} - {name} # SKIP {why}", flush=True)


def skip_all(why: str) -> None:
    print(f"1..0 # SKIP {why}")
    sys.exit(0)


def done() -> None:
    """Prints the plan; the exit code says whether all passed."""
    print(f"1..{_count}", flush=True)
    sys.exit(1 if _failed or not _count else 0)


def _died(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, trace)
        return
    ok(False, f"the test was ended by {kind.__name__}", *traceback.format_exception_only(kind, error),
       *traceback.format_tb(trace))
    print(f"1..{_count}", flush=True)


sys.excepthook = _died
