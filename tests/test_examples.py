"""Every script in examples/ runs, warnings being errors, and prints what it promises."""

import importlib.util
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import recsdk
from tests.processes import run_python
from tests.shared import shared

EXAMPLES = Path(__file__).parents[1] / "examples"


SEEDED = """
import random, runpy, secrets, sys
random.seed(0)
secrets.token_bytes = random.Random(0).randbytes
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""
"""Runs a script with the same salts and decision ids each time, so that what it prints is the same."""


def run_example(name, *arguments):
    return run_python("-W", "error", "-c", SEEDED, str(EXAMPLES / f"{name}.py"), *map(str, arguments))


def printed(name, *arguments):
    done = run_example(name, *arguments)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


def numbers(pattern, text):
    found = re.search(pattern, text)
    assert found, f"{pattern!r} is not in\n{text}"
    return [float(number) for number in found.groups()]


def test_the_quickstart_learns_recovers_and_evaluates():
    text = printed("quickstart")
    assert "400 rewards are known" in text
    (later,) = numbers(r"([\d.]+)% over the rest", text)
    assert later > 32  # 38.7 % with the floor's exploration
    (linucb,), (epsilon,) = (numbers(rf"{name} would have earned ([\d.]+)", text) for name in ("LinUCB", "EpsilonGreedy"))
    assert abs(linucb - 0.40) < 0.06
    assert abs(epsilon - 0.27) < 0.06


def test_a_replayed_log_finds_the_values_that_the_policies_have_in_truth():
    rows = re.findall(r"^\w+ +\d+ rounds +(-?[\d.]+) +\[.*\] +(-?[\d.]+)$", printed("replay_a_log"), re.MULTILINE)
    assert len(rows) == 4
    for estimate, truth in rows:
        assert abs(float(estimate) - float(truth)) < 0.12  # four standard errors


def test_the_open_bandit_log_answers_as_its_own_quickstart():
    text = printed("open_bandit")
    assert "1.198126 (the data set's own quickstart has 1.198126)" in text
    assert "verdict: caution" in text
    (truth,) = numbers(r"its own log +([\d.]+)", text)
    for name in ("from that log", "bootstrap's interval", "empirical likelihood's"):
        low, high = numbers(rf"{name} +[\d.]+ in \[(-?[\d.]+), ([\d.]+)\]", text)
        assert low < truth < high
        # The bootstrap's interval is symmetric and wide, as 38 clicks of very different weights are: it reaches below 0.
        assert (low < 0) == (name == "bootstrap's interval")
    low, high = numbers(r"less random +[\d.-]+ in \[(-?[\d.]+), (-?[\d.]+)\]", text)
    assert low < 0 < high  # which 38 clicks cannot tell


def test_only_unbiased_estimators_hold_the_truth_of_a_classification_set():
    text = printed("supervised_to_bandit")
    assert re.findall(r"^(\w+) .* (holds|misses) the truth", text, re.MULTILINE) == [
        ("dm", "misses"),
        ("ips", "holds"),
        ("snips", "holds"),
        ("dr", "holds"),
    ]
    assert "verdict: trust" in text
    assert "with propensities made up afterwards: The log cannot answer" in text


def test_an_email_beats_none_and_whom_it_suits_hardly_matters():
    text = printed("hillstrom", "--path", shared("data/hillstrom/hillstrom.csv.gz"))
    assert text.count("(trust)") == 4
    (none,), (learned,) = (numbers(rf"{name} +([\d.]+) visits", text) for name in ("No E-Mail to all", "as learned"))
    assert learned > none + 0.05
    low, high = numbers(r"as learned +\S+ beside the men's, in \[(\S+), (\S+)\]", text)
    assert low < 0 < high


def test_the_value_of_a_choice_of_headlines_covers_the_truth():
    if importlib.util.find_spec("polars") is None:
        pytest.skip("polars is not installed: pip install '.[parquet]'")
    text = printed("upworthy", shared("data/upworthy/upworthy_early.parquet"))
    truth, at_random = numbers(r"in truth ([\d.]+)%; a headline at random ([\d.]+)%", text)
    assert truth > at_random
    intervals = re.findall(r"in \[([\d.]+)%, ([\d.]+)%\] \(trust\)", text)
    assert len(intervals) == 3
    assert all(float(low) < truth < float(high) for low, high in intervals)


@pytest.mark.parametrize(("name", "options"), [("hillstrom", ["--path"]), ("upworthy", [])])
def test_an_example_on_real_data_says_what_is_missing(name, options, tmp_path):
    if name == "upworthy" and importlib.util.find_spec("polars") is None:
        pytest.skip("polars is not installed: pip install '.[parquet]'")
    done = run_example(name, *options, tmp_path / "absent")
    assert done.returncode == 1
    assert f"There is no {tmp_path / 'absent'}" in done.stderr
    assert "Traceback" not in done.stderr


def test_films_that_are_recommended_are_liked_more_often_than_those_on_offer():
    recommended, offered = numbers(r"([\d.]+)% of what was recommended, ([\d.]+)%", printed("movielens", "--path", shared("data/ml-100k")))
    assert recommended > offered + 5


def test_the_film_example_says_what_is_missing(tmp_path):
    done = run_example("movielens", "--path", tmp_path)
    assert done.returncode == 1
    assert f"There is no ml-100k.inter in {tmp_path}" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_policy_learns_to_trust_a_scorer_of_ones_own():
    text = printed("write_a_scorer")
    first, last = numbers(r"sold: (\d+)% of the first 100 shown, (\d+)% of the last", text)
    assert last > max(first, 35)
    near_price, recency = numbers(r"'near_price': (-?[\d.]+), 'recency': (-?[\d.]+)", text)
    assert near_price > 0.3 > abs(recency)


def test_a_policy_of_ones_own_keeps_every_law():
    text = printed("write_a_policy")
    assert "BROKEN" not in text
    assert text.count(" holds\n") >= 12
    (own,), (uniform,) = (
        numbers(r"InverseGap +regret per round, at the end ([\d.]+)", text),
        numbers(r"Uniform +regret per round, at the end ([\d.]+)", text),
    )
    assert own < uniform / 2


def test_vowpal_wabbit_learns_and_recovers_in_the_live_loop():
    if importlib.util.find_spec("recsdk_vw") is None:
        pytest.skip("recsdk-vw is not installed: pip install ./plugins/recsdk-vw")
    rates = re.findall(r"over the first 500, ([\d.]+)% over the next", printed("vowpal_wabbit"))
    assert len(rates) == 4
    assert min(map(float, rates)) > 25


def test_every_example_is_run_here_and_is_short():
    source = Path(__file__).read_text()
    for path in EXAMPLES.glob("*.py"):
        assert f'printed("{path.stem}"' in source
        assert len(path.read_text().splitlines()) <= 60, path.name


SERVE_ALOUD = """
import sys
sys.path.insert(0, sys.argv[1])
import quickstart
shop = quickstart.open_shop(sys.argv[2])
while True:
    quickstart.serve(shop, 1)
    print(shop.num_learned, flush=True)
"""


def test_the_quickstart_killed_in_the_middle_loses_no_acknowledged_decision_or_reward(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(EXAMPLES)
    command = [sys.executable, "-c", SERVE_ALOUD, EXAMPLES, tmp_path]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603 -- our own script
        for line in process.stdout:
            acknowledged = int(line)
            if acknowledged == 200:
                process.kill()
    assert process.returncode == -signal.SIGKILL
    quickstart = importlib.import_module("quickstart")
    with quickstart.open_shop(tmp_path) as shop:
        assert shop.num_learned >= acknowledged >= 200
        assert shop.audit()
        quickstart.serve(shop, 1)
    assert len(recsdk.read_ledger(tmp_path).reward) == shop.num_learned
