import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsdk import ope
from recsdk.errors import InsufficientOverlap, InvalidValue
from tests.ope.logs import log_of

NAMES = ("ips", "snips", "dm", "dr")


@st.composite
def questions(draw):
    """A log over K candidates, a target that covers it, and a reward model."""
    size, candidates = draw(st.integers(2, 12)), draw(st.integers(2, 4))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    logging, target = rng.dirichlet(np.full(candidates, 2.0), (2, size))
    action = rng.integers(candidates, size=size)
    log = log_of(action, rng.normal(size=size), logging[np.arange(size), action], num_candidates=candidates)
    return log, target, rng.normal(size=(size, candidates))


def take(question, index, weight=None):
    log, target, q_hat = question
    part = log_of(
        log.action[index],
        log.reward[index],
        log.propensity[index],
        mask=log.context.mask[index],
        item=log.context.item[index],
        weight=weight,
    )
    return ope.rounds(part, target[index], q_hat=q_hat[index])


def all_of(question):
    log, target, q_hat = question
    return ope.rounds(log, target, q_hat=q_hat)


def values(rounds):
    return [estimate(name, rounds).value for name in NAMES]


def estimate(name, rounds, **level):
    return ope.delta(ope.ESTIMATORS[name](rounds), **level)


@given(questions())
def test_the_order_of_rounds_is_moot(question):
    backwards = take(question, slice(None, None, -1))
    for name in NAMES:
        assert estimate(name, backwards) == pytest.approx(estimate(name, all_of(question)), rel=1e-9, abs=1e-12)


@given(questions(), st.integers(1, 4))
def test_a_weight_counts_a_round_that_often(question, times):
    index = np.repeat(np.arange(len(question[1])), [times] + [1] * (len(question[1]) - 1))
    weight = np.ones(len(question[1]))
    weight[0] = times
    weighted = take(question, slice(None), weight)
    assert values(weighted) == pytest.approx(values(take(question, index)), rel=1e-9, abs=1e-12)


@given(questions())
def test_a_round_of_weight_zero_is_absent(question):
    weight = np.ones(len(question[1]))
    weight[0] = 0
    for name in ("ips", "snips"):
        with_it, without = (estimate(name, part) for part in (take(question, slice(None), weight), take(question, slice(1, None))))
        assert with_it == pytest.approx(without, rel=1e-9, abs=1e-12)


@given(questions())
def test_the_order_of_candidates_is_moot(question):
    log, target, q_hat = question
    flipped = log_of(target.shape[1] - 1 - log.action, log.reward, log.propensity, num_candidates=target.shape[1])
    assert values(ope.rounds(flipped, target[:, ::-1], q_hat=q_hat[:, ::-1])) == pytest.approx(
        values(all_of(question)), rel=1e-9, abs=1e-12
    )


@given(questions())
def test_padding_is_moot(question):
    log, target, q_hat = question
    mask = np.pad(log.context.mask, ((0, 0), (0, 2)))
    padded = log_of(log.action, log.reward, log.propensity, mask=mask)
    junk = np.pad(q_hat, ((0, 0), (0, 2)), constant_values=np.nan)
    rounds = ope.rounds(padded, np.pad(target, ((0, 0), (0, 2))), q_hat=junk)
    assert values(rounds) == pytest.approx(values(all_of(question)), rel=1e-12)
    expected = tuple(ope.diagnose(all_of(question)))
    assert tuple(ope.diagnose(rounds)) == pytest.approx(expected, rel=1e-9, abs=1e-9, nan_ok=True)


@given(questions())
def test_ips_of_the_logger_itself_is_the_mean_reward(question):
    log = question[0]
    found = estimate("ips", ope.rounds(log, log.propensity))
    assert found.value == pytest.approx(log.reward.mean(), rel=1e-9, abs=1e-12)
    assert found.stderr == pytest.approx(log.reward.std(ddof=1) / math.sqrt(len(log.reward)), rel=1e-9)


@given(questions())
def test_the_probability_of_the_logged_action_is_enough_for_ips_and_snips(question):
    log, target, _ = question
    chosen = ope.rounds(log, target[np.arange(len(target)), log.action])
    for name in ("ips", "snips"):
        assert estimate(name, chosen) == estimate(name, all_of(question))


