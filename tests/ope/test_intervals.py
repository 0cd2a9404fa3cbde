"""Intervals against known answers, laws that they keep, and what they refuse."""

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ope.logs import log_of, random_log

from recsdk import datasets, ope
from recsdk.errors import InsufficientOverlap, InvalidLog, InvalidReward, InvalidValue
from recsdk.ope import intervals
from recsdk.ope.intervals._special import beta_quantile, f_quantile
from recsdk.ope.intervals.bootstrap import ROWS, THRESHOLDS, multiplicities

BY_BOUNDS = (intervals.empirical_bernstein, intervals.clopper_pearson, intervals.empirical_likelihood)
SEQUENCES = (intervals.confidence_sequence, intervals.drifting_sequence)


@pytest.fixture(scope="module")
def open_bandit():
    """The sample's random log beside Bernoulli-TS: row 1 of the reference table, with Vowpal Wabbit's intervals of it."""
    log, position = datasets.load_open_bandit("random", num_hashed=0)
    return ope.rounds(log, datasets.bernoulli_ts_probs(position))


def some_rounds(seed=0, size=2000):
    log, target, _ = random_log(seed, size)
    return ope.rounds(log, target)


def some_terms(seed=0, size=2000):
    """Terms of one ratio and of two."""
    rng = np.random.default_rng(seed)
    weight, reward = rng.exponential(size=size), rng.normal(size=size)
    return [
        ope.average(weight * reward, np.ones(size)),
        ope.average(reward, weight),
        ope.add(ope.average(reward, weight), ope.average(reward**2, np.ones(size))),
    ]


def rows_of(terms, rows):
    return ope.Terms(*(field[rows] for field in terms))


def stderr_of(terms):
    return math.sqrt((ope.influence(terms) ** 2).sum())


# ---- known answers


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


def test_the_sequence_on_open_bandit_is_a_little_narrower_than_vowpal_wabbits(open_bandit):
    found = intervals.drifting_sequence(open_bandit, reward_range=(0.0, 1.0), looks=[10_000])
    assert found.low[0] == pytest.approx(0, abs=1e-7)
    assert 0.12 < found.high[0] < 0.141195


def test_a_known_largest_weight_pays_in_a_sequence_of_rare_rewards(open_bandit):
    found = intervals.confidence_sequence(open_bandit, reward_range=(0.0, 1.0), max_weight=20, looks=[10_000])
    assert found.low[0] < 0.0042 < found.high[0] < 0.03


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


# ---- the bootstrap


def test_multiplicities_have_the_moments_of_poisson():
    sizes = np.diff([0, *THRESHOLDS, 256])
    mean, pairs, triples = (
        sum(Fraction(int(size), 256) * math.perm(count, order) for count, size in enumerate(sizes)) for order in (1, 2, 3)
    )
    assert (mean, pairs) == (1, 1)  # so the variance is 1
    assert abs(triples - 1) < Fraction(2, 100)


def test_multiplicities_of_rows_and_of_draws_are_independent():
    found = np.concatenate([counts for _, counts in multiplicities(2 * ROWS, num_draws=40, seed=0)], axis=1).astype(float)
    assert found.mean() == pytest.approx(1, abs=5 / math.sqrt(found.size))
    correlation = np.corrcoef(found)[np.triu_indices(40, 1)]
    assert abs(correlation).max() < 5 / math.sqrt(2 * ROWS)
    blocks = [found[:, :ROWS].ravel(), found[:, ROWS:].ravel()]
    assert abs(np.corrcoef(*blocks)[0, 1]) < 5 / math.sqrt(blocks[0].size)


