"""The benchmark of a request with a sequence encoder runs. How fast anything is, no test says."""

import json
import subprocess
import sys

import pytest

from tests.processes import ROOT


@pytest.mark.slow
def test_encoding_and_requests_of_each_exact_retriever_are_timed():
    command = [sys.executable, str(ROOT / "benchmarks" / "latency.py"), "--quick", "--json", "--items", "300"]
    rows = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)["rows"]  # noqa: S603  (its own script)
    names = [row["work"] for row in rows]
    assert names[:4] == ["encode a history of 50", "the same by the whole network", "recommend, exact", "recommend, int8"]
    assert all(0 < row["p50"] <= row["p99"] and 0 < row["cpu_p10"] <= row["cpu_p50"] for row in rows)
