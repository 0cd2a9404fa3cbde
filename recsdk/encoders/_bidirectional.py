"""A transformer that looks both ways, and fills in items that are left out of a history."""

from __future__ import annotations

from typing import Any

import attrs
import numpy as np

from recsdk.base import Array
from recsdk.encoders import _ending
from recsdk.encoders._blocks import NEVER, Transformer
from recsdk.encoders._sequences import BEGIN
from recsdk.encoders._transformer import Dropout, TransformerShape


@attrs.frozen(kw_only=True)
class BidirectionalShape:
    """The architecture. `BEGIN` stands for an item that is left out: what comes next is the item left out at the end.

    Attributes:
        transformer: with the parameters of a causal one.
        mask_share: share of the items that are left out in training.
    """

    transformer: TransformerShape
    mask_share: float

    @property
    def dim(self) -> int:
        """Width of the vectors."""
        return self.transformer.dim

    @property
    def max_length(self) -> int:
        """Most places."""
        return self.transformer.max_length

    def init(self, rng: np.random.Generator, num_rows: int) -> Transformer:
        """Returns parameters before training."""
        return self.transformer.init(rng, num_rows)

    def new_rows(self, rng: np.random.Generator, num_rows: int) -> np.ndarray:
        """Returns f32[R, D], vectors of items before training."""
        return self.transformer.new_rows(rng, num_rows)

    def forward(self, params: Transformer, tokens: Array, dropout: Dropout | None = None, dtype: Any = np.float32) -> Array:
        """Returns f32[B, T, D], of which only each history's end is meant: the place that `last` of `_sequences.padded` says.

        Args:
            params: on NumPy or JAX, as `tokens`.
            tokens: i32[B, T], `BEGIN`, the history, and `BEGIN` as padding.
            dropout: applied to each branch before it is added.
            dtype: of the matrix products.
        """
        xp = tokens.__array_namespace__()
        items = xp.concatenate([tokens[:, 1:], tokens[:, :1]], axis=1)  # the item that is left out stands behind the history
        there = xp.arange(tokens.shape[1])[None] <= (items != BEGIN).sum(axis=1)[:, None]
        return self.fill(params, items, there, dropout, dtype)

    def ending(self, params: Transformer, tokens: np.ndarray) -> np.ndarray:
        """Returns f32[D], what `forward` gives at the last of `tokens` i32[T], on NumPy, with less work."""
        items = np.append(tokens[1:], tokens[:1])
        return _ending.ending(self.transformer, params, items, is_causal=False)

    def fill(self, params: Transformer, items: Array, there: Array, dropout: Dropout | None, dtype: Any) -> Array:
        """Returns f32[B, T, D]: where an item is left out, the vector by which to guess it.

        Args:
            params: as for `forward`.
            items: i32[B, T], with `BEGIN` for what is left out.
            there: bool[B, T], false for padding, which nothing looks at.
            dropout: as for `forward`.
            dtype: as for `forward`.
        """
        xp = items.__array_namespace__()
        hidden_from = xp.where(there, np.float32(0), np.float32(NEVER))
        return self.transformer.through(params, items, hidden_from[:, None, None], dropout, dtype)
