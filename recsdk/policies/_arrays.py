"""What NumPy does in place or not at all, and a trace does in whole: the two places where policy code cannot be one for both."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import numpy as np

from recsdk import _tree
from recsdk.base import Array

S = TypeVar("S")


def put(array: Array, place: Array, row: Array) -> Array:
    """Returns `array` with `row` at `place` of its first axis. Consumes `array`: NumPy writes into it, unless it is read-only."""
    if not isinstance(array, np.ndarray):
        return array.at[place].set(row)
    if not array.flags.writeable:  # what a compiled replay returns is JAX's memory
        array = array.copy()
    array[place] = row
    return array


def when(condition: Array, change: Callable[[S], S], state: S) -> S:
    """Returns `change(state)` where `condition` bool[] holds, else `state`; a trace computes both."""
    if isinstance(condition, (bool, np.bool_, np.ndarray)):
        return change(state) if condition else state
    xp = condition.__array_namespace__()
    return _tree.tree_map(lambda yes, no: xp.where(condition, yes, no), change(state), state)  # type: ignore[no-any-return]
