"""The benchmark of retrieval runs, and everyone in it gives the same answer. How fast anything is, no test says."""

import importlib.util
import json
import subprocess
import sys

import pytest

from tests.processes import ROOT
from tests.shared import shared


def test_everyone_is_timed_at_each_size_and_the_exact_ones_find_all():
    command = [sys.executable, str(ROOT / "benchmarks" / "retrieval.py"), "--quick", "--json", "--items", "500,3000"]
    rows = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)["rows"]  # noqa: S603  (its own script)
    names = {row["contestant"] for row in rows}
    assert names >= {"recsdk, exact", "recsdk, int8", "recsdk, nearest on NumPy", "recsdk, Catalogue.found", "reading the table once"}
    assert ("faiss, IndexFlatIP" in names) == bool(importlib.util.find_spec("faiss"))
    assert {(row["num_items"], row["num_users"]) for row in rows} == {(500, 1), (3000, 1), (500, 32), (3000, 32)}
    assert all(0 <= row["low"] <= row["median"] <= row["high"] and row["ratio"] > 0 for row in rows)
    exact = [row["recall"] for row in rows if row["contestant"].startswith(("recsdk,", "JAX")) and row["recall"] is not None]
    assert len(exact) >= 8
    assert min(exact) > 0.999  # sums in other orders round otherwise


def test_what_indexes_find_on_trained_vectors_is_printed():
    if importlib.util.find_spec("recsdk_faiss") is None:
        pytest.skip("recsdk_faiss is not installed: pip install the folder in plugins/")
    folder = shared("data/ml-100k").parent
    command = [sys.executable, str(ROOT / "benchmarks" / "recall.py"), "--set", "ml-100k", "--data", str(folder)]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()  # noqa: S603  (its own script)
    assert lines[0].startswith("1,682 items of ml-100k")
    found = {line.split(" | ")[0].strip("| ").strip(): line for line in lines[4:]}
    assert found["exact"].split(" | ")[2] == found["Flat"].split(" | ")[2] == "1.000"
