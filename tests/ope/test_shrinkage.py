"""Weights made smaller, and how far the log itself says to."""

from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsdk import ope
from recsdk.errors import InvalidValue
from tests.ope.coverage_world import World
from tests.ope.logs import log_of, random_log

KINDS = (ope.Clip, ope.Switch, ope.Optimistic, ope.SubGaussian)
WEIGHTS = st.lists(st.floats(0, 1e6), min_size=1, max_size=20).map(np.array)


@given(WEIGHTS, st.sampled_from(KINDS), st.floats(1, 1e4))
def test_no_weight_is_above_the_limit_nor_negative(weights, kind, limit):
    shrunk = kind.with_limit(limit)(weights)
    assert shrunk.shape == weights.shape
    assert (shrunk >= 0).all()
    assert (shrunk <= limit * (1 + 1e-12)).all()


@given(WEIGHTS, st.sampled_from(KINDS))
def test_a_limit_without_end_leaves_the_weights(weights, kind):
    assert kind.with_limit(1e15)(weights) == pytest.approx(weights, rel=1e-6)


@given(st.sampled_from(KINDS), st.floats(1, 1e4))
def test_the_limit_is_reached(kind, limit):
    weights = np.geomspace(1e-3, 1e12, 200_001)
    assert kind.with_limit(limit)(weights).max() == pytest.approx(limit, rel=1e-3)


@given(WEIGHTS, st.sampled_from([ope.Clip, ope.SubGaussian]), st.floats(1, 1e4))
def test_clip_and_subgaussian_keep_the_order_of_weights(weights, kind, limit):
    order = np.argsort(weights)
    assert (np.diff(kind.with_limit(limit)(weights[order])) >= 0).all()


@pytest.mark.parametrize(
    ("kind", "setting"), [(ope.Clip, "limit"), (ope.Switch, "threshold"), (ope.Optimistic, "strength"), (ope.SubGaussian, "share")]
)
@pytest.mark.parametrize("value", [0.0, -1.0, float("nan"), float("inf")])
def test_settings_out_of_range_are_refused(kind, setting, value):
    with pytest.raises(InvalidValue, match=f"{kind.__name__}.{setting} must be a finite number > 0"):
        kind(**{setting: value})


def estimates_of(values, widths):
    """Returns terms of 2 rounds each, with the given values and half widths at 95 %."""
    ends = np.array([-1, 1]) / 1.959963984540054
    return [ope.average(value + width * ends, np.ones(2)) for value, width in zip(values, widths, strict=True)]


@pytest.mark.parametrize(
    ("values", "widths", "place"),
    [
        ([0.0], [1.0], 0),
        ([0.0, 1.9, 1.6], [1.0, 0.5, 0.1], 1),  # off by 1.9 < .5 + 1.449, 1.6 > .1 + 1.449
        ([0.0, 1.9, 1.5], [1.0, 0.5, 0.1], 2),
        ([0.0, 2.0, 1.4], [1.0, 0.5, 0.1], 0),  # that the third is near enough to both is too late
        ([0.0, 0.5, -0.5], [1.0, 0.4, 0.1], 1),  # off the second by 1 > .1 + .58, though near the first
        ([1.6, 0.0, 1.9], [0.1, 1.0, 0.5], 2),  # in whatever order they come
    ],
)
def test_slope_takes_the_narrowest_before_one_is_off_a_wider_one(values, widths, place):
    found = ope.slope(estimates_of(values, widths))
    assert found.place == place
    assert ope.value(found.terms) == pytest.approx(values[place])
    assert [each.value for each in found.estimates] == pytest.approx(values)


def test_slope_needs_a_candidate():
    with pytest.raises(InvalidValue, match="candidates must be at least one, got none"):
        ope.slope([])


