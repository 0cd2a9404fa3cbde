"""Bad calls of `evaluate`: each gets a typed error that names what is wrong."""

import numpy as np
import pytest

import recsdk
from recsdk import ope
from recsdk.errors import InvalidLog, InvalidProbs, InvalidScores, InvalidValue
from tests.ope.logs import random_log

LOG, TARGET, _ = random_log(0, size=200, floor=0.3)


@pytest.mark.parametrize(
    ("log", "error", "message"),
    [
        (None, InvalidLog, r"log must be a recsdk\.Interaction with a leading T, as .* got NoneType"),
        ([1, 2], InvalidLog, r"log must be a recsdk\.Interaction"),
        (LOG._replace(context=None), InvalidLog, r"log.context must be a recsdk\.Context with a leading T"),
        (LOG._replace(reward=None), InvalidLog, "reward must be an array with a leading T, got NoneType"),
        (LOG._replace(action=LOG.action.tolist()), InvalidLog, "action must be an array with a leading T, got list"),
    ],
)
def test_what_is_no_log_is_refused(log, error, message):
    with pytest.raises(error, match=message):
        ope.evaluate(log, TARGET)


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (None, "target must be probabilities, a function from a Context to them, or a Policy, got None"),
        ("lin-ucb", "target must be float64.* got"),
        (TARGET.astype(str), "target must be numbers, got <U"),
        ([*TARGET.tolist()[:-1], ["a"] * 4], "target must be numbers"),
        ([[0.5, 0.5], [1.0]], "target must be an array, got list"),
        ({"a": 1}, "target must be float64"),
    ],
)
def test_what_is_no_target_is_refused(target, message):
    with pytest.raises(InvalidProbs, match=message):
        ope.evaluate(LOG, target)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"level": "0.95"}, r"level must be in \(0, 1\), got '0.95'"),
        ({"level": None}, "level must be in"),
        ({"level": np.nan}, "level must be in"),
        ({"seed": -1}, "seed must be a whole number >= 0, got -1"),
        ({"seed": 1.5}, "seed must be a whole number"),
        ({"default_reward": np.nan}, "default_reward must be a finite number, got nan"),
        ({"default_reward": None}, "default_reward must be a finite number"),
        ({"num_draws": -1}, "num_draws must be a whole number >= 0"),
        ({"num_looks": 0}, "num_looks must be a whole number >= 1"),
        ({"num_decisions": 1}, "num_decisions must be a whole number >= 200"),
        ({"logger": "learning"}, "logger must be one of"),
        ({"rewards": 3}, "rewards must be one of"),
        ({"interval": "percentile"}, "interval must be one of"),
        ({"interval": 0.95}, "interval must be one of"),
        ({"interval": "clopper_pearson"}, "clopper_pearson needs reward_range"),
        ({"interval": "clopper_pearson", "reward_range": (0, 1)}, "clopper_pearson needs max_weight"),
        ({"interval": "clopper_pearson", "reward_range": 1, "max_weight": 9}, "reward_range must be two finite numbers"),
        ({"interval": "clopper_pearson", "reward_range": (0, 1), "max_weight": 9, "estimators": ("dr",)}, "which is of IPS alone"),
        ({"estimators": "ips"}, "estimators must be names among"),
        ({"estimators": 3}, "estimators must be names among"),
        ({"estimators": iter(())}, "estimators must be names among"),
        ({"estimators": ("isp",)}, "estimators must be one of"),
        ({"estimators": (["ips"],)}, "estimators must be one of"),
        ({"estimators": {"mine": 3}}, "estimators must be names among"),
        ({"levl": 0.9}, r"No option is named 'levl'. Did you mean 'level'\?"),
        ({"learn_from": "some"}, "learn_from must be one of"),
    ],
)
def test_an_option_out_of_its_range_is_refused(options, message):
    with pytest.raises(InvalidValue, match=message):
        ope.evaluate(LOG, TARGET, **options)


def test_a_reward_model_that_is_no_array_of_numbers_is_refused():
    with pytest.raises(InvalidScores, match="q_hat must be numbers"):
        ope.evaluate(LOG, TARGET, q_hat=TARGET.astype(str))


def test_estimators_may_come_from_an_iterator():
    assert list(ope.evaluate(LOG, TARGET, estimators=iter(["ips", "dm"])).estimates) == ["ips", "dm"]


def test_options_may_come_as_one_record():
    options = ope.Options(level=0.8, estimators=["snips"])
    found = ope.evaluate(LOG, TARGET, options=options)
    assert found == ope.evaluate(LOG, TARGET, level=0.8, estimators=("snips",))
    assert ope.evaluate(LOG, TARGET, options=options, level=0.9).estimates["snips"].level == 0.9


def test_each_named_interval_is_the_one_of_its_function():
    bounds = {"reward_range": (0, 1), "max_weight": 20}
    rounds = ope.rounds(LOG, TARGET)
    by_name = ope.evaluate(LOG, TARGET, interval="clopper_pearson", **bounds).estimates
    assert by_name == {"ips": ope.intervals.clopper_pearson(ope.intervals.bounded(rounds, **bounds))}
    assert list(ope.evaluate(LOG, TARGET, interval="confidence_sequence", **bounds).estimates) == ["ips"]
    drawn = ope.evaluate(LOG, TARGET, interval="bootstrap", estimators=("snips",), num_draws=99).estimates["snips"]
    assert drawn[:4] == pytest.approx(ope.intervals.bootstrap(ope.snips(rounds), num_draws=99)[:4], rel=1e-5)


def test_dr_is_left_out_where_it_cannot_be_had_and_that_is_said():
    bare = LOG._replace(context=LOG.context._replace(features=np.zeros((200, 4, 0))))
    found = ope.evaluate(bare, TARGET)
    assert (list(found.estimates), found.notes) == (["ips", "snips"], (found.notes[0],))
    assert "no features" in found.notes[0]
    single = ope.evaluate(LOG, TARGET[np.arange(200), LOG.action])
    assert list(single.estimates) == ["ips", "snips"]
    assert "of the logged action alone" in single.notes[0]
    assert list(ope.evaluate(bare, TARGET, q_hat=TARGET).estimates) == ["ips", "snips", "dr"]
    assert ope.evaluate(LOG, TARGET).notes == ()


def test_corrected_rounding_errors_are_said():
    found = ope.evaluate(LOG, TARGET.round(6), estimators=("ips",))
    assert "rounding errors of given probabilities were corrected in" in found.notes[0]
    assert "rounding errors" in found._repr_html_()


def test_a_short_log_is_replayed_on_numpy(monkeypatch):
    engines = []
    monkeypatch.setattr("recsdk.drivers.loop.run", lambda *args, engine, **more: engines.append(engine))
    for log in (LOG, random_log(0, size=20_001)[0]):
        with pytest.raises(TypeError):
            ope.evaluate(log, recsdk.WithFloor(policy=recsdk.LinUCB()))
    assert engines == ["numpy", "jax"]


def test_an_estimate_is_shown_with_four_digits():
    assert repr(ope.Estimate(0.3762398525, 0.0123456, 0.352, 0.4, 0.95)) == (
        "Estimate(value=0.3762, stderr=0.01235, low=0.352, high=0.4, level=0.95)"
    )
