"""A user as the sum of what was taken, written once: on NumPy it serves, in a JAX trace it trains."""

from __future__ import annotations

from typing import Any, NamedTuple

import attrs
import numpy as np

from recsdk.base import Array
from recsdk.encoders._sequences import BEGIN
from recsdk.encoders._transformer import Dropout


class Factors(NamedTuple):
    """The parameters.

    Attributes:
        table: f32[R, D], what having taken an item adds to a user; row 0 is every user's, and stands for what is popular.
        output: f32[R, D], what a user's vector is multiplied with; f32[0, D] where it is `table`.
    """

    table: Array
    output: Array


@attrs.frozen(kw_only=True)
class FactorShape:
    """The architecture: hashable, so that one shape is compiled once."""

    dim: int
    max_length: int
    is_tied: bool
    recency_decay: float

    def init(self, rng: np.random.Generator, num_rows: int) -> Factors:
        """Returns parameters before training."""
        return Factors(self.new_rows(rng, num_rows), self.new_rows(rng, 0 if self.is_tied else num_rows))

    def new_rows(self, rng: np.random.Generator, num_rows: int) -> np.ndarray:
        """Returns f32[R, D], vectors of items before training."""
        return rng.standard_normal((num_rows, self.dim), dtype=np.float32) * np.float32(1 / np.sqrt(self.dim))

    def forward(self, params: Factors, tokens: Array, dropout: Dropout | None = None, dtype: Any = np.float32) -> Array:
        """Returns f32[B, T, D]: at each place the vector of a user who has taken what stands up to there.

        Args:
            params: on NumPy or JAX, as `tokens`.
            tokens: i32[B, T], rows of the table; what follows a sequence's end does not reach back.
            dropout: applied to the items' vectors.
            dtype: of the sums.
        """
        xp = tokens.__array_namespace__()
        keep = dropout or (lambda branch: branch)
        places = np.arange(tokens.shape[1])
        age = places[:, None] - places[None]
        decay = np.where(age >= 0, np.float64(self.recency_decay) ** np.maximum(age, 0), 0).astype(np.float32)
        weights = xp.where((tokens != BEGIN)[:, None], xp.asarray(decay)[None], np.float32(0))
        length = xp.sqrt(xp.maximum((weights * weights).sum(axis=2, keepdims=True), np.float32(1)))
        summed = (weights.astype(dtype) @ keep(params.table[tokens]).astype(dtype)).astype(np.float32)
        return summed / length + params.table[BEGIN][None, None]
