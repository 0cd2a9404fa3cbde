import numpy as np
import pytest
from recsdk_vw import VW
from recsdk_vw.arguments import EXPLORATIONS
from recsdk_vw.rounds import DIM, RNG, ROWS, all_probs, context, equal, fold, interaction, rounds

import recsdk
from recsdk.environments import LinearWorld


@pytest.mark.parametrize("exploration", EXPLORATIONS)
def test_what_is_learned_does_not_depend_on_the_order_of_the_candidates(exploration):
    policy = VW(exploration=exploration)

    def reversed_candidates(one):
        return interaction(one.context.features[::-1], len(one.context.mask) - 1 - one.action, one.reward, one.propensity)

    state, mirrored = fold(policy, rounds(60)), fold(policy, map(reversed_candidates, rounds(60)))
    assert policy.dumps(state) == policy.dumps(mirrored)


@pytest.mark.parametrize("exploration", EXPLORATIONS)
def test_predicting_changes_nothing(exploration):
    policy = VW(exploration=exploration)
    quiet, busy = policy.init(np.zeros(DIM)), policy.init(np.zeros(DIM))
    for one in rounds(60):
        answers = [policy.probs(busy, RNG, one.context) for _ in range(3)]
        assert equal(answers[1:], answers[:-1])
        quiet, busy = policy.update(quiet, one), policy.update(busy, one)
    assert equal(all_probs(policy, quiet), all_probs(policy, busy))


@pytest.mark.parametrize("weight", [0.25, 3.0, 1000.0])
def test_a_weight_counts_as_its_share_of_the_inverse_propensity(weight):
    policy = VW(exploration="softmax", inverse_temperature=5.0)
    rare, weighty = policy.init(np.zeros(DIM)), policy.init(np.zeros(DIM))
    for one in rounds(10):
        rare = policy.update(rare, one._replace(propensity=0.2 / max(weight, 1)))
        weighty = policy.update(weighty, one._replace(propensity=0.2 * min(weight, 1), weight=weight))
    for left, right in zip(all_probs(policy, rare), all_probs(policy, weighty), strict=True):
        np.testing.assert_allclose(left, right, rtol=1e-3)


@pytest.mark.parametrize("exploration", EXPLORATIONS)
def test_a_weight_changes_what_is_learned_and_zero_learns_nothing(exploration):
    policy = VW(exploration=exploration, **({"num_rounds": 10} if exploration == "first" else {}))
    states = [fold(policy, (one._replace(weight=weight) for one in rounds(30))) for weight in (1.0, 5.0)]
    assert not equal(all_probs(policy, states[0]), all_probs(policy, states[1]))
    before = policy.dumps(states[0])
    assert policy.dumps(fold(policy, (one._replace(weight=0.0) for one in rounds(3)), states[0])) == before


def test_further_options_reach_vowpal_wabbit():
    quadratic = VW(exploration="softmax", options="-q ff --l2 1e-6")
    states = [fold(policy, rounds(20)) for policy in (VW(exploration="softmax"), quadratic)]
    assert not equal(all_probs(quadratic, states[0]), all_probs(quadratic, states[1]))


def test_rewards_may_have_any_declared_range():
    policy = VW(exploration="regcb", min_reward=-2, max_reward=5)
    state = policy.update(policy.init(np.zeros(DIM)), interaction(ROWS, reward=-2.0))
    assert len(policy.probs(state, RNG, context(ROWS))) == 2


@pytest.mark.parametrize(("exploration", "is_random"), [("bag", True), ("rnd", True), ("squarecb", False)])
def test_the_seed_is_that_of_the_randomness_inside_vowpal_wabbit(exploration, is_random):
    answers = []
    for seed in (0, 0, 2**63 + 1):
        policy = VW(exploration=exploration, seed=seed)
        answers.append(all_probs(policy, fold(policy, rounds(30))))
    assert equal(answers[0], answers[1])
    assert equal(answers[0], answers[2]) is not is_random


@pytest.mark.parametrize(("exploration", "most"), [("squarecb", 0.35), ("epsilon", 0.35)])
def test_it_learns(exploration, most):
    world = LinearWorld(num_candidates=8, dim=6)
    policy = VW(exploration=exploration, min_reward=-2, max_reward=2)
    regret = recsdk.simulate(policy, world, 2000, seed=1).regret.sum()
    uniform = recsdk.simulate(recsdk.Uniform(), world, 2000, seed=1, engine="numpy").regret.sum()
    assert regret < most * uniform
