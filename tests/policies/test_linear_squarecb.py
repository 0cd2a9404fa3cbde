import numpy as np
import pytest

from recsdk import Context, Interaction, SquareCB, simulate, testing
from recsdk.environments import LinearWorld
from recsdk.errors import InvalidValue

CONTEXT = Context(np.array([[1.0, 0.0], [0.0, 1.0], [0.5, 0.5], [9.0, 9.0]]), np.array([True, True, True, False]), np.arange(4))


@testing.parametrize(SquareCB(), SquareCB(scale=1.0, ridge=0.1))
def test_conforms(policy, check):
    check(policy)


def test_before_any_reward_it_explores_uniformly_whatever_the_prior():
    probs = SquareCB().probs(SquareCB().init(np.array([5.0, 1.0])), None, CONTEXT)
    np.testing.assert_allclose(probs, [1 / 3, 1 / 3, 1 / 3, 0], rtol=1e-12)


def test_its_greed_grows_with_the_weight_learned_and_the_number_of_candidates():
    policy = SquareCB(scale=2.0, ridge=1e-9)
    state = policy.init(np.zeros(2))
    for action, reward, weight in ((0, 1.0, 1.5), (1, 0.0, 2.5)):
        state = policy.update(state, Interaction(CONTEXT, action, reward, 0.5, weight))
    gamma = 2 * np.sqrt(3 * 4.0)
    wanted = np.array([0, 1 / (3 + gamma * 1.0), 1 / (3 + gamma * 0.5), 0])
    wanted[0] = 1 - wanted.sum()
    np.testing.assert_allclose(policy.probs(state, None, CONTEXT), wanted, rtol=1e-6)


def test_every_candidate_keeps_a_probability_that_the_paper_bounds():
    simulation = simulate(SquareCB(), LinearWorld(num_candidates=6, dim=4), 300, seed=1, engine="numpy")
    gamma = 10 * np.sqrt(6 * np.arange(300))
    estimates_apart = 3  # features are of unit length and so are the weights, up to noise
    assert (simulation.log.propensity >= 1 / (6 + gamma * estimates_apart)).all()


def test_it_counts_in_double_precision():
    state = SquareCB().init(np.zeros(2))._replace(total=np.float64(2**53 - 2))
    state = SquareCB().update(state, Interaction(CONTEXT, 0, 1.0, 0.5, 1.0))
    assert state.total == 2**53 - 1


@pytest.mark.parametrize("scale", [0, -1, float("nan"), float("inf"), True])
def test_a_scale_that_is_no_number_above_0_is_refused(scale):
    with pytest.raises(InvalidValue, match=r"SquareCB.scale must be a finite number > 0, got "):
        SquareCB(scale=scale)
