"""The benchmark of items that no fit has seen keeps them from the fit, and the page shows the rows that were kept."""

import importlib
import subprocess
import sys

import numpy as np
import pytest

from tests.processes import ROOT
from tests.shared import shared


@pytest.fixture
def cold(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    return importlib.import_module("cold")


def test_held_out_items_and_what_is_tested_are_no_part_of_the_fit(cold):
    taken = {f"u{user}": [f"i{(user + n) % 30}" for n in range(12)] for user in range(30)}
    found = cold.split(cold.Data([{"id": f"i{n}", "kind": "x"} for n in range(30)], taken, ("kind",), (), latest=5), seed=0)
    held = set(found.alone.items.ids.tolist())
    assert len(held) == 3
    assert not held & set(found.log.items.ids.tolist())
    assert found.whole.items.ids[found.whole.item].tolist() == found.log.items.ids[found.log.item].tolist()
    learned = {}
    for user, item in zip(found.log.requests["user_id"], found.log.items.ids[found.log.item], strict=True):
        learned.setdefault(user, []).append(item)
    assert max(map(len, learned.values())) == 5
    for row, user in enumerate(found.cold.requests["user_id"]):
        target = found.cold.items.ids[found.cold.target.values[row]]
        known = found.warm.items.ids[found.warm.target.values[row]]
        before = [item for item in taken[user][: taken[user].index(target)] if item not in held]
        assert target in held
        assert found.cold.requests["history"][row] == before[-5:]
        assert (known, learned[user]) == (before[-1], before[:-1][-5:])
        place = found.cold.history.start[row : row + 2]
        assert found.cold.items.ids[found.cold.history.values[slice(*place)]].tolist() == before
    assert np.array_equal(found.alone.items.ids[found.alone.target.values], found.cold.items.ids[found.cold.target.values])


def test_the_page_is_the_table_of_the_kept_rows():
    command = [sys.executable, "benchmarks/cold.py", "--from", "benchmarks/kept/cold.json"]
    table = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout  # noqa: S603  (its own script)
    assert "| sasrec, item_features, id_dropout=0.5 |" in table
    assert table in (ROOT / "docs/ranking-quality.md").read_text()


def test_it_runs_and_blind_choice_finds_fifty_of_all():
    folder = shared("data/goodbooks-10k-catalogue").parent
    command = [sys.executable, "benchmarks/cold.py", "--quick", "--data", str(folder), "--sets", "goodbooks"]
    command += ["--users", "60", "--models", "content"]
    lines = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()  # noqa: S603  (its own script)
    rows = {line.split(" | ")[0].strip("| "): line.split(" | ") for line in lines if line.startswith("| ")}
    assert rows["random"][1].startswith("0.005 ")
    assert float(rows["content"][2]) > 5
