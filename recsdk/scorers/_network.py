"""A network of one hidden layer that predicts rewards, on the shared trainer. Importing this imports JAX."""

from __future__ import annotations

from typing import Any, NamedTuple

import attrs
import jax
import jax.numpy as jnp

from recsdk.encoders.training import Settings, start, train


class Network(NamedTuple):
    """A hidden layer and an output: `relu(x @ inward + bias) @ outward + constant`.

    Attributes:
        inward: f32[D, H].
        bias: f32[H].
        outward: f32[H].
        constant: f32[].
    """

    inward: Any
    bias: Any
    outward: Any
    constant: Any


@attrs.frozen
class SquaredError:
    """The mean squared error of a reward; the metric is that of the validation, negated."""

    def loss(self, params: Network, batch: Any, key: jax.Array) -> jax.Array:
        """Returns f32[], over a batch of `inputs` f32[B, D] and `reward` f32[B]."""
        del key
        hidden = jax.nn.relu(batch["inputs"] @ params.inward + params.bias[None])
        error: jax.Array = jnp.square(hidden @ params.outward + params.constant - batch["reward"]).mean()
        return error

    def metric(self, params: Network, cases: Any) -> jax.Array:
        """Returns f32[], the negated error."""
        return -self.loss(params, cases, jax.random.key(0))


def fitted(params: Network, rows: Any, cases: Any, settings: Settings) -> Network:
    """Returns the parameters that predict the `cases` best, trained on `rows`."""
    best: Network = train(SquaredError(), start(params, settings), rows, cases, settings).best
    return best
