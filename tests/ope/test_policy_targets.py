"""Targets that are policies, replayed over the log."""

import numpy as np
import pytest

import recsdk
from recsdk import ope
from tests.ope.logs import log_of, random_log


def uniform_log(seed, size=3000):
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(size, 4, 3))
    means = features @ np.array([0.5, -1.0, 0.25])
    action = rng.integers(4, size=size)
    reward = means[np.arange(size), action] + 0.1 * rng.normal(size=size)
    return log_of(action, reward, np.full(size, 0.25), features=features, num_candidates=4), means


def test_a_policy_is_worth_what_its_probabilities_are():
    log, _, _ = random_log(0, floor=0.5)
    given = ope.evaluate(log, np.full(log.context.mask.shape, 0.25))
    for name, found in ope.evaluate(log, recsdk.Uniform()).estimates.items():
        assert found == pytest.approx(given.estimates[name], rel=1e-12)


def test_a_policy_that_has_learnt_is_worth_the_best_items_and_one_that_has_not_is_worth_less():
    log, means = uniform_log(0)
    policy = recsdk.LinUCB(alpha=0.0)

    def learned():
        return recsdk.replay(policy, uniform_log(1)[0], engine="numpy").state

    found = ope.evaluate(log, policy, state=learned(), estimators=("snips", "dr", "matched"))
    best = means.max(1).mean()
    for name, estimate in found.estimates.items():
        assert abs(estimate.value - best) < 4 * estimate.stderr, name
    fresh = ope.evaluate(log, policy, estimators=("snips",)).estimates["snips"]
    assert fresh.high < best


def test_what_it_learns_from_is_passed_on():
    log, _ = uniform_log(0, size=800)
    policy = recsdk.EpsilonGreedy(epsilon=0.5)
    for learn_from in ("none", "matched", "all"):
        played = recsdk.replay(policy, log, learn_from=learn_from, seed=3, engine="numpy")
        expected = ope.rounds(log, np.asarray(played.decision.probs), matched=np.asarray(played.matched))
        found = ope.evaluate(log, policy, learn_from=learn_from, seed=3, estimators=("ips", "matched"))
        for name, terms in (("ips", ope.ips(expected)), ("matched", ope.matched_mean(expected))):
            assert found.estimates[name] == pytest.approx(ope.delta(terms), rel=1e-10)


def test_the_matched_mean_is_what_a_learning_policy_earns_live():
    # Li et al. 2011: the rounds it matched on a uniform log are distributed as its own life of that length.
    policy, length, runs = recsdk.LinUCB(alpha=1.0), 6, 200
    replayed, lived = [], []
    for seed in range(runs):
        log, _ = uniform_log(seed, size=80)
        played = recsdk.replay(policy, log, learn_from="matched", seed=seed, engine="numpy")
        end = np.flatnonzero(played.matched)[length - 1] + 1
        rounds = ope.rounds(log, np.asarray(played.decision.probs), matched=played.matched)
        replayed.append(ope.value(ope.matched_mean(ope.Rounds(*(None if column is None else column[:end] for column in rounds)))))
        lived.append(live(policy, seed=1000 + seed, length=length))
    gap = np.mean(replayed) - np.mean(lived)
    error = np.sqrt((np.var(replayed, ddof=1) + np.var(lived, ddof=1)) / runs)
    assert abs(gap) < 4 * error
    learnt_already = np.mean([live(policy, seed=2000 + seed, length=length, before=100) for seed in range(runs)])
    assert learnt_already - np.mean(replayed) > 4 * error  # so the test can tell a learner from what it becomes


def live(policy, *, seed, length, before=0):
    """Returns the mean reward of `length` rounds after the first `before`."""
    rng = np.random.default_rng(seed)
    state, earned = policy.init(np.zeros(3)), []
    for _ in range(before + length):
        context = recsdk.Context(rng.normal(size=(4, 3)), np.ones(4, np.bool_), np.arange(4))
        action, propensity, _ = recsdk.decide(policy, state, rng, context)
        reward = context.features[action] @ np.array([0.5, -1.0, 0.25]) + 0.1 * rng.normal()
        state = policy.update(state, recsdk.Interaction(context, action, reward, propensity, np.float64(1)))
        earned.append(reward)
    return np.mean(earned[before:])
