"""Random numbers made from a counter in the state, for `update`, which has no rng: the same fold gives the same state, on both engines.

References:
    Steele, Lea, Flood, Fast Splittable Pseudorandom Number Generators, OOPSLA 2014, fig. 14: the mixing function of SplitMix64.
"""

from __future__ import annotations

import math
from typing import Any

from recsdk.base import Array

GOLDEN = 0x9E3779B97F4A7C15
MIX = ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB))


def words(counter: Array, stream: int, num: int) -> Array:
    """Returns u64[num] of independent bits, a function of `counter`, i64[] >= 0, and `stream`, >= 0."""
    xp = counter.__array_namespace__()
    places = xp.arange(1, num + 1, dtype=xp.uint64)
    start = _mixed(_mixed(xp.asarray([stream + 1], dtype=xp.uint64)) + xp.reshape(counter, (1,)).astype(xp.uint64))
    return _mixed(start + places * xp.asarray(GOLDEN, dtype=xp.uint64))


def _mixed(word: Array) -> Array:
    xp = word.__array_namespace__()
    for shift, factor in MIX:
        word = (word ^ (word >> xp.asarray(shift, dtype=xp.uint64))) * xp.asarray(factor, dtype=xp.uint64)
    return word ^ (word >> xp.asarray(31, dtype=xp.uint64))


class Counted:
    """A `recsdk.base.Rng` that is a function of a counter."""

    def __init__(self, counter: Array) -> None:
        self._counter = counter
        self._num_used = 0

    def random(self, shape: Any = ()) -> Array:
        """Returns f64[shape], uniform on [0, 1)."""
        shape = () if shape is None else (shape,) if isinstance(shape, int) else tuple(shape)
        xp = self._counter.__array_namespace__()
        self._num_used += 1
        found = words(self._counter, self._num_used, math.prod(shape)) >> xp.asarray(11, dtype=xp.uint64)
        return xp.reshape(found.astype(xp.float64) * 2.0**-53, shape)

    def standard_normal(self, shape: Any = ()) -> Array:
        """Returns f64[shape], independent standard normal, by the method of Box and Muller."""
        xp = self._counter.__array_namespace__()
        radius = xp.sqrt(-2 * xp.log1p(-self.random(shape)))
        return radius * xp.cos(2 * math.pi * self.random(shape))


def next_round(counter: Array, weight: Array) -> Array:
    """Returns the counter after a round of `weight`, which is none when that is 0."""
    xp = counter.__array_namespace__()
    return counter + xp.where(xp.asarray(weight) > 0, 1, 0)
