"""Target policies beside one another on the same log, where much of what is uncertain of each is common to all."""

from __future__ import annotations

import math
from collections.abc import Mapping
from statistics import NormalDist
from typing import NamedTuple

import numpy as np

from recsdk.errors import InvalidLog, InvalidValue
from recsdk.ope.estimate import Estimate
from recsdk.ope.intervals._special import check_level
from recsdk.ope.intervals.bootstrap import multiplicities
from recsdk.ope.terms import Terms, add, influence, value


class Compared(NamedTuple):
    """One target beside the baseline.

    Attributes:
        difference: its value less the baseline's; the intervals of all targets compared hold at once, with probability `level`.
        p_value: two-sided, of no difference, as if this were the only one compared.
        adjusted: the same by Holm's procedure, for all compared: below .05 for any that does not differ in at most 5 % of logs.
    """

    difference: Estimate
    p_value: float
    adjusted: float


def difference(a: Terms, b: Terms) -> Terms:
    """Returns the terms of a's value less b's, on the same rounds: for `delta`, `bootstrap` or any other interval of terms.

    What moves both, as a run of generous users does, cancels: the interval is narrower than those of the two would suggest.

    Raises:
        InvalidLog: terms of different lengths.

    Example:
        >>> from recsdk.ope import average
        >>> rewards, clicks = np.array([1.0, 2.0, 4.0]), np.array([1.0, 1.0, 3.0])
        >>> value(difference(average(rewards, np.ones(3)), average(clicks, np.ones(3))))
        0.6666666666666667
    """
    if len(a.numerator) != len(b.numerator):
        raise InvalidLog(f"both estimates must be of the same rounds, got {len(a.numerator)} and {len(b.numerator)}.")
    return add(a, b._replace(numerator=-b.numerator))


def compare(
    targets: Mapping[str, Terms], baseline: Terms, *, level: float = 0.95, num_draws: int = 2000, seed: int = 0
) -> dict[str, Compared]:
    """Compares many targets with a baseline and answers for all at once, so that the best of them may be picked afterwards.

    Intervals reach as many standard errors as the largest of all |t| does in `level` of resampled logs; targets that are alike count for
    little more than one. They are asymptotic, as `delta` is, and need what it needs.

    Args:
        targets: terms by name, of one log.
        baseline: terms of the same log, as of `ips` for the logger itself: the mean reward.
        level: nominal coverage of all intervals together.
        num_draws: resampled logs, at least level / (1 - level).
        seed: of the draws.

    Raises:
        InsufficientOverlap: when a target has no round with weight.
        InvalidLog: terms of different lengths.
        InvalidValue: no target, or `level` or `num_draws` out of range.

    References:
        Holm, "A simple sequentially rejective multiple test procedure", Scandinavian Journal of Statistics, 1979.
        Chernozhukov, Chetverikov and Kato, "Gaussian approximations and multiplier bootstrap for maxima of sums of high-dimensional
        random vectors", The Annals of Statistics, 2013.
    """
    check_level(level)
    if not targets:
        raise InvalidValue("targets must name at least one target, got none.")
    rank = math.ceil((num_draws + 1) * level)
    if rank > num_draws:
        raise InvalidValue(f"num_draws must be at least {math.ceil(level / (1 - level))} for level {level:g}, got {num_draws}.")
    differences = [difference(target, baseline) for target in targets.values()]
    moves = np.stack([influence(terms) for terms in differences], axis=1)
    stderr = np.sqrt((moves**2).sum(0))
    known = (stderr > 0) & np.isfinite(stderr)
    moves = np.where(known, moves, 0) / np.where(known, stderr, 1)
    draws = np.zeros((num_draws, len(stderr)))
    for rows, times in multiplicities(len(moves), num_draws=num_draws, seed=seed):
        draws += times.astype(np.float64) @ moves[rows]
    reach = np.sort(np.abs(draws).max(1))[rank - 1]
    estimates = [_estimate(value(terms), float(error), float(reach), level) for terms, error in zip(differences, stderr, strict=True)]
    p_values = [_p_value(estimate) for estimate in estimates]
    return dict(zip(targets, map(Compared, estimates, p_values, holm(p_values)), strict=True))


def holm(p_values: list[float]) -> list[float]:
    """Adjusts p-values so that one below a share is false in at most that share of logs, whatever the p-values have to do with one another.

    Example:
        >>> holm([0.01, 0.04, 0.03])
        [0.03, 0.06, 0.06]
    """
    order = np.argsort(p_values)
    steps = np.asarray(p_values)[order] * np.arange(len(order), 0, -1)
    adjusted = np.empty(len(order))
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1)
    return adjusted.tolist()


def _estimate(middle: float, stderr: float, reach: float, level: float) -> Estimate:
    return Estimate(middle, stderr, middle - reach * stderr, middle + reach * stderr, level)


def _p_value(found: Estimate) -> float:
    if not found.stderr:  # two targets that do the same: rounding is no difference
        return 1.0
    return 2 * NormalDist().cdf(-abs(found.value) / found.stderr)
