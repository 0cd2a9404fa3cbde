"""Random retrieval, for when nothing says which items are near to the user."""

from __future__ import annotations

from typing import ClassVar

import attrs
import numpy as np

from recsdk.arrays import largest
from recsdk.base import Rng


@attrs.frozen(kw_only=True)
class Sampled:
    """Draws items at random, each with the same chance, so that every item is a candidate now and then.

    The default where there is no encoder.

    Example:
        >>> retriever, allowed = Sampled(), np.array([True, False, True])
        >>> user, vectors = np.zeros(0, np.float32), np.zeros((3, 0), np.float32)
        >>> found = retriever.search(retriever.build(vectors), np.random.default_rng(0), user, allowed, 5)
        >>> sorted(found.tolist())
        [0, 2]
    """

    uses_vectors: ClassVar[bool] = False

    def build(self, vectors: np.ndarray) -> tuple[()]:
        """Returns an empty state."""
        del vectors
        return ()

    def add(self, state: tuple[()], slot: np.ndarray, vectors: np.ndarray) -> tuple[()]:
        """Returns the empty state."""
        del slot, vectors
        return state

    def search(self, state: tuple[()], rng: Rng, user: np.ndarray, allowed: np.ndarray, size: int) -> np.ndarray:
        """Returns i64[<= size], allowed slots in random order."""
        del state, user
        slots = np.flatnonzero(allowed)
        found: np.ndarray = slots[largest(np.asarray(rng.random(len(slots))), min(size, len(slots)))]
        return found
