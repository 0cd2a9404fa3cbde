"""Intervals by bounds against known answers and laws, what they refuse, and which interval is valid when."""

import math
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsdk import datasets, ope
from recsdk.errors import InvalidLog, InvalidReward, InvalidValue
from recsdk.ope import intervals
from recsdk.ope.intervals.bounds import beta_quantile, f_quantile
from recsdk.ope.options import INTERVALS
from tests.ope.logs import log_of
from tests.ope.samples import some_rounds

BY_BOUNDS = (intervals.empirical_bernstein, intervals.clopper_pearson, intervals.empirical_likelihood)
SEQUENCES = (intervals.confidence_sequence, intervals.drifting_sequence)


@pytest.fixture(scope="module")
def open_bandit():
    """The sample's random log beside Bernoulli-TS: row 1 of the reference table, with Vowpal Wabbit's intervals of it."""
    log, position = datasets.load_open_bandit("random", num_hashed=0)
    return ope.rounds(log, datasets.bernoulli_ts_probs(position))


@pytest.mark.parametrize(("share", "a", "b"), [(0.025, 2.3, 500), (0.975, 3.3, 9998), (0.5, 0.5, 0.5), (0.01, 1e6, 1e6), (0.99, 1, 1)])
def test_quantiles_of_the_beta_distribution_are_scipys(share, a, b):
    stats = pytest.importorskip("scipy.stats")
    assert beta_quantile(share, a, b) == pytest.approx(stats.beta.ppf(share, a, b), rel=1e-9)


@pytest.mark.parametrize("size", [1, 10, 10**6])
def test_quantiles_of_the_f_distribution_are_scipys(size):
    stats = pytest.importorskip("scipy.stats")
    assert f_quantile(0.95, size) == pytest.approx(stats.f.ppf(0.95, 1, size), rel=1e-8)


def test_the_normal_interval_on_open_bandit_is_vowpal_wabbits(open_bandit):
    found = ope.delta(ope.ips(open_bandit))
    assert (found.low, found.high) == pytest.approx((0.000457, 0.008649), abs=5e-7)


def test_the_cressie_read_interval_on_open_bandit_is_vowpal_wabbits(open_bandit):
    # Theirs had no bound of the weights.
    found = intervals.empirical_likelihood(intervals.bounded(open_bandit, max_weight=1e9, reward_range=(0.0, 1.0)))
    assert (found.low, found.high) == pytest.approx((0.000457, 0.093271), abs=5e-7)


def test_clopper_and_pearsons_ends_on_open_bandit_are_vowpal_wabbits(open_bandit):
    # Theirs takes n / max_weight tosses, of which as many win as importance-weighted rewards; ours n, and is wider where all rewards are 1.
    weight = ope.importance(open_bandit)
    wins, tosses = (weight * open_bandit.reward).sum() / weight.max(), len(weight) / weight.max()
    ends = (beta_quantile(0.025, wins, tosses - wins + 1), beta_quantile(0.975, wins + 1, tosses - wins))
    assert ends == pytest.approx((0.000687, 0.015074), abs=5e-7)


def test_of_a_coin_clopper_and_pearsons_interval_is_theirs_at_a_share_e_smaller():
    stats = pytest.importorskip("scipy.stats")
    reward = np.repeat([0.0, 1.0], [83, 17])
    rounds = ope.rounds(log_of(np.zeros(100, int), reward, np.ones(100), num_candidates=1), np.ones(100))
    found = intervals.clopper_pearson(intervals.bounded(rounds, max_weight=1, reward_range=(0.0, 1.0)))
    assert (found.low, found.high) == pytest.approx(stats.binomtest(17, 100).proportion_ci(1 - 0.05 / math.e), rel=1e-9)


def test_the_empirical_bernstein_interval_is_maurers_and_pontils():
    rounds, bound = some_rounds(), 80.0
    found = intervals.empirical_bernstein(intervals.bounded(rounds, max_weight=bound, reward_range=(0.0, 1.0)), level=0.9)
    gain = ope.importance(rounds) * rounds.reward / bound
    reach = math.sqrt(2 * gain.var(ddof=1) * math.log(40) / gain.size) + 7 * math.log(40) / (3 * (gain.size - 1))
    assert (found.low, found.high) == pytest.approx((bound * (gain.mean() - reach), min(bound * (gain.mean() + reach), 1)), rel=1e-9)


@pytest.mark.parametrize("interval", BY_BOUNDS)
def test_intervals_by_bounds_of_shards_add_up(interval):
    rounds = some_rounds()
    whole, first, last = (
        intervals.bounded(
            ope.Rounds(*(None if field is None else field[rows] for field in rounds)), max_weight=80, reward_range=(-1.0, 2.0)
        )
        for rows in (slice(None), slice(0, 700), slice(700, None))
    )
    assert interval(intervals.join(first, last)) == pytest.approx(interval(whole), rel=1e-9)


