"""Beliefs after very many rounds, and by distribution: what is drawn from them is spread as the truth is."""

import numpy as np
import pytest

from recsdk import (
    Context,
    Discounted,
    DisjointLinUCB,
    HybridLinUCB,
    Interaction,
    LinTS,
    LinUCB,
    LogisticTS,
    Windowed,
    explore,
    fast,
    replay,
)
from recsdk.policies import _ridge


def rounds(features, rewards, num_items=1):
    """Makes a log of single candidates."""
    num_rounds = len(rewards)
    item = np.arange(num_rounds)[:, None] % num_items
    context = Context(features[:, None, :], np.ones((num_rounds, 1), bool), item)
    return Interaction(context, np.zeros(num_rounds, np.int64), rewards, np.ones(num_rounds), np.ones(num_rounds))


def collapsed(num_rounds, dim, scale, rank=4, noise=1e-3, seed=0):
    """Makes features as a collapsed encoder makes them: of rank 4 but for a little noise."""
    rng = np.random.default_rng(seed)
    features = rng.standard_normal((num_rounds, rank)) @ rng.standard_normal((rank, dim)) + noise * rng.standard_normal((num_rounds, dim))
    return scale * features, features @ rng.standard_normal(dim) / dim + 0.1 * rng.standard_normal(num_rounds)


def solved(features, rewards, weights=1.0, ridge=1.0):
    """Returns the precision's Cholesky factor and the mean by one direct solve."""
    precision = ridge * np.eye(features.shape[1]) + (features.T * weights) @ features
    return np.linalg.cholesky(precision), np.linalg.solve(precision, (features.T * weights) @ rewards)


def assert_widths(belief, half, dim, rtol):
    probes = np.random.default_rng(2).standard_normal((100, dim))
    wanted = np.linalg.norm(np.linalg.solve(half, probes.T), axis=0)
    np.testing.assert_allclose(_ridge.widths(belief, probes), wanted, rtol=rtol)
    assert np.linalg.eigvalsh(belief.root @ belief.root.T).min() > 0


def assert_standard_normal(samples):
    """Tries each column of f64[M, D] by Kolmogorov's and Smirnov's test, and the columns' correlations."""
    scipy = pytest.importorskip("scipy.stats")
    for column in samples.T:
        assert scipy.kstest(column, "norm").pvalue > 1e-4
    assert np.abs(np.corrcoef(samples.T) - np.eye(samples.shape[1])).max() < 4.5 / len(samples) ** 0.5


def test_where_the_model_holds_the_truth_lies_in_the_belief_as_a_draw_from_it_does():
    rng, whitened = np.random.default_rng(0), []
    for _ in range(600):
        features = rng.standard_normal((25, 4)) * np.array([1.0, 1.0, 10.0, 0.1])
        truth = 0.5 * rng.standard_normal(4)  # noise of deviation 0.5, and a prior of 0.5^2 / ridge
        state = replay(LinTS(), rounds(features, features @ truth + 0.5 * rng.standard_normal(25)), engine="numpy").state
        whitened.append(np.linalg.solve(0.5 * state.root, truth - state.mean))
    assert_standard_normal(np.array(whitened))


@pytest.mark.parametrize("policy", [LinTS(scale=0.5, num_draws=20_000), LogisticTS(scale=0.5, num_draws=20_000)])
def test_thompson_draws_are_normal_with_the_covariance_of_a_direct_solve(policy, monkeypatch):
    features, rewards = collapsed(3000, 8, 1.0)
    state, seen = replay(LinTS(), rounds(features, rewards), engine="numpy").state, []
    votes = explore.votes
    monkeypatch.setattr(fast, "kernels", lambda *_: None)  # the draws of the definition
    monkeypatch.setattr(explore, "votes", lambda scores, mask: seen.append(scores) or votes(scores, mask))
    policy.probs(state, np.random.default_rng(0), Context(np.eye(8), np.ones(8, bool), np.arange(8)))
    half, mean = solved(features, rewards)
    assert_standard_normal((seen[0] - mean) @ half / 0.5)


@pytest.mark.slow
@pytest.mark.parametrize(("num_rounds", "dim", "scale"), [(1_000_000, 16, 1.0), (200_000, 32, 1.0), (200_000, 32, 100.0)])
def test_widths_stay_those_of_a_direct_solve_with_collapsed_embeddings_of_any_scale(num_rounds, dim, scale):
    features, rewards = collapsed(num_rounds, dim, scale)
    state = replay(LinUCB(), rounds(features, rewards), engine="jax").state
    half, mean = solved(features, rewards)
    assert_widths(state, half, dim, 1e-6)
    np.testing.assert_allclose(features[:100] @ state.mean, features[:100] @ mean, rtol=1e-6, atol=1e-6)
    assert state.total == num_rounds


@pytest.mark.slow
@pytest.mark.parametrize("scale", [1.0, 100.0])
def test_a_windowed_belief_is_exact_after_100000_rounds_of_collapsed_embeddings(scale):
    features, rewards = collapsed(100_123, 32, scale)
    state = replay(Windowed(policy=LinUCB(), window=500), rounds(features, rewards), engine="jax").state
    half, _ = solved(features[-500:], rewards[-500:])
    assert_widths(state.belief, half, 32, 1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("scale", [1.0, 100.0])
def test_a_discounted_belief_is_right_but_for_its_ripple_after_100000_rounds_of_collapsed_embeddings(scale):
    features, rewards = collapsed(100_000, 32, scale)
    state = replay(Discounted(policy=LinUCB(), discount=0.99), rounds(features, rewards), engine="jax").state
    half, _ = solved(features, rewards, 0.99 ** np.arange(100_000)[::-1])
    assert_widths(state.belief, half, 32, 32 * 0.01)
    assert np.isfinite(state.belief.mean).all()


@pytest.mark.slow
def test_a_hybrid_and_a_disjoint_belief_do_not_drift_over_200000_rounds():
    features, rewards = collapsed(200_000, 16, 1.0)
    log = rounds(features, rewards, num_items=20)
    items = replay(DisjointLinUCB(num_items=20), log, engine="jax").state.items
    for item in range(20):
        half, _ = solved(features[item::20], rewards[item::20])
        assert_widths(_ridge.Ridge(None, items.root[item], None, None, None), half, 16, 1e-6)
    shared = replay(HybridLinUCB(num_items=20, item_ridge=2.0), log, engine="jax").state.shared
    precision = np.eye(16)
    for item in range(20):
        own = 2 * np.eye(16) + features[item::20].T @ features[item::20]
        precision += 2 * np.eye(16) - 4 * np.linalg.inv(own)
    assert_widths(shared, np.linalg.cholesky(precision), 16, 1e-6)


@pytest.mark.slow
def test_logistic_beliefs_stay_sound_over_a_million_rounds():
    features, _ = collapsed(1_000_000, 8, 1.0)
    truth = np.random.default_rng(3).standard_normal(8) / 4
    clicks = (np.random.default_rng(4).random(1_000_000) < 1 / (1 + np.exp(-features @ truth))).astype(float)
    policy = LogisticTS()
    state = replay(policy, rounds(features, clicks), engine="jax").state
    context = Context(features[:1000], np.ones(1000, bool), np.arange(1000))
    np.testing.assert_allclose(policy.expected(state, context), 1 / (1 + np.exp(-features[:1000] @ truth)), atol=0.01)
    variances = np.linalg.eigvalsh(state.root @ state.root.T)
    assert 0 < variances.min() < variances.max() <= 1
