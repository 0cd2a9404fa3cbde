"""Recurrent networks over items, written once: on NumPy they serve, in a JAX trace they train.

References:
    Hochreiter and Schmidhuber, Long Short-Term Memory, Neural Computation 1997; Cho et al., Learning Phrase Representations using RNN
    Encoder-Decoder, EMNLP 2014; Hidasi et al., Session-based Recommendations with Recurrent Neural Networks, ICLR 2016.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import attrs
import numpy as np

from recsdk.base import Array

Dropout = Callable[[Array], Array]
PARTS = {"gru": 3, "lstm": 4}
"""Of each array of a layer: update, reset and candidate; or input, forget and output gates and candidate."""


class Layer(NamedTuple):
    """One recurrent layer; P is the number of parts.

    Attributes:
        inward: f32[D, P D], of the input.
        inward_bias: f32[P D].
        onward: f32[D, P D], of the state before.
        onward_bias: f32[P D].
    """

    inward: Array
    inward_bias: Array
    onward: Array
    onward_bias: Array


class Recurrent(NamedTuple):
    """The parameters of the network.

    Attributes:
        table: f32[R, D], the input vector of each row of the vocabulary; row 0 is the start of every sequence.
        output: f32[R, D], the output vector of each row; f32[0, D] if `table` serves for both.
        layers: the recurrent layers, the first one first.
        last: f32[D, D], maps the state of the last layer to the user's vector.
        last_bias: f32[D], added to it.
    """

    table: Array
    output: Array
    layers: tuple[Layer, ...]
    last: Array
    last_bias: Array


@attrs.frozen(kw_only=True)
class RecurrentShape:
    """The architecture: hashable, so that one shape is compiled once."""

    dim: int
    num_layers: int
    max_length: int
    is_tied: bool
    cell: str = "gru"

    def init(self, rng: np.random.Generator, num_rows: int) -> Recurrent:
        """Returns parameters before training."""

        def normal(*shape: int) -> np.ndarray:
            return rng.standard_normal(shape, dtype=np.float32) * np.float32(1 / np.sqrt(self.dim))

        def layer() -> Layer:
            width = PARTS[self.cell] * self.dim
            zeros = np.zeros(width, np.float32)
            bias = zeros.copy()
            if self.cell == "lstm":
                bias[self.dim : 2 * self.dim] = 1  # a new memory forgets little, or nothing long would be learnt
            return Layer(normal(self.dim, width), bias, normal(self.dim, width), zeros)

        table, output = self.new_rows(rng, num_rows), self.new_rows(rng, 0 if self.is_tied else num_rows)
        layers = tuple(layer() for _ in range(self.num_layers))
        return Recurrent(table, output, layers, normal(self.dim, self.dim), np.zeros(self.dim, np.float32))

    def new_rows(self, rng: np.random.Generator, num_rows: int) -> np.ndarray:
        """Returns f32[R, D], vectors of items before training."""
        return rng.standard_normal((num_rows, self.dim), dtype=np.float32) * np.float32(1 / np.sqrt(self.dim))

    def forward(self, params: Recurrent, tokens: Array, dropout: Dropout | None = None, dtype: Any = np.float32) -> Array:
        """Returns f32[B, T, D]: at each place the vector of a user who has taken what stands up to there.

        Args:
            params: on NumPy or JAX, as `tokens`.
            tokens: i32[B, T], rows of the table; what follows a sequence's end does not reach back.
            dropout: applied to the input of each layer.
            dtype: of the matrix products; the state is float32.
        """
        keep = dropout or (lambda branch: branch)
        hidden = params.table[tokens]
        for layer in params.layers:
            hidden = _states(self.cell, layer, keep(hidden), dtype)
        users: Array = _product(keep(hidden), params.last, dtype) + params.last_bias[None, None]
        return users


def _states(cell: str, layer: Layer, inputs: Array, dtype: Any) -> Array:
    """Returns f32[B, T, D], the state after each place."""
    xp = inputs.__array_namespace__()
    given = _product(inputs, layer.inward, dtype) + layer.inward_bias[None, None]  # of all places at once
    zeros = xp.zeros((inputs.shape[0], inputs.shape[2]), dtype=np.float32)
    first, step = (zeros, _gru) if cell == "gru" else ((zeros, zeros), _lstm)
    return xp.moveaxis(_scan(lambda state, now: step(layer, state, now, dtype), first, xp.moveaxis(given, 1, 0)), 0, 1)


def _gru(layer: Layer, state: Array, now: Array, dtype: Any) -> tuple[Array, Array]:
    xp = now.__array_namespace__()
    before = _product(state, layer.onward, dtype) + layer.onward_bias[None]
    dim = state.shape[1]
    gates = _logistic(now[:, : 2 * dim] + before[:, : 2 * dim])
    update, reset = gates[:, :dim], gates[:, dim:]
    candidate = xp.tanh(now[:, 2 * dim :] + reset * before[:, 2 * dim :])
    state = update * state + (1 - update) * candidate
    return state, state


def _lstm(layer: Layer, state: tuple[Array, Array], now: Array, dtype: Any) -> tuple[tuple[Array, Array], Array]:
    xp = now.__array_namespace__()
    hidden, memory = state
    total = now + _product(hidden, layer.onward, dtype) + layer.onward_bias[None]
    dim = hidden.shape[1]
    gates = _logistic(total[:, : 3 * dim])
    memory = gates[:, dim : 2 * dim] * memory + gates[:, :dim] * xp.tanh(total[:, 3 * dim :])
    hidden = gates[:, 2 * dim :] * xp.tanh(memory)
    return (hidden, memory), hidden


def _logistic(value: Array) -> Array:
    """Returns 1 / (1 + exp(-value)), without overflow."""
    return (1 + value.__array_namespace__().tanh(value / 2)) / 2


def _scan(step: Any, state: Array, inputs: Array) -> Array:
    """Returns what `step` yields for each of `inputs`, stacked: a loop on NumPy, a `lax.scan` in a trace."""
    if not isinstance(inputs, np.ndarray):
        import jax

        return jax.lax.scan(step, state, inputs)[1]
    yielded = []
    for now in inputs:
        state, what = step(state, now)
        yielded.append(what)
    return np.stack(yielded)


def _product(hidden: Array, matrix: Array, dtype: Any) -> Array:
    return (hidden.astype(dtype) @ matrix.astype(dtype)).astype(np.float32)