@given(questions(), st.floats(-100, 100))
def test_snips_moves_along_when_rewards_shift_and_stays_in_their_range(question, shift):
    log, target, _ = question
    plain, moved = (estimate("snips", ope.rounds(log._replace(reward=reward), target)) for reward in (log.reward, log.reward + shift))
    assert moved.value == pytest.approx(plain.value + shift, rel=1e-9, abs=1e-9)
    assert moved.stderr == pytest.approx(plain.stderr, rel=1e-6)
    assert log.reward.min() <= plain.value <= log.reward.max()


@given(questions())
def test_dr_with_an_empty_model_is_ips(question):
    log, target, q_hat = question
    rounds = ope.rounds(log, target, q_hat=np.zeros_like(q_hat))
    assert estimate("dr", rounds) == pytest.approx(estimate("ips", rounds), rel=1e-12)


@given(questions())
def test_dr_with_a_model_that_is_never_wrong_is_dm(question):
    log, target, q_hat = question
    told = log._replace(reward=q_hat[np.arange(len(q_hat)), log.action])
    rounds = ope.rounds(told, target, q_hat=q_hat)
    assert estimate("dr", rounds) == pytest.approx(estimate("dm", rounds), rel=1e-12)


@given(questions())
def test_a_higher_level_is_a_wider_interval_about_the_same_value(question):
    for name in NAMES:
        narrow, wide = (estimate(name, all_of(question), level=level) for level in (0.8, 0.99))
        assert wide.low < narrow.low < narrow.value == wide.value < narrow.high < wide.high


def test_the_interval_at_95_percent_reaches_196_standard_errors():
    found = ope.delta(ope.average(np.array([1.0, 2.0, 3.0]), np.ones(3)))
    assert (found.high - found.value) / found.stderr == pytest.approx(1.959963984540054, rel=1e-12)
    assert (found.value - found.low) / found.stderr == pytest.approx(1.959963984540054, rel=1e-12)


def test_one_round_has_no_standard_error():
    found = ope.delta(ope.average(np.array([1.0, 5.0]), np.array([1.0, 0.0])))
    assert (found.value, found.low, found.high) == (1.0, -math.inf, math.inf)


def test_no_overlap_is_refused_rather_than_worth_nothing():
    log = log_of([0, 0], [1, 1], [1, 1], num_candidates=2)
    rounds = ope.rounds(log, np.array([[0.0, 1.0]] * 2), q_hat=np.ones((2, 2)))
    with pytest.raises(InsufficientOverlap, match="None of 2 rounds"):
        ope.value(ope.snips(rounds))
    for name in ("ips", "snips", "dr"):
        with pytest.raises(InsufficientOverlap, match="None of 2 rounds"):
            ope.evaluate(log, np.array([[0.0, 1.0]] * 2), estimators=(name,), q_hat=np.ones((2, 2)), force=True)


@pytest.mark.parametrize("level", [0, 1, 95, float("nan")])
def test_a_level_outside_0_and_1_is_refused(level):
    with pytest.raises(InvalidValue, match=r"level must be in \(0, 1\)"):
        ope.delta(ope.average(np.ones(2), np.ones(2)), level=level)


@pytest.mark.parametrize("name", ["dm", "dr"])
def test_what_an_estimator_lacks_is_named(name):
    log = log_of([0, 1], [1, 1], [0.5, 0.5])
    with pytest.raises(InvalidValue, match=f"{name} needs the target's whole distribution"):
        ope.ESTIMATORS[name](ope.rounds(log, np.array([0.5, 0.5])))
    with pytest.raises(InvalidValue, match=f"{name} needs q_hat"):
        ope.ESTIMATORS[name](ope.rounds(log, np.full((2, 2), 0.5)))


def test_a_million_terms_sum_as_exactly_as_fsum():
    rng = np.random.default_rng(0)
    terms = rng.exponential(size=1_000_000) + 0.1
    assert ope.value(ope.average(terms, np.ones(len(terms)))) == pytest.approx(math.fsum(terms) / len(terms), rel=1e-14)
