"""A gated recurrent network over items, written once: on NumPy it serves, in a JAX trace it trains.

References:
    Cho et al., Learning Phrase Representations using RNN Encoder-Decoder, EMNLP 2014; Hidasi et al., Session-based Recommendations with
    Recurrent Neural Networks, ICLR 2016.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import attrs
import numpy as np

from recsdk.base import Array

Dropout = Callable[[Array], Array]
INITIAL = 0.02


class Layer(NamedTuple):
    """One recurrent layer; the three parts of each array are for update, reset and candidate.

    Attributes:
        inward: f32[D, 3 D], of the input.
        inward_bias: f32[3 D].
        onward: f32[D, 3 D], of the state before.
        onward_bias: f32[3 D].
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

    def init(self, rng: np.random.Generator, num_rows: int) -> Recurrent:
        """Returns parameters before training."""

        def normal(*shape: int) -> np.ndarray:
            return rng.standard_normal(shape, dtype=np.float32) * np.float32(1 / np.sqrt(self.dim))

        def layer() -> Layer:
            zeros = np.zeros(3 * self.dim, np.float32)
            return Layer(normal(self.dim, 3 * self.dim), zeros, normal(self.dim, 3 * self.dim), zeros.copy())

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
            hidden = _states(layer, keep(hidden), dtype)
        users: Array = _product(keep(hidden), params.last, dtype) + params.last_bias[None, None]
        return users


def _states(layer: Layer, inputs: Array, dtype: Any) -> Array:
    """Returns f32[B, T, D], the state after each place."""
    xp = inputs.__array_namespace__()
    given = _product(inputs, layer.inward, dtype) + layer.inward_bias[None, None]  # of all places at once

    def step(state: Array, now: Array) -> tuple[Array, Array]:
        before = _product(state, layer.onward, dtype) + layer.onward_bias[None]
        dim = state.shape[1]
        gates = (1 + xp.tanh((now[:, : 2 * dim] + before[:, : 2 * dim]) / 2)) / 2  # the logistic function, without overflow
        update, reset = gates[:, :dim], gates[:, dim:]
        candidate = xp.tanh(now[:, 2 * dim :] + reset * before[:, 2 * dim :])
        state = update * state + (1 - update) * candidate
        return state, state

    first = xp.zeros((inputs.shape[0], inputs.shape[2]), dtype=np.float32)
    return xp.moveaxis(_scan(step, first, xp.moveaxis(given, 1, 0)), 0, 1)


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
