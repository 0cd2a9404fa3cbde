"""Confidence sequences: intervals that are valid at all looks together, so that a log may be looked at while it grows.

Both are valid for any logging policy that drew by its propensities: given all rounds before, importance times reward then has the target's
value as its mean. The lower end comes from bets that the mean of r is above it, the upper end from bets that the mean of 1 - r is above its
own; each has half of the error probability. If a largest weight is known, half of each stake bets that the other quantity is low. That
gives shorter intervals where rewards are rare, or rarely missing.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from recsdk.errors import InvalidValue
from recsdk.ope.checked import Rounds
from recsdk.ope.intervals.bounds import bounded_rounds, check_max_weight
from recsdk.ope.terms import check_level

BETS = np.geomspace(1e-6, 0.9, 32)
"""Shares of the wealth, or rates, that are bet side by side. Each bet is a fair game, and so is their sum."""

FINENESS = 1.08  # of the bins of rho r: each costs a bet of it at most .2 % of its variance
MOST_BINS = 400
HALVINGS = 26  # of [0, 1]


class Sequence(NamedTuple):
    """Intervals at several lengths of a log, which with probability `level` all contain the value.

    If `low` is above `high`, an assumption is false: the mean importance is not 1, or the value changed.

    Attributes:
        num_rounds: i64[L], rounds up to each look.
        value: f64[L], IPS over them.
        low: f64[L].
        high: f64[L].
        level: nominal coverage of all [low, high] together.

    Example:
        >>> from recsdk.datasets import log_from_frame
        >>> from recsdk.ope import rounds
        >>> log = log_from_frame({"action": [0, 1] * 100, "reward": [0.0, 1.0] * 100, "propensity": [0.5] * 200})
        >>> beside = rounds(log, [[0.25, 0.75]] * 200)
        >>> found = confidence_sequence(beside, reward_range=(0, 1), looks=[100, 200])
        >>> len(found.low), len(found.high)
        (2, 2)
    """

    num_rounds: np.ndarray
    value: np.ndarray
    low: np.ndarray
    high: np.ndarray
    level: float


def confidence_sequence(
    rounds: Rounds, *, reward_range: tuple[float, float], max_weight: float | None = None, looks: Any = None, level: float = 0.95
) -> Sequence:
    """Returns intervals that contain the target's value at every look, if it does not change: the narrower of the two sequences.

    For each value, gamblers bet a fixed share of their wealth on every round. At the true value their game is fair, so values at which they
    became rich are excluded. All rounds must have the same value; for a world that drifts use `drifting_sequence`.

    Args:
        rounds: in the order of time.
        reward_range: the least and the greatest reward possible, known beforehand.
        max_weight: the largest target / propensity that the two policies allow, as in `bounded`, where it is known.
        looks: i64[L], numbers of rounds after which to look, increasing; by default 100 from 10 to T, each longer by a share. The answer at
            one look does not depend on the others.
        level: nominal coverage of all looks together.

    Raises:
        InvalidValue: `looks`, `level`, `max_weight` or `reward_range` out of range.
        InvalidReward: a reward outside `reward_range`, by its row.
        InvalidLog: rounds that stand for different numbers of rounds.

    Example:
        >>> from recsdk.datasets import log_from_frame
        >>> from recsdk.ope import rounds
        >>> log = log_from_frame({"action": [0, 1] * 100, "reward": [0.0, 1.0] * 100, "propensity": [0.5] * 200})
        >>> beside = rounds(log, [[0.25, 0.75]] * 200)
        >>> found = confidence_sequence(beside, reward_range=(0, 1), max_weight=2, looks=[200])
        >>> bool(found.low[0] < 0.75 < found.high[0])
        True

    References:
        Waudby-Smith and Ramdas, "Estimating means of bounded random variables by betting", JRSS B, 2024.
        Karampatziakis, Mineiro and Ramdas, "Off-policy confidence sequences", ICML, 2021.
        Waudby-Smith, Wu, Ramdas, Karampatziakis and Mineiro, "Anytime-valid off-policy inference for contextual bandits", ACM/IMS Journal
        of Data Science, 2024.
    """
    return _sequence(rounds, reward_range, max_weight, looks, level, _betting)


def drifting_sequence(
    rounds: Rounds, *, reward_range: tuple[float, float], max_weight: float | None = None, looks: Any = None, level: float = 0.95
) -> Sequence:
    """Returns intervals that contain at every look the average of the target's values so far, however they change: for a real log.

    An empirical Bernstein bound, whose variance is measured from the mean of the rounds before. It is wider than `confidence_sequence`: by
    a half at an effective size of 40, by a seventh at 400.

    Args:
        rounds: in the order of time.
        reward_range: as in `confidence_sequence`.
        max_weight: as in `confidence_sequence`.
        looks: as in `confidence_sequence`.
        level: nominal coverage of all looks together.

    Raises:
        InvalidValue, InvalidReward, InvalidLog: as in `confidence_sequence`.

    Example:
        >>> from recsdk.datasets import log_from_frame
        >>> from recsdk.ope import rounds
        >>> log = log_from_frame({"action": [0, 1] * 100, "reward": [0.0, 1.0] * 100, "propensity": [0.5] * 200})
        >>> beside = rounds(log, [[0.25, 0.75]] * 200)
        >>> found = drifting_sequence(beside, reward_range=(0, 1), max_weight=2, looks=[200])
        >>> bool(found.low[0] < 0.75 < found.high[0])
        True

    References:
        Howard, Ramdas, McAuliffe and Sekhon, "Time-uniform, nonparametric, nonasymptotic confidence sequences", The Annals of
        Statistics, 2021, theorem 4.
        Karampatziakis, Mineiro and Ramdas, "Off-policy confidence sequences", ICML, 2021.
    """
    return _sequence(rounds, reward_range, max_weight, looks, level, _bernstein)


Wealth = Callable[[np.ndarray], np.ndarray]
"""A function from a mean gain for each look, f64[L], to the logarithm of each gambler's wealth against it, f64[L, bets]."""


