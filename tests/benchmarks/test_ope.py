"""The commands that verify and time off-policy evaluation run, find what is wrong, and put their tables where they belong."""

import importlib
import json
from pathlib import Path

import pytest
from rich.progress import Progress

from recsdk import ope

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def module():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(FOLDER))
        yield importlib.import_module


@pytest.fixture(scope="module")
def verify(module):
    return module("verify_ope")


@pytest.fixture(scope="module")
def checks(module):
    return module("ope_checks")


def widths(text):
    return {line.count("|") for line in text.splitlines() if line.startswith("|")}


def test_exact_levels_hold_and_go_into_a_table(verify, capsys, tmp_path, monkeypatch):
    page = tmp_path / "page.md"
    page.write_text("<!-- benchmarks:verification -->\n<!-- /benchmarks:verification -->\n")
    monkeypatch.setattr(verify, "DOCS", page)
    assert verify.main(["--levels", "L0,L1", "--json", "--write"]) == 0
    results = json.loads(capsys.readouterr().out)
    assert all(row["passed"] for row in results["rows"])
    assert [row["level"] for row in results["rows"]].count("L0") == 11
    assert results["command"] == "python benchmarks/verify_ope.py --levels L0,L1"
    text = page.read_text()
    assert len(widths(text)) == 1
    assert f"{len(results['rows'])} of {len(results['rows'])} checks hold." in text
    assert "| L0 | ips | 0.670833333 | 0.670833333 | 0 | within 1e-12 | yes |" in text


def test_a_check_that_fails_is_an_error_and_is_shown(verify, checks, capsys, monkeypatch):
    wrong = [checks.exact("L0", "mine", 1.0, 1.1, 1e-12), checks.exact("L0", "zero", 0.0, 0.0, 1e-12)]
    assert [found.passed for found in wrong] == [False, True]
    monkeypatch.setattr(checks, "level_0", lambda: iter(wrong))
    assert verify.main(["--levels", "L0"]) == 1
    printed = capsys.readouterr().out
    assert "NO" in printed
    assert "1 of 2 checks hold, 1 fail" in printed


def test_absent_reference_data_is_said_and_passes_for_nothing(verify, checks, capsys, monkeypatch):
    def absent():
        yield checks.exact("L2", "first", 1.0, 1.0, 1e-12)
        pytest.skip("reference data is absent: set RECSDK_SHARED")

    monkeypatch.setattr(checks, "level_2", absent)
    assert verify.main(["--levels", "L2"]) == 0
    printed = capsys.readouterr().out
    assert "RECSDK_SHARED" in printed
    assert "1 of 1 checks hold, without those of L2 whose reference data is absent" in printed


def test_unknown_levels_are_refused(verify, capsys):
    with pytest.raises(SystemExit):
        verify.main(["--levels", "L0,L9"])
    assert "got L9" in capsys.readouterr().err


def test_coverage_counts_either_side_and_knows_what_it_wants(checks):
    found = [ope.Estimate(middle, 0.1, middle - 0.5, middle + 0.5, 0.95) for middle in [0.0] * 95 + [1.0] * 3 + [-1.0] * 2]
    good = checks.coverage("L4", "mine", found, 0.0, checks.NOMINAL, 0)
    assert good.passed
    assert (good.numbers["covers"], good.numbers["below"], good.numbers["above"]) == (0.95, 0.02, 0.03)
    assert (good.numbers["width"], good.numbers["bias"]) == pytest.approx((1.0, 0.01))
    assert good.numbers["rmse"] == pytest.approx(0.05**0.5)
    assert not checks.coverage("L4", "mine", found, 0.0, checks.FAILS, 0).passed
    assert not checks.coverage("L4", "mine", found[:95], 0.0, checks.NOMINAL, 0).passed  # too wide
    assert checks.coverage("L4", "mine", found[:95], 0.0, checks.NOMINAL, 3).passed
    assert checks.coverage("L4", "mine", found, 0.0, None, 0).passed is None


def test_simulated_levels_have_the_steps_they_announce_and_their_columns(verify, checks):
    tiny = checks.Effort(num_logs=50, num_watched=2, num_control=2, num_runs=1, num_rounds=30, slack=0.0)
    with Progress(disable=True) as progress:
        rows = list(verify.run(["L5"], tiny, progress))
        (task,) = progress.tasks
        assert task.completed == task.total == verify.steps("L5", tiny) == 11
    assert [row.wanted for row in rows] == ["", ""] + ["93.0% or more"] * 3 + ["fails: below 93.5%"] * 3
    ((titles, cells),) = verify.parts(rows)
    assert titles == ["level", "check", "covers", "below", "above", "width", "bias", "rmse", "logs", "wanted", "holds"]
    assert {len(row) for row in cells} == {len(titles)}


def test_controls_fail_as_they_must_and_the_verdict_refuses_logs_that_lie(checks):
    tiny = checks.Effort(num_logs=1, num_watched=2, num_control=6, num_runs=1, num_rounds=1, slack=0.0)
    done = []
    rows = [found for found in checks.skipping("L4", checks.controls(checks.World(), tiny, done.append)) if found.check != "skipped"]
    assert all(found.passed for found in rows if "ips, propensities" not in found.check)  # that one covers 60 %: six logs are too few
    assert not rows or sum(done) == 14


@pytest.fixture(scope="module")
def speed(module):
    return module("speed_ope")


@pytest.fixture(scope="module")
def timed(speed, module):
    sizes = (module("ope_contestants").Size(300, 5, 3), module("ope_contestants").Size(400, 4, 1))
    effort = speed.Effort(sizes, 2, 2, 20_000)
    with Progress(disable=True) as progress:
        rows = [row for size in effort.sizes for row in speed.measure(size, effort, progress)]
    return {"command": "mine", "machine": module("report").machine(()), "missing": [], "rows": rows} | {"stream": speed.streamed(20_000)}


def test_everyone_says_the_same_and_is_timed(timed, speed):
    assert max(row["apart"] for row in timed["rows"]) < 1e-12
    assert all(0 < row["low"] <= row["median"] <= row["high"] for row in timed["rows"])
    titles, rows = speed.table(timed["rows"])
    assert titles[1:] == ["300 x 5 x 3, point", "300 x 5 x 3, 100 bootstraps", "400 x 4, point", "400 x 4, 100 bootstraps"]
    assert {len(row) for row in rows} == {5}
    assert len(widths(speed.markdown(timed))) == 1


def test_a_long_log_is_evaluated_in_a_process_of_its_own(timed, speed):
    long = timed["stream"]
    assert (long["num_rounds"], long["verdict"], long["seconds"] > 0) == (20_000, "trust", True)
    assert 20e6 < long["bytes_before"] <= long["peak_bytes"] < 1e9
    assert "Streaming 20,000 rows of 10 actions" in speed.notes(timed)[0]


def test_who_is_left_out_is_named(speed, module, monkeypatch):
    monkeypatch.setattr(module("ope_contestants"), "missing_for_obp", lambda: ["obp", "pandas"])
    assert "obp is left out, since not installed: obp, pandas; for it `make peers`." in speed.missing()
    assert "obp" not in module("ope_contestants").everyone()


def test_the_page_has_the_regions_that_the_commands_write(verify, speed):
    assert verify.DOCS == speed.DOCS
    text = verify.DOCS.read_text()
    for region in ("verification", "speed-ope"):
        assert f"<!-- benchmarks:{region} -->" in text
        assert f"<!-- /benchmarks:{region} -->" in text
