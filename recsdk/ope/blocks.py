"""A log in blocks that do not depend on the chunks it came in, each checked beside the target policy."""

from __future__ import annotations

import functools
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np

from recsdk.arrays import padded
from recsdk.base import Context, Interaction
from recsdk.checks import check_log
from recsdk.errors import InvalidLog, InvalidValue, RecsdkError
from recsdk.ope.checked import Rounds, checked_rounds, take
from recsdk.ope.intervals.resampling import ROWS

if TYPE_CHECKING:
    from recsdk.drivers.loop import Engine
    from recsdk.drivers.replay import LearnFrom

BLOCK = ROWS
"""Rounds that are summed up at once. The bootstrap draws the random bytes of such a block from one stream."""

A = TypeVar("A")
B = TypeVar("B")
N = TypeVar("N", Interaction, Rounds)

Block = tuple[int, int, Callable[[], Rounds]]
"""The number of a block's first row, its number of rows, and the function that checks it, which may run in another thread."""


class Walk(NamedTuple):
    """How a target that is a policy is replayed; arguments of `recsdk.replay`."""

    learn_from: LearnFrom
    state: Any
    seed: int
    engine: Engine

    def require_policy(self) -> None:
        """Refuses options that only a policy can have.

        Raises:
            InvalidValue: a state, or something to learn from.
        """
        if self.state is not None or self.learn_from != "none":
            raise InvalidValue("state and learn_from are for a target that is a Policy; this one is given by its probabilities.")


def is_policy(target: Any) -> bool:
    """Tells a policy from an array, a function or a column of a data frame, which may have an `update` too."""
    return hasattr(target, "update") and hasattr(target, "learns_from")


def beside(
    log: Iterable[Any], target: Any, q_hat: Any, walk: Walk, *, matched: np.ndarray | None = None, first_row: int = 0
) -> Iterator[Block]:
    """Yields blocks of a log, each with the part of the target and of the reward model that belongs to it.

    Args:
        log: chunks of interactions; or of `Rounds`, where `target` is None.
        target: an array for all rows, a function from a `Context`, or a policy, which is replayed block by block.
        q_hat: an array, a function or None.
        walk: for a policy.
        matched: bool[T], as in `rounds`.
        first_row: number of the first row in the whole log.

    Raises:
        InvalidValue: chunks that are not `Rounds` where no target is given; a state for a target that is no policy.
    """
    if target is not None and not is_policy(target):
        walk.require_policy()
    state = walk.state
    for row, block in blocks(log, first_row):
        if target is None:
            yield row, len(block.action), functools.partial(_given, row, block)
            continue
        start = row - first_row
        if is_policy(target):
            seed = int(np.random.SeedSequence([walk.seed, row // BLOCK]).generate_state(1)[0])
            state, probs, drawn = replayed(target, block, walk._replace(state=state, seed=seed))
        else:
            probs, drawn = _part_of(target, start, block), _part_of(matched, start, block)
        check = functools.partial(checked_rounds, block, probs, q_hat=_part_of(q_hat, start, block), matched=drawn)
        yield row, len(block.action), functools.partial(_numbered, row, check)


def _given(row: int, block: Any) -> Rounds:
    if not isinstance(block, Rounds):
        raise InvalidValue(f"chunks must be `rounds` where no target is given, got {type(block).__name__} from row {row} on.")
    return block


def replayed(policy: Any, block: Interaction, walk: Walk) -> tuple[Any, np.ndarray, np.ndarray]:
    """Replays a policy; returns its last state, f64[T, K] its distributions, and bool[T] where it drew the logged action."""
    from recsdk.drivers.replay import replay  # it may load JAX, which probabilities do not need

    played = replay(policy, block, **walk._asdict())
    return played.state, np.asarray(played.decision.probs), np.asarray(played.matched)


def _part_of(value: Any, start: int, block: Interaction) -> Any:
    if value is None:
        return None
    return value[start : start + len(block.action)] if hasattr(value, "shape") else value(block.context)


def _numbered(row: int, check: Callable[[], Rounds]) -> Rounds:
    try:
        return check()
    except RecsdkError as error:
        raise type(error)(f"{error} Rows are counted from row {row} of the log.") from error


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
    """Yields the function's result for each item, in order. A few threads work at once, and few items are read ahead."""
    num_threads = min(os.cpu_count() or 1, 8)
    with ThreadPoolExecutor(num_threads) as pool:
        waiting: deque[Future[B]] = deque()
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) > 2 * num_threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


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
    """Joins columns. Those with fewer candidates are padded with zeros, which mean false in a mask."""
    if columns[0].ndim > 1:
        columns = [padded(column, places, axis=1) for column in columns]
        if len({column.shape[1:] for column in columns}) > 1:
            raise InvalidLog(f"chunks must have features of as many columns, got {sorted({column.shape[-1] for column in columns})}.")
    return np.concatenate(columns)
