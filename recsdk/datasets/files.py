"""Files from outside: text, plain or gzipped, strict JSON and Parquet. Every error names the file, and the line where there is one."""

from __future__ import annotations

import contextlib
import csv
import gzip
import io
import json
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from recsdk.errors import InvalidLog, MissingExtra, install, quoted

Pairs = list[tuple[str, Any]]


def byte_lines(path: Path) -> Iterator[bytes]:
    """Yields the lines of a file, which is gzipped if its name ends in .gz; a byte-order mark at the start is left out.

    Raises:
        InvalidLog: not gzip, or gzip that is damaged or cut short; naming the line.
        FileNotFoundError, OSError: a file that cannot be opened or read.
    """
    number = 0
    try:
        # A buffer, since gzip's own way to lines is several times slower.
        with io.BufferedReader(gzip.open(path)) if path.suffix == ".gz" else path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                yield line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise InvalidLog(f"{path}, line {number + 1}: must be gzip that is whole, since its name ends in .gz: {error}.") from error


def text_lines(path: Path) -> Iterator[str]:
    """Yields the lines of UTF-8 text.

    Raises:
        InvalidLog: a line that is not UTF-8, by its number. Otherwise as `byte_lines`.
    """
    for number, line in enumerate(byte_lines(path), start=1):
        try:
            yield line.decode()
        except UnicodeDecodeError as error:
            raise InvalidLog(f"{path}, line {number}: must be UTF-8, got {line[max(error.start - 20, 0) : error.end]!r}.") from error


def refuse_twice(pairs: Pairs) -> dict[str, Any]:
    """Returns the object of these pairs.

    Raises:
        ValueError: a name that is there twice.
    """
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"a name is there twice: {next(name for name in names if names.count(name) > 1)!r}")
    return found


def json_object(
    text: str | bytes, *, twice: Callable[[Pairs], dict[str, Any]] = refuse_twice, integer: Callable[[str], int] = int
) -> dict[str, Any]:
    """Returns one object of strict JSON: without NaN and Infinity, which are not JSON.

    Args:
        text: the object, and white space at most.
        twice: makes a dict of an object's pairs; by default it refuses a name that is there twice.
        integer: makes a whole number of its digits.

    Raises:
        InvalidLog: anything else.

    Example:
        >>> json_object('{"reward": 1}')
        {'reward': 1}
    """
    try:
        found = json.loads(text, parse_constant=_refuse_constant, object_pairs_hook=twice, parse_int=integer)
    except (ValueError, RecursionError) as error:
        raise InvalidLog(f"must be one JSON object, got {quoted(text.strip())}: {error}.") from error
    if not isinstance(found, dict):
        raise InvalidLog(f"must be one JSON object, got {quoted(text.strip())}.")
    return found


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def import_polars(what: str) -> Any:
    """Returns polars, which `what` needs.

    Raises:
        MissingExtra: when it is not installed.
    """
    try:
        import polars
    except ImportError as error:
        raise MissingExtra(f"{what} needs polars: {install('parquet')}.") from error
    return polars


@contextlib.contextmanager
def parquet(path: Path) -> Iterator[Any]:
    """Gives polars to read a Parquet file with.

    Raises:
        InvalidLog: when polars cannot read the file.
        MissingExtra: when polars is not installed.
    """
    polars = import_polars("A Parquet file")
    if not path.is_file():
        raise FileNotFoundError(f"No file is named {str(path)!r}.")
    try:
        yield polars
    # Damaged bytes may make polars panic, which is no Exception.
    except (polars.exceptions.PolarsError, polars.exceptions.PanicException, OSError) as error:
        raise InvalidLog(f"{path} must be a Parquet file that is whole: {' '.join(str(error).split())[:200]}.") from error


def table_rows(path: Path, *, delimiter: str = ",", required: tuple[str, ...] = ()) -> Iterator[tuple[int, dict[str, str]]]:
    """Yields each row of a table with a header, by column, with its line number.

    Args:
        path: comma- or tab-separated text; tab-separated has no quotes.
        delimiter: "," or a tab.
        required: columns that must be there.

    Raises:
        InvalidLog: a missing column, one that is there twice, or a line with another number of cells than the header.
    """
    reader = csv.reader(text_lines(path), delimiter=delimiter, quoting=csv.QUOTE_NONE if delimiter == "\t" else csv.QUOTE_MINIMAL)
    try:
        names = next(reader, [])
        missing = [name for name in required if name not in names]
        if missing:
            raise InvalidLog(f"{path} must have the columns {list(required)}, but {missing} are missing.")
        if len(set(names)) < len(names):
            raise InvalidLog(f"{path} must name each column once, got {next(name for name in names if names.count(name) > 1)!r} twice.")
        for cells in reader:
            if len(cells) != len(names):
                raise InvalidLog(f"{path}, line {reader.line_num}: must have {len(names)} cells like the header, got {len(cells)}.")
            yield reader.line_num, dict(zip(names, cells, strict=True))
    except csv.Error as error:
        raise InvalidLog(f"{path}, line {reader.line_num}: must be a row of cells: {error}.") from error


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
