"""A plain function as a scorer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs
import numpy as np

from recsdk.base import Array, Events, Items, Request
from recsdk.checks import is_within
from recsdk.errors import InvalidScores, InvalidValue

LARGEST = float(np.finfo(np.float32).max)


def _has_a_name(instance: Any, field: Any, value: Any) -> None:
    if not callable(value) or not isinstance(getattr(value, "__name__", None), str):
        raise InvalidValue(f"{type(instance).__name__}.{field.name} must be a function with a name, got {value!r}.")


@attrs.frozen
class FunctionScorer:
    """Makes a scorer of one column, named after the function.

    A folder knows the function by its name. If its own source changes between two openings, `Recommender.open` warns with `ChangedSetting`;
    a change in what it calls, or of a function whose source Python cannot find, goes unnoticed: give a new function a new name.

    Attributes:
        function: `(request, candidates) -> [K]`, finite numbers; keep them around unit scale.

    Example:
        >>> from recsdk.data import items_from_rows
        >>> def cheap(request, candidates):
        ...     return 1 / candidates.features["price"]
        >>> scorer = FunctionScorer(cheap)
        >>> scorer.columns, scorer.score((), Request({}, 0.0), items_from_rows([{"id": "a", "price": 4}])).tolist()
        (('cheap',), [[0.25]])
    """

    function: Callable[[Request, Items], Any] = attrs.field(
        validator=_has_a_name, repr=lambda function: f"{function.__module__}.{function.__qualname__}"
    )  # the same in every process, where an address would not be
    columns: tuple[str, ...] = attrs.field(
        init=False, repr=False, default=attrs.Factory(lambda self: (getattr(self.function, "__name__", ""),), takes_self=True)
    )

    def init(self) -> tuple[()]:
        """Returns an empty state."""
        return ()

    def fit(self, log: Events) -> tuple[()]:
        """Learns nothing."""
        del log
        return ()

    def score(self, state: tuple[()], request: Request, candidates: Items) -> Array:
        """Returns f32[K, 1].

        Raises:
            InvalidScores: when the function's answer is not K finite numbers.
        """
        del state
        scores = np.asarray(self.function(request, candidates))
        wanted = f"{self.columns[0]} must return {len(candidates.ids)} finite numbers, one per candidate"
        if scores.shape != candidates.ids.shape or scores.dtype.kind not in "bifu":
            raise InvalidScores(f"{wanted}, got {scores.dtype}{list(scores.shape)}.")
        if not is_within(scores, LARGEST):
            with np.errstate(over="ignore"):
                is_finite = np.isfinite(scores.astype(np.float32))
            if not is_finite.all():
                place = int(is_finite.argmin())
                raise InvalidScores(f"{wanted} within float32, got {scores[place]} for {candidates.ids[place]!r}.")
        return scores.astype(np.float32)[:, None]
