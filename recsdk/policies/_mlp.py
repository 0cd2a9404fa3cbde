"""A network on phi that learns chances from rewards, on JAX; the optimiser is Optax's Adam.

In float64, unlike encoders: probabilities must not depend on the padding around the candidates, and in float32 a product of matrices does.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from recsdk.base import Array


class Trained(NamedTuple):
    """A network with its optimiser. Its weights are one array, since each array of a state costs 2 us a call.

    Attributes:
        weights: f64[P], of all layers: inputs times outputs, then biases, from the first to the last, which has one output.
        optimiser: Optax's state.
    """

    weights: Array
    optimiser: Any


def _adam(rate: float) -> Any:
    import optax  # type: ignore[import-untyped]  # its wheel has no type information

    return optax.adam(rate)


def init(like: Array, widths: tuple[int, ...], seed: int) -> Trained:
    """Returns a network with He's initial weights that predicts 1/2 of everything, for inputs of the width of `like`, f64[D]."""
    import jax

    rng = np.random.default_rng(seed)
    parts = []
    for inputs, outputs in pairwise((like.shape[0], *widths)):
        parts += [rng.standard_normal(inputs * outputs) * (2 / inputs) ** 0.5, np.zeros(outputs)]
    weights = like.__array_namespace__().asarray(np.concatenate([*parts, np.zeros(widths[-1] + 1)]))
    with jax.enable_x64(True):
        return Trained(weights, _adam(1.0).init(weights))


def hidden(weights: Array, widths: tuple[int, ...], x: Array) -> Array:
    """Returns f64[B, H], the last hidden layer for f64[B, D]."""
    import jax

    start = 0
    for outputs in widths:
        end = start + x.shape[1] * outputs
        x = jax.nn.relu(x @ weights[start:end].reshape(-1, outputs) + weights[None, end : end + outputs])
        start = end + outputs
    return x


def _log_odds(weights: Array, widths: tuple[int, ...], x: Array) -> Array:
    return hidden(weights, widths, x) @ weights[-widths[-1] - 1 : -1] + weights[-1]


def chances(weights: Array, widths: tuple[int, ...], x: Array) -> Array:
    """Returns f64[B], the predicted chances for f64[B, D]."""
    import jax

    return jax.nn.sigmoid(_log_odds(weights, widths, x))


def step(network: Trained, widths: tuple[int, ...], x: Array, targets: Array, counts: Array, rate: float) -> Trained:
    """Takes one step of Adam down the log loss, each of B rounds counted as often as `counts` says."""
    import jax
    import optax

    def loss(weights: Array) -> Array:
        return (counts * optax.losses.sigmoid_binary_cross_entropy(_log_odds(weights, widths, x), targets)).mean()

    slopes = jax.grad(loss)(network.weights)
    with jax.numpy_dtype_promotion("standard"):  # Optax counts in int32 and decays in floats
        change, optimiser = _adam(rate).update(slopes, network.optimiser)
    return Trained(network.weights + change, optimiser)
