"""Causal convolutions over items, written once: on NumPy they serve, in a JAX trace they train.

References:
    Tang and Wang, Personalized Top-N Sequential Recommendation via Convolutional Sequence Embedding, WSDM 2018 (Caser); Yuan et al., A
    Simple Convolutional Generative Network for Next Item Recommendation, WSDM 2019 (dilation); Dauphin et al., Language Modeling with
    Gated Convolutional Networks, ICML 2017.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import attrs
import numpy as np

from recsdk.base import Array
from recsdk.encoders._blocks import Norm
from recsdk.encoders._transformer import Dropout, _normed, _product

INITIAL = 0.02


class Convolution(NamedTuple):
    """One gated layer, which is added to its input; W is the width of the window.

    Attributes:
        norm: before the convolution.
        inward: f32[W D, 2 D], of the places in the window, the latest first: the gate, and what it lets through.
        bias: f32[2 D].
        outward: f32[D, D].
    """

    norm: Norm
    inward: Array
    bias: Array
    outward: Array


class Convolutions(NamedTuple):
    """The parameters.

    Attributes:
        table: f32[R, D], a vector per row of the vocabulary; row 0 begins every sequence.
        output: f32[R, D], what a user's vector is multiplied with; f32[0, D] where it is `table`.
        layers: the first one first; the window of layer n has gaps of 2^n places.
        last_norm: after the last layer.
    """

    table: Array
    output: Array
    layers: tuple[Convolution, ...]
    last_norm: Norm


@attrs.frozen(kw_only=True)
class ConvolutionShape:
    """The architecture: hashable, so that one shape is compiled once."""

    dim: int
    num_layers: int
    window: int
    max_length: int
    is_tied: bool

    def init(self, rng: np.random.Generator, num_rows: int) -> Convolutions:
        """Returns parameters before training."""

        def normal(rows: int, columns: int) -> np.ndarray:
            return rng.standard_normal((rows, columns), dtype=np.float32) * np.float32(1 / np.sqrt(rows))

        def norm() -> Norm:
            return Norm(np.ones(self.dim, np.float32), np.zeros(self.dim, np.float32))

        def layer() -> Convolution:
            inward = normal(self.window * self.dim, 2 * self.dim)
            return Convolution(norm(), inward, np.zeros(2 * self.dim, np.float32), normal(self.dim, self.dim))

        table, output = self.new_rows(rng, num_rows), self.new_rows(rng, 0 if self.is_tied else num_rows)
        return Convolutions(table, output, tuple(layer() for _ in range(self.num_layers)), norm())

    def new_rows(self, rng: np.random.Generator, num_rows: int) -> np.ndarray:
        """Returns f32[R, D], vectors of items before training."""
        return rng.standard_normal((num_rows, self.dim), dtype=np.float32) * np.float32(INITIAL)

    def forward(self, params: Convolutions, tokens: Array, dropout: Dropout | None = None, dtype: Any = np.float32) -> Array:
        """Returns f32[B, T, D]: at each place the vector of a user who has taken what stands up to there.

        Args:
            params: on NumPy or JAX, as `tokens`.
            tokens: i32[B, T], rows of the table; what follows a sequence's end does not reach back.
            dropout: applied to each branch before it is added.
            dtype: of the matrix products; sums and norms are float32.
        """
        keep = dropout or (lambda branch: branch)
        hidden = keep(params.table[tokens])
        for number, layer in enumerate(params.layers):
            window = _window(_normed(layer.norm, hidden), self.window, 2**number)
            hidden = hidden + keep(_convolved(layer, window, dtype))
        return _normed(params.last_norm, hidden)


def _convolved(layer: Convolution, window: Array, dtype: Any) -> Array:
    raised = _product(window, layer.inward, dtype).astype(np.float32) + layer.bias[None, None]
    dim = raised.shape[2] // 2
    let_through = (1 + raised.__array_namespace__().tanh(raised[..., :dim] / 2)) / 2  # the logistic function, without overflow
    return _product(let_through * raised[..., dim:], layer.outward, dtype).astype(np.float32)


def _window(hidden: Array, width: int, gap: int) -> Array:
    """Returns f32[B, T, W D]: each place beside those `gap`, 2 `gap`, ... before it; zeros where there are none."""
    xp = hidden.__array_namespace__()
    length = hidden.shape[1]
    reach = min(gap * (width - 1), length)
    padded = xp.concatenate([xp.zeros((hidden.shape[0], reach, hidden.shape[2]), dtype=np.float32), hidden], axis=1)
    starts = [max(reach - gap * step, 0) for step in range(width)]
    return xp.concatenate([padded[:, start : start + length] for start in starts], axis=2)
