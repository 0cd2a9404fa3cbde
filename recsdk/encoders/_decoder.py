"""Convolutions that read a history and a recurrent cell that tells what follows: on NumPy they serve, in a JAX trace they train."""

from __future__ import annotations

from typing import Any, NamedTuple

import attrs
import numpy as np

from recsdk.base import Array
from recsdk.encoders._blocks import Norm
from recsdk.encoders._convolutions import Convolution, Convolutions, ConvolutionShape
from recsdk.encoders._recurrent import Layer, _gru, _product
from recsdk.encoders._sequences import BEGIN
from recsdk.encoders._transformer import Dropout


class Decoder(NamedTuple):
    """The parameters: those of `Convolutions`, which read, and a gated recurrent cell, which tells.

    Attributes:
        table: f32[R, D], a vector per row of the vocabulary; row 0 begins every sequence, and what is told.
        output: f32[R, D], what a vector is multiplied with; f32[0, D] where it is `table`.
        layers: convolutions, the first one first.
        last_norm: after the last of them.
        cell: its state begins as what was read, and its input is the item before.
        last: f32[D, D], maps the state to the vector by which the next item is told.
        last_bias: f32[D].
    """

    table: Array
    output: Array
    layers: tuple[Convolution, ...]
    last_norm: Norm
    cell: Layer
    last: Array
    last_bias: Array


@attrs.frozen(kw_only=True)
class DecoderShape:
    """The architecture: hashable, so that one shape is compiled once.

    Attributes:
        reader: the convolutions.
        num_ahead: items that are told one after another in training.
    """

    reader: ConvolutionShape
    num_ahead: int

    @property
    def dim(self) -> int:
        """Width of the vectors."""
        return self.reader.dim

    @property
    def max_length(self) -> int:
        """Most places."""
        return self.reader.max_length

    def init(self, rng: np.random.Generator, num_rows: int) -> Decoder:
        """Returns parameters before training."""
        dim = self.dim

        def normal(*shape: int) -> np.ndarray:
            return rng.standard_normal(shape, dtype=np.float32) * np.float32(1 / np.sqrt(dim))

        read = self.reader.init(rng, num_rows)
        bias = np.zeros(3 * dim, np.float32)
        cell = Layer(normal(dim, 3 * dim), bias, normal(dim, 3 * dim), bias.copy())
        return Decoder(*read, cell, normal(dim, dim), np.zeros(dim, np.float32))

    def new_rows(self, rng: np.random.Generator, num_rows: int) -> np.ndarray:
        """Returns f32[R, D], vectors of items before training."""
        return self.reader.new_rows(rng, num_rows)

    def forward(self, params: Decoder, tokens: Array, dropout: Dropout | None = None, dtype: Any = np.float32) -> Array:
        """Returns f32[B, T, D]: at each place the vector of a user who has taken what stands up to there.

        Args:
            params: on NumPy or JAX, as `tokens`.
            tokens: i32[B, T], rows of the table; what follows a sequence's end does not reach back.
            dropout: as for `ConvolutionShape.forward`, and of the cell's inputs.
            dtype: of the matrix products.
        """
        return self.ahead(params, tokens, [], dropout, dtype)[0]

    def ahead(self, params: Decoder, tokens: Array, following: list[Array], dropout: Dropout | None, dtype: Any) -> list[Array]:
        """Returns f32[B, T, D] for each step: the vectors that tell the next item of each place, the one after, and so on.

        Args:
            params: as for `forward`.
            tokens: as for `forward`.
            following: i32[B, T] for each step but the last: what came next of each place, then what came after, and so on.
            dropout: as for `forward`.
            dtype: as for `forward`.
        """
        keep = dropout or (lambda branch: branch)
        reader = Convolutions(params.table, params.output, params.layers, params.last_norm)
        state = self.reader.forward(reader, tokens, dropout, dtype).reshape(-1, self.dim)
        told = []
        for before in [tokens * 0 + BEGIN, *following]:
            inputs = keep(params.table[before]).reshape(-1, self.dim)
            state, _ = _gru(params.cell, state, _product(inputs, params.cell.inward, dtype) + params.cell.inward_bias[None], dtype)
            users = _product(state, params.last, dtype) + params.last_bias[None]
            told.append(users.reshape(*tokens.shape, self.dim))
        return told
