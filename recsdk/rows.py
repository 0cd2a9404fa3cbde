"""Rows from outside: sequences of mappings, or data frames of any library, none of which is needed for the others."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from recsdk.errors import InvalidRequest, InvalidValue, MissingExtra, install, nearest


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
    "to_dicts": lambda frame: frame.to_dicts(),  # polars
    "collect": lambda frame: frame.collect().to_dicts(),  # a lazy frame of polars
    "to_pylist": lambda table: table.to_pylist(),  # Arrow
    "to_dict": _of_pandas,
    "__arrow_c_stream__": _of_stream,  # DuckDB and others
}
"""How to read what is not a sequence of mappings, by a method that it has."""
