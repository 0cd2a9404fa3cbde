"""The optimisation behind `recsdk.ope.learn_softmax`. Importing this imports JAX."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax  # type: ignore[import-untyped]  # its wheel has no type information

from recsdk.arrays import require_jax
from recsdk.base import Array

TINY = 1e-30
"""Keeps the slope of a root finite at 0."""
FLAT = 1e-7
"""Slope at which to stop, in standard deviations of the reward per unit of weight."""


class Tables(NamedTuple):
    """A log of which a policy's value is the sum of its probabilities times `gain` over the sum of them times `share`.

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


def loss(weights: Array, log: Tables, penalty: Array, ridge: Array) -> Array:
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
        return loss(weights, log, penalty, ridge)

    def step(carry: Any) -> Any:
        weights, state, _, number = carry
        value, slope = optax.value_and_grad_from_state(here)(weights, state=state)
        move, state = optimizer.update(slope, state, weights, value=value, grad=slope, value_fn=here)
        return optax.apply_updates(weights, move), state, abs(slope).max(), number + 1

    optimizer, first = optax.lbfgs(), jnp.zeros(log.features.shape[2], jnp.float64)
    start = first, optimizer.init(first), jnp.float64(jnp.inf), 0
    return jax.lax.while_loop(lambda carry: (carry[2] > FLAT) & (carry[3] < num_steps), step, start)[0]
