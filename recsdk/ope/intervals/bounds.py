"""Intervals for importance-weighted rewards with known bounds, for logs of any size and weights however heavy.

They take `Bounded`, sums over a log that `bounded` computes from rounds and from what the caller knows beforehand: the range of the
rewards, and the largest importance weight possible. Neither may be taken from the log: an interval scaled by the largest weight seen
covered 89.5 % where 95 % were claimed. Rewards are scaled to [0, 1] by their range; importance has mean 1.
Intervals keep to the range, which the estimate itself need not.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from recsdk.errors import InvalidLog, InvalidReward, InvalidValue, MissingExtra, install
from recsdk.ope.checked import Rounds
from recsdk.ope.terms import Estimate, check_level
from recsdk.ope.weighting import importance


class Bounded(NamedTuple):
    """Sums over rounds of importance rho and of the reward r, scaled to [0, 1]. Sums of shards are added by `join`.

    Attributes:
        max_weight: the largest importance weight that the two policies allow, >= 1.
        reward_range: the least and the greatest reward possible.
        num_rounds: rows of the log.
        weight: sum of rho.
        weight_square: sum of rho^2.
        reward: sum of rho r.
        cross: sum of rho^2 r.
        reward_square: sum of rho^2 r^2.

    Example:
        >>> from recsdk.datasets import log_from_frame
        >>> from recsdk.ope import rounds
        >>> log = log_from_frame({"action": [0, 1] * 100, "reward": [0.0, 1.0] * 100, "propensity": [0.5] * 200})
        >>> beside = rounds(log, [[0.25, 0.75]] * 200)
        >>> sums = bounded(beside, max_weight=2, reward_range=(0, 1))
        >>> sums.num_rounds, sums.weight
        (200, 200.0)
    """

    max_weight: float
    reward_range: tuple[float, float]
    num_rounds: int
    weight: float
    weight_square: float
    reward: float
    cross: float
    reward_square: float


def bounded(rounds: Rounds, *, max_weight: float, reward_range: tuple[float, float]) -> Bounded:
    """Computes the sums that the intervals of this module need.

    Args:
        rounds: from `rounds`.
        max_weight: the largest target / propensity that the two policies allow, over all contexts and actions: with a floor of uniform
            exploration at most num_candidates / floor. Never the largest seen, since larger ones may come.
        reward_range: the least and the greatest reward possible.

    Raises:
        InvalidValue: a `max_weight` below 1 or below the largest weight of the log, or a `reward_range` without extent.
        InvalidReward: a reward outside the range, by its row.
        InvalidLog: rounds that stand for different numbers of rounds, for which no such interval is known.

    Example:
        >>> from recsdk.datasets import log_from_frame
        >>> from recsdk.ope import rounds
        >>> log = log_from_frame({"action": [0, 1] * 100, "reward": [0.0, 1.0] * 100, "propensity": [0.5] * 200})
        >>> beside = rounds(log, [[0.25, 0.75]] * 200)
        >>> sums = bounded(beside, max_weight=2, reward_range=(0, 1))
        >>> sums.reward
        150.0
    """
    ratio, reward = bounded_rounds(rounds, reward_range)
    check_max_weight(max_weight, ratio)
    weighted = ratio * reward
    return Bounded(
        float(max_weight),
        reward_range,
        len(ratio),
        weight=float(ratio.sum()),
        weight_square=float((ratio**2).sum()),
        reward=float(weighted.sum()),
        cross=float((ratio * weighted).sum()),
        reward_square=float((weighted**2).sum()),
    )


def check_max_weight(max_weight: float, ratio: np.ndarray) -> None:
    """Refuses a `max_weight` below 1, which is the mean, or below the largest of importance.

    Raises:
        InvalidValue: naming both.
    """
    largest = float(ratio.max())
    if not max(1.0, largest) <= max_weight * (1 + 1e-9) < math.inf:
        raise InvalidValue(f"max_weight must be finite, at least 1 and at least {largest:.6g}, the largest of the log, got {max_weight!r}.")


def bounded_rounds(rounds: Rounds, reward_range: tuple[float, float]) -> tuple[np.ndarray, np.ndarray]:
    """Returns f64[T], importance, and f64[T], the reward scaled to [0, 1].

    Raises:
        InvalidValue, InvalidReward, InvalidLog: as in `bounded`.
    """
    low, high = reward_range
    if not -math.inf < low < high < math.inf:
        raise InvalidValue(f"reward_range must be two finite numbers, the lower first, got {reward_range!r}.")
    outside = ~((rounds.reward >= low) & (rounds.reward <= high))
    if outside.any():
        row = int(outside.argmax())
        raise InvalidReward(f"reward[{row}] must be in the declared range [{low}, {high}], got {rounds.reward[row]}.")
    unequal = rounds.weight != rounds.weight[0]
    if unequal.any():
        row = int(unequal.argmax())
        raise InvalidLog(
            f"weight[{row}] must be {rounds.weight[0]} like weight[0], got {rounds.weight[row]}: intervals by bounds need rounds that "
            "stand for equally many. Use delta or bootstrap."
        )
    return importance(rounds), (rounds.reward - low) / (high - low)


def join(a: Bounded, b: Bounded) -> Bounded:
    """Adds the sums of two parts of a log.

    Raises:
        InvalidValue: parts of different bounds.

    Example:
        >>> from recsdk.datasets import log_from_frame
        >>> from recsdk.ope import rounds
        >>> log = log_from_frame({"action": [0, 1] * 100, "reward": [0.0, 1.0] * 100, "propensity": [0.5] * 200})
        >>> beside = rounds(log, [[0.25, 0.75]] * 200)
        >>> sums = bounded(beside, max_weight=2, reward_range=(0, 1))
        >>> join(sums, sums).num_rounds
        400
    """
    if a[:2] != b[:2]:
        raise InvalidValue(f"parts must have the same max_weight and reward_range, got {a[:2]} and {b[:2]}.")
    num_rounds, *sums = (left + right for left, right in zip(a[2:], b[2:], strict=True))
    return Bounded(a.max_weight, a.reward_range, int(num_rounds), *sums)


def empirical_bernstein(sums: Bounded, *, level: float = 0.95) -> Estimate:
    """IPS with an interval that is valid for any number of rounds, but wide: at 95 %, at least 20 * `max_weight` / T.

    Rounds must be independent, and the log looked at once.

    Example:
        >>> from recsdk.datasets import log_from_frame
        >>> from recsdk.ope import rounds
        >>> log = log_from_frame({"action": [0, 1] * 100, "reward": [0.0, 1.0] * 100, "propensity": [0.5] * 200})
        >>> beside = rounds(log, [[0.25, 0.75]] * 200)
        >>> sums = bounded(beside, max_weight=2, reward_range=(0, 1))
        >>> found = empirical_bernstein(sums)
        >>> found.low < found.value < found.high
        True

    References:
        Maurer and Pontil, "Empirical Bernstein bounds and sample-variance penalization", COLT, 2009, theorem 4.
    """
    check_level(level)
    size = sums.num_rounds
    if size < 2:
        return _estimate(sums, level, sums.reward / size, math.inf, 0.0, 1.0)
    mean, stderr = _mean(sums)
    log = math.log(4 / (1 - level))
    reach = math.sqrt(2 * log) * stderr + 7 * sums.max_weight * log / (3 * (size - 1))
    return _estimate(sums, level, mean, stderr, mean - reach, mean + reach)


def clopper_pearson(sums: Bounded, *, level: float = 0.95) -> Estimate:
    """IPS with a binomial interval, valid for any number of rounds; for rare rewards narrower than `empirical_bernstein`.

    rho r / max_weight is in [0, 1]. The tail probability of a sum of such terms is at most e times that of a binomial with the same mean,
    so each end is Clopper's and Pearson's for an error probability smaller by e. It is valid for a logging policy that learns, too: only
    the mean of a round given those before counts. The log must be looked at once. Where IPS is far above the range of the rewards, both
    ends may be its upper end.

    Example:
        >>> from recsdk.datasets import log_from_frame
        >>> from recsdk.ope import rounds
        >>> log = log_from_frame({"action": [0, 1] * 100, "reward": [0.0, 1.0] * 100, "propensity": [0.5] * 200})
        >>> beside = rounds(log, [[0.25, 0.75]] * 200)
        >>> sums = bounded(beside, max_weight=2, reward_range=(0, 1))
        >>> found = clopper_pearson(sums)
        >>> 0.5 < found.low < found.value < found.high <= 1
        True

    References:
        Clopper and Pearson, "The use of confidence or fiducial limits illustrated in the case of the binomial", Biometrika, 1934.
        Bentkus, "On Hoeffding's inequalities", The Annals of Probability, 2004.
    """
    check_level(level)
    size, share = sums.num_rounds, (1 - level) / (2 * math.e)
    # The bound is for whole numbers of successes: rounded towards the wider interval.
    successes = sums.reward / sums.max_weight
    fewer, more = math.floor(successes), math.ceil(successes)
    low = beta_quantile(share, fewer, size - fewer + 1) if fewer else 0.0
    high = beta_quantile(1 - share, more + 1, size - more) if more < size else 1.0
    return _estimate(sums, level, *_mean(sums), low * sums.max_weight, high * sums.max_weight)


def empirical_likelihood(sums: Bounded, *, level: float = 0.95) -> Estimate:
    """Computes an interval by empirical likelihood: the values under all weightings of the rounds that could be true.

    Such a weighting is nearly equal, counts one unseen round too, and gives importance the mean 1, which the truth has.
    "Nearly equal" is measured by the divergence of Cressie and Read with parameter -2. It makes this a regression of rho r on rho, once
    with the worst round of weight 0 added to the log and once with the worst round of weight `max_weight`; the interval contains both. It
    is about as wide as `delta` for SNIPS in a large log, and wider in a small one, where that is too narrow. Rounds must be independent,
    and the log looked at once. It is asymptotic: if a large weight is so rare that the log may not have it, it covers no better than
    others. In logs of 60 rounds, of which 0.6 were expected to have such a weight, it covered 44 % of the time. The mean weight, 0.5
    there instead of 1, reveals this.

    Example:
        >>> from recsdk.datasets import log_from_frame
        >>> from recsdk.ope import rounds
        >>> log = log_from_frame({"action": [0, 1] * 100, "reward": [0.0, 1.0] * 100, "propensity": [0.5] * 200})
        >>> beside = rounds(log, [[0.25, 0.75]] * 200)
        >>> sums = bounded(beside, max_weight=2, reward_range=(0, 1))
        >>> found = empirical_likelihood(sums)
        >>> 0.6 < found.low < found.high < 0.9
        True

    References:
        Karampatziakis, Langford and Mineiro, "Empirical likelihood for contextual bandits", NeurIPS, 2020.
    """
    check_level(level)
    slack = f_quantile(level, sums.num_rounds) / (sums.num_rounds + 1)
    mirrored = sums._replace(  # 1 - r for r
        reward=sums.weight - sums.reward,
        cross=sums.weight_square - sums.cross,
        reward_square=sums.weight_square - 2 * sums.cross + sums.reward_square,
    )
    middle, residual = _regression(sums)
    if sums.num_rounds < 3:  # a line through two rounds leaves no residual
        return _estimate(sums, level, middle, math.inf, 0.0, 1.0)
    low = _least(sums, slack)
    high = max(1 - _least(mirrored, slack), low)  # that of weight 0 is in both, but for rounding
    return _estimate(sums, level, middle, math.sqrt(residual / sums.num_rounds), low, high)


def _least(sums: Bounded, slack: float) -> float:
    """The least value within reach, with an unseen round of reward 0 and extreme weight."""
    found = []
    for weight in (0.0, sums.max_weight):
        seen = sums._replace(num_rounds=sums.num_rounds + 1, weight=sums.weight + weight, weight_square=sums.weight_square + weight**2)
        middle, residual = _regression(seen)
        found.append(middle - math.sqrt(residual * slack))
    return min(found)


def _regression(sums: Bounded) -> tuple[float, float]:
    """Regresses rho r on rho; returns its value at importance 1, and the residual variance."""
    weight, square, reward, cross, reward_square = (each / sums.num_rounds for each in sums[3:])
    variance, covariance = square - weight**2, cross - weight * reward
    slope = covariance / variance if variance > 1e-12 * square else 0.0
    return reward + (1 - weight) * slope, max(reward_square - reward**2 - slope * covariance, 0.0)


def _mean(sums: Bounded) -> tuple[float, float]:
    """The mean of rho r and its standard error."""
    size, mean = sums.num_rounds, sums.reward / sums.num_rounds
    return mean, math.sqrt(max(sums.reward_square - size * mean**2, 0) / (size - 1) / size) if size > 1 else math.inf


def _estimate(sums: Bounded, level: float, value: float, stderr: float, low: float, high: float) -> Estimate:
    start, extent = sums.reward_range[0], sums.reward_range[1] - sums.reward_range[0]
    low, high = (start + extent * min(max(end, 0.0), 1.0) for end in (low, high))
    return Estimate(start + extent * value, extent * stderr, low, high, level)


def beta_quantile(share: float, a: float, b: float) -> float:
    """Returns the x for which P(Beta(a, b) <= x) = share, for `a` and `b` > 0.

    Raises:
        MissingExtra: SciPy is not installed.
    """
    return float(_special().betaincinv(a, b, share))


def f_quantile(share: float, denominator: float) -> float:
    """Returns the x for which P(F(1, denominator) <= x) = share: the square of Student's two-sided quantile.

    Raises:
        MissingExtra: SciPy is not installed.
    """
    return float(_special().fdtri(1, denominator, share))


def _special() -> Any:
    try:
        from scipy import special
    except ImportError as error:
        raise MissingExtra(f"clopper_pearson and empirical_likelihood need SciPy: {install('ope')}.") from error
    return special