def test_no_block_is_another_moved_along():
    first, second = (counts[0] for _, counts in multiplicities(2 * ROWS, num_draws=1, seed=0))
    assert max(np.mean(first[lag : lag + 500] == second[:500]) for lag in range(1000)) < 0.5


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 2**64), st.integers(0, 3 * ROWS), st.lists(st.integers(1, ROWS + 49), max_size=2))
def test_a_log_in_chunks_is_resampled_as_in_one_go(seed, first_row, cuts):
    terms, centre = some_terms(size=ROWS + 50), [np.zeros(1), np.zeros(1), np.ones(2)]
    edges = [0, *sorted({cut for cut in cuts if cut < ROWS + 50}), ROWS + 50]
    whole = intervals.resample(terms, num_draws=3, seed=seed, first_row=first_row, centres=centre)
    parts = [
        intervals.resample(
            [rows_of(each, slice(*edge)) for each in terms], num_draws=3, seed=seed, first_row=first_row + edge[0], centres=centre
        )
        for edge in itertools.pairwise(edges)
    ]
    for index, expected in enumerate(whole):
        found = parts[0][index]
        for part in parts[1:]:
            found = intervals.merge(found, part[index])
        assert found.counts.tolist() == expected.counts.tolist()
        assert np.allclose(found.total, expected.total, rtol=1e-12, atol=1e-9)
        assert np.allclose(found.draws, expected.draws, rtol=1e-5, atol=2e-2)


def test_blocks_are_resampled_to_the_last_bit():
    terms, centre = some_terms(size=2 * ROWS + 9)[0], [np.zeros(1)]
    whole = intervals.resample([terms], num_draws=5, centres=centre)[0]
    first, second, last = (
        intervals.resample([rows_of(terms, slice(start, start + ROWS))], num_draws=5, first_row=start, centres=centre)[0]
        for start in (0, ROWS, 2 * ROWS)
    )
    assert np.array_equal(intervals.merge(intervals.merge(first, second), last).draws, whole.draws)


def test_the_first_draws_of_many_are_those_of_few():
    few, many = (intervals.resample(some_terms()[:1], num_draws=number)[0].draws for number in (10, 30))
    assert np.allclose(many[:10], few, rtol=1e-6, atol=1e-4)


def test_estimates_that_share_draws_get_what_each_gets_alone():
    terms = some_terms()
    for together, each in zip(intervals.resample(terms, num_draws=200), terms, strict=True):
        assert intervals.studentised(together) == pytest.approx(intervals.bootstrap(each, num_draws=200), rel=1e-5)


@pytest.mark.parametrize("index", [0, 1, 2])
def test_the_bootstrap_has_the_value_and_standard_error_of_the_delta_method(index):
    terms = some_terms()[index]
    found = intervals.bootstrap(terms, num_draws=50)
    assert (found.value, found.stderr) == pytest.approx((ope.value(terms), stderr_of(terms)), rel=1e-12)
    assert found.low < found.value < found.high


@pytest.mark.parametrize("index", [0, 1, 2])
def test_the_bootstrap_is_what_a_loop_over_resampled_logs_gives(index):
    terms, num_draws = some_terms(size=300)[index], 99
    middle, statistics = ope.value(terms), []
    for counts in next(multiplicities(300, num_draws=num_draws, seed=3))[1].astype(float):
        drawn = ope.Terms(*(field * counts[:, None] for field in terms))
        total = drawn.denominator.sum(0)
        residual = (terms.numerator - drawn.numerator.sum(0) / total * terms.denominator) / total
        error = math.sqrt((counts * residual.sum(1) ** 2).sum() * 300 / 299)
        statistics.append((ope.value(drawn) - middle) / error)
    low, high = np.sort(statistics)[[4, -5]]
    error = stderr_of(terms)
    found = intervals.bootstrap(terms, level=0.9, num_draws=num_draws, seed=3)
    assert (found.low, found.high) == pytest.approx((middle - high * error, middle - low * error), rel=1e-5)


def test_the_bootstrap_moves_and_scales_with_the_rewards():
    rng = np.random.default_rng(0)
    weight, reward = rng.exponential(size=500), rng.normal(size=500)
    found, moved = (intervals.bootstrap(ope.average(each, weight)) for each in (reward, 1e12 * reward - 3e12))
    assert moved[:4] == pytest.approx([1e12 * each - 3e12 * (index != 1) for index, each in enumerate(found[:4])], rel=1e-4)


