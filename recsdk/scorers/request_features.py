"""What a request tells in numbers, as evidence."""

from __future__ import annotations

from typing import Any, NamedTuple

import attrs
import numpy as np

from recsdk.base import Array, Events, Items, Request
from recsdk.checks import is_number
from recsdk.columns import NUMBER, column_kind, mean_and_scale
from recsdk.errors import InvalidRequest, InvalidValue

MOST = 10
"""Standard deviations from the mean, on either side."""


class Scales(NamedTuple):
    """The state of `RequestFeatures`.

    Attributes:
        mean: f64[C], of each feature in the log.
        scale: f64[C], its standard deviation, > 0.
    """

    mean: np.ndarray
    scale: np.ndarray


def _names(instance: Any, field: Any, value: Any) -> None:
    name = f"{type(instance).__name__}.{field.name}"
    if not isinstance(value, tuple) or not value or not all(isinstance(each, str) for each in value) or len(set(value)) < len(value):
        raise InvalidValue(f"{name} must be a tuple of different names, such as ('age',), got {value!r}.")


@attrs.frozen(kw_only=True)
class RequestFeatures:
    """Gives numbers of the request, such as the user's mean rating, as columns that are the same for all candidates.

    Use it where some users reward everything more than others do. The columns change no ranking, but the policy learns from them how much
    of a reward is due to the user. Without them it gives the credit to the items that it happened to show, or to the deep score. A policy
    with weights for each item, such as `WideDeep`, also learns from them which item is for whom.

    A number is given as its distance from the log's mean, in the log's standard deviations; one that is missing is 0. What is farther off
    than 10 of them counts as 10: requests come from clients, and a policy would never forget a number that is far too large.

    Attributes:
        features: names of features that are numbers or bools; the columns have these names.

    Example:
        >>> from recsdk.data import events_from_rows, items_from_rows
        >>> items = items_from_rows([{"id": "tea"}, {"id": "pot"}])
        >>> scorer = RequestFeatures(features=("age",))
        >>> state = scorer.fit(events_from_rows(items, [{"item": "tea", "time": 0.0, "age": age} for age in (20, 40)]))
        >>> scorer.score(state, Request({"age": 50}, 1.0), items).tolist()
        [[2.0], [2.0]]
    """

    features: tuple[str, ...] = attrs.field(validator=_names)

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns."""
        return self.features

    def init(self) -> Scales:
        """Returns means of 0 and scales of 1."""
        return Scales(np.zeros(len(self.features)), np.ones(len(self.features)))

    def fit(self, log: Events) -> Scales:
        """Measures mean and standard deviation of each feature over the events that have it.

        Raises:
            InvalidRequest: a feature that is text.
        """
        measured = [self._measured(name, log) for name in self.features]
        return Scales(*(np.array(column) for column in zip(*measured, strict=True)))

    def score(self, state: Scales, request: Request, candidates: Items) -> Array:
        """Returns f32[K, C], all rows alike.

        Raises:
            InvalidRequest: a feature that is text.
        """
        row = np.zeros(len(self.features))
        for place, name in enumerate(self.features):
            value = request.features.get(name)
            if value is not None and not is_number(value) and not isinstance(value, bool):
                raise InvalidRequest(f"{name!r} must be a number, a bool or missing for the scorer request-features, got {value!r}.")
            if value is not None:
                with np.errstate(over="ignore"):
                    row[place] = (value - state.mean[place]) / state.scale[place]
        return np.tile(row.clip(-MOST, MOST).astype(np.float32), (len(candidates.ids), 1))

    def _measured(self, name: str, log: Events) -> tuple[float, float]:
        column = log.requests.get(name, np.zeros(0))
        kind = column_kind(column)
        if kind not in (NUMBER, None):
            raise InvalidRequest(f"{name!r} must be numbers for the scorer request-features, got {kind}.")
        return mean_and_scale(column[~np.isnan(column)]) if kind else (0.0, 1.0)
