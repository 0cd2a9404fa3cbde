"""A linear model of request features crossed with item features, learned online."""

from __future__ import annotations

import functools
from math import asinh, floor
from typing import Any, ClassVar, NamedTuple
from zlib import crc32

import attrs
import numpy as np

from recsdk.base import Array, Events, Items, Request
from recsdk.checks import integer, number
from recsdk.data import take

BINS_PER_E = 2
"""Bins of the logarithmic grid of numbers, per factor of e."""
FIRST, SECOND, THIRD = (np.uint64(odd) for odd in (0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0xD6E8FEB86659FD93))
CONSTANT = crc32(b"constant")

Hashed = tuple[list[int], list[float]]


class Crossings(NamedTuple):
    """State of `Crossed`.

    Attributes:
        weights: f32[num_buckets], of each hashed pair.
        squares: f32[num_buckets], each pair's sum of squared gradients.
    """

    weights: np.ndarray
    squares: np.ndarray


class Pairs(NamedTuple):
    """Pairs of F features of a request and M features of K candidates.

    Attributes:
        bucket: i64[F, M], where each pair's weight lies.
        value: f64[F, M]; the values of one candidate have a Euclidean length of 1.
        raw: f64[F, M], the values before that.
        row: i64[M], the candidate that each column belongs to; each candidate's first column is its constant.
    """

    bucket: np.ndarray
    value: np.ndarray
    raw: np.ndarray
    row: np.ndarray


@attrs.frozen(kw_only=True)
class Crossed:
    """Predicts the reward of an item for a request, from pairs of a request feature and an item feature.

    Use it when what users take depends on who they are, and there is no encoder: it learns from every reward, needs no history, and
    works on NumPy alone. It is a linear model. Its features are each item feature and the item's id, alone and paired with each
    feature of the request. All pairs are hashed into one table, so new values and new features need no preparation.

    A str is a category. A list of str shares a weight of 1 among its elements. A number is spread over the two nearest bins of a
    logarithmic grid, so the prediction may bend with it. A missing value is left out.

    The column is the predicted reward less what the model expects of the request whatever the item: 0 for an item of which nothing
    is known. Learning is AdaGrad on the Huber loss: an error beyond `reward_scale` pulls no harder than `reward_scale`, so one
    outlier cannot spoil the model.

    Attributes:
        num_buckets: size of the table; pairs that share a bucket are not told apart. The state takes 8 bytes per bucket.
        learning_rate: share of the error that the first update of a pair corrects.
        reward_scale: size of a usual reward.

    References:
        Weinberger, Dasgupta, Langford, Smola, Attenberg, Feature Hashing for Large Scale Multitask Learning, ICML 2009;
        Duchi, Hazan, Singer, Adaptive Subgradient Methods for Online Learning and Stochastic Optimization, JMLR 2011.

    Example:
        >>> from recsdk.data import items_from_rows, take
        >>> items = items_from_rows([{"id": "steak", "kind": "meat"}, {"id": "salad", "kind": "plants"}])
        >>> scorer, vegan = Crossed(), Request({"diet": "vegan"}, 0.0)
        >>> state = scorer.update(scorer.init(), vegan, take(items, [1]), 1.0)
        >>> state = scorer.update(state, vegan, take(items, [0]), 0.0)
        >>> steak, salad = scorer.score(state, vegan, items)[:, 0]
        >>> bool(salad > steak)
        True
    """

    columns: ClassVar[tuple[str, ...]] = ("crossed",)

    num_buckets: int = attrs.field(default=2**18, validator=integer(at_least=2))
    learning_rate: float = attrs.field(default=0.5, validator=number(above=0, at_most=1))
    reward_scale: float = attrs.field(default=1.0, validator=number(above=0))

    def init(self) -> Crossings:
        """Returns the state before any event."""
        return Crossings(np.zeros(self.num_buckets, np.float32), np.zeros(self.num_buckets, np.float32))

    def fit(self, log: Events) -> Crossings:
        """Learns from the events one by one, oldest first, as `update` does."""
        state = self.init()
        for row in range(len(log.item)):
            features = {name: column[row] for name, column in log.requests.items()}
            item = take(log.items, log.item[row : row + 1])
            state = self.update(state, Request(features, float(log.time[row])), item, float(log.reward[row]))
        return state

    def score(self, state: Crossings, request: Request, candidates: Items) -> Array:
        """Returns f32[K, 1]."""
        pairs = self._pairs(request, candidates)
        terms = (state.weights[pairs.bucket] * pairs.value).sum(axis=0)
        terms[np.diff(pairs.row, prepend=-1) > 0] = 0  # the constant's: of the request, whatever the item
        return np.bincount(pairs.row, terms, minlength=len(candidates.ids)).astype(np.float32)[:, None]

    def update(self, state: Crossings, request: Request, item: Items, reward: float) -> Crossings:
        """Moves the weights of the pairs that are present towards the reward of one item. Consumes `state`."""
        pairs = self._pairs(request, item)
        predicted = (state.weights[pairs.bucket] * pairs.value).sum()
        error = min(max(reward - predicted, -self.reward_scale), self.reward_scale)
        np.add.at(state.squares, pairs.bucket, np.square(error / self.reward_scale * pairs.raw))
        step = self.learning_rate * error * pairs.value / np.sqrt(1 + state.squares[pairs.bucket])
        np.add.at(state.weights, pairs.bucket, step)
        return state

    def _pairs(self, request: Request, candidates: Items) -> Pairs:
        hashes, values = _joined([_hashed(name, value) for name, value in sorted(request.features.items())])
        columns = [(f"item {name}", column.tolist()) for name, column in candidates.features.items()]
        columns.append(("id", candidates.ids.tolist()))
        rows = [_joined([_hashed(name, column[place]) for name, column in columns]) for place in range(len(candidates.ids))]
        row = np.repeat(np.arange(len(rows)), [len(ours) for ours, _ in rows])
        item_hashes = np.array([one for ours, _ in rows for one in ours], np.uint64)
        item_values = np.array([one for _, ours in rows for one in ours], np.float64)
        mixed = (np.array(hashes, np.uint64)[:, None] * FIRST + item_hashes * SECOND) * THIRD
        raw = np.array(values)[:, None] * item_values
        length = np.sqrt(np.bincount(row, np.square(raw).sum(axis=0), minlength=len(rows)))
        return Pairs((mixed >> np.uint64(24)).astype(np.int64) % self.num_buckets, raw / length[row], raw, row)


def _joined(features: list[Hashed]) -> Hashed:
    """Joins features end to end, after the constant."""
    hashes, values = [CONSTANT], [1.0]
    for some_hashes, some_values in features:
        hashes += some_hashes
        values += some_values
    return hashes, values


def _hashed(name: str, value: Any) -> Hashed:
    """Returns the hashes and weights of one feature."""
    if isinstance(value, str):
        return [_hash(name, value)], [1.0]
    if value is None or value != value:
        return [], []
    if isinstance(value, (list, tuple)):
        return [_hash(name, word) for word in value], [1 / len(value)] * len(value) if value else []
    place = asinh(value) * BINS_PER_E
    below = floor(place)
    return [_hash(name, str(below)), _hash(name, str(below + 1))], [1 - (place - below), place - below]


@functools.lru_cache(maxsize=2**16)
def _hash(name: str, value: str) -> int:
    return crc32(f"{name}\0{value}".encode(errors="surrogatepass"))
