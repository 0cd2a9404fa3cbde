"""Refusals: each says the field, the value and what would be right."""

import attrs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsdk import Context, Interaction
from recsdk.checks import (
    check_context,
    check_interaction,
    check_log,
    check_probs,
    check_reward,
    integer,
    number,
    plain_array,
    require_integer,
)
from recsdk.errors import EmptyLog, InvalidContext, InvalidLog, InvalidProbs, InvalidPropensity, InvalidReward, InvalidValue


@attrs.frozen(kw_only=True)
class Config:
    share: float = attrs.field(default=0.5, validator=number(above=0, at_most=1))
    scale: float = attrs.field(default=1.0, validator=number(at_least=0))
    free: float = attrs.field(default=0.0, validator=number())
    count: int = attrs.field(default=1, validator=integer(at_least=1))


@pytest.mark.parametrize(
    ("field", "value", "wanted"),
    [
        ("share", 0, "a finite number > 0 and <= 1"),
        ("share", 1.0000001, "a finite number > 0 and <= 1"),
        ("share", float("nan"), "a finite number > 0 and <= 1"),
        ("share", True, "a finite number > 0 and <= 1"),
        ("share", "0.5", "a finite number > 0 and <= 1"),
        ("scale", -1e-300, "a finite number >= 0"),
        ("scale", float("inf"), "a finite number >= 0"),
        ("free", float("-inf"), "a finite number"),
        ("free", None, "a finite number"),
        ("count", 0, "a whole number >= 1"),
        ("count", 1.0, "a whole number >= 1"),
        ("count", True, "a whole number >= 1"),
    ],
)
def test_a_config_refuses_a_bad_value_when_it_is_made(field, value, wanted):
    with pytest.raises(InvalidValue) as refusal:
        Config(**{field: value})
    assert str(refusal.value) == f"Config.{field} must be {wanted}, got {value!r}."


@pytest.mark.parametrize("fields", [{"share": 1}, {"share": 1e-300}, {"scale": 0}, {"free": -1e300}, {"count": np.int64(3)}])
def test_a_config_takes_the_ends_of_a_range(fields):
    Config(**fields)


def test_an_argument_that_is_no_whole_number_is_named():
    with pytest.raises(InvalidValue, match=r"num_rounds must be a whole number >= 1, got 2\.5"):
        require_integer("num_rounds", 2.5, at_least=1)


@given(st.lists(st.floats(0.01, 1), min_size=1, max_size=30))
def test_a_distribution_passes(weights):
    probs = np.array(weights) / np.sum(weights)
    check_probs(probs, probs.sum(), np.ones(len(probs), bool))


@pytest.mark.parametrize("excess", [1e-8, -1e-8])
def test_a_sum_that_is_off_by_more_than_rounding_is_refused(excess):
    with pytest.raises(InvalidProbs):
        check_probs(np.array([0.5, 0.5 + excess]), 1 + excess, np.ones(2, bool))


@given(st.lists(st.floats(allow_nan=True, allow_infinity=True), min_size=1, max_size=5))
def test_whatever_passes_is_a_distribution(values):
    probs = np.array(values)
    with np.errstate(all="ignore"):
        total = probs.sum()
    try:
        check_probs(probs, total, np.ones(len(probs), bool))
    except InvalidProbs:
        return
    assert np.isfinite(probs).all()
    assert (probs >= 0).all()
    assert total == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize("reward", [float("nan"), float("inf"), True, None, "1", [1.0], np.array([1.0, 2.0]), np.bool_(True), 1j])
def test_a_reward_that_is_no_finite_number_is_refused(reward):
    with pytest.raises(InvalidReward, match="reward must be a finite number, got "):
        check_reward(reward)


@pytest.mark.parametrize("reward", [0, -1, 1e300, np.float32(0.5), np.int64(3)])
def test_a_finite_reward_passes(reward):
    check_reward(reward)


def context(num=4, dim=3):
    return Context(np.random.default_rng(0).standard_normal((num, dim)), np.ones(num, bool), np.arange(num))


