"""The square-root posterior is the ridge posterior, also where the textbook update loses it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsdk import Context, Interaction, LinUCB, replay
from recsdk.policies import _ridge


def rounds(features, rewards, weights=None):
    """Makes a log of single candidates."""
    num_rounds = len(rewards)
    context = Context(features[:, None, :], np.ones((num_rounds, 1), bool), np.zeros((num_rounds, 1), np.int64))
    ones = np.ones(num_rounds)
    return Interaction(context, np.zeros(num_rounds, np.int64), rewards, ones, ones if weights is None else weights)


def learned(log, prior, ridge=1.0):
    return replay(LinUCB(ridge=ridge), log, prior=prior, engine="numpy").state


def solved(features, rewards, prior, ridge=1.0, weights=None):
    """Returns the posterior mean and covariance by one direct solve, the prior as the centre of the penalty."""
    weighted = features if weights is None else features * weights[:, None]
    precision = ridge * np.eye(len(prior)) + weighted.T @ features
    return np.linalg.solve(precision, ridge * prior + weighted.T @ rewards), np.linalg.inv(precision)


def collapsed(num_rounds, dim=32, rank=4, noise=1e-3, scale=1.0, seed=0):
    """Makes features as a collapsed encoder makes them: of rank 4 but for a little noise."""
    rng = np.random.default_rng(seed)
    features = rng.standard_normal((num_rounds, rank)) @ rng.standard_normal((rank, dim)) + noise * rng.standard_normal((num_rounds, dim))
    return scale * features, features @ rng.standard_normal(dim) / dim + 0.1 * rng.standard_normal(num_rounds)


@pytest.mark.parametrize("scale", [1e-2, 1.0, 100.0])
def test_the_posterior_of_collapsed_embeddings_is_that_of_a_direct_solve(scale):
    features, rewards = collapsed(5000, scale=scale)
    prior = np.random.default_rng(1).standard_normal(32)
    state = learned(rounds(features, rewards), prior)
    mean, covariance = solved(features, rewards, prior)
    ours = state.root @ state.root.T
    assert np.abs(ours - covariance).max() <= 1e-8 * np.abs(covariance).max()
    assert np.abs(state.mean - mean).max() <= 1e-8 * np.abs(mean).max()
    assert np.linalg.eigvalsh(ours).min() > 0
    probes = np.random.default_rng(2).standard_normal((50, 32))
    np.testing.assert_allclose(_ridge.widths(state, probes), np.sqrt(((probes @ covariance) * probes).sum(axis=1)), rtol=1e-8)


def test_the_bonus_is_exact_where_single_precision_and_the_textbook_update_are_lost():
    features, rewards = collapsed(5000, scale=100.0)
    _, covariance = solved(features, rewards, np.zeros(32))
    truth = np.sqrt(((features[:200] @ covariance) * features[:200]).sum(axis=1))
    textbook = np.eye(32, dtype=np.float32)
    for x in features.astype(np.float32):
        gain = textbook @ x
        textbook -= np.outer(gain, gain) / (1 + x @ gain)
    lost = np.abs(np.sqrt(np.abs(((features[:200] @ textbook) * features[:200]).sum(axis=1))) / truth - 1).max()
    state = learned(rounds(features, rewards), np.zeros(32))
    ours = np.abs(_ridge.widths(state, features[:200]) / truth - 1).max()
    assert lost > 0.1
    assert ours < 1e-6


@pytest.mark.slow
@pytest.mark.parametrize("num_rounds", [100_000, 1_000_000])
def test_a_million_updates_do_not_drift(num_rounds):
    features, rewards = collapsed(num_rounds, dim=16)
    state = replay(LinUCB(), rounds(features, rewards), engine="jax").state
    mean, covariance = solved(features, rewards, np.zeros(16))
    probes = np.random.default_rng(2).standard_normal((50, 16))
    np.testing.assert_allclose(_ridge.widths(state, probes), np.sqrt(((probes @ covariance) * probes).sum(axis=1)), rtol=1e-6)
    np.testing.assert_allclose(probes @ state.mean, probes @ mean, rtol=1e-6, atol=1e-6)
    assert np.linalg.eigvalsh(state.root @ state.root.T).min() > 0


@given(ridge=st.floats(1e-3, 1e3), seed=st.integers(0, 1000), dim=st.integers(1, 6), num_rounds=st.integers(1, 20))
def test_the_posterior_is_the_ridge_solution_shrunk_to_the_prior(ridge, seed, dim, num_rounds):
    rng = np.random.default_rng(seed)
    features, rewards, prior = rng.standard_normal((num_rounds, dim)), rng.standard_normal(num_rounds), rng.standard_normal(dim)
    weights = rng.choice([0.0, 0.5, 1.0, 20.0], num_rounds)
    state = learned(rounds(features, rewards, weights), prior, ridge)
    mean, covariance = solved(features, rewards, prior, ridge, weights)
    np.testing.assert_allclose(state.root @ state.root.T, covariance, rtol=1e-7, atol=1e-9 * np.abs(covariance).max())
    np.testing.assert_allclose(state.mean, mean, rtol=1e-7, atol=1e-9 * max(1, np.abs(mean).max()))


@pytest.mark.parametrize(("weight", "parts"), [(3.0, [1.0, 1.0, 1.0]), (1.0, [0.5, 0.25, 0.25]), (7.0, [7.0, 0.0])])
def test_a_weight_counts_as_repeated_rounds(weight, parts):
    x, num = np.random.default_rng(0).standard_normal((1, 5)), len(parts)
    once = learned(rounds(x, np.array([2.0]), np.array([weight])), np.ones(5))
    often = learned(rounds(np.repeat(x, num, axis=0), np.full(num, 2.0), np.array(parts)), np.ones(5))
    np.testing.assert_allclose(once.mean, often.mean, rtol=1e-12)
    np.testing.assert_allclose(once.root @ once.root.T, often.root @ often.root.T, rtol=1e-12, atol=1e-15)


def test_the_order_of_rounds_is_moot():
    rng = np.random.default_rng(0)
    features, rewards, order = rng.standard_normal((50, 5)), rng.standard_normal(50), rng.permutation(50)
    one, other = learned(rounds(features, rewards), np.zeros(5)), learned(rounds(features[order], rewards[order]), np.zeros(5))
    np.testing.assert_allclose(one.mean, other.mean, rtol=1e-10)
    np.testing.assert_allclose(one.root @ one.root.T, other.root @ other.root.T, rtol=1e-10, atol=1e-14)


def test_a_candidate_without_features_teaches_nothing():
    state = learned(rounds(np.zeros((3, 4)), np.ones(3)), np.ones(4))
    np.testing.assert_array_equal(state.mean, np.ones(4))
    np.testing.assert_array_equal(state.root, np.eye(4))


def test_one_reward_in_one_dimension():
    state = learned(rounds(np.array([[2.0]]), np.array([3.0])), np.zeros(1), ridge=1.0)
    assert state.mean == pytest.approx([6 / 5])
    assert state.root.item() ** 2 == pytest.approx(1 / 5)


def test_the_prior_is_copied():
    prior = np.zeros(3)
    state = _ridge.init(prior, 4.0)
    prior[:] = 9
    assert not state.mean.any()
    np.testing.assert_array_equal(state.root, np.eye(3) / 2)
