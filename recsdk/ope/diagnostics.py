"""Diagnostics: how well a log can answer for a target policy."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from recsdk.ope.calibration import log_fortune, z_score
from recsdk.ope.checked import Rounds
from recsdk.ope.tally import (
    IMPORTANCE,
    MASS,
    NUM_TAKEN,
    OFFERED,
    REWARD,
    TAIL,
    UNIFORM,
    VALUE,
    WEIGHT,
    ItemSums,
    Tally,
    all_items,
    moments,
    tally,
)
from recsdk.ope.terms import Moments, ratio
from recsdk.rounding import ROUNDING

MIN_TAKEN = 30
"""Rounds of an item below which its propensities are not tested."""
MIN_TAIL = 5


class Diagnostics(NamedTuple):
    """Overlap of a log with a target policy, and signs of errors in the log.

    A z is a difference in standard errors. NaN means that the log cannot tell.

    Attributes:
        num_rounds: rows of the log.
        num_matched: rows whose action the target policy could have taken.
        effective_size: Kish's effective sample size of the importance weights, in [0, T].
        max_weight: the largest importance weight.
        mean_weight: mean importance weight; 1 in expectation if the propensities are true and the log covers the target.
        mean_weight_z: evidence that this expectation is not 1, on the scale of a normal test's z; 0 for none. It comes from bets, which
            are valid for logging policies that learn and for rare actions: see `recsdk.ope.calibration`.
        unsupported_mass: the target's mass on items that the log never took, averaged over the rounds; NaN when only the
            target's probabilities of the logged actions are known.
        mean_candidates: K, averaged over the rounds.
        pareto_k: shape of the generalised Pareto distribution fitted to the largest weights. Above 0.7 their averages converge too
            slowly to be relied on, from 1 on not at all. NaN where there are too few weights, or too few different ones.
        uniform_weight: mean importance weight of the uniform policy, whatever the target is.
        uniform_weight_z: the same evidence for the uniform policy.
        item: slot of the item whose propensities look most wrong, by the importance weights of always taking it. -1 for none.
        item_weight_z: the same evidence for that item, after a correction for the number of items.
        default_share: share of rows that have the default reward, in [0, 1].
        effective_rewards: effective number of the other rewards, by Kish's formula on their weights in the value: at most 38 for 38 clicks.
        join_rate: rows of the log over the number of decisions; NaN if that number is not given.
        reward_drift_z: mean reward of the second half of the log less that of the first. NaN below about 800 rounds.
        value_drift_z: the same for the target's value by IPS.
        weight_drift_z: the same for the mean importance weight.
        floor: the largest share of uniform exploration that the propensities allow: the smallest K * propensity.
        below_share: share of rows that look like lower positions of a page, in [0, 1]: their candidates are those of the row before without
            the one that it took.

    Example:
        >>> found = Diagnostics(100, 50, 40.0, 2.0, 1.0, 0.0, 0.0)
        >>> found.effective_size / found.num_rounds
        0.4
    """

    num_rounds: int
    num_matched: int
    effective_size: float
    max_weight: float
    mean_weight: float
    mean_weight_z: float
    unsupported_mass: float
    mean_candidates: float = math.nan
    pareto_k: float = math.nan
    uniform_weight: float = math.nan
    uniform_weight_z: float = math.nan
    item: int = -1
    item_weight_z: float = math.nan
    default_share: float = math.nan
    effective_rewards: float = math.nan
    join_rate: float = math.nan
    reward_drift_z: float = math.nan
    value_drift_z: float = math.nan
    weight_drift_z: float = math.nan
    floor: float = math.nan
    below_share: float = math.nan


class Clipped(NamedTuple):
    """The IPS estimate with the largest weights clipped.

    Attributes:
        clip: the largest weight that is left.
        num_clipped: rounds whose weight was larger.
        value: the estimate.

    Example:
        >>> Clipped(clip=10.0, num_clipped=3, value=0.2).value
        0.2
    """

    clip: float
    num_clipped: int
    value: float


def diagnose(rounds: Rounds, *, default_reward: float = 0.0, num_decisions: int | None = None) -> Diagnostics:
    """Measures the overlap of log and target. It never raises, even if there is none.

    Args:
        rounds: the log beside the target's probabilities.
        default_reward: the log's reward for a decision without feedback.
        num_decisions: number of decisions that were made, including those that the log leaves out because they got no reward.

    Example:
        >>> from recsdk.datasets import log_from_frame
        >>> from recsdk.ope import rounds
        >>> log = log_from_frame({"action": [0, 1, 1, 0], "reward": [1.0, 0.0, 1.0, 0.0], "propensity": [0.5] * 4})
        >>> beside = rounds(log, [[0.25, 0.75]] * 4, q_hat=[[0.5, 0.5]] * 4)
        >>> found = diagnose(beside)
        >>> found.effective_size, found.max_weight
        (3.2, 1.5)
    """
    found = tally(rounds, default_reward=default_reward)
    return diagnose_tally(found, default_reward=default_reward, num_decisions=num_decisions)


def diagnose_tally(found: Tally, *, default_reward: float = 0.0, num_decisions: int | None = None) -> Diagnostics:
    """Returns the same diagnostics from a tally."""
    total, by_item = moments(found), all_items(found.items)
    mean_weight = float(total.sums[IMPORTANCE] / total.sums[WEIGHT])
    is_rounding = abs(mean_weight - 1) <= ROUNDING  # as of printed propensities, for the logger's own policy
    item, item_weight_z = _worst_item(by_item, 1 / found.least_propensity)
    return Diagnostics(
        num_rounds=found.num_rounds,
        num_matched=found.num_matched,
        effective_size=_kish(total.sums[IMPORTANCE], total.products[IMPORTANCE, IMPORTANCE]),
        max_weight=float(found.tail[0].max(initial=0.0)),
        mean_weight=mean_weight,
        mean_weight_z=0.0 if is_rounding else z_score(found.bets[0], found.largest_chance / found.least_propensity),
        unsupported_mass=_unsupported_mass(by_item) if found.is_whole else math.nan,
        mean_candidates=float(by_item.sums[:, OFFERED].sum() / total.sums[WEIGHT]),
        pareto_k=_pareto_k(found),
        uniform_weight=float(total.sums[UNIFORM] / total.sums[WEIGHT]),
        uniform_weight_z=z_score(found.bets[1], 1 / found.floor),
        item=item,
        item_weight_z=item_weight_z,
        default_share=found.num_default / found.num_rounds,
        effective_rewards=_effective_rewards(found, total, default_reward),
        join_rate=math.nan if num_decisions is None else found.num_rounds / num_decisions,
        reward_drift_z=_drift(found, REWARD),
        value_drift_z=_drift(found, VALUE),
        weight_drift_z=_drift(found, IMPORTANCE),
        floor=found.floor,
        below_share=found.num_below / found.num_rounds,
    )


def clipped(found: Tally) -> tuple[Clipped, ...]:
    """Returns IPS with none of the weights clipped, then with the largest 1, 10, 100, ... of them."""
    total = moments(found).sums
    importance, weight, reward = found.tail[:, np.lexsort(found.tail[::-1])[::-1][:TAIL]]
    answers: list[Clipped] = []
    for rank in (0, 1, 10, 100, 1000):
        if rank <= found.num_rounds / 10 and rank < len(importance) and not (answers and importance[rank] == answers[-1].clip):
            clip = importance[rank]
            excess = (weight * reward * np.maximum(importance - clip, 0)).sum()
            answers.append(Clipped(float(clip), int((importance > clip).sum()), float((total[VALUE] - excess) / total[WEIGHT])))
    return tuple(answers)


def pareto_k(tail: np.ndarray) -> float:
    """Fits a generalised Pareto distribution to what exceeds a threshold, and returns its shape.

    Args:
        tail: f64[M], how far each of the largest weights exceeds the largest one that is not among them, > 0.

    References:
        Zhang and Stephens, "A new and efficient estimation method for the generalized Pareto distribution", Technometrics, 2009.
        Vehtari, Simpson, Gelman, Yao and Gabry, "Pareto smoothed importance sampling", JMLR, 2024, appendix C for the prior on k.
    """
    excess = np.sort(tail)
    size = len(excess)
    quartile = excess[int(size / 4 + 0.5) - 1]
    num_points = 30 + int(math.sqrt(size))
    theta = 1 / excess[-1] + (1 - np.sqrt(num_points / (np.arange(1, num_points + 1) - 0.5))) / (3 * quartile)
    k = np.log1p(-theta[:, None] * excess).mean(1)
    likelihood = size * (np.log(-theta / k) - k - 1)
    weight = np.exp(likelihood - likelihood.max())
    best = (theta * weight).sum() / weight.sum()
    fitted = np.log1p(-best * excess).mean()
    return float((size * fitted + 10 * 0.5) / (size + 10))  # as if ten more had been seen, of k = 1/2


def _kish(total: float, squares: float) -> float:
    return float(total**2 / squares) if squares else 0.0


def _effective_rewards(found: Tally, total: Moments, default_reward: float) -> float:
    if not found.spread:
        return 0.0
    apart = np.array([1.0, -default_reward])
    squares = apart @ total.products[np.ix_([VALUE, IMPORTANCE], [VALUE, IMPORTANCE])] @ apart
    return _kish(found.spread, squares)


def _drift(found: Tally, column: int) -> float:
    num_pieces = len(found.pieces.sums)
    if num_pieces < 4:
        return math.nan
    halves = slice(num_pieces // 2), slice(num_pieces // 2, None)
    if any(found.pieces.sums[half, WEIGHT].sum() <= 0 for half in halves):
        return math.nan
    (first, first_error), (second, second_error) = (ratio(moments(found, half), (column,), (WEIGHT,)) for half in halves)
    stderr = math.hypot(first_error, second_error)
    return (second - first) / stderr if stderr > 1e-9 * abs(first) else 0.0


def _unsupported_mass(by_item: ItemSums) -> float:
    mass, taken = by_item.sums[:, MASS], by_item.sums[:, NUM_TAKEN]
    return float(mass[taken == 0].sum() / mass.sum())


def _worst_item(by_item: ItemSums, largest: float) -> tuple[int, float]:
    """Tests for each item whether the weights of always taking it have expectation 1, over the rounds in which it was a candidate."""
    tested = by_item.sums[:, NUM_TAKEN] >= MIN_TAKEN
    if not tested.any():
        return -1, math.nan
    log_wealth = by_item.log_wealth()[tested]
    worst = int(log_fortune(log_wealth, largest).argmax())
    return int(by_item.slot[tested][worst]), z_score(log_wealth[worst], largest, num_tests=len(tested))


def _pareto_k(found: Tally) -> float:
    size = tail_size(found.num_weighted)
    if size >= min(found.tail.shape[1], TAIL):
        return math.nan
    largest = np.sort(found.tail[0])[-size - 1 :]
    excess = largest[1:] - largest[0]
    excess = excess[excess > 1e-12 * largest[-1]]
    return pareto_k(excess) if len(np.unique(excess)) >= max(MIN_TAIL, size / 10) else math.nan


def tail_size(num_rounds: int) -> int:
    """Returns how many of the largest weights are taken for their tail: as Vehtari et al. 2024, equation 13, up to 1,860,000 rounds."""
    return min(int(min(0.2 * num_rounds, 3 * math.sqrt(num_rounds))), TAIL - 1)
