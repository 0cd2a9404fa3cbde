"""A policy value with its interval."""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import NamedTuple

from recsdk.checks import is_number
from recsdk.errors import InvalidValue
from recsdk.ope.terms import Terms, influence, value


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

    def __repr__(self) -> str:
        """Returns the estimate with four digits."""
        value, stderr, low, high, level = (f"{number:.4g}" for number in self)
        return f"Estimate(value={value}, stderr={stderr}, low={low}, high={high}, level={level})"


def delta(terms: Terms, *, level: float = 0.95) -> Estimate:
    """The delta method's standard error and a normal interval: quick, and short of `level` at a small effective size.

    Args:
        terms: from an estimator.
        level: nominal coverage of the interval. It is asymptotic.

    Raises:
        InsufficientOverlap: when no round has weight.
        InvalidValue: `level` outside (0, 1).
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
