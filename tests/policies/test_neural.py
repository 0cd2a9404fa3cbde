import itertools

import jax
import numpy as np
import optax
import pytest

from recsdk import Context, Interaction, LinTS, NeuralLinear, NeuralSquareCB, simulate, testing
from recsdk.environments import NeuralWorld
from recsdk.errors import InvalidValue
from recsdk.policies import _memory


@testing.parametrize(NeuralSquareCB(widths=(8,), memory=64), NeuralLinear(widths=(8,), memory=64, refresh=16), num_rounds=5_000)
def test_conforms(policy, check):
    check(policy)


def rounds(num):
    log = testing.inputs.log(num, 5, 3)
    return [testing.inputs.at(log, row) for row in range(num)]


def test_a_rebuilt_belief_is_the_fold_of_the_remembered_rounds_as_the_network_sees_them():
    policy = NeuralLinear(widths=(4,), memory=20, refresh=30)
    state, linear = policy.init(np.zeros(3)), LinTS()
    for interaction in rounds(30):
        state = policy.update(state, interaction)
    np.testing.assert_array_equal(state.weights, state.neural.network[0])
    kept = state.neural.memory.rows
    seen = policy._seen(state.weights, kept[:, :-2])
    wanted = linear.init(np.zeros(5))
    for x, row in zip(seen, kept, strict=True):
        wanted = linear.update(wanted, Interaction(Context(x[None], np.ones(1, bool), np.zeros(1, int)), 0, row[-2], 0.5, row[-1]))
    np.testing.assert_allclose(state.last.mean, wanted.mean, atol=1e-9)
    np.testing.assert_allclose(state.last.root @ state.last.root.T, wanted.root @ wanted.root.T, atol=1e-9)
    assert state.last.total == wanted.total


def test_between_rebuildings_the_features_stand_still_while_the_network_learns():
    policy = NeuralLinear(widths=(4,), memory=20, refresh=30)
    state = policy.init(np.zeros(3))
    before = state.weights.copy()
    for interaction in rounds(29):
        state = policy.update(state, interaction)
    np.testing.assert_array_equal(state.weights, before)
    assert abs(state.neural.network[0] - before).max() > 0.01


def loss(weights, widths, x, targets, counts):
    for inputs, outputs in itertools.pairwise((x.shape[1], *widths)):
        matrix, biases, weights = weights[: inputs * outputs], weights[inputs * outputs :][:outputs], weights[(inputs + 1) * outputs :]
        x = jax.nn.relu(x @ matrix.reshape(inputs, outputs) + biases)
    return (counts * optax.losses.sigmoid_binary_cross_entropy(x @ weights[:-1] + weights[-1], targets)).mean()


@pytest.mark.parametrize("widths", [(4,), (5, 2, 3)])
def test_it_takes_the_steps_that_automatic_differentiation_and_optax_take(widths):
    policy = NeuralSquareCB(widths=widths, batch_size=3, memory=10)
    state = policy.init(np.zeros(3))
    with jax.enable_x64(True):
        weights, optimiser = state.network[0].copy(), optax.adam(policy.learning_rate)
        moments = optimiser.init(weights)
        for interaction in rounds(30):
            x, reward = interaction.context.features[interaction.action], np.clip(interaction.reward, 0, 1)
            row = np.array([*x, reward, interaction.weight])
            batch = np.concatenate([row[None], _memory.others(state.memory, 2)])
            slopes = jax.grad(loss)(weights, widths, batch[:, :3], batch[:, 3], batch[:, 4])
            change, moments = optimiser.update(slopes, moments)
            weights = weights + change
            state = policy.update(state, interaction._replace(reward=reward))
    np.testing.assert_allclose(state.network[0], weights, atol=1e-9)


@pytest.mark.parametrize("policy", [NeuralSquareCB(memory=500), NeuralLinear(memory=500, refresh=200)])
def test_it_learns_what_no_linear_model_can(policy):
    world = NeuralWorld(num_candidates=5, dim=4, noise=0.1)
    neural, linear = (simulate(each, world, 3000, engine="jax").regret[-500:].mean() for each in (policy, LinTS()))
    assert neural < 0.7 * linear


@pytest.mark.parametrize("widths", [(), (0,), [8], (8.0,), (True,)])
def test_layers_that_make_no_sense_are_refused(widths):
    with pytest.raises(InvalidValue, match="widths must be a tuple of integers >= 1"):
        NeuralSquareCB(widths=widths)
