"""How a process rounds: the bits of a state are the same only where that is."""

from __future__ import annotations

import hashlib

import numpy as np


def arithmetic() -> str:
    """Returns eight digits that say how this process rounds sums of products: they differ between kernels of the BLAS.

    Example:
        >>> len(arithmetic()), arithmetic() == arithmetic()
        (8, True)
    """
    size = 129  # more than one block of any kernel, no multiple of one, and too little to be shared among threads
    matrix = (np.arange(size * size) * 7919 % 1009 / 1009).reshape(size, size)
    row, corner = matrix[3], matrix[:33, :33]
    products = [matrix.dot(row), row.dot(matrix), np.atleast_1d(row.dot(row)), corner.dot(corner).ravel()]
    return hashlib.sha256(np.concatenate(products).tobytes()).hexdigest()[:8]
