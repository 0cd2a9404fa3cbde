"""Optimism and Thompson sampling on one linear model."""

import numpy as np
import pytest

from recsdk import Context, LinTS, LinUCB, Uniform, WithFloor, decide, explore, fast, replay, simulate, testing
from recsdk.environments import LinearWorld
from recsdk.errors import InvalidValue


@testing.parametrize(LinUCB(), LinUCB(alpha=1.0), LinTS(), regret=1.2)
def test_conforms(policy, check):
    check(policy)


@testing.parametrize(LinTS(num_draws=1), num_rounds=20_000, regret=1.2, skip={"spread": "its answer is the winner of its one draw"})
def test_conforms_with_one_draw(policy, check):
    check(policy)


@testing.parametrize(LinUCB(alpha=0, ridge=0.1), WithFloor(policy=LinTS()))
def test_conforms_where_more_regret_is_meant(policy, check):
    check(policy)


@pytest.fixture(scope="module")
def log():
    log = simulate(Uniform(), LinearWorld(num_candidates=5, dim=4), 60, seed=0, engine="numpy").log
    uneven = log.context.features * [4.0, 1.0, 0.5, 0.1]  # so that the root is far from symmetric
    return log._replace(context=log.context._replace(features=uneven))


@pytest.fixture(scope="module")
def posterior(log):
    chosen = log.context.features[np.arange(60), log.action]
    covariance = np.linalg.inv(2 * np.eye(4) + chosen.T @ chosen)
    return covariance @ (chosen.T @ log.reward), covariance


def rivals(mean):
    """Returns candidates that the posterior mean hardly tells apart."""
    features = np.random.default_rng(2).standard_normal((6, 4))
    features -= np.outer(features @ mean, mean) * 0.97 / (mean @ mean)
    return Context(features, np.ones(6, bool), np.arange(6))


def scores_of(policy, state, context, monkeypatch, rule):
    """Returns what a policy hands to an exploration rule by its definition."""
    seen = []
    monkeypatch.setattr(fast, "kernels", lambda *_: None)
    original = getattr(explore, rule)
    monkeypatch.setattr(explore, rule, lambda scores, mask: seen.append(scores) or original(scores, mask))
    policy.probs(state, np.random.default_rng(0), context)
    monkeypatch.undo()
    return seen[0]


def test_linucb_scores_by_equation_5_of_its_paper(log, posterior, monkeypatch):
    mean, covariance = posterior
    policy = LinUCB(alpha=1.5, ridge=2.0)
    state = replay(policy, log, engine="numpy").state
    features = np.random.default_rng(1).standard_normal((40, 4))
    wanted = features @ mean + 1.5 * np.sqrt(np.einsum("kd,de,ke->k", features, covariance, features))
    context = Context(features, np.ones(40, bool), np.arange(40))
    np.testing.assert_allclose(scores_of(policy, state, context, monkeypatch, "greedy"), wanted, rtol=1e-10)
    assert policy.probs(state, None, context)[wanted.argmax()] == 1


def test_linucb_without_optimism_is_greedy(log):
    policy = LinUCB(alpha=0)
    state = replay(policy, log, engine="numpy").state
    features = np.random.default_rng(1).standard_normal((10, 4))
    probs = policy.probs(state, None, Context(features, np.ones(10, bool), np.arange(10)))
    assert probs.argmax() == (features @ state.mean).argmax()


def test_lints_samples_weights_with_the_posteriors_mean_and_variance(log, posterior, monkeypatch):
    mean, covariance = posterior
    policy = LinTS(scale=0.5, ridge=2.0, num_draws=100_000)
    state = replay(policy, log, engine="numpy").state
    unit = Context(np.eye(4), np.ones(4, bool), np.arange(4))
    weights = scores_of(policy, state, unit, monkeypatch, "votes")
    assert weights.shape == (100_000, 4)
    np.testing.assert_allclose(weights.var(axis=0), 0.25 * np.diag(covariance), rtol=0.02)
    spread = 0.5 * np.sqrt(np.diag(covariance))
    np.testing.assert_allclose(np.corrcoef(weights.T), 0.25 * covariance / np.outer(spread, spread), atol=0.02)
    assert (np.abs(weights.mean(axis=0) - mean) < 4 * spread / 100_000**0.5).all()


@pytest.mark.parametrize("num_draws", [1, 4, 7])
def test_lints_draws_in_mirrored_pairs_as_many_as_asked_for(log, posterior, monkeypatch, num_draws):
    policy = LinTS(num_draws=num_draws)
    state = replay(policy, log, engine="numpy").state
    weights = scores_of(policy, state, Context(np.eye(4), np.ones(4, bool), np.arange(4)), monkeypatch, "votes")
    assert weights.shape == (num_draws, 4)
    assert len(np.unique(weights, axis=0)) == num_draws
    centres = (weights[: num_draws // 2] + weights[(num_draws + 1) // 2 :]) / 2
    np.testing.assert_allclose(centres, np.tile(state.mean, (num_draws // 2, 1)))


def test_lints_gives_thompsons_choice_frequencies(log, posterior):
    mean, covariance = posterior
    state = replay(LinTS(ridge=2.0), log, engine="numpy").state
    context = rivals(mean)
    weights = np.random.default_rng(3).multivariate_normal(mean, 0.25**2 * covariance, 100_000)
    thompson = np.bincount((weights @ context.features.T).argmax(axis=1), minlength=6) / 100_000
    probs = LinTS(ridge=2.0, num_draws=100_000).probs(state, np.random.default_rng(4), context)
    error = np.sqrt(2 * thompson * (1 - thompson) / 100_000)
    assert (np.abs(probs - thompson) <= 4 * error + 1e-12).all()
    assert ((thompson > 0.02) & (thompson < 0.98)).sum() >= 4  # so that there is something to compare


@pytest.mark.parametrize("num_draws", [1, 4])
def test_an_action_drawn_from_few_draws_is_thompsons_too(log, posterior, num_draws):
    state = replay(LinTS(ridge=2.0), log, engine="numpy").state
    context = rivals(posterior[0])
    thompson = LinTS(ridge=2.0, num_draws=100_000).probs(state, np.random.default_rng(4), context)
    rng, policy = np.random.default_rng(5), LinTS(ridge=2.0, num_draws=num_draws)
    actions = [decide(policy, state, rng, context).action for _ in range(10_000)]
    shares = np.bincount(actions, minlength=6) / 10_000
    assert (np.abs(shares - thompson) <= 4 * np.sqrt(thompson * (1 - thompson) * (1 / 10_000 + 1 / 100_000)) + 1e-12).all()


def test_one_draw_is_a_certainty_given_the_draw(log):
    policy = LinTS(num_draws=1)
    state = replay(policy, log, engine="numpy").state
    probs = policy.probs(state, np.random.default_rng(0), Context(np.eye(4), np.ones(4, bool), np.arange(4)))
    assert sorted(probs) == [0, 0, 0, 1]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: LinUCB(alpha=-0.1), r"LinUCB.alpha must be a finite number >= 0, got -0.1"),
        (lambda: LinUCB(ridge=0), r"LinUCB.ridge must be a finite number > 0, got 0"),
        (lambda: LinTS(scale=float("inf")), r"LinTS.scale must be a finite number > 0, got inf"),
        (lambda: LinTS(num_draws=0), r"LinTS.num_draws must be a whole number >= 1, got 0"),
        (lambda: LinTS(num_draws=8.0), r"LinTS.num_draws must be a whole number >= 1, got 8.0"),
    ],
)
def test_a_bad_setting_is_refused(make, message):
    with pytest.raises(InvalidValue, match=message):
        make()
