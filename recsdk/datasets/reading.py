"""Rows from anywhere: files of any form, data frames, mappings; their columns renamed, their kinds inferred or given."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from recsdk import times
from recsdk.data import Unit
from recsdk.datasets.files import parquet
from recsdk.datasets.forms import Form, Parsed, form_of
from recsdk.datasets.frames import columns_of, values_of
from recsdk.datasets.kinds import KINDS, ROLES, inferred, typed
from recsdk.errors import IgnoredInput, InvalidLog, InvalidValue, nearest, one_of, quoted, warn
from recsdk.rows import READERS, Rows, SetAside

CHUNK = 1_024
"""Rows that are held as mappings at a time: columns take less memory."""


def read_rows(
    source: Any,
    *,
    form: Form | None = None,
    columns: Mapping[str, str | None] | None = None,
    kinds: Mapping[str, str] | None = None,
    time_unit: Unit = "s",
    bad_rows: Literal["refuse", "set aside"] = "refuse",
) -> Rows:
    r"""Reads rows from a file or a table, for `items_from_rows`, `events_from_rows` and `Recommender.open`.

    A column's kind is inferred where `kinds` does not give it. "id", "item" and "user_id" are texts, "time" and "added" times, "reward" is
    a number. Else values keep their kind, and cells of text are numbers if all look like numbers: one that begins with 0, as a postal
    code, does not. `describe` prints what was found.

    Args:
        source: a path: `.csv`, `.tsv`, `.jsonl`, RecBole's `.inter`, `.item` and `.user`, each also with `.gz`; `.parquet`; or of the given
            `form`. Or a data frame of pandas or polars, an Arrow table, what gives an Arrow stream, a mapping of columns, or an iterable
            of mappings.
        form: how the file holds rows: `Delimited`, `Atomic` or `Sequences`; by default the end of its name tells.
        columns: new names by old ones, such as {"movieId": "item"}; None leaves a column out. Others keep their names.
        kinds: by new name, "number", "str", "list of str" or "time". A time becomes seconds since the epoch; a date without a time zone is
            taken as UTC.
        time_unit: of times that are numbers: "s", "ms", "us" or "ns" since the epoch.
        bad_rows: "set aside" leaves out rows that cannot be used, and keeps each one's line and reason in `Rows.set_aside`.

    Returns:
        The rows in their order; times in seconds.

    Raises:
        InvalidLog: a bad row, with its number or line, or a column of values that are no features.
        InvalidValue: a source, name or kind that cannot be.
        FileNotFoundError: no such file.
        MissingExtra: a Parquet file or an Arrow stream without polars.

    Warns:
        IgnoredInput: rows were set aside.

    Example:
        >>> _ = Path("ratings.csv").write_text("userId,movieId,rating,timestamp\n1,31,2.5,1260759144\n")
        >>> names = {"userId": "user_id", "movieId": "item", "rating": "reward", "timestamp": "time"}
        >>> read_rows("ratings.csv", columns=names).to_dicts()
        [{'user_id': '1', 'item': '31', 'reward': 2.5, 'time': 1260759144.0}]
    """
    one_of("bad_rows", bad_rows, ("refuse", "set aside"))
    one_of("time_unit", time_unit, times.UNITS)
    for name, given in (("columns", columns), ("kinds", kinds)):
        if not (given is None or isinstance(given, Mapping)):
            raise InvalidValue(f"{name} must be a mapping of names, got {quoted(given)}.")
    if not (form is None or isinstance(form, Form)):
        raise InvalidValue(f"form must be how a file holds rows, such as Delimited(), got {quoted(form)}.")
    raw = _of_file(Path(source), form) if isinstance(source, (str, Path)) else _of_memory(source, form)
    names = _new_names(list(raw.columns), columns or {})
    found: dict[str, np.ndarray] = {}
    bad = dict(raw.bad)
    for old, new in names.items():
        column, reasons = _column(raw, old, new, _kinds(raw, names, kinds or {}), times.UNITS[time_unit])
        found[new] = column
        bad = {**reasons, **bad}
        if bad_rows == "set aside" and new in ("time", "added"):
            late = np.flatnonzero(column > times.latest())
            bad = {**{row: _reason(raw, row, new, "not in the future", raw.columns[old][row]) for row in late.tolist()}, **bad}
    return _without(raw, found, bad, refuse=bad_rows == "refuse")


class _Raw(NamedTuple):
    """T rows as they were found. A row that is none has a place, and its reason in `bad`."""

    columns: dict[str, list[Any]]
    line: list[int]
    source: str
    bad: dict[int, str]
    parsed: Parsed


def _of_file(path: Path, form: Form | None) -> _Raw:
    if form is None and path.suffix == ".parquet":
        with parquet(path) as polars:
            frame = polars.read_parquet(path)
        raw = _of_frame(frame)
        return raw._replace(source=str(path), line=[row + 1 for row in raw.line])
    parsed = (form or form_of(path)).parse(path)
    return _of_rows(parsed, str(path))


def _of_memory(source: Any, form: Form | None) -> _Raw:
    if form is not None:
        raise InvalidValue(f"form is how a file holds rows: it must be None for a {type(source).__name__}, got {form!r}.")
    if isinstance(source, Rows):
        return _of_frame(source.columns)._replace(source=source.source, line=source.line.tolist())
    if isinstance(source, Mapping) or any(hasattr(source, method) for method in READERS):
        return _of_frame(source)
    if isinstance(source, bytes) or not isinstance(source, Iterable) or (isinstance(source, np.ndarray) and source.ndim != 1):
        raise InvalidValue(f"source must be a path, a data frame, a mapping of columns or rows, each a mapping, got {quoted(source)}.")
    rows = ((number, row if isinstance(row, Mapping) else _no_row(row, number)) for number, row in enumerate(source))
    return _of_rows(Parsed(rows, is_text=False), "")


def _no_row(row: Any, number: int) -> InvalidLog:
    return InvalidLog(f"row {number} must be a mapping such as {{'id': 'a'}}, got {quoted(row)}.")


def _of_frame(frame: Any) -> _Raw:
    names, column = columns_of(frame)
    columns = {name: _values(name, column(name)) for name in names}
    sizes = {name: len(values) for name, values in columns.items()}
    if len(set(sizes.values())) > 1:
        raise InvalidValue(f"columns must be of one length, got {sizes}.")
    return _Raw(columns, list(range(next(iter(sizes.values()), 0))), "", {}, Parsed((), is_text=False))


def _values(name: str, column: Any) -> list[Any]:
    if isinstance(column, (str, bytes, Mapping)) or not (isinstance(column, Iterable) or hasattr(column, "to_pylist")):
        raise InvalidValue(f"column {name!r} must be a list of values, got {quoted(column)}.")
    return [_present(value) for value in values_of(column)]


def _of_rows(parsed: Parsed, source: str) -> _Raw:
    columns: dict[str, list[Any]] = {name: [] for name in parsed.names or ()}
    lines: list[int] = []
    bad: dict[int, str] = {}
    rows, missing = iter(parsed.rows), frozenset(parsed.missing)
    while part := list(itertools.islice(rows, CHUNK)):
        found = [_checked(row, line, parsed.names, source) for line, row in part]
        bad.update({len(lines) + number: str(row) for number, row in enumerate(found) if isinstance(row, InvalidLog)})
        for name, values in _by_column(found, parsed.names).items():
            column = columns.setdefault(name, [])
            column += [None] * (len(lines) - len(column))
            column += [None if cell in missing else cell for cell in values] if parsed.is_text else map(_present, values)
        lines += [line for line, _ in part]
    for column in columns.values():
        column += [None] * (len(lines) - len(column))
    return _Raw(columns, lines, source, bad, parsed)


def _checked(row: Any, line: int, names: tuple[str, ...] | None, source: str) -> Any:
    if names is None or isinstance(row, InvalidLog) or len(row) == len(names):
        return row
    return InvalidLog(f"{source}, line {line}: must have {len(names)} cells for {list(names)}, got {len(row)}.")


def _by_column(rows: list[Any], names: tuple[str, ...] | None) -> dict[str, Sequence[Any]]:
    """Returns the values of rows by column, with None where a row is none."""
    if names is not None:
        none = [None] * len(names)
        return dict(zip(names, zip(*[none if isinstance(row, InvalidLog) else row for row in rows], strict=True), strict=True))
    whole = [{} if isinstance(row, InvalidLog) else row for row in rows]
    return {name: [row.get(name) for row in whole] for name in dict.fromkeys(name for row in whole for name in row)}


def _present(value: Any) -> Any:
    return None if isinstance(value, (float, np.floating)) and value != value else value


def _new_names(there: list[str], columns: Mapping[str, str | None]) -> dict[str, str]:
    for old in columns:
        if old not in there and there:
            raise InvalidValue(f"columns must name columns that are there, got {old!r}.{nearest(old, there)} There are {there}.")
    names = {old: new for old in there if (new := columns.get(old, old)) is not None}
    for old, new in names.items():
        if not isinstance(new, str) or not new:
            raise InvalidValue(f"a column's name must be a text that is not empty, got {new!r} for {old!r}.")
        twice = [other for other, name in names.items() if name == new]
        if len(twice) > 1:
            raise InvalidValue(
                f"a column's name must be there once, got {new!r} for {twice}: columns={{{twice[0]!r}: None}} leaves one out."
            )
    return names


def _kinds(raw: _Raw, names: Mapping[str, str], given: Mapping[str, str]) -> dict[str, str]:
    """Returns the kinds that are known before any value is looked at, by new name."""
    for name, kind in given.items():
        one_of(f"kinds[{name!r}]", kind, KINDS)
        if name not in names.values() and names:
            raise InvalidValue(f"kinds must name columns that are there, got {name!r}.{nearest(name, names.values())}")
    own = {names[old]: kind for old, kind in raw.parsed.kinds.items() if old in names}
    return {**own, **ROLES, **given}


def _column(raw: _Raw, old: str, new: str, kinds: Mapping[str, str], parts: float) -> tuple[np.ndarray, dict[int, str]]:
    values = raw.columns[old]
    is_text = raw.parsed.is_text
    kind = kinds[new] if new in kinds else inferred(values, is_text=is_text)
    if kind not in KINDS:
        row = next(row for row, value in enumerate(values) if value is not None)
        wanted = f"a text, a number, a list of texts or a date, or be left out by columns={{{old!r}: None}}"
        raise InvalidLog(_reason(raw, row, new, wanted, values[row]))
    found = typed(values, kind, parts=parts, list_separator=raw.parsed.list_separator, strict=new not in kinds and not is_text)
    return found.values, {row: _reason(raw, row, new, wanted, values[row]) for row, wanted in found.bad.items()}


def _reason(raw: _Raw, row: int, name: str, wanted: str, value: Any) -> str:
    where = f"line {raw.line[row]} of {raw.source}" if raw.source else f"row {raw.line[row]}"
    return f"{name!r} in {where} must be {wanted}, got {quoted(value)}."


def _without(raw: _Raw, columns: dict[str, np.ndarray], bad: Mapping[int, str], *, refuse: bool) -> Rows:
    """Returns the rows without the bad ones, or raises the first."""
    rows = Rows(columns, np.array(raw.line, np.int64), raw.source)
    if not bad:
        return rows
    first = min(bad)
    if refuse:
        hint = "kinds says what a column holds, bad_rows='set aside' leaves such rows out"
        raise InvalidLog(f"{bad[first]} {len(bad):,} of {len(raw.line):,} rows are bad: {hint}.")
    warn(f"{len(bad)} of {len(raw.line)} rows were set aside, the first since {bad[first]}", IgnoredInput)
    kept = np.ones(len(raw.line), bool)
    kept[list(bad)] = False
    return rows.take(kept)._replace(set_aside=tuple(SetAside(raw.line[row], bad[row]) for row in sorted(bad)))