def _sequence(
    rounds: Rounds, reward_range: tuple[float, float], max_weight: float | None, looks: Any, level: float, game: Callable[..., Wealth]
) -> Sequence:
    check_level(level)
    ratio, reward = bounded_rounds(rounds, reward_range)
    if max_weight is not None:
        check_max_weight(max_weight, ratio)
    looks = _looks(looks, len(ratio))
    gain, loss = ratio * reward, ratio * (1 - reward)
    goal = math.log(2 / (1 - level))
    value = gain.cumsum()[looks - 1] / looks
    low = _least(_games(gain, loss, max_weight, looks, game), looks, goal)
    short = _least(_games(loss, gain, max_weight, looks, game), looks, goal)
    start, extent = reward_range[0], reward_range[1] - reward_range[0]
    return Sequence(looks, start + extent * value, start + extent * low, start + extent * (1 - short), level)


class Running(NamedTuple):
    """Sums of gains, for a lower bound of their average mean that holds at every look at once.

    It is the lower end of `drifting_sequence` for gains of any kind that are at least 0. Three numbers are all of it, so that a live loop
    can keep it beside what it learns.

    Attributes:
        num_rounds: how many gains.
        total: their sum.
        squares: sum of the squares of each less the mean before it, which counts as at most 1.

    Example:
        >>> running = Running()
        >>> for _ in range(400):
        ...     running = running.add(1.5)
        >>> 1.4 < running.low(0.95) < 1.5, running.is_above(1.4, 0.95)
        (True, True)
    """

    num_rounds: int = 0
    total: float = 0.0
    squares: float = 0.0

    def add(self, gain: float) -> Running:
        """Returns the sums with one gain more, which must be at least 0."""
        before = min((self.total + 0.5) / (self.num_rounds + 1), 1)
        return Running(self.num_rounds + 1, self.total + gain, self.squares + (gain - before) ** 2)

    def low(self, level: float) -> float:
        """Returns what the average of the gains' means is not below at any look, with probability `level`; at least 0."""
        most = max(self.total / max(self.num_rounds, 1), 0.0)
        return float(_least(self._wealth(), np.ones(1), -math.log1p(-level), most)[0])

    def is_above(self, value: float, level: float) -> bool:
        """Tells whether `low` is above a value: a quick look."""
        return bool(_is_rich(self._wealth()(np.array([value])), -math.log1p(-level))[0])

    def _wealth(self) -> Wealth:
        return _won(np.array([self.num_rounds]), np.array([self.total]), np.array([self.squares]))


