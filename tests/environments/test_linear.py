import numpy as np
import pytest

from recsdk import Uniform, simulate
from recsdk.environments import LinearWorld
from recsdk.errors import InvalidValue


@pytest.mark.parametrize("engine", ["numpy", "jax"])
def test_rewards_are_linear_in_the_features_and_the_truth_is_what_it_says(engine):
    world = LinearWorld(num_candidates=4, dim=6, noise=0.5)
    simulation = simulate(Uniform(), world, 3000, seed=2, engine=engine)
    features, weights = simulation.log.context.features, world.init(2).weights
    np.testing.assert_allclose(simulation.mean, features @ weights, rtol=1e-9, atol=1e-12)
    noise = simulation.log.reward - simulation.mean[np.arange(3000), simulation.log.action]
    assert abs(noise.mean()) < 4 * 0.5 / 3000**0.5
    assert noise.std() == pytest.approx(0.5, rel=4 / (2 * 3000) ** 0.5)
    np.testing.assert_allclose(np.linalg.norm(features, axis=2), 1, rtol=1e-12)
    assert np.abs(features.mean(axis=(0, 1))).max() < 4 / (6 * 12_000) ** 0.5 * 1.2


def test_without_noise_the_reward_is_its_mean():
    simulation = simulate(Uniform(), LinearWorld(noise=0), 50, engine="numpy")
    np.testing.assert_array_equal(simulation.log.reward, simulation.mean[np.arange(50), simulation.log.action])


def test_the_seed_makes_the_truth_and_its_length_is_one():
    world = LinearWorld(dim=3)
    np.testing.assert_array_equal(world.init(1).weights, world.init(1).weights)
    assert not np.array_equal(world.init(1).weights, world.init(2).weights)
    assert np.linalg.norm(world.init(1).weights) == pytest.approx(1)


@pytest.mark.parametrize("fields", [{"num_candidates": 0}, {"dim": 0}, {"noise": -1.0}, {"dim": 2.5}])
def test_a_world_that_cannot_be_is_refused(fields):
    (field,) = fields
    with pytest.raises(InvalidValue, match=rf"LinearWorld.{field} must be "):
        LinearWorld(**fields)
