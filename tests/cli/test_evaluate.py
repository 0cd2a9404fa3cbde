import json
import random
import re
import subprocess
import sys
import warnings

import numpy as np
import pytest

from recsdk import LinUCB, Recommender, cli, ope
from tests.ope.logs import random_log

SIZE = 600


def run(*arguments):
    with pytest.raises(SystemExit) as caught:
        cli.main(list(map(str, arguments)))
    return caught.value.code or 0


def write(path, log, probs, rows=slice(None)):
    chance = probs[np.arange(len(probs)), log.action]
    columns = (
        log.context.features,
        log.action,
        log.reward,
        log.propensity,
        probs,
        chance,
        *(np.where(np.arange(len(probs)) < size, 1.0, 0.0) for size in (5, 1)),
    )
    names = ("features", "action", "reward", "propensity", "new", "chance", "hardly", "first")
    table = list(zip(*(column[rows].tolist() for column in columns), strict=True))
    path.write_text("".join(json.dumps(dict(zip(names, row, strict=True))) + "\n" for row in table))
    return path


@pytest.fixture(scope="module")
def logged():
    log, probs, _ = random_log(3, SIZE)
    return log, probs


@pytest.fixture(scope="module")
def path(logged, tmp_path_factory):
    return write(tmp_path_factory.mktemp("log") / "log.jsonl", *logged)


@pytest.fixture(scope="module")
def plain(logged, tmp_path_factory):
    """The same log, without columns of targets."""
    log, _ = logged
    rows = zip(*(column.tolist() for column in (log.context.features, log.action, log.reward, log.propensity)), strict=True)
    file = tmp_path_factory.mktemp("plain") / "log.jsonl"
    names = ("features", "action", "reward", "propensity")
    file.write_text("".join(json.dumps(dict(zip(names, row, strict=True))) + "\n" for row in rows))
    return file


