"""Several candidates shown at once."""

import numpy as np
import pytest

from recsdk import LinTS, LinUCB, Uniform, WithFloor, replay, simulate_slates
from recsdk.environments import Cascade, LinearWorld, LogisticWorld, PositionBias
from recsdk.errors import InvalidValue, TooFewCandidates

WORLD = LogisticWorld(num_candidates=5, dim=3)
each_attention = pytest.mark.parametrize("attention", [PositionBias(), PositionBias(power=0), Cascade()])


def play(attention, policy=None, num_rounds=2000, **options):
    options = {"size": 3, "engine": "numpy", "seed": 1} | options
    return simulate_slates(policy or Uniform(), WORLD, num_rounds, attention=attention, **options)


def means(simulation, seed=1):
    """The truth of each shown candidate, f64[T, L]."""
    log = simulation.log
    shown = log.context.features[np.arange(len(log.action)), log.action]
    return 1 / (1 + np.exp(-(4 * shown @ WORLD.init(seed).weights - 1))).reshape(-1, 3)


@each_attention
def test_the_expected_rewards_of_a_slate_are_its_value(attention):
    simulation = play(attention)
    got = simulation.log.reward.reshape(-1, 3).sum(axis=1)
    surprise = got - [float(attention.value(mean)) for mean in means(simulation)]
    assert abs(surprise.mean()) < 4 * surprise.std() / len(surprise) ** 0.5


@each_attention
def test_regret_is_never_negative_and_nothing_for_the_best_slate(attention):
    simulation = play(attention)
    assert (simulation.regret >= -1e-12).all()
    mean = np.sort(1 / (1 + np.exp(-(4 * simulation.log.context.features[::3] @ WORLD.init(1).weights - 1))), axis=1)[:, :1:-1]
    values = [[float(attention.value(row)) for row in rows] for rows in (mean, means(simulation))]
    np.testing.assert_allclose(simulation.regret, np.subtract(*values), atol=1e-12)


def test_each_position_has_the_candidates_that_remain_and_its_exact_propensity():
    simulation = play(Cascade(), WithFloor(policy=LinTS()), 50)
    mask, action = simulation.log.context.mask.reshape(-1, 3, 5), simulation.log.action.reshape(-1, 3)
    assert (mask.sum(axis=2) == [5, 4, 3]).all()
    assert not mask[np.arange(50), 1, action[:, 0]].any()
    assert not mask[np.arange(50), 2, action[:, 1]].any()
    np.testing.assert_allclose(play(Cascade(), num_rounds=20).log.propensity.reshape(-1, 3), [[1 / 5, 1 / 4, 1 / 3]] * 20)
    np.testing.assert_array_equal(simulation.position, np.tile(range(3), 50))


def test_a_cascade_ends_with_its_reward():
    log = play(Cascade(), num_rounds=500).log
    reward, weight = log.reward.reshape(-1, 3), log.weight.reshape(-1, 3)
    assert set(reward.sum(axis=1)) == {0.0, 1.0}
    np.testing.assert_array_equal(weight, np.cumsum(np.column_stack([np.zeros(500), reward[:, :2]]), axis=1) == 0)


def test_positions_further_down_are_looked_at_less():
    simulation = play(PositionBias(), num_rounds=6000)
    reward, mean = simulation.log.reward.reshape(-1, 3), means(simulation)
    for position in range(3):
        share = reward[:, position] - mean[:, position] / (position + 1)
        assert abs(share.mean()) < 4 * share.std() / 6000**0.5


@pytest.mark.parametrize("engine", ["numpy", "jax"])
def test_the_state_is_the_fold_of_the_log(engine):
    simulation = play(Cascade(), LinUCB(), 60, engine=engine)
    state = replay(LinUCB(), simulation.log, engine="numpy").state
    np.testing.assert_allclose(simulation.state.mean, state.mean, rtol=1e-9)


def test_the_engines_play_alike():
    one, other = (play(Cascade(), num_rounds=3000, engine=engine) for engine in ("numpy", "jax"))
    for left, right in ((one.regret, other.regret), (one.log.reward, other.log.reward), (one.log.weight, other.log.weight)):
        assert abs(left.mean() - right.mean()) < 4 * np.hypot(left.std(), right.std()) / len(left) ** 0.5


@each_attention
def test_a_policy_learns_what_to_put_on_top(attention):
    learned, chance = (play(attention, policy, 500).regret[250:].mean() for policy in (LinTS(), Uniform()))
    assert learned < 0.4 * chance


def test_the_seed_decides_everything():
    one, again, other = (play(PositionBias(), num_rounds=50, seed=seed).log.reward for seed in (3, 3, 4))
    np.testing.assert_array_equal(one, again)
    assert (one != other).any()


def test_what_cannot_be_filled_is_refused():
    with pytest.raises(TooFewCandidates, match=r"size must be in \[1, 2\]"):
        simulate_slates(Uniform(), LinearWorld(num_candidates=2), 5, size=3, attention=PositionBias(), engine="numpy")
    with pytest.raises(InvalidValue, match="size must be a whole number >= 1, got 0"):
        play(Cascade(), size=0)
    with pytest.raises(InvalidValue, match=r"PositionBias\.power must be a finite number >= 0, got -1"):
        PositionBias(power=-1)
