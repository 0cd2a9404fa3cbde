"""How a process rounds: the bits of a state are the same only where that is."""

from __future__ import annotations

import hashlib
from importlib.metadata import version
from typing import Any

import numpy as np

from recsdk import fast


def arithmetic(*policies: Any) -> str:
    """Returns eight digits that say how this process rounds: they differ between kernels of the BLAS.

    For policies whose work is done by recsdk's own kernels, they also differ from those without, and between versions of Numba.

    Example:
        >>> import recsdk
        >>> len(arithmetic()), arithmetic() == arithmetic(recsdk.Uniform())
        (8, True)
    """
    size = 129  # more than one block of any kernel, no multiple of one, and too little to be shared among threads
    matrix = (np.arange(size * size) * 7919 % 1009 / 1009).reshape(size, size)
    row, corner = matrix[3], matrix[:33, :33]
    products = [matrix.dot(row), row.dot(matrix), np.atleast_1d(row.dot(row)), corner.dot(corner).ravel()]
    hashed = hashlib.sha256(np.concatenate(products).tobytes())
    if any(map(fast.used, policies)):
        hashed.update(f"numba {version('numba')}".encode())
    return hashed.hexdigest()[:8]