@pytest.mark.parametrize("interval", BY_BOUNDS)
def test_intervals_by_bounds_scale_with_the_rewards(interval):
    rounds = some_rounds()
    found = interval(intervals.bounded(rounds, max_weight=80, reward_range=(0.0, 1.0)))
    scaled = interval(intervals.bounded(rounds._replace(reward=5 * rounds.reward - 3), max_weight=80, reward_range=(-3.0, 2.0)))
    assert (scaled.value, scaled.low, scaled.high) == pytest.approx([5 * each - 3 for each in (found.value, found.low, found.high)])


def test_the_likelihood_interval_does_not_care_which_reward_is_called_good():
    rounds = some_rounds()
    found, mirrored = (
        intervals.empirical_likelihood(intervals.bounded(each, max_weight=80, reward_range=(0.0, 1.0)))
        for each in (rounds, rounds._replace(reward=1 - rounds.reward))
    )
    assert (mirrored.value, mirrored.low, mirrored.high) == pytest.approx((1 - found.value, 1 - found.high, 1 - found.low))


def test_the_likelihood_interval_of_a_log_on_policy_is_about_students():
    reward = np.random.default_rng(0).random(500)
    rounds = ope.rounds(log_of(np.zeros(500, int), reward, np.ones(500), num_candidates=1), np.ones(500))
    found, plain = (
        intervals.empirical_likelihood(intervals.bounded(rounds, max_weight=1, reward_range=(0.0, 1.0))),
        ope.delta(ope.ips(rounds)),
    )
    assert found[:4] == pytest.approx(plain[:4], abs=5e-3)


@pytest.mark.parametrize("interval", BY_BOUNDS)
@pytest.mark.parametrize("reward", [0.0, 1.0])
def test_intervals_by_bounds_stay_within_the_range_and_know_of_doubt(interval, reward):
    rounds = some_rounds(size=300)
    found = interval(intervals.bounded(rounds._replace(reward=np.full(300, reward)), max_weight=80, reward_range=(0.0, 1.0)))
    assert 0 <= found.low <= reward <= found.high <= 1
    assert found.high - found.low > 0.01


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 20), st.integers(0, 2**32 - 1), st.sampled_from([1.0, 10.0]), st.sampled_from([0.5, 0.95]))
def test_the_ends_are_in_order_and_in_the_range_however_few_the_rounds(size, seed, times, level):
    rng = np.random.default_rng(seed)
    reward = rng.choice([rng.random(size), rng.integers(2, size=size), np.full(size, 0.3)])
    weight = rng.choice([rng.exponential(size=size), np.ones(size), 10.0 * (rng.random(size) < 0.2)])
    rounds = ope.rounds(log_of(np.zeros(size, int), reward, np.full(size, 1e-3), num_candidates=1), np.minimum(1e-3 * weight, 1))
    sums = intervals.bounded(rounds, max_weight=times * max(1, weight.max()), reward_range=(0.0, 1.0))
    for interval in BY_BOUNDS:
        found = interval(sums, level=level)
        assert 0 <= found.low <= found.high <= 1
        # Where IPS is far above the greatest reward, all of Clopper's and Pearson's interval lies above it, and is cut to its end.
        cut = interval is intervals.clopper_pearson and found.low == found.high == 1 < found.value
        assert found.low < found.high or cut or interval is intervals.empirical_likelihood


def test_a_clopper_pearson_interval_above_the_range_is_cut_to_its_end():
    target = np.repeat([0.01, 0.0], [6, 8])  # six rounds of weight 10 where 1.4 are expected
    rounds = ope.rounds(log_of(np.zeros(14, int), np.repeat([1.0, 0.0], [4, 10]), np.full(14, 1e-3), num_candidates=1), target)
    found = intervals.clopper_pearson(intervals.bounded(rounds, max_weight=10, reward_range=(0.0, 1.0)), level=0.5)
    lowest = 10 * beta_quantile(0.25 / math.e, 4, 11)
    assert found.value > lowest > 1
    assert (found.low, found.high) == (1.0, 1.0)


@pytest.mark.parametrize("max_weight", [0.5, 3.0, math.inf, math.nan])
@pytest.mark.parametrize("reader", [intervals.bounded, *SEQUENCES])
def test_a_largest_weight_that_cannot_be_is_refused(reader, max_weight):
    with pytest.raises(InvalidValue, match="max_weight must be finite, at least 1 and at least "):
        reader(some_rounds(), max_weight=max_weight, reward_range=(0.0, 1.0))


