"""The benchmark of an epoch runs, with or without PyTorch. How fast anything is, no test says."""

import json
import subprocess
import sys

import pytest

from tests.processes import ROOT
from tests.shared import shared


@pytest.mark.slow
def test_epochs_of_recsdk_are_timed_beside_those_of_pytorch_where_it_is():
    folder = shared("data/ml-100k").parent
    command = [sys.executable, str(ROOT / "benchmarks" / "epochs.py"), "--quick", "--json", "--data", str(folder)]
    rows = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)["rows"]  # noqa: S603  (its own script)
    assert rows[0]["contestant"] == "recsdk"
    assert rows[0]["ratio"] == 1
    assert all(0 < row["low"] <= row["median"] <= row["high"] and row["cpu"] > 0 for row in rows)


@pytest.mark.parametrize(("load", "lines"), [(2.0, 0), (2.1, 1)])
def test_other_work_on_the_machine_is_told(load, lines, monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import epochs

    assert len(epochs.busy({"load": load, "cores": 2})) == lines