@pytest.fixture(scope="module")
def bakery(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shop") / "bakery"
    rng = random.Random(0)
    breads = [{"id": f"bread-{hour}", "baked": hour} for hour in range(4)]
    with Recommender.open(folder, items=breads, policy="lin-ts", log_features="all", floor=0.2) as shop:
        for _ in range(150):
            shown = shop.recommend({}, size=1)
            if rng.random() < 0.9:
                shop.reward_slate(shown.decision_id, {shown.ids[0]: float(rng.random() < 0.4)})
    return folder


def answers(capsys, *arguments, code=0):
    assert run("evaluate", *arguments, "--json") == code
    found = json.loads(capsys.readouterr().out)
    return found, {each["target"]: each for each in found["targets"]}


def test_it_says_what_evaluate_says_of_a_column(path, logged, capsys):
    log, probs = logged
    _, targets = answers(capsys, path, "--target", "new")
    expected = ope.evaluate(log, probs)
    for name, estimate in expected.estimates.items():
        assert targets["new"]["estimates"][name] == pytest.approx(estimate._asdict(), rel=1e-12)
    assert targets["new"]["verdict"] == expected.verdict
    assert targets["new"]["reasons"] == list(expected.reasons)
    assert targets["new"]["diagnostics"]["effective_size"] == pytest.approx(expected.diagnostics.effective_size)


def test_chances_of_the_logged_actions_are_enough_for_ips_and_snips(path, capsys):
    _, targets = answers(capsys, path, "--target", "chance", "--target", "new", "--estimator", "ips", "--estimator", "snips")
    for name in ("ips", "snips"):
        assert targets["chance"]["estimates"][name] == pytest.approx(targets["new"]["estimates"][name])
    _, alone = answers(capsys, path, "--target", "chance")
    assert list(alone["chance"]["estimates"]) == ["ips", "snips"]


def test_policies_are_replayed_with_their_settings(plain, logged, capsys):
    log, _ = logged
    _, targets = answers(capsys, plain, "--target", "lin-ucb", "--set", "alpha=0.1", "--learn-from", "all", "--estimator", "snips")
    expected = ope.evaluate(log, LinUCB(alpha=0.1), learn_from="all", estimators=["snips"])
    assert targets[repr(LinUCB(alpha=0.1))]["estimates"]["snips"] == pytest.approx(expected.estimates["snips"]._asdict())


def test_shards_are_one_log(logged, path, tmp_path, capsys):
    parts = [write(tmp_path / f"{name}.jsonl", *logged, rows) for name, rows in (("a", slice(250)), ("b", slice(250, None)))]
    assert answers(capsys, *parts, "--target", "new", "--estimator", "dr") == answers(capsys, path, "--target", "new", "--estimator", "dr")


def test_a_parquet_file_may_lack_features(logged, tmp_path, capsys):
    polars = pytest.importorskip("polars")
    log, probs = logged
    columns = {"action": log.action, "reward": log.reward, "propensity": log.propensity, "new": probs.tolist()}
    polars.DataFrame(columns).write_parquet(tmp_path / "log.parquet")
    _, targets = answers(capsys, tmp_path / "log.parquet", "--target", "new")
    assert targets["new"]["estimates"] == {
        name: pytest.approx(each._asdict()) for name, each in ope.evaluate(log, probs, estimators=["ips", "snips"]).estimates.items()
    }


def test_a_difference_is_paired(path, logged, capsys):
    log, probs = logged
    found, targets = answers(capsys, path, "--target", "new", "--estimator", "snips")
    compared = ope.comparison.compare({"new": ope.snips(ope.rounds(log, probs))}, ope.ips(ope.rounds(log, log.propensity)), num_draws=1000)
    assert found["logged"]["value"] == pytest.approx(log.reward.mean())
    assert targets["new"]["differences"]["snips"]["value"] == pytest.approx(compared["new"].difference.value)
    assert targets["new"]["differences"]["snips"]["low"] == pytest.approx(compared["new"].difference.low)
    _, targets = answers(capsys, path, "--target", "new", "--target", "chance", "--against", "chance")
    assert targets["new"]["differences"]["snips"]["value"] == 0
    assert targets["chance"]["differences"] == {}


@pytest.mark.parametrize("interval", ["bootstrap", "moving-block"])
def test_intervals_of_any_estimator_can_be_asked_for(path, logged, capsys, interval):
    log, probs = logged
    _, targets = answers(capsys, path, "--target", "new", "--interval", interval, "--estimator", "snips", "--draws", 200, "--level", 0.9)
    found, terms = targets["new"]["estimates"]["snips"], ope.snips(ope.rounds(log, probs))
    if interval == "bootstrap":
        expected = ope.intervals.bootstrap(terms, num_draws=200, level=0.9)
    else:
        expected = ope.intervals.moving_block(terms, np.arange(SIZE, dtype=float), num_draws=200, level=0.9)
    assert found == pytest.approx(expected._asdict())


@pytest.mark.parametrize(
    "interval", ["empirical-likelihood", "empirical-bernstein", "clopper-pearson", "confidence-sequence", "drifting-sequence"]
)
def test_intervals_of_bounded_rewards_are_of_ips(path, logged, capsys, interval):
    bounds = ("--reward-range", 0, 1, "--max-weight", 80)
    _, targets = answers(capsys, path, "--target", "new", "--interval", interval, *bounds)
    ((name, found),) = targets["new"]["estimates"].items()
    assert name == "ips"
    rounds, own = ope.rounds(*logged), interval.replace("-", "_")
    if "sequence" in own:
        expected = getattr(ope.intervals, own)(rounds, reward_range=(0, 1), max_weight=80)
        assert (found["low"], found["high"]) == pytest.approx((expected.low[-1], expected.high[-1]))
    else:
        expected = getattr(ope.intervals, own)(ope.intervals.bounded(rounds, max_weight=80, reward_range=(0, 1)))
        assert found == pytest.approx(expected._asdict())


def test_a_refused_value_is_withheld_unless_forced(path, capsys):
    arguments = (path, "--target", "hardly", "--estimator", "snips")
    _, targets = answers(capsys, *arguments, code=3)
    assert (targets["hardly"]["verdict"], targets["hardly"]["estimates"], targets["hardly"]["clipped"]) == ("refuse", {}, [])
    assert targets["hardly"]["reasons"]
    _, both = answers(capsys, *arguments, "--target", "new")
    assert both["hardly"]["estimates"] == {}
    assert both["new"]["estimates"]
    _, forced = answers(capsys, *arguments, "--force")
    assert (forced["hardly"]["verdict"], list(forced["hardly"]["estimates"])) == ("refuse", ["snips"])


def test_what_json_has_no_number_for_is_null(path, capsys):
    _, targets = answers(capsys, path, "--target", "first", "--estimator", "snips", "--force")
    assert targets["first"]["estimates"]["snips"]["stderr"] is None


def test_a_table_has_values_verdicts_and_remedies(path, capsys):
    assert run("evaluate", path, "--target", "new", "--target", "hardly") == 0
    printed = " ".join(capsys.readouterr().out.split())
    for text in ("logging", "snips", "withheld", "refuse", "effective size", "log about"):
        assert text in printed


def test_each_estimate_has_one_line_of_80_columns(path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    assert run("evaluate", path, "--target", "new", "--estimator", "snips") == 0
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "snips" in line]
    assert re.search(r"new +snips +[\d.]+ +[\d.]+\.\.[\d.]+ +[-+][\d.]+ \([-+][\d.e-]+\.\.[-+][\d.e-]+\)", line)


def test_a_recommenders_folder_is_a_log_of_a_policy_that_learns(bakery, capsys):
    _, targets = answers(capsys, bakery, "--target", "uniform", "--estimator", "snips")
    diagnostics = targets["uniform"]["diagnostics"]
    assert diagnostics["join_rate"] == pytest.approx(diagnostics["num_rounds"] / 150)
    assert any("this one learned" in reason for reason in targets["uniform"]["reasons"])
    _, whole = answers(
        capsys, bakery, "--target", "uniform", "--estimator", "snips", "--default-reward", 0, "--window", 0, "--logger", "fixed"
    )
    assert whole["uniform"]["diagnostics"]["num_rounds"] == 150
    assert not any("this one learned" in reason for reason in whole["uniform"]["reasons"])


def test_a_recommenders_folder_is_a_target_that_must_not_be_judged_by_its_own_lessons(bakery, capsys):
    _, targets = answers(capsys, bakery, "--target", bakery, "--policy", "lin-ts", "--floor", 0.2, "--estimator", "snips")
    assert any("these very rounds" in reason for reason in targets[str(bakery)]["reasons"])
    assert targets[str(bakery)]["verdict"] == "caution"
    assert run("evaluate", bakery, "--target", bakery, "--policy", "lin-ucb") == 2
    assert "must hold a snapshot" in capsys.readouterr().err


def test_a_decision_service_log_is_read_with_its_ids(logged, tmp_path, capsys):
    recsdk_vw = pytest.importorskip("recsdk_vw")
    log, _ = logged
    file = tmp_path / "log.dsjson"
    recsdk_vw.write_dsjson(file, log)
    _, targets = answers(capsys, file, "--target", "uniform", "--estimator", "snips")
    uniform = np.full((SIZE, 4), 0.25)
    assert targets["uniform"]["estimates"]["snips"]["value"] == pytest.approx(ope.value(ope.snips(ope.rounds(log, uniform))))
    lines = [json.dumps({**json.loads(line), "EventId": "same"}) for line in file.read_text().splitlines()[:2]]
    file.write_text("\n".join(lines))
    assert run("evaluate", file, "--target", "uniform") == 2
    assert "ids must be unique, got 'same, position 0'" in capsys.readouterr().err


def test_a_log_whose_candidates_are_all_alike_says_that_policies_choose_at_random(tmp_path, capsys):
    path = tmp_path / "log.jsonl"
    for last, told in ((1.0, True), (2.0, False)):
        rows = [{"action": row % 2, "reward": row % 2, "propensity": 0.5, "features": [[1.0], [last]]} for row in range(100)]
        path.write_text("\n".join(map(json.dumps, rows)))
        found, _ = answers(capsys, path, "--target", "lin-ucb", "--estimator", "snips")
        assert any("policies that choose by features choose at random" in note for note in found["notes"]) == told


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "--target must name what to evaluate, got none. Example: recsdk evaluate"),
        (["lin-ucb"], "No file and no folder is named 'lin-ucb'. A target is named by --target: recsdk evaluate"),
        (["--target", "nev"], "No column of the log, no folder and no policy is named 'nev'. Did you mean 'new'?"),
        (["--target", "new", "--target", "new"], "target must be given once each, got 'new' 2 times."),
        (["--target", "new", "--estimator", "drr"], "estimators must be one of"),
        (["--target", "chance", "--estimator", "dr"], "dr needs the target's whole distribution"),
        (["--target", "new", "--interval", "normal"], "interval must be one of"),
        (["--target", "new", "--interval", "clopper-pearson"], "clopper_pearson needs reward_range"),
        (["--target", "new", "--interval", "clopper-pearson", "--reward-range", "0", "1"], "clopper_pearson needs max_weight"),
        (["--target", "new", "--interval", "drifting-sequence", "--reward-range", "0", "1", "--estimator", "dr"], "which is of IPS alone"),
        (["--target", "new", "--level", "95"], "level must be in (0, 1), got 95.0."),
        (["--target", "new", "--against", "old"], "against must be one of"),
        (["--target", "new", "--learn-from", "all"], "set and learn_from are for targets that are policies"),
        (["--target", "new", "--set", "alpha=1"], "set and learn_from are for targets that are policies"),
        (
            ["--target", "new", "--position", "1"],
            "position must be 0 where the log is no recommender's folder and no decision-service log, got 1.",
        ),
        (["--target", "action"], "log.jsonl, line "),
        (["--target", "new", "--max-bad", "1"], "max_bad must be 0 where the log is no decision-service log, got 1."),
        (
            ["--target", "new", "--columns", "reward=klick"],
            "No column of the log is named 'klick', for reward. Columns: ['features', 'action'",
        ),
        (["--target", "new", "--columns", "reward"], "columns must be fields and their columns, such as reward=visit,propensity=0.5"),
        (["--target", "new", "--columns", "rewrad=new"], "a log has no field 'rewrad'. Did you mean 'reward'?"),
    ],
)
def test_an_error_is_one_line(path, arguments, message, capsys):
    assert run("evaluate", path, *arguments) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_a_log_must_be_there(tmp_path, capsys):
    assert run("evaluate", tmp_path / "log.jsonl", "--target", "uniform") == 2
    assert "No file and no recommender's folder is named" in capsys.readouterr().err


