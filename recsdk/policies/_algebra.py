"""The algebra of ridge beliefs: they add up, can be weighed, and taken apart again.

Beyond the prior, the precision, and the precision times the mean, are sums over rounds. The functions here go from the square root to these
sums, add or subtract, and take a square root again; that is O(D^3), and exact up to rounding.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from recsdk.base import Array
from recsdk.checks import require_number
from recsdk.errors import InvalidValue
from recsdk.policies._ridge import Ridge

ROUNDING = 1e-9
"""Relative to the whole: what is left of a belief may by rounding be that much less than nothing."""


class _Sums(NamedTuple):
    """What adds up.

    Attributes:
        gram: f64[D, D], sum_t w_t x_t x_t^T.
        moment: f64[D], sum_t w_t x_t (r_t - x_t.prior).
        total: f64[], sum_t w_t.
    """

    gram: Array
    moment: Array
    total: Array


def merge(a: Ridge, b: Ridge) -> Ridge:
    """Returns the belief of one who has seen the rounds of both; O(D^3).

    Raises:
        InvalidValue: on NumPy, when the two did not start from one prior.
    """
    _require_one_prior(a, b)
    one, other = _sums(a), _sums(b)
    return _solved(_Sums(one.gram + other.gram, one.moment + other.moment, one.total + other.total), a)


def weigh(state: Ridge, weight: float) -> Ridge:
    """Returns the belief with every round at `weight` times its weight, the prior as it is; O(D^3).

    Raises:
        InvalidValue: on NumPy, when `weight` is negative or not finite.
    """
    if isinstance(state.root, np.ndarray):
        require_number("weight", weight, at_least=0)
    sums = _sums(state)
    return _solved(_Sums(weight * sums.gram, weight * sums.moment, weight * sums.total), state)


def subtract(whole: Ridge, part: Ridge) -> Ridge:
    """Returns the belief without the rounds of `part`, which `whole` has seen among others; O(D^3).

    Raises:
        InvalidValue: on NumPy, when the two did not start from one prior, or `part` has rounds that `whole` has not.
    """
    _require_one_prior(whole, part)
    one, other = _sums(whole), _sums(part)
    rest = _Sums(one.gram - other.gram, one.moment - other.moment, one.total - other.total)
    if isinstance(rest.gram, np.ndarray):
        least = float(np.linalg.eigvalsh(rest.gram).min())
        rounding = min(ROUNDING * (float(np.trace(one.gram)) + float(whole.ridge)), float(whole.ridge) / 2)
        if least < -rounding or rest.total < -ROUNDING * (1 + one.total):
            raise InvalidValue(
                f"part must hold only rounds that whole has seen, got one of weight {part.total} for a whole of {whole.total}, "
                f"which leaves {least:.3g} as the least eigenvalue of what must be a sum of squares."
            )
    return _solved(rest, whole)


def _require_one_prior(a: Ridge, b: Ridge) -> None:
    if isinstance(a.root, np.ndarray) and not (np.array_equal(a.prior, b.prior) and a.ridge == b.ridge):
        raise InvalidValue(f"the states must have one prior and ridge, got {a.prior} of {a.ridge} and {b.prior} of {b.ridge}.")


def _sums(state: Ridge) -> _Sums:
    xp = state.root.__array_namespace__()
    half = xp.linalg.inv(state.root)
    precision = half.T @ half
    prior_precision = state.ridge * xp.eye(precision.shape[0], dtype=xp.float64)
    return _Sums(precision - prior_precision, half.T @ (half @ (state.mean - state.prior)), state.total)


def _solved(sums: _Sums, like: Ridge) -> Ridge:
    xp = like.root.__array_namespace__()
    gram, moment, total = sums
    half = xp.linalg.cholesky(gram + like.ridge * xp.eye(gram.shape[0], dtype=xp.float64))
    root = xp.linalg.inv(half).T
    return Ridge(like.prior + root @ (root.T @ moment), root, like.prior, like.ridge, total)
