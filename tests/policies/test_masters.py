import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsdk import (
    EXP4,
    ByColumn,
    Context,
    EpsilonGreedy,
    Interaction,
    LinTS,
    LinUCB,
    TsallisINF,
    Uniform,
    WithFloor,
    replay,
    simulate,
    testing,
)
from recsdk.environments import LinearWorld
from recsdk.errors import InvalidValue
from recsdk.policies import masters
from tests.live.shop import NativeTally
from tests.worlds import ItemWorld

WIDE = {"low": -2.0, "high": 2.0}


@testing.parametrize(EXP4(policies=(EpsilonGreedy(), LinTS(num_draws=2)), **WIDE), TsallisINF(policies=(LinUCB(), EpsilonGreedy()), **WIDE))
def test_conforms(policy, check):
    check(policy)


@testing.parametrize(EXP4(policies=(NativeTally(), LinUCB()), **WIDE), skip={"weight": "NativeTally counts every round once"})
def test_conforms_with_a_native_policy_inside(policy, check):
    check(policy)


CONTEXT = Context(np.array([[0.0, 1.0], [1.0, 0.0], [0.5, 0.5]]), np.ones(3, bool), np.arange(3))


def test_three_rounds_by_hand():
    policy = EXP4(policies=(ByColumn(column=0), ByColumn(column=1), Uniform()), low=-1.0, high=1.0)
    state = policy.init(np.zeros(2))
    for action, reward, propensity, weight in ((1, 0.5, 0.25, 1.0), (0, -1.0, 0.5, 2.0), (2, 0.0, 0.1, 1.0)):
        state = policy.update(state, Interaction(CONTEXT, action, reward, propensity, weight))
    loss_1, loss_0, loss_2 = 0.25 / 0.25, 2 * 1.0 / 0.5, 0.5 / 0.1
    np.testing.assert_allclose(state.total, [loss_1, loss_0, (loss_0 + loss_1 + loss_2) / 3], rtol=1e-12)
    assert state.rounds == 4
    shares = np.exp(-np.sqrt(np.log(3) / (3 * 5)) * state.total)
    shares /= shares.sum()
    wanted = [shares[1] + shares[2] / 3, shares[0] + shares[2] / 3, shares[2] / 3]
    np.testing.assert_allclose(policy.probs(state, None, CONTEXT), wanted, rtol=1e-12)


def test_tsallis_shares_by_hand():
    policy = TsallisINF(policies=(ByColumn(column=0), ByColumn(column=1)))
    state = policy.init(np.zeros(2))._replace(total=np.array([5.0, 8.0]), rounds=np.float64(15))
    shares = policy.probs(state, None, CONTEXT)[[1, 0]]
    x = 5 - 2 / (0.5 * shares[0] ** 0.5)  # from 4 / (eta (L_i - x))^2 with eta = 2 / sqrt(16)
    np.testing.assert_allclose(shares, 4 / (0.5 * (np.array([5, 8]) - x)) ** 2, rtol=1e-12)


@given(losses=st.lists(st.floats(0, 1e6), min_size=1, max_size=50), rate=st.floats(1e-3, 2))
def test_tsallis_shares_minimise_their_objective(losses, rate):
    losses = np.array(losses)
    shares = masters.tsallis(losses, rate)
    assert shares.sum() == pytest.approx(1, abs=1e-12)
    gradient = losses - losses.min() - (2 / rate) / shares**0.5  # where all of these are equal, no shift of shares is for the better
    np.testing.assert_allclose(gradient, gradient[0], rtol=1e-6, atol=1e-6 * (1 + losses.max()))


@pytest.mark.parametrize("master", [EXP4, TsallisINF])
def test_one_policy_is_followed(master):
    policy = master(policies=(EpsilonGreedy(),))
    probs = policy.probs(policy.init(np.ones(2)), None, CONTEXT)
    np.testing.assert_allclose(probs, EpsilonGreedy().probs(EpsilonGreedy().init(np.ones(2)), None, CONTEXT), rtol=1e-12)


@pytest.mark.parametrize(("master", "allowed"), [(EXP4, 2 * np.sqrt(2000 * 3 * np.log(4))), (TsallisINF, 4 * np.sqrt(2000 * 4) + 1)])
def test_the_regret_against_the_best_advice_stays_within_the_theorem(master, allowed):
    world = ItemWorld(chances=((0.9, 0.1, 0.5), (0.1, 0.9, 0.5), (0.0, 1.0, 0.5)), length=500)
    policy = master(policies=(*(ByColumn(column=column) for column in (1, 2, 3)), Uniform()))
    simulations = [simulate(policy, world, 2000, seed=seed, engine="numpy") for seed in range(6)]
    best, middling = simulations[0].mean.sum(axis=0).max(), simulations[0].mean.mean(axis=1).sum()
    regret = best - np.mean([simulation.value.sum() for simulation in simulations])
    assert regret <= allowed < best - middling


@pytest.mark.parametrize("master", [EXP4, TsallisINF])
def test_it_finds_the_policy_that_learns(master):
    world = LinearWorld(num_candidates=5, dim=5)
    policies = (Uniform(), WithFloor(policy=LinUCB()), Uniform())
    simulation = simulate(master(policies=policies, low=-1.5, high=1.5), world, 4000, seed=0, engine="numpy")
    alone = simulate(policies[1], world, 4000, seed=0, engine="numpy")
    assert simulation.value[3000:].mean() > 0.9 * alone.value[3000:].mean()


def test_the_losses_of_a_policy_that_draws_are_without_bias():
    world = ItemWorld(chances=((0.1, 0.9, 0.8),))
    thompson = LinTS(num_draws=1, ridge=1e9, scale=1e4)  # it hardly learns, so that its mean answer stays
    log = simulate(Uniform(), world, 3000, seed=0, engine="numpy").log
    policy = EXP4(policies=(thompson, Uniform()))
    losses = replay(policy, log, engine="numpy").state.total / 3000
    state = thompson.init(np.zeros(4))
    rng = np.random.default_rng(0)
    context = Context(log.context.features[0], log.context.mask[0], log.context.item[0])
    mean = np.mean([thompson.probs(state, rng, context) for _ in range(3000)], axis=0)
    wanted = mean @ (1 - np.array([0.1, 0.9, 0.8]))
    assert abs(losses[0] - wanted) < 4 * 1.0 / 3000**0.5
    assert abs(losses[1] - (1 - 1.8 / 3)) < 4 * 0.5 / 3000**0.5


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"policies": ()}, "EXP4.policies must be a tuple of one or more policies, got "),
        ({"policies": (Uniform(),), "high": -1.0}, "EXP4.high must be above low = 0.0, got -1.0"),
        ({"policies": (Uniform(),), "rate": float("nan")}, "EXP4.rate must be a finite number > 0, got nan"),
    ],
)
def test_a_bad_setting_is_refused(fields, message):
    with pytest.raises(InvalidValue, match=message):
        EXP4(**fields)
