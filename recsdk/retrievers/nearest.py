"""The nearest items of many users at once, exactly: on NumPy, or on the device that holds the vectors."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from recsdk.arrays import BLOCK, on_jax
from recsdk.base import Array
from recsdk.checks import require_integer
from recsdk.errors import InvalidScores, InvalidValue

CHUNK = 64 * BLOCK
"""Items whose scores are made at once: those of some users stay near to the processor."""
NOT_FINITE = "users and vectors must have finite inner products in float32, and have not."


def nearest(users: Array, vectors: Array, size: int, *, allowed: Array | None = None) -> Array:
    """Returns the items with the largest inner products for each user, best first; of equal ones those with the lower row first.

    For candidate lists and mails that are made ahead, and as the truth that an index is measured by. A request that is served asks a
    retriever. NumPy holds the scores of few items at a time, and of all others only those that can still be among the best. JAX makes all
    at once, f32[B, N]: ask for so many users that the device has room for them.

    Args:
        users: f32[B, dim], finite, of NumPy, or of JAX as `vectors`.
        vectors: f32[N, dim], finite.
        size: k, how many items for each.
        allowed: bool[N] or bool[B, N], which items may be found; None for all.

    Returns:
        i64[B, k], rows of `vectors`; of JAX i32[B, k].

    Raises:
        InvalidValue: `size` is no whole number from 1 to the number of items that each user may get, or the shapes do not fit.
        InvalidScores: a product that is not finite.

    Example:
        >>> vectors = np.array([[1, 0], [0, 1], [1, 1]], np.float32)
        >>> nearest(np.array([[1, 0.5], [-1, 2]], np.float32), vectors, 2).tolist()
        [[2, 0], [1, 2]]
    """
    require_integer("size", size, at_least=1)
    if users.ndim != 2 or vectors.ndim != 2 or users.shape[1] != vectors.shape[1]:
        shapes = f"{list(users.shape)} and {list(vectors.shape)}"
        raise InvalidValue(f"users and vectors must be f32[B, dim] and f32[N, dim] of one width, got {shapes}.")
    num_users, num_items = len(users), len(vectors)
    if allowed is not None and allowed.shape not in ((num_items,), (num_users, num_items)):
        raise InvalidValue(
            f"allowed must be bool[{num_items}] or bool[{num_users}, {num_items}], got {allowed.dtype}{list(allowed.shape)}."
        )
    most = num_items if allowed is None else int(allowed.sum(axis=-1).min(initial=num_items))
    if size > most:
        raise InvalidValue(f"size must be at most {most}, the number of items that each user may get, got {size}.")
    if isinstance(vectors, np.ndarray):
        return _on_numpy(users, vectors, size, allowed)
    with on_jax() as jax:
        may = None if allowed is None else jax.numpy.atleast_2d(allowed)
        found, least = _on_jax(_has_many_cores(vectors))(users, vectors, size, may)
        if not jax.numpy.isfinite(least).all():
            raise InvalidScores(NOT_FINITE)
        return found


def _on_numpy(users: np.ndarray, vectors: np.ndarray, size: int, allowed: np.ndarray | None) -> np.ndarray:
    """Passes over the table once. What is not above a user's k-th best so far is left out, a block at a time."""
    num_users, num_items = len(users), len(vectors)
    user, slot, score = (np.zeros(0, kind) for kind in (np.int64, np.int64, np.float32))
    least: np.ndarray | None = None
    for first in range(0, num_items, CHUNK):
        scores = users @ vectors[first : first + CHUNK].T
        if allowed is not None:
            scores = np.where(allowed[..., first : first + CHUNK], scores, np.float32(-np.inf))
        if least is None:  # what is among the best of the first ones may be among all
            reached = np.partition(scores, -size, axis=1)[:, -size] if size <= scores.shape[1] else np.full(num_users, -np.inf, np.float32)
            least = np.nextafter(reached, np.float32(-np.inf))
        above = _above(scores, least)
        user, slot, score = (
            np.concatenate([old, new]) for old, new in zip((user, slot, score), (above[0], first + above[1], above[2]), strict=True)
        )
        if len(user) > 2 * num_users * size or first + CHUNK >= num_items:
            kept = _best(user, slot, score, size)
            user, slot, score = user[kept], slot[kept], score[kept]
            full = np.flatnonzero(np.bincount(user, minlength=num_users) == size)
            last = np.searchsorted(user, full, side="right") - 1
            least[full] = score[last]
    if len(slot) != num_users * size:
        raise InvalidScores(NOT_FINITE)
    return slot.reshape(num_users, size)


def _above(scores: np.ndarray, least: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns user, place and score of all that are above `least` f32[B]. Equal ones are not: those before them are kept already."""
    num_blocks = -(-scores.shape[1] // BLOCK)
    if scores.shape[1] % BLOCK:
        scores = np.pad(scores, ((0, 0), (0, num_blocks * BLOCK - scores.shape[1])), constant_values=-np.inf)
    blocks = scores.reshape(-1, BLOCK)
    best = blocks.max(axis=1).reshape(-1, num_blocks)
    if not (best < np.inf).all():
        raise InvalidScores(NOT_FINITE)
    block = np.flatnonzero(best > least[:, None])
    inside, user = blocks[block], block // num_blocks
    found = np.flatnonzero(inside > least[user, None])
    row, place = found // BLOCK, found % BLOCK
    return user[row], block[row] % num_blocks * BLOCK + place, inside.reshape(-1)[found]


def _best(user: np.ndarray, slot: np.ndarray, score: np.ndarray, size: int) -> np.ndarray:
    """Returns where each user's best are, those of a user together, best first."""
    order = np.lexsort((slot, -score, user))
    user = user[order]
    rank = np.arange(len(user)) - np.searchsorted(user, user, side="left")
    return np.asarray(order[rank < size])


def _has_many_cores(vectors: Array) -> bool:
    """Tells whether two stages are worth it: on a GPU they are many times quicker, and on a processor JAX sorts out the best at once."""
    return any(device.platform != "cpu" for device in vectors.devices())


@functools.cache
def _on_jax(in_blocks: bool) -> Callable[..., Any]:
    import jax
    from jax import lax
    from jax import numpy as jnp

    def best_of_blocks(scores: Array, size: int) -> tuple[Array, Array]:
        """Takes the blocks with the largest maxima, in the order of the rows, then the best of these: so of equals the first win."""
        num_blocks = -(-scores.shape[1] // BLOCK)
        scores = jnp.pad(scores, ((0, 0), (0, num_blocks * BLOCK - scores.shape[1])), constant_values=-jnp.inf)
        blocks = scores.reshape(len(scores), num_blocks, BLOCK)
        taken = jnp.sort(lax.top_k(blocks.max(axis=2), min(size, num_blocks))[1], axis=1)
        inside = jnp.take_along_axis(blocks, taken[:, :, None], axis=1).reshape(len(scores), -1)
        best, place = lax.top_k(inside, size)
        return best, jnp.take_along_axis(taken, place // BLOCK, axis=1) * BLOCK + place % BLOCK

    @functools.partial(jax.jit, static_argnames="size")
    def found(users: Array, vectors: Array, size: int, allowed: Array | None) -> tuple[Array, Array]:
        scores = jnp.matmul(users, vectors.T, precision="highest")
        if allowed is not None:
            scores = jnp.where(allowed, scores, -jnp.inf)
        best, row = best_of_blocks(scores, size) if in_blocks else lax.top_k(scores, size)
        return row, best

    return found
