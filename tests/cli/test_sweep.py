import json
from pathlib import Path

import numpy as np
import pytest

from recsdk import LinTS, LinUCB, Recommender, Uniform, cli, simulate, sweep
from recsdk.environments import LogisticWorld


def run(*arguments):
    with pytest.raises(SystemExit) as caught:
        cli.main(arguments)
    return caught.value.code or 0


@pytest.fixture(scope="module")
def log():
    return simulate(Uniform(), LogisticWorld(num_candidates=3, dim=2), 60, engine="numpy").log


@pytest.fixture
def path(log, tmp_path):
    rows = zip(*(column.tolist() for column in (log.context.features, log.action, log.reward, log.propensity)), strict=True)
    names = ("features", "action", "reward", "propensity")
    file = tmp_path / "log.jsonl"
    file.write_text("".join(json.dumps(dict(zip(names, row, strict=True))) + "\n" for row in rows))
    return str(file)


def test_it_prints_what_sweep_finds_on_a_log(path, log, capsys):
    arguments = ("--policy", "lin-ucb", "--set", "alpha=0.1,0.3", "--policy", "lin-ts", "--set", "ridge=2")
    assert run("sweep", path, *arguments, "--seeds", "2", "--each", "--engine", "numpy", "--json") == 0
    rows = json.loads(capsys.readouterr().out)
    policies = [LinUCB(alpha=0.1, ridge=2), LinUCB(alpha=0.3, ridge=2), LinTS(ridge=2)]
    expected = sweep(policies, log, seeds=(0, 1), engine="numpy", num_processes=1)
    assert [row["policy"] for row in rows] == [repr(policy) for policy in expected.policy]
    np.testing.assert_allclose([row["reward"] for row in rows], expected.reward, rtol=1e-12)


def test_it_prints_means_over_seeds_in_a_world(capsys):
    assert run("sweep", "logistic", "--policy", "uniform", "--rounds", "40", "--seeds", "3", "--engine", "numpy", "--json") == 0
    (row,) = json.loads(capsys.readouterr().out)
    table = sweep([Uniform()], LogisticWorld(), num_rounds=40, seeds=range(3), engine="numpy", num_processes=1)
    assert row["num_seeds"] == 3
    assert row["regret"] == pytest.approx(table.regret.mean())


def test_a_table_has_the_columns_that_say_something(path, capsys):
    assert run("sweep", path, "--policy", "uniform", "--rounds", "10", "--engine", "numpy") == 0
    printed = capsys.readouterr().out
    assert "effective_size" in printed
    assert "regret" not in printed


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["logistik", "--policy", "uniform"],
            "No file, no recommender's folder and no world is named 'logistik'. Did you mean 'logistic'? Worlds: [",
        ),
        (["linear", "--policy", "linucb"], "No policies plugin is named 'linucb'. Did you mean 'lin-ucb'?"),
        (["linear", "--policy", "lin-ucb", "--set", "alfa=1"], "none of ['lin-ucb'] has a hyper-parameter 'alfa'. Did you mean 'alpha'?"),
        (
            ["linear", "--policy", "lin-ucb", "--set", "alpha"],
            "its values, such as alpha=0.1,0.3, got 'alpha'.",
        ),
        (["linear", "--policy", "lin-ucb", "--set", "alpha=0.1,,1"], "set must be a hyper-parameter and its values"),
        (["linear", "--policy", "lin-ucb", "--set", "alpha=-1"], "LinUCB.alpha must be a finite number >= 0, got -1."),
        (["linear", "--policy", "lin-ucb", "--set", "alpha=much"], "LinUCB.alpha must be a finite number >= 0, got 'much'."),
        (["linear", "--policy", "lin-ucb", "--seeds", "0"], "seeds must be a whole number >= 1, got 0."),
        (["linear", "--policy", "lin-ucb", "--rounds", "0"], "num_rounds must be a whole number >= 1, got 0."),
        (["linear", "--policy", "lin-ucb", "--learn-from", "none"], "learn_from must be 'all' in a world"),
    ],
)
def test_an_error_is_one_line(arguments, message, capsys):
    assert run("sweep", *arguments) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_a_policy_must_be_named(capsys):
    assert run("sweep", "linear") == 2
    assert "--policy" in capsys.readouterr().err


def test_it_reads_what_evaluate_reads(path, log, tmp_path, capsys):
    lines = [json.loads(line) for line in Path(path).read_text().splitlines()]
    more = tmp_path / "more.jsonl"
    more.write_text("".join(json.dumps({**line, "note": "x"}) + "\n" for line in lines))
    found = []
    for source in (path, more):
        assert run("sweep", str(source), "--policy", "lin-ucb", "--engine", "numpy", "--json") == 0
        found.append(json.loads(capsys.readouterr().out))
    assert found[0] == found[1]


def test_a_recommenders_folder_is_a_log(tmp_path, capsys):
    with Recommender.open(tmp_path / "shop", items=[{"id": "a"}, {"id": "b"}], policy="lin-ts", log_features="all") as shop:
        for number in range(30):
            shop.reward(shop.recommend({}).decision_id, float(number % 2))
    assert run("sweep", str(tmp_path / "shop"), "--policy", "uniform", "--engine", "numpy", "--json") == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert row["reward"] == pytest.approx(0.5, abs=0.3)
