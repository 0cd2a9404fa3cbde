"""Confidence sequences and weights for the logs of learners."""

import math

import numpy as np
import pytest

from recsdk import datasets, ope
from recsdk.errors import InvalidValue
from recsdk.ope import intervals
from tests.ope.logs import log_of
from tests.ope.samples import some_rounds, some_terms

SEQUENCES = (intervals.confidence_sequence, intervals.drifting_sequence)


@pytest.fixture(scope="module")
def open_bandit():
    """The sample's random log beside Bernoulli-TS: row 1 of the reference table, with Vowpal Wabbit's intervals of it."""
    log, position = datasets.load_open_bandit("random", num_hashed=0)
    return ope.rounds(log, datasets.bernoulli_ts_probs(position))


def test_the_sequence_on_open_bandit_is_a_little_narrower_than_vowpal_wabbits(open_bandit):
    found = intervals.drifting_sequence(open_bandit, reward_range=(0.0, 1.0), looks=[10_000])
    assert found.low[0] == pytest.approx(0, abs=1e-7)
    assert 0.12 < found.high[0] < 0.141195


def test_a_known_largest_weight_pays_in_a_sequence_of_rare_rewards(open_bandit):
    found = intervals.confidence_sequence(open_bandit, reward_range=(0.0, 1.0), max_weight=20, looks=[10_000])
    assert found.low[0] < 0.0042 < found.high[0] < 0.03


@pytest.mark.parametrize("sequence", SEQUENCES)
@pytest.mark.parametrize("max_weight", [None, 80.0])
def test_looks_do_not_change_what_is_seen(sequence, max_weight):
    rounds, options = some_rounds(), {"reward_range": (0.0, 1.0), "max_weight": max_weight}
    often, once = sequence(rounds, **options), sequence(rounds, looks=[2000], **options)
    assert (often.num_rounds[0], often.num_rounds[-1]) == (10, 2000)
    assert (often.low[-1], often.high[-1]) == pytest.approx((once.low[0], once.high[0]), abs=1e-6)
    assert (often.low < often.value).all()
    assert (often.value < often.high).all()
    start = sequence(ope.Rounds(*(None if field is None else field[:500] for field in rounds)), looks=[500], **options)
    whole = sequence(rounds, looks=[500, 2000], **options)
    assert (start.low[0], start.high[0]) == pytest.approx((whole.low[0], whole.high[0]), abs=2e-3)


def test_gains_in_bins_make_a_sequence_a_little_wider_and_never_narrower():
    rounds = some_rounds(size=800)
    found = intervals.confidence_sequence(rounds, reward_range=(0.0, 1.0), looks=[800])
    gain, shares = ope.importance(rounds) * rounds.reward, np.geomspace(1e-6, 0.9, 32)[:, None]

    def wealth(value):
        return np.exp(np.log1p(shares * (gain / value - 1)).sum(1)).mean()

    assert wealth(found.low[0]) >= 40 * (1 - 1e-6)  # so it is out
    assert wealth(found.low[0] + 0.002) < 40


def test_a_drifting_sequence_measures_each_gain_from_the_mean_before_it():
    rounds = some_rounds(size=400)
    found = intervals.drifting_sequence(rounds, reward_range=(0.0, 1.0), looks=[400])
    gain, rates = ope.importance(rounds) * rounds.reward, np.geomspace(1e-6, 0.9, 32)
    squares = sum((each - min((gain[:row].sum() + 0.5) / (row + 1), 1)) ** 2 for row, each in enumerate(gain))

    def wealth(value):
        return np.exp(rates * (gain.sum() - 400 * value) + (np.log1p(-rates) + rates) * squares).mean()

    assert found.low[0] > 0
    assert wealth(found.low[0]) == pytest.approx(40, rel=1e-5)