@pytest.mark.parametrize("reader", [intervals.bounded, *SEQUENCES])
def test_what_is_out_of_the_declared_bounds_is_refused(reader):
    rounds = some_rounds()
    reward = rounds.reward.copy()
    reward[7] = 1.5
    with pytest.raises(InvalidReward, match=r"reward\[7\] must be in the declared range \[0.0, 1.0\], got 1.5"):
        reader(rounds._replace(reward=reward), max_weight=100, reward_range=(0.0, 1.0))
    with pytest.raises(InvalidValue, match="reward_range must be two finite numbers, the lower first"):
        reader(rounds, max_weight=100, reward_range=(1.0, 1.0))
    with pytest.raises(InvalidLog, match=r"weight\[1\] must be 1.0 like weight\[0\], got 2.0"):
        reader(rounds._replace(weight=np.where(np.arange(2000) == 1, 2.0, 1.0)), max_weight=100, reward_range=(0.0, 1.0))


def test_parts_of_other_bounds_are_not_joined():
    some, other = (intervals.bounded(some_rounds(), max_weight=bound, reward_range=(0.0, 1.0)) for bound in (80, 90))
    with pytest.raises(InvalidValue, match="parts must have the same max_weight and reward_range"):
        intervals.join(some, other)


@pytest.mark.parametrize(
    ("interval", "situation", "reasons"),
    [
        ("delta", {"effective_size": 5000}, []),
        ("delta", {"effective_size": 37}, ["use empirical_likelihood or confidence_sequence"]),
        ("bootstrap", {"effective_size": 4}, ["use clopper_pearson or confidence_sequence"]),
        ("delta", {"effective_size": math.nan}, ["effective size is nan"]),
        ("delta", {"effective_size": 5000, "num_looks": 16}, ["holds for one look at the log, and there were 16: use confidence_sequence"]),
        (
            "bootstrap",
            {"effective_size": 5000, "logger": "adaptive"},
            ["learned from the log: use confidence_sequence, or in Python"],
        ),
        ("delta", {"effective_size": 5000, "rewards": "dependent"}, ["use moving_block or drifting_sequence"]),
        ("moving_block", {"effective_size": 5000, "rewards": "dependent"}, []),
        ("empirical_likelihood", {"effective_size": 37}, []),
        ("clopper_pearson", {"effective_size": 1, "logger": "adaptive", "num_looks": 2}, ["one look at the log, and there were 2"]),
        ("confidence_sequence", {"effective_size": 1, "logger": "adaptive", "num_looks": 9}, []),
        ("confidence_sequence", {"effective_size": 1, "rewards": "dependent"}, ["use moving_block or drifting_sequence"]),
        ("drifting_sequence", {"effective_size": 1, "logger": "adaptive", "rewards": "dependent", "num_looks": 9}, []),
        ("delta", {"effective_size": 5, "logger": "adaptive", "num_looks": 2}, ["one look at the log", "learned", "effective size is 5.0"]),
    ],
)
def test_an_interval_says_where_it_does_not_hold(interval, situation, reasons):
    found = intervals.caveats(interval, **situation)
    assert len(found) == len(reasons)
    assert all(reason in each for each, reason in zip(found, reasons, strict=True))


@pytest.mark.parametrize("interval", INTERVALS)
def test_what_is_advised_can_be_typed(interval):
    adverse = {"num_looks": 2, "logger": "adaptive", "rewards": "dependent"}
    text = " ".join(reason for size in (5, 500) for reason in intervals.caveats(interval, effective_size=size, **adverse))
    for name in re.findall(r"(?:use|or) (\w+_\w+)", text):
        assert ope.Options(interval=name).interval_name == name
    for function in re.findall(r"`recsdk\.(ope\.intervals)\.(\w+)`", text):
        assert callable(getattr(intervals, function[1]))


def test_what_is_said_of_intervals_is_said_of_all_that_there_are():
    assert set(intervals.VALIDITY) == {"delta", *(name for name in intervals.__all__ if _is_interval(getattr(intervals, name)))}


def _is_interval(found):
    return getattr(found, "__annotations__", {}).get("return") in ("Estimate", "Sequence") and found is not intervals.studentised


@pytest.mark.parametrize("wrong", [{"interval": "wald"}, {"logger": "bandit"}, {"rewards": "none"}, {"num_looks": 0}])
def test_situations_that_cannot_be_are_refused(wrong):
    with pytest.raises(InvalidValue, match=f"{next(iter(wrong))} must be"):
        intervals.caveats(**{"interval": "delta", "effective_size": 1.0, **wrong})
