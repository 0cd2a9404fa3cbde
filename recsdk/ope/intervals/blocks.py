"""A bootstrap for rounds that depend on the rounds just before them."""

from __future__ import annotations

import math

import numpy as np

from recsdk.errors import InvalidLog, InvalidValue
from recsdk.ope.estimate import Estimate
from recsdk.ope.intervals._bootstrap import Resampled, ratios, studentised
from recsdk.ope.terms import Terms


def moving_block(
    terms: Terms, time: np.ndarray, *, length: int | None = None, level: float = 0.95, num_draws: int = 1000, seed: int = 0
) -> Estimate:
    """A studentised bootstrap of overlapping blocks of consecutive rounds, wrapped round the end of the log.

    For rewards that go up and down together: the hour of the day, a campaign, one user's visits side by side. What is further apart than
    `length` is taken as independent, so that a trend over the whole log is not covered by it.

    Args:
        terms: from an estimator, in the order of time.
        time: f64[T], when each round was; it proves the order.
        length: rounds a block, in [1, T / 2]; well above the reach of the dependence. By default the cube root of T, rounded up.
        level: nominal coverage of the interval.
        num_draws: at least 2 / (1 - level).
        seed: of the draws.

    Raises:
        InsufficientOverlap: when no round has weight.
        InvalidLog: `time` that goes back, is not finite, or is not one for each round.
        InvalidValue: `length`, `level` or `num_draws` out of range.

    References:
        Kuensch, "The jackknife and the bootstrap for general stationary observations", The Annals of Statistics, 1989.
        Politis and Romano, "A circular block-resampling procedure for stationary data", in Exploring the Limits of Bootstrap, 1992.
    """
    size = len(terms.numerator)
    _check_order(np.asarray(time), size)
    length = math.ceil(size ** (1 / 3)) if length is None else length
    if not 1 <= length <= size / 2:
        raise InvalidValue(f"length must be in [1, {size // 2}], half of {size} rounds, got {length}.")
    centre = ratios(terms.numerator.sum(0), terms.denominator.sum(0))
    parts = np.concatenate([(terms.numerator - centre * terms.denominator).T, terms.denominator.T])
    sums = np.concatenate([np.zeros((len(parts), 1)), parts, parts[:, : length - 1]], axis=1).cumsum(1)
    blocks = sums[:, length:] - sums[:, :-length]
    num_blocks = math.ceil(size / length)
    rng = np.random.default_rng(seed)
    drawn = np.stack([_sums(blocks[:, rng.integers(size, size=num_blocks)]) for _ in range(num_draws)])
    count = np.full(len(centre), num_blocks)
    return studentised(Resampled(centre, count, _sums(blocks) * num_blocks / size, drawn), level=level)


def _sums(parts: np.ndarray) -> np.ndarray:
    return np.concatenate([parts.sum(1), (parts @ parts.T)[np.triu_indices(len(parts))]])


def _check_order(time: np.ndarray, size: int) -> None:
    if time.shape != (size,) or not np.isfinite(time).all():
        raise InvalidLog(f"time must be finite, one for each of {size} rounds, got {time.dtype}{list(time.shape)}.")
    if (back := time[1:] < time[:-1]).any():
        row = int(back.argmax()) + 1
        raise InvalidLog(f"time[{row}] must be at least {time[row - 1]}, the time before it, got {time[row]}: sort the log by time first.")
