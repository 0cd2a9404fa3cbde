"""The benchmark of draws from a large catalogue runs. How fast anything is, no test says."""

import json
import subprocess
import sys

from tests.processes import ROOT


def test_everyone_is_timed_beside_the_softmax_over_all_items():
    command = [sys.executable, str(ROOT / "benchmarks" / "explore.py"), "--quick", "--json", "--items", "3000"]
    found = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)  # noqa: S603  (its own script)
    rows = {row["what"]: row for row in found["rows"]}
    assert rows.keys() >= {"softmax over all items, by hand", "walk, LinTS", "learn, LinTS", "add one item"}
    assert all(0 < row["median"] <= row["p99"] for row in rows.values())
