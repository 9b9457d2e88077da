#!/usr/bin/python3
"""docs/guarantees.md: each promise names at least one test, and each named test is there and is run by `make test`."""
import os
import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))
from flow import ROOT  # noqa: E402
from tap import done, is_, ok  # noqa: E402


def promises():
    """Rows of the tables whose last column is 'shown by': (what happens, tests)."""
    rows, inside = [], False
    for line in (ROOT / "docs/guarantees.md").read_text().splitlines():
        cells = [c.strip() for c in line.strip("| ").split("|")]
        if cells[-1] == "shown by":
            inside = True
        elif not line.startswith("|"):
            inside = False
        elif inside and not line.startswith("| ---"):
            rows.append((cells[0], re.findall(r"`([^`]+)`", cells[-1])))
    return rows


def runs(test):
    """A script that prove can start, or a unit test that the Makefile finds."""
    path = ROOT / test
    return path.is_file() and (test.endswith("_test.c") and path.parent.name == "unit" or
                               test.endswith(".t") and os.access(path, os.X_OK))


rows = promises()
ok(len(rows) > 25, f"{len(rows)} promises")
is_([what for what, tests in rows if not tests], [], "each names a test")
is_([test for _, tests in rows for test in tests if not runs(test)], [], "each named test is one that runs")
done()
