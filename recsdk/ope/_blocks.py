"""A log in blocks that do not depend on how it came in chunks."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

import numpy as np

from recsdk.arrays import padded
from recsdk.base import Context, Interaction
from recsdk.checks import check_log
from recsdk.errors import InvalidLog
from recsdk.ope.checked import Rounds
from recsdk.ope.intervals.resampling import ROWS

BLOCK = ROWS
"""Rounds that are summed up at once; those of one stream of the bootstrap's random bytes."""

A = TypeVar("A")
B = TypeVar("B")
N = TypeVar("N", Interaction, Rounds)


def blocks(chunks: Iterable[N], first_row: int = 0) -> Iterator[tuple[int, N]]:
    """Yields the rows of all chunks in blocks that end at multiples of `BLOCK`, each with the number of its first row.

    Raises:
        InvalidLog: a chunk whose columns are not of one length, or that cannot be joined to the one before.
    """
    waiting: list[N] = []
    row, size = first_row, 0
    for chunk in chunks:
        num_rounds, start = _length(chunk), 0
        while start < num_rounds:
            part = take(chunk, slice(start, start + BLOCK - (row + size) % BLOCK))
            waiting.append(part)
            start, size = start + len(part.action), size + len(part.action)
            if (row + size) % BLOCK == 0:
                yield row, _joined(waiting)
                row, size, waiting = row + size, 0, []
    if waiting:
        yield row, _joined(waiting)


def in_threads(function: Callable[[A], B], items: Iterable[A]) -> Iterator[B]:
    """Yields what a function says of each item, in order; a few are worked on at once, and no more than that are taken ahead."""
    num_threads = min(os.cpu_count() or 1, 8)
    with ThreadPoolExecutor(num_threads) as pool:
        waiting: deque[Future[B]] = deque()
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) > 2 * num_threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def take(record: N, rows: slice) -> N:
    """Returns some rows of a log or of rounds, without a copy."""

    def part(field: Any) -> Any:
        return None if field is None else Context(*map(part, field)) if isinstance(field, Context) else field[rows]

    return type(record)(*map(part, record))


def _length(chunk: Interaction | Rounds) -> int:
    columns = [*chunk.context, *chunk[1:]] if isinstance(chunk, Interaction) else [column for column in chunk if column is not None]
    lengths = {getattr(column, "shape", ())[:1] for column in columns}
    if len(lengths) > 1 or lengths == {()}:
        if isinstance(chunk, Interaction):
            check_log(chunk)
        raise InvalidLog(f"chunks must have columns of one length, got {sorted(lengths)}.")
    return len(chunk.action)


def _joined(parts: Sequence[N]) -> N:
    if len(parts) == 1:
        return parts[0]
    places = max(_mask(part).shape[1] for part in parts)
    joined: list[Any] = []
    for name, fields in zip(parts[0]._fields, zip(*parts, strict=True), strict=True):
        if isinstance(fields[0], Context):
            joined.append(Context(*(_concatenated(columns, places) for columns in zip(*fields, strict=True))))
        elif (fields[0] is None) != any(field is None for field in fields):
            raise InvalidLog(f"chunks must all have {name}, or none of them.")
        else:
            joined.append(None if fields[0] is None else _concatenated(fields, places))
    return type(parts[0])(*joined)


def _mask(part: Interaction | Rounds) -> np.ndarray:
    mask: np.ndarray = part.context.mask if isinstance(part, Interaction) else part.mask
    return mask


def _concatenated(columns: Sequence[np.ndarray], places: int) -> np.ndarray:
    """Joins columns; those of fewer candidates are padded with zeros, which a mask reads as false."""
    if columns[0].ndim > 1:
        columns = [padded(column, places, axis=1) for column in columns]
        if len({column.shape[1:] for column in columns}) > 1:
            raise InvalidLog(f"chunks must have features of as many columns, got {sorted({column.shape[-1] for column in columns})}.")
    return np.concatenate(columns)
