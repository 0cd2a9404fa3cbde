"""EASE: a linear item-to-item model in closed form."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, NamedTuple

import attrs
import numpy as np

from recsdk.base import Array, Events, Items, Request
from recsdk.checks import integer, number
from recsdk.errors import InvalidValue
from recsdk.scorers import _queries
from recsdk.scorers._queries import Memory, Sequences
from recsdk.validators import feature_name

USERS_AT_ONCE = 2048


class Regressed(NamedTuple):
    """The state of `EASE`.

    Attributes:
        weights: f32[N, N], what having taken the one slot adds to the score of the other.
        memory: the users' latest items, kept up to date live.
    """

    weights: np.ndarray
    memory: Memory


@attrs.frozen(kw_only=True)
class EASE:
    """Scores an item by a linear regression on all that the user took, an autoencoder without a hidden layer.

    It often beats deep models on small catalogues, and is fitted in one matrix inversion: O(N^3) time and O(N^2) memory for a catalogue
    of N items; a catalogue of more than `max_items` is refused. In the query the user's latest item has weight 1, the one before it
    `recency_decay`, and so on. The column is the weighted sum, divided by the Euclidean length of these weights. It is 0 where nothing
    is known of the user, and for an item that arrived after the fit.

    The history is the request's list feature `history`, item ids, oldest first. For a request without one it is what the scorer
    remembers of the `user`, from the log and from live rewards above 0, each item once.

    Attributes:
        ridge: penalty on the weights, in users.
        recency_decay: how much less each earlier item of the history counts.
        history_length: latest items that the query has.
        max_items: the most items that are fitted, in slots of the catalogue; 10,000 take 400 MB in the state.
        user: name of the request's feature that identifies the user, a str.
        history: name of the request's list feature.
        max_users: users remembered, rounded up to a multiple of 8.

    References:
        Steck, Embarrassingly Shallow Autoencoders for Sparse Data, WWW 2019.

    Example:
        >>> from recsdk.data import events_from_rows, items_from_rows
        >>> items = items_from_rows([{"id": "tea"}, {"id": "pot"}, {"id": "ball"}])
        >>> rows = [{"user_id": user, "item": item, "time": 0.0} for user in ("u1", "u2") for item in ("tea", "pot")]
        >>> scorer = EASE(ridge=1.0)
        >>> state = scorer.fit(events_from_rows(items, rows))
        >>> scorer.score(state, Request({"history": ["tea"]}, 9.0), items)[:, 0].argmax()  # the pot
        np.int64(1)
    """

    columns: ClassVar[tuple[str, ...]] = ("ease",)

    ridge: float = attrs.field(default=500.0, validator=number(above=0))
    recency_decay: float = attrs.field(default=0.8, validator=number(above=0, at_most=1))
    history_length: int = attrs.field(default=100, validator=integer(at_least=1))
    max_items: int = attrs.field(default=10_000, validator=integer(at_least=1))
    user: str = attrs.field(default="user_id", validator=feature_name)
    history: str = attrs.field(default="history", validator=feature_name)
    max_users: int = attrs.field(default=2**14, validator=integer(at_least=1))

    def init(self) -> Regressed:
        """Returns the state before any event: no weights, empty histories."""
        return Regressed(np.zeros((0, 0), np.float32), _queries.empty(self.max_users, self.history_length))

    def fit(self, log: Events) -> Regressed:
        """Solves the regression.

        Raises:
            InvalidValue: the catalogue has slots beyond `max_items`.
        """
        num_slots = int(log.items.slot.max(initial=-1)) + 1
        if num_slots > self.max_items:
            raise InvalidValue(f"EASE.max_items must be at least the number of catalogue slots, {num_slots}, got {self.max_items}.")
        taken = _queries.sequences(log, self.user)
        memory = _queries.remember_log(_queries.empty(self.max_users, self.history_length), log, taken)
        inverse = np.linalg.inv(_gram(taken, num_slots) + self.ridge * np.eye(num_slots))
        weights = -inverse / np.diag(inverse)
        np.fill_diagonal(weights, 0)
        return Regressed(weights.astype(np.float32), memory)

    def score(self, state: Regressed, request: Request, candidates: Items) -> Array:
        """Returns f32[K, 1]."""
        recent = _queries.recent(state.memory, request.features, self.user, self.history, self.history_length)
        recent = recent[recent < len(state.weights)]
        weights = (self.recency_decay ** np.arange(len(recent))).astype(np.float32)
        known = candidates.slot < len(state.weights)
        scores = np.zeros(len(candidates.slot), np.float32)
        if len(recent) and known.any():
            # Summed along the first axis, one after the other: the order of candidates is moot to the last bit.
            terms = state.weights[recent[:, None], candidates.slot[known]] * weights[:, None]
            scores[known] = terms.sum(axis=0) / np.sqrt(weights @ weights)
        return scores[:, None]

    def update(self, state: Regressed, request: Request, item: Items, reward: float) -> Regressed:
        """Puts an item with a reward above 0 into the user's history. Consumes `state`."""
        return self.fold(state, [request], item.slot.tolist(), [reward])

    def fold(self, state: Regressed, requests: Sequence[Request], slots: Sequence[int], rewards: Sequence[float]) -> Regressed:
        """See `recsdk.base.FoldsOnline`."""
        return state._replace(memory=_queries.remember(state.memory, self.user, requests, slots, rewards))


def _gram(taken: Sequences, num_slots: int) -> np.ndarray:
    """Returns f64[N, N], how many users took both of two slots."""
    _, user = np.unique(taken.user, return_inverse=True)
    total = np.zeros((num_slots, num_slots))
    for first in range(0, int(user.max(initial=-1)) + 1, USERS_AT_ONCE):
        inside = (user >= first) & (user < first + USERS_AT_ONCE)
        table = np.zeros((USERS_AT_ONCE, num_slots), np.float32)
        table[user[inside] - first, taken.slot[inside]] = 1
        total += table.T @ table
    return total
