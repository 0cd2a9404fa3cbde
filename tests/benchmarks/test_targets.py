"""The table of targets is made, and says what is met. How fast anything is, no test says."""

import importlib
import json
import subprocess
import sys

import pytest

from tests.processes import ROOT

FOLDER = ROOT / "benchmarks"


@pytest.fixture(scope="module")
def targets():
    """Imports the command as a module."""
    sys.path.insert(0, str(FOLDER))
    yield importlib.import_module("targets")
    sys.path.remove(str(FOLDER))


def test_a_part_is_measured_in_small():
    command = [sys.executable, str(FOLDER / "targets.py"), "--quick", "--json", "--only", "quality,retrieval,disk,additions"]
    rows = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)["rows"]  # noqa: S603  (its own script)
    assert [row["unit"] for row in rows] == ["%", "x", "x", "x", "x", "bytes", "ms"]
    assert all(row["measured"] is None or row["measured"] > 0 for row in rows)
    assert all((FOLDER / row["command"].split("/")[1].split()[0]).exists() for row in rows)


@pytest.mark.parametrize(
    ("measured", "at_least", "met"),
    [(2.0, False, True), (2.01, False, False), (2.0, True, True), (1.99, True, False), (None, False, False)],
)
def test_a_target_is_met_up_to_its_bound(targets, measured, at_least, met):
    row = targets.Row("work", 2.0, measured, "python benchmarks/x.py", at_least=at_least)
    assert row.is_met is met
    line = targets.table([row])[-1]
    assert ("| yes |" in line) is met
    assert ("not installed" in line) is (measured is None)


@pytest.mark.parametrize("option", [["--quick"], ["--only", "disk"]])
def test_a_rough_table_or_a_part_of_it_is_not_written_over_the_whole(targets, option, monkeypatch, capsys):
    monkeypatch.setattr(targets, "PARTS", dict.fromkeys(targets.PARTS, lambda quick: []))
    monkeypatch.setattr(targets.report, "write", None)
    with pytest.raises(SystemExit):
        targets.main(["--write", *option])
    assert "must be without --quick and --only" in capsys.readouterr().err


def test_the_share_of_sets_is_of_those_that_had_no_say(targets, tmp_path, monkeypatch):
    page = tmp_path / "quality.md"
    monkeypatch.setattr(targets, "QUALITY", page)
    regions = (("quality-tried", 9), ("quality-unseen", 5), ("quality", 1))
    page.write_text("".join(f"<!-- benchmarks:{name} -->\non {share} of 10 sets\n<!-- /benchmarks:{name} -->\n" for name, share in regions))
    assert [row.measured for row in targets.of_quality(quick=True)] == [50]
    page.write_text(page.read_text().replace("on 5 of", "of 5 of"))
    assert [row.measured for row in targets.of_quality(quick=True)] == [None]


def test_an_unknown_part_is_refused(targets, capsys):
    with pytest.raises(SystemExit):
        targets.main(["--only", "loop,nothing"])
    assert "got nothing" in capsys.readouterr().err
