"""A transformer over items, written once: on NumPy it serves, in a JAX trace it trains.

References:
    Kang and McAuley, Self-Attentive Sequential Recommendation, ICDM 2018; Xiong et al., On Layer Normalization in the Transformer
    Architecture, ICML 2020 (norms before the blocks); Shazeer, GLU Variants Improve Transformer, 2020 (SwiGLU).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs
import numpy as np

from recsdk.base import Array
from recsdk.encoders import _ending
from recsdk.encoders._blocks import NEVER, SMALLEST_VARIANCE, Block, Norm, Transformer

Dropout = Callable[[Array], Array]
HIDDEN_PER_WIDTH = 4
GATED_PER_WIDTH = 8 / 3  # as many parameters as without a gate
INITIAL = 0.02


@attrs.frozen(kw_only=True)
class TransformerShape:
    """The architecture: hashable, so that one shape is compiled once."""

    dim: int
    num_layers: int
    num_heads: int
    max_length: int
    activation: str
    is_tied: bool

    @classmethod
    def of(cls, config: Any) -> TransformerShape:
        """Returns the architecture that an encoder's settings ask for."""
        return cls(
            dim=config.dim,
            num_layers=config.num_layers,
            num_heads=config.num_heads,
            max_length=config.max_length,
            activation=config.activation,
            is_tied=config.output == "tied",
        )

    def init(self, rng: np.random.Generator, num_rows: int) -> Transformer:
        """Returns parameters before training."""
        gated = self.activation == "swiglu"
        hidden = int(self.dim * (GATED_PER_WIDTH if gated else HIDDEN_PER_WIDTH))
        inner = INITIAL / np.sqrt(2 * self.num_layers)  # so that the sum over the layers keeps its size

        def normal(*shape: int, deviation: float = INITIAL) -> np.ndarray:
            return rng.standard_normal(shape, dtype=np.float32) * np.float32(deviation)

        def norm() -> Norm:
            return Norm(np.ones(self.dim, np.float32), np.zeros(self.dim, np.float32))

        def block() -> Block:
            inward, outward = normal(self.dim, 3 * self.dim), normal(self.dim, self.dim, deviation=inner)
            up, down = normal(self.dim, hidden * (1 + gated)), normal(hidden, self.dim, deviation=inner)
            return Block(norm(), inward, outward, norm(), up, down)

        table, position = self.new_rows(rng, num_rows), normal(self.max_length, self.dim)
        output = self.new_rows(rng, 0 if self.is_tied else num_rows)
        return Transformer(table, output, position, tuple(block() for _ in range(self.num_layers)), norm())

    def new_rows(self, rng: np.random.Generator, num_rows: int) -> np.ndarray:
        """Returns f32[R, D], vectors of items before training."""
        return rng.standard_normal((num_rows, self.dim), dtype=np.float32) * np.float32(INITIAL)

    def forward(self, params: Transformer, tokens: Array, dropout: Dropout | None = None, dtype: Any = np.float32) -> Array:
        """Returns f32[B, T, D]: at each place the vector of a user who has taken what stands up to there.

        Args:
            params: on NumPy or JAX, as `tokens`.
            tokens: i32[B, T], rows of the table, T at most L; what follows a sequence's end does not reach back.
            dropout: applied to each branch before it is added.
            dtype: of the matrix products; sums and norms are float32.
        """
        xp = tokens.__array_namespace__()
        length = tokens.shape[1]
        ahead = xp.triu(xp.full((length, length), NEVER, dtype=np.float32), k=1)
        return self.through(params, tokens, ahead[None, None], dropout, dtype)

    def ending(self, params: Transformer, tokens: np.ndarray) -> np.ndarray:
        """Returns f32[D], what `forward` gives at the last of `tokens` i32[T], on NumPy, with less work."""
        return _ending.ending(self, params, tokens, is_causal=True)

    def through(self, params: Transformer, tokens: Array, hidden_from: Array, dropout: Dropout | None, dtype: Any) -> Array:
        """Returns f32[B, T, D], where each place looks at those from which `hidden_from`, f32[B or 1, 1, T or 1, T], does not hide it."""
        keep = dropout or (lambda branch: branch)
        # Gathered in float32: the gradient of a gather in bf16 is a scatter-add in bf16, which is many times slower.
        hidden = keep(params.table[tokens] + params.position[None, : tokens.shape[1]])
        for block in params.blocks:
            hidden = hidden + keep(self._attention(block, _normed(block.attention_norm, hidden), hidden_from, dtype))
            hidden = hidden + keep(self._dense(block, _normed(block.dense_norm, hidden), dtype))
        return _normed(params.last_norm, hidden)

    def _attention(self, block: Block, hidden: Array, hidden_from: Array, dtype: Any) -> Array:
        xp = hidden.__array_namespace__()
        size, length, dim = hidden.shape
        heads = _product(hidden, block.inward, dtype).reshape(size, length, 3, self.num_heads, dim // self.num_heads)
        query, key, value = (xp.moveaxis(heads[:, :, part], 1, 2) for part in range(3))
        scores = (query @ xp.moveaxis(key, 2, 3)).astype(np.float32) / np.float32(np.sqrt(dim // self.num_heads)) + hidden_from
        weights = xp.exp(scores - scores.max(axis=3, keepdims=True))
        weights = (weights / weights.sum(axis=3, keepdims=True)).astype(dtype)
        mixed = xp.moveaxis(weights @ value, 1, 2).reshape(size, length, dim)
        return _product(mixed, block.outward, dtype).astype(np.float32)

    def _dense(self, block: Block, hidden: Array, dtype: Any) -> Array:
        xp = hidden.__array_namespace__()
        raised = _product(hidden, block.up, dtype)
        if self.activation == "swiglu":
            gate, raised = raised[..., : raised.shape[2] // 2], raised[..., raised.shape[2] // 2 :]
            raised = raised * gate * (1 + xp.tanh(gate / 2)) / 2  # silu, without the overflow of exp
        else:
            raised = xp.maximum(raised, 0)
        return _product(raised, block.down, dtype).astype(np.float32)


def _product(hidden: Array, matrix: Array, dtype: Any) -> Array:
    return hidden.astype(dtype) @ matrix.astype(dtype)


def _normed(norm: Norm, hidden: Array) -> Array:
    xp = hidden.__array_namespace__()
    centred = hidden - hidden.mean(axis=2, keepdims=True)
    variance = (centred * centred).mean(axis=2, keepdims=True)
    return centred / xp.sqrt(variance + np.float32(SMALLEST_VARIANCE)) * norm.scale[None, None] + norm.bias[None, None]
