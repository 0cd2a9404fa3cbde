import jax
import numpy as np
import pytest

from recsdk import Context, Interaction, Jitted, LinTS, NeuralLinear, NeuralSquareCB, simulate, testing
from recsdk.environments import NeuralWorld
from recsdk.errors import InvalidValue


@testing.parametrize(NeuralSquareCB(widths=(8,), memory=64), NeuralLinear(widths=(8,), memory=64, refresh=16), num_rounds=5_000)
def test_conforms(policy, check):
    check(policy)


def rounds(num):
    log = testing.inputs.log(num, 5, 3)
    return [testing.inputs.at(log, row) for row in range(num)]


def test_a_rebuilt_belief_is_the_fold_of_the_remembered_rounds_as_the_network_sees_them():
    policy = NeuralLinear(widths=(4,), memory=20, refresh=30)
    live = Jitted(policy=policy)
    state, linear = live.init(np.zeros(3)), LinTS()
    for interaction in rounds(30):
        state = live.update(state, interaction)
    with jax.enable_x64(True):
        np.testing.assert_array_equal(state.weights, state.neural.network.weights)
        kept = np.asarray(state.neural.memory.rows)
        seen = np.asarray(policy._seen(state.weights, jax.numpy.asarray(kept[:, :-2])))
    wanted = linear.init(np.zeros(5))
    for x, row in zip(seen, kept, strict=True):
        wanted = linear.update(wanted, Interaction(Context(x[None], np.ones(1, bool), np.zeros(1, int)), 0, row[-2], 0.5, row[-1]))
    np.testing.assert_allclose(state.last.mean, wanted.mean, atol=1e-9)
    np.testing.assert_allclose(state.last.root, wanted.root, atol=1e-9)


def test_between_rebuildings_the_features_stand_still_while_the_network_learns():
    live = Jitted(policy=NeuralLinear(widths=(4,), memory=20, refresh=30))
    state = live.init(np.zeros(3))
    before = np.array(state.weights)
    for interaction in rounds(29):
        state = live.update(state, interaction)
    np.testing.assert_array_equal(state.weights, before)
    assert abs(np.asarray(state.neural.network.weights) - before).max() > 0.01


@pytest.mark.parametrize("policy", [NeuralSquareCB(memory=500), NeuralLinear(memory=500, refresh=200)])
def test_it_learns_what_no_linear_model_can(policy):
    world = NeuralWorld(num_candidates=5, dim=4, noise=0.1)
    neural, linear = (simulate(each, world, 3000, engine="jax").regret[-500:].mean() for each in (policy, LinTS()))
    assert neural < 0.7 * linear


@pytest.mark.parametrize("widths", [(), (0,), [8], (8.0,), (True,)])
def test_layers_that_make_no_sense_are_refused(widths):
    with pytest.raises(InvalidValue, match="widths must be a tuple of integers >= 1"):
        NeuralSquareCB(widths=widths)
