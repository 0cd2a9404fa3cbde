"""Bootstrap intervals, by rounds and by blocks: against loops, in chunks, and what they refuse."""

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsdk import ope
from recsdk.errors import InsufficientOverlap, InvalidLog, InvalidValue
from recsdk.ope import intervals
from recsdk.ope.intervals.resampling import ROWS, THRESHOLDS, multiplicities
from tests.ope.samples import some_terms, stderr_of


def rows_of(terms, rows):
    return ope.Terms(*(field[rows] for field in terms))


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
        statistics.append(abs(ope.value(drawn) - middle) / error)
    reach = np.sort(statistics)[-10] * stderr_of(terms)
    found = intervals.bootstrap(terms, level=0.9, num_draws=num_draws, seed=3)
    assert (found.low, found.high) == pytest.approx((middle - reach, middle + reach), rel=1e-5)


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
    for number, is_known in ((40, True), (60, False)):
        sums.draws[:number] = 0
        assert np.isfinite(intervals.studentised(sums)[2:4]).tolist() == [is_known, is_known]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_draws": 18}, "num_draws must be at least 19 for level 0.95, got 18"),
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
