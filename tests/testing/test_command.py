"""The kit from the command line."""

import json
import sys

import pytest

from recsdk.testing import Trial
from recsdk.testing.__main__ import main
from tests.distributions import write_distribution
from tests.processes import run_python

MODULE = """
import attrs
from typing import ClassVar
from recsdk import testing, Uniform
from recsdk.errors import MissingExtra

@attrs.frozen(kw_only=True)
class Coin:
    share: float = 0.5
    runs_on: ClassVar = ("numpy",)
    learns_from: ClassVar = "chosen"
    def init(self, prior): return ()
    def probs(self, state, rng, context): return {probs}
    def update(self, state, interaction): return state

@attrs.frozen(kw_only=True)
class Asks(Coin):
    path: str

def length(request, candidates):
    import numpy as np
    return np.zeros(len(candidates.ids), np.float32)

TRIALS = {trials}
"""
UNIFORM = "Uniform().probs((), rng, context)"
SKIPS = 'dict(coin=testing.Trial(skip={"learns": "a coin learns nothing"}, num_rounds=500))'


ASKS = {"asks": "acme_coins:Asks"}


def run(*arguments):
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    return caught.value.code or 0


@pytest.fixture
def install(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)

    def write(probs=UNIFORM, trials="{}", **entries):
        source = MODULE.replace("{probs}", probs).replace("{trials}", trials)
        entries = entries or {"policies": {"coin": "acme_coins:Coin"}}
        entries |= {"testing": {"trials": "acme_coins:TRIALS"}}
        write_distribution(tmp_path, "acme-coins", entries, {"acme_coins": source})

    yield write
    sys.modules.pop("acme_coins", None)


def findings(capsys):
    return {(row["name"], row["law"]): (row["outcome"], row["reason"]) for row in json.loads(capsys.readouterr().out)}


def test_it_tells_what_holds_and_what_is_skipped_and_why(install, capsys):
    install(trials=SKIPS)
    assert run("Acme_Coins", "--json") == 0
    found = findings(capsys)
    assert found["coin", "distribution"] == ("pass", "")
    assert found["coin", "learns"] == ("skip", "a coin learns nothing")
    assert found["coin", "engines"][0] == "skip"
    assert "does not run on JAX" in found["coin", "engines"][1]
    assert {outcome for outcome, _ in found.values()} == {"pass", "skip"}


def test_it_exits_with_1_where_a_law_does_not_hold(install, capsys):
    install(probs=UNIFORM + " * 0.9", trials=SKIPS)
    assert run("acme-coins", "--json") == 1
    outcome, reason = findings(capsys)["coin", "distribution"]
    assert outcome == "fail"
    assert "sum" in reason


def test_whatever_a_plugin_raises_is_a_finding(install, capsys):
    install(probs="1 // 0", trials=SKIPS)
    assert run("acme-coins", "--json") == 1
    assert findings(capsys)["coin", "order"][1].startswith("ZeroDivisionError: ")


def test_the_table_has_a_row_for_each_law_and_the_reasons_below(install, capsys):
    install(trials=SKIPS, policies={"coin": "acme_coins:Coin"}, scorers={"length": "acme_coins:length"})
    assert run("acme-coins") == 0
    printed = capsys.readouterr().out
    assert "skipped: learns (coin): a coin learns nothing" in printed
    assert "skipped: engines, batch, strictness, settings (coin): it does not run on JAX" in printed
    assert all(word in printed for word in ("policies", "scorers", "length", "columns", "calibration"))


def test_what_cannot_be_constructed_fails_unless_its_author_says_how(install, capsys):
    install(policies=ASKS)
    assert run("acme-coins", "--json") == 1
    assert "must be given the hyper-parameters ['path']" in findings(capsys)["asks", "construction"][1]


def test_declared_hyper_parameters_are_used(install, capsys):
    install(policies=ASKS, trials='dict(asks=testing.Trial(hyperparameters={"path": "x"}, skip={"learns": "r"}, num_rounds=500))')
    assert run("acme-coins", "--json") == 0
    assert findings(capsys)["asks", "declaration"] == ("pass", "")


@pytest.mark.parametrize(
    ("trials", "message"),
    [
        ("dict(con=testing.Trial())", "must map its plugins, of ['coin'], to Trial"),
        ("dict(coin=3)", "must map its plugins, of ['coin'], to Trial"),
        ("1 // 0", "raises ZeroDivisionError when imported"),
        ('dict(coin=testing.Trial(skip={"honour": "r"}))', "skip must be one of ("),
        ('dict(coin=testing.Trial(skip={"draws": ""}))', "must be the reason why the law does not hold"),
    ],
)
def test_a_declaration_that_is_wrong_is_refused(install, capsys, trials, message):
    install(trials=trials)
    assert run("acme-coins") == 2
    assert message in capsys.readouterr().err


def test_a_distribution_that_is_not_there_is_told_with_the_nearest(install, capsys):
    install()
    assert run("acme-coin") == 2
    assert "named 'acme-coin'. Did you mean 'acme-coins'? Installed: [" in capsys.readouterr().err


def test_python_m_runs_it():
    answer = run_python("-m", "recsdk.testing", "--help")
    assert "DISTRIBUTION" in answer.stdout


def test_a_trial_is_a_value():
    assert Trial() == Trial()
