"""The vector at the end of one history, on NumPy: what `TransformerShape.forward` gives there, by the arithmetic that this place needs.

The last layer is asked at the end alone. Arrays have two axes, and are written over where nobody else reads them.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from recsdk.encoders._blocks import NEVER, SMALLEST_VARIANCE, Block, Norm, Transformer


def ending(shape: Any, params: Transformer, rows: np.ndarray, is_causal: bool) -> np.ndarray:
    """Returns f32[D], the vector at the last place.

    Args:
        shape: a `TransformerShape`.
        params: of NumPy.
        rows: i64[T] of the table, T from 1 to L.
        is_causal: whether no place looks at those behind it.
    """
    hidden = params.table[rows] + params.position[: len(rows)]
    ahead = _ahead(shape.max_length)[: len(rows), : len(rows)] if is_causal else None
    for depth, block in enumerate(params.blocks, 1):
        if depth < len(params.blocks):
            hidden += _attention(block, shape.num_heads, _normed(block.attention_norm, hidden), len(rows), ahead)
        else:
            hidden = hidden[-1:] + _attention(block, shape.num_heads, _normed(block.attention_norm, hidden), 1, None)
        hidden += _dense(block, shape.activation, _normed(block.dense_norm, hidden))
    last: np.ndarray = _normed(params.last_norm, hidden[-1:])[0]
    return last


@functools.lru_cache(maxsize=8)
def _ahead(length: int) -> np.ndarray:
    """Returns f32[L, L], what hides later places."""
    hides = np.triu(np.full((length, length), NEVER, np.float32), k=1)
    hides.setflags(write=False)
    return hides


def _attention(block: Block, num_heads: int, hidden: np.ndarray, num_asked: int, ahead: np.ndarray | None) -> np.ndarray:
    """Returns f32[A, D], for the last `num_asked` places, which look at all, but for what `ahead` hides."""
    length, dim = hidden.shape
    width = dim // num_heads
    query = hidden[length - num_asked :] @ block.inward[:, :dim]
    query *= np.float32(1 / np.sqrt(width))
    heads = (hidden @ block.inward[:, dim:]).reshape(length, 2, num_heads, width)
    weights = query.reshape(num_asked, num_heads, width).transpose(1, 0, 2) @ heads[:, 0].transpose(1, 2, 0)
    if ahead is not None:
        weights += ahead
    weights -= weights.max(axis=2, keepdims=True)
    np.exp(weights, out=weights)
    mixed = weights @ heads[:, 1].transpose(1, 0, 2)
    mixed /= weights.sum(axis=2, keepdims=True)
    answer: np.ndarray = mixed.transpose(1, 0, 2).reshape(num_asked, dim) @ block.outward
    return answer


def _dense(block: Block, activation: str, hidden: np.ndarray) -> np.ndarray:
    if activation == "swiglu":
        half = block.up.shape[1] // 2
        gate, raised = hidden @ block.up[:, :half], hidden @ block.up[:, half:]
        gate *= np.float32(0.5)
        raised *= gate
        np.tanh(gate, out=gate)
        gate += 1
        raised *= gate
    else:
        raised = hidden @ block.up
        np.maximum(raised, 0, out=raised)
    answer: np.ndarray = raised @ block.down
    return answer


@functools.lru_cache(maxsize=8)
def _mean(dim: int) -> np.ndarray:
    """Returns f32[D], whose product with a row is the row's mean: quicker than to ask for the mean."""
    shares = np.full(dim, 1 / dim, np.float32)
    shares.setflags(write=False)
    return shares


def _normed(norm: Norm, hidden: np.ndarray) -> np.ndarray:
    dim = hidden.shape[1]
    centred: np.ndarray = hidden - (hidden @ _mean(dim))[:, None]
    deviation = np.vecdot(centred, centred)
    deviation /= np.float32(dim)
    deviation += np.float32(SMALLEST_VARIANCE)
    np.sqrt(deviation, out=deviation)
    centred /= deviation[:, None]
    centred *= norm.scale
    centred += norm.bias
    return centred