def test_in_a_world_that_changes_the_drifting_sequence_follows_the_average():
    size = 4000
    means = np.repeat([0.2, 0.9], size // 2)
    reward = (np.random.default_rng(0).random(size) < means).astype(float)
    rounds = ope.rounds(log_of(np.zeros(size, int), reward, np.ones(size), num_candidates=1), np.ones(size))
    found = intervals.drifting_sequence(rounds, reward_range=(0.0, 1.0), max_weight=1)
    average = means.cumsum()[found.num_rounds - 1] / found.num_rounds
    assert ((found.low <= average) & (average <= found.high)).all()


def test_rounds_that_cannot_be_make_ends_that_cross():
    rounds = some_rounds(size=300)
    found = intervals.confidence_sequence(rounds._replace(target=rounds.target / 100), reward_range=(0.0, 1.0), max_weight=2)
    assert found.low[-1] > found.high[-1]


@pytest.mark.parametrize("looks", [[], [0, 1], [5, 5], [3000], [1.5]])
def test_looks_that_cannot_be_are_refused(looks):
    with pytest.raises(InvalidValue, match=r"looks must be increasing whole numbers in \[1, 2000\]"):
        intervals.drifting_sequence(some_rounds(), reward_range=(0.0, 1.0), looks=looks)


def thompson_logs(num_logs, size, floor, seed):
    """Plays two arms of .7 and .5 by Thompson's rule; f64[T, logs]: chance of the worse arm, whether taken, reward, its mean so far."""
    rng = np.random.default_rng(seed)
    wins, losses, every = np.ones((num_logs, 2)), np.ones((num_logs, 2)), np.arange(num_logs)
    rows = []
    for _ in range(size):
        drawn = rng.beta(wins[..., None], losses[..., None], (num_logs, 2, 32))
        chance = (drawn[:, 1] > drawn[:, 0]).mean(1).clip(floor, 1 - floor)
        arm = (rng.random(num_logs) < chance).astype(int)
        reward = (rng.random(num_logs) < np.array([0.7, 0.5])[arm]).astype(float)
        rows.append((chance, arm, reward, wins[:, 1] / (wins + losses)[:, 1]))
        wins[every, arm] += reward
        losses[every, arm] += 1 - reward
    return np.array(rows).swapaxes(0, 1)


def test_weights_that_even_out_the_variance_narrow_the_interval_of_an_adaptive_log_and_it_covers():
    chance, arm, reward, mean = thompson_logs(200, 400, 0.05, seed=0)
    plain, weighted = [], []
    for number in range(200):
        rho = arm[:, number] / chance[:, number]
        terms = ope.average(mean[:, number] + rho * (reward[:, number] - mean[:, number]), np.ones(400))
        plain.append(ope.delta(terms))
        weighted.append(intervals.adaptively_weighted(terms, intervals.trailing_variance(1 / chance[:, number])))
    assert np.mean([each.low <= 0.5 <= each.high for each in weighted]) >= 0.95 - 3 * math.sqrt(0.95 * 0.05 / 200)
    assert np.mean([each.high - each.low for each in weighted]) < 0.95 * np.mean([each.high - each.low for each in plain])


def test_a_sequence_holds_for_a_logger_that_learns_and_without_a_floor_worth_the_name():
    chance, arm, reward, _ = thompson_logs(60, 400, 0.005, seed=1)
    missed = []
    for number in range(60):
        propensity = np.where(arm[:, number], chance[:, number], 1 - chance[:, number])
        log = log_of(arm[:, number], reward[:, number], propensity, num_candidates=2)
        found = intervals.confidence_sequence(ope.rounds(log, arm[:, number]), reward_range=(0.0, 1.0), looks=[20, 50, 100, 200, 400])
        missed.append(((found.low > 0.5) | (found.high < 0.5)).any())
    assert np.mean(missed) <= 0.05


def test_equal_variances_change_nothing():
    for terms in some_terms():
        assert intervals.adaptively_weighted(terms, np.full(2000, 3.0)) == pytest.approx(ope.delta(terms), rel=1e-9)


def test_a_rounds_own_spread_is_not_in_its_variance():
    spread = np.random.default_rng(0).random(50) + 1
    assert intervals.trailing_variance(spread)[1:].tolist() == pytest.approx(spread[:-1].tolist())
    assert intervals.trailing_variance(spread, window=3)[[0, 1, 2, 9]] == pytest.approx(
        [spread[0], spread[0], spread[:2].mean(), spread[6:9].mean()]
    )


def test_variances_that_cannot_be_are_refused():
    with pytest.raises(InvalidValue, match=r"variance\[3\] must be finite and > 0, got 0.0"):
        intervals.adaptively_weighted(some_terms()[0], np.where(np.arange(2000) == 3, 0.0, 1.0))
    with pytest.raises(InvalidValue, match=r"variance must be float64\[2000\], one for each round, got \[3\]"):
        intervals.adaptively_weighted(some_terms()[0], np.ones(3))
    with pytest.raises(InvalidValue, match="window must be >= 1"):
        intervals.trailing_variance(np.ones(5), window=0)
