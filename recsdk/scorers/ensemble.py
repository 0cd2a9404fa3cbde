"""Several scorers as one, with weights that held-out items teach."""

from __future__ import annotations

from typing import Any, ClassVar, NamedTuple

import attrs
import numpy as np

from recsdk.base import Array, Events, Items, Online, Request
from recsdk.checks import integer, number
from recsdk.errors import InvalidLog, InvalidValue
from recsdk.ranking import Cases, by_scorer, leave_one_out
from recsdk.scorers._logit import Columns, logit
from recsdk.scorers._members import check, members
from recsdk.validators import feature_name

MOST_SCORES = 2**24
"""Scores that are held at once while weights are fitted."""
LEAST_CASES = 16
SPREAD = 0.25


class Stacked(NamedTuple):
    """The state of `Ensemble`.

    Attributes:
        members: the state of each member.
        weights: f64[M], of each column of the members, all columns of the first one first.
    """

    members: tuple[Any, ...]
    weights: np.ndarray


def _scorers(given: Any) -> Any:
    return members("scorers", given)


def _are_scorers(instance: Any, field: Any, value: Any) -> None:
    if not isinstance(value, tuple) or not value:
        raise InvalidValue(f"{type(instance).__name__}.{field.name} must be a tuple of at least one scorer, got {value!r}.")
    for one in value:
        check("scorers", f"{type(instance).__name__}.{field.name}", one)


@attrs.frozen(kw_only=True)
class Ensemble:
    """Scores an item by the weighted sum of other scorers' columns; the weights are those that rank held-out items best.

    Each user's last item is held out, the members are fitted to the rest, and the weights are those of a conditional logit over the
    catalogue: they maximise the likelihood of what was held out. Then the members are fitted again, to all. So fitting takes twice the
    time of the members. An encoder becomes a member as `Dot(encoder=...)`. The column has a standard deviation of about 1/4 over the
    catalogue. Where no user took three items, all columns weigh 1, and it is their sum.

    Attributes:
        scorers: the members, by name or as configs.
        num_validation: held-out users by whom the weights are fitted; fewer where catalogue and members are large.
        ridge: penalty on the weights' squares, for columns that tell the same.
        user: the log's column that says who the user is.
        history: the requests' list feature in which members read the history.

    References:
        Breiman, Stacked Regressions, Machine Learning 1996; McFadden, Conditional Logit Analysis of Qualitative Choice Behavior, 1974.

    Example:
        >>> from recsdk.testing import example_log
        >>> scorer = Ensemble(scorers=("item-knn", "popularity"))
        >>> scorer.fit(example_log()).weights.shape
        (2,)
    """

    columns: ClassVar[tuple[str, ...]] = ("ensemble",)

    scorers: tuple[Any, ...] = attrs.field(default=("seq-item-knn", "ease"), converter=_scorers, validator=_are_scorers)
    num_validation: int = attrs.field(default=2048, validator=integer(at_least=1))
    ridge: float = attrs.field(default=1.0, validator=number(above=0))
    user: str = attrs.field(default="user_id", validator=feature_name)
    history: str = attrs.field(default="history", validator=feature_name)

    def init(self) -> Stacked:
        """Returns the members' states before any event; all columns weigh alike."""
        return Stacked(tuple(scorer.init() for scorer in self.scorers), np.ones(sum(len(scorer.columns) for scorer in self.scorers)))

    def fit(self, log: Events) -> Stacked:
        """Fits the members to all but what is held out, the weights to that, and the members to all.

        Raises:
            InvalidLog: a log with events and no column `user`.
        """
        try:
            split = leave_one_out(log, user=self.user, history=self.history)
        except InvalidLog:
            if len(log.item) and self.user not in log.requests:
                raise
            weights = self.init().weights
        else:
            weights = self._weights(tuple(scorer.fit(split.refit) for scorer in self.scorers), split.test)
        return Stacked(tuple(scorer.fit(log) for scorer in self.scorers), weights)

    def score(self, state: Stacked, request: Request, candidates: Items) -> Array:
        """Returns f32[K, 1]."""
        scores = [scorer.score(member, request, candidates) for scorer, member in zip(self.scorers, state.members, strict=True)]
        # A sum for each row, so that it does not depend on the other candidates.
        return (np.concatenate(scores, axis=1) * state.weights).sum(axis=1, keepdims=True).astype(np.float32)

    def update(self, state: Stacked, request: Request, item: Items, reward: float) -> Stacked:
        """Tells the members that learn live. Consumes `state`."""
        members = tuple(
            scorer.update(member, request, item, reward) if isinstance(scorer, Online) else member
            for scorer, member in zip(self.scorers, state.members, strict=True)
        )
        return state._replace(members=members)

    def _weights(self, states: tuple[Any, ...], cases: Cases) -> np.ndarray:
        num_columns = sum(len(scorer.columns) for scorer in self.scorers)
        most = max(MOST_SCORES // (len(cases.items.ids) * num_columns), LEAST_CASES)
        rows = np.unique(np.linspace(0, len(cases.time) - 1, min(len(cases.time), self.num_validation, most)).astype(np.int64))
        parts = [
            by_scorer(scorer, state, column=column)(cases, rows)
            for scorer, state in zip(self.scorers, states, strict=True)
            for column in scorer.columns
        ]
        ranked = np.ones(parts[0].shape, bool)
        for row, case in enumerate(rows):
            ranked[row, cases.history.values[cases.history.start[case] : cases.history.start[case + 1]]] = False
        target = cases.target.values[cases.target.start[rows]]
        ranked[np.arange(len(rows)), target] = True
        scores = np.stack(parts, axis=2).astype(np.float64)
        spread = scores.std(axis=1).mean(axis=0)
        scale = np.where(spread > 0, spread, 1.0)
        weights = logit(Columns(scores / scale, ranked, target), self.ridge) / scale
        total = (scores @ weights).std(axis=1).mean()
        return weights * (SPREAD / total) if total > 0 else weights
