"""What rows hold, column by column, to be looked at before anything is made of them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import NamedTuple

import numpy as np

from recsdk import times
from recsdk.columns import BAG, NUMBER, column_kind
from recsdk.datasets.kinds import ROLES, TIME
from recsdk.errors import quoted
from recsdk.printing import text_table
from recsdk.rows import Rows


class Column(NamedTuple):
    """A column of rows, in figures.

    Attributes:
        name: of the column.
        kind: "number", "str", "list of str", "time", or "" where all is missing.
        num_missing: rows without a value.
        num_distinct: different values; of lists, different elements.
        example: the first value.

    Example:
        >>> from recsdk.datasets import describe, read_rows
        >>> describe(read_rows([{"price": 2.5}, {"price": None}])).columns[0]
        Column(name='price', kind='number', num_missing=1, num_distinct=1, example='2.5')
    """

    name: str
    kind: str
    num_missing: int
    num_distinct: int
    example: str


class Schema(NamedTuple):
    """Rows in figures. Printed, it is a table.

    Attributes:
        columns: in the order of the rows' columns.
        num_rows: of the rows.
        num_set_aside: rows that were left out as bad.

    Example:
        >>> from recsdk.datasets import describe, read_rows
        >>> print(describe(read_rows([{"item": "tea", "price": 2.5}, {"item": "milk"}])))
        column  kind    missing  distinct  example
        item    str        0.0%         2  'tea'
        price   number    50.0%         1  2.5
        2 rows
    """

    columns: Sequence[Column]
    num_rows: int
    num_set_aside: int

    def __str__(self) -> str:
        """Returns the table."""
        share = [column.num_missing / max(self.num_rows, 1) for column in self.columns]
        cells = [
            [column.name, column.kind or "missing", f"{part:.1%}", f"{column.num_distinct:,}", column.example]
            for column, part in zip(self.columns, share, strict=True)
        ]
        aside = f", {self.num_set_aside:,} set aside" if self.num_set_aside else ""
        return f"{text_table(['column', 'kind', ' missing', ' distinct', 'example'], cells)}\n{self.num_rows:,} rows{aside}"


def describe(rows: Rows) -> Schema:
    """Tells what rows hold: look at it before you use them, and correct a kind by `read_rows(kinds=...)`.

    Example:
        >>> from recsdk.datasets import read_rows
        >>> describe(read_rows([{"zip": "02139", "time": 1.7e9}])).columns[1].example
        '2023-11-14T22:13:20+00:00'
    """
    columns = tuple(_column(name, column) for name, column in rows.columns.items())
    return Schema(columns, len(rows.line), len(rows.set_aside))


def _column(name: str, column: np.ndarray) -> Column:
    kind = column_kind(column) or ""
    present = column[~np.isnan(column)].tolist() if kind == NUMBER else [value for value in column.tolist() if value is not None]
    distinct = {part for value in present for part in value} if kind == BAG else set(present)
    example = quoted(present[0], 40) if present else ""
    if kind == NUMBER and ROLES.get(name) == TIME:
        kind = TIME
        if present and times.FIRST_DATE <= present[0] <= times.LAST:
            example = datetime.fromtimestamp(present[0], UTC).isoformat()
    return Column(name, kind, len(column) - len(present), len(distinct), example)
