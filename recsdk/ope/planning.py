"""Planning: how long to log, and with which floor of exploration, to detect a lift."""

from __future__ import annotations

import math
from collections.abc import Iterable
from statistics import NormalDist
from typing import NamedTuple

import numpy as np

from recsdk.errors import InvalidLog, InvalidValue
from recsdk.ope.checked import Rounds
from recsdk.ope.intervals.validity import ENOUGH
from recsdk.ope.terms import Terms, delta


class Plan(NamedTuple):
    """Plan of a log that is long enough.

    Attributes:
        lift: the difference in reward per round, up or down, that it detects.
        num_rounds: rounds to log: enough to see `lift`, and for an effective size of 1,000 where the overlap is known.
        num_days: the same in days; NaN if the rounds per day are not known.
        deviation: standard deviation of one round's term.
        effective_share: effective size over rounds, in (0, 1]; NaN when the overlap is not known.
        floor: share of uniform exploration of the logger; NaN when it is the pilot's own.

    Example:
        >>> plan_from_rates(Goal(lift=0.01), reward_rate=0.1, num_candidates=10, floor=0.1, agreement=0.5).floor
        0.1
    """

    lift: float
    num_rounds: int
    num_days: float
    deviation: float
    effective_share: float
    floor: float


class Goal(NamedTuple):
    """The precision wanted of a future log.

    Attributes:
        lift: the difference in reward per round to be detected, > 0.
        level: level of the two-sided interval that should exclude 0, in (0, 1).
        power: probability that it does if the difference is `lift`, in (0, 1).
        rounds_per_day: > 0, or NaN when it is not known.

    Example:
        >>> Goal(lift=0.1).lift
        0.1
    """

    lift: float
    level: float = 0.95
    power: float = 0.8
    rounds_per_day: float = math.nan


def plan(pilot: Terms, goal: Goal) -> Plan:
    """Plans how long to log with the policy of a pilot log.

    Args:
        pilot: terms of the difference on the pilot log, best `difference(dr(target), ips(logger))`.
        goal: the difference to be detected, and how surely.

    Raises:
        InsufficientOverlap: when no round of the pilot has weight.
        InvalidValue: a goal out of range.

    Example:
        >>> import numpy as np
        >>> from recsdk.ope import average
        >>> pilot = average(np.array([0.0, 1.0] * 50), np.ones(100))
        >>> plan(pilot, Goal(lift=0.1)).num_rounds > 100
        True
    """
    return _plan(goal, delta(pilot).stderr ** 2 * len(pilot.numerator), math.nan, math.nan)


def plan_floors(pilot: Rounds, goal: Goal, *, floors: Iterable[float], pilot_floor: float) -> list[Plan]:
    """Plans how long to log with other floors of uniform exploration than a pilot log had.

    The plan is for IPS of the target less the mean reward, which depends on no reward model; for `dr` the log may be shorter.

    Args:
        pilot: a log with the target's probabilities, from `rounds`.
        goal: the difference to be detected, and how surely.
        floors: shares of uniform exploration to plan for, in (0, 1].
        pilot_floor: the share that the pilot had, in [0, 1).

    Returns:
        A plan for each of `floors`.

    Raises:
        InvalidLog: a propensity below what `pilot_floor` leaves to every candidate, by its row.
        InvalidValue: a floor or a goal out of range.

    Example:
        >>> import numpy as np
        >>> from recsdk.datasets import log_from_frame
        >>> from recsdk.ope import rounds
        >>> log = log_from_frame({"action": [0, 1] * 50, "reward": [0.0, 1.0] * 50, "propensity": [0.5] * 100})
        >>> pilot = rounds(log, np.tile([0.1, 0.9], (100, 1)))
        >>> [plan.floor for plan in plan_floors(pilot, Goal(lift=0.1), floors=[0.1, 0.5], pilot_floor=0.5)]
        [0.1, 0.5]
    """
    if not 0 <= pilot_floor < 1:
        raise InvalidValue(f"pilot_floor must be in [0, 1), got {pilot_floor!r}.")
    uniform = 1 / pilot.mask.sum(1)
    before = (pilot.propensity - pilot_floor * uniform) / (1 - pilot_floor)
    below = before < -1e-9
    if below.any():
        row = int(below.argmax())
        raise InvalidLog(
            f"propensity[{row}] must be at least {pilot_floor * uniform[row]:.6g}, what pilot_floor {pilot_floor} leaves to each "
            f"candidate, got {pilot.propensity[row]:.6g}."
        )
    plans = []
    for floor in floors:
        _check_floor(floor)
        propensity = (1 - floor) * np.maximum(before, 0) + floor * uniform
        # The new log is the pilot with each row weighted by how much more often the new logging policy would take its action.
        often = pilot.weight * propensity / pilot.propensity
        ratio = pilot.target / propensity
        variance = float((often * ((ratio - 1) * pilot.reward) ** 2).sum() / pilot.weight.sum())
        plans.append(_plan(goal, variance, float(pilot.weight.sum() / (often * ratio**2).sum()), floor))
    return plans


def plan_from_rates(goal: Goal, *, reward_rate: float, num_candidates: int, floor: float, agreement: float) -> Plan:
    """Plans the length of a log before there is one, for rewards of 0 or 1 and two policies that each prefer one candidate a round.

    Args:
        goal: the difference to be seen, between the IPS estimate of the target and the mean reward of the log.
        reward_rate: share of rounds with a reward, in (0, 1].
        num_candidates: K, at least 2.
        floor: share of uniform exploration of the logger, in (0, 1].
        agreement: share of rounds in which both prefer the same candidate, in [0, 1].

    Raises:
        InvalidValue: naming what is out of range.

    Example:
        >>> plan_from_rates(Goal(lift=0.005), reward_rate=0.05, num_candidates=10, floor=0.1, agreement=0.7).num_rounds
        467311
    """
    _check_floor(floor)
    for name, share, fits in (("reward_rate", reward_rate, 0 < reward_rate <= 1), ("agreement", agreement, 0 <= agreement <= 1)):
        if not fits:
            raise InvalidValue(f"{name} must be a share of the rounds, got {share!r}.")
    if num_candidates < 2:
        raise InvalidValue(f"num_candidates must be at least 2, got {num_candidates!r}.")
    least = floor / num_candidates
    square = agreement / (1 - floor + least) + (1 - agreement) / least
    return _plan(goal, reward_rate * (square - 1), 1 / square, floor)


def _plan(goal: Goal, variance: float, effective_share: float, floor: float) -> Plan:
    for name, number, most in (("lift", goal.lift, math.inf), ("level", goal.level, 1), ("power", goal.power, 1)):
        if not 0 < number < most:
            raise InvalidValue(f"{name} must be in (0, {most}), got {number!r}.")
    if goal.rounds_per_day <= 0:
        raise InvalidValue(f"rounds_per_day must be > 0, got {goal.rounds_per_day!r}.")
    normal = NormalDist()
    errors = normal.inv_cdf((1 + goal.level) / 2) + normal.inv_cdf(goal.power)
    enough = 0 if math.isnan(effective_share) else ENOUGH / effective_share
    num_rounds = math.ceil(max(variance * (errors / goal.lift) ** 2, enough))
    return Plan(goal.lift, num_rounds, num_rounds / goal.rounds_per_day, math.sqrt(variance), effective_share, floor)


def _check_floor(floor: float) -> None:
    if not 0 < floor <= 1:
        raise InvalidValue(f"floor must be in (0, 1], got {floor!r}.")
