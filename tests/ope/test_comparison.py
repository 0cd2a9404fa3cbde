"""Differences of targets on one log, and many of them at once."""

import math

import numpy as np
import pytest

from recsdk import ope
from recsdk.errors import InvalidLog, InvalidValue
from recsdk.ope import comparison, intervals
from recsdk.ope.comparison import _stepdown
from tests.ope.logs import log_of


def uniform_log(rng, size, num_arms, means):
    action = rng.integers(num_arms, size=size)
    reward = (rng.random(size) < np.asarray(means)[action]).astype(float)
    return log_of(action, reward, np.full(size, 1 / num_arms), num_candidates=num_arms)


def arm_terms(log, arm):
    return ope.ips(ope.rounds(log, (log.action == arm).astype(float)))


def mean_reward(log):
    return ope.average(log.reward, log.weight)


def test_a_difference_is_that_of_the_values_and_of_the_influences():
    log = uniform_log(np.random.default_rng(0), 500, 3, [0.2, 0.5, 0.7])
    a, b = ope.snips(ope.rounds(log, (log.action == 2).astype(float))), arm_terms(log, 0)
    found = ope.delta(comparison.difference(a, b))
    assert found.value == pytest.approx(ope.value(a) - ope.value(b), rel=1e-12)
    assert found.stderr == pytest.approx(math.sqrt(((ope.influence(a) - ope.influence(b)) ** 2).sum()), rel=1e-12)


def test_what_moves_both_cancels():
    rng = np.random.default_rng(0)
    both = rng.normal(size=1000)
    a, b = (ope.average(both + 0.1 * rng.normal(size=1000), np.ones(1000)) for _ in range(2))
    found = ope.delta(comparison.difference(a, b))
    assert found.stderr < 0.15 * ope.delta(a).stderr
    assert found.low < 0 < found.high


def test_a_difference_goes_into_any_interval_of_terms():
    log = uniform_log(np.random.default_rng(0), 2000, 2, [0.3, 0.6])
    terms = comparison.difference(arm_terms(log, 1), arm_terms(log, 0))
    for found in (intervals.bootstrap(terms), intervals.moving_block(terms, np.arange(2000))):
        assert found[:4] == pytest.approx(ope.delta(terms)[:4], abs=0.02)


def test_rounds_of_two_logs_are_not_compared():
    some, other = (mean_reward(uniform_log(np.random.default_rng(0), size, 2, [0.3, 0.6])) for size in (10, 11))
    with pytest.raises(InvalidLog, match="both estimates must be of the same rounds, got 10 and 11"):
        comparison.difference(some, other)


def test_those_already_found_do_not_count_against_the_rest():
    found, draws = np.array([1.0, 3.0, 2.0]), np.array([[0.5, 1.5, 0.1], [2.5, 0.2, 0.3], [0.2, 3.5, 0.4], [0.1, 0.1, 0.1]])
    assert _stepdown(found, draws) * 5 == pytest.approx([2, 2, 2])
    assert _stepdown(found[:1], draws[:, :1]) * 5 == pytest.approx([2])


def test_among_many_targets_that_do_not_differ_none_is_found_better_than_it_may():
    rng, num_logs, num_arms = np.random.default_rng(1), 80, 8
    any_adjusted, any_interval, any_alone = [], [], []
    for _ in range(num_logs):
        log = uniform_log(rng, 600, num_arms, np.full(num_arms, 0.4))
        found = comparison.compare({str(arm): arm_terms(log, arm) for arm in range(num_arms)}, mean_reward(log), num_draws=99).values()
        any_adjusted.append(any(each.adjusted < 0.05 for each in found))
        any_interval.append(any(each.difference.low > 0 or each.difference.high < 0 for each in found))
        any_alone.append(any(each.p_value < 0.05 for each in found))
    margin = 0.05 + 3 * math.sqrt(0.05 * 0.95 / num_logs)
    assert np.mean(any_adjusted) <= margin
    assert np.mean(any_interval) <= margin
    assert np.mean(any_alone) > 0.25  # the control: each as if it were the only one


def test_the_one_that_is_better_is_found_among_many():
    log = uniform_log(np.random.default_rng(2), 20_000, 10, [0.2] * 9 + [0.4])
    found = comparison.compare({str(arm): arm_terms(log, arm) for arm in range(10)}, mean_reward(log))
    assert [name for name, each in found.items() if each.adjusted < 0.01 and each.difference.value > 0] == ["9"]
    assert found["9"].difference.low > 0.1


def test_targets_that_are_alike_count_as_one():
    log = uniform_log(np.random.default_rng(3), 5000, 4, [0.3] * 4)
    one = comparison.compare({"a": arm_terms(log, 0)}, mean_reward(log))
    many = comparison.compare({name: arm_terms(log, 0) for name in "abcdefgh"}, mean_reward(log))
    assert many["h"].difference[:4] == pytest.approx(one["a"].difference[:4], rel=1e-5)
    reach = (one["a"].difference.high - one["a"].difference.value) / one["a"].difference.stderr
    assert reach == pytest.approx(1.96, abs=0.12)


def test_the_baseline_does_not_differ_from_itself():
    log = uniform_log(np.random.default_rng(3), 500, 4, [0.3] * 4)
    found = comparison.compare({"same": mean_reward(log), "other": arm_terms(log, 0)}, mean_reward(log))["same"]
    assert (found.difference[:4], found.p_value, found.adjusted) == ((0, 0, 0, 0), 1, 1)


def test_a_difference_without_doubt_is_one():
    better, baseline = ope.average(np.full(5, 0.4), np.ones(5)), ope.average(np.full(5, 0.3), np.ones(5))
    found = comparison.compare({"better": better, "same": baseline._replace(numerator=baseline.numerator * (1 + 1e-15))}, baseline)
    assert [each.p_value for each in found.values()] == [1 / 2001, 1]
    assert found["better"].difference[:4] == pytest.approx((0.1, 0, 0.1, 0.1))


def test_comparisons_that_cannot_be_are_refused():
    terms = mean_reward(uniform_log(np.random.default_rng(3), 50, 2, [0.3] * 2))
    with pytest.raises(InvalidValue, match="at least one target"):
        comparison.compare({}, terms)
    with pytest.raises(InvalidValue, match=r"num_draws must be at least 19 for level 0\.95, got 18"):
        comparison.compare({"a": terms}, terms, num_draws=18)


def test_a_target_that_one_round_carries_alone_is_uncertain_without_end():
    log = uniform_log(np.random.default_rng(0), 500, 3, [0.2, 0.5, 0.7])
    once = np.zeros(500)
    once[7] = 1.0
    found = ope.comparison.compare({"once": ope.snips(ope.rounds(log, once))}, mean_reward(log), num_draws=40)["once"]
    assert (found.difference.low, found.difference.high) == (-math.inf, math.inf)
