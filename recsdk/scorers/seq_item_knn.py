"""Item-to-item collaborative filtering that knows the order of events."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, NamedTuple

import attrs
import numpy as np

from recsdk.base import Array, Events, Items, Request
from recsdk.checks import integer, number
from recsdk.scorers import _neighbours, _queries
from recsdk.scorers._neighbours import Neighbours
from recsdk.scorers._queries import Memory, Sequences
from recsdk.validators import feature_name


class Followed(NamedTuple):
    """The state of `SeqItemKNN`.

    Attributes:
        neighbours: the items that most often stand near each item, as of the last fit.
        memory: the users' latest items, kept up to date live.
    """

    neighbours: Neighbours
    memory: Memory


@attrs.frozen(kw_only=True)
class SeqItemKNN:
    """Scores an item by how often it was taken soon after the user's latest items.

    A pair of items counts `gap_decay ** (gap - 1)` each time that the second was taken `gap` places after the first by one user, up to
    `window` places, and `backward` times as much in the other direction. The similarity is that count over
    (times taken one * times taken other) ** `popularity_power`. The query weighs the user's latest item 1, the one before
    `recency_decay`, and so on; the column is the weighted sum of similarities over the weights' Euclidean length. It is 0 where nothing
    is known of the user, and for an item that arrived after the fit.

    The history is the request's list feature `history`, item ids, oldest first. For a request without one it is what the scorer
    remembers of the `user`, from the log and from live rewards above 0, each item once.

    Attributes:
        num_neighbours: similar items that are kept for each item.
        window: places within which two items of a user count as near.
        gap_decay: how much less a pair counts for each place more between its items.
        backward: what a pair counts in the direction against time.
        popularity_power: 0 favours popular items, 1 rare ones.
        recency_decay: how much less each earlier item of the history counts.
        history_length: latest items that the query has.
        user: name of the request's feature that identifies the user, a str.
        history: name of the request's list feature.
        max_users: users remembered, rounded up to a multiple of 8.

    References:
        Garg, Gupta, Malhotra, Vig, Shroff, Sequence and Time Aware Neighborhood for Session-based Recommendations, SIGIR 2019.

    Example:
        >>> from recsdk.data import events_from_rows, items_from_rows
        >>> items = items_from_rows([{"id": "one"}, {"id": "two"}, {"id": "three"}])
        >>> rows = [{"user_id": "u1", "item": item, "time": float(time)} for time, item in enumerate(["one", "two", "three"])]
        >>> scorer = SeqItemKNN()
        >>> state = scorer.fit(events_from_rows(items, rows))
        >>> scorer.score(state, Request({"history": ["one"]}, 9.0), items)[:, 0].round(3).tolist() == [0.0, 1.0, np.float32(0.8)]
        True
    """

    columns: ClassVar[tuple[str, ...]] = ("seq_item_knn",)

    num_neighbours: int = attrs.field(default=300, validator=integer(at_least=1))
    window: int = attrs.field(default=20, validator=integer(at_least=1))
    gap_decay: float = attrs.field(default=0.8, validator=number(above=0, at_most=1))
    backward: float = attrs.field(default=0.5, validator=number(at_least=0, at_most=1))
    popularity_power: float = attrs.field(default=0.35, validator=number(at_least=0, at_most=1))
    recency_decay: float = attrs.field(default=0.75, validator=number(above=0, at_most=1))
    history_length: int = attrs.field(default=30, validator=integer(at_least=1))
    user: str = attrs.field(default="user_id", validator=feature_name)
    history: str = attrs.field(default="history", validator=feature_name)
    max_users: int = attrs.field(default=2**14, validator=integer(at_least=1))

    def init(self) -> Followed:
        """Returns the state before any event: no neighbours, empty histories."""
        nothing = Neighbours(np.zeros((0, self.num_neighbours), np.int64), np.zeros((0, self.num_neighbours), np.float32))
        return Followed(nothing, _queries.empty(self.max_users, self.history_length))

    def fit(self, log: Events) -> Followed:
        """Counts which items stand near which, in the order of the log."""
        taken = _queries.sequences(log, self.user)
        memory = _queries.remember_log(_queries.empty(self.max_users, self.history_length), log, taken)
        return Followed(self._neighbours(taken, int(log.items.slot.max(initial=-1)) + 1), memory)

    def score(self, state: Followed, request: Request, candidates: Items) -> Array:
        """Returns f32[K, 1], >= 0."""
        recent = _queries.recent(state.memory, request.features, self.user, self.history, self.history_length)
        weights = self.recency_decay ** np.arange(len(recent))
        totals = _neighbours.similarity(state.neighbours, recent, candidates.slot, weights)
        return (totals / max(float(np.sqrt(weights @ weights)), 1.0)).astype(np.float32)[:, None]

    def update(self, state: Followed, request: Request, item: Items, reward: float) -> Followed:
        """Puts an item with a reward above 0 into the user's history. Consumes `state`."""
        return self.fold(state, [request], item.slot.tolist(), [reward])

    def fold(self, state: Followed, requests: Sequence[Request], slots: Sequence[int], rewards: Sequence[float]) -> Followed:
        """See `recsdk.base.FoldsOnline`."""
        return state._replace(memory=_queries.remember(state.memory, self.user, requests, slots, rewards))

    def _neighbours(self, taken: Sequences, num_slots: int) -> Neighbours:
        counted = np.bincount(taken.slot, minlength=num_slots)
        keys, counts = _near(taken, num_slots, self.window, self.gap_decay, self.backward)
        first, second = np.divmod(keys, max(num_slots, 1))
        different = first != second
        first, second, counts = first[different], second[different], counts[different]
        alike = counts / (counted[first].astype(np.float64) * counted[second]) ** self.popularity_power
        order = np.lexsort((-alike, first))
        first, second, alike = first[order], second[order], alike[order]
        place = np.arange(len(first)) - np.searchsorted(first, first)
        kept = place < self.num_neighbours
        near = np.zeros((num_slots, self.num_neighbours), np.int64)
        similarity = np.zeros((num_slots, self.num_neighbours), np.float32)
        near[first[kept], place[kept]] = second[kept]
        similarity[first[kept], place[kept]] = alike[kept]
        return Neighbours(near, similarity)


def _near(taken: Sequences, num_slots: int, window: int, decay: float, backward: float) -> tuple[np.ndarray, np.ndarray]:
    """Returns pairs of slots as first * num_slots + second, sorted, and how much each counts."""
    keys: np.ndarray = np.zeros(0, np.int64)
    counts: np.ndarray = np.zeros(0)
    for gap in range(1, window + 1):
        same = taken.user[gap:] == taken.user[:-gap]
        before, after = taken.slot[:-gap][same], taken.slot[gap:][same]
        joined = np.concatenate([keys, before * num_slots + after, after * num_slots + before])
        weight = decay ** (gap - 1)
        weights = np.concatenate([counts, np.full(len(before), weight), np.full(len(before), weight * backward)])
        keys, place = np.unique(joined, return_inverse=True)
        counts = np.bincount(place, weights, minlength=len(keys))
    return keys, counts
