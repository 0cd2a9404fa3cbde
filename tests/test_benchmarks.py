"""The benchmark of speed runs, and puts its tables where they belong. How fast anything is, no test says."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parent.parent / "benchmarks"
HAS_JAX = bool(importlib.util.find_spec("jax"))
LIVE = {"NumPy, bare LinUCB", "NumPy, bare LinUCB, with propensity"} | {
    f"recsdk {name}" for name in ("uniform", "epsilon-greedy", "lin-ucb", "lin-ts", "lin-ts with floor")
}


@pytest.fixture(scope="module")
def report():
    spec = importlib.util.spec_from_file_location("benchmarks_report", FOLDER / "report.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def results():
    command = [sys.executable, "-W", "error", str(FOLDER / "speed.py"), "--quick", "--json", "--sizes", "4x3"]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)  # noqa: S603  (its own script)


def test_every_contestant_is_timed_on_live_events(results):
    assert {row["contestant"] for row in results["live"]} - {"VW squarecb, bare loop", "VW squarecb, recsdk-vw"} == LIVE
    for row in results["live"]:
        assert row["size"] == [4, 3]
        assert 0 < row["microseconds"]["low"] <= row["microseconds"]["median"] <= row["microseconds"]["high"]
        assert row["to_bare"] > 0
        assert row["events"] >= 5
    assert next(row for row in results["live"] if row["contestant"] == "NumPy, bare LinUCB")["to_bare"] == 1


@pytest.mark.skipif(not HAS_JAX, reason="compares the engines, and JAX is not installed")
def test_replay_is_timed_on_both_engines_and_they_agree(results):
    names = [row["contestant"] for row in results["replay"] if not row["contestant"].startswith("VW ")]
    policies = ("lin-ucb", "lin-ts", "epsilon-greedy")
    assert names == ["NumPy, bare LinUCB", *(f"recsdk {name}, {engine}" for name in policies for engine in ("jax", "numpy"))]
    for row in results["replay"]:
        assert row["events_per_second"]["median"] > 0
        assert (row["difference"] is not None) == row["contestant"].endswith("jax")
        assert row["difference"] is None or row["difference"] < 1e-9


def test_it_says_on_what_it_was_measured(results):
    assert results["command"] == "python benchmarks/speed.py --quick --sizes 4x3"
    assert results["machine"]["cpu"]
    assert results["machine"]["versions"]["recsdk"]


def test_the_tables_have_a_row_for_everything_measured_and_as_many_cells_as_titles(results, report):
    lines = [line for line in report.full(results).splitlines() if line.startswith("|")]
    assert len(lines) == 2 * 2 + len(results["live"]) + len(results["replay"])
    assert {line.count("|") for line in lines[: 2 + len(results["live"])]} == {8}
    assert {line.count("|") for line in lines[2 + len(results["live"]) :]} == {9}
    assert results["command"] in report.full(results)
    short = report.brief(results)
    assert "| recsdk lin-ucb |" in short
    assert results["machine"]["date"] in short


def test_only_the_marked_region_of_a_page_is_replaced(report, tmp_path):
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- benchmarks:live -->\nold\n<!-- /benchmarks:live -->\nafter\n")
    for text in ("new", "newer"):
        report.write(page, "live", text)
        assert page.read_text() == f"before\n<!-- benchmarks:live -->\n{text}\n<!-- /benchmarks:live -->\nafter\n"


@pytest.mark.parametrize(
    "content", [None, "nothing", "<!-- benchmarks:live -->\nno end", "<!-- benchmarks:other --><!-- /benchmarks:other -->"]
)
def test_a_page_without_the_markers_is_named_and_left_alone(report, tmp_path, content):
    page = tmp_path / "page.md"
    if content is not None:
        page.write_text(content)
    with pytest.raises(LookupError, match=r"page\.md must have the lines <!-- benchmarks:live --> and <!-- /benchmarks:live -->"):
        report.write(page, "live", "new")
    assert not page.exists() or page.read_text() == content