def test_the_bootstrap_does_not_overflow():
    found, huge = (intervals.bootstrap(ope.average(scale * np.arange(100.0), np.full(100, scale))) for scale in (1.0, 1e60))
    assert huge.low == pytest.approx(1e60 * found.low, rel=1e-5)


def test_equal_rewards_leave_nothing_to_doubt():
    found = intervals.bootstrap(ope.average(np.full(100, 0.3), np.random.default_rng(0).exponential(size=100)))
    assert found[:4] == pytest.approx((0.3, 0, 0.3, 0.3), abs=1e-12)


def test_one_round_that_carries_all_leaves_everything_to_doubt():
    found = intervals.bootstrap(ope.average(np.ones(10), np.eye(10)[0]))
    assert (found.stderr, found.low, found.high) == (math.inf, -math.inf, math.inf)


def test_two_rounds_that_carry_all_are_not_enough_for_the_draws():
    found = intervals.bootstrap(ope.average(np.arange(10.0), np.eye(10)[0] + np.eye(10)[1]))
    assert (found.low, found.high) == (-math.inf, math.inf)


def test_draws_that_say_nothing_count_against_both_ends():
    sums = intervals.resample(some_terms()[1:2], num_draws=1000)[0]
    for number, is_known in ((20, True), (30, False)):
        sums.draws[:number] = 0
        assert np.isfinite(intervals.studentised(sums)[2:4]).tolist() == [is_known, is_known]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_draws": 38}, "num_draws must be at least 39 for level 0.95, got 38"),
        ({"num_draws": 0}, "num_draws must be >= 1, got 0"),
        ({"seed": -1}, "seed must be >= 0, got -1"),
        ({"level": 1.0}, r"level must be in \(0, 1\), got 1.0"),
    ],
)
def test_the_bootstrap_refuses(options, message):
    with pytest.raises(InvalidValue, match=message):
        intervals.bootstrap(some_terms()[0], **options)


def test_the_bootstrap_refuses_a_log_without_overlap_and_logs_of_two_lengths():
    with pytest.raises(InsufficientOverlap):
        intervals.bootstrap(ope.average(np.ones(3), np.zeros(3)))
    with pytest.raises(InvalidLog, match="the same rows"):
        intervals.resample([some_terms(size=3)[0], some_terms(size=4)[0]])


def test_parts_that_were_resampled_otherwise_are_not_merged():
    few, many = (intervals.resample(some_terms()[:1], num_draws=number)[0] for number in (5, 6))
    with pytest.raises(InvalidValue, match="parts must share centre and draws"):
        intervals.merge(few, many)


# ---- blocks


def correlated(rng, size):
    noise = np.convolve(rng.normal(size=size + 19), np.ones(20) / math.sqrt(20), mode="valid")
    return ope.average(noise, np.ones(size))


def test_blocks_cover_where_rewards_go_up_and_down_together():
    rng, time = np.random.default_rng(0), np.arange(2000.0)
    logs = [correlated(rng, 2000) for _ in range(100)]
    blocks = [intervals.moving_block(terms, time, length=80, num_draws=199) for terms in logs]
    plain = [ope.delta(terms) for terms in logs]
    assert np.mean([each.low <= 0 <= each.high for each in blocks]) >= 0.88
    assert np.mean([each.low <= 0 <= each.high for each in plain]) < 0.6  # the control: rounds taken for independent


@pytest.mark.parametrize("index", [0, 1, 2])
def test_blocks_of_one_round_are_the_plain_bootstrap(index):
    terms = some_terms()[index]
    found = intervals.moving_block(terms, np.arange(2000), length=1, num_draws=2000)
    assert found[:4] == pytest.approx(intervals.bootstrap(terms, num_draws=2000)[:4], abs=0.2 * found.stderr)
    assert found.stderr == pytest.approx(stderr_of(terms), rel=1e-9)


