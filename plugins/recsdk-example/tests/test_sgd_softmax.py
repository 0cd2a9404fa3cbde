import numpy as np
import pytest
from recsdk_example import SgdSoftmax

import recsdk
from recsdk import plugins
from recsdk.base import Context, Interaction
from recsdk.environments.linear import LinearWorld
from recsdk.errors import InvalidValue

RNG = np.random.default_rng(0)
CONTEXT = Context(np.array([[1.0, 0.0], [0.0, 2.0], [9.0, 9.0]]), np.array([True, True, False]), np.arange(3))


def interaction(action, reward, weight=1.0):
    return Interaction(CONTEXT, *map(np.asarray, (action, reward, 0.5, weight)))


def test_the_entry_point_gives_it_its_name():
    assert plugins.load("policies", "sgd-softmax", temperature=0.5) == SgdSoftmax(temperature=0.5)


def test_probabilities_are_the_boltzmann_distribution_of_the_prior_at_first():
    policy = SgdSoftmax(temperature=0.5)
    probs = policy.probs(policy.init(np.array([1.0, 0.0])), RNG, CONTEXT)
    np.testing.assert_allclose(probs, [np.exp(2) / (1 + np.exp(2)), 1 / (1 + np.exp(2)), 0])


def test_an_update_moves_the_estimate_towards_the_reward_by_the_implicit_step():
    policy = SgdSoftmax(rate=0.5)
    state = policy.update(policy.init(np.zeros(2)), interaction(1, 1.0))
    np.testing.assert_allclose(state.mean, [0, 0.5 / (1 + 0.5 * 4) * 2])


@pytest.mark.parametrize("rate", [0.01, 1.0, 1e9])
def test_no_rate_overshoots_the_reward(rate):
    policy = SgdSoftmax(rate=rate)
    state = policy.init(np.zeros(2))
    for _ in range(100):
        state = policy.update(state, interaction(1, 1.0))
        assert 0 < 2 * state.mean[1] <= 1 + 1e-9


def test_a_weight_scales_the_rate_and_zero_learns_nothing():
    weighty = SgdSoftmax(rate=0.1).update(SgdSoftmax().init(np.zeros(2)), interaction(0, 1.0, weight=3.0))
    np.testing.assert_allclose(weighty.mean, SgdSoftmax(rate=0.3).update(SgdSoftmax().init(np.zeros(2)), interaction(0, 1.0)).mean)
    assert not SgdSoftmax().update(SgdSoftmax().init(np.zeros(2)), interaction(0, 1.0, weight=0.0)).mean.any()


@pytest.mark.parametrize("fields", [{"temperature": 0}, {"temperature": float("nan")}, {"rate": -1}, {"rate": "fast"}])
def test_bad_fields_are_refused_at_construction(fields):
    with pytest.raises(InvalidValue, match=f"SgdSoftmax.{next(iter(fields))} must be a finite number > 0"):
        SgdSoftmax(**fields)


def test_it_learns():
    world = LinearWorld(num_candidates=8, dim=6)
    regret = recsdk.simulate(SgdSoftmax(), world, 2000, seed=1, engine="numpy").regret.sum()
    uniform = recsdk.simulate(recsdk.Uniform(), world, 2000, seed=1, engine="numpy").regret.sum()
    assert regret < 0.3 * uniform


def test_a_log_replays_on_jax_as_on_numpy():
    pytest.importorskip("jax")
    log = recsdk.simulate(recsdk.Uniform(), LinearWorld(), 50, engine="numpy").log
    states = [recsdk.replay(SgdSoftmax(), log, engine=engine).state for engine in ("numpy", "jax")]
    np.testing.assert_allclose(states[0].mean, states[1].mean, rtol=1e-9)
