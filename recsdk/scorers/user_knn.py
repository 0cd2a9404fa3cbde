"""User-to-user collaborative filtering."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, NamedTuple

import attrs
import numpy as np

from recsdk.base import Array, Events, Items, Request
from recsdk.checks import integer, number
from recsdk.scorers import _queries
from recsdk.scorers._queries import Memory
from recsdk.scorers._slots import at
from recsdk.validators import feature_name


class Alike(NamedTuple):
    """The state of `UserKNN`: who took what, by user and by item.

    Attributes:
        slots: i64[M], distinct slots that each user of the fit took, user after user.
        slots_start: i64[U + 1], where each user's begin.
        users: i64[M], users who took each slot, slot after slot.
        users_start: i64[N + 1], where each slot's begin.
        memory: the users' latest items, kept up to date live.
    """

    slots: np.ndarray
    slots_start: np.ndarray
    users: np.ndarray
    users_start: np.ndarray
    memory: Memory


@attrs.frozen(kw_only=True)
class UserKNN:
    """Scores an item by how many of the users most alike to this one took it.

    The query weighs the user's latest item 1, the one before `recency_decay`, and so on. Another user is as alike as the weights of what
    both took sum to, over the square root of how much the other took. The column is the share of likeness, among the
    `num_neighbours` most alike users, that took the item: in [0, 1]. It is 0 where nothing is known of the user, and for an item that
    arrived after the fit. A user of the fit is one of their own neighbours: that raises the scores of what this user took before the
    fit, and one other user fewer is asked. The state keeps who took what: 16 bytes for each pair.

    The history is the request's list feature `history`, item ids, oldest first. For a request without one it is what the scorer
    remembers of the `user`, from the log and from live rewards above 0, each item once.

    Attributes:
        num_neighbours: users that are asked.
        recency_decay: how much less each earlier item of the history counts.
        history_length: latest items that the query has.
        user: name of the request's feature that identifies the user, a str.
        history: name of the request's list feature.
        max_users: users remembered, rounded up to a multiple of 8.

    References:
        Herlocker, Konstan, Borchers, Riedl, An Algorithmic Framework for Performing Collaborative Filtering, SIGIR 1999.

    Example:
        >>> from recsdk.data import events_from_rows, items_from_rows
        >>> items = items_from_rows([{"id": "tea"}, {"id": "pot"}, {"id": "saw"}])
        >>> rows = [{"user_id": user, "item": item, "time": 0.0} for user, item in [("u", "tea"), ("u", "pot"), ("v", "saw")]]
        >>> scorer = UserKNN()
        >>> state = scorer.fit(events_from_rows(items, rows))
        >>> scorer.score(state, Request({"history": ["tea"]}, 1.0), items)[:, 0].tolist()
        [1.0, 1.0, 0.0]
    """

    columns: ClassVar[tuple[str, ...]] = ("user_knn",)

    num_neighbours: int = attrs.field(default=100, validator=integer(at_least=1))
    recency_decay: float = attrs.field(default=0.9, validator=number(above=0, at_most=1))
    history_length: int = attrs.field(default=50, validator=integer(at_least=1))
    user: str = attrs.field(default="user_id", validator=feature_name)
    history: str = attrs.field(default="history", validator=feature_name)
    max_users: int = attrs.field(default=2**14, validator=integer(at_least=1))

    def init(self) -> Alike:
        """Returns the state before any event: no users, empty histories."""
        nothing = np.zeros(0, np.int64)
        return Alike(nothing, np.zeros(1, np.int64), nothing, np.zeros(1, np.int64), _queries.empty(self.max_users, self.history_length))

    def fit(self, log: Events) -> Alike:
        """Sorts who took what by user and by item."""
        taken = _queries.sequences(log, self.user)
        memory = _queries.remember_log(_queries.empty(self.max_users, self.history_length), log, taken)
        num_slots = int(log.items.slot.max(initial=-1)) + 1
        _, user = np.unique(taken.user, return_inverse=True)
        user, slot = np.divmod(np.unique(user * max(num_slots, 1) + taken.slot), max(num_slots, 1))
        by_slot = slot.argsort(kind="stable")
        starts = (np.concatenate([[0], np.bincount(column, minlength=size).cumsum()]) for column, size in ((user, 0), (slot, num_slots)))
        slots_start, users_start = (start.astype(np.int64) for start in starts)
        return Alike(slot, slots_start, user[by_slot], users_start, memory)

    def score(self, state: Alike, request: Request, candidates: Items) -> Array:
        """Returns f32[K, 1] in [0, 1]."""
        recent = _queries.recent(state.memory, request.features, self.user, self.history, self.history_length)
        weights = self.recency_decay ** np.arange(len(recent))
        known = recent < len(state.users_start) - 1
        others, position = _rows(state.users, state.users_start, recent[known])
        if not len(others):
            return np.zeros((len(candidates.slot), 1), np.float32)
        shared = np.bincount(others, weights[known][position], minlength=len(state.slots_start) - 1)
        alike = shared / np.sqrt(np.diff(state.slots_start))
        nearest = (-alike).argsort(kind="stable")[: self.num_neighbours]
        nearest = nearest[alike[nearest] > 0]
        slots, position = _rows(state.slots, state.slots_start, nearest)
        totals = np.bincount(slots, alike[nearest][position], minlength=len(state.users_start) - 1)
        return (at(totals, candidates.slot) / alike[nearest].sum()).astype(np.float32)[:, None]

    def update(self, state: Alike, request: Request, item: Items, reward: float) -> Alike:
        """Puts an item with a reward above 0 into the user's history. Consumes `state`."""
        return self.fold(state, [request], item.slot.tolist(), [reward])

    def fold(self, state: Alike, requests: Sequence[Request], slots: Sequence[int], rewards: Sequence[float]) -> Alike:
        """See `recsdk.base.FoldsOnline`."""
        return state._replace(memory=_queries.remember(state.memory, self.user, requests, slots, rewards))


def _rows(values: np.ndarray, start: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the values of some rows, end to end, and for each value the position in `rows` that it is of."""
    sizes = start[rows + 1] - start[rows]
    position = np.repeat(np.arange(len(rows)), sizes)
    place = np.arange(len(position)) - np.repeat(sizes.cumsum() - sizes, sizes)
    return values[start[rows][position] + place], position
