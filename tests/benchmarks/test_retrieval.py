"""The benchmark of retrieval runs, and everyone in it gives the same answer. How fast anything is, no test says."""

import importlib.util
import json
import subprocess
import sys

from tests.processes import ROOT


def test_everyone_is_timed_at_each_size():
    command = [sys.executable, str(ROOT / "benchmarks" / "retrieval.py"), "--quick", "--json", "--items", "500,3000"]
    rows = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)["rows"]  # noqa: S603  (its own script)
    names = {row["contestant"] for row in rows}
    assert names >= {"recsdk, exact", "recsdk, Catalogue.found", "the product alone"}
    assert ("faiss, IndexFlatIP" in names) == bool(importlib.util.find_spec("faiss"))
    assert len(rows) == 2 * len(names)
    assert {row["num_items"] for row in rows} == {500, 3000}
    assert all(0 < row["low"] <= row["median"] <= row["high"] and row["ratio"] > 0 for row in rows)
