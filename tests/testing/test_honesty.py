"""The laws of honesty notice a `decide` that logs something else than the truth, by what was drawn alone."""

import numpy as np
import pytest

from recsdk import EpsilonGreedy, LinTS, LinUCB, WithFloor, base
from recsdk.testing import honesty, world
from recsdk.testing.honesty import check_calibration, check_draws, check_importance

NUM_ROUNDS = world.NUM_ROUNDS

THOMPSON = WithFloor(policy=LinTS(), floor=0.05)
DECIDE = base.decide


def before_the_floor(policy, probs, context):
    return (probs - policy.floor * context.mask / context.mask.sum()) / (1 - policy.floor)


def rounded(policy, probs, context):
    return np.round(probs, 2)


def first_two_swapped(policy, probs, context):
    return np.concatenate([probs[:2][::-1], probs[2:]])


def best_two_swapped(policy, probs, context):
    best = np.argsort(probs)[-2:]
    probs[best] = probs[best[::-1]]
    return probs


def top_for_all(policy, probs, context):
    return np.full_like(probs, probs.max())


def watched_while_learning(policy):
    world.watched.cache_clear()  # it has not seen this `decide`
    for check in (check_calibration, check_importance):
        check(policy, num_rounds=NUM_ROUNDS)


CHECKS = [check_draws, watched_while_learning]
COARSE = [first_two_swapped, best_two_swapped, top_for_all]
LIES = [before_the_floor, rounded, *COARSE]
TRIED = [(watched_while_learning, lie) for lie in LIES] + [(check_draws, lie) for lie in COARSE]  # at rest it is for what is far off


@pytest.mark.parametrize(("check", "lie"), TRIED)
def test_draws_that_are_not_as_logged_are_noticed(check, lie, monkeypatch):
    def decide(policy, state, rng, context):
        decision = DECIDE(policy, state, rng, context)
        probs = lie(policy, decision.probs.copy(), context)
        return decision._replace(propensity=probs[decision.action], probs=probs)

    monkeypatch.setattr(base, "decide", decide)
    monkeypatch.setattr(honesty, "NUM_RECOMPUTED", 0)  # which would notice without looking at the draws
    with pytest.raises(AssertionError, match="WithFloor"):
        check(THOMPSON)


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("lie", LIES)
def test_a_propensity_that_is_not_that_of_the_logged_probs_is_noticed(check, lie, monkeypatch):
    def decide(policy, state, rng, context):
        decision = DECIDE(policy, state, rng, context)
        return decision._replace(propensity=lie(policy, decision.probs.copy(), context)[decision.action])

    monkeypatch.setattr(base, "decide", decide)
    monkeypatch.setattr(honesty, "NUM_RECOMPUTED", 0)
    with pytest.raises(AssertionError, match="WithFloor"):
        check(THOMPSON)


def test_probs_that_are_not_the_policys_are_noticed_in_the_first_draws(monkeypatch):
    def decide(policy, state, rng, context):
        mixed = WithFloor(policy=policy, floor=0.001)
        return DECIDE(mixed, state, rng, context)

    monkeypatch.setattr(base, "decide", decide)
    with pytest.raises(AssertionError, match="the logged probs must be the policy's"):
        check_draws(THOMPSON)


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("draw", [lambda u: u * u, lambda u: 0.9 * u], ids=["squared", "never-last"])
def test_a_draw_that_is_not_uniform_is_noticed(check, draw, monkeypatch):
    class Bent:
        def __init__(self, rng):
            self.rng = rng

        def random(self):
            return draw(self.rng.random())

    def decide(policy, state, rng, context):
        return DECIDE(policy, state, Bent(rng), context)

    monkeypatch.setattr(base, "decide", decide)
    with pytest.raises(AssertionError, match="EpsilonGreedy"):
        check(EpsilonGreedy(epsilon=0.5))


@pytest.mark.parametrize("policy", [THOMPSON, LinTS(num_draws=1), LinUCB(), EpsilonGreedy(epsilon=0.01)])
@pytest.mark.parametrize("seed", range(2))
def test_the_truth_passes_whatever_the_seed(policy, seed, monkeypatch):
    default_rng = np.random.default_rng
    monkeypatch.setattr(honesty.np.random, "default_rng", lambda number: default_rng([seed, 99, *np.atleast_1d(number)]))
    world.rounds.cache_clear()
    check_draws(policy)
    watched_while_learning(policy)
    world.rounds.cache_clear()
