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

from recsdk.encoders import _content
from recsdk.encoders._bidirectional import BidirectionalShape
from recsdk.encoders._decoder import DecoderShape
from recsdk.encoders._sequences import BEGIN

CALIBRATION = 0.75
"""How far gBCE takes back that drawn negatives make scores too high, from 0, not at all, to 1; as its authors set it."""
MASKING = 2**20
"""Number by which the draw of what is left out differs from those of dropout."""
IDS = 2**21
"""The same, of the draw of ids."""
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

    Where the shape looks both ways, it predicts those that are left out; where it has a decoder, the next few of each place.

    Attributes:
        shape: the architecture: `forward(params, tokens, dropout, dtype)`.
        loss_name: "softmax" over all items; or "sampled", "bce", "gbce" or "bpr" against drawn ones.
        num_negatives: drawn items, shared by a batch.
        is_cosine: whether vectors are brought to length 1.
        temperature: divides the scores.
        dropout: share of a branch that is left out in training.
        dtype: of matrix products, "float32" or "bfloat16".
        num_rows: rows of the tables that count, where rows were added so that devices have equally many; 0 for all.
        id_dropout: share of the items whose ids a step leaves out, where items have features.
    """

    shape: Any
    loss_name: str
    num_negatives: int
    is_cosine: bool
    temperature: float
    dropout: float
    dtype: str
    num_rows: int = 0
    id_dropout: float = 0.0

    def loss(self, params: Any, tokens: jax.Array, key: jax.Array, told: Any = None, there: Any = None) -> jax.Array:
        """Returns the mean loss over the places to be predicted.

        Args:
            params: of the shape; or `Fused`, where there are features.
            tokens: i32[B, T + 1].
            key: of what is left out, and drawn.
            told: f32[R, F], the features of each row's item; None without.
            there: bool[R], the rows that have an item; None for all but `BEGIN`.
        """
        if told is not None:
            kept = jax.random.uniform(jax.random.fold_in(key, IDS), (len(told),)) >= self.id_dropout
            params = _content.fused(params, told, kept.at[BEGIN].set(True).astype(np.float32))
        table = self._items(params)
        if isinstance(self.shape, BidirectionalShape):
            hidden, targets, asked = self._left_out(params, tokens[:, 1:], key)
        elif isinstance(self.shape, DecoderShape):
            hidden, targets, asked = self._ahead(params, tokens, key)
        else:
            targets = tokens[:, 1:]
            hidden, asked = self._users(params, tokens[:, :-1], key), targets != BEGIN
        if self.loss_name == "softmax":
            losses = self._softmax(hidden, table, targets, there)
        else:
            losses = self._against_drawn(hidden, table, targets, jax.random.fold_in(key, 0), there)
        return jnp.where(asked, losses, 0).sum() / jnp.maximum(asked.sum(), 1)

    def metric(self, params: Any, cases: Validation, told: Any = None, there: Any = None) -> jax.Array:
        """Returns the mean NDCG at 10 over the cases, of a full ranking without `seen`; of items that score alike half come first."""
        params = params if told is None else _content.fused(params, told)
        table = self._items(params)

        def part(some: Validation) -> jax.Array:
            hidden = self.shape.forward(params, some.tokens, dtype=self._dtype())
            users = self._scaled(hidden[jnp.arange(len(some.last)), some.last])
            scores = self._scores(users, table, there)
            own = jnp.take_along_axis(scores, some.target[:, None], axis=1)
            is_target = jnp.arange(len(table))[None] == some.target[:, None]
            scores = jnp.where(some.seen | is_target, -jnp.inf, scores)
            above = (~(scores < own)).sum(axis=1) - (scores == own).sum(axis=1) / 2  # half of those alike; all, where it is NaN
            return jnp.where(above < 10, 1 / jnp.log2(2.0 + above), 0) * some.weight

        size = min(CASES_AT_ONCE, len(cases.last))
        parts = jax.tree.map(lambda array: array.reshape(-1, size, *array.shape[1:]), cases)
        total: jax.Array = jax.lax.map(part, parts).sum()
        mean: jax.Array = total / cases.weight.sum()
        return mean

    def _left_out(self, params: Any, items: jax.Array, key: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Leaves out a share of the items and always the last; returns the vectors to guess by, the items, and which to guess."""
        there = items != BEGIN
        is_last = jnp.arange(items.shape[1])[None] == there.sum(axis=1)[:, None] - 1
        drawn = jax.random.uniform(jax.random.fold_in(key, MASKING), items.shape) < self.shape.mask_share
        asked = there & (drawn | is_last)
        hidden = self.shape.fill(params, jnp.where(asked, BEGIN, items), there, self._dropout(key), self._dtype())
        return self._scaled(hidden), items, asked

    def _ahead(self, params: Any, tokens: jax.Array, key: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Returns the vectors that tell the next items of each place, those items, and which of them are there; step after step."""
        length = tokens.shape[1] - 1
        padded = jnp.pad(tokens, ((0, 0), (0, self.shape.num_ahead - 1)), constant_values=BEGIN)
        following = [padded[:, step : step + length] for step in range(1, self.shape.num_ahead + 1)]
        told = self.shape.ahead(params, tokens[:, :-1], following[:-1], self._dropout(key), self._dtype())
        targets = jnp.concatenate(following, axis=1)
        return self._scaled(jnp.concatenate(told, axis=1)), targets, targets != BEGIN

    def _users(self, params: Any, tokens: jax.Array, key: jax.Array) -> jax.Array:
        return self._scaled(self.shape.forward(params, tokens, self._dropout(key), self._dtype()))

    def _dropout(self, key: jax.Array) -> Any:
        calls = itertools.count(1)
        least = round(256 * self.dropout)  # a byte per unit: random bits are a good part of a step's time

        def dropout(branch: jax.Array) -> jax.Array:
            kept = jax.random.bits(jax.random.fold_in(key, next(calls)), branch.shape, jnp.uint8) >= least
            return jnp.where(kept, branch * np.float32(256 / (256 - least)), 0)

        return dropout if least else None

    def _items(self, params: Any) -> jax.Array:
        table = params.output if len(params.output) else params.table
        return _unit(table) if self.is_cosine else table

    def _scaled(self, hidden: jax.Array) -> jax.Array:
        return (_unit(hidden) if self.is_cosine else hidden) / np.float32(self.temperature)

    def _dtype(self) -> Any:
        return jnp.bfloat16 if self.dtype == "bfloat16" else np.float32

    def _scores(self, users: jax.Array, table: jax.Array, there: Any) -> jax.Array:
        """Returns f32[..., R], very low for rows that are no item."""
        dtype = self._dtype()
        scores = jnp.matmul(users.astype(dtype), table.astype(dtype).T, preferred_element_type=jnp.float32)
        row = jnp.arange(len(table)).reshape((1,) * (scores.ndim - 1) + (-1,))
        # No `scores.at[].set`: on tables that lie on several devices XLA's CPU sets other columns too.
        is_item = (row != BEGIN) & (row < (self.num_rows or len(table)))
        return jnp.where(is_item if there is None else is_item & there, scores, NEVER)

    def _softmax(self, hidden: jax.Array, table: jax.Array, targets: jax.Array, there: Any) -> jax.Array:
        losses: jax.Array = optax.softmax_cross_entropy_with_integer_labels(self._scores(hidden, table, there), targets)
        return losses

    def _against_drawn(self, hidden: jax.Array, table: jax.Array, targets: jax.Array, key: jax.Array, there: Any = None) -> jax.Array:
        """Returns f32[B, T], the loss against items drawn alike from all, where the target counts for none of them."""
        num, xp = self.num_negatives, np if there is None else jnp
        rank = None if there is None else jnp.cumsum(there)  # of each row that has an item
        num_items: Any = (self.num_rows or len(table)) - 1 if rank is None else rank[-1]
        drawn = jax.random.randint(key, (num,), 1, num_items + 1, dtype=jnp.int32)
        drawn = drawn if rank is None else rank.searchsorted(drawn)
        dtype = self._dtype()
        own = (hidden * table[targets]).sum(axis=2, keepdims=True)
        others = jnp.matmul(hidden.astype(dtype), table[drawn].astype(dtype).T, preferred_element_type=jnp.float32)
        if self.loss_name == "sampled":
            others = others + xp.float32(xp.log(num_items / num))  # each stands for many: the logQ correction
        others = jnp.where(targets[:, :, None] == drawn, -jnp.inf, others)
        if self.loss_name == "sampled":  # an estimate of the cross-entropy
            return jax.nn.logsumexp(jnp.concatenate([own, others], axis=2), axis=2) - own[:, :, 0]
        if self.loss_name == "bpr":
            return jax.nn.softplus(others - own).sum(axis=2) / num
        rate = xp.minimum(num / xp.maximum(num_items - 1, 1), 1.0)
        power = 1 - CALIBRATION * (1 - rate) if self.loss_name == "gbce" else 1.0
        losses: jax.Array = (xp.float32(power) * jax.nn.softplus(-own[:, :, 0]) + jax.nn.softplus(others).sum(axis=2)) / (num + 1)
        return losses


@functools.partial(jax.jit, static_argnums=0)
def users(objective: NextItem, params: Any, tokens: jax.Array, last: jax.Array) -> jax.Array:
    """Returns f32[B, D], each user's vector at the end of the history, before its scaling; of length 1 with cosine."""
    hidden: jax.Array = objective.shape.forward(params, tokens)[jnp.arange(len(last)), last]
    return _unit(hidden) if objective.is_cosine else hidden


def _unit(vectors: jax.Array) -> jax.Array:
    return vectors / jnp.sqrt((vectors * vectors).sum(axis=-1, keepdims=True) + np.float32(SMALLEST_SQUARE))
