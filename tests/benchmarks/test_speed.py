"""The benchmarks of speed run, and put their tables where they belong. How fast anything is, no test says."""

import importlib
import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path

import attrs
import numpy as np
import pytest

import recsdk

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks"
HAS_JAX = bool(importlib.util.find_spec("jax"))
BARE = "NumPy, bare LinUCB"
SOME = "lin-ucb,numba,VW squarecb,MABWiser,river"


@pytest.fixture(scope="module")
def module():
    """Returns a function that imports a module of the benchmarks, as their commands do."""
    sys.path.insert(0, str(FOLDER))
    yield importlib.import_module
    sys.path.remove(str(FOLDER))


@pytest.fixture(scope="module", params=["speed", "throughput"])
def results(request):
    command = [sys.executable, str(FOLDER / f"{request.param}.py"), "--quick", "--json", "--sizes", "4x3", "--only", SOME]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)  # noqa: S603  (its own script)


def test_everyone_is_timed(results):
    for row in results["rows"]:
        assert row["size"] == [4, 3]
        assert row["kind"] in ("by hand", "recsdk", "peer")
        assert 0 < row["low"] <= row["median"] <= row["high"]
        assert row["to_bare"] > 0
    assert next(row for row in results["rows"] if row["contestant"] == BARE)["to_bare"] == 1
    assert {row["kind"] for row in results["rows"]} >= {"by hand", "recsdk"}
    assert results.get("disagreement", 0) < 1e-12


def test_it_says_on_what_it_was_measured_and_who_is_missing(results):
    assert results["command"].startswith("python benchmarks/")
    assert results["command"].endswith(f".py --quick --sizes 4x3 --only {SOME}")
    assert results["machine"]["cpu"]
    assert results["machine"]["versions"]["recsdk"]
    timed = " ".join(row["contestant"] for row in results["rows"])
    notes = " ".join(results["notes"])
    for package, name in (("numba", "numba"), ("vowpalwabbit", "VW"), ("mabwiser", "MABWiser"), ("river", "river")):
        is_asked_for = package == "vowpalwabbit" or (package == "numba") == ("throughput" in results["command"])
        if is_asked_for and importlib.util.find_spec(package):
            assert name in timed
        elif is_asked_for:
            assert package in notes


def test_the_table_has_a_row_for_everyone_and_as_many_cells_as_titles(results, module):
    report = module("report")
    text = report.full(results)
    lines = [line for line in text.splitlines() if line.startswith("|")]
    assert len(lines) == 2 + len(results["rows"])
    assert {line.count("|") for line in lines} == {4}
    assert results["command"] in text
    assert all(note in text for note in results["notes"])
    short = report.brief(results, [BARE])
    assert f"| {BARE} |" in short
    assert len([line for line in short.splitlines() if line.startswith("|")]) == 3
    assert results["machine"]["date"] in text


def test_the_picture_shows_everyone(results, module, tmp_path):
    pytest.importorskip("vl_convert")
    module("report").draw(results, tmp_path / "picture.svg")
    picture = (tmp_path / "picture.svg").read_text()
    assert "K = 4, D = 3" in picture
    assert all(row["contestant"].replace("&", "&amp;") in picture for row in results["rows"])


def test_every_policy_and_wrapper_of_recsdk_has_a_row(module):
    def types_within(config):
        if isinstance(config, tuple):
            return set().union(*map(types_within, config))
        return {type(config)}.union(*map(types_within, attrs.asdict(config, recurse=False).values())) if attrs.has(type(config)) else set()

    every = {getattr(recsdk, name) for name in recsdk.__all__}
    policies = {one for one in every if attrs.has(one) and hasattr(one, "probs")}
    assert len(policies) > 20
    timed = [entry.make() for name, entry in module("contestants").entries((4, 3)).items() if name.startswith("recsdk ")]
    missing = policies - set().union(*(types_within(one.policy) for one in timed))
    assert missing == set() if HAS_JAX else {one.runs_on for one in missing} <= {("jax",)}


def test_the_loops_by_hand_and_by_numba_choose_alike(module):
    pytest.importorskip("numba")
    replays, loops = module("replays"), module("loops")
    log = replays.uniform_log(300, 4, 3)
    columns = log.context.features, log.action, log.reward
    assert loops.choices(*columns, replays.ALPHA, 1.0).tolist() == replays.bare_linucb(log)
    for name, policies in replays.SWEEPS.items():
        alphas, ridges = (np.array([getattr(policy, field) for policy in policies]) for field in ("alpha", "ridge"))
        found = loops.sweep_alphas(*columns, alphas) if name == "alpha" else loops.sweep(*columns, alphas, ridges)
        np.testing.assert_allclose(found, recsdk.sweep(policies, log).reward, rtol=1e-9)


def test_only_the_marked_region_of_a_page_is_replaced(module, tmp_path):
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- benchmarks:live -->\nold\n<!-- /benchmarks:live -->\nafter\n")
    for text in ("new", "newer"):
        module("report").write(page, "live", text)
        assert page.read_text() == f"before\n<!-- benchmarks:live -->\n{text}\n<!-- /benchmarks:live -->\nafter\n"


@pytest.mark.parametrize(
    "content", [None, "nothing", "<!-- benchmarks:live -->\nno end", "<!-- benchmarks:other --><!-- /benchmarks:other -->"]
)
def test_a_page_without_the_markers_is_named_and_left_alone(module, tmp_path, content):
    page = tmp_path / "page.md"
    if content is not None:
        page.write_text(content)
    with pytest.raises(LookupError, match=r"page\.md must have the lines <!-- benchmarks:live --> and <!-- /benchmarks:live -->"):
        module("report").write(page, "live", "new")
    assert not page.exists() or page.read_text() == content


@pytest.mark.parametrize("script", ["speed", "throughput"])
def test_a_table_has_one_marked_place_in_each_page_that_its_command_writes(module, script):
    for page in module(script).PAGES:
        markers = [f"<!-- benchmarks:{page.region} -->", f"<!-- /benchmarks:{page.region} -->"]
        assert re.findall(rf"<!-- /?benchmarks:{page.region} -->", page.path.read_text()) == markers
