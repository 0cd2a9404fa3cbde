"""The benchmark of recovery runs, and everyone in it learns the same. How fast anything is, no test says."""

import json
import subprocess
import sys

from tests.processes import ROOT


def test_a_single_round_is_refused():
    command = [sys.executable, str(ROOT / "benchmarks" / "recovery.py"), "--rewards", "40", "--rounds", "1"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    assert (done.returncode, done.stderr.splitlines()[-1]) == (2, "recovery.py: error: --rounds must be at least 2, got 1")


def test_everyone_is_timed(tmp_path):
    command = [sys.executable, str(ROOT / "benchmarks" / "recovery.py"), "--rewards", "40", "--rounds", "2", "--json"]
    rows = json.loads(subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path).stdout)["rows"]  # noqa: S603
    assert [row["contestant"] for row in rows] == ["by hand, of arrays", "open without a snapshot", "audit", "reproduce"]
    assert rows[0]["ratio"] == 1
    assert all(0 < row["low"] <= row["median"] <= row["high"] for row in rows)
