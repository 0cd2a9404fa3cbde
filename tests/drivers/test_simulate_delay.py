"""Rewards that come late."""

import attrs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsdk import LinTS, LinUCB, Uniform, WithFloor, arrays, simulate
from recsdk.drivers.simulate import schedule
from recsdk.environments import GeometricDelay, LinearWorld, LogisticWorld
from recsdk.errors import InvalidValue

WORLD = LinearWorld(num_candidates=4, dim=3)


@attrs.frozen
class Given:
    """Delays by the number of the round."""

    delays: tuple[int, ...]

    def rounds(self, num_rounds, seed):
        return np.array(self.delays[:num_rounds])


@given(st.lists(st.integers(0, 12), min_size=1, max_size=30))
def test_a_schedule_has_every_decision_in_order_and_every_reward_when_it_is_due(delays):
    plan = schedule(np.array(delays))
    clock, learned, waiting = -1, [], {}
    for time, slot, decides in zip(*(column.tolist() for column in plan.events), strict=True):
        if decides:
            assert time == clock + 1
            assert all(due > clock for due, _ in waiting.values())  # nothing that was due is left behind
            clock = time
            if time + delays[time] < len(delays):
                assert slot not in waiting
                waiting[slot] = time + delays[time], time
        else:
            assert waiting.pop(slot) == (clock, time)
            learned.append(time)
        assert 0 <= slot < plan.num_slots
        assert len(waiting) <= plan.num_slots
    assert clock == len(delays) - 1
    assert not waiting
    assert sorted(learned) == [time for time, delay in enumerate(delays) if time + delay < len(delays)]


@pytest.mark.parametrize("engine", ["numpy", "jax"])
def test_the_state_is_the_fold_of_the_log_in_the_order_of_arrival(engine):
    policy, delays = WithFloor(policy=LinTS(num_draws=4)), (3, 0, 7, 1, 1, 90, 2, 0, 5, 4) * 6
    simulation = simulate(policy, WORLD, 60, seed=2, delay=Given(delays), engine=engine)
    arrives = np.arange(60) + delays
    order = [time for time in np.lexsort((np.arange(60), arrives)) if arrives[time] < 60]
    state = policy.init(np.zeros(3))
    for time in order:
        state = policy.update(state, arrays.at(simulation.log, time))
    for got, wanted in zip(simulation.state, state, strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-9, atol=1e-12)
    assert simulation.log.reward.shape == simulation.regret.shape == simulation.value.shape == (60,)
    assert (simulation.regret >= 0).all()
    np.testing.assert_allclose(simulation.mean.max(axis=1) - simulation.mean[np.arange(60), simulation.log.action], simulation.regret)


def test_decisions_are_made_by_what_had_arrived():
    """Greedy with all rewards in the last rounds: until then it knows nothing, and ties share."""
    delays = tuple(range(49, -1, -1))
    log = simulate(LinUCB(alpha=0.0), WORLD, 50, delay=Given(delays), engine="numpy").log
    np.testing.assert_allclose(log.propensity, 1 / 4)
    at_once = simulate(LinUCB(alpha=0.0), WORLD, 50, delay=Given((0,) * 50), engine="numpy").log
    assert at_once.propensity[0] == 0.25
    np.testing.assert_array_equal(at_once.propensity[1:], 1.0)


def test_no_delay_is_no_delay():
    late, prompt = (
        simulate(LinTS(num_draws=8), WORLD, 200, seed=4, delay=delay, engine="numpy") for delay in (GeometricDelay(mean=0), None)
    )
    np.testing.assert_array_equal(late.log.reward, prompt.log.reward)
    np.testing.assert_array_equal(late.state.root, prompt.state.root)


def test_delays_have_their_mean_and_no_memory():
    delays = GeometricDelay(mean=20).rounds(100_000, seed=1)
    assert abs(delays.mean() - 20) < 4 * delays.std() / 100_000**0.5
    rest = delays[delays >= 15] - 15
    assert abs(rest.mean() - 20) < 4 * rest.std() / len(rest) ** 0.5
    np.testing.assert_array_equal(delays, GeometricDelay(mean=20).rounds(100_000, seed=1))
    assert (delays != GeometricDelay(mean=20).rounds(100_000, seed=2)).any()


def test_what_waits_takes_about_the_mean_of_places():
    plan = schedule(GeometricDelay(mean=50).rounds(5000, seed=1))
    assert 50 < plan.num_slots < 100


def test_rewards_that_never_arrive_take_no_place():
    assert schedule(np.full(1000, 5000)).num_slots == 1


@pytest.mark.parametrize("delays", [np.array([-1, 0]), np.array([0.5]), [1, 2], np.zeros((2, 2), np.int64)])
def test_delays_that_are_none_are_refused(delays):
    with pytest.raises(InvalidValue, match=r"delay must give int64\[T\] >= 0, got "):
        schedule(delays)


def test_a_bad_mean_is_refused():
    with pytest.raises(InvalidValue, match=r"GeometricDelay\.mean must be a finite number >= 0, got -1"):
        GeometricDelay(mean=-1)


def mean_regret(policy, world, delay):
    return np.mean([simulate(policy, world, 20_000, seed=seed, delay=delay).regret.sum() for seed in range(4)])


NOISY = LinearWorld(num_candidates=10, dim=16, noise=1.0)


@pytest.mark.slow
@pytest.mark.parametrize("policy", [LinTS(scale=1.0), LinUCB(alpha=1.0)])
def test_a_mean_delay_of_500_rounds_costs_at_most_half_the_regret_again_where_there_is_much_to_learn(policy):
    assert mean_regret(policy, NOISY, GeometricDelay(mean=500)) <= 1.5 * mean_regret(policy, NOISY, None)


@pytest.mark.slow
@pytest.mark.parametrize("policy", [LinTS(), LinUCB()])
@pytest.mark.parametrize("world", [LinearWorld(num_candidates=10, dim=16), LogisticWorld()])
def test_a_delay_costs_at_most_its_mean_in_rounds_of_chance(policy, world):
    """The price of a delay is added, not multiplied: where the regret without it is small, it can be several times that."""
    price = mean_regret(policy, world, GeometricDelay(mean=500)) - mean_regret(policy, world, None)
    assert 0 < price < 500 * simulate(Uniform(), world, 2000).regret.mean()


def test_uniform_exploration_does_not_care():
    simulation = simulate(Uniform(), WORLD, 50, delay=GeometricDelay(mean=5), engine="numpy")
    np.testing.assert_allclose(simulation.log.propensity, 1 / 4)
