"""What a step is, and the columns that steps ask for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np

from recsdk.base import Table
from recsdk.columns import NUMBER, column_kind
from recsdk.errors import InvalidRequest, nearest, quoted
from recsdk.rows import Rows

Learned = Mapping[str, Any]
"""What a step has learned: plain values that JSON holds."""


@runtime_checkable
class Changes(Protocol):
    """A step that changes values: of a log, of a catalogue, and of a new request in the same way."""

    def fit(self, table: Table) -> Learned:
        """Learns from columns what `change` needs."""
        ...

    def change(self, learned: Learned, table: Table) -> Table:
        """Returns the columns that are new or other than before; the table stays as it is."""
        ...


@runtime_checkable
class Selects(Protocol):
    """A step that keeps some rows of a log and drops the others. A new request is never dropped."""

    def fit(self, table: Table) -> Learned:
        """Learns from columns what `keep` needs."""
        ...

    def keep(self, learned: Learned, table: Table) -> np.ndarray:
        """Returns bool[T], which rows are kept."""
        ...


Step = Changes | Selects
"""One of both."""


def table_of(given: Any) -> Table:
    """Returns the columns of rows, or a table as it is.

    Raises:
        InvalidRequest: something else.
    """
    table = given.columns if isinstance(given, Rows) else given
    if not isinstance(table, Mapping) or not all(isinstance(column, np.ndarray) and column.ndim == 1 for column in table.values()):
        raise InvalidRequest(f"rows must be from read_rows, or a table of columns such as events.requests, got {quoted(given)}.")
    return table


def require(table: Table, columns: Sequence[str]) -> list[np.ndarray]:
    """Returns columns by name.

    Raises:
        InvalidRequest: a column that is not there.
    """
    for name in columns:
        if name not in table:
            raise InvalidRequest(f"rows must have a column {name!r}, got {list(table)}.{nearest(name, table)}")
    return [table[name] for name in columns]


def numbers(table: Table, columns: Sequence[str]) -> dict[str, np.ndarray]:
    """Returns those of the columns that are there: f64[T] each.

    Raises:
        InvalidRequest: a column of something else than numbers.
    """
    return {name: _number(name, table[name]) for name in columns if name in table}


def _number(name: str, column: np.ndarray) -> np.ndarray:
    kind = column_kind(column)
    if kind not in (NUMBER, None):
        raise InvalidRequest(f"{name!r} must hold numbers, got a {kind}.")
    return column if kind == NUMBER else np.full(len(column), np.nan)


def seen(name: str, column: np.ndarray) -> np.ndarray:
    """Returns the numbers of a column that are not missing.

    Raises:
        InvalidRequest: all are missing, so that nothing can be learned.
    """
    found: np.ndarray = column[~np.isnan(column)]
    if not len(found):
        raise InvalidRequest(f"{name!r} must have a value in at least one row to learn from, got none in {len(column)}.")
    return found


def codes(column: np.ndarray) -> tuple[np.ndarray, list[Any]]:
    """Returns i64[T], each value's number in the order in which they appear, -1 where it is missing; and the values."""
    place: dict[Any, int] = {}
    values = (None if value != value else value for value in column.tolist())
    code = np.fromiter((-1 if value is None else place.setdefault(_key(value), len(place)) for value in values), np.int64, len(column))
    return code, list(place)


def _key(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
