"""Logs of several policies."""

import itertools

import numpy as np
import pytest

from recsdk import ope
from recsdk.errors import InvalidLog, InvalidPropensity
from recsdk.ope.checked import take
from tests.ope.logs import log_of

# The example of Agarwal et al. 2017: one logger is near the target, the other far from it.
LOGGERS = np.array([[0.2, 0.8], [0.9, 0.1]])
TARGET = np.array([0.8, 0.2])
MEANS = np.array([10.0, 1.0])
VALUE = float(TARGET @ MEANS)


def two_rounds(actions, prepare=lambda rounds, _: rounds):
    """Returns what IPS says of one round by each logger."""
    logger = np.array([0, 1])
    log = log_of(actions, MEANS[list(actions)], LOGGERS[logger, actions], num_candidates=2)
    rounds = ope.rounds(log, np.tile(TARGET, (2, 1)))
    return ope.value(ope.ips(prepare(rounds, logger)))


def balance(rounds, logger):
    return ope.balanced(rounds, logger=logger, chances=LOGGERS[:, rounds.action].T)


@pytest.mark.parametrize("prepare", [lambda rounds, _: rounds, balance], ids=["own propensity", "balanced"])
def test_it_is_unbiased(prepare):
    every = itertools.product(range(2), repeat=2)
    mean = sum(LOGGERS[0, first] * LOGGERS[1, second] * two_rounds((first, second), prepare) for first, second in every)
    assert mean == pytest.approx(VALUE, rel=1e-12)


def test_balanced_has_less_variance():
    def variance(prepare):
        every = itertools.product(range(2), repeat=2)
        return sum(LOGGERS[0, first] * LOGGERS[1, second] * (two_rounds((first, second), prepare) - VALUE) ** 2 for first, second in every)

    assert variance(balance) < 0.5 * variance(lambda rounds, _: rounds)


def mixed(rng, sizes=(1000, 1000)):
    logger = np.repeat(np.arange(2), sizes)
    action = (rng.random(len(logger)) >= LOGGERS[logger, 0]).astype(np.int64)
    log = log_of(action, MEANS[action] + rng.normal(size=len(action)), LOGGERS[logger, action], num_candidates=2)
    return ope.rounds(log, np.tile(TARGET, (len(action), 1)), q_hat=np.tile(MEANS, (len(action), 1))), logger


def test_a_far_logger_makes_ips_worse_than_throwing_it_away_and_the_others_not():
    rng, errors = np.random.default_rng(0), {"own": [], "near alone": [], "balanced": [], "weighted": []}
    for _ in range(200):
        rounds, logger = mixed(rng)
        answers = {
            "own": rounds,
            "near alone": take(rounds, logger == 1),
            "balanced": balance(rounds, logger),
            "weighted": ope.weighted(rounds, logger=logger),
        }
        for name, each in answers.items():
            errors[name].append(ope.value(ope.ips(each)) - VALUE)
    spread = {name: np.std(found) for name, found in errors.items()}
    assert spread["own"] > 1.3 * spread["near alone"]
    assert spread["balanced"] < 0.7 * spread["own"]
    assert spread["weighted"] < 1.05 * spread["near alone"]
    for name, found in errors.items():
        assert abs(np.mean(found)) < 4 * spread[name] / np.sqrt(200), name


def test_intervals_of_both_cover():
    rng, covered = np.random.default_rng(1), {"balanced": 0, "weighted": 0}
    for _ in range(300):
        rounds, logger = mixed(rng, (500, 300))
        for name, each in (("balanced", balance(rounds, logger)), ("weighted", ope.weighted(rounds, logger=logger))):
            found = ope.delta(ope.ips(each))
            covered[name] += found.low <= VALUE <= found.high
    assert all(count > 300 * 0.91 for count in covered.values()), covered


def test_weighted_is_the_mean_of_the_loggers_answers_by_precision():
    rounds, logger = mixed(np.random.default_rng(2), (300, 200))
    alone = [ope.delta(ope.ips(take(rounds, logger == number))) for number in range(2)]
    precision = [each.stderr**-2 for each in alone]
    expected = np.average([each.value for each in alone], weights=precision)
    assert ope.value(ope.ips(ope.weighted(rounds, logger=logger))) == pytest.approx(expected, rel=1e-12)


def test_one_logger_is_left_as_it_is():
    rounds, _ = mixed(np.random.default_rng(3))
    one = np.zeros(2000, np.int64)
    assert ope.weighted(rounds, logger=one).weight == pytest.approx(rounds.weight)
    found = ope.balanced(rounds, logger=one, chances=rounds.propensity[:, None])
    assert found.propensity == pytest.approx(rounds.propensity)


def test_they_are_for_any_estimator():
    rounds, logger = mixed(np.random.default_rng(4))
    for prepared in (balance(rounds, logger), ope.weighted(rounds, logger=logger, estimator=ope.dr)):
        found = ope.delta(ope.dr(prepared))
        assert abs(found.value - VALUE) < 4 * found.stderr


def test_rounds_count_as_often_as_they_stand_for():
    rounds, logger = mixed(np.random.default_rng(5), (40, 40))
    times = np.where(logger == 0, 3, 1)
    index = np.repeat(np.arange(80), times)
    weighty = balance(rounds._replace(weight=times.astype(float)), logger)
    assert ope.value(ope.ips(weighty)) == pytest.approx(ope.value(ope.ips(balance(take(rounds, index), logger[index]))), rel=1e-12)


def test_what_does_not_fit_the_log_is_refused():
    rounds, logger = mixed(np.random.default_rng(6), (5, 5))
    chances = LOGGERS[:, rounds.action].T
    with pytest.raises(InvalidPropensity, match=r"chances\[0\] must be in \[0, 1\], with the row's propensity"):
        ope.balanced(rounds, logger=logger, chances=chances[:, ::-1])
    with pytest.raises(InvalidPropensity, match=r"chances must be float64\[10, 2\], got \[10, 1\]"):
        ope.balanced(rounds, logger=logger, chances=chances[:, :1])
    with pytest.raises(InvalidPropensity, match=r"chances\[3\] must be in \[0, 1\]"):
        ope.balanced(rounds, logger=logger, chances=np.where(np.arange(10)[:, None] == 3, np.nan, chances))
    for bad in (logger[:3], logger.astype(float), -logger):
        with pytest.raises(InvalidLog, match=r"logger must be int64\[10\] >= 0"):
            ope.weighted(rounds, logger=bad)
    with pytest.raises(InvalidLog, match=r"logger 0 must have rounds whose terms differ, got 5 of no variance. Use balanced."):
        ope.weighted(rounds._replace(reward=np.where(logger == 0, 0.0, rounds.reward)), logger=logger)
