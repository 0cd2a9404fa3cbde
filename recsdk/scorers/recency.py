"""The age of an item, as a score."""

from __future__ import annotations

from typing import ClassVar

import attrs
import numpy as np

from recsdk.base import Array, Events, Items, Request
from recsdk.checks import number


@attrs.frozen(kw_only=True)
class Recency:
    """Scores an item by 2^(-age / half_life): 1 when it enters the catalogue, towards 0 as it ages.

    An item dated after the request counts as one dated as long before it, so that a wrong time in the far future does not make it new for
    good.

    Attributes:
        half_life: seconds after which an item counts as half new.

    Example:
        >>> from recsdk.data import items_from_rows
        >>> items = items_from_rows([{"id": "new", "added": 100.0}, {"id": "old", "added": 80.0}])
        >>> Recency(half_life=10.0).score((), Request({}, 100.0), items)[:, 0].tolist()
        [1.0, 0.25]
    """

    columns: ClassVar[tuple[str, ...]] = ("recency",)

    half_life: float = attrs.field(default=7 * 86400.0, validator=number(above=0))

    def init(self) -> tuple[()]:
        """Returns an empty state."""
        return ()

    def fit(self, log: Events) -> tuple[()]:
        """Learns nothing."""
        del log
        return ()

    def score(self, state: tuple[()], request: Request, candidates: Items) -> Array:
        """Returns f32[K, 1] in [0, 1]."""
        del state
        age = np.abs(request.time - candidates.added)
        return np.exp2(-age / self.half_life).astype(np.float32)[:, None]
