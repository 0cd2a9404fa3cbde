"""Readers of plain rows, as JSON Lines (`.jsonl`, `.jsonl.gz`) or Parquet (`.parquet`).

Three kinds of row:

    items    {"id": "sku-3", "price": 9.5, "tags": ["new"], "added": 1700000000}
    events   {"item": "sku-3", "reward": 1, "time": 1700000123, "user_id": "u17", "device": "phone"}
    log      {"features": [[1, 0.3], [1, 0.9]], "action": 1, "reward": 0, "propensity": 0.25}

What else an item's or an event's row holds is a feature: `recsdk.data` says of what kind. A row of a log may also have "weight"
(1 by default) and "item", the catalogue slot of each candidate (0 to K - 1 by default), and nothing else.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np

from recsdk.arrays import stack_rounds
from recsdk.base import Context, Events, Interaction, Items
from recsdk.checks import check_context, check_interaction, require_integer
from recsdk.data import Unit, events_from_rows, items_from_rows
from recsdk.datasets.files import json_object, parquet, text_lines
from recsdk.datasets.frames import log_from_frame
from recsdk.errors import EmptyLog, InvalidLog, InvalidValue, RecsdkError, nearest, quoted
from recsdk.rounding import given_chances

REQUIRED = ("features", "action", "reward", "propensity")
OPTIONAL = ("weight", "item")

R = TypeVar("R")


def read_items(path: str | Path) -> Items:
    r"""Reads a catalogue.

    Raises:
        InvalidLog, InvalidRequest, DuplicateCandidates: naming the line.
        MissingExtra: a Parquet file without polars.

    Example:
        >>> from pathlib import Path
        >>> _ = Path("items.jsonl").write_text('{"id": "tea", "price": 4}\n{"id": "coffee", "price": 5}\n')
        >>> read_items("items.jsonl").features["price"]
        array([4., 5.])
    """
    return _naming_lines(Path(path), items_from_rows)


def read_events(path: str | Path, items: Items, *, time_unit: Unit = "s", unknown_items: Literal["refuse", "skip"] = "refuse") -> Events:
    r"""Reads what happened to `items`, sorted by time; the reward is 1 where a row has none.

    Args:
        path: the file.
        items: the catalogue.
        time_unit: of "time": "s", "ms", "us" or "ns" since the epoch.
        unknown_items: "skip" leaves out events whose item is not in `items`, and warns with their number.

    Raises:
        InvalidLog, InvalidRequest, InvalidReward, UnknownItem: naming the line.
        MissingExtra: a Parquet file without polars.

    Warns:
        IgnoredInput: events were left out.

    Example:
        >>> from pathlib import Path
        >>> _ = Path("items.jsonl").write_text('{"id": "tea"}\n{"id": "coffee"}\n')
        >>> _ = Path("events.jsonl").write_text('{"item": "coffee", "time": 10, "user_id": "ann"}\n')
        >>> events = read_events("events.jsonl", read_items("items.jsonl"))
        >>> events.item, events.reward
        (array([1]), array([1.]))
    """
    return _naming_lines(Path(path), lambda rows: events_from_rows(items, rows, time_unit=time_unit, unknown_items=unknown_items))


def read_log(path: str | Path) -> Interaction:
    r"""Reads logged bandit feedback. Rows may differ in their number of candidates: the shorter are padded.

    Raises:
        EmptyLog: no rows.
        InvalidLog, InvalidContext, InvalidReward, InvalidPropensity, InvalidValue: naming the line.
        MissingExtra: a Parquet file without polars.

    Example:
        >>> from pathlib import Path
        >>> row = '{"features": [[1.0], [0.5]], "action": 1, "reward": 1.0, "propensity": 0.5}\n'
        >>> _ = Path("log.jsonl").write_text(row)
        >>> log = read_log("log.jsonl")
        >>> log.context.features.shape, log.reward
        ((1, 2, 1), array([1.]))
    """
    path = Path(path)
    return stack_rounds(list(_interactions(path)))


def read_log_chunks(path: str | Path, *, num_rows: int = 100_000, num_candidates: int | None = None) -> Iterator[Interaction]:
    r"""Reads a log that memory does not hold, part by part, for `recsdk.ope.accumulate`.

    A Parquet file is read column-wise here, as `log_from_frame` reads a table: much faster, it may lack `features`, and other columns are
    left alone. Chunks are padded to their own largest number of candidates.

    Args:
        path: as for `read_log`.
        num_rows: rows of a chunk.
        num_candidates: K of a Parquet file without `features`; by default the largest action in the file and 1.

    Raises:
        EmptyLog: no rows.
        InvalidLog, InvalidContext, InvalidReward, InvalidPropensity, InvalidValue: naming the line, or the row within a chunk.
        MissingExtra: a Parquet file without polars.

    Example:
        >>> from pathlib import Path
        >>> row = '{"features": [[1.0], [0.5]], "action": 1, "reward": 1.0, "propensity": 0.5}\n'
        >>> _ = Path("log.jsonl").write_text(3 * row)
        >>> [len(chunk.reward) for chunk in read_log_chunks("log.jsonl", num_rows=2)]
        [2, 1]
    """
    require_integer("num_rows", num_rows, at_least=1)
    path = Path(path)
    if path.suffix == ".parquet":
        yield from _parquet_chunks(path, num_rows, num_candidates)
        return
    if num_candidates is not None:
        raise InvalidValue(f"num_candidates must be None where features tell it, got {num_candidates!r}.")
    rows = _interactions(path)
    while chunk := list(itertools.islice(rows, num_rows)):
        yield stack_rounds(chunk)


def _interactions(path: Path) -> Iterator[Interaction]:
    """Yields the rows of a log, checked."""
    dim = line = None
    for line, row in enumerate(rows(path), start=1):
        try:
            interaction = _interaction(row)
        except RecsdkError as error:
            raise type(error)(f"{path}, line {line}: {error}") from error
        width = interaction.context.features.shape[1]
        if width != (dim := width if dim is None else dim):
            raise InvalidLog(f"{path}, line {line}: features must have as many columns as those of line 1.")
        yield interaction
    if line is None:
        raise EmptyLog(f"{path} must have at least one row, got none.")


def _parquet_chunks(path: Path, num_rows: int, num_candidates: int | None) -> Iterator[Interaction]:
    with parquet(path) as polars:
        table = polars.scan_parquet(path)
        names, size = table.collect_schema().names(), table.select(polars.len()).collect().item()
        if num_candidates is None and "features" not in names and "action" in names:
            last = table.select("action").max().collect().item()
            num_candidates = None if last is None else int(last) + 1
    for start in range(0, max(size, 1), num_rows):
        with parquet(path):
            chunk = table.slice(start, num_rows).collect()
        try:
            yield log_from_frame(chunk, num_candidates=num_candidates)
        except RecsdkError as error:
            raise type(error)(f"{path}, rows from {start} on: {error}") from error


def _interaction(row: Mapping[str, Any]) -> Interaction:
    for name in row:
        if name not in (*REQUIRED, *OPTIONAL):
            raise InvalidLog(f"a row must have {REQUIRED} and may have {OPTIONAL}, got {name!r}.{nearest(name, REQUIRED + OPTIONAL)}")
    missing = [name for name in REQUIRED if row.get(name) is None]
    if missing:
        raise InvalidLog(f"a row must have {REQUIRED}, but {missing} are missing.")
    features = _array("features", row["features"], np.float64, 2)
    item = np.arange(len(features)) if row.get("item") is None else _array("item", row["item"], np.int64, 1)
    context = Context(features, np.ones(len(features), np.bool_), item)
    weight = 1.0 if row.get("weight") is None else row["weight"]
    reward, propensity, weight = (
        _array(name, value, np.float64, 0)[()]
        for name, value in (("reward", row["reward"]), ("propensity", row["propensity"]), ("weight", weight))
    )
    propensity = given_chances("propensity", propensity).values[()]
    interaction = Interaction(context, _array("action", row["action"], np.int64, 0)[()], reward, propensity, weight)
    check_context(context)
    check_interaction(interaction)
    return interaction


def _array(name: str, value: Any, dtype: type, num_axes: int) -> np.ndarray:
    try:
        array = np.array(value.tolist() if isinstance(value, np.ndarray) else value)
    except (ValueError, OverflowError):  # rows of unequal length; an integer that no machine type holds
        array = np.array(None)
    kinds = "iu" if dtype is np.int64 else "iuf"
    if array.dtype.kind not in kinds or array.ndim != num_axes:
        shape = {0: "a number", 1: "a list of K numbers", 2: "K lists of D numbers"}[num_axes]
        raise InvalidLog(f"{name} must be {shape}{', whole' if dtype is np.int64 else ''}, got {quoted(value)}.")
    return array.astype(dtype)


def _naming_lines(path: Path, read: Callable[[Iterator[dict[str, Any]]], R]) -> R:
    """Runs a reader that names rows from 0 on, and names lines from 1 on in its errors."""
    try:
        return read(rows(path))
    except RecsdkError as error:
        if str(error).startswith(str(path)):
            raise
        text = re.sub(r"\bin row(s?) (\d+)(?: and (\d+))?", _line, str(error))
        raise type(error)(f"{path}: {text}") from error


def _line(found: re.Match[str]) -> str:
    plural, first, second = found.groups()
    return f"in line{plural} {int(first) + 1}" + (f" and {int(second) + 1}" if second else "")


def rows(path: Path) -> Iterator[dict[str, Any]]:
    """Yields plain rows; one line of JSON is one row, and line n of Parquet is its n-th row."""
    name = path.name.removesuffix(".gz")
    if name.endswith(".jsonl"):
        return _json_rows(path)
    if name.endswith(".parquet") and path.suffix == ".parquet":
        return _parquet_rows(path)
    raise InvalidValue(f"path must end in .jsonl, .jsonl.gz or .parquet, got {str(path)!r}.")


def _json_rows(path: Path) -> Iterator[dict[str, Any]]:
    for number, line in enumerate(text_lines(path), start=1):
        try:
            yield json_object(line)
        except InvalidLog as error:
            raise InvalidLog(f"{path}, line {number}: {error}") from error


def _parquet_rows(path: Path) -> Iterator[dict[str, Any]]:
    with parquet(path) as polars:
        table = polars.read_parquet(path)
    yield from table.iter_rows(named=True)
