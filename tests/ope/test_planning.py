"""Plans against simulated logs: a log of the planned length sees the lift as often as it was asked to."""

import math

import numpy as np
import pytest

from recsdk import ope
from recsdk.errors import InvalidLog, InvalidValue
from recsdk.ope.comparison import difference
from recsdk.ope.planning import Goal, plan, plan_floors, plan_from_rates
from tests.ope.logs import log_of

NUM_ARMS = 5


def log_and_target(rng, size, floor, *, agreement=0.6, rate=0.1, lift=0.0):
    """Rounds in which logger and target each have one favourite; where these differ the target's earns more, by `lift` over all rounds."""
    favourite = rng.integers(NUM_ARMS, size=size)
    target = np.where(rng.random(size) < agreement, favourite, (favourite + 1) % NUM_ARMS)
    action = np.where(rng.random(size) < floor, rng.integers(NUM_ARMS, size=size), favourite)
    propensity = floor / NUM_ARMS + (1 - floor) * (action == favourite)
    means = rate + np.where((action == target) & (target != favourite), lift / (1 - agreement), 0)
    reward = (rng.random(size) < means).astype(float)
    return ope.rounds(log_of(action, reward, propensity, num_candidates=NUM_ARMS), np.eye(NUM_ARMS)[target])


def lift_terms(rounds):
    return difference(ope.ips(rounds), ope.average(rounds.reward, rounds.weight))


def test_a_log_as_long_as_planned_sees_the_lift_as_often_as_planned():
    rng, lift = np.random.default_rng(0), 0.02
    planned = plan_from_rates(Goal(lift), reward_rate=0.1, num_candidates=NUM_ARMS, floor=0.5, agreement=0.6)
    seen = []
    for _ in range(200):
        found = ope.delta(lift_terms(log_and_target(rng, planned.num_rounds, 0.5, lift=lift)))
        seen.append(found.low > 0)
    # The floor gives the logger itself a tenth of the lift, and the lift adds to the variance: so the plan sees a little less than .8.
    assert 0.5 < np.mean(seen) < 0.85


def test_a_pilot_and_the_rates_behind_it_plan_alike():
    goal = Goal(0.01, rounds_per_day=1000.0)
    pilot = log_and_target(np.random.default_rng(1), 100_000, 0.3)
    rates = plan_from_rates(goal, reward_rate=0.1, num_candidates=NUM_ARMS, floor=0.3, agreement=0.6)
    (same,) = plan_floors(pilot, goal, floors=[0.3], pilot_floor=0.3)
    terms = plan(lift_terms(pilot), goal)
    assert [same.num_rounds, terms.num_rounds] == pytest.approx([rates.num_rounds] * 2, rel=0.05)
    assert same.num_days == same.num_rounds / 1000
    assert same.effective_share == pytest.approx(ope.diagnose(pilot).effective_size / 100_000, rel=0.05)
    assert math.isnan(terms.effective_share)


def test_a_pilot_with_one_floor_plans_for_another():
    goal, floors = Goal(0.01), [0.02, 0.1, 0.5, 1.0]
    pilot = log_and_target(np.random.default_rng(2), 200_000, 0.3)
    for floor, found in zip(floors, plan_floors(pilot, goal, floors=floors, pilot_floor=0.3), strict=True):
        expected = plan_from_rates(goal, reward_rate=0.1, num_candidates=NUM_ARMS, floor=floor, agreement=0.6)
        assert (found.floor, found.num_rounds) == (floor, pytest.approx(expected.num_rounds, rel=0.06))


def test_half_the_lift_takes_four_times_the_rounds_and_more_certainty_takes_more():
    pilot = lift_terms(log_and_target(np.random.default_rng(3), 5000, 0.3))
    rounds = [plan(pilot, goal).num_rounds for goal in (Goal(0.02), Goal(0.01), Goal(0.02, power=0.95), Goal(0.02, level=0.99))]
    assert rounds[1] == pytest.approx(4 * rounds[0], rel=1e-3)
    assert rounds[0] < rounds[2]
    assert rounds[0] < rounds[3]


def test_a_large_lift_still_takes_the_rounds_for_intervals_to_be_trusted():
    found = plan_from_rates(Goal(10.0), reward_rate=0.1, num_candidates=NUM_ARMS, floor=0.3, agreement=0.6)
    assert found.num_rounds * found.effective_share == pytest.approx(1000, rel=1e-3)


@pytest.mark.parametrize(
    ("goal", "message"),
    [
        (Goal(0.0), r"lift must be in \(0, inf\), got 0.0"),
        (Goal(0.1, level=1.0), r"level must be in \(0, 1\), got 1.0"),
        (Goal(0.1, power=math.nan), r"power must be in \(0, 1\), got nan"),
        (Goal(0.1, rounds_per_day=0.0), "rounds_per_day must be > 0, got 0.0"),
    ],
)
def test_goals_that_cannot_be_are_refused(goal, message):
    with pytest.raises(InvalidValue, match=message):
        plan(ope.average(np.arange(5.0), np.ones(5)), goal)


@pytest.mark.parametrize("wrong", [{"reward_rate": 0.0}, {"agreement": 1.1}, {"num_candidates": 1}, {"floor": 0.0}])
def test_rates_that_cannot_be_are_refused(wrong):
    with pytest.raises(InvalidValue, match=f"{next(iter(wrong))} must be "):
        plan_from_rates(Goal(0.1), **{"reward_rate": 0.1, "num_candidates": 5, "floor": 0.1, "agreement": 0.5, **wrong})


def test_a_pilot_without_the_floor_that_it_is_said_to_have_is_refused():
    pilot = log_and_target(np.random.default_rng(4), 500, 0.3)
    with pytest.raises(InvalidLog, match=r"propensity\[\d+\] must be at least 0.1, what pilot_floor 0.5 leaves"):
        plan_floors(pilot, Goal(0.1), floors=[0.1], pilot_floor=0.5)
    with pytest.raises(InvalidValue, match=r"floor must be in \(0, 1\], got 1.5"):
        plan_floors(pilot, Goal(0.1), floors=[1.5], pilot_floor=0.3)
    with pytest.raises(InvalidValue, match=r"pilot_floor must be in \[0, 1\), got 1"):
        plan_floors(pilot, Goal(0.1), floors=[0.5], pilot_floor=1)
