"""Rows from outside: sequences of mappings, or data frames of any library, none of which is needed for the others."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from recsdk.base import Table
from recsdk.errors import InvalidRequest, InvalidValue, MissingExtra, RecsdkError, install, nearest


class SetAside(NamedTuple):
    """A row that could not be used.

    Attributes:
        line: where it stood: its line in the file, or its number in a table in memory.
        reason: what is wrong with it.

    Example:
        >>> SetAside(4, "'reward' must be a finite number, got 'good'.").line
        4
    """

    line: int
    reason: str


class Rows(NamedTuple):
    """T rows of plain values by column. `items_from_rows`, `events_from_rows` and `Recommender.open` take them as rows.

    Attributes:
        columns: each f64[T] with NaN where a value is missing, or object[T] of str or of list of str with None where missing.
        line: i64[T], where each row came from: its line in the file, or its number in a table in memory.
        source: the file, or "" for a table in memory.
        set_aside: the rows that were left out since they could not be used.

    Example:
        >>> from recsdk.datasets import read_rows
        >>> rows = read_rows([{"item": "tea", "time": 5, "device": "phone"}])
        >>> rows.columns["item"], rows.to_dicts()
        (array(['tea'], dtype=object), [{'item': 'tea', 'time': 5.0, 'device': 'phone'}])
    """

    columns: Table
    line: np.ndarray
    source: str = ""
    set_aside: tuple[SetAside, ...] = ()

    def to_dicts(self) -> list[dict[str, Any]]:
        """Returns each row as a dict, with None for what is missing."""
        lists = [_plain(column) for column in self.columns.values()]
        return [dict(zip(self.columns, values, strict=True)) for values in zip(*lists, strict=True)]

    def take(self, index: Any) -> Rows:
        """Selects rows: i64[K], a bool[T] mask, or a slice."""
        return self._replace(columns={name: column[index] for name, column in self.columns.items()}, line=self.line[index])

    def where(self, row: int) -> str:
        """Says where a row came from, for messages."""
        line = self.line[row] if row < len(self.line) else row
        return f"line {line} of {self.source}" if self.source else f"row {line}"


def _plain(column: np.ndarray) -> list[Any]:
    values: list[Any] = column.tolist()
    return values if column.dtype == object else [None if value != value else value for value in values]


@contextlib.contextmanager
def naming_lines(rows: Any) -> Iterator[None]:
    """Says in errors where a row of `Rows` came from, instead of its number; of other rows the number is right."""
    try:
        yield
    except RecsdkError as error:
        if not isinstance(rows, Rows):
            raise
        numbers = re.sub(r"\bin rows (\d+) and (\d+)", r"in row \1 and in row \2", str(error))
        raise type(error)(re.sub(r"\bin row (\d+)", lambda found: f"in {rows.where(int(found[1]))}", numbers)) from error


def plain_rows(field: str, given: Any, *, error: type[InvalidValue] = InvalidRequest) -> list[dict[str, Any]]:
    """Returns rows as new dicts.

    Args:
        field: the argument's name, for the message.
        given: an iterable of mappings; or a data frame of pandas or polars, an Arrow table, or whatever gives an Arrow stream.
        error: raised for anything else.

    Raises:
        InvalidRequest: or `error`: something else, such as None, one mapping, text, or a list of texts.
        MissingExtra: an Arrow stream without polars.

    Example:
        >>> plain_rows("items", ["apple"])
        Traceback (most recent call last):
        recsdk.errors.InvalidRequest: items must be rows, each a mapping such as {'id': 'a'}, or a data frame, got 'apple' in row 0.
    """
    wanted = f"{field} must be rows, each a mapping such as {{'id': 'a'}}, or a data frame"
    if isinstance(given, (str, bytes, Mapping)):
        raise error(f"{wanted}, got the {type(given).__name__} {given!r:.200}.")
    reader = next((reader for method, reader in READERS.items() if hasattr(given, method)), None)
    try:
        rows = iter(given if reader is None else reader(given))
    except TypeError as cause:
        raise error(f"{wanted}, got {given!r:.200}.") from cause
    plain = []
    for number, row in enumerate(rows):
        if not isinstance(row, Mapping):
            raise error(f"{wanted}, got {row!r:.200} in row {number}.")
        plain.append(dict(row))
    return plain


def value_of(row: Mapping[str, Any], number: int, field: str, wanted: str, error: type[InvalidValue]) -> Any:
    """Returns a row's value; a column that is missing is told from a value that is missing.

    Raises:
        InvalidValue: `error`, with the columns that the row has.
    """
    if field not in row:
        raise error(f"{field!r} in row {number} must be {wanted}, but the row has only {list(row)}.{nearest(field, map(str, row))}")
    return row[field]


def _of_pandas(frame: Any) -> Any:
    return frame.astype(object).where(frame.notna(), None).to_dict("records")


def _of_stream(stream: Any) -> Any:
    try:
        import polars
    except ImportError as error:
        raise MissingExtra(f"An Arrow stream needs polars: {install('parquet')}.") from error
    return polars.DataFrame(stream).to_dicts()


READERS: dict[str, Callable[[Any], Any]] = {
    "to_dicts": lambda frame: frame.to_dicts(),  # polars, and `Rows`
    "collect": lambda frame: frame.collect().to_dicts(),  # a lazy frame of polars
    "to_pylist": lambda table: table.to_pylist(),  # Arrow
    "to_dict": _of_pandas,
    "__arrow_c_stream__": _of_stream,  # DuckDB and others
}
"""How to read what is not a sequence of mappings, by a method that it has."""