@pytest.mark.parametrize(
    ("time", "message"),
    [
        (np.arange(10.0)[::-1], r"time\[1\] must be at least 9.0, the time before it, got 8.0"),
        (np.arange(9.0), "one for each of 10 rounds"),
        (np.full(10, np.nan), "finite"),
    ],
)
def test_blocks_refuse_a_log_without_an_order(time, message):
    with pytest.raises(InvalidLog, match=message):
        intervals.moving_block(some_terms(size=10)[0], time)


@pytest.mark.parametrize("length", [0, 6])
def test_blocks_refuse_a_length_without_enough_blocks(length):
    with pytest.raises(InvalidValue, match=r"length must be in \[1, 5\]"):
        intervals.moving_block(some_terms(size=10)[0], np.arange(10), length=length)


# ---- by bounds


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


# ---- sequences


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


@pytest.mark.parametrize("looks", [[], [0, 1], [5, 5], [3000], [1.5]])
def test_looks_that_cannot_be_are_refused(looks):
    with pytest.raises(InvalidValue, match=r"looks must be increasing whole numbers in \[1, 2000\]"):
        intervals.drifting_sequence(some_rounds(), reward_range=(0.0, 1.0), looks=looks)


# ---- adaptive loggers


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


# ---- which is valid when


@pytest.mark.parametrize(
    ("interval", "situation", "reasons"),
    [
        ("delta", {"effective_size": 5000}, []),
        ("delta", {"effective_size": 37}, ["use empirical_likelihood or confidence_sequence"]),
        ("bootstrap", {"effective_size": 4}, ["use clopper_pearson or confidence_sequence"]),
        ("delta", {"effective_size": math.nan}, ["effective size is nan"]),
        ("delta", {"effective_size": 5000, "num_looks": 16}, ["was looked at 16 times, and holds for one: use confidence_sequence"]),
        ("bootstrap", {"effective_size": 5000, "logger": "adaptive"}, ["it learnt: use adaptively_weighted or confidence_sequence"]),
        ("delta", {"effective_size": 5000, "rewards": "dependent"}, ["use moving_block or drifting_sequence"]),
        ("moving_block", {"effective_size": 5000, "rewards": "dependent"}, []),
        ("empirical_likelihood", {"effective_size": 37}, []),
        ("clopper_pearson", {"effective_size": 1, "logger": "adaptive", "num_looks": 2}, ["looked at 2 times"]),
        ("confidence_sequence", {"effective_size": 1, "logger": "adaptive", "num_looks": 9}, []),
        ("confidence_sequence", {"effective_size": 1, "rewards": "dependent"}, ["use moving_block or drifting_sequence"]),
        ("drifting_sequence", {"effective_size": 1, "logger": "adaptive", "rewards": "dependent", "num_looks": 9}, []),
        ("delta", {"effective_size": 5, "logger": "adaptive", "num_looks": 2}, ["looked at", "learnt", "effective size is 5.0"]),
    ],
)
def test_an_interval_says_where_it_does_not_hold(interval, situation, reasons):
    found = intervals.caveats(interval, **situation)
    assert len(found) == len(reasons)
    assert all(reason in each for each, reason in zip(found, reasons, strict=True))


def test_what_is_said_of_intervals_is_said_of_all_that_there_are():
    assert set(intervals.VALIDITY) == {"delta", *(name for name in intervals.__all__ if _is_interval(getattr(intervals, name)))}


def _is_interval(found):
    return getattr(found, "__annotations__", {}).get("return") in ("Estimate", "Sequence") and found is not intervals.studentised


@pytest.mark.parametrize("wrong", [{"interval": "wald"}, {"logger": "bandit"}, {"rewards": "none"}, {"num_looks": 0}])
def test_situations_that_cannot_be_are_refused(wrong):
    with pytest.raises(InvalidValue, match=f"{next(iter(wrong))} must be"):
        intervals.caveats(**{"interval": "delta", "effective_size": 1.0, **wrong})
