"""Playing against a world whose truth is known."""

import attrs
import numpy as np
import pytest

from recsdk import Context, LinTS, LinUCB, Round, Uniform, WithFloor, simulate
from recsdk.environments import LinearWorld
from recsdk.errors import InvalidValue

WORLD = LinearWorld(num_candidates=6, dim=4, noise=0.2)


@attrs.frozen
class Coins:
    """Two candidates that are told apart and earn the same: 1 with probability 1/2."""

    dim: int = 2

    def init(self, seed):
        return ()

    def round(self, world, rng, time):
        numbers = rng.random((2,))
        xp = numbers.__array_namespace__()
        context = Context(xp.eye(2, dtype=xp.float64), xp.ones(2, dtype=xp.bool), xp.arange(2))
        return Round(context, xp.full(2, 0.5), (numbers < 0.5).astype(xp.float64))


@attrs.frozen
class Padded:
    """The best candidate is padding in every second round."""

    dim: int = 1

    def init(self, seed):
        return ()

    def round(self, world, rng, time):
        mean = np.array([0.0, 0.5, 1.0])
        context = Context(mean[:, None], np.array([True, True, time % 2 == 0]), np.arange(3))
        return Round(context, mean, mean)


@pytest.mark.parametrize("engine", ["numpy", "jax"])
def test_the_log_says_what_happened(engine):
    simulation = simulate(WithFloor(policy=LinTS()), WORLD, 150, seed=1, engine=engine)
    log, rounds = simulation.log, np.arange(150)
    assert log.context.features.shape == (150, 6, 4)
    np.testing.assert_allclose(simulation.regret, simulation.mean.max(axis=1) - simulation.mean[rounds, log.action])
    assert (simulation.regret >= 0).all()
    assert ((simulation.value <= simulation.mean.max(axis=1)) & (simulation.value >= simulation.mean.min(axis=1))).all()
    assert ((log.propensity > 0) & (log.propensity <= 1)).all()
    assert (log.weight == 1).all()
    noise = (log.reward - simulation.mean[rounds, log.action]) / 0.2
    assert abs(noise.mean()) < 4 / 150**0.5
    assert 0.8 < noise.std() < 1.2


def test_the_value_is_that_of_the_whole_distribution():
    simulation = simulate(Uniform(), WORLD, 50, engine="numpy")
    np.testing.assert_allclose(simulation.value, simulation.mean.mean(axis=1), rtol=1e-12)


def test_padding_is_neither_shown_nor_regretted():
    simulation = simulate(Uniform(), Padded(), 40, engine="numpy")
    odd = np.arange(40) % 2 == 1
    assert (simulation.log.action[odd] < 2).all()
    np.testing.assert_array_equal(simulation.regret, np.where(odd, 0.5, 1.0) - simulation.log.reward)


@pytest.mark.parametrize("engine", ["numpy", "jax"])
def test_the_seed_decides_everything(engine):
    one, again, other = (simulate(LinTS(), WORLD, 50, seed=seed, engine=engine) for seed in (3, 3, 4))
    np.testing.assert_array_equal(one.log.context.features, again.log.context.features)
    np.testing.assert_array_equal(one.log.action, again.log.action)
    assert not np.array_equal(one.log.context.features, other.log.context.features)


@pytest.mark.parametrize("engine", ["numpy", "jax"])
def test_a_world_does_not_share_its_numbers_with_its_rounds(engine):
    """Else the first candidate of the first round would be the truth itself."""
    for seed in range(5):
        truth = WORLD.init(seed).weights
        first = simulate(Uniform(), WORLD, 1, seed=seed, engine=engine).log.context.features[0]
        assert np.abs(first @ truth).max() < 0.999


def test_a_simulation_can_go_on_from_a_state():
    first = simulate(LinUCB(), WORLD, 200, seed=1, engine="numpy")
    fresh, continued = (simulate(LinUCB(), WORLD, 50, seed=1, state=state, engine="numpy") for state in (None, first.state))
    assert continued.regret.mean() < fresh.regret.mean() / 2


def test_a_prior_is_what_a_policy_starts_from():
    truth = WORLD.init(1).weights
    assert simulate(LinUCB(alpha=0), WORLD, 20, seed=1, prior=truth, engine="numpy").regret.max() < 0.5
    assert simulate(LinUCB(alpha=0), WORLD, 20, seed=1, prior=-truth, engine="numpy").regret.max() > 0.5


def test_the_engines_agree_on_what_uniform_exploration_earns():
    on_numpy, on_jax = (simulate(Uniform(), WORLD, 4000, seed=1, engine=engine).regret for engine in ("numpy", "jax"))
    assert abs(on_numpy.mean() - on_jax.mean()) < 4 * np.hypot(on_numpy.std(), on_jax.std()) / 4000**0.5


@pytest.mark.parametrize("num_rounds", [0, -1, 2.0, None])
def test_a_number_of_rounds_below_one_is_refused(num_rounds):
    with pytest.raises(InvalidValue, match="num_rounds must be a whole number >= 1, got "):
        simulate(Uniform(), WORLD, num_rounds)


def importance_weighted(log, target):
    terms = target[np.arange(len(log.action)), log.action] / log.propensity * log.reward
    return terms.mean(), terms.std() / len(terms) ** 0.5


@pytest.fixture(scope="module")
def floored():
    return simulate(WithFloor(policy=LinTS(), floor=0.2), WORLD, 20_000, seed=5)


@pytest.mark.parametrize("target", ["uniform", "greedy", "worst"])
def test_importance_weighting_of_a_floored_log_finds_the_truth(floored, target):
    mean = floored.mean
    probs = {
        "uniform": np.full(mean.shape, 1 / 6),
        "greedy": np.eye(6)[mean.argmax(axis=1)],
        "worst": np.eye(6)[mean.argmin(axis=1)],
    }[target]
    estimate, error = importance_weighted(floored.log, probs)
    truth = (probs * mean).sum(axis=1).mean()
    assert abs(estimate - truth) < 4 * error
    assert error < 0.1


def test_without_a_floor_the_log_of_a_thompson_sampler_cannot_tell():
    """One posterior draw is a certainty given the draw: the propensities are true and all 1, so the other half is never seen."""
    uniform = np.full((5000, 2), 0.5)
    bare = simulate(LinTS(num_draws=1), Coins(), 5000, seed=1, engine="numpy")
    assert (bare.log.propensity == 1).all()
    estimate, error = importance_weighted(bare.log, uniform)
    assert estimate == pytest.approx(0.25, abs=0.02)
    assert (0.5 - estimate) / error > 30
    explored = simulate(WithFloor(policy=LinTS(num_draws=1), floor=0.05), Coins(), 5000, seed=1, engine="numpy")
    estimate, error = importance_weighted(explored.log, uniform)
    assert abs(estimate - 0.5) < 4 * error
