"""Text files, plain or gzipped, with errors that say which line."""

from __future__ import annotations

import csv
import gzip
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from recsdk.errors import InvalidLog, MissingExtra


def open_text(path: Path) -> IO[str]:
    """Opens UTF-8 text; gzipped if the name ends in .gz."""
    return gzip.open(path, "rt", encoding="utf-8", newline="") if path.suffix == ".gz" else path.open(encoding="utf-8", newline="")


def import_polars(what: str) -> Any:
    """Returns polars, which `what` needs.

    Raises:
        MissingExtra: when it is not installed.
    """
    try:
        import polars
    except ImportError as error:
        raise MissingExtra(f"{what} needs polars: pip install 'recsdk[parquet]'.") from error
    return polars


def table_rows(path: Path, *, delimiter: str = ",", required: tuple[str, ...] = ()) -> Iterator[tuple[int, dict[str, str]]]:
    """Yields each row of a table with a header, by column, with its line number.

    Args:
        path: comma- or tab-separated text; tab-separated has no quotes.
        delimiter: "," or a tab.
        required: columns that must be there.

    Raises:
        InvalidLog: a missing column, or a line with another number of cells than the header.
    """
    with open_text(path) as file:
        reader = csv.reader(file, delimiter=delimiter, quoting=csv.QUOTE_NONE if delimiter == "\t" else csv.QUOTE_MINIMAL)
        names = next(reader, [])
        missing = [name for name in required if name not in names]
        if missing:
            raise InvalidLog(f"{path} must have the columns {list(required)}, but {missing} are missing.")
        for cells in reader:
            if len(cells) != len(names):
                raise InvalidLog(f"{path}, line {reader.line_num}: must have {len(names)} cells like the header, got {len(cells)}.")
            yield reader.line_num, dict(zip(names, cells, strict=True))


def number(row: dict[str, str], name: str, path: Path, line: int) -> float:
    """Returns a cell as a number.

    Raises:
        InvalidLog: when it is not a finite one.
    """
    try:
        value = float(row[name])
    except ValueError:
        value = float("nan")
    if not -float("inf") < value < float("inf"):
        raise InvalidLog(f"{path}, line {line}: {name} must be a finite number, got {row[name]!r}.")
    return value
