"""Semantic ids: items as short words of codes, so that items with like vectors have words that begin alike."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from recsdk.arrays import largest
from recsdk.checks import require_integer
from recsdk.errors import InvalidValue

BLOCK = 1024
"""Rows at a time: their distances to all centroids stay in the cache of a core, or near it."""


class Codebook(NamedTuple):
    """Centroids by which a vector becomes a word: the nearest of the first level, then the nearest to what is left, and so on.

    Attributes:
        centroids: f32[levels, size, dim].

    Example:
        >>> book = Codebook(np.array([[[0, 0], [4, 0]], [[0, 1], [0, -1]]], np.float32))
        >>> encode(book, np.array([[4.2, 0.8], [0.1, -2]], np.float32)).tolist()
        [[1, 0], [0, 1]]
    """

    centroids: np.ndarray

    @property
    def levels(self) -> int:
        """How many codes a word has."""
        return len(self.centroids)

    @property
    def size(self) -> int:
        """How many codes there are at each level."""
        return int(self.centroids.shape[1])


def fit(vectors: Any, *, levels: int = 3, size: int = 256, num_rounds: int = 10, num_sampled: int = 65_536, seed: int = 0) -> Codebook:
    """Makes a codebook by residual k-means.

    Args:
        vectors: f32[N, dim] of items.
        levels: codes of a word. Two levels of 256 tell 65,536 words apart, three 16.7 million.
        size: codes at each level.
        num_rounds: of Lloyd's algorithm at each level.
        num_sampled: how many vectors are looked at, drawn at random where there are more.
        seed: of what is drawn.

    Returns:
        A codebook, the same for the same arguments.

    Raises:
        InvalidValue: an argument out of its range, or vectors that are not finite, or none.

    Example:
        >>> vectors = np.random.default_rng(0).standard_normal((1000, 8)).astype(np.float32)
        >>> book = fit(vectors, levels=2, size=16)
        >>> book.centroids.shape, encode(book, vectors[:1]).shape
        ((2, 16, 8), (1, 2))

    References:
        Chen, Guan, Wang, Approximate Nearest Neighbor Search by Residual Vector Quantization, Sensors 2010.
        Rajput et al., Recommender Systems with Generative Retrieval, NeurIPS 2023, on such words as ids of items.
    """
    for name, value, least in (("levels", levels, 1), ("size", size, 2), ("num_rounds", num_rounds, 1), ("num_sampled", num_sampled, 1)):
        require_integer(name, value, at_least=least)
    if size**levels > 2**62:
        raise InvalidValue(f"size ** levels must be at most 2 ** 62, got {size} ** {levels}.")
    vectors = checked("vectors", vectors)
    if not len(vectors):
        raise InvalidValue("vectors must have at least one row, got none.")
    rng = np.random.default_rng(seed)
    drawn = np.sort(rng.choice(len(vectors), num_sampled, replace=False)) if len(vectors) > num_sampled else slice(None)
    left, centroids = vectors[drawn].copy(), []
    for _ in range(levels):
        found = _k_means(left, size, num_rounds, rng)
        left -= found[_nearest(found, left)]
        centroids.append(found)
    return Codebook(np.stack(centroids))


def encode(book: Codebook, vectors: Any) -> np.ndarray:
    """Returns i64[N, levels], the word of each vector; also of one that came after the fit. Of equally near centroids it takes the first.

    Raises:
        InvalidValue: vectors of another width, or not finite.

    Example:
        >>> book = Codebook(np.array([[[0.0], [10.0]]], np.float32))
        >>> encode(book, np.array([[7.0], [2.0]], np.float32)).tolist()
        [[1], [0]]
    """
    left = checked("vectors", vectors, book.centroids.shape[2]).copy()
    words = np.empty((len(left), book.levels), np.int64)
    for level, centroids in enumerate(book.centroids):
        words[:, level] = _nearest(centroids, left)
        left -= centroids[words[:, level]]
    return words


def checked(name: str, vectors: Any, dim: int | None = None) -> np.ndarray:
    """Returns float32[N, dim], finite.

    Raises:
        InvalidValue: naming the argument, and the first bad row.
    """
    array = np.asarray(vectors)
    if array.dtype != np.float32 or array.ndim != 2 or array.shape[1] != (array.shape[1] if dim is None else dim):
        raise InvalidValue(f"{name} must be float32[N, {'dim' if dim is None else dim}], got {array.dtype}{list(array.shape)}.")
    if not np.isfinite(array.sum(dtype=np.float64)):
        row = int((~np.isfinite(array)).any(axis=1).argmax())
        raise InvalidValue(f"{name} must be finite, got {array[row]!r:.200} in row {row}.")
    return array


def _k_means(rows: np.ndarray, size: int, num_rounds: int, rng: np.random.Generator) -> np.ndarray:
    """Returns f32[size, dim]. With fewer rows than centroids some of these are equal, and no vector is nearest to the later ones."""
    centroids = np.resize(rows[rng.permutation(len(rows))[:size]], (size, rows.shape[1]))
    for _ in range(num_rounds):
        code = _nearest(centroids, rows)
        order = np.argsort(code, kind="stable")
        used, starts, counts = np.unique(code[order], return_index=True, return_counts=True)
        means = np.add.reduceat(rows[order], starts, axis=0, dtype=np.float64) / counts[:, None]
        unused = np.setdiff1d(np.arange(size), used)
        error = np.square(rows - centroids[code]).sum(axis=1)
        centroids[used] = means
        far = largest(error, min(len(unused), int(np.count_nonzero(error))))  # a centroid that none is nearest to goes where it is missed
        centroids[unused[: len(far)]] = rows[far]
    return centroids


def _nearest(centroids: np.ndarray, rows: np.ndarray) -> np.ndarray:
    half = 0.5 * np.square(centroids).sum(axis=1)
    blocks = [(rows[start : start + BLOCK] @ centroids.T - half).argmax(axis=1) for start in range(0, len(rows), BLOCK)]
    return np.concatenate([np.zeros(0, np.int64), *blocks])
