"""Item-to-item collaborative filtering."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, NamedTuple

import attrs
import numpy as np

from recsdk.base import Array, Events, Items, Request
from recsdk.checks import integer, number
from recsdk.scorers import _histories, _neighbours, _queries
from recsdk.scorers._histories import Histories
from recsdk.scorers._neighbours import Neighbours
from recsdk.validators import feature_name


class Taken(NamedTuple):
    """The state of `ItemKNN`.

    Attributes:
        neighbours: the most similar items of each item, as of the last fit.
        histories: the users' latest items, kept up to date live.
    """

    neighbours: Neighbours
    histories: Histories


@attrs.frozen(kw_only=True)
class ItemKNN:
    """Scores an item by its cosine similarity to the user's latest items, summed, over the square root of their number.

    Two items are similar when the same users took both: similarity = both / (sqrt(one * other) + shrinkage). A reward above 0 is a
    taken item. The column lies in [0, sqrt(history)], mostly below 1; it is 0 for an unknown user, for a request without one,
    and for an item that arrived after the fit. Memory for users is 8 * max_users * (3 + history) bytes, whatever the traffic.

    Attributes:
        num_neighbours: similar items that are kept for each item.
        shrinkage: lowers the similarity of pairs that few users took.
        user: name of the request's feature that identifies the user, a str.
        history: latest items kept per user.
        max_users: users kept, rounded up to a multiple of 8. Of eight that share a place, the least recently seen is forgotten first.

    Example:
        >>> from recsdk.data import events_from_rows, items_from_rows
        >>> items = items_from_rows([{"id": "tea"}, {"id": "pot"}, {"id": "ball"}])
        >>> rows = [{"user_id": "u1", "item": "tea", "time": 0.0}, {"user_id": "u1", "item": "pot", "time": 1.0}]
        >>> state = ItemKNN(shrinkage=0.0).fit(events_from_rows(items, [*rows, {"user_id": "u2", "item": "tea", "time": 2.0}]))
        >>> ItemKNN().score(state, Request({"user_id": "u2"}, 3.0), items)[:, 0].tolist()
        [0.0, 0.7071067690849304, 0.0]

    References:
        Sarwar, Karypis, Konstan, Riedl, Item-Based Collaborative Filtering Recommendation Algorithms, WWW 2001.
    """

    columns: ClassVar[tuple[str, ...]] = ("item_knn",)

    num_neighbours: int = attrs.field(default=50, validator=integer(at_least=1))
    shrinkage: float = attrs.field(default=10.0, validator=number(at_least=0))
    user: str = attrs.field(default="user_id", validator=feature_name)
    history: int = attrs.field(default=20, validator=integer(at_least=1))
    max_users: int = attrs.field(default=2**14, validator=integer(at_least=1))

    def init(self) -> Taken:
        """Returns the state before any event: no neighbours, no histories."""
        return Taken(_neighbours.empty(self.num_neighbours), _histories.empty(self.max_users, self.history))

    def fit(self, log: Events) -> Taken:
        """See `recsdk.base.Scorer`."""
        users = log.requests.get(self.user, np.full(len(log.item), None, object))
        rows = np.flatnonzero((log.reward > 0) & np.array([value is not None for value in users], bool))
        keys = np.array([_queries.key(self.user, users[row]) for row in rows], np.int64)
        slots = log.items.slot[log.item[rows]]
        histories = _histories.empty(self.max_users, self.history)
        for key, slot in zip(keys.tolist(), slots.tolist(), strict=True):
            histories = _histories.remember(histories, key, slot)
        num_slots = int(log.items.slot.max(initial=-1)) + 1
        return Taken(_neighbours.fit(keys, slots, num_slots, self.num_neighbours, self.shrinkage), histories)

    def score(self, state: Taken, request: Request, candidates: Items) -> Array:
        """Returns f32[K, 1] in [0, sqrt(history)]."""
        value = request.features.get(self.user)
        recent = np.empty(0, np.int64) if value is None else _histories.recall(state.histories, _queries.key(self.user, value))
        totals = _neighbours.similarity(state.neighbours, recent, candidates.slot)
        return (totals / np.sqrt(max(len(recent), 1))).astype(np.float32)[:, None]

    def update(self, state: Taken, request: Request, item: Items, reward: float) -> Taken:
        """See `recsdk.base.Online`: an item with a reward above 0 joins the user's history."""
        return self.fold(state, [request], item.slot.tolist(), [reward])

    def fold(self, state: Taken, requests: Sequence[Request], slots: Sequence[int], rewards: Sequence[float]) -> Taken:
        """See `recsdk.base.FoldsOnline`."""
        return state._replace(histories=_queries.extend(state.histories, self.user, requests, slots, rewards))