@pytest.mark.parametrize("estimator", [ope.ips, ope.dr])
@pytest.mark.parametrize("kind", KINDS)
def test_slope_shrinks_where_that_pays_and_not_where_it_biases(estimator, kind):
    # Rewards of 1 whatever is done: shrinking IPS only takes away. A target far off, with a good model: shrinking DR costs nothing.
    rng = np.random.default_rng(0)
    logging = np.tile([0.02, 0.49, 0.49], (5000, 1))
    action = (logging.cumsum(1) < rng.random((5000, 1))).sum(1).clip(max=2)
    log = log_of(action, rng.normal(1, 0.1, 5000), logging[np.arange(5000), action], num_candidates=3)
    rounds = ope.rounds(log, np.tile([0.8, 0.1, 0.1], (5000, 1)), q_hat=np.ones((5000, 3)))
    found, whole = (ope.delta(terms) for terms in (ope.shrunk(rounds, estimator=estimator, kind=kind), estimator(rounds)))
    if estimator is ope.dr:
        assert found.stderr < 0.4 * whole.stderr
        assert abs(found.value - 1) < 0.01
    else:
        assert abs(found.value - whole.value) < 1.96 * (found.stderr + 1.45 * whole.stderr)  # what SLOPE promises
        assert found.value > 0.5


def test_slope_is_nearer_the_truth_than_the_ends_of_its_ladder():
    errors = {"whole": [], "least": [], "shrunk": []}
    for seed in range(40):
        log, target, value = random_log(seed, size=400, floor=0.02)
        rounds = ope.rounds(log, target, q_hat=np.full(target.shape, 0.7))
        answers = {
            "whole": ope.dr(rounds),
            "least": ope.dr(rounds, shrink=ope.Switch(threshold=1)),
            "shrunk": ope.shrunk(rounds, estimator=ope.dr, kind=ope.Switch),
        }
        for name, terms in answers.items():
            errors[name].append(ope.value(terms) - value)
    rmse = {name: np.sqrt(np.square(found).mean()) for name, found in errors.items()}
    assert rmse["shrunk"] < max(rmse["whole"], rmse["least"])


def test_weights_of_at_most_1_are_left_alone():
    log, _, _ = random_log(0)
    rounds = ope.rounds(log, log.propensity)
    for kind in (ope.Clip, ope.Switch):
        assert ope.value(ope.shrunk(rounds, estimator=ope.ips, kind=kind)) == ope.value(ope.ips(rounds))


@given(st.sampled_from(KINDS), st.floats(1, 100))
def test_self_normalised_estimators_stay_in_the_range_of_rewards(kind, limit):
    log, target, _ = random_log(3, size=50)
    estimators = [partial(ope.snips, shrink=kind.with_limit(limit))]
    rounds = ope.rounds(log, target, q_hat=np.zeros(target.shape))
    for estimator in (*estimators, partial(ope.sndr, shrink=kind.with_limit(limit))):
        assert 0 <= ope.value(estimator(rounds)) <= 1


def test_a_shrunk_estimate_is_nearer_the_truth_on_a_small_log_and_has_no_interval():
    world, rng = World(), np.random.default_rng(0)
    found = {"dr": [], "slope": [], "switch": []}
    for _ in range(60):
        rounds = world.rounds(rng, 1000)
        found["dr"].append(ope.delta(ope.dr(rounds)))
        found["slope"].append(ope.delta(ope.shrunk(rounds, estimator=ope.dr, kind=ope.Switch)))
        found["switch"].append(ope.delta(ope.dr(rounds, shrink=ope.Switch(threshold=10))))
    rmse = {name: np.sqrt(np.mean([(each.value - world.truth) ** 2 for each in estimates])) for name, estimates in found.items()}
    covered = {name: np.mean([each.low <= world.truth <= each.high for each in estimates]) for name, estimates in found.items()}
    assert rmse["slope"] < 0.6 * rmse["dr"]
    assert covered["dr"] > 0.85
    assert max(covered["slope"], covered["switch"]) < 0.15
