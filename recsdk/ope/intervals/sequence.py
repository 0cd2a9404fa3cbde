"""Confidence sequences: intervals that hold at every look at once, so that a log may be looked at while it grows.

Neither needs a largest weight, and both hold whatever the logger did, as long as it chose by its true propensities: what they need of a
round is that importance times reward has the target's value as its mean, given all that came before. The lower ends bet on a reward above
them, the upper ends on a shortfall, 1 - r for r, above theirs; each with half of what may be missed.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from recsdk.errors import InvalidValue
from recsdk.ope._rounds import Rounds
from recsdk.ope.intervals._special import check_level
from recsdk.ope.intervals.bounded import bounded_rounds

BETS = np.geomspace(1e-6, 0.9, 32)
"""Shares of the wealth, or rates, that are played side by side: the sums of what they win is a fair game as each of them is."""

FINENESS = 1.08  # of the bins of rho r: each costs a bet of it at most .2 % of its variance
MOST_BINS = 400
HALVINGS = 30  # of [0, 1]
LEAST = 1e-30  # stands for a value of 0, against which every gain is endless


class Sequence(NamedTuple):
    """Intervals after the first so many rounds, which all contain the value at once, with probability `level`.

    Attributes:
        num_rounds: i64[L], rounds up to each look.
        value: f64[L], IPS over them.
        low: f64[L].
        high: f64[L].
        level: nominal coverage of all [low, high] together.
    """

    num_rounds: np.ndarray
    value: np.ndarray
    low: np.ndarray
    high: np.ndarray
    level: float


def confidence_sequence(rounds: Rounds, *, reward_range: tuple[float, float], looks: Any = None, level: float = 0.95) -> Sequence:
    """Contains the target's value at every look, when that value stays what it is: the narrower of the two.

    It is the wealth of gamblers who each put the same share on every round: their game is fair at the true value alone, and values at
    which they got rich are out. It holds for the value of each round alike; in a world that drifts take `drifting_sequence`.

    Args:
        rounds: in the order of time.
        reward_range: the least and the greatest reward possible, known beforehand.
        looks: i64[L], numbers of rounds after which to look, increasing; by default 100 from 10 to T, each longer by a share. Other looks
            change none of the answers.
        level: nominal coverage of all looks together.

    Raises:
        InvalidValue: `looks`, `level` or `reward_range` out of range.
        InvalidReward: a reward outside `reward_range`, by its row.
        InvalidLog: rounds that stand for different numbers of rounds.

    References:
        Waudby-Smith and Ramdas, "Estimating means of bounded random variables by betting", JRSS B, 2024.
        Karampatziakis, Mineiro and Ramdas, "Off-policy confidence sequences", ICML, 2021.
        Waudby-Smith, Wu, Ramdas, Karampatziakis and Mineiro, "Anytime-valid off-policy inference for contextual bandits", ACM/IMS Journal
        of Data Science, 2024.
    """
    return _sequence(rounds, reward_range, looks, level, _betting)


def drifting_sequence(rounds: Rounds, *, reward_range: tuple[float, float], looks: Any = None, level: float = 0.95) -> Sequence:
    """Contains at every look the average of the target's values in the rounds up to it, however they change: the one for a real log.

    An empirical Bernstein bound whose variance is measured from the mean of the rounds before: about half as wide again as
    `confidence_sequence` at an effective size of 40, and an eighth at 400.

    Args:
        rounds: in the order of time.
        reward_range: as in `confidence_sequence`.
        looks: as in `confidence_sequence`.
        level: nominal coverage of all looks together.

    Raises:
        InvalidValue, InvalidReward, InvalidLog: as in `confidence_sequence`.

    References:
        Howard, Ramdas, McAuliffe and Sekhon, "Time-uniform, nonparametric, nonasymptotic confidence sequences", The Annals of
        Statistics, 2021, theorem 4.
        Karampatziakis, Mineiro and Ramdas, "Off-policy confidence sequences", ICML, 2021.
    """
    return _sequence(rounds, reward_range, looks, level, _bernstein)


Wealth = Callable[[np.ndarray], np.ndarray]
"""f64[L], a value for each look, to f64[L, bets]: the logarithm of each gambler's wealth against it."""


