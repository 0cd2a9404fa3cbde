"""Terms, which estimators return: an estimate as sums over rounds. Its value, standard error and normal interval."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist
from typing import NamedTuple

import numpy as np

from recsdk.checks import is_number
from recsdk.errors import InsufficientOverlap, InvalidValue


class Terms(NamedTuple):
    """An estimate as the contributions of its rounds. Its value is the sum over j of sum_t numerator[t, j] / sum_t denominator[t, j].

    To join two logs, concatenate their terms. A bootstrap weights the rows; a stream keeps the sums of columns and of their products.

    Attributes:
        numerator: f64[T, J].
        denominator: f64[T, J], >= 0. J is 1 for IPS (w rho r, w), SNIPS (w rho r, w rho), DM and DR; 2 for SNDR.

    Example:
        >>> Terms(np.array([[1.0], [0.0]]), np.ones((2, 1))).numerator.shape
        (2, 1)
    """

    numerator: np.ndarray
    denominator: np.ndarray


def average(values: np.ndarray, weights: np.ndarray) -> Terms:
    """Returns the terms of a weighted mean. A round of weight 0 changes nothing.

    Args:
        values: f64[T].
        weights: f64[T], >= 0.

    Example:
        >>> value(average(np.array([0.0, 1.0, 1.0]), np.ones(3)))
        0.6666666666666666
    """
    return Terms((weights * values)[:, None], weights[:, None])


def add(*parts: Terms) -> Terms:
    """Returns the terms of the sum of several estimates on the same rounds.

    Example:
        >>> part = average(np.array([0.0, 1.0]), np.ones(2))
        >>> value(add(part, part))
        1.0
    """
    # Each column is contiguous, so that NumPy sums it pairwise.
    return Terms(*(np.concatenate([column.T for column in field]).T for field in zip(*parts, strict=True)))


def value(terms: Terms) -> float:
    """Returns the estimate.

    Raises:
        InsufficientOverlap: when a denominator sums to 0.

    Example:
        >>> value(Terms(np.array([[1.0], [0.0]]), np.array([[2.0], [2.0]])))
        0.25
    """
    return float(_ratios(terms).sum())


def influence(terms: Terms) -> np.ndarray:
    """Returns f64[T], the influence of each round on the estimate by the delta method; the sum of their squares is the variance.

    The influence on a difference of two estimates is the difference of the influences. It is scaled so that the standard error of a
    plain mean is s / sqrt(T). It is infinite for a round that alone makes up a ratio.

    Raises:
        InsufficientOverlap: when a denominator sums to 0.

    Example:
        >>> float((influence(average(np.array([0.0, 1.0, 1.0, 0.0]), np.ones(4))) ** 2).sum() ** 0.5).__round__(4)
        0.2887
    """
    residual = terms.numerator - _ratios(terms) * terms.denominator
    count = np.count_nonzero(terms.denominator, axis=0)
    scale = np.sqrt(count / np.maximum(count - 1, 1)) / terms.denominator.sum(0)
    total: np.ndarray = residual @ scale
    return np.where((terms.denominator[:, count == 1] > 0).any(1), np.inf, total) if (count == 1).any() else total


def _ratios(terms: Terms) -> np.ndarray:
    total = terms.denominator.sum(0)
    if not (total > 0).all():
        raise InsufficientOverlap(f"None of {len(terms.denominator)} rounds has an action that the target policy could have taken.")
    ratios: np.ndarray = terms.numerator.sum(0) / total
    return ratios


def by_page(terms: Terms, page: np.ndarray) -> Terms:
    """Adds up the terms of each page: the same estimate, with a standard error that does not treat the rows of a page as independent.

    Args:
        terms: of T rows.
        page: i64[T], from 0.

    Example:
        >>> rows = Terms(np.array([[1.0], [0.0], [2.0]]), np.ones((3, 1)))
        >>> by_page(rows, np.array([0, 0, 1])).numerator.ravel()
        array([1., 2.])
    """
    return Terms(*(np.stack([np.bincount(page, column) for column in field.T]).T for field in terms))


class Estimate(NamedTuple):
    """A policy's value: its expected reward per round.

    Attributes:
        value: the estimate.
        stderr: standard error of `value`; infinite if one round alone makes it up.
        low: lower end of the two-sided interval.
        high: upper end.
        level: nominal coverage of [low, high], in (0, 1).

    Example:
        >>> Estimate(value=0.123456, stderr=0.01, low=0.1, high=0.14, level=0.95)
        Estimate(value=0.1235, stderr=0.01, low=0.1, high=0.14, level=0.95)
    """

    value: float
    stderr: float
    low: float
    high: float
    level: float

    def __repr__(self) -> str:
        """Returns the estimate with four digits."""
        value, stderr, low, high, level = (f"{number:.4g}" for number in self)
        return f"Estimate(value={value}, stderr={stderr}, low={low}, high={high}, level={level})"


def delta(terms: Terms, *, level: float = 0.95) -> Estimate:
    """Returns the estimate with the delta method's standard error and a normal interval, too short at a small effective size.

    Args:
        terms: from an estimator.
        level: nominal coverage of the interval. It is asymptotic.

    Raises:
        InsufficientOverlap: when no round has weight.
        InvalidValue: `level` outside (0, 1).

    Example:
        >>> delta(average(np.array([0.0, 1.0, 1.0, 0.0]), np.ones(4)))
        Estimate(value=0.5, stderr=0.2887, low=-0.06579, high=1.066, level=0.95)
    """
    check_level(level)
    return normal(value(terms), math.sqrt((influence(terms) ** 2).sum()), level=level)


def normal(middle: float, stderr: float, *, level: float) -> Estimate:
    """Returns the estimate with a normal interval.

    Raises:
        InvalidValue: `level` outside (0, 1).
    """
    check_level(level)
    reach = NormalDist().inv_cdf((1 + level) / 2) * stderr
    return Estimate(middle, stderr, middle - reach, middle + reach, level)


def check_level(level: float) -> None:
    """Refuses a level outside (0, 1).

    Raises:
        InvalidValue: naming it.
    """
    if not is_number(level) or not 0 < level < 1:
        raise InvalidValue(f"level must be in (0, 1), got {level!r}.")


class Moments(NamedTuple):
    """Sums of C columns over T rounds.

    Attributes:
        sums: f64[C].
        products: f64[C, C], sums of the products of two columns.
        counts: i64[C], rounds in which a column is not 0.
    """

    sums: np.ndarray
    products: np.ndarray
    counts: np.ndarray


def ratio(moments: Moments, numerators: Sequence[int], denominators: Sequence[int]) -> tuple[float, float]:
    """Returns the sum over j of numerator j / denominator j, and its standard error, the same as from `recsdk.ope.influence`.

    Args:
        moments: of all columns.
        numerators: J numbers of columns.
        denominators: J numbers of columns.

    Raises:
        InsufficientOverlap: when a denominator sums to 0.
    """
    above, below = list(numerators), list(denominators)
    total, counts = moments.sums[below], moments.counts[below]
    if not (total > 0).all():
        raise InsufficientOverlap("No round has an action that the target policy could have taken.")
    ratios = moments.sums[above] / total
    if (counts == 1).any():
        return float(ratios.sum()), math.inf
    scale = np.sqrt(counts / (counts - 1)) / total
    slope = np.zeros(len(moments.sums))
    np.add.at(slope, above, scale)
    np.add.at(slope, below, -scale * ratios)
    # Where products cancel, the rounding error may be negative.
    return float(ratios.sum()), math.sqrt(max(slope @ moments.products @ slope, 0.0))
