"""Training on JAX: of the network of `recsdk.ope.MLP`, and of the policy of `recsdk.ope.learn_softmax`. Importing this imports JAX."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax  # type: ignore[import-untyped]  # its wheel has no type information

from recsdk.arrays import require_jax
from recsdk.base import Array

Layers = list[tuple[jax.Array, jax.Array]]


class Rows(NamedTuple):
    """Training data.

    Attributes:
        features: f32[N, D], standardised.
        reward: f32[N], standardised.
        weight: f32[N], of mean 1.
    """

    features: jax.Array
    reward: jax.Array
    weight: jax.Array


def train(
    features: np.ndarray,
    reward: np.ndarray,
    weight: np.ndarray,
    *,
    seed: int,
    hidden: tuple[int, ...],
    num_steps: int,
    batch_size: int,
    learning_rate: float,
    decay: float,
) -> Callable[[np.ndarray], np.ndarray]:
    """Fits the network to standardised features and rewards; the last five are fields of `MLP`."""
    require_jax()
    rng = np.random.default_rng(seed)
    size = min(batch_size, len(reward))
    num_rows = num_steps * size
    orders = [rng.permutation(len(reward)) for _ in range(-(-num_rows // len(reward)))]
    batches = np.concatenate(orders)[:num_rows].reshape(num_steps, size).astype(np.int32)
    rows = Rows(*(jnp.asarray(array, jnp.float32) for array in (features, reward, weight)))
    first = _layers(rng, (features.shape[1], *hidden, 1))
    with jax.numpy_dtype_promotion("standard"):  # Optax adds numbers of different types
        layers = _fit(first, rows, batches, jnp.float32(learning_rate), jnp.float32(decay))

    def predict(asked: np.ndarray) -> np.ndarray:
        require_jax()
        return np.asarray(_forward(layers, jnp.asarray(asked, jnp.float32)), np.float64)

    return predict


def _layers(rng: np.random.Generator, widths: tuple[int, ...]) -> Layers:
    layers = []
    for number, (before, after) in enumerate(itertools.pairwise(widths), 2):
        # The last layer begins at 0, and so the network at the mean reward.
        scale = 0.0 if number == len(widths) else np.sqrt(2 / before)
        layers.append((jnp.asarray(scale * rng.normal(size=(before, after)), jnp.float32), jnp.zeros((1, after), jnp.float32)))
    return layers


@jax.jit
def _fit(layers: Layers, rows: Rows, batches: jax.Array, learning_rate: jax.Array, decay: jax.Array) -> Layers:
    optimizer = optax.adamw(learning_rate, weight_decay=decay)

    def step(carry: tuple[Layers, optax.OptState], places: jax.Array) -> tuple[tuple[Layers, optax.OptState], None]:
        layers, moments = carry
        gradient = jax.grad(_loss)(layers, Rows(*(column[places] for column in rows)))
        updates, moments = optimizer.update(gradient, moments, layers)
        return (optax.apply_updates(layers, updates), moments), None

    (layers, _), _ = jax.lax.scan(step, (layers, optimizer.init(layers)), batches)
    return layers


@jax.jit
def _forward(layers: Layers, features: jax.Array) -> jax.Array:
    for matrix, bias in layers[:-1]:
        features = jax.nn.relu(features @ matrix + bias)
    matrix, bias = layers[-1]
    return (features @ matrix + bias)[:, 0]


def _loss(layers: Layers, rows: Rows) -> jax.Array:
    loss: jax.Array = (rows.weight * (_forward(layers, rows.features) - rows.reward) ** 2).mean()
    return loss


TINY = 1e-30
"""Keeps the slope of a root finite at 0."""
FLAT = 1e-7
"""Slope at which to stop, in standard deviations of the reward per unit of weight."""


class Tables(NamedTuple):
    """Tables of a log: a policy's value is sum(probs * gain) / sum(probs * share).

    Attributes:
        features: f64[T, K, D].
        mask: bool[T, K].
        gain: f64[T, K].
        share: f64[T, K].
    """

    features: Array
    mask: Array
    gain: Array
    share: Array


def _objective(weights: Array, log: Tables, penalty: Array, ridge: Array) -> Array:
    """Returns f64[]: `penalty` standard errors by the delta method, less the value, and a ridge on f64[D]."""
    probs = jax.nn.softmax(jnp.where(log.mask, log.features @ weights, -jnp.inf), axis=1)
    gain, share = (probs * log.gain).sum(1), (probs * log.share).sum(1)
    value = gain.sum() / share.sum()
    squares = (((gain - value * share) / share.sum()) ** 2).sum()
    return penalty * jnp.sqrt(squares + TINY) - value + ridge / 2 * (weights @ weights)


def minimum(log: Tables, penalty: float, ridge: float, num_steps: int) -> np.ndarray:
    """Returns f64[D], where L-BFGS leads from weights of 0."""
    require_jax()
    with jax.enable_x64(True), jax.numpy_dtype_promotion("standard"):  # Optax adds numbers of different types
        return np.asarray(_minimum(Tables(*map(jnp.asarray, log)), float(penalty), float(ridge), num_steps))


@jax.jit
def _minimum(log: Tables, penalty: Array, ridge: Array, num_steps: Array) -> Array:
    def here(weights: Array) -> Array:
        return _objective(weights, log, penalty, ridge)

    def step(carry: Any) -> Any:
        weights, state, _, number = carry
        value, slope = optax.value_and_grad_from_state(here)(weights, state=state)
        move, state = optimizer.update(slope, state, weights, value=value, grad=slope, value_fn=here)
        return optax.apply_updates(weights, move), state, abs(slope).max(), number + 1

    optimizer, first = optax.lbfgs(), jnp.zeros(log.features.shape[2], jnp.float64)
    start = first, optimizer.init(first), jnp.float64(jnp.inf), 0
    return jax.lax.while_loop(lambda carry: (carry[2] > FLAT) & (carry[3] < num_steps), step, start)[0]
