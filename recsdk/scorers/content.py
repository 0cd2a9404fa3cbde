"""Similarity of what items say of themselves."""

from __future__ import annotations

from typing import Any, ClassVar, NamedTuple

import attrs
import numpy as np

from recsdk.base import Array, Events, Items, Request
from recsdk.checks import integer, number
from recsdk.data import take
from recsdk.errors import InvalidValue
from recsdk.scorers import _queries
from recsdk.scorers._queries import Memory
from recsdk.scorers._slots import grown
from recsdk.scorers.crossed import _hashed
from recsdk.validators import feature_name

NUM_COUNTS = 2**16
"""Buckets in which it is counted how many items have a value."""


class Described(NamedTuple):
    """The state of `Content`.

    Attributes:
        vectors: f32[N, dim], of each slot, of length 1; zeros for an item that has no features.
        counts: i64[65536], items of the fit that have a value of the bucket.
        num_items: i64[], items of the fit.
        memory: the users' latest items, kept up to date live.
    """

    vectors: np.ndarray
    counts: np.ndarray
    num_items: np.ndarray
    memory: Memory


def _names(instance: Any, field: Any, value: Any) -> None:
    if not isinstance(value, tuple) or not all(isinstance(name, str) for name in value):
        raise InvalidValue(f"{type(instance).__name__}.{field.name} must be a tuple of names, got {value!r}.")


@attrs.frozen(kw_only=True)
class Content:
    """Scores an item by the cosine similarity of its features to those of the user's latest items.

    It needs no rewards, and knows a new item at once, as a candidate and in the history that it remembers. A str is a category, a list of
    str shares a weight of 1, a number is spread over the two nearest bins of a logarithmic grid. A value counts more the fewer items have
    it, by the logarithm of the inverse frequency. All are hashed into vectors of length 1. The user's latest item has weight 1, the one
    before it `recency_decay`, and so on; the column is in [-1, 1], and 0 where nothing is known of the user or the item. An item of the
    fit is known by the features that it had then. For vectors made elsewhere use `Dot` with the encoder `Frozen`.

    The history is the request's list feature `history`, item ids, oldest first; ids that were not there at the fit are passed over, since
    a request does not bring their features. For a request without one it is what the scorer
    remembers of the `user`, from the log and from live rewards above 0, each item once.

    Attributes:
        dim: width of the hashed vectors; values that share a place are not told apart.
        text_features: features of the kind str that are split into lower-cased words.
        recency_decay: how much less each earlier item of the history counts.
        history_length: latest items that the query has.
        user: name of the request's feature that identifies the user, a str.
        history: name of the request's list feature.
        max_users: users remembered, rounded up to a multiple of 8.

    Example:
        >>> from recsdk.data import events_from_rows, items_from_rows
        >>> rows = [{"id": "green", "kind": "tea"}, {"id": "black", "kind": "tea"}, {"id": "saw", "kind": "tool"}]
        >>> items, scorer = items_from_rows(rows), Content()
        >>> state = scorer.fit(events_from_rows(items, []))
        >>> scorer.score(state, Request({"history": ["green"]}, 0.0), items)[:, 0].round(3).tolist()
        [1.0, 1.0, 0.0]
    """

    columns: ClassVar[tuple[str, ...]] = ("content",)

    dim: int = attrs.field(default=256, validator=integer(at_least=2))
    text_features: tuple[str, ...] = attrs.field(default=(), validator=_names)
    recency_decay: float = attrs.field(default=0.8, validator=number(above=0, at_most=1))
    history_length: int = attrs.field(default=30, validator=integer(at_least=1))
    user: str = attrs.field(default="user_id", validator=feature_name)
    history: str = attrs.field(default="history", validator=feature_name)
    max_users: int = attrs.field(default=2**14, validator=integer(at_least=1))

    def init(self) -> Described:
        """Returns the state before any item: no vectors, empty histories."""
        memory = _queries.empty(self.max_users, self.history_length)
        return Described(np.zeros((0, self.dim), np.float32), np.zeros(NUM_COUNTS, np.int64), np.array(0), memory)

    def fit(self, log: Events) -> Described:
        """Counts how many items have each value, and hashes them."""
        state = self.init()
        for hashes, _ in self._bags(log.items):
            np.add.at(state.counts, list({value % NUM_COUNTS for value in hashes}), 1)
        state = state._replace(num_items=np.array(len(log.items.ids)))
        vectors = np.zeros((int(log.items.slot.max(initial=-1)) + 1, self.dim), np.float32)
        vectors[log.items.slot] = self._hash(state, log.items)
        taken = _queries.sequences(log, self.user)
        return state._replace(vectors=vectors, memory=_queries.remember_log(state.memory, log, taken))

    def score(self, state: Described, request: Request, candidates: Items) -> Array:
        """Returns f32[K, 1] in [-1, 1]."""
        recent = _queries.recent(state.memory, request.features, self.user, self.history, self.history_length)
        recent = recent[recent < len(state.vectors)]
        weights = (self.recency_decay ** np.arange(len(recent))).astype(np.float32)
        user = (state.vectors[recent] * weights[:, None]).sum(axis=0)
        length = np.sqrt((user * user).sum())
        if not length:
            return np.zeros((len(candidates.ids), 1), np.float32)
        # A sum for each row, so that it does not depend on the other candidates.
        return (self._vectors(state, candidates) * (user / length)).sum(axis=1, keepdims=True)

    def update(self, state: Described, request: Request, item: Items, reward: float) -> Described:
        """Puts an item with a reward above 0 into the user's history. Consumes `state`."""
        if reward <= 0:
            return state
        slot = int(item.slot[0])
        if slot >= len(state.vectors):
            state = state._replace(vectors=grown(state.vectors, slot + 1))
        if not state.vectors[slot].any():
            state.vectors[slot] = self._hash(state, item)[0]
        return state._replace(memory=_queries.remember(state.memory, self.user, [request], [slot], [reward]))

    def _vectors(self, state: Described, items: Items) -> np.ndarray:
        """Returns f32[K, dim], those of the state where it has them."""
        known = items.slot < len(state.vectors)
        found = np.zeros((len(items.ids), self.dim), np.float32)
        found[known] = state.vectors[items.slot[known]]
        new = np.flatnonzero(~found.any(axis=1))
        if len(new):
            found[new] = self._hash(state, take(items, new))
        return found

    def _hash(self, state: Described, items: Items) -> np.ndarray:
        found = np.zeros((len(items.ids), self.dim))
        for row, (hashes, weights) in zip(found, self._bags(items), strict=True):
            places = np.array(hashes, np.int64)
            rarity = np.log((1 + state.num_items) / (1 + state.counts[places % NUM_COUNTS])) + 1
            signs = np.where((places >> 16) % 2 == 0, 1.0, -1.0)
            np.add.at(row, (places >> 17) % self.dim, signs * rarity * np.array(weights))
        unit: np.ndarray = (found / np.sqrt((found * found).sum(axis=1, keepdims=True)).clip(min=1e-12)).astype(np.float32)
        return unit

    def _bags(self, items: Items) -> list[tuple[list[int], list[float]]]:
        """Returns the hashes and weights of each item's features."""
        columns = [(name, column.tolist(), name in self.text_features) for name, column in items.features.items()]
        found = []
        for place in range(len(items.ids)):
            hashes: list[int] = []
            weights: list[float] = []
            for name, values, is_text in columns:
                value = values[place]
                some = _hashed(name, value.lower().split() if is_text and isinstance(value, str) else value)
                hashes += some[0]
                weights += some[1]
            found.append((hashes, weights))
        return found
