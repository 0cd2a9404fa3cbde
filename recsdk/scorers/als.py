"""Matrix factorisation by alternating least squares, of the package `implicit`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, NamedTuple

import attrs
import numpy as np

from recsdk.base import Array, Events, Items, Request
from recsdk.checks import integer, number
from recsdk.errors import MissingExtra, install
from recsdk.scorers import _queries
from recsdk.scorers._queries import Memory, Sequences
from recsdk.scorers._slots import at
from recsdk.validators import feature_name

SEED = 0


class Factors(NamedTuple):
    """The state of `ALS`.

    Attributes:
        items: f32[N, F], a vector for each slot of the catalogue; zeros where nobody took the item.
        gram: f64[F, F], sum of the items' outer products, with the penalty on its diagonal.
        memory: the users' latest items, kept up to date live.
    """

    items: np.ndarray
    gram: np.ndarray
    memory: Memory


@attrs.frozen(kw_only=True)
class ALS:
    """Scores an item by the inner product of its vector and the user's, such that what was taken has 1 and all else 0, nearly.

    The items' vectors are fitted by `implicit`, the extra `als`, on all cores; a million events take seconds. Serving needs NumPy alone. A
    user's vector is solved for at each request, exactly, from what the user took: so a new user, and what was taken since the fit,
    count at once. An error on an item that was taken weighs `1 + confidence`, on others 1; in the query the user's latest item weighs
    so, the one before it `1 + confidence * recency_decay`, and so on. The column is mostly in [0, 1]. It is 0 where nothing is
    known of the user, and for an item that nobody took before the fit.

    The history is the request's list feature `history`, item ids, oldest first. For a request without one it is what the scorer
    remembers of the `user`, from the log and from live rewards above 0. An item that is there several times counts once, as the latest.

    Attributes:
        num_factors: width of the vectors.
        confidence: how much more an item counts that was taken.
        ridge: penalty on the vectors' squares.
        num_rounds: times that users and items are solved for in turn.
        recency_decay: how much less each earlier item of the history counts.
        history_length: latest items that the query has.
        user: name of the request's feature that identifies the user, a str.
        history: name of the request's list feature.
        max_users: users remembered, rounded up to a multiple of 8.

    References:
        Hu, Koren, Volinsky, Collaborative Filtering for Implicit Feedback Datasets, ICDM 2008; Takács, Pilászy, Tikk, Applications of
        the Conjugate Gradient Method for Implicit Feedback Collaborative Filtering, RecSys 2011.

    Example:
        >>> from recsdk.data import events_from_rows, items_from_rows
        >>> items = items_from_rows([{"id": "tea"}, {"id": "pot"}, {"id": "ball"}])
        >>> rows = [{"user_id": user, "item": item, "time": 0.0} for user in ("u1", "u2") for item in ("tea", "pot")]
        >>> scorer = ALS(num_factors=4, ridge=0.1)
        >>> tea, pot, ball = scorer.score(scorer.fit(events_from_rows(items, rows)), Request({"history": ["tea"]}, 1.0), items)[:, 0]
        >>> bool(pot > 0.5), float(ball)
        (True, 0.0)
    """

    columns: ClassVar[tuple[str, ...]] = ("als",)

    num_factors: int = attrs.field(default=64, validator=integer(at_least=1))
    confidence: float = attrs.field(default=5.0, validator=number(at_least=0))
    ridge: float = attrs.field(default=10.0, validator=number(above=0))
    num_rounds: int = attrs.field(default=15, validator=integer(at_least=1))
    recency_decay: float = attrs.field(default=0.9, validator=number(above=0, at_most=1))
    history_length: int = attrs.field(default=100, validator=integer(at_least=1))
    user: str = attrs.field(default="user_id", validator=feature_name)
    history: str = attrs.field(default="history", validator=feature_name)
    max_users: int = attrs.field(default=2**14, validator=integer(at_least=1))

    def init(self) -> Factors:
        """Returns the state before any event: no vectors, empty histories."""
        return self._state(np.zeros((0, self.num_factors), np.float32), _queries.empty(self.max_users, self.history_length))

    def fit(self, log: Events) -> Factors:
        """Fits the items' vectors, with seed 0.

        Raises:
            MissingExtra: `implicit` is not installed.
        """
        taken = _queries.sequences(log, self.user)
        memory = _queries.remember_log(_queries.empty(self.max_users, self.history_length), log, taken)
        items = np.zeros((int(log.items.slot.max(initial=-1)) + 1, self.num_factors), np.float32)
        return self._state(self._fitted(taken, len(items)) if len(taken.slot) else items, memory)

    def score(self, state: Factors, request: Request, candidates: Items) -> Array:
        """Returns f32[K, 1]."""
        recent = _queries.recent(state.memory, request.features, self.user, self.history, self.history_length)
        recent = recent[np.sort(np.unique(recent, return_index=True)[1])]  # each item once, where it was taken last
        weights = self.confidence * self.recency_decay ** np.arange(len(recent))
        vectors = at(state.items, recent).astype(np.float64)
        curvature = state.gram + (vectors * weights[:, None]).T @ vectors
        user = np.linalg.solve(curvature, (1 + weights) @ vectors).astype(np.float32)
        # A sum for each row, so that it does not depend on the other candidates.
        return (at(state.items, candidates.slot) * user).sum(axis=1, keepdims=True)

    def update(self, state: Factors, request: Request, item: Items, reward: float) -> Factors:
        """Puts an item with a reward above 0 into the user's history. Consumes `state`."""
        return self.fold(state, [request], item.slot.tolist(), [reward])

    def fold(self, state: Factors, requests: Sequence[Request], slots: Sequence[int], rewards: Sequence[float]) -> Factors:
        """See `recsdk.base.FoldsOnline`."""
        return state._replace(memory=_queries.remember(state.memory, self.user, requests, slots, rewards))

    def _state(self, items: np.ndarray, memory: Memory) -> Factors:
        wide = items.astype(np.float64)
        return Factors(items, wide.T @ wide + self.ridge * np.eye(self.num_factors), memory)

    def _fitted(self, taken: Sequences, num_slots: int) -> np.ndarray:
        """Returns f32[N, F]."""
        try:
            from implicit.cpu.als import AlternatingLeastSquares
            from scipy.sparse import csr_matrix
            from threadpoolctl import threadpool_limits
        except ModuleNotFoundError as error:
            raise MissingExtra(f"The scorer als needs {error.name}, which is not installed: {install('als')}.") from error
        _, user = np.unique(taken.user, return_inverse=True)
        pairs = np.unique(np.stack([user, taken.slot]), axis=1)  # each item of a user once
        values = np.full(pairs.shape[1], 1 + self.confidence, np.float32)
        table = csr_matrix((values, (pairs[0], pairs[1])), shape=(int(user.max()) + 1, num_slots))
        # Threads of implicit's own share the rows; BLAS with threads too would be slow, and sum in an order that changes.
        with threadpool_limits(limits=1, user_api="blas"):
            model = AlternatingLeastSquares(
                factors=self.num_factors, regularization=self.ridge, alpha=1.0, iterations=self.num_rounds, random_state=SEED
            )
            model.fit(table, show_progress=False)
        items: np.ndarray = model.item_factors
        return items