def _looks(looks: Any, size: int) -> np.ndarray:
    if looks is None:
        return np.unique(np.geomspace(min(10, size), size, 100).round().astype(np.int64))
    looks = np.asarray(looks)
    if looks.ndim != 1 or not looks.size or looks.dtype.kind not in "iu" or (np.diff(looks, prepend=0) <= 0).any() or looks[-1] > size:
        raise InvalidValue(f"looks must be increasing whole numbers in [1, {size}], the number of rounds, got {looks!r}.")
    asked: np.ndarray = looks.astype(np.int64)
    return asked


def _games(gain: np.ndarray, loss: np.ndarray, max_weight: float | None, looks: np.ndarray, game: Callable[..., Wealth]) -> Wealth:
    high = game(gain, looks)
    if max_weight is None:
        return high
    # Gain has the mean v and loss 1 - v, so that what a loss lacks of the largest weight has the mean max_weight - 1 + v, and is >= 0.
    low = game(1 - loss / max_weight, looks, most=1)
    return lambda value: np.concatenate([high(value), low(1 - (1 - value) / max_weight)], axis=1)


def _least(wealth: Wealth, looks: np.ndarray, goal: float, most: float = 1.0) -> np.ndarray:
    """The least value, at each look, against which the gamblers' mean wealth is below exp(goal); their wealth falls with the value."""
    low, high = np.zeros(len(looks)), np.full(len(looks), most)
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        rich = _is_rich(wealth(middle), goal)
        low, high = np.where(rich, middle, low), np.where(rich, high, middle)
    return low


def _is_rich(each: np.ndarray, goal: float) -> np.ndarray:
    """Tells at each look whether the mean of the gamblers' wealth, f64[L, bets] in logarithms, is above exp(goal)."""
    most = each.max(1)
    rich: np.ndarray = most + np.log(np.exp(each - most[:, None]).mean(1)) > goal
    return rich


def _betting(gain: np.ndarray, looks: np.ndarray, most: float = 0.0) -> Wealth:
    """Wealth is the product of 1 - share + share * gain / value.

    Gains are counted in bins of how far they are from `most`, one between two bins as a part of each: the logarithm is concave, so that
    wealth is understated, by little.
    """
    away = np.abs(most - gain)
    bins = _bins(away[away > 0])
    index = np.clip(np.searchsorted(bins, away, side="right") - 1, 0, len(bins) - 2)
    above = (away - bins[index]) / (bins[index + 1] - bins[index])
    index += np.searchsorted(looks, np.arange(1, len(gain) + 1)) * len(bins)
    num_cells = (len(looks) + 1) * len(bins)
    counts = np.bincount(index, 1 - above, num_cells) + np.bincount(index + 1, above, num_cells)
    counts = counts.reshape(-1, len(bins))[:-1].cumsum(0)
    gains = np.abs(most - bins)

    def wealth(value: np.ndarray) -> np.ndarray:
        growth = np.log1p(BETS[:, None] * (gains / value[:, None, None] - 1))
        total: np.ndarray = (growth @ counts[:, :, None])[..., 0]
        return total

    return wealth


def _bins(numbers: np.ndarray) -> np.ndarray:
    if not numbers.size:
        return np.array([0.0, 1.0])
    least, most = numbers.min(), numbers.max()
    number = min(math.ceil(math.log(most / least) / math.log(FINENESS)) + 2, MOST_BINS)
    return np.concatenate([[0.0], np.unique(np.geomspace(least, most, number))])


def _bernstein(gain: np.ndarray, looks: np.ndarray, most: float = 0.0) -> Wealth:
    """Wealth is at least exp(rate * (sum of gains - n value) - psi(rate) * sum of squares), where psi(rate) = -log(1 - rate) - rate.

    The squares are of gains less the mean so far, which is at most 1, so that no gain is more than 1 below it: Fan's inequality.
    """
    del most
    total = gain.cumsum()
    before = np.minimum((np.concatenate([[0.0], total[:-1]]) + 0.5) / np.arange(1, len(gain) + 1), 1)
    return _won(looks, total[looks - 1], ((gain - before) ** 2).cumsum()[looks - 1])


def _won(num_rounds: np.ndarray, total: np.ndarray, squares: np.ndarray) -> Wealth:
    lost = squares[:, None] * (np.log1p(-BETS) + BETS)

    def wealth(value: np.ndarray) -> np.ndarray:
        won: np.ndarray = BETS * (total - num_rounds * value)[:, None] + lost
        return won

    return wealth
