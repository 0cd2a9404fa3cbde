import numpy as np
import pytest

from recsdk import Bag, Context, Uniform, replay, simulate, testing
from recsdk.environments import LinearWorld
from recsdk.errors import InvalidValue
from recsdk.policies import _counter


@testing.parametrize(Bag(num_members=4))
def test_conforms(policy, check):
    check(policy)


@pytest.fixture(scope="module")
def log():
    return simulate(Uniform(), LinearWorld(num_candidates=5, dim=3, noise=0.5), 200, seed=0, engine="numpy").log


def test_the_votes_of_the_members_are_the_probabilities(log):
    policy = Bag(num_members=8)
    state = replay(policy, log, engine="numpy").state
    means = np.stack([member.mean for member in state.members])
    features = np.random.default_rng(0).standard_normal((6, 3))
    probs = policy.probs(state, None, Context(features, np.ones(6, bool), np.arange(6)))
    np.testing.assert_allclose(probs, np.bincount((means @ features.T).argmax(axis=1), minlength=6) / 8, rtol=1e-12)


def test_a_member_is_the_ridge_solution_of_rounds_seen_twice_or_not_at_all(log):
    policy = Bag(num_members=5, ridge=2.0, seed=7)
    state = replay(policy, log, engine="numpy").state
    chosen = log.context.features[np.arange(200), log.action]
    coins = np.stack([2.0 * (_counter.words(np.asarray(count), 7, 5) >> np.uint64(63)) for count in range(200)])
    assert set(coins.ravel()) == {0.0, 2.0}
    for member, weights in zip(state.members, coins.T, strict=True):
        precision = 2 * np.eye(3) + (chosen * weights[:, None]).T @ chosen
        np.testing.assert_allclose(member.mean, np.linalg.solve(precision, (chosen * weights[:, None]).T @ log.reward), rtol=1e-9)


def test_the_members_spread_as_the_posterior_does():
    log = simulate(Uniform(), LinearWorld(num_candidates=2, dim=3, noise=0.5), 400, seed=1, engine="numpy").log
    state = replay(Bag(num_members=200), log, engine="numpy").state
    chosen = log.context.features[np.arange(400), log.action]
    spread = np.cov(np.stack([member.mean for member in state.members]).T)
    np.testing.assert_allclose(np.diag(spread), 0.25 * np.diag(np.linalg.inv(chosen.T @ chosen)), rtol=0.4)


def test_another_seed_tosses_other_coins(log):
    one, other = (replay(Bag(seed=seed), log, engine="numpy").state for seed in (0, 1))
    assert not np.array_equal(one.members[0].mean, other.members[0].mean)


@pytest.mark.parametrize(("field", "value"), [("num_members", 0), ("ridge", 0), ("seed", -1), ("seed", 1.5)])
def test_a_bad_setting_is_refused(field, value):
    with pytest.raises(InvalidValue, match=rf"Bag.{field} must be "):
        Bag(**{field: value})