def _sequence(rounds: Rounds, reward_range: tuple[float, float], looks: Any, level: float, game: Callable[..., Wealth]) -> Sequence:
    check_level(level)
    ratio, reward = bounded_rounds(rounds, reward_range)
    looks = _looks(looks, len(ratio))
    gain, loss = ratio * reward, ratio * (1 - reward)
    value = gain.cumsum()[looks - 1] / looks
    goal = math.log(2 / (1 - level))
    low, short = (_least(game(sums, looks), sums.cumsum()[looks - 1] / looks, goal) for sums in (gain, loss))
    start, extent = reward_range[0], reward_range[1] - reward_range[0]
    return Sequence(looks, start + extent * value, start + extent * low, start + extent * (1 - short), level)


def _looks(looks: Any, size: int) -> np.ndarray:
    if looks is None:
        return np.unique(np.geomspace(min(10, size), size, 100).round().astype(np.int64))
    looks = np.asarray(looks)
    if looks.ndim != 1 or not looks.size or looks.dtype.kind not in "iu" or (np.diff(looks, prepend=0) <= 0).any() or looks[-1] > size:
        raise InvalidValue(f"looks must be increasing whole numbers in [1, {size}], the number of rounds, got {looks!r}.")
    asked: np.ndarray = looks.astype(np.int64)
    return asked


def _least(wealth: Wealth, mean: np.ndarray, goal: float) -> np.ndarray:
    """The least value, at each look, against which the gamblers' mean wealth is below exp(goal); their wealth falls with the value."""
    low, high = np.zeros(len(mean)), np.minimum(mean, 1)
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        each = wealth(middle)
        most = each.max(1)
        rich = most + np.log(np.exp(each - most[:, None]).mean(1)) > goal
        low, high = np.where(rich, middle, low), np.where(rich, high, middle)
    return low


def _betting(gain: np.ndarray, looks: np.ndarray) -> Wealth:
    """Wealth is the product of 1 - share + share * gain / value.

    Gains are counted in bins, a gain between two bins as a part of each: the logarithm is concave, so that wealth is
    understated, by little.
    """
    bins = _bins(gain[gain > 0])
    index = np.clip(np.searchsorted(bins, gain, side="right") - 1, 0, len(bins) - 2)
    above = (gain - bins[index]) / (bins[index + 1] - bins[index])
    index += np.searchsorted(looks, np.arange(1, len(gain) + 1)) * len(bins)
    num_cells = (len(looks) + 1) * len(bins)
    counts = np.bincount(index, 1 - above, num_cells) + np.bincount(index + 1, above, num_cells)
    counts = counts.reshape(-1, len(bins))[:-1].cumsum(0)

    def wealth(value: np.ndarray) -> np.ndarray:
        growth = np.log1p(BETS[:, None] * (bins / np.maximum(value, LEAST)[:, None, None] - 1))
        total: np.ndarray = (growth @ counts[:, :, None])[..., 0]
        return total

    return wealth


def _bins(gains: np.ndarray) -> np.ndarray:
    if not gains.size:
        return np.array([0.0, 1.0])
    least, most = gains.min(), gains.max()
    number = min(math.ceil(math.log(most / least) / math.log(FINENESS)) + 2, MOST_BINS)
    return np.concatenate([[0.0], np.geomspace(least, most, number)])


def _bernstein(gain: np.ndarray, looks: np.ndarray) -> Wealth:
    """Wealth is at least exp(rate * (sum of gains - n value) - psi(rate) * sum of squares), where psi(rate) = -log(1 - rate) - rate.

    The squares are of gains less the mean so far, which is at most 1, so that no gain is more than 1 below it: Fan's inequality.
    """
    total = gain.cumsum()
    before = np.minimum((np.concatenate([[0.0], total[:-1]]) + 0.5) / np.arange(1, len(gain) + 1), 1)
    squares = ((gain - before) ** 2).cumsum()[looks - 1, None] * (np.log1p(-BETS) + BETS)

    def wealth(value: np.ndarray) -> np.ndarray:
        won: np.ndarray = BETS * (total[looks - 1] - looks * value)[:, None] + squares
        return won

    return wealth
