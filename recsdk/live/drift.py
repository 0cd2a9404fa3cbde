"""Feature drift: whether requests, and the items of the catalogue, are still like those of the folder's beginning."""

from __future__ import annotations

import bisect
import json
import math
from collections import Counter, deque
from collections.abc import Callable, Hashable, Sequence
from statistics import NormalDist
from typing import Any, NamedTuple

import numpy as np

from recsdk.checks import is_number
from recsdk.ledger import DecisionRecord, ItemRecord
from recsdk.live import histories

SIZE = 1_000
"""How many of the first decisions, and of the last, are compared."""
FEWEST = 100
"""Fewer decisions than so many after the first ones are not compared."""
MOST = 0.25
"""Index from which a shift is large, by the usual rule of thumb (Siddiqi)."""
FALSE_ALARMS = 0.001
"""Probability of an alarm, of all features together, at a look at independent requests that have not changed."""
NUM_BINS = 10
MOST_NAMES = 20


class Drifted(NamedTuple):
    """How far a feature has moved.

    Attributes:
        psi: population stability index, sum of (q - p) ln(q / p) over the bins, for the shares p before and q now; 0 for no change.
        most: largest that is no alarm.

    Example:
        >>> Drifted(psi=0.31, most=0.25).is_on
        True
    """

    psi: float
    most: float

    @property
    def is_on(self) -> bool:
        """Whether it is an alarm."""
        return self.psi > self.most


class Drift:
    """Collects what is compared, while a log goes by.

    Of requests these are the first 1,000 decisions and the last 1,000 after them; of items the catalogue after these first decisions, and
    the present one.
    """

    def __init__(self) -> None:
        self._first: list[dict[str, Any]] = []
        self._last = deque[dict[str, Any]](maxlen=SIZE)
        self._items: dict[int, str] = {}  # the rows of those that can be recommended
        self._items_before: dict[int, str] = {}

    def add(self, record: DecisionRecord | ItemRecord) -> None:
        """Takes the next record."""
        if isinstance(record, DecisionRecord):
            self._add_request(histories.features(json.loads(record.payload)))
        elif record.active:
            self._items[record.slot] = record.row
        else:
            self._items.pop(record.slot, None)

    def _add_request(self, request: dict[str, Any]) -> None:
        if len(self._first) < SIZE:
            self._first.append(request)
            self._items_before = self._items.copy() if len(self._first) == SIZE else {}
        else:
            self._last.append(request)

    def found(self) -> dict[str, Drifted]:
        """Returns the drift of every feature, by a name such as "request.age" or "item.price"; empty where too little has come."""
        if len(self._last) < FEWEST:
            return {}
        items, items_now = ([json.loads(row) for row in held.values()] for held in (self._items_before, self._items))
        pairs = {f"request.{name}": pair for name, pair in _columns(self._first, list(self._last), ("user_id",)).items()}
        pairs |= {f"item.{name}": pair for name, pair in _columns(items, items_now, ("id", "added")).items()}
        return {name: drifted(*pair, among=len(pairs)) for name, pair in sorted(pairs.items())}


def drifted(before: Sequence[Any], now: Sequence[Any], *, among: int = 1) -> Drifted:
    """Returns how far the values of a feature have moved.

    Numbers are put into ten bins with as many values of `before` each, other values by themselves, the most frequent 20. Where nothing has
    changed the index is near (1 / n + 1 / m) times a chi-squared variable, with a degree of freedom less than there are bins; an index is
    an alarm where it is large, and larger than chance makes it.

    Args:
        before: n values: numbers, texts, bools, lists of texts, or None for none.
        now: m values.
        among: how many features are looked at, which share the probability of a false alarm.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> before, now = rng.normal(size=1_000).tolist(), rng.normal(size=1_000).tolist()
        >>> drifted(before, now).is_on, drifted(before, [value + 1 for value in now]).is_on
        (False, True)

    References:
        Naeem Siddiqi: Credit Risk Scorecards. Wiley, 2006. (The index, and .25.)
        Bilal Yurdakul, Joshua Naranjo: Statistical properties of the population stability index. Journal of Risk Model Validation, 2020.
        Edwin Wilson, Margaret Hilferty: The distribution of chi-square. PNAS, 1931. (Its quantiles.)
    """
    if not before or not now:
        return Drifted(0.0, MOST)
    label = _labels(before)
    counts = [Counter(map(label, values)) for values in (before, now)]
    bins = sorted({*counts[0], *counts[1]}, key=repr)
    p, q = (_shares(np.array([count[each] for each in bins], float)) for count in counts)
    chance = (1 / len(before) + 1 / len(now)) * _chi_squared(len(bins) - 1, 1 - FALSE_ALARMS / among)
    return Drifted(float(((q - p) * np.log(q / p)).sum()), max(MOST, chance))


def _columns(before: list[dict[str, Any]], now: list[dict[str, Any]], without: tuple[str, ...]) -> dict[str, tuple[list[Any], list[Any]]]:
    names = dict.fromkeys(name for row in (*before, *now) for name in row if name not in without)
    return {name: ([row.get(name) for row in before], [row.get(name) for row in now]) for name in names}


def _labels(values: Sequence[Any]) -> Callable[[Any], Hashable]:
    """Returns what puts a value into a bin."""
    numbers = [value for value in values if is_number(value)]
    quantiles = np.unique(np.quantile(numbers, np.arange(1, NUM_BINS) / NUM_BINS)).tolist() if len(set(numbers)) > NUM_BINS else None

    def label(value: Any) -> Hashable:
        if quantiles is not None and is_number(value):
            return bisect.bisect_right(quantiles, value)
        return json.dumps(sorted(value) if isinstance(value, list) else value)

    known = {name for name, _ in Counter(map(label, values)).most_common(MOST_NAMES)}
    return lambda value: name if (name := label(value)) in known else "other"


def _shares(counts: np.ndarray) -> np.ndarray:
    """Returns shares of which none is 0."""
    shares: np.ndarray = (counts + 0.5) / (counts.sum() + 0.5 * len(counts))
    return shares


def _chi_squared(freedom: int, level: float) -> float:
    """Returns a quantile of the chi-squared distribution."""
    if freedom < 1:
        return 0.0
    spread = 2 / (9 * freedom)
    return float(freedom * (1 - spread + NormalDist().inv_cdf(level) * math.sqrt(spread)) ** 3)
