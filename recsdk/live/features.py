"""phi, what a policy sees of a candidate: [deep score, every scorer's columns, user * item, 1].

The deep score is the inner product of the user's and the item's vector, so it is the sum of the elementwise products:
collinear by design. A ridge settles it, and needs both: the score carries the prior that the deep model is right, the
products carry the corrections. Without an encoder phi is [columns, 1].

Everything is computed in float32, as the models compute, and cast to float64 once, here: a ledger that keeps phi as
float32 loses nothing.
"""

from __future__ import annotations

import numpy as np


def phi(user: np.ndarray, items: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Builds the features of K candidates; a candidate's row does not depend on the other candidates.

    Args:
        user: f32[dim], dim 0 without an encoder.
        items: f32[K, dim].
        columns: f32[K, C], what the scorers say.

    Returns:
        f64[K, D], every value a float32.

    Example:
        >>> half = np.array([0.5, 2.0], np.float32)
        >>> phi(half, half[None], np.array([[7.0]], np.float32)).tolist()
        [[4.25, 7.0, 0.25, 4.0, 1.0]]
    """
    (num_candidates, dim), num_columns = items.shape, columns.shape[1]
    deep = int(dim > 0)
    row = np.empty((num_candidates, deep + num_columns + dim + 1), np.float32)
    row[:, deep : deep + num_columns] = columns
    row[:, -1] = 1
    if deep:
        products = row[:, 1 + num_columns : -1]
        np.multiply(items, user, out=products)
        products.sum(axis=1, out=row[:, 0])
    return row.astype(np.float64)


def prior(num_columns: int, dim: int) -> np.ndarray:
    """Returns f64[D], the weights of phi before any reward: 1 on the deep score, 0 elsewhere.

    On day one the policy therefore ranks as the deep model does, and a scorer counts for nothing until it has earned it.

    Example:
        >>> prior(num_columns=2, dim=3)  # deep score, two columns, user * item, 1
        array([1., 0., 0., 0., 0., 0., 0.])
    """
    weights = np.zeros(int(dim > 0) + num_columns + dim + 1)
    weights[:1] = dim > 0
    return weights


def names(columns: list[str] | tuple[str, ...], dim: int) -> tuple[str, ...]:
    """Names phi's features.

    Example:
        >>> names(["popularity"], 2)
        ('deep', 'popularity', 'user*item[0]', 'user*item[1]', 'one')
    """
    deep = ("deep",) if dim else ()
    return (*deep, *columns, *(f"user*item[{axis}]" for axis in range(dim)), "one")
