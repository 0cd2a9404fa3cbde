"""A scorer's column as the probability that an item is taken."""

from __future__ import annotations

from typing import Any, ClassVar, NamedTuple

import attrs
import numpy as np

from recsdk.base import Array, Events, Items, Online, Request
from recsdk.checks import integer, number
from recsdk.columns import features_at, mean_and_scale
from recsdk.data import take, take_events
from recsdk.errors import InvalidValue
from recsdk.scorers._logit import Columns, logit
from recsdk.scorers._members import check, member

RIDGE = 0.01
"""Penalty that keeps both numbers finite where all outcomes are alike: a hundredth of one event's weight."""


class Calibration(NamedTuple):
    """The state of `Calibrated`: the probability is that of the logistic function of `slope * score + intercept`.

    Attributes:
        member: the scorer's state.
        slope: f64[], >= 0, one over the temperature.
        intercept: f64[].
    """

    member: Any
    slope: np.ndarray
    intercept: np.ndarray


def _scorer(given: Any) -> Any:
    return member("scorers", given)


def _is_scorer(instance: Any, field: Any, value: Any) -> None:
    name = f"{type(instance).__name__}.{field.name}"
    check("scorers", name, value)
    if len(value.columns) != 1:
        raise InvalidValue(f"{name} must have one column, got {value.columns}.")


@attrs.frozen(kw_only=True)
class Calibrated:
    """Turns another scorer's column into the probability that an item, when shown, is taken: in (0, 1).

    Use it to list what passes a threshold, to compare scorers whose columns differ in size, or to multiply by a price. The order of the
    items stays that of the scorer. The log must tell what was shown and not taken too, as events with a reward of 0. The probabilities
    are right for items as they were shown in the log, not for items that nobody would have shown.

    The scorer is fitted to the older events. It then meets the others as it would live: it scores all events of one time, such as those of
    one slate, before it learns of their rewards. A temperature and an intercept are fitted such that what was taken, a reward above 0, is
    most likely. Last, the scorer is fitted to all events. The temperature is not
    negative: a scorer that ranks worse than by chance gets the share of what was taken as the probability of every item.

    Attributes:
        scorer: one of one column, by name or as a config.
        validation: share of the events, the latest, by which both numbers are fitted.
        num_validation: most events of these that are scored.

    References:
        Platt, Probabilistic Outputs for Support Vector Machines, 1999; Guo, Pleiss, Sun, Weinberger, On Calibration of Modern Neural
        Networks, ICML 2017.

    Example:
        >>> from recsdk.testing import example_log
        >>> log, scorer = example_log(), Calibrated(scorer="item-knn")
        >>> state = scorer.fit(log)
        >>> probability = scorer.score(state, Request({"user_id": "user-1"}, log.time[-1]), log.items)[:, 0]
        >>> sorted(log.items.ids[probability >= 0.5].tolist())  # a list of what is likely to be taken
        ['item-1', 'item-5', 'item-9']
    """

    columns: ClassVar[tuple[str, ...]] = ("probability",)

    scorer: Any = attrs.field(converter=_scorer, validator=_is_scorer)
    validation: float = attrs.field(default=0.2, validator=number(above=0, at_most=0.5))
    num_validation: int = attrs.field(default=4096, validator=integer(at_least=1))

    def init(self) -> Calibration:
        """Returns the scorer's state before any event, with temperature 1 and intercept 0."""
        return Calibration(self.scorer.init(), np.array(1.0), np.array(0.0))

    def fit(self, log: Events) -> Calibration:
        """Fits the scorer to the older events, temperature and intercept to the later ones, and the scorer to all."""
        begin = len(log.item) - round(self.validation * len(log.item))
        if begin == len(log.item):
            return self.init()._replace(member=self.scorer.fit(log))
        begin = int(np.searchsorted(log.time, log.time[begin])) or begin  # where it can be, no time is cut in two
        scores, taken = self._met(self.scorer.fit(take_events(log, slice(0, begin))), log, begin)
        slope, intercept = _line(scores, taken)
        return Calibration(self.scorer.fit(log), np.array(slope), np.array(intercept))

    def score(self, state: Calibration, request: Request, candidates: Items) -> Array:
        """Returns f32[K, 1] in [0, 1]."""
        scores = self.scorer.score(state.member, request, candidates).astype(np.float64)
        logits = state.slope * scores + state.intercept
        return ((1 + np.tanh(logits / 2)) / 2).astype(np.float32)  # the logistic function, without overflow

    def update(self, state: Calibration, request: Request, item: Items, reward: float) -> Calibration:
        """Tells the scorer, if it learns live. Consumes `state`."""
        if not isinstance(self.scorer, Online):
            return state
        return state._replace(member=self.scorer.update(state.member, request, item, reward))

    def _met(self, state: Any, log: Events, begin: int) -> tuple[np.ndarray, np.ndarray]:
        """Returns f64[V], the score of what was shown in each of V events, before it was known whether it was taken; and i64[V]."""
        num = len(log.item)
        scored = set(np.linspace(begin, num - 1, min(num - begin, self.num_validation)).astype(np.int64).tolist())
        scores, taken = [], []
        for rows in np.split(np.arange(begin, num), np.flatnonzero(np.diff(log.time[begin:])) + 1):
            shown = [
                (row, Request(features_at(log.requests, row), float(log.time[row])), take(log.items, log.item[row : row + 1]))
                for row in rows.tolist()
            ]
            for row, request, item in shown:
                if row in scored:
                    scores.append(float(self.scorer.score(state, request, item)[0, 0]))
                    taken.append(int(log.reward[row] > 0))
            if isinstance(self.scorer, Online):
                for row, request, item in shown:
                    state = self.scorer.update(state, request, item, float(log.reward[row]))
        return np.array(scores), np.array(taken)


def _line(scores: np.ndarray, taken: np.ndarray) -> tuple[float, float]:
    """Returns the slope and the intercept of the likeliest log odds: a choice between taking, and not, which scores 0."""
    centre, spread = mean_and_scale(scores)
    columns = np.zeros((len(taken), 2, 2))
    columns[:, 1] = np.stack([(scores - centre) / spread, np.ones(len(taken))], axis=1)
    both = np.ones((len(taken), 2), bool)
    slope, intercept = logit(Columns(columns, both, taken), RIDGE)
    if slope < 0:
        slope, intercept = 0.0, logit(Columns(columns[:, :, 1:], both, taken), RIDGE)[0]
    return float(slope / spread), float(intercept - slope * centre / spread)
