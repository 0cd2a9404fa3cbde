"""One tower in NumPy: for serving, where a compiled call would cost more than the arithmetic."""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import numpy as np

from recsdk.encoders._bags import Bags, Columns, columns_of

CHUNK = 4096
SMALLEST_SQUARE = 1e-12


class Tower(NamedTuple):
    """From features to a vector of length 1.

    Attributes:
        columns: the features it knows.
        table: f32[num_buckets, dim], what each bucket adds to the sum.
        weights: f32[inputs, outputs] of each layer; the last gives dim outputs.
        biases: f32[outputs] of each layer.
    """

    columns: Columns
    table: np.ndarray
    weights: tuple[np.ndarray, ...]
    biases: tuple[np.ndarray, ...]


def initial(rng: np.random.Generator, num_buckets: int, dim: int, hidden: tuple[int, ...]) -> Tower:
    """Returns a tower before training: small buckets, so that one never seen changes little, and He's initial layers."""
    widths = [dim, *hidden, dim]
    table = rng.standard_normal((num_buckets, dim), dtype=np.float32) * np.float32(0.1 / np.sqrt(dim))
    weights = [
        rng.standard_normal((inputs, outputs), dtype=np.float32) * np.float32(np.sqrt(2 / inputs)) for inputs, outputs in pairwise(widths)
    ]
    biases = [np.zeros(outputs, np.float32) for outputs in widths[1:]]
    return Tower(columns_of(()), table, tuple(weights), tuple(biases))


def forward(tower: Tower, bags: Bags) -> np.ndarray:
    """Returns f32[B, dim] of length 1. A row's vector does not depend on the others, to the last bit."""
    size = len(bags.start)
    if size == 0:
        return np.zeros((0, tower.table.shape[1]), np.float32)
    if size <= CHUNK:
        return _forward(tower, bags)
    return np.concatenate([_forward(tower, _part(bags, row, min(row + CHUNK, size))) for row in range(0, size, CHUNK)])


def _forward(tower: Tower, bags: Bags) -> np.ndarray:
    entries = tower.table[bags.bucket] * bags.weight[:, None]
    total = np.add.reduceat(entries, bags.start, axis=0)
    # One vector-matrix product per row, and not one of matrices: the latter's rounding depends on the number of rows.
    hidden = total[:, None, :]
    for layer, (weight, bias) in enumerate(zip(tower.weights, tower.biases, strict=True)):
        hidden = (hidden if layer == 0 else np.maximum(hidden, 0)) @ weight + bias
    output = total + hidden[:, 0]
    vectors: np.ndarray = output / np.sqrt((output * output).sum(axis=1, keepdims=True) + np.float32(SMALLEST_SQUARE))
    return vectors


def _part(bags: Bags, first: int, last: int) -> Bags:
    begin = bags.start[first]
    end = bags.start[last] if last < len(bags.start) else len(bags.bucket)
    return Bags(bags.bucket[begin:end], bags.weight[begin:end], bags.start[first:last] - begin)
