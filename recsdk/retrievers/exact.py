"""Exact retrieval: every item is scored."""

from __future__ import annotations

from typing import ClassVar

import attrs
import numpy as np

from recsdk.arrays import largest
from recsdk.base import Rng


@attrs.frozen(kw_only=True)
class Exact:
    """Finds the items whose vectors have the largest inner product with the user's; of equal ones, those that were added first.

    The default where there is an encoder. One product of the whole table with the user's vector; no copy of the table is made.

    Example:
        >>> vectors = np.array([[1, 0], [0, 1], [1, 1]], np.float32)
        >>> retriever = Exact()
        >>> user, allowed = np.array([1, 0.5], np.float32), np.array([True, True, False])
        >>> retriever.search(retriever.build(vectors), np.random.default_rng(0), user, allowed, 2).tolist()
        [0, 1]
    """

    uses_vectors: ClassVar[bool] = True

    def build(self, vectors: np.ndarray) -> np.ndarray:
        """Returns the table itself."""
        return vectors

    def add(self, state: np.ndarray, slot: np.ndarray, vectors: np.ndarray) -> np.ndarray:
        """Returns the new table."""
        del state, slot
        return vectors

    def search(self, state: np.ndarray, rng: Rng, user: np.ndarray, allowed: np.ndarray, size: int) -> np.ndarray:
        """Returns i64[<= size], the allowed slots with the largest scores."""
        del rng
        scores = state @ user
        num_allowed = int(np.count_nonzero(allowed))
        if num_allowed < len(scores):
            scores[~allowed] = -np.inf
        return largest(scores, min(size, num_allowed))
