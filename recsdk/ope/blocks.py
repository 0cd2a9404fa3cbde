"""A log in blocks that do not depend on the chunks it came in, each checked beside the target policy."""

from __future__ import annotations

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
    from recsdk.drivers.replay import Engine, LearnFrom

BLOCK = ROWS
"""Rounds that are summed up at once. The bootstrap draws the random bytes of such a block from one stream."""

A = TypeVar("A")
B = TypeVar("B")
N = TypeVar("N", Interaction, Rounds)

RUN = 8 * BLOCK
"""Rounds that a kernel sums up at once: so many that its calls take no time beside them."""


class Block(NamedTuple):
    """Some rows of a log, with what belongs to them.

    Attributes:
        row: number of the first row in the log.
        given: the rows, an interaction with a leading T or `Rounds`.
        probs: the target's probabilities, None beside `Rounds`.
        q_hat: of a reward model, or None.
        matched: bool[T], where a policy that was replayed chose the logged action, or None.
        is_run: whether a kernel may sum them up; then there may be up to `RUN` of them.
    """

    row: int
    given: Any
    probs: Any = None
    q_hat: Any = None
    matched: Any = None
    is_run: bool = False

    @property
    def num_rounds(self) -> int:
        """Number of rows."""
        return len(self.given.action)

    def rounds(self) -> Rounds:
        """Checks the rows, possibly in another thread.

        Raises:
            InvalidLog, InvalidProbs, InvalidPropensity, InvalidScores: a row that cannot be used, by its number in the log.
            InvalidValue: no `Rounds` where no target is given.
        """
        if self.probs is None:
            return _given(self.row, self.given)
        return _numbered(self.row, lambda: checked_rounds(self.given, self.probs, q_hat=self.q_hat, matched=self.matched))

    def parts(self) -> Iterator[Block]:
        """Yields the same rows in blocks that end at multiples of `BLOCK`."""
        start = 0
        while start < self.num_rounds:
            stop = min(start + BLOCK - (self.row + start) % BLOCK, self.num_rounds)
            probs, q_hat, matched = (None if value is None else value[start:stop] for value in self[2:5])
            yield Block(self.row + start, take(self.given, slice(start, stop)), probs, q_hat, matched)
            start = stop


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
    log: Iterable[Any],
    target: Any,
    q_hat: Any,
    walk: Walk,
    *,
    matched: np.ndarray | None = None,
    first_row: int = 0,
    runs_from: int | None = None,
) -> Iterator[Block]:
    """Yields blocks of a log, each with the part of the target and of the reward model that belongs to it.

    Args:
        log: chunks of interactions; or of `Rounds`, where `target` is None.
        target: an array for all rows, a function from a `Context`, or a policy, which is replayed block by block.
        q_hat: an array, a function or None.
        walk: for a policy.
        matched: bool[T], as in `rounds`.
        first_row: number of the first row in the whole log.
        runs_from: the number of rows after which a kernel may sum up several blocks at once, or None; never the first block.

    Raises:
        InvalidValue: chunks that are not `Rounds` where no target is given; a state for a target that is no policy.
    """
    if target is not None and not is_policy(target):
        walk.require_policy()
    state = walk.state
    for row, block in blocks(log, first_row, runs_from=runs_from):
        start = row - first_row
        is_run = runs_from is not None and start > 0 and start >= runs_from
        if target is None:
            yield Block(row, block, is_run=is_run)
            continue
        if is_policy(target):
            played = []
            for part in Block(row, block).parts():  # each with its own seed, however many are summed up at once
                seed = int(np.random.SeedSequence([walk.seed, part.row // BLOCK]).generate_state(1)[0])
                engine = _engine(target, walk.engine, part.row - first_row + part.num_rounds)
                state, *found = replayed(target, part.given, walk._replace(state=state, seed=seed, engine=engine))
                played.append(found)
            probs, drawn = map(np.concatenate, zip(*played, strict=True))
        else:
            probs, drawn = _part_of(target, start, block), _part_of(matched, start, block)
        yield Block(row, block, probs, _part_of(q_hat, start, block), drawn, is_run)


def _given(row: int, block: Any) -> Rounds:
    if not isinstance(block, Rounds):
        raise InvalidValue(f"chunks must be `rounds` where no target is given, got {type(block).__name__} from row {row} on.")
    return block


def replayed(policy: Any, block: Interaction, walk: Walk) -> tuple[Any, np.ndarray, np.ndarray]:
    """Replays a policy; returns its last state, f64[T, K] its distributions, and bool[T] where it drew the logged action."""
    from recsdk.drivers.replay import replay  # it may load JAX, which probabilities do not need

    played = replay(policy, block, **walk._asdict())
    return played.state, np.asarray(played.decision.probs), np.asarray(played.matched)


def _engine(policy: Any, engine: Engine, num_rounds: int) -> Engine:
    from recsdk.drivers.replay import choose_engine  # as above

    return choose_engine(policy, engine, num_rounds)


def _part_of(value: Any, start: int, block: Interaction) -> Any:
    if value is None:
        return None
    return value[start : start + len(block.action)] if hasattr(value, "shape") else value(block.context)


def _numbered(row: int, check: Callable[[], Rounds]) -> Rounds:
    try:
        return check()
    except RecsdkError as error:
        raise type(error)(f"{error} Rows are counted from row {row} of the log.") from error


def blocks(chunks: Iterable[N], first_row: int = 0, *, runs_from: int | None = None) -> Iterator[tuple[int, N]]:
    """Yields the rows of all chunks in blocks that end at multiples of `BLOCK`, each with the number of its first row.

    From the second block on, if at least `runs_from` rows were before it, they end at multiples of `RUN`.

    Raises:
        InvalidLog: a chunk whose columns are not of one length, or that cannot be joined to the one before.
    """
    waiting: list[N] = []
    row, size = first_row, 0
    for chunk in chunks:
        num_rounds, start = _length(chunk), 0
        while start < num_rounds:
            is_run = runs_from is not None and row > first_row and row - first_row >= runs_from
            length = RUN if is_run else BLOCK
            part = take(chunk, slice(start, start + length - (row + size) % length))
            waiting.append(part)
            start, size = start + len(part.action), size + len(part.action)
            if (row + size) % length == 0:
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