def test_a_bad_row_is_named(path, tmp_path, capsys):
    row = json.loads(path.read_text().splitlines()[0])
    file = tmp_path / "log.jsonl"
    file.write_text("".join(json.dumps(each) + "\n" for each in (row, {**row, "new": [0.5, 0.5]})))
    assert run("evaluate", file, "--target", "new") == 2
    assert "log.jsonl, line 2: new must be 4 probabilities, one for each candidate, got [0.5, 0.5]." in capsys.readouterr().err
    del row["new"]
    file.write_text(path.read_text().splitlines()[0] + "\n" + json.dumps(row))
    assert run("evaluate", file, "--target", "new") == 2
    assert "line 2: must have the columns" in capsys.readouterr().err


def test_a_page_is_written_where_it_is_asked_for(path, tmp_path, capsys):
    page = tmp_path / "new" / "page.html"
    found, _ = answers(capsys, path, "--target", "new", "--html", page)
    assert found["html"] == str(page)
    assert page.read_text().startswith("<!doctype html>")


def test_a_page_without_the_extra_is_refused_before_any_work(path, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert run("evaluate", "nowhere.jsonl", "--target", "new", "--html", tmp_path / "page.html") == 2
    assert "pip install '.[report]'" in capsys.readouterr().err


def rows(size=400, chance=0.5):
    rng = random.Random(0)
    for number in range(size):
        action = rng.randrange(2)
        yield {
            "name": f"r{number}",
            "shown": ("apple", "pear")[action],
            "visit": int(rng.random() < (0.3, 0.6)[action]),
            "p": chance,
            "pi": (0.2, 0.8)[action],
        }


def write_csv(path, table):
    table = list(table)
    path.write_text("".join(",".join(map(str, row)) + "\n" for row in (table[0].keys(), *(row.values() for row in table))))
    return path


COLUMNS = ("--columns", "action=shown,reward=visit,propensity=p")


def test_a_csv_file_has_the_columns_that_the_user_names(tmp_path, capsys):
    path = write_csv(tmp_path / "log.csv", rows())
    found, targets = answers(capsys, path, "--target", "pi", *COLUMNS)
    rewards = np.array([row["visit"] for row in rows()])
    chances = np.array([row["pi"] for row in rows()])
    assert targets["pi"]["estimates"]["ips"]["value"] == pytest.approx((rewards * chances / 0.5).mean())
    assert found["notes"] == ["action names are numbered: 0 = 'apple', 1 = 'pear'"]
    _, same = answers(capsys, path, "--target", "pi", "--columns", "action=shown,reward=visit,propensity=0.5")
    assert same["pi"]["estimates"] == targets["pi"]["estimates"]


@pytest.mark.parametrize(
    ("change", "columns", "message"),
    [
        ({"visit": ""}, COLUMNS, "log.csv, line 4: reward must be a number, got ''."),
        ({"visit": "many"}, COLUMNS, "log.csv, line 4: reward must be a finite number, got 'many'."),
        ({"visit": "nan"}, COLUMNS, "log.csv, line 4: reward must be a finite number, got 'nan'."),
        ({"p": 1.5}, COLUMNS, "log.csv, line 4: propensity must be in (0, 1], got 1.5"),
        ({"pi": "nan"}, COLUMNS, "log.csv, line 4: pi must be a finite number, got 'nan'."),
        ({"pi": 1.5}, COLUMNS, "log.csv, line 4: pi must be in [0, 1], got 1.5"),
        ({}, (), "a log must have action, but there is no such column. Name it: --columns action=COLUMN. Columns: ['name', 'shown'"),
    ],
)
def test_a_bad_cell_is_told_with_its_file_and_line_and_its_column(tmp_path, capsys, change, columns, message):
    table = [{**row, **(change if number == 2 else {})} for number, row in enumerate(rows(10))]
    assert run("evaluate", write_csv(tmp_path / "log.csv", table), "--target", "pi", *columns) == 2
    assert message in capsys.readouterr().err


def test_a_file_that_is_given_twice_is_refused_and_so_is_a_row_by_its_id(tmp_path, capsys):
    whole = list(rows())
    first, second = write_csv(tmp_path / "a.csv", whole[:300]), write_csv(tmp_path / "b.csv", whole[200:])
    copy = write_csv(tmp_path / "copy.csv", whole[:300])
    assert run("evaluate", first, copy, "--target", "pi", *COLUMNS) == 2
    assert "copy.csv is the same to the last byte as" in capsys.readouterr().err
    ids = (*COLUMNS[:1], f"{COLUMNS[1]},id=name")
    assert run("evaluate", first, second, "--target", "pi", *ids) == 2
    assert "ids must be unique, got 'r200'" in capsys.readouterr().err
    answers(capsys, first, "--target", "pi", *ids)


def test_an_id_column_is_found_by_its_name_and_may_be_left_out(tmp_path, capsys):
    table = [{"id": "same", "action": 0, "reward": 1, "propensity": 0.5, "pi": 0.5}] * 20
    path = write_csv(tmp_path / "log.csv", table)
    assert run("evaluate", path, "--target", "pi") == 2
    assert "ids must be unique, got 'same'" in capsys.readouterr().err
    assert run("evaluate", path, "--target", "pi", "--columns", "id=") in (0, 3)


def test_rounding_errors_are_corrected_and_said(tmp_path, capsys):
    table = [{**row, "p": 1.0000001} for row in rows(50)]
    found, _ = answers(capsys, write_csv(tmp_path / "log.csv", table), "--target", "pi", "--force", *COLUMNS)
    assert "propensity had rounding errors of up to 1e-07 in 50 rows, which were corrected" in found["notes"]


def test_one_slot_of_a_page_is_evaluated_and_never_trusted_as_if_it_stood_alone(tmp_path, capsys):
    pytest.importorskip("recsdk_vw")
    rng = random.Random(0)
    lines = []
    for number in range(3000):
        top = rng.randrange(2)
        slots = [
            {"_label_cost": -int(rng.random() < 0.5), "_a": shown, "_p": probs}
            for shown, probs in (([top, 1 - top], [0.5, 0.5]), ([1 - top], [1.0]))
        ]
        lines.append({"EventId": f"e{number}", "c": {"_multi": [{"_tag": "a"}, {"_tag": "b"}], "_slots": [{}, {}]}, "_outcomes": slots})
    path = tmp_path / "log.dsjson"
    path.write_text("[checkpoint]\n" + "".join(json.dumps(line) + "\n" for line in lines) + "not JSON\n")
    assert run("evaluate", path, "--target", "uniform") == 2
    assert "max_bad is 0" in capsys.readouterr().err
    found, targets = answers(capsys, path, "--target", "uniform", "--estimator", "ips", "--max-bad", 1)
    assert targets["uniform"]["diagnostics"]["num_rounds"] == 3000
    assert targets["uniform"]["estimates"]["ips"]["value"] == pytest.approx(0.5, abs=0.05)
    assert found["notes"][:2] == [f"{path}: 1 lines left out: checkpoint", f"{path}: 1 lines left out: bad"]
    assert "all candidates have the same features" in found["notes"][2]
    _, below = answers(capsys, path, "--target", "uniform", "--estimator", "ips", "--max-bad", 1, "--position", 1)
    assert below["uniform"]["verdict"] == "caution"
    assert any("given what the logging policy put above it" in reason for reason in below["uniform"]["reasons"])


def test_what_a_pipe_no_longer_reads_is_no_error(path):
    command = f"{sys.executable} -m recsdk evaluate {path} --target chance --json | head -n 1"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, check=False)  # noqa: S602
    assert done.stdout == "{\n"
    assert done.stderr == ""


def test_an_error_about_a_folder_lists_no_columns(bakery, capsys):
    for arguments in ([bakery, "--target", "nope"], [bakery]):
        assert run("evaluate", *arguments) == 2
        error = capsys.readouterr().err
        assert "[]" not in error
        assert "columns:" not in error.lower()


def test_a_warning_is_a_note_without_a_line_of_code(tmp_path, capsys):
    folder = tmp_path / "kiosk"
    with Recommender.open(folder, items=[{"id": "tea"}, {"id": "ice"}], policy="lin-ts", log_features="all") as kiosk:
        for number in range(30):
            kiosk.reward(kiosk.recommend({}, pinned={0: "tea"} if number % 3 else None).decision_id, 1.0)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        assert run("evaluate", folder, "--target", "uniform") in (0, 3)
    error = capsys.readouterr().err
    assert "Left out at position 0, since nothing was drawn there: 20 pinned." in error
    assert "UnfitDecisions" not in error
    assert "sys:1" not in error
