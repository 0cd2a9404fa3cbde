import numpy as np
import pytest

from recsdk import EXP3, Context, Interaction, WithFloor, replay, simulate, testing
from recsdk.errors import InvalidValue
from tests.worlds import ItemWorld

BLIND = {"learns": "it knows items, and the kit's worlds have fresh ones in every round"}


@testing.parametrize(EXP3(low=-2.0, high=2.0, num_items=128), skip=BLIND)
def test_conforms(policy, check):
    check(policy)


def context(*slots):
    return Context(np.zeros((len(slots), 1)), np.ones(len(slots), bool), np.array(slots))


def shown(slot, reward, propensity, weight=1.0):
    return Interaction(context(slot), 0, reward, propensity, weight)


def test_three_rounds_by_hand():
    policy = EXP3(num_items=4, low=-1.0, high=3.0)
    state = policy.init(np.zeros(1))
    for round_ in (shown(1, 2.0, 0.25), shown(2, -1.0, 0.5), shown(1, 3.0, 0.1), shown(3, 1.0, 1.0, weight=2.0)):
        state = policy.update(state, round_)
    np.testing.assert_allclose(state.total, [0, 0.25 / 0.25, 1.0 / 0.5, 2 * 0.5 / 1.0], rtol=1e-12)
    assert state.rounds == 5
    weights = np.exp(-np.sqrt(np.log(3) / (3 * 6)) * np.array([2.0, 0.0, 1.0]))
    np.testing.assert_allclose(policy.probs(state, None, context(2, 0, 1)), weights / weights.sum(), rtol=1e-12)


def test_one_candidate_is_certain():
    assert EXP3().probs(EXP3().init(np.zeros(1)), None, context(7)) == [1.0]


@pytest.mark.parametrize(
    "world",
    [
        ItemWorld(chances=((0.5, 0.4, 0.6, 0.45),)),
        ItemWorld(chances=((0.9, 0.1, 0.5), (0.1, 0.9, 0.5), (0.0, 1.0, 0.5)), length=1000),
    ],
    ids=["still", "turning"],
)
def test_the_regret_against_the_best_item_stays_within_the_theorem(world):
    num_rounds, num = 4000, len(world.chances[0])
    regrets = []
    for seed in range(3):
        simulation = simulate(EXP3(), world, num_rounds, seed=seed, engine="numpy")
        regrets.append(simulation.mean.sum(axis=0).max() - simulation.value.sum())
    allowed = 2 * np.sqrt(num_rounds * num * np.log(num))
    uniform = simulation.mean.sum(axis=0).max() - simulation.mean.mean(axis=1).sum()
    assert np.mean(regrets) <= allowed < uniform


def test_losses_are_without_bias_whoever_chose():
    world = ItemWorld(chances=((0.2, 0.7, 0.5),))
    log = simulate(WithFloor(policy=EXP3(rate=5.0), floor=0.3), world, 4000, seed=1, engine="numpy").log
    losses = replay(EXP3(num_items=3), log, engine="numpy").state.total / 4000
    rows = (1 - log.reward)[:, None] * (log.action[:, None] == np.arange(3)) / log.propensity[:, None]
    assert (np.abs(losses - [0.8, 0.3, 0.5]) < 4 * rows.std(axis=0) / 4000**0.5).all()


def test_slots_beyond_the_memory_share_a_weight():
    policy = EXP3(num_items=4)
    state = policy.update(policy.init(np.zeros(1)), shown(6, 0.0, 0.5))
    assert state.total.tolist() == [0, 0, 2, 0]
    one, same, other = policy.probs(state, None, context(2, 6, 3))
    assert one == same < other


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"num_items": 0}, "EXP3.num_items must be a whole number >= 1, got 0"),
        ({"low": 1.0}, "EXP3.high must be above low = 1.0, got 1.0"),
        ({"rate": 0}, "EXP3.rate must be a finite number > 0, got 0"),
    ],
)
def test_a_bad_setting_is_refused(fields, message):
    with pytest.raises(InvalidValue, match=message):
        EXP3(**fields)