def interaction(**changes):
    return Interaction(context(), np.int64(2), np.float64(1), np.float64(0.25), np.float64(1))._replace(**changes)


BAD_CONTEXTS = [
    ({"features": np.zeros((4, 3), np.float32)}, r"features must be float64\[K, D\] with K = 4 as in mask, got float32\[4, 3\]"),
    ({"features": np.zeros((3, 3))}, r"features must be float64\[K, D\] with K = 4 as in mask, got float64\[3, 3\]"),
    ({"features": np.zeros(4)}, r"features must be float64\[K, D\] with K = 4 as in mask, got float64\[4\]"),
    ({"mask": np.ones(4)}, r"mask must be bool\[K\], got float64\[4\]"),
    ({"mask": np.ones((4, 1), bool)}, r"features must be float64\[K, D\]"),
    ({"item": np.arange(4.0)}, r"item must be int64\[4\] as mask, got float64\[4\]"),
    ({"item": np.arange(3)}, r"item must be int64\[4\] as mask, got int64\[3\]"),
]


@pytest.mark.parametrize(("changes", "message"), BAD_CONTEXTS)
def test_a_context_whose_arrays_do_not_fit_is_refused(changes, message):
    with pytest.raises(InvalidContext, match=message):
        check_context(context()._replace(**changes))
    with pytest.raises(InvalidContext, match=message):
        check_interaction(interaction(context=context()._replace(**changes)))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_feature_that_is_not_finite_is_found(value):
    features = context().features
    features[2, 1] = value
    with pytest.raises(InvalidContext, match=rf"features must be finite, got features\[2, 1\] = {value}"):
        check_context(context()._replace(features=features))
    with pytest.raises(InvalidContext, match=r"features\[2, 1\]"):
        check_interaction(interaction(context=context()._replace(features=features)))


def test_features_whose_sum_alone_overflows_pass():
    huge = context()._replace(features=np.full((4, 3), 1e308))
    with np.errstate(over="ignore"):
        check_context(huge)
        check_interaction(interaction(context=huge))


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"reward": np.float64(np.inf)}, InvalidReward, r"reward must be a finite number, got .*inf"),
        ({"propensity": np.float64(0)}, InvalidPropensity, r"propensity must be in \(0, 1\], got .*0\.0"),
        ({"propensity": np.float64(1.5)}, InvalidPropensity, r"propensity must be in \(0, 1\], got .*1\.5"),
        ({"propensity": np.float64(np.nan)}, InvalidPropensity, r"propensity must be in \(0, 1\], got .*nan"),
        ({"weight": np.float64(-1)}, InvalidValue, r"weight must be finite and >= 0, got .*-1"),
        ({"weight": np.float64(np.inf)}, InvalidValue, r"weight must be finite and >= 0, got .*inf"),
        ({"action": np.int64(-1)}, InvalidContext, r"action must be the index of a real candidate, one of \[0 1 2 3\], got -1"),
        ({"action": np.int64(4)}, InvalidContext, r"action must be the index of a real candidate, one of \[0 1 2 3\], got 4"),
        (
            {"context": context()._replace(mask=np.array([True, True, False, True]))},
            InvalidContext,
            r"action must be the index of a real candidate, one of \[0 1 3\], got 2",
        ),
    ],
)
def test_a_bad_round_is_refused(changes, error, message):
    with pytest.raises(error, match=message):
        check_interaction(interaction(**changes))


@pytest.mark.parametrize("changes", [{"weight": 0.0}, {"propensity": 1.0}, {"propensity": 5e-324}, {"reward": -1e300}, {"action": 0}])
def test_a_round_at_the_ends_of_the_ranges_passes(changes):
    check_interaction(interaction(**changes))


def log(num_rounds=5):
    rounds = np.arange(num_rounds)
    stacked = Context(*(np.stack([field] * num_rounds) if num_rounds else field[:0] for field in context()))
    return Interaction(stacked, rounds % 4, np.ones(num_rounds), np.full(num_rounds, 0.25), np.ones(num_rounds))


