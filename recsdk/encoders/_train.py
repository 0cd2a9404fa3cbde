"""Training of two towers, in Flax and Optax. Importing this imports JAX."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax  # type: ignore[import-untyped]  # its wheel has no type information
from flax import nnx

from recsdk.encoders._batches import Batch, Examples, batch_size, batches, compact, expand
from recsdk.encoders._tower import SMALLEST_SQUARE, Tower

ADAM = optax.scale_by_adam()


class Settings(NamedTuple):
    """Settings of the training; see `TwoTower`."""

    epochs: int
    batch_size: int
    learning_rate: float
    temperature: float
    progress: bool | None


class Trained(NamedTuple):
    """Result of training.

    Attributes:
        user: tower.
        item: tower.
        losses: f32[epochs, steps], NaN for a step that was not taken since its loss or gradient was not finite.
    """

    user: Tower
    item: Tower
    losses: np.ndarray


class Module(nnx.Module):
    """`recsdk.encoders._tower.forward`, differentiable."""

    def __init__(self, tower: Tower) -> None:
        self.table = nnx.Param(jnp.asarray(tower.table))
        self.weights = nnx.List([nnx.Param(jnp.asarray(weight)) for weight in tower.weights])
        self.biases = nnx.List([nnx.Param(jnp.asarray(bias)) for bias in tower.biases])

    def __call__(self, bucket: jax.Array, weight: jax.Array) -> jax.Array:
        """Returns f32[B, dim] of length 1 from padded bags."""
        total = hidden = (self.table[bucket] * weight[..., None]).sum(axis=1)
        for layer, (matrix, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            hidden = (hidden if layer == 0 else nnx.relu(hidden)) @ matrix[...] + bias[None]
        output = total + hidden
        return output / jnp.sqrt((output * output).sum(axis=1, keepdims=True) + SMALLEST_SQUARE)

    def numpy(self, tower: Tower) -> Tower:
        """Returns `tower` with these parameters."""
        weights = tuple(np.asarray(weight[...]) for weight in self.weights)
        return tower._replace(
            table=np.asarray(self.table[...]), weights=weights, biases=tuple(np.asarray(bias[...]) for bias in self.biases)
        )


def train(user: Tower, item: Tower, examples: Examples, settings: Settings, seed: int) -> Trained:
    """Fits both towers to what was taken; every step that is not finite is skipped, and leaves the parameters as they were."""
    small_user, small_item = compact(user, examples.users), compact(item, examples.items)
    examples = examples._replace(users=small_user.bags, items=small_item.bags)
    graph, params = nnx.split((Module(small_user.tower), Module(small_item.tower)))
    moments = ADAM.init(params)
    size = batch_size(len(examples.item), settings.batch_size)
    num_steps = -(-len(examples.item) // size)
    losses = []
    # Optax adds numbers of different types: an application that forbids this must still be able to train.
    with _bar(settings.epochs * num_steps, settings.progress) as advance, jax.numpy_dtype_promotion("standard"):
        for step, batch in enumerate(batches(examples, size, num_steps, settings.epochs, np.random.default_rng(seed))):
            rate = settings.learning_rate * (1 - step / (settings.epochs * num_steps))
            params, moments, loss = _step(graph, params, moments, batch, np.float32(rate), np.float32(settings.temperature))
            losses.append(loss)
            advance()
    trained_user, trained_item = nnx.merge(graph, params)
    return Trained(
        expand(trained_user.numpy(small_user.tower), small_user, user),
        expand(trained_item.numpy(small_item.tower), small_item, item),
        np.asarray(jax.device_get(losses), np.float32).reshape(settings.epochs, num_steps),
    )


def softmax_loss(scores: Any, item: Any, weight: Any, exposure: Any, log_count: Any) -> Any:
    """Estimates the weighted cross-entropy of each row's own item against the whole catalogue, from C columns.

    A column that is expected `count` times stands for 1 / count of its item (the logQ correction), a row's own item for itself, once.
    Without the correction popular items, which are often columns, would be pushed down for being popular.

    Args:
        scores: f32[B, C], inner products over the temperature.
        item: i32[C], B of the rows' own first.
        weight: f32[B].
        exposure: f32[C], see `Examples`.
        log_count: f32[C], see `Batch`.

    References:
        Yi et al., Sampling-Bias-Corrected Neural Modeling for Large Corpus Item Recommendations, RecSys 2019, section 4;
        Yang et al., Mixed Negative Sampling for Learning Two-tower Neural Networks in Recommendations, WWW 2020.
    """
    num_rows = len(weight)
    row = jnp.arange(num_rows)
    own = row[:, None] == jnp.arange(len(item))[None]
    again = (item[:num_rows, None] == item[None]) & ~own
    logits = scores + exposure[None] - jnp.where(own, 0, log_count[None])
    log_probs = jax.nn.log_softmax(jnp.where(again, -jnp.inf, logits), axis=1)
    return -(weight * log_probs[row, row]).sum() / weight.sum()


@functools.partial(jax.jit, static_argnums=0, donate_argnums=(1, 2))
def _step(graph: Any, params: Any, moments: Any, batch: Batch, rate: Any, temperature: Any) -> Any:
    def loss_of(params: Any) -> Any:
        user, item = nnx.merge(graph, params)
        scores = user(*batch.users) @ item(*batch.items).T / temperature
        return softmax_loss(scores, batch.item, batch.weight, batch.exposure, batch.log_count)

    loss, gradient = jax.value_and_grad(loss_of)(params)
    direction, new_moments = ADAM.update(gradient, moments)
    new_params = optax.apply_updates(params, jax.tree.map(lambda leaf: -rate * leaf, direction))
    finite = jnp.isfinite(loss) & jnp.isfinite(sum(jnp.vdot(leaf, leaf) for leaf in jax.tree.leaves(direction)))
    params, moments = jax.tree.map(lambda new, old: jnp.where(finite, new, old), (new_params, new_moments), (params, moments))
    return params, moments, jnp.where(finite, loss, jnp.nan)


@contextmanager
def _bar(total: int, progress: bool | None) -> Iterator[Callable[[], None]]:
    """Shows a bar on stderr, where that is a terminal or `progress` says so."""
    if not (sys.stderr.isatty() if progress is None else progress):
        yield lambda: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True)) as bar:
        task = bar.add_task("training two-tower", total=total)
        yield lambda: bar.advance(task)
