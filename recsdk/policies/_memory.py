"""A memory of the last rounds, for experience replay."""

from __future__ import annotations

from typing import Any, NamedTuple

from recsdk import arrays
from recsdk.base import Array

GOLDEN = 0.6180339887498949
"""Its multiples, modulo 1, fill the unit interval evenly, wherever one stops: replayed rounds need no random numbers."""


class Memory(NamedTuple):
    """A ring of rounds.

    Attributes:
        rows: f64[M, W], one row a round, its weight included; zeros where there was no round yet.
        count: i64[], number of rounds ever kept.
    """

    rows: Array
    count: Array


def init(xp: Any, num_rounds: int, width: int) -> Memory:
    """Returns M = `num_rounds` rows of zeros of the array library `xp`."""
    return Memory(xp.zeros((num_rounds, width), dtype=xp.float64), xp.zeros((), dtype=xp.int64))


def others(memory: Memory, num: int) -> Array:
    """Returns f64[num, W], rows spread evenly over what is kept; a function of the number of rounds."""
    xp = memory.rows.__array_namespace__()
    size = memory.rows.shape[0]
    known = xp.where(memory.count < size, memory.count, size)
    turns = (memory.count * num + xp.arange(num)).astype(xp.float64)
    return memory.rows[(turns * GOLDEN % 1.0 * known.astype(xp.float64)).astype(xp.int64)]


def keep(memory: Memory, row: Array, learns: Array, after: Array) -> Memory:
    """Writes a round over the oldest one; where `learns` is false, nothing changes. Consumes `memory`.

    Args:
        memory: what is kept.
        row: f64[W].
        learns: bool[].
        after: f64[W], a row that was read before: the write waits for it in a trace, where XLA would otherwise copy all rows each time.
    """
    xp = row.__array_namespace__()
    place = memory.count % memory.rows.shape[0]
    written = xp.where(learns, row, memory.rows[place]) + 0.0 * after
    return Memory(arrays.put(memory.rows, place, written), memory.count + learns.astype(xp.int64))