def spoilt(field, value):
    column = getattr(log(), field).copy()
    column[[3, 4]] = value
    return log()._replace(**{field: column})


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("action", 4, r"action must be in \[0, 3\], got 4 in row 3 \(2 of 5 rows are bad\)"),
        ("action", -1, r"action must be in \[0, 3\], got -1 in row 3"),
        ("reward", np.nan, r"reward must be a finite number, got nan in row 3"),
        ("propensity", 0.0, r"propensity must be in \(0, 1\], got 0.0 in row 3"),
        ("propensity", 1.1, r"propensity must be in \(0, 1\], got 1.1 in row 3"),
        ("propensity", np.nan, r"propensity must be in \(0, 1\], got nan in row 3"),
        ("weight", -1.0, r"weight must be finite and >= 0, got -1.0 in row 3"),
        ("weight", np.inf, r"weight must be finite and >= 0, got inf in row 3"),
    ],
)
def test_a_bad_row_of_a_log_is_named(field, value, message):
    with pytest.raises(InvalidLog, match=message):
        check_log(spoilt(field, value))


def test_a_row_with_an_action_on_padding_is_named():
    mask = np.ones((5, 4), bool)
    mask[1, 1] = False
    with pytest.raises(InvalidLog, match="action must be a real candidate, not padding, got 1 in row 1"):
        check_log(log()._replace(context=log().context._replace(mask=mask)))


def test_a_row_with_a_feature_that_is_not_finite_is_named():
    features = log().context.features
    features[2, 0, 0] = np.inf
    with pytest.raises(InvalidLog, match=r"context.features must be finite, got inf in row 2"):
        check_log(log()._replace(context=log().context._replace(features=features)))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"action": np.zeros(5)}, r"action must be int64\[5\], got float64\[5\]"),
        ({"reward": np.ones(4)}, r"reward must be float64\[5\], got float64\[4\]"),
        ({"propensity": np.ones((5, 1))}, r"propensity must be float64\[5\], got float64\[5, 1\]"),
        ({"weight": np.ones(5, np.float32)}, r"weight must be float64\[5\], got float32\[5\]"),
        ({"context": log().context._replace(item=np.zeros((5, 4)))}, r"context.item must be int64\[5, 4\], got float64\[5, 4\]"),
        (
            {"context": log().context._replace(features=np.zeros((5, 3)))},
            r"context.features must be float64\[5, 4, 3\], got float64\[5, 3\]",
        ),
        ({"context": Context(np.zeros((5, 3)), np.ones(5, bool), np.arange(5))}, r"context.mask must be bool\[T, K\], got bool\[5\]"),
    ],
)
def test_a_log_whose_arrays_do_not_fit_is_refused(changes, message):
    with pytest.raises(InvalidLog, match=message):
        check_log(log()._replace(**changes))


def test_a_log_without_rows_is_refused():
    with pytest.raises(EmptyLog, match="log must have at least one row"):
        check_log(log(0))


def test_a_good_log_passes():
    check_log(log())


def test_a_masked_array_without_masked_entries_is_an_array():
    with pytest.raises(InvalidLog, match=r"x\[0\] must be a value, got a masked one"):
        plain_array("x", np.ma.masked)
    assert type(plain_array("x", np.ma.array([1.0, 2.0]))) is np.ndarray


@pytest.mark.parametrize("place", ["reward", "propensity", "weight", "action"])
def test_a_log_with_a_masked_value_is_refused_as_one_with_nan(place):
    masked = np.ma.array(getattr(log(), place), mask=np.arange(len(log().reward)) == 1)
    with pytest.raises(InvalidLog, match=rf"{place}\[1\] must be a value, got a masked one"):
        check_log(log()._replace(**{place: masked}))


def test_a_context_with_a_masked_feature_is_refused():
    features = np.ma.array(np.ones((2, 1)), mask=[[False], [True]])
    with pytest.raises(InvalidContext, match=r"features\[1\] must be a value, got a masked one"):
        check_context(Context(features, np.ones(2, bool), np.arange(2)))
