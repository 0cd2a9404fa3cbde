"""Beliefs add up, can be weighed, and taken apart: each way gives the belief of who has seen just those rounds."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsdk import Context, EpsilonGreedy, Forgettable, Interaction, LinTS, LinUCB, Mergeable, Uniform, replay
from recsdk.errors import InvalidValue
from recsdk.policies import _ridge

POLICIES = [LinUCB(), LinTS(), EpsilonGreedy()]


def rounds(num_rounds, dim, seed=0, scale=1.0):
    """Makes a log of single candidates, with weights."""
    rng = np.random.default_rng([seed, num_rounds, dim])
    features = scale * rng.standard_normal((num_rounds, 1, dim))
    context = Context(features, np.ones((num_rounds, 1), bool), np.zeros((num_rounds, 1), np.int64))
    reward, weight = rng.standard_normal(num_rounds), rng.choice([0.5, 1.0, 3.0], num_rounds)
    return Interaction(context, np.zeros(num_rounds, np.int64), reward, np.ones(num_rounds), weight)


def part(log, rows):
    return Interaction(Context(*(field[rows] for field in log.context)), *(field[rows] for field in log[1:]))


def fold(log, prior, ridge=2.0):
    return replay(LinUCB(ridge=ridge), log, prior=prior, engine="numpy").state


def assert_same(got, wanted, rtol=1e-9):
    covariance = wanted.root @ wanted.root.T
    assert np.abs(got.root @ got.root.T - covariance).max() <= rtol * np.abs(covariance).max()
    assert np.abs(got.mean - wanted.mean).max() <= rtol * max(1, np.abs(wanted.mean).max())
    assert got.total == pytest.approx(wanted.total, rel=rtol, abs=rtol)
    np.testing.assert_array_equal(got.prior, wanted.prior)
    assert got.ridge == wanted.ridge


@pytest.mark.parametrize("policy", POLICIES, ids=lambda policy: type(policy).__name__)
def test_the_linear_policies_offer_the_algebra(policy):
    assert isinstance(policy, Mergeable)
    assert isinstance(policy, Forgettable)


def test_a_policy_without_sums_does_not_offer_it():
    assert not isinstance(Uniform(), Mergeable)
    assert not isinstance(Uniform(), Forgettable)


@given(seed=st.integers(0, 1000), dim=st.integers(1, 8), cut=st.integers(1, 29), scale=st.sampled_from([0.01, 1.0, 100.0]))
def test_two_halves_merge_to_the_whole_and_come_apart_again(seed, dim, cut, scale):
    log, prior = rounds(30, dim, seed, scale), np.linspace(-1, 1, dim)
    one, other, whole = (fold(part(log, rows), prior) for rows in (slice(cut), slice(cut, None), slice(None)))
    assert_same(_ridge.merge(one, other), whole)
    assert_same(_ridge.subtract(_ridge.merge(one, other), other), one, rtol=1e-9 * max(1, scale**2))


def test_replicas_merge_in_any_grouping():
    log, prior = rounds(90, 6), np.ones(6)
    a, b, c = (fold(part(log, slice(start, start + 30)), prior) for start in (0, 30, 60))
    assert_same(_ridge.merge(_ridge.merge(a, b), c), _ridge.merge(a, _ridge.merge(b, c)))
    assert_same(_ridge.merge(_ridge.merge(c, a), b), fold(log, prior))


def test_the_state_before_any_data_is_the_neutral_element():
    state = fold(rounds(30, 5), np.ones(5))
    assert_same(_ridge.merge(state, _ridge.init(np.ones(5), 2.0)), state)
    assert_same(_ridge.subtract(state, state), _ridge.init(np.ones(5), 2.0))


@pytest.mark.parametrize("weight", [0.0, 0.3, 1.0, 7.0])
def test_a_state_is_weighed_as_its_rounds_are(weight):
    log, prior = rounds(30, 5), np.ones(5)
    assert_same(_ridge.weigh(fold(log, prior), weight), fold(log._replace(weight=weight * log.weight), prior))


def test_a_users_share_is_taken_out_wherever_it_lies_in_the_log():
    log, prior = rounds(200, 8), np.zeros(8)
    users = np.random.default_rng(1).integers(0, 10, 200)
    without = _ridge.subtract(fold(log, prior), fold(part(log, users == 3), prior))
    assert_same(without, fold(part(log, users != 3), prior))


def test_rounds_are_forgotten_one_by_one():
    log, prior = rounds(60, 5), np.ones(5)
    state = fold(log, prior)
    for row in range(20, 60):
        state = _ridge.forget(state, part(log, row))
    assert_same(state, fold(part(log, slice(20)), prior))


@pytest.mark.parametrize("scale", [1.0, 1e8])
def test_to_forget_all_that_was_known_leaves_at_most_the_doubt_of_the_prior(scale):
    log = rounds(3, 20, scale=scale)
    state = fold(log, np.zeros(20))
    for row in range(3):
        state = _ridge.forget(state, part(log, row))
    variances = np.linalg.eigvalsh(state.root @ state.root.T)
    assert np.isfinite(state.mean).all()
    assert variances.max() <= (1 + 2 * 3) / 2  # rounding adds a prior or two a round, where nothing is left to divide by
    if scale == 1:
        np.testing.assert_allclose(variances, 1 / 2, rtol=1e-9)


def test_the_algebra_compiles():
    jax = pytest.importorskip("jax")
    log, prior = rounds(30, 5), np.ones(5)
    one, other = fold(part(log, slice(10)), prior), fold(part(log, slice(10, None)), prior)
    with jax.enable_x64(True):
        merged = jax.jit(lambda a, b: _ridge.subtract(_ridge.merge(_ridge.weigh(a, 2.0), b), a))(one, other)
    assert_same(_ridge.Ridge(*map(np.asarray, merged)), fold(log, prior))


@pytest.mark.parametrize("combine", [_ridge.merge, _ridge.subtract])
@pytest.mark.parametrize("other", [_ridge.init(np.ones(3), 1.0), _ridge.init(np.zeros(3), 2.0)])
def test_states_of_two_priors_do_not_combine(combine, other):
    with pytest.raises(InvalidValue, match=r"the states must have one prior and ridge, got \[0. 0. 0.\] of 1.0 and \["):
        combine(_ridge.init(np.zeros(3), 1.0), other)


@pytest.mark.parametrize("log", [rounds(30, 5, seed=9), rounds(1, 5, seed=9)])
def test_what_was_never_learned_cannot_be_taken_out(log):
    whole = fold(rounds(3, 5), np.zeros(5))
    with pytest.raises(InvalidValue, match=r"part must hold only rounds that whole has seen"):
        _ridge.subtract(whole, fold(log, np.zeros(5)))


@pytest.mark.parametrize("weight", [-1.0, float("nan"), float("inf")])
def test_a_weight_must_not_be_negative(weight):
    with pytest.raises(InvalidValue, match=r"weight must be a finite number >= 0, got "):
        LinUCB().weigh(fold(rounds(3, 2), np.zeros(2)), weight)
