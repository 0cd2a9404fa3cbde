"""A policy value with its interval, and the one sum that every estimator here is made of."""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import NamedTuple

import numpy as np

from recsdk.errors import InsufficientOverlap, InvalidValue


class Estimate(NamedTuple):
    """A policy's value: its expected reward per round.

    Attributes:
        value: the estimate.
        stderr: standard error of `value`; infinite when one round carries it alone.
        low: lower end of the two-sided interval.
        high: upper end.
        level: nominal coverage of [low, high], in (0, 1).
    """

    value: float
    stderr: float
    low: float
    high: float
    level: float


def weighted_mean(terms: np.ndarray, weights: np.ndarray, *, level: float = 0.95) -> Estimate:
    """Averages per-round terms, with the delta-method standard error of that ratio and a normal interval.

    IPS, DM and DR are means of a term per round, weighted by how many rounds each stands for; SNIPS and the matched mean
    are means of the reward, weighted besides by importance or by match. A round of weight 0 is as good as absent.

    Args:
        terms: f64[T].
        weights: f64[T], >= 0.
        level: nominal coverage of the interval. It is asymptotic, and short of `level` at a small effective size.

    Raises:
        InsufficientOverlap: when no round has weight.
        InvalidValue: `level` outside (0, 1).

    Example:
        >>> weighted_mean(np.array([0.0, 1.0, 1.0]), np.ones(3)).value
        0.6666666666666666
    """
    if not 0 < level < 1:
        raise InvalidValue(f"level must be in (0, 1), got {level!r}.")
    total = weights.sum()
    if not total > 0:
        raise InsufficientOverlap(f"None of {len(weights)} rounds has an action that the target policy could have taken.")
    value = (weights * terms).sum() / total
    count = np.count_nonzero(weights)
    # The delta method for a ratio A/B leaves the residuals w (t - A/B) over B; the factor makes it s/sqrt(n) at equal weights.
    squares = ((weights * (terms - value)) ** 2).sum()
    stderr = math.sqrt(count / (count - 1) * squares) / total if count > 1 else math.inf
    reach = NormalDist().inv_cdf((1 + level) / 2) * stderr
    return Estimate(float(value), float(stderr), float(value - reach), float(value + reach), level)
