"""The next item as what to learn: its loss and its ranking metric. Importing this imports JAX."""

from __future__ import annotations

import functools
import itertools
from typing import Any, NamedTuple

import attrs
import jax
import jax.numpy as jnp
import numpy as np
import optax  # type: ignore[import-untyped]  # its wheel has no type information

from recsdk.encoders._sequences import BEGIN

CASES_AT_ONCE = 256
SMALLEST_SQUARE = 1e-12
NEVER = -1e9


class Validation(NamedTuple):
    """V cases, V a multiple of `CASES_AT_ONCE` or below it.

    Attributes:
        tokens: i32[V, T].
        last: i32[V], place of each history's end.
        target: i32[V], row of the item that was taken next.
        seen: bool[V, R], rows that are left out of the ranking.
        weight: f32[V], 1, and 0 for padding.
    """

    tokens: np.ndarray
    last: np.ndarray
    target: np.ndarray
    seen: np.ndarray
    weight: np.ndarray


@attrs.frozen(kw_only=True)
class NextItem:
    """Predicts each item of a sequence from those before it.

    Attributes:
        shape: the architecture: `forward(params, tokens, dropout, dtype)`.
        loss_name: "softmax" over all items, or "sampled".
        num_negatives: of the sampled softmax, shared by a batch.
        is_cosine: whether vectors are brought to length 1.
        temperature: divides the scores.
        dropout: share of a branch that is left out in training.
        dtype: of matrix products, "float32" or "bfloat16".
    """

    shape: Any
    loss_name: str
    num_negatives: int
    is_cosine: bool
    temperature: float
    dropout: float
    dtype: str

    def loss(self, params: Any, tokens: jax.Array, key: jax.Array) -> jax.Array:
        """Returns the mean cross-entropy over the places to be predicted."""
        targets = tokens[:, 1:]
        hidden = self._users(params, tokens[:, :-1], key)
        table = self._items(params)
        if self.loss_name == "softmax":
            losses = self._softmax(hidden, table, targets)
        else:
            losses = self._sampled(hidden, table, targets, jax.random.fold_in(key, 0))
        there = targets != BEGIN
        return jnp.where(there, losses, 0).sum() / jnp.maximum(there.sum(), 1)

    def metric(self, params: Any, cases: Validation) -> jax.Array:
        """Returns the mean NDCG at 10 over the cases, of a full ranking without `seen`."""
        table = self._items(params)

        def part(some: Validation) -> jax.Array:
            hidden = self.shape.forward(params, some.tokens, dtype=self._dtype())
            users = self._scaled(hidden[jnp.arange(len(some.last)), some.last])
            scores = jnp.where(some.seen, -jnp.inf, self._scores(users, table))
            own = jnp.take_along_axis(self._scores(users, table), some.target[:, None], axis=1)
            above = (scores > own).sum(axis=1)
            return jnp.where(above < 10, 1 / jnp.log2(2.0 + above), 0) * some.weight

        size = min(CASES_AT_ONCE, len(cases.last))
        parts = jax.tree.map(lambda array: array.reshape(-1, size, *array.shape[1:]), cases)
        total: jax.Array = jax.lax.map(part, parts).sum()
        mean: jax.Array = total / cases.weight.sum()
        return mean

    def _users(self, params: Any, tokens: jax.Array, key: jax.Array) -> jax.Array:
        calls = itertools.count(1)
        least = round(256 * self.dropout)  # a byte per unit: random bits are a good part of a step's time

        def dropout(branch: jax.Array) -> jax.Array:
            kept = jax.random.bits(jax.random.fold_in(key, next(calls)), branch.shape, jnp.uint8) >= least
            return jnp.where(kept, branch * np.float32(256 / (256 - least)), 0)

        return self._scaled(self.shape.forward(params, tokens, dropout if least else None, self._dtype()))

    def _items(self, params: Any) -> jax.Array:
        table = params.output if len(params.output) else params.table
        return _unit(table) if self.is_cosine else table

    def _scaled(self, hidden: jax.Array) -> jax.Array:
        return (_unit(hidden) if self.is_cosine else hidden) / np.float32(self.temperature)

    def _dtype(self) -> Any:
        return jnp.bfloat16 if self.dtype == "bfloat16" else np.float32

    def _scores(self, users: jax.Array, table: jax.Array) -> jax.Array:
        """Returns f32[..., R], very low for the row that is no item."""
        dtype = self._dtype()
        scores = jnp.matmul(users.astype(dtype), table.astype(dtype).T, preferred_element_type=jnp.float32)
        return scores.at[..., BEGIN].set(NEVER)

    def _softmax(self, hidden: jax.Array, table: jax.Array, targets: jax.Array) -> jax.Array:
        losses: jax.Array = optax.softmax_cross_entropy_with_integer_labels(self._scores(hidden, table), targets)
        return losses

    def _sampled(self, hidden: jax.Array, table: jax.Array, targets: jax.Array, key: jax.Array) -> jax.Array:
        """Estimates the cross-entropy from the target and items drawn alike from all: each stands for many (the logQ correction)."""
        num_items = len(table) - 1
        drawn = jax.random.randint(key, (self.num_negatives,), 1, num_items + 1, dtype=jnp.int32)
        dtype = self._dtype()
        own = (hidden * table[targets]).sum(axis=2, keepdims=True)
        others = jnp.matmul(hidden.astype(dtype), table[drawn].astype(dtype).T, preferred_element_type=jnp.float32)
        others = others + np.float32(np.log(num_items / self.num_negatives))
        others = jnp.where(targets[:, :, None] == drawn, -jnp.inf, others)
        return jax.nn.logsumexp(jnp.concatenate([own, others], axis=2), axis=2) - own[:, :, 0]


@functools.partial(jax.jit, static_argnums=0)
def users(objective: NextItem, params: Any, tokens: jax.Array, last: jax.Array) -> jax.Array:
    """Returns f32[B, D], each user's vector at the end of the history, before its scaling; of length 1 with cosine."""
    hidden: jax.Array = objective.shape.forward(params, tokens)[jnp.arange(len(last)), last]
    return _unit(hidden) if objective.is_cosine else hidden


def _unit(vectors: jax.Array) -> jax.Array:
    return vectors / jnp.sqrt((vectors * vectors).sum(axis=-1, keepdims=True) + np.float32(SMALLEST_SQUARE))
